//! A virtio network card or disk made of software, and a machine around it.
//!
//! Law: written from the specification (virtio 1.2) with numbers of its own, so that a wrong number
//! in the driver does not meet itself here. It touches memory only while the driver lends it, and
//! panics where the driver breaks a MUST of the specification.

mod memory;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};

use drivers::pci::Address;
use drivers::platform::{Area, ConfigSpace, Platform, Registers};
use machine::{MsiVector, OutOfMemory};

pub(crate) const MAC: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x56];
const BAR: u64 = 0xfe_0000_0000;
const SLOT: Address = Address {
    bus: 1,
    device: 3,
    function: 0,
};
const BRIDGE: Address = Address {
    bus: 0,
    device: 2,
    function: 0,
};

pub(crate) use memory::Memory;

type Bytes = Rc<RefCell<Vec<u8>>>;

/// What can be wrong with the card.
#[derive(Clone, Debug)]
pub(crate) struct Faults {
    pub(crate) offered: u64,
    pub(crate) refuse_features: bool,
    pub(crate) stuck_reset: bool,
    pub(crate) mtu: u16,
    pub(crate) queue_max: u16,
    pub(crate) vectors: u8,
    pub(crate) notify_offset: u32,
    pub(crate) bar_assigned: bool,
    pub(crate) restless_config: bool,
    /// It is a disk with so many sectors.
    pub(crate) disk: Option<u64>,
}

pub(crate) const EVENT_INDEX: u64 = 1 << 29;

impl Default for Faults {
    fn default() -> Faults {
        Faults {
            // VERSION_1, EVENT_IDX, INDIRECT_DESC, CTRL_VQ, STATUS, MRG_RXBUF, MAC, MTU, CSUM.
            offered: 1 << 32 | EVENT_INDEX | 1 << 28 | 1 << 17 | 1 << 16 | 1 << 15 | 1 << 5 | 9,
            refuse_features: false,
            stuck_reset: false,
            mtu: 9000,
            queue_max: 256,
            vectors: 3,
            notify_offset: 4,
            bar_assigned: true,
            restless_config: false,
            disk: None,
        }
    }
}

#[derive(Clone, Debug, Default)]
struct Queue {
    size: u16,
    vector: u16,
    enabled: bool,
    addresses: [u64; 3],
    last_available: u16,
    used: u16,
    signalled: u16,
    in_device: Vec<u16>,
}

/// A chain of descriptors: (address, length) of what the device reads and of what it writes.
#[derive(Clone, Debug)]
pub(crate) struct Chain {
    pub(crate) head: u16,
    pub(crate) readable: Vec<(u64, u32)>,
    pub(crate) writable: Vec<(u64, u32)>,
}

struct State {
    memory: BTreeMap<u64, Weak<RefCell<Vec<u8>>>>,
    next_address: u64,
    pages_left: usize,
    config: BTreeMap<(u8, u8), [u32; 64]>,
    faults: Faults,
    select: u32,
    taken: u64,
    status: u8,
    generation: u8,
    queue: usize,
    queues: [Queue; 3],
    msix: [u32; 12],
    notified: [bool; 3],
    interrupts: [u32; 3],
}

/// The machine with the card; clones are the same machine.
#[derive(Clone)]
pub(crate) struct World(Rc<RefCell<State>>);

impl World {
    pub(crate) fn new(faults: Faults) -> World {
        let world = World(Rc::new(RefCell::new(State {
            memory: BTreeMap::new(),
            next_address: 0x10_0000,
            pages_left: usize::MAX,
            config: BTreeMap::new(),
            faults,
            select: 0,
            taken: 0,
            status: 0x0f,
            generation: 0,
            queue: 0,
            queues: Default::default(),
            msix: [0; 12],
            notified: [false; 3],
            interrupts: [0; 3],
        })));
        world.build_config();
        world
    }

