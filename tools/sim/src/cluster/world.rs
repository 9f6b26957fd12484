//! One policy on one trace: events in the order of their times, gossip in between.
//!
//! Law: whoever changes who computes on a node calls [`World::touch`] before and [`World::replan`] after. A process that
//! moves stands still until its pages are there, which is the worst that post-copy does.

use super::Policy;
use super::machine::{Machine, Place, Process, RTT_NS, told};
use super::report::{Figures, Sample, Through};
use super::trace::{Job, SECOND, Trace};
use crate::flock::{Flock, Weather};
use crate::random::Random;
use membership::{Load, NodeState, PERIOD_NS};
use placement::{Candidate, Here, Start, There};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use wire::{NodeId, Pid, Terms};

/// Moves that a node has under way.
const MOVES_MAX: u32 = 16;
/// What a cable brings across in a second, bytes.
const BYTES_PER_S: u64 = 100_000_000;
/// A move takes so long for itself, ns.
const FREEZE_NS: u64 = 5_000_000;
/// Gossip is counted for so long, in the middle, ns.
const COUNTED_NS: u64 = 3 * SECOND;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum What {
    Owner(usize, bool),
    Death(usize),
    Return(usize),
    Arrive(usize),
    /// One of this node is through, by this plan.
    Through(usize, u32),
    /// A period of this node is over, in this life.
    Tick(usize, u32),
    /// A process is there, if this is its epoch.
    Landed(usize, u32),
    Sample,
    Count(bool),
}

/// The cluster.
pub(super) struct World<'a> {
    trace: &'a Trace,
    policy: Policy,
    now: u64,
    random: Random,
    flock: Option<Flock>,
    machines: Vec<Machine>,
    processes: Vec<Process>,
    moves: Vec<(u32, u32)>,
    events: BinaryHeap<Reverse<(u64, u64, What)>>,
    serial: u64,
    figures: Figures,
}

fn id(index: usize) -> NodeId {
    NodeId(index as u16 + 1)
}

