//! What must hold in every world: at every step, at every death and at the end.
//!
//! Law: the checker knows what the programs may show and whom a death may take with it; everything
//! else is a failure. It looks into the Systems and never changes them.

use crate::carried::Musts;
use crate::programs::{Deaths, Work};
use crate::world::{LastWords, Machine, id, pages_of};
use machine::{FRAME_KINDS, Frame, FrameKind, PAGE_SIZE};
use migrate::{OFFER_TIMEOUT_NS, SourceState};
use node::{Payload, Transmit};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use system::System;
use system::body::Effects;
use system::home::{Home, INIT};
use system::system::NetPage;
use wire::{BootId, NodeId, Pid};

/// What [`machine::Frame::stale`] leaves where nobody has written: no program writes it so often in a row.
const STALE: [u8; 16] = [0xa5; 16];

/// What went wrong.
pub(crate) type Failure = String;

/// What a node has shown in one boot, or in all of those that are the home of the same processes.
#[derive(Default)]
pub(crate) struct Shown {
    /// The line that is not finished.
    pub(crate) line: Vec<u8>,
    /// The number of the next record, by the name of the process.
    next: BTreeMap<String, u64>,
    pub(crate) ended: BTreeSet<String>,
    /// Who has to end.
    pub(crate) expected: BTreeSet<String>,
    /// Init has waited for everybody.
    over: bool,
    /// In this boot nothing was begun: it is over when those are who were there before.
    pub(crate) carried: bool,
    /// How often the node has booted again.
    pub(crate) reboots: u64,
}

impl Shown {
    /// Names are given out again, and records counted from zero.
    pub(crate) fn begin(&mut self) {
        self.next.clear();
        self.ended.clear();
        (self.over, self.carried) = (false, false);
    }
}

pub(crate) struct Checker {
    pub(crate) work: Work,
    archive_pages: u64,
    pub(crate) shown: BTreeMap<BootId, Shown>,
    /// Whom the deaths so far may have taken: (home's first boot, pid).
    pub(crate) may_be_lost: BTreeSet<(BootId, u32)>,
    /// And what they were called.
    pub(crate) lost_names: BTreeSet<(BootId, String)>,
    /// First boots by node, as of now.
    pub(crate) boots: BTreeMap<NodeId, BootId>,
    /// The first boot of those that each boot belongs to.
    pub(crate) lines: BTreeMap<BootId, BootId>,
    /// Which boots of the others a node knew before its last turn.
    pub(crate) knew: BTreeMap<NodeId, Vec<Option<BootId>>>,
    epochs: BTreeMap<(BootId, u32), u64>,
    /// The owner of each epoch, for ever.
    owners: BTreeMap<(BootId, u32, u64), (NodeId, BootId)>,
    /// Who was said to have lost its home, on which boot.
    told_lost: BTreeSet<(BootId, u32, BootId)>,
    /// When a move was first seen to wait for admission, by when it was wished; the node's clock.
    offered: BTreeMap<(NodeId, u32, u64), u64>,
    /// Who there was when a node died whose last words were still under way.
    born: BTreeMap<NodeId, BTreeSet<(BootId, u32)>>,
    /// Boots that may miss one who had no name yet.
    unnamed: BTreeSet<BootId>,
    /// Who is to be found again by the next boot of its home.
    pub(crate) must: Musts,
    /// A frame was not to be had somewhere.
    short: bool,
    /// Boots on which nobody starts anything.
    pub(crate) idle: BTreeSet<BootId>,
    /// What parents have said about the end of their child.
    pub(crate) said: Vec<String>,
    pub(crate) records: u64,
    pub(crate) lost: u64,
}

impl Checker {
    pub(crate) fn new(work: Work, files: &[(&str, Vec<u8>)]) -> Checker {
        Checker {
            work,
            archive_pages: pages_of(files),
            shown: BTreeMap::new(),
            may_be_lost: BTreeSet::new(),
            lost_names: BTreeSet::new(),
            boots: BTreeMap::new(),
            lines: BTreeMap::new(),
            knew: BTreeMap::new(),
            epochs: BTreeMap::new(),
            owners: BTreeMap::new(),
            told_lost: BTreeSet::new(),
            offered: BTreeMap::new(),
            born: BTreeMap::new(),
            unnamed: BTreeSet::new(),
            must: Musts::default(),
            short: false,
            idle: BTreeSet::new(),
            said: Vec::new(),
            records: 0,
            lost: 0,
        }
    }

    // ---- at every step -----------------------------------------------------------------------

