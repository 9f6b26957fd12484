//! What open files tell their owners, and what /proc tells of open files.
//!
//! Law: signals for a file find its owner wherever it is, and what /proc shows does not depend on where it is
//! read.

use std::fs::{File, OpenOptions, read, read_to_string};
use std::io::{Read, Write, pipe};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use rt::process::{Ended, start, wait_for};
use rt::raw::{Desk, libc};
use rt::signals::{Mask, mask, take};

use crate::files::Scratch;
use crate::moves::{Moves, go, tell};
use crate::{Doing, Verdict, ensure};

/// Of `asm-generic/fcntl.h`.
const F_SETSIG: i32 = 10;
const LIMIT: Duration = Duration::from_secs(20);

fn number(file: &impl AsRawFd) -> u64 {
    u64::from(file.as_raw_fd().cast_unsigned())
}

/// fcntl(2) with a number.
fn control(desk: &mut Desk, file: &impl AsRawFd, command: i32, value: i32) -> Result<i64, String> {
    let words = [
        number(file),
        u64::from(command.cast_unsigned()),
        u64::from(value.cast_unsigned()),
        0,
        0,
        0,
    ];
    let done = desk.call(libc::SYS_fcntl, words);
    ensure!(done >= 0, "fcntl {command} gave {done}");
    Ok(done)
}

fn success(child: i32) -> Verdict {
    let ended = wait_for(child).doing("wait")?;
    ensure!(ended == Ended::Exited(0), "the child ended with {ended:?}");
    Ok(())
}

/// Who opens a file against a lease waits until its holder has heard, and has given it back.
pub(crate) fn lease(moves: &mut Moves) -> Verdict {
    let mut desk = Desk::map().ok_or("no desk")?;
    mask(Mask::Block, &[libc::SIGUSR1]).doing("block SIGUSR1")?;
    let scratch = Scratch::new("lease");
    while moves.more() {
        drop(scratch.create()?);
        let file = File::open(scratch.path()).doing("open")?;
        control(&mut desk, &file, libc::F_SETLEASE, libc::F_WRLCK)?;
        control(&mut desk, &file, F_SETSIG, libc::SIGUSR1)?;
        moves.point()?;
        let node = moves.take();
        let child = start(|| {
            let work = || {
                go(node.as_deref())?;
                let mut file = OpenOptions::new()
                    .write(true)
                    .open(scratch.path())
                    .doing("open against a lease")?;
                file.write_all(b"changed").doing("write")
            };
            tell(work())
        })
        .doing("fork")?;
        let told = take(&[libc::SIGUSR1], LIMIT).doing("wait for the signal")?;
        // POLL_MSG
        ensure!(
            told == Some((libc::SIGUSR1, 3)),
            "the holder was told {told:?}"
        );
        moves.point()?;
        let left = control(&mut desk, &file, libc::F_GETLEASE, 0)?;
        ensure!(
            left == i64::from(libc::F_UNLCK),
            "the lease is to become {left}"
        );
        let size = file.metadata().doing("fstat")?.len();
        ensure!(size == 0, "{size} bytes were written");
        control(&mut desk, &file, libc::F_SETLEASE, libc::F_UNLCK)?;
        success(child)?;
        let content = read(scratch.path()).doing("read")?;
        ensure!(content == b"changed", "the file is {content:?}");
    }
    Ok(())
}

/// The owner of a pipe hears by a signal that there is something to read.
pub(crate) fn asynchronous(moves: &mut Moves) -> Verdict {
    // POLL_IN
    const TOLD: Option<(i32, i32)> = Some((libc::SIGUSR1, 1));
    let mut desk = Desk::map().ok_or("no desk")?;
    mask(Mask::Block, &[libc::SIGUSR1]).doing("block SIGUSR1")?;
    while moves.more() {
        let (mut reader, mut writer) = pipe().doing("pipe")?;
        let me = i32::try_from(std::process::id()).doing("my pid")?;
        control(&mut desk, &reader, libc::F_SETOWN, me)?;
        control(&mut desk, &reader, F_SETSIG, libc::SIGUSR1)?;
        control(&mut desk, &reader, libc::F_SETFL, libc::O_ASYNC)?;
        moves.point()?;
        let owner = control(&mut desk, &reader, libc::F_GETOWN, 0)?;
        ensure!(owner == i64::from(me), "the owner is {owner}");
        let node = moves.take();
        let child = start(|| {
            let mut work = || {
                go(node.as_deref())?;
                writer.write_all(b"word").doing("write")
            };
            tell(work())
        })
        .doing("fork")?;
        let told = take(&[libc::SIGUSR1], LIMIT).doing("wait for the signal")?;
        ensure!(told == TOLD, "the owner was told {told:?}");
        success(child)?;
        let mut word = [0; 4];
        reader.read_exact(&mut word).doing("read")?;
        let more = take(&[libc::SIGUSR1], Duration::ZERO).doing("look for a signal")?;
        ensure!(more.is_none(), "the owner was told {more:?} as well");
        drop(writer);
        let told = take(&[libc::SIGUSR1], LIMIT).doing("wait for the signal")?;
        ensure!(told == TOLD, "of the end the owner was told {told:?}");
    }
    Ok(())
}

/// What /proc says of a descriptor of this process.
fn information(file: &impl AsRawFd) -> Result<String, String> {
    read_to_string(format!("/proc/self/fdinfo/{}", file.as_raw_fd())).doing("read fdinfo")
}

/// /proc tells what a descriptor is and what is locked by it.
pub(crate) fn information_of_files(moves: &mut Moves) -> Verdict {
    let scratch = Scratch::new("fdinfo");
    while moves.more() {
        let mut file = scratch.create()?;
        file.write_all(b"12345").doing("write")?;
        file.lock().doing("flock")?;
        let counter: OwnedFd = rt::events::counter(3, false).doing("eventfd")?;
        let hour = Duration::from_secs(3600);
        let timer = rt::events::timer(hour, Duration::from_secs(7)).doing("timerfd")?;
        let signals = rt::events::signals(&[libc::SIGUSR2]).doing("signalfd")?;
        moves.point()?;
        let me = std::process::id();
        for (file, wanted) in [
            (information(&file)?, "pos:\t5\n".to_owned()),
            (
                information(&file)?,
                format!("lock:\t1: FLOCK  ADVISORY  WRITE {me} "),
            ),
            (
                information(&counter)?,
                format!("eventfd-count: {:16x}\n", 3),
            ),
            (information(&timer)?, "it_interval: (7, 0)\n".to_owned()),
            (information(&timer)?, "ticks: 0\n".to_owned()),
            (
                information(&signals)?,
                format!("sigmask:\t{:016x}\n", 1 << (libc::SIGUSR2 - 1)),
            ),
        ] {
            ensure!(file.contains(&wanted), "{wanted:?} is not in {file:?}");
        }
        let locks = read_to_string("/proc/locks").doing("read /proc/locks")?;
        let mine = format!(" FLOCK  ADVISORY  WRITE {me} ");
        ensure!(locks.contains(&mine), "{mine:?} is not in {locks:?}");
    }
    Ok(())
}
