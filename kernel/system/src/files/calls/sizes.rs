//! Places in files and their sizes: seeking, cutting, growing, holes, and what makes files durable.
//!
//! Law: a hole costs no memory, and reads as zeros. Memory is all there is, so everything is durable
//! at once and syncing only checks.

use super::super::inode::{InodeRef, Node};
use super::super::leases::break_leases;
use super::super::objects::notify::IN_MODIFY;
use super::super::open::OpenFile;
use super::super::pipe::Patience;
use super::super::storage::MAX_SIZE;
use super::super::walk::Follow;
use super::io::{is_stream, lose_set_ids, within_limit};
use super::{Base, CallResult, FileCall, file, now, usable, walk};
use crate::files::access::WRITE;
use abi::Errno;

const SEEK_SET: u32 = 0;
const SEEK_CUR: u32 = 1;
const SEEK_END: u32 = 2;
const SEEK_DATA: u32 = 3;
const SEEK_HOLE: u32 = 4;

/// `lseek(fd, offset, whence)`. Directories take only offsets they gave out.
pub fn lseek(call: &mut FileCall) -> CallResult {
    let file = usable(call, 0)?;
    let whence = call.args[2] as u32;
    if whence > SEEK_HOLE {
        return Err(Errno::EINVAL.into());
    }
    if matches!(file.inode().node(), Node::Object(object) if object.seeks_nowhere()) {
        return Ok(0);
    }
    if is_stream(&file) {
        return Err(Errno::ESPIPE.into());
    }
    let by = call.args[1] as i64;
    if file.inode().device().is_some() {
        return Ok(0);
    }
    let size = file.inode().size() as i64;
    let is_file = file.inode().is_file();
    let is_queue = matches!(file.inode().node(), Node::Object(_));
    let target = match whence {
        SEEK_SET => Some(by),
        SEEK_CUR => (file.offset() as i64).checked_add(by),
        SEEK_END if is_file || is_queue => size.checked_add(by),
        SEEK_DATA | SEEK_HOLE if is_file => return seek_in(&file, by, whence),
        _ => return Err(Errno::EINVAL.into()),
    };
    let target = target.ok_or(Errno::EINVAL)?;
    let target = u64::try_from(target).map_err(|_| Errno::EINVAL)?;
    file.cursor().offset = target;
    Ok(target)
}

/// To the next data or hole.
fn seek_in(file: &OpenFile, from: i64, whence: u32) -> CallResult {
    let from = u64::try_from(from).map_err(|_| Errno::ENXIO)?;
    let data = file.inode().data().ok_or(Errno::EINVAL)?;
    let found = match whence {
        SEEK_DATA => data.next_data(from),
        _ => data.next_hole(from),
    };
    drop(data);
    let found = found.ok_or(Errno::ENXIO)?;
    file.cursor().offset = found;
    Ok(found)
}

/// Whether a length can be asked for. Of /proc, only regular files come here: folders are refused or
/// never writable, and links are followed.
fn has_length(inode: &InodeRef) -> bool {
    matches!(inode.node(), Node::File(_) | Node::Proc(_))
}

fn resize(call: &mut FileCall, inode: &InodeRef, size: u64) -> CallResult {
    if matches!(inode.node(), Node::Proc(_)) {
        // Accepted and without effect (proc_setattr in Linux): pam_loginuid cuts before it writes.
        return Ok(0);
    }
    let before = inode.size();
    let grows = size > before;
    if grows {
        let last = size - 1;
        within_limit(call, last, 1)?;
    }
    inode.data().ok_or(Errno::EINVAL)?.resize(size)?;
    if size < before {
        call.fs.note_cut(inode, size);
    }
    lose_set_ids(call, inode);
    inode.touch(now(call));
    inode.tell(IN_MODIFY);
    Ok(0)
}

/// `truncate(path, length)`.
pub fn truncate(call: &mut FileCall) -> CallResult {
    let size = call.args[1];
    if size > MAX_SIZE {
        return Err(Errno::EINVAL.into());
    }
    let inode = walk(call, Base::Current, 0, Follow::Always)?.existing()?;
    if inode.is_directory() {
        return Err(Errno::EISDIR.into());
    }
    if !has_length(&inode) {
        return Err(Errno::EINVAL.into());
    }
    inode.check_writable()?;
    call.who.check(&inode, WRITE)?;
    if inode.is_executing() {
        return Err(Errno::ETXTBSY.into());
    }
    break_leases(call, &inode, true, Patience::Wait(call.tid))?;
    resize(call, &inode, size)
}

/// `ftruncate(fd, length)`.
pub fn ftruncate(call: &mut FileCall) -> CallResult {
    let size = call.args[1];
    if size > MAX_SIZE {
        return Err(Errno::EINVAL.into());
    }
    let file = usable(call, 0)?;
    if !file.writable() || !has_length(file.inode()) {
        return Err(Errno::EINVAL.into());
    }
    resize(call, file.inode(), size)
}

const FALLOC_KEEP_SIZE: u32 = 1;
const FALLOC_PUNCH_HOLE: u32 = 2;
const FALLOC_ZERO_RANGE: u32 = 0x10;

