//! Whole clusters of the shipped kernel from one seed: programs, moves, faults, and what must hold.
//!
//! Law: a world is a function of its seed, bit by bit. The nodes are the shipped [`system::System`] on the
//! fake machine, with all their processes, memory, files and signals; only user mode, the cables and the clock are
//! made up. Programs and a checker know at every moment what may be seen; everything else is a failure.
//! Some nodes have a disk, and are the homes of their guests again when they boot.

mod assembler;
mod carried;
pub mod cells;
mod check;
mod disk;
mod network;
mod processor;
mod programs;
mod random;
mod storm;
mod telling;
mod world;

pub use system::inside::Canary;
pub use telling::Event;

/// What to run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Plan {
    /// Everything follows from it.
    pub seed: u64,
    /// How many nodes; 0: as the seed chooses, from 3 to 7.
    pub nodes: u16,
    /// A bug to be found.
    pub canary: Option<Canary>,
}

/// What happened in a world that went well.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Summary {
    /// A hash of all that has happened.
    pub trace: u64,
    /// Events that were told.
    pub events: u64,
    /// Packets and stays in user mode.
    pub packets: u64,
    /// Times that a process has changed hands.
    pub moves: u64,
    /// Of these, in a cluster with keys.
    pub sealed: u64,
    /// Machines that have died.
    pub deaths: u64,
    /// Processes lost with one.
    pub lost: u64,
    /// Times that a home that had booted again has found a process again.
    pub adopted: u64,
    /// Records that programs have shown.
    pub records: u64,
}

impl Summary {
    pub(crate) fn new() -> Summary {
        Summary {
            trace: 0xcbf2_9ce4_8422_2325,
            ..Summary::default()
        }
    }

    /// Adds what happened in another world; the traces become one.
    pub fn add(&mut self, other: &Summary) {
        self.trace = self.trace.rotate_left(5) ^ other.trace;
        self.events += other.events;
        self.packets += other.packets;
        self.moves += other.moves;
        self.sealed += other.sealed;
        self.deaths += other.deaths;
        self.lost += other.lost;
        self.adopted += other.adopted;
        self.records += other.records;
    }
}

/// Runs the world of a seed to its end, and tells what happens.
///
/// # Errors
/// In words, what did not hold.
pub fn run(plan: Plan, tell: &mut dyn FnMut(&Event)) -> Result<Summary, String> {
    storm::run(plan, tell)
}

/// Runs a cell of the fault matrix in the world of a seed.
///
/// # Errors
/// In words, what did not hold.
pub fn run_cell(
    cell: cells::Cell,
    seed: u64,
    canary: Option<Canary>,
    tell: &mut dyn FnMut(&Event),
) -> Result<Summary, String> {
    cells::run(cell, seed, canary, tell)
}
