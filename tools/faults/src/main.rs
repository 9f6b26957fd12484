//! `faults`: worlds of many seeds, or one with all that happens in it.
//!
//! Law: what a seed has shown is a line between tabs; a seed that fails comes with the command that repeats
//! it, and the status is 1. Worlds run in processes of their own, some hundred in each: a kernel that stops
//! itself is a failed seed like any other, and what a world cannot give back goes with its process.

use faults::{Canary, Event, Plan, Summary, run};
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

const USAGE: &str = "usage: faults [--seeds N] [--first S] [--nodes K] [--canary NAME] [--json] | --seed S [--nodes K] [--canary NAME]\n\
    --seeds N    so many worlds (100)\n\
    --first S    from this seed on (0)\n\
    --seed S     this world alone, with a line for each event\n\
    --nodes K    nodes of each world, 2 to 16 (3 to 7, as the seed chooses)\n\
    --canary B   switches a known bug on, which is to be found\n\
    --json       prints figures as JSON";

/// Worlds that a process runs before another takes over: each leaves its programs behind.
const SHARE: u64 = 200;
/// Failed seeds that are shown; behind them nothing more is run.
const SHOWN: usize = 20;

#[derive(Clone, Default)]
struct Wanted {
    first: u64,
    seeds: u64,
    one: bool,
    nodes: u16,
    canary: Option<Canary>,
    json: bool,
    /// This process is one of those that run worlds.
    runs: bool,
}

fn wanted(mut words: impl Iterator<Item = String>) -> Option<Wanted> {
    let mut wanted = Wanted {
        seeds: 100,
        ..Wanted::default()
    };
    while let Some(word) = words.next() {
        match word.as_str() {
            "--json" => wanted.json = true,
            "--runs" => wanted.runs = true,
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
                    "--seed" => (wanted.first, wanted.one) = (number, true),
                    "--nodes" if (2..=16).contains(&number) => wanted.nodes = number as u16,
                    _ => return None,
                }
            }
        }
    }
    Some(wanted)
}

impl Wanted {
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
        if self.nodes > 0 {
            words.extend(["--nodes".to_owned(), self.nodes.to_string()]);
        }
        if let Some(canary) = self.canary {
            words.extend(["--canary".to_owned(), format!("{canary:?}")]);
        }
        words
    }

    fn repeat(&self, seed: u64) -> String {
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
    let result = run(wanted.plan(wanted.first), &mut |event| {
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
        match run(wanted.plan(seed), &mut |_| {}) {
            Ok(sum) => println!(
                "{seed}\tok\t{}\t{}\t{}\t{}\t{}\t{}\t{}",
                sum.trace, sum.events, sum.packets, sum.moves, sum.deaths, sum.lost, sum.records
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
                deaths: number()?,
                lost: number()?,
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
    while next < end && tally.failed.len() < SHOWN {
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
        ("deaths", sum.deaths),
        ("lost", sum.lost),
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
        assert_eq!(tally.line("3\tok\t9\t1\t2\t3\t4\t5\t6"), Some(3));
        assert_eq!(tally.line("4\tfailed\twhy"), Some(4));
        assert_eq!(tally.line("noise"), None);
        assert_eq!((tally.done, tally.sum.records), (2, 6));
        assert_eq!(tally.failed, [(4, "why".to_owned())]);
    }
}
