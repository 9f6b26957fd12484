//! Steps of all other kinds: who one is, limits, names, clocks.

use rt::raw::{DESK, libc};

use super::world::{BUFFER, PATH, STRUCT, World};

pub(super) fn step(world: &mut World) {
    match world.random.below(14) {
        0 => identity(world),
        1 => groups(world),
        2 => name(world),
        3 | 4 => limit(world),
        5 => priority(world),
        6 => clock(world),
        7 => sleep(world),
        8 => umask(world),
        9 => become_other(world),
        10 => random_bytes(world),
        11 => constants(world),
        12 => unknown(world),
        _ => session(world),
    }
}

fn identity(world: &mut World) {
    let pid = world.call(libc::SYS_getpid, []);
    let tid = world.call(libc::SYS_gettid, []);
    let users = [
        world.call(libc::SYS_getuid, []),
        world.call(libc::SYS_geteuid, []),
        world.call(libc::SYS_getgid, []),
        world.call(libc::SYS_getegid, []),
    ];
    world.line(&format!(
        "identity {} {}",
        pid == tid,
        users.iter().all(|id| *id == users[0])
    ));
}

fn groups(world: &mut World) {
    let pid = world.call(libc::SYS_getpid, []);
    let result = world.call(libc::SYS_setpgid, [0, 0]);
    let group = world.call(libc::SYS_getpgrp, []);
    let of = world.call(libc::SYS_getpgid, [0]);
    let wrong = world.call(libc::SYS_setpgid, [0, u64::MAX]);
    world.line(&format!(
        "setpgid = {result} {} {} {wrong}",
        group == pid,
        of == group
    ));
}

fn session(world: &mut World) {
    let pid = world.call(libc::SYS_getpid, []);
    let group = world.call(libc::SYS_getpgrp, []);
    // A leader of a group cannot begin a session.
    let result = world.call(libc::SYS_setsid, []);
    let of = world.call(libc::SYS_getsid, [0]);
    let shown = if result > 0 {
        i64::from(result == pid)
    } else {
        result
    };
    world.line(&format!("setsid = {} {shown} {}", group == pid, of == pid));
}

fn name(world: &mut World) {
    let text = world.random.pick(&["x", "a longer name than fits", ""]);
    let address = world.string(PATH, text);
    let set = world.call(libc::SYS_prctl, [15, address]);
    world.perhaps_move();
    let get = world.call(libc::SYS_prctl, [16, DESK + STRUCT]);
    let name = world.desk.get(STRUCT, 16);
    let name = String::from_utf8_lossy(&name)
        .trim_end_matches('\0')
        .to_owned();
    let wrong = world.call(libc::SYS_prctl, [9999]);
    world.line(&format!("prctl = {set} {get} {name} {wrong}"));
}

fn limit(world: &mut World) {
    // RLIMIT_NOFILE is felt; RLIMIT_CORE and RLIMIT_MEMLOCK are only kept.
    let which = world.random.pick(&[7, 7, 4, 8, 99]);
    let soft = world.random.pick(&[8, 12, 16, 64, 1 << 20]);
    let words = world.words(STRUCT, &[0, 0]);
    let get = world.call(libc::SYS_prlimit64, [0, which, 0, words]);
    let hard = world.desk.word(STRUCT + 8);
    let words = world.words(STRUCT, &[soft.min(hard), hard]);
    let result = world.call(libc::SYS_prlimit64, [0, which, words, 0]);
    let swapped = world.words(STRUCT, &[5, 4]);
    let wrong = world.call(libc::SYS_prlimit64, [0, which, swapped, 0]);
    world.line(&format!("prlimit {which} {soft} = {get} {result} {wrong}"));
}

fn priority(world: &mut World) {
    let nice = world.random.below(5);
    let result = world.call(libc::SYS_setpriority, [0, 0, nice]);
    let get = world.call(libc::SYS_getpriority, [0, 0]);
    let wrong = world.call(libc::SYS_setpriority, [9, 0, 0]);
    // Once lower, it does not rise again.
    let shown = if result == 0 { get } else { result };
    world.line(&format!("setpriority {nice} = {shown} {wrong}"));
}

fn clock(world: &mut World) {
    let id = world.random.pick(&[0, 1, 4, 7, 2, 77]);
    world.words(STRUCT, &[0; 4]);
    let first = world.call(libc::SYS_clock_gettime, [id, DESK + STRUCT]);
    world.perhaps_move();
    let second = world.call(libc::SYS_clock_gettime, [id, DESK + STRUCT + 16]);
    let time = |at| {
        (
            world.desk.word(STRUCT + at),
            world.desk.word(STRUCT + at + 8),
        )
    };
    let ordered = time(0) <= time(16);
    world.line(&format!("clock {id} = {first} {second} {ordered}"));
}

fn sleep(world: &mut World) {
    let part = world.random.pick(&[0, 100_000, 1_000_000_000]);
    let span = world.words(STRUCT, &[0, part]);
    let result = world.call(libc::SYS_nanosleep, [span, 0]);
    let wrong = world.call(libc::SYS_clock_nanosleep, [77, 0, span, 0]);
    world.line(&format!("nanosleep {part} = {result} {wrong}"));
}

fn umask(world: &mut World) {
    let mask = world.random.pick(&[0o22, 0o77, 0, 0o7777]);
    let result = world.call(libc::SYS_umask, [mask]);
    world.line(&format!("umask {mask:o} = {result:o}"));
}

/// What only user 0 may.
fn become_other(world: &mut World) {
    let (name, number) = world.random.pick(&[
        ("setuid", libc::SYS_setuid),
        ("setgid", libc::SYS_setgid),
        ("setreuid", libc::SYS_setreuid),
    ]);
    let result = world.call(number, [0, 0]);
    let groups = world.call(libc::SYS_setgroups, [0, 0]);
    world.line(&format!("{name} = {result} {groups}"));
}

fn random_bytes(world: &mut World) {
    let length = world.random.pick(&[0, 1, 256]);
    let flags = world.random.pick(&[0, 1, 2, 64]);
    let result = world.call(libc::SYS_getrandom, [DESK + BUFFER, length, flags]);
    world.line(&format!("getrandom {length} {flags} = {result}"));
}

fn constants(world: &mut World) {
    let answers = [
        world.call(libc::SYS_sched_get_priority_max, [0]),
        world.call(libc::SYS_sched_get_priority_max, [1]),
        world.call(libc::SYS_sched_get_priority_min, [2]),
        world.call(libc::SYS_sched_get_priority_min, [77]),
        world.call(libc::SYS_sched_yield, []),
        world.call(libc::SYS_sched_getscheduler, [0]),
        world.call(libc::SYS_personality, [0xffff_ffff]),
        world.call(libc::SYS_sync, []),
    ];
    world.line(&format!("constants {answers:?}"));
}

fn unknown(world: &mut World) {
    let number = world.random.pick(&[4000, 500]);
    let result = world.call(number, []);
    world.line(&format!("call {number} = {result}"));
}
