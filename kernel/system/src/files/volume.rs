//! File systems in memory: what the inodes of each have in common, and how much it may hold.
//!
//! Law: an inode belongs to one volume for good and keeps what it counts against, never the tree; the tree belongs to the mounts
//! that show it, and is taken apart with the last of them, level by level and not by recursion.

use super::inode::{Attributes, Inode, InodeCounts, InodeRef, MAX_INODES, Node};
use super::storage::PageError;
use abi::Errno;
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use spin::Mutex;

/// Minor number of the device of the root; those behind it are /proc's and the other volumes'.
const ROOT_DEVICE: u32 = 20;
const PROC_DEVICE: u32 = 21;
const FIRST_DEVICE: u32 = 22;

/// A number that is counted up to a limit.
pub(super) struct Bound {
    limit: AtomicU64,
    used: AtomicU64,
}

impl Bound {
    pub(super) fn new(limit: u64) -> Bound {
        Bound {
            limit: AtomicU64::new(limit),
            used: AtomicU64::new(0),
        }
    }

    pub(super) fn limit(&self) -> u64 {
        self.limit.load(Ordering::Relaxed)
    }

    pub(super) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    fn is_full(&self) -> bool {
        self.used() >= self.limit()
    }

    fn add(&self) {
        self.used.fetch_add(1, Ordering::Relaxed);
    }

    fn give(&self, count: u64) {
        self.used.fetch_sub(count, Ordering::Relaxed);
    }

    /// Changes the limit, though not below what is in use.
    fn set(&self, limit: u64) -> Result<(), Errno> {
        if limit < self.used() {
            return Err(Errno::EINVAL);
        }
        self.limit.store(limit, Ordering::Relaxed);
        Ok(())
    }
}

/// Pages that one file holds of what its volume may.
#[derive(Default)]
pub(super) struct Held {
    bound: Option<Arc<Bound>>,
    count: u64,
}

impl Held {
    pub(super) fn of(bound: Option<Arc<Bound>>) -> Held {
        Held { bound, count: 0 }
    }

    /// Whether a page more could be refused, so that nothing may be promised.
    pub(super) fn is_limited(&self) -> bool {
        self.bound
            .as_ref()
            .is_some_and(|bound| bound.limit() != u64::MAX)
    }

    /// Whether the volume is full.
    pub(super) fn is_full(&self) -> bool {
        self.bound.as_ref().is_some_and(|bound| bound.is_full())
    }

    pub(super) fn check(&self) -> Result<(), PageError> {
        match self.is_full() {
            true => Err(PageError::NoMemory),
            false => Ok(()),
        }
    }

    /// The file has so many pages now.
    pub(super) fn count(&mut self, pages: usize) {
        let pages = pages as u64;
        if let Some(bound) = &self.bound {
            (self.count..pages).for_each(|_| bound.add());
            bound.give(self.count.saturating_sub(pages));
        }
        self.count = pages;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.count(0);
    }
}

/// What the inodes of one file system have in common.
pub(super) struct Volume {
    minor: u32,
    minors: Arc<Mutex<BTreeSet<u32>>>,
    /// Those of the whole node.
    pub(super) counts: Arc<InodeCounts>,
    pub(super) inodes: Bound,
    /// Pages of its files; `None` for the root, whose share of memory is the only limit.
    pub(super) pages: Option<Arc<Bound>>,
}

impl Drop for Volume {
    fn drop(&mut self) {
        self.minors.lock().remove(&self.minor);
    }
}

impl Volume {
    /// That of the root.
    pub(super) fn first() -> Arc<Volume> {
        Arc::new(Volume {
            minor: ROOT_DEVICE,
            minors: Arc::default(),
            counts: Arc::new(InodeCounts::new()),
            inodes: Bound::new(MAX_INODES),
            pages: None,
        })
    }

    /// Another one, with these limits of pages and inodes.
    pub(super) fn another(&self, pages: u64, inodes: u64) -> Arc<Volume> {
        let mut minors = self.minors.lock();
        let free = (FIRST_DEVICE..).find(|minor| !minors.contains(minor));
        let minor = free.unwrap_or(FIRST_DEVICE);
        minors.insert(minor);
        Arc::new(Volume {
            minor,
            minors: self.minors.clone(),
            counts: self.counts.clone(),
            inodes: Bound::new(inodes),
            pages: Some(Arc::new(Bound::new(pages))),
        })
    }

