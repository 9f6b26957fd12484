//! Where no gap was found between areas, so that nobody looks there again.
//!
//! Law: between what is remembered for a size and the top there is no gap of that size or more. What is put between
//! areas only makes gaps smaller; what is taken away is told, and forgotten about. So a program with ten thousands of
//! mappings, all of them below each other, gets the next one without a look at the others.

/// Sizes are told apart by powers of two, up to the whole of user space.
const CLASSES: usize = 48;

/// What is known of gaps below one top.
#[derive(Debug, Clone)]
pub(super) struct Gaps {
    top: u64,
    /// From here to the top there is no gap of this power of two or more.
    none_above: [u64; CLASSES],
}

impl Default for Gaps {
    fn default() -> Gaps {
        Gaps {
            top: 0,
            none_above: [u64::MAX; CLASSES],
        }
    }
}

fn class(length: u64) -> usize {
    length
        .checked_ilog2()
        .map_or(0, |power| (power as usize).min(CLASSES - 1))
}

impl Gaps {
    /// Where to look downwards for a gap of `length` bytes below `top`.
    pub(super) fn begin(&mut self, length: u64, top: u64) -> u64 {
        if self.top != top {
            *self = Gaps {
                top,
                ..Gaps::default()
            };
        }
        let known = self.none_above[..=class(length)].iter().min();
        known.map_or(top, |known| top.min(*known))
    }

    /// Whether a gap is one of those that are remembered together with gaps of `length` bytes.
    pub(super) fn counts(gap: u64, length: u64) -> bool {
        class(gap) >= class(length)
    }

    /// From `place` up there is no gap that counts with `length`.
    pub(super) fn found(&mut self, length: u64, place: u64) {
        self.none_above[class(length)] = place;
    }

    /// Something was taken away below `place`, where the next area begins.
    pub(super) fn taken(&mut self, place: u64) {
        for known in &mut self.none_above {
            *known = (*known).max(place);
        }
    }
}
