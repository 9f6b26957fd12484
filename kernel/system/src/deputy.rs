//! Calls that cross the network: the body's side asks, the home's side executes.
//!
//! Law: home executes a forwarded call once, however often it is asked, and only for the owner in
//! the current epoch; `rpc::Gate` judges that. A call that waits at home has had no effect and can be
//! ended by a cancel or a signal at any time; its sequence number is then used again.
//!
//! The way of a call: `LocalCall::home` → [`System::forward`] → (wire) → [`System::remote_call`] →
//! [`System::run_remote`] → (wire) → [`System::reply`] → the body's call runs again and finds the
//! answer.

use crate::body::{Answer, Body, Effects, Forward, Purpose, Run};
use crate::buffers::Buffers;
use crate::dispatch::{CALL_PAGE_IN, CALL_TAKE_SIGNAL, CHUNK, wire_pid};
use crate::home::{RemoteCall, Request};
use crate::memory::FileBacking;
use crate::system::System;
use crate::wait::Stop;
use abi::Errno;
use alloc::boxed::Box;
use machine::{Frame, FrameKind, PAGE_SIZE};
use rpc::Admission;
use wire::{BootId, Call, Message, NodeId, Outcome, Pid, Reply};

/// `si_code` of a page that its file does not have.
pub(crate) const BUS_ADRERR: i32 = 2;

impl System {
    // ---- the body's side ---------------------------------------------------------------------

    /// Sends a request to the home of a body that is away.
    pub(crate) fn forward(&mut self, pid: u32, purpose: Purpose, request: Request) {
        let body = self.body(pid);
        let seq = body.next_seq;
        body.forward = Forward::Sent { seq, purpose };
        let (home, epoch) = (body.home, body.epoch);
        let call = Call {
            pid: wire_pid(pid),
            epoch,
            seq,
            number: request.number,
            args: request.args,
            rooms: request.rooms,
            data: request.inputs.encode(),
        };
        self.send(home, Message::Call(call));
    }

    /// Asks home to end the call that is under way, without effect if that is still possible.
    pub(crate) fn send_cancel(&mut self, pid: u32, seq: u64) {
        let body = self.body(pid);
        let (home, epoch) = (body.home, body.epoch);
        self.send(
            home,
            Message::Cancel {
                pid: wire_pid(pid),
                epoch,
                seq,
            },
        );
    }

    /// An answer of home.
    pub(crate) fn reply(&mut self, from: NodeId, reply: Reply) {
        let pid = reply.pid.0;
        let Some(body) = self.bodies.get_mut(&pid) else {
            return;
        };
        if body.home != from || body.epoch != reply.epoch {
            return;
        }
        let Forward::Sent { seq, purpose } = body.forward else {
            return;
        };
        if seq != reply.seq {
            return;
        }
        body.forward = Forward::Idle;
        body.poked |= reply.poke;
        match reply.outcome {
            Outcome::Interrupted => body.restart.begun |= purpose == Purpose::Call,
            Outcome::Refused { epoch, .. } => {
                machine::log!("process {pid}: this copy is stale (epoch {epoch} holds), dropped");
                self.drop_stale(pid);
                return;
            }
            Outcome::Value(value) => {
                body.next_seq = body.next_seq.saturating_add(1);
                self.answered(pid, purpose, value, &reply.data);
            }
        }
        if self
            .bodies
            .get(&pid)
            .is_some_and(|body| body.run != Run::Ready || body.freezing)
        {
            self.advance(pid);
        }
    }

    fn answered(&mut self, pid: u32, purpose: Purpose, value: i64, data: &[u8]) {
        let buffers = Buffers::decode(data);
        let answer = match buffers {
            Some(buffers) => Answer { value, buffers },
            None => crate::home::plain(-i64::from(Errno::EIO.0)),
        };
        match purpose {
            Purpose::Call => self.body(pid).forward = Forward::Ready(answer),
            Purpose::Page(page) => self.file_page_came(pid, page, &answer),
            Purpose::Signal => self.signal_came(pid, &answer),
            Purpose::Arrived => {}
            Purpose::Orphan => {
                // A child without memory ends at once.
                let child = u32::try_from(value).unwrap_or(0);
                if self.may_be_child(pid, child) {
                    let body = Body::child_of(self.body(pid), child, None);
                    self.bodies.insert(child, Box::new(body));
                    self.die_without_memory(child);
                }
            }
        }
    }

