//! Tracing: who is traced by whom, and where a traced thread stands still (ptrace(2)).
//!
//! Law: tracer and tracee are of one home, are both there, and stay as long as one traces the other. So all of it is on
//! one node and under one lock, and nothing of it travels. A tracee stands at the user boundary and nowhere else: what it
//! stops for is found by [`System::tracer_lets_go`], in the order of Linux (events, the end of a call, traps, signals).
//!
//! Not here: the requests of a tracer, which are in `crate::calls::split`.

pub(crate) mod layout;
#[cfg(test)]
mod tests;

use crate::home::{Home, Life};
use crate::signals::{CLD_TRAPPED, SI_USER, SignalInfo, Trap};
use crate::system::System;
use crate::thread::{Due, Pending};
use abi::signal::{self, bit};
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

/// `PTRACE_EVENT_*`; the option that asks for the event `n` is the bit `n`.
pub(crate) const EVENT_FORK: u32 = 1;
const EVENT_VFORK: u32 = 2;
const EVENT_CLONE: u32 = 3;
const EVENT_EXEC: u32 = 4;
const EVENT_VFORK_DONE: u32 = 5;
const EVENT_EXIT: u32 = 6;
const EVENT_STOP: u32 = 128;
/// `PTRACE_O_TRACESYSGOOD`: stops at calls can be told from SIGTRAP by a bit.
const SYSCALL_GOOD: u64 = 1;
/// `PTRACE_O_EXITKILL`: who is traced ends with its tracer.
const EXIT_KILL: u64 = 1 << 20;
/// The options there are. `PTRACE_O_TRACESECCOMP` and `PTRACE_O_SUSPEND_SECCOMP` are not among them.
pub(crate) const OPTIONS: u64 = 0x7f | EXIT_KILL;
/// The trap flag of RFLAGS.
pub(crate) const TRAP_FLAG: u64 = 0x100;
/// `orig_rax` of who is in no call.
const NO_CALL: u64 = u64::MAX;
/// `-ERESTARTSYS`, `-ERESTARTNOHAND` and `-ERESTART_RESTARTBLOCK`, which only a tracer sees.
const RESTART_IF_ASKED: i64 = -512;
const RESTART_UNHANDLED: i64 = -514;
const RESTART_THE_REST: i64 = -516;

/// What a traced thread has to know of it wherever it goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traced {
    /// Somebody traces it.
    pub on: bool,
    /// It stands until its tracer lets it go on.
    pub stopped: bool,
    /// None of its calls passes unseen: they are shown, or each is a step.
    pub calls: bool,
    /// It goes one instruction further.
    pub steps: bool,
    /// Its tracer has seen its call interrupted: it begins anew instead of going on.
    pub restarts: bool,
}

/// How a tracee goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Resumed {
    /// Until something happens.
    #[default]
    Runs,
    /// Until a call begins or ends.
    Calls,
    /// By one instruction.
    Steps,
}

/// What a tracee stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A call that it is about to make.
    Entry,
    /// A call that is over.
    Exit,
    /// A signal that it is about to get.
    Signal,
    /// An event, by option or by request.
    Event,
    /// Its process was stopped by a signal.
    Group,
}

/// A stop of a tracee.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Halt {
    pub(crate) kind: Kind,
    /// The signal, and above eight bits the event.
    status: u32,
    /// What is known of that signal; nothing of a stop of the process.
    pub(crate) info: Option<SignalInfo>,
    /// Whether wait4(2) has reported it.
    told: bool,
}

