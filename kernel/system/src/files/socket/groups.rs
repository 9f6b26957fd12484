//! Groups of multicast, on the loopback.
//!
//! Law: the loopback is the one way there is, so a group that nobody gives a device for is there. A message to a
//! group goes to every socket that is bound to its port and has joined it, each a copy of its own, and to
//! nobody it is an error. Memberships are a socket's own and end with it.
//!
//! Formats: ip(7), ipv6(7); `struct group_req` and `struct group_source_req` of RFC 3678. Not here: routers and hops.

use super::headers::Header;
use super::names::{Endpoint, Family, Given, LOOPBACK, Name, mapped};
use super::options::{SOL_IP, SOL_IPV6};
use super::transfer::{Credentials, Message};
use super::{Kind, Socket, Waiting};
use crate::wait::Stop;
use abi::Errno;
use abi::layout::Timespec;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// Most groups of a socket (`net.ipv4.igmp_max_memberships`).
const MEMBERSHIPS_MAX: usize = 20;
/// Most senders that are named of a group (`net.ipv4.igmp_max_msf`).
const SOURCES_MAX: usize = 10;
/// The number of the loopback's device.
const DEVICE: u32 = 1;
/// `IP_MULTICAST_LOOP`, `IPV6_MULTICAST_LOOP`: whether the own node gets what is sent.
const LOOP: [(u32, u32); 2] = [(SOL_IP, 34), (SOL_IPV6, 19)];

/// A socket is in a group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Membership {
    group: [u8; 16],
    /// Whether those senders are the only ones that are heard, or the only ones that are not.
    only: Only,
    senders: Vec<[u8; 16]>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Only {
    These,
    Others,
}

/// What is asked for a group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Wish {
    Join,
    Leave,
    JoinSender([u8; 16]),
    LeaveSender([u8; 16]),
    Block([u8; 16]),
    Unblock([u8; 16]),
}

/// An option about groups: the group, and what is asked.
struct Asked {
    group: [u8; 16],
    wish: Wish,
}

/// Whether this is an option about groups.
pub(super) fn concerns(level: u32, name: u32) -> bool {
    match level {
        SOL_IP => matches!(name, 35..=40 | 42..=47),
        SOL_IPV6 => matches!(name, 20 | 21 | 42..=47),
        _ => false,
    }
}

fn is_group(address: &[u8; 16]) -> bool {
    let endpoint = Endpoint {
        address: *address,
        port: 0,
    };
    endpoint.is_group()
}

impl Asked {
    /// # Errors
    /// `EINVAL`: too short, or no group. `ENODEV`: a device that is not there.
    fn parse(level: u32, name: u32, value: &[u8]) -> Result<Asked, Errno> {
        let v4 = |at: usize| -> Result<[u8; 4], Errno> {
            let bytes = value.get(at..).and_then(|rest| rest.first_chunk::<4>());
            bytes.copied().ok_or(Errno::EINVAL)
        };
        let word = |at: usize| v4(at).map(u32::from_le_bytes);
        let (group, wish) = match (level, name) {
            (SOL_IP, 35 | 36) => {
                let group = mapped(v4(0)?);
                let address = v4(4)?;
                check_device(word(8).unwrap_or(0), address)?;
                (group, if name == 35 { Wish::Join } else { Wish::Leave })
            }
            (SOL_IP, 37..=40) => {
                let (group, sender) = (mapped(v4(0)?), mapped(v4(8)?));
                check_device(0, v4(4)?)?;
                let wish = match name {
                    37 => Wish::Unblock(sender),
                    38 => Wish::Block(sender),
                    39 => Wish::JoinSender(sender),
                    _ => Wish::LeaveSender(sender),
                };
                (group, wish)
            }
            (SOL_IPV6, 20 | 21) => {
                let group = *value.first_chunk::<16>().ok_or(Errno::EINVAL)?;
                check_device(word(16)?, [0; 4])?;
                (group, if name == 20 { Wish::Join } else { Wish::Leave })
            }
            _ => {
                check_device(word(0)?, [0; 4])?;
                let of = |at: usize| address_at(value, at, level);
                let sender = || of(136);
                let wish = match name {
                    42 => Wish::Join,
                    45 => Wish::Leave,
                    43 => Wish::Block(sender()?),
                    44 => Wish::Unblock(sender()?),
                    46 => Wish::JoinSender(sender()?),
                    _ => Wish::LeaveSender(sender()?),
                };
                (of(8)?, wish)
            }
        };
        if !is_group(&group) {
            return Err(Errno::EINVAL);
        }
        Ok(Asked { group, wish })
    }
}

/// The address in a `struct sockaddr_storage` of 128 bytes in a request.
fn address_at(value: &[u8], at: usize, level: u32) -> Result<[u8; 16], Errno> {
    let family = if level == SOL_IP {
        Family::Inet
    } else {
        Family::Inet6
    };
    let storage = value.get(at..at + 128).ok_or(Errno::EINVAL)?;
    match Given::parse(storage, family)? {
        Given::Name(Name::Endpoint(endpoint)) => Ok(endpoint.address),
        _ => Err(Errno::EADDRNOTAVAIL),
    }
}

