//! One processor changes an address space while another is in user mode in it.
//!
//! Law: what was taken away has no effect behind the call that took it: no read, no write, no
//! instruction.

use super::*;

/// Rounds of each race.
const ROUNDS: u64 = 300;
/// Content of a frame that is the program's, and of one that is not any more.
const GOOD: u64 = 0x600d_600d_600d_600d;
const STALE: u64 = 0xbad0_bad0_bad0_bad0;
/// Where the programs count their rounds.
const COUNTER: u64 = 0x64_0000;

pub(super) fn run(checks: &mut Checks, cpu: usize) {
    unmapped(checks, cpu);
    replaced(checks, cpu);
    write_protected(checks, cpu);
    dropped(checks, cpu);
    unlinked_tables(checks, cpu);
}

/// An address space with one program, changed here and run on another processor.
struct Shared {
    table: PageTable,
    counter: Frame,
}

const READ_WRITE: Access = Access::READ.union(Access::WRITE);

impl Shared {
    /// `code` finds the address of the data in RDI, of the counter in RSI and [`GOOD`] in RBX.
    fn new(code: &[u8]) -> Shared {
        let Thread { mut table, .. } = Thread::new(code);
        let counter = zeroed(FrameKind::User);
        table
            .map(COUNTER, counter.clone(), READ_WRITE)
            .expect("memory");
        Shared { table, counter }
    }

    fn registers() -> Registers {
        Registers {
            rip: CODE,
            rdi: DATA,
            rsi: COUNTER,
            rbx: GOOD,
            ..Registers::default()
        }
    }

    fn map(&mut self, frame: &Frame, access: Access) {
        self.table.map(DATA, frame.clone(), access).expect("memory");
    }

    /// Waits until the program has gone round some more.
    fn wait_for_rounds(&self) {
        let before = word(&self.counter);
        wait_for("a program's rounds", || word(&self.counter) > before + 10);
    }
}

/// Runs a thread on a handle until something else than an interrupt comes out.
fn run_on(handle: &TableHandle, registers: &mut Registers) -> Exit {
    machine::set_timer(None);
    loop {
        let exit = machine::run_user(registers, handle);
        if exit != Exit::Interrupt {
            return exit;
        }
    }
}

/// again: inc qword [rsi]; mov rax, [rdi]; cmp rax, rbx; je again; syscall
const READS: [u8; 13] = [
    0x48, 0xff, 0x06, 0x48, 0x8b, 0x07, 0x48, 0x39, 0xd8, 0x74, 0xf5, 0x0f, 0x05,
];

fn page_fault(write: bool, protection: bool) -> Exit {
    Exit::PageFault {
        address: DATA,
        write,
        execute: false,
        protection,
    }
}

/// A page that is taken out is read no more, whatever becomes of its frame.
fn unmapped(checks: &mut Checks, cpu: usize) {
    let mut shared = Shared::new(&READS);
    for round in 0..ROUNDS {
        let frame = zeroed(FrameKind::User);
        frame.write(0, &GOOD.to_le_bytes());
        shared.map(&frame, Access::READ);
        let handle = shared.table.handle();
        let working = give(cpu, move || {
            let exit = run_on(&handle, &mut Shared::registers());
            assert_eq!(
                exit,
                page_fault(false, false),
                "selftest: a page that was unmapped"
            );
        });
        // The last rounds take it out at any time, also while user mode is being entered.
        if round % 2 == 0 {
            shared.wait_for_rounds();
        }
        let out = shared.table.unmap(DATA).expect("mapped");
        out.write(0, &STALE.to_le_bytes());
        working.join("the fault on a page that was unmapped");
    }
    checks.check(true, "no stale translation is used");
}

/// A frame that another takes the place of is not read any more.
fn replaced(checks: &mut Checks, cpu: usize) {
    let mut shared = Shared::new(&READS);
    let fresh = || {
        let frame = zeroed(FrameKind::User);
        frame.write(0, &GOOD.to_le_bytes());
        frame
    };
    shared.map(&fresh(), Access::READ);
    let handle = shared.table.handle();
    let working = give(cpu, move || {
        let mut registers = Shared::registers();
        let exit = run_on(&handle, &mut registers);
        assert_eq!(
            exit,
            page_fault(false, false),
            "selftest: {:#x}",
            registers.rax
        );
    });
    for _ in 0..ROUNDS {
        shared.wait_for_rounds();
        let old = shared
            .table
            .map(DATA, fresh(), Access::READ)
            .expect("memory")
            .expect("mapped");
        old.write(0, &STALE.to_le_bytes());
    }
    drop(shared.table.unmap(DATA));
    working.join("the end of a reader");
    checks.check(true, "a replaced frame is not read any more");
}

