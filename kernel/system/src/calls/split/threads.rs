//! How processes and threads begin and end.
//!
//! Law: home gives the numbers and is asked first; then the new thread is made where its maker is,
//! whole, and is ready. What a thread that ends owes to others (the word of set_tid_address(2), its
//! robust futexes) it does once, before home is told.

use crate::body::Body;
use crate::dispatch::{CALL_END, CALL_FORK, CALL_THREAD, CALL_THREAD_END, LocalCall};
use crate::memory::{Space, Trouble};
use crate::ptrace::{ChildEvent, ChildKind};
use crate::thread::{AltStack, Pending};
use crate::wait::Stop;
use abi::{Errno, signal};
use machine::USER_END;

const CLONE_VM: u64 = 0x100;
/// The signal that tells the end of the child.
pub(crate) const EXIT_SIGNAL: u64 = 0xff;
/// Directories and umask are those of the maker.
pub(crate) const CLONE_FS: u64 = 0x200;
/// The descriptor table is that of the maker.
pub(crate) const CLONE_FILES: u64 = 0x400;
const CLONE_SIGHAND: u64 = 0x800;
const CLONE_PIDFD: u64 = 0x1000;
/// Who is traced has this child traced, too.
const CLONE_PTRACE: u64 = 0x2000;
const CLONE_VFORK: u64 = 0x4000;
/// The child is one of the caller's parent.
pub(crate) const CLONE_PARENT: u64 = 0x8000;
const CLONE_THREAD: u64 = 0x1_0000;
const CLONE_SYSVSEM: u64 = 0x4_0000;
const CLONE_SETTLS: u64 = 0x8_0000;
const CLONE_PARENT_SETTID: u64 = 0x10_0000;
const CLONE_CHILD_CLEARTID: u64 = 0x20_0000;
const CLONE_DETACHED: u64 = 0x40_0000;
const CLONE_UNTRACED: u64 = 0x80_0000;
const CLONE_CHILD_SETTID: u64 = 0x100_0000;
const CLONE_IO: u64 = 0x8000_0000;
const CLONE_CLEAR_SIGHAND: u64 = 0x1_0000_0000;
/// What threads of one process share; here always all of it.
const SHARED: u64 = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND;
/// Flags with a meaning for every kind of child, or with none here.
const CLONE_KNOWN: u64 = EXIT_SIGNAL
    | CLONE_PARENT
    | CLONE_SETTLS
    | CLONE_PARENT_SETTID
    | CLONE_CHILD_CLEARTID
    | CLONE_CHILD_SETTID
    | CLONE_SYSVSEM
    | CLONE_DETACHED
    | CLONE_UNTRACED
    | CLONE_PTRACE
    | CLONE_IO;

/// What clone(2) says about the new thread.
#[derive(Clone, Copy, Default)]
struct Wanted {
    flags: u64,
    stack: u64,
    parent_tid: u64,
    child_tid: u64,
    tls: u64,
    /// Where the descriptor of the child goes.
    pidfd: u64,
}

/// fork(2).
pub fn fork(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let flags = signal::SIGCHLD.into();
    spawn(
        call,
        Wanted {
            flags,
            ..Wanted::default()
        },
    )
}

/// vfork(2).
pub fn vfork(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let flags = CLONE_VM | CLONE_VFORK | u64::from(signal::SIGCHLD);
    spawn(
        call,
        Wanted {
            flags,
            ..Wanted::default()
        },
    )
}

/// clone(2).
pub fn clone(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let [flags, stack, parent_tid, child_tid, tls, _] = call.args;
    // Both would be told in one place.
    if flags & CLONE_PIDFD != 0 && flags & CLONE_PARENT_SETTID != 0 {
        return Err(Errno::EINVAL.into());
    }
    let flags = flags & 0xffff_ffff;
    spawn(
        call,
        Wanted {
            flags,
            stack,
            parent_tid,
            child_tid,
            tls,
            pidfd: parent_tid,
        },
    )
}

/// clone3(2): `struct clone_args`, without namespaces and chosen numbers.
pub fn clone3(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    const LEAST: u64 = 64;
    const MOST: u64 = 4096;
    let [address, size, ..] = call.args;
    if size < LEAST {
        return Err(Errno::EINVAL.into());
    }
    if size > MOST {
        return Err(Errno::E2BIG.into());
    }
    let bytes = call.read(address, size as usize)?;
    let (words, rest) = bytes.as_chunks::<8>();
    let word = |at: usize| words.get(at).map_or(0, |word| u64::from_le_bytes(*word));
    let exit_signal = word(4);
    let reserved = EXIT_SIGNAL | CLONE_DETACHED;
    let exists = exit_signal <= u64::from(signal::SIGNAL_MAX);
    // What later versions have added.
    let later = words.iter().skip(11).any(|word| *word != [0; 8]);
    if later || rest.iter().any(|byte| *byte != 0) {
        return Err(Errno::E2BIG.into());
    }
    if !exists || word(0) & reserved != 0 {
        return Err(Errno::EINVAL.into());
    }
    // A chosen number: set_tid and its size. Where a cgroup goes does not matter without CLONE_INTO_CGROUP.
    if word(8) != 0 || word(9) != 0 {
        return Err(Errno::EINVAL.into());
    }
    // The signal of these is that of whom the caller belongs to.
    if exit_signal != 0 && word(0) & (CLONE_THREAD | CLONE_PARENT) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let (stack, length) = (word(5), word(6));
    let within = stack.checked_add(length).is_some_and(|end| end <= USER_END);
    if (stack == 0) != (length == 0) || !within {
        return Err(Errno::EINVAL.into());
    }
    spawn(
        call,
        Wanted {
            flags: word(0) | exit_signal,
            stack: stack + length,
            parent_tid: word(3),
            child_tid: word(2),
            tls: word(7),
            pidfd: word(1),
        },
    )
}

