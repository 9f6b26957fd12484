//! Signals: pending at home, acted on by the body at the user boundary.
//!
//! Law: a signal is taken from home exactly once, as an effect of the process, and acted on before
//! the body enters user mode again. A kill needs no cooperation of the program, wherever it is.

use crate::body::{Answer, Forward, HANDLER_DEFAULT, HANDLER_IGNORE, Pending, Purpose, Run};
use crate::dispatch::{CALL_END, CALL_STOPPED, wire_pid};
use crate::home::{Home, Life};
use crate::system::System;
use abi::signal::{self, Default as Action, bit, default_action};
use wire::Message;

impl Home {
    /// Whether a signal is pending that the body does not know of, or does not block as far as home
    /// knows.
    pub(crate) fn signal_waits(&self) -> bool {
        self.pending & !(self.blocked & self.held_back) != 0
    }

    /// Whether any signal is pending. A body that changes hands asks then, also for those that it
    /// blocks: it has to know of them when it lets them through.
    pub(crate) fn has_signals(&self) -> bool {
        self.pending != 0
    }

    /// The lowest pending signal outside `mask`, which is taken.
    pub(crate) fn take_signal(&mut self, mask: u64) -> u32 {
        self.blocked = mask & !signal::UNBLOCKABLE;
        let free = self.pending & !self.blocked;
        self.held_back = self.pending & self.blocked;
        // A kill overtakes everything.
        let taken = if free & bit(signal::SIGKILL) != 0 {
            signal::SIGKILL
        } else {
            free.trailing_zeros() + 1
        };
        if free == 0 {
            return 0;
        }
        self.pending &= !bit(taken);
        if taken == signal::SIGCONT && matches!(self.life, Life::Stopped { .. }) {
            self.life = Life::Alive;
        }
        taken
    }
}

impl System {
    /// Makes a signal pending for a process whose home this is.
    pub(crate) fn signal(&mut self, pid: u32, signal: u32) {
        let me = self.me;
        let Some(home) = self.homes.get_mut(&pid).filter(|home| home.lives()) else {
            return;
        };
        let stops = bit(signal::SIGSTOP)
            | bit(signal::SIGTSTP)
            | bit(signal::SIGTTIN)
            | bit(signal::SIGTTOU);
        if signal == signal::SIGCONT {
            home.pending &= !stops;
            if matches!(home.life, Life::Stopped { .. }) {
                home.life = Life::Alive;
            }
        } else if stops & bit(signal) != 0 {
            home.pending &= !bit(signal::SIGCONT);
        }
        home.pending |= bit(signal);
        let gate = home.record.gate();
        let (owner, epoch) = (gate.owner(), gate.epoch());
        let waiting = home.remote.as_ref().map(|remote| remote.seq);
        if owner == me {
            self.wakes.push(pid);
            return;
        }
        if signal == signal::SIGKILL && self.reachable(owner).is_err() {
            // An operator's word ends what a silent node cannot be asked to end: its copy has lost
            // its home part, so nothing it does counts any more, and it is told when it is back.
            machine::log!("process {pid}: killed out of reach, on node {}", owner.0);
            self.ended(pid, signal::SIGKILL);
            self.send(
                owner,
                Message::Lost {
                    pid: wire_pid(pid),
                    epoch,
                },
            );
            return;
        }
        let Some(home) = self.homes.get(&pid) else {
            return;
        };
        match waiting {
            Some(seq) if home.signal_waits() => self.interrupt_remote(pid, seq),
            // Also for a signal that is blocked as far as home knows: the body has to know of it.
            _ => self.send(
                owner,
                Message::Poke {
                    pid: wire_pid(pid),
                    epoch,
                },
            ),
        }
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
            if body.effects == crate::body::Effects::Gated {
                // What is pending is seen when home has confirmed.
                return true;
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
            let signal = home.take_signal(mask);
            // Known to the body should it move.
            let held_back = home.held_back;
            self.body(pid).held_back = held_back;
            if signal == 0 {
                return true;
            }
            self.act(pid, signal);
        }
    }

    /// The answer to the question for a signal: its number, 0 for none.
    pub(crate) fn signal_came(&mut self, pid: u32, answer: &Answer) {
        let Ok(signal) = u32::try_from(answer.value) else {
            return;
        };
        let pending = answer
            .buffers
            .get(0)
            .and_then(|bytes| bytes.try_into().ok())
            .map_or(0, u64::from_le_bytes);
        self.body(pid).held_back = pending;
        if (1..=signal::SIGNAL_MAX).contains(&signal) {
            self.act(pid, signal);
        }
    }

    /// Does what the process wants done about a signal.
    fn act(&mut self, pid: u32, signal: u32) {
        let body = self.body(pid);
        if signal == signal::SIGCONT && body.run == Run::Stopped {
            body.run = Run::Blocked;
        }
        if signal == signal::SIGKILL {
            return self.die(pid, signal);
        }
        match body.signals.action(signal).handler {
            HANDLER_IGNORE => {}
            // The end of the first process would be the node's: it gets only what it asked for.
            HANDLER_DEFAULT if wire_pid(pid).serial() == 1 => {}
            HANDLER_DEFAULT => match default_action(signal) {
                Action::Terminate | Action::Core => self.die(pid, signal),
                Action::Ignore | Action::Continue => {}
                Action::Stop => {
                    body.rewind_call();
                    body.call = Some(Pending {
                        number: CALL_STOPPED,
                        args: [u64::from(signal), 0, 0, 0, 0, 0],
                    });
                }
            },
            _ => self.deliver(pid, signal),
        }
    }

    /// A signal that the process brought on itself and cannot put off.
    pub(crate) fn force_signal(&mut self, pid: u32, signal: u32, address: u64) {
        let body = self.body(pid);
        let action = body.signals.action(signal);
        let caught = action.handler > HANDLER_IGNORE && body.signals.lets_through(signal);
        if caught {
            self.deliver_fault(pid, signal, address);
        } else {
            let (rip, name) = (body.registers.rip, body.name);
            let name = core::str::from_utf8(&name)
                .unwrap_or("?")
                .trim_end_matches('\0');
            machine::log!(
                "process {pid} ({name}): signal {signal} at {rip:#x}, address {address:#x}"
            );
            self.die(pid, signal);
        }
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

const CLONE: u32 = 56;
const FORK: u32 = 57;
const VFORK: u32 = 58;
