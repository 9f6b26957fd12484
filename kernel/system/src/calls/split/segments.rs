//! Shared memory of System V: where it is mapped.
//!
//! Law: who attaches a segment is at home, where its pages are; home has brought it there. What has moved
//! away with a process that alone had it is memory of its own, and is detached without home.

use crate::dispatch::{CALL_SHM_ATTACH, CALL_SHM_CONTROL, LocalCall, result_of};
use crate::home::Request;
use crate::memory::{AreaFlags, Backing, MapHow};
use crate::wait::Stop;
use abi::Errno;
use alloc::sync::Arc;
use alloc::vec::Vec;
use machine::{Access, PAGE_SIZE};

const PAGE: u64 = PAGE_SIZE as u64;
const SHM_RDONLY: u64 = 0o10000;
const SHM_RND: u64 = 0o20000;
const SHM_REMAP: u64 = 0o40000;
const SHM_EXEC: u64 = 0o100_000;
const IPC_SET: u32 = 1;
/// Bytes of `struct shmid64_ds`.
const SEGMENT_STATUS: usize = 112;

/// shmat(2).
pub fn shmat(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let [id, mut address, flags, ..] = call.args;
    if (id as i32) < 0 {
        return Err(Errno::EINVAL.into());
    }
    let fixed = address != 0;
    if flags & SHM_RND != 0 {
        address &= !(PAGE - 1);
    }
    let misplaced = !address.is_multiple_of(PAGE) || (address == 0 && flags & SHM_REMAP != 0);
    if misplaced {
        return Err(Errno::EINVAL.into());
    }
    let size = call.ask_home(CALL_SHM_ATTACH, [id, flags, 0, 0, 0, 0])?;
    let mut access = Access::READ;
    access.set(Access::WRITE, flags & SHM_RDONLY == 0);
    access.set(Access::EXECUTE, flags & SHM_EXEC != 0);
    let pages = call.system.ipc.attachment(id as i32)?;
    let backing = Backing::SharedFile {
        pages,
        first_page: 0,
        home_file: u32::MAX,
        writable: flags & SHM_RDONLY == 0,
    };
    let how = match fixed && address != 0 {
        false => MapHow::Anywhere,
        true if flags & SHM_REMAP != 0 => MapHow::Fixed,
        true => MapHow::FixedNoReplace,
    };
    let space = call.space()?;
    let mapped = space.map_flagged(address, size, access, backing, (how, AreaFlags::SEGMENT));
    match mapped {
        Err(Errno::EEXIST) => Err(Errno::EINVAL.into()),
        other => Ok(other?),
    }
}

/// shmdt(2): all of the segment that was attached there.
pub fn shmdt(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let address = call.args[0];
    if !address.is_multiple_of(PAGE) {
        return Err(Errno::EINVAL.into());
    }
    let space = call.space()?;
    let mut parts = Vec::new();
    let mut known = None;
    let mut next = address;
    for area in space.areas().filter(|area| area.end > address) {
        if !area.flags.contains(AreaFlags::SEGMENT) {
            continue;
        }
        let pages = match &area.backing {
            Backing::SharedFile { pages, .. } => Arc::as_ptr(pages).addr(),
            _ => 0,
        };
        // What has been cut out of it may be missing; the rest lies where it was attached.
        let fits = match pages {
            0 => area.start == next,
            _ => area.start.wrapping_sub(area.file_offset()) == address,
        };
        if fits && known.is_none_or(|known| known == pages) {
            known = Some(pages);
            next = area.end;
            parts.push((area.start, area.length()));
        }
    }
    let Some(pages) = known else {
        return Err(Errno::EINVAL.into());
    };
    for (start, length) in parts {
        space.unmap(start, length)?;
    }
    let now_s = call.system.fs.time(call.system.now).seconds.max(0) as u64;
    let pid = call.pid;
    call.system.ipc.shmdt((pid, now_s), pages);
    Ok(0)
}

/// shmctl(2).
pub fn shmctl(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let [id, command, argument, ..] = call.args;
    if (id as i32) < 0 || (command as i32) < 0 {
        return Err(Errno::EINVAL.into());
    }
    let answer = call.home(CALL_SHM_CONTROL, |call| {
        let given = match command as u32 {
            IPC_SET => call.read(argument, SEGMENT_STATUS)?,
            _ => Vec::new(),
        };
        let mut request = Request::plain(CALL_SHM_CONTROL, [id, command, 0, 0, 0, 0]);
        request.inputs.set(2, given);
        Ok(request)
    })?;
    let value = result_of(answer.value)?;
    let bytes = answer.buffers.get(5).unwrap_or(&[]);
    if !bytes.is_empty() {
        call.write(argument, bytes)?;
    }
    Ok(value)
}
