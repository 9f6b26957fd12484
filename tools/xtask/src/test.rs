//! `cargo xtask test`: everything that can be checked, one verdict.
//!
//! Law: every check is counted, the last line is `tests: N passed, M failed`, and the status is 0 only
//! when M is 0 and N is not. What could not be had from here is said too: `, K skipped` at the end of that line.
//! What failed is said again above it: of a long log often nothing but the end is kept.

use crate::cluster::logs_shown;
use crate::compile::Kernel;
use crate::error::{Error, Outcome};
use crate::lab::QemuLab;
use crate::options::{Hardware, TestOptions};
use crate::{places, program, programs, record, say, setup, tidy, tshark};
use qemu_tests::{Key, LabError, MTU, Net, Report, Set, Suite};
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::Instant;

/// The test of the dissector for Wireshark.
const DISSECTOR: &str = "dissector";
/// Crates that exist only for the bare machine.
const BARE: [&str; 2] = ["image", "drivers"];

/// What was counted so far.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Count {
    passed: usize,
    failed: usize,
    /// Scenarios whose subject could not be fetched.
    skipped: usize,
    /// What failed, by name, with the reason where it is short.
    failures: Vec<String>,
}

impl Count {
    fn add(&mut self, other: Count) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
        self.failures.extend(other.failures);
    }

    /// What failed, a line each, and the last line.
    fn lines(&self) -> String {
        let failures: String = self
            .failures
            .iter()
            .map(|one| format!("failed: {one}\n"))
            .collect();
        let (passed, failed) = (self.passed, self.failed);
        match self.skipped {
            0 => format!("{failures}tests: {passed} passed, {failed} failed"),
            skipped => {
                format!("{failures}tests: {passed} passed, {failed} failed, {skipped} skipped")
            }
        }
    }

    /// Counts one check and says so when it failed.
    fn check(&mut self, name: &str, result: Result<(), String>) {
        match result {
            Ok(()) => {
                self.passed += 1;
                println!("{name}: ok");
            }
            Err(why) => {
                self.failed += 1;
                println!("{name}: FAILED: {why}");
                self.failures.push(format!("{name}: {why}"));
            }
        }
    }
}

/// Runs what `options` ask for.
pub(crate) fn test(options: &TestOptions, kernel: &Kernel) -> Outcome {
    if options.list {
        let cases = qemu_tests::all().into_iter().chain(qemu_tests::long());
        cases.for_each(|case| println!("{}", case.name));
        return Ok(0);
    }
    let filter = options.filter.as_deref();
    let on_host = || on_host(filter);
    let mut count = Count::default();
    match (!options.qemu && !options.long, !options.host) {
        // The kernel's largest crates keep one processor busy for minutes, and the tests of the host not always the other.
        (true, true) if filter.is_none() => {
            let (lab, counted) = std::thread::scope(|scope| {
                let lab = scope.spawn(|| {
                    let lab = QemuLab::prepare(kernel)?;
                    // Scenarios would wait for these with one processor. What goes wrong is told to who asks for them then.
                    let _ = programs::folder(Set::Sqlite);
                    Ok::<_, Error>(lab)
                });
                let counted = on_host();
                (lab.join(), counted)
            });
            count.add(counted?);
            let lab = lab.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            count.add(qemu_tests(options, || Ok(lab))?);
        }
        (on_the_host, in_qemu) => {
            if on_the_host {
                count.add(on_host()?);
            }
            if in_qemu {
                count.add(qemu_tests(options, || QemuLab::prepare(kernel))?);
            }
        }
    }
    if let (true, Some(filter)) = (count == Count::default(), filter) {
        say::step(format!(
            "no test has `{filter}` in its name; `cargo xtask test --list` shows those in QEMU"
        ));
    }
    println!("{}", count.lines());
    Ok(if count.failed == 0 && count.passed > 0 {
        0
    } else {
        1
    })
}

/// What boots no nodes.
fn on_host(filter: Option<&str>) -> Result<Count, Error> {
    let mut count = Count::default();
    if filter.is_none() {
        count.add(checks());
    }
    count.add(host_tests(filter)?);
    if filter.is_none_or(|filter| DISSECTOR.contains(filter)) {
        count.add(dissector());
    }
    Ok(count)
}

/// Formatting, lints and the order of the workspace.
fn checks() -> Count {
    let mut count = Count::default();
    let cargo = |words: &[&str]| {
        let mut command = program::clean("cargo");
        command.args(words).current_dir(places::root());
        command
    };
    let mut run = |name: &str, command: &mut Command| {
        say::step(name);
        count.check(
            name,
            program::run(command, name).map_err(|error| error.to_string()),
        );
    };
    run("formatting", &mut cargo(&["fmt", "--all", "--check"]));
    let mut clippy = cargo(&["clippy", "--quiet", "--workspace", "--all-targets"]);
    run(
        "lints",
        without_bare(&mut clippy).args(["--", "--deny", "warnings"]),
    );
    for (name, result) in tidy::all(&places::root()) {
        count.check(name, result);
    }
    count
}

/// What tshark makes of a capture, by our dissector.
fn dissector() -> Count {
    let mut count = Count::default();
    say::step("dissector: asking tshark");
    match tshark::golden() {
        Ok(result) => count.check(DISSECTOR, result),
        Err(error @ Error::Unavailable { .. }) => {
            println!("{DISSECTOR}: SKIPPED: {error}");
            count.skipped += 1;
        }
        Err(error) => count.check(DISSECTOR, Err(error.to_string())),
    }
    count
}

