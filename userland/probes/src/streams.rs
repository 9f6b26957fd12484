//! Files read and written in order, in pieces of no particular size, alone and by two.
//!
//! Law: whoever was told that something is written finds it, however much of the file was read
//! before. Every probe uses a file of its own.

use std::fs::{File, OpenOptions};
use std::io::{PipeReader, PipeWriter, Read, Seek, SeekFrom, Write, pipe};
use std::os::unix::fs::FileExt;
use std::path::Path;

use rt::process::{Ended, start, wait_for};

use crate::files::Scratch;
use crate::memory::{check, fill};
use crate::moves::{Moves, go, tell};
use crate::{Doing, Verdict, ensure};

const SIZE: usize = 300_000;
/// Neither pages nor parts of them.
const PIECES: [usize; 5] = [10_007, 4096, 70_001, 13, 1500];

/// Ranges of a file in order, of changing length.
fn pieces(from: usize, to: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
    let mut at = from;
    PIECES.iter().cycle().map_while(move |length| {
        let piece = at..(at + length).min(to);
        at = piece.end;
        (!piece.is_empty()).then_some(piece)
    })
}

fn write_in_pieces(file: &mut File, bytes: &[u8], moves: &mut Moves) -> Verdict {
    for (number, piece) in pieces(0, bytes.len()).enumerate() {
        file.write_all(&bytes[piece]).doing("write a piece")?;
        if number == 7 {
            moves.point()?;
        }
    }
    Ok(())
}

fn read_in_pieces(file: &mut File, into: &mut [u8], from: usize, to: usize) -> Verdict {
    for piece in pieces(from, to) {
        file.read_exact(&mut into[piece]).doing("read a piece")?;
    }
    Ok(())
}

/// Written, appended to and read from beginning to end, and moved in between.
pub(crate) fn alone(moves: &mut Moves) -> Verdict {
    let scratch = Scratch::new("stream");
    let (mut bytes, mut back) = (vec![0; SIZE], vec![0; SIZE]);
    while moves.more() {
        let mut file = scratch.create()?;
        fill(&mut bytes, moves.round(), 0);
        write_in_pieces(&mut file, &bytes, moves)?;
        let length = file.metadata().doing("fstat")?.len();
        ensure!(length == SIZE as u64, "the file has {length} bytes");
        file.rewind().doing("rewind")?;
        back.fill(0);
        read_in_pieces(&mut file, &mut back, 0, SIZE / 2)?;
        moves.point()?;
        let position = file.stream_position().doing("ask for the offset")?;
        ensure!(position == SIZE as u64 / 2, "the offset is {position}");
        // What is ahead changes, by another descriptor and by this one.
        let other = OpenOptions::new().write(true).open(scratch.path());
        let other = other.doing("open again")?;
        other
            .write_all_at(b"changed", SIZE as u64 - 7)
            .doing("pwrite")?;
        read_in_pieces(&mut file, &mut back, SIZE / 2, SIZE - 100_000)?;
        file.write_all_at(b"too", SIZE as u64 - 90_000)
            .doing("pwrite")?;
        read_in_pieces(&mut file, &mut back, SIZE - 100_000, SIZE)?;
        ensure!(
            file.read(&mut [0; 8]).doing("read at the end")? == 0,
            "there is more behind the end"
        );
        ensure!(
            back[SIZE - 7..] == *b"changed",
            "a change by pwrite is missing"
        );
        ensure!(
            back[SIZE - 90_000..SIZE - 89_997] == *b"too",
            "a change by the same descriptor is missing"
        );
        back[SIZE - 7..].copy_from_slice(&bytes[SIZE - 7..]);
        back[SIZE - 90_000..SIZE - 89_997].copy_from_slice(&bytes[SIZE - 90_000..SIZE - 89_997]);
        check(&back, moves.round(), 0)?;
        other.set_len(11).doing("ftruncate")?;
        file.seek(SeekFrom::Start(4)).doing("seek")?;
        let mut rest = Vec::new();
        file.read_to_end(&mut rest).doing("read what is left")?;
        ensure!(rest == bytes[4..11], "what is left is {rest:?}");
    }
    Ok(())
}

/// The other one: changes the second half and says so, then finds what it is told of.
fn other(path: &Path, node: Option<&str>, told: &mut PipeReader, mut tell: &PipeWriter) -> Verdict {
    let mut file = OpenOptions::new().read(true).write(true).open(path);
    let file = file.as_mut().map_err(|error| format!("open: {error}"))?;
    let mut head = [0; 5000];
    file.read_exact(&mut head).doing("read the head")?;
    go(node)?;
    told.read_exact(&mut [0]).doing("wait to be told")?;
    file.seek(SeekFrom::Start(SIZE as u64 / 2)).doing("seek")?;
    for piece in pieces(SIZE / 2, SIZE) {
        file.write_all(&vec![b'b'; piece.len()])
            .doing("write a piece")?;
    }
    tell.write_all(b"b").doing("tell")?;
    told.read_exact(&mut [0]).doing("wait to be told again")?;
    file.seek(SeekFrom::Start(5000)).doing("seek back")?;
    let mut rest = vec![0; SIZE / 2 - 5000];
    read_in_pieces(file, &mut rest, 0, SIZE / 2 - 5000)?;
    ensure!(
        rest.iter().all(|&byte| byte == b'c'),
        "an old byte after it was told"
    );
    ensure!(
        file.metadata().doing("fstat")?.len() == SIZE as u64 + 3,
        "the size is another"
    );
    Ok(())
}

/// Two processes with a file open each: who is told of a write sees it.
pub(crate) fn of_two(moves: &mut Moves) -> Verdict {
    let scratch = Scratch::new("two");
    while moves.more() {
        let mut file = scratch.create()?;
        file.write_all(&vec![b'a'; SIZE]).doing("write")?;
        let node = moves.take();
        let ((mut told, mut tell_it), (mut heard, hear)) =
            (pipe().doing("pipe")?, pipe().doing("pipe")?);
        let child = start(|| tell(other(scratch.path(), node.as_deref(), &mut told, &hear)));
        let child = child.doing("fork")?;
        drop((file, told, hear));
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(scratch.path());
        let file = file.as_mut().map_err(|error| format!("open: {error}"))?;
        moves.point()?;
        let mut bytes = vec![0; SIZE];
        read_in_pieces(file, &mut bytes, 0, SIZE / 2 - 20_000)?;
        tell_it.write_all(b"g").doing("tell")?;
        heard.read_exact(&mut [0]).doing("hear")?;
        read_in_pieces(file, &mut bytes, SIZE / 2 - 20_000, SIZE)?;
        let (old, new) = bytes.split_at(SIZE / 2);
        ensure!(
            old.iter().all(|&byte| byte == b'a'),
            "the first half has changed"
        );
        ensure!(
            new.iter().all(|&byte| byte == b'b'),
            "an old byte after it was heard"
        );
        file.write_all(b"end").doing("write at the end")?;
        file.rewind().doing("rewind")?;
        for piece in pieces(0, SIZE / 2) {
            file.write_all(&vec![b'c'; piece.len()])
                .doing("write a piece")?;
        }
        moves.point()?;
        tell_it.write_all(b"c").doing("tell again")?;
        let ended = wait_for(child).doing("wait")?;
        ensure!(
            ended == Ended::Exited(0),
            "the other one ended with {ended:?}"
        );
    }
    Ok(())
}
