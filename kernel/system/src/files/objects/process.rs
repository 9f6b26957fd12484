//! pidfd_open(2): a process, or one thread, as a file.
//!
//! Law: it names the one that had the number when it was opened, and no later one.

use crate::wait::{WaitQueue, Wakes};
use abi::layout::{POLLIN, POLLRDNORM};
use alloc::sync::Arc;
use core::cell::OnceCell;
use core::sync::atomic::{AtomicBool, Ordering};
use spin::Once;

/// The end of a process or of a thread, which outlives it. One process has one.
pub struct Exit {
    over: AtomicBool,
    gone: AtomicBool,
    queue: WaitQueue,
    number: Once<u64>,
}

impl Exit {
    /// Of a process that lives.
    pub fn new(wakes: &Wakes) -> Arc<Exit> {
        Arc::new(Exit {
            over: AtomicBool::new(false),
            gone: AtomicBool::new(false),
            queue: WaitQueue::new(wakes),
            number: Once::new(),
        })
    }

    /// The number of the inode of all files that stand for it (pidfs of Linux 6.9): by that programs tell whether two
    /// of them are the same process.
    pub(in super::super) fn number(&self, new: impl FnOnce() -> u64) -> u64 {
        *self.number.call_once(new)
    }

    /// The process has ended.
    pub fn happen(&self) {
        self.over.store(true, Ordering::Relaxed);
        self.queue.wake();
    }

    /// Nobody has its number any more: it has ended and was waited for.
    pub fn forget(&self) {
        self.gone.store(true, Ordering::Relaxed);
    }
}

/// The end of a thread, for those who hold it as a file. It happens when this is dropped, so that no way to end is
/// overlooked.
#[derive(Default)]
pub struct ThreadEnd(OnceCell<Arc<Exit>>);

impl ThreadEnd {
    /// The end, made for the first who wants to know of it.
    pub fn exit(&self, wakes: &Wakes) -> Arc<Exit> {
        self.0.get_or_init(|| Exit::new(wakes)).clone()
    }
}

impl Drop for ThreadEnd {
    fn drop(&mut self) {
        if let Some(exit) = self.0.get() {
            exit.happen();
            exit.forget();
        }
    }
}

/// A process by its pid and its end, or a thread of it.
pub struct ProcessHandle {
    /// Its pid.
    pub pid: u32,
    /// The thread that is meant (`PIDFD_THREAD`).
    pub thread: Option<u32>,
    /// Its end: the same object as that of the process or thread, if that is still the same one.
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

    /// Whether its number means it no more.
    pub fn is_gone(&self) -> bool {
        self.exit.gone.load(Ordering::Relaxed)
    }

    pub(super) fn ready(&self) -> i16 {
        if self.is_over() {
            POLLIN | POLLRDNORM
        } else {
            0
        }
    }
}
