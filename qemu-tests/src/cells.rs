//! The fault matrix on real nodes: a process, a step of its move, and what happens to a node or a link just then.
//!
//! Law: home (node 1) has a process that counts into a file of home's; it is on the source (2), goes to the target (3), or is there. A step is
//! held by a cut where it must not be over too soon, and the source's own trace says that it was reached. The outcome is what the table
//! says: the process goes on, and the file has every number once and in order; or it is lost, its parent is told so, and its home says so once; or
//! its home is, and who had it drops it. All cells of a run share one cluster, whose nodes boot again on the way. A second fault comes while the first
//! is recovered from: somebody else stands still or is cut off, which must change nothing of the outcome. Cells of homes with disks are in
//! `adopted`.

use crate::conductor::Conductor;
use crate::lab::{Action, Outcome, Spec, is_kernel_log};
use crate::scenario::Scenario;
use crate::verdict::{Verdict, ended_well};
use std::collections::VecDeque;
use std::time::Duration;

/// The node that is home of everything here.
pub(crate) const HOME: usize = 1;
pub(crate) const SOURCE: usize = 2;
pub(crate) const TARGET: usize = 3;
/// How long a link is cut and a node stands still: longer than anybody is thought to be only slow.
pub(crate) const HARM: Duration = Duration::from_millis(3000);
/// How long a node is down.
pub(crate) const DOWN: Duration = Duration::from_millis(500);
/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// What every node runs: a shell that does what is typed.
pub(crate) const WORKER: &str = "\
cargo() {
    n=$1
    (i=0; until test -e /tmp/$n.enough; do i=$((i + 1)); echo $i >> /tmp/$n; done) &
    p=$!
}
lines() { cat /tmp/$n 2> /dev/null | wc -l; }
all_up() { until test $(nodes | grep -c alive) -ge 2; do sleep 0.1; done; }
reached() { until busybox awk -v e=$1 -v p=$p '$3 == e && $4 == p { f = 1 } END { exit !f }' /proc/cluster/trace/2; do sleep 0.1; done; }
place() { until migrate $p $1 2> /dev/null; do sleep 0.1; done; echo cell: $n placed; }
lives() {
    b=$(lines); t=0
    until test $(lines) -gt $b || test $t -gt 400; do t=$((t + 1)); sleep 0.1; done
    touch /tmp/$n.enough; wait $p; s=$?
    if test $s -eq 0 && seq $(lines) | cmp - /tmp/$n && test $(lines) -gt $b
    then echo cell: $n lives; else echo cell: $n is wrong: status $s, $b lines, then $(lines); fi
    rm -f /tmp/$n /tmp/$n.enough
}
lost() {
    wait $p; s=$?
    if test $s -eq 137; then echo cell: $n lost; else echo cell: $n is wrong: status $s; fi
    rm -f /tmp/$n
}
dropped() { # init and this shell are left on each of the others
    all_up
    until nodes | busybox awk '$2 == \"alive\" && $6 == 2 { n++ } END { exit n != 2 }'; do sleep 0.1; done
    echo cell: $n dropped
}
until nodes > /dev/null; do sleep 0.1; done
echo cell: ready
while read -r line; do eval \"$line\"; done
";

/// How far the move is when it happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// The process is at the source.
    Before,
    /// The target is asked, and does not hear it.
    Offer,
    /// The target has all of it, and home does not hear that.
    Image,
    /// The process is at the target.
    After,
}

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    Kill(usize),
    Pause(usize),
    /// Nothing passes from the one to the other.
    Cut(usize, usize),
    /// Nothing passes between them.
    CutBoth(usize, usize),
}

/// What becomes of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Lives,
    /// With the node where it was.
    Lost,
    /// With its home.
    Dropped,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cell {
    step: Step,
    fault: Fault,
    /// What happens to others while that is recovered from.
    then: Option<Fault>,
    fate: Fate,
}

/// A fault in a word.
pub(crate) fn fault_name(fault: Fault) -> String {
    let role = |node| ["", "home", "source", "target"][node];
    match fault {
        Fault::Kill(node) => format!("kill-{}", role(node)),
        Fault::Pause(node) => format!("pause-{}", role(node)),
        Fault::Cut(from, to) => format!("deaf-{}-to-{}", role(to), role(from)),
        Fault::CutBoth(one, other) => format!("cut-{}-{}", role(one), role(other)),
    }
}

impl Fault {
    /// How it begins.
    pub(crate) fn begins(self) -> Vec<Do> {
        let actions = match self {
            Fault::Kill(node) => vec![Action::Kill(node)],
            Fault::Pause(node) => vec![Action::Pause(node)],
            Fault::Cut(from, to) => vec![Action::Cut(from, to)],
            Fault::CutBoth(one, other) => vec![Action::Cut(one, other), Action::Cut(other, one)],
        };
        actions.into_iter().map(Do::Act).collect()
    }

