//! The file system of a node: the tree made from the boot archive, and the changes of names.
//!
//! Law: a change checks everything first and then cannot fail. Archive files keep their bytes in the
//! archive until somebody writes, so the tree is writable everywhere and nothing is copied at boot.
//! The archive may be hostile or broken: what cannot be used is left out and told in [`BootReport`].
//! Its manifest is trusted: it is part of the boot image as the kernel is.

use super::archive::{Entry, Kind, Reader, components};
use super::inode::{
    Attributes, DEVICES, Device, Directory, Inode, InodeCounts, InodeRef, MAX_INODES, Node,
};
use super::open::{FileState, OpenFile};
use super::pipe::Pipe;
use super::proc::{ProcEntry, ProcNode, ProcView, Viewer};
use super::storage::{FileData, share};
use super::walk::{Follow, Found, Located, Walker};
use super::{Console, MAX_NAME};
use crate::wait::{Stop, Wakes};
use abi::Errno;
use abi::layout::{
    O_RDWR, O_WRONLY, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFREG, Statfs, Timespec,
};
use alloc::collections::BTreeMap;
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

/// The file system of a node.
pub struct FileSystem {
    root: InodeRef,
    proc_root: InodeRef,
    console_inode: InodeRef,
    console: Arc<Console>,
    wakes: Wakes,
    boot_unix_ns: u64,
    counts: Arc<InodeCounts>,
    hashes: BTreeMap<[u8; 32], InodeRef>,
    report: BootReport,
}

impl FileSystem {
    /// The tree of an archive (ustar; empty is fine) with /dev, /proc and /tmp added.
    /// `boot_unix_ns` is the wall clock at boot; times of files are that plus the monotonic time.
    pub fn new(archive: &'static [u8], wakes: Wakes, boot_unix_ns: u64) -> FileSystem {
        let boot = Timespec::from_ns(boot_unix_ns);
        let counts = Arc::new(InodeCounts::new());
        let root = Inode::root(&counts, Attributes::new(S_IFDIR | 0o755, boot));
        let device = |device, mode| {
            counts
                .create(Node::Device(device), Attributes::new(S_IFCHR | mode, boot))
                .expect("an empty tree takes one more inode")
        };
        let mut fs = FileSystem {
            proc_root: Inode::proc(ProcNode::Root, boot),
            console_inode: device(Device::Console, 0o600),
            root,
            console: Arc::new(Console::new(&wakes)),
            wakes,
            boot_unix_ns,
            counts: counts.clone(),
            hashes: BTreeMap::new(),
            report: BootReport::default(),
        };
        fs.unpack(archive);
        fs.add_system_names();
        fs.read_manifest();
        fs
    }

    fn unpack(&mut self, archive: &'static [u8]) {
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
        let inode = self.counts.create(node, attributes).ok()?;
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
                None => self.add_directory(&at, name, Timespec::from_ns(self.boot_unix_ns))?,
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
        let inode = self.counts.create(node, attributes).ok()?;
        parent.directory()?.set(name, inode.clone());
        parent.change(|held| held.links += 1);
        Some(inode)
    }

    /// A walk down that follows no links.
    fn plain_walk(&self, names: &[Vec<u8>]) -> Option<InodeRef> {
        let mut at = self.root.clone();
        for name in names {
            let child = at.directory()?.get(name)?;
            at = child;
        }
        Some(at)
    }

