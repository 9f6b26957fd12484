//! Leases of fcntl(2): who has one is told before somebody else uses the file in a way that conflicts.
//!
//! Law: a shared lease means that nobody has the file open for writing, an exclusive one that nobody else
//! has it open at all. Who opens or cuts it against a lease waits until its holder gives it back, or has
//! had [`BREAK_NS`] to do so; the holder is told once. Leases live with the file, as its locks do.

use super::inode::{Inode, InodeRef};
use super::locks::{Kind, Locks};
use super::objects::{Alarms, Rings};
use super::open::OpenFile;
use super::owner::OwnerKind;
use super::pipe::Patience;
use super::{CallResult, FileCall};
use crate::credentials::LEASE;
use crate::wait::Stop;
use abi::Errno;
use abi::layout::{S_IFMT, S_IFREG};
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;

/// How long a holder may keep a lease that is broken (`/proc/sys/fs/lease-break-time`), ns.
pub(super) const BREAK_NS: u64 = 45_000_000_000;

const F_RDLCK: i32 = 0;
const F_WRLCK: i32 = 1;
const F_UNLCK: i32 = 2;

/// What a lease is to become because somebody waits, and when it does so by itself.
#[derive(Clone)]
struct Breaking {
    /// `None` for nothing.
    into: Option<Kind>,
    at_ns: u64,
    _alarm: Arc<LeaseAlarm>,
}

/// One lease.
pub(super) struct Lease {
    /// Identity of the open file.
    pub(super) open: u64,
    file: Weak<OpenFile>,
    /// The descriptor by which it was asked for.
    fd: u32,
    /// The process that asked for it, to tell of.
    pub(super) pid: u32,
    kind: Kind,
    breaking: Option<Breaking>,
}

impl Lease {
    /// What it is, or will be when its holder has heard.
    pub(super) fn target(&self) -> Option<Kind> {
        match &self.breaking {
            Some(breaking) => breaking.into,
            None => Some(self.kind),
        }
    }

    pub(super) fn is_breaking(&self) -> bool {
        self.breaking.is_some()
    }
}

/// Ends leases of a file whose time is over.
struct LeaseAlarm(Weak<Inode>);

impl Rings for LeaseAlarm {
    fn ring(&self, at: u64, _: &Alarms) {
        if let Some(inode) = self.0.upgrade() {
            inode.with_own_locks(|locks| locks.expire_leases(at));
        }
    }
}

impl Locks {
    /// Leases whose time is over become what they were to become.
    fn expire_leases(&mut self, now_ns: u64) {
        let mut changed = false;
        self.leases.retain_mut(|lease| {
            let due = lease.breaking.take_if(|breaking| breaking.at_ns <= now_ns);
            let Some(due) = due else {
                return true;
            };
            changed = true;
            lease.kind = due.into.unwrap_or(lease.kind);
            due.into.is_some()
        });
        if changed {
            self.wake();
        }
    }

    /// Gives back the lease of an open file, if it has one.
    pub(super) fn release_lease(&mut self, open: u64) -> bool {
        let before = self.leases.len();
        self.leases.retain(|lease| lease.open != open);
        let had = self.leases.len() != before;
        if had {
            self.wake();
        }
        had
    }
}

/// `F_GETLEASE`.
pub(super) fn get_lease(file: &OpenFile) -> CallResult {
    let mut target = None;
    file.inode().with_own_locks(|locks| {
        let mine = locks
            .leases
            .iter()
            .find(|lease| lease.open == file.identity());
        target = mine.and_then(Lease::target);
    });
    Ok(match target {
        Some(Kind::Shared) => F_RDLCK,
        Some(Kind::Exclusive) => F_WRLCK,
        None => F_UNLCK,
    } as u64)
}

/// `F_SETLEASE`.
pub(super) fn set_lease(call: &FileCall, file: &Arc<OpenFile>, fd: u32, kind: i32) -> CallResult {
    let kind = match kind {
        F_RDLCK => Some(Kind::Shared),
        F_WRLCK => Some(Kind::Exclusive),
        F_UNLCK => None,
        _ => return Err(Errno::EINVAL.into()),
    };
    let inode = file.inode();
    if !call.who.has(LEASE) && inode.attributes().uid != call.who.uid {
        return Err(Errno::EACCES.into());
    }
    if inode.mode() & S_IFMT != S_IFREG {
        return Err(Errno::EINVAL.into());
    }
    let open = file.identity();
    let Some(kind) = kind else {
        let mut had = false;
        inode.with_own_locks(|locks| had = locks.release_lease(open));
        if !had {
            return Err(Errno::EAGAIN.into());
        }
        file.cursor().owner = super::owner::Owner::default();
        return Ok(0);
    };
    let in_the_way = match kind {
        Kind::Shared => inode.has_writers(),
        Kind::Exclusive => inode.open_files() > 1,
    };
    if in_the_way {
        return Err(Errno::EAGAIN.into());
    }
    inode.with_locks(call.fs.wakes(), |locks| {
        let others = |lease: &Lease| lease.open != open;
        let hinders =
            |lease: &Lease| others(lease) && (kind == Kind::Exclusive || lease.target().is_none());
        if locks.leases.iter().any(hinders) {
            return Err(Errno::EAGAIN);
        }
        // A new word about a lease is also the answer to those who wait.
        locks.leases.retain(others);
        locks.leases.push(Lease {
            open,
            file: Arc::downgrade(file),
            fd,
            pid: call.pid,
            kind,
            breaking: None,
        });
        locks.wake();
        Ok(())
    })?;
    let mut cursor = file.cursor();
    if cursor.owner.id == 0 {
        cursor.owner.name(OwnerKind::Process, call.pid, &call.who);
    }
    Ok(0)
}

/// Somebody is about to use a file, for writing or not: the leases that are in the way are to be given back.
///
/// # Errors
/// `EAGAIN` for who does not wait, though the holders are told all the same.
pub(super) fn break_leases(
    call: &FileCall,
    inode: &InodeRef,
    writes: bool,
    patience: Patience,
) -> Result<(), Stop> {
    let mut stop = Ok(());
    let until = call.now_ns.saturating_add(BREAK_NS);
    inode.with_own_locks(|locks| {
        locks.expire_leases(call.now_ns);
        let conflicts = |lease: &&mut Lease| writes || lease.kind == Kind::Exclusive;
        let mut told: Vec<(Arc<OpenFile>, u32)> = Vec::new();
        let mut any = false;
        for lease in locks.leases.iter_mut().filter(conflicts) {
            any = true;
            let into = (!writes).then_some(Kind::Shared);
            let known = lease.breaking.as_ref();
            if known.is_some_and(|known| known.into.is_none() || into.is_some()) {
                continue;
            }
            let alarm = Arc::new(LeaseAlarm(Arc::downgrade(inode)));
            call.fs
                .alarms()
                .set(until, Arc::downgrade(&alarm) as Weak<dyn Rings>);
            lease.breaking = Some(Breaking {
                into,
                at_ns: until,
                _alarm: alarm,
            });
            told.extend(lease.file.upgrade().map(|file| (file, lease.fd)));
        }
        for (file, fd) in told {
            call.fs.posts().break_lease(&file, fd);
        }
        if any {
            stop = Err(locks.stop(patience));
        }
    });
    stop
}