    /// Home says that signals are pending.
    pub(crate) fn poked(&mut self, from: NodeId, pid: Pid, epoch: u64) {
        let Some(body) = self.bodies.get_mut(&pid.0) else {
            return;
        };
        if body.home != from || body.epoch != epoch {
            return;
        }
        body.poked = true;
        self.wakes.push(pid.0);
    }

    /// Fetches the next unblocked signal. Returns whether the body goes on at once.
    pub(crate) fn ask_for_signal(&mut self, pid: u32) -> bool {
        let body = self.body(pid);
        body.poked = false;
        let mask = body.signals.mask;
        let request = Request::plain(CALL_TAKE_SIGNAL, [mask, 0, 0, 0, 0, 0]);
        self.forward(pid, Purpose::Signal, request);
        false
    }

    /// A file page that is not on this node: ask home, unless the process cannot ask just now.
    pub(crate) fn request_file_page(
        &mut self,
        pid: u32,
        page: u64,
        backing: &FileBacking,
        offset: u64,
    ) -> Stop {
        let me = self.me;
        let body = self.body(pid);
        if body.home == me {
            return Stop::Errno(Errno::EFAULT);
        }
        if body.effects == Effects::Open && body.forward == Forward::Idle && !body.freezing {
            let args = [u64::from(backing.home_file), offset, 0, 0, 0, 0];
            let request = Request::plain(CALL_PAGE_IN, args);
            self.forward(pid, Purpose::Page(page), request);
        }
        Stop::Wait
    }

    fn file_page_came(&mut self, pid: u32, page: u64, answer: &Answer) {
        let bytes = answer.buffers.get(0).unwrap_or(&[]);
        if answer.value < 0 || bytes.len() != PAGE_SIZE {
            self.force_signal(pid, abi::signal::SIGBUS, BUS_ADRERR, page);
            return;
        }
        let Ok(frame) = Frame::zeroed(FrameKind::User) else {
            return self.out_of_memory(pid);
        };
        frame.write(0, bytes);
        if let Some(space) = self.body(pid).space.as_mut() {
            space.install_file(page, frame);
        }
    }

    /// A copy that another epoch has made stale.
    pub(crate) fn drop_stale(&mut self, pid: u32) {
        self.fence_target(pid);
        self.drop_body(pid);
    }

    // ---- the home's side ---------------------------------------------------------------------

    /// A call of a process whose home this is.
    pub(crate) fn remote_call(&mut self, from: NodeId, boot: BootId, call: Call) {
        let pid = call.pid.0;
        let Some(home) = self.homes.get_mut(&pid).filter(|home| home.lives()) else {
            self.send(
                from,
                Message::Lost {
                    pid: call.pid,
                    epoch: call.epoch,
                },
            );
            return;
        };
        let accepted = home.record.accept_effect(from, boot, call.epoch, call.seq);
        if let Some((previous, release)) = accepted.release {
            self.send(previous, release);
        }
        let refusal = accepted.admission.refusal();
        let reply = |outcome| Reply {
            pid: call.pid,
            epoch: call.epoch,
            seq: call.seq,
            outcome,
            poke: false,
            data: alloc::vec::Vec::new(),
        };
        match accepted.admission {
            Admission::Execute => match Buffers::decode(&call.data) {
                Some(inputs) => {
                    let rooms = call.rooms.map(|room| room.min(CHUNK as u32));
                    let request = Request {
                        number: call.number,
                        args: call.args,
                        inputs,
                        rooms,
                    };
                    let remote = RemoteCall {
                        from,
                        epoch: call.epoch,
                        seq: call.seq,
                        request,
                    };
                    if let Some(home) = self.homes.get_mut(&pid) {
                        home.remote = Some(remote);
                    }
                    self.run_remote(pid);
                }
                None => self.complete_remote(
                    pid,
                    call.seq,
                    crate::home::plain(-i64::from(Errno::EINVAL.0)),
                ),
            },
            Admission::Repeat(again) => self.send(from, Message::Reply(again)),
            Admission::Running => {}
            Admission::Refused { .. } => {
                if let Some(outcome) = refusal {
                    self.send(from, Message::Reply(reply(outcome)));
                }
            }
            Admission::Gap => machine::log!(
                "process {pid}: call {} out of sequence from node {}",
                call.seq,
                from.0
            ),
        }
    }

