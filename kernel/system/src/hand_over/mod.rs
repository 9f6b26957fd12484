//! A migration as the kernel does it: the glue around the three machines of `net/migrate`.
//!
//! Law: who owns a process is decided by the machines and by home's record; this file only does what
//! they say, in their order. A body whose image is out is not among the bodies any more, so that
//! nothing can run it; it comes back only by `Resume`.
//!
//! The way of a move: a wish ([`System::try_move`]) → `Offer` → `Freeze` ([`System::capture`]: the
//! first pages and the image in one burst; in other modes pages travel before, see [`copying`]) → at the target [`System::image`] → `Compute` → home's
//! decision → `OpenEffects` → `Release` → [`System::push`] until the source holds no page.

mod copying;
mod home;
mod kept;
mod source;
mod target;
mod wish;

pub use kept::Holder;
pub(crate) use kept::Keepsakes;
pub use source::{Frozen, Outgoing};
pub use target::Incoming;
pub(crate) use wish::errno_of;

use crate::body::Hold;
use crate::system::System;
use crate::thread::Thread;
use crate::timeline::What;
use alloc::vec::Vec;
use migrate::{Decision, LostOutcome};
use wire::{BootId, Message, NodeId};

impl System {
    /// A message that concerns a move.
    pub(crate) fn hand_over_message(&mut self, from: NodeId, boot: BootId, message: Message) {
        let message = match message {
            Message::Offer(offer) => return self.offered(from, boot, offer),
            Message::Image(image) => return self.image(from, boot, &image),
            other => other,
        };
        #[cfg(feature = "canary")]
        if self.answers_a_lie(from, boot, &message) {
            return;
        }
        let pid = match &message {
            Message::MoveRequest {
                pid,
                epoch,
                request,
                target,
                asker,
                how,
            } => {
                if from == pid.home() {
                    // A thread of its own that has gone on meanwhile is like any other.
                    let asks = |thread: &Thread| thread.pid == pid.0 && thread.call.is_some();
                    let hold = match self.threads.get(&asker.0) {
                        Some(thread) if asks(thread) => Hold::Waits(asker.0),
                        _ => Hold::Runs,
                    };
                    self.wish(pid.0, *epoch, (*request, *target, *how), hold);
                }
                return;
            }
            Message::MoveCancel { pid, request } => {
                if from == pid.home() {
                    self.call_off(pid.0, *request);
                }
                return;
            }
            Message::MoveResult {
                pid,
                request,
                result,
            } => {
                let result = result.clone().map(|stats| *stats);
                return self.move_result(from, pid.0, *request, result);
            }
            Message::CommitRequest { .. } => return self.commit_requested(from, boot, &message),
            Message::AbortRequest { pid, old_epoch } => {
                return self.abort_requested(from, boot, *pid, *old_epoch);
            }
            Message::Settled {
                pid,
                epoch,
                target,
                stalls,
            } => return self.settled(from, (pid.0, *epoch), *target, *stalls),
            Message::PageRequest { pid, epoch, page } => {
                return self.serve(from, pid.0, *epoch, *page);
            }
            Message::PagesZero { pid, epoch, runs } => {
                return self.zero_pages(from, pid.0, *epoch, runs);
            }
            Message::Kept {
                pid,
                epoch,
                attempt,
                since,
            } => return self.kept_there((from, boot), (pid.0, *epoch, *attempt), *since),
            Message::PagesKept {
                pid,
                epoch,
                runs,
                last,
            } => return self.kept_named(from, (pid.0, *epoch), runs, *last),
            Message::LetGo { pid, epoch } => return self.kept_in_vain(from, boot, pid.0, *epoch),
            Message::PushEnd { pid, epoch } => {
                // The move is over for the source once it knows that this has come.
                self.net.acknowledge(from);
                return self.push_ended(from, boot, pid.0, *epoch);
            }
            Message::Admit { pid, .. }
            | Message::Refuse { pid, .. }
            | Message::Decision { pid, .. }
            | Message::Release { pid, .. }
            | Message::Running { pid, .. }
            | Message::Discarded { pid, .. }
            | Message::Lost { pid, .. } => pid.0,
            _ => return,
        };
        if let Some(out) = self.outgoing.get_mut(&pid) {
            out.source.on_message(self.now, from, boot, &message);
            self.pump_source(pid);
        }
        if let Some(incoming) = self.incoming.get_mut(&pid) {
            incoming.target.on_message(self.now, from, boot, &message);
            self.pump_target(pid);
        }
        self.owner_told(from, pid, &message);
    }

