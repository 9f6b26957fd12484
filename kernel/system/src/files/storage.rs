//! Contents of a regular file: a piece of the boot archive below, pages in memory above.
//!
//! Law: a byte is that of its page if the page is in memory, else that of the archive if it reaches
//! that far, else zero. So the overlay needs no second copy of a file and a hole needs no memory.
//! Bytes of a page behind the end of the file are zero. All pages together may take half of memory.

use super::volume::{Bound, Held};
use abi::Errno;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};
use machine::{Frame, FrameKind, OutOfMemory, PAGE_SIZE, frame_counts};

/// Largest size of a file in bytes.
pub(super) const MAX_SIZE: u64 = i64::MAX as u64;

const PAGE: u64 = PAGE_SIZE as u64;

/// Why there is no frame of a file page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PageError {
    /// Not a regular file.
    NotAFile,
    /// The page lies behind the end of the file.
    BeyondEnd,
    /// Memory, or the share of files in it, is used up.
    NoMemory,
}

/// Bytes of a file within one page.
pub(super) enum Piece {
    /// In memory: the frame, where in it, how many.
    Page(Frame, usize, usize),
    /// In the boot archive.
    Image(&'static [u8]),
}

/// A page of a file in memory.
struct Page {
    frame: Frame,
    /// Who has the frame besides the file is elsewhere, and is to see what it holds now.
    lent: bool,
}

impl Page {
    fn new(frame: Frame) -> Page {
        Page { frame, lent: false }
    }

    /// Whether a program here has it mapped.
    fn is_mapped(&self) -> bool {
        !self.lent && self.frame.is_shared()
    }

    /// What it holds, for somebody elsewhere: no copy, if the file alone has it.
    fn lend(&mut self) -> Result<Frame, OutOfMemory> {
        if self.is_mapped() {
            return self.frame.copy_of(FrameKind::Network);
        }
        self.lent = true;
        Ok(self.frame.clone())
    }

    /// The frame, to be written to or mapped: another one, if this is still on its way to somebody
    /// elsewhere. `spare` has one if there is no memory.
    fn own(
        &mut self,
        spare: impl FnOnce() -> Result<Frame, PageError>,
    ) -> Result<Frame, PageError> {
        if self.lent && self.frame.is_shared() {
            let copy = self.frame.copy_of(FrameKind::Cache).or_else(|_| {
                let copy = spare()?;
                copy.copy_from(0, &self.frame, 0, PAGE_SIZE);
                Ok(copy)
            });
            self.frame = copy?;
        }
        self.lent = false;
        Ok(self.frame.clone())
    }
}

/// The contents of one regular file.
pub(super) struct FileData {
    size: u64,
    base: &'static [u8],
    pages: BTreeMap<u64, Page>,
    /// How many of what its file system may hold these are.
    held: Held,
    hash: Option<[u8; 32]>,
    /// Grows with every change of the contents.
    version: u64,
    /// A program could write to its frames: changes of the contents do not all pass here any more.
    exposed: bool,
    /// It has no name and may get one (`O_TMPFILE`).
    pub(super) linkable: bool,
    /// It was made by memfd_create(2).
    pub(super) is_memory: bool,
    /// `F_SEAL_*`; ordinary files are sealed against more seals.
    seals: u32,
}

/// Kinds of changes that memfd_create(2) files can be sealed against (`linux/fcntl.h`).
pub(super) const F_SEAL_SEAL: u32 = 1;
const F_SEAL_SHRINK: u32 = 2;
const F_SEAL_GROW: u32 = 4;
const F_SEAL_WRITE: u32 = 8;
const F_SEAL_FUTURE_WRITE: u32 = 0x10;
pub(super) const F_SEAL_EXEC: u32 = 0x20;

/// How often the contents of files have changed on this node: who has lent some looks at its own
/// only when this has moved.
static CHANGES: AtomicU64 = AtomicU64::new(0);

/// What is lent has to be looked at, though no contents have changed.
pub(super) fn look_at_lent() {
    CHANGES.fetch_add(1, Ordering::Relaxed);
}

/// See [`CHANGES`].
pub(crate) fn changes() -> u64 {
    CHANGES.load(Ordering::Relaxed)
}

/// Frames that files may hold, and how many of them are in use.
pub(super) fn share() -> (u64, u64) {
    let counts = frame_counts();
    (counts.total / 2, counts.by_kind[FrameKind::Cache as usize])
}

fn new_frame() -> Result<Frame, PageError> {
    let (limit, used) = share();
    if used >= limit {
        return Err(PageError::NoMemory);
    }
    Frame::zeroed(FrameKind::Cache).map_err(|_| PageError::NoMemory)
}

impl FileData {
    /// A file with the contents `base`.
    pub(super) fn new(base: &'static [u8]) -> FileData {
        FileData {
            size: base.len() as u64,
            base,
            pages: BTreeMap::new(),
            held: Held::default(),
            hash: None,
            version: 0,
            exposed: false,
            linkable: false,
            is_memory: false,
            seals: F_SEAL_SEAL,
        }
    }

