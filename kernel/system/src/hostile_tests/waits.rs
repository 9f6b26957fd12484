//! Waits for several futexes at once, at home and across a move.
//!
//! Law: as in `hostile_tests`; what is expected is what Linux 6.18 answers.

use super::{Cluster, DATA};
use abi::Errno;

const FUTEX: u64 = 202;
const FUTEX_WAITV: u64 = 449;
const THREAD: u64 = 0x100 | 0x200 | 0x400 | 0x800 | 0x1_0000;
/// Words to wait at, and the array that names them.
const WORDS: u64 = DATA + 0x100;
const LIST: u64 = DATA + 0x200;
const TIMEOUT: u64 = DATA + 0x300;

fn no(error: Errno) -> i64 {
    -i64::from(error.0)
}

/// Entries of the array: value, address, flags.
fn put(cluster: &mut Cluster, node: usize, pid: u32, entries: &[(u64, u64, u64)]) {
    let words = entries
        .iter()
        .flat_map(|(value, address, flags)| [value, address, flags]);
    let bytes: Vec<u8> = words.flat_map(|word| word.to_le_bytes()).collect();
    cluster.poke(node, pid, LIST, &bytes);
}

#[test]
fn one_of_several_ends_the_wait_and_is_told() {
    let mut cluster = Cluster::new(2);
    let pid = cluster.fork(0);
    let other = cluster.call(0, pid, 56, &[THREAD, DATA + 0x1000]) as u32;
    let entries = [0, 1, 2].map(|at| (0, WORDS + 4 * at, 2 | 0x80));
    put(&mut cluster, 0, pid, &entries);
    let wait = [LIST, 3, 0, 0, 0];
    let mut node = 0;
    for (target, index) in [(2, 1), (1, 2), (1, 0)] {
        cluster.begin_call(node, other, FUTEX_WAITV, &wait);
        cluster.settle();
        assert!(cluster.nodes[node].threads[&other].call.is_some());
        if target != node as u16 + 1 {
            cluster.move_to(pid, target);
            node = usize::from(target) - 1;
            // Its registers were wound back to before the call.
            cluster.begin_call(node, other, FUTEX_WAITV, &wait);
            cluster.settle();
        }
        let wake = [WORDS + 4 * index, 0x81, 9];
        assert_eq!(cluster.call(node, pid, FUTEX, &wake), 1);
        cluster.settle();
        let thread = &cluster.nodes[node].threads[&other];
        assert_eq!((thread.call, thread.registers.rax), (None, index));
        assert!(cluster.nodes[node].futexes.is_empty());
    }
    // A word that has changed by the time of the move.
    cluster.begin_call(node, other, FUTEX_WAITV, &wait);
    cluster.settle();
    cluster.poke(node, pid, WORDS + 8, &[1]);
    cluster.move_to(pid, 2);
    cluster.begin_call(1, other, FUTEX_WAITV, &wait);
    cluster.settle();
    let thread = &cluster.nodes[1].threads[&other];
    let again = no(Errno::EAGAIN) as u64;
    assert_eq!((thread.call, thread.registers.rax), (None, again));
}

#[test]
fn what_cannot_be_waited_for_is_refused() {
    let mut cluster = Cluster::new(1);
    let pid = cluster.fork(0);
    let good = (0, WORDS, 2);
    for (entry, error) in [
        ((1, WORDS, 2), Errno::EAGAIN),
        ((0, WORDS + 1, 2), Errno::EINVAL),
        ((0, 8, 2), Errno::EFAULT),
        ((0, 1 << 63, 2), Errno::EFAULT),
        ((0, WORDS, 0), Errno::EINVAL),
        ((0, WORDS, 3), Errno::EINVAL),
        ((0, WORDS, 2 | 0x40), Errno::EINVAL),
        ((0, WORDS, 2 | 1 << 32), Errno::EINVAL),
        ((1 << 32, WORDS, 2), Errno::EINVAL),
    ] {
        put(&mut cluster, 0, pid, &[good, entry]);
        let refused = cluster.call(0, pid, FUTEX_WAITV, &[LIST, 2, 0, 0, 0]);
        assert_eq!(refused, no(error), "{entry:x?}");
    }
    put(&mut cluster, 0, pid, &[good]);
    cluster.poke(0, pid, TIMEOUT + 8, &1_000_000_u64.to_le_bytes());
    cluster.poke(0, pid, TIMEOUT + 24, &u64::MAX.to_le_bytes());
    for (args, error) in [
        ([LIST, 0, 0, 0, 0], Errno::EINVAL),
        ([LIST, 129, 0, 0, 0], Errno::EINVAL),
        ([LIST, 1, 1, 0, 0], Errno::EINVAL),
        ([0, 1, 0, 0, 0], Errno::EINVAL),
        ([8, 1, 0, 0, 0], Errno::EFAULT),
        ([LIST, 1, 0, TIMEOUT, 2], Errno::EINVAL),
        ([LIST, 1, 0, TIMEOUT + 16, 1], Errno::EINVAL),
        ([LIST, 1, 0, 8, 1], Errno::EFAULT),
        ([LIST, 1, 0, TIMEOUT, 0], Errno::ETIMEDOUT),
        ([LIST, 1, 0, TIMEOUT, 1], Errno::ETIMEDOUT),
    ] {
        let refused = cluster.call(0, pid, FUTEX_WAITV, &args);
        assert_eq!(refused, no(error), "{args:x?}");
    }
    assert!(cluster.nodes[0].futexes.is_empty());
}

