//! Memory: every page arrives with its own contents, once, with its own protection.
//!
//! Law: contents depend on page and round, so that a page in the wrong place, an old page or a
//! page of another process is found out.

use rt::memory::{Area, BreakArea, PAGE, Protection};
use rt::process::{Ended, start, wait_for};
use rt::raw::{DESK, Desk, libc};

use crate::moves::{Moves, go, tell};
use crate::{Doing, Verdict, ensure, must};

/// The byte that belongs at `offset` in the pattern of `seed`.
fn byte(seed: u64, offset: usize) -> u8 {
    let mixed = (seed ^ (offset as u64 / 8)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed.rotate_left(17).to_le_bytes()[offset % 8] | 1
}

/// Fills memory with the pattern of `seed`; `first` is the offset of its first byte.
pub(crate) fn fill(memory: &mut [u8], seed: u64, first: usize) {
    for (at, slot) in memory.iter_mut().enumerate() {
        *slot = byte(seed, first + at);
    }
}

/// Checks for the pattern of `seed`.
pub(crate) fn check(memory: &[u8], seed: u64, first: usize) -> Verdict {
    match memory
        .iter()
        .enumerate()
        .find(|&(at, &found)| found != byte(seed, first + at))
    {
        None => Ok(()),
        Some((at, found)) => Err(format!(
            "byte {:#x} of the pattern {seed} is {found:#x} instead of {:#x}",
            first + at,
            byte(seed, first + at)
        )),
    }
}

fn check_zero(memory: &[u8], what: &str) -> Verdict {
    match memory.iter().position(|&byte| byte != 0) {
        None => Ok(()),
        Some(at) => Err(format!(
            "{what}: byte {at:#x} is {:#x} instead of 0",
            memory[at]
        )),
    }
}

/// Every page different; some changed between moves.
pub(crate) fn pages(moves: &mut Moves) -> Verdict {
    const SIZE: usize = 4 << 20;
    let mut memory = vec![0u8; SIZE];
    while moves.more() {
        let seed = moves.round();
        fill(&mut memory, seed, 0);
        moves.point()?;
        check(&memory, seed, 0)?;
        for page in (0..SIZE / PAGE).step_by(3) {
            let start = page * PAGE;
            fill(&mut memory[start..start + PAGE], seed + 1000, start);
        }
        moves.point()?;
        for page in 0..SIZE / PAGE {
            let start = page * PAGE;
            let seed = if page % 3 == 0 { seed + 1000 } else { seed };
            check(&memory[start..start + PAGE], seed, start)?;
        }
    }
    Ok(())
}

/// A gigabyte of which only a few pages exist.
pub(crate) fn sparse(moves: &mut Moves) -> Verdict {
    const SIZE: usize = 1 << 30;
    const STEP: usize = (16 << 20) + 3 * PAGE;
    while moves.more() {
        let seed = moves.round();
        let mut area = Area::map(SIZE, Protection::ReadWrite).doing("map a gigabyte")?;
        for start in (0..SIZE - PAGE).step_by(STEP) {
            fill(area.bytes_mut(start..start + PAGE), seed, start);
        }
        moves.point()?;
        for start in (0..SIZE - PAGE).step_by(STEP) {
            check(area.bytes(start..start + PAGE), seed, start)?;
            check_zero(
                area.bytes(start + PAGE..start + 2 * PAGE),
                "the page after a full one",
            )?;
        }
    }
    Ok(())
}

/// Pages that are zero because nobody touched them, because they were only read, and because
/// zeroes were written.
pub(crate) fn zero_pages(moves: &mut Moves) -> Verdict {
    const SIZE: usize = 6 << 20;
    while moves.more() {
        let mut area = Area::map(SIZE, Protection::ReadWrite).doing("map")?;
        check_zero(area.bytes(0..SIZE / 3), "only read")?;
        let written = area.bytes_mut(SIZE / 3..2 * SIZE / 3);
        written.fill(1);
        written.fill(0);
        moves.point()?;
        check_zero(area.bytes(0..SIZE), "after the move")?;
        fill(area.bytes_mut(PAGE..2 * PAGE), moves.round(), 0);
        moves.point()?;
        check(area.bytes(PAGE..2 * PAGE), moves.round(), 0)?;
        check_zero(area.bytes(0..PAGE), "before the changed page")?;
        check_zero(area.bytes(2 * PAGE..SIZE), "after the changed page")?;
    }
    Ok(())
}

/// Recursion with large frames; moves on the way down and on the way up.
pub(crate) fn deep_stack(moves: &mut Moves) -> Verdict {
    const DEPTH: u32 = 48;
    fn dive(depth: u32, moves: &mut Moves) -> Verdict {
        let mut local = [0u8; 32 << 10];
        let seed = moves.round() + u64::from(depth);
        fill(&mut local, seed, 0);
        let here = (&raw const local) as usize;
        if depth % 16 == 8 {
            moves.point()?;
        }
        if depth < DEPTH {
            dive(depth + 1, moves)?;
        } else {
            moves.point()?;
        }
        if depth % 16 == 3 {
            moves.point()?;
        }
        ensure!(
            (&raw const local) as usize == here,
            "the stack moved at depth {depth}"
        );
        check(std::hint::black_box(&local), seed, 0)
    }
    while moves.more() {
        dive(0, moves)?;
    }
    Ok(())
}

/// The area at the program break.
pub(crate) fn brk(moves: &mut Moves) -> Verdict {
    const SIZE: usize = 1 << 20;
    while moves.more() {
        let seed = moves.round();
        let mut low = BreakArea::grow(SIZE).doing("move the break")?;
        check_zero(low.bytes(), "new memory at the break")?;
        fill(low.bytes_mut(), seed, 0);
        moves.point()?;
        check(low.bytes(), seed, 0)?;
        let mut high = BreakArea::grow(SIZE / 2).doing("move the break while away")?;
        check_zero(high.bytes(), "new memory at the break, away")?;
        fill(high.bytes_mut(), seed + 1, 0);
        moves.point()?;
        check(low.bytes(), seed, 0)?;
        check(high.bytes(), seed + 1, 0)?;
        ensure!(high.release(), "the break could not be moved down");
        check(low.bytes(), seed, 0)?;
        ensure!(
            low.release(),
            "the break could not be moved down to where it was"
        );
    }
    Ok(())
}

/// Areas with holes, made and unmade on both sides of moves.
pub(crate) fn mmap(moves: &mut Moves) -> Verdict {
    const PAGES: usize = 64;
    while moves.more() {
        let seed = moves.round();
        let mut area = Area::map(PAGES * PAGE, Protection::ReadWrite).doing("map")?;
        fill(area.bytes_mut(0..PAGES * PAGE), seed, 0);
        area.unmap(20..30).doing("make a hole")?;
        moves.point()?;
        check(area.bytes(0..20 * PAGE), seed, 0)?;
        check(area.bytes(30 * PAGE..PAGES * PAGE), seed, 30 * PAGE)?;
        // Before anything new can be mapped into it.
        dies_of_segv("load from a hole", || {
            let _byte = area.probe_load(25 * PAGE);
        })?;
        area.unmap(50..PAGES).doing("cut the end off while away")?;
        let mut other = Area::map(10 * PAGE, Protection::ReadWrite).doing("map while away")?;
        check_zero(other.bytes(0..10 * PAGE), "an area mapped while away")?;
        fill(other.bytes_mut(0..10 * PAGE), seed + 7, 0);
        moves.point()?;
        check(area.bytes(30 * PAGE..50 * PAGE), seed, 30 * PAGE)?;
        check(other.bytes(0..10 * PAGE), seed + 7, 0)?;
    }
    Ok(())
}

/// Areas that grow, shrink and perhaps change their place.
pub(crate) fn mremap(moves: &mut Moves) -> Verdict {
    const SMALL: usize = 16 * PAGE;
    const LARGE: usize = 512 * PAGE;
    while moves.more() {
        let seed = moves.round();
        let mut area = Area::map(SMALL, Protection::ReadWrite).doing("map")?;
        fill(area.bytes_mut(0..SMALL), seed, 0);
        area.resize(LARGE).doing("grow")?;
        check(area.bytes(0..SMALL), seed, 0)?;
        moves.point()?;
        check(area.bytes(0..SMALL), seed, 0)?;
        check_zero(area.bytes(SMALL..LARGE), "the part that was added")?;
        fill(area.bytes_mut(0..LARGE), seed + 1, 0);
        area.resize(2 * LARGE).doing("grow while away")?;
        moves.point()?;
        check(area.bytes(0..LARGE), seed + 1, 0)?;
        check_zero(area.bytes(LARGE..2 * LARGE), "the part that was added away")?;
        area.resize(SMALL).doing("shrink")?;
        check(area.bytes(0..SMALL), seed + 1, 0)?;
        area.resize(LARGE).doing("grow again")?;
        check_zero(area.bytes(SMALL..LARGE), "the part that went and came")?;
    }
    Ok(())
}

/// Pages without access, and pages that may only be read, stay so.
pub(crate) fn guard(moves: &mut Moves) -> Verdict {
    while moves.more() {
        let seed = moves.round();
        let mut area = Area::map(4 * PAGE, Protection::ReadWrite).doing("map")?;
        fill(area.bytes_mut(0..4 * PAGE), seed, 0);
        area.protect(1..2, Protection::None)
            .doing("take all access")?;
        area.protect(2..3, Protection::Read)
            .doing("take the right to write")?;
        moves.point()?;
        check(area.bytes(0..PAGE), seed, 0)?;
        check(area.bytes(2 * PAGE..4 * PAGE), seed, 2 * PAGE)?;
        dies_of_segv("load from a page without access", || {
            let _byte = area.probe_load(PAGE + 5);
        })?;
        dies_of_segv("store to a page that may be read", || {
            area.probe_store(2 * PAGE, 1)
        })?;
        area.protect(1..3, Protection::ReadWrite)
            .doing("give access back")?;
        check(area.bytes(0..4 * PAGE), seed, 0)?;
        area.probe_store(PAGE, 1);
        area.protect(0..4, Protection::Read)
            .doing("take the right to write while away")?;
        moves.point()?;
        dies_of_segv("store to a page protected while away", || {
            area.probe_store(3 * PAGE, 1)
        })?;
        check(area.bytes(PAGE + 1..4 * PAGE), seed, PAGE + 1)?;
    }
    Ok(())
}

/// Checks that `act` kills a child by SIGSEGV.
fn dies_of_segv(what: &str, act: impl FnOnce()) -> Verdict {
    let child = start(|| {
        rt::process::default_action(rt::SIGSEGV);
        act();
        0
    })
    .doing("fork")?;
    match wait_for(child).doing("wait")? {
        Ended::Signalled(rt::SIGSEGV) => Ok(()),
        ended => Err(format!(
            "{what}: the process ended with {ended:?} instead of SIGSEGV"
        )),
    }
}

/// Contents thrown away (`MADV_DONTNEED`) before and after a move read as zero.
pub(crate) fn discard(moves: &mut Moves) -> Verdict {
    const PAGES: usize = 64;
    while moves.more() {
        let seed = moves.round();
        let mut area = Area::map(PAGES * PAGE, Protection::ReadWrite).doing("map")?;
        fill(area.bytes_mut(0..PAGES * PAGE), seed, 0);
        area.discard(0..16).doing("discard")?;
        moves.point()?;
        check_zero(area.bytes(0..16 * PAGE), "discarded before the move")?;
        // Right after the move: these pages may not even have arrived.
        area.discard(32..48).doing("discard while away")?;
        check_zero(area.bytes(32 * PAGE..48 * PAGE), "discarded after the move")?;
        check(area.bytes(16 * PAGE..32 * PAGE), seed, 16 * PAGE)?;
        fill(area.bytes_mut(0..16 * PAGE), seed + 1, 0);
        moves.point()?;
        check(area.bytes(0..16 * PAGE), seed + 1, 0)?;
        check_zero(
            area.bytes(32 * PAGE..48 * PAGE),
            "discarded before the second move",
        )?;
        check(area.bytes(48 * PAGE..PAGES * PAGE), seed, 48 * PAGE)?;
    }
    Ok(())
}

/// After a fork, parent and child have the same memory, and each changes only its own.
pub(crate) fn copy_on_write(moves: &mut Moves) -> Verdict {
    const SIZE: usize = 2 << 20;
    let mut memory = vec![0u8; SIZE];
    while moves.more() {
        let seed = moves.round();
        fill(&mut memory, seed, 0);
        moves.point()?;
        let node = moves.take();
        let child = start(|| {
            let work = |memory: &mut [u8]| {
                fill(&mut memory[..SIZE / 2], seed + 1, 0);
                go(node.as_deref())?;
                check(&memory[..SIZE / 2], seed + 1, 0)?;
                check(&memory[SIZE / 2..], seed, SIZE / 2)?;
                fill(&mut memory[SIZE / 2..], seed + 2, SIZE / 2);
                check(&memory[SIZE / 2..], seed + 2, SIZE / 2)
            };
            tell(work(&mut memory))
        })
        .doing("fork")?;
        fill(&mut memory[SIZE / 4..SIZE / 2], seed + 3, SIZE / 4);
        moves.point()?;
        let ended = wait_for(child).doing("wait")?;
        ensure!(ended == Ended::Exited(0), "the child ended with {ended:?}");
        check(&memory[..SIZE / 4], seed, 0)?;
        check(&memory[SIZE / 4..SIZE / 2], seed + 3, SIZE / 4)?;
        check(&memory[SIZE / 2..], seed, SIZE / 2)?;
    }
    Ok(())
}

/// What get_mempolicy(2) says of the thread, or of an address.
fn policy_of(desk: &mut Desk, address: u64) -> Result<(u32, u64), String> {
    const MPOL_F_ADDR: u64 = 2;
    let flags = if address == 0 { 0 } else { MPOL_F_ADDR };
    let words = [DESK, DESK + 8, 64, address, flags, 0];
    must(desk, "get_mempolicy", libc::SYS_get_mempolicy, words)?;
    Ok((desk.word(0) as u32, desk.word(8)))
}

/// Policies of memory are those of the thread and of the area, and pages are on the one node there is.
pub(crate) fn policy(moves: &mut Moves) -> Verdict {
    const BOUND: u64 = DESK + 16 * PAGE as u64;
    const STATIC: u64 = 1 << 15;
    let bind = libc::MPOL_BIND as u64 | STATIC;
    let mut desk = Desk::map().ok_or("no desk")?;
    while moves.more() {
        desk.put(16, &3_u64.to_le_bytes());
        let words = [libc::MPOL_INTERLEAVE as u64, DESK + 16, 65, 0, 0, 0];
        must(&mut desk, "set_mempolicy", libc::SYS_set_mempolicy, words)?;
        let words = [BOUND, PAGE as u64, bind, DESK + 16, 65, 0];
        must(&mut desk, "mbind", libc::SYS_mbind, words)?;
        desk.put(16 * PAGE as u64, b"touched");
        moves.point()?;
        let own = policy_of(&mut desk, 0)?;
        ensure!(own == (libc::MPOL_INTERLEAVE as u32, 1), "{own:x?} is ours");
        let bound = policy_of(&mut desk, BOUND)?;
        ensure!(bound == (bind as u32, 3), "{bound:x?} is bound");
        let other = policy_of(&mut desk, DESK)?;
        ensure!(other == (0, 0), "{other:x?} is not bound");
        desk.put(24, &BOUND.to_le_bytes());
        desk.put(32, &[0xff; 8]);
        let words = [0, 1, DESK + 24, 0, DESK + 32, 0];
        must(&mut desk, "move_pages", libc::SYS_move_pages, words)?;
        let status = desk.word(32) as u32;
        ensure!(status == 0, "the page is on node {status:#x}");
        let words = [BOUND, PAGE as u64, 0, 0, 0, 0];
        must(&mut desk, "mbind", libc::SYS_mbind, words)?;
        moves.point()?;
        let bound = policy_of(&mut desk, BOUND)?;
        ensure!(bound == (0, 0), "{bound:x?} is bound no more");
    }
    Ok(())
}
