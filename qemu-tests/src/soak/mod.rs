//! A cluster that is treated badly for minutes, and the programs that must not notice.
//!
//! Law: programs run on every node, the first one too, and every node may die: who judges is outside of all of them and knows what was
//! done to each. It passes if every program's own answer is right, only those were lost that had to be, each was told once, and every node has in
//! the end what it had in the beginning.
//!
//! Not here: a hash of what the calls of each process have returned. It would have to be kept in the kernel and to know of
//! each call which part of its answer may differ; the random programs of `trials trace` print what their calls return instead.

mod jobs;
mod ledger;
mod weather;

use crate::conductor::Conductor;
use crate::lab::{Action, Lab, LabError, Outcome, Spec, is_kernel_log};
use crate::scenario::Scenario;
use crate::verdict::{Verdict, ended_well};
use ledger::Ledger;
use std::collections::VecDeque;
use std::time::Duration;
use weather::Weather;

/// Programs at the same time on each node.
const SLOTS: usize = 3;
/// How long nodes may take to boot.
const BOOT: Duration = Duration::from_secs(60);
/// How long the last programs may take, once there is peace.
const PEACE: Duration = Duration::from_secs(240);
/// How long they take without anybody asking what they are, and how often that is asked then.
const PATIENCE: Duration = Duration::from_secs(15);
/// How often the user is told how it goes.
const PROGRESS: Duration = Duration::from_secs(10);
/// Between what a node is asked and the end of listening.
const LAST_WORDS: Duration = Duration::from_secs(8);

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Soak {
    /// How many nodes.
    pub nodes: usize,
    /// How long the bad weather lasts.
    pub storm: Duration,
    /// What is done to them.
    pub harm: Harm,
}

/// What is done to the nodes of a soak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Harm {
    /// Deaths, so often, and everything else that `weather` knows.
    Weather(Duration),
    /// Frames that nobody sent, to node 2: nobody may be lost.
    Bombardment,
}

/// The shortest that shows something.
pub(crate) const SHORT: Soak = Soak {
    nodes: 5,
    storm: Duration::from_secs(40),
    harm: Harm::Weather(Duration::from_secs(15)),
};

/// What is run for its figures.
pub(crate) const LONG: Soak = Soak {
    nodes: 5,
    storm: Duration::from_secs(30 * 60),
    harm: Harm::Weather(Duration::from_secs(60)),
};

/// A node that is bombarded.
pub(crate) const BOMBARDED: Soak = Soak {
    nodes: 3,
    storm: Duration::from_secs(15),
    harm: Harm::Bombardment,
};

/// And for longer.
pub(crate) const BOMBARDED_LONG: Soak = Soak {
    storm: Duration::from_secs(60),
    ..BOMBARDED
};

/// Who is bombarded.
const TARGET: usize = 2;
/// Frames that have to be refused there at least.
const REFUSED_MIN: u64 = 1000;

impl Soak {
    fn kill_every(&self) -> Duration {
        match self.harm {
            Harm::Weather(every) => every,
            Harm::Bombardment => Duration::MAX / 4,
        }
    }

    /// The scenario.
    ///
    /// # Errors
    /// When the lab cannot say what the programs print.
    pub fn scenario(self, name: &str, lab: &dyn Lab) -> Result<Scenario, LabError> {
        let worker = format!("exec trials soak {} 1 {SLOTS}\n", self.nodes);
        let limit = self.storm + BOOT + PEACE + LAST_WORDS * 4;
        let mut spec = Spec::new(name, self.nodes)
            .append("worker=/etc/worker")
            .text("/etc/worker", &worker)
            .timeout_s(limit.as_secs());
        spec.memory_mib = 512;
        let spec = jobs::add(spec, lab)?;
        let name = name.to_owned();
        Ok(Scenario::conducted(spec, move |spec| {
            Course::new(name, self, spec.seed)
        }))
    }
}

/// How far a soak is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nodes boot.
    Boots,
    /// The weather is bad.
    Storm,
    /// It is good again, and all nodes are to be up.
    Peace,
    /// No programs begin any more; those that run are waited for.
    Quiet,
    /// Nodes count what they have.
    Counts,
    /// Something took too long; nodes tell what they can.
    LastWords,
    Over,
}

