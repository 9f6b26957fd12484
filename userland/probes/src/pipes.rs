//! Pipes: bytes arrive once and in order, whoever moves and whoever is blocked.
//!
//! Law: what a probe sends depends on the position in the stream, so a lost, doubled or
//! exchanged byte is found out.

use std::io::{ErrorKind, PipeReader, PipeWriter, Read, Seek, SeekFrom, Write, pipe};
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

use rt::process::{Ended, start, wait_for};
use rt::raw::{DESK, Desk, libc};

use crate::files::Scratch;
use crate::memory::{check, fill};
use crate::moves::{Moves, go, tell};
use crate::{Doing, Verdict, ensure};

fn success(child: i32) -> Verdict {
    let ended = wait_for(child).doing("wait")?;
    ensure!(ended == Ended::Exited(0), "the child ended with {ended:?}");
    Ok(())
}

fn number(reader: &mut PipeReader) -> Result<u64, String> {
    let mut bytes = [0; 8];
    reader.read_exact(&mut bytes).doing("read from the pipe")?;
    Ok(u64::from_le_bytes(bytes))
}

/// Question and answer between parent and child, both of which move.
pub(crate) fn halves(moves: &mut Moves) -> Verdict {
    const QUESTIONS: u64 = 12;
    while moves.more() {
        let (mut questions, mut ask) = pipe().doing("pipe")?;
        let (mut answers, mut answer) = pipe().doing("pipe")?;
        let node = moves.take();
        let child = start(|| {
            let mut work = || {
                for question in 0..QUESTIONS {
                    if question == QUESTIONS / 2 {
                        go(node.as_deref())?;
                    }
                    let value = number(&mut questions)?;
                    let reply = value.wrapping_mul(3).to_le_bytes();
                    answer.write_all(&reply).doing("answer")?;
                }
                Ok(())
            };
            tell(work())
        })
        .doing("fork")?;
        drop((questions, answer));
        for question in 0..QUESTIONS {
            let value = question + moves.round() * 1000;
            ask.write_all(&value.to_le_bytes()).doing("ask")?;
            if question % 5 == 2 {
                moves.point()?;
            }
            let found = number(&mut answers)?;
            ensure!(
                found == value * 3,
                "question {question}: the answer is {found}"
            );
        }
        success(child)?;
    }
    Ok(())
}

/// The ends of a pipe: end of file when the last writer goes, an error when the last reader goes.
pub(crate) fn ends(moves: &mut Moves) -> Verdict {
    while moves.more() {
        let (mut reader, writer) = pipe().doing("pipe")?;
        let node = moves.take();
        let child = start(|| {
            let work = |mut writer: PipeWriter| {
                go(node.as_deref())?;
                writer.write_all(b"last words").doing("write")
            };
            tell(writer.try_clone().doing("dup").and_then(work))
        })
        .doing("fork")?;
        drop(writer);
        let mut text = String::new();
        reader.read_to_string(&mut text).doing("read to the end")?;
        ensure!(text == "last words", "the pipe said {text}");
        success(child)?;

        let (reader, mut writer) = pipe().doing("pipe")?;
        moves.point()?;
        drop(reader);
        match writer.write(b"x") {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
            other => return Err(format!("writing without a reader gave {other:?}")),
        }
    }
    Ok(())
}

/// A reader is moved while it waits for bytes.
pub(crate) fn blocked_read(moves: &mut Moves) -> Verdict {
    while moves.more() {
        let (mut reader, writer) = pipe().doing("pipe")?;
        let value = moves.round();
        let found = moves.while_blocked(
            || number(&mut reader),
            || (&writer).write_all(&value.to_le_bytes()).doing("write"),
        )??;
        ensure!(found == value, "the value is {found}");
    }
    Ok(())
}

/// A writer is moved while it waits for room; the reader takes everything afterwards.
pub(crate) fn blocked_write(moves: &mut Moves) -> Verdict {
    const SIZE: usize = 300_000;
    let mut bytes = vec![0; SIZE];
    while moves.more() {
        let seed = moves.round();
        let (reader, writer) = pipe().doing("pipe")?;
        fill(&mut bytes, seed, 0);
        let count = moves.while_blocked(
            || (&writer).write(&bytes),
            || {
                let mut found = vec![0; SIZE];
                (&reader).read_exact(&mut found).doing("read")?;
                check(&found, seed, 0)
            },
        )?;
        let count = count.doing("write more than a pipe holds")?;
        ensure!(count == SIZE, "one write wrote {count} bytes");
    }
    Ok(())
}

