//! Timers of timer_create(2), at home.
//!
//! Law: a timer has at most one signal pending. What expires meanwhile is counted, and told when that
//! signal is taken; only then the next expiration is set. So the signal comes once wherever the
//! process is, and a short interval costs nothing while nobody takes its signals.

use crate::files::{AlarmKey, Alarms, Rings};
use crate::signals::SignalInfo;
use crate::system::System;
use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use spin::Mutex;

/// `si_code` of a timer's signal.
pub const SI_TIMER: i32 = -2;
/// Most timers of a process (timers count as pending signals: `RLIMIT_SIGPENDING`).
const TIMERS_MAX: usize = 1024;

/// What a timer does when it expires.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Notice {
    /// The signal; 0 for none.
    pub signal: u32,
    /// The thread that gets it; 0 for the process.
    pub thread: u32,
    /// What the handler is told.
    pub value: u64,
}

#[derive(Default)]
struct State {
    /// The next expiration, node's clock, ns.
    at: Option<i64>,
    interval: u64,
    alarm: Option<AlarmKey>,
    /// Its signal waits to be taken.
    pending: bool,
    /// Expirations beside the one whose signal was taken last.
    overrun: u32,
    /// Expirations by CPU time beside the one whose signal waits.
    missed: u64,
}

/// One timer.
pub(crate) struct ProcessTimer {
    me: Weak<ProcessTimer>,
    pid: u32,
    id: u32,
    real: bool,
    notice: Notice,
    state: Mutex<State>,
}

impl Rings for ProcessTimer {
    fn ring(&self, _: u64, alarms: &Alarms) {
        self.state.lock().alarm = None;
        alarms.expired(self.pid, self.id);
    }
}

impl State {
    /// Moves the next expiration behind `now`; how many were passed.
    fn pass(&mut self, now: u64) -> u64 {
        let Some(at) = self.at else { return 0 };
        let late = (now as i64).saturating_sub(at);
        if late < 0 {
            return 0;
        }
        let passed = 1 + (late as u64).checked_div(self.interval).unwrap_or(0);
        self.at = match self.interval {
            0 => None,
            step => Some(at.saturating_add((step as i64).saturating_mul(passed as i64))),
        };
        passed
    }
}

impl ProcessTimer {
    fn set_alarm(&self, state: &mut State, alarms: &Alarms) {
        if let Some(key) = state.alarm.take() {
            alarms.cancel(key);
        }
        if let Some(at) = state.at {
            let at = u64::try_from(at).unwrap_or(0);
            state.alarm = Some(alarms.set(at, self.me.clone() as Weak<dyn Rings>));
        }
    }

    fn info(&self) -> SignalInfo {
        SignalInfo {
            signal: self.notice.signal,
            code: SI_TIMER,
            words: [u64::from(self.id), self.notice.value],
            ..SignalInfo::default()
        }
    }

    /// Whether it runs by the clock of real time.
    pub(crate) fn is_real(&self) -> bool {
        self.real
    }

    /// What is left and the interval, ns; 0 left is never.
    pub(crate) fn left(&self, now: u64) -> (u64, u64) {
        let state = self.state.lock();
        let Some(at) = state.at else {
            return (0, state.interval);
        };
        let mut next = at.saturating_sub(now as i64);
        if next <= 0 && state.interval > 0 {
            // It goes on although its signal was not taken.
            let step = state.interval as i64;
            next = next.saturating_add(
                step.saturating_mul((next / step).saturating_neg().saturating_add(1)),
            );
        }
        match (next, state.interval) {
            (..=0, _) if self.notice.signal == 0 => (0, 0),
            (next, interval) => (next.max(1) as u64, interval),
        }
    }

    /// Expirations that were missed when its last signal was taken.
    pub(crate) fn overrun(&self) -> u32 {
        self.state.lock().overrun
    }
}

/// The timers of a process.
#[derive(Default)]
pub struct ProcessTimers {
    /// Known once there was a timer.
    alarms: Arc<Alarms>,
    timers: BTreeMap<u32, Arc<ProcessTimer>>,
    next: u32,
}

