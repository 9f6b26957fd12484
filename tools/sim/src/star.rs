//! Some nodes around one switch that know each other, and the work they do for a measurement.
//!
//! Law: as in `world`, everything follows from the seed; nothing goes wrong here but what the faults
//! of the network say.

use crate::check::{Checker, Item};
use crate::network::{Faults, Frame, Network};
use crate::random::Random;
use node::{Config, Event, Lane, Node, NodeInfo, Packing, PageTag};
use wire::{BootId, Message, NodeId, Pid};

/// Epochs by which the receiver tells what a page or a message is for.
const PUSHED: u64 = 1;
const DEMANDED: u64 = 2;
const CALL: u64 = 3;
const REPLY: u64 = 4;
/// Time between two calls of a node, ns, at most.
const CALL_GAP_NS: u64 = 400_000;

/// The nodes, their network and the clock.
pub struct Star {
    /// Virtual time, ns.
    pub now: u64,
    /// The switch and its cables.
    pub network: Network,
    /// The nodes; that at index `i` has the number `i + 1`.
    pub stacks: Vec<Node<Frame>>,
    /// What came out and is not about the work.
    pub events: Vec<(usize, Event<Frame>)>,
    /// Pages that came out, by target and source.
    pub pages: Vec<Vec<u64>>,
    random: Random,
    flows: Vec<Flow>,
    waits: [Vec<u64>; 2],
}

/// A push of pages that does not end, and the calls that overtake it.
#[derive(Debug)]
struct Flow {
    from: usize,
    to: usize,
    starts_at: u64,
    /// What is waited for, and since when: replies of the target, and a page of the source that the
    /// target has asked for.
    since: [Option<u64>; 2],
    next_at: [u64; 2],
}

/// What came of a measurement.
#[derive(Clone, Debug)]
pub struct Traffic {
    /// Bytes of pages per second, for each flow.
    pub rates: Vec<u64>,
    /// Round trips of calls, ns, ascending.
    pub calls: Vec<u64>,
    /// Times from the request of a page to the page, ns, ascending.
    pub demands: Vec<u64>,
}

fn id(index: usize) -> NodeId {
    NodeId(index as u16 + 1)
}

fn page() -> Frame {
    let page = Item::Page(1).page(Checker::pid(NodeId(1), Lane::Bulk));
    page.expect("it is a page").1
}

impl Star {
    /// So many nodes that have found each other.
    pub fn new(count: usize, faults: Faults) -> Star {
        let stacks = (0..count).map(|index| {
            let config = Config {
                node: id(index),
                boot: BootId(index as u64 + 1),
                mac: Network::mac(index),
                mtu: 9000,
                cluster: 1,
                seed: 1,
                info: NodeInfo::default(),
                // What is measured is the link; to pack costs no time here.
                packing: Packing::Never,
            };
            Node::new(config, 1)
        });
        let mut star = Star {
            now: 1,
            network: Network::new(count, faults, Random::new(1)),
            stacks: stacks.collect(),
            events: Vec::new(),
            pages: vec![vec![0; count]; count],
            random: Random::new(2),
            flows: Vec::new(),
            waits: [Vec::new(), Vec::new()],
        };
        let known = |star: &Star| {
            let all = |stack: &Node<Frame>| stack.peers().count() == count - 1;
            star.stacks.iter().all(all)
        };
        star.until(known);
        star
    }

    /// Lets time pass until something is so.
    pub fn until(&mut self, done: impl Fn(&Star) -> bool) {
        self.drain();
        while !done(self) {
            let timeouts = self.stacks.iter().filter_map(Node::poll_timeout);
            let work = self.flows.iter().flat_map(|flow| flow.next_at);
            let next = timeouts.chain(self.network.next_at()).chain(work).min();
            self.now = self.now.max(next.expect("Hello goes on for ever"));
            for stack in &mut self.stacks {
                stack.handle_timeout(self.now);
            }
            self.drain();
            while let Some(arrival) = self.network.pop(self.now) {
                let stack = &mut self.stacks[arrival.to];
                stack.handle_frame(self.now, &arrival.header, arrival.payload, arrival.length);
                self.drain_one(arrival.to);
            }
            self.work();
        }
    }

    fn drain(&mut self) {
        for index in 0..self.stacks.len() {
            self.drain_one(index);
        }
    }

    fn drain_one(&mut self, index: usize) {
        loop {
            if let Some(transmit) = self.stacks[index].poll_transmit(self.now) {
                self.network.transmit(self.now, index, transmit);
            } else if let Some(event) = self.stacks[index].poll_event() {
                self.event(index, event);
            } else {
                return;
            }
        }
    }

