//! Page faults: making a page what an access needs.
//!
//! Law: [`Space::fault`] is idempotent and decides from the areas alone; what the hardware said
//! about the fault is only a hint. A frame is made writable only when this table holds its only
//! handle; otherwise the writer gets a copy.

use machine::{Access, Frame, FrameKind, Mapping, USER_END};

use super::area::{Area, Backing, FetchStop, FileBacking};
use super::limits::{AROUND, PAGE};
use super::{PageSource, Space, Trouble, page_of};

/// What a privately mapped file has for one page of an area.
pub(super) enum FilePart {
    /// Nothing: the page lies behind the visible bytes.
    Zeros,
    /// A whole page at this offset of the file.
    Whole(u64),
    /// The first `valid` bytes of the page at `offset`; the rest is zeros.
    Partial { offset: u64, valid: usize },
}

/// What of the file is visible in `page` of an area that starts at `start`.
pub(super) fn file_part(backing: &FileBacking, start: u64, page: u64) -> FilePart {
    let distance = page - start;
    let offset = backing.offset + distance;
    match backing.length.saturating_sub(distance) {
        0 => FilePart::Zeros,
        valid if valid >= PAGE => FilePart::Whole(offset),
        valid => FilePart::Partial {
            offset,
            valid: valid as usize,
        },
    }
}

impl Space {
    /// Makes the page that holds `address` fit for `access`: fills it on the first touch, copies it
    /// when a shared one is written. Does nothing if it is fit already.
    ///
    /// # Errors
    /// The [`Trouble`] to answer; afterwards the access is run again.
    pub fn fault(
        &mut self,
        address: u64,
        access: Access,
        source: &mut dyn PageSource,
    ) -> Result<(), Trouble> {
        if address >= USER_END {
            return Err(Trouble::Segv);
        }
        let page = page_of(address);
        if self.areas.find(page).is_none() {
            self.grow_stack(page)?;
        }
        let area = self.areas.find(page).ok_or(Trouble::Segv)?;
        if !area.allows(access) {
            return Err(Trouble::Segv);
        }
        if access.contains(Access::WRITE)
            && let Backing::SharedFile { pages, .. } = &area.backing
        {
            pages.written(source.time());
        }
        if let Some(mapping) = self.table.get(page) {
            let (rights, resting, shared) = (area.access, area.resting(), area.is_shared());
            return self.refit(page, &mapping, access, (rights, resting, shared));
        }
        if self.absent.contains(page) {
            return Err(Trouble::Absent { page });
        }
        let area = area.clone();
        self.fill(page, &area, access, source)
    }

    /// Gives a mapped page the right that the fault was about.
    fn refit(
        &mut self,
        page: u64,
        mapping: &Mapping,
        wanted: Access,
        (rights, resting, shared): (Access, Access, bool),
    ) -> Result<(), Trouble> {
        if !mapping.access.is_empty() && mapping.access.contains(wanted) {
            return Ok(());
        }
        if shared {
            self.table.protect(page, rights);
        } else if !wanted.contains(Access::WRITE) {
            self.table.protect(page, resting);
        } else if self.private.contains(page) && !mapping.is_shared() {
            self.table.protect(page, rights);
            self.no_copy_any_more(page, rights);
        } else {
            let copy = mapping.frame.copy_of(FrameKind::User)?;
            self.table.map(page, copy, rights)?;
            self.no_copy_any_more(page, rights);
            self.private.insert(page);
        }
        Ok(())
    }

    /// Fills a page that is touched for the first time.
    pub(super) fn fill(
        &mut self,
        page: u64,
        area: &Area,
        wanted: Access,
        source: &mut dyn PageSource,
    ) -> Result<(), Trouble> {
        let write = wanted.contains(Access::WRITE);
        let index = (page - area.start) / PAGE;
        match &area.backing {
            Backing::Anonymous => self.fill_zero(page, area, write),
            Backing::SharedAnonymous { object, first_page } => {
                let frame = object.page(first_page + index)?;
                self.table.map(page, frame, area.access)?;
                Ok(())
            }
            Backing::SharedElsewhere { object, first_page } => {
                self.fill_lent(page, area, (*object, first_page + index))
            }
            Backing::SharedFile {
                pages, first_page, ..
            } => {
                let frame = pages.page(first_page + index)?;
                // The first write is to be seen: it changes the times of the file.
                let access = if write { area.access } else { area.resting() };
                self.table.map(page, frame, access)?;
                Ok(())
            }
            Backing::File(backing) => match file_part(backing, area.start, page) {
                FilePart::Zeros => self.fill_zero(page, area, write),
                FilePart::Whole(offset) => {
                    let frame = fetch(page, backing, offset, source)?;
                    if write {
                        self.fill_private(page, area, frame.copy_of(FrameKind::User)?)
                    } else {
                        self.table.map(page, frame, area.resting())?;
                        self.fill_around(page, area, backing, source);
                        Ok(())
                    }
                }
                FilePart::Partial { offset, valid } => {
                    let frame = fetch(page, backing, offset, source)?;
                    let copy = frame.copy_of(FrameKind::User)?;
                    copy.zero(valid, PAGE as usize - valid);
                    self.fill_private(page, area, copy)
                }
            },
        }
    }

    /// Maps what is in memory already of the file's pages around one that was read: programs touch
    /// code and constants in clusters, and a fault costs more than a mapping.
    fn fill_around(
        &mut self,
        page: u64,
        area: &Area,
        backing: &FileBacking,
        source: &mut dyn PageSource,
    ) {
        let window = page / AROUND * AROUND;
        let visible = area.start.saturating_add(backing.length / PAGE * PAGE);
        let from = window.max(area.start);
        let to = (window + AROUND).min(area.end).min(visible);
        if from >= to {
            return;
        }
        let offset = |page: u64| backing.offset + (page - area.start);
        let (access, start) = (area.resting(), area.start);
        source.pages_there(backing, offset(from), offset(to), &mut |offset, frame| {
            let near = start + (offset - backing.offset);
            if self.table.next_mapped(near, near + PAGE).is_none() && !self.absent.contains(near) {
                // Without memory for a table it comes when it is touched.
                let _ = self.table.map(near, frame, access);
            }
        });
    }

    fn fill_zero(&mut self, page: u64, area: &Area, write: bool) -> Result<(), Trouble> {
        if write {
            return self.fill_private(page, area, Frame::zeroed(FrameKind::User)?);
        }
        self.table.map(page, self.zero.clone(), area.resting())?;
        Ok(())
    }

    /// Maps a frame nobody else holds as contents of this space alone.
    pub(super) fn fill_private(
        &mut self,
        page: u64,
        area: &Area,
        frame: Frame,
    ) -> Result<(), Trouble> {
        self.table.map(page, frame, area.access)?;
        self.private.insert(page);
        Ok(())
    }
}

fn fetch(
    page: u64,
    backing: &FileBacking,
    offset: u64,
    source: &mut dyn PageSource,
) -> Result<Frame, Trouble> {
    source
        .file_page(backing, offset)
        .map_err(|stop| match stop {
            FetchStop::Missing => Trouble::FileMissing {
                page,
                backing: *backing,
                offset,
            },
            other => Trouble::from(other),
        })
}
