//! A space that moves: what leaves, what is on its way, what arrives.
//!
//! Law: the list of pages to send is kept while the program runs (the `private` set), so writing it
//! down during the freeze costs a scan of bits and no page table walk. At the target every page of
//! that list is absent until it is installed, announced as zero, or thrown away by the program; a
//! page that arrives later than that is not wanted.

use alloc::vec::Vec;

use machine::{Access, Frame, FrameKind, OutOfMemory};

use super::area::{Area, Backing, FileBacking};
use super::areas::Areas;
use super::fault::{FilePart, file_part};
use super::limits::{ABSENT_PAGES_MAX, AREAS_MAX, PAGE, RUNS_MAX, USED_LOOKED_AT};
use super::page_set::PageSet;
use super::record::{AreaRecord, ChunkRecord, Invalid, LayoutRecord, RunRecord};
use super::{Space, page_of};

/// What a process image says of memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpaceRecords {
    /// The areas, sorted.
    pub areas: Vec<AreaRecord>,
    /// The pages that have to be sent, sorted.
    pub runs: Vec<RunRecord>,
    /// The landmarks.
    pub layout: LayoutRecord,
}

/// What became of a page that arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Installed {
    /// The program has it now.
    Yes,
    /// The program has the page already, or threw it away.
    NotWanted,
    /// No frame is free for a page table; the page is still absent.
    NoMemory,
}

