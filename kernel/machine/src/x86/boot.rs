//! From the PVH entry to `main`.
//!
//! Law: what the boot loader left is copied and checked before the memory it lies in can be given
//! to anybody. Source: Xen public headers, `arch-x86/hvm/start_info.h`, version 1.
//!
//! The processor arrives in 32-bit mode without paging, EBX pointing to the start info. The
//! assembly below maps the first GiB both at zero and at the image's address, enters 64-bit mode
//! and calls [`start`] on the boot CPU's stack. `pages::init` replaces these tables.

use core::arch::global_asm;
use core::ops::Range;

use spin::Once;

use super::{acpi, apic, console, cpu, frame, layout, pages, smp, time, trap, user};
use crate::{BootInfo, PAGE_SIZE};

global_asm!(
    r#"
    .section .note.pvh, "a", @note
    .balign 4
    .long 4                     // length of the name
    .long 8                     // length of the value
    .long 18                    // XEN_ELFNOTE_PHYS32_ENTRY
    .asciz "Xen"
    .quad pvh_start

    .section .boot, "awx", @progbits
    .code32
    .global pvh_start
pvh_start:
    cli
    cld
    mov esi, ebx
    mov esp, offset boot_stack_top
    mov edi, offset boot_pml4   // four tables in a row, zeroed
    xor eax, eax
    mov ecx, 4096
    rep stosd

    mov eax, offset boot_pdpt_low
    or eax, 3
    mov dword ptr [boot_pml4], eax
    mov eax, offset boot_pdpt_high
    or eax, 3
    mov dword ptr [boot_pml4 + 511 * 8], eax
    mov eax, offset boot_pd
    or eax, 3
    mov dword ptr [boot_pdpt_low], eax
    mov dword ptr [boot_pdpt_high + 510 * 8], eax
    mov edi, offset boot_pd
    mov eax, 0x83               // present, writable, 2 MiB
    mov ecx, 512
2:  mov dword ptr [edi], eax
    add eax, 0x200000
    add edi, 8
    dec ecx
    jnz 2b

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
    or eax, 0x80010001          // paging, write protect, protected mode
    mov cr0, eax
    lgdt [boot_gdt_pointer]
    push 8
    mov eax, offset pvh_start_64
    push eax
    retf

    .code64
pvh_start_64:
    xor eax, eax
    mov ds, eax
    mov es, eax
    mov ss, eax
    mov fs, eax
    mov gs, eax
    movabs rax, offset start_high
    jmp rax

    .balign 8
    .global boot_gdt
    .global boot_pml4
boot_gdt:
    .quad 0
    .quad 0x00af9b000000ffff    // 64-bit code
    .quad 0x00cf9b000000ffff    // 32-bit code and data, for the other processors (`smp`)
    .quad 0x00cf93000000ffff
boot_gdt_pointer:
    .word 31
    .long boot_gdt

    .balign 4096
boot_pml4:      .skip 4096
boot_pdpt_low:  .skip 4096
boot_pdpt_high: .skip 4096
boot_pd:        .skip 4096
boot_stack:     .skip 64
boot_stack_top:

    .text
start_high:
    lea rdi, [rip + __zeroed_start]
    lea rcx, [rip + __data_end]
    sub rcx, rdi
    shr rcx, 3
    xor eax, eax
    rep stosq
    lea rsp, [rip + __stack_top]
    xor ebp, ebp
    push rbp                    // the end of every backtrace
    push rbp
    mov edi, esi
    call {start}
    ud2
    "#,
    start = sym start,
);

/// Most memory regions, split and unsplit, that are looked at.
const MAX_REGIONS: usize = 64;
/// Longest command line that is kept.
const MAX_COMMAND_LINE: usize = 4096;
const START_INFO_MAGIC: u32 = 0x336e_c578;
const RAM: u32 = 1;

/// Ranges of physical addresses, sorted as they were found. Full means further ones are ignored:
/// memory not known is only memory not used.
#[derive(Clone)]
pub(crate) struct Regions {
    ranges: [(u64, u64); MAX_REGIONS],
    length: usize,
}

