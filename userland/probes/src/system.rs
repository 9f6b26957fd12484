//! The system: what it says about itself and the process, and how it takes nonsense.
//!
//! Law: these answers do not depend on where the process runs.

use std::fs::read;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;

use rt::raw::{DESK, Desk, libc};
use rt::system::{BAD_ADDRESSES, BufferCall, Uname, call_with, uname, unknown_call};

use crate::files::Scratch;
use crate::moves::Moves;
use crate::{Doing, Verdict, ensure};

/// uname stays, and a call that does not exist is refused.
pub(crate) fn names(moves: &mut Moves) -> Verdict {
    let first: Uname = uname().doing("uname")?;
    ensure!(
        first.machine == "x86_64",
        "the machine is {}",
        first.machine
    );
    while moves.more() {
        moves.point()?;
        let now = uname().doing("uname")?;
        ensure!(now == first, "uname went from {first:?} to {now:?}");
        let errno = unknown_call();
        ensure!(
            errno == rt::ENOSYS,
            "a call that does not exist gave errno {errno}"
        );
    }
    Ok(())
}

/// Random bytes are different every time and everywhere.
pub(crate) fn random(moves: &mut Moves) -> Verdict {
    let mut seen: Vec<[u8; 32]> = Vec::new();
    while moves.more() {
        let mut bytes = [0; 32];
        let count = rt::system::random(&mut bytes).doing("getrandom")?;
        ensure!(count == 32, "getrandom gave {count} bytes");
        ensure!(
            !seen.contains(&bytes),
            "getrandom gave the same bytes twice"
        );
        seen.push(bytes);
        moves.point()?;
        let mut many = vec![0; 100_000];
        let count = rt::system::random(&mut many).doing("getrandom of much")?;
        ensure!(count >= 256, "getrandom gave only {count} bytes");
        let ones: u64 = many[..count]
            .iter()
            .map(|byte| u64::from(byte.count_ones()))
            .sum();
        let (bits, share) = (count as u64 * 8, 100 * ones / (count as u64 * 8));
        ensure!(
            (40..60).contains(&share),
            "{ones} of {bits} random bits are set"
        );
    }
    Ok(())
}

/// `/proc/self` speaks of this process.
pub(crate) fn proc_self(moves: &mut Moves) -> Verdict {
    let pid = std::process::id();
    let heap = Box::new([1u8; 100]);
    let stack = 0u8;
    while moves.more() {
        moves.point()?;
        let get = |name: &str| {
            let bytes = read(format!("/proc/self/{name}")).doing(name)?;
            String::from_utf8(bytes).doing(name)
        };
        let stat = get("stat")?;
        ensure!(stat.starts_with(&format!("{pid} (")), "stat says {stat}");
        let parent = std::os::unix::process::parent_id();
        let fields = stat.rsplit_once(") ").ok_or("stat has no name")?.1;
        let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
        ensure!(
            fields.first() == Some(&"R"),
            "stat says the process is {:?}",
            fields.first()
        );
        ensure!(
            fields.get(1) == Some(&parent.to_string().as_str()),
            "stat says {stat}"
        );
        let status = get("status")?;
        let line = |name: &str, value: &str| {
            let found = status.lines().find_map(|line| line.strip_prefix(name));
            found.is_some_and(|found| found.split_whitespace().next() == Some(value))
        };
        ensure!(
            line("Pid:", &pid.to_string()),
            "status does not know the pid: {status}"
        );
        ensure!(
            line("PPid:", &parent.to_string()),
            "status does not know the parent: {status}"
        );
        let expected: String = std::env::args().map(|word| word + "\0").collect();
        let command = get("cmdline")?;
        ensure!(
            command == expected,
            "cmdline is {command:?} instead of {expected:?}"
        );
        let maps = get("maps")?;
        let code = proc_self as fn(&mut Moves) -> Verdict as *const () as u64;
        check_maps(&maps, code, "r-x")?;
        check_maps(&maps, (&raw const stack) as u64, "rw-")?;
        check_maps(&maps, heap.as_ptr() as u64, "rw-")?;
    }
    renamed()
}

/// What is written in the place of the arguments is what a process is called.
fn renamed() -> Verdict {
    const AT_EXECFN: u64 = 31;
    let get = |name: &str| read(format!("/proc/self/{name}")).doing(name);
    let (line, environment, auxiliary) = (get("cmdline")?, get("environ")?, get("auxv")?);
    let words: Vec<u64> = auxiliary
        .as_chunks::<8>()
        .0
        .iter()
        .map(|word| u64::from_le_bytes(*word))
        .collect();
    let pairs = words.as_chunks::<2>().0;
    let execfn = pairs.iter().find(|pair| pair[0] == AT_EXECFN);
    let end = execfn.ok_or("auxv names no program")?[1] - environment.len() as u64;
    let start = end - line.len() as u64;
    let memory = std::fs::OpenOptions::new()
        .write(true)
        .open("/proc/self/mem");
    let memory = memory.doing("opening mem")?;
    memory.write_all_at(b"R", start).doing("writing")?;
    let called = get("cmdline")?;
    let other = [b"R", &line[1..]].concat();
    ensure!(called == other, "it is called {called:?}");
    // Without its end the last argument goes on into the environment, and all is one text.
    memory.write_all_at(b"+", end - 1).doing("writing")?;
    let called = get("cmdline")?;
    let mut text = [&other[..other.len() - 1], b"+", &environment].concat();
    let end_of_text = text.iter().position(|byte| *byte == 0);
    text.truncate(end_of_text.map_or(text.len(), |end| end + 1));
    ensure!(
        called == text,
        "it is called {called:?} instead of {text:?}"
    );
    memory.write_all_at(&line, start).doing("writing")?;
    ensure!(get("cmdline")? == line, "it has another name in the end");
    Ok(())
}