    fn event(&mut self, at: usize, event: Event<Frame>) {
        match event {
            Event::Page { from, tag, .. } => {
                let from = usize::from(from.0) - 1;
                self.pages[at][from] += 1;
                if tag.epoch == DEMANDED {
                    self.answered(1, from, at);
                }
            }
            Event::Message { from, message, .. } if !self.flows.is_empty() => match *message {
                Message::PageRequest { .. } => {
                    let sent = self.stacks[at].send_page(
                        self.now,
                        from,
                        Lane::Urgent,
                        tag(at, DEMANDED),
                        page(),
                    );
                    sent.expect("the peer is known");
                }
                Message::Poke { epoch: CALL, .. } => self.poke(at, from, REPLY),
                _ => self.answered(0, at, usize::from(from.0) - 1),
            },
            event => self.events.push((at, event)),
        }
    }

    fn poke(&mut self, from: usize, to: NodeId, epoch: u64) {
        let pid = tag(from, epoch).pid;
        let thread = Pid(0);
        let poke = Message::Poke { pid, thread, epoch };
        let sent = self.stacks[from].send(self.now, to, poke);
        sent.expect("the peer is known");
    }

    fn answered(&mut self, kind: usize, from: usize, to: usize) {
        let ours = |flow: &&mut Flow| (flow.from, flow.to) == (from, to);
        let Some(flow) = self.flows.iter_mut().find(ours) else {
            return;
        };
        if let Some(since) = flow.since[kind].take() {
            self.waits[kind].push(self.now - since);
            flow.next_at[kind] = self.now + 1 + self.random.below(CALL_GAP_NS);
        }
    }

    /// Does what is due of the work: pages as far as there is room, calls and requests.
    fn work(&mut self) {
        for index in 0..self.flows.len() {
            let Flow {
                from,
                to,
                starts_at,
                next_at,
                ..
            } = self.flows[index];
            if starts_at <= self.now && self.stacks[from].bulk_room(id(to)) > 0 {
                for _ in 0..self.stacks[from].bulk_room(id(to)) {
                    let tag = tag(from, PUSHED);
                    let sent =
                        self.stacks[from].send_page(self.now, id(to), Lane::Bulk, tag, page());
                    sent.expect("the peer is known");
                }
                self.drain_one(from);
            }
            for (kind, due) in next_at.into_iter().enumerate() {
                if due > self.now {
                    continue;
                }
                self.flows[index].next_at[kind] = u64::MAX;
                self.flows[index].since[kind] = Some(self.now);
                if kind == 0 {
                    self.poke(from, id(to), CALL);
                    self.drain_one(from);
                } else {
                    let PageTag { pid, epoch, page } = tag(from, DEMANDED);
                    let request = Message::PageRequest { pid, epoch, page };
                    let sent = self.stacks[to].send(self.now, id(from), request);
                    sent.expect("the peer is known");
                    self.drain_one(to);
                }
            }
        }
    }

    /// Pages pushed by all flows `(from, to, starts after ns)` at once, and calls during that, for
    /// `measured_ns` after `settle_ns`. Flows that never start only make calls.
    pub fn traffic(
        &mut self,
        flows: &[(usize, usize, u64)],
        settle_ns: u64,
        measured_ns: u64,
    ) -> Traffic {
        let start = self.now;
        self.flows = Vec::new();
        for &(from, to, after) in flows {
            let next_at = [0, 1].map(|_| start + settle_ns + self.random.below(CALL_GAP_NS));
            self.flows.push(Flow {
                from,
                to,
                starts_at: start.saturating_add(after),
                since: [None; 2],
                next_at,
            });
        }
        self.work();
        self.until(|star| star.now >= start + settle_ns);
        let (begin, before) = (self.now, self.pages.clone());
        self.waits = [Vec::new(), Vec::new()];
        self.until(|star| star.now >= begin + measured_ns);
        let rate = |flow: &Flow| {
            let pages = self.pages[flow.to][flow.from] - before[flow.to][flow.from];
            (u128::from(pages) * 4096 * 1_000_000_000 / u128::from(self.now - begin)) as u64
        };
        let rates = self.flows.iter().map(rate).collect();
        self.flows.clear();
        let [mut calls, mut demands] = core::mem::take(&mut self.waits);
        calls.sort_unstable();
        demands.sort_unstable();
        Traffic {
            rates,
            calls,
            demands,
        }
    }
}

fn tag(from: usize, epoch: u64) -> PageTag {
    PageTag {
        pid: Checker::pid(id(from), Lane::Bulk),
        epoch,
        page: 4096,
    }
}
