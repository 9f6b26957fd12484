//! Calls that cross the network: the body's side asks, the home's side executes.
//!
//! Law: home executes a forwarded call once, however often it is asked, and only for the owner in
//! the current epoch; `rpc::Gate` judges that. A call that waits at home has had no effect and can be
//! ended by a cancel or a signal at any time; its sequence number is then used again.
//!
//! The way of a call: `LocalCall::home` → [`System::forward`] → (wire) → [`System::remote_call`] →
//! [`System::run_remote`] → (wire) → [`System::reply`] → the body's call runs again and finds the
//! answer.

use crate::buffers::Buffers;
use crate::dispatch::{CALL_TAKE_SIGNAL, ROOM_MAX, wire_pid};
use crate::home::{HomeThread, RemoteCall, Request};
use crate::system::{Abandoned, System};
use crate::thread::{Answer, Forward, Purpose, Run};
use crate::timeline::What;
use crate::wait::Stop;
use abi::Errno;
use rpc::Admission;
use wire::{BootId, Call, Message, NodeId, Outcome, Pid, Reply};

/// `si_code` of a page that its file does not have.
pub(crate) const BUS_ADRERR: i32 = 2;

impl System {
    // ---- the body's side ---------------------------------------------------------------------

    /// Sends a request of a thread to the home of its process.
    pub(crate) fn forward(&mut self, tid: u32, purpose: Purpose, request: Request) {
        let pid = self.thread(tid).pid;
        if self.body(pid).orphan {
            // It is made again when home knows the process.
            return;
        }
        let thread = self.thread(tid);
        let repeatable = matches!(purpose, Purpose::Call(_) | Purpose::Signal);
        let same = repeatable && thread.asked == request.number;
        let again = core::mem::take(&mut thread.again);
        if again && !same {
            // The number may have been that of a call which was executed.
            thread.next_seq = thread.next_seq.saturating_add(1);
        }
        // What was done since comes behind a call that is repeated.
        if !(again && same) {
            self.catch_up(tid);
        }
        self.before_call(tid, &request);
        let thread = self.thread(tid);
        thread.asked = request.number;
        let seq = thread.next_seq;
        thread.forward = Forward::Sent { seq, purpose };
        self.send_call(tid, seq, request);
    }

