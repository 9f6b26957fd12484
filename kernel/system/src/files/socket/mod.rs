//! Sockets between processes of one home node: the local family, and the loopback of the internet.
//!
//! Law: a socket has an inbox; sending is putting into the inbox of another, so nothing is under way
//! between two calls but what its sender holds back (`corked.rs`). A call either has its whole effect
//! or registers and waits. No lock of one socket is held while another is touched, and nothing that is
//! dropped is dropped under a lock.
//!
//! Not here: other machines; urgent data of the local family; raw sockets but of ICMP.

mod connect;
mod corked;
mod counters;
mod echo;
mod failures;
mod filter;
mod garbage;
mod groups;
mod headers;
pub(super) mod interfaces;
mod names;
mod netlink;
mod network;
mod options;
mod routes;
mod stamps;
mod tables;
mod transfer;
mod urgent;

pub(super) use connect::Target;
pub(super) use corked::Part;
pub(super) use echo::{ICMP, ICMPV6};
pub(super) use headers::Header;
pub(super) use names::{Family, Given, Name};
pub(super) use netlink::{GENERIC, UEVENT};
pub(super) use network::Network;
pub(super) use options::{Limit, UDP_SEGMENT};
pub(super) use tables::NAMES as NET_FILES;
pub use tables::{NetFile, Sockets};
pub(super) use transfer::{Credentials, Message, Received, UDP_MAX, Wanted};

use super::open::OpenFile;
use super::pipe::Patience;
use crate::wait::{Stop, WaitQueue, Wakes};
use abi::Errno;
use abi::layout::{POLLERR, POLLHUP, POLLIN, POLLOUT, POLLRDNORM, POLLWRNORM};
use alloc::collections::VecDeque;
use alloc::sync::{Arc, Weak};
use network::{Protocol, Shares};
use options::Options;
use spin::{Mutex, MutexGuard};
use transfer::Segment;
use urgent::{Owned, Urgent};

/// The other side writes no more.
pub(super) const POLLRDHUP: i16 = 0x2000;
/// There is urgent data.
const POLLPRI: i16 = 2;

/// `shutdown(2)`: nothing is received any more.
const RECEIVES_NOT: u8 = 1;
/// Nothing is sent any more.
const SENDS_NOT: u8 = 2;

/// What travels: bytes, or messages, with a connection or without.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Stream,
    Datagram,
    Packet,
}

impl Kind {
    /// `SOCK_*`.
    pub(super) fn number(self) -> u32 {
        match self {
            Kind::Stream => 1,
            Kind::Datagram => 2,
            Kind::Packet => 5,
        }
    }

    pub(super) fn connects(self) -> bool {
        self != Kind::Datagram
    }
}

/// How far a socket is with connecting.
enum Link {
    /// Not at all. Of datagrams, also when others may send to it.
    None,
    /// Waits for connections.
    Listens {
        backlog: usize,
        waiting: VecDeque<Arc<Socket>>,
    },
    /// To this one, which may be gone.
    Peer(Weak<Socket>),
}

impl Link {
    /// Those who were never accepted are told that there is nobody.
    fn abandon_waiting(&self) {
        if let Link::Listens { waiting, .. } = self {
            for socket in waiting {
                socket.abandon();
            }
        }
    }
}

