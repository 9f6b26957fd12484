//! The areas of one address space, sorted and disjoint.
//!
//! Law: no two areas overlap, all bounds are page aligned and below `USER_END`, and neighbours that
//! could be one area are one.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::area::Area;

/// The areas by their start.
#[derive(Debug, Clone, Default)]
pub(super) struct Areas {
    by_start: BTreeMap<u64, Area>,
    /// How many of them others may see.
    shared: usize,
    /// Counts what is put, taken and cut: the same number means the same areas.
    version: u64,
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
        self.shared += usize::from(area.backing.is_shared());
        self.by_start.insert(area.start, area);
    }

    fn take(&mut self, start: u64) -> Option<Area> {
        let area = self.by_start.remove(&start)?;
        self.version += 1;
        self.shared -= usize::from(area.backing.is_shared());
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
    pub(super) fn highest_gap(&self, length: u64, bottom: u64, top: u64) -> Option<u64> {
        let mut end = top;
        for area in self.by_start.range(..top).rev().map(|(_, area)| area) {
            if area.end <= end && end - area.end >= length {
                break;
            }
            end = end.min(area.start);
        }
        end.checked_sub(length).filter(|&start| start >= bottom)
    }
}
