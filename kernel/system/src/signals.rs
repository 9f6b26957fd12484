//! Signals: pending at home, acted on by the body at the user boundary.
//!
//! Law: a signal is taken from home exactly once, as an effect of one thread, and is then *due*: it
//! travels with that thread until it has been acted on, which is before the thread enters user mode
//! again. A signal for the process is taken by whichever thread that does not block it comes first.
//! A kill needs no cooperation of the program, wherever it is.

use crate::body::{Effects, HANDLER_DEFAULT, HANDLER_IGNORE, LIMITS};
use crate::dispatch::{CALL_STOPPED, CALL_WAIT_SIGNAL, wire_pid};
use crate::home::{Home, HomeThread, INIT, Life};
use crate::placement;
use crate::system::System;
use crate::thread::{Answer, Due, Pending};
use crate::wait::Stop;
use abi::signal::{self, Default as Action, bit, default_action};
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use machine::Access;
use serde::{Deserialize, Serialize};
use wire::Message;

/// Signals from here on are queued one by one (signal(7), "Real-time signals").
pub(crate) const QUEUED: u32 = 32;
/// The most signals that wait for one process (`RLIMIT_SIGPENDING`).
pub(crate) const QUEUE_MAX: usize = 1024;

// `si_code` of sigaction(2).
/// From kill(2).
pub const SI_USER: i32 = 0;
/// From rt_sigqueueinfo(2).
pub const SI_QUEUE: i32 = -1;
/// From tkill(2).
pub const SI_TKILL: i32 = -6;
/// From the kernel.
pub const SI_KERNEL: i32 = 0x80;
/// A child exited, was killed, was stopped, went on.
pub const CLD_EXITED: i32 = 1;
/// See [`CLD_EXITED`].
pub const CLD_KILLED: i32 = 2;
/// See [`CLD_EXITED`]; a tracee stands.
pub const CLD_TRAPPED: i32 = 4;
/// See [`CLD_EXITED`].
pub const CLD_STOPPED: i32 = 5;
/// See [`CLD_EXITED`].
pub const CLD_CONTINUED: i32 = 6;

/// What a handler learns of a signal: the parts of `siginfo_t` that are not zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignalInfo {
    /// Which signal, from 1; 0 is none.
    pub signal: u32,
    /// `SI_*` and the like.
    pub code: i32,
    /// The eight bytes from offset 16 (sender's pid and user, or an address) and from 24 (status of
    /// a child, or the value of sigqueue(3)).
    pub words: [u64; 2],
    /// What else somebody has said who made the record himself: nothing of it means anything here.
    pub rest: InfoRest,
}

/// The parts of `siginfo_t` that only come from rt_sigqueueinfo(2), and are handed on as they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InfoRest {
    /// `si_errno`.
    pub errno: u32,
    /// The four bytes from offset 12, which are none of any field's.
    pub gap: u32,
    /// The sixteen bytes from offset 32, the last ones that Linux keeps.
    pub tail: [u64; 2],
}

/// What the processor said of an exception that became a signal: handlers find it in their context. On its
/// way it is in the gap of a record that the kernel has made, which user mode gets empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Trap {
    /// Its vector.
    pub(crate) vector: u8,
    /// Its error code (SDM volume 3, section 6.13).
    pub(crate) error: u16,
}

/// The vector of page faults.
pub(crate) const PAGE_FAULT: u8 = 14;

impl Trap {
    /// A page fault of user mode; `protection` as [`machine::Exit::PageFault`] has it.
    pub(crate) fn page_fault(access: Access, protection: bool) -> Trap {
        const USER: u16 = 4;
        let how = match access {
            Access::WRITE => 2,
            Access::EXECUTE => 16,
            _ => 0,
        };
        Trap {
            vector: PAGE_FAULT,
            error: USER | how | u16::from(protection),
        }
    }

    fn packed(self) -> u32 {
        u32::from(self.vector) | u32::from(self.error) << 8
    }

    /// Takes it out of the record of a forced signal.
    pub(crate) fn take_from(info: &mut SignalInfo) -> Trap {
        let [vector, low, high, _] = core::mem::take(&mut info.rest.gap).to_le_bytes();
        let error = u16::from_le_bytes([low, high]);
        Trap { vector, error }
    }
}

