//! Settings of IPC under /proc/sys/kernel: how much there may be of each kind.
//!
//! Law: a limit holds for what is made from then on; what is there stays. None can be set higher than what
//! one call carries.

use super::{Ipc, OBJECTS_MAX};
use abi::Errno;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::RangeInclusive;

/// Most rows of a table (`IPCMNI`).
const ROWS_MAX: u64 = 32_768;
/// No row has been asked for (`*_next_id`).
const NONE_ASKED: i32 = -1;

/// The files that can be written to.
pub(crate) const SETTINGS: [&str; 10] = [
    "kernel/msg_next_id",
    "kernel/msgmax",
    "kernel/msgmnb",
    "kernel/msgmni",
    "kernel/sem",
    "kernel/sem_next_id",
    "kernel/shm_next_id",
    "kernel/shmall",
    "kernel/shmmax",
    "kernel/shmmni",
];

/// What is not the same for all tables.
pub(crate) struct Limits {
    /// Bytes of a message, and what a new queue holds (`MSGMAX`, `MSGMNB`).
    pub(super) message: usize,
    pub(super) queue: u64,
    /// Semaphores of a set, of all sets, and operations of a call (`SEMMSL`, `SEMMNS`, `SEMOPM`).
    pub(super) set: usize,
    pub(super) semaphores: usize,
    pub(super) operations: usize,
    /// Bytes of a segment, and pages of all of them (`SHMMAX`, `SHMALL`).
    pub(super) segment: u64,
    pub(super) pages: u64,
}

impl Limits {
    /// The most bytes of a message that a call carries.
    pub(crate) const MESSAGE_MAX: u64 = 65_536;
    /// The most semaphores of a set.
    const SET_MAX: u64 = 32_000;
    /// The most operations of a call.
    pub(crate) const OPERATIONS_MAX: u64 = 500;
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            message: 8192,
            queue: 16_384,
            set: Limits::SET_MAX as usize,
            semaphores: 1_024_000_000,
            operations: Limits::OPERATIONS_MAX as usize,
            segment: u64::MAX - (1 << 24),
            pages: u64::MAX - (1 << 24),
        }
    }
}

/// How many objects a table holds, and at which identifier the next one is looked for.
pub(super) struct Room {
    pub(super) most: usize,
    pub(super) next: i32,
}

impl Room {
    pub(super) fn new(most: usize) -> Room {
        Room {
            most,
            next: NONE_ASKED,
        }
    }

    /// The identifier that was asked for, once.
    pub(super) fn take_next(&mut self) -> Option<i32> {
        let next = core::mem::replace(&mut self.next, NONE_ASKED);
        (next != NONE_ASKED).then_some(next)
    }
}

impl Default for Room {
    fn default() -> Room {
        Room::new(OBJECTS_MAX)
    }
}

/// The numbers of a line.
fn numbers(text: &str) -> Result<Vec<u64>, Errno> {
    let words = text.split_ascii_whitespace();
    let numbers: Result<Vec<u64>, _> = words.map(str::parse).collect();
    numbers.map_err(|_| Errno::EINVAL)
}

/// The one number of a line, in a range.
fn number(text: &str, range: RangeInclusive<u64>) -> Result<u64, Errno> {
    match numbers(text)?[..] {
        [number] if range.contains(&number) => Ok(number),
        _ => Err(Errno::EINVAL),
    }
}

impl Ipc {
    /// The contents of one of [`SETTINGS`].
    pub(crate) fn setting(&self, name: &str) -> Option<String> {
        let held = &self.limits;
        Some(match name {
            "kernel/msg_next_id" => format!("{}\n", self.queues.room.next),
            "kernel/sem_next_id" => format!("{}\n", self.sets.room.next),
            "kernel/shm_next_id" => format!("{}\n", self.segments.room.next),
            "kernel/msgmax" => format!("{}\n", held.message),
            "kernel/msgmnb" => format!("{}\n", held.queue),
            "kernel/msgmni" => format!("{}\n", self.queues.room.most),
            "kernel/sem" => format!(
                "{}\t{}\t{}\t{}\n",
                held.set, held.semaphores, held.operations, self.sets.room.most
            ),
            "kernel/shmall" => format!("{}\n", held.pages),
            "kernel/shmmax" => format!("{}\n", held.segment),
            "kernel/shmmni" => format!("{}\n", self.segments.room.most),
            _ => return None,
        })
    }

    /// A write to one of [`SETTINGS`].
    pub(crate) fn set(&mut self, name: &str, text: &str) -> Result<(), Errno> {
        const INT_MAX: u64 = i32::MAX as u64;
        match name {
            "kernel/msg_next_id" => self.queues.room.next = number(text, 0..=INT_MAX)? as i32,
            "kernel/sem_next_id" => self.sets.room.next = number(text, 0..=INT_MAX)? as i32,
            "kernel/shm_next_id" => self.segments.room.next = number(text, 0..=INT_MAX)? as i32,
            "kernel/msgmax" => {
                self.limits.message = number(text, 0..=Limits::MESSAGE_MAX)? as usize;
            }
            "kernel/msgmnb" => self.limits.queue = number(text, 0..=INT_MAX)?,
            "kernel/msgmni" => self.queues.room.most = number(text, 0..=ROWS_MAX)? as usize,
            "kernel/sem" => self.set_semaphores(&numbers(text)?)?,
            "kernel/shmall" => self.limits.pages = number(text, 0..=u64::MAX)?,
            "kernel/shmmax" => self.limits.segment = number(text, 0..=u64::MAX)?,
            "kernel/shmmni" => self.segments.room.most = number(text, 0..=ROWS_MAX)? as usize,
            _ => return Err(Errno::EINVAL),
        }
        Ok(())
    }

    /// `SEMMSL`, `SEMMNS`, `SEMOPM` and `SEMMNI`, or the first of them.
    fn set_semaphores(&mut self, numbers: &[u64]) -> Result<(), Errno> {
        let most = [
            Limits::SET_MAX,
            i32::MAX as u64,
            Limits::OPERATIONS_MAX,
            u64::MAX,
        ];
        if numbers.len() > most.len()
            || numbers
                .iter()
                .zip(most)
                .any(|(number, most)| *number > most)
        {
            return Err(Errno::EINVAL);
        }
        if numbers.get(3).is_some_and(|sets| *sets > ROWS_MAX) {
            return Err(Errno::ERANGE);
        }
        let held = &mut self.limits;
        let places = [
            &mut held.set,
            &mut held.semaphores,
            &mut held.operations,
            &mut self.sets.room.most,
        ];
        for (place, number) in places.into_iter().zip(numbers) {
            *place = *number as usize;
        }
        Ok(())
    }
}
