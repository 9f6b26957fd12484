//! Which file systems are mounted where, and what a path means among them.
//!
//! Law: an inode alone is not a place: a file system can be seen through several mounts, and what is above its root is the
//! mount's business. So whoever walks, stands somewhere or has a file open knows both ([`Place`]). An inode that something is
//! mounted on is marked; only then is the table asked. A mount is in use as long as somebody beside the table has a handle of
//! it: the handles are what is counted.
//!
//! Not here: namespaces.

mod sharing;

pub(super) use sharing::Kind;
use sharing::{Branch, Sharing};

use super::MAX_PATH;
use super::inode::{Inode, InodeRef, Node};
use super::tree::FileSystem;
use super::volume::Tree;
use super::walk::Found;
use abi::Errno;
use abi::layout::{Stat, Timespec};
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::ops::Deref;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use spin::Mutex;

/// A counted handle of a mount.
pub(super) type MountRef = Arc<Mount>;

/// A directory and a name in it.
pub(super) type Named = (InodeRef, Vec<u8>);

/// Number of the mount of the root file system, which is that of its device, too.
const FIRST_MOUNT: u64 = 20;
/// That of /proc.
const PROC_MOUNT: u64 = 21;
/// Most mounts at a time.
pub(super) const MAX_MOUNTS: usize = 1024;

/// How a mount is used: flags of mount(2).
pub(super) const MS_RDONLY: u32 = 1;
pub(super) const MS_NOSUID: u32 = 2;
pub(super) const MS_NODEV: u32 = 4;
pub(super) const MS_NOEXEC: u32 = 8;
pub(super) const MS_NOSYMFOLLOW: u32 = 0x100;
pub(super) const MS_NOATIME: u32 = 0x400;
pub(super) const MS_NODIRATIME: u32 = 0x800;
pub(super) const MS_RELATIME: u32 = 0x20_0000;
pub(super) const MS_STRICTATIME: u32 = 0x100_0000;

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
    pub(super) id: u64,
    pub(super) tree: Arc<Tree>,
    /// What it was made of, in words of who made it.
    pub(super) source: Vec<u8>,
    /// `MS_*`, as above.
    flags: AtomicU32,
    /// Files that are open for writing by it.
    writers: AtomicU32,
    sharing: Mutex<Sharing>,
    /// Nobody has come by since somebody wanted to see it go when it is not used (`MNT_EXPIRE`).
    pub(super) expiring: AtomicBool,
    root: InodeRef,
    /// By which name it was bound, if it is no directory and no root of a file system.
    root_name: Option<Named>,
    /// That is the root of its file system, so that all of this is below it.
    is_whole: bool,
    /// Nothing for the root of everything, and for what was taken away while it was in use.
    point: Mutex<Option<Point>>,
}

/// What a new mount shows.
#[derive(Clone)]
pub(super) struct Shown {
    pub(super) tree: Arc<Tree>,
    pub(super) root: InodeRef,
    pub(super) root_name: Option<Named>,
    pub(super) source: Vec<u8>,
    pub(super) flags: u32,
}

impl Shown {
    /// A whole file system.
    pub(super) fn whole(tree: Arc<Tree>, source: &[u8], flags: u32) -> Shown {
        Shown {
            root: tree.root.clone(),
            root_name: None,
            source: source.to_vec(),
            tree,
            flags,
        }
    }

    /// The same as at a place.
    pub(super) fn again(place: &Place, name: Option<Named>) -> Shown {
        let mount = &place.mount;
        let root_name = match place.is_mount_root() {
            true => mount.root_name.clone(),
            false => name,
        };
        Shown {
            tree: mount.tree.clone(),
            root: place.inode.clone(),
            root_name,
            source: mount.source.clone(),
            flags: mount.flags(),
        }
    }
}

impl Mount {
    fn new(id: u64, shown: Shown, sharing: Sharing, point: Option<Point>) -> MountRef {
        let root = shown.root;
        Arc::new(Mount {
            id,
            tree: shown.tree,
            source: shown.source,
            flags: AtomicU32::new(shown.flags),
            writers: AtomicU32::new(0),
            sharing: Mutex::new(sharing),
            expiring: AtomicBool::new(false),
            is_whole: root.parent().is_ok_and(|parent| parent.is_same(&root)),
            root,
            root_name: shown.root_name,
            point: Mutex::new(point),
        })
    }

