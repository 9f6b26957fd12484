//! A session between two boots: a key for each direction, numbers, and a window.
//!
//! Law: a number is used once, and after [`FRAMES_MAX`] of them none; what a session accepts has a tag
//! over everything, and was not here before.

use crate::cipher::{Body, FrameKey, Scratch};
use crate::window::Window;
use core::fmt;
use core::hash::Hasher;
use siphasher::sip128::{Hasher128, SipHasher24};
use subtle::ConstantTimeEq;
use wire::{HEADER_LEN, Header};
use zerocopy::IntoBytes;

/// From this age on a session is replaced, ns,
pub const REKEY_AFTER_NS: u64 = 120_000_000_000;
/// or after so many frames,
pub const REKEY_FRAMES: u32 = 1 << 29;
/// and with this one it is over, whether there is another or not, ns;
pub const REJECT_AFTER_NS: u64 = 180_000_000_000;
/// so it is after so many frames.
pub const FRAMES_MAX: u32 = (1 << NUMBER_BITS) - 1;

/// Bits of the header's counter that are the frame's number; above it is which session it is.
pub(crate) const NUMBER_BITS: u32 = 30;
/// Sessions of one boot with another at once, of which one is used to send.
pub(crate) const SLOTS: usize = 1 << (u32::BITS - NUMBER_BITS);

/// A key for tags.
#[derive(Clone, Copy)]
pub(crate) struct TagKey(pub(crate) [u8; 16]);

impl fmt::Debug for TagKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TagKey")
    }
}

/// What a tag is made of. Whoever has the payload writes it, from its beginning to its end, in parts of
/// any length.
#[derive(Debug)]
pub(crate) struct Tagger(SipHasher24);

impl Tagger {
    /// The next bytes of the payload.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.0.write(bytes);
    }
}

impl TagKey {
    /// The tag of a frame, whatever its tag is now.
    pub(crate) fn tag(&self, header: &Header, payload: impl FnOnce(&mut Tagger)) -> [u8; 16] {
        let mut tagger = Tagger(SipHasher24::new_with_key(&self.0));
        // The tag is the end of the header: all before it, and then the payload.
        tagger.write(&header.as_bytes()[..HEADER_LEN - size_of_val(&header.tag)]);
        payload(&mut tagger);
        tagger.0.finish128().as_bytes()
    }

    /// Whether a frame has the tag that it must have, found out in a time that does not tell.
    pub(crate) fn check(&self, header: &Header, payload: impl FnOnce(&mut Tagger)) -> bool {
        self.tag(header, payload).ct_eq(&header.tag).into()
    }
}

/// The keys that a handshake has agreed on.
#[derive(Debug)]
pub(crate) struct Keys {
    pub(crate) send: FrameKey,
    pub(crate) receive: FrameKey,
}

#[derive(Debug)]
pub(crate) struct Session {
    keys: Keys,
    /// Which of its sessions this is for the other boot.
    their_slot: u8,
    /// The number of the last frame sent.
    sent: u32,
    window: Window,
    pub(crate) since: u64,
    /// Whether we began it.
    pub(crate) is_ours: bool,
    /// Whether the other boot is known to have the keys.
    pub(crate) is_confirmed: bool,
}

impl Session {
    pub(crate) fn new(now: u64, keys: Keys, their_slot: u8, is_ours: bool) -> Session {
        Session {
            keys,
            their_slot,
            sent: 0,
            window: Window::new(),
            since: now,
            is_ours,
            is_confirmed: is_ours,
        }
    }

    pub(crate) fn is_over(&self, now: u64) -> bool {
        now.saturating_sub(self.since) >= REJECT_AFTER_NS
    }

    /// Whether a new one is due. Who did not begin it waits a little for whom did.
    pub(crate) fn is_old(&self, now: u64) -> bool {
        let patience = if self.is_ours { 0 } else { REKEY_AFTER_NS / 8 };
        now.saturating_sub(self.since) >= REKEY_AFTER_NS + patience || self.sent >= REKEY_FRAMES
    }

    /// Gives a frame its number and its tag; whether it is encrypted ([`FrameKey::seal`]). `None`: there is no number left.
    pub(crate) fn seal<B: Body + ?Sized>(
        &mut self,
        header: &mut Header,
        length: usize,
        body: &B,
        scratch: &mut Scratch,
    ) -> Option<bool> {
        if self.sent >= FRAMES_MAX {
            return None;
        }
        self.sent += 1;
        header.counter = (u32::from(self.their_slot) << NUMBER_BITS | self.sent).into();
        Some(self.keys.send.seal(header, length, body, scratch))
    }

    /// Whether a frame has the right tag ([`FrameKey::open`]).
    pub(crate) fn check<B: Body + ?Sized>(
        &self,
        header: &Header,
        length: usize,
        body: &B,
        scratch: &mut Scratch,
    ) -> bool {
        self.keys.receive.open(header, length, body, scratch)
    }

    /// Whether payloads are encrypted.
    pub(crate) fn encrypts(&self) -> bool {
        self.keys.receive.encrypts()
    }

    /// Whether the number of a frame, whose tag was right, is new.
    pub(crate) fn accept(&mut self, counter: u32) -> bool {
        self.window.accept(counter & FRAMES_MAX)
    }

    /// As if so many frames had been sent.
    #[cfg(test)]
    pub(crate) fn skip(&mut self, sent: u32) {
        self.sent = sent;
    }
}

/// The session that a counter names.
pub(crate) fn slot_of(counter: u32) -> usize {
    (counter >> NUMBER_BITS) as usize
}
