//! The virtio block device (virtio 1.2, section 5.2) as a disk of sectors.
//!
//! Law: a request that the disk cannot serve is refused before the device hears of it; one that it was
//! given ends once: with what the device said, or with [`DiskError::TimedOut`], after which the device is
//! reset and is never believed again. What a request reads or writes lies in memory of its own slot.
//!
//! A slot is one chain of two descriptors, which is enough as virtio 1.x leaves the framing to the driver
//! (section 2.7.4): header and data to write in one, data to read and the status byte in the other.
//!
//! Not here: partitions, caches, the order of requests. Writes reach the disk in any order; what is on it
//! for certain is what was done before a flush that has succeeded.

use alloc::vec::Vec;
use core::fmt;

use machine::MsiVector;

use super::VENDOR;
use super::ring::{Buffer, Ring};
use super::transport::{ACCESS_PLATFORM, EVENT_INDEX, Transport, VERSION_1};
use crate::error::ProbeError;
use crate::pci::{self, Function};
use crate::platform::{Area, Machine, Platform};

/// Bytes of a sector, whatever the blocks of the device.
pub const SECTOR: usize = 512;
/// Most bytes of one request.
pub const TRANSFER_MAX: usize = 64 << 10;
/// How long a request may take, ns.
pub const PATIENCE_NS: u64 = 30_000_000_000;

/// Block device, virtio 1.x only and transitional (section 4.1.2).
const DEVICES: [u16; 2] = [0x1042, 0x1001];
const FEATURE_READ_ONLY: u64 = 1 << 5;
const FEATURE_FLUSH: u64 = 1 << 9;
const CONFIG_CAPACITY: u64 = 0;
const CONFIG_LEN: u64 = 8;

const QUEUE: u16 = 0;
/// Descriptors, so that half as many requests can be under way.
const QUEUE_SIZE: u16 = 16;

const READ: u32 = 0;
const WRITE: u32 = 1;
const FLUSH: u32 = 4;
const HEADER_LEN: usize = 16;
const STATUS_OK: u8 = 0;
const STATUS_UNSUPPORTED: u8 = 2;
/// What no device answers.
const STATUS_NONE: u8 = 0xff;
/// Where the data of a slot begin: behind the header, at a sector's bounds.
const DATA: usize = SECTOR;
const STATUS: usize = DATA + TRANSFER_MAX;
const STRIDE: usize = STATUS + SECTOR;

/// Why a request came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskError {
    /// Not all of its sectors are on the disk.
    OutOfRange,
    /// The disk can only be read.
    ReadOnly,
    /// Nothing, not whole sectors, or more than [`TRANSFER_MAX`] bytes.
    Length,
    /// As many requests as fit are under way.
    Busy,
    /// The device could not do it.
    Io,
    /// The device does not know such requests.
    Unsupported,
    /// The device has not answered in time.
    TimedOut,
    /// The device has said something impossible, or was given up.
    Broken,
}

impl fmt::Display for DiskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DiskError::OutOfRange => "there are no such sectors",
            DiskError::ReadOnly => "it can only be read",
            DiskError::Length => "no number of bytes that it transfers",
            DiskError::Busy => "too many requests are under way",
            DiskError::Io => "input/output error",
            DiskError::Unsupported => "it knows no such requests",
            DiskError::TimedOut => "it does not answer",
            DiskError::Broken => "it has said something impossible",
        })
    }
}

/// Names a request until it is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket(u64);

/// A request that is done.
#[derive(Debug, PartialEq, Eq)]
pub struct Done {
    /// Which one.
    pub ticket: Ticket,
    /// What was read (nothing by the others), or why it came to nothing.
    pub result: Result<Vec<u8>, DiskError>,
}

/// A request under way.
#[derive(Clone, Copy)]
struct Request {
    ticket: Ticket,
    since_ns: u64,
    /// How much is read.
    bytes: usize,
}

/// A disk in use. Dropping it resets the device before its memory is freed.
pub struct Disk<P: Platform = Machine> {
    transport: Transport<P>,
    sectors: u64,
    read_only: bool,
    /// Whether it may keep what was written for itself, so that it has to be told.
    flushes: bool,
    notify: u64,
    interrupts: bool,
    vector: Option<MsiVector>,
    /// `None` only while being dropped.
    memory: Option<Memory<P>>,
    /// By slot.
    requests: Vec<Option<Request>>,
    /// Ended without an answer of the device.
    over: Vec<Done>,
    last_ticket: u64,
    broken: Option<DiskError>,
}

/// What the device may touch while it is not reset.
struct Memory<P: Platform> {
    ring: Ring<P::Area>,
    slots: P::Area,
}

impl Disk {
    /// Takes the first usable disk of the machine into use.
    ///
    /// # Errors
    /// [`ProbeError`] of the first disk found, when none can be used; [`ProbeError::NoDisk`] if there is none.
    pub fn probe() -> Result<Disk, ProbeError> {
        Disk::probe_on(&Machine)
    }
}

