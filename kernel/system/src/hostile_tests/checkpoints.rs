//! Checkpoints: what a process is again, what is refused, and what bytes cannot do.

use super::{Cluster, DATA, Dice};
use crate::files::{MemoryPart, ProcView};
use crate::home::{INIT, Life};
use crate::wait::Stop;
use abi::Errno;

const READ: u64 = 0;
const WRITE: u64 = 1;
const CLOSE: u64 = 3;
const LSEEK: u64 = 8;
const PIPE: u64 = 22;
const NANOSLEEP: u64 = 35;
const ALARM: u64 = 37;
const GETPID: u64 = 39;
const FORK: u64 = 57;
const WAIT4: u64 = 61;
const KILL: u64 = 62;
const UNLINK: u64 = 87;
const GETPPID: u64 = 110;
const SETRESUID: u64 = 117;
const OPENAT: u64 = 257;
const HERE: u64 = -100_i64 as u64;

impl Cluster {
    /// All bytes of a checkpoint, as a process reads them.
    fn checkpoint(&mut self, reader: u32, pid: u32) -> Result<Vec<u8>, Errno> {
        let mut all = Vec::new();
        for _ in 0..2000 {
            let part = MemoryPart::Checkpoint(pid, all.len() as u64);
            match self.nodes[0].memory(part, reader, 10_000) {
                Ok(bytes) if bytes.is_empty() => return Ok(all),
                Ok(bytes) => all.extend(bytes),
                Err(Stop::Errno(errno)) => return Err(errno),
                Err(_) => {
                    for node in 0..self.nodes.len() {
                        self.idle_round(node);
                    }
                    self.pass(1_000_000);
                }
            }
        }
        panic!("no end of a checkpoint");
    }

    /// A process writes a checkpoint to begin again from it.
    fn restart(&mut self, writer: u32, bytes: &[u8]) -> Result<(), Errno> {
        for piece in bytes.chunks(10_000) {
            match self.nodes[0].restart(writer, piece, Vec::new()) {
                Ok(taken) => assert_eq!(taken, piece.len()),
                Err(Stop::Errno(errno)) => return Err(errno),
                Err(stop) => panic!("{stop:?}"),
            }
        }
        Ok(())
    }

    /// A process is killed, and nothing of it is left.
    fn erase(&mut self, by: u32, pid: u32) {
        assert_eq!(self.call(0, by, KILL, &[u64::from(pid), 9]), 0);
        self.live();
        let parent = self.nodes[0].homes[&pid].parent;
        let waited = self.call(0, parent, WAIT4, &[u64::from(pid), 0, 0, 0]);
        assert_eq!(waited, i64::from(pid));
        assert!(!self.nodes[0].homes.contains_key(&pid));
    }

    fn why(&self, pid: u32) -> String {
        self.nodes[0].homes[&pid]
            .obstacle
            .clone()
            .unwrap_or_default()
    }
}

/// Somebody who takes checkpoints, and somebody of whom they are taken.
fn two(nodes: u16) -> (Cluster, u32, u32) {
    let mut cluster = Cluster::new(nodes);
    let by = cluster.fork(0);
    let pid = cluster.fork(0);
    (cluster, by, pid)
}

