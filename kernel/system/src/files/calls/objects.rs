//! Files without a name: eventfd, timerfd, signalfd, pidfd, inotify and epoll.
//!
//! Law: times come as spans from now, which the caller made by the clock of the process: so a clock
//! that a move has shifted by a little makes nothing come early.

use super::super::inode::Node;
use super::super::objects::{
    Change, Epoll, EventFile, NotifyFile, Object, ProcessHandle, Setting, SignalFile, Takes,
    TimerFile, Watched, notify, set_of,
};
use super::super::open::OpenFile;
use super::super::proc::ProcNode;
use super::super::walk::Follow;
use super::{Base, CallResult, FileCall, usable, walk};
use crate::credentials::SYS_ADMIN;
use crate::files::access::READ;
use crate::wait::Stop;
use abi::Errno;
use abi::layout::{O_CLOEXEC, O_EXCL, O_NONBLOCK, O_RDONLY, O_RDWR};
use alloc::sync::Arc;
use alloc::vec::Vec;

/// Bytes of a `struct epoll_event`, which is packed.
pub const EPOLL_EVENT: usize = 12;

/// Permission bits of a file without a name; it has no type.
const MODE: u32 = 0o600;

/// Opens a file without a name.
fn install(call: &mut FileCall, object: Object, access: u32, flags: u32) -> CallResult {
    let fd = call.state.free_descriptor(0)?;
    let open = access | flags & O_NONBLOCK;
    let file = call.fs.new_object(object, MODE, open, call.now_ns)?;
    call.state.put(fd, file, flags & O_CLOEXEC != 0);
    Ok(u64::from(fd))
}

fn check_flags(flags: u32, known: u32) -> Result<(), Errno> {
    match flags & !known {
        0 => Ok(()),
        _ => Err(Errno::EINVAL),
    }
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    let bytes = bytes.get(at..at + 8)?;
    bytes.try_into().ok().map(u64::from_le_bytes)
}

// ---- eventfd -------------------------------------------------------------------------------------

/// `eventfd(count)`.
pub fn eventfd(call: &mut FileCall) -> CallResult {
    call.args[1] = 0;
    eventfd2(call)
}

/// `eventfd2(count, flags)`.
pub fn eventfd2(call: &mut FileCall) -> CallResult {
    const EFD_SEMAPHORE: u32 = 1;
    let (count, flags) = (call.args[0] as u32, call.args[1] as u32);
    check_flags(flags, EFD_SEMAPHORE | O_CLOEXEC | O_NONBLOCK)?;
    let takes = match flags & EFD_SEMAPHORE {
        0 => Takes::All,
        _ => Takes::One,
    };
    let event = EventFile::new(u64::from(count), takes, call.fs.wakes());
    install(call, Object::Event(event), O_RDWR, flags)
}

// ---- timerfd -------------------------------------------------------------------------------------

/// `timerfd_create(clock, flags)`.
pub fn timerfd_create(call: &mut FileCall) -> CallResult {
    let (clock, flags) = (call.args[0] as i32, call.args[1] as u32);
    check_flags(flags, O_CLOEXEC | O_NONBLOCK)?;
    // Real time, monotonic time, and those that go on in suspend, which does not happen here.
    if !matches!(clock, 0 | 1 | 7 | 8 | 9) {
        return Err(Errno::EINVAL.into());
    }
    let timer = TimerFile::new(call.fs.wakes(), clock);
    install(call, Object::Timer(timer), O_RDWR, flags)
}

fn timer(file: &OpenFile) -> Result<&Arc<TimerFile>, Errno> {
    match file.inode().node() {
        Node::Object(Object::Timer(timer)) => Ok(timer),
        _ => Err(Errno::EINVAL),
    }
}

fn output_setting(call: &mut FileCall, arg: usize, (left, interval): (u64, u64)) {
    for ns in [interval, left] {
        call.output(arg, &(ns / 1_000_000_000).to_le_bytes());
        call.output(arg, &(ns % 1_000_000_000).to_le_bytes());
    }
}

/// `timerfd_settime(fd)` as the caller has prepared it: argument 0 is the descriptor, buffer 2 has
/// three words: the first expiration in ns from now by each of the two clocks, and the interval. No
/// buffer asks which clock it is; argument 4 is 1 for never. The old setting goes to buffer 3.
pub fn timerfd_settime(call: &mut FileCall) -> CallResult {
    let file = usable(call, 0)?;
    let timer = timer(&file)?;
    let words = call.inputs[2].ok_or(Errno::EFAULT)?;
    let word = |at: usize| u64_at(words, at * 8).ok_or(Errno::EFAULT);
    let first = word(usize::from(timer.is_real()))? as i64;
    let setting = Setting {
        first: (call.args[4] == 0).then_some(first),
        interval: word(2)?,
        flags: call.args[1] as u32,
    };
    let before = timer.left(call.now_ns);
    timer.set(setting, call.now_ns, call.fs.alarms());
    output_setting(call, 3, before);
    Ok(0)
}