impl ProcessTimers {
    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.timers.is_empty()
    }

    /// One more; its number, or `None` if there are too many. `tells` gives what it does, by its number.
    pub(crate) fn create(
        &mut self,
        pid: u32,
        real: bool,
        alarms: &Arc<Alarms>,
        tells: impl FnOnce(u32) -> Notice,
    ) -> Option<u32> {
        if self.timers.len() >= TIMERS_MAX {
            return None;
        }
        self.alarms = alarms.clone();
        let id = self.next;
        self.next = (id + 1) & i32::MAX as u32;
        let notice = tells(id);
        let timer = Arc::new_cyclic(|me| ProcessTimer {
            me: me.clone(),
            pid,
            id,
            real,
            notice,
            state: Mutex::default(),
        });
        self.timers.insert(id, timer);
        Some(id)
    }

    pub(crate) fn get(&self, id: u64) -> Option<Arc<ProcessTimer>> {
        let id = u32::try_from(id as i32).ok()?;
        self.timers.get(&id).cloned()
    }

    /// Sets a timer to expire in `first` ns, or never. Whoever calls forgets the signal of before.
    pub(crate) fn set(&self, timer: &ProcessTimer, first: Option<i64>, interval: u64) {
        let mut state = timer.state.lock();
        let now = self.alarms.now() as i64;
        state.at = first.map(|first| now.saturating_add(first));
        // A node that lies about a time gets a wrong timer, and no more.
        state.interval = match first {
            Some(_) => interval.min(i64::MAX as u64),
            None => 0,
        };
        state.pending = false;
        state.overrun = 0;
        state.missed = 0;
        timer.set_alarm(&mut state, &self.alarms);
    }

    /// Whether there was such a timer, which is no more.
    pub(crate) fn delete(&mut self, id: u64) -> bool {
        let id = u32::try_from(id as i32).ok();
        id.is_some_and(|id| self.timers.remove(&id).is_some())
    }

    /// What exec and exit do.
    pub(crate) fn clear(&mut self) {
        self.timers.clear();
    }

    /// A timer has expired: the signal to be queued, and for which thread.
    fn expired(&self, id: u32) -> Option<(SignalInfo, u32)> {
        let timer = self.timers.get(&id)?;
        let mut state = timer.state.lock();
        let now = self.alarms.now();
        if state.pending || state.at.is_none_or(|at| at > now as i64) {
            return None;
        }
        if timer.notice.signal == 0 {
            // Nobody is told; what is left follows from the time.
            return None;
        }
        state.pending = true;
        Some((timer.info(), timer.notice.thread))
    }

    /// A timer by CPU time has expired, so often since its node last said so.
    pub(crate) fn expired_by_use(&self, id: u32, count: u64) -> Option<(SignalInfo, u32)> {
        let timer = self.timers.get(&id)?;
        let mut state = timer.state.lock();
        if timer.notice.signal == 0 {
            return None;
        }
        if state.pending {
            state.missed = state.missed.saturating_add(count);
            return None;
        }
        state.pending = true;
        state.missed = count.saturating_sub(1);
        Some((timer.info(), timer.notice.thread))
    }

    /// The signal of a timer is taken: it learns what was missed, and the timer goes on.
    pub(crate) fn taken(&self, info: &mut SignalInfo) {
        let id = info.words[0] as u32;
        let Some(timer) = self.timers.get(&id).filter(|_| info.code == SI_TIMER) else {
            return;
        };
        let mut state = timer.state.lock();
        if !core::mem::replace(&mut state.pending, false) {
            return;
        }
        let passed = state.pass(self.alarms.now());
        let missed = passed.saturating_sub(1) + core::mem::take(&mut state.missed);
        let missed = missed.min(i32::MAX as u64);
        state.overrun = missed as u32;
        info.words[0] = u64::from(id) | missed << 32;
        timer.set_alarm(&mut state, &self.alarms);
    }
}

impl System {
    /// Sends the signals of timers that have expired.
    pub(crate) fn process_timers(&mut self) {
        for (pid, id) in self.fs.alarms().take_expired() {
            let Some(home) = self.homes.get_mut(&pid) else {
                continue;
            };
            match home.timers.expired(id) {
                Some((info, 0)) => self.signal_with(pid, info),
                Some((info, tid)) => self.signal_thread(pid, tid, info),
                None => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timers() -> (ProcessTimers, Arc<Alarms>) {
        (ProcessTimers::default(), Arc::default())
    }

    fn notice(_: u32) -> Notice {
        Notice {
            signal: 34,
            thread: 0,
            value: 9,
        }
    }

    #[test]
    fn one_signal_is_pending_and_learns_what_was_missed() {
        let (mut timers, alarms) = timers();
        let id = timers.create(7, false, &alarms, notice).expect("room");
        let timer = timers.get(u64::from(id)).expect("made");
        timers.set(&timer, Some(100), 10);
        alarms.ring(99);
        assert_eq!(alarms.take_expired(), []);
        alarms.ring(100);
        assert_eq!(alarms.take_expired(), [(7, id)]);
        let (mut info, _) = timers.expired(id).expect("expired");
        assert_eq!((info.signal, info.code, info.words), (34, SI_TIMER, [0, 9]));
        assert_eq!(timers.expired(id), None);
        assert_eq!(alarms.next(), None);
        alarms.ring(135);
        assert_eq!(timer.left(135), (5, 10));
        timers.taken(&mut info);
        assert_eq!(info.words, [3 << 32, 9]);
        assert_eq!(timer.overrun(), 3);
        assert_eq!(alarms.next(), Some(140));
        timers.set(&timer, None, 0);
        assert_eq!((alarms.next(), timer.left(200)), (None, (0, 0)));
    }

    #[test]
    fn times_out_of_all_reason_make_no_timer_that_breaks_the_node() {
        let (mut timers, alarms) = timers();
        timers.create(7, false, &alarms, notice).expect("room");
        let timer = timers.get(0).expect("made");
        for first in [i64::MIN, -1, 0, i64::MAX] {
            for interval in [0, 1, u64::MAX] {
                alarms.set_now(1 << 60);
                timers.set(&timer, Some(first), interval);
                timer.left(1 << 60);
                if let Some((mut info, _)) = timers.expired(0) {
                    timers.taken(&mut info);
                }
            }
        }
    }

    #[test]
    fn a_timer_that_is_deleted_never_expires() {
        let (mut timers, alarms) = timers();
        let id = timers.create(7, false, &alarms, notice).expect("room");
        let timer = timers.get(0).expect("made");
        timers.set(&timer, Some(-5), 0);
        drop(timer);
        assert!(timers.delete(u64::from(id)));
        assert!(!timers.delete(u64::from(id)));
        alarms.ring(1000);
        assert_eq!(alarms.take_expired(), []);
        assert_eq!(timers.create(7, false, &alarms, notice), Some(1));
    }
}
