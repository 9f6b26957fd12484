//! The virtual network: one switch, a cable per node, and what goes wrong on the way.
//!
//! Law: frames may be lost, doubled, delayed and reordered, but never changed; time on a cable is
//! proportional to the bytes on it. A frame takes its time twice: on the cable of its sender, whose
//! card holds any number of frames, and on that of its target, behind a port of the switch that has
//! room for so many frames and drops what comes when it is full.

use crate::random::Random;
use node::{Payload, Transmit};
use std::cmp::Ordering;
use std::collections::{BinaryHeap, VecDeque};
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
    /// Frames that wait at a port of the switch at most, the one that leaves included.
    pub port_frames: usize,
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
            port_frames: usize::MAX,
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
            port_frames: random.between(8, 600) as usize,
        }
    }
}

/// A frame that arrives.
#[derive(Debug)]
pub struct Arrival {
    /// At which machine.
    pub to: usize,
    /// Its header.
    pub header: [u8; HEADER_LEN],
    /// Its payload.
    pub payload: Frame,
    /// How much of it was received.
    pub length: usize,
}

/// Where a frame gets to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    Switch,
    Machine,
}

/// A frame that gets somewhere.
#[derive(Debug)]
struct Flight {
    /// When, virtual ns.
    at: u64,
    serial: u64,
    place: Place,
    arrival: Arrival,
}

impl PartialEq for Flight {
    fn eq(&self, other: &Flight) -> bool {
        self.serial == other.serial
    }
}
impl Eq for Flight {}
impl PartialOrd for Flight {
    fn partial_cmp(&self, other: &Flight) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Flight {
    /// The earliest is the greatest: a binary heap gives it first.
    fn cmp(&self, other: &Flight) -> Ordering {
        (other.at, other.serial).cmp(&(self.at, self.serial))
    }
}

/// The port of the switch to which a machine's cable leads.
#[derive(Debug, Default)]
struct Port {
    /// When the cable is free again, ps.
    free_ps: u128,
    /// When each frame that waits will have left, ps.
    leaving_ps: VecDeque<u128>,
}

/// The network.
#[derive(Debug)]
pub struct Network {
    /// What it does to frames now.
    pub faults: Faults,
    random: Random,
    flights: BinaryHeap<Flight>,
    serial: u64,
    /// When each machine's cable to the switch is free again, ps.
    free_ps: Vec<u128>,
    ports: Vec<Port>,
    /// Which side of a cut each machine is on.
    sides: Vec<u8>,
    blank: Frame,
    /// Bytes put on cables.
    pub bytes: u64,
    /// Frames put on cables.
    pub frames: u64,
    /// Frames that found a port full.
    pub overflowed: u64,
}

impl Network {
    /// A network of so many machines.
    pub fn new(machines: usize, faults: Faults, random: Random) -> Network {
        Network {
            faults,
            random,
            flights: BinaryHeap::new(),
            serial: 0,
            free_ps: vec![0; machines],
            ports: (0..machines).map(|_| Port::default()).collect(),
            sides: vec![0; machines],
            blank: Arc::new([0; 4096]),
            bytes: 0,
            frames: 0,
            overflowed: 0,
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

    /// When the next frame gets somewhere.
    pub fn next_at(&self) -> Option<u64> {
        self.flights.peek().map(|flight| flight.at)
    }

    /// The next frame that has arrived at a machine by now.
    pub fn pop(&mut self, now: u64) -> Option<Arrival> {
        while self.next_at()? <= now {
            let flight = self.flights.pop()?;
            match flight.place {
                Place::Machine => return Some(flight.arrival),
                Place::Switch => self.forward(flight.at, flight.arrival),
            }
        }
        None
    }

    /// Keeps a frame that arrived at a machine which stands still.
    pub fn postpone(&mut self, arrival: Arrival, until: u64) {
        self.fly(until, Place::Machine, arrival);
    }

    fn fly(&mut self, at: u64, place: Place, arrival: Arrival) {
        self.serial += 1;
        self.flights.push(Flight {
            at,
            serial: self.serial,
            place,
            arrival,
        });
    }

    /// Picoseconds for a frame with so long a payload.
    fn time_ps(&self, length: usize) -> u128 {
        (HEADER_LEN + length) as u128 * u128::from(self.faults.byte_ps)
    }

    /// Puts a frame on the cable of machine `from`.
    pub fn transmit(&mut self, now: u64, from: usize, transmit: Transmit<Frame>) {
        let length = transmit.payload.len();
        let payload = match transmit.payload {
            Payload::None => self.blank.clone(),
            Payload::Page(page, range) if range.start == 0 => page,
            Payload::Page(page, range) => {
                let mut part = [0; 4096];
                part[..length].copy_from_slice(&page[range]);
                Arc::new(part)
            }
            Payload::Bytes(bytes, range) => {
                let mut page = [0; 4096];
                page[..length].copy_from_slice(&bytes[range]);
                Arc::new(page)
            }
        };
        self.frames += 1;
        self.bytes += (HEADER_LEN + length) as u64;
        let start_ps = self.free_ps[from].max(u128::from(now) * 1000);
        let end_ps = start_ps + self.time_ps(length);
        self.free_ps[from] = end_ps;
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
                let arrival = Arrival {
                    to,
                    header: transmit.header,
                    payload: payload.clone(),
                    length,
                };
                self.fly((end_ps / 1000) as u64, Place::Switch, arrival);
            }
        }
    }

    /// Puts a frame that is at the switch on the cable of its target, if the port has room.
    fn forward(&mut self, now: u64, arrival: Arrival) {
        let (now_ps, time_ps) = (u128::from(now) * 1000, self.time_ps(arrival.length));
        let port = &mut self.ports[arrival.to];
        while port.leaving_ps.front().is_some_and(|at| *at <= now_ps) {
            port.leaving_ps.pop_front();
        }
        if port.leaving_ps.len() >= self.faults.port_frames {
            self.overflowed += 1;
            return;
        }
        port.free_ps = port.free_ps.max(now_ps) + time_ps;
        port.leaving_ps.push_back(port.free_ps);
        let mut at = (port.free_ps / 1000) as u64 + self.faults.delay_ns;
        at += self.random.below(self.faults.jitter_ns + 1);
        if self.random.chance(self.faults.late) {
            at += self.random.below(self.faults.late_ns + 1);
        }
        self.fly(at, Place::Machine, arrival);
    }
}
