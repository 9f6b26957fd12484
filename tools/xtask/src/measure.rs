//! `cargo xtask bench migrate|link|forward|drain|all`: samples from guests, made into figures and a report.
//!
//! Law: guests measure (`bench-samples`), this tool counts. Every sample is kept in the JSON; a figure is computed from all
//! of them that are not marked as warming up. Beside each sample stands what the raw link gave in the same moment.

use crate::cluster::logs_shown;
use crate::compile::Kernel;
use crate::error::{Error, Outcome};
use crate::lab::QemuLab;
use crate::options::{MeasureOptions, Packing, Sealing};
use crate::places::RunDirectory;
use crate::run::status;
use crate::statistics::Summary;
use crate::{places, program, report, say};
use qemu_tests::moves::{told, with_trace};
use qemu_tests::{Key, MTU, Net, Spec, Suite};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Instant;
use switch::{Chance, Faults};
use timeline::Timeline;

/// Nodes of each cluster: two ends of a link, and one that watches.
const NODES: usize = 3;
/// What can be measured, in the order of `all`.
pub(crate) const ALL: [&str; 4] = ["link", "migrate", "forward", "drain"];
const PAGE: f64 = 4096.0;

/// A line of the guest: its kind, and what it says.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Record {
    pub(crate) kind: String,
    pub(crate) fields: BTreeMap<String, String>,
}

impl Record {
    /// Reads `kind name=value name=value ...`, between tabs.
    pub(crate) fn read(line: &str) -> Option<Record> {
        let (kind, pairs) = line.split_once('\t')?;
        let pairs = pairs.split('\t').map(|pair| {
            let (name, value) = pair.split_once('=')?;
            Some((name.to_owned(), value.to_owned()))
        });
        Some(Record {
            kind: kind.to_owned(),
            fields: pairs.collect::<Option<_>>()?,
        })
    }

    pub(crate) fn text(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }

    pub(crate) fn number(&self, name: &str) -> Option<f64> {
        self.text(name).parse().ok()
    }

    fn warms_up(&self) -> bool {
        self.text("warmup") == "1"
    }

    pub(crate) fn json(&self) -> Value {
        let fields = self.fields.iter().map(|(name, value)| {
            let number = value.parse::<f64>().ok();
            (
                name.clone(),
                number.map_or_else(|| json!(value), |number| json!(number)),
            )
        });
        let mut object: serde_json::Map<String, Value> = fields.collect();
        object.insert("kind".to_owned(), json!(self.kind));
        Value::Object(object)
    }
}

/// What the nodes are joined by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Link {
    net: Net,
    mtu: u16,
    loss: Chance,
    sealed: Sealing,
    packing: Packing,
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.net)?;
        if self.mtu != MTU {
            write!(f, ", MTU {}", self.mtu)?;
        }
        if !self.loss.is_never() {
            write!(f, ", {} loss", self.loss)?;
        }
        match self.sealed {
            Sealing::Open => {}
            Sealing::Sealed => f.write_str(", sealed")?,
            Sealing::Encrypted => f.write_str(", encrypted")?,
        }
        match self.packing {
            Packing::Never => Ok(()),
            Packing::Measured => f.write_str(", packed where faster"),
            Packing::Always => f.write_str(", packed"),
        }
    }
}

/// One cluster that was measured.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) what: &'static str,
    pub(crate) link: Link,
    pub(crate) records: Vec<Record>,
    /// What the nodes told of the last moves.
    pub(crate) timeline: Timeline,
}

/// Samples of one kind under one name, by what was varied.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Group {
    pub(crate) what: &'static str,
    /// Card, and MTU and loss where they are not the usual ones.
    pub(crate) link: String,
    /// Mode of moves, state of calls; empty where there is only one.
    pub(crate) label: String,
    /// MiB, threads, or bytes in a frame.
    pub(crate) x: f64,
    /// Samples by name.
    pub(crate) samples: BTreeMap<&'static str, Vec<f64>>,
}

impl Group {
    pub(crate) fn summary(&self, name: &str) -> Option<Summary> {
        Summary::of(self.samples.get(name)?)
    }
}

