//! Keys of a cluster: the one that its owner has, and what is made from it for the nodes.
//!
//! Law: a key is used for nothing but to make others, each for one purpose (BLAKE2s with a key, RFC 7693), and those are wiped when
//! they are dropped. No key is printed. The owner's is in no node: who has what a node has can make
//! neither the key of another node nor that of a new one.

use crate::cipher::Suite;
use crate::roster::Credentials;
use blake2::Blake2sMac;
use blake2::digest::consts::U32;
use blake2::digest::{FixedOutput, KeyInit, Update};
use core::fmt;
use snow::params::DHChoice;
use snow::resolvers::{CryptoResolver, DefaultResolver};
use snow::types::Dh;
use wire::{BootId, NodeId};
use zeroize::Zeroizing;

/// Bytes of every key.
pub const KEY_LEN: usize = 32;

pub(crate) type Secret = Zeroizing<[u8; KEY_LEN]>;

fn derive(key: &Secret, purpose: &[u8], more: &[&[u8]]) -> Secret {
    let mac = Blake2sMac::<U32>::new_from_slice(key.as_slice());
    let mut mac = mac.expect("a key of 32 bytes is one for BLAKE2s");
    mac.update(purpose);
    for bytes in more {
        mac.update(bytes);
    }
    Zeroizing::new(mac.finalize_fixed().into())
}

/// What the owner of a cluster has, from which all of its keys are made.
#[derive(Clone)]
pub struct OwnerKey(Secret);

impl fmt::Debug for OwnerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OwnerKey")
    }
}

impl OwnerKey {
    /// The key with these bytes.
    pub fn new(bytes: [u8; KEY_LEN]) -> OwnerKey {
        OwnerKey(Zeroizing::new(bytes))
    }

    /// The key in a file: [`KEY_LEN`] bytes, or as many pairs of hexadecimal digits and white space behind
    /// them. `None` for anything else, and for a key of zeros, which is what a file has that was made and never filled.
    pub fn parse(file: &[u8]) -> Option<OwnerKey> {
        let bytes: [u8; KEY_LEN] = match file.try_into() {
            Ok(bytes) => bytes,
            Err(_) => from_hex(file.trim_ascii_end())?,
        };
        (bytes != [0; KEY_LEN]).then(|| OwnerKey::new(bytes))
    }

    fn node(&self, node: NodeId) -> NodeSecret {
        NodeSecret(derive(&self.0, b"dunlin node 1", &[&node.0.to_le_bytes()]))
    }

    /// What a node of a cluster of these nodes is to be given; itself is always one of them.
    pub fn credentials(
        &self,
        node: NodeId,
        roster: impl IntoIterator<Item = NodeId>,
        suite: Suite,
    ) -> Credentials {
        let cluster = ClusterKey(derive(&self.0, b"dunlin cluster 1", &[]));
        let nodes = roster.into_iter().chain([node]);
        Credentials {
            suite,
            cluster,
            node,
            secret: self.node(node),
            roster: nodes.map(|node| (node, self.node(node).public())).collect(),
        }
    }
}

/// The key that all nodes of a cluster have and nobody else.
#[derive(Clone)]
pub(crate) struct ClusterKey(pub(crate) Secret);

impl fmt::Debug for ClusterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClusterKey")
    }
}

/// The first half of a key.
fn half(key: &Secret) -> [u8; 16] {
    core::array::from_fn(|at| key[at])
}

impl ClusterKey {
    /// What the handshakes of this cluster begin with.
    pub(crate) fn handshake(&self, suite: Suite) -> Secret {
        derive(&self.0, b"dunlin handshake 2", &[suite.name().as_bytes()])
    }

    /// What the frames of handshakes are tagged with.
    pub(crate) fn knock(&self, suite: Suite) -> [u8; 16] {
        half(&derive(
            &self.0,
            b"dunlin knock 1",
            &[suite.name().as_bytes()],
        ))
    }

    /// What the tickets of two nodes are made with, from what only they can compute.
    pub(crate) fn ticket(&self, pair: &Secret) -> Secret {
        derive(&self.0, b"dunlin ticket 1", &[pair.as_slice()])
    }

    /// What this boot's Hellos to all are tagged with.
    pub(crate) fn hello(&self, suite: Suite, cluster: u32, node: NodeId, boot: BootId) -> [u8; 16] {
        let (cluster, node, boot) = (
            cluster.to_le_bytes(),
            node.0.to_le_bytes(),
            boot.0.to_le_bytes(),
        );
        let more: [&[u8]; 4] = [&cluster, &node, &boot, suite.name().as_bytes()];
        half(&derive(&self.0, b"dunlin hello 1", &more))
    }
}

/// The key that only one node has, by which the others know it.
#[derive(Clone)]
pub(crate) struct NodeSecret(pub(crate) Secret);

impl fmt::Debug for NodeSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NodeSecret")
    }
}

impl NodeSecret {
    /// The key of X25519 that belongs to it, which everybody may know.
    pub(crate) fn public(&self) -> [u8; KEY_LEN] {
        let dh = curve(&self.0);
        let public = dh.pubkey();
        core::array::from_fn(|at| public[at])
    }
}

/// What only two nodes can compute, each from its own key and the other's public one. `None` for a public key that is none.
pub(crate) fn pair(own: &NodeSecret, public: &[u8; KEY_LEN]) -> Option<Secret> {
    let mut shared = Zeroizing::new([0; KEY_LEN]);
    curve(&own.0)
        .dh(public.as_slice(), shared.as_mut_slice())
        .ok()?;
    (*shared != [0; KEY_LEN]).then_some(shared)
}

fn curve(secret: &Secret) -> alloc::boxed::Box<dyn Dh> {
    let dh = DefaultResolver.resolve_dh(&DHChoice::Curve25519);
    let mut dh = dh.expect("snow is built with X25519");
    dh.set(secret.as_slice());
    dh
}

/// Bytes of a key written as hexadecimal digits.
pub(crate) fn from_hex(text: &[u8]) -> Option<[u8; KEY_LEN]> {
    if text.len() != 2 * KEY_LEN {
        return None;
    }
    let digit = |byte: u8| Some(char::from(byte).to_digit(16)? as u8);
    let mut bytes = [0; KEY_LEN];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}
