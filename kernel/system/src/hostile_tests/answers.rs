//! Answers of home that the call which asked has no use for any more.
//!
//! Law: as in `hostile_tests`. While a call asks home, another thread takes away or changes the memory that it
//! reads again when the answer is there.

use super::{Cluster, DATA};
use abi::Errno;

const PIPE: u64 = 22;
const GETPPID: u64 = 110;
const CLONE: u64 = 56;
const CLONE3: u64 = 435;
const MMAP: u64 = 9;
const THREAD: u64 = 0x100 | 0x200 | 0x400 | 0x800 | 0x1_0000;
/// What is taken away.
const GONE: u64 = DATA + 0x8000;
const PAGE: u64 = 0x1000;
const ENDS: u64 = DATA + 0x100;
/// `WNOHANG | __WALL` of wait4(2).
const ANY_NOW: u64 = 0x4000_0001;

/// A process with another thread, away from home, and a pipe.
struct Program {
    cluster: Cluster,
    pid: u32,
    other: u32,
    reader: u64,
    writer: u64,
}

impl Program {
    fn new() -> Program {
        let mut cluster = Cluster::new(2);
        let pid = cluster.fork(0);
        assert_eq!(cluster.call(0, pid, PIPE, &[ENDS]), 0);
        let ends: Vec<u8> = (0..8).map(|at| cluster.byte(0, pid, ENDS + at)).collect();
        let (reader, writer) = (u64::from(ends[0]), u64::from(ends[4]));
        let other = cluster.call(0, pid, CLONE, &[THREAD, DATA + 0x800]) as u32;
        cluster.move_to(pid, 2);
        Program {
            cluster,
            pid,
            other,
            reader,
            writer,
        }
    }

    /// What is in the memory that a call reads.
    fn put(&mut self, bytes: &[u8]) {
        let pid = self.pid;
        let map = [GONE, PAGE, 3, 0x32, u64::MAX, 0];
        assert_eq!(self.cluster.call(1, pid, MMAP, &map), GONE as i64);
        self.cluster.poke(1, pid, GONE, bytes);
    }

    /// Makes a call of the other thread, and does something as soon as home is asked.
    fn call(&mut self, number: u64, args: &[u64], meanwhile: impl FnOnce(&mut Program)) -> i64 {
        let other = self.other;
        self.cluster.begin_call(1, other, number, args);
        let asks = &self.cluster.nodes[1].threads[&other].forward;
        let sent = matches!(asks, crate::thread::Forward::Sent { .. });
        assert!(sent, "call {number} asks home: {asks:?}");
        meanwhile(self);
        self.cluster.settle();
        let thread = &self.cluster.nodes[1].threads[&other];
        assert_eq!(thread.call, None, "call {number} ends");
        thread.registers.rax as i64
    }

    fn take_away(&mut self) {
        let space = self.cluster.nodes[1].space_mut(self.pid);
        let done = space.expect("its memory").unmap(GONE, PAGE);
        done.expect("it was there");
    }

    /// How many threads home knows of.
    fn threads_at_home(&self) -> usize {
        self.cluster.nodes[0].homes[&self.pid].threads.len()
    }
}

fn no(error: Errno) -> i64 {
    -i64::from(error.0)
}

