//! The source's part: offer, freeze, and keep the frozen copy until home has decided.
//!
//! Law: once the image is out, the process runs here again only on a decision of home that names
//! this node, this boot and a newer epoch. Until then every doubt (time, a refusal, a silent or dead
//! target, a cancellation) makes the source *ask* home to abort; none makes it decide.

use crate::{DECISION_TIMEOUT_NS, FREEZE_TIMEOUT_NS, OFFER_TIMEOUT_NS, RETRY_NS};
use alloc::collections::VecDeque;
use alloc::string::ToString;
use core::fmt;
use rpc::{Rule, Rules};
use wire::{Attempt, BootId, Message, MoveError, NodeId, Offer, PageTag, Passage, Pid};

/// What the glue is to do, in order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SourceAction {
    /// Send it, on the urgent lane.
    Send(NodeId, Message),
    /// Send pages while the process runs, then call [`Source::copied`].
    Copy,
    /// Stop, drain and capture the process, send its image, call [`Source::image_sent`].
    Freeze,
    /// Run here again. `poke`: signals are pending at home.
    Resume {
        /// The epoch of the body from now on.
        epoch: u64,
        /// Look at home for signals.
        poke: bool,
    },
    /// The target owns the process: push what it lacks. Keep all pages.
    StartPush,
    /// The process will never run here again: pages that have arrived may be dropped.
    MayDrop,
    /// Nothing stays here: drop the frozen body, its pages and the push.
    Forget,
    /// The last action. `Ok`: it moved and the target has all of it. `Err`: it did not move, or was
    /// lost (then after `Forget`).
    Finished(Result<(), MoveError>),
}

/// Where the move stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SourceState {
    /// The target was asked; the process runs.
    Offered,
    /// The target has room; the process runs and pages travel.
    Copying,
    /// The process is being stopped and captured.
    Freezing,
    /// The image is out.
    Frozen,
    /// Home was asked to leave the process here.
    Aborting,
    /// The target owns it; here are the pages it lacks.
    Committed,
    /// Over.
    Done,
}

impl fmt::Display for SourceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SourceState::Offered => "offered",
            SourceState::Copying => "copying",
            SourceState::Freezing => "freezing",
            SourceState::Frozen => "frozen",
            SourceState::Aborting => "aborting",
            SourceState::Committed => "pushing",
            SourceState::Done => "done",
        })
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum State {
    Offered { deadline: u64 },
    Copying { deadline: u64 },
    Freezing { deadline: u64 },
    Frozen { deadline: u64 },
    Aborting { retry: u64, reason: MoveError },
    Committed(Committed),
    Done,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Committed {
    released: bool,
    pushed: bool,
    /// The target is lost: home is asked again then, what it decided.
    ask: Option<u64>,
}

/// What the move is to keep to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Plan {
    /// Pages travel between the admission and the freeze.
    pub copies: bool,
    /// How long the process may be stopped before its image is out, ns.
    pub freeze_ns: u64,
    /// The freeze has begun by then, or there is none, ns.
    pub freeze_by: u64,
}

impl Default for Plan {
    fn default() -> Plan {
        Plan {
            copies: false,
            freeze_ns: FREEZE_TIMEOUT_NS,
            freeze_by: u64::MAX,
        }
    }
}

/// What the target reported about its first run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RunningReport {
    /// When the whole image was there, target's clock, ns.
    pub image_ns: u64,
    /// The first instruction there, target's clock, ns.
    pub first_run_ns: u64,
    /// Pages the target had already.
    pub present: u64,
}

/// One move as its source sees it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Source {
    pid: Pid,
    /// The epoch in which the process ran here.
    epoch: u64,
    /// Which try in this epoch.
    attempt: Attempt,
    me: (NodeId, BootId),
    home: NodeId,
    target: NodeId,
    /// Known from `Admit` on.
    target_boot: Option<BootId>,
    plan: Plan,
    state: State,
    running: Option<RunningReport>,
    actions: VecDeque<SourceAction>,
    rules: Rules,
}

