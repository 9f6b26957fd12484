//! Areas, runs and landmarks as they travel in a process image.
//!
//! Law: fixed layout, little-endian, no padding, no pointers, reserved bytes zero. `check()` looks
//! at one record alone; what holds between records is checked by [`Space::import`](super::Space::import).
//! Of shared memory the number is told by which home knows it; other shared mappings have no record: a process
//! with one does not move.

use alloc::vec::Vec;

use machine::{Access, OutOfMemory, USER_END};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::area::{Area, AreaFlags, Backing, FileBacking, normal};
use super::elsewhere::Names;
use super::limits::{LOWEST_ADDRESS, PAGE};
use super::map::backing_fits;
use super::policy::MemoryPolicy;
use super::{Layout, Space};

const KIND_ANONYMOUS: u32 = 0;
const KIND_FILE: u32 = 1;
const KIND_SHARED: u32 = 2;

/// Why memory that came from elsewhere was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Invalid {
    /// More areas than one space may have.
    TooManyAreas,
    /// An area is empty, unaligned or outside of user space.
    AreaBounds,
    /// Areas overlap or are not sorted.
    AreaOrder,
    /// Unknown rights, kind or flags, or a reserved byte that is not zero.
    AreaFields,
    /// A file offset or length that is impossible for its area.
    AreaFile,
    /// More runs or more pages than one process may bring.
    TooManyPages,
    /// A run is empty, unaligned, or overlaps or precedes the one before it.
    RunOrder,
    /// A run names pages outside of all areas.
    RunOutside,
    /// The break or another landmark is impossible.
    Layout,
    /// Nothing is wrong with it, but no frame is free here.
    NoMemory,
}

impl Invalid {
    /// The reason in words.
    pub fn reason(self) -> &'static str {
        match self {
            Invalid::TooManyAreas => "too many areas",
            Invalid::AreaBounds => "an area with impossible bounds",
            Invalid::AreaOrder => "areas that overlap or are not sorted",
            Invalid::AreaFields => "an area with unknown fields",
            Invalid::AreaFile => "an area with an impossible file offset",
            Invalid::TooManyPages => "too many pages",
            Invalid::RunOrder => "page runs that overlap or are not sorted",
            Invalid::RunOutside => "pages outside of all areas",
            Invalid::Layout => "impossible landmarks of the address space",
            Invalid::NoMemory => "no memory left on this node",
        }
    }
}

impl From<OutOfMemory> for Invalid {
    fn from(_: OutOfMemory) -> Invalid {
        Invalid::NoMemory
    }
}

/// One area.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct AreaRecord {
    /// First address.
    pub start: u64,
    /// First address behind.
    pub end: u64,
    /// Bits of [`Access`].
    pub access: u32,
    /// 0 anonymous, 1 file, 2 shared memory.
    pub kind: u32,
    /// Bits of [`AreaFlags`].
    pub flags: u32,
    /// Mode and flags of its [`MemoryPolicy`].
    pub policy: u32,
    /// See [`FileBacking::hash`].
    pub hash: [u8; 32],
    /// See [`FileBacking::offset`]; of shared memory, the same in its object.
    pub offset: u64,
    /// See [`FileBacking::length`].
    pub length: u64,
    /// See [`FileBacking::home_file`]; of shared memory, the number of its object.
    pub home_file: u32,
    /// Zero.
    pub reserved: u32,
    /// The nodes of its [`MemoryPolicy`].
    pub policy_nodes: u64,
}

const _: () = assert!(size_of::<AreaRecord>() == 96 && cfg!(target_endian = "little"));

/// Adjacent pages that are at the source and have to be sent.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct RunRecord {
    /// Address of the first page.
    pub page: u64,
    /// Number of pages; at least one.
    pub count: u64,
}

const _: () = assert!(size_of::<RunRecord>() == 16);

/// Which pages of one piece of 2 MiB are at the source and have to be sent.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub(crate) struct ChunkRecord {
    /// The first address of the piece in units of 2 MiB.
    pub number: u64,
    /// A bit for each page.
    pub pages: [u64; 8],
}

const _: () = assert!(size_of::<ChunkRecord>() == 72);

/// Takes a record off the front.
pub(crate) fn take<T: FromBytes + KnownLayout + Immutable>(bytes: &mut &[u8]) -> Option<T> {
    let (value, rest) = T::read_from_prefix(bytes).ok()?;
    *bytes = rest;
    Some(value)
}

/// Takes `count` records off the front. The bytes are there before anything is allocated.
pub(crate) fn take_many<T: FromBytes + KnownLayout + Immutable>(
    bytes: &mut &[u8],
    count: u32,
) -> Option<Vec<T>> {
    let length = (count as usize).checked_mul(size_of::<T>())?;
    let (mine, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    mine.chunks_exact(size_of::<T>())
        .map(|chunk| T::read_from_bytes(chunk).ok())
        .collect()
}

/// The landmarks.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct LayoutRecord {
    /// See [`Layout::break_start`].
    pub break_start: u64,
    /// See [`Layout::break_end`].
    pub break_end: u64,
    /// See [`Layout::map_top`].
    pub map_top: u64,
    /// See [`Layout::arguments_start`].
    pub arguments_start: u64,
    /// See [`Layout::arguments_end`].
    pub arguments_end: u64,
    /// See [`Layout::environment_end`].
    pub environment_end: u64,
    /// How far the stack may grow ([`SpaceLimits::stack`](super::SpaceLimits::stack)).
    pub stack_limit: u64,
    /// `MCL_*` for mappings to come.
    pub lock_future: u64,
}

