//! Medians and percentiles, and how sure they are.
//!
//! Law: every figure is computed from all samples. Intervals are those of the bootstrap (percentile method), from a fixed
//! seed, so that the same samples give the same report.

use serde_json::{Value, json};

/// How often the samples are drawn anew.
const DRAWS: usize = 1000;
/// Per cent of the draws on each side that the interval leaves out, in tenths.
const OUTSIDE_PER_MILLE: usize = 25;

/// A figure and the interval in which it lies with 95 %.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Figure {
    pub(crate) value: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

/// What a set of samples says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Summary {
    pub(crate) count: usize,
    pub(crate) p50: Figure,
    pub(crate) p99: Figure,
}

impl Summary {
    /// `None` of no samples.
    pub(crate) fn of(samples: &[f64]) -> Option<Summary> {
        let mut sorted: Vec<f64> = samples.iter().copied().filter(|x| x.is_finite()).collect();
        sorted.sort_by(f64::total_cmp);
        if sorted.is_empty() {
            return None;
        }
        let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
        let mut draws = [Vec::new(), Vec::new()];
        for _ in 0..DRAWS {
            let mut drawn: Vec<f64> = (0..sorted.len())
                .map(|_| sorted[dice.below(sorted.len())])
                .collect();
            drawn.sort_by(f64::total_cmp);
            draws[0].push(percentile(&drawn, 50));
            draws[1].push(percentile(&drawn, 99));
        }
        let [p50, p99] = [(50, 0), (99, 1)].map(|(percent, place): (usize, usize)| {
            let draws = &mut draws[place];
            draws.sort_by(f64::total_cmp);
            let outside = DRAWS * OUTSIDE_PER_MILLE / 1000;
            Figure {
                value: percentile(&sorted, percent),
                low: draws[outside],
                high: draws[DRAWS - 1 - outside],
            }
        });
        Some(Summary {
            count: sorted.len(),
            p50,
            p99,
        })
    }

    pub(crate) fn json(&self) -> Value {
        let figure = |f: Figure| json!({ "value": f.value, "low": f.low, "high": f.high });
        json!({ "count": self.count, "p50": figure(self.p50), "p99": figure(self.p99) })
    }
}

/// The smallest of the sorted values that `percent` per cent of them do not exceed.
pub(crate) fn percentile(sorted: &[f64], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100);
    let value = sorted.get(rank.saturating_sub(1));
    value.copied().unwrap_or(f64::NAN)
}

/// A small generator (xorshift64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end.max(1) as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_samples_and_lie_in_their_intervals() {
        let samples: Vec<f64> = (1..=101).map(f64::from).collect();
        let summary = Summary::of(&samples).expect("there are samples");
        assert_eq!(
            (summary.count, summary.p50.value, summary.p99.value),
            (101, 51.0, 100.0)
        );
        for figure in [summary.p50, summary.p99] {
            assert!(figure.low <= figure.value && figure.value <= figure.high);
        }
        // Of 101 even samples the median is known to about a tenth.
        assert!(
            summary.p50.low > 35.0 && summary.p50.high < 67.0,
            "{summary:?}"
        );
        assert_eq!(Summary::of(&samples), Some(summary));
    }

    #[test]
    fn one_sample_is_sure_and_none_is_nothing() {
        let one = Summary::of(&[7.0]).expect("a sample");
        assert_eq!((one.p50.low, one.p50.value, one.p99.high), (7.0, 7.0, 7.0));
        assert_eq!(Summary::of(&[]), None);
        assert_eq!(Summary::of(&[f64::NAN]), None);
    }
}
