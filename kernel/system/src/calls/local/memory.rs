//! Calls that concern the memory of the body alone.
//!
//! Law: what has to be fetched from elsewhere is waited for before anything changes, or after a
//! change that can be made again without harm.

use crate::credentials::IPC_LOCK;
use crate::dispatch::LocalCall;
use crate::memory::{
    MADV_POPULATE_READ, MADV_POPULATE_WRITE, MADV_REMOVE, MapStop, RemapFlags, Space, SpaceLimits,
    Trouble,
};
use crate::wait::Stop;
use abi::Errno;
use alloc::vec::Vec;
use machine::{Access, PAGE_SIZE};

const PAGE: u64 = PAGE_SIZE as u64;
const PROT_GROWSDOWN: u64 = 0x0100_0000;
const PROT_GROWSUP: u64 = 0x0200_0000;

/// Rights of mmap(2), which knows no wrong ones.
pub(in crate::calls) fn access_of(protection: u64) -> Access {
    let mut access = Access::empty();
    access.set(Access::READ, protection & 5 != 0);
    access.set(Access::WRITE, protection & 2 != 0);
    access.set(Access::EXECUTE, protection & 4 != 0);
    if access.contains(Access::WRITE) {
        access |= Access::READ;
    }
    access
}

/// Refuses private memory that this node could never have, as Linux' overcommit heuristic does.
pub(in crate::calls) fn may_commit(bytes: u64) -> Result<(), Stop> {
    if bytes / PAGE > machine::frame_counts().total {
        return Err(Errno::ENOMEM.into());
    }
    Ok(())
}

impl LocalCall<'_> {
    /// How far the caller's memory may grow.
    pub(crate) fn limits(&mut self) -> SpaceLimits {
        const RLIMIT_DATA: usize = 2;
        const RLIMIT_STACK: usize = 3;
        const RLIMIT_MEMLOCK: usize = 8;
        const RLIMIT_AS: usize = 9;
        let unlimited = self.thread().ids.has(IPC_LOCK);
        let body = self.body();
        let soft = |index: usize| body.limits[index].0;
        SpaceLimits {
            address_space: soft(RLIMIT_AS),
            data: soft(RLIMIT_DATA),
            stack: soft(RLIMIT_STACK),
            locked: if unlimited {
                u64::MAX
            } else {
                soft(RLIMIT_MEMLOCK)
            },
        }
    }

    /// The caller's memory, which knows its limits.
    ///
    /// # Errors
    /// EFAULT never happens in practice: a process whose memory is lent does not run.
    pub(crate) fn space(&mut self) -> Result<&mut Space, Stop> {
        let limits = self.limits();
        let space = self.system.space_mut(self.pid);
        let space = space.ok_or(Stop::Errno(Errno::EFAULT))?;
        space.set_limits(limits);
        Ok(space)
    }

    /// Fills a range; see [`Space::populate`].
    ///
    /// # Errors
    /// As for copies: EFAULT, ENOMEM, or `Wait`.
    pub(in crate::calls) fn populate(
        &mut self,
        address: u64,
        length: u64,
        access: Option<Access>,
    ) -> Result<(), Stop> {
        let end = address.saturating_add(length);
        let done = self.system.with_space(self.pid, |space, pages| {
            space.populate(address, end, access, pages)
        });
        done.map_err(|trouble| self.system.trouble(self.tid, trouble))
    }
}

/// mprotect(2).
pub fn mprotect(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let [address, length, protection, ..] = call.args;
    let grows = protection & (PROT_GROWSDOWN | PROT_GROWSUP);
    if grows == PROT_GROWSDOWN | PROT_GROWSUP || protection & !(grows | 0xf) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let access = access_of(protection);
    let space = call.space()?;
    match grows {
        0 => space.protect(address, length, access)?,
        PROT_GROWSDOWN => space.protect_down(address, length, access)?,
        _ => return Err(Errno::EINVAL.into()),
    }
    Ok(0)
}

/// pkey_mprotect(2): without keys in the processor, mprotect(2) if none is meant.
pub fn pkey_mprotect(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let [address, length, protection, key, ..] = call.args;
    let grows = protection & (PROT_GROWSDOWN | PROT_GROWSUP);
    let contradicts = grows == PROT_GROWSDOWN | PROT_GROWSUP;
    if key as i32 == -1 || contradicts || !address.is_multiple_of(PAGE) || length == 0 {
        return mprotect(call);
    }
    let rounded = length.checked_next_multiple_of(PAGE);
    if rounded.is_none_or(|length| address.checked_add(length).is_none()) {
        return Err(Errno::ENOMEM.into());
    }
    Err(Errno::EINVAL.into())
}

