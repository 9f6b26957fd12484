//! `fuzz`: executes seeds of all targets until a law breaks.
//!
//! Law: a seed that fails is printed with the command that repeats it, also when it panics.

use fuzz::{Sights, TARGETS, execute};
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::Instant;

const USAGE: &str = "usage: fuzz [--executions N] [--first-seed S] [--target NAME]\n\
    N executions of each target (10000); targets: header, message, gossip, info, source, target, home, journal, stack";

/// What is being executed, for the message of a panic.
static CURRENT: Mutex<(&str, u64)> = Mutex::new(("", 0));

fn repeat(name: &str, seed: u64) -> String {
    format!(
        "repeat: cargo run --release -p fuzz -- --executions 1 --first-seed {seed} --target {name}"
    )
}

fn main() -> ExitCode {
    let (mut executions, mut first, mut only) = (10_000u64, 0u64, None);
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let value = words.next().unwrap_or_default();
        match (word.as_str(), value.parse::<u64>()) {
            ("--executions", Ok(number)) => executions = number,
            ("--first-seed", Ok(number)) => first = number,
            ("--target", _) if TARGETS.iter().any(|target| target.name == value) => {
                only = Some(value);
            }
            _ => {
                eprintln!("{USAGE}");
                return ExitCode::from(2);
            }
        }
    }
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if let Ok(current) = CURRENT.try_lock() {
            eprintln!("{}", repeat(current.0, current.1));
        }
        usual(panic);
    }));
    for target in TARGETS {
        if only.as_ref().is_some_and(|only| only != target.name) {
            continue;
        }
        let begun = Instant::now();
        let mut sights = Sights::new();
        for seed in first..first.saturating_add(executions) {
            if let Ok(mut current) = CURRENT.lock() {
                *current = (target.name, seed);
            }
            if let Err(law) = execute(&target, seed, &mut sights) {
                println!(
                    "{}: broken: {law}\n{}",
                    target.name,
                    repeat(target.name, seed)
                );
                return ExitCode::FAILURE;
            }
        }
        let seconds = begun.elapsed().as_secs_f32();
        let seen: Vec<String> = sights
            .iter()
            .map(|(what, n)| format!("{what} {n}"))
            .collect();
        println!(
            "{:>8}: {executions} executions, {seconds:.1} s: {}",
            target.name,
            seen.join(", ")
        );
    }
    ExitCode::SUCCESS
}
