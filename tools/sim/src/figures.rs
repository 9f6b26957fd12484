//! Throughput and waiting on simulated links, compared with what the links can do.
//!
//! Law: ratios on virtual time: they change only when the protocol does, so the tables are a snapshot.

use crate::check::{Checker, Item};
use crate::network::Faults;
use crate::star::{Star, Traffic};
use node::{Event, Lane};
use wire::{HEADER_LEN, Message, NodeId, PAYLOAD_MAX, Pid};

const PAGES: u64 = 16_384;
const PINGS: u32 = 100;
const TARGET: NodeId = NodeId(2);
const MS: u64 = 1_000_000;

/// Round trip p50 in ns and goodput of the blast in bytes per second, between the first two nodes.
fn measure(star: &mut Star, blast: u32) -> (u32, u64) {
    star.events.clear();
    star.stacks[0].measure(star.now, TARGET, (PINGS, blast), None);
    star.until(|star| {
        let measured = |(_, event): &(usize, Event<_>)| matches!(event, Event::Measured { .. });
        star.events.iter().any(measured)
    });
    for (_, event) in star.events.drain(..) {
        if let Event::Measured {
            rtt_ns,
            blast_bytes_per_s,
            ..
        } = event
        {
            return (rtt_ns[rtt_ns.len() / 2], blast_bytes_per_s);
        }
    }
    (0, 0)
}

/// Goodput of the page stream in bytes per second, and bytes on the wire per byte of pages.
fn stream(star: &mut Star) -> (u64, f64) {
    let (start, wire) = (star.now, star.network.bytes);
    let page = Item::Page(1).page(Checker::pid(NodeId(1), Lane::Bulk));
    let (tag, page) = page.expect("it is a page");
    let mut queued = 0;
    let end = star.pages[1][0] + PAGES;
    while queued < PAGES {
        let room = star.stacks[0].bulk_room(TARGET) as u64;
        for _ in 0..room.min(PAGES - queued) {
            let result = star.stacks[0].send_page(star.now, TARGET, Lane::Bulk, tag, page.clone());
            result.expect("the peer is known");
            queued += 1;
        }
        star.until(|star| star.stacks[0].bulk_room(TARGET) > 0);
    }
    star.until(|star| star.pages[1][0] >= end);
    let bytes = PAGES * 4096;
    let rate = u128::from(bytes) * 1_000_000_000 / u128::from(star.now - start);
    let overhead = (star.network.bytes - wire) as f64 / bytes as f64;
    (rate as u64, overhead)
}

/// A kind of link: name, delay in ns, ps per byte.
pub const LINKS: [(&str, u64, u64); 4] = [
    ("1 Gbit/s, 100 us", 50_000, 8000),
    ("10 Gbit/s, 20 us", 10_000, 800),
    ("10 Gbit/s, 100 us", 50_000, 800),
    ("10 Gbit/s, 600 us", 300_000, 800),
];

/// Frames that a port of the switch holds.
pub const PORTS: [usize; 2] = [64, 512];

/// Who pushes to whom, and when it begins.
pub struct Crowd {
    /// In a few words.
    pub name: &'static str,
    nodes: usize,
    flows: &'static [(usize, usize, u64)],
    /// Lost frames of 10 000.
    pub loss: u64,
}

impl Crowd {
    /// Whether all send to the same node.
    pub fn is_to_one(&self) -> bool {
        self.flows.iter().all(|flow| flow.1 == self.flows[0].1)
    }
}

