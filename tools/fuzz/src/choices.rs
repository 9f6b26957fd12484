//! Where an execution takes its choices from: bytes that somebody else thought up, then a seed.
//!
//! Law: equal bytes and seeds give equal choices; a small choice takes one byte, so that who changes a
//! byte changes one choice.

use sim::random::Random;

/// A source of choices.
pub struct Choices<'a> {
    bytes: &'a [u8],
    random: Random,
}

impl<'a> Choices<'a> {
    /// All from the generator of this seed.
    pub fn of_seed(seed: u64) -> Choices<'static> {
        Choices {
            bytes: &[],
            random: Random::new(seed),
        }
    }

    /// From these bytes as far as they go.
    pub fn of_bytes(bytes: &'a [u8]) -> Choices<'a> {
        Choices {
            bytes,
            random: Random::new(0),
        }
    }

    /// 64 bits.
    pub fn bits(&mut self) -> u64 {
        match self.bytes.split_first_chunk::<8>() {
            Some((first, rest)) => {
                self.bytes = rest;
                u64::from_le_bytes(*first)
            }
            None => self.random.bits(),
        }
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        match self.bytes.split_first() {
            Some((first, rest)) if bound <= 256 => {
                self.bytes = rest;
                u64::from(*first) % bound
            }
            _ => self.bits() % bound,
        }
    }

    /// A number from `low` up to and including `high`.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// True in so many of 10 000 cases.
    pub fn chance(&mut self, of_10_000: u64) -> bool {
        self.below(200) * 50 < of_10_000
    }
}
