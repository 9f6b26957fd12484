//! Asking whether a node is there: in turn, through others, and once more before it is taken for dead.
//!
//! Law: one question at a time, two in a round; relays keep nothing of what they pass on; only who has asked in vain itself says that
//! somebody is dead, and any sign of life is an answer.

use crate::membership::{Letter, Membership};
use crate::roster::Member;
use crate::{LETTERS_MAX, RELAYS};
use alloc::vec::Vec;
use wire::{Gossip, NodeId, NodeState, Purpose};

/// Waiting times grow by half for each doubt.
pub(crate) const DOUBTS_MAX: u32 = 4;
/// Questions at the end of a suspicion.
const LAST_QUESTIONS: u8 = 3;

/// A question that waits for its answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Probe {
    target: NodeId,
    seq: u32,
    pub(crate) deadline: u64,
    /// Whether others were asked to ask, too.
    relayed: bool,
}

/// Somebody who has not answered this node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Watch {
    node: NodeId,
    pub(crate) deadline: u64,
    /// How often it was asked at the end.
    asked: u8,
}

impl Membership {
    /// A part of the period, and more in doubt.
    fn wait_ns(&self, tenths: u64) -> u64 {
        self.config.period_ns / 10 * tenths * u64::from(2 + self.doubts) / 2
    }

    /// How long somebody is suspected, at least: longer than a node may stand still, and than its word
    /// takes to get around.
    pub(crate) fn suspicion_ns(&self) -> u64 {
        let period = self.config.period_ns;
        6 * period + period / 8 * u64::from(self.size().max(2).ilog2())
    }

    pub(crate) fn doubt(&mut self) {
        self.doubts = (self.doubts + 1).min(DOUBTS_MAX);
    }

    pub(crate) fn unwatch(&mut self, node: NodeId) {
        self.watches.retain(|watch| watch.node != node);
    }

    /// Something was heard of this node itself.
    pub(crate) fn heard(&mut self, now: u64, node: NodeId) {
        if self.probe.is_some_and(|probe| probe.target == node) {
            self.doubts = self.doubts.saturating_sub(1);
            self.end_probe(now);
        }
        if let Some(place) = self.watches.iter().position(|watch| watch.node == node) {
            let deadline = now + self.suspicion_ns();
            let watch = &mut self.watches[place];
            watch.deadline = watch.deadline.max(deadline);
            watch.asked = 0;
        }
    }

    /// Whom this node waits for, if it does.
    pub fn asking(&self) -> Option<NodeId> {
        self.probe.map(|probe| probe.target)
    }

    // --- questions of others

    pub(crate) fn answer(&mut self, now: u64, from: NodeId, gossip: &Gossip) {
        let (seq, subject) = (gossip.seq, gossip.subject);
        let known = |node| self.roster.get(node).is_some_and(|m: &Member| m.direct);
        let (to, purpose, third) = match gossip.purpose {
            Purpose::Ping => (from, Purpose::Ack, NodeId::ALL),
            Purpose::PingFor if subject.is_valid() => (from, Purpose::AckFor, subject),
            Purpose::PingRequest if known(subject) => (subject, Purpose::PingFor, from),
            Purpose::AckFor if known(subject) => (subject, Purpose::AckRelayed, from),
            Purpose::AckRelayed => {
                // Others would not have to be believed, but a wrong word here only costs time.
                let waits = self.probe.is_some_and(|p| p.seq == seq);
                let watched = self.watches.iter().any(|watch| watch.node == subject);
                if waits || watched {
                    self.heard(now, subject);
                }
                return;
            }
            _ => return,
        };
        self.post(Letter::new(to, purpose, seq, third));
    }

    // --- questions of this node

    /// Asks two nodes, one after the other: the next one by number, so that nobody who dies is overlooked for
    /// longer than a round, and one in turn, because those who ask can die, too.
    pub(crate) fn begin_turn(&mut self, now: u64) {
        if self.probe.is_some() {
            return;
        }
        self.has_turn = true;
        match self.roster.successor(self.config.node) {
            Some(target) => self.begin_probe(now, target),
            None => self.end_probe(now),
        }
    }

