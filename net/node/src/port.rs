//! How many packets may be on their way to this node, and who may send how many of them.
//!
//! Law: the receiver decides. All that is sent to a node meets at one port of a switch, and only the
//! node itself sees all of it; so it keeps one window for the port and gives each of those who send an
//! equal share. A packet that waits at the port adds nothing to the throughput, but an urgent one must
//! wait behind it: the window is as large as keeps the port busy, and hardly larger.
//!
//! Every frame tells the round trip that it has seen, without the time it was held; the shortest ever
//! seen is the way without waiting. What even the luckiest of a hundred packets has waited is a queue
//! that stands: so many packets are too many. If one of them hardly waited, the port may have been idle,
//! and the window grows. Losses say nothing here: a queue is seen before the port is full, and other
//! losses are no reason to go slower.

use crate::Page;
use crate::peer::Peer;
use alloc::vec::Vec;

/// The window of a node that nobody has sent anything to, and the greatest.
const WINDOW_START: u32 = link::SHARE_START as u32;
const WINDOW_MAX: u32 = u8::MAX as u32;
/// The least window.
const LEAST: u32 = 2;
/// That of a virtual machine. Nodes that take turns on a processor take in and acknowledge in one turn
/// all that came since the last one: they stand still in between unless that is a lot.
const VIRTUAL_LEAST: u32 = 192;
/// What it has while somebody waits for what comes to it: an answer comes behind what is under way.
const VIRTUAL_AWAITING: u32 = 32;
/// Who has asked for something waits for it so long at most, and then for the next, ns.
const AWAITING_NS: u64 = 3_000_000;
/// Packets that are looked at before the window changes.
const ROUND_PACKETS: u32 = 128;
/// Half a packet and this part of the window may stand in the queue.
const STANDING_PART: u64 = 64;
/// A port is busy if it is as fast as when packets waited, but for this part.
const BUSY_PART: u64 = 40;
/// A busy port is asked every so many rounds whether it can do more.
const PROBE_ROUNDS: u32 = 16;
/// Who has sent nothing for so long does not send any more, ns.
const SENDING_NS: u64 = 2_000_000;
/// When nobody has sent anything for so long, what comes is looked at afresh, ns.
const IDLE_NS: u64 = 20_000_000;

/// What is known of the way from one sender.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Way {
    /// When the last full packet came.
    last_at: u64,
    /// The shortest round trip of a full packet, ns.
    shortest_ns: Option<u64>,
    /// The shortest in this round.
    least_ns: Option<u64>,
}

impl Way {
    fn see(&mut self, rtt_ns: u64) {
        let least = |known: Option<u64>| Some(known.map_or(rtt_ns, |known| known.min(rtt_ns)));
        self.shortest_ns = least(self.shortest_ns);
        self.least_ns = least(self.least_ns);
    }
}

/// What a round has shown, ns.
#[derive(Clone, Copy, Debug, Default)]
struct Round {
    /// From one packet to the next.
    packet_ns: u64,
    /// What even the luckiest packet of some sender has waited.
    queued_ns: u64,
    /// Its round trip.
    rtt_ns: u64,
}

/// The port of the switch to which this node is connected, as seen from here.
#[derive(Debug)]
pub(crate) struct Port {
    /// The window is never smaller.
    least: u32,
    /// When something last came that somebody waited for, or was asked for.
    awaited_at: Option<u64>,
    window: u32,
    /// Who sends, by index of the peer.
    senders: Vec<usize>,
    /// How many rounds there were, when the present one began, and packets since then.
    rounds: u32,
    began: u64,
    packets: u32,
    /// When the last packet came.
    last_at: u64,
    /// The shortest time per packet of any round, and of any in which packets waited, ns.
    fastest_ns: u64,
    busy_ns: Option<u64>,
}

impl Port {
    pub(crate) fn new(is_virtual: bool) -> Port {
        let least = if is_virtual { VIRTUAL_LEAST } else { LEAST };
        Port {
            least,
            awaited_at: None,
            window: WINDOW_START.max(least),
            senders: Vec::new(),
            rounds: 0,
            began: 0,
            packets: 0,
            last_at: 0,
            fastest_ns: u64::MAX,
            busy_ns: None,
        }
    }

