//! Processes: fork, exec, wait, kill.
//!
//! Law: a process forks only while it has a single thread, so that the child may do everything
//! its parent may. Standard output is flushed first, so that nothing is printed twice.

use std::ffi::{CStr, CString};
use std::io::{self, Write};
use std::time::Duration;

/// Which side of a fork this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fork {
    /// The parent; the child has this pid.
    Parent(i32),
    /// The child.
    Child,
}

/// Whom [`wait`] waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whom {
    /// Any child.
    Any,
    /// The child with this pid.
    Child(i32),
}

/// Whether [`wait`] returns at once when nobody has ended yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// Sleep until a child ends.
    Block,
    /// Only look.
    Look,
}

/// How a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// By itself, with this status (0..=255).
    Exited(i32),
    /// By this signal.
    Signalled(i32),
}

impl Ended {
    /// The status a shell shows: the exit status, or 128 + signal.
    #[must_use]
    pub fn shell_status(self) -> i32 {
        match self {
            Ended::Exited(status) => status,
            Ended::Signalled(signal) => 128 + signal,
        }
    }
}

/// How many threads this process has, by field 20 of `/proc/self/stat` (proc(5)); `None` where
/// that file does not exist or is not understood.
#[must_use]
pub fn threads() -> Option<u64> {
    let text = std::fs::read("/proc/self/stat").ok()?;
    let after = text.iter().rposition(|&byte| byte == b')')?;
    let rest = std::str::from_utf8(text.get(after + 1..)?).ok()?;
    rest.split_ascii_whitespace().nth(17)?.parse().ok()
}

/// Forks.
///
/// # Errors
/// What fork(2) says; `InvalidInput` if the process has more than one thread.
pub fn fork() -> io::Result<Fork> {
    if threads().is_some_and(|count| count > 1) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "fork needs a process with a single thread",
        ));
    }
    io::stdout().flush()?;
    // SAFETY: with a single thread no lock can be held by a thread that the child lacks, so the
    // child's copy of the process is as consistent as the parent's.
    let pid = crate::check(unsafe { libc::fork() })?;
    Ok(if pid == 0 {
        Fork::Child
    } else {
        Fork::Parent(pid)
    })
}

/// Forks a child that runs `work`, flushes standard output and exits with the status it returns.
///
/// # Errors
/// As [`fork`].
pub fn start(work: impl FnOnce() -> i32) -> io::Result<i32> {
    match fork()? {
        Fork::Parent(child) => Ok(child),
        Fork::Child => {
            let status = work();
            // A child that could not print what it was asked to print has failed.
            let status = if io::stdout().flush().is_err() {
                1
            } else {
                status
            };
            exit_now(status)
        }
    }
}

/// As [`start`], with a child that has the descriptor table and the directories of this process in common
/// with it (`CLONE_FILES`, `CLONE_FS`).
///
/// # Errors
/// As [`fork`], and what clone(2) says.
pub fn start_beside(work: impl FnOnce() -> i32) -> io::Result<i32> {
    if threads().is_some_and(|count| count > 1) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    io::stdout().flush()?;
    let flags = libc::CLONE_FILES | libc::CLONE_FS | libc::SIGCHLD;
    // SAFETY: as in `fork`; without a stack of its own the child goes on with a copy of this one.
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) };
    match crate::check(i32::try_from(pid).unwrap_or(-1))? {
        0 => exit_now(work()),
        child => Ok(child),
    }
}

/// Ends the process without running destructors or flushing.
pub fn exit_now(status: i32) -> ! {
    // SAFETY: _exit has no preconditions.
    unsafe { libc::_exit(status) }
}

/// Replaces the program. `SIGPIPE`, which the standard library ignores, gets its default action
/// back, as every program expects. Returns only when it failed.
#[must_use]
pub fn exec(path: &CStr, arguments: &[CString], environment: &[CString]) -> io::Error {
    let pointers = |strings: &[CString]| {
        let ends = std::iter::once(std::ptr::null());
        strings
            .iter()
            .map(|string| string.as_ptr())
            .chain(ends)
            .collect::<Vec<_>>()
    };
    let (argv, envp) = (pointers(arguments), pointers(environment));
    default_action(libc::SIGPIPE);
    // SAFETY: `path` and all strings are NUL-terminated and live until the call returns; both
    // lists end with a null pointer.
    unsafe { libc::execve(path.as_ptr(), argv.as_ptr(), envp.as_ptr()) };
    io::Error::last_os_error()
}

