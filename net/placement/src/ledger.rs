//! What a node remembers of other nodes between two decisions: what it has sent there and on which terms, who has refused, and who
//! has more to do than it had told.
//!
//! Law: others are believed by their deeds. Who takes nobody although it says that it would is not asked again for a while,
//! each time for twice as long, so that a node which lies costs a little time and not all of it. Bounded: what is
//! over is forgotten, and of those who refuse at most [`REFUSERS_MAX`] are kept.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use wire::{NodeId, Pid, Terms};

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
    terms: Terms,
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
    /// Who has refused because it has more to do than it had told, and when.
    crowded: BTreeMap<NodeId, u64>,
}

impl Ledger {
    /// A process of so many frames is on its way to a node, on these terms.
    pub fn sent(&mut self, now: u64, pid: Pid, to: NodeId, frames: u32, terms: Terms) {
        self.sent
            .retain(|sent| now < sent.at_ns.saturating_add(SENT_NS));
        self.sent.push(Sent {
            pid,
            to,
            at_ns: now,
            there_ns: None,
            frames,
            terms,
        });
    }

    /// On which terms a process goes to a node.
    pub fn terms(&self, pid: Pid, to: NodeId) -> Terms {
        let mut sent = self.sent.iter().rev();
        let is_it = |sent: &&Sent| (sent.pid, sent.to, sent.there_ns) == (pid, to, None);
        sent.find(is_it).map_or(Terms::Anyhow, |sent| sent.terms)
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

    /// A node has more to do than it had told.
    pub fn crowded(&mut self, now: u64, node: NodeId) {
        self.crowded
            .retain(|_, at_ns| now < at_ns.saturating_add(SENT_NS));
        if self.crowded.len() < REFUSERS_MAX {
            self.crowded.insert(node, now);
        }
    }

    /// Whether a node is not to be asked now, that told `told_of` how loaded it was.
    pub fn is_avoided(&self, now: u64, node: NodeId, told_of: u64) -> bool {
        let refused = self.refused.get(&node);
        let is_crowded = self
            .crowded
            .get(&node)
            .is_some_and(|at_ns| told_of <= *at_ns);
        is_crowded
            || refused.is_some_and(|refused| now < refused.at_ns.saturating_add(refused.rest_ns()))
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
        ledger.sent(SECOND, Pid(7), NODE, 100, Terms::Anyhow);
        ledger.sent(3 * SECOND, Pid(8), NODE, u32::MAX, Terms::Anyhow);
        ledger.sent(3 * SECOND, Pid(9), NodeId(3), 7, Terms::Anyhow);
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
        ledger.sent(60 * SECOND, Pid(7), NODE, 1, Terms::Anyhow);
        assert_eq!(ledger.coming(NODE, 0, nobody), (1, 1));
    }

    #[test]
    fn who_refuses_is_let_alone_for_longer_each_time() {
        let mut ledger = Ledger::default();
        assert!(!ledger.is_avoided(0, NODE, 0));
        let (mut now, mut times) = (0, 0);
        while now < 3600 * SECOND {
            if !ledger.is_avoided(now, NODE, now) {
                ledger.refused(now, NODE);
                times += 1;
            }
            now += SECOND;
        }
        assert!((8..=13).contains(&times), "asked {times} times in an hour");
        assert!(ledger.is_avoided(now, NODE, now));
        ledger.took(now, Pid(7));
        assert!(ledger.is_avoided(now, NODE, now), "nothing was sent");
        ledger.sent(now, Pid(7), NODE, 1, Terms::Anyhow);
        ledger.took(now, Pid(7));
        assert!(!ledger.is_avoided(now, NODE, now));
    }

    #[test]
    fn terms_are_those_of_what_is_on_its_way() {
        let mut ledger = Ledger::default();
        let idle = Terms::Idle { demand_milli: 1000 };
        assert_eq!(ledger.terms(Pid(7), NODE), Terms::Anyhow);
        ledger.sent(SECOND, Pid(7), NODE, 1, idle);
        assert_eq!(ledger.terms(Pid(7), NODE), idle);
        assert_eq!(ledger.terms(Pid(8), NODE), Terms::Anyhow);
        assert_eq!(ledger.terms(Pid(7), NodeId(3)), Terms::Anyhow);
        ledger.took(SECOND, Pid(7));
        assert_eq!(ledger.terms(Pid(7), NODE), Terms::Anyhow, "it is there");
    }

    #[test]
    fn who_has_more_to_do_than_it_told_is_asked_again_when_it_has_told_something_newer() {
        let mut ledger = Ledger::default();
        ledger.crowded(SECOND, NODE);
        assert!(ledger.is_avoided(SECOND, NODE, SECOND));
        assert!(!ledger.is_avoided(2 * SECOND, NODE, SECOND + 1));
        assert!(ledger.is_avoided(3 * SECOND, NODE, SECOND / 2));
        assert!(!ledger.is_avoided(SECOND, NodeId(3), 0));
    }

    #[test]
    fn it_has_a_bound() {
        let mut ledger = Ledger::default();
        for node in 1..5000 {
            ledger.crowded(u64::from(node), NodeId(node));
        }
        assert_eq!(ledger.crowded.len(), REFUSERS_MAX);
        let mut ledger = Ledger::default();
        for node in 1..5000 {
            ledger.refused(u64::from(node), NodeId(node));
        }
        assert_eq!(ledger.refused.len(), REFUSERS_MAX);
        assert!(
            ledger.is_avoided(5000, NodeId(4999), 5000)
                && !ledger.is_avoided(5000, NodeId(1), 5000)
        );
        ledger.refused(u64::MAX, NODE);
        assert!(!ledger.is_avoided(u64::MAX, NODE, u64::MAX));
    }
}
