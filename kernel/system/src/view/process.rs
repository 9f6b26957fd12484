//! The files of a process in /proc.
//!
//! Law: home answers for its processes wherever they are. Formats are those of proc(5) where Linux
//! has the file.

use super::TICK_NS;
use super::bodies::{Detail, all_sizes, cpu_of, named_maps, on_nodes, sizes};
use super::extent::Extent;
use crate::cpu_timers::CpuTime;
use crate::files::{ProcessFile, ThreadFile};
use crate::home::{Home, Life};
use crate::system::System;
use crate::thread::{Run, padded_name};
use crate::wait::Stop;
use abi::Errno;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write as _;
use machine::PAGE_SIZE;
use wire::{BodyFacts, MoveStats, Policy};

impl System {
    pub(super) fn process_file(
        &mut self,
        pid: u32,
        file: ProcessFile,
        reader: u32,
    ) -> Result<Vec<u8>, Stop> {
        let me = self.me;
        let home = self.homes.get(&pid).ok_or(Errno::ESRCH)?;
        let owner = home.record.gate().owner();
        Ok(match file {
            // What was in its memory has gone with it.
            ProcessFile::Cmdline if !home.lives() => Vec::new(),
            ProcessFile::Environ if !home.lives() => return Err(Errno::ESRCH.into()),
            ProcessFile::Home => format!("{}\n", me.0).into_bytes(),
            ProcessFile::Where if owner == me => b"home\n".to_vec(),
            ProcessFile::Where => format!("{}\n", owner.0).into_bytes(),
            ProcessFile::Nmigs => format!("{}\n", home.move_count).into_bytes(),
            ProcessFile::Migstat => migstat(home).into_bytes(),
            ProcessFile::Cmdline => {
                self.look_at_title(pid);
                let home = self.homes.get(&pid).ok_or(Errno::ESRCH)?;
                home.title.as_ref().unwrap_or(&home.command_line).clone()
            }
            ProcessFile::Comm => {
                let mut name = home.short_name().to_vec();
                name.push(b'\n');
                name
            }
            ProcessFile::Environ => home.environment.clone(),
            ProcessFile::Limits => limits(home).into_bytes(),
            ProcessFile::Cgroup => b"0::/\n".to_vec(),
            ProcessFile::Cpuset => b"/\n".to_vec(),
            ProcessFile::Wchan => b"0".to_vec(),
            ProcessFile::OomScore => b"0\n".to_vec(),
            ProcessFile::OomScoreAdj => format!("{}\n", home.oom_score_adj).into_bytes(),
            ProcessFile::Loginuid => format!("{}", home.login).into_bytes(),
            ProcessFile::Policy => {
                let name = home.policy.map_or("default", Policy::name);
                format!("{name}\n").into_bytes()
            }
            ProcessFile::Placement => match self.bodies.get(&pid) {
                Some(body) => self.explain_placement(body).into_bytes(),
                None => self.facts_of(pid, reader)?.placement.into_bytes(),
            },
            ProcessFile::Auxv => home.auxiliary.clone(),
            ProcessFile::TimerslackNs => format!("{}\n", home.options.timer_slack()).into_bytes(),
            ProcessFile::CoredumpFilter => format!("{:08x}\n", home.options.dumped()).into_bytes(),
            ProcessFile::OomAdj => format!("{}\n", oom_adj(home.oom_score_adj)).into_bytes(),
            // Files tell of mounts themselves.
            ProcessFile::Mounts | ProcessFile::Mountinfo | ProcessFile::Mountstats => Vec::new(),
            ProcessFile::Setgroups => b"allow\n".to_vec(),
            ProcessFile::Schedstat => {
                let facts = self.facts_of(pid, reader)?;
                let home = self.homes.get(&pid).ok_or(Errno::ESRCH)?;
                schedule(home, &facts).into_bytes()
            }
            ProcessFile::Syscall => {
                self.may_look_into(reader, pid)?;
                self.call_of(pid, reader).into_bytes()
            }
            ProcessFile::Sessionid => b"4294967295".to_vec(),
            ProcessFile::Personality => {
                format!("{:08x}\n", home.options.personality()).into_bytes()
            }
            ProcessFile::UidMap => b"         0          0 4294967295\n".to_vec(),
            ProcessFile::Io => {
                // Files are in memory: no disk is read or written.
                let (reads, read) = home.transfers.read.get();
                let (writes, written) = home.transfers.written.get();
                format!(
                    "rchar: {read}\nwchar: {written}\nsyscr: {reads}\nsyscw: {writes}\n\
                     read_bytes: 0\nwrite_bytes: 0\ncancelled_write_bytes: 0\n"
                )
                .into_bytes()
            }
            ProcessFile::Fdinfo(fd) => {
                let files = home.files.as_ref().ok_or(Errno::ENOENT)?;
                files.information(fd, self.now)?
            }
            ProcessFile::Maps => {
                let facts = self.facts_of(pid, reader)?;
                let home = self.homes.get(&pid).ok_or(Errno::ESRCH)?;
                named_maps(home, &facts.maps)
            }
            ProcessFile::Smaps | ProcessFile::SmapsRollup | ProcessFile::NumaMaps => {
                let facts = self.detailed_facts_of(pid, reader, Detail::Pages)?;
                let home = self.homes.get(&pid).ok_or(Errno::ESRCH)?;
                match file {
                    ProcessFile::Smaps => sizes(home, &facts.maps),
                    ProcessFile::NumaMaps => on_nodes(home, &facts.maps),
                    _ => all_sizes(&facts.maps),
                }
            }
            ProcessFile::CantMove => {
                let facts = self.facts_of(pid, reader)?;
                let last = self.homes.get(&pid).and_then(|home| home.obstacle.clone());
                let reason = if facts.obstacle.is_empty() {
                    last.unwrap_or_default()
                } else {
                    facts.obstacle
                };
                let mut text = reason.into_bytes();
                if !text.is_empty() {
                    text.push(b'\n');
                }
                text
            }
            ProcessFile::Stat | ProcessFile::Statm | ProcessFile::Status => {
                let detail = match file {
                    ProcessFile::Stat => Detail::Areas,
                    _ => Detail::Pages,
                };
                let mut facts = self.detailed_facts_of(pid, reader, detail)?;
                if self.process_at_home(reader) == pid {
                    // Who reads this runs, whatever its call waits for.
                    facts.state = b'R';
                }
                let home = self.homes.get(&pid).ok_or(Errno::ESRCH)?;
                match file {
                    ProcessFile::Stat => {
                        stat(home, self.terminal_of(home), &facts, &Shown::process(home))
                    }
                    ProcessFile::Statm => statm(&facts),
                    _ => self.status(home, &facts, &Shown::process(home)),
                }
                .into_bytes()
            }
            _ => return Err(Errno::ENOENT.into()),
        })
    }
}

