//! All that a boot has with others: who was met, sessions, handshakes under way, and what is refused.
//!
//! Law: what anybody can make us keep is bounded, and least by those of whom it is not known whether they
//! have the key. There are no timers: every boot that lives says Hello twice a second, and who hears that, or wants to
//! send, looks whether the session with it is due.

use crate::handshake::{self, Begun, End};
use crate::key::ClusterKey;
use crate::rate::Rate;
use crate::session::{FRAMES_MAX, SLOTS, Session, TagKey, Tagger, slot_of};
use crate::{Counters, Refused};
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::fmt;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use wire::{BootId, ETHERTYPE, HANDSHAKE_LEN, HEADER_LEN, Header, Kind, NodeId, VERSION};
use zerocopy::FromBytes;
use zeroize::Zeroizing;

/// Boots known at most.
const KNOWN_MAX: usize = 4096;
/// Of them those with which there was no session yet.
const UNMET_MAX: usize = 64;
/// Frames of handshakes that wait to be transmitted.
const LEAVING_MAX: usize = 128;
/// A handshake that was not answered is begun again after so long, ns.
const RETRY_NS: u64 = 100_000_000;
/// Strangers that are told of, each once.
const STRANGERS_MAX: usize = 16;
/// Bytes of a payload that are looked at together.
const CHUNK: usize = 1024;

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
    /// The key of that.
    pub key: ClusterKey,
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
    /// Its time in the last message that began a handshake.
    knock_seen: Option<u64>,
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
            knock_seen: None,
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
    handshake_key: Zeroizing<[u8; 32]>,
    hello_key: TagKey,
    /// The number of our last Hello to all.
    hellos: u32,
    known: BTreeMap<BootId, Known>,
    leaving: VecDeque<HandshakeFrame>,
    begin_rate: Rate,
    answer_rate: Rate,
    dice: ChaCha20Rng,
    counters: Counters,
    strangers: VecDeque<(NodeId, [u8; 6])>,
    told: Vec<NodeId>,
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seal")
            .field("known", &self.known)
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}

/// Writes a payload into a tag.
fn feed(tagger: &mut Tagger, length: usize, read: &impl Fn(usize, &mut [u8])) {
    let mut chunk = [0; CHUNK];
    let mut offset = 0;
    while offset < length {
        let part = &mut chunk[..CHUNK.min(length - offset)];
        read(offset, part);
        tagger.write(part);
        offset += part.len();
    }
}

