//! Steps on descriptors: read, write, seek, duplicate, poll.
//!
//! Law: nothing here can wait: every pipe is opened without waiting and stays so.

use rt::raw::{DESK, libc};

use super::names::shown_stat;
use super::world::{BAD, BUFFER, STRUCT, World, digest};

/// A descriptor, most likely an open one.
pub(super) fn descriptor(world: &mut World) -> u64 {
    if world.random.one_in(15) {
        return world.random.pick(&[0, 1, 20, 99, 1000, u64::MAX]);
    }
    3 + world.random.below(9)
}

/// Places in files and lengths of files.
fn place(world: &mut World) -> u64 {
    world
        .random
        .pick(&[0, 0, 1, 10, 100, 4095, 4096, 10_000, 100_000, u64::MAX])
}

fn pattern(world: &mut World) -> u64 {
    let length = world.random.pick(&[0, 1, 5, 64, 200, 4096, 5000]);
    let first = world.random.next();
    let bytes: Vec<u8> = (0..length)
        .map(|at| (first >> (at % 8 * 8)) as u8 ^ at as u8)
        .collect();
    world.desk.put(BUFFER, &bytes);
    length
}

pub(super) fn step(world: &mut World) {
    match world.random.below(26) {
        0..=3 => write(world),
        4..=6 => read(world),
        7 | 8 => seek(world),
        9 => vectors(world),
        10 => fstat(world),
        11 => two(world, "ftruncate", libc::SYS_ftruncate),
        12 | 13 => close(world),
        14 | 15 => duplicate(world),
        16 | 17 => control(world),
        18 | 19 => pipe(world),
        20 => poll(world),
        21 => available(world),
        22 => send(world),
        23 => allocate(world),
        24 => lock(world),
        _ => sync(world),
    }
}

fn write(world: &mut World) {
    let fd = descriptor(world);
    let length = pattern(world);
    if world.random.one_in(2) {
        let bad = length > 0 && world.random.one_in(20);
        let from = if bad { BAD } else { DESK + BUFFER };
        let result = world.call(libc::SYS_write, [fd, from, length]);
        world.line(&format!("write {fd} {length} {bad} = {result}"));
    } else {
        let at = place(world);
        let result = world.call(libc::SYS_pwrite64, [fd, DESK + BUFFER, length, at]);
        world.line(&format!("pwrite {fd} {length} {at} = {result}"));
    }
}

fn read(world: &mut World) {
    let fd = descriptor(world);
    let length = world.random.pick(&[0, 1, 7, 300, 5000]);
    let (name, at, result) = if world.random.one_in(2) {
        (
            "read",
            0,
            world.call(libc::SYS_read, [fd, DESK + BUFFER, length]),
        )
    } else {
        let at = place(world);
        let result = world.call(libc::SYS_pread64, [fd, DESK + BUFFER, length, at]);
        ("pread", at, result)
    };
    let read = digest(&world.desk.get(BUFFER, usize::try_from(result).unwrap_or(0)));
    world.line(&format!("{name} {fd} {length} {at} = {result} {read:x}"));
}

fn seek(world: &mut World) {
    let (fd, to) = (descriptor(world), place(world));
    let whence = world.random.pick(&[0, 1, 2, 7]);
    let result = world.call(libc::SYS_lseek, [fd, to, whence]);
    world.line(&format!("lseek {fd} {to} {whence} = {result}"));
}

fn vectors(world: &mut World) {
    let fd = descriptor(world);
    pattern(world);
    let (first, second) = (world.random.below(50), world.random.below(50));
    let vector = [DESK + BUFFER, first, BAD, 0, DESK + BUFFER + 100, second];
    let vector = world.words(STRUCT, &vector);
    let count = world.random.pick(&[0, 1, 3, 3, 3, 1025, u64::MAX]);
    if world.random.one_in(2) {
        let result = world.call(libc::SYS_writev, [fd, vector, count]);
        world.line(&format!("writev {fd} {first} {second} {count} = {result}"));
    } else {
        world.desk.put(BUFFER, &[0; 200]);
        let result = world.call(libc::SYS_readv, [fd, vector, count]);
        let read = digest(&world.desk.get(BUFFER, 200));
        world.line(&format!(
            "readv {fd} {first} {second} {count} = {result} {read:x}"
        ));
    }
}

fn fstat(world: &mut World) {
    let fd = descriptor(world);
    let result = world.call(libc::SYS_fstat, [fd, DESK + STRUCT]);
    let found = match result {
        // What stands behind 0, 1 and 2 is not the same everywhere.
        0 if fd > 2 => shown_stat(world, STRUCT),
        _ => String::new(),
    };
    world.line(&format!("fstat {fd} = {result} {found}"));
}

fn two(world: &mut World, name: &str, number: libc::c_long) {
    let (fd, second) = (descriptor(world), place(world));
    let result = world.call(number, [fd, second]);
    world.line(&format!("{name} {fd} {second} = {result}"));
}

fn close(world: &mut World) {
    let fd = descriptor(world);
    let result = world.call(libc::SYS_close, [fd]);
    world.line(&format!("close {fd} = {result}"));
}

