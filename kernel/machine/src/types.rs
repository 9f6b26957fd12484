//! The plain data both the real machine and its fake speak in.
//!
//! Law: nothing here has behaviour that depends on the target.

use bitflags::bitflags;

/// Bytes in a page and in a page frame.
pub const PAGE_SIZE: usize = 4096;

/// First address above user space (exclusive).
///
/// One page below the canonical limit, as in Linux, so that an instruction at the very end of user
/// space cannot leave a non-canonical return address behind.
pub const USER_END: u64 = 0x0000_7fff_ffff_f000;

/// The most processors of a machine that are used.
pub const MAX_CPUS: usize = 64;

/// No free page frame is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutOfMemory;

/// What a page frame is used for; frames are counted by kind.
#[repr(u8)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameKind {
    /// Kernel heap and kernel structures.
    Kernel = 0,
    /// Page tables of user address spaces.
    PageTable = 1,
    /// Anonymous user memory.
    User = 2,
    /// Pages of files.
    Cache = 3,
    /// Receive buffers of the network card.
    Network = 4,
    /// Memory shared with a device (rings).
    Device = 5,
}

/// How many kinds of frames there are.
pub const FRAME_KINDS: usize = 6;

impl FrameKind {
    /// The kind with this number, if there is one.
    #[cfg_attr(
        not(target_os = "none"),
        expect(dead_code, reason = "the fake keeps the enum itself")
    )]
    pub(crate) fn from_number(number: u8) -> Option<FrameKind> {
        [
            FrameKind::Kernel,
            FrameKind::PageTable,
            FrameKind::User,
            FrameKind::Cache,
            FrameKind::Network,
            FrameKind::Device,
        ]
        .into_iter()
        .find(|&kind| kind as u8 == number)
    }
}

/// How the machine's page frames are used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FrameCounts {
    /// Frames that the allocator ever had to give.
    pub total: u64,
    /// Frames that are free now.
    pub free: u64,
    /// Frames in use, indexed by `FrameKind as usize`.
    pub by_kind: [u64; FRAME_KINDS],
}

bitflags! {
    /// What user mode may do with a page. Empty means that the page keeps its frame but every
    /// access faults (`PROT_NONE`). The hardware cannot refuse reads of a page it may write or
    /// execute, so `WRITE` and `EXECUTE` imply readable.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub struct Access: u8 {
        /// Loads.
        const READ = 1;
        /// Stores.
        const WRITE = 2;
        /// Instruction fetches.
        const EXECUTE = 4;
    }
}

/// The general registers of a thread at the user boundary.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names of the registers are the manual's")]
pub struct Registers {
    pub rax: u64,
    pub rbx: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rsi: u64,
    pub rdi: u64,
    pub rbp: u64,
    pub rsp: u64,
    pub r8: u64,
    pub r9: u64,
    pub r10: u64,
    pub r11: u64,
    pub r12: u64,
    pub r13: u64,
    pub r14: u64,
    pub r15: u64,
    pub rip: u64,
    pub rflags: u64,
    pub fs_base: u64,
    pub gs_base: u64,
}

/// Why user mode came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// The `syscall` instruction. `rip` points behind it; `rcx` and `r11` hold what it put there.
    Syscall,
    /// A page fault (SDM volume 3, section 4.7). `rip` points at the instruction that faulted.
    PageFault {
        /// The address that was touched; not necessarily canonical user space.
        address: u64,
        /// It was a store.
        write: bool,
        /// It was an instruction fetch.
        execute: bool,
        /// The page was present and forbade the access.
        protection: bool,
    },
    /// Any other exception, by its vector (SDM volume 3, table 6-1).
    Exception {
        /// 0 divide error, 1 debug, 3 breakpoint, 6 invalid opcode, 13 general protection, ...
        vector: u8,
        /// The error code, zero where the vector has none.
        code: u64,
        /// The instruction pointer of the exception, or the refused address if the registers
        /// given to `run_user` were themselves impossible.
        address: u64,
    },
    /// A device or the timer wants attention; what it had to say has been noted already.
    Interrupt,
}

/// The features of the processor that a user program can see and that a process needs again
/// wherever it moves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CpuFeatures {
    /// State components enabled in XCR0 (SDM volume 1, section 13.3).
    pub xcr0: u64,
    /// CPUID leaf 1, ECX.
    pub leaf1_ecx: u32,
    /// CPUID leaf 1, EDX.
    pub leaf1_edx: u32,
    /// CPUID leaf 7 subleaf 0, EBX.
    pub leaf7_ebx: u32,
    /// CPUID leaf 7 subleaf 0, ECX.
    pub leaf7_ecx: u32,
}

/// What the boot loader told.
#[derive(Debug, Clone, Copy)]
pub struct BootInfo {
    /// The kernel's command line; bytes that are not UTF-8 end it.
    pub command_line: &'static str,
    /// The first boot module (QEMU `-initrd`), empty if there is none.
    pub archive: &'static [u8],
    /// Bytes of RAM in the memory map.
    pub memory_bytes: u64,
}

/// A message-signalled interrupt to the boot CPU: what to write where (SDM volume 3, section 11.11).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MsiVector {
    /// The interrupt vector.
    pub vector: u8,
    /// The message address.
    pub address: u64,
    /// The message data.
    pub data: u32,
}
