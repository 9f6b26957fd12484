//! Calls that home executes: processes, children, signals, and the kernel's own requests.
//!
//! Law: nothing here sees memory or registers; a body may be anywhere.

mod handles;
mod ids;
mod images;
mod jobs;
mod machines;
mod options;
mod others;
mod posix_timers;
mod scheduling;
mod signals;
mod sysv;
mod timers;
mod waiting;

pub use handles::*;
pub use ids::*;
pub use images::*;
pub use jobs::*;
pub use machines::*;
pub use options::*;
pub use others::*;
pub use posix_timers::*;
pub use scheduling::*;
pub use signals::*;
pub use sysv::*;
pub use timers::*;
pub use waiting::*;

use crate::calls::split::{CLONE_FILES, CLONE_FS, CLONE_PARENT, EXIT_SIGNAL};
use crate::cpu_timers::CpuTime;
use crate::credentials::{SYS_ADMIN, SYS_RESOURCE};
use crate::dispatch::HomeCall;
use crate::files::FileState;
use crate::home::{Home, HomeThread, INIT, Life, Transfers, Used};
use crate::signals::PendingSignals;
use crate::signals::{CLD_EXITED, CLD_KILLED, CLD_STOPPED};
use crate::system::System;
use crate::thread::padded_name;
use crate::wait::{Stop, WaitQueue};
use abi::{Errno, signal};
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use migrate::HomeRecord;
use wire::{Message, Pid};

/// Processes of one home at most (Linux' default `pid_max`), and the least memory for each.
const PROCESSES_MAX: usize = 32_768;
const FRAMES_PER_PROCESS: u64 = 16;

// ---- the kernel's own requests -------------------------------------------------------------------

/// The process ends: `(wait status, user_ns, peak_pages, faults, system_ns)`.
pub fn end(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    let [status, user_ns, peak_pages, faults, system_ns, _] = call.args;
    call.home().used = Used {
        cpu: CpuTime { user_ns, system_ns },
        peak_pages,
        faults,
    };
    call.system.ended(call.pid, status as u32);
    Ok(0)
}

/// The process stopped: the parent is told, and a SIGCONT that came meanwhile is not lost.
pub fn stopped(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    let signal = call.args[0] as u32;
    let (pid, group) = (call.pid, call.home().group);
    // Nobody could continue a group that no shell knows; only SIGSTOP stops it.
    let orphaned = signal != signal::SIGSTOP && call.system.is_orphaned_group(group);
    let home = call.home();
    if orphaned || home.pending.set() & signal::bit(signal::SIGCONT) != 0 {
        return Ok(1);
    }
    home.life = Life::Stopped {
        signal,
        told: false,
    };
    home.continued = false;
    let parent = home.parent;
    call.system.child_changed(parent, pid, CLD_STOPPED, signal);
    Ok(0)
}

/// A child with a copy of everything at home; it belongs to the caller's node. Who will share memory with
/// its child has to be here, as neither could move any more: if it is elsewhere it is sent for, and calls
/// again when it has come. One that cannot come has its child where it is.
pub fn fork(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    let [as_file, clears, flags, shares, ..] = call.args;
    if shares != 0
        && let Err(Stop::Wait) = call.system.bring_home(call.pid, call.tid)
    {
        return Err(Stop::Wait);
    }
    let sibling = flags & CLONE_PARENT != 0;
    if sibling && call.pid == INIT {
        // It would be nobody's child.
        return Err(Errno::EINVAL.into());
    }
    let fertile = call.thread().scheduling.may_have_children();
    if !fertile || call.system.homes.len() >= call.system.processes_max() || call.has_too_many() {
        return Err(Errno::EAGAIN.into());
    }
    let child = call.system.new_pid().ok_or(Errno::EAGAIN)?;
    let (now, wakes) = (call.system.now, call.system.wakes.clone());
    let first = call.thread().of_child();
    let maker = call.tid;
    let common = crate::files::Common {
        table: flags & CLONE_FILES != 0,
        place: flags & CLONE_FS != 0,
    };
    let parent = call.home();
    let gate = parent.record.gate();
    let owner = gate.owner();
    let record = HomeRecord::new(Pid(child), owner, gate.owner_boot());
    let home = Home {
        pid: child,
        parent: if sibling { parent.parent } else { parent.pid },
        maker: if sibling { parent.maker } else { maker },
        group: parent.group,
        session: parent.session,
        detached: parent.detached,
        record,
        files: parent.files.as_ref().map(|files| files.of_child(common)),
        mapped: parent.mapped.clone(),
        shared: parent.shared.clone(),
        program: parent.program.clone(),
        executing: parent.executing.clone(),
        options: parent.options.of_child(),
        command_line: parent.command_line.clone(),
        title: parent.title.clone(),
        name: parent.name,
        disowns: parent.disowns,
        ignores_children: parent.ignores_children,
        exit_signal: if sibling {
            parent.exit_signal
        } else {
            (flags & EXIT_SIGNAL) as u32
        },
        deaf_to_stops: parent.deaf_to_stops && clears == 0,
        limits: parent.limits,
        policy: parent.policy,
        ordered: false,
        nice: parent.nice,
        oom_score_adj: parent.oom_score_adj,
        login: parent.login,
        auxiliary: parent.auxiliary.clone(),
        environment: parent.environment.clone(),
        threads: BTreeMap::from([(child, first)]),
        ..Home::blank(child, now, &wakes)
    };
    let mut told = u64::from(child);
    if as_file != 0 {
        let fs = call.system.fs.clone();
        let handle = fs.process_handle(child, home.exit.clone(), now)?;
        let files = call.home().files.as_mut().ok_or(Errno::ESRCH)?;
        told |= u64::from(files.install(0, handle, true)?) << 32;
    }
    call.system.homes.insert(child, home);
    call.system.keeper.touch(child);
    if owner != call.system.me {
        // It is told, too, of changes of the files that it maps.
        call.system.lent_to(child);
    }
    Ok(told)
}

