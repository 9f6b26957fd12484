//! User address spaces: the lower half of a four-level page table.
//!
//! Law: a leaf entry that is not zero owns one reference of its frame, also when it is not present
//! (`PROT_NONE`). A table without entries is unlinked, and freed as soon as no CPU can be walking it.
//! What a processor may have cached is flushed before a frame taken out of the table can be
//! dropped. Each change that takes something away gives the table a new stamp, expels the other CPUs
//! that are in user mode with it, and flushes this CPU by INVLPG; `run_user` reloads CR3 where the
//! CPU's stamp is not the table's (SDM volume 3, section 4.10). A change that only adds needs none
//! of that: at worst a stale translation gives a page fault, which flushes it.
//!
//! The [`PageTable`] is who changes it; CPUs run on [`TableHandle`]s. The tables themselves live as
//! long as either, and as long as a CPU has them in CR3; the frames they map belong to the
//! `PageTable`.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering};

use super::frame::{self, Frame};
use super::pages::{self, ACCESSED, ADDRESS, DIRTY, NO_EXECUTE, PRESENT, USER, WRITABLE};
use super::{cpu, layout, peers};
use crate::{Access, FrameKind, OutOfMemory, PAGE_SIZE, USER_END};

/// Software bit: the entry owns a frame.
const OCCUPIED: u64 = 1 << 9;
/// Software bits: what was asked for, as the hardware's bits cannot say all of it.
const WANT_READ: u64 = 1 << 10;
const WANT_WRITE: u64 = 1 << 11;
const WANT_EXECUTE: u64 = 1 << 52;

const PAGE: u64 = PAGE_SIZE as u64;

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

/// The tables of an address space, shared by its owner and the CPUs.
#[derive(Debug)]
struct Tables {
    /// Physical address of the top-level table.
    root: u64,
    /// Unique in the machine and growing; changes whenever a translation that a CPU may have cached
    /// goes. [`GONE`] once the owner has.
    stamp: AtomicU64,
    /// Tables that were unlinked but may still be walked: the physical address of the latest, whose
    /// first entry has that of the one before (bit 0 is clear, so it maps nothing).
    unlinked: AtomicU64,
}

/// The stamp of an address space without owner.
const GONE: u64 = 0;

/// What a CPU needs to run user mode in an address space. Cheap to clone; the [`PageTable`] may
/// change, or go, while user mode runs on the handle.
#[derive(Debug, Clone)]
pub struct TableHandle(Arc<Tables>);

/// The user half of an address space.
#[derive(Debug)]
pub struct PageTable {
    tables: Arc<Tables>,
    mapped: u64,
    /// The stamp when the latest of the unlinked tables was.
    unlinked_at: u64,
}

fn fresh_stamp() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// An empty table in a frame of its own.
fn new_table() -> Result<u64, OutOfMemory> {
    Ok(Frame::zeroed(FrameKind::PageTable)?.into_number() * PAGE)
}

/// Frees a table without entries.
///
/// # Safety
/// The table is linked nowhere, and no CPU walks it.
unsafe fn free_table(table: u64) {
    // SAFETY: as the caller promises; the frame came from `new_table`.
    drop(unsafe { Frame::from_number(table / PAGE) });
}

fn bits(access: Access) -> u64 {
    let mut bits = OCCUPIED;
    if !access.is_empty() {
        bits |= PRESENT | USER;
    }
    if access.contains(Access::READ) {
        bits |= WANT_READ;
    }
    if access.contains(Access::WRITE) {
        bits |= WANT_WRITE | WRITABLE;
    }
    bits | if access.contains(Access::EXECUTE) {
        WANT_EXECUTE
    } else {
        NO_EXECUTE
    }
}

fn mapping(entry: u64) -> Mapping {
    let want = |bit: u64, access: Access| {
        if entry & bit != 0 {
            access
        } else {
            Access::empty()
        }
    };
    // SAFETY: the entry owns a reference and stays while the table is borrowed; the handle made
    // here is only cloned and never dropped.
    let held =
        core::mem::ManuallyDrop::new(unsafe { Frame::from_number((entry & ADDRESS) / PAGE) });
    Mapping {
        frame: Frame::clone(&held),
        access: want(WANT_READ, Access::READ)
            | want(WANT_WRITE, Access::WRITE)
            | want(WANT_EXECUTE, Access::EXECUTE),
        accessed: entry & ACCESSED != 0,
        dirty: entry & DIRTY != 0,
    }
}

/// The entry of a live table of this address space.
#[inline(always)]
fn slot(table: u64, page: u64, level: u32) -> &'static AtomicU64 {
    // SAFETY: callers are methods of the owner of the tables; tables are freed only by `unmap` and
    // `drop`, which hold the address space exclusively.
    unsafe { pages::entry(table, pages::index(page, level)) }
}

