//! Moving and resizing mappings.
//!
//! Law: a moved mapping moves its page table entries, not its contents. Pages that are still at the
//! last source node are known there by their old address; so a mapping does not move before they
//! are here.

use abi::Errno;
use alloc::sync::Arc;
use alloc::vec::Vec;
use bitflags::bitflags;
use machine::{OutOfMemory, USER_END};

use super::Space;
use super::area::{Area, AreaFlags, Backing};
use super::limits::{AREAS_MAX, PAGE};
use super::map::{MapHow, backing_fits, range_end, round_up};
use super::sharing::is_alone;

bitflags! {
    /// Flags of mremap(2), as Linux numbers them.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct RemapFlags: u64 {
        /// The mapping may get another address.
        const MAY_MOVE = 1;
        /// It gets the given address; what was there goes.
        const FIXED = 2;
        /// The old range stays, empty, where its pages were moved away.
        const DONT_UNMAP = 4;
    }
}

/// Why a mapping was not moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MapStop {
    /// It failed, and had no effect.
    Errno(Errno),
    /// This page is at the last source node: ask for it and call again. It had no effect.
    Absent {
        /// Address of the page.
        page: u64,
    },
}

impl From<Errno> for MapStop {
    fn from(errno: Errno) -> MapStop {
        MapStop::Errno(errno)
    }
}

impl Space {
    /// mremap(2): resizes the mapping at `old`, moving it where that is allowed and needed; gives
    /// its address. `place` counts only with [`RemapFlags::FIXED`]. An `old_length` of zero maps
    /// shared pages a second time.
    ///
    /// # Errors
    /// `EINVAL`: flags, alignment, no new length, overlap of the old with the fixed new place.
    /// `EFAULT`: the old range is not within one mapping. `ENOMEM`: no room.
    /// [`MapStop::Absent`]: see there.
    pub fn remap(
        &mut self,
        old: u64,
        old_length: u64,
        new_length: u64,
        flags: u64,
        place: u64,
    ) -> Result<u64, MapStop> {
        let flags = RemapFlags::from_bits(flags).ok_or(Errno::EINVAL)?;
        let old_end = range_end(old, old_length).ok_or(Errno::EINVAL)?;
        let new_length = round_up(new_length).ok_or(Errno::EINVAL)?;
        let keeps = flags.contains(RemapFlags::DONT_UNMAP);
        let moves = flags.contains(RemapFlags::MAY_MOVE);
        if new_length == 0
            || flags.intersects(RemapFlags::FIXED | RemapFlags::DONT_UNMAP) && !moves
            || keeps && old_end - old != new_length
        {
            return Err(Errno::EINVAL.into());
        }
        let fixed = flags.contains(RemapFlags::FIXED);
        if fixed || keeps {
            let place_end = range_end(place, new_length).ok_or(Errno::EINVAL)?;
            if place < old_end && old < place_end {
                return Err(Errno::EINVAL.into());
            }
        }
        let mut area = self.areas.find(old).ok_or(Errno::EFAULT)?.clone();
        let mut old_length = old_end - old;
        if fixed && old_length == new_length && old_end > area.end {
            return self.relocate_all(old, old_length, place, keeps);
        }
        if old_end > area.end && !(fixed && old + new_length <= area.end) {
            // Who only gives back need not know what there is.
            let stays = !flags.intersects(RemapFlags::FIXED | RemapFlags::DONT_UNMAP);
            if stays && new_length <= old_length {
                if new_length < old_length {
                    self.unmap(old + new_length, old_length - new_length)?;
                }
                return Ok(old);
            }
            return Err(Errno::EFAULT.into());
        }
        if old_length == 0 && !area.says_shared() {
            return Err(Errno::EINVAL.into());
        }
        if old_length == 0 && !moves {
            return Err(Errno::ENOMEM.into());
        }
        if self.areas.len() + 4 > AREAS_MAX {
            return Err(Errno::ENOMEM.into());
        }
        let more = new_length.saturating_sub(old_length);
        if more > 0 {
            self.check_growth(more, area.access, area.flags)?;
            if area.flags.contains(AreaFlags::LOCKED)
                && self.usage().locked_bytes.saturating_add(more) > self.limits.locked
            {
                return Err(Errno::EAGAIN.into());
            }
        }
        if (old_length == 0 || new_length < old_length) && is_alone(&area) {
            // A second mapping of it, or one that may grow back: from now on it is an object, which
            // keeps what is not mapped.
            if let Some(page) = self.absent.next(area.start).filter(|&page| page < area.end) {
                return Err(MapStop::Absent { page });
            }
            self.share(&area).map_err(|_| Errno::ENOMEM)?;
            area = self.areas.find(old).ok_or(Errno::EFAULT)?.clone();
        }
        if fixed {
            if new_length < old_length {
                // What is given up goes first.
                self.unmap(old + new_length, old_length - new_length)?;
                old_length = new_length;
                area = self.areas.find(old).ok_or(Errno::EFAULT)?.clone();
            }
            self.place(place, new_length, MapHow::Fixed)?;
            return self.relocate(&area, (old, old_length), (place, new_length), keeps);
        }
        if keeps {
            // Where it is to be is a hint then (`mremap_to` of Linux).
            let place = self.place(place, new_length, MapHow::Anywhere)?;
            return self.relocate(&area, (old, old_length), (place, new_length), true);
        }
        if old_length != 0 && new_length <= old_length {
            if new_length < old_length {
                self.unmap(old + new_length, old_length - new_length)?;
            }
            return Ok(old);
        }
        if old_length != 0 && self.grow_in_place(&area, old_end, old + new_length) {
            return Ok(old);
        }
        if !flags.contains(RemapFlags::MAY_MOVE) {
            return Err(Errno::ENOMEM.into());
        }
        let place = self.place(0, new_length, MapHow::Anywhere)?;
        self.relocate(&area, (old, old_length), (place, new_length), false)
    }

