//! Files whose contents are elsewhere for a while: what may be, and what comes of it.
//!
//! Law: only ordinary files whose every change is known here are lent. The cursor of an open file
//! that has one handle belongs to whoever has lent it: nobody else can look at it in between. While
//! anybody watches files (inotify(7)) nothing is lent, as every read would have to be told.

use super::inode::{Device, InodeRef, Node};
use super::objects::notify::{IN_ACCESS, IN_MODIFY};
use super::open::{FileState, OpenFile};
use super::pipe::Form;
use super::storage::PageError;
use abi::Errno;
use abi::layout::{O_PATH, Timespec};
use alloc::sync::Arc;
use alloc::vec::Vec;
use machine::{Frame, PAGE_SIZE};

pub(crate) use super::storage::changes;

/// No file longer than this is lent: the numbers of its pages have to fit beside others.
const LENT_MAX: u64 = 1 << 43;

/// Part of `O_SYNC`: who writes so wants to know when it is done.
const O_DSYNC: u32 = 0o10_000;

/// An open file that may be lent.
pub(crate) struct Lendable {
    /// The file.
    pub(crate) inode: InodeRef,
    /// Where its cursor is.
    pub(crate) offset: u64,
    /// Its bytes.
    pub(crate) size: u64,
    /// Which contents it has.
    pub(crate) version: u64,
}

/// What may be written later than its writer believes.
pub(crate) enum Writable {
    /// An ordinary file.
    File(Lendable),
    /// A pipe that has room for so many pages, and somebody who reads it.
    Pipe(InodeRef, u32),
    /// A device that swallows everything.
    Sink(InodeRef),
}

/// What was written elsewhere: pages, or a few bytes instead.
pub(crate) struct Behind<'a> {
    /// Where; `None` is at the cursor.
    pub(crate) at: Option<u64>,
    /// Full pages, but for the last.
    pub(crate) pages: Vec<Frame>,
    /// Bytes in the pages.
    pub(crate) length: usize,
    /// Or the bytes themselves.
    pub(crate) bytes: &'a [u8],
}

fn lendable(file: &OpenFile) -> Option<Lendable> {
    let inode = file.inode();
    let version = inode.version()?;
    let size = inode.data()?.size();
    let offset = file.offset();
    let usual = file.flags() & (O_PATH | O_DSYNC) == 0;
    (usual && size <= LENT_MAX && offset <= LENT_MAX).then(|| Lendable {
        inode: inode.clone(),
        offset,
        size,
        version,
    })
}

impl FileState {
    /// What a descriptor stands for, if its contents may be sent ahead and, unless reads are `placed`
    /// (pread(2)), its cursor be elsewhere.
    pub(crate) fn lend_to_read(&self, fd: u32, placed: bool) -> Option<Lendable> {
        let rows = self.rows();
        let file = &rows.get(fd as usize)?.as_ref()?.file;
        // In a table of several any of them may move the cursor, or close it.
        let alone = !self.shares_table() && (placed || Arc::strong_count(file) == 1);
        (file.readable() && alone).then(|| lendable(file)).flatten()
    }

    /// What a descriptor stands for, if it may be written later than its writer believes.
    pub(crate) fn lend_to_write(&self, fd: u32) -> Option<Writable> {
        let file = &self.row(fd).ok()?.file;
        if !file.writable() || self.shares_table() {
            return None;
        }
        let inode = file.inode();
        match inode.node() {
            Node::Pipe(pipe) => match pipe.pages_free() {
                0 => None,
                // Packets fill pages otherwise than both sides would count.
                _ if file.form() == Form::Packet => None,
                pages => Some(Writable::Pipe(inode.clone(), pages)),
            },
            Node::Device(Device::Null | Device::Zero) => Some(Writable::Sink(inode.clone())),
            _ if self.largest_file > 2 * LENT_MAX => lendable(file).map(Writable::File),
            _ => None,
        }
    }

    /// Whether a descriptor reads from /dev/zero.
    pub(crate) fn has_zeros(&self, fd: u32) -> bool {
        let row = self.row(fd).ok().filter(|_| !self.shares_table());
        row.is_some_and(|row| {
            let zero = matches!(row.file.inode().node(), Node::Device(Device::Zero));
            zero && row.file.readable()
        })
    }

