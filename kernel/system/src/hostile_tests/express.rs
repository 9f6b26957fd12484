//! Calls that are answered where the thread stands, against the same calls on the usual way.

use super::{CODE, Cluster, DATA, TURN_NS};
use crate::turn::{After, Turn};
use machine::{Exit, FpuState};

const GETPID: u64 = 39;
const GETEUID: u64 = 107;
/// The first descriptor that is free.
const FD: u64 = 3;

/// A state that nobody else has.
fn marked(mark: u8) -> FpuState {
    let mut bytes = FpuState::initial().bytes().to_vec();
    // Bytes of XMM0.
    bytes[160..176].fill(mark);
    FpuState::from_bytes(&bytes).expect("a good state")
}

/// A thread that was given back without having been in user mode again keeps what it had computed
/// before: the processor may go to somebody else now.
#[test]
fn the_extended_state_survives_a_turn_that_is_given_back() {
    for number in [GETEUID, GETPID] {
        let mut cluster = Cluster::new(1);
        let init = crate::home::INIT;
        let other = cluster.fork(0);
        cluster.run(0, init, |turn| {
            marked(7).load();
            turn.registers.rax = number;
            turn.registers.rip = CODE + 2;
            Exit::Syscall
        });
        cluster.run(0, other, |_| Exit::Interrupt);
        let system = &cluster.nodes[0];
        let kept = &system.threads[&init].fpu;
        assert!(**kept == marked(7), "lost after call {number}");
    }
}

/// Registers of a call that is answered at once are those of the thread when it is given back.
#[test]
fn an_answer_is_kept_when_the_turn_is_given_back() {
    let mut cluster = Cluster::new(1);
    let init = crate::home::INIT;
    let mut turn = loop {
        let turn = cluster.nodes[0].begin(0).expect("init runs");
        if turn.tid == init {
            break turn;
        }
    };
    turn.registers.rax = GETEUID;
    turn.registers.rip = CODE + 2;
    turn.registers.rbx = 0x1234;
    let now = cluster.now;
    let after = cluster.nodes[0].end(0, &mut turn, Exit::Syscall, TURN_NS, now);
    assert_eq!(after, After::Unchanged, "it goes on at once");
    assert_eq!(turn.registers.rax, 0);
    cluster.nodes[0].put_back(0, &mut turn);
    let registers = cluster.nodes[0].threads[&init].registers;
    assert_eq!((registers.rax, registers.rbx), (0, 0x1234));
}

/// A processor that is late to be interrupted, as a host may keep its timer waiting.
#[test]
fn a_limit_of_cpu_time_is_noticed_by_a_call_that_only_tells_something() {
    let mut cluster = Cluster::new(1);
    let child = cluster.fork(0);
    let body = cluster.nodes[0].bodies.get_mut(&child).expect("it is here");
    body.limits[crate::cpu_timers::LIMIT_CPU] = (1, 5);
    body.watch_cpu();
    let mut at = None;
    for _ in 0..4 {
        let (cpu, mut turn) = at.unwrap_or_else(|| turn_of(&mut cluster, &[0], child));
        turn.registers.rip = CODE + 2;
        turn.registers.rax = GETEUID;
        cluster.now += 300_000_000;
        let now = cluster.now;
        let after = cluster.nodes[0].end(cpu, &mut turn, Exit::Syscall, 300_000_000, now);
        at = (after != After::Over).then_some((cpu, turn));
        if !cluster.nodes[0].homes[&child].lives() {
            return;
        }
    }
    // Nobody catches SIGXCPU.
    panic!("it goes on");
}

/// A turn of a certain thread on one of these processors, and on which.
pub(super) fn turn_of(cluster: &mut Cluster, processors: &[usize], tid: u32) -> (usize, Turn) {
    for _ in 0..100 {
        for &cpu in processors {
            let Some(mut turn) = cluster.nodes[0].begin(cpu) else {
                continue;
            };
            if turn.tid == tid {
                return (cpu, turn);
            }
            let now = cluster.now;
            let after = cluster.nodes[0].end(cpu, &mut turn, Exit::Interrupt, TURN_NS, now);
            assert_eq!(after, After::Over);
        }
    }
    panic!("{tid:#x} does not run");
}

