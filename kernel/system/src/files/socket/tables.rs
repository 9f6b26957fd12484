//! The files in /proc/PID/net: which sockets there are, and the one interface.
//!
//! Law: formats are those of Linux (`net/ipv4/tcp_ipv4.c`, `net/unix/af_unix.c` and their neighbours). Every socket
//! that somebody has a descriptor of is shown once, in the order of their numbers, and those nobody has accepted
//! yet behind their listener, with the number 0.

use super::names::{Endpoint, Family, Name, mapped};
use super::network::Protocol;
use super::{Kind, Link, Socket, counters};
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use core::fmt::Write as _;

/// A file in /proc/PID/net.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
#[expect(
    missing_docs,
    reason = "each variant is the file of that name in /proc/PID/net"
)]
pub enum NetFile {
    Arp,
    Dev,
    Icmp,
    Icmp6,
    IfInet6,
    Ipv6Route,
    Netlink,
    Netstat,
    Packet,
    Raw,
    Raw6,
    Route,
    Snmp,
    Snmp6,
    Sockstat,
    Tcp,
    Tcp6,
    Udp,
    Udp6,
    UdpLite,
    UdpLite6,
    Unix,
}

/// Their names.
pub(in super::super) const NAMES: [(&str, NetFile); 22] = [
    ("arp", NetFile::Arp),
    ("dev", NetFile::Dev),
    ("icmp", NetFile::Icmp),
    ("icmp6", NetFile::Icmp6),
    ("if_inet6", NetFile::IfInet6),
    ("ipv6_route", NetFile::Ipv6Route),
    ("netlink", NetFile::Netlink),
    ("netstat", NetFile::Netstat),
    ("packet", NetFile::Packet),
    ("raw", NetFile::Raw),
    ("raw6", NetFile::Raw6),
    ("route", NetFile::Route),
    ("snmp", NetFile::Snmp),
    ("snmp6", NetFile::Snmp6),
    ("sockstat", NetFile::Sockstat),
    ("tcp", NetFile::Tcp),
    ("tcp6", NetFile::Tcp6),
    ("udp", NetFile::Udp),
    ("udp6", NetFile::Udp6),
    ("udplite", NetFile::UdpLite),
    ("udplite6", NetFile::UdpLite6),
    ("unix", NetFile::Unix),
];

/// Sockets by the numbers of their inodes.
#[derive(Default)]
pub struct Sockets(pub(in super::super) BTreeMap<u64, Arc<Socket>>);

/// The state of a socket of UDP: connected or not, as those of TCP.
const ESTABLISHED: u8 = 1;
const CLOSE: u8 = 7;

/// Lines of TCP are filled up to this.
const TCP_LINE: usize = 149;
/// Lines of UDP and of raw sockets.
const UDP_LINE: usize = 127;

/// An address as a number of each four bytes in the order of this machine.
fn written(endpoint: &Endpoint, family: Family) -> String {
    let words = endpoint.address.chunks(4);
    let first = if family == Family::Inet { 3 } else { 0 };
    let mut text = String::new();
    for word in words.skip(first) {
        let word = word.try_into().map_or(0, u32::from_le_bytes);
        let _ = write!(text, "{word:08X}");
    }
    let _ = write!(text, ":{:04X}", endpoint.port);
    text
}

/// What is shown of a socket of the internet.
struct Shown {
    ends: [String; 2],
    state: u8,
    sent: usize,
    received: usize,
    uid: u32,
}

impl Socket {
    fn shown(&self) -> Option<Shown> {
        let state = match (self.kind, self.is_connected()) {
            (Kind::Datagram, true) => ESTABLISHED,
            (Kind::Datagram, false) => CLOSE,
            _ => self.tcp_state(),
        };
        let sent = match self.kind {
            Kind::Datagram => 0,
            _ => self.outstanding(),
        };
        let inner = self.lock();
        let Some(Name::Endpoint(local)) = &inner.local else {
            return None;
        };
        let any = match self.family {
            Family::Inet => mapped([0; 4]),
            _ => super::names::ANY,
        };
        let nobody = Endpoint {
            address: any,
            port: 0,
        };
        let remote = match &inner.remote {
            Some(Name::Endpoint(remote)) => remote,
            _ => &nobody,
        };
        let waiting = match &inner.link {
            Link::Listens { waiting, .. } => waiting.len(),
            _ => inner.bytes,
        };
        Some(Shown {
            ends: [local, remote].map(|end| written(end, self.family)),
            state,
            sent,
            received: waiting,
            uid: inner.owner.uid,
        })
    }

