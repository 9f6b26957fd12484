//! `cargo xtask bench syscall`: how long calls take at home, away, and on Linux in the same emulator.
//!
//! Law: this tool measures nothing itself: one program measures in all three places. Nodes and Linux
//! take turns; each figure is the median of the rounds, and what counts is the ratio.

use crate::archive::Archive;
use crate::beside::Linux;
use crate::compile::Kernel;
use crate::error::{Error, Outcome};
use crate::lab::QemuLab;
use crate::options::SyscallOptions;
use crate::places::RunDirectory;
use crate::run::status;
use crate::say;
use crate::table::Table;
use qemu_tests::Spec;
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;

const SCRIPT: &str = "echo 2 200 > /proc/cluster/ping
cat /proc/cluster/ping | while read node p50 rest; do echo \"rtt $p50\"; done
trials calls home
trials calls away 2
";

/// How long Linux may take for one round.
const LIMIT: Duration = Duration::from_secs(300);

/// Median and 99th percentile in ns, of each round, by place and operation.
type Figures = BTreeMap<(String, String), Vec<[u64; 2]>>;

/// Runs the rounds and shows the table.
pub(crate) fn syscall(options: &SyscallOptions, kernel: &Kernel) -> Outcome {
    let lab = QemuLab::prepare(kernel)?;
    let directory = RunDirectory::create("bench-syscall")?;
    let mut spec = Spec::new("bench-syscall", 2)
        .script(SCRIPT)
        .timeout_s(options.cluster.timeout);
    options.cluster.hardware.put_into(&mut spec);
    spec.memory_mib = options.cluster.memory;
    let linux = Linux::fetch()?;
    let mut archive = Archive::default();
    for path in ["/init", "/bin/trials"] {
        archive.host_file(path, &lab.program("trials"))?;
    }
    let mut figures = Figures::new();
    let mut order = Vec::new();
    let mut trips = Vec::new();
    for round in 1..=options.rounds {
        say::step(format!(
            "round {round} of {}: nodes, then Linux",
            options.rounds
        ));
        let outcome = lab.boot_shown(&spec, &directory, &mut |_| {})?;
        if status(&outcome.ended) != 0 {
            let logs = crate::cluster::logs_shown(&outcome.logs);
            return Err(Error::Unmet(format!("the nodes ended badly; see {logs}")));
        }
        trips.extend(outcome.lines().filter_map(trip_us));
        let mut take = |line: &str| read(line, &mut figures, &mut order);
        outcome.lines().for_each(&mut take);
        linux.run(&archive, 1, options.cluster.memory, LIMIT, &directory, take)?;
    }
    trips.sort_by(f64::total_cmp);
    let trip_us = trips.get(trips.len() / 2).copied().unwrap_or(0.0);
    let lines = rows(&figures, &order, trip_us);
    let table = Table::read(lines.iter().map(String::as_str))
        .filter(|table| !table.rows.is_empty())
        .ok_or_else(|| Error::Unmet("no figures were printed".into()))?;
    println!("{}", table.aligned());
    println!("round trip: {trip_us:.1} us");
    if let Some(path) = &options.json {
        let text = json!({ "bench": "syscall", "rtt_us": trip_us, "calls": table.json() });
        std::fs::write(path, text.to_string() + "\n").map_err(Error::file("write", path))?;
    }
    Ok(0)
}

fn trip_us(line: &str) -> Option<f64> {
    line.strip_prefix("rtt ")?.trim().parse().ok()
}

/// A line `calls PLACE OPERATION MEDIAN HIGH`, separated by tabs.
fn read(line: &str, figures: &mut Figures, order: &mut Vec<String>) {
    let cells: Vec<&str> = line.trim_end().split('\t').collect();
    let ["calls", place, operation, median, high] = cells[..] else {
        return;
    };
    if let (Ok(median), Ok(high)) = (median.parse(), high.parse()) {
        if !order.iter().any(|known| known == operation) {
            order.push(operation.to_owned());
        }
        let key = (place.to_owned(), operation.to_owned());
        figures.entry(key).or_default().push([median, high]);
    }
}

fn rows(figures: &Figures, order: &[String], trip_us: f64) -> Vec<String> {
    let header = "call\tlinux_ns\tlinux_p99\thome_ns\thome_p99\thome/linux\taway_ns\taway_trips";
    let mut lines = vec![header.to_owned()];
    for operation in order {
        let middle = |place: &str, which: usize| -> Option<u64> {
            let rounds = figures.get(&(place.to_owned(), operation.clone()))?;
            let mut values: Vec<u64> = rounds.iter().map(|pair| pair[which]).collect();
            values.sort_unstable();
            values.get(values.len() / 2).copied()
        };
        let shown = |value: Option<u64>| value.map_or("-".to_owned(), |value| value.to_string());
        let ratio = |over: Option<f64>, under: Option<f64>| match (over, under) {
            (Some(over), Some(under)) if under > 0.0 => format!("{:.2}", over / under),
            _ => "-".to_owned(),
        };
        let float = |value: Option<u64>| value.map(|value| value as f64);
        let (linux, home, away) = (middle("linux", 0), middle("home", 0), middle("away", 0));
        let cells = [
            operation.clone(),
            shown(linux),
            shown(middle("linux", 1)),
            shown(home),
            shown(middle("home", 1)),
            ratio(float(home), float(linux)),
            shown(away),
            ratio(float(away), Some(trip_us * 1000.0)),
        ];
        lines.push(cells.join("\t"));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_become_ratios() {
        let (mut figures, mut order) = (Figures::new(), Vec::new());
        let console = "x\ncalls\tlinux\tgetpid\t100\t120\r\ncalls\thome\tgetpid\t50\t90\n\
            calls\thome\tgetpid\t70\t90\ncalls\taway\tgetpid\t60\t61\n";
        for line in console.lines() {
            read(line, &mut figures, &mut order);
        }
        let lines = rows(&figures, &order, 0.03);
        assert_eq!(lines[1], "getpid\t100\t120\t70\t90\t0.70\t60\t2.00");
        assert_eq!(trip_us("rtt 380.5"), Some(380.5));
        assert_eq!(trip_us("rtt rtt_p50_us"), None);
    }
}
