//! Tracers and tracees on nodes of the tests: what is told when, and that neither moves.

use crate::hostile_tests::{CODE, Cluster, DATA};
use machine::Exit;

const FORK: u64 = 57;
const WAIT4: u64 = 61;
const KILL: u64 = 62;
const GETPPID: u64 = 110;
const SETRESUID: u64 = 117;
const PTRACE: u64 = 101;
const EXIT: u64 = 60;
const PAUSE: u64 = 34;

const TRACEME: u64 = 0;
const POKE: u64 = 5;
const PEEK: u64 = 2;
const PEEK_USER: u64 = 3;
const POKE_USER: u64 = 6;
const CONT: u64 = 7;
const STEP: u64 = 9;
const ATTACH: u64 = 16;
const DETACH: u64 = 17;
const SYSCALL: u64 = 24;
const OPTIONS: u64 = 0x4200;
const MESSAGE: u64 = 0x4201;
const SEIZE: u64 = 0x4206;
const INTERRUPT: u64 = 0x4207;
const LISTEN: u64 = 0x4208;

const ORIG_RAX: u64 = 120;
const RAX: u64 = 80;
const WALL: u64 = 0x4000_0000;
const NOHANG: u64 = 1;
const ESRCH: i64 = -3;
const EPERM: i64 = -1;
const EIO: i64 = -5;
const ECHILD: i64 = -10;
/// Where the tests have answers put.
const INTO: u64 = DATA + 0x800;

/// A tracer with a child on one node.
struct Pair {
    cluster: Cluster,
    tracer: u32,
    child: u32,
}

impl Pair {
    fn new() -> Pair {
        let mut cluster = Cluster::new(2);
        let tracer = cluster.fork(0);
        let child = cluster.call(0, tracer, FORK, &[]) as u32;
        Pair {
            cluster,
            tracer,
            child,
        }
    }

    /// One whose child has asked to be traced and has been stopped by a signal.
    fn traced() -> Pair {
        let mut pair = Pair::new();
        assert_eq!(pair.by_child(PTRACE, &[TRACEME]), 0);
        let (tracer, child) = (pair.tracer, pair.child);
        assert_eq!(pair.call(KILL, &[child.into(), 19]), 0);
        assert_eq!(pair.status(), Some((child, 0x137f)));
        assert_eq!(pair.cluster.nodes[0].tracing.tracer_of(child), Some(tracer));
        pair
    }

    fn call(&mut self, number: u64, args: &[u64]) -> i64 {
        let tracer = self.tracer;
        self.cluster.call(0, tracer, number, args)
    }

    fn by_child(&mut self, number: u64, args: &[u64]) -> i64 {
        let child = self.child;
        self.cluster.call(0, child, number, args)
    }

    fn ptrace(&mut self, request: u64, address: u64, data: u64) -> i64 {
        let child = u64::from(self.child);
        self.call(PTRACE, &[request, child, address, data])
    }

    fn word(&mut self) -> u64 {
        let tracer = self.tracer;
        let bytes = (0..8).map(|at| self.cluster.byte(0, tracer, INTO + at));
        let bytes: Vec<u8> = bytes.collect();
        u64::from_le_bytes(bytes.try_into().expect("eight bytes"))
    }

    fn user(&mut self, at: u64) -> u64 {
        assert_eq!(self.ptrace(PEEK_USER, at, INTO), 0);
        self.word()
    }

    /// What wait4(-1, __WALL | WNOHANG) tells: who, and the status.
    fn status(&mut self) -> Option<(u32, u32)> {
        let args = [u64::MAX, INTO, WALL | NOHANG, 0];
        match self.call(WAIT4, &args) {
            0 => None,
            who if who > 0 => Some((who as u32, self.word() as u32)),
            error => panic!("wait4: {error}"),
        }
    }

    /// The child comes with a call, as far as it gets.
    fn child_calls(&mut self, number: u64, args: &[u64]) {
        let child = self.child;
        self.cluster.begin_call(0, child, number, args);
    }

