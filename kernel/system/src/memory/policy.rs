//! Policies of NUMA: on which memory nodes pages are to lie, on a machine that has one, number 0.
//!
//! Law: a policy is checked as Linux checks it on a machine with memory node 0 alone (`mm/mempolicy.c`), and then kept
//! and told. It moves nothing: wherever a page is, it is on node 0 of the machine where the program runs.

use abi::Errno;

use super::Space;
use super::area::{Area, Backing};
use super::limits::PAGE;

const MPOL_DEFAULT: u32 = 0;
const MPOL_PREFERRED: u32 = 1;
const MPOL_BIND: u32 = 2;
const MPOL_INTERLEAVE: u32 = 3;
const MPOL_LOCAL: u32 = 4;
const MPOL_PREFERRED_MANY: u32 = 5;
const MPOL_WEIGHTED_INTERLEAVE: u32 = 6;
/// The program's own nodes are told, and those of them count that there are.
const MPOL_F_STATIC_NODES: u32 = 1 << 15;
/// The program's own nodes are told, and are counted among those that there are.
const MPOL_F_RELATIVE_NODES: u32 = 1 << 14;
const MPOL_F_NUMA_BALANCING: u32 = 1 << 13;
const MODE_FLAGS: u32 = MPOL_F_STATIC_NODES | MPOL_F_RELATIVE_NODES | MPOL_F_NUMA_BALANCING;
const OWN_NODES: u32 = MPOL_F_STATIC_NODES | MPOL_F_RELATIVE_NODES;

/// mbind(2): fails if pages are where they should not be.
const MPOL_MF_STRICT: u64 = 1;
/// mbind(2): pages are moved.
const MPOL_MF_MOVE: u64 = 2;
/// As [`MPOL_MF_MOVE`], also those that others have.
pub const MPOL_MF_MOVE_ALL: u64 = 4;

/// A set of nodes as a program gives it, as far as a machine with one can tell sets apart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MemoryNodes {
    /// Nodes 0 to 63.
    pub first: u64,
    /// Whether there is any node in it.
    pub any: bool,
}

impl MemoryNodes {
    /// The first node that there is, and the only one.
    pub fn has_zero(self) -> bool {
        self.first & 1 != 0
    }
}

/// A policy for memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MemoryPolicy {
    /// `MPOL_*` with its flags; 0 is none.
    word: u32,
    /// The nodes that get_mempolicy(2) tells, of the first 64.
    nodes: u64,
}

impl MemoryPolicy {
    /// Parts `MPOL_*` from its flags.
    ///
    /// # Errors
    /// EINVAL: there is no such mode, or its flags exclude each other.
    pub fn mode_of(word: u64) -> Result<u32, Errno> {
        let word = word as u32;
        let (mode, flags) = (word & !MODE_FLAGS, word & MODE_FLAGS);
        let balances = flags & MPOL_F_NUMA_BALANCING != 0;
        if mode > MPOL_WEIGHTED_INTERLEAVE
            || flags & OWN_NODES == OWN_NODES
            || balances && !matches!(mode, MPOL_BIND | MPOL_PREFERRED_MANY)
        {
            return Err(Errno::EINVAL);
        }
        Ok(word)
    }

    /// A policy for these nodes; the mode has been checked by [`MemoryPolicy::mode_of`].
    ///
    /// # Errors
    /// EINVAL: the mode does not take these nodes, or none of them is there.
    pub fn new(word: u32, nodes: MemoryNodes) -> Result<MemoryPolicy, Errno> {
        let (mode, flags) = (word & !MODE_FLAGS, word & MODE_FLAGS);
        let own = flags & OWN_NODES != 0;
        let told = match mode {
            MPOL_DEFAULT if nodes.any => return Err(Errno::EINVAL),
            MPOL_DEFAULT => return Ok(MemoryPolicy::default()),
            MPOL_LOCAL if nodes.any || own => return Err(Errno::EINVAL),
            MPOL_LOCAL => 0,
            MPOL_PREFERRED if !nodes.any && !own => {
                let word = MPOL_LOCAL | flags;
                return Ok(MemoryPolicy { word, nodes: 0 });
            }
            _ if flags & MPOL_F_RELATIVE_NODES != 0 && nodes.any => nodes.first,
            _ if !nodes.has_zero() => return Err(Errno::EINVAL),
            _ if own => nodes.first,
            _ => 1,
        };
        Ok(MemoryPolicy { word, nodes: told })
    }

