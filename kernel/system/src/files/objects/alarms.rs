//! Times at which something at this node is to happen, for files and timers of processes.
//!
//! Law: an alarm rings once, not before its time, and in the order of times; one that was cancelled,
//! or whose owner is gone, never rings.

use alloc::collections::BTreeMap;
use alloc::sync::Weak;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};
use spin::Mutex;

/// Something that waits for a time.
pub(crate) trait Rings: Send + Sync {
    /// The time `at` has come.
    fn ring(&self, at: u64, alarms: &Alarms);
}

/// Names an alarm that is set: its time, and a running number.
pub(crate) type AlarmKey = (u64, u64);

#[derive(Default)]
struct Table {
    set: BTreeMap<AlarmKey, Weak<dyn Rings>>,
    last: u64,
}

/// The alarms of a node.
#[derive(Default)]
pub struct Alarms {
    table: Mutex<Table>,
    /// The time as far as it has been told.
    now: AtomicU64,
    /// Timers of processes that have expired: process and number.
    expired: Mutex<Vec<(u32, u32)>>,
}

impl Alarms {
    /// Sets an alarm at a time of the node's clock, ns.
    pub(crate) fn set(&self, at: u64, who: Weak<dyn Rings>) -> AlarmKey {
        let mut table = self.table.lock();
        table.last += 1;
        let key = (at, table.last);
        table.set.insert(key, who);
        key
    }

    /// Takes an alarm back that may have rung.
    pub(crate) fn cancel(&self, key: AlarmKey) {
        self.table.lock().set.remove(&key);
    }

    /// When the next one rings.
    pub fn next(&self) -> Option<u64> {
        self.table.lock().set.keys().next().map(|key| key.0)
    }

    /// Node's clock when something was last done, ns.
    pub(crate) fn now(&self) -> u64 {
        self.now.load(Ordering::Relaxed)
    }

    /// Tells the time.
    pub(crate) fn set_now(&self, now: u64) {
        self.now.fetch_max(now, Ordering::Relaxed);
    }

    /// A timer of a process has expired.
    pub(crate) fn expired(&self, pid: u32, timer: u32) {
        self.expired.lock().push((pid, timer));
    }

    /// The timers that have expired and were not taken yet.
    pub(crate) fn take_expired(&self) -> Vec<(u32, u32)> {
        core::mem::take(&mut *self.expired.lock())
    }

    /// Rings everything that is due. What is set meanwhile for a time that is over rings next time.
    pub fn ring(&self, now: u64) {
        self.set_now(now);
        let mut table = self.table.lock();
        if table.set.keys().next().is_none_or(|key| key.0 > now) {
            return;
        }
        let later = table.set.split_off(&(now.saturating_add(1), 0));
        let due = core::mem::replace(&mut table.set, later);
        drop(table);
        let due: Vec<_> = due
            .into_iter()
            .filter_map(|(key, who)| Some((key.0, who.upgrade()?)))
            .collect();
        for (at, who) in due {
            who.ring(at, self);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::sync::Arc;

    struct Log(Mutex<Vec<u64>>);

    impl Rings for Log {
        fn ring(&self, at: u64, _: &Alarms) {
            self.0.lock().push(at);
        }
    }

    #[test]
    fn each_rings_once_at_its_time() {
        let alarms = Alarms::default();
        let log = Arc::new(Log(Mutex::new(Vec::new())));
        let who: Weak<dyn Rings> = Arc::downgrade(&log) as Weak<dyn Rings>;
        for at in [30, 10, 20, 20] {
            alarms.set(at, who.clone());
        }
        let key = alarms.set(15, who.clone());
        alarms.cancel(key);
        assert_eq!(alarms.next(), Some(10));
        alarms.ring(9);
        alarms.ring(20);
        assert_eq!(*log.0.lock(), [10, 20, 20]);
        drop(who);
        drop(log);
        alarms.ring(u64::MAX - 1);
        assert_eq!(alarms.next(), None);
    }
}
