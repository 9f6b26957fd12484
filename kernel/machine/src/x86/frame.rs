//! Page frames: one counted state per frame, constant time for everything.
//!
//! Law: a frame is in exactly one of three places: in a region never touched since boot, on the
//! free list, or held by `references` handles. Whoever holds a handle may read and write the page,
//! and so may user mode where it is mapped and a device it was given to, all at the same time: page
//! contents are copied by raw copies and never seen through a Rust reference.
//!
//! A part of the memory is kept for the kernel itself ([`reserve`]): user memory runs out first, and
//! the kernel can still describe why.

use core::fmt;
use core::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};

use spin::Mutex;

use super::boot::Regions;
use super::layout;
use crate::{FRAME_KINDS, FrameCounts, FrameKind, OutOfMemory, PAGE_SIZE};

/// What is known about a frame.
#[repr(C)]
struct State {
    /// Handles, or the next free frame while on the free list.
    references: AtomicU32,
    /// `FrameKind`, or `FREE`.
    kind: AtomicU8,
    /// Entries in use while the frame is a page table.
    used: AtomicU16,
}

const FREE: u8 = 0xff;
/// End of the free list.
const NONE: u32 = u32::MAX;

/// Address of the array of states, indexed by frame number.
static STATES: AtomicU64 = AtomicU64::new(0);

struct Allocator {
    free_list: u32,
    /// Memory never touched since boot. Single frames come from the end of the last region, runs
    /// of frames from the start of the first that is long enough.
    regions: Regions,
    counts: FrameCounts,
}

static ALLOCATOR: Mutex<Allocator> = Mutex::new(Allocator {
    free_list: NONE,
    regions: Regions::new(),
    counts: FrameCounts {
        total: 0,
        free: 0,
        by_kind: [0; FRAME_KINDS],
    },
});

/// The state of a frame.
fn state(number: u64) -> &'static State {
    let address = STATES.load(Ordering::Relaxed) + number * size_of::<State>() as u64;
    // SAFETY: all frame numbers come from regions, the array covers every region, and it is in the
    // direct map for ever. Memory not yet initialised there is plain bytes: every bit pattern is a
    // `State`, and `take` writes it before anybody reads it.
    unsafe { &*(address as *const State) }
}

/// Takes over the free memory. The first region with room gives the array of states.
pub(crate) fn init(mut regions: Regions) {
    let page = PAGE_SIZE as u64;
    let frames = regions
        .iter()
        .map(|region| region.end / page)
        .max()
        .unwrap_or(0);
    assert!(frames < u64::from(NONE), "more than 16 TiB of memory");
    let states = regions
        .take(frames * size_of::<State>() as u64, layout::DIRECT_LIMIT)
        .expect("no room for the states of page frames");
    STATES.store(layout::direct(states), Ordering::Relaxed);
    let mut allocator = ALLOCATOR.lock();
    let total = regions
        .iter()
        .map(|region| (region.end - region.start) / page)
        .sum();
    allocator.counts.total = total;
    allocator.counts.free = total;
    allocator.regions = regions;
}

/// Frames that only the kernel's heap and tables may take.
fn reserve(total: u64) -> u64 {
    (total / 64).min(1024)
}

/// Takes one frame with one reference; its contents are anything.
pub(crate) fn take(kind: FrameKind) -> Result<u64, OutOfMemory> {
    let mut allocator = ALLOCATOR.lock();
    let kept = if kind == FrameKind::Kernel {
        0
    } else {
        reserve(allocator.counts.total)
    };
    if allocator.counts.free <= kept {
        return Err(OutOfMemory);
    }
    let number = if allocator.free_list != NONE {
        let number = u64::from(allocator.free_list);
        let state = state(number);
        debug_assert_eq!(state.kind.load(Ordering::Relaxed), FREE);
        allocator.free_list = state.references.load(Ordering::Relaxed);
        number
    } else {
        allocator
            .regions
            .take_last(PAGE_SIZE as u64)
            .ok_or(OutOfMemory)?
            / PAGE_SIZE as u64
    };
    own(&mut allocator.counts, number, kind);
    Ok(number)
}