    pub(super) fn flags(&self) -> u32 {
        self.flags.load(Ordering::Relaxed)
    }

    /// Whether it has one of these flags.
    pub(super) fn has(&self, flags: u32) -> bool {
        self.flags() & flags != 0
    }

    /// As statfs(2) tells it.
    pub(super) fn statfs_flags(&self) -> u64 {
        const ST_NOSYMFOLLOW: u64 = 0x2000;
        const ST_RELATIME: u64 = 0x1000;
        let same = MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOATIME | MS_NODIRATIME;
        let other = [(MS_RELATIME, ST_RELATIME), (MS_NOSYMFOLLOW, ST_NOSYMFOLLOW)];
        let other = other.iter().filter(|row| self.has(row.0)).map(|row| row.1);
        u64::from(self.flags() & same) | other.sum::<u64>() | u64::from(self.is_read_only())
    }

    pub(super) fn is_read_only(&self) -> bool {
        self.has(MS_RDONLY) || self.tree.read_only.load(Ordering::Relaxed)
    }

    /// Other flags.
    ///
    /// # Errors
    /// `EBUSY` if it was written by and is not to be any more.
    pub(super) fn set_flags(&self, flags: u32) -> Result<(), Errno> {
        if flags & MS_RDONLY != 0 && self.writers.load(Ordering::Relaxed) > 0 {
            return Err(Errno::EBUSY);
        }
        self.flags.store(flags, Ordering::Relaxed);
        Ok(())
    }

    /// Whether it is the root of everything.
    pub(super) fn is_of_all(&self) -> bool {
        self.id == FIRST_MOUNT
    }

