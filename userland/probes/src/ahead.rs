//! What is looked at before it is taken, and taken in unusual ways: offsets of peeking, urgent bytes, memory
//! that goes through a pipe, and thousands of descriptors in one call.
//!
//! Law: what a socket or a pipe holds, and how far one has looked into it, is the same wherever the process is.

use rt::raw::{DESK, Desk, KEPT, libc};

use crate::moves::Moves;
use crate::{Verdict, ensure, must};

/// Places on the desk.
const NUMBER: u64 = 0;
const PAIR: u64 = 0x100;
const PIECES: u64 = 0x200;
const BYTES: u64 = 0x1000;
const MANY: u64 = 0x8000;

fn desk() -> Result<Desk, String> {
    Desk::map().ok_or_else(|| "no desk".to_owned())
}

/// Two descriptors that a call has made.
fn made(
    desk: &mut Desk,
    what: &str,
    number: libc::c_long,
    words: [u64; 4],
) -> Result<[u64; 2], String> {
    let mut all = [0; 6];
    all[..4].copy_from_slice(&words);
    must(desk, what, number, all)?;
    let both = desk.word(PAIR);
    Ok([both & 0xffff_ffff, both >> 32])
}

fn close(desk: &mut Desk, pair: [u64; 2]) -> Verdict {
    for fd in pair {
        must(desk, "close", libc::SYS_close, [fd, 0, 0, 0, 0, 0])?;
    }
    Ok(())
}

fn send(desk: &mut Desk, fd: u64, bytes: &[u8], flags: u64) -> Verdict {
    desk.put(BYTES, bytes);
    let words = [fd, DESK + BYTES, bytes.len() as u64, flags, 0, 0];
    let sent = must(desk, "send", libc::SYS_sendto, words)?;
    ensure!(sent == bytes.len() as u64, "{sent} bytes were sent");
    Ok(())
}

fn receive(desk: &mut Desk, fd: u64, most: u64, flags: u64) -> Result<Vec<u8>, String> {
    let words = [fd, DESK + BYTES, most, flags, 0, 0];
    let length = must(desk, "receive", libc::SYS_recvfrom, words)?;
    Ok(desk.get(BYTES, length as usize))
}

/// How far one has looked into a socket, and its urgent byte.
pub(crate) fn peeks(moves: &mut Moves) -> Verdict {
    const PEEK_OFF: u64 = 42;
    const PEEK: u64 = 2;
    const OOB: u64 = 1;
    let mut desk = desk()?;
    while moves.more() {
        let words = [1, 1, 0, DESK + PAIR];
        let pair = made(&mut desk, "socketpair", libc::SYS_socketpair, words)?;
        let [one, other] = pair;
        desk.put(NUMBER, &2_u32.to_le_bytes());
        let words = [other, 1, PEEK_OFF, DESK + NUMBER, 4, 0];
        must(&mut desk, "SO_PEEK_OFF", libc::SYS_setsockopt, words)?;
        send(&mut desk, one, b"0123456789", 0)?;
        let first = receive(&mut desk, other, 3, PEEK)?;
        moves.point()?;
        let second = receive(&mut desk, other, 3, PEEK)?;
        let taken = receive(&mut desk, other, 4, 0)?;
        moves.point()?;
        let third = receive(&mut desk, other, 9, PEEK)?;
        let seen = [&first[..], &second, &taken, &third];
        let expected: [&[u8]; 4] = [b"234", b"567", b"0123", b"89"];
        ensure!(seen == expected, "{seen:?}");
        receive(&mut desk, other, 9, 0)?;
        send(&mut desk, one, b"ab!", OOB)?;
        moves.point()?;
        let urgent = receive(&mut desk, other, 9, OOB)?;
        let before = receive(&mut desk, other, 9, 0)?;
        ensure!(
            (&urgent[..], &before[..]) == (&b"!"[..], &b"ab"[..]),
            "urgent {urgent:?} behind {before:?}"
        );
        close(&mut desk, pair)?;
    }
    Ok(())
}