/// Takes a run of frames, each with one reference. Runs come from memory never used before: they
/// are for rings of devices, made at boot.
pub(crate) fn take_run(kind: FrameKind, frames: u64) -> Result<u64, OutOfMemory> {
    let mut allocator = ALLOCATOR.lock();
    let bytes = frames.checked_mul(PAGE_SIZE as u64).ok_or(OutOfMemory)?;
    let first = allocator.regions.take(bytes, u64::MAX).ok_or(OutOfMemory)? / PAGE_SIZE as u64;
    for number in first..first + frames {
        own(&mut allocator.counts, number, kind);
    }
    Ok(first)
}

fn own(counts: &mut FrameCounts, number: u64, kind: FrameKind) {
    let state = state(number);
    state.references.store(1, Ordering::Relaxed);
    state.kind.store(kind as u8, Ordering::Relaxed);
    state.used.store(0, Ordering::Relaxed);
    counts.free -= 1;
    counts.by_kind[kind as usize] += 1;
}

/// Puts a frame on the free list.
///
/// # Safety
/// The frame was taken, and nobody refers to it any more.
pub(crate) unsafe fn give(number: u64) {
    let mut allocator = ALLOCATOR.lock();
    let state = state(number);
    let kind = FrameKind::from_number(state.kind.swap(FREE, Ordering::Relaxed))
        .expect("a frame is freed once");
    state
        .references
        .store(allocator.free_list, Ordering::Relaxed);
    allocator.free_list = u32::try_from(number).expect("checked in init");
    allocator.counts.free += 1;
    allocator.counts.by_kind[kind as usize] -= 1;
}

/// The number of entries in use in the page table that this frame is.
pub(crate) fn table_entries(number: u64) -> &'static AtomicU16 {
    &state(number).used
}

/// How the machine's frames are used.
pub fn frame_counts() -> FrameCounts {
    ALLOCATOR.lock().counts
}

/// Where the contents of a frame are mapped.
pub(crate) fn contents(number: u64) -> *mut u8 {
    layout::direct(number * PAGE_SIZE as u64) as *mut u8
}

/// One page frame of physical memory, counted by its handles.
pub struct Frame {
    number: u64,
}

impl Frame {
    /// A frame of zeros.
    ///
    /// # Errors
    /// [`OutOfMemory`] when no frame is free, or only those kept for the kernel are.
    pub fn zeroed(kind: FrameKind) -> Result<Frame, OutOfMemory> {
        let number = take(kind)?;
        // SAFETY: the frame was just taken; one whole page is mapped there.
        unsafe { fill_zero(contents(number), PAGE_SIZE) };
        Ok(Frame { number })
    }

    /// A frame that still holds whatever its last owner left there: for a device to fill. Nobody may
    /// see more of it than was filled.
    ///
    /// # Errors
    /// [`OutOfMemory`] as for [`Frame::zeroed`].
    pub fn stale(kind: FrameKind) -> Result<Frame, OutOfMemory> {
        let number = take(kind)?;
        Ok(Frame { number })
    }

    /// A new frame with the same contents.
    ///
    /// # Errors
    /// [`OutOfMemory`] as for [`Frame::zeroed`].
    pub fn copy_of(&self, kind: FrameKind) -> Result<Frame, OutOfMemory> {
        self.part(kind, 0, PAGE_SIZE)
    }

    /// A new frame that begins with a part of this one; the rest is zeros. Panics outside of the page.
    ///
    /// # Errors
    /// [`OutOfMemory`] as for [`Frame::zeroed`].
    pub fn part(&self, kind: FrameKind, from: usize, length: usize) -> Result<Frame, OutOfMemory> {
        check(from, length);
        let part = Frame {
            number: take(kind)?,
        };
        part.copy_from(0, self, from, length);
        part.zero(length, PAGE_SIZE - length);
        Ok(part)
    }

    /// Says what the frame is used for from now on.
    pub fn set_kind(&self, kind: FrameKind) {
        let mut allocator = ALLOCATOR.lock();
        let old =
            FrameKind::from_number(state(self.number).kind.swap(kind as u8, Ordering::Relaxed))
                .expect("a held frame has a kind");
        allocator.counts.by_kind[old as usize] -= 1;
        allocator.counts.by_kind[kind as usize] += 1;
    }

