//! How threads are to be scheduled: policies, processors, names.
//!
//! Law: home keeps what is asked for each thread, so that everybody can ask about everybody. Where the
//! threads are it has an effect of its own: which processors they may run on is kept to by the node's
//! run queues; policies, priorities and deadlines are kept and told, and everybody has turns of the same length.

use crate::credentials::SYS_NICE;
use crate::dispatch::HomeCall;
use crate::home::{Home, HomeThread};
use crate::schedule::SLICE_NS;
use crate::system::System;
use crate::wait::Stop;
use abi::Errno;
use alloc::vec::Vec;

const OTHER: u32 = 0;
const FIFO: u32 = 1;
const RR: u32 = 2;
const BATCH: u32 = 3;
const IDLE: u32 = 5;
const DEADLINE: u32 = 6;
/// `SCHED_RESET_ON_FORK` in a policy.
const RESET_ON_FORK: u32 = 0x4000_0000;
/// `SCHED_FLAG_RESET_ON_FORK` of sched_setattr(2).
const FLAG_RESET: u64 = 1;
/// `SCHED_FLAG_KEEP_POLICY` and `SCHED_FLAG_KEEP_PARAMS`: what is told of these is not looked at.
const FLAG_KEEP_POLICY: u64 = 8;
/// See `FLAG_KEEP_POLICY`.
const FLAG_KEEP_PARAMS: u64 = 0x10;
/// `SCHED_FLAG_UTIL_CLAMP`: bounds of what a thread is taken to use, which are not there.
const FLAG_CLAMP: u64 = 0x60;
/// `SCHED_ATTR_SIZE_VER0`.
const ATTRIBUTES: usize = 48;
/// `SCHED_ATTR_SIZE_VER1`, with bounds of what a thread is taken to use.
const ATTRIBUTES_KNOWN: usize = 56;
const PAGE: u64 = 4096;
/// `RLIMIT_NICE`.
const LIMIT_NICE: usize = 13;
/// `RLIMIT_RTPRIO`.
const LIMIT_PRIORITY: usize = 14;

/// How a thread is to be scheduled.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Scheduling {
    /// `SCHED_*`.
    pub policy: u32,
    /// For the real-time policies, from 1 to 99.
    pub priority: u32,
    /// Its children begin with the usual policy.
    pub resets: bool,
    /// On which processors, a bit each; 0 for all.
    pub processors: u64,
    /// The I/O priority: class and level (ioprio_set(2)).
    pub io: u16,
    /// Of `SCHED_DEADLINE`: how long it computes, until when and how often, ns; else 0.
    pub times: [u64; 3],
}

/// Whether a thread can compute so long, until then and so often (`__checkparam_dl`).
fn are_times([runtime, deadline, period]: [u64; 3]) -> bool {
    const LEAST_NS: u64 = 1 << 10;
    const LEAST_PERIOD_NS: u64 = 100_000;
    const MOST_PERIOD_NS: u64 = 1 << 42;
    runtime >= LEAST_NS
        && runtime <= deadline
        && deadline <= period
        && (LEAST_PERIOD_NS..=MOST_PERIOD_NS).contains(&period)
}

impl Scheduling {
    /// What a child begins with.
    #[must_use]
    pub fn of_child(self) -> Scheduling {
        match self.resets {
            true => Scheduling {
                processors: self.processors,
                io: self.io,
                ..Scheduling::default()
            },
            false => self,
        }
    }

    /// Whether it may have children: what is due at times of its own is not divided (`sched_fork`).
    pub(super) fn may_have_children(self) -> bool {
        self.policy != DEADLINE || self.resets
    }

    /// The processors of a node with these that it may run on; all if none of its own is there.
    pub fn processors_of(self, there: u64) -> u64 {
        match self.processors & there {
            0 => there,
            some => some,
        }
    }
}

/// The thread that an argument names, 0 being the caller, with its process.
fn named(call: &HomeCall<'_>, argument: u64) -> Result<(u32, u32), Errno> {
    let tid = match argument as i32 {
        ..0 => return Err(Errno::EINVAL),
        0 => return Ok((call.pid, call.tid)),
        tid => tid as u32,
    };
    let pid = call.system.process_at_home(tid);
    let home = call.system.homes.get(&pid).ok_or(Errno::ESRCH)?;
    if home.threads.contains_key(&tid) {
        Ok((pid, tid))
    } else {
        Err(Errno::ESRCH)
    }
}

fn thread_of(system: &mut System, (pid, tid): (u32, u32)) -> Result<&mut HomeThread, Errno> {
    system.home_thread(pid, tid).ok_or(Errno::ESRCH)
}

/// Whether the caller may change how a thread is scheduled.
fn may_change(call: &mut HomeCall<'_>, (pid, tid): (u32, u32)) -> Result<(), Errno> {
    let own = call.ids();
    let other = call.system.homes.get(&pid).ok_or(Errno::ESRCH)?;
    let other = other.credentials_of(tid).ids;
    if own.has(SYS_NICE) || [other.euid, other.uid].contains(&own.euid) {
        Ok(())
    } else {
        Err(Errno::EPERM)
    }
}

