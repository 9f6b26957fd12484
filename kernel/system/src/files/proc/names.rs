//! The names of files under /proc.
//!
//! Law: a file has one row, from which it is found, listed and numbered.

use super::super::objects::queue;
use super::ProcNode;
use super::entries::{ClusterFile, GlobalFile, ProcEntry, ProcessFile, ThreadFile};

/// What is in `ns`: the name, what its link says, the number that Linux has for the first one of the kind, and
/// the kind as `CLONE_NEW*`.
/// There is one of each.
pub(super) const NAMESPACES: [(&str, &str, u64, u64); 10] = [
    ("cgroup", "cgroup", 0xefff_fffb, 0x0200_0000),
    ("ipc", "ipc", 0xefff_ffff, 0x0800_0000),
    ("mnt", "mnt", 0xf000_0000, 0x0002_0000),
    ("net", "net", 0xf000_0078, 0x4000_0000),
    ("pid", "pid", 0xefff_fffc, 0x2000_0000),
    ("pid_for_children", "pid", 0xefff_fffc, 0x2000_0000),
    ("time", "time", 0xefff_fffa, 0x0000_0080),
    ("time_for_children", "time", 0xefff_fffa, 0x0000_0080),
    ("user", "user", 0xefff_fffd, 0x1000_0000),
    ("uts", "uts", 0xefff_fffe, 0x0400_0000),
];

/// What is in `sysvipc`.
pub(super) const SYSVIPC: [(&str, GlobalFile); 3] = [
    ("msg", GlobalFile::SysvMsg),
    ("sem", GlobalFile::SysvSem),
    ("shm", GlobalFile::SysvShm),
];

/// What is in `tty`.
pub(super) const TERMINALS: [(&str, GlobalFile); 2] = [
    ("drivers", GlobalFile::TtyDrivers),
    ("ldiscs", GlobalFile::TtyLdiscs),
];

pub(super) const GLOBAL: [(&str, GlobalFile); 25] = [
    ("meminfo", GlobalFile::Meminfo),
    ("stat", GlobalFile::Stat),
    ("uptime", GlobalFile::Uptime),
    ("loadavg", GlobalFile::Loadavg),
    ("mounts", GlobalFile::Mounts),
    ("cpuinfo", GlobalFile::Cpuinfo),
    ("cmdline", GlobalFile::Cmdline),
    ("version", GlobalFile::Version),
    ("filesystems", GlobalFile::Filesystems),
    ("swaps", GlobalFile::Swaps),
    ("partitions", GlobalFile::Partitions),
    ("diskstats", GlobalFile::Diskstats),
    ("devices", GlobalFile::Devices),
    ("locks", GlobalFile::Locks),
    ("vmstat", GlobalFile::Vmstat),
    ("interrupts", GlobalFile::Interrupts),
    ("softirqs", GlobalFile::Softirqs),
    ("modules", GlobalFile::Modules),
    ("buddyinfo", GlobalFile::Buddyinfo),
    ("cgroups", GlobalFile::Cgroups),
    ("consoles", GlobalFile::Consoles),
    ("execdomains", GlobalFile::Execdomains),
    ("misc", GlobalFile::Misc),
    ("slabinfo", GlobalFile::Slabinfo),
    ("config.gz", GlobalFile::Config),
];

/// The files below /proc/sys whose contents are asked for; the others are in `settings.rs`.
pub(super) const SETTINGS: [&str; 37] = [
    "kernel/hostname",
    "kernel/domainname",
    "kernel/ostype",
    "kernel/osrelease",
    "kernel/version",
    "kernel/pid_max",
    "kernel/threads-max",
    "kernel/ngroups_max",
    "kernel/cap_last_cap",
    "kernel/randomize_va_space",
    "kernel/core_pattern",
    "kernel/printk",
    "kernel/random/boot_id",
    "kernel/random/uuid",
    "kernel/random/entropy_avail",
    "kernel/random/poolsize",
    "vm/overcommit_memory",
    "vm/overcommit_ratio",
    "vm/max_map_count",
    "vm/mmap_min_addr",
    "vm/swappiness",
    "vm/drop_caches",
    "fs/file-max",
    "fs/nr_open",
    "fs/pipe-max-size",
    "kernel/tainted",
    "kernel/core_uses_pid",
    "kernel/sched_child_runs_first",
    "vm/nr_hugepages",
    "vm/dirty_ratio",
    "fs/file-nr",
    "fs/pipe-user-pages-soft",
    "fs/inotify/max_queued_events",
    "fs/inotify/max_user_instances",
    "fs/inotify/max_user_watches",
    "net/core/somaxconn",
    "net/ipv4/ping_group_range",
];