struct Inner {
    link: Link,
    /// The address of its own, if it has one.
    local: Option<Name>,
    /// The address of the other side.
    remote: Option<Name>,
    inbox: VecDeque<Segment>,
    /// Bytes in the inbox.
    bytes: usize,
    /// Messages for which there was no room.
    lost: u32,
    /// Messages of its own that came back.
    failures: VecDeque<failures::Failure>,
    urgent: Option<Urgent>,
    /// What it holds back, as more is to come.
    held: corked::Held,
    /// Groups of multicast that it is in.
    groups: alloc::vec::Vec<groups::Membership>,
    owned: Option<Owned>,
    /// `RECEIVES_NOT`, `SENDS_NOT`.
    shut: u8,
    /// Its connection was made without waiting, and connect(2) has not said so yet.
    connecting: bool,
    /// Of the internet: the other side was closed; the next that is sent finds it out.
    deserted: bool,
    error: Option<Errno>,
    options: Options,
    /// Who made it, or made it listen.
    owner: Credentials,
    /// Who is at the other side.
    peer_owner: Option<Credentials>,
    /// The port and the abstract name that it holds.
    port: Option<(Protocol, u16)>,
    /// Where it is bound, and whether bind(2) has said so.
    bound: Option<(names::Endpoint, bool)>,
    name: Option<alloc::vec::Vec<u8>>,
}

/// A socket.
pub(super) struct Socket {
    me: Weak<Socket>,
    pub(super) family: Family,
    pub(super) kind: Kind,
    inner: Mutex<Inner>,
    /// Woken when there is more to receive or to accept.
    readable: WaitQueue,
    /// Woken when there is more room at the other side, or in the queue of a listener.
    writable: WaitQueue,
    network: Arc<Network>,
    wakes: Wakes,
}