/// Checks the flags and makes a thread or a process.
fn spawn(call: &mut LocalCall<'_>, mut wanted: Wanted) -> Result<u64, Stop> {
    let flags = wanted.flags;
    if flags & CLONE_SETTLS != 0 && wanted.tls >= USER_END {
        return Err(Errno::EPERM.into());
    }
    if flags & CLONE_PARENT_SETTID != 0 && !call.is_writable(wanted.parent_tid, 4)? {
        // As in Linux, a number that cannot be told is no reason to have no child.
        wanted.flags &= !CLONE_PARENT_SETTID;
    }
    if flags & CLONE_THREAD != 0 {
        let whole = flags & SHARED == SHARED;
        if !whole || flags & !(SHARED | CLONE_THREAD | CLONE_KNOWN) != 0 {
            return Err(Errno::EINVAL.into());
        }
        return spawn_thread(call, &wanted);
    }
    let more = SHARED | CLONE_VFORK | CLONE_PIDFD | CLONE_CLEAR_SIGHAND;
    let common = flags & CLONE_SIGHAND != 0;
    let contradicts = common && (flags & CLONE_VM == 0 || flags & CLONE_CLEAR_SIGHAND != 0)
        || flags & CLONE_PIDFD != 0 && flags & CLONE_DETACHED != 0;
    if flags & !(more | CLONE_KNOWN) != 0 || contradicts {
        return Err(Errno::EINVAL.into());
    }
    if flags & CLONE_PIDFD != 0 {
        call.make_writable(wanted.pidfd, 4)?;
    }
    spawn_process(call, &wanted)
}

/// Another thread of the caller's process.
fn spawn_thread(call: &mut LocalCall<'_>, wanted: &Wanted) -> Result<u64, Stop> {
    let pid = call.pid;
    let tid = call.ask_home(CALL_THREAD, [0; 6])?;
    let tid = u32::try_from(tid).unwrap_or(0);
    if !call.system.may_be_child(pid, tid) {
        return Err(Errno::EAGAIN.into());
    }
    call.body().threads.insert(tid);
    begin(call, wanted, pid, tid)?;
    Ok(u64::from(tid))
}

/// A child process: its home part first, then its body, on the node where the caller is.
fn spawn_process(call: &mut LocalCall<'_>, wanted: &Wanted) -> Result<u64, Stop> {
    let pid = call.pid;
    if let Some(page) = call
        .system
        .space_of(pid)
        .and_then(|space| space.next_absent(0))
    {
        // A child of half a memory would need the rest twice, and would not know whom to ask.
        return Err(call.system.trouble(call.tid, Trouble::Absent { page }));
    }
    let has_pidfd = wanted.flags & CLONE_PIDFD != 0;
    let clears = wanted.flags & CLONE_CLEAR_SIGHAND != 0;
    let shares = shares_memory(call, wanted.flags);
    let [as_file, clears_actions, at_home] = [has_pidfd, clears, shares].map(u64::from);
    let args = [as_file, clears_actions, wanted.flags, at_home, 0, 0];
    let told = call.ask_home(CALL_FORK, args)?;
    let (child, pidfd) = (told as u32, (told >> 32) as u32);
    if !call.system.may_be_child(pid, child) {
        return Err(Errno::EAGAIN.into());
    }
    let shared = call.body().space;
    let space = if wanted.flags & CLONE_VM != 0 {
        call.system.spaces.share(shared);
        Some(shared)
    } else {
        let copy = call.system.space_mut(pid).map(Space::fork);
        copy.and_then(Result::ok)
            .map(|space| call.system.spaces.add(space))
    };
    let mut body = Body::child_of(call.body(), child);
    let Some(space) = space else {
        let home = body.home;
        call.system.end_orphan(home, child.into());
        return Err(Errno::ENOMEM.into());
    };
    body.space = space;
    if clears {
        body.actions.reset_for_exec();
    }
    if wanted.flags & CLONE_SIGHAND != 0 {
        let group = call.body().common_actions.unwrap_or(child);
        call.body().common_actions = Some(group);
        body.common_actions = Some(group);
    }
    if wanted.flags & CLONE_VFORK != 0 {
        body.vfork_parent = Some(call.tid);
        call.thread().vfork_child = Some(child);
    }
    call.system
        .bodies
        .insert(child, alloc::boxed::Box::new(body));
    begin(call, wanted, child, child)?;
    if has_pidfd {
        call.write(wanted.pidfd, &pidfd.to_le_bytes())?;
    }
    Ok(u64::from(child))
}

