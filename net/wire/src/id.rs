//! Names of nodes, boots and processes.
//!
//! Law: a name is a number with a fixed range; whoever makes one from foreign bytes checks the range.

use core::fmt;
use serde::{Deserialize, Serialize};

/// The highest node number: a pid has 15 bits for it.
pub const NODE_MAX: u16 = 32767;

/// A node's number, 1..=32767. Zero stands for "all nodes" in a frame's target and nowhere else.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[repr(transparent)]
pub struct NodeId(pub u16);

impl NodeId {
    /// The target of a broadcast frame.
    pub const ALL: NodeId = NodeId(0);

    /// Whether this names one node.
    pub fn is_valid(self) -> bool {
        (1..=NODE_MAX).contains(&self.0)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// One boot of one node: random, never zero. Boots are not ordered by their ids.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[repr(transparent)]
pub struct BootId(pub u64);

impl BootId {
    /// "Not known yet", legal only as the target of a broadcast.
    pub const NONE: BootId = BootId(0);
}

impl fmt::Display for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A process id, unique in the cluster and a positive `pid_t`: bit 31 zero, bits 16..31 the home
/// node, bits 0..16 a serial number there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[repr(transparent)]
pub struct Pid(pub u32);

impl Pid {
    /// The pid with this home and serial number. A home above [`NODE_MAX`] loses its top bit.
    pub const fn new(home: NodeId, serial: u16) -> Pid {
        Pid((((home.0 & NODE_MAX) as u32) << 16) | serial as u32)
    }

    /// The node that keeps the process's outside.
    pub const fn home(self) -> NodeId {
        NodeId(((self.0 >> 16) & NODE_MAX as u32) as u16)
    }

    /// The serial number on its home node.
    pub const fn serial(self) -> u16 {
        self.0 as u16
    }
}

impl fmt::Display for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Which try of its owner to move a process this is. Tries that come to nothing use up no epoch, so what is
/// late of one of them is told from the next by this: answers, the image, and pages that were under way.
/// The owner counts them from any number on; 12 bits, because it travels where the address of a page has
/// zeros ([`crate::PageTag`]).
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize,
)]
#[repr(transparent)]
pub struct Attempt(u16);

impl Attempt {
    /// The bits of it.
    pub const MASK: u16 = 0xfff;

    /// The one with this number, as far as it has a place.
    pub const fn new(number: u16) -> Attempt {
        Attempt(number & Attempt::MASK)
    }

    /// The one after it.
    pub const fn next(self) -> Attempt {
        Attempt::new(self.0.wrapping_add(1))
    }

    /// Its number.
    pub const fn number(self) -> u16 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pid_names_its_home() {
        let pid = Pid::new(NodeId(32767), 65535);
        assert_eq!(pid.0, 0x7fff_ffff);
        assert_eq!((pid.home(), pid.serial()), (NodeId(32767), 65535));
        assert_eq!(Pid::new(NodeId(3), 7).0, 3 * 65536 + 7);
        assert!(!NodeId(0).is_valid() && !NodeId(32768).is_valid() && NodeId(1).is_valid());
    }
}
