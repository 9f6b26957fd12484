//! What a process may learn of others and do to them: kcmp(2), prlimit(2), I/O priorities, and their
//! memory.
//!
//! Law: who may look into a process is decided here as ptrace(2) does ("Ptrace access mode checking"):
//! with all ids equal and the other not hidden, or with the capability.

use crate::body::{LIMITS, NOFILE};
use crate::credentials::{Ids, SYS_ADMIN, SYS_NICE, SYS_PTRACE, SYS_RESOURCE};
use crate::dispatch::HomeCall;
use crate::files::Common;
use crate::files::MAX_DESCRIPTORS;
use crate::home::{Home, INIT};
use crate::system::System;
use crate::wait::Stop;
use abi::Errno;
use alloc::vec::Vec;
use core::cmp::Ordering;

/// Whether all users and groups of another are the caller's real ones.
fn same_ids(own: &Ids, other: &Ids) -> bool {
    other.users() == [own.uid; 3] && other.groups() == [own.gid; 3]
}

impl System {
    /// Whether a thread may look into a process of this home.
    ///
    /// # Errors
    /// ESRCH, EPERM.
    pub(crate) fn may_look_into(&self, caller: u32, other: u32) -> Result<(), Errno> {
        let process = self.process_at_home(caller);
        let own = self.homes.get(&process).ok_or(Errno::ESRCH)?;
        let own = own.credentials_of(caller).ids;
        let target = self.homes.get(&other).ok_or(Errno::ESRCH)?;
        let open = same_ids(&own, &target.ids()) && target.options.is_open();
        if process == other || open || own.has(SYS_PTRACE) {
            Ok(())
        } else {
            Err(Errno::EPERM)
        }
    }
}

/// kcmp(2): whether two processes share something; the order of what they do not share is that of their
/// numbers.
pub fn kcmp(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    const FILE: u64 = 0;
    const FILES: u64 = 2;
    const FS: u64 = 3;
    const SYSVSEM: u64 = 6;
    let [one, other, kind, first, second, _] = call.args;
    let pids = [one, other].map(|tid| call.system.process_at_home(tid as u32));
    for pid in pids {
        let alive = call.system.homes.get(&pid).is_some_and(Home::lives);
        if !alive {
            return Err(Errno::ESRCH.into());
        }
    }
    for pid in pids {
        call.system.may_look_into(call.tid, pid)?;
    }
    let identity = |pid: u32, fd: u64| {
        let files = call
            .system
            .homes
            .get(&pid)
            .and_then(|home| home.files.as_ref());
        let fd = u32::try_from(fd).map_err(|_| Errno::EBADF)?;
        Ok::<u64, Errno>(files.ok_or(Errno::EBADF)?.get(fd)?.identity())
    };
    let files = pids.map(|pid| call.system.homes.get(&pid)?.files.as_ref());
    let common = match files {
        [Some(one), Some(other)] => one.common_with(other),
        _ => Common::default(),
    };
    let order = match kind as u32 as u64 {
        FILE => identity(pids[0], first)?.cmp(&identity(pids[1], second)?),
        // Descriptor tables and directories may be common to two.
        FILES if common.table => Ordering::Equal,
        FS if common.place => Ordering::Equal,
        1..=SYSVSEM => pids[0].cmp(&pids[1]),
        _ => return Err(Errno::EINVAL.into()),
    };
    Ok(match order {
        Ordering::Equal => 0,
        Ordering::Less => 1,
        Ordering::Greater => 2,
    })
}

/// A process is to be looked into: it and the caller are brought home for it, unless it is only a question: `(pid, 0 or 1)`.
pub fn meet(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    let other = call.system.process_at_home(call.args[0] as u32);
    let target = call.system.homes.get(&other).ok_or(Errno::ESRCH)?;
    if !target.lives() {
        return Err(Errno::ESRCH.into());
    }
    call.system.may_look_into(call.tid, other)?;
    if call.args[1] != 0 {
        return Ok(other.into());
    }
    for pid in [other, call.pid] {
        call.system.bring_home(pid, call.tid)?;
    }
    Ok(other.into())
}

/// A thread is to be traced, or the caller by its parent (0): both are brought home for it. The value is the process that
/// traces.
pub fn trace(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    let who = call.args[0] as u32;
    let (tracer, by, tid) = match who {
        0 => {
            let parent = call.home().parent;
            (parent, parent, call.tid)
        }
        who => (call.pid, call.tid, who),
    };
    if who != 0 && wire::Pid(who).home() != call.system.me {
        // Its home is elsewhere, and only there it can be traced. The first process is nobody's.
        let there = who == INIT || call.system.is_node_known(wire::Pid(who).home());
        return Err(if there { Errno::EPERM } else { Errno::ESRCH }.into());
    }
    let pid = call.system.process_at_home(tid);
    let target = call.system.homes.get(&pid).ok_or(Errno::ESRCH)?;
    if !target.threads.contains_key(&tid) || !call.system.homes.contains_key(&tracer) {
        return Err(Errno::ESRCH.into());
    }
    if pid == tracer || pid == INIT || call.system.tracing.get(tid).is_some() {
        return Err(Errno::EPERM.into());
    }
    call.system.may_look_into(by, pid)?;
    for pid in [tracer, pid] {
        call.system.bring_home(pid, call.tid)?;
    }
    Ok(tracer.into())
}

