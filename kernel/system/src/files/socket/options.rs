//! setsockopt(2) and getsockopt(2).
//!
//! Law: what has an effect here has it; what only tunes a real network is kept and shown again; what is
//! not known is refused.

use super::echo::{ICMP, ICMPV6};
use super::filter::Filter;
use super::interfaces::LOOPBACK;
use super::netlink::SOL_NETLINK;
use super::network::Protocol;
use super::stamps::Stamps;
use super::{Family, Kind, Link, Socket, failures, groups};
use abi::Errno;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::ops::RangeInclusive;

pub(super) const SOL_SOCKET: u32 = 1;
pub(super) const SOL_IP: u32 = 0;
const SOL_ICMPV6: u32 = 58;
const SOL_RAW: u32 = 255;
const IP_OPTIONS: u32 = 4;
/// Asks how long a packet may be on the way to the other side: on the loopback, as long as one can be.
const IP_MTU: u32 = 14;
/// Bytes of a header of IP at most, without its first 20.
const BEHIND_HEADER_MAX: usize = 40;
pub(super) const SOL_TCP: u32 = 6;
pub(super) const SOL_UDP: u32 = 17;
pub(super) const SOL_IPV6: u32 = 41;
/// The length of datagrams that what is sent at once is cut into: an option, and a control message of the same numbers.
pub(in super::super) const UDP_SEGMENT: (u32, u32) = (SOL_UDP, 103);
/// What is to speak above TCP (`TCP_ULP`).
const ABOVE: u32 = 31;
/// `TCP_MAXSEG`, and the smallest one (`TCP_MIN_MSS`); 0 is the usual.
const MAXSEG: (u32, u32) = (SOL_TCP, 2);
const SEGMENT_MIN: i32 = 88;
const LOOPBACK_SEGMENT: i32 = 32_768;
const SOL_UDPLITE: u32 = 136;
/// How much of a message UDP-Lite's sum covers, as sent and at least as received (RFC 3828).
const SEND_COVERAGE: u32 = 10;
const RECEIVE_COVERAGE: u32 = 11;
/// Bytes of the header, which is covered always.
const COVERAGE_MIN: i32 = 8;

pub(super) const REUSEADDR: u32 = 2;
pub(super) const TYPE: u32 = 3;
/// Whether it may send to all of a network.
pub(super) const BROADCAST: u32 = 6;
const SOCK_RAW: i32 = 3;
const ERROR: u32 = 4;
const SNDBUF: u32 = 7;
const RCVBUF: u32 = 8;
const LINGER: u32 = 13;
pub(super) const REUSEPORT: u32 = 15;
pub(super) const PASSCRED: u32 = 16;
const PEERCRED: u32 = 17;
const RCVLOWAT: u32 = 18;
const SNDLOWAT: u32 = 19;
const RCVTIMEO: u32 = 20;
const SNDTIMEO: u32 = 21;
/// Whether labels of a security module come with messages: without one there are none.
const PASSSEC: u32 = 34;
const ACCEPTCONN: u32 = 30;
const SNDBUFFORCE: u32 = 32;
const RCVBUFFORCE: u32 = 33;
pub(super) const PROTOCOL: u32 = 38;
/// Whether it is told how many messages were lost for want of room.
pub(super) const RXQ_OVFL: u32 = 40;
/// Where looking ahead (`MSG_PEEK`) begins, and goes on.
const PEEK_OFF: u32 = 42;
const DOMAIN: u32 = 39;
const RCVTIMEO_NEW: u32 = 66;
const SNDTIMEO_NEW: u32 = 67;
/// Numbers and flags of `SOL_SOCKET` that are kept: debug, dontroute, broadcast, keepalive, oobinline,
/// no check, priority, mark, rxq_ovfl, busy poll, incoming cpu, zerocopy and the like.
const KEPT: [u32; 16] = [
    1, REUSEADDR, 5, 6, 9, 10, 11, 12, 36, RXQ_OVFL, 43, 46, 49, 60, 61, REUSEPORT,
];
/// `net.core.wmem_max` and `rmem_max`, and what a socket begins with.
const BUFFER_MAX: u32 = 212_992;
const SEND_MIN: u32 = 4608;
const RECEIVE_MIN: u32 = 2304;
const V6ONLY: u32 = 26;
const BINDTODEVICE: u32 = 25;
const PEERNAME: u32 = 28;
/// Seconds for which whoever waits is to look at the card; there is none.
const BUSY_POLL: u32 = 46;
/// What its messages take of memory (`SO_MEMINFO`), in words.
const MEMINFO: u32 = 55;
const BUF_LOCK: u32 = 72;
/// Sets a filter, and asks for it.
const FILTER: u32 = 26;
const DETACH_FILTER: u32 = 27;
const LOCK_FILTER: u32 = 44;
/// `SO_BUF_LOCK`: the size of a buffer was chosen by the user.
const SEND_LOCKED: u32 = 1;
const RECEIVE_LOCKED: u32 = 2;
/// Longest name of a device, with its NUL.
const IFNAMSIZ: usize = 16;
/// Options of addresses by which a socket may be bound to one that is not of this node.
const FREEBIND: u32 = 15;
const TRANSPARENT: u32 = 19;
const V6_TRANSPARENT: u32 = 75;
const V6_FREEBIND: u32 = 78;

