//! The Open POSIX Test Suite, built from Debian's source.
//!
//! Law: nothing in the source is changed. Each test is a program of its own, linked to the installed libraries: linked
//! statically, all of them would take more memory than a node has. What does not compile is not asked for. Left out are
//! tests that set the clock, those of what the standard leaves open (`speculative`), those that look for races for as
//! long as they are given (`stress`), those that do not end on Linux, and those that leave nothing of an emulated
//! processor for the tests beside them.

use crate::error::Error;
use crate::{program, say, setup, suites};
use std::fs;
use std::path::{Path, PathBuf};

/// The parts of the source with tests, and what their names begin with.
const PARTS: [(&str, &str); 2] = [
    ("conformance/interfaces", ""),
    ("functional", "functional-"),
];

/// Eight million calls, a minute of threads that come and go, and a thousand processes that never rest.
const HOGS: [&str; 3] = ["clock-1-1", "pthread_cond_broadcast-1-2", "shm_open-23-1"];

/// They wait on Linux for what never comes.
const ENDLESS: [&str; 4] = [
    "fork-11-1",
    "pthread_barrier_destroy-2-1",
    "pthread_equal-2-1",
    "timer_settime-5-3",
];

/// Whether a test is not built: the clock is the machine's, and what a standard does not say is nobody's mistake.
fn is_left_out(name: &str) -> bool {
    let clocks = ["clock_settime-", "functional-timers-clocks-"];
    clocks.iter().any(|begin| name.starts_with(begin))
        || name.contains("speculative")
        || HOGS.contains(&name)
        || ENDLESS.contains(&name)
}

/// Builds the tests into a folder.
pub(crate) fn build(to: &Path) -> Result<(), Error> {
    if program::find("cc").is_none() {
        setup::install("a compiler", &["gcc", "libc6-dev"])?;
    }
    let source = suites::source("posixtestsuite")?;
    let mut tests = Vec::new();
    for (part, begin) in PARTS {
        let folder = source.join(part);
        collect(&folder, begin, &mut tests)?;
    }
    say::step(format!("building {} tests of POSIX", tests.len()));
    suites::for_all(&tests, |(name, file)| {
        let mut command = program::clean("cc");
        command.args(["-O1", "-w", "-s", "-std=gnu99", "-pthread"]);
        command.args(["-D_POSIX_C_SOURCE=200112L", "-D_XOPEN_SOURCE=600"]);
        command.arg("-I").arg(source.join("include"));
        command.arg("-o").arg(to.join(name)).arg(file);
        command.args(["-lrt", "-lm"]);
        // Whether it compiles is the question.
        let _ = program::output(&mut command, "compiling a test of POSIX");
        Ok(())
    })
}

/// The tests in a folder and in those below it: each by its path, with dashes.
fn collect(folder: &Path, begin: &str, tests: &mut Vec<(String, PathBuf)>) -> Result<(), Error> {
    let entries = fs::read_dir(folder).map_err(Error::file("read", folder))?;
    for entry in entries.flatten() {
        let path = entry.path();
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        if path.is_dir() {
            collect(&path, &format!("{begin}{name}-"), tests)?;
        } else if let Some(test) = name.strip_suffix(".c") {
            let name = format!("{begin}{test}");
            if !is_left_out(&name) {
                tests.push((name, path));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::is_left_out;

    #[test]
    fn what_disturbs_others_is_left_out() {
        assert!(is_left_out("clock_settime-1-1"));
        assert!(is_left_out("functional-timers-clocks-twopsetclock"));
        assert!(is_left_out("shm_open-23-1"));
        assert!(!is_left_out("clock_gettime-1-1"));
    }
}
