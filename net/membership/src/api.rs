//! What goes into a membership and what comes out of it.
//!
//! Law: plain values.

use wire::{BootId, Load, NodeId, NodeState};

/// Who this node is.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Its number.
    pub node: NodeId,
    /// Its boot.
    pub boot: BootId,
    /// Seed of its choices.
    pub seed: u64,
    /// Time between two rounds, ns: [`crate::PERIOD_NS`] but for tests; all other times follow from it.
    pub period_ns: u64,
}

/// What has changed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Change {
    /// It is there now, or again after it was taken for dead.
    Joined,
    /// It has not answered.
    Suspected,
    /// It was suspected and lives.
    Refuted,
    /// It is taken for dead, or this boot of it is over.
    Died,
    /// It has said goodbye.
    Left,
}

/// A change of what is believed of a node.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Event {
    /// The node.
    pub node: NodeId,
    /// Its boot.
    pub boot: BootId,
    /// What has changed.
    pub change: Change,
}

/// What is believed of another node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seen {
    /// The node.
    pub node: NodeId,
    /// Its boot.
    pub boot: BootId,
    /// What is believed.
    pub state: NodeState,
    /// Its load and how old that is, ns; `None` if nothing is known that could be trusted.
    pub load: Option<(Load, u64)>,
}

impl Seen {
    /// Its load and when it told that, on the clock of which this is `now`.
    pub fn told(&self, now: u64) -> Option<(Load, u64)> {
        let (load, age_ns) = self.load?;
        Some((load, now.saturating_sub(age_ns)))
    }
}

/// What a membership has counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Frames given out.
    pub sent: u64,
    /// Frames that had no room.
    pub dropped: u64,
    /// Nodes that did not answer.
    pub unanswered: u64,
    /// How often this node contradicted.
    pub contradicted: u64,
    /// How often this node found that it had slept itself.
    pub overslept: u64,
    /// Records that were too old to be believed.
    pub stale: u64,
}