    /// Whether another mount is on it, or on something in it.
    fn is_under(&self, other: &Mount) -> bool {
        let point = other.point.lock();
        point
            .as_ref()
            .is_some_and(|point| core::ptr::eq(Arc::as_ptr(&point.on.mount), self))
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

    /// Refuses changes of what is mounted for reading only.
    pub(super) fn check_writable(&self) -> Result<(), Errno> {
        match self.mount.is_read_only() {
            true => Err(Errno::EROFS),
            false => Ok(()),
        }
    }

    /// Its contents were read: whether the time of that is kept is the mount's business.
    pub(super) fn was_read(&self, now: Timespec) {
        let directory = self.mount.has(MS_NODIRATIME) && self.inode.is_directory();
        if directory || self.mount.has(MS_NOATIME) || self.mount.is_read_only() {
            return;
        }
        match self.mount.has(MS_STRICTATIME) {
            true => self.inode.change(|held| held.accessed = now),
            false => self.inode.was_read(now),
        }
    }

    /// Whether a program in it becomes nobody else.
    pub fn ignores_set_ids(&self) -> bool {
        self.mount.has(MS_NOSUID)
    }

    /// Whether nothing in it is executed.
    pub fn is_not_executed(&self) -> bool {
        self.mount.has(MS_NOEXEC)
    }

    /// Whether it is in one of the mounts that there are from boot on: the root and /proc.
    pub(super) fn is_of_boot(&self) -> bool {
        matches!(self.mount.id, FIRST_MOUNT..=PROC_MOUNT)
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

/// Whether a point is by the same name as another, or by none as that.
fn is_same_name(one: &Option<Named>, other: &Option<Named>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => one.0.is_same(&other.0) && one.1 == other.1,
        (None, None) => true,
        _ => false,
    }
}

impl Inode {
    /// Whether both are the same; nodes of /proc have passing handles.
    pub(crate) fn is_same(self: &Arc<Self>, other: &InodeRef) -> bool {
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

/// An open file may write by a mount: as long as this lives neither that nor its file system becomes read-only.
pub(super) struct WritesBy(MountRef);

impl WritesBy {
    pub(super) fn new(mount: &MountRef) -> WritesBy {
        mount.writers.fetch_add(1, Ordering::Relaxed);
        mount.tree.writers.fetch_add(1, Ordering::Relaxed);
        WritesBy(mount.clone())
    }
}

impl Drop for WritesBy {
    fn drop(&mut self) {
        self.0.writers.fetch_sub(1, Ordering::Relaxed);
        self.0.tree.writers.fetch_sub(1, Ordering::Relaxed);
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
    /// Their numbers by the mount and the inode that they are on; several where a file has several names.
    on: BTreeMap<(u64, u64), Vec<u64>>,
    next: u64,
}

impl Table {
    /// Makes a mount known at its point.
    fn put(&mut self, mount: &MountRef, point: &Point) {
        point.on.count_mount();
        let on = self.on.entry((point.on.mount.id, point.on.number()));
        on.or_default().push(mount.id);
        self.all.insert(mount.id, mount.clone());
    }

    /// The opposite.
    fn take(&mut self, mount: &Mount) {
        let Some(point) = mount.point.lock().take() else {
            return;
        };
        let key = (point.on.mount.id, point.on.number());
        if let Some(on) = self.on.get_mut(&key) {
            on.retain(|id| *id != mount.id);
            if on.is_empty() {
                self.on.remove(&key);
            }
        }
        self.all.remove(&mount.id);
        point.on.discount_mount();
    }

    fn attach(&mut self, shown: Shown, sharing: Sharing, point: Point) -> MountRef {
        let mount = Mount::new(self.next, shown, sharing, Some(point.clone()));
        self.next += 1;
        self.put(&mount, &point);
        mount
    }

    /// What is mounted at just this point.
    fn on_point(&self, point: &Point) -> Option<&MountRef> {
        let on = self.on.get(&(point.on.mount.id, point.on.number()))?;
        let mut on = on.iter().filter_map(|id| self.all.get(id));
        on.find(|mount| {
            let held = mount.point.lock();
            held.as_ref()
                .is_some_and(|held| is_same_name(&held.name, &point.name))
        })
    }

    /// A mount is somewhere else from here on.
    fn shift(&mut self, mount: &MountRef, point: Point) {
        self.take(mount);
        self.put(mount, &point);
        *mount.point.lock() = Some(point);
    }

    /// A mount and all that are on it, each behind the one that it is on. `within` is asked of each where it is.
    fn with_all_on(&self, mount: &MountRef, within: impl Fn(&Point) -> bool) -> Vec<MountRef> {
        let mut on: BTreeMap<u64, Vec<&MountRef>> = BTreeMap::new();
        for other in self.all.values() {
            if let Some(point) = other.point.lock().as_ref() {
                on.entry(point.on.mount.id).or_default().push(other);
            }
        }
        let mut found = Vec::from([mount.clone()]);
        let mut at = 0;
        while let Some(next) = found.get(at) {
            let on = on.remove(&next.id).unwrap_or_default();
            let first = at == 0;
            at += 1;
            let fits =
                |other: &&&MountRef| !first || other.point.lock().as_ref().is_some_and(&within);
            let fitting: Vec<MountRef> = on
                .iter()
                .filter(fits)
                .map(|other| (*other).clone())
                .collect();
            found.extend(fitting);
        }
        found
    }
}

impl Mounts {
    pub(super) fn new(tree: Arc<Tree>) -> Mounts {
        let outside = Inode::removed(tree.root.attributes());
        let outside = Shown::whole(Tree::new("none", &outside, None), b"", MS_RELATIME);
        let shown = Shown::whole(tree, b"root", MS_RELATIME);
        let mount = Mount::new(FIRST_MOUNT, shown, Sharing::default(), None);
        Mounts {
            nowhere: Mount::new(0, outside, Sharing::default(), None),
            table: Mutex::new(Table {
                all: BTreeMap::from([(FIRST_MOUNT, mount.clone())]),
                on: BTreeMap::new(),
                next: FIRST_MOUNT + 1,
            }),
            root: mount,
        }
    }

    /// What is mounted on a place and on that, the uppermost; `name` is by which it was found. Who only looks leaves the
    /// mounts as they are.
    pub(super) fn enter(
        &self,
        mut place: Place,
        name: Option<(&InodeRef, &[u8])>,
        only_looks: bool,
    ) -> Place {
        while place.is_covered()
            && let Some(mount) = self.on(&place, name)
        {
            place = mount.place();
            if !only_looks {
                mount.expiring.store(false, Ordering::Relaxed);
            }
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
        let mut on = on.iter().filter_map(|id| table.all.get(id));
        let root = place.is_mount_root();
        let is_on = |mount: &&MountRef| {
            let point = mount.point.lock();
            point
                .as_ref()
                .is_some_and(|point| match (&point.name, name) {
                    (None, _) => root || place.is_directory(),
                    (Some(held), Some(name)) => {
                        !root && Arc::ptr_eq(&held.0, name.0) && held.1 == name.1
                    }
                    (Some(_), None) => false,
                })
        };
        on.find(is_on).cloned()
    }

    /// Whether a mount is one of these, and not what was taken away while it was in use.
    pub(super) fn has(&self, mount: &MountRef) -> bool {
        let table = self.table.lock();
        let known = table.all.get(&mount.id);
        known.is_some_and(|known| Arc::ptr_eq(known, mount))
    }

    /// Mounts something on what a walk has found, and wherever that is told of it.
    ///
    /// # Errors
    /// `EINVAL` if the place is in none of the mounts, `ENOENT` if it was removed, `ENOTDIR` if one is a directory and the
    /// other is not, `ENOSPC` if there are too many mounts.
    pub(super) fn attach(&self, found: Found, shown: Shown) -> Result<(), Errno> {
        let point = self.point(found, &shown.root)?;
        let tree = Vec::from([Branch::first(shown, Sharing::default())]);
        self.table.lock().graft(&point, tree)
    }

    /// Where something with this root is to be mounted.
    fn point(&self, found: Found, root: &InodeRef) -> Result<Point, Errno> {
        let name = found.named();
        let on = found.existing()?;
        if !self.has(&on.mount) {
            return Err(Errno::EINVAL);
        }
        // What tells of a process goes with it, and nobody would unmount what is on it.
        if on.process().is_some() {
            return Err(Errno::EINVAL);
        }
        if on.removed_path().is_some() || on.attributes().links == 0 {
            return Err(Errno::ENOENT);
        }
        if on.is_directory() != root.is_directory() {
            return Err(Errno::ENOTDIR);
        }
        if name.is_none() && !on.is_mount_root() && !on.is_directory() {
            return Err(Errno::EINVAL);
        }
        Ok(Point { on, name })
    }

    /// As [`Mounts::attach`], of what is seen at a place, or with all that is mounted below that, too.
    ///
    /// # Errors
    /// As [`Mounts::attach`]; `EINVAL` if no mount is made of it.
    pub(super) fn bind(
        &self,
        found: Found,
        (place, name): (&Place, Option<Named>),
        all: bool,
    ) -> Result<(), Errno> {
        let mount = &place.mount;
        if !self.has(mount) || mount.sharing().unbindable {
            return Err(Errno::EINVAL);
        }
        let shown = Shown::again(place, name);
        let point = self.point(found, &shown.root)?;
        let mut table = self.table.lock();
        let mut tree = Vec::from([Branch::first(shown, mount.sharing())]);
        if all {
            let within = |point: &Point| match &point.name {
                Some((directory, _)) => directory.is_below(&place.inode),
                None => point.on.is_below(&place.inode),
            };
            sharing::add_branches(&mut tree, &table.with_all_on(mount, within));
        }
        table.graft(&point, tree)
    }

    /// Moves a mount.
    ///
    /// # Errors
    /// As [`Mounts::attach`]; `ELOOP` if it would be below itself, `EINVAL` if others were told of it, or cannot be told.
    pub(super) fn shift(&self, mount: &MountRef, found: Found) -> Result<(), Errno> {
        let from = mount.point().ok_or(Errno::EINVAL)?;
        if !self.has(mount) || from.on.mount.sharing().is_shared() {
            return Err(Errno::EINVAL);
        }
        let on = found.inode.as_ref().ok_or(Errno::ENOENT)?;
        if on.is_directory() != mount.root.is_directory() {
            return Err(Errno::EINVAL);
        }
        let mut above = Some(on.mount.clone());
        while let Some(at) = above {
            if Arc::ptr_eq(&at, mount) {
                return Err(Errno::ELOOP);
            }
            above = at.point().map(|point| point.on.mount);
        }
        let point = self.point(found, &mount.root)?;
        self.table.lock().regraft(&point, mount)
    }

    /// How a mount, or all that are on it, too, is shared from here on.
    pub(super) fn share(&self, mount: &MountRef, kind: Kind, all: bool) {
        let table = self.table.lock();
        let wanted = match all {
            true => table.with_all_on(mount, |_| true),
            false => Vec::from([mount.clone()]),
        };
        for mount in wanted {
            table.set_kind(&mount, kind);
        }
    }

    /// Refuses to take away what somebody uses; the caller has one handle of it.
    ///
    /// # Errors
    /// `EBUSY`.
    pub(super) fn check_unused(&self, mount: &MountRef) -> Result<(), Errno> {
        let table = self.table.lock();
        let carries = table.all.values().any(|other| mount.is_under(other));
        // The table's handle and the caller's; the root's are never all gone.
        let used = carries || Arc::strong_count(mount) > 2 || mount.is_of_all();
        match used || table.is_echo_used(mount) {
            true => Err(Errno::EBUSY),
            false => Ok(()),
        }
    }

    /// Takes a mount away that nobody uses, and what is there because others were told of it.
    ///
    /// # Errors
    /// As [`Mounts::check_unused`].
    pub(super) fn detach(&self, mount: &MountRef) -> Result<(), Errno> {
        self.check_unused(mount)?;
        self.take_away(|_| Vec::from([mount.clone()]));
        Ok(())
    }

    /// Takes a mount away, and all that are on it; who uses them goes on with each by itself.
    pub(super) fn detach_all(&self, mount: &MountRef) {
        self.take_away(|table| table.with_all_on(mount, |_| true));
    }

    fn take_away(&self, which: impl FnOnce(&Table) -> Vec<MountRef>) {
        let mut table = self.table.lock();
        let going = which(&table);
        let gone = table.uproot(going);
        drop(table);
        // Trees are taken apart here, with nothing locked.
        drop(gone);
    }

    /// All of them that can be seen from a root, in the order in which they were made, each with its path from there.
    fn seen_from(&self, root: &Place) -> Vec<(MountRef, Vec<u8>)> {
        let all: Vec<MountRef> = self.table.lock().all.values().cloned().collect();
        let seen = all.into_iter().filter_map(|mount| {
            let (path, reached) = mount.place().path_from(Some(root)).ok()?;
            reached.then_some((mount, path))
        });
        seen.collect()
    }
}

/// Flags of a mount as /proc shows them.
const SHOWN_FLAGS: [(u32, &str); 7] = [
    (MS_NOSUID, ",nosuid"),
    (MS_NODEV, ",nodev"),
    (MS_NOEXEC, ",noexec"),
    (MS_NOATIME, ",noatime"),
    (MS_NODIRATIME, ",nodiratime"),
    (MS_RELATIME, ",relatime"),
    (MS_NOSYMFOLLOW, ",nosymfollow"),
];

/// Adds a word in which blanks and the like are octal, as in /proc/mounts.
fn push_word(text: &mut Vec<u8>, word: &[u8]) {
    for byte in word {
        match byte {
            b' ' | b'\t' | b'\n' | b'\\' | b'#' => {
                text.extend_from_slice(format!("\\{byte:03o}").as_bytes());
            }
            _ => text.push(*byte),
        }
    }
}

impl Mount {
    fn options(&self) -> String {
        let mut text = String::new();
        for (flag, name) in SHOWN_FLAGS {
            if self.has(flag) {
                text.push_str(name);
            }
        }
        text
    }

    fn source(&self) -> &[u8] {
        match self.source.is_empty() {
            true => b"none",
            false => &self.source,
        }
    }

    /// The path of its root in its file system.
    fn root_path(&self) -> Vec<u8> {
        let whole = Place::new(
            &Mount::new(
                0,
                Shown::whole(self.tree.clone(), b"", 0),
                Sharing::default(),
                None,
            ),
            self.root.clone(),
        );
        let path = match &self.root_name {
            Some((directory, name)) => {
                let directory = whole.beside(directory.clone()).path();
                directory.map(|path| super::open::join(path, name))
            }
            None => whole.path(),
        };
        path.unwrap_or_else(|_| b"//deleted".to_vec())
    }
}

impl FileSystem {
    /// `/proc/PID/mounts` as it is seen from a root.
    pub(super) fn mounts_text(&self, root: &Place) -> Vec<u8> {
        let mut text = Vec::new();
        for (mount, path) in self.mounts.seen_from(root) {
            push_word(&mut text, mount.source());
            text.push(b' ');
            push_word(&mut text, &path);
            let rights = if mount.is_read_only() { "ro" } else { "rw" };
            let kind = mount.tree.kind;
            let options = mount.options() + &mount.tree.options();
            text.extend_from_slice(format!(" {kind} {rights}{options} 0 0\n").as_bytes());
        }
        text
    }

    /// `/proc/PID/mountinfo`.
    pub(super) fn mountinfo_text(&self, root: &Place) -> Vec<u8> {
        let mut text = Vec::new();
        let rights = |ro: bool| if ro { "ro" } else { "rw" };
        let seen = self.mounts.seen_from(root);
        let tells = |group| seen.iter().any(|(mount, _)| mount.sharing().tells(group));
        let nearest = |mount: &Mount| self.mounts.table.lock().nearest_master(mount, tells);
        for (mount, path) in &seen {
            let above = mount.point().map_or(1, |point| point.on.mount.id);
            let minor = mount.tree.minor();
            text.extend_from_slice(format!("{} {above} 0:{minor} ", mount.id).as_bytes());
            push_word(&mut text, &mount.root_path());
            text.push(b' ');
            push_word(&mut text, path);
            let own = rights(mount.has(MS_RDONLY));
            let shared = mount.sharing().shown(nearest(mount));
            let kind = mount.tree.kind;
            let options = mount.options();
            text.extend_from_slice(format!(" {own}{options}{shared} - {kind} ").as_bytes());
            push_word(&mut text, mount.source());
            let whole = rights(mount.tree.read_only.load(Ordering::Relaxed));
            let options = mount.tree.options();
            text.extend_from_slice(format!(" {whole}{options}\n").as_bytes());
        }
        text
    }

    /// `/proc/PID/mountstats`.
    pub(super) fn mountstats_text(&self, root: &Place) -> Vec<u8> {
        let mut text = Vec::new();
        for (mount, path) in self.mounts.seen_from(root) {
            text.extend_from_slice(b"device ");
            push_word(&mut text, mount.source());
            text.extend_from_slice(b" mounted on ");
            push_word(&mut text, &path);
            text.extend_from_slice(format!(" with fstype {}\n", mount.tree.kind).as_bytes());
        }
        text
    }

    /// The root of everything.
    pub fn root_place(&self) -> Place {
        self.mounts.root.place()
    }

    /// A file of the root file system, as it is seen from the root of everything.
    pub fn in_root(&self, inode: &InodeRef) -> Option<Place> {
        let volume = inode.volume()?;
        Arc::ptr_eq(volume, &self.volume).then(|| self.root_place().beside(inode.clone()))
    }

    /// A place for what has no name anywhere.
    pub(super) fn nowhere(&self, inode: InodeRef) -> Place {
        Place::new(&self.mounts.nowhere, inode)
    }

    /// A directory that was removed, in no mount.
    pub(super) fn nothing(&self) -> Place {
        let root = self.root();
        self.nowhere(Inode::removed(root.attributes()))
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
        self.mount_at_boot(on, Shown::whole(self.proc.clone(), b"proc", MS_RELATIME));
    }

    /// Mounts a file system before anybody can see that it is not there.
    pub(super) fn mount_at_boot(&self, on: InodeRef, shown: Shown) {
        let on = self.root_place().beside(on);
        let point = Point { on, name: None };
        let mut table = self.mounts.table.lock();
        table.attach(shown, Sharing::default(), point);
    }
}
