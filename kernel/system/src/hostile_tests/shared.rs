//! Memory that processes share while they are on different nodes.

use super::Cluster;
use crate::home::INIT;
use crate::memory::Space;
use abi::signal::SIGKILL;
use machine::{Exit, PAGE_SIZE};
use wire::NodeId;

const PAGE: u64 = PAGE_SIZE as u64;
const MMAP: u64 = 9;
const MUNMAP: u64 = 11;
const EXIT: u64 = 60;
const KILL: u64 = 62;
const FUTEX: u64 = 202;
/// `MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED`.
const SHARED: u64 = 0x31;
/// Where the test maps shared memory.
const AT: u64 = 0x70_0000;
const PAGES: u64 = 8;

impl Cluster {
    /// A process of node 1 with shared memory, and its child.
    fn sharing(&mut self) -> (u32, u32) {
        let parent = self.fork(0);
        let args = [AT, PAGES * PAGE, 3, SHARED, u64::MAX, 0];
        assert_eq!(self.call(0, parent, MMAP, &args), AT as i64);
        self.poke(0, parent, AT, &[1]);
        let child = self.call(0, parent, 57, &[]) as u32;
        (parent, child)
    }

    /// A program touches a byte, as far as that can be seen from here: it waits until the page is there.
    fn touch(&mut self, node: usize, pid: u32, address: u64) {
        let there = |cluster: &Cluster| {
            let space = cluster.nodes[node].space_of(pid);
            space.is_some_and(|space| space.is_resident(address))
        };
        for _ in 0..20 {
            if there(self) {
                return;
            }
            self.fault(node, pid, address);
            for _ in 0..40 {
                self.pass(1_000_000);
            }
        }
        panic!("process {pid:#x} does not get {address:#x}");
    }

    fn put(&mut self, node: usize, pid: u32, address: u64, byte: u8) {
        self.touch(node, pid, address);
        self.poke(node, pid, address, &[byte]);
    }

    fn get(&mut self, node: usize, pid: u32, address: u64) -> u8 {
        self.touch(node, pid, address);
        self.byte(node, pid, address)
    }

    /// Writes to each page of the memory, another byte to each.
    fn put_each(&mut self, node: usize, pid: u32, first: u8) {
        for page in 0..PAGES {
            self.put(node, pid, AT + page * PAGE, first + page as u8);
        }
    }

    /// Each page has what was written to it, after the writer has made this call.
    #[track_caller]
    fn has_each(&mut self, node: usize, pid: u32, first: u8, way: u64) {
        for page in 0..PAGES {
            let byte = self.get(node, pid, AT + page * PAGE);
            assert_eq!(byte, first + page as u8, "call {way}, page {page}");
        }
    }

    /// A program begins to touch a byte.
    fn fault(&mut self, node: usize, pid: u32, address: u64) {
        self.run(node, pid, |_| Exit::PageFault {
            address,
            write: true,
            execute: false,
            protection: false,
        });
    }
}

#[test]
fn each_sees_what_the_other_writes() {
    let mut cluster = Cluster::new(3);
    let (parent, child) = cluster.sharing();
    cluster.move_to(child, 2);
    assert_eq!(cluster.get(1, child, AT), 1);
    cluster.put(1, child, AT, 2);
    assert_eq!(cluster.get(0, parent, AT), 2);
    cluster.put(0, parent, AT, 3);
    assert_eq!(cluster.get(1, child, AT), 3);
    // Both away, on different nodes, and one of them further.
    cluster.move_to(parent, 3);
    for round in 4..20 {
        let (writer, reader) = match round % 2 {
            0 => ((1, child), (2, parent)),
            _ => ((2, parent), (1, child)),
        };
        cluster.put(writer.0, writer.1, AT + PAGE, round);
        assert_eq!(cluster.get(reader.0, reader.1, AT + PAGE), round);
    }
    cluster.put(1, child, AT + 2 * PAGE, 99);
    cluster.move_to(child, 3);
    // It has brought it along.
    assert_eq!(cluster.byte(2, child, AT + 2 * PAGE), 99);
    assert_eq!(cluster.get(2, parent, AT + 2 * PAGE), 99);
    cluster.put(2, child, AT + 3 * PAGE, 7);
    cluster.move_to(child, 1);
    assert_eq!(cluster.get(0, child, AT + 3 * PAGE), 7);
    assert_eq!(cluster.get(2, parent, AT + 3 * PAGE), 7);
    cluster.move_to(parent, 1);
    for (page, byte) in [(1, 19), (2, 99), (3, 7)] {
        assert_eq!(cluster.get(0, parent, AT + page * PAGE), byte);
        assert_eq!(cluster.get(0, child, AT + page * PAGE), byte);
    }
}

