//! What /proc shows of the node as a whole.
//!
//! Law: a text is made whole when it is read from its start. Formats are those of proc(5).

use super::{NS_PER_S, TICK_NS};
use crate::calls::home::HOST_NAME;
use crate::files::GlobalFile;
use crate::system::System;
use alloc::format;
use alloc::string::{String, ToString};
use core::fmt::Write as _;
use machine::{FrameCounts, PAGE_SIZE};

/// `/proc/slabinfo`: nothing is in slabs.
const SLABINFO: &str = "slabinfo - version: 2.1\n\
     # name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab> : tunables <limit> \
     <batchcount> <sharedfactor> : slabdata <active_slabs> <num_slabs> <sharedavail>\n";
/// `/proc/tty/drivers`, from which ps(1) knows the names of terminals.
const TTY_DRIVERS: &str = "\
/dev/tty             /dev/tty        5       0 system:/dev/tty
/dev/console         /dev/console    5       1 system:console
/dev/ptmx            /dev/ptmx       5       2 system
serial               /dev/ttyS       4      64 serial
pty_slave            /dev/pts      136 0-1048575 pty:slave
pty_master           /dev/ptm      128 0-1048575 pty:master
";

impl System {
    /// How many run, or could.
    pub(crate) fn running(&self) -> u64 {
        let processors = self.processors.iter();
        let busy = processors.filter(|processor| processor.running.is_some());
        (self.ready_count() + busy.count()) as u64
    }

    pub(super) fn global(&mut self, file: GlobalFile) -> String {
        let up = self.now;
        let idle: u64 = (self.processors.iter())
            .map(|processor| processor.idle_ns)
            .sum();
        match file {
            GlobalFile::Meminfo => meminfo(&self.frames()),
            GlobalFile::NodeMeminfo => node_meminfo(&self.frames()),
            GlobalFile::Stat => self.statistics(),
            GlobalFile::Uptime => format!(
                "{}.{:02} {}.{:02}\n",
                up / NS_PER_S,
                up % NS_PER_S / TICK_NS,
                idle / NS_PER_S,
                idle % NS_PER_S / TICK_NS
            ),
            GlobalFile::Loadavg => {
                let [one, five, fifteen] = self.load.decimals();
                format!(
                    "{}.{:02} {}.{:02} {}.{:02} {}/{} {}\n",
                    one.0,
                    one.1,
                    five.0,
                    five.1,
                    fifteen.0,
                    fifteen.1,
                    self.running().max(1),
                    self.homes.len(),
                    wire::Pid::new(self.me, self.last_serial).0
                )
            }
            // Files tell of mounts themselves.
            GlobalFile::Mounts => String::new(),
            GlobalFile::Cpuinfo => cpuinfo(),
            GlobalFile::Cmdline => format!("{}\n", self.settings.command_line),
            GlobalFile::Config => super::configuration::text(),
            GlobalFile::Version => {
                format!("Linux version 6.1.0-{HOST_NAME} (dunlin@{HOST_NAME}) #1 Dunlin\n")
            }
            GlobalFile::Filesystems => "nodev\tproc\nnodev\ttmpfs\nnodev\tpipefs\n".to_string(),
            GlobalFile::Swaps => "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n".to_string(),
            GlobalFile::Partitions => "major minor  #blocks  name\n\n".to_string(),
            GlobalFile::Diskstats => String::new(),
            GlobalFile::Devices => {
                "Character devices:\n  1 mem\n  5 /dev/tty\n  5 /dev/console\n136 pts\n\nBlock devices:\n"
                    .to_string()
            }
            GlobalFile::Locks => self.fs.lock_table(),
            GlobalFile::Vmstat => vmstat(&self.frames()),
            // Which processor took an interrupt, and for whom, is not counted.
            GlobalFile::Interrupts | GlobalFile::Softirqs => {
                let width = if file == GlobalFile::Interrupts { 11 } else { 20 };
                let mut text = " ".repeat(width);
                for cpu in 0..self.processors.len() {
                    let _ = write!(text, "{:<11}", format!("CPU{cpu}"));
                }
                text + "\n"
            }
            GlobalFile::Modules => String::new(),
            GlobalFile::Buddyinfo => {
                // Frames are handed out one by one.
                let free = machine::frame_counts().free;
                format!("Node 0, zone   Normal {free:>6} {}\n", "     0 ".repeat(10))
            }
            GlobalFile::Cgroups => "#subsys_name\thierarchy\tnum_cgroups\tenabled\n".to_string(),
            GlobalFile::Consoles => "ttyS0                -W- (EC    a)    4:64\n".to_string(),
            GlobalFile::Execdomains => "0-0\tLinux           \t[kernel]\n".to_string(),
            GlobalFile::Misc => String::new(),
            GlobalFile::Slabinfo => SLABINFO.to_string(),
            GlobalFile::TtyDrivers => TTY_DRIVERS.to_string(),
            GlobalFile::TtyLdiscs => "n_tty       0\n".to_string(),
            GlobalFile::SysvShm => self.ipc.shm_table(),
            GlobalFile::SysvSem => self.ipc.sem_table(),
            GlobalFile::SysvMsg => self.ipc.msg_table(),
            GlobalFile::Sys(name) => self.setting(name),
        }
    }

