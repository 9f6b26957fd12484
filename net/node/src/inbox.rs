//! Frames that have come and were not looked at yet.
//!
//! Law: pushed pages wait for everything else. A node that others push to takes them more slowly than they
//! come, so that most of what is under way stands in front of it: an answer that had to wait for
//! all of that would wait for a whole window. What the order is does not matter to the lanes, each of
//! which puts its own in order; and what is not a frame is the node's to refuse, in its turn.

use alloc::collections::VecDeque;
use wire::{HEADER_LEN, Header};

/// Frames that wait at most: as many as may be under way to a node, and some that nobody allowed.
const INBOX_MAX: usize = 512;

/// The frames of one card, each in what it came in.
#[derive(Debug)]
pub struct Inbox<F> {
    first: VecDeque<F>,
    pushed: VecDeque<F>,
}

impl<F> Default for Inbox<F> {
    fn default() -> Self {
        Inbox {
            first: VecDeque::new(),
            pushed: VecDeque::new(),
        }
    }
}

impl<F> Inbox<F> {
    /// Whether one more may wait. What has no room stays with the card.
    pub fn has_room(&self) -> bool {
        self.first.len() + self.pushed.len() < INBOX_MAX
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.first.is_empty() && self.pushed.is_empty()
    }

    /// Puts a frame with this unchecked header where it belongs.
    pub fn push(&mut self, frame: F, header: impl FnOnce(&F) -> &[u8; HEADER_LEN]) {
        let queue = match Header::is_pushed(header(&frame)) {
            true => &mut self.pushed,
            false => &mut self.first,
        };
        queue.push_back(frame);
    }

    /// The next one to look at.
    pub fn pop(&mut self) -> Option<F> {
        self.first.pop_front().or_else(|| self.pushed.pop_front())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use wire::{Kind, Lane};

    #[test]
    fn an_answer_overtakes_pages_and_nothing_else() {
        let header = |kind: Kind, lane: Lane| {
            let mut header = Header::new(kind);
            header.lane = lane as u8;
            header.to_bytes()
        };
        let mut inbox = Inbox::default();
        let frames = [
            ("page", header(Kind::Data, Lane::Bulk)),
            ("answer", header(Kind::Data, Lane::Urgent)),
            ("next page", header(Kind::Data, Lane::Bulk)),
            ("hello", header(Kind::Hello, Lane::Urgent)),
            ("blast", header(Kind::Blast, Lane::Bulk)),
            ("next answer", header(Kind::Data, Lane::Urgent)),
            ("noise", [0xff; HEADER_LEN]),
        ];
        for frame in frames {
            inbox.push(frame, |frame| &frame.1);
        }
        let order: Vec<&str> = core::iter::from_fn(|| inbox.pop())
            .map(|frame| frame.0)
            .collect();
        let first = ["answer", "hello", "next answer", "noise"];
        assert_eq!(
            order,
            [&first[..], &["page", "next page", "blast"]].concat()
        );
        assert!(inbox.is_empty());
    }

    #[test]
    fn what_waits_has_a_bound() {
        let mut inbox = Inbox::default();
        while inbox.has_room() {
            inbox.push([0; HEADER_LEN], |frame| frame);
        }
        assert_eq!(core::iter::from_fn(|| inbox.pop()).count(), INBOX_MAX);
    }
}
