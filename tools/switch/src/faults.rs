//! What a link does to the frames that cross it.
//!
//! Law: every directed link draws from a generator of its own, seeded from the switch's seed and the
//! two ports, so the same frames on one link meet the same fate whatever other links carry.

use std::fmt;
use std::str::FromStr;
use thiserror::Error;

const MILLION: u32 = 1_000_000;

/// A frame chosen for reordering is held back this long at least, in nanoseconds.
const HOLD_MIN_NS: u64 = 100_000;
/// and at most this long, so that a few later frames of a busy link overtake it.
const HOLD_MAX_NS: u64 = 2_000_000;

/// A probability, in parts per million. Written and read as per cent: `2`, `0.5` or `2%`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Chance(u32);

/// Why a text is not a probability.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("`{0}` is not a probability: give per cent from 0 to 100, for example 2 or 0.5%")]
pub struct ChanceError(String);

impl Chance {
    /// Never.
    pub const NEVER: Chance = Chance(0);

    /// `percent` from 0 to 100; more is taken as 100.
    pub const fn percent(percent: u32) -> Chance {
        let percent = if percent > 100 { 100 } else { percent };
        Chance(percent * (MILLION / 100))
    }

    /// True when it can never happen.
    pub const fn is_never(self) -> bool {
        self.0 == 0
    }

    fn happens(self, random: &mut Random) -> bool {
        self.0 != 0 && random.below(u64::from(MILLION)) < u64::from(self.0)
    }
}

impl FromStr for Chance {
    type Err = ChanceError;

    fn from_str(text: &str) -> Result<Chance, ChanceError> {
        let number = text.strip_suffix('%').unwrap_or(text);
        match number.parse::<f64>() {
            Ok(percent) if (0.0..=100.0).contains(&percent) => {
                Ok(Chance((percent * f64::from(MILLION / 100)).round() as u32))
            }
            _ => Err(ChanceError(text.to_owned())),
        }
    }
}

impl fmt::Display for Chance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", f64::from(self.0) / f64::from(MILLION / 100))
    }
}

/// What one direction of a link does. The default is a perfect link.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Faults {
    /// The frame is not delivered.
    pub loss: Chance,
    /// The frame is delivered twice.
    pub duplicate: Chance,
    /// The frame is held back 0.1 to 2 ms, so that later ones overtake it.
    pub reorder: Chance,
    /// Every frame is this late, in microseconds; order is kept.
    pub delay_us: u32,
    /// Every frame is late by 0 to this many microseconds more; order is not kept.
    pub jitter_us: u32,
    /// Bits per microsecond the link carries; 0 is no limit.
    pub rate_mbit: u32,
}

impl Faults {
    /// True when frames pass at once and unharmed.
    pub fn is_perfect(&self) -> bool {
        *self == Faults::default()
    }
}

/// The fate of one frame on one link: the lateness of each copy that arrives, in nanoseconds.
/// No copy is a lost frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fate {
    delays_ns: [u64; 2],
    copies: usize,
}

impl Fate {
    /// Arrives once, at once.
    pub const UNHARMED: Fate = Fate {
        delays_ns: [0, 0],
        copies: 1,
    };

    /// One lateness for each copy to deliver.
    pub fn delays_ns(&self) -> &[u64] {
        &self.delays_ns[..self.copies]
    }
}

/// One direction between two ports: its faults and the state they need.
#[derive(Debug)]
pub struct Link {
    /// What this link does to frames.
    pub faults: Faults,
    /// Nothing passes: one direction of a partition.
    pub cut: bool,
    random: Random,
    /// When the last bit of the last frame has left, for `rate_mbit`.
    free_at_ns: u64,
}

impl Link {
    /// A perfect link from port `from` to port `to`, drawing from `seed`.
    pub fn new(seed: u64, from: usize, to: usize) -> Link {
        let ports = ((from as u64) << 32) | to as u64;
        let seed = seed ^ ports.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Link {
            faults: Faults::default(),
            cut: false,
            random: Random(seed),
            free_at_ns: 0,
        }
    }

    /// Decides about one frame of `length` bytes that enters the link at `now_ns`.
    pub fn decide(&mut self, now_ns: u64, length: usize) -> Fate {
        if self.faults.is_perfect() {
            return Fate::UNHARMED;
        }
        let faults = self.faults;
        if faults.loss.happens(&mut self.random) {
            return Fate {
                delays_ns: [0, 0],
                copies: 0,
            };
        }
        let queued_ns = self.transmission_ns(now_ns, length);
        let copies = if faults.duplicate.happens(&mut self.random) {
            2
        } else {
            1
        };
        let mut delays_ns = [0; 2];
        for delay_ns in &mut delays_ns[..copies] {
            *delay_ns = queued_ns + u64::from(faults.delay_us) * 1000;
            if faults.jitter_us != 0 {
                *delay_ns += self.random.below(u64::from(faults.jitter_us) * 1000 + 1);
            }
            if faults.reorder.happens(&mut self.random) {
                *delay_ns += HOLD_MIN_NS + self.random.below(HOLD_MAX_NS - HOLD_MIN_NS);
            }
        }
        Fate { delays_ns, copies }
    }