    /// An empty file whose pages count against a bound.
    pub(super) fn bounded(bound: Option<Arc<Bound>>) -> FileData {
        FileData {
            held: Held::of(bound),
            ..FileData::new(&[])
        }
    }

    /// An empty file that can be sealed, with the seals it has.
    pub(super) fn sealable(seals: u32) -> FileData {
        FileData {
            is_memory: true,
            seals,
            ..FileData::new(&[])
        }
    }

    pub(super) fn seals(&self) -> u32 {
        self.seals
    }

    /// Adds seals: against writing only if nobody has it mapped to write to it.
    pub(super) fn add_seals(
        &mut self,
        new: u32,
        mapped: impl FnOnce() -> bool,
    ) -> Result<(), Errno> {
        let known = F_SEAL_SEAL
            | F_SEAL_SHRINK
            | F_SEAL_GROW
            | F_SEAL_WRITE
            | F_SEAL_FUTURE_WRITE
            | F_SEAL_EXEC;
        if new & !known != 0 {
            return Err(Errno::EINVAL);
        }
        if self.seals & F_SEAL_SEAL != 0 {
            return Err(Errno::EPERM);
        }
        if new & !self.seals & F_SEAL_WRITE != 0 && mapped() {
            return Err(Errno::EBUSY);
        }
        self.seals |= new;
        Ok(())
    }

    /// Whether its seals keep it from being written.
    pub(super) fn check_write(&self) -> Result<(), Errno> {
        self.check_seal(F_SEAL_WRITE | F_SEAL_FUTURE_WRITE)
    }

    fn check_seal(&self, seal: u32) -> Result<(), Errno> {
        match self.seals & seal {
            0 => Ok(()),
            _ => Err(Errno::EPERM),
        }
    }

    /// Whether its seals let it get this long, or short.
    pub(super) fn check_resize(&self, size: u64) -> Result<(), Errno> {
        match size.cmp(&self.size) {
            core::cmp::Ordering::Less => self.check_seal(F_SEAL_SHRINK),
            core::cmp::Ordering::Equal => Ok(()),
            core::cmp::Ordering::Greater => self.check_seal(F_SEAL_GROW),
        }
    }

    /// Whether a page has contents of its own.
    fn has_page(&self, index: u64) -> bool {
        index * PAGE < self.base.len() as u64 || self.pages.contains_key(&index)
    }

    /// How many pages with bytes of `[offset, end)` have contents of their own.
    pub(super) fn pages_in(&self, offset: u64, end: u64) -> u64 {
        let (first, last) = (offset / PAGE, end.min(self.size).div_ceil(PAGE));
        let based = (self.base.len() as u64).div_ceil(PAGE);
        let above = self
            .pages
            .range(first.max(based)..last.max(first).max(based));
        last.min(based).saturating_sub(first) + above.count() as u64
    }