/// A thread that is traced, until its tracer knows of its end.
#[derive(Debug, Default)]
pub(crate) struct Tracee {
    /// Its process.
    pid: u32,
    /// The process and the thread that trace it.
    tracer: (u32, u32),
    /// By `PTRACE_SEIZE`: a stop of the process is an event, and it can be interrupted.
    pub(crate) seized: bool,
    pub(crate) options: u64,
    pub(crate) resumed: Resumed,
    pub(crate) halt: Option<Halt>,
    /// What the last event was about.
    pub(crate) message: u64,
    /// It is to stop.
    trap: bool,
    /// The process was stopped, or goes on.
    notify: bool,
    /// It stands, but a change of its process is reported.
    pub(crate) listens: bool,
    /// What has happened and was not shown, with what that is about.
    events: VecDeque<(u32, u64)>,
    /// The number of the call it stands in.
    pub(crate) number: u64,
    /// The beginning of its call was shown, and its end was not.
    entered: bool,
    /// Its step was a call.
    stepped: bool,
    /// The signal that is due was shown.
    passed: bool,
    /// The child whose memory it waits for, and whose leaving it is an event.
    lends_to: Option<u32>,
    /// Its end was shown before it came.
    leaves: bool,
    /// How it ends, if it ends before its process.
    end: u32,
    /// Its registers were set in this stop.
    pub(crate) changed: bool,
    /// It has ended so.
    pub(crate) dead: Option<u32>,
}

/// All that are traced on this node, by thread.
#[derive(Debug, Default)]
pub(crate) struct Tracing(BTreeMap<u32, Tracee>);

/// What a tracee has to report to its tracer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// It stands: signal, and event.
    Stopped(u32),
    /// It has ended with this wait status.
    Ended(u32),
}

impl Tracing {
    pub(crate) fn get(&self, tid: u32) -> Option<&Tracee> {
        self.0.get(&tid)
    }

    pub(crate) fn get_mut(&mut self, tid: u32) -> Option<&mut Tracee> {
        self.0.get_mut(&tid)
    }

    /// A tracee of a thread.
    pub(crate) fn of(&mut self, tid: u32, tracer: u32) -> Option<&mut Tracee> {
        let tracee = self.0.get_mut(&tid)?;
        (tracee.tracer.1 == tracer).then_some(tracee)
    }

    /// The tracer of a thread that has not ended: its process.
    pub(crate) fn tracer_of(&self, tid: u32) -> Option<u32> {
        let tracee = self.0.get(&tid)?;
        Some(tracee.tracer.0)
    }

    /// The thread that traces another.
    pub(crate) fn tracing_thread(&self, tid: u32) -> Option<u32> {
        Some(self.0.get(&tid)?.tracer.1)
    }

    /// The threads of a process that are traced.
    fn threads_of(&self, pid: u32) -> Vec<u32> {
        let of = self.0.iter().filter(|(_, tracee)| tracee.pid == pid);
        of.map(|(tid, _)| *tid).collect()
    }

    /// Whether others of a process have ended that their tracer does not know of: then its end is no news yet.
    pub(crate) fn has_other_dead(&self, pid: u32) -> bool {
        self.0
            .iter()
            .any(|(tid, tracee)| tracee.pid == pid && *tid != pid && tracee.dead.is_some())
    }

    /// Why a process has to stay where it is.
    pub(crate) fn holds(&self, pid: u32) -> Option<&'static str> {
        if self.0.is_empty() {
            return None;
        }
        if self.0.values().any(|tracee| tracee.pid == pid) {
            return Some("it is traced");
        }
        let traces = self.0.values().any(|tracee| tracee.tracer.0 == pid);
        traces.then_some("it traces another process")
    }

    /// The next news for a process of a tracee that is wanted (by its thread and its process), and whether it has any
    /// such tracee.
    pub(crate) fn news(
        &self,
        tracer: u32,
        wanted: impl Fn(u32, u32) -> bool,
        ends: bool,
    ) -> (bool, Option<(u32, News)>) {
        let mine = self
            .0
            .iter()
            .filter(|(tid, tracee)| tracee.tracer.0 == tracer && wanted(**tid, tracee.pid));
        let mut any = false;
        for (tid, tracee) in mine {
            any = true;
            let delayed = *tid == tracee.pid && self.has_other_dead(tracee.pid);
            match (tracee.dead, tracee.halt) {
                (Some(status), _) if ends && !delayed => {
                    return (true, Some((*tid, News::Ended(status))));
                }
                (None, Some(halt)) if !halt.told => {
                    return (true, Some((*tid, News::Stopped(halt.status))));
                }
                _ => {}
            }
        }
        (any, None)
    }
}

impl Halt {
    fn of(kind: Kind, status: u32, info: Option<SignalInfo>) -> Halt {
        Halt {
            kind,
            status,
            info,
            told: false,
        }
    }

