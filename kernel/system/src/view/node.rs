//! What /proc shows of the node and of the cluster.
//!
//! Law: a text is made whole when it is read from its start. Formats are those of proc(5) where Linux
//! has the file.

use super::{NS_PER_S, TICK_NS};
use crate::calls::local::HOST_NAME;
use crate::files::{ClusterFile, GlobalFile};
use crate::system::System;
use crate::wait::Stop;
use abi::Errno;
use alloc::format;
use alloc::string::{String, ToString};
use core::fmt::Write as _;
use machine::PAGE_SIZE;
use node::PeerState;

impl System {
    /// `/proc/cluster/control`: `poweroff [STATUS]`.
    pub(super) fn control(&mut self, text: &str) -> Result<(), Stop> {
        let mut words = text.split_ascii_whitespace();
        match (words.next(), words.next(), words.next()) {
            (Some("poweroff"), status, None) => {
                let status = status.unwrap_or("0").parse().map_err(|_| Errno::EINVAL)?;
                self.request_power_off(status);
                Ok(())
            }
            _ => Err(Errno::EINVAL.into()),
        }
    }

    pub(super) fn cluster(&self, file: ClusterFile) -> String {
        let mut text = String::new();
        match file {
            ClusterFile::Nodes => {
                text.push_str(
                    "node\tstate\trtt_us\tframes_total\tframes_free\tprocesses\tage_ms\n",
                );
                let frames = machine::frame_counts();
                let mut lines = alloc::vec![(
                    self.me.0,
                    format!(
                        "{}\tself\t0\t{}\t{}\t{}\t0\n",
                        self.me.0,
                        frames.total,
                        frames.free,
                        self.bodies.len()
                    )
                )];
                for peer in self.net.peers() {
                    let state = if peer.state == PeerState::Alive {
                        "alive"
                    } else {
                        "silent"
                    };
                    let line = format!(
                        "{}\t{state}\t{}\t{}\t{}\t{}\t{}\n",
                        peer.id.0,
                        peer.rtt_smoothed_ns.unwrap_or(0) / 1000,
                        peer.info.memory_frames,
                        peer.info.free_frames,
                        peer.info.processes,
                        self.now.saturating_sub(peer.last_heard_ns) / 1_000_000,
                    );
                    lines.push((peer.id.0, line));
                }
                lines.sort();
                text.extend(lines.into_iter().map(|(_, line)| line));
            }
            ClusterFile::SelfNode => {
                let frames = machine::frame_counts();
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
                for peer in self.net.peers() {
                    let counters = peer.counters;
                    let _ = writeln!(
                        text,
                        "link {} sent {} retransmitted {} received {} duplicates {} dropped {}",
                        peer.id.0,
                        counters.sent,
                        counters.retransmitted,
                        counters.received,
                        counters.duplicates,
                        counters.dropped
                    );
                }
            }
            ClusterFile::Policy => text.push_str("manual\n"),
            ClusterFile::Ping => text = self.measurement(),
            _ => {}
        }
        text
    }

    pub(super) fn global(&self, file: GlobalFile) -> String {
        let frames = machine::frame_counts();
        let kib = |pages: u64| pages * (PAGE_SIZE as u64 >> 10);
        let up = self.now;
        match file {
            GlobalFile::Meminfo => format!(
                "MemTotal:       {} kB\nMemFree:        {} kB\nMemAvailable:   {} kB\nBuffers:        0 kB\n\
                 Cached:         {} kB\nSwapCached:     0 kB\nSwapTotal:      0 kB\nSwapFree:       0 kB\n\
                 Shmem:          0 kB\n",
                kib(frames.total),
                kib(frames.free),
                kib(frames.free),
                kib(frames.by_kind[3]),
            ),
            GlobalFile::Stat => {
                let line = |name: String, run: u64, idle: u64| {
                    format!(
                        "{name} {} 0 0 {} 0 0 0 0 0 0\n",
                        run / TICK_NS,
                        idle / TICK_NS
                    )
                };
                let mut text = line("cpu ".to_string(), self.ran_ns, self.idle_ns);
                for (cpu, processor) in self.processors.iter().enumerate() {
                    text += &line(format!("cpu{cpu}"), processor.ran_ns, processor.idle_ns);
                }
                text + &format!(
                    "ctxt 0\nbtime {}\nprocesses {}\nprocs_running {}\nprocs_blocked 0\n",
                    self.settings.boot_unix_ns / NS_PER_S,
                    self.last_serial,
                    self.ready_count() + 1,
                )
            }
            GlobalFile::Uptime => format!(
                "{}.{:02} {}.{:02}\n",
                up / NS_PER_S,
                up % NS_PER_S / TICK_NS,
                self.idle_ns / NS_PER_S,
                self.idle_ns % NS_PER_S / TICK_NS
            ),
            GlobalFile::Loadavg => {
                let running = self.ready_count();
                format!(
                    "{running}.00 {running}.00 {running}.00 {running}/{} {}\n",
                    self.homes.len(),
                    self.last_serial
                )
            }
            GlobalFile::Mounts => "root / tmpfs rw 0 0\nproc /proc proc rw 0 0\n".to_string(),
            GlobalFile::Cpuinfo => (0..self.processors.len())
                .map(|cpu| {
                    format!(
                        "processor\t: {cpu}\nvendor_id\t: {HOST_NAME}\nmodel name\t: x86-64 processor\n\
                         cpu MHz\t\t: 1000.000\n\n"
                    )
                })
                .collect(),
            GlobalFile::Cmdline => format!("{}\n", self.settings.command_line),
            GlobalFile::Version => format!("Linux version 6.1.0-{HOST_NAME} (Dunlin)\n"),
        }
    }
}
