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

    /// A page of zeros if one can be had: what the link is measured with. Without one the
    /// measurement sends plain bytes, which a driver may have to copy.
    fn zeroed() -> Option<Self> {
        None
    }
}

impl Page for Arc<[u8; 4096]> {
    fn read(&self, offset: usize, into: &mut [u8]) {
        into.copy_from_slice(&self[offset..offset + into.len()]);
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
    /// A whole page.
    Page(P),
}

impl<P: Page> Payload<P> {
    /// Its length in bytes.
    pub fn len(&self) -> usize {
        match self {
            Payload::None => 0,
            Payload::Bytes(_, range) => range.len(),
            Payload::Page(_) => wire::PAYLOAD_MAX,
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Copies the payload to the beginning of `into`, which must be long enough; returns its length.
    pub fn copy_to(&self, into: &mut [u8]) -> usize {
        let length = self.len();
        match self {
            Payload::None => {}
            Payload::Bytes(bytes, range) => into[..length].copy_from_slice(&bytes[range.clone()]),
            Payload::Page(page) => page.read(0, &mut into[..length]),
        }
        length
    }
}
