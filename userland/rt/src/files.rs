//! File descriptors beyond what the standard library does with them.
//!
//! Law: a descriptor is replaced only where nobody else can own it: one of the three standard
//! streams, or one the caller lends mutably.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// One of the three standard streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Descriptor 0.
    Input = 0,
    /// Descriptor 1.
    Output = 1,
    /// Descriptor 2.
    Error = 2,
}

/// What happens to a descriptor when the program is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnExec {
    /// It is closed (`FD_CLOEXEC`).
    Close,
    /// The new program has it.
    Keep,
}

/// Lowest number for descriptors a program keeps to itself, above what a shell user names.
const PRIVATE: i32 = 10;

/// Makes `stream` the same open file as `from`, kept across exec.
///
/// # Errors
/// What dup2(2) says.
pub fn redirect(from: BorrowedFd<'_>, stream: Stream) -> io::Result<()> {
    let target = stream as i32;
    if from.as_raw_fd() == target {
        return set_on_exec(from, OnExec::Keep);
    }
    // SAFETY: the standard streams are by convention never owned by an `OwnedFd` of this process.
    crate::check(unsafe { libc::dup2(from.as_raw_fd(), target) }).map(drop)
}

/// A second descriptor (10 or above, closed on exec) of the open file behind `stream`; `None` if
/// the stream is closed.
///
/// # Errors
/// What fcntl(2) says, except `EBADF`.
pub fn stash(stream: Stream) -> io::Result<Option<OwnedFd>> {
    match duplicate_number(stream as i32, PRIVATE) {
        Ok(copy) => Ok(Some(copy)),
        Err(error) if error.raw_os_error() == Some(libc::EBADF) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Undoes redirections since [`stash`] gave `saved`.
///
/// # Errors
/// What dup2(2) says.
pub fn restore(saved: Option<&OwnedFd>, stream: Stream) -> io::Result<()> {
    use std::os::fd::AsFd;
    match saved {
        Some(saved) => redirect(saved.as_fd(), stream),
        None => {
            // SAFETY: as in `redirect`; a closed stream may be closed again.
            unsafe { libc::close(stream as i32) };
            Ok(())
        }
    }
}

/// A new descriptor of the open file that this process has under `number`, for example because
/// it inherited it.
///
/// # Errors
/// `EBADF` if there is none.
pub fn inherited(number: i32) -> io::Result<OwnedFd> {
    duplicate_number(number, 3)
}

/// Closes a descriptor that nothing here owns: one that a process with the same table has opened.
///
/// # Errors
/// `EBADF` if there is none.
pub fn close(number: i32) -> io::Result<()> {
    // SAFETY: no memory is involved; that nobody here owns it is what the caller says.
    crate::check(unsafe { libc::close(number) }).map(drop)
}

fn duplicate_number(number: i32, lowest: i32) -> io::Result<OwnedFd> {
    // SAFETY: no memory is involved.
    let copy = crate::check(unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, lowest) })?;
    // SAFETY: the descriptor was just made and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}

/// dup2(2) onto a descriptor that the caller owns: it becomes the same open file as `from`.
///
/// # Errors
/// What dup2(2) says.
pub fn duplicate_onto(from: BorrowedFd<'_>, onto: &mut OwnedFd) -> io::Result<()> {
    // SAFETY: `onto` is owned by the caller and stays an open descriptor.
    crate::check(unsafe { libc::dup2(from.as_raw_fd(), onto.as_raw_fd()) }).map(drop)
}

/// dup(2): the lowest free descriptor becomes the same open file, kept across exec.
///
/// # Errors
/// What dup(2) says.
pub fn duplicate(from: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    // SAFETY: no memory is involved.
    let copy = crate::check(unsafe { libc::dup(from.as_raw_fd()) })?;
    // SAFETY: the descriptor was just made and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}

/// Sets or clears `FD_CLOEXEC`.
///
/// # Errors
/// What fcntl(2) says.
pub fn set_on_exec(fd: BorrowedFd<'_>, what: OnExec) -> io::Result<()> {
    let flags = match what {
        OnExec::Close => libc::FD_CLOEXEC,
        OnExec::Keep => 0,
    };
    // SAFETY: no memory is involved.
    crate::check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFD, flags) }).map(drop)
}

