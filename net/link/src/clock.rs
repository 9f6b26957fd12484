//! Round trips and the peer's clock, estimated from the three times in every frame.
//!
//! Law: an estimate is used for speed and for statistics, never for safety.

/// The retransmission timeout is never below this.
pub(crate) const RTO_MIN_NS: u64 = 2_000_000;
/// Nor above this, doubled or not.
pub(crate) const RTO_MAX_NS: u64 = 200_000_000;
/// Two clocks drift apart by less than 1/500: quartz is far better, but each node calibrates its
/// clock at boot against timers that may be emulated.
const DRIFT: u64 = 500;
/// Longer round trips are taken for nonsense.
const SAMPLE_MAX_NS: u64 = 10_000_000_000;

/// Round trips, smoothed as in RFC 6298, section 2.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rtt {
    samples: u64,
    min_ns: u64,
    smoothed_ns: u64,
    variation_ns: u64,
    latest_ns: u64,
}

impl Rtt {
    pub(crate) fn sample(&mut self, rtt_ns: u64) {
        if rtt_ns > SAMPLE_MAX_NS {
            return;
        }
        if self.samples == 0 {
            self.min_ns = rtt_ns;
            self.smoothed_ns = rtt_ns;
            self.variation_ns = rtt_ns / 2;
        } else {
            self.min_ns = self.min_ns.min(rtt_ns);
            let error = self.smoothed_ns.abs_diff(rtt_ns);
            self.variation_ns = (3 * self.variation_ns + error) / 4;
            self.smoothed_ns = (7 * self.smoothed_ns + rtt_ns) / 8;
        }
        self.samples += 1;
        self.latest_ns = rtt_ns;
    }

    /// The shortest round trip, ns.
    pub fn min_ns(&self) -> Option<u64> {
        (self.samples > 0).then_some(self.min_ns)
    }

    /// The smoothed round trip, ns.
    pub fn smoothed_ns(&self) -> Option<u64> {
        (self.samples > 0).then_some(self.smoothed_ns)
    }

    /// The newest round trip, ns.
    pub fn latest_ns(&self) -> Option<u64> {
        (self.samples > 0).then_some(self.latest_ns)
    }

    /// How long to wait for an acknowledgement, which the peer may hold back for a while.
    pub(crate) fn timeout_ns(&self, doublings: u32) -> u64 {
        let base = if self.samples == 0 {
            10 * RTO_MIN_NS
        } else {
            let sum = self.smoothed_ns + 4 * self.variation_ns + crate::ACK_DELAY_NS;
            sum.max(RTO_MIN_NS)
        };
        (base << doublings.min(8)).min(RTO_MAX_NS)
    }
}

/// The peer's clock relative to ours: the estimate from the shortest recent round trip.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clock {
    best: Option<Sample>,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    offset_ns: i64,
    error_ns: u64,
    at: u64,
}

impl Sample {
    fn error_at(&self, now: u64) -> u64 {
        self.error_ns + now.saturating_sub(self.at) / DRIFT
    }
}

impl Clock {
    pub(crate) fn sample(&mut self, now: u64, sent_ns: u64, rtt_ns: u64) {
        if rtt_ns > SAMPLE_MAX_NS {
            return;
        }
        // The frame was sent half a round trip ago, give or take that half.
        let error_ns = rtt_ns / 2;
        let sent_here = now as i128 - i128::from(error_ns);
        let Ok(offset_ns) = i64::try_from(i128::from(sent_ns) - sent_here) else {
            return;
        };
        if self.best.is_none_or(|best| error_ns <= best.error_at(now)) {
            self.best = Some(Sample {
                offset_ns,
                error_ns,
                at: now,
            });
        }
    }

    /// Peer clock minus our clock, and how wrong that may be by now, ns.
    pub fn offset(&self, now: u64) -> Option<(i64, u64)> {
        self.best.map(|best| (best.offset_ns, best.error_at(now)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeout_follows_the_round_trip() {
        let mut rtt = Rtt::default();
        assert_eq!(rtt.timeout_ns(0), 20_000_000);
        for _ in 0..100 {
            rtt.sample(100_000);
        }
        assert_eq!(rtt.timeout_ns(0), RTO_MIN_NS);
        assert_eq!(rtt.timeout_ns(1), 2 * RTO_MIN_NS);
        assert_eq!(rtt.timeout_ns(60), RTO_MAX_NS);
        rtt.sample(50_000_000);
        assert!(rtt.timeout_ns(0) > 20_000_000);
        assert_eq!(rtt.min_ns(), Some(100_000));
    }

    #[test]
    fn the_shortest_round_trip_tells_the_offset() {
        let mut clock = Clock::default();
        // The peer is 1000 ahead; one way takes 40, the other 60.
        clock.sample(500_000, 501_000 - 60, 100);
        assert_eq!(clock.offset(500_000), Some((990, 50)));
        // A worse sample does not replace it, a better one does.
        clock.sample(500_100, 501_100 - 900, 1000);
        assert_eq!(clock.offset(500_000), Some((990, 50)));
        clock.sample(500_200, 501_200 - 20, 40);
        assert_eq!(clock.offset(500_200), Some((1000, 20)));
        // Age makes every estimate worse.
        assert_eq!(clock.offset(500_200 + 1_000_000), Some((1000, 2020)));
    }
}
