//! Addresses of sockets, as users write them.
//!
//! Law: what a user gives is checked whole before it means anything. Addresses of the internet are kept
//! as those of version 6, where those of version 4 have a range of their own (RFC 4291, 2.5.5.2).

use abi::Errno;
use alloc::vec::Vec;

/// `AF_UNSPEC`.
pub(super) const UNSPEC: u16 = 0;
const AF_UNIX: u16 = 1;
pub(super) const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
const AF_NETLINK: u16 = 16;
/// Longest `sun_path`.
const PATH_MAX: usize = 108;

/// What kind of addresses a socket has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in super::super) enum Family {
    Unix,
    Inet,
    Inet6,
    /// To the kernel.
    Netlink,
}

impl Family {
    pub(in super::super) fn number(self) -> u16 {
        match self {
            Family::Unix => AF_UNIX,
            Family::Inet => AF_INET,
            Family::Inet6 => AF_INET6,
            Family::Netlink => AF_NETLINK,
        }
    }
}

/// An address and a port of the internet.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(in super::super) struct Endpoint {
    pub(in super::super) address: [u8; 16],
    pub(in super::super) port: u16,
}

const MAPPED: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];
/// `::`.
pub(super) const ANY: [u8; 16] = [0; 16];
/// `::1`.
pub(super) const LOOPBACK: [u8; 16] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];

/// An address of version 4.
pub(super) fn mapped(address: [u8; 4]) -> [u8; 16] {
    core::array::from_fn(|at| {
        if at < 12 {
            MAPPED[at]
        } else {
            address[at - 12]
        }
    })
}

impl Endpoint {
    /// Whether the address is one of version 4.
    pub(in super::super) fn is_v4(&self) -> bool {
        self.address[..12] == MAPPED
    }

    /// Whether it stands for all addresses of this node.
    pub(super) fn is_any(&self) -> bool {
        self.address == ANY || self.address == mapped([0; 4])
    }

    /// Whether the address is one of a group of multicast.
    pub(in super::super) fn is_group(&self) -> bool {
        match self.is_v4() {
            true => self.address[12] & 0xf0 == 0xe0,
            false => self.address[0] == 0xff,
        }
    }

    /// Whether the address is that of all nodes of a network.
    pub(super) fn is_broadcast(&self) -> bool {
        self.address == mapped([255; 4])
    }

    /// Whether the address is of this node itself.
    pub(in super::super) fn is_local(&self) -> bool {
        self.is_any() || self.address == LOOPBACK || (self.is_v4() && self.address[12] == 127)
    }

    /// The address that is meant by one that stands for all.
    pub(super) fn definite(self) -> Endpoint {
        let address = match (self.is_any(), self.is_v4()) {
            (false, _) => self.address,
            (true, true) => mapped([127, 0, 0, 1]),
            (true, false) => LOOPBACK,
        };
        Endpoint { address, ..self }
    }
}

/// The address of a socket.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in super::super) enum Name {
    /// Of the local family, without a name.
    Unnamed,
    /// A path as it was given, without NUL.
    Path(Vec<u8>),
    /// A name in the abstract space, without its leading NUL.
    Abstract(Vec<u8>),
    /// Of the internet.
    Endpoint(Endpoint),
    /// Of netlink(7); 0 is the kernel.
    Netlink(u32),
}

/// What a user asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in super::super) enum Given {
    /// `AF_UNSPEC`: no address any more.
    Unspecified,
    /// This one.
    Name(Name),
}

impl Given {
    /// Reads a `struct sockaddr`.
    pub(in super::super) fn parse(bytes: &[u8], family: Family) -> Result<Given, Errno> {
        let number = bytes.first_chunk::<2>().ok_or(Errno::EINVAL)?;
        let number = u16::from_le_bytes(*number);
        if number == UNSPEC && family != Family::Unix {
            return Ok(Given::Unspecified);
        }
        match family {
            Family::Unix => Given::unix(number, &bytes[2..]),
            Family::Inet => Given::inet(number, bytes),
            Family::Inet6 => Given::inet6(number, bytes),
            Family::Netlink => {
                let bytes = bytes.first_chunk::<12>().ok_or(Errno::EINVAL)?;
                if number != AF_NETLINK {
                    return Err(Errno::EINVAL);
                }
                let address = u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
                Ok(Given::Name(Name::Netlink(address)))
            }
        }
    }

