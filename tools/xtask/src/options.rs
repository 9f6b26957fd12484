//! The command line: what can be asked of `cargo xtask`.

use crate::compile::Compiler;
use crate::error::Error;
use crate::program;
use clap::{Args, Parser, Subcommand};
use qemu_tests::{Add, Disks, Key, MTU, Net, Spec, Suite};
use std::fmt;
use std::path::PathBuf;
use switch::{Chance, Faults, PORTS_MAX};
use wire::MTU_LEAST;

/// The one entry to Dunlin: boots clusters, runs programs on them, tests and measures.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", max_term_width = 100)]
pub(crate) struct Options {
    /// Which compiler builds the kernel.
    #[arg(
        long,
        global = true,
        value_enum,
        env = "DUNLIN_COMPILER",
        default_value = "auto"
    )]
    pub(crate) compiler: Compiler,
    /// Boot this kernel image instead of building one.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) kernel: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Boot 3 nodes and move two running programs between them.
    Demo(Hardware),
    /// Run every test, or those whose name contains FILTER.
    Test(TestOptions),
    /// Boot a cluster, run a script on node 1 and end with its status.
    Run(RunOptions),
    /// Boot a cluster with this terminal as the console of node 1. Ctrl-A X leaves.
    Cluster(ClusterOptions),
    /// Run a script and write what all nodes tell of its moves as trace events for Perfetto.
    Trace(TraceOptions),
    /// Measure.
    Bench {
        /// What to measure.
        #[command(subcommand)]
        what: Bench,
    },
    /// Hostile bytes for everything that takes some from the wire, guided by coverage (libFuzzer).
    Fuzz(FuzzOptions),
    /// Programs on a cluster that is treated badly: moved all the time, nodes killed, links cut. Ends well if none was harmed.
    Soak(SoakOptions),
    /// Explore the hand-over in every order, by the shipped machines, until a promise breaks.
    Model(ModelOptions),
    /// Simulate on this machine, without booting anything.
    Sim {
        /// What to simulate.
        #[command(subcommand)]
        what: Sim,
    },
    /// Make the key of a cluster, and from it what each node is to be given.
    Key(KeyOptions),
    /// Write SYSCALLS.md anew from the table of calls.
    Syscalls,
    /// Write the dissector for Wireshark anew from the definitions in net/wire.
    Dissector {
        /// Try it with Debian's tshark instead.
        #[arg(long)]
        check: bool,
    },
    /// Build the kernel and the user programs, and set up what they need.
    Build,
}

/// Options of `key`.
#[derive(Debug, Args)]
pub(crate) struct KeyOptions {
    /// The key of the cluster's owner, for `--key`; made if it is missing.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Also write what each of so many nodes is to be given, as QEMU's fw_cfg file opt/dunlin/key.
    #[arg(long, value_name = "N", requires = "into", value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub(crate) nodes: Option<u16>,
    /// Where that goes: node-1.key and so on, each for that node alone.
    #[arg(long, value_name = "FOLDER", requires = "nodes")]
    pub(crate) into: Option<PathBuf>,
    /// The suite of the cluster: chacha (encrypted) or siphash (authenticated only, and faster).
    #[arg(long, value_name = "SUITE", default_value_t = Suite::ChaCha)]
    pub(crate) suite: Suite,
}

/// Options of `soak`.
#[derive(Debug, Args)]
pub(crate) struct SoakOptions {
    /// How long the weather is bad. After that the last programs come to their ends, and every node is counted.
    #[arg(long, value_name = "M", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub(crate) minutes: u64,
    /// How many nodes boot; each of them runs programs, and each may be killed.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u8).range(2..=32))]
    pub(crate) nodes: u8,
    /// Seeds what happens to nodes and links, and when. What programs and moves make of it takes its own course.
    #[arg(long, value_name = "S", default_value_t = 1)]
    pub(crate) seed: u64,
    /// Seconds from one killed node to the next.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(5..=100_000))]
    pub(crate) kill_every: u64,
    #[command(flatten)]
    pub(crate) hardware: Hardware,
}

