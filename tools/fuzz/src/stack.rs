//! A node's whole stack, bombarded between two nodes that talk.
//!
//! Law: no frame panics it, makes it transmit without end, or makes it know more nodes than have sent.
//! Of two with a key none believes a frame that was changed, and knows no node but the other. Without one a forged frame that fits may well
//! disturb the two; that is not judged.

use crate::{Choices, Sights, Target, must, mutate, saw};
use node::{Config, Event, Node, OwnerKey, Packing, Suite};
use std::sync::Arc;
use wire::{BootId, HEADER_LEN, Message, NodeId, NodeInfo, PAYLOAD_MAX, Pid};

pub(crate) const STACK: Target = Target {
    name: "stack",
    run,
    hear: |bytes, sights| run(&mut Choices::of_bytes(bytes), sights),
    wanted: &["peers", "messages", "mutated", "sealed"],
};

type Frame = Arc<[u8; 4096]>;
/// A header and what follows it.
type Bytes = ([u8; HEADER_LEN], Vec<u8>);

fn stack(number: u16, now: u64, sealed: Option<Suite>) -> Node<Frame> {
    let config = Config {
        node: NodeId(number),
        boot: BootId(u64::from(number) * 11),
        mac: [2, 0, 0, 0, 0, number as u8],
        mtu: 9000,
        cluster: 7,
        seed: 1,
        info: NodeInfo::default(),
        packing: Packing::default(),
    };
    let mut node = Node::new(config, now);
    if let Some(suite) = sealed {
        let credentials =
            OwnerKey::new([7; 32]).credentials(NodeId(number), [1, 2].map(NodeId), suite);
        node.seal(credentials, [number as u8; 32]);
    }
    node
}

fn give(node: &mut Node<Frame>, now: u64, (header, payload): &Bytes) {
    let mut page = [0; 4096];
    page[..payload.len()].copy_from_slice(payload);
    node.handle_frame(now, header, Arc::new(page), payload.len());
}

fn run(random: &mut Choices<'_>, sights: &mut Sights) -> Result<(), String> {
    let mut now = 1_000_000;
    let suite = match random.below(4) {
        0 => Some(Suite::SipHash),
        1 => Some(Suite::ChaCha),
        _ => None,
    };
    let sealed = suite.is_some();
    let mut nodes = [stack(1, now, suite), stack(2, now, suite)];
    let mut caught: Vec<Bytes> = Vec::new();
    for round in 0..60 {
        now += random.between(1, 40_000_000);
        let two = random.below(2) as usize;
        nodes[two].handle_timeout(now);
        let poke = Message::Poke {
            pid: Pid::new(NodeId(1), 1),
            thread: Pid(0),
            epoch: round,
        };
        let _unknown_at_first = nodes[two].send(now, NodeId(2 - two as u16), poke);
        for from in 0..2 {
            let frames = leave(&mut nodes[from], now)?;
            for frame in frames {
                give(&mut nodes[1 - from], now, &frame);
                if caught.len() < 40 {
                    caught.push(frame);
                }
            }
        }
        if !caught.is_empty() {
            let mut frame = caught[random.below(caught.len() as u64) as usize].clone();
            distort(random, &mut frame);
            saw(sights, "mutated");
            let node = &mut nodes[random.below(2) as usize];
            let before = received(node);
            let is_new = !caught.contains(&frame);
            give(node, now, &frame);
            if sealed && is_new {
                must(received(node) == before, "what was changed is not believed")?;
                saw(sights, "sealed");
            }
        }
        for node in &mut nodes {
            must(
                node.peers().count() <= if sealed { 1 } else { 1 + caught.len() },
                "peers come from frames",
            )?;
            while let Some(event) = node.poll_event() {
                match event {
                    Event::PeerUp { .. } => saw(sights, "peers"),
                    Event::Message { .. } => saw(sights, "messages"),
                    _ => {}
                }
            }
        }
    }
    Ok(())
}

/// Frames that it took for a peer's.
fn received(node: &Node<Frame>) -> u64 {
    node.peers().map(|peer| peer.counters.received).sum()
}

/// What a node wants to send.
fn leave(node: &mut Node<Frame>, now: u64) -> Result<Vec<Bytes>, String> {
    let mut frames = Vec::new();
    while let Some(transmit) = node.poll_transmit(now) {
        let mut payload = vec![0; PAYLOAD_MAX];
        let length = transmit.payload.copy_to(&mut payload);
        payload.truncate(length);
        frames.push((transmit.header, payload));
        must(frames.len() < 1000, "it does not transmit without end")?;
    }
    Ok(frames)
}

/// A caught frame comes again, not quite as it was.
fn distort(random: &mut Choices<'_>, (header, payload): &mut Bytes) {
    for _ in 0..random.below(4) {
        // Mostly behind the addresses and the kind, where something is believed.
        let at = random.between(14, HEADER_LEN as u64 - 21) as usize;
        header[at] = match random.below(3) {
            0 => 0xff,
            1 => header[at].wrapping_add(1),
            _ => random.bits() as u8,
        };
    }
    if random.chance(5_000) {
        mutate(random, payload, PAYLOAD_MAX);
    }
}