    /// The mode with its flags, and the nodes, as get_mempolicy(2) tells them.
    pub fn told(self) -> (u32, u64) {
        (self.word, self.nodes)
    }

    /// A policy that has travelled.
    pub fn from_told(word: u32, nodes: u64) -> Option<MemoryPolicy> {
        let mode = MemoryPolicy::mode_of(word.into()).ok()?;
        (word & !MODE_FLAGS != MPOL_DEFAULT || (word, nodes) == (0, 0))
            .then_some(MemoryPolicy { word: mode, nodes })
    }

    /// The node that the next page of an interleaved policy would get, if it is one.
    pub fn interleaves(self) -> Option<u32> {
        let mode = self.word & !MODE_FLAGS;
        matches!(mode, MPOL_INTERLEAVE | MPOL_WEIGHTED_INTERLEAVE).then_some(0)
    }

    /// Whether it may have a home node (set_mempolicy_home_node(2)).
    fn takes_home(self) -> bool {
        matches!(self.word & !MODE_FLAGS, MPOL_BIND | MPOL_PREFERRED_MANY)
    }

    /// What `/proc/PID/numa_maps` says (`mpol_to_str` of Linux).
    pub fn name(self) -> &'static str {
        match self.word & !MODE_FLAGS {
            MPOL_PREFERRED => "prefer:0",
            MPOL_BIND => "bind:0",
            MPOL_INTERLEAVE => "interleave:0",
            MPOL_LOCAL => "local",
            MPOL_PREFERRED_MANY => "prefer (many):0",
            MPOL_WEIGHTED_INTERLEAVE => "weighted interleave:0",
            _ => "default",
        }
    }
}

/// Bounds as these calls take them: a page's, and the length rounded up.
fn bounds(start: u64, length: u64) -> Result<(u64, u64), Errno> {
    if !start.is_multiple_of(PAGE) {
        return Err(Errno::EINVAL);
    }
    // As in Linux the sums wrap around, and what is then not behind the start is refused.
    let length = length.wrapping_add(PAGE - 1) & !(PAGE - 1);
    let end = start.wrapping_add(length);
    if end < start {
        return Err(Errno::EINVAL);
    }
    Ok((start, end))
}

impl Space {
    /// mbind(2): a policy for a range.
    ///
    /// # Errors
    /// EINVAL: unaligned, or nodes that the mode does not take. EFAULT: a hole in the range, unless the policy is taken
    /// away. EIO: pages are elsewhere and may not be moved. ENOMEM: too many areas.
    pub fn bind(
        &mut self,
        (start, length): (u64, u64),
        mode: u32,
        nodes: MemoryNodes,
        flags: u64,
    ) -> Result<(), Errno> {
        if flags & !(MPOL_MF_STRICT | MPOL_MF_MOVE | MPOL_MF_MOVE_ALL) != 0 {
            return Err(Errno::EINVAL);
        }
        let (start, end) = bounds(start, length)?;
        if start == end {
            return Ok(());
        }
        let policy = MemoryPolicy::new(mode, nodes)?;
        let takes_away = policy == MemoryPolicy::default();
        let hole = !takes_away && !self.areas.covers(start, end);
        if hole || self.areas.overlapping(start, end).next().is_none() {
            return Err(Errno::EFAULT);
        }
        let strict = flags == MPOL_MF_STRICT && !takes_away;
        if strict && !nodes.has_zero() && self.has_pages(start, end) {
            return Err(Errno::EIO);
        }
        self.check_cuts(start, end)?;
        self.areas.update(start, end, |area| area.policy = policy);
        Ok(())
    }

