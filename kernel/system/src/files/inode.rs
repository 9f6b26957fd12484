//! Inodes: files, directories, links, devices, pipes and nodes of /proc behind one counted handle.
//!
//! Law: a directory holds its children, a child directory knows its parent weakly; so the last handle
//! frees a file however it went out of the tree, and a file that is still open lives on without a
//! name. Entries of a directory keep their cookie, so that a listing survives changes in between.

use super::locks::Locks;
use super::mounts::Place;
use super::objects::{Object, queue};
use super::pipe::Pipe;
use super::proc::ProcNode;
use super::storage::{FileData, PageError};
use super::volume::Volume;
use abi::Errno;
use abi::layout::{
    S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG, Stat, Timespec, device_number,
};
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};
use machine::Frame;
use spin::{Mutex, MutexGuard};

/// A counted handle of an inode.
pub type InodeRef = Arc<Inode>;

/// The character devices there are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Device {
    /// Swallows everything and is empty.
    Null,
    /// Swallows everything and is an endless row of zeros.
    Zero,
    /// Is always full, and an endless row of zeros.
    Full,
    /// Random bytes.
    Random,
    /// Random bytes; the same here.
    Urandom,
    /// The terminal that controls the caller.
    Tty,
    /// The console of this node.
    Console,
    /// The serial line that the console is.
    Serial,
    /// Makes pseudo-terminals: every open is the master of a new one.
    Ptmx,
    /// The line of the pseudo-terminal of this number.
    Pts(u32),
}

/// The devices with their names in /dev, numbers and permission bits (`Documentation/admin-guide/devices.txt`).
pub(super) const DEVICES: [(&str, Device, u32, u32, u32); 9] = [
    ("null", Device::Null, 1, 3, 0o666),
    ("zero", Device::Zero, 1, 5, 0o666),
    ("full", Device::Full, 1, 7, 0o666),
    ("random", Device::Random, 1, 8, 0o666),
    ("urandom", Device::Urandom, 1, 9, 0o666),
    ("tty", Device::Tty, 5, 0, 0o666),
    ("console", Device::Console, 5, 1, 0o600),
    ("ttyS0", Device::Serial, 4, 64, 0o620),
    ("ptmx", Device::Ptmx, 5, 2, 0o666),
];
/// Major number of the lines of pseudo-terminals, 256 of them to each.
const PTS_MAJOR: u32 = 136;

impl Device {
    pub(super) fn number(self) -> u64 {
        if let Device::Pts(number) = self {
            return device_number(PTS_MAJOR + number / 256, number % 256);
        }
        DEVICES
            .iter()
            .find(|row| row.1 == self)
            .map_or(0, |row| device_number(row.2, row.3))
    }

    /// Whether opening it opens a terminal.
    pub fn is_terminal(self) -> bool {
        use Device::{Console, Ptmx, Pts, Serial, Tty};
        matches!(self, Tty | Console | Serial | Ptmx | Pts(_))
    }
}

/// What is known of an inode beside its contents.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Attributes {
    /// Type (`S_IFMT`) and permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Names; for a directory 2 and one per child directory.
    pub links: u32,
    /// Last read, as far as it is kept: reading does not change it.
    pub accessed: Timespec,
    /// Last write.
    pub modified: Timespec,
    /// Last change of these attributes.
    pub changed: Timespec,
    /// When it was made.
    pub born: Timespec,
}

impl Attributes {
    /// Fresh attributes of root's.
    pub(super) fn new(mode: u32, now: Timespec) -> Attributes {
        Attributes {
            mode,
            uid: 0,
            gid: 0,
            links: if mode & S_IFMT == S_IFDIR { 2 } else { 1 },
            accessed: now,
            modified: now,
            changed: now,
            born: now,
        }
    }
}

/// What an inode is.
pub(super) enum Node {
    File(Mutex<FileData>),
    Directory(Mutex<Directory>),
    Link(Vec<u8>),
    Device(Device),
    Pipe(Pipe),
    Object(Object),
    /// A device nobody drives, by its number, or a socket's name: it can be made and not opened.
    Special(u64),
    /// The name of a socket.
    Name(Weak<super::socket::Socket>),
    Proc(ProcNode),
}

