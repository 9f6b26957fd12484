//! Several processors: kicks, shootdowns, timers and FPUs that do not get into each other's way.
//!
//! Law: the boot processor runs the checks and gives the others jobs; a job says how it went by
//! ending, and one that does not end is a failed check, not a machine that hangs.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use machine::{Access, Exit, Frame, FrameKind, MAX_CPUS, PageTable, Registers, TableHandle};
use spin::Mutex;

use super::user::{CODE, Thread};
use super::{Checks, DATA, zeroed};

mod tables;

/// The longest that a check waits for another processor.
const PATIENCE_NS: u64 = 60_000_000_000;

type Job = Box<dyn FnOnce() + Send>;

/// What each processor is to do next.
static JOBS: [Mutex<Option<Job>>; MAX_CPUS] = [const { Mutex::new(None) }; MAX_CPUS];
/// How many processors have proven their protections.
static PROTECTED: AtomicU64 = AtomicU64::new(0);

/// The life of the other processors.
fn work(cpu: usize) -> ! {
    assert_eq!(machine::this_cpu(), cpu, "selftest: a processor's number");
    if let Err(broken) = machine::self_test() {
        panic!("processor {cpu} does not protect itself: {broken}");
    }
    PROTECTED.fetch_add(1, Ordering::SeqCst);
    loop {
        let job = JOBS[cpu].lock().take();
        match job {
            Some(job) => job(),
            None => machine::idle(),
        }
    }
}

/// Waits until something is so.
fn wait_for(what: &str, is_so: impl Fn() -> bool) {
    let end = machine::now_ns() + PATIENCE_NS;
    while !is_so() {
        assert!(machine::now_ns() < end, "selftest: waited in vain: {what}");
        core::hint::spin_loop();
    }
}

/// A job under way on another processor.
struct Working(Arc<AtomicBool>);

impl Working {
    fn join(self, what: &str) {
        wait_for(what, || self.0.load(Ordering::SeqCst));
    }