    /// Whether a worker has shown its last record.
    pub(crate) fn has_ended(&self, name: &str) -> bool {
        self.shown.values().any(|shown| shown.ended.contains(name))
    }

    /// How often it was told that a process has lost its home.
    pub(crate) fn homeless(&self) -> usize {
        self.told_lost.len()
    }

    /// A request for a frame has failed.
    pub(crate) fn short_of_memory(&mut self) {
        self.short = true;
    }

    /// This process may end before its time, and be missed.
    pub(crate) fn excuse(&mut self, pid: u32, machines: &[Machine]) {
        for machine in machines {
            let system = machine.system.as_ref();
            let Some(system) = system.filter(|system| system.node() == Pid(pid).home()) else {
                continue;
            };
            self.may_be_lost.insert((machine.line, pid));
            let home = system.inside().homes.get(&pid);
            let name = home.map(|home| String::from_utf8_lossy(home.short_name()).into_owned());
            match name.filter(|name| name.starts_with('w')) {
                Some(name) => {
                    self.lost_names.insert((machine.line, name));
                }
                // It had no name yet, or it is over already.
                None => {
                    self.unnamed.insert(machine.line);
                }
            }
        }
    }

    /// Bytes on the console of a node: every record once and in order. Returns its lines.
    pub(crate) fn output(
        &mut self,
        node: NodeId,
        boot: BootId,
        bytes: &[u8],
    ) -> Result<Vec<String>, Failure> {
        let mut lines = Vec::new();
        let shown = self.shown.entry(boot).or_default();
        for &byte in bytes {
            if byte != b'\n' {
                shown.line.push(byte);
                continue;
            }
            let line = String::from_utf8_lossy(&std::mem::take(&mut shown.line)).into_owned();
            let line = line.trim_end();
            lines.push(line.to_owned());
            match line {
                "end" => shown.over = true,
                "well" | "killed" | "otherwise" => self.said.push(line.to_owned()),
                _ => {}
            }
            let Some(record) = line.strip_prefix('<') else {
                continue;
            };
            let mut words = record.trim_end_matches('>').split(' ');
            let name = words.next().unwrap_or_default().to_owned();
            let number = words.next().and_then(|word| word.parse().ok());
            let next = shown.next.entry(name.clone()).or_default();
            // The one before may be what nobody knows.
            if number == Some(*next + 1) && self.must.unsure.contains(&(boot, name.clone(), *next))
            {
                *next += 1;
            }
            if number != Some(*next) {
                return Err(format!("node {node}: {line} where record {next} is due"));
            }
            *next += 1;
            self.records += 1;
            if words.next() == Some("end") {
                shown.ended.insert(name);
            }
        }
        Ok(lines)
    }

    /// What a node's kernel says: nothing that must not happen.
    pub(crate) fn log(
        &mut self,
        node: NodeId,
        machines: &[Machine],
        bytes: &[u8],
    ) -> Result<(), Failure> {
        let text = String::from_utf8_lossy(bytes);
        for line in text.lines() {
            if self.lost_mapping(line) {
                continue;
            }
            let no_memory = ["out of memory", "no memory", "image refused"];
            let bad = ["out of sequence", "): signal "];
            let of = |list: &[&str]| list.iter().any(|bad| line.contains(bad));
            if of(&bad) || of(&no_memory) && !self.short {
                return Err(format!("node {node}: {line}"));
            }
            let pid = line
                .split_once("process ")
                .and_then(|(_, rest)| rest.split([':', ' ']).next()?.parse().ok());
            let Some(pid) = pid else { continue };
            let explained = if line.contains("out of memory") {
                self.excuse(pid, machines);
                true
            } else if line.contains("lost with") {
                self.lost += 1;
                let home = self.boots.get(&Pid(pid).home());
                let known = home.is_some_and(|&boot| {
                    self.may_be_lost.contains(&(boot, pid)) || self.came_after(line, boot, pid)
                });
                // Who has it may not have heard yet that its home has booted again.
                let stood = Pid(pid).home() != node;
                known
                    || self.is_of_before(node, pid)
                    || stood && self.may_be_lost.iter().any(|&(_, lost)| lost == pid)
            } else if line.contains("): in the journal, on node ") {
                self.restored(pid, machines);
                true
            } else if line.contains("its home, was away for") {
                self.gave_up(node, pid, machines)
            } else if line.contains("it is lost") || line.contains("as its home was away") {
                self.lost += 1;
                let home = self.boots.get(&Pid(pid).home());
                home.is_some_and(|&line| self.may_be_lost.contains(&(line, pid)))
            } else if line.contains("its home is lost") {
                let (here, home) = (self.boots.get(&node), Pid(pid).home());
                let (here, home) = (here.copied(), self.boots.get(&home).copied());
                let of = (here.unwrap_or(BootId::NONE), home.unwrap_or(BootId::NONE));
                self.work.deaths == Deaths::Some && self.told_lost.insert((of.0, pid, of.1))
            } else {
                true
            };
            if !explained {
                return Err(format!("node {node}: no death explains this: {line}"));
            }
        }
        Ok(())
    }

