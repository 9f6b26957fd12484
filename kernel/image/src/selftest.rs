//! Proves on the real machine what host tests of the fake cannot.
//!
//! Law: each check names what it proves; the first that fails is a panic, so that the machine's exit
//! status tells. The user programs are a few bytes of machine code, written out beside their source.

use alloc::vec;
use alloc::vec::Vec;

use machine::{
    Access, BootInfo, Dma, Exit, FpuState, Frame, FrameKind, MsiVector, PageTable, Registers,
    USER_END,
};

const CODE: u64 = 0x40_0000;
const DATA: u64 = 0x60_0000;
const STACK_TOP: u64 = 0x7fff_ffff_e000;

/// Counts what was proven.
struct Checks {
    passed: u32,
}

impl Checks {
    fn check(&mut self, holds: bool, what: &str) {
        assert!(holds, "selftest: {what}");
        self.passed += 1;
    }
}

/// Runs every check and ends the machine.
pub(crate) fn run(info: &BootInfo) -> ! {
    let mut checks = Checks { passed: 0 };
    frames(&mut checks);
    page_tables(&mut checks);
    user_mode(&mut checks);
    preemption(&mut checks);
    fpu(&mut checks);
    heap(&mut checks);
    time(&mut checks);
    devices(&mut checks);
    archive(&mut checks, info);
    if info
        .command_line
        .split_ascii_whitespace()
        .any(|word| word == "echo")
    {
        echo();
    }
    machine::log!("selftest: ok {} checks", checks.passed);
    machine::power_off(0)
}

fn zeroed(kind: FrameKind) -> Frame {
    Frame::zeroed(kind).expect("memory")
}

fn frames(checks: &mut Checks) {
    let before = machine::frame_counts();
    let frame = zeroed(FrameKind::Network);
    checks.check(frame.is_zero(), "a new frame is zero");
    frame.write(1, &[7; 4095]);
    let mut back = [0; 4095];
    frame.read(1, &mut back);
    checks.check(
        back == [7; 4095] && !frame.is_zero(),
        "a frame keeps its bytes",
    );
    let copy = frame.copy_of(FrameKind::Cache).expect("memory");
    frame.zero(0, 4096);
    let mut last = [0; 2];
    copy.read(4094, &mut last);
    checks.check(last == [7, 7] && frame.is_zero(), "a copy is a copy");
    let again = copy.clone();
    checks.check(
        copy.references() == 2 && again == copy,
        "handles are counted",
    );
    frame.set_kind(FrameKind::User);
    let during = machine::frame_counts();
    let user = FrameKind::User as usize;
    checks.check(
        during.by_kind[user] == before.by_kind[user] + 1,
        "kinds are counted",
    );
    checks.check(during.free == before.free - 2, "frames in use are not free");
    drop((frame, copy, again));
    checks.check(machine::frame_counts() == before, "every frame came back");
}

fn page_tables(checks: &mut Checks) {
    let before = machine::frame_counts();
    let mut table = PageTable::new().expect("memory");
    let frame = zeroed(FrameKind::User);
    let read_write = Access::READ | Access::WRITE;
    let places = [0x1000, CODE, 0x7f00_0000_0000, USER_END - 0x1000];
    for page in places {
        checks.check(
            table.map(page, frame.clone(), read_write) == Ok(None),
            "a page is mapped",
        );
    }
    let found: Vec<u64> = table.pages(0, USER_END).map(|(page, _)| page).collect();
    checks.check(found == places, "pages are found in order");
    checks.check(
        table.next_mapped(CODE + 1, USER_END) == Some(places[2]),
        "empty space is skipped",
    );
    checks.check(
        table.protect(CODE, Access::empty()),
        "a page loses all access",
    );
    let access = table.get(CODE).map(|mapping| mapping.access);
    checks.check(access == Some(Access::empty()), "and keeps its frame");
    checks.check(
        frame.references() == 5 && table.mapped_count() == 4,
        "mappings hold frames",
    );
    let other = zeroed(FrameKind::User);
    let replaced = table.map(CODE, other, Access::READ);
    checks.check(
        replaced == Ok(Some(frame.clone())),
        "mapping over a page gives it back",
    );
    for page in places {
        checks.check(table.unmap(page).is_some(), "a page is taken out");
    }
    let tables = FrameKind::PageTable as usize;
    let left = machine::frame_counts().by_kind[tables] - before.by_kind[tables];
    checks.check(
        left == 1 && table.mapped_count() == 0,
        "empty tables are freed",
    );
    table.map(CODE, frame, read_write).expect("memory");
    drop((table, replaced));
    checks.check(
        machine::frame_counts() == before,
        "an address space frees all it had",
    );
}

