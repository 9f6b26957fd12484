//! The better one of two nodes that are drawn from all that would do.
//!
//! Law: many who ask at once know the same. If each took the best one they would all meet there; of two drawn at random the
//! better one is almost as good, and another one for each (Mitzenmacher, "The power of two choices in randomized load
//! balancing", IEEE TPDS 12(10), 2001).

use wire::NodeId;

/// Up to two nodes, each with what speaks for it.
pub(crate) struct Drawn<T> {
    draw: u64,
    two: [Option<(u64, NodeId, T)>; 2],
}

impl<T: Copy> Drawn<T> {
    /// None yet; other nodes come first for another `draw`.
    pub(crate) fn new(draw: u64) -> Drawn<T> {
        Drawn {
            draw: mixed(draw),
            two: [None; 2],
        }
    }

    /// A node that would do.
    pub(crate) fn add(&mut self, node: NodeId, value: T) {
        let ticket = mixed(self.draw ^ u64::from(node.0));
        let comes_before = |other: &Option<(u64, NodeId, T)>| other.is_none_or(|o| ticket < o.0);
        if comes_before(&self.two[0]) {
            self.two = [Some((ticket, node, value)), self.two[0]];
        } else if comes_before(&self.two[1]) {
            self.two[1] = Some((ticket, node, value));
        }
    }

    /// The one with the lower cost.
    pub(crate) fn best<C: Ord>(self, cost: impl Fn(&T) -> C) -> Option<(NodeId, T)> {
        let two = self.two.into_iter().flatten();
        let best = two.min_by_key(|(ticket, _, value)| (cost(value), *ticket));
        best.map(|(_, node, value)| (node, value))
    }
}

/// A number that looks random, for each number another one (`SplitMix64`).
fn mixed(number: u64) -> u64 {
    let z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
