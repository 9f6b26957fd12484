//! The kernel heap: talc over a range of addresses that grows by frames.
//!
//! Law: the heap takes single frames, so it grows as long as one frame is free, however scattered;
//! what it took it keeps for reuse.

use core::alloc::Layout;

use talc::TalcLock;
use talc::base::Talc;
use talc::base::binning::Binning;
use talc::source::Source;

use super::{frame, layout, pages};
use crate::PAGE_SIZE;

/// The least the heap grows by.
const STEP: usize = 128 * 1024;

/// Grows the heap at its end.
#[derive(Debug)]
pub(crate) struct Growth {
    /// Bytes mapped from `layout::HEAP` on.
    mapped: usize,
    /// What talc calls the end of its heap, once there is one.
    end: Option<core::ptr::NonNull<u8>>,
}

// SAFETY: the pointer is only an address for talc, which is under the allocator's lock.
unsafe impl Send for Growth {}

// SAFETY: growing maps frames and touches only kernel page tables; it never allocates.
unsafe impl Source for Growth {
    fn acquire<B: Binning>(talc: &mut Talc<Self, B>, layout: Layout) -> Result<(), ()> {
        let step = layout
            .size()
            .checked_add(layout.align())
            .ok_or(())?
            .max(STEP);
        let step = step.checked_next_multiple_of(STEP).ok_or(())?;
        let limit = usize::try_from(layout::HEAP_LIMIT).map_err(drop)?;
        let goal = talc
            .source
            .mapped
            .checked_add(step)
            .filter(|&end| end <= limit)
            .ok_or(())?;
        // Nothing is taken for a request that cannot be met.
        if (step / PAGE_SIZE) as u64 > frame::frame_counts().free {
            return Err(());
        }
        let before = talc.source.mapped;
        while talc.source.mapped < goal
            && pages::grow_heap(layout::HEAP + talc.source.mapped as u64).is_ok()
        {
            talc.source.mapped += PAGE_SIZE;
        }
        let base = layout::HEAP as *mut u8;
        let mapped = talc.source.mapped;
        // SAFETY: `mapped` bytes from `HEAP` on are mapped for writing and used by nobody else;
        // `end` is what talc last gave for this one heap.
        talc.source.end = unsafe {
            match talc.source.end {
                None => talc.claim(base, mapped),
                Some(end) => Some(talc.extend(end, base.add(mapped))),
            }
        };
        // Talc tries again after `Ok`; without progress that would never end.
        if mapped > before && talc.source.end.is_some() {
            Ok(())
        } else {
            Err(())
        }
    }
}

#[global_allocator]
static HEAP: TalcLock<spin::Mutex<()>, Growth> = TalcLock::new(Growth {
    mapped: 0,
    end: None,
});
