//! `ioctl` and `poll`.
//!
//! Law: what holds for every kind of file is here; a terminal's own requests are in `terminals`.

use super::super::inode::Node;
use super::super::objects::Object;
use super::super::open::OpenFile;
use super::super::socket::Family;
use super::super::socket::interfaces::{self, SIOCGIFCONF};
use super::terminals::{Argument, terminal_argument};
use super::{CallResult, FileCall, descriptor, usable};
use crate::wait::Stop;
use abi::Errno;
use abi::layout::{O_NONBLOCK, O_PATH, POLLERR, POLLFD_SIZE, POLLHUP, POLLNVAL, PollFd};
use alloc::vec::Vec;
use machine::PAGE_SIZE;

// `asm-generic/ioctls.h`.
const FIONREAD: u32 = 0x541b;
const SIOCOUTQ: u32 = 0x5411;
/// Bytes that were not sent yet.
const SIOCOUTQNSD: u32 = 0x894b;
const FIGETBSZ: u32 = 2;
const FIOQSIZE: u32 = 0x5460;
const FICLONE: u32 = 0x4004_9409;
const FICLONERANGE: u32 = 0x4020_940d;
const FIDEDUPERANGE: u32 = 0xc018_9436;
const FIEMAP: u32 = 0xc020_660b;
const FIONBIO: u32 = 0x5421;
const FIOASYNC: u32 = 0x5452;
// `asm-generic/sockios.h`.
const FIOSETOWN: u32 = 0x8901;
const SIOCSPGRP: u32 = 0x8902;
const FIOGETOWN: u32 = 0x8903;
const SIOCGPGRP: u32 = 0x8904;
const SIOCATMARK: u32 = 0x8905;
const FIONCLEX: u32 = 0x5450;
const FIOCLEX: u32 = 0x5451;

/// Which way argument 2 of an `ioctl` goes, and how long it is. What is not known has no buffer and
/// is refused by [`ioctl`].
pub fn ioctl_argument(request: u32) -> Argument {
    match request {
        FIONREAD | SIOCOUTQ | SIOCOUTQNSD | SIOCATMARK | FIGETBSZ => Argument::Out(4),
        FIOQSIZE => Argument::Out(8),
        FICLONERANGE => Argument::In(32),
        FIDEDUPERANGE => Argument::In(24),
        FIONBIO | FIOASYNC | FIOSETOWN | SIOCSPGRP => Argument::In(4),
        FIOGETOWN | SIOCGPGRP => Argument::Out(4),
        SIOCGIFCONF => Argument::Out(interfaces::REQUEST as u16),
        request if interfaces::takes_interface(request) => {
            Argument::InOut(interfaces::REQUEST as u16)
        }
        request => terminal_argument(request),
    }
}

pub(super) fn fixed<const N: usize>(call: &FileCall) -> Result<[u8; N], Errno> {
    let bytes = call.input(2).first_chunk::<N>();
    bytes.copied().ok_or(Errno::EFAULT)
}

/// Whether it is a file or a folder, whose size `FIOQSIZE` tells and which nobody owns.
fn has_size(file: &OpenFile) -> bool {
    file.inode().is_file() || file.inode().is_directory()
}