/// A thread with one page of code and one of stack.
struct Thread {
    table: PageTable,
    registers: Registers,
}

impl Thread {
    fn new(code: &[u8]) -> Thread {
        let mut table = PageTable::new().expect("memory");
        let page = zeroed(FrameKind::User);
        page.write(0, code);
        table
            .map(CODE, page, Access::READ | Access::EXECUTE)
            .expect("memory");
        let stack = zeroed(FrameKind::User);
        let read_write = Access::READ | Access::WRITE;
        table
            .map(STACK_TOP - 0x1000, stack, read_write)
            .expect("memory");
        let registers = Registers {
            rip: CODE,
            rsp: STACK_TOP,
            ..Registers::default()
        };
        Thread { table, registers }
    }

    fn run(&mut self) -> Exit {
        machine::run_user(&mut self.registers, &self.table)
    }
}

fn user_mode(checks: &mut Checks) {
    let mut thread = Thread::new(&[
        0xb8, 0x2a, 0, 0, 0, // mov eax, 42
        0x0f, 0x05, // syscall
        0x48, 0x89, 0x07, // mov [rdi], rax
        0x0f, 0x05, // syscall
        0x64, 0x48, 0x8b, 0x04, 0x25, 0, 0, 0, 0, // mov rax, fs:[0]
        0x65, 0x48, 0x8b, 0x1c, 0x25, 8, 0, 0, 0,    // mov rbx, gs:[8]
        0xcc, // int3
        0x0f, 0x0b, // ud2
        0xf4, // hlt
    ]);
    thread.registers.r15 = 0x1234_5678_9abc_def0;
    thread.registers.r12 = 12;
    checks.check(thread.run() == Exit::Syscall, "a system call comes out");
    let registers = thread.registers;
    checks.check(
        registers.rax == 42 && registers.rip == CODE + 7,
        "rip is behind it",
    );
    checks.check(
        registers.rcx == CODE + 7 && registers.r11 & 0x200 != 0,
        "rcx and r11 are SYSCALL's",
    );
    checks.check(
        registers.rsp == STACK_TOP && registers.r12 == 12,
        "the stack is the user's",
    );
    checks.check(registers.r15 == 0x1234_5678_9abc_def0, "registers are kept");

    thread.registers.rdi = DATA + 8;
    thread.registers.rax = 0x5555_aaaa;
    let missing = Exit::PageFault {
        address: DATA + 8,
        write: true,
        execute: false,
        protection: false,
    };
    checks.check(
        thread.run() == missing,
        "a store to nowhere is a page fault",
    );
    checks.check(thread.registers.rip == CODE + 7, "at the instruction");
    let data = zeroed(FrameKind::User);
    thread
        .table
        .map(DATA, data.clone(), Access::READ)
        .expect("memory");
    let forbidden = Exit::PageFault {
        address: DATA + 8,
        write: true,
        execute: false,
        protection: true,
    };
    checks.check(
        thread.run() == forbidden,
        "a store to a read-only page is another",
    );
    checks.check(
        thread.table.protect(DATA, Access::READ | Access::WRITE),
        "now writable",
    );
    checks.check(thread.run() == Exit::Syscall, "the store is done again");
    let mut stored = [0; 8];
    data.read(8, &mut stored);
    checks.check(
        u64::from_le_bytes(stored) == 0x5555_aaaa,
        "and arrives in the frame",
    );
    let mapping = thread.table.get(DATA).expect("mapped");
    checks.check(
        mapping.accessed && mapping.dirty,
        "the processor marked the page",
    );
    checks.check(
        thread.table.clear_accessed(DATA) && !thread.table.clear_accessed(DATA),
        "marks clear",
    );

    data.write(0, &77_u64.to_le_bytes());
    data.write(16, &88_u64.to_le_bytes());
    thread.registers.fs_base = DATA;
    thread.registers.gs_base = DATA + 8;
    let breakpoint = thread.run();
    checks.check(
        matches!(breakpoint, Exit::Exception { vector: 3, .. }),
        "a breakpoint comes out",
    );
    let registers = thread.registers;
    checks.check(
        (registers.rax, registers.rbx) == (77, 88),
        "FS and GS have their bases",
    );
    checks.check(
        (registers.fs_base, registers.gs_base) == (DATA, DATA + 8),
        "and keep them",
    );
    checks.check(
        thread.table.clear_accessed(DATA),
        "after clearing, the mark is set again",
    );
    let at = thread.registers.rip;
    let invalid = Exit::Exception {
        vector: 6,
        code: 0,
        address: at,
    };
    checks.check(thread.run() == invalid, "an invalid instruction comes out");
    thread.registers.rip += 2;
    checks.check(
        matches!(thread.run(), Exit::Exception { vector: 13, .. }),
        "HLT is refused",
    );

    thread.registers.rip = DATA;
    let fetch = Exit::PageFault {
        address: DATA,
        write: false,
        execute: true,
        protection: true,
    };
    checks.check(thread.run() == fetch, "data is not executable");
    thread.registers.rip = 0x8000_0000_0000;
    let refused = Exit::Exception {
        vector: 13,
        code: 0,
        address: 0x8000_0000_0000,
    };
    checks.check(thread.run() == refused, "a non-canonical rip is refused");
    thread.registers.rip = CODE;
    thread.registers.fs_base = 1 << 63;
    checks.check(
        matches!(thread.run(), Exit::Exception { vector: 13, .. }),
        "and such a base",
    );
    thread.registers.fs_base = 0;
    thread.registers.rflags = u64::MAX & !0x100;
    checks.check(thread.run() == Exit::Syscall, "impossible flags are masked");
    checks.check(
        thread.registers.rflags & 0x7202 == 0x202,
        "IOPL and NT stay off, IF on",
    );
    single_step(checks);
}

