//! What the header of a datagram says: how far it may go, its class of traffic, where it was sent to.
//!
//! Law: a message says it for itself (control messages), or its socket for all; a receiver is told what it has asked
//! for (ip(7), RFC 3542), in the order of Linux. Nothing is counted down: there is one hop.

use super::echo::{ICMP, sum};
use super::names::{Endpoint, Family, Name, mapped};
use super::options::Options;
use abi::Errno;
use alloc::vec::Vec;

const SOL_IP: u32 = 0;
const SOL_IPV6: u32 = 41;

const IP_TOS: u32 = 1;
const IP_TTL: u32 = 2;
const IP_PKTINFO: u32 = 8;
const IP_RECVTTL: u32 = 12;
const IP_RECVTOS: u32 = 13;
/// Asks for it and is it.
const IP_ORIGDSTADDR: u32 = 20;

const IPV6_2292PKTINFO: u32 = 2;
const IPV6_2292HOPLIMIT: u32 = 8;
const IPV6_FLOWINFO: u32 = 11;
const IPV6_UNICAST_HOPS: u32 = 16;
const IPV6_RECVPKTINFO: u32 = 49;
const IPV6_PKTINFO: u32 = 50;
const IPV6_RECVHOPLIMIT: u32 = 51;
const IPV6_HOPLIMIT: u32 = 52;
const IPV6_DONTFRAG: u32 = 62;
const IPV6_RECVTCLASS: u32 = 66;
const IPV6_TCLASS: u32 = 67;
/// Asks for it and is it.
const IPV6_ORIGDSTADDR: u32 = 74;

/// How far datagrams go if nobody says it.
const HOPS: u8 = 64;
/// The loopback's number among the interfaces.
const LOOPBACK_INDEX: u32 = 1;

/// What a message says of its own header.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(in super::super) struct Header {
    hops: Option<u8>,
    class: Option<u8>,
    /// The address it is to come from.
    source: Option<[u8; 16]>,
}

/// What the header of a datagram has said.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in super::super) struct Packet {
    /// It is one of version 4.
    v4: bool,
    hops: u8,
    class: u8,
    target: Endpoint,
}

/// A control message: level, type, contents.
pub(in super::super) type Control = (u32, u32, Vec<u8>);

/// The number in a control message, which is an `int`.
fn int(data: &[u8]) -> Result<i32, Errno> {
    let bytes = data.try_into().map_err(|_| Errno::EINVAL)?;
    Ok(i32::from_le_bytes(bytes))
}

/// A byte, or -1 for the socket's own.
fn byte(data: &[u8]) -> Result<Option<u8>, Errno> {
    match int(data)? {
        -1 => Ok(None),
        value => Ok(Some(u8::try_from(value).map_err(|_| Errno::EINVAL)?)),
    }
}

impl Header {
    /// Takes a control message that belongs to a datagram; those of other levels say nothing.
    ///
    /// # Errors
    /// EINVAL: not known, or of another length, or out of range; ENODEV: by an interface that is not there; ENETUNREACH.
    pub(in super::super) fn take(
        &mut self,
        (level, kind): (u32, u32),
        data: &[u8],
        v4: bool,
    ) -> Result<(), Errno> {
        match level {
            SOL_IP if v4 => self.take_v4(kind, data),
            SOL_IPV6 if !v4 => self.take_v6(kind, data),
            _ => Ok(()),
        }
    }

    fn take_v4(&mut self, kind: u32, data: &[u8]) -> Result<(), Errno> {
        match kind {
            IP_TTL => {
                let hops = u8::try_from(int(data)?).map_err(|_| Errno::EINVAL)?;
                if hops == 0 {
                    return Err(Errno::EINVAL);
                }
                self.hops = Some(hops);
            }
            IP_TOS => {
                self.class = Some(match data {
                    [class] => *class,
                    data => u8::try_from(int(data)?).map_err(|_| Errno::EINVAL)?,
                });
            }
            // struct in_pktinfo: interface, local address, address of the header.
            IP_PKTINFO if data.len() == 12 => {
                let source = mapped([data[4], data[5], data[6], data[7]]);
                self.comes_from(&data[..4], source, Errno::ENETUNREACH)?;
            }
            _ => return Err(Errno::EINVAL),
        }
        Ok(())
    }

    fn take_v6(&mut self, kind: u32, data: &[u8]) -> Result<(), Errno> {
        match kind {
            IPV6_HOPLIMIT | IPV6_2292HOPLIMIT => self.hops = byte(data)?,
            // Of one message -1 is no default, but all bits (`ip6_datagram_send_ctl` of Linux).
            IPV6_TCLASS => self.class = Some(byte(data)?.unwrap_or(u8::MAX)),
            // struct in6_pktinfo: address, interface.
            IPV6_PKTINFO | IPV6_2292PKTINFO if data.len() >= 20 => {
                let source = core::array::from_fn(|at| data[at]);
                self.comes_from(&data[16..20], source, Errno::EINVAL)?;
            }
            IPV6_DONTFRAG if matches!(int(data)?, 0 | 1) => {}
            IPV6_FLOWINFO if data.len() >= 4 => {}
            _ => return Err(Errno::EINVAL),
        }
        Ok(())
    }

