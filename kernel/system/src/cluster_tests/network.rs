//! The network of a world: loses, doubles, delays and reorders packets, and can be cut.
//!
//! Law: a packet arrives unchanged or not at all. Every direction between two nodes can be cut alone.

use super::random::Random;
use node::{Payload, Transmit};
use std::collections::BTreeMap;
use std::rc::Rc;
use wire::HEADER_LEN;

/// What happens to packets. Chances are per 10 000.
#[derive(Clone, Copy, Debug)]
pub(super) struct Faults {
    pub(super) loss: u64,
    pub(super) double: u64,
    pub(super) late: u64,
    pub(super) late_ns: u64,
    pub(super) delay_ns: u64,
    pub(super) jitter_ns: u64,
}

impl Faults {
    pub(super) fn none() -> Faults {
        Faults {
            loss: 0,
            double: 0,
            late: 0,
            late_ns: 0,
            delay_ns: 50_000,
            jitter_ns: 0,
        }
    }

    pub(super) fn random(random: &mut Random) -> Faults {
        let rare = |random: &mut Random, most: u64| match random.below(3) {
            0 => 0,
            _ => random.below(most),
        };
        Faults {
            loss: rare(random, 1500),
            double: rare(random, 1000),
            late: rare(random, 150),
            late_ns: random.between(1_000_000, 2_000_000_000),
            delay_ns: random.between(10_000, 1_000_000),
            jitter_ns: rare(random, 1_000_000),
        }
    }
}

/// A packet under way.
#[derive(Clone)]
pub(super) struct Packet {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) header: [u8; HEADER_LEN],
    pub(super) payload: Rc<Vec<u8>>,
}

pub(super) struct Network {
    pub(super) faults: Faults,
    random: Random,
    /// By time and a running number.
    under_way: BTreeMap<(u64, u64), Packet>,
    serial: u64,
    /// `cut[from][to]`: nothing gets through.
    pub(super) cut: Vec<Vec<bool>>,
}

/// The Ethernet address of a machine.
pub(super) fn address(index: usize) -> [u8; 6] {
    [2, 0, 0, 0, 0, index as u8 + 1]
}

impl Network {
    pub(super) fn new(machines: usize, faults: Faults, seed: u64) -> Network {
        Network {
            faults,
            random: Random(seed),
            under_way: BTreeMap::new(),
            serial: 0,
            cut: vec![vec![false; machines]; machines],
        }
    }

    pub(super) fn heal(&mut self) {
        for row in &mut self.cut {
            row.fill(false);
        }
    }

    pub(super) fn next_at(&self) -> Option<u64> {
        self.under_way.keys().next().map(|key| key.0)
    }

    /// The next packet that has arrived.
    pub(super) fn take(&mut self, now: u64) -> Option<Packet> {
        self.next_at().filter(|&at| at <= now)?;
        self.under_way.pop_first().map(|(_, packet)| packet)
    }

    /// The sender is gone, and with it what it had sent: the cards and the switch were its own.
    pub(super) fn forget(&mut self, from: usize) {
        self.under_way.retain(|_, packet| packet.from != from);
    }

    pub(super) fn transmit(
        &mut self,
        now: u64,
        from: usize,
        transmit: &Transmit<crate::system::NetPage>,
    ) {
        let payload = Rc::new(match &transmit.payload {
            Payload::None => Vec::new(),
            Payload::Bytes(bytes, range) => bytes[range.clone()].to_vec(),
            Payload::Page(page, range) => {
                let mut bytes = vec![0; range.len()];
                page.0.read(range.start, &mut bytes);
                bytes
            }
        });
        for to in 0..self.cut.len() {
            let meant =
                transmit.header[..6] == wire::BROADCAST_MAC || transmit.header[..6] == address(to);
            if to == from || !meant || self.cut[from][to] {
                continue;
            }
            for _ in 0..1 + u64::from(self.random.chance(self.faults.double)) {
                if self.random.chance(self.faults.loss) {
                    continue;
                }
                let mut at = now + self.faults.delay_ns;
                at += self.random.below(self.faults.jitter_ns + 1);
                if self.random.chance(self.faults.late) {
                    at += self.random.below(self.faults.late_ns + 1);
                }
                self.serial += 1;
                let packet = Packet {
                    from,
                    to,
                    header: transmit.header,
                    payload: payload.clone(),
                };
                self.under_way.insert((at, self.serial), packet);
            }
        }
    }
}
