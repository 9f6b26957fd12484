//! Pipes that are written behind: how much of one is promised, and what of it has not left yet.
//!
//! Law: only a write is taken that the pipe would have taken at once and whole. Home promises pages,
//! and both sides count them as `files/pipe.rs` does, the holder never fewer than home; what a write is stays
//! one, as home lays each into the pipe by itself.

use super::PAGE;
use crate::memory::PagePart;
use alloc::vec::Vec;

/// Bytes that leave together at most; a longer write is asked for.
const PIECES_MAX: usize = 16 << 10;
/// Runs of writes of one length that leave together at most.
const RUNS_MAX: usize = 64;

/// Pages of a pipe that home has promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slots {
    /// Those that are left.
    left: u32,
    /// Those whose writes home has not answered.
    under_way: u32,
    /// Bytes in the page that was begun last. What the pipe held before is unknown: it may be full.
    fill: u64,
}

impl Slots {
    pub(super) fn new(pages: u32) -> Slots {
        Slots {
            left: pages,
            under_way: 0,
            fill: PAGE,
        }
    }

    /// What a write takes: new pages, and how full the last one is then.
    fn cost(&self, length: u64) -> (u32, u64) {
        let odd = length % PAGE;
        let (joined, fill) = match self.fill + odd <= PAGE {
            true => (odd, self.fill + odd),
            false => (0, self.fill),
        };
        let rest = length - joined;
        let fill = match (rest, rest % PAGE) {
            (0, _) => fill,
            (_, 0) => PAGE,
            (_, odd) => odd,
        };
        (rest.div_ceil(PAGE) as u32, fill)
    }

    /// Whether there are enough for a write.
    pub(super) fn fit(&self, length: u64) -> bool {
        length <= PIECES_MAX as u64 && self.cost(length).0 <= self.left
    }

    /// Takes a write; how many pages it costs.
    fn take(&mut self, length: u64) -> u32 {
        let (pages, fill) = self.cost(length);
        self.left -= pages;
        self.under_way += pages;
        self.fill = fill;
        pages
    }

    /// Home has answered for writes of so many pages and has room for so many behind them. Whether
    /// there is anything left to promise.
    pub(super) fn answered(&mut self, pages: u32, room: u32) -> bool {
        self.under_way = self.under_way.saturating_sub(pages);
        self.left = room.saturating_sub(self.under_way);
        room > 0
    }
}

/// Writes to a pipe that have not left.
#[derive(Default)]
pub(super) struct Pieces {
    pub(super) bytes: Vec<u8>,
    /// Their lengths, and how many of each come in a row.
    runs: Vec<(u32, u32)>,
    /// What they cost.
    pub(super) pages: u32,
}

impl Pieces {
    /// Whether a write of so many bytes leaves together with these.
    pub(super) fn has_room(&self, length: u64) -> bool {
        self.bytes.len() as u64 + length <= PIECES_MAX as u64 && self.runs.len() < RUNS_MAX
    }

    /// Takes a write, whole or not at all.
    pub(super) fn add(&mut self, parts: &[PagePart], slots: &mut Slots) -> bool {
        let length: usize = parts.iter().map(|part| part.length).sum();
        if self.bytes.try_reserve(length).is_err() {
            return false;
        }
        for part in parts {
            let at = self.bytes.len();
            self.bytes.resize(at + part.length, 0);
            part.frame.read(part.at, &mut self.bytes[at..]);
        }
        self.pages += slots.take(length as u64);
        match self.runs.last_mut() {
            Some((same, count)) if *same as usize == length => *count += 1,
            _ => self.runs.push((length as u32, 1)),
        }
        true
    }

    /// The form in which the lengths travel.
    pub(super) fn runs(&self) -> Vec<u8> {
        let runs = self.runs.iter();
        runs.flat_map(|(length, count)| [length.to_le_bytes(), count.to_le_bytes()])
            .flatten()
            .collect()
    }
}

/// The writes of which `bytes` is made, as their lengths say; `None` if these are not all of it.
pub(super) fn pieces<'a>(
    runs: &'a [u8],
    bytes: &'a [u8],
) -> Option<impl Iterator<Item = &'a [u8]>> {
    let (words, rest) = runs.as_chunks::<4>();
    let (pairs, odd) = words.as_chunks::<2>();
    let runs = pairs
        .iter()
        .map(|pair| pair.map(u32::from_le_bytes))
        .map(|[length, count]| (length as usize, count as usize));
    let mut all = 0_usize;
    for (length, count) in runs.clone() {
        all = all.checked_add(length.checked_mul(count).filter(|bytes| *bytes > 0)?)?;
    }
    let exact = rest.is_empty() && odd.is_empty() && all == bytes.len();
    let mut left = bytes;
    let lengths = runs.flat_map(|(length, count)| core::iter::repeat_n(length, count));
    exact.then(|| {
        lengths.map(move |length| {
            let (piece, rest) = left.split_at(length);
            left = rest;
            piece
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_counted_as_the_pipe_does() {
        let mut slots = Slots::new(3);
        // The first begins a page, as the last one in the pipe may be full.
        assert_eq!([1000; 4].map(|length| slots.take(length)), [1, 0, 0, 0]);
        // 96 bytes are left of it: too few for another thousand, which begins a page.
        assert_eq!((slots.take(1000), slots.left), (1, 1));
        // 4196 bytes are a hundred behind those and a whole page.
        assert!(slots.fit(4196) && !slots.fit(2 * PAGE));
        assert_eq!((slots.take(4196), slots.fill), (1, PAGE));
        assert!(!slots.fit(1));
        assert!(slots.answered(1, 5) && slots.left == 3);
        assert!(!slots.answered(2, 0) && slots.left == 0);
    }

    #[test]
    fn lengths_that_are_not_those_of_the_bytes_are_refused() {
        let runs = |runs: &[[u32; 2]]| -> Vec<u8> {
            runs.iter()
                .flatten()
                .flat_map(|n| n.to_le_bytes())
                .collect()
        };
        let split = |all: &[[u32; 2]], bytes: &[u8]| -> Option<Vec<Vec<u8>>> {
            let runs = runs(all);
            let split = pieces(&runs, bytes)?.map(<[u8]>::to_vec).collect();
            Some(split)
        };
        let split_up = split(&[[1, 2], [3, 1]], b"abcde");
        assert_eq!(
            split_up.expect("they fit"),
            [b"a".to_vec(), b"b".to_vec(), b"cde".to_vec()]
        );
        for wrong in [
            &[[1, 4]][..],
            &[[1, 6]],
            &[[0, 5], [5, 1]],
            &[[5, 1], [u32::MAX, u32::MAX]],
        ] {
            assert_eq!(split(wrong, b"abcde"), None, "{wrong:?}");
        }
        assert!(pieces(&[1, 0, 0, 0], b"a").is_none());
    }
}
