//! Things that are waited for: counters, timers, signals, and sets of descriptors.
//!
//! Law: every descriptor that is made here is owned by what is returned.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

fn owned(fd: libc::c_int) -> io::Result<OwnedFd> {
    let fd = crate::check(fd)?;
    // SAFETY: the call has just made it, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// eventfd(2), as a semaphore or not.
///
/// # Errors
/// What eventfd(2) says.
pub fn counter(count: u32, semaphore: bool) -> io::Result<OwnedFd> {
    let flags = if semaphore { libc::EFD_SEMAPHORE } else { 0 };
    // SAFETY: no pointers are involved.
    owned(unsafe { libc::eventfd(count, flags) })
}

/// A timer of timerfd_create(2) on the monotonic clock, set to expire after `first` and then every
/// `interval`, which may be zero.
///
/// # Errors
/// What the calls say.
pub fn timer(first: Duration, interval: Duration) -> io::Result<OwnedFd> {
    // SAFETY: no pointers are involved.
    let fd = owned(unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, 0) })?;
    let setting = libc::itimerspec {
        it_interval: timespec(interval),
        it_value: timespec(first),
    };
    // SAFETY: the setting is valid for reading, and the old one is not wanted.
    crate::check(unsafe {
        libc::timerfd_settime(fd.as_raw_fd(), 0, &raw const setting, std::ptr::null_mut())
    })?;
    Ok(fd)
}

fn timespec(span: Duration) -> libc::timespec {
    libc::timespec {
        tv_sec: i64::try_from(span.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(span.subsec_nanos()),
    }
}

/// Blocks these signals, and makes a descriptor that reads them (signalfd(2)).
///
/// # Errors
/// What the calls say.
pub fn signals(numbers: &[i32]) -> io::Result<OwnedFd> {
    // SAFETY: the set is initialised by sigemptyset before it is used, and valid throughout.
    let fd = unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        for number in numbers {
            libc::sigaddset(&raw mut set, *number);
        }
        crate::check(libc::sigprocmask(
            libc::SIG_BLOCK,
            &raw const set,
            std::ptr::null_mut(),
        ))?;
        libc::signalfd(-1, &raw const set, 0)
    };
    owned(fd)
}

/// A timer of timer_create(2) that sends this signal after `first` and then every `interval`.
/// It lives as long as the process. Returns its number.
///
/// # Errors
/// What the calls say.
pub fn signal_timer(signal: i32, first: Duration, interval: Duration) -> io::Result<usize> {
    let mut id: libc::timer_t = std::ptr::null_mut();
    let setting = libc::itimerspec {
        it_interval: timespec(interval),
        it_value: timespec(first),
    };
    // SAFETY: a zeroed sigevent is valid; all pointers are to locals.
    unsafe {
        let mut event: libc::sigevent = std::mem::zeroed();
        event.sigev_notify = libc::SIGEV_SIGNAL;
        event.sigev_signo = signal;
        crate::check(libc::timer_create(
            libc::CLOCK_MONOTONIC,
            &raw mut event,
            &raw mut id,
        ))?;
        crate::check(libc::timer_settime(
            id,
            0,
            &raw const setting,
            std::ptr::null_mut(),
        ))?;
    }
    Ok(id.addr())
}

/// A process as a descriptor (pidfd_open(2)).
///
/// # Errors
/// What pidfd_open(2) says.
pub fn process(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: no pointers are involved.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    owned(libc::c_int::try_from(fd).unwrap_or(-1))
}

/// Sends a signal to the process of a descriptor (pidfd_send_signal(2)).
///
/// # Errors
/// What pidfd_send_signal(2) says.
pub fn send(process: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    // SAFETY: the only pointer is null, which is allowed.
    let result = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            process.as_raw_fd(),
            signal,
            std::ptr::null::<libc::siginfo_t>(),
            0,
        )
    };
    crate::check(libc::c_int::try_from(result).unwrap_or(-1))?;
    Ok(())
}

/// A set of descriptors (epoll(7)).
#[derive(Debug)]
pub struct Set(OwnedFd);

impl Set {
    /// An empty set.
    ///
    /// # Errors
    /// What epoll_create1(2) says.
    pub fn new() -> io::Result<Set> {
        // SAFETY: no pointers are involved.
        owned(unsafe { libc::epoll_create1(0) }).map(Set)
    }

    /// The number of its descriptor.
    #[must_use]
    pub fn number(&self) -> i32 {
        self.0.as_raw_fd()
    }

    /// Adds a descriptor, to be named `name` when it is ready for one of the `events` (`EPOLL*`).
    ///
    /// # Errors
    /// What epoll_ctl(2) says.
    pub fn add(&self, fd: BorrowedFd<'_>, events: i32, name: u64) -> io::Result<()> {
        let mut event = libc::epoll_event {
            events: events.cast_unsigned(),
            u64: name,
        };
        // SAFETY: the event is valid for reading.
        crate::check(unsafe {
            libc::epoll_ctl(
                self.0.as_raw_fd(),
                libc::EPOLL_CTL_ADD,
                fd.as_raw_fd(),
                &raw mut event,
            )
        })?;
        Ok(())
    }

    /// Waits until something is ready: the events and names, none if the time was over.
    ///
    /// # Errors
    /// What epoll_wait(2) says.
    pub fn wait(&self, timeout_ms: i32) -> io::Result<Vec<(u32, u64)>> {
        const MOST: usize = 16;
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; MOST];
        // SAFETY: the array is valid for writing `MOST` events.
        let count = crate::check(unsafe {
            libc::epoll_wait(
                self.0.as_raw_fd(),
                events.as_mut_ptr(),
                MOST as i32,
                timeout_ms,
            )
        })?;
        let found = events.iter().take(count.unsigned_abs() as usize);
        Ok(found.map(|event| (event.events, event.u64)).collect())
    }
}
