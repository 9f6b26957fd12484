//! A node: its processors, which those who compute there share equally, its memory and its cable.
//!
//! Law: between two changes every process goes on at a steady rate, so [`Machine::advance`] is called before each
//! change and [`Machine::next_done`] after it.

use super::trace::{Job, Nature, Node, SECOND};
use crate::random::Random;
use membership::{Load, PERIOD_NS};
use placement::{Average, Ledger};
use wire::Terms;

/// Threads that an owner's work is, in thousandths.
const OWNER_MILLI: u64 = 500;
/// Calls that travel take so long, ns.
pub(super) const RTT_NS: u64 = 200_000;
/// Guests are taken again when an owner has been away for so long, ns.
const OWNER_REST_NS: u64 = 15 * SECOND;

/// Where a process is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Place {
    /// Not started yet, or its home is down and it begins when that is back.
    Nowhere,
    /// Here.
    On(usize),
    /// On its way.
    Between(usize, usize),
    /// It is through.
    Done,
}

/// A process.
#[derive(Clone, Debug)]
pub(super) struct Process {
    /// What it is to do.
    pub(super) job: Job,
    /// Where it is.
    pub(super) place: Place,
    /// Work that is left, ns at speed 1000.
    pub(super) left_ns: f64,
    /// CPU time that it has used, ns.
    pub(super) cpu_ns: f64,
    /// Since when it is there, ns.
    pub(super) since_ns: u64,
    /// Counts its moves and new beginnings, so that what was meant for it before is told apart.
    pub(super) epoch: u32,
}

impl Process {
    /// One that was not started yet.
    pub(super) fn new(job: Job) -> Process {
        Process {
            job,
            place: Place::Nowhere,
            left_ns: job.work_ns,
            cpu_ns: 0.0,
            since_ns: 0,
            epoch: 0,
        }
    }
}

/// A node while it lives.
#[derive(Clone, Debug)]
pub(super) struct Machine {
    /// Its number.
    pub(super) index: usize,
    /// What it is.
    pub(super) node: Node,
    /// Who computes here.
    pub(super) running: Vec<usize>,
    /// Frames that are in use.
    pub(super) used: u32,
    /// Frames that are promised to those on their way.
    pub(super) reserved: u32,
    /// How many these are.
    pub(super) arriving: u32,
    /// Whether its owner works there.
    pub(super) owner: bool,
    owner_left_ns: Option<u64>,
    /// Whether it is down.
    pub(super) is_dead: bool,
    /// Those who are leaving.
    pub(super) leaving: u32,
    /// When its cable is free again, ns.
    pub(super) cable_ns: u64,
    /// How many plans were made for the next one who is through.
    pub(super) plan: u32,
    /// Of which life its timers are.
    pub(super) life: u32,
    /// What it remembers of others.
    pub(super) ledger: Ledger,
    /// Time that guests have computed although the owner was there, ns.
    pub(super) disturbed_ns: f64,
    /// Time that guests have computed, ns.
    pub(super) guests_ns: f64,
    at_ns: u64,
    /// Threads that want a processor.
    pub(super) average: Average,
}

impl Machine {
    /// A node that has just booted.
    pub(super) fn new(index: usize, node: Node) -> Machine {
        Machine {
            index,
            node,
            running: Vec::new(),
            used: 0,
            reserved: 0,
            arriving: 0,
            owner: false,
            owner_left_ns: None,
            is_dead: false,
            leaving: 0,
            cable_ns: 0,
            plan: 0,
            life: 0,
            ledger: Ledger::default(),
            disturbed_ns: 0.0,
            guests_ns: 0.0,
            at_ns: 0,
            average: Average::default(),
        }
    }

    /// Dies, or boots again at this time.
    pub(super) fn reset(&mut self, now: u64, is_dead: bool) {
        let next = Machine {
            is_dead,
            owner: self.owner,
            owner_left_ns: self.owner_left_ns,
            life: self.life + 1,
            plan: self.plan,
            disturbed_ns: self.disturbed_ns,
            guests_ns: self.guests_ns,
            at_ns: now,
            average: Average::new(now),
            ..Machine::new(self.index, self.node.clone())
        };
        *self = next;
    }

    /// The owner comes or goes.
    pub(super) fn set_owner(&mut self, now: u64, present: bool) {
        self.owner = present;
        self.owner_left_ns = (!present).then_some(now);
    }

    /// Threads that want a processor now, in thousandths.
    pub(super) fn wanted_milli(&self) -> u64 {
        1000 * self.running.len() as u64 + if self.owner { OWNER_MILLI } else { 0 }
    }

    /// Threads for each processor.
    pub(super) fn crowd(&self) -> f64 {
        self.wanted_milli() as f64 / 1000.0 / f64::from(self.node.processors)
    }