impl Source {
    /// Begins a move of a process that runs here in `epoch`. `offer` carries `epoch + 1`. A move
    /// to this very node is finished at once, without a freeze.
    pub fn new(
        now: u64,
        pid: Pid,
        epoch: u64,
        me: (NodeId, BootId),
        home: NodeId,
        target: NodeId,
        offer: Offer,
    ) -> Source {
        let mut source = Source {
            pid,
            epoch,
            attempt: offer.attempt,
            me,
            home,
            target,
            target_boot: None,
            plan: Plan::default(),
            state: State::Offered {
                deadline: now.saturating_add(OFFER_TIMEOUT_NS),
            },
            running: None,
            actions: VecDeque::new(),
            rules: Rules::ALL,
        };
        if target == me.0 {
            source.finish(Ok(()));
        } else {
            source.send(target, Message::Offer(offer));
        }
        source
    }

    /// The move keeps to a plan. To be said before anything else.
    pub fn keeps_to(mut self, plan: Plan) -> Source {
        if let State::Offered { deadline } = &mut self.state {
            *deadline = plan.freeze_by.min(*deadline);
            self.plan = plan;
        }
        self
    }

    /// The same, with other rules.
    #[cfg(feature = "mutants")]
    pub fn bound_by(self, rules: Rules) -> Source {
        Source { rules, ..self }
    }

    /// The process.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// The epoch it would have, or has, at the target.
    pub fn target_epoch(&self) -> u64 {
        self.epoch.saturating_add(1)
    }

    /// What the ticket in its image is for; `None` before the admission, which says in which boot the target is.
    pub fn passage(&self) -> Option<Passage> {
        let boot = self.target_boot?;
        Some(Passage {
            pid: self.pid,
            old_epoch: self.epoch,
            source: self.me,
            target: (self.target, boot),
        })
    }

    /// Which try it is: what the offer said.
    pub fn attempt(&self) -> Attempt {
        self.attempt
    }

    /// What names a page of it at this address for the target.
    pub fn tag(&self, address: u64) -> PageTag {
        PageTag::of_memory(self.pid, self.target_epoch(), self.attempt, address)
    }

    /// Where it goes.
    pub fn target(&self) -> NodeId {
        self.target
    }

    /// The target's boot, once it has admitted the process.
    pub fn target_boot(&self) -> Option<BootId> {
        self.target_boot
    }

    /// Where the move stands.
    pub fn state(&self) -> SourceState {
        match self.state {
            State::Offered { .. } => SourceState::Offered,
            State::Copying { .. } => SourceState::Copying,
            State::Freezing { .. } => SourceState::Freezing,
            State::Frozen { .. } => SourceState::Frozen,
            State::Aborting { .. } => SourceState::Aborting,
            State::Committed(_) => SourceState::Committed,
            State::Done => SourceState::Done,
        }
    }

    /// Enough has been sent while the process ran: it is stopped.
    pub fn copied(&mut self, now: u64) {
        if matches!(self.state, State::Copying { .. }) {
            self.stop(now);
        }
    }

    /// Whether the image may be sent now. To be asked right before it is.
    pub fn freezing(&self) -> bool {
        matches!(self.state, State::Freezing { .. })
    }

    /// What the target reported, if it has.
    pub fn running(&self) -> Option<RunningReport> {
        self.running
    }

    /// The first pages and the image are queued for the target.
    ///
    /// # Panics
    /// If the machine is not [`Source::freezing`]: then an image is out of a process that runs.
    pub fn image_sent(&mut self, now: u64) {
        assert!(
            self.freezing(),
            "an image goes out only of a frozen process"
        );
        self.state = State::Frozen {
            deadline: now.saturating_add(DECISION_TIMEOUT_NS),
        };
        if !self.rules.hold(Rule::TheSourceKeepsItsCopyUntilTheDecision) {
            self.actions.push_back(SourceAction::Forget);
        }
    }

    /// The process cannot be frozen or captured; nothing of it is out. It runs on.
    pub fn freeze_failed(&mut self, _now: u64, reason: MoveError) {
        if self.freezing() {
            self.give_up(reason);
        }
    }

    /// The body has ended or was found stale before its image was out: there is nothing to move.
    pub fn body_gone(&mut self, _now: u64) {
        if self.may_withdraw() {
            self.withdraw();
            self.finish(Err(MoveError::Gone));
        }
    }