    /// Lateness due to the limited rate: waiting for earlier frames plus sending this one.
    fn transmission_ns(&mut self, now_ns: u64, length: usize) -> u64 {
        if self.faults.rate_mbit == 0 {
            return 0;
        }
        let bits = length as u64 * 8;
        let sending_ns = bits * 1000 / u64::from(self.faults.rate_mbit);
        self.free_at_ns = self.free_at_ns.max(now_ns) + sending_ns;
        self.free_at_ns - now_ns
    }
}

/// SplitMix64 (Steele, Lea, Flood, OOPSLA 2014): small, seedable and good enough to choose frames.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// Numbers that follow from `seed`.
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// The next one.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `limit`, which is not 0. The bias is below limit / 2^64.
    pub fn below(&mut self, limit: u64) -> u64 {
        ((u128::from(self.number()) * u128::from(limit)) >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(faults: Faults) -> Link {
        let mut link = Link::new(7, 0, 1);
        link.faults = faults;
        link
    }

    fn fates(link: &mut Link, count: usize) -> Vec<Fate> {
        (0..count).map(|_| link.decide(0, 1000)).collect()
    }

    #[test]
    fn split_mix_is_the_published_one() {
        let mut random = Random(1_234_567);
        assert_eq!(random.number(), 6_457_827_717_110_365_317);
        assert_eq!(random.number(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn chances_are_read_as_per_cent() {
        assert_eq!("2".parse(), Ok(Chance::percent(2)));
        assert_eq!("0.5%".parse(), Ok(Chance(5_000)));
        assert_eq!("100%".parse(), Ok(Chance::percent(100)));
        assert_eq!(Chance(5_000).to_string(), "0.5%");
        for bad in ["", "-1", "101", "x", "NaN", "inf", "%"] {
            assert!(bad.parse::<Chance>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_perfect_link_harms_nothing() {
        let mut link = link(Faults::default());
        assert!(
            fates(&mut link, 1000)
                .iter()
                .all(|fate| *fate == Fate::UNHARMED)
        );
    }

    #[test]
    fn two_per_cent_are_lost_and_doubled() {
        let chance = Chance::percent(2);
        let mut link = link(Faults {
            loss: chance,
            duplicate: chance,
            ..Faults::default()
        });
        let fates = fates(&mut link, 100_000);
        let lost = fates
            .iter()
            .filter(|fate| fate.delays_ns().is_empty())
            .count();
        let doubled = fates
            .iter()
            .filter(|fate| fate.delays_ns().len() == 2)
            .count();
        // Five standard deviations of a binomial distribution: 5 * sqrt(100000 * 0.02 * 0.98).
        assert!((1780..=2220).contains(&lost), "{lost}");
        assert!((1740..=2180).contains(&doubled), "{doubled}");
    }

    #[test]
    fn the_same_seed_is_the_same_fate_and_links_differ() {
        let faults = Faults {
            loss: Chance::percent(50),
            ..Faults::default()
        };
        let draw = |seed, from, to| {
            let mut link = Link::new(seed, from, to);
            link.faults = faults;
            fates(&mut link, 64)
        };
        assert_eq!(draw(1, 0, 1), draw(1, 0, 1));
        assert_ne!(draw(1, 0, 1), draw(2, 0, 1));
        assert_ne!(draw(1, 0, 1), draw(1, 1, 0));
    }

    #[test]
    fn reordered_frames_are_held_within_the_bounds() {
        let mut link = link(Faults {
            reorder: Chance::percent(100),
            ..Faults::default()
        });
        for fate in fates(&mut link, 1000) {
            assert!((HOLD_MIN_NS..HOLD_MAX_NS).contains(&fate.delays_ns()[0]));
        }
    }

    #[test]
    fn a_rate_spaces_frames() {
        let mut link = link(Faults {
            rate_mbit: 8,
            ..Faults::default()
        });
        // 1000 bytes at 1 byte per microsecond.
        assert_eq!(link.decide(0, 1000).delays_ns(), [1_000_000]);
        assert_eq!(link.decide(0, 1000).delays_ns(), [2_000_000]);
        assert_eq!(link.decide(5_000_000, 1000).delays_ns(), [1_000_000]);
    }
}
