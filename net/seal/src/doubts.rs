//! Boots whose Hellos have led to nothing: recordings of what is gone, mostly.
//!
//! Law: whoever says again the Hellos of boots that are over has each of them tried, and then ever more rarely; a
//! boot that was not tried yet comes before all of those. What is remembered is bounded.

use crate::rate::Rate;
use alloc::collections::BTreeMap;
use wire::{BootId, NodeId};

/// Boots that are remembered; another takes the place of the one that was tried longest ago.
const DOUBTS_MAX: usize = 4096;
/// A second try follows the first after so long, ns, a third after twice that, and so on,
const FIRST_GAP_NS: u64 = 100_000_000;
/// doubled so often at most.
const DOUBLED_MAX: u32 = 9;

#[derive(Debug)]
struct Doubt {
    tries: u32,
    last: u64,
}

#[derive(Debug)]
pub(crate) struct Doubts {
    tried: BTreeMap<(NodeId, BootId), Doubt>,
    first: Rate,
    again: Rate,
}

impl Doubts {
    pub(crate) fn new() -> Doubts {
        Doubts {
            tried: BTreeMap::new(),
            first: Rate::new(),
            again: Rate::new(),
        }
    }

    /// Whether a handshake with a boot that was not met may be begun; asking begins one.
    pub(crate) fn take(&mut self, now: u64, boot: (NodeId, BootId)) -> bool {
        if let Some(doubt) = self.tried.get_mut(&boot) {
            let gap = FIRST_GAP_NS << (doubt.tries - 1).min(DOUBLED_MAX);
            if now < doubt.last + gap || !self.again.take(now) {
                return false;
            }
            doubt.tries += 1;
            doubt.last = now;
            return true;
        }
        if !self.first.take(now) {
            return false;
        }
        if self.tried.len() >= DOUBTS_MAX {
            let oldest = self.tried.iter().min_by_key(|(_, doubt)| doubt.last);
            if let Some(boot) = oldest.map(|(boot, _)| *boot) {
                self.tried.remove(&boot);
            }
        }
        let (tries, last) = (1, now);
        self.tried.insert(boot, Doubt { tries, last });
        true
    }

    /// There is no doubt of a boot.
    pub(crate) fn clear(&mut self, boot: (NodeId, BootId)) {
        self.tried.remove(&boot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn who_was_tried_in_vain_waits_longer_each_time() {
        let mut doubts = Doubts::new();
        let boot = (NodeId(1), BootId(1));
        let tries: alloc::vec::Vec<u64> = (0..200_000)
            .step_by(10)
            .filter(|ms| doubts.take(ms * MS, boot))
            .collect();
        assert_eq!(
            tries,
            [
                0, 100, 300, 700, 1500, 3100, 6300, 12_700, 25_500, 51_100, 102_300, 153_500
            ]
        );
        doubts.clear(boot);
        assert!(doubts.take(200_000 * MS, boot));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut doubts = Doubts::new();
        for number in 0..2 * DOUBTS_MAX as u64 {
            assert!(doubts.take(number * 100 * MS, (NodeId(1), BootId(number))));
        }
        assert_eq!(doubts.tried.len(), DOUBTS_MAX);
        assert!(!doubts.tried.contains_key(&(NodeId(1), BootId(0))));
    }
}
