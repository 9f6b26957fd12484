//! Frames and messages that travel between the nodes of one cluster.
//!
//! Law: whatever arrives is hostile until it was checked. Every format has a fixed or bounded size,
//! reserved bytes are zero, numbers are little-endian (but for the EtherType, which is Ethernet's),
//! and a check either accepts the whole or names the one reason why not. Nothing here keeps state,
//! reads a clock or does I/O.
//!
//! A frame is one [`Header`] of [`HEADER_LEN`] bytes, Ethernet header included, and a payload of at
//! most [`PAYLOAD_MAX`] bytes, so that a receive chain [header][page frame] lands a page in place.
//! A [`Message`] of up to [`MESSAGE_MAX`] bytes is cut into such payloads by the crate `link`.
#![no_std]

extern crate alloc;

mod gossip;
mod header;
mod id;
mod info;
mod message;
mod print;

pub use gossip::{GOSSIP_MAX, Gossip, Load, NodeState, Purpose, RECORDS_MAX, Record, Told};
pub use header::{
    BEHIND_ALL, BROADCAST_MAC, ETHERNET_LEN, ETHERTYPE, HANDSHAKE_LEN, HEADER_LEN, Header, Kind,
    LENGTH_BITS, Lane, MTU_LEAST, MTU_WHOLE, PAYLOAD_MAX, PIECE_LEN, PageTag, PayloadKind, VERSION,
};
pub use id::{Attempt, BootId, NODE_MAX, NodeId, Pid};
pub use info::{Features, NodeInfo};
pub use message::{
    BodyFacts, CALL_ARRIVED, Call, Image, MESSAGE_MAX, Message, MoveError, MoveHow, MoveMode,
    MovePhases, MoveStats, Offer, Order, Outcome, PagesSent, Passage, Policy, Reply, Stalls, Terms,
    Ticket, Whereabouts,
};

/// Why bytes were refused. Each cause has its own variant; nothing was changed by refused bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Invalid {
    /// Not EtherType 0x88B5.
    EtherType,
    /// Another version of the protocol; versions must match exactly.
    Version,
    /// Unknown frame kind.
    Kind,
    /// A node number outside 1..=32767, or a broadcast of a kind that is not broadcast.
    Node,
    /// A boot id of zero where one is needed.
    Boot,
    /// Unknown lane, or a lane in a frame that has none.
    Lane,
    /// A payload kind that is unknown or does not fit the frame's kind.
    PayloadKind,
    /// A payload length that is too long or does not fit the payload's kind.
    Length,
    /// A page tag that names no page, or one in a frame that carries no page.
    Tag,
    /// A part of a message without place in the order, or a place in a frame that needs none.
    Order,
    /// Reserved bytes are not zero.
    Reserved,
    /// A message longer than [`MESSAGE_MAX`] or shorter than it says.
    MessageSize,
    /// A message that does not decode.
    Message,
    /// Bytes behind the end of a message.
    Trailing,
}

impl core::fmt::Display for Invalid {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Invalid::EtherType => "not our EtherType",
            Invalid::Version => "another protocol version",
            Invalid::Kind => "unknown frame kind",
            Invalid::Node => "bad node number",
            Invalid::Boot => "boot id is zero",
            Invalid::Lane => "bad lane",
            Invalid::PayloadKind => "payload kind does not fit",
            Invalid::Length => "payload length does not fit",
            Invalid::Tag => "bad page tag",
            Invalid::Order => "bad place in the order",
            Invalid::Reserved => "reserved bytes are not zero",
            Invalid::MessageSize => "message size does not fit",
            Invalid::Message => "message does not decode",
            Invalid::Trailing => "bytes behind the message",
        })
    }
}

impl core::error::Error for Invalid {}