/// Options of `fuzz`.
#[derive(Debug, Args)]
pub(crate) struct FuzzOptions {
    /// Seconds for each target.
    #[arg(long, value_name = "S", default_value_t = 60)]
    pub(crate) seconds: u64,
    /// Only this target.
    #[arg(long, value_name = "NAME")]
    pub(crate) target: Option<String>,
}

/// Options of `model`.
#[derive(Debug, Args)]
pub(crate) struct ModelOptions {
    /// Explore longer runs, too, until there were so many different states.
    #[arg(long, value_name = "N", conflicts_with = "seconds")]
    pub(crate) states: Option<u64>,
    /// Explore longer runs, too, until so many seconds have passed.
    #[arg(long, value_name = "S")]
    pub(crate) seconds: Option<u64>,
    /// On so many processors.
    #[arg(long, value_name = "T", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(crate) threads: u32,
    /// Take each rule of the machines away instead; its lack must be noticed.
    #[arg(long, conflicts_with_all = ["states", "seconds", "seeds"])]
    pub(crate) mutants: bool,
    /// Play long random runs instead, so many.
    #[arg(long, value_name = "N", conflicts_with_all = ["states", "seconds"])]
    pub(crate) seeds: Option<u64>,
    /// The first of them.
    #[arg(long, value_name = "SEED", requires = "seeds", default_value_t = 0)]
    pub(crate) first_seed: u64,
}

/// What can be simulated.
#[derive(Debug, Subcommand)]
pub(crate) enum Sim {
    /// Thousands of nodes on which people start processes: what policies make of the same day.
    Cluster(SimOptions),
    /// Whole clusters of kernels with their programs under every fault, world after world.
    Faults(FaultsOptions),
    /// The fault matrix: a step of a move, what happens just then, and what has to become of the process.
    Cells(CellsOptions),
}

/// Options of `sim cells`.
#[derive(Debug, Args)]
pub(crate) struct CellsOptions {
    /// So many worlds of each cell.
    #[arg(long, value_name = "N", default_value_t = 16)]
    pub(crate) seeds: u64,
    /// Only cells whose names begin so.
    #[arg(long, value_name = "NAME")]
    pub(crate) cell: Option<String>,
    /// One world of the cell, with a line for each event.
    #[arg(long, value_name = "S", requires = "cell", conflicts_with = "seeds")]
    pub(crate) seed: Option<u64>,
}

/// Options of `sim faults`.
#[derive(Debug, Args)]
pub(crate) struct FaultsOptions {
    /// So many worlds.
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(crate) seeds: u64,
    /// From this seed on.
    #[arg(long, value_name = "S", default_value_t = 0)]
    pub(crate) first: u64,
    /// This world alone, with a line for each event.
    #[arg(long, value_name = "S", conflicts_with_all = ["seeds", "first", "json"])]
    pub(crate) seed: Option<u64>,
    /// Nodes of each world, if not 3 to 7 as the seed chooses.
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u16).range(2..=16))]
    pub(crate) nodes: Option<u16>,
    /// Switch a known bug on, which is to be found (any other word lists them).
    #[arg(long, value_name = "NAME")]
    pub(crate) canary: Option<String>,
    /// Print figures as JSON instead of a table.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Options of `sim cluster`.
