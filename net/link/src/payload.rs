//! What lies behind a header, without copying it.
//!
//! Law: page contents do not pass through the machine; it hands out and takes in handles.

use alloc::sync::Arc;
use core::ops::Range;

/// A page of 4096 bytes behind a handle that is cheap to clone: a page frame in the kernel, an
/// `Arc` in the simulator. Clones are the same page.
pub trait Page: Clone {
    /// Copies `into.len()` bytes from `offset` on. Callers stay within the page.
    fn read(&self, offset: usize, into: &mut [u8]);

    /// Copies the first `length` bytes of `source` to `offset`. Callers stay within the page, and nobody
    /// else has a handle of it.
    fn copy_from(&mut self, offset: usize, source: &Self, length: usize);

    /// Puts bytes at `offset`. Callers stay within the page, and nobody else has a handle of it.
    fn write(&mut self, offset: usize, bytes: &[u8]);

    /// A page of zeros if one can be had: what the link is measured with, and where a page that comes in
    /// pieces is put together. Without one the measurement sends plain bytes, which a driver may have to
    /// copy, and pieces are lost.
    fn zeroed() -> Option<Self>;
}

impl Page for Arc<[u8; 4096]> {
    fn read(&self, offset: usize, into: &mut [u8]) {
        into.copy_from_slice(&self[offset..offset + into.len()]);
    }

    fn copy_from(&mut self, offset: usize, source: &Self, length: usize) {
        Arc::make_mut(self)[offset..offset + length].copy_from_slice(&source[..length]);
    }

    fn write(&mut self, offset: usize, bytes: &[u8]) {
        Arc::make_mut(self)[offset..offset + bytes.len()].copy_from_slice(bytes);
    }

    fn zeroed() -> Option<Self> {
        Some(Arc::new([0; 4096]))
    }
}

/// The payload of a frame to transmit.
#[derive(Clone, Debug)]
pub enum Payload<P> {
    /// None.
    None,
    /// A range of a shared buffer: a fragment of a message.
    Bytes(Arc<[u8]>, Range<usize>),
    /// A range of a page, mostly all of it.
    Page(P, Range<usize>),
}

impl<P: Page> Payload<P> {
    /// A whole page.
    pub fn page(page: P) -> Payload<P> {
        Payload::Page(page, 0..wire::PAYLOAD_MAX)
    }

    /// So many of its bytes, which must be there.
    pub fn part(&self, part: Range<usize>) -> Payload<P> {
        let within = |range: &Range<usize>| {
            let start = range.start + part.start;
            start..(start + part.len()).min(range.end)
        };
        match self {
            Payload::None => Payload::None,
            Payload::Bytes(bytes, range) => Payload::Bytes(bytes.clone(), within(range)),
            Payload::Page(page, range) => Payload::Page(page.clone(), within(range)),
        }
    }

    /// Its length in bytes.
    pub fn len(&self) -> usize {
        match self {
            Payload::None => 0,
            Payload::Bytes(_, range) => range.len(),
            Payload::Page(_, range) => range.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Copies `into.len()` bytes from `offset` on, which must be there.
    pub fn read(&self, offset: usize, into: &mut [u8]) {
        match self {
            Payload::None => {}
            Payload::Bytes(bytes, range) => {
                into.copy_from_slice(&bytes[range.clone()][offset..offset + into.len()]);
            }
            Payload::Page(page, range) => page.read(range.start + offset, into),
        }
    }

    /// Copies the payload to the beginning of `into`, which must be long enough; returns its length.
    pub fn copy_to(&self, into: &mut [u8]) -> usize {
        let length = self.len();
        match self {
            Payload::None => {}
            Payload::Bytes(bytes, range) => into[..length].copy_from_slice(&bytes[range.clone()]),
            Payload::Page(page, range) => page.read(range.start, &mut into[..length]),
        }
        length
    }
}
