//! One thread of a process: registers, what it waits for, and the call it is in.
//!
//! Law: a thread that is not in user mode is at the user boundary. Whatever it waits for is written
//! here, and either travels in the descriptor or is drained before a freeze. What it shares with the
//! other threads of its process is in its `Body`.

use crate::ahead::{Post, Touch};
use crate::buffers::Buffers;
use crate::cpu_timers::CpuTime;
use crate::credentials::Ids;
use crate::dispatch::CALL_TAKE_SIGNAL;
use crate::exec::{Loaded, Opened};
use crate::memory::MemoryPolicy;
use crate::ptrace::{TRAP_FLAG, Traced};
use crate::seccomp::Seccomp;
use crate::signals::SignalInfo;
use abi::Errno;
use abi::signal::{UNBLOCKABLE, bit};
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use machine::{FpuState, Registers};

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

impl Default for AltStack {
    /// None.
    fn default() -> AltStack {
        AltStack {
            base: 0,
            size: 0,
            flags: SS_DISABLE,
        }
    }
}

impl AltStack {
    /// Whether a stack pointer is on it.
    pub fn holds(&self, rsp: u64) -> bool {
        let depth = rsp.wrapping_sub(self.base);
        // One that is off while it is used can be used again from anywhere.
        self.flags & (SS_DISABLE | SS_AUTODISARM) == 0 && depth > 0 && depth <= self.size
    }
}

/// `SS_AUTODISARM`: it is off while a handler runs on it.
pub const SS_AUTODISARM: u32 = 0x8000_0000;
/// `SS_ONSTACK`, which nobody need say who sets one.
pub const SS_ONSTACK: u32 = 1;
/// `SS_DISABLE`.
pub const SS_DISABLE: u32 = 2;

/// Signal state of a thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Signals {
    /// Blocked signals.
    pub mask: u64,
    /// The alternate stack.
    pub alt_stack: AltStack,
    /// The mask to come back when the call under way ends, if that call has put another in its place.
    pub saved_mask: Option<u64>,
    /// Taken from home and not acted on yet.
    pub due: Option<Due>,
}

impl Signals {
    /// Blocks exactly these, except what cannot be blocked.
    pub fn set_mask(&mut self, mask: u64) {
        self.mask = mask & !UNBLOCKABLE;
    }

    /// Whether a signal may be handed to the thread now.
    pub fn lets_through(&self, signal: u32) -> bool {
        self.mask & bit(signal) == 0
    }
}

/// A signal between its being taken and its being acted on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// Which, and what a handler is told of it.
    pub info: SignalInfo,
    /// The process brought it on itself and cannot put it off.
    pub forced: bool,
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
    /// What it waited for was granted to it in particular (a futex wake).
    pub granted: bool,
    /// Home has refused a piece of a message, and is sent all of it. Not kept over a move: it is found out again.
    pub whole: bool,
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
    /// The pending call, or part of it: the question of this number.
    Call(u32),
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
    Ready {
        /// Which question of that call it answers.
        question: u32,
        /// What home says.
        answer: Answer,
    },
}

impl Forward {
    /// Takes the answer to a question, if it is there.
    pub fn answer_to(&mut self, wanted: u32) -> Option<Answer> {
        let fits = matches!(self, Forward::Ready { question, .. } if *question == wanted);
        match core::mem::replace(self, Forward::Idle) {
            Forward::Ready { answer, .. } if fits => Some(answer),
            other => {
                *self = other;
                None
            }
        }
    }
}

/// Whether a thread may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Run {
    /// In a run queue.
    Ready,
    /// In user mode on that processor.
    Running(usize),
    /// Waits to be woken.
    Blocked,
}

