//! Time since boot, the one-shot timer, the clock on the wall, and randomness.
//!
//! Law: `now_ns` never goes back. The TSC's frequency is believed only when two independent sources
//! agree (the 8254, the ACPI PM timer, CPUID), or when nothing contradicts. The counters of other
//! CPUs are compared with the boot CPU's once, when they start.

use core::arch::x86_64::_rdtsc;
use core::sync::atomic::{AtomicU64, Ordering};

use spin::{Mutex, Once};
use x86_64::instructions::port::Port;
use x86_64::instructions::random::RdRand;
use x86_64::registers::model_specific::Msr;

use super::acpi::Tables;
use super::{apic, cpu};

const PIT_HZ: u64 = 1_193_182;
const PM_TIMER_HZ: u64 = 3_579_545;
const NS_PER_S: u64 = 1_000_000_000;
/// Length of one calibration.
const CALIBRATION_MS: u64 = 10;
/// IA32_TSC_DEADLINE.
const TSC_DEADLINE_MSR: u32 = 0x6e0;

struct Clock {
    /// TSC at boot (time zero).
    tsc_at_boot: u64,
    tsc_hz: u64,
    /// Nanoseconds per TSC tick, times 2^32.
    ns_per_tick: u64,
    /// Ticks of the local APIC's counter per second.
    apic_hz: u64,
    tsc_deadline: bool,
    boot_unix_ns: u64,
}

static CLOCK: Once<Clock> = Once::new();
/// The latest time anybody was told.
static LATEST: AtomicU64 = AtomicU64::new(0);

fn tsc() -> u64 {
    // SAFETY: every x86_64 processor has RDTSC, and the kernel does not disable it.
    unsafe { _rdtsc() }
}

/// Nanoseconds since boot; never goes back. Zero until the clock is set up.
pub fn now_ns() -> u64 {
    let Some(clock) = CLOCK.get() else { return 0 };
    let boot_tsc = tsc().wrapping_add(cpu::current().tsc_offset.get());
    // A counter that is a little behind at the very start must not look like one far ahead.
    let ticks = (boot_tsc.wrapping_sub(clock.tsc_at_boot) as i64).max(0) as u64;
    let now = ((u128::from(ticks) * u128::from(clock.ns_per_tick)) >> 32) as u64;
    now.max(LATEST.fetch_max(now, Ordering::Relaxed))
}

/// Nanoseconds since 1970-01-01 UTC at boot, as the battery-backed clock has it (whole seconds).
pub fn boot_unix_ns() -> u64 {
    CLOCK.get().map_or(0, |clock| clock.boot_unix_ns)
}

/// Arms the one-shot timer for a time since boot, or disarms it. A deadline in the past fires at
/// once; a far one may fire early.
pub fn set_timer(deadline_ns: Option<u64>) {
    let Some(clock) = CLOCK.get() else { return };
    let left_ns = deadline_ns.map(|deadline| deadline.saturating_sub(now_ns()).max(1));
    if clock.tsc_deadline {
        let deadline = left_ns.map_or(0, |left| {
            let ticks = u128::from(left) * u128::from(clock.tsc_hz) / u128::from(NS_PER_S);
            tsc().saturating_add(u64::try_from(ticks).unwrap_or(u64::MAX / 2))
        });
        // SAFETY: CPUID offers the register, and the local APIC is in deadline mode.
        unsafe { Msr::new(TSC_DEADLINE_MSR).write(deadline) };
    } else {
        let ticks = left_ns.map_or(0, |left| {
            u128::from(left) * u128::from(clock.apic_hz) / u128::from(NS_PER_S) + 1
        });
        apic::one_shot(u32::try_from(ticks).unwrap_or(u32::MAX));
    }
}

/// Waits for at least one interrupt and serves it. What became pending before is served at once:
/// interrupts are off until the instant the processor halts.
pub fn idle() {
    // Another CPU may want to free the tables that this one has in CR3.
    if super::peers::cpu_count() > 1 {
        super::paging::load_kernel();
    }
    nap();
}

