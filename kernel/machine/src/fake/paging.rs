//! A user address space as a sorted map.

use std::collections::BTreeMap;
use std::collections::btree_map::Range;

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

/// The user half of an address space.
#[derive(Debug)]
pub struct PageTable {
    pages: BTreeMap<u64, Mapping>,
}

impl PageTable {
    /// An address space without pages.
    ///
    /// # Errors
    /// [`OutOfMemory`] when there is no frame for the root table.
    pub fn new() -> Result<PageTable, OutOfMemory> {
        Ok(PageTable {
            pages: BTreeMap::new(),
        })
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
        Ok(self.pages.insert(page, mapping).map(|old| old.frame))
    }

    /// Takes a page out, giving back its frame.
    pub fn unmap(&mut self, page: u64) -> Option<Frame> {
        check(page);
        self.pages.remove(&page).map(|old| old.frame)
    }

    /// Changes what user mode may do with a page. False: nothing is mapped there.
    pub fn protect(&mut self, page: u64, access: Access) -> bool {
        check(page);
        self.pages
            .get_mut(&page)
            .map(|mapping| mapping.access = access)
            .is_some()
    }

    /// What is mapped at a page.
    pub fn get(&self, page: u64) -> Option<Mapping> {
        check(page);
        self.pages.get(&page).cloned()
    }

    /// Clears the accessed flag of a page and says what it was.
    pub fn clear_accessed(&mut self, page: u64) -> bool {
        check(page);
        self.pages
            .get_mut(&page)
            .is_some_and(|mapping| std::mem::replace(&mut mapping.accessed, false))
    }

    /// Whether a page is mapped and was used since the flag was cleared.
    pub fn is_accessed(&self, page: u64) -> bool {
        check(page);
        self.pages
            .get(&page)
            .is_some_and(|mapping| mapping.accessed)
    }

    /// The mapped pages in `[from, to)`, in order.
    pub fn pages(&self, from: u64, to: u64) -> PageIter<'_> {
        PageIter {
            range: self.pages.range(from..to.max(from)),
        }
    }

    /// The first mapped page in `[from, to)`.
    pub fn next_mapped(&self, from: u64, to: u64) -> Option<u64> {
        self.pages
            .range(from..to.max(from))
            .next()
            .map(|(&page, _)| page)
    }

    /// How many pages are mapped.
    pub fn mapped_count(&self) -> u64 {
        self.pages.len() as u64
    }
}

/// The mapped pages of a range, in order; see [`PageTable::pages`].
#[derive(Debug)]
pub struct PageIter<'a> {
    range: Range<'a, u64, Mapping>,
}

impl Iterator for PageIter<'_> {
    type Item = (u64, Mapping);

    fn next(&mut self) -> Option<(u64, Mapping)> {
        self.range
            .next()
            .map(|(&page, mapping)| (page, mapping.clone()))
    }
}

/// Does to the flags of a page what an access by user mode would do. Panics if nothing is mapped
/// there or the access is forbidden.
pub fn touch(table: &mut PageTable, page: u64, access: Access) {
    let mapping = table.pages.get_mut(&page).expect("a mapped page");
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
        touch(&mut table, 0x1000, Access::WRITE);
        assert!(table.clear_accessed(0x1000) && !table.clear_accessed(0x1000));
        assert!(table.get(0x1000).expect("mapped").dirty);
        assert_eq!(table.pages(0, USER_END).count(), 1);
        assert_eq!(table.unmap(0x1000), Some(frame));
        assert_eq!(table.mapped_count(), 0);
    }
}