/// Waits for a child to end; `None` only with [`Patience::Look`] and nobody ended.
///
/// # Errors
/// `ECHILD` if there is no such child.
pub fn wait(whom: Whom, patience: Patience) -> io::Result<Option<(i32, Ended)>> {
    let target = match whom {
        Whom::Any => -1,
        Whom::Child(pid) if pid > 0 => pid,
        Whom::Child(_) => return Err(io::Error::from_raw_os_error(libc::ECHILD)),
    };
    let options = match patience {
        Patience::Block => 0,
        Patience::Look => libc::WNOHANG,
    };
    loop {
        let mut status = 0;
        // SAFETY: `status` is a valid int to write to.
        let pid = match crate::check(unsafe { libc::waitpid(target, &raw mut status, options) }) {
            Ok(0) => return Ok(None),
            Ok(pid) => pid,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if libc::WIFEXITED(status) {
            return Ok(Some((pid, Ended::Exited(libc::WEXITSTATUS(status)))));
        }
        if libc::WIFSIGNALED(status) {
            return Ok(Some((pid, Ended::Signalled(libc::WTERMSIG(status)))));
        }
    }
}

/// Waits until the child `pid` ends.
///
/// # Errors
/// `ECHILD` if there is no such child.
pub fn wait_for(pid: i32) -> io::Result<Ended> {
    match wait(Whom::Child(pid), Patience::Block)? {
        Some((_, ended)) => Ok(ended),
        None => Err(io::Error::from_raw_os_error(libc::ECHILD)),
    }
}

/// Sends `signal` to `pid` (kill(2)); signal 0 only asks whether that is possible.
///
/// # Errors
/// `ESRCH`, `EPERM`, `EINVAL`.
pub fn kill(pid: i32, signal: i32) -> io::Result<()> {
    // SAFETY: no memory is involved.
    crate::check(unsafe { libc::kill(pid, signal) }).map(drop)
}

/// Gives `signal` its default action; an impossible signal is left as it is.
pub fn default_action(signal: i32) {
    // SAFETY: SIG_DFL is a valid disposition and refers to no code of ours.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
}

/// Ignores a signal from now on.
pub fn ignore(signal: i32) {
    // SAFETY: SIG_IGN is a valid disposition and refers to no code of ours.
    unsafe { libc::signal(signal, libc::SIG_IGN) };
}

/// User ids and group ids: real and effective user, real and effective group.
#[must_use]
pub fn ids() -> [u32; 4] {
    // SAFETY: these calls have no preconditions and cannot fail.
    unsafe {
        [
            libc::getuid(),
            libc::geteuid(),
            libc::getgid(),
            libc::getegid(),
        ]
    }
}

/// Sleeps by nanosleep(2), returning the time that was left if a signal interrupted it.
#[must_use]
pub fn nanosleep(duration: Duration) -> Duration {
    let request = libc::timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(duration.subsec_nanos()),
    };
    let mut left = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: both pointers are to valid timespecs.
    if unsafe { libc::nanosleep(&raw const request, &raw mut left) } == 0 {
        return Duration::ZERO;
    }
    let seconds = u64::try_from(left.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(left.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::{Ended, fork, kill, threads, wait_for};

    #[test]
    fn refuses_to_fork_with_threads() {
        // The test runner has a thread per test beside its own.
        assert!(threads().is_some_and(|count| count > 1));
        let error = fork().expect_err("there are threads");
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    }

    #[test]
    fn nobody_waits_for_strangers() {
        for pid in [-1, 0, 1] {
            let error = wait_for(pid).expect_err("this is no child");
            assert_eq!(error.raw_os_error(), Some(crate::ECHILD));
        }
        assert!(kill(std::process::id().cast_signed(), 0).is_ok());
        assert_eq!(Ended::Signalled(9).shell_status(), 137);
        assert_eq!(Ended::Exited(3).shell_status(), 3);
    }
}
