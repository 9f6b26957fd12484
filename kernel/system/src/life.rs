//! How bodies and threads come and go.
//!
//! Law: a body is dropped only after home knows, or because home (or its end) has fenced it. A
//! thread of a process that ends or becomes another program is dropped at once, whatever it waits
//! for: what it has asked of home is answered to nobody.

use crate::ahead::Ahead;
use crate::body::{Actions, Body, Effects, LIMITS, SignalAction};
use crate::dispatch::{CALL_END, CALL_FORK, CALL_THREAD, CALL_THREAD_END, wire_pid};
use crate::signals::QUEUE_MAX;
use crate::spaces::SpaceId;
use crate::system::{Abandoned, System};
use crate::thread::{Forward, Pending, Purpose, Run, Thread};
use abi::signal;
use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use wire::{Message, NodeId};

const UNLIMITED: u64 = u64::MAX;

/// RLIMIT defaults, in the order of getrlimit(2): (soft, hard).
pub(crate) const LIMIT_DEFAULTS: [(u64, u64); LIMITS] = {
    let mut limits = [(UNLIMITED, UNLIMITED); LIMITS];
    limits[3] = (8 << 20, UNLIMITED);
    limits[4] = (0, UNLIMITED);
    limits[6] = (32_768, 32_768);
    limits[8] = (8 << 20, 8 << 20);
    limits[11] = (QUEUE_MAX as u64, QUEUE_MAX as u64);
    limits[12] = (819_200, 819_200);
    limits[13] = (0, 0);
    limits[14] = (0, 0);
    limits[7] = (
        crate::files::USUAL_DESCRIPTORS as u64,
        crate::files::MAX_DESCRIPTORS as u64,
    );
    limits
};

impl Body {
    /// A body without program.
    pub fn new(pid: u32, home: NodeId) -> Body {
        Body {
            pid,
            home,
            epoch: 1,
            effects: Effects::Open,
            space: SpaceId::default(),
            threads: BTreeSet::from([pid]),
            leader_status: 0,
            ending: false,
            owed: Vec::new(),
            stopped: false,
            vfork_parent: None,
            actions: Actions::default(),
            common_actions: None,
            limits: LIMIT_DEFAULTS,
            clock_offset_ns: 0,
            wall_offset_ns: 0,
            cpu: crate::cpu_timers::CpuTime::default(),
            peak_pages: 0,
            faults: 0,
            cpu_timers: crate::cpu_timers::CpuTimers::default(),
            watches_cpu: false,
            freezing: false,
            wish: None,
            held: false,
            queued: false,
            policy: None,
            barriers: 0,
            missing: BTreeSet::new(),
            arriving: false,
            orphan: false,
            ahead: Ahead::default(),
            calls: 0,
            holder: None,
            lent_since: alloc::collections::BTreeMap::new(),
        }
    }

    /// The body of a forked child, without memory.
    pub fn child_of(parent: &Body, pid: u32) -> Body {
        let mut child = Body {
            actions: parent.actions.clone(),
            limits: parent.limits,
            clock_offset_ns: parent.clock_offset_ns,
            wall_offset_ns: parent.wall_offset_ns,
            policy: parent.policy,
            barriers: parent.barriers,
            missing: parent.missing.clone(),
            ..Body::new(pid, parent.home)
        };
        child.watch_cpu();
        child
    }
}

impl Thread {
    /// The number of its call to home, if that may make a child.
    fn forks(&self) -> Option<u64> {
        match self.forward {
            Forward::Sent {
                seq,
                purpose: Purpose::Orphan | Purpose::Call(CALL_FORK),
            } => Some(seq),
            _ => None,
        }
    }
}

impl System {
    /// The process and those here whose actions about signals are the same as its own.
    pub(crate) fn with_actions_of(&self, pid: u32) -> Vec<u32> {
        let common = self.bodies.get(&pid).and_then(|body| body.common_actions);
        let others = self
            .bodies
            .values()
            .filter(|body| body.pid != pid && common.is_some() && body.common_actions == common);
        let others = others.map(|body| body.pid);
        core::iter::once(pid).chain(others).collect()
    }

