//! Sets of semaphores: semget(2), semop(2), semctl(2).
//!
//! Law: the operations of one call happen all at once or not at all. What an operation with `SEM_UNDO`
//! has changed is taken back when its process ends.

use super::{Caller, IPC_INFO, IPC_NOWAIT, IPC_RMID, IPC_SET, IPC_STAT, Ipc, READS, WRITES, put};
use crate::wait::{Stop, Wakes};
use abi::Errno;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write as _;

const SEM_UNDO: u32 = 0x1000;
/// Processes with something to undo, of a call, and the highest value (`SEMUME`, `SEMVMX`).
const UNDO_MAX: u32 = 500;
const VALUE_MAX: i32 = 32_767;
/// Semaphores of a node: what its memory should hold.
const ALL_MAX: usize = 1 << 20;

const GETPID: u32 = 11;
const GETVAL: u32 = 12;
const GETALL: u32 = 13;
const GETNCNT: u32 = 14;
const GETZCNT: u32 = 15;
const SETVAL: u32 = 16;
const SETALL: u32 = 17;
const SEM_STAT: u32 = 18;
const SEM_INFO: u32 = 19;
const SEM_STAT_ANY: u32 = 20;

#[derive(Clone, Copy, Default, Debug)]
struct Semaphore {
    value: i32,
    /// Who changed it last.
    pid: u32,
}

/// One set.
pub(super) struct Set {
    semaphores: Vec<Semaphore>,
    operated_s: u64,
    changed_s: u64,
    /// What is taken back when a process ends.
    undo: BTreeMap<u32, Vec<i32>>,
    /// Who waits for which semaphore to grow, or to become zero.
    waiting: BTreeMap<u32, (usize, bool)>,
}

/// `struct sembuf`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Operation {
    number: usize,
    by: i32,
    flags: u32,
}

impl Operation {
    pub(crate) fn parse(bytes: &[u8; 6]) -> Operation {
        let half = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        Operation {
            number: usize::from(half(0)),
            by: i32::from(half(2) as i16),
            flags: u32::from(half(4)),
        }
    }
}

/// Why operations cannot happen now.
enum Halt {
    Errno(Errno),
    /// Until this semaphore grows, or becomes zero.
    Waits(usize, bool),
}

impl Set {
    /// What the values would be.
    fn try_all(&self, operations: &[Operation]) -> Result<Vec<i32>, Halt> {
        let mut values: Vec<i32> = self.semaphores.iter().map(|held| held.value).collect();
        for operation in operations {
            let value = &mut values[operation.number];
            let zero = operation.by == 0;
            let new = *value + operation.by;
            if (zero && *value != 0) || new < 0 {
                return Err(if operation.flags & IPC_NOWAIT != 0 {
                    Halt::Errno(Errno::EAGAIN)
                } else {
                    Halt::Waits(operation.number, zero)
                });
            }
            if new > VALUE_MAX {
                return Err(Halt::Errno(Errno::ERANGE));
            }
            *value = new;
        }
        Ok(values)
    }

    /// The adjustments of a process behind these operations, if any wants to be undone.
    fn try_undo(&self, pid: u32, operations: &[Operation]) -> Result<Option<Vec<i32>>, Errno> {
        if operations.iter().all(|op| op.flags & SEM_UNDO == 0) {
            return Ok(None);
        }
        let none = || alloc::vec![0; self.semaphores.len()];
        let mut undo = self.undo.get(&pid).cloned().unwrap_or_else(none);
        for operation in operations.iter().filter(|op| op.flags & SEM_UNDO != 0) {
            let adjust = &mut undo[operation.number];
            *adjust -= operation.by;
            if adjust.abs() > VALUE_MAX {
                return Err(Errno::ERANGE);
            }
        }
        Ok(Some(undo))
    }

    fn waiters(&self, number: usize, zero: bool) -> u64 {
        let wanted = self.waiting.values();
        wanted.filter(|held| **held == (number, zero)).count() as u64
    }
}

impl Ipc {
    pub(super) fn forget_set_waiter(&mut self, waiter: u32) {
        if let Some(id) = self.sets.waiting.get(&waiter).copied()
            && let Ok(entry) = self.sets.find(id)
        {
            entry.object.waiting.remove(&waiter);
        }
        self.sets.forget(waiter);
    }

