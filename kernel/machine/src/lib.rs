//! The only x86_64 and the only `unsafe` of the kernel, behind a safe API.
//!
//! Law: nothing a caller can write in safe Rust against this crate breaks memory safety, leaks a
//! frame or lets user mode do more than a Linux process may. Callers see page frames as counted
//! handles, user address spaces as a map of pages, and a thread as a function call: [`run_user`]
//! enters user mode and returns why it came back, like the entry into a virtual machine.
//!
//! On any target with an operating system (that is: under `cargo test`) the same API is a fake made
//! of heap memory, with virtual time, a captured console and scripted user programs; see `fake`.
//!
//! Not here: any policy. Which page is mapped where, what a system call means and who runs next is
//! `system`'s business.
#![cfg_attr(target_os = "none", no_std)]

#[cfg(target_os = "none")]
extern crate alloc;

mod journal;
pub mod symbols;
mod types;

pub use types::{
    Access, BootInfo, CpuFeatures, Exit, FRAME_KINDS, FrameCounts, FrameKind, MAX_CPUS, MsiVector,
    OutOfMemory, PAGE_SIZE, Registers, USER_END,
};

pub use journal::{JOURNAL_BYTES, journal_end, journal_lines, log};

#[cfg(target_os = "none")]
mod x86;
#[cfg(target_os = "none")]
pub use x86::{
    Dma, FpuState, Frame, Mapping, Mmio, PageIter, PageTable, TableHandle, allocate_vector,
    barrier, boot_unix_ns, console_read, console_write, cpu_count, cpu_features, fence,
    firmware_file, frame_counts, idle, kick, log_line, nap, now_ns, pci_read32, pci_write32,
    power_off, random_secret, random_u64, run_user, self_test, set_timer, start_cpus, this_cpu,
};

#[cfg(not(target_os = "none"))]
pub mod fake;
#[cfg(not(target_os = "none"))]
pub use fake::{
    barrier, boot_unix_ns,
    console::{console_read, console_write, log_line},
    cpu_count,
    device::{Dma, Mmio, allocate_vector, fence, pci_read32, pci_write32},
    frame::{Frame, frame_counts},
    idle, kick, nap, now_ns,
    paging::{Mapping, PageIter, PageTable, TableHandle},
    power_off, random_u64, self_test, set_timer, start_cpus, this_cpu,
    user::{FpuState, cpu_features, run_user},
};

/// Writes one line to the console and to the journal: seconds since boot in brackets, then the text.
///
/// Works before the heap exists and never allocates.
#[macro_export]
macro_rules! log {
    ($($argument:tt)*) => {
        $crate::log(::core::format_args!($($argument)*))
    };
}

/// Names the function the kernel starts with: `fn main(info: BootInfo) -> !`. Once per image.
#[macro_export]
macro_rules! entry {
    ($main:path) => {
        const _: () = {
            #[unsafe(no_mangle)]
            extern "Rust" fn dunlin_main(info: $crate::BootInfo) -> ! {
                let main: fn($crate::BootInfo) -> ! = $main;
                main(info)
            }
        };
    };
}
