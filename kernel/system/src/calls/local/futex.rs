//! futex(2), and what a thread that ends owes to those who wait for it.
//!
//! Law: every word is looked at and changed under the System's lock, so a comparison and what follows
//! from it are one step for all threads in the kernel; against threads in user mode on other
//! processors a changed word is written by compare and exchange. A futex with priority inheritance is
//! handed over by writing the next owner into its word, so that it is his wherever he is by then.

use super::timespec;
use crate::dispatch::LocalCall;
use crate::futex::FutexKey;
use crate::system::System;
use crate::wait::Stop;
use abi::Errno;

const WAIT: u64 = 0;
const WAKE: u64 = 1;
const REQUEUE: u64 = 3;
const CMP_REQUEUE: u64 = 4;
const WAKE_OP: u64 = 5;
const LOCK_PI: u64 = 6;
const UNLOCK_PI: u64 = 7;
const TRYLOCK_PI: u64 = 8;
const WAIT_BITSET: u64 = 9;
const WAKE_BITSET: u64 = 10;
const LOCK_PI2: u64 = 13;
const PRIVATE: u64 = 0x80;
const CLOCK_REALTIME: u64 = 0x100;
/// Any bit of a bitset.
const ANY: u32 = u32::MAX;

// The word of a robust futex (`linux/futex.h`).
const WAITERS: u32 = 0x8000_0000;
const OWNER_DIED: u32 = 0x4000_0000;
const OWNER: u32 = 0x3fff_ffff;
/// Entries of a robust list that are looked at (`ROBUST_LIST_LIMIT`).
const ROBUST_MAX: usize = 2048;

/// futex(2).
pub fn futex(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let [address, operation, value, fourth, second, third] = call.args;
    let private = operation & PRIVATE != 0;
    let command = operation & !(PRIVATE | CLOCK_REALTIME);
    let bits = match command {
        WAIT_BITSET | WAKE_BITSET => third as u32,
        _ => ANY,
    };
    if bits == 0 {
        return Err(Errno::EINVAL.into());
    }
    let by_wall = operation & CLOCK_REALTIME != 0;
    if by_wall && !matches!(command, WAIT_BITSET | LOCK_PI2) {
        return Err(Errno::ENOSYS.into());
    }
    match command {
        WAIT | WAIT_BITSET => wait(call, bits),
        WAKE | WAKE_BITSET => {
            let key = call.futex_key(address, private)?;
            call.check_shared(address, private)?;
            Ok(call.system.wake_futex(key, count(value), bits))
        }
        REQUEUE | CMP_REQUEUE => {
            let (from, to) = (
                call.futex_key(address, private)?,
                call.futex_key(second, private)?,
            );
            if (value as i32) < 0 || (fourth as i32) < 0 {
                return Err(Errno::EINVAL.into());
            }
            call.check_shared(address, private)?;
            call.check_shared(second, private)?;
            if command == CMP_REQUEUE && call.word(address)? != third as u32 {
                return Err(Errno::EAGAIN.into());
            }
            let woken = call.system.wake_futex(from, value as usize, ANY);
            let moved = call.system.futexes.requeue(from, to, fourth as usize);
            Ok(woken + moved.len() as u64)
        }
        WAKE_OP => wake_op(call, private),
        LOCK_PI | LOCK_PI2 | TRYLOCK_PI => lock_owned(call, command),
        UNLOCK_PI => {
            let key = call.futex_key(address, private)?;
            unlock_owned(call, address, key, 0)
        }
        _ => Err(Errno::ENOSYS.into()),
    }
}

/// How many to wake: Linux wakes at least one.
fn count(value: u64) -> usize {
    (value as i32).max(1) as usize
}

fn wait(call: &mut LocalCall<'_>, bits: u32) -> Result<u64, Stop> {
    let [address, operation, value, timeout, ..] = call.args;
    let tid = call.tid;
    if call.thread().restart.granted {
        return Ok(0);
    }
    let key = call.futex_key(address, operation & PRIVATE != 0)?;
    let deadline = call.deadline(timeout, |call, timeout| {
        let span = timespec(call, timeout)?;
        let base = match (
            operation & !(PRIVATE | CLOCK_REALTIME),
            operation & CLOCK_REALTIME,
        ) {
            (WAIT, _) => 0,
            (_, 0) => call.clock(),
            _ => call.wall(),
        };
        Ok(span.saturating_sub(base))
    })?;
    // Who is still in a queue was only disturbed.
    if call.system.futexes.waits_at(tid).is_none() && call.word(address)? != value as u32 {
        return Err(Errno::EAGAIN.into());
    }
    Err(wait_in_queue(call, key, bits, deadline))
}

