//! Pipes: a bounded queue of bytes between ends that are counted.
//!
//! Law (POSIX `write`, "pipe or FIFO"; fifo(7)): up to `PIPE_BUF` bytes are written whole or not at
//! all; more are written as far as there is room. Reading an empty pipe without writers gives nothing, writing one without readers gives `EPIPE`; the signal that belongs to it is the
//! caller's business. An end is given back when the open file that holds it goes away. Opening a pipe
//! with a name waits for the other side, which counts as there while it waits in its own opening.

use super::inode::{InodeRef, buffer};
use super::storage::look_at_lent;
use crate::wait::{Stop, WaitQueue, Wakes};
use abi::Errno;
use abi::layout::{POLLERR, POLLHUP, POLLIN, POLLOUT, POLLRDNORM, POLLWRNORM};
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use spin::Mutex;

/// What a write puts into a pipe.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Form {
    /// Bytes, which go behind those that are there.
    Bytes,
    /// A packet of at most a page: read alone, and whole or not (`O_DIRECT`, pipe(2)).
    Packet,
}

/// The bytes that lie in one page.
#[derive(Clone, Copy)]
struct Page {
    from: usize,
    to: usize,
    form: Form,
}

/// Bytes that are written whole or not at all.
pub const PIPE_BUF: usize = 4096;
/// Bytes a pipe holds at first.
pub const PIPE_CAPACITY: usize = 65_536;
/// Most bytes a pipe can be made to hold (`/proc/sys/fs/pipe-max-size`).
pub const CAPACITY_MAX: usize = 1 << 20;

/// Which end of a pipe.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Side {
    Read = 0,
    Write = 1,
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

#[derive(Default)]
struct Ring {
    bytes: VecDeque<u8>,
    /// The pages that the bytes lie in: where the bytes of each begin and end. A page takes more only
    /// behind its end, and is free when it is read to there (pipe(7), "Pipe capacity").
    pages: VecDeque<Page>,
    capacity: usize,
    readers: u32,
    writers: u32,
    /// How often an end was opened, by side.
    openings: [u64; 2],
    /// Who waits in an opening, or did: its side, and whether the other side has let it in.
    openers: BTreeMap<u32, (Side, bool)>,
}

impl Ring {
    /// Whether somebody is at a side, or was let in by the other and has not been back yet.
    fn has(&self, side: Side) -> bool {
        let there = match side {
            Side::Read => self.readers,
            Side::Write => self.writers,
        };
        let mut openers = self.openers.values();
        there > 0 || openers.any(|opener| *opener == (side, true))
    }

    /// Bytes that fit into pages nobody uses.
    fn room(&self) -> usize {
        self.capacity.saturating_sub(self.pages.len() * PIPE_BUF)
    }

    /// How many bytes of a write of `length` go behind the end of the last page.
    fn joined(&self, length: usize, form: Form) -> usize {
        let odd = length % PIPE_BUF;
        let fits =
            |page: &&Page| [form, page.form] == [Form::Bytes; 2] && page.to + odd <= PIPE_BUF;
        self.pages.back().filter(fits).map_or(0, |_| odd)
    }

    fn push(&mut self, bytes: &[u8], joined: usize, form: Form) -> Result<(), Errno> {
        self.bytes
            .try_reserve(bytes.len())
            .map_err(|_| Errno::ENOMEM)?;
        if let Some(last) = self.pages.back_mut() {
            last.to += joined;
        }
        let pages = bytes[joined..].chunks(PIPE_BUF);
        self.pages.extend(pages.map(|page| Page {
            from: 0,
            to: page.len(),
            form,
        }));
        self.bytes.extend(bytes);
        Ok(())
    }

    /// The bytes of the first packet, if a packet is first.
    fn packet(&self) -> Option<usize> {
        let page = self.pages.front()?;
        (page.form == Form::Packet).then_some(page.to - page.from)
    }

    /// Copies the first bytes: all of `into`, which is no longer than what is there.
    fn copy_to(&self, into: &mut [u8]) {
        let (front, back) = self.bytes.as_slices();
        let (first, rest) = into.split_at_mut(front.len().min(into.len()));
        first.copy_from_slice(&front[..first.len()]);
        rest.copy_from_slice(&back[..rest.len()]);
    }

