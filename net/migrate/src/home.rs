//! Home's part: who owns the process, compared and swapped.
//!
//! Law: an epoch has one owner for ever. Ownership changes only (1) from a source to the target that
//! holds its image, (2) back to the source by its abort, (3) back to the previous owner before the
//! first effect of the new one; each makes a new epoch, which fences every copy of an older one.

use crate::HEIR_TIMEOUT_NS;
use rpc::{Admission, Gate, Rule, Rules};
use wire::{BootId, Message, NodeId, Passage, Pid};

/// Home's word on who owns a process, as it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Decision {
    /// The process.
    pub pid: Pid,
    /// The current epoch.
    pub epoch: u64,
    /// Its owner.
    pub owner: NodeId,
    /// The owner's boot.
    pub owner_boot: BootId,
    /// Signals are pending: for the glue to set before it sends.
    pub poke: bool,
    /// The asker is the owner now. The source of a granted commit is to be told, too.
    pub granted: bool,
}

impl Decision {
    /// The message that says so.
    pub fn message(&self) -> Message {
        Message::Decision {
            pid: self.pid,
            epoch: self.epoch,
            owner: self.owner,
            owner_boot: self.owner_boot,
            poke: self.poke,
        }
    }
}

/// What the glue has found the ticket of a claim to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Permit {
    /// The source has said that it gives the process away, by just this [`Passage`].
    Given,
    /// It has not.
    Lacking,
}

/// What home says to a call, and what it does besides.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Accepted {
    /// What is to be done with the call.
    pub admission: Admission,
    /// On the first effect after a move: this is to be sent to the previous owner's node, *before*
    /// anything else is done.
    pub release: Option<(NodeId, Message)>,
}

/// What the loss of a node means for a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LostOutcome {
    /// Nothing: the node did not own it (any more).
    Unaffected,
    /// The frozen copy of the previous owner takes over, in a new epoch: send it the decision.
    HandBack(Decision),
    /// The node had been asked to send the process away, and may have: the target has some time to say that it has the
    /// image.
    Awaited,
    /// The process died with the node. The record is to be dropped.
    Ended,
}

type Place = (NodeId, BootId);

/// Home's record of one process, from fork to reaping.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HomeRecord {
    pub(crate) pid: Pid,
    pub(crate) gate: Gate,
    /// Holds a frozen copy as good as the owner's, because the owner has had no effect yet.
    pub(crate) previous: Option<Place>,
    /// The last source: may still be pushing pages.
    pub(crate) last_source: Option<Place>,
    /// The owner's boot is over, and until then the target of its last move may ask for the process, ns.
    pub(crate) heir_by: Option<u64>,
    /// Home has booted again, and has given it to nobody since.
    pub(crate) restored: bool,
    pub(crate) rules: Rules,
}

impl HomeRecord {
    /// The record of a new process that runs at `owner` (at birth: home itself).
    pub fn new(pid: Pid, owner: NodeId, boot: BootId) -> HomeRecord {
        HomeRecord {
            pid,
            gate: Gate::new(owner, boot, pid),
            previous: None,
            last_source: None,
            heir_by: None,
            restored: false,
            rules: Rules::ALL,
        }
    }

    /// The same, with other rules.
    #[cfg(feature = "mutants")]
    pub fn bound_by(self, rules: Rules) -> HomeRecord {
        let gate = self.gate.bound_by(rules);
        HomeRecord {
            gate,
            rules,
            ..self
        }
    }

    /// The process.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Owner, epoch and sequence.
    pub fn gate(&self) -> &Gate {
        &self.gate
    }

    /// For `complete`, `cancel` and the lanes. Calls are admitted by [`HomeRecord::accept_effect`].
    pub fn gate_mut(&mut self) -> &mut Gate {
        &mut self.gate
    }

    /// The owner at the moment, in the form that is sent.
    pub fn decision(&self) -> Decision {
        Decision {
            pid: self.pid,
            epoch: self.gate.epoch(),
            owner: self.gate.owner(),
            owner_boot: self.gate.owner_boot(),
            poke: false,
            granted: false,
        }
    }

    /// The previous owner, as long as the process can still be given back to it.
    pub fn previous(&self) -> Option<(NodeId, BootId)> {
        self.previous
    }

    /// The last source, as long as it may have pages.
    pub fn last_source(&self) -> Option<(NodeId, BootId)> {
        self.last_source
    }

    /// Nodes that may hold a copy or pages: the owner and the last source. A target that has not
    /// asked yet is not known here; it is told `Lost` when it asks.
    pub fn copies(&self) -> impl Iterator<Item = (NodeId, BootId)> {
        let owner = (self.gate.owner(), self.gate.owner_boot());
        let source = self.last_source.filter(|source| *source != owner);
        core::iter::once(owner).chain(source)
    }

    /// What is said to a claim that is not granted. `None`: there is no such image, as its source has not permitted it or
    /// that epoch has not been; who claims so is to be told `Lost`, as if there were no such process.
    pub fn answer(&self, passage: &Passage, permit: Permit) -> Option<Decision> {
        let permitted = permit == Permit::Given || !self.rules.hold(Rule::CommitNeedsTheTicket);
        (permitted && passage.old_epoch <= self.gate.epoch()).then(|| self.decision())
    }

