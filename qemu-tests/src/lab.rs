//! What a scenario asks of the machinery that boots nodes, and what it gets back.

use crate::conductor::Conductor;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;
use switch::Faults;
use thiserror::Error;

/// A host file or folder put into the root file system of every node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Add {
    /// The file on the host.
    pub host: PathBuf,
    /// Absolute path in the guest; `None` lets the archive choose by the kind of file.
    pub guest: Option<String>,
}

/// What can be done to a running cluster. Nodes count from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// The node stops at once, without a word.
    Kill(usize),
    /// A node that was not started, or was killed, boots.
    Start(usize),
    /// Nothing passes from the first node to the second.
    Cut(usize, usize),
    /// Every cut is undone.
    Heal,
    /// Every link gets these faults.
    Faults(Faults),
    /// The node stands still, with its clock, as if its machine did.
    Pause(usize),
    /// It goes on.
    Continue(usize),
    /// From now on every request to the disk of a node fails, which is to end the node.
    BreakDisk(usize),
    /// The disk works again.
    MendDisk(usize),
    /// Somebody types into the console of a node.
    Type(usize, String),
    /// Random and changed frames go to the node, so long, as fast as it takes them.
    Bombard(usize, Duration),
    /// The user is told.
    Say(String),
}

/// An action that is due when a line on the console of node 1 is exactly `line`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trigger {
    /// The whole line.
    pub line: String,
    /// What happens then. Once.
    pub action: Action,
}

/// A turn of a dialogue with the console of node 1: somebody who types.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Turn {
    /// What is waited for, not necessarily a whole line. The turn before must have been made, and this
    /// must have come after what that waited for. Not empty.
    pub expects: String,
    /// What is typed then.
    pub types: String,
    /// Rows and columns that the window has from then on.
    pub resizes: Option<[u16; 2]>,
}

/// The network card of every node, by the name that QEMU gives it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Net {
    /// virtio-net.
    #[default]
    Virtio,
    /// Intel's 82574L.
    E1000e,
    /// Intel's 82540EM.
    E1000,
}

/// A name that no card has.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("the cards are virtio, e1000e and e1000")]
pub struct NoSuchCard;

impl FromStr for Net {
    type Err = NoSuchCard;

    fn from_str(text: &str) -> Result<Net, NoSuchCard> {
        let cards = [Net::Virtio, Net::E1000e, Net::E1000];
        let named = cards.into_iter().find(|card| card.to_string() == text);
        named.ok_or(NoSuchCard)
    }
}

impl fmt::Display for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Net::Virtio => "virtio",
            Net::E1000e => "e1000e",
            Net::E1000 => "e1000",
        })
    }
}

/// Whether nodes have disks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Disks {
    /// They have none.
    #[default]
    None,
    /// Each has one that is empty when the cluster boots, and outlives the node.
    Fresh,
    /// The same, and it cannot be written.
    ReadOnly,
    /// The same as fresh ones, and [`Action::BreakDisk`] works.
    Breakable,
    /// Each has the one of its number in this folder, which outlives the cluster.
    In(PathBuf),
}

/// Whether frames are authenticated.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Key {
    /// They are not.
    #[default]
    None,
    /// By a key that is made for this cluster.
    Fresh,
    /// By the key in this file.
    In(PathBuf),
}

/// How the frames of a cluster with a key are sealed (crate `seal`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Suite {
    /// Authenticated only.
    SipHash,
    /// Encrypted, too.
    #[default]
    ChaCha,
}

impl fmt::Display for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Suite::SipHash => "siphash",
            Suite::ChaCha => "chacha",
        })
    }
}

impl FromStr for Suite {
    type Err = String;

    fn from_str(text: &str) -> Result<Suite, String> {
        let all = [Suite::SipHash, Suite::ChaCha];
        let found = all.into_iter().find(|suite| suite.to_string() == text);
        found.ok_or_else(|| "a suite is chacha or siphash".to_owned())
    }
}

/// MTU of links where nothing else is said: a page and its header in one frame.
pub const MTU: u16 = 9000;

/// One cluster to boot.
#[derive(Debug, Clone)]
pub struct Spec {
    /// Names the log directory.
    pub name: String,
    /// How many nodes there are.
    pub nodes: usize,
    /// Nodes that are only booted by an [`Action::Start`].
    pub later: Vec<usize>,
    /// Memory of each node, in MiB.
    pub memory_mib: u32,
    /// CPUs of each node.
    pub smp: u32,
    /// The network card of each node.
    pub net: Net,
    /// Their disks.
    pub disks: Disks,
    /// Their key.
    pub key: Key,
    /// And what that is used for.
    pub suite: Suite,
    /// Nodes that have another one, which is made for them.
    pub strangers: Vec<usize>,
    /// Bytes behind an Ethernet header that card and switch carry for each node; the last counts for all that
    /// follow.
    pub mtus: Vec<u16>,
    /// Words added to the kernel command line.
    pub append: String,
    /// Run by the shell of node 1, which powers off with its status; `None` boots without one.
    pub script: Option<String>,
    /// Files for the root file system.
    pub adds: Vec<Add>,
    /// Files for the root file system that are given here: path in the guest, and text.
    pub texts: Vec<(String, String)>,
    /// Whether the libraries that added programs link to are added too.
    pub libraries: bool,
    /// Debian packages for the root file system, with what they depend on.
    pub packages: Vec<String>,
    /// Seeds the switch.
    pub seed: u64,
    /// What every link does from the start.
    pub faults: Faults,
    /// Links cut from the start: from, to.
    pub cuts: Vec<(usize, usize)>,
    /// What happens on the way.
    pub triggers: Vec<Trigger>,
    /// What is typed into the console.
    pub dialogue: Vec<Turn>,
    /// Rows and columns of the window at the other side of the console, when there is one.
    pub window: Option<[u16; 2]>,
    /// The watchdog, in seconds.
    pub timeout_s: u64,
    /// Where the switch writes all frames.
    pub pcap: Option<PathBuf>,
}

