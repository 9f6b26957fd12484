//! Asynchronous I/O of Linux: io_setup(2), io_submit(2), io_getevents(2), io_cancel(2), io_destroy(2).
//!
//! Law: a request is carried out within io_submit(2), as Linux does it with files in its cache, and its event is in the
//! ring when the call goes on. How far the call has got (which request, which part of it, how many bytes) is in the
//! restart record, so that a wait or a move in its middle repeats nothing. The ring is the program's memory: a program
//! that spoils it spoils its own events.
//!
//! Not here: `IOCB_CMD_POLL`.

use super::pieces::{self, Piece};
use crate::dispatch::{CALL_CHECK_FD, CHUNK, FdUse, LocalCall, result_of};
use crate::files::{RWF_APPEND, RWF_NOWAIT};
use crate::futex::FutexKey;
use crate::home::Request;
use crate::memory::{AreaFlags, Backing, EVENTS_MAX, MapHow, Ring};
use crate::wait::Stop;
use abi::Errno;
use alloc::vec::Vec;
use machine::{Access, USER_END};

const READ: u32 = 0;
const WRITE: u32 = 1;
const PREAD: u32 = 17;
const PWRITE: u32 = 18;
const FSYNC: u32 = 74;
const FDATASYNC: u32 = 75;
/// Number of io_submit(2).
pub(crate) const IO_SUBMIT: u64 = 209;

/// Bytes of a `struct iocb`.
const IOCB_BYTES: usize = 64;
/// Where the key is in it, which is 0 (`KIOCB_KEY`).
const KEY: u64 = 8;
/// An event is told to an eventfd.
const IOCB_FLAG_RESFD: u32 = 1;
/// `RWF_HIPRI`, `RWF_DSYNC`, `RWF_SYNC`: met by files in memory as they are.
const RWF_MET: u64 = 7;
const RWF_KNOWN: u64 = RWF_MET | RWF_NOWAIT | RWF_APPEND;
/// Pieces in one array at most (`UIO_MAXIOV`).
const PIECES_MAX: u64 = 1024;
/// Where head and tail are in the ring.
const HEAD: u64 = 8;
const TAIL: u64 = 12;
const EVENT_BYTES: usize = 32;

/// What a request wants.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wants {
    Read,
    Write,
    /// fsync(2) or fdatasync(2), by number.
    Sync(u32),
}

/// A request (`struct iocb`).
struct Wanted {
    /// Where the program has it.
    at: u64,
    data: u64,
    wants: Wants,
    fd: u64,
    /// `RWF_*`.
    how: u64,
    pieces: Vec<Piece>,
    offset: u64,
    /// The eventfd that is told.
    told: Option<u64>,
}

/// What is being done for a request.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Its eventfd is looked at.
    Check,
    /// Bytes are moved at its offset.
    Moves,
    /// Bytes are moved, and there are no offsets.
    Streams,
    /// Its event is in the ring, and its eventfd is told.
    Tells,
}

/// How far io_submit(2) is, as the restart record has it: 31 bits of bytes, two for the stage, then the request.
#[derive(Clone, Copy)]
struct Progress {
    index: u64,
    stage: Stage,
    bytes: u64,
}

const BYTES_BITS: u32 = 32;
const INDEX_SHIFT: u32 = 34;

/// How many requests a call that is interrupted has carried out.
pub(crate) fn submitted(progress: u64) -> u64 {
    progress >> INDEX_SHIFT
}

impl Progress {
    fn of(word: u64) -> Progress {
        Progress {
            index: submitted(word),
            stage: match word >> BYTES_BITS & 3 {
                0 => Stage::Check,
                1 => Stage::Moves,
                2 => Stage::Streams,
                _ => Stage::Tells,
            },
            bytes: word & u64::from(u32::MAX),
        }
    }

    fn word(self) -> u64 {
        self.index << INDEX_SHIFT | (self.stage as u64) << BYTES_BITS | self.bytes
    }
}