    pub(super) fn minor(&self) -> u32 {
        self.minor
    }

    /// Room for one more inode.
    pub(super) fn take_inode(&self) -> Result<(), Errno> {
        if self.inodes.is_full() {
            return Err(Errno::ENOSPC);
        }
        self.counts.take()?;
        self.inodes.add();
        Ok(())
    }

    pub(super) fn give_inode(&self) {
        self.inodes.give(1);
        self.counts.give();
    }

    /// Changes its limits, all or nothing.
    pub(super) fn limit(&self, pages: Option<u64>, inodes: Option<u64>) -> Result<(), Errno> {
        if inodes.is_some_and(|limit| limit < self.inodes.used()) {
            return Err(Errno::EINVAL);
        }
        if let Some(limit) = pages {
            self.pages.as_ref().ok_or(Errno::EINVAL)?.set(limit)?;
        }
        inodes.map_or(Ok(()), |limit| self.inodes.set(limit))
    }
}

/// A file system as mounts have it.
pub(super) struct Tree {
    /// `tmpfs`, `proc` or `sysfs`.
    pub(super) kind: &'static str,
    pub(super) root: InodeRef,
    /// `None` for /proc, which nothing is stored in.
    pub(super) volume: Option<Arc<Volume>>,
    /// Nobody writes to it, by whatever mount.
    pub(super) read_only: AtomicBool,
    /// Files of it that are open for writing.
    pub(super) writers: AtomicU32,
}

impl Tree {
    pub(super) fn new(
        kind: &'static str,
        root: &InodeRef,
        volume: Option<&Arc<Volume>>,
    ) -> Arc<Tree> {
        Arc::new(Tree {
            kind,
            root: root.clone(),
            volume: volume.cloned(),
            read_only: AtomicBool::new(false),
            writers: AtomicU32::new(0),
        })
    }

    /// Minor number of its device.
    pub(super) fn minor(&self) -> u32 {
        self.volume
            .as_ref()
            .map_or(PROC_DEVICE, |volume| volume.minor)
    }

    /// What it was mounted with, as /proc shows it.
    pub(super) fn options(&self) -> String {
        let mut text = String::new();
        let Some(volume) = self.volume.as_ref().filter(|_| self.kind == "tmpfs") else {
            return text;
        };
        let Some(pages) = &volume.pages else {
            return text;
        };
        if pages.limit() != u64::MAX {
            text.push_str(&format!(",size={}k", pages.limit().saturating_mul(4)));
        }
        if volume.inodes.limit() != MAX_INODES {
            text.push_str(&format!(",nr_inodes={}", volume.inodes.limit()));
        }
        let held = self.root.attributes();
        if held.mode & 0o7777 != 0o1777 {
            text.push_str(&format!(",mode={:03o}", held.mode & 0o7777));
        }
        for (name, id) in [("uid", held.uid), ("gid", held.gid)] {
            if id != 0 {
                text.push_str(&format!(",{name}={id}"));
            }
        }
        text
    }

    /// A new file system in memory, with an empty root.
    pub(super) fn make(volume: &Arc<Volume>, attributes: Attributes) -> Result<Arc<Tree>, Errno> {
        let root = Inode::root(volume, attributes)?;
        Ok(Tree::new("tmpfs", &root, Some(volume)))
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let mut left = Vec::from([self.root.clone()]);
        while let Some(inode) = left.pop() {
            if let Some(volume) = &self.volume {
                volume.counts.notify.unmounted(inode.number());
            }
            let children = inode.directory().map(|mut held| held.take_apart());
            for child in children.into_iter().flatten() {
                match &child.node() {
                    Node::Directory(_) => left.push(child),
                    _ => {
                        if let Some(volume) = &self.volume {
                            volume.counts.notify.unmounted(child.number());
                        }
                    }
                }
            }
        }
    }
}
