//! fcntl(2) and flock(2).
//!
//! Law: what argument 2 of fcntl(2) is depends on the command (see [`fcntl_argument`]); a lock that
//! has to wait has set nothing.

use super::super::leases::{get_lease, set_lease};
use super::super::locks::{END, Kind, Owner, Record, Whole};
use super::super::objects::notify::{
    IN_ACCESS, IN_ATTRIB, IN_CREATE, IN_DELETE, IN_MASK_ADD, IN_MODIFY, IN_MOVED_FROM, IN_MOVED_TO,
    IN_ONESHOT, Teller,
};
use super::super::open::OpenFile;
use super::super::owner::OwnerKind;
use super::super::pipe;
use super::super::socket::socket_of;
use super::{Argument, CallResult, FileCall, descriptor, file, usable};
use crate::wait::Stop;
use abi::Errno;
use abi::layout::{O_APPEND, O_ASYNC, O_DIRECT, O_EXCL, O_NONBLOCK, O_PATH};
use alloc::sync::Arc;
use core::sync::atomic::Ordering;

// `asm-generic/fcntl.h`, `linux/fcntl.h`.
const F_DUPFD: u32 = 0;
const F_GETFD: u32 = 1;
const F_SETFD: u32 = 2;
const F_GETFL: u32 = 3;
const F_SETFL: u32 = 4;
const F_GETLK: u32 = 5;
const F_SETLK: u32 = 6;
const F_SETLKW: u32 = 7;
const F_SETOWN: u32 = 8;
const F_GETOWN: u32 = 9;
const F_SETSIG: u32 = 10;
const F_GETSIG: u32 = 11;
const F_SETOWN_EX: u32 = 15;
const F_GETOWN_EX: u32 = 16;
const F_OFD_GETLK: u32 = 36;
const F_OFD_SETLK: u32 = 37;
const F_OFD_SETLKW: u32 = 38;
const F_SETLEASE: u32 = 1024;
const F_GETLEASE: u32 = 1025;
const F_NOTIFY: u32 = 1026;
const F_DUPFD_QUERY: u32 = 1027;
const F_DUPFD_CLOEXEC: u32 = 1030;
const F_SETPIPE_SZ: u32 = 1031;
const F_GETPIPE_SZ: u32 = 1032;
const F_ADD_SEALS: u32 = 1033;
const F_GET_SEALS: u32 = 1034;
const F_GET_RW_HINT: u32 = 1035;
const F_SET_RW_HINT: u32 = 1036;
const FD_CLOEXEC: u64 = 1;

const F_RDLCK: i16 = 0;
const F_WRLCK: i16 = 1;
const F_UNLCK: i16 = 2;
/// Size of `struct flock`, and of its part up to the pid.
const FLOCK_SIZE: u16 = 32;

const O_NOATIME: u32 = 0o1_000_000;

/// `FCNTL`, the number of the call: waiters are asked for it.
const FCNTL: u32 = 72;

/// What argument 2 of an `fcntl` command is.
pub fn fcntl_argument(command: u64) -> Argument {
    match command as u32 {
        F_GETLK | F_OFD_GETLK => Argument::InOut(FLOCK_SIZE),
        F_SETLK | F_SETLKW | F_OFD_SETLK | F_OFD_SETLKW => Argument::In(FLOCK_SIZE),
        F_SETOWN_EX | F_SET_RW_HINT => Argument::In(8),
        F_GETOWN_EX | F_GET_RW_HINT => Argument::Out(8),
        _ => Argument::Value,
    }
}

