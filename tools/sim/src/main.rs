//! `sim`: runs seeds until one fails.
//!
//! Law: a seed that fails prints the command that repeats it, and the status is 1.

use sim::{Canary, Plan, figures, run};
use std::process::ExitCode;

const USAGE: &str = "usage: sim [--seeds N] [--first-seed S] [--nodes K] [--canary duplicates|order|boot] | --figures\n\
    Runs N seeds (default 1000) of K nodes (default: 2 to 6, as the seed chooses).\n\
    --canary  switches a known bug on, which must be found\n\
    --figures prints throughput on simulated links instead";

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