/// The names in a directory.
pub(super) struct Directory {
    /// Itself for the root.
    pub(super) parent: Weak<Inode>,
    /// Set by `rmdir`: nothing may be created in it any more.
    pub(super) removed: bool,
    /// Where it was when it was removed.
    pub(super) last_path: Vec<u8>,
    /// Only the kernel makes names in it: /dev/pts.
    pub(super) is_closed: bool,
    names: BTreeMap<Vec<u8>, u64>,
    entries: BTreeMap<u64, (Vec<u8>, InodeRef)>,
    next_cookie: u64,
}

impl Directory {
    pub(super) fn new(parent: Weak<Inode>) -> Directory {
        Directory {
            parent,
            removed: false,
            last_path: Vec::new(),
            is_closed: false,
            names: BTreeMap::new(),
            entries: BTreeMap::new(),
            next_cookie: 3,
        }
    }

    pub(super) fn get(&self, name: &[u8]) -> Option<InodeRef> {
        let cookie = self.names.get(name)?;
        Some(self.entries[cookie].1.clone())
    }

    /// Adds a name, replacing what had it.
    pub(super) fn set(&mut self, name: &[u8], inode: InodeRef) {
        self.take(name);
        self.names.insert(name.to_vec(), self.next_cookie);
        self.entries
            .insert(self.next_cookie, (name.to_vec(), inode));
        self.next_cookie += 1;
    }

    pub(super) fn take(&mut self, name: &[u8]) -> Option<InodeRef> {
        let cookie = self.names.remove(name)?;
        self.entries.remove(&cookie).map(|entry| entry.1)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// All its files, which it has no longer; nothing comes into it any more.
    pub(super) fn take_apart(&mut self) -> Vec<InodeRef> {
        self.removed = true;
        self.names.clear();
        let entries = core::mem::take(&mut self.entries).into_values();
        entries.map(|entry| entry.1).collect()
    }

    /// The entries behind the cookie `after`, ascending.
    pub(super) fn list(&self, after: u64) -> impl Iterator<Item = (u64, &[u8], &InodeRef)> {
        self.entries
            .range(after.saturating_add(1)..)
            .map(|(&cookie, (name, inode))| (cookie, name.as_slice(), inode))
    }

    pub(super) fn name_of(&self, child: &InodeRef) -> Option<&[u8]> {
        let mut entries = self.entries.values();
        let entry = entries.find(|entry| Arc::ptr_eq(&entry.1, child))?;
        Some(&entry.0)
    }
}

/// Hands out inode numbers and counts the inodes that live.
pub(super) struct InodeCounts {
    next: AtomicU64,
    live: AtomicU64,
    /// Files with locks, perhaps some that have none any more.
    locked: Mutex<Vec<Weak<Inode>>>,
    /// Who watches files.
    pub(super) notify: Arc<super::objects::Notify>,
}

/// Most inodes at a time, those of the archive included.
pub(super) const MAX_INODES: u64 = 1 << 18;

impl InodeCounts {
    pub(super) fn new() -> InodeCounts {
        InodeCounts {
            next: AtomicU64::new(1),
            live: AtomicU64::new(0),
            locked: Mutex::default(),
            notify: Arc::default(),
        }
    }

    pub(super) fn live(&self) -> u64 {
        self.live.load(Ordering::Relaxed)
    }

    /// All files with locks.
    pub(super) fn locked(&self) -> Vec<InodeRef> {
        self.locked
            .lock()
            .iter()
            .filter_map(Weak::upgrade)
            .collect()
    }

