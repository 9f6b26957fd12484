//! Address spaces: what a program's memory is, without ever touching a user address.
//!
//! Law: a page that is mapped and in the `private` set holds contents that exist nowhere else; a
//! page that is mapped and not in it can be had again (zeros, a page of a file, shared memory); a
//! page in the `absent` set is in an area, is not mapped, and its contents are at the last source
//! node; everything else that lies in an area is made on the first touch. No operation that fails
//! has changed what the program can see, but for two: mprotect(2) over a hole, and, as in Linux, a mapping that was to be moved over
//! another and found no memory for its page table has cleared its target.
//!
//! Not here: which file a descriptor names, signals for faults, and how pages travel. Who calls
//! answers a [`Trouble`] and runs the access again.

mod advice;
mod area;
mod areas;
mod copied;
mod copy;
mod cut;
pub mod elf;
mod elsewhere;
mod fault;
mod force;
mod fork;
mod gaps;
mod growth;
mod kept;
pub mod limits;
mod map;
mod migrate;
mod object;
mod outline;
mod page_set;
mod policy;
mod program;
pub(crate) mod record;
mod remap;
mod rings;
mod sharing;
mod stack;
#[cfg(test)]
mod tests;

use abi::layout::Timespec;
use machine::{Access, Frame, FrameKind, OutOfMemory, PageTable};

pub use advice::{MADV_POPULATE_READ, MADV_POPULATE_WRITE, MADV_REMOVE};
pub use area::{Area, AreaFlags, Backing, FetchStop, FileBacking, SharedPages};
use areas::Areas;
pub use copied::{Copies, Sent};
pub use copy::{PagePart, StringStop};
pub use elsewhere::{GivesBack, Part};
pub use growth::SpaceLimits;
pub use kept::Kept;
use limits::{PAGE, STACK_GAP, STACK_ROOM, STACK_TOP};
pub use map::MapHow;
pub use migrate::{Installed, SpaceRecords};
pub use object::{Held, SharedObject};
pub use outline::sum as outline_sum;
use page_set::PageSet;
pub use policy::{MPOL_MF_MOVE_ALL, MemoryNodes, MemoryPolicy};
pub use program::{Arguments, Ids, Image, Loaded, ProgramFile, StartValues, load_program};
pub use record::{AreaRecord, Invalid, LayoutRecord, RunRecord};
pub use remap::{MapStop, RemapFlags};
pub use rings::{EVENTS_MAX, Ring, RingRecord, Rings};

/// Where pages of privately mapped files come from.
pub trait PageSource {
    /// The time, for what is written through a mapping.
    fn time(&self) -> Timespec {
        Timespec::default()
    }

    /// The cache frame of a page of a file. `offset` is the page aligned offset in the file (not in
    /// the area); bytes behind the end of the file are zero in the frame.
    ///
    /// # Errors
    /// Why the page cannot be had now; see [`FetchStop`].
    fn file_page(&mut self, backing: &FileBacking, offset: u64) -> Result<Frame, FetchStop>;

    /// Gives `take` the cache frames, with their offsets, that are in memory already of the pages
    /// in `[from, to)`; nothing is brought in for it.
    fn pages_there(
        &mut self,
        _backing: &FileBacking,
        _from: u64,
        _to: u64,
        _take: &mut dyn FnMut(u64, Frame),
    ) {
    }
}

/// A source for spaces whose file pages are all there already, or that have none.
pub(crate) struct NoFiles;

impl PageSource for NoFiles {
    fn file_page(&mut self, _: &FileBacking, _: u64) -> Result<Frame, FetchStop> {
        Err(FetchStop::Missing)
    }
}

/// Why an access to user memory could not be made. Nothing was changed that the program can see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// No area is there, or its rights forbid the access: `SIGSEGV`, `EFAULT`.
    Segv,
    /// The page lies behind the end of its file: `SIGBUS`, `EFAULT`.
    Bus,
    /// No frame is free.
    NoMemory,
    /// The page is at the last source node: ask for it, then [`Space::install`] it.
    Absent {
        /// Address of the page.
        page: u64,
    },
    /// The page is of a file that is not on this node: ask home for it, then
    /// [`Space::install_file`] it.
    FileMissing {
        /// Address of the page.
        page: u64,
        /// The file.
        backing: FileBacking,
        /// Page aligned offset in the file.
        offset: u64,
    },
    /// The page is shared, and home lends it: ask there, then [`Space::install_lent`] it.
    NotLent {
        /// Address of the page.
        page: u64,
        /// The number by which home knows the object.
        object: u32,
        /// Which page of the object.
        index: u64,
    },
    /// The page is shared and its home is here, and a process elsewhere has it: it has to give it back.
    Held(Held),
}