/// Whether exec closes the descriptor with this number.
///
/// # Errors
/// `EBADF` if it is not open.
pub fn on_exec(number: i32) -> io::Result<OnExec> {
    // SAFETY: no memory is involved.
    let flags = crate::check(unsafe { libc::fcntl(number, libc::F_GETFD) })?;
    Ok(if flags & libc::FD_CLOEXEC == 0 {
        OnExec::Keep
    } else {
        OnExec::Close
    })
}

/// The status flags of the open file (`O_APPEND`, access mode ...; fcntl(2) `F_GETFL`).
///
/// # Errors
/// What fcntl(2) says.
pub fn status_flags(fd: BorrowedFd<'_>) -> io::Result<i32> {
    // SAFETY: no memory is involved.
    crate::check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) })
}

/// What a descriptor is ready for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ready {
    /// Reading would not block (`POLLIN`).
    pub readable: bool,
    /// Writing would not block (`POLLOUT`).
    pub writable: bool,
    /// The other side is gone (`POLLHUP` or `POLLERR`).
    pub hung_up: bool,
}

/// Waits at most `timeout_ms` until `fd` is readable or, if `fd` is a write side, writable
/// (poll(2)); `None` when the time is over.
///
/// # Errors
/// What poll(2) says.
pub fn poll(fd: BorrowedFd<'_>, timeout_ms: i32) -> io::Result<Option<Ready>> {
    poll_for(fd, libc::POLLIN | libc::POLLOUT, timeout_ms)
}

/// Waits until something can be read, or has hung up. Nothing if that takes longer.
///
/// # Errors
/// What poll(2) says.
pub fn poll_input(fd: BorrowedFd<'_>, timeout_ms: i32) -> io::Result<Option<Ready>> {
    poll_for(fd, libc::POLLIN, timeout_ms)
}

fn poll_for(fd: BorrowedFd<'_>, events: i16, timeout_ms: i32) -> io::Result<Option<Ready>> {
    let mut entry = libc::pollfd {
        fd: fd.as_raw_fd(),
        events,
        revents: 0,
    };
    // SAFETY: one valid pollfd is passed with the count one.
    let count = crate::check(unsafe { libc::poll(&raw mut entry, 1, timeout_ms) })?;
    Ok((count > 0).then_some(Ready {
        readable: entry.revents & libc::POLLIN != 0,
        writable: entry.revents & libc::POLLOUT != 0,
        hung_up: entry.revents & (libc::POLLHUP | libc::POLLERR) != 0,
    }))
}

/// Writes all of `bytes` to a standard stream, past any buffer of the standard library.
///
/// # Errors
/// What write(2) says; `WriteZero` if the stream takes nothing.
pub fn write_all(stream: Stream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        // SAFETY: the buffer is valid for reading its length.
        let count = unsafe { libc::write(stream as i32, bytes.as_ptr().cast(), bytes.len()) };
        match usize::try_from(count) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => bytes = bytes.get(count..).unwrap_or(&[]),
            Err(_) => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    }
    Ok(())
}

/// Reads one byte from standard input, past any buffer, so that whatever follows is left for
/// other programs; `None` at the end.
///
/// # Errors
/// What read(2) says.
pub fn read_byte() -> io::Result<Option<u8>> {
    let mut byte = 0u8;
    loop {
        // SAFETY: the buffer is valid for writing one byte.
        match unsafe { libc::read(Stream::Input as i32, (&raw mut byte).cast(), 1) } {
            0 => return Ok(None),
            1 => return Ok(Some(byte)),
            _ => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    }
}
