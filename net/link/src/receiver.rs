//! The receiving end of a lane: order, duplicates, reassembly.
//!
//! Law: each number is delivered once. A packet that has no place in the order is delivered when it
//! comes, any other after the one that it names. A peer can make this end hold at most [`WINDOW`]
//! payloads and one message of [`MESSAGE_MAX`] bytes.

use crate::{REORDER, WINDOW, payload::Page};
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use wire::{BEHIND_ALL, Header, MESSAGE_MAX, Message, PageTag, PayloadKind};

/// Packets in a map of what was received.
const MAP: usize = u64::BITS as usize;
/// A longer reassembly buffer is given back after use.
const BUFFER_KEPT: usize = 64 << 10;

/// What came out of a lane.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Delivered<P> {
    /// A message and its size on the wire.
    Message(Message, usize),
    /// A page.
    Page(PageTag, P),
}

/// What a Data frame turned out to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Arrival {
    /// The next one, and nothing is missing.
    InOrder,
    /// A gap opened, just now or a few packets ago, or closed.
    Gap,
    /// A gap stays open.
    StillGap,
    /// It was here already.
    Duplicate,
    /// Too far ahead.
    OutOfWindow,
}

#[derive(Debug)]
struct Packet<P> {
    kind: PayloadKind,
    tag: PageTag,
    behind: u8,
    length: usize,
    payload: P,
}

/// A number from the one expected on.
#[derive(Debug)]
enum Place<P> {
    Missing,
    /// It came, and what it has to come after did not.
    Held(Packet<P>),
    Done,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Assembly {
    /// Between messages.
    Idle,
    /// In a message; its beginning is in the buffer.
    Open,
    /// In a message that is not wanted any more.
    Skipping,
}

#[derive(Debug)]
pub(crate) struct Receiver<P> {
    /// The lowest number that has not come.
    expected: u32,
    /// From that number on. Empty while no gap is open.
    places: VecDeque<Place<P>>,
    /// How many of the places are held.
    held: usize,
    /// The place of the newest packet behind a gap.
    newest: usize,
    assembly: Assembly,
    buffer: Vec<u8>,
    #[cfg(feature = "canary")]
    broken: bool,
    #[cfg(feature = "canary")]
    impatient: bool,
}

#[cfg(feature = "canary")]
impl<P> Receiver<P> {
    pub(crate) fn deliver_duplicates(&mut self) {
        self.broken = true;
    }

    pub(crate) fn forget_order(&mut self) {
        self.impatient = true;
    }
}

impl<P: Page> Receiver<P> {
    pub(crate) fn new(first: u32) -> Receiver<P> {
        Receiver {
            expected: first,
            places: VecDeque::new(),
            held: 0,
            newest: 0,
            assembly: Assembly::Idle,
            buffer: Vec::new(),
            #[cfg(feature = "canary")]
            broken: false,
            #[cfg(feature = "canary")]
            impatient: false,
        }
    }

    /// The number expected next, and a map of what is there behind it: of what comes first, or, if the
    /// map need not begin there, of the packets up to the newest one, and where it begins.
    pub(crate) fn ack(&self, anywhere: bool) -> (u32, u16, u64) {
        if self.places.is_empty() {
            return (self.expected, 0, 0);
        }
        let from = match anywhere {
            true => self.newest.saturating_sub(MAP),
            false => 0,
        };
        let behind = self.places.iter().skip(1 + from).take(MAP);
        let sack = behind.enumerate().fold(0, |sack, (bit, place)| {
            sack | u64::from(!matches!(place, Place::Missing)) << bit
        });
        (self.expected, from as u16, sack)
    }

    pub(crate) fn handle(
        &mut self,
        header: &Header,
        payload: P,
        broken: &mut u64,
        deliver: &mut impl FnMut(Delivered<P>),
    ) -> Arrival {
        let place = header.seq.get().wrapping_sub(self.expected);
        if place >= 1 << 31 {
            #[cfg(feature = "canary")]
            if self.broken && header.payload_kind() == PayloadKind::Page {
                deliver(Delivered::Page(header.page_tag(), payload));
            }
            return Arrival::Duplicate;
        }
        let place = place as usize;
        if place >= WINDOW {
            return Arrival::OutOfWindow;
        }
        let packet = Packet {
            kind: header.payload_kind(),
            tag: header.page_tag(),
            behind: header.behind,
            length: header.payload_length(),
            payload,
        };
        if place == 0 && self.places.is_empty() {
            self.expected = self.expected.wrapping_add(1);
            self.accept(packet, broken, deliver);
            return Arrival::InOrder;
        }
        if self.places.len() <= place {
            self.places.resize_with(place + 1, || Place::Missing);
        }
        if !matches!(self.places[place], Place::Missing) {
            return Arrival::Duplicate;
        }
        self.newest = place;
        if self.may_pass(&packet, place, 0) {
            self.places[place] = Place::Done;
            self.accept(packet, broken, deliver);
        } else {
            self.places[place] = Place::Held(packet);
            self.held += 1;
        }
        if self.held > 0 {
            self.release(broken, deliver);
        }
        while let Some(Place::Done) = self.places.front() {
            self.places.pop_front();
            self.expected = self.expected.wrapping_add(1);
            self.newest = self.newest.saturating_sub(1);
        }
        // The first packets behind a hole are told at once: by them the sender knows it is one.
        match place as u64 <= REORDER + 1 {
            true => Arrival::Gap,
            false => Arrival::StillGap,
        }
    }

