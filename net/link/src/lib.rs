//! Two reliable lanes between one boot of one node and one boot of another.
//!
//! Law: what one side queues on a lane comes out at the other side exactly once, for as long as both
//! boots live; the link never gives up. **Messages and pages of files on the urgent lane come out in
//! their order; a page of memory, and whatever is on the bulk lane, when it is there**: nobody waits
//! for what another one has lost. It knows no clock (`now` is passed, in ns) and
//! does no I/O. Work per frame is constant while nothing is lost, and bounded by [`WINDOW`] steps
//! when something was; memory for arriving data is bounded by [`WINDOW`] packets and one message per
//! lane, whatever the peer sends.
//!
//! * Each lane numbers its packets from 0. At most [`WINDOW`] of them are kept until they are known to
//!   have come. A packet that has a place in the order names the one before it.
//! * **The receiver says how many packets may be in flight** (its share, in every frame): it alone knows
//!   who else sends to it. Urgent packets go first, and a few of them whatever the share is.
//! * Every frame, of whatever kind, carries what was received so far on both lanes. A frame of its own
//!   for that is sent at once when a gap opens or closes and for a duplicate, several times for each
//!   share, at least with every [`ACK_EVERY`]th packet (four times as often while a gap is open), and
//!   otherwise after [`ACK_DELAY_NS`]: so a call and its reply are one frame each way.
//! * A packet is lost when [`REORDER`] packets *transmitted* after it have arrived, or by a timeout
//!   (RFC 6298 with a floor of 2 ms, doubling up to 200 ms).
//! * Which boots are joined by a link, when it is thrown away, and what its share is, is decided by the
//!   crate `node`.
#![no_std]

extern crate alloc;

mod clock;
mod payload;
mod receiver;
mod sender;

pub use clock::{Clock, Rtt};
pub use payload::{Page, Payload};
pub use receiver::Delivered;
pub use sender::REORDER;

use alloc::sync::Arc;
use receiver::{Arrival, Receiver};
use sender::{Sender, Told};
use wire::{Header, Kind, Lane, PageTag};

/// Packets of one lane kept by a sender at most, and by a receiver that waits for one.
pub const WINDOW: usize = 512;
/// Packets in flight before the receiver has said anything.
pub const SHARE_START: u8 = 64;
/// So many urgent packets may be in flight whatever the share is: calls do not wait for pages.
const URGENT_MIN: usize = 16;
/// An acknowledgement goes out at the latest with every so many packets.
pub const ACK_EVERY: u32 = 16;
/// How long an acknowledgement waits for a frame that takes it along.
pub const ACK_DELAY_NS: u64 = 1_000_000;
/// How many items on a lane, queued or in flight, are not too many.
pub const ROOM: usize = WINDOW;
/// Of pushed pages so many wait for their turn, which keeps the lane busy: somebody may come to wait for one
/// of them, and what is queued already cannot go before the others any more.
pub const AHEAD: usize = 32;

/// The first of some times, if there is any. Every round of a node asks for it, once for each peer.
pub fn earliest<const N: usize>(times: [Option<u64>; N]) -> Option<u64> {
    let first = times
        .into_iter()
        .fold(u64::MAX, |first, at| first.min(at.unwrap_or(u64::MAX)));
    (first != u64::MAX).then_some(first)
}

/// What was counted on a link.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LinkCounters {
    /// Data frames sent again.
    pub retransmitted: u64,
    /// Data frames received that were there already.
    pub duplicates: u64,
    /// Data frames out of the window, and messages that were broken.
    pub dropped: u64,
}

/// One end of a link.
#[derive(Debug)]
pub struct Link<P> {
    senders: [Sender<P>; 2],
    receivers: [Receiver<P>; 2],
    /// Packets in flight that the peer allows us, and we the peer.
    allowed: u8,
    share: u8,
    /// Packets that are acknowledged together.
    together: u32,
    rtt: Rtt,
    clock: Clock,
    /// The peer's clock in the newest frame from it, and when that came; 0: nothing came yet.
    newest_ns: u64,
    newest_at: u64,
    /// Data frames received since our last frame.
    owed: u32,
    ack_now: bool,
    ack_deadline: Option<u64>,
    counters: LinkCounters,
}

impl<P: Page> Default for Link<P> {
    fn default() -> Self {
        Link::new()
    }
}

impl<P: Page> Link<P> {
    /// A link on which nothing was sent.
    pub fn new() -> Link<P> {
        Link::starting_at(0)
    }

