//! The key of a cluster, and what is made from it.
//!
//! Law: the key itself is used for nothing but to make others, each for one purpose (BLAKE2s with a key, RFC 7693). No key is
//! printed, and the cluster's is wiped when it is dropped.

use blake2::Blake2sMac;
use blake2::digest::consts::U32;
use blake2::digest::{FixedOutput, KeyInit, Update};
use core::fmt;
use wire::{BootId, NodeId};
use zeroize::Zeroizing;

/// Bytes of a cluster's key.
pub const KEY_LEN: usize = 32;

/// The key that all nodes of a cluster have and nobody else.
#[derive(Clone)]
pub struct ClusterKey(Zeroizing<[u8; KEY_LEN]>);

impl fmt::Debug for ClusterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClusterKey")
    }
}

impl ClusterKey {
    /// The key with these bytes.
    pub fn new(bytes: [u8; KEY_LEN]) -> ClusterKey {
        ClusterKey(Zeroizing::new(bytes))
    }

    /// The key in a file: [`KEY_LEN`] bytes, or as many pairs of hexadecimal digits and white space behind
    /// them. `None` for anything else, and for a key of zeros, which is what a file has that was made and never filled.
    pub fn parse(file: &[u8]) -> Option<ClusterKey> {
        let bytes: [u8; KEY_LEN] = match file.try_into() {
            Ok(bytes) => bytes,
            Err(_) => from_hex(file.trim_ascii_end())?,
        };
        (bytes != [0; KEY_LEN]).then(|| ClusterKey::new(bytes))
    }

    fn derive(&self, purpose: &[u8], more: &[&[u8]]) -> Option<Zeroizing<[u8; 32]>> {
        let mut mac = Blake2sMac::<U32>::new_from_slice(self.0.as_slice()).ok()?;
        mac.update(purpose);
        for bytes in more {
            mac.update(bytes);
        }
        Some(Zeroizing::new(mac.finalize_fixed().into()))
    }

    /// What the handshakes of this cluster begin with.
    pub(crate) fn handshake(&self) -> Zeroizing<[u8; 32]> {
        let key = self.derive(b"dunlin handshake 1", &[]);
        key.expect("a key of 32 bytes is one for BLAKE2s")
    }

    /// What this boot's Hellos to all are tagged with.
    pub(crate) fn hello(&self, cluster: u32, node: NodeId, boot: BootId) -> [u8; 16] {
        let (cluster, node, boot) = (
            cluster.to_le_bytes(),
            node.0.to_le_bytes(),
            boot.0.to_le_bytes(),
        );
        let key = self.derive(b"dunlin hello 1", &[&cluster, &node, &boot]);
        let key = key.expect("a key of 32 bytes is one for BLAKE2s");
        core::array::from_fn(|at| key[at])
    }
}

fn from_hex(text: &[u8]) -> Option<[u8; KEY_LEN]> {
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
