//! CPU time: what a process has used goes along with it, and its timers by that fire in time and once.
//!
//! Law: lower bounds are exact, upper ones generous: a processor is shared with others, but CPU time is
//! one's own.

use rt::process::{Ended, start, wait_for};
use rt::raw::{DESK, Desk, Disposition, came, dispose, libc};

use crate::moves::{Moves, go, tell};
use crate::{Doing, Verdict, ensure};

const MS: u64 = 1_000_000;
/// By how much more than asked for a timer by CPU time may be late, ns of CPU time.
const LATE: u64 = 200 * MS;
const PROCESS: u64 = 2;
const THREAD: u64 = 3;

/// The time of a clock, ns.
fn clock(desk: &mut Desk, clock: u64) -> Result<u64, String> {
    let result = desk.call(libc::SYS_clock_gettime, [clock, DESK, 0, 0, 0, 0]);
    ensure!(result == 0, "clock_gettime({clock}) gave {result}");
    Ok(desk.word(0) * 1000 * MS + desk.word(8))
}

/// Uses so much CPU time, ns; stops earlier when a signal has come. What it took.
fn burn(desk: &mut Desk, span: u64) -> Result<u64, String> {
    let begin = clock(desk, PROCESS)?;
    loop {
        for step in 0..2000_u64 {
            std::hint::black_box(step);
        }
        let used = clock(desk, PROCESS)? - begin;
        if used >= span {
            return Ok(used);
        }
    }
}

/// Seconds and the rest of a `struct itimerspec` or, with another unit, `itimerval`: interval first.
fn setting(interval: u64, first: u64, unit: u64) -> Vec<u8> {
    [interval, first]
        .iter()
        .flat_map(|ns| [ns / (1000 * MS), ns % (1000 * MS) / unit])
        .flat_map(u64::to_le_bytes)
        .collect()
}

/// The clocks never go back, and a child's time arrives with it.
pub(crate) fn clocks(moves: &mut Moves) -> Verdict {
    let mut desk = Desk::map().ok_or("no desk")?;
    while moves.more() {
        let before = [clock(&mut desk, PROCESS)?, clock(&mut desk, THREAD)?];
        moves.point()?;
        burn(&mut desk, 20 * MS)?;
        let after = [clock(&mut desk, PROCESS)?, clock(&mut desk, THREAD)?];
        for (before, after) in before.iter().zip(after) {
            let passed = after.saturating_sub(*before);
            ensure!(
                (20 * MS..20 * MS + 10 * LATE).contains(&passed),
                "the clock went from {before} to {after}"
            );
        }
        let nodes = [moves.take(), moves.take()];
        let child = start(|| {
            let mut work = || {
                let begin = clock(&mut desk, PROCESS)?;
                ensure!(begin < 10 * LATE, "a child begins with {begin} ns");
                go(nodes[0].as_deref())?;
                burn(&mut desk, 30 * MS)?;
                go(nodes[1].as_deref())?;
                burn(&mut desk, 30 * MS).map(drop)
            };
            tell(work())
        })
        .doing("fork")?;
        let result = desk.call(
            libc::SYS_wait4,
            [u64::from(child.unsigned_abs()), DESK, 0, DESK + 64, 0, 0],
        );
        ensure!(result == i64::from(child), "wait4 gave {result}");
        ensure!(desk.word(0) & 0xffff == 0, "the child failed");
        // User and system time, seconds and microseconds each.
        let word = |at: u64| desk.word(64 + at * 8);
        let used = (word(0) + word(2)) * 1_000_000 + word(1) + word(3);
        ensure!(
            (60_000..2_000_000).contains(&used),
            "the child used {used} us"
        );
        ensure!(word(4) > 0, "the child had no memory");
    }
    Ok(())
}

