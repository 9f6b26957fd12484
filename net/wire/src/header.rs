//! The header in front of every frame: 136 bytes, one layout for all kinds.
//!
//! Law: one fixed length, no padding, no alignment, reserved bytes zero. [`Header::check`] accepts
//! or refuses the whole of it; after that every accessor is total.
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 14 | Ethernet: target MAC, source MAC, EtherType 0x88B5 (big-endian) |
//! | 14 | 1 | version |
//! | 15 | 1 | kind |
//! | 16 | 4 | cluster |
//! | 20 | 2+2 | source node, target node (0: all) |
//! | 24 | 8+8 | source boot, target boot (0: not known, Hello only) |
//! | 40 | 1 | lane |
//! | 41 | 1 | payload kind |
//! | 42 | 2 | payload length (13 bits); above it the number of the piece of it that this frame carries, 0: the frame carries all |
//! | 44 | 4 | sequence number in the lane (Echo, Blast: in the run) |
//! | 48 | 4+4 | next sequence number expected, urgent and bulk lane |
//! | 56 | 8+8 | map of packets received beyond that, bit i is number expected + 1 + i, per lane; that of the bulk lane begins farther on, see 114 |
//! | 72 | 8 | sender's clock at transmission, ns |
//! | 80 | 8 | the target's clock in the newest frame the sender had from it, ns; 0: none |
//! | 88 | 4 | how long the sender had held that frame, ns |
//! | 92 | 4+8+8 | pid, epoch, page (Beacon: page is 1 for "started", the packet number how many ns ago that was; Hello: epoch is the uptime in ns; Blast, BlastReport: epoch is the run, page how many arrived) |
//! | 112 | 1 | share: packets that the target may have in flight to the sender; 0: nothing said |
//! | 113 | 1 | behind: the packet comes out after the one so many numbers before it, 255: after all that are at least so far before it; 0: as soon as it is there |
//! | 114 | 2 | how far beyond the number expected the map of the bulk lane begins |
//! | 116 | 4 | in a sealed frame its number in its session (30 bits), and above that which of the target's sessions with the sender it is; in a frame that is not sealed zero |
//! | 120 | 16 | in a sealed frame the tag of all the rest, else zero |
//!
//! A sealed frame (crate `seal`) is one that is not, but for the last two fields; whoever opens it makes them zero again. The two kinds
//! of a handshake have a number and a tag of their own there, and of their headers everything else but kind, cluster, nodes, boots and addresses is fixed.
//!
//! The three times give the round trip and the clock offset from every frame: with t1 = echo,
//! t2 = sent - held, t3 = sent and t4 = now, as in NTP (RFC 5905, section 8).

use crate::{Attempt, BootId, Invalid, NodeId, Pid};
use core::ops::Range;
use serde::{Deserialize, Serialize};
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Bytes in front of every payload, Ethernet header included.
pub const HEADER_LEN: usize = 136;
/// What of them is Ethernet's: two addresses and a type.
pub const ETHERNET_LEN: usize = 14;
/// The longest payload: one page.
pub const PAYLOAD_MAX: usize = 4096;
/// A link that carries no whole page carries its pieces, of so many bytes but for the last: what fits
/// behind the header in an Ethernet frame of 1500 bytes.
pub const PIECE_LEN: usize = 1376;
/// The MTU (bytes behind an Ethernet header) of a link that carries whole pages, and the least that will do.
pub const MTU_WHOLE: u16 = (HEADER_LEN - ETHERNET_LEN + PAYLOAD_MAX) as u16;
/// See [`MTU_WHOLE`].
pub const MTU_LEAST: u16 = (HEADER_LEN - ETHERNET_LEN + PIECE_LEN) as u16;
/// Bits of the length field that are the payload's length; above them is the number of the piece.
pub const LENGTH_BITS: u32 = 13;
/// IEEE 802 local experimental EtherType 1.
pub const ETHERTYPE: u16 = 0x88b5;
/// The protocol's version; nodes of different versions do not hear each other.
pub const VERSION: u8 = 11;
/// Bytes of each message of a handshake.
pub const HANDSHAKE_LEN: usize = 64;
/// The Ethernet address of all nodes.
pub const BROADCAST_MAC: [u8; 6] = [0xff; 6];