    /// A line of `unix`.
    fn local_line(&self, inode: u64) -> String {
        const ACCEPTS: u32 = 0x1_0000;
        const UNCONNECTED: u8 = 1;
        const CONNECTED: u8 = 3;
        let inner = self.lock();
        let flags = match inner.link {
            Link::Listens { .. } => ACCEPTS,
            _ => 0,
        };
        let state = match inner.link {
            Link::Peer(_) => CONNECTED,
            _ => UNCONNECTED,
        };
        let mut line = format!(
            "0000000000000000: {:08X} 00000000 {flags:08X} {:04X} {state:02X} {inode:>5}",
            2,
            self.kind.number()
        );
        match &inner.local {
            Some(Name::Path(path)) => {
                let _ = write!(line, " {}", String::from_utf8_lossy(path));
            }
            Some(Name::Abstract(name)) => {
                // A NUL inside of a name is shown as what stands for the first one.
                let name = String::from_utf8_lossy(name).replace('\0', "@");
                let _ = write!(line, " @{name}");
            }
            _ => {}
        }
        line
    }

    /// Connections that wait to be accepted.
    fn waiting(&self) -> alloc::vec::Vec<Arc<Socket>> {
        match &self.lock().link {
            Link::Listens { waiting, .. } => waiting.iter().cloned().collect(),
            _ => alloc::vec::Vec::new(),
        }
    }
}

impl Sockets {
    /// The text of a file.
    pub(in super::super) fn text(&self, file: NetFile) -> String {
        match file {
            NetFile::Icmp => self.internet(Family::Inet, Protocol::Echo),
            NetFile::Icmp6 => self.internet(Family::Inet6, Protocol::Echo),
            NetFile::Tcp => self.internet(Family::Inet, Protocol::Tcp),
            NetFile::Tcp6 => self.internet(Family::Inet6, Protocol::Tcp),
            NetFile::Udp => self.internet(Family::Inet, Protocol::Udp),
            NetFile::Udp6 => self.internet(Family::Inet6, Protocol::Udp),
            NetFile::UdpLite => self.internet(Family::Inet, Protocol::UdpLite),
            NetFile::UdpLite6 => self.internet(Family::Inet6, Protocol::UdpLite),
            NetFile::Raw => self.internet(Family::Inet, Protocol::Raw),
            NetFile::Raw6 => self.internet(Family::Inet6, Protocol::Raw),
            NetFile::Unix => self.local(),
            NetFile::Netlink => self.netlink(),
            NetFile::Netstat => counters::netstat(),
            NetFile::Snmp => counters::snmp(self.connections()),
            NetFile::Snmp6 => counters::snmp6(),
            NetFile::Sockstat => self.counts(),
            NetFile::Dev => DEV.into(),
            NetFile::IfInet6 => "00000000000000000000000000000001 01 80 10 80       lo\n".into(),
            NetFile::Ipv6Route => String::new(),
            NetFile::Packet => {
                "sk               RefCnt Type Proto  Iface R Rmem   User   Inode\n".into()
            }
            NetFile::Arp => {
                "IP address       HW type     Flags       HW address            Mask     Device\n"
                    .into()
            }
            NetFile::Route => {
                let columns = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT";
                format!("{columns:<127}\n")
            }
        }
    }

