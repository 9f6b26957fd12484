//! `cargo xtask demo`: two programs hop between three nodes in the middle of their work.
//!
//! Law: the last line is `demo: ok` only when every program was moved three times while it ran and
//! printed what it prints on the host.

use crate::cluster::logs_shown;
use crate::compile::Kernel;
use crate::error::{Error, Outcome, STATUS_TIMED_OUT};
use crate::lab::QemuLab;
use crate::options::Hardware;
use crate::places::RunDirectory;
use crate::run::say_logs;
use crate::table::Table;
use crate::{say, setup};
use qemu_tests::demo::{judge_part, story};
use qemu_tests::{Ended, Outcome as ClusterOutcome};

/// Tells the story.
pub(crate) fn demo(hardware: &Hardware, kernel: &Kernel) -> Outcome {
    setup::busybox()?;
    let lab = QemuLab::prepare(kernel)?;
    say::step("running both programs on the host, to know what they print");
    let mut story = story("demo", &lab).map_err(|error| Error::Unmet(error.to_string()))?;
    hardware.put_into(&mut story.spec);
    let directory = RunDirectory::create("demo")?;
    say_logs(&story.spec, &directory);
    let outcome = lab.boot_shown(&story.spec, &directory, &mut |_| {})?;
    let mut failed = unhappy_end(&outcome);
    for (part, on_host) in &story.parts {
        match judge_part(&outcome, part, on_host) {
            Ok(moves) => {
                println!(
                    "{part}: printed what it prints on the host: {}",
                    on_host.trim_end()
                );
                if let Some(table) = Table::read(moves.iter().map(String::as_str)) {
                    print!("{}", table.aligned());
                }
            }
            Err(why) => failed.push(format!("{part}: {why}")),
        }
    }
    if failed.is_empty() {
        println!("demo: ok");
        return Ok(0);
    }
    for why in &failed {
        println!("demo: {why}");
    }
    println!(
        "demo: failed; the consoles are in {}",
        logs_shown(&outcome.logs)
    );
    Ok(if outcome.ended == Ended::TimedOut {
        STATUS_TIMED_OUT
    } else {
        1
    })
}

fn unhappy_end(outcome: &ClusterOutcome) -> Vec<String> {
    qemu_tests::verdict::ended_well(outcome)
}