impl Socket {
    pub(super) fn new(
        family: Family,
        kind: Kind,
        owner: Credentials,
        network: &Arc<Network>,
        wakes: &Wakes,
    ) -> Arc<Socket> {
        Arc::new_cyclic(|me| Socket {
            me: me.clone(),
            family,
            kind,
            inner: Mutex::new(Inner {
                link: Link::None,
                local: None,
                remote: None,
                inbox: VecDeque::new(),
                bytes: 0,
                lost: 0,
                failures: VecDeque::new(),
                urgent: None,
                held: corked::Held::default(),
                groups: alloc::vec::Vec::new(),
                owned: None,
                shut: 0,
                connecting: false,
                deserted: false,
                error: None,
                options: Options::default(),
                owner,
                peer_owner: None,
                port: None,
                bound: None,
                name: None,
            }),
            readable: WaitQueue::new(wakes),
            writable: WaitQueue::new(wakes),
            network: network.clone(),
            wakes: wakes.clone(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock()
    }

    fn is_local(&self) -> bool {
        self.family == Family::Unix
    }

    /// The protocol of its ports, if it is of the internet.
    fn protocol(&self) -> Protocol {
        match self.kind {
            Kind::Datagram => self.lock().options.datagrams,
            _ => Protocol::Tcp,
        }
    }

    /// Makes its datagrams those of UDP-Lite: its ports are others, and nothing is ever damaged here.
    pub(super) fn become_lite(&self) {
        self.lock().options.datagrams = Protocol::UdpLite;
    }

    /// Whether it waits for connections.
    pub(super) fn listens(&self) -> bool {
        matches!(self.lock().link, Link::Listens { .. })
    }

    /// The socket at the other side, if it lives.
    fn peer(&self) -> Option<Arc<Socket>> {
        match &self.lock().link {
            Link::Peer(peer) => peer.upgrade(),
            _ => None,
        }
    }

    /// Whether it has, or had, another side.
    pub(super) fn is_connected(&self) -> bool {
        matches!(self.lock().link, Link::Peer(_))
    }

    /// The state of a connection of TCP (`enum` of `net/tcp_states.h`). What one side sends the other has at
    /// once, so the states in between are never seen.
    fn tcp_state(&self) -> u8 {
        const ESTABLISHED: u8 = 1;
        const FIN_WAIT2: u8 = 5;
        const CLOSE: u8 = 7;
        const CLOSE_WAIT: u8 = 8;
        const LISTEN: u8 = 10;
        let peer = self.peer();
        let other_ended = match &peer {
            Some(peer) => peer.lock().shut & SENDS_NOT != 0,
            None => true,
        };
        let inner = self.lock();
        match (&inner.link, inner.shut & SENDS_NOT != 0, other_ended) {
            (Link::None, ..) => CLOSE,
            (Link::Listens { .. }, ..) => LISTEN,
            (Link::Peer(_), true, true) => CLOSE,
            (Link::Peer(_), true, false) => FIN_WAIT2,
            (Link::Peer(_), false, true) => CLOSE_WAIT,
            (Link::Peer(_), false, false) => ESTABLISHED,
        }
    }

    /// Whether it may have an address that is not of this node.
    pub(super) fn binds_freely(&self) -> bool {
        self.lock().options.binds_freely()
    }

    /// Everything that a change of [`Socket::ready`] wakes.
    pub(super) fn queues(&self) -> [&WaitQueue; 2] {
        [&self.readable, &self.writable]
    }

    fn wake_readers(&self, events: i16) {
        self.readable.wake_for(events);
    }

    fn wake_all(&self) {
        self.readable.wake();
        self.writable.wake();
    }

    /// An error that was not told yet, which is told now.
    pub(super) fn take_error(&self) -> Option<Errno> {
        self.lock().error.take()
    }

    /// Whether an error is to be told.
    pub(super) fn has_error(&self) -> bool {
        self.lock().error.is_some()
    }

    /// What poll(2) says.
    pub(super) fn ready(&self) -> i16 {
        let room = self.has_room();
        let inner = self.lock();
        let mut ready = 0;
        if inner.error.is_some() || !inner.failures.is_empty() {
            ready |= POLLERR;
        }
        if let Link::Listens { waiting, .. } = &inner.link {
            if !waiting.is_empty() {
                ready |= POLLIN | POLLRDNORM;
            }
            return ready;
        }
        let both = RECEIVES_NOT | SENDS_NOT;
        let lost = self.kind.connects() && matches!(inner.link, Link::None);
        if inner.shut & both == both || lost {
            ready |= POLLHUP;
        }
        if inner.shut & RECEIVES_NOT != 0 {
            ready |= POLLIN | POLLRDNORM | POLLRDHUP;
        }
        if inner.has_bytes() {
            ready |= POLLIN | POLLRDNORM;
        }
        if inner.has_urgent() {
            ready |= POLLPRI;
        }
        if room || inner.shut & SENDS_NOT != 0 {
            ready |= POLLOUT | POLLWRNORM;
        }
        ready
    }

    /// Whether a good deal of room is at the other side.
    fn has_room(&self) -> bool {
        let limit = self.send_limit();
        match self.peer() {
            Some(peer) if self.kind == Kind::Stream => peer.lock().bytes * 2 <= limit,
            Some(peer) if self.is_local() => !peer.is_full() && peer.lock().bytes < limit,
            _ => true,
        }
    }

    /// Bytes received, for `FIONREAD`: all of a connection, the first of messages otherwise.
    pub(super) fn available(&self) -> Result<usize, Errno> {
        let inner = self.lock();
        match (self.kind, &inner.link) {
            (_, Link::Listens { .. }) => Err(Errno::EINVAL),
            (Kind::Stream, _) => {
                let (skipped, most) = inner.stretch();
                // At the urgent byte there is nothing to be had before it.
                Ok(if skipped > 0 {
                    0
                } else {
                    inner.bytes.min(most)
                })
            }
            (Kind::Packet, _) => Ok(inner.bytes),
            (Kind::Datagram, _) => Ok(inner.inbox.front().map_or(0, Segment::length)),
        }
    }

    /// Bytes that the other side has not received (`SIOCOUTQ`). Of the internet, what waits to be read has been acknowledged.
    pub(super) fn outstanding(&self) -> usize {
        let held = self.lock().held.length();
        if !self.is_local() {
            return held;
        }
        held + self.peer().map_or(0, |peer| peer.lock().bytes)
    }

    /// The other side is gone, with or without what it had not read.
    fn deserted(&self, unread: bool) {
        let mut inner = self.lock();
        if self.is_local() {
            if self.kind == Kind::Datagram {
                // Whoever sends there finds out.
                drop(inner);
                self.wake_all();
                return;
            }
            inner.shut = RECEIVES_NOT | SENDS_NOT;
            if unread {
                inner.error = Some(Errno::ECONNRESET);
            }
        } else if unread {
            inner.shut = RECEIVES_NOT | SENDS_NOT;
            inner.error = Some(Errno::ECONNRESET);
        } else {
            inner.shut |= RECEIVES_NOT;
            inner.deserted = true;
        }
        drop(inner);
        self.wake_all();
    }

    /// shutdown(2): 0 for receiving, 1 for sending, 2 for both.
    pub(super) fn shut_down(&self, how: u64) -> Result<(), Errno> {
        let bits = match how as i32 {
            0 => RECEIVES_NOT,
            1 => SENDS_NOT,
            2 => RECEIVES_NOT | SENDS_NOT,
            _ => return Err(Errno::EINVAL),
        };
        if bits & SENDS_NOT != 0 {
            self.let_go();
        }
        let mut inner = self.lock();
        let connected = !matches!(inner.link, Link::None)
            || (self.kind == Kind::Datagram && inner.remote.is_some());
        if !self.is_local() && !connected {
            return Err(Errno::ENOTCONN);
        }
        let mut listened = Link::None;
        match &inner.link {
            Link::Listens { .. } if !self.is_local() && bits & RECEIVES_NOT != 0 => {
                core::mem::swap(&mut listened, &mut inner.link);
            }
            _ => inner.shut |= bits,
        }
        drop(inner);
        listened.abandon_waiting();
        drop(listened);
        if self.kind.connects()
            && let Some(peer) = self.peer()
        {
            let mut other = peer.lock();
            if bits & SENDS_NOT != 0 {
                other.shut |= RECEIVES_NOT;
            }
            if self.is_local() && bits & RECEIVES_NOT != 0 {
                other.shut |= SENDS_NOT;
            }
            drop(other);
            peer.wake_all();
        }
        self.wake_all();
        Ok(())
    }

    fn shares(inner: &Inner) -> Shares {
        Shares {
            address: inner.options.is_set(options::REUSEADDR),
            port: inner.options.is_set(options::REUSEPORT),
            only_v6: inner.options.only_v6,
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.let_go();
        let inner = self.inner.get_mut();
        let unread = !inner.inbox.is_empty() || inner.options.resets();
        let inbox = core::mem::take(&mut inner.inbox);
        let link = core::mem::replace(&mut inner.link, Link::None);
        let (port, name) = (inner.port.take(), inner.name.take());
        if let Link::Peer(peer) = &link
            && let Some(peer) = peer.upgrade()
            && peer.is_linked_to(self)
        {
            peer.deserted(unread);
        }
        if let Some((protocol, port)) = port {
            self.network.release(protocol, port);
        }
        if let Some(name) = name {
            self.network.release_name(&name);
        }
        self.wake_all();
        link.abandon_waiting();
        // What nobody has accepted ends here, and with it the descriptors in its inbox.
        self.network.bury(link, inbox);
    }
}

/// Whether a call waits, for whom, and until when at the latest.
#[derive(Clone, Copy)]
pub(super) struct Waiting {
    pub(super) patience: Patience,
}

impl Waiting {
    /// Whether it waits at all.
    fn waits(self) -> bool {
        self.patience != Patience::Never
    }

    fn stop(self, queue: &WaitQueue) -> Stop {
        self.patience.stop(queue)
    }
}

/// The socket that an open file is.
pub(super) fn socket_of(file: &OpenFile) -> Result<&Arc<Socket>, Errno> {
    match file.inode().node() {
        super::inode::Node::Object(super::objects::Object::Socket(socket)) => Ok(socket),
        _ => Err(Errno::ENOTSOCK),
    }
}