#[test]
fn what_was_written_survives_the_end_of_the_writer() {
    for way in [EXIT, MUNMAP, KILL] {
        let mut cluster = Cluster::new(2);
        let (parent, child) = cluster.sharing();
        cluster.move_to(child, 2);
        cluster.put_each(1, child, 40);
        match way {
            EXIT => cluster.begin_call(1, child, EXIT, &[0]),
            MUNMAP => assert_eq!(cluster.call(1, child, MUNMAP, &[AT, PAGES * PAGE]), 0),
            _ => assert_eq!(
                cluster.call(0, parent, KILL, &[child.into(), SIGKILL.into()]),
                0
            ),
        }
        for _ in 0..3 {
            cluster.idle_round(1);
            cluster.settle();
        }
        cluster.has_each(0, parent, 40, way);
    }
}

#[test]
fn pages_that_are_on_their_way_home_get_there_though_their_process_ends() {
    for way in [EXIT, MUNMAP] {
        let mut cluster = Cluster::new(2);
        let (parent, child) = cluster.sharing();
        cluster.move_to(child, 2);
        cluster.put_each(1, child, 80);
        cluster.start_move(child, 1);
        cluster.until(Cluster::round, |cluster| {
            cluster.nodes[0].effects_open(child)
        });
        let coming = |space: &Space| space.next_coming_home(AT, AT + PAGES * PAGE);
        let coming = cluster.nodes[0].space_of(child).and_then(coming);
        assert!(coming.is_some(), "they are on their way");
        match way {
            EXIT => cluster.begin_call(0, child, EXIT, &[0]),
            _ => cluster.begin_call(0, child, MUNMAP, &[AT, PAGES * PAGE]),
        }
        cluster.settle();
        cluster.has_each(0, parent, 80, way);
    }
}

/// What a process had mapped when it stood still for a move that came to nothing may have been lent since.
#[test]
fn a_move_that_fails_brings_no_old_page_back() {
    let mut cluster = Cluster::new(3);
    let (parent, child) = cluster.sharing();
    cluster.move_to(child, 2);
    assert_eq!(cluster.get(0, parent, AT), 1);
    cluster.cut.push(2);
    cluster.start_move(parent, 3);
    cluster.pass(1_000_000);
    cluster.put(1, child, AT, 90);
    for _ in 0..20 {
        cluster.settle();
    }
    assert!(cluster.nodes[0].bodies.contains_key(&parent), "it stays");
    assert_eq!(cluster.get(0, parent, AT), 90);
}

#[test]
fn what_a_lost_process_has_shown_is_not_lost() {
    let mut cluster = Cluster::new(3);
    let (parent, child) = cluster.sharing();
    cluster.move_to(child, 2);
    cluster.put(1, child, AT, 50);
    assert_eq!(cluster.get(0, parent, AT), 50);
    cluster.put(0, parent, AT + 1, 51);
    cluster.put(1, child, AT + 2, 52);
    cluster.cut.push(1);
    cluster.reboot(1);
    cluster.cut.clear();
    cluster.settle();
    cluster.settle();
    assert_eq!(cluster.get(0, parent, AT), 50);
    assert_eq!(cluster.byte(0, parent, AT + 1), 51);
    // Nobody has seen it.
    assert_eq!(cluster.byte(0, parent, AT + 2), 0);
}

/// A process whose pages are lost with its last source ends, and what it shared is there for the others.
#[test]
fn a_process_that_has_lost_shared_pages_ends() {
    for ends_before in [false, true] {
        let mut cluster = Cluster::new(3);
        let (parent, child) = cluster.sharing();
        cluster.move_to(child, 2);
        cluster.put_each(1, child, 30);
        cluster.start_move(child, 3);
        cluster.until(Cluster::round, |cluster| {
            cluster.nodes[2].effects_open(child)
        });
        cluster.cut.push(1);
        if ends_before {
            cluster.begin_call(2, child, EXIT, &[0]);
        }
        cluster.settle();
        cluster.reboot(1);
        cluster.cut.clear();
        for _ in 0..20 {
            cluster.idle_round(2);
            cluster.settle();
        }
        assert!(
            !cluster.nodes[2].bodies.contains_key(&child),
            "it has ended"
        );
        assert_eq!(cluster.get(0, parent, AT), 1);
        assert_eq!(cluster.get(0, parent, AT + PAGE), 0);
    }
}

