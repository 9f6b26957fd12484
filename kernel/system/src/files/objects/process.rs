//! pidfd_open(2): a process as a file.
//!
//! Law: it names the process that had the pid when it was opened, and no later one.

use crate::wait::{WaitQueue, Wakes};
use abi::layout::{POLLIN, POLLRDNORM};
use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, Ordering};

/// The end of a process, which outlives it. One process has one.
pub struct Exit {
    over: AtomicBool,
    queue: WaitQueue,
}

impl Exit {
    /// Of a process that lives.
    pub fn new(wakes: &Wakes) -> Arc<Exit> {
        Arc::new(Exit {
            over: AtomicBool::new(false),
            queue: WaitQueue::new(wakes),
        })
    }

    /// The process has ended.
    pub fn happen(&self) {
        self.over.store(true, Ordering::Relaxed);
        self.queue.wake();
    }
}

/// A process by its pid and its end.
pub struct ProcessHandle {
    /// Its pid.
    pub pid: u32,
    /// Its end: the same object as that of the process, if that is still the same process.
    pub exit: Arc<Exit>,
}

impl ProcessHandle {
    pub(super) fn queue(&self) -> &WaitQueue {
        &self.exit.queue
    }

    /// Whether the process has ended.
    pub fn is_over(&self) -> bool {
        self.exit.over.load(Ordering::Relaxed)
    }

    pub(super) fn ready(&self) -> i16 {
        if self.is_over() {
            POLLIN | POLLRDNORM
        } else {
            0
        }
    }
}
