//! Test suites of programs that others wrote, held against what they give on the host's Linux.
//!
//! Law: of the tests that pass on the host 95 % must pass in each way of being run, and what fails is in
//! the list of known failures, with a reason. A listed test that passes has to leave the list.

use crate::lab::{Lab, LabError, Outcome, Spec};
use crate::scenario::Scenario;
use crate::verdict::{Verdict, ended_well};
use std::collections::BTreeSet;

/// The runner, for the host and for a node.
const BUSYBOX: &str = include_str!("../suites/busybox.sh");
/// Names of tests, each behind a line that begins with `#` and says why it fails.
const KNOWN: &str = include_str!("../suites/busybox-failures.txt");
/// Seconds for one unit on the host.
const HOST_LIMIT_S: u32 = 120;
/// Seconds for one unit on a node, whose processor is emulated: two of bc's tests write some ten million times
/// a few bytes to a pipe, which is 20 s of a real processor.
const LIMIT_S: u32 = 3600;
/// Of a hundred tests that pass on the host so many must pass.
const PERCENT: usize = 95;

/// What is run in the test command: units of every kind that take no time.
pub(crate) const SHORT: [&str; 9] = [
    "new/cut",
    "new/head",
    "new/uniq",
    "new/paste",
    "old/cp/*",
    "old/mv/*",
    "ash/ash-psubst/*",
    "ash/ash-heredoc/heredoc[1-6]",
    "ash/ash-redir/*",
];

/// How the suite is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// On its home node.
    Home,
    /// On another.
    Away,
    /// Moved every 50 ms between three nodes at random.
    Moved,
}

impl Way {
    /// On how many nodes a command runs this way, and what is in front of it.
    pub(crate) fn mover(self) -> (usize, &'static str) {
        match self {
            Way::Home => (1, ""),
            Way::Away => (2, "trials herd 0 2"),
            Way::Moved => (3, "trials herd 50 '1 2 3'"),
        }
    }

    /// The same with the command.
    pub(crate) fn command(self, run: &str) -> (usize, String) {
        let (nodes, mover) = self.mover();
        (nodes, format!("{mover} {run}").trim_start().to_owned())
    }

    /// A run on the move in which hardly anything was moved shows nothing: its mover must have counted as
    /// many moves as there are units.
    pub(crate) fn check_moves(self, verdict: &mut Verdict, outcome: &Outcome, units: usize) {
        if self != Way::Moved {
            return;
        }
        let count = |line: &str| -> Option<usize> {
            let told = line.strip_prefix("herd: ")?.strip_suffix(" moves")?;
            told.parse().ok()
        };
        let moves: usize = outcome.lines().filter_map(count).sum();
        let enough = if moves >= units {
            Ok(())
        } else {
            Err(format!("{units} units were moved {moves} times together"))
        };
        verdict.check("moves", enough);
    }
}

/// busybox's own suite: applets and shell.
pub(crate) fn busybox(
    name: &'static str,
    lab: &dyn Lab,
    way: Way,
    patterns: &'static [&'static str],
) -> Result<Scenario, LabError> {
    let on_host = passed(&lab.busybox_suite_on_host(BUSYBOX, HOST_LIMIT_S, patterns)?);
    let quoted: Vec<String> = patterns.iter().map(|one| format!("'{one}'")).collect();
    let run = format!(
        "/bin/busybox ash /suite/run.sh /suite {LIMIT_S} {}",
        quoted.join(" ")
    );
    let (nodes, command) = way.command(&run);
    let mut spec = Spec::new(name, nodes)
        .script(format!("{command}\necho suite ended\n"))
        .add(lab.busybox_suite()?, "/suite")
        .add("/bin/busybox", "/bin/sh")
        .text("/suite/run.sh", BUSYBOX)
        .timeout_s(60 + 10 * on_host.len() as u64);
    spec.memory_mib = 512;
    Ok(Scenario::new(spec, move |outcome| {
        let mut verdict = Verdict {
            passed: Vec::new(),
            failures: ended_well(outcome),
        };
        let here = passed(&outcome.lines().collect::<Vec<_>>().join("\n"));
        judge(&mut verdict, &on_host, &here);
        // Most of its tests are over before they could be moved.
        way.check_moves(&mut verdict, outcome, on_host.len() / 10);
        verdict
    }))
}

/// The names behind `PASS`.
pub(crate) fn passed(text: &str) -> BTreeSet<String> {
    let names = text.lines().filter_map(|line| line.strip_prefix("PASS "));
    names.map(|name| name.trim_end().to_owned()).collect()
}

fn judge(verdict: &mut Verdict, on_host: &BTreeSet<String>, here: &BTreeSet<String>) {
    let known: BTreeSet<&str> = KNOWN
        .lines()
        .filter(|line| !line.starts_with('#'))
        .collect();
    let count = on_host.intersection(here).count();
    let rate = if count > 0 && count * 100 >= on_host.len() * PERCENT {
        Ok(())
    } else {
        Err(format!("{count} of {} pass", on_host.len()))
    };
    verdict.check("rate", rate);
    for name in on_host {
        let listed = known.contains(name.as_str());
        match (here.contains(name), listed) {
            (true, false) => verdict.passed.push(name.clone()),
            (false, true) => {}
            (false, false) => verdict.failures.push(name.clone()),
            (true, true) => verdict
                .failures
                .push(format!("{name}: passes, and is listed as a known failure")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn results_are_read_and_what_the_host_cannot_is_not_asked_for() {
        let text = "noise\nPASS new/cut: a\nFAIL new/cut: b\nPASS ash/x/y: it\r\n";
        assert_eq!(passed(text), names(&["new/cut: a", "ash/x/y: it"]));
        let mut verdict = Verdict::default();
        judge(&mut verdict, &names(&["a"]), &names(&["a", "b"]));
        assert_eq!(verdict.passed, ["rate", "a"]);
        let mut verdict = Verdict::default();
        judge(&mut verdict, &names(&["a", "b"]), &names(&["a"]));
        assert_eq!(verdict.failures, ["rate: 1 of 2 pass", "b"]);
    }

    #[test]
    fn every_known_failure_has_a_reason() {
        let mut reason = false;
        for line in KNOWN.lines() {
            assert!(line.starts_with('#') || reason, "{line}");
            reason = true;
        }
    }
}
