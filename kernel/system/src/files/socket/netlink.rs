//! netlink(7): rtnetlink(7), as far as it tells which interfaces, addresses and routes there are: those of the
//! loopback; which families of generic netlink there are: its own; and devices that come and go: none.
//!
//! Law: the kernel is asked by sending to it, and its answers are in the inbox when the call is over. Nothing
//! can be changed, so that no group is ever told anything, and nobody else can be sent to.

use super::Socket;
use super::headers::Control;
use super::interfaces::{ARPHRD_LOOPBACK, LOOPBACK_INDEX, MTU, QUEUE};
use super::names::{Family, LOOPBACK, Name};
use super::options::{Options, PROTOCOL, SOL_SOCKET, TYPE};
use super::routes::{families, routes, rules, way};
use super::transfer::Segment;
use abi::Errno;
use abi::layout::{POLLIN, POLLRDNORM, Timespec};
use alloc::vec::Vec;

// `linux/netlink.h`, `linux/rtnetlink.h`.
const HEADER: usize = 16;
const ERROR: u16 = 2;
const DONE: u16 = 3;
const MULTI: u16 = 2;
const ACK: u16 = 4;
const DUMP: u16 = 0x300;
const NEWLINK: u16 = 16;
const GETLINK: u16 = 18;
const NEWADDR: u16 = 20;
const GETADDR: u16 = 22;
const NEWROUTE: u16 = 24;
const GETROUTE: u16 = 26;
const NEWRULE: u16 = 32;
const GETRULE: u16 = 34;
/// Bytes of `struct ifinfomsg`.
const LINK_HEADER: usize = 16;
/// `NLM_F_REQUEST`.
const REQUEST: u16 = 1;
/// Messages below this kind are not for anybody who answers (`NLMSG_MIN_TYPE`).
const KINDS_START: u16 = 16;
/// What is asked: `NETLINK_ROUTE`, which is 0, and these. What devices do (`NETLINK_KOBJECT_UEVENT`) is told to groups.
pub(in super::super) const UEVENT: i32 = 15;
pub(in super::super) const GENERIC: i32 = 16;
/// The family that tells of families, and its question.
const CONTROL: u16 = 16;
const GET_FAMILY: u8 = 3;
/// Messages from here on are of kinds that there are not.
const KINDS_END: u16 = 124;
/// Messages of one call at most that are answered.
const ASKED_MAX: usize = 64;

/// The level of its own options.
pub(super) const SOL_NETLINK: u32 = 270;
const ADD_MEMBERSHIP: u32 = 1;
const DROP_MEMBERSHIP: u32 = 2;
const PKTINFO: u32 = 3;
const BROADCAST_ERROR: u32 = 4;
const NO_ENOBUFS: u32 = 5;
const LISTEN_ALL_NSID: u32 = 8;
const LIST_MEMBERSHIPS: u32 = 9;
const CAP_ACK: u32 = 10;
const EXT_ACK: u32 = 11;
const GET_STRICT_CHK: u32 = 12;
/// Groups of rtnetlink there are (`RTNLGRP_MAX`).
const GROUPS: u32 = 36;
/// An answer that has not all of the question.
const CAPPED: u16 = 0x100;

/// Where the groups that a socket is in are kept, the first one in the lowest bit: numbers no option has.
fn words_of_groups() -> [(u32, u32); 2] {
    [0, 1].map(|word| (SOL_NETLINK, LIST_MEMBERSHIPS << 8 | word))
}

/// What comes with a message: the number of the group it was sent to, which is none.
pub(super) fn told(options: &Options) -> Option<Control> {
    let asks = options
        .number((SOL_NETLINK, PKTINFO))
        .is_some_and(|value| value != 0);
    asks.then(|| (SOL_NETLINK, PKTINFO, alloc::vec![0; 4]))
}

/// The header of a message.
#[derive(Clone, Copy)]
struct Header {
    kind: u16,
    flags: u16,
    number: u32,
}

