//! Stacks with a key: they find each other, move pages, and hear nobody else.
//!
//! Law: everything that the stacks transmit passes through here, so a stranger can have heard all of it.

use super::*;
use crate::{NodeInfo, OwnerKey, PeerState, Refused, Suite};
use alloc::format;
use alloc::vec::Vec;
use wire::{BootId, Header, Lane, Message, NodeId, PageTag, Pid};

type Frame = Arc<[u8; 4096]>;
const MS: u64 = 1_000_000;
const KEY: [u8; 32] = [0x5e; 32];

fn config(node: u16, boot: u64, mtu: u16) -> crate::Config {
    crate::Config {
        node: NodeId(node),
        boot: BootId(boot),
        mac: [2, 0, 0, 0, 0, node as u8],
        mtu,
        cluster: 7,
        seed: 1,
        info: NodeInfo::default(),
        packing: crate::Packing::default(),
    }
}

fn stack(config: crate::Config, key: Option<[u8; 32]>, now: u64) -> Node<Frame> {
    stack_in(Suite::ChaCha, config, key, now)
}

fn stack_in(suite: Suite, config: crate::Config, key: Option<[u8; 32]>, now: u64) -> Node<Frame> {
    let mut node = Node::new(config, now);
    if let Some(key) = key {
        let roster = (1..=5).map(NodeId);
        let credentials = OwnerKey::new(key).credentials(config.node, roster, suite);
        node.seal(credentials, [config.boot.0 as u8; 32]);
    }
    node
}

/// Stacks on one hub, and all that was ever said.
struct Hub {
    now: u64,
    nodes: Vec<Node<Frame>>,
    events: Vec<Vec<Event<Frame>>>,
    heard: Vec<([u8; HEADER_LEN], Vec<u8>)>,
    /// Longest payload that passes.
    most: usize,
}

impl Hub {
    fn new(nodes: Vec<Node<Frame>>) -> Hub {
        Hub {
            now: 0,
            events: nodes.iter().map(|_| Vec::new()).collect(),
            nodes,
            heard: Vec::new(),
            most: 4096,
        }
    }

    fn run_until(&mut self, until: u64) {
        while self.now < until {
            self.now += MS;
            for node in &mut self.nodes {
                node.handle_timeout(self.now);
            }
            while self.pass() {}
        }
    }

    /// Everybody hears one frame of each.
    fn pass(&mut self) -> bool {
        let mut any = false;
        for from in 0..self.nodes.len() {
            let Some(transmit) = self.nodes[from].poll_transmit(self.now) else {
                continue;
            };
            any = true;
            let mut payload = [0; 4096];
            let length = transmit.payload.copy_to(&mut payload);
            self.heard
                .push((transmit.header, payload[..length].to_vec()));
            if length <= self.most {
                self.say(Some(from), &transmit.header, &payload[..length]);
            }
        }
        any
    }

    fn say(&mut self, from: Option<usize>, header: &[u8; HEADER_LEN], payload: &[u8]) {
        self.now += MS / 100;
        let mut page = [0; 4096];
        page[..payload.len()].copy_from_slice(payload);
        for to in 0..self.nodes.len() {
            let node = &mut self.nodes[to];
            if Some(to) != from {
                node.handle_frame(self.now, header, Arc::new(page), payload.len());
                self.events[to].extend(core::iter::from_fn(|| node.poll_event()));
            }
        }
    }

    fn peers(&self, node: usize) -> Vec<(u16, u64)> {
        let alive = |peer: &crate::PeerView| peer.state == PeerState::Alive;
        let peers = self.nodes[node].peers().filter(alive);
        peers.map(|peer| (peer.id.0, peer.boot.0)).collect()
    }

    fn refused(&self, node: usize, reason: Refused) -> u64 {
        let counters = self.nodes[node].seal_counters().expect("it has a key");
        counters.of(reason)
    }

    /// What node 0 sends to node 1 and arrives: messages and pages.
    fn transfer(&mut self, count: u64) -> (u64, u64) {
        self.events.iter_mut().for_each(Vec::clear);
        for number in 0..count {
            let poke = Message::Poke {
                pid: Pid::new(NodeId(1), 1),
                thread: Pid(0),
                epoch: number,
            };
            self.nodes[0]
                .send(self.now, NodeId(2), poke)
                .expect("known");
            let tag = PageTag {
                pid: Pid::new(NodeId(1), 1),
                epoch: 1,
                page: number * 4096,
            };
            let page = Arc::new([number as u8; 4096]);
            let sent = self.nodes[0].send_page(self.now, NodeId(2), Lane::Bulk, tag, page);
            sent.expect("known");
        }
        self.run_until(self.now + 400 * MS);
        let mut arrived = (0, 0);
        for event in &self.events[1] {
            match event {
                Event::Message { .. } => arrived.0 += 1,
                Event::Page { tag, page, .. } => {
                    assert_eq!(**page, [(tag.page / 4096) as u8; 4096]);
                    arrived.1 += 1;
                }
                _ => {}
            }
        }
        arrived
    }
}