    /// A stop that is none of a signal: SIGTRAP, or another, with the event in the upper bits.
    fn event(signal: u32, event: u32, pid: u32) -> Halt {
        let status = signal | event << 8;
        let info = SignalInfo {
            signal,
            code: status as i32,
            words: [pid.into(), 0],
            ..SignalInfo::default()
        };
        Halt::of(Kind::Event, status, Some(info))
    }

    /// At the beginning or the end of a call.
    fn call(kind: Kind, options: u64, pid: u32) -> Halt {
        let good = if options & SYSCALL_GOOD != 0 { 0x80 } else { 0 };
        let status = signal::SIGTRAP | good;
        let info = SignalInfo {
            signal: signal::SIGTRAP,
            code: status as i32,
            words: [pid.into(), 0],
            ..SignalInfo::default()
        };
        Halt::of(kind, status, Some(info))
    }

    /// Whether it is one that `PTRACE_LISTEN` may let go on.
    pub(crate) fn may_listen(&self) -> bool {
        self.status >> 8 == EVENT_STOP
    }
}

/// What a tracer sees as the result of a call that is interrupted.
fn interrupted(number: u32, waits_for_a_time: bool) -> i64 {
    const POLL: u32 = 7;
    const FUTEX: u32 = 202;
    const NANOSLEEP: u32 = 35;
    const CLOCK_NANOSLEEP: u32 = 230;
    /// pause, rt_sigsuspend, epoll_wait, select, pselect6, ppoll, epoll_pwait
    const UNHANDLED: [u32; 7] = [34, 130, 232, 23, 270, 271, 281];
    match number {
        NANOSLEEP | CLOCK_NANOSLEEP | POLL => RESTART_THE_REST,
        FUTEX if waits_for_a_time => RESTART_THE_REST,
        number if UNHANDLED.contains(&number) => RESTART_UNHANDLED,
        _ => RESTART_IF_ASKED,
    }
}

impl System {
    /// Whether a kill waits for a process: then nothing else counts.
    fn is_killed(&self, pid: u32) -> bool {
        let home = self.homes.get(&pid);
        home.is_some_and(|home| home.pending.set() & bit(signal::SIGKILL) != 0)
    }

    /// Whether a thread that stands for its tracer goes on, as nothing but a kill makes it do.
    pub(crate) fn leaves_halt(&mut self, tid: u32) -> bool {
        let pid = self.thread(tid).pid;
        if !self.is_killed(pid) {
            return false;
        }
        let thread = self.thread(tid);
        thread.traced.stopped = false;
        // What it was shown it does not get any more.
        thread.signals.due = None;
        if let Some(tracee) = self.tracing.get_mut(tid) {
            tracee.halt = None;
        }
        true
    }

    /// A tracee stands still, and its tracer is told. Always false: it does not go on.
    fn halt(&mut self, tid: u32, halt: Halt) -> bool {
        let thread = self.thread(tid);
        if core::mem::take(&mut thread.traced.steps) {
            thread.registers.rflags &= !TRAP_FLAG;
        }
        thread.traced.stopped = true;
        thread.block();
        let call = thread.call;
        let Some(tracee) = self.tracing.get_mut(tid) else {
            return true;
        };
        match call {
            Some(call) => tracee.number = call.number.into(),
            None if tracee.entered || matches!(halt.kind, Kind::Entry | Kind::Exit) => {}
            None => tracee.number = NO_CALL,
        }
        tracee.halt = Some(halt);
        tracee.listens = false;
        tracee.changed = false;
        // Any stop is the one that was asked for.
        tracee.trap = false;
        let tracer = tracee.tracer.0;
        self.tell_tracer(tracer, tid, CLD_TRAPPED, halt.status);
        false
    }

    /// Sends SIGCHLD for a tracee, and wakes who waits for it.
    fn tell_tracer(&mut self, tracer: u32, tid: u32, code: i32, status: u32) {
        let mut news = self.child_news(tid, code, status);
        let pid = self.process_at_home(tid);
        let user = self.homes.get(&pid).map_or(0, |home| home.ids().uid);
        news.words[0] = u64::from(tid) | u64::from(user) << 32;
        self.tell_parent(tracer, news);
    }