    fn runs(&self) -> bool {
        let thread = &self.cluster.nodes[0].threads[&self.child];
        !thread.traced.stopped
    }
}

#[test]
fn a_child_that_asks_for_it_stops_for_signals_and_gets_what_the_tracer_says() {
    let mut pair = Pair::traced();
    // Once told, there is nothing to tell; who is stopped is there all the same.
    assert_eq!(pair.status(), None);
    assert_eq!(pair.ptrace(CONT, 0, 65), EIO);
    assert_eq!(pair.ptrace(CONT, 0, 0), 0);
    assert!(pair.runs());
    assert_eq!(pair.ptrace(CONT, 0, 0), ESRCH);
    // SIGTERM is left out, and SIGUSR1 ends it.
    let child = pair.child;
    pair.call(KILL, &[child.into(), 15]);
    assert_eq!(pair.status(), Some((child, 0x0f7f)));
    assert_eq!(pair.ptrace(CONT, 0, 0), 0);
    assert_eq!(pair.by_child(GETPPID, &[]), i64::from(pair.tracer));
    pair.call(KILL, &[child.into(), 10]);
    assert_eq!(pair.status(), Some((child, 0x0a7f)));
    assert_eq!(pair.ptrace(CONT, 0, 10), 0);
    assert_eq!(pair.status(), Some((child, 10)));
    assert_eq!(
        pair.call(WAIT4, &[u64::MAX, INTO, WALL | NOHANG, 0]),
        ECHILD
    );
}

#[test]
fn a_call_is_shown_when_it_begins_and_when_it_ends_and_is_what_the_tracer_makes_of_it() {
    let mut pair = Pair::traced();
    let child = pair.child;
    assert_eq!(pair.ptrace(OPTIONS, 0, 1), 0);
    for taken_away in [false, true] {
        assert_eq!(pair.ptrace(SYSCALL, 0, 0), 0);
        pair.child_calls(GETPPID, &[]);
        assert_eq!(pair.status(), Some((child, 0x857f)));
        assert_eq!(pair.user(ORIG_RAX), GETPPID);
        assert_eq!(pair.user(RAX) as i64, -38);
        if taken_away {
            assert_eq!(pair.ptrace(POKE_USER, ORIG_RAX, u64::MAX), 0);
            assert_eq!(pair.ptrace(POKE_USER, RAX, 4711), 0);
        }
        assert_eq!(pair.ptrace(SYSCALL, 0, 0), 0);
        assert_eq!(pair.status(), Some((child, 0x857f)));
        let result = if taken_away { 4711 } else { pair.tracer.into() };
        assert_eq!(pair.user(RAX), result);
    }
    // Only its beginning is asked for: then it is not shown again.
    assert_eq!(pair.ptrace(SYSCALL, 0, 0), 0);
    pair.child_calls(GETPPID, &[]);
    assert_eq!(pair.status(), Some((child, 0x857f)));
    assert_eq!(pair.ptrace(CONT, 0, 0), 0);
    assert_eq!(pair.status(), None);
    assert!(pair.runs());
}

#[test]
fn a_call_that_waits_is_shown_as_interrupted_and_begins_anew() {
    let mut pair = Pair::traced();
    let child = pair.child;
    assert_eq!(pair.ptrace(SYSCALL, 0, 0), 0);
    pair.child_calls(PAUSE, &[]);
    assert_eq!(pair.status(), Some((child, 0x057f)));
    assert_eq!(pair.ptrace(SYSCALL, 0, 0), 0);
    assert_eq!(pair.status(), None);
    pair.call(KILL, &[child.into(), 12]);
    // Its end, then the signal.
    assert_eq!(pair.status(), Some((child, 0x057f)));
    assert_eq!(pair.user(RAX) as i64, -514);
    assert_eq!(pair.user(ORIG_RAX), PAUSE);
    assert_eq!(pair.ptrace(SYSCALL, 0, 0), 0);
    assert_eq!(pair.status(), Some((child, 0x0c7f)));
    assert_eq!(pair.ptrace(SYSCALL, 0, 0), 0);
    // It stands before the call again.
    let thread = &pair.cluster.nodes[0].threads[&child];
    assert_eq!(thread.registers.rip, CODE);
    assert_eq!(thread.registers.rax, PAUSE);
    assert!(thread.call.is_none());
}

