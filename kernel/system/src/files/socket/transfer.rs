//! Sending and receiving: bytes, messages, and the descriptors and credentials with them.
//!
//! Law: descriptors and credentials belong to the bytes they were sent with: bytes before and behind
//! them are received by calls of their own. A message is whole, and what does not fit is cut off.

use super::garbage::Flight;
use super::headers::{Control, Header, Packet};
use super::names::{Endpoint, Family, Given, LOOPBACK, Name, mapped};
use super::{Inner, Kind, Link, POLLPRI, RECEIVES_NOT, SENDS_NOT, Socket, Waiting};
use crate::files::open::OpenFile;
use crate::wait::Stop;
use abi::Errno;
use abi::layout::{POLLIN, POLLOUT, POLLRDNORM, POLLWRNORM, Timespec};
use alloc::sync::Arc;
use alloc::vec::Vec;

/// Messages that wait in one inbox (`net.unix.max_dgram_qlen` as systemd sets it).
const MESSAGES_MAX: usize = 512;
/// The longest message of UDP over version 4.
pub(in super::super) const UDP_MAX: usize = 65_507;

/// `struct ucred`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(in super::super) struct Credentials {
    pub(in super::super) pid: u32,
    pub(in super::super) uid: u32,
    pub(in super::super) gid: u32,
}

/// What is sent with one call.
pub(in super::super) struct Message<'a> {
    pub(in super::super) bytes: &'a [u8],
    /// Descriptors that go along.
    pub(in super::super) files: Vec<Arc<OpenFile>>,
    pub(in super::super) sender: Credentials,
    /// Where to, if that is said.
    pub(in super::super) to: Option<Arc<Socket>>,
    /// The last byte is urgent (`MSG_OOB`).
    pub(in super::super) urgent: bool,
    /// More is to come (`MSG_MORE`).
    pub(in super::super) more: bool,
    /// Of a datagram of the internet: what its header says, and which address it is for.
    pub(in super::super) header: Header,
    pub(in super::super) target: Option<Endpoint>,
    /// When.
    pub(in super::super) at: Timespec,
}

/// A run of bytes that were sent together, or a message.
pub(super) struct Segment {
    bytes: Vec<u8>,
    /// How many of them were received.
    taken: usize,
    files: Flight,
    sender: Credentials,
    from: Name,
    /// Of a datagram of the internet.
    packet: Option<Packet>,
    /// When it came; bytes that were joined came with the first of them.
    at: Timespec,
    /// How many messages its receiver had lost by then.
    lost: u32,
}

impl Segment {
    /// A message of the kernel's; of ICMP with what its header says.
    pub(super) fn from_kernel(
        bytes: Vec<u8>,
        from: Name,
        packet: Option<Packet>,
        at: Timespec,
    ) -> Segment {
        Segment {
            bytes,
            taken: 0,
            files: Flight::default(),
            sender: Credentials::default(),
            from,
            packet,
            at,
            lost: 0,
        }
    }

    pub(super) fn length(&self) -> usize {
        self.bytes.len() - self.taken
    }

    /// What it says.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Leaves out what is behind so many bytes.
    pub(super) fn cut(&mut self, length: usize) {
        self.bytes.truncate(length);
    }

    /// Leaves a byte out.
    pub(super) fn skip(&mut self) {
        self.taken += 1;
    }

    /// The byte that came last.
    pub(super) fn last(&self) -> Option<u8> {
        self.bytes.last().copied()
    }

    pub(super) fn files(&self) -> &Flight {
        &self.files
    }

    /// Whether the bytes of another one may be received together with these.
    fn continues(&self, other: &Segment, with_sender: bool) -> bool {
        other.files.is_empty() && (!with_sender || self.sender == other.sender)
    }
}

/// Bytes of a stream on their way into an inbox.
pub(super) struct Parcel {
    bytes: Vec<u8>,
    files: Flight,
    sender: Credentials,
    at: Timespec,
    /// The last byte is urgent.
    urgent: bool,
}

impl Parcel {
    pub(super) fn new(bytes: Vec<u8>, sender: Credentials, at: Timespec) -> Parcel {
        Parcel {
            bytes,
            files: Flight::default(),
            sender,
            at,
            urgent: false,
        }
    }
}

