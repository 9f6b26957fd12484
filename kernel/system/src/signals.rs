//! Signals: pending at home, acted on by the body at the user boundary.
//!
//! Law: a signal is taken from home exactly once, as an effect of the process, and is then *due*: it
//! travels with the body until it has been acted on, which is before the body enters user mode again.
//! A kill needs no cooperation of the program, wherever it is.

use crate::body::{Answer, Due, Forward, HANDLER_DEFAULT, HANDLER_IGNORE, Pending, Purpose, Run};
use crate::dispatch::{CALL_END, CALL_STOPPED, CALL_WAIT_SIGNAL, wire_pid};
use crate::home::{Home, Life};
use crate::system::System;
use crate::wait::Stop;
use abi::signal::{self, Default as Action, bit, default_action};
use alloc::vec::Vec;
use wire::Message;

const CLONE: u32 = 56;
const FORK: u32 = 57;
const VFORK: u32 = 58;
/// Signals from here on are queued one by one (signal(7), "Real-time signals").
const QUEUED: u32 = 32;
/// The most signals that wait for one process (`RLIMIT_SIGPENDING`).
const QUEUE_MAX: usize = 1024;

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
/// See [`CLD_EXITED`].
pub const CLD_STOPPED: i32 = 5;
/// See [`CLD_EXITED`].
pub const CLD_CONTINUED: i32 = 6;

/// What a handler learns of a signal: the parts of `siginfo_t` that are not zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SignalInfo {
    /// Which signal, from 1; 0 is none.
    pub signal: u32,
    /// `SI_*` and the like.
    pub code: i32,
    /// The eight bytes from offset 16 (sender's pid and user, or an address) and from 24 (status of
    /// a child, or the value of sigqueue(3)).
    pub words: [u64; 2],
}

impl SignalInfo {
    /// A signal from the kernel itself.
    pub fn kernel(signal: u32) -> SignalInfo {
        SignalInfo {
            signal,
            code: SI_KERNEL,
            words: [0; 2],
        }
    }

    /// 24 bytes, little endian.
    pub fn to_bytes(self) -> [u8; 24] {
        let mut bytes = [0; 24];
        bytes[..4].copy_from_slice(&self.signal.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.code.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.words[0].to_le_bytes());
        bytes[16..].copy_from_slice(&self.words[1].to_le_bytes());
        bytes
    }

    /// What [`SignalInfo::to_bytes`] made; `None` if it is no signal.
    pub fn from_bytes(bytes: &[u8; 24]) -> Option<SignalInfo> {
        let word = |at: usize| u64::from_le_bytes(core::array::from_fn(|byte| bytes[at + byte]));
        let signal = word(0) as u32;
        let info = SignalInfo {
            signal,
            code: (word(0) >> 32) as i32,
            words: [word(8), word(16)],
        };
        (1..=signal::SIGNAL_MAX).contains(&signal).then_some(info)
    }

    /// `siginfo_t` as users see it.
    pub fn to_user(self) -> [u8; 128] {
        let mut bytes = [0; 128];
        bytes[..4].copy_from_slice(&self.signal.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.code.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.words[0].to_le_bytes());
        bytes[24..32].copy_from_slice(&self.words[1].to_le_bytes());
        bytes
    }
}

/// Signals that stop a process.
pub(crate) const STOPS: u64 = 0xf << (signal::SIGSTOP - 1);

impl Home {
    /// Whether a signal is pending that the body does not know of, or does not block as far as home
    /// knows.
    pub(crate) fn signal_waits(&self) -> bool {
        self.takable() & !(self.blocked & self.held_back) != 0
    }

    /// Pending signals, less those that a stopped process does not see.
    fn takable(&self) -> u64 {
        match self.life {
            Life::Stopped { .. } => self.pending & bit(signal::SIGKILL),
            _ => self.pending,
        }
    }

    /// Whether any signal is pending. A body that changes hands asks then, also for those that it
    /// blocks: it has to know of them when it lets them through.
    pub(crate) fn has_signals(&self) -> bool {
        self.pending != 0
    }

    /// The lowest pending signal outside `mask`, which is taken.
    pub(crate) fn take_signal(&mut self, mask: u64) -> Option<SignalInfo> {
        self.blocked = mask & !signal::UNBLOCKABLE;
        self.held_back = self.pending & self.blocked;
        self.take_of(self.takable() & !self.blocked)
    }

    /// The lowest pending signal of a set, which is taken.
    pub(crate) fn take_of(&mut self, set: u64) -> Option<SignalInfo> {
        let free = self.pending & set;
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
            self.pending &= !bit(taken);
        }
        let mut info = info.unwrap_or(SignalInfo::kernel(taken));
        self.timers.taken(&mut info);
        Some(info)
    }

    /// Forgets pending signals of a set.
    pub(crate) fn forget_signals(&mut self, set: u64) {
        self.pending &= !set;
        self.queue.retain(|info| bit(info.signal) & set == 0);
    }

    fn enqueue(&mut self, info: SignalInfo) {
        let again = self.pending & bit(info.signal) != 0;
        self.pending |= bit(info.signal);
        let queues = info.signal >= QUEUED || info.code == crate::timers::SI_TIMER;
        if (!again || queues) && self.queue.len() < QUEUE_MAX {
            self.queue.push_back(info);
        }
        self.signalled.wake();
    }
}