/// `fcntl(fd, command, argument)`: see [`fcntl_argument`] for the argument.
pub fn fcntl(call: &mut FileCall) -> CallResult {
    let fd = descriptor(call, 0)?;
    let argument = call.args[2];
    let command = call.args[1] as u32;
    let file = file(call, 0)?;
    let of_descriptor = matches!(
        command,
        F_DUPFD | F_DUPFD_CLOEXEC | F_DUPFD_QUERY | F_GETFD | F_SETFD | F_GETFL
    );
    if file.flags() & O_PATH != 0 && !of_descriptor {
        return Err(Errno::EBADF.into());
    }
    match command {
        F_DUPFD | F_DUPFD_CLOEXEC => {
            let least = u32::try_from(argument as i32).map_err(|_| Errno::EINVAL)?;
            if least >= call.state.limit() {
                return Err(Errno::EINVAL.into());
            }
            let close = command == F_DUPFD_CLOEXEC;
            Ok(u64::from(call.state.install(least, file, close)?))
        }
        F_DUPFD_QUERY => {
            let other = u32::try_from(argument as i32).map_err(|_| Errno::EBADF)?;
            Ok(u64::from(Arc::ptr_eq(&file, &call.state.get(other)?)))
        }
        F_GETFD => Ok(u64::from(call.state.row(fd)?.close_on_exec)),
        F_SETFD => {
            call.state
                .set_close_on_exec(fd, argument & FD_CLOEXEC != 0)?;
            Ok(0)
        }
        F_GETFL => {
            // What was asked for when opening a pidfd is told, as it is of no other file.
            let thread = file.process().is_some_and(|held| held.thread.is_some());
            let asked = if thread { O_EXCL } else { 0 };
            Ok(u64::from(file.flags() | asked))
        }
        F_SETFL => {
            if argument as u32 & !file.flags() & O_NOATIME != 0 {
                call.who.check_owner(file.inode())?;
            }
            let changeable = O_APPEND | O_NONBLOCK | O_DIRECT | O_NOATIME;
            let on = argument as u32 & O_ASYNC != 0;
            file.set_asynchronous(on, fd, &call.asker());
            let mut cursor = file.cursor();
            cursor.flags = cursor.flags & !changeable | argument as u32 & changeable;
            Ok(0)
        }
        F_GETLK | F_OFD_GETLK => ask_record(call, &file, command),
        F_SETLK | F_SETLKW | F_OFD_SETLK | F_OFD_SETLKW => set_record(call, &file, command),
        F_SETOWN | F_SETOWN_EX | F_GETOWN | F_GETOWN_EX | F_SETSIG | F_GETSIG => {
            owner(call, &file, command)
        }
        F_GETLEASE => get_lease(&file),
        F_SETLEASE => set_lease(call, &file, fd, argument as i32),
        F_NOTIFY => watch_directory(call, &file, fd),
        F_GETPIPE_SZ | F_SETPIPE_SZ => pipe_size(call, &file, command),
        F_ADD_SEALS | F_GET_SEALS => seals(call, &file, command),
        F_GET_RW_HINT => {
            let hint = file.inode().write_hint().load(Ordering::Relaxed);
            call.output(2, &hint.to_le_bytes());
            Ok(0)
        }
        F_SET_RW_HINT => set_write_hint(call, &file),
        _ => Err(Errno::EINVAL.into()),
    }
}

/// `F_NOTIFY`: the owner hears of what happens in a directory, once, or until it wants no more.
fn watch_directory(call: &FileCall, file: &Arc<OpenFile>, fd: u32) -> CallResult {
    /// `DN_*`, and what they are for inotify(7).
    const EVENTS: [(u32, u32); 6] = [
        (1, IN_ACCESS),
        (2, IN_MODIFY),
        (4, IN_CREATE | IN_MOVED_TO),
        (8, IN_DELETE | IN_MOVED_FROM),
        (0x10, IN_MOVED_FROM | IN_MOVED_TO),
        (0x20, IN_ATTRIB),
    ];
    const MULTISHOT: u32 = 1 << 31;
    let wanted = call.args[2] as u32;
    let table = call.state.identity();
    if wanted & !MULTISHOT == 0 {
        file.cursor().watching.take_if(|held| held.0 == table);
        return Ok(0);
    }
    if !file.inode().is_directory() {
        return Err(Errno::ENOTDIR.into());
    }
    let events = EVENTS.iter().filter(|row| wanted & row.0 != 0);
    let mut mask = events.fold(0, |mask, row| mask | row.1);
    if wanted & MULTISHOT == 0 {
        mask |= IN_ONESHOT;
    }
    let held = file.cursor().watching.as_ref().map(|held| held.1.clone());
    let notify = held.unwrap_or_else(|| {
        let teller = Teller {
            file: Arc::downgrade(file),
            fd,
            posts: call.fs.posts().clone(),
        };
        call.fs.counts.notify.told(call.fs.wakes(), Some(teller))
    });
    notify.watch(file.inode(), mask | IN_MASK_ADD)?;
    let mut cursor = file.cursor();
    cursor.watching = Some((table, notify));
    if cursor.owner.id == 0 {
        cursor.owner.name(OwnerKind::Process, call.pid, &call.who);
    }
    Ok(0)
}

