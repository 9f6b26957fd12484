//! What must hold in every world: at every step, at every death and at the end.
//!
//! Law: the checker knows what the programs may show and whom a death may take with it; everything
//! else is a failure. It looks into the Systems and never changes them.

use super::programs::{Deaths, Work};
use super::world::{Machine, id, pages_of};
use crate::System;
use crate::body::Effects;
use machine::{FRAME_KINDS, FrameKind};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use wire::{BootId, NodeId, Pid};

/// What went wrong.
pub(super) type Failure = String;

/// What one boot of a node has shown.
#[derive(Default)]
struct Shown {
    /// The line that is not finished.
    line: Vec<u8>,
    /// The number of the next record, by the name of the process.
    next: BTreeMap<String, u64>,
    ended: BTreeSet<String>,
    /// Init has waited for everybody.
    over: bool,
}

pub(super) struct Checker {
    work: Work,
    archive_pages: u64,
    shown: BTreeMap<BootId, Shown>,
    /// Whom the deaths so far may have taken: (home's boot, pid).
    may_be_lost: BTreeSet<(BootId, u32)>,
    /// And what they were called.
    lost_names: BTreeSet<(BootId, String)>,
    /// Boots by node, as of now.
    boots: BTreeMap<NodeId, BootId>,
    epochs: BTreeMap<(BootId, u32), u64>,
    records: u64,
    lost: u64,
}

impl Checker {
    pub(super) fn new(work: Work, files: &[(&str, Vec<u8>)]) -> Checker {
        Checker {
            work,
            archive_pages: pages_of(files),
            shown: BTreeMap::new(),
            may_be_lost: BTreeSet::new(),
            lost_names: BTreeSet::new(),
            boots: BTreeMap::new(),
            epochs: BTreeMap::new(),
            records: 0,
            lost: 0,
        }
    }

    // ---- at every step -----------------------------------------------------------------------

    /// Bytes on the console of a node: every record once and in order.
    pub(super) fn output(
        &mut self,
        node: NodeId,
        boot: BootId,
        bytes: &[u8],
    ) -> Result<(), Failure> {
        self.boots.insert(node, boot);
        let shown = self.shown.entry(boot).or_default();
        for &byte in bytes {
            if byte != b'\n' {
                shown.line.push(byte);
                continue;
            }
            let line = String::from_utf8_lossy(&std::mem::take(&mut shown.line)).into_owned();
            let line = line.trim_end();
            if line == "end" {
                shown.over = true;
            }
            let Some(record) = line.strip_prefix('<') else {
                continue;
            };
            let mut words = record.trim_end_matches('>').split(' ');
            let name = words.next().unwrap_or_default().to_owned();
            let number = words.next().and_then(|word| word.parse().ok());
            let next = shown.next.entry(name.clone()).or_default();
            if number != Some(*next) {
                return Err(format!("node {node}: {line} where record {next} is due"));
            }
            *next += 1;
            self.records += 1;
            if words.next() == Some("end") {
                shown.ended.insert(name);
            }
        }
        Ok(())
    }

    /// What a node's kernel says: nothing that must not happen.
    pub(super) fn log(&mut self, node: NodeId, bytes: &[u8]) -> Result<(), Failure> {
        let text = String::from_utf8_lossy(bytes);
        for line in text.lines() {
            let bad = [
                "out of memory",
                "out of sequence",
                "image refused",
                "): signal ",
            ];
            if bad.iter().any(|bad| line.contains(bad)) {
                return Err(format!("node {node}: {line}"));
            }
            let pid = line
                .split_once("process ")
                .and_then(|(_, rest)| rest.split([':', ' ']).next()?.parse().ok());
            let Some(pid) = pid else { continue };
            let explained = if line.contains("lost with") {
                self.lost += 1;
                let home = self.boots.get(&Pid(pid).home());
                home.is_some_and(|&boot| self.may_be_lost.contains(&(boot, pid)))
            } else if line.contains("its home is lost") {
                self.work.deaths == Deaths::Some
            } else {
                true
            };
            if !explained {
                return Err(format!("node {node}: no death explains this: {line}"));
            }
        }
        Ok(())
    }

    /// A node by itself: one copy of a process at most.
    pub(super) fn state(&self, system: &System) -> Result<(), Failure> {
        for (pid, out) in &system.outgoing {
            if out.frozen().is_some() && system.bodies.contains_key(pid) {
                return Err(format!(
                    "node {}: process {pid} runs beside its frozen copy",
                    system.me
                ));
            }
        }
        Ok(())
    }

    /// All nodes: whoever may have effects is the owner that home knows, and epochs only grow.
    /// Returns how many processes have changed hands.
    pub(super) fn owners(&mut self, machines: &[Machine]) -> Result<u64, Failure> {
        let mut changed = 0;
        for home_machine in machines {
            let Some(home_system) = &home_machine.system else {
                continue;
            };
            for home in home_system.homes.values().filter(|home| home.lives()) {
                let gate = home.record.gate();
                let known = self
                    .epochs
                    .entry((home_machine.boot, home.pid))
                    .or_insert(1);
                if gate.epoch() < *known {
                    return Err(format!("process {}: epochs go back", home.pid));
                }
                changed += gate.epoch() - *known;
                *known = gate.epoch();
                for machine in machines {
                    let Some(system) = &machine.system else {
                        continue;
                    };
                    // The first process of every node has the same number.
                    let body = system.bodies.get(&home.pid);
                    let Some(body) = body.filter(|body| body.home == home_system.me) else {
                        continue;
                    };
                    // A node that has not heard of home's death may keep the old boot's process.
                    let heard = system.me == home_system.me
                        || system.net.peer(home_system.me).map(|peer| peer.boot)
                            == Some(home_machine.boot);
                    let open = heard && body.effects == Effects::Open;
                    let owner = gate.is_owner(system.me, machine.boot, body.epoch);
                    if open && !owner && body.epoch >= gate.epoch() {
                        return Err(format!(
                            "process {}: open on node {} in epoch {}, but node {} owns it in epoch {}",
                            home.pid,
                            system.me,
                            body.epoch,
                            gate.owner(),
                            gate.epoch()
                        ));
                    }
                }
            }
        }
        Ok(changed)
    }