#[derive(Debug, Args)]
pub(crate) struct SimOptions {
    /// Nodes.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(2..=20_000))]
    pub(crate) nodes: u32,
    /// The same seed gives the same, bit by bit.
    #[arg(long, value_name = "S", default_value_t = 1)]
    pub(crate) seed: u64,
    /// balance, balance+exec, exec, scavenge, random, none, or all; the bound is always there.
    #[arg(long, value_name = "P,P...", default_value = "all")]
    pub(crate) policy: String,
    /// What happens: usual (owners, deaths, lies), calm (none of that), crowd (all start on one node).
    #[arg(long, value_name = "SCENE", default_value = "usual", value_parser = ["usual", "calm", "crowd"])]
    pub(crate) scene: String,
    /// Processes, if not as many as fit the time.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) processes: u32,
    /// How many minutes processes are started, if not as many as fit their number.
    #[arg(long, value_name = "M", default_value_t = 0)]
    pub(crate) minutes: u32,
    /// Hours, in addition.
    #[arg(long, value_name = "H", default_value_t = 0)]
    pub(crate) hours: u32,
    /// Nodes that die, and boot again after half a minute.
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub(crate) deaths: u32,
    /// Draw load over time, as SVG.
    #[arg(long, value_name = "FILE")]
    pub(crate) plot: Option<PathBuf>,
    /// Print figures as JSON instead of a table.
    #[arg(long)]
    pub(crate) json: bool,
}

/// What can be measured.
#[derive(Debug, Subcommand)]
pub(crate) enum Bench {
    /// Moves there and back: freeze, page stream, stalls, by size and mode.
    Migrate(MeasureOptions),
    /// The raw link: goodput and round trip by the size of frames.
    Link(MeasureOptions),
    /// Calls that go home: alone, during a push, by several threads.
    Forward(MeasureOptions),
    /// Eight processes leave a node at the same time.
    Drain(MeasureOptions),
    /// All of these, one after the other.
    All(MeasureOptions),
    /// Files of the home node, read and written in order from another node, against the page stream.
    Files(BenchOptions),
    /// System calls at home, away, and on Linux in the same emulator.
    Syscall(SyscallOptions),
    /// The link, the page stream and moves beside two Linux machines in the same emulator: raw frames, TCP and CRIU.
    Linux(LinuxOptions),
}

/// Whether frames are authenticated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Sealing {
    /// They are not.
    Open,
    /// They are, by a key that is made for the cluster.
    Sealed,
    /// They are encrypted, too.
    Encrypted,
}

/// Whether pushed pages are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Packing {
    /// Never.
    Never,
    /// Where it is faster, as outside of a bench.
    Measured,
    /// Each that becomes much shorter.
    Always,
}

/// Options of `bench migrate`, `link`, `forward`, `drain` and `all`.
#[derive(Debug, Args)]
pub(crate) struct MeasureOptions {
    /// MiB of the processes that move; for `link` bytes behind the headers of frames.
    #[arg(long, value_name = "N,N...")]
    pub(crate) sizes: Option<String>,
    /// How processes move; all ways if this is not said.
    #[arg(long, value_name = "MODE,MODE...")]
    pub(crate) modes: Option<String>,
    /// Network cards of the nodes: virtio, e1000e, e1000.
    #[arg(long, value_name = "CARD,CARD...", value_delimiter = ',', default_values_t = [Net::Virtio])]
    pub(crate) net: Vec<Net>,
    /// Bytes behind an Ethernet header that cards and switch carry.
    #[arg(long, value_name = "BYTES,BYTES...", value_delimiter = ',', default_values_t = [MTU], value_parser = mtu())]
    pub(crate) mtu: Vec<u16>,
    /// Per cent of frames that each link loses.
    #[arg(long, value_name = "PERCENT,PERCENT...", value_delimiter = ',', default_values_t = [Chance::NEVER])]
    pub(crate) loss: Vec<Chance>,
    /// Whether frames are authenticated: open, sealed, encrypted, or one cluster of each.
    #[arg(long, value_name = "S,S...", value_enum, value_delimiter = ',', default_values_t = [Sealing::Open])]
    pub(crate) seal: Vec<Sealing>,
    /// Whether pages that are pushed travel compressed: never, measured, always, or one cluster of each.
    #[arg(long, value_name = "P,P...", value_enum, value_delimiter = ',', default_values_t = [Packing::Never])]
    pub(crate) pack: Vec<Packing>,
    /// The processes hold text of few words, which can be compressed, instead of noise, which cannot.
    #[arg(long)]
    pub(crate) text: bool,
    /// Nodes keep pages of processes that leave, as they do outside of a bench: on the way back only what has changed
    /// travels, and there is no page stream to measure.
    #[arg(long)]
    pub(crate) keep_pages: bool,
    /// Rounds that count; every size and mode has its turn in each.
    #[arg(long, value_name = "R", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) repeat: u32,
    /// Rounds before them that do not count.
    #[arg(long, value_name = "W", default_value_t = 1)]
    pub(crate) warmup: u32,
    /// Write all samples and figures to this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Write a page that a person can read, and the samples, into this folder.
    #[arg(long, value_name = "DIR")]
    pub(crate) report: Option<PathBuf>,
    /// Memory of each node, in MiB.
    #[arg(long, value_name = "MIB", default_value_t = 1024)]
    pub(crate) memory: u32,
    /// Seconds after which a hung cluster is ended.
    #[arg(long, value_name = "SECONDS", default_value_t = 900)]
    pub(crate) timeout: u64,
    /// Processors of each node.
    #[arg(long, value_name = "C", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(crate) smp: u32,
}