/// Checks that exactly one line of `maps` covers `address`, with these rights (proc(5)).
fn check_maps(maps: &str, address: u64, rights: &str) -> Verdict {
    let mut count = 0;
    let mut last_end = 0;
    for line in maps.lines() {
        let mut fields = line.split_ascii_whitespace();
        let parsed = fields.next().and_then(|range| {
            let (start, end) = range.split_once('-')?;
            Some((
                u64::from_str_radix(start, 16).ok()?,
                u64::from_str_radix(end, 16).ok()?,
            ))
        });
        let (start, end) = parsed.ok_or_else(|| format!("maps has the line `{line}`"))?;
        ensure!(
            start < end && start >= last_end,
            "the areas of maps overlap at `{line}`"
        );
        last_end = end;
        if (start..end).contains(&address) {
            count += 1;
            let found = fields.next().unwrap_or("");
            ensure!(
                found.starts_with(rights),
                "{address:#x} should be {rights}: `{line}`"
            );
        }
    }
    ensure!(count == 1, "{count} lines of maps cover {address:#x}");
    Ok(())
}

/// A buffer that is none is refused, and nothing else happens.
pub(crate) fn bad_pointers(moves: &mut Moves) -> Verdict {
    let scratch = Scratch::new("bad-pointers");
    while moves.more() {
        let file = scratch.create()?;
        file.set_len(1000).doing("make the file long")?;
        moves.point()?;
        let fd = file.as_raw_fd();
        let calls = [
            BufferCall::Read(fd),
            BufferCall::Write(fd),
            BufferCall::Fstat(fd),
            BufferCall::Open,
            BufferCall::Uname,
            BufferCall::Pipe,
        ];
        for call in calls {
            for address in BAD_ADDRESSES {
                let errno = call_with(call, address).doing("map a page")?;
                ensure!(
                    errno == rt::EFAULT,
                    "{call:?} with {address:?} gave errno {errno}"
                );
            }
        }
        let length = file.metadata().doing("fstat")?.len();
        ensure!(
            length == 1000,
            "a refused write changed the file to {length} bytes"
        );
    }
    Ok(())
}

/// Of an argument that is an `int` only the lower half counts: what calls by way of syscall(3) leaves the upper one as
/// it was.
pub(crate) fn int_arguments(moves: &mut Moves) -> Verdict {
    const JUNK: u64 = 0xdead_beef << 32;
    const BYTES: u64 = 16;
    let mut desk = Desk::map().ok_or("no desk")?;
    let names = ["int-arguments-from", "int-arguments-to"].map(Scratch::new);
    while moves.more() {
        let (from, to) = (names[0].create()?, names[1].create()?);
        from.set_len(BYTES).doing("make the file long")?;
        let timer = desk.call(libc::SYS_timerfd_create, [1, 0, 0, 0, 0, 0]);
        ensure!(timer >= 0, "timerfd_create gave {timer}");
        moves.point()?;
        let fds = [from.as_raw_fd(), to.as_raw_fd()].map(|fd| u64::from(fd.unsigned_abs()));
        let [from, to] = fds;
        desk.put(0, &[0; 64]);
        let timer = JUNK | timer.unsigned_abs();
        let calls = [
            (
                "copy_file_range",
                libc::SYS_copy_file_range,
                [JUNK | from, 0, to, 0, BYTES, JUNK],
                16,
            ),
            (
                "fadvise64",
                libc::SYS_fadvise64,
                [from, 0, 0, JUNK | 1, 0, 0],
                0,
            ),
            (
                "futex",
                libc::SYS_futex,
                [DESK, JUNK | 129, JUNK | 1, 0, 0, 0],
                0,
            ),
            (
                "getpriority",
                libc::SYS_getpriority,
                [JUNK, JUNK, 0, 0, 0, 0],
                20,
            ),
            (
                "getrandom",
                libc::SYS_getrandom,
                [DESK + 64, 8, JUNK, 0, 0, 0],
                8,
            ),
            ("msync", libc::SYS_msync, [DESK, 4096, JUNK | 4, 0, 0, 0], 0),
            ("prctl", libc::SYS_prctl, [JUNK | 3, 0, 0, 0, 0, 0], 1),
            (
                "rt_sigprocmask",
                libc::SYS_rt_sigprocmask,
                [JUNK, DESK, 0, 8, 0, 0],
                0,
            ),
            (
                "sched_get_priority_max",
                libc::SYS_sched_get_priority_max,
                [JUNK | 1, 0, 0, 0, 0, 0],
                99,
            ),
            (
                "timerfd_settime",
                libc::SYS_timerfd_settime,
                [timer, JUNK, DESK, 0, 0, 0],
                0,
            ),
            ("close", libc::SYS_close, [timer, 0, 0, 0, 0, 0], 0),
        ];
        for (name, number, words, expected) in calls {
            let result = desk.call(number, words);
            ensure!(result == expected, "{name} gave {result}, not {expected}");
        }
    }
    Ok(())
}
