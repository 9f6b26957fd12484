//! `faults`: worlds of many seeds, or one with all that happens in it.
//!
//! Law: what a seed has shown is a line between tabs; a seed that fails comes with the command that repeats
//! it, and the status is 1. Worlds run in processes of their own, some hundred in each: a kernel that stops
//! itself is a failed seed like any other, and what a world cannot give back goes with its process.

use faults::cells::{Cell, Row, table};
use faults::{Canary, Event, Plan, Summary, run, run_cell};
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

const USAGE: &str = "usage: faults [--seeds N] [--first S] [--nodes K] [--canary NAME] [--json] | --seed S [--nodes K] [--canary NAME]\n\
    \x20      faults --cells [--seeds N] [--cell NAME] [--canary NAME] [--json] | --cell NAME --seed S\n\
    --seeds N    so many worlds (100)\n\
    --first S    from this seed on (0)\n\
    --seed S     this world alone, with a line for each event\n\
    --nodes K    nodes of each world, 2 to 16 (3 to 7, as the seed chooses)\n\
    --canary B   switches a known bug on, which is to be found\n\
    --cells      the fault matrix: each of its cells with so many seeds (16)\n\
    --cell NAME  this cell, or those whose names begin so\n\
    --json       prints figures as JSON";

/// Worlds that a process runs before another takes over: each leaves its programs behind.
const SHARE: u64 = 200;
/// Failed seeds that are shown; behind them nothing more is run.
const SHOWN: usize = 20;
/// How many worlds, and how many of each cell, where nothing is said.
const WORLDS: u64 = 100;
const SEEDS: u64 = 16;

#[derive(Clone, Default)]
struct Wanted {
    first: u64,
    seeds: u64,
    one: bool,
    nodes: u16,
    canary: Option<Canary>,
    json: bool,
    /// Cells of the fault matrix, and seeds for each; else there are worlds.
    cells: Vec<Cell>,
    of_each: u64,
    /// The name that they were chosen by.
    name: Option<String>,
    /// This process is one of those that run worlds.
    runs: bool,
}

fn wanted(mut words: impl Iterator<Item = String>) -> Option<Wanted> {
    let mut wanted = Wanted {
        seeds: 0,
        ..Wanted::default()
    };
    let mut matrix = false;
    while let Some(word) = words.next() {
        match word.as_str() {
            "--json" => wanted.json = true,
            "--runs" => wanted.runs = true,
            "--cells" => matrix = true,
            "--cell" => (matrix, wanted.name) = (true, Some(words.next()?)),
            "--canary" => {
                let name = words.next()?;
                let named = |canary: &Canary| format!("{canary:?}") == name;
                wanted.canary = Some(Canary::ALL.into_iter().find(named)?);
            }
            _ => {
                let number = words.next()?.parse::<u64>().ok()?;
                match word.as_str() {
                    "--seeds" => wanted.seeds = number,
                    "--first" => wanted.first = number,
                    "--of-each" => wanted.of_each = number,
                    "--seed" => (wanted.first, wanted.one) = (number, true),
                    "--nodes" if (2..=16).contains(&number) => wanted.nodes = number as u16,
                    _ => return None,
                }
            }
        }
    }
    if matrix {
        wanted.choose_cells()?;
    } else if wanted.seeds == 0 {
        wanted.seeds = WORLDS;
    }
    Some(wanted)
}

impl Wanted {
    /// Cells by name; each has its seeds, and numbers run through all of them.
    fn choose_cells(&mut self) -> Option<()> {
        let name = self.name.as_deref().unwrap_or_default();
        let rows = table().ok()?.into_iter();
        let cells = rows.filter_map(|row| match row {
            Row::Cell(cell) if cell.to_string().starts_with(name) => Some(cell),
            _ => None,
        });
        self.cells = cells.collect();
        if self.one {
            // The one that is called so.
            let cell = self.cells.iter().find(|cell| cell.to_string() == name)?;
            self.cells = vec![*cell];
            return Some(());
        }
        let each = if self.runs { self.of_each } else { self.seeds };
        self.of_each = if each == 0 { SEEDS } else { each };
        if !self.runs {
            self.seeds = self.of_each * self.cells.len() as u64;
        }
        (!self.cells.is_empty()).then_some(())
    }

