//! The disk with the node's journal: wiring between its driver and the System.
//!
//! Law: one write or flush of the journal is under way at a time, as it wants it. A disk that is not this node's
//! journal, or a damaged one, is not written to; the node then runs without, and says so.

use alloc::vec::Vec;
use drivers::{Disk, DiskError, ProbeError, SECTOR, TRANSFER_MAX, Ticket};
use journal::{Journal, Op, sectors_used};
use system::System;

const _: () = assert!(SECTOR == journal::SECTOR && journal::WRITE_MAX <= TRANSFER_MAX);

/// A disk in use for the journal.
pub(crate) struct JournalDisk {
    disk: Disk,
    under_way: Option<Ticket>,
}

impl JournalDisk {
    /// The disk of this machine, if it has one, with the journal that is on it.
    pub(crate) fn open(node: u16) -> Option<(JournalDisk, Journal)> {
        let mut disk = match Disk::probe() {
            Ok(disk) => disk,
            Err(ProbeError::NoDisk) => return None,
            Err(reason) => {
                machine::log!("no disk: {reason}; nothing outlives this boot");
                return None;
            }
        };
        match read(&mut disk, node) {
            Ok(journal) => {
                machine::log!("disk: {} KiB, a journal is kept", disk.sectors() / 2);
                let under_way = None;
                Some((JournalDisk { disk, under_way }, journal))
            }
            Err(reason) => {
                machine::log!("the disk is not used: {reason}; nothing outlives this boot");
                None
            }
        }
    }

    /// Lets the disk do what the System wants, and the System know what it has done.
    pub(crate) fn serve(&mut self, system: &mut System) {
        loop {
            if let Some(ticket) = self.under_way {
                let Some(done) = self.disk.poll(machine::now_ns()) else {
                    return;
                };
                if done.ticket != ticket {
                    continue;
                }
                self.under_way = None;
                if let Err(error) = &done.result {
                    machine::log!("disk: {error}");
                }
                system.disk_done(done.result.is_ok());
            }
            let Some(op) = system.poll_disk() else {
                return;
            };
            let now = machine::now_ns();
            let asked = match &op {
                Op::Write { sector, bytes } => self.disk.write(now, *sector, bytes),
                Op::Flush => self.disk.flush(now),
            };
            match asked {
                Ok(ticket) => self.under_way = Some(ticket),
                Err(error) => {
                    machine::log!("disk: {error}");
                    system.disk_done(false);
                }
            }
        }
    }

    /// Whether the disk has something to say; if not, it will interrupt.
    pub(crate) fn arm_interrupt(&mut self) -> bool {
        self.under_way.is_some() && self.disk.arm_interrupt()
    }

    /// Whether it has to be looked at, as it works and does not call.
    pub(crate) fn is_polled(&self) -> bool {
        self.under_way.is_some() && !self.disk.has_interrupts()
    }
}

/// Reads the journal, with nothing else to do meanwhile.
fn read(disk: &mut Disk, node: u16) -> Result<Journal, alloc::string::String> {
    use alloc::string::ToString;
    if disk.is_read_only() {
        return Err(DiskError::ReadOnly.to_string());
    }
    let end = sectors_used(disk.sectors());
    let mut bytes: Vec<u8> = Vec::new();
    let mut sector = 0;
    while sector < end {
        let count = (end - sector).min((TRANSFER_MAX / SECTOR) as u64);
        let asked = disk.read(machine::now_ns(), sector, count as usize);
        asked.map_err(|error| error.to_string())?;
        let done = loop {
            match disk.poll(machine::now_ns()) {
                Some(done) => break done,
                None => core::hint::spin_loop(),
            }
        };
        bytes.extend(done.result.map_err(|error| error.to_string())?);
        sector += count;
    }
    let salt = machine::random_u64() as u32;
    Journal::open(u64::from(node), salt, &bytes).map_err(|why| why.to_string())
}