/// Which of the limits of time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in super::super) enum Limit {
    Receiving,
    Sending,
}

#[derive(Clone)]
pub(super) struct Options {
    flags: BTreeMap<(u32, u32), i32>,
    send: u32,
    receive: u32,
    /// ns; 0 is none.
    limits: [u64; 2],
    linger: [i32; 2],
    /// `SEND_LOCKED`, `RECEIVE_LOCKED`.
    locked: u32,
    /// It takes only what comes over the loopback's device, as everything does.
    on_device: bool,
    /// What of messages is received.
    pub(super) filter: Option<Filter>,
    filter_locked: bool,
    pub(super) only_v6: bool,
    pub(super) stamps: Stamps,
    /// Types of ICMP that are not wanted, a bit each.
    refused: [u32; 8],
    /// What its datagrams are, if it is of the internet.
    pub(super) datagrams: Protocol,
    /// What IP is asked to put behind its header (`IP_OPTIONS`).
    behind_header: Vec<u8>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            flags: BTreeMap::new(),
            send: BUFFER_MAX,
            receive: BUFFER_MAX,
            limits: [0; 2],
            linger: [0; 2],
            locked: 0,
            on_device: false,
            filter: None,
            filter_locked: false,
            only_v6: false,
            stamps: Stamps::default(),
            refused: [0; 8],
            datagrams: Protocol::Udp,
            behind_header: Vec::new(),
        }
    }
}

impl Options {
    /// A flag of `SOL_SOCKET`.
    pub(super) fn is_set(&self, name: u32) -> bool {
        self.flags
            .get(&(SOL_SOCKET, name))
            .is_some_and(|value| *value != 0)
    }

    /// Whether messages of ICMP of this type are not wanted.
    pub(super) fn refuses(&self, kind: u8) -> bool {
        self.refused[usize::from(kind >> 5)] >> (kind & 31) & 1 != 0
    }

    /// Sets `SO_REUSEADDR`.
    pub(super) fn share_addresses(&mut self) {
        self.flags.insert((SOL_SOCKET, REUSEADDR), 1);
    }

    /// A number that is kept.
    pub(super) fn flag(&self, option: (u32, u32)) -> Option<i32> {
        self.flags.get(&option).copied()
    }

    /// Whether it may have an address that is not of this node.
    pub(super) fn binds_freely(&self) -> bool {
        let free = [
            (SOL_IP, FREEBIND),
            (SOL_IP, TRANSPARENT),
            (SOL_IPV6, V6_TRANSPARENT),
        ];
        free.iter()
            .any(|option| self.flags.get(option).is_some_and(|value| *value != 0))
    }

    /// A number that is kept, by level and name.
    pub(super) fn number(&self, option: (u32, u32)) -> Option<i32> {
        self.flags.get(&option).copied()
    }

    /// Keeps a number.
    pub(super) fn keep(&mut self, option: (u32, u32), value: i32) {
        self.flags.insert(option, value);
    }

    pub(super) fn send_bytes(&self) -> usize {
        self.send as usize
    }

    pub(super) fn receive_bytes(&self) -> usize {
        self.receive as usize
    }