    fn build_config(&self) {
        let mut state = self.0.borrow_mut();
        let mut bridge = [0u32; 64];
        bridge[0] = 0x000c_1b36;
        bridge[2] = 0x0604_0000;
        bridge[3] = 0x0001_0000;
        bridge[6] = 0x0001_0100;
        let mut card = [0u32; 64];
        card[0] = match state.faults.disk {
            Some(_) => 0x1042_1af4,
            None => 0x1041_1af4,
        };
        card[1] = 0x0010_0000;
        card[2] = 0x0200_0001;
        if state.faults.bar_assigned {
            card[4] = (BAR as u32) | 0xc;
            card[5] = (BAR >> 32) as u32;
        } else {
            card[4] = 0xc;
        }
        card[13] = 0x40;
        // MSI-X at 0x40: 3 entries in BAR 0 at 0x3000.
        card[0x40 / 4] = 0x0002_5011;
        card[0x44 / 4] = 0x3000;
        let mut capability = |at: usize, next: u32, kind: u32, offset: u32, length: u32| {
            card[at / 4] = kind << 24 | 0x14 << 16 | next << 8 | 9;
            card[at / 4 + 2] = offset;
            card[at / 4 + 3] = length;
        };
        capability(0x50, 0x64, 1, 0, 0x38);
        capability(0x64, 0x78, 2, 0x1000, 0x100);
        capability(0x78, 0x8c, 4, 0x2000, 0x0c);
        // A last one that leads back: a driver must not go in circles.
        capability(0x8c, 0x40, 5, 0, 0);
        // Behind the notification capability: its multiplier.
        card[0x74 / 4] = state.faults.notify_offset;
        state.config.insert((BRIDGE.bus, BRIDGE.device), bridge);
        state.config.insert((SLOT.bus, SLOT.device), card);
    }

    /// Changes 32 bits of the card's configuration space before it is probed.
    pub(crate) fn poke_config(&self, offset: usize, value: u32) {
        let mut state = self.0.borrow_mut();
        let card = state
            .config
            .get_mut(&(SLOT.bus, SLOT.device))
            .expect("built");
        card[offset / 4] = value;
    }

    pub(crate) fn remove_card(&self) {
        self.0.borrow_mut().config.remove(&(SLOT.bus, SLOT.device));
    }

    pub(crate) fn bus_master(&self) -> bool {
        self.0.borrow().config[&(SLOT.bus, SLOT.device)][1] & 4 != 0
    }

    pub(crate) fn features(&self) -> u64 {
        self.0.borrow().taken
    }

    pub(crate) fn status(&self) -> u8 {
        self.0.borrow().status
    }

    pub(crate) fn set_pages_left(&self, pages: usize) {
        self.0.borrow_mut().pages_left = pages;
    }

    /// From now on a reset does not finish.
    pub(crate) fn get_stuck(&self) {
        self.0.borrow_mut().faults.stuck_reset = true;
    }

    /// Whether the queue was notified since the last call.
    pub(crate) fn take_notified(&self, queue: usize) -> bool {
        std::mem::take(&mut self.0.borrow_mut().notified[queue])
    }

    /// Interrupts of the queue since the last call.
    pub(crate) fn take_interrupts(&self, queue: usize) -> u32 {
        let mut state = self.0.borrow_mut();
        let vector = usize::from(state.queues[queue].vector);
        if vector == 0xffff {
            return 0;
        }
        std::mem::take(&mut state.interrupts[vector])
    }

    /// Bytes of live memory shared with the device.
    pub(crate) fn live_areas(&self) -> usize {
        let state = self.0.borrow();
        state
            .memory
            .values()
            .filter(|weak| weak.strong_count() > 0)
            .count()
    }

    fn find(&self, address: u64, length: usize) -> (Bytes, usize) {
        let state = self.0.borrow();
        assert!(
            state.config[&(SLOT.bus, SLOT.device)][1] & 4 != 0,
            "no mastering"
        );
        let (base, weak) = state
            .memory
            .range(..=address)
            .next_back()
            .expect("an address that exists");
        let bytes = weak.upgrade().expect("memory that was not given back");
        let offset = (address - base) as usize;
        assert!(offset + length <= bytes.borrow().len(), "past the memory");
        (bytes, offset)
    }

