//! Areas of memory straight from the kernel: mmap, mprotect, mremap, madvise, brk.
//!
//! Law: an area knows the state of each of its pages and lends slices only over pages that may
//! be accessed; a page given back to the kernel is never touched or given back again.

use std::io;
use std::ops::Range;

/// Bytes in a page.
pub const PAGE: usize = 4096;

/// What may be done with a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protection {
    /// Nothing.
    None,
    /// Reading.
    Read,
    /// Reading and writing.
    ReadWrite,
}

impl Protection {
    fn bits(self) -> libc::c_int {
        match self {
            Protection::None => libc::PROT_NONE,
            Protection::Read => libc::PROT_READ,
            Protection::ReadWrite => libc::PROT_READ | libc::PROT_WRITE,
        }
    }
}

/// An anonymous private mapping; unmapped when dropped.
#[derive(Debug)]
pub struct Area {
    start: usize,
    /// State per page; `None` is a hole that was given back.
    pages: Vec<Option<Protection>>,
}

impl Area {
    /// Maps at least `length` bytes (rounded up to pages) of zeroes.
    ///
    /// # Errors
    /// What mmap(2) says; `EINVAL` for a length of zero.
    pub fn map(length: usize, protection: Protection) -> io::Result<Area> {
        let pages = length.div_ceil(PAGE);
        let size = pages
            .checked_mul(PAGE)
            .ok_or_else(|| io::Error::from_raw_os_error(libc::ENOMEM))?;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: without MAP_FIXED the kernel chooses a free place, so nothing is replaced.
        let start =
            unsafe { libc::mmap(std::ptr::null_mut(), size, protection.bits(), flags, -1, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Area {
            start: start as usize,
            pages: vec![Some(protection); pages],
        })
    }

    /// Where it starts.
    #[must_use]
    pub fn address(&self) -> u64 {
        self.start as u64
    }

    /// Its length in bytes, holes included.
    #[must_use]
    pub fn length(&self) -> usize {
        self.pages.len() * PAGE
    }

    /// The bytes `range`.
    ///
    /// # Panics
    /// If the range leaves the area or a page of it may not be read.
    #[must_use]
    pub fn bytes(&self, range: Range<usize>) -> &[u8] {
        self.demand(&range, |state| {
            matches!(state, Protection::Read | Protection::ReadWrite)
        });
        // SAFETY: the pages are mapped readable, and only `&mut self` methods change them.
        unsafe { std::slice::from_raw_parts((self.start + range.start) as *const u8, range.len()) }
    }

    /// The bytes `range`, to be changed.
    ///
    /// # Panics
    /// If the range leaves the area or a page of it may not be written.
    #[must_use]
    pub fn bytes_mut(&mut self, range: Range<usize>) -> &mut [u8] {
        self.demand(&range, |state| state == Protection::ReadWrite);
        // SAFETY: the pages are mapped writable, and `self` is borrowed mutably meanwhile.
        unsafe {
            std::slice::from_raw_parts_mut((self.start + range.start) as *mut u8, range.len())
        }
    }

    fn demand(&self, range: &Range<usize>, good: impl Fn(Protection) -> bool) {
        assert!(
            range.start <= range.end && range.end <= self.length(),
            "range leaves the area"
        );
        let touched = range.start / PAGE..range.end.div_ceil(PAGE);
        let fine = self.pages[touched]
            .iter()
            .all(|state| state.is_some_and(&good));
        assert!(fine, "a page of the range may not be accessed like this");
    }

    /// Changes what may be done with the pages `pages`.
    ///
    /// # Errors
    /// What mprotect(2) says; `ENOMEM` for holes and ranges outside.
    pub fn protect(&mut self, pages: Range<usize>, protection: Protection) -> io::Result<()> {
        let (address, length) = self.span(&pages)?;
        // SAFETY: the pages belong to this area and no slice of it is lent (`&mut self`).
        crate::check(unsafe { libc::mprotect(address, length, protection.bits()) })?;
        self.pages[pages].fill(Some(protection));
        Ok(())
    }

    /// Gives pages back to the kernel (munmap(2)), leaving a hole.
    ///
    /// # Errors
    /// What munmap(2) says; `ENOMEM` for holes and ranges outside.
    pub fn unmap(&mut self, pages: Range<usize>) -> io::Result<()> {
        let (address, length) = self.span(&pages)?;
        // SAFETY: the pages belong to this area and no slice of it is lent (`&mut self`).
        crate::check(unsafe { libc::munmap(address, length) })?;
        self.pages[pages].fill(None);
        Ok(())
    }

    /// Throws the contents of pages away (`MADV_DONTNEED`): they read as zero afterwards.
    ///
    /// # Errors
    /// What madvise(2) says; `ENOMEM` for holes and ranges outside.
    pub fn discard(&mut self, pages: Range<usize>) -> io::Result<()> {
        let (address, length) = self.span(&pages)?;
        // SAFETY: the pages belong to this area, no slice is lent, and any byte is a valid u8.
        crate::check(unsafe { libc::madvise(address, length, libc::MADV_DONTNEED) }).map(drop)
    }

    /// Grows or shrinks the area, moving it if it must (mremap(2) with `MREMAP_MAYMOVE`). New
    /// pages have the protection of the last old one.
    ///
    /// # Errors
    /// What mremap(2) says; `EINVAL` if the area is not of one protection or `length` is zero.
    pub fn resize(&mut self, length: usize) -> io::Result<()> {
        let invalid = || io::Error::from_raw_os_error(libc::EINVAL);
        let first = self.pages.first().copied().flatten().ok_or_else(invalid)?;
        let pages = length.div_ceil(PAGE);
        if pages == 0 || self.pages.iter().any(|&state| state != Some(first)) {
            return Err(invalid());
        }
        let size = pages.checked_mul(PAGE).ok_or_else(invalid)?;
        // SAFETY: the whole old range belongs to this area, and no slice of it is lent.
        let start = unsafe {
            libc::mremap(
                self.start as *mut _,
                self.length(),
                size,
                libc::MREMAP_MAYMOVE,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        self.start = start as usize;
        self.pages.resize(pages, Some(first));
        Ok(())
    }

    /// Loads the byte at `offset` whatever its protection says: kills the process with `SIGSEGV`
    /// if it may not be read. For guard tests.
    ///
    /// # Panics
    /// If `offset` is outside the area, holes included.
    #[must_use]
    pub fn probe_load(&self, offset: usize) -> u8 {
        assert!(offset < self.length(), "offset leaves the area");
        let byte: u8;
        // SAFETY: the address is of this area: the load gives a byte or faults, and a fault ends
        // the process. Assembly is not bound by the compiler's knowledge of the page.
        unsafe {
            std::arch::asm!("mov {}, byte ptr [{}]", out(reg_byte) byte,
                in(reg) self.start + offset, options(nostack, readonly, preserves_flags));
        }
        byte
    }

    /// Stores a byte at `offset` whatever its protection says: kills the process with `SIGSEGV`
    /// if it may not be written. For guard tests.
    ///
    /// # Panics
    /// If `offset` is outside the area, or in a hole, where another owner could have memory.
    pub fn probe_store(&mut self, offset: usize, byte: u8) {
        assert!(
            self.pages.get(offset / PAGE).is_some_and(Option::is_some),
            "not in the area"
        );
        // SAFETY: as in `probe_load`; the page is ours and no slice of it is lent.
        unsafe {
            std::arch::asm!("mov byte ptr [{}], {}", in(reg) self.start + offset,
                in(reg_byte) byte, options(nostack, preserves_flags));
        }
    }

    fn span(&self, pages: &Range<usize>) -> io::Result<(*mut libc::c_void, usize)> {
        let states = self.pages.get(pages.clone());
        if pages.is_empty() || states.is_none_or(|states| states.iter().any(Option::is_none)) {
            return Err(io::Error::from_raw_os_error(libc::ENOMEM));
        }
        Ok((
            (self.start + pages.start * PAGE) as *mut _,
            pages.len() * PAGE,
        ))
    }
}

impl Drop for Area {
    fn drop(&mut self) {
        let mut page = 0;
        while page < self.pages.len() {
            let end = (page..self.pages.len())
                .find(|&at| self.pages[at].is_none())
                .unwrap_or(self.pages.len());
            if end > page {
                // SAFETY: these pages are still ours. A failure leaves them mapped: a leak only.
                unsafe { libc::munmap((self.start + page * PAGE) as *mut _, (end - page) * PAGE) };
            }
            page = end + 1;
        }
    }
}

/// Memory at the program break. The allocator of libc copes with a break that others move.
#[derive(Debug)]
pub struct BreakArea {
    start: usize,
    length: usize,
}

impl BreakArea {
    /// Moves the break up by `length` bytes and owns them.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub fn grow(length: usize) -> io::Result<BreakArea> {
        let step = libc::intptr_t::try_from(length)
            .map_err(|_| io::Error::from_raw_os_error(libc::ENOMEM))?;
        // SAFETY: moving the break up takes nothing from anybody.
        let start = unsafe { libc::sbrk(step) };
        if start as isize == -1 {
            return Err(io::Error::last_os_error());
        }
        Ok(BreakArea {
            start: start as usize,
            length,
        })
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: the kernel gave these bytes, zeroed, and nobody else knows of them.
        unsafe { std::slice::from_raw_parts(self.start as *const u8, self.length) }
    }

    /// Its bytes, to be changed.
    #[must_use]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`, and `self` is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.start as *mut u8, self.length) }
    }

    /// Gives the memory back if the break still is at its end, else leaves it; says which.
    #[must_use]
    pub fn release(self) -> bool {
        let Ok(step) = libc::intptr_t::try_from(self.length) else {
            return false;
        };
        // SAFETY: sbrk(0) only asks.
        let at_end = unsafe { libc::sbrk(0) } as usize == self.start + self.length;
        // SAFETY: the bytes between the new and the old break are ours alone, and we go.
        at_end && unsafe { libc::sbrk(-step) } as isize != -1
    }
}

#[cfg(test)]
mod tests {
    use super::{Area, BreakArea, PAGE, Protection};