impl Regions {
    pub(crate) const fn new() -> Regions {
        Regions {
            ranges: [(0, 0); MAX_REGIONS],
            length: 0,
        }
    }

    pub(crate) fn push(&mut self, range: Range<u64>) {
        if range.start < range.end && self.length < MAX_REGIONS {
            self.ranges[self.length] = (range.start, range.end);
            self.length += 1;
        }
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = Range<u64>> + '_ {
        self.ranges[..self.length]
            .iter()
            .map(|&(start, end)| start..end)
    }

    /// The same without `hole`.
    pub(crate) fn without(&self, hole: Range<u64>) -> Regions {
        let mut rest = Regions::new();
        for range in self.iter() {
            rest.push(range.start..range.end.min(hole.start));
            rest.push(range.start.max(hole.end)..range.end);
        }
        rest
    }

    /// Takes `length` bytes, whole pages, from the start of the first region that has them below
    /// `limit`.
    pub(crate) fn take(&mut self, length: u64, limit: u64) -> Option<u64> {
        let length = length.next_multiple_of(PAGE_SIZE as u64);
        let (start, _) = self.ranges[..self.length]
            .iter_mut()
            .find(|(start, end)| limit.min(*end).saturating_sub(*start) >= length)?;
        let taken = *start;
        *start += length;
        Some(taken)
    }

    /// Takes `length` bytes from the end of the last region that has them.
    pub(crate) fn take_last(&mut self, length: u64) -> Option<u64> {
        while let Some(last) = self.length.checked_sub(1) {
            let (start, end) = &mut self.ranges[last];
            if *end - *start >= length {
                *end -= length;
                return Some(*end);
            }
            if *end != *start {
                return None;
            }
            self.length = last;
        }
        None
    }
}

/// RAM, whole pages, from 1 MiB up; set once at boot.
static RAM_REGIONS: Once<Regions> = Once::new();

/// Whether any byte of a physical range is RAM that the kernel uses.
pub(crate) fn is_used_ram(physical: Range<u64>) -> bool {
    RAM_REGIONS.get().is_none_or(|regions| {
        regions
            .iter()
            .any(|ram| ram.start < physical.end && physical.start < ram.end)
    })
}

/// Whether any byte of a physical range is RAM or lies in low memory, which may be.
pub(crate) fn touches_ram(physical: Range<u64>) -> bool {
    physical.start < layout::LOW_MEMORY || is_used_ram(physical)
}

/// A page of RAM below 1 MiB that nobody uses, for the first code of other processors.
pub(crate) fn trampoline_page() -> Option<u64> {
    TRAMPOLINE.get().copied().flatten()
}

static TRAMPOLINE: Once<Option<u64>> = Once::new();
/// The trampoline lies below this: above may be data of the firmware.
const TRAMPOLINE_LIMIT: u64 = 0x9_0000;

/// The last page of a range of RAM that can be the trampoline.
fn page_for_trampoline(ram: Range<u64>) -> Option<u64> {
    let page = PAGE_SIZE as u64;
    let last = (ram.end.min(TRAMPOLINE_LIMIT) & !(page - 1)).checked_sub(page)?;
    (last >= ram.start.max(page)).then_some(last)
}

/// What the start info said, copied.
struct Start {
    trampoline: Option<u64>,
    ram: Regions,
    memory_bytes: u64,
    module: Range<u64>,
    rsdp: u64,
    command_line: &'static str,
}

/// Reads memory that the boot tables map.
fn boot_bytes(physical: u64, length: u64) -> Option<&'static [u8]> {
    let end = physical.checked_add(length)?;
    if physical == 0 || end > layout::BOOT_LIMIT {
        return None;
    }
    // SAFETY: the boot tables map this memory; until `pages::init` nothing but the statics of the
    // image is written, and the callers (all in this file) copy what they read before that. The
    // boot loader's structures do not overlap the image it loaded.
    Some(unsafe {
        core::slice::from_raw_parts(
            (layout::IMAGE + physical) as *const u8,
            usize::try_from(length).ok()?,
        )
    })
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes
        .get(at..at + 4)
        .and_then(|raw| raw.try_into().ok())
        .map_or(0, u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes
        .get(at..at + 8)
        .and_then(|raw| raw.try_into().ok())
        .map_or(0, u64::from_le_bytes)
}

