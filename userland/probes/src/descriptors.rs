//! Descriptors: numbers that share an open file go on sharing it.
//!
//! Law: a copy of a descriptor is the same open file, never a file opened again.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rt::files::{OnExec, duplicate, duplicate_onto, on_exec, set_on_exec};

use crate::files::Scratch;
use crate::moves::Moves;
use crate::{Doing, Verdict, ensure};

/// dup: two numbers, one offset.
pub(crate) fn dup(moves: &mut Moves) -> Verdict {
    let scratch = Scratch::new("dup");
    while moves.more() {
        let mut file = scratch.create()?;
        let mut copy = File::from(duplicate(file.as_fd()).doing("dup")?);
        ensure!(
            copy.as_raw_fd() != file.as_raw_fd(),
            "dup gave the same number"
        );
        let mark = on_exec(copy.as_raw_fd()).doing("F_GETFD")?;
        ensure!(mark == OnExec::Keep, "a copy is closed on exec");
        file.write_all(b"abc").doing("write")?;
        moves.point()?;
        copy.write_all(b"def").doing("write by the copy")?;
        drop(file);
        moves.point()?;
        copy.write_all(b"ghi")
            .doing("write after the first is closed")?;
        copy.seek(SeekFrom::Start(0)).doing("seek")?;
        let mut text = String::new();
        copy.read_to_string(&mut text).doing("read")?;
        ensure!(text == "abcdefghi", "the file is {text}");
    }
    Ok(())
}

/// dup2: a number becomes another file, and its old one is closed.
pub(crate) fn dup2(moves: &mut Moves) -> Verdict {
    let scratch = Scratch::new("dup2");
    while moves.more() {
        let mut file = scratch.create()?;
        let (mut reader, writer) = std::io::pipe().doing("pipe")?;
        let mut writer = OwnedFd::from(writer);
        let number = writer.as_raw_fd();
        set_on_exec(writer.as_fd(), OnExec::Close).doing("F_SETFD")?;
        moves.point()?;
        let mark = on_exec(number).doing("F_GETFD")?;
        ensure!(mark == OnExec::Close, "the mark for exec was lost");
        duplicate_onto(file.as_fd(), &mut writer).doing("dup2")?;
        let mark = on_exec(number).doing("F_GETFD")?;
        ensure!(mark == OnExec::Keep, "dup2 kept the mark for exec");
        let mut rest = Vec::new();
        reader
            .read_to_end(&mut rest)
            .doing("read the pipe to its end")?;
        ensure!(rest.is_empty(), "the pipe held {rest:?}");
        moves.point()?;
        let mut writer = File::from(writer);
        ensure!(writer.as_raw_fd() == number, "the number changed");
        writer.write_all(b"by the copy").doing("write")?;
        let at = file.stream_position().doing("ask for the offset")?;
        ensure!(at == 11, "the offset is {at}");
    }
    Ok(())
}