#[test]
fn who_is_attached_stops_and_goes_on_when_it_is_left() {
    let mut pair = Pair::new();
    let child = pair.child;
    assert_eq!(pair.ptrace(PEEK, CODE, INTO), ESRCH);
    assert_eq!(pair.ptrace(ATTACH, 0, 0), 0);
    assert_eq!(pair.ptrace(ATTACH, 0, 0), EPERM);
    assert_eq!(pair.status(), Some((child, 0x137f)));
    assert_eq!(pair.ptrace(INTERRUPT, 0, 0), EIO);
    assert_eq!(pair.ptrace(PEEK, 0x10, INTO), EIO);
    assert_eq!(pair.ptrace(DETACH, 0, 0), 0);
    assert!(pair.cluster.nodes[0].tracing.get(child).is_none());
    assert_eq!(pair.by_child(GETPPID, &[]), i64::from(pair.tracer));
}

#[test]
fn a_child_that_asks_for_it_is_traced_by_the_thread_that_made_it() {
    const CLONE: u64 = 56;
    const THREAD: u64 = 0x1_0f00;
    let mut pair = Pair::new();
    let thread = pair.call(CLONE, &[THREAD, 0, 0, 0, 0]) as u32;
    let child = pair.cluster.call(0, thread, FORK, &[]) as u32;
    pair.child = child;
    assert_eq!(pair.by_child(PTRACE, &[TRACEME]), 0);
    pair.call(KILL, &[child.into(), 19]);
    assert_eq!(pair.status(), Some((child, 0x137f)));
    assert_eq!(pair.ptrace(CONT, 0, 0), ESRCH);
    let goes_on = [CONT, child.into(), 0, 0];
    assert_eq!(pair.cluster.call(0, thread, PTRACE, &goes_on), 0);
    // Without that thread it is the first one.
    let orphan = pair.cluster.call(0, thread, FORK, &[]) as u32;
    pair.cluster.begin_call(0, thread, EXIT, &[0]);
    pair.cluster.settle();
    pair.child = orphan;
    assert_eq!(pair.by_child(PTRACE, &[TRACEME]), 0);
    pair.call(KILL, &[orphan.into(), 19]);
    assert!(pair.status().is_some());
    assert_eq!(pair.ptrace(CONT, 0, 0), 0);
}

#[test]
fn code_that_a_program_may_not_write_is_written_for_its_tracer_and_for_it_alone() {
    let mut pair = Pair::traced();
    let (tracer, child) = (pair.tracer, pair.child);
    assert_eq!(pair.ptrace(PEEK, CODE + 16, INTO), 0);
    assert_eq!(pair.word(), 0x9090_9090_9090_9090);
    assert_eq!(pair.ptrace(POKE, CODE + 16, 0xcc), 0);
    assert_eq!(pair.ptrace(PEEK, CODE + 16, INTO), 0);
    assert_eq!(pair.word(), 0xcc);
    assert_eq!(pair.cluster.byte(0, child, CODE + 16), 0xcc);
    assert_eq!(pair.cluster.byte(0, tracer, CODE + 16), 0x90);
    // Across the border of two pages.
    let border = CODE - 4;
    assert_eq!(pair.ptrace(POKE, border, u64::MAX), 0);
    assert_eq!(pair.ptrace(PEEK, border, INTO), 0);
    assert_eq!(pair.word(), u64::MAX);
    // It still may not write there itself.
    let system = &mut pair.cluster.nodes[0];
    let written = system.with_space(child, |space, pages| space.write(CODE, b"x", pages));
    assert!(written.is_err());
}