    /// Changes what a process does about the signal after `index`, and with it all who have that in common.
    pub(crate) fn set_action(&mut self, pid: u32, index: usize, action: SignalAction) {
        for pid in self.with_actions_of(pid) {
            self.body(pid).actions.0[index] = action;
        }
    }

    /// Lets go of the memory of a process. Who waits until it has its own goes on.
    pub(crate) fn leave_memory(&mut self, pid: u32) {
        self.nobody_keeps(pid);
        let body = self.body(pid);
        let space = core::mem::take(&mut body.space);
        let waits = body.vfork_parent.take();
        if self.spaces.users(space) == 1 {
            self.futexes.forget_space(space);
        }
        drop(self.spaces.leave(space));
        if let Some(tid) = waits {
            if let Some(thread) = self.threads.get_mut(&tid) {
                thread.vfork_child = None;
            }
            self.wakes.push(tid);
        }
    }

    /// A thread is over on this node, with all it holds here.
    pub(crate) fn drop_thread(&mut self, tid: u32) {
        self.forget_fpu(tid);
        self.cancel_alarm(tid);
        self.futexes.forget_thread(tid);
        let Some(mut thread) = self.threads.remove(&tid) else {
            return;
        };
        if let Run::Running(cpu) = thread.run {
            self.kick(cpu);
        }
        let Some(body) = self.bodies.get_mut(&thread.pid) else {
            return;
        };
        body.threads.remove(&tid);
        if body.freezing
            && let Some(other) = body.threads.first()
        {
            // The others may have stood still for a while, and only this one was waited for.
            self.wakes.push(*other);
        }
        if let Some(seq) = thread.forks() {
            let (home, epoch) = (body.home, body.epoch);
            self.abandoned.insert(tid, Abandoned { home, epoch, seq });
        } else if let Some(child) = thread.forward.answer_to(CALL_FORK) {
            let home = body.home;
            self.end_orphan(home, child.value);
        }
    }

    /// Drops all threads of a process but one.
    pub(crate) fn drop_other_threads(&mut self, pid: u32, but: u32) {
        for tid in self.tids(pid) {
            if tid != but {
                self.drop_thread(tid);
            }
        }
    }

    /// Home has made a child, and nobody wants it any more: without memory, it ends at once. What home said also
    /// tells a descriptor.
    pub(crate) fn end_orphan(&mut self, home: NodeId, told: i64) {
        let child = told as u32;
        let fits = told > 0 && wire_pid(child).home() == home && self.is_free(child);
        if fits {
            self.add_process(Body::new(child, home), Thread::new(child, child));
            self.die_without_memory(child);
        }
    }

    /// Home has made a thread that nobody wants any more: it ends before it has run.
    fn end_orphan_thread(&mut self, pid: u32, told: i64) {
        let tid = told as u32;
        if told > 0 && self.may_be_child(pid, tid) && !self.body(pid).ending {
            let mut thread = Thread::new(tid, pid);
            thread.call = Some(Pending {
                number: CALL_THREAD_END,
                args: [0; 6],
            });
            self.body(pid).threads.insert(tid);
            self.threads.insert(tid, Box::new(thread));
            self.wakes.push(tid);
        }
    }

    /// An answer that the call which asked has not used is none for any other.
    pub(crate) fn drop_answer(&mut self, tid: u32) {
        let thread = self.thread(tid);
        let pid = thread.pid;
        thread.put_aside();
        let unused = thread.aside.take();
        match unused.map(|(question, answer)| (question, answer.value)) {
            Some((CALL_FORK, child)) => {
                let home = self.body(pid).home;
                self.end_orphan(home, child);
            }
            Some((CALL_THREAD, other)) => self.end_orphan_thread(pid, other),
            _ => {}
        }
    }

    /// Puts a new process among the others.
    pub(crate) fn add_process(&mut self, body: Body, first: Thread) {
        self.bodies.insert(body.pid, Box::new(body));
        self.threads.insert(first.tid, Box::new(first));
    }

