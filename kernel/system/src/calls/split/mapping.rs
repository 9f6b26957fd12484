//! mmap(2): what is mapped is found at home, where it is mapped is decided here.
//!
//! Law: pages that others can see written are where the file is. So a process that wants to write to
//! a file through a shared mapping goes home first, and stays there as long as it has the mapping.

use crate::calls::home::{ExecFile, MAPS_DEVICE, MAPS_NOTHING_SHIFT, MAPS_WRITABLE};
use crate::calls::local::{access_of, may_commit, may_lock};
use crate::dispatch::{CALL_MAP_FILE, LocalCall, result_of};
use crate::home::Request;
use crate::memory::{AreaFlags, Backing, FileBacking, MapHow};
use crate::wait::Stop;
use abi::Errno;
use machine::Access;

const MAP_SHARED: u64 = 1;
const MAP_PRIVATE: u64 = 2;
const MAP_SHARED_VALIDATE: u64 = 3;
const MAP_FIXED: u64 = 0x10;
const MAP_ANONYMOUS: u64 = 0x20;
const MAP_32BIT: u64 = 0x40;
const MAP_GROWSDOWN: u64 = 0x100;
const MAP_LOCKED: u64 = 0x2000;
const MAP_NORESERVE: u64 = 0x4000;
const MAP_POPULATE: u64 = 0x8000;
const MAP_NONBLOCK: u64 = 0x1_0000;
const MAP_HUGETLB: u64 = 0x4_0000;
const MAP_FIXED_NOREPLACE: u64 = 0x10_0000;
/// What `MAP_SHARED_VALIDATE` lets through (`LEGACY_MAP_MASK`): the above, what is ignored, and the
/// sizes of huge pages.
const MAP_KNOWN: u64 = 0x7_ffff | 0x3f << 26;

/// mmap(2).
pub fn mmap(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let [hint, length, protection, flags, fd, offset] = call.args;
    let access = access_of(protection);
    if offset % machine::PAGE_SIZE as u64 != 0 {
        return Err(Errno::EINVAL.into());
    }
    let anonymous = flags & MAP_ANONYMOUS != 0;
    let shared = match flags & 0xf {
        MAP_PRIVATE => false,
        MAP_SHARED => true,
        MAP_SHARED_VALIDATE if anonymous => return Err(Errno::EINVAL.into()),
        MAP_SHARED_VALIDATE if flags & !MAP_KNOWN == 0 => true,
        MAP_SHARED_VALIDATE => return Err(Errno::EOPNOTSUPP.into()),
        _ => return Err(Errno::EINVAL.into()),
    };
    if flags & MAP_LOCKED != 0 {
        may_lock(call)?;
    }
    let how = if flags & MAP_FIXED_NOREPLACE != 0 {
        MapHow::FixedNoReplace
    } else if flags & MAP_FIXED != 0 {
        MapHow::Fixed
    } else if flags & MAP_32BIT != 0 {
        MapHow::Low
    } else {
        MapHow::Anywhere
    };
    let (backing, mut area) = if anonymous {
        (Backing::Anonymous, AreaFlags::empty())
    } else {
        match file_backing(call, fd, offset, length, (shared, access))? {
            Ok(backing) => backing,
            Err(refusal) => return Err(refuse(call, refusal, (hint, length, offset), how)?),
        }
    };
    if length == 0 {
        return Err(Errno::EINVAL.into());
    }
    fits_a_process(length)?;
    // There are no huge pages, as on a Linux that has none reserved.
    if flags & MAP_HUGETLB != 0 && anonymous {
        return Err(Errno::ENOMEM.into());
    }
    let zeros = matches!(backing, Backing::Anonymous);
    if flags & MAP_NORESERVE == 0 && access.contains(Access::WRITE) && (zeros || !shared) {
        may_commit(length)?;
    }
    area.set(AreaFlags::SHARED, shared && !backing.is_shared());
    area.set(
        AreaFlags::GROWS_DOWN,
        flags & MAP_GROWSDOWN != 0 && zeros && !shared,
    );
    area.set(AreaFlags::LOCKED, flags & MAP_LOCKED != 0);
    if how == MapHow::Fixed {
        call.surrender(hint, hint.saturating_add(length))?;
    }
    let space = call.space()?;
    let address = space.map_flagged(hint, length, access, backing, (how, area))?;
    let populate = flags & (MAP_POPULATE | MAP_NONBLOCK) == MAP_POPULATE
        || flags & MAP_LOCKED != 0
        || space.locks_future().1;
    if populate {
        // Only a wish: what cannot be had at once comes when it is touched.
        let pid = call.pid;
        let _ = call.system.with_space(pid, |space, pages| {
            space.populate(address, address.saturating_add(length), None, pages)
        });
    }
    Ok(address)
}