/// Options of `bench syscall`.
#[derive(Debug, Args)]
pub(crate) struct SyscallOptions {
    /// Also write the figures as JSON.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// How often nodes and Linux take turns.
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub(crate) rounds: u32,
    #[command(flatten)]
    pub(crate) cluster: BenchCluster,
}

/// Options of `bench linux`.
#[derive(Debug, Args)]
pub(crate) struct LinuxOptions {
    /// MiB of the processes that move.
    #[arg(long, value_name = "N,N...", value_delimiter = ',', default_values_t = [1, 64], value_parser = clap::value_parser!(u32).range(1..=512))]
    pub(crate) sizes: Vec<u32>,
    /// How often nodes and Linux take turns.
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub(crate) rounds: u32,
    /// Also write the figures and the samples of Linux as JSON.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Memory of each node and of each Linux machine, in MiB.
    #[arg(long, value_name = "MIB", default_value_t = 1024)]
    pub(crate) memory: u32,
    /// Seconds after which a hung cluster is ended.
    #[arg(long, value_name = "SECONDS", default_value_t = 900)]
    pub(crate) timeout: u64,
}

/// What each node is made of.
#[derive(Debug, Clone, Args)]
pub(crate) struct Hardware {
    /// Processors of each node.
    #[arg(long, value_name = "C", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(crate) smp: u32,
    /// Network card of each node: virtio, e1000e or e1000.
    #[arg(long, value_name = "CARD", default_value_t = Net::Virtio)]
    pub(crate) net: Net,
    /// Bytes behind an Ethernet header that card and switch carry, of all nodes or of one after the other.
    #[arg(long, value_name = "BYTES,BYTES...", value_delimiter = ',', default_values_t = [MTU], value_parser = mtu())]
    pub(crate) mtu: Vec<u16>,
    /// Nodes hear only each other: each has a key, made from the one in FILE (32 bytes, or 64 hexadecimal digits), and
    /// knows the others by theirs.
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
    /// The same with a key that is made for this cluster.
    #[arg(long, conflicts_with = "key")]
    pub(crate) sealed: bool,
    /// How the frames of a cluster with a key are sealed: chacha (encrypted) or siphash (authenticated only, and faster).
    #[arg(long, value_name = "SUITE", default_value_t = Suite::ChaCha)]
    pub(crate) suite: Suite,
}

impl Hardware {
    /// Gives it to a cluster.
    pub(crate) fn put_into(&self, spec: &mut Spec) {
        spec.smp = self.smp;
        spec.net = self.net;
        spec.mtus = self.mtu.clone();
        spec.suite = self.suite;
        spec.key = match &self.key {
            Some(file) => Key::In(file.clone()),
            None if self.sealed => Key::Fresh,
            None => Key::None,
        };
    }
}