/// How something is to be received.
#[derive(Clone, Copy)]
pub(in super::super) struct Wanted {
    pub(in super::super) most: usize,
    /// It stays in the inbox (`MSG_PEEK`).
    pub(in super::super) peeks: bool,
}

/// What was received.
pub(in super::super) struct Received {
    pub(in super::super) bytes: Vec<u8>,
    /// The length of the message, of which `bytes` may be a part.
    pub(in super::super) length: usize,
    pub(in super::super) files: Vec<Arc<OpenFile>>,
    pub(in super::super) sender: Option<Credentials>,
    /// Where it is from, if messages say so.
    pub(in super::super) from: Option<Name>,
    /// What the receiver has asked for of its header.
    pub(in super::super) told: Vec<Control>,
}

impl Inner {
    /// How many bytes somebody who only looks leaves out (`SO_PEEK_OFF`).
    fn passed_over(&self, peeks: bool) -> usize {
        match peeks {
            true => self.options.peek_offset(),
            false => 0,
        }
    }

    /// The message in which the byte behind so many others is, and its place there.
    fn message_behind(&self, mut bytes: usize) -> Option<(usize, usize)> {
        for (at, message) in self.inbox.iter().enumerate() {
            if bytes == 0 || bytes < message.length() {
                return Some((at, bytes));
            }
            bytes -= message.length();
        }
        None
    }
}

impl Socket {
    /// Bytes that may wait at the other side.
    pub(super) fn send_limit(&self) -> usize {
        let limit = self.lock().options.send_bytes();
        // Linux lets a connection of the internet use the buffers of both sides.
        if self.is_local() { limit } else { 2 * limit }
    }

    /// Whether nothing is sent any more.
    pub(in super::super) fn sends_not(&self) -> bool {
        self.lock().shut & SENDS_NOT != 0
    }

    /// Whether no more messages are taken.
    pub(super) fn is_full(&self) -> bool {
        self.lock().inbox.len() >= MESSAGES_MAX
    }

    /// Sends what fits; returns how many bytes.
    pub(in super::super) fn send(
        &self,
        message: Message<'_>,
        waiting: Waiting,
    ) -> Result<usize, Stop> {
        let shut = self.lock().shut & SENDS_NOT != 0;
        if shut && self.is_local() && self.kind == Kind::Stream {
            return Err(Errno::EPIPE.into());
        }
        if let Some(error) = self.take_error() {
            return Err(error.into());
        }
        match self.kind {
            Kind::Stream => self.send_bytes(message, waiting),
            Kind::Packet => {
                let peer = self.linked()?;
                self.send_message(&peer, message, waiting)
            }
            Kind::Datagram => {
                let to = match message.to.clone() {
                    Some(to) => to,
                    None if shut && self.is_local() && self.is_connected() => {
                        return Err(Errno::EPIPE.into());
                    }
                    None if self.is_connected() => match self.peer() {
                        Some(peer) => peer,
                        None => {
                            self.part();
                            return Err(Errno::ECONNREFUSED.into());
                        }
                    },
                    None if self.is_local() => return Err(Errno::ENOTCONN.into()),
                    None => return Err(Errno::EDESTADDRREQ.into()),
                };
                self.send_message(&to, message, waiting)
            }
        }
    }

    /// Whether something could be sent now: what sending looks at before it looks at the bytes.
    pub(in super::super) fn may_send(&self, addressed: bool, waiting: Waiting) -> Result<(), Stop> {
        if let Some(error) = self.take_error() {
            return Err(error.into());
        }
        match self.kind {
            Kind::Stream => {
                let peer = self.linked()?;
                if peer.lock().bytes >= self.send_limit() {
                    return Err(waiting.stop(&self.writable));
                }
                Ok(())
            }
            Kind::Packet => Ok(self.linked().map(drop)?),
            Kind::Datagram if addressed || self.is_connected() => Ok(()),
            Kind::Datagram if self.is_local() => Err(Errno::ENOTCONN.into()),
            Kind::Datagram => Err(Errno::EDESTADDRREQ.into()),
        }
    }

    /// The other side of a connection that can be sent to.
    fn linked(&self) -> Result<Arc<Socket>, Errno> {
        let inner = self.lock();
        if inner.shut & SENDS_NOT != 0 {
            return Err(Errno::EPIPE);
        }
        match &inner.link {
            Link::Peer(peer) => peer.upgrade().ok_or(Errno::EPIPE),
            _ if self.is_local() => Err(Errno::ENOTCONN),
            _ => Err(Errno::EPIPE),
        }
    }