    /// The first byte from `offset` on that is no hole; `None` if there are only holes.
    pub(super) fn next_data(&self, offset: u64) -> Option<u64> {
        if offset >= self.size {
            return None;
        }
        if self.has_page(offset / PAGE) {
            return Some(offset);
        }
        let page = self.pages.range(offset / PAGE..).next()?;
        Some(page.0 * PAGE).filter(|at| *at < self.size)
    }

    /// The first byte from `offset` on that is in a hole, the one behind the end included.
    pub(super) fn next_hole(&self, offset: u64) -> Option<u64> {
        if offset >= self.size {
            return None;
        }
        let mut index = (offset / PAGE).max(self.base.len().div_ceil(PAGE_SIZE) as u64);
        if !self.has_page(offset / PAGE) {
            return Some(offset);
        }
        while self.pages.contains_key(&index) {
            index += 1;
        }
        Some((index * PAGE).min(self.size))
    }

    /// Makes a range read as zeros, without a page where that is possible.
    pub(super) fn punch(&mut self, offset: u64, length: u64) -> Result<(), Errno> {
        // What is behind the end of the file is zero already: its last page goes as a whole.
        let end = offset.saturating_add(length);
        let end = end.min(self.size.next_multiple_of(PAGE));
        if offset >= end {
            return Ok(());
        }
        self.changed();
        let based = (self.base.len().div_ceil(PAGE_SIZE) as u64).min(end.div_ceil(PAGE));
        for index in offset / PAGE..based {
            self.frame(index).map_err(|_| Errno::ENOSPC)?;
        }
        let mut whole = Vec::new();
        for (index, page) in self.pages.range_mut(offset / PAGE..end.div_ceil(PAGE)) {
            let from = offset.max(index * PAGE) - index * PAGE;
            let to = end.min((index + 1) * PAGE) - index * PAGE;
            if to - from == PAGE && *index >= based && !page.is_mapped() {
                whole.push(*index);
                continue;
            }
            // Whoever has the page mapped sees it too.
            let frame = page.own(new_frame).map_err(|_| Errno::ENOSPC)?;
            frame.zero(from as usize, (to - from) as usize);
        }
        for index in whole {
            self.pages.remove(&index);
        }
        self.held.count(self.pages.len());
        Ok(())
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Units of 512 bytes held.
    pub(super) fn blocks(&self) -> u64 {
        let in_memory = self.pages.len() as u64 * (PAGE / 512);
        in_memory.max(self.base.len().div_ceil(512) as u64)
    }

    /// The hash given at boot, as long as the contents are what they were.
    pub(super) fn hash(&self) -> Option<[u8; 32]> {
        self.hash
    }

    pub(super) fn set_hash(&mut self, hash: Option<[u8; 32]>) {
        self.hash = hash;
    }

    /// Notes that the contents are, or are about to be, others.
    fn changed(&mut self) {
        self.hash = None;
        self.version += 1;
        CHANGES.fetch_add(1, Ordering::Relaxed);
    }

    /// Programs get the frames themselves to write to.
    pub(super) fn expose(&mut self) {
        self.exposed = true;
        self.changed();
    }

    /// Tells the contents from those before and after; `None` if they change without a word, what
    /// may be written does, or a write that was promised could fail.
    pub(super) fn version(&self) -> Option<u64> {
        let plain = !self.exposed && !self.held.is_limited();
        (plain && self.seals == F_SEAL_SEAL).then_some(self.version)
    }

    /// The archive's bytes from `offset`, at most `length`.
    fn base_from(&self, offset: u64, length: usize) -> &'static [u8] {
        let end = self.base.len() as u64;
        let from = offset.min(end) as usize;
        let to = (offset.saturating_add(length as u64)).min(end) as usize;
        &self.base[from..to]
    }

    /// Reads what there is from `offset`; returns how much.
    pub(super) fn read_at(&self, offset: u64, into: &mut [u8]) -> usize {
        let length = self.size.saturating_sub(offset).min(into.len() as u64) as usize;
        let mut done = 0;
        while done < length {
            let at = offset + done as u64;
            let within = (at % PAGE) as usize;
            let piece = (PAGE_SIZE - within).min(length - done);
            let target = &mut into[done..done + piece];
            if let Some(page) = self.pages.get(&(at / PAGE)) {
                page.frame.read(within, target);
            } else {
                let base = self.base_from(at, piece);
                target[..base.len()].copy_from_slice(base);
                target[base.len()..].fill(0);
            }
            done += piece;
        }
        length
    }