    /// Whether a traced thread goes on to what it has to do next; if not it stands, and its tracer is told why.
    pub(crate) fn tracer_lets_go(&mut self, tid: u32) -> bool {
        let thread = self.thread(tid);
        let pid = thread.pid;
        let (call, lends) = (thread.call, thread.vfork_child.is_some());
        if self.is_killed(pid) {
            return true;
        }
        let life = self.homes.get(&pid).map(|home| home.life);
        let Some(tracee) = self.tracing.get_mut(tid) else {
            return true;
        };
        if let Some((event, message)) = tracee.events.pop_front() {
            tracee.message = message;
            return self.halt(tid, Halt::event(signal::SIGTRAP, event, pid));
        }
        if !lends && let Some(child) = tracee.lends_to.take() {
            tracee.message = child.into();
            return self.halt(tid, Halt::event(signal::SIGTRAP, EVENT_VFORK_DONE, pid));
        }
        if call.is_none() && !lends && tracee.entered {
            if tracee.resumed == Resumed::Calls {
                let halt = Halt::call(Kind::Exit, tracee.options, pid);
                self.halt(tid, halt);
                if let Some(tracee) = self.tracing.get_mut(tid) {
                    tracee.entered = false;
                }
                return false;
            }
            tracee.entered = false;
        }
        if call.is_none() && core::mem::take(&mut tracee.stepped) {
            self.step_is_over(tid);
        }
        let due = self.thread(tid).signals.due;
        let Some(tracee) = self.tracing.get_mut(tid) else {
            return true;
        };
        tracee.passed &= due.is_some();
        let unseen = due.filter(|due| !tracee.passed && due.info.signal != signal::SIGKILL);
        let group = match life {
            Some(Life::Stopped { signal, .. }) => Some(signal),
            _ => None,
        };
        let stops = tracee.seized || group.is_some();
        tracee.trap &= stops;
        tracee.notify &= stops;
        let traps = tracee.trap || tracee.notify;
        if !traps && unseen.is_none() {
            let thread = self.thread(tid);
            if core::mem::take(&mut thread.traced.restarts) {
                thread.rewind_call();
            }
            return true;
        }
        if let Some(call) = call
            && !self.shows_interruption(tid, call)
        {
            return false;
        }
        let Some(tracee) = self.tracing.get_mut(tid) else {
            return true;
        };
        let halt = match (unseen, group) {
            _ if traps => {
                tracee.notify = false;
                match group {
                    Some(signal) if !tracee.seized => Halt::of(Kind::Group, signal, None),
                    group => Halt::event(group.unwrap_or(signal::SIGTRAP), EVENT_STOP, pid),
                }
            }
            (Some(Due { mut info, forced }), _) => {
                if forced {
                    Trap::take_from(&mut info);
                }
                Halt::of(Kind::Signal, info.signal, Some(info))
            }
            _ => return true,
        };
        self.halt(tid, halt)
    }

    /// The call that a thread is in is interrupted, as its tracer sees it: that it will begin anew. Whether it need
    /// not stand for that alone.
    fn shows_interruption(&mut self, tid: u32, call: Pending) -> bool {
        let thread = self.thread(tid);
        thread.traced.restarts = true;
        let pid = thread.pid;
        let limited = thread.restart.deadline_ns != 0;
        thread.registers.rax = interrupted(call.number, limited) as u64;
        let Some(tracee) = self.tracing.get_mut(tid) else {
            return true;
        };
        let entered = core::mem::take(&mut tracee.entered);
        if !entered || tracee.resumed != Resumed::Calls {
            return true;
        }
        let halt = Halt::call(Kind::Exit, tracee.options, pid);
        self.halt(tid, halt)
    }

    /// The step of a thread was a call, and that is over: its tracer is told before the next instruction.
    fn step_is_over(&mut self, tid: u32) {
        const TRAP_BRKPT: i32 = 1;
        let thread = self.thread(tid);
        if thread.signals.due.is_none() {
            let info = SignalInfo {
                signal: signal::SIGTRAP,
                code: TRAP_BRKPT,
                words: [thread.registers.rip, 0],
                ..SignalInfo::default()
            };
            thread.signals.due = Some(Due { info, forced: true });
        }
    }