/// `timerfd_gettime(fd, setting)`.
pub fn timerfd_gettime(call: &mut FileCall) -> CallResult {
    let file = usable(call, 0)?;
    let left = timer(&file)?.left(call.now_ns);
    output_setting(call, 1, left);
    Ok(0)
}

// ---- signalfd ------------------------------------------------------------------------------------

/// `signalfd4(fd, set, bytes, flags)`.
pub fn signalfd4(call: &mut FileCall) -> CallResult {
    let flags = call.args[3] as u32;
    check_flags(flags, O_CLOEXEC | O_NONBLOCK)?;
    if call.args[2] != 8 {
        return Err(Errno::EINVAL.into());
    }
    let set = u64_at(call.input(1), 0).ok_or(Errno::EFAULT)?;
    if call.args[0] as i32 == -1 {
        return install(call, Object::Signal(SignalFile::new(set)), O_RDWR, flags);
    }
    let file = usable(call, 0)?;
    match file.inode().node() {
        Node::Object(Object::Signal(signals)) => signals.change(set),
        _ => return Err(Errno::EINVAL.into()),
    }
    Ok(u64::from(call.args[0] as u32))
}

/// `signalfd(fd, set, bytes)`.
pub fn signalfd(call: &mut FileCall) -> CallResult {
    call.args[3] = 0;
    signalfd4(call)
}

// ---- pidfd ---------------------------------------------------------------------------------------

/// `pidfd_open(pid, flags)`.
pub fn pidfd_open(call: &mut FileCall) -> CallResult {
    /// `PIDFD_THREAD`: the thread with that number alone (Linux 6.9).
    const THREAD: u32 = O_EXCL;
    let (number, flags) = (call.args[0] as i32, call.args[1] as u32);
    check_flags(flags, O_NONBLOCK | THREAD)?;
    let number = u32::try_from(number).ok().filter(|number| *number != 0);
    let number = number.ok_or(Errno::EINVAL)?;
    let handle = if flags & THREAD != 0 {
        let (pid, exit) = call.view.thread_exit(number).ok_or(Errno::ESRCH)?;
        ProcessHandle {
            pid,
            thread: Some(number),
            exit,
        }
    } else {
        let exit = call.view.exit_of(number).ok_or_else(|| {
            // A thread that is not the first of its process does not stand for it.
            match call.view.thread_exit(number) {
                Some(_) => Errno::EINVAL,
                None => Errno::ESRCH,
            }
        })?;
        ProcessHandle {
            pid: number,
            thread: None,
            exit,
        }
    };
    install(call, Object::Process(handle), O_RDWR, flags | O_CLOEXEC)
}

/// `pidfd_getfd(pidfd, targetfd, flags)`: the caller gets an open file of another process.
pub fn pidfd_getfd(call: &mut FileCall) -> CallResult {
    if call.args[2] as u32 != 0 {
        return Err(Errno::EINVAL.into());
    }
    let handle = usable(call, 0)?;
    let process = handle.process().ok_or(Errno::EBADF)?;
    let fd = u32::try_from(call.args[1] as i32).map_err(|_| Errno::EBADF);
    let alive = match process.thread {
        Some(tid) => call.view.thread_exit(tid).map(|(_, exit)| exit),
        None => call.view.exit_of(process.pid),
    };
    if process.pid != call.pid && !alive.is_some_and(|exit| Arc::ptr_eq(&exit, &process.exit)) {
        return Err(Errno::ESRCH.into());
    }
    let found = match process.pid == call.pid {
        true => call.state.get(fd?)?,
        false => call.view.file_of(call.tid, process.pid, fd)?,
    };
    Ok(u64::from(call.state.install(0, found, true)?))
}

// ---- namespaces ----------------------------------------------------------------------------------

/// `setns(fd, kind)`: there is one namespace of each kind, in which the caller is already. That of users
/// cannot be entered again.
pub fn setns(call: &mut FileCall) -> CallResult {
    const USERS: u64 = 0x1000_0000;
    // `CLONE_NEWTIME`, `_NEWNS`, and `_NEWCGROUP` to `_NEWNET`.
    const ALL: u64 = 0x7e02_0080;
    let kinds = call.args[1] & 0xffff_ffff;
    let file = usable(call, 0)?;
    let kind = match file.inode().node() {
        Node::Proc(ProcNode::NamespaceFile(at)) => ProcNode::kind_of_namespace(*at),
        _ if file.process().is_some() && kinds != 0 && kinds & !ALL == 0 => kinds,
        _ => return Err(Errno::EINVAL.into()),
    };
    if (kinds != 0 && kinds != kind) || kind & USERS != 0 {
        return Err(Errno::EINVAL.into());
    }
    if !call.who.has(SYS_ADMIN) {
        return Err(Errno::EPERM.into());
    }
    Ok(0)
}

// ---- epoll ---------------------------------------------------------------------------------------

/// `epoll_create(size)`: the size means nothing, but is checked.
pub fn epoll_create(call: &mut FileCall) -> CallResult {
    if call.args[0] as i32 <= 0 {
        return Err(Errno::EINVAL.into());
    }
    call.args[0] = 0;
    epoll_create1(call)
}

