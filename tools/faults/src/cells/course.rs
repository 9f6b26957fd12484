//! What a cell consists of: a cluster, a process at its source, the step, the fault, and the end.
//!
//! Law: a step is reached when a node has noted it, and is held by a direction that keeps its packets, so that what
//! comes next cannot have happened; a step that is not reached is a failure. Seeds choose what should not matter.

use super::{Cell, Fate, Fault, HOME, SOURCE, Step, TARGET};
use crate::check::Failure;
use crate::programs::{Deaths, Work, write_cargo};
use crate::random::Random;
use crate::storm::peace;
use crate::telling::Event;
use crate::world::{Deed, LastWords, MS, Wires, World, id};
use crate::{Canary, Summary};
use abi::signal::SIGKILL;
use node::Suite;
use system::thread::Forward;

/// How long anything may take.
const PATIENCE_NS: u64 = 40_000 * MS;
/// How long a node is down, stands still, or a link is cut: longer than any deadline of a move.
const DOWN_NS: (u64, u64) = (1_000 * MS, 2_000 * MS);
const HARM_NS: (u64, u64) = (3_000 * MS, 5_000 * MS);
/// How long what happens to packets goes on.
const PACKETS_NS: u64 = 1_500 * MS;
/// Between the first fault and the second.
const SECOND_NS: u64 = 1_200 * MS;
const RIGHT: u64 = 1000;
/// What ends the process.
const SIGUSR1: u32 = 10;

struct Course<'a, 'b> {
    world: &'a mut World<'b>,
    cell: Cell,
    pid: u32,
    /// Directions that keep their packets until the fault has happened.
    held: Vec<(usize, usize)>,
    /// When all that was done is over.
    calm_at: u64,
}

/// Runs a cell in the world of a seed.
pub(crate) fn run(
    cell: Cell,
    seed: u64,
    canary: Option<Canary>,
    tell: &mut dyn FnMut(&Event),
) -> Result<Summary, Failure> {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0xce11);
    let work = Work {
        nodes: 3,
        workers: 1,
        steps: 0,
        movers: 0,
        moves: 0,
        deaths: Deaths::Some,
        disks: false,
    };
    let programs = write_cargo(work, &mut random);
    let mut world = World::new(random, (work, programs), canary, tell);
    let wires = Wires::ALL[seed as usize % Wires::ALL.len()];
    world.wire(wires);
    // Each kind of wires with and without keys.
    if (seed ^ seed >> 2) & 1 != 0 {
        world.suite = Some(Suite::ALL[(seed >> 3) as usize % Suite::ALL.len()]);
    }
    world.network.faults.delay_ns = world.random.between(10_000, 1_000_000);
    world.network.faults.jitter_ns = world.random.below(100_000);
    for index in [SOURCE, TARGET] {
        world.machines[index].used = false;
    }
    let mut course = Course {
        world: &mut world,
        cell,
        pid: 0,
        held: Vec::new(),
        calm_at: 0,
    };
    let result = course.all();
    let at = world.now as f64 / 1e9;
    let result = result
        .and_then(|()| peace(&mut world))
        .map(|()| world.summary)
        .map_err(|failure| format!("{cell}, at {at:.6} s: {failure}"));
    world.switch_off();
    result
}

impl Course<'_, '_> {
    fn all(&mut self) -> Result<(), Failure> {
        self.before();
        self.start()?;
        self.reach()?;
        self.inject(self.cell.fault)?;
        for (from, to) in std::mem::take(&mut self.held) {
            self.world.network.unclog(self.world.now, from, to);
        }
        if let Some(second) = self.cell.second {
            let at = self.world.now + SECOND_NS;
            self.pass(at)?;
            self.inject(second)?;
        }
        while self.world.now < self.calm_at {
            self.pass(self.calm_at)?;
        }
        self.world.clear_sky();
        self.judge()
    }

    // ---- time --------------------------------------------------------------------------------

    fn pass(&mut self, until: u64) -> Result<(), Failure> {
        while self.world.now < until {
            self.world.step(until)?;
            self.world.fresh.clear();
        }
        Ok(())
    }

    /// Goes on until something holds.
    fn until(
        &mut self,
        what: &str,
        mut holds: impl FnMut(&mut Self) -> bool,
    ) -> Result<(), Failure> {
        let end = self.world.now + PATIENCE_NS;
        while !holds(self) {
            if self.world.now >= end {
                let hangs = self.world.checker.what_hangs(&self.world.machines);
                return Err(format!("{what} is not reached: {hangs}"));
            }
            self.world.step(end)?;
        }
        Ok(())
    }