impl<'a> World<'a> {
    pub(super) fn new(trace: &'a Trace, policy: Policy, seed: u64) -> World<'a> {
        let nodes = trace.nodes.len();
        let informed = !matches!(policy, Policy::None | Policy::Random | Policy::Omniscient);
        let mut flock = informed.then(|| Flock::new(nodes, seed, Weather::default()));
        if let Some(flock) = &mut flock {
            flock.tells = false;
        }
        let machines = trace.nodes.iter().cloned().enumerate();
        let mut world = World {
            trace,
            policy,
            now: 0,
            random: Random::new(seed ^ 0x70_6c61_6365),
            flock,
            machines: machines
                .map(|(index, node)| Machine::new(index, node))
                .collect(),
            processes: trace.jobs.iter().map(|job| Process::new(*job)).collect(),
            moves: vec![(0, 0); trace.jobs.len()],
            events: BinaryHeap::new(),
            serial: 0,
            figures: Figures::default(),
        };
        world.plan_all();
        world
    }

    fn plan_all(&mut self) {
        let trace = self.trace;
        for (pid, job) in trace.jobs.iter().enumerate() {
            self.plan(job.at_ns, What::Arrive(pid));
        }
        for &(node, dies, returns) in &trace.deaths {
            self.plan(dies, What::Death(node));
            self.plan(returns, What::Return(node));
        }
        for (index, node) in trace.nodes.iter().enumerate() {
            for (n, at) in node.owner.iter().enumerate() {
                self.plan(*at, What::Owner(index, n % 2 == 0));
            }
            let first = self.random.below(PERIOD_NS);
            self.plan(first, What::Tick(index, 0));
        }
        for second in 1..=2 * trace.arrive_ns / SECOND {
            self.plan(second * SECOND, What::Sample);
        }
        self.plan(trace.arrive_ns / 2, What::Count(true));
        self.plan(trace.arrive_ns / 2 + COUNTED_NS, What::Count(false));
    }

    fn plan(&mut self, at: u64, what: What) {
        self.serial += 1;
        self.events
            .push(Reverse((at.max(self.now), self.serial, what)));
    }

    /// Until everybody is through.
    pub(super) fn run(mut self) -> Figures {
        let last_start = self.trace.jobs.last().map_or(0, |job| job.at_ns);
        while self.figures.through.len() < self.processes.len() {
            if self.policy == Policy::Exec && self.now > last_start + 60 * SECOND {
                // Nobody starts any more, so nobody needs to know anything.
                self.flock = None;
            }
            let Some(Reverse((at, _, what))) = self.events.pop() else {
                break;
            };
            if let Some(flock) = &mut self.flock {
                flock.run(at - flock.now);
                flock.events.clear();
            }
            self.now = at;
            self.happen(what);
        }
        self.figures.guests_ns = self.machines.iter().fold((0.0, 0.0), |(all, bad), m| {
            (all + m.guests_ns, bad + m.disturbed_ns)
        });
        self.figures
    }

    fn happen(&mut self, what: What) {
        match what {
            What::Owner(node, present) => {
                self.touch(node);
                self.machines[node].set_owner(self.now, present);
                self.replan(node);
                // The others hear of it, and guests leave, before the period is over.
                self.decide(node);
            }
            What::Death(node) => self.die(node),
            What::Return(node) => self.come_back(node),
            What::Arrive(pid) => self.arrive(pid),
            What::Through(node, plan) if self.machines[node].plan == plan => self.conclude(node),
            What::Tick(node, life) if self.machines[node].life == life => {
                self.touch(node);
                self.decide(node);
                self.plan(self.now + PERIOD_NS, What::Tick(node, life));
            }
            What::Landed(pid, epoch) if self.processes[pid].epoch == epoch => self.land(pid),
            What::Through(..) | What::Tick(..) | What::Landed(..) => {}
            What::Sample => self.sample(),
            What::Count(on) => self.count(on),
        }
    }

    fn touch(&mut self, node: usize) {
        self.machines[node].advance(self.now, &mut self.processes);
    }

    fn replan(&mut self, node: usize) {
        let machine = &mut self.machines[node];
        machine.plan += 1;
        let plan = machine.plan;
        if let Some(at) = machine.next_done(&self.processes) {
            self.plan(at, What::Through(node, plan));
        }
    }

    // --- processes

    fn arrive(&mut self, pid: usize) {
        let job = self.processes[pid].job;
        if self.machines[job.home].is_dead {
            return;
        }
        let node = self.place(pid).unwrap_or(job.home);
        if node != job.home {
            self.figures.placed += 1;
        }
        self.begin(pid, node);
    }

    /// Where a program starts, if somebody takes it.
    fn place(&mut self, pid: usize) -> Option<usize> {
        let job = self.processes[pid].job;
        let (target, terms) = match self.policy {
            Policy::Random => {
                let any = self.random.below(self.machines.len() as u64);
                (any as usize, Terms::Anyhow)
            }
            Policy::Exec | Policy::Both => {
                let machine = &self.machines[job.home];
                let load = Load {
                    runnable_milli: machine.wanted_milli() as u32,
                    processors: machine.node.processors,
                    speed: machine.node.speed,
                    ..Load::default()
                };
                let policy = match self.policy {
                    Policy::Both => wire::Policy::Balance,
                    _ => wire::Policy::Exec,
                };
                let here = self.here(job.home, load, policy);
                let start = Start {
                    home: id(job.home),
                    at_home: true,
                    frames: job.frames,
                };
                let draw = self.random.bits();
                let others = self.others(job.home);
                let start = placement::place(&here, others.into_iter(), &start, draw);
                let (node, terms) = start.ok()?;
                (Flock::index(node), terms)
            }
            _ => return None,
        };
        if target != job.home && !self.is_taken(job.home, target, &job, &terms) {
            return None;
        }
        let ledger = &mut self.machines[job.home].ledger;
        let pid = Pid(pid as u32);
        ledger.sent(self.now, pid, id(target), job.frames, terms);
        ledger.took(self.now, pid);
        Some(target)
    }

    /// Whether a node takes a process; the one that asks remembers if it does not.
    fn is_taken(&mut self, from: usize, to: usize, job: &Job, terms: &Terms) -> bool {
        let now = self.now;
        if from == to || !self.machines[to].admits(now, job) {
            self.machines[from].ledger.refused(now, id(to));
            self.figures.refused += 1;
            return false;
        }
        self.touch(to);
        if !self.machines[to].meets(now, terms) {
            self.machines[from].ledger.crowded(now, id(to));
            self.figures.crowded += 1;
            return false;
        }
        true
    }

    fn begin(&mut self, pid: usize, node: usize) {
        self.touch(node);
        let process = &mut self.processes[pid];
        (process.place, process.since_ns) = (Place::On(node), self.now);
        let machine = &mut self.machines[node];
        machine.used = machine.used.saturating_add(process.job.frames);
        machine.running.push(pid);
        self.replan(node);
    }

    fn leave(&mut self, pid: usize, node: usize) {
        self.touch(node);
        let machine = &mut self.machines[node];
        machine.running.retain(|other| *other != pid);
        machine.used = machine.used.saturating_sub(self.processes[pid].job.frames);
        self.replan(node);
    }

    /// Somebody on this node may be through.
    fn conclude(&mut self, node: usize) {
        self.touch(node);
        let is_through = |pid: &usize| self.processes[*pid].left_ns <= 1.0;
        let running = self.machines[node].running.iter();
        let through: Vec<usize> = running.copied().filter(is_through).collect();
        for &pid in &through {
            self.leave(pid, node);
            self.processes[pid].place = Place::Done;
            self.processes[pid].epoch += 1;
            let (moves, restarts) = self.moves[pid];
            self.figures.through.push(Through {
                pid,
                at_ns: self.now,
                moves,
                restarts,
            });
        }
        if through.is_empty() {
            self.replan(node);
        }
    }

    fn land(&mut self, pid: usize) {
        let Place::Between(from, to) = self.processes[pid].place else {
            return;
        };
        let frames = self.processes[pid].job.frames;
        let source = &mut self.machines[from];
        source.leaving = source.leaving.saturating_sub(1);
        source.ledger.took(self.now, Pid(pid as u32));
        let target = &mut self.machines[to];
        target.arrived(frames);
        target.average.came(self.now, 1000);
        self.begin(pid, to);
    }

    /// A node that holds a process, or its home, is gone: it begins anew when its home is there.
    fn restart(&mut self, pid: usize) {
        match self.processes[pid].place {
            Place::On(node) if !self.machines[node].is_dead => self.leave(pid, node),
            Place::Between(from, to) => {
                let frames = self.processes[pid].job.frames;
                let leaving = &mut self.machines[from].leaving;
                *leaving = leaving.saturating_sub(1);
                self.machines[to].arrived(frames);
            }
            _ => {}
        }
        let before = &self.processes[pid];
        let epoch = before.epoch + 1;
        self.processes[pid] = Process {
            epoch,
            ..Process::new(before.job)
        };
        self.moves[pid].1 += 1;
        self.figures.restarts += 1;
        if !self.machines[self.processes[pid].job.home].is_dead {
            self.plan(self.now, What::Arrive(pid));
        }
    }

    // --- nodes

    fn die(&mut self, node: usize) {
        self.touch(node);
        self.machines[node].reset(self.now, true);
        if let Some(flock) = &mut self.flock {
            flock.kill(node);
        }
        for pid in 0..self.processes.len() {
            let process = &self.processes[pid];
            let holds = match process.place {
                Place::Nowhere | Place::Done => false,
                Place::On(on) => on == node || process.job.home == node,
                Place::Between(from, to) => from == node || to == node || process.job.home == node,
            };
            if holds {
                self.restart(pid);
            }
        }
    }

    fn come_back(&mut self, node: usize) {
        self.machines[node].reset(self.now, false);
        let load = self.machines[node].load(self.now);
        let living = |index: &usize| !self.machines[*index].is_dead && *index != node;
        let by = (0..self.machines.len()).find(living);
        if let Some((flock, by)) = self.flock.as_mut().zip(by) {
            flock.revive(node, by, load);
        }
        let life = self.machines[node].life;
        self.plan(self.now + PERIOD_NS, What::Tick(node, life));
        for pid in 0..self.processes.len() {
            let process = &self.processes[pid];
            let due = process.job.home == node && process.job.at_ns <= self.now;
            if due && process.place == Place::Nowhere {
                self.plan(self.now, What::Arrive(pid));
            }
        }
    }

    // --- decisions, as `kernel/system/src/placement.rs` makes them

    fn here(&self, node: usize, load: Load, policy: wire::Policy) -> Here {
        Here {
            load,
            policy,
            bytes_per_s: BYTES_PER_S,
            salt: node as u64,
        }
    }

    fn others(&self, node: usize) -> Vec<There> {
        let Some(flock) = &self.flock else {
            return Vec::new();
        };
        let ledger = &self.machines[node].ledger;
        let seen = flock.membership(node).loads(self.now);
        let there = |seen: membership::Seen| {
            let (load, told_of) = seen.told(self.now)?;
            let (coming, coming_frames) = ledger.coming(self.now, (seen.node, told_of), |_| false);
            let usable =
                seen.state == NodeState::Alive && !ledger.is_avoided(self.now, seen.node, told_of);
            usable.then_some(There {
                node: seen.node,
                load,
                coming,
                coming_frames,
                rtt_ns: RTT_NS,
            })
        };
        seen.filter_map(there).collect()
    }

    fn candidates(&self, node: usize) -> Vec<Candidate> {
        let machine = &self.machines[node];
        let candidate = |&pid: &usize| {
            let process = &self.processes[pid];
            Candidate {
                pid: pid as u32,
                home: id(process.job.home),
                at_home: process.job.home == node,
                demand_milli: 1000,
                cpu_ns: process.cpu_ns as u64,
                here_ns: self.now - process.since_ns,
                frames: process.job.frames,
                calls_per_s: process.job.calls_per_s,
                is_job: false,
            }
        };
        let running = machine.running.iter();
        running.map(candidate).collect()
    }

    /// A period is over: tells the load and begins the moves that are advised.
    fn decide(&mut self, node: usize) {
        let now = self.now;
        let machine = &mut self.machines[node];
        if machine.is_dead {
            return;
        }
        let mut load = machine.load(now);
        let nature = machine.node.nature;
        let said = told(nature, load, &mut self.random);
        match &mut self.flock {
            Some(flock) => flock.tell(node, said),
            None if self.policy == Policy::Exec => {}
            None => return,
        }
        let policy = match self.policy {
            Policy::Balance | Policy::Both => wire::Policy::Balance,
            Policy::Scavenge => wire::Policy::Scavenge,
            Policy::Exec => wire::Policy::Exec,
            Policy::None | Policy::Random | Policy::Omniscient => wire::Policy::Manual,
        };
        let mut candidates = self.candidates(node);
        if candidates.is_empty() {
            return;
        }
        if let Some(flock) = &self.flock {
            let membership = flock.membership(node);
            let told = |node| membership.get(now, node)?.told(now);
            self.machines[node].ledger.forgive(told);
        }
        let mut others = self.others(node);
        for _ in self.machines[node].leaving..MOVES_MAX {
            let here = self.here(node, load, policy);
            let advice =
                placement::decide(&here, others.iter().copied(), candidates.iter().copied());
            let Ok(advice) = advice else { break };
            let place = candidates.iter().position(|one| one.pid == advice.pid);
            let Some(place) = place else { break };
            let gone = candidates.swap_remove(place);
            if !self.send(&advice, node) {
                others.retain(|there| there.node != advice.target);
                continue;
            }
            load.runnable_milli = load.runnable_milli.saturating_sub(gone.demand_milli);
            load.frames_free = load.frames_free.saturating_add(gone.frames);
            if let Some(there) = others.iter_mut().find(|there| there.node == advice.target) {
                there.coming += 1;
                there.coming_frames = there.coming_frames.saturating_add(gone.frames);
            }
        }
    }

    /// Begins a move; false if the other node does not take the process.
    fn send(&mut self, advice: &placement::Move, from: usize) -> bool {
        let now = self.now;
        let (pid, to) = (advice.pid as usize, Flock::index(advice.target));
        let job = self.processes[pid].job;
        if !self.is_taken(from, to, &job, &advice.terms) {
            return false;
        }
        self.leave(pid, from);
        self.machines[from].average.went(now, 1000);
        let bytes = u64::from(job.frames) * 4096;
        // It goes on its way when both cables are free.
        let began = now
            .max(self.machines[from].cable_ns)
            .max(self.machines[to].cable_ns);
        let across = began + bytes * SECOND / BYTES_PER_S;
        let source = &mut self.machines[from];
        source.cable_ns = across;
        source.leaving += 1;
        source
            .ledger
            .sent(now, Pid(pid as u32), id(to), job.frames, advice.terms);
        self.machines[to].cable_ns = across;
        self.machines[to].reserved += job.frames;
        self.machines[to].arriving += 1;
        let process = &mut self.processes[pid];
        process.place = Place::Between(from, to);
        process.epoch += 1;
        let (epoch, left) = (process.epoch, process.left_ns);
        self.moves[pid].0 += 1;
        self.figures.moves += 1;
        self.figures.moved_at.push(now as f64 / SECOND as f64);
        self.figures.moves_in_vain += u64::from(left < SECOND as f64);
        self.figures.bytes += bytes;
        self.plan(across + FREEZE_NS, What::Landed(pid, epoch));
        true
    }

    // --- figures

    fn sample(&mut self) {
        let alive = self.machines.iter().filter(|machine| !machine.is_dead);
        let mut crowds: Vec<f64> = alive.clone().map(Machine::crowd).collect();
        crowds.sort_by(f64::total_cmp);
        let wanted: u64 = alive.clone().map(Machine::wanted_milli).sum();
        let processors: u64 = alive
            .map(|machine| u64::from(machine.node.processors))
            .sum();
        let at = (crowds.len() * 99).div_ceil(100).max(1) - 1;
        self.figures.samples.push(Sample {
            at_s: (self.now / SECOND) as u32,
            mean: wanted as f64 / 1000.0 / processors.max(1) as f64,
            p99: crowds.get(at).copied().unwrap_or(0.0),
            max: crowds.last().copied().unwrap_or(0.0),
        });
    }

    fn count(&mut self, on: bool) {
        let Some(flock) = &mut self.flock else {
            return;
        };
        let seconds = (self.machines.len() as u64 * COUNTED_NS / SECOND) as f64;
        if on {
            (flock.frames, flock.bytes, flock.counts_bytes) = (0, 0, true);
        } else {
            flock.counts_bytes = false;
            self.figures.gossip = (flock.bytes as f64 / seconds, flock.frames as f64 / seconds);
        }
    }
}
