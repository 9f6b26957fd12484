//! Events: counters, timers, signals and sets of descriptors, waited for across moves.
//!
//! Law: what happens while a process is moved is neither lost nor seen twice; a timer never fires
//! early, and as often as it has expired.

use std::fs::File;
use std::io::{Read, Write, pipe};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use rt::events::{Set, counter, process, send, signal_timer, signals, timer};
use rt::process::{Ended, kill, start, wait_for};

use crate::moves::{Moves, go, tell};
use crate::{Doing, Verdict, ensure};

const IN: i32 = 1;
const EDGE: i32 = 1 << 31;

fn take(file: &mut File) -> Result<u64, String> {
    let mut bytes = [0; 8];
    file.read_exact(&mut bytes).doing("read a count")?;
    Ok(u64::from_ne_bytes(bytes))
}

fn put(file: &mut File, count: u64) -> Verdict {
    file.write_all(&count.to_ne_bytes()).doing("write a count")
}

fn file(fd: OwnedFd) -> File {
    File::from(fd)
}

/// Moved while it waits in a set: by level, by edge, and by a limit.
pub(crate) fn epoll(moves: &mut Moves) -> Verdict {
    while moves.more() {
        let set = Set::new().doing("epoll_create1")?;
        let (mut reader, mut writer) = pipe().doing("pipe")?;
        let edge = file(counter(0, false).doing("eventfd")?);
        set.add(reader.as_fd(), IN, 1).doing("add the pipe")?;
        set.add(edge.as_fd(), IN | EDGE, 2)
            .doing("add the counter")?;
        let found = moves.while_blocked(
            || set.wait(20_000),
            || (&writer).write_all(b"x").doing("write"),
        )?;
        let found = found.doing("epoll_wait")?;
        ensure!(found == [(1, 1)], "the byte gave {found:?}");
        moves.point()?;
        let found = set.wait(0).doing("epoll_wait")?;
        ensure!(
            found == [(1, 1)],
            "the byte that is still there gave {found:?}"
        );
        reader.read_exact(&mut [0]).doing("read")?;
        let found = moves.while_blocked(|| set.wait(20_000), || put(&mut edge_copy(&edge)?, 3))?;
        let found = found.doing("epoll_wait")?;
        ensure!(found == [(1, 2)], "the edge gave {found:?}");
        let begin = Instant::now();
        let found = moves.while_blocked(|| set.wait(150), || Ok(()))?;
        let found = found.doing("epoll_wait")?;
        ensure!(found.is_empty(), "no new edge gave {found:?}");
        let waited = begin.elapsed();
        ensure!(
            waited >= Duration::from_millis(150),
            "the limit was over after {waited:?}"
        );
        drop(edge);
        writer.flush().doing("flush")?;
        drop(writer);
        let found = set.wait(20_000).doing("epoll_wait")?;
        ensure!(found == [(0x10, 1)], "the end of the pipe gave {found:?}");
    }
    Ok(())
}

fn edge_copy(edge: &File) -> Result<File, String> {
    edge.try_clone().doing("dup")
}

/// A counter between processes that move.
pub(crate) fn eventfd(moves: &mut Moves) -> Verdict {
    while moves.more() {
        let mut count = file(counter(0, true).doing("eventfd")?);
        let node = moves.take();
        let child = start(|| {
            let mut work = || {
                go(node.as_deref())?;
                for _ in 0..3 {
                    ensure!(take(&mut count)? == 1, "a semaphore gives one at a time");
                }
                Ok(())
            };
            tell(work())
        })
        .doing("fork")?;
        put(&mut count, 1)?;
        moves.point()?;
        put(&mut count, 2)?;
        let ended = wait_for(child).doing("wait")?;
        ensure!(ended == Ended::Exited(0), "the child ended with {ended:?}");
    }
    Ok(())
}

/// A timer that is waited for while its process is moved.
pub(crate) fn timerfd(moves: &mut Moves) -> Verdict {
    const FIRST: Duration = Duration::from_millis(100);
    const EVERY: Duration = Duration::from_millis(20);
    while moves.more() {
        let begin = Instant::now();
        let mut timer = file(timer(FIRST, EVERY).doing("timerfd")?);
        let mut expired = moves.while_blocked(|| take(&mut timer), || Ok(()))??;
        while expired < 10 {
            moves.point()?;
            let passed = begin.elapsed();
            let least = FIRST + EVERY * (u32::try_from(expired).unwrap_or(0) - 1);
            ensure!(passed >= least, "{expired} expirations after {passed:?}");
            let more = take(&mut timer)?;
            ensure!(more > 0, "a read of no expiration");
            expired += more;
        }
        let passed = begin.elapsed();
        let most = 1 + (passed - FIRST).as_millis() / EVERY.as_millis();
        ensure!(
            u128::from(expired) <= most,
            "{expired} expirations after {passed:?}"
        );
    }
    Ok(())
}

