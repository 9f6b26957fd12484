//! Tickets: what a source says to the home of a process by way of the target.
//!
//! Law: a ticket is made by two nodes alone, the source and the home, and holds for one [`Passage`]: that process, out of that
//! epoch, from that boot of the source to that boot of the target. So a node has a process only from who had it.
//!
//! The key is that of the pair: X25519 of the one's own key and the other's in the roster, and the cluster's key. No boot is part of it, as the
//! next boot of a home with a disk has to find the tickets good that its former boot did not get; nor is a direction, as a process
//! names its home, and the passage its source. A node has one with itself, too, for the processes that leave their home: nobody else
//! can make that either.
//!
//! A key costs a multiplication on the curve, once for each other node: when it is met. A ticket costs two blocks of BLAKE2s. Not
//! here: what the image says. Its frames are sealed from source to target, and who owns a process may do with it what it likes.

use crate::key::{Secret, pair};
use crate::roster::Credentials;
use alloc::collections::btree_map::{BTreeMap, Entry};
use blake2::Blake2sMac;
use blake2::digest::consts::U16;
use blake2::digest::{FixedOutput, KeyInit, Update};
use core::fmt;
use subtle::ConstantTimeEq;
use wire::{NodeId, Passage, Ticket};

/// The keys that a node has with others, and with itself.
#[derive(Default)]
pub(crate) struct Tickets {
    keys: BTreeMap<NodeId, Secret>,
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tickets")
    }
}

impl Tickets {
    /// Makes the key with a node, unless it is there; `None` if that is not in the roster.
    pub(crate) fn key(&mut self, ours: &Credentials, with: NodeId) -> Option<&Secret> {
        match self.keys.entry(with) {
            Entry::Occupied(there) => Some(there.into_mut()),
            Entry::Vacant(place) => {
                let theirs = ours.roster.get(&with)?;
                let key = ours.cluster.ticket(&pair(&ours.secret, theirs)?);
                Some(place.insert(key))
            }
        }
    }

    /// The ticket for a passage, between this node and another.
    pub(crate) fn make(
        &mut self,
        ours: &Credentials,
        with: NodeId,
        passage: &Passage,
    ) -> Option<Ticket> {
        let key = self.key(ours, with)?;
        let mac = Blake2sMac::<U16>::new_from_slice(key.as_slice());
        let mut mac = mac.expect("a key of 32 bytes is one for BLAKE2s");
        mac.update(&passage.to_bytes());
        Some(Ticket(mac.finalize_fixed().into()))
    }

    /// Whether a ticket is the one for that passage, found out in a time that does not tell.
    pub(crate) fn check(
        &mut self,
        ours: &Credentials,
        with: NodeId,
        passage: &Passage,
        ticket: &Ticket,
    ) -> bool {
        let right = self.make(ours, with, passage);
        right.is_some_and(|right| right.0.ct_eq(&ticket.0).into())
    }
}
