//! Pages that stay where a process was, in case it comes back.
//!
//! Law: what a node has sent it keeps as it was sent, and the target notes which of those pages are still as they
//! came: the `copied` set, whose pages nobody can write to unnoticed. So on the way back such a page is only
//! named, and both nodes mean the same bytes. What is kept is nobody's memory: it can be given up at any
//! moment in which no move counts on it.
//!
//! To notice the first write to a page costs a fault. So that a program which writes to all of its memory does not
//! pay one for each page, a write takes the whole block around it out of the set.

use alloc::collections::BTreeMap;

use machine::{Access, Frame};

use super::area::Area;
use super::limits::{KEPT_BLOCK, PAGE};
use super::page_set::PageSet;
use super::{Installed, Space};

/// Pages of a process that has left, as they left.
pub struct Kept {
    frames: BTreeMap<u64, Frame>,
    /// Those of them that its new source has named: they are as they were.
    named: PageSet,
}

/// The source's side: what leaves and is kept, what need not be sent.
impl Space {
    /// Takes out a page that is sent, and keeps it; the program must not run here any more.
    pub fn send_off(&mut self, page: u64, keep: bool) -> Option<Frame> {
        if !keep {
            return self.take(page);
        }
        let frame = self.page(page)?;
        self.private.remove(page);
        self.copied.remove(page);
        self.left.insert(page);
        Some(frame)
    }

    /// Does not keep a page after all.
    pub fn drop_left(&mut self, page: u64) {
        if self.left.remove(page) {
            self.table.unmap(page);
        }
    }

    /// The first run of pages at or behind `from` that the target has as they are here.
    pub fn next_copied(&self, from: u64) -> Option<(u64, u64)> {
        self.copied.runs_from(from).next()
    }

    /// Forgets of a page that the target has it.
    pub fn forget_copied_page(&mut self, page: u64) {
        self.copied.remove(page);
    }

    /// Forgets of the pages from `from` on that the target has them.
    pub fn forget_copied_from(&mut self, from: u64) {
        self.copied.remove_range(from, machine::USER_END);
    }

    /// The pages that the target has need not be sent any more. They are kept, or dropped.
    pub fn leave_copied(&mut self, keep: bool) {
        let copied = core::mem::take(&mut self.copied);
        for (page, count) in copied.runs() {
            let end = page + count * PAGE;
            self.private.remove_range(page, end);
            if keep {
                self.left.insert_range(page, count);
            } else {
                (page..end).step_by(PAGE as usize).for_each(|page| {
                    self.table.unmap(page);
                });
            }
        }
    }

    /// What is kept of memory from which all pages have left.
    pub fn into_kept(mut self) -> Kept {
        let mut frames = BTreeMap::new();
        let mut next = 0;
        while let Some(page) = self.left.next(next) {
            next = page + PAGE;
            frames.extend(self.table.unmap(page).map(|frame| (page, frame)));
        }
        Kept {
            frames,
            named: PageSet::default(),
        }
    }
}

/// The target's side: what has come and is still as it came.
impl Space {
    /// As [`Space::install`], for a page that its source has, too: a write to it is noticed from now on.
    pub fn install_as_kept(&mut self, page: u64, frame: Frame) -> Installed {
        let installed = self.install_with(page, frame, Area::resting);
        // What shows a page of a shared object at home is not this space's own.
        if installed == Installed::Yes && self.private.contains(page) {
            self.copied.insert(page);
            self.by_block = true;
        }
        installed
    }

    /// A page of the `copied` set is written to for the first time.
    pub(super) fn no_copy_any_more(&mut self, page: u64, rights: Access) {
        self.copied.remove(page);
        if !self.by_block {
            return;
        }
        let block = page / KEPT_BLOCK * KEPT_BLOCK;
        let Some(area) = self.areas.find(page) else {
            return;
        };
        let (from, to) = (block.max(area.start), (block + KEPT_BLOCK).min(area.end));
        for near in (from..to).step_by(PAGE as usize) {
            if self.copied.remove(near)
                && self.table.get(near).is_some_and(|near| !near.is_shared())
            {
                self.table.protect(near, rights);
            }
        }
    }
}

impl Kept {
    /// How many pages there are.
    pub fn count(&self) -> u64 {
        self.frames.len() as u64
    }

    /// Notes that pages are as they were. False if not all of them are here, or one was named before; then nothing
    /// of it is of use any more.
    pub fn name(&mut self, page: u64, count: u32) -> bool {
        let count = u64::from(count);
        let end = page.checked_add(count * PAGE);
        let Some(end) = end.filter(|end| page.is_multiple_of(PAGE) && *end <= machine::USER_END)
        else {
            return false;
        };
        let here = self.frames.range(page..end).count() as u64;
        here == count && self.named.insert_range(page, count) == count
    }

    /// Gives up what was not named.
    pub fn forget_others(&mut self) {
        self.frames.retain(|page, _| self.named.contains(*page));
    }

    /// The first page that was named and not yet taken.
    pub fn next_named(&self) -> Option<u64> {
        self.named.next(0)
    }

    /// Takes out a page that was named.
    pub fn take(&mut self, page: u64) -> Option<Frame> {
        self.named.remove(page).then(|| self.frames.remove(&page))?
    }
}