    /// The target of the passage says that it holds the image that the source sent, and wants to own the process.
    ///
    /// Granted if nothing has changed since and the present owner has shown its first effect (until
    /// then the copy of the one before is still a valid one, and there must be only one such).
    /// Asking again after a grant is answered with the same grant. `None`: as [`HomeRecord::answer`].
    pub fn commit(&mut self, passage: &Passage, permit: Permit) -> Option<Decision> {
        self.answer(passage, permit)?;
        let Passage {
            old_epoch,
            source,
            target,
            ..
        } = *passage;
        let owner = (self.gate.owner(), self.gate.owner_boot());
        let owned = owner == source || !self.rules.hold(Rule::CommitComparesTheOwner);
        let current =
            old_epoch == self.gate.epoch() || !self.rules.hold(Rule::CommitComparesTheEpoch);
        let seen = self.previous.is_none() || !self.rules.hold(Rule::CommitWaitsForTheFirstEffect);
        let fresh = owned && current && seen && target != source;
        if fresh {
            self.gate.transfer(target.0, target.1);
            self.restored = false;
            // To a boot that is over nothing can be given back.
            let over = self.heir_by.take().is_some();
            self.previous = (!over).then_some(source);
            self.last_source = self.previous;
        }
        let again = self
            .gate
            .is_owner(target.0, target.1, old_epoch.saturating_add(1))
            && self.last_source == Some(source)
            && self.rules.hold(Rule::CommitIsAnsweredAlikeAgain);
        Some(Decision {
            granted: fresh || again,
            ..self.decision()
        })
    }

    /// The source `from` has sent an image out of `old_epoch` and wants the process back. Granted
    /// in a new epoch if it still owns it; that fences the image. Otherwise the answer tells who
    /// owns it.
    pub fn abort(&mut self, from: NodeId, from_boot: BootId, old_epoch: u64) -> Decision {
        if self.gate.is_owner(from, from_boot, old_epoch) {
            if self.rules.hold(Rule::AbortMakesANewEpoch) {
                self.gate.transfer(from, from_boot);
            }
        } else if !self.rules.hold(Rule::AbortComparesTheOwner) {
            self.gate.transfer(from, from_boot);
        }
        let owner = (self.gate.owner(), self.gate.owner_boot());
        Decision {
            granted: owner == (from, from_boot),
            ..self.decision()
        }
    }

    /// Judges a call ([`Gate::admit`]). The first one executed after a move ends the previous
    /// owner's claim.
    pub fn accept_effect(
        &mut self,
        from: NodeId,
        boot: BootId,
        epoch: u64,
        thread: Pid,
        seq: u64,
    ) -> Accepted {
        let admission = self.gate.admit(from, boot, epoch, thread, seq);
        let first = match admission {
            Admission::Execute if !self.rules.hold(Rule::NothingIsGivenBackAfterAnEffect) => {
                self.previous
            }
            Admission::Execute => self.previous.take(),
            _ => None,
        };
        let first = first.filter(|_| self.rules.hold(Rule::TheFirstEffectReleasesTheSource));
        let release = first.map(|(node, _)| {
            let pid = self.pid;
            (node, Message::Release { pid, epoch })
        });
        Accepted { admission, release }
    }

    /// That boot of that node is over for certain. `moving`: it may have sent the process to somebody, who has not asked
    /// yet.
    pub fn owner_lost(
        &mut self,
        now: u64,
        node: NodeId,
        boot: BootId,
        moving: bool,
    ) -> LostOutcome {
        if (self.gate.owner(), self.gate.owner_boot()) != (node, boot) {
            return LostOutcome::Unaffected;
        }
        match self.previous.take() {
            Some(previous) if self.rules.hold(Rule::ALostOwnerGivesBackToTheSource) => {
                self.hand_back(previous)
            }
            _ if moving && self.rules.hold(Rule::WhatALostOwnerHasSentIsWaitedFor) => {
                self.heir_by
                    .get_or_insert(now.saturating_add(HEIR_TIMEOUT_NS));
                LostOutcome::Awaited
            }
            _ => LostOutcome::Ended,
        }
    }

    /// When [`HomeRecord::on_timeout`] is due, ns.
    pub fn poll_timeout(&self) -> Option<u64> {
        self.heir_by
    }

    /// Nobody has asked for what a lost owner may have sent.
    pub fn on_timeout(&mut self, now: u64) -> LostOutcome {
        match self.heir_by.take_if(|by| *by <= now) {
            Some(_) => LostOutcome::Ended,
            None => LostOutcome::Unaffected,
        }
    }

    /// That node does not answer. If it has had no effect yet, the process goes back to the
    /// previous owner: harmless if the suspicion is false, because the new epoch fences the
    /// suspect. Never ends a process.
    pub fn owner_suspected(&mut self, node: NodeId, boot: BootId) -> LostOutcome {
        if (self.gate.owner(), self.gate.owner_boot()) != (node, boot) {
            return LostOutcome::Unaffected;
        }
        match self.previous.take() {
            Some(previous) => self.hand_back(previous),
            None if !self.rules.hold(Rule::SuspicionEndsNobody) => LostOutcome::Ended,
            None => LostOutcome::Unaffected,
        }
    }

    /// That boot of that node is over for certain: there is nothing to give back to there.
    pub fn previous_lost(&mut self, node: NodeId, boot: BootId) {
        let forget = self.rules.hold(Rule::ALostSourceGetsNothingBack);
        if self.previous == Some((node, boot)) && forget {
            self.previous = None;
        }
        if self.last_source == Some((node, boot)) {
            self.last_source = None;
        }
    }

    fn hand_back(&mut self, (node, boot): Place) -> LostOutcome {
        self.gate.transfer(node, boot);
        LostOutcome::HandBack(Decision {
            granted: true,
            ..self.decision()
        })
    }
}
