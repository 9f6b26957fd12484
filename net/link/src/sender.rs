//! The sending end of a lane: cut, number, transmit, keep until acknowledged.
//!
//! Law: a packet is kept until the peer has said that it has it. The ring is indexed by sequence
//! number; how many are in flight (`ring - received - lost`) is limited by whoever polls.

use crate::{Payload, Rtt, WINDOW, payload::Page};
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use wire::{BEHIND_ALL, Lane, PAYLOAD_MAX, PageTag, PayloadKind};

/// A packet is lost when one transmitted this many transmissions later has arrived.
pub const REORDER: u64 = 3;

/// So many timeouts in a row are no accident.
const STUCK: u32 = 5;

#[derive(Debug)]
enum Item<P> {
    Message(Arc<[u8]>),
    Page(PageTag, P),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    InFlight,
    Received,
    Lost,
}

#[derive(Debug)]
struct Slot<P> {
    payload: Payload<P>,
    tag: Option<PageTag>,
    kind: PayloadKind,
    state: State,
    behind: u8,
    again: bool,
    /// Counts the transmissions of the lane: tells what was sent after what.
    transmission: u64,
    sent_at: u64,
}

/// What a frame of the peer tells of a lane.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Told {
    /// Everything before this number has come.
    pub(crate) ack: u32,
    /// So far behind it, the packets of this map have come too.
    pub(crate) from: u16,
    pub(crate) sack: u64,
    /// The time in the newest of our frames that the peer had got, ns.
    pub(crate) heard_ns: u64,
}

/// A packet to transmit.
#[derive(Debug)]
pub(crate) struct Packet<P> {
    pub(crate) seq: u32,
    pub(crate) kind: PayloadKind,
    pub(crate) tag: Option<PageTag>,
    pub(crate) payload: Payload<P>,
    pub(crate) behind: u8,
    pub(crate) again: bool,
}

#[derive(Debug)]
pub(crate) struct Sender<P> {
    lane: Lane,
    /// The number of the last packet that has a place in the order.
    ordered: Option<u32>,
    queue: VecDeque<Item<P>>,
    /// Bytes of the message at the head of the queue that were cut off already.
    cut: usize,
    ring: VecDeque<Slot<P>>,
    /// The number of the packet at the head of the ring.
    first: u32,
    received: usize,
    lost: usize,
    /// No slot below this index of the ring is lost.
    lost_from: usize,
    transmissions: u64,
    /// The latest transmission known to have arrived, plus one.
    arrived: u64,
    deadline: Option<u64>,
    doublings: u32,
    /// The oldest packet is sent again, however many seem to be in flight.
    probe: bool,
}

impl<P: Page> Sender<P> {
    pub(crate) fn new(lane: Lane, first: u32) -> Sender<P> {
        Sender {
            lane,
            ordered: None,
            queue: VecDeque::new(),
            cut: 0,
            ring: VecDeque::new(),
            first,
            received: 0,
            lost: 0,
            lost_from: 0,
            transmissions: 0,
            arrived: 0,
            deadline: None,
            doublings: 0,
            probe: false,
        }
    }

    pub(crate) fn queue_message(&mut self, message: Arc<[u8]>) {
        if !message.is_empty() {
            self.queue.push_back(Item::Message(message));
        }
    }

    pub(crate) fn queue_page(&mut self, tag: PageTag, page: P) {
        self.queue.push_back(Item::Page(tag, page));
    }

    pub(crate) fn pending(&self) -> usize {
        self.queue.len() + self.ring.len()
    }

    /// What the peer is not known to have.
    pub(crate) fn unheard(&self) -> usize {
        self.pending() - self.received
    }

    /// Whether the peer is not known to have a page whose tag is like this.
    pub(crate) fn keeps_page(&self, like: impl Fn(&PageTag) -> bool) -> bool {
        self.pages(|slot| slot.state != State::Received).any(like)
    }

    /// Whether a page whose tag is like this may not have been handed on at the peer: what it has may wait there
    /// for something before it.
    pub(crate) fn holds_page(&self, like: impl Fn(&PageTag) -> bool) -> bool {
        self.pages(|_| true).any(like)
    }

