//! Sockets of ICMP and ICMPv6 that ask whether somebody is there (ping(8) without privileges).
//!
//! Law: a question is answered within the call that asks it, by the node itself, so what is sent has come back
//! before anybody can look. The identifier of a question is the port of its socket, whatever the user has written
//! there (`net/ipv4/ping.c` of Linux).
//!
//! Not here: raw sockets, and addresses of other machines.

use super::headers::Header;
use super::names::{Endpoint, Given, LOOPBACK, Name, mapped};
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
fn sum(pieces: &[&[u8]]) -> u16 {
    let words = pieces.iter().flat_map(|piece| piece.chunks(2));
    let mut sum: u32 = words
        .map(|word| u32::from(word[0]) << 8 | word.get(1).map_or(0, |low| u32::from(*low)))
        .fold(0, u32::wrapping_add);
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// The answer to a question.
fn answer(question: &[u8], identifier: u16, version: usize, ends: [&Endpoint; 2]) -> Vec<u8> {
    let mut bytes = question.to_vec();
    bytes[0] = ECHO_REPLY[version];
    bytes[2..4].fill(0);
    bytes[4..6].copy_from_slice(&identifier.to_be_bytes());
    let checked = match version {
        0 => sum(&[&bytes]),
        _ => {
            let length = (bytes.len() as u32).to_be_bytes();
            let next = u32::from(ICMPV6).to_be_bytes();
            sum(&[&ends[0].address, &ends[1].address, &length, &next, &bytes])
        }
    };
    bytes[2..4].copy_from_slice(&checked.to_be_bytes());
    bytes
}

impl Socket {
    /// Makes it one that asks whether somebody is there. Such share identifiers, if they do not say otherwise.
    pub(in super::super) fn become_echo(&self) {
        let options = &mut self.lock().options;
        options.datagrams = Protocol::Echo;
        options.share_addresses();
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
        let answered = match question {
            [kind, 0, ..] if question.len() >= HEADER && *kind == ECHO[version] => true,
            [kind, 0, ..] if question.len() >= HEADER && *kind == EXTENDED[version] => false,
            _ => return Err(Errno::EINVAL),
        };
        let target = match given {
            Some(Given::Name(Name::Endpoint(target))) => *target,
            Some(Given::Unspecified) => return Err(Errno::EAFNOSUPPORT),
            _ => return Err(Errno::EDESTADDRREQ),
        };
        if target.is_v4() != (version == 0) && !target.is_any() {
            return Err(Errno::EINVAL);
        }
        if !target.is_local() {
            return Err(Errno::ENETUNREACH);
        }
        if let Some(error) = self.take_error() {
            return Err(error);
        }
        let inner = self.lock();
        if inner.shut & SENDS_NOT != 0 {
            return Err(Errno::EPIPE);
        }
        let Some(Name::Endpoint(bound)) = inner.local else {
            return Err(Errno::EINVAL);
        };
        let packet = header.packet(&inner.options, target, version == 0);
        drop(inner);
        if !answered {
            return Ok(question.len());
        }
        let from = Endpoint {
            port: 0,
            ..target.definite()
        };
        let to = match (bound.is_any(), version) {
            (false, _) => bound.address,
            (true, 0) => mapped([127, 0, 0, 1]),
            (true, _) => LOOPBACK,
        };
        let to = Endpoint {
            address: to,
            port: bound.port,
        };
        let bytes = answer(question, bound.port, version, [&from, &to]);
        // Who shares its identifier may get the answer in its place.
        let takes = |taker: &Socket| taker.family == self.family;
        if let Some(taker) = self.network.find(Protocol::Echo, &to, takes) {
            let from = Name::Endpoint(from);
            taker.hear_echo(Segment::from_kernel(
                bytes,
                from,
                Some(packet.answered(to)),
                at,
            ));
        }
        Ok(question.len())
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
    fn an_answer_is_the_question_turned_round_with_its_sum() {
        let home = end(mapped([127, 0, 0, 1]));
        let question = [8, 0, 0xff, 0xff, 9, 9, 0, 1, b'a', b'b', b'c'];
        // Sum by hand: 0000 + 1234 + 0001 + 6162 + 6300 = d697, turned round 2968.
        assert_eq!(
            answer(&question, 0x1234, 0, [&home, &home]),
            [0, 0, 0x29, 0x68, 0x12, 0x34, 0, 1, b'a', b'b', b'c']
        );
        let home = end(LOOPBACK);
        let question = [128, 0, 0, 0, 0, 0, 0, 1];
        // 8100 + 1234 + 0001, and of what stands before it 1 + 1 + 8 + 3a: 9379, turned round 6c86.
        assert_eq!(
            answer(&question, 0x1234, 1, [&home, &home]),
            [129, 0, 0x6c, 0x86, 0x12, 0x34, 0, 1]
        );
    }
}
