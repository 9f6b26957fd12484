//! Sending with more to come: `MSG_MORE`, `TCP_CORK` and `UDP_CORK`.
//!
//! Law: bytes of a stream that are held back go before the next that are not, once they fill a packet of the
//! loopback, and after 200 ms at the latest, as in Linux. A datagram that is held back has no such limit: it
//! goes, to where its first part was sent, with the first part that is not.

use super::names::Given;
use super::network::Protocol;
use super::options::{SOL_TCP, SOL_UDP};
use super::transfer::{Credentials, Message, Parcel, UDP_MAX};
use super::{Kind, RECEIVES_NOT, SENDS_NOT, Socket};
use crate::files::objects::{AlarmKey, Alarms, Rings};
use abi::Errno;
use abi::layout::Timespec;
use alloc::sync::Weak;
use alloc::vec::Vec;

/// `TCP_CORK` and `UDP_CORK`.
const TCP_CORK: (u32, u32) = (SOL_TCP, 3);
const UDP_CORK: (u32, u32) = (SOL_UDP, 1);
/// Bytes of a stream that are not held back any more.
const PACKET: usize = 32_768;
/// How long they are held back at most.
const PATIENCE_NS: u64 = 200_000_000;

/// What is held back.
#[derive(Default)]
pub(super) struct Held {
    bytes: Vec<u8>,
    sender: Credentials,
    at: Timespec,
    /// When it goes at the latest.
    alarm: Option<AlarmKey>,
    /// Where a datagram goes.
    to: Option<Given>,
}

/// What is to be done with a part of a datagram.
pub(in super::super) enum Part {
    /// There was more to come: it is held back.
    Held,
    /// It is the last one of this, which goes there.
    Last(Vec<u8>, Option<Given>),
    /// It is all.
    Whole,
}

impl Held {
    /// How many bytes that are.
    pub(super) fn length(&self) -> usize {
        self.bytes.len()
    }

    fn add(&mut self, bytes: &[u8]) -> Result<(), Errno> {
        let room = self.bytes.try_reserve(bytes.len());
        room.map_err(|_| Errno::ENOMEM)?;
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }
}

impl Socket {
    fn is_corked(&self, option: (u32, u32), more: bool) -> bool {
        more || self.lock().options.flag(option).is_some_and(|set| set != 0)
    }

    /// Whether bytes of a stream are held back, and are so from now on.
    pub(super) fn holds_back(&self, message: &Message<'_>) -> Result<bool, Errno> {
        let corked = !self.is_local() && self.is_corked(TCP_CORK, message.more);
        let mut inner = self.lock();
        let held = &mut inner.held;
        if !corked || message.urgent || held.length() + message.bytes.len() >= PACKET {
            return Ok(false);
        }
        held.add(message.bytes)?;
        (held.sender, held.at) = (message.sender, message.at);
        if held.alarm.is_none() {
            let alarms = &self.network.alarms;
            let who = self.me.clone() as Weak<dyn Rings>;
            held.alarm = Some(alarms.set(alarms.now() + PATIENCE_NS, who));
        }
        Ok(true)
    }

    /// Sends what of a stream was held back. It was promised to fit.
    pub(in super::super) fn let_go(&self) {
        if self.kind != Kind::Stream {
            return;
        }
        let peer = self.peer();
        let held = core::mem::take(&mut self.lock().held);
        if let Some(alarm) = held.alarm {
            self.network.alarms.cancel(alarm);
        }
        let Some(peer) = peer.filter(|_| held.length() > 0) else {
            return;
        };
        if peer.lock().shut & RECEIVES_NOT == 0 {
            peer.take_in(Parcel::new(held.bytes, held.sender, held.at));
        }
    }

    /// Whether a part of a datagram of the internet is held back, or what goes with it.
    pub(in super::super) fn part_of_datagram(
        &self,
        bytes: &[u8],
        to: Option<&Given>,
        more: bool,
    ) -> Result<Part, Errno> {
        let corked = self.is_corked(UDP_CORK, more);
        if !corked && self.lock().held.to.is_none() {
            return Ok(Part::Whole);
        }
        let usual = self.default_target();
        let mut inner = self.lock();
        if inner.shut & SENDS_NOT != 0 {
            return Err(Errno::EPIPE);
        }
        let held = &mut inner.held;
        if held.length() + bytes.len() > UDP_MAX {
            return Err(Errno::EMSGSIZE);
        }
        if held.to.is_none() {
            held.to = to.cloned().or(usual);
        }
        if held.to.is_none() {
            return Err(Errno::EDESTADDRREQ);
        }
        held.add(bytes)?;
        if corked {
            return Ok(Part::Held);
        }
        let whole = core::mem::take(held);
        Ok(Part::Last(whole.bytes, whole.to))
    }

    /// Whether this option says that nothing is held back any more.
    pub(in super::super) fn uncorks(&self, option: (u32, u32), value: &[u8]) -> bool {
        let corks = match self.protocol() {
            Protocol::Tcp => option == TCP_CORK,
            Protocol::Udp => option == UDP_CORK,
            _ => false,
        };
        corks && value.iter().all(|byte| *byte == 0) && self.lock().held.length() > 0
    }
}

impl Rings for Socket {
    fn ring(&self, _at: u64, _alarms: &Alarms) {
        self.lock().held.alarm = None;
        self.let_go();
    }
}
