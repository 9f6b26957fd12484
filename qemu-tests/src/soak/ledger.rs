//! What became of every program, held against what was done to the nodes.
//!
//! Law: a program that began ends once, and right. Only these may be lost: programs whose home was killed; processes that were on a
//! node that was killed, or whose pages were on their way from it. Each of the latter is told exactly once, on its home's console, with
//! a node that was killed; and a program of which a part was lost that way may come to another end.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Failures that are kept; more are counted.
const FAILURES_MAX: usize = 40;

/// A program that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Job {
    name: String,
    pid: u32,
    began: Duration,
}

/// One node in its present boot.
#[derive(Debug, Default)]
struct Node {
    up_since: Duration,
    is_down: bool,
    kills: Vec<Duration>,
    jobs: BTreeMap<String, Job>,
    /// Processes of this home that it has given up with a node, and when.
    lost: BTreeMap<u32, Vec<Duration>>,
    /// Those of them that were programs and whose end was told.
    accounted: BTreeSet<u32>,
}

/// Counts of a soak.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) begun: u64,
    pub(super) right: u64,
    /// Lost with the node where they were, and told.
    pub(super) lost: u64,
    /// A part of them was.
    pub(super) disturbed: u64,
    /// Gone with their home.
    pub(super) gone: u64,
    pub(super) moves: u64,
    pub(super) refused: u64,
    pub(super) kills: u64,
    /// Processes that were told to be lost, programs and parts of programs.
    pub(super) told: u64,
    /// Guests that were dropped because their home was lost.
    pub(super) dropped: u64,
}

/// The books of all nodes.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    nodes: Vec<Node>,
    /// Processes whose last source was lost with pages of them, as their targets have said.
    without_pages: BTreeMap<u32, Duration>,
    pub(super) totals: Totals,
    pub(super) failures: Vec<String>,
    more: usize,
}

impl Ledger {
    pub(super) fn new(nodes: usize) -> Ledger {
        Ledger {
            nodes: (0..nodes).map(|_| Node::default()).collect(),
            ..Ledger::default()
        }
    }

    pub(super) fn fail(&mut self, why: String) {
        if self.failures.len() < FAILURES_MAX {
            self.failures.push(why);
        } else {
            self.more += 1;
        }
    }

    /// Whether there is a failure of this process.
    fn has_failed(&self, pid: u32) -> bool {
        let named = format!(" {pid} ");
        self.failures.iter().any(|failure| failure.contains(&named))
    }

    /// Failures that were not kept.
    pub(super) fn more(&self) -> usize {
        self.more
    }

    /// A node is killed: what it was home of is gone, and what it had given up is over.
    pub(super) fn killed(&mut self, now: Duration, number: usize) {
        let node = &mut self.nodes[number - 1];
        node.kills.push(now);
        node.is_down = true;
        self.totals.kills += 1;
        self.totals.gone += node.jobs.len() as u64;
        node.jobs.clear();
        node.lost.clear();
        node.accounted.clear();
    }

    /// It boots again.
    pub(super) fn started(&mut self, now: Duration, number: usize) {
        let node = &mut self.nodes[number - 1];
        (node.up_since, node.is_down) = (now, false);
    }

    /// Whether it is killed. What it had said before is heard later at times, and is of a life that is over.
    fn is_down(&self, number: usize) -> bool {
        self.nodes[number - 1].is_down
    }

    /// Programs that have begun and not ended, as a text.
    pub(super) fn running(&self) -> Vec<String> {
        let all = self.nodes.iter().enumerate();
        all.flat_map(|(at, node)| {
            let jobs = node.jobs.values();
            jobs.map(move |job| {
                let seconds = job.began.as_secs();
                format!(
                    "{} of node {} ({}, since {seconds} s)",
                    job.pid,
                    at + 1,
                    job.name
                )
            })
        })
        .collect()
    }

    /// A line of the kernel's log, without the time.
    pub(super) fn kernel(&mut self, now: Duration, number: usize, text: &str) {
        let Some((pid, what)) = process_and_rest(text).filter(|_| !self.is_down(number)) else {
            return;
        };
        if let Some(with) = what.strip_prefix("lost with node ") {
            self.given_up(now, number, pid, with);
        } else if what.starts_with("its last source is lost") {
            if !self.nodes.iter().any(|node| !node.kills.is_empty()) {
                self.fail(format!(
                    "process {pid} ended on node {number} for want of pages, and no node was killed"
                ));
            }
            self.without_pages.insert(pid, now);
        } else if what.starts_with("its home is lost") {
            self.totals.dropped += 1;
            let home = (pid >> 16) as usize;
            if self
                .nodes
                .get(home.wrapping_sub(1))
                .is_none_or(|node| node.kills.is_empty())
            {
                self.fail(format!(
                    "node {number} dropped process {pid} for its home, which was never killed"
                ));
            }
        }
    }