fn duplicate(world: &mut World) {
    let fd = descriptor(world);
    let to = 3 + world.random.below(10);
    let flags = world.random.pick(&[0, libc::O_CLOEXEC as u64, 1]);
    let (name, result) = match world.random.below(3) {
        0 => ("dup", world.call(libc::SYS_dup, [fd])),
        1 => ("dup2", world.call(libc::SYS_dup2, [fd, to])),
        _ => ("dup3", world.call(libc::SYS_dup3, [fd, to, flags])),
    };
    world.line(&format!("{name} {fd} {to} {flags} = {result}"));
}

fn control(world: &mut World) {
    let fd = descriptor(world);
    let wait = libc::O_NONBLOCK as u64;
    let (command, argument) = match world.random.below(7) {
        0 => (libc::F_DUPFD, world.random.pick(&[3, 8, 13, u64::MAX])),
        1 => (libc::F_DUPFD_CLOEXEC, 3),
        2 => (libc::F_GETFD, 0),
        3 => (libc::F_SETFD, world.random.pick(&[0, 1, 2])),
        4 => (libc::F_GETFL, 0),
        5 => (
            libc::F_SETFL,
            world.random.pick(&[wait, wait | libc::O_APPEND as u64]),
        ),
        _ => (999, 0),
    };
    let result = world.call(libc::SYS_fcntl, [fd, command as u64, argument]);
    // O_LARGEFILE is shown by kernels that were built so; what 0, 1 and 2 are differs.
    let hide = command == libc::F_GETFL && result >= 0;
    let shown = if hide { result & !0o100_000 } else { result };
    let shown = if hide && fd < 3 { 0 } else { shown };
    world.line(&format!("fcntl {fd} {command} {argument} = {shown}"));
}

fn pipe(world: &mut World) {
    let flags = libc::O_NONBLOCK as u64 | world.random.pick(&[0, libc::O_CLOEXEC as u64]);
    let into = if world.random.one_in(20) {
        BAD
    } else {
        DESK + STRUCT
    };
    let result = world.call(libc::SYS_pipe2, [into, flags]);
    let ends = (world.half(STRUCT), world.half(STRUCT + 4));
    let ends = if result == 0 { ends } else { (0, 0) };
    world.line(&format!("pipe {flags:o} = {result} {ends:?}"));
}

fn poll(world: &mut World) {
    let mut words = Vec::new();
    let mut asked = Vec::new();
    for _ in 0..3 {
        let fd = 3 + world.random.below(10);
        let events = world.random.pick(&[1, 4, 5, 0]);
        asked.push((fd, events));
        words.push(fd | events << 32);
    }
    let entries = world.words(STRUCT, &words);
    let result = world.call(libc::SYS_poll, [entries, 3, 0]);
    let ready: Vec<u64> = (0..3)
        .map(|at| world.desk.word(STRUCT + at * 8) >> 48)
        .collect();
    world.line(&format!("poll {asked:?} = {result} {ready:?}"));
}

fn available(world: &mut World) {
    let fd = descriptor(world).max(3);
    world.words(STRUCT, &[0]);
    let result = world.call(libc::SYS_ioctl, [fd, libc::FIONREAD, DESK + STRUCT]);
    let count = world.half(STRUCT);
    world.line(&format!("FIONREAD {fd} = {result} {count}"));
}

fn send(world: &mut World) {
    let (from, to) = (descriptor(world).max(3), descriptor(world).max(3));
    let length = world.random.pick(&[0, 10, 5000]);
    if world.random.one_in(2) {
        let result = world.call(libc::SYS_sendfile, [to, from, 0, length]);
        world.line(&format!("sendfile {to} {from} {length} = {result}"));
    } else {
        let result = world.call(libc::SYS_copy_file_range, [from, 0, to, 0, length, 0]);
        world.line(&format!("copy_file_range {from} {to} {length} = {result}"));
    }
}

fn allocate(world: &mut World) {
    let fd = descriptor(world);
    let mode = world.random.pick(&[0, 1]);
    let (at, length) = (place(world), world.random.pick(&[0, 1, 6000]));
    let result = world.call(libc::SYS_fallocate, [fd, mode, at, length]);
    world.line(&format!("fallocate {fd} {mode} {at} {length} = {result}"));
}

fn lock(world: &mut World) {
    let fd = descriptor(world);
    let kind = world.random.pick(&[0, 1, 2_u64]);
    let (start, length) = (world.random.below(100), world.random.below(50));
    // struct flock: type, whence; start, length, pid.
    let lock = world.words(STRUCT, &[kind, start, length, 0]);
    let result = world.call(libc::SYS_fcntl, [fd, libc::F_SETLK as u64, lock]);
    world.line(&format!("lock {fd} {kind} {start} {length} = {result}"));
}

fn sync(world: &mut World) {
    let fd = descriptor(world);
    let (name, number) = world.random.pick(&[
        ("fsync", libc::SYS_fsync),
        ("fdatasync", libc::SYS_fdatasync),
    ]);
    let result = world.call(number, [fd]);
    world.line(&format!("{name} {fd} = {result}"));
}
