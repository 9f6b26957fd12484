//! The switch as a state machine: frames and the time go in, deliveries come out.
//!
//! Law: no clock and no I/O; a frame that is not late is delivered inside the call that brought it,
//! from the caller's buffer. Late frames are copied and bounded per switch: beyond that they are lost.

use crate::faults::{Faults, Link};
use crate::table::{Address, Table};
use crate::{FRAME_MAX, FRAME_MIN, PORTS_MAX};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Two addresses and a type.
const ETHERNET_LEN: usize = 14;
/// Bytes of late frames held at most; more are dropped and counted.
const LATE_BYTES_MAX: usize = 256 << 20;

/// What happened to frames, since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Frames that came in on any port.
    pub received: u64,
    /// Frames handed to a port, copies counted.
    pub delivered: u64,
    /// Bytes handed to a port, copies counted.
    pub delivered_bytes: u64,
    /// Frames that went to all ports.
    pub flooded: u64,
    /// Dropped by `Faults::loss`.
    pub lost: u64,
    /// Delivered twice by `Faults::duplicate`.
    pub duplicated: u64,
    /// Dropped by a cut link.
    pub cut: u64,
    /// Dropped because a queue was full, here or at a port.
    pub overflowed: u64,
    /// Handed to a port and sent by nobody.
    pub bombarded: u64,
    /// Dropped because too short, too long or from a group address.
    pub malformed: u64,
    /// Dropped because longer than the port they came from or go to carries.
    pub too_long: u64,
}

/// A learning switch of up to [`PORTS_MAX`] ports.
#[derive(Debug)]
pub struct Switch {
    ports: usize,
    /// The longest frame of each port.
    longest: [usize; PORTS_MAX],
    /// Indexed by `from * PORTS_MAX + to`.
    links: Vec<Link>,
    table: Table,
    late: BinaryHeap<Reverse<Late>>,
    late_bytes: usize,
    /// Orders late frames of one deadline as they came.
    sequence: u64,
    counters: Counters,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Late {
    at_ns: u64,
    sequence: u64,
    to: usize,
    frame: Vec<u8>,
}

impl Switch {
    /// A switch of `ports` perfect ports whose faults, once set, draw from `seed`.
    ///
    /// # Panics
    /// When `ports` is more than [`PORTS_MAX`].
    pub fn new(ports: usize, seed: u64) -> Switch {
        assert!(ports <= PORTS_MAX, "a switch has at most {PORTS_MAX} ports");
        let links = (0..PORTS_MAX * PORTS_MAX)
            .map(|n| Link::new(seed, n / PORTS_MAX, n % PORTS_MAX))
            .collect();
        Switch {
            ports,
            longest: [FRAME_MAX; PORTS_MAX],
            links,
            table: Table::default(),
            late: BinaryHeap::new(),
            late_bytes: 0,
            sequence: 0,
            counters: Counters::default(),
        }
    }

    /// Number of ports.
    pub fn ports(&self) -> usize {
        self.ports
    }

    /// Sets what the direction `from` to `to` does; other ports are ignored.
    pub fn set_faults(&mut self, from: usize, to: usize, faults: Faults) {
        if let Some(link) = self.link(from, to) {
            link.faults = faults;
        }
    }

    /// Sets what every link does.
    pub fn set_all_faults(&mut self, faults: Faults) {
        self.links.iter_mut().for_each(|link| link.faults = faults);
    }

    /// Sets how many bytes behind an Ethernet header a port carries; other ports are ignored. Longer frames are
    /// dropped, as switches do.
    pub fn set_mtu(&mut self, port: usize, mtu: u16) {
        if let Some(longest) = self.longest.get_mut(port) {
            *longest = ETHERNET_LEN + usize::from(mtu);
        }
    }

    /// Stops everything from `from` to `to`. The other direction is not touched.
    pub fn cut(&mut self, from: usize, to: usize) {
        if let Some(link) = self.link(from, to) {
            link.cut = true;
        }
    }

    /// Undoes every cut.
    pub fn heal(&mut self) {
        self.links.iter_mut().for_each(|link| link.cut = false);
    }

    /// The node behind `port` has gone: its addresses are forgotten.
    pub fn port_gone(&mut self, port: usize) {
        self.table.forget_port(port);
    }

    /// What happened so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// A frame was handed to a port that nobody has sent.
    pub(crate) fn count_bombarded(&mut self) {
        self.counters.bombarded += 1;
    }

    /// A port could not take a frame handed to it: counts it as overflow instead of delivery.
    pub fn refused(&mut self, bytes: usize) {
        self.counters.delivered = self.counters.delivered.saturating_sub(1);
        let bytes = bytes as u64;
        self.counters.delivered_bytes = self.counters.delivered_bytes.saturating_sub(bytes);
        self.counters.overflowed += 1;
    }

