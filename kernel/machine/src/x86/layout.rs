//! The kernel's half of every address space.
//!
//! Law: every address the kernel dereferences lies in one of these four places; the lower half
//! belongs to user mode and is never dereferenced by the kernel.
//!
//! ```text
//! 0xffff_8000_0000_0000  DIRECT   all RAM from 1 MiB up except the kernel's image: read, write
//! 0xffff_e000_0000_0000  HEAP     the kernel heap, grown page by page: read, write
//! 0xffff_f000_0000_0000  WINDOW   device registers (uncached) and firmware tables (read only)
//! 0xffff_ffff_8000_0000  IMAGE    the kernel: text (read, execute), constants (read), data
//! ```
//!
//! Between the parts of the image, below every stack and behind every window lies an unmapped page.

/// Where all of RAM is mapped.
pub(crate) const DIRECT: u64 = 0xffff_8000_0000_0000;
/// The largest physical address the direct map has room for (exclusive): 64 TiB.
pub(crate) const DIRECT_LIMIT: u64 = 1 << 46;
/// Where the kernel heap grows.
pub(crate) const HEAP: u64 = 0xffff_e000_0000_0000;
/// The most the heap may grow to: what one top-level entry maps.
pub(crate) const HEAP_LIMIT: u64 = 1 << 39;
/// Where device registers and firmware tables are mapped.
pub(crate) const WINDOW: u64 = 0xffff_f000_0000_0000;
/// Bytes of address space for windows.
pub(crate) const WINDOW_LIMIT: u64 = 1 << 39;
/// The image is linked at its physical address plus this. The linker script knows it as well.
pub(crate) const IMAGE: u64 = 0xffff_ffff_8000_0000;
/// What the boot page tables map at `IMAGE` (and at zero).
pub(crate) const BOOT_LIMIT: u64 = 1 << 30;
/// RAM below this is left to firmware and never used.
pub(crate) const LOW_MEMORY: u64 = 1 << 20;

macro_rules! image_symbols {
    ($($(#[$doc:meta])* $name:ident = $symbol:ident;)*) => {
        unsafe extern "C" { $(static $symbol: u8;)* }
        $($(#[$doc])* pub(crate) fn $name() -> u64 { (&raw const $symbol) as u64 })*
    };
}

image_symbols! {
    /// First address of the image.
    image_start = __image_start;
    /// First address of code.
    text_start = __text_start;
    /// End of code.
    text_end = __text_end;
    /// First address of constants.
    constants_start = __constants_start;
    /// End of constants.
    constants_end = __constants_end;
    /// First address of data.
    data_start = __data_start;
    /// End of data, zeroed data and stacks.
    data_end = __data_end;
    /// The unmapped page below the boot CPU's stack.
    stack_guard = __stack_guard;
    /// First address of the boot CPU's stack.
    stack_bottom = __stack_bottom;
    /// End of the boot CPU's stack.
    stack_top = __stack_top;
    /// The table of function names.
    symbols_start = __symbols_start;
    /// End of the room for function names.
    symbols_end = __symbols_end;
}

/// Where a byte of RAM is mapped.
pub(crate) fn direct(physical: u64) -> u64 {
    debug_assert!(physical < DIRECT_LIMIT);
    DIRECT + physical
}

/// The physical address of a part of the image.
pub(crate) fn image_physical(address: u64) -> u64 {
    address - IMAGE
}