    /// semget(2).
    pub(crate) fn semget(
        &mut self,
        caller: &Caller,
        key: i32,
        count: i32,
        flags: u32,
        wakes: &Wakes,
    ) -> Result<u64, Errno> {
        let count = usize::try_from(count).map_err(|_| Errno::EINVAL)?;
        if count > self.limits.set {
            return Err(Errno::EINVAL);
        }
        let sets = self.sets.entries.iter().flatten();
        let all: usize = sets.map(|entry| entry.object.semaphores.len()).sum();
        let now_s = caller.now_s;
        let most = ALL_MAX.min(self.limits.semaphores);
        let id = self.sets.get(
            caller,
            key,
            flags,
            wakes,
            |known| match known {
                Some(set) if count > set.semaphores.len() => Err(Errno::EINVAL),
                None if count == 0 => Err(Errno::EINVAL),
                _ => Ok(()),
            },
            || {
                if all + count > most {
                    return Err(Errno::ENOSPC);
                }
                Ok(Set {
                    semaphores: alloc::vec![Semaphore::default(); count],
                    operated_s: 0,
                    changed_s: now_s,
                    undo: BTreeMap::new(),
                    waiting: BTreeMap::new(),
                })
            },
        )?;
        Ok(id as u64)
    }

    /// semtimedop(2), which may wait if `waits`.
    pub(crate) fn semop(
        &mut self,
        caller: &Caller,
        id: i32,
        operations: &[Operation],
        waits: bool,
    ) -> Result<u64, Stop> {
        if operations.is_empty() {
            return Err(Errno::EINVAL.into());
        }
        if operations.len() > self.limits.operations {
            return Err(Errno::E2BIG.into());
        }
        let entry = self.sets.find_again(id, caller)?;
        let set = &mut entry.object;
        set.waiting.remove(&caller.waiter);
        let count = set.semaphores.len();
        if operations.iter().any(|op| op.number >= count) {
            return Err(Errno::EFBIG.into());
        }
        let alters = operations.iter().any(|op| op.by != 0);
        let wanted = if alters { WRITES } else { READS };
        entry.permissions.check(caller, wanted)?;
        let values = match set.try_all(operations) {
            Ok(values) => values,
            Err(Halt::Errno(errno)) => return Err(errno.into()),
            Err(Halt::Waits(..)) if !waits => return Err(Errno::EAGAIN.into()),
            Err(Halt::Waits(number, zero)) => {
                set.waiting.insert(caller.waiter, (number, zero));
                entry.changed.wait(caller.waiter);
                self.sets.waiting.insert(caller.waiter, id);
                return Err(Stop::Wait);
            }
        };
        if let Some(undo) = set.try_undo(caller.pid, operations)? {
            set.undo.insert(caller.pid, undo);
        }
        for operation in operations {
            set.semaphores[operation.number].pid = caller.pid;
        }
        for (held, value) in set.semaphores.iter_mut().zip(values) {
            held.value = value;
        }
        set.operated_s = caller.now_s;
        if alters {
            entry.changed.wake();
        }
        Ok(0)
    }

    /// A process has ended: what it wanted undone is undone, as far as values allow.
    pub(crate) fn ended(&mut self, pid: u32) {
        self.forget_waiter(pid);
        for entry in self.sets.entries.iter_mut().flatten() {
            let Some(undo) = entry.object.undo.remove(&pid) else {
                continue;
            };
            for (held, adjust) in entry.object.semaphores.iter_mut().zip(undo) {
                if adjust != 0 {
                    held.value = (held.value + adjust).clamp(0, VALUE_MAX);
                    held.pid = pid;
                }
            }
            entry.changed.wake();
        }
    }

    /// `/proc/sysvipc/sem`.
    pub(crate) fn sem_table(&self) -> String {
        let mut text = String::from(
            "       key      semid perms      nsems   uid   gid  cuid  cgid      otime      ctime\n",
        );
        for (index, entry) in self.sets.entries.iter().enumerate() {
            let Some(entry) = entry else { continue };
            let (held, set) = (&entry.permissions, &entry.object);
            let _ = writeln!(
                text,
                "{:10} {:10}  {:4o} {:10} {:5} {:5} {:5} {:5} {:10} {:10}",
                held.key,
                self.sets.id_of(index),
                held.mode,
                set.semaphores.len(),
                held.uid,
                held.gid,
                held.cuid,
                held.cgid,
                set.operated_s,
                set.changed_s
            );
        }
        text
    }