    fn send_bytes(&self, message: Message<'_>, waiting: Waiting) -> Result<usize, Stop> {
        if self.lock().shut & SENDS_NOT != 0 {
            return Err(Errno::EPIPE.into());
        }
        if self.is_deserted() {
            // The answer to bytes for a connection that is gone is that it is gone.
            let mut inner = self.lock();
            inner.deserted = false;
            inner.shut = RECEIVES_NOT | SENDS_NOT;
            inner.error = Some(Errno::EPIPE);
            drop(inner);
            self.wake_all();
            return Ok(message.bytes.len());
        }
        let peer = self.linked()?;
        if message.bytes.is_empty() {
            return Ok(0);
        }
        if self.holds_back(&message)? {
            return Ok(message.bytes.len());
        }
        self.let_go();
        let limit = self.send_limit();
        let inner = peer.lock();
        if inner.shut & RECEIVES_NOT != 0 {
            drop(inner);
            // Of the internet, what nobody reads is taken all the same.
            let taken = if self.is_local() {
                Err(Errno::EPIPE.into())
            } else {
                Ok(message.bytes.len())
            };
            return taken;
        }
        let room = limit.saturating_sub(inner.bytes);
        if room == 0 {
            drop(inner);
            return Err(waiting.stop(&self.writable));
        }
        let count = room.min(message.bytes.len());
        drop(inner);
        let bytes = copy(&message.bytes[..count])?;
        peer.take_in(Parcel {
            files: Flight::new(message.files, &self.network),
            urgent: message.urgent,
            ..Parcel::new(bytes, message.sender, message.at)
        });
        Ok(count)
    }

    /// Puts bytes of a stream into the inbox, and tells who waits for them.
    pub(super) fn take_in(&self, parcel: Parcel) {
        let count = parcel.bytes.len();
        let mut inner = self.lock();
        inner.bytes += count;
        let mut segment = Segment {
            bytes: parcel.bytes,
            taken: 0,
            files: parcel.files,
            sender: parcel.sender,
            from: Name::Unnamed,
            packet: None,
            at: parcel.at,
            lost: 0,
        };
        // Small writes share one segment.
        let shared = inner.inbox.back_mut().filter(|last| {
            last.files.is_empty() && last.continues(&segment, true) && last.bytes.len() < 4096
        });
        let joined = shared.is_some_and(|last| {
            let fits = last.bytes.try_reserve(count).is_ok();
            if fits {
                last.bytes.append(&mut segment.bytes);
            }
            fits
        });
        if !joined {
            inner.inbox.push_back(segment);
        }
        let mut events = POLLIN | POLLRDNORM;
        let mut lost = None;
        if parcel.urgent {
            lost = inner.mark_urgent();
            events |= POLLPRI;
            if let Some((file, posts)) = &inner.owned {
                posts.urgent(file);
            }
        }
        drop(inner);
        drop(lost);
        self.readable.wake_for(events);
    }

    fn is_deserted(&self) -> bool {
        self.lock().deserted
    }

    pub(super) fn send_message(
        &self,
        to: &Arc<Socket>,
        message: Message<'_>,
        waiting: Waiting,
    ) -> Result<usize, Stop> {
        let length = message.bytes.len();
        let longest = if self.is_local() {
            self.lock().options.send_bytes().saturating_sub(32)
        } else {
            UDP_MAX
        };
        if length > longest {
            return Err(Errno::EMSGSIZE.into());
        }
        if self.lock().shut & SENDS_NOT != 0 {
            return Err(Errno::EPIPE.into());
        }
        let v4 = self.family == Family::Inet || to.family == Family::Inet;
        let from = message.header.source(self.source_towards(to));
        let packet = message.target.map(|target| {
            let v4 = v4 || target.is_v4();
            message.header.packet(&self.lock().options, target, v4)
        });
        let mut bytes = copy(message.bytes)?;
        match to.taken_by_filter(&bytes, &from) {
            Some(taken) => bytes.truncate(taken),
            // Nobody is told that it is not wanted.
            None => return Ok(length),
        }
        let mut inner = to.lock();
        if inner.shut & RECEIVES_NOT != 0 && self.is_local() {
            return Err(Errno::EPIPE.into());
        }
        let taken = if self.is_local() {
            let first = inner.inbox.is_empty();
            inner.inbox.len() < MESSAGES_MAX && (first || inner.bytes + length <= longest)
        } else {
            inner.bytes + length <= inner.options.receive_bytes()
                && inner.inbox.len() < MESSAGES_MAX
                && inner.shut & RECEIVES_NOT == 0
        };
        if !taken {
            // Datagrams of the internet may be lost.
            if !self.is_local() {
                inner.lost = inner.lost.wrapping_add(1);
                return Ok(length);
            }
            drop(inner);
            return Err(waiting.stop(&to.writable));
        }
        inner.bytes += bytes.len();
        let lost = inner.lost;
        inner.inbox.push_back(Segment {
            bytes,
            taken: 0,
            files: Flight::new(message.files, &self.network),
            sender: message.sender,
            from,
            packet,
            at: message.at,
            lost,
        });
        drop(inner);
        to.readable.wake_for(POLLIN | POLLRDNORM);
        Ok(length)
    }

