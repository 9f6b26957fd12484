//! A home with a disk: what its journal has, what waits for it, its reboot, and how it gets its processes back.
//!
//! Law: as in the rest of the glue. What the disk has is a prefix of what home has noted, and what home sends leaves when
//! the disk has all that was noted before (`kernel/system/src/keeper`); the owners do as `orphans` there does. Thread 1's
//! calls are seen by others and not kept; thread 0's change what is kept, and with it their answers are.

use crate::mutant::Mutant;
use crate::world::{
    ARRIVED, Body, EXIT, HOME, HOSTS, InFlight, Item, KEEP, Lane, Mode, PID, Packet, Place,
    Promise, Seen, TAKE, THREADS, WRITE, World, node, tid,
};
use migrate::{Claim, HomeRecord, LostOutcome, unknown};
use rpc::Gate;
use std::collections::VecDeque;
use wire::{BootId, Message, NodeId, Reply, Whereabouts};

/// The thread whose calls change what is kept.
pub(crate) const KEEPER: usize = 0;

/// What the journal has of the process.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Kept {
    epoch: u64,
    owner: Place,
    previous: Option<Place>,
    last_source: Option<Place>,
    /// The answers to the calls that changed anything of this last.
    answers: [Option<Reply>; THREADS],
    /// What thread [`KEEPER`] has done.
    done: u8,
}

/// Something that home has noted and its disk does not have yet, and what waits for it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Noted {
    kept: Option<Kept>,
    held: Vec<(Lane, Packet)>,
}

/// Home's disk, and what of home goes with it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub(crate) struct Disk {
    flushed: Option<Kept>,
    noted: VecDeque<Noted>,
    answers: [Option<Reply>; THREADS],
    /// The process was found in the journal, and nobody has said that he has it.
    awaited: bool,
}

impl Disk {
    fn newest(&self) -> &Option<Kept> {
        self.noted.back().map_or(&self.flushed, |noted| &noted.kept)
    }
}

impl World {
    /// Whether home has a disk.
    pub(crate) fn has_disk(&self) -> bool {
        self.disk.is_some()
    }

    /// Which call a thread makes that wants to have an effect.
    pub(crate) fn effect_of(&self, thread: usize) -> u32 {
        match self.has_disk() && thread == KEEPER {
            true => KEEP,
            false => WRITE,
        }
    }

    /// What is to be kept of the process now: while it is away, or may be given back to where it was.
    fn to_be_kept(&self, disk: &Disk) -> Option<Kept> {
        let record = self.hosts[HOME].record.as_ref()?;
        let gate = record.gate();
        record.is_to_be_kept(node(HOME)).then(|| Kept {
            epoch: gate.epoch(),
            owner: (gate.owner(), gate.owner_boot()),
            previous: record.previous(),
            last_source: record.last_source(),
            answers: disk.answers.clone(),
            done: self.observer.log[KEEPER],
        })
    }

    /// Home notes what has changed.
    pub(crate) fn keep(&mut self) {
        let Some(mut disk) = self.disk.take() else {
            return;
        };
        let kept = self.to_be_kept(&disk);
        if kept != *disk.newest() {
            let held = Vec::new();
            disk.noted.push_back(Noted { kept, held });
        }
        self.disk = Some(disk);
    }

    /// An answer of home to a call that has changed what is kept: it is kept with it.
    pub(crate) fn keep_answer(&mut self, thread: usize, number: u32, reply: &Reply) {
        if let Some(disk) = &mut self.disk
            && number == KEEP
        {
            disk.answers[thread] = Some(reply.clone());
        }
    }

    /// What home sends; whether it has to wait for the disk, and does.
    pub(crate) fn held(&mut self, lane: Lane, packet: &Packet) -> bool {
        if lane.0 != HOME || !matches!(packet.item, Item::Message(_) | Item::Born) {
            return false;
        }
        self.keep();
        let waits = self.mutant != Mutant::WordsLeaveUnflushed;
        let noted = self.disk.as_mut().and_then(|disk| disk.noted.back_mut());
        let noted = noted.filter(|_| waits);
        noted
            .map(|noted| noted.held.push((lane, packet.clone())))
            .is_some()
    }

    /// Whether the disk has something to do.
    pub fn may_flush(&self) -> bool {
        let disk = self.disk.as_ref();
        disk.is_some_and(|disk| !disk.noted.is_empty())
    }

    /// The disk has the next of what was noted.
    pub fn flush(&mut self) {
        let Some(disk) = &mut self.disk else { return };
        let Some(noted) = disk.noted.pop_front() else {
            return;
        };
        disk.flushed = noted.kept;
        for (lane, packet) in noted.held {
            self.lanes.entry(lane).or_default().push_back(packet);
        }
    }

