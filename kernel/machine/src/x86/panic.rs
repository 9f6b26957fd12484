//! The end: what went wrong, where, and the exit status of the machine.
//!
//! Law: works without heap, without locks and with GS of anybody; a panic while panicking halts. The
//! first CPU that panics stops all others, whatever they are doing.

use core::sync::atomic::{AtomicU32, Ordering};

use x86_64::instructions::port::Port;
use x86_64::instructions::{hlt, interrupts};

use super::trap::{self, TrapFrame};
use super::{apic, console, cpu, layout};
use crate::symbols;

/// Status of a machine that panicked; by QEMU's rule the process exits with 203.
const FAILED: u8 = 101;
/// Longest backtrace.
const MAX_DEPTH: usize = 40;

/// Ends the machine. QEMU exits with `(status << 1) | 1`; elsewhere the processor halts for good.
pub fn power_off(status: u8) -> ! {
    // SAFETY: the port of isa-debug-exit, or of nothing.
    unsafe { Port::<u8>::new(0xf4).write(status) };
    halt()
}

/// Stops this CPU for good.
fn halt() -> ! {
    interrupts::disable();
    loop {
        hlt();
    }
}

fn symbol_table() -> &'static [u8] {
    let (start, end) = (layout::symbols_start(), layout::symbols_end());
    // SAFETY: constants of the image.
    unsafe { core::slice::from_raw_parts(start as *const u8, (end - start) as usize) }
}

/// Prints an address of code with the function it lies in.
fn print_code(address: u64) {
    match symbols::lookup(symbol_table(), address) {
        Some((name, offset)) => {
            console::print(format_args!("  {address:#018x} {name} + {offset:#x}\n"))
        }
        None => console::print(format_args!("  {address:#018x}\n")),
    }
}

fn is_on_a_stack(address: u64) -> bool {
    address.is_multiple_of(8)
        && cpu::all_stacks().any(|stack| (stack.start..stack.end - 16).contains(&address))
}

/// Follows the frame pointers from `frame` on.
fn print_backtrace(mut frame: u64) {
    for _ in 0..MAX_DEPTH {
        if !is_on_a_stack(frame) {
            return;
        }
        // SAFETY: two words on a stack that is mapped for ever.
        let (next, address) = unsafe { (*(frame as *const u64), *((frame + 8) as *const u64)) };
        if address == 0 {
            return;
        }
        print_code(address);
        frame = next;
    }
}

/// An exception in the kernel: prints the registers and panics.
pub(crate) fn trapped(frame: &TrapFrame, cr2: u64) -> ! {
    console::print(format_args!(
        "\nkernel exception {} code {:#x} cr2 {cr2:#018x}\n\
         rip {:#018x} rsp {:#018x} rflags {:#x} cs {:#x} ss {:#x}\n\
         rax {:#018x} rbx {:#018x} rcx {:#018x}\nrdx {:#018x} rsi {:#018x} rdi {:#018x}\n\
         rbp {:#018x} r8  {:#018x} r9  {:#018x}\nr10 {:#018x} r11 {:#018x} r12 {:#018x}\n\
         r13 {:#018x} r14 {:#018x} r15 {:#018x}\nat\n",
        frame.vector,
        frame.code,
        frame.rip,
        frame.rsp,
        frame.rflags,
        frame.cs,
        frame.ss,
        frame.rax,
        frame.rbx,
        frame.rcx,
        frame.rdx,
        frame.rsi,
        frame.rdi,
        frame.rbp,
        frame.r8,
        frame.r9,
        frame.r10,
        frame.r11,
        frame.r12,
        frame.r13,
        frame.r14,
        frame.r15,
    ));
    print_code(frame.rip);
    panic!("exception {} in the kernel", frame.vector);
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    /// The APIC id of the CPU that panics, plus one.
    static PANICKING: AtomicU32 = AtomicU32::new(0);
    interrupts::disable();
    let this = apic::id() + 1;
    match PANICKING.compare_exchange(0, this, Ordering::SeqCst, Ordering::SeqCst) {
        Ok(_) => trap::stop_others(),
        Err(first) if first == this => power_off(FAILED),
        Err(_) => halt(),
    }
    console::print(format_args!("\nkernel panic: {}\n", info.message()));
    if let Some(location) = info.location() {
        console::print(format_args!("  at {location}\n"));
    }
    let frame: u64;
    // SAFETY: reads RBP, which is the frame pointer in this build.
    unsafe {
        core::arch::asm!("mov {}, rbp", out(reg) frame, options(nomem, nostack, preserves_flags))
    };
    print_backtrace(frame);
    power_off(FAILED);
}