    /// What the frame is used for.
    pub fn kind(&self) -> FrameKind {
        FrameKind::from_number(state(self.number).kind.load(Ordering::Relaxed))
            .expect("a held frame has a kind")
    }

    /// Copies out of the page. Panics outside of it.
    pub fn read(&self, offset: usize, into: &mut [u8]) {
        check(offset, into.len());
        // SAFETY: inside of the held page; `into` is exclusive and no page of user memory.
        unsafe {
            copy(
                into.as_mut_ptr(),
                contents(self.number).add(offset),
                into.len(),
            )
        };
    }

    /// Copies into the page. Panics outside of it.
    pub fn write(&self, offset: usize, from: &[u8]) {
        check(offset, from.len());
        // SAFETY: inside of the held page, to which no Rust reference exists.
        unsafe { copy(contents(self.number).add(offset), from.as_ptr(), from.len()) };
    }

    /// Copies out of a page into this one. Panics outside of either. If both are the same page and the
    /// ranges overlap, as when a program reads a file into its own mapping of it, nobody can say what it
    /// holds afterwards.
    pub fn copy_from(&self, offset: usize, source: &Frame, from: usize, length: usize) {
        check(offset, length);
        check(from, length);
        // SAFETY: inside of two held pages, to which no Rust reference exists.
        unsafe {
            copy(
                contents(self.number).add(offset),
                contents(source.number).add(from),
                length,
            )
        };
    }

    /// A word of the page, read in one step. Panics outside of it and off a word's boundary.
    pub fn load_u32(&self, offset: usize) -> u32 {
        self.word(offset).load(Ordering::SeqCst)
    }

    /// Changes a word of the page in one step, also against user mode; the value before. Panics
    /// outside of the page and off a word's boundary.
    pub fn change_u32(&self, offset: usize, change: impl Fn(u32) -> u32) -> u32 {
        let word = self.word(offset);
        let mut old = word.load(Ordering::SeqCst);
        loop {
            let new = change(old);
            match word.compare_exchange_weak(old, new, Ordering::SeqCst, Ordering::SeqCst) {
                Ok(_) => return old,
                Err(now) => old = now,
            }
        }
    }

    fn word(&self, offset: usize) -> &AtomicU32 {
        check(offset, 4);
        assert!(
            offset.is_multiple_of(4),
            "not a word's address: {offset:#x}"
        );
        // SAFETY: inside of the held page, aligned; atomic, as others may write it.
        unsafe { &*contents(self.number).add(offset).cast::<AtomicU32>() }
    }

    /// Zeroes a part of the page. Panics outside of it.
    pub fn zero(&self, offset: usize, length: usize) {
        check(offset, length);
        // SAFETY: inside of the held page, to which no Rust reference exists.
        unsafe { fill_zero(contents(self.number).add(offset), length) };
    }

    /// Whether every byte is zero; stops at the first that is not.
    pub fn is_zero(&self) -> bool {
        let page = contents(self.number).cast::<[AtomicU64; PAGE_SIZE / 8]>();
        // SAFETY: the held page, aligned, all bit patterns valid; atomic, as others may write it.
        let words = unsafe { &*page };
        words.chunks_exact(8).all(|block| {
            block
                .iter()
                .fold(0, |all, word| all | word.load(Ordering::Relaxed))
                == 0
        })
    }

    /// Whether there is more than one handle.
    pub fn is_shared(&self) -> bool {
        self.references() > 1
    }

    /// How many handles there are.
    pub fn references(&self) -> u32 {
        state(self.number).references.load(Ordering::Acquire)
    }

    /// The physical frame number, unique among live frames.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The physical address of the first byte, for DMA.
    pub fn physical(&self) -> u64 {
        self.number * PAGE_SIZE as u64
    }

    /// Turns the handle into its number without giving up its reference.
    pub(crate) fn into_number(self) -> u64 {
        core::mem::ManuallyDrop::new(self).number
    }

    /// The reverse of [`Frame::into_number`].
    ///
    /// # Safety
    /// One reference of the frame belongs to the caller and is handed over.
    pub(crate) unsafe fn from_number(number: u64) -> Frame {
        Frame { number }
    }
}

