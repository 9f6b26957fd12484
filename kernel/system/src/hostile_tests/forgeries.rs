//! A node of the cluster that was taken over says of a process of others what only they may say.
//!
//! Law: it has all keys of its node, and knows epochs, numbers and tries. Whatever it says, and whenever, changes nothing: neither at
//! home, nor at source and target. What the same words do in the right mouth is shown below.

use super::{Cluster, DATA, DATA_BYTES};
use crate::forgeries::About;
use crate::home::INIT;
use machine::{Frame, FrameKind, PAGE_SIZE};
use node::Lane;
use wire::{Attempt, Message, NodeId, Pid, Whereabouts};

const GETPPID: u64 = 110;
const HOME: NodeId = NodeId(1);
/// Its node, by index.
const LIAR: usize = 2;
const PAGE: u64 = PAGE_SIZE as u64;
/// A page each 100 ms: the target has room, and the image does not come for long.
const SLOWLY: &str = "4 mode=pre-copy bandwidth=40960";

/// What the liar says, and what it is answered: without that it would have to stop soon.
fn is_the_liar_s(header: &wire::Header) -> bool {
    [header.source(), header.target()].contains(&NodeId(3))
}

impl Cluster {
    /// A guest of node 2 from node 1, whose pages have their numbers in them.
    fn guest_with_pages(&mut self) -> u32 {
        let pid = self.fork(0);
        self.move_to(pid, 2);
        for page in 0..DATA_BYTES / PAGE {
            self.poke(1, pid, DATA + page * PAGE + 7, &[page as u8 + 1]);
        }
        pid
    }

    /// One node says of a process to another all that might have an effect.
    fn forge(&mut self, by: usize, to: usize, pid: u32) {
        let liar = (self.nodes[by].me, self.nodes[by].boot);
        let to = self.nodes[to].me;
        let epoch = self.nodes[0].homes[&pid].record.gate().epoch();
        for epoch in [epoch - 1, epoch, epoch + 1, epoch + 2, u64::MAX] {
            for number in 0..6 {
                let about = About {
                    pid,
                    epoch,
                    attempt: Attempt::new(number as u16),
                    seq: number,
                    liar,
                };
                for word in about.words() {
                    self.nodes[by].send(to, word);
                }
                for tag in about.pages(DATA + PAGE * number) {
                    let frame = Frame::zeroed(FrameKind::User).expect("frames");
                    frame.write(0, &[0xbd; PAGE_SIZE]);
                    self.nodes[by].send_page(to, Lane::Urgent, tag, frame);
                }
                self.pass(10_000);
            }
        }
    }

    /// What everybody believes of a process, as far as it does not change by itself.
    fn beliefs(&self, pid: u32) -> String {
        let home = self.nodes[0].homes.get(&pid);
        let home = home.map(|home| {
            let gate = home.record.gate();
            let owner = (gate.owner(), gate.owner_boot(), gate.epoch());
            let next = gate.next_seq(Pid(pid));
            (
                owner,
                next,
                home.record.previous(),
                home.life,
                home.pending.set(),
            )
        });
        let nodes = self.nodes.iter().map(|node| {
            let body = node.bodies.get(&pid);
            let body = body.map(|body| {
                let wish = body.wish.map(|wish| wish.target);
                (body.epoch, body.effects, body.orphan, body.freezing, wish)
            });
            let thread = node.threads.get(&pid);
            let thread = thread.map(|thread| (thread.call, thread.forward.clone(), thread.poked));
            let out = node
                .outgoing
                .get(&pid)
                .map(crate::hand_over::Outgoing::state_in_words);
            let incoming = node.incoming.get(&pid);
            let incoming = incoming.map(|it| (it.waits_for_image(), it.source()));
            (body, thread, out, incoming)
        });
        format!("{home:?} {:?}", nodes.collect::<Vec<_>>())
    }

