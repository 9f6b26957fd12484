//! Files of the home node away from home: read ahead of demand, written behind it.
//!
//! Law: nobody can tell it from a file that is read and written at home. A process learns of others
//! only by what home sends it, all of it on one ordered lane, and others learn of it only by what it
//! sends home, all of it on another. So:
//! * What home has sent ahead is true until home says something that comes behind a change: before
//!   home sends anything at all it sends word (`Stale`) of every lent file that has changed since.
//!   No writer waits for that: who reads the old contents before the word comes cannot know of the
//!   write yet, and has read before it.
//! * What a process has done here is a call that home executes in its place in the process's
//!   sequence, only that the process does not wait for the answer. Before any other call of the
//!   process leaves, everything that it has done leaves. It moves when all of it is answered.
//! * Only calls are posted so that cannot fail: home has promised the room, and takes no promise back
//!   for what was written already.
//!
//! Home lends (`lender`): a cursor only while its open file has no other handle, contents only of
//! ordinary files that nobody has mapped to write to. The body holds (`holder`): pages from the cursor
//! on (a window), and bytes that have not left yet (the tail). Of a file of the boot image that this
//! node has too a window has no pages. What is touched in a mapping comes by `mapped`. Pipes are written
//! behind as far as home has promised pages of them (`pipes`); what is written to /dev/null need not leave at all, and the
//! zeros of /dev/zero need not come.

mod holder;
mod lender;
mod mapped;
mod pipes;
mod transfer;

pub(crate) use lender::{Lent, ahead, behind};
pub(crate) use mapped::page_in;

use crate::dispatch::{
    CALL_AHEAD, CALL_BEHIND, CALL_CHECK_FD, CALL_EXEC_OPEN, CALL_EXEC_READ, CALL_LEND,
    CALL_MAP_FILE, CALL_PAGE_IN, CALL_PENDING, CALL_RENAME, CALL_SET_TIMER, CALL_STOPPED,
    CALL_TAKE_SIGNAL, CALL_THREAD, CALL_WAIT_SIGNAL, wire_pid,
};
use crate::home::Request;
use crate::system::System;
use abi::Errno;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use machine::{Frame, PAGE_SIZE};
use node::PageTag;
use pipes::{Pieces, Slots};
use wire::{CALL_ARRIVED, NodeId};

const PAGE: u64 = PAGE_SIZE as u64;
/// In which buffer of an answer home says what it lends.
pub(crate) const LENT: usize = 3;
/// Page tags from here on name pages of files, not of memory of one process; with the next bit, see
/// [`crate::shared`].
pub(crate) const FILE_PAGES: u64 = 1 << 63;
/// The number of a window is in the tag above that of the page.
const WINDOW_SHIFT: u32 = 44;
/// Numbers of windows.
const WINDOWS: u32 = 1 << (62 - WINDOW_SHIFT);
/// Pages that come with the first word of a window, and most that are under way or unread.
const FIRST_SPAN: u64 = 16;
const LAST_SPAN: u64 = 128;
/// Bytes that may have left without an answer.
const CREDIT: u64 = 512 << 10;
/// Bytes that leave together.
const TAIL: usize = 128 << 10;
/// So few bytes need no page to travel in.
const INLINE: usize = 3 << 10;
/// Room on the urgent lane that is left to others.
const LANE_SPARE: usize = 64;
/// How long written bytes wait for company, ns; in tests so long that moves find them.
const TAIL_NS: u64 = if cfg!(test) { 20_000_000 } else { 1_000_000 };
/// Windows and writers of a body at most, whatever home says.
const HELD_MAX: usize = 64;
/// The window of reads at offsets (pread(2)) is beside that of the cursor: under the number of the
/// descriptor with this bit.
const PLACED: u32 = 1 << 31;
/// Nothing is written behind farther than this.
const WRITTEN_MAX: u64 = 1 << 43;

/// The place in a tag of a page of a window, or of one that is written.
fn file_page(window: u32, index: u64) -> u64 {
    FILE_PAGES | u64::from(window % WINDOWS) << WINDOW_SHIFT | (index & 0xffff_ffff) << 12
}

/// The tag of such a page, between home and the owner in this epoch.
fn file_tag((pid, epoch): (u32, u64), window: u32, index: u64) -> PageTag {
    PageTag {
        pid: wire_pid(pid),
        epoch,
        page: file_page(window, index),
    }
}

