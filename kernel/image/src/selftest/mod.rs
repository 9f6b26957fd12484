//! Proves on the real machine what host tests of the fake cannot.
//!
//! Law: each check names what it proves; the first that fails is a panic, so that the machine's exit
//! status tells. The user programs are a few bytes of machine code, written out beside their source.

mod disk;
mod memory;
mod smp;
mod user;

use alloc::vec;
use alloc::vec::Vec;

use machine::{Access, BootInfo, Dma, Exit, Frame, FrameKind, MsiVector};

use user::Thread;

/// A page that the user programs have no mapping for, unless a check makes one.
const DATA: u64 = 0x60_0000;

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
    memory::run(&mut checks, info);
    user::run(&mut checks);
    heap(&mut checks);
    time(&mut checks);
    devices(&mut checks);
    archive(&mut checks, info);
    for word in info.command_line.split_ascii_whitespace() {
        match word {
            "disktest" => disk::run(&mut checks, false),
            "disksealed" => disk::run(&mut checks, true),
            _ => {}
        }
    }
    let cpus = info
        .command_line
        .split_ascii_whitespace()
        .find_map(|word| word.strip_prefix("cpus=")?.parse().ok());
    smp::run(&mut checks, cpus);
    if info
        .command_line
        .split_ascii_whitespace()
        .any(|word| word == "echo")
    {
        echo();
    }
    speed();
    machine::log!("selftest: ok {} checks", checks.passed);
    machine::power_off(0)
}

fn zeroed(kind: FrameKind) -> Frame {
    Frame::zeroed(kind).expect("memory")
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
    checks.check(info.memory_bytes >= 8 << 20, "the memory map has RAM");
    machine::log!("archive: {} bytes, sum {sum}", info.archive.len());
}

/// What the basic operations cost here, for the log only: no check depends on it.
fn speed() {
    const ROUNDS: u64 = 20_000;
    let per_round = |what: &str, operation: &mut dyn FnMut()| {
        let start = machine::now_ns();
        for _ in 0..ROUNDS {
            operation();
        }
        machine::log!("{what}: {} ns", (machine::now_ns() - start) / ROUNDS);
    };
    let mut thread = Thread::new(&[0x0f, 0x05, 0xeb, 0xfc]); // again: syscall; jmp again
    per_round("system call and back", &mut || {
        assert_eq!(thread.run(), Exit::Syscall)
    });
    let frame = zeroed(FrameKind::User);
    per_round("zeroed frame", &mut || drop(zeroed(FrameKind::User)));
    per_round("copied frame", &mut || drop(frame.copy_of(FrameKind::User)));
    per_round("test for zero", &mut || assert!(frame.is_zero()));
    per_round("page mapped and unmapped", &mut || {
        thread
            .table
            .map(DATA, frame.clone(), Access::READ)
            .expect("memory");
        assert!(thread.table.unmap(DATA).is_some());
    });
    per_round("heap block", &mut || {
        drop(core::hint::black_box(vec![1_u8; 100]))
    });
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

/// Crashes at a known place.
#[inline(never)]
pub(crate) fn panic() -> ! {
    panic!("as the command line asked")
}

/// Uses up the stack, which ends at the guard page below it.
#[inline(never)]
pub(crate) fn overflow(depth: u64) -> u64 {
    let local = core::hint::black_box([depth; 64]);
    if depth == 0 {
        0
    } else {
        overflow(depth + 1) + local[63]
    }
}