    /// Whether a packet at this place has waited for all that it has to; so many at the front are done.
    fn may_pass(&self, packet: &Packet<P>, place: usize, done: usize) -> bool {
        #[cfg(feature = "canary")]
        if self.impatient && packet.kind == PayloadKind::Page {
            return true;
        }
        let Some(before) = place.checked_sub(usize::from(packet.behind)) else {
            return true;
        };
        match packet.behind {
            0 => true,
            BEHIND_ALL => before < done,
            _ => matches!(self.places[before], Place::Done),
        }
    }

    /// Delivers what has waited for what has just come. What a packet waits for is before it, so once
    /// through is enough.
    fn release(&mut self, broken: &mut u64, deliver: &mut impl FnMut(Delivered<P>)) {
        let mut done = 0;
        for at in 0..self.places.len() {
            if let Place::Held(packet) = &self.places[at]
                && self.may_pass(packet, at, done)
                && let Place::Held(packet) = core::mem::replace(&mut self.places[at], Place::Done)
            {
                self.held -= 1;
                self.accept(packet, broken, deliver);
            }
            if done == at && matches!(self.places[at], Place::Done) {
                done += 1;
            }
            if self.held == 0 {
                return;
            }
        }
    }

    /// Takes a packet whose turn it is.
    fn accept(
        &mut self,
        packet: Packet<P>,
        broken: &mut u64,
        deliver: &mut impl FnMut(Delivered<P>),
    ) {
        match packet.kind {
            PayloadKind::Page => deliver(Delivered::Page(packet.tag, packet.payload)),
            PayloadKind::Whole if packet.behind == 0 => {
                let mut bytes = alloc::vec![0; packet.length];
                packet.payload.read(0, &mut bytes);
                decode(&bytes, broken, deliver);
            }
            PayloadKind::Whole | PayloadKind::First => {
                if self.assembly != Assembly::Idle {
                    // The message before had no end. A page inside a message is none of our
                    // business, but a message inside a message is.
                    *broken += 1;
                }
                self.buffer.clear();
                self.assembly = Assembly::Open;
                self.append(&packet, broken);
            }
            PayloadKind::Middle | PayloadKind::Last => match self.assembly {
                Assembly::Open => self.append(&packet, broken),
                Assembly::Skipping => {}
                Assembly::Idle => *broken += 1,
            },
            PayloadKind::None
            | PayloadKind::Info
            | PayloadKind::Filler
            | PayloadKind::Gossip
            | PayloadKind::Handshake => *broken += 1,
        }
        let ends = match packet.kind {
            PayloadKind::Whole => packet.behind != 0,
            kind => kind == PayloadKind::Last,
        };
        if ends {
            self.finish(broken, deliver);
        }
    }

    fn append(&mut self, packet: &Packet<P>, broken: &mut u64) {
        let start = self.buffer.len();
        if start + packet.length > MESSAGE_MAX {
            *broken += 1;
            self.assembly = Assembly::Skipping;
            self.buffer = Vec::new();
            return;
        }
        self.buffer.resize(start + packet.length, 0);
        packet.payload.read(0, &mut self.buffer[start..]);
    }

    fn finish(&mut self, broken: &mut u64, deliver: &mut impl FnMut(Delivered<P>)) {
        let whole = self.assembly == Assembly::Open;
        self.assembly = Assembly::Idle;
        if !whole {
            return;
        }
        decode(&self.buffer, broken, deliver);
        if self.buffer.capacity() > BUFFER_KEPT {
            self.buffer = Vec::new();
        }
    }
}

fn decode<P>(bytes: &[u8], broken: &mut u64, deliver: &mut impl FnMut(Delivered<P>)) {
    match Message::decode(bytes) {
        Ok(message) => deliver(Delivered::Message(message, bytes.len())),
        Err(_) => *broken += 1,
    }
}