impl From<FetchStop> for Trouble {
    /// Of memory that is here, or of a process that is.
    fn from(stop: FetchStop) -> Trouble {
        match stop {
            FetchStop::Missing | FetchStop::Bus => Trouble::Bus,
            FetchStop::NoMemory => Trouble::NoMemory,
            FetchStop::Held(held) => Trouble::Held(held),
        }
    }
}

impl From<OutOfMemory> for Trouble {
    fn from(_: OutOfMemory) -> Trouble {
        Trouble::NoMemory
    }
}

/// How much memory a process has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes in all areas.
    pub virtual_bytes: u64,
    /// Pages that are mapped here.
    pub resident_pages: u64,
    /// Mapped pages whose contents exist nowhere else.
    pub private_pages: u64,
    /// Pages that are still at the last source node.
    pub absent_pages: u64,
    /// Bytes in executable areas.
    pub code_bytes: u64,
    /// Bytes in writable areas that are not shared, without the stack.
    pub data_bytes: u64,
    /// Bytes in the stack area.
    pub stack_bytes: u64,
    /// Bytes in locked areas.
    pub locked_bytes: u64,
}

/// Landmarks of an address space; all are user addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Lowest value of the break.
    pub break_start: u64,
    /// The break: first byte behind the heap.
    pub break_end: u64,
    /// `mmap` without a place maps below this.
    pub map_top: u64,
    /// First byte of the argument strings on the initial stack.
    pub arguments_start: u64,
    /// First byte behind the argument strings, where the environment strings begin.
    pub arguments_end: u64,
    /// First byte behind the environment strings.
    pub environment_end: u64,
}

/// The memory of one process.
pub struct Space {
    table: PageTable,
    areas: Areas,
    /// Mapped pages with contents of their own.
    private: PageSet,
    /// Those of them that another node has too: the target of a move, see [`copied`], or the last source, see
    /// [`kept`].
    copied: PageSet,
    /// Whether a write takes the block around its page out of that set.
    by_block: bool,
    /// Pages that have been sent and are still mapped.
    left: PageSet,
    /// Pages that are at the last source node.
    absent: PageSet,
    /// What reads of untouched anonymous memory see; never writable.
    zero: Frame,
    layout: Layout,
    limits: SpaceLimits,
    /// `MCL_*` of mlockall(2) for mappings to come.
    lock_future: u64,
    /// Contexts of asynchronous I/O.
    pub(crate) rings: Rings,
    /// The sum of the latest [`Space::outline`], and the version of the areas then.
    outlined: Option<(u64, u64)>,
    /// How shared objects are called elsewhere.
    names: elsewhere::Names,
    /// To whom pages of shared objects were lent that are still on their way home.
    lent_to: u32,
}

/// The page that holds `address`.
fn page_of(address: u64) -> u64 {
    address & !(PAGE - 1)
}

impl Space {
    /// A space without areas.
    ///
    /// # Errors
    /// [`OutOfMemory`] when there is no frame for the root table or the page of zeros.
    pub fn new() -> Result<Space, OutOfMemory> {
        Ok(Space {
            table: PageTable::new()?,
            areas: Areas::default(),
            private: PageSet::default(),
            copied: PageSet::default(),
            by_block: false,
            left: PageSet::default(),
            absent: PageSet::default(),
            zero: Frame::zeroed(FrameKind::Cache)?,
            layout: Layout {
                break_start: limits::LOWEST_ADDRESS,
                break_end: limits::LOWEST_ADDRESS,
                map_top: STACK_TOP - STACK_ROOM.0 - STACK_GAP,
                arguments_start: 0,
                arguments_end: 0,
                environment_end: 0,
            },
            limits: SpaceLimits::default(),
            lock_future: 0,
            rings: Rings::default(),
            outlined: None,
            names: elsewhere::Names::default(),
            lent_to: 0,
        })
    }

    /// The table to run the program on.
    pub fn table(&self) -> &PageTable {
        &self.table
    }

    /// The areas in order of their addresses.
    pub fn areas(&self) -> impl Iterator<Item = &Area> {
        self.areas.iter()
    }