impl<P: Platform + Clone> Disk<P> {
    /// [`Disk::probe`] on any platform.
    ///
    /// # Errors
    /// As there.
    pub fn probe_on(platform: &P) -> Result<Disk<P>, ProbeError> {
        let found = pci::first_usable(platform, |function| {
            let is_disk = function.vendor == VENDOR && DEVICES.contains(&function.device);
            is_disk.then(|| Disk::open(platform.clone(), *function))
        });
        found.map_err(|error| match error {
            ProbeError::NoCard => ProbeError::NoDisk,
            other => other,
        })
    }
}

impl<P: Platform> Disk<P> {
    fn open(platform: P, function: Function) -> Result<Disk<P>, ProbeError> {
        let transport = Transport::open(platform, function, CONFIG_LEN)?;
        let shut = |error| {
            transport.shut_down();
            error
        };
        let wanted = FEATURE_READ_ONLY | FEATURE_FLUSH | EVENT_INDEX | ACCESS_PLATFORM;
        let features = transport.negotiate(wanted, VERSION_1).map_err(shut)?;
        let capacity = transport.config(CONFIG_CAPACITY);
        let capacity = capacity.ok_or(ProbeError::Registers("configuration"));
        let sectors = capacity.map(u64::from_le_bytes).map_err(shut)?;
        let memory = Memory::new(&transport, features & EVENT_INDEX != 0).map_err(shut)?;
        let slots = usize::from(memory.ring.slots());
        let mut disk = Disk {
            vector: transport.platform().vector(),
            transport,
            sectors,
            read_only: features & FEATURE_READ_ONLY != 0,
            flushes: features & FEATURE_FLUSH != 0,
            notify: 0,
            interrupts: false,
            memory: Some(memory),
            requests: alloc::vec![None; slots],
            over: Vec::new(),
            last_ticket: 0,
            broken: None,
        };
        // From here on dropping the disk resets the device first.
        let ring = &mut disk.memory.as_mut().expect("just made").ring;
        ring.disarm();
        (disk.notify, disk.interrupts) = disk.transport.enable_queue(
            QUEUE,
            ring.slots() * 2,
            ring.addresses(),
            disk.vector.as_ref(),
        )?;
        disk.transport.start();
        Ok(disk)
    }

    fn memory(&mut self) -> &mut Memory<P> {
        self.memory.as_mut().expect("only a dropped disk has none")
    }

    /// How many sectors there are.
    pub fn sectors(&self) -> u64 {
        self.sectors
    }

    /// Whether it can only be read.
    pub fn is_read_only(&self) -> bool {
        self.read_only
    }

    /// Whether [`Disk::arm_interrupt`] leads to interrupts. If not, the caller must poll.
    pub fn has_interrupts(&self) -> bool {
        self.interrupts
    }

    /// How many requests are under way.
    pub fn under_way(&self) -> usize {
        self.requests.iter().flatten().count() + self.over.len()
    }

    /// Begins to read so many sectors from this one on.
    ///
    /// # Errors
    /// [`DiskError`]: the device was not asked.
    pub fn read(&mut self, now_ns: u64, sector: u64, count: usize) -> Result<Ticket, DiskError> {
        let bytes = count.saturating_mul(SECTOR);
        self.check(sector, bytes)?;
        self.ask(now_ns, (READ, sector), &[], bytes)
    }

    /// Begins to write whole sectors from this one on.
    ///
    /// # Errors
    /// [`DiskError`]: the device was not asked.
    pub fn write(&mut self, now_ns: u64, sector: u64, bytes: &[u8]) -> Result<Ticket, DiskError> {
        if self.read_only {
            return Err(DiskError::ReadOnly);
        }
        self.check(sector, bytes.len())?;
        self.ask(now_ns, (WRITE, sector), bytes, 0)
    }

    /// Begins to bring to the disk for certain all that was written by requests that are done.
    ///
    /// # Errors
    /// [`DiskError`]: the device was not asked.
    pub fn flush(&mut self, now_ns: u64) -> Result<Ticket, DiskError> {
        if self.flushes {
            return self.ask(now_ns, (FLUSH, 0), &[], 0);
        }
        // Such a device keeps nothing for itself (section 5.2.6.4).
        self.free_slot()?;
        let ticket = self.next_ticket();
        self.over.push(Done {
            ticket,
            result: Ok(Vec::new()),
        });
        Ok(ticket)
    }

    fn next_ticket(&mut self) -> Ticket {
        self.last_ticket += 1;
        Ticket(self.last_ticket)
    }

    fn check(&self, sector: u64, bytes: usize) -> Result<(), DiskError> {
        if bytes == 0 || bytes > TRANSFER_MAX || !bytes.is_multiple_of(SECTOR) {
            return Err(DiskError::Length);
        }
        let end = sector.checked_add((bytes / SECTOR) as u64);
        match end {
            Some(end) if end <= self.sectors => Ok(()),
            _ => Err(DiskError::OutOfRange),
        }
    }