    fn given_up(&mut self, now: Duration, number: usize, pid: u32, with: &str) {
        self.totals.told += 1;
        let since = self.nodes[number - 1].up_since;
        let with: usize = with.trim().parse().unwrap_or(0);
        let killed = self
            .nodes
            .get(with.wrapping_sub(1))
            .is_some_and(|node| node.kills.iter().any(|kill| *kill >= since));
        if !killed {
            self.fail(format!(
                "process {pid} was given up with node {with}, which lives"
            ));
        }
        let times = self.nodes[number - 1].lost.entry(pid).or_default();
        times.push(now);
        if times.len() > 1 {
            self.fail(format!("process {pid} was told to be lost twice"));
        }
    }

    /// A line of the programs' driver, without what it begins with: `job LABEL PID NAME WHAT...`.
    pub(super) fn job(&mut self, now: Duration, number: usize, text: &str) {
        let words: Vec<&str> = text.split(' ').collect();
        let [label, pid, name, what, rest @ ..] = words.as_slice() else {
            return;
        };
        if self.is_down(number) {
            return;
        }
        let pid: u32 = pid.parse().unwrap_or(0);
        match (*what, rest) {
            ("begins", []) => {
                self.totals.begun += 1;
                let (name, began) = ((*name).to_owned(), now);
                let job = Job { name, pid, began };
                if self.nodes[number - 1]
                    .jobs
                    .insert((*label).to_owned(), job)
                    .is_some()
                {
                    self.fail(format!("node {number}: job {label} began twice"));
                }
            }
            ("ends", [how, figures @ ..]) => match self.nodes[number - 1].jobs.remove(*label) {
                Some(job) => self.ended(number, &job, how, figures),
                None => self.fail(format!("node {number}: {text}: it had not begun")),
            },
            ("said:", said) if self.has_failed(pid) => {
                self.fail(format!("    {} said: {}", name, said.join(" ")));
            }
            _ => {}
        }
    }

    fn ended(&mut self, number: usize, job: &Job, how: &str, figures: &[&str]) {
        let figure = |name: &str| {
            let found = figures.iter().find_map(|word| word.strip_prefix(name));
            found.unwrap_or_default()
        };
        self.totals.moves += figure("moves=").parse().unwrap_or(0);
        self.totals.refused += figure("refused=").parse().unwrap_or(0);
        let node = &mut self.nodes[number - 1];
        let told = node.lost.contains_key(&job.pid);
        let pageless = |pid: &u32| {
            self.without_pages
                .get(pid)
                .is_some_and(|at| *at >= job.began)
        };
        if told {
            node.accounted.insert(job.pid);
        }
        let parts: Vec<u32> = figure("pids=")
            .split(',')
            .filter_map(|pid| pid.parse().ok())
            .collect();
        // A part that was lost before anybody has seen it is not among the parts.
        let leaders: BTreeSet<u32> = node
            .jobs
            .values()
            .map(|job| job.pid)
            .chain([job.pid])
            .collect();
        let since = |times: &Vec<Duration>| times.iter().any(|at| *at >= job.began);
        let lost = node
            .lost
            .iter()
            .filter(|(pid, _)| !leaders.contains(pid) && !node.accounted.contains(pid));
        let part_lost =
            lost.filter(|(_, times)| since(times)).count() > 0 || parts.iter().any(pageless);
        match how {
            "right" if told => {
                let why = "was told to be lost, and ended as if it were not";
                self.fail(format!("{} {} of node {number} {why}", job.name, job.pid));
            }
            "right" => self.totals.right += 1,
            "killed" if told || pageless(&job.pid) => self.totals.lost += 1,
            _ if part_lost => self.totals.disturbed += 1,
            _ => self.fail(format!(
                "{} {} of node {number} ended {how}",
                job.name, job.pid
            )),
        }
    }

    /// In the end: whoever was told to be lost and was a program has ended, too.
    pub(super) fn close(&mut self) {
        for text in self.running() {
            self.fail(format!("{text} has not ended"));
        }
    }
}

