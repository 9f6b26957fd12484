//! Steps with children: they do something, stop, go on, end, and are waited for in every way.
//!
//! Law: parent and child take turns, by pipes and by waiting, so that their lines come in one order.

use rt::raw::{DESK, libc};

use super::world::{STRUCT, TRACE_FD, World};

/// Children of children of the program make none.
const DEPTH_MAX: u32 = 2;

pub(super) fn step(world: &mut World) {
    if world.depth >= DEPTH_MAX {
        return super::streams::step(world);
    }
    match world.random.below(8) {
        0..=2 => child(world),
        3 | 4 => conversation(world),
        5 => replaced(world),
        6 => killed(world),
        _ => nobody(world),
    }
}

/// Waits for `child` and says how it ended.
pub(super) fn status_of(world: &mut World, child: i64) -> String {
    let Ok(pid) = u64::try_from(child) else {
        return format!("no child {child}");
    };
    // Who ignores SIGCHLD gets no status.
    world.words(STRUCT, &[0]);
    let got = world.call(libc::SYS_wait4, [pid, DESK + STRUCT, 0, 0]);
    let status = world.half(STRUCT);
    // A core dump is a matter of limits and settings.
    format!("{} {:x}", got == child, status & !0x80)
}

/// A child that makes a few steps of its own.
fn child(world: &mut World) {
    let steps = 1 + world.random.below(6);
    let code = world.random.below(256);
    let how = world.random.below(5);
    world.line(&format!("fork of {steps} steps"));
    world.flush();
    let pid = world.call(libc::SYS_fork, []);
    if pid == 0 {
        world.become_child();
        for _ in 0..steps {
            super::step(world);
        }
        world.line("child ends");
        world.flush();
        world.call(libc::SYS_exit_group, [code]);
    }
    // What the child has drawn the parent draws no more.
    world.random.next();
    let Ok(number) = u64::try_from(pid) else {
        return world.line(&format!("fork = {pid}"));
    };
    // Who ignores SIGCHLD gets no status.
    world.words(STRUCT, &[0]);
    let shown = match how {
        0 | 1 => status_of(world, pid),
        2 => {
            let got = world.call(libc::SYS_wait4, [u64::MAX, DESK + STRUCT, 0, 0]);
            format!("any {} {:x}", got == pid, world.half(STRUCT))
        }
        3 => waited_by_id(world, number, libc::WEXITED as u64),
        _ => {
            let looks = (libc::WEXITED | libc::WNOWAIT) as u64;
            let first = waited_by_id(world, number, looks);
            world.perhaps_move();
            let nohang = libc::WNOHANG as u64;
            let got = world.call(libc::SYS_wait4, [number, DESK + STRUCT, nohang, 0]);
            let again = world.call(libc::SYS_wait4, [number, DESK + STRUCT, nohang, 0]);
            format!("{first}, then {} {again}", got == pid)
        }
    };
    world.line(&format!("wait{how} = {shown}"));
}

/// waitid, with what it says of the child.
fn waited_by_id(world: &mut World, pid: u64, options: u64) -> String {
    world.words(STRUCT, &[0; 16]);
    let result = world.call(libc::SYS_waitid, [1, pid, DESK + STRUCT, options, 0]);
    let (signal, code) = (world.half(STRUCT), world.half(STRUCT + 8));
    let who = u64::from(world.half(STRUCT + 16)) == pid;
    let status = world.half(STRUCT + 24);
    format!("{result} {signal} {code} {who} {status}")
}

/// A child that does what it is told through a pipe, and answers through another. Stops and
/// continuations are told to the parent when they please, so it hears of them afterwards.
fn conversation(world: &mut World) {
    let words = world.words(STRUCT, &[1 << (libc::SIGCHLD - 1), 0]);
    world.call(libc::SYS_rt_sigprocmask, [0, words, words + 8, 8]);
    let old = world.desk.word(STRUCT + 8);
    let text = told_and_heard(world);
    let words = world.words(STRUCT, &[old]);
    world.call(libc::SYS_rt_sigprocmask, [2, words, 0, 8]);
    world.line(&text);
}