/// Why a file is not mapped.
enum Refusal {
    /// It is seen at once.
    Early(Errno),
    /// The file says so itself, when what was in its place is gone.
    Late(Errno),
}

/// Whether a process can have room for so many bytes.
fn fits_a_process(length: u64) -> Result<(), Errno> {
    if length > machine::USER_END {
        return Err(Errno::ENOMEM);
    }
    Ok(())
}

/// Whether a file can have bytes that far (`file_mmap_ok`). That no process has room for as many comes first.
fn ends_in_a_file(offset: u64, length: u64) -> Result<(), Errno> {
    fits_a_process(length)?;
    let end = offset.checked_add(length).ok_or(Errno::EOVERFLOW)?;
    i64::try_from(end).map(|_| ()).map_err(|_| Errno::EOVERFLOW)
}

/// Refuses, behind what is wrong with the place.
fn refuse(
    call: &mut LocalCall<'_>,
    refusal: Refusal,
    (hint, length, offset): (u64, u64, u64),
    how: MapHow,
) -> Result<Stop, Stop> {
    if length == 0 {
        return Err(Errno::EINVAL.into());
    }
    let length = length
        .checked_next_multiple_of(machine::PAGE_SIZE as u64)
        .ok_or(Errno::ENOMEM)?;
    ends_in_a_file(offset, length)?;
    let space = call.space()?;
    let place = space.place(hint, length, how)?;
    match refusal {
        Refusal::Early(error) => Ok(error.into()),
        Refusal::Late(error) => {
            if how == MapHow::Fixed {
                space.unmap(place, length)?;
            }
            Ok(error.into())
        }
    }
}

/// What a descriptor shows in memory.
fn file_backing(
    call: &mut LocalCall<'_>,
    fd: u64,
    offset: u64,
    length: u64,
    (shared, access): (bool, Access),
) -> Result<Result<(Backing, AreaFlags), Refusal>, Stop> {
    let writes = shared && access.contains(Access::WRITE);
    let executes = access.contains(Access::EXECUTE);
    let args = [shared, writes, executes].map(u64::from);
    let args = [fd, args[0], args[1], args[2], 0, 0];
    let answer = call.home(CALL_MAP_FILE, |_| {
        let mut request = Request::plain(CALL_MAP_FILE, args);
        request.rooms[0] = ExecFile::BYTES as u32;
        Ok(request)
    })?;
    let kind = match result_of(answer.value) {
        Err(Stop::Errno(error)) if error != Errno::EBADF => return Ok(Err(Refusal::Early(error))),
        kind => kind?,
    };
    if kind >> MAPS_NOTHING_SHIFT != 0 {
        let error = Errno((kind >> MAPS_NOTHING_SHIFT) as i32);
        return Ok(Err(Refusal::Late(error)));
    }
    if kind & MAPS_DEVICE != 0 {
        return Ok(Ok((Backing::Anonymous, AreaFlags::empty())));
    }
    let file = answer
        .buffers
        .get(0)
        .and_then(ExecFile::from_bytes)
        .ok_or(Errno::EIO)?;
    ends_in_a_file(offset, length)?;
    if shared && kind & MAPS_WRITABLE != 0 {
        // The frames of the file itself: they are where the file is, and home has brought us there.
        let pid = call.pid;
        let home = call.system.homes.get(&pid).ok_or(Errno::ENODEV)?;
        let pages = home
            .mapped
            .get(u64::from(file.home_file))
            .ok_or(Errno::EIO)?;
        let backing = Backing::SharedFile {
            pages,
            first_page: offset / machine::PAGE_SIZE as u64,
            home_file: file.home_file,
            writable: true,
        };
        return Ok(Ok((backing, AreaFlags::empty())));
    }
    let length = length
        .checked_next_multiple_of(machine::PAGE_SIZE as u64)
        .ok_or(Errno::ENOMEM)?;
    let backing = Backing::File(FileBacking {
        hash: file.hash,
        home_file: file.home_file,
        offset,
        length,
    });
    Ok(Ok((backing, AreaFlags::empty())))
}
