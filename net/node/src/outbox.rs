//! Events that wait to be polled, and how much memory they hold.
//!
//! Law: the outbox says when it is full; whoever feeds it from the network then drops.

use crate::{EVENT_BYTES_MAX, EVENTS_MAX, Event};
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use wire::{BootId, Message, NodeId};

#[derive(Debug)]
pub(crate) struct Outbox<P> {
    events: VecDeque<Event<P>>,
    /// Of those that are messages, in their order.
    sizes: VecDeque<usize>,
    bytes: usize,
}

impl<P> Outbox<P> {
    pub(crate) fn new() -> Outbox<P> {
        Outbox {
            events: VecDeque::new(),
            sizes: VecDeque::new(),
            bytes: 0,
        }
    }

    pub(crate) fn push(&mut self, event: Event<P>) {
        self.events.push_back(event);
    }

    /// A message that was so many bytes on the wire.
    pub(crate) fn push_message(
        &mut self,
        from: NodeId,
        boot: BootId,
        message: Message,
        bytes: usize,
    ) {
        self.bytes += bytes;
        self.sizes.push_back(bytes);
        self.events.push_back(Event::Message {
            from,
            boot,
            message: Box::new(message),
        });
    }

    pub(crate) fn pop(&mut self) -> Option<Event<P>> {
        let event = self.events.pop_front();
        if matches!(event, Some(Event::Message { .. })) {
            self.bytes -= self.sizes.pop_front().unwrap_or(0);
        }
        event
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.events.len() >= EVENTS_MAX || self.bytes >= EVENT_BYTES_MAX
    }
}
