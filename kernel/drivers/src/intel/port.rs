//! The registers of an Intel gigabit card, and what is done with them before and after its life.
//!
//! Law: every wait for the card is bounded, and a card that does not confirm its reset is taken for
//! one that still writes to memory.
//!
//! Registers and bits: Intel 82574 GbE Controller Family Datasheet (317694), chapter 10, and PCI/PCI-X
//! Family of Gigabit Ethernet Controllers Software Developer's Manual (317453) for the 82540EM.

use machine::MsiVector;

use crate::card::random_mac;
use crate::error::ProbeError;
use crate::pci::{Function, Msix};
use crate::platform::{Platform, Registers};

pub(crate) const CONTROL: u64 = 0x0000;
const STATUS: u64 = 0x0008;
const EEPROM_READ: u64 = 0x0014;
const CONTROL_EXTENSION: u64 = 0x0018;
pub(crate) const CAUSE: u64 = 0x00c0;
pub(crate) const MASK_SET: u64 = 0x00d0;
const MASK_CLEAR: u64 = 0x00d8;
const AUTO_CLEAR: u64 = 0x00dc;
const AUTO_MASK: u64 = 0x00e0;
/// Which MSI-X entry each cause leads to.
const VECTOR_ALLOCATION: u64 = 0x00e4;
const THROTTLE: u64 = 0x00e8;
const RECEIVE_CONTROL: u64 = 0x0100;
const TRANSMIT_CONTROL: u64 = 0x0400;
const TRANSMIT_GAP: u64 = 0x0410;
/// The two rings: base (low, high), length in bytes, head, tail.
pub(crate) const RECEIVE_RING: u64 = 0x2800;
pub(crate) const TRANSMIT_RING: u64 = 0x3800;
const RING_LENGTH: u64 = 0x08;
const RING_HEAD: u64 = 0x10;
pub(crate) const RING_TAIL: u64 = 0x18;
/// Delays of interrupts, relative and absolute, behind either ring.
const RING_DELAYS: [u64; 2] = [0x20, 0x2c];
const TRANSMIT_DESCRIPTOR_CONTROL: u64 = 0x3828;
const RECEIVE_CHECKSUM: u64 = 0x5000;
const RECEIVE_FILTER: u64 = 0x5008;
const MULTICAST_TABLE: u64 = 0x5200;
const MULTICAST_WORDS: u64 = 128;
const ADDRESS_LOW: u64 = 0x5400;
const ADDRESS_HIGH: u64 = 0x5404;
/// All of the above lies below.
const REGISTERS_LEN: u64 = 0x6000;

const CONTROL_MASTER_DISABLE: u32 = 1 << 2;
const CONTROL_LINK_RESET: u32 = 1 << 3;
const CONTROL_AUTO_SPEED: u32 = 1 << 5;
const CONTROL_LINK_UP: u32 = 1 << 6;
const CONTROL_INVERT_LOSS: u32 = 1 << 7;
const CONTROL_FORCE: u32 = 1 << 11 | 1 << 12;
const CONTROL_RESET: u32 = 1 << 26;
const CONTROL_VLAN: u32 = 1 << 30;
const CONTROL_PHY_RESET: u32 = 1 << 31;
const STATUS_LINK_UP: u32 = 1 << 1;
const STATUS_MASTER: u32 = 1 << 19;
/// Sending a message masks what caused it, as [`AUTO_MASK`] says; unmasking forgets an unsent one.
const EXTENSION_AUTO_MASK: u32 = 1 << 24;
const EXTENSION_CLEAR_PENDING: u32 = 1 << 31;
const RECEIVE_ENABLE: u32 = 1 << 1;
const RECEIVE_LONG: u32 = 1 << 5;
const RECEIVE_BROADCAST: u32 = 1 << 15;
/// Buffers of 8192 bytes.
const RECEIVE_SIZE_8192: u32 = 1 << 25 | 2 << 16;
const RECEIVE_STRIP_FCS: u32 = 1 << 26;
const TRANSMIT_ENABLE: u32 = 1 << 1;
const TRANSMIT_PAD: u32 = 1 << 3;
const TRANSMIT_COLLISIONS: u32 = 0x0f << 4 | 0x3f << 12;
/// The 82574 wants this bit set.
const TRANSMIT_MULTIPLE: u32 = 1 << 28;
/// The 82574 wants this bit of its [`TRANSMIT_DESCRIPTOR_CONTROL`] set.
const DESCRIPTOR_COUNT: u32 = 1 << 22;
const GAP_COPPER: u32 = 8 | 8 << 10 | 6 << 20;
const FILTER_EXTENDED: u32 = 1 << 15;
const ADDRESS_VALID: u32 = 1 << 31;
const EEPROM_START: u32 = 1;

