//! PCI, virtio-net, virtio-blk and Intel's gigabit cards over machine's safe MMIO and DMA.
//!
//! Law: everything a device says is hostile. Capabilities, base addresses, queue sizes, used indices,
//! slot numbers and lengths are checked before they are used; a queue that has said something
//! impossible is stopped and counted, and memory a device may still write is never given back.
//!
//! The layers, top down: [`Card`] (frames of Dunlin's own protocol, on any card), the drivers
//! [`VirtioNet`] (with its transport, the virtio 1.x registers behind PCI capabilities, and its ring, one
//! split virtqueue) and [`Intel`] (with its port and its two rings), [`pci`] (configuration space),
//! [`Disk`] (sectors, over the same transport and ring as `VirtioNet`),
//! [`platform`] (what all of them ask of the machine, so that a software device can check them on
//! the host). Specification: Virtual I/O Device (VIRTIO) version 1.2, cited by section; Intel's data
//! sheets are named where they are followed.
//!
//! Not here: what a frame means (`net/`), and when the driver runs (`image`).
#![no_std]

extern crate alloc;

mod card;
mod error;
mod intel;
pub mod pci;
pub mod platform;
mod spares;
mod virtio;

pub use card::{Card, Counters, Full, HEADER_LEN, Outgoing, PAYLOAD_MAX, Received};
pub use error::ProbeError;
pub use intel::Intel;
pub use virtio::{Disk, DiskError, Done, PATIENCE_NS, SECTOR, TRANSFER_MAX, Ticket, VirtioNet};
