//! Processes that come back to where pages of them were kept.

use super::{Cluster, DATA, DATA_BYTES, Dice};
use crate::home::Home;
use machine::{Frame, FrameKind, PAGE_SIZE};
use wire::{Message, MoveStats, NodeId, Pid};

const PAGE: u64 = PAGE_SIZE as u64;
const PAGES: u64 = DATA_BYTES / PAGE;
/// Pages that a write takes out of what is kept.
const BLOCK: u64 = 16;

impl Cluster {
    fn kept(&self, node: usize) -> u64 {
        self.nodes[node].keepsakes.pages()
    }

    /// What the last move of a process has cost.
    fn last_move(&self, pid: u32) -> MoveStats {
        let home = usize::from(Pid(pid).home().0) - 1;
        let home: &Home = &self.nodes[home].homes[&pid];
        home.moves.back().expect("it has moved").1
    }

    /// A child of init whose pages have their numbers in them.
    fn process_with_pages(&mut self) -> u32 {
        let pid = self.fork(0);
        for page in 0..PAGES {
            self.poke(0, pid, DATA + page * PAGE + 7, &[page as u8 + 1]);
        }
        pid
    }

    fn has_its_pages(&mut self, node: usize, pid: u32, from: u64) {
        for page in from..PAGES {
            let byte = self.byte(node, pid, DATA + page * PAGE + 7);
            assert_eq!(byte, page as u8 + 1, "page {page}");
        }
    }
}

#[test]
fn what_was_not_written_to_is_not_sent_again() {
    let mut cluster = Cluster::new(2);
    let pid = cluster.process_with_pages();
    cluster.move_to(pid, 2);
    assert!(cluster.kept(0) >= PAGES);
    assert_eq!(cluster.last_move(pid).pages_kept, 0);
    cluster.has_its_pages(1, pid, 0);
    cluster.poke(1, pid, DATA + 7, &[99]);
    cluster.move_to(pid, 1);
    let back = cluster.last_move(pid);
    assert!(back.pages_kept >= PAGES - BLOCK, "{back:?}");
    assert!(back.pages_sent <= BLOCK + 4, "{back:?}");
    assert_eq!(cluster.byte(0, pid, DATA + 7), 99);
    cluster.has_its_pages(0, pid, 1);
    // It goes to and fro without a page that had been written to before.
    assert_eq!(cluster.kept(0), 0);
    cluster.move_to(pid, 2);
    let again = cluster.last_move(pid);
    assert!(again.pages_kept >= PAGES, "{again:?}");
    assert_eq!(cluster.byte(1, pid, DATA + 7), 99);
    cluster.has_its_pages(1, pid, 1);
}

#[test]
fn the_most_memory_that_it_had_goes_with_it() {
    const GETRUSAGE: u64 = 98;
    let mut cluster = Cluster::new(2);
    let pid = cluster.process_with_pages();
    // ru_maxrss, KiB.
    let most = |cluster: &mut Cluster, node: usize| {
        assert_eq!(cluster.call(node, pid, GETRUSAGE, &[0, DATA]), 0);
        let bytes: Vec<u8> = (0..8)
            .map(|at| cluster.byte(node, pid, DATA + 32 + at))
            .collect();
        u64::from_le_bytes(bytes.try_into().expect("8"))
    };
    // A clean page of its program does not travel.
    cluster.byte(0, pid, super::CODE);
    let space = cluster.nodes[0].space_of(pid).expect("it is here");
    let at_home = space.usage().resident_pages * 4;
    cluster.move_to(pid, 2);
    let away = most(&mut cluster, 1);
    assert!(away >= at_home, "{away} KiB after {at_home}");
}

#[test]
fn wherever_it_goes_and_whatever_it_writes_it_has_its_memory() {
    let mut cluster = Cluster::new(3);
    let mut dice = Dice(0x5eed_ca5e);
    let pid = cluster.process_with_pages();
    let mut model: Vec<u8> = (1..=PAGES as u8).collect();
    let mut at = 0;
    let mut kept = 0;
    for step in 0..40 {
        for _ in 0..dice.below(4) {
            let page = dice.below(PAGES);
            let value = dice.below(4) as u8 * 60;
            model[page as usize] = value;
            cluster.poke(at, pid, DATA + page * PAGE + 7, &[value]);
        }
        let target = dice.below(3) as usize;
        if target != at {
            cluster.move_to(pid, target as u16 + 1);
            kept += cluster.last_move(pid).pages_kept;
            at = target;
        }
        for page in 0..PAGES {
            let byte = cluster.byte(at, pid, DATA + page * PAGE + 7);
            assert_eq!(byte, model[page as usize], "step {step}, page {page}");
        }
    }
    assert!(kept > 0, "it came back now and then");
}

#[test]
fn what_was_kept_goes_with_the_process_and_with_its_node() {
    let mut cluster = Cluster::new(3);
    let before = machine::frame_counts().by_kind[FrameKind::User as usize];
    let pid = cluster.process_with_pages();
    cluster.move_to(pid, 2);
    cluster.move_to(pid, 3);
    assert_eq!(cluster.kept(0), 0, "its last source was another one");
    assert!(cluster.kept(1) >= PAGES);
    cluster.nodes[0].signal(pid, abi::signal::SIGKILL);
    cluster.settle();
    cluster.live();
    assert_eq!(cluster.kept(1), 0);
    let now = machine::frame_counts().by_kind[FrameKind::User as usize];
    assert_eq!(now, before);

    let pid = cluster.process_with_pages();
    cluster.move_to(pid, 2);
    assert!(cluster.kept(0) >= PAGES);
    cluster.reboot(1);
    cluster.settle();
    assert_eq!(cluster.kept(0), 0);
}

