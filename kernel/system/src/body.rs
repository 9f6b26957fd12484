//! The part of a process that runs: memory, registers, signal dispositions.
//!
//! Law: a body that is not running is at the user boundary. Whatever it waits for is written here,
//! and either travels in the descriptor or is drained before a freeze. What others see of the
//! process (pid, files, parent, children) is not here but in its `Home`.

use crate::buffers::Buffers;
use crate::exec::{Loaded, Opened};
use crate::memory::Space;
use crate::signals::SignalInfo;
use abi::signal::{SIGNAL_MAX, UNBLOCKABLE, bit};
use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use machine::{FpuState, Registers};
use wire::NodeId;

/// `SIG_DFL` and `SIG_IGN` of sigaction(2).
pub const HANDLER_DEFAULT: u64 = 0;
/// See [`HANDLER_DEFAULT`].
pub const HANDLER_IGNORE: u64 = 1;

/// What the process said about one signal (`struct kernel_sigaction`).
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct SignalAction {
    /// Address of the handler, or 0 or 1.
    pub handler: u64,
    /// `SA_*`.
    pub flags: u64,
    /// Where the handler returns to.
    pub restorer: u64,
    /// Signals blocked meanwhile.
    pub mask: u64,
}

/// `stack_t` of sigaltstack(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AltStack {
    /// Lowest address.
    pub base: u64,
    /// Bytes.
    pub size: u64,
    /// `SS_*`.
    pub flags: u32,
}

impl AltStack {
    /// Whether a stack pointer is on it.
    pub fn holds(&self, rsp: u64) -> bool {
        let depth = rsp.wrapping_sub(self.base);
        self.flags & SS_DISABLE == 0 && depth > 0 && depth <= self.size
    }
}

/// `SS_DISABLE`.
pub const SS_DISABLE: u32 = 2;

/// Signal state that travels with the body.
#[derive(Clone, Debug)]
pub struct Signals {
    /// By number, 1 first.
    pub actions: [SignalAction; SIGNAL_MAX as usize],
    /// Blocked signals.
    pub mask: u64,
    /// The alternate stack.
    pub alt_stack: AltStack,
    /// The mask to come back when the call under way ends, if that call has put another in its place.
    pub saved_mask: Option<u64>,
    /// Taken from home and not acted on yet.
    pub due: Option<Due>,
}

/// A signal between its being taken and its being acted on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// Which, and what a handler is told of it.
    pub info: SignalInfo,
    /// The process brought it on itself and cannot put it off.
    pub forced: bool,
}

impl Default for Signals {
    fn default() -> Signals {
        Signals {
            actions: [SignalAction::default(); SIGNAL_MAX as usize],
            mask: 0,
            alt_stack: AltStack {
                base: 0,
                size: 0,
                flags: SS_DISABLE,
            },
            saved_mask: None,
            due: None,
        }
    }
}

impl Signals {
    /// The action for a signal from 1 to 64.
    pub fn action(&self, signal: u32) -> SignalAction {
        self.actions[signal as usize - 1]
    }

    /// What execve(2) does: handlers are gone, ignored stays ignored.
    pub fn reset_for_exec(&mut self) {
        for action in &mut self.actions {
            let handler = if action.handler == HANDLER_IGNORE {
                HANDLER_IGNORE
            } else {
                HANDLER_DEFAULT
            };
            *action = SignalAction {
                handler,
                ..SignalAction::default()
            };
        }
        self.alt_stack = AltStack {
            base: 0,
            size: 0,
            flags: SS_DISABLE,
        };
    }

    /// Blocks exactly these, except what cannot be blocked.
    pub fn set_mask(&mut self, mask: u64) {
        self.mask = mask & !UNBLOCKABLE;
    }

    /// Whether the process ignores a signal, by its own word or by default.
    pub fn ignores(&self, signal: u32) -> bool {
        use abi::signal::{Default as Action, default_action};
        match self.action(signal).handler {
            HANDLER_IGNORE => signal != abi::signal::SIGKILL && signal != abi::signal::SIGSTOP,
            HANDLER_DEFAULT => default_action(signal) == Action::Ignore,
            _ => false,
        }
    }

    /// Whether a signal may be handed to the process now.
    pub fn lets_through(&self, signal: u32) -> bool {
        self.mask & bit(signal) == 0
    }
}