    /// Goes on until a node notes a step of the process.
    fn noted(&mut self, index: usize, what: &'static str) -> Result<(), Failure> {
        let pid = self.pid;
        self.until(what, |course| {
            let mut fresh = std::mem::take(&mut course.world.fresh).into_iter();
            fresh.any(|(at, step)| (at, step.what, step.pid) == (index, what, pid))
        })
    }

    fn hold(&mut self, from: usize, to: usize) {
        self.world.network.clog(from, to);
        self.held.push((from, to));
    }

    fn let_go(&mut self) {
        for (from, to) in std::mem::take(&mut self.held) {
            self.world.network.unclog(self.world.now, from, to);
        }
    }

    // ---- the way to the step -----------------------------------------------------------------

    /// What is wrong from the beginning.
    fn before(&mut self) {
        let faults = [Some(self.cell.fault), self.cell.second];
        for fault in faults.into_iter().flatten() {
            match fault {
                Fault::Fast(index) => self.world.machines[index].wrong_pace = Some(RIGHT * 6 / 5),
                Fault::Slow(index) => self.world.machines[index].wrong_pace = Some(RIGHT * 4 / 5),
                Fault::Features => self.world.machines[TARGET].old = true,
                Fault::Replay => self.world.network.past = Some(Default::default()),
                _ => {}
            }
        }
    }

    fn knows(&self, index: usize, other: usize) -> bool {
        let machine = &self.world.machines[index];
        let known = machine
            .system
            .as_ref()
            .and_then(|system| system.known_boot(id(other)));
        known == Some(self.world.machines[other].boot)
    }

    /// The process counts at its source, and nothing is under way.
    fn start(&mut self) -> Result<(), Failure> {
        self.until("a cluster", |course| {
            (0..3).all(|one| (0..3).all(|other| one == other || course.knows(one, other)))
        })?;
        self.until("a process", |course| {
            let system = course.world.machines[HOME].system.as_ref();
            let homes = system
                .into_iter()
                .flat_map(|system| system.inside().homes.values());
            let pid = homes
                .filter(|home| home.short_name() == b"w0")
                .map(|home| home.pid)
                .next();
            course.pid = pid.unwrap_or(0);
            course.pid != 0 && course.world.checker.records > 1
        })?;
        self.place(SOURCE)?;
        let at_target = [Step::Gossip, Step::Signal, Step::Exit].contains(&self.cell.step);
        if at_target {
            self.place(TARGET)?;
        }
        Ok(())
    }

    fn order(&mut self, text: &str) -> Result<(), Failure> {
        let (pid, bytes) = (self.pid, text.as_bytes().to_vec());
        let ordered = self
            .world
            .command(HOME, |system| system.order_move(pid, &bytes));
        match ordered {
            Some(Ok(())) => Ok(()),
            other => Err(format!("home refuses to move it: {other:?}")),
        }
    }

    fn place(&mut self, index: usize) -> Result<(), Failure> {
        self.order(&id(index).0.to_string())?;
        self.until("a place", |course| {
            course.runs_at() == Some(index) && course.is_quiet()
        })
    }

    fn go(&mut self) -> Result<(), Failure> {
        let mode = self.cell.words.1;
        // So that its pages are under way for a while.
        let slow = match self.cell.step {
            Step::PreCopy => " bandwidth=1000000",
            _ => "",
        };
        self.order(&format!("{} mode={mode}{slow}", id(TARGET).0))
    }

