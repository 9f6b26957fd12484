//! Thousands of memberships on a virtual network: who lives and how loaded it is, and nothing below that.
//!
//! Law: as in `world`, everything follows from the seed. A node that stands still keeps what comes for later, as a card
//! does; its clock goes on. Frames are lost, and each takes a time of its own, so that they overtake each other.

use crate::random::Random;
use membership::{Config, Event, Gossip, Load, Membership, PERIOD_NS, Seen};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use wire::{BootId, HEADER_LEN, NodeId};

/// Frames that a card keeps for a node that stands still.
const CARD_FRAMES: u32 = 256;
/// A frame is on its way for so long, ns.
const DELAY_NS: (u64, u64) = (100_000, 2_000_000);

/// What happens at a moment.
#[derive(Debug)]
enum What {
    /// A timeout of this node may be due.
    Due(usize),
    /// A frame comes to this node from that one.
    Frame(usize, usize, Box<Gossip>),
    /// This node stands still for a while.
    Pause(usize),
}

/// Moments are told apart by their numbers, so that there is one order.
#[derive(Debug)]
struct Moment(u64, u64, What);

impl PartialEq for Moment {
    fn eq(&self, other: &Moment) -> bool {
        (self.0, self.1) == (other.0, other.1)
    }
}
impl Eq for Moment {}
impl PartialOrd for Moment {
    fn partial_cmp(&self, other: &Moment) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Moment {
    fn cmp(&self, other: &Moment) -> std::cmp::Ordering {
        (self.0, self.1).cmp(&(other.0, other.1))
    }
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, Default)]
pub struct Weather {
    /// Lost frames of 10 000.
    pub loss: u64,
    /// How long a node stands still at most, ns.
    pub pause_ns: u64,
    /// How long it goes on in between on average, ns; 0: no pauses.
    pub pause_every_ns: u64,
}

/// A node and what the world knows of it.
#[derive(Debug)]
struct Bird {
    membership: Membership,
    boot: BootId,
    load: Load,
    /// The timeout that is among the moments.
    due: u64,
    told_at: u64,
    still_until: u64,
    on_card: u32,
    is_dead: bool,
}

/// The nodes, their network and the clock.
#[derive(Debug)]
pub struct Flock {
    /// Virtual time, ns.
    pub now: u64,
    /// Frames given to the network, and their bytes with headers, if they are counted.
    pub frames: u64,
    /// See `frames`.
    pub bytes: u64,
    /// Whether bytes are counted; every frame then is encoded and decoded.
    pub counts_bytes: bool,
    /// Whether each node tells its load every period; otherwise whoever calls [`Flock::tell`] does.
    pub tells: bool,
    /// What came out, at which node and when.
    pub events: Vec<(u64, usize, Event)>,
    weather: Weather,
    random: Random,
    birds: Vec<Bird>,
    moments: BinaryHeap<Reverse<Moment>>,
    serial: u64,
}

fn id(index: usize) -> NodeId {
    NodeId(index as u16 + 1)
}

fn boot(index: usize) -> BootId {
    BootId(0x9e37_79b9_0000_0000 + index as u64)
}

fn load(index: usize) -> Load {
    Load {
        runnable_milli: index as u32 % 5000,
        processors: 4,
        speed: 1000,
        frames_total: 1 << 20,
        frames_free: 1 << 19,
        frames_reserved: 1 << 10,
        guests: 3,
        accepts_guests: true,
        ..Load::default()
    }
}

impl Flock {
    /// So many nodes that know each other.
    pub fn new(count: usize, seed: u64, weather: Weather) -> Flock {
        let config = |index| Config {
            node: id(index),
            boot: boot(index),
            seed,
            period_ns: PERIOD_NS,
        };
        let mut first = Membership::new(config(0), 0);
        (1..count).for_each(|index| first.peer_heard(0, id(index), boot(index)));
        let mut flock = Flock {
            now: 0,
            frames: 0,
            bytes: 0,
            counts_bytes: false,
            tells: true,
            events: Vec::new(),
            weather,
            random: Random::new(seed),
            birds: Vec::with_capacity(count),
            moments: BinaryHeap::new(),
            serial: 0,
        };
        for index in 0..count {
            let mut membership = Membership::introduced(config(index), 0, &first);
            membership.set_load(0, load(index));
            flock.birds.push(Bird {
                membership,
                boot: boot(index),
                load: load(index),
                due: u64::MAX,
                told_at: 0,
                still_until: 0,
                on_card: 0,
                is_dead: false,
            });
            flock.settle(index);
            flock.plan_pause(index);
        }
        flock
    }

    /// A node.
    pub fn membership(&self, index: usize) -> &Membership {
        &self.birds[index].membership
    }

    /// What a node believes of another one.
    pub fn seen(&self, by: usize, of: usize) -> Option<Seen> {
        self.membership(by).get(self.now, id(of))
    }

    /// Who has this number.
    pub fn index(node: NodeId) -> usize {
        usize::from(node.0) - 1
    }

