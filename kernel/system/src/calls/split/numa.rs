//! Pages and the memory nodes they are on: migrate_pages(2), move_pages(2).
//!
//! Law: a machine has one memory node, so there is nowhere to move a page to; what is left is who may ask, what is wrong
//! with the question, and which pages there are. Another process is brought home for that, as for process_vm_readv(2).

use crate::calls::local::{may_move_all, memory_nodes};
use crate::dispatch::{CALL_MEET, LocalCall};
use crate::memory::MPOL_MF_MOVE_ALL;
use crate::wait::Stop;
use abi::Errno;

const MPOL_MF_MOVE: u64 = 2;
/// Pages that are looked at before others have their turn.
const PAGES_AT_ONCE: u64 = 4096;
/// How long a process waits for the pages of another that has just moved, before it looks again.
const PATIENCE_NS: u64 = 1_000_000;

/// migrate_pages(2): none is anywhere else.
pub fn migrate_pages(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let [pid, max, from, to, ..] = call.args;
    memory_nodes(call, from, max)?;
    let to = memory_nodes(call, to, max)?;
    if pid as u32 != 0 {
        call.ask_home(CALL_MEET, [u64::from(pid as u32), 1, 0, 0, 0, 0])?;
    }
    if to.any && (!to.has_zero() || to.first != 1) {
        // Nodes that there are not: for that, too, one would need the right.
        may_move_all(call)?;
    }
    if !to.has_zero() {
        return Err(Errno::EINVAL.into());
    }
    Ok(0)
}

/// move_pages(2).
pub fn move_pages(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let [pid, count, pages, nodes, statuses, flags] = call.args;
    let flags = u64::from(flags as u32);
    if flags & !(MPOL_MF_MOVE | MPOL_MF_MOVE_ALL) != 0 {
        return Err(Errno::EINVAL.into());
    }
    if flags & MPOL_MF_MOVE_ALL != 0 {
        may_move_all(call)?;
    }
    let owner = owner(call, pid as u32)?;
    for _ in 0..PAGES_AT_ONCE {
        let index = call.thread().restart.progress;
        if index >= count {
            return Ok(0);
        }
        let at = |array: u64, size: u64| array.wrapping_add(index.wrapping_mul(size));
        let page = call.read_u64(at(pages, 8))?;
        if nodes != 0 {
            let mut node = [0; 4];
            call.read_into(at(nodes, 4), &mut node)?;
            if node != [0; 4] {
                return Err(Errno::ENODEV.into());
            }
        }
        let space = call.system.space_of(owner).ok_or(Errno::ESRCH)?;
        let status = match space.memory_node(page) {
            Ok(node) => node as i32,
            Err(errno) => -errno.0,
        };
        call.write(at(statuses, 4), &status.to_le_bytes())?;
        call.thread().restart.progress = index + 1;
    }
    call.system.wakes.push(call.tid);
    Err(Stop::Wait)
}

/// Whose pages are meant: here, with all of its memory if it is another's.
fn owner(call: &mut LocalCall<'_>, pid: u32) -> Result<u32, Stop> {
    if pid == 0 || pid == call.pid {
        return Ok(call.pid);
    }
    let other = call.ask_home(CALL_MEET, [pid.into(), 0, 0, 0, 0, 0])? as u32;
    let arriving = call.system.space_of(other);
    if arriving.is_none_or(|space| space.next_absent(0).is_some()) {
        let then = call.clock().saturating_add(PATIENCE_NS);
        return Err(call.wait_until(then));
    }
    Ok(other)
}
