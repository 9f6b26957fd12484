//! Open files and descriptor tables.
//!
//! Law: a descriptor is a counted handle of an open file; duplicates and children share its offset and
//! flags. Closing is dropping: the last handle gives back the end of a pipe, which wakes the others.

use super::inode::{Inode, InodeRef, Node, Writing};
use super::locks::identity;
use super::mounts::{Named, Place, WritesBy};
use super::objects::notify::{IN_CLOSE_NOWRITE, IN_CLOSE_WRITE, NotifyFile};
use super::objects::{Asker, Item, Object, ProcessHandle};
use super::owner::{Asynchronous, Owner};
use super::pipe::{Form, Patience, PipeEnd, Side};
use super::proc::ProcNode;
use super::tree::FileSystem;
use super::tty::End;
use super::{MAX_DESCRIPTORS, USUAL_DESCRIPTORS};
use crate::wait::{Listener, WaitQueue};
use abi::Errno;
use abi::layout::{
    O_ACCMODE, O_APPEND, O_ASYNC, O_CLOEXEC, O_CREAT, O_DIRECT, O_EXCL, O_LARGEFILE, O_NOATIME,
    O_NOCTTY, O_NONBLOCK, O_PATH, O_RDONLY, O_RDWR, O_TRUNC, O_WRONLY, POLLIN, POLLOUT, POLLRDNORM,
    POLLWRNORM, Timespec,
};
use alloc::format;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use spin::{Mutex, MutexGuard};

/// What changes while a file is open.
pub(super) struct Cursor {
    pub(super) offset: u64,
    /// `O_*` as `F_GETFL` gives them.
    pub(super) flags: u32,
    /// Contents of a file of /proc since it was last read from its start.
    pub(super) snapshot: Vec<u8>,
    /// Whether they were read at all.
    pub(super) is_known: bool,
    /// Who hears of it by signals.
    pub(super) owner: Owner,
    /// With `O_ASYNC`, what tells the owner of every change.
    pub(super) asynchronous: Option<Arc<Asynchronous>>,
    /// What tells the owner of what happens in a directory, and by whose table it does.
    pub(super) watching: Option<(u64, Arc<NotifyFile>)>,
}

/// A file as one `open` made it.
pub struct OpenFile {
    /// Whose locks on the whole file are.
    identity: u64,
    place: Place,
    /// Directory and name it was opened by; `None` for pipes.
    name: Option<Named>,
    /// What it is called if it never had a name in the tree.
    title: Vec<u8>,
    access: u32,
    ends: [Option<PipeEnd>; 2],
    /// Keeps a regular file from being executed while it may be written.
    writing: Option<Writing>,
    /// Keeps what a regular file is mounted by from becoming read-only.
    writes_by: Option<WritesBy>,
    terminal: Option<End>,
    /// Openings for writing that a reader saw when it found no writer.
    lonely: Option<u64>,
    cursor: Mutex<Cursor>,
    /// Its places in sets of epoll(7).
    in_sets: Mutex<Vec<Weak<Item>>>,
    /// What it was is gone with the memory of its home.
    lost: bool,
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        let in_sets = core::mem::take(self.in_sets.get_mut());
        for item in in_sets.iter().filter_map(Weak::upgrade) {
            item.closed();
        }
        self.place.release_open(self.identity);
        if self.counts_as_open() {
            self.place.count_open(-1);
        }
        if self.access & O_PATH == 0 {
            let event = if self.writable() {
                IN_CLOSE_WRITE
            } else {
                IN_CLOSE_NOWRITE
            };
            let name = self.name.as_ref();
            let name = name.map(|(parent, name)| (&**parent, name.as_slice()));
            self.place.tell_opened(event, name);
        }
    }
}

impl OpenFile {
    /// Opens an inode with `O_*` flags, which were checked.
    pub(super) fn new(place: Place, flags: u32, name: Option<Named>) -> Arc<OpenFile> {
        OpenFile::with_terminal(place, flags, name, None)
    }

    /// The folder and the name that it was opened by.
    pub(super) fn name(&self) -> Option<&Named> {
        self.name.as_ref()
    }

