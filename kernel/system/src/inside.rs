//! What a simulator of whole clusters sees of a node, and the bugs that it can switch on.
//!
//! Law: nothing of this is in a kernel that boots (feature `canary`). Looking changes nothing; what
//! changes something is here by name: a bug, a signal or an order that no process has sent, a lie, a page brought into the cache.

use crate::body::Body;
use crate::files::{ClusterFile, ProcEntry, ProcView, ProcessFile, Who};
use crate::forgeries::About;
use crate::hand_over::{Incoming, Outgoing};
use crate::home::{Home, INIT};
use crate::system::System;
use crate::thread::Thread;
use crate::turn::Turn;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use machine::{Frame, FrameKind, PAGE_SIZE};
use node::Lane;
use wire::{Attempt, BootId, NodeId, Pid};

/// A bug that is switched on in every node: what does not find it is worth nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Canary {
    /// The target does not wait for home's decision.
    EffectsAtOnce,
    /// The end of a push ends the arrival, even if it has overtaken pages.
    PushEndAtOnce,
    /// A signal that was taken stays pending.
    SignalsTwice,
    /// The source drops its pages before the first effect at the target.
    PagesDroppedEarly,
    /// Home does not say that a file has changed of which it has sent some ahead.
    ChangesUntold,
    /// Home does not say that a file has changed which is mapped.
    MappedUntold,
    /// A process moves before all that it has written has left.
    WritesLeftBehind,
    /// Home does not wait for its disk before a decision leaves.
    WordsUnflushed,
    /// Home does not write down what it has answered to the call that changed something.
    AnswersForgotten,
    /// Home takes every ticket for good.
    TicketsUnjudged,
    /// Whoever says so is believed that a process is over.
    AnybodyBelieved,
}

impl Canary {
    /// All of them.
    pub const ALL: [Canary; 11] = [
        Canary::EffectsAtOnce,
        Canary::PushEndAtOnce,
        Canary::SignalsTwice,
        Canary::PagesDroppedEarly,
        Canary::ChangesUntold,
        Canary::MappedUntold,
        Canary::WritesLeftBehind,
        Canary::WordsUnflushed,
        Canary::AnswersForgotten,
        Canary::TicketsUnjudged,
        Canary::AnybodyBelieved,
    ];
}

/// What a node holds.
#[derive(Clone, Copy)]
pub struct Inside<'a> {
    /// Processes whose home it is, by pid.
    pub homes: &'a BTreeMap<u32, Home>,
    /// Processes that run here, by pid.
    pub bodies: &'a BTreeMap<u32, Box<Body>>,
    /// Their threads, by tid.
    pub threads: &'a BTreeMap<u32, Box<Thread>>,
    /// Moves from here, by pid.
    pub outgoing: &'a BTreeMap<u32, Outgoing>,
    /// Moves to here, by pid.
    pub incoming: &'a BTreeMap<u32, Incoming>,
}

/// Something that has happened in a move, as the timeline has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Step {
    /// What, in the timeline's word.
    pub what: &'static str,
    /// Whose move.
    pub pid: u32,
    /// Its epoch at the target.
    pub epoch: u64,
    /// The other node.
    pub peer: NodeId,
}

/// What a liar speaks of. It has found out all that it has to know to be believed.
#[derive(Clone, Copy, Debug)]
pub struct Forgery {
    /// The process.
    pub pid: u32,
    /// In which epoch.
    pub epoch: u64,
    /// In which try of its move.
    pub attempt: Attempt,
    /// The number of its call.
    pub seq: u64,
    /// The address of one of its pages.
    pub page: u64,
}

impl Home {
    /// The number of the next call of its first thread, and its epoch.
    pub fn place(&self) -> (u64, u64) {
        let gate = self.record.gate();
        let next = gate.next_seq(Pid(self.pid));
        (next.unwrap_or_default(), gate.epoch())
    }
}

impl Turn {
    /// Whose turn it is.
    pub fn process(&self) -> u32 {
        self.pid
    }
}

impl System {
    /// Who it is.
    pub fn node(&self) -> NodeId {
        self.me
    }

    /// Which boot of it this is.
    pub fn boot(&self) -> BootId {
        self.boot
    }

    /// Whether all that it has decided is on its disk, or it has none.
    pub fn has_kept_all(&self) -> bool {
        self.keeper.is_idle()
    }