impl System {
    /// Makes a signal of the kernel's pending for a process whose home this is.
    pub(crate) fn signal(&mut self, pid: u32, signal: u32) {
        self.signal_with(pid, SignalInfo::kernel(signal));
    }

    /// Makes a signal pending for a process whose home this is.
    pub(crate) fn signal_with(&mut self, pid: u32, info: SignalInfo) {
        let me = self.me;
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
        home.enqueue(info);
        let gate = home.record.gate();
        let (owner, epoch) = (gate.owner(), gate.epoch());
        // A call that waits for just this signal ends by it and is not interrupted.
        let waited_for = home.remote.as_ref().is_some_and(|remote| {
            remote.request.number == CALL_WAIT_SIGNAL
                && remote.request.args[0] & bit(info.signal) != 0
        });
        let waiting = home.remote.as_ref().map(|remote| remote.seq);
        if owner != me && info.signal == signal::SIGKILL && self.reachable(owner).is_err() {
            // An operator's word ends what a silent node cannot be asked to end: its copy has lost
            // its home part, so nothing it does counts any more, and it is told when it is back.
            machine::log!("process {pid}: killed out of reach, on node {}", owner.0);
            self.ended(pid, signal::SIGKILL);
            let pid = wire_pid(pid);
            self.send(owner, Message::Lost { pid, epoch });
            return;
        }
        // What the body blocks may have changed since it last asked: it is always told.
        if owner == me || waited_for {
            self.wakes.push(pid);
        } else if let Some(seq) = waiting {
            self.interrupt_remote(pid, seq);
        } else {
            let pid = wire_pid(pid);
            self.send(owner, Message::Poke { pid, epoch });
        }
        if let Some(parent) = goes_on {
            self.child_changed(parent, pid, CLD_CONTINUED, signal::SIGCONT);
        }
    }

    /// Tells a parent what became of a child: `si_code` and `si_status`.
    pub(crate) fn child_changed(&mut self, parent: u32, child: u32, code: i32, status: u32) {
        let user = self.homes.get(&child).map_or(0, |home| home.ids.uid);
        self.signal_with(
            parent,
            SignalInfo {
                signal: signal::SIGCHLD,
                code,
                words: [u64::from(child) | u64::from(user) << 32, u64::from(status)],
            },
        );
        self.children_changed(parent);
    }

    /// Acts on the signals that wait. Returns whether the body goes on now; if not, it is blocked,
    /// stopped or asks home.
    pub(crate) fn take_signals(&mut self, pid: u32) -> bool {
        let me = self.me;
        loop {
            let body = self.body(pid);
            if body.obeys_kernel() {
                return true;
            }
            if let Some(due) = body.signals.due {
                if !self.act(pid, due) {
                    return false;
                }
                continue;
            }
            if body.effects == crate::body::Effects::Gated {
                // What is pending is seen when home has confirmed. A process that has sent itself a
                // signal must not run on without it.
                let waits = body.poked || body.signal_due();
                if waits {
                    body.block();
                }
                return !waits;
            }
            if body.home != me {
                if (body.poked || body.signal_due()) && !body.freezing {
                    body.block();
                    return self.ask_for_signal(pid);
                }
                return true;
            }
            body.held_back = 0;
            let mask = body.signals.mask;
            let Some(home) = self.homes.get_mut(&pid) else {
                return true;
            };
            let goes_on = home.life == Life::Alive;
            let info = home.take_signal(mask);
            let held_back = home.held_back;
            let body = self.body(pid);
            // Known to the body should it move.
            body.held_back = held_back;
            if goes_on && body.run == Run::Stopped {
                body.run = Run::Blocked;
            }
            match info {
                None => return true,
                Some(info) => {
                    body.signals.due = Some(Due {
                        info,
                        forced: false,
                    });
                }
            }
        }
    }

    /// What home says to a body that asks for a signal.
    pub(crate) fn signal_answer(&mut self, pid: u32, mask: u64) -> Vec<u8> {
        let Some(home) = self.homes.get_mut(&pid) else {
            return Vec::new();
        };
        let info = home.take_signal(mask).unwrap_or_default();
        #[cfg(test)]
        if info.signal != 0 && self.canary == Some(crate::cluster_tests::Canary::SignalsTwice) {
            home.pending |= bit(info.signal);
        }
        let mut bytes = home.held_back.to_le_bytes().to_vec();
        bytes.extend_from_slice(&info.to_bytes());
        bytes.push(u8::from(home.life == Life::Alive));
        bytes
    }

