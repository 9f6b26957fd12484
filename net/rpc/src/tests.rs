//! The gate, call by call: each answer it can give, and that only one of them has an effect.

use super::*;

const A: NodeId = NodeId(1);
const B: NodeId = NodeId(2);
const BOOT_A: BootId = BootId(10);
const BOOT_B: BootId = BootId(20);
/// The first thread.
const T: Pid = Pid(0x1_0001);

fn reply(epoch: u64, seq: u64, value: i64) -> Reply {
    Reply {
        pid: T,
        thread: T,
        epoch,
        seq,
        outcome: Outcome::Value(value),
        poke: false,
        data: alloc::vec![],
    }
}

#[test]
fn a_call_takes_effect_once_and_its_reply_is_repeated() {
    let mut gate = Gate::new(A, BOOT_A, T);
    assert_eq!(gate.admit(A, BOOT_A, 1, T, 1), Admission::Execute);
    assert_eq!(gate.admit(A, BOOT_A, 1, T, 1), Admission::Running);
    assert_eq!(gate.running(T), Some(1));
    assert!(gate.complete(T, 1, reply(1, 1, 42)));
    assert_eq!(
        gate.admit(A, BOOT_A, 1, T, 1),
        Admission::Repeat(reply(1, 1, 42))
    );
    assert_eq!(gate.next_seq(T), Some(2));
    assert!(!gate.complete(T, 1, reply(1, 1, 43)), "completed once only");
}

#[test]
fn numbers_out_of_order_are_dropped() {
    let mut gate = Gate::new(A, BOOT_A, T);
    assert_eq!(gate.admit(A, BOOT_A, 1, T, 0), Admission::Gap);
    assert_eq!(gate.admit(A, BOOT_A, 1, T, 2), Admission::Gap);
    assert_eq!(gate.admit(A, BOOT_A, 1, T, u64::MAX), Admission::Gap);
    assert_eq!(gate.running(T), None);
}

#[test]
fn node_boot_and_epoch_must_all_fit() {
    let mut gate = Gate::new(A, BOOT_A, T);
    let refused = Admission::Refused {
        epoch: 1,
        owner: A,
        owner_boot: BOOT_A,
    };
    assert_eq!(gate.admit(B, BOOT_A, 1, T, 1), refused);
    assert_eq!(gate.admit(A, BOOT_B, 1, T, 1), refused);
    assert_eq!(gate.admit(A, BOOT_A, 0, T, 1), refused);
    assert_eq!(gate.admit(A, BOOT_A, 2, T, 1), refused);
    assert!(refused.refusal().is_some());
    assert_eq!(gate.admit(A, BOOT_A, 1, T, 1), Admission::Execute);
}

#[test]
fn a_cancelled_call_leaves_its_number_free() {
    let mut gate = Gate::new(A, BOOT_A, T);
    assert!(!gate.cancel(A, BOOT_A, 1, T, 1), "nothing runs");
    gate.admit(A, BOOT_A, 1, T, 1);
    assert!(
        !gate.cancel(B, BOOT_B, 1, T, 1),
        "a stranger cancels nothing"
    );
    assert!(gate.cancel(A, BOOT_A, 1, T, 1));
    assert!(!gate.complete(T, 1, reply(1, 1, 0)), "it must not complete");
    assert_eq!(gate.admit(A, BOOT_A, 1, T, 1), Admission::Execute);
    gate.complete(T, 1, reply(1, 1, 7));
    assert!(!gate.cancel(A, BOOT_A, 1, T, 1), "too late");
}

#[test]
fn the_sequence_goes_on_across_a_move() {
    let mut gate = Gate::new(A, BOOT_A, T);
    gate.admit(A, BOOT_A, 1, T, 1);
    gate.complete(T, 1, reply(1, 1, 5));
    assert_eq!(gate.transfer(B, BOOT_B), 2);
    assert!(matches!(
        gate.admit(A, BOOT_A, 1, T, 2),
        Admission::Refused { epoch: 2, .. }
    ));
    // The new owner did not see the reply: it asks again and gets it, stamped with its own epoch.
    assert_eq!(
        gate.admit(B, BOOT_B, 2, T, 1),
        Admission::Repeat(reply(2, 1, 5))
    );
    assert_eq!(gate.admit(B, BOOT_B, 2, T, 2), Admission::Execute);
}

