//! `cargo xtask fuzz`: libFuzzer on the targets of `tools/fuzz`, with the stable compiler.
//!
//! Law: the same instrumentation as cargo-fuzz asks for, without sanitizers, which need a nightly. What is
//! found lies in target/fuzz, and the status is 1.

use crate::error::{Error, Outcome};
use crate::options::FuzzOptions;
use crate::{places, program, say};
use std::time::Duration;

/// All targets; `fuzz/fuzz_targets` has a file for each.
const TARGETS: [&str; 10] = [
    "header", "message", "gossip", "info", "source", "target", "home", "journal", "stack", "seal",
];
/// Counters on every edge, for libFuzzer.
const INSTRUMENTED: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table --cfg fuzzing";
const HOST: &str = "x86_64-unknown-linux-gnu";

/// Runs each target for as long as `options` say.
pub(crate) fn fuzz(options: &FuzzOptions) -> Outcome {
    let all = |name: &&str| options.target.as_deref().is_none_or(|only| only == *name);
    let wanted: Vec<&str> = TARGETS.into_iter().filter(all).collect();
    if wanted.is_empty() {
        let known = TARGETS.join(", ");
        return Err(Error::Usage(format!("--target is one of {known}")));
    }
    let (root, built) = (places::root(), places::root().join("target/fuzz"));
    say::step("building the targets with instrumentation");
    let mut build = program::clean("cargo");
    build
        .args(["build", "--quiet", "--release", "--target", HOST])
        .arg("--target-dir")
        .arg(&built)
        .env("RUSTFLAGS", INSTRUMENTED)
        .current_dir(root.join("fuzz"));
    program::run(&mut build, "building the targets")?;
    for name in wanted {
        say::step(format!("{name}: {} s", options.seconds));
        let corpus = built.join("corpus").join(name);
        std::fs::create_dir_all(&corpus).map_err(Error::file("create", &corpus))?;
        let mut run = program::clean(built.join(HOST).join("release").join(name));
        run.arg(&corpus)
            .arg(format!("-max_total_time={}", options.seconds))
            .args(["-print_final_stats=1", "-verbosity=0", "-max_len=8192"])
            .current_dir(&built);
        let log = built.join(name).with_extension("log");
        let limit = Duration::from_secs(options.seconds.saturating_add(600));
        program::run_logged(&mut run, name, &log, limit)?;
        let said = std::fs::read_to_string(&log).map_err(Error::file("read", &log))?;
        println!("{}", summary(name, &said));
    }
    Ok(0)
}

/// What libFuzzer says at its end, in a line.
fn summary(name: &str, said: &str) -> String {
    let figure = |what: &str| {
        let mut lines = said.lines();
        let line = lines.find_map(|line| line.strip_prefix(what));
        line.map_or("?", |rest| rest.trim_start_matches(':').trim())
            .to_owned()
    };
    let executions = figure("stat::number_of_executed_units");
    let inputs = figure("stat::new_units_added");
    format!("{name:>8}: {executions} executions, {inputs} inputs that reached something new")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read() {
        let said =
            "x\nstat::number_of_executed_units: 106610\nstat::new_units_added:          1213\n";
        let line = "  header: 106610 executions, 1213 inputs that reached something new";
        assert_eq!(summary("header", said), line);
    }

    #[test]
    fn each_target_has_its_file() {
        let folder = places::root().join("fuzz/fuzz_targets");
        let files = std::fs::read_dir(&folder).expect("it is there");
        let mut names: Vec<String> = files
            .flatten()
            .map(|file| file.file_name().to_string_lossy().replace(".rs", ""))
            .collect();
        names.sort();
        let mut known = TARGETS;
        known.sort_unstable();
        assert_eq!(names, known);
    }
}
