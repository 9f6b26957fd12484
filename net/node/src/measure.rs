//! Measuring a link: pings one after the other, then a dumb blast of full frames.
//!
//! Law: the blast knows only as much flow control as keeps the receiver's ring from being overrun
//! (a report every 32 frames, at most 128 unreported), and never sends a frame again: its goodput is
//! what the page stream is compared with.

use alloc::sync::Arc;
use alloc::vec::Vec;
use link::{Page, Payload};
use wire::{Header, PAYLOAD_MAX, PayloadKind};

/// A ping that is not back by then is lost.
const PING_TIMEOUT_NS: u64 = 100_000_000;
/// Without a report for so long, everything unreported is taken for lost.
const BLAST_TIMEOUT_NS: u64 = 20_000_000;
/// Frames of a blast that are not reported yet, at most.
const UNREPORTED_MAX: u32 = 128;
/// Frames per report.
const REPORT_EVERY: u32 = 32;
/// A report for fewer frames waits so long.
const REPORT_DELAY_NS: u64 = 1_000_000;
/// Stalls of a blast before it ends.
const STALLS_MAX: u32 = 25;
/// Most pings and frames of one measurement.
const PINGS_MAX: u32 = 100_000;
const FRAMES_MAX: u32 = 1 << 24;

/// What measurements send: bytes without meaning, a whole page without being copied.
#[derive(Debug)]
pub(crate) struct Filler<P> {
    page: Option<P>,
    bytes: Arc<[u8]>,
}

impl<P: Page> Filler<P> {
    pub(crate) fn new() -> Filler<P> {
        Filler {
            page: P::zeroed(),
            bytes: Arc::from([0; PAYLOAD_MAX].as_slice()),
        }
    }

    /// So many bytes behind this header.
    pub(crate) fn fill(&self, header: &mut Header, bytes: u16) -> Payload<P> {
        let length = usize::from(bytes).min(PAYLOAD_MAX);
        if length == 0 {
            return Payload::None;
        }
        header.payload_kind = PayloadKind::Filler as u8;
        header.length = (length as u16).into();
        match &self.page {
            Some(page) if length == PAYLOAD_MAX => Payload::page(page.clone()),
            _ => Payload::Bytes(self.bytes.clone(), 0..length),
        }
    }
}

/// What a measurement transmits next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Probe {
    /// A frame with so many bytes behind the header.
    Echo { seq: u32, bytes: u16 },
    /// As many frames as go.
    Blast { seq: u32, run: u64, bytes: u16 },
}

/// The measuring side.
#[derive(Debug)]
pub(crate) struct Measurement {
    run: u64,
    /// Bytes behind the header of a ping and of a frame of the blast.
    bytes: [u16; 2],
    pings: u32,
    /// The ping under way: its number and when it left, and the first number of this run.
    ping: u32,
    ping_sent: Option<u64>,
    rtt_ns: Vec<u32>,
    frames: u32,
    /// Frames of the blast sent, and how many of those need no report any more.
    sent: u32,
    settled: u32,
    arrived: u64,
    started: u64,
    reported_at: u64,
    progress: u64,
    stalls: u32,
    over: bool,
}

impl Measurement {
    /// `run` is not used twice between two boots. Frames have so many bytes behind the header; unless that is said,
    /// pings have none and the blast has all that fit.
    pub(crate) fn new(run: u64, pings: u32, frames: u32, bytes: Option<u16>) -> Measurement {
        const FULL: u16 = PAYLOAD_MAX as u16;
        Measurement {
            run,
            bytes: bytes.map_or([0, FULL], |bytes| [bytes.min(FULL), bytes.clamp(1, FULL)]),
            pings: pings.min(PINGS_MAX),
            ping: 0,
            ping_sent: None,
            rtt_ns: Vec::new(),
            frames: frames.min(FRAMES_MAX),
            sent: 0,
            settled: 0,
            arrived: 0,
            started: 0,
            reported_at: 0,
            progress: 0,
            stalls: 0,
            over: false,
        }
    }

    /// The number of the present ping on the wire: runs do not share numbers for long.
    fn ping_seq(&self) -> u32 {
        (self.run as u32)
            .wrapping_mul(PINGS_MAX + 1)
            .wrapping_add(self.ping)
    }

    /// Whether [`Measurement::poll`] would return something.
    pub(crate) fn is_ready(&self) -> bool {
        if self.ping < self.pings {
            return self.ping_sent.is_none();
        }
        self.sent < self.frames && self.sent - self.settled < UNREPORTED_MAX
    }

    pub(crate) fn poll(&mut self, now: u64) -> Option<Probe> {
        if !self.is_ready() {
            return None;
        }
        if self.ping < self.pings {
            self.ping_sent = Some(now);
            return Some(Probe::Echo {
                seq: self.ping_seq(),
                bytes: self.bytes[0],
            });
        }
        if self.sent == 0 {
            self.started = now;
            self.progress = now;
        }
        self.sent += 1;
        Some(Probe::Blast {
            seq: self.sent - 1,
            run: self.run,
            bytes: self.bytes[1],
        })
    }

    pub(crate) fn handle_echo_reply(&mut self, now: u64, seq: u32) {
        if self.ping < self.pings
            && seq == self.ping_seq()
            && let Some(sent) = self.ping_sent.take()
        {
            let rtt_ns = u32::try_from(now.saturating_sub(sent)).unwrap_or(u32::MAX);
            self.rtt_ns.push(rtt_ns);
            self.ping += 1;
        }
    }

