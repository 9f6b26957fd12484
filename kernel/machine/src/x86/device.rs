//! What drivers need: registers, DMA memory, PCI configuration space.
//!
//! Law: a register block is never RAM, so no access through it can touch memory that Rust knows
//! of. DMA memory is never seen through a Rust reference: the device may write it at any time.
//! That a driver gives the device only addresses of `Dma` and `Frame`s it holds is the driver's
//! promise; the hardware does not enforce it without an IOMMU.

use core::sync::atomic::Ordering;

use spin::Mutex;
use x86_64::instructions::port::Port;

use super::frame::{self, Frame};
use super::{boot, pages};
use crate::{FrameKind, OutOfMemory, PAGE_SIZE};

/// A device's register block, mapped uncached. The mapping stays for ever.
#[derive(Debug)]
pub struct Mmio {
    address: u64,
    length: u64,
}

macro_rules! mmio_access {
    ($read:ident, $write:ident, $type:ty) => {
        /// Reads a register, little-endian. Panics if it is unaligned or outside of the block.
        pub fn $read(&self, offset: u64) -> $type {
            // SAFETY: checked by `register`; device registers, mapped for ever.
            unsafe {
                (self.register(offset, size_of::<$type>() as u64) as *const $type).read_volatile()
            }
        }

        /// Writes a register, little-endian. Panics if it is unaligned or outside of the block.
        pub fn $write(&self, offset: u64, value: $type) {
            // SAFETY: as for reading.
            unsafe {
                (self.register(offset, size_of::<$type>() as u64) as *mut $type)
                    .write_volatile(value)
            }
        }
    };
}

impl Mmio {
    /// Maps registers. `None` for RAM, low memory, an empty range, or beyond the processor's
    /// physical addresses.
    pub fn map(physical: u64, length: u64) -> Option<Mmio> {
        let end = physical.checked_add(length)?;
        if boot::touches_ram(physical..end) {
            return None;
        }
        Some(Mmio {
            address: pages::device_window(physical..end)?,
            length,
        })
    }

    fn register(&self, offset: u64, size: u64) -> u64 {
        assert!(
            offset
                .checked_add(size)
                .is_some_and(|end| end <= self.length),
            "register outside of the block: {offset:#x}"
        );
        let address = self.address + offset;
        assert!(
            address.is_multiple_of(size),
            "unaligned register: {offset:#x}"
        );
        address
    }

    mmio_access!(read8, write8, u8);
    mmio_access!(read16, write16, u16);
    mmio_access!(read32, write32, u32);
    mmio_access!(read64, write64, u64);
}

/// Physically contiguous memory shared with a device.
#[derive(Debug)]
pub struct Dma {
    first: u64,
    length: usize,
}

macro_rules! dma_access {
    ($read:ident, $write:ident, $type:ty) => {
        /// Reads one aligned little-endian number with a single load.
        #[inline(always)]
        pub fn $read(&self, offset: usize) -> $type {
            let at = self.at(offset, size_of::<$type>());
            assert!(
                offset.is_multiple_of(size_of::<$type>()),
                "unaligned: {offset}"
            );
            // SAFETY: inside of the buffer and aligned, as the buffer is to a page.
            unsafe { at.cast::<$type>().read_volatile() }
        }

        /// Writes one aligned little-endian number with a single store.
        #[inline(always)]
        pub fn $write(&self, offset: usize, value: $type) {
            let at = self.at(offset, size_of::<$type>());
            assert!(
                offset.is_multiple_of(size_of::<$type>()),
                "unaligned: {offset}"
            );
            // SAFETY: as for reading.
            unsafe { at.cast::<$type>().write_volatile(value) }
        }
    };
}

#[expect(clippy::len_without_is_empty, reason = "a buffer is never empty")]
impl Dma {
    /// A zeroed buffer of `length` bytes, page-aligned.
    ///
    /// # Errors
    /// [`OutOfMemory`] when no such run of unused memory is left, and for a length of zero.
    pub fn zeroed(length: usize) -> Result<Dma, OutOfMemory> {
        if length == 0 {
            return Err(OutOfMemory);
        }
        let frames = length.div_ceil(PAGE_SIZE) as u64;
        let first = frame::take_run(FrameKind::Device, frames)?;
        let dma = Dma { first, length };
        for number in first..first + frames {
            // SAFETY: the frame is this buffer's; the handle is not dropped, so the reference stays.
            core::mem::ManuallyDrop::new(unsafe { Frame::from_number(number) }).zero(0, PAGE_SIZE);
        }
        Ok(dma)
    }