    /// semctl(2): `given` is what the fourth argument points to, or is; the value, and what is to be
    /// written to where it points.
    pub(crate) fn semctl(
        &mut self,
        caller: &Caller,
        id: i32,
        number: i32,
        command: u32,
        given: &[u8],
        value: u64,
    ) -> Result<(u64, Vec<u8>), Errno> {
        match command {
            IPC_INFO | SEM_INFO => return Ok(self.sem_info(command)),
            IPC_RMID => {
                self.sets.remove(id, caller)?;
                return Ok((0, Vec::new()));
            }
            SEM_STAT | SEM_STAT_ANY => {
                let any = command == SEM_STAT_ANY;
                let (id, entry) = self.sets.at_row(id, caller, any)?;
                return Ok((id, status(entry)));
            }
            _ => {}
        }
        let entry = self.sets.find(id)?;
        let permissions = entry.permissions;
        let set = &mut entry.object;
        let at = usize::try_from(number).ok();
        let at = at.filter(|at| *at < set.semaphores.len());
        let at = || at.ok_or(Errno::EINVAL);
        match command {
            IPC_STAT => {
                permissions.check(caller, READS)?;
                Ok((0, status(entry)))
            }
            IPC_SET => {
                permissions.check_owner(caller)?;
                entry.permissions.change(given)?;
                set.changed_s = caller.now_s;
                Ok((0, Vec::new()))
            }
            GETALL => {
                permissions.check(caller, READS)?;
                let values = set.semaphores.iter().map(|held| held.value as u16);
                Ok((0, values.flat_map(u16::to_le_bytes).collect()))
            }
            GETVAL | GETPID | GETNCNT | GETZCNT => {
                permissions.check(caller, READS)?;
                let at = at()?;
                let held = set.semaphores[at];
                let value = match command {
                    GETVAL => held.value as u64,
                    GETPID => u64::from(held.pid),
                    GETNCNT => set.waiters(at, false),
                    _ => set.waiters(at, true),
                };
                Ok((value, Vec::new()))
            }
            SETVAL => {
                let value = value as i32;
                if !(0..=VALUE_MAX).contains(&value) {
                    return Err(Errno::ERANGE);
                }
                permissions.check(caller, WRITES)?;
                let at = at()?;
                set.semaphores[at] = Semaphore {
                    value,
                    pid: caller.pid,
                };
                for undo in set.undo.values_mut() {
                    undo[at] = 0;
                }
                set.changed_s = caller.now_s;
                entry.changed.wake();
                Ok((0, Vec::new()))
            }
            SETALL => {
                permissions.check(caller, WRITES)?;
                let (values, _) = given.as_chunks::<2>();
                let values: Vec<i32> = values
                    .iter()
                    .map(|value| i32::from(u16::from_le_bytes(*value)))
                    .take(set.semaphores.len())
                    .collect();
                if values.len() < set.semaphores.len() {
                    return Err(Errno::EFAULT);
                }
                if values.iter().any(|value| *value > VALUE_MAX) {
                    return Err(Errno::ERANGE);
                }
                for (held, value) in set.semaphores.iter_mut().zip(values) {
                    held.value = value;
                    held.pid = caller.pid;
                }
                set.undo.clear();
                set.changed_s = caller.now_s;
                entry.changed.wake();
                Ok((0, Vec::new()))
            }
            _ => Err(Errno::EINVAL),
        }
    }

    /// `struct seminfo`, and the highest index.
    fn sem_info(&self, command: u32) -> (u64, Vec<u8>) {
        let (used, highest) = self.sets.count();
        let sets = self.sets.entries.iter().flatten();
        let all: usize = sets.map(|entry| entry.object.semaphores.len()).sum();
        let (now, total) = match command {
            IPC_INFO => (20, VALUE_MAX as u32),
            _ => (used as u32, all as u32),
        };
        let words: [u32; 10] = [
            1_024_000_000,
            self.sets.room.most as u32,
            self.limits.semaphores as u32,
            1_024_000_000,
            self.limits.set as u32,
            self.limits.operations as u32,
            UNDO_MAX,
            now,
            VALUE_MAX as u32,
            total,
        ];
        let bytes = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        (highest as u64, bytes)
    }
}

/// `struct semid64_ds`.
fn status(entry: &super::Entry<Set>) -> Vec<u8> {
    let mut bytes = entry.permissions.to_bytes();
    bytes.resize(104, 0);
    put(&mut bytes, 48, &entry.object.operated_s.to_le_bytes());
    put(&mut bytes, 64, &entry.object.changed_s.to_le_bytes());
    let count = entry.object.semaphores.len() as u64;
    put(&mut bytes, 80, &count.to_le_bytes());
    bytes
}
