//! Descriptors: duplicating, closing, flags, pipes, and listing directories.

use super::super::inode::{Inode, Node};
use super::super::pipe::PIPE_CAPACITY;
use super::{CallResult, FileCall, descriptor, file, walker};
use abi::Errno;
use abi::layout::{O_APPEND, O_CLOEXEC, O_NONBLOCK, S_IFDIR, put_dirent64};
use alloc::vec::Vec;

const F_DUPFD: u32 = 0;
const F_GETFD: u32 = 1;
const F_SETFD: u32 = 2;
const F_GETFL: u32 = 3;
const F_SETFL: u32 = 4;
const F_DUPFD_CLOEXEC: u32 = 1030;
const F_GETPIPE_SZ: u32 = 1032;
const FD_CLOEXEC: u64 = 1;

/// `close(fd)`.
pub fn close(call: &mut FileCall) -> CallResult {
    let fd = descriptor(call, 0)?;
    call.state.close(fd)?;
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

/// `fcntl(fd, command, argument)`: duplicates, flags and the size of pipes.
pub fn fcntl(call: &mut FileCall) -> CallResult {
    let fd = descriptor(call, 0)?;
    let argument = call.args[2];
    let file = file(call, 0)?;
    match call.args[1] as u32 {
        command @ (F_DUPFD | F_DUPFD_CLOEXEC) => {
            let least = u32::try_from(argument as i32).map_err(|_| Errno::EINVAL)?;
            if least >= call.state.limit() {
                return Err(Errno::EINVAL.into());
            }
            let close = command == F_DUPFD_CLOEXEC;
            Ok(u64::from(call.state.install(least, file, close)?))
        }
        F_GETFD => Ok(u64::from(call.state.row(fd)?.close_on_exec)),
        F_SETFD => {
            call.state.row_mut(fd)?.close_on_exec = argument & FD_CLOEXEC != 0;
            Ok(0)
        }
        F_GETFL => Ok(u64::from(file.flags())),
        F_SETFL => {
            let changeable = O_APPEND | O_NONBLOCK;
            let mut cursor = file.cursor();
            cursor.flags = cursor.flags & !changeable | argument as u32 & changeable;
            Ok(0)
        }
        F_GETPIPE_SZ if file.inode().pipe().is_some() => Ok(PIPE_CAPACITY as u64),
        F_GETPIPE_SZ => Err(Errno::EBADF.into()),
        _ => Err(Errno::EINVAL.into()),
    }
}

fn make_pipe(call: &mut FileCall, flags: u32) -> CallResult {
    if flags & !(O_CLOEXEC | O_NONBLOCK) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let first = call.state.free_descriptor(0)?;
    let second = call.state.free_descriptor(first + 1)?;
    let (read, write) = call.fs.new_pipe(flags & O_NONBLOCK, call.now_ns)?;
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
    let file = file(call, 0)?;
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
    let capacity = call.capacity(1).min(call.args[2] as u32 as usize);
    let mut after = file.offset();
    let mut bytes = Vec::new();
    let mut full = false;
    let mut add = |number: u64, cookie: u64, mode: u32, name: &[u8]| {
        full = full || !put_dirent64(&mut bytes, capacity, number, cookie, mode, name);
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
    file.cursor().offset = after;
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
