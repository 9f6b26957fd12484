//! Who may do what with a file: permission bits, owners, sticky directories.
//!
//! Law (path_resolution(7), credentials(7)): one class of bits counts, the first that fits: owner,
//! group, others. Who has the capabilities of user 0 reads and writes everything, searches every
//! directory, and executes what somebody may execute. EACCES is said by permission bits, EPERM by rules about owners.

use crate::credentials::{self, DAC_OVERRIDE, DAC_READ_SEARCH, FOWNER, FSETID};

use super::inode::{Attributes, Inode};
use super::walk::Found;
use abi::Errno;
use abi::layout::{S_IFDIR, S_IFMT, S_IFREG};
use alloc::vec::Vec;
use core::ops::RangeInclusive;

/// What is asked of a file: the bits of access(2).
pub(super) const READ: u32 = 4;
/// See [`READ`].
pub(super) const WRITE: u32 = 2;
/// Executing, or searching a directory.
pub(super) const EXECUTE: u32 = 1;
/// The sticky bit.
const S_ISVTX: u32 = 0o1000;

/// Who makes a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Who {
    /// The user by whose rights files are used.
    pub uid: u32,
    /// The group likewise.
    pub gid: u32,
    /// The real user, whom access(2) asks for.
    pub real_uid: u32,
    /// The real group likewise.
    pub real_gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// Effective capabilities.
    pub capabilities: u64,
    /// Permitted capabilities.
    pub permitted: u64,
}

impl Default for Who {
    /// User 0.
    fn default() -> Who {
        Who {
            uid: 0,
            gid: 0,
            real_uid: 0,
            real_gid: 0,
            groups: Vec::new(),
            capabilities: credentials::ALL,
            permitted: credentials::ALL,
        }
    }
}

impl Who {
    /// Whether it has a capability.
    pub fn has(&self, capability: u32) -> bool {
        self.capabilities >> capability & 1 != 0
    }

    /// As access(2) asks: by the real ids.
    pub(super) fn really(&self) -> Who {
        Who {
            uid: self.real_uid,
            gid: self.real_gid,
            capabilities: match self.real_uid {
                0 => self.permitted,
                _ => 0,
            },
            ..self.clone()
        }
    }

    /// Whether it is in one of several groups.
    pub(super) fn is_in_one_of(&self, range: RangeInclusive<u32>) -> bool {
        range.contains(&self.gid) || self.groups.iter().any(|group| range.contains(group))
    }

    /// Whether it is in a group.
    pub(super) fn is_in(&self, group: u32) -> bool {
        self.gid == group || self.groups.contains(&group)
    }

    /// Whether it may use a file in all the ways of `wanted`.
    pub(super) fn may(&self, held: &Attributes, wanted: u32) -> bool {
        let directory = held.mode & S_IFMT == S_IFDIR;
        let looks = if directory { READ | EXECUTE } else { READ };
        if self.has(DAC_READ_SEARCH) && wanted & !looks == 0 {
            return true;
        }
        if self.has(DAC_OVERRIDE) {
            return wanted & EXECUTE == 0 || directory || held.mode & 0o111 != 0;
        }
        let bits = if held.uid == self.uid {
            held.mode >> 6
        } else if self.is_in(held.gid) {
            held.mode >> 3
        } else {
            held.mode
        };
        wanted & !bits & 7 == 0
    }

    /// As [`Who::may`], as an error.
    pub(super) fn check(&self, inode: &Inode, wanted: u32) -> Result<(), Errno> {
        match self.may(&inode.attributes(), wanted) {
            true => Ok(()),
            false => Err(Errno::EACCES),
        }
    }

    /// Whether it may do what only the owner may.
    pub(super) fn check_owner(&self, inode: &Inode) -> Result<(), Errno> {
        match self.has(FOWNER) || inode.attributes().uid == self.uid {
            true => Ok(()),
            false => Err(Errno::EPERM),
        }
    }

    /// Whether the set-group-ID bit of a file stays when its mode or owner changes.
    pub(super) fn keeps_group_bit(&self, held: &Attributes) -> bool {
        self.has(FSETID) || self.is_in(held.gid)
    }

    /// Whether it may give a file one more name: of others' files only what it could copy and write
    /// anyway (`protected_hardlinks` in proc(5)).
    pub(super) fn check_link(&self, inode: &Inode) -> Result<(), Errno> {
        let held = inode.attributes();
        let harmless = held.mode & S_IFMT == S_IFREG
            && held.mode & 0o4000 == 0
            && held.mode & 0o2010 != 0o2010
            && self.may(&held, READ | WRITE);
        match harmless {
            true => Ok(()),
            false => self.check_owner(inode),
        }
    }

    /// Whether it may make a name where a walk ended.
    pub(super) fn check_create(&self, found: &Found) -> Result<(), Errno> {
        if found.inode.is_some() || !found.is_name() {
            return Err(Errno::EEXIST);
        }
        self.check(&found.parent, WRITE | EXECUTE)
    }

    /// Whether it may take the name away where a walk ended: of others' files in sticky directories
    /// only the owner of the directory may.
    pub(super) fn check_remove(&self, found: &Found) -> Result<(), Errno> {
        let inode = found.inode.as_ref().ok_or(Errno::ENOENT)?;
        self.check(&found.parent, WRITE | EXECUTE)?;
        let parent = found.parent.attributes();
        let sticky = parent.mode & S_ISVTX != 0;
        if sticky && parent.uid != self.uid {
            self.check_owner(inode)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use abi::layout::Timespec;

    fn file(mode: u32, uid: u32, gid: u32) -> Attributes {
        Attributes {
            uid,
            gid,
            ..Attributes::new(mode, Timespec::default())
        }
    }

    fn who(uid: u32, gid: u32, groups: &[u32]) -> Who {
        Who {
            uid,
            gid,
            groups: groups.to_vec(),
            capabilities: if uid == 0 { credentials::ALL } else { 0 },
            ..Who::default()
        }
    }

    #[test]
    fn the_first_class_that_fits_decides_even_against_the_caller() {
        let mine = file(S_IFREG | 0o077, 5, 6);
        assert!(!who(5, 6, &[]).may(&mine, READ));
        assert!(who(9, 6, &[]).may(&mine, READ | WRITE | EXECUTE));
        let groups = file(S_IFREG | 0o704, 5, 6);
        assert!(!who(9, 8, &[6]).may(&groups, READ));
        assert!(who(9, 8, &[7]).may(&groups, READ));
        assert!(!who(9, 8, &[7]).may(&groups, WRITE));
    }

    #[test]
    fn root_executes_what_somebody_may() {
        let root = who(0, 0, &[]);
        assert!(root.may(&file(S_IFREG, 5, 5), READ | WRITE));
        assert!(!root.may(&file(S_IFREG | 0o666, 5, 5), EXECUTE));
        assert!(root.may(&file(S_IFREG | 0o001, 5, 5), EXECUTE));
        assert!(root.may(&file(S_IFDIR, 5, 5), EXECUTE));
    }
}