impl System {
    /// A file of a thread: as its process's, with its own number, name and signals.
    pub(super) fn thread_file(
        &mut self,
        (pid, tid): (u32, u32),
        file: ThreadFile,
        reader: u32,
    ) -> Result<Vec<u8>, Stop> {
        let known = self.homes.get(&pid).ok_or(Errno::ESRCH)?;
        let name = match known.threads.get(&tid) {
            Some(thread) => thread.name,
            None if tid == pid => known.name,
            None => return Err(Errno::ESRCH.into()),
        };
        if file == ThreadFile::Children {
            // Linux keeps them by thread; here they are those of the process, and of its first one.
            let mut text = String::new();
            if tid == pid {
                for child in self.homes.values().filter(|home| home.parent == pid) {
                    let _ = write!(text, "{} ", child.pid);
                }
            }
            return Ok(text.into_bytes());
        }
        if file == ThreadFile::Comm {
            let mut name = crate::thread::unpadded(&name).to_vec();
            name.push(b'\n');
            return Ok(name);
        }
        let detail = match file {
            ThreadFile::Stat => Detail::Areas,
            _ => Detail::Pages,
        };
        let mut facts = self.detailed_facts_of(pid, reader, detail)?;
        let here = self.threads.get(&tid);
        if let Some(thread) = here {
            facts.user_ns = thread.cpu.user_ns;
            facts.system_ns = thread.cpu.system_ns;
            facts.state = match thread.run {
                _ if thread.traced.stopped => TRACED,
                Run::Blocked if facts.state != b'T' => b'S',
                Run::Ready | Run::Running(_) => b'R',
                Run::Blocked => facts.state,
            };
        }
        if reader == tid {
            facts.state = b'R';
        }
        let home = self.homes.get(&pid).ok_or(Errno::ESRCH)?;
        let who = Shown { tid, name };
        Ok(match file {
            ThreadFile::Stat => stat(home, self.terminal_of(home), &facts, &who),
            _ => self.status(home, &facts, &who),
        }
        .into_bytes())
    }

