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
use alloc::vec::Vec;

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
const WAIT_REQUEUE_PI: u64 = 11;
const CMP_REQUEUE_PI: u64 = 12;
const LOCK_PI2: u64 = 13;
const PRIVATE: u64 = 0x80;
const CLOCK_REALTIME: u64 = 0x100;
/// Any bit of a bitset.
const ANY: u32 = u32::MAX;

// The word of a robust futex (`linux/futex.h`).
const WAITERS: u32 = 0x8000_0000;
const OWNER_DIED: u32 = 0x4000_0000;
const OWNER: u32 = 0x3fff_ffff;
/// Futexes that one thread waits for at once (`FUTEX_WAITV_MAX`).
const WAITV_MAX: u64 = 128;
/// Entries of a robust list that are looked at (`ROBUST_LIST_LIMIT`).
const ROBUST_MAX: usize = 2048;

/// What futex(2) is to do, without what it says of the word and the clock.
fn command_of(operation: u64) -> u64 {
    u64::from(operation as u32) & !(PRIVATE | CLOCK_REALTIME)
}

/// futex(2).
pub fn futex(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let [address, operation, value, fourth, second, third] = call.args;
    let private = operation & PRIVATE != 0;
    let command = command_of(operation);
    let bits = match command {
        WAIT_BITSET | WAKE_BITSET => third as u32,
        _ => ANY,
    };
    if bits == 0 {
        return Err(Errno::EINVAL.into());
    }
    let by_wall = operation & CLOCK_REALTIME != 0;
    if by_wall && !matches!(command, WAIT_BITSET | WAIT_REQUEUE_PI | LOCK_PI2) {
        return Err(Errno::ENOSYS.into());
    }
    let two = !matches!(command, WAIT | WAKE | WAIT_BITSET | WAKE_BITSET);
    if !private {
        // Who waits at shared memory waits where the memory's home is.
        call.be_at_home_for(address, address.saturating_add(4))?;
        if two {
            call.be_at_home_for(second, second.saturating_add(4))?;
        }
    }
    match command {
        WAIT | WAIT_BITSET => wait(call, bits),
        WAKE | WAKE_BITSET => {
            let key = call.futex_key(address, private)?;
            call.check_shared(address, private)?;
            call.check_plain(key)?;
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
            call.check_plain(from)?;
            let woken = call.system.wake_futex(from, value as usize, ANY);
            let moved = call.system.futexes.requeue(from, to, fourth as usize);
            Ok(woken + moved.len() as u64)
        }
        WAKE_OP => wake_op(call, private),
        WAIT_REQUEUE_PI => wait_requeued(call, private),
        CMP_REQUEUE_PI => requeue_owned(call, private),
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
        let base = match (command_of(operation), operation & CLOCK_REALTIME) {
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

/// `FUTEX_WAIT_REQUEUE_PI`: waits at a futex to be moved to a second one, and has that when the call ends. That it was
/// moved is in the restart record, so that it waits there again wherever it goes.
fn wait_requeued(call: &mut LocalCall<'_>, private: bool) -> Result<u64, Stop> {
    let [address, operation, value, timeout, second, _] = call.args;
    let tid = call.tid;
    if call.thread().restart.granted {
        return Ok(0);
    }
    if address == second {
        return Err(Errno::EINVAL.into());
    }
    let key = call.futex_key(address, private)?;
    let owned = call.futex_key(second, private)?;
    let deadline = call.deadline(timeout, |call, timeout| {
        let until = timespec(call, timeout)?;
        let now = match operation & CLOCK_REALTIME {
            0 => call.clock(),
            _ => call.wall(),
        };
        Ok(until.saturating_sub(now))
    })?;
    if call.thread().restart.progress != 0 {
        return match take_owned(call, second, owned)? {
            true => Ok(0),
            false => Err(wait_in_queue(call, owned, ANY, deadline)),
        };
    }
    if call.system.futexes.waits_at(tid).is_none() && call.word(address)? != value as u32 {
        return Err(Errno::EAGAIN.into());
    }
    Err(wait_in_queue(call, key, ANY, deadline))
}

/// Takes a futex that nobody owns; else notes that somebody waits for it.
fn take_owned(call: &mut LocalCall<'_>, address: u64, key: FutexKey) -> Result<bool, Stop> {
    let tid = call.tid;
    let waiting = call.system.futexes.waiting(key);
    let others = waiting.iter().any(|other| *other != tid);
    let waiters = if others { WAITERS } else { 0 };
    let before = call.change_word(address, |word| match word & OWNER {
        0 => word & OWNER_DIED | tid & OWNER | waiters,
        _ => word | WAITERS,
    })?;
    if before & OWNER == 0 {
        call.system.futexes.forget_thread(tid);
        return Ok(true);
    }
    Ok(false)
}

/// `FUTEX_CMP_REQUEUE_PI`: gives the second futex to who has waited longest at the first one, and lets the others
/// wait for it.
fn requeue_owned(call: &mut LocalCall<'_>, private: bool) -> Result<u64, Stop> {
    let [address, _, wake, most, second, expected] = call.args;
    if (wake as i32) < 0 || (most as i32) < 0 || address == second || wake as i32 != 1 {
        return Err(Errno::EINVAL.into());
    }
    let (from, to) = (
        call.futex_key(address, private)?,
        call.futex_key(second, private)?,
    );
    if call.word(address)? != expected as u32 {
        return Err(Errno::EAGAIN.into());
    }
    let mut waiting = call.system.futexes.waiting(from);
    waiting.truncate(most as usize + 1);
    let agreed = |tid: &u32| call.system.requeues_to(*tid).is_some_and(|to| to == second);
    if !waiting.iter().all(agreed) {
        return Err(Errno::EINVAL.into());
    }
    let Some(first) = waiting.first().copied() else {
        return Ok(0);
    };
    let others = waiting.len() > 1 || call.system.futexes.first(to).is_some();
    let waiters = if others { WAITERS } else { 0 };
    let before = call.change_word(second, |word| match word & OWNER {
        0 => word & OWNER_DIED | first & OWNER | waiters,
        owner if owner == first & OWNER => word,
        _ => word | WAITERS,
    })?;
    let given = match before & OWNER {
        0 => call.system.wake_futex(from, 1, ANY),
        owner if owner == first & OWNER => return Err(Errno::EDEADLK.into()),
        owner if !call.system.threads.contains_key(&owner) => return Err(Errno::ESRCH.into()),
        _ => 0,
    };
    let left = waiting.len() - given as usize;
    let moved = call.system.futexes.requeue_agreed(from, to, left);
    for tid in &moved {
        call.system.thread(*tid).restart.progress = 1;
    }
    Ok(given + moved.len() as u64)
}

/// The owner gives the lock to who has waited longest, with what he leaves in the word.
fn unlock_owned(
    call: &mut LocalCall<'_>,
    address: u64,
    key: FutexKey,
    left: u32,
) -> Result<u64, Stop> {
    unlock_of(call, (address, call.tid), key, left)
}

/// The same for another thread.
fn unlock_of(
    call: &mut LocalCall<'_>,
    (address, tid): (u64, u32),
    key: FutexKey,
    left: u32,
) -> Result<u64, Stop> {
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

/// futex_waitv(2): waits for any of several, and tells which one it was.
pub fn futex_waitv(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    const REALTIME: u64 = 0;
    const MONOTONIC: u64 = 1;
    let [waiters, count, flags, timeout, clock, _] = call.args;
    let (count, clock) = (u64::from(count as u32), u64::from(clock as u32));
    if call.thread().restart.granted {
        return Ok(call.thread().restart.progress);
    }
    if flags as u32 != 0 || !(1..=WAITV_MAX).contains(&count) || waiters == 0 {
        return Err(Errno::EINVAL.into());
    }
    if timeout != 0 && clock > MONOTONIC {
        return Err(Errno::EINVAL.into());
    }
    let deadline = call.deadline(timeout, |call, timeout| {
        let until = timespec(call, timeout)?;
        let now = match clock {
            REALTIME => call.wall(),
            _ => call.clock(),
        };
        Ok(until.saturating_sub(now))
    })?;
    let tid = call.tid;
    // Who is still in the queues was only disturbed.
    if call.system.futexes.waits_at(tid).is_none() {
        let keys = compared(call, waiters, count)?;
        if call.clock() >= deadline {
            return Err(Errno::ETIMEDOUT.into());
        }
        call.system.futexes.wait_for_any(keys, tid);
    } else if call.clock() >= deadline {
        call.system.futexes.forget_thread(tid);
        return Err(Errno::ETIMEDOUT.into());
    }
    if deadline == u64::MAX {
        call.thread().restart.begun = true;
        return Err(Stop::Wait);
    }
    Err(call.wait_until(deadline))
}

/// The futexes of an array (`struct futex_waitv`), each of which says what is expected of it.
fn compared(call: &mut LocalCall<'_>, waiters: u64, count: u64) -> Result<Vec<FutexKey>, Stop> {
    const BYTES: u64 = 24;
    const FUTEX2_SIZE_U32: u32 = 2;
    let bytes = call.read(waiters, (count * BYTES) as usize)?;
    let (words, _) = bytes.as_chunks::<8>();
    let (entries, _) = words.as_chunks::<3>();
    let mut wanted = Vec::new();
    for entry in entries {
        let [value, address, flags] = entry.map(u64::from_le_bytes);
        // The upper half is reserved.
        let private = match flags.checked_sub(FUTEX2_SIZE_U32.into()) {
            Some(0) => false,
            Some(PRIVATE) => true,
            _ => return Err(Errno::EINVAL.into()),
        };
        let value = u32::try_from(value).map_err(|_| Errno::EINVAL)?;
        wanted.push((value, address, private));
    }
    let mut keys = Vec::new();
    for (_, address, private) in &wanted {
        if !private {
            call.be_at_home_for(*address, address.saturating_add(4))?;
        }
        keys.push(call.futex_key(*address, *private)?);
    }
    for (value, address, _) in wanted {
        if call.word(address)? != value {
            return Err(Errno::EAGAIN.into());
        }
    }
    Ok(keys)
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
        let woken = self.futexes.take(key, count, bits);
        for (tid, index) in &woken {
            if let Some(thread) = self.threads.get_mut(tid) {
                thread.restart.granted = true;
                // What futex_waitv(2) returns.
                thread.restart.progress = u64::from(*index);
            }
            self.wakes.push(*tid);
        }
        woken.len() as u64
    }

    /// To which word a thread waits to be moved that is in a call of `FUTEX_WAIT_REQUEUE_PI`.
    fn requeues_to(&self, tid: u32) -> Option<u64> {
        const FUTEX: u32 = 202;
        let call = self.threads.get(&tid)?.call?;
        let command = command_of(call.args[1]);
        (call.number == FUTEX && command == WAIT_REQUEUE_PI).then_some(call.args[4])
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

    /// Who waits to be given another futex is not just woken.
    fn check_plain(&mut self, key: FutexKey) -> Result<(), Stop> {
        let first = self.system.futexes.first(key);
        match first.and_then(|(tid, _)| self.system.requeues_to(tid)) {
            Some(_) => Err(Errno::EINVAL.into()),
            None => Ok(()),
        }
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
            if self.release_robust(head, self.tid) == Err(Stop::Wait) {
                return Err(Stop::Wait);
            }
            self.thread().robust_list = (0, 0);
        }
        let word = self.thread().clear_tid;
        if word != 0 {
            if self.be_at_home_for(word, word.saturating_add(4)) == Err(Stop::Wait) {
                return Err(Stop::Wait);
            }
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

    /// The same for all threads of a process that ends. Only at home: elsewhere nobody else sees its memory but what home
    /// has lent it, and who ends by itself has come home for that. Pages that are still under way are not waited for.
    pub(crate) fn settle_all_debts(&mut self) -> Result<(), Stop> {
        let me = self.system.me;
        let here = self.body().home == me;
        let space = self.system.space_of(self.pid);
        if !here || space.is_none_or(|space| space.next_absent(0).is_some()) {
            return Ok(());
        }
        self.settle_debts()?;
        while let Some((tid, head)) = self.body().owed.last().copied() {
            if self.release_robust(head, tid) == Err(Stop::Wait) {
                return Err(Stop::Wait);
            }
            self.body().owed.pop();
        }
        Ok(())
    }

    /// Walks the robust list of a thread (`struct robust_list_head`: first entry, offset of the word, pending entry).
    fn release_robust(&mut self, head: u64, tid: u32) -> Result<(), Stop> {
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
                self.release_word(at.wrapping_add(offset), entry & 1, tid)?;
            }
            entry = next;
        }
        if pending != 0 {
            self.release_word(pending.wrapping_add(offset), unfinished & 1, tid)?;
        }
        Ok(())
    }

    /// Marks a robust futex and wakes who waits for it; one with priority inheritance (bit 0 of its
    /// entry) is handed over.
    fn release_word(&mut self, address: u64, owned: u64, tid: u32) -> Result<(), Stop> {
        self.be_at_home_for(address, address.saturating_add(4))?;
        let key = self.futex_key(address, false)?;
        if owned != 0 {
            let private = self.futex_key(address, true)?;
            let at = match self.system.futexes.first(private) {
                Some(_) => private,
                None => key,
            };
            return match unlock_of(self, (address, tid), at, OWNER_DIED) {
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
