//! The virtio network card (virtio 1.2, section 5.1) as a carrier of page frames.
//!
//! Law: a received page lands in a page of its own, behind one header of fixed length, and is handed
//! on without a copy; a transmitted page is read in place and its handle kept until the device is
//! done. Packets the driver cannot use are counted, never guessed at.
//!
//! Not here: checksums, segmentation, merged buffers, the control queue: page packets need none.

mod disk;
mod queues;
mod ring;
mod transport;

use alloc::vec::Vec;

use machine::MsiVector;

use crate::card::{Counters, Full, HEADER_LEN, Outgoing, PAYLOAD_MAX, Received, random_mac};
use crate::error::ProbeError;
use crate::pci::{self, Function};
use crate::platform::{Machine, Platform};
use crate::spares::Spares;
pub use disk::{Disk, DiskError, Done, PATIENCE_NS, SECTOR, TRANSFER_MAX, Ticket};
use queues::{LEAD_LEN, Queues};
use transport::{ACCESS_PLATFORM, EVENT_INDEX, Transport, VERSION_1};

/// The MTU of a link that says nothing else.
const MTU_DEFAULT: u16 = 1500;

const VENDOR: u16 = 0x1af4;
/// Network card, virtio 1.x only and transitional (section 4.1.2).
const DEVICES: [u16; 2] = [0x1041, 0x1000];
const FEATURE_MTU: u64 = 1 << 3;
const FEATURE_MAC: u64 = 1 << 5;
const FEATURE_STATUS: u64 = 1 << 16;
const CONFIG_MAC: u64 = 0;
const CONFIG_STATUS: u64 = 6;
const CONFIG_MTU: u64 = 10;
const CONFIG_LEN: u64 = 6;
const STATUS_LINK_UP: u16 = 1;

/// Number of the receive queue (section 5.1.2).
const RECEIVE: u16 = 0;
/// Number of the transmit queue.
const TRANSMIT: u16 = 1;

/// What was agreed with the device.
struct Agreement {
    event_index: bool,
    link_status: bool,
    mtu: u16,
    mac: [u8; 6],
    /// Where to notify either queue.
    notify: [u64; 2],
    interrupts: bool,
    vectors: [Option<MsiVector>; 2],
}

/// A virtio network card in use. Dropping it resets the device before its memory is freed.
pub struct VirtioNet<P: Platform = Machine> {
    transport: Transport<P>,
    agreement: Agreement,
    /// `None` only while being dropped.
    queues: Option<Queues<P>>,
    /// Transmit slots the device does not hold.
    free: Vec<u16>,
    spares: Spares<P::Page>,
    counters: Counters,
}

impl<P: Platform + Clone> VirtioNet<P> {
    /// Takes the first usable virtio network card of a platform into use.
    ///
    /// # Errors
    /// [`ProbeError`] of the first card found, when none can be used.
    pub fn probe_on(platform: &P) -> Result<VirtioNet<P>, ProbeError> {
        pci::first_usable(platform, |function| {
            VirtioNet::<P>::drives(function).then(|| VirtioNet::open(platform.clone(), *function))
        })
    }
}

impl<P: Platform> VirtioNet<P> {
    /// Whether a function is a card of this kind.
    pub(crate) fn drives(function: &Function) -> bool {
        function.vendor == VENDOR && DEVICES.contains(&function.device)
    }

    /// Takes a card into use.
    pub(crate) fn open(platform: P, function: Function) -> Result<VirtioNet<P>, ProbeError> {
        let transport = Transport::open(platform, function, CONFIG_LEN)?;
        let mut agreement = agree(&transport).inspect_err(|_| {
            transport.shut_down();
        })?;
        let queues = Queues::new(&transport, agreement.event_index).inspect_err(|_| {
            transport.shut_down();
        })?;
        let enabled = enable_queues(&transport, &queues, &mut agreement);
        let mut card = VirtioNet {
            transport,
            agreement,
            free: (0..queues.transmit.slots()).rev().collect(),
            queues: Some(queues),
            spares: Spares::default(),
            counters: Counters::default(),
        };
        // From here on dropping the card resets the device first.
        enabled?;
        let queues = card.queues();
        queues.transmit.disarm();
        queues.receive.disarm();
        for slot in 0..queues.receive.slots() {
            queues.offer(slot);
        }
        card.transport.start();
        card.notify_receive();
        Ok(card)
    }

