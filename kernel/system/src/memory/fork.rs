//! Fork: a second space with the same contents, copied when written.
//!
//! Law: after a fork no private page is writable in either space; who writes first gets the copy,
//! and who is left alone with a frame keeps it.

use alloc::vec::Vec;

use machine::{Access, Frame, OutOfMemory};

use super::area::{Area, AreaFlags};
use super::limits::PAGE;
use super::rings::Rings;
use super::{Areas, PageSet, Space};

impl Space {
    /// A copy of this space for a child. Pages that are still [absent](Space::absent_count) have
    /// to be fetched first: the source node would not know the child.
    ///
    /// # Errors
    /// [`OutOfMemory`]; then this space is as before, except that some pages fault once more.
    pub fn fork(&mut self) -> Result<Space, OutOfMemory> {
        debug_assert!(self.absent.is_empty(), "absent pages cannot be shared");
        self.share_all()?;
        let mut child = Space {
            table: machine::PageTable::new()?,
            areas: Areas::default(),
            private: PageSet::default(),
            copied: PageSet::default(),
            by_block: false,
            left: PageSet::default(),
            absent: PageSet::default(),
            zero: self.zero.clone(),
            layout: self.layout,
            limits: self.limits,
            lock_future: 0,
            rings: Rings::default(),
            outlined: None,
            // The child's home part knows them by the same numbers.
            names: self.names.clone(),
            lent_to: 0,
        };
        let areas: Vec<Area> = self
            .areas
            .iter()
            .filter(|area| !area.flags.contains(AreaFlags::DONT_FORK))
            .cloned()
            .collect();
        for mut area in areas {
            // Locks are not inherited (mlock(2)).
            area.flags.remove(AreaFlags::LOCKED);
            let empty =
                area.backing.is_seen_by_others() || area.flags.contains(AreaFlags::WIPE_ON_FORK);
            if !empty {
                self.share_pages(&area, &mut child)?;
            }
            child.areas.insert(area);
        }
        Ok(child)
    }

    /// The pages that cannot be had again, as they are now: whoever writes to one from here on gets a copy.
    pub fn portrait(&mut self) -> Vec<(u64, Frame)> {
        let mut pages = Vec::with_capacity(self.private.len() as usize);
        let mut next = 0;
        while let Some(page) = self.private.next(next) {
            next = page + PAGE;
            if let Some(mapping) = self.table.get(page) {
                let resting = mapping.access.difference(Access::WRITE);
                if mapping.access != resting {
                    self.table.protect(page, resting);
                }
                pages.push((page, mapping.frame));
            }
        }
        pages
    }

    /// The handles of the files that it shows.
    pub fn home_files(&self) -> impl Iterator<Item = u32> {
        self.areas.iter().filter_map(Area::home_file)
    }

    /// Maps the private pages of an area in the child too, writable in neither. What can be had again
    /// is not mapped: most children touch little of it before they become another program.
    fn share_pages(&mut self, area: &Area, child: &mut Space) -> Result<(), OutOfMemory> {
        let mut next = area.start;
        while let Some(page) = self.private.next(next).filter(|page| *page < area.end) {
            next = page + PAGE;
            let Some(mapping) = self.table.get(page) else {
                continue;
            };
            let resting = mapping.access.difference(Access::WRITE);
            if mapping.access != resting {
                self.table.protect(page, resting);
            }
            child.table.map(page, mapping.frame, resting)?;
            child.private.insert(page);
        }
        Ok(())
    }
}
