//! What a node remembers of other nodes between two decisions: what it has sent there and on which terms, who has refused, and who
//! has more to do than it had told.
//!
//! Law: others are believed by their deeds. Who takes nobody although it says that it would is not asked again for a while,
//! each time for twice as long, so that a node which lies costs a little time and not all of it. Who refuses and then says that
//! it takes nobody has not lied: what was known of it was old. Bounded: what is over is forgotten, and of those who refuse
//! at most [`REFUSERS_MAX`] are kept.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use wire::{Load, NodeId, Pid, Terms};

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

impl Sent {
    fn is_under_way(&self, pid: Pid) -> bool {
        self.pid == pid && self.there_ns.is_none()
    }

    fn counts(&self, now: u64) -> bool {
        now < self.at_ns.saturating_add(SENT_NS)
    }
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
        self.sent.retain(|sent| sent.counts(now));
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
        let is_it = |sent: &&Sent| sent.is_under_way(pid) && sent.to == to;
        sent.find(is_it).map_or(Terms::Anyhow, |sent| sent.terms)
    }

    /// What is on its way to a node, or has come there since that told `told_of` how loaded it was, and is not over:
    /// processes and their frames.
    pub fn coming(
        &self,
        now: u64,
        (node, told_of): (NodeId, u64),
        is_over: impl Fn(Pid) -> bool,
    ) -> (u32, u32) {
        let coming = self.sent.iter().filter(|sent| sent.counts(now));
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
        let place = (self.sent.iter()).rposition(|sent| sent.is_under_way(pid))?;
        Some(self.sent.remove(place).to)
    }

    /// A process has got to where it was sent: what that node says is true again.
    pub fn took(&mut self, now: u64, pid: Pid) {
        let mut sent = self.sent.iter_mut();
        if let Some(sent) = sent.rfind(|sent| sent.is_under_way(pid)) {
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

    /// Forgives whoever has told since it refused that it takes nobody: its load, and of when that is.
    pub fn forgive(&mut self, told: impl Fn(NodeId) -> Option<(Load, u64)>) {
        self.refused.retain(|node, refused| {
            let told = told(*node).filter(|(_, of)| *of > refused.at_ns);
            told.is_none_or(|(load, _)| load.accepts_guests)
        });
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
        let rests = |refused: &Refused| now < refused.at_ns.saturating_add(refused.rest_ns());
        let is_crowded = self
            .crowded
            .get(&node)
            .is_some_and(|at_ns| told_of <= *at_ns);
        is_crowded || refused.is_some_and(rests)
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
        assert_eq!(ledger.coming(3 * SECOND, (NODE, 0), nobody), (2, u32::MAX));
        // On its way it is in nobody's load yet, whenever that was told.
        assert_eq!(
            ledger.coming(4 * SECOND, (NODE, 4 * SECOND), nobody),
            (2, u32::MAX)
        );
        ledger.took(2 * SECOND, Pid(7));
        assert_eq!(
            ledger.coming(4 * SECOND, (NODE, 2 * SECOND), nobody),
            (2, u32::MAX)
        );
        assert_eq!(
            ledger.coming(4 * SECOND, (NODE, 3 * SECOND), nobody),
            (1, u32::MAX)
        );
        assert_eq!(
            ledger.coming(4 * SECOND, (NODE, 0), |pid| pid == Pid(8)),
            (1, 100)
        );
        assert_eq!(ledger.failed(Pid(8)), Some(NODE));
        assert_eq!(ledger.failed(Pid(8)), None);
        assert_eq!(ledger.coming(3 * SECOND, (NODE, 0), nobody), (1, 100));
        assert_eq!(ledger.coming(60 * SECOND, (NODE, 0), nobody), (0, 0));
        ledger.sent(60 * SECOND, Pid(7), NODE, 1, Terms::Anyhow);
        assert_eq!(ledger.coming(60 * SECOND, (NODE, 0), nobody), (1, 1));
    }

    #[test]
    fn what_has_got_to_where_it_was_sent_has_not_failed_when_somebody_moves_it_on() {
        let mut ledger = Ledger::default();
        ledger.sent(SECOND, Pid(7), NODE, 1, Terms::Anyhow);
        ledger.took(2 * SECOND, Pid(7));
        assert_eq!(ledger.failed(Pid(7)), None);
        ledger.took(9 * SECOND, Pid(7));
        let nobody = |_: Pid| false;
        let told = (NODE, 3 * SECOND);
        assert_eq!(ledger.coming(3 * SECOND, told, nobody), (0, 0));
    }

    #[test]
    fn who_says_after_a_refusal_that_it_takes_nobody_has_not_lied() {
        let told = |accepts_guests, of| {
            let load = Load {
                accepts_guests,
                ..Load::default()
            };
            move |node| (node == NODE).then_some((load, of))
        };
        let mut ledger = Ledger::default();
        for times in 1..=3 {
            ledger.refused(times * SECOND, NODE);
        }
        for old in [told(true, 4 * SECOND), told(false, 3 * SECOND)] {
            ledger.forgive(old);
            assert!(ledger.is_avoided(4 * SECOND, NODE, 4 * SECOND));
        }
        ledger.refused(4 * SECOND, NodeId(3));
        ledger.forgive(told(false, 4 * SECOND));
        assert!(!ledger.is_avoided(4 * SECOND, NODE, 4 * SECOND));
        assert!(ledger.is_avoided(4 * SECOND, NodeId(3), 4 * SECOND));
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
