//! Making, moving and removing names.
//!
//! Law: a change checks everything first, in Linux' order, and then cannot fail: what is there, then
//! the permission bits, then the rules about owners, then kinds.

use super::MAX_NAME;
use super::access::{WRITE, Who};
use super::inode::{Attributes, Directory, InodeRef, Node};
use super::mounts::Place;
use super::objects::notify::{
    IN_ATTRIB, IN_CREATE, IN_MOVE_SELF, IN_MOVED_FROM, IN_MOVED_TO, directory_bit,
};
use super::storage::FileData;
use super::tree::FileSystem;
use super::walk::Found;
use crate::credentials::FSETID;
use abi::Errno;
use abi::layout::{S_IFDIR, S_IFLNK, S_IFMT, S_IFREG, Timespec};
use alloc::sync::Arc;
use spin::Mutex;

const S_ISGID: u32 = 0o2000;
const S_IXGRP: u32 = 0o010;

/// What `renameat2` is to do about the target.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Target {
    /// Replaced.
    Replaced,
    /// It must not be there.
    Absent,
    /// It gets the name of the source.
    Exchanged,
}

/// Who makes a change, and when.
#[derive(Clone, Copy)]
pub(super) struct Change<'a> {
    pub(super) who: &'a Who,
    pub(super) now: Timespec,
}

impl Change<'_> {
    /// The attributes of what is made in a directory: with the set-group-ID bit it passes on its group.
    pub(super) fn attributes(&self, parent: &InodeRef, mut mode: u32) -> Attributes {
        let held = parent.attributes();
        let mut gid = self.who.gid;
        if held.mode & S_ISGID != 0 {
            gid = held.gid;
            let keeps = self.who.has(FSETID) || self.who.is_in(gid);
            if mode & S_IFMT == S_IFDIR {
                mode |= S_ISGID;
            } else if mode & S_IXGRP != 0 && !keeps {
                mode &= !S_ISGID;
            }
        }
        Attributes {
            uid: self.who.uid,
            gid,
            ..Attributes::new(mode, self.now)
        }
    }
}

impl FileSystem {
    /// A directory whose names are the kernel's says of all others that they are not there, before anybody could make them.
    fn check_takes_names(found: &Found) -> Result<(), Errno> {
        match found.inode.is_none() && found.parent.directory().is_none() {
            true => Err(Errno::ENOENT),
            false => Ok(()),
        }
    }

    /// Checks that a name may be made where a walk ended.
    fn check_new(found: &Found, who: &Who) -> Result<(), Errno> {
        if found.inode.is_some() || !found.is_name() {
            return Err(Errno::EEXIST);
        }
        FileSystem::check_takes_names(found)?;
        if found.name.len() > MAX_NAME {
            return Err(Errno::ENAMETOOLONG);
        }
        found.parent.check_writable()?;
        let removed = match found.parent.directory() {
            Some(directory) if directory.is_closed => return Err(Errno::EPERM),
            Some(directory) => directory.removed,
            None => true,
        };
        if removed {
            return Err(Errno::ENOENT);
        }
        who.check_create(found)
    }

    fn insert(&self, found: &Found, inode: InodeRef, now: Timespec) {
        if let Some(mut directory) = found.parent.directory() {
            directory.set(&found.name, inode);
        }
        found.parent.touch(now);
    }

    /// Makes what is no directory.
    pub(super) fn make_node(
        &self,
        found: &Found,
        node: Node,
        mode: u32,
        change: Change,
    ) -> Result<InodeRef, Errno> {
        FileSystem::check_new(found, change.who)?;
        let attributes = change.attributes(&found.parent, mode);
        let volume = found.parent.volume().ok_or(Errno::EPERM)?;
        let inode = volume.create(node, attributes)?;
        self.insert(found, inode.clone(), change.now);
        self.tell_name(found, IN_CREATE | directory_bit(&inode));
        Ok(inode)
    }

    /// Tells those who watch a directory of a name in it.
    pub(super) fn tell_name(&self, found: &Found, event: u32) {
        let notify = &self.counts.notify;
        notify.tell_name(&found.parent, &found.name, event, 0);
    }

    /// Tells of a rename that has happened, in one direction.
    pub(super) fn tell_move(&self, from: &Found, to: &Found) {
        let Some(inode) = &from.inode else {
            return;
        };
        let notify = &self.counts.notify;
        let cookie = notify.new_cookie();
        let bit = directory_bit(inode);
        notify.tell_name(&from.parent, &from.name, IN_MOVED_FROM | bit, cookie);
        notify.tell_name(&to.parent, &to.name, IN_MOVED_TO | bit, cookie);
        if let Some(replaced) = &to.inode {
            replaced.tell_itself(IN_ATTRIB);
        }
        inode.tell_itself(IN_MOVE_SELF);
    }

    /// Makes a regular file.
    pub(super) fn make_file(
        &self,
        found: &Found,
        mode: u32,
        change: Change,
    ) -> Result<InodeRef, Errno> {
        let bound = found
            .parent
            .volume()
            .and_then(|volume| volume.pages.clone());
        let node = Node::File(Mutex::new(FileData::bounded(bound)));
        self.make_node(found, node, S_IFREG | mode & 0o7777, change)
    }

