//! Programs that mean harm: random calls with random arguments.

use super::{CODE, Cluster, DATA, DATA_BYTES, Dice, TURN_NS};
use crate::home::INIT;
use machine::{Exit, USER_END};

const NUMBERS: std::ops::Range<u64> = 0..470;

fn word(dice: &mut Dice, pids: &[u32]) -> u64 {
    match dice.below(12) {
        0 => 0,
        1 => dice.below(8),
        2 => dice.next(),
        3 => u64::MAX - dice.below(4096),
        4 => 1 << dice.below(64),
        5 => (1 << dice.below(64)) - 1,
        6 => USER_END - dice.below(8192),
        7 => CODE + dice.below(4096),
        8 => u64::from(dice.pick(pids)),
        9 => dice.below(0x10000),
        _ => DATA + dice.below(DATA_BYTES),
    }
}

/// Random bytes, words, and now and then a path, all over the data.
fn scribble(cluster: &mut Cluster, node: usize, pid: u32, dice: &mut Dice, pids: &[u32]) {
    let paths: &[&[u8]] = &[
        b"/init\0",
        b"/bad\0",
        b"/script\0",
        b"/tmp\0",
        b"/a\0",
        b"/proc/self/goto\0",
        b"/proc/self/stat\0",
        b"/proc/cluster/self\0",
        b"/dev/zero\0",
        b"/proc\0",
        b"\0",
        b"/proc/cluster/ping\0",
        b"/dev/console\0",
        b"../../x\0",
        b"2 99\0",
    ];
    for _ in 0..4 {
        let at = DATA + dice.below(DATA_BYTES - 512);
        let mut bytes = Vec::new();
        if dice.below(2) == 0 {
            bytes.extend_from_slice(dice.pick(paths));
        }
        for _ in 0..dice.below(32) {
            bytes.extend(word(dice, pids).to_le_bytes());
        }
        let _ = cluster.nodes[node].with_space(pid, |space, pages| space.write(at, &bytes, pages));
    }
}