    /// The area that holds `address`; without one a fault is `SEGV_MAPERR`, else `SEGV_ACCERR`.
    pub fn area_at(&self, address: u64) -> Option<&Area> {
        self.areas.find(address)
    }

    /// Whether every byte of `[address, address + length)` is in an area.
    pub fn is_mapped(&self, address: u64, length: u64) -> bool {
        address
            .checked_add(length)
            .is_some_and(|end| self.areas.covers(address, end))
    }

    /// Whether all of a range is in areas with these rights.
    pub fn allows(&self, address: u64, length: u64, access: Access) -> bool {
        let end = address.saturating_add(length);
        self.is_mapped(address, length)
            && self
                .areas
                .overlapping(address, end)
                .all(|area| area.allows(access))
    }

    /// Whether the page that holds `address` is in memory here (mincore(2)).
    pub fn is_resident(&self, address: u64) -> bool {
        let page = page_of(address);
        self.table
            .next_mapped(page, page.saturating_add(PAGE))
            .is_some()
    }

    /// What an address in shared memory is to everybody who maps it: the number of the object and
    /// the offset in it. `None` for memory of this space alone.
    pub fn shared_place(&self, address: u64) -> Option<(u64, u64)> {
        let area = self.areas.find(address)?;
        let object = match &area.backing {
            Backing::SharedAnonymous { object, .. } => object.identity(),
            Backing::SharedFile { pages, .. } => alloc::sync::Arc::as_ptr(pages).addr(),
            // What waits there waits at home.
            Backing::Anonymous | Backing::File(_) | Backing::SharedElsewhere { .. } => return None,
        };
        Some((object as u64, area.file_offset() + (address - area.start)))
    }

    /// The landmarks.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Why this memory cannot move to another node, if it cannot.
    pub fn obstacle(&self) -> Option<&'static str> {
        if let Some(reason) = self.sharing_obstacle() {
            Some(reason)
        } else if !self.absent.is_empty() {
            Some("its memory is still arriving")
        } else if self.private.len() > limits::ABSENT_PAGES_MAX {
            Some("more memory than can move")
        } else if self.private.len() > limits::RUNS_MAX as u64
            && self.private.runs().count() > limits::RUNS_MAX
        {
            Some("memory too scattered to move")
        } else {
            None
        }
    }

    /// How much memory there is. The cost follows the number of areas.
    pub fn usage(&self) -> Usage {
        let mut usage = Usage {
            resident_pages: self.resident_pages(),
            private_pages: self.private.len(),
            absent_pages: self.absent.len(),
            ..Usage::default()
        };
        for area in self.areas.iter() {
            let bytes = area.length();
            usage.virtual_bytes += bytes;
            if area.flags.contains(AreaFlags::LOCKED) {
                usage.locked_bytes += bytes;
            }
            if area.flags.contains(AreaFlags::STACK) {
                usage.stack_bytes += bytes;
            } else if area.access.contains(Access::EXECUTE) {
                usage.code_bytes += bytes;
            } else if area.access.contains(Access::WRITE) && !area.says_shared() {
                usage.data_bytes += bytes;
            }
        }
        usage
    }

    /// Pages that are mapped here, counted as they come and go.
    pub(crate) fn resident_pages(&self) -> u64 {
        self.table.mapped_count()
    }

    /// Pages of an area that are mapped here, and how many of them have contents of their own.
    pub fn pages_in(&self, area: &Area) -> (u64, u64) {
        let (mut mapped, mut private) = (0, 0);
        let mut next = area.start;
        while let Some(page) = self.table.next_mapped(next, area.end) {
            mapped += 1;
            private += u64::from(self.private.contains(page));
            next = page + PAGE;
        }
        (mapped, private)
    }

    /// Gives the frames of `[from, to)` back and forgets what was to arrive for it.
    fn discard(&mut self, from: u64, to: u64) {
        self.absent.remove_range(from, to);
        self.private.remove_range(from, to);
        self.copied.remove_range(from, to);
        let mut next = from;
        while let Some(page) = self.table.next_mapped(next, to) {
            self.table.unmap(page);
            next = page + PAGE;
        }
    }
}

impl core::fmt::Debug for Space {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Space")
            .field("areas", &self.areas.len())
            .field("private", &self.private.len())
            .field("absent", &self.absent.len())
            .finish_non_exhaustive()
    }
}
