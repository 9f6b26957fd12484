//! Waiting for children, and the time they took.
//!
//! Law: a child's change is reported once, by whichever of the calls asks first; looking with
//! `WNOWAIT` leaves it for the next.

use super::end_of;
use crate::dispatch::HomeCall;
use crate::home::{Home, Life, Used};
use crate::ptrace::News;
use crate::signals::{CLD_CONTINUED, CLD_EXITED, CLD_STOPPED, CLD_TRAPPED, SignalInfo};
use crate::view::cpu_of;
use crate::wait::Stop;
use abi::{Errno, signal};

const WNOHANG: u64 = 1;
const WUNTRACED: u64 = 2;
const WEXITED: u64 = 4;
const WCONTINUED: u64 = 8;
const WNOWAIT: u64 = 0x0100_0000;
/// Children whatever their end tells.
const WALL: u64 = 0x4000_0000;
/// Only children whose end does not tell SIGCHLD.
const WCLONE: u64 = 0x8000_0000;
/// With `__WNOTHREAD`: children are the process's here, whichever thread has made them.
const WAIT_KINDS: u64 = 0x2000_0000 | WALL | WCLONE;
/// A tick of times(2): `sysconf(_SC_CLK_TCK)` is 100.
const TICK_NS: u64 = 10_000_000;

/// What became of a child.
struct Change {
    pid: u32,
    user: u32,
    code: i32,
    /// Exit status or signal.
    status: u32,
    used: Used,
}

impl Change {
    /// The status of wait4(2).
    fn wait_status(&self) -> u32 {
        match self.code {
            CLD_EXITED => self.status << 8,
            CLD_STOPPED | CLD_TRAPPED => (self.status << 8) | 0x7f,
            CLD_CONTINUED => 0xffff,
            _ => self.status,
        }
    }
}

/// What there is to say about a child to somebody with these options.
fn change_of(child: &Home, options: u64) -> Option<Change> {
    let (code, status) = match child.life {
        Life::Zombie(status) if options & WEXITED != 0 => end_of(status),
        Life::Stopped {
            signal,
            told: false,
        } if options & WUNTRACED != 0 => (CLD_STOPPED, signal),
        Life::Alive if child.continued && options & WCONTINUED != 0 => {
            (CLD_CONTINUED, signal::SIGCONT)
        }
        _ => return None,
    };
    let mut used = child.used;
    used.add(child.children_used);
    Some(Change {
        pid: child.pid,
        user: child.ids().uid,
        code,
        status,
        used,
    })
}

/// Whether a child is of the kind that is waited for: clone(2) makes some that fork(2) does not.
fn is_of_kind(child: &Home, options: u64) -> bool {
    let by_clone = child.exit_signal != signal::SIGCHLD;
    options & WALL != 0 || by_clone == (options & WCLONE != 0)
}

/// Who is waited for.
#[derive(Clone, Copy)]
enum Wanted {
    Any,
    /// By its number, which may be that of a thread that is traced.
    One(u32),
    Group(u32),
}

impl Wanted {
    fn is(self, number: u32, group: u32) -> bool {
        match self {
            Wanted::Any => true,
            Wanted::One(wanted) => number == wanted,
            Wanted::Group(wanted) => group == wanted,
        }
    }
}

/// The next change of a wanted tracee, which is thereby reported, and whether there is such a tracee.
fn next_of_tracees(
    call: &mut HomeCall<'_>,
    options: u64,
    wanted: Wanted,
) -> (bool, Option<Change>) {
    let homes = &call.system.homes;
    let group_of = |pid: u32| homes.get(&pid).map_or(0, |home| home.group);
    let is_wanted = |tid: u32, pid: u32| wanted.is(tid, group_of(pid));
    let ends = options & WEXITED != 0;
    let (any, news) = call.system.tracing.news(call.pid, is_wanted, ends);
    let Some((tid, news)) = news else {
        return (any, None);
    };
    let (code, status) = match news {
        News::Stopped(status) => (CLD_TRAPPED, status),
        News::Ended(status) => end_of(status),
    };
    let pid = call.system.process_at_home(tid);
    let mut used = Used::default();
    match call.system.threads.get(&tid) {
        Some(thread) => used.cpu = thread.cpu,
        None if tid == pid => used = homes.get(&pid).map_or(used, |home| home.used),
        None => {}
    }
    let change = Change {
        pid: tid,
        user: homes.get(&pid).map_or(0, |home| home.ids().uid),
        code,
        status,
        used,
    };
    if options & WNOWAIT == 0 {
        call.system.tracer_knows(tid);
    }
    (true, Some(change))
}

