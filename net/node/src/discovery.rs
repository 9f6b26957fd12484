//! Finding the other nodes: when to say Hello, and which answers wait to be sent.
//!
//! Law: a Hello to all at a constant rate, whatever happens; answers only to what was heard, from a
//! bounded queue: an answer that finds no room is asked for again by the next Hello. What was answered to whom is remembered for a
//! while, because only who echoes that is believed to be who it says.

use alloc::collections::VecDeque;
use membership::Random;
use wire::{BootId, Header, Kind, NodeId};

use crate::HELLO_EVERY_NS;

/// The first broadcasts after boot come faster: ns after one another.
const FIRST_GAPS_NS: [u64; 3] = [50_000_000, 50_000_000, 100_000_000];
/// Answers that wait to be transmitted.
const ANSWERS_MAX: usize = 1024;

/// Answers that are remembered.
const ANSWERED_MAX: usize = 256;

/// A Hello or HelloReply to one node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer {
    pub(crate) kind: Kind,
    pub(crate) to: NodeId,
    pub(crate) boot: BootId,
    pub(crate) mac: [u8; 6],
    /// The time in the frame it answers, and when that came.
    pub(crate) echo_ns: u64,
    pub(crate) heard_at: u64,
}

#[derive(Debug)]
pub(crate) struct Discovery {
    answers: VecDeque<Answer>,
    /// To whom something was sent before it was known, and the time in that.
    answered: VecDeque<(NodeId, BootId, u64)>,
    next_hello: u64,
    hello_due: bool,
    hellos: usize,
    random: Random,
}

impl Discovery {
    pub(crate) fn new(now: u64, seed: u64) -> Discovery {
        Discovery {
            answers: VecDeque::new(),
            answered: VecDeque::new(),
            next_hello: now,
            hello_due: false,
            hellos: 0,
            random: Random(seed),
        }
    }

    pub(crate) fn poll_timeout(&self) -> u64 {
        self.next_hello
    }

    pub(crate) fn handle_timeout(&mut self, now: u64) {
        if now < self.next_hello {
            return;
        }
        self.hello_due = true;
        let gap = match FIRST_GAPS_NS.get(self.hellos) {
            Some(&gap) => gap,
            None => HELLO_EVERY_NS * 9 / 10 + self.random.bits() % (HELLO_EVERY_NS / 5),
        };
        self.hellos += 1;
        self.next_hello = now + gap;
    }

    /// Whether a Hello to all is due; asking takes it.
    pub(crate) fn take_hello(&mut self) -> bool {
        core::mem::take(&mut self.hello_due)
    }

    /// Whether neither a Hello nor an answer waits to be transmitted.
    pub(crate) fn is_quiet(&self) -> bool {
        !self.hello_due && self.answers.is_empty()
    }

    pub(crate) fn answer(&mut self, now: u64, kind: Kind, heard: &Header) {
        let same = |a: &Answer| a.boot == heard.source_boot() && a.kind == kind;
        if self.answers.len() >= ANSWERS_MAX || self.answers.iter().rev().take(8).any(same) {
            return;
        }
        self.answers.push_back(Answer {
            kind,
            to: heard.source(),
            boot: heard.source_boot(),
            mac: heard.source_mac,
            echo_ns: heard.sent_ns.get(),
            heard_at: now,
        });
    }

    /// An answer leaves to a boot that is not known yet.
    pub(crate) fn note_answered(&mut self, now: u64, to: NodeId, boot: BootId) {
        if self.answered.len() == ANSWERED_MAX {
            self.answered.pop_front();
        }
        self.answered.push_back((to, boot, now));
    }

    /// Whether this boot of this node was sent something at that time.
    pub(crate) fn has_answered(&self, to: NodeId, boot: BootId, at_ns: u64) -> bool {
        self.answered.contains(&(to, boot, at_ns))
    }

    pub(crate) fn take_answer(&mut self) -> Option<Answer> {
        self.answers.pop_front()
    }
}