/// Bytes of a [`SignalInfo`] on its way: as many as Linux keeps of a `siginfo_t`.
pub const INFO_BYTES: usize = 48;

impl SignalInfo {
    /// A signal from the kernel itself.
    pub fn kernel(signal: u32) -> SignalInfo {
        SignalInfo {
            signal,
            code: SI_KERNEL,
            ..SignalInfo::default()
        }
    }

    /// The beginning of a `siginfo_t`, which is all that is kept of it.
    pub fn to_bytes(self) -> [u8; INFO_BYTES] {
        let InfoRest { errno, gap, tail } = self.rest;
        let words = [
            u64::from(self.signal) | u64::from(errno) << 32,
            u64::from(self.code as u32) | u64::from(gap) << 32,
            self.words[0],
            self.words[1],
            tail[0],
            tail[1],
        ];
        let mut bytes = [0; INFO_BYTES];
        for (place, word) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(words) {
            *place = word.to_le_bytes();
        }
        bytes
    }

    /// What [`SignalInfo::to_bytes`] made; `None` if it is no signal.
    pub fn from_bytes(bytes: &[u8; INFO_BYTES]) -> Option<SignalInfo> {
        let word = |at: usize| u64::from_le_bytes(core::array::from_fn(|byte| bytes[at + byte]));
        let signal = word(0) as u32;
        let info = SignalInfo {
            signal,
            code: word(8) as i32,
            words: [word(16), word(24)],
            rest: InfoRest {
                errno: (word(0) >> 32) as u32,
                gap: (word(8) >> 32) as u32,
                tail: [word(32), word(40)],
            },
        };
        (1..=signal::SIGNAL_MAX).contains(&signal).then_some(info)
    }

    /// `siginfo_t` as users see it.
    pub fn to_user(self) -> [u8; 128] {
        let mut bytes = [0; 128];
        bytes[..INFO_BYTES].copy_from_slice(&self.to_bytes());
        bytes
    }
}

/// Signals that stop a process.
pub(crate) const STOPS: u64 = 0xf << (signal::SIGSTOP - 1);

/// Signals that wait to be taken.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingSignals {
    set: u64,
    /// What is known of them, oldest first.
    queue: VecDeque<SignalInfo>,
}

impl PendingSignals {
    /// How many are queued.
    pub fn count(&self) -> usize {
        self.queue.len()
    }

    /// Which ones, a bit each.
    pub fn set(&self) -> u64 {
        self.set
    }

    /// The lowest of a set of signals, which is taken.
    pub(crate) fn take_of(&mut self, set: u64) -> Option<SignalInfo> {
        let free = self.set & set;
        if free == 0 {
            return None;
        }
        // A kill overtakes everything.
        let taken = if free & bit(signal::SIGKILL) != 0 {
            signal::SIGKILL
        } else {
            free.trailing_zeros() + 1
        };
        let at = self.queue.iter().position(|info| info.signal == taken);
        let info = at.and_then(|at| self.queue.remove(at));
        if !self.queue.iter().any(|info| info.signal == taken) {
            self.set &= !bit(taken);
        }
        Some(info.unwrap_or(SignalInfo::kernel(taken)))
    }

    /// Forgets signals of a set.
    pub(crate) fn forget(&mut self, set: u64) {
        self.set &= !set;
        self.queue.retain(|info| bit(info.signal) & set == 0);
    }

    /// Forgets the first signal of this kind.
    pub(crate) fn forget_one(&mut self, of_kind: impl Fn(&SignalInfo) -> bool) {
        let at = self.queue.iter().position(of_kind);
        let Some(info) = at.and_then(|at| self.queue.remove(at)) else {
            return;
        };
        if !self.queue.iter().any(|other| other.signal == info.signal) {
            self.set &= !bit(info.signal);
        }
    }

    /// What a disk has kept of them, but for what is no signal.
    pub(crate) fn again(kept: &PendingSignals) -> PendingSignals {
        let exists = |info: &&SignalInfo| (1..=signal::SIGNAL_MAX).contains(&info.signal);
        let queue = kept.queue.iter().filter(exists).take(QUEUE_MAX);
        let queue: VecDeque<SignalInfo> = queue.copied().collect();
        let queued = queue.iter().fold(0, |set, info| set | bit(info.signal));
        PendingSignals {
            set: kept.set | queued,
            queue,
        }
    }

