//! Descriptors through sockets, and IPC of System V.
//!
//! Law: what is received is owned by who receives it; semaphores and queues are removed when their
//! handle goes.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Room for the control message of one descriptor, aligned as its header.
#[repr(C, align(8))]
struct Control([u8; 24]);

/// Sends one byte and a descriptor through a local socket.
///
/// # Errors
/// What sendmsg(2) says.
pub fn send_descriptor(socket: BorrowedFd<'_>, fd: BorrowedFd<'_>) -> io::Result<()> {
    let mut control = Control([0; 24]);
    control.0[..8].copy_from_slice(&20_u64.to_ne_bytes());
    control.0[8..12].copy_from_slice(&libc::SOL_SOCKET.to_ne_bytes());
    control.0[12..16].copy_from_slice(&libc::SCM_RIGHTS.to_ne_bytes());
    control.0[16..20].copy_from_slice(&fd.as_raw_fd().to_ne_bytes());
    let mut byte = [b'd'];
    let mut piece = libc::iovec {
        iov_base: byte.as_mut_ptr().cast(),
        iov_len: 1,
    };
    // SAFETY: a zeroed msghdr is valid; every pointer is to a local that outlives the call.
    let sent = unsafe {
        let mut message: libc::msghdr = std::mem::zeroed();
        message.msg_iov = &raw mut piece;
        message.msg_iovlen = 1;
        message.msg_control = control.0.as_mut_ptr().cast();
        message.msg_controllen = control.0.len();
        libc::sendmsg(socket.as_raw_fd(), &raw const message, libc::MSG_NOSIGNAL)
    };
    if sent == 1 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Receives what [`send_descriptor`] has sent.
///
/// # Errors
/// What recvmsg(2) says; `UnexpectedEof` if no descriptor came.
pub fn receive_descriptor(socket: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let mut control = Control([0; 24]);
    let mut byte = [0_u8];
    let mut piece = libc::iovec {
        iov_base: byte.as_mut_ptr().cast(),
        iov_len: 1,
    };
    // SAFETY: a zeroed msghdr is valid; every pointer is to a local that outlives the call.
    let (count, length) = unsafe {
        let mut message: libc::msghdr = std::mem::zeroed();
        message.msg_iov = &raw mut piece;
        message.msg_iovlen = 1;
        message.msg_control = control.0.as_mut_ptr().cast();
        message.msg_controllen = control.0.len();
        let count = libc::recvmsg(socket.as_raw_fd(), &raw mut message, 0);
        (count, message.msg_controllen)
    };
    if count < 0 {
        return Err(io::Error::last_os_error());
    }
    if length < 20 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let number =
        libc::c_int::from_ne_bytes([control.0[16], control.0[17], control.0[18], control.0[19]]);
    // SAFETY: the kernel has just opened it for this process, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// A private set of semaphores (semget(2)).
#[derive(Debug)]
pub struct Semaphores(i32);

impl Semaphores {
    /// So many semaphores, all zero.
    ///
    /// # Errors
    /// What semget(2) says.
    pub fn new(count: i32) -> io::Result<Semaphores> {
        // SAFETY: no pointers are involved.
        let id = unsafe { libc::semget(libc::IPC_PRIVATE, count, 0o600) };
        crate::check(id).map(Semaphores)
    }

    /// Adds to one of them, or takes from it as soon as there is so much. With `undo` it is taken back
    /// when the process ends.
    ///
    /// # Errors
    /// What semop(2) says.
    pub fn change(&self, number: u16, by: i16, undo: bool) -> io::Result<()> {
        let mut operation = libc::sembuf {
            sem_num: number,
            sem_op: by,
            sem_flg: if undo { libc::SEM_UNDO as i16 } else { 0 },
        };
        // SAFETY: the one operation is valid for reading.
        crate::check(unsafe { libc::semop(self.0, &raw mut operation, 1) })?;
        Ok(())
    }

    /// The value of one of them.
    ///
    /// # Errors
    /// What semctl(2) says.
    pub fn value(&self, number: i32) -> io::Result<i32> {
        // SAFETY: no pointers are involved.
        crate::check(unsafe { libc::semctl(self.0, number, libc::GETVAL) })
    }

    /// Removes the set: who waits for it is told so.
    pub fn remove(self) {
        // SAFETY: no pointers are involved. A set that is gone already is no error here.
        let _ = unsafe { libc::semctl(self.0, 0, libc::IPC_RMID) };
    }
}

/// A private queue of messages (msgget(2)).
#[derive(Debug)]
pub struct Queue(i32);

/// A message of one number: `struct msgbuf`.
#[repr(C)]
struct Message {
    kind: i64,
    value: u64,
}

impl Queue {
    /// An empty queue.
    ///
    /// # Errors
    /// What msgget(2) says.
    pub fn new() -> io::Result<Queue> {
        // SAFETY: no pointers are involved.
        let id = unsafe { libc::msgget(libc::IPC_PRIVATE, 0o600) };
        crate::check(id).map(Queue)
    }

    /// Sends a number as a message of a kind, which is at least 1.
    ///
    /// # Errors
    /// What msgsnd(2) says.
    pub fn send(&self, kind: i64, value: u64) -> io::Result<()> {
        let message = Message { kind, value };
        // SAFETY: the message is valid for reading: a kind and eight bytes.
        crate::check(unsafe { libc::msgsnd(self.0, (&raw const message).cast(), 8, 0) })?;
        Ok(())
    }

    /// Receives the next message of a kind: the number in it.
    ///
    /// # Errors
    /// What msgrcv(2) says.
    pub fn receive(&self, kind: i64) -> io::Result<u64> {
        let mut message = Message { kind: 0, value: 0 };
        // SAFETY: the message is valid for writing: a kind and eight bytes.
        let count = unsafe { libc::msgrcv(self.0, (&raw mut message).cast(), 8, kind, 0) };
        if count == 8 {
            Ok(message.value)
        } else {
            Err(io::Error::last_os_error())
        }
    }

    /// Removes the queue: who waits for it is told so.
    pub fn remove(self) {
        // SAFETY: the pointer is not used by this command. A queue that is gone is no error here.
        let _ = unsafe { libc::msgctl(self.0, libc::IPC_RMID, std::ptr::null_mut()) };
    }
}
