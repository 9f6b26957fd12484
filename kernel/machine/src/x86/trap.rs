//! Exceptions and interrupts.
//!
//! Law: a trap from user mode ends in the return of `run_user`, whatever it is. A trap from the
//! kernel is a bug and a panic, except interrupts while idle and the faults that `self_test`
//! provokes. The NMI handler touches nothing but a counter: it may come at any instruction. It
//! returns unless a CPU that panics has sent it.

use core::arch::global_asm;
use core::cell::UnsafeCell;
use core::mem::offset_of;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use x86_64::VirtAddr;
use x86_64::instructions::tables::lidt;
use x86_64::registers::control::Cr2;
use x86_64::structures::DescriptorTablePointer;

use super::cpu::{self, Cpu};
use super::{apic, panic, self_test};
use crate::Registers;

macro_rules! register_offsets {
    ($($text:tt)*) => {
        global_asm!(
            $($text)*
            user_registers = const offset_of!(Cpu, user_registers),
            kernel_rsp = const offset_of!(Cpu, kernel_rsp),
            scratch = const offset_of!(Cpu, scratch),
            rsp0 = const cpu::RSP0,
            rax = const offset_of!(Registers, rax),
            rbx = const offset_of!(Registers, rbx),
            rcx = const offset_of!(Registers, rcx),
            rdx = const offset_of!(Registers, rdx),
            rsi = const offset_of!(Registers, rsi),
            rdi = const offset_of!(Registers, rdi),
            rbp = const offset_of!(Registers, rbp),
            rsp = const offset_of!(Registers, rsp),
            r8 = const offset_of!(Registers, r8),
            r9 = const offset_of!(Registers, r9),
            r10 = const offset_of!(Registers, r10),
            r11 = const offset_of!(Registers, r11),
            r12 = const offset_of!(Registers, r12),
            r13 = const offset_of!(Registers, r13),
            r14 = const offset_of!(Registers, r14),
            r15 = const offset_of!(Registers, r15),
            rip = const offset_of!(Registers, rip),
            rflags = const offset_of!(Registers, rflags),
            user_code = const cpu::USER_CODE,
            user_data = const cpu::USER_DATA,
            user_end = const crate::USER_END,
            syscall = const super::user::SYSCALL,
            kernel_trap = sym kernel_trap,
            nmi_count = sym NMI_COUNT,
            stopped = sym STOPPED,
        );
    };
}

