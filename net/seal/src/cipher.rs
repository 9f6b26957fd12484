//! The two suites that a cluster can have, and their keys.
//!
//! Law: a cluster has one suite, which each node is told with its keys and which all its keys are made with: nothing is
//! negotiated, and nodes of another suite are strangers. With [`Suite::SipHash`] a frame is authenticated and can be read; with
//! [`Suite::ChaCha`] what is behind its header cannot. The header is authenticated in both, and hidden in neither.

use crate::session::{TagKey, Tagger};
use chacha20poly1305::{AeadInPlace, ChaCha20Poly1305, Key, KeyInit};
use core::fmt;
use subtle::ConstantTimeEq;
use wire::{HEADER_LEN, Header, PAYLOAD_MAX};
use zerocopy::IntoBytes;
use zeroize::Zeroizing;

/// How the frames of a cluster are sealed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Suite {
    /// A tag of SipHash-2-4 with 128 bits, and no encryption.
    SipHash,
    /// ChaCha20-Poly1305 (RFC 8439): encrypted, too.
    #[default]
    ChaCha,
}

impl Suite {
    /// Both.
    pub const ALL: [Suite; 2] = [Suite::SipHash, Suite::ChaCha];

    /// For people and files.
    pub fn name(self) -> &'static str {
        match self {
            Suite::SipHash => "siphash",
            Suite::ChaCha => "chacha",
        }
    }

    /// The one of this name.
    pub fn named(name: &str) -> Option<Suite> {
        Suite::ALL.into_iter().find(|suite| suite.name() == name)
    }

    pub(crate) fn key(self, bytes: &[u8; 32]) -> FrameKey {
        match self {
            Suite::SipHash => FrameKey::SipHash(TagKey(core::array::from_fn(|at| bytes[at]))),
            Suite::ChaCha => FrameKey::ChaCha(Zeroizing::new(*bytes)),
        }
    }
}

/// What is behind a header, wherever it lies.
pub trait Body {
    /// Copies `into.len()` bytes from `at` on, which are there.
    fn read(&self, at: usize, into: &mut [u8]);
    /// Puts others in their place. Nobody else reads them meanwhile.
    fn write(&mut self, at: usize, from: &[u8]);
}

impl Body for [u8] {
    fn read(&self, at: usize, into: &mut [u8]) {
        into.copy_from_slice(&self[at..at + into.len()]);
    }

    fn write(&mut self, at: usize, from: &[u8]) {
        self[at..at + from.len()].copy_from_slice(from);
    }
}

/// Where a payload is while it is sealed or opened.
pub(crate) type Scratch = [u8; PAYLOAD_MAX];

/// A key for one direction of a session.
pub(crate) enum FrameKey {
    SipHash(TagKey),
    ChaCha(Zeroizing<[u8; 32]>),
}

impl fmt::Debug for FrameKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FrameKey")
    }
}

/// Bytes of a payload that are looked at together.
const CHUNK: usize = 1024;

/// Writes a payload into a tag.
pub(crate) fn feed<B: Body + ?Sized>(tagger: &mut Tagger, length: usize, body: &B) {
    let mut chunk = [0; CHUNK];
    let mut offset = 0;
    while offset < length {
        let part = &mut chunk[..CHUNK.min(length - offset)];
        body.read(offset, part);
        tagger.write(part);
        offset += part.len();
    }
}

/// All of a header but its tag, and a number that no other frame with the same key has.
fn known(header: &Header) -> (&[u8], [u8; 12]) {
    let mut nonce = [0; 12];
    nonce[..4].copy_from_slice(header.counter.as_bytes());
    let bytes = &header.as_bytes()[..HEADER_LEN - size_of_val(&header.tag)];
    (bytes, nonce)
}

impl FrameKey {
    /// Gives a frame its tag. `true`: what is to travel behind it is at the beginning of `scratch`, and not what the body has.
    pub(crate) fn seal<B: Body + ?Sized>(
        &self,
        header: &mut Header,
        length: usize,
        body: &B,
        scratch: &mut Scratch,
    ) -> bool {
        match self {
            FrameKey::SipHash(key) => {
                header.tag = key.tag(header, |tagger| feed(tagger, length, body));
                false
            }
            FrameKey::ChaCha(key) => {
                let bytes = &mut scratch[..length];
                body.read(0, bytes);
                let cipher = ChaCha20Poly1305::new(Key::from_slice(key.as_slice()));
                let (known, nonce) = known(header);
                let tag = cipher.encrypt_in_place_detached(&nonce.into(), known, bytes);
                header.tag = tag.expect("a page is not too long").into();
                true
            }
        }
    }

    /// Whether a frame has the tag that it must have, found out in a time that does not tell. What it carries is then at the beginning
    /// of `scratch`, if it was encrypted.
    pub(crate) fn open<B: Body + ?Sized>(
        &self,
        header: &Header,
        length: usize,
        body: &B,
        scratch: &mut Scratch,
    ) -> bool {
        match self {
            FrameKey::SipHash(key) => key
                .tag(header, |tagger| feed(tagger, length, body))
                .ct_eq(&header.tag)
                .into(),
            FrameKey::ChaCha(key) => {
                let bytes = &mut scratch[..length];
                body.read(0, bytes);
                let cipher = ChaCha20Poly1305::new(Key::from_slice(key.as_slice()));
                let (known, nonce) = known(header);
                let tag = header.tag.into();
                let opened = cipher.decrypt_in_place_detached(&nonce.into(), known, bytes, &tag);
                opened.is_ok()
            }
        }
    }

    /// Whether payloads are encrypted.
    pub(crate) fn encrypts(&self) -> bool {
        matches!(self, FrameKey::ChaCha(_))
    }
}
