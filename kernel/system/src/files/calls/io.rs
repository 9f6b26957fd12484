//! Moving bytes: reading, writing, seeking, copying, sizes.

use super::super::inode::{Node, buffer};
use super::super::open::OpenFile;
use super::super::proc::ProcNode;
use super::super::storage::MAX_SIZE;
use super::super::tty::ReadClock;
use super::super::walk::Follow;
use super::super::{Device, MAX_TRANSFER};
use super::{Base, CallResult, FileCall, file, now, readable, walk, writable};
use crate::wait::Stop;
use abi::Errno;
use alloc::vec::Vec;

/// Where a transfer happens.
#[derive(Clone, Copy)]
enum At {
    /// At the offset of the open file, which moves.
    Cursor,
    /// At a place of the caller's.
    Offset(u64),
}

/// What an argument says about a length, as far as one call goes.
fn length(call: &FileCall, arg: usize) -> Result<usize, Errno> {
    // Linux refuses what is negative as `ssize_t` and cuts everything else.
    if call.args[arg] > i64::MAX as u64 {
        return Err(Errno::EINVAL);
    }
    Ok(call.args[arg].min(MAX_TRANSFER as u64) as usize)
}

fn offset(call: &FileCall, arg: usize) -> Result<u64, Errno> {
    match call.args[arg] {
        offset if offset <= MAX_SIZE => Ok(offset),
        _ => Err(Errno::EINVAL),
    }
}

/// Reads without moving the cursor.
fn fetch(call: &mut FileCall, file: &OpenFile, at: At, count: usize) -> Result<Vec<u8>, Stop> {
    let offset = match at {
        At::Cursor => file.offset(),
        At::Offset(offset) => offset,
    };
    match file.inode().node() {
        Node::File(data) => {
            let data = data.lock();
            let left = data.size().saturating_sub(offset);
            let mut bytes = buffer(left.min(count as u64) as usize)?;
            data.read_at(offset, &mut bytes);
            Ok(bytes)
        }
        Node::Device(Device::Null) => Ok(Vec::new()),
        Node::Device(Device::Zero | Device::Full) => Ok(buffer(count)?),
        Node::Device(Device::Random | Device::Urandom) => {
            let mut bytes = buffer(count)?;
            call.view.random(&mut bytes);
            Ok(bytes)
        }
        Node::Device(_) => {
            let end = file.terminal().ok_or(Errno::EIO)?;
            super::terminals::check_reader(call, end)?;
            let patience = file.patience(call.pid);
            let (now_ns, deadline_ns) = (call.now_ns, &mut call.deadline_ns);
            end.read(
                count,
                patience,
                ReadClock {
                    now_ns,
                    deadline_ns,
                },
            )
        }
        Node::Pipe(pipe) => pipe.read(count, file.patience(call.pid)),
        Node::Object(object) => object.read(call, file, count),
        Node::Proc(ProcNode::Entry(entry)) => {
            if offset == 0 {
                let contents = call.view.read(*entry, call.pid)?;
                file.cursor().snapshot = contents;
            }
            let cursor = file.cursor();
            let from = offset.min(cursor.snapshot.len() as u64) as usize;
            let to = from.saturating_add(count).min(cursor.snapshot.len());
            Ok(cursor.snapshot[from..to].to_vec())
        }
        Node::Proc(_) | Node::Directory(_) => Err(Errno::EISDIR.into()),
        Node::Link(_) => Err(Errno::EBADF.into()),
    }
}

/// Writes, and moves the cursor if it was used.
fn store(call: &mut FileCall, file: &OpenFile, at: At, bytes: &[u8]) -> Result<usize, Stop> {
    match file.inode().node() {
        Node::File(data) => {
            let time = now(call);
            let end = data.lock().size();
            let offset = match at {
                _ if file.appends() => end,
                At::Cursor => file.offset(),
                At::Offset(offset) => offset,
            };
            let written = file.inode().write_at(offset, bytes, time)?;
            if let At::Cursor = at {
                file.cursor().offset = offset + written as u64;
            }
            Ok(written)
        }
        Node::Device(Device::Full) => Err(Errno::ENOSPC.into()),
        Node::Device(device) if device.is_terminal() => {
            let end = file.terminal().ok_or(Errno::EIO)?;
            super::terminals::check_writer(call, end)?;
            end.write(bytes, file.patience(call.pid), call.now_ns)
        }
        Node::Device(_) => Ok(bytes.len()),
        Node::Pipe(pipe) => pipe.write(bytes, file.patience(call.pid)),
        Node::Object(object) => object.write(call, file, bytes),
        Node::Proc(ProcNode::Entry(entry)) => {
            let written = call.view.write(*entry, call.pid, bytes)?;
            Ok(written.min(bytes.len()))
        }
        Node::Proc(_) | Node::Directory(_) => Err(Errno::EISDIR.into()),
        Node::Link(_) => Err(Errno::EBADF.into()),
    }
}