/// Whether caller and child will see what the other writes. With vfork(2) they do only until the child has
/// a program of its own.
fn shares_memory(call: &LocalCall<'_>, flags: u64) -> bool {
    let space = call.system.space_of(call.pid);
    match flags & (CLONE_VM | CLONE_VFORK) {
        CLONE_VM => true,
        _ if flags & CLONE_SIGHAND != 0 => true,
        0 => space.is_some_and(Space::would_share),
        // Pages are lent to processes, and these two would have the same.
        _ => space.is_some_and(Space::is_lent),
    }
}

/// Makes the first or another thread of process `pid` and lets it run.
fn begin(call: &mut LocalCall<'_>, wanted: &Wanted, pid: u32, tid: u32) -> Result<(), Stop> {
    let flags = wanted.flags;
    call.system.save_fpu();
    let mut thread = call.thread().child(tid, pid);
    thread.registers.rax = 0;
    if wanted.stack != 0 {
        thread.registers.rsp = wanted.stack;
    }
    if flags & CLONE_SETTLS != 0 {
        thread.registers.fs_base = wanted.tls;
    }
    if flags & CLONE_CHILD_CLEARTID != 0 {
        thread.clear_tid = wanted.child_tid;
    }
    if flags & (CLONE_VM | CLONE_VFORK) == CLONE_VM {
        // The alternate stack is the maker's.
        thread.signals.alt_stack = AltStack::default();
    }
    call.system
        .threads
        .insert(tid, alloc::boxed::Box::new(thread));
    let word = tid.to_le_bytes();
    if flags & CLONE_CHILD_SETTID != 0 {
        // As in Linux, a place that cannot be written to is the child's affair.
        let at = wanted.child_tid;
        let _ = call
            .system
            .with_space(pid, |space, pages| space.write(at, &word, pages));
    }
    if flags & CLONE_PARENT_SETTID != 0 {
        call.write(wanted.parent_tid, &word)?;
    }
    let event = match flags {
        _ if flags & CLONE_VFORK != 0 => ChildEvent::Vfork,
        _ if flags & CLONE_THREAD != 0 => ChildEvent::Clone,
        _ if flags & EXIT_SIGNAL != u64::from(signal::SIGCHLD) => ChildEvent::Clone,
        _ => ChildEvent::Fork,
    };
    let how = ChildKind {
        event,
        untraced: flags & CLONE_UNTRACED != 0,
        traced: flags & CLONE_PTRACE != 0,
    };
    if !(call.thread().traced.on && call.system.trace_child(call.tid, tid, how)) {
        call.system.make_ready(tid);
    }
    Ok(())
}

// ---- the end -------------------------------------------------------------------------------------

/// exit(2): the thread ends, and with the last one the process.
pub fn exit(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let status = ((call.args[0] & 0xff) << 8) as u32;
    if call.system.stands_before_end(call.tid, status) {
        return Err(Stop::Wait);
    }
    call.settle_debts()?;
    let (pid, tid) = (call.pid, call.tid);
    call.system.note_end(tid, status);
    if tid == pid {
        call.body().leader_status = status;
    }
    let leaves = |call: Pending| call.number == CALL_THREAD_END;
    let last = call.system.tids(pid).iter().all(|other| {
        let other = call.system.threads.get(other);
        other.is_none_or(|other| other.tid == tid || other.call.is_some_and(leaves))
    });
    if last {
        let status = call.body().leader_status;
        call.system.end_by(tid, status);
    } else {
        call.thread().call = Some(Pending {
            number: CALL_THREAD_END,
            args: [0; 6],
        });
        call.system.wakes.push(tid);
    }
    // What the thread is in now is a call of the kernel's own.
    Err(Stop::Wait)
}

/// exit_group(2).
pub fn exit_group(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let status = ((call.args[0] & 0xff) << 8) as u32;
    if call.system.stands_before_end(call.tid, status) {
        return Err(Stop::Wait);
    }
    call.settle_debts()?;
    call.system.end_by(call.tid, status);
    Err(Stop::Wait)
}

/// The process ends with a wait status, by its own will or by a signal.
pub fn end(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    call.settle_all_debts()?;
    call.surrender(0, USER_END)?;
    let used = call.used();
    let args = [
        call.args[0],
        used.cpu.user_ns,
        used.peak_pages,
        used.faults,
        used.cpu.system_ns,
        0,
    ];
    call.ask_home(CALL_END, args)?;
    call.system.drop_body(call.pid);
    Ok(0)
}

/// A thread ends, and others go on.
pub fn thread_end(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    call.ask_home(CALL_THREAD_END, [0; 6])?;
    call.system.drop_thread(call.tid);
    Ok(0)
}
