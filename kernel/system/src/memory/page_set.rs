//! A set of pages: one bit per page, in chunks of 2 MiB.
//!
//! Law: the cost follows the number of chunks that hold a page, never the number of pages, and a
//! page added or taken in the middle of others allocates nothing. (A sorted map of runs would be
//! smaller while all runs are long, but fetching pages in random order would split it into half as
//! many entries as there are pages.)
//!
//! All addresses are page aligned.
//!
//! A set can be watched: from then on it notes which chunks change, so that somebody who has a copy is
//! told only of those.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use machine::USER_END;

use super::limits::PAGE;

/// Pages in one chunk: what one last-level page table covers.
const CHUNK_PAGES: u64 = 512;
const WORDS: usize = (CHUNK_PAGES / 64) as usize;

/// The bits of one chunk, a bit per page.
pub(super) type Chunk = [u64; WORDS];

/// A set of page addresses.
#[derive(Debug, Clone, Default)]
pub(super) struct PageSet {
    /// Chunk number -> bits; no chunk is empty.
    chunks: BTreeMap<u64, Chunk>,
    count: u64,
    /// Chunks that have changed since the set is watched, some of them more than once.
    changed: Option<Vec<u64>>,
}

/// Changes of a watched set that are noted.
const CHANGED_MAX: usize = 64;

/// The bit of a page in its chunk.
fn bit_of(page: u64) -> u64 {
    page / PAGE % CHUNK_PAGES
}

/// Where the bit of a page is: chunk, word, mask.
fn place(page: u64) -> (u64, usize, u64) {
    let bit = bit_of(page);
    (
        page / PAGE / CHUNK_PAGES,
        (bit / 64) as usize,
        1 << (bit % 64),
    )
}

/// The first bit from `low` on that is set after all bits of `flip` were turned over.
fn first_set(words: &Chunk, low: u64, flip: u64) -> Option<u64> {
    let mut mask = u64::MAX << (low % 64);
    for (index, word) in words.iter().enumerate().skip((low / 64) as usize) {
        let found = (word ^ flip) & mask;
        if found != 0 {
            return Some(index as u64 * 64 + u64::from(found.trailing_zeros()));
        }
        mask = u64::MAX;
    }
    None
}

/// The bits `[from, to)` of one chunk, as a mask per word.
fn masks(from: u64, to: u64) -> impl Iterator<Item = (usize, u64)> {
    (0..WORDS).filter_map(move |word| {
        let base = word as u64 * 64;
        let low = from.clamp(base, base + 64) - base;
        let high = to.clamp(base, base + 64) - base;
        (low < high).then(|| {
            let width = high - low;
            let mask = if width == 64 {
                u64::MAX
            } else {
                (1 << width) - 1
            };
            (word, mask << low)
        })
    })
}

/// The parts of the page numbers `[from, to)`, chunk by chunk: chunk, first bit, end bit.
fn chunk_parts(from: u64, to: u64) -> impl Iterator<Item = (u64, u64, u64)> {
    let last = if from < to { (to - 1) / CHUNK_PAGES } else { 0 };
    let first = from / CHUNK_PAGES;
    (first..=last).filter(move |_| from < to).map(move |chunk| {
        let base = chunk * CHUNK_PAGES;
        let low = from.max(base) - base;
        let high = to.min(base + CHUNK_PAGES) - base;
        (chunk, low, high)
    })
}

impl PageSet {
    /// The pages of one chunk; `None` if it is beyond all addresses.
    pub(super) fn of_chunk(number: u64, bits: Chunk) -> Option<PageSet> {
        (number < USER_END.div_ceil(CHUNK_PAGES * PAGE)).then(|| {
            let mut set = PageSet::default();
            set.set_chunk(number, bits);
            set
        })
    }

    /// How many pages are in the set.
    pub(super) fn len(&self) -> u64 {
        self.count
    }

