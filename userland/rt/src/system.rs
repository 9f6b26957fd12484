//! Facts about the machine, and calls made wrongly on purpose.
//!
//! Law: a bad address handed to the kernel is one that no Rust object can have, so that a kernel
//! that wrongly wrote there would break nothing of this process.

use std::ffi::CStr;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::memory::{Area, Protection};

/// The path of `name` in the file system of processes: under `$DUNLIN_PROC`, so that tests can
/// offer plain files, or else under `/proc`.
#[must_use]
pub fn proc_path(name: &str) -> PathBuf {
    let root = std::env::var_os("DUNLIN_PROC").unwrap_or_else(|| "/proc".into());
    PathBuf::from(root).join(name)
}

/// What uname(2) says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uname {
    /// Name of the operating system.
    pub system: String,
    /// Name of this machine in the network.
    pub host: String,
    /// Release of the operating system.
    pub release: String,
    /// Version of the operating system.
    pub version: String,
    /// Kind of hardware.
    pub machine: String,
}

/// Calls uname(2).
///
/// # Errors
/// What uname(2) says.
pub fn uname() -> io::Result<Uname> {
    // SAFETY: utsname consists of byte arrays, for which zero is a valid value.
    let mut buffer: libc::utsname = unsafe { std::mem::zeroed() };
    // SAFETY: the buffer is valid for writing.
    crate::check(unsafe { libc::uname(&raw mut buffer) })?;
    let text = |field: &[libc::c_char]| {
        let bytes: Vec<u8> = field
            .iter()
            .map(|byte| byte.cast_unsigned())
            .take_while(|&byte| byte != 0)
            .collect();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    Ok(Uname {
        system: text(&buffer.sysname),
        host: text(&buffer.nodename),
        release: text(&buffer.release),
        version: text(&buffer.version),
        machine: text(&buffer.machine),
    })
}

/// Fills `buffer` by getrandom(2); returns how many bytes it got.
///
/// # Errors
/// What getrandom(2) says.
pub fn random(buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: the buffer is valid for writing its length.
    let count = unsafe { libc::getrandom(buffer.as_mut_ptr().cast(), buffer.len(), 0) };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

/// Facts from the auxiliary vector (getauxval(3)) that must make sense in every program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Auxiliary {
    /// `AT_PAGESZ`.
    pub page_size: u64,
    /// `AT_PHNUM`.
    pub program_headers: u64,
    /// `AT_ENTRY`.
    pub entry: u64,
    /// `AT_UID`, `AT_EUID`, `AT_GID`, `AT_EGID`.
    pub ids: [u64; 4],
    /// The 16 bytes `AT_RANDOM` points to; `None` if the kernel gave none.
    pub random: Option<[u8; 16]>,
    /// The path `AT_EXECFN` points to; `None` if the kernel gave none.
    pub path: Option<String>,
}

/// Reads the auxiliary vector of this process.
#[must_use]
pub fn auxiliary() -> Auxiliary {
    // SAFETY: getauxval has no preconditions.
    let get = |kind| unsafe { libc::getauxval(kind) };
    let random = get(libc::AT_RANDOM) as *const [u8; 16];
    let path = get(libc::AT_EXECFN) as *const libc::c_char;
    Auxiliary {
        page_size: get(libc::AT_PAGESZ),
        program_headers: get(libc::AT_PHNUM),
        entry: get(libc::AT_ENTRY),
        ids: [libc::AT_UID, libc::AT_EUID, libc::AT_GID, libc::AT_EGID].map(get),
        // SAFETY: the ABI promises 16 readable bytes there for the life of the program
        // (System V AMD64 psABI 3.4.3; getauxval(3)).
        random: (!random.is_null()).then(|| unsafe { random.read() }),
        path: (!path.is_null()).then(|| {
            // SAFETY: the ABI promises a NUL-terminated string there for the life of the program.
            unsafe { CStr::from_ptr(path) }
                .to_string_lossy()
                .into_owned()
        }),
    }
}

/// Makes a system call of a number that Linux has never given out and returns its `errno`
/// (0 if the kernel claimed success).
#[must_use]
pub fn unknown_call() -> i32 {
    // SAFETY: Linux gives out numbers in order and is far from this one; no memory is passed.
    errno_of(unsafe { libc::syscall(4000) })
}

/// membarrier(2) without flags: its `errno`, 0 when it was done.
#[must_use]
pub fn membarrier(command: i32) -> i32 {
    // SAFETY: numbers only.
    errno_of(unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) })
}

