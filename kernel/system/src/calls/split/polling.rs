//! Waiting for descriptors: poll(2), select(2) and their relatives.
//!
//! Law: all of them are one question to home, the row of poll(2); the end of the wait and the mask for
//! its time are kept here and travel with the body. A handler ends the wait even with SA_RESTART.

use super::super::local::{SET_BYTES, timespec};
use crate::body::NOFILE;
use crate::dispatch::{LocalCall, ROOM_MAX, result_of};
use crate::home::Request;
use crate::wait::Stop;
use abi::Errno;
use abi::layout::{
    POLLERR, POLLFD_SIZE, POLLHUP, POLLIN, POLLNVAL, POLLOUT, POLLRDNORM, POLLWRNORM, PollFd,
};
use alloc::vec::Vec;

const POLL: u32 = 7;
const POLLPRI: i16 = 2;
const NS_PER_S: u64 = 1_000_000_000;
/// The most descriptors of select(2) (`FD_SETSIZE`).
const SET_MAX: u64 = 1024;

impl LocalCall<'_> {
    /// Waits until one of the entries is ready or the time is over; how many are ready, and the
    /// entries as home answered.
    fn await_ready(&mut self, entries: Vec<u8>, deadline: u64) -> Result<(u64, Vec<u8>), Stop> {
        let waits = self.clock() < deadline;
        let length = entries.len();
        let answer = self.home(POLL, |_| {
            let count = (length / POLLFD_SIZE) as u64;
            let mut request = Request::plain(POLL, [0, count, u64::from(waits), 0, 0, 0]);
            request.rooms[0] = length as u32;
            request.inputs.set(0, entries);
            Ok(request)
        });
        if answer == Err(Stop::Wait) && waits && deadline != u64::MAX {
            return Err(self.wait_until(deadline));
        }
        let answer = answer?;
        let ready = result_of(answer.value)?;
        let mut entries = answer.buffers.get(0).unwrap_or(&[]).to_vec();
        entries.resize(length, 0);
        Ok((ready, entries))
    }

    fn poll_until(&mut self, deadline: u64) -> Result<u64, Stop> {
        let [fds, count, ..] = self.args;
        let (most, _) = self.body().limits[NOFILE];
        let length = count.saturating_mul(POLLFD_SIZE as u64);
        if count > most || length > ROOM_MAX {
            return Err(Errno::EINVAL.into());
        }
        self.make_writable(fds, length as usize)?;
        let entries = self.read(fds, length as usize)?;
        let (ready, entries) = self.await_ready(entries, deadline)?;
        self.write(fds, &entries)?;
        Ok(ready)
    }

    /// The mask at `address`, if there is one, for the time of this call.
    pub(super) fn mask_at(&mut self, address: u64, bytes: u64) -> Result<(), Stop> {
        if address == 0 || self.thread().signals.saved_mask.is_some() {
            return Ok(());
        }
        if bytes != SET_BYTES {
            return Err(Errno::EINVAL.into());
        }
        let mask = self.read_u64(address)?;
        self.mask_for_now(mask)
    }
}

/// poll(2).
pub fn poll(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let timeout = call.args[2] as i32;
    let deadline = if timeout < 0 {
        u64::MAX
    } else {
        call.deadline(1, |_, _| Ok(timeout as u64 * 1_000_000))?
    };
    call.poll_until(deadline)
}

/// ppoll(2). What is left of the time is written back, as Linux does.
pub fn ppoll(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let [_, _, timeout, mask, mask_bytes, _] = call.args;
    let deadline = call.deadline(timeout, timespec)?;
    if call.thread().restart.deadline_ns == 0 && timeout != 0 {
        call.thread().restart.deadline_ns = deadline;
    }
    call.mask_at(mask, mask_bytes)?;
    let ready = call.poll_until(deadline)?;
    write_rest(call, timeout, deadline, 1)?;
    Ok(ready)
}

/// Reads a `struct timeval` as ns; select(2) takes any number of microseconds.
fn timeval(call: &mut LocalCall<'_>, address: u64) -> Result<u64, Stop> {
    let (seconds, micros) = (
        call.read_u64(address)?,
        call.read_u64(address.wrapping_add(8))?,
    );
    if (seconds as i64) < 0 || (micros as i64) < 0 {
        return Err(Errno::EINVAL.into());
    }
    Ok(seconds
        .saturating_mul(NS_PER_S)
        .saturating_add(micros.saturating_mul(1000))
        .min(i64::MAX as u64))
}

