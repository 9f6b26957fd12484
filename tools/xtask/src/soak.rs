//! `cargo xtask soak`: programs on a cluster that is treated badly for minutes.
//!
//! Law: it says what it does and how it goes, keeps the consoles of all nodes, and when something is wrong, the command that does the same
//! to the nodes again. Status 0 is nothing wrong, 1 something.

use crate::cluster::logs_shown;
use crate::compile::Kernel;
use crate::error::{Error, Outcome};
use crate::lab::QemuLab;
use crate::options::SoakOptions;
use crate::{say, setup};
use qemu_tests::soak::{Harm, Soak};
use std::time::Duration;

/// Runs what `options` ask for.
pub(crate) fn soak(options: &SoakOptions, kernel: &Kernel) -> Outcome {
    setup::busybox()?;
    let lab = QemuLab::prepare(kernel)?;
    let soak = Soak {
        nodes: usize::from(options.nodes),
        storm: Duration::from_secs(options.minutes * 60),
        harm: Harm::Weather(Duration::from_secs(options.kill_every)),
    };
    let scenario = soak.scenario("soak", &lab);
    let mut scenario = scenario.map_err(|error| Error::Unmet(error.to_string()))?;
    let spec = scenario.spec_mut();
    spec.seed = options.seed;
    options.hardware.put_into(spec);
    let again = format!(
        "cargo xtask soak --minutes {} --nodes {} --seed {} --kill-every {} {}",
        options.minutes, options.nodes, options.seed, options.kill_every, options.hardware
    );
    say::step(&again);
    let report = scenario.run(&lab);
    let failures = &report.verdict.failures;
    for failure in failures {
        println!("    FAILED: {failure}");
    }
    if failures.is_empty() {
        println!("soak: ok");
        return Ok(0);
    }
    println!("    consoles: {}", logs_shown(&report.logs));
    println!("    repeat: {again}");
    println!("soak: FAILED, {} things", failures.len());
    Ok(1)
}