    /// Nothing comes from this node any more.
    pub fn kill(&mut self, index: usize) {
        self.birds[index].is_dead = true;
    }

    /// It boots again, knows whom `by` knows, and has this load.
    pub fn revive(&mut self, index: usize, by: usize, load: Load) {
        let now = self.now;
        let bird = &self.birds[index];
        let config = Config {
            node: id(index),
            boot: BootId(bird.boot.0 ^ now << 16),
            seed: now,
            period_ns: PERIOD_NS,
        };
        let membership = Membership::introduced(config, now, self.membership(by));
        self.birds[index] = Bird {
            membership,
            boot: config.boot,
            load,
            due: u64::MAX,
            told_at: now,
            still_until: 0,
            on_card: 0,
            is_dead: false,
        };
        self.tell(index, load);
    }

    /// How loaded a node is from now on.
    pub fn tell(&mut self, index: usize, load: Load) {
        let now = self.now;
        let bird = &mut self.birds[index];
        bird.load = load;
        bird.membership.set_load(now, load);
        self.settle(index);
    }

    /// Whether it was killed.
    pub fn is_dead(&self, index: usize) -> bool {
        self.birds[index].is_dead
    }

    /// It says goodbye.
    pub fn leave(&mut self, index: usize) {
        let now = self.now;
        self.birds[index].membership.leave(now);
        self.settle(index);
    }

    /// Lets so much time pass.
    pub fn run(&mut self, ns: u64) {
        let until = self.now + ns;
        while let Some(Reverse(moment)) = self.moments.peek() {
            if moment.0 > until {
                break;
            }
            let Some(Reverse(Moment(at, _, what))) = self.moments.pop() else {
                break;
            };
            self.now = at;
            match what {
                What::Due(index) => self.due(index),
                What::Frame(to, from, gossip) => self.frame(to, from, gossip),
                What::Pause(index) => {
                    let length = self.random.between(1, self.weather.pause_ns);
                    let bird = &mut self.birds[index];
                    bird.still_until = self.now + length;
                    bird.on_card = 0;
                    self.plan_pause(index);
                }
            }
        }
        self.now = until;
    }

    fn due(&mut self, index: usize) {
        let now = self.now;
        let bird = &mut self.birds[index];
        if bird.due != now || bird.is_dead {
            return;
        }
        if now < bird.still_until {
            bird.due = bird.still_until;
            let at = bird.due;
            return self.plan(at, What::Due(index));
        }
        bird.due = u64::MAX;
        if self.tells && now - bird.told_at >= PERIOD_NS {
            bird.told_at = now;
            bird.membership.set_load(now, bird.load);
        }
        bird.membership.handle_timeout(now);
        self.settle(index);
    }

    fn frame(&mut self, to: usize, from: usize, gossip: Box<Gossip>) {
        let now = self.now;
        // A frame of the boot before would be told by its header.
        let sender = self.birds[from].boot;
        if gossip.records.first().is_some_and(|own| own.boot != sender) {
            return;
        }
        let bird = &mut self.birds[to];
        if bird.is_dead {
            return;
        }
        if now < bird.still_until {
            bird.on_card += 1;
            let at = bird.still_until;
            if bird.on_card <= CARD_FRAMES {
                self.plan(at, What::Frame(to, from, gossip));
            }
            return;
        }
        self.birds[to]
            .membership
            .handle(now, id(from), sender, &gossip);
        self.settle(to);
    }

    /// Takes out what comes out of a node.
    fn settle(&mut self, index: usize) {
        let now = self.now;
        while let Some((to, gossip)) = self.birds[index].membership.poll_transmit(now) {
            self.transmit(index, Flock::index(to), gossip);
        }
        let bird = &mut self.birds[index];
        while let Some(event) = bird.membership.poll_event() {
            self.events.push((now, index, event));
        }
        let due = bird.membership.poll_timeout().unwrap_or(u64::MAX).max(now);
        if due < bird.due {
            bird.due = due;
            self.plan(due, What::Due(index));
        }
    }

    fn transmit(&mut self, from: usize, to: usize, mut gossip: Gossip) {
        self.frames += 1;
        if self.counts_bytes {
            let bytes = gossip.encode();
            self.bytes += (HEADER_LEN + bytes.len()) as u64;
            gossip = Gossip::decode(&bytes).expect("nodes say what is in order");
        }
        let is_lost = self.weather.loss > 0 && self.random.chance(self.weather.loss);
        if !is_lost && to < self.birds.len() {
            let at = self.now + self.random.between(DELAY_NS.0, DELAY_NS.1);
            self.plan(at, What::Frame(to, from, Box::new(gossip)));
        }
    }

    fn plan(&mut self, at: u64, what: What) {
        self.serial += 1;
        self.moments.push(Reverse(Moment(at, self.serial, what)));
    }

    fn plan_pause(&mut self, index: usize) {
        if self.weather.pause_every_ns > 0 {
            let gap = self.random.below(2 * self.weather.pause_every_ns);
            let at = self.now.max(self.birds[index].still_until) + gap;
            self.plan(at, What::Pause(index));
        }
    }
}