/// The tag of a page that comes with the answer to a call, in order.
pub(crate) fn answered_page(of: (u32, u64), number: u64) -> PageTag {
    file_tag(of, 0, number)
}

/// What home lends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lends {
    /// Contents: a window.
    Window = 0,
    /// Room behind a file.
    File = 1,
    /// Pages of a pipe.
    Pipe = 2,
    /// Whatever is written vanishes.
    Sink = 3,
    /// Whatever is read is zero.
    Zeros = 4,
}

/// What home says about a descriptor that was just read or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Grant {
    fd: u32,
    what: Lends,
    /// The name by which home calls it back; zero for room behind a file, which it does not.
    window: u32,
    /// Pages of a window that follow, or those that a pipe has room for.
    pages: u64,
    inode: u64,
    offset: u64,
    size: u64,
    /// Content hash, or zero: a node that has the file in its own boot image need not ask for pages.
    hash: [u8; 32],
}

impl Grant {
    /// Nothing but the descriptor is to be known.
    fn of(fd: u32, what: Lends) -> Grant {
        Grant {
            fd,
            what,
            window: 0,
            pages: 0,
            inode: 0,
            offset: 0,
            size: 0,
            hash: [0; 32],
        }
    }

    fn to_bytes(self) -> Vec<u8> {
        let ids = u64::from(self.fd) << 32 | u64::from(self.window);
        let what = self.what as u64;
        let words = [ids, what, self.pages, self.inode, self.offset, self.size];
        let words = words.iter().flat_map(|word| word.to_le_bytes());
        words.chain(self.hash).collect()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Grant> {
        let (words, hash) = bytes.split_last_chunk()?;
        let words: &[[u8; 8]; 6] = words.as_chunks().0.try_into().ok()?;
        let [ids, what, pages, inode, offset, size] = words.map(u64::from_le_bytes);
        let what = match what {
            0 => Lends::Window,
            1 => Lends::File,
            2 => Lends::Pipe,
            3 => Lends::Sink,
            4 => Lends::Zeros,
            _ => return None,
        };
        Some(Grant {
            fd: (ids >> 32) as u32,
            what,
            window: ids as u32,
            pages,
            inode,
            offset,
            size,
            hash: *hash,
        })
    }
}

impl System {
    /// How many pages can leave for a node at once, so that others have room on the urgent lane.
    pub(crate) fn room_for_pages(&self, to: NodeId) -> u64 {
        self.net.urgent_room(to).saturating_sub(LANE_SPARE) as u64
    }
}

/// The descriptor of a window.
fn descriptor(window_of: u32) -> u32 {
    window_of & !PLACED
}

/// What a call may do to descriptors that home has lent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Touch {
    /// Nothing that home does not say by itself.
    #[default]
    Nothing,
    /// It moves the cursor of one.
    Cursor(u32),
    /// It may end one.
    Descriptor(u32),
    /// It may share, move or end any.
    All,
}

impl Touch {
    /// Of a call on its way home. What is not known to be harmless is not.
    fn of(request: &Request) -> Touch {
        let fd = request.args[0] as u32;
        match request.number {
            // read, write
            0 | 1 => Touch::Cursor(fd),
            // close, lseek, dup, fcntl
            3 | 8 | 32 | 72 => Touch::Descriptor(fd),
            // open, stat, fstat, lstat, poll, pread64, pwrite64, access, pipe
            2 | 4 | 5 | 6 | 7 | 17 | 18 | 21 | 22 => Touch::Nothing,
            // ioctl, select, sendto, recvfrom, shutdown, listen, wait4
            16 | 23 | 44 | 45 | 48 | 50 | 61 => Touch::Nothing,
            // socket, connect, accept, bind, getsockname, getpeername, socketpair, setsockopt, getsockopt
            41..=43 | 49 | 51..=55 => Touch::Nothing,
            // flock, fsync, fdatasync, truncate, ftruncate, chdir, fchdir
            73..=77 | 80 | 81 => Touch::Nothing,
            // rmdir, link, symlink, chmod, fchmod, umask, getpgid, statfs, fstatfs, waitid
            84 | 86 | 88 | 90 | 91 | 95 | 121 | 137 | 138 | 247 => Touch::Nothing,
            // pselect6, ppoll, utimensat, epoll_pwait, fallocate, accept4, memfd_create
            270 | 271 | 280 | 281 | 285 | 288 | 319 => Touch::Nothing,
            // epoll_ctl, timerfd_create, timerfd_settime, timerfd_gettime, eventfd2, epoll_create1
            233 | 283 | 286 | 287 | 290 | 291 => Touch::Nothing,
            // kill, getcwd, rename, mkdir, creat, unlink, readlink, getppid
            62 | 79 | 82 | 83 | 85 | 87 | 89 | 110 => Touch::Nothing,
            // getdents64, epoll_wait, tgkill, openat, mkdirat, newfstatat, unlinkat, readlinkat
            217 | 232 | 234 | 257 | 258 | 262 | 263 | 267 => Touch::Nothing,
            // faccessat, pipe2, statx, faccessat2
            269 | 293 | 332 | 439 => Touch::Nothing,
            CALL_ARRIVED | CALL_PAGE_IN | CALL_LEND | CALL_MAP_FILE | CALL_TAKE_SIGNAL
            | CALL_WAIT_SIGNAL | CALL_PENDING | CALL_STOPPED | CALL_RENAME | CALL_SET_TIMER
            | CALL_THREAD | CALL_EXEC_OPEN | CALL_EXEC_READ | CALL_AHEAD | CALL_BEHIND
            | CALL_CHECK_FD => Touch::Nothing,
            _ => Touch::All,
        }
    }

