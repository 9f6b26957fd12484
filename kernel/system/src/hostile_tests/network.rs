//! Nodes that lie: random and chosen messages to a node with processes that must not notice.

use super::{CODE, Cluster, DATA, Dice, TURN_NS};
use crate::descriptor;
use crate::home::INIT;
use machine::{Frame, FrameKind};
use node::PageTag;
use wire::{
    Attempt, BodyFacts, BootId, Call, Features, Image, Message, MoveError, MoveHow, MoveMode,
    MoveStats, NodeId, Offer, Outcome, Pid, Reply, Stalls, Terms, Ticket,
};

const LIAR: u16 = 3;

fn offer(pid: u32, epoch: u64, pages: u64) -> Message {
    Message::Offer(Offer {
        pid: Pid(pid),
        epoch,
        attempt: Attempt::default(),
        home: Pid(pid).home(),
        pages,
        features: Features::default(),
        terms: Terms::Anyhow,
        copies: false,
        keeps: false,
        draft: Vec::new(),
    })
}

fn stats() -> MoveStats {
    MoveStats {
        from: NodeId(LIAR),
        to: NodeId(LIAR),
        pages_sent: u64::MAX,
        pages_zero: 0,
        pages_present: 0,
        pages_kept: 0,
        bytes: 0,
        freeze_ns: u64::MAX,
        observer_ns: 0,
        total_ns: 0,
        rtt_ns: 0,
        mode: wire::MoveMode::default(),
        rounds: 0,
        phases: wire::MovePhases::default(),
        epoch: u64::MAX,
        began_ns: u64::MAX,
        clock_error_ns: 0,
        frames_again: 0,
        packed: 0,
        sent_for: wire::PagesSent::default(),
        stalls: None,
    }
}

fn how(dice: &mut Dice) -> MoveHow {
    MoveHow {
        mode: dice.pick(&MoveMode::ALL),
        max_freeze_ns: dice.pick(&[0, 0, 1, u64::MAX]),
        timeout_ns: dice.pick(&[0, 0, 1, u64::MAX]),
        bandwidth: dice.pick(&[0, 0, 1, u64::MAX]),
    }
}

/// Any message at all, about pids and epochs that may exist.
/// A thread of a process, or of nobody, or none.
fn thread(dice: &mut Dice, pid: Pid) -> Pid {
    dice.pick(&[pid, pid, pid, Pid(0), Pid(pid.0.wrapping_add(1))])
}

