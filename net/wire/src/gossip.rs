//! What nodes tell each other about all nodes: who lives, and how loaded it is.
//!
//! Law: gossip is advice. It is unreliable, one frame, bounded by [`GOSSIP_MAX`] whatever the size of the
//! cluster; absurd figures are cut to what a machine can have, absurd names refuse the frame. Whoever
//! believes a lie loses time and nothing else.
//!
//! Epoch and CPU features are not here: a boot is named in every record, and features are in the Hello.

use crate::{BootId, Invalid, NodeId};
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// Records in a frame at most.
pub const RECORDS_MAX: usize = 20;
/// The longest gossip in bytes: with the header it fits an Ethernet frame of 1500.
pub const GOSSIP_MAX: usize = 20 + RECORDS_MAX * 66;
const _: () = assert!(crate::HEADER_LEN - 14 + GOSSIP_MAX <= 1500);

/// How loaded a node is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Load {
    /// Threads that run or could run, averaged, in thousandths.
    pub runnable_milli: u32,
    /// Processors; at least 1.
    pub processors: u16,
    /// What one processor does, in millions of a fixed unit of work per second; at least 1.
    pub speed: u32,
    /// Page frames of 4096 bytes in the machine.
    pub frames_total: u32,
    /// Those of them that are free.
    pub frames_free: u32,
    /// Those of the free ones that are promised to processes on their way.
    pub frames_reserved: u32,
    /// Processes of other homes that run there.
    pub guests: u16,
    /// Its owner works on it.
    pub owner_present: bool,
    /// It is to be emptied: everybody leaves and nobody comes.
    pub draining: bool,
    /// It takes processes of others at all.
    pub accepts_guests: bool,
}

impl Load {
    /// The same with every figure within what a machine can have.
    pub fn within_reason(self) -> Load {
        let frames_free = self.frames_free.min(self.frames_total);
        Load {
            runnable_milli: self.runnable_milli.min(1_000_000_000),
            processors: self.processors.clamp(1, 4096),
            speed: self.speed.clamp(1, 10_000_000),
            frames_free,
            frames_reserved: self.frames_reserved.min(frames_free),
            ..self
        }
    }
}

/// What is believed of a node. Of two beliefs of the same incarnation the later one here is the stronger.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum NodeState {
    /// It lives.
    Alive,
    /// It has not answered.
    Suspect,
    /// It has not answered for so long that it is taken for dead. That proves nothing.
    Dead,
    /// It has said goodbye.
    Left,
}

/// A load and how old it is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Told {
    /// Counts what the node has told in this boot; serial numbers as in RFC 1982.
    pub version: u32,
    /// How long ago it told, ms, rounded up; every node adds how long it has kept it.
    pub age_ms: u32,
    /// What it told.
    pub load: Load,
}

/// What is believed of one node.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Record {
    /// The node.
    pub node: NodeId,
    /// Its boot.
    pub boot: BootId,
    /// Counts how often it has contradicted in this boot; serial numbers as in RFC 1982.
    pub incarnation: u32,
    /// What is believed.
    pub state: NodeState,
    /// Its load, if that is known and not too old.
    pub told: Option<Told>,
}

/// What a gossip frame is for, beside its records.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Purpose {
    /// Nothing else.
    News,
    /// Are you there?
    Ping,
    /// I am, to a ping with this number.
    Ack,
    /// Ping `subject` for me.
    PingRequest,
    /// Are you there, asks `subject`?
    PingFor,
    /// I am, tell `subject`.
    AckFor,
    /// `subject` is there.
    AckRelayed,
}

/// One frame of gossip.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Gossip {
    /// What it is for.
    pub purpose: Purpose,
    /// The number of the ping that it belongs to; 0 for news.
    pub seq: u32,
    /// The third node, where the purpose has one; else 0.
    pub subject: NodeId,
    /// What the sender believes, itself first; at most [`RECORDS_MAX`].
    pub records: Vec<Record>,
}

impl Gossip {
    /// The payload of a Gossip frame: postcard.
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_allocvec(self).expect("plain numbers always encode")
    }

    /// Reads the payload of a Gossip frame.
    ///
    /// # Errors
    /// [`Invalid::Length`], [`Invalid::Message`], [`Invalid::Trailing`], [`Invalid::Node`] or [`Invalid::Boot`].
    pub fn decode(bytes: &[u8]) -> Result<Gossip, Invalid> {
        if bytes.len() > GOSSIP_MAX {
            return Err(Invalid::Length);
        }
        let mut gossip = match postcard::take_from_bytes::<Gossip>(bytes) {
            Ok((gossip, [])) => gossip,
            Ok(_) => return Err(Invalid::Trailing),
            Err(_) => return Err(Invalid::Message),
        };
        gossip.check()?;
        for told in gossip.records.iter_mut().filter_map(|r| r.told.as_mut()) {
            told.load = told.load.within_reason();
        }
        Ok(gossip)
    }

    fn check(&self) -> Result<(), Invalid> {
        if self.records.len() > RECORDS_MAX {
            return Err(Invalid::Length);
        }
        let third = !matches!(self.purpose, Purpose::News | Purpose::Ping | Purpose::Ack);
        if third != self.subject.is_valid() || !third && self.subject.0 != 0 {
            return Err(Invalid::Node);
        }
        for record in &self.records {
            if !record.node.is_valid() {
                return Err(Invalid::Node);
            }
            if record.boot == BootId::NONE {
                return Err(Invalid::Boot);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
