//! Locks on files: records of fcntl(2), of processes and of open files, and whole files of flock(2).
//!
//! Law (POSIX `fcntl`, "File Locking"): an owner's locks on a file never overlap each other; a new
//! one replaces what it covers, and touching ones of a kind become one. Locks of different owners
//! overlap only when both are shared. They are released when the owner closes any descriptor of the
//! file (process), or when the open file goes away (open file); whoever waits is woken at every
//! release and looks again. They live with the file at home, so a move does not touch them.

use super::info::{Form, ShownLock};
use super::inode::{Inode, InodeRef};
use super::leases::Lease;
use super::pipe::Patience;
use crate::wait::{Stop, WaitQueue, Wakes};
use abi::Errno;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

/// Most records on one file.
const RECORDS_MAX: usize = 8192;
/// Behind the last byte that can be locked.
pub(super) const END: u64 = 1 << 63;

/// A number that no other owner of locks on this node has.
pub(super) fn identity() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Whose a record is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Owner {
    /// A descriptor table, that is, a process.
    Process(u64),
    /// An open file.
    Open(u64),
}

/// Who may have a lock beside this one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// Others of this kind.
    Shared,
    /// Nobody.
    Exclusive,
}

/// One lock of fcntl(2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Record {
    pub(super) owner: Owner,
    /// The process to tell of; 0 for an open file.
    pub(super) pid: u32,
    pub(super) kind: Kind,
    /// First byte, and the one behind the last.
    pub(super) start: u64,
    pub(super) end: u64,
}

impl Record {
    fn meets(&self, start: u64, end: u64) -> bool {
        self.start < end && start < self.end
    }

    fn hinders(&self, other: &Record) -> bool {
        self.owner != other.owner
            && self.meets(other.start, other.end)
            && (self.kind == Kind::Exclusive || other.kind == Kind::Exclusive)
    }
}

/// One lock of flock(2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Whole {
    /// Identity of the open file.
    pub(super) open: u64,
    /// The process that has set it, to tell of.
    pub(super) pid: u32,
    pub(super) kind: Kind,
}

/// All locks on one file.
pub(super) struct Locks {
    records: Vec<Record>,
    whole: Vec<Whole>,
    pub(super) leases: Vec<Lease>,
    released: WaitQueue,
}

impl Locks {
    pub(super) fn new(wakes: &Wakes) -> Locks {
        Locks {
            records: Vec::new(),
            whole: Vec::new(),
            leases: Vec::new(),
            released: WaitQueue::new(wakes),
        }
    }

    /// The first record that keeps `wanted` from being set.
    pub(super) fn hindrance(&self, wanted: &Record) -> Option<Record> {
        let hindering = self.records.iter().filter(|held| held.hinders(wanted));
        hindering.min_by_key(|held| held.start).copied()
    }

    /// The first record that an owner has in a range.
    pub(super) fn held(&self, owner: Owner, start: u64, end: u64) -> Option<Record> {
        let own = |held: &&Record| held.owner == owner && held.meets(start, end);
        let records = self.records.iter().filter(own);
        records.min_by_key(|held| held.start).copied()
    }

    /// Takes a range away from an owner.
    pub(super) fn release(&mut self, owner: Owner, start: u64, end: u64) -> Result<(), Errno> {
        let cut = |held: &Record| held.owner == owner && held.meets(start, end);
        // A range in the middle of one record makes two of it.
        let splits = |held: &Record| held.start < start && end < held.end;
        if self.records.len() >= RECORDS_MAX
            && self.records.iter().any(|held| cut(held) && splits(held))
        {
            return Err(Errno::ENOLCK);
        }
        let mut rest = Vec::new();
        for held in &self.records {
            if !cut(held) {
                continue;
            }
            if held.start < start {
                rest.push(Record {
                    end: start,
                    ..*held
                });
            }
            if end < held.end {
                rest.push(Record {
                    start: end,
                    ..*held
                });
            }
        }
        let before = self.records.len();
        self.records.retain(|held| !cut(held));
        if self.records.len() != before {
            self.released.wake();
        }
        self.records.append(&mut rest);
        Ok(())
    }

    /// Sets a record that nothing hinders.
    pub(super) fn set(&mut self, mut new: Record) -> Result<(), Errno> {
        if self.records.len() + 2 > RECORDS_MAX {
            return Err(Errno::ENOLCK);
        }
        self.release(new.owner, new.start, new.end)?;
        self.records.retain(|held| {
            let same = held.owner == new.owner && held.kind == new.kind;
            let touches = held.end == new.start || new.end == held.start;
            if same && touches {
                new.start = new.start.min(held.start);
                new.end = new.end.max(held.end);
            }
            !(same && touches)
        });
        self.records.push(new);
        Ok(())
    }

