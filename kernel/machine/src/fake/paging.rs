//! A user address space as a sorted map.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::{Access, Frame, OutOfMemory, PAGE_SIZE, USER_END};

/// One mapped page, as seen by the kernel.
///
/// The handle in here counts: a frame mapped once and held by nobody else has two references while
/// a `Mapping` of it is alive. [`Mapping::is_shared`] takes that into account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    /// The frame behind the page.
    pub frame: Frame,
    /// What user mode may do.
    pub access: Access,
    /// User mode touched the page since the flag was cleared.
    pub accessed: bool,
    /// User mode wrote to the page since it was mapped.
    pub dirty: bool,
}

impl Mapping {
    /// Whether anybody but this page table and this `Mapping` holds the frame.
    pub fn is_shared(&self) -> bool {
        self.frame.references() > 2
    }
}

/// The pages of an address space; `None` once its owner is gone.
type Pages = Option<BTreeMap<u64, Mapping>>;

/// What a processor needs to run user mode in an address space. Cheap to clone; the [`PageTable`]
/// may change, or go, while user mode runs on the handle.
#[derive(Debug, Clone)]
pub struct TableHandle(Arc<Mutex<Pages>>);

impl TableHandle {
    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.0
            .lock()
            .expect("nothing panics while it has the pages")
    }

    /// What is mapped at a page, as user mode sees it: for scripted programs.
    pub fn get(&self, page: u64) -> Option<Mapping> {
        check(page);
        self.pages().as_ref()?.get(&page).cloned()
    }

    /// Whether the owner of the address space is gone.
    pub(crate) fn is_gone(&self) -> bool {
        self.pages().is_none()
    }
}

/// The user half of an address space.
#[derive(Debug)]
pub struct PageTable {
    handle: TableHandle,
}

impl PageTable {
    /// An address space without pages.
    ///
    /// # Errors
    /// [`OutOfMemory`] when there is no frame for the root table.
    pub fn new() -> Result<PageTable, OutOfMemory> {
        Ok(PageTable {
            handle: TableHandle(Arc::new(Mutex::new(Some(BTreeMap::new())))),
        })
    }

    /// What processors run on.
    pub fn handle(&self) -> TableHandle {
        self.handle.clone()
    }

    fn with<T>(&self, act: impl FnOnce(&mut BTreeMap<u64, Mapping>) -> T) -> T {
        act(self
            .handle
            .pages()
            .as_mut()
            .expect("the pages go with the page table"))
    }

    /// Maps a page, giving back what was mapped there. Panics unless `page` is a page-aligned
    /// address below [`USER_END`].
    ///
    /// # Errors
    /// [`OutOfMemory`] when a table is needed and no frame is free; then nothing changed.
    pub fn map(
        &mut self,
        page: u64,
        frame: Frame,
        access: Access,
    ) -> Result<Option<Frame>, OutOfMemory> {
        check(page);
        let mapping = Mapping {
            frame,
            access,
            accessed: false,
            dirty: false,
        };
        Ok(self.with(|pages| pages.insert(page, mapping).map(|old| old.frame)))
    }

    /// Takes a page out, giving back its frame.
    pub fn unmap(&mut self, page: u64) -> Option<Frame> {
        check(page);
        self.with(|pages| pages.remove(&page).map(|old| old.frame))
    }

    /// Changes what user mode may do with a page. False: nothing is mapped there.
    pub fn protect(&mut self, page: u64, access: Access) -> bool {
        check(page);
        self.with(|pages| {
            pages
                .get_mut(&page)
                .map(|mapping| mapping.access = access)
                .is_some()
        })
    }

    /// What is mapped at a page.
    pub fn get(&self, page: u64) -> Option<Mapping> {
        self.handle.get(page)
    }

    /// Clears the accessed flags of the pages in `[from, to)` and says whether any was set.
    pub fn clear_accessed(&mut self, from: u64, to: u64) -> bool {
        self.with(|pages| {
            let mappings = pages.range_mut(from..to.max(from));
            mappings.fold(false, |any, (_, mapping)| {
                any | std::mem::replace(&mut mapping.accessed, false)
            })
        })
    }

    /// The first page in `[from, to)` that is mapped and was used since its flag was cleared.
    pub fn next_accessed(&self, from: u64, to: u64) -> Option<u64> {
        self.with(|pages| {
            let mut mappings = pages.range(from..to.max(from));
            Some(*mappings.find(|(_, mapping)| mapping.accessed)?.0)
        })
    }

    /// The mapped pages in `[from, to)`, in order.
    pub fn pages(&self, from: u64, to: u64) -> PageIter<'_> {
        PageIter {
            table: self,
            next: from,
            to,
        }
    }

    /// The first mapped page in `[from, to)`.
    pub fn next_mapped(&self, from: u64, to: u64) -> Option<u64> {
        self.with(|pages| Some(*pages.range(from..to.max(from)).next()?.0))
    }

    /// How many pages are mapped.
    pub fn mapped_count(&self) -> u64 {
        self.with(|pages| pages.len() as u64)
    }
}

impl Drop for PageTable {
    fn drop(&mut self) {
        let pages = self.handle.pages().take();
        drop(pages);
    }
}

/// The mapped pages of a range, in order; see [`PageTable::pages`].
#[derive(Debug)]
pub struct PageIter<'a> {
    table: &'a PageTable,
    next: u64,
    to: u64,
}

impl Iterator for PageIter<'_> {
    type Item = (u64, Mapping);

    fn next(&mut self) -> Option<(u64, Mapping)> {
        let found = self.table.with(|pages| {
            let (&page, mapping) = pages.range(self.next..self.to.max(self.next)).next()?;
            Some((page, mapping.clone()))
        });
        self.next = found.as_ref()?.0 + PAGE_SIZE as u64;
        found
    }
}

/// Does to the flags of a page what an access by user mode would do. Panics if nothing is mapped
/// there or the access is forbidden.
pub fn touch(table: &TableHandle, page: u64, access: Access) {
    let mut pages = table.pages();
    let mapping = pages.as_mut().and_then(|pages| pages.get_mut(&page));
    let mapping = mapping.expect("a mapped page");
    assert!(mapping.access.contains(access), "the access would fault");
    mapping.accessed = true;
    mapping.dirty |= access.contains(Access::WRITE);
}

fn check(page: u64) {
    assert!(
        page.is_multiple_of(PAGE_SIZE as u64) && page < USER_END,
        "not a user page: {page:#x}"
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FrameKind;

    #[test]
    fn mapping_and_back() {
        let mut table = PageTable::new().expect("memory");
        let frame = Frame::zeroed(FrameKind::User).expect("memory");
        assert_eq!(table.map(0x1000, frame.clone(), Access::READ), Ok(None));
        assert!(table.get(0x1000).expect("mapped").is_shared());
        assert_eq!(table.next_mapped(0, USER_END), Some(0x1000));
        assert_eq!(table.next_mapped(0x2000, USER_END), None);
        assert!(table.protect(0x1000, Access::READ | Access::WRITE));
        assert!(!table.protect(0x2000, Access::READ));
        touch(&table.handle(), 0x1000, Access::WRITE);
        assert!(table.clear_accessed(0, 0x2000) && !table.clear_accessed(0, 0x2000));
        assert!(table.get(0x1000).expect("mapped").dirty);
        assert_eq!(table.pages(0, USER_END).count(), 1);
        assert_eq!(table.unmap(0x1000), Some(frame));
        assert_eq!(table.mapped_count(), 0);
    }
}