#[test]
fn a_page_is_called_back_from_wherever_its_process_is_by_now() {
    let mut cluster = Cluster::new(3);
    let (parent, child) = cluster.sharing();
    cluster.move_to(child, 2);
    cluster.put(1, child, AT, 60);
    // The parent asks while the child moves on.
    cluster.start_move(child, 3);
    cluster.fault(0, parent, AT);
    cluster.settle();
    assert!(cluster.nodes[2].bodies.contains_key(&child), "it has moved");
    assert_eq!(cluster.get(0, parent, AT), 60);
    cluster.put(2, child, AT, 61);
    cluster.start_move(child, 1);
    cluster.fault(0, parent, AT);
    cluster.settle();
    assert!(cluster.nodes[0].bodies.contains_key(&child), "it is home");
    assert_eq!(cluster.get(0, parent, AT), 61);
}

/// Home asks twice for a page. Its process gives it back and wants it again, and only then hears home ask the second time.
#[test]
fn a_page_that_is_lent_again_is_not_taken_for_gone_by_an_old_word() {
    let mut cluster = Cluster::new(2);
    let (parent, child) = cluster.sharing();
    cluster.move_to(child, 2);
    cluster.put(1, child, AT, 5);
    // What node 2 says comes late.
    cluster.arrives = |header| header.source() != NodeId(2);
    cluster.fault(0, parent, AT);
    let is_there = |cluster: &Cluster| {
        let space = cluster.nodes[1].space_of(child);
        space.is_some_and(|space| space.is_resident(AT))
    };
    cluster.until(
        |cluster| cluster.pass(1_000_000),
        |cluster| !is_there(cluster),
    );
    cluster.fault(1, child, AT);
    for _ in 0..30 {
        cluster.pass(1_000_000);
    }
    cluster.arrives = |_| true;
    cluster.until(|cluster| cluster.pass(1_000_000), is_there);
    cluster.poke(1, child, AT, &[6]);
    for _ in 0..10 {
        cluster.pass(1_000_000);
    }
    assert_eq!(cluster.get(0, parent, AT), 6);
    cluster.put(1, child, AT, 7);
    cluster.move_to(child, 1);
    assert_eq!(cluster.get(0, parent, AT), 7);
}

/// A page is given back, and its process moves on: home hears of the move from elsewhere.
#[test]
fn a_page_that_is_given_back_is_not_overtaken_by_its_process() {
    let mut cluster = Cluster::new(3);
    let (parent, child) = cluster.sharing();
    cluster.move_to(child, 2);
    cluster.put(1, child, AT, 5);
    // What node 2 says to home comes late.
    cluster.arrives = |header| (header.source(), header.target()) != (NodeId(2), NodeId(1));
    cluster.fault(0, parent, AT);
    for _ in 0..5 {
        cluster.pass(1_000_000);
    }
    cluster.start_move(child, 3);
    for _ in 0..5 {
        cluster.pass(1_000_000);
    }
    cluster.arrives = |_| true;
    for _ in 0..20 {
        cluster.pass(20_000_000);
    }
    assert_eq!(cluster.get(0, parent, AT), 5);
    assert!(cluster.nodes[2].bodies.contains_key(&child), "it has moved");
    assert_eq!(cluster.get(2, child, AT), 5);
}

#[test]
fn a_page_that_is_mapped_twice_is_one_page() {
    let mut cluster = Cluster::new(2);
    let (parent, child) = cluster.sharing();
    cluster.move_to(child, 2);
    cluster.put(1, child, AT, 5);
    let again = cluster.call(1, child, 25, &[AT, 0, PAGES * PAGE, 1, 0]) as u64;
    assert_eq!(cluster.get(1, child, again), 5);
    cluster.put(1, child, again, 6);
    assert_eq!(cluster.get(1, child, AT), 6);
    cluster.put(1, child, AT, 7);
    assert_eq!(cluster.get(0, parent, AT), 7);
    assert_eq!(cluster.get(1, child, again), 7);
}