    /// Whether it may do something to a descriptor, or to the window of one.
    fn concerns(self, fd: u32) -> bool {
        match self {
            Touch::Nothing => false,
            Touch::Cursor(one) => one == fd,
            Touch::Descriptor(one) => one == descriptor(fd),
            Touch::All => true,
        }
    }
}

/// A call that has left and whose answer its thread does not wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Post {
    pub(crate) seq: u64,
    what: Posted,
}

impl Post {
    /// Whether this is the number of the call.
    pub(crate) fn is(&self, seq: u64) -> bool {
        self.seq == seq
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Posted {
    /// What was read is told, and so many pages more are asked for.
    Read { fd: u32, window: u32, asked: u64 },
    /// Bytes are written to a file.
    Written { fd: u32, inode: u64, bytes: u64 },
    /// So many pages of a pipe are filled.
    Piped { fd: u32, window: u32, pages: u32 },
}

/// Pages of a file from its cursor on, or from where reads at offsets are.
struct Window {
    id: u32,
    /// Reads say where they begin, and home need not know of them.
    placed: bool,
    /// Content hash of a file that is on this node too: no pages come.
    hash: Option<[u8; 32]>,
    inode: u64,
    cursor: u64,
    size: u64,
    /// The page at the front.
    first: u64,
    pages: VecDeque<Frame>,
    /// Pages before this are here or under way.
    asked: u64,
    /// How many pages may be under way or unread.
    span: u64,
    /// Bytes read that home does not know of.
    unreported: u64,
    /// Who waits until it can be read up to where.
    waiters: Vec<(u32, u64)>,
}

/// A descriptor that may be written behind.
struct Writer {
    inode: u64,
    room: Room,
    waiters: Vec<u32>,
    /// Home could not keep its promise.
    failed: Option<Errno>,
}

/// What may be written before an answer comes.
enum Room {
    /// So many bytes of a file.
    File(u64),
    /// Pages of a pipe, under the name by which they are called back.
    Pipe(u32, Slots),
    /// Anything, and home need not know.
    Sink,
}

/// Bytes written that have not left.
struct Tail {
    fd: u32,
    inode: u64,
    unsent: Unsent,
    /// Who wrote last.
    tid: u32,
    due_ns: u64,
}

enum Unsent {
    /// Of a file.
    Run(Run),
    /// To a pipe with this name.
    Pipe(u32, Pieces),
}

/// Bytes that follow each other in a file.
struct Run {
    /// Where they begin; `None` is at the cursor.
    at: Option<u64>,
    pages: Vec<Frame>,
    length: usize,
}

/// What a body holds of files of its home.
#[derive(Default)]
pub struct Ahead {
    windows: BTreeMap<u32, Window>,
    writers: BTreeMap<u32, Writer>,
    /// Descriptors of /dev/zero.
    zeros: BTreeSet<u32>,
    /// Bytes read, by descriptor, of windows that are gone.
    owed: Vec<(u32, u64)>,
    tail: Option<Tail>,
    faults: mapped::Faults,
}