    /// set_mempolicy_home_node(2): it can only be node 0, so nothing is kept of it.
    ///
    /// # Errors
    /// EINVAL: unaligned. EOPNOTSUPP: a policy that takes none. ENOENT: no policy at all.
    pub fn set_home_node(&self, start: u64, length: u64) -> Result<(), Errno> {
        let (start, end) = bounds(start, length)?;
        if start == end {
            return Ok(());
        }
        let mut result = Err(Errno::ENOENT);
        for area in self.areas.overlapping(start, end) {
            if area.policy == MemoryPolicy::default() {
                continue;
            }
            if !area.policy.takes_home() {
                return Err(Errno::EOPNOTSUPP);
            }
            result = Ok(());
        }
        result
    }

    /// Whether a program has pages of its own in a range, here or under way.
    fn has_pages(&self, start: u64, end: u64) -> bool {
        let within = |page: Option<u64>| page.is_some_and(|page| page < end);
        within(self.private.next(start)) || within(self.absent.next(start))
    }

    /// Where a page is, as move_pages(2) tells it: on node 0, if it is anywhere.
    ///
    /// # Errors
    /// EFAULT: nothing is mapped there, or zeros that were only read. ENOENT: no page is there.
    pub fn memory_node(&self, address: u64) -> Result<u32, Errno> {
        let area = self.areas.find(address).ok_or(Errno::EFAULT)?;
        let own = self.private.contains(super::page_of(address)) || self.is_absent(address);
        if !own && !self.is_resident(address) {
            return Err(Errno::ENOENT);
        }
        if !own && is_zeros(area) {
            return Err(Errno::EFAULT);
        }
        Ok(0)
    }
}