    /// Whether closing breaks the connection (`SO_LINGER` with a time of 0).
    pub(super) fn resets(&self) -> bool {
        self.linger[0] != 0 && self.linger[1] == 0
    }

    /// How many bytes looking ahead leaves out.
    pub(super) fn peek_offset(&self) -> usize {
        let offset = self.flags.get(&(SOL_SOCKET, PEEK_OFF)).copied();
        usize::try_from(offset.unwrap_or(-1)).unwrap_or(0)
    }

    /// So many bytes were looked at; less than none: have left the inbox.
    pub(super) fn shift_peek_offset(&mut self, bytes: i64) {
        let offset = self.flags.get_mut(&(SOL_SOCKET, PEEK_OFF));
        if let Some(offset) = offset.filter(|offset| **offset >= 0) {
            let shifted = i64::from(*offset).saturating_add(bytes);
            *offset = i32::try_from(shifted.max(0)).unwrap_or(i32::MAX);
        }
    }

    /// What the connections of a listener begin with.
    pub(super) fn inherited(&self) -> Options {
        self.clone()
    }
}

/// An option that another one is a second name of.
fn same_option(level: u32, name: u32) -> (u32, u32) {
    match (level, name) {
        (SOL_IPV6, V6_FREEBIND) => (SOL_IP, FREEBIND),
        other => other,
    }
}

/// What numbers an option that is kept takes.
fn allowed(level: u32, name: u32) -> RangeInclusive<i32> {
    match (level, name) {
        (SOL_IP, 2) => -1..=255,
        (SOL_IP, 10) => 0..=5,
        (SOL_IP, 33) | (SOL_IPV6, 16 | 18 | 67) => -1..=255,
        (SOL_TCP, 2) => 0..=32_767,
        UDP_SEGMENT => 0..=u16::MAX as i32,
        (SOL_TCP, 4 | 5) => 1..=32_767,
        (SOL_TCP, 6 | 7) => 1..=127,
        _ => i32::MIN..=i32::MAX,
    }
}

/// What an option that is kept says before it is set.
fn beginning(level: u32, name: u32) -> i32 {
    match (level, name) {
        (SOL_IP, 2) | (SOL_IPV6, 16) => 64,
        (SOL_IP, 10 | 33 | 34 | 49) | (SOL_IPV6, 18 | 19 | 23 | 29 | 70) => 1,
        (SOL_TCP, 2) => 536,
        (SOL_TCP, 4) => 7200,
        (SOL_TCP, 5) => 75,
        (SOL_TCP, 6) => 9,
        (SOL_TCP, 7) => 6,
        (SOL_TCP, 8) => 60,
        (SOL_TCP, 12) => 1,
        _ => 0,
    }
}

/// Options of IP as they are kept: each is a byte, or has its length in the second; all together are words.
fn behind_header(value: &[u8]) -> Result<Vec<u8>, Errno> {
    const END: u8 = 0;
    const NOTHING: u8 = 1;
    if value.len() > BEHIND_HEADER_MAX {
        return Err(Errno::EINVAL);
    }
    let mut rest = value;
    while let [kind, behind @ ..] = rest {
        rest = match (*kind, behind) {
            (END, _) => break,
            (NOTHING, behind) => behind,
            (_, [length, ..]) if *length >= 2 => {
                rest.get(usize::from(*length)..).ok_or(Errno::EINVAL)?
            }
            _ => return Err(Errno::EINVAL),
        };
    }
    let mut kept = value.to_vec();
    kept.resize(value.len().next_multiple_of(4), END);
    Ok(kept)
}

fn int(value: &[u8]) -> Result<i32, Errno> {
    let bytes = value.first_chunk::<4>().ok_or(Errno::EINVAL)?;
    Ok(i32::from_le_bytes(*bytes))
}

/// A `struct timeval` in ns.
fn span(value: &[u8]) -> Result<u64, Errno> {
    let bytes = value.first_chunk::<16>().ok_or(Errno::EINVAL)?;
    let word = |at: usize| i64::from_le_bytes(core::array::from_fn(|byte| bytes[at + byte]));
    let (seconds, micros) = (word(0), word(8));
    if !(0..1_000_000).contains(&micros) {
        return Err(Errno::EDOM);
    }
    if seconds < 0 {
        // As Linux: a negative time is over at once.
        return Ok(1);
    }
    Ok((seconds as u64)
        .saturating_mul(1_000_000_000)
        .saturating_add(micros as u64 * 1000))
}

