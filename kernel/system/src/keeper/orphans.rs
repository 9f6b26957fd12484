//! Processes whose home boots again or does not answer, at their node; and how home gets them back.
//!
//! Law: **a process whose home is over goes on computing, and stands still at its first call home** until its home knows it
//! again ([`Message::Adopted`]) or says that it does not (`Lost`). Home believes its journal: who has it, in which boot
//! and epoch; its owner only says where it is. Of a home without a journal everything ends with its boot, as ever.
//!
//! A call that was under way when home died is made again under the same number if home can tell whether it was
//! executed, or if that makes no difference; else it fails with EIO, as nobody knows.
//!
//! A process whose home is away for longer than the grace ends, with one report here; home is told when it is there again,
//! and reports it once more to whom it concerns there: the parent.

use crate::body::Effects;
use crate::dispatch::{can_be_asked_again, wire_pid};
use crate::home::INIT;
use crate::signals::SignalInfo;
use crate::system::System;
use crate::thread::{Forward, Purpose};
use crate::timeline::What;
use abi::{Errno, signal};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;
use migrate::{Claim, LostOutcome, unknown};
use node::PeerState;
use wire::{BootId, Message, NodeId, Pid, Whereabouts};

/// How long a process waits for its home if the command line does not say so, s.
const GRACE_S: u64 = 300;
/// And at most.
const GRACE_MAX_S: u64 = 7 * 24 * 3600;

/// The word of the command line for it: `orphan_grace=SECONDS`.
fn grace_ns(command_line: &str) -> u64 {
    let mut words = command_line.split_ascii_whitespace();
    let given = words.find_map(|word| word.strip_prefix("orphan_grace=")?.parse().ok());
    given.unwrap_or(GRACE_S).clamp(1, GRACE_MAX_S) * 1_000_000_000
}

/// What a node knows of the homes of its guests that are away.
#[derive(Default)]
pub(crate) struct Orphans {
    grace_ns: u64,
    /// When guests of a home end, if it is not there by then.
    deadlines: BTreeMap<NodeId, u64>,
    /// Guests that have ended like this, of which their home does not know.
    ended: BTreeMap<NodeId, Vec<(Pid, u64)>>,
}

impl Orphans {
    /// Nobody is away yet.
    pub(crate) fn new(command_line: &str) -> Orphans {
        Orphans {
            grace_ns: grace_ns(command_line),
            ..Orphans::default()
        }
    }

    /// Of how much it knows that is not told yet.
    #[cfg(feature = "canary")]
    pub(crate) fn count(&self) -> usize {
        self.ended.len()
    }
}

impl System {
    // ---- the owner's side ----------------------------------------------------------------------

    fn guests_of(&self, home: NodeId) -> Vec<u32> {
        let guests = self.bodies.values().filter(|body| body.home == home);
        guests.map(|body| body.pid).collect()
    }

    /// Whether the new boot of a node has a journal, and so may know its processes.
    pub(crate) fn knows_its_own(&self, node: NodeId) -> bool {
        let peer = self.net.peer(node);
        node != self.me && peer.is_some_and(|peer| peer.info.journal)
    }

    /// A home does not answer. That proves nothing, but its guests do not wait for ever.
    pub(crate) fn home_silent(&mut self, home: NodeId) {
        if !self.guests_of(home).is_empty() {
            let by = self.now.saturating_add(self.orphans.grace_ns);
            self.orphans.deadlines.entry(home).or_insert(by);
        }
    }

    /// It answers again, in the same boot.
    pub(crate) fn home_back(&mut self, home: NodeId) {
        if !self.has_orphans(home) {
            self.orphans.deadlines.remove(&home);
        }
        if self.orphans.ended.contains_key(&home) || self.has_orphans(home) {
            self.tell_orphans(home);
        }
    }

    fn has_orphans(&self, home: NodeId) -> bool {
        let mut bodies = self.bodies.values();
        bodies.any(|body| body.home == home && body.orphan)
    }

