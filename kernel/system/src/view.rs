//! What /proc shows, and what writing there does.
//!
//! Law: home answers for its processes wherever they are; what only the body's node knows is asked
//! for there. Formats are those of proc(5) where Linux has the file.

use crate::body::{Body, Hold, Run};
use crate::calls::local::HOST_NAME;
use crate::dispatch::wire_pid;
use crate::files::{ClusterFile, GlobalFile, ProcEntry, ProcView, ProcessFile};
use crate::home::{Asked, Home, Life, MOVES_KEPT, MoveRequest};
use crate::memory::Backing;
use crate::system::System;
use crate::wait::Stop;
use abi::Errno;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::Write as _;
use machine::{Access, PAGE_SIZE};
use node::PeerState;
use wire::{BodyFacts, Message, MoveError, MoveStats, NodeId, Pid};

/// Clock ticks per second in proc(5).
const TICK_NS: u64 = 10_000_000;
const NS_PER_S: u64 = 1_000_000_000;

impl ProcView for System {
    fn pids(&self) -> Vec<u32> {
        self.homes.keys().copied().collect()
    }

    fn session_of_group(&self, group: u32) -> Option<u32> {
        let mut homes = self.homes.values();
        let member = homes.find(|home| home.group == group)?;
        Some(member.session)
    }

    fn exists(&self, pid: u32) -> bool {
        self.homes.contains_key(&pid)
    }

    fn read(&mut self, entry: ProcEntry, reader: u32) -> Result<Vec<u8>, Stop> {
        Ok(match entry {
            ProcEntry::Global(file) => self.global(file).into_bytes(),
            ProcEntry::Cluster(file) => self.cluster(file).into_bytes(),
            ProcEntry::Process(pid, file) => self.process_file(pid, file, reader)?,
        })
    }

    fn write(&mut self, entry: ProcEntry, writer: u32, bytes: &[u8]) -> Result<usize, Stop> {
        let text = core::str::from_utf8(bytes)
            .map_err(|_| Errno::EINVAL)?
            .trim();
        match entry {
            ProcEntry::Process(pid, ProcessFile::Goto) => self.go(pid, text, writer)?,
            ProcEntry::Cluster(ClusterFile::Ping) => self.measure(writer, text)?,
            ProcEntry::Cluster(ClusterFile::Control) => self.control(text)?,
            _ => return Err(Errno::EACCES.into()),
        }
        Ok(bytes.len())
    }

    fn link(&self, entry: ProcEntry) -> Result<Vec<u8>, Errno> {
        match entry {
            ProcEntry::Process(pid, ProcessFile::Exe) => {
                let home = self.homes.get(&pid).ok_or(Errno::ENOENT)?;
                Ok(home.program.clone())
            }
            ProcEntry::Process(pid, ProcessFile::Fd(fd)) => {
                let files = self.homes.get(&pid).and_then(|home| home.files.as_ref());
                files.ok_or(Errno::ENOENT)?.describe(fd)
            }
            ProcEntry::Process(pid, ProcessFile::Cwd) => {
                let files = self.homes.get(&pid).and_then(|home| home.files.as_ref());
                files.ok_or(Errno::ENOENT)?.directory()
            }
            _ => Err(Errno::ENOENT),
        }
    }

    fn descriptors(&self, pid: u32) -> Vec<u32> {
        let files = self.homes.get(&pid).and_then(|home| home.files.as_ref());
        files
            .map(crate::files::FileState::open_descriptors)
            .unwrap_or_default()
    }

    fn random(&mut self, into: &mut [u8]) {
        for chunk in into.chunks_mut(8) {
            chunk.copy_from_slice(&machine::random_u64().to_le_bytes()[..chunk.len()]);
        }
    }
}

/// The text of `/proc/PID/maps`.
fn maps(body: &Body) -> String {
    let mut text = String::new();
    let Some(space) = body.space.as_ref() else {
        return text;
    };
    for area in space.areas() {
        let flag = |access, letter| {
            if area.access.contains(access) {
                letter
            } else {
                '-'
            }
        };
        let shared = if area.is_shared() { 's' } else { 'p' };
        let inode = area.home_file().map_or(0, |handle| u64::from(handle) + 1);
        let _ = write!(
            text,
            "{:08x}-{:08x} {}{}{}{shared} {:08x} 00:01 {inode}",
            area.start,
            area.end,
            flag(Access::READ, 'r'),
            flag(Access::WRITE, 'w'),
            flag(Access::EXECUTE, 'x'),
            area.file_offset(),
        );
        match (&area.backing, area.label()) {
            (_, Some(label)) => {
                let _ = writeln!(text, " {label:>20}");
            }
            (Backing::File(_), None) => {
                let _ = writeln!(text, " file:{inode}");
            }
            _ => text.push('\n'),
        }
    }
    text
}