    pub(crate) fn read_memory(&self, address: u64, length: usize) -> Vec<u8> {
        let (bytes, offset) = self.find(address, length);
        bytes.borrow()[offset..offset + length].to_vec()
    }

    pub(crate) fn write_memory(&self, address: u64, from: &[u8]) {
        let (bytes, offset) = self.find(address, from.len());
        bytes.borrow_mut()[offset..offset + from.len()].copy_from_slice(from);
    }

    fn read16(&self, address: u64) -> u16 {
        u16::from_le_bytes(self.read_memory(address, 2).try_into().expect("two bytes"))
    }

    fn queue(&self, queue: usize) -> Queue {
        let state = self.0.borrow();
        assert_eq!(state.status & 0x84, 4, "DRIVER_OK and not FAILED");
        assert!(state.queues[queue].enabled);
        state.queues[queue].clone()
    }

    fn event_index(&self) -> bool {
        self.features() & EVENT_INDEX != 0
    }

    /// Chains made available and not popped.
    pub(crate) fn available(&self, queue: usize) -> u16 {
        let q = self.queue(queue);
        self.read16(q.addresses[1] + 2)
            .wrapping_sub(q.last_available)
    }

    /// Takes the next available chain.
    pub(crate) fn pop(&self, queue: usize) -> Option<Chain> {
        let q = self.queue(queue);
        let available = self.available(queue);
        assert!(
            available <= q.size,
            "2.7.13.3.1: no more than the ring holds"
        );
        if available == 0 {
            return None;
        }
        let entry = u64::from(q.last_available % q.size);
        let head = self.read16(q.addresses[1] + 4 + 2 * entry);
        let mut chain = Chain {
            head,
            readable: Vec::new(),
            writable: Vec::new(),
        };
        let mut next = Some(head);
        let mut steps = 0;
        while let Some(index) = next {
            assert!(index < q.size && steps < q.size, "2.7.5.3.1: no loops");
            steps += 1;
            let bytes = self.read_memory(q.addresses[0] + 16 * u64::from(index), 16);
            let address = u64::from_le_bytes(bytes[..8].try_into().expect("8"));
            let length = u32::from_le_bytes(bytes[8..12].try_into().expect("4"));
            let flags = u16::from_le_bytes([bytes[12], bytes[13]]);
            assert!(flags & !3 == 0, "only NEXT and WRITE");
            if flags & 2 == 0 {
                assert!(chain.writable.is_empty(), "2.7.4.2: readable ones first");
                chain.readable.push((address, length));
            } else {
                chain.writable.push((address, length));
            }
            next = (flags & 1 != 0).then(|| u16::from_le_bytes([bytes[14], bytes[15]]));
        }
        let mut state = self.0.borrow_mut();
        let q = &mut state.queues[queue];
        q.last_available = q.last_available.wrapping_add(1);
        assert!(!q.in_device.contains(&head), "a chain given twice");
        q.in_device.push(head);
        Some(chain)
    }

    /// Claims to be done with a chain, or whatever `head` says.
    pub(crate) fn push(&self, queue: usize, head: u32, length: u32) {
        let q = self.queue(queue);
        let entry = q.addresses[2] + 4 + 8 * u64::from(q.used % q.size);
        self.write_memory(entry, &head.to_le_bytes());
        self.write_memory(entry + 4, &length.to_le_bytes());
        self.move_used(queue, 1);
        let mut state = self.0.borrow_mut();
        let q = &mut state.queues[queue];
        q.in_device.retain(|&held| u32::from(held) != head);
    }

    /// Moves the used index without entries.
    pub(crate) fn move_used(&self, queue: usize, by: u16) {
        let used = self.queue(queue).used.wrapping_add(by);
        self.0.borrow_mut().queues[queue].used = used;
        self.write_memory(self.queue(queue).addresses[2] + 2, &used.to_le_bytes());
    }

