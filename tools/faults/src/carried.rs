//! What must hold of processes whose home has a disk and boots again.
//!
//! Law: whoever ran elsewhere by word of its home is found again by home's next boot, in that epoch or a newer one. What
//! it was told that nobody knows, or that is lost, it is told because of a reboot, once for each; a record that is missing on the
//! console was called so. Everything else holds as if home had never died.

use crate::check::{Checker, Failure};
use crate::programs::Deaths;
use crate::world::{Machine, id};
use abi::signal::SIGBUS;
use std::collections::{BTreeMap, BTreeSet};
use system::System;
use system::body::Effects;
use system::home::INIT;
use wire::{BootId, NodeId, Pid};

/// Epoch and owner of a process.
type Owned = (u64, (NodeId, BootId));

/// What the next boots have to find, by the first boot of a home.
#[derive(Default)]
pub(crate) struct Musts {
    /// Whom a home must find.
    found: BTreeMap<(BootId, u32), Owned>,
    /// The workers of a home, by pid.
    workers: BTreeMap<(BootId, u32), String>,
    /// Records of which nobody knows whether they were shown.
    pub(crate) unsure: BTreeSet<(BootId, String, u64)>,
    /// How often a process was told that nobody knows.
    told: BTreeMap<(BootId, u32), u64>,
    /// Who was given up, and by whom, because its home was away for too long. Who has not heard that home has begun anew may
    /// give up one of the same number from before.
    given_up: BTreeSet<(NodeId, BootId, u32)>,
}

impl Checker {
    /// A boot that has nothing to do with the ones before.
    pub(crate) fn begins(&mut self, node: NodeId, line: BootId, used: bool) {
        self.boots.insert(node, line);
        let names = (0..self.work.workers).map(|number| format!("w{number}"));
        self.must.unsure.retain(|(of, ..)| *of != line);
        let shown = self.shown.entry(line).or_default();
        shown.begin();
        match used {
            true => shown.expected = names.collect(),
            false => {
                self.idle.insert(line);
            }
        }
    }

    /// Whether this boot has found some again, and begun nothing yet.
    pub(crate) fn is_carried(&self, line: BootId) -> bool {
        self.shown.get(&line).is_some_and(|shown| shown.carried)
    }

    /// A boot that is the home again of those who are in its journal: all that must be there are.
    pub(crate) fn carried(&mut self, node: NodeId, machine: &Machine) -> Result<(), Failure> {
        let line = machine.line;
        let Some(system) = &machine.system else {
            return Ok(());
        };
        let homes = system.inside().homes;
        self.boots.insert(node, line);
        for ((_, pid), owned) in self.must.found.range((line, 0)..=(line, u32::MAX)) {
            let gate = homes.get(pid).map(|home| home.record.gate());
            let Some(gate) = gate else {
                return Err(format!("node {node}: process {pid} is not in its journal"));
            };
            let (epoch, owner) = owned;
            let is = (gate.owner(), gate.owner_boot());
            if gate.epoch() < *epoch || gate.epoch() == *epoch && is != *owner {
                return Err(format!(
                    "node {node}: process {pid} runs on node {} in epoch {epoch}, and the journal has node {} in epoch {}",
                    owner.0,
                    gate.owner(),
                    gate.epoch()
                ));
            }
        }
        let shown = self.shown.entry(line).or_default();
        shown.carried = true;
        shown.reboots += 1;
        // The line that was not finished never will be.
        shown.line.clear();
        let ended = shown.ended.clone();
        let there = |name: &String| {
            let workers = self.must.workers.range((line, 0)..=(line, u32::MAX));
            let mut named = workers.filter(|(_, of)| *of == name);
            named.any(|((_, pid), _)| homes.contains_key(pid))
        };
        shown
            .expected
            .retain(|name| ended.contains(name) || there(name));
        Ok(())
    }

    /// A machine with a disk is about to die: whom will it find again?
    pub(crate) fn home_dies(&mut self, index: usize, machines: &[Machine]) {
        let (dead, machine) = (id(index), &machines[index]);
        let line = machine.line;
        let Some(system) = machine.system.as_ref().filter(|_| machine.disk.is_some()) else {
            return;
        };
        let inside = system.inside();
        self.must.found.retain(|(of, _), _| *of != line);
        for home in inside.homes.values().filter(|home| home.lives()) {
            let name = String::from_utf8_lossy(home.short_name()).into_owned();
            let pid = home.pid;
            if home.parent == INIT && pid != INIT && name.starts_with('w') {
                self.must.workers.insert((line, pid), name.clone());
            }
            // A frozen copy, or pages of it, die with this node, and what it shares.
            let out = inside.outgoing.get(&pid);
            if out.is_some_and(|out| out.frozen().is_some()) || home.shares_memory() {
                self.may_be_lost.insert((line, pid));
                self.lost_names.insert((line, name));
            }
            if home.record.gate().owner() == dead || home.shares_memory() {
                continue;
            }
            for other in machines {
                let Some(host) = other.system.as_ref().filter(|host| host.node() != dead) else {
                    continue;
                };
                let body = host.inside().bodies.get(&pid);
                let runs = body.filter(|body| body.home == dead && body.effects != Effects::Gated);
                if let Some(body) = runs {
                    let owned = (body.epoch, (host.node(), other.boot));
                    self.must.found.insert((line, pid), owned);
                }
            }
        }
    }

