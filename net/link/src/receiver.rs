//! The receiving end of a lane: order, duplicates, reassembly.
//!
//! Law: delivered in order, each number once. A peer can make this end hold at most [`WINDOW`]
//! payloads and one message of [`MESSAGE_MAX`] bytes.

use crate::{REORDER, WINDOW, payload::Page};
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use wire::{Header, MESSAGE_MAX, Message, PageTag, PayloadKind};

/// An acknowledgement goes out at the latest with every so many packets.
pub const ACK_EVERY: u32 = 16;
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
    length: usize,
    payload: P,
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
    /// The number of the next packet to deliver.
    expected: u32,
    /// Packets that wait: the head would be `expected`, which is missing. Empty while no gap is open.
    waiting: VecDeque<Option<Packet<P>>>,
    assembly: Assembly,
    buffer: Vec<u8>,
    #[cfg(feature = "canary")]
    broken: bool,
}

#[cfg(feature = "canary")]
impl<P> Receiver<P> {
    pub(crate) fn deliver_duplicates(&mut self) {
        self.broken = true;
    }
}

impl<P: Page> Receiver<P> {
    pub(crate) fn new(first: u32) -> Receiver<P> {
        Receiver {
            expected: first,
            waiting: VecDeque::new(),
            assembly: Assembly::Idle,
            buffer: Vec::new(),
            #[cfg(feature = "canary")]
            broken: false,
        }
    }

    /// The number expected next and a map of what is there behind it.
    pub(crate) fn ack(&self) -> (u32, u64) {
        let behind = self.waiting.iter().skip(1).take(64);
        let sack = behind.enumerate().fold(0, |sack, (bit, packet)| {
            sack | u64::from(packet.is_some()) << bit
        });
        (self.expected, sack)
    }

    pub(crate) fn handle(
        &mut self,
        header: &Header,
        payload: P,
        broken: &mut u64,
        deliver: &mut impl FnMut(Delivered<P>),
    ) -> Arrival {
        let offset = header.seq.get().wrapping_sub(self.expected);
        if offset >= 1 << 31 {
            #[cfg(feature = "canary")]
            if self.broken && header.payload_kind() == PayloadKind::Page {
                deliver(Delivered::Page(header.page_tag(), payload));
            }
            return Arrival::Duplicate;
        }
        let offset = offset as usize;
        if offset >= WINDOW {
            return Arrival::OutOfWindow;
        }
        let packet = Packet {
            kind: header.payload_kind(),
            tag: header.page_tag(),
            length: usize::from(header.length.get()),
            payload,
        };
        if offset > 0 {
            // The first packets behind a hole are told at once: by them the sender knows it is one.
            let opened = offset as u64 <= REORDER + 1;
            if self.waiting.len() <= offset {
                self.waiting.resize_with(offset + 1, || None);
            }
            let place = &mut self.waiting[offset];
            if place.is_some() {
                return Arrival::Duplicate;
            }
            *place = Some(packet);
            return if opened {
                Arrival::Gap
            } else {
                Arrival::StillGap
            };
        }
        self.accept(packet, broken, deliver);
        if self.waiting.is_empty() {
            return Arrival::InOrder;
        }
        self.waiting.pop_front();
        while let Some(place) = self.waiting.front_mut() {
            let Some(packet) = place.take() else { break };
            self.waiting.pop_front();
            self.accept(packet, broken, deliver);
        }
        Arrival::Gap
    }

    /// Takes the next packet in order.
    fn accept(
        &mut self,
        packet: Packet<P>,
        broken: &mut u64,
        deliver: &mut impl FnMut(Delivered<P>),
    ) {
        self.expected = self.expected.wrapping_add(1);
        match packet.kind {
            PayloadKind::Page => deliver(Delivered::Page(packet.tag, packet.payload)),
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
            PayloadKind::None | PayloadKind::Info | PayloadKind::Filler => *broken += 1,
        }
        if matches!(packet.kind, PayloadKind::Whole | PayloadKind::Last) {
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
        match Message::decode(&self.buffer) {
            Ok(message) => deliver(Delivered::Message(message, self.buffer.len())),
            Err(_) => *broken += 1,
        }
        if self.buffer.capacity() > BUFFER_KEPT {
            self.buffer = Vec::new();
        }
    }
}