    /// What stands for a file that is gone: nothing can be done with it but to close it.
    pub(super) fn lost(place: Place) -> Arc<OpenFile> {
        let title = b"(lost)".to_vec();
        let mut file = OpenFile::titled(place, O_PATH, None, title, None);
        if let Some(file) = Arc::get_mut(&mut file) {
            file.lost = true;
        }
        file
    }

    /// Whether it stands for a file that is gone.
    pub(super) fn is_lost(&self) -> bool {
        self.lost
    }

    /// A file that never had a name, with something to call it by.
    pub(super) fn nameless(place: Place, flags: u32, title: Vec<u8>) -> Arc<OpenFile> {
        OpenFile::titled(place, flags | O_LARGEFILE, None, title, None)
    }

    /// As [`OpenFile::new`], as an end of a terminal if there is one.
    pub(super) fn with_terminal(
        place: Place,
        flags: u32,
        name: Option<Named>,
        terminal: Option<End>,
    ) -> Arc<OpenFile> {
        // As 64-bit Linux shows it of every file opened by its name.
        let large = if name.is_some() && flags & O_PATH == 0 {
            O_LARGEFILE
        } else {
            0
        };
        OpenFile::titled(place, flags | large, name, Vec::new(), terminal)
    }

    fn titled(
        place: Place,
        flags: u32,
        name: Option<Named>,
        title: Vec<u8>,
        terminal: Option<End>,
    ) -> Arc<OpenFile> {
        let lonely = place.pipe().and_then(|pipe| match pipe.writer_openings() {
            (0, openings) if pipe.named => Some(openings),
            _ => None,
        });
        let mut file = OpenFile {
            identity: identity(),
            place,
            name,
            title,
            access: flags & (O_ACCMODE | O_PATH),
            ends: [None, None],
            writing: None,
            writes_by: None,
            terminal,
            lonely,
            cursor: Mutex::new(Cursor {
                offset: 0,
                flags: flags & !(O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_CLOEXEC),
                snapshot: Vec::new(),
                is_known: false,
                owner: Owner::default(),
                asynchronous: None,
                watching: None,
            }),
            in_sets: Mutex::new(Vec::new()),
            lost: false,
        };
        if file.readable() {
            file.ends[0] = PipeEnd::new(&file.place, Side::Read);
        }
        if file.writable() {
            file.ends[1] = PipeEnd::new(&file.place, Side::Write);
            // What memfd_create(2) has opened may be run all the same; what is opened by a name may not.
            if file.place.is_file() && file.name.is_some() {
                file.writes_by = Some(WritesBy::new(&file.place.mount));
                // What runs was refused before with ETXTBSY.
                file.writing = Writing::new(&file.place);
            }
        }
        if file.counts_as_open() {
            file.place.count_open(1);
        }
        Arc::new(file)
    }

    /// Whether it is one of those that a lease says there are not.
    fn counts_as_open(&self) -> bool {
        self.access & O_PATH == 0 && self.place.is_file()
    }

    /// What is open.
    pub fn inode(&self) -> &InodeRef {
        &self.place
    }

    /// The same, and through which mount.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Tells it from every other open file there has been.
    pub(crate) fn identity(&self) -> u64 {
        self.identity
    }

    /// Whether it was opened for reading.
    pub fn readable(&self) -> bool {
        self.access == O_RDONLY || self.access == O_RDWR
    }

    /// Whether it was opened for writing.
    pub fn writable(&self) -> bool {
        self.access == O_WRONLY || self.access == O_RDWR
    }

    /// The permission bits of the link to it in /proc/PID/fd, which tell what it is open for (proc(5)).
    pub(crate) fn link_rights(&self) -> u32 {
        let reads = if self.readable() { 0o500 } else { 0 };
        let writes = if self.writable() { 0o300 } else { 0 };
        reads | writes
    }

    /// The `O_*` flags as `F_GETFL` gives them.
    pub fn flags(&self) -> u32 {
        self.cursor.lock().flags
    }