/// TF makes every instruction a debug exception.
fn single_step(checks: &mut Checks) {
    let mut thread = Thread::new(&[0x90, 0x90, 0x0f, 0x05]); // nop; nop; syscall
    thread.registers.rflags = 0x100;
    for step in 1..=2 {
        let stepped = thread.run();
        checks.check(
            matches!(stepped, Exit::Exception { vector: 1, .. }),
            "TF traps",
        );
        checks.check(thread.registers.rip == CODE + step, "after one instruction");
    }
    checks.check(
        thread.run() == Exit::Syscall,
        "and a system call is one still",
    );
}

fn preemption(checks: &mut Checks) {
    let mut thread = Thread::new(&[0xff, 0xc0, 0xeb, 0xfc]); // again: inc eax; jmp again
    let start = machine::now_ns();
    machine::set_timer(Some(start + 5_000_000));
    checks.check(
        thread.run() == Exit::Interrupt,
        "the timer ends an endless loop",
    );
    let took = machine::now_ns() - start;
    checks.check(took >= 4_500_000, "not early");
    checks.check(thread.registers.rax > 1000, "the loop ran");
    let before = thread.registers.rax;
    machine::set_timer(Some(0));
    checks.check(
        thread.run() == Exit::Interrupt,
        "a deadline in the past fires at once",
    );
    checks.check(thread.registers.rax >= before, "registers go on");
    machine::log!(
        "preempted after {} us for 5000 us, {before} rounds",
        took / 1000
    );
}

fn fpu(checks: &mut Checks) {
    // movq xmm0, rdi; syscall; movq rax, xmm0; syscall
    let program = [
        0x66, 0x48, 0x0f, 0x6e, 0xc7, 0x0f, 0x05, 0x66, 0x48, 0x0f, 0x7e, 0xc0, 0x0f, 0x05,
    ];
    let (mut one, mut other) = (Thread::new(&program), Thread::new(&program));
    let (mut first, mut second) = (FpuState::initial(), FpuState::initial());
    for (thread, state, value) in [(&mut one, &mut first, 11), (&mut other, &mut second, 22)] {
        state.load();
        thread.registers.rdi = value;
        checks.check(thread.run() == Exit::Syscall, "SSE works in user mode");
        state.save();
    }
    let moved = FpuState::from_bytes(first.bytes()).expect("a saved state is valid");
    for (thread, state, value) in [(&mut one, &moved, 11), (&mut other, &second, 22)] {
        state.load();
        checks.check(thread.run() == Exit::Syscall, "a state is loaded");
        checks.check(
            thread.registers.rax == value,
            "each thread has its own XMM0",
        );
    }
    let size = FpuState::size();
    checks.check(
        first.bytes().len() == size && size >= 576,
        "the state has its size",
    );
    for (at, bits) in [(519, 0x80), (520, 1), (575, 1), (27, 0x80)] {
        let mut bytes = first.bytes().to_vec();
        bytes[at] |= bits;
        checks.check(
            FpuState::from_bytes(&bytes).is_none(),
            "an impossible state is refused",
        );
    }
    let clean = FpuState::initial();
    clean.load();
    let mut saved = FpuState::initial();
    saved.save();
    checks.check(saved.bytes()[..2] == [0x7f, 3], "the initial control word");
    machine::log!(
        "FPU state of {size} bytes, XCR0 {:#x}",
        machine::cpu_features().xcr0
    );
}