    /// One more inode, or `ENOSPC` when there are too many.
    pub(super) fn take(&self) -> Result<(), Errno> {
        if self.live() >= MAX_INODES {
            return Err(Errno::ENOSPC);
        }
        self.live.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// One less.
    pub(super) fn give(&self) {
        self.live.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Volume {
    /// A number that no other inode has or will have.
    pub(super) fn new_number(&self) -> u64 {
        self.counts.next.fetch_add(1, Ordering::Relaxed)
    }

    /// A new inode, or `ENOSPC` when there are too many.
    pub(super) fn create(
        self: &Arc<Self>,
        node: Node,
        attributes: Attributes,
    ) -> Result<InodeRef, Errno> {
        self.create_numbered(self.new_number(), node, attributes)
    }

    /// As [`Volume::create`], with a number that was kept for it.
    pub(super) fn create_numbered(
        self: &Arc<Self>,
        number: u64,
        node: Node,
        attributes: Attributes,
    ) -> Result<InodeRef, Errno> {
        self.take_inode()?;
        let volume = Some(self.clone());
        Ok(Arc::new(Inode::new(number, node, attributes, volume)))
    }
}

/// A file of any kind.
pub struct Inode {
    number: u64,
    attributes: Mutex<Attributes>,
    node: Node,
    /// Open files that may write (positive), or programs that run from it (negative): never both,
    /// as in Linux (`i_writecount`).
    users: AtomicI64,
    /// Open files of it.
    opened: AtomicI64,
    /// Mounts that it is the mount point of, in any mount.
    mounts: AtomicU32,
    /// How long what is written to it is expected to be of use (`F_SET_RW_HINT`): kept and told.
    write_hint: AtomicU64,
    /// Locks of fcntl(2) and flock(2), once there have been some.
    locks: Mutex<Option<Box<Locks>>>,
    /// Extended attributes by name.
    extended: Mutex<BTreeMap<Vec<u8>, Vec<u8>>>,
    volume: Option<Arc<Volume>>,
}

impl Drop for Inode {
    fn drop(&mut self) {
        if let Some(volume) = &self.volume {
            volume.give_inode();
            volume.counts.notify.gone(self.number);
        }
    }
}

impl Inode {
    /// An inode that nobody has used yet; one of a volume is counted there by who makes it.
    fn new(number: u64, node: Node, attributes: Attributes, volume: Option<Arc<Volume>>) -> Inode {
        Inode {
            number,
            attributes: Mutex::new(attributes),
            node,
            users: AtomicI64::new(0),
            opened: AtomicI64::new(0),
            mounts: AtomicU32::new(0),
            write_hint: AtomicU64::new(0),
            locks: Mutex::new(None),
            extended: Mutex::default(),
            volume,
        }
    }

    /// The root directory, which is its own parent.
    pub(super) fn root(volume: &Arc<Volume>, attributes: Attributes) -> Result<InodeRef, Errno> {
        volume.take_inode()?;
        Ok(Arc::new_cyclic(|root| {
            let node = Node::Directory(Mutex::new(Directory::new(root.clone())));
            Inode::new(volume.new_number(), node, attributes, Some(volume.clone()))
        }))
    }

    /// A passing handle of a node of /proc.
    pub(super) fn proc(node: ProcNode, owner: (u32, u32), now: Timespec) -> InodeRef {
        let attributes = Attributes {
            uid: owner.0,
            gid: owner.1,
            ..Attributes::new(node.mode(), now)
        };
        let number = node.inode_number();
        Arc::new(Inode::new(number, Node::Proc(node), attributes, None))
    }

    /// A directory that was removed.
    pub(super) fn removed(attributes: Attributes) -> InodeRef {
        let mut directory = Directory::new(Weak::new());
        directory.removed = true;
        let attributes = Attributes {
            links: 0,
            ..attributes
        };
        let node = Node::Directory(Mutex::new(directory));
        Arc::new(Inode::new(0, node, attributes, None))
    }

    /// Whether somebody watches it, as far as that is known without looking: whether any file is watched.
    pub(super) fn is_watched(&self) -> bool {
        let volume = self.volume.as_ref();
        volume.is_some_and(|volume| volume.counts.notify.is_watching())
    }

    /// Tells those who watch it, or a directory that it is in, what has happened to it.
    pub(super) fn tell(&self, event: u32) {
        self.tell_opened(event, None);
    }

    /// As [`Inode::tell`], for a file that was opened at a place.
    pub(super) fn tell_opened(&self, event: u32, place: Option<(&Inode, &[u8])>) {
        if let Some(volume) = &self.volume {
            volume.counts.notify.tell(self, event, place);
        }
    }

    /// Tells those only who watch it itself.
    pub(super) fn tell_itself(&self, event: u32) {
        if let Some(volume) = &self.volume {
            volume.counts.notify.tell_itself(self, event);
        }
    }

    pub(super) fn extended(&self) -> MutexGuard<'_, BTreeMap<Vec<u8>, Vec<u8>>> {
        self.extended.lock()
    }

    /// It is about to have its first lock.
    pub(super) fn note_locked(self: &Arc<Self>) {
        if let Some(volume) = &self.volume {
            let mut locked = volume.counts.locked.lock();
            let has_locks = |inode: &Weak<Inode>| {
                let inode = inode.upgrade();
                inode
                    .is_some_and(|inode| !Arc::ptr_eq(&inode, self) && inode.locks.lock().is_some())
            };
            locked.retain(has_locks);
            locked.push(Arc::downgrade(self));
        }
    }

    pub(super) fn locks(&self) -> &Mutex<Option<Box<Locks>>> {
        &self.locks
    }

    pub(super) fn node(&self) -> &Node {
        &self.node
    }

    /// Whether somebody has it open for writing.
    pub fn has_writers(&self) -> bool {
        self.users.load(Ordering::Relaxed) > 0
    }

    /// Whether it is sealed against being written.
    pub fn is_sealed(&self) -> bool {
        self.data().is_some_and(|data| data.check_write().is_err())
    }

    /// Whether a program runs from it, so that it may not be written.
    pub fn is_executing(&self) -> bool {
        self.users.load(Ordering::Relaxed) < 0
    }

    /// How many open files of it there are.
    pub(super) fn open_files(&self) -> i64 {
        self.opened.load(Ordering::Relaxed)
    }

    /// One more, or one less.
    pub(super) fn count_open(&self, step: i64) {
        self.opened.fetch_add(step, Ordering::Relaxed);
    }

    /// Whether something may be mounted on it: of nodes of /proc, whose handles pass, that is not known.
    pub(super) fn is_covered(&self) -> bool {
        matches!(self.node, Node::Proc(_)) || self.mounts.load(Ordering::Relaxed) > 0
    }

    /// One more mount on it.
    pub(super) fn count_mount(&self) {
        self.mounts.fetch_add(1, Ordering::Relaxed);
    }

    /// One less.
    pub(super) fn discount_mount(&self) {
        self.mounts.fetch_sub(1, Ordering::Relaxed);
    }

    /// The file system it is in, unless that is /proc.
    pub(super) fn volume(&self) -> Option<&Arc<Volume>> {
        self.volume.as_ref()
    }

    /// Where a directory was, if it was removed.
    pub(super) fn removed_path(&self) -> Option<Vec<u8>> {
        let directory = self.directory().filter(|directory| directory.removed);
        directory.map(|directory| directory.last_path.clone())
    }

    /// Unique in its file system while the inode lives.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Type (`S_IFMT`) and permission bits.
    pub fn mode(&self) -> u32 {
        self.attributes.lock().mode
    }

    /// Everything known beside the contents.
    pub fn attributes(&self) -> Attributes {
        *self.attributes.lock()
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut Attributes)) {
        change(&mut self.attributes.lock());
    }

    pub(super) fn touch(&self, now: Timespec) {
        self.change(|attributes| {
            attributes.modified = now;
            attributes.changed = now;
        });
    }

    /// Somebody who is not root has written to it: it is not run as somebody else any more.
    pub(super) fn lose_set_ids(&self) {
        if self.mode() & 0o6000 == 0 {
            return;
        }
        self.change(|held| {
            held.mode &= !0o4000;
            if held.mode & 0o010 != 0 {
                held.mode &= !0o2000;
            }
        });
    }

    /// Its contents were read: the time counts if it is older than a change, or than a day.
    pub(super) fn was_read(&self, now: Timespec) {
        const DAY: i64 = 24 * 60 * 60;
        self.change(|held| {
            let old = held.accessed;
            if old <= held.modified || old <= held.changed || now.seconds - old.seconds >= DAY {
                held.accessed = now;
            }
        });
    }

    /// See `F_GET_RW_HINT` of fcntl(2).
    pub(super) fn write_hint(&self) -> &AtomicU64 {
        &self.write_hint
    }

    /// Whether it is a directory, one of /proc included.
    pub fn is_directory(&self) -> bool {
        self.mode() & S_IFMT == S_IFDIR
    }

    /// Whether it is a regular file of the memory file system.
    pub fn is_file(&self) -> bool {
        matches!(self.node, Node::File(_))
    }

    /// The device it is, if it is one.
    pub fn device(&self) -> Option<Device> {
        match self.node {
            Node::Device(device) => Some(device),
            _ => None,
        }
    }

    /// With which error it refuses to be mapped, if it is asked itself and not passed over.
    pub fn late_mapping_error(&self) -> Option<Errno> {
        match &self.node {
            Node::Object(Object::Socket(_)) => Some(Errno::ENODEV),
            Node::Proc(node) if node.is_of_the_system() => Some(Errno::EIO),
            _ => None,
        }
    }

    /// Whether it has places to seek to, were it only one (`FMODE_LSEEK`).
    pub(super) fn seeks(&self) -> bool {
        match &self.node {
            Node::Pipe(_) | Node::Object(Object::Socket(_) | Object::Process(_)) => false,
            Node::Device(device) => !device.is_terminal(),
            _ => true,
        }
    }

    /// Whether sendfile(2) and splice(2) can take bytes of it, pipes and sockets apart (`splice_read`).
    pub(super) fn can_be_sent(&self) -> bool {
        match &self.node {
            Node::File(_) => true,
            Node::Proc(node) => node.can_be_sent(),
            Node::Device(device) => !device.is_terminal() && *device != Device::Null,
            _ => false,
        }
    }

    pub(super) fn directory(&self) -> Option<MutexGuard<'_, Directory>> {
        match &self.node {
            Node::Directory(directory) => Some(directory.lock()),
            _ => None,
        }
    }

