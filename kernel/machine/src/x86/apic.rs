//! The local APIC, the I/O APIC and who gets which vector.
//!
//! Law: every vector has one meaning, given here. The old interrupt controllers are masked for ever.
//! Source: SDM volume 3, chapter 11; Intel 82093AA data sheet for the I/O APIC.
//!
//! ```text
//! 0x20-0x2f  the masked 8259s: spurious only
//! 0x30       timer
//! 0x31       COM1
//! 0x32       another CPU wants this one in the kernel
//! 0x40-0xef  message-signalled interrupts of devices
//! 0xff       spurious
//! ```

use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};

use spin::Once;
use x86_64::instructions::port::Port;
use x86_64::registers::model_specific::Msr;

use super::acpi::{SerialInterrupt, Tables};
use super::{console, pages};
use crate::{MAX_CPUS, MsiVector};

const PIC_BASE: u8 = 0x20;
/// The timer's vector.
const TIMER: u8 = 0x30;
const SERIAL: u8 = 0x31;
const KICK: u8 = 0x32;
const FIRST_MSI: u8 = 0x40;
const LAST_MSI: u8 = 0xef;
const SPURIOUS: u8 = 0xff;

/// Registers of the local APIC, by offset.
const ID: u64 = 0x20;
const TASK_PRIORITY: u64 = 0x80;
const END_OF_INTERRUPT: u64 = 0xb0;
const SPURIOUS_VECTOR: u64 = 0xf0;
/// The interrupt command: SDM volume 3, section 11.6.1.
const COMMAND_LOW: u64 = 0x300;
const COMMAND_HIGH: u64 = 0x310;
const LVT_TIMER: u64 = 0x320;
const LVT_LINT0: u64 = 0x350;
const LVT_LINT1: u64 = 0x360;
const LVT_ERROR: u64 = 0x370;
const INITIAL_COUNT: u64 = 0x380;
const CURRENT_COUNT: u64 = 0x390;
const DIVIDE: u64 = 0x3e0;
const MASKED: u32 = 1 << 16;
const TSC_DEADLINE: u32 = 2 << 17;
/// In the interrupt command: the last one is still on its way.
const SENDING: u32 = 1 << 12;
const ASSERT: u32 = 1 << 14;

/// Virtual address of the local APIC.
static LOCAL: Once<u64> = Once::new();
/// The id of each CPU's local APIC.
static IDS: [AtomicU32; MAX_CPUS] = [const { AtomicU32::new(0) }; MAX_CPUS];
static NEXT_MSI: AtomicU8 = AtomicU8::new(FIRST_MSI);
/// One bit per vector: came since it was last asked for.
static PENDING: [AtomicU64; 4] = [const { AtomicU64::new(0) }; 4];
static SERIAL_ROUTED: AtomicBool = AtomicBool::new(false);

fn read(register: u64) -> u32 {
    let base = LOCAL.get().expect("set up at boot");
    // SAFETY: the page of the local APIC is mapped uncached for ever; registers are aligned.
    unsafe { ((base + register) as *const u32).read_volatile() }
}

fn write(register: u64, value: u32) {
    let base = LOCAL.get().expect("set up at boot");
    // SAFETY: as in `read`; none of the registers written here reaches memory.
    unsafe { ((base + register) as *mut u32).write_volatile(value) }
}

/// Sets up the boot CPU's local APIC and masks everything older.
pub(crate) fn init(tables: &Tables) {
    mask_8259();
    let base = enable();
    let mapped = pages::device_window(base..base + 4096).expect("no room to map the local APIC");
    LOCAL.call_once(|| mapped);
    set_id(0, id());
    init_registers();
    SERIAL_ROUTED.store(route_serial(&tables.serial).is_some(), Ordering::Relaxed);
}

/// Sets up the local APIC of another CPU.
pub(crate) fn init_local() {
    enable();
    init_registers();
}

/// Turns this CPU's local APIC on; gives its physical address.
fn enable() -> u64 {
    // SAFETY: IA32_APIC_BASE exists where there is an APIC; the value only gets the enable bit.
    unsafe {
        let mut register = Msr::new(0x1b);
        let value = register.read();
        assert_eq!(
            value & 1 << 10,
            0,
            "the firmware left the APIC in x2APIC mode"
        );
        register.write(value | 1 << 11);
        value & pages::ADDRESS
    }
}

fn init_registers() {
    write(SPURIOUS_VECTOR, 1 << 8 | u32::from(SPURIOUS));
    write(TASK_PRIORITY, 0);
    write(LVT_LINT0, MASKED);
    write(LVT_LINT1, MASKED);
    write(LVT_ERROR, MASKED);
    write(LVT_TIMER, MASKED | u32::from(TIMER));
    write(DIVIDE, 0b1011);
    write(END_OF_INTERRUPT, 0);
}

/// Moves the 8259s' vectors out of the exceptions' way and masks them (Intel 8259A data sheet).
fn mask_8259() {
    let words: [(u16, u8); 10] = [
        (0x20, 0x11),
        (0xa0, 0x11),
        (0x21, PIC_BASE),
        (0xa1, PIC_BASE + 8),
        (0x21, 4),
        (0xa1, 2),
        (0x21, 1),
        (0xa1, 1),
        (0x21, 0xff),
        (0xa1, 0xff),
    ];
    for (port, word) in words {
        // SAFETY: the ports of the two 8259s, or of nothing.
        unsafe { Port::<u8>::new(port).write(word) };
    }
}

