//! What terminals have to say to processes, until somebody delivers it.
//!
//! Law: a terminal never reaches into the process table. Notices are taken after every call and
//! event; alarms are hints like every wake.

use crate::wait::Wakes;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use spin::Mutex;

/// Something that processes are to learn from a terminal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Notice {
    /// A signal to a process group.
    Signal {
        /// To whom.
        group: u32,
        /// Which.
        signal: u32,
    },
    /// A session has lost its terminal; `group` was in the foreground.
    HungUp {
        /// The session.
        session: u32,
        /// The group.
        group: u32,
    },
}

/// Notices and alarms of all terminals of a node.
pub(super) struct Post {
    pub(super) wakes: Wakes,
    notices: Mutex<Vec<Notice>>,
    alarms: Mutex<BTreeSet<(u64, u32)>>,
}

impl Post {
    pub(super) fn new(wakes: &Wakes) -> Post {
        Post {
            wakes: wakes.clone(),
            notices: Mutex::new(Vec::new()),
            alarms: Mutex::new(BTreeSet::new()),
        }
    }

    pub(super) fn add(&self, notices: Vec<Notice>) {
        if !notices.is_empty() {
            self.notices.lock().extend(notices);
        }
    }

    pub(super) fn take(&self) -> Vec<Notice> {
        core::mem::take(&mut *self.notices.lock())
    }

    /// Wakes a waiter at a time.
    pub(super) fn wake_at(&self, at_ns: u64, waiter: u32) {
        self.alarms.lock().insert((at_ns, waiter));
    }

    pub(super) fn next_alarm(&self) -> Option<u64> {
        self.alarms.lock().first().map(|alarm| alarm.0)
    }

    /// Wakes whoever is due.
    pub(super) fn ring(&self, now_ns: u64) {
        let mut alarms = self.alarms.lock();
        while alarms.first().is_some_and(|alarm| alarm.0 <= now_ns) {
            if let Some((_, waiter)) = alarms.pop_first() {
                self.wakes.push(waiter);
            }
        }
    }
}