#[test]
fn a_step_is_one_instruction_or_one_call() {
    let mut pair = Pair::traced();
    let child = pair.child;
    assert_eq!(pair.ptrace(STEP, 0, 0), 0);
    pair.cluster.run(0, child, |turn| {
        assert_eq!(turn.registers.rflags & 0x100, 0x100);
        Exit::Exception {
            vector: 1,
            code: 0,
            address: 0,
        }
    });
    assert_eq!(pair.status(), Some((child, 0x057f)));
    // The flag is the tracer's, and is not seen.
    assert_eq!(pair.user(144) & 0x100, 0);
    assert_eq!(pair.ptrace(STEP, 0, 0), 0);
    pair.child_calls(GETPPID, &[]);
    assert_eq!(pair.status(), Some((child, 0x057f)));
    assert_eq!(pair.user(RAX), pair.tracer.into());
}

#[test]
fn who_is_seized_is_interrupted_and_listens_while_its_process_is_stopped() {
    let mut pair = Pair::new();
    let child = pair.child;
    assert_eq!(pair.ptrace(SEIZE, 0, 1 << 30), EIO);
    assert_eq!(pair.ptrace(SEIZE, 0, 0), 0);
    assert_eq!(pair.status(), None);
    assert_eq!(pair.ptrace(INTERRUPT, 0, 0), 0);
    assert_eq!(pair.status(), Some((child, 0x80_057f)));
    assert_eq!(pair.ptrace(CONT, 0, 0), 0);
    // A signal that stops: first the signal, then the stop of the process.
    pair.call(KILL, &[child.into(), 19]);
    assert_eq!(pair.status(), Some((child, 0x137f)));
    assert_eq!(pair.ptrace(LISTEN, 0, 0), EIO);
    assert_eq!(pair.ptrace(CONT, 0, 19), 0);
    assert_eq!(pair.status(), Some((child, 0x80_137f)));
    assert_eq!(pair.ptrace(LISTEN, 0, 0), 0);
    assert_eq!(pair.ptrace(CONT, 0, 0), ESRCH);
    assert!(!pair.runs());
    pair.call(KILL, &[child.into(), 18]);
    assert_eq!(pair.status(), Some((child, 0x80_057f)));
    assert_eq!(pair.ptrace(CONT, 0, 0), 0);
    assert_eq!(pair.status(), Some((child, 0x127f)));
    assert_eq!(pair.ptrace(CONT, 0, 18), 0);
    assert!(pair.runs());
}

/// It was hanging with two processors: the call that it came with waited, and nobody looked why it was called back.
#[test]
fn who_is_interrupted_in_user_mode_and_comes_with_a_call_stops() {
    let mut pair = Pair::new();
    let child = pair.child;
    assert_eq!(pair.ptrace(SEIZE, 0, 0), 0);
    let now = pair.cluster.now;
    let node = &mut pair.cluster.nodes[0];
    let mut turn = loop {
        let turn = node.begin(0).expect("the child may run");
        if turn.tid == child {
            break turn;
        }
        node.end_turn(turn, Exit::Interrupt, 1000, now);
    };
    // As its tracer does on another processor.
    node.interrupt(child);
    node.settle();
    (turn.registers.rax, turn.registers.rip) = (PAUSE, CODE + 2);
    node.end_turn(turn, Exit::Syscall, 1000, now);
    assert_eq!(pair.status(), Some((child, 0x80_057f)));
}