    /// The liar says all to everybody; nobody believes anything else then.
    fn nobody_believes_the_liar(&mut self, pid: u32) {
        let before = self.beliefs(pid);
        for to in [0, 1, 3] {
            self.forge(LIAR, to, pid);
            assert_eq!(self.beliefs(pid), before, "node {}", to + 1);
        }
    }

    /// A process is there, has its memory and gets on.
    fn is_well(&mut self, pid: u32, at: u16) {
        for _ in 0..4 {
            self.settle();
        }
        let node = usize::from(at) - 1;
        assert_eq!(self.nodes[0].homes[&pid].record.gate().owner(), NodeId(at));
        for page in 0..DATA_BYTES / PAGE {
            let byte = self.byte(node, pid, DATA + page * PAGE + 7);
            assert_eq!(byte, page as u8 + 1, "page {page}");
        }
        assert_eq!(self.call(node, pid, GETPPID, &[]), i64::from(INIT));
        for node in &self.nodes {
            assert!(node.outgoing.is_empty() && node.incoming.is_empty());
        }
    }
}

#[test]
fn of_a_guest_nobody_believes_a_third_node() {
    let mut cluster = Cluster::sealed(4);
    let pid = cluster.guest_with_pages();
    cluster.nobody_believes_the_liar(pid);
    cluster.is_well(pid, 2);
}

#[test]
fn nor_what_home_answers_to_its_call() {
    let mut cluster = Cluster::sealed(4);
    let pid = cluster.guest_with_pages();
    cluster.arrives = is_the_liar_s;
    cluster.begin_call(1, pid, GETPPID, &[]);
    cluster.nobody_believes_the_liar(pid);
    cluster.arrives = |_| true;
    cluster.settle();
    let thread = &cluster.nodes[1].threads[&pid];
    assert_eq!((thread.call, thread.registers.rax), (None, u64::from(INIT)));
    cluster.is_well(pid, 2);
}

#[test]
fn nor_while_it_is_asked_whether_it_may_come() {
    let mut cluster = Cluster::sealed(4);
    let pid = cluster.guest_with_pages();
    cluster.order_move_by(pid, SLOWLY);
    let waits = |cluster: &Cluster| cluster.nodes[3].incoming.contains_key(&pid);
    cluster.until(|cluster| cluster.pass(1_000_000), waits);
    cluster.pass(200_000_000);
    cluster.arrives = is_the_liar_s;
    cluster.nobody_believes_the_liar(pid);
    cluster.arrives = |_| true;
    cluster.is_well(pid, 4);
}

#[test]
fn nor_while_home_has_not_heard_that_its_image_is_there() {
    let mut cluster = Cluster::sealed(4);
    let pid = cluster.guest_with_pages();
    cluster.arrives = |header| header.target() != HOME;
    cluster.start_move(pid, 4);
    let there = |cluster: &Cluster| cluster.nodes[3].bodies.contains_key(&pid);
    cluster.until(|cluster| cluster.pass(100_000), there);
    cluster.arrives = is_the_liar_s;
    cluster.nobody_believes_the_liar(pid);
    cluster.arrives = |_| true;
    cluster.is_well(pid, 4);
}

#[test]
fn nor_between_decision_and_release() {
    let mut cluster = Cluster::sealed(4);
    let pid = cluster.guest_with_pages();
    cluster.start_move(pid, 4);
    let decided =
        |cluster: &Cluster| cluster.nodes[0].homes[&pid].record.gate().owner() == NodeId(4);
    cluster.until(Cluster::round, decided);
    cluster.arrives = is_the_liar_s;
    cluster.nobody_believes_the_liar(pid);
    cluster.arrives = |_| true;
    cluster.is_well(pid, 4);
}