/// What a frame is for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Kind {
    /// "I am here"; sent to one node it also asks for a HelloReply.
    Hello = 1,
    /// The answer to a Hello that was sent to this node.
    HelloReply = 2,
    /// One packet of a lane.
    Data = 3,
    /// Acknowledgements only.
    Ack = 4,
    /// A frame that wants to come back, minimal unless larger ones are measured.
    Echo = 5,
    /// It came back.
    EchoReply = 6,
    /// A frame of no content, mostly a full one, to measure the link.
    Blast = 7,
    /// How many of them arrived so far, and the highest number among them.
    BlastReport = 8,
    /// A process stopped or started: unreliable, for observers.
    Beacon = 9,
    /// What the sender believes of all nodes: unreliable.
    Gossip = 10,
    /// Asks whether a frame with a whole page comes through: it has that size, and never goes in pieces.
    Probe = 11,
    /// It did.
    Probed = 12,
    /// The first message of a handshake.
    Knock = 13,
    /// The answer to it.
    Welcome = 14,
}

impl Kind {
    /// The kind with this number.
    pub fn from_u8(value: u8) -> Option<Kind> {
        Some(match value {
            1 => Kind::Hello,
            2 => Kind::HelloReply,
            3 => Kind::Data,
            4 => Kind::Ack,
            5 => Kind::Echo,
            6 => Kind::EchoReply,
            7 => Kind::Blast,
            8 => Kind::BlastReport,
            9 => Kind::Beacon,
            10 => Kind::Gossip,
            11 => Kind::Probe,
            12 => Kind::Probed,
            13 => Kind::Knock,
            14 => Kind::Welcome,
            _ => return None,
        })
    }
}

/// Behind: after every packet that is at least so many numbers before it.
pub const BEHIND_ALL: u8 = u8::MAX;

/// One of the two streams between two nodes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[repr(u8)]
pub enum Lane {
    /// Calls, control and pages somebody waits for: always transmitted first. Everything but pages of
    /// memory comes out in order.
    Urgent = 0,
    /// Pages pushed ahead of need. Each comes out when it is there; only the parts of long messages
    /// have an order.
    Bulk = 1,
}

impl Lane {
    /// Both, the one to be served first in front.
    pub const ALL: [Lane; 2] = [Lane::Urgent, Lane::Bulk];
}

/// What lies behind the header.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum PayloadKind {
    /// Nothing.
    None = 0,
    /// A whole message.
    Whole = 1,
    /// The beginning of a message: 4096 bytes.
    First = 2,
    /// A part of a message: 4096 bytes.
    Middle = 3,
    /// The end of a message that had a beginning.
    Last = 4,
    /// One page; the header carries its tag. Less than 4096 bytes are one block of LZ4 (its block format) that has
    /// 4096.
    Page = 5,
    /// A [`crate::NodeInfo`].
    Info = 6,
    /// Bytes without meaning.
    Filler = 7,
    /// A [`crate::Gossip`].
    Gossip = 8,
    /// A message of a handshake.
    Handshake = 9,
}

impl PayloadKind {
    /// The payload kind with this number.
    pub fn from_u8(value: u8) -> Option<PayloadKind> {
        Some(match value {
            0 => PayloadKind::None,
            1 => PayloadKind::Whole,
            2 => PayloadKind::First,
            3 => PayloadKind::Middle,
            4 => PayloadKind::Last,
            5 => PayloadKind::Page,
            6 => PayloadKind::Info,
            7 => PayloadKind::Filler,
            8 => PayloadKind::Gossip,
            9 => PayloadKind::Handshake,
            _ => return None,
        })
    }
}

/// Which page of which process in which epoch, and in which try to move it there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PageTag {
    /// The process.
    pub pid: Pid,
    /// The epoch of its owner.
    pub epoch: u64,
    /// The page's user address, a multiple of 4096, and in the bits below it the [`Attempt`]. With the
    /// highest bit, which no such address has, it is a page of a file instead, and what it says is between
    /// home and owner. With the next one, it is a page of memory as it was while the process still ran
    /// ([`PageTag::as_copy`]).
    pub page: u64,
}

impl PageTag {
    const COPY: u64 = 1 << 62;

    /// The page of memory at this address, in this try to move its process.
    pub fn of_memory(pid: Pid, epoch: u64, attempt: Attempt, address: u64) -> PageTag {
        let below = u64::from(Attempt::MASK);
        PageTag {
            pid,
            epoch,
            page: address & !below | u64::from(attempt.number()),
        }
    }

    /// The same, travelling before the image.
    pub fn as_copy(self) -> PageTag {
        let page = self.page | PageTag::COPY;
        PageTag { page, ..self }
    }

    /// Whether it is a page that travels before the image.
    pub fn is_copy(&self) -> bool {
        self.page >> 62 == 1
    }

    /// Where in memory it belongs.
    pub fn address(&self) -> u64 {
        self.page & !PageTag::COPY & !u64::from(Attempt::MASK)
    }

    /// The try that it belongs to.
    pub fn attempt(&self) -> Attempt {
        Attempt::new(self.page as u16)
    }