    fn internet(&self, family: Family, protocol: Protocol) -> String {
        let kind = match protocol {
            Protocol::Tcp => Kind::Stream,
            _ => Kind::Datagram,
        };
        let mut text = headline(family, kind);
        let mut number = 0;
        let mut add = |inode: u64, socket: &Socket| {
            let Some(shown) = socket.shown() else { return };
            // What only has an address is in no table of connections.
            if kind == Kind::Stream && shown.state == CLOSE {
                return;
            }
            let [local, remote] = shown.ends;
            let line = format!(
                "{local} {remote} {:02X} {:08X}:{:08X} 00:00000000 00000000 {:>5} {:>8} {inode}",
                shown.state, shown.sent, shown.received, shown.uid, 0
            );
            let _ = match kind {
                Kind::Datagram => {
                    let line = format!("{number:>5}: {line} 2 0000000000000000 0");
                    writeln!(text, "{line:<UDP_LINE$}")
                }
                _ => {
                    let line = format!("{number:>4}: {line} 1 0000000000000000 100 0 0 10 0");
                    writeln!(text, "{line:<TCP_LINE$}")
                }
            };
            number += 1;
        };
        for (inode, socket) in &self.0 {
            if socket.family == family && socket.protocol() == protocol {
                add(*inode, socket);
                for waiting in socket.waiting() {
                    add(0, &waiting);
                }
            }
        }
        text
    }

    fn local(&self) -> String {
        let mut text = String::from("Num       RefCount Protocol Flags    Type St Inode Path\n");
        for (inode, socket) in &self.0 {
            if socket.is_local() {
                let _ = writeln!(text, "{}", socket.local_line(*inode));
            }
        }
        text
    }

    fn netlink(&self) -> String {
        let mut text = String::from(
            "sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode\n",
        );
        for (inode, socket) in &self.0 {
            let inner = socket.lock();
            if let Some(Name::Netlink(port)) = &inner.local {
                let _ = writeln!(
                    text,
                    "0000000000000000 {:<3} {port:<10} {:08x} {:<8} {:<8} {:<5} {:<8} {:<8} {inode:<8}",
                    0, 0, inner.bytes, 0, 0, 2, 0
                );
            }
        }
        text
    }

    /// Ends of connections of TCP.
    fn connections(&self) -> usize {
        let of_tcp = |socket: &&Arc<Socket>| {
            socket.family != Family::Unix && socket.protocol() == Protocol::Tcp
        };
        let ends = self.0.values().filter(of_tcp);
        ends.filter(|socket| socket.tcp_state() == ESTABLISHED)
            .count()
    }

    fn counts(&self) -> String {
        let count = |family: Family, protocol: Protocol| {
            let all = self.0.values();
            all.filter(|socket| socket.family == family && socket.protocol() == protocol)
                .count()
        };
        format!(
            "sockets: used {}\nTCP: inuse {} orphan 0 tw 0 alloc {1} mem 0\nUDP: inuse {} mem 0\n\
             UDPLITE: inuse {}\nRAW: inuse 0\nFRAG: inuse 0 memory 0\n",
            self.0.len(),
            count(Family::Inet, Protocol::Tcp),
            count(Family::Inet, Protocol::Udp),
            count(Family::Inet, Protocol::UdpLite),
        )
    }
}

/// The first line of tables of the internet.
fn headline(family: Family, kind: Kind) -> String {
    let queues = "st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode";
    let local = match family {
        Family::Inet => "local_address rem_address  ",
        _ => "local_address                         remote_address                       ",
    };
    match (family, kind) {
        (Family::Inet, Kind::Datagram) => {
            let line = format!("   sl  {local} {queues} ref pointer drops");
            format!("{line:<UDP_LINE$}\n")
        }
        (Family::Inet, _) => {
            let line = format!("  sl  {local} {queues}");
            format!("{line:<TCP_LINE$}\n")
        }
        (_, Kind::Datagram) => format!("  sl  {local} {queues} ref pointer drops\n"),
        _ => format!("  sl  {local} {queues}\n"),
    }
}

/// The loopback, which counts nothing.
const DEV: &str = "Inter-|   Receive                                                |  Transmit\n \
     face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n    \
     lo:       0       0    0    0    0     0          0         0        0       0    0    0    0     0       0          0\n";
