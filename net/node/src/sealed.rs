//! The stack of a node whose cluster has a key: the seal is put on last and taken off first.
//!
//! Law: what is not of the cluster changes a counter and nothing else. A Hello to all can be of any node that has the cluster's key, so it is an
//! invitation: who sees it makes a session, and answers in that. What a node believes of another, that it is alive too, has come in their
//! session; so each is greeted there in every period of Hellos.

use crate::discovery::Answer;
use crate::node::Node;
use crate::{Event, Page, Transmit};
use alloc::boxed::Box;
use alloc::sync::Arc;
use link::Payload;
use seal::{Body, Config, Counters, Credentials, Greeting, Opened, Seal, Sealed};
use wire::{HANDSHAKE_LEN, HEADER_LEN, Header, Kind, NodeId, Passage, Ticket};

impl<P: Page> Node<P> {
    /// From now on, which is before the first frame, only what is from nodes of this cluster is heard. The credentials are those of this node;
    /// `entropy` is from a true source of randomness and used for nothing else.
    pub fn seal(&mut self, credentials: Credentials, entropy: [u8; 32]) {
        let crate::Config {
            node,
            boot,
            mac,
            cluster,
            ..
        } = self.config;
        self.seal = Some(Box::new(Seal::new(Config {
            node,
            boot,
            mac,
            cluster,
            credentials,
            entropy,
        })));
    }

    /// What the seal has counted, in a cluster with a key.
    pub fn seal_counters(&self) -> Option<Counters> {
        self.seal.as_ref().map(|seal| seal.counters())
    }

    /// The word of this node to the home of a process that it gives away. In a cluster without keys everybody believes everybody, and
    /// the ticket is empty.
    pub fn ticket(&mut self, home: NodeId, passage: &Passage) -> Ticket {
        let seal = self.seal.as_mut();
        let ticket = seal.and_then(|seal| seal.ticket(home, passage));
        ticket.unwrap_or_default()
    }

    /// Whether a ticket is the word of a passage's source to this node, the home of the process.
    pub fn permits(&mut self, passage: &Passage, ticket: &Ticket) -> bool {
        match &mut self.seal {
            Some(seal) => seal.permits(passage, ticket),
            None => *ticket == Ticket::default(),
        }
    }

    /// Whether a frame of a handshake waits to be transmitted.
    pub(crate) fn has_handshake(&self) -> bool {
        self.seal.as_ref().is_some_and(|seal| seal.has_transmit())
    }

    /// Whether a peer is to be greeted.
    pub(crate) fn has_greeting(&self) -> bool {
        self.seal.is_some() && self.greeted < self.peers.len()
    }

    pub(crate) fn handle_sealed(
        &mut self,
        now: u64,
        mut header: [u8; HEADER_LEN],
        mut payload: P,
        length: usize,
    ) {
        let Some(seal) = &mut self.seal else { return };
        match seal.open(now, &mut header, length, &mut Received(&mut payload)) {
            Ok(Opened::Frame) => self.handle_plain(now, &header, payload, length),
            Ok(Opened::Handshake) => {}
            Ok(Opened::Met(Greeting { header, heard_at })) => {
                self.discovery.answer(heard_at, Kind::Hello, &header);
            }
            Ok(Opened::Invitation) => self.handle_invitation(now, &header),
            Err(_) => {
                self.refused += 1;
                while let Some((id, mac)) = seal.poll_stranger() {
                    self.outbox.push(Event::Stranger { id, mac });
                }
            }
        }
    }

    /// A boot says Hello to all with which there is a session. If it is not a peer, it is asked who it is.
    fn handle_invitation(&mut self, now: u64, header: &[u8; HEADER_LEN]) {
        let Ok(header) = Header::parse(header) else {
            return;
        };
        let boot = header.source_boot();
        if self
            .peer(header.source())
            .is_none_or(|peer| peer.boot != boot)
        {
            self.discovery.answer(now, Kind::Hello, header);
        }
    }

    /// The next of the peers that is to hear in its session that this node lives, and what it tells of itself.
    pub(crate) fn next_greeting(&mut self, now: u64) -> Option<Answer> {
        self.seal.as_ref()?;
        let peer = self.peers.get(self.greeted)?;
        self.greeted += 1;
        Some(Answer {
            kind: Kind::HelloReply,
            to: peer.id,
            boot: peer.boot,
            mac: peer.mac,
            echo_ns: 0,
            heard_at: now,
        })
    }

    pub(crate) fn transmit_sealed(&mut self, now: u64) -> Option<Transmit<P>> {
        loop {
            if let Some(frame) = self.seal.as_mut()?.poll_transmit() {
                return Some(Transmit {
                    header: frame.header,
                    payload: Payload::Bytes(Arc::from(frame.payload), 0..HANDSHAKE_LEN),
                });
            }
            let Transmit {
                mut header,
                payload,
            } = self.transmit_plain(now)?;
            let payload = match self.seal.as_mut()?.seal(now, &mut header, &Sent(&payload)) {
                // As good as lost on the way; a handshake has begun in its place.
                Sealed::Not => continue,
                Sealed::Tagged => payload,
                Sealed::Encrypted(bytes) => encrypted(bytes),
            };
            return Some(Transmit { header, payload });
        }
    }
}

/// Bytes to send. What was to be sent stays as it is, as others may have it, too; a whole page becomes another one, which the card reads in
/// place.
fn encrypted<P: Page>(bytes: &[u8]) -> Payload<P> {
    if bytes.is_empty() {
        return Payload::None;
    }
    let is_page = bytes.len() == wire::PAYLOAD_MAX;
    match is_page.then(P::zeroed).flatten() {
        Some(mut page) => {
            page.write(0, bytes);
            Payload::page(page)
        }
        None => Payload::Bytes(Arc::from(bytes), 0..bytes.len()),
    }
}

struct Received<'a, P>(&'a mut P);

impl<P: Page> Body for Received<'_, P> {
    fn read(&self, at: usize, into: &mut [u8]) {
        self.0.read(at, into);
    }

    fn write(&mut self, at: usize, from: &[u8]) {
        self.0.write(at, from);
    }
}

struct Sent<'a, P>(&'a Payload<P>);

impl<P: Page> Body for Sent<'_, P> {
    fn read(&self, at: usize, into: &mut [u8]) {
        self.0.read(at, into);
    }

    /// Nobody asks for that.
    fn write(&mut self, _at: usize, _from: &[u8]) {}
}

#[cfg(test)]
mod tests;