/// A receive descriptor was written back, a transmit descriptor was.
pub(crate) const CAUSES: [u32; 2] = [1 << 20, 1 << 22];
const ALLOCATION_VALID: u32 = 8;

/// Register reads to wait for a reset, the EEPROM or the last access to memory; each takes 100 ns or
/// more.
const WAIT_READS: u32 = 1_000_000;
/// Register reads after a reset, while the card fetches its settings from the EEPROM: some ms.
const SETTLE_READS: u32 = 20_000;

/// Which card it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Model {
    /// PCI Express, MSI-X: QEMU's `e1000e`.
    I82574,
    /// PCI, no message-signalled interrupts: QEMU's `e1000`.
    I82540,
}

/// A card's registers, mapped and checked.
pub(crate) struct Port<P: Platform> {
    platform: P,
    function: Function,
    pub(crate) model: Model,
    registers: P::Registers,
}

impl<P: Platform> Port<P> {
    /// Maps the registers and resets the card, which then is silent.
    pub(crate) fn open(
        platform: P,
        function: Function,
        model: Model,
    ) -> Result<Port<P>, ProbeError> {
        let refused = ProbeError::Window;
        let bar = function
            .memory_bar(&platform, 0)
            .filter(|bar| bar.length >= REGISTERS_LEN)
            .ok_or(refused)?;
        let registers = platform.map(bar.base, REGISTERS_LEN).ok_or(refused)?;
        function.enable(&platform);
        let port = Port {
            platform,
            function,
            model,
            registers,
        };
        if !port.shut_down() {
            return Err(ProbeError::Reset);
        }
        port.function.enable(&port.platform);
        (0..SETTLE_READS).for_each(|_| port.settle());
        Ok(port)
    }

    pub(crate) fn platform(&self) -> &P {
        &self.platform
    }

    fn read(&self, register: u64) -> u32 {
        self.registers.read32(register)
    }

    pub(crate) fn write(&self, register: u64, value: u32) {
        self.registers.write32(register, value);
    }

    /// Waits until all that was written has arrived, and all that the card wrote before it did.
    pub(crate) fn settle(&self) {
        self.read(STATUS);
    }

    /// Reads a register until it is `done`: its value then.
    fn wait(&self, register: u64, done: impl Fn(u32) -> bool) -> Option<u32> {
        let mut reads = (0..WAIT_READS).map(|_| self.read(register));
        reads.find(|&value| done(value))
    }

    /// Resets the card and takes its bus mastering away: it reads and writes no memory and does not
    /// interrupt any more. `false` if it does not confirm that.
    pub(crate) fn shut_down(&self) -> bool {
        self.write(MASK_CLEAR, u32::MAX);
        self.write(RECEIVE_CONTROL, 0);
        self.write(TRANSMIT_CONTROL, TRANSMIT_PAD);
        let control = self.read(CONTROL);
        // What is under way to memory ends first: a reset in the middle of it may hang the bus.
        let quiet = self.model == Model::I82540 || {
            self.write(CONTROL, control | CONTROL_MASTER_DISABLE);
            self.wait(STATUS, |status| status & STATUS_MASTER == 0)
                .is_some()
        };
        self.write(CONTROL, control | CONTROL_RESET);
        let reset = self
            .wait(CONTROL, |control| control & CONTROL_RESET == 0)
            .is_some();
        // QEMU's reset keeps the registers: these say once more that the card is off.
        self.write(MASK_CLEAR, u32::MAX);
        let off = self.read(RECEIVE_CONTROL) & RECEIVE_ENABLE == 0
            && self.read(TRANSMIT_CONTROL) & TRANSMIT_ENABLE == 0;
        self.function.disable(&self.platform);
        quiet && reset && off
    }

    /// The address the card has from its EEPROM; a random local one if that is none.
    pub(crate) fn mac(&self) -> [u8; 6] {
        let (low, high) = (self.read(ADDRESS_LOW), self.read(ADDRESS_HIGH));
        let [a, b, c, d] = low.to_le_bytes();
        let [e, f, ..] = high.to_le_bytes();
        let loaded = (high & ADDRESS_VALID != 0).then_some([a, b, c, d, e, f]);
        loaded
            .filter(is_station)
            .or_else(|| self.eeprom_mac().filter(is_station))
            .unwrap_or_else(|| random_mac(&self.platform))
    }

    fn eeprom_mac(&self) -> Option<[u8; 6]> {
        let mut mac = [0; 6];
        for (pair, word) in mac.chunks_exact_mut(2).zip(0..) {
            let [low, high] = self.eeprom_word(word)?.to_le_bytes();
            pair.copy_from_slice(&[low, high]);
        }
        Some(mac)
    }

