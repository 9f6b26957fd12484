//! Sending signals, and taking those that are pending.
//!
//! Law: who may send is decided here, by the credentials that home keeps of the threads (kill(2)).

use crate::credentials::KILL;
use crate::dispatch::HomeCall;
use crate::home::{Home, INIT};
use crate::signals::{INFO_BYTES, QUEUE_MAX, QUEUED, SI_QUEUE, SI_TKILL, SI_USER, SignalInfo};
use crate::system::System;
use crate::wait::Stop;
use abi::{Errno, signal};
use alloc::vec::Vec;

/// Sends a signal to all processes that are wanted and may be sent it.
pub(super) fn send(
    call: &mut HomeCall<'_>,
    info: SignalInfo,
    thread: Option<u32>,
    wanted: impl Fn(&Home) -> bool,
) -> Result<u64, Stop> {
    let (own, session) = (call.ids(), call.home().session);
    let allowed = |home: &Home| {
        let target = home.credentials_of(thread.unwrap_or(home.pid)).ids;
        own.has(KILL)
            || [own.uid, own.euid].contains(&target.uid)
            || [own.uid, own.euid].contains(&target.suid)
            || (info.signal == signal::SIGCONT && home.session == session)
    };
    let (mut any, mut targets) = (false, Vec::new());
    for home in call.system.homes.values().filter(|home| wanted(home)) {
        any = true;
        if allowed(home) {
            targets.push(home.pid);
        }
    }
    if targets.is_empty() {
        let errno = if any { Errno::EPERM } else { Errno::ESRCH };
        return Err(errno.into());
    }
    let queues = info.signal >= QUEUED && info.code != SI_USER;
    if queues && targets.iter().any(|pid| is_full(call, *pid)) {
        return Err(Errno::EAGAIN.into());
    }
    for pid in targets {
        // The first process of a node has no default actions: its end would be the node's.
        let spared = pid == INIT && info.signal == signal::SIGKILL;
        if info.signal != 0 && !spared {
            match thread {
                Some(tid) => call.system.signal_thread(pid, tid, info),
                None => call.system.signal_with(pid, info),
            }
        }
    }
    Ok(0)
}

/// Whether no more signals may be queued for the user of a process (`RLIMIT_SIGPENDING`), or for it.
fn is_full(call: &HomeCall<'_>, pid: u32) -> bool {
    const SIGPENDING: usize = 11;
    let Some(target) = call.system.homes.get(&pid) else {
        return false;
    };
    target.pending.count() >= QUEUE_MAX
        || call.system.queued_for(target.ids().uid) >= target.limits[SIGPENDING].0
}

impl System {
    /// How many signals are queued for the processes of a user.
    pub(crate) fn queued_for(&self, user: u32) -> u64 {
        let same = self.homes.values().filter(|home| home.ids().uid == user);
        same.map(|home| {
            let threads = home.threads.values().map(|thread| thread.pending.count());
            (home.pending.count() + threads.sum::<usize>()) as u64
        })
        .sum()
    }
}

pub(super) fn info_of(call: &mut HomeCall<'_>, signal: u64, code: i32) -> Result<SignalInfo, Stop> {
    if signal > u64::from(signal::SIGNAL_MAX) {
        return Err(Errno::EINVAL.into());
    }
    let sender = u64::from(call.pid) | u64::from(call.ids().uid) << 32;
    Ok(SignalInfo {
        signal: signal as u32,
        code,
        words: [sender, 0],
        ..SignalInfo::default()
    })
}

/// kill(2).
pub fn kill(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    let [which, signal, ..] = call.args;
    let info = info_of(call, signal, SI_USER)?;
    let (me, group) = (call.pid, call.home().group);
    // Any thread stands for its process.
    let named = call.system.process_at_home(which as u32);
    let sent = send(call, info, None, |home| match which as i32 {
        -1 => home.pid != me && home.pid != INIT,
        0 => home.group == group,
        pid if pid > 0 => home.pid == named,
        other => home.group == other.unsigned_abs(),
    });
    match sent {
        // Everybody is everybody who may be sent it.
        Err(Stop::Errno(Errno::EPERM)) if which as i32 == -1 => Ok(0),
        other => other,
    }
}

/// Sends a signal to one thread, if its process is the one that is meant.
fn send_to_thread(
    call: &mut HomeCall<'_>,
    info: SignalInfo,
    thread: u64,
    process: Option<u64>,
) -> Result<u64, Stop> {
    let tid = thread as u32;
    let pid = call.system.process_at_home(tid);
    if process.is_some_and(|process| process as u32 != pid) {
        return Err(Errno::ESRCH.into());
    }
    send(call, info, Some(tid), |home| {
        home.pid == pid && home.threads.contains_key(&tid)
    })
}