/// unshare(2): ends what the process has in common with others since clone(2). What its threads share they
/// share here whatever they say, and there are no namespaces.
pub fn unshare(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    // `CLONE_NEWTIME`, `_NEWNS`, and `_NEWCGROUP` to `_NEWNET`.
    const NAMESPACES: u64 = 0x7e02_0080;
    // `CLONE_VM`, `_SIGHAND` and `_THREAD`, which only says who has no other threads.
    const OF_THREADS: u64 = 0x1_0900;
    const SEMAPHORES: u64 = 0x4_0000;
    let flags = call.args[0];
    let known = NAMESPACES | OF_THREADS | SEMAPHORES | CLONE_FILES | CLONE_FS;
    if flags & !known == 0 && flags & NAMESPACES != 0 {
        // As where they are not allowed: programs know that from containers.
        return Err(Errno::EPERM.into());
    }
    let single = call.home().threads.len() == 1;
    let split = flags & (OF_THREADS | CLONE_FILES | CLONE_FS) != 0;
    if flags & !known != 0 || split && !single {
        return Err(Errno::EINVAL.into());
    }
    let files = call.home().files.as_mut().ok_or(Errno::ESRCH)?;
    *files = files.of_child(crate::files::Common {
        table: flags & CLONE_FILES == 0,
        place: flags & CLONE_FS == 0,
    });
    Ok(0)
}

/// Threads of one process at most.
const THREADS_MAX: usize = 4096;

/// A thread is to be, and the caller's process gets its number.
pub fn thread(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    let fertile = call.thread().scheduling.may_have_children();
    if !fertile || call.home().threads.len() >= THREADS_MAX || call.has_too_many() {
        return Err(Errno::EAGAIN.into());
    }
    let tid = call.system.new_pid().ok_or(Errno::EAGAIN)?;
    let caller = call.thread();
    let thread = HomeThread {
        blocked: caller.blocked,
        ..caller.of_child()
    };
    let home = call.home();
    home.threads.insert(tid, thread);
    home.record.gate_mut().open_lane(Pid(tid), 1);
    let pid = call.pid;
    call.system.process_of.insert(tid, pid);
    Ok(u64::from(tid))
}

/// The calling thread is over. What it was sent is lost with it, as in Linux.
pub fn thread_end(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    let tid = call.tid;
    let home = call.home();
    home.remove_thread(tid);
    if home.record.gate().running(Pid(tid)).is_none() {
        home.record.gate_mut().close_lane(Pid(tid));
    }
    let pid = call.pid;
    call.system.traced_thread_over(pid, tid);
    call.system.process_of.remove(&tid);
    Ok(0)
}

