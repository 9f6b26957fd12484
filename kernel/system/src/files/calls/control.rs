//! `ioctl` and `poll`.

use super::{CallResult, FileCall, descriptor, file};
use crate::wait::Stop;
use abi::Errno;
use abi::layout::{
    O_NONBLOCK, POLLERR, POLLFD_SIZE, POLLHUP, POLLNVAL, PollFd, TERMIOS_SIZE, Termios,
};
use alloc::vec::Vec;

// `asm-generic/ioctls.h`.
const TCGETS: u32 = 0x5401;
const TCSETS: u32 = 0x5402;
const TCSETSW: u32 = 0x5403;
const TCSETSF: u32 = 0x5404;
const TCSBRK: u32 = 0x5409;
const TCXONC: u32 = 0x540a;
const TCFLSH: u32 = 0x540b;
const TIOCSCTTY: u32 = 0x540e;
const TIOCGPGRP: u32 = 0x540f;
const TIOCSPGRP: u32 = 0x5410;
const TIOCGWINSZ: u32 = 0x5413;
const TIOCSWINSZ: u32 = 0x5414;
const FIONREAD: u32 = 0x541b;
const FIONBIO: u32 = 0x5421;
const TIOCNOTTY: u32 = 0x5422;
const TIOCGSID: u32 = 0x5429;
const FIONCLEX: u32 = 0x5450;
const FIOCLEX: u32 = 0x5451;

/// How many bytes argument 2 of an `ioctl` points to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IoctlShape {
    /// It is a number, or not used.
    Value,
    /// Read by the kernel.
    In(usize),
    /// Written by the kernel.
    Out(usize),
}

/// The shape of an `ioctl` request. What is not known has no buffer and is refused by [`ioctl`].
pub fn ioctl_shape(request: u64) -> IoctlShape {
    match request as u32 {
        TCGETS => IoctlShape::Out(TERMIOS_SIZE),
        TCSETS | TCSETSW | TCSETSF => IoctlShape::In(TERMIOS_SIZE),
        TIOCGPGRP | TIOCGSID | FIONREAD => IoctlShape::Out(4),
        TIOCSPGRP | FIONBIO => IoctlShape::In(4),
        TIOCGWINSZ => IoctlShape::Out(8),
        TIOCSWINSZ => IoctlShape::In(8),
        _ => IoctlShape::Value,
    }
}

fn fixed<const N: usize>(call: &FileCall) -> Result<[u8; N], Errno> {
    let bytes = call.input(2).first_chunk::<N>();
    bytes.copied().ok_or(Errno::EFAULT)
}

/// `ioctl(fd, request, argument)`: see [`ioctl_shape`] for argument 2.
pub fn ioctl(call: &mut FileCall) -> CallResult {
    let fd = descriptor(call, 0)?;
    let file = file(call, 0)?;
    match call.args[1] as u32 {
        FIOCLEX => call.state.row_mut(fd)?.close_on_exec = true,
        FIONCLEX => call.state.row_mut(fd)?.close_on_exec = false,
        FIONBIO => {
            let on = fixed::<4>(call)? != [0; 4];
            let mut cursor = file.cursor();
            cursor.flags = cursor.flags & !O_NONBLOCK | if on { O_NONBLOCK } else { 0 };
        }
        FIONREAD => {
            let inode = file.inode();
            let available = if let Some(pipe) = inode.pipe() {
                pipe.available() as u64
            } else if inode.is_terminal() {
                call.fs.console().available() as u64
            } else if inode.is_file() {
                inode.size().saturating_sub(file.offset())
            } else {
                return Err(Errno::ENOTTY.into());
            };
            let available = available.min(i32::MAX as u64) as u32;
            call.output(2, &available.to_le_bytes());
        }
        request if file.inode().is_terminal() => return terminal(call, request),
        _ => return Err(Errno::ENOTTY.into()),
    }
    Ok(0)
}