    /// A home has booted again and finds a process in its journal. If its owner has died meanwhile it is lost, although it may
    /// never have been there: a fork of which the answer did not come.
    fn restored(&mut self, pid: u32, machines: &[Machine]) {
        let at = |node: NodeId| machines.get(usize::from(node.0).checked_sub(1)?);
        let Some(machine) = at(Pid(pid).home()) else {
            return;
        };
        let system = machine.system.as_ref();
        let Some(home) = system.and_then(|system| system.inside().homes.get(&pid)) else {
            return;
        };
        let gate = home.record.gate();
        let lives = |owner: &Machine| owner.system.is_some() && owner.boot == gate.owner_boot();
        if !at(gate.owner()).is_some_and(lives) {
            self.may_lose(machine.line, home);
        }
    }

    /// A death may have taken this process with it.
    fn may_lose(&mut self, line: BootId, home: &Home) {
        let name = String::from_utf8_lossy(home.short_name()).into_owned();
        self.may_be_lost.insert((line, home.pid));
        self.lost_names.insert((line, name));
    }

    /// Whether what a node has under this number is of a boot of its home that is over for good, of which it has not heard. What
    /// becomes of that is nobody's loss.
    fn is_of_before(&self, node: NodeId, pid: u32) -> bool {
        let home = Pid(pid).home();
        let knew = self.knew.get(&node).zip(usize::from(home.0).checked_sub(1));
        let knew = knew.and_then(|(boots, index)| *boots.get(index)?);
        let line = knew.and_then(|boot| self.lines.get(&boot));
        line.is_some_and(|line| self.boots.get(&home).is_some_and(|now| now != line))
    }

    /// Whether a process was forked by the last words of the node that it is said to be lost with.
    fn came_after(&self, line: &str, home: BootId, pid: u32) -> bool {
        let node = line.rsplit(' ').next().and_then(|word| word.parse().ok());
        let born = node.and_then(|node| self.born.get(&NodeId(node)));
        born.is_some_and(|born| !born.contains(&(home, pid)))
    }

    /// A node by itself: one copy of a process at most, and nobody waits for admission beyond two
    /// timeouts of its own clock.
    pub(crate) fn state(&mut self, system: &System, clock: u64) -> Result<(), Failure> {
        let inside = system.inside();
        for (pid, out) in inside.outgoing {
            if out.frozen().is_some() && inside.bodies.contains_key(pid) {
                return Err(format!(
                    "node {}: process {pid} runs beside its frozen copy",
                    system.node()
                ));
            }
            if out.state() == SourceState::Offered {
                let key = (system.node(), *pid, out.since_ns());
                let since = *self.offered.entry(key).or_insert(clock);
                if clock.saturating_sub(since) > 2 * OFFER_TIMEOUT_NS {
                    return Err(format!(
                        "node {}: process {pid} is still offered",
                        system.node()
                    ));
                }
            }
        }
        Ok(())
    }

    /// All nodes: whoever may have effects is the owner that home knows, epochs only grow, and each has
    /// one owner for ever. Returns how many processes have changed hands.
    pub(crate) fn owners(&mut self, machines: &[Machine]) -> Result<u64, Failure> {
        let mut changed = 0;
        for home_machine in machines {
            let Some(home_system) = &home_machine.system else {
                continue;
            };
            let homes = home_system.inside().homes.values();
            for home in homes.filter(|home| home.lives()) {
                let gate = home.record.gate();
                // The first process is begun anew in each boot.
                let line = match home.pid {
                    INIT => home_machine.boot,
                    _ => home_machine.line,
                };
                let (boot, epoch) = (line, gate.epoch());
                let known = self.epochs.entry((boot, home.pid)).or_insert(1);
                if epoch < *known {
                    return Err(format!("process {}: epochs go back", home.pid));
                }
                let owner = (gate.owner(), gate.owner_boot());
                let first = self.owners.get(&(boot, home.pid, epoch));
                let other = first.is_some_and(|first| *first != owner);
                // What is not on the disk may be decided otherwise by the next boot.
                if home_system.has_kept_all() {
                    changed += epoch - *known;
                    *known = epoch;
                    self.owners.insert((boot, home.pid, epoch), owner);
                }
                if other {
                    let pid = home.pid;
                    return Err(format!("process {pid}: epoch {epoch} has two owners"));
                }
                for machine in machines {
                    self.copy(home, (home_machine, home_system), machine)?;
                }
            }
        }
        Ok(changed)
    }

