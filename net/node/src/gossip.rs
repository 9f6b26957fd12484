//! Gossip in the stack: who lives and how loaded it is, in unreliable frames beside the others.
//!
//! Law: what is believed changes no link. Whoever was heard lately, by whatever frame, is not asked whether
//! it is there: the Hellos of a small cluster are answer enough. A node that tells no load sends
//! nothing but answers.

use crate::node::Node;
use crate::{Config, Page, Seen, Transmit};
use alloc::sync::Arc;
use link::Payload;
use membership::Membership;
use wire::{GOSSIP_MAX, Gossip, Header, Kind, Load, NodeId, PayloadKind, Purpose};

/// Whoever was heard so lately is there, ns: a little more than the time between two Hellos.
const LATELY_NS: u64 = 600_000_000;

pub(crate) fn membership(config: &Config, now: u64) -> Membership {
    let config = membership::Config {
        node: config.node,
        boot: config.boot,
        seed: config.seed,
        period_ns: membership::PERIOD_NS,
    };
    Membership::new(config, now)
}

impl<P: Page> Node<P> {
    /// Tells all others how loaded this node is. From the first time on it takes part in gossip; what it tells
    /// grows old, so it is to be told again every period.
    pub fn set_load(&mut self, now: u64, load: Load) {
        self.latest = self.latest.max(now);
        self.membership.set_load(now, load);
    }

    /// Says goodbye to all others, who will not ask for this node any more.
    pub fn leave(&mut self, now: u64) {
        self.latest = self.latest.max(now);
        self.membership.leave(now);
    }

    /// Changes the time between two rounds of gossip, ns; usually [`membership::PERIOD_NS`].
    pub fn set_gossip_period(&mut self, period_ns: u64) {
        self.membership.set_period(period_ns);
    }

    /// What is believed of all others, in the order of their numbers.
    pub fn view(&self, now: u64) -> impl Iterator<Item = Seen> {
        self.membership.view(now)
    }

    /// The same and more: age limit, size, counters.
    pub fn membership(&self) -> &Membership {
        &self.membership
    }

    pub(crate) fn handle_gossip(&mut self, now: u64, index: usize, header: &Header, payload: &P) {
        let peer = &mut self.peers[index];
        let mut bytes = [0; GOSSIP_MAX];
        let bytes = bytes.get_mut(..header.payload_length());
        let gossip = bytes.and_then(|bytes| {
            payload.read(0, bytes);
            Gossip::decode(bytes).ok()
        });
        match gossip {
            Some(gossip) => self.membership.handle(now, peer.id, peer.boot, &gossip),
            None => peer.dropped += 1,
        }
    }

    pub(crate) fn handle_gossip_timeout(&mut self, now: u64) {
        if self.membership.poll_timeout().is_none_or(|due| due > now) {
            return;
        }
        if let Some(asked) = self.membership.asking() {
            self.was_heard_lately(now, asked);
        }
        self.membership.handle_timeout(now);
    }

    /// Whether a peer was heard lately; then the membership knows that, too.
    fn was_heard_lately(&mut self, now: u64, node: NodeId) -> bool {
        let peer = self.index(node).ok().map(|index| &self.peers[index]);
        match peer.filter(|peer| now < peer.last_heard + LATELY_NS) {
            Some(peer) => {
                self.membership.peer_heard(now, peer.id, peer.boot);
                true
            }
            None => false,
        }
    }

    pub(crate) fn transmit_gossip(&mut self, now: u64) -> Option<Transmit<P>> {
        loop {
            let (to, gossip) = self.membership.poll_transmit(now)?;
            let Ok(index) = self.index(to) else {
                continue;
            };
            if gossip.purpose == Purpose::Ping && self.was_heard_lately(now, to) {
                continue;
            }
            let peer = &mut self.peers[index];
            let mut header = Self::header_to(&self.config, peer, Kind::Gossip);
            let bytes: Arc<[u8]> = Arc::from(gossip.encode());
            header.payload_kind = PayloadKind::Gossip as u8;
            header.length = (bytes.len() as u16).into();
            peer.link.fill(now, &mut header);
            peer.sent += 1;
            let range = 0..bytes.len();
            return Some(Transmit {
                header: header.to_bytes(),
                payload: Payload::Bytes(bytes, range),
            });
        }
    }
}
