//! The fault matrix: a step of a move, what happens just then, and what has to become of the process.
//!
//! Law: the table (`table.txt`) says what is expected, a row for each cell, and nothing else does: rows of what there
//! is not have a reason instead. Steps and faults are words that are read here; a row that cannot be read is an error.

mod course;

use std::fmt;

pub(crate) use course::run;

const TABLE: &str = include_str!("table.txt");

/// The nodes of a cell, by index.
pub(crate) const HOME: usize = 0;
pub(crate) const SOURCE: usize = 1;
pub(crate) const TARGET: usize = 2;
const ROLES: [&str; 3] = ["home", "source", "target"];

/// How far a process is when it happens.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Step {
    /// The target is asked, and has not heard it.
    Offer,
    /// Pages travel while the process runs at the source.
    PreCopy,
    /// The image is out, and not at the target.
    Image,
    /// A call to home is under way that holds up the freeze.
    CallInFlight,
    /// The target has the image, and home does not know.
    CommitRequest,
    /// Home has decided and the source knows, the target does not.
    DecisionToTarget,
    /// Home has decided and the target knows, the source does not.
    DecisionToSource,
    /// The first effect is under way to home.
    FirstEffect,
    /// Home has seen it, the source does not know.
    Release,
    /// The source pushes its pages.
    Push,
    /// The source is drained: its guest leaves.
    Eviction,
    /// The process is at the target, and nothing is under way but gossip.
    Gossip,
    /// A signal is on its way to the process at the target.
    Signal,
    /// A signal comes while the target has the image, and home does not know.
    SignalMoving,
    /// So does one that kills.
    KillMoving,
    /// The end of the process is under way to home.
    Exit,
}

impl Step {
    const ALL: [(Step, &str); 16] = [
        (Step::Offer, "offer"),
        (Step::PreCopy, "pre-copy"),
        (Step::Image, "image"),
        (Step::CallInFlight, "call-in-flight"),
        (Step::CommitRequest, "commit-request"),
        (Step::DecisionToTarget, "decision-to-target"),
        (Step::DecisionToSource, "decision-to-source"),
        (Step::FirstEffect, "first-effect"),
        (Step::Release, "release"),
        (Step::Push, "push"),
        (Step::Eviction, "eviction"),
        (Step::Gossip, "gossip"),
        (Step::Signal, "signal"),
        (Step::SignalMoving, "signal-moving"),
        (Step::KillMoving, "kill-moving"),
        (Step::Exit, "exit"),
    ];
}

/// What happens, and to whom.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// A node dies with its last words, and boots again after a while.
    Kill(usize),
    /// The same, but what it has sent still arrives.
    Fall(usize),
    /// It boots again at once.
    Reboot(usize),
    /// It stands still for longer than any deadline.
    Pause(usize),
    /// Nothing passes from the one to the other.
    Deaf(usize, usize),
    /// Nothing passes between them.
    Cut(usize, usize),
    /// A few packets in a row are lost, both ways.
    Drop(usize, usize),
    /// The next packets are ten seconds late, both ways.
    Late(usize, usize),
    /// Every packet comes twice.
    Double,
    /// Packets overtake each other.
    Reorder,
    /// All that was sent before comes once more.
    Replay,
    /// One of the next requests of a node for a frame is refused.
    Memory(usize),
    /// Its clock is a fifth too fast.
    Fast(usize),
    /// Its clock is a fifth too slow.
    Slow(usize),
    /// The target lacks a feature of the processor.
    Features,
}

impl Fault {
    fn parse(word: &str) -> Option<Fault> {
        let role = |name: &str| ROLES.iter().position(|role| *role == name);
        let two = |rest: &str, between: &str| {
            let (one, other) = rest.split_once(between)?;
            Some((role(one)?, role(other)?))
        };
        let (what, rest) = word.split_once('-').unwrap_or((word, ""));
        Some(match what {
            "kill" => Fault::Kill(role(rest)?),
            "fall" => Fault::Fall(role(rest)?),
            "reboot" => Fault::Reboot(role(rest)?),
            "pause" => Fault::Pause(role(rest)?),
            "deaf" => two(rest, "-to-").map(|(to, from)| Fault::Deaf(from, to))?,
            "cut" => two(rest, "-").map(|(one, other)| Fault::Cut(one, other))?,
            "drop" => two(rest, "-").map(|(one, other)| Fault::Drop(one, other))?,
            "late" => two(rest, "-").map(|(one, other)| Fault::Late(one, other))?,
            "double" => Fault::Double,
            "reorder" => Fault::Reorder,
            "replay" => Fault::Replay,
            "memory" => Fault::Memory(role(rest)?),
            "fast" => Fault::Fast(role(rest)?),
            "slow" => Fault::Slow(role(rest)?),
            "features" => Fault::Features,
            _ => return None,
        })
    }
}

/// What has to become of the process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// It runs on at the source, as it was.
    AtSource,
    /// It runs on at the target.
    AtTarget,
    /// It runs on at one of the nodes, as home has decided.
    Lives,
    /// It is lost with the node that had it or its pages, and that is told once.
    Lost,
    /// It runs on, or is lost and told, as the last words of the dead node have it.
    LivesOrLost,
    /// Its home is gone, and nothing is left of it anywhere.
    Dropped,
    /// The same, or it was lost before, and told once: if the node that had it has booted again before home died.
    LostOrDropped,
    /// It ends by itself, and its parent hears it once.
    Ends,
    /// It ends by itself or is lost, and its parent hears either once.
    EndsOrLost,
    /// It is killed, and no copy outlives it.
    Killed,
    /// It runs on, or is told that there is no memory.
    LivesOrTold,
    /// It ends by itself, or is told that there is no memory.
    EndsOrTold,
}

