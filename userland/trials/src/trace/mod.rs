//! Random programs of system calls whose trace must be the same everywhere: on Linux, at home, and
//! moved between any two calls.
//!
//! Law: a program follows from the seed and its number. `trace SEED FIRST COUNT` prints `NUMBER DIGEST` for
//! each; with `--full`, the traces. `--self NODES`: the programs move themselves between calls;
//! `--others NODES`: a process beside each moves it at random moments. `--expect FILE`: what differs
//! from the digests in the file is printed whole, `--show N` of them at most.

mod little;
mod memory;
mod names;
mod objects;
mod processes;
mod signals;
mod streams;
mod world;

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rt::files::Stream;
use rt::process::{Ended, kill, start, wait_for};
use rt::raw::{DESK, Desk, libc};
use rt::system::proc_path;

use crate::random::Random;
use crate::{Doing, USAGE, Verdict, numbers};
use world::{Moves, TRACE_FD, World, digest};

/// Steps of one program.
const STEPS: u64 = 60;
/// The user that programs are, where we are user 0.
const USER: u64 = 4321;
/// Programs that differ and are printed, unless more are asked for.
const SHOWN: u64 = 4;

/// What is asked of a run.
#[derive(Debug, Default)]
struct Wanted {
    full: bool,
    own: Vec<String>,
    others: Vec<String>,
    expect: Option<PathBuf>,
    shown: u64,
}

/// `trace SEED FIRST COUNT ...`
pub(crate) fn run(words: &[String]) -> Verdict {
    let ([seed, first, count], rest) = numbers::<3>(words)?;
    let wanted = options(rest)?;
    let expected = match &wanted.expect {
        Some(path) => fs::read_to_string(path).doing("read what is expected")?,
        None => String::new(),
    };
    let folder = work_folder();
    let (mut moved, mut wrong) = (0, 0);
    for number in first..first + count {
        let text = program(seed, number, &wanted, &folder, &mut moved)?;
        let line = format!("{number} {:08x}", digest(text.as_bytes()));
        if wanted.full {
            println!("program {number}\n{text}end of program");
        } else if wanted.expect.is_none() {
            println!("{line}");
        } else if !expected.lines().any(|other| other == line) {
            wrong += 1;
            if wrong <= wanted.shown {
                println!("program {number}\n{text}end of program");
            }
        }
    }
    if wanted.expect.is_some() {
        println!("traced {count} programs, {moved} moves, {wrong} differ");
    }
    let _ = fs::remove_dir_all(&folder);
    if wrong > 0 {
        return Err(format!("{wrong} programs of {count} differ"));
    }
    Ok(())
}

fn options(words: &[String]) -> Result<Wanted, String> {
    let mut wanted = Wanted {
        shown: SHOWN,
        ..Wanted::default()
    };
    let mut words = words.iter();
    let nodes = |word: Option<&String>| -> Result<Vec<String>, String> {
        let word = word.ok_or(USAGE)?;
        Ok(word.split_ascii_whitespace().map(str::to_owned).collect())
    };
    while let Some(word) = words.next() {
        match word.as_str() {
            "--full" => wanted.full = true,
            "--self" => wanted.own = nodes(words.next())?,
            "--others" => wanted.others = nodes(words.next())?,
            "--expect" => wanted.expect = Some(words.next().ok_or(USAGE)?.into()),
            "--show" => {
                let ([shown], _) = numbers(words.as_slice())?;
                wanted.shown = shown;
                words.next();
            }
            _ => return Err(USAGE.to_owned()),
        }
    }
    Ok(wanted)
}

/// A folder in memory, where the machine has one.
fn work_folder() -> PathBuf {
    let name = format!("trials-{}", std::process::id());
    let memory = Path::new("/dev/shm").join(&name);
    if fs::create_dir_all(&memory).is_ok() {
        return memory;
    }
    Path::new("/tmp").join(name)
}

/// Runs one program and returns its trace.
fn program(
    seed: u64,
    number: u64,
    wanted: &Wanted,
    folder: &Path,
    moved: &mut u64,
) -> Result<String, String> {
    let _ = fs::remove_dir_all(folder);
    let base = folder.join("w");
    fs::create_dir_all(&base).doing("make the folder")?;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).doing("open the folder")?;
    fs::set_permissions(&base, fs::Permissions::from_mode(0o777)).doing("open the folder")?;
    let trace = folder.join("trace");
    fs::write(&trace, "").doing("make the trace")?;
    fs::set_permissions(&trace, fs::Permissions::from_mode(0o666)).doing("open the trace")?;
    let moves = Moves::new(&wanted.own, Random::of(seed ^ 0x1234, number));
    let child = start(|| {
        begin(Random::of(seed, number), &base, &trace, moves).unwrap_or_else(|why| {
            eprintln!("trials: program {number} could not begin: {why}");
            77
        })
    })
    .doing("start a program")?;
    let mover = match wanted.others.as_slice() {
        [] => None,
        nodes => Some(start(|| move_about(child, nodes)).doing("start a mover")?),
    };
    let ended = wait_for(child).doing("wait for a program")?;
    if let Some(mover) = mover {
        let _ = kill(mover, libc::SIGTERM);
        wait_for(mover).doing("wait for a mover")?;
    }
    let mut text = fs::read_to_string(&trace).doing("read the trace")?;
    if let Some((rest, made)) = text.split_once("moved itself ") {
        *moved += made.trim().parse::<u64>().unwrap_or(0);
        text = rest.to_owned();
    }
    *moved += u64::from(!wanted.others.is_empty());
    let ended = match ended {
        Ended::Exited(77) => return Err(format!("program {number} did not run")),
        Ended::Exited(status) => format!("exited {status}"),
        Ended::Signalled(signal) => format!("signal {signal}"),
    };
    Ok(format!("{text}{ended}\n"))
}

