//! Files that the machine below hands over: QEMU's fw_cfg (docs/specs/fw_cfg.rst).
//!
//! Law: its two ports are touched only under a hypervisor, and what comes out of them is believed only behind the
//! signature. Nothing of it is kept, and user mode has no access to ports.

use core::arch::x86_64::__cpuid;

use spin::Mutex;
use x86_64::instructions::port::Port;

const SELECTOR: u16 = 0x510;
const DATA: u16 = 0x511;
const SIGNATURE: u16 = 0;
const DIRECTORY: u16 = 0x19;
/// Entries of the directory that are looked at.
const FILES_MAX: u32 = 1024;
/// The size, the selector and two reserved bytes in front of a name, big-endian.
const NAME_LEN: usize = 56;

/// Held while the ports are used: which bytes come depends on what was selected.
static PORTS: Mutex<()> = Mutex::new(());

fn select(item: u16) {
    // SAFETY: the port of fw_cfg, which is there or nobody is: writing it chooses what the other
    // one gives, and touches no memory.
    unsafe { Port::<u16>::new(SELECTOR).write(item) };
}

fn take<const N: usize>() -> [u8; N] {
    core::array::from_fn(|_| {
        // SAFETY: reading the data port takes the next byte of what was selected.
        unsafe { Port::<u8>::new(DATA).read() }
    })
}

fn is_there() -> bool {
    // The bit that no processor sets and every hypervisor does.
    let under_hypervisor = __cpuid(1).ecx & 1 << 31 != 0;
    under_hypervisor && {
        select(SIGNATURE);
        take() == *b"QEMU"
    }
}

/// Reads a file that the machine was given by this name, whole; the bytes of it. `None` if there is no such
/// file, or it is longer than `into`.
pub fn firmware_file<'a>(name: &str, into: &'a mut [u8]) -> Option<&'a [u8]> {
    let _ports = PORTS.lock();
    if !is_there() {
        return None;
    }
    select(DIRECTORY);
    let count = u32::from_be_bytes(take()).min(FILES_MAX);
    let found = (0..count).find_map(|_| {
        let (size, item) = (u32::from_be_bytes(take()), u16::from_be_bytes(take()));
        let _reserved: [u8; 2] = take();
        let field: [u8; NAME_LEN] = take();
        let end = field.iter().position(|byte| *byte == 0)?;
        (&field[..end] == name.as_bytes()).then_some((size, item))
    });
    let (size, item) = found?;
    let into = into.get_mut(..usize::try_from(size).ok()?)?;
    select(item);
    for byte in into.iter_mut() {
        [*byte] = take();
    }
    Some(into)
}
