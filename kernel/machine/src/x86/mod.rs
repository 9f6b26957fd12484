//! The real machine: x86_64, booted by PVH.
//!
//! Law: `unsafe` is here and nowhere else in the kernel, and each block says why it is sound. The
//! kernel runs with interrupts off, except in user mode, in [`idle`] and in [`nap`]: what interrupts
//! there takes no lock that is held then, so that no lock here can be taken twice by one CPU. What belongs to a CPU is kept in `cpu::Cpu`, what the others see of it in
//! `peers`.

mod acpi;
mod apic;
mod boot;
mod console;
mod cpu;
mod device;
mod firmware;
mod frame;
mod heap;
mod layout;
mod mem;
mod pages;
mod paging;
mod panic;
mod peers;
mod self_test;
mod smp;
mod time;
mod trap;
mod user;

pub use apic::{allocate_vector, kick};
pub use console::{console_read, console_write, log_line};
pub use cpu::cpu_features;
pub use device::{Dma, Mmio, fence, pci_read32, pci_write32};
pub use firmware::firmware_file;
pub use frame::{Frame, frame_counts};
pub use paging::{Mapping, PageIter, PageTable, TableHandle};
pub use panic::power_off;
pub use peers::{barrier, cpu_count, this_cpu};
pub use self_test::self_test;
pub use smp::start_cpus;
pub use time::{boot_unix_ns, idle, nap, now_ns, random_secret, random_u64, set_timer};
pub use user::{FpuState, run_user};