fn told_and_heard(world: &mut World) -> String {
    let (down, up) = (plain_pipe(world), plain_pipe(world));
    let (Some(down), Some(up)) = (down, up) else {
        // One may have been made: it waits, and no later step is to find it.
        down.or(up)
            .into_iter()
            .flatten()
            .for_each(|fd| shut(world, fd));
        return "no pipes for a conversation".to_owned();
    };
    world.flush();
    let pid = world.call(libc::SYS_fork, []);
    if pid == 0 {
        world.become_child();
        obey(world, down, up);
    }
    world.random.next();
    let Ok(number) = u64::try_from(pid) else {
        [down, up]
            .into_iter()
            .flatten()
            .for_each(|fd| shut(world, fd));
        return format!("fork = {pid}");
    };
    shut(world, up[1]);
    // Once it answers it has undone what the program did about signals.
    tell(world, down, b'e');
    let mut told = vec![format!("begins {}", hear(world, up))];
    for _ in 0..world.random.below(4) {
        world.perhaps_move();
        let word = world.random.pick(b"esS");
        let answer = match word {
            b'e' => {
                tell(world, down, b'e');
                hear(world, up).to_string()
            }
            _ => stop_and_go(world, number, [down, up], word),
        };
        told.push(format!("{} {answer}", char::from(word)));
    }
    let end = world.random.pick(b"xkc");
    match end {
        b'x' => tell(world, down, b'x'),
        b'k' => drop(world.call(libc::SYS_kill, [number, 15])),
        _ => {}
    }
    shut(world, down[1]);
    shut(world, down[0]);
    let status = status_of(world, pid);
    let rest = hear(world, up);
    shut(world, up[0]);
    let end = char::from(end);
    format!("conversation {told:?} {end} = {status} {rest}")
}

fn plain_pipe(world: &mut World) -> Option<[u64; 2]> {
    let result = world.call(libc::SYS_pipe2, [DESK + STRUCT, 0]);
    (result == 0).then(|| [world.half(STRUCT).into(), world.half(STRUCT + 4).into()])
}

fn shut(world: &mut World, fd: u64) {
    world.call(libc::SYS_close, [fd]);
}

fn tell(world: &mut World, pipe: [u64; 2], word: u8) {
    world.desk.put(STRUCT, &[word]);
    world.call(libc::SYS_write, [pipe[1], DESK + STRUCT, 1]);
}

fn hear(world: &mut World, pipe: [u64; 2]) -> i64 {
    let result = world.call(libc::SYS_read, [pipe[0], DESK + STRUCT, 1]);
    if result == 1 {
        return i64::from(world.desk.get(STRUCT, 1)[0]);
    }
    result
}

/// The child's side: never returns.
fn obey(world: &mut World, down: [u64; 2], up: [u64; 2]) {
    // The program may have ignored or blocked what the conversation is about.
    for signal in [15, 18] {
        let _ = rt::raw::dispose(signal, rt::raw::Disposition::Default, 0, 0);
    }
    let words = world.words(STRUCT, &[0]);
    world.call(libc::SYS_rt_sigprocmask, [2, words, 0, 8]);
    shut(world, down[1]);
    shut(world, up[0]);
    loop {
        world.perhaps_move();
        match hear(world, down) {
            101 => tell(world, up, b'E'),
            115 => {
                let pid = world.call(libc::SYS_getpid, []).cast_unsigned();
                world.call(libc::SYS_kill, [pid, libc::SIGSTOP as u64]);
                tell(world, up, b'G');
            }
            120 => drop(world.call(libc::SYS_exit_group, [7])),
            // A signal that came between: once more.
            result if result == -i64::from(libc::EINTR) => {}
            _ => drop(world.call(libc::SYS_exit_group, [8])),
        }
    }
}