    pub(crate) fn handle_report(&mut self, now: u64, run: u64, highest: u32, arrived: u64) {
        if run != self.run || highest >= self.sent || arrived > u64::from(self.sent) {
            return;
        }
        if arrived > self.arrived {
            self.arrived = arrived;
            self.reported_at = now;
        }
        self.settled = self.settled.max(highest + 1);
        self.progress = now;
        self.stalls = 0;
    }

    pub(crate) fn poll_timeout(&self) -> Option<u64> {
        if self.ping < self.pings {
            return self.ping_sent.map(|sent| sent + PING_TIMEOUT_NS);
        }
        (self.settled < self.sent).then_some(self.progress + BLAST_TIMEOUT_NS)
    }

    pub(crate) fn handle_timeout(&mut self, now: u64) {
        if self.poll_timeout().is_none_or(|deadline| deadline > now) {
            return;
        }
        if self.ping < self.pings {
            self.ping_sent = None;
            self.ping += 1;
            return;
        }
        self.settled = self.sent;
        self.progress = now;
        self.stalls += 1;
        self.over |= self.stalls >= STALLS_MAX;
    }

    /// The result once there is nothing more to wait for: round trips and bytes per second.
    pub(crate) fn result(&mut self) -> Option<(Vec<u32>, u64)> {
        let pinged = self.ping >= self.pings;
        let blasted = self.sent >= self.frames && self.settled >= self.sent;
        if !pinged || !(blasted || self.over) {
            return None;
        }
        let mut rtt_ns = core::mem::take(&mut self.rtt_ns);
        rtt_ns.sort_unstable();
        let bytes = u128::from(self.arrived) * u128::from(self.bytes[1]);
        let time_ns = u128::from(self.reported_at.saturating_sub(self.started)).max(1);
        let rate = u64::try_from(bytes * 1_000_000_000 / time_ns).unwrap_or(u64::MAX);
        Some((rtt_ns, if self.arrived == 0 { 0 } else { rate }))
    }
}

/// The receiving side of a blast.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct BlastSink {
    run: u64,
    arrived: u64,
    highest: u32,
    unreported: u32,
    deadline: Option<u64>,
    report: bool,
}

impl BlastSink {
    pub(crate) fn handle_blast(&mut self, now: u64, run: u64, seq: u32) {
        if run != self.run {
            *self = BlastSink {
                run,
                ..BlastSink::default()
            };
        }
        self.arrived += 1;
        self.highest = self.highest.max(seq);
        self.unreported += 1;
        if self.unreported >= REPORT_EVERY {
            self.report = true;
        } else if self.deadline.is_none() {
            self.deadline = Some(now + REPORT_DELAY_NS);
        }
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.report
    }

    pub(crate) fn poll_timeout(&self) -> Option<u64> {
        self.deadline
    }

    pub(crate) fn handle_timeout(&mut self, now: u64) {
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            self.deadline = None;
            self.report = true;
        }
    }

    /// The report that is due: run, highest number, frames that arrived.
    pub(crate) fn poll(&mut self) -> Option<(u64, u32, u64)> {
        if !self.report {
            return None;
        }
        self.report = false;
        self.deadline = None;
        self.unreported = 0;
        Some((self.run, self.highest, self.arrived))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pings_then_blast() {
        let mut m = Measurement::new(1, 3, 200, None);
        let mut sink = BlastSink::default();
        let mut now = 1000;
        for lost in [false, true, false] {
            let Some(Probe::Echo { seq, bytes: 0 }) = m.poll(now) else {
                panic!("a ping first")
            };
            assert_eq!(m.poll(now), None, "one after the other");
            now += 500;
            if lost {
                now = m.poll_timeout().expect("waits");
                m.handle_timeout(now);
            } else {
                m.handle_echo_reply(now, seq);
            }
        }
        let mut frames = 0;
        loop {
            while let Some(probe) = m.poll(now) {
                let Probe::Blast {
                    seq,
                    run,
                    bytes: 4096,
                } = probe
                else {
                    panic!("pings are over")
                };
                frames += 1;
                now += 10_000;
                sink.handle_blast(now, run, seq);
                if let Some((run, highest, arrived)) = sink.poll() {
                    m.handle_report(now, run, highest, arrived);
                }
            }
            if let Some((rtt_ns, rate)) = m.result() {
                assert_eq!(rtt_ns, [500, 500]);
                assert!((380_000_000..=430_000_000).contains(&rate), "{rate}");
                break;
            }
            now = sink
                .poll_timeout()
                .expect("the last frames wait for a report");
            sink.handle_timeout(now);
            let (run, highest, arrived) = sink.poll().expect("due");
            m.handle_report(now - 1_000_000, run, highest, arrived);
        }
        assert_eq!(frames, 200);
    }

    #[test]
    fn a_blast_nobody_answers_ends() {
        let mut m = Measurement::new(1, 0, 1_000_000, Some(64));
        let mut now = 1;
        while m.result().is_none() {
            while let Some(probe) = m.poll(now) {
                assert!(matches!(probe, Probe::Blast { bytes: 64, .. }));
            }
            now = m.poll_timeout().expect("waits");
            m.handle_timeout(now);
        }
        assert!(now < 1_000_000_000);
    }
}