    fn end_probe(&mut self, now: u64) {
        let before = self.probe.take().map(|probe| probe.target);
        if core::mem::take(&mut self.has_turn)
            && let Some(target) = self.roster.next(&mut self.random)
            && Some(target) != before
        {
            self.begin_probe(now, target);
        }
    }

    fn begin_probe(&mut self, now: u64, target: NodeId) {
        self.seq = self.seq.wrapping_add(1);
        let mut probe = Probe {
            target,
            seq: self.seq,
            deadline: now + self.wait_ns(2),
            relayed: false,
        };
        if self.roster.get(target).is_some_and(|member| member.direct) {
            self.post(Letter::new(target, Purpose::Ping, probe.seq, NodeId::ALL));
        } else {
            self.ask_through_others(probe.target, probe.seq);
            probe.deadline = now + self.wait_ns(5);
            probe.relayed = true;
        }
        self.probe = Some(probe);
    }

    fn ask_through_others(&mut self, target: NodeId, seq: u32) {
        let relays = self.roster.choose(&mut self.random, RELAYS, target);
        for relay in relays {
            self.post(Letter::new(relay, Purpose::PingRequest, seq, target));
        }
    }

    pub(crate) fn handle_probe(&mut self, now: u64) {
        let Some(probe) = self.probe.filter(|probe| probe.deadline <= now) else {
            return;
        };
        let (target, seq) = (probe.target, probe.seq);
        if probe.relayed {
            self.counters.unanswered += 1;
            self.doubt();
            self.suspect(now, target);
            return self.end_probe(now);
        }
        self.post(Letter::new(target, Purpose::Ping, seq, NodeId::ALL));
        self.ask_through_others(target, seq);
        self.probe = Some(Probe {
            deadline: now + self.wait_ns(3),
            relayed: true,
            ..probe
        });
    }

    /// A node has not answered: it is watched from now on, and all are told.
    fn suspect(&mut self, now: u64, node: NodeId) {
        let Some(member) = self.roster.get(node).copied() else {
            return;
        };
        if !member.is_present() || self.watches.iter().any(|watch| watch.node == node) {
            return;
        }
        // Others may have suspected it for a while.
        let mut since = now;
        if member.state == NodeState::Alive {
            let belief = (member.incarnation, NodeState::Suspect);
            self.change(now, node, member, belief);
            self.hurry(now);
            self.post(Letter::new(node, Purpose::News, 0, NodeId::ALL));
        } else {
            since = member.since;
        }
        self.watches.push(Watch {
            node,
            deadline: now.max(since + self.suspicion_ns()),
            asked: 0,
        });
    }

    pub(crate) fn handle_watches(&mut self, now: u64) {
        let due = |watch: &&mut Watch| watch.deadline <= now;
        let again = now + self.wait_ns(2);
        let waiting = self.waiting();
        let mut ask = Vec::new();
        let mut dead = Vec::new();
        for watch in self.watches.iter_mut().filter(due) {
            if watch.asked == LAST_QUESTIONS {
                dead.push(watch.node);
                continue;
            }
            watch.deadline = again;
            // A question that finds no room is none.
            if waiting + ask.len() * (1 + RELAYS) < LETTERS_MAX - 1 - RELAYS {
                watch.asked += 1;
                ask.push(watch.node);
            }
        }
        for node in ask {
            self.seq = self.seq.wrapping_add(1);
            self.post(Letter::new(node, Purpose::Ping, self.seq, NodeId::ALL));
            self.ask_through_others(node, self.seq);
        }
        for node in dead {
            if let Some(member) = self.roster.get(node).copied() {
                self.change(now, node, member, (member.incarnation, NodeState::Dead));
                self.hurry(now);
            }
            self.unwatch(node);
        }
    }
}