    fn free_slot(&self) -> Result<u16, DiskError> {
        if let Some(why) = self.broken {
            return Err(why);
        }
        let free = (0..).zip(&self.requests);
        let mut free = free.filter(|(_, request)| request.is_none());
        free.next().map(|(slot, _)| slot).ok_or(DiskError::Busy)
    }

    fn ask(
        &mut self,
        now_ns: u64,
        (kind, sector): (u32, u64),
        data: &[u8],
        bytes: usize,
    ) -> Result<Ticket, DiskError> {
        let slot = self.free_slot()?;
        let ticket = self.next_ticket();
        self.requests[usize::from(slot)] = Some(Request {
            ticket,
            since_ns: now_ns,
            bytes,
        });
        let memory = self.memory();
        let at = usize::from(slot) * STRIDE;
        let mut header = [0; HEADER_LEN];
        header[..4].copy_from_slice(&kind.to_le_bytes());
        header[8..].copy_from_slice(&sector.to_le_bytes());
        memory.slots.write(at + DATA - HEADER_LEN, &header);
        memory.slots.write(at + DATA, data);
        // What is read ends where the status is.
        let answer = at + STATUS - bytes;
        memory.slots.write(at + STATUS, &[STATUS_NONE]);
        let base = memory.slots.physical();
        let piece = |offset: usize, length: usize, writable| Buffer {
            address: base + offset as u64,
            length: length as u32,
            writable,
        };
        let question = piece(at + DATA - HEADER_LEN, HEADER_LEN + data.len(), false);
        let room = piece(answer, bytes + 1, true);
        memory.ring.give(slot, question, Some(room));
        if memory.ring.should_notify() {
            self.transport.notify(QUEUE, self.notify);
        }
        Ok(ticket)
    }

    /// Takes the next request that is done, `None` if there is none now. One that has waited for longer than
    /// [`PATIENCE_NS`] is done, with all others that are under way: the device is given up.
    pub fn poll(&mut self, now_ns: u64) -> Option<Done> {
        if let Some(done) = self.over.pop() {
            return Some(done);
        }
        if self.broken.is_some() {
            return None;
        }
        match self.memory().ring.take() {
            Ok(Some(used)) => {
                let slot = usize::from(used.slot);
                let request = self.requests[slot].take()?;
                return Some(Done {
                    ticket: request.ticket,
                    result: self.answer(slot, request.bytes),
                });
            }
            Ok(None) => {}
            Err(_) => self.give_up(DiskError::Broken),
        }
        let late = |request: &Request| now_ns.saturating_sub(request.since_ns) > PATIENCE_NS;
        if self.requests.iter().flatten().any(late) {
            self.give_up(DiskError::TimedOut);
        }
        self.over.pop()
    }

    fn answer(&mut self, slot: usize, bytes: usize) -> Result<Vec<u8>, DiskError> {
        let at = slot * STRIDE + STATUS;
        let memory = self.memory();
        let mut status = [0];
        memory.slots.read(at, &mut status);
        match status[0] {
            STATUS_OK => {
                let mut data = alloc::vec![0; bytes];
                memory.slots.read(at - bytes, &mut data);
                Ok(data)
            }
            STATUS_UNSUPPORTED => Err(DiskError::Unsupported),
            _ => Err(DiskError::Io),
        }
    }

    /// Resets the device; what is under way is over.
    fn give_up(&mut self, why: DiskError) {
        self.broken = Some(why);
        self.transport.shut_down();
        let over = self.requests.iter_mut().filter_map(Option::take);
        self.over.extend(over.map(|request| Done {
            ticket: request.ticket,
            result: Err(why),
        }));
    }

    /// Asks for one interrupt when the next request is done; returns whether one is already: then no interrupt
    /// may come, and the caller looks now.
    pub fn arm_interrupt(&mut self) -> bool {
        !self.over.is_empty() || (self.broken.is_none() && self.memory().ring.arm(1))
    }
}

impl<P: Platform> Memory<P> {
    fn new(transport: &Transport<P>, event_index: bool) -> Result<Memory<P>, ProbeError> {
        let size = transport.queue_size(QUEUE, QUEUE_SIZE)?;
        let platform = transport.platform();
        let ring = platform.area(Ring::<P::Area>::bytes(size))?;
        let slots = platform.area(usize::from(size / 2) * STRIDE)?;
        Ok(Memory {
            ring: Ring::new(ring, size, event_index),
            slots,
        })
    }
}

impl<P: Platform> Drop for Disk<P> {
    fn drop(&mut self) {
        let quiet = self.transport.shut_down();
        if let Some(memory) = self.memory.take()
            && !quiet
        {
            // The device may still write: its memory is lost rather than given to somebody else.
            core::mem::forget(memory);
        }
    }
}
