//! What a debugger may do to memory that its program may not: read all of it, and write what is its own.
//!
//! Law: as Linux does it (`FOLL_FORCE`). A page that is written so becomes contents of this space alone, and keeps the
//! rights of its area; memory that is shared is never written against them.

use super::copy::{check, chunk};
use super::limits::PAGE;
use super::{PageSource, Space, Trouble, page_of};
use alloc::vec::Vec;
use machine::{Access, Frame, FrameKind};

impl Space {
    /// As [`Space::read`], whatever the rights.
    ///
    /// # Errors
    /// The [`Trouble`] of the first page that is not there.
    pub fn read_by_force(
        &mut self,
        address: u64,
        into: &mut [u8],
        source: &mut dyn PageSource,
    ) -> Result<(), Trouble> {
        for (at, range) in pieces(address, into.len())? {
            let frame = self.forced(at, Access::READ, source)?;
            frame.read((at % PAGE) as usize, &mut into[range]);
        }
        Ok(())
    }

    /// As [`Space::write`], whatever the rights, but for memory that is shared.
    ///
    /// # Errors
    /// The [`Trouble`] of the first page that cannot be written; nothing is then.
    pub fn write_by_force(
        &mut self,
        address: u64,
        from: &[u8],
        source: &mut dyn PageSource,
    ) -> Result<(), Trouble> {
        let pieces = pieces(address, from.len())?;
        let mut frames = Vec::new();
        for (at, _) in &pieces {
            frames.push(self.forced(*at, Access::WRITE, source)?);
        }
        for (frame, (at, range)) in frames.iter().zip(pieces) {
            frame.write((at % PAGE) as usize, &from[range]);
        }
        Ok(())
    }

    /// The frame of a page, made fit for an access that the program itself may not have.
    fn forced(
        &mut self,
        address: u64,
        access: Access,
        source: &mut dyn PageSource,
    ) -> Result<Frame, Trouble> {
        let page = page_of(address);
        let area = self.areas.find(page).ok_or(Trouble::Segv)?;
        if area.allows(access) {
            self.fault(address, access, source)?;
            return self.frame_at(page);
        }
        let writes = access.contains(Access::WRITE);
        if writes && area.is_shared() {
            return Err(Trouble::Segv);
        }
        let rights = area.access;
        match self.table.get(page) {
            Some(mapping) if !writes => return Ok(mapping.frame),
            Some(mapping) if self.private.contains(page) && !mapping.is_shared() => {
                self.no_copy_any_more(page, rights);
            }
            Some(mapping) => {
                let copy = mapping.frame.copy_of(FrameKind::User)?;
                self.table.map(page, copy, rights)?;
                self.no_copy_any_more(page, rights);
                self.private.insert(page);
            }
            None if self.absent.contains(page) => return Err(Trouble::Absent { page }),
            None => {
                // As if it were written, so that it is made alone and gives its neighbours no rights.
                let mut open = area.clone();
                open.access = Access::READ | Access::WRITE;
                self.fill(page, &open, Access::WRITE, source)?;
                self.table.protect(page, rights);
            }
        }
        self.frame_at(page)
    }

    fn frame_at(&self, page: u64) -> Result<Frame, Trouble> {
        let mapping = self.table.get(page).ok_or(Trouble::Segv)?;
        Ok(mapping.frame)
    }
}

/// A range cut at the borders of pages: where each part is, and which bytes of the range it has.
fn pieces(address: u64, length: usize) -> Result<Vec<(u64, core::ops::Range<usize>)>, Trouble> {
    check(address, length)?;
    let mut pieces = Vec::new();
    let mut done = 0;
    while done < length {
        let at = address + done as u64;
        let (_, part) = chunk(at, length - done);
        pieces.push((at, done..done + part));
        done += part;
    }
    Ok(pieces)
}