/// What the kernel sends.
fn from_kernel(bytes: Vec<u8>) -> Segment {
    Segment::from_kernel(bytes, Name::Netlink(0), None, Timespec::from_ns(0))
}

/// Puts a field of `struct rtattr` behind others.
pub(super) fn attribute(message: &mut Vec<u8>, kind: u16, value: &[u8]) {
    message.extend_from_slice(&(4 + value.len() as u16).to_le_bytes());
    message.extend_from_slice(&kind.to_le_bytes());
    message.extend_from_slice(value);
    message.resize(message.len().next_multiple_of(4), 0);
}

/// The value of the first attribute of a kind.
pub(super) fn find(mut rest: &[u8], wanted: u16) -> Option<&[u8]> {
    // Above these bits an attribute says how it is to be read.
    const KIND_BITS: u16 = 0x3fff;
    while let [low, high, kind, flags, ..] = *rest {
        let length = usize::from(u16::from_le_bytes([low, high]));
        let value = rest.get(4..length)?;
        if u16::from_le_bytes([kind, flags]) & KIND_BITS == wanted {
            return Some(value);
        }
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or(&[]);
    }
    None
}

/// `struct ifinfomsg` of the loopback and what belongs to it.
fn link() -> Vec<u8> {
    // Up, loopback, running, and the lower layer is up.
    const FLAGS: u32 = 0x1_0049;
    let mut body = alloc::vec![0, 0];
    body.extend_from_slice(&ARPHRD_LOOPBACK.to_le_bytes());
    for word in [LOOPBACK_INDEX, FLAGS, 0] {
        body.extend_from_slice(&word.to_le_bytes());
    }
    attribute(&mut body, 3, b"lo\0");
    attribute(&mut body, 13, &QUEUE.to_le_bytes());
    attribute(&mut body, 16, &[0]);
    attribute(&mut body, 17, &[0]);
    attribute(&mut body, 4, &MTU.to_le_bytes());
    attribute(&mut body, 6, b"noqueue\0");
    // Group, promiscuity, queues for sending and receiving, how often the carrier came and went.
    for (kind, value) in [
        (27, 0_u32),
        (30, 0),
        (31, 1),
        (32, 1),
        (35, 0),
        (47, 0),
        (48, 0),
    ] {
        attribute(&mut body, kind, &value.to_le_bytes());
    }
    // There is a carrier.
    attribute(&mut body, 33, &[1]);
    attribute(&mut body, 1, &[0; 6]);
    attribute(&mut body, 2, &[0; 6]);
    // `struct rtnl_link_stats64` and its narrow form. Nothing is counted.
    attribute(&mut body, 23, &[0; 200]);
    attribute(&mut body, 7, &[0; 96]);
    body
}

/// `struct ifaddrmsg` of an address of the loopback.
fn address(family: Family) -> Vec<u8> {
    const PERMANENT: u8 = 0x80;
    const HOST: u8 = 254;
    let prefix = if family == Family::Inet { 8 } else { 128 };
    let mut body = alloc::vec![family.number() as u8, prefix, PERMANENT, HOST];
    body.extend_from_slice(&LOOPBACK_INDEX.to_le_bytes());
    if family == Family::Inet {
        attribute(&mut body, 1, &[127, 0, 0, 1]);
        attribute(&mut body, 2, &[127, 0, 0, 1]);
        attribute(&mut body, 3, b"lo\0");
    } else {
        attribute(&mut body, 1, &LOOPBACK);
    }
    // `struct ifa_cacheinfo`: preferred and valid for ever, since the boot; and the flags again.
    attribute(&mut body, 6, &[[0xff; 8], [0; 8]].concat());
    attribute(&mut body, 8, &u32::from(PERMANENT).to_le_bytes());
    body
}