fn check(page: u64) {
    assert!(
        page.is_multiple_of(PAGE) && page < USER_END,
        "not a user page: {page:#x}"
    );
}

impl PageTable {
    /// An address space without pages.
    ///
    /// # Errors
    /// [`OutOfMemory`] when there is no frame for the root table.
    pub fn new() -> Result<PageTable, OutOfMemory> {
        let root = new_table()?;
        let half = PAGE as usize / 2;
        let upper = |table: u64| (layout::direct(table) as *mut u8).wrapping_add(half);
        // SAFETY: both tables are live and mapped there; the new one is nobody else's yet, and the
        // kernel's half of the root is never changed again.
        unsafe { frame::copy(upper(root), upper(pages::root()), half) };
        let tables = Tables {
            root,
            stamp: AtomicU64::new(fresh_stamp()),
            unlinked: AtomicU64::new(0),
        };
        Ok(PageTable {
            tables: Arc::new(tables),
            mapped: 0,
            unlinked_at: 0,
        })
    }

    /// What CPUs run on.
    pub fn handle(&self) -> TableHandle {
        TableHandle(self.tables.clone())
    }

    /// Maps a page, giving back what was mapped there. Panics unless `page` is a page-aligned
    /// address below [`USER_END`].
    ///
    /// # Errors
    /// [`OutOfMemory`] when a table is needed and no frame is free; then nothing is mapped.
    pub fn map(
        &mut self,
        page: u64,
        frame: Frame,
        access: Access,
    ) -> Result<Option<Frame>, OutOfMemory> {
        check(page);
        let mut table = self.tables.root;
        for level in (2..=4).rev() {
            let above = slot(table, page, level);
            let value = above.load(Ordering::Relaxed);
            if value != 0 {
                table = value & ADDRESS;
                continue;
            }
            let next = new_table().inspect_err(|_| self.prune(page))?;
            above.store(next | PRESENT | WRITABLE | USER, Ordering::Release);
            frame::table_entries(table / PAGE).fetch_add(1, Ordering::Relaxed);
            table = next;
        }
        let new = frame.into_number() * PAGE | bits(access);
        let old = slot(table, page, 1).swap(new, Ordering::AcqRel);
        if old == 0 {
            frame::table_entries(table / PAGE).fetch_add(1, Ordering::Relaxed);
            self.mapped += 1;
            return Ok(None);
        }
        self.invalidate(page, old, new);
        // SAFETY: the old entry owned a reference, which is ours now.
        Ok(Some(unsafe { Frame::from_number((old & ADDRESS) / PAGE) }))
    }

    /// Takes a page out, giving back its frame.
    pub fn unmap(&mut self, page: u64) -> Option<Frame> {
        check(page);
        let leaf = self.leaf(page)?;
        let old = slot(leaf, page, 1).swap(0, Ordering::AcqRel);
        if old == 0 {
            return None;
        }
        self.mapped -= 1;
        frame::table_entries(leaf / PAGE).fetch_sub(1, Ordering::Relaxed);
        self.invalidate(page, old, 0);
        self.prune(page);
        // SAFETY: the old entry owned a reference, which is ours now.
        Some(unsafe { Frame::from_number((old & ADDRESS) / PAGE) })
    }

    /// Changes what user mode may do with a page. False: nothing is mapped there.
    pub fn protect(&mut self, page: u64, access: Access) -> bool {
        check(page);
        let Some(leaf) = self.leaf(page) else {
            return false;
        };
        let keep = |old: u64| (old & (ADDRESS | ACCESSED | DIRTY)) | bits(access);
        let changed =
            slot(leaf, page, 1).fetch_update(Ordering::AcqRel, Ordering::Acquire, |old| {
                (old != 0).then(|| keep(old))
            });
        match changed {
            Ok(old) => {
                self.invalidate(page, old, keep(old));
                true
            }
            Err(_) => false,
        }
    }

    /// What is mapped at a page.
    pub fn get(&self, page: u64) -> Option<Mapping> {
        check(page);
        let entry = slot(self.leaf(page)?, page, 1).load(Ordering::Acquire);
        (entry != 0).then(|| mapping(entry))
    }

    /// Clears the accessed flags of the pages in `[from, to)` and says whether any was set. The cost
    /// follows the length of the range.
    pub fn clear_accessed(&mut self, from: u64, to: u64) -> bool {
        let mut next = from;
        let mut any = false;
        while let Some(page) = self.next_accessed(next, to) {
            if let Some(leaf) = self.leaf(page) {
                slot(leaf, page, 1).fetch_and(!ACCESSED, Ordering::AcqRel);
            }
            any = true;
            next = page + PAGE;
        }
        if any {
            // A stale translation does no harm: the next entry of each CPU forgets them all.
            self.tables.stamp.store(fresh_stamp(), Ordering::SeqCst);
        }
        any
    }

