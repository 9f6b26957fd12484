//! Intel's gigabit cards 82574L and 82540EM (QEMU: `e1000e`, `e1000`) as carriers of page frames.
//!
//! Law: a transmitted page is read in place and its handle kept until the card is done; a received
//! payload is copied once, into a page of its own. Packets the driver cannot use are counted, never
//! guessed at. The card is told of packets and of buffers by the batch: a tail register is written
//! once for many.
//!
//! Interrupts: the 82574L has MSI-X. One interrupt is asked for at a time, by unmasking its cause; the
//! card masks it again as it sends the message, and while the driver looks by itself there are none.
//! The 82540EM has only an interrupt line, which nobody here can lead to a processor without the
//! firmware's AML: it is polled, and [`Intel::has_interrupts`] says so.
//!
//! Not here: checksums, segmentation, VLANs, flow control: page packets need none.

mod port;
mod receive;
mod transmit;

use machine::MsiVector;

use crate::card::{Counters, Full, HEADER_LEN, Outgoing, PAYLOAD_MAX, Received};
use crate::error::ProbeError;
use crate::pci::{self, Function};
use crate::platform::{Machine, Platform};
use crate::spares::Spares;
pub(crate) use port::Model;
use port::{CAUSE, CAUSES, MASK_SET, Port, RECEIVE_RING, RING_TAIL, TRANSMIT_RING};
use receive::{BUFFER_LEN, Claim, ReceiveRing, SLOTS};
use transmit::TransmitRing;

const VENDOR: u16 = 0x8086;
const MODELS: [(u16, Model); 2] = [(0x10d3, Model::I82574), (0x100e, Model::I82540)];

/// What a buffer has room for behind an Ethernet header.
const MTU: u16 = (BUFFER_LEN - wire::ETHERNET_LEN) as u16;
const _: () = assert!(MTU >= wire::MTU_WHOLE);

/// What the card may read and write while it is not reset.
struct Rings<P: Platform> {
    receive: ReceiveRing<P>,
    transmit: TransmitRing<P>,
}

/// An Intel network card in use. Dropping it resets the card before its memory is freed.
pub struct Intel<P: Platform = Machine> {
    port: Port<P>,
    mac: [u8; 6],
    /// What [`CAUSES`] lead to; `None`: to nothing.
    vectors: Option<[MsiVector; 2]>,
    /// `None` only while being dropped.
    rings: Option<Rings<P>>,
    spares: Spares<P::Page>,
    counters: Counters,
    /// Causes that were unmasked and whose message has not come yet.
    armed: u32,
    /// Packets taken since the last interrupt was asked for.
    taken: u32,
}

impl<P: Platform + Clone> Intel<P> {
    /// Takes the first usable Intel network card of a platform into use.
    ///
    /// # Errors
    /// [`ProbeError`] of the first card found, when none can be used.
    pub fn probe_on(platform: &P) -> Result<Intel<P>, ProbeError> {
        pci::first_usable(platform, |function| {
            let model = Intel::<P>::drives(function)?;
            Some(Intel::open(platform.clone(), *function, model))
        })
    }
}

impl<P: Platform> Intel<P> {
    /// Which of the cards of this kind a function is, if any.
    pub(crate) fn drives(function: &Function) -> Option<Model> {
        let ours = function.vendor == VENDOR;
        let found = MODELS.iter().find(|(device, _)| *device == function.device);
        found.filter(|_| ours).map(|&(_, model)| model)
    }

    /// Takes a card into use.
    pub(crate) fn open(
        platform: P,
        function: Function,
        model: Model,
    ) -> Result<Intel<P>, ProbeError> {
        let port = Port::open(platform, function, model)?;
        let rings = || {
            Ok::<_, ProbeError>(Rings {
                receive: ReceiveRing::new(port.platform())?,
                transmit: TransmitRing::new(port.platform())?,
            })
        };
        let rings = rings().inspect_err(|_| {
            port.shut_down();
        })?;
        let mac = port.mac();
        for (ring, (physical, length)) in [
            (RECEIVE_RING, rings.receive.place()),
            (TRANSMIT_RING, rings.transmit.place()),
        ] {
            port.set_ring(ring, physical, length);
        }
        let vectors = port.set_vectors();
        port.start(mac);
        port.write(RECEIVE_RING + RING_TAIL, rings.receive.tail());
        Ok(Intel {
            port,
            mac,
            vectors,
            rings: Some(rings),
            spares: Spares::default(),
            counters: Counters::default(),
            armed: 0,
            taken: u32::MAX,
        })
    }

    fn rings(&mut self) -> &mut Rings<P> {
        self.rings.as_mut().expect("only a dropped card has none")
    }