    /// Whether it names a page of a file. Such pages come out in the order of their lane; a page of
    /// memory says by itself where it belongs.
    pub fn is_file(&self) -> bool {
        self.page >> 63 != 0
    }
}

/// The header of every frame; see the table above.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
#[expect(
    missing_docs,
    reason = "the table at the top of this file says what each field is"
)]
pub struct Header {
    pub target_mac: [u8; 6],
    pub source_mac: [u8; 6],
    pub ethertype: [u8; 2],
    pub version: u8,
    pub kind: u8,
    pub cluster: U32,
    pub source: U16,
    pub target: U16,
    pub source_boot: U64,
    pub target_boot: U64,
    pub lane: u8,
    pub payload_kind: u8,
    pub length: U16,
    pub seq: U32,
    pub ack: [U32; 2],
    pub sack: [U64; 2],
    pub sent_ns: U64,
    pub echo_ns: U64,
    pub held_ns: U32,
    pub pid: U32,
    pub epoch: U64,
    pub page: U64,
    pub share: u8,
    pub behind: u8,
    pub sack_from: U16,
    pub counter: U32,
    pub tag: [u8; 16],
}

const _: () = assert!(size_of::<Header>() == HEADER_LEN && align_of::<Header>() == 1);

impl Header {
    /// A header of this kind with EtherType and version set and zeros elsewhere.
    pub fn new(kind: Kind) -> Header {
        let mut header = Header::new_zeroed();
        header.ethertype = ETHERTYPE.to_be_bytes();
        header.version = VERSION;
        header.kind = kind as u8;
        header
    }

    /// The bytes as a checked header, in place.
    ///
    /// # Errors
    /// Whatever [`Header::check`] finds.
    pub fn parse(bytes: &[u8; HEADER_LEN]) -> Result<&Header, Invalid> {
        Header::ref_from_bytes(bytes)
            .map_err(|_| Invalid::Length)?
            .check()
    }

    /// Whether nobody waits for what a frame with this header carries. Nothing of it is checked, so that
    /// the answer is good for an order and for nothing else.
    pub fn is_pushed(bytes: &[u8; HEADER_LEN]) -> bool {
        Header::ref_from_bytes(bytes).is_ok_and(|header| match header.kind() {
            Kind::Data => header.lane() == Lane::Bulk,
            kind => kind == Kind::Blast,
        })
    }

    /// The header as it travels.
    pub fn to_bytes(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        bytes.copy_from_slice(self.as_bytes());
        bytes
    }

    /// Accepts or refuses the header as a whole. It does not know who "we" are: cluster, target and
    /// boots are compared by the node.
    ///
    /// # Errors
    /// The first reason found, in the order of the fields.
    pub fn check(&self) -> Result<&Header, Invalid> {
        if self.ethertype != ETHERTYPE.to_be_bytes() {
            return Err(Invalid::EtherType);
        }
        if self.version != VERSION {
            return Err(Invalid::Version);
        }
        let kind = Kind::from_u8(self.kind).ok_or(Invalid::Kind)?;
        let broadcast = self.target.get() == 0;
        if !self.source().is_valid()
            || (broadcast && kind != Kind::Hello)
            || (!broadcast && !self.target().is_valid())
        {
            return Err(Invalid::Node);
        }
        if self.source_boot.get() == 0 || (self.target_boot.get() == 0) != broadcast {
            return Err(Invalid::Boot);
        }
        if self.lane > 1 || (self.lane == 1 && kind != Kind::Data) {
            return Err(Invalid::Lane);
        }
        self.check_payload(kind)?;
        let part = matches!(
            self.payload_kind(),
            PayloadKind::First | PayloadKind::Middle | PayloadKind::Last
        );
        if (part && self.behind == 0) || (kind != Kind::Data && self.behind != 0) {
            return Err(Invalid::Order);
        }
        if self.counter.get() != 0 || self.tag != [0; 16] {
            return Err(Invalid::Reserved);
        }
        Ok(self)
    }

