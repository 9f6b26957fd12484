//! The receive ring of an Intel card: legacy descriptors, each with a buffer of its own.
//!
//! Law: the driver goes round the ring in its own order; the card only ever says that the next
//! descriptor is done. What it says of its length and its state is looked at once and then checked.
//!
//! A frame lies in one buffer, header and payload one behind the other, and the payload is copied into
//! a page. Split descriptors of the 82574 would save that copy for a header of 128 bytes: the first of
//! their buffers has a multiple of that, and ours has 136.

use core::sync::atomic::{Ordering, fence};

use machine::OutOfMemory;

use crate::platform::{Area, Platform};

/// Descriptors, and buffers.
pub(crate) const SLOTS: u16 = 128;
/// Bytes of a buffer, as the card is told.
pub(crate) const BUFFER_LEN: usize = 8192;
/// Buffers given back to the card at a time.
const ANNOUNCED_AT_ONCE: u16 = 32;

const DESCRIPTOR_LEN: usize = 16;
/// Where length and checksum are in a descriptor, and where status and errors.
const LENGTH: usize = 8;
const STATE: usize = 12;
const DONE: u32 = 1 << 0;
const END_OF_PACKET: u32 = 1 << 1;
/// CRC, symbol, sequence and receive errors. Errors in checksums of protocols that we do not speak
/// are none.
const DAMAGED: u32 = (1 << 0 | 1 << 1 | 1 << 2 | 1 << 4 | 1 << 7) << 8;

/// What the card says of a slot that it is done with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// A whole frame of so many bytes; not more than the buffer.
    Frame(usize),
    /// A piece of a frame that is longer than a buffer, or that never ends; `last` is its end.
    Piece {
        /// Whether the frame ends here.
        last: bool,
    },
    /// Longer than the buffer.
    Impossible,
    /// A frame that was damaged on its way.
    Damaged,
}

/// The driver's side of the ring.
pub(crate) struct ReceiveRing<P: Platform> {
    descriptors: P::Area,
    buffers: P::Area,
    /// The slot that is done next.
    next: u16,
    /// Slots that are ready for the card and that it was not told of.
    unannounced: u16,
    /// The last slot was not the end of its frame.
    within: bool,
}

impl<P: Platform> ReceiveRing<P> {
    pub(crate) fn new(platform: &P) -> Result<ReceiveRing<P>, OutOfMemory> {
        let slots = usize::from(SLOTS);
        let ring = ReceiveRing {
            descriptors: platform.area(slots * DESCRIPTOR_LEN)?,
            buffers: platform.area(slots * BUFFER_LEN)?,
            next: 0,
            unannounced: 0,
            within: false,
        };
        (0..SLOTS).for_each(|slot| ring.describe(slot));
        Ok(ring)
    }

    /// Bus address and length of the descriptors.
    pub(crate) fn place(&self) -> (u64, u32) {
        let length = u32::from(SLOTS) * DESCRIPTOR_LEN as u32;
        (self.descriptors.physical(), length)
    }

    /// The tail for the card: the slot behind the last that it has. One of the slots stays with the
    /// driver, as a full ring would look like an empty one.
    pub(crate) fn tail(&self) -> u32 {
        let behind = (self.next + SLOTS - 1) % SLOTS;
        u32::from(behind)
    }

    /// The tail, if enough slots have come together for the card to be told.
    pub(crate) fn take_announcement(&mut self) -> Option<u32> {
        (self.unannounced >= ANNOUNCED_AT_ONCE).then(|| {
            self.unannounced = 0;
            fence(Ordering::Release);
            self.tail()
        })
    }

    fn describe(&self, slot: u16) {
        let slot = usize::from(slot);
        let at = slot * DESCRIPTOR_LEN;
        let buffer = self.buffers.physical() + (slot * BUFFER_LEN) as u64;
        self.descriptors.write_u64(at, buffer);
        self.descriptors.write_u32(at + LENGTH, 0);
        self.descriptors.write_u32(at + STATE, 0);
    }

    fn state(&self) -> u32 {
        let at = usize::from(self.next) * DESCRIPTOR_LEN;
        self.descriptors.read_u32(at + STATE)
    }

    /// Whether the card is done with the next slot.
    pub(crate) fn is_ready(&self) -> bool {
        self.state() & DONE != 0
    }

    /// What the card says of the next slot, once it is done with it.
    pub(crate) fn claim(&self) -> Option<Claim> {
        let state = self.state();
        if state & DONE == 0 {
            return None;
        }
        fence(Ordering::Acquire);
        let at = usize::from(self.next) * DESCRIPTOR_LEN;
        let length = self.descriptors.read_u32(at + LENGTH) & 0xffff;
        let last = state & END_OF_PACKET != 0;
        let length = usize::try_from(length).expect("16 bits");
        Some(if self.within || !last {
            Claim::Piece { last }
        } else if state & DAMAGED != 0 {
            Claim::Damaged
        } else if length > BUFFER_LEN {
            Claim::Impossible
        } else {
            Claim::Frame(length)
        })
    }

    /// Reads from the buffer of the next slot; the card has filled it.
    pub(crate) fn read(&self, offset: usize, into: &mut [u8]) {
        let start = usize::from(self.next) * BUFFER_LEN;
        self.buffers.read(start + offset, into);
    }

    /// Copies from the buffer of the next slot to the start of a page.
    pub(crate) fn copy(&self, platform: &P, offset: usize, length: usize, page: &P::Page) {
        let start = usize::from(self.next) * BUFFER_LEN;
        platform.copy(&self.buffers, start + offset, length, page);
    }

    /// Goes on behind a slot whose claim was looked at, which is ready for the card again.
    pub(crate) fn pass(&mut self, claim: Claim) {
        self.within = claim == Claim::Piece { last: false };
        self.describe(self.next);
        self.next = (self.next + 1) % SLOTS;
        self.unannounced += 1;
    }
}