    /// The pages of some of the packets that are not acknowledged in order, and those that no packet was made of.
    fn pages(&self, counts: impl Fn(&Slot<P>) -> bool) -> impl Iterator<Item = &PageTag> {
        let ring = self.ring.iter().filter(move |slot| counts(slot));
        let queue = self.queue.iter().filter_map(|item| match item {
            Item::Page(tag, _) => Some(tag),
            Item::Message(_) => None,
        });
        ring.filter_map(|slot| slot.tag.as_ref()).chain(queue)
    }

    /// Whether nothing has come through for several timeouts.
    pub(crate) fn is_stuck(&self) -> bool {
        self.doublings >= STUCK
    }

    pub(crate) fn deadline(&self) -> Option<u64> {
        self.deadline
    }

    /// Packets on the way, as far as is known.
    pub(crate) fn in_flight(&self) -> usize {
        self.ring.len() - self.received - self.lost
    }

    /// Whether [`Sender::poll`] would return a packet that so many in flight allow.
    pub(crate) fn is_ready(&self, allowed: usize) -> bool {
        if self.lost > 0 && self.probe {
            return true;
        }
        let more = self.ring.len() < WINDOW && !self.queue.is_empty();
        self.in_flight() < allowed && (self.lost > 0 || more)
    }

    /// What to transmit next if the sender is ready: lost packets first. A page that leaves for the first time becomes
    /// what `pack` makes of it.
    pub(crate) fn poll(
        &mut self,
        now: u64,
        rtt: &Rtt,
        pack: impl FnOnce(&P) -> Payload<P>,
    ) -> Option<Packet<P>> {
        let index = if self.lost > 0 {
            let offset = self
                .ring
                .range(self.lost_from..)
                .position(|slot| slot.state == State::Lost)
                .expect("lost packets are in the ring");
            self.lost -= 1;
            self.probe = false;
            self.lost_from += offset + 1;
            let slot = &mut self.ring[self.lost_from - 1];
            slot.state = State::InFlight;
            slot.again = true;
            self.lost_from - 1
        } else {
            let slot = self.cut_next(pack)?;
            self.ring.push_back(slot);
            self.ring.len() - 1
        };
        let slot = &mut self.ring[index];
        slot.transmission = self.transmissions;
        slot.sent_at = now;
        self.transmissions += 1;
        if self.deadline.is_none() {
            self.deadline = Some(now + rtt.timeout_ns(self.doublings));
        }
        Some(Packet {
            seq: self.first.wrapping_add(index as u32),
            kind: slot.kind,
            tag: slot.tag,
            payload: slot.payload.clone(),
            behind: slot.behind,
            again: slot.again,
        })
    }

    /// The place in the order of the packet that is cut next.
    fn place(&mut self, kind: PayloadKind, tag: Option<PageTag>) -> u8 {
        let free = match kind {
            PayloadKind::Page => tag.is_none_or(|tag| !tag.is_file()),
            PayloadKind::Whole => self.lane == Lane::Bulk,
            _ => false,
        };
        if free {
            return 0;
        }
        let seq = self.first.wrapping_add(self.ring.len() as u32);
        let before = self.ordered.replace(seq);
        let distance = before.map(|before| seq.wrapping_sub(before));
        distance.map_or(BEHIND_ALL, |distance| {
            u8::try_from(distance).unwrap_or(BEHIND_ALL)
        })
    }

    /// Cuts the next packet off the queue.
    fn cut_next(&mut self, pack: impl FnOnce(&P) -> Payload<P>) -> Option<Slot<P>> {
        let (payload, tag, kind) = match self.queue.front()? {
            Item::Page(tag, page) => (pack(page), Some(*tag), PayloadKind::Page),
            Item::Message(bytes) => {
                let start = self.cut;
                let end = bytes.len().min(start + PAYLOAD_MAX);
                let kind = match (start == 0, end == bytes.len()) {
                    (true, true) => PayloadKind::Whole,
                    (true, false) => PayloadKind::First,
                    (false, false) => PayloadKind::Middle,
                    (false, true) => PayloadKind::Last,
                };
                self.cut = end;
                (Payload::Bytes(bytes.clone(), start..end), None, kind)
            }
        };
        if matches!(
            kind,
            PayloadKind::Whole | PayloadKind::Last | PayloadKind::Page
        ) {
            self.queue.pop_front();
            self.cut = 0;
        }
        Some(Slot {
            behind: self.place(kind, tag),
            payload,
            tag,
            kind,
            state: State::InFlight,
            again: false,
            transmission: 0,
            sent_at: 0,
        })
    }