fn lie(dice: &mut Dice, pids: &[u32]) -> Message {
    let id = match dice.below(8) {
        0 => dice.next() as u32,
        1 => dice.pick(pids) + 1,
        _ => dice.pick(pids),
    };
    let pid = Pid(id);
    let epoch = dice.pick(&[0, 1, 1, 2, 2, 3, 4, u64::MAX - 1, u64::MAX]);
    let node = NodeId(dice.below(5) as u16);
    let boot = BootId(0x1000 + u64::from(node.0));
    let seq = dice.pick(&[0, 1, 2, 3, u64::MAX]);
    let attempt = Attempt::new(dice.below(3) as u16);
    let number = dice.pick(&[0, 1, 5, 7, 16, 17, 20, 40, 61, 62, 79, 217, 257, 332]);
    let number = match dice.below(4) {
        0 => wire::CALL_ARRIVED + dice.below(12) as u32,
        1 => dice.below(450) as u32,
        _ => number,
    };
    let mut data = Vec::new();
    for arg in 0..dice.below(4) as u8 {
        let bytes: Vec<u8> = (0..dice.below(64)).map(|_| dice.next() as u8).collect();
        data.push(arg);
        data.extend((bytes.len() as u32).to_le_bytes());
        data.extend(bytes);
    }
    match dice.below(27) {
        0..=2 => Message::Call(Call {
            pid,
            thread: thread(dice, pid),
            epoch,
            seq,
            number,
            args: core::array::from_fn(|_| dice.next() >> dice.below(64)),
            rooms: core::array::from_fn(|_| dice.next() as u32),
            data,
        }),
        3 => Message::Reply(Reply {
            pid,
            thread: thread(dice, pid),
            epoch,
            seq,
            outcome: dice.pick(&[
                Outcome::Value(0),
                Outcome::Value(i64::MIN),
                Outcome::Value(i64::from(id)),
                Outcome::Interrupted,
                Outcome::Refused {
                    epoch: u64::MAX,
                    owner: node,
                    owner_boot: boot,
                },
            ]),
            poke: true,
            data,
        }),
        4 => Message::Cancel {
            pid,
            thread: thread(dice, pid),
            epoch,
            seq,
        },
        5 => Message::Poke {
            pid,
            thread: thread(dice, pid),
            epoch,
        },
        6 => Message::MoveRequest {
            pid,
            epoch,
            request: seq,
            target: node,
            asker: pid,
            how: how(dice),
        },
        7 => Message::MoveResult {
            pid,
            request: seq,
            result: if dice.below(2) == 0 {
                Ok(Box::new(stats()))
            } else {
                Err(MoveError::Gone)
            },
        },
        8 => offer(id, epoch, dice.pick(&[0, 1, 1000, u64::MAX])),
        9 => Message::Admit {
            pid,
            epoch,
            attempt,
            boot,
        },
        10 => Message::Refuse {
            pid,
            epoch,
            attempt,
            reason: MoveError::Gone,
        },
        11 => Message::CommitRequest {
            pid,
            old_epoch: epoch,
            source: node,
            source_boot: boot,
            ticket: Ticket::default(),
        },
        12 => Message::Decision {
            pid,
            epoch,
            owner: node,
            owner_boot: boot,
            poke: true,
        },
        13 => Message::AbortRequest {
            pid,
            old_epoch: epoch,
        },
        14 => Message::Release { pid, epoch },
        15 => Message::PageRequest {
            pid,
            epoch,
            page: dice.next(),
        },
        16 => Message::PagesZero {
            pid,
            epoch,
            runs: vec![
                (dice.next(), u32::MAX),
                (DATA, dice.next() as u32),
                (u64::MAX, 1),
            ],
        },
        17 => Message::PushEnd { pid, epoch },
        18 => Message::Discarded {
            pid,
            epoch,
            attempt,
        },
        19 => Message::Lost { pid, epoch },
        20 => Message::Query { pid, epoch },
        21 => Message::Settled {
            pid,
            epoch,
            target: node,
            stalls: Stalls {
                sum_ns: u64::MAX,
                ..Stalls::default()
            },
        },
        22 => Message::TraceWanted,
        25 => Message::Advice {
            pid,
            epoch,
            target: node,
        },
        // Who is told to be emptied is, whoever says so; nothing else may come of an order.
        26 => Message::Order {
            order: wire::Order::Drain(false),
        },
        24 => Message::MoveCancel { pid, request: seq },
        23 => Message::Trace {
            text: vec![0xff; dice.below(600_000) as usize],
        },
        _ => Message::Told {
            pid,
            facts: BodyFacts {
                user_ns: u64::MAX,
                system_ns: u64::MAX,
                ..BodyFacts::default()
            },
        },
    }
}

/// Node 1 with a process of its own, its guest on node 2 and a guest from there.
fn scene() -> (Cluster, u32, u32, u32) {
    let mut cluster = Cluster::new(3);
    let own = cluster.fork(0);
    let away = cluster.fork(0);
    let guest = cluster.fork(1);
    cluster.move_to(away, 2);
    cluster.move_to(guest, 1);
    (cluster, own, away, guest)
}

fn unharmed(cluster: &mut Cluster, own: u32, away: u32, guest: u32) {
    for (node, pid) in [(0, own), (1, away), (0, guest)] {
        // sysinfo goes home; getpid stays.
        assert_eq!(cluster.call(node, pid, 99, &[DATA]), 0);
        assert_eq!(cluster.call(node, pid, 39, &[]), i64::from(pid));
        assert_eq!(cluster.nodes[node].thread(pid).registers.rip, CODE + 2);
    }
    for _ in 0..10 {
        cluster.settle();
    }
    for node in &cluster.nodes {
        assert!(node.incoming.is_empty() && node.outgoing.is_empty());
    }
    assert_eq!(
        (cluster.nodes[0].homes.len(), cluster.nodes[1].homes.len()),
        (3, 2)
    );
    assert_eq!(
        (cluster.nodes[0].bodies.len(), cluster.nodes[1].bodies.len()),
        (3, 2)
    );
    assert!(
        cluster.nodes[0]
            .homes
            .values()
            .all(|home| home.move_count <= 1)
    );
}