/// The next change of a wanted child or tracee, which is thereby reported; `None` if there is none and the
/// caller does not wait.
fn next_change(
    call: &mut HomeCall<'_>,
    options: u64,
    wanted: Wanted,
) -> Result<Option<Change>, Stop> {
    let me = call.pid;
    let (mut any, of_tracee) = next_of_tracees(call, options, wanted);
    if of_tracee.is_some() {
        return Ok(of_tracee);
    }
    let mut found = None;
    for child in call.system.homes.values() {
        let is_wanted = wanted.is(child.pid, child.group);
        if child.parent != me || !is_of_kind(child, options) || !is_wanted {
            continue;
        }
        any = true;
        let tracing = &call.system.tracing;
        let tracer = tracing.tracer_of(child.pid);
        // Its own tracee has reported what there is; the end of one that another traces is first that one's to know.
        let hidden = match child.life {
            Life::Zombie(_) => tracer.is_some() || tracing.has_other_dead(child.pid),
            _ => tracer == Some(me),
        };
        if hidden {
            continue;
        }
        found = change_of(child, options);
        if found.is_some() {
            break;
        }
    }
    let Some(change) = found else {
        if !any {
            return Err(Errno::ECHILD.into());
        }
        if options & WNOHANG != 0 {
            return Ok(None);
        }
        let tid = call.tid;
        call.home().children_changed.wait(tid);
        return Err(Stop::Wait);
    };
    if options & WNOWAIT != 0 {
        return Ok(Some(change));
    }
    let Some(child) = call.system.homes.get_mut(&change.pid) else {
        return Err(Errno::ECHILD.into());
    };
    // So the answer is kept, too: it is given again, and not waited for, if home dies on the way.
    call.system.keeper.touch(change.pid);
    match &mut child.life {
        Life::Stopped { told, .. } => *told = true,
        Life::Alive => child.continued = false,
        Life::Zombie(_) => {
            call.system.reap(change.pid);
            let parent = call.home();
            parent.children_used.add(change.used);
        }
    }
    Ok(Some(change))
}

/// wait4(2).
pub fn wait4(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    let [which, _, options, _, _, _] = call.args;
    let options = u64::from(options as u32);
    if options & !(WNOHANG | WUNTRACED | WCONTINUED | WAIT_KINDS) != 0 {
        return Err(Errno::EINVAL.into());
    }
    if which as i32 == i32::MIN {
        return Err(Errno::ESRCH.into());
    }
    let group = call.home().group;
    let wanted = match which as i32 {
        -1 => Wanted::Any,
        0 => Wanted::Group(group),
        pid if pid > 0 => Wanted::One(pid as u32),
        other => Wanted::Group(other.unsigned_abs()),
    };
    let change = next_change(call, options | WEXITED, wanted)?;
    let Some(change) = change else {
        return Ok(0);
    };
    call.outputs
        .set(1, change.wait_status().to_le_bytes().to_vec());
    call.outputs.set(3, change.used.rusage().to_vec());
    Ok(u64::from(change.pid))
}

/// waitid(2).
pub fn waitid(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    const P_ALL: u64 = 0;
    const P_PID: u64 = 1;
    const P_PGID: u64 = 2;
    const P_PIDFD: u64 = 3;
    let [mut kind, mut id, _, options, _, _] = call.args;
    let mut options = u64::from(options as u32);
    let states = WEXITED | WUNTRACED | WCONTINUED;
    if options & !(states | WNOHANG | WNOWAIT | WAIT_KINDS) != 0 || options & states == 0 {
        return Err(Errno::EINVAL.into());
    }
    let mut impatient = false;
    if kind == P_PIDFD {
        if (id as i32) < 0 {
            return Err(Errno::EINVAL.into());
        }
        // A process that is gone is nobody's child.
        let (held, never) = call.handle(id)?;
        impatient = never && options & WNOHANG == 0;
        options |= if never { WNOHANG } else { 0 };
        let held = held.ok_or(Errno::ECHILD)?;
        (kind, id) = (P_PID, u64::from(held.number()));
    }
    let own = call.home().group;
    let group = if id == 0 { own } else { id as u32 };
    let named = match kind {
        P_PID => id as i32 > 0,
        P_PGID => id as i32 >= 0,
        other => other == P_ALL,
    };
    if !named {
        return Err(Errno::EINVAL.into());
    }
    let wanted = match kind {
        P_ALL => Wanted::Any,
        P_PID => Wanted::One(id as u32),
        _ => Wanted::Group(group),
    };
    let change = next_change(call, options, wanted)?;
    if impatient && change.is_none() {
        return Err(Errno::EAGAIN.into());
    }
    let info = change.as_ref().map_or([0; 128], |change| {
        SignalInfo {
            signal: signal::SIGCHLD,
            code: change.code,
            words: [
                u64::from(change.pid) | u64::from(change.user) << 32,
                u64::from(change.status),
            ],
            ..SignalInfo::default()
        }
        .to_user()
    });
    call.outputs.set(2, info.to_vec());
    let used = change.map(|change| change.used).unwrap_or_default();
    call.outputs.set(4, used.rusage().to_vec());
    Ok(0)
}

/// getrusage(2) for children that were waited for; the rest the body knows.
pub fn getrusage(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    let used = call.home().children_used;
    call.outputs.set(1, used.rusage().to_vec());
    Ok(0)
}

/// times(2): the body tells what it has used itself, in user mode and in the kernel, ns.
pub fn times(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    let ([_, user, system, ..], now) = (call.args, call.system.now);
    let children = call.home().children_used.cpu;
    let times = [user, system, children.user_ns, children.system_ns];
    let bytes = times
        .iter()
        .flat_map(|ns| (ns / TICK_NS).to_le_bytes())
        .collect();
    call.outputs.set(0, bytes);
    Ok(now / TICK_NS)
}

/// The CPU time of another process: `(pid)`; in buffer 0, ns.
pub fn cpu_time(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    let (pid, tid) = (call.args[0] as u32, call.tid);
    let facts = match call.system.facts_of(pid, tid) {
        Err(Stop::Errno(_)) => return Err(Errno::EINVAL.into()),
        facts => facts?,
    };
    let home = call.system.homes.get(&pid).ok_or(Errno::EINVAL)?;
    let ns = cpu_of(&facts).later(home.used.cpu).total_ns();
    call.outputs.set(0, ns.to_le_bytes().to_vec());
    Ok(0)
}