    /// The copy of a process on one of the nodes, if there is one.
    fn copy(
        &self,
        home: &Home,
        (home_machine, home_system): (&Machine, &System),
        machine: &Machine,
    ) -> Result<(), Failure> {
        let Some(system) = &machine.system else {
            return Ok(());
        };
        let (gate, at_home) = (home.record.gate(), home_system.node());
        // The first process of every node has the same number.
        let body = system.inside().bodies.get(&home.pid);
        let Some(body) = body.filter(|body| body.home == at_home) else {
            return Ok(());
        };
        // A node that has not heard of home's death may keep the old boot's process.
        let heard =
            system.node() == at_home || system.known_boot(at_home) == Some(home_machine.boot);
        let open = heard && body.effects == Effects::Open;
        let owner = gate.is_owner(system.node(), machine.boot, body.epoch);
        if open && !owner && body.epoch >= gate.epoch() {
            return Err(format!(
                "process {}: open on node {} in epoch {}, but node {} owns it in epoch {}",
                home.pid,
                system.node(),
                body.epoch,
                gate.owner(),
                gate.epoch()
            ));
        }
        Ok(())
    }

    // ---- deaths ------------------------------------------------------------------------------

    /// A machine is about to die: whom may it take with it?
    pub(crate) fn dies(&mut self, index: usize, machines: &[Machine], last: LastWords) {
        let (dead, boot) = (id(index), machines[index].boot);
        let Some(system) = &machines[index].system else {
            return;
        };
        self.home_dies(index, machines);
        // Who has come home dies with it; where it was before nobody may have heard that it has left.
        let at_home = |home: &&Home| home.lives() && home.record.gate().owner() == dead;
        for home in system.inside().homes.values().filter(at_home) {
            self.may_be_lost.insert((machines[index].line, home.pid));
        }
        self.born.remove(&dead);
        if last == LastWords::Arrive {
            let born = machines.iter().flat_map(|machine| {
                let homes = machine
                    .system
                    .iter()
                    .flat_map(|system| system.inside().homes.keys());
                homes.map(|pid| (machine.line, *pid))
            });
            self.born.insert(dead, born.collect());
        }
        for (number, machine) in machines.iter().enumerate() {
            if machine.system.is_none() {
                self.dies_while_away((number, machine), system);
            }
            let Some(home_system) = machine.system.as_ref().filter(|other| other.node() != dead)
            else {
                continue;
            };
            for home in home_system
                .inside()
                .homes
                .values()
                .filter(|home| home.lives())
            {
                let gate = home.record.gate();
                let owns = gate.owner() == dead;
                // Its first effect may be among the last words; home may not have heard of the death before this one.
                let hosts = owns
                    && (home.record.previous().is_none()
                        || last == LastWords::Arrive
                        || gate.owner_boot() != boot);
                let has_pages = system
                    .inside()
                    .outgoing
                    .get(&home.pid)
                    .is_some_and(|out| out.frozen().is_some());
                if hosts || has_pages {
                    self.may_lose(machine.line, home);
                }
            }
        }
    }

    // ---- the end -----------------------------------------------------------------------------

    pub(crate) fn all_ended(&self, machines: &[Machine]) -> bool {
        machines.iter().all(|machine| {
            let over = |shown: &Shown| !shown.carried && shown.over;
            let over = self.shown.get(&machine.line).is_some_and(over);
            machine.system.is_some() && (over || self.idle.contains(&machine.line))
        })
    }

