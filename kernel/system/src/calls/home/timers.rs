//! alarm(2) and the interval timer of real time.
//!
//! Law: the timer stays at home and only its signal travels, so it fires once wherever the process is.
//! Those of CPU time are the body's (`crate::cpu_timers`).

use crate::dispatch::HomeCall;
use crate::signals::{SI_KERNEL, SignalInfo};
use crate::system::System;
use crate::wait::Stop;
use abi::{Errno, signal};
use alloc::vec::Vec;

const NS_PER_S: u64 = 1_000_000_000;

/// Sets the timer; the rest of the one before, and its interval, ns.
fn set(call: &mut HomeCall<'_>, value: u64, interval: u64) -> (u64, u64) {
    let (now, pid) = (call.system.now, call.pid);
    let before = remaining(call);
    // Who switches it off has no interval either.
    let next = match value {
        0 => (0, 0),
        _ => (now.saturating_add(value), interval),
    };
    let at = next.0;
    let old = core::mem::replace(&mut call.home().timer, next);
    call.system.timers.remove(&(old.0, pid));
    if at != 0 {
        call.system.timers.insert((at, pid));
    }
    before
}

/// The rest until the timer fires, and its interval, ns; 0 if it does not.
fn remaining(call: &mut HomeCall<'_>) -> (u64, u64) {
    let now = call.system.now;
    match call.home().timer {
        (0, interval) => (0, interval),
        // It has not fired yet, however late it is.
        (at, interval) => (at.saturating_sub(now).max(1000), interval),
    }
}

/// alarm(2).
pub fn alarm(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    let seconds = call.args[0] as u32;
    let (left, _) = set(call, u64::from(seconds) * NS_PER_S, 0);
    // Rounded to the nearest second, but not to none.
    let rounded = (left + NS_PER_S / 2) / NS_PER_S;
    Ok(if left > 0 { rounded.max(1) } else { 0 })
}

/// `struct itimerval`: interval first.
pub(crate) fn record((value, interval): (u64, u64)) -> Vec<u8> {
    [interval, value]
        .iter()
        .flat_map(|ns| [ns / NS_PER_S, ns % NS_PER_S / 1000])
        .flat_map(u64::to_le_bytes)
        .collect()
}

/// Value and interval of a `struct itimerval`, ns.
///
/// # Errors
/// EINVAL for negative times or a second's worth of microseconds.
pub(crate) fn spans(record: &[u8; 32]) -> Result<(u64, u64), Errno> {
    let word = |at: usize| u64::from_le_bytes(core::array::from_fn(|byte| record[at * 8 + byte]));
    let span = |at: usize| {
        let (seconds, micros) = (word(at), word(at + 1));
        if seconds > i64::MAX as u64 || micros >= 1_000_000 {
            return Err(Errno::EINVAL);
        }
        Ok(seconds
            .saturating_mul(NS_PER_S)
            .saturating_add(micros * 1000))
    };
    let interval = span(0)?;
    Ok((span(2)?, interval))
}

/// getitimer(2), for `ITIMER_REAL`.
pub fn getitimer(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    let now = remaining(call);
    call.outputs.set(1, record(now));
    Ok(0)
}

/// setitimer(2), for `ITIMER_REAL`. Without a new value the timer is switched off, as in Linux.
pub fn setitimer(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    call.check_input(1)?;
    let (value, interval) = match call.input(1).first_chunk::<32>() {
        Some(new) => spans(new)?,
        None => (0, 0),
    };
    let before = set(call, value, interval);
    call.outputs.set(2, record(before));
    Ok(0)
}

impl System {
    /// A timer is due: its signal is sent, and the next one set if there is an interval.
    pub(crate) fn timer(&mut self, pid: u32, at: u64) {
        let now = self.now;
        let Some(home) = self.homes.get_mut(&pid) else {
            return;
        };
        if home.timer.0 != at {
            return;
        }
        let interval = home.timer.1;
        home.timer.0 = 0;
        if let Some(missed) = now.saturating_sub(at).checked_div(interval) {
            // What was missed is missed.
            let next = at.saturating_add(interval.saturating_mul(missed + 1));
            home.timer.0 = next;
            self.timers.insert((next, pid));
        }
        self.signal_with(
            pid,
            SignalInfo {
                signal: signal::SIGALRM,
                code: SI_KERNEL,
                ..SignalInfo::default()
            },
        );
    }
}
