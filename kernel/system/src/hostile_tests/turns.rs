//! Who runs where, on a node with two processors.

use super::express::turn_of;
use super::{CODE, Cluster, DATA};
use crate::home::INIT;
use crate::schedule::HAND_OVER_NS;
use crate::turn::After;
use machine::Exit;

const READ: u64 = 0;
const WRITE: u64 = 1;
const FORK: u64 = 57;
const PAUSE: u64 = 34;
const PIPE: u64 = 22;
const BOTH: [usize; 2] = [0, 1];

/// A thread makes a call where it gets its turn; if that is over, it waits for its next one. On which
/// processor that was.
fn call_on(cluster: &mut Cluster, tid: u32, call: [u64; 4]) -> usize {
    let (cpu, mut turn) = turn_of(cluster, &BOTH, tid);
    let r = &mut turn.registers;
    [r.rax, r.rdi, r.rsi, r.rdx] = call;
    r.rip = CODE + 2;
    let now = cluster.now;
    let node = &mut cluster.nodes[0];
    let after = node.end(cpu, &mut turn, Exit::Syscall, 1000, now);
    // The processor looks for who is next.
    let next = if after == After::Over {
        node.begin(cpu)
    } else {
        Some(turn)
    };
    if let Some(mut next) = next {
        node.put_back(cpu, &mut next);
    }
    cpu
}

/// Two that wake each other in turns have one processor, as the other would have to be woken each time;
/// who goes on after having woken another has company no longer than a moment.
#[test]
fn who_waits_after_having_woken_another_leaves_it_the_processor() {
    let mut cluster = Cluster::of_two_processors();
    let parent = cluster.fork(0);
    cluster.call(0, parent, PIPE, &[DATA]);
    cluster.call(0, parent, PIPE, &[DATA + 8]);
    let mut ends = [0; 16];
    cluster.nodes[0]
        .with_space(parent, |space, pages| space.read(DATA, &mut ends, pages))
        .expect("test memory");
    let [ask, asks, answer, answers] = [0, 4, 8, 12].map(|at| u64::from(ends[at]));
    let child = cluster.call(0, parent, FORK, &[]) as u32;
    let write = |to| [WRITE, to, DATA + 64, 1];
    let read = |from| [READ, from, DATA + 64, 1];
    call_on(&mut cluster, INIT, [PAUSE, 0, 0, 0]);
    call_on(&mut cluster, child, read(ask));
    let mut places = Vec::new();
    for _ in 0..4 {
        places.push([
            call_on(&mut cluster, parent, write(asks)),
            call_on(&mut cluster, parent, read(answer)),
            call_on(&mut cluster, child, write(answers)),
            call_on(&mut cluster, child, read(ask)),
        ]);
    }
    let is_one = |places: &[usize]| places.iter().all(|place| *place == places[0]);
    assert!(!is_one(&places[0]), "not known yet: {places:?}");
    assert!(is_one(&places[2..].concat()), "{places:?}");

    // It has something else to do this time: both run.
    let cpu = call_on(&mut cluster, parent, write(asks));
    assert_eq!(cluster.nodes[0].threads[&child].queued, Some(cpu));
    let (there, mut turn) = turn_of(&mut cluster, &BOTH, parent);
    assert_eq!(there, cpu);
    let until = cluster.nodes[0].spared_until(cpu);
    assert_eq!(until, Some(cluster.now + HAND_OVER_NS));
    cluster.now += HAND_OVER_NS;
    let now = cluster.now;
    let after = cluster.nodes[0].end(cpu, &mut turn, Exit::Interrupt, HAND_OVER_NS, now);
    assert_eq!(after, After::Over);
    cluster.nodes[0].take_kicks();
    let mut both = [cpu, 1 - cpu].map(|cpu| cluster.nodes[0].begin(cpu).map(|turn| turn.tid));
    both.sort();
    assert_eq!(both, [Some(parent), Some(child)]);
    // And what it wakes next does not wait.
    assert!(!cluster.nodes[0].threads[&parent].hands_over);
}
