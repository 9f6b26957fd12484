//! What each CPU has of its own: descriptor tables, stacks, and the features it runs with.
//!
//! Law: while the kernel runs, GS points at this CPU's [`Cpu`]; while user mode runs it lies in
//! KERNEL_GS_BASE. Every entry from user mode swaps, every exit swaps back, and nothing in between
//! may fault. The handlers that can come between (NMI, debug, double fault, machine check) have
//! stacks of their own and do not use GS.
//!
//! The selectors are those of Linux (user code 0x33, user data 0x2b), as programs see them in
//! signal frames. There is no 32-bit user code segment.

use core::arch::x86_64::{__cpuid, __cpuid_count};
use core::cell::Cell;
use core::mem::offset_of;
use core::ops::Range;
use core::sync::atomic::{AtomicPtr, Ordering};

use alloc::boxed::Box;
use spin::Once;
use x86_64::PrivilegeLevel;
use x86_64::VirtAddr;
use x86_64::instructions::segmentation::{CS, DS, ES, SS, Segment};
use x86_64::instructions::tables::{lgdt, load_tss};
use x86_64::registers::control::{Cr0, Cr0Flags, Cr4, Cr4Flags, Efer, EferFlags};
use x86_64::registers::model_specific::{GsBase, KernelGsBase, LStar, Msr, SFMask};
use x86_64::registers::rflags::RFlags;
use x86_64::registers::xcontrol::{XCr0, XCr0Flags};
use x86_64::structures::DescriptorTablePointer;
use x86_64::structures::gdt::SegmentSelector;

use super::paging::TableHandle;
use super::{layout, user};
use crate::{CpuFeatures, MAX_CPUS, Registers};

pub(crate) const KERNEL_CODE: u16 = 0x10;
const KERNEL_DATA: u16 = 0x18;
/// SYSRET takes SS from 8 behind this and CS from 16 behind it.
const SYSRET_BASE: u16 = 0x20 | 3;
pub(crate) const USER_DATA: u16 = 0x28 | 3;
pub(crate) const USER_CODE: u16 = 0x30 | 3;
const TASK_STATE: u16 = 0x40;

/// Stacks of their own: numbers in the interrupt stack table.
pub(crate) const IST_DOUBLE_FAULT: u8 = 1;
pub(crate) const IST_NMI: u8 = 2;
pub(crate) const IST_MACHINE_CHECK: u8 = 3;
pub(crate) const IST_DEBUG: u8 = 4;
const IST_STACKS: usize = 4;
const IST_SIZE: usize = 8192;

/// SDM volume 3, section 8.7.
#[repr(C, packed(4))]
struct TaskState {
    reserved_0: u32,
    rsp: [u64; 3],
    reserved_1: u64,
    ist: [u64; 7],
    reserved_2: u64,
    reserved_3: u16,
    io_map: u16,
}

#[repr(C, align(16))]
struct Stack([u8; IST_SIZE]);

/// What belongs to one CPU. The assembly of `user` and `trap` knows the first fields by
/// [`offset_of`].
#[repr(C, align(64))]
pub(crate) struct Cpu {
    this: Cell<*const Cpu>,
    /// Where the registers go when user mode traps.
    pub(crate) user_registers: Cell<*mut Registers>,
    /// The kernel's stack pointer at the entry into user mode.
    pub(crate) kernel_rsp: Cell<u64>,
    /// The user's stack pointer for two instructions of the system call entry.
    pub(crate) scratch: Cell<u64>,
    /// Its number: 0 is the boot CPU.
    pub(crate) index: Cell<usize>,
    /// The stamp of the address space in CR3; 0 for the kernel's own.
    pub(crate) loaded_stamp: Cell<u64>,
    /// Keeps the tables in CR3 alive.
    pub(crate) loaded: Cell<Option<TableHandle>>,
    /// What to add to its time stamp counter to get the boot CPU's.
    pub(crate) tsc_offset: Cell<u64>,
    /// Its stack: first address and end.
    stack: Cell<(u64, u64)>,
    task_state: Cell<TaskState>,
    descriptors: Cell<[u64; 10]>,
    ist: [Cell<Stack>; IST_STACKS],
}