/// One thread.
pub struct Thread {
    /// Its number; that of the first thread is the pid.
    pub tid: u32,
    /// The process.
    pub pid: u32,
    /// The number of its next effect.
    pub next_seq: u64,
    /// User registers; stale while it is in user mode.
    pub registers: Registers,
    /// Extended state; stale while a processor has it loaded.
    pub fpu: Box<FpuState>,
    /// Signal state.
    pub signals: Signals,
    /// Who it is: a copy of what home keeps.
    pub ids: Ids,
    /// CPU time used, ns.
    pub cpu: CpuTime,
    /// Whether it may run.
    pub run: Run,
    /// In which processor's run queue it is.
    pub queued: Option<usize>,
    /// Its turn in the run queue: CPU time used, brought up to the queue's when it wakes, ns.
    pub turn_ns: u64,
    /// The thread here whose call made this one ready, if one did.
    pub woken_by: Option<u32>,
    /// It waited right after the last time that it had woken another.
    pub hands_over: bool,
    /// The processor it ran on last.
    pub processor: usize,
    /// The processors that it may run on, a bit each; 0 for all.
    pub processors: u64,
    /// The call it is in.
    pub call: Option<Pending>,
    /// What that call has done.
    pub restart: Restart,
    /// The address of the instruction to which a call was wound back that the thread is still in;
    /// 0 if there is none. What `restart` says then belongs to the call that begins there again.
    pub rewound_at: u64,
    /// The message to home.
    pub forward: Forward,
    /// The answer to the call that it is in, and to which question of it, while a page of a file is asked for without which the call
    /// cannot use it: home may have called that page back meanwhile.
    pub aside: Option<(u32, Answer)>,
    /// The number of the call that was sent to home last.
    pub asked: u32,
    /// Home has died over that question: it is asked again, under the same number in the sequence, before anything else.
    pub again: bool,
    /// What that may do to what home has lent.
    pub touch: Touch,
    /// Calls that have left and whose answers nobody waits for, in their order.
    pub posts: VecDeque<Post>,
    /// Files that an execve under way has opened, scripts before their interpreters.
    pub opened: Vec<Opened>,
    /// A new program that only waits for home's consent.
    pub loaded: Option<Box<Loaded>>,
    /// The child that has to get memory of its own, or to end, before this thread goes on.
    pub vfork_child: Option<u32>,
    /// Home says that signals are pending.
    pub poked: bool,
    /// The page of a file that home has refused to the call it is in.
    pub refused_page: Option<u64>,
    /// Why the move that its call asked for does not take place.
    refused_move: Option<Errno>,
    /// Signals that home keeps because they were blocked.
    pub held_back: u64,
    /// Wakes it at this time, node's clock; 0 is never.
    pub alarm_ns: u64,
    /// Its name as in prctl(PR_GET_NAME), NUL padded.
    pub name: [u8; 16],
    /// set_tid_address(2).
    pub clear_tid: u64,
    /// set_robust_list(2): head and length.
    pub robust_list: (u64, u64),
    /// Which calls it may make.
    pub seccomp: Seccomp,
    /// Where the pages are to lie that it touches first (set_mempolicy(2)).
    pub memory_policy: MemoryPolicy,
    /// What a tracer wants of it; such a thread does not move.
    pub traced: Traced,
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

impl Thread {
    /// Whether something is to be asked again before anything else leaves.
    pub fn repeats(&self) -> bool {
        self.again && (self.call.is_some() || self.asked == CALL_TAKE_SIGNAL)
    }

    /// Nothing is under way any more: an answer that was put aside for that is there again.
    pub fn take_up(&mut self) {
        self.forward = match self.aside.take() {
            Some((question, answer)) => Forward::Ready { question, answer },
            None => Forward::Idle,
        };
    }

    /// Puts an answer aside that is not used yet.
    pub fn put_aside(&mut self) {
        match core::mem::replace(&mut self.forward, Forward::Idle) {
            Forward::Ready { question, answer } => self.aside = Some((question, answer)),
            other => self.forward = other,
        }
    }

    /// Whether that is the question for signals: home may have given one away before it died.
    pub fn asks_for_signals_again(&self) -> bool {
        self.again && self.asked == CALL_TAKE_SIGNAL
    }