    /// Takes a message of the kernel's, if there is room: who does not read loses answers, as with Linux.
    pub(super) fn deliver(&self, message: Segment) {
        let mut inner = self.lock();
        let fits = inner.bytes + message.length() <= inner.options.receive_bytes();
        if message.length() > 0 && fits {
            let lost = inner.lost;
            inner.bytes += message.length();
            inner.inbox.push_back(Segment { lost, ..message });
        } else if !fits {
            inner.lost = inner.lost.wrapping_add(1);
        }
    }

    /// How much of a message the filter lets through, if anything. Of the internet it sees the header of UDP
    /// in front of the bytes, which is always let through if any byte is; of ICMP the header is among the bytes.
    pub(super) fn taken_by_filter(&self, bytes: &[u8], from: &Name) -> Option<usize> {
        const HEADER: usize = 8;
        let whole = self.is_local() || self.speaks_icmp();
        let inner = self.lock();
        let Some(filter) = &inner.options.filter else {
            return Some(bytes.len());
        };
        if whole {
            let taken = filter.run(bytes);
            return (taken > 0).then_some(taken);
        }
        let port = |name: Option<&Name>| match name {
            Some(Name::Endpoint(endpoint)) => endpoint.port,
            _ => 0,
        };
        let length = (HEADER + bytes.len()) as u16;
        let header = [port(Some(from)), port(inner.local.as_ref()), length, 0];
        let header = header.map(u16::to_be_bytes);
        let packet = [header.as_flattened(), bytes].concat();
        let taken = filter.run(&packet);
        (taken > 0).then(|| taken.saturating_sub(HEADER))
    }

    /// How long the message is that would be received next; 0 of a stream, and if there is none.
    pub(in super::super) fn next_message(&self, wanted: Wanted) -> usize {
        let inner = self.lock();
        let next = inner.message_behind(inner.passed_over(wanted.peeks));
        match next {
            Some((at, from)) if self.kind != Kind::Stream => {
                let message = inner.inbox.get(at);
                message.map_or(0, |message| message.length().saturating_sub(from))
            }
            _ => 0,
        }
    }

    /// Receives bytes or a message.
    pub(in super::super) fn receive(
        &self,
        wanted: Wanted,
        waiting: Waiting,
    ) -> Result<Received, Stop> {
        let with_sender = self.lock().options.is_set(super::options::PASSCRED);
        let mut inner = self.lock();
        let looked_at = inner.passed_over(wanted.peeks);
        let beyond = match self.kind {
            Kind::Stream => inner.bytes <= looked_at,
            _ => inner.message_behind(looked_at).is_none(),
        };
        // That a connection of messages is broken is told before what has come by it.
        if self.kind == Kind::Packet
            && let Some(error) = inner.error.take()
        {
            return Err(error.into());
        }
        if !inner.has_bytes() || beyond {
            if let Some(error) = inner.error.take() {
                return Err(error.into());
            }
            let over = inner.shut & RECEIVES_NOT != 0;
            let linked = matches!(inner.link, Link::Peer(_));
            drop(inner);
            if over && (self.kind != Kind::Datagram || self.is_local()) {
                return Ok(Received::end(self.kind));
            }
            if !linked && self.kind.connects() {
                let listens = self.kind == Kind::Stream && self.is_local();
                return Err(if listens {
                    Errno::EINVAL
                } else {
                    Errno::ENOTCONN
                }
                .into());
            }
            return Err(waiting.stop(&self.readable));
        }
        drop(inner);
        let received = match self.kind {
            Kind::Stream => self.take_bytes(wanted, with_sender)?,
            _ => self.take_message(wanted, with_sender)?,
        };
        let shift = match wanted.peeks {
            true => received.bytes.len() as i64,
            false => -(received.length as i64),
        };
        self.lock().options.shift_peek_offset(shift);
        if !wanted.peeks {
            // Room has become free: for the other side, or for anybody who sends here.
            let events = POLLOUT | POLLWRNORM;
            match self.peer() {
                Some(peer) if self.kind == Kind::Stream => peer.writable.wake_for(events),
                Some(peer) => {
                    self.writable.wake_for(events);
                    peer.writable.wake_for(events);
                }
                None => self.writable.wake_for(events),
            }
        }
        Ok(received)
    }

