//! `cargo xtask model`: the hand-over explored by `tools/model`, which is built for it.
//!
//! Law: the status is the checker's.

use crate::error::Outcome;
use crate::options::ModelOptions;
use crate::program;

/// Explores what `options` ask for.
pub(crate) fn model(options: &ModelOptions) -> Outcome {
    program::run_tool("model", &words(options))
}

/// The same in the words of the checker.
fn words(options: &ModelOptions) -> Vec<String> {
    let first_seed = options.seeds.map(|_| options.first_seed);
    let numbers = [
        ("--states", options.states),
        ("--seconds", options.seconds),
        ("--threads", Some(options.threads.into())),
        ("--seeds", options.seeds),
        ("--first-seed", first_seed),
    ];
    let mut words = program::numbered(numbers);
    if options.mutants {
        words.push("--mutants".to_owned());
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::{Command, Options};
    use clap::Parser;

    fn asked(line: &str) -> String {
        let options = Options::try_parse_from(
            ["xtask", "model"]
                .into_iter()
                .chain(line.split_whitespace()),
        );
        match options.map(|options| options.command) {
            Ok(Command::Model(options)) => words(&options).join(" "),
            _ => "refused".to_owned(),
        }
    }

    #[test]
    fn the_checker_is_asked_in_its_own_words() {
        assert_eq!(asked(""), "--threads 1");
        assert_eq!(asked("--states 20 --threads 2"), "--states 20 --threads 2");
        assert_eq!(asked("--mutants"), "--threads 1 --mutants");
        assert_eq!(asked("--seeds 5"), "--threads 1 --seeds 5 --first-seed 0");
        assert_eq!(asked("--seconds 5 --states 5"), "refused");
        assert_eq!(asked("--first-seed 5"), "refused");
    }
}