    /// A link whose first packets have this number; both ends must agree.
    fn starting_at(first: u32) -> Link<P> {
        Link {
            senders: Lane::ALL.map(|lane| Sender::new(lane, first)),
            receivers: [Receiver::new(first), Receiver::new(first)],
            allowed: SHARE_START,
            share: SHARE_START,
            together: u32::from(SHARE_START) / 8,
            rtt: Rtt::default(),
            clock: Clock::default(),
            newest_ns: 0,
            newest_at: 0,
            owed: 0,
            ack_now: false,
            ack_deadline: None,
            counters: LinkCounters::default(),
        }
    }

    /// Queues an encoded message of 1 to [`wire::MESSAGE_MAX`] bytes.
    pub fn send(&mut self, lane: Lane, message: Arc<[u8]>) {
        self.senders[lane as usize].queue_message(message);
    }

    /// Queues a page.
    pub fn send_page(&mut self, lane: Lane, tag: PageTag, page: P) {
        self.senders[lane as usize].queue_page(tag, page);
    }

    /// How many more items it makes sense to queue on the lane now.
    pub fn room(&self, lane: Lane) -> usize {
        let sender = &self.senders[lane as usize];
        let room = ROOM.saturating_sub(sender.pending());
        match lane {
            Lane::Urgent => room,
            Lane::Bulk => {
                let wanted = AHEAD + usize::from(self.allowed);
                room.min(wanted.saturating_sub(sender.unheard()))
            }
        }
    }

    /// Whether everything queued on the lane was acknowledged.
    pub fn is_idle(&self, lane: Lane) -> bool {
        self.senders[lane as usize].pending() == 0
    }

    /// Whether a page whose tag is like this was queued on any lane and not acknowledged. It looks at all that is.
    pub fn keeps_page(&self, like: impl Fn(&PageTag) -> bool) -> bool {
        self.senders.iter().any(|sender| sender.keeps_page(&like))
    }

    /// Whether a page whose tag is like this was queued on a lane and may not have been handed on by the peer.
    pub fn holds_page(&self, lane: Lane, like: impl Fn(&PageTag) -> bool) -> bool {
        self.senders[lane as usize].holds_page(like)
    }

    /// Whether nothing that waits to be acknowledged has come through for several timeouts.
    pub fn is_stuck(&self) -> bool {
        self.senders.iter().any(Sender::is_stuck)
    }

    /// Round trips seen.
    pub fn rtt(&self) -> &Rtt {
        &self.rtt
    }

    /// The peer's clock.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Counters.
    pub fn counters(&self) -> LinkCounters {
        self.counters
    }

    /// Takes times and acknowledgements from a checked frame of any kind that the peer sent to this
    /// boot. For a Data frame call [`Link::handle_data`] next. Returns the round trip that the frame
    /// tells, ns.
    pub fn handle_header(&mut self, now: u64, header: &Header) -> Option<u64> {
        let mut round_trip = None;
        let sent_ns = header.sent_ns.get();
        if sent_ns > self.newest_ns {
            self.newest_ns = sent_ns;
            self.newest_at = now;
            let echo_ns = header.echo_ns.get();
            let held_ns = u64::from(header.held_ns.get());
            if echo_ns != 0 && echo_ns.saturating_add(held_ns) <= now {
                let rtt_ns = now - echo_ns - held_ns;
                round_trip = Some(rtt_ns);
                self.rtt.sample(rtt_ns);
                self.clock.sample(now, sent_ns, rtt_ns);
            }
        }
        if header.share != 0 {
            self.allowed = header.share;
        }
        for (lane, from) in [(0, 0), (1, header.sack_from.get())] {
            let told = Told {
                ack: header.ack[lane].get(),
                from,
                sack: header.sack[lane].get(),
                heard_ns: header.echo_ns.get(),
            };
            self.senders[lane].handle_ack(now, told, &self.rtt);
        }
        round_trip
    }

    /// Takes the packet of a checked Data frame; what can come out goes to `deliver`.
    pub fn handle_data(
        &mut self,
        now: u64,
        header: &Header,
        payload: P,
        deliver: &mut impl FnMut(Delivered<P>),
    ) {
        let together = self.together;
        let receiver = &mut self.receivers[header.lane as usize & 1];
        let arrival = receiver.handle(header, payload, &mut self.counters.dropped, deliver);
        match arrival {
            Arrival::InOrder => {
                self.owed += 1;
                if self.owed >= together {
                    self.ack_now = true;
                } else if self.ack_deadline.is_none() {
                    self.ack_deadline = Some(now + ACK_DELAY_NS);
                }
            }
            Arrival::Gap => self.ack_now = true,
            Arrival::StillGap => {
                self.owed += together.div_ceil(4);
                self.ack_now |= self.owed >= together;
                self.ack_deadline.get_or_insert(now + ACK_DELAY_NS);
            }
            Arrival::Duplicate => {
                self.counters.duplicates += 1;
                self.ack_now = true;
            }
            Arrival::OutOfWindow => {
                self.counters.dropped += 1;
                self.ack_now = true;
            }
        }
    }

