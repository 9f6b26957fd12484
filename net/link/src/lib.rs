//! Two reliable, ordered lanes between one boot of one node and one boot of another.
//!
//! Law: what one side queues on a lane comes out at the other side exactly once and in order, for as
//! long as both boots live; the link never gives up. It knows no clock (`now` is passed, in ns) and
//! does no I/O. Work per frame is constant while nothing is lost, and bounded by [`WINDOW`] steps
//! when something was; memory for arriving data is bounded by [`WINDOW`] packets and one message per
//! lane, whatever the peer sends.
//!
//! * Each lane numbers its packets from 0. At most [`WINDOW`] of them are in flight.
//! * Every frame, of whatever kind, carries what was received so far on both lanes. A frame of its own
//!   for that is sent at once when a gap opens or closes and for a duplicate, with every
//!   [`ACK_EVERY`]th packet (every fourth of them while a gap is open), and otherwise after
//!   [`ACK_DELAY_NS`]: so a call and its reply are one frame each way.
//! * A packet is lost when [`REORDER`] packets *transmitted* after it have arrived, or by a timeout
//!   (RFC 6298 with a floor of 2 ms, doubling up to 200 ms).
//! * The window grows while acknowledgements come back soon and shrinks when frames queue up on the
//!   way: a full queue adds nothing to the throughput, but an urgent packet must wait behind it.
//! * Which boots are joined by a link, and when it is thrown away, is decided by the crate `node`.
#![no_std]

extern crate alloc;

mod clock;
mod payload;
mod receiver;
mod sender;

pub use clock::{Clock, Rtt};
pub use payload::{Page, Payload};
pub use receiver::{ACK_EVERY, Delivered};
pub use sender::REORDER;

use alloc::sync::Arc;
use receiver::{Arrival, Receiver};
use sender::Sender;
use wire::{Header, Kind, Lane, PageTag};

/// Packets of one lane in flight at most, and packets kept by a receiver that waits for one.
pub const WINDOW: usize = 256;
/// How long an acknowledgement waits for a frame that takes it along.
pub const ACK_DELAY_NS: u64 = 1_000_000;
/// How many items on a lane, queued or in flight, keep it busy without wasting memory.
pub const ROOM: usize = 2 * WINDOW;

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
            senders: [Sender::new(first), Sender::new(first)],
            receivers: [Receiver::new(first), Receiver::new(first)],
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
        ROOM.saturating_sub(self.senders[lane as usize].pending())
    }

    /// Whether everything queued on the lane was acknowledged.
    pub fn is_idle(&self, lane: Lane) -> bool {
        self.senders[lane as usize].pending() == 0
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
    /// boot. For a Data frame call [`Link::handle_data`] next.
    pub fn handle_header(&mut self, now: u64, header: &Header) {
        let sent_ns = header.sent_ns.get();
        if sent_ns > self.newest_ns {
            self.newest_ns = sent_ns;
            self.newest_at = now;
            let echo_ns = header.echo_ns.get();
            let held_ns = u64::from(header.held_ns.get());
            if echo_ns != 0 && echo_ns.saturating_add(held_ns) <= now {
                let rtt_ns = now - echo_ns - held_ns;
                self.rtt.sample(rtt_ns);
                self.clock.sample(now, sent_ns, rtt_ns);
            }
        }
        for lane in 0..2 {
            let (ack, sack) = (header.ack[lane].get(), header.sack[lane].get());
            self.senders[lane].handle_ack(now, ack, sack, &self.rtt);
        }
    }

    /// Takes the packet of a checked Data frame; what became deliverable goes to `deliver`, in order.
    pub fn handle_data(
        &mut self,
        now: u64,
        header: &Header,
        payload: P,
        deliver: &mut impl FnMut(Delivered<P>),
    ) {
        let receiver = &mut self.receivers[header.lane as usize & 1];
        let arrival = receiver.handle(header, payload, &mut self.counters.dropped, deliver);
        match arrival {
            Arrival::InOrder => {
                self.owed += 1;
                if self.owed >= ACK_EVERY {
                    self.ack_now = true;
                } else if self.ack_deadline.is_none() {
                    self.ack_deadline = Some(now + ACK_DELAY_NS);
                }
            }
            Arrival::Gap => self.ack_now = true,
            Arrival::StillGap => {
                self.owed += ACK_EVERY / 4;
                self.ack_now |= self.owed >= ACK_EVERY;
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
        [ack, self.senders[0].deadline(), self.senders[1].deadline()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Whether [`Link::poll_data`] would return a packet of the lane.
    pub fn is_ready(&self, lane: Lane) -> bool {
        self.senders[lane as usize].is_ready()
    }

    /// The next packet of the lane: fills in `header` (a fresh one) and returns the payload.
    pub fn poll_data(&mut self, now: u64, lane: Lane, header: &mut Header) -> Option<Payload<P>> {
        let packet = self.senders[lane as usize].poll(now, &self.rtt)?;
        if packet.again {
            self.counters.retransmitted += 1;
        }
        header.kind = Kind::Data as u8;
        header.lane = lane as u8;
        header.payload_kind = packet.kind as u8;
        header.length = (packet.payload.len() as u16).into();
        header.seq = packet.seq.into();
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
            let (ack, sack) = self.receivers[lane].ack();
            header.ack[lane] = ack.into();
            header.sack[lane] = sack.into();
        }
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
}

#[cfg(test)]
mod tests;
