//! Which frames are from the own cluster: handshakes, tags, and what comes twice.
//!
//! Law: sans-I/O. A frame without a valid tag changes a counter of refused frames and nothing else; the
//! handshake, of fixed size and limited rate, is the one exception. The order of checks is length, session,
//! tag, window, and only then does anybody parse it. No frame is accepted twice: not within a session
//! (a window after RFC 6479), not in the next one, not by another boot, another node or another cluster.
//!
//! Each node has a secret key of its own, the cluster's key, and a roster with the public keys of all nodes ([`Credentials`], which
//! are made from the key of the cluster's owner, [`OwnerKey`]). Two boots that hear each other's Hello make a session:
//! Noise `KKpsk0` (one trip; the prologue is the header of its first frame, which names cluster, nodes, boots and
//! addresses), from which each direction has a key. So in a session each is the node that it says it is: one that was taken over speaks
//! for itself only. A session is used for two minutes or 2^29 frames, then there is a new one; its
//! keys are in no memory any more when the next but one is there. Either side may begin. Who answers does not use
//! a session before a frame has come in it: a first message that somebody has recorded leads to an answer and to
//! nothing else.
//!
//! A Hello to all has a tag of a key that everybody makes from the cluster's key, and a number of its own. So it is an invitation to a
//! handshake and nothing more: what a boot says of itself is believed in a session. Who says again the Hellos of boots that are over
//! has each of them tried, ever more rarely (`doubts.rs`).
//!
//! What a node says to another by way of a third that may lie, it says with a ticket (`ticket.rs`): that it gives a process away.
//!
//! How frames in sessions are sealed is the cluster's [`Suite`]: a tag over all of the frame but the tag itself, and in one of the two what is behind
//! the header is encrypted. Not here: hiding headers. Who listens knows who sends how much to whom, of which process and to which address.
#![no_std]

extern crate alloc;

mod cipher;
mod doubts;
mod handshake;
mod key;
mod rate;
mod roster;
mod seal;
mod session;
mod ticket;
mod window;

pub use cipher::{Body, Suite};
pub use key::{KEY_LEN, OwnerKey};
pub use roster::{BadFile, Credentials, FILE_MAX, ROSTER_MAX};
pub use seal::{Config, Greeting, HandshakeFrame, Opened, Seal, Sealed};
pub use session::{FRAMES_MAX, REJECT_AFTER_NS, REKEY_AFTER_NS, REKEY_FRAMES};
pub use window::WINDOW;

/// Why a frame was refused. It has changed the counter of that name and nothing else.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Refused {
    /// Not our protocol, version or cluster, or shorter than it says.
    Length,
    /// It is not for this boot, or there is no such session with its sender, or not any more.
    Session,
    /// Its tag is wrong.
    Tag,
    /// It was here before, or is too old to tell.
    Replay,
    /// A message of a handshake that is none, was here before, or answers nothing.
    Handshake,
    /// Too many handshakes.
    Rate,
    /// Its sender is not in the roster.
    Roster,
}

impl Refused {
    /// All of them.
    pub const ALL: [Refused; 7] = [
        Refused::Length,
        Refused::Session,
        Refused::Tag,
        Refused::Replay,
        Refused::Handshake,
        Refused::Rate,
        Refused::Roster,
    ];

    /// For people and files.
    pub fn name(self) -> &'static str {
        match self {
            Refused::Length => "length",
            Refused::Session => "session",
            Refused::Tag => "tag",
            Refused::Replay => "replay",
            Refused::Handshake => "handshake",
            Refused::Rate => "rate",
            Refused::Roster => "roster",
        }
    }
}

/// Frames and handshakes counted since boot.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Refused frames by [`Refused`], in the order of [`Refused::ALL`].
    pub refused: [u64; 7],
    /// Handshakes begun.
    pub knocks: u64,
    /// Handshakes answered.
    pub welcomes: u64,
    /// Sessions in which a frame has come or may be sent.
    pub sessions: u64,
    /// Frames that were not sent as there was no session with whom they were for.
    pub unsent: u64,
}

impl Counters {
    /// How many were refused for this reason.
    pub fn of(&self, reason: Refused) -> u64 {
        self.refused[reason as usize]
    }
}

#[cfg(test)]
mod tests;