    /// A boot of a home is over, and the next one has a journal.
    pub(crate) fn home_rebooted(&mut self, home: NodeId) {
        self.abandoned.retain(|_, fork| fork.home != home);
        for pid in self.guests_of(home) {
            let body = self.body(pid);
            if body.effects == Effects::Gated {
                // Its move asks for itself.
                continue;
            }
            body.orphan = true;
            body.ahead.let_go();
            let epoch = body.epoch;
            self.timeline.note(What::Orphaned, (pid, epoch), home, 0);
            for tid in self.tids(pid) {
                self.call_back_from_home(tid);
            }
        }
        let by = self.now.saturating_add(self.orphans.grace_ns);
        match self.has_orphans(home) {
            true => {
                self.orphans.deadlines.entry(home).or_insert(by);
            }
            false => {
                self.orphans.deadlines.remove(&home);
            }
        }
        self.tell_orphans(home);
    }

    /// A boot of a home is over, and the next one knows nothing: nor does it want to.
    pub(crate) fn home_forgotten(&mut self, home: NodeId) {
        self.orphans.deadlines.remove(&home);
        self.orphans.ended.remove(&home);
    }

    /// What a thread has sent to the old boot of its home will not be answered.
    fn call_back_from_home(&mut self, tid: u32) {
        let thread = self.thread(tid);
        thread.posts.clear();
        let Forward::Sent { purpose, .. } = thread.forward else {
            return;
        };
        thread.take_up();
        match purpose {
            Purpose::Call(_) if can_be_asked_again(thread.asked) => {
                thread.restart.begun = true;
                thread.again = true;
            }
            Purpose::Call(question) => {
                thread.next_seq = thread.next_seq.saturating_add(1);
                let answer = crate::home::plain(-i64::from(Errno::EIO.0));
                thread.forward = Forward::Ready { question, answer };
            }
            // Home may have given one away: its journal has which.
            Purpose::Signal => {
                thread.poked = true;
                thread.again = true;
            }
            // Nobody has used the answer, and nobody will; but the number may be used up.
            Purpose::Page(_) | Purpose::Arrived | Purpose::Orphan => {
                thread.next_seq = thread.next_seq.saturating_add(1)
            }
        }
        self.wakes.push(tid);
    }

    /// Tells a home what is here of its processes, and what was.
    fn tell_orphans(&mut self, home: NodeId) {
        let mut all = Vec::new();
        for body in self.bodies.values().filter(|body| body.home == home) {
            let state = match body.orphan {
                true => Whereabouts::Here,
                false => Whereabouts::Moving,
            };
            all.push((wire_pid(body.pid), body.epoch, state));
        }
        let moving = self.outgoing.keys().chain(self.incoming.keys());
        let moving = moving.map(|pid| wire_pid(*pid));
        let unseen = |pid: &Pid| pid.home() == home && !self.bodies.contains_key(&pid.0);
        all.extend(
            moving
                .filter(unseen)
                .map(|pid| (pid, 0, Whereabouts::Moving)),
        );
        let ended = self.orphans.ended.remove(&home).unwrap_or_default();
        all.extend(
            ended
                .into_iter()
                .map(|(pid, epoch)| (pid, epoch, Whereabouts::Ended)),
        );
        self.send(home, Message::Orphans { orphans: all });
    }

    /// Home knows a process again: it goes on where it stood still.
    pub(crate) fn adopted(&mut self, from: NodeId, pid: Pid, epoch: u64) {
        let Some(body) = self.bodies.get_mut(&pid.0) else {
            // It was here when home was told, and has ended since.
            let ended = self.orphans.ended.get(&from);
            if ended.is_some_and(|ended| ended.contains(&(pid, epoch))) {
                self.tell_orphans(from);
            }
            return;
        };
        if body.home != from || body.epoch != epoch || !core::mem::take(&mut body.orphan) {
            return;
        }
        machine::log!("process {}: its home has booted again, and knows it", pid.0);
        self.timeline.note(What::Adopted, (pid.0, epoch), from, 0);
        for tid in self.tids(pid.0) {
            self.thread(tid).poked = true;
            self.wakes.push(tid);
        }
        if self.body(pid.0).effects == Effects::Confirmed {
            self.say_arrived(pid.0);
        }
        if !self.has_orphans(from) {
            self.orphans.deadlines.remove(&from);
        }
    }

