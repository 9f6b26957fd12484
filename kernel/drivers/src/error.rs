//! Why no network card or disk could be taken into use, in words that say what to do.

use core::fmt;

use machine::OutOfMemory;

/// Why [`Card::probe`](crate::Card::probe) found no usable card. Nothing was changed that
/// matters: a card that was touched was reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeError {
    /// No network card of a known kind answers on the PCI buses.
    NoCard,
    /// No disk of a known kind does.
    NoDisk,
    /// The device has not the registers of virtio 1.x (a legacy-only device), or they are not where
    /// its capabilities say; which of them.
    Registers(&'static str),
    /// The registers of an Intel card have no address, or are too few.
    Window,
    /// The card did not finish its reset.
    Reset,
    /// The card does not offer virtio 1.x (`VIRTIO_F_VERSION_1`).
    Version,
    /// The card refused the features it had offered.
    FeaturesRefused,
    /// A queue is missing, smaller than two descriptors, or in use already; its number.
    Queue(u16),
    /// The link carries smaller packets than ours.
    MtuTooSmall {
        /// Largest payload of an Ethernet frame on this link, in bytes.
        mtu: u16,
        /// What Dunlin needs, in bytes.
        needed: u16,
    },
    /// There is not enough memory for the card's queues and buffers.
    OutOfMemory,
}

impl From<OutOfMemory> for ProbeError {
    fn from(_: OutOfMemory) -> ProbeError {
        ProbeError::OutOfMemory
    }
}

impl fmt::Display for ProbeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProbeError::NoCard => f.write_str(
                "no network card found that is known here; this node stays alone. \
                 Give the machine one (QEMU: -device virtio-net-pci,host_mtu=9000, e1000e or e1000)",
            ),
            ProbeError::NoDisk => f.write_str("there is no disk that is known here"),
            ProbeError::Registers(which) => write!(
                f,
                "the virtio device has no usable {which} registers; \
                 it must be a virtio 1.x device (QEMU: disable-modern=off)"
            ),
            ProbeError::Window => f.write_str(
                "the registers of the Intel network card have no usable address",
            ),
            ProbeError::Reset => f.write_str("the device does not finish its reset"),
            ProbeError::Version => f.write_str(
                "the virtio device does not offer virtio 1.x (QEMU: disable-modern=off)",
            ),
            ProbeError::FeaturesRefused => {
                f.write_str("the virtio device refused the features it had offered")
            }
            ProbeError::Queue(queue) => write!(
                f,
                "queue {queue} of the virtio device is missing or unusable"
            ),
            ProbeError::MtuTooSmall { mtu, needed } => write!(
                f,
                "the link's MTU is {mtu} and Dunlin needs {needed}, better 9000 (a page in one packet); \
                 raise it (QEMU: -device virtio-net-pci,host_mtu=9000)"
            ),
            ProbeError::OutOfMemory => {
                f.write_str("not enough memory for the buffers of the device")
            }
        }
    }
}
