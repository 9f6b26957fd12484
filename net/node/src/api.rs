//! What goes into a node's stack and what comes out of it.
//!
//! Law: plain values; the stack has no other way to act.

use crate::Packing;
use alloc::boxed::Box;
use alloc::vec::Vec;
use link::Payload;
use wire::{BootId, HEADER_LEN, Message, NodeId, NodeInfo, PageTag, Pid};

/// Who a node is.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Its number.
    pub node: NodeId,
    /// This boot of it: random, not zero.
    pub boot: BootId,
    /// Its Ethernet address.
    pub mac: [u8; 6],
    /// What its card carries behind an Ethernet header, bytes.
    pub mtu: u16,
    /// Frames of other clusters are not heard.
    pub cluster: u32,
    /// Seed of its randomness (jitter of timers).
    pub seed: u64,
    /// What it tells about itself first.
    pub info: NodeInfo,
    /// Whether pages that it pushes are packed.
    pub packing: Packing,
}

/// A frame to put on the wire: the header, then the payload.
#[derive(Clone, Debug)]
pub struct Transmit<P> {
    /// With Ethernet header.
    pub header: [u8; HEADER_LEN],
    /// What follows.
    pub payload: Payload<P>,
}

/// What happened. `boot` is the boot of the peer in which it happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event<P> {
    /// A node was discovered: it hears us and we hear it.
    PeerUp {
        /// Its number.
        id: NodeId,
        /// Its boot.
        boot: BootId,
    },
    /// Nothing was heard from it for two seconds. That proves nothing.
    PeerSilent {
        /// Its number.
        id: NodeId,
        /// Its boot.
        boot: BootId,
    },
    /// Nobody has told us the time for longer than [`STOOD_STILL_NS`](crate::STOOD_STILL_NS): we have stood still. That is no silence
    /// of others, but they may have taken us for silent, and have not waited for us.
    StoodStill,
    /// A silent node is heard again, in the same boot.
    PeerBack {
        /// Its number.
        id: NodeId,
        /// Its boot.
        boot: BootId,
    },
    /// A newer boot of the node was proven: this one is over for ever. PeerUp follows.
    PeerLost {
        /// Its number.
        id: NodeId,
        /// The boot that is over.
        boot: BootId,
    },
    /// A message, in the order of its lane.
    Message {
        /// Its sender.
        from: NodeId,
        /// In which boot.
        boot: BootId,
        /// The message. An event is as large as its largest kind, and most of a move is pages.
        message: Box<Message>,
    },
    /// A page, in the order of its lane.
    Page {
        /// Its sender.
        from: NodeId,
        /// In which boot.
        boot: BootId,
        /// Which page.
        tag: PageTag,
        /// Its contents.
        page: P,
    },
    /// The answer to `measure`.
    Measured {
        /// The node measured.
        peer: NodeId,
        /// Round trips in ns, ascending; lost ones are missing.
        rtt_ns: Vec<u32>,
        /// Payload bytes per second that arrived; 0 if there was no blast or no report.
        blast_bytes_per_s: u64,
    },
    /// A process stopped or started somewhere, seen now.
    Beacon {
        /// Who says so.
        from: NodeId,
        /// The process.
        pid: Pid,
        /// Its epoch.
        epoch: u64,
        /// What it did.
        edge: Edge,
        /// When the frame came, our clock, ns.
        at: u64,
    },
    /// What is believed of a node has changed. Advice: it ends nothing.
    Member(membership::Event),
    /// Another machine claims this node's number but is the later one; it was ignored.
    Claimed {
        /// Its Ethernet address.
        mac: [u8; 6],
        /// Its boot.
        boot: BootId,
    },
    /// A node that has another key than this cluster's, or none, or is not in the roster, was refused. Told once for each number, of a few.
    Stranger {
        /// What it says its number is.
        id: NodeId,
        /// Its Ethernet address.
        mac: [u8; 6],
    },
    /// This node's number belongs to a machine that was up earlier: this node is mute from now on.
    Refused {
        /// The other's Ethernet address.
        mac: [u8; 6],
        /// Its boot.
        boot: BootId,
    },
}

/// What a beacon tells.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Edge {
    /// The last user instruction here was executed.
    Stopped,
    /// The first user instruction here is executed.
    Started,
}

/// Why nothing was queued.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Unreachable {
    /// No such node was discovered.
    Unknown,
    /// The message is longer than [`wire::MESSAGE_MAX`].
    TooLong,
}

/// Whether a peer is heard.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum PeerState {
    /// Something was heard within two seconds.
    Alive,
    /// Nothing was.
    Silent,
}

/// Frames counted per peer and boot.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Frames sent, acknowledgements and echoes included.
    pub sent: u64,
    /// Data frames sent again.
    pub retransmitted: u64,
    /// Frames received.
    pub received: u64,
    /// Data frames received that were there already.
    pub duplicates: u64,
    /// Frames refused or dropped.
    pub dropped: u64,
    /// Pages that were packed for it.
    pub packed: u64,
}

/// A peer as this node sees it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct PeerView {
    /// Its number.
    pub id: NodeId,
    /// Its present boot.
    pub boot: BootId,
    /// Its Ethernet address.
    pub mac: [u8; 6],
    /// Whether it is heard.
    pub state: PeerState,
    /// When it was last heard, ns.
    pub last_heard_ns: u64,
    /// The shortest round trip, ns; `None` before the first.
    pub rtt_min_ns: Option<u64>,
    /// The smoothed round trip, ns.
    pub rtt_smoothed_ns: Option<u64>,
    /// The round trip that the newest frame saw, ns.
    pub rtt_latest_ns: Option<u64>,
    /// Peer clock minus our clock and its error bound, ns.
    pub clock_offset: Option<(i64, u64)>,
    /// What it said about itself last.
    pub info: NodeInfo,
    /// Whether the way to it carries whole pages; if not, they go in pieces.
    pub wide: bool,
    /// Frames.
    pub counters: Counters,
}