#[test]
fn a_lying_node_harms_no_process_of_others() {
    for seed in 1..=3 {
        let mut dice = Dice(seed);
        let (mut cluster, own, away, guest) = scene();
        let pids = [own, away, guest, INIT];
        let frames = machine::frame_counts().free;
        for _ in 0..3_000 {
            let message = lie(&mut dice, &pids);
            cluster.say(0, LIAR, message);
            if dice.below(4) == 0 {
                let tag = PageTag {
                    pid: Pid(dice.pick(&pids)),
                    epoch: dice.below(4),
                    page: dice.next() & !0xffe,
                };
                let frame = Frame::zeroed(FrameKind::Network).expect("frames");
                cluster.nodes[0].page(NodeId(LIAR), BootId(0x1003), tag, frame);
            }
            if dice.below(50) == 0 {
                cluster.pass(10_000_000);
            }
        }
        unharmed(&mut cluster, own, away, guest);
        assert!(
            machine::frame_counts().free + 64 > frames,
            "frames are kept"
        );
    }
}

#[test]
fn lying_homes_and_owners_harm_only_their_own() {
    for seed in 1..=3 {
        let mut dice = Dice(seed);
        let (mut cluster, own, away, guest) = scene();
        // Node 2 is home of the guest and host of the one that is away: it may end both.
        for _ in 0..3_000 {
            let message = lie(&mut dice, &[away, guest, own]);
            cluster.say(0, 2, message);
            if dice.below(8) == 0
                && let Some(mut turn) = cluster.nodes[0].begin(0)
            {
                turn.registers.rax = dice.pick(&[57, 0, 1, 99, 39, 228, 35]);
                turn.registers.rdi = DATA;
                let (exit, now) = (machine::Exit::Syscall, cluster.now);
                if turn.tid == guest {
                    cluster.nodes[0].end_turn(turn, exit, TURN_NS, now);
                } else {
                    cluster.nodes[0].end_turn(turn, machine::Exit::Interrupt, TURN_NS, now);
                }
            }
            if dice.below(50) == 0 {
                cluster.pass(10_000_000);
            }
        }
        assert_eq!(cluster.call(0, own, 39, &[]), i64::from(own));
        assert!(cluster.nodes[0].power_off().is_none());
    }
}

#[test]
fn offers_are_few_and_forget_themselves() {
    let (mut cluster, own, away, guest) = scene();
    for serial in 100..2_000 {
        let pid = Pid::new(NodeId(9), serial).0;
        cluster.say(0, LIAR, offer(pid, 2, 0));
        for page in 0..20 {
            let tag = PageTag {
                pid: Pid(pid),
                epoch: 2,
                page: page * 4096,
            };
            let frame = Frame::zeroed(FrameKind::Network).expect("frames");
            cluster.nodes[0].page(NodeId(LIAR), BootId(0x1003), tag, frame);
        }
    }
    assert!(cluster.nodes[0].incoming.len() <= 64);
    // Nobody else's way in is closed by that.
    let other = cluster.fork(1);
    cluster.start_move(other, 1);
    cluster.settle();
    assert!(cluster.nodes[0].bodies.contains_key(&other));
    cluster.nodes[1].signal(other, 9);
    cluster.settle();
    cluster.idle_round(0);
    cluster.settle();
    cluster.call(1, INIT, 61, &[u64::MAX, 0, 1, 0]);
    unharmed(&mut cluster, own, away, guest);
}

#[test]
fn what_is_late_of_an_offer_is_not_taken_for_what_follows_the_next() {
    let (mut cluster, ..) = scene();
    let pid = Pid::new(NodeId(9), 100);
    let page = |cluster: &mut Cluster, tag: PageTag| {
        let frame = Frame::zeroed(FrameKind::Network).expect("frames");
        cluster.nodes[0].page(NodeId(LIAR), BootId(0x1003), tag, frame);
    };
    let (first, second) = (Attempt::new(1), Attempt::new(2));
    for attempt in [first, second] {
        let Message::Offer(offer) = offer(pid.0, 2, 10) else {
            panic!("an offer");
        };
        let (copies, offered) = (true, Offer { attempt, ..offer });
        cluster.say(0, LIAR, Message::Offer(Offer { copies, ..offered }));
    }
    let late = PageTag::of_memory(pid, 2, first, DATA);
    page(&mut cluster, late);
    page(&mut cluster, late.as_copy());
    assert_eq!(cluster.nodes[0].incoming[&pid.0].early_pages(), (0, 0));
    let right = PageTag::of_memory(pid, 2, second, DATA);
    page(&mut cluster, right);
    page(&mut cluster, right.as_copy());
    assert_eq!(cluster.nodes[0].incoming[&pid.0].early_pages(), (1, 1));
}

