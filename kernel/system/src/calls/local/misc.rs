//! Calls that answer a constant, or check their arguments and have nothing to do.
//!
//! Law: what a node has only one of (processors, schedulers, personalities) is said to be so, and what
//! Linux would refuse is refused with the same error.

use crate::dispatch::LocalCall;
use crate::wait::Stop;
use abi::Errno;

fn put_ids(call: &mut LocalCall<'_>, ids: [u32; 3]) -> Result<u64, Stop> {
    for at in 0..3 {
        call.make_writable(call.args[at], 4)?;
    }
    for (at, id) in ids.into_iter().enumerate() {
        call.write(call.args[at], &id.to_le_bytes())?;
    }
    Ok(0)
}

/// getresuid(2).
pub fn getresuid(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let ids = call.thread().ids;
    put_ids(call, [ids.uid, ids.euid, ids.suid])
}

/// getresgid(2).
pub fn getresgid(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let ids = call.thread().ids;
    put_ids(call, [ids.gid, ids.egid, ids.sgid])
}

/// settimeofday(2): as clock_settime(2), checked and refused.
pub fn settimeofday(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    const US_PER_S: u64 = 1_000_000;
    const ZONE_SIZE: usize = 8;
    let [time, zone, ..] = call.args;
    let mut valid = true;
    if time != 0 {
        let (seconds, us) = (call.read_u64(time)?, call.read_u64(time.wrapping_add(8))?);
        valid = us < US_PER_S && (seconds as i64) >= 0;
    }
    if zone != 0 {
        call.read(zone, ZONE_SIZE)?;
    }
    if !valid {
        return Err(Errno::EINVAL.into());
    }
    Err(Errno::EPERM.into())
}

/// restart_syscall(2): calls are begun again without it, so there is never one to be gone on with.
pub fn restart_syscall(_: &mut LocalCall<'_>) -> Result<u64, Stop> {
    Err(Errno::EINTR.into())
}

/// getcpu(2): the processor of the node; the node is one for memory.
pub fn getcpu(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let [cpu, node, ..] = call.args;
    let here = call.thread().processor as u32;
    for (address, value) in [(cpu, here), (node, 0)] {
        if address != 0 {
            call.write(address, &value.to_le_bytes())?;
        }
    }
    Ok(0)
}

/// membarrier(2): the others pass through the kernel, whatever kind of barrier it is.
pub fn membarrier(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    const QUERY: u32 = 0;
    const GLOBAL: u32 = 1;
    const GLOBAL_EXPEDITED: u32 = 2;
    const REGISTER_GLOBAL_EXPEDITED: u32 = 4;
    const PRIVATE_EXPEDITED: u32 = 8;
    const REGISTER_PRIVATE_EXPEDITED: u32 = 0x10;
    const PRIVATE_EXPEDITED_SYNC_CORE: u32 = 0x20;
    const REGISTER_PRIVATE_EXPEDITED_SYNC_CORE: u32 = 0x40;
    const GET_REGISTRATIONS: u32 = 0x200;
    let (command, flags) = (call.args[0] as u32, call.args[1] as u32);
    if flags != 0 {
        return Err(Errno::EINVAL.into());
    }
    match command {
        QUERY => return Ok(0x27f),
        GET_REGISTRATIONS => return Ok(u64::from(call.body().barriers)),
        GLOBAL | GLOBAL_EXPEDITED => machine::barrier(),
        REGISTER_GLOBAL_EXPEDITED
        | REGISTER_PRIVATE_EXPEDITED
        | REGISTER_PRIVATE_EXPEDITED_SYNC_CORE => call.body().barriers |= command as u8,
        PRIVATE_EXPEDITED | PRIVATE_EXPEDITED_SYNC_CORE => {
            // The registration of a kind is the bit above it.
            if u32::from(call.body().barriers) & command << 1 == 0 {
                return Err(Errno::EPERM.into());
            }
            machine::barrier();
        }
        _ => return Err(Errno::EINVAL.into()),
    }
    Ok(0)
}

// ---- scheduling: the range of priorities ---------------------------------------------------------------

const SCHED_FIFO: u64 = 1;
const SCHED_RR: u64 = 2;
const SCHED_BATCH: u64 = 3;
const SCHED_IDLE: u64 = 5;
const SCHED_DEADLINE: u64 = 6;

/// The range of `sched_priority` for a policy.
fn priorities(policy: u64) -> Result<(u64, u64), Stop> {
    match u64::from(policy as u32) {
        SCHED_FIFO | SCHED_RR => Ok((1, 99)),
        0 | SCHED_BATCH | SCHED_IDLE | SCHED_DEADLINE => Ok((0, 0)),
        _ => Err(Errno::EINVAL.into()),
    }
}

/// sched_get_priority_max(2).
pub fn sched_get_priority_max(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    Ok(priorities(call.args[0])?.1)
}

/// sched_get_priority_min(2).
pub fn sched_get_priority_min(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    Ok(priorities(call.args[0])?.0)
}
