//! An Intel gigabit card made of software, and a machine around it.
//!
//! Law: written from Intel's manuals (82574: 317694, 82540EM: 317453) with numbers of its own, so that
//! a wrong number in the driver does not meet itself here. It touches memory only while the driver
//! lends it and lets it master the bus.

#[path = "../model/memory.rs"]
mod memory;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::{Rc, Weak};

use drivers::pci::Address;
use drivers::platform::{Area, ConfigSpace, Platform, Registers};
use machine::{MsiVector, OutOfMemory};

pub(crate) use memory::Memory;

pub(crate) const MAC: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x56];
const BAR: u64 = 0xfeb0_0000;
const TABLE: u64 = 0xfeb8_0000;

type Bytes = Rc<RefCell<Vec<u8>>>;

/// What the card is, and what can be wrong with it.
#[derive(Clone, Debug)]
pub(crate) struct Faults {
    /// PCI device number: 0x10d3 or 0x100e.
    pub(crate) device: u16,
    pub(crate) stuck_reset: bool,
    pub(crate) stuck_master: bool,
    pub(crate) bar: u32,
    pub(crate) bar_length: u32,
    pub(crate) entries: u32,
    /// The address registers are filled at a reset.
    pub(crate) address_loaded: bool,
    pub(crate) eeprom: Option<[u8; 6]>,
}

impl Faults {
    pub(crate) fn of(device: u16) -> Faults {
        Faults {
            device,
            stuck_reset: false,
            stuck_master: false,
            bar: BAR as u32,
            bar_length: 0x2_0000,
            entries: 5,
            address_loaded: true,
            eeprom: Some(MAC),
        }
    }
}

struct State {
    memory: BTreeMap<u64, Weak<RefCell<Vec<u8>>>>,
    next_address: u64,
    pages_left: usize,
    config: BTreeMap<u8, [u32; 64]>,
    faults: Faults,
    registers: BTreeMap<u64, u32>,
    table: [u32; 20],
    interrupts: [u32; 5],
    /// Vectors whose message came and was not asked about.
    arrived: BTreeSet<u32>,
    tail_writes: [u32; 2],
}

/// A packet that the driver sends: its pieces in memory, its bytes, its last descriptor.
pub(crate) struct Sent {
    pub(crate) pieces: Vec<(u64, u32)>,
    pub(crate) bytes: Vec<u8>,
    pub(crate) last: u32,
}

/// The machine with the card; clones are the same machine.
#[derive(Clone)]
pub(crate) struct World(Rc<RefCell<State>>);

pub(crate) const RECEIVED: u32 = 1 << 20;
const SENT: u32 = 1 << 22;
const CARD: u8 = 3;

impl World {
    pub(crate) fn new(faults: Faults) -> World {
        let mut card = [0u32; 64];
        card[0] = u32::from(faults.device) << 16 | 0x8086;
        card[1] = 0x0010_0000;
        card[2] = 0x0200_0000;
        card[4] = faults.bar;
        if faults.device == 0x10d3 && faults.entries > 0 {
            card[7] = TABLE as u32;
            card[13] = 0xa0;
            card[0xa0 / 4] = (faults.entries - 1) << 16 | 0x11;
            card[0xa4 / 4] = 3;
        } else {
            card[1] = 0;
        }
        World(Rc::new(RefCell::new(State {
            memory: BTreeMap::new(),
            next_address: 0x10_0000,
            pages_left: usize::MAX,
            config: BTreeMap::from([(CARD, card)]),
            faults,
            // As the firmware may have left it: on.
            registers: BTreeMap::from([(0x100, 2), (0x400, 2), (0xd0, u32::MAX)]),
            table: [0; 20],
            interrupts: [0; 5],
            arrived: BTreeSet::new(),
            tail_writes: [0; 2],
        })))
    }

    /// Puts a virtio card in front that has no registers.
    pub(crate) fn add_useless_card(&self) {
        let mut other = [0u32; 64];
        other[0] = 0x1041_1af4;
        self.0.borrow_mut().config.insert(1, other);
    }

    pub(crate) fn bus_master(&self) -> bool {
        self.0.borrow().config[&CARD][1] & 4 != 0
    }

    pub(crate) fn set_pages_left(&self, pages: usize) {
        self.0.borrow_mut().pages_left = pages;
    }

    /// From now on a reset does not finish.
    pub(crate) fn get_stuck(&self) {
        self.0.borrow_mut().faults.stuck_reset = true;
    }

