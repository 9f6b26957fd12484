//! Timers by CPU time: the virtual and the profiling one of setitimer(2), those of timer_create(2), and
//! `RLIMIT_CPU`.
//!
//! Law: they are the body's, because only its node knows what it uses, and travel in its descriptor.
//! What has expired is an effect of the thread that used the time: home is told before that thread goes
//! on, and makes the signal pending as any other.

use crate::body::Body;
use crate::dispatch::CALL_EXPIRED;
use crate::system::System;
use crate::thread::Pending;
use abi::signal::{SIGKILL, SIGPROF, SIGVTALRM, SIGXCPU};
use alloc::collections::BTreeMap;

/// `RLIMIT_CPU`.
pub const LIMIT_CPU: usize = 0;
/// The most timers by CPU time of one process: all of them travel in its descriptor.
pub(crate) const CPU_TIMERS_MAX: usize = 32;
const NS_PER_S: u64 = 1_000_000_000;
/// As in Linux, timers by CPU time are looked at when the clock ticks: somebody who was told every microsecond
/// would do nothing else.
const TICK_NS: u64 = 1_000_000;
/// [`CALL_EXPIRED`] is about a plain signal, or about a timer of timer_create(2).
pub(crate) const EXPIRED_SIGNAL: u64 = 0;
/// See [`EXPIRED_SIGNAL`].
pub(crate) const EXPIRED_TIMER: u64 = 1;

/// When a timer expires, ns of its CPU time clock; 0 is never; and the interval after that.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The next expiration.
    pub at_ns: u64,
    /// The time between further ones; 0 for none.
    pub interval_ns: u64,
}

impl Setting {
    /// A timer that expires in `first` ns from `now`, or never.
    pub fn after(now: u64, first_ns: u64, interval_ns: u64) -> Setting {
        let at_ns = if first_ns == 0 {
            0
        } else {
            now.saturating_add(first_ns)
        };
        Setting { at_ns, interval_ns }
    }

    /// What is left and the interval, ns; 0 left is never.
    pub fn left(&self, now: u64) -> (u64, u64) {
        match self.at_ns {
            0 => (0, self.interval_ns),
            at => (at.saturating_sub(now).max(1), self.interval_ns),
        }
    }

    /// How often it has expired by `now`; the next time is behind that. A short interval is told once for
    /// all that passed in a tick.
    fn pass(&mut self, now: u64) -> u64 {
        let rest_of_tick = match self.interval_ns {
            0 => 0,
            step => TICK_NS.saturating_sub(step),
        };
        if self.at_ns == 0 || self.at_ns.saturating_add(rest_of_tick) > now {
            return 0;
        }
        let late = now - self.at_ns;
        let passed = late.checked_div(self.interval_ns).unwrap_or(0) + 1;
        self.at_ns = match self.interval_ns {
            0 => 0,
            step => self.at_ns.saturating_add(step.saturating_mul(passed)),
        };
        passed
    }
}

/// What somebody has had of processors, ns.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct CpuTime {
    /// In user mode.
    pub user_ns: u64,
    /// In the kernel, for it.
    pub system_ns: u64,
}

impl CpuTime {
    /// Time in user mode.
    pub(crate) fn user(ns: u64) -> CpuTime {
        CpuTime {
            user_ns: ns,
            system_ns: 0,
        }
    }

    /// Time in the kernel.
    pub(crate) fn system(ns: u64) -> CpuTime {
        CpuTime {
            user_ns: 0,
            system_ns: ns,
        }
    }

    /// What clocks of CPU time show.
    pub fn total_ns(self) -> u64 {
        self.user_ns.saturating_add(self.system_ns)
    }

    /// Adds what was used since, or by somebody else.
    pub fn add(&mut self, more: CpuTime) {
        self.user_ns = self.user_ns.saturating_add(more.user_ns);
        self.system_ns = self.system_ns.saturating_add(more.system_ns);
    }

    /// The later of two reports.
    pub fn later(self, other: CpuTime) -> CpuTime {
        CpuTime {
            user_ns: self.user_ns.max(other.user_ns),
            system_ns: self.system_ns.max(other.system_ns),
        }
    }
}

/// A timer of timer_create(2).
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct CpuTimer {
    /// The thread whose time it is; 0 for the process.
    pub thread: u32,
    /// When it expires.
    pub setting: Setting,
}

/// The timers of one body.
#[derive(Clone, Default, Debug, PartialEq, Eq)]
pub struct CpuTimers {
    /// `ITIMER_VIRTUAL` and `ITIMER_PROF`.
    pub interval: [Setting; 2],
    /// Timers of timer_create(2), by their number at home.
    pub timers: BTreeMap<u32, CpuTimer>,
}

impl CpuTimers {
    /// Whether any of them runs.
    fn any(&self) -> bool {
        let runs = |setting: &Setting| setting.at_ns != 0;
        self.interval.iter().any(runs) || self.timers.values().any(|timer| runs(&timer.setting))
    }
}