    fn statistics(&self) -> String {
        let times = (self.processors.iter())
            .map(|processor| [processor.ran_ns, processor.system_ns, processor.idle_ns]);
        let sum = (times.clone()).fold([0; 3], |sum: [u64; 3], times| {
            [0, 1, 2].map(|which| sum[which] + times[which])
        });
        let mut text = String::new();
        let mut line = |name: &str, [user, system, idle]: [u64; 3]| {
            let [user, system, idle] = [user, system, idle].map(|ns| ns / TICK_NS);
            let _ = writeln!(text, "cpu{name} {user} 0 {system} {idle} 0 0 0 0 0 0");
        };
        line(" ", sum);
        for (cpu, times) in times.enumerate() {
            line(&cpu.to_string(), times);
        }
        let _ = write!(
            text,
            "intr 0\nctxt 0\nbtime {}\nprocesses {}\nprocs_running {}\nprocs_blocked 0\nsoftirq 0\n",
            self.settings.boot_unix_ns / NS_PER_S,
            self.last_serial,
            self.running().max(1),
        );
        text
    }
}

/// `/proc/vmstat`: pages by their use. None ever goes to a disk or to swap.
fn vmstat(frames: &FrameCounts) -> String {
    let [kernel, tables, user, cache, ..] = frames.by_kind;
    let lines = [
        ("nr_free_pages", frames.free),
        ("nr_anon_pages", user),
        ("nr_file_pages", cache),
        ("nr_shmem", cache),
        ("nr_slab_unreclaimable", kernel),
        ("nr_page_table_pages", tables),
        ("nr_dirty", 0),
        ("nr_writeback", 0),
        ("pgpgin", 0),
        ("pgpgout", 0),
        ("pswpin", 0),
        ("pswpout", 0),
    ];
    let lines = lines.map(|(name, pages)| format!("{name} {pages}\n"));
    lines.concat()
}

/// `/proc/meminfo`.
fn meminfo(frames: &FrameCounts) -> String {
    let kib = |pages: u64| pages * (PAGE_SIZE as u64 >> 10);
    let [kernel, tables, user, cache, ..] = frames.by_kind;
    let mut text = String::new();
    for (name, pages) in [
        ("MemTotal", frames.total),
        ("MemFree", frames.free),
        ("MemAvailable", frames.free),
        ("Buffers", 0),
        ("Cached", cache),
        ("SwapCached", 0),
        ("Active", user),
        ("Inactive", cache),
        ("Active(anon)", user),
        ("Inactive(anon)", 0),
        ("Active(file)", 0),
        ("Inactive(file)", cache),
        ("Unevictable", 0),
        ("Mlocked", 0),
        ("SwapTotal", 0),
        ("SwapFree", 0),
        ("Dirty", 0),
        ("Writeback", 0),
        ("AnonPages", user),
        ("Mapped", 0),
        ("Shmem", cache),
        ("KReclaimable", 0),
        ("Slab", kernel),
        ("SReclaimable", 0),
        ("SUnreclaim", kernel),
        ("KernelStack", 0),
        ("PageTables", tables),
        ("SecPageTables", 0),
        ("NFS_Unstable", 0),
        ("Bounce", 0),
        ("WritebackTmp", 0),
        ("CommitLimit", frames.total),
        ("Committed_AS", user),
        ("VmallocTotal", 34_359_738_367 >> 2),
        ("VmallocUsed", 0),
        ("VmallocChunk", 0),
        ("Percpu", 0),
        ("AnonHugePages", 0),
        ("ShmemHugePages", 0),
        ("ShmemPmdMapped", 0),
        ("FileHugePages", 0),
        ("FilePmdMapped", 0),
    ] {
        let _ = writeln!(text, "{:<16}{:>8} kB", format!("{name}:"), kib(pages));
    }
    // There are no huge pages, which would be this large.
    for name in ["Total", "Free", "Rsvd", "Surp"] {
        let _ = writeln!(
            text,
            "HugePages_{name}:{:>width$}",
            0,
            width = 13 - name.len()
        );
    }
    text.push_str("Hugepagesize:       2048 kB\nHugetlb:               0 kB\n");
    text
}

