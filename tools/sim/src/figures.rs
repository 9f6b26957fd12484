//! Throughput on simulated links, compared with the dumb blast on the same link.
//!
//! Law: ratios on virtual time: they change only when the protocol does, so the table is a snapshot.

use crate::check::{Checker, Item};
use crate::network::{Faults, Frame, Network};
use crate::random::Random;
use node::{Config, Event, Lane, Node, NodeInfo};
use wire::{BootId, Message, NodeId, Pid};

const PAGES: u64 = 16_384;
const PINGS: u32 = 100;
const TARGET: NodeId = NodeId(2);

/// Two nodes on one cable, and the clock.
struct Pair {
    now: u64,
    network: Network,
    stacks: [Node<Frame>; 2],
    events: Vec<(usize, Event<Frame>)>,
    pages: u64,
}

impl Pair {
    fn new(faults: Faults) -> Pair {
        let stacks = [0, 1].map(|index| {
            let config = Config {
                node: NodeId(index as u16 + 1),
                boot: BootId(index as u64 + 1),
                mac: Network::mac(index),
                cluster: 1,
                seed: 1,
                info: NodeInfo::default(),
            };
            Node::new(config, 1)
        });
        let mut pair = Pair {
            now: 1,
            network: Network::new(2, faults, Random::new(1)),
            stacks,
            events: Vec::new(),
            pages: 0,
        };
        pair.until(|pair| pair.stacks.iter().all(|stack| stack.peers().count() == 1));
        pair
    }

    fn drain(&mut self) {
        for index in 0..2 {
            while let Some(transmit) = self.stacks[index].poll_transmit(self.now) {
                self.network.transmit(self.now, index, transmit);
            }
            while let Some(event) = self.stacks[index].poll_event() {
                match event {
                    Event::Page { .. } => self.pages += 1,
                    event => self.events.push((index, event)),
                }
            }
        }
    }

    fn until(&mut self, done: impl Fn(&Pair) -> bool) {
        self.drain();
        while !done(self) {
            let timeouts = self.stacks.iter().filter_map(Node::poll_timeout);
            let next = timeouts.chain(self.network.next_at()).min();
            self.now = self.now.max(next.expect("Hello goes on for ever"));
            for stack in &mut self.stacks {
                stack.handle_timeout(self.now);
            }
            while self.network.next_at().is_some_and(|at| at <= self.now) {
                let arrival = self.network.pop().expect("it was peeked at");
                let stack = &mut self.stacks[arrival.to];
                stack.handle_frame(self.now, &arrival.header, arrival.payload, arrival.length);
                self.drain();
            }
            self.drain();
        }
    }

    /// Round trip p50 in ns and goodput of the blast in bytes per second.
    fn measure(&mut self) -> (u32, u64) {
        self.stacks[0].measure(self.now, TARGET, PINGS, PAGES as u32);
        self.until(|pair| {
            let measured =
                |(_, event): &(usize, Event<Frame>)| matches!(event, Event::Measured { .. });
            pair.events.iter().any(measured)
        });
        let mut result = (0, 0);
        for (_, event) in self.events.drain(..) {
            if let Event::Measured {
                rtt_ns,
                blast_bytes_per_s,
                ..
            } = event
            {
                result = (rtt_ns[rtt_ns.len() / 2], blast_bytes_per_s);
            }
        }
        result
    }

    /// Goodput of the page stream in bytes per second, and bytes on the wire per byte of pages.
    fn stream(&mut self) -> (u64, f64) {
        let (start, wire) = (self.now, self.network.bytes);
        let page = Item::Page(1).page(Checker::pid(NodeId(1), Lane::Bulk));
        let (tag, page) = page.expect("it is a page");
        let mut queued = 0;
        let end = self.pages + PAGES;
        while queued < PAGES {
            let room = self.stacks[0].bulk_room(TARGET) as u64;
            for _ in 0..room.min(PAGES - queued) {
                let result =
                    self.stacks[0].send_page(self.now, TARGET, Lane::Bulk, tag, page.clone());
                result.expect("the peer is known");
                queued += 1;
            }
            self.until(|pair| pair.stacks[0].bulk_room(TARGET) >= 64);
        }
        self.until(|pair| pair.pages >= end);
        let bytes = PAGES * 4096;
        let rate = u128::from(bytes) * 1_000_000_000 / u128::from(self.now - start);
        let overhead = (self.network.bytes - wire) as f64 / bytes as f64;
        (rate as u64, overhead)
    }

    /// Round trip of one call in ns and the frames it takes until the reply is there.
    fn call(&mut self) -> (u64, u64) {
        let (start, frames) = (self.now, self.network.frames);
        let pid = Checker::pid(NodeId(1), Lane::Urgent);
        let poke = |epoch| Message::Poke {
            pid,
            thread: Pid(0),
            epoch,
        };
        let heard =
            |at: usize| move |pair: &Pair| pair.events.iter().any(|(index, _)| *index == at);
        self.events.clear();
        let sent = self.stacks[0].send(self.now, TARGET, poke(1));
        sent.expect("the peer is known");
        self.until(heard(1));
        let sent = self.stacks[1].send(self.now, NodeId(1), poke(2));
        sent.expect("the peer is known");
        self.until(heard(0));
        self.events.clear();
        (self.now - start, self.network.frames - frames)
    }

    /// The worst round trip of calls, ns, while pages are pushed.
    fn call_while_pushing(&mut self) -> u64 {
        let page = Item::Page(1).page(Checker::pid(NodeId(1), Lane::Bulk));
        let (tag, page) = page.expect("it is a page");
        let mut worst = 0;
        for call in 0..200 {
            for _ in 0..self.stacks[0].bulk_room(TARGET) {
                let sent =
                    self.stacks[0].send_page(self.now, TARGET, Lane::Bulk, tag, page.clone());
                sent.expect("the peer is known");
            }
            let (call_ns, _) = self.call();
            // The first calls find the window still settling.
            if call >= 100 {
                worst = worst.max(call_ns);
            }
        }
        self.until(|pair| pair.stacks[0].bulk_idle(TARGET));
        worst
    }
}

/// The table.
pub fn table() -> String {
    let links = [
        ("1 Gbit/s, 100 us", 50_000, 8000, 0),
        ("10 Gbit/s, 20 us", 10_000, 800, 0),
        ("10 Gbit/s, 600 us", 300_000, 800, 0),
        ("1 Gbit/s, 100 us, loss 0.1 %", 50_000, 8000, 10),
        ("1 Gbit/s, 100 us, loss 1 %", 50_000, 8000, 100),
    ];
    let mut table = String::from(
        "link                          ping us  call us  frames  pushing us  blast MB/s  pages/blast  wire/pages\n",
    );
    for (name, delay_ns, byte_ps, loss) in links {
        let mut faults = Faults::none(delay_ns, byte_ps);
        faults.loss = loss;
        let mut pair = Pair::new(faults);
        let (ping_ns, blast) = pair.measure();
        let (call_ns, frames) = pair.call();
        let (stream, overhead) = pair.stream();
        let pushing_ns = pair.call_while_pushing();
        table += &format!(
            "{name:<30}{:>7.1}  {:>7.1}  {frames:>6}  {:>10.1}  {:>10.1}  {:>9.1} %  {overhead:>10.4}\n",
            f64::from(ping_ns) / 1e3,
            call_ns as f64 / 1e3,
            pushing_ns as f64 / 1e3,
            blast as f64 / 1e6,
            stream as f64 * 100.0 / blast as f64,
        );
    }
    table
}