fn timeval(ns: u64) -> Vec<u8> {
    [ns / 1_000_000_000, ns % 1_000_000_000 / 1000]
        .iter()
        .flat_map(|word| word.to_le_bytes())
        .collect()
}

impl Socket {
    /// How long a call waits at most, ns; `None` for ever.
    pub(in super::super) fn limit(&self, which: Limit) -> Option<u64> {
        let limits = self.lock().options.limits;
        let ns = match which {
            Limit::Receiving => limits[0],
            Limit::Sending => limits[1],
        };
        (ns != 0).then_some(ns)
    }

    /// setsockopt(2).
    pub(in super::super) fn set_option(
        &self,
        level: u32,
        name: u32,
        value: &[u8],
    ) -> Result<(), Errno> {
        match level {
            SOL_SOCKET => self.set_general(name, value),
            _ if self.is_local() => Err(Errno::EOPNOTSUPP),
            SOL_NETLINK if self.asks_kernel() => self.set_netlink(name, value),
            _ if self.asks_kernel() => Err(Errno::ENOPROTOOPT),
            SOL_IPV6 if self.family == Family::Inet6 && name == V6ONLY => {
                let only = int(value)? != 0;
                let mut inner = self.lock();
                if inner.local.is_some() {
                    return Err(Errno::EINVAL);
                }
                inner.options.only_v6 = only;
                Ok(())
            }
            SOL_IP if name == IP_OPTIONS => {
                self.lock().options.behind_header = behind_header(value)?;
                Ok(())
            }
            // The name of an algorithm of congestion: there is no congestion here.
            SOL_TCP if self.kind == Kind::Stream && name == 13 => {
                let end = value.iter().position(|byte| *byte == 0);
                match &value[..end.unwrap_or(value.len())] {
                    b"cubic" | b"reno" => Ok(()),
                    _ => Err(Errno::ENOENT),
                }
            }
            // Nothing can.
            SOL_TCP if self.kind == Kind::Stream && name == ABOVE => Err(Errno::ENOENT),
            SOL_UDP | SOL_UDPLITE if matches!(name, SEND_COVERAGE | RECEIVE_COVERAGE) => {
                let covered = match int(value)? {
                    0 => 0,
                    covered => covered.clamp(COVERAGE_MIN, u16::MAX.into()),
                };
                let options = &mut self.lock().options;
                if options.datagrams != Protocol::UdpLite {
                    return Err(Errno::ENOPROTOOPT);
                }
                options.flags.insert((SOL_UDPLITE, name), covered);
                Ok(())
            }
            _ if self.filters_types(level, name) => {
                let options = &mut self.lock().options;
                for (word, bytes) in options.refused.iter_mut().zip(value.as_chunks().0) {
                    *word = u32::from_le_bytes(*bytes);
                }
                Ok(())
            }
            _ if groups::concerns(level, name) => self.set_group(level, name, value),
            _ if self.knows(level, name) => {
                if failures::concerns(level, name) && value.iter().all(|byte| *byte == 0) {
                    self.forget_failures();
                }
                // One switch under two names.
                let (level, name) = same_option(level, name);
                let value = match value {
                    [byte] if level != SOL_TCP => i32::from(*byte),
                    value => int(value)?,
                };
                let too_small = (level, name) == MAXSEG && (1..SEGMENT_MIN).contains(&value);
                if !allowed(level, name).contains(&value) || too_small {
                    return Err(Errno::EINVAL);
                }
                self.lock().options.flags.insert((level, name), value);
                Ok(())
            }
            _ => Err(Errno::ENOPROTOOPT),
        }
    }

    /// The length of the datagrams that what is sent at once is cut into; 0 if it is not.
    pub(in super::super) fn segment(&self) -> usize {
        let bytes = self.lock().options.number(UDP_SEGMENT).unwrap_or(0);
        usize::try_from(bytes).unwrap_or(0)
    }

    /// Whether this says which types of ICMP a raw socket takes (`ICMP_FILTER`, `ICMPV6_FILTER`).
    fn filters_types(&self, level: u32, name: u32) -> bool {
        let of_family = match self.family {
            Family::Inet => SOL_RAW,
            _ => SOL_ICMPV6,
        };
        self.is_raw() && (level, name) == (of_family, 1)
    }