/// The child stops, by its own signal (`s`) or by the parent's, and goes on.
fn stop_and_go(world: &mut World, pid: u64, [down, up]: [[u64; 2]; 2], word: u8) -> String {
    if word == b's' {
        tell(world, down, b's');
    } else {
        world.call(libc::SYS_kill, [pid, libc::SIGSTOP as u64]);
    }
    let stopped = if world.random.one_in(2) {
        let untraced = libc::WUNTRACED as u64;
        let got = world.call(libc::SYS_wait4, [pid, DESK + STRUCT, untraced, 0]);
        format!("{} {:x}", got == pid.cast_signed(), world.half(STRUCT))
    } else {
        waited_by_id(world, pid, libc::WSTOPPED as u64)
    };
    world.perhaps_move();
    let again = world.call(
        libc::SYS_wait4,
        [
            pid,
            DESK + STRUCT,
            (libc::WUNTRACED | libc::WNOHANG) as u64,
            0,
        ],
    );
    world.call(libc::SYS_kill, [pid, libc::SIGCONT as u64]);
    let continued = waited_by_id(world, pid, libc::WCONTINUED as u64);
    // It says when it goes on by itself; so its end cannot overtake that.
    let says = if word == b's' { hear(world, up) } else { 0 };
    format!("{stopped}, {again}, {continued}, {says}")
}

/// A child that becomes another program, which reports what it has got.
fn replaced(world: &mut World) {
    let argument = world.random.pick(&["", "one", "two words", "\u{e4}\u{f6}"]);
    world.flush();
    let pid = world.call(libc::SYS_fork, []);
    if pid == 0 {
        world.become_child();
        world.perhaps_move();
        let fds = [libc::F_SETFD as u64, 0];
        world.call(libc::SYS_fcntl, [TRACE_FD, fds[0], fds[1]]);
        let path = world.string(0x3000, "/proc/self/exe");
        let texts = ["trials", "report", argument, "NAME=value"];
        let mut pointers = Vec::new();
        for (at, text) in texts.into_iter().enumerate() {
            pointers.push(world.string(0x3100 + at as u64 * 64, text));
        }
        pointers.insert(3, 0);
        pointers.push(0);
        let list = world.words(0x3800, &pointers);
        let result = world.call(libc::SYS_execve, [path, list, list + 32]);
        world.line(&format!("execve = {result}"));
        world.flush();
        world.call(libc::SYS_exit_group, [9]);
    }
    world.random.next();
    let status = status_of(world, pid);
    world.line(&format!("exec {argument:?} = {status}"));
}

/// A child that is ended by a signal while it waits for nothing.
fn killed(world: &mut World) {
    let signal = world.random.pick(&[9, 15, 1, 6, 10, 40]);
    world.flush();
    let pid = world.call(libc::SYS_fork, []);
    if pid == 0 {
        world.become_child();
        let _ = rt::raw::dispose(signal as i32, rt::raw::Disposition::Default, 0, 0);
        let words = world.words(STRUCT, &[0]);
        world.call(libc::SYS_rt_sigprocmask, [2, words, 0, 8]);
        loop {
            world.perhaps_move();
            world.call(libc::SYS_pause, []);
        }
    }
    world.random.next();
    if let Ok(number) = u64::try_from(pid) {
        world.perhaps_move();
        // SIGKILL, unless the child has unblocked and is sure to die of the other.
        world.call(
            libc::SYS_kill,
            [number, if signal == 9 { 9 } else { signal }],
        );
        if signal != 9 {
            // What the child ignored before it got that far does not end it.
            let nohang = libc::WNOHANG as u64;
            world.words(STRUCT, &[0]);
            for _ in 0..2000 {
                if world.call(libc::SYS_wait4, [number, DESK + STRUCT, nohang, 0]) != 0 {
                    let status = world.half(STRUCT) & !0x80;
                    return world.line(&format!("killed {signal} = {status:x}"));
                }
                world.call(libc::SYS_kill, [number, signal]);
                let words = world.words(STRUCT + 64, &[0, 1_000_000]);
                world.call(libc::SYS_nanosleep, [words, 0]);
            }
        }
    }
    let status = status_of(world, pid);
    world.line(&format!("killed {signal} = {status}"));
}

/// Nobody to wait for, and nobody to signal.
fn nobody(world: &mut World) {
    let wait = world.call(libc::SYS_wait4, [u64::MAX, DESK + STRUCT, 0, 0]);
    let options = world.random.pick(&[0, libc::WEXITED as u64, 1 << 20]);
    let by_id = world.call(libc::SYS_waitid, [0, 0, DESK + STRUCT, options, 0]);
    let kill = world.call(libc::SYS_kill, [0x7fff_fffe, 0]);
    world.line(&format!("nobody {options:x} = {wait} {by_id} {kill}"));
}
