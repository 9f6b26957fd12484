//! The bytes of a checkpoint, as they leave and as they come.
//!
//! Law: they are read and written once, in order, and held only as far as they have to be. What comes may be anything:
//! every length is checked before room is made for it, and whether all is right is known with the last byte.
//!
//! ```text
//! Head                    which process, when, and the lengths of the next two
//! home_bytes bytes        what home knows of it (postcard)
//! descriptor_bytes bytes  its descriptor (`descriptor.rs`) with a whole outline
//! records                 address (u64), page; ascending, without those that are zero
//! u64::MAX, sum           SipHash-1-3 (128 bits) of everything before: whether it is whole, not who has made it
//! ```

use abi::Errno;
use alloc::vec::Vec;
use core::hash::Hasher;
use machine::{Frame, FrameKind, PAGE_SIZE};
use siphasher::sip128::{Hasher128, SipHasher13};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

const MAGIC: [u8; 8] = *b"DUNLINC1";
/// Behind the last page.
const END: [u8; 8] = [0xff; 8];
const SUM: usize = 16;
/// Of what home knows, and of a descriptor, there is no more.
const PART_MAX: u32 = 16 << 20;
/// This much of the node's memory is left to others by what comes.
const SPARE: u64 = 16;

/// What stands in front.
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub(super) struct Head {
    magic: [u8; 8],
    /// The layout of what home knows.
    layout: u32,
    pub(super) pid: u32,
    home_bytes: u32,
    descriptor_bytes: u32,
    /// When it was taken, wall clock, ns.
    pub(super) taken_unix_ns: u64,
}

/// A checkpoint on its way to who reads it.
pub(super) struct Leaving {
    /// How much of it was read.
    pub(super) position: u64,
    ready: Vec<u8>,
    pages: alloc::vec::IntoIter<(u64, Frame)>,
    sum: Option<SipHasher13>,
}

impl Leaving {
    /// A process at this time: what home knows, its descriptor, and its pages.
    pub(super) fn new(
        (pid, taken_unix_ns): (u32, u64),
        home: &[u8],
        descriptor: &[u8],
        pages: Vec<(u64, Frame)>,
    ) -> Option<Leaving> {
        let length = |part: &[u8]| u32::try_from(part.len()).ok().filter(|n| *n <= PART_MAX);
        let head = Head {
            magic: MAGIC,
            layout: crate::keeper::LAYOUT,
            pid,
            home_bytes: length(home)?,
            descriptor_bytes: length(descriptor)?,
            taken_unix_ns,
        };
        let ready = [head.as_bytes(), home, descriptor].concat();
        let mut sum = SipHasher13::new();
        sum.write(&ready);
        Some(Leaving {
            position: 0,
            ready,
            pages: pages.into_iter(),
            sum: Some(sum),
        })
    }

    /// The next bytes, at most so many; none at the end.
    pub(super) fn read(&mut self, count: usize) -> Vec<u8> {
        while self.ready.len() < count {
            let Some(sum) = self.sum.as_mut() else { break };
            let from = self.ready.len();
            match self.pages.find(|(_, frame)| !frame.is_zero()) {
                Some((page, frame)) => {
                    self.ready.extend_from_slice(&page.to_le_bytes());
                    self.ready.resize(from + END.len() + PAGE_SIZE, 0);
                    frame.read(0, &mut self.ready[from + END.len()..]);
                    sum.write(&self.ready[from..]);
                }
                None => {
                    sum.write(&END);
                    let sum = sum.finish128().as_bytes();
                    self.ready.extend_from_slice(&END);
                    self.ready.extend_from_slice(&sum);
                    self.sum = None;
                }
            }
        }
        let rest = self.ready.split_off(count.min(self.ready.len()));
        let bytes = core::mem::replace(&mut self.ready, rest);
        self.position += bytes.len() as u64;
        bytes
    }
}

