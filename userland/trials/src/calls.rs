//! How long system calls take: the same program on Linux and on a node, at home and away.
//!
//! Law: a figure is the median of batches, in ns for one operation, beside the 99th percentile of the
//! batches; what the clock costs is spread over a batch. What a kernel does not do is left out. As first
//! process of a Linux machine it ends by starting it anew, which ends the emulator.

use std::time::Instant;

use rt::process::{Ended, Fork, exit_now, fork, wait_for};
use rt::raw::{DESK, DESK_LENGTH, Desk, KEPT, libc};
use rt::system::proc_path;

use crate::{Doing, USAGE, Verdict};

/// A batch is at least this long.
const BATCH_NS: u128 = 300_000;
/// Batches of one figure.
const BATCHES: usize = 60;
/// Where the file and its buffer are.
const PATH: u64 = 0;
const BUFFER: u64 = 0x10000;
const LARGE: u64 = 0x10000;
const PAGES: u64 = 128;

type Operation = fn(&mut Bench, u64) -> Result<(), String>;

/// What is measured, and the most operations of a batch.
const OPERATIONS: [(&str, Operation, u64); 13] = [
    ("getpid", getpid, 1 << 14),
    ("read-1", read_one, 1 << 14),
    ("write-1", write_one, 1 << 14),
    ("read-64k", read_large, 64),
    ("write-64k", write_large, 64),
    ("open-close", open_close, 1 << 12),
    ("stat", stat, 1 << 12),
    ("page-fault", page_fault, 1 << 12),
    ("fork-exit", fork_exit, 16),
    ("fork-exec", fork_exec, 16),
    ("pipe-ping-pong", ping_pong, 1 << 10),
    ("futex-hand-over", hand_over, 1 << 10),
    ("yield-switch", yield_switch, 1 << 12),
];

struct Bench {
    desk: Desk,
    file: u64,
}

impl Bench {
    fn call<const N: usize>(
        &mut self,
        number: libc::c_long,
        words: [u64; N],
    ) -> Result<u64, String> {
        let mut all = [0; 6];
        all[..N].copy_from_slice(&words);
        let result = self.desk.call(number, all);
        u64::try_from(result).map_err(|_| format!("call {number} answers {result}"))
    }
}

/// `calls LABEL [NODE]`
pub(crate) fn run(words: &[String]) -> Verdict {
    let first = std::process::id() == 1;
    let (label, node) = match words {
        [] if first => ("linux", None),
        [label] => (label.as_str(), None),
        [label, node] => (label.as_str(), Some(node)),
        _ => return Err(USAGE.to_owned()),
    };
    let mut desk = Desk::map().ok_or("the desk cannot be mapped")?;
    desk.put(PATH, b"/calls-file\0");
    let mut bench = Bench { desk, file: 0 };
    let flags = (libc::O_RDWR | libc::O_CREAT) as u64;
    bench.file = bench.call(libc::SYS_open, [DESK + PATH, flags, 0o644])?;
    bench.call(libc::SYS_write, [bench.file, DESK + BUFFER, LARGE])?;
    if let Some(node) = node {
        std::fs::write(proc_path("self/goto"), node).doing("go there")?;
    }
    for (name, operation, most) in OPERATIONS {
        match measure(&mut bench, operation, most) {
            Ok((median, high)) => println!("calls\t{label}\t{name}\t{median}\t{high}"),
            Err(why) => eprintln!("trials: {name}: {why}"),
        }
    }
    if first {
        let magic = [0xfee1_dead, 0x2812_1969, 0x0123_4567];
        bench.call(libc::SYS_reboot, magic)?;
    }
    Ok(())
}

/// Median and 99th percentile of the batches, in ns for one operation.
fn measure(bench: &mut Bench, operation: Operation, most: u64) -> Result<(u128, u128), String> {
    // The first times are those of an emulator that has not seen this code yet: they say nothing of how
    // many operations a batch needs.
    operation(bench, 16.min(most))?;
    let mut count = 1;
    loop {
        let start = Instant::now();
        operation(bench, count)?;
        if start.elapsed().as_nanos() >= BATCH_NS || count >= most {
            break;
        }
        count *= 2;
    }
    let mut times = Vec::with_capacity(BATCHES);
    for _ in 0..BATCHES {
        let start = Instant::now();
        operation(bench, count)?;
        times.push(start.elapsed().as_nanos() / u128::from(count));
    }
    times.sort_unstable();
    Ok((times[BATCHES / 2], times[BATCHES * 99 / 100]))
}

fn getpid(bench: &mut Bench, count: u64) -> Result<(), String> {
    for _ in 0..count {
        bench.call(libc::SYS_getpid, [])?;
    }
    Ok(())
}

fn transfer(
    bench: &mut Bench,
    number: libc::c_long,
    length: u64,
    count: u64,
) -> Result<(), String> {
    for _ in 0..count {
        let done = bench.call(number, [bench.file, DESK + BUFFER, length, 0])?;
        if done != length {
            return Err(format!("{done} of {length} bytes"));
        }
    }
    Ok(())
}

fn read_one(bench: &mut Bench, count: u64) -> Result<(), String> {
    transfer(bench, libc::SYS_pread64, 1, count)
}

fn write_one(bench: &mut Bench, count: u64) -> Result<(), String> {
    transfer(bench, libc::SYS_pwrite64, 1, count)
}

fn read_large(bench: &mut Bench, count: u64) -> Result<(), String> {
    transfer(bench, libc::SYS_pread64, LARGE, count)
}