/// Whether it is read and written as a stream, without offsets.
fn is_stream(file: &OpenFile) -> bool {
    file.inode().pipe().is_some()
        || file.terminal().is_some()
        || matches!(file.inode().node(), Node::Object(_))
}

fn advance(file: &OpenFile, count: usize) {
    if !is_stream(file) {
        file.cursor().offset += count as u64;
    }
}

/// `read(fd, buf, count)`.
pub fn read(call: &mut FileCall) -> CallResult {
    let file = readable(call, 0)?;
    let count = length(call, 2)?.min(call.capacity(1));
    let bytes = fetch(call, &file, At::Cursor, count)?;
    advance(&file, bytes.len());
    call.output(1, &bytes);
    Ok(bytes.len() as u64)
}

/// `write(fd, buf, count)`. `EPIPE` is to become `SIGPIPE` as well, by the caller.
pub fn write(call: &mut FileCall) -> CallResult {
    let file = writable(call, 0)?;
    let bytes = call.input(1);
    Ok(store(call, &file, At::Cursor, bytes)? as u64)
}

/// `pread64(fd, buf, count, offset)`.
pub fn pread64(call: &mut FileCall) -> CallResult {
    let file = readable(call, 0)?;
    let offset = offset(call, 3)?;
    if is_stream(&file) {
        return Err(Errno::ESPIPE.into());
    }
    let count = length(call, 2)?.min(call.capacity(1));
    let bytes = fetch(call, &file, At::Offset(offset), count)?;
    call.output(1, &bytes);
    Ok(bytes.len() as u64)
}

/// `pwrite64(fd, buf, count, offset)`.
pub fn pwrite64(call: &mut FileCall) -> CallResult {
    let file = writable(call, 0)?;
    let offset = offset(call, 3)?;
    if is_stream(&file) {
        return Err(Errno::ESPIPE.into());
    }
    let bytes = call.input(1);
    Ok(store(call, &file, At::Offset(offset), bytes)? as u64)
}

/// `lseek(fd, offset, whence)`. `SEEK_DATA` and `SEEK_HOLE` see one piece of data and the hole at its
/// end, as Linux lets a file system do. Directories take only offsets they gave out.
pub fn lseek(call: &mut FileCall) -> CallResult {
    let file = file(call, 0)?;
    if matches!(file.inode().node(), Node::Object(object) if object.seeks_nowhere()) {
        return Ok(0);
    }
    if is_stream(&file) {
        return Err(Errno::ESPIPE.into());
    }
    if file.inode().device().is_some() {
        return Ok(0);
    }
    let by = call.args[1] as i64;
    let size = file.inode().size() as i64;
    let is_file = file.inode().is_file();
    let target = match call.args[2] as u32 {
        0 => Some(by),
        1 => (file.offset() as i64).checked_add(by),
        2 if is_file => size.checked_add(by),
        3 | 4 if is_file && (by < 0 || by >= size) => return Err(Errno::ENXIO.into()),
        3 if is_file => Some(by),
        4 if is_file => Some(size),
        _ => return Err(Errno::EINVAL.into()),
    };
    let target = target.ok_or(Errno::EOVERFLOW)?;
    let target = u64::try_from(target).map_err(|_| Errno::EINVAL)?;
    file.cursor().offset = target;
    Ok(target)
}

/// An offset of the caller's in an in-out buffer, if there is one.
fn place(call: &FileCall, arg: usize) -> Result<At, Errno> {
    let Some(bytes) = call.inputs[arg] else {
        return Ok(At::Cursor);
    };
    let bytes: [u8; 8] = bytes.try_into().map_err(|_| Errno::EFAULT)?;
    match u64::from_le_bytes(bytes) {
        offset if offset <= MAX_SIZE => Ok(At::Offset(offset)),
        _ => Err(Errno::EINVAL),
    }
}

/// One transfer from file to file: reads, writes what the target takes, and counts only that.
fn transfer(
    call: &mut FileCall,
    source: (&OpenFile, At, usize),
    target: (&OpenFile, At, Option<usize>),
    count: usize,
) -> CallResult {
    let (from, from_at, from_arg) = source;
    let (to, to_at, to_arg) = target;
    let bytes = fetch(call, from, from_at, count)?;
    let written = match bytes.is_empty() {
        true => 0,
        false => store(call, to, to_at, &bytes)?,
    };
    match from_at {
        At::Offset(offset) => call.output(from_arg, &(offset + written as u64).to_le_bytes()),
        At::Cursor => advance(from, written),
    }
    // A cursor of the target moved with the writing.
    if let (At::Offset(offset), Some(arg)) = (to_at, to_arg) {
        call.output(arg, &(offset + written as u64).to_le_bytes());
    }
    Ok(written as u64)
}