impl Fate {
    /// Word, sentence, promises of the hand-over.
    const ALL: [(Fate, &str, &str, &str); 12] = [
        (
            Fate::AtSource,
            "at-source",
            "runs on at the source as it was",
            "1 2 4 6 7 26",
        ),
        (
            Fate::AtTarget,
            "at-target",
            "runs on at the target",
            "1 2 3 4 8 10 26",
        ),
        (
            Fate::Lives,
            "lives",
            "runs on at the node that home has decided",
            "1 2 3 4 7 12 26",
        ),
        (
            Fate::Lost,
            "lost",
            "lost with the node that had it or its pages, told once",
            "1 5 26",
        ),
        (
            Fate::LivesOrLost,
            "lives-or-lost",
            "runs on, or lost and told once: what of the last words got out decides",
            "1 4 5 26",
        ),
        (
            Fate::Dropped,
            "dropped",
            "its home is gone: every copy ends with one report, nothing is left",
            "1 19 26",
        ),
        (
            Fate::LostOrDropped,
            "lost-or-dropped",
            "lost and told once, if that was known before its home died; else every copy ends, nothing is left",
            "1 5 19 26",
        ),
        (
            Fate::Ends,
            "ends",
            "ends by itself, its parent hears it once",
            "1 4 5 26",
        ),
        (
            Fate::EndsOrLost,
            "ends-or-lost",
            "ends by itself or is lost, its parent hears one of these once",
            "1 4 5 26",
        ),
        (Fate::Killed, "killed", "killed, no copy is left", "1 5 26"),
        (
            Fate::EndsOrTold,
            "ends-or-told",
            "ends by itself, or is told that there is no memory; its parent hears one of these once",
            "1 5 26",
        ),
        (
            Fate::LivesOrTold,
            "lives-or-told",
            "runs on where it is or was to go, or is told that there is no memory",
            "1 2 6 26",
        ),
    ];

    fn row(self) -> &'static (Fate, &'static str, &'static str, &'static str) {
        let row = Fate::ALL.iter().find(|row| row.0 == self);
        row.expect("every fate has a row")
    }
}

/// How its pages travel.
const MODES: [&str; 4] = ["post-copy", "pre-copy", "stop-and-copy", "hybrid"];

/// A cell that means something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cell {
    /// Step, mode and faults, in the words of the table.
    pub words: (&'static str, &'static str, &'static str),
    /// When.
    pub step: Step,
    /// What.
    pub fault: Fault,
    /// What happens while the first is being recovered from.
    pub second: Option<Fault>,
    /// What has to come of it.
    pub fate: Fate,
}

impl fmt::Display for Cell {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (step, mode, fault) = self.words;
        write!(out, "{step}/{mode}/{fault}")
    }
}

/// A row of the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Row {
    /// A cell.
    Cell(Cell),
    /// Step, fault, and why there is no such cell.
    Nothing(&'static str, &'static str, &'static str),
}

/// The whole table.
///
/// # Errors
/// The first line that cannot be read.
pub fn table() -> Result<Vec<Row>, String> {
    let lines = TABLE.lines().map(str::trim);
    let rows = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    rows.map(|line| row(line).ok_or_else(|| line.to_owned()))
        .collect()
}

fn row(line: &'static str) -> Option<Row> {
    let (words, reason) = match line.split_once(" - ") {
        Some((words, reason)) => (words, Some(reason.trim())),
        None => (line, None),
    };
    let mut words = words.split_whitespace();
    let step = words.next()?;
    if let Some(reason) = reason {
        return Some(Row::Nothing(step, words.next()?, reason));
    }
    let (mode, faults, fate) = (words.next()?, words.next()?, words.next()?);
    let (first, second) = match faults.split_once("+") {
        Some((first, second)) => (first, Some(Fault::parse(second)?)),
        None => (faults, None),
    };
    let cell = Cell {
        words: (step, mode, faults),
        step: Step::ALL.iter().find(|(_, name)| *name == step)?.0,
        fault: Fault::parse(first)?,
        second,
        fate: Fate::ALL.iter().find(|row| row.1 == fate)?.0,
    };
    (MODES.contains(&mode) && words.next().is_none()).then_some(Row::Cell(cell))
}

/// The table as a document.
///
/// # Errors
/// As [`table`].
pub fn document() -> Result<String, String> {
    let rows = table()?;
    let cells = rows
        .iter()
        .filter(|row| matches!(row, Row::Cell(_)))
        .count();
    let mut text = format!(
        "# The fault matrix\n\n\
         Made from `tools/faults/src/cells/table.txt` by `DUNLIN_RECORD=1 cargo test -p faults --test matrix`; a test compares.\n\n\
         {cells} cells: a cluster of home, source and target is brought to the step, the fault happens just then, and what becomes of the process has to\n\
         be what the row says; all checkers of docs/reliability.md watch meanwhile, and at the end nothing may be left anywhere. A fault behind a `+` comes\n\
         while the first is recovered from. Promises are those of docs/reliability.md.\n\n```\n\
         cargo xtask sim cells --seeds 16\n\
         cargo xtask sim cells --cell image/post-copy/kill-target --seed 3    # one world, event by event\n```\n\n\
         | step | pages | fault | what becomes of the process | promises |\n|---|---|---|---|---|\n"
    );
    for row in &rows {
        text += &match row {
            Row::Cell(cell) => {
                let (_, _, sentence, promises) = cell.fate.row();
                let (step, mode, fault) = cell.words;
                format!("| {step} | {mode} | {fault} | {sentence} | {promises} |\n")
            }
            Row::Nothing(step, fault, why) => {
                format!("| {step} | | {fault} | not there: {why} | |\n")
            }
        };
    }
    Ok(text)
}