    pub(crate) fn register(&self, offset: u64) -> u32 {
        let state = self.0.borrow();
        state.registers.get(&offset).copied().unwrap_or(0)
    }

    fn set(&self, offset: u64, value: u32) {
        self.0.borrow_mut().registers.insert(offset, value);
    }

    /// How often the tail of a ring (0: receive) was written since the last call.
    pub(crate) fn take_tail_writes(&self, ring: usize) -> u32 {
        std::mem::take(&mut self.0.borrow_mut().tail_writes[ring])
    }

    /// Messages since the last call: for packets, and for room.
    pub(crate) fn take_interrupts(&self) -> (u32, u32) {
        let all = std::mem::take(&mut self.0.borrow_mut().interrupts);
        (all[0], all[1])
    }

    pub(crate) fn live_areas(&self) -> usize {
        let state = self.0.borrow();
        let live = |weak: &&Weak<RefCell<Vec<u8>>>| weak.strong_count() > 0;
        state.memory.values().filter(live).count()
    }

    fn find(&self, address: u64, length: usize) -> (Bytes, usize) {
        assert!(self.bus_master(), "no mastering");
        let state = self.0.borrow();
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

    fn read_memory(&self, address: u64, length: usize) -> Vec<u8> {
        let (bytes, offset) = self.find(address, length);
        bytes.borrow()[offset..offset + length].to_vec()
    }

    fn write_memory(&self, address: u64, from: &[u8]) {
        let (bytes, offset) = self.find(address, from.len());
        bytes.borrow_mut()[offset..offset + from.len()].copy_from_slice(from);
    }

    fn ring(&self, ring: u64) -> (u64, u32, u32, u32) {
        let base = u64::from(self.register(ring + 4)) << 32 | u64::from(self.register(ring));
        let length = self.register(ring + 8);
        assert!(base.is_multiple_of(16) && length.is_multiple_of(128) && length > 0);
        let (head, tail) = (self.register(ring + 0x10), self.register(ring + 0x18));
        let count = length / 16;
        assert!(head < count && tail < count, "inside of the ring");
        (base, count, head, tail)
    }

    /// Receive buffers that the card has.
    pub(crate) fn buffers(&self) -> u32 {
        let (_, count, head, tail) = self.ring(0x2800);
        (tail + count - head) % count
    }

    /// Fills the next receive descriptor and says of it whatever is wanted.
    pub(crate) fn write_back(&self, bytes: &[u8], length: u16, status: u8, errors: u8) -> bool {
        let written = self.write_silently(bytes, length, status, errors);
        if written {
            self.raise(RECEIVED);
        }
        written
    }

    /// The same, and the cause is to come.
    pub(crate) fn write_silently(&self, bytes: &[u8], length: u16, status: u8, errors: u8) -> bool {
        // EN, LPE, BAM, buffers of 8192 bytes, no FCS.
        assert_eq!(self.register(0x100), 0x0602_8022);
        let (base, count, head, _) = self.ring(0x2800);
        if self.buffers() == 0 {
            return false;
        }
        let at = base + 16 * u64::from(head);
        let descriptor = self.read_memory(at, 16);
        assert_eq!(descriptor[8..], [0; 8], "an old descriptor");
        let buffer = u64::from_le_bytes(descriptor[..8].try_into().expect("8"));
        self.write_memory(buffer, bytes);
        // All of the buffer is the card's.
        self.read_memory(buffer, 8192);
        let [low, high] = length.to_le_bytes();
        self.write_memory(at + 8, &[low, high, 0xaa, 0xbb, status, errors, 0, 0]);
        self.set(0x2810, (head + 1) % count);
        true
    }

    /// Brings a packet to the driver; `false` when it has not enough buffers for it.
    pub(crate) fn deliver(&self, packet: &[u8]) -> bool {
        let pieces = packet.chunks(8192).len();
        if (self.buffers() as usize) < pieces {
            return false;
        }
        for (number, piece) in packet.chunks(8192).enumerate() {
            let status = if number + 1 == pieces { 3 } else { 1 };
            self.write_back(piece, piece.len() as u16, status, 0);
        }
        true
    }

    /// Reads a packet the driver sends, without being done with it.
    pub(crate) fn fetch(&self) -> Option<Sent> {
        assert_ne!(self.register(0x400) & 2, 0, "switched on");
        let mut sent = Sent {
            pieces: Vec::new(),
            bytes: Vec::new(),
            last: 0,
        };
        loop {
            let (base, count, head, tail) = self.ring(0x3800);
            if head == tail {
                assert!(sent.pieces.is_empty(), "half a packet");
                return None;
            }
            let bytes = self.read_memory(base + 16 * u64::from(head), 16);
            let address = u64::from_le_bytes(bytes[..8].try_into().expect("8"));
            let length = u16::from_le_bytes([bytes[8], bytes[9]]);
            let command = bytes[11];
            assert_eq!(command & !0b1011, 0, "legacy: EOP, IFCS, RS");
            assert_ne!(command & 2, 0, "with an FCS");
            assert_eq!(bytes[12..], [0; 4], "an old descriptor");
            sent.pieces.push((address, u32::from(length)));
            sent.bytes
                .extend(self.read_memory(address, usize::from(length)));
            self.set(0x3810, (head + 1) % count);
            if command & 1 != 0 {
                assert_ne!(command & 8, 0, "to be reported");
                sent.last = head;
                return Some(sent);
            }
        }
    }

    /// Is done with the packet whose last descriptor this is.
    pub(crate) fn finish(&self, last: u32) {
        let (base, ..) = self.ring(0x3800);
        self.write_memory(base + 16 * u64::from(last) + 12, &[1]);
        self.raise(SENT);
    }

    pub(crate) fn raise(&self, causes: u32) {
        self.set(0xc0, self.register(0xc0) | causes);
        self.message();
    }

    /// Sends the messages that are due: 82574, section 10.2.4.
    fn message(&self) {
        let allocation = self.register(0xe4);
        for (cause, field) in [(RECEIVED, allocation & 15), (SENT, allocation >> 8 & 15)] {
            if self.register(0xc0) & self.register(0xd0) & cause == 0 {
                continue;
            }
            assert!(field & 8 != 0, "a cause without a vector");
            let entry = (field & 7) as usize;
            let mut state = self.0.borrow_mut();
            assert_eq!(state.table[4 * entry + 3] & 1, 0, "unmasked");
            assert_eq!(state.table[4 * entry], 0xfee0_0000);
            assert_eq!(state.config[&CARD][0xa0 / 4] >> 30, 2, "MSI-X on");
            state.interrupts[entry] += 1;
            let vector = state.table[4 * entry + 2];
            state.arrived.insert(vector);
            drop(state);
            self.set(0xc0, self.register(0xc0) & !(cause & self.register(0xdc)));
            if self.register(0x18) & 1 << 24 != 0 {
                self.set(0xd0, self.register(0xd0) & !(cause & self.register(0xe0)));
            }
        }
    }

    fn reset(&self) {
        let mut state = self.0.borrow_mut();
        state.registers.clear();
        if state.faults.stuck_reset {
            state.registers.insert(0, 1 << 26);
        }
        if state.faults.address_loaded {
            let [a, b, c, d, e, f] = state.faults.eeprom.expect("something to load");
            let low = u32::from_le_bytes([a, b, c, d]);
            let high = u32::from_le_bytes([e, f, 0, 0x80]);
            state.registers.extend([(0x5400, low), (0x5404, high)]);
        }
    }

    fn eeprom(&self, value: u32) -> u32 {
        let faults = self.0.borrow().faults.clone();
        let (shift, done) = if faults.device == 0x10d3 {
            (2, 2)
        } else {
            (8, 16)
        };
        assert_eq!(value & 1, 1, "start");
        let at = (value >> shift) as usize * 2;
        faults.eeprom.map_or(0, |bytes| {
            u32::from(u16::from_le_bytes([bytes[at], bytes[at + 1]])) << 16 | done
        })
    }

    fn register_read(&self, offset: u64) -> u32 {
        let value = self.register(offset);
        match offset {
            8 => {
                let silent = self.register(0) & 4 != 0 && !self.0.borrow().faults.stuck_master;
                if silent { 2 } else { 2 | 1 << 19 }
            }
            0 | 0x14 | 0x18 | 0x100 | 0x400 | 0x3828 | 0x5008 | 0x5400 | 0x5404 => value,
            _ => panic!("read of {offset:#x}"),
        }
    }

    fn register_write(&self, offset: u64, value: u32) {
        match offset {
            0 if value & 1 << 26 != 0 => {
                let running = self.register(0x100) & 2 | self.register(0x400) & 2;
                assert_eq!(running, 0, "switched off first");
                self.reset();
            }
            0x14 => self.set(0x14, self.eeprom(value)),
            0xc0 => self.set(0xc0, self.register(0xc0) & !value),
            0xd0 => self.set(0xd0, self.register(0xd0) | value),
            0xd8 => self.set(0xd0, self.register(0xd0) & !value),
            0x2818 | 0x3818 => {
                self.set(offset, value);
                self.0.borrow_mut().tail_writes[usize::from(offset == 0x3818)] += 1;
            }
            0 | 0x18 | 0xdc | 0xe0 | 0xe4 | 0x100 | 0x400 | 0x410 | 0x5000 | 0x5008 => {
                self.set(offset, value);
            }
            0x2800..0x2830 | 0x3800..0x3830 | 0x5200..0x5408 => self.set(offset, value),
            0xe8..0xfc => self.set(offset, value),
            _ => panic!("write to {offset:#x}"),
        }
        if offset == 0xd0 {
            self.message();
        }
    }
}

impl ConfigSpace for World {
    fn config_read(&self, at: Address, offset: u8) -> u32 {
        let state = self.0.borrow();
        match state.config.get(&at.device) {
            Some(words) if (at.bus, at.function) == (0, 0) => words[usize::from(offset / 4)],
            _ => u32::MAX,
        }
    }

