//! Home's part after its own reboot: records out of its journal, and what owners say of them.
//!
//! Law: home believes its journal. Who says that it has a process is compared with owner, boot and epoch there, and gets
//! no more than the journal gives it: so adoption changes no hands, and the epoch stays. What could act besides
//! the owner is of an older epoch, which the gate fences as ever, or died with home's former boot.

use crate::{HomeRecord, LostOutcome};
use alloc::collections::BTreeSet;
use rpc::{Gate, Rule, Rules};
use wire::{BootId, Message, NodeId, Pid, Whereabouts};

/// What home answers to a node that says what it knows of a process.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Claim {
    /// It is the owner's: it goes on there. Say [`Message::Adopted`].
    Adopted,
    /// It is not: that is to be sent, and the copy is dropped.
    Stale(Message),
    /// Its move asks for itself; nothing is to be said but [`HomeRecord::release_again`].
    Moving,
    /// Its owner has ended it.
    Ended,
    /// Somebody has ended a copy that was not the process.
    Nothing,
}

impl HomeRecord {
    /// The record that home's journal has of a process, after home has booted again: [`HomeRecord::rebooted`] is
    /// next.
    pub fn restored(
        pid: Pid,
        gate: Gate,
        previous: Option<(NodeId, BootId)>,
        last_source: Option<(NodeId, BootId)>,
    ) -> HomeRecord {
        HomeRecord {
            pid,
            gate,
            previous,
            last_source,
            heir_by: None,
            restored: true,
            rules: Rules::ALL,
        }
    }

    /// This home, which is node `me`, has booted again: what it had of the process itself died with its former boot.
    /// As for any node that is lost: the process may be given back to its source, or have ended.
    pub fn rebooted(&mut self, me: NodeId) -> LostOutcome {
        let here = |place: &Option<(NodeId, BootId)>| place.is_some_and(|(node, _)| node == me);
        if here(&self.previous) && self.rules.hold(Rule::ANewBootHasNoCopyOfTheOldOne) {
            self.previous = None;
        }
        if here(&self.last_source) {
            self.last_source = None;
        }
        let (owner, boot) = (self.gate.owner(), self.gate.owner_boot());
        match owner == me {
            true => self.owner_lost(0, owner, boot, false),
            false => LostOutcome::Unaffected,
        }
    }

    /// Whether the journal of home, which is node `me`, has to have it: while the process is away, or may be given back to
    /// where it comes from.
    pub fn is_to_be_kept(&self, me: NodeId) -> bool {
        let comes = self.previous.is_some() && self.rules.hold(Rule::WhoComesHomeIsKept);
        self.gate.owner() != me || comes
    }

    /// Boots of a node that the record names and that are over, as the node's boot is this one: each is lost for
    /// certain, though nobody was there to hear of it.
    pub fn boots_over(&self, node: NodeId, boot: BootId) -> BTreeSet<BootId> {
        let places = self.copies().chain(self.previous());
        let over = places.filter(|(at, of)| {
            (*at, self.rules.hold(Rule::AFormerBootIsOver)) == (node, true) && *of != boot
        });
        over.map(|(_, of)| of).collect()
    }

    /// A node says what it knows of the process, after home's reboot.
    pub fn claimed(&self, from: NodeId, boot: BootId, epoch: u64, state: Whereabouts) -> Claim {
        let owns = self.gate.is_owner(from, boot, epoch)
            || !self.rules.hold(Rule::AdoptionComparesTheOwner);
        match state {
            Whereabouts::Moving => Claim::Moving,
            Whereabouts::Here if owns => Claim::Adopted,
            Whereabouts::Here if self.has_left(from, boot) => Claim::Moving,
            Whereabouts::Here => Claim::Stale(unknown(self.pid, epoch, state)),
            Whereabouts::Ended if owns => Claim::Ended,
            Whereabouts::Ended => Claim::Nothing,
        }
    }

    /// Whether it was there before it was where it is now: that it is there was said before it left, and has come late. Called
    /// stale, that node would drop what it still has of it, and the owner needs.
    fn has_left(&self, from: NodeId, boot: BootId) -> bool {
        let mut sources = self.previous.iter().chain(&self.last_source);
        sources.any(|source| *source == (from, boot)) && self.rules.hold(Rule::ASourceIsNotStale)
    }

    /// A node has said of all processes of this home that it has, and this is not among them: whether it is lost. Who was given
    /// it by this boot of home may have said so before.
    pub fn lost_unnamed(&self, from: NodeId, boot: BootId) -> bool {
        (self.gate.owner(), self.gate.owner_boot()) == (from, boot)
            && (self.restored || !self.rules.hold(Rule::AnEarlierWordIsNone))
            && self.rules.hold(Rule::WhatItsOwnerDoesNotNameIsLost)
    }

    /// The word that a source may drop the process was given by the former boot, and may have been lost with it: it is
    /// given again. While the first effect is to come, that gives it; and what a process was given back to is what
    /// runs.
    pub fn release_again(&self) -> Option<((NodeId, BootId), Message)> {
        let owner = (self.gate.owner(), self.gate.owner_boot());
        let source = self.last_source.filter(|source| {
            self.previous.is_none()
                && (*source != owner || !self.rules.hold(Rule::TheOwnerIsNotReleased))
                && self.rules.hold(Rule::AReleaseIsGivenAgain)
        })?;
        let (pid, epoch) = (self.pid, self.gate.epoch());
        Some((source, Message::Release { pid, epoch }))
    }
}

/// What home answers to a claim of a process that it does not know: the copy in `epoch` and all before it are dropped;
/// of a move under way all.
pub fn unknown(pid: Pid, epoch: u64, state: Whereabouts) -> Message {
    let epoch = match state {
        Whereabouts::Moving => u64::MAX,
        Whereabouts::Here | Whereabouts::Ended => epoch,
    };
    Message::Lost { pid, epoch }
}