    /// The bus address of the first byte.
    pub fn physical(&self) -> u64 {
        self.first * PAGE_SIZE as u64
    }

    /// Bytes in the buffer.
    pub fn len(&self) -> usize {
        self.length
    }

    // Rings are read and written number by number, for each packet a dozen.
    #[inline(always)]
    fn at(&self, offset: usize, length: usize) -> *mut u8 {
        assert!(
            offset
                .checked_add(length)
                .is_some_and(|end| end <= self.length),
            "outside of the buffer: {offset} + {length}"
        );
        // SAFETY: inside of the run of frames, which is contiguous in the direct map.
        unsafe { frame::contents(self.first).add(offset) }
    }

    /// Copies out of the buffer. Panics outside of it.
    pub fn read(&self, offset: usize, into: &mut [u8]) {
        let at = self.at(offset, into.len());
        // SAFETY: inside of the buffer; `into` is exclusive memory of somebody else.
        unsafe { frame::copy(into.as_mut_ptr(), at, into.len()) };
    }

    /// Copies into the buffer. Panics outside of it.
    pub fn write(&self, offset: usize, from: &[u8]) {
        let at = self.at(offset, from.len());
        // SAFETY: inside of the buffer, to which no Rust reference exists.
        unsafe { frame::copy(at, from.as_ptr(), from.len()) };
    }

    /// Copies to the start of a page. Panics outside of either.
    pub fn copy_to(&self, offset: usize, length: usize, page: &Frame) {
        let at = self.at(offset, length);
        assert!(length <= PAGE_SIZE, "outside of the page: {length}");
        // SAFETY: inside of the buffer and of a held page, to which no Rust reference exists.
        unsafe { frame::copy(frame::contents(page.number()), at, length) };
    }

    dma_access!(read_u16, write_u16, u16);
    dma_access!(read_u32, write_u32, u32);
    dma_access!(read_u64, write_u64, u64);
}

impl Drop for Dma {
    fn drop(&mut self) {
        for number in self.first..self.first + self.length.div_ceil(PAGE_SIZE) as u64 {
            // SAFETY: each frame of the run has the one reference that `zeroed` took.
            drop(unsafe { Frame::from_number(number) });
        }
    }
}

/// Configuration address and data are two ports: one access at a time.
static CONFIGURATION: Mutex<()> = Mutex::new(());

fn configuration<T>(
    bus: u8,
    device: u8,
    function: u8,
    offset: u16,
    access: impl FnOnce(Port<u32>) -> T,
) -> T {
    assert!(
        device < 32 && function < 8 && offset < 256 && offset.is_multiple_of(4),
        "no such register"
    );
    let _one_at_a_time = CONFIGURATION.lock();
    let address = 1 << 31
        | u32::from(bus) << 16
        | u32::from(device) << 11
        | u32::from(function) << 8
        | u32::from(offset);
    // SAFETY: PCI configuration mechanism 1 (PCI 3.0, section 3.2.2.3.2).
    unsafe { Port::<u32>::new(0xcf8).write(address) };
    access(Port::new(0xcfc))
}

/// Reads PCI configuration space; all ones where no function answers. Panics for an unaligned
/// offset or one of 256 and more.
pub fn pci_read32(bus: u8, device: u8, function: u8, offset: u16) -> u32 {
    // SAFETY: reading configuration space has no effect on memory.
    configuration(bus, device, function, offset, |mut data| unsafe {
        data.read()
    })
}

/// Writes PCI configuration space. Panics as [`pci_read32`].
pub fn pci_write32(bus: u8, device: u8, function: u8, offset: u16, value: u32) {
    // SAFETY: drivers set BARs, MSI and bus mastering by this; see the law above.
    configuration(bus, device, function, offset, |mut data| unsafe {
        data.write(value)
    });
}

/// A full memory barrier.
pub fn fence() {
    core::sync::atomic::fence(Ordering::SeqCst);
}