    /// A handler runs instead of the next instruction, which was to be the step.
    pub(crate) fn handler_is_a_step(&mut self, tid: u32) {
        if self.thread(tid).traced.steps
            && let Some(tracee) = self.tracing.get_mut(tid)
        {
            tracee.stepped = true;
        }
    }

    /// A thread has come with a call that its tracer has to see first. Whether it stands for that.
    pub(crate) fn shows_entry(&mut self, tid: u32) -> bool {
        let thread = self.thread(tid);
        if !thread.traced.calls {
            return false;
        }
        let pid = thread.pid;
        if thread.traced.steps {
            // The processor has put the flags beside, too.
            thread.registers.rflags &= !TRAP_FLAG;
            thread.registers.r11 &= !TRAP_FLAG;
        }
        let number = thread.registers.rax;
        let Some(tracee) = self.tracing.get_mut(tid) else {
            return false;
        };
        match tracee.resumed {
            Resumed::Runs => return false,
            Resumed::Steps => {
                tracee.stepped = true;
                return false;
            }
            Resumed::Calls => {}
        }
        tracee.number = number;
        tracee.entered = true;
        let halt = Halt::call(Kind::Entry, tracee.options, pid);
        self.thread(tid).registers.rax = -i64::from(abi::Errno::ENOSYS.0) as u64;
        !self.halt(tid, halt)
    }

    /// A tracee that was shown at the beginning of a call makes it, whatever its tracer has made of it; none if that
    /// has taken the number away.
    fn makes_call(&mut self, tid: u32, number: u64) {
        if (number as i32) < 0 {
            return;
        }
        let thread = self.thread(tid);
        thread.registers.rax = number;
        let args = crate::express::arguments(&thread.registers);
        if self.permits(tid, &args)
            && let Some(thread) = self.threads.get_mut(&tid)
        {
            let number = crate::dispatch::user_number(number);
            thread.call = Some(Pending { number, args });
        }
    }

    /// Lets a tracee that stands go on, with a signal in place of the one it was shown, or none.
    pub(crate) fn resume_tracee(&mut self, tid: u32, how: Resumed, signal: u32) {
        let Some(tracee) = self.tracing.get_mut(tid) else {
            return;
        };
        let Some(halt) = tracee.halt.take() else {
            return;
        };
        tracee.resumed = how;
        tracee.listens = false;
        let (number, tracer) = (tracee.number, tracee.tracer.0);
        let changed = tracee.changed;
        let thread = self.thread(tid);
        thread.traced = Traced {
            on: true,
            stopped: false,
            calls: how != Resumed::Runs,
            steps: how == Resumed::Steps,
            restarts: thread.traced.restarts && thread.call.is_some(),
        };
        // A call that was given up comes back with the registers that say so.
        let restarts = [
            RESTART_IF_ASKED,
            RESTART_IF_ASKED - 1,
            RESTART_UNHANDLED,
            RESTART_THE_REST,
        ];
        let result = thread.registers.rax as i64;
        let in_none = thread.call.is_none() && halt.kind != Kind::Entry;
        if changed && in_none && number as i64 >= 0 && restarts.contains(&result) {
            let bytes = crate::dispatch::SYSCALL_BYTES;
            thread.registers.rip = thread.registers.rip.wrapping_sub(bytes);
            thread.registers.rax = number;
        }
        match halt.kind {
            Kind::Entry => {
                self.makes_call(tid, number);
                self.inject(tid, signal);
            }
            Kind::Exit => self.inject(tid, signal),
            Kind::Signal => self.choose_signal(tid, (tracer, signal)),
            Kind::Event | Kind::Group => {}
        }
        self.wakes.push(tid);
    }

    /// Sends a thread a signal in its tracer's name.
    fn inject(&mut self, tid: u32, signal: u32) {
        if signal != 0
            && let Some(thread) = self.threads.get(&tid)
        {
            let pid = thread.pid;
            self.signal_thread(pid, tid, SignalInfo::kernel(signal));
        }
    }

