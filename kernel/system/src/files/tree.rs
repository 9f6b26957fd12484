//! The file system of a node, and finding things in its tree.
//!
//! Law: what is found here changes nothing; names are changed in `change`.

use super::access::{EXECUTE, Who};
use super::boot::BootReport;
use super::inode::{Attributes, Device, Inode, InodeCounts, InodeRef, Node};
use super::locks::Waiting;
use super::mounts::{Mounts, Place};
use super::objects::{Alarms, Exit, Object, ProcessHandle, Queues};
use super::open::{FileState, OpenFile};
use super::owner::{FileNotice, Posts};
use super::pipe::Pipe;
use super::proc::{ProcEntry, ProcNode, ProcView, Viewer};
use super::socket::Network;
use super::storage::{FileData, share};
use super::tty::{End, Terminals, Tty};
use super::volume::{Tree, Volume};
use super::walk::{Follow, Located, Walker};
use crate::wait::{Stop, Wakes};
use abi::Errno;
use abi::layout::{
    O_DIRECT, O_RDWR, O_WRONLY, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG, Statfs,
    Timespec,
};
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use spin::Mutex;

/// The file system of a node.
pub struct FileSystem {
    pub(super) root: InodeRef,
    /// /proc.
    pub(super) proc: Arc<Tree>,
    /// /sys.
    pub(super) sys: Arc<Tree>,
    pub(super) mounts: Mounts,
    pub(super) console_inode: InodeRef,
    terminals: Terminals,
    /// /dev/pts.
    pub(super) pts: Option<InodeRef>,
    wakes: Wakes,
    alarms: Arc<Alarms>,
    network: Arc<Network>,
    boot_unix_ns: u64,
    pub(super) counts: Arc<InodeCounts>,
    /// What is not mounted: the root, and all without a name.
    pub(super) volume: Arc<Volume>,
    pub(super) hashes: BTreeMap<[u8; 32], InodeRef>,
    pub(super) report: BootReport,
    lock_waits: Mutex<Waiting>,
    /// What has happened to files whose owners are to be told.
    posts: Arc<Posts>,
    /// Files that have become shorter, and how long they are now.
    cuts: Mutex<Vec<(InodeRef, u64)>>,
    /// Message queues of POSIX.
    pub(super) queues: Queues,
}