/// `process 65540: text` as the number and the text.
fn process_and_rest(text: &str) -> Option<(u32, &str)> {
    let (pid, rest) = text.strip_prefix("process ")?.split_once(": ")?;
    Some((pid.parse().ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;

    /// Two nodes; node 1 has begun job 0.1 with pid 65540; node 2 was killed at 5 s.
    fn one_killed() -> Ledger {
        let mut ledger = Ledger::new(2);
        ledger.job(S(1), 1, "0.1 65540 sums begins");
        ledger.killed(S(5), 2);
        ledger.started(S(6), 2);
        ledger
    }

    fn ends(ledger: &mut Ledger, how: &str) {
        ledger.job(
            S(9),
            1,
            &format!("0.1 65540 sums ends {how} moves=3 refused=1 pids=65540,65541"),
        );
        ledger.close();
    }

    #[test]
    fn what_ends_right_is_right() {
        let mut ledger = one_killed();
        ends(&mut ledger, "right");
        assert_eq!(ledger.failures, [""; 0]);
        let totals = ledger.totals;
        assert_eq!(
            (totals.right, totals.moves, totals.refused, totals.kills),
            (1, 3, 1, 1)
        );
    }

    #[test]
    fn what_is_killed_must_have_been_told() {
        let mut ledger = one_killed();
        ends(&mut ledger, "killed");
        assert_eq!(ledger.failures, ["sums 65540 of node 1 ended killed"]);
        let mut ledger = one_killed();
        ledger.kernel(S(6), 1, "process 65540: lost with node 2");
        ends(&mut ledger, "killed");
        assert_eq!(ledger.failures, [""; 0]);
        assert_eq!((ledger.totals.lost, ledger.totals.told), (1, 1));
        let mut ledger = one_killed();
        ledger.kernel(
            S(6),
            2,
            "process 65540: its last source is lost with pages of it",
        );
        ends(&mut ledger, "killed");
        assert_eq!(ledger.failures, [""; 0]);
    }

    #[test]
    fn nobody_is_lost_twice_or_with_a_node_that_lives_or_ends_right_after_all() {
        let mut ledger = one_killed();
        ledger.kernel(S(6), 1, "process 65540: lost with node 2");
        ledger.kernel(S(7), 1, "process 65540: lost with node 2");
        ends(&mut ledger, "right");
        assert_eq!(ledger.failures.len(), 2);
        let mut ledger = Ledger::new(2);
        ledger.kernel(S(6), 1, "process 65540: lost with node 2");
        assert_eq!(
            ledger.failures,
            ["process 65540 was given up with node 2, which lives"]
        );
        ledger.kernel(S(6), 1, "process 131077: its home is lost, and it with it");
        assert_eq!(ledger.failures.len(), 2);
    }

    #[test]
    fn what_a_killed_node_had_said_is_of_a_life_that_is_over() {
        let mut ledger = one_killed();
        ledger.killed(S(7), 1);
        ledger.kernel(S(7), 1, "process 65550: lost with node 2");
        ledger.job(S(7), 1, "0.2 65542 sums begins");
        ends(&mut ledger, "right");
        assert_eq!(ledger.failures, [""; 0]);
        assert_eq!((ledger.totals.begun, ledger.totals.gone), (1, 1));
    }

    #[test]
    fn what_was_done_before_this_boot_of_home_does_not_count() {
        let mut ledger = one_killed();
        ledger.killed(S(10), 1);
        ledger.started(S(11), 1);
        ledger.kernel(S(12), 1, "process 65540: lost with node 2");
        assert_eq!(
            ledger.failures,
            ["process 65540 was given up with node 2, which lives"]
        );
        assert_eq!(ledger.totals.gone, 1);
    }

    #[test]
    fn who_lost_a_part_may_end_otherwise_and_nobody_else() {
        let mut ledger = one_killed();
        ledger.kernel(S(6), 1, "process 65541: lost with node 2");
        ends(&mut ledger, "wrong-(Exited(1))");
        assert_eq!(ledger.failures, [""; 0]);
        assert_eq!(ledger.totals.disturbed, 1);
        let mut ledger = one_killed();
        ends(&mut ledger, "wrong-(Exited(1))");
        ledger.job(S(9), 1, "0.1 65540 sums said: what it said");
        assert_eq!(
            ledger.failures,
            [
                "sums 65540 of node 1 ended wrong-(Exited(1))",
                "    sums said: what it said"
            ]
        );
    }

    #[test]
    fn a_program_has_to_end() {
        let mut ledger = one_killed();
        ledger.close();
        assert_eq!(
            ledger.failures,
            ["65540 of node 1 (sums, since 1 s) has not ended"]
        );
    }
}