    /// The first page in `[from, to)` that is mapped and was used since its flag was cleared. The cost
    /// follows the length of the range.
    pub fn next_accessed(&self, from: u64, to: u64) -> Option<u64> {
        const SPAN: u64 = PAGE << 9;
        let to = to.min(USER_END);
        let mut page = from.checked_next_multiple_of(PAGE)?;
        while page < to {
            let behind = (page & !(SPAN - 1)) + SPAN;
            if let Some(leaf) = self.leaf(page) {
                let used =
                    |page: &u64| slot(leaf, *page, 1).load(Ordering::Relaxed) & ACCESSED != 0;
                let mut pages = (page..behind.min(to)).step_by(PAGE as usize);
                if let Some(page) = pages.find(used) {
                    return Some(page);
                }
            }
            page = behind;
        }
        None
    }

    /// The mapped pages in `[from, to)`, in order.
    pub fn pages(&self, from: u64, to: u64) -> PageIter<'_> {
        PageIter {
            table: self,
            next: from,
            to,
        }
    }

    /// The first mapped page in `[from, to)`; skips what a missing table would map in one step.
    pub fn next_mapped(&self, from: u64, to: u64) -> Option<u64> {
        let to = to.min(USER_END);
        let mut page = from.checked_next_multiple_of(PAGE)?;
        'search: while page < to {
            let mut table = self.tables.root;
            for level in (1..=4).rev() {
                let value = slot(table, page, level).load(Ordering::Acquire);
                if value == 0 {
                    let span = PAGE << (9 * (level - 1));
                    page = (page & !(span - 1)) + span;
                    continue 'search;
                }
                table = value & ADDRESS;
            }
            return Some(page);
        }
        None
    }

    /// How many pages are mapped.
    pub fn mapped_count(&self) -> u64 {
        self.mapped
    }

    /// The leaf table for a page.
    fn leaf(&self, page: u64) -> Option<u64> {
        let mut table = self.tables.root;
        for level in (2..=4).rev() {
            let value = slot(table, page, level).load(Ordering::Acquire);
            if value == 0 {
                return None;
            }
            table = value & ADDRESS;
        }
        Some(table)
    }

    /// Forgets cached translations of a page whose entry was `old` and is `new`.
    fn invalidate(&self, page: u64, old: u64, new: u64) {
        if old & PRESENT == 0 {
            return;
        }
        let loaded = cpu::current().loaded_stamp.get() == self.stamp();
        let same_frame = new & PRESENT != 0 && (old ^ new) & ADDRESS == 0;
        let taken = old & !new & WRITABLE | new & !old & NO_EXECUTE;
        if !same_frame || taken != 0 {
            self.renew_stamp(loaded);
            peers::expel(self.tables.root);
        }
        if loaded {
            x86_64::instructions::tlb::flush(x86_64::VirtAddr::new(page));
        }
    }

    fn stamp(&self) -> u64 {
        self.tables.stamp.load(Ordering::Relaxed)
    }

    /// Gives the address space a new stamp. This CPU, if it has it loaded, flushes by itself.
    fn renew_stamp(&self, loaded: bool) {
        let stamp = fresh_stamp();
        self.tables.stamp.store(stamp, Ordering::SeqCst);
        if loaded {
            cpu::current().loaded_stamp.set(stamp);
        }
    }

    /// Unlinks the tables on the way to `page` that have no entries.
    fn prune(&mut self, page: u64) {
        self.sweep();
        while let Some((above, level)) = self.empty_table(page) {
            let table = slot(above, page, level).swap(0, Ordering::AcqRel) & ADDRESS;
            frame::table_entries(above / PAGE).fetch_sub(1, Ordering::Relaxed);
            // The processor may cache the pointer to a table; INVLPG forgets that too.
            self.invalidate(page, PRESENT, 0);
            let before = self.tables.unlinked.swap(table, Ordering::Relaxed);
            // SAFETY: the table is live; an entry that is not present may have any value.
            unsafe { pages::entry(table, 0) }.store(before, Ordering::Relaxed);
            self.unlinked_at = self.stamp();
        }
        self.sweep();
    }

    /// Frees the unlinked tables if no CPU can be walking them. The latest makes the others wait, so
    /// this is done before there are new ones, too.
    fn sweep(&self) {
        if self.tables.unlinked.load(Ordering::Relaxed) != 0
            && !peers::may_walk(self.tables.root, self.unlinked_at)
        {
            // SAFETY: `may_walk` knows every CPU.
            unsafe { self.tables.free_unlinked() };
        }
    }

    /// The deepest table towards `page`, if it is empty: the table above it and that one's level.
    fn empty_table(&self, page: u64) -> Option<(u64, u32)> {
        let (mut table, mut found) = (self.tables.root, None);
        for level in (2..=4).rev() {
            let value = slot(table, page, level).load(Ordering::Acquire);
            if value == 0 {
                break;
            }
            found = Some((table, level));
            table = value & ADDRESS;
        }
        found.filter(|_| frame::table_entries(table / PAGE).load(Ordering::Relaxed) == 0)
    }

    /// Drops the frames that the tables from `table` of `level` down map.
    fn release_leaves(table: u64, level: u32) {
        let slots = if level == 4 { 256 } else { 512 };
        for index in 0..slots {
            // SAFETY: the tables live until `Tables` is dropped.
            let entry = unsafe { pages::entry(table, index) };
            if level > 1 {
                match entry.load(Ordering::Acquire) {
                    0 => {}
                    below => PageTable::release_leaves(below & ADDRESS, level - 1),
                }
            } else {
                match entry.swap(0, Ordering::AcqRel) {
                    0 => {}
                    // SAFETY: the entry owned a reference, which is ours now.
                    old => drop(unsafe { Frame::from_number((old & ADDRESS) / PAGE) }),
                }
            }
        }
    }
}

