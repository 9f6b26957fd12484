//! Waiting without sleeping: a call that cannot finish registers and is run again.
//!
//! Law: every wake is only a hint. Whoever waits takes no effect before it waits, and when woken
//! decides anew from the beginning; so a spurious wake costs time and never correctness.
//! No order among waiters is promised.

use abi::Errno;
use alloc::sync::{Arc, Weak};
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

/// Somebody who wants to hear of every change of a thing, not only of the next one.
pub trait Listener: Send + Sync {
    /// Something has changed; `events` are the `POLL*` bits that may be the case now, all of them
    /// if that is not known. Called with locks of the changed thing held: it must not ask it back.
    fn changed(&self, events: i16);
}

/// Those who wait for one thing.
pub struct WaitQueue {
    waiting: Mutex<Vec<u32>>,
    listening: Mutex<Vec<Weak<dyn Listener>>>,
    wakes: Wakes,
}

impl WaitQueue {
    /// A queue that reports to `wakes`.
    pub fn new(wakes: &Wakes) -> WaitQueue {
        WaitQueue {
            waiting: Mutex::new(Vec::new()),
            listening: Mutex::new(Vec::new()),
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

    /// Registers a listener until it is gone.
    pub fn listen(&self, listener: &Weak<dyn Listener>) {
        let mut listening = self.listening.lock();
        listening.retain(|known| known.strong_count() > 0);
        listening.push(listener.clone());
    }

    /// Makes all waiters ready and forgets them; listeners hear of it and stay.
    pub fn wake(&self) {
        self.wake_for(-1);
    }

    /// As [`WaitQueue::wake`], and says which `POLL*` bits may be the case now.
    pub fn wake_for(&self, events: i16) {
        for waiter in self.waiting.lock().drain(..) {
            self.wakes.push(waiter);
        }
        let listening = self.listening.lock();
        if listening.is_empty() {
            return;
        }
        // Whoever hears of it may wake others, but never this queue: sets of descriptors that watch
        // each other have no cycles.
        let all: Vec<_> = listening.iter().filter_map(Weak::upgrade).collect();
        drop(listening);
        for listener in all {
            listener.changed(events);
        }
    }
}
