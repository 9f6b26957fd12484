//! The ring against plain memory: arithmetic of indices, order of entries, impossible claims.

use alloc::vec;
use alloc::vec::Vec;
use core::cell::RefCell;

use super::*;

struct Memory(RefCell<Vec<u8>>);

impl Memory {
    fn get<const N: usize>(&self, offset: usize) -> [u8; N] {
        self.0.borrow()[offset..offset + N]
            .try_into()
            .expect("length as sliced")
    }

    fn set(&self, offset: usize, from: &[u8]) {
        self.0.borrow_mut()[offset..offset + from.len()].copy_from_slice(from);
    }

    fn read_u16(&self, offset: usize) -> u16 {
        u16::from_le_bytes(self.get(offset))
    }

    fn write_u16(&self, offset: usize, value: u16) {
        self.set(offset, &value.to_le_bytes());
    }

    fn write_u32(&self, offset: usize, value: u32) {
        self.set(offset, &value.to_le_bytes());
    }
}

impl Area for &Memory {
    fn physical(&self) -> u64 {
        0x10_0000
    }
    fn read(&self, offset: usize, into: &mut [u8]) {
        into.copy_from_slice(&self.0.borrow()[offset..offset + into.len()]);
    }
    fn write(&self, offset: usize, from: &[u8]) {
        self.set(offset, from);
    }
    fn read_u16(&self, offset: usize) -> u16 {
        Memory::read_u16(self, offset)
    }
    fn read_u32(&self, offset: usize) -> u32 {
        u32::from_le_bytes(self.get(offset))
    }
    fn write_u16(&self, offset: usize, value: u16) {
        Memory::write_u16(self, offset, value);
    }
    fn write_u32(&self, offset: usize, value: u32) {
        Memory::write_u32(self, offset, value);
    }
    fn write_u64(&self, offset: usize, value: u64) {
        self.set(offset, &value.to_le_bytes());
    }
}

// A ring of 8 descriptors, laid out by hand from section 2.7: 8 * 16 bytes of descriptors, then
// flags, index, 8 entries, used_event; then, 4-aligned, flags, index, 8 entries of 8, avail_event.
const SIZE: u16 = 8;
const AVAILABLE: usize = 128;
const USED_EVENT: usize = 128 + 4 + 16;
const USED: usize = 152;
const AVAILABLE_EVENT: usize = 152 + 4 + 64;

fn memory() -> Memory {
    Memory(RefCell::new(vec![0; 222]))
}

const PIECE: Buffer = Buffer {
    address: 0x1234_5678_9abc,
    length: 99,
    writable: false,
};

/// Claims, as a device, that `head` is done.
fn put_used(memory: &Memory, index: u16, head: u32, length: u32) {
    let entry = USED + 4 + 8 * usize::from(index % SIZE);
    memory.write_u32(entry, head);
    memory.write_u32(entry + 4, length);
    memory.write_u16(USED + 2, index.wrapping_add(1));
}

#[test]
fn need_event_is_membership_in_the_passed_range() {
    let edges = [0u16, 1, 2, 3, 0x7fff, 0x8000, 0xfffd, 0xfffe, 0xffff];
    for old in edges {
        for steps in (0..=260).chain([0x7fff, 0x8000, 0xffff]) {
            let new = old.wrapping_add(steps);
            for event in edges.into_iter().chain([new, new.wrapping_sub(1), new ^ 1]) {
                let passed = u32::from(event.wrapping_sub(old)) < u32::from(steps);
                assert_eq!(
                    need_event(event, new, old),
                    passed,
                    "{old} -> {new}, {event}"
                );
            }
        }
    }
}