/// Why bytes are not taken for a checkpoint, and in words.
pub(super) type Refusal = (Errno, &'static str);

const DAMAGED: Refusal = (Errno::EBADMSG, "it is damaged, or no checkpoint");

/// A checkpoint as it comes from who writes it.
pub(super) struct Coming {
    /// What has come and was not looked at.
    held: Vec<u8>,
    head: Option<Head>,
    /// What home knew, and the descriptor.
    parts: Option<(Vec<u8>, Vec<u8>)>,
    pages: Vec<(u64, Frame)>,
    sum: SipHasher13,
    whole: bool,
}

/// All of a checkpoint.
pub(super) struct Whole {
    pub(super) head: Head,
    pub(super) home: Vec<u8>,
    pub(super) descriptor: Vec<u8>,
    pub(super) pages: Vec<(u64, Frame)>,
}

impl Default for Coming {
    fn default() -> Coming {
        Coming {
            held: Vec::new(),
            head: None,
            parts: None,
            pages: Vec::new(),
            sum: SipHasher13::new(),
            whole: false,
        }
    }
}

impl Coming {
    /// Takes what comes next; whether that was the end.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<bool, Refusal> {
        self.held.extend_from_slice(bytes);
        let held = core::mem::take(&mut self.held);
        let mut rest = held.as_slice();
        while self.take_one(&mut rest)? {}
        self.held = rest.to_vec();
        if self.whole && !self.held.is_empty() {
            return Err(DAMAGED);
        }
        Ok(self.whole)
    }

    /// Takes the next piece, if all of it is there.
    fn take_one(&mut self, rest: &mut &[u8]) -> Result<bool, Refusal> {
        let mut next = |count: usize| {
            let (piece, behind) = rest.split_at_checked(count)?;
            *rest = behind;
            Some(piece)
        };
        if self.whole {
            return Ok(false);
        }
        let Some(head) = self.head else {
            let Some(bytes) = next(size_of::<Head>()) else {
                return Ok(false);
            };
            let head = Head::read_from_bytes(bytes).map_err(|_| DAMAGED)?;
            if head.magic != MAGIC {
                return Err(DAMAGED);
            }
            if head.layout != crate::keeper::LAYOUT {
                return Err((Errno::EOPNOTSUPP, "another version has written it"));
            }
            if head.home_bytes.max(head.descriptor_bytes) > PART_MAX {
                return Err(DAMAGED);
            }
            self.sum.write(bytes);
            self.head = Some(head);
            return Ok(true);
        };
        if self.parts.is_none() {
            let lengths = [head.home_bytes, head.descriptor_bytes].map(|bytes| bytes as usize);
            let Some(bytes) = next(lengths[0] + lengths[1]) else {
                return Ok(false);
            };
            self.sum.write(bytes);
            let (home, descriptor) = bytes.split_at(lengths[0]);
            self.parts = Some((home.to_vec(), descriptor.to_vec()));
            return Ok(true);
        }
        if rest.starts_with(&END) {
            let (Some(end), Some(sum)) =
                (rest.get(..END.len()), rest.get(END.len()..END.len() + SUM))
            else {
                return Ok(false);
            };
            self.sum.write(end);
            if self.sum.finish128().as_bytes() != sum {
                return Err(DAMAGED);
            }
            *rest = &rest[END.len() + SUM..];
            self.whole = true;
            return Ok(true);
        }
        self.take_page(rest)
    }

    fn take_page(&mut self, rest: &mut &[u8]) -> Result<bool, Refusal> {
        let Some((record, behind)) = rest.split_at_checked(END.len() + PAGE_SIZE) else {
            return Ok(false);
        };
        let (address, contents) = record.split_first_chunk().ok_or(DAMAGED)?;
        let page = u64::from_le_bytes(*address);
        if self.pages.last().is_some_and(|(last, _)| *last >= page) {
            return Err(DAMAGED);
        }
        const NO_ROOM: Refusal = (Errno::ENOMEM, "its home has no memory for it");
        let counts = machine::frame_counts();
        if counts.free < counts.total / SPARE {
            return Err(NO_ROOM);
        }
        let frame = Frame::zeroed(FrameKind::User).map_err(|_| NO_ROOM)?;
        frame.write(0, contents);
        self.sum.write(record);
        self.pages.push((page, frame));
        *rest = behind;
        Ok(true)
    }

    /// All of it, if it is all there.
    pub(super) fn finish(self) -> Result<Whole, Refusal> {
        match (self.head, self.parts, self.whole) {
            (Some(head), Some((home, descriptor)), true) => Ok(Whole {
                head,
                home,
                descriptor,
                pages: self.pages,
            }),
            _ => Err(DAMAGED),
        }
    }
}

/// Makes the sum at the end right for what is in front of it.
#[cfg(test)]
pub(crate) fn seal_anew(bytes: &mut [u8]) {
    let at = bytes.len() - SUM;
    let mut sum = SipHasher13::new();
    sum.write(&bytes[..at]);
    let sum = sum.finish128().as_bytes();
    bytes[at..].copy_from_slice(&sum);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(byte: u8) -> Frame {
        let frame = Frame::zeroed(FrameKind::User).expect("memory");
        frame.write(7, &[byte]);
        frame
    }

    fn bytes() -> Vec<u8> {
        let pages = vec![(0x1000, page(1)), (0x2000, page(0)), (0x5000, page(5))];
        let mut leaving =
            Leaving::new((0x1_0007, 99), b"home", b"descriptor", pages).expect("short");
        let mut all = Vec::new();
        loop {
            let piece = leaving.read(1000);
            if piece.is_empty() {
                assert_eq!(leaving.position, all.len() as u64);
                return all;
            }
            all.extend(piece);
        }
    }

    fn taken(bytes: &[u8], at_once: usize) -> Result<Whole, Refusal> {
        let mut coming = Coming::default();
        for piece in bytes.chunks(at_once) {
            coming.take(piece)?;
        }
        coming.finish()
    }

    #[test]
    fn what_leaves_comes_however_it_is_cut() {
        let bytes = bytes();
        assert_eq!(bytes.len(), 32 + 4 + 10 + 2 * (8 + 4096) + 8 + 16);
        for at_once in [1, 7, 1000, 4104, 1 << 20] {
            let whole = taken(&bytes, at_once).expect("it is whole");
            assert_eq!((whole.head.pid, whole.head.taken_unix_ns), (0x1_0007, 99));
            assert_eq!(
                (&whole.home[..], &whole.descriptor[..]),
                (&b"home"[..], &b"descriptor"[..])
            );
            // The page of zeros is not there.
            let pages: Vec<u64> = whole.pages.iter().map(|(page, _)| *page).collect();
            assert_eq!(pages, [0x1000, 0x5000]);
            let mut byte = [0];
            whole.pages[1].1.read(7, &mut byte);
            assert_eq!(byte, [5]);
        }
    }

    #[test]
    fn any_changed_bit_and_any_missing_end_is_found() {
        let bytes = bytes();
        for at in (0..bytes.len()).step_by(5) {
            let mut bad = bytes.clone();
            bad[at] ^= 1 << (at % 8);
            assert!(taken(&bad, 512).is_err(), "byte {at}");
        }
        for length in (0..bytes.len()).step_by(97) {
            assert!(taken(&bytes[..length], 512).is_err(), "{length} bytes");
        }
        let mut longer = bytes;
        longer.push(0);
        assert!(taken(&longer, 512).is_err());
    }
}
