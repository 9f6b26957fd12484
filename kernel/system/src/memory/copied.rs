//! Pages that travel before the memory they belong to: while the program still runs and changes them.
//!
//! Law: a page in the `copied` set is one with contents of its own that are on their way to the target
//! or there, and the program cannot write to it: the fault of its first write, or of the kernel's in
//! its place, takes it out of the set. So nobody has to look for changes. A page that is sent again
//! is sent when the copy before it has arrived, so that no old one can come behind a new one.
//!
//! ```text
//! record    held: how many pages the target has, u64
//!           then, for every piece of 2 MiB that differs from what was sent, up to the end:
//!           number, absent pages, pages that are gone (a bit per page, 512 bits each)
//! ```

use alloc::vec::Vec;

use machine::{Access, Frame, FrameKind, OutOfMemory, PageTable};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::area::Area;
use super::limits::PAGE;
use super::page_set::{Chunk, PageSet};
use super::record::take;
use super::{Installed, Space};

/// What of a piece of 2 MiB is not at the target as it was sent.
#[repr(C)]
#[derive(Clone, FromBytes, IntoBytes, KnownLayout, Immutable)]
struct Differs {
    number: u64,
    absent: Chunk,
    gone: Chunk,
}

/// Every page of which a copy was sent, whatever has become of it.
#[derive(Debug, Default)]
pub struct Sent(PageSet);

impl Sent {
    /// Notes a page; false if it was sent before.
    pub fn insert(&mut self, page: u64) -> bool {
        self.0.insert(page)
    }
}

/// Pages of a process that is not here yet.
pub struct Copies {
    table: PageTable,
    pages: PageSet,
    /// The areas by which the pages have their rights.
    areas: Vec<(u64, u64, Access)>,
}

/// The place and the rights of an area.
fn outline_of(area: &Area) -> (u64, u64, Access) {
    (area.start, area.end, area.access)
}

/// The source's side.
impl Space {
    /// A new move begins: nothing is at its target.
    pub fn forget_copied(&mut self) {
        self.copied = PageSet::default();
        self.by_block = false;
    }

    /// The first page at or behind `from` that has to be sent and is not copied.
    pub fn next_uncopied(&self, from: u64) -> Option<u64> {
        self.private.next_outside(&self.copied, from)
    }

    /// How many pages have to be sent and are not copied.
    pub fn uncopied_count(&self) -> u64 {
        self.private.len() - self.copied.len()
    }

    /// Whether a page is at the target as it is here.
    pub fn is_copied(&self, page: u64) -> bool {
        self.copied.contains(page)
    }

    /// The frame of a page, to be sent. From now on a write to it is noticed.
    pub fn copy_out(&mut self, page: u64) -> Option<Frame> {
        let mapping = self.table.get(page)?;
        let resting = mapping.access.difference(Access::WRITE);
        if resting != mapping.access {
            self.table.protect(page, resting);
        }
        self.copied.insert(page);
        Some(mapping.frame)
    }

    /// What the target has to know of the pages that were sent, so that it has this memory but for the
    /// pages that are not copied.
    pub fn copied_record(&self, sent: &Sent) -> Vec<u8> {
        let mut bytes = self.copied.len().to_le_bytes().to_vec();
        for (number, private, sent) in self.private.beside(&sent.0) {
            let copied = self.copied.chunk(number);
            let each = |of: fn(u64, u64, u64) -> u64| {
                core::array::from_fn(|word| of(private[word], copied[word], sent[word]))
            };
            let differs = Differs {
                number,
                absent: each(|private, copied, _| private & !copied),
                gone: each(|private, _, sent| sent & !private),
            };
            if differs.absent != Chunk::default() || differs.gone != Chunk::default() {
                bytes.extend_from_slice(differs.as_bytes());
            }
        }
        bytes
    }
}

/// The target's side.
impl Copies {
    /// Room for copies of the pages of a memory, as far as that is known already.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub fn new(space: Option<&Space>) -> Result<Copies, OutOfMemory> {
        let areas = space.into_iter().flat_map(Space::areas);
        Ok(Copies {
            table: PageTable::new()?,
            pages: PageSet::default(),
            areas: areas.map(outline_of).collect(),
        })
    }

    /// How many pages are here.
    pub fn count(&self) -> u64 {
        self.pages.len()
    }

    /// Keeps a page that was sent, in the place of what was sent of it before.
    pub fn keep(&mut self, page: u64, frame: Frame) -> Installed {
        if !page.is_multiple_of(PAGE) || page >= machine::USER_END {
            return Installed::NotWanted;
        }
        frame.set_kind(FrameKind::User);
        let area = self.areas.partition_point(|(_, end, _)| *end <= page);
        let access = match self.areas.get(area) {
            Some((start, _, access)) if *start <= page => *access,
            // Its area will be known with the image, and its rights with that.
            _ => Access::READ,
        };
        let access = match frame.is_shared() {
            true => access.difference(Access::WRITE),
            false => access,
        };
        if self.table.map(page, frame, access).is_err() {
            return Installed::NoMemory;
        }
        self.pages.insert(page);
        Installed::Yes
    }
}

impl Space {
    /// Takes over the pages that came before this memory, in which all pages are absent so far. The
    /// record may say anything.
    ///
    /// # Errors
    /// What is wrong with it, in words; the memory is worth nothing then.
    pub fn adopt(&mut self, copies: Copies, mut record: &[u8]) -> Result<(), &'static str> {
        const WRONG: &str = "a record of copied pages that does not fit";
        let Copies {
            mut table,
            mut pages,
            areas,
        } = copies;
        let held: u64 = take(&mut record).ok_or(WRONG)?;
        let mut here = core::mem::take(&mut self.absent);
        while !record.is_empty() {
            let Differs {
                number,
                absent,
                gone,
            } = take(&mut record).ok_or(WRONG)?;
            let absent = PageSet::of_chunk(number, absent).ok_or(WRONG)?;
            let gone = PageSet::of_chunk(number, gone).ok_or(WRONG)?;
            for (page, count) in absent.runs() {
                if here.remove_range(page, page + count * PAGE) != count {
                    return Err(WRONG);
                }
                self.absent.insert_range(page, count);
            }
            for (page, count) in absent.runs().chain(gone.runs()) {
                for page in (page..page + count * PAGE).step_by(PAGE as usize) {
                    if pages.remove(page) {
                        table.unmap(page);
                    }
                }
            }
        }
        if here.len() != held || !here.same_pages(&pages) {
            return Err("pages that should have come before are missing");
        }
        self.table = table;
        self.private = here;
        let changed: Vec<(u64, u64)> = self
            .areas
            .iter()
            .filter(|area| !areas.contains(&outline_of(area)))
            .map(|area| (area.start, area.end))
            .collect();
        for (start, end) in changed {
            self.refresh_rights(start, end);
        }
        Ok(())
    }
}
