//! The file system of a node: finding things in its tree, and changing names.
//!
//! Law: a change checks everything first and then cannot fail.

use super::MAX_NAME;
use super::boot::BootReport;
use super::inode::{Attributes, Device, Directory, Inode, InodeCounts, InodeRef, MAX_INODES, Node};
use super::objects::{Alarms, Object};
use super::open::{FileState, OpenFile};
use super::pipe::Pipe;
use super::proc::{ProcEntry, ProcNode, ProcView, Viewer};
use super::storage::{FileData, share};
use super::tty::{End, Terminals, Tty};
use super::walk::{Follow, Found, Located, Walker};
use crate::wait::{Stop, Wakes};
use abi::Errno;
use abi::layout::{
    O_RDWR, O_WRONLY, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFREG, Statfs, Timespec,
};
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use spin::Mutex;

/// The file system of a node.
pub struct FileSystem {
    pub(super) root: InodeRef,
    proc_root: InodeRef,
    pub(super) console_inode: InodeRef,
    terminals: Terminals,
    /// /dev/pts.
    pub(super) pts: Option<InodeRef>,
    wakes: Wakes,
    alarms: Arc<Alarms>,
    boot_unix_ns: u64,
    pub(super) counts: Arc<InodeCounts>,
    pub(super) hashes: BTreeMap<[u8; 32], InodeRef>,
    pub(super) report: BootReport,
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
            terminals: Terminals::new(&wakes),
            pts: None,
            wakes,
            alarms: Arc::default(),
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

    /// A walk down that follows no links.
    pub(super) fn plain_walk(&self, names: &[Vec<u8>]) -> Option<InodeRef> {
        let mut at = self.root.clone();
        for name in names {
            let child = at.directory()?.get(name)?;
            at = child;
        }
        Some(at)
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

    /// The console of the node.
    pub fn console(&self) -> &Arc<Tty> {
        self.terminals.console()
    }

    /// All terminals.
    pub fn terminals(&self) -> &Terminals {
        &self.terminals
    }

    /// The console opened for reading and writing.
    pub fn open_console(&self) -> Arc<OpenFile> {
        let dev = self.plain_walk(&[b"dev".to_vec()]);
        let place = dev.map(|dev| (dev, b"console".to_vec()));
        let end = End::line(self.console(), true).ok();
        OpenFile::with_terminal(self.console_inode.clone(), O_RDWR, place, end)
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

    /// An open file without a name.
    ///
    /// # Errors
    /// `ENFILE` if there are too many inodes.
    pub(super) fn new_object(
        &self,
        object: Object,
        mode: u32,
        flags: u32,
        now_ns: u64,
    ) -> Result<Arc<OpenFile>, Errno> {
        let attributes = Attributes::new(mode, self.time(now_ns));
        let inode = self.counts.create(Node::Object(object), attributes);
        let inode = inode.map_err(|_| Errno::ENFILE)?;
        Ok(OpenFile::new(inode, flags, None))
    }

    /// The alarms of this node.
    pub fn alarms(&self) -> &Arc<Alarms> {
        &self.alarms
    }

    /// Where queues of this node report to.
    pub(super) fn wakes(&self) -> &Wakes {
        &self.wakes
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
            Node::Object(_) => 0x0904_1934,
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
            Some(directory) if directory.is_closed => Err(Errno::EPERM),
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
            Node::Proc(_) | Node::Pipe(_) | Node::Object(_) => return Err(Errno::EXDEV),
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

/// A view for the kernel's own look-ups: /proc without processes.
struct Nobody;

impl super::Peers for Nobody {}

impl ProcView for Nobody {
    fn pids(&self) -> Vec<u32> {
        Vec::new()
    }
    fn exists(&self, _pid: u32) -> bool {
        false
    }
    fn read(&mut self, _entry: ProcEntry, _reader: u32) -> Result<Vec<u8>, Stop> {
        Err(Errno::ENOENT.into())
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
