//! How many threads want the processors of a node, on the average of a period.
//!
//! Law: it is told to others, who act by it for a period and more; so it is of those who are here now. Who has
//! come by a move counts as if it had been here all the time, and who has gone as if it never had been. By the plain
//! average a node that has taken in eight looks half empty, and gets four too many.

/// The average of the period that runs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Average {
    began_ns: u64,
    noted_ns: u64,
    /// Since then, thousandths of threads.
    wanting_milli: u64,
    /// Thousandths of threads times ns.
    area: i128,
    /// The average of the period before, as if those who came since had been there.
    before_milli: i128,
}

impl Average {
    /// The first period begins.
    pub fn new(now: u64) -> Average {
        Average {
            began_ns: now,
            noted_ns: now,
            ..Average::default()
        }
    }

    /// When the period began, ns.
    pub fn began_ns(&self) -> u64 {
        self.began_ns
    }

    /// From now on so many thousandths of threads want a processor.
    pub fn note(&mut self, now: u64, wanting_milli: u64) {
        let span = now.saturating_sub(self.noted_ns);
        self.area += i128::from(span) * i128::from(self.wanting_milli);
        (self.noted_ns, self.wanting_milli) = (now, wanting_milli);
    }

    /// A process with so many thousandths of threads has come by a move.
    pub fn came(&mut self, now: u64, milli: u64) {
        self.area += i128::from(now.saturating_sub(self.began_ns)) * i128::from(milli);
        self.before_milli += i128::from(milli);
    }

    /// A process has gone by a move.
    pub fn went(&mut self, now: u64, milli: u64) {
        self.area -= i128::from(now.saturating_sub(self.began_ns)) * i128::from(milli);
        self.before_milli -= i128::from(milli);
    }

    /// The average of so many ns until now, at most: as far as this period is too young with the one before, in thousandths of threads.
    pub fn of_last(&self, now: u64, ns: u64) -> u32 {
        let mut so_far = *self;
        so_far.note(now, 0);
        let span = i128::from(now.saturating_sub(self.began_ns));
        let rest = (i128::from(ns) - span).max(0);
        let milli = (so_far.area + self.before_milli * rest) / (span + rest).max(1);
        u32::try_from(milli.max(0)).unwrap_or(u32::MAX)
    }

    /// Ends the period and begins the next: the average in thousandths of threads.
    pub fn conclude(&mut self, now: u64) -> u32 {
        self.note(now, self.wanting_milli);
        let span = i128::from(now.saturating_sub(self.began_ns).max(1));
        let milli = core::mem::take(&mut self.area) / span;
        self.began_ns = now;
        self.before_milli = milli;
        u32::try_from(milli.max(0)).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn threads_count_for_as_long_as_they_want_a_processor() {
        let mut average = Average::new(SECOND);
        average.note(SECOND, 2000);
        average.note(SECOND + SECOND / 4, 0);
        assert_eq!(average.conclude(2 * SECOND), 500);
        assert_eq!(
            (average.conclude(3 * SECOND), average.began_ns()),
            (0, 3 * SECOND)
        );
        assert_eq!(average.conclude(3 * SECOND), 0);
    }

    #[test]
    fn who_has_moved_counts_for_all_of_the_period_or_for_nothing() {
        let mut average = Average::new(0);
        average.note(0, 1000);
        average.note(SECOND / 2, 9000);
        average.came(SECOND / 2, 8000);
        assert_eq!(average.conclude(SECOND), 9000);
        average.note(SECOND + SECOND / 4, 2000);
        average.went(SECOND + SECOND / 4, 7000);
        // It goes on to the next node.
        average.note(SECOND + SECOND / 2, 3000);
        average.came(SECOND + SECOND / 2, 1000);
        average.note(SECOND + 3 * SECOND / 4, 2000);
        average.went(SECOND + 3 * SECOND / 4, 1000);
        assert_eq!(average.conclude(2 * SECOND), 2000);
    }

    #[test]
    fn a_young_period_has_the_end_of_the_one_before_in_it() {
        let mut average = Average::new(0);
        average.note(0, 4000);
        assert_eq!(average.of_last(SECOND / 2, SECOND / 2), 4000);
        assert_eq!(average.conclude(SECOND), 4000);
        average.note(SECOND, 0);
        assert_eq!(average.of_last(SECOND, SECOND), 4000);
        assert_eq!(average.of_last(SECOND + SECOND / 4, SECOND), 3000);
        assert_eq!(average.of_last(2 * SECOND, SECOND), 0);
        // Who comes counts at once, and for all of the time.
        average.note(SECOND + SECOND / 4, 2000);
        average.came(SECOND + SECOND / 4, 2000);
        assert_eq!(average.of_last(SECOND + SECOND / 4, SECOND), 5000);
        assert_eq!(average.of_last(2 * SECOND, SECOND), 2000);
        average.went(2 * SECOND, u64::MAX);
        assert_eq!(average.of_last(2 * SECOND, SECOND), 0);
    }

    #[test]
    fn figures_that_do_not_fit_together_are_no_load() {
        let mut average = Average::new(0);
        average.went(SECOND, 7000);
        assert_eq!(average.conclude(SECOND), 0);
        average.note(SECOND, u64::MAX);
        assert_eq!(average.conclude(2 * SECOND), u32::MAX);
    }
}
