//! The unsafe corners user programs need, behind safe functions.
//!
//! Law: this is the only crate of `userland/` that contains `unsafe`; every function it exports
//! can be called from safe code with any argument without breaking Rust's rules. What the
//! standard library already offers safely (files, pipes, sleeping, environment) is not repeated.

#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
compile_error!("user programs are Linux x86-64 programs");

pub mod cpu;
pub mod events;
pub mod files;
pub mod ipc;
pub mod link;
pub mod locks;
pub mod memory;
pub mod process;
pub mod raw;
pub mod shared;
pub mod signals;
pub mod system;
pub mod terminal;

pub use libc::{
    EACCES, EBADMSG, EBUSY, ECHILD, EEXIST, EFAULT, EHOSTDOWN, EINTR, EINVAL, ENOENT, ENOEXEC,
    ENOMEM, ENOSYS, ENOTDIR, ENXIO, EOPNOTSUPP, EPERM, ESRCH, ESTALE, ETIMEDOUT, EXDEV,
};
pub use libc::{EAGAIN, EIO};
pub use libc::{
    SIGABRT, SIGALRM, SIGCHLD, SIGCONT, SIGHUP, SIGILL, SIGINT, SIGKILL, SIGPIPE, SIGPROF, SIGSEGV,
    SIGSTOP, SIGTERM, SIGTSTP, SIGTTIN, SIGTTOU, SIGUSR1, SIGUSR2, SIGVTALRM, SIGWINCH, SIGXCPU,
};

use std::io;

/// Turns the `-1` convention of libc into a result.
pub(crate) fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}
