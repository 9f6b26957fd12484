//! Mapping, unmapping, rights and the break.
//!
//! Law: check everything, then act. Only mprotect(2) over a hole has, as in Linux, changed what lies
//! before it.

use alloc::vec::Vec;

use abi::Errno;
use machine::{Access, Mapping, USER_END};

use super::Space;
use super::area::{Area, AreaFlags, Backing, normal};
use super::limits::{AREAS_MAX, LOWEST_ADDRESS, PAGE};
use super::policy::MemoryPolicy;

/// Where a new mapping goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MapHow {
    /// At the hint if that is free, else wherever there is room.
    Anywhere,
    /// As `Anywhere`, within the first 2 GiB (`MAP_32BIT`).
    Low,
    /// At the given place, which must be free (`MAP_FIXED_NOREPLACE`).
    FixedNoReplace,
    /// At the given place; what was there goes (`MAP_FIXED`).
    Fixed,
}

/// Where `MAP_32BIT` ends.
const LOW_END: u64 = 1 << 31;

/// `length` in whole pages.
pub(super) fn round_up(length: u64) -> Option<u64> {
    length.checked_next_multiple_of(PAGE)
}

/// The end of a page aligned range of user space, `length` rounded up to pages.
pub(super) fn range_end(address: u64, length: u64) -> Option<u64> {
    let end = address.checked_add(round_up(length)?)?;
    (address.is_multiple_of(PAGE) && end <= USER_END).then_some(end)
}

/// Whether a backing can reach over `length` bytes without running out of numbers.
pub(super) fn backing_fits(backing: &Backing, length: u64) -> bool {
    match backing {
        Backing::Anonymous => true,
        Backing::File(file) => {
            file.offset.is_multiple_of(PAGE)
                && file.offset.checked_add(length).is_some()
                && file.length <= length
        }
        Backing::SharedAnonymous { first_page, .. }
        | Backing::SharedElsewhere { first_page, .. }
        | Backing::SharedFile { first_page, .. } => first_page
            .checked_mul(PAGE)
            .and_then(|offset| offset.checked_add(length))
            .is_some(),
    }
}

impl Space {
    /// Makes a mapping of `length` bytes (rounded up to pages) and gives its address.
    ///
    /// # Errors
    /// `EINVAL`: no length, an unaligned fixed place, or an impossible offset. `ENOMEM`: no room,
    /// or too many areas. `EPERM`: below [`LOWEST_ADDRESS`]. `EEXIST`: the place of
    /// [`MapHow::FixedNoReplace`] is taken. `EACCES`: a shared mapping that may be written of a
    /// file that may not.
    pub fn map(
        &mut self,
        hint: u64,
        length: u64,
        access: Access,
        backing: Backing,
        how: MapHow,
    ) -> Result<u64, Errno> {
        self.map_flagged(hint, length, access, backing, (how, AreaFlags::empty()))
    }

    /// As [`Space::map`], for an area of which more is known.
    ///
    /// # Errors
    /// As [`Space::map`]; `EAGAIN`: more than may be locked.
    pub fn map_flagged(
        &mut self,
        hint: u64,
        length: u64,
        access: Access,
        backing: Backing,
        (how, mut flags): (MapHow, AreaFlags),
    ) -> Result<u64, Errno> {
        if length == 0 {
            return Err(Errno::EINVAL);
        }
        let length = round_up(length).ok_or(Errno::ENOMEM)?;
        if !backing_fits(&backing, length) {
            return Err(Errno::EINVAL);
        }
        flags.set(
            AreaFlags::LOCKED,
            self.locks_future().0 || flags.contains(AreaFlags::LOCKED),
        );
        let area = Area {
            start: 0,
            end: length,
            access: normal(access),
            backing,
            flags,
            policy: MemoryPolicy::default(),
        };
        check_rights(&area, access)?;
        if self.areas.len() + 2 >= AREAS_MAX {
            return Err(Errno::ENOMEM);
        }
        let start = self.place(hint, length, how)?;
        let replaced: u64 = match how {
            MapHow::Fixed => self.areas.bytes_in(start, start + length),
            _ => 0,
        };
        self.check_growth(length - replaced, access, flags)?;
        if flags.contains(AreaFlags::LOCKED)
            && self.usage().locked_bytes.saturating_add(length) > self.limits.locked
        {
            return Err(Errno::EAGAIN);
        }
        if how == MapHow::Fixed {
            self.discard(start, start + length);
            self.areas.remove(start, start + length);
        }
        self.areas.insert(Area {
            start,
            end: start + length,
            ..area
        });
        Ok(start)
    }

    /// Chooses or checks the place of a mapping; nothing is there yet.
    pub fn place(&mut self, hint: u64, length: u64, how: MapHow) -> Result<u64, Errno> {
        let fits = |start: u64| start.checked_add(length).is_some_and(|end| end <= USER_END);
        if matches!(how, MapHow::Anywhere | MapHow::Low) {
            let start = round_up(hint).unwrap_or(0);
            let end = if how == MapHow::Low {
                LOW_END
            } else {
                USER_END
            };
            let in_place = start >= LOWEST_ADDRESS && fits(start) && start + length <= end;
            if in_place && self.areas.is_free(start, start + length) {
                return Ok(start);
            }
            if how == MapHow::Low {
                let gap = self.areas.highest_gap(length, LOWEST_ADDRESS, LOW_END);
                return gap.ok_or(Errno::ENOMEM);
            }
            let top = self.layout.map_top;
            return self
                .areas
                .highest_gap(length, LOWEST_ADDRESS, top)
                .or_else(|| self.areas.highest_gap(length, LOWEST_ADDRESS, USER_END))
                .ok_or(Errno::ENOMEM);
        }
        if !hint.is_multiple_of(PAGE) {
            return Err(Errno::EINVAL);
        }
        if !fits(hint) {
            return Err(Errno::ENOMEM);
        }
        if hint < LOWEST_ADDRESS {
            return Err(Errno::EPERM);
        }
        if how == MapHow::FixedNoReplace && !self.areas.is_free(hint, hint + length) {
            return Err(Errno::EEXIST);
        }
        Ok(hint)
    }

