//! The loopback of a node: which sockets have which ports, and the abstract names.
//!
//! Law: a port or name is taken as long as its socket lives. Who looks for a socket finds the one that
//! is bound to just that address before one that is bound to all.

use super::garbage::Flights;
use super::names::{Endpoint, Name};
use super::transfer::Segment;
use super::{Link, Socket};
use crate::files::access::Who;
use crate::files::objects::Alarms;
use abi::Errno;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::format;
use alloc::string::String;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use spin::Mutex;

/// Ports that are given to those who want any (`net.ipv4.ip_local_port_range`).
const EPHEMERAL: core::ops::RangeInclusive<u16> = 32_768..=60_999;

/// Ports of which protocol.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Protocol {
    Tcp,
    Udp,
    UdpLite,
    /// ICMP and ICMPv6: identifiers of questions are its ports.
    Echo,
    /// All messages of ICMP; its number is the port.
    Raw,
}

/// Who may have a port beside others.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Shares {
    /// `SO_REUSEADDR`.
    pub(super) address: bool,
    /// `SO_REUSEPORT`.
    pub(super) port: bool,
    /// Addresses of version 6 only.
    pub(super) only_v6: bool,
}

struct Bound {
    endpoint: Endpoint,
    shares: Shares,
    socket: Weak<Socket>,
}

impl Bound {
    /// Whether an address of version 4 may mean this one.
    fn takes(&self, endpoint: &Endpoint) -> bool {
        if self.endpoint.is_any() {
            let mixed = !self.endpoint.is_v4() && !self.shares.only_v6;
            self.endpoint.is_v4() == endpoint.is_v4() || mixed
        } else {
            self.endpoint.address == endpoint.address
        }
    }
}

#[derive(Default)]
struct Tables {
    ports: BTreeMap<(Protocol, u16), Vec<Bound>>,
    names: BTreeMap<Vec<u8>, Weak<Socket>>,
    next_port: u16,
    next_name: u32,
}

/// The loopback of a node.
#[derive(Default)]
pub(in super::super) struct Network {
    tables: Mutex<Tables>,
    /// Descriptors that were sent and not received.
    pub(super) flights: Flights,
    /// What sockets that are gone have held.
    graves: Mutex<Graves>,
    pub(super) alarms: Arc<Alarms>,
    askers: Mutex<Askers>,
}

/// Groups whose members may ask whether somebody is there: from this one to that (`net.ipv4.ping_group_range`).
struct Askers(u32, u32);

impl Default for Askers {
    fn default() -> Askers {
        Askers(0, i32::MAX as u32)
    }
}

/// Sockets may hold sockets that hold sockets: they end one after the other, not one in the other.
#[derive(Default)]
struct Graves {
    waiting: Vec<(Link, VecDeque<Segment>)>,
    busy: bool,
}

impl Tables {
    fn conflicts(&self, protocol: Protocol, endpoint: &Endpoint, shares: Shares) -> bool {
        let Some(held) = self.ports.get(&(protocol, endpoint.port)) else {
            return false;
        };
        let new = Bound {
            endpoint: *endpoint,
            shares,
            socket: Weak::new(),
        };
        held.iter().any(|bound| {
            let overlaps = bound.takes(endpoint) || new.takes(&bound.endpoint);
            if !overlaps || bound.socket.strong_count() == 0 {
                return false;
            }
            let listens = || {
                let socket = bound.socket.upgrade();
                protocol == Protocol::Tcp && socket.is_some_and(|socket| socket.listens())
            };
            let shared = (bound.shares.port && shares.port)
                || (bound.shares.address && shares.address && !listens());
            !shared
        })
    }

    fn free_port(&mut self, protocol: Protocol, mut endpoint: Endpoint) -> Result<u16, Errno> {
        for _ in EPHEMERAL {
            if !EPHEMERAL.contains(&self.next_port) {
                self.next_port = *EPHEMERAL.start();
            }
            endpoint.port = self.next_port;
            self.next_port += 1;
            if !self.conflicts(protocol, &endpoint, Shares::default()) {
                return Ok(endpoint.port);
            }
        }
        Err(Errno::EADDRINUSE)
    }
}