    /// Options of the internet that are kept and shown again.
    fn knows(&self, level: u32, name: u32) -> bool {
        match level {
            // TOS, TTL, and those of multicast and of information on packets.
            SOL_IP => matches!(name, 1..=13 | 15 | 19..=24 | 32..=34 | 49 | 50),
            SOL_TCP => {
                self.kind == Kind::Stream && matches!(name, 1..=12 | 14 | 16..=28 | 30 | 36 | 37)
            }
            SOL_UDP => self.protocol() == Protocol::Udp && matches!(name, 1 | 100..=104),
            SOL_UDPLITE => {
                matches!(name, SEND_COVERAGE | RECEIVE_COVERAGE)
                    && self.protocol() == Protocol::UdpLite
            }
            SOL_IPV6 => self.family == Family::Inet6 && matches!(name, 1..=80),
            // `IPV6_CHECKSUM`, which ICMPv6 has in its second word whatever is said.
            SOL_RAW => self.family == Family::Inet6 && self.is_raw() && name == 7,
            _ => false,
        }
    }

    /// Whether options of this level can be asked for at all.
    pub(in super::super) fn check_level(&self, level: u32) -> Result<(), Errno> {
        match level {
            SOL_SOCKET => Ok(()),
            _ if self.is_local() => Err(Errno::EOPNOTSUPP),
            SOL_NETLINK if self.asks_kernel() => Ok(()),
            _ if self.asks_kernel() => Err(Errno::ENOPROTOOPT),
            SOL_IP => Ok(()),
            SOL_TCP if self.kind == Kind::Stream => Ok(()),
            SOL_UDP | SOL_UDPLITE if self.kind == Kind::Datagram && !self.speaks_icmp() => Ok(()),
            SOL_IPV6 if self.family == Family::Inet6 => Ok(()),
            SOL_RAW | SOL_ICMPV6 if self.is_raw() => Ok(()),
            _ if self.family == Family::Inet => Err(Errno::EOPNOTSUPP),
            _ => Err(Errno::ENOPROTOOPT),
        }
    }

    /// `SO_BINDTODEVICE`: a name, or nothing for any device.
    fn set_device(&self, value: &[u8]) -> Result<(), Errno> {
        let value = &value[..value.len().min(IFNAMSIZ - 1)];
        let end = value.iter().position(|byte| *byte == 0);
        let on_device = match &value[..end.unwrap_or(value.len())] {
            b"" => false,
            name if name == LOOPBACK => true,
            _ => return Err(Errno::ENODEV),
        };
        self.lock().options.on_device = on_device;
        Ok(())
    }

    /// Puts a filter in the place of another, or takes it away.
    fn set_filter(&self, filter: Option<Filter>) -> Result<(), Errno> {
        let mut inner = self.lock();
        let options = &mut inner.options;
        if options.filter_locked {
            return Err(Errno::EPERM);
        }
        let old = core::mem::replace(&mut options.filter, filter);
        match (&options.filter, old) {
            (None, None) => Err(Errno::ENOENT),
            _ => Ok(()),
        }
    }

