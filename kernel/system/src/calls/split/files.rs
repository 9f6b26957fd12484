//! Calls on files whose arguments only the body can make sense of.
//!
//! Law: what has been moved is in the restart record, so that a wait, a signal or a move in the middle
//! loses nothing and doubles nothing.

use super::{pieces, pieces_of};
use crate::dispatch::{CHUNK, FdUse, LocalCall, result_of};
use crate::files::calls::{Argument, fcntl_argument};
use crate::files::{RWF_APPEND, RWF_NOWAIT};
use crate::home::Request;
use crate::wait::Stop;
use abi::Errno;
use abi::table::{Arg, Call, Length, Place};

const fn fcntl_row(args: &'static [Arg]) -> Call {
    Call {
        number: 72,
        name: "fcntl",
        place: Place::Split,
        args,
        again: true,
    }
}
static FCNTL_VALUE: Call = fcntl_row(&[Arg::Value, Arg::Value, Arg::Value]);
static FCNTL_IN_8: Call = fcntl_row(&[Arg::Value, Arg::Value, Arg::In(Length::Fixed(8))]);
static FCNTL_OUT_8: Call = fcntl_row(&[Arg::Value, Arg::Value, Arg::Out(Length::Fixed(8))]);
static FCNTL_IN_32: Call = fcntl_row(&[Arg::Value, Arg::Value, Arg::In(Length::Fixed(32))]);
static FCNTL_BOTH_32: Call = fcntl_row(&[Arg::Value, Arg::Value, Arg::InOut(Length::Fixed(32))]);

/// fcntl(2): what the third argument is depends on the second.
pub fn fcntl(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let row = match fcntl_argument(call.args[1]) {
        Argument::In(8) => &FCNTL_IN_8,
        Argument::Out(_) => &FCNTL_OUT_8,
        Argument::In(_) => &FCNTL_IN_32,
        Argument::InOut(_) => &FCNTL_BOTH_32,
        Argument::Value => &FCNTL_VALUE,
    };
    let args = call.args;
    call.forwarded_row(row, args)
}

/// A transfer inside home, piece by piece; `count` is the argument that says how much.
fn in_pieces(call: &mut LocalCall<'_>, count: usize) -> Result<u64, Stop> {
    let row = call.row.ok_or(Errno::ENOSYS)?;
    if call.args[count] > i64::MAX as u64 {
        // The descriptors are looked at first: the source is what is read.
        let source = call.args[if count == 3 { 1 } else { 0 }];
        return call.behind_descriptor((source, FdUse::Read), Err(Errno::EINVAL.into()));
    }
    let total = call.args[count].min(pieces::TRANSFER_MAX);
    loop {
        let done = call.thread().restart.progress;
        let mut step = call.args;
        step[count] = (total - done.min(total)).min(CHUNK);
        match call.forwarded_row(row, step) {
            Ok(moved) => {
                let done = done + moved.min(step[count]);
                call.thread().restart.progress = done;
                if moved == 0 || done >= total {
                    return Ok(done);
                }
            }
            Err(Stop::Errno(_)) if done > 0 => return Ok(done),
            Err(stop) => return Err(stop),
        }
    }
}

/// sendfile(2). The offset in user memory moves with every piece.
pub fn sendfile(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    if call.args[2] != 0 {
        // The one place that is looked at before the descriptors.
        let place = call.args[2];
        call.read_u64(place)?;
    }
    in_pieces(call, 3)
}

/// copy_file_range(2), likewise.
pub fn copy_file_range(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    in_pieces(call, 4)
}

/// vmsplice(2): bytes are copied, whatever `SPLICE_F_GIFT` says.
pub fn vmsplice(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    const VMSPLICE: u32 = 278;
    const KNOWN: u32 = 15;
    let [fd, _, _, flags, ..] = call.args;
    if flags as u32 & !KNOWN != 0 {
        return Err(Errno::EINVAL.into());
    }
    let pieces = pieces::rest(&pieces_of(call, FdUse::Any)?, 0, CHUNK);
    let answer = call.home(VMSPLICE, |call| {
        let mut request = Request::plain(VMSPLICE, [fd, 0, 0, flags, 0, 0]);
        pieces::make_room(call, &pieces, &mut request)?;
        pieces::gather_into(call, &pieces, &mut request)?;
        Ok(request)
    })?;
    let moved = result_of(answer.value)?;
    pieces::scatter(call, &pieces, answer.buffers.get(1).unwrap_or(&[]))?;
    Ok(moved)
}

