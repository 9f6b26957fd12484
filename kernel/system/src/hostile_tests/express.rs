//! Calls that are answered where the thread stands, against the same calls on the usual way.

use super::{CODE, Cluster, TURN_NS};
use crate::turn::After;
use machine::{Exit, FpuState};

const GETPID: u64 = 39;
const GETEUID: u64 = 107;

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