impl Network {
    pub(in super::super) fn new(alarms: &Arc<Alarms>) -> Network {
        Network {
            alarms: alarms.clone(),
            ..Network::default()
        }
    }

    /// Whether somebody may have a socket that asks whether somebody is there.
    pub(in super::super) fn may_ask(&self, who: &Who) -> bool {
        let askers = self.askers.lock();
        who.is_in_one_of(askers.0..=askers.1)
    }

    /// Which groups' members may, as /proc/sys tells it.
    pub(in super::super) fn askers(&self) -> String {
        let askers = self.askers.lock();
        format!("{}\t{}\n", askers.0, askers.1)
    }

    /// A write to that setting: who writes one number leaves the other, and a range that ends before it begins is
    /// nobody's.
    pub(in super::super) fn set_askers(&self, text: &str) -> Result<(), Errno> {
        let mut askers = self.askers.lock();
        let mut numbers = text.split_ascii_whitespace().map(str::parse);
        let mut next = |now| match numbers.next() {
            None => Ok(now),
            // All ones is no group.
            Some(Ok(u32::MAX) | Err(_)) => Err(Errno::EINVAL),
            Some(Ok(number)) => Ok(number),
        };
        let (first, last) = (next(askers.0)?, next(askers.1)?);
        if text.is_empty() || numbers.next().is_some() {
            return Err(Errno::EINVAL);
        }
        *askers = if first <= last {
            Askers(first, last)
        } else {
            Askers(1, 0)
        };
        Ok(())
    }

    /// Lets go of what a socket has held.
    pub(super) fn bury(&self, link: Link, inbox: VecDeque<Segment>) {
        let mut graves = self.graves.lock();
        graves.waiting.push((link, inbox));
        if core::mem::replace(&mut graves.busy, true) {
            return;
        }
        while let Some(next) = graves.waiting.pop() {
            drop(graves);
            drop(next);
            graves = self.graves.lock();
        }
        graves.busy = false;
    }

    /// Takes a port; any free one if the port is 0. Returns what was taken.
    pub(super) fn bind(
        &self,
        protocol: Protocol,
        mut endpoint: Endpoint,
        shares: Shares,
        socket: &Arc<Socket>,
    ) -> Result<Endpoint, Errno> {
        let mut tables = self.tables.lock();
        if endpoint.port == 0 {
            endpoint.port = tables.free_port(protocol, endpoint)?;
        } else if tables.conflicts(protocol, &endpoint, shares) {
            return Err(Errno::EADDRINUSE);
        }
        let held = tables.ports.entry((protocol, endpoint.port)).or_default();
        held.retain(|bound| bound.socket.strong_count() > 0);
        held.push(Bound {
            endpoint,
            shares,
            socket: Arc::downgrade(socket),
        });
        Ok(endpoint)
    }

    /// Whether somebody else listens where this socket is bound.
    pub(super) fn is_taken(&self, endpoint: &Endpoint, socket: &Socket, shares: Shares) -> bool {
        let tables = self.tables.lock();
        let held = tables.ports.get(&(Protocol::Tcp, endpoint.port));
        held.is_some_and(|held| {
            held.iter().any(|bound| {
                let other = bound.socket.upgrade();
                other.is_some_and(|other| {
                    !core::ptr::eq(&*other, socket)
                        && other.listens()
                        && bound.takes(endpoint)
                        && !(bound.shares.port && shares.port)
                })
            })
        })
    }

    /// Gives back what sockets that are gone have held.
    pub(super) fn release(&self, protocol: Protocol, port: u16) {
        let mut tables = self.tables.lock();
        if let Some(held) = tables.ports.get_mut(&(protocol, port)) {
            held.retain(|bound| bound.socket.strong_count() > 0);
            if held.is_empty() {
                tables.ports.remove(&(protocol, port));
            }
        }
    }

    /// A socket that lives gives a port back.
    pub(super) fn leave(&self, protocol: Protocol, port: u16, socket: &Socket) {
        let mut tables = self.tables.lock();
        if let Some(held) = tables.ports.get_mut(&(protocol, port)) {
            held.retain(|bound| !core::ptr::eq(bound.socket.as_ptr(), socket));
            if held.is_empty() {
                tables.ports.remove(&(protocol, port));
            }
        }
    }

