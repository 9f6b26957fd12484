//! IPC of System V: semaphores, message queues and shared memory of one home node.
//!
//! Law: an identifier names one object for ever: the number of a removed one comes back only with
//! another sequence. Who waits for an object that is removed is told so, once. A call that waits has
//! changed nothing.

mod limits;
mod messages;
mod semaphores;
mod shared;

pub(crate) use limits::{Limits, SETTINGS};
pub(crate) use messages::Receive;
pub(crate) use semaphores::Operation;

use crate::credentials::Ids;
use crate::credentials::{IPC_OWNER, SYS_ADMIN};
use crate::wait::{WaitQueue, Wakes};
use abi::Errno;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use limits::Room;
use messages::Queue;
use semaphores::Set;
use shared::Segment;

pub(crate) const IPC_PRIVATE: i32 = 0;
pub(crate) const IPC_CREAT: u32 = 0o1000;
pub(crate) const IPC_EXCL: u32 = 0o2000;
pub(crate) const IPC_NOWAIT: u32 = 0o4000;
pub(crate) const IPC_RMID: u32 = 0;
pub(crate) const IPC_SET: u32 = 1;
pub(crate) const IPC_STAT: u32 = 2;
pub(crate) const IPC_INFO: u32 = 3;

/// Bits of an index in an identifier (`IPCMNI`).
const INDEX_BITS: u32 = 15;
/// Most objects of a kind, unless it is set otherwise.
const OBJECTS_MAX: usize = 32_000;

/// Reading and writing, in the bits of a mode.
pub(crate) const READS: u32 = 0o444;
/// See [`READS`].
pub(crate) const WRITES: u32 = 0o222;

/// Who calls: the process, who it is, and when, s since 1970.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) pid: u32,
    pub(crate) waiter: u32,
    pub(crate) ids: Ids,
    pub(crate) groups: Vec<u32>,
    pub(crate) now_s: u64,
}

/// `struct ipc_perm`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Permissions {
    key: i32,
    uid: u32,
    gid: u32,
    cuid: u32,
    cgid: u32,
    mode: u32,
    sequence: u16,
}

impl Permissions {
    fn check(&self, caller: &Caller, wanted: u32) -> Result<(), Errno> {
        let (ids, groups) = (&caller.ids, &caller.groups);
        let in_group = |gid: u32| ids.egid == gid || groups.contains(&gid);
        let granted = if ids.euid == self.uid || ids.euid == self.cuid {
            self.mode >> 6
        } else if in_group(self.gid) || in_group(self.cgid) {
            self.mode >> 3
        } else {
            self.mode
        };
        let asked = (wanted >> 6 | wanted >> 3 | wanted) & 7;
        if ids.has(IPC_OWNER) || asked & !granted == 0 {
            Ok(())
        } else {
            Err(Errno::EACCES)
        }
    }

    fn check_owner(&self, caller: &Caller) -> Result<(), Errno> {
        let euid = caller.ids.euid;
        if caller.ids.has(SYS_ADMIN) || euid == self.uid || euid == self.cuid {
            Ok(())
        } else {
            Err(Errno::EPERM)
        }
    }

    /// `struct ipc64_perm`, 48 bytes.
    fn to_bytes(self) -> Vec<u8> {
        let words = [
            self.key as u32,
            self.uid,
            self.gid,
            self.cuid,
            self.cgid,
            self.mode,
        ];
        let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        bytes.extend_from_slice(&self.sequence.to_le_bytes());
        bytes.resize(48, 0);
        bytes
    }

    /// What `IPC_SET` changes, from a `struct ipc64_perm`.
    fn change(&mut self, bytes: &[u8]) -> Result<(), Errno> {
        let word = |at: usize| {
            let bytes = bytes
                .get(at..at + 4)
                .and_then(|bytes| bytes.try_into().ok());
            bytes.map(u32::from_le_bytes).ok_or(Errno::EFAULT)
        };
        let (uid, gid, mode) = (word(4)?, word(8)?, word(20)?);
        if uid == u32::MAX || gid == u32::MAX {
            return Err(Errno::EINVAL);
        }
        self.uid = uid;
        self.gid = gid;
        self.mode = self.mode & !0o777 | mode & 0o777;
        Ok(())
    }
}

struct Entry<T> {
    permissions: Permissions,
    object: T,
    changed: WaitQueue,
}

/// The objects of one kind.
struct Table<T> {
    entries: Vec<Option<Entry<T>>>,
    sequence: u16,
    room: Room,
    /// Who waits for which object.
    waiting: BTreeMap<u32, i32>,
    /// Who has waited for an object that is no more.
    bereaved: BTreeMap<u32, i32>,
}

impl<T> Default for Table<T> {
    fn default() -> Table<T> {
        Table {
            entries: Vec::new(),
            sequence: 0,
            room: Room::default(),
            waiting: BTreeMap::new(),
            bereaved: BTreeMap::new(),
        }
    }
}

impl<T> Table<T> {
    fn id_of(&self, index: usize) -> i32 {
        let entry = self.entries.get(index).and_then(Option::as_ref);
        let sequence = entry.map_or(0, |entry| entry.permissions.sequence);
        i32::from(sequence) << INDEX_BITS | index as i32
    }

    fn index(&self, id: i32) -> Option<usize> {
        let index = usize::try_from(id & ((1 << INDEX_BITS) - 1)).ok()?;
        let entry = self.entries.get(index)?.as_ref()?;
        (id >= 0 && id >> INDEX_BITS == i32::from(entry.permissions.sequence)).then_some(index)
    }

    fn find(&mut self, id: i32) -> Result<&mut Entry<T>, Errno> {
        let index = self.index(id).ok_or(Errno::EINVAL)?;
        self.entries[index].as_mut().ok_or(Errno::EINVAL)
    }