    /// So much was read elsewhere.
    pub(crate) fn read_elsewhere(&self, fd: u32, count: u64, now: Timespec) {
        if let Ok(row) = self.row(fd)
            && row.file.inode().is_file()
            && row.file.readable()
        {
            let mut cursor = row.file.cursor();
            cursor.offset = cursor.offset.saturating_add(count).min(i64::MAX as u64);
            drop(cursor);
            row.file.was_read(now);
            row.file.inode().tell(IN_ACCESS);
        }
    }

    /// Lays into a pipe what was written elsewhere, each write by itself. Without readers it is lost, as
    /// what they leave in a pipe is.
    ///
    /// # Errors
    /// `EBADF`, `ENOMEM`.
    pub(crate) fn piped_elsewhere<'a>(
        &self,
        fd: u32,
        pieces: impl Iterator<Item = &'a [u8]>,
    ) -> Result<(), Errno> {
        let file = &self.row(fd)?.file;
        let pipe = file.inode().pipe().filter(|_| file.writable());
        pipe.ok_or(Errno::EBADF)?.put_promised(pieces, file.form())
    }

    /// Writes what was written elsewhere; `root` is whether root did it.
    ///
    /// # Errors
    /// `EBADF`, `EFBIG`, `ENOSPC`: none of them while promises are kept.
    pub(crate) fn written_elsewhere(
        &self,
        fd: u32,
        what: Behind<'_>,
        spare: &mut Vec<Frame>,
        (now, root): (Timespec, bool),
    ) -> Result<usize, Errno> {
        let file = &self.row(fd)?.file;
        if !file.writable() {
            return Err(Errno::EBADF);
        }
        let inode = file.inode();
        let mut data = inode.data().ok_or(Errno::EBADF)?;
        let start = match what.at {
            _ if file.appends() => data.size(),
            Some(at) => at,
            None => file.offset(),
        };
        let mut done = 0;
        if what.pages.is_empty() {
            done = data.write_promised(start, what.bytes, spare);
        }
        let mut bytes = alloc::vec![0; PAGE_SIZE];
        for page in what.pages {
            let length = (what.length - done.min(what.length)).min(PAGE_SIZE);
            let at = start.saturating_add(done as u64);
            let aligned = at.is_multiple_of(PAGE_SIZE as u64);
            if aligned && length == PAGE_SIZE && data.take_page(at / PAGE_SIZE as u64, &page) {
                done += length;
                continue;
            }
            page.read(0, &mut bytes[..length]);
            // The page's frame is free for the next one.
            drop(page);
            let written = data.write_promised(at, &bytes[..length], spare);
            done += written;
            if written < length {
                break;
            }
        }
        drop(data);
        if done == 0 {
            return Err(Errno::ENOSPC);
        }
        inode.touch(now);
        inode.tell(IN_MODIFY);
        if !root {
            inode.lose_set_ids();
        }
        if what.at.is_none() {
            file.cursor().offset = start + done as u64;
        }
        Ok(done)
    }
}

impl super::Inode {
    /// Whether anybody reads it, if it is a pipe.
    pub(crate) fn is_read(&self) -> bool {
        self.pipe().is_none_or(|pipe| pipe.has_reader())
    }

    /// Tells the contents of a file from those before and after; `None` if it is not to be lent.
    pub(crate) fn version(&self) -> Option<u64> {
        let version = self.data()?.version();
        version.filter(|_| !self.is_watched())
    }

    /// As [`Inode::version`](super::Inode::version), whoever watches the file.
    pub(crate) fn contents(&self) -> Option<u64> {
        self.data()?.version()
    }

    /// What a page holds now, for somebody elsewhere, who only reads the frame.
    ///
    /// # Errors
    /// See [`PageError`].
    pub(crate) fn lend_page(&self, index: u64) -> Result<Frame, PageError> {
        self.data().ok_or(PageError::NotAFile)?.lend_page(index)
    }
}
