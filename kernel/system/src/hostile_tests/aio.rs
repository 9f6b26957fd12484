//! Asynchronous I/O, at home, away, and moved inside of the call.
//!
//! Law: as in `hostile_tests`; what is expected is what Linux 6.18 answers.

use super::{Cluster, DATA};
use abi::Errno;

const PIPE: u64 = 22;
const CLOSE: u64 = 3;
const MEMFD: u64 = 319;
const EVENTFD: u64 = 284;
const IO_SETUP: u64 = 206;
const IO_DESTROY: u64 = 207;
const IO_GETEVENTS: u64 = 208;
const IO_SUBMIT: u64 = 209;
const IO_CANCEL: u64 = 210;
const READ: u64 = 0;
const WRITE: u64 = 1;

const CONTEXT: u64 = DATA + 0x100;
/// Four requests, and where they are listed.
const IOCBS: u64 = DATA + 0x200;
const LIST: u64 = DATA + 0x400;
const EVENTS: u64 = DATA + 0x500;
const TIMEOUT: u64 = DATA + 0x900;
const TEXT: u64 = DATA + 0x1000;
const INTO: u64 = DATA + 0x2000;

fn no(error: Errno) -> i64 {
    -i64::from(error.0)
}

/// One process and the node it is on.
struct Program {
    cluster: Cluster,
    node: usize,
    pid: u32,
}

/// A request: operation, descriptor, buffer, length, offset, eventfd.
type Wanted = (u16, u64, u64, u64, u64, Option<u64>);

impl Program {
    /// A program with a context.
    fn new() -> Program {
        let mut cluster = Cluster::new(2);
        let pid = cluster.fork(0);
        let mut program = Program {
            cluster,
            node: 0,
            pid,
        };
        assert_eq!(program.call(IO_SETUP, &[8, CONTEXT]), 0);
        program
    }

    fn call(&mut self, number: u64, args: &[u64]) -> i64 {
        self.cluster.call(self.node, self.pid, number, args)
    }

    fn word(&mut self, at: u64) -> u64 {
        let (node, pid) = (self.node, self.pid);
        let bytes = (0..8).map(|byte| self.cluster.byte(node, pid, at + byte));
        let bytes: Vec<u8> = bytes.collect();
        u64::from_le_bytes(bytes.try_into().expect("eight"))
    }

    fn context(&mut self) -> u64 {
        self.word(CONTEXT)
    }