    /// What a read of `most` bytes at `offset` gives, where it is; `None` if that is a hole, or not all of it
    /// in one page.
    pub(super) fn piece(&self, offset: u64, most: usize) -> Option<Piece> {
        let within = (offset % PAGE) as usize;
        let length = self.size.saturating_sub(offset).min(most as u64) as usize;
        if length > PAGE_SIZE - within {
            return None;
        }
        if let Some(page) = self.pages.get(&(offset / PAGE)) {
            return Some(Piece::Page(page.frame.clone(), within, length));
        }
        let base = self.base_from(offset, length);
        (base.len() == length).then_some(Piece::Image(base))
    }

    /// The frame of a page, brought into memory if it was not there.
    fn frame(&mut self, index: u64) -> Result<Frame, PageError> {
        if !self.pages.contains_key(&index) {
            self.held.check()?;
        }
        self.frame_or(index, new_frame)
    }

    /// As [`FileData::frame`], with `new` for a frame.
    fn frame_or(
        &mut self,
        index: u64,
        new: impl FnOnce() -> Result<Frame, PageError>,
    ) -> Result<Frame, PageError> {
        if let Some(page) = self.pages.get_mut(&index) {
            return page.own(new);
        }
        let frame = new()?;
        frame.write(0, self.base_from(index * PAGE, PAGE_SIZE));
        self.pages.insert(index, Page::new(frame.clone()));
        self.held.count(self.pages.len());
        Ok(frame)
    }

    /// The pages in `[from, to)` that are in memory, at most up to the end of the file.
    pub(super) fn pages_there(&mut self, from: u64, to: u64, take: &mut dyn FnMut(u64, Frame)) {
        let to = to.min(self.size.div_ceil(PAGE));
        if from < to {
            for (index, page) in self.pages.range_mut(from..to) {
                if let Ok(frame) = page.own(new_frame) {
                    take(*index, frame);
                }
            }
        }
    }

    /// The frame of page `index`; a hole becomes a page of zeros, so that all who ask share it.
    pub(super) fn page(&mut self, index: u64) -> Result<Frame, PageError> {
        if index >= self.size.div_ceil(PAGE) {
            return Err(PageError::BeyondEnd);
        }
        let full = self.held.is_full();
        // Who maps a file of a file system that is full gets SIGBUS for its holes, and is not out of memory.
        self.frame(index).map_err(|error| match full {
            true => PageError::BeyondEnd,
            false => error,
        })
    }

    /// Takes all pages that are in memory; what is left has none.
    pub(super) fn take_pages(&mut self) -> Vec<(u64, Frame)> {
        let pages = core::mem::take(&mut self.pages).into_iter();
        self.held.count(0);
        let own = |(index, mut page): (u64, Page)| Some((index, page.own(new_frame).ok()?));
        pages.filter_map(own).collect()
    }

    /// Writes, growing the file; less than all if memory ends.
    pub(super) fn write_at(&mut self, offset: u64, from: &[u8]) -> Result<usize, Errno> {
        if from.is_empty() {
            return Ok(0);
        }
        if offset >= MAX_SIZE {
            return Err(Errno::EFBIG);
        }
        self.check_write()?;
        // What fits is written if it must not grow.
        let from = match self.check_seal(F_SEAL_GROW) {
            Err(errno) if offset >= self.size => return Err(errno),
            Err(_) => &from[..from.len().min((self.size - offset) as usize)],
            Ok(()) => from,
        };
        if offset > self.size {
            self.zero_tail(self.size);
        }
        let length = (MAX_SIZE - offset).min(from.len() as u64) as usize;
        let mut done = 0;
        while done < length {
            let at = offset + done as u64;
            let within = (at % PAGE) as usize;
            let piece = (PAGE_SIZE - within).min(length - done);
            match self.frame(at / PAGE) {
                Ok(frame) => frame.write(within, &from[done..done + piece]),
                Err(_) if done > 0 => break,
                Err(_) => return Err(Errno::ENOSPC),
            }
            done += piece;
        }
        self.changed();
        self.size = self.size.max(offset + done as u64);
        Ok(done)
    }