/// As [`idle`], for a moment: the processor stays in the address space it was in.
pub fn nap() {
    x86_64::instructions::interrupts::enable_and_hlt();
    x86_64::instructions::interrupts::disable();
}

/// Port of channel 2's gate and output.
fn pit_gate() -> Port<u8> {
    Port::new(0x61)
}

/// Starts channel 2 of the 8254 at 65 535, counting down once (Intel 8254 data sheet, mode 0).
fn start_pit() {
    // SAFETY: the ports of the 8254's channel 2 and its gate; the speaker stays off.
    unsafe {
        let gate = pit_gate().read();
        pit_gate().write((gate & !2) | 1);
        Port::<u8>::new(0x43).write(0b1011_0000);
        Port::<u8>::new(0x42).write(0xff);
        Port::<u8>::new(0x42).write(0xff);
    }
}

/// Ticks since `start_pit`, up to 65 535.
fn pit_ticks() -> u64 {
    // SAFETY: latches and reads channel 2.
    let left = unsafe {
        Port::<u8>::new(0x43).write(0b1000_0000);
        let low = Port::<u8>::new(0x42).read();
        let high = Port::<u8>::new(0x42).read();
        u64::from(low) | u64::from(high) << 8
    };
    0xffff - left
}

/// A source read between two reads of the TSC that lie close together: the best of some tries, as
/// an emulated processor may be away in between.
fn tight(source: impl Fn() -> u64) -> (u64, u64) {
    let mut best = (u64::MAX, 0, 0);
    for _ in 0..12 {
        let before = tsc();
        let value = source();
        let took = tsc().wrapping_sub(before);
        if took < best.0 {
            best = (took, before.wrapping_add(took / 2), value);
        }
    }
    (best.1, best.2)
}

/// TSC ticks per second by a counter, `None` if it did not move as it should.
fn rate(start: (u64, u64), end: (u64, u64), hz: u64, mask: u64) -> Option<u64> {
    let elapsed = end.1.wrapping_sub(start.1) & mask;
    let ticks = end.0.checked_sub(start.0)?;
    let rate = u128::from(ticks) * u128::from(hz) / u128::from(elapsed).max(1);
    let plausible = elapsed > hz / 1000 && rate > 100_000_000 && rate < 20_000_000_000;
    plausible.then_some(u64::try_from(rate).ok()?)
}

/// One calibration: the TSC by the 8254, by the PM timer, and the APIC's ticks per TSC second.
struct Measured {
    by_pit: Option<u64>,
    by_pm_timer: Option<u64>,
    apic_ticks: u64,
    tsc_ticks: u64,
}

fn measure(pm_timer: Option<u16>) -> Measured {
    // SAFETY: the port is the timer's, as the FADT says; reading it changes nothing.
    let pm = || {
        pm_timer.map_or(0, |port| {
            u64::from(unsafe { Port::<u32>::new(port).read() })
        })
    };
    let apic_count = || u64::from(u32::MAX - apic::counter());
    start_pit();
    apic::start_counter();
    let start = (tight(pit_ticks), tight(pm), tight(apic_count));
    // The bound is for machines where neither counter moves.
    for _ in 0..2_000_000 {
        let pit_done = pit_ticks() >= PIT_HZ * CALIBRATION_MS / 1000;
        let pm_done =
            (pm().wrapping_sub(start.1.1) & 0xff_ffff) >= PM_TIMER_HZ * CALIBRATION_MS / 1000;
        if pit_done || pm_done {
            break;
        }
    }
    let end = (tight(pit_ticks), tight(pm), tight(apic_count));
    Measured {
        by_pit: rate(start.0, end.0, PIT_HZ, 0xffff),
        by_pm_timer: rate(start.1, end.1, PM_TIMER_HZ, 0xff_ffff),
        apic_ticks: end.2.1.saturating_sub(start.2.1),
        tsc_ticks: end.2.0.saturating_sub(start.2.0).max(1),
    }
}