const PREAD: u32 = 17;
const PWRITE: u32 = 18;
/// The current place in the file, as an offset of preadv2(2).
const CURRENT: u64 = u64::MAX;
/// `RWF_HIPRI`, `RWF_DSYNC`, `RWF_SYNC`: met by files in memory as they are.
const RWF_MET: u64 = 7;
const RWF_KNOWN: u64 = RWF_MET | RWF_NOWAIT | RWF_APPEND;

/// preadv(2).
pub fn preadv(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    read_there(call, 0)
}

/// preadv2(2) with an offset, and with the flags that home has to know.
fn read_there(call: &mut LocalCall<'_>, how: u64) -> Result<u64, Stop> {
    let offset = call.args[3];
    if offset > i64::MAX as u64 {
        return Err(Errno::EINVAL.into());
    }
    let fd = call.args[0];
    let pieces = pieces_of(call, FdUse::Read)?;
    loop {
        let done = call.thread().restart.progress;
        let into = pieces::rest(&pieces, done, CHUNK);
        let length = pieces::total(&into);
        if length == 0 && done > 0 {
            return Ok(done);
        }
        let at = offset.saturating_add(done);
        if how == 0
            && let Some(moved) = call.read_ahead(fd, Some(at), &into)?
        {
            call.thread().restart.progress = done + moved;
            if moved < length {
                return Ok(done + moved);
            }
            continue;
        }
        let answer = call.home(PREAD, |call| {
            let mut request = Request::plain(PREAD, [fd, 0, length, at, how, done]);
            pieces::make_room(call, &into, &mut request)?;
            Ok(request)
        })?;
        let moved = match result_of(answer.value) {
            Ok(moved) => moved.min(length),
            Err(_) if done > 0 => return Ok(done),
            Err(stop) => return Err(stop),
        };
        pieces::scatter(call, &into, answer.buffers.get(1).unwrap_or(&[]))?;
        call.thread().restart.progress = done + moved;
        if moved < length || moved == 0 {
            return Ok(done + moved);
        }
    }
}

/// pwritev(2).
pub fn pwritev(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    write_there(call, 0)
}

/// pwritev2(2) with an offset, and with the flags that home has to know.
fn write_there(call: &mut LocalCall<'_>, how: u64) -> Result<u64, Stop> {
    let offset = call.args[3];
    if offset > i64::MAX as u64 {
        return Err(Errno::EINVAL.into());
    }
    let fd = call.args[0];
    let pieces = pieces_of(call, FdUse::Write)?;
    pieces::write_out(call, &pieces, |call, now, done| {
        let at = offset.saturating_add(done);
        if how == 0
            && let Some(moved) = call.write_behind(fd, Some(at), now)?
        {
            return Ok(crate::home::plain(moved as i64));
        }
        call.home(PWRITE, |call| {
            let mut request = Request::plain(PWRITE, [fd, 0, 0, at, how, done]);
            pieces::gather_into(call, now, &mut request)?;
            Ok(request)
        })
    })
}

/// The flags that home has to know; refuses those that there are not, behind a bad descriptor.
fn known_flags(call: &mut LocalCall<'_>, use_of: FdUse) -> Result<u64, Stop> {
    let [fd, .., flags] = call.args;
    let flags = flags & 0xffff_ffff;
    if flags & !RWF_KNOWN != 0 {
        return call.behind_descriptor((fd, use_of), Err(Errno::EOPNOTSUPP.into()));
    }
    Ok(flags & !RWF_MET)
}

/// preadv2(2).
pub fn preadv2(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let how = known_flags(call, FdUse::Read)?;
    match call.args[3] {
        CURRENT => super::read_here(call, how),
        _ => read_there(call, how),
    }
}

/// pwritev2(2).
pub fn pwritev2(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let how = known_flags(call, FdUse::Write)?;
    match call.args[3] {
        CURRENT => super::write_here(call, how),
        _ => write_there(call, how),
    }
}
