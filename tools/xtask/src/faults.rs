//! `cargo xtask sim faults`: worlds of `tools/faults`, which is built for it.
//!
//! Law: the status is the simulator's.

use crate::error::Outcome;
use crate::options::{CellsOptions, FaultsOptions};
use crate::program;

/// Runs the worlds that `options` ask for.
pub(crate) fn faults(options: &FaultsOptions) -> Outcome {
    program::run_tool("faults", &words(options))
}

/// Runs the cells that `options` ask for.
pub(crate) fn cells(options: &CellsOptions) -> Outcome {
    let mut words = vec!["--cells".to_owned()];
    if let Some(cell) = &options.cell {
        words.extend(["--cell".to_owned(), cell.clone()]);
    }
    let (name, number) = match options.seed {
        Some(seed) => ("--seed", seed),
        None => ("--seeds", options.seeds),
    };
    words.extend([name.to_owned(), number.to_string()]);
    program::run_tool("faults", &words)
}

/// The same in the words of the simulator.
fn words(options: &FaultsOptions) -> Vec<String> {
    let many = options.seed.is_none();
    let numbers = [
        ("--seed", options.seed),
        ("--seeds", many.then_some(options.seeds)),
        ("--first", many.then_some(options.first)),
        ("--nodes", options.nodes.map(u64::from)),
    ];
    let mut words = program::numbered(numbers);
    if let Some(canary) = &options.canary {
        words.extend(["--canary".to_owned(), canary.clone()]);
    }
    if options.json {
        words.push("--json".to_owned());
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::{Command, Options, Sim};
    use clap::Parser;

    fn asked(line: &str) -> String {
        let options = Options::try_parse_from(
            ["xtask", "sim", "faults"]
                .into_iter()
                .chain(line.split_whitespace()),
        );
        match options.map(|options| options.command) {
            Ok(Command::Sim {
                what: Sim::Faults(options),
            }) => words(&options).join(" "),
            _ => "refused".to_owned(),
        }
    }

    #[test]
    fn the_simulator_is_asked_in_its_own_words() {
        assert_eq!(asked(""), "--seeds 100 --first 0");
        assert_eq!(
            asked("--seeds 5 --first 2 --json"),
            "--seeds 5 --first 2 --json"
        );
        assert_eq!(
            asked("--seed 7 --nodes 3 --canary SignalsTwice"),
            "--seed 7 --nodes 3 --canary SignalsTwice"
        );
        assert_eq!(asked("--seed 7 --seeds 3"), "refused");
        assert_eq!(asked("--nodes 1"), "refused");
    }
}
