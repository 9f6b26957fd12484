//! A journal: what a node must know after its reboot, on a disk that may tear, lose and turn bits.
//!
//! Law: what was flushed is found again, whole and in order, and nothing is believed that was not written here:
//! a sector that is torn, turned, swapped, stale or not there is found before a byte of it counts. No I/O:
//! writes and flushes come out ([`Journal::poll`]), one at a time, and their ends go in ([`Journal::done`]).
//!
//! The state is a map from numbers to bytes. It is kept in one of two *areas*:
//!
//! ```text
//! area 0: | header | its copy | frame 0 | frame 1 | ...      area 1: the same
//! ```
//!
//! A frame holds changes of the map and begins at a sector of its own, so no sector that was flushed is written
//! again. Each names its generation, its number in it, its place and its length, under a checksum. The next
//! frame is not written before this one is flushed: so of those that do not read well only the last can be one that was being
//! written, and if there is a later one the disk has lost something ([`Refused::Damaged`]).
//!
//! When an area is full, the whole map is written to the other one as the first frames of a new generation; then,
//! when these are flushed, its header, and then the copy of that. The header is what makes them count, so
//! this is done as a whole or not at all. A journal that is opened begins with that: what is left of the last
//! boot is out of the way.
//!
//! A generation has a random half, so that nobody who has bytes of his kept here can forge a frame of a
//! later one. Against somebody with the disk in his hand it does not help: nothing here is encrypted.
//!
//! Not here: what the bytes mean, and one thing that no journal can know: whether the very last frame was
//! torn as it was written, or turned later.
#![no_std]

extern crate alloc;

mod format;
#[cfg(test)]
mod tests;

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::fmt;
use format::{ENTRY_LEN, FRAME_HEADER_LEN, Found, Header};

/// Bytes of a sector.
pub const SECTOR: usize = 512;
/// The longest value, bytes.
pub const VALUE_MAX: usize = 24 << 10;
/// The most that is written at once, bytes.
pub const WRITE_MAX: usize = 64 << 10;
/// Sectors of an area at most: what is behind two of them is not used.
pub const AREA_MAX: u64 = 4096;
/// And at least.
pub const AREA_MIN: u64 = 128;
/// The header and its copy.
const HEADERS: u64 = 2;

/// What the disk is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Write these whole sectors from this one on.
    Write {
        /// The first.
        sector: u64,
        /// At most [`WRITE_MAX`].
        bytes: Vec<u8>,
    },
    /// Bring all that was written to the disk for certain.
    Flush,
}

/// Why a disk is not used. Nothing was written to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It has too few sectors.
    TooSmall,
    /// It holds something else than a journal.
    Foreign,
    /// It holds a journal in another version of the format; which.
    OfVersion(char),
    /// It holds that of another node.
    OfNode(u64),
    /// It holds a journal of which something that was flushed is not there; what.
    Damaged(&'static str),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refused::TooSmall => f.write_str("it is too small"),
            Refused::Foreign => f.write_str("what it holds is no journal"),
            Refused::OfVersion(version) => write!(
                f,
                "its journal is of version {}, which this system does not read",
                version
            ),
            Refused::OfNode(node) => write!(f, "its journal is that of node {node}"),
            Refused::Damaged(what) => write!(f, "its journal is damaged: {what}"),
        }
    }
}

/// The map with this change would not fit into an area, or the value is too long. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// Counts changes: the number of the last one.
pub type Mark = u64;

/// A change: the new value, or none any more.
type Change = (u64, Option<Vec<u8>>);

/// What holds when all that is planned is done.
#[derive(Clone, Copy, Debug)]
struct After {
    area: u64,
    generation: u64,
    sequence: u64,
    /// The next free sector of the area.
    sector: u64,
    flushed: Mark,
}

/// The journal of one node.
#[derive(Clone, Debug)]
pub struct Journal {
    node: u64,
    area_sectors: u64,
    salt: u32,
    now: After,
    live: BTreeMap<u64, Vec<u8>>,
    /// Bytes of all entries of the map.
    live_bytes: usize,
    noted: Mark,
    /// Changes that no write has taken yet.
    pending: VecDeque<Change>,
    /// What is to be done for those that one has.
    plan: VecDeque<Op>,
    after: Option<After>,
    under_way: bool,
    failed: bool,
}

/// How many sectors of a disk a journal uses: those that [`Journal::open`] is to see.
pub fn sectors_used(sectors: u64) -> u64 {
    (sectors / 2).min(AREA_MAX) * 2
}

