//! CRIU's own tests (zdtm): what it demands of a checkpoint is demanded of a move.
//!
//! Law: every test is run or is in the list of those left out, with a reason. A test that was moved passes if
//! it finds everything as it was before. What fails, or passes with a process left where it was, is in the
//! list of known failures, with a reason; a listed test that does better has to leave the list.

use crate::lab::{Lab, LabError, Outcome, Spec, Zdtm};
use crate::scenario::Scenario;
use crate::suites::Way;
use crate::verdict::{Verdict, ended_well};
use std::collections::{BTreeMap, BTreeSet};

/// The runner.
const RUNNER: &str = include_str!("../suites/zdtm.sh");
/// Names of tests that are not run, behind a line that begins with `#` and says why.
const LEFT_OUT: &str = include_str!("../suites/zdtm-left-out.txt");
/// `fails NAME`, `stays NAME` (when it is to be moved) or `away NAME` (only there), in the same form.
const KNOWN: &str = include_str!("../suites/zdtm-failures.txt");
/// Seconds for one test.
const LIMIT_S: u64 = 60;

/// What is run in the test command: of every kind something.
pub(crate) const SHORT: [&str; 16] = [
    "cwd00",
    "env00",
    "epoll",
    "eventfs00",
    "fpu00",
    "futex",
    "maps02",
    "pidfd_self",
    "posix_timers",
    "pthread01",
    "pty00",
    "rlimits00",
    "sigaltstack",
    "sigpending",
    "timerfd",
    "unlink_mmap00",
];

/// The names in a list, each behind a reason.
fn names(list: &str) -> impl Iterator<Item = &str> {
    list.lines().filter(|line| !line.starts_with('#'))
}

/// The scenario: all tests that are not left out, or the short part.
///
/// # Errors
/// When the tests cannot be had.
pub(crate) fn zdtm(
    name: &'static str,
    lab: &dyn Lab,
    way: Way,
    wanted: Option<&'static [&'static str]>,
) -> Result<Scenario, LabError> {
    let left_out: BTreeSet<&str> = names(LEFT_OUT).flat_map(str::split_whitespace).collect();
    let tests = lab.zdtm(&|name| {
        !left_out.contains(name) && wanted.is_none_or(|wanted| wanted.contains(&name))
    })?;
    let (nodes, word) = match way {
        Way::Home => (1, "home"),
        Way::Away => (2, "away"),
        Way::Moved => (3, "moved"),
    };
    let mut spec = Spec::new(name, nodes).text("/zdtm/run.sh", RUNNER);
    spec.memory_mib = 1280;
    let mut script = String::new();
    for Zdtm {
        name,
        program,
        options,
    } in &tests
    {
        spec = spec.add(program, &format!("/zdtm/{name}"));
        script += &format!("busybox ash /zdtm/run.sh {word} {LIMIT_S} {name} {options}\n");
    }

    let spec = spec
        .script(script)
        .timeout_s(60 + LIMIT_S * tests.len() as u64);
    let expected: Vec<String> = tests.into_iter().map(|test| test.name).collect();
    Ok(Scenario::new(spec, move |outcome| {
        judge(outcome, way, &expected)
    }))
}

/// How a test ended, and what was said about it.
type Results<'a> = BTreeMap<&'a str, (&'a str, &'a str)>;

/// The lines `PASS NAME`, `FAIL NAME: why` and `STAY NAME: why`.
fn results(outcome: &Outcome) -> Results<'_> {
    let result = |line| {
        let (word, rest): (&str, &str) = str::split_once(line, ' ')?;
        let (name, why) = rest.split_once(':').unwrap_or((rest, ""));
        let known = matches!(word, "PASS" | "FAIL" | "STAY");
        known.then_some((name.trim(), (word, why.trim())))
    };
    outcome.lines().filter_map(result).collect()
}

fn judge(outcome: &Outcome, way: Way, expected: &[String]) -> Verdict {
    let known: BTreeSet<&str> = names(KNOWN).collect();
    let results = results(outcome);
    let mut verdict = Verdict {
        passed: Vec::new(),
        failures: ended_well(outcome),
    };
    for name in expected {
        let listed = |word: &str| known.contains(format!("{word} {name}").as_str());
        let fails = listed("fails") || (way == Way::Away && listed("away"));
        let stays = way == Way::Moved && listed("stays");
        let failure = match results.get(name.as_str()) {
            Some(("FAIL", _)) if fails => continue,
            Some(("STAY", _)) if stays => continue,
            Some(("PASS", _)) if fails || stays => "does better than the list of failures says",
            Some(("PASS", _)) => {
                verdict.passed.push(name.clone());
                continue;
            }
            Some((_, why)) => why,
            None => "said nothing",
        };
        verdict.failures.push(format!("{name}: {failure}"));
    }
    verdict
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::tests::PaperLab;

    #[test]
    fn what_is_run_and_not_listed_must_pass() {
        let lab = PaperLab::new("PASS umask00\nSTAY cwd00: 7: it shares memory\n");
        let scenario = zdtm("x", &lab, Way::Moved, None).expect("paper has it all");
        let verdict = scenario.run(&lab).verdict;
        assert_eq!(verdict.passed, ["umask00"]);
        assert_eq!(verdict.failures, ["cwd00: 7: it shares memory"]);
        let asked = lab.asked.borrow();
        let script = asked[0].script.as_deref().unwrap_or("");
        assert!(script.contains("run.sh moved 60 umask00"), "{script}");
        assert!(!script.contains("netns"), "{script}");
    }

    #[test]
    fn every_name_in_a_list_has_a_reason_and_is_there_once() {
        for list in [LEFT_OUT, KNOWN] {
            assert!(list.starts_with('#'));
            let all: Vec<&str> = names(list).collect();
            let once: BTreeSet<&str> = all.iter().copied().collect();
            assert_eq!(all.len(), once.len());
        }
        let words: Vec<&str> = names(LEFT_OUT).flat_map(str::split_whitespace).collect();
        let once: BTreeSet<&str> = words.iter().copied().collect();
        assert_eq!(words.len(), once.len());
        assert!(names(KNOWN).all(|line| {
            let word = line.split_once(' ').map(|parts| parts.0);
            matches!(word, Some("fails" | "stays" | "away"))
        }));
        assert!(SHORT.iter().all(|name| !once.contains(name)));
    }
}
