//! The few facts the kernel takes from ACPI: processors, interrupt controllers, the PM timer.
//!
//! Law: firmware tables are input. Each is checked for signature, length and checksum before it is
//! used, and a machine without them still boots on the standard addresses. Source: ACPI 6.5,
//! sections 5.2.5 (RSDP), 5.2.8 (XSDT), 5.2.9 (FADT), 5.2.12 (MADT).

use super::boot::is_used_ram;
use super::{layout, pages};
use crate::MAX_CPUS;

/// Longest table that is looked at.
const MAX_TABLE: u64 = 1 << 20;
const HEADER: usize = 36;

/// Where the ISA interrupt 4 (COM1) arrives.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SerialInterrupt {
    /// The I/O APIC's registers.
    pub(crate) io_apic: u64,
    /// Input of that I/O APIC.
    pub(crate) input: u32,
    /// Flags of the redirection entry: polarity (bit 13) and trigger (bit 15).
    pub(crate) flags: u32,
}

/// The processors that may be started, by the ids of their local APICs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Processors {
    ids: [u32; MAX_CPUS],
    count: usize,
}

impl Processors {
    const NONE: Processors = Processors {
        ids: [0; MAX_CPUS],
        count: 0,
    };

    /// Those that fit, in the order of the table.
    pub(crate) fn ids(&self) -> &[u32] {
        &self.ids[..self.count]
    }

    fn push(&mut self, id: u32) {
        if self.count < MAX_CPUS && !self.ids().contains(&id) {
            self.ids[self.count] = id;
            self.count += 1;
        }
    }
}

/// What the tables said, or the standard values of a PC.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tables {
    pub(crate) serial: SerialInterrupt,
    /// I/O port of the 3.579545 MHz timer.
    pub(crate) pm_timer: Option<u16>,
    pub(crate) processors: Processors,
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

/// Firmware memory, mapped read-only for ever.
fn firmware(physical: u64, length: u64) -> Option<&'static [u8]> {
    let end = physical.checked_add(length)?;
    if physical == 0 || length == 0 || end > layout::DIRECT_LIMIT || is_used_ram(physical..end) {
        return None;
    }
    let address = pages::firmware_window(physical..end)?;
    // SAFETY: mapped for reading for ever. Firmware tables do not change after boot; they lie in
    // memory that the frame allocator does not own, as was just checked.
    Some(unsafe {
        core::slice::from_raw_parts(address as *const u8, usize::try_from(length).ok()?)
    })
}

fn sums_to_zero(bytes: &[u8]) -> bool {
    bytes.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte)) == 0
}

/// A checked table at a physical address.
fn table(physical: u64) -> Option<&'static [u8]> {
    let length = u64::from(u32_at(firmware(physical, HEADER as u64)?, 4)?);
    if !(HEADER as u64..=MAX_TABLE).contains(&length) {
        return None;
    }
    firmware(physical, length).filter(|bytes| sums_to_zero(bytes))
}

/// Finds the root pointer where firmware for PCs puts it.
fn search_rsdp() -> Option<u64> {
    const AREA: u64 = 0xe_0000;
    let area = firmware(AREA, 0x10_0000 - AREA)?;
    (0..area.len() - HEADER)
        .step_by(16)
        .find(|&at| area[at..].starts_with(b"RSD PTR ") && sums_to_zero(&area[at..at + 20]))
        .map(|at| AREA + at as u64)
}

/// All tables behind the root pointer, those that are wrong left out.
fn all_tables(rsdp: u64) -> Option<impl Iterator<Item = &'static [u8]>> {
    let rsdp = firmware(rsdp, HEADER as u64)?;
    if !rsdp.starts_with(b"RSD PTR ") || !sums_to_zero(&rsdp[..20]) {
        return None;
    }
    let extended = rsdp[15] >= 2 && sums_to_zero(rsdp) && u64_at(rsdp, 24)? != 0;
    let (root, size) = if extended {
        (u64_at(rsdp, 24)?, 8)
    } else {
        (u64::from(u32_at(rsdp, 16)?), 4)
    };
    let root = table(root)?;
    Some(root[HEADER..].chunks_exact(size).filter_map(move |raw| {
        table(if size == 8 {
            u64_at(raw, 0)?
        } else {
            u64::from(u32_at(raw, 0)?)
        })
    }))
}

/// Reads the tables.
pub(crate) fn read(rsdp: u64) -> Tables {
    let mut found = Tables {
        serial: SerialInterrupt {
            io_apic: 0xfec0_0000,
            input: 4,
            flags: 0,
        },
        pm_timer: None,
        processors: Processors::NONE,
    };
    let root = if rsdp == 0 { search_rsdp() } else { Some(rsdp) };
    for table in root.and_then(all_tables).into_iter().flatten() {
        match &table[..4] {
            b"APIC" => {
                found.serial = serial_interrupt(table).unwrap_or(found.serial);
                found.processors = processors(table);
            }
            b"FACP" => found.pm_timer = pm_timer(table),
            _ => {}
        }
    }
    found
}

/// FADT: PM_TMR_BLK, or its extended form if that is an I/O port.
fn pm_timer(fadt: &[u8]) -> Option<u16> {
    let extended = || {
        let is_port = *fadt.get(208)? == 1;
        u64_at(fadt, 212).filter(|&port| is_port && port != 0)
    };
    let port = extended().or_else(|| u32_at(fadt, 76).filter(|&port| port != 0).map(u64::from))?;
    u16::try_from(port).ok()
}

/// The entries of a MADT, as far as they have a length.
fn madt_entries(madt: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = madt.get(44..).unwrap_or_default();
    core::iter::from_fn(move || {
        let length = usize::from(*rest.get(1)?);
        let entry = rest.get(..length).filter(|entry| entry.len() >= 2)?;
        rest = &rest[length..];
        Some(entry)
    })
}

/// MADT: the local APICs of processors that are enabled. An id of more than 8 bits would need
/// x2APIC mode.
fn processors(madt: &[u8]) -> Processors {
    let mut found = Processors::NONE;
    for entry in madt_entries(madt).filter(|entry| entry[0] == 0) {
        if let (Some(&id), Some(flags)) = (entry.get(3), u32_at(entry, 4))
            && flags & 1 != 0
            && id != 0xff
        {
            found.push(u32::from(id));
        }
    }
    found
}

/// MADT: which input of which I/O APIC is ISA interrupt 4.
fn serial_interrupt(madt: &[u8]) -> Option<SerialInterrupt> {
    const COM1: u8 = 4;
    let (mut interrupt, mut flags) = (u32::from(COM1), 0);
    let mut controller: Option<(u32, u64)> = None;
    for entry in madt_entries(madt) {
        if entry[0] == 2 && entry.get(3) == Some(&COM1) {
            interrupt = u32_at(entry, 4)?;
            let mode = u16_at(entry, 8)?;
            flags = if mode & 3 == 3 { 1 << 13 } else { 0 }
                | if mode >> 2 & 3 == 3 { 1 << 15 } else { 0 };
        }
    }
    for entry in madt_entries(madt).filter(|entry| entry[0] == 1) {
        let base = u32_at(entry, 8)?;
        if base <= interrupt && controller.is_none_or(|(best, _)| base >= best) {
            controller = Some((base, u64::from(u32_at(entry, 4)?)));
        }
    }
    controller.map(|(base, io_apic)| SerialInterrupt {
        io_apic,
        input: interrupt - base,
        flags,
    })
}