    /// The body is over on this node, with all it holds here.
    pub(crate) fn drop_body(&mut self, pid: u32) {
        if !self.bodies.contains_key(&pid) {
            return;
        }
        for tid in self.tids(pid) {
            self.drop_thread(tid);
        }
        let arriving = self.lacks_pages(pid);
        self.leave_memory(pid);
        let Some(body) = self.bodies.remove(&pid) else {
            return;
        };
        if arriving && let Some(incoming) = self.incoming.get(&pid) {
            // The last source need not push any further.
            let (source, epoch) = incoming.source();
            let attempt = incoming.attempt();
            self.send(
                source,
                Message::Discarded {
                    pid: wire_pid(pid),
                    epoch,
                    attempt,
                },
            );
        }
        if let Some(wish) = body.wish {
            let result = Err(wire::MoveError::Gone);
            self.report(body.home, pid, wish.request, result);
        }
        if let Some(outgoing) = self.outgoing.get_mut(&pid) {
            outgoing.body_gone(self.now);
            self.pump_source(pid);
        }
        // Nothing more is awaited from the last source, and the room is free.
        self.fence_target(pid);
    }

    /// Whether a number can be that of a new process or thread here.
    pub(crate) fn is_free(&self, number: u32) -> bool {
        !self.bodies.contains_key(&number)
            && !self.threads.contains_key(&number)
            && !self.outgoing.contains_key(&number)
            && self
                .incoming
                .get(&number)
                .is_none_or(|incoming| incoming.waits_for_image())
    }

    /// Whether a number can be that of a new child or thread of a body here. Home is not believed:
    /// the number of another process would put that one's body aside.
    pub(crate) fn may_be_child(&self, parent: u32, child: u32) -> bool {
        let home = self.bodies.get(&parent).map(|body| body.home);
        home == Some(wire_pid(child).home()) && self.is_free(child)
    }

    /// A fork that found no memory for the child: the child never ran.
    pub(crate) fn die_without_memory(&mut self, pid: u32) {
        self.die(pid, signal::SIGKILL);
    }

    /// Ends the process with a wait status, as soon as home agrees. One of its threads carries the
    /// word; the others are over at once.
    pub(crate) fn die(&mut self, pid: u32, status: u32) {
        let Some(body) = self.bodies.get_mut(&pid) else {
            return;
        };
        if body.ending {
            return;
        }
        let tids = body.threads.iter();
        // Not one that would first have to come back from another processor or from home.
        let ease = |tid: &&u32| {
            let thread = self.threads.get(*tid);
            thread.map_or(3, |thread| match (thread.run, &thread.forward) {
                (Run::Running(_), _) => 2,
                (_, Forward::Sent { .. }) => 1,
                _ => 0,
            })
        };
        let Some(tid) = tids.min_by_key(ease).copied() else {
            return;
        };
        self.end_by(tid, status);
    }

    /// As [`System::die`], the word carried by this thread.
    pub(crate) fn end_by(&mut self, tid: u32, status: u32) {
        let pid = self.thread(tid).pid;
        let owes = |other: &u32| {
            let thread = self.threads.get(other).filter(|_| *other != tid)?;
            let (list, _) = thread.robust_list;
            (list != 0).then_some((*other, list))
        };
        let owed: Vec<(u32, u64)> = self.tids(pid).iter().filter_map(owes).collect();
        let body = self.body(pid);
        body.owed.extend(owed);
        body.ending = true;
        body.stopped = false;
        body.held = false;
        body.queued = false;
        self.drop_other_threads(pid, tid);
        self.futexes.forget_thread(tid);
        self.drop_answer(tid);
        let thread = self.thread(tid);
        let forks = thread.forks().is_some();
        if let Forward::Sent { seq, .. } = thread.forward {
            let purpose = if forks {
                Purpose::Orphan
            } else {
                Purpose::Arrived
            };
            thread.forward = Forward::Sent { seq, purpose };
        }
        thread.signals.due = None;
        thread.vfork_child = None;
        thread.traced = crate::ptrace::Traced::default();
        thread.call = Some(Pending {
            number: CALL_END,
            args: [u64::from(status), 0, 0, 0, 0, 0],
        });
        match thread.run {
            Run::Running(cpu) => self.kick(cpu),
            _ => thread.run = Run::Blocked,
        }
        // Nobody waits any more for what it waits for.
        if let Forward::Sent { seq, .. } = self.thread(tid).forward {
            self.send_cancel(tid, seq);
        }
        self.wakes.push(tid);
    }
}
