//! What a space loses when a file that it maps gets shorter.
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
}

fn forget_hash(area: &mut Area) {
    if let Backing::File(file) = &mut area.backing {
        file.hash = [0; 32];
    }
}
