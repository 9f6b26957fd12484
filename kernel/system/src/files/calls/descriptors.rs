//! Descriptors: duplicating, closing, pipes, and listing directories.

use super::super::inode::{Inode, Node};
use super::super::objects::notify::IN_ACCESS;
use super::{CallResult, FileCall, descriptor, file, now, usable, walker};
use abi::Errno;
use abi::layout::{O_CLOEXEC, O_DIRECT, O_NONBLOCK, S_IFDIR, put_dirent, put_dirent64};
use alloc::vec::Vec;

/// `close(fd)`.
pub fn close(call: &mut FileCall) -> CallResult {
    let fd = descriptor(call, 0)?;
    call.state.close(fd)?;
    Ok(0)
}

/// `close_range(first, last, flags)`.
pub fn close_range(call: &mut FileCall) -> CallResult {
    const CLOSE_RANGE_UNSHARE: u32 = 2;
    const CLOSE_RANGE_CLOEXEC: u32 = 4;
    let [first, last, flags, ..] = call.args.map(|arg| arg as u32);
    if flags & !(CLOSE_RANGE_UNSHARE | CLOSE_RANGE_CLOEXEC) != 0 || first > last {
        return Err(Errno::EINVAL.into());
    }
    if flags & CLOSE_RANGE_UNSHARE != 0 {
        call.state.unshare_table();
    }
    for fd in call.state.open_descriptors() {
        if !(first..=last).contains(&fd) {
            continue;
        }
        if flags & CLOSE_RANGE_CLOEXEC != 0 {
            call.state.set_close_on_exec(fd, true)?;
        } else {
            call.state.close(fd)?;
        }
    }
    Ok(0)
}

/// `dup(fd)`.
pub fn dup(call: &mut FileCall) -> CallResult {
    let file = file(call, 0)?;
    Ok(u64::from(call.state.install(0, file, false)?))
}

fn duplicate(call: &mut FileCall, close_on_exec: bool) -> CallResult {
    let file = file(call, 0)?;
    let target = descriptor(call, 1)?;
    if target >= call.state.limit() {
        return Err(Errno::EBADF.into());
    }
    call.state.put(target, file, close_on_exec);
    Ok(u64::from(target))
}

/// `dup2(old, new)`.
pub fn dup2(call: &mut FileCall) -> CallResult {
    if call.args[0] as u32 == call.args[1] as u32 {
        file(call, 0)?;
        return Ok(u64::from(call.args[1] as u32));
    }
    duplicate(call, false)
}

/// `dup3(old, new, flags)`.
pub fn dup3(call: &mut FileCall) -> CallResult {
    let flags = call.args[2] as u32;
    if flags & !O_CLOEXEC != 0 || call.args[0] as u32 == call.args[1] as u32 {
        return Err(Errno::EINVAL.into());
    }
    duplicate(call, flags & O_CLOEXEC != 0)
}

fn make_pipe(call: &mut FileCall, flags: u32) -> CallResult {
    if flags & !(O_CLOEXEC | O_NONBLOCK | O_DIRECT) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let first = call.state.free_descriptor(0)?;
    let second = call.state.free_descriptor(first + 1)?;
    call.check_room(0, 8)?;
    let (read, write) =
        call.fs
            .new_pipe(flags & (O_NONBLOCK | O_DIRECT), &call.who, call.now_ns)?;
    let close = flags & O_CLOEXEC != 0;
    call.state.put(first, read, close);
    call.state.put(second, write, close);
    call.output(0, &first.to_le_bytes());
    call.output(0, &second.to_le_bytes());
    Ok(0)
}

/// `pipe(fds)`: two `int`s, for reading and for writing.
pub fn pipe(call: &mut FileCall) -> CallResult {
    make_pipe(call, 0)
}

/// `pipe2(fds, flags)`.
pub fn pipe2(call: &mut FileCall) -> CallResult {
    make_pipe(call, call.args[1] as u32)
}

/// `getdents64(fd, buf, count)`: the offset is the cookie of the last entry given out.
pub fn getdents64(call: &mut FileCall) -> CallResult {
    list(call, put_dirent64)
}

/// `getdents(fd, buf, count)`.
pub fn getdents(call: &mut FileCall) -> CallResult {
    list(call, put_dirent)
}

/// Appends an entry: bytes so far, how many there may be, inode, cookie, mode and name. False if it does
/// not fit.
type Put = fn(&mut Vec<u8>, usize, u64, u64, u32, &[u8]) -> bool;

fn list(call: &mut FileCall, put: Put) -> CallResult {
    let file = usable(call, 0)?;
    let inode = file.inode();
    if !inode.is_directory() {
        return Err(Errno::ENOTDIR.into());
    }
    if !file.readable() {
        return Err(Errno::EBADF.into());
    }
    if inode.directory().is_some_and(|directory| directory.removed) {
        return Err(Errno::ENOENT.into());
    }
    let capacity = super::super::MAX_TRANSFER.min(call.args[2] as u32 as usize);
    let mut after = file.offset();
    let mut bytes = Vec::new();
    let mut full = false;
    let mut add = |number: u64, cookie: u64, mode: u32, name: &[u8]| {
        full = full || !put(&mut bytes, capacity, number, cookie, mode, name);
        if !full {
            after = cookie;
        }
        !full
    };
    let start = file.offset();
    if start < 1 {
        add(inode.number(), 1, S_IFDIR, b".");
    }
    if start < 2 {
        add(parent_number(inode), 2, S_IFDIR, b"..");
    }
    match inode.node() {
        Node::Directory(directory) => {
            for (cookie, name, child) in directory.lock().list(start.max(2)) {
                if !add(child.number(), cookie, child.mode(), name) {
                    break;
                }
            }
        }
        Node::Proc(node) => {
            for (cookie, name, child) in walker(call).viewer.list(*node, start.max(2)) {
                if !add(child.inode_number(), cookie, child.mode(), &name) {
                    break;
                }
            }
        }
        _ => {}
    }
    if bytes.is_empty() && full {
        return Err(Errno::EINVAL.into());
    }
    call.check_room(1, bytes.len())?;
    file.cursor().offset = after;
    file.was_read(now(call));
    inode.tell(IN_ACCESS);
    call.output(1, &bytes);
    Ok(bytes.len() as u64)
}

fn parent_number(inode: &Inode) -> u64 {
    let own = inode.number();
    match inode.node() {
        Node::Directory(directory) => {
            let parent = directory.lock().parent.upgrade();
            parent.map_or(own, |parent| parent.number())
        }
        Node::Proc(node) => node.parent().map_or(own, |parent| parent.inode_number()),
        _ => own,
    }
}
