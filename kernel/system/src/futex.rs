//! Futexes: who waits at which word of memory (futex(2)).
//!
//! Law: the word is compared and the thread put into the queue in one go, under the System's lock. A
//! wake takes a thread out of the queue and is granted to it: the call then ends with 0, whatever the
//! word says by then. The queues do not travel: a process moves with all of its threads, and each
//! of them begins its wait anew where it arrives, with the comparison; one whose wait another thread
//! has moved to a second futex has nothing to compare there, so its wait ends by the move, as futex
//! waits may. Nobody has a priority to inherit: futexes with priority inheritance are handed over in order.

use crate::spaces::SpaceId;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

/// Which word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FutexKey {
    /// An address of a space.
    Private(SpaceId, u64),
    /// A byte of memory that several spaces may map: the object ([`Space::shared_place`]) and the
    /// offset in it.
    ///
    /// [`Space::shared_place`]: crate::memory::Space::shared_place
    Shared(u64, u64),
}

struct Waiter {
    tid: u32,
    bits: u32,
    /// Another thread has moved it here.
    moved: bool,
}

/// All futexes of a node that somebody waits at.
#[derive(Default)]
pub struct Futexes {
    queues: BTreeMap<FutexKey, Vec<Waiter>>,
    waits_at: BTreeMap<u32, FutexKey>,
}

impl Futexes {
    /// Puts a thread at the end of a queue, once.
    pub fn wait(&mut self, key: FutexKey, tid: u32, bits: u32) {
        self.put(key, tid, bits, false);
    }

    fn put(&mut self, key: FutexKey, tid: u32, bits: u32, moved: bool) {
        match self.waits_at.insert(tid, key) {
            Some(before) if before == key => return,
            Some(before) => {
                self.remove(before, tid);
            }
            None => {}
        }
        let queue = self.queues.entry(key).or_default();
        queue.push(Waiter { tid, bits, moved });
    }

    /// Who has waited longest at a futex, and whether others wait there.
    pub fn first(&self, key: FutexKey) -> Option<(u32, bool)> {
        let queue = self.queues.get(&key)?;
        Some((queue.first()?.tid, queue.len() > 1))
    }

    /// Whether nobody waits.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.queues.is_empty() && self.waits_at.is_empty()
    }

    /// Where a thread waits.
    pub fn waits_at(&self, tid: u32) -> Option<FutexKey> {
        self.waits_at.get(&tid).copied()
    }

    /// Returns whether it had been moved there.
    fn remove(&mut self, key: FutexKey, tid: u32) -> bool {
        let Some(queue) = self.queues.get_mut(&key) else {
            return false;
        };
        let at = queue.iter().position(|waiter| waiter.tid == tid);
        let moved = at.is_some_and(|at| queue.remove(at).moved);
        if queue.is_empty() {
            self.queues.remove(&key);
        }
        moved
    }

    /// A thread waits no longer, or is over. Returns whether it waited where another thread had
    /// moved it.
    pub fn forget_thread(&mut self, tid: u32) -> bool {
        let key = self.waits_at.remove(&tid);
        key.is_some_and(|key| self.remove(key, tid))
    }

    /// A space is over; its threads have gone before it.
    pub fn forget_space(&mut self, space: SpaceId) {
        let gone: Vec<u32> = self
            .waits_at
            .iter()
            .filter(|(_, key)| matches!(key, FutexKey::Private(of, _) if *of == space))
            .map(|(tid, _)| *tid)
            .collect();
        for tid in gone {
            self.forget_thread(tid);
        }
    }

    /// Takes up to `count` threads out of a queue, longest waiting first, that wait for any of
    /// `bits`.
    pub fn wake(&mut self, key: FutexKey, count: usize, bits: u32) -> Vec<u32> {
        let mut woken = Vec::new();
        let Some(queue) = self.queues.get_mut(&key) else {
            return woken;
        };
        queue.retain(|waiter| {
            let take = woken.len() < count && waiter.bits & bits != 0;
            if take {
                woken.push(waiter.tid);
            }
            !take
        });
        if queue.is_empty() {
            self.queues.remove(&key);
        }
        for tid in &woken {
            self.waits_at.remove(tid);
        }
        woken
    }

    /// Moves up to `count` threads from one queue to the end of another.
    pub fn requeue(&mut self, from: FutexKey, to: FutexKey, count: usize) -> Vec<u32> {
        if from == to {
            return Vec::new();
        }
        let moved = self.wake(from, count, u32::MAX);
        for tid in &moved {
            self.put(to, *tid, u32::MAX, true);
        }
        moved
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(address: u64) -> FutexKey {
        FutexKey::Private(SpaceId::default(), address)
    }

    #[test]
    fn the_longest_waiting_is_woken_first_and_once() {
        let mut futexes = Futexes::default();
        for tid in [3, 1, 2] {
            futexes.wait(key(8), tid, u32::MAX);
            futexes.wait(key(8), tid, u32::MAX);
        }
        assert_eq!(futexes.wake(key(8), 2, u32::MAX), [3, 1]);
        assert_eq!(futexes.wake(key(8), 9, u32::MAX), [2]);
        assert_eq!(futexes.wake(key(8), 9, u32::MAX), []);
        assert!(futexes.queues.is_empty() && futexes.waits_at.is_empty());
    }

    #[test]
    fn bits_choose_and_requeue_moves() {
        let mut futexes = Futexes::default();
        futexes.wait(key(8), 1, 1);
        futexes.wait(key(8), 2, 2);
        futexes.wait(key(8), 3, 3);
        assert_eq!(futexes.wake(key(8), 1, 2), [2]);
        assert_eq!(futexes.requeue(key(8), key(16), 1), [1]);
        assert_eq!(futexes.waits_at(1), Some(key(16)));
        assert_eq!(futexes.wake(key(8), 9, u32::MAX), [3]);
        assert_eq!(futexes.wake(key(16), 9, u32::MAX), [1]);
        futexes.wait(key(8), 1, 1);
        futexes.requeue(key(8), key(16), 1);
        assert!(futexes.forget_thread(1) && !futexes.forget_thread(1));
    }

    #[test]
    fn who_waits_elsewhere_or_is_over_waits_here_no_more() {
        let mut futexes = Futexes::default();
        futexes.wait(key(8), 1, u32::MAX);
        futexes.wait(key(16), 1, u32::MAX);
        assert_eq!(futexes.wake(key(8), 9, u32::MAX), []);
        futexes.forget_thread(1);
        assert_eq!(futexes.wake(key(16), 9, u32::MAX), []);
        futexes.wait(key(8), 2, u32::MAX);
        futexes.forget_space(SpaceId::default());
        assert!(futexes.queues.is_empty() && futexes.waits_at.is_empty());
    }
}
