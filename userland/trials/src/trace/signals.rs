//! Steps on signals that a program sends itself.
//!
//! Law: a signal that would end the program is not sent on purpose; one that does so all the same (its
//! handler was for once) is part of the trace.

use rt::raw::{DESK, Disposition, dispose, libc};

use super::world::{SIGNAL_STACK, STRUCT, World};

const SIGNALS: [u64; 11] = [10, 12, 14, 15, 17, 18, 23, 28, 34, 35, 64];
/// What nobody minds by default.
const BENIGN: [u64; 4] = [17, 18, 23, 28];

/// What is known to be done about each signal.
#[derive(Debug, Clone)]
pub(crate) struct Known([bool; 65]);

impl Default for Known {
    fn default() -> Known {
        let mut harmless = [false; 65];
        for signal in BENIGN {
            harmless[signal as usize] = true;
        }
        Known(harmless)
    }
}

fn set(world: &mut World) -> u64 {
    let mut set = 0;
    for _ in 0..world.random.below(4) {
        set |= 1 << (world.random.pick(&SIGNALS) - 1);
    }
    set
}

pub(super) fn step(world: &mut World) {
    match world.random.below(16) {
        0..=3 => act(world),
        4 => ask(world),
        5 | 6 => mask(world),
        7..=10 => send(world),
        11 => pending(world),
        12 => take(world),
        13 => suspend(world),
        14 => stack(world),
        _ => alarm(world),
    }
}

fn act(world: &mut World) {
    let signal = if world.random.one_in(20) {
        9
    } else {
        world.random.pick(&SIGNALS)
    };
    let benign = BENIGN.contains(&signal);
    let what = match world.random.below(4) {
        0 => Disposition::Ignore,
        1 if benign => Disposition::Default,
        _ => Disposition::Note,
    };
    let bits = [
        libc::SA_RESTART as u64,
        libc::SA_NODEFER as u64,
        libc::SA_ONSTACK as u64,
    ];
    let mut flags = world.random.some_of(&bits) as i32;
    if world.random.one_in(10) && benign {
        flags |= libc::SA_RESETHAND;
    }
    if signal == 17 {
        // When a child ends, a wait that is interrupted begins again.
        flags |= libc::SA_RESTART;
    }
    let mask = set(world);
    let result = dispose(signal as i32, what, flags, mask);
    if result == 0 {
        world.signals.0[signal as usize] = benign || what != Disposition::Default;
    }
    world.line(&format!(
        "sigaction {signal} {what:?} {flags:x} {mask:x} = {result}"
    ));
}

fn ask(world: &mut World) {
    let signal = world.random.pick(&SIGNALS);
    world.words(STRUCT, &[0; 4]);
    let result = world.call(libc::SYS_rt_sigaction, [signal, 0, DESK + STRUCT, 8]);
    let handler = world.desk.word(STRUCT).min(2);
    // Every C library has SA_RESTORER.
    let flags = world.desk.word(STRUCT + 8) & !0x0400_0000;
    let mask = world.desk.word(STRUCT + 24);
    world.line(&format!(
        "sigaction {signal}? = {result} {handler} {flags:x} {mask:x}"
    ));
}

fn mask(world: &mut World) {
    let how = world.random.pick(&[0, 1, 2, 2, 3]);
    let signals = set(world);
    let words = world.words(STRUCT, &[signals, 0]);
    let result = world.call(libc::SYS_rt_sigprocmask, [how, words, words + 8, 8]);
    let old = world.desk.word(STRUCT + 8);
    world.line(&format!("sigprocmask {how} {signals:x} = {result} {old:x}"));
}

/// To itself, by one of the ways.
fn send(world: &mut World) {
    let known: Vec<u64> = SIGNALS
        .into_iter()
        .filter(|signal| world.signals.0[*signal as usize])
        .collect();
    let signal = if world.random.one_in(15) {
        world.random.pick(&[0, 65, 1000])
    } else {
        world.random.pick(&known)
    };
    let pid = world.call(libc::SYS_getpid, []).cast_unsigned();
    let (name, result) = match world.random.below(4) {
        0 => ("kill", world.call(libc::SYS_kill, [pid, signal])),
        1 => ("tgkill", world.call(libc::SYS_tgkill, [pid, pid, signal])),
        2 => ("tkill", world.call(libc::SYS_tkill, [pid, signal])),
        _ => {
            let value = world.random.below(1000);
            let code = u64::from(libc::SI_QUEUE.cast_unsigned());
            let user = world.call(libc::SYS_getuid, []).cast_unsigned();
            let info = [signal, code, pid | user << 32, value];
            let info = world.words(STRUCT, &info);
            (
                "sigqueue",
                world.call(libc::SYS_rt_sigqueueinfo, [pid, signal, info]),
            )
        }
    };
    world.line(&format!("{name} {signal} = {result}"));
}

fn pending(world: &mut World) {
    let result = world.call(libc::SYS_rt_sigpending, [DESK + STRUCT, 8]);
    let set = world.desk.word(STRUCT);
    world.line(&format!("sigpending = {result} {set:x}"));
}

fn take(world: &mut World) {
    let signals = set(world);
    let words = world.words(STRUCT, &[signals, 0, 0]);
    let info = DESK + STRUCT + 64;
    let result = world.call(libc::SYS_rt_sigtimedwait, [words, info, words + 8, 8]);
    let code = if result > 0 {
        world.half(STRUCT + 64 + 8)
    } else {
        0
    };
    world.line(&format!("sigtimedwait {signals:x} = {result} {code:x}"));
}

/// Waits for a signal that is already there.
fn suspend(world: &mut World) {
    let signal = world.random.pick(&[10_u64, 12, 34]);
    if dispose(signal as i32, Disposition::Note, 0, 0) == 0 {
        world.signals.0[signal as usize] = true;
    }
    let words = world.words(STRUCT, &[1 << (signal - 1), 0]);
    world.call(libc::SYS_rt_sigprocmask, [0, words, words + 8, 8]);
    let old = world.desk.word(STRUCT + 8);
    let pid = world.call(libc::SYS_getpid, []).cast_unsigned();
    world.call(libc::SYS_kill, [pid, signal]);
    world.perhaps_move();
    let words = world.words(STRUCT, &[old & !(1 << (signal - 1))]);
    let result = world.call(libc::SYS_rt_sigsuspend, [words, 8]);
    let words = world.words(STRUCT, &[old]);
    world.call(libc::SYS_rt_sigprocmask, [2, words, 0, 8]);
    world.line(&format!("sigsuspend {signal} = {result}"));
}

fn stack(world: &mut World) {
    let flags = world.random.pick(&[0, 0, 2, 99]);
    let length = world.random.pick(&[0x8000, 1000]);
    let words = world.words(STRUCT, &[DESK + SIGNAL_STACK, flags, length, 0, 0, 0]);
    let result = world.call(libc::SYS_sigaltstack, [words, words + 24]);
    let (flags_before, length_before) =
        (world.desk.word(STRUCT + 32), world.desk.word(STRUCT + 40));
    // What the Rust runtime had for its own stack overflows is not part of the program.
    let before = (
        flags_before,
        if length_before == 0x8000 { 0x8000 } else { 0 },
    );
    world.line(&format!(
        "sigaltstack {flags} {length} = {result} {before:?}"
    ));
}

fn alarm(world: &mut World) {
    world.call(libc::SYS_alarm, [1000]);
    world.perhaps_move();
    let left = world.call(libc::SYS_alarm, [0]);
    world.line(&format!(
        "alarm, about 1000 left: {}",
        (900..=1000).contains(&left)
    ));
}