/// Memory goes into a pipe and comes out of it.
pub(crate) fn splice(moves: &mut Moves) -> Verdict {
    const FROM: [u64; 2] = [BYTES, BYTES + 0x1000];
    const INTO: [u64; 2] = [BYTES + 0x2000, BYTES + 0x3000];
    let mut desk = desk()?;
    for (place, at) in [(PIECES, FROM), (PIECES + 32, INTO)] {
        let pieces = at.map(|at| [DESK + at, 5]).concat();
        let pieces: Vec<u8> = pieces.iter().flat_map(|word| word.to_le_bytes()).collect();
        desk.put(place, &pieces);
    }
    while moves.more() {
        let pair = made(&mut desk, "pipe2", libc::SYS_pipe2, [DESK + PAIR, 0, 0, 0])?;
        let [from, into] = pair;
        for ((from, into), text) in FROM.into_iter().zip(INTO).zip([b"hello", b"world"]) {
            desk.put(from, text);
            desk.put(into, b".....");
        }
        let words = |fd, pieces| [fd, DESK + pieces, 2, 0, 0, 0];
        let words_out = words(into, PIECES);
        let put = must(&mut desk, "vmsplice", libc::SYS_vmsplice, words_out)?;
        moves.point()?;
        let words_in = words(from, PIECES + 32);
        let got = must(&mut desk, "vmsplice", libc::SYS_vmsplice, words_in)?;
        let found = INTO.map(|at| desk.get(at, 5)).concat();
        ensure!(
            (put, got, &found[..]) == (10, 10, b"helloworld"),
            "{put} and {got} bytes: {found:?}"
        );
        close(&mut desk, pair)?;
    }
    Ok(())
}

/// More descriptors are waited for than fit into one piece; and who wakes where no memory is, is told so.
pub(crate) fn many(moves: &mut Moves) -> Verdict {
    const ENTRIES: u64 = 10_000;
    const NOFILE: u64 = 7;
    const WAKE: u64 = 1;
    const PRIVATE: u64 = 0x80;
    let mut desk = desk()?;
    desk.put(NUMBER, &[ENTRIES; 2].map(u64::to_le_bytes).concat());
    let words = [0, NOFILE, DESK + NUMBER, 0, 0, 0];
    must(&mut desk, "RLIMIT_NOFILE", libc::SYS_prlimit64, words)?;
    while moves.more() {
        let pair = made(&mut desk, "pipe2", libc::SYS_pipe2, [DESK + PAIR, 0, 0, 0])?;
        let none = [0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0];
        desk.put(MANY, &none.repeat(ENTRIES as usize));
        let last = MANY + (ENTRIES - 1) * 8;
        desk.put(last, &(pair[0] | 1 << 32).to_le_bytes());
        desk.put(BYTES, b"x");
        let poll =
            |desk: &mut Desk, count| desk.call(libc::SYS_poll, [DESK + MANY, count, 0, 0, 0, 0]);
        moves.point()?;
        let before = poll(&mut desk, ENTRIES);
        must(
            &mut desk,
            "write",
            libc::SYS_write,
            [pair[1], DESK + BYTES, 1, 0, 0, 0],
        )?;
        moves.point()?;
        let told = (
            before,
            poll(&mut desk, ENTRIES),
            poll(&mut desk, ENTRIES + 1),
        );
        let events = desk.word(last) >> 48;
        ensure!(
            told == (0, 1, -i64::from(libc::EINVAL)) && events == 1,
            "poll gave {told:?} and {events}"
        );
        let wake = |desk: &mut Desk, flag| {
            desk.call(libc::SYS_futex, [DESK + KEPT, WAKE | flag, 1, 0, 0, 0])
        };
        let told = (wake(&mut desk, 0), wake(&mut desk, PRIVATE));
        ensure!(
            told == (-i64::from(libc::EFAULT), 0),
            "waking gave {told:?}"
        );
        close(&mut desk, pair)?;
    }
    Ok(())
}