/// The directories of them: parent first.
pub(super) const FOLDERS: [&str; 25] = [
    "",
    "kernel",
    "kernel/pty",
    "kernel/random",
    "kernel/seccomp",
    "kernel/usermodehelper",
    "vm",
    "fs",
    "fs/epoll",
    "fs/inotify",
    "fs/mqueue",
    "net",
    "net/core",
    "net/ipv4",
    "net/ipv4/conf",
    "net/ipv4/conf/all",
    "net/ipv4/conf/default",
    "net/ipv4/conf/lo",
    "net/ipv6",
    "net/ipv6/conf",
    "net/ipv6/conf/all",
    "net/ipv6/conf/default",
    "net/ipv6/conf/lo",
    "net/unix",
    "user",
];

/// All files below /proc/sys.
pub(super) fn paths() -> impl Iterator<Item = &'static str> {
    let fixed = super::super::settings::FIXED.iter().map(|row| row.0);
    let ipc = crate::sysv::SETTINGS.iter();
    let queues = queue::SETTINGS.iter().map(|row| row.0);
    let asked = SETTINGS.iter().chain(ipc).copied();
    asked.chain(queues).chain(fixed)
}

/// The part of a path below /proc/sys that is directly in `folder`.
pub(super) fn directly_in(path: &'static str, folder: &str) -> Option<&'static str> {
    let below = match folder {
        "" => path,
        _ => path.strip_prefix(folder)?.strip_prefix('/')?,
    };
    (!below.is_empty() && !below.contains('/')).then_some(below)
}

/// What is in a directory of /proc/sys.
pub(super) fn settings(folder: &'static str) -> impl Iterator<Item = (&'static str, ProcNode)> {
    let folders = FOLDERS.iter().map(|path| (*path, ProcNode::Folder(path)));
    let files = paths().map(|path| {
        let file = GlobalFile::Sys(path);
        (path, ProcNode::Entry(ProcEntry::Global(file)))
    });
    let all = folders.chain(files);
    all.filter_map(move |(path, node)| Some((directly_in(path, folder)?, node)))
}

pub(super) const PROCESS: [(&str, ProcessFile); 48] = [
    ("home", ProcessFile::Home),
    ("where", ProcessFile::Where),
    ("goto", ProcessFile::Goto),
    ("cantmove", ProcessFile::CantMove),
    ("nmigs", ProcessFile::Nmigs),
    ("migstat", ProcessFile::Migstat),
    ("stat", ProcessFile::Stat),
    ("statm", ProcessFile::Statm),
    ("status", ProcessFile::Status),
    ("cmdline", ProcessFile::Cmdline),
    ("maps", ProcessFile::Maps),
    ("environ", ProcessFile::Environ),
    ("comm", ProcessFile::Comm),
    ("exe", ProcessFile::Exe),
    ("cwd", ProcessFile::Cwd),
    ("root", ProcessFile::Root),
    ("limits", ProcessFile::Limits),
    ("mounts", ProcessFile::Mounts),
    ("mountinfo", ProcessFile::Mountinfo),
    ("cgroup", ProcessFile::Cgroup),
    ("cpuset", ProcessFile::Cpuset),
    ("wchan", ProcessFile::Wchan),
    ("oom_score", ProcessFile::OomScore),
    ("oom_score_adj", ProcessFile::OomScoreAdj),
    ("loginuid", ProcessFile::Loginuid),
    ("policy", ProcessFile::Policy),
    ("placement", ProcessFile::Placement),
    ("auxv", ProcessFile::Auxv),
    ("smaps", ProcessFile::Smaps),
    ("smaps_rollup", ProcessFile::SmapsRollup),
    ("numa_maps", ProcessFile::NumaMaps),
    ("io", ProcessFile::Io),
    ("personality", ProcessFile::Personality),
    ("sessionid", ProcessFile::Sessionid),
    ("uid_map", ProcessFile::UidMap),
    ("gid_map", ProcessFile::UidMap),
    ("projid_map", ProcessFile::UidMap),
    ("schedstat", ProcessFile::Schedstat),
    ("timerslack_ns", ProcessFile::TimerslackNs),
    ("coredump_filter", ProcessFile::CoredumpFilter),
    ("oom_adj", ProcessFile::OomAdj),
    ("mountstats", ProcessFile::Mountstats),
    ("setgroups", ProcessFile::Setgroups),
    ("clear_refs", ProcessFile::ClearRefs),
    ("syscall", ProcessFile::Syscall),
    ("mem", ProcessFile::Mem),
    ("pagemap", ProcessFile::Pagemap),
    ("checkpoint", ProcessFile::Checkpoint),
];

pub(super) const THREAD: [(&str, ThreadFile); 4] = [
    ("children", ThreadFile::Children),
    ("stat", ThreadFile::Stat),
    ("status", ThreadFile::Status),
    ("comm", ThreadFile::Comm),
];

pub(super) const CLUSTER: [(&str, ClusterFile); 9] = [
    ("nodes", ClusterFile::Nodes),
    ("self", ClusterFile::SelfNode),
    ("policy", ClusterFile::Policy),
    ("control", ClusterFile::Control),
    ("ping", ClusterFile::Ping),
    ("observer", ClusterFile::Observer),
    ("events", ClusterFile::Events),
    ("clocks", ClusterFile::Clocks),
    ("restart", ClusterFile::Restart),
];