    fn check_payload(&self, kind: Kind) -> Result<(), Invalid> {
        let payload = PayloadKind::from_u8(self.payload_kind).ok_or(Invalid::PayloadKind)?;
        use PayloadKind as P;
        let fits = match kind {
            Kind::Hello | Kind::HelloReply => payload == P::Info,
            Kind::Data => matches!(payload, P::Whole | P::First | P::Middle | P::Last | P::Page),
            Kind::Knock | Kind::Welcome => payload == P::Handshake,
            Kind::Gossip => payload == P::Gossip,
            Kind::Blast | Kind::Probe => payload == P::Filler,
            Kind::Echo | Kind::EchoReply => matches!(payload, P::None | P::Filler),
            _ => payload == P::None,
        };
        if !fits {
            return Err(Invalid::PayloadKind);
        }
        let length = self.payload_length();
        let fits = match payload {
            P::Filler if kind == Kind::Probe => length == PAYLOAD_MAX,
            P::None => length == 0,
            P::First | P::Middle => length == PAYLOAD_MAX,
            P::Whole | P::Last | P::Page | P::Info | P::Filler => {
                (1..=PAYLOAD_MAX).contains(&length)
            }
            P::Gossip => (1..=crate::GOSSIP_MAX).contains(&length),
            P::Handshake => length == HANDSHAKE_LEN,
        };
        let carries = match self.piece() {
            None => true,
            Some(_) => kind != Kind::Probe && !self.carried().is_empty(),
        };
        if !fits || !carries {
            return Err(Invalid::Length);
        }
        let (pid, epoch, page) = (self.pid.get(), self.epoch.get(), self.page.get());
        let fits = match (kind, payload) {
            (_, P::Page) => {
                let of_file = self.page_tag().is_file();
                self.pid().home().is_valid() && pid >> 31 == 0 && (page % 4096 == 0 || !of_file)
            }
            (Kind::Beacon, _) => self.pid().home().is_valid() && pid >> 31 == 0 && page <= 1,
            (Kind::Hello | Kind::HelloReply, _) => pid == 0 && page == 0,
            (Kind::Blast | Kind::BlastReport, _) => pid == 0,
            _ => pid == 0 && epoch == 0 && page == 0,
        };
        if fits { Ok(()) } else { Err(Invalid::Tag) }
    }

    /// The frame's kind. A header that was not checked reads as an Ack.
    pub fn kind(&self) -> Kind {
        Kind::from_u8(self.kind).unwrap_or(Kind::Ack)
    }

    /// What lies behind the header. One that was not checked reads as nothing.
    pub fn payload_kind(&self) -> PayloadKind {
        PayloadKind::from_u8(self.payload_kind).unwrap_or(PayloadKind::None)
    }

    /// Bytes of the payload, all pieces together.
    pub fn payload_length(&self) -> usize {
        usize::from(self.length.get()) & ((1 << LENGTH_BITS) - 1)
    }

    /// Whether the payload is a page that is packed ([`PayloadKind::Page`]).
    pub fn is_packed(&self) -> bool {
        self.payload_kind() == PayloadKind::Page && self.payload_length() < PAYLOAD_MAX
    }

    /// Which piece of the payload the frame carries, from 0; `None`: all of it.
    pub fn piece(&self) -> Option<usize> {
        (usize::from(self.length.get()) >> LENGTH_BITS).checked_sub(1)
    }

    /// Where in the payload the bytes belong that the frame carries. Empty for a piece that is none.
    pub fn carried(&self) -> Range<usize> {
        let length = self.payload_length();
        match self.piece() {
            None => 0..length,
            // Of what fits into one frame there are no pieces.
            Some(_) if length <= PIECE_LEN => 0..0,
            Some(piece) => {
                let start = (piece * PIECE_LEN).min(length);
                start..length.min(start + PIECE_LEN)
            }
        }
    }

    /// The same header for one piece of the payload, or for all of it.
    pub fn of_piece(mut self, piece: Option<usize>) -> Header {
        let number = piece.map_or(0, |piece| piece as u16 + 1);
        self.length = (number << LENGTH_BITS | self.payload_length() as u16).into();
        self
    }

    /// The lane of a Data frame.
    pub fn lane(&self) -> Lane {
        if self.lane == 0 {
            Lane::Urgent
        } else {
            Lane::Bulk
        }
    }

    /// Who sent the frame.
    pub fn source(&self) -> NodeId {
        NodeId(self.source.get())
    }

    /// Whom it is for.
    pub fn target(&self) -> NodeId {
        NodeId(self.target.get())
    }

    /// In which boot it was sent.
    pub fn source_boot(&self) -> BootId {
        BootId(self.source_boot.get())
    }

    /// For which boot it is.
    pub fn target_boot(&self) -> BootId {
        BootId(self.target_boot.get())
    }

    /// The process of a page or beacon.
    pub fn pid(&self) -> Pid {
        Pid(self.pid.get())
    }

    /// The tag of a page.
    pub fn page_tag(&self) -> PageTag {
        PageTag {
            pid: self.pid(),
            epoch: self.epoch.get(),
            page: self.page.get(),
        }
    }

    /// Writes the tag of a page.
    pub fn set_page_tag(&mut self, tag: PageTag) {
        self.pid = tag.pid.0.into();
        self.epoch = tag.epoch.into();
        self.page = tag.page.into();
    }
}

#[cfg(test)]
mod tests;
