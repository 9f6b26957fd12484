//! Processes and threads held as files: pidfd_send_signal(2), and waitid(2) by a descriptor.
//!
//! Law: a handle means the one that it was made for; when that is gone there is nobody.

use super::signals::{info_of, send, user_info};
use crate::dispatch::HomeCall;
use crate::files::{OpenFile, Peers};
use crate::signals::{SI_TKILL, SI_USER};
use crate::wait::Stop;
use abi::Errno;
use abi::layout::{O_NONBLOCK, O_PATH};
use alloc::sync::Arc;

impl HomeCall<'_> {
    /// The open file of a descriptor of the caller's.
    fn open_file(&mut self, fd: u64) -> Result<Arc<OpenFile>, Errno> {
        let fd = u32::try_from(fd as i32).map_err(|_| Errno::EBADF)?;
        let files = self.home().files.as_ref().ok_or(Errno::ESRCH)?;
        files.get(fd)
    }

    /// Who is behind a pidfd, and whether the descriptor does not wait.
    ///
    /// # Errors
    /// EBADF if it is none.
    pub(super) fn handle(&mut self, fd: u64) -> Result<(Option<Held>, bool), Errno> {
        let file = self.open_file(fd)?;
        let process = file.process().ok_or(Errno::EBADF)?;
        let known = match process.thread {
            Some(tid) => self.system.thread_exit(tid).map(|(_, exit)| exit),
            None => self.system.exit_of(process.pid),
        };
        let same = known.is_some_and(|exit| Arc::ptr_eq(&exit, &process.exit));
        let held = Held {
            pid: process.pid,
            thread: process.thread,
        };
        let patient = file.flags() & O_NONBLOCK == 0;
        Ok((same.then_some(held), !patient))
    }
}

/// A process, or a thread of it, that is held by a descriptor.
#[derive(Clone, Copy)]
pub(super) struct Held {
    pid: u32,
    thread: Option<u32>,
}

impl Held {
    /// The number that it was opened by.
    pub(super) fn number(self) -> u32 {
        self.thread.unwrap_or(self.pid)
    }
}

/// Whom a signal by a descriptor is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scope {
    Thread,
    Process,
    Group,
}

impl Scope {
    /// What the flags of pidfd_send_signal(2) ask for (Linux 6.9), if they ask for one thing at most.
    fn asked(flags: u32) -> Result<Option<Scope>, Errno> {
        match flags {
            0 => Ok(None),
            1 => Ok(Some(Scope::Thread)),
            2 => Ok(Some(Scope::Process)),
            4 => Ok(Some(Scope::Group)),
            _ => Err(Errno::EINVAL),
        }
    }
}

/// pidfd_send_signal(2).
pub fn pidfd_send_signal(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    let [fd, signal, _, flags, ..] = call.args;
    let asked = Scope::asked(flags as u32)?;
    let directory = call.open_file(fd)?.process_directory();
    let held = match directory {
        Some(pid) if call.system.homes.contains_key(&pid) => Some(Held { pid, thread: None }),
        Some(_) => None,
        None => call.handle(fd)?.0,
    };
    let held = held.ok_or(Errno::ESRCH)?;
    let scope = asked.unwrap_or(match held.thread {
        Some(_) => Scope::Thread,
        None => Scope::Process,
    });
    call.check_input(2)?;
    let info = match call.inputs.get(2) {
        None => {
            let code = match scope {
                Scope::Thread => SI_TKILL,
                Scope::Process | Scope::Group => SI_USER,
            };
            info_of(call, signal & 0xffff_ffff, code)?
        }
        Some(_) => {
            // Nobody is a group of its own.
            let target = if scope == Scope::Group { 0 } else { held.pid };
            let info = user_info(call, target, signal & 0xffff_ffff, 2)?;
            let named = call.input(2).first_chunk::<4>().copied();
            if named.map(u32::from_le_bytes) != Some(signal as u32) {
                return Err(Errno::EINVAL.into());
            }
            info
        }
    };
    match scope {
        Scope::Thread => {
            let tid = held.number();
            send(call, info, Some(tid), |home| {
                home.pid == held.pid && home.threads.contains_key(&tid)
            })
        }
        Scope::Process => send(call, info, None, |home| home.pid == held.pid),
        Scope::Group => send(call, info, None, |home| home.group == held.number()),
    }
}

/// An error that is told only if the descriptor can be used so:
/// `(fd, [`FdUse`](crate::dispatch::FdUse), error)`.
pub fn check_descriptor(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    let [fd, use_of, error, ..] = call.args;
    let fd = u32::try_from(fd as i32).map_err(|_| Errno::EBADF)?;
    let file = call.home().files.as_ref().ok_or(Errno::EBADF)?.get(fd)?;
    let fits = match use_of {
        1 => file.readable(),
        2 => file.writable(),
        4 => true,
        3 if file.flags() & O_PATH == 0 => {
            if !file.is_socket() {
                return Err(Errno::ENOTSOCK.into());
            }
            true
        }
        5 if file.flags() & O_PATH == 0 => {
            if !file.is_event() {
                return Err(Errno::EINVAL.into());
            }
            true
        }
        _ => file.flags() & O_PATH == 0,
    };
    let works = match use_of {
        1 => file.can_be_read(),
        2 => file.can_be_written(),
        _ => true,
    };
    match (fits, error) {
        (false, _) => Err(Errno::EBADF.into()),
        _ if !works => Err(Errno::EINVAL.into()),
        (true, 0) => Ok(0),
        (true, error) => Err(Errno(error as i32).into()),
    }
}