    /// When the first guest is given up.
    pub(crate) fn next_orphan_ends(&self) -> Option<u64> {
        self.orphans.deadlines.values().min().copied()
    }

    /// Ends guests whose homes were away for too long.
    pub(crate) fn orphans_due(&mut self) {
        let due = |(_, by): &(&NodeId, &u64)| **by <= self.now;
        let homes: Vec<NodeId> = self
            .orphans
            .deadlines
            .iter()
            .filter(due)
            .map(|(home, _)| *home)
            .collect();
        for home in homes {
            self.orphans.deadlines.remove(&home);
            let peer = self.net.peer(home);
            let silent = peer.is_none_or(|peer| peer.state == PeerState::Silent);
            for pid in self.guests_of(home) {
                let waits = silent || self.body(pid).orphan;
                if !waits {
                    continue;
                }
                if self.outgoing.contains_key(&pid) || self.incoming.contains_key(&pid) {
                    // It is looked at again when its move may be over.
                    let by = self.now.saturating_add(self.orphans.grace_ns);
                    self.orphans.deadlines.insert(home, by);
                    continue;
                }
                let seconds = self.orphans.grace_ns / 1_000_000_000;
                machine::log!(
                    "process {pid}: node {}, its home, was away for {seconds} s; it is ended",
                    home.0
                );
                let epoch = self.body(pid).epoch;
                self.timeline.note(What::GivenUp, (pid, epoch), home, 0);
                let ended = self.orphans.ended.entry(home).or_default();
                ended.push((wire_pid(pid), epoch));
                self.drop_body(pid);
            }
        }
    }

    // ---- home's side ---------------------------------------------------------------------------

    /// What the journal has becomes processes again. Their owners have not said yet that they are there.
    pub(crate) fn restore(&mut self) {
        for (pid, bytes) in self.keeper.records() {
            let read = super::understood::<super::Record>(&bytes);
            let Some((kept, answers)) = read.filter(|_| wire_pid(pid).home() == self.me) else {
                machine::log!(
                    "process {pid}: what the journal has of it is not understood; it ends where it is"
                );
                self.keeper.forget(pid);
                continue;
            };
            if let Some(obstacle) = kept.obstacle() {
                machine::log!("process {pid}: {obstacle}; it ends where it is");
                self.keeper.forget(pid);
                continue;
            }
            let known = self.keeper.known.entry(pid).or_default();
            known.answers = answers
                .iter()
                .map(|(tid, reply)| (tid.0, reply.clone()))
                .collect();
            let (mut home, lost) = kept.again(pid, answers, (&self.fs, &self.wakes, self.now));
            // A copy that was here has died with its boot: nothing is given back to it. If it was on its way here, its
            // source asks for it.
            if home.record.rebooted(self.me) == LostOutcome::Ended {
                self.keeper.forget(pid);
                continue;
            }
            let owner = home.record.gate().owner();
            let ids = home.threads.keys().filter(|tid| **tid != pid);
            self.process_of.extend(ids.map(|tid| (*tid, pid)));
            machine::log!(
                "process {pid} ({}): in the journal, on node {}{}{}",
                String::from_utf8_lossy(home.short_name()),
                owner.0,
                if lost.is_empty() { "" } else { "; lost: " },
                lost
            );
            let epoch = home.record.gate().epoch();
            self.timeline.note(What::Restored, (pid, epoch), owner, 0);
            self.homes.insert(pid, home);
            self.lent_to(pid);
            self.keeper.awaited.insert(pid);
            self.keeper.touch(pid);
        }
        // Who has lost its parent is a child of the first process.
        let there: BTreeSet<u32> = self.homes.keys().copied().collect();
        for home in self.homes.values_mut() {
            if !there.contains(&home.parent) {
                home.parent = INIT;
                home.maker = INIT;
                home.exit_signal = signal::SIGCHLD;
                // It asks for signals when it is adopted.
                if let Some(signal) = home.options.death_signal() {
                    home.pending.enqueue(SignalInfo::kernel(signal));
                }
            }
        }
    }

