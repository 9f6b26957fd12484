//! Signals for programs that look closely: masks, waits for every change of a child, restarts.
//!
//! Law: one call of the operating system each, with its error. Handlers are those of `raw`, which only
//! note what came.

use std::io;
use std::time::Duration;

/// What became of a child, as waitpid(2) tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It ended by itself, with this status.
    Exited(i32),
    /// It was ended by this signal.
    Killed(i32),
    /// It stopped by this signal.
    Stopped(i32),
    /// It goes on after a stop.
    Continued,
}

/// What a status of waitpid(2) says.
#[must_use]
pub fn change(status: i32) -> Change {
    if libc::WIFEXITED(status) {
        Change::Exited(libc::WEXITSTATUS(status))
    } else if libc::WIFSTOPPED(status) {
        Change::Stopped(libc::WSTOPSIG(status))
    } else if libc::WIFCONTINUED(status) {
        Change::Continued
    } else {
        Change::Killed(libc::WTERMSIG(status))
    }
}

/// Waits for the next change of a child: its end, a stop, or its going on.
///
/// # Errors
/// What waitpid(2) says.
pub fn next_change(child: i32) -> io::Result<Change> {
    let mut status = 0;
    let options = libc::WUNTRACED | libc::WCONTINUED;
    loop {
        // SAFETY: `status` is a valid int to write to.
        let pid = crate::check(unsafe { libc::waitpid(child, &raw mut status, options) });
        match pid {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
            Ok(_) => return Ok(change(status)),
        }
    }
}

fn set_of(signals: &[i32]) -> libc::sigset_t {
    // SAFETY: a set is plain data; it is initialised before it is used.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        for signal in signals {
            libc::sigaddset(&raw mut set, *signal);
        }
        set
    }
}

/// Whether [`mask`] adds to what the calling thread blocks or takes from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mask {
    /// These are blocked, too.
    Block,
    /// These are let through.
    Unblock,
}

/// Changes what the calling thread blocks.
///
/// # Errors
/// What pthread_sigmask(3) says.
pub fn mask(how: Mask, signals: &[i32]) -> io::Result<()> {
    let how = match how {
        Mask::Block => libc::SIG_BLOCK,
        Mask::Unblock => libc::SIG_UNBLOCK,
    };
    let set = set_of(signals);
    // SAFETY: the set is valid, and the old one is not wanted.
    match unsafe { libc::pthread_sigmask(how, &raw const set, std::ptr::null_mut()) } {
        0 => Ok(()),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}

/// Waits until a signal has been handled, with everything let through but these (sigsuspend(2)).
pub fn suspend_but(blocked: &[i32]) {
    let set = set_of(blocked);
    // SAFETY: the set is valid for reading.
    unsafe { libc::sigsuspend(&raw const set) };
}

/// The signals that wait for the calling thread.
#[must_use]
pub fn pending() -> Vec<i32> {
    let mut set = set_of(&[]);
    // SAFETY: the set is valid for reading and writing; numbers are possible ones.
    unsafe {
        libc::sigpending(&raw mut set);
        let waits = |signal: &i32| libc::sigismember(&raw const set, *signal) == 1;
        (1..=64).filter(waits).collect()
    }
}

/// Takes one of these signals, which must be blocked (sigtimedwait(2)): its number and code; `None`
/// when the time was over.
///
/// # Errors
/// What sigtimedwait(2) says but `EAGAIN`.
pub fn take(signals: &[i32], limit: Duration) -> io::Result<Option<(i32, i32)>> {
    let set = set_of(signals);
    let limit = libc::timespec {
        tv_sec: i64::try_from(limit.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(limit.subsec_nanos()),
    };
    // SAFETY: all pointers are to locals that live through the call.
    let (result, info) = unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        let result = libc::sigtimedwait(&raw const set, &raw mut info, &raw const limit);
        (result, info)
    };
    match crate::check(result) {
        Ok(signal) => Ok(Some((signal, info.si_code))),
        Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Runs `work` on a thread whose handlers run on a stack of their own if they ask for it
/// (`SA_ONSTACK`).
pub fn with_own_stack<T>(work: impl FnOnce() -> T) -> T {
    let mut memory = vec![0_u8; 64 << 10];
    let stack = libc::stack_t {
        ss_sp: memory.as_mut_ptr().cast(),
        ss_flags: 0,
        ss_size: memory.len(),
    };
    // SAFETY: an old stack of zeros is a valid value to be overwritten.
    let mut before: libc::stack_t = unsafe { std::mem::zeroed() };
    // SAFETY: the memory stays until the old stack is put back, below.
    unsafe { libc::sigaltstack(&raw const stack, &raw mut before) };
    let result = work();
    // SAFETY: what was there before is valid as it was.
    unsafe { libc::sigaltstack(&raw const before, std::ptr::null_mut()) };
    result
}
