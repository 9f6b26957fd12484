//! Message queues of POSIX: how long a call may wait, by the clock of the process.
//!
//! Law: the end of a wait is fixed when the call begins; home is told when it is over.

use super::super::local::timespec;
use crate::dispatch::{CHUNK, LocalCall, result_of};
use crate::home::Request;
use crate::wait::Stop;
use abi::Errno;
use machine::Access;

const MQ_TIMEDSEND: u32 = 242;
const MQ_TIMEDRECEIVE: u32 = 243;
const MQ_NOTIFY: u32 = 244;
/// `SIGEV_THREAD` of sigevent(7), and what lies where such an event points to (`NOTIFY_COOKIE_LEN`).
const THREAD: u32 = 2;
const COOKIE: usize = 32;

/// When a wait until a time of day ends, by the process's clock.
fn end(call: &mut LocalCall<'_>, timeout: u64) -> Result<u64, Stop> {
    call.deadline(timeout, |call, address| {
        let time = timespec(call, address)?;
        Ok(time.saturating_sub(call.wall()))
    })
}

/// mq_timedsend(3).
pub fn mq_timedsend(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let [fd, text, length, priority, timeout, _] = call.args;
    let deadline = end(call, timeout)?;
    let waits = call.clock() < deadline;
    let answer = call.home(MQ_TIMEDSEND, |call| {
        let args = [fd, 0, length, priority & 0xffff_ffff, u64::from(waits), 0];
        let mut request = Request::plain(MQ_TIMEDSEND, args);
        match call.read(text, length.min(CHUNK) as usize) {
            Err(Stop::Errno(Errno::EFAULT)) => request.inputs.mark_unread(1),
            bytes => request.inputs.set(1, bytes?),
        }
        Ok(request)
    });
    if answer == Err(Stop::Wait) && waits && deadline != u64::MAX {
        return Err(call.wait_until(deadline));
    }
    result_of(answer?.value)
}

/// mq_timedreceive(3).
pub fn mq_timedreceive(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let [fd, text, length, priority, timeout, _] = call.args;
    let deadline = end(call, timeout)?;
    let waits = call.clock() < deadline;
    let answer = call.home(MQ_TIMEDRECEIVE, |call| {
        let args = [fd, 0, length, 0, u64::from(waits), 0];
        let mut request = Request::plain(MQ_TIMEDRECEIVE, args);
        let room = length.min(CHUNK) as usize;
        let fit = call.fit_for(text, room, Access::WRITE)?;
        if fit < room {
            request.inputs.mark_narrow(1);
        }
        request.rooms[1] = fit as u32;
        if priority != 0 {
            call.make_writable(priority, 4)?;
            request.rooms[3] = 4;
        }
        Ok(request)
    });
    if answer == Err(Stop::Wait) && waits && deadline != u64::MAX {
        return Err(call.wait_until(deadline));
    }
    let answer = answer?;
    let done = result_of(answer.value)?;
    let bytes = answer.buffers.get(1).unwrap_or(&[]);
    call.write(text, &bytes[..bytes.len().min(length as usize)])?;
    if priority != 0 {
        let bytes = answer.buffers.get(3).unwrap_or(&[]);
        call.write(priority, &bytes[..bytes.len().min(4)])?;
    }
    Ok(done)
}

/// mq_notify(3): an event that points to what a thread is to be told takes that along.
pub fn mq_notify(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    const EVENT: usize = 64;
    let [fd, event, ..] = call.args;
    let mut request = Request::plain(MQ_NOTIFY, [fd, event, 0, 0, 0, 0]);
    if event != 0 {
        let bytes = call.read(event, EVENT)?;
        let pointer = bytes
            .first_chunk()
            .map_or(0, |bytes| u64::from_le_bytes(*bytes));
        if bytes[12..16] == THREAD.to_le_bytes() {
            request.inputs.set(2, call.read(pointer, COOKIE)?);
        }
        request.inputs.set(1, bytes);
    }
    let answer = call.home(MQ_NOTIFY, |_| Ok(request))?;
    result_of(answer.value)
}