impl Spec {
    /// A cluster of `nodes` perfect nodes.
    pub fn new(name: &str, nodes: usize) -> Spec {
        Spec {
            name: name.to_owned(),
            nodes,
            later: Vec::new(),
            memory_mib: 256,
            smp: 1,
            net: Net::Virtio,
            disks: Disks::None,
            key: Key::None,
            suite: Suite::default(),
            strangers: Vec::new(),
            mtus: vec![MTU],
            append: String::new(),
            script: None,
            adds: Vec::new(),
            texts: Vec::new(),
            libraries: false,
            packages: Vec::new(),
            seed: 1,
            faults: Faults::default(),
            cuts: Vec::new(),
            triggers: Vec::new(),
            dialogue: Vec::new(),
            window: None,
            timeout_s: 120,
            pcap: None,
        }
    }

    /// The same with a script for node 1.
    pub fn script(mut self, script: impl Into<String>) -> Spec {
        self.script = Some(script.into());
        self
    }

    /// The same with so many processors in each node.
    pub fn smp(mut self, processors: u32) -> Spec {
        self.smp = processors;
        self
    }

    /// The same with such network cards.
    pub fn net(mut self, net: Net) -> Spec {
        self.net = net;
        self
    }

    /// The same with disks.
    pub fn disks(mut self, disks: Disks) -> Spec {
        self.disks = disks;
        self
    }

    /// The same with a key.
    pub fn key(mut self, key: Key) -> Spec {
        self.key = key;
        self
    }

    /// The same with another suite.
    pub fn suite(mut self, suite: Suite) -> Spec {
        self.suite = suite;
        self
    }

    /// The same with a node that has another key.
    pub fn stranger(mut self, node: usize) -> Spec {
        self.strangers.push(node);
        self
    }

    /// The same with links of such MTUs.
    pub fn mtus(mut self, mtus: &[u16]) -> Spec {
        self.mtus = mtus.to_vec();
        self
    }

    /// The MTU of a node, from 1.
    pub fn mtu(&self, node: usize) -> u16 {
        let own = self.mtus.get(node - 1).or(self.mtus.last());
        own.copied().unwrap_or(MTU)
    }

    /// The same with words added to the kernel command line.
    pub fn append(mut self, words: &str) -> Spec {
        self.append = words.to_owned();
        self
    }

    /// The same with somebody who types `types` when `expects` has come.
    pub fn says(mut self, expects: &str, types: impl Into<String>) -> Spec {
        self.dialogue.push(Turn {
            expects: expects.to_owned(),
            types: types.into(),
            resizes: None,
        });
        self
    }

    /// The same with a longer or shorter watchdog.
    pub fn timeout_s(mut self, seconds: u64) -> Spec {
        self.timeout_s = seconds;
        self
    }

    /// The same with faults on every link.
    pub fn faults(mut self, faults: Faults) -> Spec {
        self.faults = faults;
        self
    }

    /// The same with a host file at `guest`.
    pub fn add(mut self, host: impl Into<PathBuf>, guest: &str) -> Spec {
        self.adds.push(Add {
            host: host.into(),
            guest: Some(guest.to_owned()),
        });
        self
    }

    /// The same with a file that is given here.
    pub fn text(mut self, guest: &str, text: &str) -> Spec {
        self.texts.push((guest.to_owned(), text.to_owned()));
        self
    }

    /// The same with a Debian package and what it depends on.
    pub fn package(mut self, name: &str) -> Spec {
        self.packages.push(name.to_owned());
        self
    }

    /// The same with an action due when `line` appears on the console of node 1.
    pub fn when(mut self, line: &str, action: Action) -> Spec {
        self.triggers.push(Trigger {
            line: line.to_owned(),
            action,
        });
        self
    }
}

/// How a cluster ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// Node 1 powered off with this status.
    Status(u8),
    /// Node 1 ended without a status: reset, crash of the emulator. Says what is known.
    Crashed(String),
    /// The watchdog ended it.
    TimedOut,
    /// The user ended it.
    Quit,
    /// Its conductor did.
    Over,
}