    /// Takes a frame that came in on port `from` and calls `deliver(port, frame)` for each port that
    /// gets it now. At most `2 * ports` calls.
    pub fn forward(
        &mut self,
        now_ns: u64,
        from: usize,
        frame: &[u8],
        deliver: &mut dyn FnMut(usize, &[u8]),
    ) {
        self.counters.received += 1;
        let Some((destination, source)) = addresses(frame) else {
            self.counters.malformed += 1;
            return;
        };
        if from >= self.ports || crate::table::is_group(source) {
            self.counters.malformed += 1;
            return;
        }
        self.table.learn(source, from);
        match self.table.lookup(destination) {
            // The sender's own segment has it already.
            Some(to) if to == from => {}
            Some(to) => self.cross(now_ns, from, to, frame, deliver),
            None => {
                self.counters.flooded += 1;
                for to in (0..self.ports).filter(|to| *to != from) {
                    self.cross(now_ns, from, to, frame, deliver);
                }
            }
        }
    }

    /// Delivers the late frames whose time has come.
    pub fn release(&mut self, now_ns: u64, deliver: &mut dyn FnMut(usize, &[u8])) {
        while self.next_deadline_ns().is_some_and(|at_ns| at_ns <= now_ns) {
            let Some(Reverse(late)) = self.late.pop() else {
                return;
            };
            self.late_bytes -= late.frame.len();
            self.count_delivery(late.frame.len());
            deliver(late.to, &late.frame);
        }
    }

    /// When [`Switch::release`] has something to do.
    pub fn next_deadline_ns(&self) -> Option<u64> {
        self.late.peek().map(|Reverse(late)| late.at_ns)
    }

    fn cross(
        &mut self,
        now_ns: u64,
        from: usize,
        to: usize,
        frame: &[u8],
        deliver: &mut dyn FnMut(usize, &[u8]),
    ) {
        if frame.len() > self.longest[from].min(self.longest[to]) {
            self.counters.too_long += 1;
            return;
        }
        let link = &mut self.links[from * PORTS_MAX + to];
        if link.cut {
            self.counters.cut += 1;
            return;
        }
        let fate = link.decide(now_ns, frame.len());
        match fate.delays_ns().len() {
            0 => self.counters.lost += 1,
            1 => {}
            _ => self.counters.duplicated += 1,
        }
        for &delay_ns in fate.delays_ns() {
            if delay_ns == 0 {
                self.count_delivery(frame.len());
                deliver(to, frame);
            } else {
                self.hold(now_ns + delay_ns, to, frame);
            }
        }
    }

    fn hold(&mut self, at_ns: u64, to: usize, frame: &[u8]) {
        if self.late_bytes + frame.len() > LATE_BYTES_MAX {
            self.counters.overflowed += 1;
            return;
        }
        self.late_bytes += frame.len();
        self.sequence += 1;
        let late = Late {
            at_ns,
            sequence: self.sequence,
            to,
            frame: frame.to_vec(),
        };
        self.late.push(Reverse(late));
    }

    fn count_delivery(&mut self, bytes: usize) {
        self.counters.delivered += 1;
        self.counters.delivered_bytes += bytes as u64;
    }