impl fmt::Display for Hardware {
    /// As it is asked for.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "--smp {} --net {}", self.smp, self.net)?;
        if self.mtu != [MTU] {
            let mtus: Vec<_> = self.mtu.iter().map(u16::to_string).collect();
            write!(f, " --mtu {}", mtus.join(","))?;
        }
        if let Some(file) = &self.key {
            write!(f, " --key {}", file.display())?;
        }
        if self.sealed {
            f.write_str(" --sealed")?;
        }
        if self.suite != Suite::ChaCha {
            write!(f, " --suite {}", self.suite)?;
        }
        Ok(())
    }
}

/// What a kernel can use: it needs a header and a piece of a page in one frame.
fn mtu() -> clap::builder::RangedI64ValueParser<u16> {
    clap::value_parser!(u16).range(i64::from(MTU_LEAST)..=16_000)
}

/// Options of `bench files`.
#[derive(Debug, Args)]
pub(crate) struct BenchOptions {
    /// Also write the figures as JSON.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Arguments for bench-files in the guest.
    #[arg(value_name = "ARGUMENT", allow_hyphen_values = true)]
    pub(crate) arguments: Vec<String>,
    #[command(flatten)]
    pub(crate) cluster: BenchCluster,
}

/// The cluster that is measured.
#[derive(Debug, Args)]
pub(crate) struct BenchCluster {
    /// Memory of each node, in MiB.
    #[arg(long, value_name = "MIB", default_value_t = 1024)]
    pub(crate) memory: u32,
    /// Seconds after which a hung cluster is ended.
    #[arg(long, value_name = "SECONDS", default_value_t = 900)]
    pub(crate) timeout: u64,
    #[command(flatten)]
    pub(crate) hardware: Hardware,
}

/// Options of `test`.
#[derive(Debug, Args)]
pub(crate) struct TestOptions {
    /// Only tests whose name contains this.
    pub(crate) filter: Option<String>,
    /// Only what runs on the host.
    #[arg(long, conflicts_with = "qemu")]
    pub(crate) host: bool,
    /// Only what boots nodes.
    #[arg(long)]
    pub(crate) qemu: bool,
    /// Only what takes too long otherwise; the result is kept in docs/long-run.md.
    #[arg(long, conflicts_with = "host")]
    pub(crate) long: bool,
    /// Seeds the switch and the random programs, to repeat a failure.
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub(crate) seed: u64,
    /// Seconds after which a hung cluster is ended, instead of what each test says.
    #[arg(long, value_name = "SECONDS")]
    pub(crate) timeout: Option<u64>,
    /// Print the names of the tests that boot nodes, and run none.
    #[arg(long)]
    pub(crate) list: bool,
    /// Processors of each node in all tests. Without this some have one and some two.
    #[arg(long, value_name = "C", value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(crate) smp: Option<u32>,
    /// Network card of each node, virtio, e1000e or e1000, in the tests that are not of one card.
    #[arg(long, value_name = "CARD")]
    pub(crate) net: Option<Net>,
    /// Bytes behind an Ethernet header that card and switch carry, of all nodes or of one after the other.
    #[arg(long, value_name = "BYTES,BYTES...", value_delimiter = ',', value_parser = mtu())]
    pub(crate) mtu: Vec<u16>,
    /// Every cluster has a key.
    #[arg(long)]
    pub(crate) sealed: bool,
}

/// Options of `run`.
#[derive(Debug, Args)]
pub(crate) struct RunOptions {
    /// A file whose lines the shell of node 1 runs.
    #[arg(long, value_name = "FILE", required_unless_present = "commands")]
    pub(crate) script: Option<PathBuf>,
    /// Commands that the shell of node 1 runs.
    #[arg(short = 'c', value_name = "COMMANDS", conflicts_with = "script")]
    pub(crate) commands: Option<String>,
    /// Seconds after which a hung cluster is ended with status 124.
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    pub(crate) timeout: u64,
    #[command(flatten)]
    pub(crate) cluster: ClusterOptions,
}

/// Options of `trace`.
#[derive(Debug, Args)]
pub(crate) struct TraceOptions {
    /// Where the trace events go.
    #[arg(long, value_name = "FILE", default_value = "trace.json")]
    pub(crate) out: PathBuf,
    #[command(flatten)]
    pub(crate) run: RunOptions,
}

