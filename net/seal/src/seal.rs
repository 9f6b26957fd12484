//! All that a boot has with others: who was met, sessions, handshakes under way, and what is refused.
//!
//! Law: what anybody can make us keep is bounded, and least by those of whom it is not known whether they
//! have the keys. A boot is known by node and id together, as only the node is proven by a key. There are no timers: every boot that lives says Hello twice a second, and who hears that, or wants to
//! send, looks whether the session with it is due.

use crate::cipher::{Body, Scratch, Suite, feed};
use crate::doubts::Doubts;
use crate::handshake::{self, Begun, End, Opening};
use crate::key::KEY_LEN;
use crate::rate::Rate;
use crate::roster::Credentials;
use crate::session::{FRAMES_MAX, SLOTS, Session, TagKey, slot_of};
use crate::ticket::Tickets;
use crate::{Counters, Refused};
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::fmt;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use wire::{
    BootId, ETHERTYPE, HANDSHAKE_LEN, HEADER_LEN, Header, Kind, NodeId, PAYLOAD_MAX, Passage,
    Ticket, VERSION,
};
use zerocopy::FromBytes;
use zeroize::Zeroizing;

/// Boots known at most.
const KNOWN_MAX: usize = 4096;
/// Of them those with which there was no session yet.
const UNMET_MAX: usize = 64;
/// Frames of handshakes that wait to be transmitted.
const LEAVING_MAX: usize = 128;
/// A handshake that was not answered is begun again after so long, ns. Who was met is heard no sooner again, either.
const RETRY_NS: u64 = 100_000_000;
/// Strangers that are told of, each once.
const STRANGERS_MAX: usize = 16;

/// Who a boot is.
#[derive(Clone)]
pub struct Config {
    /// Its node.
    pub node: NodeId,
    /// Random, not zero.
    pub boot: BootId,
    /// Its Ethernet address.
    pub mac: [u8; 6],
    /// Its cluster.
    pub cluster: u32,
    /// Its keys, which are those of `node`.
    pub credentials: Credentials,
    /// What the keys of its handshakes are drawn from: of a true source of randomness, and never used again.
    pub entropy: [u8; 32],
}

/// A Hello to all of a boot with which there is a session now. It could not be believed when it came.
#[derive(Clone, Copy, Debug)]
pub struct Greeting {
    /// Its header, without the seal.
    pub header: Header,
    /// When it came.
    pub heard_at: u64,
}

/// What a frame was that was not refused.
#[derive(Clone, Copy, Debug)]
pub enum Opened {
    /// It is from a boot of the cluster, was never here before, and its header has no seal any more.
    Frame,
    /// It belonged to a handshake.
    Handshake,
    /// It is a Hello to all of a boot that was met. Any node of the cluster can have made it, so nothing of it is to be
    /// believed.
    Invitation,
    /// It ended a handshake that had begun with this Hello.
    Met(Greeting),
}

/// A frame of a handshake to put on the wire.
#[derive(Clone, Debug)]
pub struct HandshakeFrame {
    /// With Ethernet header.
    pub header: [u8; HEADER_LEN],
    /// What follows.
    pub payload: [u8; HANDSHAKE_LEN],
}

/// A handshake that we have begun.
#[derive(Debug)]
struct Knocking {
    begun: Begun,
    slot: usize,
    at: u64,
    /// The header that the answer must have.
    welcome: Header,
    greeting: Option<Greeting>,
}

/// Another boot.
#[derive(Debug)]
struct Known {
    end: End,
    hello_key: TagKey,
    /// The highest number of a Hello of it.
    hello_seen: u32,
    /// The number of its last message that began a handshake, 0: none, and when that came.
    knock_seen: u32,
    knocked_at: Option<u64>,
    /// Whether there was a session with it.
    is_met: bool,
    slots: [Option<Session>; SLOTS],
    /// The session that is used to send.
    sending: Option<usize>,
    knocking: Option<Knocking>,
    used_at: u64,
}

