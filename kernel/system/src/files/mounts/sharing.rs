//! Mounts that are told what is mounted on others, and taken away from them.
//!
//! Law: mounts of one group (`MS_SHARED`) are told each other's; what hears a group (`MS_SLAVE`) is told of it and tells it
//! nothing. Who is told of a point is found before anything is mounted there, and what is too much is refused as a whole.
//! All mounts of a group hear the same group; a group that is left by its last mount leaves those that heard it to the one that
//! it heard itself. (Linux: Documentation/filesystems/sharedsubtree.rst.)

use super::{MAX_MOUNTS, Mount, MountRef, Named, Place, Point, Shown, Table, is_same_name};
use crate::files::inode::InodeRef;
use abi::Errno;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// How a mount is shared, as mount(2) sets it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::files) enum Kind {
    Shared,
    Slave,
    Private,
    Unbindable,
}

/// The same, as a mount has it.
#[derive(Clone, Copy, Default)]
pub(in crate::files) struct Sharing {
    /// Its group, `shared:` in /proc/PID/mountinfo.
    group: Option<u32>,
    /// The group that it hears, `master:`.
    hears: Option<u32>,
    /// No mount is made of it.
    pub(super) unbindable: bool,
}

impl Sharing {
    pub(super) fn is_shared(&self) -> bool {
        self.group.is_some()
    }

    pub(super) fn tells(&self, group: u32) -> bool {
        self.group == Some(group)
    }

    /// As in /proc/PID/mountinfo; `nearest` is the group that it hears, by others, of those that are seen there.
    pub(super) fn shown(&self, nearest: Option<u32>) -> String {
        let mut text = String::new();
        if let Some(group) = self.group {
            text += &format!(" shared:{group}");
        }
        if let Some(group) = self.hears {
            text += &format!(" master:{group}");
            if let Some(nearest) = nearest.filter(|nearest| *nearest != group) {
                text += &format!(" propagate_from:{nearest}");
            }
        }
        if self.unbindable {
            text += " unbindable";
        }
        text
    }
}

impl Mount {
    pub(super) fn sharing(&self) -> Sharing {
        *self.sharing.lock()
    }
}

/// A mount that is to be, as a part of a tree.
pub(super) struct Branch {
    shown: Shown,
    sharing: Sharing,
    /// On which of those before it in the tree it is, and where there; nothing for the first.
    on: Option<(usize, InodeRef, Option<Named>)>,
}

impl Branch {
    pub(super) fn first(shown: Shown, sharing: Sharing) -> Branch {
        Branch {
            shown,
            sharing,
            on: None,
        }
    }
}

/// Adds to the first branch of a tree copies of what is mounted on `all[0]`, without what is not to be bound and what is on
/// that. Each mount stands behind the one that it is on.
pub(super) fn add_branches(tree: &mut Vec<Branch>, all: &[MountRef]) {
    let mut places = BTreeMap::new();
    for (at, mount) in all.iter().enumerate() {
        if at == 0 {
            places.insert(mount.id, 0);
            continue;
        }
        let Some(point) = mount.point().filter(|_| !mount.sharing().unbindable) else {
            continue;
        };
        if let Some(below) = places.get(&point.on.mount.id) {
            let on = Some((*below, point.on.inode, point.name));
            places.insert(mount.id, tree.len());
            tree.push(Branch {
                shown: Shown::again(&mount.place(), None),
                sharing: mount.sharing(),
                on,
            });
        }
    }
}

/// Who is told of a point.
struct Told {
    /// Where each sees it, in the order of their levels.
    ears: Vec<Ear>,
    /// Of each level that which it hears. Level 0 is the group of the point's own mount.
    above: Vec<usize>,
}

struct Ear {
    point: Point,
    level: usize,
    /// It is of the group of its level; else it only hears that.
    is_peer: bool,
}

/// The mounts of each group, and those that hear it.
struct Groups<'a> {
    peers: BTreeMap<u32, Vec<&'a MountRef>>,
    hearing: BTreeMap<u32, Vec<&'a MountRef>>,
}