    /// Forgets the first bytes.
    fn skip(&mut self, count: usize) {
        let mut left = count;
        self.bytes.drain(..count);
        while let Some(page) = self.pages.front_mut() {
            let taken = left.min(page.to - page.from);
            page.from += taken;
            left -= taken;
            if page.from < page.to {
                break;
            }
            self.pages.pop_front();
        }
        if self.bytes.is_empty() {
            self.bytes = VecDeque::new();
        }
    }
}

/// One pipe.
pub(super) struct Pipe {
    /// Whether it has, or had, a name in the tree.
    pub(super) named: bool,
    ring: Mutex<Ring>,
    readable: WaitQueue,
    writable: WaitQueue,
}

impl Pipe {
    /// A pipe without ends.
    pub(super) fn new(wakes: &Wakes) -> Pipe {
        Pipe {
            named: false,
            ring: Mutex::new(Ring {
                capacity: PIPE_CAPACITY,
                ..Ring::default()
            }),
            readable: WaitQueue::new(wakes),
            writable: WaitQueue::new(wakes),
        }
    }

    /// A pipe with a name.
    pub(super) fn fifo(wakes: &Wakes) -> Pipe {
        Pipe {
            named: true,
            ..Pipe::new(wakes)
        }
    }

    /// How many bytes it holds at most.
    pub(super) fn capacity(&self) -> usize {
        self.ring.lock().capacity
    }

    /// Changes that.
    pub(super) fn resize(&self, capacity: usize) -> Result<(), Errno> {
        let mut ring = self.ring.lock();
        if ring.pages.len() * PIPE_BUF > capacity {
            return Err(Errno::EBUSY);
        }
        ring.capacity = capacity;
        self.writable.wake();
        Ok(())
    }

    /// Whether `waiter` may open one side now; it waits for the other side otherwise. `opens` tells
    /// whether somebody still waits in an opening.
    pub(super) fn may_open(
        &self,
        side: Side,
        patience: Patience,
        opens: impl Fn(u32) -> bool,
    ) -> Result<(), Stop> {
        let mut ring = self.ring.lock();
        let waiter = match patience {
            Patience::Wait(waiter) => Some(waiter),
            Patience::Never => None,
        };
        // Who was let in may find the other side gone again.
        let let_in = waiter.and_then(|waiter| ring.openers.remove(&waiter)) == Some((side, true));
        let mut met = false;
        for (waiter, (other, let_in)) in &mut ring.openers {
            if *other != side && (*let_in || opens(*waiter)) {
                (*let_in, met) = (true, true);
            }
        }
        let there = match side {
            Side::Read => ring.writers,
            Side::Write => ring.readers,
        };
        if there > 0 || met || let_in {
            return Ok(());
        }
        let waiter = match (waiter, side) {
            (Some(waiter), _) => waiter,
            (None, Side::Read) => return Ok(()),
            (None, Side::Write) => return Err(Errno::ENXIO.into()),
        };
        ring.openers.insert(waiter, (side, false));
        self.readable.wait(waiter);
        Err(Stop::Wait)
    }

    /// How often it was opened for writing: somebody who saw this number and no writer is not hung
    /// up on.
    pub(super) fn writer_openings(&self) -> (u32, u64) {
        let ring = self.ring.lock();
        (ring.writers, ring.openings[Side::Write as usize])
    }

    /// Copies what waits to be read, without taking it.
    pub(super) fn peek(&self, count: usize, patience: Patience) -> Result<Vec<u8>, Stop> {
        let ring = self.ring.lock();
        if count == 0 || (ring.bytes.is_empty() && !ring.has(Side::Write)) {
            return Ok(Vec::new());
        }
        if ring.bytes.is_empty() {
            return Err(patience.stop(&self.readable));
        }
        let mut copied = buffer(count.min(ring.bytes.len()))?;
        ring.copy_to(&mut copied);
        Ok(copied)
    }

    /// Takes what was seen, and is wanted no more.
    pub(super) fn skip(&self, count: usize) {
        let mut ring = self.ring.lock();
        let count = count.min(ring.bytes.len());
        ring.skip(count);
        if count > 0 {
            self.writable.wake_for(POLLOUT | POLLWRNORM);
        }
    }

