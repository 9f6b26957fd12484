//! One split virtqueue (virtio 1.2, section 2.7) of fixed chains.
//!
//! Law: the driver decides from its own records; the device's half of the ring is only ever a claim.
//! A used index beyond what is outstanding, or a slot that is not, stops the ring for good.
//! Indices run freely through all 16 bits: they are compared by their wrapping difference only.
//!
//! A *slot* is a chain of at most two descriptors at a fixed place: slot `i` owns descriptors `2i`
//! and `2i + 1`, so a ring of `size` descriptors has `size / 2` slots and nothing to allocate.
//!
//! Memory order: the device is another CPU. Entries are stored before the index that publishes them
//! (Release), the used index is loaded before the entries it covers (Acquire), and between storing
//! an index and loading the other side's event index there is a full barrier, on which the absence
//! of lost wake-ups rests (section 2.7.13.4.1 and 2.7.10).

use alloc::vec::Vec;
use core::sync::atomic::{Ordering, fence};

use crate::platform::Area;

const DESCRIPTOR_LEN: usize = 16;
const DESCRIPTOR_NEXT: u16 = 1;
const DESCRIPTOR_WRITE: u16 = 2;
const NO_INTERRUPT: u16 = 1;
const NO_NOTIFY: u16 = 1;

/// A piece of memory the device reads or, if `writable`, writes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Buffer {
    pub(crate) address: u64,
    pub(crate) length: u32,
    pub(crate) writable: bool,
}

/// A slot the device is done with, and how many bytes it claims to have written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Used {
    pub(crate) slot: u16,
    pub(crate) length: u32,
}

/// The device said something impossible; nothing it says about this ring is believed any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Broken;

/// Whether an index going from `old` to `new` has passed `event`, so that the other side wants to
/// hear of it (section 2.7.10, `vring_need_event`): true exactly if `event` is one of
/// `old, old + 1, ..., new - 1`, modulo 2^16.
pub(crate) fn need_event(event: u16, new: u16, old: u16) -> bool {
    new.wrapping_sub(event).wrapping_sub(1) < new.wrapping_sub(old)
}

/// Offsets of the parts within one area: descriptors (16-aligned), available ring, used ring
/// (4-aligned), each followed by the event index of its reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Layout {
    available: usize,
    used_event: usize,
    used: usize,
    available_event: usize,
    end: usize,
}

impl Layout {
    fn new(size: u16) -> Layout {
        let size = usize::from(size);
        let available = size * DESCRIPTOR_LEN;
        let used_event = available + 4 + 2 * size;
        let used = (used_event + 2).next_multiple_of(4);
        let available_event = used + 4 + 8 * size;
        Layout {
            available,
            used_event,
            used,
            available_event,
            end: available_event + 2,
        }
    }
}

/// The driver's side of one virtqueue.
pub(crate) struct Ring<A> {
    area: A,
    layout: Layout,
    size: u16,
    event_index: bool,
    /// The available index as published.
    published: u16,
    /// The available index at the last decision about a notification.
    notified: u16,
    /// The used index up to which entries were taken.
    taken: u16,
    /// Slots the device holds, by number.
    held: Vec<bool>,
    outstanding: u16,
    broken: bool,
}

impl<A: Area> Ring<A> {
    /// Bytes of memory a ring of `size` descriptors takes.
    pub(crate) fn bytes(size: u16) -> usize {
        Layout::new(size).end
    }

    /// A ring of `size` descriptors (a power of two, 2 to 32768) in zeroed memory of
    /// [`Ring::bytes`] bytes.
    pub(crate) fn new(area: A, size: u16, event_index: bool) -> Ring<A> {
        assert!(size.is_power_of_two() && size >= 2, "a virtqueue size");
        Ring {
            layout: Layout::new(size),
            area,
            size,
            event_index,
            published: 0,
            notified: 0,
            taken: 0,
            held: alloc::vec![false; usize::from(size / 2)],
            outstanding: 0,
            broken: false,
        }
    }

    /// Bus addresses of the descriptors, the available ring and the used ring.
    pub(crate) fn addresses(&self) -> [u64; 3] {
        let base = self.area.physical();
        [0, self.layout.available, self.layout.used].map(|offset| base + offset as u64)
    }

    /// How many slots there are.
    pub(crate) fn slots(&self) -> u16 {
        self.size / 2
    }

    /// How many slots the device holds.
    pub(crate) fn outstanding(&self) -> u16 {
        self.outstanding
    }

    /// Whether the ring was stopped.
    pub(crate) fn is_broken(&self) -> bool {
        self.broken
    }