#[test]
fn an_offer_of_the_next_pid_does_not_end_the_child_that_gets_it() {
    let (mut cluster, own, ..) = scene();
    let next = Pid::new(NodeId(1), cluster.nodes[0].last_serial + 1).0;
    cluster.say(0, LIAR, offer(next, 2, 0));
    let child = cluster.call(0, own, 57, &[]) as u32;
    assert_eq!(child, next);
    cluster.say(
        0,
        LIAR,
        Message::Refuse {
            pid: Pid(next),
            epoch: 2,
            attempt: Attempt::default(),
            reason: MoveError::Gone,
        },
    );
    for _ in 0..6 {
        cluster.settle();
    }
    assert_eq!(cluster.call(0, child, 39, &[]), i64::from(child));
}

#[test]
fn mutated_descriptors_are_refused_or_harmless() {
    let mut dice = Dice(5);
    let (mut cluster, _, _, guest) = scene();
    let now = cluster.now;
    let frozen = cluster.nodes[0].take_out(guest).expect("it is there");
    let good = descriptor::encode(&frozen, now);
    let head = descriptor::HEAD_BYTES;
    cluster.nodes[0].put_in(frozen);
    cluster.nodes[0].wake_threads(guest);
    cluster.nodes[0].settle();
    let source = BootId(0x1003);
    for round in 0..3_000_u32 {
        let pid = Pid::new(NodeId(9), 100 + (round % 50_000) as u16).0;
        let mut bytes = good.clone();
        bytes[16..20].copy_from_slice(&pid.to_le_bytes());
        bytes[head..head + 4].copy_from_slice(&pid.to_le_bytes());
        for _ in 0..dice.below(4) {
            let end = dice.pick(&[64, head as u64, head as u64 + 400, bytes.len() as u64]);
            let at = dice.below(end) as usize;
            match dice.below(3) {
                0 => bytes[at] = dice.next() as u8,
                1 => bytes[at] ^= 1 << dice.below(8),
                _ => {
                    let at = at & !7;
                    let word = dice.pick(&[u64::MAX, u64::MAX / 2, 1 << 63, 0]);
                    bytes[at..at + 8].copy_from_slice(&word.to_le_bytes());
                }
            }
        }
        if dice.below(10) == 0 {
            bytes.truncate(dice.below(bytes.len() as u64) as usize);
        }
        cluster.say(0, LIAR, offer(pid, 2, 0));
        let image = Image {
            pid: Pid(pid),
            epoch: 2,
            attempt: Attempt::default(),
            source_boot: source,
            ticket: Ticket::default(),
            frozen_at_ns: dice.pick(&[0, now, u64::MAX]),
            descriptor: bytes,
            copied: Vec::new(),
        };
        cluster.say(0, LIAR, Message::Image(image));
        // It computes; what it reads of its clocks and what it does must not hurt.
        for number in [228, 35, 39, 99, 15] {
            while let Some(mut turn) = cluster.nodes[0].begin(0) {
                let pid_here = turn.tid;
                turn.registers.rax = number;
                turn.registers.rdi = if number == 228 { 0 } else { DATA };
                turn.registers.rsi = DATA;
                let exit = if pid_here == pid {
                    machine::Exit::Syscall
                } else {
                    machine::Exit::Interrupt
                };
                let now = cluster.now;
                cluster.nodes[0].end_turn(turn, exit, 1 << 40, now);
                if pid_here != guest && pid_here != pid {
                    break;
                }
            }
        }
        cluster.say(
            0,
            LIAR,
            Message::PushEnd {
                pid: Pid(pid),
                epoch: 2,
            },
        );
        cluster.nodes[0].peer_lost(NodeId(9), BootId(9));
        assert!(!cluster.nodes[0].bodies.contains_key(&pid));
    }
    cluster.settle();
    assert!(cluster.nodes[0].incoming.len() <= 64);
    assert_eq!(cluster.call(0, guest, 39, &[]), i64::from(guest));
}
