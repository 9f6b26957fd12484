//! From a path to a place.
//!
//! Law: at most 40 links are followed and no path is longer than `PATH_MAX`, so a walk ends. A walk
//! changes nothing. What is behind the last slash may be missing; everything before it may not.

use super::access::{EXECUTE, Who};
use super::inode::{Inode, InodeRef, Node};
use super::mounts::{MS_NOSYMFOLLOW, Named, Place};
use super::open::join;
use super::proc::{ProcEntry, ProcNode, ProcessFile, Viewer};
use super::tree::FileSystem;
use super::{MAX_NAME, MAX_PATH};
use abi::Errno;
use abi::layout::{S_IFLNK, S_IFMT};
use alloc::vec::Vec;

const MAX_LINKS: u32 = 40;

/// What to do with a link in the last place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Follow {
    /// Go where it points.
    Always,
    /// Stay at it, unless a slash follows: `lstat` and its like.
    IfSlash,
    /// Stay at it: calls that make or remove the name itself.
    Never,
    /// So, and a name that no file can have is only not there: rename(2) finds both folders before it
    /// looks for either name.
    Later,
}

/// A file and where it was found.
#[derive(Clone)]
pub struct Located {
    /// The file.
    pub place: Place,
    /// Its path from the root, without links.
    pub path: Vec<u8>,
}

/// Where a walk ended.
pub(super) struct Found {
    /// The directory of the last component.
    pub(super) parent: Place,
    /// The last component; `.`, `..` or empty (the root) if it is not a name.
    pub(super) name: Vec<u8>,
    /// What is there, if there is something.
    pub(super) inode: Option<Place>,
    /// Whether a slash followed.
    pub(super) slash: bool,
}

impl Found {
    /// What is there.
    pub(super) fn existing(self) -> Result<Place, Errno> {
        self.inode.ok_or(Errno::ENOENT)
    }

    /// Whether the last component is a name that can be made or removed.
    pub(super) fn is_name(&self) -> bool {
        !matches!(self.name.as_slice(), b"" | b"." | b"..")
    }

    /// The name by which something in it was found that is neither a directory nor the root of a mount.
    pub(super) fn named(&self) -> Option<Named> {
        let place = self.inode.as_ref()?;
        if place.is_directory() || place.is_mount_root() {
            return None;
        }
        // A link of /proc leads to a file, and not to its name.
        let there = self.parent.directory()?.get(&self.name)?;
        let name = (self.parent.inode.clone(), self.name.clone());
        there.is_same(place).then_some(name)
    }

    /// The path from the root.
    pub(super) fn path(&self) -> Result<Vec<u8>, Errno> {
        match &self.inode {
            Some(place) if place.is_directory() || place.is_mount_root() => place.path(),
            _ => Ok(join(self.parent.path()?, &self.name)),
        }
    }
}

/// A walker on behalf of one process.
pub(super) struct Walker<'a> {
    pub(super) fs: &'a FileSystem,
    pub(super) viewer: Viewer<'a>,
    pub(super) who: &'a Who,
    /// `RESOLVE_*` of openat2(2).
    pub(super) resolve: u64,
}

/// No step from one file system into another.
const RESOLVE_NO_XDEV: u64 = 1;
/// No links of /proc that lead to open files.
const RESOLVE_NO_MAGICLINKS: u64 = 2;
/// No symbolic links at all.
const RESOLVE_NO_SYMLINKS: u64 = 4;
/// Never out of the directory where it starts.
pub(super) const RESOLVE_BENEATH: u64 = 8;
/// That directory is the root.
pub(super) const RESOLVE_IN_ROOT: u64 = 16;
/// Only what is in memory, as everything is.
pub(super) const RESOLVE_CACHED: u64 = 32;
/// All of them.
pub(super) const RESOLVE_KNOWN: u64 = 0x3f;
/// Our own: to come by does not count as using a mount.
pub(super) const RESOLVE_ONLY_LOOKS: u64 = 1 << 63;

