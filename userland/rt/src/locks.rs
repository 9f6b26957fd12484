//! Locks of parts of files, pipes with names, and holes: what the standard library leaves out.
//!
//! Law: every function is one system call, and its error is that call's.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::Path;

/// What kind of lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Beside others of this kind.
    Shared,
    /// Alone.
    Exclusive,
    /// None: what there is goes.
    Free,
}

fn request(kind: Kind, start: i64, length: i64) -> libc::flock {
    let kind = match kind {
        Kind::Shared => libc::F_RDLCK,
        Kind::Exclusive => libc::F_WRLCK,
        Kind::Free => libc::F_UNLCK,
    };
    libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: start,
        l_len: length,
        l_pid: 0,
    }
}

/// Sets a record of this process (`F_SETLK`), without waiting.
///
/// # Errors
/// What fcntl(2) says.
pub fn set(fd: BorrowedFd<'_>, kind: Kind, start: i64, length: i64) -> io::Result<()> {
    let lock = request(kind, start, length);
    // SAFETY: `lock` is a whole `struct flock` that is only read.
    crate::check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETLK, &raw const lock) }).map(drop)
}

/// Sets a record of this process, waiting for others to free it (`F_SETLKW`).
///
/// # Errors
/// What fcntl(2) says.
pub fn wait(fd: BorrowedFd<'_>, kind: Kind, start: i64, length: i64) -> io::Result<()> {
    let lock = request(kind, start, length);
    // SAFETY: as in `set`.
    crate::check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETLKW, &raw const lock) }).map(drop)
}

/// Who keeps this process from an exclusive lock of a range: pid, first byte, length.
///
/// # Errors
/// What fcntl(2) says.
pub fn holder(fd: BorrowedFd<'_>, start: i64, length: i64) -> io::Result<Option<(i32, i64, i64)>> {
    let mut lock = request(Kind::Exclusive, start, length);
    // SAFETY: `lock` is a whole `struct flock` that nobody else uses.
    crate::check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETLK, &raw mut lock) })?;
    let free = i32::from(lock.l_type) == libc::F_UNLCK;
    Ok((!free).then_some((lock.l_pid, lock.l_start, lock.l_len)))
}

/// Makes a pipe with a name.
///
/// # Errors
/// What mkfifo(3) says.
pub fn make_fifo(path: &Path) -> io::Result<()> {
    use std::os::unix::ffi::OsStrExt;
    let path = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: `path` is a string that ends with NUL.
    crate::check(unsafe { libc::mkfifo(path.as_ptr(), 0o644) }).map(drop)
}

/// What is looked for in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seek {
    /// The next byte that is kept.
    Data,
    /// The next byte of a hole.
    Hole,
}

/// The next data or hole from `offset` on.
///
/// # Errors
/// What lseek(2) says.
pub fn seek(fd: BorrowedFd<'_>, offset: i64, what: Seek) -> io::Result<i64> {
    let whence = match what {
        Seek::Data => libc::SEEK_DATA,
        Seek::Hole => libc::SEEK_HOLE,
    };
    // SAFETY: lseek touches no memory.
    match unsafe { libc::lseek(fd.as_raw_fd(), offset, whence) } {
        -1 => Err(io::Error::last_os_error()),
        found => Ok(found),
    }
}

/// Makes a hole.
///
/// # Errors
/// What fallocate(2) says.
pub fn punch(fd: BorrowedFd<'_>, offset: i64, length: i64) -> io::Result<()> {
    let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
    // SAFETY: fallocate touches no memory.
    crate::check(unsafe { libc::fallocate(fd.as_raw_fd(), mode, offset, length) }).map(drop)
}

/// Becomes another user and group, without a way back.
///
/// # Errors
/// What setgroups(2) and setresuid(2) say.
pub fn become_user(uid: u32, gid: u32) -> io::Result<()> {
    // SAFETY: no groups are read; the other calls touch no memory.
    unsafe {
        crate::check(libc::setgroups(0, std::ptr::null()))?;
        crate::check(libc::setresgid(gid, gid, gid))?;
        crate::check(libc::setresuid(uid, uid, uid)).map(drop)
    }
}
