//! The handshake: Noise `KKpsk0`, two frames of one size.
//!
//! Law: both frames of a handshake are known but for their payload, number and tag: everything else in their headers follows from who
//! speaks to whom, and is compared whole. The header of the first, with its number, is the prologue, so keys come out
//! only where both have meant the same cluster, nodes, boots and addresses; and only where each has the key that belongs to the
//! other's entry in its roster. What a stranger sends costs a hash: a multiplication on the curve costs only what
//! was tagged by somebody who has the cluster's key.
//!
//! What they say is [`Said`].

use crate::cipher::Suite;
use crate::key::KEY_LEN;
use crate::roster::Credentials;
use crate::session::{Keys, SLOTS};
use alloc::boxed::Box;
use core::fmt;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use snow::params::{CipherChoice, DHChoice, HashChoice, NoiseParams};
use snow::resolvers::{CryptoResolver, DefaultResolver};
use snow::types::{Cipher, Dh, Hash, Random};
use snow::{Builder, Error, HandshakeState};
use wire::{BootId, HANDSHAKE_LEN, HEADER_LEN, Header, Kind, NodeId, PayloadKind};
use zerocopy::IntoBytes;
use zeroize::Zeroizing;

/// What follows the header.
pub(crate) type Bytes = [u8; HANDSHAKE_LEN];
/// Of handshakes, whatever the suite of the cluster is: X25519, ChaCha20-Poly1305 and BLAKE2s.
const SUITE: &str = "Noise_KKpsk0_25519_ChaChaPoly_BLAKE2s";
/// What each message says.
const SAID_LEN: usize = 16;
// A key of X25519, what is said, and a tag of Poly1305.
const _: () = assert!(HANDSHAKE_LEN == 32 + SAID_LEN + 16);

/// One end of a handshake.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct End {
    pub(crate) node: NodeId,
    pub(crate) boot: BootId,
    pub(crate) mac: [u8; 6],
}

/// The whole header of a frame of a handshake but for its tag. An answer has the number of what it answers.
pub(crate) fn header(kind: Kind, cluster: u32, from: End, to: End, number: u32) -> Header {
    let mut header = Header::new(kind);
    header.target_mac = to.mac;
    header.source_mac = from.mac;
    header.cluster = cluster.into();
    header.source = from.node.0.into();
    header.target = to.node.0.into();
    header.source_boot = from.boot.0.into();
    header.target_boot = to.boot.0.into();
    header.payload_kind = PayloadKind::Handshake as u8;
    header.length = (HANDSHAKE_LEN as u16).into();
    header.counter = number.into();
    header
}

/// Where keys come from.
struct Dice(ChaCha20Rng);

impl Random for Dice {
    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Error> {
        self.0.fill_bytes(bytes);
        Ok(())
    }
}

/// Snow's own choice of implementations, with a source of randomness of ours.
struct Resolver {
    seed: [u8; 32],
}

impl CryptoResolver for Resolver {
    fn resolve_rng(&self) -> Option<Box<dyn Random>> {
        Some(Box::new(Dice(ChaCha20Rng::from_seed(self.seed))))
    }

    fn resolve_dh(&self, choice: &DHChoice) -> Option<Box<dyn Dh>> {
        DefaultResolver.resolve_dh(choice)
    }

    fn resolve_hash(&self, choice: &HashChoice) -> Option<Box<dyn Hash>> {
        DefaultResolver.resolve_hash(choice)
    }

    fn resolve_cipher(&self, choice: &CipherChoice) -> Option<Box<dyn Cipher>> {
        DefaultResolver.resolve_cipher(choice)
    }
}

/// With whom, and how it begins.
pub(crate) struct Opening<'a> {
    pub(crate) psk: &'a [u8; KEY_LEN],
    pub(crate) ours: &'a Credentials,
    /// The other's key in the roster.
    pub(crate) theirs: &'a [u8; KEY_LEN],
    /// What our key of this handshake is drawn from.
    pub(crate) seed: Zeroizing<[u8; 32]>,
    /// The header of the first message, without its tag.
    pub(crate) knock: &'a Header,
}