/// What is measured.
pub const CROWDS: [Crowd; 6] = [
    Crowd {
        name: "one to one",
        nodes: 2,
        flows: &[(1, 0, 0)],
        loss: 0,
    },
    Crowd {
        name: "one to one, loss 1 %",
        nodes: 2,
        flows: &[(1, 0, 0)],
        loss: 100,
    },
    Crowd {
        name: "three to one",
        nodes: 4,
        flows: &[(1, 0, 0), (2, 0, 0), (3, 0, 0)],
        loss: 0,
    },
    Crowd {
        name: "three to one, in turn",
        nodes: 4,
        flows: &[(1, 0, 0), (2, 0, 7 * MS), (3, 0, 13 * MS)],
        loss: 0,
    },
    Crowd {
        name: "three to one, loss 1 %",
        nodes: 4,
        flows: &[(1, 0, 0), (2, 0, 0), (3, 0, 0)],
        loss: 100,
    },
    Crowd {
        name: "one to three",
        nodes: 4,
        flows: &[(0, 1, 0), (0, 2, 0), (0, 3, 0)],
        loss: 0,
    },
];

/// How a crowd fared.
pub struct Fared {
    /// Bytes of pages per second that the cable can carry.
    pub full: f64,
    /// The round trip of a minimal frame without load, ns.
    pub rtt_ns: f64,
    /// How long a page is on a cable, ns.
    pub page_ns: f64,
    /// A call and a demanded page without load, ns.
    pub alone: [u64; 2],
    /// What was measured.
    pub traffic: Traffic,
    /// Frames dropped by full ports of the switch, of 10 000 pages.
    pub overflowed: u64,
}

impl Fared {
    /// Goodput of all together, as a part of what the cable can carry.
    pub fn total(&self) -> f64 {
        self.traffic.rates.iter().sum::<u64>() as f64 / self.full
    }

    /// The smallest and the greatest goodput, as a part of an equal share.
    pub fn shares(&self) -> (f64, f64) {
        let rates = &self.traffic.rates;
        let equal = rates.iter().sum::<u64>() as f64 / rates.len() as f64;
        let part = |rate: Option<&u64>| *rate.expect("there are flows") as f64 / equal;
        (part(rates.iter().min()), part(rates.iter().max()))
    }

    /// How much longer than without load a call and a demanded page take at p99, in round trips.
    pub fn waits(&self) -> [f64; 2] {
        let loaded = [&self.traffic.calls, &self.traffic.demands].map(|times| at(times, 99));
        [0, 1].map(|kind| (loaded[kind] as f64 - self.alone[kind] as f64) / self.rtt_ns)
    }
}

/// A percentile of ascending numbers.
fn at(times: &[u64], percent: usize) -> u64 {
    times[(times.len() * percent / 100).min(times.len() - 1)]
}

/// Lets a crowd work on links of this kind, with room for so many frames in each port of the switch.
pub fn fare(link: (&str, u64, u64), crowd: &Crowd, port_frames: usize) -> Fared {
    let (_, delay_ns, byte_ps) = link;
    let mut faults = Faults::none(delay_ns, byte_ps);
    faults.port_frames = port_frames;
    let mut star = Star::new(crowd.nodes, faults);
    let (rtt_ns, _) = measure(&mut star, 0);
    let calls = crowd
        .flows
        .iter()
        .map(|&(from, to, _)| (from, to, u64::MAX));
    let alone = star.traffic(&calls.collect::<Vec<_>>()[..1], 0, 20 * MS);
    let alone = [&alone.calls, &alone.demands].map(|times| at(times, 50));
    star.network.faults.loss = crowd.loss;
    // So long that it is some thousand pages.
    let measured_ns = 40_000 * byte_ps * (HEADER_LEN + PAYLOAD_MAX) as u64 / 10_000;
    let pages: u64 = star.pages.iter().flatten().sum();
    let traffic = star.traffic(crowd.flows, 60 * MS, measured_ns.max(20 * MS));
    let pages = star.pages.iter().flatten().sum::<u64>() - pages;
    Fared {
        full: full(byte_ps),
        rtt_ns: f64::from(rtt_ns),
        page_ns: PAYLOAD_MAX as f64 * 1e9 / full(byte_ps),
        alone,
        traffic,
        overflowed: star.network.overflowed * 10_000 / pages,
    }
}