    /// What a peer may have in flight: an equal part of the window. Who gets what is left over changes
    /// from round to round.
    pub(crate) fn share(&self, now: u64, peer: usize) -> u8 {
        let window = self.window_now(now);
        let count = self.senders.len() as u32;
        let share = match self.senders.iter().position(|sender| *sender == peer) {
            None => window.div_ceil(count + 1),
            Some(place) => {
                let turn = (place as u32).wrapping_add(self.rounds) % count;
                window / count + u32::from(turn < window % count)
            }
        };
        share.clamp(1, WINDOW_MAX) as u8
    }

    /// The window, or what of it does not keep those who wait.
    fn window_now(&self, now: u64) -> u32 {
        let awaits = |at: u64| now.saturating_sub(at) < AWAITING_NS;
        match self.awaited_at.is_some_and(awaits) && self.least > LEAST {
            true => self.window.min(VIRTUAL_AWAITING),
            false => self.window,
        }
    }

    /// Something came that somebody waited for, or was asked for.
    pub(crate) fn handle_awaited(&mut self, now: u64) {
        self.awaited_at = Some(now);
    }

    /// How many packets of such a share are acknowledged together: the fewer, the more evenly the next
    /// ones leave. A virtual machine is slow to be woken.
    pub(crate) fn together(&self, share: u8) -> u32 {
        let part = if self.least > LEAST { 4 } else { 8 };
        u32::from(share) / part
    }

    /// A full packet came from a peer, and told a round trip. Returns whether a round is over.
    pub(crate) fn handle_packet(
        &mut self,
        now: u64,
        peer: usize,
        way: &mut Way,
        rtt_ns: Option<u64>,
    ) -> bool {
        if now.saturating_sub(self.last_at) > IDLE_NS {
            self.senders.clear();
            self.packets = 0;
        }
        if !self.senders.contains(&peer) {
            self.senders.push(peer);
        }
        if self.packets == 0 {
            self.began = now;
        }
        self.packets += 1;
        self.last_at = now;
        way.last_at = now;
        let Some(rtt_ns) = rtt_ns else { return false };
        way.see(rtt_ns);
        self.packets >= ROUND_PACKETS && now.saturating_sub(self.began) >= rtt_ns
    }

    /// A round is over: the window is fitted to what was seen on the ways.
    pub(crate) fn end_round<P: Page>(&mut self, now: u64, peers: &mut [Peer<P>]) {
        let packets = u64::from(core::mem::take(&mut self.packets).max(1));
        let packet_ns = (now.saturating_sub(self.began) / packets).max(1);
        self.fastest_ns = self.fastest_ns.min(packet_ns);
        let mut round = Round {
            packet_ns,
            ..Round::default()
        };
        for &peer in &self.senders {
            let Peer { way, link, .. } = &mut peers[peer];
            let Some(least_ns) = way.least_ns.take() else {
                continue;
            };
            // A page takes its time on two cables. Without that the first page of a sender that met
            // others here would pass for one that did not wait.
            let minimal_ns = link.rtt().min_ns().unwrap_or(least_ns);
            let alone_ns = minimal_ns.saturating_add(self.fastest_ns.saturating_mul(2));
            let alone_ns = way.shortest_ns.map_or(alone_ns, |seen| seen.min(alone_ns));
            round.queued_ns = round.queued_ns.max(least_ns.saturating_sub(alone_ns));
            round.rtt_ns = round.rtt_ns.max(least_ns);
        }
        let sends = |peer: &usize| now.saturating_sub(peers[*peer].way.last_at) < SENDING_NS;
        self.senders.retain(sends);
        self.rounds = self.rounds.wrapping_add(1);
        let least = self.least.max(self.senders.len() as u32);
        self.window = self.fit(round).clamp(least.min(WINDOW_MAX), WINDOW_MAX);
    }