/// `ioctl(fd, request, argument)`: see [`ioctl_argument`] for argument 2.
pub fn ioctl(call: &mut FileCall) -> CallResult {
    let fd = descriptor(call, 0)?;
    let file = usable(call, 0)?;
    if let Node::Object(Object::Socket(socket)) = file.inode().node()
        && let request @ (FIONREAD | SIOCOUTQ | SIOCOUTQNSD | SIOCATMARK) = call.args[1] as u32
    {
        let bytes = match request {
            SIOCATMARK if !socket.knows_urgency() => return Err(Errno::ENOTTY.into()),
            SIOCATMARK => usize::from(socket.is_at_mark()),
            FIONREAD => socket.available()?,
            SIOCOUTQNSD if !socket.knows_urgency() || socket.family == Family::Unix => {
                return Err(Errno::ENOTTY.into());
            }
            _ => socket.outstanding(),
        };
        call.output(2, &(bytes as u32).to_le_bytes());
        return Ok(0);
    }
    if let (Node::Object(Object::Notify(notify)), FIONREAD) =
        (file.inode().node(), call.args[1] as u32)
    {
        let available = notify.available() as u32;
        call.output(2, &available.to_le_bytes());
        return Ok(0);
    }
    match call.args[1] as u32 {
        FIOCLEX => call.state.set_close_on_exec(fd, true)?,
        FIONCLEX => call.state.set_close_on_exec(fd, false)?,
        FIONBIO => {
            let on = fixed::<4>(call)? != [0; 4];
            let mut cursor = file.cursor();
            cursor.flags = cursor.flags & !O_NONBLOCK | if on { O_NONBLOCK } else { 0 };
        }
        // A file in memory, as one of tmpfs, tells its blocks and shares none of them.
        FIGETBSZ => call.output(2, &(PAGE_SIZE as u32).to_le_bytes()),
        FIOQSIZE if has_size(&file) => {
            call.output(2, &file.inode().size().to_le_bytes());
        }
        FICLONE | FICLONERANGE if file.inode().is_directory() => return Err(Errno::EISDIR.into()),
        FICLONE | FICLONERANGE | FIDEDUPERANGE if file.inode().is_file() => {
            return Err(Errno::EOPNOTSUPP.into());
        }
        // Its pages lie nowhere on a disk.
        FIEMAP if has_size(&file) => return Err(Errno::EOPNOTSUPP.into()),
        FIOASYNC => {
            let on = fixed::<4>(call)? != [0; 4];
            if has_size(&file) && on {
                return Err(Errno::ENOTTY.into());
            }
            file.set_asynchronous(on, fd, &call.asker());
        }
        FIOSETOWN | SIOCSPGRP if file.is_socket() => {
            let number = i32::from_le_bytes(fixed(call)?);
            return super::fcntl::set_owner(call, &file, number);
        }
        FIOGETOWN | SIOCGPGRP if file.is_socket() => {
            let number = file.cursor().owner.number();
            call.output(2, &number.to_le_bytes());
        }
        // Of the list the body tells as much as there is room for.
        SIOCGIFCONF if file.is_socket() => call.output(2, &interfaces::list()),
        request if file.is_socket() && interfaces::takes_interface(request) => {
            let told = interfaces::answer(request, fixed(call)?, &call.who)?;
            call.output(2, &told);
        }
        _ if file.is_event_set() => return Err(Errno::EINVAL.into()),
        FIONREAD => {
            let inode = file.inode();
            let available = if let Some(pipe) = inode.pipe() {
                pipe.available() as u64
            } else if let Some(end) = file.terminal().filter(|end| !end.is_hung_up()) {
                end.available() as u64
            } else if inode.is_file() {
                // Behind the end it is negative, and an int has the lower half of it.
                inode.size().wrapping_sub(file.offset())
            } else {
                return Err(Errno::ENOTTY.into());
            };
            call.output(2, &(available as u32).to_le_bytes());
        }
        _ => return super::terminals::ioctl(call, &file),
    }
    Ok(0)
}

/// `poll(fds, nfds, timeout)`: argument 0 is both in- and out-buffer. The time limit is
/// `deadline_ns`, made of the timeout by the caller; `None` waits for ever.
pub fn poll(call: &mut FileCall) -> CallResult {
    let count = call.args[1];
    if count > u64::from(call.state.limit()) {
        return Err(Errno::EINVAL.into());
    }
    let (entries, rest) = call.input(0).as_chunks::<POLLFD_SIZE>();
    if entries.len() as u64 != count || !rest.is_empty() {
        return Err(Errno::EFAULT.into());
    }
    let mut answer = Vec::with_capacity(call.input(0).len());
    let mut ready = 0;
    for entry in entries {
        let mut entry = PollFd::from_bytes(entry);
        entry.revents = match u32::try_from(entry.fd) {
            Err(_) => 0,
            Ok(fd) => match call.state.get(fd) {
                Err(_) => POLLNVAL,
                Ok(file) if file.flags() & O_PATH != 0 => POLLNVAL,
                Ok(file) => file.ready(&call.asker()) & (entry.events | POLLERR | POLLHUP),
            },
        };
        ready += u64::from(entry.revents != 0);
        answer.extend_from_slice(&entry.to_bytes());
    }
    let expired = call.deadline_ns.is_some_and(|end| call.now_ns >= end);
    if ready == 0 && !expired {
        for entry in entries {
            let fd = u32::try_from(PollFd::from_bytes(entry).fd);
            if let Some(file) = fd.ok().and_then(|fd| call.state.get(fd).ok()) {
                file.watch(&call.asker(), call.tid);
            }
        }
        return Err(Stop::Wait);
    }
    call.output(0, &answer);
    Ok(ready)
}