/// Whether a `struct ifinfomsg` and its attributes ask for the loopback, by number or by name.
fn asks_for_loopback(body: &[u8]) -> Result<(), Errno> {
    const IFNAME: u16 = 3;
    const ALTERNATIVE: u16 = 53;
    let index = body.get(4..8).and_then(|word| word.try_into().ok());
    let attributes = body.get(LINK_HEADER..).unwrap_or(&[]);
    let name = find(attributes, IFNAME).or_else(|| find(attributes, ALTERNATIVE));
    match (index.map_or(0, u32::from_le_bytes), name) {
        (LOOPBACK_INDEX, _) | (0, Some(b"lo\0" | b"lo")) => Ok(()),
        (0, None) => Err(Errno::EINVAL),
        _ => Err(Errno::ENODEV),
    }
}

/// The only family of generic netlink, as it tells of itself (`ctrl_fill_info` of Linux).
fn control_family() -> Vec<u8> {
    const NEW_FAMILY: u8 = 1;
    const VERSION: u8 = 2;
    /// It can be asked for one and for all, and says what it takes.
    const CAN: u32 = 0xe;
    let mut body = alloc::vec![NEW_FAMILY, VERSION, 0, 0];
    attribute(&mut body, 2, b"nlctrl\0");
    attribute(&mut body, 1, &CONTROL.to_le_bytes());
    for (kind, value) in [(3, u32::from(VERSION)), (4, 0), (5, 10)] {
        attribute(&mut body, kind, &value.to_le_bytes());
    }
    let mut nest = |kind: u16, of: &[(u16, &[u8])]| {
        let (mut inner, mut list) = (Vec::new(), Vec::new());
        for (kind, value) in of {
            attribute(&mut inner, *kind, value);
        }
        attribute(&mut list, 1, &inner);
        attribute(&mut body, kind, &list);
    };
    nest(
        6,
        &[
            (1, &u32::from(GET_FAMILY).to_le_bytes()),
            (2, &CAN.to_le_bytes()),
        ],
    );
    nest(
        7,
        &[(2, &u32::from(CONTROL).to_le_bytes()), (1, b"notify\0")],
    );
    body
}

/// The answer of generic netlink.
fn generic(asked: Header, body: &[u8]) -> Result<(u16, Vec<Vec<u8>>), Errno> {
    if asked.kind != CONTROL {
        return Err(Errno::ENOENT);
    }
    if body.first() != Some(&GET_FAMILY) {
        return Err(Errno::EOPNOTSUPP);
    }
    let attributes = body.get(4..).unwrap_or(&[]);
    let known = match (find(attributes, 1), find(attributes, 2)) {
        _ if asked.flags & DUMP != 0 => true,
        (Some(number), _) => number == CONTROL.to_le_bytes(),
        (_, Some(name)) => name.split(|byte| *byte == 0).next() == Some(b"nlctrl"),
        _ => return Err(Errno::EINVAL),
    };
    match known {
        true => Ok((CONTROL, alloc::vec![control_family()])),
        false => Err(Errno::ENOENT),
    }
}

/// The bodies of the answer to a question of a user, and of which kind they are.
fn answer(asked: Header, body: &[u8], user: u32) -> Result<(u16, Vec<Vec<u8>>), Errno> {
    let family = body.first().copied().unwrap_or(0);
    let dumps = asked.flags & DUMP != 0;
    match asked.kind {
        GETLINK => {
            if !dumps {
                asks_for_loopback(body)?;
            }
            Ok((NEWLINK, alloc::vec![link()]))
        }
        GETROUTE if dumps => Ok((NEWROUTE, routes(family))),
        GETROUTE => Ok((NEWROUTE, alloc::vec![way(body, user)?])),
        GETRULE if dumps => Ok((NEWRULE, rules(family))),
        GETADDR => Ok((NEWADDR, families(family).map(address).collect())),
        // Whatever else may be asked for, there is none.
        GETLINK..KINDS_END if asked.kind % 4 == 2 && dumps => Ok((DONE, Vec::new())),
        GETLINK..KINDS_END if asked.kind % 4 == 2 => Err(Errno::EOPNOTSUPP),
        NEWLINK..KINDS_END => Err(Errno::EPERM),
        _ => Err(Errno::EOPNOTSUPP),
    }
}

