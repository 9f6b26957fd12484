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
    /// Which of the futexes that it waits for at once this one was (futex_waitv(2)).
    index: u32,
}

/// All futexes of a node that somebody waits at.
#[derive(Default)]
pub struct Futexes {
    queues: BTreeMap<FutexKey, Vec<Waiter>>,
    /// Several only with futex_waitv(2).
    waits_at: BTreeMap<u32, Vec<FutexKey>>,
}

impl Futexes {
    /// Puts a thread at the end of a queue, once.
    pub fn wait(&mut self, key: FutexKey, tid: u32, bits: u32) {
        if self.waits_at(tid) == Some(key) {
            return;
        }
        self.forget_thread(tid);
        self.waits_at.insert(tid, Vec::from([key]));
        self.put(key, tid, bits, (false, 0));
    }

    /// Puts a thread at the end of several queues: who takes it out of one takes it out of all.
    pub fn wait_for_any(&mut self, keys: Vec<FutexKey>, tid: u32) {
        self.forget_thread(tid);
        for (index, key) in (0..).zip(&keys) {
            self.put(*key, tid, u32::MAX, (false, index));
        }
        self.waits_at.insert(tid, keys);
    }

    fn put(&mut self, key: FutexKey, tid: u32, bits: u32, (moved, index): (bool, u32)) {
        self.queues.entry(key).or_default().push(Waiter {
            tid,
            bits,
            moved,
            index,
        });
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

    /// Where a thread waits, first of all.
    pub fn waits_at(&self, tid: u32) -> Option<FutexKey> {
        self.waits_at.get(&tid)?.first().copied()
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
        let mut moved = false;
        for key in self.waits_at.remove(&tid).unwrap_or_default() {
            moved |= self.remove(key, tid);
        }
        moved
    }

    /// A space is over; its threads have gone before it.
    pub fn forget_space(&mut self, space: SpaceId) {
        let gone: Vec<u32> = self
            .waits_at
            .iter()
            .filter(|(_, keys)| {
                let within =
                    |key: &FutexKey| matches!(key, FutexKey::Private(of, _) if *of == space);
                keys.iter().any(within)
            })
            .map(|(tid, _)| *tid)
            .collect();
        for tid in gone {
            self.forget_thread(tid);
        }
    }

    /// Takes up to `count` threads out of a queue, longest waiting first, that wait for any of
    /// `bits`; each with the number that the queue has for it.
    pub fn take(&mut self, key: FutexKey, count: usize, bits: u32) -> Vec<(u32, u32)> {
        let woken = self.draw(key, count, bits);
        let woken: Vec<(u32, u32)> = woken
            .into_iter()
            .map(|waiter| (waiter.tid, waiter.index))
            .collect();
        for (tid, _) in &woken {
            self.forget_thread(*tid);
        }
        woken
    }

    /// As [`Futexes::take`], for who waits at one only.
    pub fn wake(&mut self, key: FutexKey, count: usize, bits: u32) -> Vec<u32> {
        let woken = self.take(key, count, bits);
        woken.into_iter().map(|(tid, _)| tid).collect()
    }

    /// The places of up to `count` threads in a queue, which are there no more.
    fn draw(&mut self, key: FutexKey, count: usize, bits: u32) -> Vec<Waiter> {
        let mut drawn: Vec<Waiter> = Vec::new();
        let Some(queue) = self.queues.remove(&key) else {
            return drawn;
        };
        let mut left = Vec::new();
        for waiter in queue {
            let again = drawn.iter().any(|drawn| drawn.tid == waiter.tid);
            if drawn.len() < count && waiter.bits & bits != 0 && !again {
                drawn.push(waiter);
            } else {
                left.push(waiter);
            }
        }
        if !left.is_empty() {
            self.queues.insert(key, left);
        }
        drawn
    }

    /// Who waits at a futex, longest waiting first.
    pub fn waiting(&self, key: FutexKey) -> Vec<u32> {
        let queue = self.queues.get(&key);
        queue.map_or(Vec::new(), |queue| queue.iter().map(|it| it.tid).collect())
    }

    /// Moves up to `count` threads from one queue to the end of another.
    pub fn requeue(&mut self, from: FutexKey, to: FutexKey, count: usize) -> Vec<u32> {
        self.requeue_as(from, to, (count, true))
    }

    /// As [`Futexes::requeue`], for those who have agreed to it, and know what to do there after a move.
    pub fn requeue_agreed(&mut self, from: FutexKey, to: FutexKey, count: usize) -> Vec<u32> {
        self.requeue_as(from, to, (count, false))
    }

    fn requeue_as(
        &mut self,
        from: FutexKey,
        to: FutexKey,
        (count, unaware): (usize, bool),
    ) -> Vec<u32> {
        if from == to {
            return Vec::new();
        }
        let moved = self.draw(from, count, u32::MAX);
        for waiter in &moved {
            let keys = self.waits_at.get_mut(&waiter.tid);
            let place = keys.and_then(|keys| keys.iter_mut().find(|key| **key == from));
            if let Some(place) = place {
                *place = to;
            }
            self.put(to, waiter.tid, u32::MAX, (unaware, waiter.index));
        }
        moved.into_iter().map(|waiter| waiter.tid).collect()
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
    fn who_waits_at_several_is_taken_out_of_all_by_one() {
        let mut futexes = Futexes::default();
        futexes.wait_for_any(Vec::from([key(8), key(16), key(24), key(16)]), 1);
        futexes.wait(key(16), 2, u32::MAX);
        assert_eq!(futexes.waits_at(1), Some(key(8)));
        assert_eq!(futexes.requeue(key(24), key(32), 1), [1]);
        assert_eq!(futexes.take(key(16), 2, u32::MAX), [(1, 1), (2, 0)]);
        assert_eq!(futexes.wake(key(32), 9, u32::MAX), []);
        futexes.wait_for_any(Vec::from([key(8), key(24)]), 1);
        futexes.requeue(key(24), key(32), 1);
        assert_eq!(futexes.take(key(32), 1, u32::MAX), [(1, 1)]);
        assert!(futexes.is_empty());
        futexes.wait_for_any(Vec::from([key(8), key(16)]), 1);
        futexes.forget_space(SpaceId::default());
        assert!(futexes.is_empty());
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
