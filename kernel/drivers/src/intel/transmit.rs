//! The transmit ring of an Intel card: legacy descriptors, one or two for a packet.
//!
//! Law: what a descriptor points to stays where it is, and is the driver's, until the card says that
//! it is done with the last descriptor of the packet; packets are let go in the order they were sent.
//!
//! Header and copied payload lie one behind the other and have one descriptor; a page has its own
//! behind that of its header, and is read in place.

use alloc::collections::VecDeque;
use core::sync::atomic::{Ordering, fence};

use machine::OutOfMemory;

use crate::card::{HEADER_LEN, Outgoing, PAYLOAD_MAX};
use crate::platform::{Area, Page, Platform};

/// Packets that may be with the card. All of two descriptors, they fill the ring but for two.
pub(crate) const PACKETS: usize = 127;
const DESCRIPTORS: u16 = 256;
/// Bytes between two packets' headers.
const STRIDE: usize = (HEADER_LEN + PAYLOAD_MAX).next_multiple_of(64);

const DESCRIPTOR_LEN: usize = 16;
/// Where length and command are in a descriptor, and where the status.
const COMMAND: usize = 8;
const STATUS: usize = 12;
const DONE: u32 = 1 << 0;
const END_OF_PACKET: u32 = 1 << 24;
const ADD_FCS: u32 = 1 << 25;
const REPORT: u32 = 1 << 27;

/// A packet with the card.
struct Sending<F> {
    /// Its last descriptor.
    last: u16,
    /// The page it reads, if any.
    _page: Option<F>,
}

/// The driver's side of the ring.
pub(crate) struct TransmitRing<P: Platform> {
    descriptors: P::Area,
    bytes: P::Area,
    /// The descriptor that is written next.
    next: u16,
    /// The tail that the card was told.
    announced: u16,
    /// Where in `bytes` the next packet lies, as a number of strides.
    slot: usize,
    sending: VecDeque<Sending<P::Page>>,
}

impl<P: Platform> TransmitRing<P> {
    pub(crate) fn new(platform: &P) -> Result<TransmitRing<P>, OutOfMemory> {
        Ok(TransmitRing {
            descriptors: platform.area(usize::from(DESCRIPTORS) * DESCRIPTOR_LEN)?,
            bytes: platform.area(PACKETS * STRIDE)?,
            next: 0,
            announced: 0,
            slot: 0,
            sending: VecDeque::with_capacity(PACKETS),
        })
    }

    /// Bus address and length of the descriptors.
    pub(crate) fn place(&self) -> (u64, u32) {
        let length = u32::from(DESCRIPTORS) * DESCRIPTOR_LEN as u32;
        (self.descriptors.physical(), length)
    }

    /// How many more packets there is room for.
    pub(crate) fn room(&self) -> usize {
        PACKETS - self.sending.len()
    }

    /// Whether the card is done with the packet it has had longest.
    pub(crate) fn is_ready(&self) -> bool {
        self.sending.front().is_some_and(|sending| {
            let at = usize::from(sending.last) * DESCRIPTOR_LEN;
            self.descriptors.read_u32(at + STATUS) & DONE != 0
        })
    }

    /// Lets go of the packets that the card is done with.
    pub(crate) fn reap(&mut self) {
        while self.is_ready() {
            self.sending.pop_front();
        }
    }

    /// Puts a packet into the ring, which has room; returns its bytes on the wire.
    pub(crate) fn send(
        &mut self,
        header: &[u8; HEADER_LEN],
        payload: Outgoing<'_, P::Page>,
    ) -> usize {
        assert!(self.room() > 0, "the ring is full");
        let start = self.slot * STRIDE;
        self.slot = (self.slot + 1) % PACKETS;
        let lead = self.bytes.physical() + start as u64;
        self.bytes.write(start, header);
        let mut length = HEADER_LEN;
        if let Outgoing::Bytes(bytes) = &payload {
            assert!(bytes.len() <= PAYLOAD_MAX, "a payload is a page at most");
            self.bytes.write(start + HEADER_LEN, bytes);
            length += bytes.len();
        }
        let page = match payload {
            Outgoing::Page(page, range) => Some((page, range)),
            Outgoing::None | Outgoing::Bytes(_) => None,
        };
        self.describe(lead, length, page.is_none());
        let page = page.map(|(page, range)| {
            assert!(range.end <= PAYLOAD_MAX, "beyond the page");
            self.describe(page.physical() + range.start as u64, range.len(), true);
            length += range.len();
            page
        });
        let last = (self.next + DESCRIPTORS - 1) % DESCRIPTORS;
        self.sending.push_back(Sending { last, _page: page });
        length
    }

    fn describe(&mut self, physical: u64, length: usize, last: bool) {
        let at = usize::from(self.next) * DESCRIPTOR_LEN;
        let length = u32::try_from(length).expect("a page and its header at most");
        let command = if last { END_OF_PACKET | REPORT } else { 0 };
        self.descriptors.write_u64(at, physical);
        self.descriptors.write_u32(at + STATUS, 0);
        self.descriptors
            .write_u32(at + COMMAND, length | command | ADD_FCS);
        self.next = (self.next + 1) % DESCRIPTORS;
    }

    /// The tail, if packets were put into the ring since the card was told.
    pub(crate) fn take_announcement(&mut self) -> Option<u32> {
        (self.announced != self.next).then(|| {
            self.announced = self.next;
            fence(Ordering::Release);
            u32::from(self.next)
        })
    }
}