/// A timer of the process that fires once, and its signal read as a record.
pub(crate) fn timer_once(moves: &mut Moves) -> Verdict {
    const SIGNAL: i32 = 40;
    const AFTER: Duration = Duration::from_millis(120);
    let mut records = file(signals(&[SIGNAL]).doing("signalfd")?);
    while moves.more() {
        let begin = Instant::now();
        let id = signal_timer(SIGNAL, AFTER, Duration::ZERO).doing("timer_create")?;
        let mut record = [0; 128];
        moves
            .while_blocked(|| records.read_exact(&mut record), || Ok(()))?
            .doing("read a signal")?;
        let word =
            |at: usize| i32::from_ne_bytes(record[at..at + 4].try_into().unwrap_or_default());
        let passed = begin.elapsed();
        ensure!(passed >= AFTER, "the timer fired after {passed:?}");
        ensure!(
            (word(0), word(8)) == (SIGNAL, -2),
            "signal {} with code {} came",
            word(0),
            word(8)
        );
        ensure!(
            usize::try_from(word(24)) == Ok(id),
            "the signal is of timer {}",
            word(24)
        );
        moves.point()?;
        let again = rt::files::poll(records.as_fd(), 50).doing("poll")?;
        ensure!(again.is_none(), "the timer fired twice");
    }
    Ok(())
}

/// Signals of another process, read by a descriptor.
pub(crate) fn signalfd(moves: &mut Moves) -> Verdict {
    let mut records = file(signals(&[rt::SIGUSR1, 41]).doing("signalfd")?);
    let me = i32::try_from(std::process::id()).doing("a pid")?;
    while moves.more() {
        let mut record = [0; 128];
        moves
            .while_blocked(
                || records.read_exact(&mut record),
                || kill(me, rt::SIGUSR1).doing("kill"),
            )?
            .doing("read a signal")?;
        ensure!(
            i32::from(record[0]) == rt::SIGUSR1,
            "signal {} came",
            record[0]
        );
        for _ in 0..3 {
            kill(me, 41).doing("kill")?;
        }
        moves.point()?;
        let mut three = [0; 3 * 128];
        let length = records.read(&mut three).doing("read signals")?;
        ensure!(length == three.len(), "{length} bytes of three signals");
        ensure!(three[0] == 41, "signal {} came", three[0]);
    }
    Ok(())
}

/// The end of a child, by its descriptor.
pub(crate) fn pidfd(moves: &mut Moves) -> Verdict {
    while moves.more() {
        let (mut reader, writer) = pipe().doing("pipe")?;
        let inner = reader.try_clone().doing("dup")?;
        let child = start(|| {
            let mut inner = inner;
            tell(inner.read_exact(&mut [0]).doing("read"))
        })
        .doing("fork")?;
        let handle = process(child).doing("pidfd_open")?;
        let directory = std::fs::File::open(format!("/proc/{child}")).doing("open")?;
        for by in [handle.as_fd(), directory.as_fd()] {
            send(by, 0).doing("pidfd_send_signal")?;
        }
        let named = || {
            let path = format!("/proc/self/fdinfo/{}", handle.as_raw_fd());
            let text = std::fs::read_to_string(path).doing("reading fdinfo")?;
            let line = text.lines().find_map(|line| line.strip_prefix("Pid:\t"));
            Ok::<_, String>(line.unwrap_or_default().to_owned())
        };
        let early = rt::files::poll(handle.as_fd(), 0).doing("poll")?;
        ensure!(early.is_none(), "the child is over before it has ended");
        let ready = moves.while_blocked(
            || rt::files::poll(handle.as_fd(), 20_000),
            || (&writer).write_all(b"x").doing("write"),
        )?;
        let ready = ready.doing("poll")?;
        ensure!(
            ready.is_some_and(|ready| ready.readable),
            "the end of the child gave {ready:?}"
        );
        // It has its number until somebody has waited for it.
        ensure!(named()? == child.to_string(), "its number is {}", named()?);
        let ended = wait_for(child).doing("wait")?;
        ensure!(ended == Ended::Exited(0), "the child ended with {ended:?}");
        ensure!(named()? == "-1", "its number is {}", named()?);
        for by in [handle.as_fd(), directory.as_fd()] {
            ensure!(send(by, 0).is_err(), "who is gone was sent a signal");
        }
        drop(writer);
        let end = reader.read(&mut [0]).doing("read")?;
        ensure!(end == 0, "the pipe has more");
    }
    Ok(())
}