/// What a call has already done when it waits, so that running it again goes on instead of
/// beginning anew. Part of the descriptor; all zero outside a call.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Restart {
    /// Bytes already transferred.
    pub progress: u64,
    /// When the wait ends, by the process's monotonic clock, ns; 0 is never set.
    pub deadline_ns: u64,
    /// It has waited for something that may never come: a handler ends it instead of preceding it.
    pub begun: bool,
}

/// A system call (or a pseudo-call of the kernel's own) that has begun and not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pending {
    /// Its number.
    pub number: u32,
    /// Its arguments.
    pub args: [u64; 6],
}

/// Why a message to home is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A fork of a process that dies: a child that home has made dies with it.
    Orphan,
    /// The pending call, or part of it.
    Call,
    /// The contents of a file page for this address.
    Page(u64),
    /// The signals that wait at home.
    Signal,
    /// Nobody uses the answer: the first effect after a move, or a call given up by a kill.
    Arrived,
}

/// An answer of home.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// As Linux returns it: errors as negative errno.
    pub value: i64,
    /// What the call wrote.
    pub buffers: Buffers,
}

/// The one call to home that may be under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Forward {
    /// None.
    Idle,
    /// Sent with the sequence number; the reply is not here yet.
    Sent {
        /// Its number.
        seq: u64,
        /// What for.
        purpose: Purpose,
    },
    /// The reply to the pending call is here and has not been used.
    Ready(Answer),
}

/// Whether a body may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Run {
    /// In the run queue.
    Ready,
    /// Waits to be woken.
    Blocked,
    /// Stopped by a signal until SIGCONT.
    Stopped,
}

/// Who the process is for permissions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ids {
    /// Real, effective and saved user.
    pub uid: u32,
    /// See `uid`.
    pub euid: u32,
    /// See `uid`.
    pub suid: u32,
    /// Real, effective and saved group.
    pub gid: u32,
    /// See `gid`.
    pub egid: u32,
    /// See `gid`.
    pub sgid: u32,
}

/// Number of resource limits (getrlimit(2)).
pub const LIMITS: usize = 16;

/// A wish to move the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MoveWish {
    /// Where to.
    pub target: NodeId,
    /// Names the wish at home.
    pub request: u64,
    /// The process wrote to its own `goto` and does not go on before it is there.
    pub hold: Hold,
    /// When it was asked for, node's clock, ns.
    pub since_ns: u64,
    /// Given up if it has not begun by then, node's clock, ns.
    pub deadline_ns: u64,
}

/// Whether a process waits for its own move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// It runs on until it is frozen.
    Runs,
    /// It stays at the user boundary.
    Waits,
}

/// The running part of a process.
pub struct Body {
    /// The process.
    pub pid: u32,
    /// Where its `Home` is.
    pub home: NodeId,
    /// The epoch in which this node has it.
    pub epoch: u64,
    /// The number of its next effect.
    pub next_seq: u64,
    /// Whether home has confirmed this epoch; until then it only computes.
    pub effects: Effects,
    /// Its memory; `None` while a vfork child has it.
    pub space: Option<Space>,
    /// Whose memory `space` is until exec or exit.
    pub lender: Option<u32>,
    /// User registers.
    pub registers: Registers,
    /// Extended state; stale while the CPU has it loaded.
    pub fpu: Box<FpuState>,
    /// Signal state.
    pub signals: Signals,
    /// Who it is.
    pub ids: Ids,
    /// (soft, hard).
    pub limits: [(u64, u64); LIMITS],
    /// The process's monotonic clock minus the node's, ns.
    pub clock_offset_ns: i64,
    /// Realtime minus the process's monotonic clock, ns.
    pub wall_offset_ns: u64,
    /// CPU time used, ns.
    pub cpu_ns: u64,
    /// Whether it may run.
    pub run: Run,
    /// Whether it is in the run queue.
    pub queued: bool,
    /// The call it is in.
    pub call: Option<Pending>,
    /// What that call has done.
    pub restart: Restart,
    /// The address of the instruction to which a call was wound back that the process is still in;
    /// 0 if there is none. What `restart` says then belongs to the call that begins there again.
    pub rewound_at: u64,
    /// The message to home.
    pub forward: Forward,
    /// Files that an execve under way has opened, scripts before their interpreters.
    pub opened: Vec<Opened>,
    /// A new program that only waits for home's consent.
    pub loaded: Option<Box<Loaded>>,
    /// Home says that signals are pending.
    pub poked: bool,
    /// Signals that home keeps because they were blocked.
    pub held_back: u64,
    /// Whether the final image is to be taken at the next opportunity.
    pub freezing: bool,
    /// The wish to move, until it begins.
    pub wish: Option<MoveWish>,
    /// It stays at the user boundary until its own move has begun or failed.
    pub held: bool,
    /// Wakes it at this time, node's clock; 0 is never.
    pub alarm_ns: u64,
    /// Program name as in prctl(PR_GET_NAME), NUL padded.
    pub name: [u8; 16],
    /// set_tid_address(2).
    pub clear_tid: u64,
    /// set_robust_list(2): head and length.
    pub robust_list: (u64, u64),
    /// Missing calls already told to the log for this program.
    pub missing: BTreeSet<u32>,
    /// Its first instruction in this epoch has not run yet.
    pub arriving: bool,
}

