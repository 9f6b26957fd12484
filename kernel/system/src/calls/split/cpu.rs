//! CPU time: what a process has used, and its timers by that.
//!
//! Law: what the body itself has used it answers itself; home knows of children and of other processes.
//! A timer of timer_create(2) exists at home, which gives it a number and sends its signal; when it
//! expires is known here (`crate::cpu_timers`).

use super::super::home::{record, spans};
use crate::cpu_timers::{CPU_TIMERS_MAX, CpuTimer, Setting};
use crate::dispatch::{CALL_CPU_TIME, CALL_EXPIRED, LocalCall, result_of};
use crate::home::{Request, Used};
use crate::wait::Stop;
use abi::Errno;
use alloc::vec::Vec;

const ITIMER_REAL: u64 = 0;
/// A clock that home takes to be one of CPU time.
const CPU_CLOCK: u64 = 2;
const NS_PER_S: u64 = 1_000_000_000;

/// Whose CPU time a clock shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CpuClock {
    /// All threads of a process.
    Process(u32),
    /// One thread.
    Thread(u32),
}

impl LocalCall<'_> {
    /// Whose CPU time a clock shows: fixed ones of the caller, and those that clock_getcpuclockid(3) makes:
    /// above three bits the complement of a number; 4 says that it is a thread's, and the lowest two what
    /// counts as CPU time.
    pub(crate) fn cpu_clock(&mut self, clock: i32) -> Option<CpuClock> {
        let number = !(clock >> 3) as u32;
        let or = |own: u32| if number == 0 { own } else { number };
        match clock {
            2 => Some(CpuClock::Process(self.pid)),
            3 => Some(CpuClock::Thread(self.tid)),
            0.. => None,
            _ if clock & 3 == 3 => None,
            _ if clock & 4 != 0 => Some(CpuClock::Thread(or(self.tid))),
            _ => Some(CpuClock::Process(or(self.pid))),
        }
    }

    /// The time of a clock of the caller's process, ns; `None` for those of others.
    pub(crate) fn own_cpu_time(&mut self, clock: CpuClock) -> Option<u64> {
        match clock {
            CpuClock::Process(pid) => (pid == self.pid).then(|| self.body().cpu.total_ns()),
            CpuClock::Thread(tid) => {
                let mine = self.body().threads.contains(&tid);
                mine.then(|| self.system.thread(tid).cpu.total_ns())
            }
        }
    }

    /// The time of any clock of CPU time; of another process home is asked.
    pub(crate) fn cpu_time(&mut self, clock: CpuClock) -> Result<u64, Stop> {
        if let Some(own) = self.own_cpu_time(clock) {
            return Ok(own);
        }
        let CpuClock::Process(pid) = clock else {
            return Err(Errno::EINVAL.into());
        };
        let args = [pid.into(), 0, 0, 0, 0, 0];
        let answer = self.home(CALL_CPU_TIME, |_| Ok(Request::plain(CALL_CPU_TIME, args)))?;
        result_of(answer.value)?;
        let bytes = answer.buffers.get(0).and_then(|bytes| bytes.first_chunk());
        Ok(bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes)))
    }

    /// What the caller's process has used so far.
    pub(crate) fn used(&mut self) -> Used {
        let pid = self.pid;
        let now = self.system.space_of(pid);
        let pages = now.map_or(0, |space| space.usage().resident_pages);
        let body = self.body();
        body.peak_pages = body.peak_pages.max(pages);
        Used {
            cpu: body.cpu,
            peak_pages: body.peak_pages,
            faults: body.faults,
        }
    }
}

/// getrusage(2).
pub fn getrusage(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    const CHILDREN: i32 = -1;
    const OWN: i32 = 0;
    const THREAD: i32 = 1;
    let [who, address, ..] = call.args;
    let mut used = match who as i32 {
        CHILDREN => return call.forwarded(call.args),
        OWN | THREAD => call.used(),
        _ => return Err(Errno::EINVAL.into()),
    };
    if who as i32 == THREAD {
        used.cpu = call.thread().cpu;
    }
    call.write(address, &used.rusage())?;
    Ok(0)
}

/// times(2).
pub fn times(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let own = call.body().cpu;
    call.forwarded([call.args[0], own.user_ns, own.system_ns, 0, 0, 0])
}

// ---- setitimer(2) --------------------------------------------------------------------------------

