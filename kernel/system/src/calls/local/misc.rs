//! Calls that answer a constant, or check their arguments and have nothing to do.
//!
//! Law: what a node has only one of (processors, schedulers, personalities) is said to be so, and what
//! Linux would refuse is refused with the same error.

use crate::dispatch::LocalCall;
use crate::wait::Stop;
use abi::Errno;
use alloc::vec::Vec;

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
    let ids = call.body().ids;
    put_ids(call, [ids.uid, ids.euid, ids.suid])
}

/// getresgid(2).
pub fn getresgid(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let ids = call.body().ids;
    put_ids(call, [ids.gid, ids.egid, ids.sgid])
}

/// setfsuid(2): files are accessed as the effective user, which is the answer.
pub fn setfsuid(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    Ok(u64::from(call.body().ids.euid))
}

/// setfsgid(2): see [`setfsuid`].
pub fn setfsgid(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    Ok(u64::from(call.body().ids.egid))
}

/// personality(2): Linux, and no other.
pub fn personality(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    match call.args[0] as u32 {
        0 | u32::MAX => Ok(0),
        _ => Err(Errno::EINVAL.into()),
    }
}

const CAPABILITY_VERSION_3: u32 = 0x2008_0522;

/// capget(2): user 0 has all capabilities, others none.
pub fn capget(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let [header, data, ..] = call.args;
    let mut word = [0; 4];
    call.read_into(header, &mut word)?;
    if u32::from_le_bytes(word) != CAPABILITY_VERSION_3 {
        call.write(header, &CAPABILITY_VERSION_3.to_le_bytes())?;
        let asks = data == 0;
        return if asks {
            Ok(0)
        } else {
            Err(Errno::EINVAL.into())
        };
    }
    if data == 0 {
        return Ok(0);
    }
    // CAP_LAST_CAP is 40; effective, permitted and inheritable, low words first.
    let (low, high) = match call.body().ids.euid {
        0 => (u32::MAX, 0x1ff),
        _ => (0, 0),
    };
    let words = [low, low, 0, high, high, 0_u32];
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    call.write(data, &bytes)?;
    Ok(0)
}

/// capset(2): capabilities come and go with user 0 only.
pub fn capset(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let privileged = call.body().ids.euid == 0;
    if privileged {
        Ok(0)
    } else {
        Err(Errno::EPERM.into())
    }
}

/// sethostname(2): the name belongs to the cluster.
pub fn sethostname(_: &mut LocalCall<'_>) -> Result<u64, Stop> {
    Err(Errno::EPERM.into())
}

/// setdomainname(2): see [`sethostname`].
pub fn setdomainname(_: &mut LocalCall<'_>) -> Result<u64, Stop> {
    Err(Errno::EPERM.into())
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
    let (command, flags) = (call.args[0] as u32, call.args[1] as u32);
    if flags != 0 {
        return Err(Errno::EINVAL.into());
    }
    match command {
        QUERY => return Ok(0x7f),
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

// ---- scheduling: everybody in turn ---------------------------------------------------------------

const SCHED_FIFO: u64 = 1;
const SCHED_RR: u64 = 2;
const SCHED_BATCH: u64 = 3;
const SCHED_IDLE: u64 = 5;

/// Whether an argument means the caller, the only one whose scheduling is known here.
fn own(call: &LocalCall<'_>) -> Result<(), Stop> {
    match call.args[0] as i32 {
        0 => Ok(()),
        pid if pid < 0 => Err(Errno::EINVAL.into()),
        pid if pid as u32 == call.pid => Ok(()),
        _ => Err(Errno::ESRCH.into()),
    }
}

/// The range of `sched_priority` for a policy.
fn priorities(policy: u64) -> Result<(u64, u64), Stop> {
    match policy {
        SCHED_FIFO | SCHED_RR => Ok((1, 99)),
        0 | SCHED_BATCH | SCHED_IDLE => Ok((0, 0)),
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

/// sched_getscheduler(2): `SCHED_OTHER`.
pub fn sched_getscheduler(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    own(call)?;
    Ok(0)
}

/// sched_setscheduler(2): `SCHED_OTHER` is what there is.
pub fn sched_setscheduler(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    own(call)?;
    let [_, policy, parameter, ..] = call.args;
    let mut word = [0; 4];
    call.read_into(parameter, &mut word)?;
    let (low, high) = priorities(policy)?;
    if !(low..=high).contains(&u64::from(u32::from_le_bytes(word))) {
        return Err(Errno::EINVAL.into());
    }
    if high > 0 {
        return Err(Errno::EPERM.into());
    }
    Ok(0)
}

/// sched_getparam(2).
pub fn sched_getparam(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    own(call)?;
    call.write(call.args[1], &[0; 4])?;
    Ok(0)
}

/// sched_setparam(2).
pub fn sched_setparam(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    call.args = [call.args[0], 0, call.args[1], 0, 0, 0];
    sched_setscheduler(call)
}

/// sched_rr_get_interval(2).
pub fn sched_rr_get_interval(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    own(call)?;
    let mut bytes = [0; 16];
    bytes[8..].copy_from_slice(&crate::system::SLICE_NS.to_le_bytes());
    call.write(call.args[1], &bytes)?;
    Ok(0)
}

/// sched_setaffinity(2): a processor of the node must be in the set. Which one a thread runs on is
/// not kept to.
pub fn sched_setaffinity(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    own(call)?;
    let [_, length, address, ..] = call.args;
    let mut set = call.read(address, length.min(128) as usize)?;
    set.resize(8, 0);
    let set = set
        .iter()
        .rev()
        .fold(0_u64, |set, byte| set << 8 | u64::from(*byte));
    if set & call.system.processor_set() == 0 {
        return Err(Errno::EINVAL.into());
    }
    Ok(0)
}