impl Journal {
    /// Reads a journal from all of the sectors that it uses of a disk; one without anything gets an empty one.
    /// `salt` is drawn at random.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn open(node: u64, salt: u32, disk: &[u8]) -> Result<Journal, Refused> {
        let area_sectors = (disk.len() / SECTOR) as u64 / 2;
        if area_sectors < AREA_MIN {
            return Err(Refused::TooSmall);
        }
        let Found {
            generation,
            area,
            live,
        } = format::read(node, area_sectors, disk)?;
        let live_bytes = live.values().map(|value| cost(value.len())).sum();
        let mut journal = Journal {
            node,
            area_sectors,
            salt,
            now: After {
                area,
                generation,
                sequence: 0,
                sector: 0,
                flushed: 0,
            },
            live,
            live_bytes,
            noted: 0,
            pending: VecDeque::new(),
            plan: VecDeque::new(),
            after: None,
            under_way: false,
            failed: false,
        };
        journal.begin_area();
        Ok(journal)
    }

    /// The values by their numbers, with all changes.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &[u8])> {
        self.live.iter().map(|(key, value)| (*key, &value[..]))
    }

    /// One of them.
    pub fn get(&self, key: u64) -> Option<&[u8]> {
        self.live.get(&key).map(|value| &value[..])
    }

    /// Notes a value under a number, in place of what was there.
    ///
    /// # Errors
    /// [`Full`]
    pub fn put(&mut self, key: u64, value: &[u8]) -> Result<Mark, Full> {
        let before = self.get(key).map_or(0, |old| cost(old.len()));
        let bytes = self.live_bytes - before + cost(value.len());
        if value.len() > VALUE_MAX || bytes > self.room() {
            return Err(Full);
        }
        self.live_bytes = bytes;
        self.live.insert(key, value.to_vec());
        Ok(self.note((key, Some(value.to_vec()))))
    }

    /// Notes that there is nothing under a number.
    pub fn remove(&mut self, key: u64) -> Mark {
        if let Some(old) = self.live.remove(&key) {
            self.live_bytes -= cost(old.len());
            self.note((key, None));
        }
        self.noted
    }

    fn note(&mut self, change: Change) -> Mark {
        self.pending.push_back(change);
        self.noted += 1;
        self.noted
    }

    /// Half of an area, so that there is always room for changes behind the map.
    fn room(&self) -> usize {
        (self.area_sectors - HEADERS) as usize * SECTOR / 2
    }

    /// The last change that was noted.
    pub fn noted(&self) -> Mark {
        self.noted
    }

    /// The last change that is on the disk for certain, with all before it.
    pub fn flushed(&self) -> Mark {
        self.now.flushed
    }

    /// Whether the disk has failed: nothing is written any more.
    pub fn has_failed(&self) -> bool {
        self.failed
    }

    /// What the disk is to do next. Nothing more comes before [`Journal::done`] was told how it ended.
    pub fn poll(&mut self) -> Option<Op> {
        if self.failed || self.under_way {
            return None;
        }
        if self.plan.is_empty() && !self.pending.is_empty() {
            self.begin_frame();
        }
        let op = self.plan.front().cloned();
        self.under_way = op.is_some();
        op
    }

    /// What [`Journal::poll`] gave out last has been done, or could not be.
    pub fn done(&mut self, succeeded: bool) {
        if !core::mem::take(&mut self.under_way) {
            return;
        }
        if !succeeded {
            self.failed = true;
            return;
        }
        self.plan.pop_front();
        if self.plan.is_empty()
            && let Some(after) = self.after.take()
        {
            self.now = after;
        }
    }

    /// Plans a frame with as many changes as it takes, or a new generation if there is no room for it.
    fn begin_frame(&mut self) {
        let mut taken = 0;
        let mut bytes = FRAME_HEADER_LEN;
        for (_, value) in &self.pending {
            let more = cost(value.as_ref().map_or(0, Vec::len));
            if bytes + more > WRITE_MAX {
                break;
            }
            bytes += more;
            taken += 1;
        }
        let After {
            area,
            generation,
            sequence,
            sector,
            flushed,
        } = self.now;
        let sectors = bytes.div_ceil(SECTOR) as u64;
        if sector + sectors > self.area_sectors {
            return self.begin_area();
        }
        let place = area * self.area_sectors + sector;
        let changes: Vec<Change> = self.pending.drain(..taken).collect();
        let changes = changes.iter().map(|(key, value)| (*key, value.as_deref()));
        let bytes = format::frame((generation, sequence), place, changes);
        self.plan.push_back(Op::Write {
            sector: place,
            bytes,
        });
        self.plan.push_back(Op::Flush);
        self.after = Some(After {
            sequence: sequence + 1,
            sector: sector + sectors,
            flushed: flushed + taken as u64,
            ..self.now
        });
    }

    /// Plans a new generation in the other area: the map, and then the header that makes it count.
    fn begin_area(&mut self) {
        self.pending.clear();
        let area = 1 - self.now.area;
        let generation = format::after(self.now.generation, self.salt);
        let start = area * self.area_sectors;
        let (mut sequence, mut sector) = (0, HEADERS);
        let mut entries = self.live.iter().peekable();
        while entries.peek().is_some() {
            let mut bytes = FRAME_HEADER_LEN;
            let mut some = Vec::new();
            while let Some((key, value)) = entries.peek()
                && bytes + cost(value.len()) <= WRITE_MAX
            {
                bytes += cost(value.len());
                some.push((**key, Some(&value[..])));
                entries.next();
            }
            let place = start + sector;
            self.plan.push_back(Op::Write {
                sector: place,
                bytes: format::frame((generation, sequence), place, some.into_iter()),
            });
            sequence += 1;
            sector += bytes.div_ceil(SECTOR) as u64;
        }
        self.plan.push_back(Op::Flush);
        let header = Header {
            node: self.node,
            generation,
            area_sectors: self.area_sectors,
            first_frames: sequence,
        };
        for copy in 0..HEADERS {
            let place = start + copy;
            self.plan.push_back(Op::Write {
                sector: place,
                bytes: header.sector(start),
            });
            self.plan.push_back(Op::Flush);
        }
        self.after = Some(After {
            area,
            generation,
            sequence,
            sector,
            flushed: self.noted,
        });
    }
}

/// What an entry takes of a frame.
fn cost(length: usize) -> usize {
    ENTRY_LEN + length
}