    /// `/proc/PID/syscall`: the call that its first thread is in. One that is away is said to run.
    fn call_of(&self, pid: u32, reader: u32) -> String {
        let Some(thread) = self.threads.get(&pid) else {
            return String::from("running\n");
        };
        let held = &thread.registers;
        let (number, args) = match thread.call {
            Some(call) => (call.number, call.args),
            // Who asks is in the call by which it asks.
            None if reader == pid => {
                let args = [held.rdi, held.rsi, held.rdx, held.r10, held.r8, held.r9];
                (held.rax as u32, args)
            }
            None => return String::from("running\n"),
        };
        let mut text = format!("{number}");
        for word in args.iter().chain(&[held.rsp, held.rip]) {
            let _ = write!(text, " {word:#x}");
        }
        text + "\n"
    }

    /// A name that was written to `comm`: by the process itself or another of its threads.
    pub(super) fn name_thread(
        &mut self,
        target: (u32, u32),
        name: &[u8],
        writer: u32,
    ) -> Result<(), Stop> {
        if self.process_at_home(writer) != target.0 {
            return Err(Errno::EINVAL.into());
        }
        let name = name.strip_suffix(b"\n").unwrap_or(name);
        let name = padded_name(name);
        let kept = self.home_thread(target.0, target.1).ok_or(Errno::ESRCH)?;
        kept.name = name;
        if target.0 == target.1
            && let Some(home) = self.homes.get_mut(&target.0)
        {
            home.name = name;
        }
        self.order(target);
        Ok(())
    }
}

/// Which thread a file is about.
struct Shown {
    tid: u32,
    name: [u8; 16],
}

impl Shown {
    /// The process as a whole.
    fn process(home: &Home) -> Shown {
        Shown {
            tid: home.pid,
            name: home.name,
        }
    }
}

/// The text of `/proc/PID/migstat`.
fn migstat(home: &Home) -> String {
    let mut text = String::from(
        "move\tfrom\tto\tmode\tpages_sent\tpages_zero\tpages_present\tbytes\tfreeze_us\tobserver_us\ttotal_us\trtt_us\twait_us\tadmit_us\tcapture_us\tflight_us\tstart_us\trelease_us\tpush_us\tepoch\tbegan_us\tdrain_us\tclock_error_us\tfirst\tused\tfaulted\tpushed\tframes_again\tabsent\tfaults\tstalls\tstall_sum_us\tstall_worst_us\tcopied\tcopied_again\trounds\tcopy_us\tkept\tpacked\n",
    );
    let us = |ns: u64| ns as f64 / 1000.0;
    for (number, stats) in &home.moves {
        let _ = write!(
            text,
            "{number}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{:.1}\t{:.1}\t{:.1}\t{:.1}\t{:.1}\t{:.1}\t{:.1}\t{:.1}\t{:.1}\t{:.1}\t{:.1}",
            stats.from.0,
            stats.to.0,
            stats.mode.name(),
            stats.pages_sent,
            stats.pages_zero,
            stats.pages_present,
            stats.bytes,
            us(stats.freeze_ns),
            us(stats.observer_ns),
            us(stats.total_ns),
            us(stats.rtt_ns),
            us(stats.phases.wait_ns),
            us(stats.phases.admit_ns),
            us(stats.phases.capture_ns),
            us(stats.phases.flight_ns),
            us(stats.phases.start_ns),
            us(stats.phases.release_ns),
            us(stats.phases.push_ns)
        );
        migstat_more(&mut text, stats);
    }
    text
}