    /// Makes a regular file without a name in a directory.
    pub(super) fn make_nameless(
        &self,
        directory: &InodeRef,
        mode: u32,
        linkable: bool,
        change: Change,
    ) -> Result<InodeRef, Errno> {
        let volume = directory.volume().ok_or(Errno::EOPNOTSUPP)?;
        let mut data = FileData::bounded(volume.pages.clone());
        data.linkable = linkable;
        let attributes = Attributes {
            links: 0,
            ..change.attributes(directory, S_IFREG | mode & 0o7777)
        };
        volume.create(Node::File(Mutex::new(data)), attributes)
    }

    /// Makes a directory.
    pub(super) fn make_directory(
        &self,
        found: &Found,
        mode: u32,
        change: Change,
    ) -> Result<(), Errno> {
        let parent = Arc::downgrade(&found.parent);
        let node = Node::Directory(Mutex::new(Directory::new(parent)));
        self.make_node(found, node, S_IFDIR | mode & 0o7777, change)?;
        found.parent.change(|held| held.links += 1);
        Ok(())
    }

    /// Makes a symbolic link.
    pub(super) fn make_link(
        &self,
        found: &Found,
        text: &[u8],
        change: Change,
    ) -> Result<(), Errno> {
        let node = Node::Link(text.to_vec());
        self.make_node(found, node, S_IFLNK | 0o777, change)?;
        Ok(())
    }

    /// Gives a file one more name.
    pub(super) fn add_name(
        &self,
        found: &Found,
        inode: Place,
        change: Change,
    ) -> Result<(), Errno> {
        let nameless = match inode.node() {
            Node::Pipe(pipe) => !pipe.named,
            Node::Proc(_) | Node::Object(_) => true,
            _ => false,
        };
        if found.inode.is_some() || !found.is_name() {
            return Err(Errno::EEXIST);
        }
        FileSystem::check_takes_names(found)?;
        found.parent.check_writable()?;
        if !found.parent.is_beside(&inode) {
            return Err(Errno::EXDEV);
        }
        change.who.check_link(&inode)?;
        if nameless || found.parent.directory().is_none() {
            return Err(Errno::EXDEV);
        }
        FileSystem::check_new(found, change.who)?;
        if inode.is_directory() {
            return Err(Errno::EPERM);
        }
        let linkable = inode.data().is_some_and(|data| data.linkable);
        if inode.attributes().links == 0 && !linkable {
            return Err(Errno::ENOENT);
        }
        inode.change(|held| {
            held.links += 1;
            held.changed = change.now;
        });
        self.insert(found, inode.inode.clone(), change.now);
        inode.tell_itself(IN_ATTRIB);
        self.tell_name(found, IN_CREATE | directory_bit(&inode));
        Ok(())
    }

    /// Takes a name that is no directory away.
    pub(super) fn remove_name(&self, found: &Found, change: Change) -> Result<(), Errno> {
        if found.is_name() {
            found.parent.check_writable()?;
        }
        let inode = found.inode.as_ref().ok_or(Errno::ENOENT)?;
        if found.slash && found.is_name() {
            let directory = inode.is_directory();
            return Err(if directory {
                Errno::EISDIR
            } else {
                Errno::ENOTDIR
            });
        }
        if !found.is_name() {
            return Err(Errno::EISDIR);
        }
        change.who.check_remove(found)?;
        if inode.is_directory() {
            return Err(Errno::EISDIR);
        }
        self.check_no_point(found)?;
        let mut directory = found.parent.directory().ok_or(Errno::EPERM)?;
        directory.take(&found.name);
        drop(directory);
        FileSystem::lose_name(inode, change.now);
        found.parent.touch(change.now);
        Ok(())
    }

    /// Takes an empty directory away.
    pub(super) fn remove_directory(&self, found: &Found, change: Change) -> Result<(), Errno> {
        if found.is_name() {
            found.parent.check_writable()?;
        }
        let inode = found.inode.as_ref().ok_or(Errno::ENOENT)?;
        match found.name.as_slice() {
            b"." => return Err(Errno::EINVAL),
            b".." => return Err(Errno::ENOTEMPTY),
            b"" => return Err(Errno::EBUSY),
            _ => {}
        }
        change.who.check_remove(found)?;
        if !inode.is_directory() {
            return Err(Errno::ENOTDIR);
        }
        self.check_no_point(found)?;
        let last_path = inode.path().unwrap_or_default();
        let mut parent = found.parent.directory().ok_or(Errno::EPERM)?;
        let mut directory = inode.directory().ok_or(Errno::EBUSY)?;
        if !directory.is_empty() {
            return Err(Errno::ENOTEMPTY);
        }
        directory.removed = true;
        directory.last_path = last_path;
        drop(directory);
        parent.take(&found.name);
        drop(parent);
        FileSystem::lose_name(inode, change.now);
        found.parent.change(|held| held.links -= 1);
        found.parent.touch(change.now);
        Ok(())
    }