fn errno_of(result: libc::c_long) -> i32 {
    if result < 0 {
        io::Error::last_os_error().raw_os_error().unwrap_or(0)
    } else {
        0
    }
}

/// An address that is no valid buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadAddress {
    /// Zero.
    Null,
    /// In the first page.
    Low,
    /// Where the kernel lives.
    Kernel,
    /// Not an address at all: the bits 47..63 differ.
    NotCanonical,
    /// The last byte of the address space, so that a length wraps around.
    Last,
    /// A mapped page without access.
    NoAccess,
}

/// All of them.
pub const BAD_ADDRESSES: [BadAddress; 6] = [
    BadAddress::Null,
    BadAddress::Low,
    BadAddress::Kernel,
    BadAddress::NotCanonical,
    BadAddress::Last,
    BadAddress::NoAccess,
];

/// A call that takes a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BufferCall {
    /// `read(fd, buffer, 64)`
    Read(i32),
    /// `write(fd, buffer, 64)`
    Write(i32),
    /// `fstat(fd, buffer)`
    Fstat(i32),
    /// `openat(AT_FDCWD, buffer, O_RDONLY)`
    Open,
    /// `uname(buffer)`
    Uname,
    /// `pipe2(buffer, 0)`
    Pipe,
}

/// Makes `call` with a bad buffer, by the bare system call, and returns its `errno` (0 if the
/// kernel claimed success).
///
/// # Errors
/// Only if the page without access cannot be made.
pub fn call_with(call: BufferCall, address: BadAddress) -> io::Result<i32> {
    let area = Area::map(4096, Protection::None)?;
    let buffer: u64 = match address {
        BadAddress::Null => 0,
        BadAddress::Low => 0x10,
        BadAddress::Kernel => 0xffff_8000_0000_0000,
        BadAddress::NotCanonical => 0x8000_0000_0000_0000,
        BadAddress::Last => u64::MAX,
        BadAddress::NoAccess => area.address(),
    };
    // SAFETY: whatever the kernel does with these addresses, none of them is the address of an
    // object of this process: `area` is without access and nothing lies in it.
    let result = unsafe {
        match call {
            BufferCall::Read(fd) => libc::syscall(libc::SYS_read, fd, buffer, 64),
            BufferCall::Write(fd) => libc::syscall(libc::SYS_write, fd, buffer, 64),
            BufferCall::Fstat(fd) => libc::syscall(libc::SYS_fstat, fd, buffer),
            BufferCall::Open => {
                libc::syscall(libc::SYS_openat, libc::AT_FDCWD, buffer, libc::O_RDONLY)
            }
            BufferCall::Uname => libc::syscall(libc::SYS_uname, buffer),
            BufferCall::Pipe => libc::syscall(libc::SYS_pipe2, buffer, 0),
        }
    };
    Ok(errno_of(result))
}

/// The monotonic clock, which on a machine of one system counts from its start.
///
/// # Errors
/// What clock_gettime(2) says.
pub fn monotonic() -> io::Result<Duration> {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is valid for writing.
    crate::check(unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) })?;
    let seconds = u64::try_from(time.tv_sec).map_err(io::Error::other)?;
    Ok(Duration::new(
        seconds,
        u32::try_from(time.tv_nsec).map_err(io::Error::other)?,
    ))
}
