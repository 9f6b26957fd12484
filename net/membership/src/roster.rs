//! All nodes that this one knows, by their numbers.
//!
//! Law: a table of two levels, so that it is found at once who somebody is. Parts that nobody has changed are
//! shared between clones: a simulation of ten thousand nodes that all know each other has room for that.

use crate::random::Random;
use alloc::sync::Arc;
use alloc::vec::Vec;
use wire::{BootId, NodeId, NodeState};

const CHUNK: usize = 64;

/// A node, as it is believed to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Member {
    pub(crate) boot: BootId,
    /// The boot before, which is over.
    pub(crate) over: BootId,
    /// Since when it is in this state.
    pub(crate) since: u64,
    pub(crate) incarnation: u32,
    pub(crate) state: NodeState,
    /// Whether it was heard by this node itself, so that it can be spoken to.
    pub(crate) direct: bool,
}

impl Member {
    /// Whether it is worth talking to.
    pub(crate) fn is_present(&self) -> bool {
        matches!(self.state, NodeState::Alive | NodeState::Suspect)
    }
}

type Chunk = [Option<Member>; CHUNK];

#[derive(Clone, Debug, Default)]
pub(crate) struct Roster {
    chunks: Vec<Option<Arc<Chunk>>>,
    /// All of them in no order, for choices.
    names: Arc<Vec<NodeId>>,
    present: usize,
    /// The way around all names: a place, a step, and how many are left.
    place: usize,
    step: usize,
    left: usize,
}

fn split(node: NodeId) -> (usize, usize) {
    let number = usize::from(node.0);
    (number / CHUNK, number % CHUNK)
}

fn have_common_divisor(a: usize, b: usize) -> bool {
    match a % b {
        0 => b != 1,
        rest => have_common_divisor(b, rest),
    }
}

impl Roster {
    pub(crate) fn get(&self, node: NodeId) -> Option<&Member> {
        let (chunk, place) = split(node);
        self.chunks.get(chunk)?.as_ref()?[place].as_ref()
    }

    pub(crate) fn set(&mut self, node: NodeId, member: Member) {
        self.replace(node, Some(member));
    }

    pub(crate) fn remove(&mut self, node: NodeId) {
        self.replace(node, None);
    }

    fn replace(&mut self, node: NodeId, member: Option<Member>) {
        let (chunk, place) = split(node);
        if chunk >= self.chunks.len() {
            self.chunks.resize(chunk + 1, None);
        }
        let chunk = self.chunks[chunk].get_or_insert_with(|| Arc::new([None; CHUNK]));
        let before = core::mem::replace(&mut Arc::make_mut(chunk)[place], member);
        let present = |member: Option<Member>| usize::from(member.is_some_and(|m| m.is_present()));
        self.present += present(member);
        self.present -= present(before);
        if before.is_none() && member.is_some() {
            Arc::make_mut(&mut self.names).push(node);
        } else if before.is_some() && member.is_none() {
            Arc::make_mut(&mut self.names).retain(|name| *name != node);
        }
    }

    /// How many are not taken for dead and have not left.
    pub(crate) fn present(&self) -> usize {
        self.present
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (NodeId, &Member)> {
        let chunks = self.chunks.iter().enumerate();
        chunks.flat_map(|(high, chunk)| {
            let members = chunk.iter().flat_map(|chunk| chunk.iter().enumerate());
            members.filter_map(move |(low, member)| {
                Some((NodeId((high * CHUNK + low) as u16), member.as_ref()?))
            })
        })
    }

    /// Up to `count` different ones that can be spoken to, but not `except`.
    pub(crate) fn choose(&self, random: &mut Random, count: usize, except: NodeId) -> Vec<NodeId> {
        let mut chosen = Vec::with_capacity(count);
        for _ in 0..8 * count {
            if chosen.len() == count || self.names.is_empty() {
                break;
            }
            let node = self.names[random.below(self.names.len() as u64) as usize];
            let fits = |member: &Member| member.direct && member.is_present();
            if node != except && !chosen.contains(&node) && self.get(node).is_some_and(fits) {
                chosen.push(node);
            }
        }
        chosen
    }

    /// The next one by number that can be spoken to, and the first one behind the last.
    pub(crate) fn successor(&self, of: NodeId) -> Option<NodeId> {
        let last = self.chunks.len() * CHUNK;
        let behind = (usize::from(of.0) + 1..last).chain(1..usize::from(of.0).min(last));
        let mut names = behind.map(|number| NodeId(number as u16));
        names.find(|node| {
            let member = self.get(*node);
            member.is_some_and(|member| member.direct && member.is_present())
        })
    }

    /// The next one on the way around all of them that is not gone. Every node goes another way, and a new one
    /// after each turn.
    pub(crate) fn next(&mut self, random: &mut Random) -> Option<NodeId> {
        let count = self.names.len();
        for _ in 0..count {
            if self.left == 0 || self.place >= count {
                self.step = 1 + random.below(count as u64) as usize;
                while have_common_divisor(self.step, count) {
                    self.step += 1;
                }
                self.place = random.below(count as u64) as usize;
                self.left = count;
            }
            let node = self.names[self.place];
            self.place = (self.place + self.step) % count;
            self.left -= 1;
            if self.get(node).is_some_and(Member::is_present) {
                return Some(node);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(state: NodeState) -> Member {
        Member {
            boot: BootId(1),
            over: BootId::NONE,
            since: 0,
            incarnation: 0,
            state,
            direct: true,
        }
    }

    #[test]
    fn everybody_is_visited_in_turn() {
        let mut roster = Roster::default();
        for node in [1, 2, 63, 64, 500, 32767] {
            roster.set(NodeId(node), member(NodeState::Alive));
        }
        roster.set(NodeId(9), member(NodeState::Dead));
        assert_eq!(roster.present(), 6);
        let mut random = Random(1);
        for _ in 0..4 {
            let mut turn: Vec<u16> = (0..6)
                .filter_map(|_| Some(roster.next(&mut random)?.0))
                .collect();
            turn.sort_unstable();
            assert_eq!(turn, [1, 2, 63, 64, 500, 32767]);
        }
        assert_eq!(roster.successor(NodeId(2)), Some(NodeId(63)));
        assert_eq!(roster.successor(NodeId(32767)), Some(NodeId(1)));
        let chosen = roster.choose(&mut random, 3, NodeId(500));
        assert_eq!(chosen.len(), 3);
        assert!(!chosen.contains(&NodeId(500)) && !chosen.contains(&NodeId(9)));
        for node in [1, 2, 63, 64, 500, 32767, 9] {
            roster.remove(NodeId(node));
        }
        assert_eq!((roster.present(), roster.iter().count()), (0, 0));
        assert_eq!(roster.next(&mut random), None);
    }

    #[test]
    fn clones_share_what_nobody_changes() {
        let mut roster = Roster::default();
        (1..=200).for_each(|node| roster.set(NodeId(node), member(NodeState::Alive)));
        let mut clone = roster.clone();
        clone.set(NodeId(1), member(NodeState::Dead));
        let same = |chunk: usize| match (&roster.chunks[chunk], &clone.chunks[chunk]) {
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            _ => false,
        };
        assert!(!same(0) && same(1) && same(2));
        assert_eq!(
            roster.get(NodeId(1)).expect("known").state,
            NodeState::Alive
        );
    }
}
