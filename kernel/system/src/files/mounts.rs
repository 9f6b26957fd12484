//! Which file systems are mounted where, and what a path means among them.
//!
//! Law: an inode alone is not a place: a file system can be seen through several mounts, and what is above its root is the
//! mount's business. So whoever walks, stands somewhere or has a file open knows both ([`Place`]). An inode that something is
//! mounted on is marked; only then is the table asked.

use super::MAX_PATH;
use super::inode::{Inode, InodeRef, Node};
use super::tree::FileSystem;
use super::walk::Found;
use abi::Errno;
use abi::layout::{Stat, Timespec};
use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::ops::Deref;
use spin::Mutex;

/// A counted handle of a mount.
pub(super) type MountRef = Arc<Mount>;

/// A directory and a name in it.
pub(super) type Named = (InodeRef, Vec<u8>);

/// Number of the mount of the root file system, which is that of its device, too.
const FIRST_MOUNT: u64 = 20;

/// What a mount is mounted on.
#[derive(Clone)]
struct Point {
    on: Place,
    /// The name that is mounted on, if that is neither a directory nor the root of another mount: such an inode
    /// can have others.
    name: Option<Named>,
}

/// A file system, or a part of one, as it is seen in one place.
pub(super) struct Mount {
    /// Its number in `/proc/PID/mountinfo`; 0 is that of files that are in no mount: pipes, sockets and the like.
    id: u64,
    root: InodeRef,
    /// That is the root of its file system, so that all of this is below it.
    is_whole: bool,
    /// Nothing for the root of everything, and for what was taken away while it was in use.
    point: Mutex<Option<Point>>,
}

impl Mount {
    fn new(id: u64, root: InodeRef, point: Option<Point>) -> MountRef {
        Arc::new(Mount {
            id,
            is_whole: root.parent().is_ok_and(|parent| parent.is_same(&root)),
            root,
            point: Mutex::new(point),
        })
    }

    fn point(&self) -> Option<Point> {
        self.point.lock().clone()
    }

    /// Its root.
    pub(super) fn place(self: &Arc<Self>) -> Place {
        Place::new(self, self.root.clone())
    }
}

/// An inode, and through which mount it is seen.
#[derive(Clone)]
pub struct Place {
    /// The mount.
    pub(super) mount: MountRef,
    /// The inode.
    pub(super) inode: InodeRef,
}

/// A place that keeps nothing in use.
#[derive(Clone, Default)]
pub struct LoosePlace {
    mount: Weak<Mount>,
    inode: Weak<Inode>,
}

impl LoosePlace {
    /// The place, if its mount is still there.
    pub fn upgrade(&self) -> Option<Place> {
        Some(Place {
            mount: self.mount.upgrade()?,
            inode: self.inode.upgrade()?,
        })
    }
}

impl Deref for Place {
    type Target = InodeRef;

    fn deref(&self) -> &InodeRef {
        &self.inode
    }
}

impl PartialEq for Place {
    fn eq(&self, other: &Place) -> bool {
        Arc::ptr_eq(&self.mount, &other.mount) && self.inode.is_same(&other.inode)
    }
}

impl Place {
    pub(super) fn new(mount: &MountRef, inode: InodeRef) -> Place {
        Place {
            mount: mount.clone(),
            inode,
        }
    }

    /// Another inode of the same mount.
    pub(super) fn beside(&self, inode: InodeRef) -> Place {
        Place::new(&self.mount, inode)
    }

    /// The same, without keeping it in use.
    pub fn loose(&self) -> LoosePlace {
        LoosePlace {
            mount: Arc::downgrade(&self.mount),
            inode: Arc::downgrade(&self.inode),
        }
    }

    /// The inode.
    pub fn inode(&self) -> &InodeRef {
        &self.inode
    }

    /// Whether both are seen through the same mount.
    pub(super) fn is_beside(&self, other: &Place) -> bool {
        Arc::ptr_eq(&self.mount, &other.mount)
    }

    /// Whether it is the root of its mount.
    pub(super) fn is_mount_root(&self) -> bool {
        self.inode.is_same(&self.mount.root)
    }

    /// What `stat` and `statx` tell.
    pub(super) fn status(&self) -> Stat {
        let mut status = self.inode.status();
        if self.mount.id != 0 {
            status.mount = self.mount.id;
            status.is_mount = self.is_mount_root();
        }
        status
    }