    fn release_all(&mut self, owner: Owner) {
        let before = self.records.len();
        self.records.retain(|held| held.owner != owner);
        if self.records.len() != before {
            self.released.wake();
        }
    }

    /// Gives an open file the whole file; `false` if others are in the way, and then the lock it had is
    /// gone too, as flock(2) says of conversions.
    pub(super) fn set_whole(&mut self, new: Whole) -> bool {
        let known = self.whole.iter().find(|held| held.open == new.open);
        if known.is_some_and(|held| held.kind == new.kind) {
            return true;
        }
        self.release_whole(new.open);
        let exclusive = |kind: Kind| kind == Kind::Exclusive;
        let in_the_way = |held: &Whole| exclusive(held.kind) || exclusive(new.kind);
        if self.whole.iter().any(in_the_way) {
            return false;
        }
        self.whole.push(new);
        true
    }

    /// Takes the whole file away from an open file.
    pub(super) fn release_whole(&mut self, open: u64) {
        if let Some(at) = self.whole.iter().position(|held| held.open == open) {
            self.whole.remove(at);
            self.released.wake();
        }
    }

    /// Those who wait look again.
    pub(super) fn wake(&self) {
        self.released.wake();
    }

    /// What it means for a caller that it cannot go on.
    pub(super) fn stop(&self, patience: Patience) -> Stop {
        patience.stop(&self.released)
    }

    /// Registers for every release.
    pub(super) fn wait(&self, waiter: u32) {
        self.released.wait(waiter);
    }

    /// Whether nobody has locked anything.
    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty() && self.whole.is_empty() && self.leases.is_empty()
    }
}

impl Inode {
    /// Everything a process has locked in this file is free: it has closed a descriptor of it.
    pub(super) fn release_process(&self, owner: u64) {
        self.release_owner(Owner::Process(owner));
    }

    /// Everything an open file has locked is free: it is gone.
    pub(super) fn release_open(&self, open: u64) {
        self.release_owner(Owner::Open(open));
    }

    fn release_owner(&self, owner: Owner) {
        let mut slot = self.locks().lock();
        let Some(locks) = slot.as_mut() else {
            return;
        };
        locks.release_all(owner);
        if let Owner::Open(open) = owner {
            locks.release_whole(open);
            locks.release_lease(open);
        }
        if locks.is_empty() {
            locks.released.wake();
            *slot = None;
        }
    }

    /// Calls `act` with the locks of this file.
    pub(super) fn with_locks<T>(
        self: &InodeRef,
        wakes: &Wakes,
        act: impl FnOnce(&mut Locks) -> T,
    ) -> T {
        let mut slot = self.locks().lock();
        act(slot.get_or_insert_with(|| {
            self.note_locked();
            Box::new(Locks::new(wakes))
        }))
    }

    /// Calls `act` with the locks of this file if there are some.
    pub(super) fn with_own_locks(&self, act: impl FnOnce(&mut Locks)) {
        if let Some(locks) = self.locks().lock().as_mut() {
            act(locks);
        }
    }

    /// All locks on this file, in the order of their setting.
    pub(super) fn shown_locks(&self) -> Vec<ShownLock> {
        let slot = self.locks().lock();
        let Some(locks) = slot.as_ref() else {
            return Vec::new();
        };
        let whole = locks.whole.iter().map(|held| ShownLock {
            owner: Owner::Open(held.open),
            form: Form::Whole,
            pid: held.pid,
            kind: Some(held.kind),
            start: 0,
            end: END,
        });
        let records = locks.records.iter().map(|held| ShownLock {
            owner: held.owner,
            form: Form::Record,
            pid: held.pid,
            kind: Some(held.kind),
            start: held.start,
            end: held.end,
        });
        let leases = locks.leases.iter().map(|held| ShownLock {
            owner: Owner::Open(held.open),
            form: Form::Lease {
                breaking: held.is_breaking(),
            },
            pid: held.pid,
            kind: held.target(),
            start: 0,
            end: END,
        });
        whole.chain(records).chain(leases).collect()
    }
}

/// Who waits for a record of whom. An entry may be out of date: its waiter may have given up.
#[derive(Default)]
pub(super) struct Waiting(BTreeMap<u32, (Owner, Owner)>);

impl Waiting {
    /// The waiter looks anew.
    pub(super) fn forget(&mut self, waiter: u32) {
        self.0.remove(&waiter);
    }