    /// Puts requests where io_submit(2) finds them.
    fn put(&mut self, requests: &[Wanted]) {
        for (index, wanted) in (0..).zip(requests) {
            let (operation, fd, buffer, length, offset, told) = *wanted;
            let mut bytes = (0x70_u64 + index).to_le_bytes().to_vec();
            bytes.extend([0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
            bytes.extend(operation.to_le_bytes());
            bytes.extend([0, 0]);
            bytes.extend((fd as u32).to_le_bytes());
            for word in [buffer, length, offset, 0] {
                bytes.extend(word.to_le_bytes());
            }
            bytes.extend(u32::from(told.is_some()).to_le_bytes());
            bytes.extend((told.unwrap_or(0) as u32).to_le_bytes());
            let at = IOCBS + 64 * index;
            self.cluster.poke(self.node, self.pid, at, &bytes);
            let place = LIST + 8 * index;
            let list = at.to_le_bytes();
            self.cluster.poke(self.node, self.pid, place, &list);
        }
    }

    fn submit(&mut self, requests: &[Wanted]) -> i64 {
        self.put(requests);
        let context = self.context();
        self.call(IO_SUBMIT, &[context, requests.len() as u64, LIST])
    }

    /// Waits for no events, and gives data and result of those there are.
    fn events(&mut self) -> Vec<(u64, i64)> {
        let (node, pid) = (self.node, self.pid);
        self.cluster.poke(node, pid, TIMEOUT, &[0; 16]);
        let context = self.context();
        let count = self.call(IO_GETEVENTS, &[context, 0, 32, EVENTS, TIMEOUT]);
        self.told(count)
    }

    /// The events that a call has handed out.
    fn told(&mut self, count: i64) -> Vec<(u64, i64)> {
        (0..count as u64)
            .map(|index| {
                let at = EVENTS + 32 * index;
                (self.word(at), self.word(at + 16) as i64)
            })
            .collect()
    }

    fn go(&mut self, target: u16) {
        self.cluster.move_to(self.pid, target);
        self.node = usize::from(target) - 1;
    }
}

#[test]
fn requests_are_carried_out_wherever_the_process_is() {
    let mut program = Program::new();
    let context = program.context();
    let header: Vec<u32> = (0..8)
        .map(|at| program.word(context + 4 * at) as u32)
        .collect();
    assert_eq!(header, [0, 127, 0, 0, 0xa10a_10a1, 1, 0, 32]);
    let name = b"file\0";
    program.cluster.poke(0, program.pid, TEXT, name);
    let file = program.call(MEMFD, &[TEXT, 0]) as u64;
    let told = program.call(EVENTFD, &[0, 0]) as u64;
    for target in [2, 1] {
        let (node, pid) = (program.node, program.pid);
        program.cluster.poke(node, pid, TEXT, b"hello world");
        let written = [(1, file, TEXT, 11, 3, Some(told)), (2, file, 0, 0, 0, None)];
        assert_eq!(program.submit(&written), 2);
        let tail = program.word(context + 12) as u32;
        program.go(target);
        assert_eq!(
            program.word(context + 12) as u32,
            tail,
            "the ring moves along"
        );
        assert_eq!(program.events(), [(0x70, 11), (0x71, 0)]);
        assert_eq!(program.word(IOCBS + 8) as u32, 0, "KIOCB_KEY");
        assert_eq!(program.call(READ, &[told, INTO, 8]), 8);
        assert_eq!(program.word(INTO), 1, "its eventfd was told once");
        let read = [(0, file, INTO, 64, 9, None), (0, file, INTO, 8, 99, None)];
        assert_eq!(program.submit(&read), 2);
        assert_eq!(program.events(), [(0x70, 5), (0x71, 0)]);
        assert_eq!(&program.word(INTO).to_le_bytes()[..5], b"world");
        assert_eq!(program.events(), []);
    }
    // A child has the memory, but not the context; the context ends by its own call.
    let child = program.call(57, &[]) as u32;
    let args = [context, 0, 1, EVENTS, TIMEOUT];
    let none = program.cluster.call(0, child, IO_GETEVENTS, &args);
    assert_eq!(none, no(Errno::EINVAL));
    assert_eq!(program.call(IO_DESTROY, &[context]), 0);
    assert_eq!(program.call(IO_DESTROY, &[context]), no(Errno::EINVAL));
}

#[test]
fn what_is_wrong_is_told_at_once_or_by_the_event() {
    let mut program = Program::new();
    let context = program.context();
    program.cluster.poke(0, program.pid, TEXT, b"/\0");
    let directory = program.call(2, &[TEXT, 0, 0]) as u64;
    let file = program.call(MEMFD, &[TEXT + 1, 0]) as u64;
    let nobody = 77;
    for (wanted, error) in [
        ((0, nobody, TEXT, 1, 0, None), Errno::EBADF),
        ((9, nobody, TEXT, 1, 0, None), Errno::EBADF),
        ((9, file, TEXT, 1, 0, None), Errno::EINVAL),
        ((5, file, 1, 0, 0, None), Errno::EINVAL),
        ((0, directory, TEXT, 1, 0, None), Errno::EINVAL),
        ((1, directory, TEXT, 1, 0, None), Errno::EBADF),
        ((0, file, TEXT, 1, u64::MAX, None), Errno::EINVAL),
        ((0, file, TEXT, u64::MAX, 0, None), Errno::EINVAL),
        ((0, file, 1 << 63, 1, 0, None), Errno::EFAULT),
        ((7, file, TEXT, 1025, 0, None), Errno::EINVAL),
        ((7, file, 8, 1, 0, None), Errno::EFAULT),
        ((2, file, 1, 0, 0, None), Errno::EINVAL),
        ((0, file, TEXT, 1, 0, Some(file)), Errno::EINVAL),
        ((0, file, TEXT, 1, 0, Some(nobody)), Errno::EBADF),
    ] {
        assert_eq!(program.submit(&[wanted]), no(error), "{wanted:x?}");
    }
    assert_eq!(program.events(), []);
    let good = (1, file, TEXT, 1, 0, None);
    let bad = (1, nobody, TEXT, 1, 0, None);
    assert_eq!(program.submit(&[good, bad, good]), 1);
    assert_eq!(program.submit(&[(0, file, 8, 1, 0, None)]), 1);
    assert_eq!(program.events(), [(0x70, 1), (0x70, no(Errno::EFAULT))]);
    let other = context + 0x1000;
    for (number, args, error) in [
        (IO_SETUP, &[8, CONTEXT][..], Errno::EINVAL),
        (IO_SETUP, &[0, EVENTS], Errno::EINVAL),
        (IO_SETUP, &[65_537, EVENTS], Errno::EAGAIN),
        (IO_SETUP, &[65_530, EVENTS], Errno::EAGAIN),
        (IO_SETUP, &[4_194_305, EVENTS], Errno::EINVAL),
        (IO_SETUP, &[8, 8], Errno::EFAULT),
        (IO_SUBMIT, &[other, 1, LIST], Errno::EINVAL),
        (IO_SUBMIT, &[context, u64::MAX, LIST], Errno::EINVAL),
        (IO_SUBMIT, &[context, 1, 8], Errno::EFAULT),
        (IO_GETEVENTS, &[other, 0, 1, EVENTS, 0], Errno::EINVAL),
        (IO_GETEVENTS, &[context, 2, 1, EVENTS, 0], Errno::EINVAL),
        (IO_GETEVENTS, &[context, 1, 1, EVENTS, 8], Errno::EFAULT),
        (IO_CANCEL, &[context, 8, EVENTS], Errno::EFAULT),
        (IO_CANCEL, &[context, IOCBS, EVENTS], Errno::EINVAL),
    ] {
        // The place of a new context has to be zero.
        program.cluster.poke(0, program.pid, EVENTS, &[0; 8]);
        assert_eq!(program.call(number, args), no(error), "{number} {args:x?}");
    }
    // A full ring, and one that says nonsense of itself.
    let mut taken = 0;
    while program.submit(&[good]) == 1 {
        taken += 1;
    }
    assert_eq!(taken, 126);
    let head = context + 8;
    program.cluster.poke(0, program.pid, head, &[0xff; 4]);
    assert!(program.events().len() <= 32);
    let munmap = program.call(11, &[context, 0x1000]);
    assert_eq!((munmap, program.submit(&[good])), (0, no(Errno::EINVAL)));
}

#[test]
fn a_request_that_waits_is_moved_and_done_once() {
    let mut program = Program::new();
    assert_eq!(program.call(PIPE, &[EVENTS]), 0);
    let ends = program.word(EVENTS);
    let (reader, writer) = (ends & 0xffff_ffff, ends >> 32);
    let told = program.call(EVENTFD, &[0, 0]) as u64;
    let child = program.call(57, &[]) as u32;
    program.put(&[
        (1, writer, TEXT, 0, 0, None),
        (0, reader, INTO, 16, 12_345, Some(told)),
        (2, reader, 0, 0, 0, None),
    ]);
    let (context, pid) = (program.context(), program.pid);
    let args = [context, 3, LIST];
    program.cluster.begin_call(0, pid, IO_SUBMIT, &args);
    program.cluster.settle();
    assert!(program.cluster.nodes[0].threads[&pid].call.is_some());
    program.go(2);
    // Its registers were wound back to before the call.
    program.cluster.begin_call(1, pid, IO_SUBMIT, &args);
    program.cluster.settle();
    program.cluster.poke(0, child, TEXT, b"late");
    let write = [writer, TEXT, 4];
    assert_eq!(program.cluster.call(0, child, WRITE, &write), 4);
    program.cluster.settle();
    let thread = &program.cluster.nodes[1].threads[&pid];
    // Nothing can be synchronised with a pipe, so two were carried out.
    assert_eq!((thread.call, thread.registers.rax), (None, 2));
    assert_eq!(program.events(), [(0x70, 0), (0x71, 4)]);
    assert_eq!(&program.word(INTO).to_le_bytes()[..4], b"late");
    assert_eq!(program.call(READ, &[told, INTO, 8]), 8);
    assert_eq!(program.word(INTO), 1);
    assert_eq!(program.call(CLOSE, &[reader]), 0);
}

/// The answer for a call that something else has ended is not taken for that of the next one.
#[test]
fn a_context_that_ends_while_a_request_waits_leaves_no_answer_behind() {
    const THREAD: u64 = 0x100 | 0x200 | 0x400 | 0x800 | 0x1_0000;
    const GETPPID: u64 = 110;
    let mut program = Program::new();
    assert_eq!(program.call(PIPE, &[EVENTS]), 0);
    let ends = program.word(EVENTS);
    let (reader, writer) = (ends & 0xffff_ffff, ends >> 32);
    let child = program.call(57, &[]) as u32;
    let other = program.call(56, &[THREAD, TEXT + 0x800]) as u32;
    program.put(&[(0, reader, INTO, 16, 0, None)]);
    program.go(2);
    let (context, pid) = (program.context(), program.pid);
    program
        .cluster
        .begin_call(1, other, IO_SUBMIT, &[context, 1, LIST]);
    program.cluster.settle();
    assert_eq!(program.cluster.call(1, pid, IO_DESTROY, &[context]), 0);
    program.cluster.poke(0, child, TEXT, b"late");
    let write = [writer, TEXT, 4];
    assert_eq!(program.cluster.call(0, child, WRITE, &write), 4);
    program.cluster.settle();
    let thread = &program.cluster.nodes[1].threads[&other];
    let invalid = no(Errno::EINVAL) as u64;
    assert_eq!((thread.call, thread.registers.rax), (None, invalid));
    let parent = program.cluster.call(1, other, GETPPID, &[]);
    assert_eq!(parent, i64::from(crate::home::INIT));
}

#[test]
fn who_waits_for_events_has_those_of_another_thread_after_a_move() {
    const THREAD: u64 = 0x100 | 0x200 | 0x400 | 0x800 | 0x1_0000;
    let mut program = Program::new();
    program.cluster.poke(0, program.pid, TEXT, b"x\0");
    let file = program.call(MEMFD, &[TEXT, 0]) as u64;
    let other = program.call(56, &[THREAD, TEXT + 0x800]) as u32;
    let (context, pid) = (program.context(), program.pid);
    let wait = [context, 2, 8, EVENTS, 0];
    program.cluster.begin_call(0, other, IO_GETEVENTS, &wait);
    program.cluster.settle();
    assert_eq!(program.submit(&[(1, file, TEXT, 1, 0, None)]), 1);
    program.cluster.settle();
    assert!(program.cluster.nodes[0].threads[&other].call.is_some());
    program.cluster.move_to(pid, 2);
    program.node = 1;
    program.cluster.begin_call(1, other, IO_GETEVENTS, &wait);
    program.cluster.settle();
    assert_eq!(program.submit(&[(1, file, TEXT, 2, 0, None)]), 1);
    program.cluster.settle();
    let thread = &program.cluster.nodes[1].threads[&other];
    assert_eq!((thread.call, thread.registers.rax), (None, 2));
    assert_eq!(program.told(2), [(0x70, 1), (0x70, 2)]);
    // One that is over is none, also for who waits for it.
    program.cluster.begin_call(1, other, IO_GETEVENTS, &wait);
    program.cluster.settle();
    assert_eq!(program.call(IO_DESTROY, &[context]), 0);
    program.cluster.settle();
    let thread = &program.cluster.nodes[1].threads[&other];
    let invalid = no(Errno::EINVAL) as u64;
    assert_eq!((thread.call, thread.registers.rax), (None, invalid));
    assert!(program.cluster.nodes[1].futexes.is_empty());
}
