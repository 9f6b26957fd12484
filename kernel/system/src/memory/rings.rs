//! Contexts of asynchronous I/O (io_setup(2)): what the kernel keeps of them beside the ring in the program's memory.
//!
//! Law: a context belongs to the memory its ring is in: all who run in that memory have it, it travels with it, a child
//! that gets a copy does not have it, and it ends with it. What the program writes into the ring is never believed for
//! more than where to read next.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use machine::USER_END;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::limits::PAGE;

/// Bytes of `struct aio_ring` before its events.
const HEADER_BYTES: u64 = 32;
/// Bytes of a `struct io_event`.
const EVENT_BYTES: u64 = 32;
/// The most slots a ring may be asked to have.
const SLOTS_MAX: u32 = 0x1000_0000 / EVENT_BYTES as u32;
/// Events that all contexts of one memory may be asked for together (`aio-max-nr`).
pub const EVENTS_MAX: u32 = 0x1_0000;
/// Contexts of one memory at most: they are in its descriptor.
const CONTEXTS_MAX: usize = 1024;

/// What `struct aio_ring` begins with that never changes.
const MAGIC: u32 = 0xa10a_10a1;
const COMPATIBLE: u32 = 1;

/// A context, whose number is the address of its ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ring {
    /// Events there is room for in the ring, one of which stays free.
    pub slots: u32,
    /// Where the next event goes.
    pub tail: u32,
    /// Events it was asked for.
    pub events: u32,
}

impl Ring {
    /// A ring for so many events on a machine with so many processors.
    pub fn of(events: u32, processors: u32) -> Ring {
        let least = events.max(processors.saturating_mul(4)).wrapping_mul(2);
        let bytes = HEADER_BYTES + EVENT_BYTES * (u64::from(least) + 2);
        let bytes = bytes.next_multiple_of(PAGE);
        Ring {
            slots: ((bytes - HEADER_BYTES) / EVENT_BYTES) as u32,
            tail: 0,
            events,
        }
    }

    /// Whether anybody may want so many, as far as that is not a question of how many there are already.
    pub fn is_possible(events: u32, processors: u32) -> bool {
        events.max(processors.saturating_mul(4)).wrapping_mul(2) <= SLOTS_MAX
    }

    /// Bytes of the ring in memory, whole pages.
    pub fn bytes(&self) -> u64 {
        (HEADER_BYTES + EVENT_BYTES * u64::from(self.slots)).next_multiple_of(PAGE)
    }

    /// Offset of an event in the ring.
    pub fn offset_of(&self, slot: u32) -> u64 {
        HEADER_BYTES + EVENT_BYTES * u64::from(slot % self.slots)
    }

    /// The first bytes of the ring (`struct aio_ring`).
    pub fn header(&self) -> Vec<u8> {
        let words = [
            0,
            self.slots,
            0,
            self.tail,
            MAGIC,
            COMPATIBLE,
            0,
            HEADER_BYTES as u32,
        ];
        words.into_iter().flat_map(u32::to_le_bytes).collect()
    }

    /// How many events lie in the ring, when the program says that it has read up to `head`.
    pub fn waiting(&self, head: u32) -> u32 {
        let head = head % self.slots;
        if self.tail >= head {
            self.tail - head
        } else {
            self.slots - head + self.tail
        }
    }

    /// One event more.
    pub fn advance(&mut self) {
        self.tail = (self.tail + 1) % self.slots;
    }
}

/// The contexts of one memory.
#[derive(Debug, Default)]
pub struct Rings {
    by_address: BTreeMap<u64, Ring>,
}