    /// The first thread of a process, or another one, without program.
    pub fn new(tid: u32, pid: u32) -> Thread {
        Thread {
            tid,
            pid,
            next_seq: 1,
            registers: Registers::default(),
            fpu: Box::new(FpuState::initial()),
            signals: Signals::default(),
            ids: Ids::default(),
            cpu: CpuTime::default(),
            run: Run::Blocked,
            queued: None,
            turn_ns: 0,
            woken_by: None,
            hands_over: false,
            processor: 0,
            processors: 0,
            call: None,
            restart: Restart::default(),
            rewound_at: 0,
            forward: Forward::Idle,
            aside: None,
            asked: 0,
            again: false,
            touch: Touch::Nothing,
            posts: VecDeque::new(),
            opened: Vec::new(),
            loaded: None,
            vfork_child: None,
            poked: false,
            refused_page: None,
            refused_move: None,
            held_back: 0,
            alarm_ns: 0,
            name: [0; 16],
            clear_tid: 0,
            robust_list: (0, 0),
            seccomp: Seccomp::Free,
            memory_policy: MemoryPolicy::default(),
            traced: Traced::default(),
        }
    }

    /// A new thread just behind this one's call, in the same process or as the first of a new one.
    pub fn child(&self, tid: u32, pid: u32) -> Thread {
        let mut signals = self.signals;
        signals.due = None;
        if let Some(mask) = signals.saved_mask.take() {
            signals.set_mask(mask);
        }
        Thread {
            registers: self.registers,
            fpu: self.fpu.clone(),
            signals,
            ids: self.ids,
            turn_ns: self.turn_ns,
            woken_by: None,
            hands_over: false,
            processor: self.processor,
            processors: self.processors,
            name: self.name,
            seccomp: self.seccomp.clone(),
            memory_policy: self.memory_policy,
            ..Thread::new(tid, pid)
        }
    }

    /// What is blocked: a thread that waits for its vfork child takes only what nobody can block.
    pub fn mask_now(&self) -> u64 {
        match self.vfork_child {
            Some(_) => !UNBLOCKABLE,
            None => self.signals.mask,
        }
    }

    /// Whether a signal that home is known to keep is let through now: it is acted on before the
    /// program goes on.
    pub fn signal_due(&self) -> bool {
        self.held_back & !self.mask_now() != 0
    }

    /// Whether each of its calls has to be looked at before it is made.
    pub fn is_watched(&self) -> bool {
        self.traced.calls || !matches!(self.seccomp, Seccomp::Free)
    }

    /// The name without padding.
    pub fn short_name(&self) -> &[u8] {
        unpadded(&self.name)
    }

    /// It is to come back behind its next instruction, if its tracer wants that (SDM volume 3, section 19.3.1.4).
    pub fn trap_if_it_steps(&mut self) {
        if self.traced.steps {
            self.registers.rflags |= TRAP_FLAG;
        }
    }

    /// Ends the pending call with a result in `rax`.
    pub fn finish_call(&mut self, value: i64) {
        self.refused_page = None;
        let value = match self.refused_move.take() {
            Some(errno) if value >= 0 => -i64::from(errno.0),
            _ => value,
        };
        self.registers.rax = value as u64;
        self.call = None;
        self.restart = Restart::default();
        self.alarm_ns = 0;
        if let Some(mask) = self.signals.saved_mask.take() {
            self.change_mask(mask);
        }
    }

    /// The move that it has asked for by its call, and waits for, does not take place.
    pub fn refuse_move(&mut self, errno: Errno) {
        match self.call {
            Some(_) => self.refused_move = Some(errno),
            None => self.registers.rax = -i64::from(errno.0) as u64,
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

    /// It is in the call again that was wound back, if it stands before one.
    pub fn resume_call(&mut self) {
        if self.call.is_none() && self.rewound_at != 0 && self.rewound_at == self.registers.rip {
            self.call = Some(Pending {
                number: crate::dispatch::user_number(self.registers.rax),
                args: crate::express::arguments(&self.registers),
            });
            self.registers.rip = (self.registers.rip).wrapping_add(crate::dispatch::SYSCALL_BYTES);
            self.rewound_at = 0;
        }
    }

    /// Whether it is in a request of the kernel's own, which is carried out before it moves: the
    /// signal behind it has been taken and would be lost.
    pub fn obeys_kernel(&self) -> bool {
        self.call
            .is_some_and(|call| call.number >= crate::dispatch::PSEUDO)
    }

    /// It waits to be woken.
    pub fn block(&mut self) {
        self.run = Run::Blocked;
    }
}
