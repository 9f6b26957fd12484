//! The other processors: from their first instruction to the entry they were started for.
//!
//! Law: a processor gets all it needs (stack, tables, number) in a ticket that it takes once; one
//! that comes late finds none and halts. Nobody is counted before it has set itself up. Source: SDM
//! volume 3, section 9.4.4 (INIT, start-up and start-up again).
//!
//! A processor starts in real mode in a page below 1 MiB, where a copy of `trampoline` lies, goes on
//! with the boot tables, which map it and the image (`boot`), and from there to the kernel's own.

use alloc::boxed::Box;
use core::arch::global_asm;
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use spin::Once;

use super::acpi::Processors;
use super::cpu::{self, Cpu};
use super::{apic, boot, pages, peers, time, trap};
use crate::MAX_CPUS;

global_asm!(
    r#"
    .section .rodata.trampoline, "a", @progbits
    .code16
trampoline:
    cli
    mov ax, cs
    mov ds, ax
    .byte 0x66, 0x0f, 0x01, 0x16        // lgdt with a 32-bit base, at the offset
    .word trampoline_gdt_pointer - trampoline
    mov eax, cr0
    or eax, 1                           // protected mode
    mov cr0, eax
    .byte 0x66, 0xea                    // jmp far, 32-bit offset, selector
    .long processor_start_32
    .word 0x10
trampoline_gdt_pointer:
    .word 31
    .long boot_gdt
trampoline_end:

    .section .boot, "awx", @progbits
    .code32
processor_start_32:
    mov eax, 0x18
    mov ds, eax
    mov es, eax
    mov ss, eax
    mov eax, cr4
    or eax, 0xa0                // PAE, PGE
    mov cr4, eax
    mov eax, offset boot_pml4
    mov cr3, eax
    mov ecx, 0xc0000080         // EFER: long mode, no-execute
    rdmsr
    or eax, 0x900
    wrmsr
    mov eax, cr0
    and eax, 0x9fffffff         // caches on
    or eax, 0x80010001          // paging, write protect, protected mode
    mov cr0, eax
    .byte 0xea                  // jmp far
    .long processor_start_64
    .word 8
    .code64
processor_start_64:
    xor eax, eax
    mov ds, eax
    mov es, eax
    mov ss, eax
    mov fs, eax
    mov gs, eax
    movabs rax, offset processor_start_high
    jmp rax

    .text
processor_start_high:
    mov rax, [rip + {root}]
    mov cr3, rax
    xor edi, edi
    xchg rdi, [rip + {ticket}]
    test rdi, rdi
    jz 2f
    mov rsp, [rdi]
    xor ebp, ebp
    push rbp                    // the end of every backtrace
    push rbp
    call {start}
2:  cli
    hlt
    jmp 2b
    "#,
    root = sym pages::ROOT,
    ticket = sym TICKET,
    start = sym start,
);

unsafe extern "C" {
    static trampoline: u8;
    static trampoline_end: u8;
}

/// What a processor is given.
#[repr(C)]
struct Ticket {
    /// The assembly knows this field.
    stack_top: u64,
    cpu: &'static Cpu,
}

/// For the processor that is being started.
static TICKET: AtomicPtr<Ticket> = AtomicPtr::new(core::ptr::null_mut());
/// The number of the processor that has set itself up last.
static LATEST: AtomicUsize = AtomicUsize::new(0);
static ENTRY: Once<fn(usize) -> !> = Once::new();
static PROCESSORS: Once<Processors> = Once::new();

/// How long a processor may take until it is told again, and until it is given up. Under emulation
/// its thread may have to wait for the host.
const AGAIN_NS: u64 = 50_000_000;
const PATIENCE_NS: u64 = 5_000_000_000;
/// Time between INIT and start-up.
const INIT_NS: u64 = 10_000_000;
/// Bytes of the stack of each.
const STACK_SIZE: u64 = 256 << 10;