fn without_bare(command: &mut Command) -> &mut Command {
    for package in BARE {
        command.args(["--exclude", package]);
    }
    command
}

/// `cargo test` for everything that runs on the host, shown as it comes and counted.
fn host_tests(filter: Option<&str>) -> Result<Count, Error> {
    say::step("host tests");
    let mut command = program::clean("cargo");
    command
        // All targets, which leaves out tests in documentation: there are none, and to look takes half a minute.
        .args(["test", "--workspace", "--all-targets", "--no-fail-fast"])
        .current_dir(places::root());
    without_bare(&mut command).args(filter);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().map_err(program::starting(&command))?;
    let mut count = Count::default();
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            count.add(result_line(&line));
            count.failures.extend(failed_test(&line));
            let _ = writeln!(std::io::stdout(), "{line}");
        }
    }
    let status = child.wait().map_err(program::starting(&command))?;
    if !status.success() && count.failed == 0 {
        count.check("host tests", Err(format!("cargo test ended with {status}")));
    }
    Ok(count)
}

/// The name in libtest's line `test NAME ... FAILED`.
fn failed_test(line: &str) -> Option<String> {
    let name = line.strip_prefix("test ")?.strip_suffix(" ... FAILED")?;
    Some(name.to_owned())
}

/// The counts of libtest's line `test result: ok. 3 passed; 0 failed; ...`.
fn result_line(line: &str) -> Count {
    let Some(rest) = line.strip_prefix("test result: ") else {
        return Count::default();
    };
    let number = |what: &str| {
        let words: Vec<&str> = rest.split([' ', ';']).collect();
        let at = words.iter().position(|word| *word == what)?;
        words.get(at.checked_sub(1)?)?.parse().ok()
    };
    let (passed, failed) = (number("passed"), number("failed"));
    Count {
        passed: passed.unwrap_or(0),
        failed: failed.unwrap_or(0),
        ..Count::default()
    }
}

/// The scenarios whose name contains the filter.
fn qemu_tests(
    options: &TestOptions,
    prepare: impl FnOnce() -> Result<QemuLab, Error>,
) -> Result<Count, Error> {
    let wanted = |name: &str| {
        options
            .filter
            .as_deref()
            .is_none_or(|filter| name.contains(filter))
    };
    let cases = if options.long {
        qemu_tests::long()
    } else {
        qemu_tests::all()
    };
    let cases: Vec<_> = cases.into_iter().filter(|case| wanted(case.name)).collect();
    let mut count = Count::default();
    if cases.is_empty() {
        return Ok(count);
    }
    setup::busybox()?;
    let lab = prepare()?;
    for case in cases {
        say::step(format!("{}: running", case.name));
        let start = Instant::now();
        match case.scenario(&lab) {
            Ok(mut scenario) => {
                let spec = scenario.spec_mut();
                spec.seed = options.seed;
                let smp = options.smp.unwrap_or_else(|| case.processors());
                spec.smp = spec.smp.max(smp);
                if let (Net::Virtio, Some(net)) = (spec.net, options.net) {
                    spec.net = net;
                }
                if spec.mtus == [MTU] && !options.mtu.is_empty() {
                    spec.mtus = options.mtu.clone();
                }
                if spec.key == Key::None && options.sealed {
                    spec.key = Key::Fresh;
                }
                spec.timeout_s = options.timeout.unwrap_or(spec.timeout_s);
                let seconds = || start.elapsed().as_secs_f64();
                let result = report(&scenario.run(&lab), seconds(), options.long);
                if options.long {
                    record::keep(case.name, result.passed, result.failed, seconds())?;
                }
                count.add(result);
            }
            Err(LabError::Unavailable(why)) => {
                println!("{}: SKIPPED: {why}", case.name);
                count.skipped += 1;
            }
            Err(error) => count.check(case.name, Err(error.to_string())),
        }
    }
    Ok(count)
}

/// Prints what became of a scenario and, when it failed, how to look at it again.
fn report(report: &Report, seconds: f64, long: bool) -> Count {
    let (passed, failed) = (report.verdict.passed.len(), report.verdict.failures.len());
    println!(
        "{}: {passed} passed, {failed} failed ({seconds:.1} s)",
        report.name
    );
    for failure in &report.verdict.failures {
        println!("    FAILED: {failure}");
    }
    if failed > 0 {
        println!("    consoles: {}", logs_shown(&report.logs));
        println!(
            "    repeat: cargo xtask test {} {} --seed {} {}",
            report.name,
            if long { "--long" } else { "--qemu" },
            report.seed,
            Hardware {
                smp: report.smp,
                net: report.net,
                mtu: report.mtus.clone(),
                key: None,
                sealed: report.sealed,
                suite: Suite::default(),
            }
        );
    }
    let named = |failure: &String| format!("{}: {failure}", report.name);
    Count {
        passed,
        failed,
        skipped: 0,
        failures: report.verdict.failures.iter().map(named).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libtest_lines_are_counted() {
        let line =
            "test result: FAILED. 22 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out";
        assert_eq!(
            result_line(line),
            Count {
                passed: 22,
                failed: 1,
                ..Count::default()
            }
        );
        let mut count = result_line(line);
        assert_eq!(count.lines(), "tests: 22 passed, 1 failed");
        count.skipped = 2;
        count.failures.extend(failed_test("test a::b ... FAILED"));
        assert_eq!(
            count.lines(),
            "failed: a::b\ntests: 22 passed, 1 failed, 2 skipped"
        );
        assert_eq!(result_line("test x ... ok"), Count::default());
        assert_eq!(failed_test("test x ... ok"), None);
    }
}
