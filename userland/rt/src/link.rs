//! Frames of the link as they are: packet(7).

use std::fs::File;
use std::io;
use std::os::fd::FromRawFd;

/// Opens a card for frames with this EtherType: each read gives one whole frame, each write sends one.
///
/// # Errors
/// There is no such card, or what socket(2) and bind(2) say.
pub fn frames(card: &str, ether_type: u16) -> io::Result<File> {
    let index = std::fs::read_to_string(format!("/sys/class/net/{card}/ifindex"))?;
    let index = index.trim().parse().map_err(io::Error::other)?;
    let protocol = ether_type.to_be();
    // SAFETY: no memory is passed.
    let fd = crate::check(unsafe {
        libc::socket(
            libc::AF_PACKET,
            libc::SOCK_RAW | libc::SOCK_CLOEXEC,
            protocol.into(),
        )
    })?;
    // SAFETY: the descriptor is new and nobody else's.
    let socket = unsafe { File::from_raw_fd(fd) };
    let address = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET.cast_unsigned() as u16,
        sll_protocol: protocol,
        sll_ifindex: index,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let length = size_of_val(&address) as libc::socklen_t;
    // SAFETY: the address is valid for reading its length.
    crate::check(unsafe { libc::bind(fd, (&raw const address).cast(), length) })?;
    Ok(socket)
}
