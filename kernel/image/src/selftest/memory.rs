//! Frames and page tables, against what the host's model of them says.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use machine::{Access, BootInfo, Frame, FrameKind, OutOfMemory, PageTable, USER_END};

use super::{Checks, zeroed};

const CODE: u64 = 0x40_0000;
/// Memory up to which all of it is taken once; more would cost the host too much.
const EXHAUSTIBLE: u64 = 256 << 20;

pub(super) fn run(checks: &mut Checks, info: &BootInfo) {
    frames(checks);
    page_tables(checks);
    random_pages(checks);
    if info.memory_bytes <= EXHAUSTIBLE {
        exhaustion(checks);
    }
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
    let whole = (0..=300).all(|length| copies(&copy, length));
    checks.check(whole, "copies of all lengths end where they should");
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

/// Whether so many bytes from a place off all boundaries are copied and zeroed, and none besides.
fn copies(full: &Frame, length: usize) -> bool {
    let frame = full.part(FrameKind::Cache, 13, length).expect("memory");
    let is = |from: usize, to: usize, value: u8| {
        let mut bytes = [0; 512];
        frame.read(0, &mut bytes);
        bytes[from..to].iter().all(|&byte| byte == value)
    };
    let part = is(0, length, 7) && is(length, 512, 0);
    frame.copy_from(105, full, 9, length);
    frame.zero(105, length / 2);
    let from = 105 + length / 2;
    part && is(from, 105 + length, 7) && is(105 + length, 512, 0) && is(105, from, 0)
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

/// Random operations on an address space and on a sorted map do the same.
fn random_pages(checks: &mut Checks) {
    const ROUNDS: u32 = 3000;
    let before = machine::frame_counts();
    let mut table = PageTable::new().expect("memory");
    let mut model: BTreeMap<u64, (u64, Access)> = BTreeMap::new();
    let mut agree = true;
    for _ in 0..ROUNDS {
        let random = machine::random_u64();
        // Few distinct indices in every level, so that tables fill, empty and are met again.
        let page = [12, 20, 21, 30, 39, 46]
            .iter()
            .fold(0, |page, bit| page | random & 1 << bit);
        let access = Access::from_bits_truncate((random >> 48) as u8 & 7);
        match random >> 56 & 3 {
            0 | 1 => {
                let frame = zeroed(FrameKind::User);
                let old = model
                    .insert(page, (frame.number(), access))
                    .map(|old| old.0);
                let replaced = table.map(page, frame, access).expect("memory");
                agree &= replaced.map(|frame| frame.number()) == old;
            }
            2 => {
                let old = model.remove(&page).map(|old| old.0);
                agree &= table.unmap(page).map(|frame| frame.number()) == old;
            }
            _ => {
                let known = model.get_mut(&page).map(|known| known.1 = access).is_some();
                agree &= table.protect(page, access) == known;
            }
        }
        let next = model.range(page..).next().map(|(&page, _)| page);
        agree &= table.next_mapped(page, USER_END) == next;
    }
    let real: Vec<_> = table
        .pages(0, USER_END)
        .map(|(page, mapping)| (page, (mapping.frame.number(), mapping.access)))
        .collect();
    checks.check(
        agree && real == model.into_iter().collect::<Vec<_>>(),
        "random pages agree",
    );
    drop((table, real));
    checks.check(
        machine::frame_counts().by_kind[1..] == before.by_kind[1..],
        "and all come back",
    );
}

/// User memory ends before the kernel's own does, and all of it comes back.
fn exhaustion(checks: &mut Checks) {
    let mut taken = Vec::new();
    while let Ok(frame) = Frame::zeroed(FrameKind::User) {
        taken.push(frame);
    }
    let empty = machine::frame_counts();
    checks.check(
        taken.len() as u64 == empty.by_kind[FrameKind::User as usize],
        "all taken",
    );
    checks.check(
        PageTable::new().err() == Some(OutOfMemory),
        "no frame is left for a table",
    );
    let kernel = alloc::vec![1_u8; 64 << 10];
    checks.check(
        kernel.iter().all(|&byte| byte == 1),
        "the kernel still has memory",
    );
    let absurd: Result<(), _> = Vec::<u8>::new().try_reserve_exact(1 << 40);
    checks.check(absurd.is_err(), "an impossible block is an error");
    let absurd: Result<(), _> = Vec::<u8>::new().try_reserve_exact(512 << 20);
    checks.check(absurd.is_err(), "as is one larger than memory");
    let count = taken.len() as u64;
    drop(taken);
    checks.check(machine::frame_counts().free >= count, "all of it came back");
}