    #[test]
    fn areas_know_their_pages() {
        let mut area = Area::map(3 * PAGE + 1, Protection::ReadWrite).expect("memory");
        assert_eq!(area.length(), 4 * PAGE);
        area.bytes_mut(0..4 * PAGE).fill(7);
        area.unmap(1..2).expect("a hole");
        assert!(area.unmap(0..2).is_err(), "a hole is not given back twice");
        assert!(
            area.protect(3..5, Protection::None).is_err(),
            "the area has four pages"
        );
        assert!(
            area.resize(PAGE).is_err(),
            "an area with a hole keeps its size"
        );
        area.protect(2..3, Protection::Read)
            .expect("pages of the area");
        assert!(area.bytes(2 * PAGE..4 * PAGE).iter().all(|&byte| byte == 7));
        area.discard(3..4).expect("pages of the area");
        assert!(area.bytes(3 * PAGE..4 * PAGE).iter().all(|&byte| byte == 0));
    }

    #[test]
    #[should_panic(expected = "may not be accessed")]
    fn no_slice_without_access() {
        let area = Area::map(PAGE, Protection::None).expect("memory");
        let _bytes = area.bytes(0..1);
    }

    #[test]
    #[should_panic(expected = "leaves the area")]
    fn no_slice_outside() {
        let area = Area::map(PAGE, Protection::Read).expect("memory");
        let _bytes = area.bytes(0..PAGE + 1);
    }

    #[test]
    fn the_break_grows() {
        let mut area = BreakArea::grow(2 * PAGE).expect("memory");
        area.bytes_mut().fill(3);
        assert!(area.bytes().iter().all(|&byte| byte == 3));
    }
}
