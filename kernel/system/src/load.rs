//! The load averages of a node.
//!
//! Law: as Linux counts them (`kernel/sched/loadavg.c`): every five seconds the number of those who run or
//! want to goes into three averages that forget with 1, 5 and 15 minutes.

/// Between two samples, ns.
const SAMPLE_NS: u64 = 5_000_000_000;
/// One, as a number with eleven binary places.
pub(crate) const ONE: u64 = 1 << 11;
/// What is left of the past after a sample: `ONE / exp(5 s / 1, 5, 15 min)`.
const KEPT: [u64; 3] = [1884, 2014, 2037];

/// Three averages.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Load {
    averages: [u64; 3],
    next_ns: u64,
}

impl Load {
    /// Takes the samples that are due, all of the same number.
    pub(crate) fn sample(&mut self, now: u64, running: u64) {
        if now < self.next_ns {
            return;
        }
        // After a long sleep the past does not matter.
        let due = (now - self.next_ns) / SAMPLE_NS + 1;
        for _ in 0..due.min(1000) {
            for (average, kept) in self.averages.iter_mut().zip(KEPT) {
                let active = running * ONE;
                let mut sum = *average * kept + active * (ONE - kept);
                if active >= *average {
                    sum += ONE - 1;
                }
                *average = sum / ONE;
            }
        }
        self.next_ns += due * SAMPLE_NS;
    }

    /// The averages as sysinfo(2) has them, with sixteen binary places.
    pub(crate) fn for_sysinfo(&self) -> [u64; 3] {
        self.averages.map(|average| average << 5)
    }

    /// Whole and hundredths.
    pub(crate) fn decimals(&self) -> [(u64, u64); 3] {
        self.averages.map(|average| {
            let rounded = average + ONE / 200;
            (rounded / ONE, rounded % ONE * 100 / ONE)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_of_work_is_two_thirds_of_the_first_average() {
        let mut load = Load::default();
        for second in 0..=60 {
            load.sample(second * 1_000_000_000, 1);
        }
        let [one, five, fifteen] = load.decimals();
        assert!((60..70).contains(&one.1), "{one:?}");
        assert!(five < one && fifteen < five);
        load.sample(3_600_000_000_000, 0);
        assert_eq!(load.decimals()[0], (0, 0));
    }
}