    /// The window for the next round.
    fn fit(&mut self, round: Round) -> u32 {
        let Round {
            packet_ns,
            queued_ns,
            rtt_ns,
        } = round;
        let window = u64::from(self.window);
        let standing_ns = packet_ns / 2 + packet_ns * window / STANDING_PART;
        if queued_ns * 2 >= standing_ns {
            self.busy_ns = Some(self.busy_ns.map_or(packet_ns, |busy| busy.min(packet_ns)));
        }
        let is_busy = self
            .busy_ns
            .is_some_and(|busy| packet_ns.abs_diff(busy) <= busy / BUSY_PART);
        let most_ns = if is_busy {
            standing_ns / 2
        } else {
            standing_ns * 3 / 2
        };
        let may_idle = queued_ns < standing_ns / 2 && !is_busy;
        let is_asked = is_busy && self.rounds.is_multiple_of(PROBE_ROUNDS);
        // With fewer packets under way it was not the window that held them back.
        let is_limit = rtt_ns / packet_ns * 4 >= window * 3;
        if queued_ns > most_ns {
            let excess = queued_ns.saturating_sub(standing_ns) / packet_ns;
            self.window - excess.clamp(1, window) as u32
        } else if is_limit && (may_idle || is_asked) {
            // Fast as long as nobody has ever waited.
            let part = if self.busy_ns.is_none() { 2 } else { 16 };
            self.window + self.window / part + 1
        } else {
            self.window
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(window: u32, senders: usize) -> Port {
        let mut port = Port::new(false);
        port.window = window;
        port.senders = (0..senders).collect();
        port
    }

    #[test]
    fn shares_are_equal_and_leave_nothing_over() {
        for (window, senders) in [(7, 3), (64, 3), (255, 7), (5, 5), (2, 1)] {
            let mut port = port(window, senders);
            let mut given = [0u32; 8];
            for round in 0..senders as u32 {
                port.rounds = round;
                let shares = (0..senders).map(|peer| u32::from(port.share(0, peer)));
                assert_eq!(shares.sum::<u32>(), window);
                for (peer, given) in given.iter_mut().enumerate().take(senders) {
                    *given += u32::from(port.share(0, peer));
                }
            }
            assert!(given[..senders].iter().all(|given| *given == window));
        }
        // Who sends nothing is told what it would get.
        assert_eq!(port(60, 2).share(0, 9), 20);
        assert_eq!(port(2, 4).share(0, 0), 1);
    }

    #[test]
    fn the_window_follows_the_queue() {
        let round = |queued_ns| Round {
            packet_ns: 1000,
            queued_ns,
            rtt_ns: 20_000,
        };
        let mut port = port(20, 1);
        port.rounds = 1;
        assert_eq!(port.fit(round(0)), 31, "nobody has ever waited");
        port.window = 40;
        assert_eq!(port.fit(round(20_000)), 22, "all but what may stand");
        port.window = 21;
        assert_eq!(port.fit(round(1000)), 20, "as fast with fewer");
        port.window = 20;
        assert_eq!(port.fit(round(0)), 20, "busy: no need to grow");
        port.window = 100;
        assert_eq!(port.fit(round(0)), 100, "too few under way to tell");
    }

    #[test]
    fn a_virtual_machine_keeps_more_under_way() {
        assert_eq!(Port::new(true).share(0, 0), VIRTUAL_LEAST as u8);
        assert_eq!(Port::new(false).share(0, 0), WINDOW_START as u8);
    }

    #[test]
    fn a_virtual_machine_that_waits_for_answers_has_less_under_way() {
        let mut port = Port::new(true);
        port.handle_awaited(1);
        assert_eq!(port.share(2, 0), VIRTUAL_AWAITING as u8);
        assert_eq!(port.share(1 + AWAITING_NS, 0), VIRTUAL_LEAST as u8);
        let mut port = Port::new(false);
        port.handle_awaited(1);
        assert_eq!(port.share(2, 0), WINDOW_START as u8, "its window is fitted");
    }
}
