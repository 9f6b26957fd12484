//! Sockets of ICMP and ICMPv6, by which ping(8) asks whether somebody is there.
//!
//! Law: a question is answered within the call that asks it, by the node itself, so what is sent has come back
//! before anybody can look. The identifier of a question is the port of its socket, whatever the user has written
//! there (`net/ipv4/ping.c` of Linux).
//!
//! Raw sockets of ICMP, for who may have them, send messages as they are and overhear all of them, also their own, with
//! the header of version 4 in front.
//!
//! Not here: raw sockets of other protocols, and addresses of other machines.

use super::headers::{Header, Packet};
use super::names::{ANY, Endpoint, Given, LOOPBACK, Name, mapped};
use super::network::Protocol;
use super::transfer::Segment;
use super::{Family, RECEIVES_NOT, SENDS_NOT, Socket};
use abi::Errno;
use abi::layout::{POLLIN, POLLRDNORM, Timespec};
use alloc::vec::Vec;

/// `IPPROTO_ICMP`, `IPPROTO_ICMPV6`.
pub(in super::super) const ICMP: u8 = 1;
pub(in super::super) const ICMPV6: u8 = 58;

/// The longest message: what fits into a packet of IP beside the header of version 4.
const LONGEST: usize = 65_535 - 20;
/// Bytes of a header of ICMP: type, code, sum, identifier, number.
const HEADER: usize = 8;
/// Questions and answers (RFC 792, RFC 4443), and what RFC 8335 asks, which nobody answers.
const ECHO: [u8; 2] = [8, 128];
const ECHO_REPLY: [u8; 2] = [0, 129];
const EXTENDED: [u8; 2] = [42, 160];

