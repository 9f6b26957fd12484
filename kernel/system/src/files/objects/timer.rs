//! timerfd(2): a timer that is waited for.
//!
//! Law: how often it has expired follows from the time alone, so nothing is lost however late the
//! reader comes; an alarm only wakes those who wait, once until the next read.

use super::super::pipe::Patience;
use super::alarms::{AlarmKey, Alarms, Rings};
use crate::wait::{Stop, WaitQueue, Wakes};
use abi::Errno;
use abi::layout::POLLIN;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use spin::Mutex;

/// When a timer expires: first in so many ns (the past is negative), `None` for never, and again
/// after every interval, 0 for not again.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(in super::super) struct Setting {
    pub(in super::super) first: Option<i64>,
    pub(in super::super) interval: u64,
    /// `TFD_TIMER_*`, to be shown.
    pub(in super::super) flags: u32,
}

#[derive(Default)]
struct State {
    /// The first expiration that was not read, node's clock, ns; it may be before the node's boot.
    at: Option<i64>,
    interval: u64,
    flags: u32,
    alarm: Option<AlarmKey>,
}

impl State {
    /// Expirations that were not read.
    fn expired(&self, now: u64) -> u64 {
        let late = |at: i64| (now as i64).saturating_sub(at);
        match self.at {
            Some(at) if late(at) >= 0 => {
                1 + (late(at) as u64).checked_div(self.interval).unwrap_or(0)
            }
            _ => 0,
        }
    }

    /// Forgets what has expired.
    fn pass(&mut self, expired: u64) {
        if expired > 0 {
            let step = (self.interval as i64).saturating_mul(expired as i64);
            self.at = match self.interval {
                0 => None,
                _ => self.at.map(|at| at.saturating_add(step)),
            };
        }
    }
}

/// A timer.
pub(in super::super) struct TimerFile {
    me: Weak<TimerFile>,
    clock: i32,
    state: Mutex<State>,
    expired: WaitQueue,
}

impl TimerFile {
    /// A timer of one of the clocks of clock_gettime(2).
    pub(in super::super) fn new(wakes: &Wakes, clock: i32) -> Arc<TimerFile> {
        Arc::new_cyclic(|me| TimerFile {
            me: me.clone(),
            clock,
            state: Mutex::new(State::default()),
            expired: WaitQueue::new(wakes),
        })
    }

    /// Whether its clock is that of real time.
    pub(in super::super) fn is_real(&self) -> bool {
        matches!(self.clock, 0 | 8)
    }

    /// The number of its clock.
    pub(in super::super) fn clock(&self) -> i32 {
        self.clock
    }

    /// The flags it was last set with.
    pub(in super::super) fn flags(&self) -> u32 {
        self.state.lock().flags
    }

    /// How often it has expired since it was read.
    pub(in super::super) fn ticks(&self, now: u64) -> u64 {
        self.state.lock().expired(now)
    }

    pub(super) fn queue(&self) -> &WaitQueue {
        &self.expired
    }

    /// What is left, and the interval: what timerfd_gettime(2) tells. 0 left is never.
    pub(in super::super) fn left(&self, now: u64) -> (u64, u64) {
        let state = self.state.lock();
        let Some(at) = state.at else {
            return (0, state.interval);
        };
        let expired = state.expired(now);
        let next = at.saturating_add((state.interval as i64).saturating_mul(expired as i64));
        let left = match (expired, state.interval) {
            (1.., 0) => 0,
            _ => next.saturating_sub(now as i64).max(1) as u64,
        };
        (left, state.interval)
    }

    /// Sets it anew.
    pub(in super::super) fn set(&self, setting: Setting, now: u64, alarms: &Alarms) {
        let mut state = self.state.lock();
        state.at = setting
            .first
            .map(|first| (now as i64).saturating_add(first));
        // A node that lies about a time gets a wrong timer, and no more.
        state.interval = setting.interval.min(i64::MAX as u64);
        state.flags = setting.flags;
        self.set_alarm(&mut state, now, alarms);
    }

    /// An alarm for the first expiration that nobody has heard of.
    fn set_alarm(&self, state: &mut State, now: u64, alarms: &Alarms) {
        if let Some(key) = state.alarm.take() {
            alarms.cancel(key);
        }
        if let Some(at) = state.at {
            let at = u64::try_from(at).unwrap_or(0).max(now);
            state.alarm = Some(alarms.set(at, self.me.clone() as Weak<dyn Rings>));
        }
    }

    pub(super) fn read(
        &self,
        room: usize,
        now: u64,
        patience: Patience,
        alarms: &Alarms,
    ) -> Result<Vec<u8>, Stop> {
        if room < 8 {
            return Err(Errno::EINVAL.into());
        }
        let mut state = self.state.lock();
        let expired = state.expired(now);
        if expired == 0 {
            return Err(patience.stop(&self.expired));
        }
        state.pass(expired);
        self.set_alarm(&mut state, now, alarms);
        Ok(expired.to_le_bytes().to_vec())
    }

    pub(super) fn ready(&self, now: u64) -> i16 {
        match self.state.lock().expired(now) {
            0 => 0,
            _ => POLLIN,
        }
    }
}

impl Rings for TimerFile {
    fn ring(&self, _: u64, _: &Alarms) {
        self.state.lock().alarm = None;
        self.expired.wake_for(POLLIN);
    }
}