#[test]
fn a_process_begins_again_as_it_was_and_as_nobody_before() {
    for away in [false, true] {
        let (mut cluster, by, pid) = two(2);
        cluster.poke(0, pid, DATA, b"before");
        if away {
            cluster.move_to(pid, 2);
        }
        let bytes = cluster.checkpoint(by, pid).expect("it can be taken");
        let epoch = cluster.nodes[0].homes[&pid].record.gate().epoch();
        // It goes on, and what it writes is not in there.
        cluster.poke(0, pid, DATA, b"behind");
        assert_eq!(cluster.call(0, pid, GETPID, &[]), i64::from(pid));
        assert_eq!(cluster.restart(by, &bytes), Err(Errno::EEXIST));
        assert_eq!(cluster.byte(0, pid, DATA), b'b');
        assert_eq!(cluster.byte(0, pid, DATA + 2), b'h');
        cluster.erase(by, pid);
        assert_eq!(cluster.restart(by, &bytes), Ok(()));
        assert_eq!(cluster.byte(0, pid, DATA + 2), b'f');
        assert_eq!(cluster.call(0, pid, GETPID, &[]), i64::from(pid));
        assert_eq!(cluster.call(0, pid, GETPPID, &[]), i64::from(by));
        assert!(cluster.nodes[0].homes[&pid].record.gate().epoch() > epoch + (1 << 50));
        // It is a process like any other: it moves, and ends.
        cluster.move_to(pid, 2);
        assert_eq!(cluster.byte(1, pid, DATA + 2), b'f');
        cluster.move_to(pid, 1);
        cluster.erase(by, pid);
        // And so it can again.
        let last = cluster.nodes[0].now;
        cluster.settle();
        assert_eq!(cluster.restart(by, &bytes), Ok(()));
        let again = cluster.nodes[0].homes[&pid].record.gate().epoch();
        assert!(again > 1_700_000_000_000_000_000 + last);
        assert_eq!(cluster.call(0, pid, GETPID, &[]), i64::from(pid));
    }
}

#[test]
fn files_are_where_they_were_and_missing_ones_are_missed() {
    let (mut cluster, by, pid) = two(1);
    cluster.poke(0, pid, DATA, b"/f\0........");
    let fd = cluster.call(0, pid, OPENAT, &[HERE, DATA, 0o102, 0o600]) as u64;
    assert_eq!(cluster.call(0, pid, WRITE, &[fd, DATA, 8]), 8);
    assert_eq!(cluster.call(0, pid, LSEEK, &[fd, 1, 0]), 1);
    let bytes = cluster.checkpoint(by, pid).expect("it can be taken");
    assert_eq!(cluster.call(0, pid, LSEEK, &[fd, 5, 0]), 5);
    cluster.erase(by, pid);
    assert_eq!(cluster.restart(by, &bytes), Ok(()));
    assert_eq!(cluster.call(0, pid, READ, &[fd, DATA + 0x100, 1]), 1);
    assert_eq!(cluster.byte(0, pid, DATA + 0x100), b'f');
    cluster.poke(0, by, DATA, b"/f\0");
    cluster.erase(by, pid);
    assert_eq!(cluster.call(0, by, UNLINK, &[DATA]), 0);
    assert_eq!(cluster.restart(by, &bytes), Err(Errno::ENOENT));
    assert!(!cluster.nodes[0].homes.contains_key(&pid));
}

#[test]
fn a_call_that_waits_is_begun_again_for_what_was_left_of_it() {
    let (mut cluster, by, pid) = two(1);
    cluster.poke(0, pid, DATA, &3_u64.to_le_bytes());
    cluster.poke(0, pid, DATA + 8, &[0; 8]);
    assert_eq!(cluster.call(0, pid, ALARM, &[100]), 0);
    cluster.begin_call(0, pid, NANOSLEEP, &[DATA, 0]);
    for _ in 0..100 {
        cluster.pass(10_000_000);
    }
    let bytes = cluster.checkpoint(by, pid).expect("it can be taken");
    cluster.erase(by, pid);
    assert_eq!(cluster.restart(by, &bytes), Ok(()));
    let since = cluster.now;
    while cluster.nodes[0].threads[&pid].call.is_some() || cluster.now == since {
        cluster.pass(10_000_000);
        cluster.idle_round(0);
        assert!(cluster.now - since < 4_000_000_000, "it sleeps too long");
    }
    let left = cluster.call(0, pid, ALARM, &[0]);
    assert!(
        (90..=99).contains(&left),
        "{left} seconds of the alarm are left"
    );
}

