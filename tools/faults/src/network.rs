//! The network of a world: loses, doubles, delays and reorders packets, and can be cut and clogged.
//!
//! Law: a packet arrives unchanged or not at all, and not at all if it is longer than what both ends carry; only where nodes have keys may a bit be another one. Every direction between two nodes can be cut or clogged
//! alone: what is cut is lost, what is clogged arrives when the clog is gone.

use crate::random::Random;
use node::{Payload, Transmit};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use system::system::NetPage;
use wire::{ETHERNET_LEN, HEADER_LEN};

/// Packets that a clogged direction holds at most: behind them it loses.
const HELD_MAX: usize = 4096;

/// How late a packet may be that was sent again long ago.
const LATE_NS: u64 = 10_000_000_000;
/// Packets that are kept to be sent again.
const PAST_MAX: usize = 2048;

/// What happens to packets. Chances are per 10 000.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Faults {
    pub(crate) loss: u64,
    pub(crate) double: u64,
    pub(crate) late: u64,
    pub(crate) late_ns: u64,
    pub(crate) delay_ns: u64,
    pub(crate) jitter_ns: u64,
}

impl Faults {
    pub(crate) fn none() -> Faults {
        Faults {
            loss: 0,
            double: 0,
            late: 0,
            late_ns: 0,
            delay_ns: 50_000,
            jitter_ns: 0,
        }
    }

    /// Loss up to 30 %, half of all packets twice, and any order.
    pub(crate) fn random(random: &mut Random) -> Faults {
        let rare = |random: &mut Random, most: u64| match random.below(3) {
            0 => 0,
            _ => random.below(most + 1),
        };
        Faults {
            loss: rare(random, 3000),
            double: rare(random, 5000),
            late: rare(random, 150),
            late_ns: random.between(1_000_000, 2_000_000_000),
            delay_ns: random.between(10_000, 1_000_000),
            jitter_ns: rare(random, 1_000_000),
        }
    }
}

/// A packet under way.
#[derive(Clone)]
pub(crate) struct Packet {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) header: [u8; HEADER_LEN],
    pub(crate) payload: Rc<Vec<u8>>,
}

impl Packet {
    /// Turns a bit.
    fn turn(&mut self, bit: usize) {
        let (at, mask) = (bit / 8, 1 << (bit % 8));
        match at.checked_sub(HEADER_LEN) {
            None => self.header[at] ^= mask,
            Some(at) => Rc::make_mut(&mut self.payload)[at] ^= mask,
        }
    }
}

/// One direction between two machines.
#[derive(Clone, Default)]
struct Way {
    /// Nothing gets through.
    cut: bool,
    /// How many have clogged it.
    clogs: u32,
    held: VecDeque<Packet>,
    /// So many more packets are lost.
    loses: u64,
    /// So many more packets are late by [`LATE_NS`].
    delays: u64,
}

pub(crate) struct Network {
    pub(crate) faults: Faults,
    random: Random,
    /// By time and a running number.
    under_way: BTreeMap<(u64, u64), Packet>,
    serial: u64,
    ways: Vec<Vec<Way>>,
    /// What the cable of each machine carries behind an Ethernet header.
    pub(crate) mtus: Vec<u16>,
    /// In so many of 10 000 packets a bit is turned on the way.
    pub(crate) turned: u64,
    /// What was sent before, where somebody keeps it to send it once more.
    pub(crate) past: Option<VecDeque<Packet>>,
}

/// The Ethernet address of a machine.
pub(crate) fn address(index: usize) -> [u8; 6] {
    [2, 0, 0, 0, 0, index as u8 + 1]
}

impl Network {
    pub(crate) fn new(machines: usize, faults: Faults, seed: u64) -> Network {
        Network {
            faults,
            random: Random(seed),
            under_way: BTreeMap::new(),
            serial: 0,
            ways: vec![vec![Way::default(); machines]; machines],
            mtus: vec![9000; machines],
            turned: 0,
            past: None,
        }
    }

    pub(crate) fn cut(&mut self, from: usize, to: usize, cut: bool) {
        self.ways[from][to].cut = cut;
    }

    /// All cuts are over.
    pub(crate) fn heal(&mut self) {
        for way in self.ways.iter_mut().flatten() {
            way.cut = false;
        }
    }

