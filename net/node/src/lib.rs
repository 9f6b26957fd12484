//! One node's protocol stack: discovery, links, events.
//!
//! Law: sans-I/O. Frames and the time go in by `handle_*`, wishes by verbs, frames and events come
//! out by `poll_*`; nothing here reads a clock, and the same seed and inputs give the same outputs.
//! Order of polling: after any call, `poll_transmit` until `None` and `poll_event` until `None`, then
//! `poll_timeout`. A spurious `handle_timeout` changes nothing.
//!
//! **When is a boot of a peer the present one?** Boots are random numbers, so frames of an old boot
//! that come late must not pass for a new one, and who has seen our frames must not make new boots, or nodes, of them.
//! A boot is adopted only by a frame that echoes the time of an answer which *this* boot of ours sent to *that*
//! boot when it was not known, and after the previous boot was adopted: so whoever is there listens for it, and was
//! alive in it later than in the previous one. A boot once lost never comes back, and one that is heard is not given up to another Ethernet address. (In a cluster
//! without a key a stranger on the same cable can still do that, if he goes to the trouble of answering.)
//!
//! **With a key** ([`Node::seal`]) the crate `seal` stands below all of this: what comes in was opened before, what leaves is sealed
//! behind, piece by piece, and nothing in between knows. Without one it is not there.
//!
//! Everything a peer can make us keep is bounded: peers, answers, undelivered events, link windows.
//! Not here: what messages mean, retries of calls, who may move what.
#![no_std]

extern crate alloc;

mod api;
mod discovery;
mod gossip;
mod inbox;
mod measure;
mod node;
mod outbox;
mod packing;
mod path;
mod peer;
mod pieces;
mod port;
mod sealed;

pub use api::{Config, Counters, Edge, Event, PeerState, PeerView, Transmit, Unreachable};
pub use inbox::Inbox;
pub use link::{Page, Payload, earliest};
pub use membership::{Change, Seen};
#[cfg(feature = "canary")]
pub use node::Canary;
pub use node::Node;
pub use packing::Packing;
pub use seal::{
    BadFile, Counters as SealCounters, Credentials, FILE_MAX as KEY_FILE_MAX, OwnerKey, Refused,
    Suite,
};
pub use wire::{Features, Lane, Load, NodeInfo, NodeState, PageTag};

/// Silence after which a peer is reported as silent, ns.
pub const SILENT_AFTER_NS: u64 = 2_000_000_000;
/// A node to which nobody has told the time for so long has stood still itself, ns: there is a Hello to be sent twice as often.
pub const STOOD_STILL_NS: u64 = 2 * HELLO_EVERY_NS;
/// Time between two broadcasts of Hello once a node is settled, ns; give or take a tenth.
pub const HELLO_EVERY_NS: u64 = 500_000_000;
/// Peers known at most; the rest of a larger cluster is not heard.
pub const PEERS_MAX: usize = 4096;
/// Undelivered events above which Data frames are dropped, as if lost.
pub const EVENTS_MAX: usize = 8192;
/// Bytes of undelivered messages above which the same happens.
pub const EVENT_BYTES_MAX: usize = 16 << 20;