    /// Does what is due. A spurious call changes nothing.
    pub fn handle_timeout(&mut self, now: u64) {
        if self.ack_deadline.is_some_and(|deadline| deadline <= now) {
            self.ack_now = true;
        }
        for sender in &mut self.senders {
            sender.handle_timeout(now, &self.rtt);
        }
    }

    /// When [`Link::handle_timeout`] is due; not while something waits to be transmitted at once.
    pub fn poll_timeout(&self) -> Option<u64> {
        let ack = if self.ack_now {
            None
        } else {
            self.ack_deadline
        };
        earliest([ack, self.senders[0].deadline(), self.senders[1].deadline()])
    }

    /// Whether [`Link::poll_data`] would return a packet of the lane.
    pub fn is_ready(&self, lane: Lane) -> bool {
        let allowed = usize::from(self.allowed);
        let [urgent, bulk] = &self.senders;
        match lane {
            Lane::Urgent => urgent.is_ready(allowed.max(URGENT_MIN)),
            Lane::Bulk => {
                let others = urgent.in_flight().saturating_sub(URGENT_MIN / 2);
                bulk.is_ready(allowed.saturating_sub(others))
            }
        }
    }

    /// How many packets the peer may have in flight to us, which the next frame says, and how many of
    /// them are acknowledged together.
    pub fn set_share(&mut self, share: u8, together: u32) {
        self.share = share.max(1);
        self.together = together.clamp(1, ACK_EVERY);
    }

    /// Whether nothing is under way on the lane in front of the one item that waits there, if any does.
    pub fn is_alone(&self, lane: Lane) -> bool {
        self.senders[lane as usize].pending() <= 1
    }

    /// The next packet of the lane: fills in `header` (a fresh one) and returns the payload. `pack` says what travels of a
    /// page that leaves for the first time.
    pub fn poll_data(
        &mut self,
        now: u64,
        lane: Lane,
        header: &mut Header,
        pack: impl FnOnce(&P) -> Payload<P>,
    ) -> Option<Payload<P>> {
        if !self.is_ready(lane) {
            return None;
        }
        let packet = self.senders[lane as usize].poll(now, &self.rtt, pack)?;
        if packet.again {
            self.counters.retransmitted += 1;
        }
        header.kind = Kind::Data as u8;
        header.lane = lane as u8;
        header.payload_kind = packet.kind as u8;
        header.length = (packet.payload.len() as u16).into();
        header.seq = packet.seq.into();
        header.behind = packet.behind;
        if let Some(tag) = packet.tag {
            header.set_page_tag(tag);
        }
        self.fill(now, header);
        Some(packet.payload)
    }

    /// The peer waits for the acknowledgement of what has come: it does not wait for company.
    pub fn acknowledge(&mut self) {
        self.ack_now |= self.owed > 0;
    }

    /// Whether a frame must go out only to acknowledge: take any header, [`Link::fill`] it, send it.
    pub fn owes_ack(&self) -> bool {
        self.ack_now
    }

    /// Writes times and acknowledgements into a frame that is transmitted now. Every frame to the
    /// peer passes here.
    pub fn fill(&mut self, now: u64, header: &mut Header) {
        for lane in 0..2 {
            let (ack, from, sack) = self.receivers[lane].ack(lane == Lane::Bulk as usize);
            header.ack[lane] = ack.into();
            header.sack[lane] = sack.into();
            header.sack_from = from.into();
        }
        header.share = self.share;
        header.sent_ns = now.into();
        if self.newest_ns != 0
            && let Ok(held_ns) = u32::try_from(now.saturating_sub(self.newest_at))
        {
            header.echo_ns = self.newest_ns.into();
            header.held_ns = held_ns.into();
        }
        self.owed = 0;
        self.ack_now = false;
        self.ack_deadline = None;
    }
}

#[cfg(feature = "canary")]
impl<P: Page> Link<P> {
    /// Breaks the link on purpose: packets that were delivered already are delivered again. A
    /// simulator that does not notice this is worth nothing.
    pub fn deliver_duplicates(&mut self) {
        for receiver in &mut self.receivers {
            receiver.deliver_duplicates();
        }
    }

    /// Breaks the link on purpose: pages of files do not wait for what is before them.
    pub fn forget_order(&mut self) {
        for receiver in &mut self.receivers {
            receiver.forget_order();
        }
    }
}

#[cfg(test)]
mod tests;
