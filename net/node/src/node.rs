//! The stack itself: who a frame is from, what it does, and which frame goes out next.
//!
//! Law: a frame changes a link only if it names both boots of that link. Transmission order:
//! beacons, greetings, then urgent packets of all peers in turn, gossip, then everything else of all
//! peers in turn.

use crate::discovery::{Answer, Discovery};
use crate::measure::{Filler, Measurement, Probe};
use crate::outbox::Outbox;
use crate::packing::Packer;
use crate::path::Path;
use crate::peer::Peer;
use crate::pieces::Cutter;
use crate::port::Port;
use crate::{
    Config, Edge, Event, PEERS_MAX, Page, PeerState, PeerView, SILENT_AFTER_NS, STOOD_STILL_NS,
    Transmit, Unreachable,
};
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;
use link::{Delivered, Payload};
use membership::Membership;
use seal::Seal;
use wire::{
    BROADCAST_MAC, BootId, HEADER_LEN, Header, Kind, Lane, MESSAGE_MAX, MTU_WHOLE, Message, NodeId,
    NodeInfo, PAYLOAD_MAX, PIECE_LEN, PageTag, PayloadKind, Pid,
};

/// Small frames (beacons, echo replies) that wait to be transmitted.
const SMALL_MAX: usize = 256;

/// A frame with little or nothing in it that goes to a peer unreliably.
#[derive(Clone, Copy, Debug)]
enum Small {
    Beacon {
        pid: Pid,
        epoch: u64,
        edge: Edge,
        at: u64,
    },
    EchoReply {
        seq: u32,
        bytes: u16,
    },
    Probe,
    Probed,
}

/// One node's protocol stack. `P` is a page of memory.
#[derive(Debug)]
pub struct Node<P> {
    pub(crate) config: Config,
    started: u64,
    /// The latest time we were told.
    pub(crate) latest: u64,
    pub(crate) mute: bool,
    pub(crate) discovery: Discovery,
    /// The payload of a Hello.
    greeting: Arc<[u8]>,
    pub(crate) peers: Vec<Peer<P>>,
    by_id: BTreeMap<NodeId, usize>,
    small: VecDeque<(usize, Small)>,
    /// Peers with something to transmit: urgent packets, anything else.
    queues: [VecDeque<usize>; 2],
    port: Port,
    pub(crate) membership: Membership,
    pub(crate) outbox: Outbox<P>,
    cutter: Cutter<P>,
    packer: Packer,
    scratch: Vec<u8>,
    filler: Filler<P>,
    runs: u64,
    pub(crate) refused: u64,
    /// Peers that were greeted in this period of Hellos, in a cluster with a key.
    pub(crate) greeted: usize,
    /// Only in a cluster with a key.
    pub(crate) seal: Option<Box<Seal>>,
    #[cfg(feature = "canary")]
    canary: Option<Canary>,
}

/// A bug that can be switched on: what does not find it is worth nothing.
#[cfg(feature = "canary")]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Canary {
    /// Links deliver pages that come again.
    DeliverDuplicates,
    /// Links forget the order of pages of files.
    ForgetOrder,
    /// Any boot that is not the present one passes for a newer one.
    BelieveAnyBoot,
}

#[cfg(feature = "canary")]
impl<P: Page> Node<P> {
    /// Breaks the node on purpose.
    pub fn release(&mut self, canary: Canary) {
        self.canary = Some(canary);
    }
}

impl<P: Page> Node<P> {
    /// A node that has just booted. `now` is its clock, ns; it never goes back.
    pub fn new(config: Config, now: u64) -> Node<P> {
        let seed = config.seed ^ config.boot.0 ^ u64::from(config.node.0) << 48;
        Node {
            started: now,
            latest: now,
            mute: false,
            discovery: Discovery::new(now, seed),
            greeting: Arc::from(config.info.encode()),
            peers: Vec::new(),
            by_id: BTreeMap::new(),
            small: VecDeque::new(),
            queues: [VecDeque::new(), VecDeque::new()],
            port: Port::new(config.info.features.is_virtual()),
            membership: crate::gossip::membership(&config, now),
            outbox: Outbox::new(),
            cutter: Cutter::new(),
            packer: Packer::new(config.packing),
            scratch: Vec::new(),
            filler: Filler::new(),
            runs: 0,
            refused: 0,
            greeted: 0,
            seal: None,
            #[cfg(feature = "canary")]
            canary: None,
            config,
        }
    }