/// Where and when it was measured.
#[derive(Debug, Clone)]
pub(crate) struct Circumstances {
    pub(crate) lines: Vec<(&'static str, String)>,
}

/// Measures what is asked for, and writes what was found.
pub(crate) fn measure(what: &[&'static str], options: &MeasureOptions, kernel: &Kernel) -> Outcome {
    let lab = QemuLab::prepare(kernel)?;
    let circumstances = circumstances(options);
    let mut runs = Vec::new();
    let links = links(options);
    let clusters = what.len() * links.len();
    for &what in what {
        for &link in &links {
            say::step(format!(
                "cluster {} of {clusters}: {what}, {link}",
                runs.len() + 1
            ));
            runs.push(one(&lab, what, link, options)?);
        }
    }
    let groups = groups(&runs);
    print!("{}", report::text(&groups));
    if let Some(path) = &options.json {
        let text = json_of(&circumstances, &runs, &groups).to_string();
        std::fs::write(path, text + "\n").map_err(Error::file("write", path))?;
    }
    if let Some(folder) = &options.report {
        std::fs::create_dir_all(folder).map_err(Error::file("create", folder))?;
        let json = folder.join("bench.json");
        let text = json_of(&circumstances, &runs, &groups).to_string();
        std::fs::write(&json, text + "\n").map_err(Error::file("write", &json))?;
        let page = folder.join("bench.html");
        let html = report::html(&circumstances, &runs, &groups);
        std::fs::write(&page, html).map_err(Error::file("write", &page))?;
        say::step(format!("the report is {}", page.display()));
    }
    Ok(0)
}

/// Every link that is asked for.
pub(crate) fn links(options: &MeasureOptions) -> Vec<Link> {
    let mut links = Vec::new();
    for &net in &options.net {
        for &mtu in &options.mtu {
            for &loss in &options.loss {
                for &sealed in &options.seal {
                    links.extend(options.pack.iter().map(|&packing| Link {
                        net,
                        mtu,
                        loss,
                        sealed,
                        packing,
                    }));
                }
            }
        }
    }
    links
}

/// Boots a cluster and takes its samples.
pub(crate) fn one(
    lab: &QemuLab,
    what: &'static str,
    link: Link,
    options: &MeasureOptions,
) -> Result<Run, Error> {
    let mut command = format!(
        "bench-samples {what} --repeat {} --warmup {}",
        options.repeat, options.warmup
    );
    if let Some(sizes) = &options.sizes {
        command += &format!(" --sizes {sizes}");
    }
    if options.text {
        command += " --text";
    }
    if let (Some(modes), "migrate") = (&options.modes, what) {
        command += &format!(" --modes {modes}");
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b" -,".contains(&byte);
    if !command.bytes().all(plain) {
        return Err(Error::Usage(
            "--sizes and --modes are lists with commas".into(),
        ));
    }
    let faults = Faults {
        loss: link.loss,
        ..Faults::default()
    };
    let mut spec = Spec::new("bench", NODES)
        .script(with_trace(&command))
        .net(link.net)
        .mtus(&[link.mtu])
        .smp(options.smp)
        .faults(faults)
        .timeout_s(options.timeout);
    let keeps = if options.keep_pages {
        ""
    } else {
        "keep_pages=no "
    };
    let packs = match link.packing {
        Packing::Never => "pack=never",
        Packing::Measured => "",
        Packing::Always => "pack=always",
    };
    spec = spec.append(&format!("{keeps}{packs}"));
    spec.memory_mib = options.memory;
    (spec.key, spec.suite) = match link.sealed {
        Sealing::Open => (Key::None, Suite::default()),
        Sealing::Sealed => (Key::Fresh, Suite::SipHash),
        Sealing::Encrypted => (Key::Fresh, Suite::ChaCha),
    };
    let directory = RunDirectory::create("bench")?;
    let mut progress = Progress::new(what);
    let outcome = lab.boot_shown(&spec, &directory, &mut |bytes| progress.hear(bytes))?;
    progress.over();
    let status = status(&outcome.ended);
    if status != 0 {
        let logs = logs_shown(&outcome.logs);
        return Err(Error::Unmet(format!(
            "{command} ended with status {status}; see {logs}"
        )));
    }
    let kinds = ["link", "move", "call", "rate", "drain", "short"];
    let records = outcome.lines().filter_map(Record::read);
    let records: Vec<Record> = records
        .filter(|record| kinds.contains(&record.kind.as_str()))
        .collect();
    if records.iter().all(Record::warms_up) {
        return Err(Error::Unmet(format!("{command} printed no samples")));
    }
    let timeline = told(&outcome).map_err(Error::Unmet)?;
    for wrong in timeline.violations() {
        say::warning(wrong);
    }
    Ok(Run {
        what,
        link,
        records,
        timeline,
    })
}

/// All samples, in groups of what is alike.
pub(crate) fn groups(runs: &[Run]) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for run in runs {
        let link = run.link.to_string();
        let mut raw: Option<&Record> = None;
        for record in &run.records {
            if record.kind == "link" {
                raw = Some(record);
            }
            let Some((label, x)) = place(run.what, record).filter(|_| !record.warms_up()) else {
                continue;
            };
            let samples = samples(run, record, raw);
            let same = |group: &&mut Group| {
                (group.what, &group.link, &group.label) == (run.what, &link, &label) && group.x == x
            };
            let group = match groups.iter_mut().find(same) {
                Some(group) => group,
                None => {
                    groups.push(Group {
                        what: run.what,
                        link: link.clone(),
                        label,
                        x,
                        samples: BTreeMap::new(),
                    });
                    groups.last_mut().expect("one was just added")
                }
            };
            for (name, value) in samples {
                group.samples.entry(name).or_default().push(value);
            }
        }
    }
    groups
}

/// Under which name a record is counted, and what was varied; `None` if it only stands beside others.
fn place(what: &str, record: &Record) -> Option<(String, f64)> {
    let size = || record.number("size_mib");
    match (what, record.kind.as_str()) {
        ("link", "link") => Some((String::new(), record.number("payload")?)),
        ("migrate", "move") => {
            let (mode, load) = (record.text("mode"), record.text("load"));
            let label = match load {
                "" => mode.to_owned(),
                load => format!("{mode}, {load}"),
            };
            Some((label, size()?))
        }
        ("drain", "drain") => Some((String::new(), size()?)),
        ("forward", "call") => Some((record.text("state").to_owned(), 1.0)),
        ("forward", "rate") => Some(("threads".to_owned(), record.number("threads")?)),
        _ => None,
    }
}

/// What a record says, and what follows from it and from the raw link beside it.
fn samples(run: &Run, record: &Record, raw: Option<&Record>) -> Vec<(&'static str, f64)> {
    let mut samples = Vec::new();
    let mut add = |name, value: Option<f64>| samples.extend(value.map(|value| (name, value)));
    let number = |name| record.number(name);
    let rtt = raw
        .and_then(|raw| raw.number("rtt_p50_us"))
        .filter(|us| *us > 0.0);
    let blast = raw
        .and_then(|raw| raw.number("blast_bytes_per_s"))
        .filter(|rate| *rate > 0.0);
    let over = |value: Option<f64>, base: Option<f64>| Some(value? / base?);
    add("raw_rtt_us", rtt);
    add("raw_bytes_per_s", blast);
    match record.kind.as_str() {
        "move" => {
            // Pages travel while the process still runs, too, if it is copied first.
            let copied = number("copy_us").unwrap_or(0.0);
            let streamed = number("release_us").zip(number("push_us"));
            let streamed = streamed.map(|(release, push)| copied + release + push);
            let streamed = streamed.filter(|us| *us > 0.0);
            let goodput = over(
                number("pages_sent").map(|pages| pages * PAGE * 1e6),
                streamed,
            );
            let observed = number("observer_us").filter(|us| *us > 0.0);
            add("freeze_us", number("freeze_us"));
            add("freeze_rtt", over(number("freeze_us"), rtt));
            add("observer_us", observed);
            add("observer_rtt", over(observed, rtt));
            add("total_us", number("total_us"));
            add("goodput_bytes_per_s", goodput);
            add("goodput_share", over(goodput, blast));
            let busy = number("busy_bytes_per_s").filter(|rate| *rate > 0.0);
            add("busy_bytes_per_s", busy);
            add("goodput_busy_share", over(goodput, busy));
            let pages = number("pages_sent")
                .map(|pages| pages * PAGE)
                .filter(|bytes| *bytes > 0.0);
            add("bytes_per_page_byte", over(number("bytes"), pages));
            add("pages_kept", number("kept"));
            add("faults", number("faults"));
            add("stalls", number("stalls"));
            add("stall_worst_us", number("stall_worst_us"));
            add("clock_error_us", number("clock_error_us"));
        }
        "call" => {
            for time in record.text("us").split(',').map(|us| us.parse().ok()) {
                add("call_us", time);
                add("call_rtt", over(time, rtt));
            }
        }
        "rate" => add("calls_per_s", number("calls_per_s")),
        "drain" => {
            let of_round = |one: &&Record| {
                let same = |name| one.text(name) == record.text(name);
                one.kind == "move" && same("round") && same("size_mib")
            };
            let moves = run.records.iter().filter(of_round);
            let pages: f64 = moves.filter_map(|one| one.number("pages_sent")).sum();
            let goodput = over(Some(pages * PAGE * 1e6), number("total_us"));
            add("drain_us", number("total_us"));
            add("goodput_bytes_per_s", goodput);
            add("goodput_share", over(goodput, blast));
        }
        _ => {}
    }
    samples
}

/// The whole as JSON; `docs/bench/README.md` says what is in it.
fn json_of(circumstances: &Circumstances, runs: &[Run], groups: &[Group]) -> Value {
    let about: serde_json::Map<String, Value> = circumstances
        .lines
        .iter()
        .map(|(name, text)| ((*name).to_owned(), json!(text)))
        .collect();
    let runs: Vec<Value> = runs
        .iter()
        .map(|run| {
            let records: Vec<Value> = run.records.iter().map(Record::json).collect();
            json!({
                "what": run.what, "net": run.link.net.to_string(), "mtu": run.link.mtu,
                "loss": run.link.loss.to_string(),
                "records": records,
            })
        })
        .collect();
    let figures: Vec<Value> = groups
        .iter()
        .map(|group| {
            let names = group.samples.keys();
            let all = names.filter_map(|name| Some(((*name).to_owned(), group.summary(name)?.json())));
            let all: serde_json::Map<String, Value> = all.collect();
            json!({ "what": group.what, "link": group.link, "label": group.label, "x": group.x, "figures": all })
        })
        .collect();
    json!({ "schema": "dunlin-bench-1", "circumstances": about, "runs": runs, "groups": figures })
}

/// The machine, its load, and what was built.
fn circumstances(options: &MeasureOptions) -> Circumstances {
    let file = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let ask = |program: &str, words: &[&str]| {
        let mut command = program::clean(program);
        command.args(words).current_dir(places::root());
        let said = program::output(&mut command, program).unwrap_or_default();
        said.lines().next().unwrap_or("").trim().to_owned()
    };
    let cpus = file("/proc/cpuinfo");
    let models = cpus
        .lines()
        .filter_map(|line| line.strip_prefix("model name"));
    let models: Vec<&str> = models
        .map(|rest| rest.trim_start_matches([' ', '\t', ':']))
        .collect();
    let memory = file("/proc/meminfo");
    let memory = memory
        .lines()
        .next()
        .unwrap_or("")
        .trim_start_matches("MemTotal:")
        .trim();
    let load = file("/proc/loadavg");
    let qemu = crate::setup::qemu().map(|path| ask(&path.to_string_lossy(), &["--version"]));
    let lines = vec![
        ("when", ask("date", &["-u", "+%F %R UTC"])),
        ("commit", ask("git", &["describe", "--always", "--dirty"])),
        (
            "processor",
            format!("{} x {}", models.len(), models.first().unwrap_or(&"?")),
        ),
        ("memory", memory.to_owned()),
        ("load when it began", load.trim().to_owned()),
        ("host", ask("uname", &["-sr"])),
        ("emulator", qemu.unwrap_or_default()),
        (
            "nodes",
            format!(
                "{NODES}, each {} processors and {} MiB",
                options.smp, options.memory
            ),
        ),
        (
            "rounds",
            format!("{} after {} to warm up", options.repeat, options.warmup),
        ),
    ];
    Circumstances { lines }
}

/// Tells how far a guest is, and how long it may still take.
struct Progress {
    what: &'static str,
    line: Vec<u8>,
    /// When the first sample was there, and how many there were then.
    began: Option<(Instant, f64)>,
    shown: bool,
}

impl Progress {
    fn new(what: &'static str) -> Progress {
        Progress {
            what,
            line: Vec::new(),
            began: None,
            shown: false,
        }
    }

    fn hear(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if byte != b'\n' {
                self.line.push(byte);
                continue;
            }
            let line = std::mem::take(&mut self.line);
            let line = String::from_utf8_lossy(&line);
            let record = Record::read(line.trim_end()).filter(|record| record.kind == "progress");
            let counts = record.and_then(|it| it.number("done").zip(it.number("of")));
            if let Some((done, of)) = counts {
                let (began, first) = *self.began.get_or_insert((Instant::now(), done));
                let left = began.elapsed().as_secs_f64() * (of - done) / (done - first).max(1.0);
                eprint!(
                    "\rxtask: {}: {done} of {of}, about {left:.0} s left   ",
                    self.what
                );
                self.shown = true;
            }
        }
    }

    fn over(&self) {
        if self.shown {
            eprintln!();
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A run in which every kind of record stands.
    pub(crate) fn runs() -> Vec<Run> {
        let run = |what, text: &str| Run {
            what,
            link: Link {
                net: Net::Virtio,
                mtu: MTU,
                loss: Chance::NEVER,
                sealed: Sealing::Open,
                packing: Packing::Never,
            },
            records: text
                .lines()
                .map(|line| Record::read(line.trim()).expect("a record"))
                .collect(),
            timeline: Timeline::default(),
        };
        let raw = "round=1\twarmup=0\tpayload=-\trtt_p50_us=100\trtt_p99_us=200\trtt_min_us=90\tblast_bytes_per_s=100000000";
        let one = |size: u32, freeze: u32, warmup: u32| {
            format!(
                "link\t{raw}\nmove\tround=1\twarmup={warmup}\tsize_mib={size}\twanted=post-copy\tmode=post-copy\tfreeze_us={freeze}\tobserver_us=0\tpages_sent={}\tbytes={}\trelease_us=1000\tpush_us={}\ttotal_us=20000\tfaults=2\tstalls=3\tstall_worst_us=-\n",
                size * 256,
                size * 1_100_000,
                size * 12_000
            )
        };
        let moves = one(1, 900, 1) + &one(1, 150, 0) + &one(1, 170, 0) + &one(64, 160, 0);
        let calls = format!(
            "link\t{raw}\ncall\tround=1\twarmup=0\tstate=idle\tus=120,110,400\ncall\tround=1\twarmup=0\tstate=push\tus=150,900\nrate\tround=1\twarmup=0\tthreads=4\tcalls_per_s=9000"
        );
        let drain = format!(
            "link\t{raw}\nmove\tround=1\twarmup=0\tsize_mib=8\tpages_sent=2048\nmove\tround=1\twarmup=0\tsize_mib=8\tpages_sent=2048\ndrain\tround=1\twarmup=0\tprocesses=2\tsize_mib=8\ttotal_us=200000"
        );
        let sized = "link\t".to_owned() + &raw.replace("payload=-", "payload=1024");
        vec![
            run("link", &sized),
            run("migrate", &moves),
            run("forward", &calls),
            run("drain", &drain),
        ]
    }

    #[test]
    fn samples_stand_beside_the_raw_link_and_warming_up_does_not_count() {
        let groups = groups(&runs());
        let find = |what, x: f64| {
            let group = groups
                .iter()
                .find(|group| (group.what, group.x) == (what, x));
            group.expect("it was measured")
        };
        let small = find("migrate", 1.0);
        assert_eq!(small.samples["freeze_us"], [150.0, 170.0]);
        assert_eq!(small.samples["freeze_rtt"], [1.5, 1.7]);
        assert!(
            !small.samples.contains_key("observer_us"),
            "nobody has seen it"
        );
        assert!(
            !small.samples.contains_key("stall_worst_us"),
            "it is not known"
        );
        let share = small.samples["goodput_share"][0];
        assert!(
            (share - 256.0 * 4096.0 / 0.013 / 1e8).abs() < 1e-9,
            "{share}"
        );
        let drained = find("drain", 8.0).samples["goodput_bytes_per_s"][0];
        assert!((drained - 4096.0 * 4096.0 / 0.2).abs() < 1.0, "{drained}");
        assert_eq!(find("link", 1024.0).samples["raw_rtt_us"], [100.0]);
        assert_eq!(find("forward", 1.0).samples["call_rtt"], [1.2, 1.1, 4.0]);
        assert_eq!(find("forward", 4.0).samples["calls_per_s"], [9000.0]);
    }

    #[test]
    fn what_is_no_record_is_none() {
        assert_eq!(Record::read("hello"), None);
        assert_eq!(Record::read("move\tfreeze"), None);
        let record = Record::read("move\ta=1\tb=x=y").expect("a record");
        assert_eq!((record.number("a"), record.text("b")), (Some(1.0), "x=y"));
    }

    #[test]
    fn the_json_has_every_sample() {
        let runs = runs();
        let none = Circumstances {
            lines: vec![("when", "now".to_owned())],
        };
        let json = json_of(&none, &runs, &groups(&runs));
        let count: usize = runs.iter().map(|run| run.records.len()).sum();
        let written = json["runs"].as_array().expect("runs").iter();
        let written: usize = written
            .map(|run| run["records"].as_array().map_or(0, Vec::len))
            .sum();
        assert_eq!(written, count);
        assert_eq!(json["groups"][1]["figures"]["freeze_us"]["count"], 2);
    }
}
