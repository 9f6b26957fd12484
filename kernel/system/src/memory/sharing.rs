//! Memory made with `MAP_SHARED`: whose it is, and when it can move.
//!
//! Law: shared anonymous memory that one space has alone is private memory with a flag, and moves as
//! such. It becomes an object the moment a second mapping of it is made (fork, or mremap of nothing),
//! and memory of one space again before a move, when the others are gone.

use alloc::sync::Arc;
use alloc::vec::Vec;

use machine::{FrameKind, OutOfMemory};

use super::Space;
use super::area::{Area, AreaFlags, Backing, SharedPages};
use super::limits::PAGE;
use super::object::SharedObject;

impl Space {
    /// Makes objects of all shared memory that this space has alone, so that a second space can have
    /// it too.
    ///
    /// # Errors
    /// [`OutOfMemory`]; what was done is no loss.
    pub(super) fn share_all(&mut self) -> Result<(), OutOfMemory> {
        let alone: Vec<Area> = self
            .areas
            .iter()
            .filter(|area| is_alone(area))
            .cloned()
            .collect();
        alone.iter().try_for_each(|area| self.share(area))
    }

    /// Makes an object of one area of shared memory that this space has alone.
    pub(super) fn share(&mut self, area: &Area) -> Result<(), OutOfMemory> {
        let mut next = area.start;
        while let Some(page) = self.table.next_mapped(next, area.end) {
            next = page + PAGE;
            let Some(mapping) = self.table.get(page) else {
                continue;
            };
            if self.private.contains(page) && mapping.is_shared() {
                let copy = mapping.frame.copy_of(FrameKind::User)?;
                self.table.map(page, copy, area.resting())?;
            }
        }
        // From here on nothing fails.
        self.copied.remove_range(area.start, area.end);
        let object = SharedObject::new();
        next = area.start;
        while let Some(page) = self.table.next_mapped(next, area.end) {
            next = page + PAGE;
            if !self.private.remove(page) {
                // The page of zeros: the object makes its own.
                self.table.unmap(page);
            } else if let Some(mapping) = self.table.get(page) {
                object.put((page - area.start) / PAGE, mapping.frame);
                self.table.protect(page, area.access);
            }
        }
        let backing = Backing::SharedAnonymous {
            object,
            first_page: 0,
        };
        self.areas.update(area.start, area.end, |part| {
            part.backing = backing.clone();
            part.flags.remove(AreaFlags::SHARED);
        });
        Ok(())
    }

    /// Makes memory of this space of the objects that nobody else has any more.
    ///
    /// # Errors
    /// [`OutOfMemory`]; what was done is no loss.
    pub fn unshare(&mut self) -> Result<(), OutOfMemory> {
        self.unshare_segments()?;
        loop {
            let last = self.areas.iter().find(|area| self.is_last_holder(area));
            let Some(area) = last.cloned() else {
                return Ok(());
            };
            let Backing::SharedAnonymous { object, first_page } = &area.backing else {
                return Ok(());
            };
            let behind = first_page + area.length() / PAGE;
            let pages = object.pages(*first_page, behind);
            let place = |index: u64| area.start + (index - first_page) * PAGE;
            for (index, frame) in &pages {
                self.table.map(place(*index), frame.clone(), area.access)?;
            }
            // What is left in the object is of its other parts.
            object.forget(*first_page, behind);
            for (index, _) in &pages {
                self.private.insert(place(*index));
            }
            self.areas.update(area.start, area.end, |part| {
                part.backing = Backing::Anonymous;
                part.flags.insert(AreaFlags::SHARED);
            });
        }
    }

    /// The same for removed segments of System V that this space is the last one to have attached.
    fn unshare_segments(&mut self) -> Result<(), OutOfMemory> {
        loop {
            let last = self.areas.iter().find(|area| self.is_last_attached(area));
            let Some(area) = last.cloned() else {
                return Ok(());
            };
            let Backing::SharedFile {
                pages, first_page, ..
            } = &area.backing
            else {
                return Ok(());
            };
            let place = |index: u64| area.start + (index - first_page) * PAGE;
            for index in pages.held() {
                // The tables are there from now on, so that taking cannot fail.
                let frame = pages.page(index).map_err(|_| OutOfMemory)?;
                self.table.map(place(index), frame, area.access)?;
            }
            for (index, frame) in pages.take() {
                frame.set_kind(FrameKind::User);
                self.private.insert(place(index));
            }
            self.areas.update(area.start, area.end, |part| {
                part.backing = Backing::Anonymous;
                part.flags.insert(AreaFlags::SHARED);
            });
        }
    }

