//! `cargo xtask bench linux`: nodes beside two Linux machines in the same emulator, on the same switch.
//!
//! Law: this tool measures nothing itself. Nodes and Linux take turns; each figure is a median over the rounds, and
//! what counts is how many times the nodes are better. A freeze is from the last instruction of the process at
//! its source to the first at the target on both: for CRIU as the process itself sees it, by the clocks of the two
//! machines and the offset that the shortest of many round trips just before has shown.

use crate::archive::Archive;
use crate::beside::Linux;
use crate::compile::Kernel;
use crate::error::{Error, Outcome};
use crate::lab::QemuLab;
use crate::libraries::Finder;
use crate::measure::{self, Group, Record};
use crate::options::{LinuxOptions, MeasureOptions, Packing, Sealing};
use crate::places::RunDirectory;
use crate::statistics::Summary;
use crate::table::Table;
use crate::{package, say};
use qemu_tests::{MTU, Net};
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;
use switch::Chance;

/// What the machines need besides what is built into the kernel: the card, and what CRIU looks at.
const MODULES: [&str; 11] = [
    "virtio_pci",
    "virtio_net",
    "tcp_diag",
    "udp_diag",
    "raw_diag",
    "unix_diag",
    "af_packet_diag",
    "netlink_diag",
    "nf_tables",
    "veth",
    "tun",
];
const SCRIPTS: [(&str, &str); 3] = [
    ("/init", include_str!("beside/init.sh")),
    ("/samples.sh", include_str!("beside/samples.sh")),
    ("/bin/arrive", include_str!("beside/arrive.sh")),
];
/// How the process moves on Linux: all of it before it goes on, or what it touches first.
const MODES: [&str; 2] = ["copy", "lazy"];

/// How many times better nodes are to be: DESIGN.md, "What is measured, always".
const GOAL_TRIP: f64 = 2.0;
const GOAL_STREAM: f64 = 3.0;
const GOAL_FREEZE: f64 = 500.0;

/// Runs the rounds and shows the table.
pub(crate) fn linux(options: &LinuxOptions, kernel: &Kernel) -> Outcome {
    let lab = QemuLab::prepare(kernel)?;
    let linux = Linux::fetch()?;
    let archive = archive(&linux, &lab.program("trials"), &options.sizes)?;
    let directory = RunDirectory::create("bench-linux")?;
    let limit = Duration::from_secs(options.timeout);
    let (mut runs, mut records) = (Vec::new(), Vec::new());
    for round in 1..=options.rounds {
        let of = options.rounds;
        say::step(format!("round {round} of {of}: nodes"));
        let measured = moves(options);
        for link in measure::links(&measured) {
            runs.push(measure::one(&lab, "migrate", link, &measured)?);
        }
        let tell = |line: &str| {
            if let Some(sample) = sample(line) {
                say::step(format!("round {round} of {of}: Linux: {sample}"));
            }
        };
        say::step(format!("round {round} of {of}: Linux"));
        let console = linux.run(&archive, 2, options.memory, limit, &directory, tell)?;
        records.extend(samples(&console, options.sizes.len() * MODES.len())?);
    }
    let groups = measure::groups(&runs);
    let lines = rows(&groups, &records, &options.sizes);
    let table = Table::read(lines.iter().map(String::as_str))
        .ok_or_else(|| Error::Unmet("no figures were printed".into()))?;
    println!("{}", table.aligned());
    if let Some(path) = &options.json {
        let records: Vec<Value> = records.iter().map(Record::json).collect();
        let text = json!({ "bench": "linux", "table": table.json(), "linux": records }).to_string();
        std::fs::write(path, text + "\n").map_err(Error::file("write", path))?;
    }
    Ok(0)
}

/// What is measured of the nodes in one round.
fn moves(options: &LinuxOptions) -> MeasureOptions {
    MeasureOptions {
        sizes: Some(joined(&options.sizes, ",")),
        modes: Some("post-copy".to_owned()),
        net: vec![Net::Virtio],
        mtu: vec![MTU],
        loss: vec![Chance::NEVER],
        seal: vec![Sealing::Open],
        pack: vec![Packing::Never],
        text: false,
        keep_pages: false,
        repeat: 3,
        warmup: 1,
        json: None,
        report: None,
        memory: options.memory,
        timeout: options.timeout,
        smp: 1,
    }
}