/// Offset of the stack pointer that the processor loads when user mode traps.
pub(crate) const RSP0: usize = offset_of!(Cpu, task_state) + offset_of!(TaskState, rsp);

/// The boot CPU's. Others get theirs from the heap.
struct BootCpu(Cpu);

// SAFETY: only the CPU that owns a `Cpu` uses it, with interrupts off.
unsafe impl Sync for BootCpu {}

static BOOT_CPU: BootCpu = BootCpu(Cpu::new());

impl Cpu {
    const fn new() -> Cpu {
        Cpu {
            this: Cell::new(core::ptr::null()),
            user_registers: Cell::new(core::ptr::null_mut()),
            kernel_rsp: Cell::new(0),
            scratch: Cell::new(0),
            index: Cell::new(0),
            loaded_stamp: Cell::new(0),
            loaded: Cell::new(None),
            tsc_offset: Cell::new(0),
            stack: Cell::new((0, 0)),
            task_state: Cell::new(NO_TASK_STATE),
            descriptors: Cell::new([0; 10]),
            ist: [const { Cell::new(Stack([0; IST_SIZE])) }; IST_STACKS],
        }
    }

    /// That of another CPU, for ever.
    pub(crate) fn boxed(index: usize, stack: Range<u64>) -> &'static Cpu {
        let cpu = Box::leak(Box::new(Cpu::new()));
        cpu.index.set(index);
        cpu.stack.set((stack.start, stack.end));
        cpu
    }

    /// Makes this the running CPU's own: descriptor tables, task state, GS.
    pub(crate) fn install(&'static self) {
        ALL[self.index.get()].store(core::ptr::from_ref(self).cast_mut(), Ordering::Release);
        let mut task_state = NO_TASK_STATE;
        for (slot, stack) in self.ist.iter().enumerate() {
            task_state.ist[slot] = (stack.as_ptr() as u64) + IST_SIZE as u64;
        }
        task_state.rsp[0] = self.stack.get().1;
        self.task_state.set(task_state);
        self.this.set(self);
        let task = self.task_state.as_ptr() as u64;
        let limit = size_of::<TaskState>() as u64 - 1;
        self.descriptors.set([
            0,
            0,
            0x00af_9b00_0000_ffff, // kernel code, 64 bits
            0x00cf_9300_0000_ffff, // kernel data
            0,                     // no 32-bit user code
            0x00cf_f300_0000_ffff, // user data
            0x00af_fb00_0000_ffff, // user code, 64 bits
            0,
            limit | (task & 0xff_ffff) << 16 | 0x89 << 40 | (task >> 24 & 0xff) << 56,
            task >> 32,
        ]);
        let table = DescriptorTablePointer {
            limit: size_of::<[u64; 10]>() as u16 - 1,
            base: VirtAddr::new(self.descriptors.as_ptr() as u64),
        };
        // SAFETY: the table is static and holds what the selectors say; the task state's stacks
        // are static too. Data selectors may be null in 64-bit mode.
        unsafe {
            lgdt(&table);
            CS::set_reg(SegmentSelector(KERNEL_CODE));
            SS::set_reg(SegmentSelector(KERNEL_DATA));
            DS::set_reg(SegmentSelector::NULL);
            ES::set_reg(SegmentSelector::NULL);
            load_tss(SegmentSelector(TASK_STATE));
        }
        GsBase::write(VirtAddr::new(core::ptr::from_ref(self) as u64));
        KernelGsBase::write(VirtAddr::zero());
    }

    /// The range of this CPU's stack.
    pub(crate) fn stack(&self) -> Range<u64> {
        self.stack.get().0..self.stack.get().1
    }

    /// The ranges of this CPU's extra stacks.
    pub(crate) fn extra_stacks(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        self.ist.iter().map(|stack| {
            let bottom = stack.as_ptr() as u64;
            bottom..bottom + IST_SIZE as u64
        })
    }
}

