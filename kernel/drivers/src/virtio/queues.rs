//! The two queues of a virtio network card with all the memory the device may touch.
//!
//! Law: what a slot points to stays where it is, and is the driver's, for as long as the device
//! holds the slot.
//!
//! Receiving, slot `i`: the first descriptor is 12 bytes of virtio header and [`HEADER_LEN`] bytes
//! of ours, the second a page. Transmitting: header and a small payload lie one behind the other in
//! one descriptor, a larger payload has the second.

use alloc::vec::Vec;

use super::ring::{Buffer, Ring};
use super::transport::Transport;
use super::{RECEIVE, TRANSMIT};
use crate::card::{HEADER_LEN, Outgoing, PAYLOAD_MAX, Received};
use crate::error::ProbeError;
use crate::platform::{Area, Page, Platform};

/// `struct virtio_net_hdr` with `num_buffers`, as in every virtio 1.x device (section 5.1.6).
const VIRTIO_HEADER_LEN: usize = 12;
/// Bytes in front of the payload, as the device sees them.
pub(crate) const LEAD_LEN: usize = VIRTIO_HEADER_LEN + HEADER_LEN;
/// Descriptors per queue; QEMU's transmit queue has no more.
const QUEUE_SIZE: u16 = 256;
/// Bytes between the leads of two receive slots.
const RECEIVE_STRIDE: usize = LEAD_LEN.next_multiple_of(64);
/// Bytes between two transmit slots: the lead and a small payload.
const TRANSMIT_STRIDE: usize = 512;
const INLINE_MAX: usize = TRANSMIT_STRIDE - LEAD_LEN;

/// What the device may read and write while it is not reset.
pub(crate) struct Queues<P: Platform> {
    pub(crate) receive: Ring<P::Area>,
    receive_leads: P::Area,
    /// The page of each receive slot.
    receive_pages: Vec<P::Page>,
    pub(crate) transmit: Ring<P::Area>,
    transmit_slots: P::Area,
    /// One page per transmit slot for payloads that are copied.
    bounces: Vec<P::Area>,
    /// The page each transmit slot reads, if any.
    transmit_pages: Vec<Option<P::Page>>,
}

impl<P: Platform> Queues<P> {
    pub(crate) fn new(
        transport: &Transport<P>,
        event_index: bool,
    ) -> Result<Queues<P>, ProbeError> {
        let platform = transport.platform();
        let ring = |index| {
            let size = transport.queue_size(index, QUEUE_SIZE)?;
            let area = platform.area(Ring::<P::Area>::bytes(size))?;
            Ok::<_, ProbeError>(Ring::new(area, size, event_index))
        };
        let receive = ring(RECEIVE)?;
        let transmit = ring(TRANSMIT)?;
        let receive_slots = usize::from(receive.slots());
        let transmit_slots = usize::from(transmit.slots());
        Ok(Queues {
            receive_leads: platform.area(receive_slots * RECEIVE_STRIDE)?,
            receive_pages: (0..receive_slots)
                .map(|_| platform.page())
                .collect::<Result<_, _>>()?,
            transmit_slots: platform.area(transmit_slots * TRANSMIT_STRIDE)?,
            bounces: (0..transmit_slots)
                .map(|_| platform.area(PAYLOAD_MAX))
                .collect::<Result<_, _>>()?,
            transmit_pages: (0..transmit_slots).map(|_| None).collect(),
            receive,
            transmit,
        })
    }

    /// Gives the device a receive slot with the page it has now.
    pub(crate) fn offer(&mut self, slot: u16) {
        let at = usize::from(slot);
        let lead = Buffer {
            address: self.receive_leads.physical() + (at * RECEIVE_STRIDE) as u64,
            length: LEAD_LEN as u32,
            writable: true,
        };
        let page = Buffer {
            address: self.receive_pages[at].physical(),
            length: PAYLOAD_MAX as u32,
            writable: true,
        };
        self.receive.give(slot, lead, Some(page));
    }

    /// Gives the device a packet in a free transmit slot; returns its bytes on the wire.
    pub(crate) fn send(
        &mut self,
        slot: u16,
        header: &[u8; HEADER_LEN],
        payload: Outgoing<'_, P::Page>,
    ) -> usize {
        let at = usize::from(slot);
        let lead = at * TRANSMIT_STRIDE;
        // The 12 bytes of virtio header stay the zeros they were made of: no offload of any kind.
        self.transmit_slots.write(lead + VIRTIO_HEADER_LEN, header);
        let mut first = Buffer {
            address: self.transmit_slots.physical() + lead as u64,
            length: LEAD_LEN as u32,
            writable: false,
        };
        let mut second = None;
        let length = match payload {
            Outgoing::None => 0,
            Outgoing::Bytes(bytes) if bytes.len() <= INLINE_MAX => {
                self.transmit_slots.write(lead + LEAD_LEN, bytes);
                first.length += bytes.len() as u32;
                bytes.len()
            }
            Outgoing::Bytes(bytes) => {
                self.bounces[at].write(0, bytes);
                second = Some((self.bounces[at].physical(), bytes.len()));
                bytes.len()
            }
            Outgoing::Page(page, range) => {
                assert!(range.end <= PAYLOAD_MAX, "beyond the page");
                second = Some((page.physical() + range.start as u64, range.len()));
                self.transmit_pages[at] = Some(page);
                range.len()
            }
        };
        let second = second.map(|(address, length)| Buffer {
            address,
            length: length as u32,
            writable: false,
        });
        self.transmit.give(slot, first, second);
        HEADER_LEN + length
    }

    /// Takes a received packet of so many bytes behind the header out of a slot and puts `fresh` there.
    pub(crate) fn collect(
        &mut self,
        slot: u16,
        fresh: P::Page,
        length: usize,
    ) -> Received<P::Page> {
        let at = usize::from(slot);
        let mut packet = Received {
            header: [0; HEADER_LEN],
            page: core::mem::replace(&mut self.receive_pages[at], fresh),
            length,
        };
        let lead = at * RECEIVE_STRIDE + VIRTIO_HEADER_LEN;
        self.receive_leads.read(lead, &mut packet.header);
        packet
    }

    /// Lets go of what a transmit slot has sent.
    pub(crate) fn sent(&mut self, slot: u16) {
        self.transmit_pages[usize::from(slot)] = None;
    }
}