/// Whether a page of an area that is mapped and not its own is the page of zeros that all have.
fn is_zeros(area: &Area) -> bool {
    matches!(area.backing, Backing::Anonymous)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Files, RW, check};
    use super::super::{AreaRecord, MapHow, Trouble};
    use super::*;

    const BASE: u64 = 0x20_0000;
    const STATIC: u64 = 1 << 15;
    const RELATIVE: u64 = 1 << 14;
    const BALANCING: u64 = 1 << 13;

    fn nodes(first: u64) -> MemoryNodes {
        let any = first != 0;
        MemoryNodes { first, any }
    }

    /// What is told of a policy that was set.
    fn set(word: u64, given: MemoryNodes) -> Result<(u32, u64), Errno> {
        let mode = MemoryPolicy::mode_of(word)?;
        MemoryPolicy::new(mode, given).map(MemoryPolicy::told)
    }

    /// Each was asked of Linux 6.18 on a machine with one node.
    #[test]
    fn policies_are_those_of_linux_with_one_node() {
        let none = nodes(0);
        let far = MemoryNodes {
            first: 0,
            any: true,
        };
        let refused = Err(Errno::EINVAL);
        for (word, given, told) in [
            (0, none, Ok((0, 0))),
            (0, nodes(1), refused),
            (STATIC, none, Ok((0, 0))),
            (1, none, Ok((4, 0))),
            (1, nodes(1), Ok((1, 1))),
            (1, nodes(2), refused),
            (1 | STATIC, none, refused),
            (2, nodes(1), Ok((2, 1))),
            (2, nodes(3), Ok((2, 1))),
            (2, nodes(2), refused),
            (2, none, refused),
            (2, far, refused),
            (2 | STATIC, nodes(3), Ok((2 | 1 << 15, 3))),
            (2 | STATIC, nodes(2), refused),
            (2 | RELATIVE, nodes(4), Ok((2 | 1 << 14, 4))),
            (2 | RELATIVE, far, Ok((2 | 1 << 14, 0))),
            (2 | RELATIVE, none, refused),
            (2 | STATIC | RELATIVE, nodes(1), refused),
            (2 | BALANCING, nodes(1), Ok((2 | 1 << 13, 1))),
            (3 | BALANCING, nodes(1), refused),
            (3, nodes(1), Ok((3, 1))),
            (4, none, Ok((4, 0))),
            (4, nodes(1), refused),
            (5, nodes(1), Ok((5, 1))),
            (6, nodes(1), Ok((6, 1))),
            (7, nodes(1), refused),
            (1 << 16, nodes(1), refused),
        ] {
            assert_eq!(set(word, given), told, "{word:#x} of {given:?}");
        }
    }

    #[test]
    fn a_policy_is_that_of_a_range_and_travels_with_it() {
        let mut files = Files::default();
        let mut space = Space::new().expect("memory");
        let mapped = space.map(BASE, 4 * PAGE, RW, Backing::Anonymous, MapHow::Fixed);
        assert_eq!(mapped, Ok(BASE));
        let middle = (BASE + PAGE, 2 * PAGE - 1);
        assert_eq!(space.set_home_node(BASE, PAGE), Err(Errno::ENOENT));
        assert_eq!(space.bind(middle, 2 | 1 << 15, nodes(3), 0), Ok(()));
        assert_eq!(space.areas().count(), 3);
        assert_eq!(space.set_home_node(BASE, 4 * PAGE), Ok(()));
        assert_eq!(space.bind((BASE, PAGE), 3, nodes(1), 0), Ok(()));
        assert_eq!(space.set_home_node(BASE, PAGE), Err(Errno::EOPNOTSUPP));
        let records: Vec<AreaRecord> = space.export().expect("movable").areas;
        let policies = records.iter().map(|record| record.check().expect("ours"));
        let told: Vec<(u32, u64)> = policies.map(|area| area.policy.told()).collect();
        assert_eq!(told, [(3, 1), (2 | 1 << 15, 3), (0, 0)]);
        let mut strange = records[1];
        strange.policy = 7;
        assert!(strange.check().is_err(), "no such mode");
        let child = space.fork().expect("memory");
        assert_eq!(
            child.area_at(BASE).map(|area| area.policy.told().0),
            Some(3)
        );
        // Without a policy they are one again.
        assert_eq!(space.bind((BASE, 8 * PAGE), 0, nodes(0), 0), Ok(()));
        assert_eq!(space.areas().count(), 1);
        assert_eq!(space.write(BASE, &[1], &mut files), Ok::<(), Trouble>(()));
        check(&space);
    }

    #[test]
    fn a_range_that_is_not_there_or_not_on_its_node_is_refused() {
        let mut files = Files::default();
        let mut space = Space::new().expect("memory");
        for at in [BASE, BASE + 3 * PAGE] {
            let mapped = space.map(at, PAGE, RW, Backing::Anonymous, MapHow::Fixed);
            assert_eq!(mapped, Ok(at));
        }
        let fault = Err(Errno::EFAULT);
        assert_eq!(space.bind((BASE, 4 * PAGE), 2, nodes(1), 0), fault);
        assert_eq!(space.bind((BASE + PAGE, PAGE), 0, nodes(0), 0), fault);
        let invalid = Err(Errno::EINVAL);
        assert_eq!(space.bind((BASE + 1, PAGE), 2, nodes(1), 0), invalid);
        assert_eq!(space.bind((BASE, PAGE), 2, nodes(1), 8), invalid);
        assert_eq!(space.bind((BASE, u64::MAX - PAGE), 2, nodes(1), 0), invalid);
        assert_eq!(space.bind((BASE, 0), 2, nodes(2), 0), Ok(()));
        // Pages that are there are not where nobody wants them.
        assert_eq!(space.bind((BASE, PAGE), 1, nodes(0), 1), Ok(()));
        assert_eq!(space.write(BASE, &[1], &mut files), Ok(()));
        assert_eq!(space.bind((BASE, PAGE), 1, nodes(0), 1), Err(Errno::EIO));
        assert_eq!(space.bind((BASE, PAGE), 1, nodes(0), 3), Ok(()));
        let mut byte = [0];
        assert_eq!(space.read(BASE + 3 * PAGE, &mut byte, &mut files), Ok(()));
        let told = [BASE, BASE + PAGE, BASE + 3 * PAGE].map(|at| space.memory_node(at));
        assert_eq!(told, [Ok(0), Err(Errno::EFAULT), Err(Errno::EFAULT)]);
        check(&space);
    }
}