    /// Interrupts if the driver asked for it (section 2.7.10, decided entry by entry here).
    pub(crate) fn signal(&self, queue: usize) {
        let q = self.queue(queue);
        let wanted = if self.event_index() {
            let event = self.read16(q.addresses[1] + 4 + 2 * u64::from(q.size));
            let mut index = q.signalled;
            let mut wanted = false;
            while index != q.used {
                wanted |= index == event;
                index = index.wrapping_add(1);
            }
            wanted
        } else {
            self.read16(q.addresses[1]) & 1 == 0 && q.signalled != q.used
        };
        let mut state = self.0.borrow_mut();
        state.queues[queue].signalled = q.used;
        let entry = usize::from(q.vector);
        if wanted && q.vector != 0xffff {
            assert_eq!(state.msix[4 * entry + 3] & 1, 0, "unmasked");
            assert_eq!(state.msix[4 * entry], 0xfee0_0000);
            let control = state.config[&(SLOT.bus, SLOT.device)][0x40 / 4];
            assert_eq!(control >> 30, 2, "MSI-X on and not masked");
            state.interrupts[entry] += 1;
        }
    }

    /// Goes to sleep: asks to be notified of the next chain. Returns whether one is there already.
    pub(crate) fn sleep(&self, queue: usize) -> bool {
        let q = self.queue(queue);
        if self.event_index() {
            let event = q.addresses[2] + 4 + 8 * u64::from(q.size);
            self.write_memory(event, &q.last_available.to_le_bytes());
        } else {
            self.write_memory(q.addresses[2], &0u16.to_le_bytes());
        }
        self.available(queue) > 0
    }

    /// Stays awake: wants no notifications (with event indices nothing is said: 2.7.10).
    pub(crate) fn wake(&self, queue: usize) {
        if !self.event_index() {
            let q = self.queue(queue);
            self.write_memory(q.addresses[2], &1u16.to_le_bytes());
        }
    }

    /// Brings a packet to the driver; `false` when it has no buffer for it.
    pub(crate) fn deliver(&self, packet: &[u8]) -> bool {
        let Some(chain) = self.pop(0) else {
            return false;
        };
        assert!(chain.readable.is_empty());
        let room: usize = chain.writable.iter().map(|piece| piece.1 as usize).sum();
        // Section 5.1.6: 12 bytes, of which the last two count the buffers.
        let mut bytes = vec![0; 12];
        bytes[10] = 1;
        bytes.extend_from_slice(packet);
        assert!(bytes.len() <= room, "the test sends what fits");
        let mut rest = &bytes[..];
        for (address, length) in chain.writable {
            let now = rest.len().min(length as usize);
            self.write_memory(address, &rest[..now]);
            rest = &rest[now..];
        }
        self.push(0, u32::from(chain.head), bytes.len() as u32);
        true
    }

    /// Reads a packet the driver sends, without being done with it.
    pub(crate) fn fetch(&self) -> Option<(u16, Vec<u8>)> {
        let chain = self.pop(1)?;
        assert!(chain.writable.is_empty());
        let mut bytes = Vec::new();
        for (address, length) in chain.readable {
            bytes.extend(self.read_memory(address, length as usize));
        }
        assert_eq!(&bytes[..10], &[0; 10], "no offloads were agreed upon");
        Some((chain.head, bytes.split_off(12)))
    }