impl HomeCall<'_> {
    /// Whether the caller's user has as many threads as it may (`RLIMIT_NPROC`).
    fn has_too_many(&mut self) -> bool {
        const NPROC: usize = 6;
        let home = self.home();
        let limit = home.limits[NPROC].0;
        let ids = self.ids();
        let user = ids.uid;
        if user == 0 || ids.has(SYS_RESOURCE) || ids.has(SYS_ADMIN) {
            return false;
        }
        let homes = self.system.homes.values();
        homes.map(|home| home.threads_of(user)).sum::<u64>() >= limit
    }

    /// The other threads of the process are over, and the caller is the first thread from now on,
    /// whose calls go on counting.
    pub(super) fn become_only_thread(&mut self) {
        let (pid, tid) = (self.pid, self.tid);
        self.system.traced_threads_join(pid, tid);
        let home = self.home();
        let others: Vec<u32> = home.threads.keys().copied().collect();
        let mut own = home.threads.remove(&tid).unwrap_or_default();
        if let Some(first) = home.threads.get_mut(&pid) {
            // Who holds the first thread holds the only one from now on; its own former number is nobody's.
            core::mem::swap(&mut own.end, &mut first.end);
        }
        home.threads = BTreeMap::from([(pid, own)]);
        let gate = home.record.gate_mut();
        for other in others.iter().filter(|other| **other != tid) {
            gate.close_lane(Pid(*other));
        }
        if tid != pid {
            // The old lane is closed when this very call has been answered.
            let next = match gate.running(Pid(tid)) {
                Some(seq) => seq + 1,
                None => gate.close_lane(Pid(tid)).unwrap_or(1),
            };
            gate.open_lane(Pid(pid), next);
        }
        for other in others {
            self.system.process_of.remove(&other);
        }
    }
}

/// prctl(PR_SET_NAME): the name in buffer 0. The first thread's is the process's.
pub fn rename(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    let name = padded_name(call.input(0));
    let (pid, tid) = (call.pid, call.tid);
    call.thread().name = name;
    if tid == pid {
        call.home().name = name;
    }
    Ok(0)
}

impl HomeThread {
    /// What home keeps of a new thread of this one's making.
    fn of_child(&self) -> HomeThread {
        HomeThread {
            scheduling: self.scheduling.of_child(),
            name: self.name,
            credentials: self.credentials.clone(),
            seccomp: self.seccomp,
            ..HomeThread::default()
        }
    }
}

impl Home {
    /// How many threads of it are a user's; one that has ended counts until it is waited for.
    fn threads_of(&self, user: u32) -> u64 {
        let users = self
            .threads
            .values()
            .map(|thread| thread.credentials.ids.uid);
        let left = self.threads.is_empty().then(|| self.ids().uid);
        users.chain(left).filter(|other| *other == user).count() as u64
    }

    /// A process without anything, owned by nobody's guess: the caller fills in the rest.
    pub fn blank(pid: u32, now: u64, wakes: &crate::wait::Wakes) -> Home {
        Home {
            pid,
            parent: 0,
            maker: 0,
            group: pid,
            session: pid,
            detached: false,
            lost_foreground: 0,
            executed: false,
            record: HomeRecord::new(Pid(pid), Pid(pid).home(), wire::BootId(0)),
            files: None,
            mapped: crate::home::Mapped::default(),
            shared: crate::shared::SharedObjects::default(),
            life: Life::Alive,
            pending: PendingSignals::default(),
            threads: BTreeMap::from([(pid, HomeThread::default())]),
            continued: false,
            disowns: false,
            ignores_children: false,
            exit_signal: abi::signal::SIGCHLD,
            deaf_to_stops: false,
            left: alloc::sync::Arc::default(),
            limits: crate::life::LIMIT_DEFAULTS,
            policy: None,
            ordered: false,
            nice: 0,
            oom_score_adj: 0,
            login: u32::MAX,
            auxiliary: Vec::new(),
            environment: Vec::new(),
            timers: crate::timers::ProcessTimers::default(),
            signalled: alloc::sync::Arc::new(WaitQueue::new(wakes)),
            exit: crate::files::Exit::new(wakes),
            timer: (0, 0),
            children_changed: WaitQueue::new(wakes),
            name: [0; 16],
            command_line: Vec::new(),
            title: None,
            opening: Default::default(),
            program: Vec::new(),
            executing: None,
            options: Options::default(),
            transfers: Transfers::default(),
            started_ns: now,
            children_used: Used::default(),
            used: Used::default(),
            moves: VecDeque::new(),
            move_count: 0,
            request: None,
            obstacle: None,
            request_done: WaitQueue::new(wakes),
            facts: None,
            facts_asked: false,
            asked: Vec::new(),
        }
    }
}

/// `si_code` and `si_status` of an end with this wait status.
pub(crate) fn end_of(status: u32) -> (i32, u32) {
    match status & 0x7f {
        0 => (CLD_EXITED, status >> 8),
        signal => (CLD_KILLED, signal),
    }
}