impl LocalCall<'_> {
    fn ring(&mut self, context: u64) -> Result<Ring, Stop> {
        let ring = self.system.space_mut(self.pid);
        let ring = ring.and_then(|space| space.rings.get(context).copied());
        let ring = ring.ok_or(Stop::Errno(Errno::EINVAL))?;
        // As in Linux a context whose ring cannot be read is none.
        match self.read(context, 4) {
            Err(Stop::Errno(_)) => Err(Errno::EINVAL.into()),
            read => read.map(|_| ring),
        }
    }

    fn half(&mut self, address: u64) -> Result<u32, Stop> {
        let mut bytes = [0; 4];
        self.read_into(address, &mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    /// Where those wait who wait for events.
    fn ring_queue(&mut self, context: u64) -> FutexKey {
        FutexKey::Private(self.body().space, context)
    }

    fn wake_ring(&mut self, context: u64) {
        let queue = self.ring_queue(context);
        let woken = self.system.futexes.wake(queue, usize::MAX, u32::MAX);
        for tid in woken {
            self.system.wakes.push(tid);
        }
    }

    fn note(&mut self, progress: Progress) {
        self.thread().restart.progress = progress.word();
        self.thread().restart.deadline_ns = 0;
    }
}

/// io_setup(2).
pub fn io_setup(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let [events, at, ..] = call.args;
    let events = events as u32;
    if call.read_u64(at)? != 0 || events == 0 {
        return Err(Errno::EINVAL.into());
    }
    let processors = call.system.settings.processors as u32;
    if !Ring::is_possible(events, processors) {
        return Err(Errno::EINVAL.into());
    }
    let room = call.space()?.rings.has_room(events);
    if events > EVENTS_MAX || !room {
        return Err(Errno::EAGAIN.into());
    }
    call.make_writable(at, 8)?;
    let ring = Ring::of(events, processors);
    let how = (MapHow::Anywhere, AreaFlags::empty());
    let access = Access::READ | Access::WRITE;
    let space = call.space()?;
    let context = space.map_flagged(0, ring.bytes(), access, Backing::Anonymous, how)?;
    if let Err(stop) = call.write(context, &ring.header()) {
        call.space()?.unmap(context, ring.bytes())?;
        return Err(stop);
    }
    call.space()?.rings.insert(context, ring);
    call.write(at, &context.to_le_bytes())?;
    Ok(0)
}

/// io_destroy(2): who waits for its events learns that it is none.
pub fn io_destroy(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let context = call.args[0];
    let ring = call.ring(context)?;
    call.space()?.rings.remove(context);
    call.space()?.unmap(context, ring.bytes())?;
    call.wake_ring(context);
    Ok(0)
}

/// io_cancel(2): no request is under way.
pub fn io_cancel(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let [_, request, ..] = call.args;
    call.half(request.wrapping_add(KEY))?;
    Err(Errno::EINVAL.into())
}

/// io_submit(2). While home is asked another thread may end the context.
pub fn io_submit(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let [context, count, requests, ..] = call.args;
    if (count as i64) < 0 {
        return Err(Errno::EINVAL.into());
    }
    let ring = call.ring(context)?;
    let count = count.min(ring.slots.into());
    loop {
        let progress = Progress::of(call.thread().restart.progress);
        if progress.index >= count {
            return Ok(progress.index);
        }
        match submit(call, context, requests, progress) {
            Ok(()) => call.note(Progress {
                index: progress.index + 1,
                stage: Stage::Check,
                bytes: 0,
            }),
            Err(Stop::Errno(_)) if progress.index > 0 => return Ok(progress.index),
            Err(stop) => return Err(stop),
        }
    }
}

/// Carries out one request, from where it was left.
fn submit(
    call: &mut LocalCall<'_>,
    context: u64,
    requests: u64,
    mut progress: Progress,
) -> Result<(), Stop> {
    let at = call.read_u64(requests.wrapping_add(8 * progress.index))?;
    let wanted = wanted(call, at)?;
    if progress.stage == Stage::Check {
        has_room(call, context)?;
        if let Some(eventfd) = wanted.told {
            call.ask_home(CALL_CHECK_FD, [eventfd, FdUse::Event as u64, 0, 0, 0, 0])?;
        }
        call.write(at.wrapping_add(KEY), &[0; 4])?;
        progress.stage = Stage::Moves;
        call.note(progress);
    }
    if progress.stage != Stage::Tells {
        let ring = call.ring(context)?;
        call.make_writable(context, ring.offset_of(0) as usize)?;
        call.make_writable(context + ring.offset_of(ring.tail), EVENT_BYTES)?;
        let result = match wanted.wants {
            Wants::Sync(number) => sync(call, number, wanted.fd)?,
            _ => transfer(call, &wanted, progress)?,
        };
        complete(call, context, &wanted, result)?;
        progress.stage = Stage::Tells;
        progress.bytes = 0;
        call.note(progress);
    }
    if let Some(eventfd) = wanted.told {
        // One that is full already, or closed by now, is told nothing.
        let args = [eventfd, 0, 8, 0, RWF_NOWAIT, 0];
        call.home(WRITE, |_| {
            let mut request = Request::plain(WRITE, args);
            request.inputs.set(1, 1_u64.to_le_bytes().to_vec());
            Ok(request)
        })?;
    }
    Ok(())
}

/// Reads a request and refuses what no file has to be asked for, behind a descriptor that is none.
fn wanted(call: &mut LocalCall<'_>, at: u64) -> Result<Wanted, Stop> {
    let bytes = call.read(at, IOCB_BYTES)?;
    let word = |from: usize| u64::from_le_bytes(core::array::from_fn(|at| bytes[from + at]));
    let half = |from: usize| u32::from_le_bytes(core::array::from_fn(|at| bytes[from + at]));
    let (buffer, length, offset) = (word(24), word(32), word(40));
    if word(48) != 0 || length > i64::MAX as u64 {
        return Err(Errno::EINVAL.into());
    }
    let fd = u64::from(half(20));
    let how = u64::from(half(12));
    let (wants, found) = match half(16) & 0xffff {
        0 => (Wants::Read, plain(buffer, length)),
        1 => (Wants::Write, plain(buffer, length)),
        7 => (Wants::Read, vectored(call, buffer, length)),
        8 => (Wants::Write, vectored(call, buffer, length)),
        2 => (Wants::Sync(FSYNC), nothing(&[buffer, length, offset, how])),
        3 => (
            Wants::Sync(FDATASYNC),
            nothing(&[buffer, length, offset, how]),
        ),
        _ => (Wants::Read, Err(Errno::EINVAL.into())),
    };
    let found = match found {
        _ if how & !RWF_KNOWN != 0 && !matches!(wants, Wants::Sync(_)) => {
            Err(Errno::EOPNOTSUPP.into())
        }
        Ok(_) if offset > i64::MAX as u64 => Err(Errno::EINVAL.into()),
        found => found,
    };
    let use_of = match wants {
        Wants::Read => FdUse::Read,
        Wants::Write => FdUse::Write,
        Wants::Sync(_) => FdUse::Any,
    };
    Ok(Wanted {
        at,
        data: word(0),
        wants,
        fd,
        how: how & !RWF_MET,
        pieces: call.behind_descriptor((fd, use_of), found)?,
        offset,
        told: (half(56) & IOCB_FLAG_RESFD != 0).then(|| half(60).into()),
    })
}

/// The one piece of a transfer without a vector.
fn plain(buffer: u64, length: u64) -> Result<Vec<Piece>, Stop> {
    if buffer.checked_add(length).is_none_or(|end| end > USER_END) {
        return Err(Errno::EFAULT.into());
    }
    Ok(alloc::vec![(buffer, length.min(pieces::TRANSFER_MAX))])
}

fn vectored(call: &mut LocalCall<'_>, buffer: u64, count: u64) -> Result<Vec<Piece>, Stop> {
    if count > PIECES_MAX {
        return Err(Errno::EINVAL.into());
    }
    pieces::vector(call, buffer, count)
}

/// What waits for a file takes no arguments.
fn nothing(words: &[u64]) -> Result<Vec<Piece>, Stop> {
    if words.iter().any(|word| *word != 0) {
        return Err(Errno::EINVAL.into());
    }
    Ok(Vec::new())
}

/// Refuses a request for whose event the ring might have no room, when all others that are being carried out are over.
fn has_room(call: &mut LocalCall<'_>, context: u64) -> Result<(), Stop> {
    let ring = call.ring(context)?;
    let head = call.half(context + HEAD)?;
    let submits = |tid: &u32| {
        let pending = call.system.threads.get(tid).and_then(|thread| thread.call);
        pending.is_some_and(|pending| u64::from(pending.number) == IO_SUBMIT)
    };
    let body = call.system.bodies.get(&call.pid).ok_or(Errno::ESRCH)?;
    let flying = body.threads.iter().filter(|tid| submits(tid)).count();
    let needed = ring.waiting(head).saturating_add(flying.max(1) as u32);
    if needed >= ring.slots {
        return Err(Errno::EAGAIN.into());
    }
    Ok(())
}

/// What is wrong with the file is told by the call itself, and what went wrong with it by the event.
fn told_at_once(error: Errno) -> Result<i64, Stop> {
    match error {
        Errno::EBADF => Err(Errno::EBADF.into()),
        // A directory.
        Errno::EISDIR => Err(Errno::EINVAL.into()),
        error => Ok(-i64::from(error.0)),
    }
}

/// Nothing is ever behind its file.
fn sync(call: &mut LocalCall<'_>, number: u32, fd: u64) -> Result<i64, Stop> {
    match call.ask_home(number, [fd, 0, 0, 0, 0, 0]) {
        Ok(_) => Ok(0),
        Err(Stop::Errno(error)) => Err(error.into()),
        Err(Stop::Wait) => Err(Stop::Wait),
    }
}

/// Moves the bytes of a request; what comes out is for its event.
fn transfer(
    call: &mut LocalCall<'_>,
    wanted: &Wanted,
    mut progress: Progress,
) -> Result<i64, Stop> {
    loop {
        let done = progress.bytes;
        let now = pieces::rest(&wanted.pieces, done, CHUNK);
        let length = pieces::total(&now);
        if length == 0 && done > 0 {
            return Ok(done as i64);
        }
        let streams = progress.stage == Stage::Streams;
        let moved = match step(call, wanted, &now, (streams, done)) {
            Ok(moved) => moved.min(length),
            Err(Stop::Errno(Errno::ESPIPE)) if !streams => {
                // The offset says nothing, as in Linux.
                progress.stage = Stage::Streams;
                call.note(progress);
                continue;
            }
            Err(Stop::Errno(_)) if done > 0 => return Ok(done as i64),
            Err(Stop::Errno(error)) => return told_at_once(error),
            Err(Stop::Wait) => return Err(Stop::Wait),
        };
        progress.bytes = done + moved;
        call.note(progress);
        let reads = wanted.wants == Wants::Read;
        if moved == 0 || reads && (streams || moved < length) {
            return Ok(progress.bytes as i64);
        }
    }
}

/// Moves as much as one call carries.
fn step(
    call: &mut LocalCall<'_>,
    wanted: &Wanted,
    now: &[Piece],
    (streams, done): (bool, u64),
) -> Result<u64, Stop> {
    let length = pieces::total(now);
    let reads = wanted.wants == Wants::Read;
    let number = match (reads, streams) {
        (true, false) => PREAD,
        (true, true) => READ,
        (false, false) => PWRITE,
        (false, true) => WRITE,
    };
    let place = match streams {
        false => wanted.offset.saturating_add(done),
        true if reads => u64::from(call.thread().restart.begun),
        true => 0,
    };
    let mut how = wanted.how;
    if streams {
        let left = pieces::total(&wanted.pieces).saturating_sub(done);
        how |= call.shields() | if reads { 0 } else { left << 8 };
    }
    let args = [
        wanted.fd,
        0,
        length,
        place,
        how,
        if reads && streams { 0 } else { done },
    ];
    let answer = call.home_limited(number, |call| {
        let mut request = Request::plain(number, args);
        match reads {
            true => pieces::make_room(call, now, &mut request)?,
            false => pieces::gather_into(call, now, &mut request)?,
        }
        Ok(request)
    })?;
    let moved = result_of(answer.value)?;
    if reads {
        pieces::scatter(call, now, answer.buffers.get(1).unwrap_or(&[]))?;
    }
    Ok(moved)
}

/// Puts an event into the ring and wakes who waits for it.
fn complete(
    call: &mut LocalCall<'_>,
    context: u64,
    wanted: &Wanted,
    result: i64,
) -> Result<(), Stop> {
    let mut ring = call.ring(context)?;
    let words = [wanted.data, wanted.at, result as u64, 0];
    let event: Vec<u8> = words.into_iter().flat_map(u64::to_le_bytes).collect();
    call.write(context + ring.offset_of(ring.tail), &event)?;
    ring.advance();
    call.write(context + TAIL, &ring.tail.to_le_bytes())?;
    call.space()?.rings.insert(context, ring);
    call.wake_ring(context);
    Ok(())
}

/// io_getevents(2).
pub fn io_getevents(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let deadline = until(call)?;
    events(call, deadline)
}

/// io_pgetevents(2): with signals blocked for the time of the call (`struct __aio_sigset`).
pub fn io_pgetevents(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let deadline = until(call)?;
    let signals = call.args[5];
    if signals != 0 {
        let (mask, bytes) = (
            call.read_u64(signals)?,
            call.read_u64(signals.wrapping_add(8))?,
        );
        if call.thread().restart.deadline_ns == 0 && deadline != u64::MAX {
            call.thread().restart.deadline_ns = deadline;
        }
        call.mask_at(mask, bytes)?;
    }
    events(call, deadline)
}

/// When the wait is over. A time that Linux does not look at is none that is refused.
fn until(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let timeout = call.args[4];
    call.deadline(timeout, |call, timeout| {
        let seconds = call.read_u64(timeout)? as i64;
        let ns = call.read_u64(timeout.wrapping_add(8))? as i64;
        let span = i128::from(seconds) * 1_000_000_000 + i128::from(ns);
        Ok(u64::try_from(span.max(0)).unwrap_or(u64::MAX))
    })
}

/// Hands out what is in the ring, until there was enough of it.
fn events(call: &mut LocalCall<'_>, deadline: u64) -> Result<u64, Stop> {
    let [context, least, most, into, ..] = call.args;
    let tid = call.tid;
    let ring = match call.ring(context) {
        Ok(ring) => ring,
        Err(stop) => {
            call.system.futexes.forget_thread(tid);
            return match call.thread().restart.progress {
                0 => Err(stop),
                done => Ok(done),
            };
        }
    };
    if (least as i64) < 0 || least as i64 > most as i64 {
        return Err(Errno::EINVAL.into());
    }
    let done = call.thread().restart.progress;
    let moved = hand_out(call, (context, ring), into, (done, most))?;
    let done = done + moved;
    call.thread().restart.progress = done;
    if done >= least || call.clock() >= deadline {
        call.system.futexes.forget_thread(tid);
        return Ok(done);
    }
    let queue = call.ring_queue(context);
    call.system.futexes.wait(queue, tid, u32::MAX);
    if deadline == u64::MAX {
        call.thread().restart.begun = true;
        return Err(Stop::Wait);
    }
    Err(call.wait_until(deadline))
}

/// Copies events to where the program wants them; how many.
fn hand_out(
    call: &mut LocalCall<'_>,
    (context, ring): (u64, Ring),
    into: u64,
    (done, most): (u64, u64),
) -> Result<u64, Stop> {
    let mut head = call.half(context + HEAD)?;
    let count = most.saturating_sub(done).min(ring.waiting(head).into());
    let at = into.wrapping_add(done.wrapping_mul(EVENT_BYTES as u64));
    if count == 0 {
        return Ok(0);
    }
    call.make_writable(context + HEAD, 4)?;
    call.make_writable(at, count as usize * EVENT_BYTES)?;
    let mut bytes = Vec::with_capacity(count as usize * EVENT_BYTES);
    for _ in 0..count {
        bytes.extend(call.read(context + ring.offset_of(head), EVENT_BYTES)?);
        head = (head % ring.slots + 1) % ring.slots;
    }
    call.write(at, &bytes)?;
    call.write(context + HEAD, &head.to_le_bytes())?;
    Ok(count)
}