/// A device by its number or an address of its own; neither is the one there is.
fn check_device(number: u32, address: [u8; 4]) -> Result<(), Errno> {
    let here = address == [0; 4] || address[0] == 127;
    match number {
        0 if here => Ok(()),
        DEVICE => Ok(()),
        _ => Err(Errno::ENODEV),
    }
}

impl Membership {
    fn hears(&self, sender: &[u8; 16]) -> bool {
        self.senders.contains(sender) == (self.only == Only::These)
    }

    fn name(&mut self, sender: [u8; 16]) -> Result<(), Errno> {
        if self.senders.contains(&sender) {
            return Err(Errno::EADDRNOTAVAIL);
        }
        if self.senders.len() >= SOURCES_MAX {
            return Err(Errno::ENOBUFS);
        }
        self.senders.push(sender);
        Ok(())
    }

    fn forget(&mut self, sender: [u8; 16]) -> Result<(), Errno> {
        let at = self.senders.iter().position(|named| *named == sender);
        self.senders.swap_remove(at.ok_or(Errno::EADDRNOTAVAIL)?);
        Ok(())
    }
}

/// Changes the groups of a socket.
fn change(groups: &mut Vec<Membership>, asked: &Asked) -> Result<(), Errno> {
    let at = groups.iter().position(|held| held.group == asked.group);
    let mut join = |only, senders| {
        if groups.len() >= MEMBERSHIPS_MAX {
            return Err(Errno::ENOBUFS);
        }
        groups.push(Membership {
            group: asked.group,
            only,
            senders,
        });
        Ok(())
    };
    match (asked.wish, at) {
        (Wish::Join, None) => join(Only::Others, Vec::new()),
        (Wish::Join, Some(_)) => Err(Errno::EADDRINUSE),
        (Wish::JoinSender(sender), None) => join(Only::These, alloc::vec![sender]),
        (Wish::Leave, Some(at)) => {
            groups.swap_remove(at);
            Ok(())
        }
        (Wish::JoinSender(sender), Some(at)) if groups[at].only == Only::These => {
            groups[at].name(sender)
        }
        (Wish::LeaveSender(sender), Some(at)) if groups[at].only == Only::These => {
            groups[at].forget(sender)?;
            if groups[at].senders.is_empty() {
                groups.swap_remove(at);
            }
            Ok(())
        }
        (Wish::Block(sender), Some(at)) if groups[at].only == Only::Others => {
            groups[at].name(sender)
        }
        (Wish::Unblock(sender), Some(at)) if groups[at].only == Only::Others => {
            groups[at].forget(sender)
        }
        (Wish::Leave, None) => Err(Errno::EADDRNOTAVAIL),
        _ => Err(Errno::EINVAL),
    }
}

impl Socket {
    /// setsockopt(2) of an option that [`concerns`] groups.
    pub(super) fn set_group(&self, level: u32, name: u32, value: &[u8]) -> Result<(), Errno> {
        if self.kind == Kind::Stream {
            return Err(Errno::EPROTO);
        }
        let asked = Asked::parse(level, name, value)?;
        change(&mut self.lock().groups, &asked)
    }

    /// Sends a message to all members of a group.
    ///
    /// # Errors
    /// As sendto(2).
    pub(in super::super) fn send_to_group(
        &self,
        to: &Endpoint,
        (bytes, at): (&[u8], Timespec),
        (sender, header): (Credentials, Header),
        waiting: Waiting,
    ) -> Result<usize, Stop> {
        if to.port == 0 {
            return Err(Errno::EINVAL.into());
        }
        self.bind_any()?;
        self.may_send(true, waiting)?;
        for member in self.members(to) {
            let message = Message {
                bytes,
                files: Vec::new(),
                sender,
                to: None,
                urgent: false,
                more: false,
                header,
                target: Some(*to),
                at,
            };
            self.send_message(&member, message, waiting)?;
        }
        Ok(bytes.len())
    }

    /// Who gets a message to a group, from this socket.
    fn members(&self, to: &Endpoint) -> Vec<Arc<Socket>> {
        let heard_here = LOOP.map(|option| self.lock().options.flag(option).unwrap_or(1) != 0);
        if !heard_here[usize::from(!to.is_v4())] {
            return Vec::new();
        }
        let own = self.lock().local.clone();
        let Some(Name::Endpoint(mut from)) = own else {
            return Vec::new();
        };
        if from.is_any() || from.is_group() {
            from.address = if to.is_v4() {
                mapped([127, 0, 0, 1])
            } else {
                LOOPBACK
            };
        }
        let mut members = self.network.at_port(self.protocol(), to);
        members.retain(|socket| {
            let inner = socket.lock();
            let remote = inner.remote.as_ref();
            remote.is_none_or(|remote| *remote == Name::Endpoint(from))
                && inner
                    .groups
                    .iter()
                    .any(|held| held.group == to.address && held.hears(&from.address))
        });
        members
    }
}

