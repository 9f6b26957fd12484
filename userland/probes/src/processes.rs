//! Processes: parents, children and signals find each other on any node.
//!
//! Law: what is checked is what wait and the ids say, never how long something took.

use std::io::{Read, Write, pipe};
use std::os::unix::process::parent_id;
use std::time::Duration;

use rt::cpu::{Crash, crash};
use rt::process::{Ended, Patience, Whom, start, wait, wait_for};

use crate::moves::{Moves, go, tell};
use crate::{Doing, Verdict, ensure};

/// Longest wait for something that must happen.
const PATIENCE: Duration = Duration::from_secs(20);

/// A tree of processes on different nodes; everybody collects the sum of what is below.
pub(crate) fn fork_tree(moves: &mut Moves) -> Verdict {
    /// The status of a subtree is the number of its processes.
    fn grow(depth: u32, nodes: &[Option<String>]) -> Result<i32, String> {
        go(nodes.get(depth as usize).and_then(Option::as_deref))?;
        if depth == 3 {
            return Ok(1);
        }
        let mut children = Vec::new();
        for _ in 0..2 {
            let child = start(|| match grow(depth + 1, nodes) {
                Ok(count) => count,
                Err(reason) => tell(Err(reason)) + 200,
            });
            children.push(child.doing("fork")?);
        }
        let mut count = 1;
        while !children.is_empty() {
            let ended = wait(Whom::Any, Patience::Block).doing("wait")?;
            let Some((pid, Ended::Exited(below))) = ended else {
                return Err(format!("a child ended with {ended:?}"));
            };
            let known = children.iter().position(|&child| child == pid);
            children.swap_remove(known.ok_or("waited for somebody else's child")?);
            count += below;
        }
        ensure!(
            wait(Whom::Any, Patience::Look).is_err(),
            "there are more children"
        );
        Ok(count)
    }
    while moves.more() {
        // The parent moves at depth 0, its children at depth 1, and so on: one node per depth.
        let nodes: Vec<Option<String>> = (0..4).map(|_| moves.take()).collect();
        let count = grow(0, &nodes)?;
        ensure!(count == 15, "the tree has {count} processes instead of 15");
    }
    Ok(())
}

/// A process whose parent ends gets another one, and lives on.
pub(crate) fn orphan(moves: &mut Moves) -> Verdict {
    while moves.more() {
        let (mut reader, mut writer) = pipe().doing("pipe")?;
        let (node, later) = (moves.take(), moves.take());
        let child = start(|| {
            let parent = std::process::id();
            let grandchild = start(|| {
                let mut work = || {
                    go(node.as_deref())?;
                    writer.write_all(b"born ").doing("write")?;
                    let begin = std::time::Instant::now();
                    while parent_id() == parent {
                        ensure!(
                            begin.elapsed() < PATIENCE,
                            "the orphan keeps its dead parent"
                        );
                        std::thread::sleep(Duration::from_millis(5));
                    }
                    go(later.as_deref())?;
                    writer.write_all(b"orphaned").doing("write")
                };
                tell(work())
            });
            match grandchild {
                Ok(_) => 17,
                Err(_) => 1,
            }
        })
        .doing("fork")?;
        drop(writer);
        let ended = wait_for(child).doing("wait")?;
        ensure!(ended == Ended::Exited(17), "the child ended with {ended:?}");
        moves.point()?;
        let mut text = String::new();
        reader.read_to_string(&mut text).doing("read")?;
        ensure!(text == "born orphaned", "the orphan said `{text}`");
    }
    Ok(())
}

