//! The machine as heap memory: the same API for tests on the host.
//!
//! Law: every thread has its own machine (or several [`Computer`]s, one at a time), so tests that run side by side do not see each other's
//! clock, console or frame counts. A frame belongs to the machine of the thread that made it and is
//! counted there, wherever it is dropped. Time stands still unless a test moves it.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

pub(crate) mod console;
pub(crate) mod device;
pub(crate) mod frame;
pub(crate) mod paging;
pub(crate) mod user;

pub use console::{take_console, type_console};
pub use frame::{fail_frame, set_total_frames};
pub use paging::touch;
pub use user::set_user;

/// A scripted user program; see [`set_user`].
type Program = Box<dyn FnMut(&mut crate::Registers, &crate::TableHandle) -> crate::Exit>;

struct Machine {
    now_ns: Cell<u64>,
    boot_unix_ns: Cell<u64>,
    timer: Cell<Option<u64>>,
    random: Cell<u64>,
    output: RefCell<Vec<u8>>,
    input: RefCell<VecDeque<u8>>,
    program: RefCell<Option<Rc<RefCell<Program>>>>,
    fpu: RefCell<Vec<u8>>,
    next_vector: Cell<u8>,
    cpus: Cell<usize>,
    cpu: Cell<usize>,
    kicked: Cell<u64>,
    frames: Arc<frame::Pool>,
}

impl Machine {
    fn new() -> Machine {
        Machine {
            now_ns: Cell::new(0),
            boot_unix_ns: Cell::new(1_700_000_000_000_000_000),
            timer: Cell::new(None),
            random: Cell::new(0x9e37_79b9_7f4a_7c15),
            output: RefCell::default(),
            input: RefCell::default(),
            program: RefCell::default(),
            fpu: RefCell::new(user::initial_fpu()),
            next_vector: Cell::new(0x40),
            cpus: Cell::new(1),
            cpu: Cell::new(0),
            kicked: Cell::new(0),
            frames: Arc::new(frame::Pool::new()),
        }
    }
}

thread_local! {
    static ENTERED: RefCell<Rc<Machine>> = RefCell::new(Rc::new(Machine::new()));
}

/// The machine that this thread is in.
struct Current;
const MACHINE: Current = Current;

impl Current {
    fn with<T>(&self, act: impl FnOnce(&Machine) -> T) -> T {
        let machine = ENTERED.with(|entered| entered.borrow().clone());
        act(&machine)
    }
}

/// One of several machines of a test: what it has (clock, frames, console, user program) is what
/// the functions of this crate see on the thread that entered it last.
pub struct Computer(Rc<Machine>);

impl Default for Computer {
    fn default() -> Computer {
        Computer(Rc::new(Machine::new()))
    }
}

impl Computer {
    /// Makes it this thread's machine, until another is entered.
    pub fn enter(&self) {
        ENTERED.with(|entered| *entered.borrow_mut() = self.0.clone());
    }
}

/// Sets this thread's clock. Tests may move it in any direction; the kernel never sees that happen.
pub fn set_now_ns(now_ns: u64) {
    MACHINE.with(|machine| machine.now_ns.set(now_ns));
}

/// Moves this thread's clock forward.
pub fn advance_ns(by_ns: u64) {
    MACHINE.with(|machine| {
        machine
            .now_ns
            .set(machine.now_ns.get().saturating_add(by_ns))
    });
}

/// Sets what [`boot_unix_ns`] answers on this thread.
pub fn set_boot_unix_ns(unix_ns: u64) {
    MACHINE.with(|machine| machine.boot_unix_ns.set(unix_ns));
}

/// The deadline last given to [`set_timer`] on this thread.
pub fn timer() -> Option<u64> {
    MACHINE.with(|machine| machine.timer.get())
}

/// Seeds this thread's random numbers.
pub fn seed_random(seed: u64) {
    MACHINE.with(|machine| machine.random.set(seed));
}

/// Nanoseconds since boot: this thread's virtual clock.
pub fn now_ns() -> u64 {
    MACHINE.with(|machine| machine.now_ns.get())
}

/// Nanoseconds since 1970-01-01 UTC at boot.
pub fn boot_unix_ns() -> u64 {
    MACHINE.with(|machine| machine.boot_unix_ns.get())
}