    fn queues(&mut self) -> &mut Queues<P> {
        self.queues.as_mut().expect("only a dropped card has none")
    }

    /// The card's Ethernet address; a random local one if the card has none.
    pub fn mac(&self) -> [u8; 6] {
        self.agreement.mac
    }

    /// Most bytes behind an Ethernet header.
    pub fn mtu(&self) -> u16 {
        self.agreement.mtu
    }

    /// Whether [`VirtioNet::arm_interrupts`] leads to interrupts. If not, the caller must poll.
    pub fn has_interrupts(&self) -> bool {
        self.agreement.interrupts
    }

    /// The vectors of the receive and the transmit queue, for those who count interrupts.
    pub fn vectors(&self) -> &[Option<MsiVector>; 2] {
        &self.agreement.vectors
    }

    /// Whether the link is up; a card that cannot say so has it up always.
    pub fn link_up(&self) -> bool {
        !self.agreement.link_status
            || self
                .transport
                .config(CONFIG_STATUS)
                .is_none_or(|bytes| u16::from_le_bytes(bytes) & STATUS_LINK_UP != 0)
    }

    /// What happened so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Takes the next received packet, `None` if there is none now.
    ///
    /// Packets that cannot be used are dropped on the way, at most one round of the queue per call.
    pub fn receive(&mut self) -> Option<Received<P::Page>> {
        let slots = self.queues().receive.slots();
        for _ in 0..slots {
            let used = match self.queues().receive.take() {
                Ok(Some(used)) => used,
                Ok(None) => break,
                Err(_) => {
                    self.counters.broken_queues += 1;
                    break;
                }
            };
            let packet = self.unpack(used.slot, used.length);
            self.queues().offer(used.slot);
            if packet.is_some() {
                return packet;
            }
        }
        self.reap();
        self.notify_receive();
        None
    }

    /// Takes the packet out of a slot, which afterwards has a page to be offered again.
    fn unpack(&mut self, slot: u16, claimed: u32) -> Option<Received<P::Page>> {
        let Some(length) = usize::try_from(claimed)
            .ok()
            .filter(|&claimed| claimed <= LEAD_LEN + PAYLOAD_MAX)
        else {
            self.counters.bad_length += 1;
            return None;
        };
        let Some(length) = length.checked_sub(LEAD_LEN) else {
            self.counters.short += 1;
            return None;
        };
        let Some(fresh) = self.spares.page(self.transport.platform()) else {
            self.counters.no_memory += 1;
            return None;
        };
        let packet = self.queues().collect(slot, fresh, length);
        self.spares.keep(&packet.page, length);
        self.counters.received += 1;
        self.counters.received_bytes += (HEADER_LEN + length) as u64;
        Some(packet)
    }

    /// Tells the device of new receive buffers if it wants to know.
    fn notify_receive(&mut self) {
        if self.queues().receive.should_notify() {
            self.counters.refill_kicks += 1;
            let place = self.agreement.notify[usize::from(RECEIVE)];
            self.transport.notify(RECEIVE, place);
        }
    }

    /// How many packets [`VirtioNet::transmit`] takes before it is [`Full`].
    pub fn transmit_room(&self) -> usize {
        let (done, broken) = self.queues.as_ref().map_or((0, true), |queues| {
            (
                usize::from(queues.transmit.ready().min(queues.transmit.outstanding())),
                queues.transmit.is_broken(),
            )
        });
        if broken { 0 } else { self.free.len() + done }
    }

    /// Queues a packet. The device may start on it at once, but need not before
    /// [`VirtioNet::kick`].
    ///
    /// # Errors
    /// [`Full`] when every slot is with the device, or the queue was stopped.
    ///
    /// # Panics
    /// When the payload is longer than [`PAYLOAD_MAX`] or beyond its page: a bug of the caller.
    pub fn transmit(
        &mut self,
        header: &[u8; HEADER_LEN],
        payload: Outgoing<'_, P::Page>,
    ) -> Result<(), Full> {
        if self.free.is_empty() {
            self.reap();
        }
        if self.queues().transmit.is_broken() {
            self.counters.full += 1;
            return Err(Full);
        }
        let Some(slot) = self.free.pop() else {
            self.counters.full += 1;
            return Err(Full);
        };
        let length = self.queues().send(slot, header, payload);
        self.counters.sent += 1;
        self.counters.sent_bytes += length as u64;
        Ok(())
    }

