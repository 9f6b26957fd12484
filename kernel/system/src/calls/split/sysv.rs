//! IPC of System V: what is copied here, and how long a call waits.
//!
//! Law: a call that a handler interrupts ends, whatever the handler says (semop(2), msgop(2)).

use super::super::local::timespec;
use crate::dispatch::{
    CALL_MSG_CONTROL, CALL_MSG_RECEIVE, CALL_MSG_SEND, CALL_SEM_CONTROL, CALL_SEM_OPERATE,
    LocalCall, result_of,
};
use crate::home::Request;
use crate::sysv::Limits;
use crate::thread::Answer;
use crate::wait::Stop;
use abi::Errno;
use alloc::vec::Vec;
use machine::PAGE_SIZE;

/// The most bytes of a whole set.
const VALUES_MAX: usize = 64_000;

const IPC_SET: u32 = 1;
const SETALL: u32 = 17;
/// Bytes of `struct semid64_ds` and `struct msqid64_ds`.
const SET_STATUS: usize = 104;
const QUEUE_STATUS: usize = 120;

fn operate(call: &mut LocalCall<'_>, deadline: u64) -> Result<u64, Stop> {
    let [id, operations, count, ..] = call.args;
    let count = u64::from(count as u32);
    if count < 1 {
        return Err(Errno::EINVAL.into());
    }
    if count > Limits::OPERATIONS_MAX {
        return Err(Errno::E2BIG.into());
    }
    call.read(operations, count as usize * 6)?;
    if (id as i32) < 0 {
        return Err(Errno::EINVAL.into());
    }
    let waits = call.clock() < deadline;
    let answer = call.home(CALL_SEM_OPERATE, |call| {
        let bytes = call.read(operations, count as usize * 6)?;
        let args = [id, u64::from(waits), count, 0, 0, 0];
        let mut request = Request::plain(CALL_SEM_OPERATE, args);
        request.inputs.set(1, bytes);
        Ok(request)
    });
    if answer == Err(Stop::Wait) && waits && deadline != u64::MAX {
        return Err(call.wait_until(deadline));
    }
    result_of(answer?.value)
}

/// semop(2).
pub fn semop(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    operate(call, u64::MAX)
}

/// semtimedop(2).
pub fn semtimedop(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let timeout = call.args[3];
    let deadline = call.deadline(timeout, timespec)?;
    operate(call, deadline)
}

/// What of `most` bytes at an address can be read.
fn readable(call: &mut LocalCall<'_>, address: u64, most: usize) -> Result<Vec<u8>, Stop> {
    let mut bytes = Vec::new();
    while bytes.len() < most {
        let at = address.wrapping_add(bytes.len() as u64);
        let in_page = PAGE_SIZE - (at % PAGE_SIZE as u64) as usize;
        match call.read(at, in_page.min(most - bytes.len())) {
            Ok(more) => bytes.extend(more),
            Err(Stop::Errno(_)) => break,
            Err(stop) => return Err(stop),
        }
    }
    Ok(bytes)
}

/// Writes what home has for the place that the last argument points to.
fn put_answer(call: &mut LocalCall<'_>, address: u64, answer: &Answer) -> Result<u64, Stop> {
    let value = result_of(answer.value)?;
    let bytes = answer.buffers.get(5).unwrap_or(&[]);
    if !bytes.is_empty() {
        call.write(address, bytes)?;
    }
    Ok(value)
}

/// semctl(2).
pub fn semctl(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let [id, number, command, argument, ..] = call.args;
    let answer = call.home(CALL_SEM_CONTROL, |call| {
        let given = match command as u32 {
            IPC_SET => call.read(argument, SET_STATUS)?,
            SETALL => readable(call, argument, VALUES_MAX)?,
            _ => Vec::new(),
        };
        let args = [id, number, command, argument, 0, 0];
        let mut request = Request::plain(CALL_SEM_CONTROL, args);
        request.inputs.set(4, given);
        Ok(request)
    })?;
    put_answer(call, argument, &answer)
}

/// msgsnd(2).
pub fn msgsnd(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let [id, message, length, flags, ..] = call.args;
    call.read_u64(message)?;
    if length > Limits::MESSAGE_MAX || (id as i32) < 0 {
        return Err(Errno::EINVAL.into());
    }
    let answer = call.home(CALL_MSG_SEND, |call| {
        let kind = call.read_u64(message)?;
        let text = call.read(message.wrapping_add(8), length as usize)?;
        let mut request = Request::plain(CALL_MSG_SEND, [id, kind, flags, 0, 0, 0]);
        request.inputs.set(1, text);
        Ok(request)
    })?;
    result_of(answer.value)
}

/// msgrcv(2).
pub fn msgrcv(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let [id, message, length, kind, flags, _] = call.args;
    if length > i64::MAX as u64 || (id as i32) < 0 {
        return Err(Errno::EINVAL.into());
    }
    let room = length.min(Limits::MESSAGE_MAX);
    let answer = call.home(CALL_MSG_RECEIVE, |call| {
        call.make_writable(message, 8 + room as usize)?;
        let args = [id, room, kind, flags, 0, 0];
        Ok(Request::plain(CALL_MSG_RECEIVE, args))
    })?;
    let done = result_of(answer.value)?;
    call.write(message, answer.buffers.get(0).unwrap_or(&[0; 8]))?;
    let text = answer.buffers.get(1).unwrap_or(&[]);
    let text = &text[..text.len().min(room as usize)];
    call.write(message.wrapping_add(8), text)?;
    Ok(done)
}

/// msgctl(2).
pub fn msgctl(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let [id, command, argument, ..] = call.args;
    let answer = call.home(CALL_MSG_CONTROL, |call| {
        let given = match command as u32 {
            IPC_SET => call.read(argument, QUEUE_STATUS)?,
            _ => Vec::new(),
        };
        let mut request = Request::plain(CALL_MSG_CONTROL, [id, command, 0, 0, 0, 0]);
        request.inputs.set(2, given);
        Ok(request)
    })?;
    put_answer(call, argument, &answer)
}