    /// The cell and the seed of a number.
    fn cell(&self, number: u64) -> Option<(Cell, u64)> {
        if self.one {
            return self.cells.first().map(|cell| (*cell, number));
        }
        let index = number.checked_div(self.of_each)?;
        let cell = self.cells.get(usize::try_from(index).ok()?)?;
        Some((*cell, number % self.of_each))
    }

    fn run(&self, number: u64, tell: &mut dyn FnMut(&Event)) -> Result<Summary, String> {
        match self.cell(number) {
            Some((cell, seed)) => run_cell(cell, seed, self.canary, tell),
            None => run(self.plan(number), tell),
        }
    }

    fn plan(&self, seed: u64) -> Plan {
        Plan {
            seed,
            nodes: self.nodes,
            canary: self.canary,
        }
    }

    /// What every seed needs to be repeated.
    fn words(&self) -> Vec<String> {
        let mut words = Vec::new();
        if !self.cells.is_empty() {
            let name = self.name.clone().unwrap_or_default();
            words.extend(["--cell".to_owned(), name]);
            words.extend(["--of-each".to_owned(), self.of_each.to_string()]);
        }
        if self.nodes > 0 {
            words.extend(["--nodes".to_owned(), self.nodes.to_string()]);
        }
        if let Some(canary) = self.canary {
            words.extend(["--canary".to_owned(), format!("{canary:?}")]);
        }
        words
    }

    fn repeat(&self, seed: u64) -> String {
        if let Some((cell, seed)) = self.cell(seed) {
            return format!("cargo xtask sim cells --cell {cell} --seed {seed}");
        }
        let words: String = self.words().iter().map(|word| format!(" {word}")).collect();
        format!("cargo xtask sim faults --seed {seed}{words}")
    }
}

fn main() -> ExitCode {
    let Some(wanted) = wanted(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let well = if wanted.one {
        one(&wanted)
    } else if wanted.runs {
        return runs(&wanted);
    } else {
        many(&wanted)
    };
    match well {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("faults: {error}");
            ExitCode::FAILURE
        }
    }
}

/// One world, event by event.
fn one(wanted: &Wanted) -> std::io::Result<bool> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", Event::COLUMNS)?;
    let mut broken = None;
    let result = wanted.run(wanted.first, &mut |event| {
        let line = writeln!(out, "{event}");
        broken = broken.take().or(line.err());
    });
    match (broken, result) {
        (Some(error), _) => Err(error),
        (None, Ok(summary)) => {
            writeln!(out, "seed {}: ok: {summary:?}", wanted.first)?;
            Ok(true)
        }
        (None, Err(failure)) => {
            writeln!(out, "seed {} failed: {failure}", wanted.first)?;
            Ok(false)
        }
    }
}

/// A line for each seed, as [`Tally::line`] reads it.
fn runs(wanted: &Wanted) -> ExitCode {
    for seed in wanted.first..wanted.first.saturating_add(wanted.seeds) {
        match wanted.run(seed, &mut |_| {}) {
            Ok(sum) => println!(
                "{seed}\tok\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}",
                sum.trace,
                sum.events,
                sum.packets,
                sum.moves,
                sum.sealed,
                sum.deaths,
                sum.lost,
                sum.adopted,
                sum.records
            ),
            Err(failure) => {
                let first = failure.lines().next().unwrap_or_default();
                println!("{seed}\tfailed\t{}", first.replace('\t', " "));
            }
        }
    }
    ExitCode::SUCCESS
}

/// What was seen so far.
#[derive(Default)]
struct Tally {
    done: u64,
    sum: Summary,
    failed: Vec<(u64, String)>,
}

impl Tally {
    /// Takes the line of a seed in.
    fn line(&mut self, line: &str) -> Option<u64> {
        let mut words = line.split('\t');
        let seed = words.next()?.parse().ok()?;
        if words.next()? == "failed" {
            self.failed.push((seed, words.next()?.to_owned()));
        } else {
            let mut number = || words.next()?.parse::<u64>().ok();
            self.sum.add(&Summary {
                trace: number()?,
                events: number()?,
                packets: number()?,
                moves: number()?,
                sealed: number()?,
                deaths: number()?,
                lost: number()?,
                adopted: number()?,
                records: number()?,
            });
        }
        self.done += 1;
        Some(seed)
    }
}