impl Opening<'_> {
    fn builder(&self) -> Result<Builder<'_>, Error> {
        let suite: NoiseParams = SUITE.parse()?;
        let seed = *self.seed;
        // The number is in it, the tag, which comes after, is not.
        let prologue = &self.knock.as_bytes()[..HEADER_LEN - size_of_val(&self.knock.tag)];
        Builder::with_resolver(suite, Box::new(Resolver { seed }))
            .psk(0, self.psk)?
            .local_private_key(self.ours.secret.0.as_slice())?
            .remote_public_key(self.theirs)?
            .prologue(prologue)
    }
}

/// What a message says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Said {
    /// Which session of the sender's it will be.
    pub(crate) slot: u8,
    /// How many Hellos to all the sender has sent.
    pub(crate) hellos: u32,
}

impl Said {
    fn to_bytes(self) -> [u8; SAID_LEN] {
        let mut bytes = [0; SAID_LEN];
        bytes[0] = self.slot;
        bytes[12..].copy_from_slice(&self.hellos.to_le_bytes());
        bytes
    }

    /// `None` if it is nothing one of us would say.
    fn parse(bytes: &[u8; SAID_LEN]) -> Option<Said> {
        let said = Said {
            slot: bytes[0],
            hellos: u32::from_le_bytes(*bytes.last_chunk()?),
        };
        (said.to_bytes() == *bytes && usize::from(said.slot) < SLOTS).then_some(said)
    }
}

fn keys(noise: &mut HandshakeState, suite: Suite, is_ours: bool) -> Keys {
    let (first, second) = noise.dangerously_get_raw_split();
    let (first, second) = (Zeroizing::new(first), Zeroizing::new(second));
    let (send, receive) = if is_ours {
        (first, second)
    } else {
        (second, first)
    };
    Keys {
        send: suite.key(&send),
        receive: suite.key(&receive),
    }
}

/// A handshake that we have begun.
pub(crate) struct Begun {
    noise: Box<HandshakeState>,
}

impl fmt::Debug for Begun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Begun")
    }
}

/// Begins one: the first message.
pub(crate) fn begin(opening: &Opening<'_>, said: &Said) -> Option<(Begun, Bytes)> {
    let mut noise = opening.builder().ok()?.build_initiator().ok()?;
    let mut bytes = [0; HANDSHAKE_LEN];
    noise.write_message(&said.to_bytes(), &mut bytes).ok()?;
    let noise = Box::new(noise);
    Some((Begun { noise }, bytes))
}

/// A first message that somebody sent who has the keys, and maybe long ago.
pub(crate) struct Heard {
    noise: HandshakeState,
    pub(crate) said: Said,
}

/// Reads a first message.
pub(crate) fn hear(opening: &Opening<'_>, bytes: &Bytes) -> Option<Heard> {
    let mut noise = opening.builder().ok()?.build_responder().ok()?;
    let mut said = [0; SAID_LEN];
    noise.read_message(bytes, &mut said).ok()?;
    let said = Said::parse(&said)?;
    Some(Heard { noise, said })
}

impl Heard {
    /// Answers it.
    pub(crate) fn answer(mut self, suite: Suite, said: &Said) -> Option<(Keys, Bytes)> {
        let mut bytes = [0; HANDSHAKE_LEN];
        let said = said.to_bytes();
        self.noise.write_message(&said, &mut bytes).ok()?;
        Some((keys(&mut self.noise, suite, false), bytes))
    }
}

impl Begun {
    /// Reads the answer. What is none changes nothing.
    pub(crate) fn finish(&mut self, suite: Suite, bytes: &Bytes) -> Option<(Keys, Said)> {
        let mut said = [0; SAID_LEN];
        self.noise.read_message(bytes, &mut said).ok()?;
        let said = Said::parse(&said)?;
        Some((keys(&mut self.noise, suite, true), said))
    }
}