    /// What home says to the owner of a body outside of a move.
    fn owner_told(&mut self, from: NodeId, pid: u32, message: &Message) {
        let Some(body) = self.bodies.get(&pid) else {
            return;
        };
        #[cfg(feature = "canary")]
        let believes = self.canary == Some(crate::inside::Canary::AnybodyBelieved);
        #[cfg(not(feature = "canary"))]
        let believes = false;
        if body.home != from && !believes
            || self.outgoing.contains_key(&pid)
            || self.incoming.contains_key(&pid)
        {
            return;
        }
        let stale = match *message {
            Message::Lost { epoch, .. } => epoch >= body.epoch,
            Message::Decision {
                epoch,
                owner,
                owner_boot,
                ..
            } => epoch > body.epoch && (owner, owner_boot) != (self.me, self.boot),
            _ => false,
        };
        if stale {
            machine::log!("process {pid}: home says it is over here, dropped");
            let of = (pid, body.epoch);
            self.timeline.note(What::Dropped, of, from, 0);
            self.drop_stale(pid);
        }
    }

    /// Tells a machine that waits for more that its copy is stale.
    pub(crate) fn fence_target(&mut self, pid: u32) {
        if let Some(incoming) = self.incoming.get_mut(&pid) {
            incoming.target.fenced();
            self.pump_target(pid);
        }
    }

    /// When a machine next wants to be looked at.
    pub(crate) fn hand_over_timeout(&self) -> Option<u64> {
        let sources = self.outgoing.values().filter_map(|out| {
            let due = out.used_due.or(out.source.poll_timeout());
            due.into_iter().chain(out.paced_until(self.now)).min()
        });
        let targets = self
            .incoming
            .values()
            .filter_map(|incoming| incoming.target.poll_timeout());
        let wishes = self.wishing.iter().filter_map(|pid| {
            let wish = self.bodies.get(pid)?.wish?;
            Some(wish.deadline_ns)
        });
        let named = self.incoming.values().filter_map(Incoming::next_named);
        let at_once = named.map(|_| self.now);
        let heirs = self.bereft.iter();
        let heirs = heirs.filter_map(|pid| self.homes.get(pid)?.record.poll_timeout());
        let rest = wishes.chain(at_once).chain(heirs);
        sources.chain(targets).chain(rest).min()
    }

    /// Lets the machines whose time has come act, and tries wishes that were in somebody's way.
    pub(crate) fn hand_over_timeouts(&mut self) {
        self.heirs_due();
        if self.outgoing.is_empty() && self.incoming.is_empty() {
            return;
        }
        let now = self.now;
        let due = |at: Option<u64>| at.is_some_and(|at| at <= now);
        let frozen: Vec<u32> = self
            .outgoing
            .iter()
            .filter(|(_, out)| out.used_due.is_some())
            .map(|(pid, _)| *pid)
            .collect();
        for pid in frozen {
            self.name_kept(pid);
            self.send_used(pid);
        }
        self.install_some();
        let sources: Vec<u32> = self
            .outgoing
            .iter()
            .filter(|(_, out)| due(out.source.poll_timeout()))
            .map(|(pid, _)| *pid)
            .collect();
        for pid in sources {
            if let Some(out) = self.outgoing.get_mut(&pid) {
                let (state, target) = (out.source.state(), out.source.target().0);
                out.source.on_timeout(now);
                let next = out.source.state();
                if next != state {
                    machine::log!(
                        "process {pid}: its move to node {target} has taken too long while {state}; now {next}"
                    );
                }
            }
            self.pump_source(pid);
        }
        let targets: Vec<u32> = self
            .incoming
            .iter()
            .filter(|(_, incoming)| due(incoming.target.poll_timeout()))
            .map(|(pid, _)| *pid)
            .collect();
        for pid in targets {
            if let Some(incoming) = self.incoming.get_mut(&pid) {
                incoming.target.on_timeout(now);
            }
            self.pump_target(pid);
        }
    }

    /// Tries the wishes that could not begin so far.
    pub(crate) fn try_moves(&mut self) {
        if self.wishing.is_empty() {
            return;
        }
        for pid in core::mem::take(&mut self.wishing) {
            self.try_move(pid);
            if self
                .bodies
                .get(&pid)
                .is_some_and(|body| body.wish.is_some())
            {
                self.wishing.insert(pid);
            }
        }
    }