    fn register_read(&self, offset: u64, width: u64) -> u64 {
        let state = self.0.borrow();
        let queue = &state.queues[state.queue.min(2)];
        match (offset, width) {
            (4, 4) if state.select < 2 => state.faults.offered >> (32 * state.select) & 0xffff_ffff,
            (18, 2) => 3,
            (20, 1) => u64::from(state.status),
            (21, 1) if state.faults.restless_config => {
                drop(state);
                let mut state = self.0.borrow_mut();
                state.generation = state.generation.wrapping_add(1);
                u64::from(state.generation)
            }
            (21, 1) => u64::from(state.generation),
            (24, 2) => u64::from(if queue.size == 0 {
                state.faults.queue_max
            } else {
                queue.size
            }),
            (26, 2) => u64::from(queue.vector),
            (28, 2) => u64::from(queue.enabled),
            (30, 2) => state.queue as u64,
            (0x2000..0x2008, 1) if state.faults.disk.is_some() => {
                let sectors = state.faults.disk.unwrap_or(0);
                u64::from(sectors.to_le_bytes()[(offset - 0x2000) as usize])
            }
            (0x2000..0x2006, 1) => u64::from(MAC[(offset - 0x2000) as usize]),
            (0x2006, 1) => 1,
            (0x2007, 1) => 0,
            (0x200a, 1) => u64::from(state.faults.mtu & 0xff),
            (0x200b, 1) => u64::from(state.faults.mtu >> 8),
            _ => panic!("read of {width} bytes at {offset:#x}"),
        }
    }

    fn register_write(&self, offset: u64, width: u64, value: u64) {
        let mut state = self.0.borrow_mut();
        let state = &mut *state;
        let features_done = state.status & 8 != 0;
        let queue = &mut state.queues[state.queue.min(2)];
        match (offset, width) {
            (0 | 8, 4) => state.select = value as u32,
            (12, 4) => {
                assert!(!features_done, "3.1.1: features before FEATURES_OK");
                let shift = 32 * state.select;
                state.taken = state.taken & !(0xffff_ffff << shift) | value << shift;
                assert_eq!(state.taken & !state.faults.offered, 0, "only offered ones");
            }
            (16, 2) => assert_eq!(value, 0xffff),
            (20, 1) => Self::set_status(state, value as u8),
            (22, 2) => state.queue = value as usize,
            (24, 2) => {
                assert!(features_done && (value as u16).is_power_of_two());
                assert!(value as u16 <= state.faults.queue_max);
                queue.size = value as u16;
            }
            (26, 2) => {
                let known = value < u64::from(state.faults.vectors);
                queue.vector = if known { value as u16 } else { 0xffff };
            }
            (28, 2) => {
                assert_eq!(value, 1);
                assert!(state.status & 4 == 0, "3.1.1: queues before DRIVER_OK");
                let [d, a, u] = queue.addresses;
                assert!(d % 16 == 0 && a % 2 == 0 && u % 4 == 0, "2.7: alignment");
                queue.enabled = true;
            }
            (32..56, 4) => {
                let at = ((offset - 32) / 8) as usize;
                let shift = 8 * (offset % 8);
                let old = queue.addresses[at];
                queue.addresses[at] = old & !(0xffff_ffff << shift) | value << shift;
            }
            (0x1000..0x1100, 2) => {
                let index = (offset - 0x1000) / u64::from(state.faults.notify_offset.max(1));
                assert_eq!(index, value, "4.1.5.2: the queue's own place");
                assert!(state.status & 4 != 0, "3.1.1: no notifications before");
                state.notified[index as usize] = true;
            }
            (0x3000..0x3030, 4) => state.msix[((offset - 0x3000) / 4) as usize] = value as u32,
            _ => panic!("write of {width} bytes at {offset:#x}"),
        }
    }

    fn set_status(state: &mut State, value: u8) {
        if value == 0 {
            state.queues = Default::default();
            for queue in &mut state.queues {
                queue.vector = 0xffff;
            }
            state.taken = 0;
            state.status = if state.faults.stuck_reset { 0x40 } else { 0 };
            return;
        }
        assert_eq!(state.status & !value, 0, "2.1.1: bits are only added");
        state.status = value;
        if value & 8 != 0 && state.faults.refuse_features {
            state.status &= !8;
        }
    }
}

