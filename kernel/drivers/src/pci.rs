//! PCI configuration space: finding functions, their capabilities and registers.
//!
//! Law: every walk ends, whatever the bytes say: buses are visited once, a capability list has at
//! most as many entries as fit into configuration space, and a base address is used only when its
//! size and place make sense. PCI Local Bus Specification 3.0, chapter 6; MSI-X: section 6.8.2.
//!
//! Not here: assigning addresses. The firmware has done that; a function it left out is reported.

use alloc::vec::Vec;
use core::fmt;

use machine::MsiVector;

use crate::error::ProbeError;
use crate::platform::{ConfigSpace, Platform, Registers};

/// Where a function sits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    /// Bus, 0 to 255.
    pub bus: u8,
    /// Device on the bus, 0 to 31.
    pub device: u8,
    /// Function of the device, 0 to 7.
    pub function: u8,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02x}:{:02x}.{}", self.bus, self.device, self.function)
    }
}

/// A function that answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Function {
    /// Where it sits.
    pub address: Address,
    /// Vendor number, 0x1af4 for virtio.
    pub vendor: u16,
    /// Device number within the vendor's.
    pub device: u16,
    /// Class, subclass and programming interface, in bits 16 to 23, 8 to 15 and 0 to 7.
    pub class: u32,
}

/// A memory base address register: where the registers are and how many bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryBar {
    /// Physical address.
    pub base: u64,
    /// Length in bytes, a power of two.
    pub length: u64,
}

const COMMAND: u8 = 0x04;
const CLASS: u8 = 0x08;
const HEADER_TYPE: u8 = 0x0c;
const BAR_0: u8 = 0x10;
const BUS_NUMBERS: u8 = 0x18;
const CAPABILITIES: u8 = 0x34;

const COMMAND_MEMORY: u32 = 1 << 1;
const COMMAND_IO: u32 = 1;
const COMMAND_MASTER: u32 = 1 << 2;
const COMMAND_NO_INTX: u32 = 1 << 10;
const STATUS_CAPABILITIES: u32 = 1 << 20;

const CAPABILITY_MSIX: u8 = 0x11;
const MSIX_ENABLE: u32 = 1 << 31;
const MSIX_MASK_ALL: u32 = 1 << 30;
const MSIX_ENTRY_LEN: u64 = 16;

/// Capabilities that fit behind the 64-byte header, 4 bytes each at least.
const CAPABILITIES_MAX: usize = (256 - 64) / 4;

/// Every function behind bus 0 and the bridges reachable from it, in the order of the walk.
pub fn functions(space: &impl ConfigSpace) -> Vec<Function> {
    let mut found = Vec::new();
    let mut buses = alloc::vec![0u8];
    let mut visited = [false; 256];
    while let Some(bus) = buses.pop() {
        if core::mem::replace(&mut visited[usize::from(bus)], true) {
            continue;
        }
        for device in 0..32 {
            scan_device(space, bus, device, &mut found, &mut buses);
        }
    }
    found
}

/// Opens every card there is until one can be used. `open` says `None` of what is no card.
///
/// # Errors
/// [`ProbeError`] of the first card that was found, when none can be used.
pub(crate) fn first_usable<C>(
    space: &impl ConfigSpace,
    mut open: impl FnMut(&Function) -> Option<Result<C, ProbeError>>,
) -> Result<C, ProbeError> {
    let mut reason = None;
    for function in functions(space) {
        match open(&function) {
            Some(Ok(card)) => return Ok(card),
            Some(Err(error)) => reason = reason.or(Some(error)),
            None => {}
        }
    }
    Err(reason.unwrap_or(ProbeError::NoCard))
}

fn scan_device(
    space: &impl ConfigSpace,
    bus: u8,
    device: u8,
    found: &mut Vec<Function>,
    buses: &mut Vec<u8>,
) {
    for function in 0..8 {
        let address = Address {
            bus,
            device,
            function,
        };
        let identity = space.config_read(address, 0);
        let vendor = low_half(identity);
        if vendor == 0xffff || vendor == 0 {
            if function == 0 {
                return;
            }
            continue;
        }
        let header = space.config_read(address, HEADER_TYPE) >> 16;
        found.push(Function {
            address,
            vendor,
            device: low_half(identity >> 16),
            class: space.config_read(address, CLASS) >> 8,
        });
        if header & 0x7f == 1 {
            let secondary = (space.config_read(address, BUS_NUMBERS) >> 8) & 0xff;
            buses.push(secondary.try_into().expect("masked to 8 bits"));
        }
        if function == 0 && header & 0x80 == 0 {
            return;
        }
    }
}

fn low_half(value: u32) -> u16 {
    (value & 0xffff).try_into().expect("masked to 16 bits")
}

impl Function {
    /// The capabilities: (identifier, offset in configuration space), in the order of the list.
    pub fn capabilities(&self, space: &impl ConfigSpace) -> Vec<(u8, u8)> {
        let mut list = Vec::new();
        if space.config_read(self.address, COMMAND) & STATUS_CAPABILITIES == 0 {
            return list;
        }
        let mut next = space.config_read(self.address, CAPABILITIES).to_le_bytes()[0] & 0xfc;
        while next >= 0x40 && list.len() < CAPABILITIES_MAX {
            let [identifier, link, ..] = space.config_read(self.address, next).to_le_bytes();
            list.push((identifier, next));
            next = link & 0xfc;
        }
        list
    }

