//! The areas of one address space, sorted and disjoint.
//!
//! Law: no two areas overlap, all bounds are page aligned and below `USER_END`, and neighbours that
//! could be one area are one.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::area::Area;
use super::gaps::Gaps;

/// The areas by their start.
#[derive(Debug, Clone, Default)]
pub(super) struct Areas {
    by_start: BTreeMap<u64, Area>,
    /// How many of them others may see.
    shared: usize,
    /// Counts what is put, taken and cut: the same number means the same areas.
    version: u64,
    gaps: Gaps,
    /// By the last search for a gap.
    #[cfg(test)]
    looked_at: usize,
}

impl Areas {
    /// How many areas there are.
    pub(super) fn len(&self) -> usize {
        self.by_start.len()
    }

    /// Another number whenever an area has changed.
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// Whether there is an area that others may see.
    pub(super) fn has_shared(&self) -> bool {
        self.shared > 0
    }

    fn put(&mut self, area: Area) {
        self.version += 1;
        self.shared += usize::from(area.backing.is_seen_by_others());
        self.by_start.insert(area.start, area);
    }

    fn take(&mut self, start: u64) -> Option<Area> {
        let area = self.by_start.remove(&start)?;
        self.version += 1;
        self.shared -= usize::from(area.backing.is_seen_by_others());
        let next = self.by_start.range(start..).next();
        self.gaps.taken(next.map_or(u64::MAX, |(&next, _)| next));
        Some(area)
    }

    /// All areas, in order.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &Area> {
        self.by_start.values()
    }

    /// The area that holds `address`.
    pub(super) fn find(&self, address: u64) -> Option<&Area> {
        let (_, area) = self.by_start.range(..=address).next_back()?;
        (address < area.end).then_some(area)
    }

    /// The areas that share an address with `[from, to)`, in order.
    pub(super) fn overlapping(&self, from: u64, to: u64) -> impl Iterator<Item = &Area> {
        let first = self.find(from).map_or(from, |area| area.start);
        self.by_start
            .range(first..to.max(first))
            .map(|(_, area)| area)
    }

    /// The first area that begins at `address` or above it.
    pub(super) fn next(&self, address: u64) -> Option<&Area> {
        let (_, area) = self.by_start.range(address..).next()?;
        Some(area)
    }

    /// The last area that begins below `address`.
    pub(super) fn before(&self, address: u64) -> Option<&Area> {
        let (_, area) = self.by_start.range(..address).next_back()?;
        Some(area)
    }

    /// Whether nothing is in `[from, to)`.
    pub(super) fn is_free(&self, from: u64, to: u64) -> bool {
        self.overlapping(from, to).next().is_none()
    }

    /// Whether every address of `[from, to)` is in an area.
    pub(super) fn covers(&self, from: u64, to: u64) -> bool {
        let mut reached = from;
        for area in self.overlapping(from, to) {
            if area.start > reached {
                return false;
            }
            reached = area.end;
        }
        reached >= to
    }

    /// How many bytes of `[from, to)` are in areas.
    pub(super) fn bytes_in(&self, from: u64, to: u64) -> u64 {
        self.overlapping(from, to)
            .map(|area| area.end.min(to) - area.start.max(from))
            .sum()
    }

    /// How many areas more there may be after cutting at `from` and at `to`: 0, 1 or 2.
    pub(super) fn cuts(&self, from: u64, to: u64) -> usize {
        let cut = |at: u64| self.find(at).is_some_and(|area| area.start < at);
        usize::from(cut(from)) + usize::from(cut(to))
    }

    fn cut(&mut self, at: u64) {
        if let Some((_, area)) = self.by_start.range_mut(..at).next_back()
            && at < area.end
        {
            let rest = area.split(at);
            // Counted by what is put behind it.
            self.put(rest);
        }
    }

    /// Takes everything of `[from, to)` out, cutting areas at the bounds.
    pub(super) fn remove(&mut self, from: u64, to: u64) -> Vec<Area> {
        self.cut(from);
        self.cut(to);
        let starts: Vec<u64> = self
            .by_start
            .range(from..to)
            .map(|(&start, _)| start)
            .collect();
        starts
            .into_iter()
            .filter_map(|start| self.take(start))
            .collect()
    }

    /// Puts an area into a free place, joining it with its neighbours where they are alike.
    pub(super) fn insert(&mut self, mut area: Area) {
        debug_assert!(area.start < area.end && self.is_free(area.start, area.end));
        if let Some(next) = self.by_start.get(&area.end)
            && area.join(next)
        {
            let taken = next.start;
            self.take(taken);
        }
        if let Some((_, before)) = self.by_start.range_mut(..area.start).next_back()
            && before.join(&area)
        {
            self.version += 1;
            return;
        }
        self.put(area);
    }

    /// Changes all areas of `[from, to)`, cutting at the bounds and joining what became alike.
    pub(super) fn update(&mut self, from: u64, to: u64, mut change: impl FnMut(&mut Area)) {
        for mut area in self.remove(from, to) {
            change(&mut area);
            self.insert(area);
        }
    }

    /// The highest free place of `length` bytes in `[bottom, top)`.
    pub(super) fn highest_gap(&mut self, length: u64, bottom: u64, top: u64) -> Option<u64> {
        let mut end = self.gaps.begin(length, top);
        let mut first_seen = None;
        #[cfg(test)]
        let mut looked_at = 0;
        for area in self.by_start.range(..end).rev().map(|(_, area)| area) {
            #[cfg(test)]
            {
                looked_at += 1;
            }
            if area.end <= end {
                let gap = end - area.end;
                if Gaps::counts(gap, length) {
                    first_seen.get_or_insert(end);
                }
                if gap >= length {
                    break;
                }
            }
            end = end.min(area.start);
        }
        self.gaps.found(length, first_seen.unwrap_or(end));
        #[cfg(test)]
        {
            self.looked_at = looked_at;
        }
        end.checked_sub(length).filter(|&start| start >= bottom)
    }
}

