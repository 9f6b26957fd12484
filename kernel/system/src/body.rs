//! The part of a process that runs: what its threads share, where they are.
//!
//! Law: a body exists on one node at a time and moves as a whole, with all of its threads
//! (`crate::thread`) and its memory (`crate::spaces`). What others see of the process (pid, files,
//! parent, children) is not here but in its `Home`.

use crate::ahead::Ahead;
use crate::cpu_timers::CpuTime;
use crate::home::Orders;
use crate::spaces::SpaceId;
use abi::signal::{Default as Action, SIGKILL, SIGNAL_MAX, SIGSTOP, default_action};
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use wire::{MoveHow, NodeId, Policy};

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

/// Number of resource limits (getrlimit(2)).
pub const LIMITS: usize = 16;
/// Which of them is `RLIMIT_NOFILE`.
pub const NOFILE: usize = 7;

/// A wish to move the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MoveWish {
    /// Where to.
    pub target: NodeId,
    /// Names the wish at home.
    pub request: u64,
    /// In which way, and within which bounds.
    pub how: MoveHow,
    /// It is not wanted any more.
    pub called_off: bool,
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
    /// It stays at the user boundary, and its thread with this number, which has asked, is told if it does
    /// not get there.
    Waits(u32),
}

/// Whether effects may leave the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effects {
    /// Not before home's decision.
    Gated,
    /// Home has decided, and its disk does not have the first effect yet: until then home may give the process back to its
    /// source. So that one is an empty call, and what waits goes on when it is answered.
    Confirmed,
    /// Yes.
    Open,
}

/// What a process wants done about each signal: shared by its threads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actions(pub [SignalAction; SIGNAL_MAX as usize]);

impl Default for Actions {
    fn default() -> Actions {
        Actions([SignalAction::default(); SIGNAL_MAX as usize])
    }
}

impl Actions {
    /// The action for a signal from 1 to 64.
    pub fn of(&self, signal: u32) -> SignalAction {
        self.0[signal as usize - 1]
    }

    /// The signals that are set to be ignored, a bit each.
    pub fn ignored(&self) -> u64 {
        self.with(|handler| handler == HANDLER_IGNORE)
    }

    /// The signals that have handlers.
    pub fn caught(&self) -> u64 {
        self.with(|handler| handler > HANDLER_IGNORE)
    }

    fn with(&self, is_meant: impl Fn(u64) -> bool) -> u64 {
        let actions = self.0.iter().enumerate();
        actions.fold(0, |set, (bit, action)| {
            set | u64::from(is_meant(action.handler)) << bit
        })
    }

    /// What execve(2) does: handlers are gone, ignored stays ignored.
    pub fn reset_for_exec(&mut self) {
        for action in &mut self.0 {
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
    }

    /// Whether the process ignores a signal, by its own word or by default.
    pub fn ignore(&self, signal: u32) -> bool {
        match self.of(signal).handler {
            HANDLER_IGNORE => signal != SIGKILL && signal != SIGSTOP,
            HANDLER_DEFAULT => default_action(signal) == Action::Ignore,
            _ => false,
        }
    }
}

/// The running part of a process: what its threads share.
pub struct Body {
    /// The process.
    pub pid: u32,
    /// Where its `Home` is.
    pub home: NodeId,
    /// The epoch in which this node has it.
    pub epoch: u64,
    /// Whether home has confirmed this epoch; until then it only computes.
    pub effects: Effects,
    /// Its memory.
    pub space: SpaceId,
    /// Its threads, by tid. Never empty but while the last one ends.
    pub threads: BTreeSet<u32>,
    /// The wait status with which its first thread ended before the others.
    pub leader_status: u32,
    /// It ends: nothing but that is done for it any more.
    pub ending: bool,
    /// Robust lists of the threads that have ended with it, which nobody has walked yet.
    pub owed: Vec<(u32, u64)>,
    /// Stopped by a signal until SIGCONT.
    pub stopped: bool,
    /// The thread of its parent that stands still until this process has its own memory or ends.
    pub vfork_parent: Option<u32>,
    /// What is done about signals.
    pub actions: Actions,
    /// Which processes have these actions in common, as `CLONE_SIGHAND` makes them: all that say the same. They have
    /// their memory in common, too, so they are on one node, and it does not travel.
    pub common_actions: Option<u32>,
    /// (soft, hard).
    pub limits: [(u64, u64); LIMITS],
    /// The process's monotonic clock minus the node's, ns.
    pub clock_offset_ns: i64,
    /// Realtime minus the process's monotonic clock, ns.
    pub wall_offset_ns: u64,
    /// CPU time used by all threads, also those that are over, ns.
    pub cpu: CpuTime,
    /// The most pages that it has had at once, when that was last looked at.
    pub peak_pages: u64,
    /// Page faults that were served.
    pub faults: u64,
    /// Timers by CPU time.
    pub cpu_timers: crate::cpu_timers::CpuTimers,
    /// Whether CPU time that is used may be somebody's last: a timer runs, or there is a limit.
    pub watches_cpu: bool,
    /// Whether the final image is to be taken at the next opportunity.
    pub freezing: bool,
    /// The wish to move, until it begins.
    pub wish: Option<MoveWish>,
    /// Its threads stay at the user boundary until its own move has begun or failed.
    pub held: bool,
    /// Its threads stay at the user boundary until this node has a processor for it that no owner uses, or another has.
    pub queued: bool,
    /// Who decides where it runs; else the policy of the node where it is.
    pub policy: Option<Policy>,
    /// Kinds of memory barriers it has registered for (`membarrier`).
    pub barriers: u8,
    /// Missing calls already told to the log for this program.
    pub missing: BTreeSet<u32>,
    /// Its first instruction in this epoch has not run yet.
    pub arriving: bool,
    /// Its home has booted again and does not know it yet: no call leaves.
    pub orphan: bool,
    /// What it holds of the files of its home; nothing of it moves.
    pub ahead: Ahead,
    /// When home has lent it pages of shared memory, lately.
    pub lent_since: alloc::collections::BTreeMap<(u32, u64), u64>,
    /// Calls that its home has answered since it came here.
    pub calls: u64,
    /// Who has kept the pages of it that are as they came; nothing of that moves.
    pub holder: Option<crate::hand_over::Holder>,
}

impl Body {
    /// Whether its threads stay at the user boundary, but for signals that end or stop it.
    pub fn waits(&self) -> bool {
        self.held || self.queued
    }

    /// Takes over what others have changed.
    pub fn obey(&mut self, (limits, policy): Orders) {
        self.limits = limits;
        self.policy = policy;
        self.watch_cpu();
    }

    /// The process's monotonic clock at node time `now`.
    pub fn clock_ns(&self, now: u64) -> u64 {
        now.saturating_add_signed(self.clock_offset_ns)
    }

    /// Node time at which the process's clock shows `clock`.
    pub fn node_time_ns(&self, clock: u64) -> u64 {
        clock.saturating_add_signed(-self.clock_offset_ns)
    }
}