    /// Somebody wants the move called off, or it cannot keep its bounds. Too late once home has decided.
    pub fn cancel(&mut self, now: u64, reason: MoveError) {
        self.doubt(now, reason, Rule::AtCancellationTheSourceAsksHome);
    }

    /// Everything up to `PushEnd` has been acknowledged by the target.
    pub fn push_done(&mut self, _now: u64) {
        if let State::Committed(committed) = &mut self.state {
            committed.pushed = true;
            self.conclude();
        }
    }

    /// A message about this pid.
    pub fn on_message(&mut self, now: u64, from: NodeId, boot: BootId, message: &Message) {
        match *message {
            Message::Admit {
                pid,
                epoch,
                attempt,
                boot: admitted,
            } if self.is_ours(pid, epoch, attempt) && from == self.target && boot == admitted => {
                self.admitted(now, boot);
            }
            Message::Refuse {
                pid,
                epoch,
                attempt,
                ref reason,
            } if self.is_ours(pid, epoch, attempt) && from == self.target => {
                self.doubt(now, reason.clone(), Rule::AtRefusalTheSourceAsksHome);
            }
            Message::Discarded {
                pid,
                epoch,
                attempt,
            } if self.is_ours(pid, epoch, attempt) && from == self.target => {
                self.doubt(now, MoveError::Aborted, Rule::AtRefusalTheSourceAsksHome);
            }
            Message::Running {
                pid,
                epoch,
                image_ns,
                first_run_ns,
                present,
            } if self.fits(pid, epoch) && self.is_target(from, boot) => {
                self.running = Some(RunningReport {
                    image_ns,
                    first_run_ns,
                    present,
                });
            }
            Message::Decision {
                pid,
                epoch,
                owner,
                owner_boot,
                poke,
            } if pid == self.pid && from == self.home && self.is_newer(epoch) => {
                self.decided(epoch, (owner, owner_boot), poke);
            }
            Message::Release { pid, epoch }
                if pid == self.pid && from == self.home && epoch > self.epoch =>
            {
                self.released();
            }
            Message::Lost { pid, epoch }
                if pid == self.pid && from == self.home && epoch >= self.epoch =>
            {
                self.gone();
            }
            _ => {}
        }
    }

    /// Does what is due at `now`; nothing if nothing is.
    pub fn on_timeout(&mut self, now: u64) {
        if self.poll_timeout().is_none_or(|due| now < due) {
            return;
        }
        let question = self.abort_request();
        match &mut self.state {
            State::Aborting { retry, .. } => *retry = now.saturating_add(RETRY_NS),
            State::Committed(committed) => {
                committed.ask = Some(now.saturating_add(RETRY_NS));
            }
            _ => {
                let reason = self.late(now);
                return self.doubt(now, reason, Rule::AtTimeoutTheSourceAsksHome);
            }
        }
        if self.rules.hold(Rule::TheSourceAsksAgain) {
            self.send(self.home, question);
        }
    }

    /// That boot of that node is over for certain.
    pub fn on_peer_lost(&mut self, now: u64, node: NodeId, boot: BootId) {
        if node == self.home && node != self.me.0 {
            return self.home_lost();
        }
        self.on_target_lost(now, node, boot);
    }

    /// As [`Source::on_peer_lost`], but the node is home, and its new boot has its journal: it will answer what is asked
    /// again. A process of which no image is out stays: home does not know yet that it is here, and would take what
    /// this node says of it for the word of a stale copy once the target has asked for it.
    pub fn on_home_rebooted(&mut self, now: u64, node: NodeId, boot: BootId) {
        if self.may_withdraw() && self.rules.hold(Rule::WhatHomeDoesNotKnowDoesNotLeave) {
            return self.give_up(MoveError::NodeDead);
        }
        // The former boot may have decided once more, and died with that word.
        if let State::Committed(Committed {
            released: false, ..
        }) = self.state
            && self.rules.hold(Rule::TheSourceAsksTheNextBootOfHome)
        {
            self.send(self.home, self.abort_request());
        }
        self.on_target_lost(now, node, boot);
    }

