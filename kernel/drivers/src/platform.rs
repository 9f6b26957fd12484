//! What a driver asks of the machine below it.
//!
//! Law: no driver calls `machine` anywhere else, so whatever runs on [`Machine`] runs unchanged
//! against a device written in software.

use machine::{Dma, Frame, FrameKind, Mmio, MsiVector, OutOfMemory};

/// Memory shared with a device: physically contiguous, page-aligned, zeroed when made.
///
/// The device may change it at any moment: what was read once need not be there the next time.
pub trait Area {
    /// Bus address of the first byte.
    fn physical(&self) -> u64;
    /// Copies out of the area; panics outside of it.
    fn read(&self, offset: usize, into: &mut [u8]);
    /// Copies into the area; panics outside of it.
    fn write(&self, offset: usize, from: &[u8]);
    /// Reads an aligned little-endian number with one load.
    fn read_u16(&self, offset: usize) -> u16;
    /// Reads an aligned little-endian number with one load.
    fn read_u32(&self, offset: usize) -> u32;
    /// Writes an aligned little-endian number with one store.
    fn write_u16(&self, offset: usize, value: u16);
    /// Writes an aligned little-endian number with one store.
    fn write_u32(&self, offset: usize, value: u32);
    /// Writes an aligned little-endian number with one store.
    fn write_u64(&self, offset: usize, value: u64);
}

/// One page of 4096 bytes that a device reads or fills; a clone is another handle to the same page.
pub trait Page: Clone {
    /// Bus address of the first byte.
    fn physical(&self) -> u64;
    /// Whether other handles to the page exist.
    fn is_shared(&self) -> bool;
}

/// A block of device registers, little-endian; panics outside of the block or unaligned.
pub trait Registers {
    /// Reads a register.
    fn read8(&self, offset: u64) -> u8;
    /// Reads a register.
    fn read16(&self, offset: u64) -> u16;
    /// Reads a register.
    fn read32(&self, offset: u64) -> u32;
    /// Writes a register.
    fn write8(&self, offset: u64, value: u8);
    /// Writes a register.
    fn write16(&self, offset: u64, value: u16);
    /// Writes a register.
    fn write32(&self, offset: u64, value: u32);
}

/// PCI configuration space, the first 256 bytes of every function.
pub trait ConfigSpace {
    /// Reads the aligned 32 bits at `offset`; all ones where no function answers.
    fn config_read(&self, address: crate::pci::Address, offset: u8) -> u32;
    /// Writes the aligned 32 bits at `offset`.
    fn config_write(&self, address: crate::pci::Address, offset: u8, value: u32);
}

/// The machine as a driver sees it.
pub trait Platform: ConfigSpace {
    /// Memory shared with a device.
    type Area: Area;
    /// A page of packet contents.
    type Page: Page;
    /// Device registers.
    type Registers: Registers;

    /// New shared memory of `length` bytes.
    ///
    /// # Errors
    /// [`OutOfMemory`] when there is no contiguous run of free frames.
    fn area(&self, length: usize) -> Result<Self::Area, OutOfMemory>;
    /// A new page of zeros for a received packet.
    ///
    /// # Errors
    /// [`OutOfMemory`] when no frame is free.
    fn page(&self) -> Result<Self::Page, OutOfMemory>;
    /// Copies `length` bytes at `offset` of shared memory to the start of a page; panics outside of
    /// either.
    fn copy(&self, from: &Self::Area, offset: usize, length: usize, into: &Self::Page);
    /// Maps device registers; `None` if the range is not a device's.
    fn map(&self, physical: u64, length: u64) -> Option<Self::Registers>;
    /// A fresh vector for message signalled interrupts; `None` when all are given away.
    fn vector(&self) -> Option<MsiVector>;
    /// Whether the message of a vector came since the last call.
    fn take_interrupt(&self, vector: &MsiVector) -> bool;
    /// Random bits.
    fn random(&self) -> u64;
}

/// The machine the kernel runs on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Machine;

impl ConfigSpace for Machine {
    fn config_read(&self, at: crate::pci::Address, offset: u8) -> u32 {
        machine::pci_read32(at.bus, at.device, at.function, u16::from(offset))
    }

    fn config_write(&self, at: crate::pci::Address, offset: u8, value: u32) {
        machine::pci_write32(at.bus, at.device, at.function, u16::from(offset), value);
    }
}

impl Platform for Machine {
    type Area = Dma;
    type Page = Frame;
    type Registers = Mmio;

    fn area(&self, length: usize) -> Result<Dma, OutOfMemory> {
        Dma::zeroed(length)
    }

    fn page(&self) -> Result<Frame, OutOfMemory> {
        Frame::stale(FrameKind::Network)
    }

    fn copy(&self, from: &Dma, offset: usize, length: usize, into: &Frame) {
        from.copy_to(offset, length, into);
    }

    fn map(&self, physical: u64, length: u64) -> Option<Mmio> {
        Mmio::map(physical, length)
    }

    fn vector(&self) -> Option<MsiVector> {
        machine::allocate_vector()
    }

    fn take_interrupt(&self, vector: &MsiVector) -> bool {
        vector.take_pending()
    }

    fn random(&self) -> u64 {
        machine::random_u64()
    }
}

macro_rules! forward {
    ($trait:ident for $type:ty { $($name:ident($($arg:ident: $arg_type:ty),*) $(-> $result:ty)?;)* }) => {
        impl $trait for $type {
            $(#[inline]
            fn $name(&self, $($arg: $arg_type),*) $(-> $result)? {
                <$type>::$name(self, $($arg),*)
            })*
        }
    };
}

forward!(Area for Dma {
    physical() -> u64;
    read(offset: usize, into: &mut [u8]);
    write(offset: usize, from: &[u8]);
    read_u16(offset: usize) -> u16;
    read_u32(offset: usize) -> u32;
    write_u16(offset: usize, value: u16);
    write_u32(offset: usize, value: u32);
    write_u64(offset: usize, value: u64);
});

forward!(Page for Frame {
    physical() -> u64;
    is_shared() -> bool;
});

forward!(Registers for Mmio {
    read8(offset: u64) -> u8;
    read16(offset: u64) -> u16;
    read32(offset: u64) -> u32;
    write8(offset: u64, value: u8);
    write16(offset: u64, value: u16);
    write32(offset: u64, value: u32);
});
