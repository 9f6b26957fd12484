//! One node's protocol stack: discovery, links, events.
#![no_std]

extern crate alloc;

mod api;

pub use api::{Config, Counters, Edge, Event, Payload, PeerState, PeerView, Transmit, Unreachable};
pub use link::Page;
pub use wire::{Features, Lane, NodeInfo, PageTag};