    /// A node dies while a home of processes that it had is away itself.
    pub(crate) fn dies_while_away(&mut self, (number, home): (usize, &Machine), dead: &System) {
        let inside = dead.inside();
        let all = inside.bodies.keys().chain(inside.outgoing.keys());
        for pid in all.filter(|pid| Pid(**pid).home() == id(number)) {
            self.may_be_lost.insert((home.line, *pid));
            if let Some(name) = self.must.workers.get(&(home.line, *pid)) {
                self.lost_names.insert((home.line, name.clone()));
            }
        }
    }

    fn line_of(&self, pid: u32) -> Option<BootId> {
        self.boots.get(&Pid(pid).home()).copied()
    }

    fn reboots(&self, line: BootId) -> u64 {
        self.shown.get(&line).map_or(0, |shown| shown.reboots)
    }

    /// A process was told that nobody knows, or that something is lost: that has a reason.
    pub(crate) fn unsure(&mut self, pid: u32, reason: &str) -> Result<(), Failure> {
        let line = self.line_of(pid).unwrap_or(BootId::NONE);
        let reboots = self.reboots(line);
        if reboots == 0 {
            return Err(format!(
                "process {pid}: no reboot of its home explains: {reason}"
            ));
        }
        let Some(once) = reason.strip_prefix("once: ") else {
            return Ok(());
        };
        let told = self.must.told.entry((line, pid)).or_default();
        *told += 1;
        if *told > reboots {
            return Err(format!(
                "process {pid}: told for the {told}. time in {reboots} reboots: {reason}"
            ));
        }
        if let Some((name, number)) = once.split_once(' ')
            && let Ok(number) = number.parse()
        {
            self.must.unsure.insert((line, name.to_owned(), number));
        }
        Ok(())
    }

    /// A node has given up a guest whose home was away for too long. Returns whether that may be.
    pub(crate) fn gave_up(&mut self, node: NodeId, pid: u32, machines: &[Machine]) -> bool {
        let Some(line) = self.line_of(pid) else {
            return false;
        };
        self.excuse(pid, machines);
        self.may_be_lost.insert((line, pid));
        // Its home may be off, and cannot be asked for its name.
        if let Some(name) = self.must.workers.get(&(line, pid)) {
            self.lost_names.insert((line, name.clone()));
        }
        self.must.given_up.insert((node, line, pid)) && self.work.deaths == Deaths::Some
    }

    /// Whether this line is of a guest that has touched what it had mapped of a file in the memory of its home.
    pub(crate) fn lost_mapping(&self, line: &str) -> bool {
        let pid = line
            .split_once("process ")
            .and_then(|(_, rest)| rest.split([':', ' ']).next()?.parse().ok());
        let of = pid.and_then(|pid| self.line_of(pid));
        line.contains(&format!("): signal {SIGBUS}")) && of.is_some_and(|of| self.reboots(of) > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::programs::Work;

    const LINE: &[u8] = b"process 196612: node 3, its home, was away for 2 s; it is ended";

    fn checker(deaths: Deaths) -> Checker {
        let work = Work {
            nodes: 4,
            workers: 1,
            steps: 1,
            movers: 0,
            moves: 0,
            deaths,
            disks: true,
        };
        let mut checker = Checker::new(work, &[]);
        checker.boots.insert(NodeId(3), BootId(7));
        checker
    }

    #[test]
    fn each_node_gives_up_a_process_once() {
        let mut checker = checker(Deaths::Some);
        // That of a boot before, of which only node 4 does not know that it is over (seed 12994 of that day's worlds).
        for node in [4, 1].map(NodeId) {
            checker.log(node, &[], LINE).expect("for the first time");
        }
        checker.log(NodeId(1), &[], LINE).expect_err("again");
    }

    #[test]
    fn what_is_of_a_home_that_is_over_may_be_lost() {
        const LOST: &[u8] = b"process 196612: its last source is lost with pages of it";
        let mut checker = checker(Deaths::Some);
        for (boot, line) in
            [(5, 5), (7, 7), (8, 7)].map(|(boot, line)| (BootId(boot), BootId(line)))
        {
            checker.lines.insert(boot, line);
        }
        let mut told = |knows: Option<u64>| {
            let knew = vec![None, None, knows.map(BootId)];
            checker.knew.insert(NodeId(1), knew);
            checker.log(NodeId(1), &[], LOST)
        };
        // That of a boot before, of which node 1 does not know that it is over (seed 25550).
        told(Some(5)).expect("its home is over");
        // That of this one, or of a boot that this one has the journal of.
        for knows in [Some(7), Some(8), None] {
            told(knows).expect_err("its home is there");
        }
    }

    #[test]
    fn nobody_is_given_up_where_nobody_dies() {
        let mut checker = checker(Deaths::None);
        checker.log(NodeId(1), &[], LINE).expect_err("no reason");
    }
}