impl Drop for PageTable {
    fn drop(&mut self) {
        self.tables.stamp.store(GONE, Ordering::SeqCst);
        peers::expel(self.tables.root);
        // No user mode runs on these tables any more, and none will. This CPU leaves them; others
        // may have them in CR3 for a while.
        let cpu = cpu::current();
        if let Some(handle) = cpu.loaded.take() {
            if Arc::ptr_eq(&handle.0, &self.tables) {
                load_kernel();
            } else {
                cpu.loaded.set(Some(handle));
            }
        }
        PageTable::release_leaves(self.tables.root, 4);
    }
}

/// Leaves the user's address space that this CPU has loaded.
pub(crate) fn load_kernel() {
    let cpu = cpu::current();
    if cpu.loaded_stamp.get() == 0 {
        return;
    }
    // SAFETY: the kernel's own table maps the kernel.
    peers::switch(0, 0, || unsafe { pages::load(pages::root()) });
    cpu.loaded_stamp.set(0);
    drop(cpu.loaded.take());
}

impl TableHandle {
    /// Makes this the CPU's address space, and the CPU one that is in user mode in it until
    /// [`peers::deactivate`]. False: its owner is gone.
    pub(crate) fn enter(&self) -> bool {
        let (cpu, root) = (cpu::current(), self.0.root);
        peers::activate(root);
        let stamp = self.0.stamp.load(Ordering::SeqCst);
        if stamp == GONE {
            peers::deactivate();
            return false;
        }
        if cpu.loaded_stamp.get() != stamp {
            // SAFETY: the upper half is the kernel's, copied in `PageTable::new`; the CPU keeps a
            // handle as long as it has the tables in CR3.
            peers::switch(root, stamp, || unsafe { pages::load(root) });
            cpu.loaded_stamp.set(stamp);
            drop(cpu.loaded.replace(Some(self.clone())));
        }
        true
    }
}

impl Tables {
    /// Frees the tables that were unlinked.
    ///
    /// # Safety
    /// No CPU walks them any more.
    unsafe fn free_unlinked(&self) {
        let mut table = self.unlinked.swap(0, Ordering::Relaxed);
        while table != 0 {
            // SAFETY: live until the next line.
            let before = unsafe { pages::entry(table, 0) }.load(Ordering::Relaxed);
            // SAFETY: linked nowhere, and walked by nobody as the caller promises.
            unsafe { free_table(table) };
            table = before;
        }
    }
}

impl Drop for Tables {
    fn drop(&mut self) {
        /// Frees a table of `level` with all below it.
        fn free_tree(table: u64, level: u32) {
            if level > 1 {
                let slots = if level == 4 { 256 } else { 512 };
                for index in 0..slots {
                    // SAFETY: each table is live until it is freed below.
                    let value = unsafe { pages::entry(table, index) }.load(Ordering::Acquire);
                    if value != 0 {
                        free_tree(value & ADDRESS, level - 1);
                    }
                }
            }
            // SAFETY: neither the owner nor a CPU has these tables any more; each is visited once.
            unsafe { free_table(table) };
        }
        free_tree(self.root, 4);
        // SAFETY: as above: no CPU has the root in CR3.
        unsafe { self.free_unlinked() };
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
        let page = self.table.next_mapped(self.next, self.to)?;
        self.next = page + PAGE;
        self.table.get(page).map(|mapping| (page, mapping))
    }
}
