//! A move as home judges it: who owns the process.
//!
//! Law: every answer is a compare-and-swap on the process's record, and says who owns it now.

use crate::system::System;
use crate::timeline::What;
use wire::{BootId, Message, NodeId};

impl System {
    /// Home gives or refuses the epoch that the target asks for.
    pub(super) fn commit_requested(&mut self, from: NodeId, boot: BootId, message: &Message) {
        let Message::CommitRequest {
            pid,
            old_epoch,
            source,
            source_boot,
            ..
        } = *message
        else {
            return;
        };
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
        let mut decision = if home.expects(from, source) {
            let record = &mut home.record;
            record.commit(from, boot, old_epoch, source, source_boot)
        } else {
            home.record.decision()
        };
        decision.poke = home.has_signals();
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
