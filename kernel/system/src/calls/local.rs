//! Calls that concern the body only: its memory, its clock, its signal dispositions, who it is.
//!
//! Law: no message leaves the node for these, wherever the process is.

mod futex;
mod memory;
mod misc;
mod numa;
mod signals;

pub use futex::*;
pub use memory::*;
pub use misc::*;
pub use numa::*;
pub use signals::*;

use super::split::CpuClock;
use crate::credentials::SYS_TIME;
use crate::dispatch::LocalCall;
use crate::wait::Stop;
use abi::Errno;
use alloc::vec::Vec;

const NS_PER_S: u64 = 1_000_000_000;

/// A number that is not in the table.
pub fn missing(call: &mut LocalCall<'_>, number: u32) -> Result<u64, Stop> {
    let (pid, body) = (call.pid, call.body());
    if body.missing.len() < 64 && body.missing.insert(number) {
        let name = abi::call_name(u64::from(number)).unwrap_or("unknown");
        let program = call.thread().short_name();
        let program = alloc::string::String::from_utf8_lossy(program).into_owned();
        machine::log!("process {pid} ({program}): system call {number} ({name}) is missing");
    }
    Err(Errno::ENOSYS.into())
}

// ---- who and what --------------------------------------------------------------------------------

/// getpid(2).
pub fn getpid(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    Ok(u64::from(call.pid))
}

/// gettid(2).
pub fn gettid(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    Ok(u64::from(call.tid))
}

/// getuid(2).
pub fn getuid(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    Ok(u64::from(call.thread().ids.uid))
}

/// geteuid(2).
pub fn geteuid(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    Ok(u64::from(call.thread().ids.euid))
}

/// getgid(2).
pub fn getgid(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    Ok(u64::from(call.thread().ids.gid))
}

/// getegid(2).
pub fn getegid(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    Ok(u64::from(call.thread().ids.egid))
}

/// arch_prctl(2).
pub fn arch_prctl(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let [code, address, ..] = call.args;
    if matches!(code, 0x1001 | 0x1002) && address >= machine::USER_END {
        return Err(Errno::EPERM.into());
    }
    match code {
        0x1001 => call.thread().registers.gs_base = address,
        0x1002 => call.thread().registers.fs_base = address,
        0x1003 => {
            let base = call.thread().registers.fs_base;
            call.write(address, &base.to_le_bytes())?;
        }
        0x1004 => {
            let base = call.thread().registers.gs_base;
            call.write(address, &base.to_le_bytes())?;
        }
        // The processor's name may be asked for, and cannot be hidden.
        0x1011 => return Ok(1),
        0x1012 => return Err(Errno::ENODEV.into()),
        _ => return Err(Errno::EINVAL.into()),
    }
    Ok(0)
}

/// set_tid_address(2).
pub fn set_tid_address(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    call.thread().clear_tid = call.args[0];
    Ok(u64::from(call.tid))
}

/// set_robust_list(2).
pub fn set_robust_list(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let [head, length, ..] = call.args;
    if length != 24 {
        return Err(Errno::EINVAL.into());
    }
    call.thread().robust_list = (head, length);
    Ok(0)
}

/// getrlimit(2).
pub fn getrlimit(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let [resource, address, ..] = call.args;
    let index = resource as u32 as usize;
    let (soft, hard) = *call.body().limits.get(index).ok_or(Errno::EINVAL)?;
    call.write(address, &[soft.to_le_bytes(), hard.to_le_bytes()].concat())?;
    Ok(0)
}

/// rseq(2): libraries cope without it, and ask every time a program starts.
pub fn rseq(_: &mut LocalCall<'_>) -> Result<u64, Stop> {
    Err(Errno::ENOSYS.into())
}

/// getrandom(2).
pub fn getrandom(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let [address, length, flags, ..] = call.args;
    let flags = flags as u32;
    // Of RANDOM and INSECURE only one can be meant.
    if flags & !7 != 0 || flags & 6 == 6 {
        return Err(Errno::EINVAL.into());
    }
    let mut bytes = Vec::new();
    let length = length.min(crate::dispatch::CHUNK) as usize;
    let fit = call.fit_for(address, length, machine::Access::WRITE)?;
    if fit == 0 && length > 0 {
        return Err(Errno::EFAULT.into());
    }
    let length = fit;
    while bytes.len() < length {
        bytes.extend_from_slice(&machine::random_u64().to_le_bytes());
    }
    bytes.truncate(length);
    call.write(address, &bytes)?;
    Ok(length as u64)
}

/// sched_yield(2).
pub fn sched_yield(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    call.system.yield_turn(call.tid);
    Ok(0)
}

