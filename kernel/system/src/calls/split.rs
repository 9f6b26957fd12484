//! Calls that begin at the body and ask home for a part.
//!
//! Law: whatever is asked of home comes before anything is changed here, so that the call can be run
//! again after every wait.

mod aio;
mod cpu;
mod events;
mod files;
mod ids;
mod limits;
mod mapping;
mod numa;
mod options;
mod others;
mod pieces;
mod polling;
mod ptrace;
mod queues;
mod scheduling;
mod segments;
mod signals;
mod sockets;
mod sysv;
mod threads;

pub use aio::*;
pub(crate) use aio::{IO_SUBMIT, submitted};
pub use cpu::*;
pub use events::*;
pub use files::*;
pub use ids::*;
pub use limits::*;
pub use mapping::*;
pub use numa::*;
pub use others::*;
pub use polling::*;
pub use ptrace::*;
pub use queues::*;
pub use scheduling::*;
pub use segments::*;
pub use signals::*;
pub use sockets::*;
pub use sysv::*;
pub use threads::*;
pub(crate) use threads::{CLONE_FILES, CLONE_FS, CLONE_PARENT, EXIT_SIGNAL};

use crate::dispatch::{
    CALL_CHECK_FD, CALL_IOCTL as IOCTL, CALL_STOPPED, CHUNK, FdUse, LocalCall, ROOM_MAX, result_of,
};
use crate::files::calls::{Argument, INTERFACE, SIOCGIFCONF, ioctl_argument};
use crate::home::Request;
use crate::thread::padded_name;
use crate::wait::Stop;
use abi::Errno;
use abi::table::{Arg, Call, Length, Place};
use alloc::vec::Vec;
use pieces::Piece;

// ---- files ---------------------------------------------------------------------------------------

/// A row for each length that the argument of a request has, by [`ioctl_argument`].
macro_rules! ioctl_rows {
    ($way:ident, $bytes:expr, [$($length:literal),*]) => {
        match $bytes {
            $($length => {
                static ROW: Call = ioctl_row(&[
                    Arg::Value,
                    Arg::Value,
                    Arg::$way(Length::Fixed($length)),
                ]);
                Some(&ROW)
            })*
            _ => None,
        }
    };
}

const fn ioctl_row(args: &'static [Arg]) -> Call {
    Call {
        number: 16,
        name: "ioctl",
        place: Place::Split,
        args,
        again: false,
    }
}
static IOCTL_NONE: Call = ioctl_row(&[Arg::Value, Arg::Value, Arg::Value]);

/// ioctl(2): which way the third argument goes depends on the second.
pub fn ioctl(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    if call.args[1] as u32 == SIOCGIFCONF {
        return interfaces(call);
    }
    let row: Option<&'static Call> = match ioctl_argument(call.args[1] as u32) {
        Argument::Value => Some(&IOCTL_NONE),
        Argument::InOut(bytes) => ioctl_rows!(InOut, bytes, [40]),
        Argument::In(bytes) => ioctl_rows!(In, bytes, [1, 4, 8, 18, 36, 44]),
        Argument::Out(bytes) => ioctl_rows!(Out, bytes, [4, 8, 18, 36, 44]),
    };
    let row = row.ok_or(Errno::ENOTTY)?;
    let args = call.args;
    call.forwarded_row(row, args)
}

/// `SIOCGIFCONF`: as many interfaces as there is room for, or how long the list of all is.
fn interfaces(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let [fd, request, list, ..] = call.args;
    let mut all = Request::plain(IOCTL, [fd, request, 0, 0, 0, 0]);
    all.rooms[2] = ROOM_MAX as u32;
    let answer = call.home(IOCTL, |_| Ok(all))?;
    let done = result_of(answer.value)?;
    let entries = answer.buffers.get(2).unwrap_or(&[]);
    let room = call.read(list, 4)?;
    let room = i32::from_le_bytes(*room.first_chunk().ok_or(Errno::EFAULT)?);
    let into = call.read_u64(list.wrapping_add(8))?;
    let mut told = entries.len();
    if into != 0 {
        told = told.min(usize::try_from(room).unwrap_or(0));
        told -= told % INTERFACE;
        call.write(into, &entries[..told])?;
    }
    call.write(list, &(told as u32).to_le_bytes())?;
    Ok(done)
}

/// The most pieces of readv(2) and writev(2) (`IOV_MAX`).
const IOV_MAX: u64 = 1024;
static READ_KERNEL: u32 = 0;
static WRITE_KERNEL: u32 = 1;

/// The pieces of readv(2), writev(2) and their relatives, whose descriptor is to be good for something. A list that
/// has gone while the call was under way has ended where the call is.
fn pieces_of(call: &mut LocalCall<'_>, use_of: FdUse) -> Result<Vec<Piece>, Stop> {
    let [fd, vector, count, ..] = call.args;
    let found = match count {
        0..=IOV_MAX => pieces::vector(call, vector, count),
        _ => Err(Errno::EINVAL.into()),
    };
    if matches!(found, Err(Stop::Errno(_))) && call.thread().restart.progress > 0 {
        return Ok(Vec::new());
    }
    call.behind_descriptor((fd, use_of), found)
}