fn many(wanted: &Wanted) -> std::io::Result<bool> {
    let begun = Instant::now();
    let mut shown = begun;
    let mut tally = Tally::default();
    let end = wanted.first.saturating_add(wanted.seeds);
    let mut next = wanted.first;
    while next < end && (tally.failed.len() < SHOWN || !wanted.cells.is_empty()) {
        let share = SHARE.min(end - next);
        let mut child = Command::new(std::env::current_exe()?)
            .args(["--runs", "--first", &next.to_string()])
            .args(["--seeds", &share.to_string()])
            .args(wanted.words())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = child.stdout.take().into_iter();
        for line in stdout.flat_map(|out| BufReader::new(out).lines().map_while(Result::ok)) {
            next = tally.line(&line).map_or(next, |seed| seed + 1);
            if shown.elapsed() > Duration::from_secs(2) {
                shown = Instant::now();
                let (failed, seconds) = (tally.failed.len(), begun.elapsed().as_secs());
                let (done, seeds) = (tally.done, wanted.seeds);
                eprintln!("faults: {done} of {seeds} seeds, {failed} failed, {seconds} s");
            }
        }
        let status = child.wait()?;
        if !status.success() {
            let why = format!("the kernel has stopped itself ({status})");
            tally.failed.push((next, why));
            tally.done += 1;
            next += 1;
        }
    }
    report(wanted, &tally, begun.elapsed());
    Ok(tally.failed.is_empty() && tally.done == wanted.seeds)
}

fn report(wanted: &Wanted, tally: &Tally, took: Duration) {
    let Tally { done, sum, failed } = tally;
    let (first, seconds) = (wanted.first, took.as_secs_f64());
    let figures = [
        ("seeds", *done),
        ("first", first),
        ("failed", failed.len() as u64),
        ("moves", sum.moves),
        ("sealed", sum.sealed),
        ("deaths", sum.deaths),
        ("lost", sum.lost),
        ("adopted", sum.adopted),
        ("records", sum.records),
        ("events", sum.events),
        ("packets", sum.packets),
    ];
    if wanted.json {
        let failures = failed.iter().map(|(seed, why)| {
            serde_json::json!({ "seed": seed, "why": why, "repeat": wanted.repeat(*seed) })
        });
        let mut object = serde_json::Map::new();
        for (name, value) in figures {
            object.insert(name.to_owned(), value.into());
        }
        object.insert("seconds".to_owned(), seconds.into());
        object.insert("trace".to_owned(), format!("{:016x}", sum.trace).into());
        object.insert("failures".to_owned(), failures.collect());
        println!("{}", serde_json::Value::Object(object));
        return;
    }
    for (seed, why) in failed {
        println!("failed\t{seed}\t{why}\t{}", wanted.repeat(*seed));
    }
    let names = figures.map(|(name, _)| name).join("\t");
    let values = figures.map(|(_, value)| value.to_string()).join("\t");
    println!("{names}\tseconds\ttrace");
    println!("{values}\t{seconds:.1}\t{:016x}", sum.trace);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(line: &str) -> Option<Wanted> {
        wanted(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn a_failed_seed_is_repeated_as_it_was_run() {
        let wanted = asked("--seeds 5 --nodes 4 --canary SignalsTwice").expect("words");
        let repeat = "cargo xtask sim faults --seed 7 --nodes 4 --canary SignalsTwice";
        assert_eq!(wanted.repeat(7), repeat);
        let again = repeat.strip_prefix("cargo xtask sim faults ");
        let again = asked(again.unwrap_or_default()).expect("words");
        assert!(again.one);
        assert_eq!(again.plan(again.first), wanted.plan(7));
        assert!(asked("--nodes 1").is_none() && asked("--canary None").is_none());
        assert!(asked("--seeds").is_none() && asked("--seeds x").is_none());
    }

    #[test]
    fn lines_are_counted() {
        let mut tally = Tally::default();
        assert_eq!(tally.line("3\tok\t9\t1\t2\t3\t3\t4\t5\t7\t6"), Some(3));
        assert_eq!(tally.line("4\tfailed\twhy"), Some(4));
        assert_eq!(tally.line("noise"), None);
        assert_eq!((tally.done, tally.sum.records), (2, 6));
        assert_eq!(tally.failed, [(4, "why".to_owned())]);
    }
}
