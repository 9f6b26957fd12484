//! The kernel's own page tables.
//!
//! Law: text is never writable, nothing writable is executable, and no RAM is mapped twice. All
//! top-level entries of the upper half exist from the start, so that every address space can copy
//! them once and never falls behind (SDM volume 3, section 4.5).

use core::ops::Range;
use core::sync::atomic::{AtomicU64, Ordering};

use spin::Mutex;

use super::boot::Regions;
use super::frame;
use super::{cpu, layout};
use crate::{FrameKind, OutOfMemory, PAGE_SIZE};

pub(crate) const PRESENT: u64 = 1;
pub(crate) const WRITABLE: u64 = 1 << 1;
pub(crate) const USER: u64 = 1 << 2;
const WRITE_THROUGH: u64 = 1 << 3;
const UNCACHED: u64 = 1 << 4;
pub(crate) const ACCESSED: u64 = 1 << 5;
pub(crate) const DIRTY: u64 = 1 << 6;
const LARGE: u64 = 1 << 7;
const GLOBAL: u64 = 1 << 8;
pub(crate) const NO_EXECUTE: u64 = 1 << 63;
/// The physical address in an entry.
pub(crate) const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

/// Flags of read-only kernel memory.
const CONSTANT: u64 = PRESENT | GLOBAL | NO_EXECUTE;
/// Flags of kernel memory.
const DATA: u64 = CONSTANT | WRITABLE;
/// Flags of kernel code.
const CODE: u64 = PRESENT | GLOBAL;
/// Flags of device registers.
const DEVICE: u64 = DATA | UNCACHED | WRITE_THROUGH;

/// Physical address of the kernel's top-level table.
pub(crate) static ROOT: AtomicU64 = AtomicU64::new(0);
/// What to add to a table's physical address to reach it: the boot map, later the direct map.
static TABLES: AtomicU64 = AtomicU64::new(layout::IMAGE);
/// Held while kernel tables change; the next free address of the window.
static WINDOW_NEXT: Mutex<u64> = Mutex::new(layout::WINDOW);

/// The entry `index` of the table at a physical address.
///
/// # Safety
/// `table` is a live page table that is mapped for writing.
pub(crate) unsafe fn entry(table: u64, index: usize) -> &'static AtomicU64 {
    debug_assert!(table.is_multiple_of(PAGE_SIZE as u64) && index < 512);
    let address = TABLES.load(Ordering::Relaxed) + table + index as u64 * 8;
    // SAFETY: aligned, mapped and live as the caller promises; entries are only ever accessed as
    // atomics, as the processor's page walker may access them at any time.
    unsafe { AtomicU64::from_ptr(address as *mut u64) }
}

/// Index into the table of `level` (1 = leaf tables) for an address.
pub(crate) fn index(address: u64, level: u32) -> usize {
    ((address >> (12 + 9 * (level - 1))) & 511) as usize
}

/// The kernel's top-level table.
pub(crate) fn root() -> u64 {
    ROOT.load(Ordering::Relaxed)
}

/// Where tables come from: RAM not yet owned by the frame allocator at first, frames later.
type Source<'a> = &'a mut dyn FnMut() -> Result<u64, OutOfMemory>;

/// Zeroes a new table.
fn new_table(source: Source<'_>) -> Result<u64, OutOfMemory> {
    let table = source()?;
    for slot in 0..512 {
        // SAFETY: the source gave a page of RAM to us alone, mapped where tables are.
        unsafe { entry(table, slot) }.store(0, Ordering::Relaxed);
    }
    Ok(table)
}

/// The table of `level - 1` behind an entry, made if it is missing.
fn descend(table: u64, address: u64, level: u32, source: Source<'_>) -> Result<u64, OutOfMemory> {
    // SAFETY: kernel tables are never freed.
    let slot = unsafe { entry(table, index(address, level)) };
    let value = slot.load(Ordering::Relaxed);
    if value & PRESENT != 0 {
        assert_eq!(
            value & LARGE,
            0,
            "a large page where a table is needed: {address:#x}"
        );
        return Ok(value & ADDRESS);
    }
    let next = new_table(source)?;
    slot.store(next | PRESENT | WRITABLE, Ordering::Relaxed);
    Ok(next)
}

/// Maps `length` bytes with the largest pages that fit. Everything page-aligned, nothing mapped
/// there before.
fn map_range(
    virtual_address: u64,
    physical: u64,
    length: u64,
    flags: u64,
    source: Source<'_>,
) -> Result<(), OutOfMemory> {
    let mut done = 0;
    while done < length {
        let (from, to) = (virtual_address + done, physical + done);
        let fits = |size: u64| (from | to).is_multiple_of(size) && length - done >= size;
        let (level, size) = if fits(1 << 30) && cpu::has_gibibyte_pages() {
            (3, 1 << 30)
        } else if fits(1 << 21) {
            (2, 1 << 21)
        } else {
            (1, 1 << 12)
        };
        let mut table = root();
        for above in (level + 1..=4).rev() {
            table = descend(table, from, above, source)?;
        }
        // SAFETY: kernel tables are never freed.
        let slot = unsafe { entry(table, index(from, level)) };
        assert_eq!(slot.load(Ordering::Relaxed), 0, "mapped twice: {from:#x}");
        slot.store(
            to | flags | if level > 1 { LARGE } else { 0 },
            Ordering::Relaxed,
        );
        done += size;
    }
    Ok(())
}