fn sealed(nodes: &[(u16, u64)]) -> Hub {
    let stack = |&(node, boot): &(u16, u64)| stack(config(node, boot, 9000), Some(KEY), 0);
    Hub::new(nodes.iter().map(stack).collect())
}

#[test]
fn nodes_with_a_key_find_each_other_and_talk() {
    let mut hub = sealed(&[(1, 0xa1), (2, 0xb2), (3, 0xc3)]);
    hub.run_until(60 * MS);
    assert_eq!(hub.peers(0), [(2, 0xb2), (3, 0xc3)]);
    assert_eq!(hub.peers(2), [(1, 0xa1), (2, 0xb2)]);
    assert_eq!(hub.transfer(300), (300, 300));
    assert!(hub.nodes[0].peer(NodeId(2)).expect("known").wide);
    for (header, _) in &hub.heard {
        let header = Header::parse(header);
        let kind = header.map(Header::kind);
        let handshake = matches!(kind, Ok(Kind::Knock | Kind::Welcome));
        assert!(handshake || kind.is_err(), "{kind:?} without a seal");
    }
}

#[test]
fn pieces_are_sealed_one_by_one() {
    for suite in Suite::ALL {
        let nodes = [(1, 0xa1), (2, 0xb2)];
        let nodes =
            nodes.map(|(node, boot)| stack_in(suite, config(node, boot, 9000), Some(KEY), 0));
        let mut hub = Hub::new(nodes.into());
        hub.most = 1400;
        hub.run_until(60 * MS);
        assert_eq!(hub.transfer(100), (100, 100));
        assert!(!hub.nodes[0].peer(NodeId(2)).expect("known").wide);
    }
}

#[test]
fn pages_and_messages_travel_hidden_or_not_as_the_suite_has_it() {
    for suite in Suite::ALL {
        let nodes = [(1, 0xa1), (2, 0xb2)];
        let nodes =
            nodes.map(|(node, boot)| stack_in(suite, config(node, boot, 9000), Some(KEY), 0));
        let mut hub = Hub::new(nodes.into());
        hub.run_until(60 * MS);
        assert_eq!(hub.transfer(50), (50, 50));
        let pages = hub
            .heard
            .iter()
            .filter(|(_, payload)| payload.len() == 4096);
        let plain = pages
            .clone()
            .filter(|(_, payload)| payload.iter().all(|byte| *byte == payload[0]));
        let (pages, plain) = (pages.count(), plain.count());
        assert!(pages >= 50);
        assert_eq!(plain, if suite == Suite::SipHash { pages } else { 0 });
    }
}

#[test]
fn sessions_are_renewed_while_nodes_talk() {
    let mut hub = sealed(&[(1, 0xa1), (2, 0xb2)]);
    hub.run_until(60 * MS);
    for _ in 0..4 {
        assert_eq!(hub.transfer(20), (20, 20));
        hub.now += seal::REKEY_AFTER_NS;
        hub.run_until(hub.now + 1000 * MS);
    }
    let counters = hub.nodes[0].seal_counters().expect("it has a key");
    assert!(counters.sessions >= 5, "{counters:?}");
    // A machine that stood still for longer than a session lives.
    hub.now += 2 * seal::REJECT_AFTER_NS;
    hub.run_until(hub.now + 1000 * MS);
    assert_eq!(hub.transfer(20), (20, 20));
    let lost = |event: &Event<Frame>| matches!(event, Event::PeerLost { .. });
    assert!(!hub.events.iter().flatten().any(lost));
}

#[test]
fn who_has_another_key_or_none_stays_alone_and_is_told_of_once() {
    for key in [Some([0x77; 32]), None] {
        let mut hub = sealed(&[(1, 0xa1), (2, 0xb2)]);
        hub.nodes.push(stack(config(3, 0xc3, 9000), key, 0));
        hub.events.push(Vec::new());
        hub.run_until(3000 * MS);
        assert_eq!(hub.peers(0), [(2, 0xb2)]);
        assert_eq!(hub.peers(1), [(1, 0xa1)]);
        assert_eq!(hub.peers(2), []);
        for node in 0..2 {
            let strangers = hub.events[node].iter().filter(
                |event| matches!(event, Event::Stranger { id: NodeId(3), mac } if mac[5] == 3),
            );
            assert_eq!(strangers.count(), 1);
            assert!(hub.refused(node, Refused::Tag) >= 6);
        }
        assert_eq!(hub.transfer(50), (50, 50));
    }
}