/// What the node of a body tells home.
fn facts(body: &Body) -> BodyFacts {
    let usage = body
        .space
        .as_ref()
        .map(crate::memory::Space::usage)
        .unwrap_or_default();
    let obstacle = match (&body.space, body.lender) {
        (None, _) => Some("a vfork child has its memory"),
        (_, Some(_)) => Some("it runs in its parent's memory (vfork)"),
        (Some(space), None) => space.obstacle(),
    };
    BodyFacts {
        state: match body.run {
            Run::Ready => b'R',
            Run::Blocked => b'S',
            Run::Stopped => b'T',
        },
        cpu_ns: body.cpu_ns,
        virtual_bytes: usage.virtual_bytes,
        resident_pages: usage.resident_pages,
        obstacle: obstacle.unwrap_or("").to_string(),
        maps: maps(body),
    }
}

impl System {
    // ---- what only the body's node knows -----------------------------------------------------

    /// Home asks about a body that is here.
    pub(crate) fn query(&mut self, from: NodeId, pid: Pid, epoch: u64) {
        if from != pid.home() {
            return;
        }
        let found = self
            .bodies
            .get(&pid.0)
            .filter(|body| body.epoch == epoch)
            .map(|body| facts(body));
        self.send(
            from,
            Message::Told {
                pid,
                facts: found.unwrap_or_default(),
            },
        );
    }

    /// The node of a body answers.
    pub(crate) fn told(&mut self, from: NodeId, pid: Pid, facts: BodyFacts) {
        if let Some(home) = self.homes.get_mut(&pid.0)
            && home.record.gate().owner() == from
            && core::mem::take(&mut home.facts_asked)
        {
            home.facts = Some(facts);
            home.request_done.wake();
        }
    }

    /// What is known of a body: at once if it is here, else by a question to its node.
    fn facts_of(&mut self, pid: u32, reader: u32) -> Result<BodyFacts, Stop> {
        if let Some(body) = self.bodies.get(&pid) {
            return Ok(facts(body));
        }
        let me = self.me;
        let home = self.homes.get_mut(&pid).ok_or(Errno::ESRCH)?;
        if !home.lives() {
            return Ok(BodyFacts {
                state: b'Z',
                ..BodyFacts::default()
            });
        }
        if let Some(facts) = home.facts.take() {
            home.cpu_ns = home.cpu_ns.max(facts.cpu_ns);
            return Ok(facts);
        }
        let (owner, epoch) = (home.record.gate().owner(), home.record.gate().epoch());
        let reachable = owner != me && self.reachable(owner).is_ok();
        let home = self.homes.get_mut(&pid).ok_or(Errno::ESRCH)?;
        if !reachable {
            // In the middle of a move, or out of reach: what home knows by itself.
            return Ok(BodyFacts {
                state: b'S',
                ..BodyFacts::default()
            });
        }
        home.facts_asked = true;
        home.request_done.wait(reader);
        self.send(
            owner,
            Message::Query {
                pid: wire_pid(pid),
                epoch,
            },
        );
        Err(Stop::Wait)
    }

    // ---- files of a process ------------------------------------------------------------------