impl Seal {
    /// The seal of a boot that has met nobody.
    pub fn new(config: Config) -> Seal {
        let (cluster, node, boot) = (config.cluster, config.node, config.boot);
        Seal {
            handshake_key: config.key.handshake(),
            hello_key: TagKey(config.key.hello(cluster, node, boot)),
            hellos: 0,
            known: BTreeMap::new(),
            leaving: VecDeque::new(),
            begin_rate: Rate::new(),
            answer_rate: Rate::new(),
            dice: ChaCha20Rng::from_seed(config.entropy),
            counters: Counters::default(),
            strangers: VecDeque::new(),
            told: Vec::new(),
            config,
        }
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

    /// A boot is over: its frames are not accepted any more.
    pub fn forget(&mut self, boot: BootId) {
        self.known.remove(&boot);
    }

    // --- frames out

    /// Seals a frame; `read` copies parts of the bytes that it carries. `false`: there is no session, the frame cannot leave, and a handshake
    /// is begun.
    pub fn seal(
        &mut self,
        now: u64,
        header: &mut [u8; HEADER_LEN],
        read: impl Fn(usize, &mut [u8]),
    ) -> bool {
        let Ok(header) = Header::mut_from_bytes(header) else {
            return false;
        };
        let length = header.carried().len();
        if is_hello_to_all(header) {
            if self.hellos >= FRAMES_MAX {
                return false;
            }
            self.hellos += 1;
            header.counter = self.hellos.into();
            header.tag = self.hello_key.tag(header, |t| feed(t, length, &read));
            return true;
        }
        let boot = header.target_boot();
        let to = End {
            node: header.target(),
            boot,
            mac: header.target_mac,
        };
        let known = self.known.get_mut(&boot);
        let settled = known.as_ref().is_some_and(|known| known.is_settled(now));
        let session = known.and_then(|known| known.slots[known.sending?].as_mut());
        let sealed = session.is_some_and(|session| {
            !session.is_over(now) && session.seal(header, |t| feed(t, length, &read))
        });
        if !settled {
            let _too_many = self.knock(now, to, None);
        }
        self.counters.unsent += u64::from(!sealed);
        sealed
    }

    /// Begins a handshake with a boot, unless one is under way.
    fn knock(&mut self, now: u64, to: End, greeting: Option<Greeting>) -> Result<(), Refused> {
        if let Some(Known {
            knocking: Some(knocking),
            ..
        }) = self.known.get_mut(&to.boot)
            && now < knocking.at + RETRY_NS
        {
            knocking.greeting = greeting.or(knocking.greeting);
            return Ok(());
        }
        if !self.begin_rate.take(now) || self.leaving.len() >= LEAVING_MAX {
            return Err(Refused::Rate);
        }
        let us = self.end();
        let cluster = self.config.cluster;
        let header = handshake::header(Kind::Knock, cluster, us, to);
        let welcome = handshake::header(Kind::Welcome, cluster, to, us);
        let seed = self.seed();
        let hellos = self.hellos;
        let known = self.known_or_new(now, to);
        let slot = match known.knocking.take() {
            Some(knocking) => knocking.slot,
            None => known.free_slot(now),
        };
        let said = handshake::Said {
            time: now,
            slot: slot as u8,
            hellos,
        };
        let (begun, payload) = handshake::begin(&self.handshake_key, seed, &header, &said)
            .ok_or(Refused::Handshake)?;
        let known = self.known_or_new(now, to);
        known.knocking = Some(Knocking {
            begun,
            slot,
            at: now,
            welcome,
            greeting,
        });
        self.counters.knocks += 1;
        self.leaving.push_back(HandshakeFrame {
            header: header.to_bytes(),
            payload,
        });
        Ok(())
    }

    // --- frames in

    /// Opens a received frame, of which so many bytes came behind the header; `read` copies parts of them. All of it
    /// is hostile.
    ///
    /// # Errors
    /// The reason why it is refused.
    pub fn open(
        &mut self,
        now: u64,
        header: &mut [u8; HEADER_LEN],
        length: usize,
        read: impl Fn(usize, &mut [u8]),
    ) -> Result<Opened, Refused> {
        let opened = match Header::mut_from_bytes(header) {
            Ok(header) => self.open_checked(now, header, length, &read),
            Err(_) => Err(Refused::Length),
        };
        if let Err(reason) = opened {
            self.counters.refused[reason as usize] += 1;
        }
        opened
    }

    fn open_checked(
        &mut self,
        now: u64,
        header: &mut Header,
        length: usize,
        read: &impl Fn(usize, &mut [u8]),
    ) -> Result<Opened, Refused> {
        let carried = header.carried().len();
        let is_ours = header.ethertype == ETHERTYPE.to_be_bytes()
            && header.version == VERSION
            && header.cluster.get() == self.config.cluster
            && carried <= length
            && header.payload_length() <= wire::PAYLOAD_MAX;
        if !is_ours {
            return Err(Refused::Length);
        }
        if header.source_boot() == self.config.boot {
            return Err(Refused::Session);
        }
        if is_hello_to_all(header) {
            return self.open_hello(now, header, |t| feed(t, carried, read));
        }
        if header.target() != self.config.node || header.target_boot() != self.config.boot {
            return Err(Refused::Session);
        }
        if matches!(header.kind(), Kind::Knock | Kind::Welcome) {
            return self.open_handshake(now, header, read);
        }
        let counter = header.counter.get();
        let slot = slot_of(counter);
        let known = self.known.get_mut(&header.source_boot());
        let known = known.filter(|known| known.end.node == header.source());
        let known = known.ok_or(Refused::Session)?;
        let session = known.slots[slot].as_mut();
        let session = session.filter(|session| !session.is_over(now));
        let session = session.ok_or(Refused::Session)?;
        if !session.check(header, |t| feed(t, carried, read)) {
            return Err(Refused::Tag);
        }
        if !session.accept(counter) {
            return Err(Refused::Replay);
        }
        if !session.is_confirmed {
            session.is_confirmed = true;
            known.begin_sending(slot);
            self.counters.sessions += 1;
        }
        known.used_at = now;
        unseal(header);
        Ok(Opened::Frame)
    }

    /// A Hello to all.
    fn open_hello(
        &mut self,
        now: u64,
        header: &mut Header,
        payload: impl FnOnce(&mut Tagger),
    ) -> Result<Opened, Refused> {
        let (node, boot) = (header.source(), header.source_boot());
        let known = self.known.get(&boot).filter(|known| known.end.node == node);
        let key = match known {
            Some(known) => known.hello_key,
            None => TagKey(self.config.key.hello(self.config.cluster, node, boot)),
        };
        if !key.check(header, payload) {
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
        if let Some(known) = self.known.get_mut(&boot) {
            known.hello_seen = number;
            known.used_at = now;
        }
        match is_met {
            true => Ok(Opened::Frame),
            false => Ok(Opened::Handshake),
        }
    }

    /// A message of a handshake, to this boot.
    fn open_handshake(
        &mut self,
        now: u64,
        header: &Header,
        read: &impl Fn(usize, &mut [u8]),
    ) -> Result<Opened, Refused> {
        header.check().map_err(|_| Refused::Handshake)?;
        let mut payload = [0; HANDSHAKE_LEN];
        read(0, &mut payload);
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
        if *header != handshake::header(Kind::Knock, cluster, from, us) {
            return Err(Refused::Handshake);
        }
        let seed = self.seed();
        let heard = handshake::hear(&self.handshake_key, seed, header, payload);
        let heard = heard.ok_or(Refused::Handshake)?;
        let known = self.known.get(&from.boot);
        let seen = known.and_then(|known| known.knock_seen);
        if seen.is_some_and(|seen| heard.said.time <= seen) {
            return Err(Refused::Handshake);
        }
        if !self.answer_rate.take(now) || self.leaving.len() >= LEAVING_MAX {
            return Err(Refused::Rate);
        }
        let hellos = self.hellos;
        let said = heard.said;
        let known = self.known_or_new(now, from);
        let slot = known.free_slot(now);
        let answer = handshake::Said {
            time: 0,
            slot: slot as u8,
            hellos,
        };
        let (keys, payload) = heard.answer(&answer).ok_or(Refused::Handshake)?;
        known.knock_seen = Some(said.time);
        known.hello_seen = known.hello_seen.max(said.hellos);
        known.slots[slot] = Some(Session::new(now, keys, said.slot, false));
        self.counters.welcomes += 1;
        self.leaving.push_back(HandshakeFrame {
            header: handshake::header(Kind::Welcome, cluster, us, from).to_bytes(),
            payload,
        });
        Ok(Opened::Handshake)
    }

    fn open_welcome(
        &mut self,
        now: u64,
        header: &Header,
        payload: &[u8; HANDSHAKE_LEN],
    ) -> Result<Opened, Refused> {
        let known = self.known.get_mut(&header.source_boot());
        let known = known.ok_or(Refused::Handshake)?;
        let knocking = known.knocking.as_mut();
        let knocking = knocking.filter(|knocking| knocking.welcome == *header);
        let knocking = knocking.ok_or(Refused::Handshake)?;
        let (keys, said) = knocking.begun.finish(payload).ok_or(Refused::Handshake)?;
        let (slot, greeting) = (knocking.slot, knocking.greeting);
        known.knocking = None;
        known.hello_seen = known.hello_seen.max(said.hellos);
        known.slots[slot] = Some(Session::new(now, keys, said.slot, true));
        known.begin_sending(slot);
        known.used_at = now;
        self.counters.sessions += 1;
        Ok(greeting.map_or(Opened::Handshake, Opened::Met))
    }

    // --- small helpers

    fn end(&self) -> End {
        End {
            node: self.config.node,
            boot: self.config.boot,
            mac: self.config.mac,
        }
    }

    fn seed(&mut self) -> [u8; 32] {
        let mut seed = [0; 32];
        self.dice.fill_bytes(&mut seed);
        seed
    }

    /// What is known of a boot. For one more another may be forgotten: one that was never met, and least lately
    /// heard of.
    fn known_or_new(&mut self, now: u64, end: End) -> &mut Known {
        if !self.known.contains_key(&end.boot) {
            let unmet = self.known.values().filter(|known| !known.is_met).count();
            if unmet >= UNMET_MAX || self.known.len() >= KNOWN_MAX {
                let others = self.known.iter();
                let oldest = others.min_by_key(|(_, known)| (known.is_met, known.used_at));
                if let Some(boot) = oldest.map(|(boot, _)| *boot) {
                    self.known.remove(&boot);
                }
            }
        }
        let Config { key, cluster, .. } = &self.config;
        self.known.entry(end.boot).or_insert_with(|| {
            let hello_key = TagKey(key.hello(*cluster, end.node, end.boot));
            Known::new(now, end, hello_key)
        })
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

    /// As if so many frames had been sent to a boot in its present session.
    #[cfg(test)]
    pub(crate) fn skip(&mut self, to: BootId, sent: u32) {
        let known = self.known.get_mut(&to);
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
