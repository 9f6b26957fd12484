//! Sets of files and timers as files: what the body knows of time, home does the rest.
//!
//! Law: a time on a clock of the process becomes a span here, and only spans go home.

use super::super::local::timespec;
use super::cpu::{timer_number, timer_record};
use crate::cpu_timers::{CpuTimer, Setting};
use crate::dispatch::{CALL_SET_TIMER, LocalCall, ROOM_MAX, result_of};
use crate::files::calls::EPOLL_EVENT;
use crate::home::Request;
use crate::wait::Stop;
use abi::Errno;
use alloc::vec::Vec;

const EPOLL_WAIT: u32 = 232;
const TIMERFD_SETTIME: u32 = 286;
const EPOLL_CTL_DEL: u64 = 2;

/// epoll_ctl(2): who deletes has no event.
pub fn epoll_ctl(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let mut args = call.args;
    if args[1] as u32 == EPOLL_CTL_DEL as u32 {
        args[3] = 0;
    }
    call.forwarded(args)
}

/// epoll_wait(2).
pub fn epoll_wait(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let deadline = milliseconds(call)?;
    wait_until(call, deadline)
}

/// epoll_pwait(2).
pub fn epoll_pwait(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let deadline = milliseconds(call)?;
    masked(call, deadline)
}

/// epoll_pwait2(2).
pub fn epoll_pwait2(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let timeout = call.args[3];
    let deadline = call.deadline(timeout, timespec)?;
    masked(call, deadline)
}

fn milliseconds(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let timeout = call.args[3] as i32;
    if timeout < 0 {
        return Ok(u64::MAX);
    }
    call.deadline(1, |_, _| Ok(timeout as u64 * 1_000_000))
}

fn masked(call: &mut LocalCall<'_>, deadline: u64) -> Result<u64, Stop> {
    let [.., mask, mask_bytes] = call.args;
    if call.thread().restart.deadline_ns == 0 && deadline != u64::MAX {
        call.thread().restart.deadline_ns = deadline;
    }
    call.mask_at(mask, mask_bytes)?;
    wait_until(call, deadline)
}

fn wait_until(call: &mut LocalCall<'_>, deadline: u64) -> Result<u64, Stop> {
    let [set, events, most, ..] = call.args;
    let most = most as i32;
    // No room is refused at home, behind a descriptor that is none.
    let fits = (1..=i32::MAX / EPOLL_EVENT as i32).contains(&most);
    let most = if fits { most as u64 } else { 0 };
    let room = (most * EPOLL_EVENT as u64).min(ROOM_MAX) as usize;
    let room = room - room % EPOLL_EVENT;
    let waits = call.clock() < deadline;
    let answer = call.home(EPOLL_WAIT, |call| {
        call.make_writable(events, room)?;
        let args = [set, 0, 0, u64::from(waits), 0, 0];
        let mut request = Request::plain(EPOLL_WAIT, args);
        request.rooms[1] = room as u32;
        Ok(request)
    });
    if answer == Err(Stop::Wait) && waits && deadline != u64::MAX {
        return Err(call.wait_until(deadline));
    }
    let answer = answer?;
    let found = result_of(answer.value)?;
    let bytes = answer.buffers.get(1).unwrap_or(&[]);
    call.write(events, &bytes[..bytes.len().min(room)])?;
    Ok(found)
}

/// timerfd_settime(2).
pub fn timerfd_settime(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    const ABSTIME: u64 = 1;
    const CANCEL_ON_SET: u64 = 2;
    let [fd, flags, new, old, ..] = call.args;
    let flags = u64::from(flags as u32);
    if flags & !(ABSTIME | CANCEL_ON_SET) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let answer = call.home(TIMERFD_SETTIME, |call| {
        let interval = timespec(call, new)?;
        let value = timespec(call, new.wrapping_add(16))?;
        if old != 0 {
            call.make_writable(old, 32)?;
        }
        let bases = match flags & ABSTIME {
            0 => [0, 0],
            _ => [call.clock(), call.wall()],
        };
        let never = u64::from(value == 0);
        let words: Vec<u8> = bases
            .map(|base| value.wrapping_sub(base))
            .into_iter()
            .chain([interval])
            .flat_map(u64::to_le_bytes)
            .collect();
        let mut request = Request::plain(TIMERFD_SETTIME, [fd, flags, 0, 0, never, 0]);
        request.inputs.set(2, words);
        request.rooms[3] = 32;
        Ok(request)
    })?;
    let bytes = answer.buffers.get(3).unwrap_or(&[]);
    let done = result_of(answer.value)?;
    if old != 0 {
        call.write(old, &bytes[..bytes.len().min(32)])?;
    }
    Ok(done)
}

/// timer_settime(2).
pub fn timer_settime(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    const ABSTIME: u64 = 1;
    let [id, flags, new, old, ..] = call.args;
    if new == 0 {
        return Err(Errno::EINVAL.into());
    }
    let by_use = call.cpu_timer(id);
    if let Some((timer, now)) = by_use {
        return set_by_use(call, timer, now);
    }
    let answer = call.home(CALL_SET_TIMER, |call| {
        let interval = timespec(call, new)?;
        let value = timespec(call, new.wrapping_add(16))?;
        if old != 0 {
            call.make_writable(old, 32)?;
        }
        let [monotonic, real] = match flags & ABSTIME {
            0 => [0, 0],
            _ => [call.clock(), call.wall()],
        };
        let args = [
            id,
            u64::from(value == 0),
            value.wrapping_sub(monotonic),
            value.wrapping_sub(real),
            interval,
            0,
        ];
        Ok(Request::plain(CALL_SET_TIMER, args))
    })?;
    let done = result_of(answer.value)?;
    if old != 0 {
        let bytes = answer.buffers.get(3).unwrap_or(&[]);
        call.write(old, &bytes[..bytes.len().min(32)])?;
    }
    Ok(done)
}

/// timer_settime(2) for a timer by CPU time: home forgets the signal of before, and never sets it.
fn set_by_use(call: &mut LocalCall<'_>, mut timer: CpuTimer, now: u64) -> Result<u64, Stop> {
    const ABSTIME: u64 = 1;
    let [id, flags, new, old, ..] = call.args;
    let interval = timespec(call, new)?;
    let value = timespec(call, new.wrapping_add(16))?;
    if old != 0 {
        call.make_writable(old, 32)?;
    }
    call.ask_home(CALL_SET_TIMER, [id, 1, 0, 0, 0, 0])?;
    if old != 0 {
        call.write(old, &timer_record(timer.setting.left(now)))?;
    }
    timer.setting = match flags & ABSTIME {
        0 => Setting::after(now, value, interval),
        _ => Setting {
            at_ns: value,
            interval_ns: interval,
        },
    };
    let body = call.body();
    body.cpu_timers.timers.insert(timer_number(id), timer);
    body.watch_cpu();
    Ok(0)
}
