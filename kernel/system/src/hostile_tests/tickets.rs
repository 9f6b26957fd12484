//! A node that was taken over, in a cluster with keys: what it claims that nobody has given to it.
//!
//! Law: it has its own key and the cluster's, everything that is under way, and whole sessions with everybody. What it does is done
//! in clusters without keys as well, where it succeeds: so the tests would notice.

use super::{Cluster, DATA};
use crate::body::{Effects, Hold};
use crate::home::INIT;
use wire::{Message, MoveHow, NodeId, Passage, Ticket};

const WRITE: u64 = 1;
const GETPPID: u64 = 110;
const HOME: NodeId = NodeId(1);
/// The index of the node that was taken over.
const LIAR: usize = 2;
/// A page each 100 ms: the source has been asked, the target has room, and the image does not come for long.
const SLOWLY: &str = "3 mode=pre-copy bandwidth=40960";

impl Cluster {
    /// The passage of a process of node 1 from its present owner to a node.
    fn passage(&self, pid: u32, to: usize) -> Passage {
        let gate = self.nodes[0].homes[&pid].record.gate();
        Passage {
            pid: wire::Pid(pid),
            old_epoch: gate.epoch(),
            source: (gate.owner(), gate.owner_boot()),
            target: (self.nodes[to].me, self.nodes[to].boot),
        }
    }

    /// A node says to home that it has the image of a process.
    fn claim(&mut self, by: usize, passage: &Passage, ticket: Ticket) {
        let claim = Message::CommitRequest {
            pid: passage.pid,
            old_epoch: passage.old_epoch,
            source: passage.source.0,
            source_boot: passage.source.1,
            ticket,
        };
        self.nodes[by].send(HOME, claim);
        for _ in 0..5 {
            self.pass(1_000_000);
        }
    }

    /// It does so with each ticket that it can make: none, and those of its own keys.
    fn claim_as_it_can(&mut self, by: usize, passage: &Passage) {
        self.claim(by, passage, Ticket::default());
        for with in (1..=self.nodes.len() as u16).map(NodeId) {
            let ticket = self.nodes[by].net.ticket(with, passage);
            self.claim(by, passage, ticket);
        }
    }

    fn owner(&self, pid: u32) -> NodeId {
        self.nodes[0].homes[&pid].record.gate().owner()
    }

    /// Home asks for a move of a process to node 3, which has room for it and waits for the image.
    fn announce(&mut self, pid: u32) {
        let at = usize::from(self.owner(pid).0) - 1;
        for page in 0..20 {
            self.poke(at, pid, DATA + 4096 * page, b"full");
        }
        self.order_move_by(pid, SLOWLY);
        let waits = |cluster: &Cluster| cluster.nodes[LIAR].incoming.contains_key(&pid);
        self.until(|cluster| cluster.pass(1_000_000), waits);
    }

    /// A guest of node 2 from node 1.
    fn guest_of_two(&mut self) -> u32 {
        let pid = self.fork(0);
        self.move_to(pid, 2);
        pid
    }

    /// A process is where it was, and gets on.
    fn gets_on(&mut self, pid: u32, at: u16) {
        assert_eq!(self.owner(pid), NodeId(at));
        let node = usize::from(at) - 1;
        self.poke(node, pid, DATA, b"here");
        assert_eq!(self.call(node, pid, WRITE, &[1, DATA, 4]), 4);
        assert_eq!(self.call(node, pid, GETPPID, &[]), i64::from(INIT));
    }
}

#[test]
fn with_keys_processes_move_as_ever() {
    let mut cluster = Cluster::sealed(3);
    let pid = cluster.fork(0);
    // From home, between others, and back home.
    for node in [2, 3, 2, 1, 3, 1] {
        cluster.move_to(pid, node);
        cluster.gets_on(pid, node);
    }
}

#[test]
fn who_was_asked_to_take_a_process_does_not_have_it_before_its_source_says_so() {
    let mut cluster = Cluster::sealed(3);
    let pid = cluster.guest_of_two();
    cluster.announce(pid);
    let passage = cluster.passage(pid, LIAR);
    cluster.claim_as_it_can(LIAR, &passage);
    cluster.gets_on(pid, 2);
    // Without keys everybody is believed.
    let mut open = Cluster::new(3);
    let pid = open.guest_of_two();
    open.announce(pid);
    let passage = open.passage(pid, LIAR);
    open.claim_as_it_can(LIAR, &passage);
    assert_eq!(open.owner(pid), NodeId(3));
}

#[test]
fn a_process_that_is_at_home_is_not_claimed_either() {
    let mut cluster = Cluster::sealed(3);
    let pid = cluster.fork(0);
    cluster.announce(pid);
    let passage = cluster.passage(pid, LIAR);
    cluster.claim_as_it_can(LIAR, &passage);
    cluster.gets_on(pid, 1);
}