    /// How it ends, if it does by itself.
    pub(crate) fn ends(self) -> Option<Do> {
        match self {
            Fault::Kill(_) => None,
            Fault::Pause(node) => Some(Do::Act(Action::Continue(node))),
            Fault::Cut(..) | Fault::CutBoth(..) => Some(Do::Act(Action::Heal)),
        }
    }
}

/// The way to a step of a move, once the process is at the source; and what holds it there.
pub(crate) fn way_to(step: Step, n: &str) -> Vec<Do> {
    let (cut, event) = match step {
        Step::Before => return Vec::new(),
        Step::Offer => ((SOURCE, TARGET), "offered"),
        Step::Image => ((TARGET, HOME), "image-out"),
        Step::After => {
            return vec![
                typed(HOME, "place 3".to_owned()),
                Do::Await(HOME, format!("cell: {n} placed")),
            ];
        }
    };
    let how = "--mode stop-and-copy";
    let order = format!(
        "migrate {how} $p 3 2> /dev/null & m=$!; reached {event}; echo cell: {n} under way"
    );
    vec![
        Do::Act(Action::Cut(cut.0, cut.1)),
        typed(HOME, order),
        Do::Await(HOME, format!("cell: {n} under way")),
    ]
}

impl Cell {
    fn of(step: Step, fault: Fault, fate: Fate) -> Cell {
        Cell {
            step,
            fault,
            then: None,
            fate,
        }
    }

    fn name(self) -> String {
        let faults = [Some(self.fault), self.then].into_iter().flatten();
        let faults: Vec<String> = faults.map(fault_name).collect();
        let fault = faults.join("-then-");
        format!("{:?}-{fault}", self.step).to_lowercase()
    }
}

/// All cells: who is killed decides, everything else must be survived.
fn table() -> Vec<Cell> {
    let mut cells = Vec::new();
    for step in [Step::Before, Step::Offer, Step::Image, Step::After] {
        for node in [HOME, SOURCE, TARGET] {
            let fate = match (step, node) {
                (_, HOME) => Fate::Dropped,
                (Step::Before | Step::Offer, SOURCE) | (Step::After, TARGET) => Fate::Lost,
                // The target has the whole of it and commits; the source has it still.
                _ => Fate::Lives,
            };
            let fault = Fault::Kill(node);
            cells.push(Cell::of(step, fault, fate));
            let (fault, fate) = (Fault::Pause(node), Fate::Lives);
            cells.push(Cell::of(step, fault, fate));
        }
        for (one, other) in [(SOURCE, TARGET), (SOURCE, HOME), (TARGET, HOME)] {
            let cuts = [
                Fault::Cut(one, other),
                Fault::Cut(other, one),
                Fault::CutBoth(one, other),
            ];
            let fate = Fate::Lives;
            cells.extend(cuts.map(|fault| Cell::of(step, fault, fate)));
        }
    }
    let deaths = cells.clone().into_iter().filter(|cell| {
        let kills = matches!(cell.fault, Fault::Kill(node) if node != HOME);
        kills && matches!(cell.step, Step::Offer | Step::Image)
    });
    for cell in deaths {
        let other = match cell.fault {
            Fault::Kill(SOURCE) => TARGET,
            _ => SOURCE,
        };
        let seconds = [
            Fault::Pause(HOME),
            Fault::Pause(other),
            Fault::CutBoth(other, HOME),
            Fault::Cut(other, HOME),
            Fault::Cut(HOME, other),
        ];
        cells.extend(seconds.map(|then| Cell {
            then: Some(then),
            ..cell
        }));
    }
    cells
}

/// Those of the test command: each death at each step, and a cut and a pause where it matters most.
fn short() -> Vec<Cell> {
    let wanted = |cell: &Cell| match cell.fault {
        _ if cell.then.is_some() => false,
        Fault::Kill(node) => node != HOME || cell.step == Step::Image,
        Fault::Pause(node) => cell.step == Step::Image && node == SOURCE,
        Fault::Cut(from, to) => (cell.step, from, to) == (Step::Offer, SOURCE, HOME),
        Fault::CutBoth(one, _) => cell.step == Step::After && one == TARGET,
    };
    table().into_iter().filter(wanted).collect()
}

