//! Advice about memory: madvise(2).
//!
//! Law: advice that only concerns speed is checked and ignored; the rest has its effect on all of the
//! range that is mapped, and holes are told afterwards.

use abi::Errno;
use machine::Access;

use super::Space;
use super::area::{Area, AreaFlags, Backing};
use super::limits::PAGE;
use super::map::range_end;

const MADV_DONTNEED: u64 = 4;
const MADV_FREE: u64 = 8;
/// Makes the contents of a shared mapping zeros.
pub const MADV_REMOVE: u64 = 9;
const MADV_DONTFORK: u64 = 10;
const MADV_DOFORK: u64 = 11;
const MADV_WIPEONFORK: u64 = 18;
const MADV_KEEPONFORK: u64 = 19;
/// `MADV_POPULATE_READ`: [`Space::populate`] is called for it.
pub const MADV_POPULATE_READ: u64 = 22;
/// `MADV_POPULATE_WRITE`.
pub const MADV_POPULATE_WRITE: u64 = 23;
const MADV_DONTNEED_LOCKED: u64 = 24;

impl Space {
    /// madvise(2).
    ///
    /// # Errors
    /// `EINVAL`: unaligned, unknown advice, or not for this kind of mapping. `EACCES`: contents that
    /// others have too, and that may not be written, are to be removed. `ENOMEM`: a hole in the
    /// range, or too many areas.
    pub fn advise(&mut self, address: u64, length: u64, advice: u64) -> Result<(), Errno> {
        let known = matches!(advice, 0..=4 | 8..=24);
        let end = range_end(address, length).ok_or(Errno::EINVAL)?;
        if !known {
            return Err(Errno::EINVAL);
        }
        if address == end {
            return Ok(());
        }
        let fits = |area: &Area| match advice {
            MADV_FREE if is_locked(area) => false,
            MADV_FREE | MADV_WIPEONFORK => {
                matches!(area.backing, Backing::Anonymous) && !area.says_shared()
            }
            MADV_DONTNEED => !is_locked(area),
            // Private zeros are in no file.
            MADV_REMOVE => {
                !is_locked(area)
                    && (area.says_shared() || !matches!(area.backing, Backing::Anonymous))
            }
            _ => true,
        };
        if !self.areas.overlapping(address, end).all(fits) {
            return Err(Errno::EINVAL);
        }
        let may_be_removed =
            |area: &Area| area.says_shared() && area.access.contains(Access::WRITE);
        if advice == MADV_REMOVE && !self.areas.overlapping(address, end).all(may_be_removed) {
            return Err(Errno::EACCES);
        }
        self.check_cuts(address, end)?;
        let mut flag = |on: AreaFlags, off: AreaFlags| {
            let change = move |area: &mut Area| area.flags = (area.flags - off) | on;
            self.areas.update(address, end, change);
        };
        let none = AreaFlags::empty();
        match advice {
            MADV_DONTNEED | MADV_FREE | MADV_DONTNEED_LOCKED => self.forget(address, end),
            MADV_REMOVE => self.remove_contents(address, end)?,
            MADV_DONTFORK => flag(AreaFlags::DONT_FORK, none),
            MADV_DOFORK => flag(none, AreaFlags::DONT_FORK),
            MADV_WIPEONFORK => flag(AreaFlags::WIPE_ON_FORK, none),
            MADV_KEEPONFORK => flag(none, AreaFlags::WIPE_ON_FORK),
            _ => {}
        }
        if self.areas.covers(address, end) {
            Ok(())
        } else {
            Err(Errno::ENOMEM)
        }
    }

    /// Makes shared memory read as zeros for all who have it.
    fn remove_contents(&mut self, from: u64, to: u64) -> Result<(), Errno> {
        let areas: alloc::vec::Vec<Area> = self.areas.overlapping(from, to).cloned().collect();
        for area in areas {
            let (start, end) = (area.start.max(from), area.end.min(to));
            let index = |first_page: u64, at: u64| first_page + (at - area.start) / PAGE;
            match &area.backing {
                Backing::SharedAnonymous { object, first_page } => {
                    for (_, frame) in
                        object.pages(index(*first_page, start), index(*first_page, end))
                    {
                        frame.zero(0, PAGE as usize);
                    }
                }
                Backing::SharedFile {
                    pages, first_page, ..
                } => pages.punch(index(*first_page, start), index(*first_page, end))?,
                Backing::Anonymous | Backing::File(_) => self.discard(start, end),
                // Who wants that goes home first.
                Backing::SharedElsewhere { .. } => return Err(Errno::EOPNOTSUPP),
            }
        }
        Ok(())
    }

    /// Forgets private contents. Shared memory keeps its contents, also when nobody else has it.
    fn forget(&mut self, from: u64, to: u64) {
        let parts: alloc::vec::Vec<(u64, u64)> = self
            .areas
            .overlapping(from, to)
            .filter(|area| !super::sharing::is_alone(area) && !area.backing.is_seen_by_others())
            .map(|area| (area.start.max(from), area.end.min(to)))
            .collect();
        for (from, to) in parts {
            self.discard(from, to);
        }
    }
}

fn is_locked(area: &Area) -> bool {
    area.flags.contains(AreaFlags::LOCKED)
}
