//! PCI and virtio-net over machine's safe MMIO and DMA.
//!
//! Law: everything a device says is hostile. Capabilities, base addresses, queue sizes, used indices,
//! slot numbers and lengths are checked before they are used; a queue that has said something
//! impossible is stopped and counted, and memory a device may still write is never given back.
//!
//! The layers, top down: [`VirtioNet`] (frames of Dunlin's own protocol), the transport (virtio 1.x
//! registers behind PCI capabilities), the ring (one split virtqueue), [`pci`] (configuration space),
//! [`platform`] (what all of them ask of the machine, so that a software device can check them on
//! the host). Specification: Virtual I/O Device (VIRTIO) version 1.2, cited by section.
//!
//! Not here: what a frame means (`net/`), and when the driver runs (`image`).
#![no_std]

extern crate alloc;

mod error;
mod net;
pub mod pci;
pub mod platform;
mod queues;
mod ring;
mod transport;

pub use error::ProbeError;
pub use net::{Counters, Full, HEADER_LEN, Outgoing, PAYLOAD_MAX, Received, VirtioNet};