register_offsets!(
    r#"
    .text
    .global trap_vectors
    .global syscall_entry
    .global enter_user
// Every vector: 16 bytes that leave an error code and the vector on the stack. Vectors 8, 10 to
// 14, 17, 21, 29 and 30 have an error code of the processor's.
    .balign 16
trap_vectors:
    .set trap_number, 0
    .rept 256
    .balign 16
    .if !(trap_number == 8 || (trap_number >= 10 && trap_number <= 14) || trap_number == 17 || trap_number == 21 || trap_number == 29 || trap_number == 30)
    push 0
    .endif
    .if trap_number == 2
    jmp nmi_entry
    .else
    push trap_number
    jmp trap_entry
    .endif
    .set trap_number, trap_number + 1
    .endr

// Stack: vector, error code, rip, cs, rflags, rsp, ss.
trap_entry:
    test byte ptr [rsp + 24], 3
    jz trap_in_kernel
    swapgs
    push rdi
    mov rdi, gs:[{user_registers}]
    mov [rdi + {rax}], rax
    pop rax
    mov [rdi + {rdi}], rax
    mov [rdi + {rbx}], rbx
    mov [rdi + {rcx}], rcx
    mov [rdi + {rdx}], rdx
    mov [rdi + {rsi}], rsi
    mov [rdi + {rbp}], rbp
    mov [rdi + {r8}], r8
    mov [rdi + {r9}], r9
    mov [rdi + {r10}], r10
    mov [rdi + {r11}], r11
    mov [rdi + {r12}], r12
    mov [rdi + {r13}], r13
    mov [rdi + {r14}], r14
    mov [rdi + {r15}], r15
    mov rax, [rsp + 16]
    mov [rdi + {rip}], rax
    mov rax, [rsp + 32]
    mov [rdi + {rflags}], rax
    mov rax, [rsp + 40]
    mov [rdi + {rsp}], rax
    mov rax, [rsp]
    mov rdx, [rsp + 8]
    mov rsp, gs:[{kernel_rsp}]
// Back in `enter_user`, its caller's registers on the stack. AC would suspend SMAP; DF, NT and the
// rest are the user's too.
leave_user:
    push 2
    popfq
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbp
    pop rbx
    ret

trap_in_kernel:
    push rax
    push rbx
    push rcx
    push rdx
    push rsi
    push rdi
    push rbp
    push r8
    push r9
    push r10
    push r11
    push r12
    push r13
    push r14
    push r15
    push 2
    popfq
    mov rdi, rsp
    call {kernel_trap}
    pop r15
    pop r14
    pop r13
    pop r12
    pop r11
    pop r10
    pop r9
    pop r8
    pop rbp
    pop rdi
    pop rsi
    pop rdx
    pop rcx
    pop rbx
    pop rax
    add rsp, 16
    iretq

nmi_entry:
    lock inc dword ptr [rip + {nmi_count}]
    cmp byte ptr [rip + {stopped}], 0
    jne 7f
    add rsp, 8
    iretq
7:  cli
    hlt
    jmp 7b

    .balign 16
syscall_entry:
    swapgs
    mov gs:[{scratch}], rsp
    mov rsp, gs:[{user_registers}]
    mov [rsp + {rax}], rax
    mov [rsp + {rbx}], rbx
    mov [rsp + {rcx}], rcx
    mov [rsp + {rdx}], rdx
    mov [rsp + {rsi}], rsi
    mov [rsp + {rdi}], rdi
    mov [rsp + {rbp}], rbp
    mov [rsp + {r8}], r8
    mov [rsp + {r9}], r9
    mov [rsp + {r10}], r10
    mov [rsp + {r11}], r11
    mov [rsp + {r12}], r12
    mov [rsp + {r13}], r13
    mov [rsp + {r14}], r14
    mov [rsp + {r15}], r15
    mov [rsp + {rip}], rcx
    mov [rsp + {rflags}], r11
    mov rax, gs:[{scratch}]
    mov [rsp + {rsp}], rax
    mov rsp, gs:[{kernel_rsp}]
    mov eax, {syscall}
    xor edx, edx
    jmp leave_user

// extern "C" fn enter_user(registers: *mut Registers) -> RawExit
    .balign 16
enter_user:
    push rbx
    push rbp
    push r12
    push r13
    push r14
    push r15
    mov gs:[{user_registers}], rdi
    mov gs:[{kernel_rsp}], rsp
    mov gs:[{rsp0}], rsp
    mov rbx, [rdi + {rbx}]
    mov rdx, [rdi + {rdx}]
    mov rsi, [rdi + {rsi}]
    mov rbp, [rdi + {rbp}]
    mov r8, [rdi + {r8}]
    mov r9, [rdi + {r9}]
    mov r10, [rdi + {r10}]
    mov r12, [rdi + {r12}]
    mov r13, [rdi + {r13}]
    mov r14, [rdi + {r14}]
    mov r15, [rdi + {r15}]
// SYSRET takes rip from rcx and rflags from r11. It is safe where rip is below the canonical limit
// and no flag is set that must take effect with the first instruction (TF, RF).
    mov rcx, [rdi + {rip}]
    mov r11, [rdi + {rflags}]
    cmp rcx, [rdi + {rcx}]
    jne 6f
    cmp r11, [rdi + {r11}]
    jne 6f
    test r11d, 0x10100
    jnz 6f
    movabs rax, {user_end}
    cmp rcx, rax
    jae 6f
    mov rax, [rdi + {rax}]
    mov rsp, [rdi + {rsp}]
    mov rdi, [rdi + {rdi}]
    swapgs
    sysretq
6:  push {user_data}
    push [rdi + {rsp}]
    push r11
    push {user_code}
    push rcx
    mov rax, [rdi + {rax}]
    mov rcx, [rdi + {rcx}]
    mov r11, [rdi + {r11}]
    mov rdi, [rdi + {rdi}]
    swapgs
    iretq
    "#,
);