    fn take_bytes(&self, wanted: Wanted, with_sender: bool) -> Result<Received, Stop> {
        let mut inner = self.lock();
        let mut received = Received::end(Kind::Stream);
        let (mut skipped, most) = inner.stretch();
        let most = most.min(wanted.most);
        skipped += inner.passed_over(wanted.peeks);
        let available = inner.bytes.min(most);
        let bytes = &mut received.bytes;
        bytes.try_reserve(available).map_err(|_| Errno::ENOMEM)?;
        let mut at = 0;
        let mut used = Vec::new();
        let before = inner.bytes;
        while bytes.len() < most
            && let Some(segment) = inner.inbox.get_mut(at)
        {
            if wanted.peeks && skipped >= segment.length() {
                skipped -= segment.length();
                at += 1;
                continue;
            }
            let begun = received.sender.is_some();
            if begun && with_sender && received.sender != Some(segment.sender) {
                break;
            }
            received.sender = Some(segment.sender);
            let gap = core::mem::take(&mut skipped).min(segment.length());
            let count = (segment.length() - gap).min(most - bytes.len());
            let from = segment.taken + gap;
            bytes.extend_from_slice(&segment.bytes[from..from + count]);
            let has_files = !segment.files.is_empty();
            if has_files {
                received.files = if wanted.peeks {
                    segment.files.copies()
                } else {
                    core::mem::take(&mut segment.files).land()
                };
            }
            if wanted.peeks {
                at += 1;
            } else {
                segment.taken += gap + count;
                inner.bytes -= gap + count;
                let Some(segment) = inner.inbox.front() else {
                    break;
                };
                if segment.length() > 0 {
                    break;
                }
                used.extend(inner.inbox.pop_front());
            }
            if has_files {
                break;
            }
        }
        let passed = before - inner.bytes;
        inner.passed(passed);
        drop(inner);
        drop(used);
        received.length = received.bytes.len();
        if !with_sender {
            received.sender = None;
        }
        Ok(received)
    }

    fn take_message(&self, wanted: Wanted, with_sender: bool) -> Result<Received, Stop> {
        let mut inner = self.lock();
        let looked_at = inner.passed_over(wanted.peeks);
        let (at, from) = inner.message_behind(looked_at).ok_or(Errno::EAGAIN)?;
        let first = inner.inbox.get_mut(at).ok_or(Errno::EAGAIN)?;
        let length = first.length();
        let bytes = copy(&first.bytes[from..length.min(from.saturating_add(wanted.most))])?;
        let sender = with_sender.then_some(first.sender);
        let from = (self.kind == Kind::Datagram).then(|| first.from.clone());
        let (packet, at, lost) = (first.packet, first.at, first.lost);
        let files = if wanted.peeks {
            first.files.copies()
        } else {
            core::mem::take(&mut first.files).land()
        };
        let mut used = None;
        if !wanted.peeks {
            used = inner.inbox.pop_front();
            inner.bytes -= length;
        }
        let mut told = inner.options.stamps.told(at, self.is_local());
        if lost > 0 && inner.options.is_set(super::options::RXQ_OVFL) {
            let lost = lost.to_le_bytes().to_vec();
            told.push((super::options::SOL_SOCKET, super::options::RXQ_OVFL, lost));
        }
        if self.asks_kernel() {
            told.extend(super::netlink::told(&inner.options));
        }
        told.extend(
            packet
                .into_iter()
                .flat_map(|packet| packet.told(&inner.options)),
        );
        drop(inner);
        drop(used);
        Ok(Received {
            bytes,
            length,
            files,
            sender,
            from,
            told,
        })
    }

