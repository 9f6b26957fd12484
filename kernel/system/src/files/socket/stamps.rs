//! When messages came: `SO_TIMESTAMP` and its relatives (socket(7)).
//!
//! Law: a message is stamped when it is sent, which is when it comes, by the clock of the node that has the socket. Who
//! has asked is told in front of all else. The last of the four that was switched on counts, and any switches them off.
//!
//! Not here: times of sending, and those of a card.

use super::headers::Control;
use abi::Errno;
use abi::layout::Timespec;
use alloc::vec::Vec;

const SOL_SOCKET: u32 = 1;
const TIMESTAMP: u32 = 29;
const TIMESTAMPNS: u32 = 35;
const TIMESTAMPING: u32 = 37;
/// The same for programs whose `long` is short; here they differ in their numbers only.
const TIMESTAMP_NEW: u32 = 63;
const TIMESTAMPNS_NEW: u32 = 64;
const TIMESTAMPING_NEW: u32 = 65;

/// `SOF_TIMESTAMPING_*` that there are, and those by which a stamp of the kernel is taken and told.
const FLAGS: i32 = (1 << 18) - 1;
const RECEIVED_AND_TOLD: i32 = 1 << 3 | 1 << 4;

/// What a socket has asked for.
#[derive(Clone, Copy, Default)]
pub(super) struct Stamps {
    /// One of the four numbers; 0 for none.
    wanted: u32,
    /// `SO_TIMESTAMPING`, and under which number it was asked for.
    flags: (u32, i32),
}

/// A `struct timeval`.
fn timeval(at: Timespec) -> Vec<u8> {
    [at.seconds, at.nanoseconds / 1000]
        .map(i64::to_le_bytes)
        .concat()
}

impl Stamps {
    /// Whether this option of `SOL_SOCKET` is one of these.
    pub(super) fn concern(name: u32) -> bool {
        let stamps = [TIMESTAMP, TIMESTAMPNS, TIMESTAMP_NEW, TIMESTAMPNS_NEW];
        stamps.contains(&name) || matches!(name, TIMESTAMPING | TIMESTAMPING_NEW)
    }

    /// setsockopt(2).
    ///
    /// # Errors
    /// EINVAL: flags that there are not.
    pub(super) fn set(&mut self, name: u32, value: i32) -> Result<(), Errno> {
        match name {
            TIMESTAMPING | TIMESTAMPING_NEW if value & !FLAGS != 0 => return Err(Errno::EINVAL),
            TIMESTAMPING | TIMESTAMPING_NEW => self.flags = (name, value),
            _ if value != 0 => self.wanted = name,
            _ => self.wanted = 0,
        }
        Ok(())
    }

    /// getsockopt(2).
    pub(super) fn value(&self, name: u32) -> i32 {
        match name {
            TIMESTAMPING | TIMESTAMPING_NEW if self.flags.0 == name => self.flags.1,
            TIMESTAMPING | TIMESTAMPING_NEW => 0,
            // As Linux says it.
            TIMESTAMP_NEW if self.wanted == TIMESTAMPNS_NEW => 1,
            _ => i32::from(self.wanted == name),
        }
    }

    /// What is told of a message of that time; of the internet also by `SO_TIMESTAMPING`.
    pub(super) fn told(&self, at: Timespec, is_local: bool) -> Vec<Control> {
        let mut told = Vec::new();
        match self.wanted {
            0 => {}
            TIMESTAMP | TIMESTAMP_NEW => {
                told.push((SOL_SOCKET, self.wanted, timeval(at)));
            }
            _ => told.push((SOL_SOCKET, self.wanted, at.to_bytes().to_vec())),
        }
        let (name, flags) = self.flags;
        if flags & RECEIVED_AND_TOLD == RECEIVED_AND_TOLD && !is_local {
            // Three times: the kernel's, none any more, the card's.
            let mut times = at.to_bytes().to_vec();
            times.resize(48, 0);
            told.push((SOL_SOCKET, name, times));
        }
        told
    }
}