/// Waits in the queue of a futex, where the thread may be already, until it is granted or the time is over.
fn wait_in_queue(call: &mut LocalCall<'_>, key: FutexKey, bits: u32, deadline: u64) -> Stop {
    let tid = call.tid;
    if call.clock() >= deadline {
        call.system.futexes.forget_thread(tid);
        return Errno::ETIMEDOUT.into();
    }
    if call.system.futexes.waits_at(tid).is_none() {
        call.system.futexes.wait(key, tid, bits);
    }
    if deadline == u64::MAX {
        call.thread().restart.begun = true;
        return Stop::Wait;
    }
    call.wait_until(deadline)
}

/// `FUTEX_LOCK_PI` and its relatives: the word names the thread that has the lock.
fn lock_owned(call: &mut LocalCall<'_>, command: u64) -> Result<u64, Stop> {
    let [address, operation, _, timeout, ..] = call.args;
    let tid = call.tid;
    if call.thread().restart.granted {
        return Ok(0);
    }
    let key = call.futex_key(address, operation & PRIVATE != 0)?;
    let by_wall = command == LOCK_PI || operation & CLOCK_REALTIME != 0;
    let deadline = call.deadline(timeout, |call, timeout| {
        let until = timespec(call, timeout)?;
        let now = if by_wall { call.wall() } else { call.clock() };
        Ok(until.saturating_sub(now))
    })?;
    let waiting = call.system.futexes.first(key).is_some();
    let waiters = if waiting { WAITERS } else { 0 };
    let before = call.change_word(address, |word| match word & OWNER {
        0 => word & OWNER_DIED | tid & OWNER | waiters,
        owner if owner == tid & OWNER || command == TRYLOCK_PI => word,
        _ => word | WAITERS,
    })?;
    let owner = before & OWNER;
    if owner == 0 {
        call.system.futexes.forget_thread(tid);
        return Ok(0);
    }
    if owner == tid & OWNER {
        return Err(Errno::EDEADLK.into());
    }
    if command == TRYLOCK_PI {
        return Err(Errno::EAGAIN.into());
    }
    if !call.system.threads.contains_key(&owner) {
        call.system.futexes.forget_thread(tid);
        return Err(Errno::ESRCH.into());
    }
    Err(wait_in_queue(call, key, ANY, deadline))
}

/// The owner gives the lock to who has waited longest, with what he leaves in the word.
fn unlock_owned(
    call: &mut LocalCall<'_>,
    address: u64,
    key: FutexKey,
    left: u32,
) -> Result<u64, Stop> {
    let tid = call.tid;
    let next = match call.system.futexes.first(key) {
        Some((next, true)) => next & OWNER | WAITERS | left,
        Some((next, false)) => next & OWNER | left,
        None => left,
    };
    let before = call.change_word(address, |word| match word & OWNER == tid & OWNER {
        true => next,
        false => word,
    })?;
    if before & OWNER != tid & OWNER {
        return Err(Errno::EPERM.into());
    }
    call.system.wake_futex(key, 1, ANY);
    Ok(0)
}

/// FUTEX_WAKE_OP: changes the second word, wakes at the first, and at the second if its old value
/// compares as wanted.
fn wake_op(call: &mut LocalCall<'_>, private: bool) -> Result<u64, Stop> {
    let [address, _, value, fourth, second, encoded] = call.args;
    let (first_key, second_key) = (
        call.futex_key(address, private)?,
        call.futex_key(second, private)?,
    );
    let encoded = encoded as u32;
    let (operation, comparison) = (encoded >> 28 & 7, encoded >> 24 & 15);
    // Twelve bits each, with a sign.
    let mut operand = ((encoded << 8) as i32 >> 20) as u32;
    let compared = (encoded << 20) as i32 >> 20;
    if encoded >> 31 != 0 {
        operand = 1 << (operand & 31);
    }
    let change = |old: u32| match operation {
        0 => Some(operand),
        1 => Some(old.wrapping_add(operand)),
        2 => Some(old | operand),
        3 => Some(old & !operand),
        4 => Some(old ^ operand),
        _ => None,
    };
    if change(0).is_none() || comparison > 5 {
        return Err(Errno::ENOSYS.into());
    }
    let old = call.change_word(second, |old| change(old).unwrap_or(old))? as i32;
    let holds = match comparison {
        0 => old == compared,
        1 => old != compared,
        2 => old < compared,
        3 => old <= compared,
        4 => old > compared,
        _ => old >= compared,
    };
    let mut woken = call.system.wake_futex(first_key, count(value), ANY);
    if holds {
        woken += call.system.wake_futex(second_key, count(fourth), ANY);
    }
    Ok(woken)
}

impl System {
    /// Grants their waits to up to `count` threads.
    pub(crate) fn wake_futex(&mut self, key: FutexKey, count: usize, bits: u32) -> u64 {
        let woken = self.futexes.wake(key, count, bits);
        for tid in &woken {
            if let Some(thread) = self.threads.get_mut(tid) {
                thread.restart.granted = true;
            }
            self.wakes.push(*tid);
        }
        woken.len() as u64
    }

