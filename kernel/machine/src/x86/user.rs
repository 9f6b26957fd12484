//! Into user mode and back, and the FPU state of threads.
//!
//! Law: what user mode is entered with was made harmless first: the flags are masked, the
//! instruction pointer and the segment bases are canonical. The kernel itself never touches the
//! FPU, so that a thread's state may stay in the processor until another thread runs.

use alloc::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use core::arch::asm;
use core::fmt;
use core::ptr::NonNull;

use spin::Once;
use x86_64::VirtAddr;
use x86_64::registers::control::Cr2;
use x86_64::registers::model_specific::{FsBase, KernelGsBase};

use super::paging::TableHandle;
use super::{apic, cpu, peers};
use crate::{Exit, Registers};

/// The number `enter_user` gives for a system call: above all vectors.
pub(crate) const SYSCALL: u64 = 256;

/// Flags user mode may choose: the arithmetic flags, TF, DF, RF, AC, ID (SDM volume 1, 3.4.3).
const USER_FLAGS: u64 = 0x0025_0dd5;
/// The flag that always reads one, and IF.
const FIXED_FLAGS: u64 = 0x202;

/// What `enter_user` returns: in RAX and RDX.
#[repr(C)]
struct RawExit {
    vector: u64,
    code: u64,
}

unsafe extern "C" {
    fn enter_user(registers: *mut Registers) -> RawExit;
    static syscall_entry: u8;
}

/// Where SYSCALL goes.
pub(crate) fn syscall_entry_address() -> u64 {
    (&raw const syscall_entry) as u64
}

fn is_canonical(address: u64) -> bool {
    VirtAddr::try_new(address).is_ok()
}

/// Runs the thread until it traps.
///
/// Interrupts are on while user mode runs and off again on return. Flags that a user may not set
/// are cleared. A non-canonical instruction pointer or segment base is refused as the general
/// protection fault that it is, without running anything. Where the address space is gone, user mode
/// is interrupted at once.
pub fn run_user(registers: &mut Registers, table: &TableHandle) -> Exit {
    for address in [registers.rip, registers.fs_base, registers.gs_base] {
        if !is_canonical(address) {
            return Exit::Exception {
                vector: 13,
                code: 0,
                address,
            };
        }
    }
    registers.rflags = registers.rflags & USER_FLAGS | FIXED_FLAGS;
    let fsgsbase = cpu::has_fsgsbase();
    load_bases(registers, fsgsbase);
    if !table.enter() {
        return Exit::Interrupt;
    }
    // SAFETY: the registers are exclusive until the trap; flags, rip and bases were checked above;
    // the table's upper half maps the kernel. All callee-saved registers come back.
    let exit = unsafe { enter_user(registers) };
    peers::deactivate();
    if fsgsbase {
        save_bases(registers);
    }
    decode(&exit, registers.rip)
}

fn decode(exit: &RawExit, rip: u64) -> Exit {
    match exit.vector {
        SYSCALL => Exit::Syscall,
        14 => Exit::PageFault {
            address: Cr2::read_raw(),
            write: exit.code & 2 != 0,
            execute: exit.code & 16 != 0,
            protection: exit.code & 1 != 0,
        },
        vector @ 0..32 => Exit::Exception {
            vector: vector as u8,
            code: exit.code,
            address: rip,
        },
        vector => {
            apic::interrupt(vector as u8);
            Exit::Interrupt
        }
    }
}

/// Gives the processor the thread's segment bases.
fn load_bases(registers: &Registers, fsgsbase: bool) {
    if fsgsbase {
        // SAFETY: FSGSBASE is on, both are canonical, interrupts are off, and GS is the kernel's
        // again at the end. An NMI in between does not use GS.
        unsafe {
            asm!(
                "wrfsbase {fs}",
                "swapgs",
                "wrgsbase {gs}",
                "swapgs",
                fs = in(reg) registers.fs_base,
                gs = in(reg) registers.gs_base,
                options(nostack, preserves_flags),
            );
        }
    } else {
        FsBase::write(VirtAddr::new(registers.fs_base));
        KernelGsBase::write(VirtAddr::new(registers.gs_base));
    }
}

/// With FSGSBASE the program may have changed them itself.
fn save_bases(registers: &mut Registers) {
    // SAFETY: as in `load_bases`.
    unsafe {
        asm!(
            "rdfsbase {fs}",
            "swapgs",
            "rdgsbase {gs}",
            "swapgs",
            fs = out(reg) registers.fs_base,
            gs = out(reg) registers.gs_base,
            options(nostack, preserves_flags),
        );
    }
}

/// What XSAVE needs to know; set once at boot.
struct Xsave {
    layout: Layout,
    mxcsr_mask: u32,
}

static XSAVE: Once<Xsave> = Once::new();

fn xsave() -> &'static Xsave {
    XSAVE
        .get()
        .expect("the FPU is set up before any thread exists")
}

/// Offsets in the standard layout: SDM volume 1, tables 10-2 and 13-1 and section 13.4.2.
const MXCSR: usize = 24;
const MXCSR_MASK: usize = 28;
const LEGACY_END: usize = 512;
const XCOMP_BV: usize = 520;
const HEADER_END: usize = 576;