/// What the processor itself says: leaf 0x15 (SDM volume 2, CPUID) or the hypervisors' leaf.
fn cpuid_rate() -> Option<u64> {
    let [denominator, numerator, crystal, _] = cpu::cpuid(0x15, 0);
    if denominator != 0 && numerator != 0 && crystal != 0 {
        return Some(u64::from(crystal) * u64::from(numerator) / u64::from(denominator));
    }
    let khz = cpu::cpuid(0x4000_0010, 0)[0];
    (khz != 0).then_some(u64::from(khz) * 1000)
}

/// The TSC's and the APIC counter's frequency, and whether two sources agreed.
fn calibrate(tables: &Tables) -> (u64, u64, bool) {
    let by_cpuid = cpuid_rate();
    let mut fallback = None;
    for _ in 0..4 {
        let measured = measure(tables.pm_timer);
        let rates = [measured.by_pit, measured.by_pm_timer, by_cpuid];
        let apic_hz = |tsc_hz: u64| {
            (u128::from(measured.apic_ticks) * u128::from(tsc_hz) / u128::from(measured.tsc_ticks))
                as u64
        };
        for (first, second) in [(0, 1), (0, 2), (1, 2)] {
            if let (Some(one), Some(other)) = (rates[first], rates[second])
                && one.abs_diff(other) <= one / 500
            {
                let tsc_hz = one.midpoint(other);
                return (tsc_hz, apic_hz(tsc_hz), true);
            }
        }
        if let Some(rate) = by_cpuid.or(measured.by_pm_timer).or(measured.by_pit) {
            fallback = Some((rate, apic_hz(rate), false));
        }
    }
    fallback.expect("this machine has no clock to calibrate the TSC by")
}

/// Calibrates and starts the clock.
pub(crate) fn init(tables: &Tables) {
    let tsc_at_boot = tsc();
    let (tsc_hz, apic_hz, agreed) = calibrate(tables);
    let tsc_deadline = cpu::cpu_features().leaf1_ecx & 1 << 24 != 0;
    if tsc_deadline {
        apic::use_tsc_deadline();
    } else {
        apic::one_shot(0);
    }
    let ns_per_tick = ((u128::from(NS_PER_S) << 32) / u128::from(tsc_hz)) as u64;
    let since_boot_s = tsc().saturating_sub(tsc_at_boot) / tsc_hz;
    let boot_unix_ns = wall_clock_s()
        .saturating_sub(since_boot_s)
        .saturating_mul(NS_PER_S);
    CLOCK.call_once(|| Clock {
        tsc_at_boot,
        tsc_hz,
        ns_per_tick,
        apic_hz: apic_hz.max(1),
        tsc_deadline,
        boot_unix_ns,
    });
    if !agreed {
        crate::log!(
            "clock: only one source for the TSC's frequency ({tsc_hz} Hz): it may be wrong"
        );
    }
}

/// Sets up the timer of another CPU, and its difference to the boot CPU's counter.
pub(crate) fn init_local() {
    if CLOCK.get().is_some_and(|clock| clock.tsc_deadline) {
        apic::use_tsc_deadline();
    } else {
        apic::one_shot(0);
    }
    let mut best = (u64::MAX, 0);
    for round in 1..=COMPARISONS {
        let before = tsc();
        ASKED.store(round, Ordering::SeqCst);
        while ANSWERED.load(Ordering::SeqCst) != round {
            core::hint::spin_loop();
        }
        let theirs = BOOT_TSC.load(Ordering::SeqCst);
        let took = tsc().wrapping_sub(before);
        if took < best.0 {
            best = (took, theirs.wrapping_sub(before.wrapping_add(took / 2)));
        }
    }
    // What cannot be told from no difference is none.
    let (took, offset) = best;
    if (offset as i64).unsigned_abs() > took {
        cpu::current().tsc_offset.set(offset);
    }
    ASKED.store(0, Ordering::SeqCst);
    ANSWERED.store(0, Ordering::SeqCst);
}