    /// Whether cutting at both bounds keeps the number of areas within its limit.
    pub(super) fn check_cuts(&self, from: u64, to: u64) -> Result<(), Errno> {
        if self.areas.len() + self.areas.cuts(from, to) > AREAS_MAX {
            return Err(Errno::ENOMEM);
        }
        Ok(())
    }

    /// Removes all mappings from a range. Holes in it are no error.
    ///
    /// # Errors
    /// `EINVAL`: unaligned, empty or outside of user space. `ENOMEM`: too many areas.
    pub fn unmap(&mut self, address: u64, length: u64) -> Result<(), Errno> {
        let end = range_end(address, length).ok_or(Errno::EINVAL)?;
        if length == 0 {
            return Err(Errno::EINVAL);
        }
        self.check_cuts(address, end)?;
        self.discard(address, end);
        self.areas.remove(address, end);
        Ok(())
    }

    /// Changes the rights of a range, up to what cannot have them.
    ///
    /// # Errors
    /// `EINVAL`: unaligned. `ENOMEM`: outside of user space, a hole in the range, or too many
    /// areas. `EACCES`: shared pages of a file that may not be written.
    pub fn protect(&mut self, address: u64, length: u64, access: Access) -> Result<(), Errno> {
        if !address.is_multiple_of(PAGE) {
            return Err(Errno::EINVAL);
        }
        let end = range_end(address, length).ok_or(Errno::ENOMEM)?;
        if address == end {
            return Ok(());
        }
        let mut reached = address;
        let mut result = Ok(());
        for area in self.areas.overlapping(address, end) {
            if area.start > reached {
                break;
            }
            result = check_rights(area, access);
            if result.is_err() {
                break;
            }
            reached = area.end.min(end);
        }
        if reached < end && result.is_ok() {
            result = Err(Errno::ENOMEM);
        }
        if reached > address {
            self.check_cuts(address, reached)?;
            self.areas
                .update(address, reached, |area| area.access = normal(access));
            self.refresh_rights(address, reached);
        }
        result
    }

    /// Changes the rights from the bottom of the mapping that holds `address`, which is one that
    /// grows downwards (`PROT_GROWSDOWN`), to the end of the range.
    ///
    /// # Errors
    /// As [`Space::protect`]; `EINVAL` if the mapping does not grow.
    pub fn protect_down(&mut self, address: u64, length: u64, access: Access) -> Result<(), Errno> {
        let end = range_end(address, length).ok_or(Errno::EINVAL)?;
        let area = self.areas.find(address).ok_or(Errno::ENOMEM)?;
        if !area.flags.contains(AreaFlags::GROWS_DOWN) {
            return Err(Errno::EINVAL);
        }
        let start = area.start;
        self.protect(start, end - start, access)
    }

    /// Gives every mapped page of a range the rights that follow from its area.
    pub(super) fn refresh_rights(&mut self, from: u64, to: u64) {
        let areas: Vec<Area> = self.areas.overlapping(from, to).cloned().collect();
        for area in areas {
            let end = area.end.min(to);
            let mut next = area.start.max(from);
            while let Some(page) = self.table.next_mapped(next, end) {
                // A copy elsewhere is as good as a holder: a write has to be noticed.
                let own = |mapping: Mapping| {
                    self.private.contains(page)
                        && !mapping.is_shared()
                        && !self.copied.contains(page)
                };
                let free = area.is_shared()
                    || area.access.contains(Access::WRITE) && self.table.get(page).is_some_and(own);
                let access = if free { area.access } else { area.resting() };
                self.table.protect(page, access);
                next = page + PAGE;
            }
        }
    }

    /// Moves the break and gives where it is then: at `address`, or unchanged if that is below the
    /// heap or there is no room.
    pub fn set_break(&mut self, address: u64) -> u64 {
        let (start, end) = (self.layout.break_start, self.layout.break_end);
        let (Some(old), Some(new)) = (round_up(end), round_up(address)) else {
            return end;
        };
        if address < start || new > USER_END {
            return end;
        }
        if new > old {
            let how = (MapHow::FixedNoReplace, AreaFlags::HEAP);
            let rights = Access::READ | Access::WRITE;
            if self
                .map_flagged(old, new - old, rights, Backing::Anonymous, how)
                .is_err()
            {
                return end;
            }
        } else if new < old && self.unmap(new, old - new).is_err() {
            return end;
        }
        self.layout.break_end = address;
        address
    }
}

/// Refuses to let a shared mapping write to a file that was not opened for writing.
fn check_rights(area: &Area, access: Access) -> Result<(), Errno> {
    if area.is_sealed() && access.contains(Access::WRITE) {
        return Err(Errno::EACCES);
    }
    Ok(())
}