#[cfg(test)]
mod tests {
    use super::super::network::{Network, Shares};
    use super::super::transfer::Wanted;
    use super::*;
    use crate::wait::Wakes;

    const GROUP: [u8; 4] = [239, 255, 0, 1];
    const NO_WAITING: Waiting = Waiting {
        patience: crate::files::pipe::Patience::Never,
    };

    fn socket(network: &Arc<Network>, wakes: &Wakes, port: u16) -> Arc<Socket> {
        let owner = Credentials::default();
        let socket = Socket::new(Family::Inet, Kind::Datagram, owner, network, wakes);
        let any = Endpoint {
            address: mapped([0; 4]),
            port,
        };
        let shares = Shares {
            address: true,
            ..Shares::default()
        };
        let bound = network.bind(super::super::Protocol::Udp, any, shares, &socket);
        socket.lock().local = Some(Name::Endpoint(bound.expect("the port is shared")));
        socket
    }

    fn received(socket: &Socket) -> usize {
        let wanted = Wanted {
            most: 10,
            peeks: false,
        };
        let one = || socket.receive(wanted, NO_WAITING);
        core::iter::from_fn(|| one().ok()).count()
    }

    /// `struct ip_mreq_source`, whose first 8 bytes are a `struct ip_mreq` where the device is any.
    fn request(sender: [u8; 4]) -> Vec<u8> {
        [GROUP, [0; 4], sender].concat()
    }

    #[test]
    fn a_message_to_a_group_goes_to_each_member_and_to_nobody_else() {
        let (network, wakes) = (Arc::new(Network::default()), Wakes::default());
        let all = [9000, 9000, 9000, 9001].map(|port| socket(&network, &wakes, port));
        let sender = &all[3];
        let to = Endpoint {
            address: mapped(GROUP),
            port: 9000,
        };
        let send = || {
            let own = (Credentials::default(), Header::default());
            sender.send_to_group(&to, (&b"x"[..], Timespec::from_ns(0)), own, NO_WAITING)
        };
        assert_eq!(send().ok(), Some(1));
        for member in [&all[0], &all[1], sender] {
            assert_eq!(member.set_option(SOL_IP, 35, &request([0; 4])[..8]), Ok(()));
        }
        assert_eq!(send().ok(), Some(1));
        assert_eq!(all.each_ref().map(|one| received(one)), [1, 1, 0, 0]);
        // Who sends may want to hear nothing of it here.
        assert_eq!(sender.set_option(SOL_IP, 34, &0_u32.to_le_bytes()), Ok(()));
        assert_eq!(send().ok(), Some(1));
        assert_eq!(received(&all[0]), 0);
        assert_eq!(sender.set_option(SOL_IP, 34, &1_u32.to_le_bytes()), Ok(()));
        // One who has left, one who blocks the sender, and one who wants nobody else.
        assert_eq!(all[0].set_option(SOL_IP, 36, &request([0; 4])[..8]), Ok(()));
        let loopback = request([127, 0, 0, 1]);
        assert_eq!(all[1].set_option(SOL_IP, 38, &loopback), Ok(()));
        assert_eq!(all[2].set_option(SOL_IP, 39, &loopback), Ok(()));
        assert_eq!(send().ok(), Some(1));
        assert_eq!(all.each_ref().map(|one| received(one)), [0, 0, 1, 0]);
    }

    #[test]
    fn what_is_no_group_and_who_is_no_member_is_told_so() {
        let (network, wakes) = (Arc::new(Network::default()), Wakes::default());
        let socket = socket(&network, &wakes, 9000);
        let set = |name, value: &[u8]| socket.set_option(SOL_IP, name, value);
        assert_eq!(set(35, &[GROUP, [127, 0, 0, 1]].concat()), Ok(()));
        assert_eq!(set(35, &request([0; 4])), Err(Errno::EADDRINUSE));
        assert_eq!(set(35, &[10, 0, 0, 1, 0, 0, 0, 0]), Err(Errno::EINVAL));
        assert_eq!(set(35, &GROUP), Err(Errno::EINVAL));
        assert_eq!(
            set(35, &[GROUP, [10, 0, 0, 1]].concat()),
            Err(Errno::ENODEV)
        );
        assert_eq!(set(37, &request([9; 4])), Err(Errno::EADDRNOTAVAIL));
        assert_eq!(set(36, &request([0; 4])), Ok(()));
        assert_eq!(set(36, &request([0; 4])), Err(Errno::EADDRNOTAVAIL));
        let many = |last| socket.set_option(SOL_IP, 35, &[[239, 0, 0, last], [0; 4]].concat());
        assert!((1..=20).all(|last| many(last) == Ok(())));
        assert_eq!(many(21), Err(Errno::ENOBUFS));
        let mut request = [0; 136];
        request[8..16].copy_from_slice(&[2, 0, 0, 0, 239, 0, 0, 20]);
        assert_eq!(set(45, &request), Ok(()));
        assert_eq!(set(42, &request[..100]), Err(Errno::EINVAL));
    }
}