fn pipe_size(call: &FileCall, file: &OpenFile, command: u32) -> CallResult {
    let pipe = file.inode().pipe().ok_or(Errno::EBADF)?;
    if command == F_GETPIPE_SZ {
        return Ok(pipe.capacity() as u64);
    }
    let wanted = call.args[2] as u32 as usize;
    if wanted > 1 << 31 {
        return Err(Errno::EINVAL.into());
    }
    let wanted = wanted.next_power_of_two().max(pipe::PIPE_BUF);
    if wanted > pipe::CAPACITY_MAX {
        return Err(Errno::EPERM.into());
    }
    pipe.resize(wanted)?;
    Ok(wanted as u64)
}

/// `F_SET_RW_HINT`: for all who write to the file.
fn set_write_hint(call: &FileCall, file: &OpenFile) -> CallResult {
    const RWH_WRITE_LIFE_EXTREME: u64 = 5;
    call.who.check_owner(file.inode())?;
    let bytes = call.input(2).first_chunk::<8>().ok_or(Errno::EFAULT)?;
    let hint = u64::from_le_bytes(*bytes);
    if hint > RWH_WRITE_LIFE_EXTREME {
        return Err(Errno::EINVAL.into());
    }
    file.inode().write_hint().store(hint, Ordering::Relaxed);
    Ok(0)
}

fn seals(call: &FileCall, file: &OpenFile, command: u32) -> CallResult {
    let argument = call.args[2] as u32;
    let mapped = || call.view.maps_writable(file.inode());
    if command == F_ADD_SEALS && !file.writable() {
        return Err(Errno::EPERM.into());
    }
    let mut data = file.inode().data().ok_or(Errno::EINVAL)?;
    if command == F_GET_SEALS {
        return Ok(u64::from(data.seals()));
    }
    data.add_seals(argument, mapped)?;
    Ok(0)
}

/// To whom signals of the open file go, and which.
fn owner(call: &mut FileCall, file: &Arc<OpenFile>, command: u32) -> CallResult {
    let argument = call.args[2];
    match command {
        // A group of a number that would look like an error is one (fcntl(2)).
        F_GETOWN => Ok(i64::from(file.cursor().owner.number()) as u64),
        F_SETOWN => {
            let number = argument as i32;
            if number == i32::MIN {
                return Err(Errno::EINVAL.into());
            }
            set_owner(call, file, number)
        }
        F_GETOWN_EX => {
            let owner = file.cursor().owner;
            let kind = match owner.kind {
                OwnerKind::Thread => 0_u32,
                OwnerKind::Process => 1,
                OwnerKind::Group => 2,
            };
            call.output(2, &kind.to_le_bytes());
            call.output(2, &owner.id.to_le_bytes());
            Ok(0)
        }
        F_SETOWN_EX => {
            let bytes = call.input(2).first_chunk::<8>().ok_or(Errno::EFAULT)?;
            let word =
                |at: usize| u32::from_le_bytes(core::array::from_fn(|byte| bytes[at + byte]));
            let kind = match word(0) {
                0 => OwnerKind::Thread,
                1 => OwnerKind::Process,
                2 => OwnerKind::Group,
                _ => return Err(Errno::EINVAL.into()),
            };
            name_owner(call, file, kind, word(4))
        }
        F_GETSIG => Ok(u64::from(file.cursor().owner.signal)),
        _ if argument > u64::from(abi::signal::SIGNAL_MAX) => Err(Errno::EINVAL.into()),
        _ => {
            file.cursor().owner.signal = argument as u8;
            Ok(0)
        }
    }
}