    fn reach(&mut self) -> Result<(), Failure> {
        self.world.fresh.clear();
        match self.cell.step {
            Step::Offer => {
                self.hold(SOURCE, TARGET);
                self.go()?;
                self.noted(SOURCE, "offered")
            }
            Step::PreCopy => {
                self.go()?;
                self.noted(SOURCE, "admitted")?;
                let at = self.world.now + self.world.random.between(5 * MS, 50 * MS);
                self.pass(at)
            }
            Step::Image => {
                self.go()?;
                self.noted(TARGET, "admits")?;
                if self.cell.words.1 == "post-copy" {
                    self.hold(SOURCE, TARGET);
                }
                self.noted(SOURCE, "image-out")
            }
            Step::CallInFlight => {
                self.hold(SOURCE, HOME);
                self.until("a call", |course| course.calls(SOURCE))?;
                self.go()?;
                self.noted(SOURCE, "freezes")
            }
            Step::CommitRequest => self.commit_request(),
            Step::SignalMoving => {
                self.commit_request()?;
                self.world.signal(HOME, self.pid, SIGUSR1);
                Ok(())
            }
            Step::KillMoving => {
                self.commit_request()?;
                self.world.checker.excuse(self.pid, &self.world.machines);
                self.world.signal(HOME, self.pid, SIGKILL);
                Ok(())
            }
            Step::DecisionToTarget => {
                self.go()?;
                self.noted(TARGET, "installed")?;
                self.hold(HOME, TARGET);
                self.noted(SOURCE, "decided")
            }
            Step::DecisionToSource => {
                self.go()?;
                self.noted(TARGET, "installed")?;
                self.hold(HOME, SOURCE);
                self.noted(TARGET, "opened")
            }
            Step::FirstEffect => {
                self.go()?;
                self.noted(HOME, "committed")?;
                self.hold(TARGET, HOME);
                self.noted(TARGET, "opened")
            }
            Step::Release => {
                self.go()?;
                self.noted(HOME, "committed")?;
                // The decision has left with what was noted.
                self.noted(TARGET, "opened")?;
                self.hold(HOME, SOURCE);
                self.noted(HOME, "releases")
            }
            Step::Push => {
                self.go()?;
                self.noted(HOME, "releases")?;
                self.hold(SOURCE, TARGET);
                self.noted(SOURCE, "released")
            }
            Step::Eviction => {
                self.world
                    .command(SOURCE, |system| system.order_node(b"drain"));
                self.noted(SOURCE, "offered")
            }
            Step::Gossip => Ok(()),
            Step::Signal => {
                self.hold(HOME, TARGET);
                self.world.signal(HOME, self.pid, SIGUSR1);
                Ok(())
            }
            Step::Exit => {
                self.world.signal(HOME, self.pid, SIGUSR1);
                self.until("its last record", |course| {
                    course.world.checker.has_ended("w0")
                })?;
                self.hold(TARGET, HOME);
                // The answer to that record, and what it does then.
                let at = self.world.now + 4 * MS;
                self.pass(at)
            }
        }
    }

    fn commit_request(&mut self) -> Result<(), Failure> {
        self.hold(TARGET, HOME);
        self.go()?;
        self.noted(TARGET, "installed")
    }

    /// Whether a call of the process is under way from a node.
    fn calls(&self, index: usize) -> bool {
        let system = self.world.machines[index].system.as_ref();
        let thread = system.and_then(|system| system.inside().threads.get(&self.pid));
        thread.is_some_and(|thread| {
            matches!(thread.forward, Forward::Sent { .. }) && thread.call.is_some()
        })
    }

    // ---- what happens ------------------------------------------------------------------------

    fn inject(&mut self, fault: Fault) -> Result<(), Failure> {
        let now = self.world.now;
        let random = &mut self.world.random;
        let (down, harm) = (
            random.between(DOWN_NS.0, DOWN_NS.1),
            random.between(HARM_NS.0, HARM_NS.1),
        );
        let at_once = random.below(5 * MS);
        let count = random.between(1, 8);
        let mut lasts = PACKETS_NS;
        match fault {
            Fault::Kill(index) | Fault::Fall(index) | Fault::Reboot(index) => {
                let off = match fault {
                    Fault::Reboot(_) => at_once,
                    _ => down,
                };
                let last = match fault {
                    Fault::Fall(_) => LastWords::Arrive,
                    _ => LastWords::Lost,
                };
                if index == HOME {
                    self.world.machines[HOME].used = false;
                }
                self.world.kill(index, off, last)?;
                lasts = off;
            }
            Fault::Pause(index) => {
                self.world.pause(index, harm);
                lasts = harm;
            }
            Fault::Deaf(from, to) => {
                self.world.network.break_off(from, to);
                lasts = harm;
            }
            Fault::Cut(one, other) => {
                self.world.network.break_off(one, other);
                self.world.network.break_off(other, one);
                lasts = harm;
            }
            Fault::Drop(one, other) | Fault::Late(one, other) => {
                for (from, to) in [(one, other), (other, one)] {
                    match fault {
                        Fault::Drop(..) => self.world.network.lose(from, to, count),
                        _ => self.world.network.delay(from, to, count),
                    }
                }
            }
            Fault::Double => self.world.network.faults.double = 10_000,
            Fault::Reorder => self.world.network.faults.jitter_ns = 20 * MS,
            Fault::Replay => self.world.network.replay(now),
            Fault::Memory(index) => self.world.fail_frame(index),
            Fault::Fast(_) | Fault::Slow(_) | Fault::Features => {}
        }
        self.calm_at = self.calm_at.max(now + lasts);
        self.world.plan(now + lasts, Deed::Heal);
        let text = format!("{fault:?}");
        self.world.tell("fault", 0, text);
        Ok(())
    }

