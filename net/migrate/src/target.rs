//! The target's part: room, image, speculation, and effects on home's word.
//!
//! Law: from the moment home is asked, only home's answer, or the end of home, ends the wait. The
//! copy may compute meanwhile, but nothing of it is seen: effects open on a decision that names
//! this node, this boot and exactly this epoch. Any other decision on it drops the copy.

use crate::{ADMIT_TIMEOUT_NS, RETRY_NS};
use alloc::collections::VecDeque;
use core::fmt;
use rpc::{Rule, Rules};
use wire::{Attempt, BootId, Image, Message, MoveError, NodeId, Offer, Outcome, Pid, Ticket};

/// What the glue is to do, in order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TargetAction {
    /// Send it, on the urgent lane.
    Send(NodeId, Message),
    /// Run the copy; hold back whatever others could see.
    Compute,
    /// The copy is the process now. `poke`: signals are pending at home.
    OpenEffects {
        /// Its epoch.
        epoch: u64,
        /// Look at home for signals.
        poke: bool,
    },
    /// The source died before the last page was here: absent pages will never come.
    PagesLost,
    /// Drop the copy and what is reserved for it.
    Discard,
    /// The last action.
    Finished,
}

/// Where the move stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TargetState {
    /// There is room; the image is awaited.
    Admitted,
    /// The image is in and home was asked.
    Waiting,
    /// The process is here; pages are still coming.
    Open,
    /// Over.
    Done,
}

impl fmt::Display for TargetState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TargetState::Admitted => "admitted",
            TargetState::Waiting => "speculating",
            TargetState::Open => "arriving",
            TargetState::Done => "done",
        })
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum State {
    Admitted { deadline: u64 },
    Waiting { retry: u64, ticket: Ticket },
    Open,
    Done,
}

/// One move as its target sees it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    pid: Pid,
    epoch: u64,
    attempt: Attempt,
    home: NodeId,
    me: (NodeId, BootId),
    source: (NodeId, BootId),
    state: State,
    pushed: bool,
    source_lost: bool,
    actions: VecDeque<TargetAction>,
    rules: Rules,
}

impl Target {
    /// Room for the offered process has been reserved: tells the source so.
    pub fn new(
        now: u64,
        me: (NodeId, BootId),
        from: NodeId,
        from_boot: BootId,
        offer: &Offer,
    ) -> Target {
        let mut target = Target {
            pid: offer.pid,
            epoch: offer.epoch,
            attempt: offer.attempt,
            home: offer.home,
            me,
            source: (from, from_boot),
            state: State::Admitted {
                deadline: now.saturating_add(ADMIT_TIMEOUT_NS),
            },
            pushed: false,
            source_lost: false,
            actions: VecDeque::new(),
            rules: Rules::ALL,
        };
        target.admit();
        target
    }

    /// The same, with other rules.
    #[cfg(feature = "mutants")]
    pub fn bound_by(self, rules: Rules) -> Target {
        Target { rules, ..self }
    }

    /// The process.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// The epoch it would have, or has, here.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Which try of its source it is.
    pub fn attempt(&self) -> Attempt {
        self.attempt
    }

    /// Where it comes from, and that node's boot.
    pub fn source(&self) -> (NodeId, BootId) {
        self.source
    }

    /// Where the move stands.
    pub fn state(&self) -> TargetState {
        match self.state {
            State::Admitted { .. } => TargetState::Admitted,
            State::Waiting { .. } => TargetState::Waiting,
            State::Open => TargetState::Open,
            State::Done => TargetState::Done,
        }
    }

    /// Nothing has been installed: a newer offer for this pid may replace this one.
    pub fn waits_for_image(&self) -> bool {
        matches!(self.state, State::Admitted { .. })
    }

    /// Something of the process has come before its image: its room is kept on.
    pub fn heard(&mut self, now: u64) {
        if let State::Admitted { deadline } = &mut self.state {
            *deadline = now.saturating_add(ADMIT_TIMEOUT_NS);
        }
    }

    /// Whether this is the image it waits for, from the one who offered it.
    pub fn expects(&self, from: NodeId, boot: BootId, image: &Image) -> bool {
        let fits = (from, boot) == self.source
            && image.source_boot == boot
            && (image.epoch, image.attempt) == (self.epoch, self.attempt);
        self.waits_for_image()
            && image.pid == self.pid
            && (fits || !self.rules.hold(Rule::TheImageFitsTheOffer))
    }

