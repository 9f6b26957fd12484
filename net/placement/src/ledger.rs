//! What a node remembers of other nodes between two decisions: what it has sent there, and who has refused.
//!
//! Law: others are believed by their deeds. Who takes nobody although it says that it would is not asked again for a while,
//! each time for twice as long, so that a node which lies costs a little time and not all of it. Bounded: what is
//! over is forgotten, and of those who refuse at most [`REFUSERS_MAX`] are kept.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use wire::{NodeId, Pid};

/// Something that was sent counts for so long at most, ns.
const SENT_NS: u64 = 8_000_000_000;
/// A node that has refused once is let alone for so long, ns.
const FIRST_NS: u64 = 2_000_000_000;
/// And twice as long each time, so often.
const DOUBLED_MAX: u32 = 9;
/// Nodes that are remembered for having refused.
const REFUSERS_MAX: usize = 1024;

#[derive(Clone, Copy, Debug)]
struct Sent {
    pid: Pid,
    to: NodeId,
    at_ns: u64,
    /// When it had got there, as far as it has.
    there_ns: Option<u64>,
    frames: u32,
}

#[derive(Clone, Copy, Debug)]
struct Refused {
    times: u32,
    at_ns: u64,
}

impl Refused {
    /// How long it is let alone, ns.
    fn rest_ns(self) -> u64 {
        FIRST_NS << (self.times - 1).min(DOUBLED_MAX)
    }
}

/// What one node remembers of the others.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    sent: Vec<Sent>,
    refused: BTreeMap<NodeId, Refused>,
}

impl Ledger {
    /// A process of so many frames is on its way to a node.
    pub fn sent(&mut self, now: u64, pid: Pid, to: NodeId, frames: u32) {
        self.sent
            .retain(|sent| now < sent.at_ns.saturating_add(SENT_NS));
        self.sent.push(Sent {
            pid,
            to,
            at_ns: now,
            there_ns: None,
            frames,
        });
    }

    /// What is on its way to a node, or has come there since that told `told_of` how loaded it was, and is not over:
    /// processes and their frames.
    pub fn coming(&self, node: NodeId, told_of: u64, is_over: impl Fn(Pid) -> bool) -> (u32, u32) {
        let coming = self.sent.iter();
        let coming = coming.filter(|sent| {
            sent.to == node && sent.there_ns.is_none_or(|there_ns| there_ns >= told_of)
        });
        let coming = coming.filter(|sent| !is_over(sent.pid));
        coming.fold((0, 0), |(count, frames), sent| {
            (count + 1, sent.frames.saturating_add(frames))
        })
    }

    /// A process has not got to where it was sent; returns where that was.
    pub fn failed(&mut self, pid: Pid) -> Option<NodeId> {
        let place = self.sent.iter().rposition(|sent| sent.pid == pid)?;
        Some(self.sent.remove(place).to)
    }

    /// A process has got to where it was sent: what that node says is true again.
    pub fn took(&mut self, now: u64, pid: Pid) {
        if let Some(sent) = self.sent.iter_mut().rfind(|sent| sent.pid == pid) {
            sent.there_ns = Some(now);
            self.refused.remove(&sent.to);
        }
    }

    /// A node did not take a process although it said that it would.
    pub fn refused(&mut self, now: u64, by: NodeId) {
        let times = self.refused.get(&by).map_or(0, |refused| refused.times);
        if times == 0 && self.refused.len() == REFUSERS_MAX {
            let oldest = self
                .refused
                .iter()
                .min_by_key(|(_, refused)| refused.at_ns)
                .map(|(node, _)| *node);
            oldest.and_then(|node| self.refused.remove(&node));
        }
        let times = times.saturating_add(1);
        self.refused.insert(by, Refused { times, at_ns: now });
    }

    /// Whether a node is not to be asked now.
    pub fn is_avoided(&self, now: u64, node: NodeId) -> bool {
        let refused = self.refused.get(&node);
        refused.is_some_and(|refused| now < refused.at_ns.saturating_add(refused.rest_ns()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;
    const NODE: NodeId = NodeId(2);

    #[test]
    fn what_was_sent_counts_until_the_load_has_it_in_it() {
        let mut ledger = Ledger::default();
        let nobody = |_: Pid| false;
        ledger.sent(SECOND, Pid(7), NODE, 100);
        ledger.sent(3 * SECOND, Pid(8), NODE, u32::MAX);
        ledger.sent(3 * SECOND, Pid(9), NodeId(3), 7);
        assert_eq!(ledger.coming(NODE, 0, nobody), (2, u32::MAX));
        // On its way it is in nobody's load yet, whenever that was told.
        assert_eq!(ledger.coming(NODE, 4 * SECOND, nobody), (2, u32::MAX));
        ledger.took(2 * SECOND, Pid(7));
        assert_eq!(ledger.coming(NODE, 2 * SECOND, nobody), (2, u32::MAX));
        assert_eq!(ledger.coming(NODE, 3 * SECOND, nobody), (1, u32::MAX));
        assert_eq!(ledger.coming(NODE, 0, |pid| pid == Pid(8)), (1, 100));
        assert_eq!(ledger.failed(Pid(8)), Some(NODE));
        assert_eq!(ledger.failed(Pid(8)), None);
        assert_eq!(ledger.coming(NODE, 0, nobody), (1, 100));
        ledger.sent(60 * SECOND, Pid(7), NODE, 1);
        assert_eq!(ledger.coming(NODE, 0, nobody), (1, 1));
    }

    #[test]
    fn who_refuses_is_let_alone_for_longer_each_time() {
        let mut ledger = Ledger::default();
        assert!(!ledger.is_avoided(0, NODE));
        let (mut now, mut times) = (0, 0);
        while now < 3600 * SECOND {
            if !ledger.is_avoided(now, NODE) {
                ledger.refused(now, NODE);
                times += 1;
            }
            now += SECOND;
        }
        assert!((8..=13).contains(&times), "asked {times} times in an hour");
        assert!(ledger.is_avoided(now, NODE));
        ledger.took(now, Pid(7));
        assert!(ledger.is_avoided(now, NODE), "nothing was sent");
        ledger.sent(now, Pid(7), NODE, 1);
        ledger.took(now, Pid(7));
        assert!(!ledger.is_avoided(now, NODE));
    }

    #[test]
    fn it_has_a_bound() {
        let mut ledger = Ledger::default();
        for node in 1..5000 {
            ledger.refused(u64::from(node), NodeId(node));
        }
        assert_eq!(ledger.refused.len(), REFUSERS_MAX);
        assert!(ledger.is_avoided(5000, NodeId(4999)) && !ledger.is_avoided(5000, NodeId(1)));
        ledger.refused(u64::MAX, NODE);
        assert!(!ledger.is_avoided(u64::MAX, NODE));
    }
}