/// The columns that came later, in the same line; what is not known is a dash.
fn migstat_more(text: &mut String, stats: &MoveStats) {
    let us = |ns: u64| format!("{:.1}", ns as f64 / 1000.0);
    let clock_error = match stats.clock_error_ns {
        u64::MAX => String::from("-"),
        ns => us(ns),
    };
    let (began, drain) = (us(stats.began_ns), us(stats.phases.drain_ns));
    let sent = &stats.sent_for;
    let _ = write!(
        text,
        "\t{}\t{began}\t{drain}\t{clock_error}\t{}\t{}\t{}\t{}\t{}",
        stats.epoch, sent.first, sent.used, sent.faulted, sent.pushed, stats.frames_again
    );
    let _ = match &stats.stalls {
        Some(stalls) => write!(
            text,
            "\t{}\t{}\t{}\t{}\t{}",
            stalls.absent,
            stalls.faults,
            stalls.count,
            us(stalls.sum_ns),
            us(stalls.worst_ns)
        ),
        None => write!(text, "\t-\t-\t-\t-\t-"),
    };
    let (copied, again) = (sent.copied, sent.copied_again);
    let (rounds, copy) = (stats.rounds, us(stats.phases.copy_ns));
    let (kept, packed) = (stats.pages_kept, stats.packed);
    let _ = writeln!(
        text,
        "\t{copied}\t{again}\t{rounds}\t{copy}\t{kept}\t{packed}"
    );
}

/// The state of a thread that stands for its tracer.
const TRACED: u8 = b't';

fn state_letter(home: &Home, facts: &BodyFacts) -> char {
    match home.life {
        Life::Zombie(_) => 'Z',
        _ if facts.state == TRACED => char::from(TRACED),
        Life::Stopped { .. } => 'T',
        Life::Alive => char::from(if facts.state == 0 { b'S' } else { facts.state }),
    }
}

/// `/proc/PID/stat`, proc(5): 52 fields.
fn stat(home: &Home, (terminal, foreground): (u64, i64), facts: &BodyFacts, who: &Shown) -> String {
    let name = String::from_utf8_lossy(crate::thread::unpadded(&who.name)).into_owned();
    let known = if who.tid == home.pid {
        home.used.cpu
    } else {
        CpuTime::default()
    };
    let cpu = cpu_of(facts).later(known);
    let (user, system) = (cpu.user_ns / TICK_NS, cpu.system_ns / TICK_NS);
    let scheduling = home.threads.get(&who.tid).map(|thread| thread.scheduling);
    let scheduling = scheduling.unwrap_or_default();
    let (nice, priority, policy) = (home.nice, scheduling.priority, scheduling.policy);
    let shown = match priority {
        0 => i64::from(20 + nice),
        real => -1 - i64::from(real),
    };
    let state = state_letter(home, facts);
    let extent = Extent::of(&facts.maps);
    let own = home.threads.get(&who.tid);
    let (pending, blocked) = own.map_or((0, 0), |own| (own.pending.set(), own.blocked));
    format!(
        "{} ({name}) {state} {} {} {} {terminal} {foreground} 0 {} 0 0 0 {user} {system} {} {} {shown} {nice} {} 0 {} {} {} \
         {} {} {} {} 0 0 {} {} {} {} 0 0 0 17 0 {priority} {policy} 0 0 0 0 0 {} 0 0 0 0 0\n",
        who.tid,
        home.parent,
        home.group,
        home.session,
        facts.faults,
        home.children_used.cpu.user_ns / TICK_NS,
        home.children_used.cpu.system_ns / TICK_NS,
        facts.threads.max(1),
        home.started_ns / TICK_NS,
        facts.virtual_bytes,
        facts.resident_pages,
        home.limits[5].0,
        extent.code_range.0,
        extent.code_range.1,
        extent.stack_end,
        pending & LEGACY_SIGNALS,
        blocked & LEGACY_SIGNALS,
        facts.ignored & LEGACY_SIGNALS,
        facts.caught & LEGACY_SIGNALS,
        extent.heap_start,
    )
}

/// `oom_adj` of proc(5), the old scale from -17 to 15, of a value from -1000 to 1000.
fn oom_adj(score: i32) -> i32 {
    match score {
        1000 => 15,
        score => score * 17 / 1000,
    }
}