    /// The image was checked and installed: asks home, and lets the copy compute at once.
    ///
    /// # Panics
    /// If no image was awaited: ask [`Target::expects`] before installing one.
    pub fn image_installed(&mut self, now: u64, image: &Image) {
        let (from, boot) = self.source;
        assert!(
            self.expects(from, boot, image),
            "only the awaited image is installed"
        );
        self.state = State::Waiting {
            retry: now.saturating_add(RETRY_NS),
            ticket: image.ticket,
        };
        self.ask(image.ticket);
        self.actions.push_back(TargetAction::Compute);
        if !self.rules.hold(Rule::EffectsWaitForTheDecision) {
            self.open(false);
        }
    }

    /// The image is damaged or cannot be installed: the source keeps the process.
    pub fn image_bad(&mut self, _now: u64, reason: MoveError) {
        if self.waits_for_image() {
            let refusal = Message::Refuse {
                pid: self.pid,
                epoch: self.epoch,
                attempt: self.attempt,
                reason,
            };
            self.send(self.source.0, refusal);
            self.discard();
        }
    }

    /// The copy has run its first instruction at `first_run_ns` of this node's clock, with `present`
    /// pages that did not have to travel; its image had come at `image_ns`.
    pub fn started(&mut self, image_ns: u64, first_run_ns: u64, present: u64) {
        if matches!(self.state, State::Done) {
            return;
        }
        let (pid, epoch) = (self.pid, self.epoch);
        let report = Message::Running {
            pid,
            epoch,
            image_ns,
            first_run_ns,
            present,
        };
        self.send(self.source.0, report);
    }

    /// Home refused a call of this copy in favour of a newer epoch, or the glue dropped the body
    /// for another reason: nothing more is awaited.
    pub fn fenced(&mut self) {
        if matches!(self.state, State::Open) {
            self.discard();
        }
    }

    /// A message about this pid.
    pub fn on_message(&mut self, _now: u64, from: NodeId, boot: BootId, message: &Message) {
        match *message {
            Message::Offer(ref offer)
                if self.is_ours(offer.pid, offer.epoch, offer.attempt)
                    && (from, boot) == self.source
                    && self.waits_for_image() =>
            {
                self.admit();
            }
            Message::Refuse {
                pid,
                epoch,
                attempt,
                ..
            } if self.is_ours(pid, epoch, attempt)
                && (from, boot) == self.source
                && self.waits_for_image() =>
            {
                self.discard();
            }
            Message::Decision {
                pid,
                epoch,
                owner,
                owner_boot,
                poke,
            } if pid == self.pid && from == self.home && epoch >= self.epoch => {
                self.decided(epoch, (owner, owner_boot), poke);
            }
            Message::Reply(ref reply) if reply.pid == self.pid && from == self.home => {
                if let Outcome::Refused { epoch, .. } = reply.outcome
                    && reply.epoch == self.epoch
                    && epoch > self.epoch
                {
                    self.fenced();
                }
            }
            Message::PushEnd { pid, epoch }
                if self.fits(pid, epoch) && (from, boot) == self.source =>
            {
                self.pushed = true;
                self.conclude();
            }
            // Home may have ended the process before it knew of this epoch.
            Message::Lost { pid, epoch }
                if pid == self.pid
                    && from == self.home
                    && epoch.saturating_add(1) >= self.epoch
                    && self.rules.hold(Rule::TheEndOfTheProcessEndsTheCopy) =>
            {
                self.discard();
            }
            _ => {}
        }
    }

    /// Does what is due at `now`; nothing if nothing is.
    pub fn on_timeout(&mut self, now: u64) {
        if self.poll_timeout().is_none_or(|due| now < due) {
            return;
        }
        match &mut self.state {
            State::Admitted { .. } => self.reject(),
            State::Waiting { retry, ticket } => {
                *retry = now.saturating_add(RETRY_NS);
                let ticket = *ticket;
                if self.rules.hold(Rule::TheTargetAsksAgain) {
                    self.ask(ticket);
                }
            }
            State::Open | State::Done => {}
        }
    }

    /// That boot of that node is over for certain.
    pub fn on_peer_lost(&mut self, _now: u64, node: NodeId, boot: BootId) {
        if node == self.home && node != self.me.0 {
            // Home keeps no journal: its new boot does not know the process.
            if self.rules.hold(Rule::ALostHomeEndsTheCopy) {
                self.discard();
            }
            return;
        }
        self.on_source_lost(node, boot);
    }

