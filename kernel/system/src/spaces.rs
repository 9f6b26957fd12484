//! The address spaces of a node, each used by one process or, after vfork(2), by several.
//!
//! Law: a space lives as long as a body names it. Bodies name spaces and do not own them, so that
//! one processor can change a space while a thread is in user mode in it on another.

use crate::memory::Space;
use alloc::collections::BTreeMap;

/// Names a space of this node. Zero names none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct SpaceId(u64);

struct Shared {
    space: Space,
    users: usize,
}

/// All spaces of a node.
#[derive(Default)]
pub struct Spaces {
    last: u64,
    spaces: BTreeMap<SpaceId, Shared>,
}

impl Spaces {
    /// Takes in a space for its first user.
    pub fn add(&mut self, space: Space) -> SpaceId {
        self.last += 1;
        let id = SpaceId(self.last);
        self.spaces.insert(id, Shared { space, users: 1 });
        id
    }

    /// One more user of a space.
    pub fn share(&mut self, id: SpaceId) {
        if let Some(shared) = self.spaces.get_mut(&id) {
            shared.users += 1;
        }
    }

    /// One user less; the last one takes the space along.
    pub fn leave(&mut self, id: SpaceId) -> Option<Space> {
        let shared = self.spaces.get_mut(&id)?;
        shared.users -= 1;
        if shared.users > 0 {
            return None;
        }
        self.spaces.remove(&id).map(|shared| shared.space)
    }

    /// A space.
    pub fn get(&self, id: SpaceId) -> Option<&Space> {
        self.spaces.get(&id).map(|shared| &shared.space)
    }

    /// A space that one body has alone.
    pub fn alone(&self, id: SpaceId) -> Option<&Space> {
        let shared = self.spaces.get(&id)?;
        (shared.users == 1).then_some(&shared.space)
    }

    /// A space, to change it.
    pub fn get_mut(&mut self, id: SpaceId) -> Option<&mut Space> {
        self.spaces.get_mut(&id).map(|shared| &mut shared.space)
    }

    /// All spaces, in any order.
    pub fn iter(&self) -> impl Iterator<Item = &Space> {
        self.spaces.values().map(|shared| &shared.space)
    }

    /// Nobody here has this page of a shared object mapped any more.
    pub fn unmap_object(&mut self, identity: usize, page: u64) {
        for shared in self.spaces.values_mut() {
            shared.space.unmap_object(identity, page);
        }
    }

    /// How many spaces there are.
    #[cfg(any(test, feature = "canary"))]
    pub(crate) fn count(&self) -> usize {
        self.spaces.len()
    }

    /// How many bodies use a space.
    pub fn users(&self, id: SpaceId) -> usize {
        self.spaces.get(&id).map_or(0, |shared| shared.users)
    }
}