    // ---- deaths ------------------------------------------------------------------------------

    /// A machine is about to die: whom may it take with it?
    pub(super) fn dies(&mut self, index: usize, machines: &[Machine]) {
        let (dead, boot) = (id(index), machines[index].boot);
        let Some(system) = &machines[index].system else {
            return;
        };
        for machine in machines {
            let Some(home_system) = machine.system.as_ref().filter(|other| other.me != dead) else {
                continue;
            };
            for home in home_system.homes.values().filter(|home| home.lives()) {
                let gate = home.record.gate();
                let owns = (gate.owner(), gate.owner_boot()) == (dead, boot);
                let hosts = owns && home.record.previous().is_none();
                let has_pages = system
                    .outgoing
                    .get(&home.pid)
                    .is_some_and(|out| out.frozen().is_some());
                if hosts || has_pages {
                    let name = String::from_utf8_lossy(home.short_name()).into_owned();
                    self.may_be_lost.insert((machine.boot, home.pid));
                    self.lost_names.insert((machine.boot, name));
                }
            }
        }
    }

    // ---- the end -----------------------------------------------------------------------------

    pub(super) fn all_ended(&self, machines: &[Machine]) -> bool {
        machines.iter().all(|machine| {
            machine.system.is_some()
                && self
                    .shown
                    .get(&machine.boot)
                    .is_some_and(|shown| shown.over)
        })
    }

    pub(super) fn what_hangs(&self, machines: &[Machine]) -> Failure {
        let mut text = String::from("not everything has come to its end\n");
        for machine in machines {
            let Some(system) = &machine.system else {
                text.push_str("a machine is off\n");
                continue;
            };
            let _ = writeln!(text, "node {} (boot {:x}):", system.me, machine.boot.0);
            for home in system.homes.values() {
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
            for body in system.bodies.values() {
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
                    system.lacks_pages(body.pid)
                );
            }
            for thread in system.threads.values() {
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
            for (pid, out) in &system.outgoing {
                let _ = writeln!(text, "  outgoing {pid}: {}", out.describe());
            }
            for (pid, incoming) in &system.incoming {
                let _ = writeln!(text, "  incoming {pid}: {}", incoming.describe());
            }
        }
        text
    }

    /// Everybody has ended as it should, and nothing is left. Returns records and losses.
    pub(super) fn finish(&self, machines: &mut [Machine]) -> Result<(u64, u64), Failure> {
        for machine in machines {
            let boot = machine.boot;
            let Some(shown) = self.shown.get(&boot) else {
                return Err(String::from("a node has shown nothing"));
            };
            for number in 0..self.work.workers {
                let name = format!("w{number}");
                let lost = self.lost_names.contains(&(boot, name.clone()));
                if !shown.ended.contains(&name) && !lost {
                    return Err(format!("boot {:x}: {name} is missing", boot.0));
                }
            }
            machine.computer.enter();
            let Some(system) = machine.system.as_mut() else {
                return Err(String::from("a machine is off at the end"));
            };
            let left = [
                ("homes", system.homes.len() - 1),
                ("bodies", system.bodies.len() - 1),
                ("outgoing", system.outgoing.len()),
                ("incoming", system.incoming.len()),
                ("alarms", system.alarms.len()),
                ("ready", system.ready_count()),
                ("threads", system.threads.len() - 1),
                ("spaces", system.spaces.count() - 1),
            ];
            if left.iter().any(|(_, count)| *count != 0) {
                let list = self.what_hangs(std::slice::from_ref(machine));
                return Err(format!("left at the end: {left:?}\n{list}"));
            }
            let left_files = self.lost_names.iter().any(|(home, _)| *home == boot);
            self.frames(system, left_files)?;
        }
        Ok((self.records, self.lost))
    }

    /// The frames of a node with init alone: its own, the archive's, and the link's one page.
    /// A process that was lost has left its log, too.
    fn frames(&self, system: &mut System, left_files: bool) -> Result<(), Failure> {
        let init = crate::home::INIT;
        for path in [&b"/init"[..], b"/other"] {
            let files = system.homes[&init].files.clone();
            let files = files.ok_or("init has files")?;
            let fs = system.fs.clone();
            let opened = fs
                .open_program(&files, system, init, &crate::files::Who::default(), path)
                .map_err(|errno| format!("{errno:?}"))?;
            let pages = opened.inode.size().div_ceil(4096);
            for page in 0..pages {
                opened
                    .inode
                    .page(page)
                    .map_err(|error| format!("{error:?}"))?;
            }
        }
        let space = system.space_of(init);
        let own: BTreeSet<u64> = space
            .ok_or("init has memory")?
            .table()
            .pages(0, machine::USER_END)
            .filter(|(_, mapping)| mapping.frame.kind() == FrameKind::User)
            .map(|(_, mapping)| mapping.frame.number())
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
                system.me
            ));
        }
        Ok(())
    }
}