const _: () = assert!(size_of::<LayoutRecord>() == 64);

impl AreaRecord {
    /// The record of an area; `None` if it is shared and has no name.
    pub(super) fn of(area: &Area, names: &Names) -> Option<AreaRecord> {
        let shared = |object: u32, first_page: u64| {
            let offset = first_page.checked_mul(PAGE)?;
            Some(FileBacking {
                home_file: object,
                offset,
                ..FileBacking::none()
            })
        };
        let (kind, file) = match &area.backing {
            Backing::Anonymous => (KIND_ANONYMOUS, FileBacking::none()),
            Backing::File(file) => (KIND_FILE, *file),
            Backing::SharedAnonymous { object, first_page } => {
                let name = names.get(&object.identity())?;
                (KIND_SHARED, shared(*name, *first_page)?)
            }
            Backing::SharedElsewhere { object, first_page } => {
                (KIND_SHARED, shared(*object, *first_page)?)
            }
            Backing::SharedFile { .. } => return None,
        };
        let (policy, policy_nodes) = area.policy.told();
        Some(AreaRecord {
            start: area.start,
            end: area.end,
            access: u32::from(area.access.bits()),
            kind,
            flags: area.flags.bits(),
            policy,
            hash: file.hash,
            offset: file.offset,
            length: file.length,
            home_file: file.home_file,
            reserved: 0,
            policy_nodes,
        })
    }

    /// The area of a record that may say anything.
    ///
    /// # Errors
    /// What is wrong with the record, taken by itself.
    pub fn check(&self) -> Result<Area, Invalid> {
        let aligned = self.start.is_multiple_of(PAGE) && self.end.is_multiple_of(PAGE);
        if !aligned || self.start < LOWEST_ADDRESS || self.start >= self.end || self.end > USER_END
        {
            return Err(Invalid::AreaBounds);
        }
        let access = u8::try_from(self.access)
            .ok()
            .and_then(Access::from_bits)
            .filter(|&access| access == normal(access))
            .ok_or(Invalid::AreaFields)?;
        let flags = AreaFlags::from_bits(self.flags).ok_or(Invalid::AreaFields)?;
        let file = FileBacking {
            hash: self.hash,
            home_file: self.home_file,
            offset: self.offset,
            length: self.length,
        };
        let backing = match self.kind {
            KIND_ANONYMOUS if file == FileBacking::none() => Backing::Anonymous,
            KIND_FILE => Backing::File(file),
            KIND_SHARED if file.hash == [0; 32] && file.length == 0 => {
                if !file.offset.is_multiple_of(PAGE) {
                    return Err(Invalid::AreaFile);
                }
                Backing::SharedElsewhere {
                    object: file.home_file,
                    first_page: file.offset / PAGE,
                }
            }
            _ => return Err(Invalid::AreaFields),
        };
        if self.reserved != 0 {
            return Err(Invalid::AreaFields);
        }
        let policy = MemoryPolicy::from_told(self.policy, self.policy_nodes);
        if !backing_fits(&backing, self.end - self.start) {
            return Err(Invalid::AreaFile);
        }
        Ok(Area {
            start: self.start,
            end: self.end,
            access,
            backing,
            flags,
            policy: policy.ok_or(Invalid::AreaFields)?,
        })
    }
}

impl FileBacking {
    fn none() -> FileBacking {
        FileBacking {
            hash: [0; 32],
            home_file: 0,
            offset: 0,
            length: 0,
        }
    }
}

impl LayoutRecord {
    pub(super) fn of(space: &Space) -> LayoutRecord {
        let layout = space.layout();
        LayoutRecord {
            break_start: layout.break_start,
            break_end: layout.break_end,
            map_top: layout.map_top,
            arguments_start: layout.arguments_start,
            arguments_end: layout.arguments_end,
            environment_end: layout.environment_end,
            stack_limit: space.limits.stack,
            lock_future: space.lock_future,
        }
    }

    /// The landmarks of a record that may say anything.
    ///
    /// # Errors
    /// [`Invalid::Layout`].
    pub fn check(&self) -> Result<Layout, Invalid> {
        let possible = self.break_start <= self.break_end
            && self.break_end <= USER_END
            && self.map_top.is_multiple_of(PAGE)
            && self.map_top <= USER_END
            && self.arguments_start <= self.arguments_end
            && self.arguments_end <= self.environment_end
            && self.environment_end <= USER_END
            && matches!(self.lock_future, 0 | 2 | 6);
        if !possible {
            return Err(Invalid::Layout);
        }
        Ok(Layout {
            break_start: self.break_start,
            break_end: self.break_end,
            map_top: self.map_top,
            arguments_start: self.arguments_start,
            arguments_end: self.arguments_end,
            environment_end: self.environment_end,
        })
    }
}