/// `F_SETOWN`, and the requests of ioctl(2) that do the same: a group is a negative number.
pub(super) fn set_owner(call: &FileCall, file: &Arc<OpenFile>, number: i32) -> CallResult {
    let kind = if number < 0 {
        OwnerKind::Group
    } else {
        OwnerKind::Process
    };
    name_owner(call, file, kind, number.unsigned_abs())
}

fn name_owner(call: &FileCall, file: &Arc<OpenFile>, kind: OwnerKind, id: u32) -> CallResult {
    let process = id == call.pid || call.view.exists(id);
    let there = match kind {
        _ if id == 0 => true,
        OwnerKind::Process => process,
        OwnerKind::Thread => process || call.view.threads(call.pid).contains(&id),
        OwnerKind::Group => call.view.session_of_group(id).is_some(),
    };
    if !there {
        return Err(Errno::ESRCH.into());
    }
    file.cursor().owner.name(kind, id, &call.who);
    if let Ok(socket) = socket_of(file) {
        socket.is_owned_through(file, call.fs.posts());
    }
    Ok(0)
}

/// `struct flock` as the caller gave it.
struct Wish {
    kind: i16,
    start: u64,
    end: u64,
}

fn wish(call: &FileCall, file: &OpenFile, of_open_file: bool) -> Result<Wish, Errno> {
    let bytes = call.input(2).first_chunk::<{ FLOCK_SIZE as usize }>();
    let bytes = bytes.ok_or(Errno::EFAULT)?;
    let short = |at: usize| i16::from_le_bytes([bytes[at], bytes[at + 1]]);
    let long = |at: usize| i64::from_le_bytes(core::array::from_fn(|byte| bytes[at + byte]));
    let (kind, whence, start, length) = (short(0), short(2), long(8), long(16));
    let pid = long(24) as i32;
    if !matches!(kind, F_RDLCK | F_WRLCK | F_UNLCK) || (of_open_file && pid != 0) {
        return Err(Errno::EINVAL);
    }
    let base = match whence {
        0 => 0,
        1 => file.offset() as i64,
        2 => file.inode().size() as i64,
        _ => return Err(Errno::EINVAL),
    };
    let start = base.checked_add(start).ok_or(Errno::EOVERFLOW)?;
    let first = u64::try_from(start).map_err(|_| Errno::EINVAL)?;
    let (start, end) = match length {
        0 => (first, END),
        1.. => {
            let last = start.checked_add(length - 1).ok_or(Errno::EOVERFLOW)?;
            (first, last as u64 + 1)
        }
        _ => {
            let start = start.checked_add(length).ok_or(Errno::EINVAL)?;
            (u64::try_from(start).map_err(|_| Errno::EINVAL)?, first)
        }
    };
    Ok(Wish { kind, start, end })
}

/// The record that is wished for; `None` for an unlock.
fn wanted(call: &FileCall, file: &OpenFile, command: u32, wish: &Wish) -> Option<Record> {
    let of_open_file = command >= F_OFD_GETLK;
    let kind = match wish.kind {
        F_RDLCK => Kind::Shared,
        F_WRLCK => Kind::Exclusive,
        _ => return None,
    };
    Some(Record {
        owner: lock_owner(call, file, command),
        pid: if of_open_file { 0 } else { call.pid },
        kind,
        start: wish.start,
        end: wish.end,
    })
}

fn lock_owner(call: &FileCall, file: &OpenFile, command: u32) -> Owner {
    match command {
        F_OFD_GETLK.. => Owner::Open(file.identity()),
        _ => Owner::Process(call.state.identity()),
    }
}