    pub(crate) fn enqueue(&mut self, info: SignalInfo) {
        let again = self.set & bit(info.signal) != 0;
        self.set |= bit(info.signal);
        let queues = info.signal >= QUEUED || info.code == crate::timers::SI_TIMER;
        if (!again || queues) && self.queue.len() < QUEUE_MAX {
            self.queue.push_back(info);
        }
    }
}

impl HomeThread {
    /// Of pending signals those that the thread does not know of, or does not block as far as home
    /// knows.
    fn news(&self, pending: u64) -> u64 {
        pending & !(self.blocked & self.held_back)
    }
}

impl Home {
    /// Whether a signal is pending that a thread does not know of, or does not block as far as home
    /// knows.
    pub(crate) fn signal_waits(&self, tid: u32) -> bool {
        let pending = self.takable(tid);
        let thread = self.threads.get(&tid);
        thread.is_some_and(|thread| thread.news(pending) != 0)
    }

    /// What is pending for a thread: its own signals and those of the process.
    pub(crate) fn pending_for(&self, tid: u32) -> u64 {
        let own = self.threads.get(&tid).map_or(0, |own| own.pending.set());
        own | self.pending.set()
    }

    /// Pending signals, less those that a stopped process does not see.
    fn takable(&self, tid: u32) -> u64 {
        let traced = || self.threads.get(&tid).is_some_and(|thread| thread.traced);
        match self.life {
            Life::Stopped { .. } if !traced() => self.pending_for(tid) & bit(signal::SIGKILL),
            _ => self.pending_for(tid),
        }
    }

    /// Whether there is something to be asked for: signals, also those that it blocks, as it has to know
    /// of them when it lets them through, and limits and a policy that others have set. A body that changes hands asks
    /// then.
    pub(crate) fn has_signals(&self) -> bool {
        let mut threads = self.threads.values();
        self.ordered || self.pending.set() != 0 || threads.any(|thread| thread.pending.set() != 0)
    }

    /// The lowest pending signal outside of what a thread blocks, which it takes.
    pub(crate) fn take_signal(&mut self, tid: u32, mask: u64) -> Option<SignalInfo> {
        let (takable, pending) = (self.takable(tid), self.pending_for(tid));
        let thread = self.threads.get_mut(&tid)?;
        thread.blocked = mask & !signal::UNBLOCKABLE;
        thread.held_back = pending & thread.blocked;
        let free = takable & !thread.blocked;
        self.take_of(tid, free)
    }

    /// The lowest pending signal of a set, which a thread takes: its own before the process's, but
    /// for a kill.
    pub(crate) fn take_of(&mut self, tid: u32, set: u64) -> Option<SignalInfo> {
        let kill = set & self.pending.set() & bit(signal::SIGKILL);
        if kill != 0 {
            return self.pending.take_of(kill);
        }
        let thread = self.threads.get_mut(&tid);
        let own = thread.and_then(|thread| thread.pending.take_of(set));
        let mut info = own.or_else(|| self.pending.take_of(set))?;
        self.timers.taken(&mut info);
        Some(info)
    }

    /// Forgets pending signals of a set.
    pub(crate) fn forget_signals(&mut self, set: u64) {
        self.pending.forget(set);
        for thread in self.threads.values_mut() {
            thread.pending.forget(set);
        }
    }

    /// Whether a call of a thread elsewhere waits here.
    fn waits(&self, tid: u32) -> bool {
        let thread = self.threads.get(&tid);
        thread.is_some_and(|thread| thread.remote.is_some())
    }

    /// Whether a call of a thread that is executed here ends by a signal instead of being
    /// interrupted by it.
    fn awaits(&self, tid: u32, signal: u32) -> bool {
        let remote = self.threads.get(&tid);
        let remote = remote.and_then(|thread| thread.remote.as_ref());
        remote.is_some_and(|remote| {
            remote.request.number == CALL_WAIT_SIGNAL && remote.request.args[0] & bit(signal) != 0
        })
    }
}