    fn lose_name(inode: &InodeRef, now: Timespec) {
        let left = match inode.is_directory() {
            true => 0,
            false => inode.attributes().links.saturating_sub(1),
        };
        inode.change(|held| {
            held.links = left;
            held.changed = now;
        });
    }

    /// Moves a name, or exchanges two.
    pub(super) fn rename(
        &self,
        from: &Found,
        to: &Found,
        target: Target,
        change: Change,
    ) -> Result<(), Errno> {
        if !from.parent.is_beside(&to.parent) {
            return Err(Errno::EXDEV);
        }
        if from.parent.directory().is_none() || to.parent.directory().is_none() {
            FileSystem::check_takes_names(from)?;
            FileSystem::check_takes_names(to)?;
            return Err(Errno::EPERM);
        }
        if !from.is_name() {
            return Err(Errno::EBUSY);
        }
        if !to.is_name() {
            return Err(match target {
                Target::Absent => Errno::EEXIST,
                _ => Errno::EBUSY,
            });
        }
        from.parent.check_writable()?;
        let fits = |found: &Found| match found.name.len() <= MAX_NAME {
            true => Ok(()),
            false => Err(Errno::ENAMETOOLONG),
        };
        fits(from)?;
        let inode = from.inode.as_ref().ok_or(Errno::ENOENT)?;
        fits(to)?;
        match (target, &to.inode) {
            (Target::Absent, Some(_)) => return Err(Errno::EEXIST),
            (Target::Exchanged, None) => return Err(Errno::ENOENT),
            _ => {}
        }
        let is_directory = inode.is_directory();
        let exchanged = target == Target::Exchanged;
        let to_directory = to.inode.as_ref().is_some_and(|to| to.is_directory());
        if (from.slash && !is_directory)
            || (to.slash && !exchanged && !is_directory)
            || (to.slash && exchanged && !to_directory)
        {
            return Err(Errno::ENOTDIR);
        }
        if is_directory && to.parent.is_below(inode) {
            return Err(Errno::EINVAL);
        }
        if let Some(old) = &to.inode
            && old.is_directory()
            && from.parent.is_below(old)
        {
            return Err(if exchanged {
                Errno::EINVAL
            } else {
                Errno::ENOTEMPTY
            });
        }
        match &to.inode {
            Some(old) if Arc::ptr_eq(old, inode) => return Ok(()),
            _ => change.who.check_remove(from)?,
        }
        let moves_up = |inode: &InodeRef| match Arc::ptr_eq(&from.parent, &to.parent) {
            false if inode.is_directory() => change.who.check(inode, WRITE),
            _ => Ok(()),
        };
        if exchanged {
            change.who.check_remove(to)?;
            moves_up(inode)?;
            to.inode.as_deref().map_or(Ok(()), moves_up)?;
            self.check_no_point(from)?;
            self.check_no_point(to)?;
            self.exchange(from, to, change);
            return Ok(());
        }
        match &to.inode {
            Some(_) => change.who.check_remove(to)?,
            None => FileSystem::check_new(to, change.who)?,
        }
        moves_up(inode)?;
        self.check_no_point(from)?;
        self.replace(from, to, inode, change)
    }

    /// The part of `rename` behind its checks of names and permissions.
    fn replace(
        &self,
        from: &Found,
        to: &Found,
        inode: &InodeRef,
        change: Change,
    ) -> Result<(), Errno> {
        let is_directory = inode.is_directory();
        match &to.inode {
            Some(old) if is_directory && !old.is_directory() => return Err(Errno::ENOTDIR),
            Some(old) if old.is_directory() && !is_directory => return Err(Errno::EISDIR),
            // Both checks and the removal in one; nothing can fail behind it.
            Some(_) if is_directory => self.remove_directory(to, change)?,
            Some(_) => self.remove_name(to, change)?,
            None => {}
        }
        if let Some(mut directory) = from.parent.directory() {
            directory.take(&from.name);
        }
        if let Some(mut directory) = inode.directory() {
            directory.parent = Arc::downgrade(&to.parent);
        }
        if is_directory {
            from.parent.change(|held| held.links -= 1);
            to.parent.change(|held| held.links += 1);
        }
        from.parent.touch(change.now);
        self.insert(to, inode.clone(), change.now);
        inode.change(|held| held.changed = change.now);
        Ok(())
    }

    /// Two names for each other's files, checked before.
    fn exchange(&self, from: &Found, to: &Found, change: Change) {
        let (Some(one), Some(other)) = (&from.inode, &to.inode) else {
            return;
        };
        for (place, inode, left) in [(from, other, to), (to, one, from)] {
            if let Some(mut directory) = inode.directory() {
                directory.parent = Arc::downgrade(&place.parent);
            }
            if inode.is_directory() {
                left.parent.change(|held| held.links -= 1);
                place.parent.change(|held| held.links += 1);
            }
            self.insert(place, inode.inode.clone(), change.now);
            inode.change(|held| held.changed = change.now);
        }
    }
}