/// The cluster and the links between its nodes.
#[derive(Debug, Args)]
pub(crate) struct ClusterOptions {
    /// How many nodes boot.
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub(crate) nodes: usize,
    /// Memory of each node, in MiB.
    #[arg(long, value_name = "MIB", default_value_t = 256)]
    pub(crate) memory: u32,
    #[command(flatten)]
    pub(crate) hardware: Hardware,
    /// Put a host file or a whole folder into the root file system. Without GUESTPATH, programs
    /// go to /bin and all else to /data, under their own name. A name without a slash may be that
    /// of a program on PATH.
    #[arg(long, value_name = "HOSTFILE[:GUESTPATH]")]
    pub(crate) add: Vec<String>,
    /// Put in what the added programs link to: their interpreters and libraries.
    #[arg(long)]
    pub(crate) with_libs: bool,
    /// Put a Debian package with what it depends on into the root file system.
    #[arg(long, value_name = "NAME")]
    pub(crate) package: Vec<String>,
    /// Give each node the disk DIR/node-N.disk, made if it is missing: what it is home of outlives its boots there.
    #[arg(long, value_name = "DIR")]
    pub(crate) disk: Option<PathBuf>,
    /// Words added to the kernel command line of every node.
    #[arg(long, value_name = "WORDS", default_value = "")]
    pub(crate) append: String,
    /// Per cent of frames that each link loses.
    #[arg(long, value_name = "PERCENT", default_value = "0")]
    pub(crate) loss: Chance,
    /// Per cent of frames that arrive twice.
    #[arg(long, value_name = "PERCENT", default_value = "0")]
    pub(crate) duplicate: Chance,
    /// Per cent of frames that later ones overtake.
    #[arg(long, value_name = "PERCENT", default_value = "0")]
    pub(crate) reorder: Chance,
    /// Lateness of every frame, in microseconds.
    #[arg(long, value_name = "US", default_value_t = 0)]
    pub(crate) delay: u32,
    /// Random lateness up to this many microseconds more; frames may overtake.
    #[arg(long, value_name = "US", default_value_t = 0)]
    pub(crate) jitter: u32,
    /// Rate of each link, in Mbit/s; 0 is no limit.
    #[arg(long, value_name = "MBIT", default_value_t = 0)]
    pub(crate) rate: u32,
    /// Cut a link: `1-2` both ways, `1>2` one way.
    #[arg(long, value_name = "A-B|A>B")]
    pub(crate) cut: Vec<String>,
    /// Seeds what the links do.
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub(crate) seed: u64,
    /// Write every frame that enters the switch to this capture file.
    #[arg(long, value_name = "FILE")]
    pub(crate) pcap: Option<PathBuf>,
}

impl ClusterOptions {
    /// The cluster that was asked for, its logs named `name`.
    pub(crate) fn spec(&self, name: &str) -> Result<Spec, Error> {
        if !(1..=PORTS_MAX).contains(&self.nodes) {
            return Err(Error::Usage(format!("--nodes is from 1 to {PORTS_MAX}")));
        }
        if self.memory < 32 {
            return Err(Error::Usage(
                "--memory: a node needs at least 32 MiB".into(),
            ));
        }
        let mut spec = Spec::new(name, self.nodes)
            .append(&self.append)
            .faults(Faults {
                loss: self.loss,
                duplicate: self.duplicate,
                reorder: self.reorder,
                delay_us: self.delay,
                jitter_us: self.jitter,
                rate_mbit: self.rate,
            });
        spec.memory_mib = self.memory;
        self.hardware.put_into(&mut spec);
        if let Some(directory) = &self.disk {
            spec.disks = Disks::In(directory.clone());
        }
        spec.seed = self.seed;
        spec.pcap = self.pcap.clone();
        for cut in &self.cut {
            spec.cuts.extend(parse_cut(cut, self.nodes)?);
        }
        spec.adds = self
            .add
            .iter()
            .map(|text| parse_add(text))
            .collect::<Result<_, _>>()?;
        spec.libraries = self.with_libs;
        spec.packages = self.package.clone();
        Ok(spec)
    }
}