    /// This node's number.
    pub fn id(&self) -> NodeId {
        self.config.node
    }

    /// This node's boot.
    pub fn boot(&self) -> BootId {
        self.config.boot
    }

    /// Frames refused before it was known whom they are from.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    // --- frames in

    /// Takes a received frame: its first [`HEADER_LEN`] bytes, the page they are followed by, and
    /// how many bytes of that were received. All of it is hostile.
    pub fn handle_frame(&mut self, now: u64, header: &[u8; HEADER_LEN], payload: P, length: usize) {
        self.is_told(now);
        match self.seal {
            None => self.handle_plain(now, header, payload, length),
            Some(_) => self.handle_sealed(now, *header, payload, length),
        }
    }

    /// The same with a frame that is not sealed, or not any more.
    pub(crate) fn handle_plain(
        &mut self,
        now: u64,
        header: &[u8; HEADER_LEN],
        payload: P,
        length: usize,
    ) {
        let Ok(header) = Header::parse(header) else {
            self.refused += 1;
            return;
        };
        if header.cluster.get() != self.config.cluster || length < header.carried().len() {
            self.refused += 1;
            return;
        }
        if header.source() == self.config.node {
            return self.handle_namesake(header);
        }
        let broadcast = header.target.get() == 0;
        if !broadcast && header.target() != self.config.node {
            return;
        }
        let to_us = header.target_boot() == self.config.boot;
        if !broadcast && !to_us {
            // For an earlier boot of ours: the sender shall learn that there is a new one.
            self.refused += 1;
            return self.discovery.answer(now, Kind::Hello, header);
        }
        let Some(index) = self.recognise(now, header, to_us) else {
            return;
        };
        let peer = &mut self.peers[index];
        peer.received += 1;
        peer.last_heard = now;
        peer.silence_from = now;
        if peer.state == PeerState::Silent {
            peer.state = PeerState::Alive;
            let (id, boot) = (peer.id, peer.boot);
            self.outbox.push(Event::PeerBack { id, boot });
            self.membership.peer_heard(now, id, boot);
        }
        let joined;
        let (header, payload) = match header.piece() {
            None => (header, payload),
            Some(_) => {
                let Some((whole, page)) = peer.joiner.join(now, header, &payload) else {
                    return;
                };
                joined = whole;
                (&joined, page)
            }
        };
        if to_us {
            let rtt_ns = peer.link.handle_header(now, header);
            if header.kind() == Kind::Data && header.lane() == Lane::Urgent {
                self.port.handle_awaited(now);
            }
            if header.kind() == Kind::Data && header.payload_length() == PAYLOAD_MAX {
                self.handle_load(now, index, rtt_ns);
            }
        }
        self.handle_kind(now, index, header, payload);
        self.mark(index);
    }

    /// A full packet came through the port.
    fn handle_load(&mut self, now: u64, index: usize, rtt_ns: Option<u64>) {
        let way = &mut self.peers[index].way;
        if self.port.handle_packet(now, index, way, rtt_ns) {
            let peers = &mut self.peers;
            self.port.end_round(now, peers);
        }
    }