/// tkill(2).
pub fn tkill(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    let [thread, signal, ..] = call.args;
    if thread as i32 <= 0 {
        return Err(Errno::EINVAL.into());
    }
    let info = info_of(call, signal, SI_TKILL)?;
    send_to_thread(call, info, thread, None)
}

/// tgkill(2).
pub fn tgkill(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    let [group, thread, signal, ..] = call.args;
    if group as i32 <= 0 || thread as i32 <= 0 {
        return Err(Errno::EINVAL.into());
    }
    let info = info_of(call, signal, SI_TKILL)?;
    send_to_thread(call, info, thread, Some(group))
}

/// The record in an argument, which says what it likes but that it is from the kernel or kill(2).
pub(super) fn user_info(
    call: &mut HomeCall<'_>,
    target: u32,
    signal: u64,
    argument: usize,
) -> Result<SignalInfo, Stop> {
    let mut info = info_of(call, signal, SI_QUEUE)?;
    let Some(given) = call.input(argument).first_chunk::<128>() else {
        return Err(Errno::EFAULT.into());
    };
    let mut kept = [0; INFO_BYTES];
    kept.copy_from_slice(&given[..INFO_BYTES]);
    // Which signal it is the call says, not the record.
    kept[..4].copy_from_slice(&1_u32.to_le_bytes());
    if let Some(told) = SignalInfo::from_bytes(&kept) {
        info = SignalInfo {
            signal: info.signal,
            ..told
        };
    }
    // What only the kernel and kill(2) say cannot be said to others.
    if (info.code >= 0 || info.code == SI_TKILL) && target != call.pid {
        return Err(Errno::EPERM.into());
    }
    Ok(info)
}

/// rt_sigqueueinfo(2).
pub fn rt_sigqueueinfo(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    let [which, signal, ..] = call.args;
    let named = call.system.process_at_home(which as u32);
    let info = user_info(call, named, signal, 2)?;
    send(call, info, None, |home| home.pid == named)
}

/// rt_tgsigqueueinfo(2).
pub fn rt_tgsigqueueinfo(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    let [group, thread, signal, ..] = call.args;
    if group as i32 <= 0 || thread as i32 <= 0 {
        return Err(Errno::EINVAL.into());
    }
    let info = user_info(call, group as u32, signal, 3)?;
    send_to_thread(call, info, thread, Some(group))
}

// ---- the kernel's own requests -------------------------------------------------------------------

/// The next signal for the body, given what it blocks; buffer 0 is the answer.
pub fn take_signal(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    let answer = call.system.signal_answer(call.pid, call.tid, call.args[0]);
    call.outputs.set(0, answer);
    Ok(0)
}

/// A signal of a set: `(set, whether to wait)`; buffer 0 is the record of [`SignalInfo`].
pub fn wait_signal(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    let [set, waits, ..] = call.args;
    let tid = call.tid;
    match call.home().take_of(tid, set & !signal::UNBLOCKABLE) {
        Some(info) => {
            call.outputs.set(0, info.to_bytes().to_vec());
            Ok(u64::from(info.signal))
        }
        None if waits != 0 => Err(Stop::Wait),
        None => Err(Errno::EAGAIN.into()),
    }
}

/// The set that is pending, in buffer 0.
pub fn pending(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    let tid = call.tid;
    let pending = call.home().pending_for(tid);
    call.outputs.set(0, pending.to_le_bytes().to_vec());
    Ok(0)
}

/// Forgets pending signals: the process ignores them from now on. `(set)`.
pub fn forget(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    let set = call.args[0];
    call.home().forget_signals(set);
    Ok(0)
}

/// Whether the process does not want to wait for its children, not to hear of their stops, and not to
/// hear of them at all: `(0 or 1, 0 or 1, dropped, 0 or 1)`; `dropped` is what it ignores from now on.
pub fn disown(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    let [disowns, deaf_to_stops, dropped, ignores, ..] = call.args;
    for pid in call.system.with_actions_of(call.pid) {
        if let Some(home) = call.system.homes.get_mut(&pid) {
            home.disowns = disowns != 0;
            home.deaf_to_stops = deaf_to_stops != 0;
            home.ignores_children = ignores != 0;
        }
    }
    call.home().forget_signals(dropped);
    Ok(0)
}