/// The value that one of the old scale stands for.
pub(super) fn from_oom_adj(value: i32) -> Result<i32, Errno> {
    match value {
        15 => Ok(1000),
        -17..=14 => Ok(value * 1000 / 17),
        _ => Err(Errno::EINVAL),
    }
}

/// A number as Linux reads one from a file: decimal, or hexadecimal behind `0x`, or octal behind `0`.
pub(super) fn number(text: &str) -> Option<u64> {
    if let Some(digits) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        return u64::from_str_radix(digits, 16).ok();
    }
    match text.strip_prefix('0') {
        Some(digits) if !digits.is_empty() => u64::from_str_radix(digits, 8).ok(),
        _ => text.parse().ok(),
    }
}

/// `/proc/PID/schedstat`: the time on a processor. How long it waited for one, and how often it got one, is not
/// counted.
fn schedule(home: &Home, facts: &BodyFacts) -> String {
    let cpu = cpu_of(facts).later(home.used.cpu);
    format!("{} 0 0\n", cpu.user_ns + cpu.system_ns)
}

/// The signals that `/proc/PID/stat` tells of: the numbers of before there were 64.
const LEGACY_SIGNALS: u64 = 0x7fff_ffff;

fn statm(facts: &BodyFacts) -> String {
    let pages = |bytes: u64| bytes / PAGE_SIZE as u64;
    let extent = Extent::of(&facts.maps);
    let resident = facts.resident_pages;
    format!(
        "{} {resident} {} {} 0 {} 0\n",
        pages(facts.virtual_bytes),
        resident.saturating_sub(extent.anonymous_pages),
        pages(extent.code),
        pages(extent.data + extent.stack),
    )
}

/// `/proc/PID/limits`.
fn limits(home: &Home) -> String {
    const NAMES: [(&str, &str); 16] = [
        ("cpu time", "seconds"),
        ("file size", "bytes"),
        ("data size", "bytes"),
        ("stack size", "bytes"),
        ("core file size", "bytes"),
        ("resident set", "bytes"),
        ("processes", "processes"),
        ("open files", "files"),
        ("locked memory", "bytes"),
        ("address space", "bytes"),
        ("file locks", "locks"),
        ("pending signals", "signals"),
        ("msgqueue size", "bytes"),
        ("nice priority", ""),
        ("realtime priority", ""),
        ("realtime timeout", "us"),
    ];
    let value = |limit: u64| match limit {
        u64::MAX => String::from("unlimited"),
        limit => format!("{limit}"),
    };
    let mut text = String::new();
    let mut line = |name: &str, soft: &str, hard: &str, unit: &str| {
        let width = if unit.is_empty() { 0 } else { 10 };
        let _ = writeln!(text, "{name:<25} {soft:<20} {hard:<20} {unit:<width$}");
    };
    line("Limit", "Soft Limit", "Hard Limit", "Units");
    for ((name, unit), (soft, hard)) in NAMES.iter().zip(home.limits) {
        line(&format!("Max {name}"), &value(soft), &value(hard), unit);
    }
    text
}

impl System {
    /// `/proc/PID/status`.
    fn status(&self, home: &Home, facts: &BodyFacts, who: &Shown) -> String {
        let user = home.credentials_of(who.tid).ids.uid;
        let tracer = self.tracing.tracing_thread(who.tid).unwrap_or(0);
        status(home, facts, who, (self.queued_for(user), tracer))
    }
}