    pub(super) fn data(&self) -> Option<MutexGuard<'_, FileData>> {
        match &self.node {
            Node::File(data) => Some(data.lock()),
            _ => None,
        }
    }

    pub(super) fn pipe(&self) -> Option<&Pipe> {
        match &self.node {
            Node::Pipe(pipe) => Some(pipe),
            _ => None,
        }
    }

    /// Bytes of a regular file, length of a link's text, a measure of a directory and of a queue; else 0.
    pub fn size(&self) -> u64 {
        match &self.node {
            Node::File(data) => data.lock().size(),
            Node::Link(text) => text.len() as u64,
            Node::Directory(directory) => 32 * directory.lock().names.len() as u64,
            Node::Object(Object::Queue(_)) => queue::FILE_SIZE,
            _ => 0,
        }
    }

    /// The hash that the boot archive's manifest gives, as long as the contents are unchanged.
    pub fn content_hash(&self) -> Option<[u8; 32]> {
        self.data()?.hash()
    }

    /// The frame of page `index` of a regular file, to be mapped for reading or privately. Later
    /// writes to the file are seen in it.
    ///
    /// # Errors
    /// See [`PageError`].
    pub fn page(&self, index: u64) -> Result<Frame, PageError> {
        self.data().ok_or(PageError::NotAFile)?.page(index)
    }