impl Socket {
    /// Whether it is one to the kernel.
    pub(in super::super) fn asks_kernel(&self) -> bool {
        self.family == Family::Netlink
    }

    /// It asks by this protocol, and was made as one of this type, which is a word only.
    pub(in super::super) fn asks_by(&self, protocol: i32, kind: i32) {
        let options = &mut self.lock().options;
        options.keep((SOL_SOCKET, PROTOCOL), protocol);
        options.keep((SOL_SOCKET, TYPE), kind);
    }

    /// The protocol that it asks by.
    pub(super) fn asked_by(&self) -> i32 {
        let protocol = self.lock().options.number((SOL_SOCKET, PROTOCOL));
        protocol.unwrap_or(0)
    }

    /// It has this address, which answers are addressed to, and is in these groups.
    pub(in super::super) fn bind_netlink(&self, address: u32, groups: u32) {
        let mut inner = self.lock();
        inner.local = Some(Name::Netlink(address));
        if groups != 0 {
            inner.options.keep(words_of_groups()[0], groups as i32);
        }
    }

    /// Asks the kernel what the messages say, by a process of a user; returns how many bytes that were.
    pub(in super::super) fn ask_kernel(&self, bytes: &[u8], (pid, user): (u32, u32)) -> usize {
        let unnamed = self.lock().local.is_none();
        if unnamed {
            self.bind_netlink(pid, 0);
        }
        let mut rest = bytes;
        for _ in 0..ASKED_MAX {
            let word = |at: usize| {
                let word = rest.get(at..at + 4).and_then(|word| word.try_into().ok());
                word.map(u32::from_le_bytes)
            };
            let (Some(length), Some(kind), Some(number)) = (word(0), word(4), word(8)) else {
                break;
            };
            let Some(body) = rest.get(HEADER..length as usize) else {
                break;
            };
            let asked = Header {
                kind: kind as u16,
                flags: (kind >> 16) as u16,
                number,
            };
            let question = &rest[..length as usize];
            if asked.flags & REQUEST != 0 && asked.kind >= KINDS_START {
                let told = match self.asked_by() {
                    GENERIC => generic(asked, body),
                    UEVENT => Err(Errno::EPERM),
                    _ => answer(asked, body, user),
                };
                self.tell(asked, question, told);
            } else if asked.flags & ACK != 0 {
                let plain = Header {
                    flags: ACK,
                    ..asked
                };
                self.tell(plain, question, Ok((DONE, Vec::new())));
            }
            rest = rest
                .get((length as usize).next_multiple_of(4)..)
                .unwrap_or(&[]);
        }
        self.wake_readers(POLLIN | POLLRDNORM);
        bytes.len()
    }

    /// Sets one of its own options. Whoever is in a group hears nothing: nothing ever changes here.
    ///
    /// # Errors
    /// EINVAL: a group there is not; ENOPROTOOPT: an option there is not.
    pub(super) fn set_netlink(&self, name: u32, value: &[u8]) -> Result<(), Errno> {
        let value = value
            .first_chunk::<4>()
            .map_or(0, |word| i32::from_le_bytes(*word));
        let options = &mut self.lock().options;
        match name {
            ADD_MEMBERSHIP | DROP_MEMBERSHIP => {
                let group = value as u32;
                if !(1..=GROUPS).contains(&group) {
                    return Err(Errno::EINVAL);
                }
                let word = words_of_groups()[(group - 1) as usize / 32];
                let bit = 1 << ((group - 1) % 32);
                let groups = options.number(word).unwrap_or(0);
                let joins = name == ADD_MEMBERSHIP;
                options.keep(word, if joins { groups | bit } else { groups & !bit });
            }
            PKTINFO | BROADCAST_ERROR | NO_ENOBUFS | LISTEN_ALL_NSID | CAP_ACK | EXT_ACK
            | GET_STRICT_CHK => options.keep((SOL_NETLINK, name), i32::from(value != 0)),
            _ => return Err(Errno::ENOPROTOOPT),
        }
        Ok(())
    }