    /// The socket that a message to this address is for.
    ///
    /// # Errors
    /// As sendto(2).
    pub(in super::super) fn addressee(
        &self,
        given: &Given,
        find: impl FnOnce(&[u8]) -> Result<Arc<Socket>, Errno>,
    ) -> Result<Option<Arc<Socket>>, Errno> {
        match (self.family, given) {
            (_, Given::Unspecified) if self.family == Family::Unix => Err(Errno::EINVAL),
            (_, Given::Unspecified) => Ok(None),
            (Family::Unix, Given::Name(name)) => {
                let to = match name {
                    Name::Path(path) => find(path)?,
                    // Such a name is one of sockets of its kind.
                    Name::Abstract(name) => {
                        let named = self.network.named(name);
                        let named = named.filter(|named| named.kind == self.kind);
                        named.ok_or(Errno::ECONNREFUSED)?
                    }
                    _ => return Err(Errno::EINVAL),
                };
                if to.kind != self.kind {
                    return Err(Errno::EPROTOTYPE);
                }
                to.check_sender(self)?;
                Ok(Some(to))
            }
            (_, Given::Name(Name::Endpoint(to))) => {
                if to.port == 0 {
                    return Err(Errno::EINVAL);
                }
                if to.is_broadcast() && !self.lock().options.is_set(super::options::BROADCAST) {
                    return Err(Errno::EACCES);
                }
                if !to.is_local() {
                    return Err(Errno::ENETUNREACH);
                }
                self.bind_any()?;
                let to = to.definite();
                let takes = |taker: &Socket| taker.check_sender(self).is_ok();
                Ok(self.network.find(self.protocol(), &to, takes))
            }
            _ => Err(Errno::EINVAL),
        }
    }

    /// A socket of messages that is connected takes them from its other side only.
    fn check_sender(&self, sender: &Socket) -> Result<(), Errno> {
        if self.is_local() {
            let other = self.peer();
            return match other {
                Some(other) if !core::ptr::eq(&*other, sender) => Err(Errno::EPERM),
                _ => Ok(()),
            };
        }
        let remote = self.lock().remote.clone();
        let Some(remote) = remote else {
            return Ok(());
        };
        if sender.source_of_messages() == Some(remote) {
            Ok(())
        } else {
            Err(Errno::EPERM)
        }
    }

    /// Where a message to another socket comes from: what stands for all addresses is none that could be
    /// answered to.
    fn source_towards(&self, to: &Socket) -> Name {
        let by_v4 = self.family == Family::Inet || to.family == Family::Inet;
        match self.lock().local.clone() {
            Some(Name::Endpoint(own)) if own.is_any() || own.is_group() => {
                Name::Endpoint(Endpoint {
                    address: if by_v4 {
                        mapped([127, 0, 0, 1])
                    } else {
                        LOOPBACK
                    },
                    port: own.port,
                })
            }
            Some(name) => name,
            None => Name::Unnamed,
        }
    }

    /// Where messages come from that this socket sends.
    fn source_of_messages(&self) -> Option<Name> {
        match self.lock().local.clone() {
            Some(Name::Endpoint(endpoint)) => Some(Name::Endpoint(endpoint.definite())),
            other => other,
        }
    }
}

impl Received {
    /// Nothing, because nothing more comes.
    pub(super) fn end(kind: Kind) -> Received {
        Received {
            bytes: Vec::new(),
            length: 0,
            files: Vec::new(),
            sender: None,
            from: (kind == Kind::Datagram).then_some(Name::Unnamed),
            told: Vec::new(),
        }
    }
}

/// A copy, refused with `ENOMEM` instead of stopping the node.
fn copy(bytes: &[u8]) -> Result<Vec<u8>, Errno> {
    let mut copy = Vec::new();
    copy.try_reserve_exact(bytes.len())
        .map_err(|_| Errno::ENOMEM)?;
    copy.extend_from_slice(bytes);
    Ok(copy)
}
