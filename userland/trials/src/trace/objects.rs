//! Steps on what is a descriptor and no file: counters, timers, sets, sockets, watches, memory files.
//!
//! Law: nothing here can wait, and no timer comes to an end while a program runs. What is watched tells
//! nothing that counts from elsewhere: no renames, whose cookies do.

use rt::raw::{DESK, libc};

use super::names::path;
use super::streams::descriptor;
use super::world::{BAD, BUFFER, PATH, STRUCT, World, digest};

pub(super) fn step(world: &mut World) {
    match world.random.below(20) {
        0 => counter(world),
        1 => timer(world),
        2 => set_timer(world),
        3 => set(world),
        4..=6 => control_set(world),
        7 => wait_set(world),
        8 => pair(world),
        9 | 10 => send(world),
        11 | 12 => receive(world),
        13 => socket_question(world),
        14 => watch(world),
        15 => memory_file(world),
        16 => seals(world),
        17 => splice(world),
        18 => pipe_size(world),
        _ => locks(world),
    }
}

fn counter(world: &mut World) {
    let first = world.random.pick(&[0, 1, 5, 0xffff_ffff]);
    let flags = libc::O_NONBLOCK as u64 | world.random.pick(&[0, 1, libc::O_CLOEXEC as u64, 2]);
    let result = world.call(libc::SYS_eventfd2, [first, flags]);
    world.line(&format!("eventfd {first} {flags:o} = {result}"));
}

fn timer(world: &mut World) {
    let clock = world.random.pick(&[0, 1, 7, 4, 99]);
    let flags = libc::O_NONBLOCK as u64 | world.random.pick(&[0, 0, 1]);
    let result = world.call(libc::SYS_timerfd_create, [clock, flags]);
    world.line(&format!("timerfd {clock} {flags:o} = {result}"));
}

fn set_timer(world: &mut World) {
    let fd = descriptor(world);
    // Far away, or never.
    let seconds = world.random.pick(&[0, 100_000, u64::MAX]);
    let nanoseconds = world.random.pick(&[0, 0, 1_000_000_000]);
    let interval = world.random.pick(&[0, 5]);
    let new = world.words(STRUCT, &[interval, 0, seconds, nanoseconds, 0, 0, 0, 0]);
    let result = world.call(libc::SYS_timerfd_settime, [fd, 0, new, new + 32]);
    let was = world.desk.word(STRUCT + 32);
    let got = world.call(libc::SYS_timerfd_gettime, [fd, new]);
    let runs = world.desk.word(STRUCT + 16) > 0;
    world.line(&format!(
        "settime {fd} {interval} {seconds} {nanoseconds} = {result} {was}, gettime = {got} {runs}"
    ));
}

fn set(world: &mut World) {
    let flags = world.random.pick(&[0, libc::O_CLOEXEC as u64, 1]);
    let result = world.call(libc::SYS_epoll_create1, [flags]);
    world.line(&format!("epoll {flags:o} = {result}"));
}

fn control_set(world: &mut World) {
    let (set, fd) = (descriptor(world), descriptor(world).max(3));
    let what = world.random.pick(&[1, 1, 1, 2, 3, 7]);
    let events = world
        .random
        .pick(&[1, 4, 5, 0x8000_0001, 0x4000_0005, 0x1000_0001]);
    // struct epoll_event is packed: events, data.
    world.words(STRUCT, &[events | fd << 32, 0]);
    let at = if world.random.one_in(15) {
        BAD
    } else {
        DESK + STRUCT
    };
    let result = world.call(libc::SYS_epoll_ctl, [set, what, fd, at]);
    world.line(&format!(
        "epoll_ctl {set} {what} {fd} {events:x} {} = {result}",
        at == BAD
    ));
}

fn wait_set(world: &mut World) {
    let set = descriptor(world);
    let most = world.random.pick(&[8, 8, 8, 1, 0, u64::MAX]);
    let result = world.call(libc::SYS_epoll_pwait, [set, DESK + BUFFER, most, 0, 0, 8]);
    let mut found: Vec<(u32, u32)> = (0..u64::try_from(result).unwrap_or(0))
        .map(|at| BUFFER + at * 12)
        .map(|at| (world.half(at + 4), world.half(at)))
        .collect();
    found.sort_unstable();
    // Which of several are told of is not promised.
    let shown = if most == 1 { Vec::new() } else { found };
    world.line(&format!("epoll_wait {set} {most} = {result} {shown:x?}"));
}