/// pkey_alloc(2): there are none.
pub fn pkey_alloc(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    const PKEY_DISABLE_ACCESS: u64 = 1;
    const PKEY_DISABLE_WRITE: u64 = 2;
    let [flags, rights, ..] = call.args;
    if flags != 0 || rights & !(PKEY_DISABLE_ACCESS | PKEY_DISABLE_WRITE) != 0 {
        return Err(Errno::EINVAL.into());
    }
    Err(Errno::ENOSPC.into())
}

/// pkey_free(2): nobody has got one.
pub fn pkey_free(_: &mut LocalCall<'_>) -> Result<u64, Stop> {
    Err(Errno::EINVAL.into())
}

/// munmap(2).
pub fn munmap(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let [address, length, ..] = call.args;
    call.surrender(address, address.saturating_add(length))?;
    call.space()?.unmap(address, length)?;
    Ok(0)
}

/// brk(2) as the kernel does it: the break afterwards.
pub fn brk(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let address = call.args[0];
    let old = call.space()?.layout().break_end;
    if may_commit(address.saturating_sub(old)).is_err() {
        return Ok(old);
    }
    let new = call.space()?.set_break(address);
    if new > old && call.space()?.locks_future().1 {
        let _ = call.populate(old, new - old, None);
    }
    Ok(new)
}

/// mremap(2).
pub fn mremap(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let [old, old_length, new_length, flags, place, _] = call.args;
    if new_length.checked_next_multiple_of(PAGE).is_none() {
        return Err(Errno::EINVAL.into());
    }
    may_commit(new_length.saturating_sub(old_length))?;
    // What it may lose: where it was, as far as it gets shorter, and where it will be.
    call.surrender(
        old.saturating_add(new_length.min(old_length)),
        old.saturating_add(old_length),
    )?;
    if RemapFlags::from_bits_retain(flags).contains(RemapFlags::FIXED) {
        call.surrender(place, place.saturating_add(new_length))?;
    }
    match call
        .space()?
        .remap(old, old_length, new_length, flags, place)
    {
        Ok(address) => Ok(address),
        Err(MapStop::Errno(errno)) => Err(errno.into()),
        Err(MapStop::Absent { page }) => {
            Err(call.system.trouble(call.tid, Trouble::Absent { page }))
        }
    }
}

/// remap_file_pages(2): as Linux does it since 4.0, by mappings of their own.
pub fn remap_file_pages(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    const MAP_NONBLOCK: u64 = 0x1_0000;
    let [address, length, protection, first, flags, _] = call.args;
    let (address, length) = (address & !(PAGE - 1), length & !(PAGE - 1));
    if protection != 0 {
        return Err(Errno::EINVAL.into());
    }
    let end = address.saturating_add(length);
    // What shows the memory of home elsewhere is changed where home is.
    call.be_at_home_for(address, end)?;
    match call.space()?.show_pages(address, length, first) {
        Ok(()) => {}
        Err(MapStop::Errno(error)) => return Err(error.into()),
        Err(MapStop::Absent { page }) => {
            return Err(call.system.trouble(call.tid, Trouble::Absent { page }));
        }
    }
    if flags & MAP_NONBLOCK == 0 {
        let _ = call.populate(address, length, None);
    }
    Ok(0)
}

/// madvise(2).
pub fn madvise(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let [address, length, advice, ..] = call.args;
    let advice = u64::from(advice as u32);
    if advice == MADV_REMOVE {
        call.have_shared(address, address.saturating_add(length))?;
    }
    call.space()?.advise(address, length, advice)?;
    let access = match advice {
        MADV_POPULATE_READ => Access::READ,
        MADV_POPULATE_WRITE => Access::WRITE,
        _ => return Ok(0),
    };
    match call.populate(address, length, Some(access)) {
        // What is there does not have the rights.
        Err(Stop::Errno(Errno::EFAULT)) if !call.space()?.allows(address, length, access) => {
            Err(Errno::EINVAL.into())
        }
        other => other.map(|()| 0),
    }
}