/// No bytes are moved without anybody looking at what the descriptor is, even a directory.
fn check_only(call: &mut LocalCall<'_>, fd: u64, use_of: FdUse) -> Result<u64, Stop> {
    call.ask_home(CALL_CHECK_FD, [fd, use_of as u64, 0, 0, 0, 0])
}

/// writev(2): the pieces are gathered, so that a small vector is one write.
pub fn writev(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    write_here(call, 0)
}

/// Writes where the cursor is, with the flags of pwritev2(2) that home has to know.
fn write_here(call: &mut LocalCall<'_>, how: u64) -> Result<u64, Stop> {
    let fd = call.args[0];
    let pieces = pieces_of(call, FdUse::Write)?;
    let shields = call.shields();
    let total = pieces::total(&pieces);
    if total == 0 && call.thread().restart.progress == 0 {
        return check_only(call, fd, FdUse::Write);
    }
    if call.thread().restart.whole {
        return message(call, &pieces, true);
    }
    let written = pieces::write_out(call, &pieces, |call, now, done| {
        if how == 0
            && let Some(moved) = call.write_behind(fd, None, now)?
        {
            return Ok(crate::home::plain(moved as i64));
        }
        let left = total.saturating_sub(done);
        call.home_limited(WRITE_KERNEL, |call| {
            let mut request =
                Request::plain(WRITE_KERNEL, [fd, 0, 0, 0, shields | how | left << 8, done]);
            pieces::gather_into(call, now, &mut request)?;
            Ok(request)
        })
    });
    if written == Err(Stop::Errno(Errno::EMSGSIZE)) && total > CHUNK {
        call.thread().restart.whole = true;
        return message(call, &pieces, true);
    }
    written
}

/// readv(2): one read, scattered.
pub fn readv(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    read_here(call, 0)
}

/// Reads where the cursor is, with the flags of preadv2(2) that home has to know.
fn read_here(call: &mut LocalCall<'_>, how: u64) -> Result<u64, Stop> {
    let fd = call.args[0];
    let pieces = pieces_of(call, FdUse::Read)?;
    if call.thread().restart.whole {
        return message(call, &pieces, false);
    }
    let all = pieces::total(&pieces);
    let into = pieces::rest(&pieces, 0, CHUNK);
    let length = pieces::total(&into);
    if length == 0 {
        return check_only(call, fd, FdUse::Read);
    }
    if how == 0
        && let Some(moved) = call.read_ahead(fd, None, &into)?
    {
        return Ok(moved);
    }
    let (shields, begun) = (call.shields(), u64::from(call.thread().restart.begun));
    let answer = call.home_limited(READ_KERNEL, |call| {
        let beside = shields | how | all << 8;
        let mut request = Request::plain(READ_KERNEL, [fd, 0, length, begun, beside, 0]);
        pieces::make_room(call, &into, &mut request)?;
        Ok(request)
    })?;
    let moved = result_of(answer.value);
    if moved == Err(Stop::Errno(Errno::EMSGSIZE)) && all > length {
        call.thread().restart.whole = true;
        return message(call, &pieces, false);
    }
    let moved = moved?;
    pieces::scatter(call, &into, answer.buffers.get(1).unwrap_or(&[]))?;
    Ok(moved)
}

// ---- processes -----------------------------------------------------------------------------------

/// execve(2).
pub fn execve(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    crate::exec::execve(call)
}

/// execveat(2).
pub fn execveat(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    crate::exec::execveat(call)
}

/// The process stops: home is told before it does.
pub fn stopped(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let signal = call.args[0];
    let refused = call.ask_home(CALL_STOPPED, [signal, 0, 0, 0, 0, 0])?;
    if refused == 0 {
        call.body().stopped = true;
        // The others stop where they are, those on other processors as soon as they are back.
        let pid = call.pid;
        call.system.wake_threads(pid);
        call.system.group_changed(pid);
    }
    Ok(0)
}

/// prctl(2): the name of the program; what else there is is in `options`.
pub fn prctl(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    const PR_SET_NAME: u64 = 15;
    const PR_GET_NAME: u64 = 16;
    let [option, argument, ..] = call.args;
    let option = u64::from(option as u32);
    match option {
        PR_GET_NAME => {
            let name = call.thread().name;
            call.write(argument, &name)?;
            Ok(0)
        }
        PR_SET_NAME => {
            let name = match call.string(argument, 16) {
                Err(Stop::Errno(Errno::ENAMETOOLONG)) => call.read(argument, 15)?,
                other => other?,
            };
            let copy = name.clone();
            let answer = call.home(crate::dispatch::CALL_RENAME, |_| {
                let mut request = Request::plain(crate::dispatch::CALL_RENAME, [0; 6]);
                request.inputs.set(0, copy);
                Ok(request)
            })?;
            result_of(answer.value)?;
            call.thread().name = padded_name(&name);
            Ok(0)
        }
        _ => match crate::seccomp::option(call) {
            Some(done) => done,
            None => options::option(call),
        },
    }
}

/// seccomp(2).
pub fn seccomp(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    crate::seccomp::seccomp(call)
}