    fn link(&mut self, from: usize, to: usize) -> Option<&mut Link> {
        if from >= PORTS_MAX || to >= PORTS_MAX {
            return None;
        }
        self.links.get_mut(from * PORTS_MAX + to)
    }
}

/// Destination and source of a frame of acceptable length.
fn addresses(frame: &[u8]) -> Option<(Address, Address)> {
    if !(FRAME_MIN..=FRAME_MAX).contains(&frame.len()) {
        return None;
    }
    let destination = frame.first_chunk::<6>()?;
    let source = frame[6..].first_chunk::<6>()?;
    Some((*destination, *source))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::Chance;

    fn frame(to: u8, from: u8, mark: u8) -> Vec<u8> {
        let destination = if to == 0xff {
            [0xff; 6]
        } else {
            [0x52, 0x54, 0, 0, 0, to]
        };
        let mut frame = destination.to_vec();
        frame.extend([0x52, 0x54, 0, 0, 0, from, 0x88, 0xb5, mark]);
        frame
    }

    /// Forwards and collects `(port, mark)`.
    fn send(switch: &mut Switch, now_ns: u64, from: usize, frame: &[u8]) -> Vec<(usize, u8)> {
        let mut got = Vec::new();
        switch.forward(now_ns, from, frame, &mut |to, frame| {
            got.push((to, frame[14]))
        });
        got
    }

    fn release(switch: &mut Switch, now_ns: u64) -> Vec<(usize, u8)> {
        let mut got = Vec::new();
        switch.release(now_ns, &mut |to, frame| got.push((to, frame[14])));
        got
    }

    #[test]
    fn unknown_floods_known_goes_to_one() {
        let mut switch = Switch::new(3, 0);
        assert_eq!(send(&mut switch, 0, 0, &frame(2, 1, 7)), [(1, 7), (2, 7)]);
        assert_eq!(send(&mut switch, 0, 1, &frame(1, 2, 8)), [(0, 8)]);
        assert_eq!(send(&mut switch, 0, 0, &frame(2, 1, 9)), [(1, 9)]);
        assert_eq!(
            send(&mut switch, 0, 0, &frame(0xff, 1, 10)),
            [(1, 10), (2, 10)]
        );
        assert_eq!(switch.counters().flooded, 2);
        assert_eq!(switch.counters().delivered, 6);
    }

    #[test]
    fn a_frame_to_its_own_port_goes_nowhere() {
        let mut switch = Switch::new(2, 0);
        assert_eq!(send(&mut switch, 0, 0, &frame(1, 1, 0)), []);
    }

    #[test]
    fn malformed_frames_are_dropped() {
        let mut switch = Switch::new(2, 0);
        let mut from_group = frame(1, 2, 0);
        from_group[6] |= 1;
        switch.forward(0, 0, &[0; 13], &mut |_, _| panic!("too short"));
        switch.forward(0, 0, &[0; FRAME_MAX + 1], &mut |_, _| panic!("too long"));
        switch.forward(0, 0, &from_group, &mut |_, _| panic!("from a group"));
        switch.forward(0, 9, &frame(1, 2, 0), &mut |_, _| panic!("no such port"));
        assert_eq!(switch.counters().malformed, 4);
    }

    #[test]
    fn a_port_drops_what_is_longer_than_it_carries_both_ways() {
        let mut switch = Switch::new(3, 0);
        switch.set_mtu(1, 1500);
        let long = |to, from, length| {
            let mut frame = frame(to, from, 9);
            frame.resize(length, 0);
            frame
        };
        for (to, from) in [(0, 1), (1, 0), (2, 0)] {
            send(&mut switch, 0, from, &frame(to + 1, from as u8 + 1, 1));
            let whole = send(&mut switch, 0, from, &long(to + 1, from as u8 + 1, 1514));
            assert!(whole.contains(&(usize::from(to), 9)));
        }
        let dropped = switch.counters().too_long;
        assert_eq!(send(&mut switch, 0, 0, &long(2, 1, 1515)), []);
        assert_eq!(send(&mut switch, 0, 1, &long(1, 2, 1515)), []);
        assert_eq!(switch.counters().too_long, dropped + 2);
        assert_eq!(send(&mut switch, 0, 0, &long(0xff, 1, 4232)), [(2, 9)]);
    }

    #[test]
    fn a_cut_is_one_way_until_healed() {
        let mut switch = Switch::new(2, 0);
        switch.cut(0, 1);
        assert_eq!(send(&mut switch, 0, 0, &frame(2, 1, 1)), []);
        assert_eq!(send(&mut switch, 0, 1, &frame(1, 2, 2)), [(0, 2)]);
        switch.heal();
        assert_eq!(send(&mut switch, 0, 0, &frame(2, 1, 3)), [(1, 3)]);
        assert_eq!(switch.counters().cut, 1);
    }

    #[test]
    fn delay_keeps_order_and_ends_on_time() {
        let mut switch = Switch::new(2, 0);
        switch.set_faults(
            0,
            1,
            Faults {
                delay_us: 5,
                ..Faults::default()
            },
        );
        assert_eq!(send(&mut switch, 0, 0, &frame(2, 1, 1)), []);
        assert_eq!(send(&mut switch, 0, 0, &frame(2, 1, 2)), []);
        assert_eq!(switch.next_deadline_ns(), Some(5_000));
        assert_eq!(release(&mut switch, 4_999), []);
        assert_eq!(release(&mut switch, 5_000), [(1, 1), (1, 2)]);
        assert_eq!(switch.next_deadline_ns(), None);
    }

    #[test]
    fn reordering_lets_later_frames_overtake_and_loses_none() {
        let mut switch = Switch::new(2, 3);
        switch.set_all_faults(Faults {
            reorder: Chance::percent(20),
            ..Faults::default()
        });
        let mut got = Vec::new();
        for mark in 0..200u8 {
            got.extend(send(&mut switch, u64::from(mark), 0, &frame(2, 1, mark)));
        }
        got.extend(release(&mut switch, u64::MAX));
        let marks: Vec<u8> = got.iter().map(|(_, mark)| *mark).collect();
        let mut sorted = marks.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..200).collect::<Vec<u8>>());
        assert_ne!(marks, sorted);
    }

    #[test]
    fn a_duplicate_arrives_twice() {
        let mut switch = Switch::new(2, 0);
        switch.set_all_faults(Faults {
            duplicate: Chance::percent(100),
            ..Faults::default()
        });
        assert_eq!(send(&mut switch, 0, 0, &frame(2, 1, 4)), [(1, 4), (1, 4)]);
        assert_eq!(switch.counters().duplicated, 1);
    }
}