impl System {
    /// Makes a signal of the kernel's pending for a process whose home this is.
    pub(crate) fn signal(&mut self, pid: u32, signal: u32) {
        self.signal_with(pid, SignalInfo::kernel(signal));
    }

    /// Makes a signal pending for a process whose home this is.
    pub(crate) fn signal_with(&mut self, pid: u32, info: SignalInfo) {
        self.post(pid, None, info);
    }

    /// Makes a signal pending for one thread of a process whose home this is.
    pub(crate) fn signal_thread(&mut self, pid: u32, tid: u32, info: SignalInfo) {
        self.post(pid, Some(tid), info);
    }

    fn post(&mut self, pid: u32, to: Option<u32>, info: SignalInfo) {
        let Some(home) = self.homes.get_mut(&pid).filter(|home| home.lives()) else {
            return;
        };
        let mut goes_on = None;
        if info.signal == signal::SIGCONT {
            home.forget_signals(STOPS);
            if matches!(home.life, Life::Stopped { .. }) {
                home.life = Life::Alive;
                home.continued = true;
                goes_on = Some(home.parent);
            }
        } else if STOPS & bit(info.signal) != 0 {
            home.forget_signals(bit(signal::SIGCONT));
        }
        // A kill is the process's, whoever was meant.
        let to = to.filter(|_| info.signal != signal::SIGKILL);
        match to {
            None => home.pending.enqueue(info),
            Some(tid) => match home.threads.get_mut(&tid) {
                Some(thread) => thread.pending.enqueue(info),
                None => return,
            },
        }
        home.signalled.wake();
        // Who sent it is told that it was sent, and that a stopped one goes on.
        self.keeper.touch(pid);
        self.announce(pid, to, info.signal);
        if let Some(parent) = goes_on {
            self.child_changed(parent, pid, CLD_CONTINUED, signal::SIGCONT);
        }
        if info.signal == signal::SIGCONT {
            self.group_changed(pid);
        }
    }

    /// Lets the threads look that may have to do with a signal that has become pending.
    fn announce(&mut self, pid: u32, to: Option<u32>, signal: u32) {
        let Some(home) = self.homes.get(&pid) else {
            return;
        };
        let gate = home.record.gate();
        let (owner, epoch) = (gate.owner(), gate.epoch());
        let all = to.is_none();
        let meant = |tid: &u32| all || to == Some(*tid);
        let tids: Vec<u32> = home.threads.keys().copied().filter(meant).collect();
        if owner != self.me && signal == signal::SIGKILL && self.reachable(owner).is_err() {
            // An operator's word ends what a silent node cannot be asked to end: its copy has lost
            // its home part, so nothing it does counts any more, and it is told when it is back.
            machine::log!("process {pid}: killed out of reach, on node {}", owner.0);
            self.ended(pid, signal::SIGKILL);
            let pid = wire_pid(pid);
            return self.send(owner, Message::Lost { pid, epoch });
        }
        // What a thread blocks may have changed since it last asked: it is always told.
        let mut poke = false;
        for tid in tids {
            let home = self.homes.get(&pid);
            let waits = home.is_some_and(|home| home.waits(tid));
            let awaited = home.is_some_and(|home| home.awaits(tid, signal));
            if owner == self.me || awaited {
                self.wakes.push(tid);
            } else if waits {
                // If it still waits it is interrupted.
                self.run_remote(pid, tid);
            } else {
                poke = true;
            }
        }
        if poke {
            let (pid, thread) = (wire_pid(pid), wire_pid(to.unwrap_or(0)));
            self.send(owner, Message::Poke { pid, thread, epoch });
        }
    }

    /// Tells a parent what became of a child: `si_code` and `si_status`.
    pub(crate) fn child_changed(&mut self, parent: u32, child: u32, code: i32, status: u32) {
        let info = self.child_news(child, code, status);
        self.tell_parent(parent, info);
    }

    /// What SIGCHLD says of a child.
    pub(crate) fn child_news(&self, child: u32, code: i32, status: u32) -> SignalInfo {
        let user = self.homes.get(&child).map_or(0, |home| home.ids().uid);
        SignalInfo {
            signal: signal::SIGCHLD,
            code,
            words: [u64::from(child) | u64::from(user) << 32, u64::from(status)],
            ..SignalInfo::default()
        }
    }