    /// The tracer has decided which signal it is that a thread gets.
    fn choose_signal(&mut self, tid: u32, (tracer, signal): (u32, u32)) {
        let user = self.homes.get(&tracer).map_or(0, |home| home.ids().uid);
        let thread = self.thread(tid);
        let pid = thread.pid;
        let due = thread.signals.due;
        if due.is_some_and(|due| due.info.signal != signal) {
            let info = SignalInfo {
                signal,
                code: SI_USER,
                words: [u64::from(tracer) | u64::from(user) << 32, 0],
                ..SignalInfo::default()
            };
            let blocked = signal != 0 && !thread.signals.lets_through(signal);
            thread.signals.due = (signal != 0 && !blocked).then_some(Due {
                info,
                forced: false,
            });
            if blocked {
                self.signal_thread(pid, tid, info);
            }
        }
        if let Some(tracee) = self.tracing.get_mut(tid) {
            tracee.passed = true;
        }
    }

    /// The thread of a process' parent that traces it if it asks for that: the one that made it, or the first.
    pub(crate) fn maker_of(&self, pid: u32, parent: u32) -> u32 {
        let made_by = self.homes.get(&pid).map(|home| home.maker);
        let parent_has = |tid: &u32| {
            let parent = self.homes.get(&parent);
            parent.is_some_and(|parent| parent.threads.contains_key(tid))
        };
        made_by.filter(parent_has).unwrap_or(parent)
    }

    /// A thread is traced from now on.
    pub(crate) fn attach(&mut self, tid: u32, tracer: (u32, u32), (seized, options): (bool, u64)) {
        let Some(thread) = self.threads.get_mut(&tid) else {
            return;
        };
        thread.traced.on = true;
        let pid = thread.pid;
        let home = self.homes.get_mut(&pid);
        let stopped = home
            .as_ref()
            .is_some_and(|home| matches!(home.life, Life::Stopped { .. }));
        if let Some(thread) = home.and_then(|home| home.threads.get_mut(&tid)) {
            thread.traced = true;
        }
        let tracee = Tracee {
            pid,
            tracer,
            seized,
            options,
            notify: stopped,
            number: NO_CALL,
            ..Tracee::default()
        };
        self.tracing.0.insert(tid, tracee);
        self.wakes.push(tid);
    }

    /// A tracee is one no longer; if it stands it goes on with this signal.
    pub(crate) fn detach(&mut self, tid: u32, signal: u32) {
        self.resume_tracee(tid, Resumed::Runs, signal);
        self.tracing.0.remove(&tid);
        let Some(thread) = self.threads.get_mut(&tid) else {
            return;
        };
        if thread.traced.steps {
            thread.registers.rflags &= !TRAP_FLAG;
        }
        if thread.traced.restarts {
            thread.rewind_call();
        }
        thread.traced = Traced::default();
        let pid = thread.pid;
        if let Some(thread) = self.home_thread(pid, tid) {
            thread.traced = false;
        }
        self.wakes.push(tid);
    }

    /// A tracee is to stop, if it does not stand.
    pub(crate) fn interrupt(&mut self, tid: u32) {
        if let Some(tracee) = self.tracing.get_mut(tid) {
            tracee.trap = true;
        }
        self.hears(tid);
    }

    /// A tracee that stands hears of what changes its process.
    pub(crate) fn listen(&mut self, tid: u32) {
        if let Some(tracee) = self.tracing.get_mut(tid) {
            tracee.listens = true;
            if !(tracee.trap || tracee.notify) {
                return;
            }
        }
        self.hears(tid);
    }

    /// A tracee that may have to stop looks; one that stands only if it listens.
    fn hears(&mut self, tid: u32) {
        let Some(tracee) = self.tracing.get_mut(tid) else {
            return;
        };
        if tracee.halt.is_some() {
            if !tracee.listens {
                return;
            }
            tracee.listens = false;
            tracee.halt = None;
            if let Some(thread) = self.threads.get_mut(&tid) {
                thread.traced.stopped = false;
            }
        }
        self.wakes.push(tid);
    }

    /// A process was stopped by a signal, or goes on: its tracers are told.
    pub(crate) fn group_changed(&mut self, pid: u32) {
        if self.tracing.0.is_empty() {
            return;
        }
        for tid in self.tracing.threads_of(pid) {
            if let Some(tracee) = self.tracing.get_mut(tid) {
                tracee.notify = true;
            }
            self.hears(tid);
        }
    }