impl Walker<'_> {
    pub(super) fn walk(&self, start: &Place, path: &[u8], follow: Follow) -> Result<Found, Errno> {
        if path.is_empty() {
            return Err(Errno::ENOENT);
        }
        if path.len() > MAX_PATH {
            return Err(Errno::ENAMETOOLONG);
        }
        let mut rest = path.to_vec();
        let inside = self.resolve & (RESOLVE_BENEATH | RESOLVE_IN_ROOT) != 0;
        let top = match inside {
            true => start.clone(),
            false => self.viewer.state.root(),
        };
        let mut at = if rest[0] == b'/' {
            self.check_absolute()?;
            top.clone()
        } else {
            start.clone()
        };
        let mut links = 0;
        loop {
            let Some((name, behind)) = first_component(&rest) else {
                return Ok(Found {
                    parent: at.clone(),
                    name: Vec::new(),
                    inode: Some(at),
                    slash: true,
                });
            };
            let (name, behind) = (name.to_vec(), behind.to_vec());
            let slash = !behind.is_empty();
            let last = behind.iter().all(|&byte| byte == b'/');
            if inside && name == b".." && at == top {
                if self.resolve & RESOLVE_BENEATH != 0 {
                    return Err(Errno::EXDEV);
                }
                rest = behind;
                continue;
            }
            let stays = matches!(follow, Follow::Never | Follow::Later);
            let child = match self.child(&at, &name) {
                Err(Errno::ENAMETOOLONG) if last && follow == Follow::Later => None,
                // What is to be made or removed is the name, and not what is mounted there.
                Ok(Some(child)) if last && stays => Some(child),
                found => found?.map(|child| self.enter(child, &at, &name)),
            };
            if let Some(child) = &child {
                self.check_mounts(&at, child)?;
            }
            let Some(child) = child else {
                if !last {
                    return Err(Errno::ENOENT);
                }
                return Ok(Found {
                    parent: at,
                    name,
                    inode: None,
                    slash,
                });
            };
            let goes_on = match follow {
                Follow::Always => true,
                Follow::IfSlash => slash,
                Follow::Never | Follow::Later => false,
            };
            if child.mode() & S_IFMT == S_IFLNK && (!last || goes_on) {
                links += 1;
                let refused =
                    self.resolve & RESOLVE_NO_SYMLINKS != 0 || child.mount.has(MS_NOSYMFOLLOW);
                if links > MAX_LINKS || refused {
                    return Err(Errno::ELOOP);
                }
                let magic = self.resolve & RESOLVE_NO_MAGICLINKS != 0 && is_magic(&child);
                if magic {
                    return Err(Errno::ELOOP);
                }
                self.check_link(&child)?;
                if let Some(inode) = self.jump(&child) {
                    if inside {
                        return Err(Errno::EXDEV);
                    }
                    self.check_mounts(&at, &inode)?;
                    if last {
                        let (parent, name) = self.own_name(&child, &inode).unwrap_or((at, name));
                        return Ok(Found {
                            parent,
                            name,
                            inode: Some(inode),
                            slash,
                        });
                    }
                    at = inode;
                    rest = behind;
                    continue;
                }
                let mut text = self.link_text(&child)?;
                if text.is_empty() {
                    return Err(Errno::ENOENT);
                }
                text.extend_from_slice(&behind);
                if text.len() > 2 * MAX_PATH {
                    return Err(Errno::ENAMETOOLONG);
                }
                if text[0] == b'/' {
                    self.check_absolute()?;
                    self.check_mounts(&at, &top)?;
                    at = top.clone();
                }
                rest = text;
                continue;
            }
            if last {
                if slash && !stays && !child.is_directory() {
                    return Err(Errno::ENOTDIR);
                }
                return Ok(Found {
                    parent: at,
                    name,
                    inode: Some(child),
                    slash,
                });
            }
            at = child;
            rest = behind;
        }
    }

    /// A path from the root leads out of where the walk is to stay.
    fn check_absolute(&self) -> Result<(), Errno> {
        if self.resolve & RESOLVE_BENEATH != 0 {
            return Err(Errno::EXDEV);
        }
        Ok(())
    }

    /// A step must not lead from one mount into another.
    fn check_mounts(&self, from: &Place, to: &Place) -> Result<(), Errno> {
        match self.resolve & RESOLVE_NO_XDEV != 0 && !from.is_beside(to) {
            true => Err(Errno::EXDEV),
            false => Ok(()),
        }
    }

    /// What is mounted on a child, if something is.
    fn enter(&self, child: Place, parent: &Place, name: &[u8]) -> Place {
        match child.is_covered() {
            true => {
                let only_looks = self.resolve & RESOLVE_ONLY_LOOKS != 0;
                self.fs
                    .mounts
                    .enter(child, Some((parent, name)), only_looks)
            }
            false => child,
        }
    }

    /// One step down, or up.
    fn child(&self, at: &Place, name: &[u8]) -> Result<Option<Place>, Errno> {
        if !at.is_directory() {
            return Err(Errno::ENOTDIR);
        }
        self.who.check(at, EXECUTE)?;
        if name.len() > MAX_NAME {
            return Err(Errno::ENAMETOOLONG);
        }
        let child = match (at.node(), name) {
            (_, b".") => return Ok(Some(at.clone())),
            (_, b"..") => {
                let mut above = at.above(&self.viewer.state.root())?;
                if let Node::Proc(node) = above.node() {
                    above = above.beside(self.proc(*node));
                }
                return Ok(Some(above));
            }
            (Node::Directory(directory), name) => directory.lock().get(name),
            (Node::Proc(node), name) => {
                let child = self.viewer.child(*node, name);
                child.map(|child| self.proc(child))
            }
            _ => return Err(Errno::ENOTDIR),
        };
        Ok(child.map(|child| at.beside(child)))
    }

    fn proc(&self, node: ProcNode) -> InodeRef {
        match node {
            ProcNode::Root => self.fs.proc_root().clone(),
            node => {
                let owner = node.pid().map(|pid| self.viewer.view.owner(pid));
                let inode = Inode::proc(node, owner.unwrap_or((0, 0)), self.fs.boot_time());
                if let ProcNode::Descriptor(pid, fd) = node {
                    let rights = match pid == self.viewer.pid {
                        true => self
                            .viewer
                            .state
                            .get(fd)
                            .ok()
                            .map(|file| file.link_rights()),
                        false => self.viewer.view.link_rights(pid, fd),
                    };
                    inode.change(|attributes| {
                        attributes.mode &= !0o777;
                        attributes.mode |= rights.unwrap_or(0);
                    });
                }
                inode
            }
        }
    }

    /// Links of /proc to what a process has lead to the file itself, whatever its name.
    fn jump(&self, link: &Place) -> Option<Place> {
        let Node::Proc(node) = link.node() else {
            return None;
        };
        // The caller's own table is with the call.
        let own = self.viewer.state;
        match *node {
            ProcNode::Descriptor(pid, fd) if pid == self.viewer.pid => {
                Some(own.get(fd).ok()?.place().clone())
            }
            ProcNode::Descriptor(pid, fd) => self
                .viewer
                .view
                .file(ProcEntry::Process(pid, ProcessFile::Fd(fd))),
            ProcNode::Entry(ProcEntry::Process(pid, file)) if pid == self.viewer.pid => {
                match file {
                    ProcessFile::Cwd => Some(own.cwd()),
                    ProcessFile::Root => Some(own.root()),
                    _ => self.viewer.view.file(ProcEntry::Process(pid, file)),
                }
            }
            ProcNode::Namespace(..) => {
                let file = self.proc(ProcNode::NamespaceFile(node.namespace()?));
                Some(self.fs.nowhere(file))
            }
            ProcNode::Entry(entry) => self.viewer.view.file(entry),
            _ => None,
        }
    }

    /// The folder and the name by which a file is known that a link of /proc leads to: who opens it by the link has
    /// opened it by that name.
    fn own_name(&self, link: &Place, file: &Place) -> Option<(Place, Vec<u8>)> {
        if file.is_directory() || file.is_mount_root() {
            return None;
        }
        if let Node::Proc(ProcNode::Descriptor(pid, fd)) = *link.node()
            && pid == self.viewer.pid
        {
            let open = self.viewer.state.get(fd).ok()?;
            let (folder, name) = open.name()?;
            return Some((file.beside(folder.clone()), name.clone()));
        }
        let text = self.link_text(link).ok()?;
        let top = self.viewer.state.root();
        let named = |text: &Vec<u8>| text.starts_with(b"/");
        let text = Some(text).filter(named)?;
        // A name that no longer is the file's leads elsewhere.
        let found = self.walk(&top, &text, Follow::Never).ok()?;
        let same = found
            .inode
            .as_ref()
            .is_some_and(|there| there.is_same(file));
        same.then_some((found.parent, found.name))
    }

    /// Where the links of a process lead is for who may look into it: they pass folders that others may not search.
    fn check_link(&self, link: &Inode) -> Result<(), Errno> {
        let Node::Proc(node) = link.node() else {
            return Ok(());
        };
        let other = node.pid().filter(|pid| *pid != self.viewer.pid);
        match other.map(|pid| self.viewer.view.may_look(self.viewer.tid, pid)) {
            Some(Err(Errno::EPERM)) if is_magic(link) => Err(Errno::EACCES),
            _ => Ok(()),
        }
    }

    /// The text of a link.
    pub(super) fn link_text(&self, link: &Inode) -> Result<Vec<u8>, Errno> {
        self.check_link(link)?;
        match link.node() {
            Node::Link(text) => Ok(text.clone()),
            Node::Proc(node) => self.viewer.link(*node),
            _ => Err(Errno::EINVAL),
        }
    }
}

/// Whether a link leads where its text need not (symlink(7), "Magic links").
fn is_magic(link: &Inode) -> bool {
    use super::ProcessFile::{Cwd, Exe, Fd, Root};
    matches!(
        link.node(),
        Node::Proc(
            ProcNode::Descriptor(..)
                | ProcNode::Namespace(..)
                | ProcNode::Entry(ProcEntry::Process(_, Exe | Cwd | Root | Fd(_)))
        )
    )
}

/// The first component and what is behind it, its slash included.
fn first_component(path: &[u8]) -> Option<(&[u8], &[u8])> {
    let start = path.iter().position(|&byte| byte != b'/')?;
    let path = &path[start..];
    let end = path.iter().position(|&byte| byte == b'/');
    Some(path.split_at(end.unwrap_or(path.len())))
}
