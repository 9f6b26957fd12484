//! On which processors a thread may run.
//!
//! Law: home is told first, so that others can ask; the caller's own thread then keeps to it at once.

use crate::dispatch::{CALL_AFFINITY, LocalCall, result_of};
use crate::home::Request;
use crate::wait::Stop;
use abi::Errno;

/// Bytes of a set as it is told: 64 processors.
const SET: u64 = 8;

/// sched_setaffinity(2).
pub fn sched_setaffinity(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let [who, length, address, ..] = call.args;
    let mut set = call.read(address, (length as u32).min(128) as usize)?;
    set.resize(SET as usize, 0);
    let set = set
        .iter()
        .rev()
        .fold(0_u64, |set, byte| set << 8 | u64::from(*byte));
    call.ask_home(CALL_AFFINITY, [who, 1, set, 0, 0, 0])?;
    let tid = call.tid;
    if [0, tid].contains(&(who as u32)) {
        call.thread().processors = set;
        call.system.leave_forbidden(tid);
    }
    Ok(0)
}

/// sched_getaffinity(2).
pub fn sched_getaffinity(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let [who, length, address, ..] = call.args;
    let length = u64::from(length as u32);
    if length < SET || length % SET != 0 {
        return Err(Errno::EINVAL.into());
    }
    let args = [who, 0, 0, 0, 0, 0];
    let answer = call.home(CALL_AFFINITY, |_| Ok(Request::plain(CALL_AFFINITY, args)))?;
    result_of(answer.value)?;
    let set = answer.buffers.get(0).unwrap_or(&[]);
    call.write(address, &set[..set.len().min(SET as usize)])?;
    Ok(SET)
}
