//! A peer: one node in its present boot, as seen from here.
//!
//! Law: a peer exists only after its boot was proven; a new boot replaces link and counters whole.

use crate::measure::{BlastSink, Measurement};
use crate::packing::{Choice, Packer};
use crate::path::Path;
use crate::pieces::Joiner;
use crate::port::Way;
use crate::{Counters, Page, PeerState, PeerView, SILENT_AFTER_NS};
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use link::{Link, Payload};
use wire::{BootId, Header, Lane, NodeId, NodeInfo, PAYLOAD_MAX};

/// Lost boots remembered per peer.
const LOST_MAX: usize = 16;

#[derive(Debug)]
pub(crate) struct Peer<P> {
    pub(crate) id: NodeId,
    pub(crate) boot: BootId,
    pub(crate) mac: [u8; 6],
    pub(crate) adopted_at: u64,
    pub(crate) state: PeerState,
    pub(crate) last_heard: u64,
    /// From when its silence counts: when it was heard, and later by as long as we have stood still since.
    pub(crate) silence_from: u64,
    pub(crate) info: NodeInfo,
    /// The peer's clock when it said so.
    pub(crate) info_ns: u64,
    pub(crate) link: Link<P>,
    pub(crate) sent: u64,
    pub(crate) received: u64,
    pub(crate) dropped: u64,
    pub(crate) packed: u64,
    pub(crate) choice: Choice,
    pub(crate) measurement: Option<Box<Measurement>>,
    pub(crate) sink: BlastSink,
    pub(crate) way: Way,
    pub(crate) path: Path,
    pub(crate) joiner: Joiner<P>,
    /// Whether the peer stands in the queue of those with something to transmit, per lane; the
    /// second is also that of measurements and bare acknowledgements.
    pub(crate) queued: [bool; 2],
    lost: VecDeque<BootId>,
}

impl<P: Page> Peer<P> {
    pub(crate) fn new(now: u64, id: NodeId, boot: BootId, mac: [u8; 6], path: Path) -> Peer<P> {
        Peer {
            id,
            boot,
            mac,
            adopted_at: now,
            state: PeerState::Alive,
            last_heard: now,
            silence_from: now,
            info: NodeInfo::default(),
            info_ns: 0,
            link: Link::new(),
            sent: 0,
            received: 0,
            dropped: 0,
            packed: 0,
            choice: Choice::default(),
            measurement: None,
            sink: BlastSink::default(),
            way: Way::default(),
            path,
            joiner: Joiner::new(),
            queued: [false; 2],
            lost: VecDeque::new(),
        }
    }

    /// Goes over to a newer boot; nothing of the old one stays but its id among the lost.
    pub(crate) fn replace(&mut self, now: u64, boot: BootId, mac: [u8; 6], path: Path) {
        let mut lost = core::mem::take(&mut self.lost);
        if lost.len() == LOST_MAX {
            lost.pop_front();
        }
        lost.push_back(self.boot);
        let (queued, info) = (self.queued, self.info);
        *self = Peer::new(now, self.id, boot, mac, path);
        self.lost = lost;
        self.queued = queued;
        // Until it says more.
        self.info = info;
    }

    pub(crate) fn is_lost(&self, boot: BootId) -> bool {
        self.lost.contains(&boot)
    }

    /// Whether the peer has something to transmit: urgent packets (0), anything else (1).
    pub(crate) fn is_ready(&self, queue: usize) -> bool {
        match queue {
            0 => self.link.is_ready(Lane::Urgent),
            _ => {
                self.link.is_ready(Lane::Bulk)
                    || self.link.owes_ack()
                    || self.sink.is_ready()
                    || self.measurement.as_ref().is_some_and(|m| m.is_ready())
            }
        }
    }

    /// The next bulk packet, a page packed where that is faster.
    pub(crate) fn poll_bulk(
        &mut self,
        now: u64,
        packer: &mut Packer,
        header: &mut Header,
    ) -> Option<Payload<P>> {
        let Peer {
            link,
            choice,
            packed,
            ..
        } = self;
        let alone = link.is_alone(Lane::Bulk);
        link.poll_data(now, Lane::Bulk, header, |page| {
            let payload = packer.payload(choice, (now, alone), page);
            *packed += u64::from(payload.len() < PAYLOAD_MAX);
            payload
        })
    }

    /// When something is due for this peer.
    pub(crate) fn poll_timeout(&self) -> Option<u64> {
        let silent = match self.state {
            PeerState::Alive => Some(self.silence_from + SILENT_AFTER_NS),
            PeerState::Silent => None,
        };
        let measurement = self.measurement.as_ref().and_then(|m| m.poll_timeout());
        link::earliest([
            silent,
            measurement,
            self.link.poll_timeout(),
            self.sink.poll_timeout(),
            self.joiner.poll_timeout(),
        ])
    }

    pub(crate) fn view(&self, now: u64) -> PeerView {
        let link = self.link.counters();
        PeerView {
            id: self.id,
            boot: self.boot,
            mac: self.mac,
            state: self.state,
            last_heard_ns: self.last_heard,
            rtt_min_ns: self.link.rtt().min_ns(),
            rtt_smoothed_ns: self.link.rtt().smoothed_ns(),
            rtt_latest_ns: self.link.rtt().latest_ns(),
            clock_offset: self.link.clock().offset(now),
            info: self.info,
            wide: self.path.is_wide(),
            counters: Counters {
                sent: self.sent,
                retransmitted: link.retransmitted,
                received: self.received,
                duplicates: link.duplicates,
                dropped: self.dropped + link.dropped,
                packed: self.packed,
            },
        }
    }
}