    /// Whether the frame is from a peer's present boot, which it may also prove to be one.
    fn recognise(&mut self, now: u64, header: &Header, to_us: bool) -> Option<usize> {
        let (id, boot) = (header.source(), header.source_boot());
        let known = self.by_id.get(&id).copied();
        let mut after = 0;
        if let Some(index) = known {
            let peer = &mut self.peers[index];
            if peer.boot == boot {
                return Some(index);
            }
            let alive = now < peer.last_heard + SILENT_AFTER_NS;
            if peer.is_lost(boot) || (alive && peer.mac != header.source_mac) {
                peer.dropped += 1;
                return None;
            }
            after = peer.adopted_at + 1;
        }
        let echo_ns = header.echo_ns.get();
        let proven = to_us && echo_ns >= after && self.discovery.has_answered(id, boot, echo_ns);
        #[cfg(feature = "canary")]
        let proven = proven || (self.canary == Some(Canary::BelieveAnyBoot));
        if !proven || (known.is_none() && self.peers.len() >= PEERS_MAX) {
            self.discovery.answer(now, Kind::Hello, header);
            return None;
        }
        let path = Path::new(now, self.config.mtu >= MTU_WHOLE);
        let index = match known {
            Some(index) => {
                let peer = &mut self.peers[index];
                let (lost, measured) = (peer.boot, peer.measurement.is_some());
                peer.replace(now, boot, header.source_mac, path);
                self.small.retain(|&(to, _)| to != index);
                if let Some(seal) = &mut self.seal {
                    seal.forget(id, lost);
                }
                self.outbox.push(Event::PeerLost { id, boot: lost });
                if measured {
                    self.push_unmeasured(id);
                }
                index
            }
            None => {
                let peer = Peer::new(now, id, boot, header.source_mac, path);
                self.peers.push(peer);
                self.by_id.insert(id, self.peers.len() - 1);
                self.peers.len() - 1
            }
        };
        self.outbox.push(Event::PeerUp { id, boot });
        self.membership.peer_heard(now, id, boot);
        #[cfg(feature = "canary")]
        match self.canary {
            Some(Canary::DeliverDuplicates) => self.peers[index].link.deliver_duplicates(),
            Some(Canary::ForgetOrder) => self.peers[index].link.forget_order(),
            Some(Canary::BelieveAnyBoot) | None => {}
        }
        if header.kind() != Kind::Hello {
            self.discovery.answer(now, Kind::HelloReply, header);
        }
        self.probe_path(now, index);
        Some(index)
    }

    fn handle_kind(&mut self, now: u64, index: usize, header: &Header, payload: P) {
        let peer = &mut self.peers[index];
        let (from, boot) = (peer.id, peer.boot);
        match header.kind() {
            Kind::Data => {
                if self.outbox.is_full() {
                    peer.dropped += 1;
                    return;
                }
                let payload = match header.is_packed() {
                    true => self.packer.unpack(&payload, header.payload_length()),
                    false => Some(payload),
                };
                let Some(payload) = payload else {
                    peer.dropped += 1;
                    return;
                };
                let outbox = &mut self.outbox;
                peer.link
                    .handle_data(now, header, payload, &mut |item| match item {
                        Delivered::Message(message, size) => {
                            outbox.push_message(from, boot, message, size);
                        }
                        Delivered::Page(tag, page) => outbox.push(Event::Page {
                            from,
                            boot,
                            tag,
                            page,
                        }),
                    });
            }
            Kind::Hello | Kind::HelloReply => {
                let mut bytes = [0; 256];
                let length = header.payload_length();
                if let Some(bytes) = bytes.get_mut(..length) {
                    payload.read(0, bytes);
                    match NodeInfo::decode(bytes) {
                        Ok(info) if header.sent_ns.get() >= peer.info_ns => {
                            peer.info = info;
                            peer.info_ns = header.sent_ns.get();
                        }
                        Ok(_) => {}
                        Err(_) => peer.dropped += 1,
                    }
                }
                if header.kind() == Kind::Hello && header.target.get() != 0 {
                    self.discovery.answer(now, Kind::HelloReply, header);
                }
                self.probe_path(now, index);
            }
            Kind::Probe => self.push_small(index, Small::Probed),
            Kind::Probed => peer.path.confirm(),
            Kind::Ack => {}
            // Below us, or to be ignored in a cluster without a key.
            Kind::Knock | Kind::Welcome => peer.dropped += 1,
            Kind::Gossip => self.handle_gossip(now, index, header, &payload),
            Kind::Echo => {
                let (seq, bytes) = (header.seq.get(), header.payload_length() as u16);
                self.push_small(index, Small::EchoReply { seq, bytes });
            }
            Kind::EchoReply => {
                if let Some(measurement) = &mut peer.measurement {
                    measurement.handle_echo_reply(now, header.seq.get());
                    self.finish_measurement(index);
                }
            }
            Kind::Blast => {
                peer.sink
                    .handle_blast(now, header.epoch.get(), header.seq.get());
            }
            Kind::BlastReport => {
                if let Some(measurement) = &mut peer.measurement {
                    let (run, arrived) = (header.epoch.get(), header.page.get());
                    measurement.handle_report(now, run, header.seq.get(), arrived);
                    self.finish_measurement(index);
                }
            }
            Kind::Beacon => {
                let edge = match header.page.get() {
                    0 => Edge::Stopped,
                    _ => Edge::Started,
                };
                if !self.outbox.is_full() {
                    let (pid, epoch) = (header.pid(), header.epoch.get());
                    let at = now.saturating_sub(u64::from(header.seq.get()));
                    self.push_beacon(at, from, pid, epoch, edge);
                }
            }
        }
    }