impl Known {
    fn new(now: u64, end: End, hello_key: TagKey) -> Known {
        Known {
            end,
            hello_key,
            hello_seen: 0,
            knock_seen: 0,
            knocked_at: None,
            is_met: false,
            slots: [const { None }; SLOTS],
            sending: None,
            knocking: None,
            used_at: now,
        }
    }

    /// Where a new session has room. There are two that are in use, the one that is used to send and the one before
    /// it, and one that is being made by either side.
    fn free_slot(&self, now: u64) -> usize {
        let pending = self.knocking.as_ref().map(|knocking| knocking.slot);
        let rank = |slot: usize| match &self.slots[slot] {
            None => (0, 0),
            Some(session) if session.is_over(now) => (0, session.since),
            Some(session) if !session.is_confirmed => (1, session.since),
            Some(session) => (2, session.since),
        };
        (0..SLOTS)
            .filter(|slot| Some(*slot) != pending && Some(*slot) != self.sending)
            .min_by_key(|slot| rank(*slot))
            .unwrap_or(0)
    }

    fn begin_sending(&mut self, slot: usize) {
        self.sending = Some(slot);
        self.is_met = true;
    }

    /// Whether there is a session to send in, and no need of another.
    fn is_settled(&self, now: u64) -> bool {
        let session = self.sending.and_then(|slot| self.slots[slot].as_ref());
        session.is_some_and(|session| !session.is_over(now) && !session.is_old(now))
    }
}

/// What one boot has with all others of its cluster.
pub struct Seal {
    config: Config,
    handshake_key: Zeroizing<[u8; KEY_LEN]>,
    knock_key: TagKey,
    hello_key: TagKey,
    /// The number of our last Hello to all.
    hellos: u32,
    /// The number of the last handshake that we have begun.
    knocks: u32,
    known: BTreeMap<(NodeId, BootId), Known>,
    leaving: VecDeque<HandshakeFrame>,
    doubts: Doubts,
    answer_rate: Rate,
    dice: ChaCha20Rng,
    counters: Counters,
    scratch: Box<Scratch>,
    strangers: VecDeque<(NodeId, [u8; 6])>,
    told: Vec<NodeId>,
    tickets: Tickets,
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seal")
            .field("known", &self.known)
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}

/// What has become of a frame that is to leave.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sealed<'a> {
    /// There is no session: it cannot leave, and a handshake is begun.
    Not,
    /// It has its tag, and its payload is what it was.
    Tagged,
    /// It has its tag, and this is its payload now.
    Encrypted(&'a [u8]),
}

impl Seal {
    /// The seal of a boot that has met nobody.
    pub fn new(config: Config) -> Seal {
        let (cluster, node, boot) = (config.cluster, config.node, config.boot);
        let key = &config.credentials.cluster;
        let suite = config.credentials.suite;
        let mut seal = Seal {
            handshake_key: key.handshake(suite),
            knock_key: TagKey(key.knock(suite)),
            hello_key: TagKey(key.hello(suite, cluster, node, boot)),
            scratch: Box::new([0; PAYLOAD_MAX]),
            hellos: 0,
            knocks: 0,
            known: BTreeMap::new(),
            leaving: VecDeque::new(),
            doubts: Doubts::new(),
            answer_rate: Rate::new(),
            dice: ChaCha20Rng::from_seed(config.entropy),
            counters: Counters::default(),
            strangers: VecDeque::new(),
            told: Vec::new(),
            tickets: Tickets::default(),
            config,
        };
        // For processes that leave their home.
        seal.met(node);
        seal
    }

    /// What was counted.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// A node whose Hello was refused, which is told once for each number of one: it has another key, or none.
    pub fn poll_stranger(&mut self) -> Option<(NodeId, [u8; 6])> {
        self.strangers.pop_front()
    }

    /// The next frame of a handshake to put on the wire.
    pub fn poll_transmit(&mut self) -> Option<HandshakeFrame> {
        self.leaving.pop_front()
    }

    /// Whether [`Seal::poll_transmit`] has something.
    pub fn has_transmit(&self) -> bool {
        !self.leaving.is_empty()
    }

    /// A boot of a node is over: its frames are not accepted any more.
    pub fn forget(&mut self, node: NodeId, boot: BootId) {
        self.known.remove(&(node, boot));
    }

