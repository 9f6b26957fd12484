//! Signals in every state that a process can be in, and how its calls go on after them.
//!
//! Law: a signal is handled once, wherever it finds the process; a call goes on after it, or ends with
//! EINTR, as signal(7) says, also when it was begun on another node.

use std::io::{Read, Write, pipe};
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use rt::process::{Ended, Patience, Whom, kill, start, wait, wait_for};
use rt::raw::{DESK, Desk, Disposition, came, dispose, libc};
use rt::signals::{Mask, mask, pending, suspend_but, with_own_stack};

use crate::moves::{Moves, go, send, tell};
use crate::{Doing, Verdict, ensure};

/// How long it takes, mostly, until somebody is blocked; nothing depends on it.
const SOON: Duration = Duration::from_millis(40);
/// What a handler does not let go on (`SA_RESTART` for the first signal only).
const LAST: i32 = rt::SIGUSR2;

/// A call that waits for ever, and whether it goes on after a handler with `SA_RESTART`.
#[derive(Clone, Copy, Debug)]
enum State {
    Read,
    Wait,
    Futex,
    Lock,
    Sleep,
    Poll,
    Suspend,
    TimedFutex,
    SignalWait,
    Epoll,
}

const STATES: [(State, bool); 10] = [
    (State::Read, true),
    (State::Wait, true),
    (State::Futex, true),
    (State::Lock, true),
    (State::Sleep, false),
    (State::Poll, false),
    (State::Suspend, false),
    (State::TimedFutex, false),
    (State::SignalWait, false),
    (State::Epoll, false),
];

/// Waits in that state; what the call returned.
fn stay(desk: &mut Desk, state: State, files: [i32; 3]) -> i64 {
    const AT: u64 = DESK;
    const AWAY: u64 = DESK + 4096;
    let [pipe, locked, set] = files.map(|file| u64::from(file.cast_unsigned()));
    // A long time, a descriptor to poll, and a lock of the whole file.
    desk.put(4096, &3600_u64.to_le_bytes());
    desk.put(8192, &(pipe | 1 << 32).to_le_bytes());
    desk.put(8192 + 64, &[1, 0]);
    let nobody = u64::MAX;
    let (number, words) = match state {
        State::Read => (libc::SYS_read, [pipe, AT, 8, 0, 0, 0]),
        State::Wait => (libc::SYS_wait4, [nobody, 0, 0, 0, 0, 0]),
        State::Futex => (libc::SYS_futex, [AT, 128, 0, 0, 0, 0]),
        State::Lock => (libc::SYS_fcntl, [locked, 7, AT + 8192 + 64, 0, 0, 0]),
        State::Sleep => (libc::SYS_nanosleep, [AWAY, AT, 0, 0, 0, 0]),
        State::Poll => (libc::SYS_poll, [AT + 8192, 1, nobody, 0, 0, 0]),
        State::Suspend => (libc::SYS_rt_sigsuspend, [AT, 8, 0, 0, 0, 0]),
        State::TimedFutex => (libc::SYS_futex, [AT, 128, 0, AWAY, 0, 0]),
        State::SignalWait => (libc::SYS_rt_sigtimedwait, [AT, 0, AWAY, 8, 0, 0]),
        State::Epoll => (libc::SYS_epoll_wait, [set, AT, 1, nobody, 0, 0]),
    };
    desk.call(number, words)
}

fn check_stay(state: State, goes_on: bool, result: i64) -> Verdict {
    ensure!(
        result == -i64::from(libc::EINTR),
        "{state:?}: the call gave {result}"
    );
    let all: Vec<i32> = came().iter().map(|came| came.signal).collect();
    let count = |signal| all.iter().filter(|came| **came == signal).count();
    ensure!(
        count(rt::SIGUSR1) == 1 && (count(LAST) > 0 || !goes_on),
        "{state:?}: the signals {all:?} came"
    );
    Ok(())
}