    /// A frame that carries our own number as its source: an echo of the past, or another machine
    /// with the same number. Of two such machines the one that was up later gives way.
    pub(crate) fn handle_namesake(&mut self, header: &Header) {
        let (mac, boot) = (header.source_mac, header.source_boot());
        let greeting = matches!(header.kind(), Kind::Hello | Kind::HelloReply);
        if !greeting || mac == self.config.mac || boot == self.config.boot || self.mute {
            return;
        }
        let ours = (self.latest - self.started, self.config.boot);
        if ours < (header.epoch.get(), boot) {
            self.mute = true;
            self.outbox.push(Event::Refused { mac, boot });
        } else if !self.outbox.is_full() {
            self.outbox.push(Event::Claimed { mac, boot });
        }
    }

    // --- time

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: u64) {
        self.is_told(now);
        self.discovery.handle_timeout(now);
        self.handle_gossip_timeout(now);
        for index in 0..self.peers.len() {
            let peer = &mut self.peers[index];
            if peer.poll_timeout().is_none_or(|deadline| deadline > now) {
                continue;
            }
            if peer.state == PeerState::Alive && peer.silence_from + SILENT_AFTER_NS <= now {
                peer.state = PeerState::Silent;
                let (id, boot) = (peer.id, peer.boot);
                self.outbox.push(Event::PeerSilent { id, boot });
            }
            peer.link.handle_timeout(now);
            if peer.link.is_stuck() {
                peer.path.doubt(now);
            }
            peer.joiner.handle_timeout(now);
            peer.sink.handle_timeout(now);
            if let Some(measurement) = &mut peer.measurement {
                measurement.handle_timeout(now);
                self.finish_measurement(index);
            }
            self.mark(index);
        }
    }

    /// It is so late now. Who has stood still (its machine was stopped, its processor taken away) has heard nobody meanwhile, which
    /// says nothing of them: what they have sent may wait to be looked at.
    fn is_told(&mut self, now: u64) {
        let stood_still = now.saturating_sub(self.latest);
        self.latest = self.latest.max(now);
        if stood_still >= STOOD_STILL_NS && !self.peers.is_empty() {
            for peer in &mut self.peers {
                peer.silence_from += stood_still;
            }
            self.outbox.push(Event::StoodStill);
        }
    }

    /// When [`Node::handle_timeout`] is due. Looks at every peer.
    pub fn poll_timeout(&self) -> Option<u64> {
        if self.mute {
            return None;
        }
        let hello = self.discovery.poll_timeout();
        let peers = self.peers.iter().filter_map(Peer::poll_timeout).min();
        let gossip = self.membership.poll_timeout();
        link::earliest([Some(hello), peers, gossip])
    }

    // --- frames out

    /// The next frame to put on the wire.
    pub fn poll_transmit(&mut self, now: u64) -> Option<Transmit<P>> {
        self.is_told(now);
        if self.mute {
            return None;
        }
        match self.seal {
            None => self.transmit_plain(now),
            Some(_) => self.transmit_sealed(now),
        }
    }

    /// The same without its seal.
    pub(crate) fn transmit_plain(&mut self, now: u64) -> Option<Transmit<P>> {
        if let Some(piece) = self.cutter.next() {
            return Some(piece);
        }
        if let Some((index, small)) = self.small.pop_front() {
            return Some(self.transmit_small(now, index, small));
        }
        if let Some(answer) = self.discovery.take_answer() {
            return Some(self.transmit_greeting(now, Some(answer)));
        }
        if self.discovery.take_hello() {
            self.greeted = 0;
            return Some(self.transmit_greeting(now, None));
        }
        if let Some(answer) = self.next_greeting(now) {
            return Some(self.transmit_greeting(now, Some(answer)));
        }
        for queue in 0..2 {
            if queue == 1
                && let Some(transmit) = self.transmit_gossip(now)
            {
                return Some(transmit);
            }
            while let Some(index) = self.queues[queue].pop_front() {
                self.peers[index].queued[queue] = false;
                if let Some(transmit) = self.transmit_from(now, index, queue) {
                    self.mark(index);
                    return Some(transmit);
                }
            }
        }
        None
    }

    /// A header to this peer, without times and acknowledgements.
    pub(crate) fn header_to(config: &Config, peer: &Peer<P>, kind: Kind) -> Header {
        let mut header = Header::new(kind);
        header.target_mac = peer.mac;
        header.source_mac = config.mac;
        header.cluster = config.cluster.into();
        header.source = config.node.0.into();
        header.target = peer.id.0.into();
        header.source_boot = config.boot.0.into();
        header.target_boot = peer.boot.0.into();
        header
    }

    /// What the peer has in this queue: 0 urgent packets, 1 the rest.
    fn transmit_from(&mut self, now: u64, index: usize, queue: usize) -> Option<Transmit<P>> {
        let peer = &mut self.peers[index];
        if !peer.is_ready(queue) {
            return None;
        }
        if queue == 0 {
            // Most of it asks for something, and the answer is to find little in its way.
            self.port.handle_awaited(now);
        }
        let share = self.port.share(now, index);
        peer.link.set_share(share, self.port.together(share));
        let mut header = Self::header_to(&self.config, peer, Kind::Ack);
        let payload = if queue == 0 {
            let whole = |page: &P| Payload::page(page.clone());
            peer.link.poll_data(now, Lane::Urgent, &mut header, whole)?
        } else if let Some((run, highest, arrived)) = peer.sink.poll() {
            header.kind = Kind::BlastReport as u8;
            header.seq = highest.into();
            header.epoch = run.into();
            header.page = arrived.into();
            peer.link.fill(now, &mut header);
            Payload::None
        } else if let Some(payload) = peer.poll_bulk(now, &mut self.packer, &mut header) {
            payload
        } else if let Some(probe) = peer.measurement.as_mut().and_then(|m| m.poll(now)) {
            peer.link.fill(now, &mut header);
            match probe {
                Probe::Echo { seq, bytes } => {
                    header.kind = Kind::Echo as u8;
                    header.seq = seq.into();
                    self.filler.fill(&mut header, bytes)
                }
                Probe::Blast { seq, run, bytes } => {
                    header.kind = Kind::Blast as u8;
                    header.seq = seq.into();
                    header.epoch = run.into();
                    self.filler.fill(&mut header, bytes)
                }
            }
        } else if peer.link.owes_ack() {
            peer.link.fill(now, &mut header);
            Payload::None
        } else {
            return None;
        };
        Some(self.transmit_packet(now, index, header, payload))
    }

    /// Whole, or the first piece of it.
    fn transmit_packet(
        &mut self,
        now: u64,
        index: usize,
        header: Header,
        payload: Payload<P>,
    ) -> Transmit<P> {
        let peer = &mut self.peers[index];
        let fits = peer.path.is_wide() || payload.len() <= PIECE_LEN;
        if fits || header.kind() == Kind::Probe {
            peer.sent += 1;
            return Transmit {
                header: header.to_bytes(),
                payload,
            };
        }
        peer.sent += payload.len().div_ceil(PIECE_LEN) as u64;
        self.probe_path(now, index);
        self.cutter.cut(header, payload)
    }

    /// Asks whether the way to a peer carries whole pages, if that is not known.
    fn probe_path(&mut self, now: u64, index: usize) {
        if self.peers[index].path.take_probe(now) {
            self.push_small(index, Small::Probe);
        }
    }

    fn transmit_small(&mut self, now: u64, index: usize, small: Small) -> Transmit<P> {
        let peer = &mut self.peers[index];
        let kind = match small {
            Small::Beacon { .. } => Kind::Beacon,
            Small::EchoReply { .. } => Kind::EchoReply,
            Small::Probe => Kind::Probe,
            Small::Probed => Kind::Probed,
        };
        let mut header = Self::header_to(&self.config, peer, kind);
        let mut payload = Payload::None;
        match small {
            Small::Beacon {
                pid,
                epoch,
                edge,
                at,
            } => {
                header.seq = u32::try_from(now.saturating_sub(at))
                    .unwrap_or(u32::MAX)
                    .into();
                header.pid = pid.0.into();
                header.epoch = epoch.into();
                header.page = u64::from(edge == Edge::Started).into();
            }
            Small::EchoReply { seq, bytes } => {
                header.seq = seq.into();
                payload = self.filler.fill(&mut header, bytes);
            }
            Small::Probe => payload = self.filler.fill(&mut header, PAYLOAD_MAX as u16),
            Small::Probed => {}
        }
        peer.link.fill(now, &mut header);
        self.transmit_packet(now, index, header, payload)
    }

    /// A Hello to all, or the answer to one node, which need not be a peer yet.
    fn transmit_greeting(&mut self, now: u64, answer: Option<Answer>) -> Transmit<P> {
        let mut header = Header::new(answer.map_or(Kind::Hello, |answer| answer.kind));
        header.target_mac = BROADCAST_MAC;
        header.source_mac = self.config.mac;
        header.cluster = self.config.cluster.into();
        header.source = self.config.node.0.into();
        header.source_boot = self.config.boot.0.into();
        header.payload_kind = PayloadKind::Info as u8;
        // What strangers hear with a key is an invitation, and tells nothing.
        let greeting = match answer {
            None if self.seal.is_some() => Arc::from(NodeInfo::default().encode()),
            _ => self.greeting.clone(),
        };
        header.length = (greeting.len() as u16).into();
        header.epoch = now.saturating_sub(self.started).into();
        header.sent_ns = now.into();
        if let Some(answer) = answer {
            header.target_mac = answer.mac;
            header.target = answer.to.0.into();
            header.target_boot = answer.boot.0.into();
            let index = self.by_id.get(&answer.to).copied();
            let peer = index.map(|index| &mut self.peers[index]);
            if let Some(peer) = peer.filter(|peer| peer.boot == answer.boot) {
                peer.link.fill(now, &mut header);
                peer.sent += 1;
            } else if let Ok(held_ns) = u32::try_from(now.saturating_sub(answer.heard_at)) {
                header.echo_ns = answer.echo_ns.into();
                header.held_ns = held_ns.into();
                self.discovery.note_answered(now, answer.to, answer.boot);
            }
        }
        Transmit {
            header: header.to_bytes(),
            payload: Payload::Bytes(greeting.clone(), 0..greeting.len()),
        }
    }

    // --- events and verbs

    /// What happened next.
    pub fn poll_event(&mut self) -> Option<Event<P>> {
        if self.outbox.is_empty() {
            return self.membership.poll_event().map(Event::Member);
        }
        self.outbox.pop()
    }

    /// Whether [`Node::poll_event`] would return something.
    pub fn has_events(&self) -> bool {
        !self.outbox.is_empty() || self.membership.has_events()
    }

    /// Queues a message on the urgent lane. To ourselves it comes back as an event.
    ///
    /// # Errors
    /// [`Unreachable`]; nothing was queued. A silent peer is not unreachable.
    pub fn send(&mut self, now: u64, to: NodeId, message: Message) -> Result<(), Unreachable> {
        self.send_on(now, to, Lane::Urgent, message)
    }

    /// The same on the bulk lane.
    ///
    /// # Errors
    /// As [`Node::send`].
    pub fn send_bulk(&mut self, now: u64, to: NodeId, message: Message) -> Result<(), Unreachable> {
        self.send_on(now, to, Lane::Bulk, message)
    }

    fn send_on(
        &mut self,
        now: u64,
        to: NodeId,
        lane: Lane,
        message: Message,
    ) -> Result<(), Unreachable> {
        self.is_told(now);
        if to == self.config.node {
            let (from, boot) = (to, self.config.boot);
            self.outbox.push_message(from, boot, message, 0);
            return Ok(());
        }
        let index = self.index(to)?;
        self.scratch.clear();
        self.scratch = message.encode_to(core::mem::take(&mut self.scratch));
        let bytes: Arc<[u8]> = Arc::from(self.scratch.as_slice());
        self.scratch.shrink_to(PAYLOAD_MAX);
        if bytes.len() > MESSAGE_MAX {
            return Err(Unreachable::TooLong);
        }
        self.peers[index].link.send(lane, bytes);
        self.mark(index);
        Ok(())
    }

    /// Queues a page. To ourselves it comes back as an event.
    ///
    /// # Errors
    /// [`Unreachable::Unknown`]; nothing was queued.
    pub fn send_page(
        &mut self,
        now: u64,
        to: NodeId,
        lane: Lane,
        tag: PageTag,
        page: P,
    ) -> Result<(), Unreachable> {
        self.is_told(now);
        if to == self.config.node {
            let (from, boot) = (to, self.config.boot);
            self.outbox.push(Event::Page {
                from,
                boot,
                tag,
                page,
            });
            return Ok(());
        }
        let index = self.index(to)?;
        self.peers[index].link.send_page(lane, tag, page);
        self.mark(index);
        Ok(())
    }

    /// How many more items it makes sense to queue on the bulk lane now; 0 for unknown nodes.
    pub fn bulk_room(&self, to: NodeId) -> usize {
        if to == self.config.node {
            return link::ROOM;
        }
        self.index(to)
            .map_or(0, |index| self.peers[index].link.room(Lane::Bulk))
    }

    /// How many more items it makes sense to queue on the urgent lane now; 0 for unknown nodes.
    pub fn urgent_room(&self, to: NodeId) -> usize {
        self.index(to)
            .map_or(0, |index| self.peers[index].link.room(Lane::Urgent))
    }

    /// Whether everything on the bulk lane was acknowledged.
    pub fn bulk_idle(&self, to: NodeId) -> bool {
        self.index(to)
            .map_or(true, |index| self.peers[index].link.is_idle(Lane::Bulk))
    }

    /// Whether a page of the memory of that process in that epoch was sent there on any lane and not acknowledged.
    pub fn page_under_way(&self, to: NodeId, pid: Pid, epoch: u64) -> bool {
        let like = |tag: &PageTag| (tag.pid, tag.epoch) == (pid, epoch) && !tag.is_file();
        self.index(to)
            .is_ok_and(|index| self.peers[index].link.keeps_page(like))
    }

    /// Whether a page of a file or of shared memory that this process has sent there on the urgent lane may not have been
    /// handed on there: something that comes from elsewhere could overtake it.
    pub fn is_telling(&self, to: NodeId, pid: Pid) -> bool {
        let like = |tag: &PageTag| tag.pid == pid && tag.is_file();
        self.index(to)
            .is_ok_and(|index| self.peers[index].link.holds_page(Lane::Urgent, like))
    }

    /// Acknowledges at once what has come from a node: it waits for that.
    pub fn acknowledge(&mut self, to: NodeId) {
        if let Ok(index) = self.index(to) {
            self.peers[index].link.acknowledge();
            self.mark(index);
        }
    }

    /// All peers in the order of their numbers.
    pub fn peers(&self) -> impl Iterator<Item = PeerView> {
        self.by_id
            .values()
            .map(|&index| self.peers[index].view(self.latest))
    }

    /// One peer.
    pub fn peer(&self, id: NodeId) -> Option<PeerView> {
        let index = self.index(id).ok()?;
        Some(self.peers[index].view(self.latest))
    }

    /// Changes what the next Hello tells.
    pub fn set_info(&mut self, info: NodeInfo) {
        if info != self.config.info {
            self.config.info = info;
            self.greeting = Arc::from(info.encode());
        }
    }

    /// Measures the link to a peer: `pings` minimal frames one after the other, then `blast_frames`
    /// full ones, or all of them with so many `bytes` behind the header. The answer is [`Event::Measured`], at once and empty if the node is unknown. A
    /// measurement that runs already is given up.
    pub fn measure(
        &mut self,
        now: u64,
        to: NodeId,
        (pings, blast_frames): (u32, u32),
        bytes: Option<u16>,
    ) {
        self.is_told(now);
        let Ok(index) = self.index(to) else {
            return self.push_unmeasured(to);
        };
        self.runs += 1;
        let measurement = Measurement::new(self.runs, pings, blast_frames, bytes);
        self.peers[index].measurement = Some(Box::new(measurement));
        self.finish_measurement(index);
        self.mark(index);
    }

    /// Tells an observer, unreliably and before everything else, that a process stopped or started
    /// at `at`. The frame carries how long ago that was when it leaves.
    pub fn beacon(&mut self, at: u64, to: NodeId, pid: Pid, epoch: u64, edge: Edge) {
        if to == self.config.node {
            return self.push_beacon(at, to, pid, epoch, edge);
        }
        if let Ok(index) = self.index(to) {
            let beacon = Small::Beacon {
                pid,
                epoch,
                edge,
                at,
            };
            self.push_small(index, beacon);
        }
    }

    /// Whether something waits that is to leave before anything else is done: an answer, a beacon
    /// or an urgent packet.
    pub fn is_urgent(&self) -> bool {
        let waits = !self.small.is_empty() || !self.queues[0].is_empty() || self.has_handshake();
        !self.mute && (waits || !self.cutter.is_empty())
    }

    /// Whether [`Node::poll_transmit`] has nothing to give now.
    pub fn is_quiet(&self) -> bool {
        self.mute
            || self.cutter.is_empty()
                && self.small.is_empty()
                && self.queues.iter().all(VecDeque::is_empty)
                && self.discovery.is_quiet()
                && self.membership.is_quiet()
                && !self.has_handshake()
                && !self.has_greeting()
    }

    // --- small helpers

    pub(crate) fn index(&self, id: NodeId) -> Result<usize, Unreachable> {
        self.by_id.get(&id).copied().ok_or(Unreachable::Unknown)
    }

    fn push_beacon(&mut self, at: u64, from: NodeId, pid: Pid, epoch: u64, edge: Edge) {
        self.outbox.push(Event::Beacon {
            from,
            pid,
            epoch,
            edge,
            at,
        });
    }

    fn push_unmeasured(&mut self, peer: NodeId) {
        self.outbox.push(Event::Measured {
            peer,
            rtt_ns: Vec::new(),
            blast_bytes_per_s: 0,
        });
    }

    fn push_small(&mut self, index: usize, small: Small) {
        if self.small.len() < SMALL_MAX {
            self.small.push_back((index, small));
        }
    }

    fn finish_measurement(&mut self, index: usize) {
        let peer = &mut self.peers[index];
        let result = peer.measurement.as_mut().and_then(|m| m.result());
        if let Some((rtt_ns, blast_bytes_per_s)) = result {
            peer.measurement = None;
            self.outbox.push(Event::Measured {
                peer: peer.id,
                rtt_ns,
                blast_bytes_per_s,
            });
        }
    }

    /// The peer may have something to transmit.
    fn mark(&mut self, index: usize) {
        let peer = &mut self.peers[index];
        for (queue, waiting) in self.queues.iter_mut().enumerate() {
            if !peer.queued[queue] && peer.is_ready(queue) {
                peer.queued[queue] = true;
                waiting.push_back(index);
            }
        }
    }
}

#[cfg(test)]
mod tests;