    /// Whether no page is in the set.
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether the page is in the set.
    pub(super) fn contains(&self, page: u64) -> bool {
        let (chunk, word, mask) = place(page);
        let words = self.chunks.get(&chunk);
        words.is_some_and(|words| words[word] & mask != 0)
    }

    /// Adds a page; false if it was there.
    pub(super) fn insert(&mut self, page: u64) -> bool {
        let (chunk, word, mask) = place(page);
        let words = self.chunks.entry(chunk).or_default();
        if words[word] & mask != 0 {
            return false;
        }
        words[word] |= mask;
        self.count += 1;
        self.note(chunk);
        true
    }

    /// Takes a page out; false if it was not there.
    pub(super) fn remove(&mut self, page: u64) -> bool {
        let (chunk, word, mask) = place(page);
        let Some(words) = self.chunks.get_mut(&chunk) else {
            return false;
        };
        if words[word] & mask == 0 {
            return false;
        }
        words[word] &= !mask;
        if words[word] == 0 && *words == [0; WORDS] {
            self.chunks.remove(&chunk);
        }
        self.count -= 1;
        self.note(chunk);
        true
    }

    /// Notes from now on which chunks change.
    pub(super) fn watch(&mut self) {
        self.changed = Some(Vec::with_capacity(CHANGED_MAX));
    }

    /// A chunk changes. Too many changes are as good as no watch.
    fn note(&mut self, chunk: u64) {
        if let Some(changed) = &mut self.changed
            && changed.last() != Some(&chunk)
        {
            if changed.len() == CHANGED_MAX {
                self.changed = None;
            } else {
                changed.push(chunk);
            }
        }
    }

    /// The chunks that have changed since the set is watched, as they are now, in order. `None` if it
    /// was not, or if there were too many.
    pub(super) fn changes(&self) -> Option<Vec<(u64, Chunk)>> {
        let mut numbers = self.changed.clone()?;
        numbers.sort_unstable();
        numbers.dedup();
        let now = |chunk| (chunk, self.chunks.get(&chunk).copied().unwrap_or_default());
        Some(numbers.into_iter().map(now).collect())
    }

    /// Puts other bits in the place of a chunk's.
    pub(super) fn set_chunk(&mut self, chunk: u64, bits: Chunk) {
        let count = |bits: &Chunk| {
            bits.iter()
                .map(|word| u64::from(word.count_ones()))
                .sum::<u64>()
        };
        let before = if bits == [0; WORDS] {
            self.chunks.remove(&chunk)
        } else {
            self.chunks.insert(chunk, bits)
        };
        self.count += count(&bits);
        self.count -= before.as_ref().map_or(0, count);
        self.note(chunk);
    }

    /// Adds `count` pages from `page` on; gives how many were new.
    pub(super) fn insert_range(&mut self, page: u64, count: u64) -> u64 {
        let from = page / PAGE;
        let mut added = 0;
        for (chunk, low, high) in chunk_parts(from, from + count) {
            let words = self.chunks.entry(chunk).or_default();
            for (word, mask) in masks(low, high) {
                added += u64::from((mask & !words[word]).count_ones());
                words[word] |= mask;
            }
            self.note(chunk);
        }
        self.count += added;
        added
    }

    /// Takes out all pages of `[from, to)`; gives how many there were.
    pub(super) fn remove_range(&mut self, from: u64, to: u64) -> u64 {
        let (from, to) = (from / PAGE, to / PAGE);
        if from >= to {
            return 0;
        }
        let last = (to - 1) / CHUNK_PAGES;
        let mut next = from / CHUNK_PAGES;
        let mut removed = 0;
        while next <= last
            && let Some((&chunk, words)) = self.chunks.range_mut(next..=last).next()
        {
            let base = chunk * CHUNK_PAGES;
            let low = from.max(base) - base;
            let high = to.min(base + CHUNK_PAGES) - base;
            for (word, mask) in masks(low, high) {
                removed += u64::from((mask & words[word]).count_ones());
                words[word] &= !mask;
            }
            if *words == [0; WORDS] {
                self.chunks.remove(&chunk);
            }
            self.note(chunk);
            next = chunk + 1;
        }
        self.count -= removed;
        removed
    }