    /// Work done in a ns by one who computes here, in ns at speed 1000, and its CPU time.
    fn rate(&self, job: &Job) -> (f64, f64) {
        let crowd = self.crowd().max(1.0);
        let speed = self.node.real_speed() / 1000.0;
        let away = job.home != self.index;
        let calls = if away {
            f64::from(job.calls_per_s) * RTT_NS as f64 / SECOND as f64
        } else {
            0.0
        };
        let rate = 1.0 / (crowd / speed + calls);
        (rate, rate / speed)
    }

    /// Everybody goes on until now.
    pub(super) fn advance(&mut self, now: u64, processes: &mut [Process]) {
        let (since, wanted) = (self.at_ns, self.wanted_milli());
        let span = now - since;
        self.at_ns = now;
        if span == 0 || self.is_dead {
            return;
        }
        self.average.note(since, wanted);
        self.average.note(now, wanted);
        for &pid in &self.running {
            let process = &mut processes[pid];
            let (work, cpu) = self.rate(&process.job);
            process.left_ns -= span as f64 * work;
            process.cpu_ns += span as f64 * cpu;
            if process.job.home != self.index {
                self.guests_ns += span as f64;
                if self.owner {
                    self.disturbed_ns += span as f64;
                }
            }
        }
    }

    /// When the next one is through.
    pub(super) fn next_done(&self, processes: &[Process]) -> Option<u64> {
        let spans = self.running.iter().map(|&pid| {
            let process = &processes[pid];
            (process.left_ns.max(0.0) / self.rate(&process.job).0) as u64 + 1
        });
        Some(self.at_ns + spans.min()?)
    }

    /// Ends a period: how loaded this node is, as it sees it.
    pub(super) fn load(&mut self, now: u64) -> Load {
        let runnable_milli = self.average.conclude(now);
        let guests = self.running.len();
        Load {
            runnable_milli,
            processors: self.node.processors,
            speed: self.node.speed,
            frames_total: self.node.frames,
            frames_free: self.node.frames.saturating_sub(self.used),
            frames_reserved: self.reserved,
            guests: u16::try_from(guests).unwrap_or(u16::MAX),
            owner_present: self.owner,
            draining: false,
            accepts_guests: self.takes_guests(now),
        }
    }

    /// Whether processes of other homes may come. Whose owner comes and goes does not take any in between.
    pub(super) fn takes_guests(&self, now: u64) -> bool {
        let rests = |left: u64| now < left + OWNER_REST_NS;
        !self.owner && !self.owner_left_ns.is_some_and(rests)
    }

    /// Somebody of so many frames is not on his way here any more.
    pub(super) fn arrived(&mut self, frames: u32) {
        self.reserved = self.reserved.saturating_sub(frames);
        self.arriving = self.arriving.saturating_sub(1);
    }

    /// Whether somebody may come on these terms. Whoever lies does not look.
    pub(super) fn meets(&self, now: u64, terms: &Terms) -> bool {
        let load = Load {
            processors: self.node.processors,
            speed: self.node.speed,
            ..Load::default()
        };
        let coming_milli = 1000 * u64::from(self.arriving);
        let lately_milli = u64::from(self.average.of_last(now, PERIOD_NS)) + coming_milli;
        let now_milli = self.wanted_milli() + coming_milli;
        let is_met = placement::are_met(terms, &load, now_milli, lately_milli);
        is_met || self.node.nature == Nature::Refuses
    }

    /// Whether it has room for this one.
    pub(super) fn admits(&self, now: u64, job: &Job) -> bool {
        let returns = job.home == self.index;
        let free = self
            .node
            .frames
            .saturating_sub(self.used)
            .saturating_sub(self.reserved);
        let open = self.takes_guests(now) && self.node.nature != Nature::Refuses;
        !self.is_dead && (returns || open && free >= job.frames)
    }
}

/// What a node says of itself, which is not always what it is.
pub(super) fn told(nature: Nature, load: Load, random: &mut Random) -> Load {
    match nature {
        Nature::Honest | Nature::Slow => load,
        Nature::Refuses => Load {
            runnable_milli: 0,
            speed: 10_000_000,
            frames_free: load.frames_total,
            frames_reserved: 0,
            owner_present: false,
            accepts_guests: true,
            ..load
        },
        Nature::Absurd => Load {
            runnable_milli: [0, u32::MAX][random.below(2) as usize],
            processors: random.bits() as u16,
            speed: random.bits() as u32,
            frames_total: random.bits() as u32,
            frames_free: random.bits() as u32,
            frames_reserved: random.bits() as u32,
            guests: random.bits() as u16,
            ..load
        },
    }
}