// ---- time ----------------------------------------------------------------------------------------

impl LocalCall<'_> {
    /// The process's monotonic clock.
    pub fn clock(&mut self) -> u64 {
        let now = self.system.now;
        self.body().clock_ns(now)
    }

    /// Realtime as the process sees it: home's.
    pub fn wall(&mut self) -> u64 {
        let clock = self.clock();
        clock.saturating_add(self.body().wall_offset_ns)
    }

    /// A clock of clock_gettime(2). Home is asked for the CPU time of another process, and for nothing else.
    fn read_clock(&mut self, clock: u64) -> Result<u64, Stop> {
        match clock as i32 {
            0 | 5 | 8 | 11 => Ok(self.wall()),
            1 | 4 | 6 | 7 | 9 => Ok(self.clock()),
            other => match self.cpu_clock(other) {
                Some(clock) => self.cpu_time(clock),
                None => Err(Errno::EINVAL.into()),
            },
        }
    }
}

/// Reads a `struct timespec` as ns.
///
/// # Errors
/// EINVAL for negative values or a second's worth of nanoseconds.
pub(super) fn timespec(call: &mut LocalCall<'_>, address: u64) -> Result<u64, Stop> {
    let (seconds, ns) = (
        call.read_u64(address)?,
        call.read_u64(address.wrapping_add(8))?,
    );
    if (seconds as i64) < 0 || ns >= NS_PER_S {
        return Err(Errno::EINVAL.into());
    }
    Ok(seconds
        .saturating_mul(NS_PER_S)
        .saturating_add(ns)
        .min(i64::MAX as u64))
}

fn pair(seconds: u64, rest: u64) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&seconds.to_le_bytes());
    bytes[8..].copy_from_slice(&rest.to_le_bytes());
    bytes
}

/// clock_gettime(2).
pub fn clock_gettime(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let [clock, address, ..] = call.args;
    let time = call.read_clock(clock)?;
    call.write(address, &pair(time / NS_PER_S, time % NS_PER_S))?;
    Ok(0)
}

/// clock_settime(2): the time is the cluster's.
pub fn clock_settime(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let [clock, time, ..] = call.args;
    if clock as i32 != 0 {
        return Err(Errno::EINVAL.into());
    }
    timespec(call, time)?;
    Err(Errno::EPERM.into())
}

/// `ADJ_OFFSET_SS_READ` of adjtimex(2): how much of an adjustment is left is asked, and nothing changed.
const ONLY_ASKS: u32 = 0xa001;

/// adjtimex(2): a clock that nobody adjusts, as on a machine that has just started.
pub fn adjtimex(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let address = call.args[0];
    tell_adjustment(call, address)
}

/// clock_adjtime(2): of the one clock that could be adjusted.
pub fn clock_adjtime(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    const CLOCK_REALTIME: i32 = 0;
    let [clock, address, ..] = call.args;
    match (clock as i32, call.read_clock(clock)) {
        (CLOCK_REALTIME, _) => tell_adjustment(call, address),
        (_, Ok(_)) => Err(Errno::EOPNOTSUPP.into()),
        (_, Err(stop)) => Err(stop),
    }
}

/// Whether root could ask for these changes (`timekeeping_validate_timex`): the times of adjtime(3) one at a
/// time, and ticks within a tenth of theirs.
fn may_be_adjusted(modes: u32, tick_us: u64) -> bool {
    const ADJ_TICK: u32 = 0x4000;
    const ADJ_ADJTIME: u32 = 0x8000;
    const ADJ_OFFSET_SINGLESHOT: u32 = 0x0001;
    if modes & ADJ_ADJTIME != 0 {
        return modes & ADJ_OFFSET_SINGLESHOT != 0;
    }
    modes & ADJ_TICK == 0 || (TICK_US * 9 / 10..=TICK_US * 11 / 10).contains(&tick_us)
}

/// Microseconds between two ticks.
const TICK_US: u64 = 10_000;