    fn process_file(&mut self, pid: u32, file: ProcessFile, reader: u32) -> Result<Vec<u8>, Stop> {
        let me = self.me;
        let home = self.homes.get(&pid).ok_or(Errno::ESRCH)?;
        let owner = home.record.gate().owner();
        Ok(match file {
            ProcessFile::Home => format!("{}\n", me.0).into_bytes(),
            ProcessFile::Where if owner == me => b"home\n".to_vec(),
            ProcessFile::Where => format!("{}\n", owner.0).into_bytes(),
            ProcessFile::Nmigs => format!("{}\n", home.move_count).into_bytes(),
            ProcessFile::Migstat => migstat(home).into_bytes(),
            ProcessFile::Cmdline => home.command_line.clone(),
            ProcessFile::Comm => {
                let mut name = home.short_name().to_vec();
                name.push(b'\n');
                name
            }
            ProcessFile::Maps => self.facts_of(pid, reader)?.maps.into_bytes(),
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
                let mut facts = self.facts_of(pid, reader)?;
                if reader == pid {
                    // Who reads this runs, whatever its call waits for.
                    facts.state = b'R';
                }
                let home = self.homes.get(&pid).ok_or(Errno::ESRCH)?;
                match file {
                    ProcessFile::Stat => stat(home, &facts),
                    ProcessFile::Statm => statm(&facts),
                    _ => status(home, &facts),
                }
                .into_bytes()
            }
            _ => return Err(Errno::ENOENT.into()),
        })
    }

    // ---- moving ------------------------------------------------------------------------------

    /// `goto`: moves a process and returns when it is there; a process that moves itself returns
    /// there.
    fn go(&mut self, pid: u32, text: &str, writer: u32) -> Result<(), Stop> {
        let me = self.me;
        let target = match text {
            "home" => me,
            number => NodeId(number.parse().map_err(|_| Errno::EINVAL)?),
        };
        let home = self
            .homes
            .get_mut(&pid)
            .filter(|home| home.lives())
            .ok_or(Errno::ESRCH)?;
        if pid == Pid::new(me, 1).0 {
            let reason = MoveError::CantMove("the first process of a node stays there".to_string());
            return Err(self.explain(pid, &reason).into());
        }
        let gate = home.record.gate();
        let (owner, owner_boot, epoch) = (gate.owner(), gate.owner_boot(), gate.epoch());
        if let Some(request) = home.request.take() {
            match (
                request.asker == writer && request.target == target,
                request.result.clone(),
            ) {
                (true, Some(result)) => return self.outcome(pid, result),
                // A request under way is waited for, one's own as well as somebody else's.
                (_, None) if request.asker != pid || writer != pid => {
                    home.request_done.wait(writer);
                    home.request = Some(request);
                    return Err(Stop::Wait);
                }
                _ => {}
            }
        }
        if owner == target {
            return Ok(());
        }
        self.reachable(target)
            .map_err(|error| self.explain(pid, &error))?;
        self.last_request += 1;
        let id = self.last_request;
        let Some(home) = self.homes.get_mut(&pid) else {
            return Err(Errno::ESRCH.into());
        };
        home.request = Some(MoveRequest {
            id,
            target,
            asker: writer,
            source: (owner, owner_boot),
            result: None,
        });
        home.ask(Asked {
            request: id,
            node: owner,
            target,
        });
        let own = writer == pid;
        if !own {
            home.request_done.wait(writer);
        }
        if owner == me {
            let hold = if own { Hold::Waits } else { Hold::Runs };
            self.wish(pid, epoch, id, target, hold);
        } else {
            let request = Message::MoveRequest {
                pid: wire_pid(pid),
                epoch,
                request: id,
                target,
                asker: wire_pid(writer),
            };
            self.send(owner, request);
        }
        if own { Ok(()) } else { Err(Stop::Wait) }
    }

    /// The result of a request, from wherever the process was.
    pub(crate) fn move_result(
        &mut self,
        from: NodeId,
        pid: u32,
        id: u64,
        result: Result<MoveStats, MoveError>,
    ) {
        let Some(home) = self.homes.get_mut(&pid) else {
            return;
        };
        let mine = |asked: &Asked| (asked.request, asked.node) == (id, from);
        let Some(index) = home.asked.iter().position(mine) else {
            return;
        };
        home.asked.remove(index);
        if let Ok(stats) = &result {
            home.obstacle = None;
            home.move_count += 1;
            home.moves.push_back((home.move_count, *stats));
            if home.moves.len() > MOVES_KEPT {
                home.moves.pop_front();
            }
        }
        if let Some(request) = home.request.as_mut().filter(|request| request.id == id) {
            request.result = Some(result);
            if request.asker == pid {
                home.request = None;
            }
        }
        home.request_done.wake();
    }

    fn outcome(&mut self, pid: u32, result: Result<MoveStats, MoveError>) -> Result<(), Stop> {
        result
            .map(|_| ())
            .map_err(|error| self.explain(pid, &error).into())
    }

    /// The error number for a reason, which is kept in words for `cantmove`.
    fn explain(&mut self, pid: u32, error: &MoveError) -> Errno {
        if let Some(home) = self.homes.get_mut(&pid) {
            home.obstacle = Some(error.to_string());
        }
        match error {
            MoveError::UnknownNode => Errno::ENXIO,
            MoveError::NodeDead => Errno::EHOSTDOWN,
            MoveError::NodeFull => Errno::ENOMEM,
            MoveError::Features => Errno::EOPNOTSUPP,
            MoveError::CantMove(_) | MoveError::Busy => Errno::EBUSY,
            MoveError::Gone => Errno::ESRCH,
            MoveError::TimedOut => Errno::ETIMEDOUT,
            MoveError::Aborted => Errno::EAGAIN,
        }
    }

    // ---- the node and the cluster ------------------------------------------------------------

    /// `/proc/cluster/control`: `poweroff [STATUS]`.
    fn control(&mut self, text: &str) -> Result<(), Stop> {
        let mut words = text.split_ascii_whitespace();
        match (words.next(), words.next(), words.next()) {
            (Some("poweroff"), status, None) => {
                let status = status.unwrap_or("0").parse().map_err(|_| Errno::EINVAL)?;
                self.request_power_off(status);
                Ok(())
            }
            _ => Err(Errno::EINVAL.into()),
        }
    }

    fn cluster(&self, file: ClusterFile) -> String {
        let mut text = String::new();
        match file {
            ClusterFile::Nodes => {
                text.push_str(
                    "node\tstate\trtt_us\tframes_total\tframes_free\tprocesses\tage_ms\n",
                );
                let frames = machine::frame_counts();
                let mut lines = alloc::vec![(
                    self.me.0,
                    format!(
                        "{}\tself\t0\t{}\t{}\t{}\t0\n",
                        self.me.0,
                        frames.total,
                        frames.free,
                        self.bodies.len()
                    )
                )];
                for peer in self.net.peers() {
                    let state = if peer.state == PeerState::Alive {
                        "alive"
                    } else {
                        "silent"
                    };
                    let line = format!(
                        "{}\t{state}\t{}\t{}\t{}\t{}\t{}\n",
                        peer.id.0,
                        peer.rtt_smoothed_ns.unwrap_or(0) / 1000,
                        peer.info.memory_frames,
                        peer.info.free_frames,
                        peer.info.processes,
                        self.now.saturating_sub(peer.last_heard_ns) / 1_000_000,
                    );
                    lines.push((peer.id.0, line));
                }
                lines.sort();
                text.extend(lines.into_iter().map(|(_, line)| line));
            }
            ClusterFile::SelfNode => {
                let frames = machine::frame_counts();
                let _ = writeln!(text, "node {}\nboot {:x}", self.me.0, self.boot.0);
                let _ = writeln!(
                    text,
                    "frames_total {}\nframes_free {}",
                    frames.total, frames.free
                );
                let kinds = ["kernel", "pagetable", "user", "cache", "network", "device"];
                for (kind, count) in kinds.iter().zip(frames.by_kind) {
                    let _ = writeln!(text, "frames_{kind} {count}");
                }
                let _ = writeln!(
                    text,
                    "homes {}\nbodies {}",
                    self.homes.len(),
                    self.bodies.len()
                );
                let _ = writeln!(
                    text,
                    "outgoing {}\nincoming {}",
                    self.outgoing.len(),
                    self.incoming.len()
                );
                for peer in self.net.peers() {
                    let counters = peer.counters;
                    let _ = writeln!(
                        text,
                        "link {} sent {} retransmitted {} received {} duplicates {} dropped {}",
                        peer.id.0,
                        counters.sent,
                        counters.retransmitted,
                        counters.received,
                        counters.duplicates,
                        counters.dropped
                    );
                }
            }
            ClusterFile::Policy => text.push_str("manual\n"),
            ClusterFile::Ping => text = self.measurement(),
            _ => {}
        }
        text
    }

    fn global(&self, file: GlobalFile) -> String {
        let frames = machine::frame_counts();
        let kib = |pages: u64| pages * (PAGE_SIZE as u64 >> 10);
        let up = self.now;
        match file {
            GlobalFile::Meminfo => format!(
                "MemTotal:       {} kB\nMemFree:        {} kB\nMemAvailable:   {} kB\nBuffers:        0 kB\n\
                 Cached:         {} kB\nSwapCached:     0 kB\nSwapTotal:      0 kB\nSwapFree:       0 kB\n\
                 Shmem:          0 kB\n",
                kib(frames.total),
                kib(frames.free),
                kib(frames.free),
                kib(frames.by_kind[3]),
            ),
            GlobalFile::Stat => format!(
                "cpu  {run} 0 0 {idle} 0 0 0 0 0 0\ncpu0 {run} 0 0 {idle} 0 0 0 0 0 0\nctxt 0\nbtime {}\n\
                 processes {}\nprocs_running {}\nprocs_blocked 0\n",
                self.settings.boot_unix_ns / NS_PER_S,
                self.last_serial,
                self.ready.len() + 1,
                run = self.ran_ns / TICK_NS,
                idle = self.idle_ns / TICK_NS,
            ),
            GlobalFile::Uptime => format!(
                "{}.{:02} {}.{:02}\n",
                up / NS_PER_S,
                up % NS_PER_S / TICK_NS,
                self.idle_ns / NS_PER_S,
                self.idle_ns % NS_PER_S / TICK_NS
            ),
            GlobalFile::Loadavg => {
                let running = self.ready.len();
                format!(
                    "{running}.00 {running}.00 {running}.00 {running}/{} {}\n",
                    self.homes.len(),
                    self.last_serial
                )
            }
            GlobalFile::Mounts => "root / tmpfs rw 0 0\nproc /proc proc rw 0 0\n".to_string(),
            GlobalFile::Cpuinfo => format!(
                "processor\t: 0\nvendor_id\t: {HOST_NAME}\nmodel name\t: x86-64 processor\ncpu MHz\t\t: 1000.000\n\n"
            ),
            GlobalFile::Cmdline => format!("{}\n", self.settings.command_line),
            GlobalFile::Version => format!("Linux version 6.1.0-{HOST_NAME} (Dunlin)\n"),
        }
    }
}