    /// Whether `owner` waiting for `holder` would never end; `waits` tells whether an entry is true.
    pub(super) fn is_circle(
        &self,
        owner: Owner,
        holder: Owner,
        waits: impl Fn(u32) -> bool,
    ) -> bool {
        // Only processes wait in circles: an open file may be unlocked by somebody else.
        if !matches!((owner, holder), (Owner::Process(_), Owner::Process(_))) {
            return false;
        }
        let mut reached = Vec::from([holder]);
        let mut at = 0;
        while let Some(holder) = reached.get(at).copied() {
            if holder == owner {
                return true;
            }
            for (waiter, (who, whom)) in &self.0 {
                if *who == holder && !reached.contains(whom) && waits(*waiter) {
                    reached.push(*whom);
                }
            }
            at += 1;
        }
        false
    }

    /// Notes that `owner`, in the person of `waiter`, waits for `holder`.
    pub(super) fn note(&mut self, waiter: u32, owner: Owner, holder: Owner) {
        self.0.insert(waiter, (owner, holder));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(owner: u64, kind: Kind, start: u64, end: u64) -> Record {
        Record {
            owner: Owner::Process(owner),
            pid: owner as u32,
            kind,
            start,
            end,
        }
    }

    /// Every byte knows who has it how: the simplest thing that is right.
    type Model = [[Option<Kind>; 16]; 3];

    fn hindered(model: &Model, wanted: &Record, me: usize) -> bool {
        (wanted.start..wanted.end).any(|byte| {
            (0..3).filter(|other| *other != me).any(|other| {
                let held = model[other][byte as usize];
                held.is_some_and(|held| held == Kind::Exclusive || wanted.kind == Kind::Exclusive)
            })
        })
    }

    #[test]
    fn random_locks_do_what_bytes_with_owners_do() {
        let mut state = 0x1234_5678_9abc_def1_u64;
        let mut dice = |end: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % end
        };
        let mut locks = Locks::new(&Wakes::new());
        let mut model: Model = [[None; 16]; 3];
        for _ in 0..20_000 {
            let me = dice(3) as usize;
            let (a, b) = (dice(16), dice(16));
            let (start, end) = (a.min(b), a.max(b) + 1);
            let kind = [None, Some(Kind::Shared), Some(Kind::Exclusive)][dice(3) as usize];
            match kind {
                None => locks
                    .release(Owner::Process(me as u64), start, end)
                    .expect("there is room"),
                Some(kind) => {
                    let wanted = record(me as u64, kind, start, end);
                    let hindrance = locks.hindrance(&wanted);
                    assert_eq!(hindrance.is_some(), hindered(&model, &wanted, me));
                    if hindrance.is_some() {
                        continue;
                    }
                    locks.set(wanted).expect("there is room");
                }
            }
            model[me][start as usize..end as usize].fill(kind);
            for (owner, bytes) in model.iter().enumerate() {
                let mut seen = [None; 16];
                let mine: Vec<&Record> = locks
                    .records
                    .iter()
                    .filter(|held| held.owner == Owner::Process(owner as u64))
                    .collect();
                for held in &mine {
                    for byte in held.start..held.end {
                        assert_eq!(seen[byte as usize], None, "records overlap");
                        seen[byte as usize] = Some(held.kind);
                    }
                    let splits =
                        |other: &&&Record| other.end == held.start && other.kind == held.kind;
                    assert_eq!(mine.iter().find(splits), None, "records that touch");
                }
                assert_eq!(&seen, bytes);
            }
        }
    }

    #[test]
    fn circles_are_found_over_any_number_of_owners_and_only_if_they_are_true() {
        let owner = Owner::Process;
        let mut waiting = Waiting::default();
        waiting.note(12, owner(2), owner(3));
        waiting.note(13, owner(3), owner(4));
        assert!(!waiting.is_circle(owner(1), owner(2), |_| true));
        waiting.note(14, owner(4), owner(1));
        assert!(waiting.is_circle(owner(1), owner(2), |_| true));
        assert!(!waiting.is_circle(owner(1), owner(2), |waiter| waiter != 13));
        assert!(!waiting.is_circle(owner(1), Owner::Open(2), |_| true));
        waiting.forget(14);
        assert!(!waiting.is_circle(owner(1), owner(2), |_| true));
    }

    #[test]
    fn a_conversion_of_the_whole_that_fails_loses_what_there_was() {
        let mut locks = Locks::new(&Wakes::new());
        let whole = |open, kind| Whole { open, pid: 7, kind };
        assert!(locks.set_whole(whole(1, Kind::Shared)));
        assert!(locks.set_whole(whole(2, Kind::Shared)));
        assert!(!locks.set_whole(whole(1, Kind::Exclusive)));
        assert!(locks.set_whole(whole(2, Kind::Exclusive)));
        assert!(!locks.set_whole(whole(1, Kind::Shared)));
        locks.release_whole(2);
        assert!(locks.set_whole(whole(1, Kind::Shared)));
    }
}