/// While the first thread of a process is in user mode, another one starts a program, which has the number of
/// the first: what that comes back with is not the program's.
#[test]
fn a_program_begins_as_it_should_while_the_first_thread_is_in_user_mode() {
    const CLONE: u64 = 56;
    const THREAD: u64 = 0x1_0f00;
    const EXECVE: u64 = 59;
    const PAUSE: u64 = 34;
    for exit in [Exit::Interrupt, Exit::Syscall] {
        let mut cluster = Cluster::of_two_processors();
        let pid = cluster.fork(0);
        cluster.poke(0, pid, DATA, b"/tool\0");
        let second = cluster.call(0, pid, CLONE, &[THREAD]) as u32;
        let now = cluster.now;
        // Nobody else wants a processor.
        let (cpu, mut turn) = turn_of(&mut cluster, &[0, 1], crate::home::INIT);
        (turn.registers.rax, turn.registers.rip) = (PAUSE, CODE + 2);
        let after = cluster.nodes[0].end(cpu, &mut turn, Exit::Syscall, TURN_NS, now);
        assert_eq!(after, After::Over);
        let (with, mut first) = turn_of(&mut cluster, &[0, 1], pid);
        let (cpu, mut turn) = turn_of(&mut cluster, &[1 - with], second);
        turn.registers.rax = EXECVE;
        (turn.registers.rdi, turn.registers.rsi) = (DATA, 0);
        (turn.registers.rdx, turn.registers.rip) = (0, CODE + 2);
        let after = cluster.nodes[0].end(cpu, &mut turn, Exit::Syscall, TURN_NS, now);
        assert_eq!(after, After::Over);
        let begun = cluster.nodes[0].threads[&pid].registers;
        assert!(!cluster.nodes[0].threads.contains_key(&second));
        first.registers.rax = GETEUID;
        first.registers.rbx = 0x1234;
        let after = cluster.nodes[0].end(with, &mut first, exit, TURN_NS, now);
        assert_eq!(after, After::Over);
        assert_eq!(cluster.nodes[0].threads[&pid].registers, begun);
        // Nor when it is given back.
        cluster.nodes[0].put_back(with, &mut first);
        assert_eq!(cluster.nodes[0].threads[&pid].registers, begun);
        // And it does begin.
        let (_, turn) = turn_of(&mut cluster, &[0, 1], pid);
        assert_eq!(turn.registers, begun);
    }
}

/// A transfer of a process away, and whether it was over where the thread stood.
fn transfer(
    cluster: &mut Cluster,
    pid: u32,
    number: u64,
    address: u64,
    length: u64,
) -> (u64, bool) {
    let node = 1;
    let mut turn = loop {
        let turn = cluster.nodes[node].begin(0).expect("it runs");
        if turn.tid == pid {
            break turn;
        }
        let now = cluster.now;
        cluster.nodes[node].end_turn(turn, Exit::Interrupt, TURN_NS, now);
    };
    let registers = &mut turn.registers;
    (registers.rax, registers.rdi, registers.rsi, registers.rdx) = (number, FD, address, length);
    registers.rip = CODE + 2;
    let now = cluster.now;
    let after = cluster.nodes[node].end(0, &mut turn, Exit::Syscall, TURN_NS, now);
    if after != After::Over {
        cluster.nodes[node].put_back(0, &mut turn);
    }
    loop {
        match cluster.nodes[node].threads.get(&pid) {
            Some(thread) if thread.call.is_none() => {
                return (thread.registers.rax, after == After::Unchanged);
            }
            _ => cluster.pass(1_000_000),
        }
    }
}

/// What a process writes and reads away from home where it stands is what is in the file, whatever the
/// pieces and wherever they lie.
#[test]
fn transfers_away_are_answered_at_once_and_whole() {
    const READ: u64 = 0;
    const WRITE: u64 = 1;
    const OPEN: u64 = 2;
    const SEEK: u64 = 8;
    const SYNC: u64 = 74;
    let mut cluster = Cluster::new(2);
    let pid = cluster.fork(0);
    cluster.move_to(pid, 2);
    cluster.poke(1, pid, DATA, b"/file\0");
    let fd = cluster.call(1, pid, OPEN, &[DATA, 0o102, 0o644]);
    assert_eq!(fd as u64, FD);
    let memory: Vec<u8> = (0..0x1_8000_u32).map(|at| (at * 7 / 5) as u8).collect();
    cluster.poke(1, pid, DATA + 0x1000, &memory);
    let mut written = Vec::new();
    let mut at_once = 0;
    let pieces = [
        1, 4096, 5000, 4096, 63, 8191, 512, 0x1_0000, 4096, 100, 4095,
    ];
    for (round, piece) in pieces.into_iter().cycle().take(60).enumerate() {
        let from = round * 17;
        let (count, stood) = transfer(&mut cluster, pid, WRITE, DATA + 0x1000 + from as u64, piece);
        assert_eq!(count, piece, "write {round}");
        written.extend(&memory[from..from + piece as usize]);
        at_once += usize::from(stood);
    }
    assert!(at_once > 30, "only {at_once} writes were over at once");
    assert_eq!(cluster.call(1, pid, SYNC, &[FD]), 0);
    let file = cluster.nodes[0].fs.lookup(b"/file").expect("it is there");
    let mut there = vec![0; written.len()];
    let length = file.read_at(0, &mut there).expect("it is read");
    assert!(length == written.len() && there == written && file.size() == length as u64);

    assert_eq!(cluster.call(1, pid, SEEK, &[FD, 0, 0]), 0);
    let (mut done, mut at_once) = (0, 0);
    for (round, piece) in pieces.into_iter().cycle().enumerate() {
        let to = DATA + 0x1000 + round as u64 * 19 % 4096;
        let (count, stood) = transfer(&mut cluster, pid, READ, to, piece);
        let wanted = written[done..].len().min(piece as usize);
        assert_eq!(count, wanted as u64, "read {round}");
        let mut bytes = vec![0; wanted];
        cluster.nodes[1]
            .with_space(pid, |space, pages| space.read(to, &mut bytes, pages))
            .expect("test memory");
        assert!(bytes == written[done..done + wanted], "read {round}");
        (done, at_once) = (done + wanted, at_once + usize::from(stood));
        if wanted == 0 {
            break;
        }
    }
    assert!(
        done == written.len() && at_once > 30,
        "only {at_once} reads"
    );
}