/// The file system of the Linux machines.
fn archive(linux: &Linux, trials: &Path, sizes: &[u32]) -> Result<Archive, Error> {
    let mut archive = Archive::default();
    let busybox = package::alone("busybox-static")?.join("bin/busybox");
    archive.host_file("/bin/busybox", &busybox)?;
    archive.host_file("/bin/trials", trials)?;
    let packages = package::unpacked(&["criu".to_owned()])?;
    let criu = package::alone("criu")?.join("usr/sbin/criu");
    archive.host_file("/bin/criu", &criu)?;
    for library in Finder::new(&packages).closure(&criu)? {
        let inner = packages
            .iter()
            .find_map(|root| library.strip_prefix(root).ok());
        let guest = inner.map_or_else(|| library.clone(), |inner| Path::new("/").join(inner));
        archive.host_file(&guest.display().to_string(), &library)?;
    }
    for (path, text) in SCRIPTS {
        archive.file(path, 0o755, text.as_bytes().to_vec())?;
    }
    let settings = format!("SIZES='{}'\n", joined(sizes, " "));
    archive.file("/settings.sh", 0o644, settings.into_bytes())?;
    linux.add_modules(&mut archive, "/modules", &MODULES)?;
    Ok(archive)
}

fn joined(sizes: &[u32], between: &str) -> String {
    let sizes: Vec<String> = sizes.iter().map(u32::to_string).collect();
    sizes.join(between)
}

/// What of Linux a line of its console is a sample of.
fn sample(line: &str) -> Option<String> {
    let record = Record::read(line)?;
    match record.kind.as_str() {
        "link" => Some("round trip".to_owned()),
        "tcp" => Some("TCP".to_owned()),
        "criu" => {
            let (mode, size) = (record.text("mode"), record.text("size_mib"));
            Some(format!("CRIU {mode}, {size} MiB"))
        }
        _ => None,
    }
}

/// The samples that Linux has printed in one round, with so many moves.
fn samples(console: &[String], moves: usize) -> Result<Vec<Record>, Error> {
    if let Some(why) = console.iter().find_map(|it| it.strip_prefix("failed\t")) {
        return Err(Error::Unmet(format!("on Linux: {why}")));
    }
    let lines = console.iter().filter(|line| sample(line).is_some());
    let records: Vec<Record> = lines.filter_map(|line| Record::read(line)).collect();
    let count = |kind: &str| records.iter().filter(|it| it.kind == kind).count();
    if [count("link"), count("tcp"), count("criu")] != [1, 1, moves] {
        return Err(Error::Unmet(
            "samples of Linux are missing: see out/bench-linux/node-1.log".to_owned(),
        ));
    }
    if records.iter().any(|it| it.number("wrong") > Some(0.0)) {
        return Err(Error::Unmet("CRIU has lost memory".to_owned()));
    }
    Ok(records)
}

/// How long after the last instruction at the source the target's clock said `name`, in us.
fn since_it_left_us(record: &Record, name: &str) -> Option<f64> {
    let (left, then) = (record.text("left_ns"), record.text(name));
    // As integers: a double does not hold ns since 1970.
    let gap = then.parse::<i64>().ok()? - left.parse::<i64>().ok()?;
    Some(gap as f64 / 1000.0 - record.number("clock_offset_us")?)
}

/// One figure of both: a rate, or a time.
struct Comparison {
    what: String,
    is_rate: bool,
    linux: Option<f64>,
    nodes: Option<f64>,
    goal: Option<f64>,
}

impl Comparison {
    /// The row of the table; `None` if one of them has no figure.
    fn row(&self) -> Option<String> {
        let (linux, nodes) = (self.linux?, self.nodes?);
        let times = if self.is_rate {
            nodes / linux
        } else {
            linux / nodes
        };
        let goal = self.goal.map_or("-".to_owned(), |goal| {
            let verdict = if times >= goal { "met" } else { "missed" };
            format!("{goal}: {verdict}")
        });
        let what = &self.what;
        Some(format!(
            "{what}\t{linux:.0}\t{nodes:.0}\t{times:.1}\t{goal}"
        ))
    }
}