/// One thing after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Do {
    /// Do this.
    Act(Action),
    /// Until this line comes on the console of the node.
    Await(usize, String),
    /// So long.
    Wait(Duration),
    /// Until the node has ended by itself, as it should.
    Dies(usize),
    /// Whatever was told before does not count.
    Begin(String),
    /// The cell is over: the process was lost so often.
    Check(String, usize),
    /// Until home's log says that a process which it has found again has ended; with this status.
    Ends(String, &'static str),
    /// Until its log says that a process is lost.
    Loses,
}

/// Somebody types this line.
pub(crate) fn typed(node: usize, text: String) -> Do {
    Do::Act(Action::Type(node, text + "\n"))
}

/// What a cell consists of.
fn course(cell: Cell) -> Vec<Do> {
    let n = cell.name();
    let mut all = vec![
        Do::Begin(n.clone()),
        typed(HOME, format!("all_up; cargo {n}; place 2")),
        Do::Await(HOME, format!("cell: {n} placed")),
    ];
    all.extend(way_to(cell.step, &n));
    let heal = Do::Act(Action::Heal);
    // What has held the step holds it until it happens.
    let holds = matches!(cell.fault, Fault::Kill(_) | Fault::Pause(_));
    all.extend(cell.fault.begins());
    all.extend(holds.then(|| heal.clone()));
    if let Some(then) = cell.then {
        all.extend(then.begins());
        all.push(Do::Wait(HARM));
        all.extend(then.ends());
    }
    match cell.fault.ends() {
        Some(end) => all.extend([Do::Wait(HARM), end]),
        None => all.push(Do::Wait(DOWN)),
    }
    let start = |node| {
        [
            Do::Act(Action::Start(node)),
            Do::Await(node, "cell: ready".to_owned()),
        ]
    };
    match (cell.fate, cell.fault) {
        (Fate::Dropped, _) => {
            all.extend(start(HOME));
            all.push(typed(HOME, format!("n={n}; dropped")));
            all.push(Do::Await(HOME, format!("cell: {n} dropped")));
            all.push(Do::Check(n, 0));
        }
        (Fate::Lost, Fault::Kill(node)) => {
            all.extend(start(node));
            all.push(typed(HOME, "lost".to_owned()));
            all.push(Do::Await(HOME, format!("cell: {n} lost")));
            all.push(Do::Check(n, 1));
        }
        (fate, fault) => {
            // Whoever has it goes on without the dead node, or has to hear of its new boot first.
            let node = if let Fault::Kill(node) = fault {
                Some(node)
            } else {
                None
            };
            let later = cell.step == Step::Image && node == Some(SOURCE);
            let starts = node.map(start).into_iter().flatten();
            if !later {
                all.extend(starts.clone());
            }
            debug_assert_eq!(fate, Fate::Lives);
            all.push(typed(HOME, "lives".to_owned()));
            all.push(Do::Await(HOME, format!("cell: {n} lives")));
            all.push(Do::Check(n, 0));
            if later {
                all.extend(starts);
            }
        }
    }
    all
}

/// Cells under way.
pub(crate) struct Cells {
    todo: VecDeque<Do>,
    since: Duration,
    lines: Vec<(usize, String)>,
    cell: String,
    lost: usize,
    /// Log lines of home about processes that it has found again, and their ends.
    adopted: usize,
    ended: Vec<String>,
    verdict: Verdict,
    over: bool,
}

impl Cells {
    fn new(cells: Vec<Cell>) -> Cells {
        Cells::of(cells.into_iter().flat_map(course))
    }

    /// Any course, once every node is ready.
    pub(crate) fn of(course: impl IntoIterator<Item = Do>) -> Cells {
        let ready = [HOME, SOURCE, TARGET].map(|node| Do::Await(node, "cell: ready".to_owned()));
        let todo = ready.into_iter().chain(course);
        Cells {
            todo: todo.collect(),
            since: Duration::ZERO,
            lines: Vec::new(),
            cell: "boot".to_owned(),
            lost: 0,
            adopted: 0,
            ended: Vec::new(),
            verdict: Verdict::default(),
            over: false,
        }
    }

    /// The next thing is done.
    fn next(&mut self, now: Duration) {
        self.todo.pop_front();
        self.since = now;
        self.over = self.todo.is_empty();
    }

    fn fail(&mut self, why: &str) {
        self.verdict.check(&self.cell, Err(why.to_owned()));
        self.todo.clear();
        self.over = true;
    }
}

impl Conductor for Cells {
    fn line(&mut self, _: Duration, node: usize, line: &str) {
        if is_kernel_log(line) {
            self.lost += usize::from(line.contains("lost with node"));
            self.adopted += usize::from(line.contains("adopted from node"));
            let status = line.split_once("adopted before, has ended with status ");
            self.ended
                .extend(status.map(|(_, status)| status.trim().to_owned()));
        }
        if line.contains("is wrong") {
            return self.fail(line);
        }
        self.lines.push((node, line.to_owned()));
    }