    // --- tickets

    /// The word of this node, the source, to the home of a process that it lets that passage happen. `None`: that home is not in the
    /// roster, so it would not hear of it either.
    pub fn ticket(&mut self, home: NodeId, passage: &Passage) -> Option<Ticket> {
        let ours = &self.config.credentials;
        self.tickets.make(ours, home, passage)
    }

    /// Whether a ticket is the word of a passage's source to this node, the home of the process. All of it is hostile.
    pub fn permits(&mut self, passage: &Passage, ticket: &Ticket) -> bool {
        let ours = &self.config.credentials;
        self.tickets.check(ours, passage.source.0, passage, ticket)
    }

    /// There is a session with a node, or it is this one. The key for tickets is made now, so that no move waits for it.
    fn met(&mut self, node: NodeId) {
        let _key = self.tickets.key(&self.config.credentials, node);
    }

    // --- frames out

    /// Seals a frame that carries these bytes.
    pub fn seal<B: Body + ?Sized>(
        &mut self,
        now: u64,
        header: &mut [u8; HEADER_LEN],
        body: &B,
    ) -> Sealed<'_> {
        let Ok(header) = Header::mut_from_bytes(header) else {
            return Sealed::Not;
        };
        let length = header.carried().len();
        if is_hello_to_all(header) {
            if self.hellos >= FRAMES_MAX {
                return Sealed::Not;
            }
            self.hellos += 1;
            header.counter = self.hellos.into();
            header.tag = self.hello_key.tag(header, |t| feed(t, length, body));
            return Sealed::Tagged;
        }
        let boot = header.target_boot();
        let to = End {
            node: header.target(),
            boot,
            mac: header.target_mac,
        };
        let scratch = &mut self.scratch;
        let known = self.known.get_mut(&(to.node, boot));
        let settled = known.as_ref().is_some_and(|known| known.is_settled(now));
        let session = known.and_then(|known| known.slots[known.sending?].as_mut());
        let session = session.filter(|session| !session.is_over(now));
        let sealed = session.and_then(|session| session.seal(header, length, body, scratch));
        if !settled {
            let _too_many = self.knock(now, to, None);
        }
        self.counters.unsent += u64::from(sealed.is_none());
        match sealed {
            None => Sealed::Not,
            Some(false) => Sealed::Tagged,
            Some(true) => Sealed::Encrypted(&self.scratch[..length]),
        }
    }

    /// Begins a handshake with a boot, unless one is under way.
    fn knock(&mut self, now: u64, to: End, greeting: Option<Greeting>) -> Result<(), Refused> {
        let boot = (to.node, to.boot);
        let known = self.known.get_mut(&boot);
        let is_met = known.as_ref().is_some_and(|known| known.is_met);
        if let Some(Known {
            knocking: Some(knocking),
            ..
        }) = known
            && now < knocking.at + RETRY_NS
        {
            knocking.greeting = greeting.or(knocking.greeting);
            return Ok(());
        }
        let theirs = *self.public(to.node)?;
        // Those who were met are few, and do not wait for strangers.
        if self.leaving.len() >= LEAVING_MAX || !is_met && !self.doubts.take(now, boot) {
            return Err(Refused::Rate);
        }
        let us = self.end();
        let cluster = self.config.cluster;
        self.knocks += 1;
        let number = self.knocks;
        let header = handshake::header(Kind::Knock, cluster, us, to, number);
        let welcome = handshake::header(Kind::Welcome, cluster, to, us, number);
        let seed = self.seed();
        let hellos = self.hellos;
        let known = self.known_or_new(now, to);
        let slot = match known.knocking.take() {
            Some(knocking) => knocking.slot,
            None => known.free_slot(now),
        };
        let said = handshake::Said {
            slot: slot as u8,
            hellos,
        };
        let opening = Opening {
            psk: &self.handshake_key,
            ours: &self.config.credentials,
            theirs: &theirs,
            seed,
            knock: &header,
        };
        let (begun, payload) = handshake::begin(&opening, &said).ok_or(Refused::Handshake)?;
        let known = self.known_or_new(now, to);
        known.knocking = Some(Knocking {
            begun,
            slot,
            at: now,
            welcome,
            greeting,
        });
        self.counters.knocks += 1;
        self.leave(header, payload);
        Ok(())
    }

    /// A message of a handshake leaves, with its tag.
    fn leave(&mut self, mut header: Header, payload: [u8; HANDSHAKE_LEN]) {
        header.tag = self.knock_key.tag(&header, |t| t.write(&payload));
        let header = header.to_bytes();
        self.leaving.push_back(HandshakeFrame { header, payload });
    }

    // --- frames in

    /// Opens a received frame, of which so many bytes of the body came. All of it is hostile. If it is accepted and was encrypted, the body
    /// is what it was before that.
    ///
    /// # Errors
    /// The reason why it is refused.
    pub fn open<B: Body + ?Sized>(
        &mut self,
        now: u64,
        header: &mut [u8; HEADER_LEN],
        length: usize,
        body: &mut B,
    ) -> Result<Opened, Refused> {
        let opened = match Header::mut_from_bytes(header) {
            Ok(header) => self.open_checked(now, header, length, body),
            Err(_) => Err(Refused::Length),
        };
        if let Err(reason) = opened {
            self.counters.refused[reason as usize] += 1;
        }
        opened
    }

    fn open_checked<B: Body + ?Sized>(
        &mut self,
        now: u64,
        header: &mut Header,
        length: usize,
        body: &mut B,
    ) -> Result<Opened, Refused> {
        let carried = header.carried().len();
        let is_ours = header.ethertype == ETHERTYPE.to_be_bytes()
            && header.version == VERSION
            && header.cluster.get() == self.config.cluster
            && carried <= length
            && header.payload_length() <= PAYLOAD_MAX;
        if !is_ours {
            return Err(Refused::Length);
        }
        if header.source_boot() == self.config.boot {
            return Err(Refused::Session);
        }
        if let Err(reason) = self.public(header.source()) {
            self.note_stranger(header.source(), header.source_mac);
            return Err(reason);
        }
        if is_hello_to_all(header) {
            return self.open_hello(now, header, carried, body);
        }
        if header.target() != self.config.node || header.target_boot() != self.config.boot {
            return Err(Refused::Session);
        }
        if matches!(header.kind(), Kind::Knock | Kind::Welcome) {
            return self.open_handshake(now, header, body);
        }
        let counter = header.counter.get();
        let slot = slot_of(counter);
        let boot = (header.source(), header.source_boot());
        let known = self.known.get_mut(&boot).ok_or(Refused::Session)?;
        let session = known.slots[slot].as_mut();
        let session = session.filter(|session| !session.is_over(now));
        let session = session.ok_or(Refused::Session)?;
        if !session.check(header, carried, body, &mut self.scratch) {
            return Err(Refused::Tag);
        }
        if !session.accept(counter) {
            return Err(Refused::Replay);
        }
        if session.encrypts() {
            body.write(0, &self.scratch[..carried]);
        }
        let is_confirmed = core::mem::replace(&mut session.is_confirmed, true);
        known.used_at = now;
        if !is_confirmed {
            known.begin_sending(slot);
            self.counters.sessions += 1;
            self.doubts.clear(boot);
            self.met(boot.0);
        }
        unseal(header);
        Ok(Opened::Frame)
    }

    /// A Hello to all.
    fn open_hello<B: Body + ?Sized>(
        &mut self,
        now: u64,
        header: &mut Header,
        carried: usize,
        body: &B,
    ) -> Result<Opened, Refused> {
        let (node, boot) = (header.source(), header.source_boot());
        let known = self.known.get(&(node, boot));
        let key = match known {
            Some(known) => known.hello_key,
            None => self.hello_key(node, boot),
        };
        if !key.check(header, |t| feed(t, carried, body)) {
            self.note_stranger(node, header.source_mac);
            return Err(Refused::Tag);
        }
        let number = header.counter.get();
        if number <= known.map_or(0, |known| known.hello_seen) {
            return Err(Refused::Replay);
        }
        unseal(header);
        let is_met = known.is_some_and(|known| known.is_met);
        if !known.is_some_and(|known| known.is_settled(now)) {
            let end = End {
                node,
                boot,
                mac: header.source_mac,
            };
            let greeting = Greeting {
                header: *header,
                heard_at: now,
            };
            let begun = self.knock(now, end, Some(greeting));
            if !is_met {
                begun?;
            }
        }
        if let Some(known) = self.known.get_mut(&(node, boot)) {
            known.hello_seen = number;
            // Of one that was met only what its own keys have sealed keeps it from being forgotten.
            known.used_at = if is_met { known.used_at } else { now };
        }
        match is_met {
            true => Ok(Opened::Invitation),
            false => Ok(Opened::Handshake),
        }
    }

    /// A message of a handshake, to this boot.
    fn open_handshake<B: Body + ?Sized>(
        &mut self,
        now: u64,
        header: &mut Header,
        body: &B,
    ) -> Result<Opened, Refused> {
        let mut payload = [0; HANDSHAKE_LEN];
        if header.payload_length() != HANDSHAKE_LEN {
            return Err(Refused::Handshake);
        }
        body.read(0, &mut payload);
        if !self.knock_key.check(header, |t| t.write(&payload)) {
            return Err(Refused::Tag);
        }
        header.tag = [0; 16];
        match header.kind() {
            Kind::Knock => self.open_knock(now, header, &payload),
            _ => self.open_welcome(now, header, &payload),
        }
    }

    fn open_knock(
        &mut self,
        now: u64,
        header: &Header,
        payload: &[u8; HANDSHAKE_LEN],
    ) -> Result<Opened, Refused> {
        let us = self.end();
        let from = End {
            node: header.source(),
            boot: header.source_boot(),
            mac: header.source_mac,
        };
        let cluster = self.config.cluster;
        let number = header.counter.get();
        if *header != handshake::header(Kind::Knock, cluster, from, us, number) {
            return Err(Refused::Handshake);
        }
        let theirs = *self.public(from.node)?;
        let known = self.known.get_mut(&(from.node, from.boot));
        if number <= known.as_ref().map_or(0, |known| known.knock_seen) {
            return Err(Refused::Handshake);
        }
        let may = match known {
            Some(known) if known.is_met => {
                let last = known.knocked_at.replace(now);
                last.is_none_or(|last| now >= last + RETRY_NS / 2)
            }
            _ => self.answer_rate.take(now),
        };
        if !may || self.leaving.len() >= LEAVING_MAX {
            return Err(Refused::Rate);
        }
        let seed = self.seed();
        let opening = Opening {
            psk: &self.handshake_key,
            ours: &self.config.credentials,
            theirs: &theirs,
            seed,
            knock: header,
        };
        let heard = handshake::hear(&opening, payload).ok_or(Refused::Handshake)?;
        let (hellos, suite) = (self.hellos, self.suite());
        let said = heard.said;
        let known = self.known_or_new(now, from);
        let slot = known.free_slot(now);
        let answer = handshake::Said {
            slot: slot as u8,
            hellos,
        };
        let (keys, payload) = heard.answer(suite, &answer).ok_or(Refused::Handshake)?;
        known.knock_seen = number;
        known.hello_seen = known.hello_seen.max(said.hellos);
        known.slots[slot] = Some(Session::new(now, keys, said.slot, false));
        self.counters.welcomes += 1;
        let header = handshake::header(Kind::Welcome, cluster, us, from, number);
        self.leave(header, payload);
        Ok(Opened::Handshake)
    }

    fn open_welcome(
        &mut self,
        now: u64,
        header: &Header,
        payload: &[u8; HANDSHAKE_LEN],
    ) -> Result<Opened, Refused> {
        let boot = (header.source(), header.source_boot());
        let suite = self.suite();
        let known = self.known.get_mut(&boot).ok_or(Refused::Handshake)?;
        let knocking = known.knocking.as_mut();
        let knocking = knocking.filter(|knocking| knocking.welcome == *header);
        let knocking = knocking.ok_or(Refused::Handshake)?;
        let (keys, said) = knocking
            .begun
            .finish(suite, payload)
            .ok_or(Refused::Handshake)?;
        let (slot, greeting) = (knocking.slot, knocking.greeting);
        known.knocking = None;
        known.hello_seen = known.hello_seen.max(said.hellos);
        known.slots[slot] = Some(Session::new(now, keys, said.slot, true));
        known.begin_sending(slot);
        known.used_at = now;
        self.counters.sessions += 1;
        self.doubts.clear(boot);
        self.met(boot.0);
        Ok(greeting.map_or(Opened::Handshake, Opened::Met))
    }

    // --- small helpers

    fn suite(&self) -> Suite {
        self.config.credentials.suite
    }

    fn end(&self) -> End {
        End {
            node: self.config.node,
            boot: self.config.boot,
            mac: self.config.mac,
        }
    }

    /// The key of a node in the roster.
    fn public(&self, node: NodeId) -> Result<&[u8; KEY_LEN], Refused> {
        let roster = &self.config.credentials.roster;
        roster.get(&node).ok_or(Refused::Roster)
    }

    fn hello_key(&self, node: NodeId, boot: BootId) -> TagKey {
        let Config {
            credentials,
            cluster,
            ..
        } = &self.config;
        TagKey(
            credentials
                .cluster
                .hello(credentials.suite, *cluster, node, boot),
        )
    }

    fn seed(&mut self) -> Zeroizing<[u8; 32]> {
        let mut seed = Zeroizing::new([0; 32]);
        self.dice.fill_bytes(seed.as_mut_slice());
        seed
    }

    /// What is known of a boot. For one more another may be forgotten: one that was never met, and least lately
    /// heard of.
    fn known_or_new(&mut self, now: u64, end: End) -> &mut Known {
        let boot = (end.node, end.boot);
        if !self.known.contains_key(&boot) {
            let unmet = self.known.values().filter(|known| !known.is_met).count();
            if unmet >= UNMET_MAX || self.known.len() >= KNOWN_MAX {
                let others = self.known.iter();
                let oldest = others.min_by_key(|(_, known)| (known.is_met, known.used_at));
                if let Some(boot) = oldest.map(|(boot, _)| *boot) {
                    self.known.remove(&boot);
                }
            }
        }
        let hello_key = self.hello_key(end.node, end.boot);
        let known = self.known.entry(boot);
        known.or_insert_with(|| Known::new(now, end, hello_key))
    }

    /// A Hello of somebody was refused. Who takes the number of a node that was met is not told of in its place.
    fn note_stranger(&mut self, node: NodeId, mac: [u8; 6]) {
        if self.told.len() >= STRANGERS_MAX || self.told.contains(&node) {
            return;
        }
        let mut known = self.known.values();
        if !known.any(|known| known.is_met && known.end.node == node) {
            self.told.push(node);
            self.strangers.push_back((node, mac));
        }
    }

    /// All that is known of others.
    #[cfg(test)]
    pub(crate) fn known_to_tests(&self) -> &impl fmt::Debug {
        &self.known
    }

    /// A message of a handshake with this header and a valid tag, as every node of the cluster can make one.
    #[cfg(test)]
    pub(crate) fn retag(&self, header: &Header, frame: &mut crate::tests::Frame) {
        let mut header = *header;
        header.tag = self.knock_key.tag(&header, |t| t.write(&frame.payload));
        frame.header = header.to_bytes();
    }

    /// As if so many frames had been sent to a boot in its present session.
    #[cfg(test)]
    pub(crate) fn skip(&mut self, node: NodeId, boot: BootId, sent: u32) {
        let known = self.known.get_mut(&(node, boot));
        let session = known.and_then(|known| known.slots[known.sending?].as_mut());
        session.expect("there is a session").skip(sent);
    }
}

fn is_hello_to_all(header: &Header) -> bool {
    header.kind == Kind::Hello as u8 && header.target.get() == 0
}

fn unseal(header: &mut Header) {
    header.counter = 0.into();
    header.tag = [0; 16];
}
