//! Home's half of the glue: the record, the calls it executes, the decisions it sends.
//!
//! Law: as in the other half; home answers every question, also about a process it does not know.

use crate::world::{
    EXIT, HOME, KEEP, PID, Promise, Seen, TAKE, WRITE, Work, World, thread_of, tid,
};
use migrate::{LostOutcome, Permit};
use rpc::Admission;
use wire::{BootId, CALL_ARRIVED, Call, Message, NodeId, Outcome, Passage, Pid, Reply};

impl World {
    /// Home completes one of the calls it is executing: it has its effect, and is answered.
    pub fn complete(&mut self, index: usize) {
        let Work {
            thread,
            seq,
            number,
            argument,
        } = self.hosts[HOME].executing.remove(index);
        let pending = self.hosts[HOME].pending;
        let value = match number {
            WRITE | KEEP => {
                self.effect(thread, argument);
                argument as i64
            }
            TAKE => {
                self.hosts[HOME].pending = false;
                self.observer.taken += u8::from(pending);
                i64::from(pending)
            }
            _ => 0,
        };
        let poke = self.hosts[HOME].pending;
        let Some(record) = &mut self.hosts[HOME].record else {
            return;
        };
        let epoch = record.gate().epoch();
        let reply = reply(tid(thread), epoch, seq, Outcome::Value(value), poke);
        let owner = record.gate().owner();
        if !record.gate_mut().complete(tid(thread), seq, reply.clone()) {
            return self.fail(
                Promise::Once,
                "home has executed what the gate does not count",
            );
        }
        self.keep_answer(thread, number, &reply);
        if number == EXIT {
            self.observer.over = true;
            // The journal forgets it before anybody hears of that.
            self.end(Some((owner, Message::Reply(reply))));
            return;
        }
        self.send(HOME, owner, Message::Reply(reply));
        if number == TAKE && pending {
            self.saw(Seen::SignalTaken);
        }
    }

    /// A signal for the process comes to its home.
    pub fn signal(&mut self) {
        let Some(record) = &self.hosts[HOME].record else {
            return;
        };
        let (epoch, owner) = (record.gate().epoch(), record.gate().owner());
        self.hosts[HOME].pending = true;
        let poke = Message::Poke {
            pid: PID,
            thread: Pid(0),
            epoch,
        };
        self.send(HOME, owner, poke);
    }

    /// The process is killed at home without asking its node.
    pub fn kill(&mut self) {
        self.observer.over = true;
        self.end(None);
    }

    /// Drops home's record and tells all copies; the one that asked gets its answer.
    pub(crate) fn end(&mut self, asker: Option<(NodeId, Message)>) {
        self.hosts[HOME].executing.clear();
        if let Some(record) = self.hosts[HOME].record.take() {
            let epoch = record.gate().epoch();
            let but = asker.as_ref().map(|asker| asker.0);
            if let Some((to, answer)) = asker {
                self.send(HOME, to, answer);
            }
            for (to, _) in record.copies().filter(|copy| Some(copy.0) != but) {
                self.send(HOME, to, Message::Lost { pid: PID, epoch });
            }
        }
    }

    pub(crate) fn outcome(&mut self, outcome: LostOutcome, lost: NodeId, boot: BootId) {
        match outcome {
            LostOutcome::Unaffected => {}
            LostOutcome::HandBack(mut decision) => {
                self.saw(Seen::HandedBack);
                self.note_owner();
                decision.poke = self.hosts[HOME].pending;
                self.send(HOME, decision.owner, decision.message());
                // A suspect may well live; a new boot ignores what it does not know.
                self.send(HOME, lost, decision.message());
            }
            LostOutcome::Awaited => {}
            LostOutcome::Ended => {
                self.check_ended(lost, boot);
                self.check_heirs(lost, boot);
                self.saw(Seen::Ended);
                self.kill();
            }
        }
    }