/// Builds the kernel's tables and switches to them. Tables are taken from `free`.
pub(crate) fn init(ram: &Regions, free: &mut Regions) {
    let mut early = || {
        free.take(PAGE_SIZE as u64, layout::BOOT_LIMIT)
            .ok_or(OutOfMemory)
    };
    build(ram, &mut early).expect("too little memory below 1 GiB for the kernel's page tables");
    // SAFETY: the new tables map the running code, its stack and its data where they are.
    unsafe { load(root()) };
    TABLES.store(layout::DIRECT, Ordering::Relaxed);
}

fn build(ram: &Regions, source: Source<'_>) -> Result<(), OutOfMemory> {
    ROOT.store(new_table(source)?, Ordering::Relaxed);
    for window in [layout::HEAP, layout::WINDOW] {
        descend(root(), window, 4, source)?;
    }
    let image = |from: u64, to: u64, flags: u64, source: Source<'_>| {
        map_range(from, layout::image_physical(from), to - from, flags, source)
    };
    image(layout::text_start(), layout::text_end(), CODE, source)?;
    image(
        layout::constants_start(),
        layout::constants_end(),
        CONSTANT,
        source,
    )?;
    image(layout::data_start(), layout::stack_guard(), DATA, source)?;
    image(layout::stack_bottom(), layout::data_end(), DATA, source)?;
    for range in ram.iter() {
        map_range(
            layout::direct(range.start),
            range.start,
            range.end - range.start,
            DATA,
            source,
        )?;
    }
    Ok(())
}

/// Loads CR3.
///
/// # Safety
/// The table maps the kernel as the kernel's own table does.
pub(crate) unsafe fn load(table: u64) {
    // SAFETY: as the caller promises; changing CR3 flushes everything that is not global, and
    // global entries are the same in every table.
    unsafe { core::arch::asm!("mov cr3, {}", in(reg) table, options(nostack, preserves_flags)) };
}

/// A table for the kernel's half, from the frame allocator.
fn frame_source() -> Result<u64, OutOfMemory> {
    Ok(frame::take(FrameKind::Kernel)? * PAGE_SIZE as u64)
}

/// Maps a fresh frame at the end of the heap.
pub(crate) fn grow_heap(address: u64) -> Result<(), OutOfMemory> {
    let _changing = WINDOW_NEXT.lock();
    let number = frame::take(FrameKind::Kernel)?;
    let physical = number * PAGE_SIZE as u64;
    map_range(address, physical, PAGE_SIZE as u64, DATA, &mut frame_source).inspect_err(|_| {
        // SAFETY: just taken and mapped nowhere.
        unsafe { frame::give(number) };
    })
}

/// Maps a physical range into the window for ever; gives the address of its first byte.
fn window(physical: Range<u64>, flags: u64) -> Option<u64> {
    let page = PAGE_SIZE as u64;
    let (first, end) = (
        physical.start & !(page - 1),
        physical.end.checked_next_multiple_of(page)?,
    );
    if physical.is_empty() || end > cpu::physical_limit() {
        return None;
    }
    let mut next = WINDOW_NEXT.lock();
    let at = *next;
    let after = at.checked_add(end - first)?.checked_add(page)?;
    if after > layout::WINDOW + layout::WINDOW_LIMIT {
        return None;
    }
    *next = after;
    map_range(at, first, end - first, flags, &mut frame_source).ok()?;
    Some(at + (physical.start - first))
}

/// Maps device registers. The caller has checked that the range is not RAM.
pub(crate) fn device_window(physical: Range<u64>) -> Option<u64> {
    window(physical, DEVICE)
}

/// Maps a page of low memory for writing. The caller knows that nobody else uses it.
pub(crate) fn low_window(physical: u64) -> Option<u64> {
    debug_assert!(physical < layout::LOW_MEMORY);
    window(physical..physical + PAGE_SIZE as u64, DATA)
}

/// Maps a stack of fresh frames that stays for ever; gives its end. There are unmapped pages on both
/// sides of it.
pub(crate) fn kernel_stack(bytes: u64) -> Option<u64> {
    let page = PAGE_SIZE as u64;
    let mut next = WINDOW_NEXT.lock();
    let at = *next;
    let end = at.checked_add(bytes)?;
    if end + page > layout::WINDOW + layout::WINDOW_LIMIT {
        return None;
    }
    *next = end + page;
    for address in (at..end).step_by(PAGE_SIZE) {
        let physical = frame_source().ok()?;
        map_range(address, physical, page, DATA, &mut frame_source).ok()?;
    }
    Some(end)
}

/// Maps firmware tables for reading.
pub(crate) fn firmware_window(physical: Range<u64>) -> Option<u64> {
    window(physical, CONSTANT)
}