    /// Executes the forwarded call of a process, again if it has waited.
    pub(crate) fn run_remote(&mut self, pid: u32) {
        let Some(home) = self.homes.get_mut(&pid) else {
            return;
        };
        let Some(remote) = home.remote.take() else {
            return;
        };
        let (from, epoch) = (remote.from, remote.epoch);
        let answer = match self.execute(pid, &remote.request) {
            Ok(answer) => answer,
            Err(Stop::Errno(errno)) => crate::home::plain(-i64::from(errno.0)),
            Err(Stop::Wait) => {
                let Some(home) = self.homes.get_mut(&pid) else {
                    return;
                };
                let interrupted = home.signal_waits();
                let seq = remote.seq;
                home.remote = Some(remote);
                if interrupted {
                    self.interrupt_remote(pid, seq);
                }
                return;
            }
        };
        if self.homes.contains_key(&pid) {
            self.complete_remote(pid, remote.seq, answer);
        } else {
            // Its own end left nobody to reap it.
            let pid = wire_pid(pid);
            self.send(from, Message::Lost { pid, epoch });
        }
    }

    /// Sends the answer to the owner and keeps it for a repetition.
    fn complete_remote(&mut self, pid: u32, seq: u64, answer: Answer) {
        let Some(home) = self.homes.get_mut(&pid) else {
            return;
        };
        let gate = home.record.gate();
        let (owner, epoch) = (gate.owner(), gate.epoch());
        let reply = Reply {
            pid: wire_pid(pid),
            epoch,
            seq,
            outcome: Outcome::Value(answer.value),
            poke: home.signal_waits(),
            data: answer.buffers.encode(),
        };
        home.record.gate_mut().complete(seq, reply.clone());
        self.send(owner, Message::Reply(reply));
    }

    /// The owner wants its waiting call back.
    pub(crate) fn remote_cancel(
        &mut self,
        from: NodeId,
        boot: BootId,
        pid: Pid,
        epoch: u64,
        seq: u64,
    ) {
        let Some(home) = self.homes.get_mut(&pid.0) else {
            self.send(from, Message::Lost { pid, epoch });
            return;
        };
        if home.remote.as_ref().is_none_or(|remote| remote.seq != seq) {
            return;
        }
        if home.record.gate_mut().cancel(from, boot, epoch, seq) {
            self.end_remote(pid.0, seq);
        }
    }

    /// A signal ends the call that waits; the body looks at the signal and begins the call again.
    pub(crate) fn interrupt_remote(&mut self, pid: u32, seq: u64) {
        let Some(home) = self.homes.get_mut(&pid) else {
            return;
        };
        let gate = home.record.gate();
        let (owner, boot, epoch) = (gate.owner(), gate.owner_boot(), gate.epoch());
        if home.record.gate_mut().cancel(owner, boot, epoch, seq) {
            self.end_remote(pid, seq);
        }
    }

    fn end_remote(&mut self, pid: u32, seq: u64) {
        let Some(home) = self.homes.get_mut(&pid) else {
            return;
        };
        home.remote = None;
        let gate = home.record.gate();
        let (owner, epoch) = (gate.owner(), gate.epoch());
        let reply = Reply {
            pid: wire_pid(pid),
            epoch,
            seq,
            outcome: Outcome::Interrupted,
            poke: home.signal_waits(),
            data: alloc::vec::Vec::new(),
        };
        self.send(owner, Message::Reply(reply));
    }
}
