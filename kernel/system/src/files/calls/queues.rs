//! Message queues of POSIX: mq_open(3) and its relatives, as the kernel is called for them.
//!
//! Law: as for all objects, a call that waits has had no effect. How long it may wait the body knows, which
//! tells with argument 4 when the time is over.

use super::super::inode::Node;
use super::super::objects::queue::{PRIORITIES, Registered, Told, Wanted};
use super::super::objects::{Object, Queue};
use super::super::open::OpenFile;
use super::super::socket::Socket;
use super::{CallResult, FileCall, usable};
use crate::wait::Stop;
use abi::Errno;
use abi::layout::{O_ACCMODE, O_CREAT, O_EXCL, O_NONBLOCK, O_RDONLY, O_RDWR, O_WRONLY, S_IFREG};
use alloc::sync::Arc;

const MQ_TIMEDRECEIVE: u32 = 243;
/// Bytes of a `struct mq_attr`.
const ATTRIBUTES: usize = 64;

fn word(bytes: &[u8], at: usize) -> Result<i64, Errno> {
    let bytes = bytes
        .get(at * 8..at * 8 + 8)
        .and_then(|bytes| bytes.try_into().ok());
    bytes.map(i64::from_le_bytes).ok_or(Errno::EFAULT)
}

/// `mq_open(name, flags, mode, attributes)`; the name has no slash any more.
pub fn mq_open(call: &mut FileCall) -> CallResult {
    const READ: u32 = 4;
    const WRITE: u32 = 2;
    let flags = call.args[1] as u32;
    let access = match flags & O_ACCMODE {
        O_RDONLY => READ,
        O_WRONLY => WRITE,
        O_RDWR => READ | WRITE,
        _ => return Err(Errno::EINVAL.into()),
    };
    let limits = match call.inputs[3] {
        Some(_) => {
            let bytes = call.input(3);
            Some((word(bytes, 1)?, word(bytes, 2)?))
        }
        None => None,
    };
    let wanted = Wanted {
        name: call.input(0),
        creates: flags & O_CREAT != 0,
        exclusive: flags & O_EXCL != 0,
        mode: call.args[2] as u32 & !call.state.umask(),
        limits,
        user: call.who.real_uid,
        room: call.view.limit(call.pid, 12),
        access,
    };
    if call.missed.get() {
        return Err(Errno::EFAULT.into());
    }
    let fd = call.state.free_descriptor(0)?;
    let queue = call.fs.queues.open(&wanted, &call.who, call.fs.wakes())?;
    let open = flags & (O_ACCMODE | O_NONBLOCK);
    let mode = S_IFREG | queue.mode;
    let file = call
        .fs
        .new_object(Object::Queue(queue), mode, open, call.now_ns)?;
    call.state.put(fd, file, true);
    Ok(u64::from(fd))
}

/// `mq_unlink(name)`.
pub fn mq_unlink(call: &mut FileCall) -> CallResult {
    call.fs.queues.unlink(call.input(0), &call.who)?;
    Ok(0)
}

fn queue_of(file: &OpenFile) -> Result<Arc<Queue>, Errno> {
    match file.inode().node() {
        Node::Object(Object::Queue(queue)) => Ok(queue.clone()),
        _ => Err(Errno::EBADF),
    }
}

/// Waiting that has taken too long.
fn in_time(call: &FileCall, file: &OpenFile, stop: Stop) -> Stop {
    let over = call.args[4] == 0 && file.flags() & O_NONBLOCK == 0;
    if stop == Stop::Wait && over {
        Errno::ETIMEDOUT.into()
    } else {
        stop
    }
}

/// `mq_timedsend(fd, text, length, priority)` as the body has prepared it: argument 4 is 0 if it may not
/// wait any more.
pub fn mq_timedsend(call: &mut FileCall) -> CallResult {
    let file = usable(call, 0)?;
    let queue = queue_of(&file)?;
    if !file.writable() {
        return Err(Errno::EBADF.into());
    }
    let [_, _, length, priority, ..] = call.args;
    if priority >= PRIORITIES {
        return Err(Errno::EINVAL.into());
    }
    if length > queue.size_max as u64 {
        return Err(Errno::EMSGSIZE.into());
    }
    let text = call.input(1);
    if call.missed.get() {
        return Err(Errno::EFAULT.into());
    }
    let sender = (call.pid, call.who.real_uid);
    let waits = |tid| call.view.is_in_call(tid, MQ_TIMEDRECEIVE);
    let sent = queue.send(
        (text, priority as u32),
        sender,
        waits,
        file.patience(call.tid),
    );
    let told = sent.map_err(|stop| in_time(call, &file, stop))?;
    call.notices.extend(told);
    Ok(0)
}