    /// Nothing passes any more, what is held included.
    pub(crate) fn break_off(&mut self, from: usize, to: usize) {
        self.ways[from][to].cut = true;
        self.ways[from][to].held.clear();
    }

    /// The next packets of a direction are lost.
    pub(crate) fn lose(&mut self, from: usize, to: usize, count: u64) {
        self.ways[from][to].loses = count;
    }

    /// The next packets of a direction arrive very late.
    pub(crate) fn delay(&mut self, from: usize, to: usize, count: u64) {
        self.ways[from][to].delays = count;
    }

    /// All that was kept arrives once more.
    pub(crate) fn replay(&mut self, now: u64) {
        for packet in self.past.take().into_iter().flatten() {
            self.post(now, packet);
        }
    }

    pub(crate) fn clog(&mut self, from: usize, to: usize) {
        self.ways[from][to].clogs += 1;
    }

    /// One of those who have clogged a direction does not any more.
    pub(crate) fn unclog(&mut self, now: u64, from: usize, to: usize) {
        let way = &mut self.ways[from][to];
        way.clogs = way.clogs.saturating_sub(1);
        if way.clogs == 0 {
            for packet in std::mem::take(&mut way.held) {
                self.post(now, packet);
            }
        }
    }

    pub(crate) fn next_at(&self) -> Option<u64> {
        self.under_way.keys().next().map(|key| key.0)
    }

    /// The next packet that has arrived.
    pub(crate) fn take(&mut self, now: u64) -> Option<Packet> {
        self.next_at().filter(|&at| at <= now)?;
        self.under_way.pop_first().map(|(_, packet)| packet)
    }

    /// What a machine had sent is gone with it: it lay in its card.
    pub(crate) fn forget(&mut self, from: usize) {
        self.under_way.retain(|_, packet| packet.from != from);
        for way in &mut self.ways[from] {
            way.held.clear();
        }
    }

    fn post(&mut self, now: u64, packet: Packet) {
        let mut at = now + self.faults.delay_ns;
        at += self.random.below(self.faults.jitter_ns + 1);
        if self.random.chance(self.faults.late) {
            at += self.random.below(self.faults.late_ns + 1);
        }
        self.serial += 1;
        self.under_way.insert((at, self.serial), packet);
    }

    pub(crate) fn transmit(&mut self, now: u64, from: usize, transmit: &Transmit<NetPage>) {
        let payload = Rc::new(match &transmit.payload {
            Payload::None => Vec::new(),
            Payload::Bytes(bytes, range) => bytes[range.clone()].to_vec(),
            Payload::Page(page, range) => {
                let mut bytes = vec![0; range.len()];
                page.0.read(range.start, &mut bytes);
                bytes
            }
        });
        let long = HEADER_LEN + payload.len() - ETHERNET_LEN;
        for to in 0..self.ways.len() {
            let meant =
                transmit.header[..6] == wire::BROADCAST_MAC || transmit.header[..6] == address(to);
            let fits = long <= usize::from(self.mtus[from].min(self.mtus[to]));
            if to == from || !meant || !fits || self.ways[from][to].cut {
                continue;
            }
            for _ in 0..1 + u64::from(self.random.chance(self.faults.double)) {
                if self.random.chance(self.faults.loss) {
                    continue;
                }
                let mut packet = Packet {
                    from,
                    to,
                    header: transmit.header,
                    payload: payload.clone(),
                };
                if self.turned > 0 && self.random.chance(self.turned) {
                    let bit = self.random.below(8 * (HEADER_LEN + payload.len()) as u64);
                    packet.turn(bit as usize);
                }
                if let Some(past) = &mut self.past {
                    past.push_back(packet.clone());
                    if past.len() > PAST_MAX {
                        past.pop_front();
                    }
                }
                let way = &mut self.ways[from][to];
                if way.loses > 0 {
                    way.loses -= 1;
                } else if way.delays > 0 {
                    way.delays -= 1;
                    self.post(now + LATE_NS, packet);
                } else if way.clogs == 0 {
                    self.post(now, packet);
                } else if way.held.len() < HELD_MAX {
                    way.held.push_back(packet);
                }
            }
        }
    }
}