    /// What is above its mount, if it is the root of that: where the mount is.
    fn below_mount(&self) -> Option<Point> {
        self.is_mount_root().then(|| self.mount.point()).flatten()
    }

    /// The directory above, `root` being where nothing is; not yet what is mounted on that.
    ///
    /// # Errors
    /// `ENOENT` if it is out of what its mount shows, or was removed.
    pub(super) fn above(&self, root: &Place) -> Result<Place, Errno> {
        let mut at = self.clone();
        while at != *root && at.is_mount_root() {
            match at.mount.point() {
                Some(point) => at = point.on,
                None => return Ok(at),
            }
        }
        if at == *root {
            return Ok(at);
        }
        let above = at.parent()?;
        // A directory may have been moved out of what a mount shows.
        match at.mount.is_whole || above.is_below(&at.mount.root) {
            true => Ok(at.beside(above)),
            false => Err(Errno::ENOENT),
        }
    }

    /// The path of a directory from where nothing is above it.
    ///
    /// # Errors
    /// `ENOENT` if it was removed, `ENOTDIR` if it is none, `ENAMETOOLONG`.
    pub fn path(&self) -> Result<Vec<u8>, Errno> {
        self.path_from(None).map(|(path, _)| path)
    }

    /// The path of a directory from `root`, and whether it is below that; if not, as [`Place::path`].
    pub(super) fn path_from(&self, root: Option<&Place>) -> Result<(Vec<u8>, bool), Errno> {
        let mut names: Vec<Vec<u8>> = Vec::new();
        let mut length = 0;
        let mut at = self.clone();
        let reached = loop {
            if root == Some(&at) {
                break true;
            }
            let (above, name) = match at.below_mount() {
                Some(Point { on, name: None }) => {
                    at = on;
                    continue;
                }
                Some(Point {
                    on,
                    name: Some((directory, name)),
                }) => (on.beside(directory), name),
                None if at.is_mount_root() => break false,
                None => {
                    let above = at.parent()?;
                    if above.is_same(&at) {
                        break false;
                    }
                    let name = above.name_of(&at).ok_or(Errno::ENOENT)?;
                    (at.beside(above), name)
                }
            };
            length += name.len() + 1;
            if length > MAX_PATH {
                return Err(Errno::ENAMETOOLONG);
            }
            names.push(name);
            at = above;
        };
        let mut path = Vec::new();
        for name in names.iter().rev() {
            path.push(b'/');
            path.extend_from_slice(name);
        }
        if path.is_empty() {
            path.push(b'/');
        }
        Ok((path, reached))
    }

    /// The path of a directory as links of /proc show it: with a remark if it was removed.
    ///
    /// # Errors
    /// As [`Place::path`].
    pub fn shown_path(&self) -> Result<Vec<u8>, Errno> {
        match self.inode.removed_path() {
            Some(path) => Ok([&path, b" (deleted)".as_slice()].concat()),
            None => self.path(),
        }
    }
}

impl Inode {
    /// Whether both are the same; nodes of /proc have passing handles.
    pub(super) fn is_same(self: &Arc<Self>, other: &InodeRef) -> bool {
        let same = match (self.node(), other.node()) {
            (Node::Proc(one), Node::Proc(other)) => one == other,
            _ => false,
        };
        same || Arc::ptr_eq(self, other)
    }

    /// The directory above a directory; the same at the top.
    fn parent(self: &Arc<Self>) -> Result<InodeRef, Errno> {
        match self.node() {
            Node::Directory(directory) => directory.lock().parent.upgrade().ok_or(Errno::ENOENT),
            Node::Proc(node) if self.is_directory() => Ok(match node.parent() {
                Some(parent) => Inode::proc(parent, (0, 0), Timespec::default()),
                None => self.clone(),
            }),
            _ => Err(Errno::ENOTDIR),
        }
    }

    /// The name of a directory in this one.
    fn name_of(&self, child: &InodeRef) -> Option<Vec<u8>> {
        match (self.node(), child.node()) {
            (Node::Directory(directory), _) => directory.lock().name_of(child).map(<[u8]>::to_vec),
            (_, Node::Proc(node)) => {
                let path = node.directory_path();
                path.rsplit(|byte| *byte == b'/').next().map(<[u8]>::to_vec)
            }
            _ => None,
        }
    }