    fn on_target_lost(&mut self, now: u64, node: NodeId, boot: BootId) {
        if node != self.target || self.target_boot.is_some_and(|known| known != boot) {
            return;
        }
        match &mut self.state {
            State::Committed(committed) if committed.released => {
                self.forget(Err(MoveError::NodeDead));
            }
            State::Committed(committed) => {
                committed.ask = Some(now.saturating_add(RETRY_NS));
                let question = self.abort_request();
                self.send(self.home, question);
            }
            _ => self.doubt(now, MoveError::NodeDead, Rule::AtLossTheSourceAsksHome),
        }
    }

    /// That node does not answer. Before the image is out the move ends; after it, home is asked to
    /// abort if it is the target's silence, and waited for if it is home's.
    pub fn on_peer_silent(&mut self, now: u64, node: NodeId) {
        if node == self.target || node == self.home && self.may_withdraw() {
            self.doubt(now, MoveError::NodeDead, Rule::AtSilenceTheSourceAsksHome);
        }
    }

    /// The next thing to do.
    pub fn poll_action(&mut self) -> Option<SourceAction> {
        self.actions.pop_front()
    }

    /// When [`Source::on_timeout`] is due, ns.
    pub fn poll_timeout(&self) -> Option<u64> {
        match &self.state {
            State::Offered { deadline }
            | State::Copying { deadline }
            | State::Freezing { deadline }
            | State::Frozen { deadline } => Some(*deadline),
            State::Aborting { retry, .. } => Some(*retry),
            State::Committed(committed) => committed.ask,
            State::Done => None,
        }
    }

    fn fits(&self, pid: Pid, epoch: u64) -> bool {
        pid == self.pid && epoch == self.target_epoch()
    }

    /// Whether it is about this offer: another of the same process may have failed in the same epoch.
    fn is_ours(&self, pid: Pid, epoch: u64, attempt: Attempt) -> bool {
        self.fits(pid, epoch) && attempt == self.attempt
    }

    /// Whether home can have said that after the image: the old epoch's owner is known.
    fn is_newer(&self, epoch: u64) -> bool {
        epoch > self.epoch
            || epoch == self.epoch && !self.rules.hold(Rule::ResumingNeedsANewerEpoch)
    }

    fn is_target(&self, node: NodeId, boot: BootId) -> bool {
        node == self.target && self.target_boot == Some(boot)
    }

    fn admitted(&mut self, now: u64, boot: BootId) {
        if matches!(self.state, State::Offered { .. }) {
            self.target_boot = Some(boot);
            if self.plan.copies {
                let deadline = self.plan.freeze_by;
                self.state = State::Copying { deadline };
                self.actions.push_back(SourceAction::Copy);
            } else {
                self.stop(now);
            }
        }
    }

    /// Why a deadline has passed.
    fn late(&self, now: u64) -> MoveError {
        if self.freezing() && self.plan.freeze_ns != FREEZE_TIMEOUT_NS {
            MoveError::Bound("it would have stood still for longer than allowed".to_string())
        } else if self.may_withdraw() && !self.freezing() && now >= self.plan.freeze_by {
            MoveError::Bound("it had not left in the time allowed".to_string())
        } else {
            MoveError::TimedOut
        }
    }

    fn stop(&mut self, now: u64) {
        self.state = State::Freezing {
            deadline: now.saturating_add(self.plan.freeze_ns),
        };
        self.actions.push_back(SourceAction::Freeze);
    }

    /// Whether no image is out, and none will be without this node.
    fn may_withdraw(&self) -> bool {
        matches!(
            self.state,
            State::Offered { .. } | State::Copying { .. } | State::Freezing { .. }
        )
    }

    /// The move should not happen. Before the image is out that is ours to say; then only home's,
    /// whatever the doubt comes from.
    fn doubt(&mut self, now: u64, reason: MoveError, rule: Rule) {
        match self.state {
            _ if self.may_withdraw() => self.give_up(reason),
            State::Frozen { .. } if !self.rules.hold(rule) => {
                let (epoch, poke) = (self.epoch, false);
                self.actions.push_back(SourceAction::Resume { epoch, poke });
                self.finish(Err(reason));
            }
            State::Frozen { .. } => {
                let retry = now.saturating_add(RETRY_NS);
                self.state = State::Aborting { retry, reason };
                let question = self.abort_request();
                self.send(self.home, question);
            }
            _ => {}
        }
    }