    /// Where the next read or write happens, in bytes; a cookie for a directory.
    pub fn offset(&self) -> u64 {
        self.cursor.lock().offset
    }

    pub(super) fn cursor(&self) -> MutexGuard<'_, Cursor> {
        self.cursor.lock()
    }

    /// The descriptor by which its owner was promised to hear of every change.
    pub(super) fn asynchronous_fd(&self) -> Option<u32> {
        let cursor = self.cursor.lock();
        cursor.asynchronous.as_ref().map(|listener| listener.fd)
    }

    /// Switches `O_ASYNC`; files of which nobody could hear anything ignore it.
    pub(super) fn set_asynchronous(self: &Arc<Self>, on: bool, fd: u32, asker: &Asker) {
        let can = self.place.pipe().is_some() || self.terminal.is_some() || {
            let node = self.place.node();
            matches!(node, Node::Object(Object::Socket(_) | Object::Notify(_)))
        };
        if !can || on == self.asynchronous_fd().is_some() {
            return;
        }
        let listener = on.then(|| Asynchronous::new(self, fd, asker.fs.posts()));
        if let Some(listener) = &listener {
            self.listen(asker, &(Arc::downgrade(listener) as Weak<dyn Listener>));
        }
        let mut cursor = self.cursor.lock();
        cursor.flags = cursor.flags & !O_ASYNC | if on { O_ASYNC } else { 0 };
        cursor.asynchronous = listener;
    }

    pub(super) fn patience(&self, waiter: u32) -> Patience {
        if self.flags() & O_NONBLOCK == 0 {
            Patience::Wait(waiter)
        } else {
            Patience::Never
        }
    }

    /// What a write to a pipe is.
    pub(super) fn form(&self) -> Form {
        match self.flags() & O_DIRECT {
            0 => Form::Bytes,
            _ => Form::Packet,
        }
    }

    /// Its contents were read: the time of that is kept as `relatime` does (mount(8)).
    pub(crate) fn was_read(&self, now: Timespec) {
        if self.flags() & O_NOATIME == 0 {
            self.place.was_read(now);
        }
    }

    pub(super) fn appends(&self) -> bool {
        self.flags() & O_APPEND != 0
    }

    /// The end of a terminal that this is.
    pub(super) fn terminal(&self) -> Option<&End> {
        self.terminal.as_ref()
    }

    /// What is the case, as `POLL*` bits.
    pub fn ready(&self, asker: &Asker) -> i16 {
        if let Some(pipe) = self.place.pipe() {
            let read = self.readable().then(|| pipe.ready(Side::Read, self.lonely));
            let write = self.writable().then(|| pipe.ready(Side::Write, None));
            return read.unwrap_or(0) | write.unwrap_or(0);
        }
        if let Node::Object(object) = self.place.node() {
            return object.ready(asker);
        }
        match &self.terminal {
            Some(end) => end.ready(),
            None => POLLIN | POLLRDNORM | POLLOUT | POLLWRNORM,
        }
    }

    /// Whether there is anything to wait for: what is always ready cannot be put into a set.
    pub fn is_pollable(&self) -> bool {
        let node = self.place.node();
        matches!(node, Node::Pipe(_) | Node::Object(_)) || self.terminal.is_some()
    }

    /// Shows every queue that a change of [`OpenFile::ready`] wakes.
    fn queues(&self, asker: &Asker, each: &mut dyn FnMut(&WaitQueue)) {
        if let Some(pipe) = self.place.pipe() {
            pipe.queues().into_iter().for_each(each);
        } else if let Node::Object(object) = self.place.node() {
            object.queues(asker, each);
        } else if let Some(end) = &self.terminal {
            end.queues().into_iter().for_each(each);
        }
    }

    /// Registers `waiter` for the next change of [`OpenFile::ready`].
    pub fn watch(&self, asker: &Asker, waiter: u32) {
        self.queues(asker, &mut |queue| queue.wait(waiter));
    }

    /// Registers a listener for every change of [`OpenFile::ready`].
    pub fn listen(&self, asker: &Asker, listener: &Weak<dyn Listener>) {
        self.queues(asker, &mut |queue| queue.listen(listener));
    }

    /// Notes that it is in a set of epoll(7), which is told when it is closed.
    pub(super) fn enter_set(&self, item: &Arc<Item>) {
        let mut in_sets = self.in_sets.lock();
        in_sets.retain(|known| known.strong_count() > 0);
        in_sets.push(Arc::downgrade(item));
    }

    /// Whether it is a socket.
    pub fn is_socket(&self) -> bool {
        matches!(self.place.node(), Node::Object(Object::Socket(_)))
    }

    /// Whether it is an eventfd(2).
    pub fn is_event(&self) -> bool {
        matches!(self.place.node(), Node::Object(Object::Event(_)))
    }

    /// Whether it is a set of descriptors (epoll(7)).
    pub(super) fn is_event_set(&self) -> bool {
        matches!(self.place.node(), Node::Object(Object::Epoll(_)))
    }

    /// Whether read(2) is anything but an error for what it is.
    pub(crate) fn can_be_read(&self) -> bool {
        match self.place.node() {
            Node::Object(object) => object.can_be_read(),
            _ => true,
        }
    }

    /// The same of write(2).
    pub(crate) fn can_be_written(&self) -> bool {
        match self.place.node() {
            Node::Object(object) => object.can_be_written(),
            _ => true,
        }
    }

    /// The process that it stands for, if it is a pidfd.
    pub fn process(&self) -> Option<&ProcessHandle> {
        match self.place.node() {
            Node::Object(Object::Process(process)) => Some(process),
            _ => None,
        }
    }

    /// The process whose directory in /proc it is, if it is one: `pidfd_send_signal` takes that too.
    pub fn process_directory(&self) -> Option<u32> {
        match self.place.node() {
            Node::Proc(ProcNode::Process(pid)) if self.flags() & O_PATH == 0 => Some(*pid),
            _ => None,
        }
    }

    /// The path it was opened by, `pipe:[N]`, or a path with ` (deleted)` behind it.
    pub fn describe(&self) -> Vec<u8> {
        if let Node::Proc(node) = self.place.node()
            && let Some(title) = node.title()
        {
            return title;
        }
        let Some((parent, name)) = &self.name else {
            return match self.place.node() {
                _ if !self.title.is_empty() => self.title.clone(),
                Node::Pipe(_) => format!("pipe:[{}]", self.place.number()).into_bytes(),
                Node::Object(Object::Socket(_)) => {
                    format!("socket:[{}]", self.place.number()).into_bytes()
                }
                Node::Object(object) => object.label().into(),
                _ => (self.place.path()).unwrap_or_else(|_| b"(deleted)".to_vec()),
            };
        };
        let mut path = match self.place.is_directory() || self.place.is_mount_root() {
            true => return self.place.shown_path().unwrap_or_default(),
            false => (self.place.beside(parent.clone()).path()).map(|above| join(above, name)),
        }
        .unwrap_or_else(|_| join(b"/".to_vec(), name));
        let gone = self.place.attributes().links == 0
            || parent
                .directory()
                .is_some_and(|directory| directory.get(name).is_none());
        if gone {
            path.extend_from_slice(b" (deleted)");
        }
        path
    }
}