    /// Whether it is `directory` or lies somewhere below it.
    pub(super) fn is_below(self: &Arc<Self>, directory: &InodeRef) -> bool {
        let mut at = self.clone();
        loop {
            if at.is_same(directory) {
                return true;
            }
            match at.parent() {
                Ok(parent) if !parent.is_same(&at) => at = parent,
                _ => return false,
            }
        }
    }
}

/// The mounts of a node.
pub(super) struct Mounts {
    root: MountRef,
    /// Of what is in no mount.
    nowhere: MountRef,
    table: Mutex<Table>,
}

struct Table {
    /// By their numbers.
    all: BTreeMap<u64, MountRef>,
    /// By the mount and the inode that they are mounted on; several where a file has several names.
    on: BTreeMap<(u64, u64), Vec<MountRef>>,
    next: u64,
}

impl Mounts {
    pub(super) fn new(root: &InodeRef) -> Mounts {
        let mount = Mount::new(FIRST_MOUNT, root.clone(), None);
        Mounts {
            nowhere: Mount::new(0, root.clone(), None),
            table: Mutex::new(Table {
                all: BTreeMap::from([(FIRST_MOUNT, mount.clone())]),
                on: BTreeMap::new(),
                next: FIRST_MOUNT + 1,
            }),
            root: mount,
        }
    }

    /// What is mounted on a place and on that, the uppermost; `name` is by which it was found.
    pub(super) fn enter(&self, mut place: Place, name: Option<(&InodeRef, &[u8])>) -> Place {
        while place.is_covered()
            && let Some(mount) = self.on(&place, name)
        {
            place = mount.place();
        }
        place
    }

    /// Whether something is mounted on what a walk has found under a name, whatever mount it went by.
    fn is_point(&self, found: &Found) -> bool {
        let Some(inode) = found.inode.as_ref().filter(|inode| inode.is_covered()) else {
            return false;
        };
        let named = |name: &Named| found.parent.is_same(&name.0) && name.1 == found.name;
        let table = self.table.lock();
        table.all.values().any(|mount| {
            let point = mount.point.lock();
            let point = point.as_ref().filter(|point| point.on.is_same(inode));
            point.is_some_and(|point| point.name.as_ref().is_none_or(named))
        })
    }

    fn on(&self, place: &Place, name: Option<(&InodeRef, &[u8])>) -> Option<MountRef> {
        let table = self.table.lock();
        let on = table.on.get(&(place.mount.id, place.number()))?;
        let is_on = |mount: &&MountRef| match (&mount.point.lock().as_ref()?.name, name) {
            (None, _) => Some(true),
            (Some(held), Some(name)) => Some(Arc::ptr_eq(&held.0, name.0) && held.1 == name.1),
            (Some(_), None) => Some(false),
        };
        let found = on.iter().find(|mount| is_on(mount) == Some(true));
        found.cloned()
    }

    /// Mounts `root` at a place.
    fn attach(&self, root: InodeRef, point: Point) -> MountRef {
        let mut table = self.table.lock();
        let id = table.next;
        table.next += 1;
        point.on.count_mount();
        let key = (point.on.mount.id, point.on.number());
        let mount = Mount::new(id, root, Some(point));
        table.on.entry(key).or_default().push(mount.clone());
        table.all.insert(id, mount.clone());
        mount
    }
}

impl FileSystem {
    /// The root of everything.
    pub fn root_place(&self) -> Place {
        self.mounts.root.place()
    }

    /// A place for what has no name anywhere.
    pub(super) fn nowhere(&self, inode: InodeRef) -> Place {
        Place::new(&self.mounts.nowhere, inode)
    }

    /// Refuses to take away a name that something is mounted on.
    pub(super) fn check_no_point(&self, found: &Found) -> Result<(), Errno> {
        match self.mounts.is_point(found) {
            true => Err(Errno::EBUSY),
            false => Ok(()),
        }
    }

    /// Mounts /proc where it belongs.
    pub(super) fn mount_proc(&self, on: InodeRef) {
        let on = self.root_place().beside(on);
        let point = Point { on, name: None };
        self.mounts.attach(self.proc_root().clone(), point);
    }
}