impl Groups<'_> {
    /// Who is told of what is mounted at a point.
    fn told(&self, point: &Point) -> Told {
        let mut told = Told {
            ears: Vec::new(),
            above: Vec::from([0]),
        };
        let own = &point.on.mount;
        let mut levels: Vec<u32> = own.sharing().group.into_iter().collect();
        let mut known: BTreeSet<u32> = levels.iter().copied().collect();
        let mut level = 0;
        while let Some(group) = levels.get(level).copied() {
            let of = |all: &BTreeMap<u32, Vec<&MountRef>>| {
                all.get(&group).map_or_else(Vec::new, |all| {
                    all.iter().map(|mount| (*mount).clone()).collect()
                })
            };
            for peer in of(&self.peers) {
                if !Arc::ptr_eq(&peer, own) {
                    told.add(point, &peer, (level, true));
                }
            }
            for mount in of(&self.hearing) {
                match mount.sharing().group {
                    None => told.add(point, &mount, (level, false)),
                    Some(group) => {
                        if known.insert(group) {
                            levels.push(group);
                            told.above.push(level);
                        }
                    }
                }
            }
            level += 1;
        }
        told
    }
}

impl Told {
    fn add(&mut self, point: &Point, mount: &MountRef, (level, is_peer): (usize, bool)) {
        if let Some(point) = point.seen_through(mount) {
            self.ears.push(Ear {
                point,
                level,
                is_peer,
            });
        }
    }
}

impl Point {
    /// The same point of the file system, if another mount shows it.
    fn seen_through(&self, mount: &MountRef) -> Option<Point> {
        let on = Place::new(mount, self.on.inode.clone());
        if on.is_directory() {
            let shown = on.is_below(&mount.root);
            return shown.then_some(Point { on, name: None });
        }
        let name = match &self.name {
            Some(name) => name.clone(),
            None => self.on.mount.root_name.clone()?,
        };
        if on.is_mount_root() && is_same_name(&mount.root_name, &Some(name.clone())) {
            return Some(Point { on, name: None });
        }
        let shown = name.0.is_below(&mount.root);
        let name = Some(name);
        shown.then_some(Point { on, name })
    }
}