    fn is_done(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// Gives a processor a job and wakes it.
fn give(cpu: usize, job: impl FnOnce() + Send + 'static) -> Working {
    let done = Arc::new(AtomicBool::new(false));
    let ended = done.clone();
    *JOBS[cpu].lock() = Some(Box::new(move || {
        job();
        ended.store(true, Ordering::SeqCst);
    }));
    machine::kick(cpu);
    Working(done)
}

/// Starts the other processors, if there are any, and checks what several can do to each other.
pub(super) fn run(checks: &mut Checks, expected: Option<usize>) {
    machine::start_cpus(work);
    let count = machine::cpu_count();
    checks.check(
        expected.is_none_or(|expected| count == expected),
        "as many processors as the command line says",
    );
    if count == 1 {
        return;
    }
    let others = count as u64 - 1;
    wait_for("the protections of the others", || {
        PROTECTED.load(Ordering::SeqCst) == others
    });
    checks.check(machine::this_cpu() == 0, "the boot processor is number 0");
    for cpu in 1..count {
        kicks(checks, cpu);
        timers(checks, cpu);
        tables::run(checks, cpu);
    }
    time(checks);
    fpu(checks);
    memory(checks);
    machine::log!("{count} processors");
}

/// A kick ends user mode and sleep, also one that came just before.
fn kicks(checks: &mut Checks, cpu: usize) {
    for _ in 0..20 {
        let counter = zeroed(FrameKind::User);
        // again: inc qword [rdi]; jmp again
        let mut thread = Thread::new(&[0x48, 0xff, 0x07, 0xeb, 0xfb]);
        thread.map(DATA, counter.clone(), Access::READ | Access::WRITE);
        thread.registers.rdi = DATA;
        let seen = counter.clone();
        let working = give(cpu, move || {
            machine::set_timer(None);
            // The kick that came with the job may still be on its way.
            while word(&seen) <= 1000 {
                assert_eq!(thread.run(), Exit::Interrupt, "selftest: kicked");
            }
        });
        let rounds = || word(&counter);
        wait_for("user mode on another processor", || rounds() > 1000);
        checks.check(!working.is_done(), "user mode runs until it is kicked");
        machine::kick(cpu);
        working.join("a kick out of user mode");
    }
    let asleep = Arc::new(AtomicBool::new(false));
    for _ in 0..200 {
        let here = asleep.clone();
        let working = give(cpu, move || {
            machine::set_timer(None);
            here.store(true, Ordering::SeqCst);
            machine::idle();
        });
        wait_for("a processor about to sleep", || {
            asleep.swap(false, Ordering::SeqCst)
        });
        machine::kick(cpu);
        working.join("a kick out of sleep");
    }
}

/// The first eight bytes of a frame.
fn word(frame: &Frame) -> u64 {
    let mut bytes = [0; 8];
    frame.read(0, &mut bytes);
    u64::from_le_bytes(bytes)
}

/// Each processor has a timer of its own.
fn timers(checks: &mut Checks, cpu: usize) {
    let slept = Arc::new(AtomicU64::new(0));
    let theirs = slept.clone();
    machine::set_timer(None);
    let working = give(cpu, move || {
        let start = machine::now_ns();
        machine::set_timer(Some(start + 4_000_000));
        // The kick of the job may still be on its way.
        while machine::now_ns() < start + 3_600_000 {
            machine::idle();
        }
        machine::set_timer(Some(machine::now_ns() + 2_000_000));
        let mut thread = Thread::new(&[0xeb, 0xfe]); // again: jmp again
        assert_eq!(thread.run(), Exit::Interrupt, "selftest: preempted");
        theirs.store(machine::now_ns() - start, Ordering::SeqCst);
    });
    let start = machine::now_ns();
    machine::set_timer(Some(start + 3_000_000));
    // Others may kick at any time; without its timer it would sleep for ever.
    while machine::now_ns() - start < 2_700_000 {
        machine::idle();
    }
    checks.check(true, "the boot processor's timer wakes the boot processor");
    working.join("timers of another processor");
    checks.check(
        slept.load(Ordering::SeqCst) >= 5_400_000,
        "another's timer wakes and preempts it",
    );
}

/// What one processor saw of the clock is not in the future of another.
fn time(checks: &mut Checks) {
    const ROUNDS: u64 = 2000;
    let latest = Arc::new(AtomicU64::new(0));
    let look = |latest: &AtomicU64| {
        for _ in 0..ROUNDS {
            let before = latest.load(Ordering::SeqCst);
            let now = machine::now_ns();
            assert!(now >= before, "selftest: time went back between processors");
            latest.fetch_max(now, Ordering::SeqCst);
        }
    };
    let all: alloc::vec::Vec<Working> = (1..machine::cpu_count())
        .map(|cpu| {
            let latest = latest.clone();
            give(cpu, move || look(&latest))
        })
        .collect();
    look(&latest);
    for working in all {
        working.join("looks at the clock");
    }
    checks.check(true, "time goes forward on all processors together");
}

/// Runs a program that holds a number in XMM0 and gives it back, again and again.
fn hold_in_fpu(value: u64) {
    // movq xmm0, rdi; mov ecx, 2000; loop: dec ecx; jnz loop; movq rax, xmm0; syscall
    let program = [
        0x66, 0x48, 0x0f, 0x6e, 0xc7, 0xb9, 0xd0, 0x07, 0, 0, 0xff, 0xc9, 0x75, 0xfc, 0x66, 0x48,
        0x0f, 0x7e, 0xc0, 0x0f, 0x05,
    ];
    let mut thread = Thread::new(&program);
    let mut state = machine::FpuState::initial();
    for round in 0..500 {
        thread.registers.rip = CODE;
        thread.registers.rdi = value + round;
        state.load();
        while thread.run() != Exit::Syscall {}
        state.save();
        assert_eq!(
            thread.registers.rax,
            value + round,
            "selftest: XMM0 of another processor"
        );
    }
}

fn fpu(checks: &mut Checks) {
    machine::set_timer(None);
    let all: alloc::vec::Vec<Working> = (1..machine::cpu_count())
        .map(|cpu| give(cpu, move || hold_in_fpu(cpu as u64 * 1_000_000)))
        .collect();
    hold_in_fpu(0);
    for working in all {
        working.join("FPU states");
    }
    checks.check(true, "each processor has its own FPU");
}

/// Frames, heap and address spaces under contention; everything comes back.
fn memory(checks: &mut Checks) {
    fn churn(seed: u64) {
        let mut thread = Thread::new(&[0x48, 0x8b, 0x07, 0x0f, 0x05]); // mov rax, [rdi]; syscall
        for round in 0..500 {
            let frame = zeroed(FrameKind::User);
            frame.write(0, &(seed + round).to_le_bytes());
            let block = alloc::vec![seed as u8; 50 + round as usize * 7];
            let page = DATA + (round % 8 << 21);
            thread.map(page, frame.clone(), Access::READ);
            thread.registers.rip = CODE;
            thread.registers.rdi = page;
            while thread.run() != Exit::Syscall {}
            assert_eq!(
                thread.registers.rax,
                seed + round,
                "selftest: a page of another processor"
            );
            assert!(block.iter().all(|&byte| byte == seed as u8));
            assert_eq!(thread.table.unmap(page), Some(frame));
        }
    }
    let before = machine::frame_counts().by_kind;
    let all: alloc::vec::Vec<Working> = (1..machine::cpu_count())
        .map(|cpu| give(cpu, move || churn(cpu as u64 * 1000)))
        .collect();
    churn(0);
    for working in all {
        working.join("churning memory");
    }
    wait_for("frames that come back", || {
        machine::frame_counts().by_kind[1..] == before[1..]
    });
    checks.check(true, "no frame is lost between processors");
}