/// A condition variable with priority inheritance, as glibc had it: who waits gets the mutex.
#[test]
fn who_is_moved_to_an_owned_futex_has_it_in_the_end_wherever_that_is() {
    const WAIT: u64 = 0x80;
    const WAKE: u64 = 0x81;
    const UNLOCK_PI: u64 = 0x87;
    const LOCK_PI: u64 = 0x86;
    const WAIT_REQUEUE_PI: u64 = 0x8b;
    const CMP_REQUEUE_PI: u64 = 0x8c;
    const MUTEX: u64 = WORDS + 4;
    let mut cluster = Cluster::new(2);
    let pid = cluster.fork(0);
    let waiters = [1, 2].map(|at| {
        let stack = DATA + 0x1000 * at;
        cluster.call(0, pid, 56, &[THREAD, stack]) as u32
    });
    let wait = [WORDS, WAIT_REQUEUE_PI, 0, 0, MUTEX];
    let requeue = [WORDS, CMP_REQUEUE_PI, 1, 9, MUTEX, 0];
    // Who only waits cannot be moved to a futex that has an owner, and the other way round.
    let plain = [WORDS, WAIT, 0];
    cluster.begin_call(0, waiters[0], FUTEX, &plain);
    cluster.settle();
    assert_eq!(cluster.call(0, pid, FUTEX, &requeue), no(Errno::EINVAL));
    assert_eq!(cluster.call(0, pid, FUTEX, &[WORDS, WAKE, 9]), 1);
    cluster.settle();
    for waiter in waiters {
        cluster.begin_call(0, waiter, FUTEX, &wait);
        cluster.settle();
    }
    for (args, error) in [
        ([WORDS, WAKE, 9, 0, 0, 0], Errno::EINVAL),
        ([WORDS, CMP_REQUEUE_PI, 2, 9, MUTEX, 0], Errno::EINVAL),
        ([WORDS, CMP_REQUEUE_PI, 1, 9, WORDS, 0], Errno::EINVAL),
        ([WORDS, CMP_REQUEUE_PI, 1, 9, MUTEX + 4, 0], Errno::EINVAL),
        ([WORDS, CMP_REQUEUE_PI, 1, 9, MUTEX, 1], Errno::EAGAIN),
    ] {
        assert_eq!(cluster.call(0, pid, FUTEX, &args), no(error), "{args:x?}");
    }
    assert_eq!(cluster.call(0, pid, FUTEX, &[MUTEX, LOCK_PI]), 0);
    assert_eq!(cluster.call(0, pid, FUTEX, &requeue), 2);
    cluster.move_to(pid, 2);
    for waiter in waiters {
        cluster.begin_call(1, waiter, FUTEX, &wait);
        cluster.settle();
    }
    assert_eq!(cluster.call(1, pid, FUTEX, &[MUTEX, UNLOCK_PI]), 0);
    cluster.settle();
    let ended = |cluster: &Cluster, tid: u32| {
        let thread = &cluster.nodes[1].threads[&tid];
        (thread.call.is_none(), thread.registers.rax)
    };
    assert_eq!(ended(&cluster, waiters[0]), (true, 0));
    assert!(!ended(&cluster, waiters[1]).0, "one at a time");
    let unlocked = cluster.call(1, waiters[0], FUTEX, &[MUTEX, UNLOCK_PI]);
    cluster.settle();
    assert_eq!((unlocked, ended(&cluster, waiters[1])), (0, (true, 0)));
    let owner: Vec<u8> = (0..4).map(|at| cluster.byte(1, pid, MUTEX + at)).collect();
    assert_eq!(owner, (waiters[1] & 0x3fff_ffff).to_le_bytes());
    // One that is free goes to who has waited longest at once.
    let unlocked = cluster.call(1, waiters[1], FUTEX, &[MUTEX, UNLOCK_PI]);
    cluster.begin_call(1, waiters[0], FUTEX, &wait);
    cluster.settle();
    assert_eq!((unlocked, cluster.call(1, pid, FUTEX, &requeue)), (0, 1));
    cluster.settle();
    assert_eq!(ended(&cluster, waiters[0]), (true, 0));
    assert!(cluster.nodes[1].futexes.is_empty());
}

#[test]
fn what_is_left_of_the_time_of_ppoll_is_told() {
    const PPOLL: u64 = 271;
    let mut cluster = Cluster::new(2);
    let pid = cluster.fork(0);
    for node in [0, 1] {
        if node == 1 {
            cluster.move_to(pid, 2);
        }
        let timeout: Vec<u8> = [0_u64, 1000]
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .collect();
        cluster.poke(node, pid, TIMEOUT, &timeout);
        cluster.begin_call(node, pid, PPOLL, &[0, 0, TIMEOUT, 0, 8]);
        cluster.settle();
        cluster.pass(1000);
        cluster.settle();
        let thread = &cluster.nodes[node].threads[&pid];
        assert_eq!((thread.call, thread.registers.rax), (None, 0));
        let left: Vec<u8> = (0..16)
            .map(|at| cluster.byte(node, pid, TIMEOUT + at))
            .collect();
        assert_eq!(left, [0; 16]);
    }
}

#[test]
fn the_upper_half_of_an_operation_makes_no_span_a_point_in_time() {
    let mut cluster = Cluster::new(1);
    let pid = cluster.fork(0);
    cluster.poke(0, pid, TIMEOUT, &[0; 16]);
    cluster.poke(0, pid, TIMEOUT + 8, &500_000_000_u64.to_le_bytes());
    cluster.begin_call(0, pid, FUTEX, &[WORDS, 0xdead << 32 | 0x80, 0, TIMEOUT]);
    for _ in 0..20 {
        cluster.pass(10_000_000);
    }
    assert!(cluster.nodes[0].threads[&pid].call.is_some(), "it waits");
    cluster.settle();
    let thread = &cluster.nodes[0].threads[&pid];
    assert_eq!(
        (thread.call, thread.registers.rax as i64),
        (None, no(Errno::ETIMEDOUT))
    );
}