    /// The socket that a packet to this place is for: the last one bound there that `takes` it, one of this very
    /// address before one of any. Thousands may share a place, so no more of them are looked at than have to be.
    pub(super) fn find(
        &self,
        protocol: Protocol,
        to: &Endpoint,
        takes: impl Fn(&Socket) -> bool,
    ) -> Option<Arc<Socket>> {
        let tables = self.tables.lock();
        let held = tables.ports.get(&(protocol, to.port))?;
        let takers = |exact: bool| {
            held.iter()
                .rev()
                .filter(move |bound| bound.takes(to) && bound.endpoint.is_any() != exact)
                .filter_map(|bound| bound.socket.upgrade())
        };
        takers(true)
            .chain(takers(false))
            .find(|socket| takes(socket))
    }

    /// All sockets that are bound to the port of a group, and to the group or to any address.
    pub(super) fn at_port(&self, protocol: Protocol, group: &Endpoint) -> Vec<Arc<Socket>> {
        let tables = self.tables.lock();
        let held = tables.ports.get(&(protocol, group.port));
        let bound = held
            .into_iter()
            .flatten()
            .filter(|bound| bound.takes(group));
        bound.filter_map(|bound| bound.socket.upgrade()).collect()
    }

    /// Takes an abstract name.
    pub(super) fn take_name(&self, name: &[u8], socket: &Arc<Socket>) -> Result<(), Errno> {
        let mut tables = self.tables.lock();
        let taken = tables.names.get(name);
        if taken.is_some_and(|held| held.strong_count() > 0) {
            return Err(Errno::EADDRINUSE);
        }
        tables.names.insert(name.to_vec(), Arc::downgrade(socket));
        Ok(())
    }

    /// Takes an abstract name that nobody has.
    pub(super) fn any_name(&self, socket: &Arc<Socket>) -> Result<Name, Errno> {
        for _ in 0..=0xf_ffff_u32 {
            let mut tables = self.tables.lock();
            tables.next_name = (tables.next_name + 1) & 0xf_ffff;
            let name = alloc::format!("{:05x}", tables.next_name).into_bytes();
            drop(tables);
            if self.take_name(&name, socket).is_ok() {
                return Ok(Name::Abstract(name));
            }
        }
        Err(Errno::ENOSPC)
    }

    /// Forgets an abstract name whose socket is gone.
    pub(super) fn release_name(&self, name: &[u8]) {
        let mut tables = self.tables.lock();
        if tables
            .names
            .get(name)
            .is_some_and(|held| held.strong_count() == 0)
        {
            tables.names.remove(name);
        }
    }

    /// The socket with an abstract name.
    pub(in super::super) fn named(&self, name: &[u8]) -> Option<Arc<Socket>> {
        self.tables.lock().names.get(name)?.upgrade()
    }
}

#[cfg(test)]
mod tests {
    use super::super::names::mapped;
    use super::super::{Credentials, Family, Kind};
    use super::*;
    use crate::wait::Wakes;
    use core::cell::Cell;

    #[test]
    fn of_many_at_one_place_only_those_are_looked_at_that_do_not_take_it() {
        let (network, wakes) = (Arc::new(Network::default()), Wakes::default());
        let to = Endpoint {
            address: mapped([127, 0, 0, 1]),
            port: 9000,
        };
        let shares = Shares {
            address: true,
            ..Shares::default()
        };
        let sockets: Vec<_> = (0..100)
            .map(|_| {
                let owner = Credentials::default();
                let socket = Socket::new(Family::Inet, Kind::Datagram, owner, &network, &wakes);
                let bound = network.bind(Protocol::Udp, to, shares, &socket);
                assert_eq!(bound, Ok(to));
                socket
            })
            .collect();
        let asked = Cell::new(0);
        let found = network.find(Protocol::Udp, &to, |_| {
            asked.set(asked.get() + 1);
            asked.get() == 3
        });
        assert_eq!(asked.get(), 3);
        assert!(found.is_some_and(|found| Arc::ptr_eq(&found, &sockets[97])));
        assert!(network.find(Protocol::Udp, &to, |_| false).is_none());
        let alone = network.bind(Protocol::Udp, to, Shares::default(), &sockets[0]);
        assert_eq!(alone, Err(Errno::EADDRINUSE));
    }
}
