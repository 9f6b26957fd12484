//! Process groups and sessions, and who may use the terminal.
//!
//! Law: groups and sessions are home's alone; a terminal belongs to one session, and of that to one
//! group in the foreground (POSIX, "Job Control"). Background use of it stops the group.

use crate::dispatch::HomeCall;
use crate::home::Home;
use crate::system::System;
use crate::wait::Stop;
use abi::{Errno, signal};
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

/// getpgid(2).
pub fn getpgid(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    let pid = call.args[0];
    Ok(u64::from(named(call, pid)?.group))
}

/// getsid(2).
pub fn getsid(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    let pid = call.args[0];
    Ok(u64::from(named(call, pid)?.session))
}

/// setpgid(2).
pub fn setpgid(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    let [pid, group, ..] = call.args;
    if (group as i32) < 0 {
        return Err(Errno::EINVAL.into());
    }
    let me = call.pid;
    let session = call.home().session;
    let target = named(call, pid)?;
    if target.pid != me && target.parent != me {
        return Err(Errno::ESRCH.into());
    }
    if target.session != session || target.pid == target.session {
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
    Ok(u64::from(pid))
}

/// The processes that getpriority(2) and setpriority(2) mean.
fn ranked(call: &mut HomeCall<'_>) -> Result<Vec<u32>, Stop> {
    const PRIO_PROCESS: u64 = 0;
    const PRIO_PGRP: u64 = 1;
    const PRIO_USER: u64 = 2;
    let [kind, who, ..] = call.args;
    let (pid, own) = (call.pid, call.home());
    let (group, user) = (own.group, own.ids.uid);
    let or = |default: u32| if who == 0 { default } else { who as u32 };
    let wanted = |home: &&Home| match kind {
        PRIO_PROCESS => home.pid == or(pid),
        PRIO_PGRP => home.group == or(group),
        _ => home.ids.uid == or(user),
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
    let privileged = call.home().ids.euid == 0;
    let found = ranked(call)?;
    for pid in found {
        if let Some(home) = call.system.homes.get_mut(&pid) {
            if nice < home.nice && !privileged {
                return Err(Errno::EACCES.into());
            }
            home.nice = nice;
        }
    }
    Ok(0)
}

impl System {
    /// Whether no member of a group has a parent in the same session outside of the group: nobody is
    /// left who could continue it.
    pub(crate) fn is_orphaned(&self, group: u32) -> bool {
        let mut members = self
            .homes
            .values()
            .filter(|home| home.group == group && home.lives());
        !members.any(|home| {
            self.homes.get(&home.parent).is_some_and(|parent| {
                parent.lives() && parent.session == home.session && parent.group != group
            })
        })
    }

    /// Sends a signal to a whole group.
    pub(crate) fn signal_group(&mut self, group: u32, signal: u32) {
        let members: Vec<u32> = self
            .homes
            .values()
            .filter(|home| home.lives() && home.group == group)
            .map(|home| home.pid)
            .collect();
        for pid in members {
            self.signal(pid, signal);
        }
    }

    /// A process has ended: the terminal of a session leader is nobody's then, and whoever is in the
    /// foreground learns it.
    pub(crate) fn left_terminal(&mut self, pid: u32) {
        let Some(home) = self.homes.get(&pid) else {
            return;
        };
        let session = home.session;
        if self.fs.console().session() != session {
            return;
        }
        let group = self.fs.console().foreground();
        if session != pid {
            // A foreground without anybody in it goes back to the session leader, so that a shell that
            // knows nothing of job control can read on.
            let mut homes = self.homes.values();
            if !homes.any(|home| home.lives() && home.group == group) {
                let leader = self.homes.get(&session).map_or(session, |home| home.group);
                self.fs.console().set_foreground(leader);
            }
            return;
        }
        self.fs.console().set_session(0);
        self.fs.console().set_foreground(0);
        if group != 0 && group != pid {
            self.signal_group(group, signal::SIGHUP);
            self.signal_group(group, signal::SIGCONT);
        }
    }
}