/// `mq_timedreceive(fd, text, length, priority)`, likewise.
pub fn mq_timedreceive(call: &mut FileCall) -> CallResult {
    let file = usable(call, 0)?;
    let queue = queue_of(&file)?;
    if !file.readable() {
        return Err(Errno::EBADF.into());
    }
    let got = queue.receive(call.args[2], call.tid, file.patience(call.tid));
    let (text, priority) = got.map_err(|stop| in_time(call, &file, stop))?;
    call.output(1, &text);
    call.output(3, &priority.to_le_bytes());
    Ok(text.len() as u64)
}

/// The socket to the kernel that a descriptor of the caller's is.
fn socket_of(call: &FileCall, fd: u32) -> Result<Arc<Socket>, Errno> {
    let file = call.state.get(fd)?;
    match file.inode().node() {
        Node::Object(Object::Socket(socket)) if socket.asks_kernel() => Ok(socket.clone()),
        Node::Object(Object::Socket(_)) => Err(Errno::EINVAL),
        _ => Err(Errno::ENOTSOCK),
    }
}

/// `mq_notify(fd, event)` as the body has prepared it: a `struct sigevent`, or nothing to be told no longer. Buffer
/// 2 is what a socket is to be told, which is how libraries know which thread is meant.
pub fn mq_notify(call: &mut FileCall) -> CallResult {
    const SIGNAL: i32 = 0;
    const NONE: i32 = 1;
    const THREAD: i32 = 2;
    let wanted = match call.inputs[1] {
        None => None,
        Some(_) => {
            let bytes = call.input(1);
            let value = word(bytes, 0)? as u64;
            let (signal, how) = (word(bytes, 1)? as i32, (word(bytes, 1)? >> 32) as i32);
            let last = abi::signal::SIGNAL_MAX as i32;
            let told = match how {
                NONE => Told::Nothing,
                SIGNAL if (0..=last).contains(&signal) => Told::Signal(signal as u32, value),
                THREAD => {
                    let cookie = *call.input(2).first_chunk().ok_or(Errno::EFAULT)?;
                    let fd = u32::try_from(signal).map_err(|_| Errno::EBADF)?;
                    Told::Socket(socket_of(call, fd)?, cookie)
                }
                _ => return Err(Errno::EINVAL.into()),
            };
            Some(Registered {
                pid: call.pid,
                table: call.state.identity(),
                told,
            })
        }
    };
    let queue = queue_of(&*usable(call, 0)?)?;
    queue.register(call.pid, wanted, |pid| call.view.exists(pid))?;
    Ok(0)
}

/// `mq_getsetattr(fd, new, old)`.
pub fn mq_getsetattr(call: &mut FileCall) -> CallResult {
    let new = match call.inputs[1] {
        None => None,
        Some(_) => {
            let flags = word(call.input(1), 0)?;
            if flags & !i64::from(O_NONBLOCK) != 0 {
                return Err(Errno::EINVAL.into());
            }
            Some(flags as u32)
        }
    };
    let file = usable(call, 0)?;
    let queue = queue_of(&file)?;
    let before = i64::from(file.flags() & O_NONBLOCK);
    if let Some(flags) = new {
        let mut cursor = file.cursor();
        cursor.flags = cursor.flags & !O_NONBLOCK | flags;
    }
    let mut old = alloc::vec::Vec::with_capacity(ATTRIBUTES);
    for word in [before, queue.messages_max, queue.size_max, queue.length()] {
        old.extend_from_slice(&word.to_le_bytes());
    }
    old.resize(ATTRIBUTES, 0);
    if call.args[2] != 0 {
        call.output(2, &old);
    }
    Ok(0)
}