/// A signal finds a process in every kind of wait, after it was moved there.
pub(crate) fn states(moves: &mut Moves) -> Verdict {
    while moves.more() {
        for (state, goes_on) in STATES {
            let (mut ready, says_ready) = pipe().doing("pipe")?;
            let (never, keep) = pipe().doing("pipe")?;
            let file = crate::files::Scratch::new("signal-states");
            let file = file.create()?;
            rt::locks::set(file.as_fd(), rt::locks::Kind::Exclusive, 0, 0).doing("lock")?;
            let set = rt::events::Set::new().doing("epoll_create1")?;
            let child = start(|| {
                let work = || {
                    let mut desk = Desk::map().ok_or("no desk")?;
                    let restart = libc::SA_RESTART;
                    let noted = dispose(rt::SIGUSR1, Disposition::Note, restart, 0)
                        + dispose(LAST, Disposition::Note, 0, 0);
                    ensure!(noted == 0, "sigaction gave {noted}");
                    // Somebody to wait for.
                    let grandchild = start(|| {
                        std::thread::sleep(Duration::from_secs(60));
                        0
                    })
                    .doing("fork")?;
                    (&says_ready).write_all(b"r").doing("tell")?;
                    let files = [never.as_raw_fd(), file.as_raw_fd(), set.number()];
                    let result = stay(&mut desk, state, files);
                    kill(grandchild, rt::SIGKILL).doing("kill")?;
                    check_stay(state, goes_on, result)
                };
                tell(work())
            })
            .doing("fork")?;
            ready.read_exact(&mut [0]).doing("wait for the child")?;
            std::thread::sleep(SOON);
            if let Some(node) = moves.take() {
                send(child.unsigned_abs(), &node)?;
            }
            kill(child, rt::SIGUSR1).doing("kill")?;
            let ended = loop {
                std::thread::sleep(SOON);
                let ended = wait(Whom::Child(child), Patience::Look).doing("wait")?;
                if let Some((_, ended)) = ended {
                    break ended;
                }
                kill(child, LAST).doing("kill")?;
            };
            ensure!(
                ended == Ended::Exited(0),
                "{state:?}: the child ended with {ended:?}"
            );
            drop(keep);
        }
        moves.point()?;
    }
    Ok(())
}

/// Signals that are blocked stay pending over moves; queued ones stay in order; one handler runs in
/// another; and handlers run on a stack of their own.
pub(crate) fn masks(moves: &mut Moves) -> Verdict {
    const FIRST: i32 = 40;
    let me = std::process::id().cast_signed();
    let all = [rt::SIGUSR1, FIRST, FIRST + 1];
    let stack = libc::SA_ONSTACK;
    // Whoever handles FIRST + 1 is interrupted by FIRST.
    let noted = dispose(rt::SIGUSR1, Disposition::Note, stack, !0)
        + dispose(FIRST, Disposition::Note, stack, 0)
        + dispose(FIRST + 1, Disposition::Note, stack | libc::SA_NODEFER, 0);
    ensure!(noted == 0, "sigaction gave {noted}");
    while moves.more() {
        mask(Mask::Block, &all).doing("block")?;
        for signal in [FIRST + 1, FIRST, FIRST, rt::SIGUSR1, rt::SIGUSR1, FIRST + 1] {
            kill(me, signal).doing("kill")?;
        }
        moves.point()?;
        let waiting = pending();
        ensure!(waiting == all, "{waiting:?} are pending");
        ensure!(came().is_empty(), "a blocked signal was handled");
        let child = start(|| {
            // What is pending for the parent is not for a child.
            i32::from(!pending().is_empty())
        })
        .doing("fork")?;
        let ended = wait_for(child).doing("wait")?;
        ensure!(ended == Ended::Exited(0), "the child has signals pending");
        moves.point()?;
        with_own_stack(|| mask(Mask::Unblock, &all)).doing("unblock")?;
        let mut found: Vec<i32> = came().iter().map(|came| came.signal).collect();
        found.sort_unstable();
        let wanted = [rt::SIGUSR1, FIRST, FIRST, FIRST + 1, FIRST + 1];
        ensure!(found == wanted, "{found:?} were handled");
        // A mask for the time of a wait: the handler has run when it ends, and the mask is back.
        mask(Mask::Block, &all).doing("block")?;
        let node = moves.take();
        let helper = start(|| {
            std::thread::sleep(SOON);
            let moved = match &node {
                Some(node) => send(me.unsigned_abs(), node),
                None => Ok(()),
            };
            tell(moved.and(kill(me, rt::SIGUSR1).doing("kill")))
        })
        .doing("fork")?;
        suspend_but(&[]);
        let found: Vec<i32> = came().iter().map(|came| came.signal).collect();
        ensure!(found == [rt::SIGUSR1], "{found:?} ended the wait");
        kill(me, rt::SIGUSR1).doing("kill")?;
        ensure!(came().is_empty(), "the mask did not come back");
        mask(Mask::Unblock, &all).doing("unblock")?;
        ensure!(came().len() == 1, "the signal is lost");
        let ended = wait_for(helper).doing("wait")?;
        ensure!(ended == Ended::Exited(0), "the helper ended with {ended:?}");
    }
    Ok(())
}