    /// A node does not answer. That proves nothing; but a move to it may be taken back.
    pub(crate) fn peer_silent(&mut self, node: NodeId, boot: BootId) {
        self.distrust(|home| home == node);
        self.trace_given_up(node);
        let pids: Vec<u32> = self.outgoing.keys().copied().collect();
        for pid in pids {
            if let Some(out) = self.outgoing.get_mut(&pid) {
                out.source.on_peer_silent(self.now, node);
            }
            self.pump_source(pid);
        }
        let pids: Vec<u32> = self.homes.keys().copied().collect();
        for pid in pids {
            let Some(home) = self.homes.get_mut(&pid).filter(|home| home.lives()) else {
                continue;
            };
            if home.record.gate().owner() == node {
                // Who waits for an answer from there looks again.
                home.request_done.wake();
            }
            if let LostOutcome::HandBack(mut decision) = home.record.owner_suspected(node, boot) {
                decision.poke = home.has_signals();
                self.keeper.touch(pid);
                let of = (pid, decision.epoch);
                self.timeline.note(What::HandsBack, of, decision.owner, 0);
                self.send(decision.owner, decision.message());
                self.send(node, decision.message());
                self.tell_given_back(pid);
            }
        }
    }

    /// A boot of a node is over for certain, and with it everything that lived there.
    pub(crate) fn peer_lost(&mut self, node: NodeId, boot: BootId) {
        self.trace_given_up(node);
        let returns = self.knows_its_own(node);
        let pids: Vec<u32> = self.outgoing.keys().copied().collect();
        for pid in pids {
            if let Some(out) = self.outgoing.get_mut(&pid) {
                match returns && wire::Pid(pid).home() == node {
                    true => out.source.on_home_rebooted(self.now, node, boot),
                    false => out.source.on_peer_lost(self.now, node, boot),
                }
            }
            self.pump_source(pid);
        }
        let pids: Vec<u32> = self.incoming.keys().copied().collect();
        for pid in pids {
            if let Some(incoming) = self.incoming.get_mut(&pid) {
                match returns && wire::Pid(pid).home() == node {
                    true => incoming.target.on_home_rebooted(node, boot),
                    false => incoming.target.on_peer_lost(self.now, node, boot),
                }
            }
            self.pump_target(pid);
        }
        match returns {
            true => self.home_rebooted(node),
            false => self.home_over(node),
        }
        self.owners_lost(node, boot);
        // Last, as moves that end now have something kept, too.
        self.forget_kept_for(node, boot);
    }

    /// A boot of a node is over that the next one does not know of: nor do its processes go on.
    fn home_over(&mut self, node: NodeId) {
        let guests: Vec<u32> = self
            .bodies
            .values()
            .filter(|body| body.home == node)
            .map(|body| body.pid)
            .collect();
        for pid in guests {
            machine::log!("process {pid}: its home is lost, and it with it");
            let of = (pid, self.body(pid).epoch);
            self.timeline.note(What::HomeOver, of, node, 0);
            self.drop_body(pid);
        }
        self.home_forgotten(node);
        self.tombstones.home_lost(node);
    }

    /// A boot of a node is over for certain, and with it what it had of processes of this home.
    pub(crate) fn owners_lost(&mut self, node: NodeId, boot: BootId) {
        let pids: Vec<u32> = self.homes.keys().copied().collect();
        for pid in pids {
            let Some(home) = self.homes.get_mut(&pid).filter(|home| home.lives()) else {
                continue;
            };
            // What a former boot of this node has asked for, this one does not know.
            let moving = home.is_sent_away_from(node) || self.keeper.awaits(pid);
            let outcome = home.record.owner_lost(self.now, node, boot, moving);
            home.record.previous_lost(node, boot);
            let poke = home.has_signals();
            if outcome != LostOutcome::Awaited {
                home.asked_lost(node);
            }
            let epoch = home.record.gate().epoch();
            self.keeper.touch(pid);
            match outcome {
                LostOutcome::Unaffected => {}
                LostOutcome::HandBack(decision) => {
                    let of = (pid, decision.epoch);
                    self.timeline.note(What::HandsBack, of, decision.owner, 0);
                    self.send(decision.owner, Decision { poke, ..decision }.message());
                    self.tell_given_back(pid);
                }
                LostOutcome::Awaited => {
                    self.bereft.insert(pid);
                }
                LostOutcome::Ended => self.lost_with(pid, epoch, node),
            }
        }
    }
}