    /// The pages of a chunk.
    pub(super) fn chunk(&self, number: u64) -> Chunk {
        self.chunks.get(&number).copied().unwrap_or_default()
    }

    /// The chunks in which this set or another one has pages, in order: number, pages of this one, of
    /// the other one.
    pub(super) fn beside<'a>(
        &'a self,
        other: &'a PageSet,
    ) -> impl Iterator<Item = (u64, Chunk, Chunk)> + 'a {
        let numbers: BTreeSet<u64> = self
            .chunks
            .keys()
            .chain(other.chunks.keys())
            .copied()
            .collect();
        numbers
            .into_iter()
            .map(|number| (number, self.chunk(number), other.chunk(number)))
    }

    /// Whether both sets have the same pages.
    pub(super) fn same_pages(&self, other: &PageSet) -> bool {
        self.chunks == other.chunks
    }

    /// The first page of the set at or behind `from` that is not in another one.
    pub(super) fn next_outside(&self, other: &PageSet, from: u64) -> Option<u64> {
        if other.is_empty() {
            return self.next(from);
        }
        let (first, ..) = place(from);
        self.chunks.range(first..).find_map(|(&chunk, words)| {
            let low = if chunk == first { bit_of(from) } else { 0 };
            let out = other.chunk(chunk);
            let left = core::array::from_fn(|word| words[word] & !out[word]);
            let bit = first_set(&left, low, 0)?;
            Some((chunk * CHUNK_PAGES + bit) * PAGE)
        })
    }

    /// The first page of the set at or behind `from`.
    pub(super) fn next(&self, from: u64) -> Option<u64> {
        let (first, ..) = place(from);
        self.chunks.range(first..).find_map(|(&chunk, words)| {
            let low = if chunk == first { bit_of(from) } else { 0 };
            let bit = first_set(words, low, 0)?;
            Some((chunk * CHUNK_PAGES + bit) * PAGE)
        })
    }

    /// The first page at or behind `page` that is not in the set.
    fn next_missing(&self, page: u64) -> u64 {
        let mut number = page / PAGE;
        for (&chunk, words) in self.chunks.range(number / CHUNK_PAGES..) {
            if chunk != number / CHUNK_PAGES {
                break;
            }
            if let Some(bit) = first_set(words, number % CHUNK_PAGES, u64::MAX) {
                return (chunk * CHUNK_PAGES + bit) * PAGE;
            }
            number = (chunk + 1) * CHUNK_PAGES;
        }
        number * PAGE
    }

    /// The maximal runs of adjacent pages, in order: first page and number of pages.
    pub(super) fn runs(&self) -> impl Iterator<Item = (u64, u64)> {
        self.runs_from(0)
    }

    /// The runs behind an address; the first one begins there if it is in the middle of one.
    pub(super) fn runs_from(&self, mut from: u64) -> impl Iterator<Item = (u64, u64)> {
        core::iter::from_fn(move || {
            let page = self.next(from)?;
            from = self.next_missing(page);
            Some((page, (from - page) / PAGE))
        })
    }

    /// Moves the pages of `[from, from + length)` so that they begin at `to`. The target range must
    /// hold no pages and not overlap the source range.
    pub(super) fn shift(&mut self, from: u64, length: u64, to: u64) {
        let mut next = from;
        while let Some(page) = self.next(next).filter(|&page| page < from + length) {
            let end = self.next_missing(page).min(from + length);
            self.insert_range(to + (page - from), (end - page) / PAGE);
            next = end;
        }
        self.remove_range(from, from + length);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::vec::Vec;

    use super::*;

    fn runs_of(set: &PageSet) -> Vec<(u64, u64)> {
        set.runs()
            .map(|(page, count)| (page / PAGE, count))
            .collect()
    }

    #[test]
    fn runs_join_across_words_and_chunks() {
        let mut set = PageSet::default();
        assert_eq!(set.insert_range(500 * PAGE, 600), 600);
        assert_eq!(set.insert_range(600 * PAGE, 600), 100);
        assert_eq!(runs_of(&set), [(500, 700)]);
        assert!(set.remove(1024 * PAGE));
        assert!(!set.remove(1024 * PAGE));
        assert_eq!(runs_of(&set), [(500, 524), (1025, 175)]);
        assert_eq!(set.next(1024 * PAGE), Some(1025 * PAGE));
        assert_eq!(set.remove_range(0, 1100 * PAGE), 599);
        assert_eq!(runs_of(&set), [(1100, 100)]);
        assert_eq!(set.remove_range(0, u64::MAX / PAGE * PAGE), 100);
        assert!(set.is_empty() && set.chunks.is_empty());
        assert_eq!(set.next(0), None);
    }

    #[test]
    fn shifting_keeps_the_shape() {
        let mut set = PageSet::default();
        set.insert_range(10 * PAGE, 3);
        set.insert(20 * PAGE);
        set.insert(40 * PAGE);
        set.shift(11 * PAGE, 20 * PAGE, 5000 * PAGE);
        assert_eq!(runs_of(&set), [(10, 1), (40, 1), (5000, 2), (5009, 1)]);
        assert_eq!(set.len(), 5);
    }

    #[test]
    fn whoever_has_a_copy_keeps_up_by_the_changes() {
        let mut set = PageSet::default();
        set.insert_range(0, 5000);
        assert_eq!(set.changes(), None);
        set.watch();
        let mut copy = set.clone();
        set.remove_range(3 * PAGE, 4 * PAGE);
        set.insert(6000 * PAGE);
        set.insert(7 * PAGE);
        set.remove_range(512 * PAGE, 1024 * PAGE);
        let changes = set.changes().expect("few changes");
        let numbers: Vec<u64> = changes.iter().map(|(chunk, _)| *chunk).collect();
        assert_eq!(numbers, [0, 1, 11]);
        for (chunk, bits) in changes {
            copy.set_chunk(chunk, bits);
        }
        assert_eq!(runs_of(&copy), runs_of(&set));
        assert_eq!(copy.len(), set.len());
        for chunk in 0..CHANGED_MAX as u64 + 9 {
            set.insert((chunk + 20) * CHUNK_PAGES * PAGE);
        }
        assert_eq!(set.changes(), None);
    }

    #[test]
    fn agrees_with_a_set_of_numbers() {
        let mut set = PageSet::default();
        let mut model = BTreeSet::new();
        let mut random = 0x9e37_79b9_u64;
        for _ in 0..4000 {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let first = (random >> 20) % 3000;
            let count = if random >> 62 & 1 == 0 {
                1
            } else {
                (random >> 40) % 70
            };
            let range = first..first + count;
            if count == 1 && random >> 63 == 0 {
                assert_eq!(set.insert(first * PAGE), model.insert(first));
            } else if count == 1 {
                assert_eq!(set.remove(first * PAGE), model.remove(&first));
            } else if random >> 63 == 0 {
                let added = range.clone().filter(|&n| model.insert(n)).count() as u64;
                assert_eq!(set.insert_range(first * PAGE, count), added);
            } else {
                let removed = range.clone().filter(|n| model.remove(n)).count() as u64;
                assert_eq!(
                    set.remove_range(first * PAGE, (first + count) * PAGE),
                    removed
                );
            }
            let probe = (random >> 10) % 3100;
            assert_eq!(set.contains(probe * PAGE), model.contains(&probe));
            let next = model.range(probe..).next().map(|n| n * PAGE);
            assert_eq!(set.next(probe * PAGE), next);
            assert_eq!(set.len(), model.len() as u64);
        }
        let flat: Vec<u64> = runs_of(&set)
            .into_iter()
            .flat_map(|(n, c)| n..n + c)
            .collect();
        assert!(flat.iter().eq(model.iter()));
    }
}
