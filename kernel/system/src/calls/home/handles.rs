//! Processes held as files: pidfd_send_signal(2), and waitid(2) by a descriptor.
//!
//! Law: a handle means the process that it was made for; when that is gone there is nobody.

use super::signals::{info_of, send, user_info};
use crate::dispatch::HomeCall;
use crate::files::OpenFile;
use crate::signals::SI_USER;
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

    /// The pid behind a pidfd, and whether the descriptor does not wait.
    ///
    /// # Errors
    /// EBADF if it is none.
    pub(super) fn handle(&mut self, fd: u64) -> Result<(Option<u32>, bool), Errno> {
        let file = self.open_file(fd)?;
        let process = file.process().ok_or(Errno::EBADF)?;
        let known = self.system.homes.get(&process.pid);
        let same = known.is_some_and(|home| Arc::ptr_eq(&home.exit, &process.exit));
        let patient = file.flags() & O_NONBLOCK == 0;
        Ok((same.then_some(process.pid), !patient))
    }
}

/// pidfd_send_signal(2).
pub fn pidfd_send_signal(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    let [fd, signal, _, flags, ..] = call.args;
    if flags as u32 != 0 {
        return Err(Errno::EINVAL.into());
    }
    let directory = call.open_file(fd)?.process_directory();
    let pid = match directory.filter(|pid| call.system.homes.contains_key(pid)) {
        Some(pid) => pid,
        None if directory.is_some() => return Err(Errno::ESRCH.into()),
        None => call.handle(fd)?.0.ok_or(Errno::ESRCH)?,
    };
    call.check_input(2)?;
    let info = match call.inputs.get(2) {
        None => info_of(call, signal & 0xffff_ffff, SI_USER)?,
        Some(_) => {
            let info = user_info(call, pid, signal & 0xffff_ffff, 2)?;
            let named = call.input(2).first_chunk::<4>().copied();
            if named.map(u32::from_le_bytes) != Some(signal as u32) {
                return Err(Errno::EINVAL.into());
            }
            info
        }
    };
    send(call, info, None, |home| home.pid == pid)
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