    /// The frames of the pages in `[from, to)` that are in memory, with their numbers.
    pub fn pages_there(&self, from: u64, to: u64, take: &mut dyn FnMut(u64, Frame)) {
        if let Some(mut data) = self.data() {
            data.pages_there(from, to, take);
        }
    }

    /// Takes the frames of all pages out of a regular file that nobody will use any more.
    pub fn take_pages(&self) -> Vec<(u64, Frame)> {
        self.data()
            .map(|mut data| data.take_pages())
            .unwrap_or_default()
    }

    /// Like [`Inode::page`], to be mapped shared and writable: the contents count as changed.
    ///
    /// # Errors
    /// See [`PageError`].
    pub fn page_for_write(&self, index: u64) -> Result<Frame, PageError> {
        let mut data = self.data().ok_or(PageError::NotAFile)?;
        let frame = data.page(index)?;
        data.expose();
        Ok(frame)
    }

    /// Reads from a regular file; returns how much there was.
    ///
    /// # Errors
    /// `EISDIR` or `EINVAL` if it is none.
    pub fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<usize, Errno> {
        match self.data() {
            Some(data) => Ok(data.read_at(offset, into)),
            None if self.is_directory() => Err(Errno::EISDIR),
            None => Err(Errno::EINVAL),
        }
    }

    /// Writes to a regular file, growing it; returns how much was written if memory ends.
    ///
    /// # Errors
    /// `EINVAL` if it is none, `EFBIG`, `ENOSPC`.
    pub fn write_at(&self, offset: u64, from: &[u8], now: Timespec) -> Result<usize, Errno> {
        let written = self.data().ok_or(Errno::EINVAL)?.write_at(offset, from)?;
        self.touch(now);
        Ok(written)
    }

    /// All bytes of a regular file of at most `limit` bytes.
    ///
    /// # Errors
    /// As [`Inode::read_at`]; `EFBIG` if it is longer, `ENOMEM`.
    pub fn read_all(&self, limit: usize) -> Result<Vec<u8>, Errno> {
        let size = self.size();
        if size > limit as u64 {
            return Err(Errno::EFBIG);
        }
        let mut bytes = buffer(size as usize)?;
        let length = self.read_at(0, &mut bytes)?;
        bytes.truncate(length);
        Ok(bytes)
    }