    /// remap_file_pages(2): a part of a shared mapping shows the same memory from another page of it on, as a
    /// mapping of its own.
    ///
    /// # Errors
    /// `EINVAL`: not all of it is one shared mapping, or there are no such pages. `ENOMEM`; [`MapStop::Absent`].
    pub fn show_pages(&mut self, at: u64, length: u64, first: u64) -> Result<(), MapStop> {
        let end = range_end(at, length).filter(|_| length > 0);
        let end = end.ok_or(Errno::EINVAL)?;
        let last = first.checked_add(length / PAGE);
        if last.is_none_or(|last| last > i64::MAX as u64 / PAGE) {
            return Err(Errno::EINVAL.into());
        }
        let mut area = self.areas.find(at).ok_or(Errno::EINVAL)?.clone();
        let alike = |other: &Area| {
            let (one, two) = (area.flags, other.flags);
            other.access == area.access && one == two && shows_the_same(&area, other)
        };
        let within = end <= area.end
            || self.areas.covers(at, end) && self.areas.overlapping(at, end).all(alike);
        if !area.says_shared() || !within {
            return Err(Errno::EINVAL.into());
        }
        if is_alone(&area) {
            if let Some(page) = self.absent.next(area.start).filter(|&page| page < area.end) {
                return Err(MapStop::Absent { page });
            }
            self.share(&area).map_err(|_| Errno::ENOMEM)?;
            area = self.areas.find(at).ok_or(Errno::EINVAL)?.clone();
        }
        match &mut area.backing {
            Backing::SharedAnonymous { first_page, .. }
            | Backing::SharedFile { first_page, .. }
            | Backing::SharedElsewhere { first_page, .. } => *first_page = first,
            Backing::File(file) => {
                file.offset = first * PAGE;
                file.length = length;
            }
            Backing::Anonymous => return Err(Errno::EINVAL.into()),
        }
        let how = (MapHow::Fixed, area.flags);
        self.map_flagged(at, length, area.access, area.backing, how)?;
        Ok(())
    }