fn check(offset: usize, length: usize) {
    assert!(
        offset
            .checked_add(length)
            .is_some_and(|end| end <= PAGE_SIZE),
        "frame access outside of the page: {offset} + {length}"
    );
}

/// Copies bytes that others may be writing or reading at the same time. Moves of 64 bytes through
/// registers: under emulation several times faster than a string instruction, and fastest with few
/// instructions between the moves, none of which needs the flags of another.
///
/// # Safety
/// Both ranges are mapped; the target may be written. What overlaps holds any of the bytes afterwards.
pub(crate) unsafe fn copy(target: *mut u8, source: *const u8, length: usize) {
    // SAFETY: as the caller promises. Assembly, because the ranges may change meanwhile, which
    // Rust's own copies do not allow.
    unsafe {
        core::arch::asm!(
            "mov rcx, {length}",
            "and rcx, -64",
            "jz 3f",
            "2:",
            "mov {a}, [rsi]",
            "mov {b}, [rsi + 8]",
            "mov {c}, [rsi + 16]",
            "mov {d}, [rsi + 24]",
            "mov [rdi], {a}",
            "mov [rdi + 8], {b}",
            "mov [rdi + 16], {c}",
            "mov [rdi + 24], {d}",
            "mov {a}, [rsi + 32]",
            "mov {b}, [rsi + 40]",
            "mov {c}, [rsi + 48]",
            "mov {d}, [rsi + 56]",
            "mov [rdi + 32], {a}",
            "mov [rdi + 40], {b}",
            "mov [rdi + 48], {c}",
            "mov [rdi + 56], {d}",
            "lea rsi, [rsi + 64]",
            "lea rdi, [rdi + 64]",
            "sub rcx, 64",
            "jnz 2b",
            "3:",
            "mov ecx, {length:e}",
            "shr ecx, 3",
            "and ecx, 7",
            "rep movsq",
            "mov ecx, {length:e}",
            "and ecx, 7",
            "rep movsb",
            length = in(reg) length,
            a = out(reg) _,
            b = out(reg) _,
            c = out(reg) _,
            d = out(reg) _,
            inout("rsi") source => _,
            inout("rdi") target => _,
            out("rcx") _,
            options(nostack),
        );
    }
}

/// Writes zeros where others may be reading or writing, as [`copy`] does.
///
/// # Safety
/// The range is mapped for writing.
unsafe fn fill_zero(target: *mut u8, length: usize) {
    // SAFETY: as the caller promises; assembly for the same reason as in `copy`.
    unsafe {
        core::arch::asm!(
            "mov rcx, {length}",
            "and rcx, -64",
            "jz 3f",
            "2:",
            "mov [rdi], rax",
            "mov [rdi + 8], rax",
            "mov [rdi + 16], rax",
            "mov [rdi + 24], rax",
            "mov [rdi + 32], rax",
            "mov [rdi + 40], rax",
            "mov [rdi + 48], rax",
            "mov [rdi + 56], rax",
            "lea rdi, [rdi + 64]",
            "sub rcx, 64",
            "jnz 2b",
            "3:",
            "mov ecx, {length:e}",
            "shr ecx, 3",
            "and ecx, 7",
            "rep stosq",
            "mov ecx, {length:e}",
            "and ecx, 7",
            "rep stosb",
            length = in(reg) length,
            inout("rdi") target => _,
            out("rcx") _,
            in("rax") 0_u64,
            options(nostack),
        );
    }
}

impl Clone for Frame {
    fn clone(&self) -> Frame {
        let before = state(self.number)
            .references
            .fetch_add(1, Ordering::Relaxed);
        assert!(before < u32::MAX / 2, "too many handles of one frame");
        Frame {
            number: self.number,
        }
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        if state(self.number)
            .references
            .fetch_sub(1, Ordering::Release)
            == 1
        {
            core::sync::atomic::fence(Ordering::Acquire);
            // SAFETY: this was the last handle, and mappings hold handles.
            unsafe { give(self.number) };
        }
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Frame({:#x})", self.number)
    }
}

impl PartialEq for Frame {
    fn eq(&self, other: &Frame) -> bool {
        self.number == other.number
    }
}

impl Eq for Frame {}
