//! The freshest loads that this node knows.
//!
//! Law: [`WINDOW`] of them, one for each node, and up to a quarter more until the oldest are forgotten together.

use crate::WINDOW;
use alloc::vec::Vec;
use wire::{BootId, Load, NodeId, Told};

/// A load, and when it was told by this node's clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) node: NodeId,
    pub(crate) boot: BootId,
    pub(crate) version: u32,
    /// Before this node's clock began, perhaps.
    pub(crate) born: i64,
    pub(crate) load: Load,
}

impl Sample {
    pub(crate) fn age_ns(&self, now: u64) -> u64 {
        u64::try_from(now as i64 - self.born).unwrap_or(0)
    }

    pub(crate) fn told(&self, now: u64) -> Told {
        let age_ms = self.age_ns(now).div_ceil(1_000_000);
        Told {
            version: self.version,
            age_ms: u32::try_from(age_ms).unwrap_or(u32::MAX),
            load: self.load,
        }
    }
}

/// Whether the serial number `a` comes after `b` (RFC 1982).
pub(crate) fn is_newer(a: u32, b: u32) -> bool {
    a.wrapping_sub(b) as i32 > 0
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Window {
    /// By their nodes.
    samples: Vec<Sample>,
}

impl Window {
    pub(crate) fn get(&self, node: NodeId) -> Option<&Sample> {
        let place = self.samples.binary_search_by_key(&node, |s| s.node).ok()?;
        self.samples.get(place)
    }

    /// Of whom a load is kept, in the order of their numbers.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = NodeId> {
        self.samples.iter().map(|sample| sample.node)
    }

    /// Keeps it unless the same or something newer is known.
    pub(crate) fn put(&mut self, sample: Sample) {
        match self.samples.binary_search_by_key(&sample.node, |s| s.node) {
            Ok(place) => {
                let held = &mut self.samples[place];
                if held.boot != sample.boot || is_newer(sample.version, held.version) {
                    *held = sample;
                }
            }
            Err(place) => {
                self.samples.insert(place, sample);
                if self.samples.len() > WINDOW + WINDOW / 4 {
                    self.samples = self.freshest(WINDOW);
                    self.samples.sort_unstable_by_key(|sample| sample.node);
                }
            }
        }
    }

    pub(crate) fn remove(&mut self, node: NodeId) {
        self.samples.retain(|sample| sample.node != node);
    }

    /// Forgets what was told before.
    pub(crate) fn prune(&mut self, before: i64) {
        self.samples.retain(|sample| sample.born >= before);
    }

    /// The freshest, the freshest first.
    pub(crate) fn freshest(&self, count: usize) -> Vec<Sample> {
        let mut ages: Vec<(i64, usize)> = self
            .samples
            .iter()
            .enumerate()
            .map(|(place, sample)| (-sample.born, place))
            .collect();
        if count < ages.len() {
            ages.select_nth_unstable(count);
            ages.truncate(count);
        }
        ages.sort_unstable();
        ages.iter().map(|&(_, place)| self.samples[place]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(node: u16, version: u32, born: i64) -> Sample {
        Sample {
            node: NodeId(node),
            boot: BootId(1),
            version,
            born,
            load: Load::default(),
        }
    }

    #[test]
    fn serial_numbers_go_around() {
        assert!(is_newer(1, 0) && is_newer(0, u32::MAX) && !is_newer(u32::MAX, 0));
        assert!(!is_newer(5, 5));
    }

    #[test]
    fn versions_decide_and_not_ages() {
        let mut window = Window::default();
        window.put(sample(1, 7, 100));
        window.put(sample(1, 6, 200));
        window.put(sample(1, 7, 300));
        assert_eq!(window.get(NodeId(1)).expect("kept").born, 100);
        window.put(sample(1, 8, 50));
        assert_eq!(window.get(NodeId(1)).expect("kept").born, 50);
        // Another boot counts anew.
        let boot = BootId(2);
        window.put(Sample {
            boot,
            ..sample(1, 1, 60)
        });
        assert_eq!(window.get(NodeId(1)).expect("kept").boot, boot);
    }

    #[test]
    fn the_oldest_gives_way() {
        let mut window = Window::default();
        for node in 1..=1000 {
            window.put(sample(node, 1, 5000 - i64::from(node)));
        }
        window.put(sample(2000, 1, 9000));
        assert!((WINDOW..=WINDOW + WINDOW / 4).contains(&window.samples.len()));
        assert!(window.get(NodeId(400)).is_none() && window.get(NodeId(255)).is_some());
        let first: Vec<u16> = window.freshest(3).iter().map(|s| s.node.0).collect();
        assert_eq!(first, [2000, 1, 2]);
        window.prune(4990);
        assert_eq!(window.samples.len(), 11);
    }
}