    fn unix(number: u16, path: &[u8]) -> Result<Given, Errno> {
        if number == UNSPEC {
            return Ok(Given::Unspecified);
        }
        if number != AF_UNIX || path.len() > PATH_MAX {
            return Err(Errno::EINVAL);
        }
        Ok(Given::Name(match path {
            [] => Name::Unnamed,
            [0, rest @ ..] => Name::Abstract(rest.to_vec()),
            path => {
                let end = path.iter().position(|byte| *byte == 0);
                Name::Path(path[..end.unwrap_or(path.len())].to_vec())
            }
        }))
    }

    fn inet(number: u16, bytes: &[u8]) -> Result<Given, Errno> {
        let bytes = bytes.first_chunk::<16>().ok_or(Errno::EINVAL)?;
        if number != AF_INET {
            return Err(Errno::EAFNOSUPPORT);
        }
        let endpoint = Endpoint {
            address: mapped([bytes[4], bytes[5], bytes[6], bytes[7]]),
            port: u16::from_be_bytes([bytes[2], bytes[3]]),
        };
        Ok(Given::Name(Name::Endpoint(endpoint)))
    }

    fn inet6(number: u16, bytes: &[u8]) -> Result<Given, Errno> {
        if number == AF_INET && bytes.len() >= 16 {
            return Given::inet(number, bytes);
        }
        if number != AF_INET6 {
            return Err(Errno::EAFNOSUPPORT);
        }
        // The scope is not in the oldest form of the structure.
        let bytes = bytes.first_chunk::<24>().ok_or(Errno::EINVAL)?;
        let endpoint = Endpoint {
            address: core::array::from_fn(|at| bytes[8 + at]),
            port: u16::from_be_bytes([bytes[2], bytes[3]]),
        };
        Ok(Given::Name(Name::Endpoint(endpoint)))
    }
}

impl Name {
    /// The `struct sockaddr` that a socket of this family shows.
    pub(in super::super) fn to_bytes(&self, family: Family) -> Vec<u8> {
        let mut bytes = family.number().to_le_bytes().to_vec();
        match self {
            Name::Unnamed if family == Family::Unix => {}
            Name::Unnamed if family == Family::Netlink => {
                return Name::Netlink(0).to_bytes(family);
            }
            Name::Unnamed => {
                let nowhere = Endpoint {
                    address: ANY,
                    port: 0,
                };
                return Name::Endpoint(nowhere).to_bytes(family);
            }
            Name::Path(path) => {
                bytes.extend_from_slice(path);
                bytes.push(0);
            }
            Name::Abstract(name) => {
                bytes.push(0);
                bytes.extend_from_slice(name);
            }
            Name::Netlink(address) => {
                bytes.extend_from_slice(&[0; 2]);
                bytes.extend_from_slice(&address.to_le_bytes());
                // No groups.
                bytes.extend_from_slice(&[0; 4]);
            }
            Name::Endpoint(endpoint) => {
                bytes.extend_from_slice(&endpoint.port.to_be_bytes());
                if family == Family::Inet {
                    bytes.extend_from_slice(&endpoint.address[12..]);
                    bytes.resize(16, 0);
                } else {
                    bytes.extend_from_slice(&[0; 4]);
                    bytes.extend_from_slice(&endpoint.address);
                    bytes.resize(28, 0);
                }
            }
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_their_bytes() {
        let endpoint = |address| {
            Name::Endpoint(Endpoint {
                address,
                port: 0x1234,
            })
        };
        let local = endpoint(mapped([127, 0, 0, 1]));
        assert_eq!(
            local.to_bytes(Family::Inet),
            [2, 0, 0x12, 0x34, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]
        );
        for (family, name) in [
            (Family::Inet, local.clone()),
            (Family::Inet6, local),
            (Family::Inet6, endpoint(LOOPBACK)),
            (Family::Unix, Name::Path(b"/tmp/s".to_vec())),
            (Family::Unix, Name::Abstract(b"a\0b".to_vec())),
            (Family::Unix, Name::Unnamed),
            (Family::Netlink, Name::Netlink(7)),
        ] {
            let bytes = name.to_bytes(family);
            assert_eq!(Given::parse(&bytes, family), Ok(Given::Name(name)));
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        let parse = |bytes: &[u8], family| Given::parse(bytes, family).err();
        assert_eq!(parse(&[1], Family::Unix), Some(Errno::EINVAL));
        assert_eq!(parse(&[2, 0, 1], Family::Unix), Some(Errno::EINVAL));
        assert_eq!(parse(&[1; 16], Family::Inet), Some(Errno::EAFNOSUPPORT));
        assert_eq!(parse(&[2, 0, 1, 1], Family::Inet), Some(Errno::EINVAL));
        assert_eq!(parse(&[10, 0, 1, 1], Family::Inet6), Some(Errno::EINVAL));
    }
}
