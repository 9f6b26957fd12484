//! Calls that begin at the body and ask home for a part.
//!
//! Law: whatever is asked of home comes before anything is changed here, so that the call can be run
//! again after every wait.

mod events;
mod files;
mod ids;
mod limits;
mod mapping;
mod polling;
mod signals;

pub use events::*;
pub use files::*;
pub use ids::*;
pub use limits::*;
pub use mapping::*;
pub use polling::*;
pub use signals::*;

use crate::body::{Body, Run, padded_name};
use crate::dispatch::{CALL_END, CALL_FORK, CALL_STOPPED, CHUNK, LocalCall, result_of};
use crate::files::calls::{Argument, ioctl_argument};
use crate::home::Request;
use crate::wait::Stop;
use abi::table::{Arg, Call, Length, Place};
use abi::{Errno, signal};
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
        let done = call.body().restart.progress;
        let now = rest(&pieces, done);
        let length: u64 = now.iter().map(|piece| piece.1).sum();
        if length == 0 && done > 0 {
            return Ok(done);
        }
        let answer = call.home(|call| {
            let mut bytes = Vec::new();
            for (address, length) in &now {
                bytes.extend(call.read(*address, *length as usize)?);
            }
            let mut request = Request::plain(WRITE_KERNEL, [fd, 0, length, 0, shields, done]);
            request.inputs.set(1, bytes);
            Ok(request)
        })?;
        match result_of(answer.value) {
            Ok(moved) => {
                let done = done + moved.min(length);
                call.body().restart.progress = done;
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
    let (shields, begun) = (call.shields(), u64::from(call.body().restart.begun));
    let answer = call.home(|call| {
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

const CLONE_VM: u64 = 0x100;
const CLONE_VFORK: u64 = 0x4000;
const CLONE_SETTLS: u64 = 0x8_0000;
const CLONE_PARENT_SETTID: u64 = 0x10_0000;
const CLONE_CHILD_CLEARTID: u64 = 0x20_0000;
const CLONE_CHILD_SETTID: u64 = 0x100_0000;
/// Flags that a fork may carry: the exit signal, tids, TLS, and those without meaning here.
const CLONE_KNOWN: u64 = 0xff
    | CLONE_VM
    | CLONE_VFORK
    | CLONE_SETTLS
    | CLONE_PARENT_SETTID
    | CLONE_CHILD_CLEARTID
    | CLONE_CHILD_SETTID
    | 0x40_0000;

/// fork(2).
pub fn fork(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    spawn(call, signal::SIGCHLD.into(), 0, [0; 3])
}

/// vfork(2).
pub fn vfork(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    spawn(
        call,
        CLONE_VM | CLONE_VFORK | u64::from(signal::SIGCHLD),
        0,
        [0; 3],
    )
}

/// clone(2) as fork and vfork use it; threads are not there yet.
pub fn clone(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let [flags, stack, parent_tid, child_tid, tls, _] = call.args;
    if flags & !CLONE_KNOWN != 0 {
        return Err(Errno::ENOSYS.into());
    }
    if (flags & CLONE_VM != 0) != (flags & CLONE_VFORK != 0) {
        return Err(Errno::ENOSYS.into());
    }
    spawn(call, flags, stack, [parent_tid, child_tid, tls])
}

/// A child: its home part first, then its body, on the node where the caller is.
fn spawn(
    call: &mut LocalCall<'_>,
    flags: u64,
    stack: u64,
    pointers: [u64; 3],
) -> Result<u64, Stop> {
    let [parent_tid, child_tid, tls] = pointers;
    let pid = call.pid;
    let shares = flags & CLONE_VM != 0;
    if let Some(page) = call.space()?.next_absent(0) {
        // A child of half a memory would need the rest twice, and pages that come for memory which
        // is lent would find nobody: they are waited for.
        return Err(call
            .system
            .trouble(pid, crate::memory::Trouble::Absent { page }));
    }
    if flags & CLONE_PARENT_SETTID != 0 {
        call.make_writable(parent_tid, 4)?;
    }
    let child = call.ask_home(CALL_FORK, [flags, 0, 0, 0, 0, 0])?;
    let child = u32::try_from(child).unwrap_or(0);
    if !call.system.may_be_child(pid, child) {
        return Err(Errno::EAGAIN.into());
    }
    if flags & CLONE_PARENT_SETTID != 0 {
        call.write(parent_tid, &child.to_le_bytes())?;
    }
    call.system.save_fpu();
    let parent = call.body();
    let space = if shares {
        parent.space.take()
    } else {
        match parent.space.as_mut().map(crate::memory::Space::fork) {
            Some(Ok(space)) => Some(space),
            _ => None,
        }
    };
    let made = space.is_some();
    let mut body = Body::child_of(parent, child, space);
    body.registers.rax = 0;
    if stack != 0 {
        body.registers.rsp = stack;
    }
    if flags & CLONE_SETTLS != 0 {
        body.registers.fs_base = tls;
    }
    body.clear_tid = if flags & CLONE_CHILD_CLEARTID != 0 {
        child_tid
    } else {
        0
    };
    if shares {
        body.lender = Some(pid);
    }
    call.system
        .bodies
        .insert(child, alloc::boxed::Box::new(body));
    if !made {
        call.system.body(child).call = None;
        call.system.die_without_memory(child);
        return Err(Errno::ENOMEM.into());
    }
    if flags & CLONE_CHILD_SETTID != 0 {
        let word = child.to_le_bytes();
        let _ = call
            .system
            .with_space(child, |space, pages| space.write(child_tid, &word, pages));
    }
    if shares {
        // The parent's registers carry the result already; it goes on when its memory is back.
        call.body().run = Run::Blocked;
    }
    call.system.make_ready(child);
    Ok(u64::from(child))
}

/// execve(2).
pub fn execve(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    crate::exec::execve(call)
}

/// exit(2): the process has one thread.
pub fn exit(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    exit_group(call)
}

/// exit_group(2).
pub fn exit_group(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    call.args = [(call.args[0] & 0xff) << 8, 0, 0, 0, 0, 0];
    end(call)
}

/// The process ends with a wait status, by its own will or by a signal.
pub fn end(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let cpu_ns = call.body().cpu_ns;
    call.ask_home(CALL_END, [call.args[0], cpu_ns, 0, 0, 0, 0])?;
    call.system.drop_body(call.pid);
    Ok(0)
}

/// The process stops: home is told before it does.
pub fn stopped(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let signal = call.args[0];
    let refused = call.ask_home(CALL_STOPPED, [signal, 0, 0, 0, 0, 0])?;
    if refused == 0 {
        call.body().run = Run::Stopped;
    }
    Ok(0)
}

/// prctl(2): the name of the program, and what concerns tracing and security as constants.
pub fn prctl(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    const PR_SET_PDEATHSIG: u64 = 1;
    const PR_GET_DUMPABLE: u64 = 3;
    const PR_SET_NAME: u64 = 15;
    const PR_GET_NAME: u64 = 16;
    let [option, argument, ..] = call.args;
    match option {
        PR_GET_DUMPABLE => Ok(1),
        PR_SET_PDEATHSIG => Err(Errno::EINVAL.into()),
        PR_GET_NAME => {
            let name = call.body().name;
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
            let body = call.body();
            body.name = padded_name(&name);
            Ok(0)
        }
        _ => Err(Errno::EINVAL.into()),
    }
}
