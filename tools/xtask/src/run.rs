//! `cargo xtask run` and `cargo xtask cluster`: a cluster for a script, a cluster for a person.
//!
//! Law: standard output is the console of node 1 and nothing else.

use crate::cluster::logs_shown;
use crate::compile::Kernel;
use crate::error::{Error, Outcome, STATUS_TIMED_OUT};
use crate::lab::QemuLab;
use crate::node::log_path;
use crate::options::{ClusterOptions, RunOptions};
use crate::places::RunDirectory;
use crate::{say, terminal};
use qemu_tests::{Ended, Spec};
use std::io::Write;

/// Exit status of a cluster that crashed.
const STATUS_CRASHED: u8 = 125;

/// Runs a script on node 1 and ends with its status.
pub(crate) fn run(options: &RunOptions, kernel: &Kernel) -> Outcome {
    let mut spec = options.cluster.spec("run")?;
    spec.script = Some(script_of(options)?);
    spec.timeout_s = options.timeout;
    let lab = QemuLab::prepare(kernel)?;
    let directory = RunDirectory::create("run")?;
    say_logs(&spec, &directory);
    let outcome = lab.boot_shown(&spec, &directory, &mut show)?;
    Ok(status(&outcome.ended))
}

/// What the shell of node 1 is to run.
pub(crate) fn script_of(options: &RunOptions) -> Result<String, Error> {
    match (&options.script, &options.commands) {
        (Some(path), _) => std::fs::read_to_string(path).map_err(Error::file("read", path)),
        (None, Some(commands)) => Ok(format!("{commands}\n")),
        (None, None) => Err(Error::Usage("give --script FILE or -c COMMANDS".into())),
    }
}

/// Gives the terminal to the shell of node 1.
pub(crate) fn cluster(options: &ClusterOptions, kernel: &Kernel) -> Outcome {
    let mut spec = options.spec("cluster")?;
    // Programs of the node draw for the terminal that is here.
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-+._".contains(&byte);
    if let Ok(terminal) = std::env::var("TERM")
        && !terminal.is_empty()
        && terminal.bytes().all(plain)
    {
        spec.append = format!("term={terminal} {}", spec.append);
    }
    let lab = QemuLab::prepare(kernel)?;
    let directory = RunDirectory::create("cluster")?;
    say_logs(&spec, &directory);
    say::step("the terminal is the console of node 1; Ctrl-A X leaves");
    let outcome = lab.with_cluster(&spec, &directory, |cluster| {
        let _raw = terminal::RawMode::enter()?;
        terminal::watch_window(cluster.sender());
        terminal::listen(cluster.sender());
        cluster.run_to_end(None, &mut show)
    })?;
    eprintln!();
    Ok(status(&outcome.ended))
}

/// Names the logs before anything can go wrong.
pub(crate) fn say_logs(spec: &Spec, directory: &RunDirectory) {
    let logs: Vec<_> = (1..=spec.nodes)
        .map(|number| log_path(directory, number))
        .collect();
    say::step(format!(
        "booting {} nodes; consoles: {}",
        spec.nodes,
        logs_shown(&logs)
    ));
}

/// Shows what node 1 writes.
pub(crate) fn show(bytes: &[u8]) {
    let mut stdout = std::io::stdout().lock();
    // A closed pipe (`| head`) does not end the cluster: its status is still wanted.
    let _ = stdout.write_all(bytes).and_then(|()| stdout.flush());
}

/// The exit status that stands for an end.
pub(crate) fn status(ended: &Ended) -> u8 {
    match ended {
        Ended::Status(status) => *status,
        Ended::TimedOut => STATUS_TIMED_OUT,
        Ended::Quit | Ended::Over => 0,
        Ended::Crashed(why) => {
            say::warning(format!("node 1 crashed: {why}"));
            STATUS_CRASHED
        }
    }
}
