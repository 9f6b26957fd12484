//! Limits of resources: prlimit(2) and its older form.
//!
//! Law: the body has them and uses them; home is told first, so that what it does for the process keeps
//! to them and /proc shows them.

use crate::body::{LIMITS, NOFILE};
use crate::credentials::SYS_RESOURCE;
use crate::dispatch::{CALL_LIMIT, CALL_LIMIT_OF, LocalCall, result_of};
use crate::files::MAX_DESCRIPTORS;
use crate::home::Request;
use crate::wait::Stop;
use abi::Errno;

/// setrlimit(2).
pub fn setrlimit(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let [resource, address, ..] = call.args;
    call.read_u64(address)?;
    call.read_u64(address.wrapping_add(8))?;
    call.args = [0, resource, address, 0, 0, 0];
    prlimit64(call)
}

/// prlimit64(2).
pub fn prlimit64(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let [pid, resource, new, old, ..] = call.args;
    let index = resource as u32 as usize;
    if index >= LIMITS {
        return Err(Errno::EINVAL.into());
    }
    let limits = match new {
        0 => None,
        new => Some((call.read_u64(new)?, call.read_u64(new.wrapping_add(8))?)),
    };
    if pid as u32 != 0 && pid as u32 != call.pid {
        return of_other(call, limits);
    }
    let before = call.body().limits[index];
    if old != 0 {
        call.make_writable(old, 16)?;
    }
    if let Some((soft, hard)) = limits {
        if soft > hard {
            return Err(Errno::EINVAL.into());
        }
        let beyond = index == NOFILE && hard > u64::from(MAX_DESCRIPTORS);
        let raised = hard > before.1 && !call.thread().ids.has(SYS_RESOURCE);
        if beyond || raised {
            return Err(Errno::EPERM.into());
        }
        call.ask_home(CALL_LIMIT, [index as u64, soft, hard, 0, 0, 0])?;
        call.body().limits[index] = (soft, hard);
        call.body().watch_cpu();
        // The memory is told at once: a stack grows without a call.
        let _ = call.space();
    }
    if old != 0 {
        let bytes = [before.0.to_le_bytes(), before.1.to_le_bytes()].concat();
        call.write(old, &bytes)?;
    }
    Ok(0)
}

/// prlimit64(2) for another process, whose home keeps its limits and tells it.
fn of_other(call: &mut LocalCall<'_>, limits: Option<(u64, u64)>) -> Result<u64, Stop> {
    let [pid, which, _, old, ..] = call.args;
    let (soft, hard) = limits.unwrap_or_default();
    let answer = call.home(CALL_LIMIT_OF, |call| {
        if old != 0 {
            call.make_writable(old, 16)?;
        }
        let which = u64::from(which as u32);
        let args = [pid, which, u64::from(limits.is_some()), soft, hard, 0];
        let mut request = Request::plain(CALL_LIMIT_OF, args);
        request.rooms[5] = 16;
        Ok(request)
    })?;
    result_of(answer.value)?;
    if old != 0 {
        call.write(old, answer.buffers.get(5).unwrap_or(&[]))?;
    }
    Ok(0)
}