fn pair(world: &mut World) {
    let kind = world.random.pick(&[1, 1, 2, 5, 3, 99]) | libc::O_NONBLOCK as u64;
    let family = world.random.pick(&[1, 1, 1, 1, 2, 99]);
    let result = world.call(libc::SYS_socketpair, [family, kind, 0, DESK + STRUCT]);
    let ends = match result {
        0 => (world.half(STRUCT), world.half(STRUCT + 4)),
        _ => (0, 0),
    };
    world.line(&format!("socketpair {family} {kind:o} = {result} {ends:?}"));
}

fn send(world: &mut World) {
    let fd = descriptor(world);
    let length = world.random.pick(&[0, 1, 10, 100, 3000]);
    let flags = world.random.pick(&[0, 0, 0x40, 0x4000, 0x1]);
    let bytes: Vec<u8> = (0..length).map(|at| (at * 7) as u8).collect();
    world.desk.put(BUFFER, &bytes);
    let result = world.call(libc::SYS_sendto, [fd, DESK + BUFFER, length, flags, 0, 0]);
    world.line(&format!("send {fd} {length} {flags:x} = {result}"));
}

fn receive(world: &mut World) {
    let fd = descriptor(world);
    let length = world.random.pick(&[0, 1, 10, 100, 3000]);
    // MSG_PEEK, MSG_TRUNC, MSG_DONTWAIT, MSG_OOB.
    let flags = world.random.pick(&[0, 0, 2, 0x20, 0x40, 1]);
    let result = world.call(libc::SYS_recvfrom, [fd, DESK + BUFFER, length, flags, 0, 0]);
    let read = length.min(u64::try_from(result).unwrap_or(0));
    let read = digest(&world.desk.get(BUFFER, read as usize));
    world.line(&format!("recv {fd} {length} {flags:x} = {result} {read:x}"));
}

fn socket_question(world: &mut World) {
    let fd = descriptor(world);
    match world.random.below(4) {
        0 => {
            let how = world.random.pick(&[0, 1, 2, 9]);
            let result = world.call(libc::SYS_shutdown, [fd, how]);
            world.line(&format!("shutdown {fd} {how} = {result}"));
        }
        1 => {
            // SO_TYPE, SO_ERROR, SO_DOMAIN, SO_ACCEPTCONN, SO_PASSCRED, none.
            let option = world.random.pick(&[3, 4, 39, 30, 16, 999]);
            let length = world.random.pick(&[4, 4, 1, 0]);
            let at = world.words(STRUCT, &[0, length]);
            let result = world.call(libc::SYS_getsockopt, [fd, 1, option, at, at + 8]);
            let (value, told) = (world.half(STRUCT), world.half(STRUCT + 8));
            world.line(&format!(
                "getsockopt {fd} {option} {length} = {result} {value} {told}"
            ));
        }
        2 => {
            let number = world
                .random
                .pick(&[libc::SYS_getsockname, libc::SYS_getpeername]);
            let length = world.random.pick(&[16, 2, 0, u64::from(u32::MAX)]);
            let at = world.words(STRUCT, &[0, length]);
            let result = world.call(number, [fd, at, at + 8]);
            let (family, told) = (world.half(STRUCT), world.half(STRUCT + 8));
            world.line(&format!(
                "name {number} {fd} {length} = {result} {family} {told}"
            ));
        }
        _ => {
            let backlog = world.random.pick(&[0, 5]);
            let result = world.call(libc::SYS_listen, [fd, backlog]);
            let accepted = world.call(libc::SYS_accept4, [fd, 0, 0, 0o4000]);
            world.line(&format!(
                "listen {fd} {backlog} = {result}, accept = {accepted}"
            ));
        }
    }
}