    /// How much can be written at once; waits, or refuses, when that is nothing.
    pub(super) fn room(&self, patience: Patience) -> Result<usize, Stop> {
        let ring = self.ring.lock();
        if !ring.has(Side::Read) {
            return Err(Errno::EPIPE.into());
        }
        match ring.room() {
            0 => Err(patience.stop(&self.writable)),
            room => Ok(room),
        }
    }

    pub(super) fn read(&self, count: usize, patience: Patience) -> Result<Vec<u8>, Stop> {
        let mut ring = self.ring.lock();
        if count == 0 || (ring.bytes.is_empty() && !ring.has(Side::Write)) {
            return Ok(Vec::new());
        }
        if ring.bytes.is_empty() {
            return Err(patience.stop(&self.readable));
        }
        let packet = ring.packet();
        let count = count.min(packet.unwrap_or(ring.bytes.len()));
        let mut taken = buffer(count)?;
        ring.copy_to(&mut taken);
        // What of a packet was not wanted is gone.
        ring.skip(packet.unwrap_or(count));
        self.writable.wake_for(POLLOUT | POLLWRNORM);
        Ok(taken)
    }

    pub(super) fn write(
        &self,
        bytes: &[u8],
        form: Form,
        patience: Patience,
    ) -> Result<usize, Stop> {
        if bytes.is_empty() {
            return Ok(0);
        }
        let mut ring = self.ring.lock();
        if !ring.has(Side::Read) {
            return Err(Errno::EPIPE.into());
        }
        let joined = ring.joined(bytes.len(), form);
        let count = bytes.len().min(joined + ring.room());
        if count == 0 || (count < bytes.len() && bytes.len() <= PIPE_BUF) {
            return Err(patience.stop(&self.writable));
        }
        ring.push(&bytes[..count], joined, form)?;
        self.readable.wake_for(POLLIN | POLLRDNORM);
        Ok(count)
    }

    /// Whether somebody may read what is written.
    pub(super) fn has_reader(&self) -> bool {
        self.ring.lock().has(Side::Read)
    }

    /// Pages that writes may fill at once; none without a reader.
    pub(super) fn pages_free(&self) -> u32 {
        let ring = self.ring.lock();
        match ring.has(Side::Read) {
            true => (ring.room() / PIPE_BUF) as u32,
            false => 0,
        }
    }

    /// Takes writes for which there was room when it was promised, however much others have written
    /// since: who was promised does not wait.
    pub(super) fn put_promised<'a>(
        &self,
        pieces: impl Iterator<Item = &'a [u8]>,
        form: Form,
    ) -> Result<(), Errno> {
        let mut ring = self.ring.lock();
        if !ring.has(Side::Read) {
            return Ok(());
        }
        for piece in pieces {
            let joined = ring.joined(piece.len(), form);
            ring.push(piece, joined, form)?;
        }
        self.readable.wake_for(POLLIN | POLLRDNORM);
        Ok(())
    }

    /// Bytes waiting to be read.
    pub(super) fn available(&self) -> usize {
        self.ring.lock().bytes.len()
    }

    /// What `poll` says of an end.
    /// `seen` is the number of writers' openings at which a reader came when there was none.
    pub(super) fn ready(&self, side: Side, seen: Option<u64>) -> i16 {
        let ring = self.ring.lock();
        let mut ready = 0;
        if side == Side::Read {
            if !ring.bytes.is_empty() {
                ready |= POLLIN | POLLRDNORM;
            }
            if !ring.has(Side::Write) && seen != Some(ring.openings[Side::Write as usize]) {
                ready |= POLLHUP;
            }
        } else {
            if ring.room() >= PIPE_BUF {
                ready |= POLLOUT | POLLWRNORM;
            }
            if !ring.has(Side::Read) {
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
        let pipe = inode.pipe()?;
        let mut ring = pipe.ring.lock();
        match side {
            Side::Read => ring.readers += 1,
            Side::Write => ring.writers += 1,
        }
        ring.openings[side as usize] += 1;
        // Those who wait in their opening for this side.
        pipe.readable.wake();
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
        if !ring.has(Side::Read) && !ring.has(Side::Write) {
            ring.bytes = VecDeque::new();
            ring.pages = VecDeque::new();
        }
        if ring.readers == 0 || ring.writers == 0 {
            pipe.readable.wake();
            pipe.writable.wake();
        }
        if ring.readers == 0 {
            // Who was promised room has to hear of it.
            look_at_lent();
        }
    }
}