    fn comes_from(
        &mut self,
        interface: &[u8],
        source: [u8; 16],
        elsewhere: Errno,
    ) -> Result<(), Errno> {
        let endpoint = Endpoint {
            address: source,
            port: 0,
        };
        if !matches!(int(interface)? as u32, 0 | LOOPBACK_INDEX) {
            return Err(Errno::ENODEV);
        }
        if !endpoint.is_local() {
            return Err(elsewhere);
        }
        self.source = (!endpoint.is_any()).then_some(source);
        Ok(())
    }

    /// Where the datagram comes from, if not from where its socket says.
    pub(super) fn source(&self, from: Name) -> Name {
        match (from, self.source) {
            (Name::Endpoint(from), Some(address)) => Name::Endpoint(Endpoint { address, ..from }),
            (from, _) => from,
        }
    }

    /// The header of a datagram that a socket with these options sends.
    pub(super) fn packet(&self, options: &Options, target: Endpoint, v4: bool) -> Packet {
        let (hops, class) = match v4 {
            true => ((SOL_IP, IP_TTL), (SOL_IP, IP_TOS)),
            false => ((SOL_IPV6, IPV6_UNICAST_HOPS), (SOL_IPV6, IPV6_TCLASS)),
        };
        let usual = |option| {
            options
                .number(option)
                .and_then(|value| u8::try_from(value).ok())
        };
        Packet {
            v4,
            hops: self.hops.or(usual(hops)).unwrap_or(HOPS),
            class: self.class.or(usual(class)).unwrap_or(0),
            target: target.definite(),
        }
    }
}

impl Packet {
    /// The header of version 4 in front of so many bytes of ICMP.
    pub(super) fn before(&self, from: &Endpoint, length: usize) -> [u8; 20] {
        const LENGTH: u8 = 0x45;
        let mut header = [0; 20];
        (header[0], header[1]) = (LENGTH, self.class);
        header[2..4].copy_from_slice(&((20 + length) as u16).to_be_bytes());
        (header[8], header[9]) = (self.hops, ICMP);
        header[12..16].copy_from_slice(&from.address[12..]);
        header[16..].copy_from_slice(&self.target.address[12..]);
        let sum = sum(&[&header]).to_be_bytes();
        header[10..12].copy_from_slice(&sum);
        header
    }

    /// What the answer to it says, which goes here: it is of the same class.
    pub(super) fn answered(self, to: Endpoint) -> Packet {
        Packet {
            hops: HOPS,
            target: to,
            ..self
        }
    }

    /// What is told of it to a socket with these options.
    pub(super) fn told(&self, options: &Options) -> Vec<Control> {
        let asks = |option| options.number(option).is_some_and(|value| value != 0);
        let interface = LOOPBACK_INDEX.to_le_bytes();
        let target = self.target.address;
        let mut told = Vec::new();
        let mut tell = |asked: (u32, u32), kind: u32, data: Vec<u8>| {
            if asks(asked) {
                told.push((asked.0, kind, data));
            }
        };
        let info = [&target[..], &interface].concat();
        tell((SOL_IPV6, IPV6_RECVPKTINFO), IPV6_PKTINFO, info.clone());
        let name = Name::Endpoint(self.target);
        let [hops, class] = [self.hops, self.class].map(|byte| i32::from(byte).to_le_bytes());
        if self.v4 {
            let info = [&interface, &target[12..], &target[12..]].concat();
            tell((SOL_IP, IP_PKTINFO), IP_PKTINFO, info);
            tell((SOL_IP, IP_RECVTTL), IP_TTL, hops.to_vec());
            tell((SOL_IP, IP_RECVTOS), IP_TOS, alloc::vec![self.class]);
            let name = name.to_bytes(Family::Inet);
            tell((SOL_IP, IP_ORIGDSTADDR), IP_ORIGDSTADDR, name);
        } else {
            tell((SOL_IPV6, IPV6_RECVHOPLIMIT), IPV6_HOPLIMIT, hops.to_vec());
            tell((SOL_IPV6, IPV6_RECVTCLASS), IPV6_TCLASS, class.to_vec());
            tell((SOL_IPV6, IPV6_2292PKTINFO), IPV6_2292PKTINFO, info);
            tell(
                (SOL_IPV6, IPV6_2292HOPLIMIT),
                IPV6_2292HOPLIMIT,
                hops.to_vec(),
            );
            let name = name.to_bytes(Family::Inet6);
            tell((SOL_IPV6, IPV6_ORIGDSTADDR), IPV6_ORIGDSTADDR, name);
        }
        told
    }
}