/// Remembers which processors there are.
pub(crate) fn init(processors: Processors) {
    PROCESSORS.call_once(|| processors);
}

/// Starts all other processors, up to [`MAX_CPUS`] in all; each runs `entry` with its number, on a
/// stack of its own and with interrupts off. Returns when they run; [`cpu_count`](crate::cpu_count)
/// then says how many there are. Once per boot, by the boot processor.
pub fn start_cpus(entry: fn(usize) -> !) {
    assert_eq!(peers::this_cpu(), 0, "not the boot processor");
    ENTRY.call_once(|| entry);
    let own = apic::id();
    let all = PROCESSORS.get().map_or(&[][..], Processors::ids);
    let others = || all.iter().copied().filter(|&id| id != own);
    if others().next().is_none() {
        return;
    }
    let Some(page) = install_trampoline() else {
        crate::log!("no memory below 1 MiB: the other processors are not used");
        return;
    };
    for id in others() {
        apic::send_init(id);
    }
    wait_until(INIT_NS, || false);
    for id in others().take(MAX_CPUS - 1) {
        if start_one(id, page).is_none() {
            crate::log!(
                "processor with APIC id {id} does not start: it and those behind it are not used"
            );
            return;
        }
    }
}

/// Copies the first code to where real mode can run it; gives the number of the page.
fn install_trampoline() -> Option<u8> {
    let physical = boot::trampoline_page()?;
    let at = pages::low_window(physical)?;
    let first = &raw const trampoline;
    let length = (&raw const trampoline_end) as usize - first as usize;
    // SAFETY: a page of RAM below 1 MiB, which nobody uses, just mapped for writing; the code is
    // shorter than a page.
    unsafe { core::ptr::copy_nonoverlapping(first, at as *mut u8, length) };
    u8::try_from(physical >> 12).ok()
}

/// Waits; says whether `done` was so in time.
fn wait_until(time_ns: u64, done: impl Fn() -> bool) -> bool {
    let end = crate::now_ns() + time_ns;
    while !done() {
        if crate::now_ns() >= end {
            return false;
        }
        time::answer_comparison();
        core::hint::spin_loop();
    }
    true
}

fn start_one(id: u32, page: u8) -> Option<()> {
    let index = peers::cpu_count();
    let stack_top = pages::kernel_stack(STACK_SIZE)?;
    let cpu = Cpu::boxed(index, stack_top - STACK_SIZE..stack_top);
    apic::set_id(index, id);
    // The ticket is never freed: a processor given up may still take it.
    let ticket = Box::leak(Box::new(Ticket { stack_top, cpu }));
    TICKET.store(ticket, Ordering::SeqCst);
    let is_up = || LATEST.load(Ordering::Acquire) == index;
    apic::send_startup(id, page);
    if !wait_until(AGAIN_NS, is_up) {
        apic::send_startup(id, page);
    }
    if !wait_until(PATIENCE_NS, is_up)
        && !TICKET
            .swap(core::ptr::null_mut(), Ordering::SeqCst)
            .is_null()
    {
        return None;
    }
    // Whoever has taken the ticket arrives.
    while !is_up() {
        time::answer_comparison();
        core::hint::spin_loop();
    }
    peers::set_cpu_count(index + 1);
    Some(())
}

/// The first Rust of another processor.
extern "C" fn start(ticket: &'static Ticket) -> ! {
    let cpu = ticket.cpu;
    cpu.install();
    trap::load();
    let features = cpu::enable_features();
    assert_eq!(
        features,
        cpu::cpu_features(),
        "the processors do not have the same features"
    );
    apic::init_local();
    time::init_local();
    let index = cpu.index.get();
    LATEST.store(index, Ordering::Release);
    while peers::cpu_count() <= index {
        core::hint::spin_loop();
    }
    let entry = ENTRY.get().expect("set before any processor is started");
    entry(index)
}