/// Waiting with a limit, for bytes and for the end.
pub(crate) fn poll(moves: &mut Moves) -> Verdict {
    const LIMIT: Duration = Duration::from_millis(150);
    while moves.more() {
        let (mut reader, mut writer) = pipe().doing("pipe")?;
        let begin = Instant::now();
        let nothing = moves.while_blocked(|| rt::files::poll(reader.as_fd(), 150), || Ok(()))?;
        ensure!(
            nothing.doing("poll")?.is_none(),
            "an empty pipe is readable"
        );
        let waited = begin.elapsed();
        ensure!(waited >= LIMIT, "the limit was over after {waited:?}");
        let ready = moves.while_blocked(
            || rt::files::poll(reader.as_fd(), 20_000),
            || (&writer).write_all(b"x").doing("write"),
        )?;
        let ready = ready
            .doing("poll")?
            .ok_or("20 seconds were not enough for a byte")?;
        ensure!(ready.readable && !ready.hung_up, "the pipe is {ready:?}");
        let room = rt::files::poll(writer.as_fd(), 0).doing("poll")?;
        ensure!(
            room.is_some_and(|room| room.writable),
            "there is no room in the pipe: {room:?}"
        );
        reader.read_exact(&mut [0]).doing("read")?;
        moves.point()?;
        writer.flush().doing("flush")?;
        drop(writer);
        let end = rt::files::poll(reader.as_fd(), 20_000).doing("poll")?;
        ensure!(
            end.is_some_and(|end| end.hung_up),
            "the writer is gone, but poll says {end:?}"
        );
    }
    Ok(())
}

/// Packets are read one by one wherever reader and writer are, and transfers keep their flags
/// (`O_DIRECT` of pipe2(2), `RWF_NOWAIT` and `RWF_APPEND` of preadv2(2) and pwritev2(2)).
pub(crate) fn packets(moves: &mut Moves) -> Verdict {
    const FDS: u64 = 0;
    const VECTOR: u64 = 16;
    const TEXT: u64 = 64;
    const HERE: u64 = u64::MAX;
    const NOWAIT: u64 = 8;
    const APPEND: u64 = 16;
    let mut desk = Desk::map().ok_or("no desk")?;
    let scratch = Scratch::new("packets");
    while moves.more() {
        let made = desk.call(
            libc::SYS_pipe2,
            [DESK + FDS, libc::O_DIRECT as u64, 0, 0, 0, 0],
        );
        ensure!(made == 0, "pipe2 = {made}");
        let ends = desk.word(FDS);
        let (from, to) = (ends & 0xffff_ffff, ends >> 32);
        for packet in [&b"one"[..], b"second", b"third"] {
            desk.put(TEXT, packet);
            let length = packet.len() as u64;
            let written = desk.call(libc::SYS_write, [to, DESK + TEXT, length, 0, 0, 0]);
            ensure!(written == length as i64, "a packet: {written}");
        }
        for (room, expected) in [(64, &b"one"[..]), (2, b"se"), (64, b"third")] {
            moves.point()?;
            let read = desk.call(libc::SYS_read, [from, DESK + TEXT, room, 0, 0, 0]);
            ensure!(read == expected.len() as i64, "{read} for {expected:?}");
            let found = desk.get(TEXT, expected.len());
            ensure!(found == expected, "{found:?} for {expected:?}");
        }
        desk.put(VECTOR, &[DESK + TEXT, 3].map(u64::to_le_bytes).concat());
        let args = [from, DESK + VECTOR, 1, HERE, HERE, NOWAIT];
        let nothing = desk.call(libc::SYS_preadv2, args);
        let again = -i64::from(libc::EAGAIN);
        ensure!(nothing == again, "an empty pipe without waiting: {nothing}");
        let mut file = scratch.create()?;
        file.write_all(b"0123456789").doing("write")?;
        moves.point()?;
        desk.put(TEXT, b"end");
        let fd = file.as_raw_fd() as u64;
        for _ in 0..2 {
            let args = [fd, DESK + VECTOR, 1, 2, 0, APPEND];
            let written = desk.call(libc::SYS_pwritev2, args);
            ensure!(written == 3, "pwritev2 = {written}");
        }
        let mut text = String::new();
        file.seek(SeekFrom::Start(0)).doing("seek")?;
        file.read_to_string(&mut text).doing("read")?;
        ensure!(text == "0123456789endend", "the file has {text}");
        for fd in [from, to] {
            desk.call(libc::SYS_close, [fd, 0, 0, 0, 0, 0]);
        }
    }
    Ok(())
}
