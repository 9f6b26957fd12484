//! The stack of a node whose cluster has a key: the seal is put on last and taken off first.
//!
//! Law: what is not of the cluster changes a counter and nothing else. A Hello to all of a boot that was not met is believed
//! when it was, as if it had come only then; whoever sees it answers it, and with that answer shows its keys.

use crate::node::Node;
use crate::{Event, Page, Transmit};
use alloc::boxed::Box;
use alloc::sync::Arc;
use link::Payload;
use seal::{ClusterKey, Config, Counters, Greeting, Opened, Seal};
use wire::{HANDSHAKE_LEN, HEADER_LEN, Kind};

impl<P: Page> Node<P> {
    /// From now on, which is before the first frame, only what is from nodes with this key is heard. `entropy` is from a true source
    /// of randomness and used for nothing else.
    pub fn seal(&mut self, key: ClusterKey, entropy: [u8; 32]) {
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
            key,
            entropy,
        })));
    }

    /// What the seal has counted, in a cluster with a key.
    pub fn seal_counters(&self) -> Option<Counters> {
        self.seal.as_ref().map(|seal| seal.counters())
    }

    /// Whether a frame of a handshake waits to be transmitted.
    pub(crate) fn has_handshake(&self) -> bool {
        self.seal.as_ref().is_some_and(|seal| seal.has_transmit())
    }

    pub(crate) fn handle_sealed(
        &mut self,
        now: u64,
        mut header: [u8; HEADER_LEN],
        payload: P,
        length: usize,
    ) {
        let Some(seal) = &mut self.seal else { return };
        let read = |at: usize, into: &mut [u8]| payload.read(at, into);
        match seal.open(now, &mut header, length, read) {
            Ok(Opened::Frame) => self.handle_plain(now, &header, payload, length),
            Ok(Opened::Handshake) => {}
            Ok(Opened::Met(greeting)) => self.handle_met(&greeting),
            Err(_) => {
                self.refused += 1;
                while let Some((id, mac)) = seal.poll_stranger() {
                    self.outbox.push(Event::Stranger { id, mac });
                }
            }
        }
    }

    /// There is a session with a boot whose Hello was heard before.
    fn handle_met(&mut self, greeting: &Greeting) {
        let Greeting { header, heard_at } = greeting;
        if header.source() == self.config.node {
            return self.handle_namesake(header);
        }
        self.discovery.answer(*heard_at, Kind::Hello, header);
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
            let read = |at: usize, into: &mut [u8]| payload.read(at, into);
            // What cannot leave is as good as lost on the way; a handshake has begun in its place.
            if self.seal.as_mut()?.seal(now, &mut header, read) {
                return Some(Transmit { header, payload });
            }
        }
    }
}

#[cfg(test)]
mod tests;