/// Whether effects may leave the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effects {
    /// Not before home's decision.
    Gated,
    /// Yes.
    Open,
}

/// A program's name as prctl(PR_GET_NAME) gives it: at most 15 bytes, NUL padded.
pub fn padded_name(name: &[u8]) -> [u8; 16] {
    let mut padded = [0; 16];
    let length = name.len().min(15);
    padded[..length].copy_from_slice(&name[..length]);
    padded
}

/// A name without its padding.
pub fn unpadded(name: &[u8; 16]) -> &[u8] {
    let end = name.iter().position(|byte| *byte == 0);
    &name[..end.unwrap_or(name.len())]
}

impl Body {
    /// Runs it in user mode until it traps. A body without memory is interrupted at once.
    pub fn run(&mut self) -> machine::Exit {
        match &self.space {
            Some(space) => machine::run_user(&mut self.registers, &space.table().handle()),
            None => machine::Exit::Interrupt,
        }
    }

    /// Whether a signal that home is known to keep is let through now: it is acted on before the
    /// program goes on.
    pub fn signal_due(&self) -> bool {
        self.held_back & !self.signals.mask != 0
    }

    /// The process's monotonic clock at node time `now`.
    pub fn clock_ns(&self, now: u64) -> u64 {
        now.saturating_add_signed(self.clock_offset_ns)
    }

    /// Node time at which the process's clock shows `clock`.
    pub fn node_time_ns(&self, clock: u64) -> u64 {
        clock.saturating_add_signed(-self.clock_offset_ns)
    }

    /// The program name without padding.
    pub fn short_name(&self) -> &[u8] {
        unpadded(&self.name)
    }

    /// Ends the pending call with a result in `rax`.
    pub fn finish_call(&mut self, value: i64) {
        self.registers.rax = value as u64;
        self.call = None;
        self.restart = Restart::default();
        self.alarm_ns = 0;
        if let Some(mask) = self.signals.saved_mask.take() {
            self.change_mask(mask);
        }
    }

    /// Blocks exactly these signals; what home holds back and is free now is fetched.
    pub fn change_mask(&mut self, mask: u64) {
        self.signals.set_mask(mask);
        self.poked |= self.signal_due();
    }

    /// Winds the registers back to before the system call, so that executing on begins it again.
    pub fn rewind_call(&mut self) {
        if let Some(call) = self
            .call
            .take_if(|call| call.number < crate::dispatch::PSEUDO)
        {
            self.registers.rip = self
                .registers
                .rip
                .wrapping_sub(crate::dispatch::SYSCALL_BYTES);
            self.registers.rax = u64::from(call.number);
            self.rewound_at = self.registers.rip;
        }
    }

    /// Whether it is in a request of the kernel's own, which is carried out before it moves: the
    /// signal behind it has been taken and would be lost.
    pub fn obeys_kernel(&self) -> bool {
        self.call
            .is_some_and(|call| call.number >= crate::dispatch::PSEUDO)
    }

    /// Blocks it, unless it is stopped, which a blocked process is anyway.
    pub fn block(&mut self) {
        if self.run != Run::Stopped {
            self.run = Run::Blocked;
        }
    }
}