    /// Home has booted again: what it is from its disk. `former` is its boot before.
    pub(crate) fn restore(&mut self) {
        let Some(disk) = &mut self.disk else { return };
        let kept = disk.flushed.clone();
        *disk = Disk {
            flushed: kept.clone(),
            ..Disk::default()
        };
        self.observer.rebooted = true;
        self.observer.over = kept.is_none();
        let Some(kept) = kept else { return };
        disk.answers = kept.answers.clone();
        disk.awaited = true;
        let answers = kept.answers.iter().enumerate();
        let answers = answers.filter_map(|(thread, last)| Some((tid(thread), last.clone()?)));
        let gate = Gate::restored(kept.epoch, kept.owner, answers);
        let record = HomeRecord::restored(PID, gate, kept.previous, kept.last_source);
        let mut record = record.bound_by(self.mutant.rules());
        // What nobody has heard of has not happened.
        self.observer.owners.truncate(kept.epoch as usize);
        self.observer.unseen = kept.previous.is_some();
        self.observer.log[KEEPER] = kept.done;
        let outcome = record.rebooted(node(HOME));
        self.hosts[HOME].record = Some(record);
        match outcome {
            LostOutcome::Unaffected => {}
            // Its source asks.
            LostOutcome::HandBack(_) => self.note_owner(),
            LostOutcome::Awaited | LostOutcome::Ended => self.kill(),
        }
        self.keep();
        for other in (0..HOSTS).filter(|other| *other != HOME) {
            // The link tells of each other's boots before anything else of them.
            let packet = Packet {
                from_boot: self.hosts[other].boot,
                to_boot: self.hosts[HOME].boot,
                item: Item::Up,
            };
            self.lanes
                .entry((other, HOME, 0))
                .or_default()
                .push_back(packet);
        }
    }

    /// Home hears of a node for the first time in this boot.
    pub(crate) fn owner_up(&mut self, other: NodeId, boot: BootId) {
        let awaited = self.disk.as_ref().is_some_and(|disk| disk.awaited);
        let record = self.hosts[HOME].record.as_ref().filter(|_| awaited);
        let over = record.map(|record| record.boots_over(other, boot));
        for boot in over.unwrap_or_default() {
            self.owner_lost(other, boot);
        }
    }

    /// A node says what it knows of processes of this home.
    pub(crate) fn orphans_told(
        &mut self,
        from: NodeId,
        boot: BootId,
        orphans: &[(wire::Pid, u64, Whereabouts)],
    ) {
        for (pid, epoch, state) in orphans {
            let Some(record) = &self.hosts[HOME].record else {
                self.send(HOME, from, unknown(*pid, *epoch, *state));
                continue;
            };
            let again = record.release_again();
            let claim = record.claimed(from, boot, *epoch, *state);
            match &claim {
                Claim::Adopted | Claim::Moving => {
                    if let Some(((to, _), release)) = again {
                        self.send(HOME, to, release);
                    }
                }
                Claim::Stale(word) => self.send(HOME, from, word.clone()),
                Claim::Ended => {
                    self.check_given_up();
                    self.saw(Seen::GivenUp);
                    self.kill();
                }
                Claim::Nothing => {}
            }
            if claim == Claim::Adopted {
                self.saw(Seen::Adopted);
                self.settled();
                let (pid, epoch) = (*pid, *epoch);
                self.send(HOME, from, Message::Adopted { pid, epoch });
            }
        }
        let awaited = self.disk.as_ref().is_some_and(|disk| disk.awaited);
        let record = self.hosts[HOME].record.as_ref();
        let lost = record.is_some_and(|record| record.lost_unnamed(from, boot));
        if awaited && orphans.is_empty() && lost {
            self.check_unnamed();
            // A birth of which nobody has heard is none; all else is told.
            if self.hosts[HOME].record.as_ref().map(|it| it.gate().epoch()) == Some(1) {
                self.saw(Seen::Unborn);
            }
            self.kill();
        }
    }

    fn settled(&mut self) {
        if let Some(disk) = &mut self.disk {
            disk.awaited = false;
        }
    }

    /// Promise 7: what its owner does not name has ended there, or was given up.
    fn check_unnamed(&mut self) {
        let newest = self.observer.owners.len() as u64;
        let frozen = |body: &Body| body.mode == Mode::Frozen && body.epoch + 1 == newest;
        let mut bodies = self.hosts.iter().filter_map(|host| host.body.as_ref());
        let given_up = self.observer.given_up == Some(newest);
        if self.observer.unseen && !given_up && bodies.any(frozen) {
            self.fail(Promise::NotLost, "a process was called lost that is frozen");
        }
    }

    /// Promise 19: past the grace a process ends if its owner has given it up, and nobody else.
    fn check_given_up(&mut self) {
        if self.observer.given_up != Some(self.observer.owners.len() as u64) {
            self.fail(
                Promise::NotLost,
                "a process was ended whose owner has not given it up",
            );
        }
    }

    // ---- the owner's side ----------------------------------------------------------------------

    /// A boot of home is over, and the next one has a journal: nothing leaves to that one before it knows the process.
    pub(crate) fn orphan(&mut self, host: usize) {
        if let Some(body) = &mut self.hosts[host].body
            && matches!(body.mode, Mode::Running | Mode::Draining)
        {
            body.orphan = self.mutant != Mutant::AnOrphanGoesOn;
            for thread in 0..THREADS {
                self.call_back(host, thread);
            }
        }
    }

