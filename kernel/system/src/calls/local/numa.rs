//! Policies of memory: get_mempolicy(2), set_mempolicy(2), mbind(2), set_mempolicy_home_node(2).
//!
//! Law: what a policy is and whom it suits says `memory::policy`; here it is read and told. It belongs to the
//! thread or to the area, so it moves with them, and home never hears of it.

use crate::credentials::SYS_NICE;
use crate::dispatch::LocalCall;
use crate::memory::{MPOL_MF_MOVE_ALL, MemoryNodes, MemoryPolicy};
use crate::wait::Stop;
use abi::Errno;
use machine::{Access, PAGE_SIZE};

const WORD_BITS: u64 = 64;
/// The largest set of nodes that is looked at, in bits.
const NODES_MAX: u64 = PAGE_SIZE as u64 * 8;
/// How many nodes a kernel for many machines knows (`MAX_NUMNODES`): behind them a set has to be empty.
const NODES_KNOWN: u64 = 1024;
/// How many there are (`nr_node_ids`).
const NODES: u64 = 1;

/// get_mempolicy(2): the node of a page, or that of the next one.
const MPOL_F_NODE: u64 = 1;
/// The policy of an address.
const MPOL_F_ADDR: u64 = 2;
/// All nodes that may be used.
const MPOL_F_MEMS_ALLOWED: u64 = 4;

/// A set of nodes in the caller's memory, of `max - 1` bits.
///
/// # Errors
/// EINVAL: too many bits, or a node that no kernel knows; EFAULT.
pub(in crate::calls) fn memory_nodes(
    call: &mut LocalCall<'_>,
    at: u64,
    max: u64,
) -> Result<MemoryNodes, Stop> {
    let bits = max.wrapping_sub(1);
    if at == 0 || bits == 0 {
        return Ok(MemoryNodes::default());
    }
    if bits > NODES_MAX {
        return Err(Errno::EINVAL.into());
    }
    let bytes = call.read(at, (bits.div_ceil(WORD_BITS) * 8) as usize)?;
    let (words, _) = bytes.as_chunks::<8>();
    let mut nodes = MemoryNodes::default();
    for (index, word) in (0..).zip(words) {
        let before = index * WORD_BITS;
        let mut word = u64::from_le_bytes(*word);
        if bits - before < WORD_BITS {
            word &= (1 << (bits - before)) - 1;
        }
        if before >= NODES_KNOWN && word != 0 {
            return Err(Errno::EINVAL.into());
        }
        nodes.any |= word != 0;
        if index == 0 {
            nodes.first = word;
        }
    }
    Ok(nodes)
}

/// Writes a set of nodes into `max` bits, behind which there is nothing.
fn tell_nodes(call: &mut LocalCall<'_>, at: u64, max: u64, nodes: u64) -> Result<(), Stop> {
    let bytes = max.wrapping_sub(1).div_ceil(WORD_BITS).saturating_mul(8);
    if bytes > PAGE_SIZE as u64 {
        return Err(Errno::EINVAL.into());
    }
    let mut set = alloc::vec![0; bytes as usize];
    if let Some((word, _)) = set.split_first_chunk_mut::<8>() {
        *word = nodes.to_le_bytes();
    }
    call.write(at, &set)
}

/// get_mempolicy(2).
pub fn get_mempolicy(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let [mode, nodes, max, address, flags, _] = call.args;
    if nodes != 0 && max < NODES {
        return Err(Errno::EINVAL.into());
    }
    let (told, set) = told(call, address, flags)?;
    if mode != 0 {
        call.write(mode, &told.to_le_bytes())?;
    }
    if nodes != 0 {
        tell_nodes(call, nodes, max, set)?;
    }
    Ok(0)
}

/// What is asked for: a mode, or a node, and a set of nodes.
fn told(call: &mut LocalCall<'_>, address: u64, flags: u64) -> Result<(u32, u64), Stop> {
    if flags & !(MPOL_F_NODE | MPOL_F_ADDR | MPOL_F_MEMS_ALLOWED) != 0 {
        return Err(Errno::EINVAL.into());
    }
    if flags & MPOL_F_MEMS_ALLOWED != 0 {
        if flags != MPOL_F_MEMS_ALLOWED {
            return Err(Errno::EINVAL.into());
        }
        return Ok((0, 1));
    }
    let policy = if flags & MPOL_F_ADDR != 0 {
        let area = call.space()?.area_at(address);
        area.map(|area| area.policy).ok_or(Errno::EFAULT)?
    } else if address != 0 {
        return Err(Errno::EINVAL.into());
    } else {
        call.thread().memory_policy
    };
    let (word, nodes) = policy.told();
    match flags & (MPOL_F_NODE | MPOL_F_ADDR) {
        MPOL_F_NODE => Ok((policy.interleaves().ok_or(Errno::EINVAL)?, nodes)),
        0 | MPOL_F_ADDR => Ok((word, nodes)),
        // The page itself is asked, and is made for it.
        _ if call.fit_for(address, 1, Access::READ)? == 0 => Err(Errno::EFAULT.into()),
        _ => Ok((0, nodes)),
    }
}

/// set_mempolicy(2).
pub fn set_mempolicy(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let [mode, nodes, max, ..] = call.args;
    let mode = MemoryPolicy::mode_of(mode)?;
    let nodes = memory_nodes(call, nodes, max)?;
    call.thread().memory_policy = MemoryPolicy::new(mode, nodes)?;
    Ok(0)
}

/// mbind(2).
pub fn mbind(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let [start, length, mode, nodes, max, flags] = call.args;
    let mode = MemoryPolicy::mode_of(mode)?;
    let nodes = memory_nodes(call, nodes, max)?;
    let flags = u64::from(flags as u32);
    if flags & !(2 * MPOL_MF_MOVE_ALL - 1) == 0 && flags & MPOL_MF_MOVE_ALL != 0 {
        may_move_all(call)?;
    }
    call.space()?.bind((start, length), mode, nodes, flags)?;
    Ok(0)
}

/// Refuses who may not move pages that others have, too.
pub(in crate::calls) fn may_move_all(call: &mut LocalCall<'_>) -> Result<(), Stop> {
    if !call.thread().ids.has(SYS_NICE) {
        return Err(Errno::EPERM.into());
    }
    Ok(())
}

/// set_mempolicy_home_node(2).
pub fn set_mempolicy_home_node(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let [start, length, node, flags, ..] = call.args;
    if !start.is_multiple_of(PAGE_SIZE as u64) || flags != 0 || node >= NODES {
        return Err(Errno::EINVAL.into());
    }
    call.space()?.set_home_node(start, length)?;
    Ok(0)
}