/// Frames that it takes until a message of the first node has come and the second has answered it.
fn exchange(star: &mut Star, ask: Message, answer: impl Fn(&mut Star)) -> u64 {
    star.events.clear();
    let frames = star.network.frames;
    let sent = star.stacks[0].send(star.now, TARGET, ask);
    sent.expect("the peer is known");
    star.until(|star| star.events.iter().any(|(at, _)| *at == 1));
    let pages = star.pages[0][1];
    answer(star);
    star.until(|star| star.events.iter().any(|(at, _)| *at == 0) || star.pages[0][1] > pages);
    star.network.frames - frames
}

/// Two nodes alone: round trips, frames for each operation, throughput beside the dumb blast.
fn alone() -> String {
    let mut table = String::from(
        "two nodes                   ping us  frames: call  page  blast MB/s  stream of W  wire/pages\n",
    );
    let pid = Checker::pid(NodeId(1), Lane::Urgent);
    let poke = |epoch| Message::Poke {
        pid,
        thread: Pid(0),
        epoch,
    };
    for (name, delay_ns, byte_ps) in LINKS {
        for loss in [0, 100] {
            let mut star = Star::new(2, Faults::none(delay_ns, byte_ps));
            let (ping_ns, blast) = measure(&mut star, PAGES as u32);
            let call = exchange(&mut star, poke(1), |star| {
                let sent = star.stacks[1].send(star.now, NodeId(1), poke(2));
                sent.expect("the peer is known");
            });
            let page = exchange(&mut star, poke(3), |star| {
                let (tag, page) = Item::Page(1).page(pid).expect("it is a page");
                let sent = star.stacks[1].send_page(star.now, NodeId(1), Lane::Urgent, tag, page);
                sent.expect("the peer is known");
            });
            star.network.faults.loss = loss;
            let (stream, overhead) = stream(&mut star);
            let loss = if loss == 0 { "" } else { ", loss 1 %" };
            table += &format!(
                "{:<28}{:>7.1}  {call:>12}  {page:>4}  {:>10.1}  {:>9.1} %  {overhead:>10.4}\n",
                format!("{name}{loss}"),
                f64::from(ping_ns) / 1e3,
                blast as f64 / 1e6,
                stream as f64 * 100.0 / full(byte_ps),
            );
        }
    }
    table
}

/// Bytes of pages per second that a cable can carry: W.
fn full(byte_ps: u64) -> f64 {
    1e12 / byte_ps as f64 * PAYLOAD_MAX as f64 / (HEADER_LEN + PAYLOAD_MAX) as f64
}

/// A crowd in a line of the table.
fn line(link: (&str, u64, u64), crowd: &Crowd, fared: &Fared) -> String {
    let (least, most) = fared.shares();
    let rtt = |ns: u64| ns as f64 / fared.rtt_ns;
    let [call, demand] = fared.waits();
    let Traffic { calls, demands, .. } = &fared.traffic;
    format!(
        "{:<18} {:<22}  {:>5.1}  {:>5.1} {:>6.1}  {:>5.2} {:>6.2} {:>6.2}  {:>5.2} {:>6.2} {:>6.2}  {:>8}\n",
        link.0,
        crowd.name,
        fared.total() * 100.0,
        least * 100.0,
        most * 100.0,
        rtt(at(calls, 50)),
        rtt(at(calls, 99)),
        call,
        rtt(at(demands, 50)),
        rtt(at(demands, 99)),
        demand,
        fared.overflowed,
    )
}

/// The tables. Times in the second are round trips of a minimal frame; `wait` is what the p99 has
/// over the same without load.
pub fn table() -> String {
    let mut table = alone();
    for port_frames in PORTS {
        table += &format!(
            "\nports of {port_frames:>3} frames                         of W  least   most   call    p99   wait   page    p99   wait   dropped\n",
        );
        for link in LINKS {
            for crowd in &CROWDS {
                table += &line(link, crowd, &fare(link, crowd, port_frames));
            }
        }
    }
    table
}