/// `sendfile(out_fd, in_fd, offset, count)`: from a regular file, or one of /proc, to anything.
/// Argument 2 is both in- and out-buffer of 8 bytes.
pub fn sendfile(call: &mut FileCall) -> CallResult {
    let target = writable(call, 0)?;
    let source = readable(call, 1)?;
    let count = length(call, 3)?;
    let at = place(call, 2)?;
    let is_source = matches!(source.inode().node(), Node::File(_) | Node::Proc(_));
    if !is_source || target.appends() {
        return Err(Errno::EINVAL.into());
    }
    transfer(call, (&source, at, 2), (&target, At::Cursor, None), count)
}

/// `copy_file_range(fd_in, off_in, fd_out, off_out, len, flags)` between regular files.
/// Arguments 1 and 3 are both in- and out-buffers of 8 bytes.
pub fn copy_file_range(call: &mut FileCall) -> CallResult {
    let source = readable(call, 0)?;
    let target = writable(call, 2)?;
    let count = length(call, 4)?;
    let (from, to) = (place(call, 1)?, place(call, 3)?);
    for file in [&source, &target] {
        match file.inode().node() {
            Node::File(_) => {}
            Node::Directory(_) => return Err(Errno::EISDIR.into()),
            _ => return Err(Errno::EINVAL.into()),
        }
    }
    if call.args[5] != 0 {
        return Err(Errno::EINVAL.into());
    }
    if target.appends() {
        return Err(Errno::EBADF.into());
    }
    let start = |file: &OpenFile, at| match at {
        At::Cursor => file.offset(),
        At::Offset(offset) => offset,
    };
    let distance = start(&source, from).abs_diff(start(&target, to));
    if alloc::sync::Arc::ptr_eq(source.inode(), target.inode()) && distance < count as u64 {
        return Err(Errno::EINVAL.into());
    }
    transfer(call, (&source, from, 1), (&target, to, Some(3)), count)
}

fn resize(
    call: &FileCall,
    inode: &super::super::Inode,
    size: u64,
    wrong_kind: Errno,
) -> CallResult {
    if size > MAX_SIZE {
        return Err(Errno::EINVAL.into());
    }
    if inode.is_directory() {
        return Err(Errno::EISDIR.into());
    }
    inode.data().ok_or(wrong_kind)?.resize(size)?;
    inode.touch(now(call));
    Ok(0)
}

/// `truncate(path, length)`.
pub fn truncate(call: &mut FileCall) -> CallResult {
    let inode = walk(call, Base::Current, 0, Follow::Always)?.existing()?;
    resize(call, &inode, call.args[1], Errno::EINVAL)
}

/// `ftruncate(fd, length)`.
pub fn ftruncate(call: &mut FileCall) -> CallResult {
    let file = file(call, 0)?;
    if !file.writable() {
        return Err(Errno::EINVAL.into());
    }
    resize(call, file.inode(), call.args[1], Errno::EINVAL)
}

/// `fallocate(fd, mode, offset, len)`: mode 0, which makes the file long enough. Holes stay holes.
pub fn fallocate(call: &mut FileCall) -> CallResult {
    let file = writable(call, 0)?;
    let (offset, length) = (call.args[2], call.args[3]);
    if offset > MAX_SIZE || length > MAX_SIZE || length == 0 {
        return Err(Errno::EINVAL.into());
    }
    if call.args[1] as u32 != 0 {
        return Err(Errno::EOPNOTSUPP.into());
    }
    let end = offset + length;
    if end > MAX_SIZE {
        return Err(Errno::EFBIG.into());
    }
    if file.inode().size() >= end && file.inode().is_file() {
        return Ok(0);
    }
    resize(call, file.inode(), end, Errno::ENODEV)
}

/// `fsync(fd)`: memory is all there is, so everything is where it belongs already.
pub fn fsync(call: &mut FileCall) -> CallResult {
    let file = file(call, 0)?;
    if is_stream(&file) {
        return Err(Errno::EINVAL.into());
    }
    Ok(0)
}

/// `fdatasync(fd)`: as [`fsync`].
pub fn fdatasync(call: &mut FileCall) -> CallResult {
    fsync(call)
}

/// `sync()`.
pub fn sync(_call: &mut FileCall) -> CallResult {
    Ok(0)
}

/// `fadvise64(fd, offset, len, advice)`: checked, and without effect.
pub fn fadvise64(call: &mut FileCall) -> CallResult {
    let file = file(call, 0)?;
    if file.inode().pipe().is_some() {
        return Err(Errno::ESPIPE.into());
    }
    if call.args[3] > 5 || call.args[2] as i64 <= -1 {
        return Err(Errno::EINVAL.into());
    }
    Ok(0)
}
