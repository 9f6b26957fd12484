//! Pipes: a bounded queue of bytes between ends that are counted.
//!
//! Law (POSIX `write`, "pipe or FIFO"): up to `PIPE_BUF` bytes are written whole or not at all; more
//! are written as far as there is room once `PIPE_BUF` bytes fit. Reading an empty pipe without writers
//! gives nothing, writing one without readers gives `EPIPE`; the signal that belongs to it is the
//! caller's business. An end is given back when the open file that holds it goes away.

use super::inode::{InodeRef, buffer};
use crate::wait::{Stop, WaitQueue, Wakes};
use abi::Errno;
use abi::layout::{POLLERR, POLLHUP, POLLIN, POLLOUT, POLLRDNORM, POLLWRNORM};
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use spin::Mutex;

/// Bytes that are written whole or not at all.
pub const PIPE_BUF: usize = 4096;
/// Bytes a pipe holds.
pub const PIPE_CAPACITY: usize = 65_536;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Side {
    Read,
    Write,
}

/// Whether the caller waits or wants `EAGAIN`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Patience {
    /// Register this waiter.
    Wait(u32),
    Never,
}

impl Patience {
    /// Registers with `queue`, or refuses.
    pub(super) fn stop(self, queue: &WaitQueue) -> Stop {
        match self {
            Patience::Wait(waiter) => {
                queue.wait(waiter);
                Stop::Wait
            }
            Patience::Never => Stop::Errno(Errno::EAGAIN),
        }
    }
}

struct Ring {
    bytes: VecDeque<u8>,
    readers: u32,
    writers: u32,
}

/// One pipe.
pub(super) struct Pipe {
    ring: Mutex<Ring>,
    readable: WaitQueue,
    writable: WaitQueue,
}

impl Pipe {
    /// A pipe without ends.
    pub(super) fn new(wakes: &Wakes) -> Pipe {
        Pipe {
            ring: Mutex::new(Ring {
                bytes: VecDeque::new(),
                readers: 0,
                writers: 0,
            }),
            readable: WaitQueue::new(wakes),
            writable: WaitQueue::new(wakes),
        }
    }

    pub(super) fn read(&self, count: usize, patience: Patience) -> Result<Vec<u8>, Stop> {
        let mut ring = self.ring.lock();
        if count == 0 || (ring.bytes.is_empty() && ring.writers == 0) {
            return Ok(Vec::new());
        }
        if ring.bytes.is_empty() {
            return Err(patience.stop(&self.readable));
        }
        let count = count.min(ring.bytes.len());
        let mut taken = buffer(count)?;
        for (place, byte) in taken.iter_mut().zip(ring.bytes.drain(..count)) {
            *place = byte;
        }
        if ring.bytes.is_empty() {
            ring.bytes = VecDeque::new();
        }
        self.writable.wake_for(POLLOUT | POLLWRNORM);
        Ok(taken)
    }

    pub(super) fn write(&self, bytes: &[u8], patience: Patience) -> Result<usize, Stop> {
        let mut ring = self.ring.lock();
        if ring.readers == 0 {
            return Err(Errno::EPIPE.into());
        }
        let room = PIPE_CAPACITY - ring.bytes.len();
        if room < bytes.len().min(PIPE_BUF) {
            return Err(patience.stop(&self.writable));
        }
        let count = room.min(bytes.len());
        ring.bytes.try_reserve(count).map_err(|_| Errno::ENOMEM)?;
        ring.bytes.extend(&bytes[..count]);
        self.readable.wake_for(POLLIN | POLLRDNORM);
        Ok(count)
    }

    /// Bytes waiting to be read.
    pub(super) fn available(&self) -> usize {
        self.ring.lock().bytes.len()
    }

    /// What `poll` says of an end.
    pub(super) fn ready(&self, side: Side) -> i16 {
        let ring = self.ring.lock();
        let mut ready = 0;
        if side == Side::Read {
            if !ring.bytes.is_empty() {
                ready |= POLLIN | POLLRDNORM;
            }
            if ring.writers == 0 {
                ready |= POLLHUP;
            }
        } else {
            if PIPE_CAPACITY - ring.bytes.len() >= PIPE_BUF {
                ready |= POLLOUT | POLLWRNORM;
            }
            if ring.readers == 0 {
                ready |= POLLERR;
            }
        }
        ready
    }

    /// Every change of [`Pipe::ready`] wakes one of these.
    pub(super) fn queues(&self) -> [&WaitQueue; 2] {
        [&self.readable, &self.writable]
    }
}

/// A counted end of a pipe.
pub(super) struct PipeEnd {
    inode: InodeRef,
    side: Side,
}

impl PipeEnd {
    /// One more end of the pipe that `inode` is; `None` if it is none.
    pub(super) fn new(inode: &InodeRef, side: Side) -> Option<PipeEnd> {
        let mut ring = inode.pipe()?.ring.lock();
        match side {
            Side::Read => ring.readers += 1,
            Side::Write => ring.writers += 1,
        }
        drop(ring);
        Some(PipeEnd {
            inode: inode.clone(),
            side,
        })
    }
}

impl Drop for PipeEnd {
    fn drop(&mut self) {
        let Some(pipe) = self.inode.pipe() else {
            return;
        };
        let mut ring = pipe.ring.lock();
        match self.side {
            Side::Read => ring.readers -= 1,
            Side::Write => ring.writers -= 1,
        }
        if ring.readers == 0 || ring.writers == 0 {
            pipe.readable.wake();
            pipe.writable.wake();
        }
    }
}