    /// Sends SIGCHLD, or what the child was made to send when it ends, and wakes a parent that waits.
    pub(crate) fn tell_parent(&mut self, parent: u32, news: SignalInfo) {
        let stops = [CLD_STOPPED, CLD_CONTINUED, CLD_TRAPPED].contains(&news.code);
        let home = self.homes.get(&parent);
        let exists = (1..=signal::SIGNAL_MAX).contains(&news.signal);
        let wants = |home: &Home| {
            let ignores = home.ignores_children && news.signal == signal::SIGCHLD;
            !(ignores || stops && home.deaf_to_stops)
        };
        if exists && home.is_none_or(wants) {
            self.signal_with(parent, news);
        }
        self.children_changed(parent);
    }

    /// Acts on the signals that wait. Returns whether the thread goes on now; if not, it is blocked
    /// or asks home.
    pub(crate) fn take_signals(&mut self, tid: u32) -> bool {
        let me = self.me;
        loop {
            let Some(thread) = self.threads.get_mut(&tid) else {
                return false;
            };
            if thread.obeys_kernel() {
                return true;
            }
            let pid = thread.pid;
            if thread.traced.on && !self.tracer_lets_go(tid) {
                return false;
            }
            let thread = self.thread(tid);
            if let Some(due) = thread.signals.due {
                if !self.act(tid, due) {
                    return false;
                }
                continue;
            }
            let waits = thread.poked || thread.signal_due();
            let mask = thread.mask_now();
            let body = self.body(pid);
            if body.effects != Effects::Open {
                // What is pending is seen when home has confirmed. A process that has sent itself a
                // signal must not run on without it.
                if waits {
                    self.thread(tid).block();
                }
                return !waits;
            }
            if body.home != me {
                let (freezing, orphan) = (body.freezing, body.orphan);
                let thread = self.thread(tid);
                if waits && orphan {
                    // As above: home may have it in its journal.
                    thread.block();
                    return false;
                }
                let free = !freezing && !thread.repeats();
                if waits && (free || thread.asks_for_signals_again()) {
                    thread.block();
                    return self.ask_for_signal(tid);
                }
                return true;
            }
            if self.homes.get(&pid).is_some_and(|home| home.ordered) {
                // It has come home before it was told.
                self.obey(tid);
            }
            let Some(home) = self.homes.get_mut(&pid) else {
                return true;
            };
            let goes_on = home.life == Life::Alive;
            let info = home.take_signal(tid, mask);
            let held_back = home.threads.get(&tid).map_or(0, |thread| thread.held_back);
            // Known to the thread should it move.
            self.thread(tid).held_back = held_back;
            if goes_on {
                self.go_on(pid);
            }
            match info {
                None => return true,
                Some(info) => {
                    self.thread(tid).signals.due = Some(Due {
                        info,
                        forced: false,
                    });
                }
            }
        }
    }

    /// The process is not stopped, or no longer.
    fn go_on(&mut self, pid: u32) {
        if core::mem::take(&mut self.body(pid).stopped) {
            self.wake_threads(pid);
        }
    }

    /// Lets all threads of a process look again.
    pub(crate) fn wake_threads(&mut self, pid: u32) {
        for tid in self.tids(pid) {
            self.wakes.push(tid);
        }
    }

    /// What home says to a thread that asks for a signal.
    pub(crate) fn signal_answer(&mut self, pid: u32, tid: u32, mask: u64) -> Vec<u8> {
        let Some(home) = self.homes.get_mut(&pid) else {
            return Vec::new();
        };
        let info = home.take_signal(tid, mask).unwrap_or_default();
        #[cfg(feature = "canary")]
        if info.signal != 0 && self.canary == Some(crate::inside::Canary::SignalsTwice) {
            home.pending.enqueue(info);
        }
        let held_back = home.threads.get(&tid).map_or(0, |thread| thread.held_back);
        let mut bytes = held_back.to_le_bytes().to_vec();
        bytes.extend_from_slice(&info.to_bytes());
        bytes.push(u8::from(home.life == Life::Alive));
        let kept = home.threads.get(&tid);
        let orders = kept.map_or((0, [0; 16]), |kept| (kept.scheduling.processors, kept.name));
        bytes.extend_from_slice(&orders.0.to_le_bytes());
        bytes.extend_from_slice(&orders.1);
        if let Some((limits, policy)) = home.take_orders() {
            for (soft, hard) in limits {
                bytes.extend_from_slice(&soft.to_le_bytes());
                bytes.extend_from_slice(&hard.to_le_bytes());
            }
            let policy = u64::from(placement::word_of(policy));
            bytes.extend_from_slice(&policy.to_le_bytes());
        }
        bytes
    }