/// Whether a policy may have a priority.
fn check(policy: u32, priority: u32) -> Result<(), Errno> {
    let fits = match policy {
        FIFO | RR => (1..=99).contains(&priority),
        OTHER | BATCH | IDLE | DEADLINE => priority == 0,
        _ => false,
    };
    if fits { Ok(()) } else { Err(Errno::EINVAL) }
}

/// Changes policy and priority of a thread.
fn change(
    call: &mut HomeCall<'_>,
    target: (u32, u32),
    policy: u32,
    priority: u32,
    resets: bool,
    times: [u64; 3],
) -> Result<u64, Stop> {
    check(policy, priority)?;
    if policy == DEADLINE && !are_times(times) {
        return Err(Errno::EINVAL.into());
    }
    may_change(call, target)?;
    let root = call.ids().has(SYS_NICE);
    let limit = call.home().limits[LIMIT_PRIORITY].0;
    let may_be_nice = call.may_be_nice(target.0);
    let now = thread_of(call.system, target)?.scheduling;
    let raises = priority > 0 && (policy != now.policy || priority > now.priority);
    let leaves_idle = now.policy == IDLE && policy != IDLE;
    let refused = policy == DEADLINE
        || (raises && u64::from(priority) > limit)
        || (now.resets && !resets)
        || (leaves_idle && !may_be_nice);
    if !root && refused {
        return Err(Errno::EPERM.into());
    }
    thread_of(call.system, target)?.scheduling = Scheduling {
        policy,
        priority,
        resets,
        times,
        ..now
    };
    Ok(0)
}

fn priority_given(call: &HomeCall<'_>, argument: usize) -> Result<u32, Stop> {
    call.check_input(argument)?;
    let word = call
        .input(argument)
        .first_chunk::<4>()
        .ok_or(Errno::EINVAL)?;
    Ok(u32::from_le_bytes(*word))
}

impl HomeCall<'_> {
    /// Whether the limits of the caller let a process have the nice value that it has anew.
    fn may_be_nice(&mut self, pid: u32) -> bool {
        let limit = self.home().limits[LIMIT_NICE].0;
        let nice = self.system.homes.get(&pid).map_or(0, |home| home.nice);
        (20 - nice) as u64 <= limit
    }
}

/// sched_setscheduler(2).
pub fn sched_setscheduler(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    let [who, policy, ..] = call.args;
    if (policy as i32) < 0 || (who as i32) < 0 {
        return Err(Errno::EINVAL.into());
    }
    let priority = priority_given(call, 2)?;
    let target = named(call, who)?;
    let resets = policy as u32 & RESET_ON_FORK != 0;
    change(
        call,
        target,
        policy as u32 & !RESET_ON_FORK,
        priority,
        resets,
        [0; 3],
    )
}

/// sched_setparam(2).
pub fn sched_setparam(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    let who = call.args[0];
    if (who as i32) < 0 {
        return Err(Errno::EINVAL.into());
    }
    let priority = priority_given(call, 1)?;
    let target = named(call, who)?;
    let now = thread_of(call.system, target)?.scheduling;
    change(call, target, now.policy, priority, now.resets, now.times)
}

/// sched_getscheduler(2).
pub fn sched_getscheduler(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    let target = named(call, call.args[0])?;
    let now = thread_of(call.system, target)?.scheduling;
    let resets = if now.resets { RESET_ON_FORK } else { 0 };
    Ok(u64::from(now.policy | resets))
}

/// sched_getparam(2).
pub fn sched_getparam(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    let [who, address, ..] = call.args;
    if address == 0 {
        return Err(Errno::EINVAL.into());
    }
    let target = named(call, who)?;
    let now = thread_of(call.system, target)?.scheduling;
    call.outputs.set(1, now.priority.to_le_bytes().to_vec());
    Ok(0)
}

/// sched_rr_get_interval(2): the length of a turn, which is the same for all. Of those that have no turns by what
/// their policy says it is 0, as programs expect.
pub fn sched_rr_get_interval(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    let target = named(call, call.args[0])?;
    let slice = match thread_of(call.system, target)?.scheduling.policy {
        FIFO | DEADLINE => 0,
        _ => SLICE_NS,
    };
    let mut bytes = [0; 16];
    bytes[8..].copy_from_slice(&slice.to_le_bytes());
    call.outputs.set(1, bytes.to_vec());
    Ok(0)
}

