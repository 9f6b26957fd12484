//! One clock for all: that of the first node, to which the others know their distance.
//!
//! Law: an estimate is as wrong as its sample says, and more the longer ago that is.

use crate::read::NodeTrace;
use std::collections::BTreeMap;

/// Two clocks drift apart by less than 1/500 (`net/link/src/clock.rs` says why so much).
const DRIFT: u128 = 500;

/// A time on the clock of the reference, ns, and how wrong it may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Time {
    pub(crate) ns: i128,
    pub(crate) error_ns: u64,
}

/// What was believed at `at_ns` of a node's clock: add `offset_ns` for that of the reference.
#[derive(Debug, Clone, Copy)]
struct Sample {
    at_ns: i128,
    offset_ns: i128,
    error_ns: u64,
}

/// The way from every node's clock to that of the reference.
#[derive(Debug)]
pub(crate) struct Clocks {
    reference: u16,
    samples: BTreeMap<u16, Vec<Sample>>,
}

impl Clocks {
    /// The lowest node is the reference.
    pub(crate) fn new(nodes: &BTreeMap<u16, NodeTrace>) -> Option<Clocks> {
        let reference = *nodes.keys().next()?;
        let mut samples: BTreeMap<u16, Vec<Sample>> = BTreeMap::new();
        for (&node, trace) in nodes {
            for event in trace.events.iter().filter(|event| event.name == "clock") {
                let (at, offset) = (i128::from(event.at_ns), event.value);
                let (of, at_ns, offset_ns) = if node == reference {
                    // It knows the other's clock: the way back is the same one.
                    (event.peer, at + offset, -offset)
                } else if event.peer == reference {
                    (node, at, offset)
                } else {
                    continue;
                };
                samples.entry(of).or_default().push(Sample {
                    at_ns,
                    offset_ns,
                    error_ns: event.epoch,
                });
            }
        }
        Some(Clocks { reference, samples })
    }

    /// A time of a node's clock on that of the reference; `None` if they never heard of each other.
    pub(crate) fn time(&self, node: u16, at_ns: u64) -> Option<Time> {
        let at = i128::from(at_ns);
        if node == self.reference {
            return Some(Time {
                ns: at,
                error_ns: 0,
            });
        }
        let aged = |sample: &Sample| {
            let age = (at - sample.at_ns).unsigned_abs() / DRIFT;
            let error = u128::from(sample.error_ns).saturating_add(age);
            u64::try_from(error).unwrap_or(u64::MAX)
        };
        let samples = self.samples.get(&node)?;
        let best = samples.iter().min_by_key(|sample| aged(sample))?;
        Some(Time {
            ns: at + best.offset_ns,
            error_ns: aged(best),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::read;

    #[test]
    fn both_ends_of_a_link_tell_its_clocks() {
        let text = "# node\t1\n1000\t0\tclock\t0\t50\t2\t-300\n# node\t2\n5700\t0\tclock\t0\t10\t1\t310\n# node\t3";
        let nodes = read(text.lines()).expect("it is right");
        let clocks = Clocks::new(&nodes).expect("there are nodes");
        let time = |node, at| clocks.time(node, at).map(|time| (time.ns, time.error_ns));
        assert_eq!(time(1, 77), Some((77, 0)));
        // What node 1 believed when node 2 had 700, and what node 2 believed at 5700.
        assert_eq!(time(2, 5700), Some((6010, 10)));
        assert_eq!(time(2, 700 - 500), Some((510, 21)));
        assert_eq!(time(2, 5_700 + 5_000), Some((11_010, 20)));
        assert_eq!(time(3, 5), None);
    }
}