impl ConfigSpace for World {
    fn config_read(&self, at: Address, offset: u8) -> u32 {
        assert_eq!(offset % 4, 0);
        let state = self.0.borrow();
        match state.config.get(&(at.bus, at.device)) {
            Some(words) if at.function == 0 => words[usize::from(offset / 4)],
            _ => u32::MAX,
        }
    }

    fn config_write(&self, at: Address, offset: u8, value: u32) {
        assert_eq!(at, SLOT, "nobody else is written to");
        let mut state = self.0.borrow_mut();
        let words = state.config.get_mut(&(at.bus, at.device)).expect("built");
        let decoding = words[1] & 3 != 0;
        match offset {
            4 => words[1] = words[1] & 0xffff_0000 | value & 0xffff,
            // BAR 0: 64 bits, 16 KiB.
            0x10 => {
                assert!(!decoding, "moved while decoding");
                words[4] = value & !0x3fff | 0xc;
            }
            0x14 => {
                assert!(!decoding, "moved while decoding");
                words[5] = value;
            }
            0x40 => words[0x10] = words[0x10] & 0x3fff_ffff | value & 0xc000_0000,
            _ => panic!("write to {offset:#x}"),
        }
    }
}

/// A block of the card's registers.
pub(crate) struct Window {
    world: World,
    start: u64,
    length: u64,
}

impl Window {
    fn at(&self, offset: u64, width: u64) -> u64 {
        assert!(offset.is_multiple_of(width) && offset + width <= self.length);
        self.start + offset
    }
}

impl Registers for Window {
    fn read8(&self, offset: u64) -> u8 {
        self.world.register_read(self.at(offset, 1), 1) as u8
    }
    fn read16(&self, offset: u64) -> u16 {
        self.world.register_read(self.at(offset, 2), 2) as u16
    }
    fn read32(&self, offset: u64) -> u32 {
        self.world.register_read(self.at(offset, 4), 4) as u32
    }
    fn write8(&self, offset: u64, value: u8) {
        self.world
            .register_write(self.at(offset, 1), 1, u64::from(value));
    }
    fn write16(&self, offset: u64, value: u16) {
        self.world
            .register_write(self.at(offset, 2), 2, u64::from(value));
    }
    fn write32(&self, offset: u64, value: u32) {
        self.world
            .register_write(self.at(offset, 4), 4, u64::from(value));
    }
}

thread_local! {
    static VECTORS: Cell<u8> = const { Cell::new(0x40) };
}

/// Leaves no interrupt vectors for this thread.
pub(crate) fn exhaust_vectors() {
    VECTORS.set(u8::MAX);
}

impl Platform for World {
    type Area = Memory;
    type Page = Memory;
    type Registers = Window;

    fn area(&self, length: usize) -> Result<Memory, OutOfMemory> {
        Ok(Memory::new(self, length))
    }

    fn copy(&self, from: &Memory, offset: usize, length: usize, into: &Memory) {
        let mut bytes = vec![0; length];
        from.read(offset, &mut bytes);
        into.fill(&bytes);
    }

    fn page(&self) -> Result<Memory, OutOfMemory> {
        let left = self.0.borrow().pages_left;
        self.set_pages_left(left.checked_sub(1).ok_or(OutOfMemory)?);
        Ok(Memory::new(self, 4096))
    }

    fn map(&self, physical: u64, length: u64) -> Option<Window> {
        let start = physical.checked_sub(BAR)?;
        assert!(start + length <= 0x4000, "outside of the BAR");
        Some(Window {
            world: self.clone(),
            start,
            length,
        })
    }

    fn vector(&self) -> Option<MsiVector> {
        let vector = VECTORS.get();
        VECTORS.set(vector.checked_add(1)?);
        Some(MsiVector {
            vector,
            address: 0xfee0_0000,
            data: u32::from(vector),
        })
    }

    fn take_interrupt(&self, _: &MsiVector) -> bool {
        false
    }

    fn random(&self) -> u64 {
        0x0123_4567_89ab_cdef
    }
}