/// sched_getattr(2).
pub fn sched_getattr(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    let [who, address, size, flags, ..] = call.args;
    let size = size as u32 as u64;
    if address == 0 || flags as u32 != 0 || !(ATTRIBUTES as u64..=PAGE).contains(&size) {
        return Err(Errno::EINVAL.into());
    }
    let target = named(call, who)?;
    let now = thread_of(call.system, target)?.scheduling;
    let nice = call.system.homes.get(&target.0).map_or(0, |home| home.nice);
    let told = (size as usize).min(ATTRIBUTES_KNOWN);
    let mut bytes = Vec::with_capacity(ATTRIBUTES_KNOWN);
    bytes.extend_from_slice(&(told as u32).to_le_bytes());
    bytes.extend_from_slice(&now.policy.to_le_bytes());
    bytes.extend_from_slice(&u64::from(now.resets).to_le_bytes());
    bytes.extend_from_slice(&nice.to_le_bytes());
    bytes.extend_from_slice(&now.priority.to_le_bytes());
    for time in now.times {
        bytes.extend_from_slice(&time.to_le_bytes());
    }
    bytes.resize(told, 0);
    call.outputs.set(1, bytes);
    Ok(0)
}

/// sched_setattr(2).
pub fn sched_setattr(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    let [who, address, flags, ..] = call.args;
    if address == 0 || flags as u32 != 0 || (who as i32) < 0 {
        return Err(Errno::EINVAL.into());
    }
    let given = call.input(1).to_vec();
    let word = |at: usize| {
        let bytes = given
            .get(at..at + 4)
            .and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, u32::from_le_bytes)
    };
    let size = word(0) as usize;
    if size != 0 && !(ATTRIBUTES..=machine::PAGE_SIZE).contains(&size) {
        return Err(Errno::E2BIG.into());
    }
    let long = |at: usize| u64::from(word(at)) | u64::from(word(at + 4)) << 32;
    let (mut policy, bits) = (word(4), long(8));
    let (mut nice, mut priority) = (word(16) as i32, word(20));
    let mut times = [long(24), long(32), long(40)];
    if bits & FLAG_CLAMP != 0 {
        return Err(Errno::EOPNOTSUPP.into());
    }
    if bits & !(FLAG_RESET | FLAG_KEEP_POLICY | FLAG_KEEP_PARAMS) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let target = named(call, who)?;
    let root = call.ids().has(SYS_NICE);
    let before = call.system.homes.get(&target.0).map_or(0, |home| home.nice);
    let now = thread_of(call.system, target)?.scheduling;
    if bits & FLAG_KEEP_POLICY != 0 {
        policy = now.policy;
    }
    if bits & FLAG_KEEP_PARAMS != 0 {
        (nice, priority, times) = (before, now.priority, now.times);
    }
    if policy != DEADLINE {
        times = [0; 3];
    } else if times[2] == 0 {
        times[2] = times[1];
    }
    let nice = nice.clamp(-20, 19);
    let has_nice = matches!(policy, OTHER | BATCH);
    if has_nice && nice < before && !root {
        return Err(Errno::EPERM.into());
    }
    let resets = bits & FLAG_RESET != 0;
    change(call, target, policy, priority, resets, times)?;
    if let Some(home) = call.system.homes.get_mut(&target.0)
        && has_nice
    {
        home.nice = nice;
    }
    Ok(0)
}

/// The processors of a thread: `(thread, whether they change, which)`. The value is 0, or which there are
/// in buffer 0 of the answer.
pub fn affinity(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    let [who, changes, set, ..] = call.args;
    let target = match named(call, who) {
        Err(Errno::EINVAL) => return Err(Errno::ESRCH.into()),
        other => other?,
    };
    let there = call.system.processor_set();
    if changes == 0 {
        let now = thread_of(call.system, target)?.scheduling;
        let set = now.processors_of(there);
        call.outputs.set(0, set.to_le_bytes().to_vec());
        return Ok(0);
    }
    may_change(call, target)?;
    if set & there == 0 {
        return Err(Errno::EINVAL.into());
    }
    thread_of(call.system, target)?.scheduling.processors = set;
    call.system.order(target);
    Ok(0)
}

impl System {
    /// What home has decided for a thread is told to it, wherever it is: with the signals that it asks
    /// for.
    pub(crate) fn order(&mut self, (pid, tid): (u32, u32)) {
        let Some(home) = self.homes.get(&pid) else {
            return;
        };
        let gate = home.record.gate();
        let (owner, epoch) = (gate.owner(), gate.epoch());
        if owner == self.me {
            return self.obey(tid);
        }
        let (pid, thread) = (wire::Pid(pid), wire::Pid(tid));
        self.send(owner, wire::Message::Poke { pid, thread, epoch });
    }

    /// A thread at home takes over what its home has decided.
    pub(crate) fn obey(&mut self, tid: u32) {
        let pid = self.process_at_home(tid);
        let ordered = self.homes.get_mut(&pid).and_then(Home::take_orders);
        if let Some((orders, body)) = ordered.zip(self.bodies.get_mut(&pid)) {
            body.obey(orders);
        }
        let Some(kept) = self.home_thread(pid, tid) else {
            return;
        };
        let (processors, name) = (kept.scheduling.processors, kept.name);
        if let Some(thread) = self.threads.get_mut(&tid) {
            thread.name = name;
            thread.processors = processors;
            self.leave_forbidden(tid);
        }
    }
}
