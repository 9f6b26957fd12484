//! `ps`: the processes whose home is this node, and where they run.
//!
//! Law: a process that ends while it is looked at is left out, not an error. Whoever gives options
//! means the `ps` of everybody, which is busybox's unless a package brought another.

use std::fs::read_to_string;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rt::system::proc_path;

use crate::proc::{Stat, pids, place};
use crate::{Done, Failure, print};

const COMMON: &str = "/bin/ps";

/// Prints the table PID PPID STATE WHERE NAME, by pid.
pub(crate) fn run(arguments: &[String]) -> Done {
    if !arguments.is_empty() {
        let error = Command::new(COMMON).args(arguments).exec();
        return Err(Failure::io(format!("cannot run {COMMON}"), &error));
    }
    let root = proc_path("");
    let pids =
        pids().map_err(|error| Failure::io(format!("cannot list {}", root.display()), &error))?;
    let mut table = row("PID", "PPID", "STATE", "WHERE", "NAME");
    for pid in pids {
        let Ok(text) = read_to_string(proc_path(&format!("{pid}/stat"))) else {
            continue;
        };
        let stat = Stat::parse(&text)
            .ok_or_else(|| format!("{pid}/stat has the line `{}`", text.trim_end()))?;
        table += &row(
            &stat.pid.to_string(),
            &stat.parent.to_string(),
            &stat.state.to_string(),
            &place(pid),
            &stat.name,
        );
    }
    print(table.as_bytes())
}

fn row(pid: &str, parent: &str, state: &str, place: &str, name: &str) -> String {
    format!("{pid:>10} {parent:>10} {state:<5} {place:<5} {name}\n")
}