/// A directory's path and a name, joined.
pub(super) fn join(mut directory: Vec<u8>, name: &[u8]) -> Vec<u8> {
    if directory.last() != Some(&b'/') {
        directory.push(b'/');
    }
    directory.extend_from_slice(name);
    directory
}

/// One row of a descriptor table.
#[derive(Clone)]
pub struct Descriptor {
    /// The open file, shared with duplicates and children.
    pub file: Arc<OpenFile>,
    /// Whether `execve` closes it.
    pub close_on_exec: bool,
}

/// The rows of a descriptor table.
#[derive(Clone, Default)]
pub(super) struct Rows {
    list: Vec<Option<Descriptor>>,
    /// No descriptor below this one is free, so that who opens many does not look at all of them each time.
    full_below: usize,
}

impl core::ops::Deref for Rows {
    type Target = [Option<Descriptor>];

    fn deref(&self) -> &[Option<Descriptor>] {
        &self.list
    }
}

impl Rows {
    /// The lowest free descriptor from `least` on.
    fn free(&mut self, least: usize) -> usize {
        let from = least.max(self.full_below);
        let rest = self.list.get(from..).unwrap_or(&[]);
        let free = match rest.iter().position(Option::is_none) {
            Some(gap) => from + gap,
            None => self.list.len().max(from),
        };
        if least <= self.full_below {
            self.full_below = free;
        }
        free
    }