/// `1-2` or `1>2` as directed links.
fn parse_cut(text: &str, nodes: usize) -> Result<Vec<(usize, usize)>, Error> {
    let wrong = || {
        Error::Usage(format!(
            "--cut {text}: give two different nodes from 1 to {nodes} as A-B or A>B"
        ))
    };
    let one_way = text.split_once('>');
    let (from, to) = one_way.or_else(|| text.split_once('-')).ok_or_else(wrong)?;
    let node = |text: &str| text.trim().parse().ok().filter(|n| (1..=nodes).contains(n));
    let (from, to) = (node(from).ok_or_else(wrong)?, node(to).ok_or_else(wrong)?);
    if from == to {
        return Err(wrong());
    }
    Ok(if one_way.is_some() {
        vec![(from, to)]
    } else {
        vec![(from, to), (to, from)]
    })
}

/// `HOSTFILE[:GUESTPATH]`; a guest path begins with `/`, so a host name may hold a colon.
fn parse_add(text: &str) -> Result<Add, Error> {
    let (host, guest) = match text.rsplit_once(":/") {
        Some((host, rest)) => (host, Some(format!("/{rest}"))),
        None => (text, None),
    };
    let plain = PathBuf::from(host);
    let on_path = || program::find(host).filter(|_| !host.contains('/'));
    let host = if plain.exists() {
        plain
    } else {
        on_path().unwrap_or(plain)
    };
    if !host.is_file() && !host.is_dir() {
        return Err(Error::Usage(format!(
            "--add {text}: there is no file or folder {}",
            host.display()
        )));
    }
    Ok(Add { host, guest })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Options::command().debug_assert();
    }

    #[test]
    fn cuts_are_read_both_ways_and_one_way() {
        assert_eq!(parse_cut("1-2", 3).ok(), Some(vec![(1, 2), (2, 1)]));
        assert_eq!(parse_cut("3>1", 3).ok(), Some(vec![(3, 1)]));
        for bad in ["", "1", "1-4", "0-1", "2-2", "a-b", "1-2-3"] {
            assert!(parse_cut(bad, 3).is_err(), "{bad}");
        }
    }

    #[test]
    fn added_files_may_say_where() {
        let add = parse_add("/bin/sh:/bin/other").ok();
        let expected = Add {
            host: "/bin/sh".into(),
            guest: Some("/bin/other".into()),
        };
        assert_eq!(add, Some(expected));
        assert_eq!(parse_add("/bin/sh").ok().and_then(|add| add.guest), None);
        assert!(parse_add("/nowhere/x").is_err());
    }

    #[test]
    fn a_node_has_from_1_to_64_processors() {
        for (count, allowed) in [("0", false), ("1", true), ("64", true), ("65", false)] {
            let words = ["xtask", "run", "--smp", count, "-c", "ps"];
            assert_eq!(Options::try_parse_from(words).is_ok(), allowed, "{count}");
        }
    }

    #[test]
    fn a_node_has_one_of_three_cards() {
        for (card, allowed) in [
            ("virtio", true),
            ("e1000e", true),
            ("e1000", true),
            ("ne2k", false),
        ] {
            for words in [
                vec!["xtask", "run", "-c", "ps"],
                vec!["xtask", "test"],
                vec!["xtask", "demo"],
            ] {
                let words = words.into_iter().chain(["--net", card]);
                assert_eq!(Options::try_parse_from(words).is_ok(), allowed, "{card}");
            }
        }
    }

    #[test]
    fn run_wants_a_script_or_commands() {
        assert!(Options::try_parse_from(["xtask", "run"]).is_err());
        assert!(Options::try_parse_from(["xtask", "run", "-c", "ps"]).is_ok());
        let both = ["xtask", "run", "-c", "ps", "--script", "x"];
        assert!(Options::try_parse_from(both).is_err());
    }
}