    /// Frees the slots of packets that were sent.
    fn reap(&mut self) {
        loop {
            let queues = self.queues();
            match queues.transmit.take() {
                Ok(Some(used)) => {
                    queues.sent(used.slot);
                    self.free.push(used.slot);
                }
                Ok(None) => return,
                Err(_) => {
                    self.counters.broken_queues += 1;
                    return;
                }
            }
        }
    }

    /// Notifies the device of everything queued since the last time, unless it is looking anyway.
    pub fn kick(&mut self) {
        if self.queues().transmit.has_unannounced() {
            if self.queues().transmit.should_notify() {
                self.counters.kicks += 1;
                let place = self.agreement.notify[usize::from(TRANSMIT)];
                self.transport.notify(TRANSMIT, place);
            } else {
                self.counters.kicks_saved += 1;
            }
        }
        self.reap();
        self.notify_receive();
    }

    /// Whether there is something to receive, or room again for a caller that had none.
    pub fn pending(&mut self) -> bool {
        let waits = self.free.is_empty();
        let queues = self.queues();
        queues.receive.ready() > 0 || (waits && queues.transmit.ready() > 0)
    }

    /// Asks for one interrupt at the next packet received and, if there is no room to send, when
    /// half of the packets with the device are gone.
    ///
    /// Returns whether that has come to pass already: then the interrupt may not come, and the
    /// caller serves the card before it waits. Nothing is lost between this call and a wait that
    /// an interrupt ends. Without [`VirtioNet::has_interrupts`] it is no more than
    /// [`VirtioNet::pending`].
    pub fn arm_interrupts(&mut self) -> bool {
        self.notify_receive();
        if !self.agreement.interrupts {
            return self.pending();
        }
        self.counters.armed += 1;
        let waits = self.free.is_empty();
        let queues = self.queues();
        let half = queues.transmit.outstanding().div_ceil(2);
        let room = if waits && half > 0 {
            queues.transmit.arm(half)
        } else {
            queues.transmit.disarm();
            false
        };
        queues.receive.arm(1) || room
    }
}

impl<P: Platform> Drop for VirtioNet<P> {
    fn drop(&mut self) {
        let quiet = self.transport.shut_down();
        if let Some(queues) = self.queues.take()
            && !quiet
        {
            // The device may still write: its memory is lost rather than given to somebody else.
            core::mem::forget(queues);
        }
    }
}

fn agree<P: Platform>(transport: &Transport<P>) -> Result<Agreement, ProbeError> {
    let features = transport.negotiate(
        FEATURE_MTU | FEATURE_MAC | FEATURE_STATUS | EVENT_INDEX | ACCESS_PLATFORM,
        VERSION_1,
    )?;
    let unsteady = ProbeError::Registers("configuration");
    let mtu = if features & FEATURE_MTU == 0 {
        MTU_DEFAULT
    } else {
        u16::from_le_bytes(transport.config(CONFIG_MTU).ok_or(unsteady)?)
    };
    if mtu < wire::MTU_LEAST {
        return Err(ProbeError::MtuTooSmall {
            mtu,
            needed: wire::MTU_LEAST,
        });
    }
    let mac = if features & FEATURE_MAC == 0 {
        random_mac(transport.platform())
    } else {
        transport.config(CONFIG_MAC).ok_or(unsteady)?
    };
    Ok(Agreement {
        event_index: features & EVENT_INDEX != 0,
        link_status: features & FEATURE_STATUS != 0,
        mtu,
        mac,
        notify: [0; 2],
        interrupts: false,
        vectors: [None, None],
    })
}

/// Enables both queues, each with a vector of its own, else one for both, else without.
fn enable_queues<P: Platform>(
    transport: &Transport<P>,
    queues: &Queues<P>,
    agreement: &mut Agreement,
) -> Result<(), ProbeError> {
    let first = transport.platform().vector();
    let second = transport.platform().vector().or(first);
    agreement.vectors = [first, second];
    agreement.interrupts = true;
    for (index, ring) in [(RECEIVE, &queues.receive), (TRANSMIT, &queues.transmit)] {
        let at = usize::from(index);
        let (place, interrupts) = transport.enable_queue(
            index,
            ring.slots() * 2,
            ring.addresses(),
            agreement.vectors[at].as_ref(),
        )?;
        agreement.notify[at] = place;
        agreement.interrupts &= interrupts;
    }
    Ok(())
}