    /// What one of its own options says.
    ///
    /// # Errors
    /// ENOPROTOOPT: an option there is not.
    pub(super) fn netlink_option(&self, name: u32) -> Result<Vec<u8>, Errno> {
        let options = &self.lock().options;
        match name {
            LIST_MEMBERSHIPS => {
                let words = words_of_groups().map(|word| options.number(word));
                // Who has never been in a group has no room for them.
                if words == [None; 2] {
                    return Ok(Vec::new());
                }
                let bytes = words.map(|word| word.unwrap_or(0).to_le_bytes());
                Ok(bytes.as_flattened().to_vec())
            }
            PKTINFO | BROADCAST_ERROR | NO_ENOBUFS | LISTEN_ALL_NSID | CAP_ACK | EXT_ACK
            | GET_STRICT_CHK => {
                let kept = options.number((SOL_NETLINK, name)).unwrap_or(0);
                Ok(kept.to_le_bytes().to_vec())
            }
            _ => Err(Errno::ENOPROTOOPT),
        }
    }

    /// Puts an answer into the inbox.
    fn tell(&self, asked: Header, question: &[u8], told: Result<(u16, Vec<Vec<u8>>), Errno>) {
        let dumps = asked.flags & DUMP != 0;
        let caps = self.lock().options.number((SOL_NETLINK, CAP_ACK));
        let caps = caps.is_some_and(|value| value != 0);
        // A refusal has all of the question, unless that is not wanted.
        let result = |errno: i32| match errno != 0 && !caps {
            true => (0, [&errno.to_le_bytes()[..], question].concat()),
            false => (
                CAPPED,
                [&errno.to_le_bytes()[..], &question[..HEADER]].concat(),
            ),
        };
        match told {
            Err(errno) => {
                let (flags, body) = result(-errno.0);
                self.put(asked, &[(ERROR, flags, body)]);
            }
            Ok((kind, bodies)) => {
                let multi = if dumps { MULTI } else { 0 };
                let bodies = bodies.into_iter().map(|body| (kind, multi, body));
                self.put(asked, &bodies.collect::<Vec<_>>());
                if dumps {
                    self.put(asked, &[(DONE, MULTI, 0_u32.to_le_bytes().to_vec())]);
                } else if asked.flags & ACK != 0 {
                    let (flags, body) = result(0);
                    self.put(asked, &[(ERROR, flags, body)]);
                }
            }
        }
    }

    /// One datagram that is no message of netlink(7), such as mq_notify(3) sends.
    pub(in super::super) fn tell_bytes(&self, bytes: &[u8]) {
        self.deliver(from_kernel(bytes.to_vec()));
        self.wake_readers(POLLIN | POLLRDNORM);
    }

    /// One datagram of messages.
    fn put(&self, asked: Header, messages: &[(u16, u16, Vec<u8>)]) {
        let mut bytes = Vec::new();
        let local = match self.lock().local {
            Some(Name::Netlink(address)) => address,
            _ => 0,
        };
        for (kind, flags, body) in messages {
            bytes.extend_from_slice(&((HEADER + body.len()) as u32).to_le_bytes());
            bytes.extend_from_slice(&kind.to_le_bytes());
            bytes.extend_from_slice(&flags.to_le_bytes());
            bytes.extend_from_slice(&asked.number.to_le_bytes());
            bytes.extend_from_slice(&local.to_le_bytes());
            bytes.extend_from_slice(body);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        self.deliver(from_kernel(bytes));
    }
}