impl Rings {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_address.is_empty()
    }

    /// The context with its ring at an address.
    pub fn get(&mut self, address: u64) -> Option<&mut Ring> {
        self.by_address.get_mut(&address)
    }

    /// One more.
    pub fn insert(&mut self, address: u64, ring: Ring) {
        self.by_address.insert(address, ring);
    }

    /// It is over.
    pub fn remove(&mut self, address: u64) -> Option<Ring> {
        self.by_address.remove(&address)
    }

    /// Whether a context for so many events more may be.
    pub fn has_room(&self, events: u32) -> bool {
        let all = self
            .by_address
            .values()
            .fold(events, |sum, ring| sum.saturating_add(ring.events));
        all <= EVENTS_MAX && self.by_address.len() < CONTEXTS_MAX
    }

    /// All of them as they travel.
    pub fn records(&self) -> Vec<RingRecord> {
        let record = |(address, ring): (&u64, &Ring)| RingRecord {
            address: *address,
            slots: ring.slots,
            tail: ring.tail,
            events: ring.events,
            reserved: 0,
        };
        self.by_address.iter().map(record).collect()
    }

    /// Contexts that have travelled.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn from_records(records: &[RingRecord]) -> Result<Rings, &'static str> {
        if records.len() > CONTEXTS_MAX {
            return Err("too many contexts of asynchronous I/O");
        }
        let mut rings = Rings::default();
        for record in records {
            let ring = Ring {
                slots: record.slots,
                tail: record.tail,
                events: record.events,
            };
            let possible = record.address.is_multiple_of(PAGE)
                && record.address < USER_END
                && (1..=SLOTS_MAX + PAGE as u32).contains(&ring.slots)
                && ring.tail < ring.slots
                && record.reserved == 0;
            if !possible || !rings.has_room(ring.events) {
                return Err("an impossible context of asynchronous I/O");
            }
            rings.insert(record.address, ring);
        }
        Ok(rings)
    }
}

/// A context as it travels.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct RingRecord {
    /// Where its ring is.
    pub address: u64,
    /// See [`Ring::slots`].
    pub slots: u32,
    /// See [`Ring::tail`].
    pub tail: u32,
    /// See [`Ring::events`].
    pub events: u32,
    /// Zero.
    pub reserved: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `nr` of the ring, asked of Linux 6.18 on a machine with two processors.
    #[test]
    fn rings_have_the_room_of_those_of_linux() {
        for (events, slots) in [
            (1, 127),
            (60, 127),
            (63, 255),
            (128, 383),
            (65_536, 131_199),
        ] {
            assert_eq!(Ring::of(events, 2).slots, slots, "{events}");
        }
        assert!(Ring::is_possible(4_194_304, 2) && !Ring::is_possible(4_194_305, 2));
        let ring = Ring::of(1, 2);
        assert_eq!(ring.bytes(), PAGE);
        let header =
            b"\0\0\0\0\x7f\0\0\0\0\0\0\0\0\0\0\0\xa1\x10\x0a\xa1\x01\0\0\0\0\0\0\0\x20\0\0\0";
        assert_eq!(ring.header(), header);
    }

    #[test]
    fn what_has_travelled_is_the_same_and_strangers_are_refused() {
        let mut rings = Rings::default();
        rings.insert(0x1000, Ring::of(5, 2));
        let ring = rings.get(0x1000).expect("just made");
        for _ in 0..130 {
            ring.advance();
        }
        assert_eq!((ring.tail, ring.waiting(1), ring.waiting(130)), (3, 2, 0));
        let records = rings.records();
        let back = Rings::from_records(&records).expect("ours");
        assert_eq!(back.by_address, rings.by_address);
        let with = |change: fn(&mut RingRecord)| {
            let mut record = records[0];
            change(&mut record);
            Rings::from_records(&[record]).is_err()
        };
        assert!(with(|record| record.address = 0x1001));
        assert!(with(|record| record.address = USER_END));
        assert!(with(|record| record.slots = 0));
        assert!(with(|record| record.tail = record.slots));
        assert!(with(|record| record.events = EVENTS_MAX + 1));
        assert!(with(|record| record.reserved = 1));
        assert!(!rings.has_room(EVENTS_MAX - 4) && rings.has_room(EVENTS_MAX - 5));
    }
}
