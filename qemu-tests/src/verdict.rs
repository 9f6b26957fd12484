//! Reads verdicts from a console.
//!
//! Law: what is counted is named beforehand. A name that reports twice, reports nothing or was not
//! expected is a failure, as is any ending but a power-off with status 0.

use crate::lab::{Ended, Outcome};
use std::collections::BTreeMap;

/// What was found: names that passed, and one sentence for each failure.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Names that passed.
    pub passed: Vec<String>,
    /// What went wrong.
    pub failures: Vec<String>,
}

impl Verdict {
    /// Counts one check under `name`.
    pub fn check(&mut self, name: &str, result: Result<(), String>) {
        match result {
            Ok(()) => self.passed.push(name.to_owned()),
            Err(why) => self.failures.push(format!("{name}: {why}")),
        }
    }
}

/// A failure for every ending but status 0 and for every node that died on the way.
pub fn ended_well(outcome: &Outcome) -> Vec<String> {
    let mut failures = Vec::new();
    match &outcome.ended {
        Ended::Status(0) | Ended::Over => {}
        Ended::Status(status) => failures.push(format!("node 1 ended with status {status}")),
        Ended::Crashed(why) => failures.push(format!("node 1 crashed: {why}")),
        Ended::TimedOut => failures.push("the watchdog ended the cluster".to_owned()),
        Ended::Quit => failures.push("ended by the user".to_owned()),
    }
    failures.extend(
        outcome
            .died
            .iter()
            .map(|death| format!("{death} while the test ran")),
    );
    failures
}

/// Reads `PASS name` and `FAIL name: why` lines and holds them against the names expected.
pub fn counted(outcome: &Outcome, expected: &[String]) -> Verdict {
    let mut verdict = Verdict {
        passed: Vec::new(),
        failures: ended_well(outcome),
    };
    let mut passes: BTreeMap<&str, usize> =
        expected.iter().map(|name| (name.as_str(), 0)).collect();
    let mut failed = Vec::new();
    for line in outcome.lines() {
        if let Some(name) = line.strip_prefix("PASS ") {
            match passes.get_mut(name.trim()) {
                Some(count) => *count += 1,
                None => verdict
                    .failures
                    .push(format!("`{name}` passed and was not expected")),
            }
        } else if let Some(rest) = line.strip_prefix("FAIL ") {
            failed.push(rest.split(':').next().unwrap_or(rest).trim());
            verdict.failures.push(rest.to_owned());
        }
    }
    for (name, count) in passes {
        match count {
            1 => verdict.passed.push(name.to_owned()),
            0 if failed.contains(&name) => {}
            0 => verdict.failures.push(format!("{name}: reported nothing")),
            _ => verdict
                .failures
                .push(format!("{name}: passed {count} times")),
        }
    }
    verdict
}

/// The lines between `begin` and `end`, markers that a script echoes around a program's output.
pub fn between<'a>(outcome: &'a Outcome, begin: &str, end: &str) -> Option<Vec<&'a str>> {
    let mut lines = outcome
        .lines()
        .skip_while(|line| *line != begin)
        .skip(1)
        .peekable();
    lines.peek()?;
    let mut found = Vec::new();
    for line in lines {
        if line == end {
            return Some(found);
        }
        found.push(line);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(ended: Ended, console: &str) -> Outcome {
        Outcome {
            ended,
            console: console.to_owned(),
            died: Vec::new(),
            logs: Vec::new(),
        }
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn all_expected_names_must_pass_once() {
        let good = outcome(Ended::Status(0), "[ 0.1] boot\nPASS a\nnoise\nPASS b\n");
        let verdict = counted(&good, &names(&["a", "b"]));
        assert_eq!(
            verdict,
            Verdict {
                passed: names(&["a", "b"]),
                failures: Vec::new()
            }
        );
    }

    #[test]
    fn silence_is_a_failure() {
        let verdict = counted(&outcome(Ended::Status(0), "PASS a\n"), &names(&["a", "b"]));
        assert_eq!(verdict.failures, ["b: reported nothing"]);
    }

    #[test]
    fn doubled_unexpected_and_failed_are_failures() {
        let console = "PASS a\nPASS a\nPASS c\nFAIL b: wrong byte at 7\n";
        let verdict = counted(&outcome(Ended::Status(0), console), &names(&["a", "b"]));
        assert_eq!(
            verdict.failures,
            [
                "`c` passed and was not expected",
                "b: wrong byte at 7",
                "a: passed 2 times"
            ]
        );
        assert!(verdict.passed.is_empty());
    }

    #[test]
    fn a_bad_ending_fails_even_when_all_lines_came() {
        for ended in [
            Ended::Status(3),
            Ended::TimedOut,
            Ended::Crashed("reset".into()),
        ] {
            let verdict = counted(&outcome(ended, "PASS a\n"), &names(&["a"]));
            assert_eq!(verdict.failures.len(), 1);
        }
    }

    #[test]
    fn output_between_markers_is_found_whole_or_not_at_all() {
        let text = "x\n<<<\none\n[ 1.5] log\ntwo\n>>>\ny\n";
        let whole = outcome(Ended::Status(0), text);
        assert_eq!(between(&whole, "<<<", ">>>"), Some(vec!["one", "two"]));
        assert_eq!(between(&whole, "<<<", "never"), None);
        assert_eq!(between(&whole, "never", ">>>"), None);
    }
}