/// What is known of a node.
#[derive(Debug, Default, Clone, Copy)]
struct Known {
    up: bool,
    began: bool,
    quiet: bool,
    counted: bool,
    /// Frames that it has refused.
    refused: u64,
}

/// A soak under way.
struct Course {
    name: String,
    soak: Soak,
    seed: u64,
    phase: Phase,
    since: Duration,
    told: Duration,
    storm_began: Duration,
    weather: Weather,
    ledger: Ledger,
    nodes: Vec<Known>,
    due: VecDeque<Action>,
    words: Vec<String>,
    /// How often it was asked what still runs.
    asked: u32,
}

impl Course {
    fn new(name: String, soak: Soak, seed: u64) -> Course {
        let up = Known {
            up: true,
            ..Known::default()
        };
        Course {
            name,
            soak,
            seed,
            phase: Phase::Boots,
            since: Duration::ZERO,
            told: Duration::ZERO,
            storm_began: Duration::ZERO,
            weather: Weather::new(soak.nodes, soak.kill_every(), seed, Duration::ZERO),
            ledger: Ledger::new(soak.nodes),
            nodes: vec![up; soak.nodes],
            due: VecDeque::new(),
            words: Vec::new(),
            asked: 0,
        }
    }

    fn enter(&mut self, now: Duration, phase: Phase) {
        self.phase = phase;
        self.since = now;
        if phase == Phase::Over {
            self.ledger.close();
            self.due.push_back(Action::Say(self.progress(now)));
            let words = self.words.drain(..).map(Action::Say);
            self.due.extend(words);
        }
    }

    fn type_to_all(&mut self, text: &str) {
        for number in 1..=self.soak.nodes {
            self.due
                .push_back(Action::Type(number, format!("{text}\n")));
        }
    }

    fn all(&self, is: impl Fn(&Known) -> bool) -> bool {
        self.nodes.iter().all(is)
    }

    /// Goes on to the next phase when it is time.
    fn advance(&mut self, now: Duration) {
        let waited = now.saturating_sub(self.since);
        match self.phase {
            Phase::Boots if self.all(|node| node.began) => {
                self.storm_began = now;
                self.weather =
                    Weather::new(self.soak.nodes, self.soak.kill_every(), self.seed, now);
                if self.soak.harm == Harm::Bombardment {
                    self.due.push_back(Action::Bombard(TARGET, self.soak.storm));
                }
                self.enter(now, Phase::Storm);
            }
            Phase::Boots if waited > BOOT => self.give_up(now, "the nodes did not all begin"),
            Phase::Storm if waited > self.soak.storm => {
                self.due.extend(self.weather.ends());
                for number in 1..=self.soak.nodes {
                    if !self.nodes[number - 1].up {
                        self.start(now, number);
                    }
                }
                self.enter(now, Phase::Peace);
            }
            Phase::Peace if self.all(|node| node.began) => {
                self.type_to_all("end");
                self.enter(now, Phase::Quiet);
            }
            Phase::Peace if waited > BOOT => self.give_up(now, "not every node came back"),
            Phase::Quiet if self.all(|node| node.quiet) => {
                self.type_to_all("count");
                self.enter(now, Phase::Counts);
            }
            Phase::Quiet if waited > PEACE => self.give_up(now, "programs do not come to an end"),
            Phase::Quiet if waited > PATIENCE * (self.asked + 1) => {
                self.asked += 1;
                self.type_to_all("tell");
            }
            Phase::Counts if self.all(|node| node.counted) => self.enter(now, Phase::Over),
            Phase::Counts if waited > LAST_WORDS * 2 => {
                self.give_up(now, "not every node has counted");
            }
            Phase::LastWords if waited > LAST_WORDS => self.enter(now, Phase::Over),
            _ => {}
        }
    }

    fn give_up(&mut self, now: Duration, why: &str) {
        self.ledger.fail(why.to_owned());
        self.type_to_all("tell");
        self.enter(now, Phase::LastWords);
    }

    fn start(&mut self, now: Duration, number: usize) {
        self.ledger.started(now, number);
        self.nodes[number - 1] = Known {
            up: true,
            ..Known::default()
        };
        self.due.push_back(Action::Start(number));
    }