/// The sum of the internet (RFC 1071) over several pieces, all but the last of even length.
pub(super) fn sum(pieces: &[&[u8]]) -> u16 {
    let words = pieces.iter().flat_map(|piece| piece.chunks(2));
    let mut sum: u32 = words
        .map(|word| u32::from(word[0]) << 8 | word.get(1).map_or(0, |low| u32::from(*low)))
        .fold(0, u32::wrapping_add);
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// The sum of a message between these ends; over one that has its own it is 0.
fn sum_of(bytes: &[u8], version: usize, ends: [&Endpoint; 2]) -> u16 {
    if version == 0 {
        return sum(&[bytes]);
    }
    let length = (bytes.len() as u32).to_be_bytes();
    let next = u32::from(ICMPV6).to_be_bytes();
    sum(&[&ends[0].address, &ends[1].address, &length, &next, bytes])
}

/// Writes the sum into a message.
fn seal(bytes: &mut [u8], version: usize, ends: [&Endpoint; 2]) {
    bytes[2..4].fill(0);
    let sum = sum_of(bytes, version, ends).to_be_bytes();
    bytes[2..4].copy_from_slice(&sum);
}

/// A message on its way, which is over at once.
struct Message {
    bytes: Vec<u8>,
    version: usize,
    from: Endpoint,
    to: Endpoint,
    packet: Packet,
    at: Timespec,
}

impl Message {
    fn sum(&self) -> u16 {
        sum_of(&self.bytes, self.version, [&self.from, &self.to])
    }

    /// The answer of the node, if it is a question that is whole.
    fn answer(&self) -> Option<Message> {
        let asks = self.bytes.len() >= HEADER && self.bytes[..2] == [ECHO[self.version], 0];
        if !asks || self.sum() != 0 {
            return None;
        }
        let mut bytes = self.bytes.clone();
        bytes[0] = ECHO_REPLY[self.version];
        seal(&mut bytes, self.version, [&self.to, &self.from]);
        Some(Message {
            bytes,
            from: self.to,
            to: self.from,
            packet: self.packet.answered(self.from),
            ..*self
        })
    }

    /// Who has asked, if it is an answer.
    fn asker(&self) -> Option<Endpoint> {
        let answers = self.bytes.len() >= HEADER && self.bytes[0] == ECHO_REPLY[self.version];
        let identifier = u16::from_be_bytes([*self.bytes.get(4)?, *self.bytes.get(5)?]);
        answers.then_some(Endpoint {
            port: identifier,
            ..self.to
        })
    }
}

impl Socket {
    /// Makes it one that asks whether somebody is there. Such share identifiers, if they do not say otherwise.
    pub(in super::super) fn become_echo(&self) {
        let options = &mut self.lock().options;
        options.datagrams = Protocol::Echo;
        options.share_addresses();
    }

    /// Makes it one that sends and overhears all messages of ICMP.
    ///
    /// # Errors
    /// None that a new socket could meet.
    pub(in super::super) fn become_raw(&self) -> Result<(), Errno> {
        let mut inner = self.lock();
        inner.options.datagrams = Protocol::Raw;
        inner.options.share_addresses();
        drop(inner);
        self.bind_raw(None)
    }

    /// Whether it sends and overhears all messages of ICMP.
    pub(in super::super) fn is_raw(&self) -> bool {
        !self.is_local() && self.protocol() == Protocol::Raw
    }

    /// It takes what is for this address from now on; any if none is given. The number of ICMP is its port.
    ///
    /// # Errors
    /// EADDRNOTAVAIL.
    pub(in super::super) fn bind_raw(&self, address: Option<[u8; 16]>) -> Result<(), Errno> {
        let (any, number) = match self.family {
            Family::Inet => (mapped([0; 4]), ICMP),
            _ => (ANY, ICMPV6),
        };
        let place = Endpoint {
            address: address.unwrap_or(any),
            port: number.into(),
        };
        if !place.is_local() {
            return Err(Errno::EADDRNOTAVAIL);
        }
        self.network.leave(Protocol::Raw, place.port, self);
        self.bind_endpoint(place)
    }

    /// Whether its messages are of ICMP, by either kind of socket.
    pub(in super::super) fn speaks_icmp(&self) -> bool {
        !self.is_local() && matches!(self.protocol(), Protocol::Echo | Protocol::Raw)
    }

    /// Whether it asks only whether somebody is there.
    pub(in super::super) fn asks_for_echo(&self) -> bool {
        !self.is_local() && self.protocol() == Protocol::Echo
    }

    /// Asks; returns how many bytes were sent.
    ///
    /// # Errors
    /// As `ping_v4_sendmsg` and `ping_v6_sendmsg` of Linux, in their order: EINVAL for what is no question,
    /// EDESTADDRREQ, ENETUNREACH.
    pub(in super::super) fn ask_for_echo(
        &self,
        question: &[u8],
        given: Option<&Given>,
        header: Header,
        at: Timespec,
    ) -> Result<usize, Errno> {
        let version = usize::from(self.family == Family::Inet6);
        self.bind_any()?;
        if question.len() > LONGEST {
            return Err(Errno::EMSGSIZE);
        }
        match question {
            [kind, 0, ..]
                if question.len() >= HEADER
                    && [ECHO[version], EXTENDED[version]].contains(kind) => {}
            _ => return Err(Errno::EINVAL),
        }
        let target = self.echo_target(given)?;
        if let Some(error) = self.take_error() {
            return Err(error);
        }
        let mut message = self.message(question, target, header, at)?;
        let identifier = message.from.port.to_be_bytes();
        message.bytes[4..6].copy_from_slice(&identifier);
        seal(&mut message.bytes, version, [&message.from, &message.to]);
        self.exchange(&message);
        Ok(question.len())
    }

    /// Sends a message as it is, but for the sum of ICMPv6; returns how many bytes were sent.
    ///
    /// # Errors
    /// As `raw_sendmsg` and `rawv6_sendmsg` of Linux: EMSGSIZE, EDESTADDRREQ, EFAULT without type and code, ENETUNREACH.
    pub(in super::super) fn send_raw(
        &self,
        bytes: &[u8],
        given: Option<&Given>,
        header: Header,
        at: Timespec,
    ) -> Result<usize, Errno> {
        let version = usize::from(self.family == Family::Inet6);
        if bytes.len() > LONGEST {
            return Err(Errno::EMSGSIZE);
        }
        let target = self.echo_target(given)?;
        if let Some(error) = self.take_error() {
            return Err(error);
        }
        if bytes.len() < 2 + 2 * version {
            return Err(if version == 0 {
                Errno::EFAULT
            } else {
                Errno::EINVAL
            });
        }
        let mut message = self.message(bytes, target, header, at)?;
        if version == 1 {
            seal(&mut message.bytes, version, [&message.from, &message.to]);
        }
        self.exchange(&message);
        Ok(bytes.len())
    }

    /// Gives a message to who takes it, and then the node's answer, if it is a question that the node answers.
    fn exchange(&self, message: &Message) {
        self.pass(message);
        if let Some(answer) = message.answer() {
            self.pass(&answer);
        }
    }

    /// Where a message goes.
    fn echo_target(&self, given: Option<&Given>) -> Result<Endpoint, Errno> {
        let target = match given {
            Some(Given::Name(Name::Endpoint(target))) => *target,
            Some(Given::Unspecified) => return Err(Errno::EAFNOSUPPORT),
            _ => return Err(Errno::EDESTADDRREQ),
        };
        if target.is_v4() != (self.family == Family::Inet) && !target.is_any() {
            return Err(Errno::EINVAL);
        }
        match target.is_local() {
            true => Ok(target),
            false => Err(Errno::ENETUNREACH),
        }
    }

    /// A message of this socket.
    fn message(
        &self,
        bytes: &[u8],
        target: Endpoint,
        header: Header,
        at: Timespec,
    ) -> Result<Message, Errno> {
        let version = usize::from(self.family == Family::Inet6);
        let inner = self.lock();
        if inner.shut & SENDS_NOT != 0 {
            return Err(Errno::EPIPE);
        }
        let Some(Name::Endpoint(own)) = inner.local else {
            return Err(Errno::EINVAL);
        };
        let any = match version {
            0 => mapped([127, 0, 0, 1]),
            _ => LOOPBACK,
        };
        Ok(Message {
            bytes: bytes.to_vec(),
            version,
            from: Endpoint {
                address: if own.is_any() { any } else { own.address },
                port: own.port,
            },
            to: Endpoint {
                port: 0,
                ..target.definite()
            },
            packet: header.packet(&inner.options, target, version == 0),
            at,
        })
    }

    /// Gives a message to all raw sockets that take it, and an answer to one that asks.
    fn pass(&self, message: &Message) {
        let from = Endpoint {
            port: 0,
            ..message.from
        };
        let name = Name::Endpoint(from);
        let segment =
            |bytes| Segment::from_kernel(bytes, name.clone(), Some(message.packet), message.at);
        let place = Endpoint {
            port: [ICMP, ICMPV6][message.version].into(),
            ..message.to
        };
        for taker in self.network.at_port(Protocol::Raw, &place) {
            if taker.family == self.family && taker.overhears(message) {
                let mut bytes = Vec::new();
                if message.version == 0 {
                    bytes.extend(message.packet.before(&from, message.bytes.len()));
                }
                bytes.extend_from_slice(&message.bytes);
                taker.hear_echo(segment(bytes));
            }
        }
        // Who shares its identifier may get the answer in its place.
        let takes = |taker: &Socket| taker.family == self.family;
        if let Some(asker) = message.asker()
            && let Some(taker) = self.network.find(Protocol::Echo, &asker, takes)
        {
            taker.hear_echo(segment(message.bytes.clone()));
        }
    }

    /// Whether a raw socket takes a message: from the other side that it has, and of a type that it has not refused.
    fn overhears(&self, message: &Message) -> bool {
        let inner = self.lock();
        let remote = match &inner.remote {
            Some(Name::Endpoint(remote)) => remote.address == message.from.address,
            _ => true,
        };
        let kind = message.bytes.first().copied().unwrap_or(0);
        remote && !inner.options.refuses(kind)
    }

    fn hear_echo(&self, mut answer: Segment) {
        match self.taken_by_filter(answer.bytes(), &Name::Unnamed) {
            Some(taken) => answer.cut(taken),
            None => return,
        }
        if self.lock().shut & RECEIVES_NOT != 0 {
            return;
        }
        self.deliver(answer);
        self.readable.wake_for(POLLIN | POLLRDNORM);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(address: [u8; 16]) -> Endpoint {
        Endpoint { address, port: 0 }
    }

    #[test]
    fn sums_are_those_of_the_rfc() {
        let home = end(mapped([127, 0, 0, 1]));
        let mut bytes = [0, 0, 9, 9, 0x12, 0x34, 0, 1, b'a', b'b', b'c'];
        seal(&mut bytes, 0, [&home, &home]);
        // By hand: 0000 + 1234 + 0001 + 6162 + 6300 = d697, turned round 2968.
        assert_eq!(bytes[2..4], [0x29, 0x68]);
        assert_eq!(sum_of(&bytes, 0, [&home, &home]), 0);
        let home = end(LOOPBACK);
        let mut bytes = [129, 0, 0, 0, 0x12, 0x34, 0, 1];
        seal(&mut bytes, 1, [&home, &home]);
        // 8100 + 1234 + 0001, and of what stands before it 1 + 1 + 8 + 3a: 9379, turned round 6c86.
        assert_eq!(bytes[2..4], [0x6c, 0x86]);
        assert_eq!(sum_of(&bytes, 1, [&home, &home]), 0);
    }
}