/// What a cluster left behind.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// How it ended.
    pub ended: Ended,
    /// All that node 1 wrote, without carriage returns.
    pub console: String,
    /// Other nodes that ended on their own, with what is known.
    pub died: Vec<String>,
    /// The console logs of all nodes.
    pub logs: Vec<PathBuf>,
}

impl Outcome {
    /// The lines that programs wrote: without the log lines of the kernel.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.console.lines().filter(|line| !is_kernel_log(line))
    }
}

/// True for a line of the kernel's log, `[   0.123456] text`.
pub fn is_kernel_log(line: &str) -> bool {
    let Some(rest) = line.strip_prefix('[') else {
        return false;
    };
    let Some((stamp, _)) = rest.split_once(']') else {
        return false;
    };
    let stamp = stamp.trim_start();
    stamp.contains('.')
        && stamp
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'.')
}

/// Why a cluster could not be booted at all.
#[derive(Debug, Error)]
pub enum LabError {
    /// Something went wrong.
    #[error("{0}")]
    Failed(String),
    /// What the scenario is about cannot be fetched from here. Nothing is shown then, neither good nor bad.
    #[error("{0}")]
    Unavailable(String),
}

/// Programs that are built from Debian's sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Set {
    /// `speedtest1`, `mptester` and `threadtest3` of sqlite.
    Sqlite,
    /// The tests of Lua's libraries, a folder for each.
    Lua,
    /// The tests of Go's standard library: a folder for each package, in it `test`.
    Go,
    /// The selftests of Linux.
    Linux,
    /// The tests of libuv: one program, `run-tests`, and in `test` what they read.
    Uv,
    /// The Open POSIX Test Suite, each test a program.
    Posix,
}

/// A test of CRIU's zdtm, built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zdtm {
    /// Its name.
    pub name: String,
    /// The program.
    pub program: PathBuf,
    /// The options that it has to be given besides those that all have.
    pub options: String,
}

/// Boots clusters.
pub trait Lab {
    /// Boots one, lets it run to its end and returns what it left.
    ///
    /// # Errors
    /// When it could not be started; a cluster that ran badly is an [`Outcome`].
    fn boot(&self, spec: &Spec) -> Result<Outcome, LabError>;

    /// Boots one that `conductor` leads to its end.
    ///
    /// # Errors
    /// When it could not be started.
    fn conduct(&self, spec: &Spec, conductor: &mut dyn Conductor) -> Result<Outcome, LabError>;

    /// Names of the probes in the root file system, from `probes --list`.
    ///
    /// # Errors
    /// When the probes cannot be asked.
    fn probes(&self) -> Result<Vec<String>, LabError>;

    /// What the same probe prints on the host.
    ///
    /// # Errors
    /// When it fails there.
    fn probe_on_host(&self, arguments: &[&str]) -> Result<String, LabError>;

    /// What the random programs print on the host.
    ///
    /// # Errors
    /// When they fail there.
    fn trials_on_host(&self, arguments: &[&str]) -> Result<String, LabError>;

    /// A folder with busybox's own suite and a static busybox.
    ///
    /// # Errors
    /// When it cannot be had.
    fn busybox_suite(&self) -> Result<PathBuf, LabError>;

    /// What the units of that suite that match print on the host, run by `script` with a limit in
    /// seconds for each.
    ///
    /// # Errors
    /// When it cannot be run there.
    fn busybox_suite_on_host(
        &self,
        script: &str,
        limit_s: u32,
        patterns: &[&str],
    ) -> Result<String, LabError>;

    /// A folder with programs built from Debian's sources.
    ///
    /// # Errors
    /// When they cannot be had.
    fn programs(&self, set: Set) -> Result<PathBuf, LabError>;

    /// What a shell command prints on the host, with that folder at `$S`.
    ///
    /// # Errors
    /// When it fails there.
    fn programs_on_host(&self, set: Set, command: &str) -> Result<String, LabError>;

    /// The tests of CRIU's zdtm that are wanted, by name.
    ///
    /// # Errors
    /// When they cannot be had.
    fn zdtm(&self, wanted: &dyn Fn(&str) -> bool) -> Result<Vec<Zdtm>, LabError>;

    /// What busybox prints on the host for these arguments.
    ///
    /// # Errors
    /// When it fails there.
    fn busybox_on_host(&self, arguments: &[&str]) -> Result<String, LabError>;

    /// A real file of this host with at least `bytes` bytes.
    ///
    /// # Errors
    /// When there is none.
    fn large_file(&self, bytes: u64) -> Result<PathBuf, LabError>;
}

#[cfg(test)]
mod tests {
    use super::is_kernel_log;

    #[test]
    fn kernel_log_lines_are_told_from_others() {
        assert!(is_kernel_log("[   0.123456] memory: 256 MiB"));
        assert!(is_kernel_log("[12.5] x"));
        for other in ["", "[", "[]", "[ab.c] x", "[12] x", "PASS x", "PASS [0.1]"] {
            assert!(!is_kernel_log(other), "{other}");
        }
    }
}