impl FileSystem {
    /// The tree of an archive (ustar; empty is fine) with /dev, /proc and /tmp added.
    /// `boot_unix_ns` is the wall clock at boot; times of files are that plus the monotonic time.
    pub fn new(archive: &'static [u8], wakes: Wakes, boot_unix_ns: u64) -> FileSystem {
        let boot = Timespec::from_ns(boot_unix_ns);
        let volume = Volume::first();
        let root = Inode::root(&volume, Attributes::new(S_IFDIR | 0o755, boot))
            .expect("an empty volume takes a root");
        let device = |device, mode| {
            volume
                .create(Node::Device(device), Attributes::new(S_IFCHR | mode, boot))
                .expect("an empty tree takes one more inode")
        };
        let alarms = Arc::default();
        let mut fs = FileSystem {
            mounts: Mounts::new(Tree::new("tmpfs", &root, Some(&volume))),
            proc: Tree::new("proc", &Inode::proc(ProcNode::Root, (0, 0), boot), None),
            sys: FileSystem::new_sys(&volume, boot),
            console_inode: device(Device::Console, 0o600),
            root,
            terminals: Terminals::new(&wakes),
            pts: None,
            wakes,
            network: Arc::new(Network::new(&alarms)),
            alarms,
            posts: Arc::default(),
            boot_unix_ns,
            counts: volume.counts.clone(),
            volume,
            hashes: BTreeMap::new(),
            report: BootReport::default(),
            lock_waits: Mutex::default(),
            cuts: Mutex::default(),
            queues: Queues::default(),
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

    /// A file has become shorter: whoever maps it is to lose what is behind its end.
    pub(super) fn note_cut(&self, inode: &InodeRef, size: u64) {
        self.cuts.lock().push((inode.clone(), size));
    }

    /// The files that have become shorter since the last call.
    pub fn take_cuts(&self) -> Vec<(InodeRef, u64)> {
        core::mem::take(&mut *self.cuts.lock())
    }

    /// A file of zeros without a name, of `size` bytes.
    ///
    /// # Errors
    /// `ENOSPC`: too many files. `EFBIG`.
    pub fn make_segment(&self, size: u64, now_ns: u64) -> Result<InodeRef, Errno> {
        let mut data = FileData::new(&[]);
        data.resize(size)?;
        let attributes = Attributes {
            links: 0,
            ..Attributes::new(S_IFREG | 0o777, self.time(now_ns))
        };
        self.volume.create(Node::File(Mutex::new(data)), attributes)
    }

    /// The root directory.
    pub fn root(&self) -> &InodeRef {
        &self.root
    }

    pub(super) fn proc_root(&self) -> &InodeRef {
        &self.proc.root
    }

    /// Who waits for a record lock of whom.
    pub(super) fn lock_waits(&self) -> &Mutex<Waiting> {
        &self.lock_waits
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
        let console = self.root_place().beside(self.console_inode.clone());
        OpenFile::with_terminal(console, O_RDWR, place, end)
    }

    /// The two ends of a new pipe: for reading, and for writing. `flags` may have `O_NONBLOCK`, and `O_DIRECT`,
    /// which is a matter of writing.
    ///
    /// # Errors
    /// `ENFILE` if there are too many inodes.
    pub fn new_pipe(
        &self,
        flags: u32,
        who: &Who,
        now_ns: u64,
    ) -> Result<(Arc<OpenFile>, Arc<OpenFile>), Errno> {
        let attributes = Attributes {
            uid: who.uid,
            gid: who.gid,
            ..Attributes::new(S_IFIFO | 0o600, self.time(now_ns))
        };
        let node = Node::Pipe(Pipe::new(&self.wakes));
        let inode = self.volume.create(node, attributes);
        let inode = inode.map_err(|_| Errno::ENFILE)?;
        let place = self.nowhere(inode);
        Ok((
            OpenFile::new(place.clone(), flags & !O_DIRECT, None),
            OpenFile::new(place, flags | O_WRONLY, None),
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
        let new = || self.volume.new_number();
        let number = match &object {
            Object::Process(process) => process.exit.number(new),
            _ => new(),
        };
        let node = Node::Object(object);
        let inode = self.volume.create_numbered(number, node, attributes);
        let inode = inode.map_err(|_| Errno::ENFILE)?;
        Ok(OpenFile::new(self.nowhere(inode), flags, None))
    }

    /// A process as a file (pidfd_open(2)).
    ///
    /// # Errors
    /// ENFILE.
    pub(crate) fn process_handle(
        &self,
        pid: u32,
        exit: Arc<Exit>,
        now_ns: u64,
    ) -> Result<Arc<OpenFile>, Errno> {
        let process = Object::Process(ProcessHandle {
            pid,
            thread: None,
            exit,
        });
        self.new_object(process, 0o600, O_RDWR, now_ns)
    }

    /// The loopback of this node.
    pub(super) fn network(&self) -> &Arc<Network> {
        &self.network
    }

    /// Frees sockets that nobody can reach any more.
    pub(crate) fn collect_sockets(&self) {
        self.network.collect();
    }

    /// The alarms of this node.
    pub fn alarms(&self) -> &Arc<Alarms> {
        &self.alarms
    }

    /// A setting of queues of POSIX below /proc/sys.
    pub(crate) fn queue_setting(&self, name: &str) -> Option<alloc::string::String> {
        let value = self.queues.setting(name)?;
        Some(alloc::format!("{value}\n"))
    }

    /// A write to such a setting.
    pub(crate) fn set_queues(&self, name: &str, text: &str) -> Result<(), Errno> {
        self.queues.set(name, text)
    }

    /// Which groups' members may have sockets that ask whether somebody is there.
    pub(crate) fn askers(&self) -> alloc::string::String {
        self.network.askers()
    }

    /// A write to that setting.
    pub(crate) fn set_askers(&self, text: &str) -> Result<(), Errno> {
        self.network.set_askers(text)
    }

    /// Where queues of this node report to.
    pub(crate) fn wakes(&self) -> &Wakes {
        &self.wakes
    }

    pub(super) fn boot_time(&self) -> Timespec {
        Timespec::from_ns(self.boot_unix_ns)
    }

    /// The wall clock at a monotonic time.
    pub fn time(&self, now_ns: u64) -> Timespec {
        Timespec::from_ns(self.boot_unix_ns.saturating_add(now_ns))
    }

    /// What has happened to files whose owners are to be told.
    pub(super) fn posts(&self) -> &Arc<Posts> {
        &self.posts
    }

    /// The signals that owners of files are to get for what has happened.
    pub fn take_posts(&self, asker: &super::Asker) -> Vec<FileNotice> {
        self.posts.take(|file| file.ready(asker))
    }

    /// Whether there are none.
    pub fn has_no_posts(&self) -> bool {
        self.posts.is_empty()
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
    pub fn lookup(&self, path: &[u8]) -> Result<Place, Errno> {
        let state = FileState::new(self);
        let root = Who::default();
        Ok(self.locate(&state, &Nobody, 0, &root, path)?.place)
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
        who: &Who,
        path: &[u8],
    ) -> Result<Located, Errno> {
        let viewer = Viewer {
            view,
            state,
            pid,
            tid: pid,
        };
        let walker = Walker {
            fs: self,
            viewer,
            who,
            resolve: 0,
        };
        let found = walker.walk(&state.cwd(), path, Follow::Always)?;
        let path = found.path()?;
        let place = found.existing()?;
        Ok(Located { place, path })
    }

    /// Whether a path leads to a symbolic link, which is not followed.
    ///
    /// # Errors
    /// As [`FileSystem::locate`].
    pub fn is_link(
        &self,
        (state, view, pid): (&FileState, &dyn ProcView, u32),
        who: &Who,
        path: &[u8],
    ) -> Result<bool, Errno> {
        let walker = Walker {
            fs: self,
            viewer: Viewer {
                view,
                state,
                pid,
                tid: pid,
            },
            who,
            resolve: 0,
        };
        let found = walker
            .walk(&state.cwd(), path, Follow::IfSlash)?
            .existing()?;
        Ok(found.mode() & S_IFMT == S_IFLNK)
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
        who: &Who,
        path: &[u8],
    ) -> Result<Located, Errno> {
        let located = self.locate(state, view, pid, who, path)?;
        if !located.place.is_file() || located.place.is_not_executed() {
            return Err(Errno::EACCES);
        }
        who.check(&located.place, EXECUTE)?;
        Ok(located)
    }

    /// What `statfs` tells of the file system an inode is in (magic numbers: `linux/magic.h`).
    pub(super) fn statistics(&self, place: &Place) -> Statfs {
        let mount = place.mount.statfs_flags();
        let kind = match place.node() {
            Node::Proc(_) => 0x9fa0,
            Node::Object(Object::Socket(_)) => 0x534f_434b,
            Node::Object(Object::Process(_)) => 0x5049_4446,
            Node::Object(_) => 0x0904_1934,
            Node::Pipe(pipe) if !pipe.named => 0x5049_5045,
            _ if Arc::ptr_eq(&place.mount.tree, &self.sys) => 0x6265_6572,
            _ => 0x0102_1994,
        };
        if kind != 0x0102_1994 {
            return Statfs {
                kind,
                mount,
                ..Statfs::default()
            };
        }
        let (all, used) = share();
        let left = all.saturating_sub(used);
        let volume = place.volume().unwrap_or(&self.volume);
        let (blocks, free) = match &volume.pages {
            Some(pages) if pages.limit() != u64::MAX => {
                let free = pages.limit().saturating_sub(pages.used());
                (pages.limit(), free.min(left))
            }
            Some(pages) => (left + pages.used(), left),
            None => (all, left),
        };
        let inodes = volume.inodes.limit();
        let free_inodes = match &volume.pages {
            Some(_) => inodes.saturating_sub(volume.inodes.used()),
            None => inodes.saturating_sub(self.counts.live()),
        };
        Statfs {
            kind,
            blocks,
            free,
            inodes,
            free_inodes,
            mount,
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
