//! Events that wait to be polled, and how much memory they hold.
//!
//! Law: the outbox says when it is full; whoever feeds it from the network then drops.

use crate::{EVENT_BYTES_MAX, EVENTS_MAX, Event};
use alloc::collections::VecDeque;

#[derive(Debug)]
pub(crate) struct Outbox<P> {
    events: VecDeque<(Event<P>, usize)>,
    bytes: usize,
}

impl<P> Outbox<P> {
    pub(crate) fn new() -> Outbox<P> {
        Outbox {
            events: VecDeque::new(),
            bytes: 0,
        }
    }

    pub(crate) fn push(&mut self, event: Event<P>) {
        self.push_sized(event, 0);
    }

    pub(crate) fn push_sized(&mut self, event: Event<P>, bytes: usize) {
        self.bytes += bytes;
        self.events.push_back((event, bytes));
    }

    pub(crate) fn pop(&mut self) -> Option<Event<P>> {
        let (event, bytes) = self.events.pop_front()?;
        self.bytes -= bytes;
        Some(event)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.events.len() >= EVENTS_MAX || self.bytes >= EVENT_BYTES_MAX
    }
}