/// Which of the two timers of CPU time, if it is none of real time.
fn which(call: &LocalCall<'_>) -> Result<Option<usize>, Errno> {
    match call.args[0] as i32 {
        0 => Ok(None),
        1 => Ok(Some(0)),
        2 => Ok(Some(1)),
        _ => Err(Errno::EINVAL),
    }
}

/// getitimer(2).
pub fn getitimer(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let Some(which) = which(call)? else {
        return call.forwarded(call.args);
    };
    let address = call.args[1];
    let body = call.body();
    let left = body.cpu_timers.interval[which].left(body.timer_clock(which));
    call.write(address, &record(rounded(left)))?;
    Ok(0)
}

/// As much as is left is at least what can be told.
fn rounded((left, interval): (u64, u64)) -> (u64, u64) {
    let left = if left == 0 { 0 } else { left.max(1000) };
    (left, interval)
}

/// setitimer(2). Without a new value the timer is switched off, as in Linux.
pub fn setitimer(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let Some(which) = which(call)? else {
        return call.forwarded([ITIMER_REAL, call.args[1], call.args[2], 0, 0, 0]);
    };
    let [_, new, old, ..] = call.args;
    let (value, interval) = match new {
        0 => (0, 0),
        new => {
            let mut bytes = [0; 32];
            call.read_into(new, &mut bytes)?;
            spans(&bytes)?
        }
    };
    if old != 0 {
        let body = call.body();
        let left = body.cpu_timers.interval[which].left(body.timer_clock(which));
        call.write(old, &record(rounded(left)))?;
    }
    let body = call.body();
    body.cpu_timers.interval[which] = Setting::after(body.timer_clock(which), value, interval);
    body.watch_cpu();
    Ok(0)
}

// ---- timer_create(2) -----------------------------------------------------------------------------

/// The number of a timer, as home takes it.
pub(super) fn timer_number(argument: u64) -> u32 {
    u32::try_from(argument as i32).unwrap_or(u32::MAX)
}

/// timer_create(2).
pub fn timer_create(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let mut args = call.args;
    let thread = match call.cpu_clock(args[0] as i32) {
        None => {
            call.forwarded(args)?;
            return Ok(0);
        }
        Some(clock) if call.own_cpu_time(clock).is_none() => return Err(Errno::EINVAL.into()),
        Some(CpuClock::Process(_)) => 0,
        Some(CpuClock::Thread(tid)) => tid,
    };
    if call.body().cpu_timers.timers.len() >= CPU_TIMERS_MAX {
        return Err(Errno::EAGAIN.into());
    }
    args[0] = CPU_CLOCK;
    let id = call.forwarded(args)?;
    let timer = CpuTimer {
        thread,
        setting: Setting::default(),
    };
    let timers = &mut call.body().cpu_timers.timers;
    timers.insert(timer_number(id), timer);
    Ok(0)
}

impl LocalCall<'_> {
    /// A timer by CPU time, and the time of its clock.
    pub(super) fn cpu_timer(&mut self, argument: u64) -> Option<(CpuTimer, u64)> {
        let id = timer_number(argument);
        let timer = *self.body().cpu_timers.timers.get(&id)?;
        let clock = match timer.thread {
            0 => CpuClock::Process(self.pid),
            tid => CpuClock::Thread(tid),
        };
        // Of a thread that is over no time passes any more.
        Some((timer, self.own_cpu_time(clock).unwrap_or(0)))
    }
}

/// `struct itimerspec`: interval first.
pub(super) fn timer_record((left, interval): (u64, u64)) -> Vec<u8> {
    [interval, left]
        .iter()
        .flat_map(|ns| [ns / NS_PER_S, ns % NS_PER_S])
        .flat_map(u64::to_le_bytes)
        .collect()
}

/// timer_gettime(2).
pub fn timer_gettime(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let [id, address, ..] = call.args;
    match call.cpu_timer(id) {
        None => call.forwarded(call.args),
        Some((timer, now)) => {
            call.write(address, &timer_record(timer.setting.left(now)))?;
            Ok(0)
        }
    }
}

/// timer_delete(2).
pub fn timer_delete(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    call.forwarded(call.args)?;
    let id = timer_number(call.args[0]);
    let body = call.body();
    body.cpu_timers.timers.remove(&id);
    body.watch_cpu();
    Ok(0)
}

/// Something has expired by CPU time: home sends the signal before the thread goes on.
pub fn expired(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    call.ask_home(CALL_EXPIRED, call.args)
}
