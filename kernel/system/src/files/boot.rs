//! The tree at boot: from the archive, with /dev, /proc and /tmp added.
//!
//! Law: archive files keep their bytes in the archive until somebody writes, so the tree is writable
//! everywhere and nothing is copied here. The archive may be hostile or broken: what cannot be used is
//! left out and told in [`BootReport`]. Its manifest is trusted: it is part of the boot image as the
//! kernel is.

use super::archive::{Entry, Kind, Reader, components};
use super::inode::{Attributes, DEVICES, Device, Directory, InodeRef, Node};
use super::storage::FileData;
use super::tree::FileSystem;
use abi::layout::{S_IFCHR, S_IFDIR, S_IFLNK, S_IFREG, Timespec};
use alloc::sync::Arc;
use alloc::vec::Vec;
use spin::Mutex;

/// Where the manifest lies: lines of 64 hexadecimal digits (BLAKE3), a blank and a path.
const MANIFEST: &[u8] = b"/.dunlin/manifest";

/// How reading the boot archive went.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct BootReport {
    /// Entries that are in the tree.
    pub entries: u32,
    /// Entries left out: unknown types, names that lead out of the tree or through a file.
    pub skipped: u32,
    /// Files whose content hash is known.
    pub hashed: u32,
    /// Why reading ended before the end of the archive, if it did.
    pub problem: Option<&'static str>,
}

impl FileSystem {
    pub(super) fn unpack(&mut self, archive: &'static [u8]) {
        let mut reader = Reader::new(archive);
        for entry in reader.by_ref() {
            if self.add_entry(entry).is_some() {
                self.report.entries += 1;
            } else {
                self.report.skipped += 1;
            }
        }
        self.report.skipped += reader.skipped;
        self.report.problem = reader.problem;
    }

    /// Puts one entry into the tree; `None` if it does not fit there.
    fn add_entry(&self, entry: Entry) -> Option<()> {
        let time = Timespec {
            seconds: entry.modified,
            nanoseconds: 0,
        };
        let make = |kind: u32| Attributes {
            uid: entry.uid,
            gid: entry.gid,
            ..Attributes::new(kind | entry.mode, time)
        };
        let Some((name, parents)) = entry.path.split_last() else {
            // "./" names the root itself.
            self.root.change(|root| root.mode = S_IFDIR | entry.mode);
            return Some(());
        };
        let parent = self.make_directories(parents)?;
        let old = parent.directory()?.get(name);
        let (node, attributes) = match entry.kind {
            Kind::Directory => {
                let directory = match old {
                    Some(old) if old.is_directory() => old,
                    Some(_) => return None,
                    None => self.add_directory(&parent, name, time)?,
                };
                directory.change(|held| {
                    *held = Attributes {
                        links: held.links,
                        ..make(S_IFDIR)
                    }
                });
                return Some(());
            }
            Kind::HardLink(target) => {
                let inode = self.plain_walk(&target)?;
                if inode.is_directory() || old.is_some() {
                    return None;
                }
                inode.change(|held| held.links += 1);
                parent.directory()?.set(name, inode.clone());
                return Some(());
            }
            Kind::File(bytes) => (Node::File(Mutex::new(FileData::new(bytes))), make(S_IFREG)),
            Kind::Link(text) => (
                Node::Link(text),
                Attributes {
                    mode: S_IFLNK | 0o777,
                    ..make(S_IFLNK)
                },
            ),
            Kind::Device(major, minor) => {
                let row = DEVICES
                    .iter()
                    .find(|row| (row.2, row.3) == (major, minor))?;
                (Node::Device(row.1), make(S_IFCHR))
            }
        };
        if let Some(old) = old {
            if old.is_directory() {
                return None;
            }
            old.change(|held| held.links -= 1);
        }
        let inode = self.volume.create(node, attributes).ok()?;
        parent.directory()?.set(name, inode);
        Some(())
    }

    /// The directory with these components, made where it is missing. Follows no links.
    fn make_directories(&self, names: &[Vec<u8>]) -> Option<InodeRef> {
        let mut at = self.root.clone();
        for name in names {
            let child = at.directory()?.get(name);
            at = match child {
                Some(child) => child,
                None => self.add_directory(&at, name, self.boot_time())?,
            };
        }
        match at.node() {
            Node::Directory(_) => Some(at),
            _ => None,
        }
    }

