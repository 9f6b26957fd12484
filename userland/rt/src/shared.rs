//! Memory that other processes see written: `MAP_SHARED`.
//!
//! Law: bytes are copied in and out by volatile accesses, because they may change at any time; no
//! reference into shared memory is ever handed out.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU32, Ordering};

const READ: libc::c_int = libc::PROT_READ;

/// A shared mapping; unmapped when dropped.
#[derive(Debug)]
pub struct Shared {
    start: usize,
    length: usize,
}

impl Shared {
    /// `length` bytes of zeros, shared with children.
    ///
    /// # Errors
    /// What mmap(2) says; `EINVAL` for a length of zero.
    pub fn anonymous(length: usize) -> io::Result<Shared> {
        let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
        Shared::map(length, READ | libc::PROT_WRITE, flags, -1)
    }

    /// The first `length` bytes of a file that is open for reading and writing.
    ///
    /// # Errors
    /// What mmap(2) says; `EINVAL` for a length of zero.
    pub fn file(file: &File, length: usize) -> io::Result<Shared> {
        let rights = READ | libc::PROT_WRITE;
        Shared::map(length, rights, libc::MAP_SHARED, file.as_raw_fd())
    }

    /// The first `length` bytes of a file as others write them, never to be written here: `MAP_SHARED`,
    /// or `MAP_PRIVATE` for a mapping that could have been.
    ///
    /// # Errors
    /// What mmap(2) says; `EINVAL` for a length of zero.
    pub fn seen(file: &File, length: usize, private: bool) -> io::Result<Shared> {
        let flags = if private {
            libc::MAP_PRIVATE
        } else {
            libc::MAP_SHARED
        };
        Shared::map(length, READ, flags, file.as_raw_fd())
    }

    fn map(
        length: usize,
        rights: libc::c_int,
        flags: libc::c_int,
        fd: libc::c_int,
    ) -> io::Result<Shared> {
        // SAFETY: without MAP_FIXED the kernel chooses a free place, so nothing is replaced.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), length, rights, flags, fd, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Shared {
            start: start as usize,
            length,
        })
    }

    /// Copies `length` bytes out.
    ///
    /// # Panics
    /// If they are not all in the mapping.
    #[must_use]
    pub fn read(&self, at: usize, length: usize) -> Vec<u8> {
        assert!(at.checked_add(length).is_some_and(|end| end <= self.length));
        (at..at + length)
            // SAFETY: within the mapping; volatile, as others may write.
            .map(|at| unsafe { ((self.start + at) as *const u8).read_volatile() })
            .collect()
    }

    /// Lets pread(2) read `length` bytes of a file at `offset` to `at`; the number of bytes.
    ///
    /// # Errors
    /// What pread(2) says.
    ///
    /// # Panics
    /// If they do not all fit into the mapping.
    pub fn fill_from(
        &self,
        at: usize,
        file: &File,
        offset: i64,
        length: usize,
    ) -> io::Result<usize> {
        assert!(at.checked_add(length).is_some_and(|end| end <= self.length));
        let target = (self.start + at) as *mut libc::c_void;
        // SAFETY: within the mapping, of which no reference exists.
        let read = unsafe { libc::pread(file.as_raw_fd(), target, length, offset) };
        usize::try_from(read).map_err(|_| io::Error::last_os_error())
    }

    /// Adds to a counter in one step, whoever else does so; the value before.
    ///
    /// # Panics
    /// If it is not aligned, or not all in the mapping.
    pub fn add(&self, at: usize, more: u32) -> u32 {
        assert!(at.is_multiple_of(4) && at.checked_add(4).is_some_and(|end| end <= self.length));
        // SAFETY: within the mapping and aligned; everybody who counts here does so in one step.
        let counter = unsafe { AtomicU32::from_ptr((self.start + at) as *mut u32) };
        counter.fetch_add(more, Ordering::SeqCst)
    }

    /// Copies bytes in.
    ///
    /// # Panics
    /// If they do not all fit into the mapping.
    pub fn write(&self, at: usize, bytes: &[u8]) {
        let end = at.checked_add(bytes.len());
        assert!(end.is_some_and(|end| end <= self.length));
        for (at, byte) in (at..).zip(bytes) {
            // SAFETY: within the mapping; volatile, as others may read or write.
            unsafe { ((self.start + at) as *mut u8).write_volatile(*byte) };
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // SAFETY: our own mapping, of which no reference exists.
        unsafe { libc::munmap(self.start as *mut libc::c_void, self.length) };
    }
}