    /// A thread has made another: an event, and that one is traced, too, if its tracer has asked for it. Whether it is.
    pub(crate) fn trace_child(&mut self, tid: u32, child: u32, how: ChildKind) -> bool {
        let Some(tracee) = self.tracing.get_mut(tid) else {
            return false;
        };
        let event = match how.event {
            _ if how.untraced => 0,
            ChildEvent::Fork => EVENT_FORK,
            ChildEvent::Vfork => EVENT_VFORK,
            ChildEvent::Clone => EVENT_CLONE,
        };
        let asked = |tracee: &Tracee, event: u32| tracee.options & (1 << event) != 0;
        let shown = event != 0 && asked(tracee, event);
        if shown {
            tracee.events.push_back((event, child.into()));
        }
        if how.event == ChildEvent::Vfork && asked(tracee, EVENT_VFORK_DONE) {
            tracee.lends_to = Some(child);
        }
        if !shown && !how.traced {
            return false;
        }
        let (tracer, seized, options) = (tracee.tracer, tracee.seized, tracee.options);
        self.attach(child, tracer, (seized, options));
        if seized {
            self.interrupt(child);
        } else if let Some(thread) = self.threads.get(&child) {
            let pid = thread.pid;
            self.signal_thread(pid, child, SignalInfo::kernel(signal::SIGSTOP));
        }
        true
    }

    /// A process has become another program, by this thread of it.
    pub(crate) fn traced_program_begins(&mut self, pid: u32, former: u32) {
        let user = self.homes.get(&pid).map_or(0, |home| home.ids().uid);
        let Some(tracee) = self.tracing.get_mut(pid) else {
            return;
        };
        if tracee.options & (1 << EVENT_EXEC) != 0 {
            tracee.events.push_back((EVENT_EXEC, former.into()));
        } else if !tracee.seized {
            let info = SignalInfo {
                signal: signal::SIGTRAP,
                code: SI_USER,
                words: [u64::from(pid) | u64::from(user) << 32, 0],
                ..SignalInfo::default()
            };
            self.signal_thread(pid, pid, info);
        }
    }

    /// Whether a thread that is about to end stands before it does, which its tracer may have asked for.
    pub(crate) fn stands_before_end(&mut self, tid: u32, status: u32) -> bool {
        let Some(tracee) = self.tracing.get_mut(tid) else {
            return false;
        };
        if tracee.options & (1 << EVENT_EXIT) == 0 || core::mem::replace(&mut tracee.leaves, true) {
            return false;
        }
        tracee.message = status.into();
        let pid = tracee.pid;
        !self.halt(tid, Halt::event(signal::SIGTRAP, EVENT_EXIT, pid))
    }

    /// A thread ends with this wait status, and others of its process go on.
    pub(crate) fn note_end(&mut self, tid: u32, status: u32) {
        if let Some(tracee) = self.tracing.get_mut(tid) {
            tracee.end = status;
        }
    }

    /// A thread of a process is over, at home. The end of the first one is that of the process, and comes later.
    pub(crate) fn traced_thread_over(&mut self, pid: u32, tid: u32) {
        if self.tracing.0.is_empty() {
            return;
        }
        self.leave_tracees(|tracer| tracer.1 == tid);
        if tid != pid
            && let Some(tracee) = self.tracing.get_mut(tid)
        {
            let status = tracee.end;
            self.tracee_is_dead(tid, status);
        }
    }

    fn tracee_is_dead(&mut self, tid: u32, status: u32) {
        let Some(tracee) = self.tracing.get_mut(tid) else {
            return;
        };
        tracee.halt = None;
        tracee.dead = Some(status);
        let tracer = tracee.tracer.0;
        let (code, status) = crate::calls::home::end_of(status);
        self.tell_tracer(tracer, tid, code, status);
    }

    /// A process has ended. Whether its parent is told later, as another traces it who has to know first.
    pub(crate) fn traced_process_over(&mut self, pid: u32, parent: u32, status: u32) -> bool {
        if self.tracing.0.is_empty() {
            return false;
        }
        self.leave_tracees(|tracer| tracer.0 == pid);
        let mut later = false;
        for tid in self.tracing.threads_of(pid) {
            if self
                .tracing
                .get(tid)
                .is_some_and(|tracee| tracee.dead.is_some())
            {
                continue;
            }
            if tid == pid && self.tracing.tracer_of(tid) == Some(parent) {
                // Its child is a zombie like others.
                self.tracing.0.remove(&tid);
                continue;
            }
            later |= tid == pid;
            self.tracee_is_dead(tid, status);
        }
        later
    }

