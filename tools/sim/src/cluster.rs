//! A cluster of thousands under people who start processes, deciding by the shipped code.
//!
//! Law: everything follows from the seed. What a node decides is `net/placement`, what it knows of the others is
//! `net/membership` on a virtual network; simulated are processors, memory, cables and people. The glue between them
//! does as `kernel/system/src/placement.rs` does. A process is at one place at any time and gets through once:
//! what a death takes is begun anew at home, as a person would do, and nothing else may end one.

mod central;
mod machine;
mod report;
pub mod trace;
mod world;

pub use report::{Figures, Report, Row, Sample, Through};
pub use trace::{Scene, Size, Trace};

/// How processes find their nodes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Policy {
    /// Everybody runs at home.
    None,
    /// Programs start on any node, at random.
    Random,
    /// `wire::Policy::Exec`: programs start on idle nodes.
    Exec,
    /// `wire::Policy::Scavenge`: processes go to idle nodes.
    Scavenge,
    /// `wire::Policy::Balance`: processes move by load and memory.
    Balance,
    /// Exec and balance together.
    Both,
    /// Someone who knows everything moves processes for nothing: the bound.
    Omniscient,
}

impl Policy {
    /// Those that can be asked for.
    pub const ALL: [Policy; 6] = [
        Policy::Balance,
        Policy::Both,
        Policy::Exec,
        Policy::Scavenge,
        Policy::Random,
        Policy::None,
    ];

    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Policy::None => "none",
            Policy::Random => "random",
            Policy::Exec => "exec",
            Policy::Scavenge => "scavenge",
            Policy::Balance => "balance",
            Policy::Both => "balance+exec",
            Policy::Omniscient => "omniscient",
        }
    }
}

/// What is to be simulated.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Nodes.
    pub nodes: usize,
    /// What everything follows from.
    pub seed: u64,
    /// What happens.
    pub scene: Scene,
    /// Processes; 0: as many as fit the time.
    pub processes: usize,
    /// How long processes are started, seconds; 0: as long as fits the number of them.
    pub seconds: u64,
    /// Nodes that die.
    pub deaths: usize,
}

/// Runs a plan under some policies, and under the bound.
pub fn run(plan: Plan, policies: &[Policy]) -> Report {
    let size = Size {
        nodes: plan.nodes,
        processes: plan.processes,
        arrive_ns: plan.seconds * trace::SECOND,
        deaths: plan.deaths,
    };
    let trace = Trace::new(plan.seed, plan.scene, size);
    let row = |policy, figures: Figures| (Row::new(policy, &trace, &figures), figures);
    let runs = policies.iter();
    let runs = runs
        .map(|&policy| row(policy, world::World::new(&trace, policy, plan.seed).run()))
        .collect();
    let (bound, bound_figures) = row(Policy::Omniscient, central::run(&trace));
    let work: f64 = trace.jobs.iter().map(|job| job.work_ns).sum();
    let speed = |node: &trace::Node| f64::from(node.processors) * node.real_speed() / 1000.0;
    let all: f64 = trace.nodes.iter().map(speed).sum();
    Report {
        plan,
        processes: trace.jobs.len(),
        arrive_s: trace.arrive_ns as f64 / 1e9,
        offered: work / trace.arrive_ns.max(1) as f64 / all,
        runs,
        bound,
        bound_figures,
    }
}