#[test]
fn memory_that_goes_while_home_is_asked_leaves_no_answer_behind() {
    const NOTHING: u64 = DATA + 0x200;
    const CHILD: u64 = 17;
    let mut program = Program::new();
    let (reader, writer) = (program.reader, program.writer);
    let pid = u64::from(program.pid);
    let wants_out = writer | 4 << 32;
    for (number, args, words) in [
        (7, &[GONE, 1, 0][..], [wants_out, 0]),
        (13, &[CHILD, GONE, 0, 8], [0, 0]),
        (20, &[writer, GONE, 1], [DATA, 1]),
        (23, &[8, 0, GONE, 0, NOTHING], [1 << writer, 0]),
        (40, &[writer, reader, GONE, 1], [0, 0]),
        (56, &[0x1000 | CHILD, 0, GONE], [0, 0]),
        (
            59,
            &[GONE, NOTHING, NOTHING],
            [u64::from_le_bytes(*b"/nothing"), 0],
        ),
        (65, &[9, GONE, 1], [0, 0]),
        (69, &[9, GONE, 8, 0], [1, 0]),
        (157, &[15, GONE], [0x6c6c_6568, 0]),
        (203, &[pid, 8, GONE], [1, 0]),
        (244, &[writer, GONE], [0, 0]),
        (256, &[pid, 65, GONE, GONE], [1, 0]),
        (271, &[GONE, 1, NOTHING, 0, 8], [wants_out, 0]),
        (302, &[0, 7, GONE, 0], [64, 64]),
        (CLONE3, &[GONE, 64], [0, 0]),
    ] {
        program.put(&words.map(u64::to_le_bytes).concat());
        let answer = program.call(number, args, Program::take_away);
        assert_eq!(answer, no(Errno::EFAULT), "call {number}");
        // The next question of the same kind, and of another.
        let other = program.other;
        let forward = &program.cluster.nodes[1].threads[&other].forward;
        assert_eq!(
            *forward,
            crate::thread::Forward::Idle,
            "after call {number}"
        );
        let parent = program.cluster.call(1, other, GETPPID, &[]);
        assert_eq!(parent, i64::from(crate::home::INIT), "after call {number}");
    }
    // Children that nobody knows of have ended, and can be waited for.
    for _ in 0..2 {
        let other = program.other;
        let status = [u64::MAX, NOTHING, ANY_NOW, 0];
        let child = program.cluster.call(1, other, 61, &status);
        assert!(child > 0, "a child that has ended: {child}");
        assert_eq!(program.cluster.byte(1, program.pid, NOTHING), 9);
    }
    assert_eq!(
        program
            .cluster
            .call(1, program.other, 61, &[u64::MAX, 0, ANY_NOW, 0]),
        no(Errno::ECHILD)
    );
}

#[test]
fn the_answer_to_another_question_is_none() {
    let mut program = Program::new();
    let before = program.threads_at_home();
    // A process was asked for; by then it is to be a thread.
    program.put(&[0; 64]);
    let tid = program.call(CLONE3, &[GONE, 64], |program| {
        let flags = THREAD.to_le_bytes();
        program.cluster.poke(1, program.pid, GONE, &flags);
    });
    let tid = u32::try_from(tid).expect("a thread");
    assert!(
        program.cluster.nodes[0].homes[&program.pid]
            .threads
            .contains_key(&tid)
    );
    assert_eq!(program.threads_at_home(), before + 1);
    let child = program
        .cluster
        .call(1, program.other, 61, &[u64::MAX, 0, ANY_NOW, 0]);
    assert!(child > 0 && child != i64::from(tid), "{child}");
    // And the other way round.
    program.put(&[THREAD.to_le_bytes(), [0; 8]].concat());
    let child = program.call(CLONE3, &[GONE, 64], |program| {
        program.cluster.poke(1, program.pid, GONE, &[0; 8]);
    });
    let child = u32::try_from(child).expect("a process");
    assert!(program.cluster.nodes[0].homes.contains_key(&child));
    assert_eq!(program.threads_at_home(), before + 1);
    assert!(program.cluster.nodes[1].bodies.contains_key(&child));
}

/// A process that is killed while its fork is under way leaves no child, also one whose descriptor it wanted.
#[test]
fn a_child_that_comes_too_late_is_ended_with_its_descriptor() {
    const PIDFD: u64 = 0x1000;
    let mut program = Program::new();
    let homes = program.cluster.nodes[0].homes.len();
    program.put(&[PIDFD, GONE + 128].map(u64::to_le_bytes).concat());
    let other = program.other;
    program.cluster.begin_call(1, other, CLONE3, &[GONE, 64]);
    program.cluster.begin_call(1, program.pid, 231, &[0]);
    program.cluster.settle();
    program.cluster.settle();
    assert!(
        program.cluster.nodes[1]
            .bodies
            .keys()
            .all(|pid| *pid == crate::home::INIT)
    );
    let left = program.cluster.nodes[0]
        .homes
        .values()
        .filter(|home| home.lives());
    assert!(left.count() < homes, "no child lives on");
}