fn watch(world: &mut World) {
    match world.random.below(4) {
        0 => {
            let flags = libc::O_NONBLOCK as u64 | world.random.pick(&[0, 0, 1]);
            let result = world.call(libc::SYS_inotify_init1, [flags]);
            world.line(&format!("inotify {flags:o} = {result}"));
        }
        1 | 2 => {
            let fd = descriptor(world);
            let (address, shown) = path(world, PATH);
            // Changes, closings, makings; a folder only; once; more than there was.
            let mask =
                world
                    .random
                    .pick(&[0x2, 0x8, 0x300, 0x0100_0300, 0x8000_0002, 0x2000_0004, 0]);
            let result = world.call(libc::SYS_inotify_add_watch, [fd, address, mask]);
            world.line(&format!("watch {fd} {shown} {mask:x} = {result}"));
        }
        _ => {
            let (fd, which) = (descriptor(world), world.random.pick(&[0, 1, 2, 99]));
            let result = world.call(libc::SYS_inotify_rm_watch, [fd, which]);
            world.line(&format!("unwatch {fd} {which} = {result}"));
        }
    }
}

fn memory_file(world: &mut World) {
    let name = world.string(PATH, "memory");
    let flags = world.random.pick(&[0, 1, 2, 2, 0x10]);
    let result = world.call(libc::SYS_memfd_create, [name, flags]);
    world.line(&format!("memfd {flags:x} = {result}"));
}

fn seals(world: &mut World) {
    let fd = descriptor(world);
    let (command, seals) = match world.random.below(2) {
        0 => (1034, 0),
        // Sealing itself, shrinking, growing, writing.
        _ => (1033, world.random.pick(&[1, 2, 4, 8, 6, 0x100])),
    };
    let result = world.call(libc::SYS_fcntl, [fd, command, seals]);
    world.line(&format!("seals {fd} {command} {seals:x} = {result}"));
}

fn splice(world: &mut World) {
    let (from, to) = (descriptor(world).max(3), descriptor(world).max(3));
    let length = world.random.pick(&[0, 10, 5000]);
    let flags = world.random.pick(&[2, 2, 3, 0x100 | 2]);
    if world.random.one_in(3) {
        let result = world.call(libc::SYS_tee, [from, to, length, flags]);
        return world.line(&format!("tee {from} {to} {length} {flags:x} = {result}"));
    }
    let at = world.random.pick(&[0, 3, u64::MAX]);
    let place = world.words(STRUCT, &[at]);
    let place = if world.random.one_in(2) { place } else { 0 };
    let result = world.call(libc::SYS_splice, [from, place, to, 0, length, flags]);
    let after = world.desk.word(STRUCT);
    world.line(&format!(
        "splice {from} {} {at} {to} {length} {flags:x} = {result} {after}",
        place != 0
    ));
}

fn pipe_size(world: &mut World) {
    let fd = descriptor(world);
    let (command, size) = match world.random.below(2) {
        0 => (1032, 0),
        _ => (
            1031,
            world.random.pick(&[0, 1, 4096, 5000, 100_000, 1 << 30]),
        ),
    };
    let result = world.call(libc::SYS_fcntl, [fd, command, size]);
    world.line(&format!("pipe size {fd} {command} {size} = {result}"));
}

fn locks(world: &mut World) {
    let fd = descriptor(world);
    match world.random.below(3) {
        0 => {
            let how = world.random.pick(&[5, 6, 8, 4, 7]);
            let result = world.call(libc::SYS_flock, [fd, how]);
            world.line(&format!("flock {fd} {how} = {result}"));
        }
        1 => {
            let kind = world.random.pick(&[0, 1, 2_u64]);
            let (start, length) = (world.random.below(100), world.random.below(50));
            let lock = world.words(STRUCT, &[kind, start, length, 0]);
            // F_OFD_SETLK, F_OFD_GETLK.
            let command = world.random.pick(&[37, 36]);
            let result = world.call(libc::SYS_fcntl, [fd, command, lock]);
            let found = (world.half(STRUCT) & 0xffff, world.desk.word(STRUCT + 8));
            world.line(&format!(
                "own lock {fd} {command} {kind} {start} {length} = {result} {found:?}"
            ));
        }
        _ => {
            let advice = world.random.pick(&[0, 1, 4, 9]);
            let result = world.call(libc::SYS_fadvise64, [fd, 0, 100, advice]);
            let ahead = world.call(libc::SYS_readahead, [fd, 0, 100]);
            let range = world.call(libc::SYS_sync_file_range, [fd, 0, 100, advice]);
            world.line(&format!("advise {fd} {advice} = {result} {ahead} {range}"));
        }
    }
}