/// The same of the only memory node (`node_read_meminfo` of Linux).
fn node_meminfo(frames: &FrameCounts) -> String {
    let mut text = String::new();
    for line in meminfo(frames).lines() {
        let name = line.split(':').next().unwrap_or_default();
        let left_out = [
            "MemAvailable",
            "Buffers",
            "Cached",
            "SwapTotal",
            "SwapFree",
            "CommitLimit",
        ];
        let whole = name.starts_with("Vmalloc") || name.starts_with("Hugep") || name == "Hugetlb";
        if whole || left_out.contains(&name) || matches!(name, "Committed_AS" | "Percpu") {
            continue;
        }
        let _ = writeln!(text, "Node 0 {line}");
        if name == "MemFree" {
            let used = (frames.total - frames.free.min(frames.total)) * (PAGE_SIZE as u64 >> 10);
            let _ = writeln!(text, "Node 0 {:<16}{used:>8} kB", "MemUsed:");
        }
    }
    text
}

/// Names of the bits of CPUID leaf 1 EDX and ECX, and of leaf 7 EBX, that programs look for
/// (`arch/x86/include/asm/cpufeatures.h`).
const EDX: [(u32, &str); 16] = [
    (0, "fpu"),
    (3, "pse"),
    (4, "tsc"),
    (5, "msr"),
    (6, "pae"),
    (8, "cx8"),
    (9, "apic"),
    (11, "sep"),
    (13, "pge"),
    (15, "cmov"),
    (16, "pat"),
    (19, "clflush"),
    (23, "mmx"),
    (24, "fxsr"),
    (25, "sse"),
    (26, "sse2"),
];
const ECX: [(u32, &str); 14] = [
    (0, "pni"),
    (1, "pclmulqdq"),
    (9, "ssse3"),
    (12, "fma"),
    (13, "cx16"),
    (19, "sse4_1"),
    (20, "sse4_2"),
    (22, "movbe"),
    (23, "popcnt"),
    (25, "aes"),
    (26, "xsave"),
    (28, "avx"),
    (29, "f16c"),
    (30, "rdrand"),
];
const LEAF7: [(u32, &str); 8] = [
    (3, "bmi1"),
    (5, "avx2"),
    (8, "bmi2"),
    (9, "erms"),
    (16, "avx512f"),
    (18, "rdseed"),
    (19, "adx"),
    (29, "sha_ni"),
];

/// `/proc/cpuinfo`.
fn cpuinfo() -> String {
    let features = machine::cpu_features();
    let mut flags = String::new();
    for (word, names) in [
        (features.leaf1_edx, &EDX[..]),
        (features.leaf1_ecx, &ECX[..]),
        (features.leaf7_ebx, &LEAF7[..]),
    ] {
        for (bit, name) in names {
            if word & 1 << bit != 0 {
                flags.push_str(name);
                flags.push(' ');
            }
        }
    }
    // Long mode and its companions are what this kernel needs to run at all.
    flags.push_str("syscall nx lm");
    let cpus = machine::cpu_count().max(1);
    let mut text = String::new();
    for cpu in 0..cpus {
        let _ = write!(
            text,
            "processor\t: {cpu}\nvendor_id\t: {HOST_NAME}\ncpu family\t: 6\nmodel\t\t: 0\n\
             model name\t: x86-64 processor\nstepping\t: 0\ncpu MHz\t\t: 1000.000\nphysical id\t: 0\n\
             siblings\t: {cpus}\ncore id\t\t: {cpu}\ncpu cores\t: {cpus}\nfpu\t\t: yes\n\
             flags\t\t: {flags}\nbogomips\t: 2000.00\naddress sizes\t: 48 bits physical, 48 bits virtual\n\n"
        );
    }
    text
}