    pub(crate) fn what_hangs(&self, machines: &[Machine]) -> Failure {
        let mut text = String::from("not everything has come to its end\n");
        for machine in machines {
            let Some(system) = &machine.system else {
                text.push_str("a machine is off\n");
                continue;
            };
            let inside = system.inside();
            let _ = writeln!(text, "node {} (boot {:x}):", system.node(), machine.boot.0);
            for home in inside.homes.values() {
                let gate = home.record.gate();
                let name = String::from_utf8_lossy(home.short_name()).into_owned();
                let _ = writeln!(
                    text,
                    "  home {} ({name}) of {}: {:?}, owner {} epoch {} next {:?} running {:?}, \
                     pending {:x}, request {:?}",
                    home.pid,
                    home.parent,
                    home.life,
                    gate.owner(),
                    gate.epoch(),
                    gate.next_seq(Pid(home.pid)),
                    gate.running(Pid(home.pid)),
                    home.pending.set(),
                    home.request
                );
            }
            for body in inside.bodies.values() {
                let _ = writeln!(
                    text,
                    "  body {}: epoch {} {:?} threads {:?} stopped {} freezing {} held {} wish {:?} \
                     absent {:?}",
                    body.pid,
                    body.epoch,
                    body.effects,
                    body.threads,
                    body.stopped,
                    body.freezing,
                    body.held,
                    body.wish,
                    system.awaits_pages(body.pid)
                );
            }
            for thread in inside.threads.values() {
                let _ = writeln!(
                    text,
                    "  thread {} of {}: {:?} call {:?} {:?} poked {} alarm {} rip {:x}",
                    thread.tid,
                    thread.pid,
                    thread.run,
                    thread.call.map(|call| (call.number, call.args)),
                    thread.forward,
                    thread.poked,
                    thread.alarm_ns,
                    thread.registers.rip
                );
            }
            for (pid, out) in inside.outgoing {
                let _ = writeln!(text, "  outgoing {pid}: {}", out.describe());
            }
            for (pid, incoming) in inside.incoming {
                let _ = writeln!(text, "  incoming {pid}: {}", incoming.describe());
            }
        }
        text
    }

    /// Everybody has ended as it should, and nothing is left. Returns records and losses.
    pub(crate) fn finish(&self, machines: &mut [Machine]) -> Result<(u64, u64), Failure> {
        for machine in machines {
            let boot = machine.line;
            let Some(shown) = self.shown.get(&boot) else {
                return Err(String::from("a node has shown nothing"));
            };
            for name in &shown.expected {
                // A signal whose frame finds no memory ends its process without a word.
                let lost = self.short
                    || self.unnamed.contains(&boot)
                    || self.lost_names.contains(&(boot, name.clone()));
                if !shown.ended.contains(name) && !lost {
                    return Err(format!("boot {:x}: {name} is missing", boot.0));
                }
            }
            machine.computer.enter();
            let Some(system) = machine.system.as_mut() else {
                return Err(String::from("a machine is off at the end"));
            };
            let left = system.left_over();
            if left.iter().any(|(_, count)| *count != 0) {
                let list = self.what_hangs(std::slice::from_ref(machine));
                return Err(format!("left at the end: {left:?}\n{list}"));
            }
            let left_files = self.short
                || self.unnamed.contains(&boot)
                || self.lost_names.iter().any(|(home, _)| *home == boot);
            self.frames(system, left_files)?;
        }
        Ok((self.records, self.lost))
    }

    /// The frames of a node with init alone: its own, the archive's, and the link's one page.
    /// A process that was lost has left its log, too.
    fn frames(&self, system: &mut System, left_files: bool) -> Result<(), Failure> {
        for path in [&b"/init"[..], b"/other"] {
            system.read_whole(path)?;
        }
        let own: BTreeSet<u64> = system
            .frames_of(INIT)
            .iter()
            .filter(|frame| frame.kind() == FrameKind::User)
            .map(Frame::number)
            .collect();
        let mut wanted = [0; FRAME_KINDS];
        wanted[FrameKind::User as usize] = own.len() as u64;
        // One more: an address space has a page of zeros.
        wanted[FrameKind::Cache as usize] = self.archive_pages + 1;
        wanted[FrameKind::Network as usize] = 1;
        let found = machine::frame_counts().by_kind;
        let cache = FrameKind::Cache as usize;
        if left_files {
            wanted[cache] = wanted[cache].max(found[cache]);
        }
        if found != wanted {
            return Err(format!(
                "node {}: frames by kind {found:?}, expected {wanted:?}",
                system.node()
            ));
        }
        Ok(())
    }
}

/// What a node sends: no memory in which nobody has written since somebody else had it.
pub(crate) fn sent(node: NodeId, transmit: &Transmit<NetPage>) -> Result<(), Failure> {
    let Payload::Page(page, _) = &transmit.payload else {
        return Ok(());
    };
    let mut bytes = [0; PAGE_SIZE];
    page.0.read(0, &mut bytes);
    // A multiple of sixteen bytes: what is left over from before is whole words.
    let stale = bytes.chunks_exact(STALE.len()).any(|part| part == STALE);
    match stale {
        false => Ok(()),
        true => Err(format!("node {node} sends memory that was not cleared")),
    }
}