#[test]
fn what_cannot_be_had_again_is_said_before() {
    let (mut cluster, by, pid) = two(1);
    let child = cluster.call(0, pid, FORK, &[]);
    assert_eq!(cluster.checkpoint(by, pid), Err(Errno::EBUSY));
    assert!(
        cluster.why(pid).contains("children"),
        "{}",
        cluster.why(pid)
    );
    cluster.erase(by, child as u32);
    assert_eq!(cluster.call(0, pid, PIPE, &[DATA]), 0);
    assert_eq!(cluster.checkpoint(by, pid), Err(Errno::EBUSY));
    assert!(
        cluster.why(pid).contains("descriptor"),
        "{}",
        cluster.why(pid)
    );
    for fd in [DATA, DATA + 4] {
        let fd = cluster.byte(0, pid, fd);
        assert_eq!(cluster.call(0, pid, CLOSE, &[u64::from(fd)]), 0);
    }
    assert!(cluster.checkpoint(by, pid).is_ok());
    assert_eq!(cluster.checkpoint(by, INIT), Err(Errno::EBUSY));
    assert_eq!(cluster.checkpoint(pid, pid), Err(Errno::EINVAL));
    // It still runs, and nothing waits for it.
    assert_eq!(cluster.call(0, pid, GETPID, &[]), i64::from(pid));
    assert!(!cluster.nodes[0].checkpoints.is_wanted(pid));
}

#[test]
fn what_has_a_child_by_the_time_it_stands_still_goes_on() {
    let (mut cluster, by, pid) = two(1);
    let child = cluster.call(0, pid, FORK, &[]);
    cluster.nodes[0].checkpoints.want(pid, by);
    cluster.nodes[0].bring_to_boundary(pid);
    cluster.live();
    assert!(cluster.nodes[0].checkpoints.is_idle());
    assert_eq!(cluster.call(0, pid, GETPID, &[]), i64::from(pid));
    assert_eq!(cluster.call(0, child as u32, GETPPID, &[]), i64::from(pid));
}

#[test]
fn only_who_may_takes_one_and_only_root_begins_one_again() {
    let (mut cluster, by, pid) = two(1);
    let bytes = cluster.checkpoint(by, pid).expect("it can be taken");
    cluster.erase(by, pid);
    let other = cluster.fork(0);
    assert_eq!(cluster.call(0, by, SETRESUID, &[5, 5, 5]), 0);
    assert_eq!(cluster.checkpoint(by, other), Err(Errno::EPERM));
    assert_eq!(cluster.restart(by, &bytes), Err(Errno::EPERM));
}

#[test]
fn a_reader_that_ends_leaves_nobody_standing() {
    let (mut cluster, by, pid) = two(1);
    let part = MemoryPart::Checkpoint(pid, 0);
    let first = cluster.nodes[0].memory(part, by, 100);
    assert!(first.is_ok() || first == Err(Stop::Wait), "{first:?}");
    cluster.erase(INIT, by);
    cluster.live();
    assert_eq!(cluster.call(0, pid, GETPID, &[]), i64::from(pid));
    let left = &cluster.nodes[0].checkpoints;
    assert!(left.is_idle(), "nothing is kept for who has ended");
}

#[test]
fn no_bytes_make_a_node_fall() {
    let (mut cluster, by, pid) = two(1);
    let bytes = cluster.checkpoint(by, pid).expect("it can be taken");
    cluster.erase(by, pid);
    let mut dice = Dice(7);
    for _ in 0..300 {
        let mut bad = bytes.clone();
        for _ in 0..=dice.below(3) {
            let at = dice.below(bad.len().min(3000) as u64) as usize;
            bad[at] = dice.below(256) as u8;
        }
        // The sum is made good, so that what it says is looked at.
        super::super::checkpoint::seal_anew(&mut bad);
        match cluster.restart(by, &bad) {
            Ok(()) => {
                let begun = |home: &&crate::home::Home| home.parent == by;
                let begun = cluster.nodes[0]
                    .homes
                    .values()
                    .find(begun)
                    .map(|home| home.pid);
                let begun = begun.expect("it has begun");
                cluster.nodes[0].signal(begun, 9);
                cluster.live();
                assert!(matches!(
                    cluster.nodes[0].homes[&begun].life,
                    Life::Zombie(_)
                ));
                let waited = cluster.call(0, by, WAIT4, &[u64::from(begun), 0, 0, 0]);
                assert_eq!(waited, i64::from(begun));
            }
            Err(_) => cluster.nodes[0].checkpoints_without(by),
        }
    }
    assert_eq!(cluster.restart(by, &bytes), Ok(()));
    assert_eq!(cluster.call(0, pid, GETPID, &[]), i64::from(pid));
}