    /// /dev, /proc and /tmp. An archive that has something else in their place loses it.
    fn add_system_names(&mut self) {
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
                    node => self.counts.create(node, Attributes::new(mode, boot)),
                };
                if let (Some(mut dev), Ok(inode)) = (dev.directory(), inode) {
                    dev.set(name.as_bytes(), inode);
                }
            }
        }
        directory(b"proc");
        if let Some(mut root) = self.root.directory() {
            root.set(b"proc", self.proc_root.clone());
        }
    }

    fn read_manifest(&mut self) {
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

    /// How reading the boot archive went.
    pub fn boot_report(&self) -> BootReport {
        self.report
    }

    /// The root directory.
    pub fn root(&self) -> &InodeRef {
        &self.root
    }

    pub(super) fn proc_root(&self) -> &InodeRef {
        &self.proc_root
    }

    /// The terminal.
    pub fn console(&self) -> &Arc<Console> {
        &self.console
    }

    /// The console opened for reading and writing.
    pub fn open_console(&self) -> Arc<OpenFile> {
        let dev = self.plain_walk(&[b"dev".to_vec()]);
        let place = dev.map(|dev| (dev, b"console".to_vec()));
        OpenFile::new(self.console_inode.clone(), O_RDWR, place)
    }

    /// The two ends of a new pipe: for reading, and for writing. `flags` may have `O_NONBLOCK`.
    ///
    /// # Errors
    /// `ENFILE` if there are too many inodes.
    pub fn new_pipe(
        &self,
        flags: u32,
        now_ns: u64,
    ) -> Result<(Arc<OpenFile>, Arc<OpenFile>), Errno> {
        let attributes = Attributes::new(S_IFIFO | 0o600, self.time(now_ns));
        let node = Node::Pipe(Pipe::new(&self.wakes));
        let inode = self.counts.create(node, attributes);
        let inode = inode.map_err(|_| Errno::ENFILE)?;
        Ok((
            OpenFile::new(inode.clone(), flags, None),
            OpenFile::new(inode, flags | O_WRONLY, None),
        ))
    }

    pub(super) fn boot_time(&self) -> Timespec {
        Timespec::from_ns(self.boot_unix_ns)
    }

    /// The wall clock at a monotonic time.
    pub fn time(&self, now_ns: u64) -> Timespec {
        Timespec::from_ns(self.boot_unix_ns.saturating_add(now_ns))
    }

    /// The boot file with these contents, if it still has them.
    pub fn by_hash(&self, hash: &[u8; 32]) -> Option<InodeRef> {
        let inode = self.hashes.get(hash)?;
        (inode.content_hash().as_ref() == Some(hash)).then(|| inode.clone())
    }

    /// A file by its path from the root, links followed, without what processes see in /proc.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, `ELOOP`, `ENAMETOOLONG`.
    pub fn lookup(&self, path: &[u8]) -> Result<InodeRef, Errno> {
        let state = FileState::new(self);
        Ok(self.locate(&state, &Nobody, 0, path)?.inode)
    }

    /// All bytes of a regular file of at most `limit` bytes.
    ///
    /// # Errors
    /// As [`FileSystem::lookup`] and [`Inode::read_all`].
    pub fn read_file(&self, path: &[u8], limit: usize) -> Result<Vec<u8>, Errno> {
        self.lookup(path)?.read_all(limit)
    }

    /// What a path means to a process, links followed.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, `ELOOP`, `ENAMETOOLONG`.
    pub fn locate(
        &self,
        state: &FileState,
        view: &dyn ProcView,
        pid: u32,
        path: &[u8],
    ) -> Result<Located, Errno> {
        let viewer = Viewer { view, state, pid };
        let found = Walker { fs: self, viewer }.walk(&state.cwd, path, Follow::Always)?;
        let path = found.path()?;
        let inode = found.existing()?;
        Ok(Located { inode, path })
    }

    /// The program a process wants to execute, and its path for `/proc/PID/exe`.
    ///
    /// # Errors
    /// As [`FileSystem::locate`]; `EACCES` if it is no regular file or has no execute bit.
    pub fn open_program(
        &self,
        state: &FileState,
        view: &dyn ProcView,
        pid: u32,
        path: &[u8],
    ) -> Result<Located, Errno> {
        let located = self.locate(state, view, pid, path)?;
        if !located.inode.is_file() || located.inode.mode() & 0o111 == 0 {
            return Err(Errno::EACCES);
        }
        Ok(located)
    }

    /// What `statfs` tells of the file system an inode is in (magic numbers: `linux/magic.h`).
    pub(super) fn statistics(&self, inode: &Inode) -> Statfs {
        let kind = match inode.node() {
            Node::Proc(_) => 0x9fa0,
            Node::Pipe(_) => 0x5049_5045,
            _ => 0x0102_1994,
        };
        if kind != 0x0102_1994 {
            return Statfs {
                kind,
                ..Statfs::default()
            };
        }
        let (blocks, used) = share();
        Statfs {
            kind,
            blocks,
            free: blocks.saturating_sub(used),
            inodes: MAX_INODES,
            free_inodes: MAX_INODES.saturating_sub(self.counts.live()),
        }
    }

    /// Checks that a name may be made where a walk ended.
    fn check_new(found: &Found) -> Result<(), Errno> {
        if found.inode.is_some() || !found.is_name() {
            return Err(Errno::EEXIST);
        }
        if found.name.len() > MAX_NAME {
            return Err(Errno::ENAMETOOLONG);
        }
        match found.parent.directory() {
            Some(directory) if !directory.removed => Ok(()),
            Some(_) => Err(Errno::ENOENT),
            None => Err(Errno::EPERM),
        }
    }

    fn insert(&self, found: &Found, inode: InodeRef, now: Timespec) {
        if let Some(mut directory) = found.parent.directory() {
            directory.set(&found.name, inode);
        }
        found.parent.touch(now);
    }

    /// Makes a regular file.
    pub(super) fn make_file(
        &self,
        found: &Found,
        mode: u32,
        now: Timespec,
    ) -> Result<InodeRef, Errno> {
        FileSystem::check_new(found)?;
        let node = Node::File(Mutex::new(FileData::new(&[])));
        let attributes = Attributes::new(S_IFREG | mode & 0o7777, now);
        let inode = self.counts.create(node, attributes)?;
        self.insert(found, inode.clone(), now);
        Ok(inode)
    }

    /// Makes a directory.
    pub(super) fn make_directory(
        &self,
        found: &Found,
        mode: u32,
        now: Timespec,
    ) -> Result<(), Errno> {
        FileSystem::check_new(found)?;
        let parent = Arc::downgrade(&found.parent);
        let node = Node::Directory(Mutex::new(Directory::new(parent)));
        let attributes = Attributes::new(S_IFDIR | mode & 0o7777, now);
        let inode = self.counts.create(node, attributes)?;
        self.insert(found, inode, now);
        found.parent.change(|held| held.links += 1);
        Ok(())
    }

    /// Makes a symbolic link.
    pub(super) fn make_link(&self, found: &Found, text: &[u8], now: Timespec) -> Result<(), Errno> {
        FileSystem::check_new(found)?;
        let attributes = Attributes::new(S_IFLNK | 0o777, now);
        let inode = self.counts.create(Node::Link(text.to_vec()), attributes)?;
        self.insert(found, inode, now);
        Ok(())
    }

    /// Gives a file one more name.
    pub(super) fn add_name(
        &self,
        found: &Found,
        inode: InodeRef,
        now: Timespec,
    ) -> Result<(), Errno> {
        FileSystem::check_new(found)?;
        match inode.node() {
            Node::Proc(_) | Node::Pipe(_) => return Err(Errno::EXDEV),
            Node::Directory(_) => return Err(Errno::EPERM),
            _ => {}
        }
        if inode.attributes().links == 0 {
            return Err(Errno::ENOENT);
        }
        inode.change(|held| {
            held.links += 1;
            held.changed = now;
        });
        self.insert(found, inode, now);
        Ok(())
    }

    /// Takes a name that is no directory away.
    pub(super) fn remove_name(&self, found: &Found, now: Timespec) -> Result<(), Errno> {
        let inode = found.inode.as_ref().ok_or(Errno::ENOENT)?;
        if inode.is_directory() {
            return Err(Errno::EISDIR);
        }
        if found.slash {
            return Err(Errno::ENOTDIR);
        }
        let mut directory = found.parent.directory().ok_or(Errno::EPERM)?;
        directory.take(&found.name);
        drop(directory);
        FileSystem::lose_name(inode, now);
        found.parent.touch(now);
        Ok(())
    }

    /// Takes an empty directory away.
    pub(super) fn remove_directory(&self, found: &Found, now: Timespec) -> Result<(), Errno> {
        let inode = found.inode.as_ref().ok_or(Errno::ENOENT)?;
        match found.name.as_slice() {
            b"." => return Err(Errno::EINVAL),
            b".." => return Err(Errno::ENOTEMPTY),
            b"" => return Err(Errno::EBUSY),
            _ => {}
        }
        if !inode.is_directory() {
            return Err(Errno::ENOTDIR);
        }
        let mut parent = found.parent.directory().ok_or(Errno::EPERM)?;
        let mut directory = inode.directory().ok_or(Errno::EBUSY)?;
        if !directory.is_empty() {
            return Err(Errno::ENOTEMPTY);
        }
        directory.removed = true;
        drop(directory);
        parent.take(&found.name);
        drop(parent);
        FileSystem::lose_name(inode, now);
        found.parent.change(|held| held.links -= 1);
        found.parent.touch(now);
        Ok(())
    }

    fn lose_name(inode: &Inode, now: Timespec) {
        let left = match inode.is_directory() {
            true => 0,
            false => inode.attributes().links.saturating_sub(1),
        };
        inode.change(|held| {
            held.links = left;
            held.changed = now;
        });
    }

    /// Moves a name, replacing what is at the target.
    pub(super) fn rename(&self, from: &Found, to: &Found, now: Timespec) -> Result<(), Errno> {
        let inode = from.inode.as_ref().ok_or(Errno::ENOENT)?;
        if !from.is_name() || !to.is_name() {
            return Err(Errno::EBUSY);
        }
        if matches!(inode.node(), Node::Proc(_)) {
            return Err(Errno::EBUSY);
        }
        if from.parent.directory().is_none() || to.parent.directory().is_none() {
            return Err(Errno::EXDEV);
        }
        let is_directory = inode.is_directory();
        if (from.slash || to.slash) && !is_directory {
            return Err(Errno::ENOTDIR);
        }
        if is_directory && self.is_below(&to.parent, inode) {
            return Err(Errno::EINVAL);
        }
        match &to.inode {
            Some(old) if Arc::ptr_eq(old, inode) => return Ok(()),
            Some(old) if is_directory && !old.is_directory() => return Err(Errno::ENOTDIR),
            // Both checks and the removal in one; nothing can fail behind it.
            Some(old) if old.is_directory() && is_directory => self.remove_directory(to, now)?,
            Some(_) => self.remove_name(to, now)?,
            None => FileSystem::check_new(to)?,
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
        from.parent.touch(now);
        self.insert(to, inode.clone(), now);
        inode.change(|held| held.changed = now);
        Ok(())
    }

    /// Whether `inode` is `directory` or lies somewhere below it.
    fn is_below(&self, inode: &InodeRef, directory: &InodeRef) -> bool {
        let mut at = inode.clone();
        loop {
            if Arc::ptr_eq(&at, directory) {
                return true;
            }
            let parent = at.directory().and_then(|held| held.parent.upgrade());
            match parent {
                Some(parent) if !Arc::ptr_eq(&parent, &at) => at = parent,
                _ => return false,
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

/// A view for the kernel's own look-ups: /proc without processes.
struct Nobody;

impl ProcView for Nobody {
    fn pids(&self) -> Vec<u32> {
        Vec::new()
    }
    fn exists(&self, _pid: u32) -> bool {
        false
    }
    fn read(&self, _entry: ProcEntry) -> Result<Vec<u8>, Errno> {
        Err(Errno::ENOENT)
    }
    fn write(&mut self, _entry: ProcEntry, _writer: u32, _bytes: &[u8]) -> Result<usize, Stop> {
        Err(Errno::EPERM.into())
    }
    fn link(&self, _entry: ProcEntry) -> Result<Vec<u8>, Errno> {
        Err(Errno::ENOENT)
    }
    fn random(&mut self, into: &mut [u8]) {
        into.fill(0);
    }
}
