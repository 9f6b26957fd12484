//! Proves at boot that the processor's protections hold: each is violated once, on purpose.
//!
//! Law: a fault is forgiven only if it is at the one address that a probe is touching.

use alloc::boxed::Box;
use core::arch::global_asm;
use core::sync::atomic::{AtomicU64, Ordering};

use spin::Mutex;
use x86_64::registers::control::{Cr0, Cr0Flags, Cr4, Efer, EferFlags};
use x86_64::registers::rflags::{self, RFlags};

use super::paging::PageTable;
use super::trap::TrapFrame;
use super::user::run_user;
use super::{cpu, layout, pages, peers};
use crate::{Access, Exit, Frame, FrameKind, Registers};

global_asm!(
    r#"
    .text
    .global probe_read
    .global probe_write
    .global probe_execute
    .global probe_return
// Each does one access and returns; a fault in it continues at probe_return with the stack
// pointer of the entry.
probe_read:
    mov [rip + {stack}], rsp
    mov al, [rdi]
    ret
probe_write:
    mov [rip + {stack}], rsp
    mov al, [rdi]
    mov [rdi], al
    ret
probe_execute:
    mov [rip + {stack}], rsp
    call rdi
probe_return:
    ret
    "#,
    stack = sym PROBE_STACK,
);

unsafe extern "C" {
    fn probe_read(address: u64);
    fn probe_write(address: u64);
    fn probe_execute(address: u64);
    static probe_return: u8;
}

static PROBE_STACK: AtomicU64 = AtomicU64::new(0);
/// The address a probe is touching; `NOWHERE` if none is.
static TARGET: AtomicU64 = AtomicU64::new(NOWHERE);
const NOWHERE: u64 = u64::MAX;
/// Error code of the page fault that was caught, all ones if none was.
static CAUGHT: AtomicU64 = AtomicU64::new(u64::MAX);

const PROTECTION: u64 = 1;
const WRITE: u64 = 2;
const FETCH: u64 = 16;

/// Forgives the page fault that a probe provoked.
pub(crate) fn caught(frame: &mut TrapFrame, cr2: u64) -> bool {
    if frame.vector != 14 || cr2 == NOWHERE || TARGET.swap(NOWHERE, Ordering::SeqCst) != cr2 {
        return false;
    }
    CAUGHT.store(frame.code, Ordering::SeqCst);
    frame.rip = (&raw const probe_return) as u64;
    frame.rsp = PROBE_STACK.load(Ordering::SeqCst);
    true
}

/// The error code of the fault an access gives, `None` if it gives none.
fn fault_of(probe: unsafe extern "C" fn(u64), address: u64) -> Option<u64> {
    CAUGHT.store(u64::MAX, Ordering::SeqCst);
    TARGET.store(address, Ordering::SeqCst);
    // SAFETY: the callers give addresses where the access either faults, which `caught` turns into
    // a return, or does no harm: a byte read, a byte written back, a RET executed.
    unsafe { probe(address) };
    TARGET.store(NOWHERE, Ordering::SeqCst);
    Some(CAUGHT.load(Ordering::SeqCst)).filter(|&code| code != u64::MAX)
}

fn expect(is_so: bool, otherwise: &'static str) -> Result<(), &'static str> {
    if is_so { Ok(()) } else { Err(otherwise) }
}

/// Checks the control registers of this CPU and violates each protection once.
///
/// # Errors
/// What does not hold, in words.
pub fn self_test() -> Result<(), &'static str> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _alone = ONE_AT_A_TIME.lock();
    control_registers()?;
    kernel_pages()?;
    user_pages_and_instructions()
}

fn control_registers() -> Result<(), &'static str> {
    let offered = cpu::offered_protections();
    expect(
        Cr0::read().contains(Cr0Flags::WRITE_PROTECT),
        "CR0.WP is off",
    )?;
    expect(
        Cr4::read().contains(offered),
        "SMEP, SMAP or UMIP is offered and off",
    )?;
    expect(
        Efer::read().contains(EferFlags::NO_EXECUTE_ENABLE),
        "EFER.NXE is off",
    )?;
    expect(
        !rflags::read().contains(RFlags::ALIGNMENT_CHECK),
        "RFLAGS.AC suspends SMAP",
    )?;
    expect(
        !rflags::read().contains(RFlags::INTERRUPT_FLAG),
        "interrupts are on in the kernel",
    )
}

