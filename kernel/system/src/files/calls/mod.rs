//! The system calls on files, one function each, with the names and arguments Linux gives them.
//!
//! Law: arguments are numbered in Linux order; paths and in-buffers come through `input`, out-buffers
//! go through `output` of the same number. A call that fails or waits has changed nothing.
//! The older forms are thin wrappers of the `*at` forms.

mod attributes;
mod control;
mod descriptors;
mod fcntl;
mod io;
mod messages;
mod mounts;
mod names;
mod objects;
mod opening;
mod queues;
mod sizes;
mod sockets;
mod terminals;
mod xattrs;

pub(crate) use super::socket::interfaces::{REQUEST as INTERFACE, SIOCGIFCONF};
pub use attributes::{
    chmod, chown, fchmod, fchmodat, fchmodat2, fchown, fchownat, fstat, fstatfs, futimesat, lchown,
    lstat, newfstatat, stat, statfs, statx, umask, utime, utimensat, utimes,
};
pub use control::{ioctl, ioctl_argument, poll};
pub use descriptors::{close, close_range, dup, dup2, dup3, getdents, getdents64, pipe, pipe2};
pub use fcntl::{fcntl, fcntl_argument, flock};
pub use io::{copy_file_range, pread64, pwrite64, read, sendfile, splice, tee, vmsplice, write};
pub(crate) use io::{read_plain, write_plain};
pub(crate) use messages::MESSAGE;
pub(super) use messages::{read_socket, write_socket};
pub use messages::{recvmsg, sendmsg};
pub use mounts::{mount, umount2};
pub use names::{
    access, chdir, chroot, faccessat, faccessat2, fchdir, getcwd, link, linkat, mkdir, mkdirat,
    mknod, mknodat, readlink, readlinkat, rename, renameat, renameat2, rmdir, symlink, symlinkat,
    unlink, unlinkat,
};
pub use objects::{
    EPOLL_EVENT, epoll_create, epoll_create1, epoll_ctl, epoll_wait, eventfd, eventfd2,
    inotify_add_watch, inotify_init, inotify_init1, inotify_rm_watch, pidfd_getfd, pidfd_open,
    setns, signalfd, signalfd4, timerfd_create, timerfd_gettime, timerfd_settime,
};
pub use opening::{creat, memfd_create, open, openat, openat2};
pub use queues::{mq_getsetattr, mq_notify, mq_open, mq_timedreceive, mq_timedsend, mq_unlink};
pub use sizes::{
    cachestat, fadvise64, fallocate, fdatasync, fsync, ftruncate, lseek, readahead, sync,
    sync_file_range, syncfs, truncate,
};
pub use sockets::{
    accept4, bind, connect, getpeername, getsockname, getsockopt, listen, setsockopt, shutdown,
    socket, socketpair,
};
pub use terminals::{Argument, vhangup};
pub use xattrs::{
    fgetxattr, flistxattr, fremovexattr, fsetxattr, getxattr, lgetxattr, listxattr, llistxattr,
    lremovexattr, lsetxattr, removexattr, setxattr,
};

use super::change::Change;
use super::mounts::Place;
use super::open::OpenFile;
use super::pipe::Patience;
use super::proc::Viewer;
use super::walk::{Follow, Found, RESOLVE_IN_ROOT, Walker};
use super::{CallResult, FileCall, RWF_NOWAIT};
use abi::Errno;
use abi::layout::{AT_EMPTY_PATH, AT_FDCWD, O_PATH, Timespec};
use alloc::sync::Arc;

/// Which argument is the descriptor that a relative path starts from.
#[derive(Clone, Copy)]
enum Base {
    /// None: the current directory.
    Current,
    /// A `dirfd`.
    Argument(usize),
}

/// The descriptor an argument names: the low 32 bits, as an `int`.
fn descriptor(call: &FileCall, arg: usize) -> Result<u32, Errno> {
    u32::try_from(call.args[arg] as i32).map_err(|_| Errno::EBADF)
}

fn file(call: &FileCall, arg: usize) -> Result<Arc<OpenFile>, Errno> {
    call.state.get(descriptor(call, arg)?)
}

/// An open file for more than looking at it: `O_PATH` is not enough.
fn usable(call: &FileCall, arg: usize) -> Result<Arc<OpenFile>, Errno> {
    let file = file(call, arg)?;
    if file.flags() & O_PATH != 0 {
        return Err(Errno::EBADF);
    }
    Ok(file)
}

fn readable(call: &FileCall, arg: usize) -> Result<Arc<OpenFile>, Errno> {
    let file = file(call, arg)?;
    if !file.readable() {
        return Err(Errno::EBADF);
    }
    Ok(file)
}

fn writable(call: &FileCall, arg: usize) -> Result<Arc<OpenFile>, Errno> {
    let file = file(call, arg)?;
    if !file.writable() {
        return Err(Errno::EBADF);
    }
    Ok(file)
}

impl FileCall<'_> {
    /// Whether this call waits at an open file.
    pub(super) fn patience(&self, file: &OpenFile) -> Patience {
        match self.how & RWF_NOWAIT {
            0 => file.patience(self.tid),
            _ => Patience::Never,
        }
    }
}

fn now(call: &FileCall) -> Timespec {
    call.fs.time(call.now_ns)
}

fn walker<'c>(call: &'c FileCall) -> Walker<'c> {
    Walker {
        fs: call.fs,
        viewer: Viewer {
            view: &*call.view,
            state: call.state,
            pid: call.pid,
            tid: call.tid,
        },
        who: &call.who,
        resolve: call.resolve,
    }
}

/// Who changes something, and when.
fn change<'c>(call: &'c FileCall) -> Change<'c> {
    Change {
        who: &call.who,
        now: now(call),
    }
}

/// What a `dirfd` names.
fn base_place(call: &FileCall, base: Base) -> Result<Place, Errno> {
    match base {
        Base::Current => Ok(call.state.cwd()),
        Base::Argument(arg) if call.args[arg] as i32 == AT_FDCWD => Ok(call.state.cwd()),
        Base::Argument(arg) => Ok(file(call, arg)?.place().clone()),
    }
}

/// Walks to the path in argument `path`.
fn walk(call: &FileCall, base: Base, path: usize, follow: Follow) -> Result<Found, Errno> {
    walk_to(call, base, call.input(path), follow)
}

/// Walks to a path.
fn walk_to(call: &FileCall, base: Base, path: &[u8], follow: Follow) -> Result<Found, Errno> {
    let start = match path.first() {
        None => return Err(Errno::ENOENT),
        Some(b'/') if call.resolve & RESOLVE_IN_ROOT == 0 => call.state.root(),
        Some(_) => base_place(call, base)?,
    };
    walker(call).walk(&start, path, follow)
}

/// The existing file at a path, or with `AT_EMPTY_PATH` at the descriptor itself.
fn existing(
    call: &FileCall,
    base: Base,
    path: usize,
    flags: u32,
    follow: Follow,
) -> Result<Place, Errno> {
    if flags & AT_EMPTY_PATH != 0 && call.input(path).is_empty() {
        return base_place(call, base);
    }
    walk(call, base, path, follow)?.existing()
}
