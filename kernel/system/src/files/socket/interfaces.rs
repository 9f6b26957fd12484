//! The interface of this network as requests of ioctl(2) show it (netdevice(7)): the loopback.
//!
//! Law: it is told and never changed. `struct ifreq` is a name of 16 bytes and a value of 24.

use super::super::access::Who;
use super::names::AF_INET;
use crate::credentials::NET_ADMIN;
use abi::Errno;
use alloc::vec::Vec;

/// Bytes of a `struct ifreq`.
pub(crate) const REQUEST: usize = 40;
const NAME: usize = 16;
pub(super) const LOOPBACK: &[u8] = b"lo";
pub(super) const LOOPBACK_INDEX: u32 = 1;
pub(super) const MTU: u32 = 65_536;
pub(super) const QUEUE: u32 = 1000;
const UP_LOOPBACK_RUNNING: u16 = 0x49;
pub(super) const ARPHRD_LOOPBACK: u16 = 772;

// `linux/sockios.h`.
const SIOCGIFNAME: u32 = 0x8910;
pub(crate) const SIOCGIFCONF: u32 = 0x8912;
const SIOCGIFFLAGS: u32 = 0x8913;
const SIOCGIFADDR: u32 = 0x8915;
const SIOCGIFDSTADDR: u32 = 0x8917;
const SIOCGIFBRDADDR: u32 = 0x8919;
const SIOCGIFNETMASK: u32 = 0x891b;
const SIOCGIFMETRIC: u32 = 0x891d;
const SIOCGIFMTU: u32 = 0x8921;
const SIOCGIFHWADDR: u32 = 0x8927;
const SIOCGIFINDEX: u32 = 0x8933;
const SIOCGIFTXQLEN: u32 = 0x8942;
const SIOCGIFMAP: u32 = 0x8970;
// What only a card has an answer to: its settings, and registers of its transceiver.
const SIOCETHTOOL: u32 = 0x8946;
const SIOCGMIIPHY: u32 = 0x8947;
const SIOCGMIIREG: u32 = 0x8948;
// What would change it: flags, addresses, metric, MTU, hardware address, name, queue.
const SETS: [u32; 10] = [
    0x8914, 0x8916, 0x8918, 0x891a, 0x891c, 0x891e, 0x8922, 0x8923, 0x8924, 0x8943,
];

/// Whether a request takes a `struct ifreq`, and gives it back if it tells something.
pub(in super::super) fn takes_interface(request: u32) -> bool {
    let tells = matches!(
        request,
        SIOCGIFNAME
            | SIOCGIFFLAGS
            | SIOCGIFADDR
            | SIOCGIFDSTADDR
            | SIOCGIFBRDADDR
            | SIOCGIFNETMASK
            | SIOCGIFMETRIC
            | SIOCGIFMTU
            | SIOCGIFHWADDR
            | SIOCGIFINDEX
            | SIOCGIFTXQLEN
            | SIOCGIFMAP
            | SIOCETHTOOL
            | SIOCGMIIPHY
            | SIOCGMIIREG
    );
    tells || SETS.contains(&request)
}

/// `struct sockaddr_in`, without a port.
fn address(bytes: [u8; 4]) -> Vec<u8> {
    [&AF_INET.to_le_bytes()[..], &[0; 2], &bytes, &[0; 8]].concat()
}

/// One interface with its address, as an entry of the list of all.
pub(in super::super) fn list() -> [u8; REQUEST] {
    let mut entry = [0; REQUEST];
    entry[..LOOPBACK.len()].copy_from_slice(LOOPBACK);
    entry[NAME..][..16].copy_from_slice(&address([127, 0, 0, 1]));
    entry
}

/// What a request makes of a `struct ifreq`.
///
/// # Errors
/// ENODEV for an interface that is not there, EPERM for a change; EOPNOTSUPP to those who might, and for what only a
/// card tells.
pub(in super::super) fn answer(
    request: u32,
    mut asked: [u8; REQUEST],
    who: &Who,
) -> Result<[u8; REQUEST], Errno> {
    if request == SIOCGIFNAME {
        let index = asked[NAME..].first_chunk().copied().unwrap_or_default();
        if u32::from_le_bytes(index) != LOOPBACK_INDEX {
            return Err(Errno::ENODEV);
        }
        asked[..NAME].fill(0);
        asked[..LOOPBACK.len()].copy_from_slice(LOOPBACK);
        return Ok(asked);
    }
    if SETS.contains(&request) && !who.has(NET_ADMIN) {
        return Err(Errno::EPERM);
    }
    // The last byte of a name does not count.
    let name = asked[..NAME - 1].split(|byte| *byte == 0).next();
    if name != Some(LOOPBACK) {
        return Err(Errno::ENODEV);
    }
    let value = match request {
        SIOCGIFFLAGS => UP_LOOPBACK_RUNNING.to_le_bytes().to_vec(),
        SIOCGIFADDR | SIOCGIFDSTADDR => address([127, 0, 0, 1]),
        SIOCGIFBRDADDR => address([0; 4]),
        SIOCGIFNETMASK => address([255, 0, 0, 0]),
        SIOCGIFMETRIC => 0_u32.to_le_bytes().to_vec(),
        SIOCGIFMTU => MTU.to_le_bytes().to_vec(),
        SIOCGIFHWADDR => [&ARPHRD_LOOPBACK.to_le_bytes()[..], &[0; 14]].concat(),
        SIOCGIFINDEX => LOOPBACK_INDEX.to_le_bytes().to_vec(),
        SIOCGIFTXQLEN => QUEUE.to_le_bytes().to_vec(),
        SIOCGIFMAP => alloc::vec![0; REQUEST - NAME],
        _ => return Err(Errno::EOPNOTSUPP),
    };
    asked[NAME..][..value.len()].copy_from_slice(&value);
    Ok(asked)
}