impl System {
    /// How many processes a node is home of at most: what its memory has room for.
    pub(crate) fn processes_max(&self) -> usize {
        let frames = machine::frame_counts().total / FRAMES_PER_PROCESS;
        usize::try_from(frames).map_or(PROCESSES_MAX, |frames| frames.min(PROCESSES_MAX))
    }

    /// A pid that no process of this node has.
    pub(crate) fn new_pid(&mut self) -> Option<u32> {
        for _ in 0..=u16::MAX {
            self.last_serial = self.last_serial.wrapping_add(1);
            let pid = Pid::new(self.me, self.last_serial).0;
            let in_group = |home: &Home| home.group == pid || home.session == pid;
            if self.last_serial > 1
                && !self.homes.contains_key(&pid)
                && !self.process_of.contains_key(&pid)
                && !self.homes.values().any(in_group)
            {
                self.keeper.note_serial(self.last_serial);
                return Some(pid);
            }
        }
        None
    }

    /// A process is over: it becomes a zombie, its children get a new parent, its parent is told.
    pub(crate) fn ended(&mut self, pid: u32, status: u32) {
        // The dead guard nobody.
        let guarded = self.groups_it_guards(pid);
        let Some(home) = self.homes.get_mut(&pid).filter(|home| home.lives()) else {
            return;
        };
        home.life = Life::Zombie(status);
        if self.keeper.ended(pid) {
            machine::log!("process {pid}, adopted before, has ended with status {status:#x}");
        }
        home.forget_signals(u64::MAX);
        home.left = home.credentials().clone();
        for tid in core::mem::take(&mut home.threads).into_keys() {
            self.process_of.remove(&tid);
        }
        self.lent.remove(&pid);
        self.release_shared(pid);
        let Some(home) = self.homes.get_mut(&pid) else {
            return;
        };
        home.timer = (0, 0);
        home.mapped = crate::home::Mapped::default();
        home.executing = None;
        let parent = home.parent;
        let files = home.files.take();
        let epoch = home.record.gate().epoch();
        let owner = home.record.gate().owner();
        let copies: Vec<_> = home
            .record
            .copies()
            .map(|(node, _)| node)
            .filter(|node| *node != owner)
            .collect();
        home.exit.happen();
        home.timers.clear();
        home.request_done.wake();
        drop::<Option<FileState>>(files);
        for node in copies {
            self.send(
                node,
                Message::Lost {
                    pid: Pid(pid),
                    epoch,
                },
            );
        }
        let reaper = self.reaper_for(pid);
        let mut orphans = false;
        let mut children = Vec::new();
        for child in self.homes.values_mut().filter(|child| child.parent == pid) {
            child.parent = reaper;
            child.maker = reaper;
            child.exit_signal = abi::signal::SIGCHLD;
            orphans |= !child.lives();
            children.push(child.pid);
        }
        if orphans {
            self.children_changed(reaper);
        }
        self.tell_of_death(&children);
        if pid == INIT {
            machine::log!("init has ended with status {status:#x}");
            self.request_power_off(1);
        }
        self.timed_reads.remove(&pid);
        self.checkpoints_without(pid);
        self.fs.collect_sockets();
        self.ipc.ended(pid);
        self.left_terminal(pid);
        self.release_orphans(&guarded);
        if !self.traced_process_over(pid, parent, status) {
            self.tell_end(pid);
        }
    }

    /// The parent of a process that has ended is told, or does not want to know.
    pub(crate) fn tell_end(&mut self, pid: u32) {
        let Some(home) = self.homes.get(&pid) else {
            return;
        };
        let Life::Zombie(status) = home.life else {
            return;
        };
        let (parent, exit_signal) = (home.parent, home.exit_signal);
        let (code, status) = end_of(status);
        let mut news = self.child_news(pid, code, status);
        news.signal = exit_signal;
        let is_child = exit_signal == abi::signal::SIGCHLD;
        // Before the parent looks: it finds no zombie of a child that it does not want to know of.
        if self
            .homes
            .get(&parent)
            .is_none_or(|home| !home.lives() || is_child && home.disowns)
        {
            self.reap(pid);
        }
        self.tell_parent(parent, news);
    }

    /// Nothing is left of a process that has ended.
    pub(crate) fn reap(&mut self, pid: u32) {
        if let Some(home) = self.homes.remove(&pid) {
            home.exit.forget();
        }
    }

    /// Wakes a process that waits for its children.
    pub(crate) fn children_changed(&mut self, pid: u32) {
        if let Some(home) = self.homes.get(&pid) {
            home.children_changed.wake();
        }
    }
}