    /// What `stat` tells.
    pub fn status(&self) -> Stat {
        let attributes = self.attributes();
        let minor = match &self.node {
            Node::Proc(_) => 21,
            Node::Pipe(pipe) if !pipe.named => 12,
            Node::Object(_) => 14,
            _ => self.volume.as_ref().map_or(20, |volume| volume.minor()),
        };
        let blocks = self.data().map_or(0, |data| data.blocks());
        Stat {
            device: device_number(0, minor),
            inode: self.number,
            links: u64::from(attributes.links),
            mode: attributes.mode,
            uid: attributes.uid,
            gid: attributes.gid,
            special: match self.node {
                Node::Device(device) => device.number(),
                Node::Special(number) => number,
                _ => 0,
            },
            size: self.size(),
            blocks,
            accessed: attributes.accessed,
            modified: attributes.modified,
            changed: attributes.changed,
            born: (!matches!(self.node, Node::Proc(_))).then_some(attributes.born),
            mount: u64::from(minor),
            is_mount: false,
        }
    }
}

impl Inode {
    /// The process that a directory of /proc tells of.
    pub(super) fn process(&self) -> Option<u32> {
        match self.node {
            Node::Proc(node) => node.pid(),
            _ => None,
        }
    }
}

/// One user of an inode who excludes users of the other kind; see `ETXTBSY` in open(2) and execve(2).
struct Use {
    inode: InodeRef,
    step: i64,
}

impl Use {
    fn new(inode: &InodeRef, step: i64) -> Option<Use> {
        let join = |users: i64| (users.signum() != -step).then_some(users + step);
        let joined = inode
            .users
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, join);
        joined.ok().map(|_| Use {
            inode: inode.clone(),
            step,
        })
    }
}

impl Clone for Use {
    fn clone(&self) -> Use {
        self.inode.users.fetch_add(self.step, Ordering::Relaxed);
        Use {
            inode: self.inode.clone(),
            step: self.step,
        }
    }
}

impl Drop for Use {
    fn drop(&mut self) {
        self.inode.users.fetch_sub(self.step, Ordering::Relaxed);
    }
}

/// A program runs from a file: as long as this lives nobody opens it for writing.
#[derive(Clone)]
pub struct Executing {
    place: Place,
    #[expect(dead_code, reason = "held for its drop")]
    of: Use,
}

impl Executing {
    /// `None` while somebody has the file open for writing.
    pub fn new(place: &Place) -> Option<Executing> {
        let of = Use::new(place, -1)?;
        let place = place.clone();
        Some(Executing { place, of })
    }

    /// The file.
    pub fn place(&self) -> &Place {
        &self.place
    }
}

/// An open file may write: as long as this lives nobody executes it.
pub(super) struct Writing(#[expect(dead_code, reason = "held for its drop")] Use);

impl Writing {
    /// `None` while a program runs from the file.
    pub(super) fn new(inode: &InodeRef) -> Option<Writing> {
        Use::new(inode, 1).map(Writing)
    }
}

impl core::fmt::Debug for Inode {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let kind = match self.mode() & S_IFMT {
            S_IFREG => "file",
            S_IFDIR => "directory",
            S_IFLNK => "link",
            S_IFCHR => "device",
            S_IFIFO => "pipe",
            _ => "inode",
        };
        write!(f, "{kind} {}", self.number)
    }
}

/// A buffer of zeros, refused with `ENOMEM` instead of stopping the node.
pub(super) fn buffer(length: usize) -> Result<Vec<u8>, Errno> {
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(length).map_err(|_| Errno::ENOMEM)?;
    bytes.resize(length, 0);
    Ok(bytes)
}

impl crate::memory::SharedPages for Inode {
    fn page(&self, index: u64) -> Result<Frame, crate::memory::FetchStop> {
        self.page_for_write(index).map_err(|error| match error {
            PageError::NoMemory => crate::memory::FetchStop::NoMemory,
            _ => crate::memory::FetchStop::Bus,
        })
    }

    fn punch(&self, from: u64, to: u64) -> Result<(), Errno> {
        let mut data = self.data().ok_or(Errno::EINVAL)?;
        data.check_write()?;
        let at = |page: u64| page.saturating_mul(machine::PAGE_SIZE as u64);
        data.punch(at(from), at(to) - at(from))
    }

    fn written(&self, now: Timespec) {
        self.touch(now);
    }
}
