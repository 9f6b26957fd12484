//! What terminals tell processes, and what ending processes mean to terminals.
//!
//! Law: terminals leave notices, and they are delivered here, after the call or event that brought
//! them about and before anything else is done. A session ends with its leader: its terminal is free
//! and its foreground learns it. A stopped group that nobody can continue any more is hung up and
//! continued (POSIX, `_exit`, "Consequences of Process Termination").

use crate::files::Notice;
use crate::home::{Home, INIT, Life, Request};
use crate::system::System;
use abi::signal;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

const CALL_READ: u32 = 0;
/// The argument of read(2), which it does not have, in which the body tells that it has waited before.
pub(crate) const GOES_ON: usize = 3;

/// A read that is limited in time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TimedRead {
    deadline_ns: u64,
    /// The number of the call, for a body elsewhere.
    sequence: Option<u64>,
}

impl System {
    /// Delivers what terminals have to say. Returns whether there was something.
    pub(crate) fn terminal_notices(&mut self) -> bool {
        let notices = self.fs.terminals().take_notices();
        let any = !notices.is_empty();
        for notice in notices {
            match notice {
                Notice::Signal { group, signal } => self.signal_group(group, signal),
                Notice::HungUp { session, group } => {
                    if let Some(leader) = self.homes.get_mut(&session) {
                        leader.lost_foreground = group;
                    }
                    self.signal(session, signal::SIGHUP);
                    self.signal(session, signal::SIGCONT);
                }
            }
        }
        any
    }

    /// When the wait of a read that goes on ends: reads with `VTIME` keep it between their tries, also
    /// over a move.
    pub(crate) fn read_deadline(&self, waiter: u32, request: &Request) -> Option<u64> {
        if request.number != CALL_READ {
            return None;
        }
        let kept = self.timed_reads.get(&waiter)?;
        let same = self.serving.is_some() && self.serving == kept.sequence;
        let goes_on = request.args[GOES_ON] != 0 || same;
        goes_on.then_some(kept.deadline_ns)
    }

    /// Keeps it if the read waits, and forgets it otherwise.
    pub(crate) fn keep_read_deadline(&mut self, waiter: u32, waits: bool, deadline: Option<u64>) {
        match deadline.filter(|_| waits) {
            Some(deadline_ns) => {
                let kept = TimedRead {
                    deadline_ns,
                    sequence: self.serving,
                };
                self.timed_reads.insert(waiter, kept);
            }
            None => {
                self.timed_reads.remove(&waiter);
            }
        }
    }

    /// The device of the terminal that controls a process, and the group in its foreground, as
    /// `/proc/PID/stat` has them.
    pub(crate) fn terminal_of(&self, home: &Home) -> (u64, i64) {
        match self.fs.terminals().of_session(home.session) {
            Some(tty) if !home.detached => (tty.device_number(), i64::from(tty.foreground())),
            _ => (0, -1),
        }
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

    /// Whether no member of a group has a parent in the same session outside of the group: nobody is
    /// left who could continue it.
    pub(crate) fn is_orphaned_group(&self, group: u32) -> bool {
        let mut homes = self.homes.values();
        !homes.any(|home| home.group == group && home.lives() && self.has_guardian(home))
    }

    /// Whether the parent of a process could continue it, were it stopped: that is a shell.
    fn has_guardian(&self, home: &Home) -> bool {
        self.homes.get(&home.parent).is_some_and(|parent| {
            parent.lives()
                && parent.pid != INIT
                && parent.session == home.session
                && parent.group != home.group
        })
    }

    /// The groups that the end of a process may leave without anybody who could continue them: its
    /// own, and those of its children. Asked for while it still lives.
    pub(crate) fn groups_it_guards(&self, pid: u32) -> Vec<u32> {
        let Some(home) = self.homes.get(&pid) else {
            return Vec::new();
        };
        let children = self.homes.values().filter(|child| child.parent == pid);
        let mut groups: BTreeSet<u32> = children
            .filter(|child| child.session == home.session)
            .map(|child| child.group)
            .collect();
        groups.insert(home.group);
        groups.retain(|group| !self.is_orphaned_group(*group));
        groups.into_iter().collect()
    }

    /// Hangs up and continues those of these groups that are orphaned now and have stopped members.
    pub(crate) fn release_orphans(&mut self, groups: &[u32]) {
        for group in groups {
            let mut homes = self.homes.values();
            let stopped =
                homes.any(|home| home.group == *group && matches!(home.life, Life::Stopped { .. }));
            if stopped && self.is_orphaned_group(*group) {
                self.signal_group(*group, signal::SIGHUP);
                self.signal_group(*group, signal::SIGCONT);
            }
        }
    }

    /// A process has ended: the terminal of a session leader is nobody's then, and whoever is in the
    /// foreground learns it.
    pub(crate) fn left_terminal(&mut self, pid: u32) {
        let Some(home) = self.homes.get(&pid) else {
            return;
        };
        if home.session != pid {
            return;
        }
        let lost = home.lost_foreground;
        if let Some(tty) = self.fs.terminals().of_session(pid) {
            let group = tty.foreground();
            tty.set_session(0, 0);
            if group != 0 {
                self.signal_group(group, signal::SIGHUP);
            }
        } else if lost != 0 {
            self.signal_group(lost, signal::SIGHUP);
            self.signal_group(lost, signal::SIGCONT);
        }
    }
}