/// Learns the size of the state and which MXCSR bits exist.
pub(crate) fn init() {
    #[repr(align(64))]
    struct Legacy([u8; LEGACY_END]);
    let size = cpu::cpuid(13, 0)[1] as usize;
    assert!(
        (HEADER_END..=65536).contains(&size),
        "an XSAVE area of {size} bytes"
    );
    let layout = Layout::from_size_align(size, 64).expect("a power of two and a small size");
    let mut legacy = Legacy([0; LEGACY_END]);
    // SAFETY: the FPU is enabled, no thread's state is in it yet, and FXSAVE64 writes 512 bytes.
    unsafe {
        asm!("fninit", "fxsave64 [{}]", in(reg) legacy.0.as_mut_ptr(), options(nostack));
    }
    let mask = u32_at(&legacy.0, MXCSR_MASK);
    XSAVE.call_once(|| Xsave {
        layout,
        mxcsr_mask: if mask == 0 { 0xffbf } else { mask },
    });
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

/// The FPU state of a thread in the standard XSAVE layout (SDM volume 1, section 13.4).
pub struct FpuState {
    area: NonNull<u8>,
}

// SAFETY: the area is owned memory like that of a `Box<[u8]>`.
unsafe impl Send for FpuState {}
// SAFETY: through `&FpuState` the area is only read.
unsafe impl Sync for FpuState {}

impl FpuState {
    fn zeroed() -> FpuState {
        let layout = xsave().layout;
        // SAFETY: the layout's size is not zero.
        let area = unsafe { alloc_zeroed(layout) };
        FpuState {
            area: NonNull::new(area).unwrap_or_else(|| handle_alloc_error(layout)),
        }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: owned, initialised memory of this size.
        unsafe { core::slice::from_raw_parts_mut(self.area.as_ptr(), xsave().layout.size()) }
    }

    /// What a new program finds: x87 control word 0x37f, MXCSR 0x1f80, all else zero.
    pub fn initial() -> FpuState {
        let mut state = FpuState::zeroed();
        let mask = xsave().mxcsr_mask;
        let bytes = state.bytes_mut();
        bytes[..2].copy_from_slice(&0x37f_u16.to_le_bytes());
        bytes[MXCSR..MXCSR_MASK].copy_from_slice(&0x1f80_u32.to_le_bytes());
        bytes[MXCSR_MASK..MXCSR_MASK + 4].copy_from_slice(&mask.to_le_bytes());
        state
    }

    /// CPU to memory.
    pub fn save(&mut self) {
        let xcr0 = cpu::cpu_features().xcr0;
        // SAFETY: the area has the size CPUID gives for these components, is aligned to 64 and
        // exclusive; XSAVE changes nothing else.
        unsafe {
            asm!(
                "xsave64 [{area}]",
                area = in(reg) self.area.as_ptr(),
                in("eax") xcr0 as u32,
                in("edx") (xcr0 >> 32) as u32,
                options(nostack, preserves_flags),
            );
        }
    }

    /// Memory to CPU.
    pub fn load(&self) {
        let xcr0 = cpu::cpu_features().xcr0;
        // SAFETY: the area came from XSAVE, `initial` or the checks of `from_bytes`, so XRSTOR
        // does not fault; the kernel keeps nothing in these registers.
        unsafe {
            asm!(
                "xrstor64 [{area}]",
                area = in(reg) self.area.as_ptr(),
                in("eax") xcr0 as u32,
                in("edx") (xcr0 >> 32) as u32,
                options(nostack, preserves_flags),
            );
        }
    }

    /// The state, [`FpuState::size`] bytes.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: owned, initialised memory of this size.
        unsafe { core::slice::from_raw_parts(self.area.as_ptr(), xsave().layout.size()) }
    }

    /// Takes a state from outside. `None` if it has the wrong size or XRSTOR would fault on it
    /// (SDM volume 1, section 13.8.1): unknown components, a compacted format, reserved bytes of
    /// the header, reserved bits of MXCSR.
    pub fn from_bytes(bytes: &[u8]) -> Option<FpuState> {
        if bytes.len() != FpuState::size() {
            return None;
        }
        let components = u64::from_le_bytes(bytes[LEGACY_END..XCOMP_BV].try_into().ok()?);
        let plausible = components & !cpu::cpu_features().xcr0 == 0
            && bytes[XCOMP_BV..HEADER_END].iter().all(|&byte| byte == 0)
            && u32_at(bytes, MXCSR) & !xsave().mxcsr_mask == 0;
        plausible.then(|| {
            let mut state = FpuState::zeroed();
            state.bytes_mut().copy_from_slice(bytes);
            state
        })
    }

    /// Bytes of a state on this machine.
    pub fn size() -> usize {
        xsave().layout.size()
    }
}

impl Clone for FpuState {
    fn clone(&self) -> FpuState {
        let mut copy = FpuState::zeroed();
        copy.bytes_mut().copy_from_slice(self.bytes());
        copy
    }
}

impl Drop for FpuState {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout in `zeroed`.
        unsafe { dealloc(self.area.as_ptr(), xsave().layout) };
    }
}

impl PartialEq for FpuState {
    fn eq(&self, other: &FpuState) -> bool {
        self.bytes() == other.bytes()
    }
}

impl Eq for FpuState {}

impl fmt::Debug for FpuState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FpuState({} bytes)", self.bytes().len())
    }
}
