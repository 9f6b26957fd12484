//! Waiting without sleeping: a call that cannot finish registers and is run again.
//!
//! Law: every wake is only a hint. Whoever waits takes no effect before it waits, and when woken
//! decides anew from the beginning; so a spurious wake costs time and never correctness.
//! No order among waiters is promised.

use abi::Errno;
use alloc::sync::Arc;
use alloc::vec::Vec;
use spin::Mutex;

/// Why a call did not produce a value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stop {
    /// It failed, and had no effect.
    Errno(Errno),
    /// It registered its waiter and is to be run again when that is woken. It had no effect.
    Wait,
}

impl From<Errno> for Stop {
    fn from(errno: Errno) -> Stop {
        Stop::Errno(errno)
    }
}

/// The waiters (by pid) that became ready and have not been looked at yet.
#[derive(Clone, Default)]
pub struct Wakes(Arc<Mutex<Vec<u32>>>);

impl Wakes {
    /// An empty list.
    pub fn new() -> Wakes {
        Wakes::default()
    }

    /// Marks one waiter ready.
    pub fn push(&self, waiter: u32) {
        self.0.lock().push(waiter);
    }

    /// Takes all waiters that are ready.
    pub fn take(&self) -> Vec<u32> {
        core::mem::take(&mut *self.0.lock())
    }

    /// Whether nobody is ready.
    pub fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }
}

/// Those who wait for one thing.
pub struct WaitQueue {
    waiting: Mutex<Vec<u32>>,
    wakes: Wakes,
}

impl WaitQueue {
    /// A queue that reports to `wakes`.
    pub fn new(wakes: &Wakes) -> WaitQueue {
        WaitQueue {
            waiting: Mutex::new(Vec::new()),
            wakes: wakes.clone(),
        }
    }

    /// Registers `waiter`; a second registration of the same waiter changes nothing.
    pub fn wait(&self, waiter: u32) {
        let mut waiting = self.waiting.lock();
        if !waiting.contains(&waiter) {
            waiting.push(waiter);
        }
    }

    /// Makes all waiters ready and forgets them.
    pub fn wake(&self) {
        for waiter in self.waiting.lock().drain(..) {
            self.wakes.push(waiter);
        }
    }
}