/// Fills in the `struct timex` of include/uapi/linux/timex.h.
///
/// # Errors
/// EPERM for a change: the time is the cluster's; EINVAL for what nobody may ask for, if root asks.
fn tell_adjustment(call: &mut LocalCall<'_>, address: u64) -> Result<u64, Stop> {
    const TIMEX_SIZE: usize = 208;
    const TIME_ERROR: u64 = 5;
    const STA_UNSYNC: u64 = 0x40;
    const UNKNOWN_ERROR_US: u64 = 16_000_000;
    let mut bytes = call.read(address, TIMEX_SIZE)?;
    let modes = bytes
        .first_chunk()
        .map_or(0, |word| u32::from_le_bytes(*word));
    let tick = bytes[88..].first_chunk();
    let tick = tick.map_or(0, |word| u64::from_le_bytes(*word));
    let root = call.thread().ids.has(SYS_TIME);
    if root && !may_be_adjusted(modes, tick) {
        return Err(Errno::EINVAL.into());
    }
    if modes != 0 && modes != ONLY_ASKS {
        return Err(Errno::EPERM.into());
    }
    let time = call.wall();
    bytes[4..].fill(0);
    for (at, value) in [
        (24, UNKNOWN_ERROR_US),
        (32, UNKNOWN_ERROR_US),
        (40, STA_UNSYNC),
        // The constant of the loop, and the precision in microseconds.
        (48, 2),
        (56, 1),
        // The most that a frequency can be changed by: 500 millionths, scaled by 2 to the 16.
        (64, 500 << 16),
        (72, time / NS_PER_S),
        (80, time % NS_PER_S / 1000),
        (88, TICK_US),
    ] {
        bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
    }
    call.write(address, &bytes)?;
    Ok(TIME_ERROR)
}

/// clock_getres(2).
pub fn clock_getres(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let [clock, address, ..] = call.args;
    call.read_clock(clock)?;
    if address != 0 {
        call.write(address, &pair(0, 1))?;
    }
    Ok(0)
}

/// gettimeofday(2).
pub fn gettimeofday(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let [address, zone, ..] = call.args;
    let time = call.wall();
    if address != 0 {
        call.write(address, &pair(time / NS_PER_S, time % NS_PER_S / 1000))?;
    }
    if zone != 0 {
        call.write(zone, &[0; 8])?;
    }
    Ok(0)
}

/// time(2).
pub fn time(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let seconds = call.wall() / NS_PER_S;
    if call.args[0] != 0 {
        call.write(call.args[0], &seconds.to_le_bytes())?;
    }
    Ok(seconds)
}

/// nanosleep(2).
pub fn nanosleep(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let [span, _, ..] = call.args;
    let span = timespec(call, span)?;
    let now = call.clock();
    sleep_until(call, now.saturating_add(span))
}

/// clock_nanosleep(2).
pub fn clock_nanosleep(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let [clock, flags, span, _, ..] = call.args;
    if let Some(used) = call.cpu_clock(clock as i32) {
        return sleep_by_use(call, used);
    }
    let base = call.read_clock(clock)?;
    if !matches!(clock as i32, 0 | 1 | 7 | 11) {
        // Nobody can sleep by the coarse clocks, and nothing here wakes a machine.
        return Err(Errno::EOPNOTSUPP.into());
    }
    let span = timespec(call, span)?;
    let now = call.clock();
    let ahead = if flags & 1 != 0 {
        span.saturating_sub(base)
    } else {
        span
    };
    sleep_until(call, now.saturating_add(ahead))
}

/// Sleeps until the process has used so much CPU time: other threads have to. It looks again when that
/// could be, were all processors busy with it.
fn sleep_by_use(call: &mut LocalCall<'_>, used: CpuClock) -> Result<u64, Stop> {
    const NAP_NS: u64 = 1_000_000;
    let [clock, flags, span, ..] = call.args;
    let process = matches!(used, CpuClock::Process(_)) && clock as i32 != 3;
    let now = match call.own_cpu_time(used) {
        Some(now) if process => now,
        _ => return Err(Errno::EOPNOTSUPP.into()),
    };
    let span = timespec(call, span)?;
    let base = if flags & 1 != 0 { 0 } else { now };
    let end = match call.thread().restart.deadline_ns {
        0 => base.saturating_add(span).max(1),
        begun => begun,
    };
    let restart = &mut call.thread().restart;
    restart.deadline_ns = end;
    if now >= end {
        return Ok(0);
    }
    restart.begun = true;
    let processors = u64::from(call.system.processor_set().count_ones());
    let nap = ((end - now) / processors).max(NAP_NS);
    let clock = call.clock();
    let tid = call.tid;
    call.system.set_alarm(tid, clock.saturating_add(nap));
    Err(Stop::Wait)
}

/// Sleeps; the end is fixed when the sleep begins and kept across restarts and moves.
fn sleep_until(call: &mut LocalCall<'_>, end: u64) -> Result<u64, Stop> {
    let now = call.clock();
    let end = match call.thread().restart.deadline_ns {
        0 => end.max(1),
        begun => begun,
    };
    if now >= end {
        Ok(0)
    } else {
        Err(call.wait_until(end))
    }
}
