//! Descriptors in a journal: what of them is still there when their home has booted again.
//!
//! Law: a descriptor means what it meant, or it says EIO. What was a device or the console is opened again; a file of
//! the boot image, too, if its contents are the same and it is known for certain where its cursor is. Everything else was
//! in home's memory, and is lost.

use super::info::ShownLock;
use super::inode::{Device, Inode};
use super::locks::Owner;
use super::mounts::Place;
use super::open::{FileState, OpenFile};
use super::tree::FileSystem;
use super::tty::End;
use abi::Errno;
use abi::layout::{O_ACCMODE, O_PATH, O_RDONLY};
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// Where cursors are, by open file, as far as the journal is to know: `None` if they have moved since it was told.
pub(crate) type Cursors = BTreeMap<u64, Option<u64>>;

/// One open file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Kept {
    /// The console, with these flags.
    Console(u32),
    /// A device by its path, with these flags.
    Device(Vec<u8>, u32),
    /// A file of the boot image that is only read: its contents, flags, and cursor.
    Image([u8; 32], u32, u64),
    Lost,
    /// A file or a directory by its path, flags, and cursor: only in checkpoints, as a journal outlives the files of its home.
    Named(Vec<u8>, u32, u64),
}

/// What the journal has of the files of a process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeptFiles {
    files: Vec<Kept>,
    /// Descriptor, which of the files, and whether execve(2) closes it.
    rows: Vec<(u32, u32, bool)>,
    directory: Vec<u8>,
    root: Vec<u8>,
    umask: u32,
}

/// The path of a directory; empty if what it is mounted by is gone when home has booted again.
fn kept_path(place: &Place) -> Vec<u8> {
    match place.is_of_boot() {
        true => place.shown_path().unwrap_or_default(),
        false => Vec::new(),
    }
}

fn kept(file: &OpenFile, cursor: Option<u64>) -> Kept {
    let flags = file.flags();
    if flags & O_PATH != 0 || file.is_lost() {
        return Kept::Lost;
    }
    match file.inode().device() {
        Some(Device::Console | Device::Serial) if file.terminal().is_some() => {
            return Kept::Console(flags);
        }
        Some(Device::Null | Device::Zero | Device::Full | Device::Random | Device::Urandom)
            if file.place().is_of_boot() =>
        {
            return Kept::Device(file.describe(), flags);
        }
        _ => {}
    }
    let reads = flags & O_ACCMODE == O_RDONLY;
    match (file.inode().content_hash(), cursor) {
        (Some(hash), Some(cursor)) if reads => Kept::Image(hash, flags, cursor),
        _ => Kept::Lost,
    }
}

/// Whether it can be opened again by its path, and is the same then.
fn is_plain(inode: &Inode) -> bool {
    inode.is_file() || inode.is_directory()
}

/// The file with its cursor there.
fn at(file: Arc<OpenFile>, cursor: u64) -> Arc<OpenFile> {
    file.cursor().offset = cursor;
    file
}

/// As a checkpoint has it, which is read while files still have their names.
fn in_checkpoint(file: &OpenFile, fs: &FileSystem) -> Kept {
    let (flags, cursor) = (file.flags(), file.offset());
    let path = file.describe();
    let same = fs
        .lookup(&path)
        .is_ok_and(|inode| inode.is_same(file.inode()));
    match kept(file, Some(cursor)) {
        Kept::Lost if is_plain(file.inode()) && same && flags & O_PATH == 0 => {
            Kept::Named(path, flags, cursor)
        }
        kept => kept,
    }
}

/// Descriptors up to this one, if they cannot be had again, become those of who begins a process again from a checkpoint.
const STANDARD: u32 = 2;

impl FileState {
    /// What a checkpoint has of this.
    ///
    /// # Errors
    /// In words, what of it nobody could have again.
    pub(crate) fn in_checkpoint(&self, pid: u32, fs: &FileSystem) -> Result<KeptFiles, String> {
        let path = |place: &Place| place.shown_path().unwrap_or_default();
        let mut kept_files = KeptFiles {
            directory: path(&self.cwd()),
            root: path(&self.root()),
            umask: self.umask(),
            ..KeptFiles::default()
        };
        if self.shares_table() {
            return Err("it shares its descriptors with another process".to_string());
        }
        let mut numbers: BTreeMap<u64, u32> = BTreeMap::new();
        for (fd, row) in (0..).zip(self.rows().iter()) {
            let Some(row) = row else { continue };
            let file = &row.file;
            let what = in_checkpoint(file, fs);
            let shown = || String::from_utf8_lossy(&file.describe()).into_owned();
            if what == Kept::Lost && fd > STANDARD {
                return Err(format!(
                    "descriptor {fd} is {}, which a checkpoint cannot hold",
                    shown()
                ));
            }
            let own =
                |lock: &ShownLock| lock.pid == pid || lock.owner == Owner::Open(file.identity());
            if file.inode().shown_locks().iter().any(own) {
                return Err(format!("it holds a lock on {}", shown()));
            }
            let index = *numbers.entry(file.identity()).or_insert_with(|| {
                kept_files.files.push(what);
                kept_files.files.len() as u32 - 1
            });
            kept_files.rows.push((fd, index, row.close_on_exec));
        }
        Ok(kept_files)
    }

    /// The standard descriptors, for somebody who has none.
    pub(crate) fn standard_files(&self) -> Vec<(u32, Arc<OpenFile>)> {
        let file = |fd: u32| Some((fd, self.get(fd).ok()?));
        (0..=STANDARD).filter_map(file).collect()
    }