    /// Old and impossible acknowledgements change nothing.
    pub(crate) fn handle_ack(&mut self, now: u64, told: Told, rtt: &Rtt) {
        let Told {
            ack,
            sack,
            heard_ns,
            ..
        } = told;
        let advance = ack.wrapping_sub(self.first) as usize;
        if advance > self.ring.len() {
            return;
        }
        let mut news = 0;
        for _ in 0..advance {
            let slot = self.ring.pop_front().expect("checked against the length");
            match slot.state {
                State::Received => {
                    self.received -= 1;
                    continue;
                }
                State::Lost => self.lost -= 1,
                State::InFlight => {}
            }
            news += 1;
            self.note_arrival(&slot, heard_ns);
        }
        self.first = ack;
        self.lost_from = self.lost_from.saturating_sub(advance);
        if sack != 0 {
            news += self.handle_sack(told);
        }
        if news == 0 {
            return;
        }
        self.doublings = 0;
        self.deadline = (!self.ring.is_empty()).then(|| now + rtt.timeout_ns(0));
        let front = self.ring.front();
        if sack != 0 || front.is_some_and(|slot| slot.transmission < self.arrived) {
            self.find_lost(told);
        }
    }

    fn handle_sack(&mut self, told: Told) -> usize {
        let Told {
            from,
            sack,
            heard_ns,
            ..
        } = told;
        let mut news = 0;
        let mut bits = sack;
        while bits != 0 {
            // The packet `ack` itself is missing: bit 0 is the one behind it.
            let index = bits.trailing_zeros() as usize + 1 + usize::from(from);
            bits &= bits - 1;
            let Some(slot) = self.ring.get_mut(index) else {
                break;
            };
            match slot.state {
                State::Received => continue,
                State::Lost => self.lost -= 1,
                State::InFlight => {}
            }
            slot.state = State::Received;
            self.received += 1;
            news += 1;
            let arrived = Slot {
                payload: core::mem::replace(&mut slot.payload, Payload::None),
                ..*slot
            };
            self.note_arrival(&arrived, heard_ns);
        }
        news
    }

    fn note_arrival(&mut self, slot: &Slot<P>, heard_ns: u64) {
        // What the peer has not heard yet is not what it has got: an earlier transmission came, late.
        if !slot.again || heard_ns >= slot.sent_at {
            self.arrived = self.arrived.max(slot.transmission + 1);
        }
    }

    /// Marks what must be lost because much later transmissions have arrived. Of what lies outside of
    /// the map nothing is known, but for the packet that is expected; if the map is empty, nothing has
    /// come behind that.
    fn find_lost(&mut self, told: Told) {
        let map = match told.sack {
            0 => 1..self.ring.len(),
            _ => {
                let start = 1 + usize::from(told.from);
                start..self.ring.len().min(start + u64::BITS as usize)
            }
        };
        for index in (0..self.ring.len().min(1)).chain(map) {
            let slot = &mut self.ring[index];
            if slot.state == State::InFlight && slot.transmission + REORDER < self.arrived {
                slot.state = State::Lost;
                self.lost += 1;
                self.lost_from = self.lost_from.min(index);
            }
        }
    }

    /// Nothing new was acknowledged for too long: sends the oldest packet again. What else was lost
    /// shows when that one arrives.
    pub(crate) fn handle_timeout(&mut self, now: u64, rtt: &Rtt) {
        if self.deadline.is_none_or(|deadline| deadline > now) {
            return;
        }
        if self.ring.is_empty() {
            self.deadline = None;
            return;
        }
        // An honest peer never leaves a `Received` packet at the head: it acknowledges past it.
        let slot = &mut self.ring[0];
        if slot.state == State::InFlight {
            slot.state = State::Lost;
            self.lost += 1;
            self.lost_from = 0;
        }
        self.probe = true;
        self.doublings = (self.doublings + 1).min(16);
        self.deadline = Some(now + rtt.timeout_ns(self.doublings));
    }
}