    /// A node is there: what the journal has of its other boots is over.
    pub(crate) fn owner_up(&mut self, node: NodeId, boot: BootId) {
        let mut over = BTreeSet::new();
        for pid in &self.keeper.awaited {
            let Some(home) = self.homes.get(pid) else {
                continue;
            };
            over.append(&mut home.record.boots_over(node, boot));
        }
        for boot in over {
            self.owners_lost(node, boot);
        }
    }

    /// The word that a source may drop a process was given by the old boot, and may have been lost with it. While
    /// the first effect is to come, that gives it.
    fn release_again(&mut self, pid: u32) {
        let Some(home) = self.homes.get(&pid) else {
            return;
        };
        if let Some(((source, boot), release)) = home.record.release_again()
            && self.net.peer(source).is_some_and(|peer| peer.boot == boot)
        {
            self.send(source, release);
        }
    }

    /// A node says which processes of this home it has.
    pub(crate) fn orphans_told(
        &mut self,
        (from, boot): (NodeId, BootId),
        orphans: &[(Pid, u64, Whereabouts)],
    ) {
        for (pid, epoch, state) in orphans {
            let home = self.homes.get(&pid.0).filter(|home| home.lives());
            let claim = match home {
                Some(home) => home.record.claimed(from, boot, *epoch, *state),
                // Who keeps a copy without asking would keep it for ever.
                None => Claim::Stale(unknown(*pid, *epoch, *state)),
            };
            match claim {
                Claim::Moving => self.release_again(pid.0),
                Claim::Adopted => self.adopt((from, boot), *pid, *epoch),
                Claim::Stale(word) => {
                    machine::log!(
                        "process {}: node {} has it in epoch {epoch}, and home's journal does not: it ends there",
                        pid.0,
                        from.0
                    );
                    self.send(from, word);
                }
                Claim::Ended => {
                    machine::log!(
                        "process {}: node {} has ended it, as its home was away",
                        pid.0,
                        from.0
                    );
                    self.timeline.note(What::GivenUp, (pid.0, *epoch), from, 0);
                    self.ended(pid.0, signal::SIGKILL);
                }
                Claim::Nothing => {}
            }
        }
        let named: BTreeSet<u32> = orphans.iter().map(|(named, ..)| named.0).collect();
        let missing: Vec<u32> = self.keeper.awaited.difference(&named).copied().collect();
        for pid in missing {
            let record = self.homes.get(&pid).map(|home| &home.record);
            let record = record.filter(|record| record.lost_unnamed(from, boot));
            let Some(epoch) = record.map(|record| record.gate().epoch()) else {
                continue;
            };
            if epoch == 1 {
                // A fork of which the answer never came there: there was no such child.
                self.reap(pid);
                self.keeper.touch(pid);
                self.process_of.retain(|_, of| *of != pid);
                continue;
            }
            self.timeline.note(What::Lost, (pid, epoch), from, 0);
            machine::log!(
                "process {pid}: node {} does not have it any more, it is lost",
                from.0
            );
            self.ended(pid, signal::SIGKILL);
        }
    }

    /// The owner of a process speaks for it, perhaps for the first time in this boot.
    pub(crate) fn adopted_from(&mut self, from: NodeId, pid: u32, epoch: u64) {
        if self.keeper.found(pid) {
            machine::log!("process {pid}: adopted from node {}", from.0);
            self.timeline.note(What::Adopted, (pid, epoch), from, 0);
        }
    }

    fn adopt(&mut self, (from, _): (NodeId, BootId), pid: Pid, epoch: u64) {
        self.adopted_from(from, pid.0, epoch);
        self.release_again(pid.0);
        self.send(from, Message::Adopted { pid, epoch });
    }
}