    pub(crate) fn at_home(&mut self, from: NodeId, boot: BootId, message: &Message) {
        if let Message::Orphans { orphans } = message {
            return self.orphans_told(from, boot, orphans);
        }
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
            Message::Cancel {
                thread, epoch, seq, ..
            } if record.gate_mut().cancel(from, boot, *epoch, *thread, *seq) => {
                self.cancelled(*thread, *seq);
                self.refuse(from, (*thread, *epoch, *seq), Outcome::Interrupted);
            }
            Message::CommitRequest {
                old_epoch,
                source,
                source_boot,
                ticket,
                ..
            } => {
                let passage = Passage {
                    pid: PID,
                    old_epoch: *old_epoch,
                    source: (*source, *source_boot),
                    target: (from, boot),
                };
                let permit = match *ticket == self.ticket_of(&passage) {
                    true => Permit::Given,
                    false => Permit::Lacking,
                };
                let Some(record) = &mut self.hosts[HOME].record else {
                    return;
                };
                let before = record.gate().epoch();
                let bereft = record.poll_timeout().is_some();
                let Some(mut decision) = record.commit(&passage, permit) else {
                    self.saw(Seen::ClaimedInVain);
                    let lost = Message::Lost {
                        pid: PID,
                        epoch: *old_epoch,
                    };
                    return self.send(HOME, from, lost);
                };
                if decision.epoch != before {
                    self.observer.unseen = !bereft;
                }
                if bereft && decision.granted {
                    self.saw(Seen::Inherited);
                }
                decision.poke = self.hosts[HOME].pending;
                self.note_owner();
                self.send(HOME, from, decision.message());
                if decision.granted {
                    self.send(HOME, *source, decision.message());
                }
            }
            Message::AbortRequest { old_epoch, .. } => {
                let mut decision = record.abort(from, boot, *old_epoch);
                if decision.granted {
                    self.saw(Seen::Aborted);
                }
                decision.poke = self.hosts[HOME].pending;
                self.note_owner();
                self.send(HOME, from, decision.message());
            }
            _ => {}
        }
    }

    /// A call will not be executed. No copy of it is still under way, as the link delivers nothing
    /// twice: its number is free for the next call.
    fn cancelled(&mut self, thread: Pid, seq: u64) {
        self.saw(Seen::Cancelled);
        let index = thread_of(thread);
        let executing = &mut self.hosts[HOME].executing;
        executing.retain(|work| (work.thread, work.seq) != (index, seq));
        self.strays
            .retain(|(_, packet)| !packet.is_call(thread, seq));
    }

    fn called(&mut self, from: NodeId, boot: BootId, call: &Call) {
        let Some(record) = &mut self.hosts[HOME].record else {
            return;
        };
        let accepted = record.accept_effect(from, boot, call.epoch, call.thread, call.seq);
        if let Some((to, release)) = accepted.release {
            self.send(HOME, to, release);
        }
        match accepted.admission {
            Admission::Execute => {
                self.accepted((from, boot), call.epoch);
                self.hosts[HOME].executing.push(Work {
                    thread: thread_of(call.thread),
                    seq: call.seq,
                    number: call.number,
                    argument: call.args[0],
                });
                if call.number == CALL_ARRIVED {
                    self.complete(self.executing() - 1);
                }
            }
            Admission::Repeat(reply) => {
                self.saw(Seen::Repeated);
                self.send(HOME, from, Message::Reply(reply));
            }
            Admission::Running | Admission::Gap => {}
            refused @ Admission::Refused { .. } => {
                if let Some(outcome) = refused.refusal() {
                    self.refuse(from, (call.thread, call.epoch, call.seq), outcome);
                }
            }
        }
    }

    /// Answers a call that was not executed.
    fn refuse(&mut self, to: NodeId, (thread, epoch, seq): (Pid, u64, u64), outcome: Outcome) {
        let poke = self.hosts[HOME].pending;
        let reply = reply(thread, epoch, seq, outcome, poke);
        self.send(HOME, to, Message::Reply(reply));
    }
}

fn reply(thread: Pid, epoch: u64, seq: u64, outcome: Outcome, poke: bool) -> Reply {
    Reply {
        pid: PID,
        thread,
        epoch,
        seq,
        outcome,
        poke,
        data: vec![],
    }
}