    fn put(&mut self, fd: usize, new: Descriptor) -> Option<Descriptor> {
        if self.list.len() <= fd {
            self.list.resize_with(fd + 1, || None);
        }
        self.list[fd].replace(new)
    }

    fn get_mut(&mut self, fd: usize) -> Option<&mut Descriptor> {
        self.list.get_mut(fd)?.as_mut()
    }

    fn take(&mut self, fd: usize) -> Option<Descriptor> {
        let taken = self.list.get_mut(fd)?.take();
        if taken.is_some() {
            self.full_below = self.full_below.min(fd);
        }
        taken
    }

    /// Takes out those that execve(2) closes.
    fn take_close_on_exec(&mut self) -> Vec<Descriptor> {
        self.full_below = 0;
        let close = |row: &mut Option<Descriptor>| row.take_if(|row| row.close_on_exec);
        self.list.iter_mut().filter_map(close).collect()
    }
}

/// A descriptor table, of one process or of several (`CLONE_FILES`). Dropping it closes everything.
struct Table {
    /// Whose record locks are.
    identity: u64,
    rows: Mutex<Rows>,
}

impl Table {
    fn new(rows: Rows) -> Arc<Table> {
        Arc::new(Table {
            identity: identity(),
            rows: Mutex::new(rows),
        })
    }

    /// What closing any descriptor of a file does beside dropping it.
    fn closed(&self, row: Option<Descriptor>) {
        if let Some(row) = row {
            row.file.place.release_process(self.identity);
            let by_this = |watching: &mut (u64, _)| watching.0 == self.identity;
            drop(row.file.cursor().watching.take_if(by_this));
            if let Node::Object(Object::Queue(queue)) = row.file.place.node() {
                queue.closed(self.identity);
            }
        }
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        for row in core::mem::take(&mut self.rows.get_mut().list) {
            self.closed(row);
        }
    }
}

/// Where a process is in the tree, which others may have in common with it (`CLONE_FS`).
#[derive(Clone)]
struct Standing {
    cwd: Place,
    root: Place,
    umask: u32,
}

/// What a child has in common with its parent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Common {
    /// The descriptor table (`CLONE_FILES`).
    pub table: bool,
    /// Directories and umask (`CLONE_FS`).
    pub place: bool,
}

/// What a process has of files. Cloning is what `fork` does; dropping the last that has it closes everything.
pub struct FileState {
    standing: Arc<Mutex<Standing>>,
    /// No file is written behind this (`RLIMIT_FSIZE`).
    pub largest_file: u64,
    table: Arc<Table>,
    limit: u32,
}

impl Clone for FileState {
    fn clone(&self) -> FileState {
        self.of_child(Common::default())
    }
}

impl FileState {
    /// Nothing open, in the root directory.
    pub fn new(fs: &FileSystem) -> FileState {
        FileState {
            standing: Arc::new(Mutex::new(Standing {
                cwd: fs.root_place(),
                root: fs.root_place(),
                umask: 0o022,
            })),
            largest_file: u64::MAX,
            table: Table::new(Rows::default()),
            limit: USUAL_DESCRIPTORS,
        }
    }

    /// What a child begins with: the same, or a copy. A child with a table of its own has no record locks.
    pub fn of_child(&self, common: Common) -> FileState {
        FileState {
            standing: match common.place {
                true => self.standing.clone(),
                false => Arc::new(Mutex::new(self.standing.lock().clone())),
            },
            largest_file: self.largest_file,
            table: match common.table {
                true => self.table.clone(),
                false => Table::new(self.rows().clone()),
            },
            limit: self.limit,
        }
    }

