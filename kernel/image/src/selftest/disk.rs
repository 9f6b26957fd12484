//! Proves that the driver of the disk does what its device does.
//!
//! Law: what is on the disk before does not matter, and is gone afterwards.

use alloc::vec;
use alloc::vec::Vec;

use drivers::{Disk, DiskError, SECTOR, TRANSFER_MAX, Ticket};

use super::Checks;

/// Waits for a request.
fn finish(disk: &mut Disk, ticket: Ticket) -> Result<Vec<u8>, DiskError> {
    loop {
        match disk.poll(machine::now_ns()) {
            Some(done) if done.ticket == ticket => return done.result,
            Some(_) => panic!("selftest: nothing else was asked"),
            None => core::hint::spin_loop(),
        }
    }
}

fn pattern(seed: usize, bytes: usize) -> Vec<u8> {
    (0..bytes)
        .map(|at| (at * 7 + at / SECTOR + seed) as u8)
        .collect()
}

/// On a disk that cannot be written, or on one that can.
pub(super) fn run(checks: &mut Checks, sealed: bool) {
    let mut disk = Disk::probe().expect("a disk");
    let now = machine::now_ns;
    let end = disk.sectors();
    checks.check(end >= 4096, "the disk has room");
    checks.check(
        disk.is_read_only() == sealed,
        "whether it can be written is known",
    );
    let one = pattern(1, SECTOR);
    checks.check(
        disk.read(now(), end, 1) == Err(DiskError::OutOfRange)
            && disk.read(now(), u64::MAX, 2) == Err(DiskError::OutOfRange),
        "behind the end nothing is read",
    );
    if sealed {
        let refused = disk.write(now(), 0, &one);
        checks.check(
            refused == Err(DiskError::ReadOnly),
            "and nothing is written",
        );
        let ticket = disk.read(now(), 0, 1).expect("a slot");
        checks.check(finish(&mut disk, ticket).is_ok(), "but it is read");
        return;
    }
    checks.check(
        disk.write(now(), end, &one) == Err(DiskError::OutOfRange)
            && disk.write(now(), 0, &one[1..]) == Err(DiskError::Length),
        "only whole sectors that are there are written",
    );
    // Several at once, in the first and the last sectors, and as much as one request takes.
    let pieces = [(0, 1), (1, 3), (end - 1, 1), (1000, TRANSFER_MAX / SECTOR)];
    let written: Vec<(u64, Vec<u8>)> = (2..)
        .zip(pieces)
        .map(|(seed, (sector, count))| (sector, pattern(seed, count * SECTOR)))
        .collect();
    let mut under_way: Vec<Ticket> = Vec::new();
    for (sector, bytes) in &written {
        under_way.push(disk.write(now(), *sector, bytes).expect("a slot"));
    }
    while !under_way.is_empty() {
        if let Some(done) = disk.poll(now()) {
            assert_eq!(done.result, Ok(Vec::new()), "selftest: a write");
            under_way.retain(|ticket| *ticket != done.ticket);
        }
    }
    let ticket = disk.flush(now()).expect("a slot");
    checks.check(
        finish(&mut disk, ticket) == Ok(Vec::new()),
        "the disk flushes",
    );
    drop(disk);
    let mut disk = Disk::probe().expect("the disk once more");
    for (sector, bytes) in &written {
        let count = bytes.len() / SECTOR;
        let ticket = disk.read(now(), *sector, count).expect("a slot");
        let read = finish(&mut disk, ticket);
        checks.check(read.as_ref() == Ok(bytes), "what was written is read");
    }
    let ticket = disk.read(now(), 4, 1).expect("a slot");
    checks.check(
        finish(&mut disk, ticket) == Ok(vec![0; SECTOR]),
        "nothing else was",
    );
    if disk.has_interrupts() {
        let ticket = disk.read(now(), 0, 1).expect("a slot");
        let mut calls = 0;
        while !disk.arm_interrupt() {
            machine::idle();
            calls += 1;
        }
        machine::log!("the disk called {calls} times");
        checks.check(finish(&mut disk, ticket).is_ok(), "and it was done");
        // A call that came when nobody waited any more must not meet the next check.
        let until = now() + 2_000_000;
        while now() < until {
            machine::set_timer(Some(until));
            machine::idle();
        }
        machine::set_timer(None);
    }
}
