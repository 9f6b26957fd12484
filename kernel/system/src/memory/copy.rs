//! User copies: bytes in and out of a program's memory, page by page.
//!
//! Law: the kernel never dereferences a user address. A write makes all its pages writable before
//! it stores the first byte, so a copy happens wholly or not at all.

use alloc::vec::Vec;

use machine::{Access, Frame, PAGE_SIZE, USER_END};

use super::limits::PAGE;
use super::{PageSource, Space, Trouble, page_of};

/// Why a string could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StringStop {
    /// A page of it could not be read.
    Trouble(Trouble),
    /// No NUL among the bytes that may be looked at.
    TooLong,
}

impl From<Trouble> for StringStop {
    fn from(trouble: Trouble) -> StringStop {
        StringStop::Trouble(trouble)
    }
}

/// Bytes of user memory that lie within one page.
pub struct PagePart {
    /// The page.
    pub frame: Frame,
    /// Where in it they begin.
    pub at: usize,
    /// How many they are.
    pub length: usize,
}

/// Checks that `[address, address + length)` is user space; nothing is, anywhere.
pub(super) fn check(address: u64, length: usize) -> Result<(), Trouble> {
    match address.checked_add(length as u64) {
        Some(end) if end <= USER_END || length == 0 => Ok(()),
        _ => Err(Trouble::Segv),
    }
}

/// Bytes from `address` to the end of its page, at most `length`.
pub(super) fn chunk(address: u64, length: usize) -> (usize, usize) {
    let offset = (address % PAGE) as usize;
    (offset, length.min(PAGE_SIZE - offset))
}

impl Space {
    /// The frame of a page, made fit for `access`.
    fn frame_for(
        &mut self,
        address: u64,
        access: Access,
        source: &mut dyn PageSource,
    ) -> Result<Frame, Trouble> {
        let page = page_of(address);
        if let Some(mapping) = self.table.get(page)
            && mapping.access.contains(access)
        {
            return Ok(mapping.frame);
        }
        self.fault(address, access, source)?;
        self.table
            .get(page)
            .map(|mapping| mapping.frame)
            .ok_or(Trouble::Segv)
    }

    /// Copies `into.len()` bytes out of the program's memory. On an error `into` is unspecified.
    ///
    /// # Errors
    /// The [`Trouble`] of the first page that cannot be read.
    pub fn read(
        &mut self,
        address: u64,
        into: &mut [u8],
        source: &mut dyn PageSource,
    ) -> Result<(), Trouble> {
        check(address, into.len())?;
        let mut done = 0;
        while done < into.len() {
            let at = address + done as u64;
            let (offset, length) = chunk(at, into.len() - done);
            let frame = self.frame_for(at, Access::READ, source)?;
            frame.read(offset, &mut into[done..done + length]);
            done += length;
        }
        Ok(())
    }

    /// Copies bytes into the program's memory, all or none.
    ///
    /// # Errors
    /// The [`Trouble`] of the first page that cannot be written.
    pub fn write(
        &mut self,
        address: u64,
        from: &[u8],
        source: &mut dyn PageSource,
    ) -> Result<(), Trouble> {
        check(address, from.len())?;
        // What lies within one page is written by the one step below, or not.
        if chunk(address, from.len()).1 < from.len() {
            self.make_writable(address, from.len(), source)?;
        }
        let mut done = 0;
        while done < from.len() {
            let at = address + done as u64;
            let (offset, length) = chunk(at, from.len() - done);
            let frame = self.frame_for(at, Access::WRITE, source)?;
            frame.write(offset, &from[done..done + length]);
            done += length;
        }
        Ok(())
    }

    /// Adds the parts of a range to `parts`, each made fit for `access`: what is copied from or to them
    /// then is copied wholly.
    ///
    /// # Errors
    /// The [`Trouble`] of the first page that cannot be accessed so.
    pub fn parts(
        &mut self,
        (address, length): (u64, usize),
        access: Access,
        source: &mut dyn PageSource,
        parts: &mut Vec<PagePart>,
    ) -> Result<(), Trouble> {
        check(address, length)?;
        let mut done = 0;
        while done < length {
            let begin = address + done as u64;
            let (at, part) = chunk(begin, length - done);
            let frame = self.frame_for(begin, access, source)?;
            parts.push(PagePart {
                frame,
                at,
                length: part,
            });
            done += part;
        }
        Ok(())
    }