fn storm(seed: u64, steps: usize, nodes: u16) {
    machine::fake::seed_random(seed);
    let mut dice = Dice(seed);
    let mut cluster = Cluster::new(nodes);
    let init = INIT;
    for _ in 0..4 {
        cluster.fork(0);
    }
    for step in 0..steps {
        if cluster.nodes[0].bodies.len() + cluster.nodes[0].outgoing.len() < 4 {
            cluster.fork(0);
        }
        let pids: Vec<u32> = cluster.nodes[0].homes.keys().copied().collect();
        if nodes > 1 && dice.below(20) == 0 {
            cluster.start_move(dice.pick(&pids), dice.below(u64::from(nodes)) as u16 + 1);
        }
        let node = dice.below(u64::from(nodes)) as usize;
        let Some(mut turn) = cluster.nodes[node].begin(0) else {
            cluster.pass(if dice.below(50) == 0 {
                3_000_000_000
            } else {
                1_000_000
            });
            if step % 7 == 0 {
                for pid in pids.iter().filter(|pid| **pid != init) {
                    if dice.below(8) == 0 {
                        cluster.nodes[0].signal(*pid, [9, 17, 18, 19, 10][dice.below(5) as usize]);
                    }
                }
                cluster.nodes[0].settle();
            }
            continue;
        };
        let (tid, now) = (turn.tid, cluster.now);
        let pid = cluster.nodes[node].thread(tid).pid;
        if pid & 0xffff == 1 {
            // Init only reaps: wait4(-1, 0, WNOHANG, 0).
            let r = &mut turn.registers;
            (r.rax, r.rdi, r.rsi, r.rdx, r.r10) = (61, u64::MAX, 0, 1, 0);
            cluster.nodes[node].end_turn(turn, Exit::Syscall, TURN_NS, now);
            cluster.pass(1_000_000);
            continue;
        }
        let exit = match dice.below(20) {
            0 => Exit::PageFault {
                address: word(&mut dice, &pids),
                write: dice.below(2) == 0,
                execute: dice.below(4) == 0,
                protection: false,
            },
            1 => Exit::Exception {
                vector: dice.below(32) as u8,
                code: 0,
                address: CODE,
            },
            2 => Exit::Interrupt,
            _ => {
                let mut number = dice.below(NUMBERS.end);
                // Ends are rarer than they would be.
                while matches!(number, 60 | 231) && dice.below(8) != 0 {
                    number = dice.below(NUMBERS.end);
                }
                if dice.below(4) == 0 {
                    number = dice.pick(&[0, 1, 7, 13, 15, 20, 59, 56, 57, 58, 61, 9, 25, 202]);
                }
                let r = &mut turn.registers;
                r.rax = number;
                [r.rdi, r.rsi, r.rdx, r.r10, r.r8, r.r9] =
                    core::array::from_fn(|_| word(&mut dice, &pids));
                r.rip = CODE + 2;
                r.rsp = word(&mut dice, &pids);
                Exit::Syscall
            }
        };
        cluster.nodes[node].end_turn(turn, exit, TURN_NS, now);
        if cluster.nodes[node].bodies.contains_key(&pid) && dice.below(3) == 0 {
            scribble(&mut cluster, node, pid, &mut dice, &pids);
        }
        cluster.nodes[node].take_output();
        if dice.below(4) == 0 {
            cluster.pass(100_000);
        }
        for node in &cluster.nodes {
            assert!(node.alarms.len() <= node.threads.len(), "alarms are kept");
            assert!(node.power_off().is_none());
        }
    }
    // Nothing stays of any process once all are killed.
    for _ in 0..40 {
        let pids: Vec<u32> = cluster.nodes[0].homes.keys().copied().collect();
        for pid in pids.iter().filter(|pid| **pid != init) {
            cluster.nodes[0].signal(*pid, 9);
        }
        cluster.settle();
        for node in 0..cluster.nodes.len() {
            cluster.idle_round(node);
        }
        if cluster.nodes[0].bodies.contains_key(&init) {
            cluster.call(0, init, 61, &[u64::MAX, 0, 1, 0]);
        }
    }
    for _ in 0..200 {
        if cluster.call(0, init, 61, &[u64::MAX, 0, 1, 0]) <= 0 {
            break;
        }
    }
    for (index, node) in cluster.nodes.iter().enumerate().rev() {
        let left: Vec<_> = node
            .homes
            .values()
            .map(|home| {
                (
                    home.pid,
                    home.life,
                    home.pending.set(),
                    home.record.decision(),
                )
            })
            .collect();
        let threads: Vec<_> = node
            .threads
            .values()
            .map(|thread| {
                let forward = thread.forward.clone();
                (thread.tid, thread.pid, thread.run, thread.call, forward)
            })
            .collect();
        let bodies: Vec<_> = node
            .bodies
            .values()
            .map(|body| (body.pid, &body.threads, body.freezing, body.held))
            .collect();
        assert!(
            left.len() == 1 && bodies.len() == 1 && threads.len() == 1,
            "node {}: {left:x?}; {bodies:x?}; {threads:x?}",
            index + 1
        );
        assert!(node.process_of.is_empty() && node.abandoned.is_empty());
        assert!(node.futexes.is_empty(), "nobody waits");
        assert_eq!(node.spaces.count(), 1);
        assert!(node.outgoing.is_empty() && node.incoming.is_empty());
    }
}

#[test]
fn random_calls_on_one_node() {
    for seed in 1..=4 {
        storm(seed, 5_000, 1);
    }
}

#[test]
fn random_calls_on_two_nodes_with_moves() {
    for seed in 11..=14 {
        storm(seed, 5_000, 2);
    }
}

#[test]
fn a_vectored_transfer_has_an_end_whatever_its_pieces_say() {
    const MMAP: u64 = 9;
    const WRITEV: u64 = 20;
    const SOCKET: u64 = 41;
    const EFAULT: i64 = 14;
    const EMSGSIZE: i64 = 90;
    let mut cluster = Cluster::new(1);
    let pid = cluster.fork(0);
    let none = u64::MAX;
    let memory = cluster.call(0, pid, MMAP, &[0, 1 << 20, 3, 0x22, none, 0]) as u64;
    // It takes whatever is sent to it: nothing else would end the call.
    let socket = cluster.call(0, pid, SOCKET, &[16, 3, 0]) as u64;
    for length in [1_u64 << 31, 1 << 56, 1 << 62] {
        let piece = [memory.to_le_bytes(), length.to_le_bytes()].concat();
        cluster.poke(0, pid, memory, &piece);
        let written = cluster.call(0, pid, WRITEV, &[socket, memory, 1]);
        // Behind the end of memory, as far as it is cut.
        assert_eq!(written, -EFAULT);
    }
    let low = cluster.call(0, pid, MMAP, &[0x1000_0000, 1 << 20, 3, 0x32, none, 0]) as u64;
    for length in [1_u64 << 31, 1 << 56, 1 << 62] {
        let piece = [low.to_le_bytes(), length.to_le_bytes()].concat();
        cluster.poke(0, pid, memory, &piece);
        let written = cluster.call(0, pid, WRITEV, &[socket, memory, 1]);
        assert_eq!(written, -EMSGSIZE);
    }
}