    /// The object in a row of the table, and its identifier: what the `*_STAT` commands are asked by, for
    /// which everybody may (`*_STAT_ANY`) or has to be allowed to read it.
    fn at_row(&self, row: i32, caller: &Caller, any: bool) -> Result<(u64, &Entry<T>), Errno> {
        let index = usize::try_from(row).map_err(|_| Errno::EINVAL)?;
        let entry = self.entries.get(index).and_then(Option::as_ref);
        let entry = entry.ok_or(Errno::EINVAL)?;
        if !any {
            entry.permissions.check(caller, READS)?;
        }
        Ok((self.id_of(index) as u64, entry))
    }

    /// The object for a call that may wait: who has waited for it learns that it is no more.
    fn find_again(&mut self, id: i32, caller: &Caller) -> Result<&mut Entry<T>, Errno> {
        self.waiting.remove(&caller.waiter);
        if self.bereaved.remove(&caller.waiter) == Some(id) {
            return Err(Errno::EIDRM);
        }
        self.find(id)
    }

    /// The object with a key, or a new one: what the `*get` calls do.
    fn get(
        &mut self,
        caller: &Caller,
        key: i32,
        flags: u32,
        wakes: &Wakes,
        check: impl FnOnce(Option<&T>) -> Result<(), Errno>,
        make: impl FnOnce() -> Result<T, Errno>,
    ) -> Result<i32, Errno> {
        let known = self.entries.iter().position(|entry| {
            key != IPC_PRIVATE
                && entry
                    .as_ref()
                    .is_some_and(|entry| entry.permissions.key == key)
        });
        if let Some(index) = known
            && let Some(entry) = self.entries[index].as_ref()
        {
            if flags & IPC_CREAT != 0 && flags & IPC_EXCL != 0 {
                return Err(Errno::EEXIST);
            }
            check(Some(&entry.object))?;
            entry.permissions.check(caller, flags & 0o777)?;
            return Ok(self.id_of(index));
        }
        if key != IPC_PRIVATE && flags & IPC_CREAT == 0 {
            return Err(Errno::ENOENT);
        }
        check(None)?;
        if self.count().0 >= self.room.most {
            return Err(Errno::ENOSPC);
        }
        let object = make()?;
        let (index, sequence) = self.place();
        let ids = caller.ids;
        let entry = Entry {
            permissions: Permissions {
                key,
                uid: ids.euid,
                gid: ids.egid,
                cuid: ids.euid,
                cgid: ids.egid,
                mode: flags & 0o777,
                sequence,
            },
            object,
            changed: WaitQueue::new(wakes),
        };
        if index >= self.entries.len() {
            self.entries.resize_with(index + 1, || None);
        }
        self.entries[index] = Some(entry);
        Ok(self.id_of(index))
    }

    /// The row and the sequence of a new object: those that were asked for, or the first row behind that is
    /// free, and the sequence that is next.
    fn place(&mut self) -> (usize, u16) {
        let asked = self.room.take_next();
        let first = asked.map_or(0, |id| id as usize & ((1 << INDEX_BITS) - 1));
        let free = |at: &usize| self.entries.get(*at).is_none_or(Option::is_none);
        // There are fewer objects than rows, so one is free before or behind that one.
        let index = (first..1 << INDEX_BITS).chain(0..first).find(free);
        let sequence = asked.map_or(self.sequence, |id| (id >> INDEX_BITS) as u16);
        if asked.is_none() {
            self.sequence = (self.sequence + 1) & 0x7fff;
        }
        (index.unwrap_or(0), sequence)
    }

    fn remove(&mut self, id: i32, caller: &Caller) -> Result<(), Errno> {
        self.find(id)?.permissions.check_owner(caller)?;
        let index = self.index(id).ok_or(Errno::EINVAL)?;
        if let Some(entry) = self.entries[index].take() {
            entry.changed.wake();
        }
        let waiters: Vec<u32> = self
            .waiting
            .iter()
            .filter(|(_, held)| **held == id)
            .map(|(waiter, _)| *waiter)
            .collect();
        for waiter in waiters {
            self.waiting.remove(&waiter);
            self.bereaved.insert(waiter, id);
        }
        Ok(())
    }

    /// How many there are, and the highest index.
    fn count(&self) -> (usize, usize) {
        let used = self.entries.iter().filter(|entry| entry.is_some()).count();
        let highest = self.entries.iter().rposition(Option::is_some);
        (used, highest.unwrap_or(0))
    }

    fn forget(&mut self, waiter: u32) {
        self.waiting.remove(&waiter);
        self.bereaved.remove(&waiter);
    }
}

/// All objects of a node.
pub(crate) struct Ipc {
    sets: Table<Set>,
    queues: Table<Queue>,
    segments: Table<Segment>,
    limits: Limits,
}

impl Default for Ipc {
    fn default() -> Ipc {
        Ipc {
            sets: Table::default(),
            queues: Table::default(),
            segments: Table {
                room: Room::new(shared::SEGMENTS_MAX),
                ..Table::default()
            },
            limits: Limits::default(),
        }
    }
}

impl Ipc {
    /// A process does something else now than waiting for an object.
    pub(crate) fn forget_waiter(&mut self, waiter: u32) {
        if !self.sets.waiting.is_empty() || !self.sets.bereaved.is_empty() {
            self.forget_set_waiter(waiter);
        }
        if !self.queues.waiting.is_empty() || !self.queues.bereaved.is_empty() {
            self.queues.forget(waiter);
        }
    }
}

fn put(bytes: &mut [u8], at: usize, field: &[u8]) {
    bytes[at..at + field.len()].copy_from_slice(field);
}

#[cfg(test)]
use messages::Taken;
#[cfg(test)]
mod tests;