    /// Gives the device a slot that it does not hold, with the chain `first`, `second`.
    pub(crate) fn give(&mut self, slot: u16, first: Buffer, second: Option<Buffer>) {
        let held = &mut self.held[usize::from(slot)];
        assert!(!*held, "the device holds the slot already");
        *held = true;
        self.outstanding += 1;
        let head = slot * 2;
        self.describe(head, first, second.is_some());
        if let Some(second) = second {
            self.describe(head + 1, second, false);
        }
        let entry = usize::from(self.published & (self.size - 1));
        self.area
            .write_u16(self.layout.available + 4 + 2 * entry, head);
        self.published = self.published.wrapping_add(1);
        fence(Ordering::Release);
        self.area
            .write_u16(self.layout.available + 2, self.published);
    }

    fn describe(&mut self, index: u16, buffer: Buffer, chained: bool) {
        let at = usize::from(index) * DESCRIPTOR_LEN;
        let write = if buffer.writable { DESCRIPTOR_WRITE } else { 0 };
        let (next_flag, next) = if chained {
            (DESCRIPTOR_NEXT, index + 1)
        } else {
            (0, 0)
        };
        self.area.write_u64(at, buffer.address);
        self.area.write_u32(at + 8, buffer.length);
        self.area.write_u32(
            at + 12,
            u32::from(write | next_flag) | u32::from(next) << 16,
        );
    }

    #[inline(always)]
    fn used_index(&self) -> u16 {
        self.area.read_u16(self.layout.used + 2)
    }

    /// How many entries the device says it has used and nobody has taken.
    #[inline]
    pub(crate) fn ready(&self) -> u16 {
        if self.broken {
            0
        } else {
            self.used_index().wrapping_sub(self.taken)
        }
    }

    /// Takes the next slot the device is done with, `None` if there is none now.
    ///
    /// # Errors
    /// [`Broken`] once, when the device said something impossible; `None` ever after.
    pub(crate) fn take(&mut self) -> Result<Option<Used>, Broken> {
        let ready = self.ready();
        if ready == 0 {
            return Ok(None);
        }
        if ready > self.outstanding {
            self.broken = true;
            return Err(Broken);
        }
        fence(Ordering::Acquire);
        let entry = usize::from(self.taken & (self.size - 1));
        let at = self.layout.used + 4 + 8 * entry;
        let head = self.area.read_u32(at);
        let length = self.area.read_u32(at + 4);
        let slot = u16::try_from(head / 2)
            .ok()
            .filter(|&slot| head.is_multiple_of(2) && slot < self.slots())
            .filter(|&slot| self.held[usize::from(slot)]);
        let Some(slot) = slot else {
            self.broken = true;
            return Err(Broken);
        };
        self.held[usize::from(slot)] = false;
        self.outstanding -= 1;
        self.taken = self.taken.wrapping_add(1);
        Ok(Some(Used { slot, length }))
    }

    /// Whether anything was given since the last decision about a notification.
    pub(crate) fn has_unannounced(&self) -> bool {
        self.notified != self.published
    }

    /// Whether the device must be notified of what was given since the last call.
    pub(crate) fn should_notify(&mut self) -> bool {
        let old = core::mem::replace(&mut self.notified, self.published);
        if old == self.published || self.broken {
            return false;
        }
        fence(Ordering::SeqCst);
        if self.event_index {
            let event = self.area.read_u16(self.layout.available_event);
            need_event(event, self.published, old)
        } else {
            self.area.read_u16(self.layout.used) & NO_NOTIFY == 0
        }
    }

    /// Asks for one interrupt when `count` (at least 1) more slots than taken so far are done.
    /// Returns whether they already are: then no interrupt may come, and the caller looks now.
    ///
    /// Without event indices the first slot done interrupts, and every one until [`Ring::disarm`].
    pub(crate) fn arm(&mut self, count: u16) -> bool {
        if self.event_index {
            let event = self.taken.wrapping_add(count - 1);
            self.area.write_u16(self.layout.used_event, event);
        } else {
            self.area.write_u16(self.layout.available, 0);
        }
        fence(Ordering::SeqCst);
        self.ready() >= count
    }

    /// Asks for no interrupts. With event indices an interrupt is asked for once at a time and the
    /// event is moved behind the index, so that it is a whole round of 2^16 away.
    pub(crate) fn disarm(&mut self) {
        if self.event_index {
            let behind = self.taken.wrapping_sub(1);
            self.area.write_u16(self.layout.used_event, behind);
        } else {
            self.area.write_u16(self.layout.available, NO_INTERRUPT);
        }
    }
}

#[cfg(test)]
mod tests;
