//! Parents, process groups, sessions and priorities.
//!
//! Law: groups and sessions are home's alone (setpgid(2), setsid(2)). What they mean to terminals is
//! in `terminals` and in the calls on files.

use crate::credentials::SYS_NICE;
use crate::dispatch::HomeCall;
use crate::home::Home;
use crate::wait::Stop;
use abi::Errno;
use alloc::vec::Vec;

/// getppid(2).
pub fn getppid(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    Ok(u64::from(call.home().parent))
}

/// getpgrp(2).
pub fn getpgrp(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    Ok(u64::from(call.home().group))
}

/// The process that an argument names, 0 being the caller.
fn named<'a>(call: &'a mut HomeCall<'_>, pid: u64) -> Result<&'a mut Home, Stop> {
    let pid = if pid as i32 == 0 {
        call.pid
    } else {
        pid as u32
    };
    call.system
        .homes
        .get_mut(&pid)
        .ok_or(Stop::Errno(Errno::ESRCH))
}

/// The process that an argument names by any of its threads.
fn named_by_thread<'a>(call: &'a mut HomeCall<'_>, tid: u64) -> Result<&'a mut Home, Stop> {
    let pid = call.system.process_at_home(tid as u32);
    named(call, pid.into())
}

/// getpgid(2).
pub fn getpgid(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    let pid = call.args[0];
    Ok(u64::from(named_by_thread(call, pid)?.group))
}

/// getsid(2).
pub fn getsid(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    let pid = call.args[0];
    Ok(u64::from(named_by_thread(call, pid)?.session))
}

/// setpgid(2).
pub fn setpgid(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    let [pid, group, ..] = call.args;
    let wanted = if group as i32 == 0 { pid } else { group };
    if (wanted as i32) < 0 {
        return Err(Errno::EINVAL.into());
    }
    let me = call.pid;
    let session = call.home().session;
    let target = named(call, pid)?;
    if target.pid != me && target.parent != me {
        return Err(Errno::ESRCH.into());
    }
    if target.session != session {
        return Err(Errno::EPERM.into());
    }
    // A child that has become another program arranges its groups itself.
    if target.pid != me && target.executed {
        return Err(Errno::EACCES.into());
    }
    if target.pid == target.session {
        return Err(Errno::EPERM.into());
    }
    let target = target.pid;
    let group = if group as i32 == 0 {
        target
    } else {
        group as u32
    };
    let exists = call
        .system
        .homes
        .values()
        .any(|home| home.group == group && home.session == session);
    if group != target && !exists {
        return Err(Errno::EPERM.into());
    }
    if let Some(home) = call.system.homes.get_mut(&target) {
        home.group = group;
    }
    Ok(0)
}

/// setsid(2).
pub fn setsid(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    let pid = call.pid;
    if call.system.homes.values().any(|home| home.group == pid) {
        return Err(Errno::EPERM.into());
    }
    let home = call.home();
    home.group = pid;
    home.session = pid;
    home.detached = false;
    home.lost_foreground = 0;
    Ok(u64::from(pid))
}

/// The processes that getpriority(2) and setpriority(2) mean.
fn ranked(call: &mut HomeCall<'_>) -> Result<Vec<u32>, Stop> {
    const PRIO_PROCESS: u64 = 0;
    const PRIO_PGRP: u64 = 1;
    const PRIO_USER: u64 = 2;
    let [kind, who, ..] = call.args.map(|arg| u64::from(arg as u32));
    let (pid, user, group) = (call.pid, call.ids().uid, call.home().group);
    let or = |default: u32| if who == 0 { default } else { who as u32 };
    let wanted = |home: &&Home| match kind {
        PRIO_PROCESS => home.pid == or(pid),
        PRIO_PGRP => home.group == or(group),
        _ => home.ids().uid == or(user),
    };
    if kind > PRIO_USER {
        return Err(Errno::EINVAL.into());
    }
    let homes = call.system.homes.values();
    let found: Vec<u32> = homes.filter(wanted).map(|home| home.pid).collect();
    if found.is_empty() {
        return Err(Errno::ESRCH.into());
    }
    Ok(found)
}

/// getpriority(2) as the kernel does it: 20 less the nice value.
pub fn getpriority(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    let found = ranked(call)?;
    let homes = &call.system.homes;
    let nice = found
        .iter()
        .filter_map(|pid| homes.get(pid))
        .map(|home| home.nice);
    Ok((20 - nice.min().unwrap_or(0)) as u64)
}

/// setpriority(2).
pub fn setpriority(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    let nice = (call.args[2] as i32).clamp(-20, 19);
    const LIMIT_NICE: usize = 13;
    let (ids, limit) = (call.ids(), call.home().limits[LIMIT_NICE].0);
    let privileged = ids.has(SYS_NICE);
    let found = ranked(call)?;
    for pid in found {
        if let Some(home) = call.system.homes.get_mut(&pid) {
            let mine = [home.ids().uid, home.ids().euid].contains(&ids.euid);
            if !mine && !privileged {
                return Err(Errno::EPERM.into());
            }
            let allowed = (20 - nice) as u64 <= limit;
            if nice < home.nice && !allowed && !privileged {
                return Err(Errno::EACCES.into());
            }
            home.nice = nice;
        }
    }
    Ok(0)
}