    /// What a word of memory is to futex(2).
    fn futex_key(&mut self, pid: u32, address: u64, private: bool) -> Option<FutexKey> {
        let space = self.bodies.get(&pid)?.space;
        let shared = match private {
            true => None,
            false => self.space_of(pid)?.shared_place(address),
        };
        Some(match shared {
            Some((object, offset)) => FutexKey::Shared(object, offset),
            None => FutexKey::Private(space, address),
        })
    }
}

impl LocalCall<'_> {
    fn futex_key(&mut self, address: u64, private: bool) -> Result<FutexKey, Stop> {
        if !address.is_multiple_of(4) {
            return Err(Errno::EINVAL.into());
        }
        if address >= machine::USER_END {
            return Err(Errno::EFAULT.into());
        }
        let key = self.system.futex_key(self.pid, address, private);
        key.ok_or(Stop::Errno(Errno::EFAULT))
    }

    /// Which memory a word lies in counts for all futexes but private ones, so there has to be some.
    fn check_shared(&mut self, address: u64, private: bool) -> Result<(), Stop> {
        if !private {
            self.word(address)?;
        }
        Ok(())
    }

    fn word(&mut self, address: u64) -> Result<u32, Stop> {
        let done = self
            .system
            .with_space(self.pid, |space, pages| space.load_word(address, pages));
        done.map_err(|trouble| self.system.trouble(self.tid, trouble))
    }

    /// Changes a word of user memory in one step; the value before.
    fn change_word(&mut self, address: u64, change: impl Fn(u32) -> u32) -> Result<u32, Stop> {
        let done = self.system.with_space(self.pid, |space, pages| {
            space.change_word(address, &change, pages)
        });
        done.map_err(|trouble| self.system.trouble(self.tid, trouble))
    }

    /// What a thread does for others before it ends: its robust futexes are marked and their waiters
    /// woken, and the word of set_tid_address(2) is cleared. Each of it once, however often this is
    /// run again.
    pub(crate) fn settle_debts(&mut self) -> Result<(), Stop> {
        let (head, _) = self.thread().robust_list;
        if head != 0 {
            if self.release_robust(head) == Err(Stop::Wait) {
                return Err(Stop::Wait);
            }
            self.thread().robust_list = (0, 0);
        }
        let word = self.thread().clear_tid;
        if word != 0 {
            if self.write(word, &[0; 4]) == Err(Stop::Wait) {
                return Err(Stop::Wait);
            }
            self.thread().clear_tid = 0;
            if let Ok(key) = self.futex_key(word, false) {
                self.system.wake_futex(key, 1, ANY);
            }
        }
        Ok(())
    }

    /// Walks a robust list (`struct robust_list_head`: first entry, offset of the word, pending entry).
    fn release_robust(&mut self, head: u64) -> Result<(), Stop> {
        let offset = self.read_u64(head.wrapping_add(8))?;
        let unfinished = self.read_u64(head.wrapping_add(16))?;
        let pending = unfinished & !1;
        let mut entry = self.read_u64(head)?;
        for _ in 0..ROBUST_MAX {
            let at = entry & !1;
            if at == head {
                break;
            }
            let next = self.read_u64(at)?;
            if at != pending {
                self.release_word(at.wrapping_add(offset), entry & 1)?;
            }
            entry = next;
        }
        if pending != 0 {
            self.release_word(pending.wrapping_add(offset), unfinished & 1)?;
        }
        Ok(())
    }

    /// Marks a robust futex and wakes who waits for it; one with priority inheritance (bit 0 of its
    /// entry) is handed over.
    fn release_word(&mut self, address: u64, owned: u64) -> Result<(), Stop> {
        let tid = self.tid;
        let key = self.futex_key(address, false)?;
        if owned != 0 {
            let private = self.futex_key(address, true)?;
            let at = match self.system.futexes.first(private) {
                Some(_) => private,
                None => key,
            };
            return match unlock_owned(self, address, at, OWNER_DIED) {
                Err(Stop::Errno(Errno::EPERM)) => Ok(()),
                other => other.map(|_| ()),
            };
        }
        let mine = |word: u32| word & OWNER == tid & OWNER;
        let before = self.change_word(address, |word| {
            if mine(word) {
                word & WAITERS | OWNER_DIED
            } else {
                word
            }
        })?;
        if mine(before) && before & WAITERS != 0 {
            self.system.wake_futex(key, 1, ANY);
            // The same word may be waited at as private memory.
            if let Ok(private) = self.futex_key(address, true) {
                self.system.wake_futex(private, 1, ANY);
            }
        }
        Ok(())
    }
}