    /// Tells the target to free its room.
    fn withdraw(&mut self) {
        let (pid, epoch) = (self.pid, self.target_epoch());
        let withdrawn = Message::Refuse {
            pid,
            epoch,
            attempt: self.attempt,
            reason: MoveError::Aborted,
        };
        self.send(self.target, withdrawn);
    }

    /// Ends a move of which no image is out: the process runs here as before.
    fn give_up(&mut self, reason: MoveError) {
        self.withdraw();
        if self.freezing() {
            let (epoch, poke) = (self.epoch, false);
            self.actions.push_back(SourceAction::Resume { epoch, poke });
        }
        self.finish(Err(reason));
    }

    fn decided(&mut self, epoch: u64, owner: (NodeId, BootId), poke: bool) {
        let named = owner == self.me || !self.rules.hold(Rule::ResumingNeedsToBeNamed);
        if named {
            let reason = match &self.state {
                State::Frozen { .. } => MoveError::Aborted,
                State::Aborting { reason, .. } => reason.clone(),
                State::Committed(committed) if !committed.released => MoveError::NodeDead,
                _ => return,
            };
            self.actions.push_back(SourceAction::Resume { epoch, poke });
            return self.finish(Err(reason));
        }
        self.commit();
        if Some(owner) != self.target_boot.map(|boot| (self.target, boot)) {
            // It has already moved on, which home grants only after an effect at the target.
            self.released();
        }
    }

    /// Home has given the process away.
    fn commit(&mut self) {
        if matches!(self.state, State::Frozen { .. } | State::Aborting { .. }) {
            self.state = State::Committed(Committed {
                released: false,
                pushed: false,
                ask: None,
            });
            self.actions.push_back(SourceAction::StartPush);
            if !self.rules.hold(Rule::TheSourceKeepsItsCopyUntilTheRelease) {
                self.actions.push_back(SourceAction::Forget);
            }
        }
    }

    fn released(&mut self) {
        self.commit();
        if let State::Committed(committed) = &mut self.state {
            if !committed.released {
                committed.released = true;
                self.actions.push_back(SourceAction::MayDrop);
                if !self
                    .rules
                    .hold(Rule::TheSourceKeepsItsPagesUntilTheyArrived)
                {
                    return self.forget(Ok(()));
                }
            }
            self.conclude();
        }
    }

    /// Ends the move if nothing is left to do or to wait for.
    fn conclude(&mut self) {
        let State::Committed(committed) = &self.state else {
            return;
        };
        if committed.released && committed.ask.is_some() {
            self.forget(Err(MoveError::NodeDead));
        } else if committed.released && committed.pushed {
            self.forget(Ok(()));
        }
    }

    /// Home says that the process is over.
    fn gone(&mut self) {
        match self.state {
            // The body is not frozen yet: the glue drops it as it would without a move.
            _ if self.may_withdraw() => {
                self.withdraw();
                self.finish(Err(MoveError::Gone));
            }
            State::Done => {}
            _ => self.forget(Err(MoveError::Gone)),
        }
    }

    fn home_lost(&mut self) {
        match self.state {
            _ if self.may_withdraw() => self.give_up(MoveError::NodeDead),
            State::Done => {}
            _ if !self.rules.hold(Rule::ALostHomeEndsTheFrozenCopy) => {}
            // Home keeps no journal: its new boot does not know the process.
            _ => self.forget(Err(MoveError::Gone)),
        }
    }

    fn abort_request(&self) -> Message {
        Message::AbortRequest {
            pid: self.pid,
            old_epoch: self.epoch,
        }
    }

    fn send(&mut self, to: NodeId, message: Message) {
        self.actions.push_back(SourceAction::Send(to, message));
    }

    fn forget(&mut self, result: Result<(), MoveError>) {
        self.actions.push_back(SourceAction::Forget);
        self.finish(result);
    }

    fn finish(&mut self, result: Result<(), MoveError>) {
        self.state = State::Done;
        self.actions.push_back(SourceAction::Finished(result));
    }
}