    /// What two processes have in common.
    pub fn common_with(&self, other: &FileState) -> Common {
        Common {
            table: Arc::ptr_eq(&self.table, &other.table),
            place: Arc::ptr_eq(&self.standing, &other.standing),
        }
    }

    /// From here on the descriptor table is this process's alone.
    pub fn unshare_table(&mut self) {
        if self.shares_table() {
            let rows = self.rows().clone();
            self.table = Table::new(rows);
        }
    }

    /// Whether another process has the same descriptor table.
    pub(super) fn shares_table(&self) -> bool {
        Arc::strong_count(&self.table) > 1
    }

    /// The rows of the descriptor table. Nothing may be dropped or asked for by number while they are held.
    pub(super) fn rows(&self) -> MutexGuard<'_, Rows> {
        self.table.rows.lock()
    }

    /// The current directory.
    pub fn cwd(&self) -> Place {
        self.standing.lock().cwd.clone()
    }

    /// Where paths with a leading slash begin, and no `..` leads out of.
    pub fn root(&self) -> Place {
        self.standing.lock().root.clone()
    }

    /// Permission bits that new files do not get.
    pub fn umask(&self) -> u32 {
        self.standing.lock().umask
    }

    pub(super) fn set_cwd(&self, cwd: Place) {
        let old = core::mem::replace(&mut self.standing.lock().cwd, cwd);
        drop(old);
    }

    pub(super) fn set_root(&self, root: Place) {
        let old = core::mem::replace(&mut self.standing.lock().root, root);
        drop(old);
    }

    /// Returns the old one.
    pub(super) fn set_umask(&self, umask: u32) -> u32 {
        core::mem::replace(&mut self.standing.lock().umask, umask)
    }

    /// As [`FileState::new`], with the console as descriptors 0, 1 and 2.
    pub fn standard(fs: &FileSystem) -> FileState {
        let state = FileState::new(fs);
        let file = fs.open_console();
        let row = Descriptor {
            file,
            close_on_exec: false,
        };
        for fd in 0..3 {
            state.rows().put(fd, row.clone());
        }
        state
    }

    /// The path of the current directory, as the link in /proc shows it.
    ///
    /// # Errors
    /// `ENAMETOOLONG`.
    pub fn directory(&self) -> Result<Vec<u8>, Errno> {
        self.cwd().shown_path()
    }

    /// The path of the current directory, from this process's root.
    ///
    /// # Errors
    /// `ENOENT` if it was removed.
    pub(super) fn directory_from_root(&self) -> Result<Vec<u8>, Errno> {
        let (path, reached) = self.cwd().path_from(Some(&self.root()))?;
        match reached {
            true => Ok(path),
            false => Ok([b"(unreachable)".as_slice(), &path].concat()),
        }
    }

    /// Whose record locks this process's are.
    pub(super) fn identity(&self) -> u64 {
        self.table.identity
    }

    /// One more than the highest descriptor this process may get.
    pub fn limit(&self) -> u32 {
        self.limit
    }

    /// Sets the limit, at most [`MAX_DESCRIPTORS`]; higher descriptors that are open stay.
    pub fn set_limit(&mut self, limit: u32) {
        self.limit = limit.min(MAX_DESCRIPTORS);
    }

    /// The open file of a descriptor.
    ///
    /// # Errors
    /// `EBADF`.
    pub fn get(&self, fd: u32) -> Result<Arc<OpenFile>, Errno> {
        Ok(self.row(fd)?.file.clone())
    }

    /// A descriptor's row.
    ///
    /// # Errors
    /// `EBADF`.
    pub(super) fn row(&self, fd: u32) -> Result<Descriptor, Errno> {
        let rows = self.rows();
        let row = rows.get(fd as usize).and_then(Option::as_ref);
        match row {
            Some(row) if row.file.is_lost() => Err(super::kept::LOST),
            row => row.cloned().ok_or(Errno::EBADF),
        }
    }

    /// Whether `execve` is to close a descriptor.
    ///
    /// # Errors
    /// `EBADF`.
    pub(super) fn set_close_on_exec(&self, fd: u32, close: bool) -> Result<(), Errno> {
        let mut rows = self.rows();
        let row = rows.get_mut(fd as usize);
        row.ok_or(Errno::EBADF)?.close_on_exec = close;
        Ok(())
    }

    /// The lowest free descriptor from `least` on.
    ///
    /// # Errors
    /// `EMFILE`.
    pub(super) fn free_descriptor(&self, least: u32) -> Result<u32, Errno> {
        let free = self.rows().free(least as usize);
        let free = u32::try_from(free).unwrap_or(u32::MAX);
        if free >= self.limit {
            return Err(Errno::EMFILE);
        }
        Ok(free)
    }

    /// Puts an open file at a descriptor, closing what was there.
    pub(super) fn put(&mut self, fd: u32, file: Arc<OpenFile>, close_on_exec: bool) {
        let fd = fd as usize;
        let new = Descriptor {
            file,
            close_on_exec,
        };
        let old = self.rows().put(fd, new);
        self.table.closed(old);
    }

    /// Puts an open file at the lowest free descriptor from `least` on.
    ///
    /// # Errors
    /// `EMFILE`.
    pub fn install(
        &mut self,
        least: u32,
        file: Arc<OpenFile>,
        close_on_exec: bool,
    ) -> Result<u32, Errno> {
        let fd = self.free_descriptor(least)?;
        self.put(fd, file, close_on_exec);
        Ok(fd)
    }

    /// Closes one descriptor.
    ///
    /// # Errors
    /// `EBADF`.
    pub fn close(&mut self, fd: u32) -> Result<(), Errno> {
        let row = self.rows().take(fd as usize);
        let row = row.ok_or(Errno::EBADF)?;
        self.table.closed(Some(row));
        Ok(())
    }

    /// Has nothing open any more.
    pub fn clear(&mut self) {
        self.table = Table::new(Rows::default());
    }

    /// Closes what `execve` closes, in a table that is this process's alone from here on.
    pub fn close_on_exec(&mut self) {
        self.unshare_table();
        let closed = self.rows().take_close_on_exec();
        for row in closed {
            self.table.closed(Some(row));
        }
    }

    /// The open descriptors, ascending.
    pub fn open_descriptors(&self) -> Vec<u32> {
        let rows = self.rows();
        let numbered = (0u32..).zip(rows.iter());
        numbered
            .filter(|(_, row)| row.is_some())
            .map(|(fd, _)| fd)
            .collect()
    }

    /// Adds the sockets among its descriptors.
    pub fn add_sockets(&self, known: &mut super::Sockets) {
        for row in self.rows().iter().flatten() {
            let inode = row.file.inode();
            if let Node::Object(Object::Socket(socket)) = inode.node() {
                known.0.insert(inode.number(), socket.clone());
            }
        }
    }

    /// What a descriptor is of, to be mapped, and whether it was opened for reading and for writing.
    ///
    /// # Errors
    /// `EBADF`.
    pub fn inode(&self, fd: u32) -> Result<(Place, bool, bool), Errno> {
        let file = self.get(fd)?;
        if file.flags() & O_PATH != 0 {
            return Err(Errno::EBADF);
        }
        Ok((file.place.clone(), file.readable(), file.writable()))
    }

    /// What `/proc/self/fd/N` links to.
    ///
    /// # Errors
    /// `ENOENT` if it is not open.
    pub fn describe(&self, fd: u32) -> Result<Vec<u8>, Errno> {
        let file = self.get(fd).map_err(|_| Errno::ENOENT)?;
        Ok(file.describe())
    }

    /// Whether a `write` that was cut short goes on when the caller calls again with the rest: true
    /// unless the descriptor does not wait.
    pub fn write_goes_on(&self, fd: u32) -> bool {
        self.get(fd)
            .is_ok_and(|file| file.flags() & O_NONBLOCK == 0 || file.inode().is_file())
    }
}

impl core::fmt::Debug for OpenFile {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let inode: &Inode = &self.place;
        write!(f, "open {inode:?}")
    }
}