#[test]
fn the_word_for_one_passage_is_none_for_another() {
    let mut cluster = Cluster::sealed(4);
    let pid = cluster.guest_of_two();
    cluster.announce(pid);
    let other = cluster.fork(0);
    let good = cluster.passage(pid, LIAR);
    let of = |passage: Passage, cluster: &mut Cluster| cluster.nodes[1].net.ticket(HOME, &passage);
    let (pid_of_other, away) = (wire::Pid(other), cluster.nodes[3].boot);
    for overheard in [
        Passage {
            pid: pid_of_other,
            ..good
        },
        Passage {
            old_epoch: good.old_epoch - 1,
            ..good
        },
        Passage {
            old_epoch: good.old_epoch + 1,
            ..good
        },
        Passage {
            target: (NodeId(4), away),
            ..good
        },
        Passage {
            target: (good.target.0, wire::BootId(good.target.1.0 + 1)),
            ..good
        },
        Passage {
            source: (good.source.0, wire::BootId(good.source.1.0 + 1)),
            ..good
        },
    ] {
        let ticket = of(overheard, &mut cluster);
        cluster.claim(LIAR, &good, ticket);
        assert_eq!(cluster.owner(pid), NodeId(2), "{overheard:?}");
    }
    let ticket = of(good, &mut cluster);
    for bit in 0..128 {
        let mut flipped = ticket;
        flipped.0[bit / 8] ^= 1 << (bit % 8);
        cluster.claim(LIAR, &good, flipped);
    }
    assert_eq!(cluster.owner(pid), NodeId(2));
    cluster.claim(LIAR, &good, ticket);
    assert_eq!(cluster.owner(pid), NodeId(3), "that is its source's word");
}

#[test]
fn an_old_ticket_is_of_no_use_when_the_process_has_left_again() {
    let mut cluster = Cluster::sealed(3);
    let pid = cluster.guest_of_two();
    let old = cluster.passage(pid, LIAR);
    // The very one that the image had.
    let ticket = cluster.nodes[1].net.ticket(HOME, &old);
    cluster.move_to(pid, 3);
    cluster.move_to(pid, 2);
    cluster.announce(pid);
    let now = cluster.passage(pid, LIAR);
    assert_eq!(now.source, old.source);
    cluster.claim(LIAR, &old, ticket);
    cluster.claim(LIAR, &now, ticket);
    cluster.gets_on(pid, 2);
}

#[test]
fn a_ticket_holds_for_the_next_boot_of_a_home_with_a_disk() {
    let mut cluster = Cluster::sealed_with_a_disk(4);
    let pid = cluster.guest_of_two();
    cluster.gets_on(pid, 2);
    // The image arrives, home does not hear of that, and of the source nothing for longer.
    cluster.arrives = |header| header.target() != HOME;
    cluster.start_move(pid, 3);
    let there = |cluster: &Cluster| cluster.nodes[2].bodies.contains_key(&pid);
    cluster.until(|cluster| cluster.pass(1_000_000), there);
    cluster.reboot(0);
    cluster.arrives = |header| header.source() != NodeId(2) || header.target() != HOME;
    // Who was not given it gets nothing of home's not knowing what it has asked for.
    let knows = |cluster: &Cluster| cluster.nodes[0].net.peer(NodeId(4)).is_some();
    cluster.until(|cluster| cluster.pass(1_000_000), knows);
    let passage = cluster.passage(pid, 3);
    assert_eq!(passage.source.0, NodeId(2));
    cluster.claim_as_it_can(3, &passage);
    assert_ne!(cluster.owner(pid), NodeId(4));
    // Who was gets it.
    let gets = |cluster: &Cluster| cluster.owner(pid) == NodeId(3);
    cluster.until(|cluster| cluster.pass(10_000_000), gets);
    cluster.arrives = |_| true;
    for _ in 0..4 {
        cluster.settle();
    }
    assert_eq!(cluster.nodes[2].body(pid).effects, Effects::Open);
    assert!(cluster.nodes[1].outgoing.is_empty(), "its source knows");
    cluster.gets_on(pid, 3);
}

#[test]
fn a_copy_of_an_epoch_that_has_not_been_does_not_stay() {
    let mut cluster = Cluster::sealed(3);
    let pid = cluster.fork(0);
    cluster.move_to(pid, 3);
    // Its host says that it is far ahead, and moves it on: home has asked for nothing like that.
    let ahead = 1 << 40;
    cluster.nodes[LIAR].body(pid).epoch = ahead;
    let wish = (1, NodeId(2), MoveHow::default());
    cluster.nodes[LIAR].wish(pid, ahead, wish, Hold::Runs);
    let there = |cluster: &Cluster| cluster.nodes[1].bodies.contains_key(&pid);
    cluster.until(Cluster::round, there);
    for _ in 0..4 {
        cluster.settle();
    }
    let node = &cluster.nodes[1];
    assert!(!node.bodies.contains_key(&pid) && node.incoming.is_empty());
}