fn rows(groups: &[Group], records: &[Record], sizes: &[u32]) -> Vec<String> {
    let median = |values: Vec<f64>| Summary::of(&values).map(|it| it.p50.value);
    let nodes = |name: &str, size: Option<u32>| {
        let fits = |it: &&Group| size.is_none_or(|size| it.x == f64::from(size));
        let plain = groups.iter().filter(|it| it.label == "post-copy");
        let samples = plain.filter(fits).filter_map(|it| it.samples.get(name));
        median(samples.flatten().copied().collect())
    };
    let linux = |kind: &str, value: &dyn Fn(&Record) -> Option<f64>| {
        let of_kind = records.iter().filter(|it| it.kind == kind);
        median(of_kind.filter_map(value).collect())
    };
    let mut all = vec![
        Comparison {
            what: "round trip, us".to_owned(),
            is_rate: false,
            linux: linux("link", &|it| it.number("rtt_p50_us")),
            nodes: nodes("raw_rtt_us", None),
            goal: Some(GOAL_TRIP),
        },
        Comparison {
            what: "TCP and pages, bytes/s".to_owned(),
            is_rate: true,
            linux: linux("tcp", &|it| it.number("bytes_per_s")),
            nodes: nodes("goodput_bytes_per_s", sizes.iter().max().copied()),
            goal: Some(GOAL_STREAM),
        },
    ];
    for (&size, mode) in sizes.iter().flat_map(|size| MODES.map(|mode| (size, mode))) {
        let moved = |name: &'static str| {
            linux("criu", &|it| {
                let fits = it.text("mode") == mode && it.number("size_mib") == Some(size.into());
                since_it_left_us(it, name).filter(|_| fits)
            })
        };
        all.push(Comparison {
            what: format!("{size} MiB, freeze, CRIU {mode}, us"),
            is_rate: false,
            linux: moved("arrived_ns"),
            nodes: nodes("freeze_us", Some(size)),
            goal: Some(GOAL_FREEZE),
        });
        all.push(Comparison {
            what: format!("{size} MiB, until all is there, CRIU {mode}, us"),
            is_rate: false,
            linux: moved("all_ns"),
            nodes: nodes("total_us", Some(size)),
            goal: None,
        });
    }
    let header = "what\tlinux\tnodes\ttimes\tgoal".to_owned();
    std::iter::once(header)
        .chain(all.iter().filter_map(Comparison::row))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONSOLE: &str = "boot\nlink\trtt_p50_us=400\tclock_offset_us=5\ntcp\tbytes_per_s=50000\n\
        criu\tmode=copy\tsize_mib=1\tleft_ns=1700000000000000000\tarrived_ns=1700000000700001000\twrong=0\tclock_offset_us=1\n\
        criu\tmode=lazy\tsize_mib=1\tleft_ns=1700000000000000000\tarrived_ns=1699999999999001000\twrong=0\tclock_offset_us=-100000\n";

    fn console(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_freeze_is_told_by_two_clocks_and_their_offset() {
        let records = samples(&console(CONSOLE), 2).expect("complete");
        let freezes: Vec<_> = records
            .iter()
            .filter_map(|it| since_it_left_us(it, "arrived_ns"))
            .collect();
        assert_eq!(freezes, [700_000.0, 99_001.0]);
    }

    #[test]
    fn what_is_missing_or_wrong_is_no_round() {
        assert!(samples(&console(CONSOLE), 4).is_err());
        assert!(samples(&console(&CONSOLE.replace("wrong=0", "wrong=1")), 2).is_err());
        let failed = samples(&console("failed\tno link\n"), 2).expect_err("it says so");
        assert!(failed.to_string().contains("no link"), "{failed}");
    }

    #[test]
    fn the_table_compares_with_each_way_of_moving() {
        let records = samples(&console(CONSOLE), 2).expect("complete");
        let groups = measure::groups(&measure::tests::runs());
        let lines = rows(&groups, &records, &[1]);
        assert_eq!(lines[1], "round trip, us\t400\t100\t4.0\t2: met");
        assert!(lines[2].starts_with("TCP and pages, bytes/s\t50000\t"));
        let freezes = [
            "1 MiB, freeze, CRIU copy, us\t700000\t150\t4666.7\t500: met",
            "1 MiB, freeze, CRIU lazy, us\t99001\t150\t660.0\t500: met",
        ];
        assert_eq!(
            [lines[3].as_str(), lines[4].as_str()],
            freezes,
            "nothing is known of the rest"
        );
        assert_eq!(lines.len(), 5);
    }
}