    /// The same, when its moves have heard of it: home is told.
    pub(crate) fn home_rebooted(&mut self, host: usize) {
        self.tell_orphans(host);
        self.go_on(host);
    }

    /// Whether effects still wait: a home with a disk may give the process back until its disk has the first effect, so
    /// that one is to be an empty call, and its answer waited for.
    pub(crate) fn waits_for_the_first_answer(&self, host: usize) -> bool {
        let body = self.hosts[host].body.as_ref();
        let waits = self.has_disk() && self.mutant != Mutant::EffectsDoNotWaitForTheFirst;
        waits && body.is_some_and(|body| !body.arrived)
    }

    /// What a thread has sent to the former boot of its home will not be answered.
    fn call_back(&mut self, host: usize, index: usize) {
        let seen = self.observer.log[index];
        let same_number = self.mutant != Mutant::ACallIsRepeatedUnderANewNumber;
        let mutant = self.mutant;
        let Some(body) = &mut self.hosts[host].body else {
            return;
        };
        let thread = &mut body.threads[index];
        let Some(InFlight { number, .. }) = thread.call.take() else {
            return;
        };
        match number {
            KEEP | EXIT => {
                thread.held = Some(number);
                thread.again = Some(number).filter(|_| same_number);
                thread.next_seq += u64::from(!same_number);
            }
            // Nobody knows whether it was done: the program is told so, and looks.
            WRITE => {
                thread.next_seq += 1;
                if mutant == Mutant::WhatOthersSawIsRepeated {
                    thread.held = Some(number);
                } else if seen < thread.done || seen > thread.done + 1 {
                    self.fail(Promise::Once, "a call of which nobody knows was not one");
                } else {
                    thread.done = seen;
                }
            }
            TAKE => {
                thread.next_seq += 1;
                body.poked = true;
            }
            _ => thread.next_seq += 1,
        }
    }

    /// Whether a guest at `host` may be given up: its home is silent, or has booted again and does not answer. What moves
    /// asks for itself.
    pub fn may_give_up(&self, host: usize) -> bool {
        let slot = &self.hosts[host];
        let moves = slot.source.is_some() || slot.target.is_some();
        host != HOME && slot.body.is_some() && !moves
    }

    /// The guest at `host` has waited for its home for too long, and ends. A silent home is heard again some time.
    pub fn give_up(&mut self, host: usize) {
        let Some(body) = self.hosts[host].body.take() else {
            return;
        };
        self.hosts[host].given_up.push(body.epoch);
        if self.observer.owners.get(body.epoch as usize - 1) == Some(&self.me(host)) {
            self.observer.given_up = self.observer.given_up.max(Some(body.epoch));
        }
        if !body.orphan {
            let packet = Packet {
                from_boot: self.hosts[host].known[HOME],
                to_boot: self.hosts[host].boot,
                item: Item::Back,
            };
            let lane = self.lanes.entry((HOME, host, 0)).or_default();
            lane.push_back(packet);
        }
    }

    /// Home is heard again, in the boot that was silent.
    pub(crate) fn home_back(&mut self, host: usize) {
        if !self.hosts[host].given_up.is_empty() {
            self.tell_orphans(host);
        }
    }

    /// Tells home what is here, and what has ended here.
    fn tell_orphans(&mut self, host: usize) {
        let given_up = std::mem::take(&mut self.hosts[host].given_up);
        let slot = &self.hosts[host];
        let seen = slot.body.as_ref().filter(|body| body.mode != Mode::Frozen);
        let moves = slot.source.is_some() || slot.target.is_some();
        let named = match seen {
            Some(body) if body.orphan => Some((body.epoch, Whereabouts::Here)),
            Some(body) => Some((body.epoch, Whereabouts::Moving)),
            None => moves.then_some((0, Whereabouts::Moving)),
        };
        let ended = given_up.into_iter();
        let ended = ended.map(|epoch| (epoch, Whereabouts::Ended));
        let orphans = named.into_iter().chain(ended);
        let orphans = orphans.map(|(epoch, state)| (PID, epoch, state)).collect();
        self.send(host, node(HOME), Message::Orphans { orphans });
    }

    /// Home knows the process again.
    pub(crate) fn adopted(&mut self, host: usize, epoch: u64) {
        let Some(body) = &mut self.hosts[host].body else {
            // It was here when home was told, and has ended since.
            if self.hosts[host].given_up.contains(&epoch) {
                self.tell_orphans(host);
            }
            return;
        };
        if body.epoch == epoch && core::mem::take(&mut body.orphan) {
            body.poked = true;
            let arrived = body.arrived;
            if !arrived {
                self.call(host, 0, ARRIVED);
            }
            self.capture(host);
            self.go_on(host);
        }
    }

    /// The number under which a call of a thread leaves: what is repeated has the one that it had, and what
    /// goes before it may not take an answer that was given under that.
    pub(crate) fn number_of(&mut self, host: usize, index: usize, number: u32) -> Option<u64> {
        let thread = &mut self.hosts[host].body.as_mut()?.threads[index];
        let again = thread.again.take();
        if again.is_some_and(|again| again != number) {
            thread.next_seq += 1;
        }
        Some(thread.next_seq)
    }
}
