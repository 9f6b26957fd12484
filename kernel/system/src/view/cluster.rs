//! What /proc/cluster shows of the node and of the others.
//!
//! Law: a text is made whole when it is read from its start.

use crate::files::ClusterFile;
use crate::system::System;
use crate::wait::Stop;
use abi::Errno;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write as _;
use node::PeerState;
use wire::{NodeId, Order};

/// The network card and what it has counted.
#[derive(Default)]
pub(crate) struct Card {
    name: &'static str,
    counters: Vec<(&'static str, u64)>,
}

impl System {
    /// Whether frames are sealed, and what that has counted.
    fn describe_seal(&self, text: &mut String) {
        let Some(counters) = self.net.seal_counters() else {
            text.push_str("sealed no\n");
            return;
        };
        text.push_str("sealed yes\n");
        for (reason, count) in node::Refused::ALL.iter().zip(counters.refused) {
            let _ = writeln!(text, "seal_refused_{} {count}", reason.name());
        }
        let _ = writeln!(
            text,
            "seal_knocks {}\nseal_welcomes {}\nseal_sessions {}\nseal_unsent {}",
            counters.knocks, counters.welcomes, counters.sessions, counters.unsent
        );
    }

    /// Notes what the network card has counted so far.
    pub fn note_card(&mut self, name: &'static str, counters: &[(&'static str, u64)]) {
        self.card.name = name;
        self.card.counters.clear();
        self.card.counters.extend_from_slice(counters);
    }

    /// `/proc/cluster/control`: `poweroff [STATUS]`; for this node, or another, `drain [NODE]`, `undrain [NODE]`,
    /// `owner present|away|auto [NODE]`.
    pub(super) fn control(&mut self, text: &str) -> Result<(), Stop> {
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        let (order, node) = match words[..] {
            ["poweroff", ref status @ ..] if status.len() < 2 => {
                let status = status.first().unwrap_or(&"0");
                self.request_power_off(status.parse().map_err(|_| Errno::EINVAL)?);
                return Ok(());
            }
            ["drain", ref node @ ..] => (Order::Drain(true), node),
            ["undrain", ref node @ ..] => (Order::Drain(false), node),
            ["owner", "present", ref node @ ..] => (Order::Owner(Some(true)), node),
            ["owner", "away", ref node @ ..] => (Order::Owner(Some(false)), node),
            ["owner", "auto", ref node @ ..] => (Order::Owner(None), node),
            _ => return Err(Errno::EINVAL.into()),
        };
        let node = match node {
            [] => self.me,
            [node] => NodeId(node.parse().map_err(|_| Errno::EINVAL)?),
            _ => return Err(Errno::EINVAL.into()),
        };
        Ok(self.instruct(node, order)?)
    }

    pub(super) fn cluster(&self, file: ClusterFile) -> String {
        let mut text = String::new();
        match file {
            ClusterFile::Nodes => {
                text.push_str(
                    "node\tstate\trtt_us\tframes_total\tframes_free\tprocesses\tage_ms\t\
                     runnable_milli\tprocessors\tguests\topen\tload_age_ms\n",
                );
                let frames = machine::frame_counts();
                let mut lines = alloc::vec![(
                    self.me.0,
                    format!(
                        "{}\tself\t0\t{}\t{}\t{}\t0{}\n",
                        self.me.0,
                        frames.total,
                        frames.free,
                        self.bodies.len(),
                        self.load_columns(self.me)
                    )
                )];
                for peer in self.net.peers() {
                    let state = if peer.state == PeerState::Alive {
                        "alive"
                    } else {
                        "silent"
                    };
                    let line = format!(
                        "{}\t{state}\t{}\t{}\t{}\t{}\t{}{}\n",
                        peer.id.0,
                        peer.rtt_smoothed_ns.unwrap_or(0) / 1000,
                        peer.info.memory_frames,
                        peer.info.free_frames,
                        peer.info.processes,
                        self.now.saturating_sub(peer.last_heard_ns) / 1_000_000,
                        self.load_columns(peer.id),
                    );
                    lines.push((peer.id.0, line));
                }
                lines.sort();
                text.extend(lines.into_iter().map(|(_, line)| line));
            }
            ClusterFile::SelfNode => {
                let frames = self.frames();
                let _ = writeln!(text, "node {}\nboot {:x}", self.me.0, self.boot.0);
                let _ = writeln!(
                    text,
                    "frames_total {}\nframes_free {}",
                    frames.total, frames.free
                );
                let kinds = ["kernel", "pagetable", "user", "cache", "network", "device"];
                for (kind, count) in kinds.iter().zip(frames.by_kind) {
                    let _ = writeln!(text, "frames_{kind} {count}");
                }
                let _ = writeln!(text, "frames_kept {}", self.keepsakes.pages());
                let _ = writeln!(
                    text,
                    "homes {}\nbodies {}",
                    self.homes.len(),
                    self.bodies.len()
                );
                let _ = writeln!(
                    text,
                    "outgoing {}\nincoming {}",
                    self.outgoing.len(),
                    self.incoming.len()
                );
                text.push_str(&self.describe_placement());
                if !self.card.name.is_empty() {
                    let _ = writeln!(text, "card {}", self.card.name);
                }
                for (name, count) in &self.card.counters {
                    let _ = writeln!(text, "card_{name} {count}");
                }
                // Frames that were nobody's who is known.
                let _ = writeln!(text, "refused {}", self.net.refused());
                self.describe_seal(&mut text);
                for peer in self.net.peers() {
                    let counters = peer.counters;
                    let _ = writeln!(
                        text,
                        "link {} sent {} retransmitted {} received {} duplicates {} dropped {} \
                         packed {} pages {}",
                        peer.id.0,
                        counters.sent,
                        counters.retransmitted,
                        counters.received,
                        counters.duplicates,
                        counters.dropped,
                        counters.packed,
                        if peer.wide { "whole" } else { "pieces" }
                    );
                }
            }
            ClusterFile::Policy => {
                let _ = writeln!(text, "{}", self.placement.policy().name());
            }
            ClusterFile::Ping => text = self.measurement(),
            ClusterFile::Clocks => text = self.clocks(),
            ClusterFile::Events => text = self.events(),
            _ => {}
        }
        text
    }
}