    /// The answer to the question for a signal: what [`System::signal_answer`] made.
    pub(crate) fn signal_came(&mut self, pid: u32, answer: &Answer) {
        let bytes = answer.buffers.get(0).unwrap_or(&[]);
        let Some((pending, rest)) = bytes.split_first_chunk::<8>() else {
            return;
        };
        let Some((info, alive)) = rest.split_first_chunk::<24>() else {
            return;
        };
        let info = SignalInfo::from_bytes(info);
        let body = self.body(pid);
        body.held_back = u64::from_le_bytes(*pending);
        // There may be more of them.
        body.poked |= info.is_some();
        if alive == [1] && body.run == Run::Stopped {
            body.run = Run::Blocked;
        }
        if let Some(info) = info {
            body.signals.due = Some(Due {
                info,
                forced: false,
            });
        }
    }

    /// Does what the process wants done about a signal. Returns whether it was done; if not, the body
    /// is blocked and tries again.
    fn act(&mut self, pid: u32, due: Due) -> bool {
        let body = self.body(pid);
        let signal = due.info.signal;
        let action = body.signals.action(signal);
        if due.forced && (action.handler <= HANDLER_IGNORE || !body.signals.lets_through(signal)) {
            let (rip, name) = (body.registers.rip, body.name);
            let name = core::str::from_utf8(&name)
                .unwrap_or("?")
                .trim_end_matches('\0');
            let address = due.info.words[0];
            machine::log!(
                "process {pid} ({name}): signal {signal} at {rip:#x}, address {address:#x}"
            );
            self.die(pid, signal);
            return true;
        }
        if signal != signal::SIGKILL && signal != signal::SIGSTOP && action.handler > HANDLER_IGNORE
        {
            return match self.deliver(pid, due.info, action) {
                Ok(()) => true,
                Err(Stop::Wait) => {
                    self.body(pid).block();
                    false
                }
                // As Linux: a stack that cannot take the frame is a SIGSEGV that cannot be caught.
                Err(Stop::Errno(_)) => {
                    self.die(pid, signal::SIGSEGV);
                    true
                }
            };
        }
        body.signals.due = None;
        // The end of the first process would be the node's: it gets only what it asked for.
        let first = wire_pid(pid).serial() == 1;
        if action.handler == HANDLER_DEFAULT && !first {
            match default_action(signal) {
                Action::Terminate | Action::Core => self.die(pid, signal),
                Action::Ignore | Action::Continue => {}
                Action::Stop => {
                    body.rewind_call();
                    body.call = Some(Pending {
                        number: CALL_STOPPED,
                        args: [u64::from(signal), 0, 0, 0, 0, 0],
                    });
                }
            }
        }
        true
    }

    /// A signal that the process brought on itself and cannot put off.
    pub(crate) fn force_signal(&mut self, pid: u32, signal: u32, code: i32, address: u64) {
        let info = SignalInfo {
            signal,
            code,
            words: [address, 0],
        };
        self.body(pid).signals.due = Some(Due { info, forced: true });
        self.advance(pid);
    }

    /// Ends the process as by a signal, as soon as home agrees.
    pub(crate) fn die(&mut self, pid: u32, signal: u32) {
        let body = self.body(pid);
        let forks = body
            .call
            .is_some_and(|call| matches!(call.number, CLONE | FORK | VFORK));
        if let Forward::Sent { seq, purpose } = body.forward {
            let purpose = match purpose {
                Purpose::Call if forks => Purpose::Orphan,
                Purpose::Orphan => Purpose::Orphan,
                _ => Purpose::Arrived,
            };
            body.forward = Forward::Sent { seq, purpose };
        } else {
            body.forward = Forward::Idle;
        }
        body.run = Run::Blocked;
        body.signals.due = None;
        body.call = Some(Pending {
            number: CALL_END,
            args: [u64::from(signal), 0, 0, 0, 0, 0],
        });
        // Nobody waits any more for what it waits for.
        if let Forward::Sent { seq, .. } = body.forward {
            self.send_cancel(pid, seq);
        }
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
        };
        assert_eq!(SignalInfo::from_bytes(&info.to_bytes()), Some(info));
        assert_eq!(SignalInfo::from_bytes(&[0; 24]), None);
        assert_eq!(SignalInfo::from_bytes(&[65; 24]), None);
    }

    #[test]
    fn a_signal_that_the_body_was_not_told_of_waits_even_if_it_was_blocked() {
        let mut home = Home::blank(65_537, 0, &crate::wait::Wakes::new());
        assert_eq!(home.take_signal(bit(14)), None);
        home.enqueue(SignalInfo::kernel(14));
        assert!(home.signal_waits());
        assert_eq!(home.take_signal(bit(14)), None);
        assert!(!home.signal_waits());
    }

    #[test]
    fn standard_signals_merge_and_real_time_signals_queue() {
        let mut home = Home::blank(65_537, 0, &crate::wait::Wakes::new());
        for (signal, value) in [(34, 1), (10, 2), (34, 3), (10, 4), (9, 5)] {
            home.enqueue(SignalInfo {
                signal,
                code: SI_QUEUE,
                words: [0, value],
            });
        }
        let mut took = Vec::new();
        while let Some(info) = home.take_signal(0) {
            took.push((info.signal, info.words[1]));
        }
        assert_eq!(took, [(9, 5), (10, 2), (34, 1), (34, 3)]);
        assert_eq!(home.pending, 0);
    }
}
