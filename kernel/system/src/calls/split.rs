//! Calls that begin at the body and ask home for a part.
//!
//! Law: whatever is asked of home comes before anything is changed here, so that the call can be run
//! again after every wait.

mod events;
mod files;
mod ids;
mod limits;
mod mapping;
mod options;
mod polling;
mod signals;
mod sockets;
mod sysv;
mod threads;

pub use events::*;
pub use files::*;
pub use ids::*;
pub use limits::*;
pub use mapping::*;
pub use polling::*;
pub use signals::*;
pub use sockets::*;
pub use sysv::*;
pub use threads::*;

use crate::dispatch::{CALL_STOPPED, CHUNK, LocalCall, result_of};
use crate::files::calls::{Argument, ioctl_argument};
use crate::home::Request;
use crate::thread::padded_name;
use crate::wait::Stop;
use abi::Errno;
use abi::table::{Arg, Call, Length, Place};
use alloc::vec::Vec;

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
    }
}
static IOCTL_NONE: Call = ioctl_row(&[Arg::Value, Arg::Value, Arg::Value]);

/// ioctl(2): which way the third argument goes depends on the second.
pub fn ioctl(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let row: Option<&'static Call> = match ioctl_argument(call.args[1] as u32) {
        Argument::Value | Argument::InOut(_) => Some(&IOCTL_NONE),
        Argument::In(bytes) => ioctl_rows!(In, bytes, [1, 4, 8, 18, 36, 44]),
        Argument::Out(bytes) => ioctl_rows!(Out, bytes, [4, 8, 18, 36, 44]),
    };
    let row = row.ok_or(Errno::ENOTTY)?;
    let args = call.args;
    call.forwarded_row(row, args)
}

/// The most pieces of readv(2) and writev(2) (`IOV_MAX`).
const IOV_MAX: u64 = 1024;
static READ_KERNEL: u32 = 0;
static WRITE_KERNEL: u32 = 1;

/// The pieces of a vectored transfer: (address, length).
fn pieces(call: &mut LocalCall<'_>) -> Result<Vec<(u64, u64)>, Stop> {
    let [_, vector, count, ..] = call.args;
    if count > IOV_MAX {
        return Err(Errno::EINVAL.into());
    }
    let bytes = call.read(vector, count as usize * 16)?;
    let word = |at: usize| u64::from_le_bytes(core::array::from_fn(|byte| bytes[at * 8 + byte]));
    let pieces: Vec<(u64, u64)> = (0..count as usize)
        .map(|index| (word(2 * index), word(2 * index + 1)))
        .collect();
    let total = pieces
        .iter()
        .try_fold(0_u64, |sum, piece| sum.checked_add(piece.1));
    if total.is_none_or(|total| total > i64::MAX as u64) {
        return Err(Errno::EINVAL.into());
    }
    Ok(pieces)
}

/// The part of the pieces behind the first `done` bytes, at most [`CHUNK`] bytes of it.
fn rest(pieces: &[(u64, u64)], mut done: u64) -> Vec<(u64, u64)> {
    let mut room = CHUNK;
    let mut rest = Vec::new();
    for (address, length) in pieces {
        let skip = done.min(*length);
        done -= skip;
        let take = (length - skip).min(room);
        if take > 0 {
            rest.push((address.wrapping_add(skip), take));
            room -= take;
        }
    }
    rest
}

/// writev(2): the pieces are gathered, so that a small vector is one write.
pub fn writev(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let fd = call.args[0];
    let pieces = pieces(call)?;
    let shields = call.shields();
    loop {
        let done = call.thread().restart.progress;
        let now = rest(&pieces, done);
        let total: u64 = pieces.iter().map(|piece| piece.1).sum();
        let left = total.saturating_sub(done);
        let length: u64 = now.iter().map(|piece| piece.1).sum();
        if length == 0 && done > 0 {
            return Ok(done);
        }
        let answer = call.home_limited(|call| {
            let mut bytes = Vec::new();
            for (address, length) in &now {
                bytes.extend(call.read(*address, *length as usize)?);
            }
            let mut request =
                Request::plain(WRITE_KERNEL, [fd, 0, length, 0, shields | left << 8, done]);
            request.inputs.set(1, bytes);
            Ok(request)
        })?;
        match result_of(answer.value) {
            Ok(moved) => {
                let done = done + moved.min(length);
                call.thread().restart.progress = done;
                if moved == 0 {
                    return Ok(done);
                }
            }
            Err(_) if done > 0 => return Ok(done),
            Err(stop) => return Err(stop),
        }
    }
}

/// readv(2): one read, scattered.
pub fn readv(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let fd = call.args[0];
    let pieces = pieces(call)?;
    let into = rest(&pieces, 0);
    let length: u64 = into.iter().map(|piece| piece.1).sum();
    let (shields, begun) = (call.shields(), u64::from(call.thread().restart.begun));
    let answer = call.home_limited(|call| {
        for (address, length) in &into {
            call.make_writable(*address, *length as usize)?;
        }
        let mut request = Request::plain(READ_KERNEL, [fd, 0, length, begun, shields, 0]);
        request.rooms[1] = length as u32;
        Ok(request)
    })?;
    let moved = result_of(answer.value)?;
    let mut bytes = answer.buffers.get(1).unwrap_or(&[]);
    for (address, length) in into {
        let (now, later) = bytes.split_at(bytes.len().min(length as usize));
        call.write(address, now)?;
        bytes = later;
    }
    Ok(moved)
}

// ---- processes -----------------------------------------------------------------------------------

/// execve(2).
pub fn execve(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    crate::exec::execve(call)
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
    }
    Ok(0)
}

/// prctl(2): the name of the program; what else there is is in `options`.
pub fn prctl(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    const PR_SET_NAME: u64 = 15;
    const PR_GET_NAME: u64 = 16;
    let [option, argument, ..] = call.args;
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
            let answer = call.home(|_| {
                let mut request = Request::plain(crate::dispatch::CALL_RENAME, [0; 6]);
                request.inputs.set(0, copy);
                Ok(request)
            })?;
            result_of(answer.value)?;
            call.thread().name = padded_name(&name);
            Ok(0)
        }
        _ => options::option(call),
    }
}
