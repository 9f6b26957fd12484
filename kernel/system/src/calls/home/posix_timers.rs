//! timer_create(2) and its relatives, as home sees them.
//!
//! Law: times come as spans from now, made by the clock of the process.
//! When a timer by CPU time expires only the body's node knows (`crate::cpu_timers`).

use crate::cpu_timers::{EXPIRED_SIGNAL, EXPIRED_TIMER};
use crate::dispatch::HomeCall;
use crate::timers::{Notice, ProcessTimer, SI_TIMER};
use crate::wait::Stop;
use abi::signal::{SIGKILL, SIGPROF, SIGVTALRM, SIGXCPU};
use abi::{Errno, signal};
use alloc::sync::Arc;
use alloc::vec::Vec;

/// What `struct sigevent` says.
fn notice(call: &HomeCall<'_>, id: u32) -> Result<Notice, Errno> {
    const SIGNAL: u32 = 0;
    const NONE: u32 = 1;
    const THREAD: u32 = 2;
    const SIGNAL_TO_THREAD: u32 = 4;
    if call.inputs.get(1).is_none() {
        return Ok(Notice {
            signal: signal::SIGALRM,
            thread: 0,
            value: u64::from(id),
        });
    }
    let event = call.input(1);
    let word = |at: usize| {
        let bytes = event
            .get(at..at + 4)
            .and_then(|bytes| bytes.try_into().ok());
        bytes.map(u32::from_le_bytes).ok_or(Errno::EFAULT)
    };
    let value = u64::from(word(0)?) | u64::from(word(4)?) << 32;
    let (signal, how, thread) = (word(8)?, word(12)?, word(16)?);
    let notice = match how {
        NONE => Notice {
            signal: 0,
            thread: 0,
            value,
        },
        SIGNAL | THREAD => Notice {
            signal,
            thread: 0,
            value,
        },
        SIGNAL_TO_THREAD if call.system.is_thread_of(thread, call.pid) => Notice {
            signal,
            thread,
            value,
        },
        _ => return Err(Errno::EINVAL),
    };
    if how != NONE && !(1..=signal::SIGNAL_MAX).contains(&signal) {
        return Err(Errno::EINVAL);
    }
    Ok(notice)
}

/// timer_create(2); the value is the timer's number.
pub fn timer_create(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    call.check_input(1)?;
    let real = match call.args[0] as i32 {
        0 | 11 => true,
        // By CPU time (2) only the body knows when.
        1 | 2 | 7 => false,
        // There is no clock that could wake a sleeping machine.
        3..=6 | 8 | 9 => return Err(Errno::EOPNOTSUPP.into()),
        _ => return Err(Errno::EINVAL.into()),
    };
    let checked = notice(call, 0)?;
    call.check_output(2)?;
    let default = call.inputs.get(1).is_none();
    let pid = call.pid;
    let fs = call.system.fs.clone();
    let id = call
        .home()
        .timers
        .create(pid, real, fs.alarms(), |id| Notice {
            value: if default {
                u64::from(id)
            } else {
                checked.value
            },
            ..checked
        });
    let id = id.ok_or(Errno::EAGAIN)?;
    call.outputs.set(2, id.to_le_bytes().to_vec());
    Ok(u64::from(id))
}

fn timer(call: &mut HomeCall<'_>) -> Result<Arc<ProcessTimer>, Errno> {
    let id = call.args[0];
    call.home().timers.get(id).ok_or(Errno::EINVAL)
}

/// `struct itimerspec`: interval first.
fn setting((left, interval): (u64, u64)) -> Vec<u8> {
    [interval, left]
        .iter()
        .flat_map(|ns| [ns / 1_000_000_000, ns % 1_000_000_000])
        .flat_map(u64::to_le_bytes)
        .collect()
}

/// timer_settime(2) as the body has prepared it: `(id, never, first by the monotonic clock, first by
/// real time, interval)`, all in ns from now. Buffer 3 is the setting of before.
pub fn set_timer(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    let [_, never, monotonic, real, interval, _] = call.args;
    let timer = timer(call)?;
    let before = timer.left(call.system.now);
    let first = if timer.is_real() { real } else { monotonic };
    let id = call.args[0] as u32;
    let home = call.home();
    home.forget_timer_signal(id);
    home.timers
        .set(&timer, (never == 0).then_some(first as i64), interval);
    call.outputs.set(3, setting(before));
    Ok(0)
}

/// timer_gettime(2).
pub fn timer_gettime(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    let left = timer(call)?.left(call.system.now);
    call.outputs.set(1, setting(left));
    Ok(0)
}

/// timer_getoverrun(2).
pub fn timer_getoverrun(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    Ok(u64::from(timer(call)?.overrun()))
}

/// timer_delete(2).
pub fn timer_delete(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    let id = call.args[0];
    let home = call.home();
    if !home.timers.delete(id) {
        return Err(Errno::EINVAL.into());
    }
    home.forget_timer_signal(id as u32);
    Ok(0)
}

/// Something has expired by CPU time: `(0, signal)`, or of timer_create(2) `(1, timer, how often)`.
pub fn expired(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    let [kind, what, count, ..] = call.args;
    let (pid, what) = (call.pid, what as u32);
    match kind {
        EXPIRED_SIGNAL if [SIGKILL, SIGXCPU, SIGVTALRM, SIGPROF].contains(&what) => {
            call.system.signal(pid, what);
        }
        EXPIRED_TIMER => match call.home().timers.expired_by_use(what, count) {
            Some((info, 0)) => call.system.signal_with(pid, info),
            Some((info, tid)) => call.system.signal_thread(pid, tid, info),
            None => {}
        },
        _ => return Err(Errno::EINVAL.into()),
    }
    Ok(0)
}

impl crate::home::Home {
    /// Takes back the signal of a timer that is set anew.
    fn forget_timer_signal(&mut self, id: u32) {
        let of_timer =
            |info: &crate::signals::SignalInfo| info.code == SI_TIMER && info.words[0] as u32 == id;
        self.pending.forget_one(of_timer);
        for thread in self.threads.values_mut() {
            thread.pending.forget_one(of_timer);
        }
    }
}

impl crate::system::System {
    /// Whether a thread is one of a process.
    fn is_thread_of(&self, thread: u32, pid: u32) -> bool {
        self.homes
            .get(&pid)
            .is_some_and(|home| home.threads.contains_key(&thread))
    }
}