    /// Whether an area is all of a segment that nobody else has, and nobody can get.
    fn is_last_attached(&self, area: &Area) -> bool {
        let Backing::SharedFile {
            pages, first_page, ..
        } = &area.backing
        else {
            return false;
        };
        let shown = *first_page..first_page + area.length() / PAGE;
        area.flags.contains(AreaFlags::SEGMENT)
            && Arc::strong_count(pages) == 1
            && pages.held().iter().all(|index| shown.contains(index))
    }

    /// Whether an area is of an object that only areas of this space have, each of which shows
    /// another part of it.
    fn is_last_holder(&self, area: &Area) -> bool {
        let Backing::SharedAnonymous { object, .. } = &area.backing else {
            return false;
        };
        let mut parts: Vec<(u64, u64)> = self
            .areas
            .iter()
            .filter_map(|other| match &other.backing {
                Backing::SharedAnonymous {
                    object: same,
                    first_page,
                } if Arc::ptr_eq(same, object) => {
                    Some((*first_page, first_page + other.length() / PAGE))
                }
                _ => None,
            })
            .collect();
        if Arc::strong_count(object) != parts.len() {
            return false;
        }
        parts.sort_unstable();
        let apart = parts.windows(2).all(|pair| pair[0].1 <= pair[1].0);
        // What lies behind a mapping that was cut would be lost.
        let inside = |index: u64| parts.iter().any(|part| (part.0..part.1).contains(&index));
        let pages = object.pages(0, u64::MAX);
        apart && pages.iter().all(|(index, _)| inside(*index))
    }

    /// What of its shared memory keeps this space where it is.
    pub(super) fn sharing_obstacle(&self) -> Option<&'static str> {
        self.areas.iter().find_map(|area| match &area.backing {
            Backing::SharedAnonymous { object, .. }
                if !self.names.contains_key(&object.identity()) && !self.is_last_holder(area) =>
            {
                Some("it shares more memory than home can name")
            }
            Backing::SharedFile { .. } if area.flags.contains(AreaFlags::SEGMENT) => {
                let reason = "it has a segment of System V shared memory that others can attach";
                Some(reason).filter(|_| !self.is_last_attached(area))
            }
            Backing::SharedFile { .. } => Some("it maps a file shared that can be written"),
            _ => None,
        })
    }

    /// Makes memory ready to be described to another node, or says why it cannot move.
    pub fn prepare_to_move(&mut self) -> Option<&'static str> {
        let obstacle = self.obstacle();
        if obstacle.is_none() && self.unshare().is_err() {
            return Some("no memory to make shared memory its own");
        }
        obstacle
    }

    /// Whether a copy of this space needs home to show what is written to this one from then on: home is where
    /// an object can be made of memory that nobody else has so far.
    pub fn would_share(&self) -> bool {
        self.areas
            .iter()
            .any(|area| area.is_shared() || is_alone(area))
    }

    /// Whether another process may see what is written to some of it.
    pub fn is_seen_by_others(&self) -> bool {
        self.areas.has_shared()
    }

    /// Whether it may write to a file through a shared mapping.
    pub fn may_write_to<T: SharedPages + 'static>(&self, file: &Arc<T>) -> bool {
        self.areas.iter().any(|area| match &area.backing {
            Backing::SharedFile {
                pages, writable, ..
            } => *writable && core::ptr::addr_eq(Arc::as_ptr(pages), Arc::as_ptr(file)),
            _ => false,
        })
    }

    /// The handles of the files that this space reads through shared mappings.
    pub fn files_read_shared(&self) -> impl Iterator<Item = u32> {
        self.areas
            .iter()
            .filter(|area| area.flags.contains(AreaFlags::SHARED))
            .filter_map(Area::home_file)
    }
}

/// Whether an area is shared memory that its space has alone.
pub(super) fn is_alone(area: &Area) -> bool {
    area.flags.contains(AreaFlags::SHARED) && matches!(area.backing, Backing::Anonymous)
}
