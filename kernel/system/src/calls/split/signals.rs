//! Signal calls that home has a part in.
//!
//! Law: a signal that is waited for is taken from home exactly once, with the answer.

use super::super::local::{SET_BYTES, timespec};
use crate::body::{HANDLER_DEFAULT, HANDLER_IGNORE, SignalAction};
use crate::dispatch::{
    CALL_DISOWN, CALL_FORGET, CALL_PENDING, CALL_WAIT_SIGNAL, LocalCall, result_of,
};
use crate::home::Request;
use crate::signals::SignalInfo;
use crate::wait::Stop;
use abi::{Errno, signal};
use alloc::vec::Vec;

const SA_NOCLDSTOP: u64 = 1;
const SA_NOCLDWAIT: u64 = 2;
/// The flags there are (`UAPI_SA_FLAGS`); others are cleared, so that a program can find out.
const SA_KNOWN: u64 = 0xdc00_0807;

/// rt_sigaction(2).
pub fn rt_sigaction(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let [number, new, old, set_bytes, ..] = call.args;
    if set_bytes != SET_BYTES {
        return Err(Errno::EINVAL.into());
    }
    let action = if new == 0 {
        None
    } else {
        let bytes = call.read(new, 32)?;
        let word =
            |at: usize| u64::from_le_bytes(core::array::from_fn(|byte| bytes[at * 8 + byte]));
        Some(SignalAction {
            handler: word(0),
            flags: word(1) & SA_KNOWN,
            restorer: word(2),
            // Nobody keeps these off for the time of a handler either.
            mask: word(3) & !(signal::bit(signal::SIGKILL) | signal::bit(signal::SIGSTOP)),
        })
    };
    let unchangeable = number == u64::from(signal::SIGKILL) || number == u64::from(signal::SIGSTOP);
    let exists = (1..=u64::from(signal::SIGNAL_MAX)).contains(&number);
    if !exists || (new != 0 && unchangeable) {
        return Err(Errno::EINVAL.into());
    }
    let index = number as usize - 1;
    if old != 0 {
        let now = call.body().actions.0[index];
        let bytes: Vec<u8> = [now.handler, now.flags, now.restorer, now.mask]
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .collect();
        call.write(old, &bytes)?;
    }
    if let Some(action) = action {
        let is_dropped = is_ignored(number as u32, &action) && is_held_back(call, number as u32);
        let dropped = u64::from(is_dropped) << index;
        if number == u64::from(signal::SIGCHLD) {
            // Who does not want to know of its children leaves no zombies, and those are at home; so is
            // what tells of their stops.
            let ignores = action.handler == HANDLER_IGNORE;
            let disowns = ignores || action.flags & SA_NOCLDWAIT != 0;
            let quiet = action.flags & SA_NOCLDSTOP != 0;
            let [disowns, quiet, ignores] = [disowns, quiet, ignores].map(u64::from);
            let args = [disowns, quiet, dropped, ignores, 0, 0];
            call.ask_home(CALL_DISOWN, args)?;
        } else if dropped != 0 {
            call.ask_home(CALL_FORGET, [dropped, 0, 0, 0, 0, 0])?;
        }
        let pid = call.pid;
        call.system.set_action(pid, index, action);
    }
    Ok(0)
}

/// Whether a signal has no effect under an action.
fn is_ignored(number: u32, action: &SignalAction) -> bool {
    match action.handler {
        HANDLER_IGNORE => true,
        HANDLER_DEFAULT => signal::default_action(number) == signal::Default::Ignore,
        _ => false,
    }
}

/// Whether a thread blocks a signal, so that it may be pending at home: any other is taken before the
/// program goes on, and has no effect then.
fn is_held_back(call: &LocalCall<'_>, number: u32) -> bool {
    let tids = call.system.tids(call.pid);
    let mut threads = tids.iter().filter_map(|tid| call.system.threads.get(tid));
    threads.any(|thread| thread.signals.mask & signal::bit(number) != 0)
}

/// rt_sigpending(2).
pub fn rt_sigpending(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let [address, set_bytes, ..] = call.args;
    if set_bytes > SET_BYTES {
        return Err(Errno::EINVAL.into());
    }
    let answer = call.home(CALL_PENDING, |call| {
        call.make_writable(address, set_bytes as usize)?;
        Ok(Request::plain(CALL_PENDING, [0; 6]))
    })?;
    result_of(answer.value)?;
    let pending = answer
        .buffers
        .get(0)
        .and_then(|bytes| bytes.try_into().ok());
    let blocked = pending.map_or(0, u64::from_le_bytes) & call.thread().signals.mask;
    call.write(address, &blocked.to_le_bytes()[..set_bytes as usize])?;
    Ok(0)
}

/// rt_sigtimedwait(2).
pub fn rt_sigtimedwait(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let [set, info, timeout, set_bytes, ..] = call.args;
    if set_bytes != SET_BYTES {
        return Err(Errno::EINVAL.into());
    }
    let set = call.read_u64(set)?;
    let deadline = call.deadline(timeout, timespec)?;
    let waits = u64::from(call.clock() < deadline);
    let result = call.home(CALL_WAIT_SIGNAL, |call| {
        if info != 0 {
            call.make_writable(info, 128)?;
        }
        Ok(Request::plain(CALL_WAIT_SIGNAL, [set, waits, 0, 0, 0, 0]))
    });
    let answer = match result {
        Err(Stop::Wait) if waits != 0 && deadline != u64::MAX => {
            return Err(call.wait_until(deadline));
        }
        other => other?,
    };
    let signal = result_of(answer.value)?;
    let record = answer
        .buffers
        .get(0)
        .and_then(|bytes| bytes.try_into().ok());
    if let Some(record) = record.and_then(SignalInfo::from_bytes)
        && info != 0
    {
        call.write(info, &record.to_user())?;
    }
    Ok(signal)
}

impl LocalCall<'_> {
    /// When a wait ends, by the process's clock: fixed when the wait begins, `u64::MAX` for one
    /// without a limit (a null address).
    pub(crate) fn deadline(
        &mut self,
        address: u64,
        span: impl FnOnce(&mut Self, u64) -> Result<u64, Stop>,
    ) -> Result<u64, Stop> {
        if address == 0 {
            return Ok(u64::MAX);
        }
        match self.thread().restart.deadline_ns {
            0 => {
                let span = span(self, address)?;
                let now = self.clock();
                Ok(now.saturating_add(span).max(1))
            }
            begun => Ok(begun),
        }
    }
}