    /// As [`Target::on_peer_lost`], but the node is home, and its new boot has its journal: it will answer what is asked
    /// again.
    pub fn on_home_rebooted(&mut self, node: NodeId, boot: BootId) {
        self.on_source_lost(node, boot);
    }

    fn on_source_lost(&mut self, node: NodeId, boot: BootId) {
        if (node, boot) != self.source {
            return;
        }
        match self.state {
            State::Admitted { .. } => self.discard(),
            State::Waiting { .. } if !self.rules.hold(Rule::ALostSourceLeavesTheWordToHome) => {
                self.discard();
            }
            // Home may have decided for us: its answer is waited for.
            State::Waiting { .. } | State::Open => {
                self.source_lost = true;
                self.conclude();
            }
            State::Done => {}
        }
    }

    /// The next thing to do.
    pub fn poll_action(&mut self) -> Option<TargetAction> {
        self.actions.pop_front()
    }

    /// When [`Target::on_timeout`] is due, ns.
    pub fn poll_timeout(&self) -> Option<u64> {
        match self.state {
            State::Admitted { deadline } => Some(deadline),
            State::Waiting { retry, .. } => Some(retry),
            State::Open | State::Done => None,
        }
    }

    fn fits(&self, pid: Pid, epoch: u64) -> bool {
        pid == self.pid && epoch == self.epoch
    }

    /// Whether it is about this offer.
    fn is_ours(&self, pid: Pid, epoch: u64, attempt: Attempt) -> bool {
        self.fits(pid, epoch) && attempt == self.attempt
    }

    fn admit(&mut self) {
        let admission = Message::Admit {
            pid: self.pid,
            epoch: self.epoch,
            attempt: self.attempt,
            boot: self.me.1,
        };
        self.send(self.source.0, admission);
    }

    fn decided(&mut self, epoch: u64, owner: (NodeId, BootId), poke: bool) {
        let current = epoch == self.epoch || !self.rules.hold(Rule::TheDecisionNamesTheEpoch);
        let named = owner == self.me || !self.rules.hold(Rule::TheDecisionNamesTheTarget);
        let ours = current && named;
        match self.state {
            State::Waiting { .. } if ours => self.open(poke),
            State::Waiting { .. } if !self.rules.hold(Rule::ACopyThatWasNotChosenIsDropped) => {}
            State::Waiting { .. } => self.reject(),
            // A decision for this node in a newer epoch answers a later move away from here.
            State::Open if owner != self.me => self.discard(),
            // Before the image is here nothing was asked. That epoch is gone to somebody else.
            State::Admitted { .. } if !ours => self.reject(),
            State::Admitted { .. } | State::Open | State::Done => {}
        }
    }

    /// The copy is the process from now on.
    fn open(&mut self, poke: bool) {
        self.state = State::Open;
        let epoch = self.epoch;
        self.actions
            .push_back(TargetAction::OpenEffects { epoch, poke });
        self.conclude();
    }

    /// Ends the move if all pages are here or the rest will never come.
    fn conclude(&mut self) {
        if !matches!(self.state, State::Open) || !(self.pushed || self.source_lost) {
            return;
        }
        if !self.pushed {
            self.actions.push_back(TargetAction::PagesLost);
        }
        self.finish();
    }

    fn ask(&mut self, ticket: Ticket) {
        let request = Message::CommitRequest {
            pid: self.pid,
            // Home's epochs begin with 1, so an offer of epoch 0 is never granted.
            old_epoch: self.epoch.saturating_sub(1),
            source: self.source.0,
            source_boot: self.source.1,
            ticket,
        };
        self.send(self.home, request);
    }

    /// Drops the copy and tells the source.
    fn reject(&mut self) {
        let discarded = Message::Discarded {
            pid: self.pid,
            epoch: self.epoch,
            attempt: self.attempt,
        };
        self.send(self.source.0, discarded);
        self.discard();
    }

    fn discard(&mut self) {
        if !matches!(self.state, State::Done) {
            self.actions.push_back(TargetAction::Discard);
            self.finish();
        }
    }

    fn send(&mut self, to: NodeId, message: Message) {
        self.actions.push_back(TargetAction::Send(to, message));
    }

    fn finish(&mut self) {
        self.state = State::Done;
        self.actions.push_back(TargetAction::Finished);
    }
}