/// `F_GETLK`: the record in the way, or that there is none.
fn ask_record(call: &mut FileCall, file: &OpenFile, command: u32) -> CallResult {
    let wish = wish(call, file, command == F_OFD_GETLK)?;
    let wanted = wanted(call, file, command, &wish);
    let owner = lock_owner(call, file, command);
    let found = file
        .inode()
        .with_locks(call.fs.wakes(), |locks| match &wanted {
            Some(wanted) => Ok(locks.hindrance(wanted)),
            // What this open file has itself (Linux does so since 6.4).
            None if command == F_OFD_GETLK => Ok(locks.held(owner, wish.start, wish.end)),
            None => Err(Errno::EINVAL),
        })?;
    let mut bytes = call.input(2).to_vec();
    match found {
        None => bytes[..2].copy_from_slice(&F_UNLCK.to_le_bytes()),
        Some(found) => {
            let kind = match found.kind {
                Kind::Shared => F_RDLCK,
                Kind::Exclusive => F_WRLCK,
            };
            let length = match found.end {
                END => 0,
                end => end - found.start,
            };
            let pid = match found.owner {
                Owner::Process(_) => found.pid as i32,
                Owner::Open(_) => -1,
            };
            bytes[..2].copy_from_slice(&kind.to_le_bytes());
            bytes[2..4].copy_from_slice(&0_i16.to_le_bytes());
            bytes[8..16].copy_from_slice(&found.start.to_le_bytes());
            bytes[16..24].copy_from_slice(&length.to_le_bytes());
            bytes[24..28].copy_from_slice(&pid.to_le_bytes());
        }
    }
    call.output(2, &bytes);
    Ok(0)
}

/// `F_SETLK` and `F_SETLKW`.
fn set_record(call: &mut FileCall, file: &OpenFile, command: u32) -> CallResult {
    let wish = wish(call, file, matches!(command, F_OFD_SETLK | F_OFD_SETLKW))?;
    let allowed = match wish.kind {
        F_RDLCK => file.readable(),
        F_WRLCK => file.writable(),
        _ => true,
    };
    if !allowed {
        return Err(Errno::EBADF.into());
    }
    let owner = lock_owner(call, file, command);
    let wanted = wanted(call, file, command, &wish);
    let mut waiting = call.fs.lock_waits().lock();
    waiting.forget(call.tid);
    let stop = file.inode().with_locks(call.fs.wakes(), |locks| {
        let Some(wanted) = wanted else {
            locks.release(owner, wish.start, wish.end)?;
            return Ok(());
        };
        let Some(holder) = locks.hindrance(&wanted) else {
            locks.set(wanted)?;
            return Ok(());
        };
        if !matches!(command, F_SETLKW | F_OFD_SETLKW) {
            return Err(Stop::Errno(Errno::EAGAIN));
        }
        let waits = |waiter| call.view.is_in_call(waiter, FCNTL);
        if waiting.is_circle(owner, holder.owner, waits) {
            return Err(Stop::Errno(Errno::EDEADLK));
        }
        waiting.note(call.tid, owner, holder.owner);
        locks.wait(call.tid);
        Err(Stop::Wait)
    });
    stop.map(|()| 0)
}

/// `flock(fd, operation)`.
pub fn flock(call: &mut FileCall) -> CallResult {
    const LOCK_SH: u32 = 1;
    const LOCK_EX: u32 = 2;
    const LOCK_NB: u32 = 4;
    const LOCK_UN: u32 = 8;
    // What Linux once had for locks that must be kept; without effect since.
    const LOCK_MAND: u32 = 32;
    let operation = call.args[1] as u32;
    if operation & LOCK_MAND != 0 {
        return Ok(0);
    }
    let kind = match operation & !LOCK_NB {
        LOCK_SH => Some(Kind::Shared),
        LOCK_EX => Some(Kind::Exclusive),
        LOCK_UN => None,
        _ => return Err(Errno::EINVAL.into()),
    };
    let file = usable(call, 0)?;
    if kind.is_some() && !file.readable() && !file.writable() {
        return Err(Errno::EBADF.into());
    }
    file.inode().with_locks(call.fs.wakes(), |locks| {
        let open = file.identity();
        let Some(kind) = kind else {
            locks.release_whole(open);
            return Ok(0);
        };
        let pid = call.pid;
        if locks.set_whole(Whole { open, pid, kind }) {
            return Ok(0);
        }
        if operation & LOCK_NB != 0 {
            return Err(Stop::Errno(Errno::EAGAIN));
        }
        locks.wait(call.tid);
        Err(Stop::Wait)
    })
}