impl Space {
    /// This memory as records.
    ///
    /// # Errors
    /// The [`Space::obstacle`] if there is one, or that [`Space::prepare_to_move`] is missing.
    pub fn export(&self) -> Result<SpaceRecords, &'static str> {
        if let Some(obstacle) = self.obstacle() {
            return Err(obstacle);
        }
        let areas = self.export_areas();
        if areas.len() < self.areas.len() {
            return Err("its shared memory has no name yet");
        }
        Ok(SpaceRecords {
            areas,
            runs: self.export_runs(),
            layout: LayoutRecord::of(self),
        })
    }

    /// The areas.
    pub(super) fn export_areas(&self) -> Vec<AreaRecord> {
        let areas = self.areas.iter();
        areas
            .filter_map(|area| AreaRecord::of(area, &self.names))
            .collect()
    }

    /// The pages that are here and have to be sent: all but untouched zeros and unchanged pages of
    /// files. The cost follows the number of 2 MiB pieces and of runs, not of pages.
    pub fn export_runs(&self) -> Vec<RunRecord> {
        self.private
            .runs()
            .map(|(page, count)| RunRecord { page, count })
            .collect()
    }

    /// Memory described by records from another node, with all pages of `runs` absent. The records
    /// may say anything.
    ///
    /// # Errors
    /// What is wrong with them; see [`Invalid`].
    pub fn import(
        areas: &[AreaRecord],
        runs: &[RunRecord],
        layout: &LayoutRecord,
    ) -> Result<Space, Invalid> {
        if areas.len() > AREAS_MAX {
            return Err(Invalid::TooManyAreas);
        }
        if runs.len() > RUNS_MAX {
            return Err(Invalid::TooManyPages);
        }
        layout.check()?;
        let mut checked = Areas::default();
        let mut reached = 0;
        for record in areas {
            let area = record.check()?;
            if area.start < reached {
                return Err(Invalid::AreaOrder);
            }
            reached = area.end;
            checked.insert(area);
        }
        check_runs(runs, &checked)?;
        let mut space = Space::new()?;
        space.areas = checked;
        space.set_layout(layout)?;
        for run in runs {
            space.absent.insert_range(run.page, run.count);
        }
        Ok(space)
    }

    /// Takes over landmarks that may say anything.
    ///
    /// # Errors
    /// [`Invalid::Layout`].
    pub(super) fn set_layout(&mut self, layout: &LayoutRecord) -> Result<(), Invalid> {
        self.layout = layout.check()?;
        self.limits.stack = layout.stack_limit;
        self.lock_future = layout.lock_future;
        Ok(())
    }

    /// Says anew which pages of a piece are absent, before any of them has come.
    ///
    /// # Errors
    /// [`Invalid::RunOutside`] or [`Invalid::TooManyPages`].
    pub(super) fn set_absent(&mut self, record: &ChunkRecord) -> Result<(), Invalid> {
        let chunk = PageSet::of_chunk(record.number, record.pages).ok_or(Invalid::RunOutside)?;
        let inside = |(page, count): (u64, u64)| self.areas.covers(page, page + count * PAGE);
        if !chunk.runs().all(inside) {
            return Err(Invalid::RunOutside);
        }
        self.absent.set_chunk(record.number, record.pages);
        if self.absent.len() > ABSENT_PAGES_MAX {
            return Err(Invalid::TooManyPages);
        }
        Ok(())
    }

    /// The pages that are still at the last source node.
    #[cfg(test)]
    pub(super) fn absent_runs(&self) -> Vec<(u64, u64)> {
        self.absent.runs().collect()
    }

    /// How many pages are still at the last source node.
    pub fn absent_count(&self) -> u64 {
        self.absent.len()
    }

    /// The last source is gone, and what was still there with it: the process must not run any more.
    pub fn forget_absent(&mut self) {
        self.absent = PageSet::default();
    }

    /// Whether the page that holds `address` is still at the last source node.
    pub fn is_absent(&self, address: u64) -> bool {
        self.absent.contains(page_of(address))
    }

    /// The first absent page at or behind `from`.
    pub fn next_absent(&self, from: u64) -> Option<u64> {
        self.absent.next(from)
    }

    /// Gives the program a page that arrived. The frame becomes a user frame; if others hold it
    /// too, the program gets a copy when it writes.
    pub fn install(&mut self, page: u64, frame: Frame) -> Installed {
        self.install_with(page, frame, |area| area.access)
    }

    /// As [`Space::install`]; a frame of its own has the rights that `rights` says.
    pub(super) fn install_with(
        &mut self,
        page: u64,
        frame: Frame,
        rights: fn(&Area) -> Access,
    ) -> Installed {
        if !page.is_multiple_of(PAGE) || !self.absent.remove(page) {
            return Installed::NotWanted;
        }
        let frame = match self.install_in_object(page, frame) {
            Ok(()) => return Installed::Yes,
            Err(frame) => frame,
        };
        let Some(area) = self.areas.find(page) else {
            self.absent.insert(page);
            return Installed::NotWanted;
        };
        let access = if frame.is_shared() {
            area.resting()
        } else {
            rights(area)
        };
        frame.set_kind(FrameKind::User);
        if self.table.map(page, frame, access).is_err() {
            self.absent.insert(page);
            return Installed::NoMemory;
        }
        self.private.insert(page);
        Installed::Yes
    }

    /// Notes that `count` pages from `page` on hold zeros at the source, and gives how many of them
    /// were absent. In anonymous areas they become untouched memory again.
    ///
    /// # Errors
    /// [`OutOfMemory`] when a page of a file whose contents were overwritten with zeros cannot be
    /// made; the pages before it are done, the others are still absent.
    pub fn install_zero(&mut self, page: u64, count: u32) -> Result<u64, OutOfMemory> {
        let from = page_of(page);
        let to = from.saturating_add(u64::from(count) * PAGE);
        let others: Vec<Area> = self
            .areas
            .overlapping(from, to)
            .filter(|area| !matches!(area.backing, Backing::Anonymous))
            .cloned()
            .collect();
        let mut done = 0;
        for area in others {
            let end = area.end.min(to);
            let mut next = area.start.max(from);
            while let Some(page) = self.absent.next(next).filter(|&page| page < end) {
                if self.shows_more(&area, page) {
                    let frame = Frame::zeroed(FrameKind::User)?;
                    if let Err(frame) = self.install_in_object(page, frame) {
                        self.table.map(page, frame, area.access)?;
                        self.private.insert(page);
                    }
                }
                self.absent.remove(page);
                done += 1;
                next = page + PAGE;
            }
        }
        Ok(done + self.absent.remove_range(from, to))
    }

    /// Whether an untouched page of an area would show other bytes than zeros.
    fn shows_more(&self, area: &Area, page: u64) -> bool {
        match &area.backing {
            Backing::Anonymous => false,
            Backing::File(file) => !matches!(file_part(file, area.start, page), FilePart::Zeros),
            _ => true,
        }
    }

    /// Whether a page of a file is wanted there, which is not in memory; its area.
    fn missing(&self, page: u64) -> Option<(&Area, &FileBacking)> {
        let wanted =
            page.is_multiple_of(PAGE) && !self.absent.contains(page) && !self.is_resident(page);
        let area = self.areas.find(page).filter(|_| wanted)?;
        match &area.backing {
            Backing::File(file) => Some((area, file)),
            _ => None,
        }
    }

    /// How many pages from this one on, at most `most`, show one part of a file and are not in memory.
    pub fn missing_from(&self, page: u64, most: u64) -> u64 {
        let Some((area, _)) = self.missing(page) else {
            return 0;
        };
        let there = |index: &u64| {
            let page = page + index * PAGE;
            self.missing(page).is_some_and(|(_, file)| {
                !matches!(file_part(file, area.start, page), FilePart::Zeros)
            })
        };
        let most = most.min((area.end - page) / PAGE);
        (1..most).find(|index| !there(index)).unwrap_or(most)
    }

    /// Gives the program a page of a file that home sent in answer to
    /// [`Trouble::FileMissing`](super::Trouble::FileMissing), unless something is there by now or
    /// what is mapped there is not the page at this offset of the file with this handle.
    pub fn install_file(&mut self, page: u64, part: (u32, u64), frame: Frame) -> Installed {
        let Some((area, file)) = self.missing(page) else {
            return Installed::NotWanted;
        };
        let (offset, valid) = match file_part(file, area.start, page) {
            FilePart::Zeros => return Installed::NotWanted,
            FilePart::Whole(offset) => (offset, None),
            FilePart::Partial { offset, valid } => (offset, Some(valid)),
        };
        if part != (file.home_file, offset) {
            return Installed::NotWanted;
        }
        let rights = match valid {
            Some(_) => area.access,
            None => area.resting(),
        };
        let Ok(frame) = own_frame(frame) else {
            return Installed::NoMemory;
        };
        if let Some(valid) = valid {
            frame.zero(valid, PAGE as usize - valid);
        }
        if self.table.map(page, frame, rights).is_err() {
            return Installed::NoMemory;
        }
        if valid.is_some() {
            self.private.insert(page);
        }
        Installed::Yes
    }

    /// The pages that a thread needs for its next instruction, as far as they have to be sent: the top
    /// of the stack, the page of the instruction, then those around the top.
    pub fn pages_at(&self, instruction: u64, stack: u64) -> impl Iterator<Item = u64> {
        let top = page_of(stack);
        let pages = [
            top,
            page_of(instruction),
            top.saturating_add(PAGE),
            top.saturating_sub(PAGE),
        ];
        pages
            .into_iter()
            .filter(|page| self.private.contains(*page))
    }

    /// Up to `limit` pages that have to be sent and were used since [`Space::forget_accesses`], those of
    /// small areas first.
    pub fn used_pages(&self, limit: usize) -> Vec<u64> {
        let mut used = Vec::new();
        for (from, to) in self.looked_at() {
            let mut next = from;
            while let Some(page) = self.table.next_accessed(next, to) {
                if used.len() == limit {
                    return used;
                }
                if self.private.contains(page) {
                    used.push(page);
                }
                next = page + PAGE;
            }
        }
        used
    }

    /// Clears what is known about which pages were used, so that [`Space::used_pages`] sees what
    /// is used from now on. Done before a freeze, while the program runs.
    pub fn forget_accesses(&mut self) {
        for (from, to) in self.looked_at() {
            self.table.clear_accessed(from, to);
        }
    }

    /// The ranges in which used pages are looked for: as much as [`USED_LOOKED_AT`] allows, small areas
    /// first.
    fn looked_at(&self) -> Vec<(u64, u64)> {
        let mut areas: Vec<(u64, u64)> = self
            .areas
            .iter()
            .map(|area| (area.start, area.end))
            .collect();
        areas.sort_unstable_by_key(|(start, end)| end - start);
        let mut left = USED_LOOKED_AT;
        let ranges = areas.into_iter().filter_map(|(start, end)| {
            let from = self.table.next_mapped(start, end).filter(|_| left > 0)?;
            let to = end.min(from + left * PAGE);
            left -= (to - from) / PAGE;
            Some((from, to))
        });
        ranges.collect()
    }

    /// The first page at or behind `from` that has to be sent.
    pub fn next_present(&self, from: u64) -> Option<u64> {
        self.private.next(from)
    }

    /// How many pages have to be sent.
    pub fn present_count(&self) -> u64 {
        self.private.len()
    }

    /// The frame of a page that has to be sent.
    pub fn page(&self, page: u64) -> Option<Frame> {
        let page = page_of(page);
        if !self.private.contains(page) {
            return None;
        }
        self.table.get(page).map(|mapping| mapping.frame)
    }

    /// Takes out a page that has been sent; the program must not run here any more.
    pub fn take(&mut self, page: u64) -> Option<Frame> {
        let page = page_of(page);
        if !self.private.remove(page) {
            return None;
        }
        self.copied.remove(page);
        self.table.unmap(page)
    }
}

/// A frame that came, as a user frame that nobody else has: a copy, if somebody still has it.
pub(super) fn own_frame(frame: Frame) -> Result<Frame, OutOfMemory> {
    let own = match frame.is_shared() {
        true => frame.copy_of(FrameKind::User)?,
        false => frame,
    };
    own.set_kind(FrameKind::User);
    Ok(own)
}

/// Checks runs against each other, the limits and the areas.
fn check_runs(runs: &[RunRecord], areas: &Areas) -> Result<(), Invalid> {
    let mut reached = 0;
    let mut total: u64 = 0;
    for run in runs {
        total = total
            .checked_add(run.count)
            .filter(|&total| total <= ABSENT_PAGES_MAX)
            .ok_or(Invalid::TooManyPages)?;
        if run.count == 0 || !run.page.is_multiple_of(PAGE) || run.page < reached {
            return Err(Invalid::RunOrder);
        }
        let end = run
            .page
            .checked_add(run.count * PAGE)
            .ok_or(Invalid::RunOutside)?;
        if !areas.covers(run.page, end) {
            return Err(Invalid::RunOutside);
        }
        reached = end;
    }
    Ok(())
}