/// A range in whole pages.
///
/// # Errors
/// EINVAL if it does not begin at a page; ENOMEM if it is not all mapped.
fn mapped(call: &mut LocalCall<'_>, address: u64, length: u64) -> Result<u64, Stop> {
    if !address.is_multiple_of(PAGE) {
        return Err(Errno::EINVAL.into());
    }
    let length = length
        .checked_next_multiple_of(PAGE)
        .filter(|length| address.checked_add(*length).is_some())
        .ok_or(Errno::ENOMEM)?;
    if length > 0 && !call.space()?.is_mapped(address, length) {
        return Err(Errno::ENOMEM.into());
    }
    Ok(length)
}

/// msync(2): pages of files are the file's own, so there is nothing to be written.
pub fn msync(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    const MS_ASYNC: u64 = 1;
    const MS_INVALIDATE: u64 = 2;
    const MS_SYNC: u64 = 4;
    let [address, length, flags, ..] = call.args;
    let flags = u64::from(flags as u32);
    let both = MS_ASYNC | MS_SYNC;
    if flags & !(both | MS_INVALIDATE) != 0 || flags & both == both {
        return Err(Errno::EINVAL.into());
    }
    let length = mapped(call, address, length)?;
    if flags & MS_INVALIDATE != 0 && call.space()?.is_locked(address, length) {
        return Err(Errno::EBUSY.into());
    }
    Ok(0)
}

/// mincore(2): of what is mapped, which pages are here.
pub fn mincore(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let [address, length, into, ..] = call.args;
    let length = mapped(call, address, length)?;
    let pages = length / PAGE;
    if pages > crate::dispatch::CHUNK {
        return Err(Errno::ENOMEM.into());
    }
    let space = call.space()?;
    let here: Vec<u8> = (0..pages)
        .map(|page| u8::from(space.is_resident(address + page * PAGE)))
        .collect();
    call.write(into, &here)?;
    Ok(0)
}

/// Refuses a caller that may lock nothing at all.
pub(in crate::calls) fn may_lock(call: &mut LocalCall<'_>) -> Result<(), Stop> {
    if call.limits().locked == 0 {
        return Err(Errno::EPERM.into());
    }
    Ok(())
}

/// mlock(2): nothing is ever swapped out, so locking is filling, and counting.
pub fn mlock(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let [address, length, ..] = call.args;
    may_lock(call)?;
    call.space()?.lock(address, length, true)?;
    let first = address - address % PAGE;
    let bytes = address.saturating_add(length) - first;
    if bytes > 0 && !call.space()?.allows(first, bytes, Access::empty()) {
        // It is locked all the same; that nothing can be there is told.
        return Err(Errno::ENOMEM.into());
    }
    match call.populate(address, length, None) {
        Err(Stop::Errno(_)) => Err(Errno::ENOMEM.into()),
        other => other.map(|()| 0),
    }
}

/// munlock(2).
pub fn munlock(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let [address, length, ..] = call.args;
    call.space()?.lock(address, length, false)?;
    Ok(0)
}

/// mlock2(2).
pub fn mlock2(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    const MLOCK_ONFAULT: u64 = 1;
    let [address, length, flags, ..] = call.args;
    match u64::from(flags as u32) {
        0 => mlock(call),
        MLOCK_ONFAULT => {
            may_lock(call)?;
            call.space()?.lock(address, length, true)?;
            Ok(0)
        }
        _ => Err(Errno::EINVAL.into()),
    }
}

/// mlockall(2).
pub fn mlockall(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    const MCL_CURRENT: u64 = 1;
    const MCL_ONFAULT: u64 = 4;
    let flags = u64::from(call.args[0] as u32);
    if flags == 0 || flags & !7 != 0 || flags == MCL_ONFAULT {
        return Err(Errno::EINVAL.into());
    }
    may_lock(call)?;
    call.space()?.lock_all(flags)?;
    if flags & MCL_CURRENT != 0 && flags & MCL_ONFAULT == 0 {
        // As in Linux, what cannot be filled is no failure of this call.
        if call.populate(0, machine::USER_END, None) == Err(Stop::Wait) {
            return Err(Stop::Wait);
        }
    }
    Ok(0)
}

/// munlockall(2).
pub fn munlockall(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    call.space()?.lock_all(0)?;
    Ok(0)
}