/// `/proc/PID/status`, the lines that programs read; `queued` signals are its user's.
fn status(home: &Home, facts: &BodyFacts, who: &Shown, (queued, tracer): (u64, u32)) -> String {
    let letter = state_letter(home, facts);
    let word = match letter {
        'R' => "running",
        'T' => "stopped",
        't' => "tracing stop",
        'Z' => "zombie",
        _ => "sleeping",
    };
    let kib = |pages: u64| pages * (PAGE_SIZE as u64 >> 10);
    let credentials = home.credentials_of(who.tid);
    let ids = credentials.ids;
    let mut groups = String::new();
    for group in &credentials.groups {
        let _ = write!(groups, "{group} ");
    }
    let files = home.files.as_ref();
    let umask = files.map_or(0o022, crate::files::FileState::umask);
    let (size, resident) = (facts.virtual_bytes >> 10, kib(facts.resident_pages));
    let mut text = format!(
        "Name:\t{}\nUmask:\t{umask:04o}\nState:\t{letter} ({word})\nTgid:\t{}\nNgid:\t0\nPid:\t{}\nPPid:\t{}\n\
         TracerPid:\t{tracer}\nUid:\t{}\t{}\t{}\t{}\nGid:\t{}\t{}\t{}\t{}\nFDSize:\t64\nGroups:\t{groups}\n\
         NStgid:\t{}\nNSpid:\t{}\nNSpgid:\t{}\nNSsid:\t{}\n",
        String::from_utf8_lossy(crate::thread::unpadded(&who.name)),
        home.pid,
        who.tid,
        home.parent,
        ids.uid,
        ids.euid,
        ids.suid,
        ids.fsuid,
        ids.gid,
        ids.egid,
        ids.sgid,
        ids.fsgid,
        home.pid,
        who.tid,
        home.group,
        home.session,
    );
    let own = home.threads.get(&who.tid);
    let (private, blocked) = own.map_or((0, 0), |own| (own.pending.set(), own.blocked));
    let processors = match own {
        Some(own) => own.scheduling.processors_of(there()),
        None => there(),
    };
    if letter != 'Z' {
        let extent = Extent::of(&facts.maps);
        let (anonymous, shared) = (kib(extent.anonymous_pages), kib(extent.shared_pages));
        for (name, kib) in [
            ("VmPeak", size),
            ("VmSize", size),
            ("VmLck", extent.locked >> 10),
            ("VmPin", 0),
            ("VmHWM", kib(facts.peak_pages)),
            ("VmRSS", resident),
            ("RssAnon", anonymous),
            ("RssFile", resident.saturating_sub(anonymous + shared)),
            ("RssShmem", shared),
            ("VmData", extent.data >> 10),
            ("VmStk", extent.stack >> 10),
            ("VmExe", extent.code >> 10),
            ("VmLib", extent.library >> 10),
            ("VmPTE", 0),
            ("VmSwap", 0),
            ("HugetlbPages", 0),
        ] {
            let _ = writeln!(text, "{name}:\t{kib:>8} kB");
        }
        text.push_str("CoreDumping:\t0\nTHP_enabled:\t0\n");
    }
    let _ = write!(
        text,
        "Threads:\t{}\nSigQ:\t{queued}/{}\nSigPnd:\t{:016x}\nShdPnd:\t{:016x}\nSigBlk:\t{:016x}\nSigIgn:\t{:016x}\nSigCgt:\t{:016x}\n\
         CapInh:\t{:016x}\nCapPrm:\t{:016x}\nCapEff:\t{:016x}\nCapBnd:\t{:016x}\nCapAmb:\t{:016x}\nNoNewPrivs:\t{}\nSeccomp:\t{}\n\
         Cpus_allowed:\t{:x}\nCpus_allowed_list:\t{}\nMems_allowed:\t1\nMems_allowed_list:\t0\nvoluntary_ctxt_switches:\t0\nnonvoluntary_ctxt_switches:\t0\n",
        facts.threads.max(1),
        home.limits[11].0,
        private,
        home.pending.set(),
        blocked,
        facts.ignored,
        facts.caught,
        ids.inheritable,
        ids.permitted,
        ids.effective,
        credentials.bounding,
        ids.ambient,
        u8::from(credentials.gains_nothing),
        own.map_or(0, |own| own.seccomp),
        processors,
        list(processors),
    );
    text
}

/// The processors of this node, a bit each.
fn there() -> u64 {
    u64::MAX >> (64 - machine::cpu_count().clamp(1, 64))
}

/// A set as a list of ranges.
fn list(set: u64) -> String {
    let mut text = String::new();
    let mut next = 0;
    while next < 64 {
        let from = next + (set >> next).trailing_zeros();
        if from >= 64 {
            break;
        }
        let end = from + (set >> from).trailing_ones();
        let comma = if text.is_empty() { "" } else { "," };
        let _ = match end - from {
            1 => write!(text, "{comma}{from}"),
            _ => write!(text, "{comma}{from}-{}", end - 1),
        };
        next = end;
    }
    text
}