/// How often a CPU compares its counter with the boot CPU's.
const COMPARISONS: u64 = 4;
/// The number of the comparison that a CPU asks for.
static ASKED: AtomicU64 = AtomicU64::new(0);
/// The number of the one that was answered, and the boot CPU's counter then.
static ANSWERED: AtomicU64 = AtomicU64::new(0);
static BOOT_TSC: AtomicU64 = AtomicU64::new(0);

/// Answers a CPU that compares its counter with this one, the boot CPU's.
pub(crate) fn answer_comparison() {
    let asked = ASKED.load(Ordering::SeqCst);
    if asked != ANSWERED.load(Ordering::SeqCst) {
        BOOT_TSC.store(tsc(), Ordering::SeqCst);
        ANSWERED.store(asked, Ordering::SeqCst);
    }
}

/// Reads the battery-backed clock (Motorola MC146818): seconds since 1970, zero if it is silent.
fn wall_clock_s() -> u64 {
    fn register(index: u8) -> u64 {
        // SAFETY: the index and data ports of the CMOS clock; reading has no effect.
        unsafe {
            Port::<u8>::new(0x70).write(index);
            u64::from(Port::<u8>::new(0x71).read())
        }
    }
    let read = || [0, 2, 4, 7, 8, 9].map(register);
    let updating = || register(10) & 0x80 != 0;
    let mut fields = read();
    for _ in 0..100_000 {
        let again = read();
        if again == fields && !updating() {
            break;
        }
        fields = again;
    }
    let mode = register(11);
    let afternoon = mode & 2 == 0 && fields[2] & 0x80 != 0;
    fields[2] &= 0x7f;
    if mode & 4 == 0 {
        fields = fields.map(|bcd| (bcd >> 4) * 10 + (bcd & 15));
    }
    let [second, minute, mut hour, day, month, year] = fields;
    if mode & 2 == 0 {
        hour = hour % 12 + if afternoon { 12 } else { 0 };
    }
    if !(1..=12).contains(&month)
        || !(1..=31).contains(&day)
        || hour > 23
        || minute > 59
        || second > 60
        || year > 99
    {
        return 0;
    }
    days_since_1970(2000 + year, month, day) * 86_400 + hour * 3600 + minute * 60 + second
}

/// Days from 1970-01-01 to a date of the Gregorian calendar, counting years from March.
fn days_since_1970(year: u64, month: u64, day: u64) -> u64 {
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1 - 719_468
}

/// Bytes that nobody can guess, for keys; `None` where the processor has no RDRAND.
pub fn random_secret() -> Option<[u8; 32]> {
    let generator = RdRand::new()?;
    let mut secret = [0; 32];
    for word in secret.chunks_exact_mut(8) {
        let number = (0..100).find_map(|_| generator.get_u64())?;
        word.copy_from_slice(&number.to_le_bytes());
    }
    Some(secret)
}

/// A random number: RDRAND where there is one, else a generator stirred by the TSC's jitter, which
/// is good enough to choose names and delays but not keys.
pub fn random_u64() -> u64 {
    if let Some(generator) = RdRand::new()
        && let Some(number) = (0..10).find_map(|_| generator.get_u64())
    {
        return number;
    }
    static STATE: Mutex<u64> = Mutex::new(0);
    let mut state = STATE.lock();
    for _ in 0..64 {
        let jitter = tsc();
        // SplitMix64's step and finaliser.
        *state = (*state ^ jitter).wrapping_add(0x9e37_79b9_7f4a_7c15);
        *state = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        *state = (*state ^ (*state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    }
    *state ^ (*state >> 31)
}