    /// The memory base address register `index` (0 to 5).
    ///
    /// `None`: no such register, an I/O one, one the firmware gave no address, or one of an
    /// impossible size. Decoding is switched off while the size is probed.
    pub fn memory_bar(&self, space: &impl ConfigSpace, index: u8) -> Option<MemoryBar> {
        if index > 5 {
            return None;
        }
        let offset = BAR_0 + 4 * index;
        let low = space.config_read(self.address, offset);
        let wide = match (low & 1, (low >> 1) & 3) {
            (0, 0) => false,
            (0, 2) if index < 5 => true,
            _ => return None,
        };
        let high = if wide {
            space.config_read(self.address, offset + 4)
        } else {
            0
        };
        // The upper half of this word is the status register, whose bits are cleared by ones.
        let command = space.config_read(self.address, COMMAND) & 0xffff;
        let quiet = command & !(COMMAND_MEMORY | COMMAND_IO);
        space.config_write(self.address, COMMAND, quiet);
        space.config_write(self.address, offset, u32::MAX);
        let low_mask = space.config_read(self.address, offset) & !0xf;
        space.config_write(self.address, offset, low);
        let mut high_mask = u32::MAX;
        if wide {
            space.config_write(self.address, offset + 4, u32::MAX);
            high_mask = space.config_read(self.address, offset + 4);
            space.config_write(self.address, offset + 4, high);
        }
        space.config_write(self.address, COMMAND, command);

        let mask = u64::from(high_mask) << 32 | u64::from(low_mask);
        let length = (!mask).checked_add(1)?;
        let base = u64::from(high) << 32 | u64::from(low & !0xf);
        (base != 0
            && low_mask != 0
            && length.is_power_of_two()
            && base.is_multiple_of(length)
            && base.checked_add(length).is_some())
        .then_some(MemoryBar { base, length })
    }

    /// Lets the function decode memory and read and write the machine's memory, without its
    /// interrupt line (INTx).
    pub fn enable(&self, space: &impl ConfigSpace) {
        let command = space.config_read(self.address, COMMAND) & 0xffff;
        let wanted = command | COMMAND_MEMORY | COMMAND_MASTER | COMMAND_NO_INTX;
        space.config_write(self.address, COMMAND, wanted);
    }

    /// Forbids the function to read and write the machine's memory and to interrupt.
    pub fn disable(&self, space: &impl ConfigSpace) {
        let command = space.config_read(self.address, COMMAND) & 0xffff;
        space.config_write(self.address, COMMAND, command & !COMMAND_MASTER);
    }
}

/// The MSI-X table of a function, enabled with every entry masked.
pub struct Msix<R> {
    table: R,
    entries: u16,
}

impl<R: Registers> Msix<R> {
    /// Finds, maps and enables the table; `None` if the function has none or it lies nowhere.
    pub fn enable<P: Platform<Registers = R>>(platform: &P, function: &Function) -> Option<Self> {
        let (_, at) = function
            .capabilities(platform)
            .into_iter()
            .find(|&(identifier, offset)| identifier == CAPABILITY_MSIX && offset <= 244)?;
        let control = platform.config_read(function.address, at);
        let entries = low_half(control >> 16) & 0x7ff;
        let entries = entries + 1;
        let place = platform.config_read(function.address, at + 4);
        let bar = function.memory_bar(platform, (place & 7).to_le_bytes()[0])?;
        let offset = u64::from(place & !7);
        let length = u64::from(entries) * MSIX_ENTRY_LEN;
        if offset + length > bar.length {
            return None;
        }
        let table = platform.map(bar.base + offset, length)?;
        let masked = control | MSIX_ENABLE | MSIX_MASK_ALL;
        platform.config_write(function.address, at, masked);
        for entry in 0..u64::from(entries) {
            table.write32(entry * MSIX_ENTRY_LEN + 12, 1);
        }
        platform.config_write(
            function.address,
            at,
            (control | MSIX_ENABLE) & !MSIX_MASK_ALL,
        );
        Some(Msix { table, entries })
    }

    /// How many entries the table has, 1 to 2048.
    pub fn entries(&self) -> u16 {
        self.entries
    }

    /// Sends entry `index` to `vector` and unmasks it. Panics behind the end of the table.
    pub fn set(&self, index: u16, vector: &MsiVector) {
        assert!(index < self.entries, "no such MSI-X entry");
        let at = u64::from(index) * MSIX_ENTRY_LEN;
        let [low, high] = [vector.address & 0xffff_ffff, vector.address >> 32]
            .map(|half| u32::try_from(half).expect("half of an address"));
        self.table.write32(at, low);
        self.table.write32(at + 4, high);
        self.table.write32(at + 8, vector.data);
        self.table.write32(at + 12, 0);
    }
}

impl<R> fmt::Debug for Msix<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Msix({} entries)", self.entries)
    }
}