impl Body {
    /// What `ITIMER_VIRTUAL` (0) and `ITIMER_PROF` (1) count.
    pub(crate) fn timer_clock(&self, which: usize) -> u64 {
        match which {
            0 => self.cpu.user_ns,
            _ => self.cpu.total_ns(),
        }
    }

    /// Notes whether anybody has to look at its CPU time; asked after every change of timers and limits.
    pub(crate) fn watch_cpu(&mut self) {
        let (soft, hard) = self.limits[LIMIT_CPU];
        self.watches_cpu = self.cpu_timers.any() || soft.min(hard) != u64::MAX;
    }

    /// The signal that is due by the limit of CPU time. The soft limit comes again a second later.
    fn cpu_limit(&mut self) -> Option<u32> {
        let (soft, hard) = self.limits[LIMIT_CPU];
        // As in Linux, no time at all is a second.
        let reached =
            |limit: u64| limit != u64::MAX && self.cpu.total_ns() / NS_PER_S >= limit.max(1);
        if reached(hard) {
            // Once: it is dead then.
            self.limits[LIMIT_CPU] = (u64::MAX, u64::MAX);
            return Some(SIGKILL);
        }
        reached(soft).then(|| {
            self.limits[LIMIT_CPU].0 = (self.cpu.total_ns() / NS_PER_S).max(soft) + 1;
            SIGXCPU
        })
    }
}

impl System {
    /// What has expired by the CPU time that a thread has just used, as a call of the kernel's own.
    pub(crate) fn cpu_expired(&mut self, tid: u32) -> Option<Pending> {
        let thread = self.threads.get(&tid)?;
        let (pid, thread_ns) = (thread.pid, thread.cpu.total_ns());
        let body = self.bodies.get_mut(&pid)?;
        let now = body.cpu.total_ns();
        let clocks = [0, 1].map(|which| body.timer_clock(which));
        let call = |args: [u64; 3]| Pending {
            number: CALL_EXPIRED,
            args: [args[0], args[1], args[2], 0, 0, 0],
        };
        let mut found = body
            .cpu_limit()
            .map(|signal| call([EXPIRED_SIGNAL, signal.into(), 0]));
        let signals = [SIGVTALRM, SIGPROF].into_iter().zip(clocks);
        for (setting, (signal, clock)) in body.cpu_timers.interval.iter_mut().zip(signals) {
            if found.is_none() && setting.pass(clock) > 0 {
                found = Some(call([EXPIRED_SIGNAL, signal.into(), 0]));
            }
        }
        for (id, timer) in &mut body.cpu_timers.timers {
            let clock = match timer.thread {
                0 => now,
                own if own == tid => thread_ns,
                _ => continue,
            };
            if found.is_none() {
                let passed = timer.setting.pass(clock);
                found = (passed > 0).then(|| call([EXPIRED_TIMER, (*id).into(), passed]));
            }
        }
        body.watch_cpu();
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_expires_once_or_by_its_interval_and_counts_what_it_missed() {
        let mut once = Setting::after(100, 50, 0);
        assert_eq!(once.left(120), (30, 0));
        assert_eq!((once.pass(149), once.pass(150), once.pass(999)), (0, 1, 0));
        assert_eq!(once.left(999), (0, 0));
        const MS: u64 = 1_000_000;
        let mut again = Setting::after(100 * MS, 50 * MS, 10 * MS);
        let passed = [150, 151, 185].map(|ms| again.pass(ms * MS));
        assert_eq!(passed, [1, 0, 3]);
        assert_eq!(again.left(185 * MS), (5 * MS, 10 * MS));
        assert_eq!(Setting::after(5, 0, 10).left(7), (0, 10));
        let mut wild = Setting::after(u64::MAX - 1, u64::MAX, u64::MAX);
        assert_eq!(wild.pass(u64::MAX), 1);
    }

    #[test]
    fn a_timer_that_is_faster_than_ticks_leaves_time_to_run() {
        let mut fast = Setting::after(0, 1000, 1000);
        let told: Vec<u64> = (0..5000).map(|us| fast.pass(us * 1000)).collect();
        assert_eq!(told.iter().filter(|passed| **passed > 0).count(), 4);
        assert_eq!(told.iter().sum::<u64>(), 4000);
    }

    #[test]
    fn the_limit_of_cpu_time_warns_every_second_and_then_kills() {
        let mut body = Body::new(7, wire::NodeId(1));
        body.limits[LIMIT_CPU] = (2, 4);
        let mut told = Vec::new();
        for tenth in 0..60 {
            body.cpu.user_ns = tenth * NS_PER_S / 10;
            told.extend(body.cpu_limit().map(|signal| (tenth, signal)));
        }
        assert_eq!(told, [(20, SIGXCPU), (30, SIGXCPU), (40, SIGKILL)]);
    }
}