/// select(2). What is left of the time is written back, as Linux does.
pub fn select(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let timeout = call.args[4];
    let deadline = call.deadline(timeout, timeval)?;
    let ready = select_until(call, deadline)?;
    write_rest(call, timeout, deadline, 1000)?;
    Ok(ready)
}

/// pselect6(2): the mask is behind a pointer of its own.
pub fn pselect6(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let [.., timeout, packed] = call.args;
    let deadline = call.deadline(timeout, timespec)?;
    if call.thread().restart.deadline_ns == 0 && timeout != 0 {
        call.thread().restart.deadline_ns = deadline;
    }
    if packed != 0 {
        let mask = call.read_u64(packed)?;
        let bytes = call.read_u64(packed.wrapping_add(8))?;
        call.mask_at(mask, bytes)?;
    }
    let ready = select_until(call, deadline)?;
    write_rest(call, timeout, deadline, 1)?;
    Ok(ready)
}

fn write_rest(
    call: &mut LocalCall<'_>,
    address: u64,
    deadline: u64,
    unit_ns: u64,
) -> Result<(), Stop> {
    if address == 0 {
        return Ok(());
    }
    let left = deadline.saturating_sub(call.clock());
    let mut bytes = (left / NS_PER_S).to_le_bytes().to_vec();
    bytes.extend_from_slice(&(left % NS_PER_S / unit_ns).to_le_bytes());
    // As in Linux, a place that cannot be written to is no error.
    match call.write(address, &bytes) {
        Err(Stop::Wait) => Err(Stop::Wait),
        _ => Ok(()),
    }
}

/// What each of the three sets waits for, and what counts as that (`fs/select.c`).
const WANTED: [(i16, i16); 3] = [
    (POLLIN | POLLRDNORM, POLLIN | POLLRDNORM | POLLHUP | POLLERR),
    (POLLOUT | POLLWRNORM, POLLOUT | POLLWRNORM | POLLERR),
    (POLLPRI, POLLPRI),
];

fn select_until(call: &mut LocalCall<'_>, deadline: u64) -> Result<u64, Stop> {
    let count = call.args[0] as i32;
    if count < 0 {
        return Err(Errno::EINVAL.into());
    }
    let count = (count as u64).min(SET_MAX) as usize;
    let bytes = count.div_ceil(64) * 8;
    let addresses = [call.args[1], call.args[2], call.args[3]];
    let mut sets: [Vec<u8>; 3] = Default::default();
    for (set, address) in sets.iter_mut().zip(addresses) {
        set.resize(bytes, 0);
        if address != 0 {
            call.make_writable(address, bytes)?;
            call.read_into(address, set)?;
        }
    }
    let has = |set: &[u8], fd: usize| set[fd / 8] & (1 << (fd % 8)) != 0;
    let mut entries = Vec::new();
    for fd in 0..count {
        let mut events = 0;
        for (set, (wanted, _)) in sets.iter().zip(WANTED) {
            events |= if has(set, fd) { wanted } else { 0 };
        }
        if events != 0 {
            let entry = PollFd {
                fd: fd as i32,
                events,
                revents: 0,
            };
            entries.extend_from_slice(&entry.to_bytes());
        }
    }
    let (_, answered) = call.await_ready(entries, deadline)?;
    let mut found: [Vec<u8>; 3] = core::array::from_fn(|_| alloc::vec![0; bytes]);
    let mut ready = 0;
    let (answered, _) = answered.as_chunks::<POLLFD_SIZE>();
    for entry in answered.iter().map(PollFd::from_bytes) {
        if entry.revents & POLLNVAL != 0 {
            return Err(Errno::EBADF.into());
        }
        let fd = entry.fd as usize;
        for (set, (into, (_, counts))) in sets.iter().zip(found.iter_mut().zip(WANTED)) {
            if fd < count && has(set, fd) && entry.revents & counts != 0 {
                into[fd / 8] |= 1 << (fd % 8);
                ready += 1;
            }
        }
    }
    for (set, address) in found.iter().zip(addresses) {
        if address != 0 {
            call.write(address, set)?;
        }
    }
    Ok(ready)
}