#[test]
fn a_child_that_is_born_away_shares_with_all() {
    let mut cluster = Cluster::new(2);
    let (parent, child) = cluster.sharing();
    cluster.move_to(child, 2);
    cluster.put(1, child, AT, 70);
    let grandchild = cluster.call(1, child, 57, &[]) as u32;
    assert!(
        cluster.nodes[1].bodies.contains_key(&grandchild),
        "born there"
    );
    assert_eq!(cluster.get(1, grandchild, AT), 70);
    cluster.put(1, grandchild, AT, 71);
    assert_eq!(cluster.get(1, child, AT), 71);
    assert_eq!(cluster.get(0, parent, AT), 71);
}

#[test]
fn waiters_meet_at_home() {
    let mut cluster = Cluster::new(2);
    let (parent, child) = cluster.sharing();
    cluster.poke(0, parent, AT, &[0]);
    cluster.move_to(child, 2);
    cluster.begin_call(1, child, FUTEX, &[AT, 0, 0, 0, 0, 0]);
    cluster.settle();
    // It has come home, and makes the call again.
    assert!(cluster.nodes[0].bodies.contains_key(&child));
    cluster.begin_call(0, child, FUTEX, &[AT, 0, 0, 0, 0, 0]);
    assert_eq!(cluster.call(0, parent, FUTEX, &[AT, 1, 1, 0, 0, 0]), 1);
    cluster.settle();
    let thread = &cluster.nodes[0].threads[&child];
    assert!(thread.call.is_none(), "{:?}", thread.call);
    assert_eq!(thread.registers.rax, 0);
}

#[test]
fn after_all_that_nothing_is_left() {
    let mut cluster = Cluster::new(2);
    // What a first process takes for good is there.
    for round in 0..2 {
        let before = machine::frame_counts().free;
        let (parent, child) = cluster.sharing();
        cluster.move_to(child, 2);
        for page in 0..PAGES {
            cluster.put(1, child, AT + page * PAGE, 1);
        }
        cluster.get(0, parent, AT);
        cluster.begin_call(1, child, EXIT, &[0]);
        cluster.begin_call(0, parent, EXIT, &[0]);
        cluster.settle();
        while cluster.call(0, INIT, 61, &[u64::MAX, 0, 1, 0]) > 0 {}
        cluster.settle();
        assert!(cluster.nodes[0].errands.is_empty() && cluster.nodes[1].errands.is_empty());
        assert!(cluster.nodes[0].await_shared.is_empty());
        if round > 0 {
            assert_eq!(machine::frame_counts().free, before);
        }
    }
}

#[test]
fn who_ends_while_it_has_a_robust_futex_says_so_to_those_it_shares_it_with() {
    const EXIT_GROUP: u64 = 231;
    const SET_ROBUST_LIST: u64 = 273;
    const OWNER_DIED: u8 = 0x40;
    // By itself at home and away, and by a signal.
    for (end, node) in [(EXIT_GROUP, 0), (EXIT_GROUP, 1), (KILL, 0)] {
        let mut cluster = Cluster::new(2);
        let (parent, child) = cluster.sharing();
        // The list: its head in the child's own memory, and one entry, whose word is 8 bytes behind it.
        let (head, entry) = (super::DATA, AT + 64);
        for (at, word) in [(head, entry), (head + 8, 8), (head + 16, 0), (entry, head)] {
            cluster.poke(0, child, at, &word.to_le_bytes());
        }
        cluster.poke(0, child, entry + 8, &child.to_le_bytes());
        assert_eq!(cluster.call(0, child, SET_ROBUST_LIST, &[head, 24]), 0);
        if node != 0 {
            cluster.move_to(child, 2);
        }
        match end {
            KILL => {
                let signal = SIGKILL.into();
                assert_eq!(cluster.call(0, parent, KILL, &[child.into(), signal]), 0);
            }
            _ => cluster.begin_call(node, child, EXIT_GROUP, &[0]),
        }
        for _ in 0..200 {
            cluster.pass(1_000_000);
        }
        if node != 0 && cluster.nodes[0].threads.contains_key(&child) {
            // It has come home, and does there what it has begun.
            cluster.begin_call(0, child, EXIT_GROUP, &[0]);
            for _ in 0..200 {
                cluster.pass(1_000_000);
            }
        }
        let word = [0, 1, 2, 3].map(|at| cluster.get(0, parent, entry + 8 + at));
        assert_eq!(word, [0, 0, 0, OWNER_DIED], "by {end} on {node}");
    }
}