    /// Lets go of those who are traced so, as their tracer is gone.
    fn leave_tracees(&mut self, by: impl Fn((u32, u32)) -> bool) {
        let left = self
            .tracing
            .0
            .iter()
            .filter(|(_, tracee)| by(tracee.tracer));
        let left: Vec<u32> = left.map(|(tid, _)| *tid).collect();
        for tid in left {
            let Some(tracee) = self.tracing.get_mut(tid) else {
                continue;
            };
            let pid = tracee.pid;
            if tracee.dead.is_some() {
                self.end_is_known(tid);
                continue;
            }
            if tracee.options & EXIT_KILL != 0 {
                self.signal(pid, signal::SIGKILL);
            }
            let shown = self.tracing.get(tid).and_then(|tracee| tracee.halt);
            let signal = match shown {
                Some(halt) if halt.kind == Kind::Signal => halt.status,
                _ => 0,
            };
            self.detach(tid, signal);
        }
    }

    /// The tracer has been told of what a tracee has to report.
    pub(crate) fn tracer_knows(&mut self, tid: u32) {
        let Some(tracee) = self.tracing.get_mut(tid) else {
            return;
        };
        if tracee.dead.is_some() {
            return self.end_is_known(tid);
        }
        if let Some(halt) = &mut tracee.halt {
            halt.told = true;
        }
    }

    /// The tracer knows of the end of a tracee: now its parent may.
    fn end_is_known(&mut self, tid: u32) {
        let Some(tracee) = self.tracing.0.remove(&tid) else {
            return;
        };
        let (pid, tracer) = (tracee.pid, tracee.tracer.0);
        if tid == pid {
            return self.tell_end(pid);
        }
        // The end of the first thread may have waited for this.
        let parent = self.homes.get(&pid).map(|home| home.parent);
        self.children_changed(tracer);
        if let Some(parent) = parent {
            self.children_changed(parent);
        }
    }

    /// A process becomes another program, at home: this thread is its first and only one from now on.
    pub(crate) fn traced_threads_join(&mut self, pid: u32, tid: u32) {
        if self.tracing.0.is_empty() {
            return;
        }
        self.leave_tracees(|tracer| tracer.0 == pid && tracer.1 != tid);
        for tracee in self.tracing.0.values_mut() {
            if tracee.tracer == (pid, tid) {
                tracee.tracer.1 = pid;
            }
        }
        for other in self.tracing.threads_of(pid) {
            if other != tid && other != pid {
                self.tracee_is_dead(other, 0);
            }
        }
        if tid != pid {
            self.tracing.0.remove(&pid);
            if let Some(tracee) = self.tracing.0.remove(&tid) {
                self.tracing.0.insert(pid, tracee);
            }
        }
    }

    /// Whether a process is traced by one that may not have what a program would give it.
    pub(crate) fn is_traced_by_a_lesser(&self, pid: u32) -> bool {
        let tids = self.tracing.threads_of(pid);
        let tracers = tids.iter().filter_map(|tid| self.tracing.get(*tid));
        tracers.map(|tracee| tracee.tracer).any(|(tracer, thread)| {
            let home: Option<&Home> = self.homes.get(&tracer);
            !home.is_some_and(|home| {
                home.credentials_of(thread)
                    .ids
                    .has(crate::credentials::SYS_PTRACE)
            })
        })
    }
}

/// What a child is to a tracer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChildEvent {
    /// Of fork(2).
    Fork,
    /// Of vfork(2).
    Vfork,
    /// Another thread, or a process whose end does not tell SIGCHLD.
    Clone,
}

/// How a child is made, as far as a tracer is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ChildKind {
    pub(crate) event: ChildEvent,
    /// `CLONE_UNTRACED`: no event.
    pub(crate) untraced: bool,
    /// `CLONE_PTRACE`: it is traced if its maker is.
    pub(crate) traced: bool,
}
