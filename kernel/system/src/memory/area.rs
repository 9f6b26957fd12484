//! An area: a range of pages with one origin and one set of rights.
//!
//! Law: an area can be cut at any page boundary, and two neighbours that a cut could have made are
//! joined again without loss ([`Area::split`] and [`Area::join`] are inverse to each other).

use abi::layout::Timespec;
use alloc::sync::Arc;
use alloc::vec::Vec;

use abi::Errno;
use bitflags::bitflags;
use machine::{Access, Frame};

use super::limits::PAGE;
use super::object::{Held, SharedObject};
use super::policy::MemoryPolicy;

/// The file behind an area that is mapped privately.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileBacking {
    /// Content hash (BLAKE3) of the whole file; all zero if its contents are not known by hash.
    pub hash: [u8; 32],
    /// Handle in the home part's table of mapped files.
    pub home_file: u32,
    /// Offset in the file of the area's first byte; page aligned.
    pub offset: u64,
    /// Bytes of the file that are visible, from `offset` on; behind them the area holds zeros. To
    /// have accesses behind the end of the file answered by the file (`SIGBUS`), give the length
    /// of the area.
    pub length: u64,
}

/// The pages of a file mapped with `MAP_SHARED`: the very frames the file is stored in.
pub trait SharedPages: Send + Sync {
    /// The storage frame of page `index` of the file.
    ///
    /// # Errors
    /// [`FetchStop::Bus`] behind the end of the file, [`FetchStop::NoMemory`] if it cannot be made.
    fn page(&self, index: u64) -> Result<Frame, FetchStop>;

    /// Makes the pages in `[from, to)` read as zeros for everybody.
    ///
    /// # Errors
    /// Those of the file.
    fn punch(&self, _from: u64, _to: u64) -> Result<(), Errno> {
        Err(Errno::EOPNOTSUPP)
    }

    /// A page is about to be written through a mapping, at this time.
    fn written(&self, _now: Timespec) {}

    /// The numbers of the pages that are in memory, for what can be taken.
    fn held(&self) -> Vec<u64> {
        Vec::new()
    }

    /// Takes all pages out, for the last one who has a handle.
    fn take(&self) -> Vec<(u64, Frame)> {
        Vec::new()
    }
}

/// Why a page of a file cannot be had now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FetchStop {
    /// The file is not on this node; the page has to be asked for at home.
    Missing,
    /// There is no such page: behind the end of the file.
    Bus,
    /// No frame is free.
    NoMemory,
    /// A process elsewhere has it.
    Held(Held),
}

/// Where the contents of an area come from when nothing was written to it.
#[derive(Clone)]
pub enum Backing {
    /// Zeros, private.
    Anonymous,
    /// A file, private.
    File(FileBacking),
    /// Zeros, shared between areas and processes.
    SharedAnonymous {
        /// The memory.
        object: Arc<SharedObject>,
        /// The page of the object that is the area's first.
        first_page: u64,
    },
    /// The same away from home: the object is there, and lends its pages to one process at a time.
    SharedElsewhere {
        /// The number by which home knows the object, for this process.
        object: u32,
        /// The page of the object that is the area's first.
        first_page: u64,
    },
    /// A file, shared with everybody who maps or reads it.
    SharedFile {
        /// The file's pages.
        pages: Arc<dyn SharedPages>,
        /// The page of the file that is the area's first.
        first_page: u64,
        /// Handle in the home part's table of mapped files.
        home_file: u32,
        /// Whether the file was opened for writing; otherwise the area can never become writable.
        writable: bool,
    },
}

impl core::fmt::Debug for Backing {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Backing::Anonymous => f.write_str("anonymous"),
            Backing::File(file) => file.fmt(f),
            Backing::SharedAnonymous { first_page, .. } => {
                write!(f, "shared memory from page {first_page}")
            }
            Backing::SharedElsewhere { object, first_page } => {
                write!(f, "shared memory {object} of home from page {first_page}")
            }
            Backing::SharedFile {
                first_page,
                home_file,
                ..
            } => write!(f, "shared file {home_file} from page {first_page}"),
        }
    }
}