    /// The answer to the question for a signal: what [`System::signal_answer`] made.
    pub(crate) fn signal_came(&mut self, tid: u32, answer: &Answer) {
        let bytes = answer.buffers.get(0).unwrap_or(&[]);
        let Some((pending, rest)) = bytes.split_first_chunk::<8>() else {
            return;
        };
        let Some((info, rest)) = rest.split_first_chunk::<INFO_BYTES>() else {
            return;
        };
        let Some(([alive], orders)) = rest.split_first_chunk::<1>() else {
            return;
        };
        if let Some((processors, name)) = orders.split_first_chunk::<8>()
            && let Some((name, others)) = name.split_first_chunk::<16>()
        {
            let name = *name;
            self.take_orders(tid, others);
            let thread = self.thread(tid);
            thread.processors = u64::from_le_bytes(*processors);
            thread.name = name;
        }
        let info = SignalInfo::from_bytes(info);
        let thread = self.thread(tid);
        thread.held_back = u64::from_le_bytes(*pending);
        // There may be more of them.
        thread.poked |= info.is_some();
        if let Some(info) = info {
            thread.signals.due = Some(Due {
                info,
                forced: false,
            });
        }
        let pid = thread.pid;
        if *alive == 1 {
            self.go_on(pid);
        }
    }

    /// Limits and a policy that somebody else has changed come with the answer, if there are any.
    fn take_orders(&mut self, tid: u32, orders: &[u8]) {
        let (words, _) = orders.as_chunks::<8>();
        if words.len() != 2 * LIMITS + 1 {
            return;
        }
        let word = |at: usize| u64::from_le_bytes(words[at]);
        let limits = core::array::from_fn(|at| (word(2 * at), word(2 * at + 1)));
        let policy = u32::try_from(word(2 * LIMITS)).unwrap_or(u32::MAX);
        let pid = self.thread(tid).pid;
        if let Some(policy) = placement::of_word(policy) {
            self.body(pid).obey((limits, policy));
        }
    }

    /// Does what the process wants done about a signal. Returns whether it was done; if not, the
    /// thread is blocked and tries again.
    fn act(&mut self, tid: u32, due: Due) -> bool {
        let thread = self.thread(tid);
        let (pid, signal) = (thread.pid, due.info.signal);
        let action = self.body(pid).actions.of(signal);
        let thread = self.thread(tid);
        if due.forced && (action.handler <= HANDLER_IGNORE || !thread.signals.lets_through(signal))
        {
            if self.stands_before_end(tid, signal) {
                return false;
            }
            let thread = self.thread(tid);
            let (rip, name) = (thread.registers.rip, thread.name);
            let name = core::str::from_utf8(&name)
                .unwrap_or("?")
                .trim_end_matches('\0');
            let address = due.info.words[0];
            machine::log!(
                "process {pid} ({name}): signal {signal} at {rip:#x}, address {address:#x}"
            );
            self.end_by(tid, signal);
            return true;
        }
        if signal != signal::SIGKILL && signal != signal::SIGSTOP && action.handler > HANDLER_IGNORE
        {
            return match self.deliver(tid, due.info, action) {
                Ok(()) => {
                    self.handler_is_a_step(tid);
                    true
                }
                Err(Stop::Wait) => {
                    self.thread(tid).block();
                    false
                }
                // As Linux: a stack that cannot take the frame is a SIGSEGV that cannot be caught.
                Err(Stop::Errno(_)) => {
                    self.end_by(tid, signal::SIGSEGV);
                    true
                }
            };
        }
        // The end of the first process would be the node's: it gets only what it asked for.
        let first = pid == INIT;
        let ends = matches!(default_action(signal), Action::Terminate | Action::Core)
            && action.handler == HANDLER_DEFAULT
            && signal != signal::SIGKILL;
        if ends && !first && self.stands_before_end(tid, signal) {
            return false;
        }
        self.thread(tid).signals.due = None;
        if action.handler == HANDLER_DEFAULT && !first {
            match default_action(signal) {
                Action::Terminate | Action::Core => self.end_by(tid, signal),
                Action::Ignore | Action::Continue => {}
                Action::Stop => {
                    let thread = self.thread(tid);
                    thread.rewind_call();
                    thread.call = Some(Pending {
                        number: CALL_STOPPED,
                        args: [u64::from(signal), 0, 0, 0, 0, 0],
                    });
                }
            }
        }
        true
    }

