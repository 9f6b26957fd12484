//! User mode: every way out of it, preemption, and the FPU.

use machine::{Access, Exit, FpuState, Frame, FrameKind, PageTable, Registers};

use super::{Checks, DATA, zeroed};

pub(super) const CODE: u64 = 0x40_0000;
const STACK_TOP: u64 = 0x7fff_ffff_e000;

pub(super) fn run(checks: &mut Checks) {
    user_mode(checks);
    handles(checks);
    preemption(checks);
    fpu(checks);
}

/// A thread with one page of code and one of stack.
pub(super) struct Thread {
    pub(super) table: PageTable,
    pub(super) registers: Registers,
}

impl Thread {
    pub(super) fn new(code: &[u8]) -> Thread {
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

    pub(super) fn map(&mut self, page: u64, frame: Frame, access: Access) {
        self.table.map(page, frame, access).expect("memory");
    }

    pub(super) fn run(&mut self) -> Exit {
        machine::run_user(&mut self.registers, &self.table.handle())
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
        thread.table.next_accessed(DATA, DATA + 0x1000) == Some(DATA)
            && thread.table.clear_accessed(DATA, DATA + 0x1000)
            && thread.table.next_accessed(DATA, DATA + 0x1000).is_none()
            && !thread.table.clear_accessed(DATA, DATA + 0x1000),
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
        thread.table.clear_accessed(DATA, DATA + 0x1000),
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
    hostile_flags(checks);
}

/// A handle outlives its table: nothing runs on it then, and it frees what is left.
fn handles(checks: &mut Checks) {
    let before = machine::frame_counts().by_kind;
    let user = FrameKind::User as usize;
    let mut thread = Thread::new(&[0x0f, 0x05]); // syscall
    checks.check(thread.run() == Exit::Syscall, "a thread runs on a handle");
    let handle = thread.table.handle();
    let Thread {
        table,
        mut registers,
    } = thread;
    drop(table);
    let during = machine::frame_counts().by_kind;
    checks.check(during[user] == before[user], "frames go with their owner");
    registers.rip = CODE;
    checks.check(
        machine::run_user(&mut registers, &handle) == Exit::Interrupt && registers.rip == CODE,
        "nothing runs in an address space that is gone",
    );
    drop(handle);
    let after = machine::frame_counts().by_kind;
    checks.check(after[1..] == before[1..], "tables go with the last handle");
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
    let mut took = 0;
    // A busy host may keep the processor away for all of the time: some tries.
    for _ in 0..20 {
        let start = machine::now_ns();
        machine::set_timer(Some(start + 5_000_000));
        checks.check(
            thread.run() == Exit::Interrupt,
            "the timer ends an endless loop",
        );
        took = machine::now_ns() - start;
        if thread.registers.rax > 1000 {
            break;
        }
    }
    checks.check(
        thread.registers.rax > 1000,
        "the timer ends a loop that ran",
    );
    checks.check(took >= 4_500_000, "not early");
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

/// Flags a user may set must not reach the kernel: AC would suspend SMAP there.
fn hostile_flags(checks: &mut Checks) {
    // pushfq; or dword [rsp], AC | NT | DF; popfq
    let set_flags = [0x9c, 0x81, 0x0c, 0x24, 0x00, 0x44, 0x04, 0x00, 0x9d];
    for leave in [&[0x0f, 0x05][..], &[0xcc]] {
        let mut thread = Thread::new(&[&set_flags[..], leave].concat());
        let exit = thread.run();
        checks.check(
            matches!(exit, Exit::Syscall | Exit::Exception { vector: 3, .. }),
            "the program ran",
        );
        checks.check(
            thread.registers.rflags & 0x4_4400 == 0x4_4400,
            "its flags are its own",
        );
        checks.check(
            machine::self_test().is_ok(),
            "and the kernel's are the kernel's",
        );
    }
}