impl Backing {
    /// Whether the frames themselves are those that others have mapped too.
    pub fn is_shared(&self) -> bool {
        matches!(
            self,
            Backing::SharedAnonymous { .. } | Backing::SharedFile { .. }
        )
    }

    /// Whether writes are seen by others.
    pub fn is_seen_by_others(&self) -> bool {
        self.is_shared() || matches!(self, Backing::SharedElsewhere { .. })
    }

    /// The backing of what lies `distance` bytes (whole pages) behind the beginning.
    fn advanced(&self, distance: u64) -> Backing {
        let mut rest = self.clone();
        match &mut rest {
            Backing::Anonymous => {}
            Backing::File(file) => {
                file.offset += distance;
                file.length = file.length.saturating_sub(distance);
            }
            Backing::SharedAnonymous { first_page, .. }
            | Backing::SharedElsewhere { first_page, .. }
            | Backing::SharedFile { first_page, .. } => *first_page += distance / PAGE,
        }
        rest
    }
}

bitflags! {
    /// What else is known of an area.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct AreaFlags: u32 {
        /// The stack of the first thread.
        const STACK = 1;
        /// The heap that `brk` moves.
        const HEAP = 2;
        /// Not given to children (`MADV_DONTFORK`).
        const DONT_FORK = 4;
        /// Zeros in children (`MADV_WIPEONFORK`).
        const WIPE_ON_FORK = 8;
        /// Grows downwards when what is below is touched (`MAP_GROWSDOWN`, the first stack).
        const GROWS_DOWN = 16;
        /// Counts as locked in memory (mlock(2)).
        const LOCKED = 32;
        /// Made with `MAP_SHARED`, and nobody else has it: anonymous memory that becomes a
        /// [`SharedObject`] when a child is to have it too, or pages of a file that cannot be written.
        const SHARED = 64;
        /// An attached segment of System V shared memory.
        const SEGMENT = 128;
    }
}

/// A range of pages with one origin and one set of rights.
#[derive(Debug, Clone)]
pub struct Area {
    /// First address; page aligned.
    pub start: u64,
    /// First address behind; page aligned.
    pub end: u64,
    /// What the program may do; `WRITE` or `EXECUTE` come with `READ`, as the processor has it.
    pub access: Access,
    /// Where the contents come from.
    pub backing: Backing,
    /// What else is known.
    pub flags: AreaFlags,
    /// Where its pages are to lie.
    pub policy: MemoryPolicy,
}

/// `access` as the processor has it: what can be written or executed can be read.
pub(super) fn normal(access: Access) -> Access {
    if access.is_empty() {
        access
    } else {
        access | Access::READ
    }
}

impl Area {
    /// Bytes in the area.
    pub fn length(&self) -> u64 {
        self.end - self.start
    }

    /// Whether the pages are those of an object that others may have too.
    pub fn is_shared(&self) -> bool {
        self.backing.is_shared()
    }

    /// Whether it was made with `MAP_SHARED` (the `s` or `p` of `/proc/PID/maps`).
    pub fn says_shared(&self) -> bool {
        self.backing.is_seen_by_others() || self.flags.contains(AreaFlags::SHARED)
    }

    /// Whether it may never be written: shared pages of a file that was opened for reading only.
    pub(super) fn is_sealed(&self) -> bool {
        match &self.backing {
            Backing::SharedFile { writable, .. } => !writable,
            Backing::File(_) => self.flags.contains(AreaFlags::SHARED),
            _ => false,
        }
    }

    /// Offset of the first byte in the file or object behind the area, in bytes; zero if there is
    /// none.
    pub fn file_offset(&self) -> u64 {
        match &self.backing {
            Backing::Anonymous => 0,
            Backing::File(file) => file.offset,
            Backing::SharedAnonymous { first_page, .. }
            | Backing::SharedElsewhere { first_page, .. }
            | Backing::SharedFile { first_page, .. } => first_page * PAGE,
        }
    }