/// Limits of another process: `(pid, which, whether it changes, soft, hard)`; buffer 5 of the answer is
/// what they were.
pub fn limit_of(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    let [pid, which, changes, soft, hard, _] = call.args;
    let other = call.system.process_at_home(pid as u32);
    let which = usize::try_from(which).ok().filter(|which| *which < LIMITS);
    let which = which.ok_or(Errno::EINVAL)?;
    let own = call.ids();
    let target = call.system.homes.get(&other).ok_or(Errno::ESRCH)?;
    let before = target.limits[which];
    if !same_ids(&own, &target.ids()) && !own.has(SYS_RESOURCE) {
        return Err(Errno::EPERM.into());
    }
    if changes != 0 {
        if soft > hard {
            return Err(Errno::EINVAL.into());
        }
        let beyond = which == NOFILE && hard > u64::from(MAX_DESCRIPTORS);
        if beyond || hard > before.1 && !own.has(SYS_RESOURCE) {
            return Err(Errno::EPERM.into());
        }
        if let Some(home) = call.system.homes.get_mut(&other) {
            home.set_limit(which, (soft, hard));
            home.ordered = true;
        }
        call.system.order((other, other));
    }
    let bytes = [before.0.to_le_bytes(), before.1.to_le_bytes()].concat();
    call.outputs.set(5, bytes);
    Ok(0)
}

const PROCESS: u64 = 1;
const GROUP: u64 = 2;
const USER: u64 = 3;
const CLASS_SHIFT: u32 = 13;
/// The level of those who have none.
const USUAL: u16 = 2 << CLASS_SHIFT | 4;

/// The threads that ioprio_set(2) means, each with its process.
fn scheduled(call: &mut HomeCall<'_>) -> Result<Vec<(u32, u32)>, Errno> {
    let [kind, who, ..] = call.args.map(|arg| u64::from(arg as u32));
    let (pid, tid, user) = (call.pid, call.tid, call.ids().uid);
    let group = call.home().group;
    let or = |default: u32| if who == 0 { default } else { who as u32 };
    let wanted = |home: &Home, thread: u32| match kind {
        PROCESS if who == 0 => home.pid == pid && thread == tid,
        PROCESS => thread == who as u32,
        GROUP => home.group == or(group),
        _ => home.credentials_of(thread).ids.uid == or(user),
    };
    if !(PROCESS..=USER).contains(&kind) {
        return Err(Errno::EINVAL);
    }
    let mut found = Vec::new();
    for home in call.system.homes.values() {
        let threads = home.threads.keys().filter(|thread| wanted(home, **thread));
        found.extend(threads.map(|thread| (home.pid, *thread)));
    }
    match found.is_empty() {
        true => Err(Errno::ESRCH),
        false => Ok(found),
    }
}

/// ioprio_set(2): kept and told; there is no device that would heed it.
pub fn ioprio_set(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    const IDLE: u16 = 3;
    let value = u16::try_from(call.args[2] as u32).map_err(|_| Errno::EINVAL)?;
    let (class, level) = (value >> CLASS_SHIFT, value & ((1 << CLASS_SHIFT) - 1));
    let own = call.ids();
    match class {
        0 if level == 0 => {}
        1 if !own.has(SYS_ADMIN) && !own.has(SYS_NICE) => return Err(Errno::EPERM.into()),
        1 | 2 if level < 8 => {}
        IDLE => {}
        _ => return Err(Errno::EINVAL.into()),
    }
    for (pid, tid) in scheduled(call)? {
        let other = call.system.homes.get(&pid).ok_or(Errno::ESRCH)?;
        let other = other.credentials_of(tid).ids;
        if ![own.uid, own.euid].contains(&other.uid) && !own.has(SYS_NICE) {
            return Err(Errno::EPERM.into());
        }
        if let Some(thread) = call.system.home_thread(pid, tid) {
            thread.scheduling.io = value;
        }
    }
    Ok(0)
}

/// ioprio_get(2): of several the most urgent.
pub fn ioprio_get(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    let alone = call.args[0] == PROCESS;
    let mut best = None;
    for (pid, tid) in scheduled(call)? {
        let value = call
            .system
            .home_thread(pid, tid)
            .map_or(0, |thread| thread.scheduling.io);
        let value = if value == 0 && !alone { USUAL } else { value };
        best = Some(best.map_or(value, |best: u16| best.min(value)));
    }
    Ok(best.ok_or(Errno::ESRCH)?.into())
}
