//! The virtual network: one switch, a cable per node, and what goes wrong on the way.
//!
//! Law: frames may be lost, doubled, delayed and reordered, but never changed; time on a cable is
//! proportional to the bytes on it.

use crate::random::Random;
use node::{Payload, Transmit};
use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::sync::Arc;
use wire::HEADER_LEN;

/// A page of the simulated machines.
pub type Frame = Arc<[u8; 4096]>;

/// What the network does to frames. Chances are per 10 000.
#[derive(Clone, Debug)]
pub struct Faults {
    /// Lost frames.
    pub loss: u64,
    /// Doubled frames.
    pub double: u64,
    /// Frames that come very late: up to [`Faults::late_ns`].
    pub late: u64,
    /// How late.
    pub late_ns: u64,
    /// The least delay, ns.
    pub delay_ns: u64,
    /// What is added to it at random, which reorders.
    pub jitter_ns: u64,
    /// Picoseconds a byte takes on a cable (8000: 1 Gbit/s).
    pub byte_ps: u64,
}

impl Faults {
    /// A network that only takes time.
    pub fn none(delay_ns: u64, byte_ps: u64) -> Faults {
        Faults {
            loss: 0,
            double: 0,
            late: 0,
            late_ns: 0,
            delay_ns,
            jitter_ns: 0,
            byte_ps,
        }
    }

    /// A network as bad as this seed makes it.
    pub fn random(random: &mut Random) -> Faults {
        let rare = |random: &mut Random, most: u64| match random.below(3) {
            0 => 0,
            _ => random.below(most),
        };
        Faults {
            loss: rare(random, 2000),
            double: rare(random, 1000),
            late: rare(random, 200),
            late_ns: random.between(1_000_000, 3_000_000_000),
            delay_ns: random.between(10_000, 2_000_000),
            jitter_ns: rare(random, 2_000_000),
            byte_ps: random.between(100, 8000),
        }
    }
}

/// A frame that arrives.
#[derive(Debug)]
pub struct Arrival {
    /// When, virtual ns.
    pub at: u64,
    serial: u64,
    /// At which machine.
    pub to: usize,
    /// Its header.
    pub header: [u8; HEADER_LEN],
    /// Its payload.
    pub payload: Frame,
    /// How much of it was received.
    pub length: usize,
}

impl PartialEq for Arrival {
    fn eq(&self, other: &Arrival) -> bool {
        self.serial == other.serial
    }
}
impl Eq for Arrival {}
impl PartialOrd for Arrival {
    fn partial_cmp(&self, other: &Arrival) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Arrival {
    /// The earliest is the greatest: a binary heap gives it first.
    fn cmp(&self, other: &Arrival) -> Ordering {
        (other.at, other.serial).cmp(&(self.at, self.serial))
    }
}

/// The network.
#[derive(Debug)]
pub struct Network {
    /// What it does to frames now.
    pub faults: Faults,
    random: Random,
    arrivals: BinaryHeap<Arrival>,
    serial: u64,
    /// When each machine's cable is free again, ps.
    free_ps: Vec<u128>,
    /// Which side of a cut each machine is on.
    sides: Vec<u8>,
    blank: Frame,
    /// Bytes put on cables.
    pub bytes: u64,
    /// Frames put on cables.
    pub frames: u64,
}

impl Network {
    /// A network of so many machines.
    pub fn new(machines: usize, faults: Faults, random: Random) -> Network {
        Network {
            faults,
            random,
            arrivals: BinaryHeap::new(),
            serial: 0,
            free_ps: vec![0; machines],
            sides: vec![0; machines],
            blank: Arc::new([0; 4096]),
            bytes: 0,
            frames: 0,
        }
    }

    /// The Ethernet address of a machine.
    pub fn mac(machine: usize) -> [u8; 6] {
        [2, 0, 0, 0, (machine >> 8) as u8, machine as u8]
    }

    /// Parts the network: machines on different sides do not hear each other.
    pub fn cut(&mut self, sides: Vec<u8>) {
        self.sides = sides;
    }

    /// Joins it again.
    pub fn heal(&mut self) {
        self.sides.fill(0);
    }

    /// When the next frame arrives.
    pub fn next_at(&self) -> Option<u64> {
        self.arrivals.peek().map(|arrival| arrival.at)
    }

    /// The next frame to arrive.
    pub fn pop(&mut self) -> Option<Arrival> {
        self.arrivals.pop()
    }

    /// Puts a frame on the cable of machine `from`.
    pub fn transmit(&mut self, now: u64, from: usize, transmit: Transmit<Frame>) {
        let length = transmit.payload.len();
        let payload = match transmit.payload {
            Payload::None => self.blank.clone(),
            Payload::Page(page) => page,
            Payload::Bytes(bytes, range) => {
                let mut page = [0; 4096];
                page[..length].copy_from_slice(&bytes[range]);
                Arc::new(page)
            }
        };
        let size = (HEADER_LEN + length) as u64;
        self.frames += 1;
        self.bytes += size;
        let start_ps = self.free_ps[from].max(u128::from(now) * 1000);
        let end_ps = start_ps + u128::from(size * self.faults.byte_ps);
        self.free_ps[from] = end_ps;
        let sent_at = (end_ps / 1000) as u64;
        let target: [u8; 6] = transmit.header[..6].try_into().expect("six bytes");
        for to in 0..self.free_ps.len() {
            let addressed = target == wire::BROADCAST_MAC || target == Network::mac(to);
            if to == from || !addressed || self.sides[to] != self.sides[from] {
                continue;
            }
            let copies = 1 + u64::from(self.random.chance(self.faults.double));
            for _ in 0..copies {
                if self.random.chance(self.faults.loss) {
                    continue;
                }
                let mut at = sent_at + self.faults.delay_ns;
                at += self.random.below(self.faults.jitter_ns + 1);
                if self.random.chance(self.faults.late) {
                    at += self.random.below(self.faults.late_ns + 1);
                }
                self.serial += 1;
                self.arrivals.push(Arrival {
                    at,
                    serial: self.serial,
                    to,
                    header: transmit.header,
                    payload: payload.clone(),
                    length,
                });
            }
        }
    }
}