/// A page that becomes read-only is written no more: what is copied then stays what it is.
fn write_protected(checks: &mut Checks, cpu: usize) {
    // again: inc qword [rsi]; inc qword [rdi]; jmp again
    let mut shared = Shared::new(&[0x48, 0xff, 0x06, 0x48, 0xff, 0x07, 0xeb, 0xf8]);
    let frame = zeroed(FrameKind::User);
    for round in 0..ROUNDS {
        shared.map(&frame, READ_WRITE);
        let handle = shared.table.handle();
        let working = give(cpu, move || {
            let exit = run_on(&handle, &mut Shared::registers());
            assert_eq!(exit, page_fault(true, true), "selftest: a read-only page");
        });
        if round % 2 == 0 {
            shared.wait_for_rounds();
        }
        assert!(shared.table.protect(DATA, Access::READ));
        let copy = frame.copy_of(FrameKind::User).expect("memory");
        working.join("the fault on a read-only page");
        assert_eq!(
            word(&copy),
            word(&frame),
            "selftest: written behind its protection"
        );
    }
    checks.check(word(&frame) > 0, "a write-protected page is not written");
}

/// An address space that goes takes user mode with it, on every processor.
fn dropped(checks: &mut Checks, cpu: usize) {
    let before = machine::frame_counts().by_kind;
    for _ in 0..50 {
        let mut shared = Shared::new(&READS);
        let frame = zeroed(FrameKind::User);
        frame.write(0, &GOOD.to_le_bytes());
        shared.map(&frame, Access::READ);
        let handle = shared.table.handle();
        let working = give(cpu, move || {
            machine::set_timer(None);
            let mut registers = Shared::registers();
            // Kicks come late; only an address space that is gone gets nowhere.
            loop {
                assert_eq!(machine::run_user(&mut registers, &handle), Exit::Interrupt);
                let reached = registers;
                let again = machine::run_user(&mut registers, &handle);
                assert_eq!(again, Exit::Interrupt);
                if registers == reached && machine::run_user(&mut registers, &handle) == again {
                    break;
                }
            }
        });
        shared.wait_for_rounds();
        let Shared { table, counter } = shared;
        drop(table);
        frame.write(0, &STALE.to_le_bytes());
        let stopped = word(&counter);
        working.join("the end of a thread without memory");
        assert_eq!(
            word(&counter),
            stopped,
            "selftest: ran on in an address space that is gone"
        );
    }
    // The other processor leaves the tables when it sleeps.
    wait_for("tables that come back", || {
        machine::frame_counts().by_kind[1..] == before[1..]
    });
    checks.check(true, "an address space ends on all processors");
}

/// Tables without pages are freed in time although another processor has the address space loaded.
fn unlinked_tables(checks: &mut Checks, cpu: usize) {
    const TABLES: usize = FrameKind::PageTable as usize;
    let mut shared = Shared::new(&READS);
    let frame = zeroed(FrameKind::User);
    frame.write(0, &GOOD.to_le_bytes());
    shared.map(&frame, Access::READ);
    let handle = shared.table.handle();
    let working = give(cpu, move || {
        let exit = run_on(&handle, &mut Shared::registers());
        assert_eq!(exit, page_fault(false, false));
    });
    shared.wait_for_rounds();
    let before = machine::frame_counts().by_kind[TABLES];
    for round in 0..ROUNDS {
        // A way of its own through all levels.
        let page = (1 << 39) + (round << 30);
        let other = frame.clone();
        shared.table.map(page, other, Access::READ).expect("memory");
        assert!(shared.table.unmap(page).is_some());
        if round % 16 == 0 {
            shared.wait_for_rounds();
        }
    }
    shared.wait_for_rounds();
    shared
        .table
        .map(1 << 40, frame.clone(), Access::READ)
        .expect("memory");
    drop(shared.table.unmap(1 << 40));
    let kept = machine::frame_counts().by_kind[TABLES] - before;
    checks.check(kept <= 3 * 17, "unlinked tables do not pile up");
    drop(shared.table.unmap(DATA));
    working.join("the end of a reader");
}