/// `fallocate(fd, mode, offset, len)`: the file gets long enough, and holes stay holes.
pub fn fallocate(call: &mut FileCall) -> CallResult {
    let file = usable(call, 0)?;
    let (mode, offset, length) = (call.args[1] as u32, call.args[2], call.args[3]);
    if offset > MAX_SIZE || length > MAX_SIZE || length == 0 {
        return Err(Errno::EINVAL.into());
    }
    let known = FALLOC_KEEP_SIZE | FALLOC_PUNCH_HOLE | FALLOC_ZERO_RANGE;
    let (punches, zeroes) = (mode & FALLOC_PUNCH_HOLE != 0, mode & FALLOC_ZERO_RANGE != 0);
    let keeps = mode & FALLOC_KEEP_SIZE != 0;
    if mode & !known != 0 || (punches && (zeroes || !keeps)) {
        return Err(Errno::EOPNOTSUPP.into());
    }
    if !file.writable() {
        return Err(Errno::EBADF.into());
    }
    match file.inode().node() {
        Node::File(_) => {}
        Node::Pipe(_) => return Err(Errno::ESPIPE.into()),
        _ if file.inode().is_directory() => return Err(Errno::EISDIR.into()),
        _ => return Err(Errno::ENODEV.into()),
    }
    let end = offset + length;
    if end > MAX_SIZE {
        return Err(Errno::EFBIG.into());
    }
    let inode = file.inode();
    if !punches {
        within_limit(call, end - 1, 1)?;
    }
    lose_set_ids(call, inode);
    if punches || zeroes {
        let mut data = inode.data().ok_or(Errno::ENODEV)?;
        data.check_write()?;
        data.punch(offset, length)?;
        drop(data);
        inode.touch(now(call));
        inode.tell(IN_MODIFY);
    }
    if !keeps && inode.size() < end {
        resize(call, inode, end)?;
    } else {
        inode.touch(now(call));
    }
    Ok(0)
}

/// `fsync(fd)`.
pub fn fsync(call: &mut FileCall) -> CallResult {
    let file = usable(call, 0)?;
    match is_stream(&file) || file.inode().device().is_some() {
        true => Err(Errno::EINVAL.into()),
        false => Ok(0),
    }
}

/// `fdatasync(fd)`: as [`fsync`].
pub fn fdatasync(call: &mut FileCall) -> CallResult {
    fsync(call)
}

/// `sync()`.
pub fn sync(_call: &mut FileCall) -> CallResult {
    Ok(0)
}

/// `syncfs(fd)`.
pub fn syncfs(call: &mut FileCall) -> CallResult {
    usable(call, 0)?;
    Ok(0)
}

/// `sync_file_range(fd, offset, nbytes, flags)`.
pub fn sync_file_range(call: &mut FileCall) -> CallResult {
    let file = usable(call, 0)?;
    let [_, offset, length, flags, ..] = call.args;
    let end = (offset as i64).checked_add(length as i64);
    if flags as u32 & !7 != 0 || offset > MAX_SIZE || end.is_none_or(|end| end < offset as i64) {
        return Err(Errno::EINVAL.into());
    }
    match is_stream(&file) || file.inode().device().is_some() {
        true => Err(Errno::ESPIPE.into()),
        false => Ok(0),
    }
}

/// `readahead(fd, offset, count)`: checked, and without effect.
pub fn readahead(call: &mut FileCall) -> CallResult {
    let file = file(call, 0)?;
    if !file.readable() {
        return Err(Errno::EBADF.into());
    }
    match file.inode().is_file() {
        true => Ok(0),
        false => Err(Errno::EINVAL.into()),
    }
}

/// `cachestat(fd, range, result, flags)`: how many pages of a file are in memory. None has to be written anywhere, and none
/// was ever thrown out.
pub fn cachestat(call: &mut FileCall) -> CallResult {
    let file = usable(call, 0)?;
    let inode = file.inode();
    let may_know = file.writable()
        || call.who.check_owner(inode).is_ok()
        || call.who.check(inode, WRITE).is_ok();
    if !may_know {
        return Err(Errno::EPERM.into());
    }
    let words = call.input(1).as_chunks::<8>().0;
    let &[offset, length] = words else {
        return Err(Errno::EFAULT.into());
    };
    let (offset, length) = (u64::from_le_bytes(offset), u64::from_le_bytes(length));
    if call.args[3] as u32 != 0 {
        return Err(Errno::EINVAL.into());
    }
    let end = match length {
        0 => u64::MAX,
        length => offset.saturating_add(length),
    };
    let pages = inode.data().map_or(0, |data| data.pages_in(offset, end));
    let mut told = [0; 40];
    told[..8].copy_from_slice(&pages.to_le_bytes());
    call.output(2, &told);
    Ok(0)
}

/// `fadvise64(fd, offset, len, advice)`: checked, and without effect.
pub fn fadvise64(call: &mut FileCall) -> CallResult {
    let file = usable(call, 0)?;
    if file.inode().pipe().is_some() {
        return Err(Errno::ESPIPE.into());
    }
    if call.args[3] as u32 > 5 || call.args[2] as i64 <= -1 {
        return Err(Errno::EINVAL.into());
    }
    Ok(0)
}