    fn config_write(&self, at: Address, offset: u8, value: u32) {
        let mut state = self.0.borrow_mut();
        let length = state.faults.bar_length;
        let words = state.config.get_mut(&at.device).expect("built");
        match offset {
            4 => words[1] = words[1] & 0xffff_0000 | value & 0xffff,
            0x10 => words[4] = value & !(length - 1) | words[4] & 0xf,
            0x1c => words[7] = value & !0x3fff,
            0xa0 => words[0x28] = words[0x28] & 0x3fff_ffff | value & 0xc000_0000,
            _ => panic!("write to {offset:#x}"),
        }
    }
}

/// A block of the card's registers, or its table of messages.
pub(crate) struct Window {
    world: World,
    table: bool,
    length: u64,
}

impl Registers for Window {
    fn read8(&self, offset: u64) -> u8 {
        panic!("the registers have 32 bits: {offset:#x}");
    }
    fn read16(&self, offset: u64) -> u16 {
        panic!("the registers have 32 bits: {offset:#x}");
    }
    fn read32(&self, offset: u64) -> u32 {
        assert!(offset.is_multiple_of(4) && offset < self.length && !self.table);
        self.world.register_read(offset)
    }
    fn write8(&self, offset: u64, value: u8) {
        panic!("the registers have 32 bits: {offset:#x} = {value}");
    }
    fn write16(&self, offset: u64, value: u16) {
        panic!("the registers have 32 bits: {offset:#x} = {value}");
    }
    fn write32(&self, offset: u64, value: u32) {
        assert!(offset.is_multiple_of(4) && offset < self.length);
        if self.table {
            self.world.0.borrow_mut().table[offset as usize / 4] = value;
        } else {
            self.world.register_write(offset, value);
        }
    }
}

thread_local! {
    static VECTORS: Cell<u8> = const { Cell::new(0x40) };
}

/// Leaves so many interrupt vectors for this thread.
pub(crate) fn leave_vectors(count: u8) {
    VECTORS.set(u8::MAX - count);
}

impl Platform for World {
    type Area = Memory;
    type Page = Memory;
    type Registers = Window;

    fn area(&self, length: usize) -> Result<Memory, OutOfMemory> {
        Ok(Memory::new(self, length))
    }

    fn page(&self) -> Result<Memory, OutOfMemory> {
        let left = self.0.borrow().pages_left;
        self.set_pages_left(left.checked_sub(1).ok_or(OutOfMemory)?);
        Ok(Memory::new(self, 4096))
    }

    fn copy(&self, from: &Memory, offset: usize, length: usize, into: &Memory) {
        let mut bytes = vec![0; length];
        from.read(offset, &mut bytes);
        into.fill(&bytes);
    }

    fn map(&self, physical: u64, length: u64) -> Option<Window> {
        assert!([BAR, TABLE].contains(&physical), "{physical:#x}");
        Some(Window {
            world: self.clone(),
            table: physical == TABLE,
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

    fn take_interrupt(&self, vector: &MsiVector) -> bool {
        self.0
            .borrow_mut()
            .arrived
            .remove(&u32::from(vector.vector))
    }

    fn random(&self) -> u64 {
        0x0123_4567_89ab_cdef
    }
}
