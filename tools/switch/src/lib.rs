//! A user-space Ethernet switch whose links can be made bad on purpose.
//!
//! Law: what happens to a frame depends only on the seed, on the order of frames on its link and on
//! the time they came; with no fault configured a frame is forwarded from the buffer it was received
//! in, and never reordered.
//!
//! The layers, from the inside out: [`table`] learns which address is where, [`faults`] says what a
//! link does to frames, [`core`] joins both into a state machine without I/O, [`pcap`] writes what
//! came in, [`service`] moves frames between sockets (one datagram is one frame) in a thread.
//!
//! Not here: VLANs, spanning trees, flow control. A full port drops, as a cheap switch does.

mod bombard;
pub mod core;
pub mod faults;
pub mod pcap;
pub mod service;
pub mod table;

pub use crate::core::{Counters, Switch};
pub use crate::faults::{Chance, Faults, Random};
pub use crate::service::{Attachment, Service, ServiceError, link_pair};

/// Most ports one switch has; bounds every table in this crate.
pub const PORTS_MAX: usize = 64;

/// Shortest frame accepted, in bytes: two addresses and the EtherType (IEEE 802.3, 3.1.1), without
/// padding and checksum, which virtual links do not carry.
pub const FRAME_MIN: usize = 14;

/// Longest frame accepted, in bytes: what QEMU's datagram back end passes.
pub const FRAME_MAX: usize = 69_632;
