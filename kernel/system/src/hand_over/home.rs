//! A move as home judges it: who owns the process.
//!
//! Law: every answer is a compare-and-swap on the process's record, and says who owns it now. Nobody is answered so who
//! claims a process without its source's word: to him there is no such process.

use crate::system::System;
use crate::timeline::What;
use alloc::vec::Vec;
use migrate::{Decision, LostOutcome, Permit};
use wire::{BootId, Message, NodeId, Passage};

impl System {
    /// Home gives or refuses the epoch that the target asks for.
    pub(super) fn commit_requested(&mut self, from: NodeId, boot: BootId, message: &Message) {
        let Message::CommitRequest {
            pid,
            old_epoch,
            source,
            source_boot,
            ref ticket,
        } = *message
        else {
            return;
        };
        let passage = Passage {
            pid,
            old_epoch,
            source: (source, source_boot),
            target: (from, boot),
        };
        #[cfg(feature = "canary")]
        let believes = self.canary == Some(crate::inside::Canary::TicketsUnjudged);
        #[cfg(not(feature = "canary"))]
        let believes = false;
        let permit = match believes || self.net.permits(&passage, ticket) {
            true => Permit::Given,
            false => Permit::Lacking,
        };
        // What a former boot has asked for, this one does not know.
        let restored = self.keeper.awaits(pid.0);
        let home = self.homes.get_mut(&pid.0).filter(|home| home.lives());
        let decision = home.and_then(|home| {
            let word = match restored || home.expects(from, source) {
                true => home.record.commit(&passage, permit)?,
                false => home.record.answer(&passage, permit)?,
            };
            if word.granted && self.bereft.remove(&pid.0) {
                home.asked_lost(source);
            }
            let poke = home.has_signals();
            Some(Decision { poke, ..word })
        });
        let Some(decision) = decision else {
            let lost = Message::Lost {
                pid,
                epoch: old_epoch,
            };
            return self.send(from, lost);
        };
        self.keep_decided(pid.0);
        if decision.granted {
            let of = (pid.0, decision.epoch);
            self.timeline.note(What::Committed, of, from, 0);
        }
        self.send(from, decision.message());
        if decision.granted {
            self.send(source, decision.message());
            let clock = self.net.peer(from).and_then(|peer| peer.clock_offset);
            self.timeline.note_clock(from, clock);
            self.tell_missed(pid.0);
        }
    }

    /// Ends processes whose owners died in the middle of a move, if nobody has got them.
    pub(super) fn heirs_due(&mut self) {
        let now = self.now;
        let pids: Vec<u32> = self.bereft.iter().copied().collect();
        for pid in pids {
            let home = self.homes.get_mut(&pid).filter(|home| home.lives());
            let outcome = home.map(|home| (home.record.on_timeout(now), home.record.decision()));
            match outcome {
                Some((LostOutcome::Unaffected, _)) => continue,
                Some((_, last)) => self.lost_with(pid, last.epoch, last.owner),
                None => {}
            }
            self.bereft.remove(&pid);
        }
    }

    /// A process has died with its node.
    pub(super) fn lost_with(&mut self, pid: u32, epoch: u64, node: NodeId) {
        machine::log!("process {pid}: lost with node {}", node.0);
        self.timeline.note(What::Lost, (pid, epoch), node, 0);
        self.ended(pid, abi::signal::SIGKILL);
    }

    pub(super) fn abort_requested(
        &mut self,
        from: NodeId,
        boot: BootId,
        pid: wire::Pid,
        old_epoch: u64,
    ) {
        let Some(home) = self.homes.get_mut(&pid.0).filter(|home| home.lives()) else {
            self.send(
                from,
                Message::Lost {
                    pid,
                    epoch: old_epoch,
                },
            );
            return;
        };
        let mut decision = home.record.abort(from, boot, old_epoch);
        decision.poke = home.has_signals();
        self.keep_decided(pid.0);
        self.send(from, decision.message());
        self.tell_missed(pid.0);
    }
}
