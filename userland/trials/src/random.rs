//! Random numbers from a seed: the same seed, the same numbers.
//!
//! The generator is SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators",
//! OOPSLA 2014).

/// A source of random numbers.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    /// The source of the `index`th part of what a seed stands for.
    pub(crate) fn of(seed: u64, index: u64) -> Random {
        let mut mixed = Random(seed);
        Random(mixed.next() ^ index.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// The next 64 bits.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which is not zero.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// True once in `times`.
    pub(crate) fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// One of `items`, of which there are some.
    pub(crate) fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len() as u64) as usize]
    }

    /// Some of the bits `bits`, each with an even chance, put together.
    pub(crate) fn some_of(&mut self, bits: &[u64]) -> u64 {
        let chosen = self.next();
        let with = |(at, bit): (usize, &u64)| if chosen & 1 << at == 0 { 0 } else { *bit };
        bits.iter()
            .enumerate()
            .map(with)
            .fold(0, |all, bit| all | bit)
    }
}

#[cfg(test)]
mod tests {
    use super::Random;

    #[test]
    fn a_seed_stands_for_its_numbers() {
        let numbers = |index| {
            let mut random = Random::of(7, index);
            [random.next(), random.below(10), random.next()]
        };
        assert_eq!(numbers(1), numbers(1));
        assert_ne!(numbers(1), numbers(2));
    }
}