fn write_large(bench: &mut Bench, count: u64) -> Result<(), String> {
    transfer(bench, libc::SYS_pwrite64, LARGE, count)
}

fn open_close(bench: &mut Bench, count: u64) -> Result<(), String> {
    for _ in 0..count {
        let fd = bench.call(libc::SYS_open, [DESK + PATH, 0])?;
        bench.call(libc::SYS_close, [fd])?;
    }
    Ok(())
}

fn stat(bench: &mut Bench, count: u64) -> Result<(), String> {
    for _ in 0..count {
        bench.call(libc::SYS_stat, [DESK + PATH, DESK + BUFFER])?;
    }
    Ok(())
}

/// First touches of fresh pages, their mapping and unmapping spread over many.
fn page_fault(bench: &mut Bench, count: u64) -> Result<(), String> {
    let start = DESK + 2 * KEPT;
    let mut left = count;
    while left > 0 {
        let pages = left.min(PAGES);
        let flags = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED) as u64;
        bench.call(libc::SYS_mmap, [start, pages * 4096, 3, flags, u64::MAX, 0])?;
        for page in 0..pages {
            bench.desk.store(start + page * 4096, 1);
        }
        bench.call(libc::SYS_munmap, [start, pages * 4096])?;
        left -= pages;
    }
    Ok(())
}

fn child(work: impl FnOnce()) -> Result<i32, String> {
    match fork().doing("fork")? {
        Fork::Parent(child) => Ok(child),
        Fork::Child => {
            work();
            exit_now(0)
        }
    }
}

fn ended(child: i32) -> Result<(), String> {
    match wait_for(child).doing("wait")? {
        Ended::Exited(0) => Ok(()),
        ended => Err(format!("a child ended with {ended:?}")),
    }
}

fn fork_exit(_: &mut Bench, count: u64) -> Result<(), String> {
    for _ in 0..count {
        ended(child(|| ())?)?;
    }
    Ok(())
}

fn fork_exec(_: &mut Bench, count: u64) -> Result<(), String> {
    for _ in 0..count {
        let child = child(|| {
            let words = [c"trials", c"nothing"].map(std::borrow::ToOwned::to_owned);
            let _ = rt::process::exec(c"/bin/trials", &words, &[]);
            exit_now(1);
        })?;
        ended(child)?;
    }
    Ok(())
}

fn pipe(bench: &mut Bench) -> Result<[u64; 2], String> {
    bench.call(libc::SYS_pipe2, [DESK + BUFFER, 0])?;
    let ends = bench.desk.word(BUFFER);
    Ok([ends & 0xffff_ffff, ends >> 32])
}

/// A byte to a child and back: two hand-overs and four calls.
fn ping_pong(bench: &mut Bench, count: u64) -> Result<(), String> {
    let (down, up) = (pipe(bench)?, pipe(bench)?);
    let child = child(|| {
        for _ in 0..count {
            let _ = bench.call(libc::SYS_read, [down[0], DESK + BUFFER, 1]);
            let _ = bench.call(libc::SYS_write, [up[1], DESK + BUFFER, 1]);
        }
    })?;
    for _ in 0..count {
        bench.call(libc::SYS_write, [down[1], DESK + BUFFER, 1])?;
        bench.call(libc::SYS_read, [up[0], DESK + BUFFER, 1])?;
    }
    ended(child)?;
    for end in down.into_iter().chain(up) {
        bench.call(libc::SYS_close, [end])?;
    }
    Ok(())
}

/// A word in shared memory that two processes hand to each other by futex(2).
fn hand_over(bench: &mut Bench, count: u64) -> Result<(), String> {
    let at = DESK + DESK_LENGTH / 2;
    let flags = (libc::MAP_SHARED | libc::MAP_ANONYMOUS | libc::MAP_FIXED) as u64;
    bench.call(libc::SYS_mmap, [at, 4096, 3, flags, u64::MAX, 0])?;
    let child = child(|| {
        let _ = turns(bench, at, count, 1);
    })?;
    let done = turns(bench, at, count, 0);
    if done.is_err() {
        let _ = rt::process::kill(child, libc::SIGKILL);
    }
    let end = ended(child);
    bench.call(libc::SYS_munmap, [at, 4096])?;
    done.and(end)
}

/// Takes every turn of one side: waits until the byte is its own, then gives it away.
fn turns(bench: &mut Bench, at: u64, count: u64, mine: u8) -> Result<(), String> {
    for _ in 0..count {
        let mut tries = 0;
        while bench.desk.load(at) != mine {
            let other = u64::from(1 - mine);
            let limit = 0;
            let result = bench
                .desk
                .call(libc::SYS_futex, [at, 0, other, limit, 0, 0]);
            tries += 1;
            if tries > 1000 || (result < 0 && ![-11, -4].contains(&result)) {
                return Err(format!("futex answers {result}"));
            }
        }
        bench.desk.store(at, 1 - mine);
        bench.call(libc::SYS_futex, [at, 1, 1])?;
    }
    Ok(())
}

/// Two processes that yield to each other: one switch for each call.
fn yield_switch(bench: &mut Bench, count: u64) -> Result<(), String> {
    let child = child(|| {
        for _ in 0..count {
            let _ = bench.call(libc::SYS_sched_yield, []);
        }
    })?;
    for _ in 0..count {
        bench.call(libc::SYS_sched_yield, [])?;
    }
    ended(child)
}
