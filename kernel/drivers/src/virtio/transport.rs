//! The registers of a virtio 1.x device behind PCI (virtio 1.2, section 4.1).
//!
//! Law: a register block is used only if its capability names a memory base address register and a
//! range inside of it that is long enough; every wait for the device is bounded.
//!
//! The order of initialisation (section 3.1.1) is the caller's: [`Transport::open`] resets and
//! acknowledges, then features, queues, and [`Transport::start`].

use machine::MsiVector;

use crate::error::ProbeError;
use crate::pci::{Function, Msix};
use crate::platform::{ConfigSpace, Platform, Registers};

const CAPABILITY_VENDOR: u8 = 0x09;
const TYPE_COMMON: u8 = 1;
const TYPE_NOTIFY: u8 = 2;
const TYPE_DEVICE: u8 = 4;

const FEATURE_SELECT: u64 = 0;
const FEATURE: u64 = 4;
const DRIVER_FEATURE_SELECT: u64 = 8;
const DRIVER_FEATURE: u64 = 12;
const CONFIG_VECTOR: u64 = 16;
const QUEUES: u64 = 18;
const STATUS: u64 = 20;
const GENERATION: u64 = 21;
const QUEUE_SELECT: u64 = 22;
const QUEUE_SIZE: u64 = 24;
const QUEUE_VECTOR: u64 = 26;
const QUEUE_ENABLE: u64 = 28;
const QUEUE_NOTIFY: u64 = 30;
const QUEUE_ADDRESSES: [u64; 3] = [32, 40, 48];
const COMMON_LEN: u64 = 56;

const ACKNOWLEDGE: u8 = 1;
const DRIVER: u8 = 2;
const DRIVER_OK: u8 = 4;
const FEATURES_OK: u8 = 8;
const FAILED: u8 = 128;

const NO_VECTOR: u16 = 0xffff;

/// `VIRTIO_F_EVENT_IDX`.
pub(crate) const EVENT_INDEX: u64 = 1 << 29;
/// `VIRTIO_F_VERSION_1`.
pub(crate) const VERSION_1: u64 = 1 << 32;
/// `VIRTIO_F_ACCESS_PLATFORM`: addresses are bus addresses, which here are the physical ones.
pub(crate) const ACCESS_PLATFORM: u64 = 1 << 33;

/// Register reads to wait for a reset; each takes 100 ns or more.
const RESET_READS: u32 = 1_000_000;
/// Attempts to read the device's configuration between two changes of it.
const CONFIG_READS: u32 = 100;

/// A virtio device: its registers, mapped and checked.
pub(crate) struct Transport<P: Platform> {
    platform: P,
    function: Function,
    common: P::Registers,
    notify: P::Registers,
    notify_len: u64,
    notify_multiplier: u32,
    device: P::Registers,
    device_len: u64,
    msix: Option<Msix<P::Registers>>,
}

/// Where a virtio capability puts a register block.
struct Place {
    bar: u8,
    offset: u64,
    length: u64,
    at: u8,
}

/// A mapped register block, its length in bytes, and where its capability is.
struct Block<R> {
    registers: R,
    length: u64,
    at: u8,
}

fn find(space: &impl ConfigSpace, function: &Function, wanted: u8, extra: u8) -> Option<Place> {
    let fits = |at: u8, length: u8| usize::from(at) + usize::from(length) <= 256;
    function
        .capabilities(space)
        .into_iter()
        .filter(|&(identifier, at)| identifier == CAPABILITY_VENDOR && fits(at, 16 + extra))
        .find_map(|(_, at)| {
            let [_, _, length, kind] = space.config_read(function.address, at).to_le_bytes();
            let [bar, ..] = space.config_read(function.address, at + 4).to_le_bytes();
            (kind == wanted && length >= 16 + extra && bar <= 5).then(|| Place {
                bar,
                offset: u64::from(space.config_read(function.address, at + 8)),
                length: u64::from(space.config_read(function.address, at + 12)),
                at,
            })
        })
}

impl<P: Platform> Transport<P> {
    /// Maps the registers, resets the device and acknowledges it. Its configuration must have at
    /// least `config_len` bytes. A device that fails this must not touch memory any more.
    pub(crate) fn open(
        platform: P,
        function: Function,
        config_len: u64,
    ) -> Result<Self, ProbeError> {
        function.enable(&platform);
        let mut transport = match Transport::map(&platform, &function, config_len) {
            Ok([common, notify, device]) => Transport {
                notify_multiplier: platform.config_read(function.address, notify.at + 16),
                common: common.registers,
                notify: notify.registers,
                notify_len: notify.length,
                device: device.registers,
                device_len: device.length,
                msix: None,
                platform,
                function,
            },
            Err(error) => {
                function.disable(&platform);
                return Err(error);
            }
        };
        if !transport.shut_down() {
            return Err(ProbeError::Reset);
        }
        transport.function.enable(&transport.platform);
        transport.msix = Msix::enable(&transport.platform, &transport.function);
        transport.common.write16(CONFIG_VECTOR, NO_VECTOR);
        transport.add_status(ACKNOWLEDGE);
        transport.add_status(DRIVER);
        Ok(transport)
    }

