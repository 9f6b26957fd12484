//! How often something may be done: a bucket that fills at a constant rate.
//!
//! Law: a burst, and then one for each gap; a clock that stood still gives no more than the burst.

/// What may be done at once.
const BURST: u64 = 64;
/// Then one in so many ns.
const GAP_NS: u64 = 20_000_000;

#[derive(Debug)]
pub(crate) struct Rate {
    /// When it was, or will be, as if nothing had been done, ns.
    full_at: u64,
}

impl Rate {
    pub(crate) fn new() -> Rate {
        Rate { full_at: 0 }
    }

    /// Whether it may be done now; asking takes it.
    pub(crate) fn take(&mut self, now: u64) -> bool {
        let full_at = self.full_at.max(now) + GAP_NS;
        let may = full_at - now <= BURST * GAP_NS;
        if may {
            self.full_at = full_at;
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_the_rate() {
        let mut rate = Rate::new();
        let first = (0..1000).filter(|_| rate.take(5)).count();
        assert_eq!(first as u64, BURST);
        let later = (0..1000).filter(|ms| rate.take(5 + ms * 1_000_000)).count();
        assert_eq!(later, 49, "one second, one in 20 ms");
        let idle = (0..1000).filter(|_| rate.take(u64::MAX / 2)).count();
        assert_eq!(idle as u64, BURST);
    }
}