/// Signals reach a process that is away, and wait tells which.
pub(crate) fn kill(moves: &mut Moves) -> Verdict {
    while moves.more() {
        for signal in [rt::SIGKILL, rt::SIGTERM, rt::SIGUSR1] {
            let (mut reader, mut writer) = pipe().doing("pipe")?;
            let node = moves.take();
            let child = start(|| {
                let verdict =
                    go(node.as_deref()).and_then(|()| writer.write_all(b"!").doing("write"));
                std::thread::sleep(PATIENCE);
                tell(verdict)
            })
            .doing("fork")?;
            drop(writer);
            reader
                .read_exact(&mut [0])
                .doing("wait for the child to be ready")?;
            rt::process::kill(child, 0).doing("ask whether the child can be killed")?;
            rt::process::kill(child, signal).doing("kill")?;
            let ended = wait_for(child).doing("wait")?;
            ensure!(
                ended == Ended::Signalled(signal),
                "signal {signal}: it ended with {ended:?}"
            );
            let error = rt::process::kill(child, signal).err();
            let error = error.and_then(|error| error.raw_os_error());
            ensure!(error == Some(rt::ESRCH), "killing the dead gave {error:?}");
        }
        moves.point()?;
    }
    Ok(())
}

/// The status of a child that is away arrives, all eight bits of it.
pub(crate) fn exit_status(moves: &mut Moves) -> Verdict {
    while moves.more() {
        for status in [0, 1, 42, 255] {
            let node = moves.take();
            let child = start(|| match go(node.as_deref()) {
                Ok(()) => status,
                Err(reason) => tell(Err(reason)) + 100,
            })
            .doing("fork")?;
            let ended = wait_for(child).doing("wait")?;
            ensure!(
                ended == Ended::Exited(status),
                "status {status}: it ended with {ended:?}"
            );
            let again = wait_for(child).err().and_then(|error| error.raw_os_error());
            ensure!(again == Some(rt::ECHILD), "waiting twice gave {again:?}");
        }
        moves.point()?;
    }
    Ok(())
}

/// A process keeps its numbers.
pub(crate) fn ids(moves: &mut Moves) -> Verdict {
    let (pid, parent, ids) = (std::process::id(), parent_id(), rt::process::ids());
    while moves.more() {
        moves.point()?;
        ensure!(
            std::process::id() == pid,
            "the pid is {}",
            std::process::id()
        );
        ensure!(parent_id() == parent, "the parent is {}", parent_id());
        ensure!(
            rt::process::ids() == ids,
            "the user is {:?}",
            rt::process::ids()
        );
        let threads = rt::process::threads();
        ensure!(
            threads.is_none_or(|count| count == 1),
            "there are {threads:?} threads"
        );
        let node = moves.take();
        let child = start(|| {
            let work = || {
                let own = std::process::id();
                ensure!(
                    own != pid && parent_id() == pid,
                    "the child of {pid} is {own}"
                );
                go(node.as_deref())?;
                ensure!(
                    std::process::id() == own,
                    "the pid is {}",
                    std::process::id()
                );
                ensure!(parent_id() == pid, "the parent is {}", parent_id());
                Ok(())
            };
            tell(work())
        })
        .doing("fork")?;
        let ended = wait_for(child).doing("wait")?;
        ensure!(ended == Ended::Exited(0), "the child ended with {ended:?}");
    }
    Ok(())
}

/// A process that goes wrong dies of it, alone.
pub(crate) fn wild(moves: &mut Moves) -> Verdict {
    const WAYS: [(Crash, i32); 8] = [
        (Crash::StoreNull, rt::SIGSEGV),
        (Crash::LoadKernel, rt::SIGSEGV),
        (Crash::LoadNotCanonical, rt::SIGSEGV),
        (Crash::JumpNull, rt::SIGSEGV),
        (Crash::StoreCode, rt::SIGSEGV),
        (Crash::RunData, rt::SIGSEGV),
        (Crash::Invalid, rt::SIGILL),
        (Crash::Privileged, rt::SIGSEGV),
    ];
    while moves.more() {
        for (how, signal) in WAYS {
            let node = moves.take();
            let child = start(|| match go(node.as_deref()) {
                Ok(()) => crash(how),
                Err(reason) => tell(Err(reason)),
            })
            .doing("fork")?;
            let ended = wait_for(child).doing("wait")?;
            ensure!(
                ended == Ended::Signalled(signal),
                "{how:?}: it ended with {ended:?}"
            );
        }
        moves.point()?;
    }
    Ok(())
}
