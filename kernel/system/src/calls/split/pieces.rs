//! The pieces of a vectored transfer: gathered from user memory, scattered into it.
//!
//! Law: the array is checked whole before a piece of it is touched; what is taken at once is at most
//! [`CHUNK`] bytes.

use crate::dispatch::{CHUNK, LocalCall, result_of};
use crate::home::Request;
use crate::thread::Answer;
use crate::wait::Stop;
use abi::Errno;
use alloc::vec::Vec;
use machine::{Access, USER_END};

/// One `struct iovec`: address and length.
pub(super) type Piece = (u64, u64);

/// A call transfers no more than this, whatever its pieces say (`MAX_RW_COUNT`).
pub(super) const TRANSFER_MAX: u64 = 0x7fff_f000;

/// Reads an array of `count` pieces of the caller's memory, which the caller has found few enough. What is behind
/// [`TRANSFER_MAX`] bytes is cut off.
///
/// # Errors
/// EINVAL if one of them is longer than a call can count; EFAULT, also if one is where no program has memory.
pub(super) fn vector(
    call: &mut LocalCall<'_>,
    address: u64,
    count: u64,
) -> Result<Vec<Piece>, Stop> {
    let mut pieces = vector_of_other(call, address, count)?;
    if let [(_, length)] = &mut pieces[..] {
        // A single one is cut before it is looked where it ends (`import_ubuf`).
        *length = TRANSFER_MAX.min(*length);
    }
    let end = |piece: &Piece| piece.0.checked_add(piece.1);
    let is_possible = |piece: &Piece| end(piece).is_some_and(|end| end <= USER_END);
    if !pieces.iter().all(is_possible) {
        return Err(Errno::EFAULT.into());
    }
    let mut room = TRANSFER_MAX;
    for (_, length) in &mut pieces {
        *length = room.min(*length);
        room -= *length;
    }
    Ok(pieces)
}

/// As [`vector`], of another's memory: where a piece is is looked at when it is reached.
pub(super) fn vector_of_other(
    call: &mut LocalCall<'_>,
    address: u64,
    count: u64,
) -> Result<Vec<Piece>, Stop> {
    let bytes = call.read(address, count as usize * 16)?;
    let word = |at: usize| u64::from_le_bytes(core::array::from_fn(|byte| bytes[at * 8 + byte]));
    let pieces: Vec<Piece> = (0..count as usize)
        .map(|index| (word(2 * index), word(2 * index + 1)))
        .collect();
    if pieces.iter().any(|piece| piece.1 > i64::MAX as u64) {
        return Err(Errno::EINVAL.into());
    }
    Ok(pieces)
}

/// Bytes in all pieces.
pub(super) fn total(pieces: &[Piece]) -> u64 {
    let lengths = pieces.iter().map(|piece| piece.1);
    lengths.fold(0, u64::saturating_add)
}

/// The part of the pieces behind the first `done` bytes, at most `room` bytes of it.
pub(super) fn rest(pieces: &[Piece], mut done: u64, mut room: u64) -> Vec<Piece> {
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

/// The contents of all pieces.
pub(super) fn gather(call: &mut LocalCall<'_>, pieces: &[Piece]) -> Result<Vec<u8>, Stop> {
    let mut bytes = Vec::new();
    for (address, length) in pieces {
        bytes.extend(call.read(*address, *length as usize)?);
    }
    Ok(bytes)
}

/// Puts the contents of all pieces into a request, in buffer 1 with its length in argument 2; of those that
/// memory does not have, what lies before.
pub(super) fn gather_into(
    call: &mut LocalCall<'_>,
    pieces: &[Piece],
    request: &mut Request,
) -> Result<(), Stop> {
    let mut bytes = Vec::new();
    for (address, length) in pieces {
        let length = *length as usize;
        let there = call.fit_for(*address, length, Access::READ)?;
        bytes.extend(call.read(*address, there)?);
        if there < length {
            request.inputs.mark_unread(1);
            break;
        }
    }
    request.args[2] = total(pieces);
    request.inputs.set(1, bytes);
    Ok(())
}

/// Makes the pieces writable, and room for as much in buffer 1 of a request.
pub(super) fn make_room(
    call: &mut LocalCall<'_>,
    pieces: &[Piece],
    request: &mut Request,
) -> Result<(), Stop> {
    let mut room = 0;
    for (address, length) in pieces {
        let length = *length as usize;
        let fit = call.fit_for(*address, length, Access::WRITE)?;
        room += fit;
        if fit < length {
            request.inputs.mark_narrow(1);
            break;
        }
    }
    request.rooms[1] = room as u32;
    Ok(())
}

/// Makes sure that [`scatter`] will succeed.
pub(super) fn make_writable(call: &mut LocalCall<'_>, pieces: &[Piece]) -> Result<(), Stop> {
    for (address, length) in pieces {
        call.make_writable(*address, *length as usize)?;
    }
    Ok(())
}

/// Fills the pieces in their order, as far as the bytes go.
pub(super) fn scatter(
    call: &mut LocalCall<'_>,
    pieces: &[Piece],
    mut bytes: &[u8],
) -> Result<(), Stop> {
    for (address, length) in pieces {
        let (now, later) = bytes.split_at(bytes.len().min(*length as usize));
        call.write(*address, now)?;
        bytes = later;
    }
    Ok(())
}

/// Writes the pieces, as many at once as fit into a call: `ask` writes some of them when so many
/// bytes are done.
pub(super) fn write_out(
    call: &mut LocalCall<'_>,
    pieces: &[Piece],
    ask: impl Fn(&mut LocalCall<'_>, &[Piece], u64) -> Result<Answer, Stop>,
) -> Result<u64, Stop> {
    loop {
        let done = call.thread().restart.progress;
        let now = rest(pieces, done, CHUNK);
        let length = total(&now);
        if length == 0 && done > 0 {
            return Ok(done);
        }
        let answer = ask(call, &now, done)?;
        match result_of(answer.value) {
            Ok(moved) => {
                let done = done + moved.min(length);
                call.thread().restart.progress = done;
                if moved == 0 {
                    return Ok(done);
                }
            }
            Err(Stop::Errno(_)) if done > 0 => return Ok(done),
            Err(stop) => return Err(stop),
        }
    }
}
