//! Random numbers for the world: xoshiro256** (Blackman and Vigna, 2018).
//!
//! Law: nothing in the simulator is random but through here.

/// A generator; equal seeds give equal sequences.
#[derive(Clone, Debug)]
pub struct Random([u64; 4]);

impl Random {
    /// The generator of this seed.
    pub fn new(seed: u64) -> Random {
        let mut state = seed;
        Random([(); 4].map(|()| {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        }))
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        let s = &mut self.0;
        let result = s[1].wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = s[3].rotate_left(45);
        result
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.bits() % bound
    }

    /// A number from `low` up to and including `high`.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// True in so many of 10 000 cases.
    pub fn chance(&mut self, of_10_000: u64) -> bool {
        self.below(10_000) < of_10_000
    }

    /// A number from 0 up to but not including 1.
    pub fn part(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A number of the exponential distribution with this mean.
    pub fn exponential(&mut self, mean: f64) -> f64 {
        -mean * logarithm(1.0 - self.part())
    }

    /// A number from `low` to `high` that is beyond x in `low / x` of all cases: Pareto's distribution of index 1.
    pub fn pareto(&mut self, low: f64, high: f64) -> f64 {
        low / (1.0 - self.part() * (1.0 - low / high))
    }
}

/// The natural logarithm of a positive number. The library's differs by a bit from machine to machine.
pub fn logarithm(x: f64) -> f64 {
    let bits = x.to_bits();
    let exponent = ((bits >> 52) as i64 - 1023) as f64;
    let mantissa = f64::from_bits(bits & ((1 << 52) - 1) | 1023 << 52);
    // ln m = 2 artanh((m - 1) / (m + 1)), and m is from 1 to 2.
    let z = (mantissa - 1.0) / (mantissa + 1.0);
    let mut sum = 0.0;
    let mut power = z;
    for odd in (1..40).step_by(2) {
        sum += power / f64::from(odd);
        power *= z * z;
    }
    2.0 * sum + exponent * std::f64::consts::LN_2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logarithms_and_distributions_are_right() {
        for x in [1e-9, 0.1, 0.999, 1.0, 1.5, 2.0, 77.0, 1e12] {
            assert!((logarithm(x) - f64::ln(x)).abs() < 1e-12, "{x}");
        }
        let mut random = Random::new(1);
        let many = 100_000;
        let mean = (0..many).map(|_| random.exponential(3.0)).sum::<f64>() / f64::from(many);
        assert!((2.9..3.1).contains(&mean), "{mean}");
        let long = (0..many).filter(|_| random.pareto(1.0, 1e6) > 10.0);
        assert!((9_500..10_500).contains(&long.count()));
    }
}