fn parse(info: u64) -> Option<Start> {
    let info = boot_bytes(info, 56)?;
    if u32_at(info, 0) != START_INFO_MAGIC || u32_at(info, 4) < 1 {
        return None;
    }
    let page = PAGE_SIZE as u64;
    let (mut ram, mut memory_bytes, mut trampoline) = (Regions::new(), 0, None);
    let map = boot_bytes(u64_at(info, 40), u64::from(u32_at(info, 48)) * 24)?;
    for entry in map
        .chunks_exact(24)
        .filter(|entry| u32_at(entry, 16) == RAM)
    {
        let (start, length) = (u64_at(entry, 0), u64_at(entry, 8));
        let end = start.saturating_add(length).min(layout::DIRECT_LIMIT) & !(page - 1);
        memory_bytes += length;
        trampoline = trampoline.or(page_for_trampoline(start..end));
        ram.push(start.max(layout::LOW_MEMORY).next_multiple_of(page)..end);
    }
    let module = match u32_at(info, 12) {
        0 => 0..0,
        _ => {
            let module = boot_bytes(u64_at(info, 16), 32)?;
            let (start, length) = (u64_at(module, 0), u64_at(module, 8));
            let end = start.checked_add(length)?;
            ram.iter()
                .any(|ram| ram.start <= start && end <= ram.end)
                .then_some(start..end)?
        }
    };
    Some(Start {
        trampoline,
        ram,
        memory_bytes,
        module,
        rsdp: u64_at(info, 32),
        command_line: command_line(u64_at(info, 24)),
    })
}

/// Copies the command line out of the boot loader's memory.
fn command_line(physical: u64) -> &'static str {
    static COPY: Once<([u8; MAX_COMMAND_LINE], usize)> = Once::new();
    let (copy, length) = COPY.call_once(|| {
        let mut copy = [0; MAX_COMMAND_LINE];
        let bytes = boot_bytes(physical, MAX_COMMAND_LINE as u64).unwrap_or_default();
        let length = bytes
            .iter()
            .position(|&byte| byte == 0)
            .unwrap_or(bytes.len());
        copy[..length].copy_from_slice(&bytes[..length]);
        (copy, length)
    });
    let bytes = &copy[..*length];
    match core::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => core::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default(),
    }
}

unsafe extern "Rust" {
    /// What `machine::entry!` defines.
    safe fn dunlin_main(info: BootInfo) -> !;
}

/// The first Rust: brings the machine up in the one order that works and enters `main`.
extern "C" fn start(info: u64) -> ! {
    cpu::init_boot_cpu();
    trap::init();
    console::init();
    let Some(start) = parse(info) else {
        panic!("not booted by PVH: no valid start info at {info:#x}");
    };
    cpu::enable_features();
    let image = layout::image_physical(layout::image_start())
        ..layout::image_physical(layout::data_end()).next_multiple_of(PAGE_SIZE as u64);
    let ram = start.ram.without(image.clone());
    let page = PAGE_SIZE as u64;
    let module_pages = start.module.start & !(page - 1)..start.module.end.next_multiple_of(page);
    let mut free = ram.without(module_pages);
    pages::init(&ram, &mut free);
    frame::init(free);
    RAM_REGIONS.call_once(|| start.ram.clone());
    TRAMPOLINE.call_once(|| start.trampoline);
    user::init();
    let tables = acpi::read(start.rsdp);
    apic::init(&tables);
    time::init(&tables);
    console::enable_input(&tables);
    smp::init(tables.processors);
    let length = usize::try_from(start.module.end - start.module.start).expect("64-bit");
    let archive = if length == 0 {
        &[]
    } else {
        // SAFETY: `parse` found the module inside one region of RAM; the direct map covers all of
        // them, and its pages were taken out of `free`, so that nobody writes to them.
        unsafe {
            core::slice::from_raw_parts(layout::direct(start.module.start) as *const u8, length)
        }
    };
    dunlin_main(BootInfo {
        command_line: start.command_line,
        archive,
        memory_bytes: start.memory_bytes,
    })
}