    /// A signal that the process brought on itself and cannot put off.
    pub(crate) fn force_signal(
        &mut self,
        tid: u32,
        signal: u32,
        (code, address): (i32, u64),
        trap: Trap,
    ) {
        let info = SignalInfo {
            signal,
            code,
            words: [address, 0],
            rest: InfoRest {
                gap: trap.packed(),
                ..InfoRest::default()
            },
        };
        self.thread(tid).signals.due = Some(Due { info, forced: true });
        self.advance(tid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stopping_signals_are_those_of_the_manual() {
        let stops = [19, 20, 21, 22].map(bit).iter().sum::<u64>();
        assert_eq!(STOPS, stops);
    }

    #[test]
    fn a_signal_survives_its_bytes() {
        let info = SignalInfo {
            signal: 34,
            code: SI_QUEUE,
            words: [7, u64::MAX],
            rest: InfoRest {
                errno: 3,
                gap: u32::MAX,
                tail: [1, 2],
            },
        };
        assert_eq!(SignalInfo::from_bytes(&info.to_bytes()), Some(info));
        assert_eq!(
            info.to_user()[8..16],
            [255, 255, 255, 255, 255, 255, 255, 255]
        );
        assert_eq!(SignalInfo::from_bytes(&[0; INFO_BYTES]), None);
        assert_eq!(SignalInfo::from_bytes(&[65; INFO_BYTES]), None);
    }

    /// A home part with one thread.
    fn home() -> Home {
        let mut home = Home::blank(PID, 0, &crate::wait::Wakes::new());
        home.threads.insert(PID, HomeThread::default());
        home
    }

    const PID: u32 = 65_537;

    #[test]
    fn a_signal_that_the_thread_was_not_told_of_waits_even_if_it_was_blocked() {
        let mut home = home();
        assert_eq!(home.take_signal(PID, bit(14)), None);
        home.pending.enqueue(SignalInfo::kernel(14));
        assert!(home.signal_waits(PID));
        assert_eq!(home.take_signal(PID, bit(14)), None);
        assert!(!home.signal_waits(PID));
    }

    #[test]
    fn standard_signals_merge_and_real_time_signals_queue() {
        let mut home = home();
        for (signal, value) in [(34, 1), (10, 2), (34, 3), (10, 4), (9, 5)] {
            home.pending.enqueue(SignalInfo {
                signal,
                code: SI_QUEUE,
                words: [0, value],
                ..SignalInfo::default()
            });
        }
        let mut took = Vec::new();
        while let Some(info) = home.take_signal(PID, 0) {
            took.push((info.signal, info.words[1]));
        }
        assert_eq!(took, [(9, 5), (10, 2), (34, 1), (34, 3)]);
        assert_eq!(home.pending, PendingSignals::default());
    }

    #[test]
    fn a_signal_for_one_thread_is_not_for_another_and_goes_before_the_process_s() {
        let mut home = home();
        home.threads.insert(PID + 1, HomeThread::default());
        home.pending.enqueue(SignalInfo::kernel(10));
        let own = &mut home.threads.get_mut(&PID).expect("a thread").pending;
        own.enqueue(SignalInfo::kernel(12));
        let mut took = |tid| home.take_signal(tid, 0).map(|info| info.signal);
        assert_eq!(took(PID), Some(12));
        assert_eq!(took(PID + 1), Some(10));
        assert_eq!((took(PID), took(PID + 1)), (None, None));
    }
}