    fn eeprom_word(&self, word: u32) -> Option<u16> {
        let (place, done) = match self.model {
            Model::I82574 => (2, 1 << 1),
            Model::I82540 => (8, 1 << 4),
        };
        self.write(EEPROM_READ, word << place | EEPROM_START);
        let value = self.wait(EEPROM_READ, |value| value & done != 0)?;
        Some(u16::try_from(value >> 16).expect("half of a register"))
    }

    /// Tells the card where a ring of descriptors is.
    pub(crate) fn set_ring(&self, ring: u64, physical: u64, length: u32) {
        let [low, high] = [physical & 0xffff_ffff, physical >> 32]
            .map(|half| u32::try_from(half).expect("half of an address"));
        self.write(ring, low);
        self.write(ring + 4, high);
        self.write(ring + RING_LENGTH, length);
        self.write(ring + RING_HEAD, 0);
        self.write(ring + RING_TAIL, 0);
        for delay in RING_DELAYS {
            self.write(ring + delay, 0);
        }
    }

    /// Lets the card work: it takes what is for `mac` or for everybody.
    pub(crate) fn start(&self, mac: [u8; 6]) {
        let [a, b, c, d, e, f] = mac;
        self.write(ADDRESS_LOW, u32::from_le_bytes([a, b, c, d]));
        let high = u32::from_le_bytes([e, f, 0, 0]);
        self.write(ADDRESS_HIGH, high | ADDRESS_VALID);
        for word in 0..MULTICAST_WORDS {
            self.write(MULTICAST_TABLE + 4 * word, 0);
        }
        let away = CONTROL_MASTER_DISABLE
            | CONTROL_LINK_RESET
            | CONTROL_INVERT_LOSS
            | CONTROL_FORCE
            | CONTROL_RESET
            | CONTROL_VLAN
            | CONTROL_PHY_RESET;
        let control = self.read(CONTROL) & !away;
        self.write(CONTROL, control | CONTROL_LINK_UP | CONTROL_AUTO_SPEED);
        self.write(RECEIVE_CHECKSUM, 0);
        let mut transmit = TRANSMIT_ENABLE | TRANSMIT_PAD | TRANSMIT_COLLISIONS;
        if self.model == Model::I82574 {
            let filter = self.read(RECEIVE_FILTER);
            self.write(RECEIVE_FILTER, filter & !FILTER_EXTENDED);
            let descriptors = self.read(TRANSMIT_DESCRIPTOR_CONTROL);
            self.write(TRANSMIT_DESCRIPTOR_CONTROL, descriptors | DESCRIPTOR_COUNT);
            transmit |= TRANSMIT_MULTIPLE;
        }
        self.write(TRANSMIT_GAP, GAP_COPPER);
        self.write(TRANSMIT_CONTROL, transmit);
        let receive = RECEIVE_ENABLE | RECEIVE_LONG | RECEIVE_BROADCAST;
        self.write(
            RECEIVE_CONTROL,
            receive | RECEIVE_SIZE_8192 | RECEIVE_STRIP_FCS,
        );
    }

    /// Leads each of [`CAUSES`] to a vector of its own, all masked. `None` if there are no messages:
    /// then the card will not interrupt at all.
    pub(crate) fn set_vectors(&self) -> Option<[MsiVector; 2]> {
        if self.model != Model::I82574 {
            return None;
        }
        let msix = Msix::enable(&self.platform, &self.function)?;
        if msix.entries() < 2 {
            return None;
        }
        let vectors = [self.platform.vector()?, self.platform.vector()?];
        for (entry, vector) in (0..).zip(&vectors) {
            msix.set(entry, vector);
            // An interrupt is asked for once at a time: there is nothing to moderate. QEMU waits
            // 128 us between two all the same.
            self.write(THROTTLE + 4 * u64::from(entry), 0);
        }
        let [received, sent] = CAUSES;
        self.write(AUTO_CLEAR, received | sent);
        self.write(AUTO_MASK, received | sent);
        let extension = self.read(CONTROL_EXTENSION);
        let wanted = EXTENSION_AUTO_MASK | EXTENSION_CLEAR_PENDING;
        self.write(CONTROL_EXTENSION, extension | wanted);
        let [received, sent] = [0, 1].map(|entry| ALLOCATION_VALID | entry);
        self.write(VECTOR_ALLOCATION, received | sent << 8);
        Some(vectors)
    }

    pub(crate) fn link_up(&self) -> bool {
        self.read(STATUS) & STATUS_LINK_UP != 0
    }
}

/// Whether an address can be that of one card.
fn is_station(mac: &[u8; 6]) -> bool {
    mac[0] & 1 == 0 && *mac != [0; 6]
}
