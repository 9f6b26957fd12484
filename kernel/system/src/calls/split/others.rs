//! What is another process's: its memory (process_vm_readv(2), process_vm_writev(2)) and its robust futexes.
//!
//! Law: bytes go from one memory to the other while both are at home; who is not is brought there first,
//! and what has been copied is in the restart record. A page is the least that is copied or not.

use super::pieces::{self, Piece};
use crate::dispatch::{CALL_MEET, CHUNK, LocalCall};
use crate::wait::Stop;
use abi::Errno;
use machine::PAGE_SIZE;

/// Pieces in one array at most (`UIO_MAXIOV`).
const PIECES_MAX: u64 = 1024;
/// Pages that are copied before others have their turn.
const PAGES_AT_ONCE: usize = 16;
/// How long a process waits for the pages of another that has just moved, before it looks again.
const PATIENCE_NS: u64 = 1_000_000;

/// Where the bytes go.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Here,
    There,
}

/// process_vm_readv(2).
pub fn process_vm_readv(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    across(call, Way::Here)
}

/// process_vm_writev(2).
pub fn process_vm_writev(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    across(call, Way::There)
}

/// get_robust_list(2). A thread of another process is brought home for that, as its memory is.
pub fn get_robust_list(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let [tid, head, length, ..] = call.args;
    let tid = if tid == 0 { call.tid } else { tid as u32 };
    let pid = match call.body().threads.contains(&tid) {
        true => call.pid,
        false => call.ask_home(CALL_MEET, [tid.into(), 0, 0, 0, 0, 0])? as u32,
    };
    let Some(thread) = call.system.threads.get(&tid) else {
        if call.system.bodies.contains_key(&pid) {
            // The others of its process are here: it has ended.
            return Err(Errno::ESRCH.into());
        }
        let then = call.clock().saturating_add(PATIENCE_NS);
        return Err(call.wait_until(then));
    };
    let (list, bytes) = thread.robust_list;
    call.make_writable(head, 8)?;
    call.write(length, &bytes.to_le_bytes())?;
    call.write(head, &list.to_le_bytes())?;
    Ok(0)
}

fn across(call: &mut LocalCall<'_>, way: Way) -> Result<u64, Stop> {
    let [pid, own, own_count, others, others_count, flags] = call.args;
    if flags != 0 || own_count > PIECES_MAX || others_count > PIECES_MAX {
        return Err(Errno::EINVAL.into());
    }
    let own = pieces::vector(call, own, own_count)?;
    let others = pieces::vector_of_other(call, others, others_count)?;
    if pieces::total(&own) == 0 || pieces::total(&others) == 0 {
        return Ok(0);
    }
    let other = call.ask_home(CALL_MEET, [pid, 0, 0, 0, 0, 0])? as u32;
    let arriving = call.system.space_of(other);
    if arriving.is_none_or(|space| space.next_absent(0).is_some()) {
        let then = call.clock().saturating_add(PATIENCE_NS);
        return Err(call.wait_until(then));
    }
    for _ in 0..PAGES_AT_ONCE {
        let done = call.thread().restart.progress;
        let Some((here, there, length)) = next(&own, &others, done) else {
            return Ok(done);
        };
        match copy(call, way, (here, other, there), length) {
            Ok(()) => call.thread().restart.progress = done + length as u64,
            Err(Stop::Errno(_)) if done > 0 => return Ok(done),
            Err(stop) => return Err(stop),
        }
    }
    call.system.wakes.push(call.tid);
    call.thread().restart.begun = true;
    Err(Stop::Wait)
}

/// Both addresses of what is next to be copied, and how much of it lies in one page on either side.
fn next(own: &[Piece], others: &[Piece], done: u64) -> Option<(u64, u64, usize)> {
    let page = PAGE_SIZE as u64;
    let own = *pieces::rest(own, done, CHUNK).first()?;
    let other = *pieces::rest(others, done, CHUNK).first()?;
    let within = |(address, length): Piece| length.min(page - address % page);
    Some((own.0, other.0, within(own).min(within(other)) as usize))
}

fn copy(
    call: &mut LocalCall<'_>,
    way: Way,
    (here, other, there): (u64, u32, u64),
    length: usize,
) -> Result<(), Stop> {
    let tid = call.tid;
    if way == Way::There {
        let bytes = call.read(here, length)?;
        let done = call
            .system
            .with_space(other, |space, pages| space.write(there, &bytes, pages));
        return done.map_err(|trouble| call.system.trouble(tid, trouble));
    }
    let mut bytes = alloc::vec![0; length];
    let done = call
        .system
        .with_space(other, |space, pages| space.read(there, &mut bytes, pages));
    done.map_err(|trouble| call.system.trouble(tid, trouble))?;
    call.write(here, &bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_copied_at_once_lies_in_one_page_on_either_side() {
        let own = [(0x1ff0, 0x20), (0x5000, 8)];
        let others = [(0x3000, 0x1000)];
        assert_eq!(next(&own, &others, 0), Some((0x1ff0, 0x3000, 0x10)));
        assert_eq!(next(&own, &others, 0x10), Some((0x2000, 0x3010, 0x10)));
        assert_eq!(next(&own, &others, 0x20), Some((0x5000, 0x3020, 8)));
        assert_eq!(next(&own, &others, 0x28), None);
    }
}