    fn set_general(&self, name: u32, value: &[u8]) -> Result<(), Errno> {
        match name {
            BINDTODEVICE => return self.set_device(value),
            FILTER => return self.set_filter(Some(Filter::parse(value)?)),
            DETACH_FILTER => return self.set_filter(None),
            _ => {}
        }
        if matches!(name, RCVTIMEO | RCVTIMEO_NEW | SNDTIMEO | SNDTIMEO_NEW) {
            let ns = span(value)?;
            let which = usize::from(matches!(name, SNDTIMEO | SNDTIMEO_NEW));
            self.lock().options.limits[which] = ns;
            return Ok(());
        }
        let number = int(value)?;
        let mut inner = self.lock();
        let options = &mut inner.options;
        match name {
            SNDBUF | SNDBUFFORCE => {
                options.send = (number as u32)
                    .min(BUFFER_MAX)
                    .saturating_mul(2)
                    .max(SEND_MIN);
                options.locked |= SEND_LOCKED;
            }
            RCVBUF | RCVBUFFORCE => {
                let bytes = (number as u32).min(BUFFER_MAX).saturating_mul(2);
                options.receive = bytes.max(RECEIVE_MIN);
                options.locked |= RECEIVE_LOCKED;
            }
            LINGER => {
                let time = value.get(4..).map_or(Err(Errno::EINVAL), int)?;
                options.linger = [number, time];
            }
            LOCK_FILTER if options.filter_locked && number == 0 => return Err(Errno::EPERM),
            LOCK_FILTER => options.filter_locked = number != 0,
            BUF_LOCK => {
                if number as u32 & !(SEND_LOCKED | RECEIVE_LOCKED) != 0 {
                    return Err(Errno::EINVAL);
                }
                options.locked = number as u32;
            }
            RCVLOWAT => {
                let least = if number < 0 { i32::MAX } else { number.max(1) };
                options.flags.insert((SOL_SOCKET, RCVLOWAT), least);
            }
            PASSCRED | PASSSEC if !self.is_local() => return Err(Errno::EOPNOTSUPP),
            PASSCRED | PASSSEC => {
                options
                    .flags
                    .insert((SOL_SOCKET, name), i32::from(number != 0));
            }
            BUSY_POLL if number < 0 => return Err(Errno::EINVAL),
            // Priorities, marks and offsets are numbers, the others switches.
            12 | 36 | 46 | PEEK_OFF => {
                options.flags.insert((SOL_SOCKET, name), number);
            }
            _ if Stamps::concern(name) => options.stamps.set(name, number)?,
            _ if KEPT.contains(&name) => {
                options
                    .flags
                    .insert((SOL_SOCKET, name), i32::from(number != 0));
            }
            TYPE | ERROR | PEERCRED | ACCEPTCONN | PROTOCOL | DOMAIN | SNDLOWAT => {
                return Err(Errno::ENOPROTOOPT);
            }
            _ => return Err(Errno::ENOPROTOOPT),
        }
        Ok(())
    }

    /// getsockopt(2): the value, which the caller cuts.
    pub(in super::super) fn option(&self, level: u32, name: u32) -> Result<Vec<u8>, Errno> {
        let number = |value: i32| Ok(value.to_le_bytes().to_vec());
        match level {
            SOL_SOCKET => self.general(name),
            _ if self.is_local() => Err(Errno::EOPNOTSUPP),
            SOL_NETLINK if self.asks_kernel() => self.netlink_option(name),
            _ if self.asks_kernel() => Err(Errno::ENOPROTOOPT),
            SOL_IPV6 if self.family == Family::Inet6 && name == V6ONLY => {
                number(i32::from(self.lock().options.only_v6))
            }
            SOL_IP if name == IP_OPTIONS => Ok(self.lock().options.behind_header.clone()),
            SOL_TCP if self.kind == Kind::Stream && name == 13 => {
                let mut name = b"cubic".to_vec();
                name.resize(16, 0);
                Ok(name)
            }
            _ if self.filters_types(level, name) => {
                let words = if level == SOL_RAW { 1 } else { 8 };
                let refused = self.lock().options.refused;
                Ok(refused[..words]
                    .iter()
                    .flat_map(|word| word.to_le_bytes())
                    .collect())
            }
            SOL_IP if name == IP_MTU => match self.remote_name() {
                Ok(_) => number(u16::MAX.into()),
                Err(_) => Err(Errno::ENOTCONN),
            },
            // TCP_INFO: the state and the sizes, and nothing measured.
            SOL_TCP if self.kind == Kind::Stream && name == 11 => {
                let mut info = alloc::vec![0; 232];
                info[0] = self.tcp_state();
                let segment = self.lock().options.number(MAXSEG).filter(|set| *set > 0);
                let segment = segment.unwrap_or(LOOPBACK_SEGMENT);
                // What is sent and received at once, what fits into a packet, and what was announced.
                let words = [
                    (16, segment),
                    (20, segment),
                    (60, u16::MAX.into()),
                    (84, segment),
                ];
                for (at, word) in words {
                    info[at..at + 4].copy_from_slice(&i32::to_le_bytes(word));
                }
                Ok(info)
            }
            // What fits into one packet of the loopback, of a connection that was not told otherwise.
            SOL_TCP
                if name == 2
                    && self.is_connected()
                    && self.lock().options.flag((SOL_TCP, 2)).is_none() =>
            {
                number(LOOPBACK_SEGMENT)
            }
            _ if self.knows(level, name) => {
                let (level, name) = same_option(level, name);
                let kept = self.lock().options.flags.get(&(level, name)).copied();
                // A number of hops that says «as usual».
                let kept = kept.filter(|kept| *kept != -1 || allowed(level, name).start() != &-1);
                number(kept.unwrap_or(beginning(level, name)))
            }
            _ => Err(Errno::ENOPROTOOPT),
        }
    }

