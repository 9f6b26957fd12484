//! `sim`: runs seeds until one fails.
//!
//! Law: a seed that fails prints the command that repeats it, and the status is 1.

use sim::{Canary, Plan, figures, gossip, run};
use std::process::ExitCode;

const USAGE: &str = "usage: sim [--seeds N] [--first-seed S] [--nodes K] [--canary duplicates|order|boot] | --figures | --gossip short|long | --gossip-hours N\n\
    Runs N seeds (default 1000) of K nodes (default: 2 to 6, as the seed chooses).\n\
    --canary  switches a known bug on, which must be found\n\
    --figures prints throughput on simulated links instead,\n\
    --gossip  what gossip costs and how fast it is, in seconds or in an hour,\n\
    --gossip-hours how often the living are taken for dead in so many node-hours";

fn main() -> ExitCode {
    let mut seeds = 1000u64;
    let mut first = 0u64;
    let mut plan = Plan {
        seed: 0,
        nodes: 0,
        canary: None,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        if argument == "--figures" {
            print!("{}", figures::table());
            return ExitCode::SUCCESS;
        }
        let value = arguments.next();
        let number = value.as_deref().and_then(|value| value.parse::<u64>().ok());
        match (argument.as_str(), number, value.as_deref()) {
            ("--seeds", Some(n), _) => seeds = n,
            ("--first-seed", Some(n), _) => first = n,
            ("--gossip", _, Some("short")) => return gossip_table(gossip::SHORT),
            ("--gossip", _, Some("long")) => return gossip_table(gossip::LONG),
            ("--gossip-hours", Some(hours), _) => return gossip_hours(hours, first),
            ("--nodes", Some(n @ 2..=1000), _) => plan.nodes = n as usize,
            ("--canary", _, Some("duplicates")) => plan.canary = Some(Canary::DeliverDuplicates),
            ("--canary", _, Some("order")) => plan.canary = Some(Canary::ForgetOrder),
            ("--canary", _, Some("boot")) => plan.canary = Some(Canary::BelieveAnyBoot),
            _ => {
                eprintln!("{USAGE}");
                return ExitCode::from(2);
            }
        }
    }
    let (mut delivered, mut frames, mut reboots) = (0, 0, 0);
    for seed in first..first.saturating_add(seeds) {
        match run(Plan { seed, ..plan }) {
            Ok(summary) => {
                delivered += summary.delivered;
                frames += summary.frames;
                reboots += summary.reboots;
            }
            Err(failure) => {
                println!("seed {seed} failed {failure}");
                let canary = match plan.canary {
                    None => "",
                    Some(Canary::DeliverDuplicates) => " --canary duplicates",
                    Some(Canary::ForgetOrder) => " --canary order",
                    Some(Canary::BelieveAnyBoot) => " --canary boot",
                };
                let nodes = match plan.nodes {
                    0 => String::new(),
                    nodes => format!(" --nodes {nodes}"),
                };
                println!(
                    "repeat: cargo run --release -p sim -- --seeds 1 --first-seed {seed}{nodes}{canary}"
                );
                return ExitCode::FAILURE;
            }
        }
    }
    println!(
        "{seeds} seeds from {first}: ok; {delivered} items delivered, {frames} frames, {reboots} reboots"
    );
    ExitCode::SUCCESS
}

fn gossip_table(effort: gossip::Effort) -> ExitCode {
    let (table, missed) = gossip::table(effort);
    print!("{table}");
    missed.iter().for_each(|goal| println!("missed: {goal}"));
    match missed.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// A thousand hours at a time, so that something is seen meanwhile.
fn gossip_hours(hours: u64, first_seed: u64) -> ExitCode {
    let (mut done, mut seed, mut died) = (0, first_seed, 0);
    while done < hours {
        let errors = gossip::errors(50, 1000.min(hours - done), seed);
        done += errors.node_hours.max(1);
        died += errors.died;
        seed += 1;
        println!("{done} node-hours to seed {seed}: {died} taken for dead; last: {errors:?}");
    }
    match died {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}
