//! Which numbers were here: a window behind the highest.
//!
//! Law: after RFC 6479. A number is accepted once; what is so old that nobody knows is refused. Only
//! numbers of frames whose tag was right come here.

/// How far behind the highest number another may be and still be told from one that was here.
pub const WINDOW: u32 = 2048;
const WORD_BITS: u32 = u64::BITS;
/// One word more than the window has: the one that the highest number is in is only partly used.
const WORDS: usize = (WINDOW / WORD_BITS) as usize + 1;

#[derive(Clone, Debug)]
pub(crate) struct Window {
    highest: u32,
    seen: [u64; WORDS],
}

impl Window {
    pub(crate) fn new() -> Window {
        Window {
            highest: 0,
            seen: [0; WORDS],
        }
    }

    /// Whether a number is new; then it is not any more. Zero never is.
    pub(crate) fn accept(&mut self, number: u32) -> bool {
        if number == 0 || self.highest.saturating_sub(number) >= WINDOW {
            return false;
        }
        let (word, highest_word) = (number / WORD_BITS, self.highest / WORD_BITS);
        if word > highest_word {
            let words = WORDS as u32;
            for passed in 1..=(word - highest_word).min(words) {
                self.seen[((highest_word + passed) % words) as usize] = 0;
            }
        }
        self.highest = self.highest.max(number);
        let slot = &mut self.seen[word as usize % WORDS];
        let bit = 1 << (number % WORD_BITS);
        let new = *slot & bit == 0;
        *slot |= bit;
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;

    /// What the window has to do, without its art.
    #[derive(Default)]
    struct Model {
        seen: BTreeSet<u32>,
    }

    impl Model {
        fn accept(&mut self, number: u32) -> bool {
            let highest = self.seen.last().copied().unwrap_or(0);
            number != 0 && highest.saturating_sub(number) < WINDOW && self.seen.insert(number)
        }
    }

    #[test]
    fn it_does_what_a_set_of_all_numbers_would() {
        let mut state = 1u64;
        let mut random = |below: u32| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 33) as u32 % below
        };
        for _ in 0..30 {
            let (mut window, mut model) = (Window::new(), Model::default());
            let mut middle = random(5000);
            for _ in 0..3000 {
                middle += match random(50) {
                    0 => random(2 * WINDOW),
                    1 => 64 * random(40),
                    _ => random(3),
                };
                let number = (middle + random(100)).saturating_sub(match random(4) {
                    0 => WINDOW - 50 + random(100),
                    _ => random(64),
                });
                assert_eq!(window.accept(number), model.accept(number), "{number}");
            }
        }
    }

    #[test]
    fn the_edges() {
        let mut window = Window::new();
        assert!(!window.accept(0));
        assert!(window.accept(1) && !window.accept(1));
        assert!(window.accept(WINDOW) && window.accept(2) && !window.accept(1));
        assert!(window.accept(WINDOW + 1) && !window.accept(1));
        assert!(window.accept(u32::MAX) && !window.accept(u32::MAX) && !window.accept(5));
        assert!(window.accept(u32::MAX - WINDOW + 1) && !window.accept(u32::MAX - WINDOW));
    }
}