unsafe extern "C" {
    static trap_vectors: u8;
}

/// NMIs since boot. Only `stop_others` sends any on purpose.
static NMI_COUNT: AtomicU32 = AtomicU32::new(0);
/// An NMI halts the CPU for good.
static STOPPED: AtomicBool = AtomicBool::new(false);

/// Halts all other CPUs for good.
pub(crate) fn stop_others() {
    STOPPED.store(true, Ordering::SeqCst);
    apic::send_nmi_to_others();
}

/// What a trap from the kernel left on the stack.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct TrapFrame {
    pub(crate) r15: u64,
    pub(crate) r14: u64,
    pub(crate) r13: u64,
    pub(crate) r12: u64,
    pub(crate) r11: u64,
    pub(crate) r10: u64,
    pub(crate) r9: u64,
    pub(crate) r8: u64,
    pub(crate) rbp: u64,
    pub(crate) rdi: u64,
    pub(crate) rsi: u64,
    pub(crate) rdx: u64,
    pub(crate) rcx: u64,
    pub(crate) rbx: u64,
    pub(crate) rax: u64,
    pub(crate) vector: u64,
    pub(crate) code: u64,
    pub(crate) rip: u64,
    pub(crate) cs: u64,
    pub(crate) rflags: u64,
    pub(crate) rsp: u64,
    pub(crate) ss: u64,
}

/// A gate of the interrupt descriptor table: SDM volume 3, section 6.14.1.
#[repr(C, align(4096))]
struct Gates(UnsafeCell<[[u64; 2]; 256]>);

// SAFETY: written once, by the boot CPU before any other runs.
unsafe impl Sync for Gates {}

static GATES: Gates = Gates(UnsafeCell::new([[0; 2]; 256]));
/// Interrupts that came while the kernel was idle, for nobody in particular.
static IDLE_INTERRUPTS: AtomicU64 = AtomicU64::new(0);

/// Builds and loads the interrupt descriptor table.
pub(crate) fn init() {
    let first = (&raw const trap_vectors) as u64;
    for vector in 0..256_u64 {
        let handler = first + vector * 16;
        let ist = match vector {
            1 => cpu::IST_DEBUG,
            2 => cpu::IST_NMI,
            8 => cpu::IST_DOUBLE_FAULT,
            18 => cpu::IST_MACHINE_CHECK,
            _ => 0,
        };
        // Breakpoint and overflow may be raised by instructions of user mode.
        let privilege = if vector == 3 || vector == 4 { 3 } else { 0 };
        let low = handler & 0xffff
            | u64::from(cpu::KERNEL_CODE) << 16
            | u64::from(ist) << 32
            | 0x8e << 40
            | privilege << 45
            | (handler >> 16 & 0xffff) << 48;
        // SAFETY: no other CPU and no trap uses the table yet.
        unsafe { (&mut *GATES.0.get())[vector as usize] = [low, handler >> 32] };
    }
    load();
}

/// Loads the interrupt descriptor table, which all CPUs share.
pub(crate) fn load() {
    let table = DescriptorTablePointer {
        limit: size_of::<Gates>() as u16 - 1,
        base: VirtAddr::new(GATES.0.get() as u64),
    };
    // SAFETY: the table is static; every gate leads to a handler that keeps the law above.
    unsafe { lidt(&table) };
}

/// A trap that came while the kernel ran.
extern "C" fn kernel_trap(frame: &mut TrapFrame) {
    match frame.vector {
        // A stray debug trap, e.g. one that MOV SS delayed past SYSCALL, is the user's doing: it
        // has no meaning for the kernel.
        1 => {}
        32.. => {
            IDLE_INTERRUPTS.fetch_add(1, Ordering::Relaxed);
            apic::interrupt(frame.vector as u8);
        }
        _ => {
            let cr2 = Cr2::read_raw();
            if !self_test::caught(frame, cr2) {
                panic::trapped(frame, cr2);
            }
        }
    }
}