    fn died(&mut self, now: Duration, node: usize) {
        if self.todo.front() == Some(&Do::Dies(node)) {
            return self.next(now);
        }
        self.fail(&format!("node {node} has died by itself"));
    }

    fn poll(&mut self, now: Duration) -> Option<Action> {
        loop {
            match self.todo.front()?.clone() {
                Do::Act(action) => {
                    self.next(now);
                    return Some(action);
                }
                Do::Await(node, text) => {
                    // What was typed is echoed, and is no answer.
                    let is = |(at, line): &(usize, String)| *at == node && *line == text;
                    let Some(at) = self.lines.iter().position(is) else {
                        if now.saturating_sub(self.since) > PATIENCE {
                            self.fail(&format!("`{text}` does not come from node {node}"));
                        }
                        return None;
                    };
                    self.lines.remove(at);
                }
                Do::Wait(time) if now.saturating_sub(self.since) < time => return None,
                Do::Wait(_) => {}
                Do::Dies(node) => {
                    if now.saturating_sub(self.since) > PATIENCE {
                        self.fail(&format!("node {node} goes on"));
                    }
                    return None;
                }
                Do::Begin(name) => {
                    self.cell = name;
                    self.lost = 0;
                    self.adopted = 0;
                    self.ended.clear();
                    self.lines.clear();
                }
                Do::Loses | Do::Ends(..) if now.saturating_sub(self.since) > PATIENCE => {
                    self.fail("home's log does not say what became of it");
                    return None;
                }
                Do::Loses if self.lost == 0 => return None,
                Do::Loses => {}
                Do::Ends(..) if self.ended.is_empty() => return None,
                Do::Ends(name, status) => {
                    let (adopted, ended) = (self.adopted, &self.ended);
                    let right = adopted > 0 && ended[..] == [status];
                    let told = || format!("adopted {adopted} times, ended with {ended:?}");
                    let result = right.then_some(()).ok_or_else(told);
                    self.verdict.check(&name, result);
                }
                Do::Check(name, lost) => {
                    let told = self.lost;
                    let right = || format!("{told} processes were given up, not {lost}");
                    let result = (told == lost).then_some(()).ok_or_else(right);
                    self.verdict.check(&name, result);
                }
            }
            self.next(now);
        }
    }

    fn is_over(&self) -> bool {
        self.over
    }

    fn verdict(&self, outcome: &Outcome) -> Verdict {
        let mut verdict = self.verdict.clone();
        verdict.failures.extend(ended_well(outcome));
        verdict
    }
}

fn scenario(name: &str, cells: Vec<Cell>) -> Scenario {
    let spec = Spec::new(name, 3)
        .append("worker=/etc/worker")
        .text("/etc/worker", &format!(". /etc/shrc\n{WORKER}"))
        .timeout_s(60 + 30 * cells.len() as u64);
    Scenario::conducted(spec, |_| Cells::new(cells))
}

/// The cells of the test command.
pub(crate) fn some(name: &str) -> Scenario {
    scenario(name, short())
}

/// All of them.
pub(crate) fn all(name: &str) -> Scenario {
    scenario(name, table())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn cells_have_names_of_their_own_and_the_short_ones_are_among_them() {
        let all = table();
        let names: BTreeSet<String> = all.iter().map(|cell| cell.name()).collect();
        assert_eq!((names.len(), all.len()), (80, 80));
        assert!(short().iter().all(|cell| all.contains(cell)));
        assert!(names.contains("image-kill-source") && names.contains("after-deaf-home-to-target"));
        assert!(names.contains("offer-kill-target-then-pause-home"));
        assert_eq!(short().len(), 12);
    }

    #[test]
    fn a_cell_that_says_nothing_fails_and_so_does_a_process_lost_too_often() {
        let mut cells = Cells::new(vec![table()[0]]);
        assert_eq!(cells.poll(Duration::ZERO), None);
        assert_eq!(cells.poll(PATIENCE * 2), None);
        assert!(cells.is_over() && cells.verdict.failures.len() == 1);
        let mut cells = Cells::new(Vec::new());
        cells.todo = [
            Do::Begin("x".to_owned()),
            Do::Wait(HARM),
            Do::Check("x".to_owned(), 0),
        ]
        .into();
        assert_eq!(cells.poll(Duration::ZERO), None);
        cells.line(HARM, 1, "[  1.000000] process 65540: lost with node 2");
        assert_eq!(cells.poll(HARM), None);
        assert_eq!(
            cells.verdict.failures,
            ["x: 1 processes were given up, not 0"]
        );
    }
}