fn heap(checks: &mut Checks) {
    let mut blocks: Vec<Vec<u8>> = Vec::new();
    for index in 0..200_usize {
        blocks.push(vec![index as u8; index * 97 + 1]);
    }
    blocks.retain(|block| block.len() % 2 == 0);
    let large = vec![0x5a_u8; 3 << 20];
    let kept = blocks
        .iter()
        .all(|block| block.iter().all(|&byte| byte == block[0]));
    checks.check(kept, "the heap keeps what is written");
    checks.check(large.iter().all(|&byte| byte == 0x5a), "large blocks too");
}

fn time(checks: &mut Checks) {
    let mut latest = machine::now_ns();
    for _ in 0..1000 {
        let now = machine::now_ns();
        checks.passed += u32::from(now == u64::MAX);
        assert!(now >= latest, "selftest: time went back");
        latest = now;
    }
    let start = machine::now_ns();
    machine::set_timer(Some(start + 3_000_000));
    machine::idle();
    let slept = machine::now_ns() - start;
    checks.check(slept >= 2_700_000, "idle waits for the timer");
    checks.check(
        machine::boot_unix_ns() > 1_600_000_000_000_000_000,
        "the wall clock is set",
    );
    let numbers = [
        machine::random_u64(),
        machine::random_u64(),
        machine::random_u64(),
    ];
    checks.check(
        numbers[0] != numbers[1] && numbers[1] != numbers[2],
        "random numbers differ",
    );
    machine::set_timer(None);
    machine::log!(
        "slept {} us for 3000 us, ready after {} us",
        slept / 1000,
        start / 1000
    );
}

fn devices(checks: &mut Checks) {
    let host_bridge = machine::pci_read32(0, 0, 0, 0);
    checks.check(host_bridge != u32::MAX, "PCI has a host bridge");
    checks.check(
        machine::pci_read32(0, 31, 7, 0) == u32::MAX,
        "and no function 31.7",
    );
    let dma = Dma::zeroed(3 * 4096).expect("memory");
    dma.write_u32(4096, 0x1234_5678);
    checks.check(
        dma.read_u16(4098) == 0x1234 && dma.physical() % 4096 == 0,
        "DMA memory works",
    );
    checks.check(
        machine::Mmio::map(dma.physical(), 4096).is_none(),
        "RAM is no device",
    );
    checks.check(
        machine::Mmio::map(0x1000, 16).is_none(),
        "low memory is no device",
    );
    let apic = machine::Mmio::map(0xfee0_0000, 4096).expect("the local APIC");
    checks.check(
        apic.read32(0x30) & 0xff >= 0x10,
        "device registers can be read",
    );
    let vector: Option<MsiVector> = machine::allocate_vector();
    let vector = vector.expect("a vector");
    checks.check(
        vector.address >> 20 == 0xfee && !vector.take_pending(),
        "MSI goes to the APIC",
    );
    // A self-sent interrupt takes the way that an MSI takes: vector, fixed delivery, "self".
    apic.write32(0x300, u32::from(vector.vector) | 1 << 18);
    machine::idle();
    checks.check(
        vector.take_pending() && !vector.take_pending(),
        "an interrupt is noted once",
    );
}

fn archive(checks: &mut Checks, info: &BootInfo) {
    let sum = info
        .archive
        .iter()
        .fold(0_u64, |sum, &byte| sum.wrapping_add(u64::from(byte)));
    checks.check(info.memory_bytes >= 16 << 20, "the memory map has RAM");
    machine::log!("archive: {} bytes, sum {sum}", info.archive.len());
}

/// Gives back typed bytes until a dot: proves that input interrupts an idle machine.
fn echo() {
    machine::log!("echo until '.'");
    loop {
        while let Some(byte) = machine::console_read() {
            machine::console_write(&[byte]);
            if byte == b'.' {
                machine::console_write(b"\n");
                return;
            }
        }
        machine::idle();
    }
}
