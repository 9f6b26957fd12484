//! What comes of a policy, in figures.
//!
//! Law: figures are made once, at the end; a slowdown is the time until a process was through, divided by the CPU time that it
//! needs at speed 1000.

use super::trace::Trace;
use super::{Plan, Policy};

/// A process that is through.
#[derive(Clone, Copy, Debug, Default)]
pub struct Through {
    /// Which.
    pub pid: usize,
    /// When, ns.
    pub at_ns: u64,
    /// How often it has moved.
    pub moves: u32,
    /// How often it had to begin anew because a node died.
    pub restarts: u32,
}

/// How loaded the living nodes are at a moment: threads for each processor.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sample {
    /// When, seconds.
    pub at_s: u32,
    /// All together.
    pub mean: f64,
    /// The load that one in a hundred nodes exceeds.
    pub p99: f64,
    /// The most loaded one.
    pub max: f64,
}

/// What was counted.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// Who is through, in that order.
    pub through: Vec<Through>,
    /// A sample each second, while processes are started and as long again.
    pub samples: Vec<Sample>,
    /// Programs that were started elsewhere than at home.
    pub placed: u64,
    /// Moves while they ran.
    pub moves: u64,
    /// When each of them began, seconds.
    pub moved_at: Vec<f64>,
    /// Those of processes that end less than a second of work later.
    pub moves_in_vain: u64,
    /// Moves, and starts elsewhere, that the other node did not take.
    pub refused: u64,
    /// Those that it did not take because it had more to do than it had told.
    pub crowded: u64,
    /// Bytes of memory that moved.
    pub bytes: u64,
    /// Processes whose node died before they could end; they were begun anew.
    pub restarts: u64,
    /// Time that guests have computed, and that part in which the node's owner was there, ns.
    pub guests_ns: (f64, f64),
    /// Bytes and frames of gossip that a node sends in a second.
    pub gossip: (f64, f64),
}

/// One line of the table.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The policy.
    pub policy: Policy,
    /// Slowdown on average.
    pub mean: f64,
    /// The slowdown that half of all, and one in twenty, exceed.
    pub p50: f64,
    /// See `p50`.
    pub p95: f64,
    /// The average load, averaged over time.
    pub load: f64,
    /// The load of the most loaded node, averaged over time, divided by that.
    pub max_to_mean: f64,
    /// Moves for each process.
    pub moves: f64,
    /// Bytes of memory that moved for each process.
    pub bytes: f64,
    /// Processes that did not get through: there must be none.
    pub lost: usize,
}

impl Row {
    /// The line for a policy.
    pub fn new(policy: Policy, trace: &Trace, figures: &Figures) -> Row {
        let slowdown = |through: &Through| {
            let job = &trace.jobs[through.pid];
            (through.at_ns - job.at_ns) as f64 / job.work_ns
        };
        let mut slowdowns: Vec<f64> = figures.through.iter().map(slowdown).collect();
        slowdowns.sort_by(f64::total_cmp);
        let count = slowdowns.len().max(1);
        let at = |percent: usize| {
            let place = (count * percent).div_ceil(100).max(1) - 1;
            slowdowns.get(place).copied().unwrap_or(0.0)
        };
        let ends_s = trace.arrive_ns / super::trace::SECOND;
        let samples = figures.samples.iter();
        let samples = samples.filter(|sample| u64::from(sample.at_s) <= ends_s);
        let (mut loads, mut most, mut seconds) = (0.0, 0.0, 0);
        for sample in samples {
            loads += sample.mean;
            most += sample.max;
            seconds += 1;
        }
        let jobs = trace.jobs.len().max(1) as f64;
        Row {
            policy,
            mean: slowdowns.iter().sum::<f64>() / count as f64,
            p50: at(50),
            p95: at(95),
            load: loads / f64::from(seconds.max(1)),
            max_to_mean: if loads > 0.0 { most / loads } else { 0.0 },
            moves: figures.moves as f64 / jobs,
            bytes: figures.bytes as f64 / jobs,
            lost: trace.jobs.len() - figures.through.len(),
        }
    }
}

/// What all policies made of the same trace.
#[derive(Clone, Debug)]
pub struct Report {
    /// What was simulated.
    pub plan: Plan,
    /// Processes.
    pub processes: usize,
    /// How long they were started, seconds.
    pub arrive_s: f64,
    /// CPU time that the processes need, for each second of all processors.
    pub offered: f64,
    /// Each policy's line, and where it comes from.
    pub runs: Vec<(Row, Figures)>,
    /// The line of the bound.
    pub bound: Row,
    /// Where that comes from.
    pub bound_figures: Figures,
}

impl Report {
    /// The table for people.
    pub fn table(&self) -> String {
        let Plan {
            nodes, seed, scene, ..
        } = self.plan;
        let mut table = format!(
            "{nodes} nodes, {} processes in {:.0} s, {:.2} of all processors asked for, seed {seed}, {scene:?}\n\n\
             policy         slowdown   p50    p95  of the bound   load  max/mean  starts away  moves/process  in vain  refused  crowded  MiB moved/process  begun anew  guests at owners %  gossip B/s\n",
            self.processes, self.arrive_s, self.offered
        );
        let bound = (&self.bound, &self.bound_figures);
        let runs = self.runs.iter().map(|(row, figures)| (row, figures));
        for (row, figures) in runs.chain([bound]) {
            let (guests, disturbed) = figures.guests_ns;
            table += &format!(
                "{:<13} {:>9.3} {:>5.2} {:>6.2} {:>12.2}x {:>6.3} {:>9.2} {:>12} {:>14.3} {:>8} {:>8} {:>8} {:>18.2} {:>11} {:>19.2} {:>11.0}\n",
                row.policy.name(),
                row.mean,
                row.p50,
                row.p95,
                row.mean / self.bound.mean,
                row.load,
                row.max_to_mean,
                figures.placed,
                row.moves,
                figures.moves_in_vain,
                figures.refused,
                figures.crowded,
                row.bytes / f64::from(1 << 20),
                figures.restarts,
                100.0 * disturbed / guests.max(1.0),
                figures.gossip.0,
            );
        }
        for (row, _) in &self.runs {
            if row.lost > 0 {
                table += &format!("{}: {} processes are lost\n", row.policy.name(), row.lost);
            }
        }
        table
    }
}