    /// What it holds.
    pub fn inside(&self) -> Inside<'_> {
        Inside {
            homes: &self.homes,
            bodies: &self.bodies,
            threads: &self.threads,
            outgoing: &self.outgoing,
            incoming: &self.incoming,
        }
    }

    /// Which boot of another node it knows.
    pub fn known_boot(&self, node: NodeId) -> Option<BootId> {
        self.net.peer(node).map(|peer| peer.boot)
    }

    /// Whether pages of a process that is here are still elsewhere.
    pub fn awaits_pages(&self, pid: u32) -> bool {
        self.lacks_pages(pid)
    }

    /// Frames of a process's memory that are its own.
    pub fn frames_of(&self, pid: u32) -> Vec<Frame> {
        let space = self.space_of(pid);
        let pages = space.map(|space| space.table().pages(0, machine::USER_END));
        let frames = pages.into_iter().flatten();
        frames.map(|(_, mapping)| mapping.frame).collect()
    }

    /// What is more than a node has that runs nothing but its first process, by name.
    pub fn left_over(&self) -> [(&'static str, usize); 11] {
        [
            ("homes", self.homes.len().saturating_sub(1)),
            ("bodies", self.bodies.len().saturating_sub(1)),
            ("outgoing", self.outgoing.len()),
            ("incoming", self.incoming.len()),
            ("alarms", self.alarms.len()),
            ("timers", self.timers.len()),
            ("ready", self.ready_count()),
            ("threads", self.threads.len().saturating_sub(1)),
            ("spaces", self.spaces.count().saturating_sub(1)),
            ("kept", self.keeper.count()),
            ("orphans", self.orphans.count()),
        ]
    }

    /// What was noted of moves behind the first `seen` events since the boot, and how many there are now.
    pub fn steps_behind(&self, seen: u64) -> (Vec<Step>, u64) {
        self.timeline.steps_behind(seen)
    }

    /// Switches a bug on.
    pub fn switch_on(&mut self, canary: Canary) {
        self.canary = Some(canary);
    }

    /// Sends a signal that no process has sent.
    pub fn send_signal(&mut self, pid: u32, signal: u32) {
        self.signal(pid, signal);
        self.settle();
    }

    /// Writes to the `goto` of a process, as its first process may.
    ///
    /// # Errors
    /// The number of the error, if home refuses at once.
    pub fn order_move(&mut self, pid: u32, text: &[u8]) -> Result<(), i32> {
        let goto = ProcEntry::Process(pid, ProcessFile::Goto);
        let written = ProcView::write(self, goto, INIT, text);
        self.settle();
        match written {
            // Whoever orders waits for the move.
            Ok(_) | Err(crate::wait::Stop::Wait) => Ok(()),
            Err(crate::wait::Stop::Errno(errno)) => Err(errno.0),
        }
    }

    /// Claims a process that its source has not given away, as a node does that was taken over: with no ticket, or with one
    /// that is made as it should be by who must not. It does not believe the answer: what a liar does to what it is really given
    /// is its own.
    pub fn claim(&mut self, pid: u32, old_epoch: u64, source: (NodeId, BootId), forges: bool) {
        let pid = wire::Pid(pid);
        let passage = wire::Passage {
            pid,
            old_epoch,
            source,
            target: (self.me, self.boot),
        };
        let ticket = match forges {
            true => self.net.ticket(pid.home(), &passage),
            false => wire::Ticket::default(),
        };
        let claim = wire::Message::CommitRequest {
            pid,
            old_epoch,
            source: source.0,
            source_boot: source.1,
            ticket,
        };
        let home = pid.home();
        let boot = match home == self.me {
            true => Some(self.boot),
            false => self.known_boot(home),
        };
        self.lies.extend(boot.map(|boot| (pid, old_epoch, boot)));
        self.send(home, claim);
        self.settle();
    }

    /// Whether a message is what a home says to such a claim.
    pub(crate) fn answers_a_lie(
        &mut self,
        from: NodeId,
        boot: BootId,
        message: &wire::Message,
    ) -> bool {
        match message {
            wire::Message::Lost { pid, epoch } => {
                pid.home() == from && self.lies.remove(&(*pid, *epoch, boot))
            }
            _ => false,
        }
    }

    /// Says of a process of others what only its home, its owner, or the source or target of its move may say: one of all these
    /// words. Returns its name.
    pub fn forge(&mut self, to: NodeId, of: Forgery, which: u64) -> String {
        let about = About {
            pid: of.pid,
            epoch: of.epoch,
            attempt: of.attempt,
            seq: of.seq,
            liar: (self.me, self.boot),
        };
        let mut words = about.words();
        words.push(about.offer());
        let which = (which % (words.len() as u64 + 1)) as usize;
        let name = if which < words.len() {
            let word = words.swap_remove(which);
            let name = alloc::format!("{word:?}");
            self.send(to, word);
            name
        } else {
            for tag in about.pages(of.page) {
                // Where no memory is, there is nothing to lie with.
                if let Ok(frame) = Frame::zeroed(FrameKind::User) {
                    frame.write(0, &[0xbd; PAGE_SIZE]);
                    self.send_page(to, Lane::Urgent, tag, frame);
                }
            }
            String::from("Pages")
        };
        self.settle();
        let name = name.split([' ', '(', '{']).next();
        name.unwrap_or_default().into()
    }

    /// Writes to the cluster's `control`.
    pub fn order_node(&mut self, text: &[u8]) {
        let control = ProcEntry::Cluster(ClusterFile::Control);
        let _ = ProcView::write(self, control, INIT, text);
        self.settle();
    }

    /// Reads a program whole, so that the cache has all of it.
    ///
    /// # Errors
    /// In words, if it cannot be read.
    pub fn read_whole(&mut self, path: &[u8]) -> Result<(), String> {
        let files = self.homes.get(&INIT).and_then(|home| home.files.clone());
        let files = files.ok_or("init has files")?;
        let fs = self.fs.clone();
        let opened = fs
            .open_program(&files, self, INIT, &Who::default(), path)
            .map_err(|errno| alloc::format!("{errno:?}"))?;
        for page in 0..opened.place.size().div_ceil(machine::PAGE_SIZE as u64) {
            let page = opened.place.page(page);
            page.map_err(|error| alloc::format!("{error:?}").to_string())?;
        }
        Ok(())
    }
}