    /// Which card it is.
    pub fn name(&self) -> &'static str {
        match self.port.model {
            Model::I82574 => "82574L",
            Model::I82540 => "82540EM",
        }
    }

    /// As [`Card::mac`](crate::Card::mac).
    pub fn mac(&self) -> [u8; 6] {
        self.mac
    }

    /// As [`Card::mtu`](crate::Card::mtu).
    pub fn mtu(&self) -> u16 {
        MTU
    }

    /// As [`Card::has_interrupts`](crate::Card::has_interrupts).
    pub fn has_interrupts(&self) -> bool {
        self.vectors.is_some()
    }

    /// As [`Card::link_up`](crate::Card::link_up).
    pub fn link_up(&self) -> bool {
        self.port.link_up()
    }

    /// As [`Card::counters`](crate::Card::counters).
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// As [`Card::receive`](crate::Card::receive).
    pub fn receive(&mut self) -> Option<Received<P::Page>> {
        for _ in 0..SLOTS {
            let Some(claim) = self.rings().receive.claim() else {
                break;
            };
            let packet = self.unpack(claim);
            let ring = &mut self.rings().receive;
            ring.pass(claim);
            if let Some(tail) = ring.take_announcement() {
                self.counters.refill_kicks += 1;
                self.port.write(RECEIVE_RING + RING_TAIL, tail);
            }
            self.taken = self.taken.saturating_add(1);
            if packet.is_some() {
                return packet;
            }
        }
        self.rings().transmit.reap();
        None
    }

    /// Takes the packet out of the next slot, if there is one in it that can be used.
    fn unpack(&mut self, claim: Claim) -> Option<Received<P::Page>> {
        let length = match claim {
            Claim::Frame(length) if length <= HEADER_LEN + PAYLOAD_MAX => length,
            Claim::Frame(_) | Claim::Impossible | Claim::Piece { last: true } => {
                self.counters.bad_length += 1;
                return None;
            }
            Claim::Piece { last: false } => return None,
            Claim::Damaged => {
                self.counters.damaged += 1;
                return None;
            }
        };
        let Some(length) = length.checked_sub(HEADER_LEN) else {
            self.counters.short += 1;
            return None;
        };
        let Some(page) = self.spares.page(self.port.platform()) else {
            self.counters.no_memory += 1;
            return None;
        };
        let ring = &self.rings.as_ref()?.receive;
        let mut header = [0; HEADER_LEN];
        ring.read(0, &mut header);
        if length > 0 {
            ring.copy(self.port.platform(), HEADER_LEN, length, &page);
        }
        self.spares.keep(&page, length);
        self.counters.received += 1;
        self.counters.received_bytes += (HEADER_LEN + length) as u64;
        Some(Received {
            header,
            page,
            length,
        })
    }

    /// As [`Card::transmit_room`](crate::Card::transmit_room).
    pub fn transmit_room(&self) -> usize {
        self.rings.as_ref().map_or(0, |rings| {
            let ring = &rings.transmit;
            ring.room().max(usize::from(ring.is_ready()))
        })
    }

    /// As [`Card::transmit`](crate::Card::transmit).
    ///
    /// # Errors
    /// [`Full`] when every slot is with the card.
    pub fn transmit(
        &mut self,
        header: &[u8; HEADER_LEN],
        payload: Outgoing<'_, P::Page>,
    ) -> Result<(), Full> {
        let ring = &mut self.rings().transmit;
        if ring.room() == 0 {
            ring.reap();
        }
        if ring.room() == 0 {
            self.counters.full += 1;
            return Err(Full);
        }
        let length = ring.send(header, payload);
        self.counters.sent += 1;
        self.counters.sent_bytes += length as u64;
        Ok(())
    }

    /// As [`Card::kick`](crate::Card::kick).
    pub fn kick(&mut self) {
        if let Some(tail) = self.rings().transmit.take_announcement() {
            self.counters.kicks += 1;
            self.port.write(TRANSMIT_RING + RING_TAIL, tail);
        }
        self.rings().transmit.reap();
    }

    /// As [`Card::pending`](crate::Card::pending).
    pub fn pending(&mut self) -> bool {
        let rings = self.rings();
        let waits = rings.transmit.room() == 0;
        rings.receive.is_ready() || (waits && rings.transmit.is_ready())
    }

    /// As [`Card::arm_interrupts`](crate::Card::arm_interrupts).
    pub fn arm_interrupts(&mut self) -> bool {
        let Some(vectors) = self.vectors else {
            return self.pending();
        };
        for (cause, vector) in CAUSES.into_iter().zip(&vectors) {
            // The message has masked its cause. It may come later than the packet was seen, or for one
            // that was taken before it was asked for.
            if self.port.platform().take_interrupt(vector) {
                self.armed &= !cause;
            }
        }
        let [received, sent] = CAUSES;
        let full = self.rings().transmit.room() == 0;
        let wanted = if full { received | sent } else { received };
        if wanted & !self.armed != 0 {
            self.arm(wanted & !self.armed);
        }
        self.pending()
    }

    /// Asks for a message for each of these causes.
    fn arm(&mut self, causes: u32) {
        let [received, sent] = CAUSES;
        // The message for the first packet took its cause back. That of others is still there, and
        // would interrupt for nothing.
        let stale = self.taken > 1 || causes & sent != 0;
        if stale {
            self.port.write(CAUSE, causes);
        }
        if causes & received != 0 {
            self.taken = 0;
        }
        self.port.write(MASK_SET, causes);
        if stale {
            // A packet whose cause was taken back is to be seen by who looks now.
            self.port.settle();
        }
        self.armed |= causes;
        self.counters.armed += 1;
    }
}

impl<P: Platform> Drop for Intel<P> {
    fn drop(&mut self) {
        let quiet = self.port.shut_down();
        if let Some(rings) = self.rings.take()
            && !quiet
        {
            // The card may still write: its memory is lost rather than given to somebody else.
            core::mem::forget(rings);
        }
    }
}
