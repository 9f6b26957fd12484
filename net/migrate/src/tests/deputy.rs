//! Home's half of the glue: the record, the calls it executes, the decisions it sends.
//!
//! Law: as in the other half; home answers every question, also about a process it does not know.

use super::broken::Rule;
use super::world::{EXIT, HOME, PID, WRITE, World};
use crate::LostOutcome;
use alloc::vec;
use rpc::Admission;
use wire::{BootId, CALL_ARRIVED, Call, Message, NodeId, Outcome, Reply};

impl World {
    /// Home completes the call it is executing, if there is one.
    pub(super) fn complete(&mut self) {
        let Some((seq, number, argument)) = self.hosts[HOME].executing.take() else {
            return;
        };
        let Some(record) = &mut self.hosts[HOME].record else {
            return;
        };
        let reply = Reply {
            pid: PID,
            thread: PID,
            epoch: record.gate().epoch(),
            seq,
            outcome: Outcome::Value(argument as i64),
            poke: false,
            data: vec![],
        };
        let owner = record.gate().owner();
        if record.gate_mut().complete(PID, seq, reply.clone()) {
            if number == WRITE {
                self.effect(argument);
            }
            self.send(HOME, owner, Message::Reply(reply));
            if number == EXIT {
                self.observer.over = true;
                self.end(Some(owner));
            }
        }
    }

    /// Drops home's record and tells all copies but the one that asked.
    pub(super) fn end(&mut self, but: Option<NodeId>) {
        self.hosts[HOME].executing = None;
        if let Some(record) = self.hosts[HOME].record.take() {
            let epoch = record.gate().epoch();
            for (to, _) in record.copies().filter(|copy| Some(copy.0) != but) {
                self.send(HOME, to, Message::Lost { pid: PID, epoch });
            }
        }
    }

    pub(super) fn outcome(&mut self, outcome: LostOutcome, lost: NodeId, boot: BootId) {
        match (outcome, self.grudge.take()) {
            (LostOutcome::Unaffected, grudge) => self.grudge = grudge,
            (LostOutcome::HandBack(decision), _) => {
                self.observer.handed_back += 1;
                self.note_owner();
                self.send(HOME, decision.owner, decision.message());
                self.send(HOME, lost, decision.message());
            }
            (LostOutcome::Ended, Some((to, to_boot))) => {
                // Rule::NoWayBackAfterEffect is broken.
                if let Some(record) = &mut self.hosts[HOME].record {
                    record.gate_mut().transfer(to, to_boot);
                    let decision = record.decision();
                    self.note_owner();
                    self.send(HOME, to, decision.message());
                }
            }
            (LostOutcome::Ended, None) => {
                self.check_ended(lost, boot);
                self.observer.ended += 1;
                self.observer.over = true;
                self.end(None);
            }
        }
    }

    pub(super) fn at_home(&mut self, from: NodeId, boot: BootId, message: &Message) {
        let asked = match message {
            Message::Call(call) => call.epoch,
            Message::Cancel { epoch, .. } => *epoch,
            Message::CommitRequest { old_epoch, .. } | Message::AbortRequest { old_epoch, .. } => {
                *old_epoch
            }
            _ => return,
        };
        let Some(record) = &mut self.hosts[HOME].record else {
            let lost = Message::Lost {
                pid: PID,
                epoch: asked,
            };
            return self.send(HOME, from, lost);
        };
        match message {
            Message::Call(call) => self.called(from, boot, call),
            Message::Cancel { epoch, seq, .. } => {
                let cancelled = record.gate_mut().cancel(from, boot, *epoch, PID, *seq);
                if cancelled {
                    self.hosts[HOME].executing = None;
                    self.reply(from, *epoch, *seq, Outcome::Interrupted);
                }
            }
            Message::CommitRequest {
                old_epoch,
                source,
                source_boot,
                ..
            } => {
                let before = record.gate().epoch();
                let decision = record.commit(from, boot, *old_epoch, *source, *source_boot);
                if decision.epoch != before {
                    self.observer.unseen = true;
                }
                self.note_owner();
                self.send(HOME, from, decision.message());
                if decision.granted {
                    self.send(HOME, *source, decision.message());
                }
            }
            Message::AbortRequest { old_epoch, .. } => {
                let decision = record.abort(from, boot, *old_epoch);
                self.observer.aborted += u32::from(decision.granted);
                self.note_owner();
                self.send(HOME, from, decision.message());
            }
            _ => {}
        }
    }

    fn called(&mut self, from: NodeId, boot: BootId, call: &Call) {
        let Some(record) = &mut self.hosts[HOME].record else {
            return;
        };
        let (mut as_node, mut as_boot, mut as_epoch) = (from, boot, call.epoch);
        if self.broken == Rule::Epochs {
            let gate = record.gate();
            (as_node, as_boot, as_epoch) = (gate.owner(), gate.owner_boot(), gate.epoch());
        }
        let previous = record.previous();
        let accepted = record.accept_effect(as_node, as_boot, as_epoch, PID, call.seq);
        if let Some((to, release)) = accepted.release {
            if self.broken == Rule::NoWayBackAfterEffect {
                self.grudge = previous;
            } else {
                self.send(HOME, to, release);
            }
        }
        match accepted.admission {
            Admission::Execute => {
                self.accepted((from, boot), call.epoch);
                self.hosts[HOME].executing = Some((call.seq, call.number, call.args[0]));
                if call.number == CALL_ARRIVED {
                    self.complete();
                }
            }
            Admission::Repeat(reply) => self.send(HOME, from, Message::Reply(reply)),
            Admission::Running | Admission::Gap => {}
            refused @ Admission::Refused { .. } => {
                if let Some(outcome) = refused.refusal() {
                    self.reply(from, call.epoch, call.seq, outcome);
                }
            }
        }
    }

    fn reply(&mut self, to: NodeId, epoch: u64, seq: u64, outcome: Outcome) {
        let reply = Reply {
            pid: PID,
            thread: PID,
            epoch,
            seq,
            outcome,
            poke: false,
            data: vec![],
        };
        self.send(HOME, to, Message::Reply(reply));
    }
}