    /// The file behind the area, by its handle in the home part's table of mapped files.
    pub fn home_file(&self) -> Option<u32> {
        match &self.backing {
            Backing::File(file) => Some(file.home_file),
            Backing::SharedFile { .. } if self.flags.contains(AreaFlags::SEGMENT) => None,
            Backing::SharedFile { home_file, .. } => Some(*home_file),
            Backing::Anonymous
            | Backing::SharedAnonymous { .. }
            | Backing::SharedElsewhere { .. } => None,
        }
    }

    /// What `/proc/PID/maps` says of an area without a file.
    pub fn label(&self) -> Option<&'static str> {
        match &self.backing {
            _ if self.flags.contains(AreaFlags::STACK) => Some("[stack]"),
            _ if self.flags.contains(AreaFlags::HEAP) => Some("[heap]"),
            _ if self.flags.contains(AreaFlags::SEGMENT) => Some("/SYSV00000000 (deleted)"),
            Backing::SharedAnonymous { .. } | Backing::SharedElsewhere { .. } => {
                Some("/dev/zero (deleted)")
            }
            Backing::Anonymous if self.says_shared() => Some("/dev/zero (deleted)"),
            _ => None,
        }
    }

    /// Whether the area gives all the rights of `wanted`.
    pub(super) fn allows(&self, wanted: Access) -> bool {
        !self.access.is_empty() && self.access.contains(wanted)
    }

    /// The rights a page gets whose frame is not to be written: the next write faults.
    pub(super) fn resting(&self) -> Access {
        self.access.difference(Access::WRITE)
    }

    /// Cuts the area: it keeps what lies below `at`, the rest is returned. `at` is page aligned and
    /// strictly inside.
    pub(super) fn split(&mut self, at: u64) -> Area {
        debug_assert!(self.start < at && at < self.end, "a cut inside of the area");
        let distance = at - self.start;
        let rest = Area {
            start: at,
            end: self.end,
            backing: self.backing.advanced(distance),
            ..*self
        };
        self.end = at;
        if let Backing::File(file) = &mut self.backing {
            file.length = file.length.min(distance);
        }
        rest
    }

    /// Appends `next` if both are the two sides of a possible cut; false if they are not.
    pub(super) fn join(&mut self, next: &Area) -> bool {
        let alike = self.end == next.start
            && self.access == next.access
            && self.flags == next.flags
            && self.policy == next.policy
            && self.continues_in(&next.backing);
        if alike {
            if let (Backing::File(file), Backing::File(rest)) = (&mut self.backing, &next.backing) {
                file.length += rest.length;
            }
            self.end = next.end;
        }
        alike
    }

    fn continues_in(&self, next: &Backing) -> bool {
        let length = self.length();
        match (&self.backing, next) {
            (Backing::Anonymous, Backing::Anonymous) => true,
            (Backing::File(file), Backing::File(rest)) => {
                file.hash == rest.hash
                    && file.home_file == rest.home_file
                    && file.offset.checked_add(length) == Some(rest.offset)
                    && (file.length == length || rest.length == 0)
            }
            (
                Backing::SharedAnonymous { object, first_page },
                Backing::SharedAnonymous {
                    object: other,
                    first_page: rest,
                },
            ) => Arc::ptr_eq(object, other) && first_page + length / PAGE == *rest,
            (
                Backing::SharedElsewhere { object, first_page },
                Backing::SharedElsewhere {
                    object: other,
                    first_page: rest,
                },
            ) => object == other && first_page + length / PAGE == *rest,
            (
                Backing::SharedFile {
                    pages,
                    first_page,
                    home_file,
                    writable,
                },
                Backing::SharedFile {
                    pages: other,
                    first_page: rest,
                    home_file: same_file,
                    writable: same_rights,
                },
            ) => {
                Arc::ptr_eq(pages, other)
                    && home_file == same_file
                    && writable == same_rights
                    && first_page + length / PAGE == *rest
            }
            _ => false,
        }
    }
}
