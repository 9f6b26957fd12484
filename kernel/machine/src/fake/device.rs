//! Devices: register blocks and DMA buffers of plain memory, and no PCI functions.

use std::sync::Mutex;

use super::MACHINE;
use crate::{Frame, FrameKind, MsiVector, OutOfMemory, PAGE_SIZE};

/// Largest register block the fake maps.
const MMIO_LIMIT: u64 = 1 << 20;

/// A device's register block: here memory that remembers what was written.
#[derive(Debug)]
pub struct Mmio {
    bytes: Mutex<Vec<u8>>,
}

macro_rules! mmio_access {
    ($read:ident, $write:ident, $type:ty) => {
        /// Reads a register, little-endian. Panics if it is unaligned or outside of the block.
        pub fn $read(&self, offset: u64) -> $type {
            let bytes = self.bytes.lock().expect("no test panics inside");
            let at = usize::try_from(offset).expect("offset inside of the block");
            assert_eq!(at % size_of::<$type>(), 0, "unaligned register");
            <$type>::from_le_bytes(
                bytes[at..at + size_of::<$type>()]
                    .try_into()
                    .expect("length as sliced"),
            )
        }

        /// Writes a register, little-endian. Panics if it is unaligned or outside of the block.
        pub fn $write(&self, offset: u64, value: $type) {
            let mut bytes = self.bytes.lock().expect("no test panics inside");
            let at = usize::try_from(offset).expect("offset inside of the block");
            assert_eq!(at % size_of::<$type>(), 0, "unaligned register");
            bytes[at..at + size_of::<$type>()].copy_from_slice(&value.to_le_bytes());
        }
    };
}

impl Mmio {
    /// A zeroed block of `length` bytes, up to 1 MiB.
    pub fn map(_physical: u64, length: u64) -> Option<Mmio> {
        if length == 0 || length > MMIO_LIMIT {
            return None;
        }
        Some(Mmio {
            bytes: Mutex::new(vec![0; usize::try_from(length).ok()?]),
        })
    }

    mmio_access!(read8, write8, u8);
    mmio_access!(read16, write16, u16);
    mmio_access!(read32, write32, u32);
    mmio_access!(read64, write64, u64);
}

/// Physically contiguous memory shared with a device.
#[derive(Debug)]
pub struct Dma {
    frames: Vec<Frame>,
    length: usize,
}

macro_rules! dma_access {
    ($read:ident, $write:ident, $type:ty) => {
        /// Reads one aligned little-endian number with a single load.
        pub fn $read(&self, offset: usize) -> $type {
            assert_eq!(offset % size_of::<$type>(), 0, "unaligned");
            let mut bytes = [0; size_of::<$type>()];
            self.read(offset, &mut bytes);
            <$type>::from_le_bytes(bytes)
        }

        /// Writes one aligned little-endian number with a single store.
        pub fn $write(&self, offset: usize, value: $type) {
            assert_eq!(offset % size_of::<$type>(), 0, "unaligned");
            self.write(offset, &value.to_le_bytes());
        }
    };
}

#[expect(clippy::len_without_is_empty, reason = "a buffer is never empty")]
impl Dma {
    /// A zeroed buffer of `length` bytes, page-aligned.
    ///
    /// # Errors
    /// [`OutOfMemory`] also for a length of zero.
    pub fn zeroed(length: usize) -> Result<Dma, OutOfMemory> {
        if length == 0 {
            return Err(OutOfMemory);
        }
        let frames = (0..length.div_ceil(PAGE_SIZE))
            .map(|_| Frame::zeroed(FrameKind::Device))
            .collect::<Result<_, _>>()?;
        Ok(Dma { frames, length })
    }

    /// The bus address of the first byte.
    pub fn physical(&self) -> u64 {
        self.frames[0].physical()
    }

    /// Bytes in the buffer.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Copies out of the buffer. Panics outside of it.
    pub fn read(&self, offset: usize, into: &mut [u8]) {
        assert!(
            offset
                .checked_add(into.len())
                .is_some_and(|end| end <= self.length)
        );
        for (index, byte) in into.iter_mut().enumerate() {
            let at = offset + index;
            self.frames[at / PAGE_SIZE].read(at % PAGE_SIZE, std::slice::from_mut(byte));
        }
    }

    /// Copies into the buffer. Panics outside of it.
    pub fn write(&self, offset: usize, from: &[u8]) {
        assert!(
            offset
                .checked_add(from.len())
                .is_some_and(|end| end <= self.length)
        );
        for (index, byte) in from.iter().enumerate() {
            let at = offset + index;
            self.frames[at / PAGE_SIZE].write(at % PAGE_SIZE, std::slice::from_ref(byte));
        }
    }

    /// Copies to the start of a page. Panics outside of either.
    pub fn copy_to(&self, offset: usize, length: usize, page: &Frame) {
        let mut bytes = vec![0; length];
        self.read(offset, &mut bytes);
        page.write(0, &bytes);
    }

    dma_access!(read_u16, write_u16, u16);
    dma_access!(read_u32, write_u32, u32);
    dma_access!(read_u64, write_u64, u64);
}

/// Reads PCI configuration space: all ones, as where no function answers.
pub fn pci_read32(_bus: u8, _device: u8, _function: u8, _offset: u16) -> u32 {
    u32::MAX
}

/// Writes PCI configuration space: nobody listens.
pub fn pci_write32(_bus: u8, _device: u8, _function: u8, _offset: u16, _value: u32) {}

/// A fresh interrupt vector, `None` when all are given away.
pub fn allocate_vector() -> Option<MsiVector> {
    MACHINE.with(|machine| {
        let vector = machine.next_vector.get();
        if vector >= 0xf0 {
            return None;
        }
        machine.next_vector.set(vector + 1);
        Some(MsiVector {
            vector,
            address: 0xfee0_0000,
            data: u32::from(vector),
        })
    })
}

impl MsiVector {
    /// Whether the interrupt came since the last call. Never in the fake.
    pub fn take_pending(&self) -> bool {
        false
    }
}

/// A full memory barrier.
pub fn fence() {
    std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dma_spans_pages() {
        let dma = Dma::zeroed(5000).expect("memory");
        dma.write(4090, b"0123456789");
        let mut back = [0; 10];
        dma.read(4090, &mut back);
        assert_eq!(&back, b"0123456789");
        dma.write_u32(4096, 0x0403_0201);
        assert_eq!(dma.read_u16(4098), 0x0403);
    }

    #[test]
    fn registers_remember() {
        let mmio = Mmio::map(0xfebc_0000, 64).expect("small");
        mmio.write32(8, 0x1234_5678);
        assert_eq!(mmio.read16(10), 0x1234);
        assert!(Mmio::map(0, 0).is_none());
    }
}