    /// What a page holds now and its frame will hold, whatever becomes of the file: for somebody
    /// elsewhere, who only reads it.
    pub(super) fn lend_page(&mut self, index: u64) -> Result<Frame, PageError> {
        if index >= self.size.div_ceil(PAGE) {
            return Err(PageError::BeyondEnd);
        }
        let lent = match self.pages.get_mut(&index) {
            Some(page) => page.lend(),
            None => Frame::zeroed(FrameKind::Network).inspect(|frame| {
                frame.write(0, self.base_from(index * PAGE, PAGE_SIZE));
            }),
        };
        lent.map_err(|_| PageError::NoMemory)
    }

    /// Writes what was promised to fit, and so asks neither for the share of files nor, if there is
    /// no memory at all, for other frames than the spare ones, which are all zeros.
    pub(super) fn write_promised(
        &mut self,
        offset: u64,
        from: &[u8],
        spare: &mut Vec<Frame>,
    ) -> usize {
        if offset > self.size {
            self.zero_tail(self.size);
        }
        let length = MAX_SIZE.saturating_sub(offset).min(from.len() as u64) as usize;
        let mut done = 0;
        while done < length {
            let at = offset + done as u64;
            let within = (at % PAGE) as usize;
            let piece = (PAGE_SIZE - within).min(length - done);
            let new = || {
                let new = Frame::zeroed(FrameKind::Cache).ok();
                new.or_else(|| spare.pop()).ok_or(PageError::NoMemory)
            };
            let Ok(frame) = self.frame_or(at / PAGE, new) else {
                break;
            };
            frame.write(within, &from[done..done + piece]);
            done += piece;
        }
        if done > 0 {
            self.changed();
            self.size = self.size.max(offset + done as u64);
        }
        done
    }

    /// Takes a whole page in without copying it, unless somebody has the one before mapped.
    /// Returns false if it has to be written.
    pub(super) fn take_page(&mut self, index: u64, frame: &Frame) -> bool {
        let mapped = self.pages.get(&index).is_some_and(Page::is_mapped);
        let end = (index + 1).saturating_mul(PAGE);
        if mapped || frame.is_shared() || end > MAX_SIZE {
            return false;
        }
        if index * PAGE > self.size {
            self.zero_tail(self.size);
        }
        frame.set_kind(FrameKind::Cache);
        self.pages.insert(index, Page::new(frame.clone()));
        self.held.count(self.pages.len());
        self.changed();
        self.size = self.size.max(end);
        true
    }

    /// Cuts or grows the file.
    pub(super) fn resize(&mut self, size: u64) -> Result<(), Errno> {
        if size > MAX_SIZE {
            return Err(Errno::EFBIG);
        }
        self.check_resize(size)?;
        if size == self.size {
            return Ok(());
        }
        if let Some(page) = self.pages.get_mut(&(size / PAGE)) {
            page.own(new_frame).map_err(|_| Errno::ENOSPC)?;
        }
        self.changed();
        // Whoever has the last page mapped may have written behind the old end.
        self.zero_tail(self.size.min(size));
        if size < self.size {
            self.base = self.base_from(0, size as usize);
            let _ = self.pages.split_off(&size.div_ceil(PAGE));
            self.held.count(self.pages.len());
        }
        self.size = size;
        Ok(())
    }

    /// Zeroes the page of the end behind it, which is nothing that anybody has been lent.
    fn zero_tail(&self, end: u64) {
        let within = (end % PAGE) as usize;
        if within != 0
            && let Some(page) = self.pages.get(&(end / PAGE))
        {
            page.frame.zero(within, PAGE_SIZE - within);
        }
    }
}
