//! A scenario that must be run.

use crate::conductor::Conductor;
use crate::lab::{Key, Lab, LabError, Net, Outcome, Spec};
use crate::verdict::Verdict;
use std::path::PathBuf;

/// Stands in a script for the seed that the scenario is run with.
pub const SEED: &str = "@SEED@";

type Play = Box<dyn FnOnce(&dyn Lab, &Spec) -> Result<(Outcome, Verdict), LabError>>;

/// A cluster to boot and the judge of what it leaves, or who leads it all the way. Panics when dropped without [`Scenario::run`],
/// so that a test that was written and forgotten shows.
#[must_use = "a scenario does nothing until it is run"]
pub struct Scenario {
    spec: Spec,
    play: Option<Play>,
}

/// What became of one scenario.
#[derive(Debug)]
pub struct Report {
    /// The name of the scenario.
    pub name: String,
    /// What was counted.
    pub verdict: Verdict,
    /// Logs of all nodes, when it came to booting.
    pub logs: Vec<PathBuf>,
    /// The seed that repeats it.
    pub seed: u64,
    /// How many processors each node had.
    pub smp: u32,
    /// The network card its nodes had.
    pub net: Net,
    /// The MTUs of their links.
    pub mtus: Vec<u16>,
    /// Whether its nodes had a key.
    pub sealed: bool,
}

impl Scenario {
    /// Boots `spec` and lets `judge` look at the outcome.
    pub fn new(spec: Spec, judge: impl FnOnce(&Outcome) -> Verdict + 'static) -> Scenario {
        let play = move |lab: &dyn Lab, spec: &Spec| {
            let outcome = lab.boot(spec)?;
            let verdict = judge(&outcome);
            Ok((outcome, verdict))
        };
        Scenario {
            spec,
            play: Some(Box::new(play)),
        }
    }

    /// Boots `spec` and lets a conductor, who is made for it, lead it to its end and judge.
    pub fn conducted<C: Conductor>(
        spec: Spec,
        conductor: impl FnOnce(&Spec) -> C + 'static,
    ) -> Scenario {
        let play = move |lab: &dyn Lab, spec: &Spec| {
            let mut conductor = conductor(spec);
            let outcome = lab.conduct(spec, &mut conductor)?;
            let verdict = conductor.verdict(&outcome);
            Ok((outcome, verdict))
        };
        Scenario {
            spec,
            play: Some(Box::new(play)),
        }
    }

    /// The cluster, to be changed before it is run (a seed given on the command line).
    pub fn spec_mut(&mut self) -> &mut Spec {
        &mut self.spec
    }

    /// Boots it and judges.
    pub fn run(mut self, lab: &dyn Lab) -> Report {
        let seed = self.spec.seed.to_string();
        if let Some(script) = &mut self.spec.script {
            *script = script.replace(SEED, &seed);
        }
        let played = self.play.take().map(|play| play(lab, &self.spec));
        let (verdict, logs) = match played {
            Some(Ok((outcome, mut verdict))) => {
                if verdict.passed.is_empty() && verdict.failures.is_empty() {
                    verdict.failures.push("nothing was counted".to_owned());
                }
                (verdict, outcome.logs)
            }
            Some(Err(error)) => (failed(format!("could not be booted: {error}")), Vec::new()),
            None => (failed("it had been run before".to_owned()), Vec::new()),
        };
        Report {
            name: self.spec.name.clone(),
            verdict,
            logs,
            seed: self.spec.seed,
            smp: self.spec.smp,
            net: self.spec.net,
            mtus: self.spec.mtus.clone(),
            sealed: self.spec.key != Key::None,
        }
    }
}

fn failed(why: String) -> Verdict {
    Verdict {
        passed: Vec::new(),
        failures: vec![why],
    }
}

impl Drop for Scenario {
    fn drop(&mut self) {
        if self.play.is_some() && !std::thread::panicking() {
            panic!("the scenario `{}` was never run", self.spec.name);
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::lab::{Ended, Set, Zdtm};
    use crate::verdict::counted;
    use std::cell::RefCell;

    /// Answers every boot with one console text and remembers what was asked.
    pub(crate) struct PaperLab {
        pub(crate) console: String,
        pub(crate) asked: RefCell<Vec<Spec>>,
    }

    impl PaperLab {
        pub(crate) fn new(console: &str) -> PaperLab {
            PaperLab {
                console: console.to_owned(),
                asked: RefCell::default(),
            }
        }
    }

    impl Lab for PaperLab {
        fn boot(&self, spec: &Spec) -> Result<Outcome, LabError> {
            self.asked.borrow_mut().push(spec.clone());
            let console = self.console.clone();
            Ok(Outcome {
                ended: Ended::Status(0),
                console,
                died: Vec::new(),
                logs: Vec::new(),
            })
        }

        fn conduct(&self, spec: &Spec, conductor: &mut dyn Conductor) -> Result<Outcome, LabError> {
            let outcome = self.boot(spec)?;
            let lines = self.console.lines();
            lines.for_each(|line| conductor.line(std::time::Duration::ZERO, 1, line));
            Ok(outcome)
        }

        fn probes(&self) -> Result<Vec<String>, LabError> {
            Ok(vec!["memory".into(), "stack".into()])
        }

        fn probe_on_host(&self, _: &[&str]) -> Result<String, LabError> {
            Ok("sum 1\n".into())
        }

        fn trials_on_host(&self, _: &[&str]) -> Result<String, LabError> {
            Ok("0 811c9dc5\n".into())
        }

        fn busybox_suite(&self) -> Result<PathBuf, LabError> {
            Ok("/nowhere".into())
        }

        fn busybox_suite_on_host(&self, _: &str, _: u32, _: &[&str]) -> Result<String, LabError> {
            Ok("PASS new/cut: it\n".into())
        }

        fn programs(&self, _: Set) -> Result<PathBuf, LabError> {
            Ok("/nowhere".into())
        }

        fn programs_on_host(&self, _: Set, _: &str) -> Result<String, LabError> {
            Ok("hash\n".into())
        }

        fn zdtm(&self, wanted: &dyn Fn(&str) -> bool) -> Result<Vec<Zdtm>, LabError> {
            let all = ["umask00", "cwd00", "netns"].into_iter();
            Ok(all
                .filter(|name| wanted(name))
                .map(|name| Zdtm {
                    name: name.to_owned(),
                    program: "/nowhere".into(),
                    options: String::new(),
                })
                .collect())
        }

        fn busybox_on_host(&self, _: &[&str]) -> Result<String, LabError> {
            Ok("0123  file\n".into())
        }

        fn large_file(&self, _: u64) -> Result<PathBuf, LabError> {
            Ok("/usr/bin/large".into())
        }
    }

    #[test]
    fn a_scenario_that_ran_reports() {
        let scenario = Scenario::new(Spec::new("x", 1), |outcome| counted(outcome, &["a".into()]));
        let report = scenario.run(&PaperLab::new("PASS a\n"));
        assert_eq!(report.verdict.passed, ["a"]);
        assert!(report.verdict.failures.is_empty());
    }

    #[test]
    fn counting_nothing_is_a_failure() {
        let scenario = Scenario::new(Spec::new("x", 1), |_| Verdict::default());
        let report = scenario.run(&PaperLab::new(""));
        assert_eq!(report.verdict.failures, ["nothing was counted"]);
    }

    #[test]
    #[should_panic(expected = "never run")]
    fn a_scenario_that_is_forgotten_panics() {
        let _scenario = Scenario::new(Spec::new("x", 1), |_| Verdict::default());
    }
}
