//! Which frames are from the own cluster: handshakes, tags, and what comes twice.
//!
//! Law: sans-I/O. A frame without a valid tag changes a counter of refused frames and nothing else; the
//! handshake, of fixed size and limited rate, is the one exception. The order of checks is length, session,
//! tag, window, and only then does anybody parse it. No frame is accepted twice: not within a session
//! (a window after RFC 6479), not in the next one, not by another boot, another node or another cluster.
//!
//! Who has the cluster's key belongs to the cluster. Two boots that hear each other's Hello make a session:
//! Noise `NNpsk0` (one trip; the prologue is the header of its first frame, which names cluster, nodes, boots and
//! addresses), from which each direction has a key. A session is used for two minutes or 2^29 frames, then there is a new one; its
//! keys are in no memory any more when the next but one is there. Either side may begin. Who answers does not use
//! a session before a frame has come in it: a first message that somebody has recorded leads to an answer and to
//! nothing else.
//!
//! A Hello to all has a tag of a key that everybody makes from the cluster's key, and a number of its own. From a boot with which there
//! was a session it counts if the number is new. From any other it is an invitation to a handshake,
//! and what it says is believed when that is done.
//!
//! The tag is SipHash-2-4 with 128 bits, a pseudorandom function over all of the frame but the tag itself. Not here: encryption. What
//! travels can be read by whoever listens. And the cluster's key says "one of us", not "node 3": a node that was taken
//! over can speak for any other.
#![no_std]

extern crate alloc;

mod handshake;
mod key;
mod rate;
mod seal;
mod session;
mod window;

pub use key::{ClusterKey, KEY_LEN};
pub use seal::{Config, Greeting, HandshakeFrame, Opened, Seal};
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
}

impl Refused {
    /// All of them.
    pub const ALL: [Refused; 6] = [
        Refused::Length,
        Refused::Session,
        Refused::Tag,
        Refused::Replay,
        Refused::Handshake,
        Refused::Rate,
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
        }
    }
}

/// Frames and handshakes counted since boot.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Refused frames by [`Refused`], in the order of [`Refused::ALL`].
    pub refused: [u64; 6],
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