#[test]
fn nor_that_a_process_whose_pages_are_under_way_has_been_on_elsewhere() {
    let mut cluster = Cluster::sealed(4);
    let pid = cluster.guest_with_pages();
    cluster.arrives = |header| {
        (header.source(), header.target()) != (NodeId(2), NodeId(4))
            || header.lane() != Lane::Urgent
            || header.payload_kind() != wire::PayloadKind::Page
    };
    cluster.start_move(pid, 4);
    let pushed = |cluster: &Cluster| {
        let out = cluster.nodes[1].outgoing.get(&pid);
        out.is_some_and(|out| out.state_in_words().contains("pushing (true, true, true)"))
    };
    cluster.until(|cluster| cluster.pass(1_000_000), pushed);
    cluster.arrives = is_the_liar_s;
    cluster.nobody_believes_the_liar(pid);
    let before = cluster.beliefs(pid);
    for later in 0..4 {
        let about = About {
            pid,
            epoch: cluster.nodes[0].homes[&pid].record.gate().epoch() + later,
            attempt: Attempt::new(1),
            seq: 0,
            liar: (NodeId(3), cluster.nodes[LIAR].boot),
        };
        cluster.nodes[LIAR].send(NodeId(2), about.offer());
        for _ in 0..5 {
            cluster.pass(1_000_000);
        }
        assert_eq!(cluster.beliefs(pid), before, "{later} epochs later");
    }
    cluster.arrives = |_| true;
    // The last lie has waited until it is known that all has arrived, and is answered now as one that is told then: a place is held
    // for what never comes, for some seconds.
    for _ in 0..2 {
        cluster.settle();
    }
    cluster.is_well(pid, 4);
}

#[test]
fn nor_when_home_boots_again() {
    let mut cluster = Cluster::sealed_with_a_disk(4);
    let pid = cluster.guest_with_pages();
    cluster.is_well(pid, 2);
    cluster.reboot(0);
    // Node 2 has heard of it, and home nothing of node 2's guests.
    cluster.arrives = |header| {
        (header.source(), header.target()) != (NodeId(2), HOME) || header.kind() != wire::Kind::Data
    };
    let orphan = |cluster: &Cluster| cluster.nodes[1].bodies[&pid].orphan;
    cluster.until(|cluster| cluster.pass(10_000_000), orphan);
    let knows = |cluster: &Cluster| cluster.nodes[0].net.peer(NodeId(3)).is_some();
    cluster.until(|cluster| cluster.pass(10_000_000), knows);
    cluster.nobody_believes_the_liar(pid);
    cluster.arrives = |_| true;
    cluster.is_well(pid, 2);
}

/// The same words in the right mouth, so that the tests above would notice if anybody else were believed.
#[test]
fn whom_the_words_are_of_is_believed() {
    type Word = fn(Pid, u64) -> Message;
    let words: [(usize, usize, Word); 4] = [
        (0, 1, |pid, epoch| Message::Lost { pid, epoch }),
        (0, 1, |pid, epoch| Message::Decision {
            pid,
            epoch: epoch + 1,
            owner: NodeId(4),
            owner_boot: wire::BootId(4),
            poke: false,
        }),
        (1, 0, |pid, old_epoch| Message::AbortRequest {
            pid,
            old_epoch,
        }),
        (1, 0, |pid, epoch| Message::Orphans {
            orphans: vec![(pid, epoch, Whereabouts::Ended)],
        }),
    ];
    for (index, (by, to, word)) in words.into_iter().enumerate() {
        let mut cluster = Cluster::sealed(4);
        let pid = cluster.guest_with_pages();
        let before = cluster.beliefs(pid);
        let epoch = cluster.nodes[0].homes[&pid].record.gate().epoch();
        let to = cluster.nodes[to].me;
        for by in [LIAR, by] {
            cluster.nodes[by].send(to, word(Pid(pid), epoch));
            for _ in 0..5 {
                cluster.pass(1_000_000);
            }
            assert_eq!(cluster.beliefs(pid) == before, by == LIAR, "word {index}");
        }
    }
}
