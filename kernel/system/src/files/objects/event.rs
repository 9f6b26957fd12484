//! eventfd(2): a counter that is waited for.
//!
//! Law: the counter never passes `u64::MAX - 1`; a write that would make it wait or is refused whole.

use super::super::pipe::Patience;
use crate::wait::{Stop, WaitQueue, Wakes};
use abi::Errno;
use abi::layout::{POLLERR, POLLIN, POLLOUT};
use alloc::vec::Vec;
use spin::Mutex;

/// How a read takes from the counter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in super::super) enum Takes {
    /// All of it.
    All,
    /// One (`EFD_SEMAPHORE`).
    One,
}

/// A counter.
pub(in super::super) struct EventFile {
    count: Mutex<u64>,
    takes: Takes,
    changed: WaitQueue,
}

impl EventFile {
    pub(in super::super) fn new(count: u64, takes: Takes, wakes: &Wakes) -> EventFile {
        EventFile {
            count: Mutex::new(count),
            takes,
            changed: WaitQueue::new(wakes),
        }
    }

    /// What it counts.
    pub(in super::super) fn count(&self) -> u64 {
        *self.count.lock()
    }

    /// How a read takes from it.
    pub(in super::super) fn takes(&self) -> Takes {
        self.takes
    }

    pub(super) fn queue(&self) -> &WaitQueue {
        &self.changed
    }

    pub(super) fn read(&self, room: usize, patience: Patience) -> Result<Vec<u8>, Stop> {
        if room < 8 {
            return Err(Errno::EINVAL.into());
        }
        let mut count = self.count.lock();
        if *count == 0 {
            return Err(patience.stop(&self.changed));
        }
        let taken = match self.takes {
            Takes::All => *count,
            Takes::One => 1,
        };
        *count -= taken;
        drop(count);
        self.changed.wake_for(POLLOUT);
        Ok(taken.to_le_bytes().to_vec())
    }

    pub(super) fn write(&self, bytes: &[u8], patience: Patience) -> Result<usize, Stop> {
        let bytes = bytes.try_into().map_err(|_| Errno::EINVAL)?;
        let more = u64::from_le_bytes(bytes);
        if more == u64::MAX {
            return Err(Errno::EINVAL.into());
        }
        let mut count = self.count.lock();
        if u64::MAX - *count <= more {
            return Err(patience.stop(&self.changed));
        }
        *count += more;
        drop(count);
        self.changed.wake_for(POLLIN);
        Ok(8)
    }

    pub(super) fn ready(&self) -> i16 {
        match *self.count.lock() {
            0 => POLLOUT,
            u64::MAX => POLLIN | POLLERR,
            count if count == u64::MAX - 1 => POLLIN,
            _ => POLLIN | POLLOUT,
        }
    }
}