#[test]
fn the_parts_lie_where_the_specification_says() {
    let memory = memory();
    let mut ring = Ring::new(&memory, SIZE, true);
    assert_eq!(Ring::<&Memory>::bytes(SIZE), 222);
    assert_eq!(
        ring.addresses(),
        [0x10_0000, 0x10_0000 + 128, 0x10_0000 + 152]
    );
    let page = Buffer {
        address: 0x5000,
        length: 4096,
        writable: true,
    };
    ring.give(3, PIECE, Some(page));
    assert_eq!(memory.get(6 * 16), 0x1234_5678_9abc_u64.to_le_bytes());
    assert_eq!(memory.get(6 * 16 + 8), [99, 0, 0, 0, 1, 0, 7, 0]);
    assert_eq!(memory.get(7 * 16), 0x5000_u64.to_le_bytes());
    assert_eq!(memory.get(7 * 16 + 8), [0, 0x10, 0, 0, 2, 0, 0, 0]);
    assert_eq!(memory.get(AVAILABLE), [0, 0, 1, 0, 6, 0]);
    ring.give(0, PIECE, None);
    assert_eq!(memory.get(8), [99, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(memory.get(AVAILABLE), [0, 0, 2, 0, 6, 0, 0, 0]);
}

#[test]
fn all_indices_wrap_after_65536_entries() {
    let memory = memory();
    let mut ring = Ring::new(&memory, SIZE, true);
    let mut index = 0u16;
    for round in 0..200_000u32 {
        let slot = u16::try_from(round % 4).expect("small");
        ring.give(slot, PIECE, None);
        // A device that always wants to hear of the next entry must always be told.
        memory.write_u16(AVAILABLE_EVENT, index);
        assert!(ring.should_notify(), "round {round}");
        assert!(!ring.should_notify(), "nothing new");
        assert_eq!(memory.read_u16(AVAILABLE + 2), index.wrapping_add(1));
        assert!(!ring.arm(1), "nothing used");
        assert_eq!(memory.read_u16(USED_EVENT), index);
        assert_eq!(ring.take(), Ok(None));
        put_used(&memory, index, u32::from(slot) * 2, round);
        assert!(ring.arm(1), "one was used before the event was set");
        let length = round;
        assert_eq!(ring.take(), Ok(Some(Used { slot, length })));
        index = index.wrapping_add(1);
        ring.disarm();
        assert_eq!(memory.read_u16(USED_EVENT), index.wrapping_sub(1));
    }
}

#[test]
fn a_device_that_is_looking_is_not_notified() {
    for start in [0u16, 0xfffc] {
        let memory = memory();
        let mut ring = Ring::new(&memory, SIZE, true);
        ring.published = start;
        ring.notified = start;
        // Asked for the entry before last: it was told of that, long ago.
        memory.write_u16(AVAILABLE_EVENT, start.wrapping_sub(1));
        ring.give(0, PIECE, None);
        ring.give(1, PIECE, None);
        assert!(!ring.should_notify());
        // Three more in one go, of which it asked for the middle one.
        memory.write_u16(AVAILABLE_EVENT, start.wrapping_add(3));
        ring.held = vec![false; 4];
        for slot in 0..3 {
            ring.give(slot, PIECE, None);
        }
        assert!(ring.should_notify());
        // It asked for one that is yet to come.
        memory.write_u16(AVAILABLE_EVENT, start.wrapping_add(6));
        ring.give(3, PIECE, None);
        assert!(!ring.should_notify());
    }
}

#[test]
fn without_event_indices_the_flags_decide() {
    let memory = memory();
    let mut ring = Ring::new(&memory, SIZE, false);
    ring.give(0, PIECE, None);
    assert!(ring.should_notify());
    memory.write_u16(USED, 1);
    ring.give(1, PIECE, None);
    assert!(!ring.should_notify());
    ring.disarm();
    assert_eq!(memory.read_u16(AVAILABLE), 1);
    assert!(!ring.arm(1));
    assert_eq!(memory.read_u16(AVAILABLE), 0);
    put_used(&memory, 0, 2, 0);
    assert!(!ring.arm(2) && ring.arm(1));
}

#[test]
fn arming_for_several_sets_the_event_of_the_last() {
    let memory = memory();
    let mut ring = Ring::new(&memory, SIZE, true);
    for slot in 0..4 {
        ring.give(slot, PIECE, None);
    }
    assert!(!ring.arm(2));
    assert_eq!(memory.read_u16(USED_EVENT), 1);
    put_used(&memory, 0, 0, 0);
    assert!(!ring.arm(2));
    put_used(&memory, 1, 2, 0);
    assert!(ring.arm(2));
}

#[test]
fn impossible_claims_stop_the_ring() {
    type Claim = fn(&Memory);
    let claims: [(&str, Claim); 6] = [
        ("index beyond what is outstanding", |memory| {
            memory.write_u16(USED + 2, 3);
        }),
        ("index going backwards", |memory| {
            memory.write_u16(USED + 2, 0xffff);
        }),
        ("second descriptor of a chain", |memory| {
            put_used(memory, 0, 1, 0)
        }),
        ("slot behind the end", |memory| put_used(memory, 0, 8, 0)),
        ("slot far behind the end", |memory| {
            put_used(memory, 0, 0xffff_fffe, 0);
        }),
        ("slot that is not held", |memory| put_used(memory, 0, 4, 0)),
    ];
    for (what, claim) in claims {
        let memory = memory();
        let mut ring = Ring::new(&memory, SIZE, true);
        ring.give(0, PIECE, None);
        ring.give(1, PIECE, None);
        claim(&memory);
        assert_eq!(ring.take(), Err(Broken), "{what}");
        assert_eq!(ring.take(), Ok(None), "{what}");
        assert!(ring.is_broken() && ring.ready() == 0 && !ring.should_notify());
    }
}

#[test]
fn a_slot_is_used_once() {
    let memory = memory();
    let mut ring = Ring::new(&memory, SIZE, true);
    ring.give(0, PIECE, None);
    ring.give(1, PIECE, None);
    put_used(&memory, 0, 2, 7);
    put_used(&memory, 1, 2, 7);
    assert_eq!(ring.take(), Ok(Some(Used { slot: 1, length: 7 })));
    assert_eq!(ring.take(), Err(Broken));
    assert_eq!(ring.outstanding(), 1);
}
