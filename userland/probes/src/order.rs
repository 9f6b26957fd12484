//! What is judged first: descriptors before memory, and memory only when something is to be copied.
//!
//! Law: calls are made by number on the desk, so that every argument can be wrong.

use std::ffi::CString;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;

use rt::raw::{DESK, Desk, KEPT, libc};

use crate::files::Scratch;
use crate::moves::Moves;
use crate::{Doing, Verdict, ensure};

/// No program has memory there.
const NOWHERE: u64 = 8;
const MINUS_ONE: u64 = u64::MAX;

fn refused(errno: i32) -> i64 {
    -i64::from(errno)
}

/// Bad descriptors, bad memory and nothing to do, in all combinations that differ.
pub(crate) fn order(moves: &mut Moves) -> Verdict {
    let mut desk = Desk::map().ok_or("no desk")?;
    let scratch = Scratch::new("order");
    let path = CString::new(scratch.path().as_os_str().as_bytes()).doing("name")?;
    desk.put(0, path.as_bytes_with_nul());
    while moves.more() {
        let file = scratch.create()?;
        file.set_len(100).doing("make the file long")?;
        moves.point()?;
        let fd = u64::from(file.as_raw_fd().cast_unsigned());
        check(&mut desk, fd)?;
    }
    Ok(())
}

fn check(desk: &mut Desk, fd: u64) -> Verdict {
    const AT_FDCWD: u64 = libc::AT_FDCWD as u64;
    let fault = refused(libc::EFAULT);
    let bad = refused(libc::EBADF);
    let invalid = refused(libc::EINVAL);
    let before = free(desk);
    // The last 16 bytes of the desk that are mapped.
    let edge = DESK + KEPT - 16;
    let get_lock = libc::F_GETLK as u64;
    let table = [
        ("read", libc::SYS_read, [fd, NOWHERE, 0, 0, 0, 0], 0),
        ("read", libc::SYS_read, [fd, NOWHERE, 10, 0, 0, 0], fault),
        ("read", libc::SYS_read, [99, NOWHERE, 10, 0, 0, 0], bad),
        ("pread64", libc::SYS_pread64, [fd, edge, 50, 0, 0, 0], 16),
        (
            "pread64",
            libc::SYS_pread64,
            [fd, NOWHERE, 10, 100, 0, 0],
            0,
        ),
        (
            "pread64",
            libc::SYS_pread64,
            [fd, NOWHERE, 10, MINUS_ONE, 0, 0],
            invalid,
        ),
        ("write", libc::SYS_write, [99, NOWHERE, 10, 0, 0, 0], bad),
        ("pwrite64", libc::SYS_pwrite64, [fd, edge, 50, 0, 0, 0], 16),
        (
            "pwrite64",
            libc::SYS_pwrite64,
            [fd, NOWHERE, 50, 0, 0, 0],
            fault,
        ),
        ("readv", libc::SYS_readv, [99, NOWHERE, 1, 0, 0, 0], bad),
        ("readv", libc::SYS_readv, [fd, NOWHERE, 1, 0, 0, 0], fault),
        (
            "writev",
            libc::SYS_writev,
            [99, NOWHERE, 5000, 0, 0, 0],
            bad,
        ),
        (
            "writev",
            libc::SYS_writev,
            [fd, NOWHERE, 5000, 0, 0, 0],
            invalid,
        ),
        (
            "fcntl",
            libc::SYS_fcntl,
            [99, get_lock, NOWHERE, 0, 0, 0],
            bad,
        ),
        (
            "fcntl",
            libc::SYS_fcntl,
            [fd, get_lock, NOWHERE, 0, 0, 0],
            fault,
        ),
        (
            "readlinkat",
            libc::SYS_readlinkat,
            [AT_FDCWD, DESK, NOWHERE, MINUS_ONE, 0, 0],
            invalid,
        ),
        ("fstat", libc::SYS_fstat, [99, NOWHERE, 0, 0, 0, 0], bad),
        ("fstat", libc::SYS_fstat, [fd, NOWHERE, 0, 0, 0, 0], fault),
        ("stat", libc::SYS_stat, [DESK, NOWHERE, 0, 0, 0, 0], fault),
        ("pipe2", libc::SYS_pipe2, [NOWHERE, 1, 0, 0, 0, 0], invalid),
        ("pipe2", libc::SYS_pipe2, [NOWHERE, 0, 0, 0, 0, 0], fault),
        (
            "getdents64",
            libc::SYS_getdents64,
            [99, NOWHERE, 100, 0, 0, 0],
            bad,
        ),
        ("sendmsg", libc::SYS_sendmsg, [99, NOWHERE, 0, 0, 0, 0], bad),
        (
            "sendmsg",
            libc::SYS_sendmsg,
            [fd, NOWHERE, 0, 0, 0, 0],
            refused(libc::ENOTSOCK),
        ),
        (
            "getsockname",
            libc::SYS_getsockname,
            [99, NOWHERE, NOWHERE, 0, 0, 0],
            bad,
        ),
    ];
    for (index, (name, number, words, expected)) in table.into_iter().enumerate() {
        let got = desk.call(number, words);
        ensure!(
            got == expected,
            "call {index}, {name}{words:x?}, gave {got} instead of {expected}"
        );
    }
    let after = free(desk);
    ensure!(
        after == before,
        "the next descriptor went from {before} to {after}"
    );
    Ok(())
}

/// The lowest free descriptor.
fn free(desk: &mut Desk) -> i64 {
    let next = desk.call(libc::SYS_epoll_create1, [0; 6]);
    desk.call(libc::SYS_close, [next.cast_unsigned(), 0, 0, 0, 0, 0]);
    next
}