    // ---- what becomes of it ------------------------------------------------------------------

    /// The node that owns it and runs it, by home's word.
    fn runs_at(&self) -> Option<usize> {
        let system = self.world.machines[HOME].system.as_ref()?;
        let home = system.inside().homes.get(&self.pid)?;
        let gate = home.record.gate();
        let index = usize::from(gate.owner().0) - 1;
        let owner = self.world.machines[index].system.as_ref()?;
        let body = owner.inside().bodies.get(&self.pid)?;
        (home.lives() && body.epoch == gate.epoch()).then_some(index)
    }

    /// Nothing of it is on its way.
    fn is_quiet(&self) -> bool {
        let systems = self
            .world
            .machines
            .iter()
            .filter_map(|machine| machine.system.as_ref());
        systems.into_iter().all(|system| {
            let inside = system.inside();
            let moves =
                inside.outgoing.contains_key(&self.pid) || inside.incoming.contains_key(&self.pid);
            let wishes = inside
                .bodies
                .get(&self.pid)
                .is_some_and(|body| body.wish.is_some());
            !moves && !wishes
        })
    }

    fn is_gone(&self) -> bool {
        let mut systems = self
            .world
            .machines
            .iter()
            .filter_map(|machine| machine.system.as_ref());
        self.is_quiet()
            && systems.all(|system| {
                let inside = system.inside();
                let home = inside.homes.get(&self.pid);
                !inside.bodies.contains_key(&self.pid) && home.is_none()
            })
    }

    fn judge(&mut self) -> Result<(), Failure> {
        let wanted = self.cell.fate;
        let records = self.world.checker.records;
        self.until("an outcome", |course| {
            let on = course
                .world
                .machines
                .iter()
                .all(|machine| machine.system.is_some());
            let lives = course.runs_at().is_some() && course.is_quiet();
            let counts = course.world.checker.records > records + 2;
            on && (lives && counts || course.is_gone())
        })?;
        let place = self.runs_at();
        let here = match place {
            Some(SOURCE) => "at-source",
            Some(TARGET) => "at-target",
            Some(_) => "at-home",
            None => "gone",
        };
        self.world.tell("outcome", 0, here.to_owned());
        if place.is_some() {
            self.let_go();
            self.world.signal(HOME, self.pid, SIGUSR1);
        }
        self.until("the end of all", |course| {
            course.world.checker.all_ended(&course.world.machines)
        })?;
        let checker = &self.world.checker;
        let said = checker.said.join(" ");
        let (lost, homeless) = (checker.lost, checker.homeless());
        let lives = place.is_some() && said == "well" && lost == 0;
        let is_lost = place.is_none() && said == "killed" && lost == 1;
        let ends = place.is_none() && said == "well" && lost == 0;
        let told = place.is_none() && (said == "killed" || said == "otherwise");
        let right = homeless == 0
            && match wanted {
                Fate::AtSource => lives && place == Some(SOURCE),
                Fate::AtTarget => lives && place == Some(TARGET),
                Fate::Lives => lives,
                Fate::Lost => is_lost,
                Fate::LivesOrLost => lives || is_lost,
                Fate::Ends => ends,
                Fate::EndsOrLost => ends || is_lost,
                Fate::Killed => place.is_none() && said == "killed",
                Fate::LivesOrTold => lives || told,
                Fate::EndsOrTold => ends || told,
                Fate::Dropped => false,
                Fate::LostOrDropped => is_lost,
            };
        let drops = [Fate::Dropped, Fate::LostOrDropped].contains(&wanted);
        let dropped = drops && place.is_none() && said.is_empty() && lost == 0;
        if right || dropped {
            return Ok(());
        }
        Err(format!(
            "it is {here}, its parent said {said:?}, {lost} losses and {homeless} homeless were told; expected: {}",
            wanted.row().2
        ))
    }
}