/// Arms or disarms the one-shot timer; the fake only remembers it.
pub fn set_timer(deadline_ns: Option<u64>) {
    MACHINE.with(|machine| machine.timer.set(deadline_ns));
}

/// Waits for the next interrupt: moves the virtual clock to the timer's deadline, if one is set.
pub fn idle() {
    MACHINE.with(|machine| {
        if let Some(deadline) = machine.timer.take() {
            machine.now_ns.set(machine.now_ns.get().max(deadline));
        }
    });
}

/// Sets how many processors this thread's machine has, and makes the first the current one.
pub fn set_cpu_count(count: usize) {
    assert!((1..=crate::MAX_CPUS).contains(&count), "no such machine");
    MACHINE.with(|machine| {
        machine.cpus.set(count);
        machine.cpu.set(0);
    });
}

/// Sets what [`this_cpu`] answers on this thread.
pub fn set_this_cpu(cpu: usize) {
    assert!(cpu < cpu_count(), "no such processor");
    MACHINE.with(|machine| machine.cpu.set(cpu));
}

/// The processors that were kicked since the last call: bit `n` is number `n`.
pub fn take_kicked() -> u64 {
    MACHINE.with(|machine| machine.kicked.take())
}

/// The fake's processors are never in user mode at the same time.
pub fn barrier() {}

/// How many processors run.
pub fn cpu_count() -> usize {
    MACHINE.with(|machine| machine.cpus.get())
}

/// The number of the processor this runs on: below [`cpu_count`].
pub fn this_cpu() -> usize {
    MACHINE.with(|machine| machine.cpu.get())
}

/// The fake's processors do nothing by themselves: no `entry` runs.
pub fn start_cpus(_entry: fn(usize) -> !) {}

/// Makes a processor leave user mode or wake from [`idle`]; the fake only remembers it.
pub fn kick(cpu: usize) {
    assert!(cpu < cpu_count(), "no such processor");
    MACHINE.with(|machine| machine.kicked.set(machine.kicked.get() | 1 << cpu));
}

/// As [`idle`].
pub fn nap() {
    idle();
}

/// A number from this thread's seeded generator (SplitMix64).
pub fn random_u64() -> u64 {
    MACHINE.with(|machine| {
        let state = machine.random.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        machine.random.set(state);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    })
}

/// Ends the machine: on the host, a panic that names the status.
pub fn power_off(status: u8) -> ! {
    panic!("power_off({status})")
}

/// The protections of the real machine have no counterpart here; nothing can be wrong with them.
///
/// # Errors
/// Never on the host.
pub fn self_test() -> Result<(), &'static str> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_stands_still_and_idle_moves_to_the_deadline() {
        set_now_ns(5);
        assert_eq!(now_ns(), 5);
        set_timer(Some(40));
        idle();
        assert_eq!((now_ns(), timer()), (40, None));
        idle();
        assert_eq!(now_ns(), 40);
    }

    #[test]
    fn computers_have_their_own_clocks_and_frames() {
        let (one, two) = (Computer::default(), Computer::default());
        one.enter();
        set_now_ns(7);
        let frame = crate::Frame::zeroed(crate::FrameKind::User).expect("memory");
        two.enter();
        assert_eq!(now_ns(), 0);
        assert_eq!(crate::frame_counts().by_kind, [0; 6]);
        drop(frame);
        one.enter();
        assert_eq!(now_ns(), 7);
        assert_eq!(crate::frame_counts().by_kind, [0; 6]);
    }

    #[test]
    fn processors_are_numbered_and_kicked() {
        assert_eq!((cpu_count(), this_cpu()), (1, 0));
        set_cpu_count(3);
        set_this_cpu(2);
        kick(1);
        kick(0);
        assert_eq!((this_cpu(), take_kicked(), take_kicked()), (2, 3, 0));
    }

    #[test]
    fn the_same_seed_gives_the_same_numbers() {
        seed_random(7);
        let first = [random_u64(), random_u64()];
        seed_random(7);
        assert_eq!(first, [random_u64(), random_u64()]);
        assert_ne!(first[0], first[1]);
    }
}