    /// Sends a request of a thread as the call of this number.
    pub(crate) fn send_call(&mut self, tid: u32, seq: u64, request: Request) {
        let pid = self.thread(tid).pid;
        let body = self.body(pid);
        let (home, epoch) = (body.home, body.epoch);
        let call = Call {
            pid: wire_pid(pid),
            thread: wire_pid(tid),
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
    pub(crate) fn send_cancel(&mut self, tid: u32, seq: u64) {
        let pid = self.thread(tid).pid;
        let body = self.body(pid);
        let (home, epoch) = (body.home, body.epoch);
        self.send(
            home,
            Message::Cancel {
                pid: wire_pid(pid),
                thread: wire_pid(tid),
                epoch,
                seq,
            },
        );
    }

    /// An answer of home.
    pub(crate) fn reply(&mut self, from: NodeId, reply: Reply) {
        let tid = reply.thread.0;
        let Some(thread) = self.threads.get(&tid) else {
            return self.reply_to_nobody(from, &reply);
        };
        let pid = thread.pid;
        let body = self.body(pid);
        if body.home != from || body.epoch != reply.epoch || reply.pid.0 != pid {
            return;
        }
        let thread = self.thread(tid);
        let posted = thread.posts.front().is_some_and(|post| post.is(reply.seq));
        if posted && let Outcome::Value(_) = reply.outcome {
            return self.post_answered(tid, &reply);
        }
        let thread = self.thread(tid);
        let Forward::Sent { seq, purpose } = thread.forward else {
            if posted && let Outcome::Refused { .. } = reply.outcome {
                self.drop_stale(pid);
            }
            return;
        };
        if seq != reply.seq {
            return;
        }
        thread.take_up();
        thread.poked |= reply.poke;
        match reply.outcome {
            Outcome::Interrupted => {
                thread.restart.begun |= matches!(purpose, Purpose::Call(_));
            }
            Outcome::Refused { epoch, .. } => {
                machine::log!("process {pid}: this copy is stale (epoch {epoch} holds), dropped");
                self.timeline.note(What::Dropped, (pid, epoch), from, 0);
                self.drop_stale(pid);
                return;
            }
            Outcome::Value(value) => {
                thread.next_seq = thread.next_seq.saturating_add(1);
                self.answered(tid, purpose, value, &reply.data);
            }
        }
        let ready = |run| run == Run::Ready;
        let freezing = self.bodies.get(&pid).is_some_and(|body| body.freezing);
        let waits = self.threads.get(&tid);
        if waits.is_some_and(|thread| !ready(thread.run) || freezing) {
            self.advance(tid);
        }
    }

    /// An answer for a thread that is over: only the child of a fork matters.
    fn reply_to_nobody(&mut self, from: NodeId, reply: &Reply) {
        let of =
            |fork: &Abandoned| (fork.home, fork.epoch, fork.seq) == (from, reply.epoch, reply.seq);
        if !self.abandoned.get(&reply.thread.0).is_some_and(of) {
            return;
        }
        self.abandoned.remove(&reply.thread.0);
        if let Outcome::Value(value) = reply.outcome {
            self.end_orphan(from, value);
        }
    }

    fn answered(&mut self, tid: u32, purpose: Purpose, value: i64, data: &[u8]) {
        let buffers = Buffers::decode(data);
        let answer = match buffers {
            Some(buffers) => Answer { value, buffers },
            None => crate::home::plain(-i64::from(Errno::EIO.0)),
        };
        match purpose {
            Purpose::Call(question) => {
                self.lent(tid, &answer);
                self.thread(tid).forward = Forward::Ready { question, answer };
            }
            Purpose::Page(page) => self.file_page_came(tid, page, &answer),
            Purpose::Signal => self.signal_came(tid, &answer),
            Purpose::Arrived => {
                let pid = self.thread(tid).pid;
                self.arrival_answered(pid);
            }
            Purpose::Orphan => {
                let pid = self.thread(tid).pid;
                let home = self.body(pid).home;
                self.end_orphan(home, value);
            }
        }
    }

    /// Home says that signals are pending, for one thread or (0) for any.
    pub(crate) fn poked(&mut self, from: NodeId, pid: Pid, thread: Pid, epoch: u64) {
        let Some(body) = self.bodies.get(&pid.0) else {
            return;
        };
        if body.home != from || body.epoch != epoch {
            return;
        }
        for tid in self.tids(pid.0) {
            if thread.0 == 0 || thread.0 == tid {
                self.thread(tid).poked = true;
                self.wakes.push(tid);
            }
        }
    }

    /// Fetches the next unblocked signal. Returns whether the thread goes on at once.
    pub(crate) fn ask_for_signal(&mut self, tid: u32) -> bool {
        let thread = self.thread(tid);
        thread.poked = false;
        let mask = thread.mask_now();
        let request = Request::plain(CALL_TAKE_SIGNAL, [mask, 0, 0, 0, 0, 0]);
        self.forward(tid, Purpose::Signal, request);
        false
    }

    /// A copy that another epoch has made stale.
    pub(crate) fn drop_stale(&mut self, pid: u32) {
        self.fence_target(pid);
        self.drop_body(pid);
    }

    // ---- the home's side ---------------------------------------------------------------------

    /// A call of a process whose home this is.
    pub(crate) fn remote_call(&mut self, from: NodeId, boot: BootId, call: Call) {
        let (pid, tid) = (call.pid.0, call.thread.0);
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
        let accepted = home
            .record
            .accept_effect(from, boot, call.epoch, call.thread, call.seq);
        if let Some((previous, release)) = accepted.release {
            let of = (pid, call.epoch);
            self.keeper.touch(pid);
            self.timeline.note(What::Releases, of, previous, 0);
            self.send(previous, release);
        }
        let refusal = accepted.admission.refusal();
        if refusal.is_none() {
            self.adopted_from(from, pid, call.epoch);
        }
        let reply = |outcome| Reply {
            pid: call.pid,
            thread: call.thread,
            epoch: call.epoch,
            seq: call.seq,
            outcome,
            poke: false,
            data: alloc::vec::Vec::new(),
        };
        match accepted.admission {
            Admission::Execute => match Buffers::decode(&call.data) {
                Some(inputs) => {
                    let rooms = call.rooms.map(|room| room.min(ROOM_MAX as u32));
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
                    if let Some(thread) = self.home_thread(pid, tid) {
                        thread.remote = Some(remote);
                    }
                    self.run_remote(pid, tid);
                }
                None => self.complete_remote(
                    (pid, tid),
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

    /// What home keeps of a thread.
    pub(crate) fn home_thread(&mut self, pid: u32, tid: u32) -> Option<&mut HomeThread> {
        self.homes.get_mut(&pid)?.threads.get_mut(&tid)
    }

    /// Executes the forwarded call of a thread, again if it has waited.
    pub(crate) fn run_remote(&mut self, pid: u32, tid: u32) {
        if self.bereft.contains(&pid) {
            // It is over, or asks again from where it is found. A child would be born on a node that is not there.
            return;
        }
        let Some(remote) = self
            .home_thread(pid, tid)
            .and_then(|thread| thread.remote.take())
        else {
            return;
        };
        let (from, epoch) = (remote.from, remote.epoch);
        self.serving = Some(remote.seq);
        let done = self.execute(pid, tid, &remote.request);
        self.serving = None;
        let answer = match done {
            Ok(answer) => answer,
            Err(Stop::Errno(errno)) => crate::home::plain(-i64::from(errno.0)),
            Err(Stop::Wait) => {
                let seq = remote.seq;
                if let Some(thread) = self.home_thread(pid, tid) {
                    thread.remote = Some(remote);
                }
                let home = self.homes.get(&pid);
                if home.is_some_and(|home| home.signal_waits(tid)) {
                    self.interrupt_remote(pid, tid, seq);
                }
                return;
            }
        };
        if self.homes.contains_key(&pid) {
            let mut answer = answer;
            let following = self.lend(pid, &remote.request, &mut answer);
            self.complete_remote((pid, tid), remote.seq, answer);
            if let Some(following) = following {
                self.send_following(pid, &following);
            }
        } else {
            // Its own end is an answer as any other, though who waited for it has reaped it meanwhile.
            let reply = Reply {
                pid: wire_pid(pid),
                thread: wire_pid(tid),
                epoch,
                seq: remote.seq,
                outcome: Outcome::Value(answer.value),
                poke: false,
                data: answer.buffers.encode(),
            };
            self.send(from, Message::Reply(reply));
        }
    }

    /// Sends the answer to the owner and keeps it for a repetition.
    fn complete_remote(&mut self, (pid, tid): (u32, u32), seq: u64, answer: Answer) {
        let Some(home) = self.homes.get_mut(&pid) else {
            return;
        };
        let gate = home.record.gate();
        let (owner, epoch) = (gate.owner(), gate.epoch());
        let reply = Reply {
            pid: wire_pid(pid),
            thread: wire_pid(tid),
            epoch,
            seq,
            outcome: Outcome::Value(answer.value),
            poke: home.signal_waits(tid),
            data: answer.buffers.encode(),
        };
        let over = !home.threads.contains_key(&tid);
        let gate = home.record.gate_mut();
        gate.complete(wire_pid(tid), seq, reply.clone());
        if over {
            gate.close_lane(wire_pid(tid));
        }
        self.keep_answer(pid, tid, &reply);
        self.send(owner, Message::Reply(reply));
    }

    /// The owner wants its waiting call back.
    pub(crate) fn remote_cancel(
        &mut self,
        from: NodeId,
        boot: BootId,
        (pid, thread): (Pid, Pid),
        epoch: u64,
        seq: u64,
    ) {
        let Some(home) = self.homes.get_mut(&pid.0) else {
            self.send(from, Message::Lost { pid, epoch });
            return;
        };
        let remote = home.threads.get(&thread.0);
        let remote = remote.and_then(|thread| thread.remote.as_ref());
        if remote.is_none_or(|remote| remote.seq != seq) {
            return;
        }
        let gate = home.record.gate_mut();
        if gate.cancel(from, boot, epoch, thread, seq) {
            self.end_remote(pid.0, thread.0, seq);
        }
    }

    /// A signal ends the call that waits; the thread looks at the signal and begins the call again.
    pub(crate) fn interrupt_remote(&mut self, pid: u32, tid: u32, seq: u64) {
        let Some(home) = self.homes.get_mut(&pid) else {
            return;
        };
        let gate = home.record.gate_mut();
        let (owner, boot, epoch) = (gate.owner(), gate.owner_boot(), gate.epoch());
        if gate.cancel(owner, boot, epoch, wire_pid(tid), seq) {
            self.end_remote(pid, tid, seq);
        }
    }

    fn end_remote(&mut self, pid: u32, tid: u32, seq: u64) {
        let Some(home) = self.homes.get_mut(&pid) else {
            return;
        };
        if let Some(thread) = home.threads.get_mut(&tid) {
            thread.remote = None;
        }
        let gate = home.record.gate();
        let (owner, epoch) = (gate.owner(), gate.epoch());
        let reply = Reply {
            pid: wire_pid(pid),
            thread: wire_pid(tid),
            epoch,
            seq,
            outcome: Outcome::Interrupted,
            poke: home.signal_waits(tid),
            data: alloc::vec::Vec::new(),
        };
        self.send(owner, Message::Reply(reply));
    }
}