/// Moves a program at random moments until it is gone.
fn move_about(pid: i32, nodes: &[String]) -> i32 {
    let goto = proc_path(&format!("{pid}/goto"));
    let mut random = Random::of(pid.unsigned_abs().into(), 0);
    loop {
        let node = &nodes[random.below(nodes.len() as u64) as usize];
        if let Err(error) = fs::write(&goto, node)
            && matches!(error.raw_os_error(), Some(rt::ESRCH | rt::ENOENT))
        {
            return 0;
        }
        std::thread::sleep(Duration::from_micros(random.below(6000)));
    }
}

/// Signals with which the Rust runtime has its own way: SIGBUS, SIGSEGV, SIGPIPE.
const OF_THE_RUNTIME: [u64; 3] = [7, 11, 13];

/// The program itself: prepares what it stands on, makes its steps, and exits.
fn begin(random: Random, base: &Path, trace: &Path, moves: Moves) -> Result<i32, String> {
    let null = fs::File::options()
        .read(true)
        .write(true)
        .open("/dev/null")
        .doing("null")?;
    for stream in [Stream::Input, Stream::Output, Stream::Error] {
        rt::files::redirect(null.as_fd(), stream).doing("redirect")?;
    }
    drop(null);
    std::env::set_current_dir(base).doing("go to the folder")?;
    let desk = Desk::map().ok_or("the desk cannot be mapped")?;
    let mut world = World::new(desk, random, &base.display().to_string(), moves);
    let path = world.string(0, &trace.display().to_string());
    let flags = (libc::O_WRONLY | libc::O_APPEND) as u64;
    let fd = world.call(libc::SYS_open, [path, flags]);
    let fd = u64::try_from(fd).doing("open the trace")?;
    world.call(libc::SYS_dup3, [fd, TRACE_FD, libc::O_CLOEXEC as u64]);
    for fd in 3..64 {
        world.call(libc::SYS_close, [fd]);
    }
    disinherit(&mut world);
    if world.call(libc::SYS_geteuid, []) == 0 {
        world.call(libc::SYS_setgroups, [0, 0]);
        world.call(libc::SYS_setgid, [USER]);
        world.call(libc::SYS_setuid, [USER]);
    }
    world.call(libc::SYS_umask, [0o22]);
    world.open_goto();
    names::furnish(&mut world);
    for _ in 0..STEPS {
        step(&mut world);
    }
    world.line("program ends");
    world.flush();
    let moved = world.moved();
    if moved > 0 {
        let text = format!("moved itself {moved}\n");
        world.desk.put(0, text.as_bytes());
        world.call(libc::SYS_write, [TRACE_FD, DESK, text.len() as u64]);
    }
    Ok(0)
}

/// Takes back what programs have from whoever started all of them, which would be in their traces: a niceness
/// (nice(1)), signals that are ignored (nohup(1), `&` in a script) or blocked.
fn disinherit(world: &mut World) {
    world.call(libc::SYS_setpriority, [0, 0, 0]);
    let none = world.words(0, &[0; 4]);
    for signal in (1..=64).filter(|signal| !OF_THE_RUNTIME.contains(signal)) {
        world.call(libc::SYS_rt_sigaction, [signal, none, 0, 8]);
    }
    world.call(libc::SYS_rt_sigprocmask, [2, none, 0, 8]);
}

/// One step, of any kind.
fn step(world: &mut World) {
    world.perhaps_move();
    match world.random.below(20) {
        0..=4 => names::step(world),
        5..=9 => streams::step(world),
        10 | 11 => memory::step(world),
        12 | 13 => signals::step(world),
        14 => processes::step(world),
        15..=18 => objects::step(world),
        _ => little::step(world),
    }
}

/// What a program finds itself to be after an exec: `report ARGUMENT`, into the trace.
pub(crate) fn report(words: &[String]) -> Verdict {
    let desk = Desk::map().ok_or("the desk cannot be mapped")?;
    let mut world = World::new(
        desk,
        Random::of(0, 0),
        "/no/base",
        Moves::new(&[], Random::of(0, 0)),
    );
    world.depth = 9;
    let environment: Vec<_> = std::env::vars().collect();
    world.line(&format!("report {words:?} {environment:?}"));
    let open: Vec<u64> = (3..40)
        .filter(|fd| world.call(libc::SYS_fcntl, [*fd, libc::F_GETFD as u64]) >= 0)
        .collect();
    let set = world.words(0, &[0]);
    world.call(libc::SYS_rt_sigprocmask, [0, 0, set, 8]);
    let blocked = world.desk.word(0);
    world.call(libc::SYS_rt_sigpending, [set, 8]);
    let pending = world.desk.word(0);
    let ignored: Vec<u64> = (1..=64)
        .filter(|signal| !OF_THE_RUNTIME.contains(signal))
        .filter(|signal| {
            let old = DESK + 64;
            world.call(libc::SYS_rt_sigaction, [*signal, 0, old, 8]) == 0
                && world.desk.word(64) == 1
        })
        .collect();
    let umask = world.call(libc::SYS_umask, [0]);
    world.line(&format!(
        "has {open:?} {blocked:x} {pending:x} {ignored:?} {umask:o}"
    ));
    world.flush();
    Ok(())
}