    /// As [`Space::write`], within one page, from a frame that is no user memory.
    ///
    /// # Errors
    /// The [`Trouble`] of the page if it cannot be written.
    pub fn write_from_frame(
        &mut self,
        (address, length): (u64, usize),
        (from, at): (&Frame, usize),
        source: &mut dyn PageSource,
    ) -> Result<(), Trouble> {
        check(address, length)?;
        let frame = self.frame_for(address, Access::WRITE, source)?;
        frame.copy_from((address % PAGE) as usize, from, at, length);
        Ok(())
    }

    /// A word, read in one step. `address` is a multiple of 4.
    ///
    /// # Errors
    /// The [`Trouble`] of a page that cannot be read.
    pub fn load_word(&mut self, address: u64, source: &mut dyn PageSource) -> Result<u32, Trouble> {
        check(address, 4)?;
        let frame = self.frame_for(address, Access::READ, source)?;
        Ok(frame.load_u32((address % PAGE) as usize))
    }

    /// Changes a word in one step, also against user mode on other processors; the value before.
    /// `address` is a multiple of 4.
    ///
    /// # Errors
    /// The [`Trouble`] of a page that cannot be written.
    pub fn change_word(
        &mut self,
        address: u64,
        change: impl Fn(u32) -> u32,
        source: &mut dyn PageSource,
    ) -> Result<u32, Trouble> {
        check(address, 4)?;
        let frame = self.frame_for(address, Access::WRITE, source)?;
        Ok(frame.change_u32((address % PAGE) as usize, change))
    }

    /// Makes every page of a range writable, so that the next [`Space::write`] to it succeeds.
    ///
    /// # Errors
    /// The [`Trouble`] of the first page that cannot be written.
    pub fn make_writable(
        &mut self,
        address: u64,
        length: usize,
        source: &mut dyn PageSource,
    ) -> Result<(), Trouble> {
        check(address, length)?;
        let mut done = 0;
        while done < length {
            let at = address + done as u64;
            self.frame_for(at, Access::WRITE, source)?;
            done += chunk(at, length - done).1;
        }
        Ok(())
    }

    /// How many of the first bytes of a range can be touched so; the whole range if there is no trouble.
    ///
    /// # Errors
    /// A [`Trouble`] that passes: a page that is still elsewhere, or no memory.
    pub fn fit_for(
        &mut self,
        address: u64,
        length: usize,
        access: Access,
        source: &mut dyn PageSource,
    ) -> Result<usize, Trouble> {
        let mut done = 0;
        while done < length {
            let Some(at) = address.checked_add(done as u64).filter(|at| *at < USER_END) else {
                break;
            };
            match self.frame_for(at, access, source) {
                Ok(_) => done += chunk(at, length - done).1,
                Err(Trouble::Segv | Trouble::Bus) => break,
                Err(trouble) => return Err(trouble),
            }
        }
        Ok(done)
    }

    /// Reads a string that ends with NUL within `max` bytes; the NUL is not part of the result.
    ///
    /// # Errors
    /// [`StringStop::TooLong`] if none of the `max` bytes is NUL, else the [`Trouble`] of the first
    /// page that cannot be read.
    pub fn read_string(
        &mut self,
        address: u64,
        max: usize,
        source: &mut dyn PageSource,
    ) -> Result<Vec<u8>, StringStop> {
        let mut string = Vec::new();
        let mut bytes = [0; 256];
        while string.len() < max {
            let at = address
                .checked_add(string.len() as u64)
                .filter(|&at| at < USER_END)
                .ok_or(Trouble::Segv)?;
            let (_, length) = chunk(at, bytes.len().min(max - string.len()));
            let part = &mut bytes[..length];
            self.read(at, part, source)?;
            if let Some(end) = part.iter().position(|&byte| byte == 0) {
                string.extend_from_slice(&part[..end]);
                return Ok(string);
            }
            string.extend_from_slice(part);
        }
        Err(StringStop::TooLong)
    }
}