    /// Weather as it comes, noted.
    fn storm(&mut self, now: Duration) -> Option<Action> {
        if self.soak.harm == Harm::Bombardment {
            return self.due.pop_front();
        }
        let action = self.weather.poll(now)?;
        match action {
            Action::Kill(number) => {
                self.ledger.killed(now, number);
                self.nodes[number - 1] = Known::default();
            }
            Action::Start(number) => {
                self.start(now, number);
                return self.due.pop_front();
            }
            _ => {}
        }
        Some(action)
    }

    fn progress(&self, now: Duration) -> String {
        let totals = self.ledger.totals;
        let seconds = now.saturating_sub(self.storm_began).as_secs();
        format!(
            "{}: {seconds} s, {} programs begun, {} right, {} lost and told, {} disturbed, {} gone with their home; {} moves, {} kills; {} failures",
            self.name,
            totals.begun,
            totals.right,
            totals.lost,
            totals.disturbed,
            totals.gone,
            totals.moves,
            totals.kills,
            self.ledger.failures.len() + self.ledger.more(),
        )
    }
}

impl Conductor for Course {
    fn line(&mut self, now: Duration, node: usize, line: &str) {
        if is_kernel_log(line) {
            let (_, text) = line.split_once("] ").unwrap_or(("", line));
            return self.ledger.kernel(now, node, text);
        }
        let Some(text) = line.strip_prefix("soak: ") else {
            return;
        };
        if let Some(text) = text.strip_prefix("job ") {
            return self.ledger.job(now, node, text);
        }
        let known = &mut self.nodes[node - 1];
        match text.strip_prefix(&format!("node {node} ")) {
            Some("counts what it has") => {}
            Some("begins") => known.began = true,
            Some("is quiet") => known.quiet = true,
            Some(text) if text.starts_with("refused ") => {
                known.refused = text[8..].trim().parse().unwrap_or(0);
            }
            Some("counts right") => known.counted = true,
            Some(text) if text.starts_with("counts wrong") => {
                known.counted = true;
                self.ledger.fail(format!("node {node} {text}"));
            }
            Some(text) => self.words.push(format!("node {node} {text}")),
            None => self.ledger.fail(format!("node {node}: {text}")),
        }
    }

    fn died(&mut self, now: Duration, node: usize) {
        self.give_up(now, &format!("node {node} has died by itself"));
    }

    fn poll(&mut self, now: Duration) -> Option<Action> {
        if let Some(action) = self.due.pop_front() {
            return Some(action);
        }
        if now.saturating_sub(self.told) >= PROGRESS {
            self.told = now;
            return Some(Action::Say(self.progress(now)));
        }
        self.advance(now);
        match self.phase {
            Phase::Storm => self.storm(now),
            _ => self.due.pop_front(),
        }
    }

    fn is_over(&self) -> bool {
        self.phase == Phase::Over && self.due.is_empty()
    }

    fn verdict(&self, outcome: &Outcome) -> Verdict {
        let mut verdict = Verdict {
            passed: Vec::new(),
            failures: ended_well(outcome),
        };
        let ledger = &self.ledger;
        verdict.failures.extend(ledger.failures.iter().cloned());
        if ledger.more() > 0 {
            verdict.failures.push(format!("and {} more", ledger.more()));
        }
        let totals = ledger.totals;
        let enough = |what: &str, count: u64, least: u64| {
            let few = || format!("{count} {what}, and {least} would be the least");
            (count >= least).then_some(()).ok_or_else(few)
        };
        let nodes = self.soak.nodes as u64;
        verdict.check("programs", enough("right programs", totals.right, nodes));
        verdict.check("moves", enough("moves", totals.moves, totals.begun));
        match self.soak.harm {
            Harm::Weather(every) => {
                let least = u64::from(self.soak.storm > every);
                verdict.check("kills", enough("kills", totals.kills, least));
            }
            Harm::Bombardment => {
                let refused = self.nodes[TARGET - 1].refused;
                verdict.check("refused", enough("frames refused", refused, REFUSED_MIN));
            }
        }
        if verdict.failures.is_empty() && self.all(|node| node.counted) {
            verdict.passed.push("counts".to_owned());
        }
        verdict
    }
}