#[test]
fn nothing_is_kept_for_a_boot_that_is_over_when_the_last_page_leaves() {
    let mut cluster = Cluster::new(3);
    let pid = cluster.process_with_pages();
    cluster.move_to(pid, 2);
    cluster.start_move(pid, 3);
    cluster.until(Cluster::round, |cluster| {
        cluster.nodes[2].bodies.contains_key(&pid)
    });
    // Home has released node 2, which hears first that node 3 has died.
    cluster.arrives = |header| header.target() != NodeId(2) || header.kind() != wire::Kind::Data;
    cluster.until(Cluster::round, |cluster| {
        let home: &Home = &cluster.nodes[0].homes[&pid];
        let record = &home.record;
        record.gate().owner() == NodeId(3) && record.previous().is_none()
    });
    cluster.reboot(2);
    cluster.arrives = |header| header.source() != NodeId(1) && header.target() != NodeId(1);
    cluster.until(
        |cluster| cluster.pass(10_000_000),
        |cluster| {
            let boot = cluster.nodes[2].boot;
            let peer = cluster.nodes[1].net.peer(NodeId(3));
            peer.is_some_and(|peer| peer.boot == boot)
        },
    );
    // Home has not heard of it when the last page leaves.
    cluster.arrives = |header| header.source() != NodeId(3) || header.target() != NodeId(1);
    cluster.until(
        |cluster| cluster.pass(10_000_000),
        |cluster| !cluster.nodes[1].outgoing.contains_key(&pid),
    );
    cluster.arrives = |_| true;
    cluster.settle();
    assert_eq!(cluster.kept(1), 0);
}

#[test]
fn a_move_that_came_to_nothing_counts_on_nothing() {
    let mut cluster = Cluster::new(2);
    let pid = cluster.process_with_pages();
    cluster.move_to(pid, 2);
    // Node 1 counts on what it has kept, the image does not arrive, and node 2 gets the process back.
    cluster.start_move(pid, 1);
    cluster.until(Cluster::round, |cluster| {
        cluster.nodes[0].incoming.contains_key(&pid)
    });
    assert_eq!(cluster.kept(0), 0);
    cluster.arrives = |header| header.kind() != wire::Kind::Data;
    cluster.pass(10_000_000);
    cluster.order_move_by(pid, "cancel");
    cluster.arrives = |_| true;
    for _ in 0..5 {
        cluster.settle();
    }
    let at = usize::from(cluster.nodes[1].bodies.contains_key(&pid));
    cluster.has_its_pages(at, pid, 0);
    cluster.poke(at, pid, DATA + 7, &[77]);
    cluster.move_to(pid, 2 - at as u16);
    assert_eq!(cluster.byte(1 - at, pid, DATA + 7), 77);
    cluster.has_its_pages(1 - at, pid, 1);
}

#[test]
fn pages_that_were_never_kept_cannot_be_named() {
    let mut cluster = Cluster::new(2);
    let pid = cluster.process_with_pages();
    cluster.move_to(pid, 2);
    cluster.start_move(pid, 1);
    // Until the image is here.
    cluster.until(Cluster::round, |cluster| {
        let node = &cluster.nodes[0];
        node.incoming.contains_key(&pid) && node.bodies.contains_key(&pid)
    });
    let epoch = cluster.nodes[0].body(pid).epoch;
    for runs in [
        vec![(DATA + 3, 1)],
        vec![(u64::MAX - 4095, 9)],
        vec![(0, u32::MAX)],
    ] {
        let named = Message::PagesKept {
            pid: Pid(pid),
            epoch,
            runs,
            last: true,
        };
        cluster.say(0, 2, named);
    }
    cluster.settle();
    assert!(!cluster.nodes[0].bodies.contains_key(&pid), "it was ended");
    assert!(cluster.nodes[0].incoming.is_empty());
}

#[test]
fn the_last_source_may_go_once_it_has_named_the_pages() {
    let mut cluster = Cluster::new(3);
    let pid = cluster.process_with_pages();
    cluster.move_to(pid, 2);
    cluster.move_to(pid, 3);
    cluster.start_move(pid, 2);
    cluster.until(Cluster::round, |cluster| {
        let incoming = cluster.nodes[1].incoming.get(&pid);
        let named = incoming.and_then(crate::hand_over::Incoming::next_named);
        named.is_some()
    });
    cluster.nodes[1].peer_lost(wire::NodeId(3), wire::BootId(0x1003));
    cluster.nodes[0].peer_lost(wire::NodeId(3), wire::BootId(0x1003));
    cluster.cut = vec![2];
    cluster.settle();
    cluster.has_its_pages(1, pid, 0);
    assert!(cluster.nodes[1].incoming.is_empty());
}

#[test]
fn what_is_kept_goes_when_memory_becomes_scarce() {
    let mut cluster = Cluster::new(2);
    let pid = cluster.process_with_pages();
    cluster.move_to(pid, 2);
    let (kept, shown) = (cluster.kept(0), cluster.nodes[0].frames());
    let real = machine::frame_counts();
    assert!(kept >= PAGES);
    // The fake has the frames of all nodes together.
    assert_eq!(shown.free, real.free + kept);
    assert_eq!(
        shown.by_kind.iter().sum::<u64>() + shown.free,
        real.by_kind.iter().sum::<u64>() + real.free
    );
    let mut taken = Vec::new();
    while machine::frame_counts().free > real.total / 4 {
        taken.push(Frame::zeroed(FrameKind::Kernel).expect("it is free"));
    }
    cluster.pass(10_000_000);
    assert_eq!(cluster.kept(0), 0);
    drop(taken);
    cluster.move_to(pid, 1);
    assert_eq!(cluster.last_move(pid).pages_kept, 0);
    cluster.has_its_pages(0, pid, 0);
}
