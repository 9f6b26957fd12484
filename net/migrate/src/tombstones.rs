//! Tombstones: which epochs of a process this boot has already held.
//!
//! Law: an image at or below the highest epoch ever held here is refused, so that an old message
//! cannot bring back an old state of a process under an epoch that home would still confirm.

use alloc::collections::BTreeMap;
use rpc::{Rule, Rules};
use wire::{NodeId, Pid};

/// The highest epoch held per pid in this boot, for at most `limit` pids.
///
/// Bounded: beyond the limit the pid longest untouched is forgotten. That is sound as long as an old
/// image cannot outlive `limit` later arrivals; the lanes of a boot pair deliver nothing twice, so
/// this is a second fence and not the only one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tombstones {
    limit: usize,
    clock: u64,
    epochs: BTreeMap<Pid, (u64, u64)>,
    ages: BTreeMap<u64, Pid>,
    rules: Rules,
}

impl Tombstones {
    /// None yet; room for `limit` (at least one).
    pub fn new(limit: usize) -> Tombstones {
        Tombstones {
            limit: limit.max(1),
            clock: 0,
            epochs: BTreeMap::new(),
            ages: BTreeMap::new(),
            rules: Rules::ALL,
        }
    }

    /// The same, with other rules.
    #[cfg(feature = "mutants")]
    pub fn bound_by(self, rules: Rules) -> Tombstones {
        Tombstones { rules, ..self }
    }

    /// Whether an image of that epoch may be installed here. O(log n).
    pub fn allows(&self, pid: Pid, epoch: u64) -> bool {
        let held = self.epochs.get(&pid).map(|(held, _)| *held);
        held.is_none_or(|held| epoch > held) || !self.rules.hold(Rule::WhatWasHeldIsNotTakenAgain)
    }

    /// This node holds a copy of that epoch: an image was installed, or the body runs on in it.
    /// Lower epochs than the one recorded change nothing. O(log n).
    pub fn record(&mut self, pid: Pid, epoch: u64) {
        let mut highest = epoch;
        if let Some((held, age)) = self.epochs.remove(&pid) {
            self.ages.remove(&age);
            highest = highest.max(held);
        }
        if self.epochs.len() >= self.limit
            && let Some((_, oldest)) = self.ages.pop_first()
        {
            self.epochs.remove(&oldest);
        }
        self.clock += 1;
        self.epochs.insert(pid, (highest, self.clock));
        self.ages.insert(self.clock, pid);
    }

    /// That node has booted again: its pids start anew, with epochs from 1.
    pub fn home_lost(&mut self, home: NodeId) {
        let from = Pid::new(home, 0);
        let to = Pid::new(home, u16::MAX);
        while let Some((pid, (_, age))) = self
            .epochs
            .range(from..=to)
            .next()
            .map(|(pid, held)| (*pid, *held))
        {
            self.epochs.remove(&pid);
            self.ages.remove(&age);
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.epochs.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.epochs.is_empty()
    }
}