/// A tree of processes that have ended, and whose parents wait late: everybody finds all of them.
pub(crate) fn zombies(moves: &mut Moves) -> Verdict {
    while moves.more() {
        let nodes: Vec<Option<String>> = (0..3).map(|_| moves.take()).collect();
        let (mut reader, writer) = pipe().doing("pipe")?;
        let child = start(|| {
            let work = || {
                let mut children = Vec::new();
                for (number, node) in nodes.iter().enumerate() {
                    let number = i32::try_from(number).doing("a number")?;
                    let child = start(|| {
                        // Zombies of its own, which it leaves behind.
                        let mut left = Vec::new();
                        for status in 0..3 {
                            left.extend(start(|| status).ok());
                        }
                        let moved = go(node.as_deref());
                        let first = left.first().map(|child| wait_for(*child));
                        match (moved, first) {
                            (Ok(()), Some(Ok(Ended::Exited(0)))) => 10 + number,
                            _ => 1,
                        }
                    });
                    children.push(child.doing("fork")?);
                }
                (&writer).write_all(b"r").doing("tell")?;
                go(nodes[0].as_deref())?;
                std::thread::sleep(SOON);
                // The last first.
                for (number, child) in children.iter().enumerate().rev() {
                    let ended = wait_for(*child).doing("wait")?;
                    let wanted = 10 + i32::try_from(number).doing("a number")?;
                    ensure!(ended == Ended::Exited(wanted), "it ended with {ended:?}");
                }
                let more = wait(Whom::Any, Patience::Look);
                ensure!(more.is_err(), "there are more children: {more:?}");
                Ok(())
            };
            tell(work())
        })
        .doing("fork")?;
        reader.read_exact(&mut [0]).doing("read")?;
        moves.point()?;
        let ended = wait_for(child).doing("wait")?;
        ensure!(ended == Ended::Exited(0), "the child ended with {ended:?}");
    }
    Ok(())
}

/// A chain of processes, each on the node after its parent's; the end of the last goes up the chain.
pub(crate) fn chain(moves: &mut Moves) -> Verdict {
    fn grow(depth: usize, nodes: &[Option<String>]) -> Verdict {
        let Some(node) = nodes.get(depth) else {
            return Ok(());
        };
        go(node.as_deref())?;
        let parent = std::process::id();
        let child = start(|| {
            let above = std::os::unix::process::parent_id();
            let verdict = grow(depth + 1, nodes);
            let same = std::os::unix::process::parent_id() == above && above == parent;
            let told = tell(verdict);
            if same { told + 10 } else { 9 }
        })
        .doing("fork")?;
        let ended = wait_for(child).doing("wait")?;
        ensure!(ended == Ended::Exited(10), "at {depth}: {ended:?}");
        Ok(())
    }
    while moves.more() {
        let nodes: Vec<Option<String>> = (0..12).map(|_| moves.take()).collect();
        grow(0, &nodes)?;
        moves.point()?;
    }
    Ok(())
}