    fn add_directory(&self, parent: &InodeRef, name: &[u8], time: Timespec) -> Option<InodeRef> {
        let attributes = Attributes::new(S_IFDIR | 0o755, time);
        let node = Node::Directory(Mutex::new(Directory::new(Arc::downgrade(parent))));
        let inode = self.volume.create(node, attributes).ok()?;
        parent.directory()?.set(name, inode.clone());
        parent.change(|held| held.links += 1);
        Some(inode)
    }

    /// /dev, /proc and /tmp. An archive that has something else in their place loses it.
    pub(super) fn add_system_names(&mut self) {
        let boot = self.boot_time();
        let directory = |name: &[u8]| {
            if let Some(old) = self.root.directory().and_then(|mut root| {
                let old = root.get(name)?;
                (!old.is_directory()).then(|| root.take(name))?
            }) {
                drop(old);
            }
            self.make_directories(&[name.to_vec()])
        };
        directory(b"tmp").inspect(|tmp| tmp.change(|held| held.mode = S_IFDIR | 0o1777));
        if let Some(dev) = directory(b"dev") {
            let links = [
                ("fd", "/proc/self/fd"),
                ("stdin", "/proc/self/fd/0"),
                ("stdout", "/proc/self/fd/1"),
                ("stderr", "/proc/self/fd/2"),
            ];
            let devices = DEVICES
                .iter()
                .map(|row| (row.0, Node::Device(row.1), S_IFCHR | row.4));
            let links = links
                .iter()
                .map(|row| (row.0, Node::Link(row.1.into()), S_IFLNK | 0o777));
            for (name, node, mode) in devices.chain(links) {
                let inode = match node {
                    Node::Device(Device::Console) => Ok(self.console_inode.clone()),
                    node => self.volume.create(node, Attributes::new(mode, boot)),
                };
                if let (Some(mut dev), Ok(inode)) = (dev.directory(), inode) {
                    dev.set(name.as_bytes(), inode);
                }
            }
        }
        if let Some(on) = directory(b"proc") {
            self.mount_proc(on);
        }
        if let Some(on) = directory(b"sys") {
            self.mount_sys(on);
        }
        self.add_pts();
        if let Some(shm) = self.make_directories(&[b"dev".to_vec(), b"shm".to_vec()]) {
            shm.change(|held| held.mode = S_IFDIR | 0o1777);
        }
    }

    /// /dev/pts, and the link by which some programs find what makes pseudo-terminals.
    fn add_pts(&mut self) {
        let pts = self.make_directories(&[b"dev".to_vec(), b"pts".to_vec()]);
        let ptmx = Attributes::new(S_IFCHR | 0o666, self.boot_time());
        let ptmx = self.volume.create(Node::Device(Device::Ptmx), ptmx);
        if let Some(pts) = pts {
            if let (Some(mut names), Ok(ptmx)) = (pts.directory(), ptmx) {
                names.set(b"ptmx", ptmx);
                names.is_closed = true;
            }
            self.pts = Some(pts);
        }
    }

    pub(super) fn read_manifest(&mut self) {
        let Some(path) = components(MANIFEST) else {
            return;
        };
        let Some(manifest) = self.plain_walk(&path) else {
            return;
        };
        // As long as the archive at most, which is in memory already.
        let Ok(text) = manifest.read_all(usize::MAX) else {
            return;
        };
        for line in text.split(|&byte| byte == b'\n') {
            let Some((hash, path)) = line.split_at_checked(64) else {
                continue;
            };
            let inode = components(path.trim_ascii()).and_then(|path| self.plain_walk(&path));
            if let (Some(hash), Some(inode)) = (hash_from_hex(hash), inode)
                && let Some(mut data) = inode.data()
            {
                data.set_hash(Some(hash));
                self.hashes.insert(hash, inode.clone());
                self.report.hashed += 1;
            }
        }
    }
}

fn hash_from_hex(digits: &[u8]) -> Option<[u8; 32]> {
    let mut hash = [0; 32];
    for (place, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
        let high = char::from(pair[0]).to_digit(16)?;
        let low = char::from(pair[1]).to_digit(16)?;
        *place = (high << 4 | low) as u8;
    }
    Some(hash)
}
