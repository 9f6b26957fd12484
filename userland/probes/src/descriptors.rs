//! Descriptors: numbers that share an open file go on sharing it.
//!
//! Law: a copy of a descriptor is the same open file, never a file opened again.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write, pipe};
use std::os::fd::{AsFd, AsRawFd, IntoRawFd, OwnedFd};

use rt::files::{OnExec, close, duplicate, duplicate_onto, inherited, on_exec, set_on_exec};
use rt::process::{Ended, start_beside, wait_for};

use crate::files::Scratch;
use crate::moves::{Moves, go, tell};
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

/// What a child with the same table opens and closes, and where it goes, is so for its parent too.
pub(crate) fn table_of_two(moves: &mut Moves) -> Verdict {
    let scratch = Scratch::new("table");
    while moves.more() {
        let kept = scratch.create()?;
        std::fs::write(scratch.path(), b"shared").doing("write")?;
        std::env::set_current_dir("/").doing("chdir")?;
        let (mut numbers, writer) = pipe().doing("pipe")?;
        let node = moves.take();
        let child = start_beside(|| {
            let work = || {
                go(node.as_deref())?;
                let opened = File::open(scratch.path()).doing("open")?;
                let copy = duplicate(opened.as_fd()).doing("dup")?;
                drop(opened);
                std::env::set_current_dir("/proc").doing("chdir")?;
                (&writer)
                    .write_all(&copy.into_raw_fd().to_le_bytes())
                    .doing("tell the number")
            };
            tell(work())
        })
        .doing("clone")?;
        let ended = wait_for(child).doing("wait")?;
        ensure!(ended == Ended::Exited(0), "the child ended with {ended:?}");
        moves.point()?;
        let mut number = [0; 4];
        numbers.read_exact(&mut number).doing("read the number")?;
        let number = i32::from_le_bytes(number);
        let mut file = File::from(inherited(number).doing("what the child opened")?);
        let mut text = String::new();
        file.read_to_string(&mut text).doing("read")?;
        ensure!(text == "shared", "the file is {text:?}");
        close(number).doing("close")?;
        let place = std::env::current_dir().doing("getcwd")?;
        ensure!(place.as_os_str() == "/proc", "the directory is {place:?}");
        ensure!(
            kept.metadata().is_ok(),
            "the end of the child closed a file"
        );
    }
    Ok(())
}
