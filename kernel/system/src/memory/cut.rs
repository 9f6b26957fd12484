//! What a space loses when a file that it maps changes or gets shorter.
//!
//! Law: pages that lie wholly behind the end go with what was written to them (truncate(2), as Linux
//! unmaps them); the page that the end is in goes unless it was written to privately, and is read anew.

use machine::Access;

use super::Space;
use super::area::{Area, Backing};
use super::limits::PAGE;

impl Space {
    /// The file of a handle has only `size` bytes now.
    pub fn cut_file(&mut self, home_file: u32, size: u64) {
        let parts: alloc::vec::Vec<(u64, u64, u64, bool)> = self
            .areas
            .iter()
            .filter(|area| area.home_file() == Some(home_file))
            .map(|area| {
                let written = area.access.contains(Access::WRITE) && !area.says_shared();
                (area.start, area.end, area.file_offset(), written)
            })
            .collect();
        for (start, end, offset, written) in parts {
            // What was known by its contents is another file now.
            self.areas.update(start, end, forget_hash);
            let at = |place: u64| start + place.saturating_sub(offset).min(end - start);
            let (partial, beyond) = (at(size / PAGE * PAGE), at(size.next_multiple_of(PAGE)));
            // Away from home a page of a file counts as private once it is there.
            if partial < beyond && !(written && self.private.contains(partial)) {
                self.discard(partial, beyond);
            }
            self.discard(beyond, end);
        }
    }

    /// The contents of the file of a handle are others, and what is mapped of it are copies: those
    /// that the program has not written to go, and are read anew.
    pub fn refresh_file(&mut self, home_file: u32) {
        let areas = self.areas.iter();
        let parts: alloc::vec::Vec<(u64, u64)> = areas
            .filter(
                |area| matches!(&area.backing, Backing::File(file) if file.home_file == home_file),
            )
            .map(|area| (area.start, area.end))
            .collect();
        for (start, end) in parts {
            self.areas.update(start, end, forget_hash);
            let mut next = start;
            while let Some(page) = self.table.next_mapped(next, end) {
                next = page + PAGE;
                if !self.private.contains(page) {
                    self.discard(page, next);
                }
            }
        }
    }

    /// Forgets what files are known by that are not what they were any more: `is` says whether the
    /// file of a handle has the contents of a hash.
    pub fn check_hashes(&mut self, is: impl Fn(u32, &[u8; 32]) -> bool) {
        let parts: alloc::vec::Vec<(u64, u64)> = self
            .areas
            .iter()
            .filter(|area| {
                matches!(&area.backing, Backing::File(file)
                    if file.hash != [0; 32] && !is(file.home_file, &file.hash))
            })
            .map(|area| (area.start, area.end))
            .collect();
        for (start, end) in parts {
            self.areas.update(start, end, forget_hash);
        }
    }
}

fn forget_hash(area: &mut Area) {
    if let Backing::File(file) = &mut area.backing {
        file.hash = [0; 32];
    }
}