fn kernel_pages() -> Result<(), &'static str> {
    let ret = Box::new(0xc3_u8);
    let on_the_heap = core::ptr::from_ref(&*ret) as u64;
    let heap = fault_of(probe_execute, on_the_heap);
    expect(heap == Some(PROTECTION | FETCH), "the heap is executable")?;
    let frame = Frame::zeroed(FrameKind::Kernel).map_err(|_| "no memory")?;
    frame.write(0, &[0xc3]);
    let direct = layout::direct(frame.physical());
    expect(
        fault_of(probe_write, direct).is_none(),
        "RAM cannot be written",
    )?;
    expect(
        fault_of(probe_execute, direct) == Some(PROTECTION | FETCH),
        "the direct map is executable",
    )?;
    let own_stack = cpu::current().stack().start;
    let stack = fault_of(probe_execute, own_stack);
    expect(stack == Some(PROTECTION | FETCH), "the stack is executable")?;
    let text = fault_of(probe_write, layout::text_start());
    expect(
        text == Some(PROTECTION | WRITE),
        "the kernel's text is writable",
    )?;
    let constants = fault_of(probe_write, layout::constants_start());
    expect(
        constants == Some(PROTECTION | WRITE),
        "the kernel's constants are writable",
    )?;
    let execute = fault_of(probe_execute, layout::constants_start());
    expect(
        execute == Some(PROTECTION | FETCH),
        "the kernel's constants are executable",
    )?;
    expect(
        fault_of(probe_read, own_stack - 1) == Some(0),
        "no guard below the stack",
    )?;
    expect(fault_of(probe_read, 0) == Some(0), "address zero is mapped")?;
    expect(
        fault_of(probe_read, layout::LOW_MEMORY) == Some(0),
        "the boot mapping is still there",
    )?;
    let alias = layout::direct(layout::image_physical(layout::text_start()));
    expect(
        fault_of(probe_read, alias) == Some(0),
        "the kernel's text has an alias",
    )
}

const CODE_PAGE: u64 = 0x40_0000;

fn user_pages_and_instructions() -> Result<(), &'static str> {
    let out_of_memory = |_| "no memory";
    let mut table = PageTable::new().map_err(out_of_memory)?;
    let code = Frame::zeroed(FrameKind::User).map_err(out_of_memory)?;
    // ret; sgdt [rsp]; syscall
    code.write(0, &[0xc3, 0x0f, 0x01, 0x04, 0x24, 0x0f, 0x05]);
    table
        .map(CODE_PAGE, code, Access::READ | Access::EXECUTE)
        .map_err(out_of_memory)?;
    let stack = Frame::zeroed(FrameKind::User).map_err(out_of_memory)?;
    table
        .map(CODE_PAGE + 0x1000, stack, Access::READ | Access::WRITE)
        .map_err(out_of_memory)?;
    let handle = table.handle();
    expect(handle.enter(), "an address space is gone too early")?;
    peers::deactivate();
    let offered = cpu::offered_protections();
    if offered.contains(x86_64::registers::control::Cr4Flags::SUPERVISOR_MODE_ACCESS_PREVENTION) {
        let read = fault_of(probe_read, CODE_PAGE);
        expect(
            read == Some(PROTECTION),
            "SMAP does not stop the kernel reading user memory",
        )?;
        let write = fault_of(probe_write, CODE_PAGE + 0x1000);
        expect(
            write == Some(PROTECTION),
            "SMAP does not stop the kernel writing user memory",
        )?;
    }
    if offered.contains(x86_64::registers::control::Cr4Flags::SUPERVISOR_MODE_EXECUTION_PROTECTION)
    {
        let fetch = fault_of(probe_execute, CODE_PAGE);
        expect(
            fetch == Some(PROTECTION | FETCH),
            "SMEP does not stop the kernel executing user memory",
        )?;
    }
    let mut registers = Registers {
        rip: CODE_PAGE + 1,
        rsp: CODE_PAGE + 0x1800,
        ..Registers::default()
    };
    let exit = run_user(&mut registers, &handle);
    if offered.contains(x86_64::registers::control::Cr4Flags::USER_MODE_INSTRUCTION_PREVENTION) {
        let refused = matches!(exit, Exit::Exception { vector: 13, .. });
        expect(
            refused && registers.rip == CODE_PAGE + 1,
            "UMIP does not stop SGDT in user mode",
        )?;
    }
    // User mode must not reach the kernel's half.
    registers.rip = layout::text_start();
    let exit = run_user(&mut registers, &handle);
    let refused = matches!(
        exit,
        Exit::PageFault {
            protection: true,
            execute: true,
            ..
        }
    );
    expect(refused, "user mode can execute the kernel's text")?;
    drop(table);
    expect(
        pages::root() != 0 && fault_of(probe_read, CODE_PAGE) == Some(0),
        "a dropped address space is still loaded",
    )
}