#[test]
fn a_call_in_flight_across_a_move_is_joined_not_repeated() {
    let mut gate = Gate::new(A, BOOT_A, T);
    gate.admit(A, BOOT_A, 1, T, 1);
    gate.transfer(B, BOOT_B);
    assert_eq!(gate.admit(B, BOOT_B, 2, T, 1), Admission::Running);
    assert!(gate.complete(T, 1, reply(2, 1, 9)));
    assert_eq!(
        gate.admit(B, BOOT_B, 2, T, 1),
        Admission::Repeat(reply(2, 1, 9))
    );
}

#[test]
fn the_calls_of_threads_overlap_each_in_its_own_sequence() {
    const U: Pid = Pid(0x1_0002);
    let mut gate = Gate::new(A, BOOT_A, T);
    assert_eq!(
        gate.admit(A, BOOT_A, 1, U, 1),
        Admission::Gap,
        "not there yet"
    );
    gate.open_lane(U, 1);
    assert_eq!(gate.admit(A, BOOT_A, 1, T, 1), Admission::Execute);
    assert_eq!(gate.admit(A, BOOT_A, 1, U, 1), Admission::Execute);
    assert!(gate.complete(U, 1, reply(1, 1, 7)));
    assert_eq!((gate.next_seq(U), gate.running(T)), (Some(2), Some(1)));
    assert_eq!(gate.close_lane(U), Some(2));
    assert_eq!(gate.admit(A, BOOT_A, 1, U, 2), Admission::Gap, "it is over");
}

#[test]
fn a_restored_gate_takes_the_number_of_the_first_call_and_answers_what_it_has_the_answer_to() {
    const U: Pid = Pid(0x1_0002);
    let answers = [(T, reply(4, 9, 42))];
    let mut gate = Gate::restored(4, (B, BOOT_B), answers.into_iter());
    assert!(gate.is_owner(B, BOOT_B, 4));
    // Fenced as ever.
    for (node, boot, epoch) in [(A, BOOT_B, 4), (B, BOOT_A, 4), (B, BOOT_B, 3)] {
        let admission = gate.admit(node, boot, epoch, T, 9);
        assert!(matches!(admission, Admission::Refused { .. }));
    }
    assert_eq!(
        gate.admit(B, BOOT_B, 4, T, 9),
        Admission::Repeat(reply(4, 9, 42))
    );
    assert_eq!(gate.admit(B, BOOT_B, 4, T, 11), Admission::Gap);
    assert_eq!(gate.admit(B, BOOT_B, 4, T, 10), Admission::Execute);
    // Of another thread nothing is known: it says where it is, once.
    assert_eq!(gate.admit(B, BOOT_B, 4, U, 77), Admission::Execute);
    assert!(gate.complete(U, 77, reply(4, 77, 1)));
    assert_eq!(gate.admit(B, BOOT_B, 4, U, 5), Admission::Gap);
    assert_eq!(gate.admit(B, BOOT_B, 4, U, 78), Admission::Execute);
}

#[test]
fn a_restored_gate_forgets_an_answer_that_is_not_asked_for() {
    let answers = [(T, reply(4, 9, 42))];
    let mut gate = Gate::restored(4, (B, BOOT_B), answers.into_iter());
    assert_eq!(gate.admit(B, BOOT_B, 4, T, 30), Admission::Execute);
    assert_eq!(gate.admit(B, BOOT_B, 4, T, 9), Admission::Gap);
    let mut gate = Gate::restored(4, (B, BOOT_B), core::iter::empty());
    assert_eq!(gate.admit(B, BOOT_B, 4, T, u64::MAX), Admission::Gap);
}