    fn general(&self, name: u32) -> Result<Vec<u8>, Errno> {
        let number = |value: i32| Ok(value.to_le_bytes().to_vec());
        if name == ERROR {
            return number(self.take_error().map_or(0, |error| error.0));
        }
        if name == PEERNAME {
            return Ok(self.remote_name()?.to_bytes(self.family));
        }
        let inner = self.lock();
        let options = &inner.options;
        match name {
            TYPE if options.datagrams == Protocol::Raw => number(SOCK_RAW),
            TYPE => number(
                options
                    .number((SOL_SOCKET, TYPE))
                    .unwrap_or(self.kind.number() as i32),
            ),
            DOMAIN => number(i32::from(self.family.number())),
            PROTOCOL => number(match (self.is_local(), self.kind, options.datagrams) {
                (true, ..) => 0,
                _ if self.family == Family::Netlink => {
                    options.number((SOL_SOCKET, PROTOCOL)).unwrap_or(0)
                }
                (_, Kind::Datagram, Protocol::UdpLite) => SOL_UDPLITE as i32,
                (_, Kind::Datagram, Protocol::Echo | Protocol::Raw)
                    if self.family == Family::Inet =>
                {
                    ICMP.into()
                }
                (_, Kind::Datagram, Protocol::Echo | Protocol::Raw) => ICMPV6.into(),
                (_, Kind::Datagram, _) => SOL_UDP as i32,
                _ => SOL_TCP as i32,
            }),
            ACCEPTCONN => number(i32::from(matches!(inner.link, Link::Listens { .. }))),
            SNDBUF => number(options.send as i32),
            RCVBUF => number(options.receive as i32),
            RCVTIMEO | RCVTIMEO_NEW => Ok(timeval(options.limits[0])),
            SNDTIMEO | SNDTIMEO_NEW => Ok(timeval(options.limits[1])),
            LINGER => Ok(options
                .linger
                .iter()
                .flat_map(|word| word.to_le_bytes())
                .collect()),
            PEERCRED => {
                let peer = inner.peer_owner.unwrap_or(super::Credentials {
                    pid: 0,
                    uid: u32::MAX,
                    gid: u32::MAX,
                });
                Ok([peer.pid, peer.uid, peer.gid]
                    .iter()
                    .flat_map(|word| word.to_le_bytes())
                    .collect())
            }
            SNDLOWAT => number(1),
            // Nothing is under way, and nothing is set aside.
            MEMINFO => {
                let (held, lost) = (inner.bytes as u32, inner.lost);
                let words = [held, options.receive, 0, options.send, 0, 0, 0, 0, lost];
                Ok(words.iter().flat_map(|word| word.to_le_bytes()).collect())
            }
            LOCK_FILTER => number(i32::from(options.filter_locked)),
            FILTER => Ok(options.filter.as_ref().map_or(Vec::new(), Filter::to_bytes)),
            BUF_LOCK => number(options.locked as i32),
            BINDTODEVICE if options.on_device => Ok([LOOPBACK, b"\0"].concat()),
            BINDTODEVICE => Ok(Vec::new()),
            RCVLOWAT | PASSCRED | PASSSEC | PEEK_OFF => {
                let default = match name {
                    RCVLOWAT => 1,
                    PEEK_OFF => -1,
                    _ => 0,
                };
                let kept = options.flags.get(&(SOL_SOCKET, name));
                number(kept.copied().unwrap_or(default))
            }
            _ if Stamps::concern(name) => number(options.stamps.value(name)),
            _ if KEPT.contains(&name) => {
                number(options.flags.get(&(SOL_SOCKET, name)).copied().unwrap_or(0))
            }
            _ => Err(Errno::ENOPROTOOPT),
        }
    }
}