/// Leads COM1's interrupt to this CPU. `None` if there is no plausible I/O APIC.
fn route_serial(interrupt: &SerialInterrupt) -> Option<()> {
    let base = interrupt.io_apic;
    if super::boot::touches_ram(base..base.checked_add(32)?) {
        return None;
    }
    let registers = pages::device_window(base..base + 32)?;
    let access = |index: u32, value: Option<u32>| {
        // SAFETY: the select register and the data register of the I/O APIC, mapped uncached.
        unsafe {
            (registers as *mut u32).write_volatile(index);
            let data = (registers + 16) as *mut u32;
            match value {
                Some(value) => data.write_volatile(value),
                None => return data.read_volatile(),
            }
        }
        0
    };
    let version = access(1, None);
    let inputs = (version >> 16 & 0xff) + 1;
    if version & 0xff == 0xff || version & 0xff == 0 || interrupt.input >= inputs {
        return None;
    }
    for input in 0..inputs {
        access(0x10 + input * 2, Some(MASKED));
    }
    let entry = 0x10 + interrupt.input * 2;
    access(entry + 1, Some(id() << 24));
    access(entry, Some(interrupt.flags | u32::from(SERIAL)));
    Some(())
}

/// Whether input from COM1 raises interrupts.
pub(crate) fn serial_is_routed() -> bool {
    SERIAL_ROUTED.load(Ordering::Relaxed)
}

/// The id of this CPU's local APIC; 0 before it is set up.
pub(crate) fn id() -> u32 {
    LOCAL.get().map_or(0, |_| read(ID) >> 24)
}

/// Notes the id of a CPU's local APIC.
pub(crate) fn set_id(cpu: usize, id: u32) {
    IDS[cpu].store(id, Ordering::Relaxed);
}

/// Sends a command to a local APIC, when the last one has left.
fn command(destination: u32, command: u32) {
    while read(COMMAND_LOW) & SENDING != 0 {
        core::hint::spin_loop();
    }
    write(COMMAND_HIGH, destination << 24);
    write(COMMAND_LOW, command);
}

/// Makes a processor leave user mode or wake from [`idle`](crate::idle), now or as soon as it is in
/// either. Panics unless it is one of [`cpu_count`](crate::cpu_count).
pub fn kick(cpu: usize) {
    assert!(cpu < super::peers::cpu_count(), "no such processor: {cpu}");
    command(IDS[cpu].load(Ordering::Relaxed), u32::from(KICK));
}

/// Resets a CPU; it waits for its start-up then.
pub(crate) fn send_init(id: u32) {
    command(id, ASSERT | 5 << 8);
}

/// Lets a CPU that waits for it run real-mode code at the start of a page below 1 MiB.
pub(crate) fn send_startup(id: u32, page: u8) {
    command(id, ASSERT | 6 << 8 | u32::from(page));
}

/// Interrupts all other CPUs whatever they do. Does nothing before the local APIC is set up.
pub(crate) fn send_nmi_to_others() {
    if LOCAL.get().is_some() {
        command(0, 3 << 18 | ASSERT | 4 << 8);
    }
}

/// Serves an interrupt, with interrupts off.
pub(crate) fn interrupt(vector: u8) {
    match vector {
        // The 8259s and the APIC raise these without waiting for an end of interrupt.
        0..=0x2f | SPURIOUS => return,
        SERIAL => console::receive(),
        KICK => {}
        _ => {
            PENDING[usize::from(vector / 64)].fetch_or(1 << (vector % 64), Ordering::Release);
        }
    }
    write(END_OF_INTERRUPT, 0);
}

/// A fresh interrupt vector for a device, `None` when all are given away. Its interrupts make
/// `run_user` and `idle` return.
pub fn allocate_vector() -> Option<MsiVector> {
    let vector = NEXT_MSI
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |next| {
            (next <= LAST_MSI).then_some(next + 1)
        })
        .ok()?;
    // Fixed delivery, edge triggered, to one physical APIC: SDM volume 3, section 11.11.
    let address = 0xfee0_0000 | u64::from(id()) << 12;
    Some(MsiVector {
        vector,
        address,
        data: u32::from(vector),
    })
}

impl MsiVector {
    /// Whether the interrupt came since the last call.
    pub fn take_pending(&self) -> bool {
        let bit = 1 << (self.vector % 64);
        let word = &PENDING[usize::from(self.vector / 64)];
        word.load(Ordering::Relaxed) & bit != 0
            && word.fetch_and(!bit, Ordering::Acquire) & bit != 0
    }
}

/// Starts the counter without interrupts, to be calibrated.
pub(crate) fn start_counter() {
    write(LVT_TIMER, MASKED | u32::from(TIMER));
    write(INITIAL_COUNT, u32::MAX);
}

/// What is left of the counter.
pub(crate) fn counter() -> u32 {
    read(CURRENT_COUNT)
}

/// Lets the timer fire after so many ticks; never for zero.
pub(crate) fn one_shot(ticks: u32) {
    write(LVT_TIMER, u32::from(TIMER));
    write(INITIAL_COUNT, ticks);
}

/// Chooses between the counter and the TSC deadline for good.
pub(crate) fn use_tsc_deadline() {
    write(INITIAL_COUNT, 0);
    write(LVT_TIMER, TSC_DEADLINE | u32::from(TIMER));
    super::fence();
}
