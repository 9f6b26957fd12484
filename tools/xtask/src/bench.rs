//! `cargo xtask bench files`: figures that guests measure, shown and kept.
//!
//! Law: this tool measures nothing itself. What the guest's `bench-*` prints in node 1 is shown as it comes;
//! its tab-separated tables are shown again, aligned, and written as JSON on request.

use crate::cluster::logs_shown;
use crate::compile::Kernel;
use crate::error::{Error, Outcome};
use crate::lab::QemuLab;
use crate::options::BenchOptions;
use crate::places::RunDirectory;
use crate::run::{say_logs, status};
use crate::table::Table;
use qemu_tests::verdict::between;
use qemu_tests::{Outcome as ClusterOutcome, Spec};
use serde_json::{Value, json};
use std::io::Write;

/// Runs the guest's benchmark of files on two nodes.
pub(crate) fn files(options: &BenchOptions, kernel: &Kernel) -> Outcome {
    measure("files", 2, options, kernel)
}

fn measure(what: &str, nodes: usize, options: &BenchOptions, kernel: &Kernel) -> Outcome {
    let arguments = options.arguments.join(" ");
    let script = format!(
        "echo bench begin
bench-{what} {arguments}
status=$?
echo bench end
exit $status
"
    );
    let mut spec = Spec::new("bench", nodes)
        .script(script)
        .timeout_s(options.cluster.timeout);
    spec.memory_mib = options.cluster.memory;
    options.cluster.hardware.put_into(&mut spec);
    let lab = QemuLab::prepare(kernel)?;
    let directory = RunDirectory::create("bench")?;
    say_logs(&spec, &directory);
    let outcome = lab.boot_shown(&spec, &directory, &mut |bytes| {
        let _ = std::io::stderr().write_all(bytes);
    })?;
    let status = status(&outcome.ended);
    if status != 0 {
        let logs = logs_shown(&outcome.logs);
        return Err(Error::Unmet(format!(
            "bench-{what} ended with status {status}; see {logs}"
        )));
    }
    let tables = tables(&outcome);
    if tables.is_empty() {
        return Err(Error::Unmet(format!("bench-{what} printed no figures")));
    }
    for table in &tables {
        println!("{}", table.aligned());
    }
    if let Some(path) = &options.json {
        let tables: Vec<Value> = tables.iter().map(Table::json).collect();
        let text =
            json!({ "bench": what, "nodes": nodes, "net": spec.net.to_string(), "tables": tables })
                .to_string();
        std::fs::write(path, text + "\n").map_err(Error::file("write", path))?;
    }
    Ok(0)
}

/// The tab-separated tables of the benchmark; a line without a tab ends one.
fn tables(outcome: &ClusterOutcome) -> Vec<Table> {
    let lines = between(outcome, "bench begin", "bench end").unwrap_or_default();
    let groups = lines.split(|line| !line.contains('\t'));
    groups
        .filter_map(|group| Table::read(group.iter().copied()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use qemu_tests::Ended;

    #[test]
    fn every_group_of_lines_with_tabs_is_a_table() {
        let console = "bench begin\nrtt:\na\tb\n1\t2\n\nfreeze:\nmib\tp50\n1\t3\n4\t5\nbench end\n";
        let outcome = ClusterOutcome {
            ended: Ended::Status(0),
            console: console.to_owned(),
            died: Vec::new(),
            logs: Vec::new(),
        };
        let sizes: Vec<_> = tables(&outcome)
            .iter()
            .map(|table| table.rows.len())
            .collect();
        assert_eq!(sizes, [1, 2]);
    }
}