/// A task state without stacks and without access to ports.
const NO_TASK_STATE: TaskState = TaskState {
    reserved_0: 0,
    rsp: [0; 3],
    reserved_1: 0,
    ist: [0; 7],
    reserved_2: 0,
    reserved_3: 0,
    io_map: size_of::<TaskState>() as u16,
};

/// The running CPU's own.
pub(crate) fn current() -> &'static Cpu {
    let cpu: *const Cpu;
    // SAFETY: in the kernel GS points at the CPU's `Cpu`, whose first field is its address;
    // `Cpu`s are static.
    unsafe {
        core::arch::asm!("mov {}, gs:[0]", out(reg) cpu, options(nostack, readonly, preserves_flags));
        &*cpu
    }
}

/// Every CPU's, by number; null where there is none.
static ALL: [AtomicPtr<Cpu>; MAX_CPUS] =
    [const { AtomicPtr::new(core::ptr::null_mut()) }; MAX_CPUS];

/// The ranges of all stacks, for backtraces (GS may be the user's there).
pub(crate) fn all_stacks() -> impl Iterator<Item = Range<u64>> {
    ALL.iter().flat_map(|cpu| {
        // SAFETY: null or one that lives for ever; of the fields of another CPU's `Cpu` only those
        // are looked at that do not change after `install`.
        let cpu = unsafe { cpu.load(Ordering::Acquire).as_ref() };
        let one = |cpu: &'static Cpu| core::iter::once(cpu.stack()).chain(cpu.extra_stacks());
        cpu.into_iter().flat_map(one)
    })
}

/// Installs the boot CPU's tables.
pub(crate) fn init_boot_cpu() {
    BOOT_CPU
        .0
        .stack
        .set((layout::stack_bottom(), layout::stack_top()));
    BOOT_CPU.0.install();
}

static FEATURES: Once<CpuFeatures> = Once::new();

/// The features of the processor, as enabled.
pub fn cpu_features() -> CpuFeatures {
    FEATURES.get().copied().unwrap_or_default()
}

/// CPUID with a check of the largest leaf; zero where the leaf does not exist.
pub(crate) fn cpuid(leaf: u32, subleaf: u32) -> [u32; 4] {
    let largest = __cpuid(leaf & 0xffff_0000).eax;
    if leaf > largest || largest & 0xffff_0000 != leaf & 0xffff_0000 {
        return [0; 4];
    }
    let answer = __cpuid_count(leaf, subleaf);
    [answer.eax, answer.ebx, answer.ecx, answer.edx]
}

pub(crate) fn has_gibibyte_pages() -> bool {
    cpuid(0x8000_0001, 0)[3] & 1 << 26 != 0
}

/// The end of the processor's physical addresses.
pub(crate) fn physical_limit() -> u64 {
    let bits = cpuid(0x8000_0008, 0)[0] & 0xff;
    1 << bits.clamp(36, 52)
}

/// FSGSBASE: the kernel may use RDFSBASE and its kin.
pub(crate) fn has_fsgsbase() -> bool {
    Cr4::read().contains(Cr4Flags::FSGSBASE)
}

/// The protections that CPUID leaf 7 offers and that must therefore be on.
pub(crate) fn offered_protections() -> Cr4Flags {
    let [_, ebx, ecx, _] = cpuid(7, 0);
    let mut flags = Cr4Flags::empty();
    flags.set(
        Cr4Flags::SUPERVISOR_MODE_EXECUTION_PROTECTION,
        ebx & 1 << 7 != 0,
    );
    flags.set(
        Cr4Flags::SUPERVISOR_MODE_ACCESS_PREVENTION,
        ebx & 1 << 20 != 0,
    );
    flags.set(
        Cr4Flags::USER_MODE_INSTRUCTION_PREVENTION,
        ecx & 1 << 2 != 0,
    );
    flags
}

