//! The network card of a node, whatever its kind.
//!
//! Law: what a packet is, what is counted and what the caller may rely on is said here, once; a
//! driver adds how its card is told so.

use core::ops::Range;

use machine::{Frame, PAGE_SIZE};

use crate::error::ProbeError;
use crate::intel::Intel;
use crate::pci;
use crate::platform::{Machine, Platform};
use crate::virtio::VirtioNet;

pub use wire::HEADER_LEN;

/// Most bytes of payload in one packet: one page.
pub const PAYLOAD_MAX: usize = PAGE_SIZE;
const _: () = assert!(PAYLOAD_MAX == wire::PAYLOAD_MAX);

/// A received packet.
#[derive(Debug)]
pub struct Received<F = Frame> {
    /// The first bytes, Ethernet header included; what they say is hostile.
    pub header: [u8; HEADER_LEN],
    /// The page with the payload; what is behind `length` is left over from elsewhere.
    ///
    /// With a full page of payload this is the only handle. With less the driver keeps another to
    /// fill the page again once this one is gone: read it, do not map it.
    pub page: F,
    /// Bytes behind the header, at most [`PAYLOAD_MAX`].
    pub length: usize,
}

/// The payload of a packet to be sent.
#[derive(Debug)]
pub enum Outgoing<'a, F = Frame> {
    /// Only the header.
    None,
    /// Bytes, at most [`PAYLOAD_MAX`]; they are copied.
    Bytes(&'a [u8]),
    /// A range of a page, read in place; the handle is dropped when the device is done.
    Page(F, Range<usize>),
}

/// Every transmit slot is with the device; nothing was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// What happened since the card was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Packets handed to the caller.
    pub received: u64,
    /// Their bytes, headers included.
    pub received_bytes: u64,
    /// Packets given to the device.
    pub sent: u64,
    /// Their bytes, headers included.
    pub sent_bytes: u64,
    /// Received packets dropped because they end within the header.
    pub short: u64,
    /// Received packets dropped because the device claimed an impossible length.
    pub bad_length: u64,
    /// Received packets dropped because the device says that they are damaged.
    pub damaged: u64,
    /// Received packets dropped because no page was free for them or to replace theirs.
    pub no_memory: u64,
    /// Packets that found no transmit slot.
    pub full: u64,
    /// Times the device was notified of packets to send.
    pub kicks: u64,
    /// Times it was not, because it was looking already.
    pub kicks_saved: u64,
    /// Times the device was notified of new receive buffers.
    pub refill_kicks: u64,
    /// Interrupts asked for.
    pub armed: u64,
    /// Queues stopped because the device said something impossible, 0 to 2.
    pub broken_queues: u64,
}

impl Counters {
    /// All of them by name.
    pub fn named(&self) -> [(&'static str, u64); 14] {
        macro_rules! named {
            ($($name:ident)*) => {{
                let Counters { $($name),* } = *self;
                [$((stringify!($name), $name)),*]
            }};
        }
        named!(
            received received_bytes sent sent_bytes short bad_length damaged no_memory full kicks
            kicks_saved refill_kicks armed broken_queues
        )
    }
}

/// An address for a card that has none.
pub(crate) fn random_mac(platform: &impl Platform) -> [u8; 6] {
    let [first, b, c, d, e, f, ..] = platform.random().to_le_bytes();
    // Locally administered, not a group (IEEE 802, 8.2).
    [first & !1 | 2, b, c, d, e, f]
}

/// A network card in use. Dropping it resets the device before its memory is freed.
pub enum Card<P: Platform = Machine> {
    /// virtio-net.
    Virtio(VirtioNet<P>),
    /// Intel's 82574L or 82540EM.
    Intel(Intel<P>),
}

/// Asks the driver, whichever it is.
macro_rules! driver {
    ($card:ident.$method:ident($($argument:expr),*)) => {
        match $card {
            Card::Virtio(card) => card.$method($($argument),*),
            Card::Intel(card) => card.$method($($argument),*),
        }
    };
}

impl Card {
    /// Takes the first usable network card of the machine into use.
    ///
    /// # Errors
    /// [`ProbeError`] of the first card found, when none can be used.
    pub fn probe() -> Result<Card, ProbeError> {
        Card::probe_on(&Machine)
    }
}

impl<P: Platform + Clone> Card<P> {
    /// [`Card::probe`] on any platform.
    ///
    /// # Errors
    /// [`ProbeError`] of the first card found, when none can be used.
    pub fn probe_on(platform: &P) -> Result<Card<P>, ProbeError> {
        pci::first_usable(platform, |function| {
            if VirtioNet::<P>::drives(function) {
                let card = VirtioNet::open(platform.clone(), *function);
                return Some(card.map(Card::Virtio));
            }
            let model = Intel::<P>::drives(function)?;
            let card = Intel::open(platform.clone(), *function, model);
            Some(card.map(Card::Intel))
        })
    }
}

impl<P: Platform> Card<P> {
    /// What kind of card it is, for people.
    pub fn name(&self) -> &'static str {
        match self {
            Card::Virtio(_) => "virtio-net",
            Card::Intel(card) => card.name(),
        }
    }

    /// The card's Ethernet address; a random local one if the card has none.
    pub fn mac(&self) -> [u8; 6] {
        driver!(self.mac())
    }

    /// Most bytes behind an Ethernet header.
    pub fn mtu(&self) -> u16 {
        driver!(self.mtu())
    }

    /// Whether [`Card::arm_interrupts`] leads to interrupts. If not, the caller must poll.
    pub fn has_interrupts(&self) -> bool {
        driver!(self.has_interrupts())
    }

    /// Whether the link is up; a card that cannot say so has it up always.
    pub fn link_up(&self) -> bool {
        driver!(self.link_up())
    }

    /// What happened so far.
    pub fn counters(&self) -> Counters {
        driver!(self.counters())
    }

    /// Takes the next received packet, `None` if there is none now.
    ///
    /// Packets that cannot be used are dropped on the way, at most one round of the queue per call.
    pub fn receive(&mut self) -> Option<Received<P::Page>> {
        driver!(self.receive())
    }

    /// How many packets [`Card::transmit`] takes at least before it is [`Full`]; 0 only if none.
    pub fn transmit_room(&self) -> usize {
        driver!(self.transmit_room())
    }

    /// Queues a packet. The device may start on it at once, but need not before [`Card::kick`].
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
        driver!(self.transmit(header, payload))
    }

    /// Notifies the device of everything queued since the last time, unless it is looking anyway.
    pub fn kick(&mut self) {
        driver!(self.kick());
    }

    /// Whether there is something to receive, or room again for a caller that had none.
    pub fn pending(&mut self) -> bool {
        driver!(self.pending())
    }

    /// Asks for one interrupt at the next packet received and, if there is no room to send, when
    /// there is some again.
    ///
    /// Returns whether that has come to pass already: then the interrupt may not come, and the
    /// caller serves the card before it waits. Nothing is lost between this call and a wait that
    /// an interrupt ends. Without [`Card::has_interrupts`] it is no more than [`Card::pending`].
    pub fn arm_interrupts(&mut self) -> bool {
        driver!(self.arm_interrupts())
    }
}