#[test]
fn a_child_of_who_is_traced_is_an_event_and_traced_too() {
    let mut pair = Pair::traced();
    let child = pair.child;
    assert_eq!(pair.ptrace(OPTIONS, 0, 2), 0);
    assert_eq!(pair.ptrace(CONT, 0, 0), 0);
    pair.child_calls(FORK, &[]);
    let grandchild = {
        let homes = &pair.cluster.nodes[0].homes;
        let found = homes.values().find(|home| home.parent == child);
        found.expect("a grandchild").pid
    };
    assert_eq!(pair.status(), Some((child, 0x1_057f)));
    assert_eq!(pair.ptrace(MESSAGE, 0, INTO), 0);
    assert_eq!(pair.word(), grandchild.into());
    assert_eq!(pair.status(), Some((grandchild, 0x137f)));
    assert_eq!(pair.ptrace(CONT, 0, 0), 0);
    // The tracer hears of its end first, and then its parent.
    let args = [CONT, grandchild.into(), 0, 0];
    assert_eq!(pair.call(PTRACE, &args), 0);
    pair.cluster.begin_call(0, grandchild, EXIT, &[7]);
    let wait = [u64::MAX, INTO, NOHANG, 0];
    assert_eq!(pair.by_child(WAIT4, &wait), 0);
    assert_eq!(pair.status(), Some((grandchild, 0x700)));
    // Of which the parent hears by a signal, which is shown, too.
    assert_eq!(pair.status(), Some((child, 0x117f)));
    assert_eq!(pair.ptrace(CONT, 0, 17), 0);
    assert_eq!(pair.by_child(WAIT4, &wait), grandchild.into());
}

#[test]
fn the_end_of_a_tracer_lets_its_tracees_go_or_ends_them() {
    for kills in [false, true] {
        let mut pair = Pair::traced();
        let (tracer, child) = (pair.tracer, pair.child);
        let options = if kills { 1 << 20 } else { 0 };
        assert_eq!(pair.ptrace(OPTIONS, 0, options), 0);
        assert_eq!(pair.ptrace(CONT, 0, 0), 0);
        pair.cluster.begin_call(0, tracer, EXIT, &[0]);
        pair.cluster.settle();
        let node = &pair.cluster.nodes[0];
        assert!(node.tracing.get(child).is_none());
        let lives = node.homes.get(&child).is_some_and(crate::home::Home::lives);
        assert_eq!(lives, !kills);
    }
}

#[test]
fn neither_of_them_moves_and_who_is_away_comes_home_to_be_traced() {
    let mut pair = Pair::new();
    let (tracer, child) = (pair.tracer, pair.child);
    pair.cluster.move_to(child, 2);
    let args = [ATTACH, child.into(), 0, 0];
    pair.cluster.begin_call(0, tracer, PTRACE, &args);
    pair.cluster.settle();
    assert_eq!(pair.cluster.nodes[0].threads[&tracer].registers.rax, 0);
    assert_eq!(pair.status(), Some((child, 0x137f)));
    for pid in [tracer, child] {
        pair.cluster.start_move(pid, 2);
        pair.cluster.settle();
        assert!(pair.cluster.nodes[0].bodies.contains_key(&pid));
        let home = pair.cluster.nodes[0].homes.get_mut(&pid);
        let request = home.and_then(|home| home.request.take());
        let result = request.and_then(|request| request.result);
        let reason = result.expect("a result").expect_err("it stays").to_string();
        assert!(reason.contains("trace"), "{reason}");
    }
    assert_eq!(pair.ptrace(DETACH, 0, 0), 0);
    pair.cluster.move_to(child, 2);
    pair.cluster.move_to(tracer, 2);
}

#[test]
fn nobody_traces_himself_the_first_process_or_whom_he_may_not_look_into() {
    let mut pair = Pair::new();
    let (tracer, child) = (pair.tracer, pair.child);
    for who in [u64::from(tracer), 1] {
        assert_eq!(pair.call(PTRACE, &[ATTACH, who, 0, 0]), EPERM);
    }
    assert_eq!(pair.call(PTRACE, &[ATTACH, 0, 0, 0]), ESRCH);
    assert_eq!(pair.call(PTRACE, &[ATTACH, 0xff_fffe, 0, 0]), ESRCH);
    assert_eq!(pair.call(SETRESUID, &[5, 5, 5]), 0);
    assert_eq!(pair.ptrace(ATTACH, 0, 0), EPERM);
    assert_eq!(pair.cluster.call(0, child, PTRACE, &[TRACEME]), EPERM);
}

#[test]
fn a_kill_ends_who_stands() {
    let mut pair = Pair::traced();
    let child = pair.child;
    pair.call(KILL, &[child.into(), 9]);
    assert_eq!(pair.status(), Some((child, 9)));
}