/// Turns on everything this CPU has to protect itself with, XSAVE, and SYSCALL. The first to do so
/// says what [`cpu_features`] are.
pub(crate) fn enable_features() -> CpuFeatures {
    let [_, _, leaf1_ecx, leaf1_edx] = cpuid(1, 0);
    let [_, leaf7_ebx, leaf7_ecx, _] = cpuid(7, 0);
    assert!(leaf1_ecx & 1 << 26 != 0, "this processor has no XSAVE");
    let mut cr4 = Cr4::read() | offered_protections();
    cr4 |=
        Cr4Flags::OSFXSR | Cr4Flags::OSXMMEXCPT_ENABLE | Cr4Flags::OSXSAVE | Cr4Flags::PAGE_GLOBAL;
    cr4.set(Cr4Flags::FSGSBASE, leaf7_ebx & 1 != 0);
    let mut cr0 = Cr0::read() | Cr0Flags::WRITE_PROTECT | Cr0Flags::NUMERIC_ERROR;
    cr0 |= Cr0Flags::MONITOR_COPROCESSOR;
    cr0.remove(Cr0Flags::EMULATE_COPROCESSOR | Cr0Flags::TASK_SWITCHED);
    cr0.remove(Cr0Flags::CACHE_DISABLE | Cr0Flags::NOT_WRITE_THROUGH);
    // AM lets a user program ask for alignment checks, as Linux does.
    cr0 |= Cr0Flags::ALIGNMENT_MASK;
    let wanted = XCr0Flags::X87
        | XCr0Flags::SSE
        | XCr0Flags::AVX
        | XCr0Flags::OPMASK
        | XCr0Flags::ZMM_HI256
        | XCr0Flags::HI16_ZMM;
    let [offered_low, _, _, offered_high] = cpuid(13, 0);
    let offered = u64::from(offered_low) | u64::from(offered_high) << 32;
    let avx_512 = XCr0Flags::OPMASK | XCr0Flags::ZMM_HI256 | XCr0Flags::HI16_ZMM;
    let mut xcr0 = wanted & XCr0Flags::from_bits_truncate(offered);
    if !xcr0.contains(avx_512) || !xcr0.contains(XCr0Flags::AVX) {
        xcr0.remove(avx_512);
    }
    // SAFETY: every flag is set only where CPUID offers it, the boot tables map no user pages that
    // the kernel touches, and the kernel itself uses neither x87 nor SSE. SYSCALL enters
    // `user::syscall_entry` with interrupts off, on any stack, which is what it expects.
    unsafe {
        Cr0::write(cr0);
        Cr4::write(cr4);
        XCr0::write(xcr0);
        Efer::write(
            Efer::read() | EferFlags::SYSTEM_CALL_EXTENSIONS | EferFlags::NO_EXECUTE_ENABLE,
        );
        // IA32_STAR: SDM volume 2, SYSCALL and SYSRET.
        Msr::new(0xc000_0081).write(u64::from(SYSRET_BASE) << 48 | u64::from(KERNEL_CODE) << 32);
    }
    LStar::write(VirtAddr::new(user::syscall_entry_address()));
    SFMask::write(
        RFlags::INTERRUPT_FLAG
            | RFlags::TRAP_FLAG
            | RFlags::DIRECTION_FLAG
            | RFlags::ALIGNMENT_CHECK
            | RFlags::NESTED_TASK
            | RFlags::RESUME_FLAG
            | RFlags::IOPL_LOW
            | RFlags::IOPL_HIGH,
    );
    debug_assert_eq!(CS::get_reg().rpl(), PrivilegeLevel::Ring0);
    let features = CpuFeatures {
        xcr0: xcr0.bits(),
        leaf1_ecx,
        leaf1_edx,
        leaf7_ebx,
        leaf7_ecx,
    };
    FEATURES.call_once(|| features);
    features
}