    /// The common, the notification and the device's own registers.
    fn map(
        platform: &P,
        function: &Function,
        config_len: u64,
    ) -> Result<[Block<P::Registers>; 3], ProbeError> {
        let block = |kind, extra, least: u64, name| {
            let refused = ProbeError::Registers(name);
            let place = find(platform, function, kind, extra).ok_or(refused)?;
            let bar = function.memory_bar(platform, place.bar).ok_or(refused)?;
            if place.length < least || place.offset + place.length > bar.length {
                return Err(refused);
            }
            let registers = platform.map(bar.base + place.offset, place.length);
            Ok(Block {
                registers: registers.ok_or(refused)?,
                length: place.length,
                at: place.at,
            })
        };
        Ok([
            block(TYPE_COMMON, 0, COMMON_LEN, "common")?,
            block(TYPE_NOTIFY, 4, 2, "notification")?,
            block(TYPE_DEVICE, 0, config_len, "configuration")?,
        ])
    }

    pub(crate) fn platform(&self) -> &P {
        &self.platform
    }

    /// Resets the device: it reads and writes no memory any more. `false` if it does not finish.
    pub(crate) fn reset(&self) -> bool {
        self.common.write8(STATUS, 0);
        (0..RESET_READS).any(|_| self.common.read8(STATUS) == 0)
    }

    /// Resets the device for good and takes its bus mastering away.
    pub(crate) fn shut_down(&self) -> bool {
        let reset = self.reset();
        self.function.disable(&self.platform);
        reset
    }

    fn add_status(&self, bits: u8) {
        let status = self.common.read8(STATUS);
        self.common.write8(STATUS, status | bits);
    }

    /// Takes those of the `wanted` features that are offered; all of `required` must be.
    pub(crate) fn negotiate(&self, wanted: u64, required: u64) -> Result<u64, ProbeError> {
        let mut offered = 0;
        for (select, shift) in [(0, 0), (1, 32)] {
            self.common.write32(FEATURE_SELECT, select);
            offered |= u64::from(self.common.read32(FEATURE)) << shift;
        }
        if offered & required != required {
            self.add_status(FAILED);
            return Err(ProbeError::Version);
        }
        let taken = offered & (wanted | required);
        for (select, shift) in [(0, 0), (1, 32)] {
            let half = u32::try_from(taken >> shift & 0xffff_ffff).expect("half of the features");
            self.common.write32(DRIVER_FEATURE_SELECT, select);
            self.common.write32(DRIVER_FEATURE, half);
        }
        self.add_status(FEATURES_OK);
        if self.common.read8(STATUS) & FEATURES_OK == 0 {
            self.add_status(FAILED);
            return Err(ProbeError::FeaturesRefused);
        }
        Ok(taken)
    }

    /// Reads `N` bytes of the device's configuration at `offset`, all of one moment (section
    /// 2.5.2); `None` if the device has fewer or does not hold still.
    pub(crate) fn config<const N: usize>(&self, offset: u64) -> Option<[u8; N]> {
        if offset + N as u64 > self.device_len {
            return None;
        }
        (0..CONFIG_READS).find_map(|_| {
            let before = self.common.read8(GENERATION);
            let mut bytes = [0; N];
            for (byte, at) in bytes.iter_mut().zip(offset..) {
                *byte = self.device.read8(at);
            }
            (self.common.read8(GENERATION) == before).then_some(bytes)
        })
    }

    /// The size queue `index` will have: the largest power of two up to `wanted` and what the
    /// device can.
    pub(crate) fn queue_size(&self, index: u16, wanted: u16) -> Result<u16, ProbeError> {
        if index >= self.common.read16(QUEUES) {
            return Err(ProbeError::Queue(index));
        }
        self.common.write16(QUEUE_SELECT, index);
        let limit = self.common.read16(QUEUE_SIZE).min(wanted);
        if limit < 2 || self.common.read16(QUEUE_ENABLE) != 0 {
            return Err(ProbeError::Queue(index));
        }
        Ok(1 << limit.ilog2())
    }

    /// Enables queue `index` of `size` descriptors at the bus `addresses` of its three parts, with
    /// interrupts to the MSI-X entry of its number if there is a `vector`. Returns where to notify
    /// it, and whether it will interrupt.
    pub(crate) fn enable_queue(
        &self,
        index: u16,
        size: u16,
        addresses: [u64; 3],
        vector: Option<&MsiVector>,
    ) -> Result<(u64, bool), ProbeError> {
        self.common.write16(QUEUE_SELECT, index);
        self.common.write16(QUEUE_SIZE, size);
        let offset =
            u64::from(self.common.read16(QUEUE_NOTIFY)) * u64::from(self.notify_multiplier);
        if offset + 2 > self.notify_len || !offset.is_multiple_of(2) {
            return Err(ProbeError::Registers("notification"));
        }
        let interrupts = match (&self.msix, vector) {
            (Some(msix), Some(vector)) if index < msix.entries() => {
                msix.set(index, vector);
                self.common.write16(QUEUE_VECTOR, index);
                // A device without resources for the vector answers that it has none (4.1.5.1.2).
                self.common.read16(QUEUE_VECTOR) == index
            }
            _ => {
                self.common.write16(QUEUE_VECTOR, NO_VECTOR);
                false
            }
        };
        for (register, address) in QUEUE_ADDRESSES.into_iter().zip(addresses) {
            for (part, shift) in [(0, 0), (4, 32)] {
                let half = u32::try_from(address >> shift & 0xffff_ffff).expect("half an address");
                self.common.write32(register + part, half);
            }
        }
        self.common.write16(QUEUE_ENABLE, 1);
        Ok((offset, interrupts))
    }

    /// Lets the device work.
    pub(crate) fn start(&self) {
        self.add_status(DRIVER_OK);
    }

    /// Tells the device to look at queue `index`, whose place [`Transport::enable_queue`] gave.
    pub(crate) fn notify(&self, index: u16, offset: u64) {
        self.notify.write16(offset, index);
    }
}