    /// Moves all mappings in a range, and what is between them is between them there, too (Linux does so since
    /// 6.17).
    fn relocate_all(
        &mut self,
        old: u64,
        length: u64,
        place: u64,
        keeps: bool,
    ) -> Result<u64, MapStop> {
        let end = old + length;
        if let Some(page) = self.absent.next(old).filter(|&page| page < end) {
            return Err(MapStop::Absent { page });
        }
        self.place(place, length, MapHow::Fixed)?;
        let parts: Vec<Area> = self.areas.overlapping(old, end).cloned().collect();
        if self.areas.len() + parts.len() + 4 > AREAS_MAX {
            return Err(Errno::ENOMEM.into());
        }
        for area in parts {
            let (from, to) = (area.start.max(old), area.end.min(end));
            let (to_place, bytes) = (place + (from - old), to - from);
            self.relocate(&area, (from, bytes), (to_place, bytes), keeps)?;
        }
        Ok(place)
    }

    /// Extends an area whose last byte is before `end`, if the room behind it is free.
    fn grow_in_place(&mut self, area: &Area, end: u64, new_end: u64) -> bool {
        if area.end != end || new_end > USER_END || !self.areas.is_free(end, new_end) {
            return false;
        }
        let Some(grown) = resized(area.clone(), new_end - area.start) else {
            return false;
        };
        self.areas.remove(area.start, area.end);
        self.areas.insert(grown);
        true
    }

    /// Moves the part of `area` at `old` to `place` and gives it a new length. All checks of the
    /// arguments are done.
    fn relocate(
        &mut self,
        area: &Area,
        (old, old_length): (u64, u64),
        (place, new_length): (u64, u64),
        keeps: bool,
    ) -> Result<u64, MapStop> {
        let moved = old_length.min(new_length);
        if let Some(page) = self.absent.next(old).filter(|&page| page < old + moved) {
            return Err(MapStop::Absent { page });
        }
        let mut part = area.clone();
        if part.start < old {
            part = part.split(old);
        }
        if moved != 0 && moved < part.length() {
            part.split(old + moved);
        }
        part = resized(part, new_length).ok_or(Errno::EINVAL)?;
        self.discard(place, place + new_length);
        self.areas.remove(place, place + new_length);
        if self.move_pages(old, moved, place).is_err() {
            return Err(Errno::ENOMEM.into());
        }
        if old_length != 0 {
            self.discard(old, old + old_length);
            if keeps {
                let unlock = |area: &mut Area| area.flags.remove(AreaFlags::LOCKED);
                self.areas.update(old, old + old_length, unlock);
            } else {
                self.areas.remove(old, old + old_length);
            }
        }
        part.start = place;
        part.end = place + new_length;
        self.areas.insert(part);
        Ok(place)
    }

    /// Maps the frames of `[old, old + length)` at `place`; on an error nothing stays there.
    fn move_pages(&mut self, old: u64, length: u64, place: u64) -> Result<(), OutOfMemory> {
        let mut next = old;
        while let Some(page) = self.table.next_mapped(next, old + length) {
            if let Some(mapping) = self.table.get(page) {
                let target = place + (page - old);
                let mapped = self.table.map(target, mapping.frame, mapping.access);
                if let Err(error) = mapped {
                    self.discard(place, place + length);
                    return Err(error);
                }
            }
            next = page + PAGE;
        }
        self.private.shift(old, length, place);
        Ok(())
    }
}

/// Whether two areas show parts of the same memory.
fn shows_the_same(one: &Area, other: &Area) -> bool {
    match (&one.backing, &other.backing) {
        (
            Backing::SharedAnonymous { object: one, .. },
            Backing::SharedAnonymous { object: other, .. },
        ) => Arc::ptr_eq(one, other),
        (
            Backing::SharedElsewhere { object: one, .. },
            Backing::SharedElsewhere { object: other, .. },
        ) => one == other,
        (
            Backing::SharedFile { home_file: one, .. },
            Backing::SharedFile {
                home_file: other, ..
            },
        ) => one == other,
        (Backing::File(one), Backing::File(other)) => {
            (one.home_file, one.hash) == (other.home_file, other.hash)
        }
        _ => false,
    }
}

/// The area with another length; a file that was visible up to the end stays so. `None` if its
/// offsets would overflow.
fn resized(mut area: Area, length: u64) -> Option<Area> {
    let old_length = area.length();
    if let Backing::File(file) = &mut area.backing {
        let whole = file.length == old_length;
        file.length = if whole {
            length
        } else {
            file.length.min(length)
        };
    }
    area.end = area.start.checked_add(length)?;
    backing_fits(&area.backing, length).then_some(area)
}
