//! Asynchronous I/O of Linux: contexts, requests and events are the same wherever the process is.
//!
//! Law: the ring is looked at as libaio does it, in memory, and by the calls; a request is carried out once.

use std::os::fd::AsRawFd;

use rt::raw::{DESK, Desk, libc};

use crate::files::Scratch;
use crate::moves::Moves;
use crate::{Doing, Verdict, ensure, must};

/// Where on the desk things are.
const CONTEXT: u64 = 0;
const REQUESTS: u64 = 256;
const LIST: u64 = 1024;
const EVENTS: u64 = 2048;
const TIMEOUT: u64 = 4096;
const BUFFER: u64 = 8192;
/// Bytes of a `struct iocb` and of a `struct io_event`.
const IOCB: u64 = 64;
const EVENT: u64 = 32;

/// A request: read (0) or write (1) at an offset, which an eventfd hears of.
fn put(desk: &mut Desk, index: u64, operation: u64, fd: u64, length: u64, told: u64) {
    let place = DESK + BUFFER + 4096 * index;
    let words = [
        0x70 + index,
        0,
        operation | fd << 32,
        place,
        length,
        4096 * index,
        0,
        1 | told << 32,
    ];
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    desk.put(REQUESTS + IOCB * index, &bytes);
    let at = DESK + REQUESTS + IOCB * index;
    desk.put(LIST + 8 * index, &at.to_le_bytes());
}

fn submit(desk: &mut Desk, count: u64) -> Verdict {
    let words = [desk.word(CONTEXT), count, DESK + LIST, 0, 0, 0];
    let done = must(desk, "io_submit", libc::SYS_io_submit, words)?;
    ensure!(done == count, "{done} of {count} requests were carried out");
    Ok(())
}

/// Takes `count` events, each with its result.
fn events(desk: &mut Desk, count: u64, result: u64) -> Verdict {
    let words = [desk.word(CONTEXT), count, count, DESK + EVENTS, 0, 0];
    let found = must(desk, "io_getevents", libc::SYS_io_getevents, words)?;
    ensure!(found == count, "{found} events came");
    for index in 0..count {
        let at = EVENTS + EVENT * index;
        let event = [0, 8, 16, 24].map(|word| desk.word(at + word));
        let request = DESK + REQUESTS + IOCB * index;
        let expected = [0x70 + index, request, result, 0];
        ensure!(event == expected, "event {index} is {event:x?}");
    }
    Ok(())
}

/// Requests before a move have their events behind it.
pub(crate) fn requests(moves: &mut Moves) -> Verdict {
    const COUNT: u64 = 4;
    let mut desk = Desk::map().ok_or("no desk")?;
    let scratch = Scratch::new("aio");
    let file = scratch.create()?;
    let fd = u64::from(file.as_raw_fd().cast_unsigned());
    let told = must(&mut desk, "eventfd", libc::SYS_eventfd2, [0; 6])?;
    let words = [64, DESK + CONTEXT, 0, 0, 0, 0];
    must(&mut desk, "io_setup", libc::SYS_io_setup, words)?;
    while moves.more() {
        let text = moves.round().to_le_bytes().repeat(125);
        for index in 0..COUNT {
            desk.put(BUFFER + 4096 * index, &text);
            put(&mut desk, index, 1, fd, 1000, told);
        }
        submit(&mut desk, COUNT)?;
        moves.point()?;
        events(&mut desk, COUNT, 1000)?;
        for index in 0..COUNT {
            desk.put(BUFFER + 4096 * index, &[0; 1000]);
            put(&mut desk, index, 0, fd, 1000, told);
        }
        moves.point()?;
        submit(&mut desk, COUNT)?;
        moves.point()?;
        events(&mut desk, COUNT, 1000)?;
        for index in 0..COUNT {
            let found = desk.get(BUFFER + 4096 * index, 1000);
            ensure!(
                found == text,
                "piece {index} of the file is not what was written"
            );
        }
        let words = [told, DESK + EVENTS, 8, 0, 0, 0];
        must(&mut desk, "read", libc::SYS_read, words)?;
        let heard = desk.word(EVENTS);
        ensure!(heard == 2 * COUNT, "the eventfd has heard of {heard}");
        desk.put(TIMEOUT, &[0; 16]);
        let words = [desk.word(CONTEXT), 0, 1, DESK + EVENTS, DESK + TIMEOUT, 0];
        let more = must(&mut desk, "io_getevents", libc::SYS_io_getevents, words)?;
        ensure!(more == 0, "{more} events too many");
    }
    let words = [desk.word(CONTEXT), 0, 0, 0, 0, 0];
    must(&mut desk, "io_destroy", libc::SYS_io_destroy, words)?;
    file.sync_all().doing("sync")
}