impl Table {
    fn groups(&self) -> Groups<'_> {
        let mut groups = Groups {
            peers: BTreeMap::new(),
            hearing: BTreeMap::new(),
        };
        for mount in self.all.values() {
            let sharing = mount.sharing();
            if let Some(group) = sharing.group {
                groups.peers.entry(group).or_default().push(mount);
            }
            if let Some(group) = sharing.hears {
                groups.hearing.entry(group).or_default().push(mount);
            }
        }
        groups
    }

    /// Numbers that no group has, the lowest first.
    fn unused(&self) -> impl Iterator<Item = u32> + use<> {
        let groups = self.all.values().filter_map(|mount| mount.sharing().group);
        let used: BTreeSet<u32> = groups.collect();
        (1..u32::MAX).filter(move |group| !used.contains(group))
    }

    /// A mount is shared in another way from here on.
    pub(super) fn set_kind(&self, mount: &Mount, kind: Kind) {
        if kind == Kind::Shared {
            let fresh = self.unused().next();
            let mut sharing = mount.sharing.lock();
            sharing.group = sharing.group.or(fresh);
            sharing.unbindable = false;
            return;
        }
        self.leave_group(mount);
        if kind != Kind::Slave {
            let mut sharing = mount.sharing.lock();
            sharing.hears = None;
            sharing.unbindable = kind == Kind::Unbindable;
        }
    }

    /// A mount tells nobody any more. It hears those that were in its group; if it was the last, others hear whom it hears.
    fn leave_group(&self, mount: &Mount) {
        let Some(group) = mount.sharing.lock().group.take() else {
            return;
        };
        if self.all.values().any(|other| other.sharing().tells(group)) {
            mount.sharing.lock().hears = Some(group);
            return;
        }
        let heir = mount.sharing().hears;
        for other in self.all.values() {
            let mut sharing = other.sharing.lock();
            if sharing.hears == Some(group) {
                sharing.hears = heir;
            }
        }
    }

    /// The nearest group that a mount hears, by others, of those that `is_seen` says yes to.
    pub(super) fn nearest_master(
        &self,
        mount: &Mount,
        is_seen: impl Fn(u32) -> bool,
    ) -> Option<u32> {
        let mut hears = mount.sharing().hears;
        while let Some(group) = hears.filter(|group| !is_seen(*group)) {
            let mut all = self.all.values().map(|other| other.sharing());
            hears = all.find(|other| other.tells(group))?.hears;
        }
        hears
    }

    /// Puts a tree of new mounts at a point, and copies of it wherever that is told.
    ///
    /// # Errors
    /// `ENOSPC` if there are too many mounts.
    pub(super) fn graft(&mut self, point: &Point, mut tree: Vec<Branch>) -> Result<(), Errno> {
        let told = self.groups().told(point);
        self.check_room(tree.len().saturating_mul(told.ears.len() + 1))?;
        if point.on.mount.sharing().is_shared() {
            let mut unused = self.unused();
            for branch in &mut tree {
                branch.sharing.group = branch.sharing.group.or_else(|| unused.next());
            }
        }
        let own: Vec<Sharing> = tree.iter().map(|branch| branch.sharing).collect();
        self.plant(point, &tree, own);
        self.spread(&told, &tree);
        Ok(())
    }

    /// Moves a mount with all that are on it to a point, and puts copies wherever that is told.
    ///
    /// # Errors
    /// As [`Table::graft`]; `EINVAL` if something of it is not to be bound, and others would be told.
    pub(super) fn regraft(&mut self, point: &Point, mount: &MountRef) -> Result<(), Errno> {
        if point.on.mount.sharing().is_shared() {
            let all = self.with_all_on(mount, |_| true);
            if all.iter().any(|mount| mount.sharing().unbindable) {
                return Err(Errno::EINVAL);
            }
            let told = self.groups().told(point);
            self.check_room(all.len().saturating_mul(told.ears.len()))?;
            for mount in &all {
                self.set_kind(mount, Kind::Shared);
            }
            let first = Branch::first(Shown::again(&mount.place(), None), mount.sharing());
            let mut tree = Vec::from([first]);
            add_branches(&mut tree, &all);
            self.shift(mount, point.clone());
            self.spread(&told, &tree);
            return Ok(());
        }
        self.shift(mount, point.clone());
        Ok(())
    }

    fn check_room(&self, more: usize) -> Result<(), Errno> {
        match self.all.len().saturating_add(more) > MAX_MOUNTS {
            true => Err(Errno::ENOSPC),
            false => Ok(()),
        }
    }

    /// Puts copies of a tree, whose mounts have groups, where they are told of it: with peers they are peers of the tree's, with
    /// those that hear a group they hear, too, and are a group where those are one.
    fn spread(&mut self, told: &Told, tree: &[Branch]) {
        let own = tree.iter().map(|branch| branch.sharing).collect();
        let mut unused = self.unused();
        // What the copies of peers have, in each level that somebody is told in; of the other levels, in that above them.
        let mut groups: Vec<Vec<Sharing>> = Vec::from([own]);
        let mut group_of: Vec<usize> = Vec::from([0]);
        let peers = told.ears.iter().filter(|ear| ear.is_peer);
        let told_in: BTreeSet<usize> = peers.map(|ear| ear.level).collect();
        for (level, above) in told.above.iter().enumerate().skip(1) {
            let above = group_of[*above];
            if !told_in.contains(&level) {
                group_of.push(above);
                continue;
            }
            let fresh = groups[above].iter().map(|above| Sharing {
                group: unused.next(),
                hears: above.group,
                unbindable: false,
            });
            let fresh = fresh.collect();
            group_of.push(groups.len());
            groups.push(fresh);
        }
        for ear in &told.ears {
            let group = &groups[group_of[ear.level]];
            let of_copy = |sharing: &Sharing| match ear.is_peer {
                true => *sharing,
                false => Sharing {
                    hears: sharing.group,
                    ..Sharing::default()
                },
            };
            self.plant(&ear.point, tree, group.iter().map(of_copy).collect());
        }
    }

    /// Makes the mounts of a tree. What is at its point is on top of it from here on.
    fn plant(&mut self, point: &Point, tree: &[Branch], sharing: Vec<Sharing>) {
        let covered = self.on_point(point).cloned();
        let mut made: Vec<MountRef> = Vec::new();
        for (branch, sharing) in tree.iter().zip(sharing) {
            let point = match &branch.on {
                None => point.clone(),
                Some((on, inode, name)) => Point {
                    on: Place::new(&made[*on], inode.clone()),
                    name: name.clone(),
                },
            };
            made.push(self.attach(branch.shown.clone(), sharing, point));
        }
        if let (Some(covered), Some(mut top)) = (covered, made.first().cloned()) {
            while let Some(upper) = self.on_point(&top.top()) {
                top = upper.clone();
            }
            self.shift(&covered, top.top());
        }
    }

    /// What was mounted at the same point where others are told of a mount.
    fn echoes(&self, groups: &Groups<'_>, mount: &Mount) -> Vec<MountRef> {
        let Some(point) = mount.point() else {
            return Vec::new();
        };
        let told = groups.told(&point).ears;
        let echoes = told.iter().filter_map(|ear| self.on_point(&ear.point));
        echoes.cloned().collect()
    }

    /// Whether somebody uses what would go with a mount that carries none.
    pub(super) fn is_echo_used(&self, mount: &Mount) -> bool {
        let on = self.carried();
        let echoes = self.echoes(&self.groups(), mount);
        echoes.iter().any(|echo| {
            let carried = on.get(&echo.id).map_or(&[][..], Vec::as_slice);
            // What carries others stays; what only lies on its root comes down. The table has a handle, and so has this list,
            // and each mount on it.
            let goes = carried.iter().all(|other| other.is_on_root());
            goes && Arc::strong_count(echo) > 2 + carried.len()
        })
    }

    /// The mounts on each.
    fn carried(&self) -> BTreeMap<u64, Vec<&MountRef>> {
        let mut on: BTreeMap<u64, Vec<&MountRef>> = BTreeMap::new();
        for mount in self.all.values() {
            if let Some(point) = mount.point() {
                on.entry(point.on.mount.id).or_default().push(mount);
            }
        }
        on
    }

    /// Takes mounts away, and what others had of them, if that carries nothing else. What lies on the root of one that goes comes
    /// down to where that was.
    pub(super) fn uproot(&mut self, going: Vec<MountRef>) -> Vec<MountRef> {
        let groups = self.groups();
        let mut gone: BTreeMap<u64, MountRef> = BTreeMap::new();
        for mount in &going {
            for echo in self.echoes(&groups, mount) {
                gone.insert(echo.id, echo);
            }
        }
        let asked: BTreeSet<u64> = going.iter().map(|mount| mount.id).collect();
        gone.extend(going.into_iter().map(|mount| (mount.id, mount)));
        let on = self.carried();
        loop {
            let keeps = |other: &&MountRef| !other.is_on_root() && !gone.contains_key(&other.id);
            let carries = |id: &u64| on.get(id).is_some_and(|all| all.iter().any(keeps));
            let stay = gone.keys().filter(|id| !asked.contains(id) && carries(id));
            let stay: Vec<u64> = stay.copied().collect();
            if stay.is_empty() {
                break;
            }
            gone.retain(|id, _| !stay.contains(id));
        }
        let upper = gone.keys().filter_map(|id| on.get(id)).flatten();
        let staying = upper.filter(|upper| !gone.contains_key(&upper.id));
        let down: Vec<(MountRef, Point)> = staying
            .filter_map(|upper| Some(((*upper).clone(), left_below(upper, &gone)?)))
            .collect();
        for (mount, point) in down {
            self.shift(&mount, point);
        }
        let gone: Vec<MountRef> = gone.into_values().collect();
        for mount in &gone {
            self.take(mount);
            self.set_kind(mount, Kind::Private);
        }
        gone
    }
}

/// Where a mount on the root of one that goes comes down to: the first point below that stays.
fn left_below(mount: &Mount, gone: &BTreeMap<u64, MountRef>) -> Option<Point> {
    let mut point = mount.point()?;
    while gone.contains_key(&point.on.mount.id) {
        point = point.on.mount.point()?;
    }
    Some(point)
}

impl Mount {
    /// Where what covers all of it is mounted.
    fn top(self: &Arc<Self>) -> Point {
        Point {
            on: self.place(),
            name: None,
        }
    }

    fn is_on_root(&self) -> bool {
        self.point().is_some_and(|point| point.on.is_mount_root())
    }
}