#[test]
fn a_new_boot_replaces_the_old_one_and_old_frames_do_not_bring_that_back() {
    let mut hub = sealed(&[(1, 0xa1), (2, 0xb2)]);
    hub.run_until(60 * MS);
    assert_eq!(hub.transfer(20), (20, 20));
    hub.nodes[1] = stack(config(2, 0xb3, 9000), Some(KEY), hub.now);
    hub.run_until(hub.now + 300 * MS);
    assert_eq!(hub.peers(0), [(2, 0xb3)]);
    assert_eq!(hub.transfer(20), (20, 20));
    // A stranger says again all that he has heard.
    let lost = |hub: &Hub| {
        let events = hub.events.iter().flatten();
        let boots = events.filter(|event| {
            matches!(
                event,
                Event::PeerLost { .. }
                    | Event::PeerUp { .. }
                    | Event::Message { .. }
                    | Event::Page { .. }
            )
        });
        boots.count()
    };
    hub.events.iter_mut().for_each(Vec::clear);
    let heard = core::mem::take(&mut hub.heard);
    let received: Vec<u64> = hub
        .nodes
        .iter()
        .map(|node| node.peers().map(|p| p.counters.received).sum())
        .collect();
    for (header, payload) in &heard {
        hub.say(None, header, payload);
    }
    assert_eq!(lost(&hub), 0);
    let now_received: Vec<u64> = hub
        .nodes
        .iter()
        .map(|node| node.peers().map(|p| p.counters.received).sum())
        .collect();
    assert_eq!(
        now_received, received,
        "no frame was taken for one of a peer"
    );
    hub.run_until(hub.now + 700 * MS);
    assert_eq!(
        (hub.peers(0), hub.peers(1)),
        (Vec::from([(2, 0xb3)]), Vec::from([(1, 0xa1)]))
    );
    assert_eq!(hub.transfer(20), (20, 20));
}

#[test]
fn of_two_machines_with_one_number_the_later_gives_way() {
    let mut first = config(1, 0xa1, 9000);
    first.mac[0] = 0x12;
    let mut hub = Hub::new(Vec::from([stack(first, Some(KEY), 0)]));
    hub.run_until(500 * MS);
    hub.nodes
        .push(stack(config(1, 0xa2, 9000), Some(KEY), hub.now));
    hub.events.push(Vec::new());
    hub.run_until(1500 * MS);
    let refused = |event: &Event<Frame>| {
        matches!(
            event,
            Event::Refused {
                boot: BootId(0xa1),
                ..
            }
        )
    };
    assert!(hub.events[1].iter().any(refused), "{:?}", hub.events[1]);
    assert!(
        !hub.events[0]
            .iter()
            .any(|event| matches!(event, Event::Refused { .. }))
    );
}

/// A node that was taken over, with the key of the cluster, as if it were another.
fn mask(of: u16, boot: u64, now: u64) -> Node<Frame> {
    let credentials = OwnerKey::new(KEY).credentials(NodeId(5), (1..=5).map(NodeId), Suite::ChaCha);
    let text = credentials.to_text();
    let entry = |node: u16| {
        let line = format!("roster {node} ");
        let line = text.lines().find(|text| text.starts_with(&line));
        line.expect("in the roster").split_at(9).1
    };
    let text = text.replace(entry(of), entry(5));
    let text = text.replace("node 5 ", &format!("node {of} "));
    let credentials = Credentials::parse(text.as_bytes()).expect("what it has made of its file");
    let mut node = Node::new(config(of, boot, 9000), now);
    node.seal(credentials, [0x66; 32]);
    node
}

#[test]
fn a_node_that_was_taken_over_does_not_keep_another_alive_or_speak_for_it() {
    let mut hub = sealed(&[(1, 0xa1), (2, 0xb2)]);
    hub.run_until(1000 * MS);
    let told = hub.nodes[0].peer(NodeId(2)).expect("known").info;
    // Two is gone, and somebody of the cluster goes on to say Hello in its name, and what it likes.
    let mut mask = mask(2, 0xb2, hub.now);
    let mut info = told;
    info.processes = 77;
    assert_ne!(info, told);
    mask.set_info(info);
    hub.nodes[1] = mask;
    hub.events.iter_mut().for_each(Vec::clear);
    hub.run_until(4000 * MS);
    let silent = |event: &Event<Frame>| matches!(event, Event::PeerSilent { id: NodeId(2), .. });
    assert_eq!(
        hub.events[0].iter().filter(|event| silent(event)).count(),
        1
    );
    let two = hub.nodes[0].peer(NodeId(2)).expect("known");
    assert_eq!(
        (two.state, two.boot, two.info),
        (PeerState::Silent, BootId(0xb2), told)
    );
    // Nor as a new boot of it.
    hub.nodes[1] = super::tests::mask(2, 0xb3, hub.now);
    hub.run_until(8000 * MS);
    let two = hub.nodes[0].peer(NodeId(2)).expect("known");
    assert_eq!((two.state, two.boot), (PeerState::Silent, BootId(0xb2)));
    assert!(hub.refused(0, Refused::Handshake) > 0, "it has tried");
}

#[test]
fn a_cluster_with_a_key_is_found_to_be_there_by_greetings_alone() {
    let mut hub = sealed(&[(1, 0xa1), (2, 0xb2), (3, 0xc3)]);
    hub.run_until(20_000 * MS);
    let silent = |event: &Event<Frame>| matches!(event, Event::PeerSilent { .. });
    assert!(!hub.events.iter().flatten().any(silent));
    let info = NodeInfo {
        processes: 5,
        ..NodeInfo::default()
    };
    hub.nodes[0].set_info(info);
    hub.run_until(21_000 * MS);
    for node in 1..3 {
        let one = hub.nodes[node].peer(NodeId(1)).expect("known");
        assert_eq!(one.info, info, "what a node tells of itself comes along");
    }
}
