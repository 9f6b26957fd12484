//! Watching: the third node's view of a freeze, and measurements of links.
//!
//! Law: watching changes nothing. The source and the target of a move each send one small frame to
//! the same third node, at the last and at the first instruction; its one clock tells how long the
//! process stood still, without any synchronisation.

use crate::dispatch::wire_pid;
use crate::system::{NetPage, System};
use crate::wait::{Stop, WaitQueue};
use abi::Errno;
use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use core::fmt::Write as _;
use node::{Edge, Event, PeerState};
use wire::{Message, NodeId};

/// Frames of a blast.
const BLAST_FRAMES: u32 = 4096;
/// Stops that are remembered while their start is awaited.
const STOPS_MAX: usize = 256;

/// What this node has seen.
#[derive(Default)]
pub struct Observer {
    /// (pid, epoch) of a process that stopped: when, and which node said so.
    stops: BTreeMap<(u32, u64), (u64, NodeId)>,
    /// The measurement under way or done: its target, and its result once it is there.
    measured: Option<(NodeId, Option<Measured>)>,
    /// What the frames of it have behind their headers, if that was said.
    payload: Option<u16>,
    waiting: Option<WaitQueue>,
}

struct Measured {
    rtt_p50_ns: u32,
    rtt_min_ns: u32,
    rtt_p99_ns: u32,
    blast_bytes_per_s: u64,
}

impl System {
    /// Whether this node has met another one.
    pub(crate) fn is_node_known(&self, node: NodeId) -> bool {
        self.net.peers().any(|peer| peer.id == node)
    }

    /// Shows an edge of a move to the third node, if there is one.
    pub(crate) fn beacon(&mut self, at: u64, other: NodeId, pid: u32, epoch: u64, edge: Edge) {
        let me = self.me;
        let third = self
            .net
            .peers()
            .filter(|peer| peer.state == PeerState::Alive && peer.id != other && peer.id != me)
            .map(|peer| peer.id)
            .min();
        if let Some(third) = third {
            self.net.beacon(at, third, wire_pid(pid), epoch, edge);
        }
    }

    /// An edge seen here, or the end of a measurement.
    pub(crate) fn observe(&mut self, event: Event<NetPage>) {
        match event {
            Event::Beacon {
                from,
                pid,
                epoch,
                edge: Edge::Stopped,
                at,
            } => {
                if self.observer.stops.len() >= STOPS_MAX {
                    self.observer.stops.pop_first();
                }
                self.observer.stops.insert((pid.0, epoch), (at, from));
            }
            Event::Beacon {
                pid,
                epoch,
                edge: Edge::Started,
                at,
                ..
            } => {
                if let Some((stopped, source)) = self.observer.stops.remove(&(pid.0, epoch)) {
                    self.send(
                        source,
                        Message::Observed {
                            pid,
                            epoch,
                            ns: at.saturating_sub(stopped),
                        },
                    );
                }
            }
            Event::Measured {
                peer,
                rtt_ns,
                blast_bytes_per_s,
            } => {
                if let Some((target, result)) = &mut self.observer.measured
                    && *target == peer
                {
                    *result = Some(Measured {
                        rtt_p50_ns: rtt_ns.get(rtt_ns.len() / 2).copied().unwrap_or(0),
                        rtt_min_ns: rtt_ns.first().copied().unwrap_or(0),
                        rtt_p99_ns: rtt_ns.get(rtt_ns.len() * 99 / 100).copied().unwrap_or(0),
                        blast_bytes_per_s,
                    });
                    if let Some(waiting) = &self.observer.waiting {
                        waiting.wake();
                    }
                }
            }
            _ => {}
        }
    }

    /// `NODE [COUNT [BYTES]]` written to `/proc/cluster/ping`: measures, and returns when that is done.
    pub(crate) fn measure(&mut self, waiter: u32, text: &str) -> Result<(), Stop> {
        let mut words = text.split_ascii_whitespace();
        let node = words
            .next()
            .and_then(|word| word.parse().ok())
            .map(NodeId)
            .ok_or(Errno::EINVAL)?;
        let count: u32 = words
            .next()
            .unwrap_or("100")
            .parse()
            .map_err(|_| Errno::EINVAL)?;
        let payload = words.next().map(str::parse::<u16>).transpose();
        let payload = payload.map_err(|_| Errno::EINVAL)?;
        let fits = payload.is_none_or(|bytes| usize::from(bytes) <= wire::PAYLOAD_MAX);
        if node == self.me || !(1..=100_000).contains(&count) || !fits {
            return Err(Errno::EINVAL.into());
        }
        self.reachable(node).map_err(|_| Errno::ENXIO)?;
        match &self.observer.measured {
            Some((target, Some(_))) if *target == node && self.observer.waiting.is_some() => {
                self.observer.waiting = None;
                return Ok(());
            }
            Some((target, None)) if *target != node => return Err(Errno::EBUSY.into()),
            Some((_, None)) => {}
            _ => {
                self.observer.measured = Some((node, None));
                self.observer.waiting = Some(WaitQueue::new(&self.wakes));
                self.observer.payload = payload;
                let (counts, now) = ((count, BLAST_FRAMES), self.now);
                self.net.measure(now, node, counts, payload);
            }
        }
        if let Some(waiting) = &self.observer.waiting {
            waiting.wait(waiter);
        }
        Err(Stop::Wait)
    }

    /// The text of `/proc/cluster/ping`: the last measurement.
    pub(crate) fn measurement(&self) -> String {
        let mut text =
            String::from("node\trtt_p50_us\trtt_min_us\tblast_bytes_per_s\trtt_p99_us\tpayload\n");
        if let Some((node, Some(measured))) = &self.observer.measured {
            let us = |ns: u32| f64::from(ns) / 1000.0;
            let _ = writeln!(
                text,
                "{}\t{:.1}\t{:.1}\t{}\t{:.1}\t{}",
                node.0,
                us(measured.rtt_p50_ns),
                us(measured.rtt_min_ns),
                measured.blast_bytes_per_s,
                us(measured.rtt_p99_ns),
                self.observer
                    .payload
                    .map_or("-".into(), |bytes| bytes.to_string())
            );
        }
        text
    }
}