    /// Takes these for those of its own that are lost; whether none is lost then.
    pub(crate) fn make_good(&mut self, with: Vec<(u32, Arc<OpenFile>)>) -> bool {
        let lost = |state: &FileState, fd: u32| {
            let rows = state.rows();
            let row = rows.get(fd as usize)?.as_ref()?;
            row.file.is_lost().then_some(row.close_on_exec)
        };
        for (fd, file) in with {
            if let Some(close_on_exec) = lost(self, fd) {
                self.put(fd, file, close_on_exec);
            }
        }
        let rows = self.rows();
        rows.iter().flatten().all(|row| !row.file.is_lost())
    }

    /// What is to be kept of this. `exact`: cursors are where they are, as the process stands still; else one that has
    /// moved since it was told is not followed any more, so that not each read has to be written down.
    pub(crate) fn to_be_kept(&self, exact: bool, cursors: &mut Cursors) -> KeptFiles {
        let rows = self.rows();
        let mut known = Cursors::new();
        let mut kept_files = KeptFiles {
            directory: kept_path(&self.cwd()),
            root: kept_path(&self.root()),
            umask: self.umask(),
            ..KeptFiles::default()
        };
        let mut numbers: BTreeMap<u64, u32> = BTreeMap::new();
        for (fd, row) in (0..).zip(rows.iter()) {
            let Some(row) = row else { continue };
            let file = &row.file;
            let index = *numbers.entry(file.identity()).or_insert_with(|| {
                let same = |other: &&Option<super::Descriptor>| {
                    let other = other.as_ref();
                    other.is_some_and(|other| Arc::ptr_eq(&other.file, file))
                };
                let own = rows.iter().filter(same).count();
                let alone = Arc::strong_count(file) == own && !self.shares_table();
                let at = file.offset();
                let before = cursors.get(&file.identity()).copied();
                let cursor = match before {
                    _ if !alone => None,
                    Some(before) if !exact => before.filter(|before| *before == at),
                    _ => Some(at),
                };
                known.insert(file.identity(), cursor);
                kept_files.files.push(kept(file, cursor));
                kept_files.files.len() as u32 - 1
            });
            kept_files.rows.push((fd, index, row.close_on_exec));
        }
        *cursors = known;
        kept_files
    }
}

impl FileSystem {
    /// Whether the directories are there in which a process was.
    pub(crate) fn has_directories_of(&self, kept: &KeptFiles) -> bool {
        let is_there = |path| self.lookup(path).is_ok_and(|inode| inode.is_directory());
        is_there(&kept.root) && is_there(&kept.directory)
    }

    /// Opens again what can be; the descriptors of the rest are lost.
    pub(crate) fn open_again(&self, kept: &KeptFiles) -> (FileState, Vec<u32>) {
        let mut state = FileState::new(self);
        let directory = |path: &[u8]| self.lookup(path).ok().filter(|inode| inode.is_directory());
        match directory(&kept.root) {
            Some(root) => state.set_root(root),
            // Who had less than all to see does not see all now.
            None => {
                let nothing = self.nothing();
                state.set_root(nothing.clone());
                state.set_cwd(nothing);
            }
        }
        if let Some(cwd) = directory(&kept.directory) {
            state.set_cwd(cwd);
        }
        state.set_umask(kept.umask & 0o777);
        let files: Vec<_> = kept.files.iter().map(|file| self.again(file)).collect();
        let mut lost = Vec::new();
        for (fd, index, close_on_exec) in &kept.rows {
            let Some(file) = files.get(*index as usize) else {
                continue;
            };
            if *fd >= super::MAX_DESCRIPTORS {
                continue;
            }
            if file.is_lost() {
                lost.push(*fd);
            }
            state.put(*fd, file.clone(), *close_on_exec);
        }
        (state, lost)
    }

    fn again(&self, kept: &Kept) -> Arc<OpenFile> {
        let opened = match kept {
            Kept::Console(flags) => self.console_again(*flags),
            Kept::Device(path, flags) => self.device_again(path, *flags),
            Kept::Image(hash, flags, cursor) => self.by_hash(hash).map(|inode| {
                let file = OpenFile::new(self.root_place().beside(inode), *flags, None);
                at(file, *cursor)
            }),
            Kept::Named(path, flags, cursor) => {
                let place = self.lookup(path).ok().filter(|place| is_plain(place));
                let file = |place| OpenFile::new(place, *flags, self.place_of(path));
                place.map(|place| at(file(place), *cursor))
            }
            Kept::Lost => None,
        };
        opened.unwrap_or_else(|| OpenFile::lost(self.root_place()))
    }

    fn console_again(&self, flags: u32) -> Option<Arc<OpenFile>> {
        let console = self.open_console();
        let inode = console.place().clone();
        let place = self.place_of(b"/dev/console");
        let end = End::line(self.console(), true).ok()?;
        Some(OpenFile::with_terminal(inode, flags, place, Some(end)))
    }

    fn device_again(&self, path: &[u8], flags: u32) -> Option<Arc<OpenFile>> {
        let inode = self.lookup(path).ok()?;
        inode.device()?;
        Some(OpenFile::new(inode, flags, self.place_of(path)))
    }

    /// Directory and name of a path.
    fn place_of(&self, path: &[u8]) -> Option<super::mounts::Named> {
        let at = path.iter().rposition(|byte| *byte == b'/')?;
        let parent = self.lookup(&path[..at.max(1)]).ok()?;
        Some((parent.inode, path[at + 1..].to_vec()))
    }
}

/// What every use of a lost descriptor says.
pub(super) const LOST: Errno = Errno::EIO;