/// Whether the caller is in the background of its terminal.
fn in_background(call: &FileCall) -> bool {
    let console = call.fs.console();
    let job = call.job;
    job.session != 0 && console.session() == job.session && console.foreground() != job.group
}

/// A background process must not read the terminal: its group is stopped, or it gets EIO if that
/// could not help.
pub(super) fn check_reader(call: &mut FileCall) -> Result<(), Stop> {
    if !in_background(call) {
        return Ok(());
    }
    if call.job.shielded_from_ttin || call.job.orphaned {
        return Err(Errno::EIO.into());
    }
    call.job.signal = Some(abi::signal::SIGTTIN);
    Err(Stop::Wait)
}

/// Nor change it, unless it does not want to hear of that.
fn check_changer(call: &mut FileCall) -> Result<(), Stop> {
    if !in_background(call) || call.job.shielded_from_ttou {
        return Ok(());
    }
    if call.job.orphaned {
        return Err(Errno::EIO.into());
    }
    call.job.signal = Some(abi::signal::SIGTTOU);
    Err(Stop::Wait)
}

/// Puts a group of the caller's session into the foreground.
fn set_foreground(call: &mut FileCall) -> CallResult {
    let group = i32::from_le_bytes(fixed(call)?);
    let group = u32::try_from(group).map_err(|_| Errno::EINVAL)?;
    let console = call.fs.console();
    if call.job.session != 0 {
        if console.session() != call.job.session {
            return Err(Errno::ENOTTY.into());
        }
        match call.view.session_of_group(group) {
            None => return Err(Errno::ESRCH.into()),
            Some(session) if session != call.job.session => return Err(Errno::EPERM.into()),
            Some(_) => {}
        }
    }
    console.set_foreground(group);
    Ok(0)
}

/// A session leader without a terminal gets this one, if nobody has it.
fn take_terminal(call: &mut FileCall) -> CallResult {
    let (console, job) = (call.fs.console(), call.job);
    let mine = console.session() == job.session;
    if job.session == 0 || (mine && console.session() != 0) {
        return Ok(0);
    }
    let steals = call.args[2] == 1;
    if job.session != call.pid || (console.session() != 0 && !steals) {
        return Err(Errno::EPERM.into());
    }
    console.set_session(job.session);
    console.set_foreground(job.group);
    Ok(0)
}

fn terminal(call: &mut FileCall, request: u32) -> CallResult {
    if matches!(
        request,
        TCSETS | TCSETSW | TCSETSF | TCSBRK | TCFLSH | TIOCSPGRP
    ) {
        check_changer(call)?;
    }
    let console = call.fs.console();
    match request {
        TCGETS => call.output(2, &console.termios().to_bytes()),
        TCSETS | TCSETSW | TCSETSF => {
            let termios = Termios::from_bytes(&fixed(call)?);
            if request == TCSETSF {
                console.flush_input();
            }
            console.set_termios(termios);
        }
        // Output never waits in the kernel, so there is nothing to drain; flow is not controlled.
        TCSBRK | TCXONC => {}
        TCFLSH => match call.args[2] {
            0 | 2 => console.flush_input(),
            1 => {}
            _ => return Err(Errno::EINVAL.into()),
        },
        TIOCGPGRP => call.output(2, &console.foreground().to_le_bytes()),
        TIOCGSID => call.output(2, &console.session().to_le_bytes()),
        TIOCSPGRP => return set_foreground(call),
        TIOCSCTTY => return take_terminal(call),
        TIOCNOTTY => {}
        TIOCGWINSZ => call.output(2, &console.window()),
        TIOCSWINSZ => console.set_window(fixed(call)?),
        _ => return Err(Errno::ENOTTY.into()),
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
                Ok(file) => file.ready(call.fs) & (entry.events | POLLERR | POLLHUP),
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
                file.watch(call.fs, call.pid);
            }
        }
        return Err(Stop::Wait);
    }
    call.output(0, &answer);
    Ok(ready)
}