#[cfg(test)]
mod tests {
    use super::super::area::{AreaFlags, Backing};
    use super::super::limits::PAGE;
    use super::super::policy::MemoryPolicy;
    use super::*;
    use crate::memory::Access;

    const BOTTOM: u64 = 16 * PAGE;
    const TOP: u64 = 1 << 32;

    fn area(start: u64, end: u64, access: Access) -> Area {
        Area {
            start,
            end,
            access,
            backing: Backing::Anonymous,
            flags: AreaFlags::empty(),
            policy: MemoryPolicy::default(),
        }
    }

    /// Every gap, from the top.
    fn by_looking_at_all(areas: &Areas, length: u64) -> Option<u64> {
        let mut end = TOP;
        for area in areas.iter().rev() {
            if area.end <= end && end - area.end >= length {
                break;
            }
            end = end.min(area.start);
        }
        end.checked_sub(length).filter(|&start| start >= BOTTOM)
    }

    #[test]
    fn the_next_of_many_mappings_is_placed_without_a_look_at_the_others() {
        let (mut areas, mut looked_at) = (Areas::default(), 0);
        for turn in 0..5000_u64 {
            // Neighbours that are not alike, or they would be one.
            let access = if turn % 2 == 0 {
                Access::READ
            } else {
                Access::WRITE
            };
            let length = PAGE << (turn % 3);
            let start = areas
                .highest_gap(length, BOTTOM, TOP)
                .expect("room is left");
            areas.insert(area(start, start + length, access));
            looked_at += areas.looked_at;
        }
        // For each size of three the others are passed once.
        assert_eq!(areas.len(), 5000);
        assert!(looked_at <= 4 * 5000, "{looked_at}");
    }

    #[test]
    fn a_gap_is_found_where_a_look_at_all_finds_it() {
        let mut random = 7_u64;
        let mut next = |below: u64| {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (random >> 33) % below
        };
        let mut areas = Areas::default();
        for _ in 0..20_000 {
            let length = PAGE * (1 + next(9));
            if next(5) < 3 {
                let expected = by_looking_at_all(&areas, length);
                assert_eq!(areas.highest_gap(length, BOTTOM, TOP), expected);
                let start = expected.expect("room is left");
                let access = if next(2) == 0 {
                    Access::READ
                } else {
                    Access::WRITE
                };
                areas.insert(area(start, start + length, access));
            } else {
                let start = TOP - PAGE * (9 + next(20_000));
                areas.remove(start, start + length);
            }
        }
        assert!(areas.len() > 100);
    }
}