/// `epoll_create1(flags)`.
pub fn epoll_create1(call: &mut FileCall) -> CallResult {
    let flags = call.args[0] as u32;
    check_flags(flags, O_CLOEXEC)?;
    let set = Epoll::new(call.fs.wakes());
    install(call, Object::Epoll(set), O_RDWR, flags)
}

/// `epoll_ctl(epfd, operation, fd, event)`.
pub fn epoll_ctl(call: &mut FileCall) -> CallResult {
    const ADD: u32 = 1;
    const DELETE: u32 = 2;
    const MODIFY: u32 = 3;
    let operation = call.args[1] as u32;
    let wanted = match (operation, call.inputs[3]) {
        (DELETE, _) => None,
        (_, Some(bytes)) => watched(bytes),
        (_, None) => None,
    };
    if operation != DELETE && wanted.is_none() {
        return Err(Errno::EFAULT.into());
    }
    let holder = usable(call, 0)?;
    let target = usable(call, 2)?;
    if !target.is_pollable() {
        return Err(Errno::EPERM.into());
    }
    if Arc::ptr_eq(&holder, &target) {
        return Err(Errno::EINVAL.into());
    }
    let set = set_of(&holder).ok_or(Errno::EINVAL)?;
    let change = match (operation, wanted) {
        (ADD, Some(wanted)) => Change::Add(wanted),
        (MODIFY, Some(wanted)) => Change::Modify(wanted),
        (DELETE, _) => Change::Delete,
        _ => return Err(Errno::EINVAL.into()),
    };
    set.change(call.args[2] as u32, &target, change, &call.asker())?;
    Ok(0)
}

fn watched(bytes: &[u8]) -> Option<Watched> {
    Some(Watched {
        events: u32::from_le_bytes(*bytes.first_chunk()?),
        data: u64_at(bytes, 4)?,
    })
}

/// `epoll_wait(epfd, events, most)`; argument 3 is 0 for one that does not wait.
pub fn epoll_wait(call: &mut FileCall) -> CallResult {
    let holder = usable(call, 0)?;
    let set = set_of(&holder).ok_or(Errno::EINVAL)?;
    let most = call.capacity(1) / EPOLL_EVENT;
    if most == 0 {
        return Err(Errno::EINVAL.into());
    }
    let found = set.take(most, &call.asker());
    if found.is_empty() && call.args[3] != 0 {
        set.queue().wait(call.tid);
        return Err(Stop::Wait);
    }
    let bytes: Vec<u8> = found
        .iter()
        .flat_map(|found| {
            let mut bytes = [0; EPOLL_EVENT];
            bytes[..4].copy_from_slice(&found.events.to_le_bytes());
            bytes[4..].copy_from_slice(&found.data.to_le_bytes());
            bytes
        })
        .collect();
    call.output(1, &bytes);
    Ok(found.len() as u64)
}

// ---- inotify -------------------------------------------------------------------------------------

/// `inotify_init1(flags)`.
pub fn inotify_init1(call: &mut FileCall) -> CallResult {
    let flags = call.args[0] as u32;
    check_flags(flags, O_CLOEXEC | O_NONBLOCK)?;
    let file = call.fs.counts.notify.file(call.fs.wakes());
    install(call, Object::Notify(file), O_RDONLY, flags)
}

/// `inotify_init()`.
pub fn inotify_init(call: &mut FileCall) -> CallResult {
    call.args[0] = 0;
    inotify_init1(call)
}

fn notify_of(file: &OpenFile) -> Result<Arc<NotifyFile>, Errno> {
    match file.inode().node() {
        Node::Object(Object::Notify(notify)) => Ok(notify.clone()),
        _ => Err(Errno::EINVAL),
    }
}

/// `inotify_add_watch(fd, path, mask)`.
pub fn inotify_add_watch(call: &mut FileCall) -> CallResult {
    let mask = call.args[2] as u32;
    if mask & notify::IN_KNOWN == 0 {
        return Err(Errno::EINVAL.into());
    }
    let file = usable(call, 0)?;
    let both = notify::IN_MASK_ADD | notify::IN_MASK_CREATE;
    if mask & both == both {
        return Err(Errno::EINVAL.into());
    }
    let watcher = notify_of(&file)?;
    let follow = match mask & notify::IN_DONT_FOLLOW {
        0 => Follow::Always,
        _ => Follow::IfSlash,
    };
    let inode = walk(call, Base::Current, 1, follow)?.existing()?;
    if mask & notify::IN_ONLYDIR != 0 && !inode.is_directory() {
        return Err(Errno::ENOTDIR.into());
    }
    call.who.check(&inode, READ)?;
    let watch = watcher.watch(&inode, mask)?;
    // Reads elsewhere are told from now on, and so are not made from what is lent.
    super::super::storage::look_at_lent();
    Ok(watch as u64)
}

/// `inotify_rm_watch(fd, wd)`.
pub fn inotify_rm_watch(call: &mut FileCall) -> CallResult {
    let file = usable(call, 0)?;
    notify_of(&file)?.forget(call.args[1] as i32)?;
    Ok(0)
}
