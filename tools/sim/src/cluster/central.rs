//! The bound: a scheduler that knows everything at once and moves processes for nothing.
//!
//! Law: those who are there share the fastest processors of all nodes that live, each never more than one; what owners
//! use themselves is taken off. No calls travel. It does not know how long a process will run, as nobody does: who
//! knew that could serve the short ones first, which no policy here does on its node either.

use super::report::{Figures, Sample, Through};
use super::trace::{SECOND, Trace};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Threads that an owner's work is.
const OWNER: f64 = 0.5;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Owner(usize, bool),
    Death(usize),
    Return(usize),
    Arrive(usize),
    Sample,
}

struct Central<'a> {
    trace: &'a Trace,
    alive: Vec<bool>,
    owners: Vec<bool>,
    /// Speeds of the fastest processors, added up.
    sums: Vec<f64>,
    used_by_owners: f64,
    /// Work done by each who was there all the time.
    done_ns: f64,
    /// When each is through, in work done; positive numbers are in order by their bits.
    ends: BinaryHeap<Reverse<(u64, usize)>>,
    now: u64,
}

impl Central<'_> {
    fn count_processors(&mut self) {
        let mut speeds = Vec::new();
        self.used_by_owners = 0.0;
        for (index, node) in self.trace.nodes.iter().enumerate() {
            if !self.alive[index] {
                continue;
            }
            let speed = node.real_speed() / 1000.0;
            speeds.extend((0..node.processors).map(|_| speed));
            if self.owners[index] {
                self.used_by_owners += OWNER * speed;
            }
        }
        speeds.sort_by(|a, b| b.total_cmp(a));
        let mut sum = 0.0;
        self.sums = speeds
            .iter()
            .map(|speed| {
                sum += speed;
                sum
            })
            .collect();
    }

    /// Work that each of those who are there does in a ns.
    fn rate(&self) -> f64 {
        let count = self.ends.len();
        let all = self.sums.last().copied().unwrap_or(0.0) - self.used_by_owners;
        let fastest = self.sums[..count.min(self.sums.len())].last().copied();
        fastest.unwrap_or(0.0).min(all).max(1e-9) / count.max(1) as f64
    }

    /// Lets time pass, in which some get through.
    fn run(&mut self, until: u64, figures: &mut Figures) {
        while let Some(&Reverse((end, pid))) = self.ends.peek() {
            let rate = self.rate();
            let at = self.now + ((f64::from_bits(end) - self.done_ns).max(0.0) / rate) as u64 + 1;
            if at > until {
                break;
            }
            self.done_ns += (at - self.now) as f64 * rate;
            self.now = at;
            self.ends.pop();
            figures.through.push(Through {
                pid,
                at_ns: at,
                ..Through::default()
            });
        }
        self.done_ns += (until - self.now) as f64 * self.rate();
        self.now = until;
    }
}

/// Runs a trace to its end.
pub(super) fn run(trace: &Trace) -> Figures {
    let mut events = Vec::new();
    for (index, node) in trace.nodes.iter().enumerate() {
        let comes = node.owner.iter().enumerate();
        events.extend(comes.map(|(n, at)| (*at, What::Owner(index, n % 2 == 0))));
    }
    for &(index, dies, returns) in &trace.deaths {
        events.push((dies, What::Death(index)));
        events.push((returns, What::Return(index)));
    }
    let jobs = trace.jobs.iter().enumerate();
    events.extend(jobs.map(|(pid, job)| (job.at_ns, What::Arrive(pid))));
    events.extend((1..=2 * trace.arrive_ns / SECOND).map(|n| (n * SECOND, What::Sample)));
    events.sort_unstable();
    let count = trace.nodes.len();
    let mut central = Central {
        trace,
        alive: vec![true; count],
        owners: vec![false; count],
        sums: Vec::new(),
        used_by_owners: 0.0,
        done_ns: 0.0,
        ends: BinaryHeap::new(),
        now: 0,
    };
    central.count_processors();
    let mut figures = Figures::default();
    for (at, what) in events {
        central.run(at, &mut figures);
        match what {
            What::Owner(index, is_there) => central.owners[index] = is_there,
            What::Death(index) => central.alive[index] = false,
            What::Return(index) => central.alive[index] = true,
            What::Arrive(pid) => {
                let end = central.done_ns + trace.jobs[pid].work_ns;
                central.ends.push(Reverse((end.to_bits(), pid)));
            }
            What::Sample => {
                let load = central.ends.len() as f64 / central.sums.len().max(1) as f64;
                figures.samples.push(Sample {
                    at_s: (at / SECOND) as u32,
                    mean: load,
                    p99: load,
                    max: load,
                });
            }
        }
        if !matches!(what, What::Arrive(_) | What::Sample) {
            central.count_processors();
        }
    }
    while !central.ends.is_empty() {
        let later = central.now + SECOND;
        central.run(later, &mut figures);
    }
    figures
}