/// Timers by CPU time: once, while the process moves; and not by the time that passes.
pub(crate) fn timers(moves: &mut Moves) -> Verdict {
    const PROF: u64 = 2;
    const AFTER: u64 = 60 * MS;
    let mut desk = Desk::map().ok_or("no desk")?;
    for signal in [libc::SIGPROF, rt::SIGUSR1] {
        let noted = dispose(signal, Disposition::Note, libc::SA_RESTART, 0);
        ensure!(noted == 0, "sigaction gave {noted}");
    }
    let mut event = [0; 64];
    event[8] = rt::SIGUSR1.to_le_bytes()[0];
    desk.put(128, &event);
    let id = {
        let words = [PROCESS, DESK + 128, DESK, 0, 0, 0];
        let result = desk.call(libc::SYS_timer_create, words);
        ensure!(result == 0, "timer_create gave {result}");
        desk.word(0) & 0xffff_ffff
    };
    while moves.more() {
        desk.put(256, &setting(0, AFTER, 1000));
        let result = desk.call(libc::SYS_setitimer, [PROF, DESK + 256, 0, 0, 0, 0]);
        ensure!(result == 0, "setitimer gave {result}");
        desk.put(256, &setting(0, AFTER, 1));
        let result = desk.call(libc::SYS_timer_settime, [id, 0, DESK + 256, 0, 0, 0]);
        ensure!(result == 0, "timer_settime gave {result}");
        burn(&mut desk, AFTER / 3)?;
        moves.point()?;
        std::thread::sleep(std::time::Duration::from_millis(50));
        let early = came();
        // Moving costs CPU time, too, if not much; and a host that is busy may take some between the two settings, so
        // that one of them has expired and the other has not.
        let used = desk.call(libc::SYS_getitimer, [PROF, DESK + 256, 0, 0, 0, 0]);
        ensure!(used == 0, "getitimer gave {used}");
        let left_of_prof = desk.word(256 + 16) * 1000 * MS + desk.word(256 + 24) * 1000;
        let used = desk.call(libc::SYS_timer_gettime, [id, DESK + 256, 0, 0, 0, 0]);
        ensure!(used == 0, "timer_gettime gave {used}");
        let left_of_timer = desk.word(256 + 16) * 1000 * MS + desk.word(256 + 24);
        for one in &early {
            let left = match one.signal {
                libc::SIGPROF => left_of_prof,
                _ => left_of_timer,
            };
            ensure!(left == 0, "{one:?} came with {left} ns left");
        }
        burn(&mut desk, AFTER + LATE)?;
        let mut all = early;
        all.extend(came());
        let mut found: Vec<i32> = all.iter().map(|came| came.signal).collect();
        found.sort_unstable();
        ensure!(
            found == [rt::SIGUSR1, libc::SIGPROF],
            "the signals {found:?} came"
        );
    }
    Ok(())
}

/// The limit of CPU time: a warning, and the end.
pub(crate) fn limit(moves: &mut Moves) -> Verdict {
    while moves.more() {
        let nodes: Vec<Option<String>> = (0..10).map(|_| moves.take()).collect();
        let child = start(|| {
            let work = || {
                let mut desk = Desk::map().ok_or("no desk")?;
                let noted = dispose(libc::SIGXCPU, Disposition::Note, 0, 0);
                ensure!(noted == 0, "sigaction gave {noted}");
                desk.put(0, &[1_u64.to_le_bytes(), 2_u64.to_le_bytes()].concat());
                let limit = u64::from(libc::RLIMIT_CPU);
                let result = desk.call(libc::SYS_setrlimit, [limit, DESK, 0, 0, 0, 0]);
                ensure!(result == 0, "setrlimit gave {result}");
                for node in &nodes {
                    burn(&mut desk, 120 * MS)?;
                    go(node.as_deref())?;
                }
                let found = came();
                if found.len() != 1 {
                    let used = clock(&mut desk, PROCESS)?;
                    desk.call(libc::SYS_getrlimit, [limit, DESK, 0, 0, 0, 0]);
                    let soft = desk.word(0);
                    burn(&mut desk, 50 * MS)?;
                    let later = came();
                    return Err(format!(
                        "{found:?} came, and {later:?} later; {used} ns were used, and the limit is {soft} s"
                    ));
                }
                burn(&mut desk, 2000 * MS)?;
                Err("the limit was exceeded".to_owned())
            };
            tell(work())
        })
        .doing("fork")?;
        let ended = wait_for(child).doing("wait")?;
        ensure!(
            ended == Ended::Signalled(rt::SIGKILL),
            "the child ended with {ended:?}"
        );
        moves.point()?;
    }
    Ok(())
}
