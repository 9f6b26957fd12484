//! What has changed lately, and how often it was passed on.
//!
//! Law: bounded; what was passed on least goes first. Only names stand here: what is told of them is what is
//! believed when the frame leaves.

use crate::NEWS_MAX;
use alloc::vec::Vec;
use wire::NodeId;

#[derive(Clone, Debug, Default)]
pub(crate) struct News {
    /// Ascending by how often they were passed on.
    items: Vec<(NodeId, u32)>,
}

impl News {
    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        self.items.clear();
    }

    /// This node is news from now on. What was passed on most often gives way.
    pub(crate) fn push(&mut self, node: NodeId) {
        self.items.retain(|item| item.0 != node);
        self.items.truncate(NEWS_MAX - 1);
        self.items.insert(0, (node, 0));
    }

    /// Takes the next `count` for one frame; each is news `times` times.
    pub(crate) fn take(
        &mut self,
        count: usize,
        times: u32,
    ) -> impl Iterator<Item = NodeId> + use<> {
        let count = count.min(self.items.len());
        let mut taken: Vec<(NodeId, u32)> = self.items.drain(..count).collect();
        let names: Vec<NodeId> = taken.iter().map(|item| item.0).collect();
        taken.iter_mut().for_each(|item| item.1 += 1);
        for item in taken.into_iter().filter(|item| item.1 < times) {
            let place = self.items.partition_point(|other| other.1 <= item.1);
            self.items.insert(place, item);
        }
        names.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_told_least_goes_first() {
        let mut news = News::default();
        (1..=3).for_each(|node| news.push(NodeId(node)));
        let mut take = |count| news.take(count, 2).map(|node| node.0).collect::<Vec<_>>();
        assert_eq!(take(2), [3, 2]);
        assert_eq!(take(2), [1, 3]);
        assert_eq!(take(9), [2, 1]);
        assert!(take(9).is_empty());
    }

    #[test]
    fn there_is_a_bound() {
        let mut news = News::default();
        (1..=2000).for_each(|node| news.push(NodeId(node)));
        assert_eq!(news.take(9999, 1).count(), NEWS_MAX);
        assert!(news.is_empty());
    }
}
