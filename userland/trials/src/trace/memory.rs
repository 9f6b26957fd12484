//! Steps on memory: map, unmap, protect, move, and what is then there.
//!
//! Law: the program itself touches only what it knows to be its own; everything else is looked at by a
//! child, whose end by a signal is part of the trace.

use rt::raw::{DESK, KEPT, libc};

use super::world::World;

const PAGE: u64 = 4096;
/// Where it plays, behind a gap after the part of the desk that is kept.
const START: u64 = DESK + 2 * KEPT;
const PAGES: u64 = 24;

/// Which pages are known to be anonymous memory that may be read and written.
#[derive(Debug, Default, Clone)]
pub(crate) struct Play {
    own: [bool; PAGES as usize],
}

fn range(world: &mut World) -> (u64, u64) {
    let first = world.random.below(PAGES - 6);
    (first, 1 + world.random.below(5))
}

impl Play {
    fn set(&mut self, first: u64, count: u64, own: bool) {
        for page in first..(first + count).min(PAGES) {
            self.own[page as usize] = own;
        }
    }
}

pub(super) fn step(world: &mut World) {
    match world.random.below(14) {
        0..=2 => map_anonymous(world),
        3 | 4 => map_file(world),
        5 => unmap(world),
        6 => protect(world),
        7 => remap(world),
        8 => advise(world),
        9 => sync(world),
        10 | 11 => touch(world),
        _ => look(world),
    }
}

fn map_anonymous(world: &mut World) {
    let (first, count) = range(world);
    let protection = world.random.pick(&[3, 3, 3, 1, 0]);
    let how = world
        .random
        .pick(&[libc::MAP_FIXED, libc::MAP_FIXED, libc::MAP_FIXED_NOREPLACE]);
    let kind = libc::MAP_PRIVATE;
    let flags = (how | kind | libc::MAP_ANONYMOUS) as u64;
    let odd = if world.random.one_in(12) { 12 } else { 0 };
    let at = START + first * PAGE + odd;
    let result = world.call(
        libc::SYS_mmap,
        [at, count * PAGE, protection, flags, u64::MAX, 0],
    );
    if result == at.cast_signed() {
        world.play.set(first, count, protection == 3);
    }
    let result = shown(result);
    world.line(&format!(
        "mmap {first}+{odd} {count} {protection} {flags:x} = {result}"
    ));
}

/// Addresses as pages of the playground.
fn shown(result: i64) -> i64 {
    if result < 0 {
        result
    } else {
        (result - START.cast_signed()) / PAGE.cast_signed()
    }
}

fn map_file(world: &mut World) {
    let (first, count) = range(world);
    let fd = 3 + world.random.below(9);
    let protection = world.random.pick(&[1, 3]);
    // Shared memory that may be written keeps a process where it is, and cannot be had away.
    let kind = if protection == 1 && world.random.one_in(2) {
        libc::MAP_SHARED
    } else {
        libc::MAP_PRIVATE
    };
    let flags = (libc::MAP_FIXED | kind) as u64;
    let offset = world.random.pick(&[0, 0, PAGE, 100]);
    let at = START + first * PAGE;
    let result = world.call(
        libc::SYS_mmap,
        [at, count * PAGE, protection, flags, fd, offset],
    );
    if result >= 0 {
        world.play.set(first, count, false);
    }
    let result = shown(result);
    world.line(&format!(
        "mmap file {fd} {first} {count} {protection} {flags:x} {offset} = {result}"
    ));
}

fn unmap(world: &mut World) {
    let (first, count) = range(world);
    let result = world.call(libc::SYS_munmap, [START + first * PAGE, count * PAGE]);
    if result == 0 {
        world.play.set(first, count, false);
    }
    world.line(&format!("munmap {first} {count} = {result}"));
}

fn protect(world: &mut World) {
    let (first, count) = range(world);
    let protection = world.random.pick(&[0, 1, 3, 5, 1 << 10]);
    let result = world.call(
        libc::SYS_mprotect,
        [START + first * PAGE, count * PAGE, protection],
    );
    // A failure may have changed the first areas of the range.
    world.play.set(first, count, false);
    world.line(&format!("mprotect {first} {count} {protection} = {result}"));
}

fn remap(world: &mut World) {
    let (first, count) = range(world);
    let length = 1 + world.random.below(6);
    let to = world.random.below(PAGES - 6);
    let from = START + first * PAGE;
    let fixed = world.random.one_in(2);
    let flags = if fixed { 3 } else { 0 };
    let to_address = if fixed { START + to * PAGE } else { 0 };
    let words = [from, count * PAGE, length * PAGE, flags, to_address];
    let result = world.call(libc::SYS_mremap, words);
    // A failure may have unmapped the new place.
    world.play.set(first, count.max(length), false);
    if fixed {
        world.play.set(to, length, false);
    }
    let result = shown(result);
    world.line(&format!(
        "mremap {first} {count} {length} {flags} {to} = {result}"
    ));
}

fn advise(world: &mut World) {
    let (first, count) = range(world);
    let advice = world.random.pick(&[4, 4, 0, 1, 2, 3, 99]);
    let result = world.call(
        libc::SYS_madvise,
        [START + first * PAGE, count * PAGE, advice],
    );
    world.line(&format!("madvise {first} {count} {advice} = {result}"));
}

fn sync(world: &mut World) {
    let (first, count) = range(world);
    let flags = world.random.pick(&[1, 4, 5, 2, 64]);
    let result = world.call(libc::SYS_msync, [START + first * PAGE, count * PAGE, flags]);
    world.line(&format!("msync {first} {count} {flags} = {result}"));
}

/// Writes into memory of its own.
fn touch(world: &mut World) {
    let own: Vec<u64> = (0..PAGES)
        .filter(|page| world.play.own[*page as usize])
        .collect();
    if own.is_empty() {
        return look(world);
    }
    let page = world.random.pick(&own);
    let at = START + page * PAGE + world.random.below(PAGE);
    let byte = world.random.next() as u8;
    let before = world.desk.load(at);
    world.desk.store(at, byte);
    let first = world.desk.load(at & !(PAGE - 1));
    world.line(&format!("store {page}: {before} {first}"));
}

/// Lets a child look at memory, and perhaps write there.
fn look(world: &mut World) {
    let page = world.random.below(PAGES);
    let at = START + page * PAGE + world.random.pick(&[0, 1, 100, 4095]);
    let writes = world.random.one_in(2);
    let byte = world.random.next() as u8;
    world.flush();
    let child = world.call(libc::SYS_fork, []);
    if child == 0 {
        if writes {
            world.desk.store(at, byte);
        }
        let seen = world.desk.load(at);
        world.call(libc::SYS_exit_group, [seen.into()]);
    }
    let status = super::processes::status_of(world, child);
    world.line(&format!("look {page} {writes} = {status}"));
}