/// The text of `/proc/PID/migstat`.
fn migstat(home: &Home) -> String {
    let mut text = String::from(
        "move\tfrom\tto\tmode\tpages_sent\tpages_zero\tpages_present\tbytes\tfreeze_us\tobserver_us\ttotal_us\trtt_us\twait_us\tadmit_us\tcapture_us\tflight_us\tstart_us\trelease_us\tpush_us\n",
    );
    let us = |ns: u64| ns as f64 / 1000.0;
    for (number, stats) in &home.moves {
        let _ = writeln!(
            text,
            "{number}\t{}\t{}\tpostcopy\t{}\t{}\t{}\t{}\t{:.1}\t{:.1}\t{:.1}\t{:.1}\t{:.1}\t{:.1}\t{:.1}\t{:.1}\t{:.1}\t{:.1}\t{:.1}",
            stats.from.0,
            stats.to.0,
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
    }
    text
}

fn state_letter(home: &Home, facts: &BodyFacts) -> char {
    match home.life {
        Life::Zombie(_) => 'Z',
        Life::Stopped { .. } => 'T',
        Life::Alive => char::from(if facts.state == 0 { b'S' } else { facts.state }),
    }
}

/// `/proc/PID/stat`, proc(5): 52 fields.
fn stat(home: &Home, facts: &BodyFacts) -> String {
    let name = String::from_utf8_lossy(home.short_name()).into_owned();
    let cpu = facts.cpu_ns.max(home.cpu_ns) / TICK_NS;
    let state = state_letter(home, facts);
    format!(
        "{} ({name}) {state} {} {} {} 1025 {} 0 0 0 0 0 {cpu} 0 {} 0 20 0 1 0 {} {} {} \
         18446744073709551615 0 0 0 0 0 0 0 0 0 0 0 0 17 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n",
        home.pid,
        home.parent,
        home.group,
        home.session,
        home.group,
        home.children_cpu_ns / TICK_NS,
        home.started_ns / TICK_NS,
        facts.virtual_bytes,
        facts.resident_pages,
    )
}

fn statm(facts: &BodyFacts) -> String {
    let pages = facts.virtual_bytes / PAGE_SIZE as u64;
    format!("{pages} {} 0 0 0 {pages} 0\n", facts.resident_pages)
}

/// `/proc/PID/status`, the lines that programs read.
fn status(home: &Home, facts: &BodyFacts) -> String {
    let letter = state_letter(home, facts);
    let word = match letter {
        'R' => "running",
        'T' => "stopped",
        'Z' => "zombie",
        _ => "sleeping",
    };
    let kib = |pages: u64| pages * (PAGE_SIZE as u64 >> 10);
    format!(
        "Name:\t{}\nUmask:\t0022\nState:\t{letter} ({word})\nTgid:\t{pid}\nNgid:\t0\nPid:\t{pid}\nPPid:\t{}\n\
         TracerPid:\t0\nUid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\nVmSize:\t{} kB\nVmRSS:\t{} kB\nThreads:\t1\n\
         SigPnd:\t{:016x}\nSigBlk:\t{:016x}\n",
        String::from_utf8_lossy(home.short_name()),
        home.parent,
        facts.virtual_bytes >> 10,
        kib(facts.resident_pages),
        home.pending,
        home.blocked,
        pid = home.pid,
    )
}
