//! Programs that mean harm: random calls of the whole table with random arguments.
//!
//! Law: whatever the children do, the kernel neither stops nor hangs, and when all of them are gone
//! nothing of them is left. A child's calls are planned before it is made, so the plan follows from the
//! seed and the child's number alone. Children have descriptors to spoil, but not our console, and a
//! privileged one may signal itself only: the fuzzer has to survive on Linux too.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use abi::table::{Arg, CALLS, Call, Length};
use rt::process::{Patience, Whom, kill, start, wait};
use rt::raw::{DESK, DESK_LENGTH, Desk, KEPT, Planned, libc};
use rt::system::proc_path;

use crate::left::{Counts, leaves_nothing, pids};
use crate::random::Random;
use crate::{Doing, Verdict, numbers};

/// Calls of one child.
const CALLS_EACH: u64 = 250;
/// Children at the same time.
const AT_ONCE: usize = 4;
/// How long a child may take before it is killed: it may wait for what never comes.
const CHILD_LIMIT: Duration = Duration::from_millis(400);
/// Where the children play.
const FOLDER: &str = "/tmp/hostile";
/// The user that half of the children are.
const USER: u64 = 4321;

/// The status of a child that could not begin.
const UNPREPARED: i32 = 77;

/// What paths there are: at [`PATHS`] on the desk, this far apart.
const NAMES: [&str; 26] = [
    "hz0",
    "hz1",
    "hz2",
    "hz3/hz4",
    "hz3",
    "hz3/hz5",
    "",
    "/",
    ".",
    "..",
    "/tmp/hostile/hz6",
    "/proc/self/maps",
    "/proc/self/goto",
    "/proc/self/stat",
    "/proc/self/fd/3",
    "/proc/cluster/self",
    "/proc/self/cantmove",
    "/proc",
    "/dev/zero",
    "/dev/full",
    "/dev/random",
    "/dev/null/x",
    "/proc/self/cwd/hz4",
    "/proc/self/cwd",
    "hz0/under/a/file",
    "2\n",
];
const PATHS: u64 = 0x1000;
const PATH_STEP: u64 = 64;
/// Random words, among them structures by chance.
const WORDS: u64 = 0x4000;
const WORDS_LENGTH: u64 = 0x4000;

/// Calls that end or stop the child, taken less often than others.
const RARE: [&str; 16] = [
    "exit",
    "exit_group",
    "pause",
    "rt_sigsuspend",
    "rt_sigreturn",
    "execve",
    "execveat",
    "wait4",
    "waitid",
    "vfork",
    "fork",
    "clone",
    "clone3",
    "nanosleep",
    "clock_nanosleep",
    "rt_sigtimedwait",
];
/// Calls whose first argument is whom to signal or to change.
const AT_OTHERS: [&str; 9] = [
    "kill",
    "tkill",
    "tgkill",
    "rt_sigqueueinfo",
    "rt_tgsigqueueinfo",
    "setpriority",
    "prlimit64",
    "sched_setaffinity",
    "pidfd_open",
];
/// Calls that would end the machine of a privileged child, if they were there.
const NEVER: [&str; 6] = [
    "reboot",
    "kexec_load",
    "swapoff",
    "umount2",
    "mount",
    "pivot_root",
];

/// `hostile SEED CHILDREN [NODE...]`
pub(crate) fn run(words: &[String]) -> Verdict {
    let ([seed, children], nodes) = numbers::<2>(words)?;
    println!("hostile: seed {seed}, {children} children of {CALLS_EACH} calls, nodes {nodes:?}");
    let mut desk = Desk::map().ok_or("the desk cannot be mapped")?;
    write_paths(&mut desk);
    clean()?;
    storm(seed ^ 0xfade, 8, nodes, &mut desk)?;
    clean()?;
    leaves_nothing(|| {
        let made = storm(seed, children, nodes, &mut desk)?;
        clean()?;
        println!("hostile: {made}");
        Ok(())
    })
}

fn write_paths(desk: &mut Desk) {
    for (at, name) in NAMES.iter().enumerate() {
        let mut bytes = name.as_bytes().to_vec();
        bytes.push(0);
        desk.put(PATHS + at as u64 * PATH_STEP, &bytes);
    }
}

/// Makes the children, some at a time, and waits for all.
fn storm(seed: u64, children: u64, nodes: &[String], desk: &mut Desk) -> Result<String, String> {
    fs::create_dir_all(FOLDER).doing(FOLDER)?;
    let baseline = pids();
    let mut running: Vec<(i32, Instant)> = Vec::new();
    let (mut next, mut killed) = (0, 0);
    while next < children || !running.is_empty() {
        while running.len() < AT_ONCE && next < children {
            running.push((child(seed, next, nodes, desk)?, Instant::now()));
            next += 1;
        }
        while let Ok(Some((pid, _))) = wait(Whom::Any, Patience::Look) {
            running.retain(|(other, _)| *other != pid);
            // Fifty thousand files are more than the kernel's heap may have grown by.
            let _ = fs::remove_file(own_file(pid));
        }
        for (pid, since) in &running {
            if since.elapsed() > CHILD_LIMIT {
                killed += u64::from(kill(*pid, libc::SIGKILL).is_ok());
            }
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    sweep(&baseline)?;
    Ok(format!("{children} children ended, {killed} killings"))
}

/// Ends what children of children are left, wherever they have gone.
fn sweep(baseline: &[i32]) -> Verdict {
    if Counts::now().is_none() {
        // The build machine has processes that are not ours.
        return Ok(());
    }
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        let others: Vec<i32> = pids()
            .into_iter()
            .filter(|pid| !baseline.contains(pid))
            .collect();
        if others.is_empty() {
            return Ok(());
        }
        if Instant::now() > until {
            return Err(format!("processes that cannot be ended: {others:?}"));
        }
        for pid in others {
            let _ = kill(pid, libc::SIGKILL);
        }
        while let Ok(Some(_)) = wait(Whom::Any, Patience::Look) {}
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// One child, and one beside it that moves it.
fn child(seed: u64, index: u64, nodes: &[String], desk: &mut Desk) -> Result<i32, String> {
    let mut random = Random::of(seed, index);
    let privileged = random.one_in(2);
    let mut words = Vec::new();
    for _ in 0..WORDS_LENGTH / 8 {
        words.extend(value(&mut random).to_le_bytes());
    }
    let plan: Vec<Planned> = (0..CALLS_EACH)
        .map(|_| planned(&mut random, privileged))
        .collect();
    let nodes = nodes.to_vec();
    let pid = start(|| {
        desk.put(WORDS, &words);
        match prepare(privileged, desk) {
            Ok(_open) => rt::raw::doom(&plan),
            Err(why) => {
                println!("hostile: child {index} could not prepare itself: {why}");
                UNPREPARED
            }
        }
    })
    .doing("start a child")?;
    if !nodes.is_empty() {
        start(move || {
            move_about(pid, &nodes, random);
            0
        })
        .doing("start a mover")?;
    }
    Ok(pid)
}

/// The file of its own that a child has open.
fn own_file(pid: i32) -> String {
    format!("{FOLDER}/hz{pid}")
}

/// What a child has open, and who it is. The descriptors live as long as what is returned.
fn prepare(privileged: bool, desk: &mut Desk) -> Result<Vec<fs::File>, String> {
    let null = fs::File::options()
        .read(true)
        .write(true)
        .open("/dev/null")
        .doing("/dev/null")?;
    for stream in [
        rt::files::Stream::Input,
        rt::files::Stream::Output,
        rt::files::Stream::Error,
    ] {
        rt::files::redirect(null.as_fd(), stream).doing("redirect")?;
    }
    std::env::set_current_dir(FOLDER).doing(FOLDER)?;
    let mut open = vec![null];
    let file = own_file(std::process::id().cast_signed());
    open.push(
        fs::File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&file)
            .doing(&file)?,
    );
    for path in [".", "/proc/self/maps", "/dev/zero"] {
        open.push(fs::File::open(path).doing(path)?);
    }
    let (read, write) = io::pipe().doing("pipe")?;
    for end in [std::os::fd::OwnedFd::from(read), write.into()] {
        open.push(end.into());
    }
    debug_assert!(open.iter().all(|file| file.as_raw_fd() < 16));
    desk.call(libc::SYS_setsid, [0; 6]);
    if !privileged {
        for number in [libc::SYS_setgid, libc::SYS_setuid] {
            desk.call(number, [USER, 0, 0, 0, 0, 0]);
        }
    }
    Ok(open)
}

/// Moves a child until it is gone.
fn move_about(pid: i32, nodes: &[String], mut random: Random) {
    let goto = proc_path(&format!("{pid}/goto"));
    let until = Instant::now() + CHILD_LIMIT * 2;
    while Instant::now() < until {
        let node = &nodes[random.below(nodes.len() as u64) as usize];
        if let Err(error) = fs::write(&goto, node)
            && matches!(error.raw_os_error(), Some(rt::ESRCH | rt::ENOENT))
        {
            return;
        }
        std::thread::sleep(Duration::from_micros(random.below(4000)));
    }
}

/// Removes all that children may have made: names that begin with `hz`, wherever they got to.
fn clean() -> Verdict {
    for folder in ["/", "/tmp", "/dev", "/bin", "/root", "/data", "/etc"] {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let name = entry.file_name();
            if name.to_string_lossy().starts_with("hz") {
                remove(&entry.path());
            }
        }
    }
    let folder = PathBuf::from(FOLDER);
    if folder.exists() {
        remove(&folder);
        if folder.exists() {
            return Err(format!("{FOLDER} cannot be removed"));
        }
    }
    Ok(())
}

fn remove(path: &Path) {
    let _ = fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o700));
    if path.is_dir() && !path.is_symlink() {
        let _ = fs::remove_dir_all(path);
    } else {
        let _ = fs::remove_file(path);
    }
}

// ---- plans ---------------------------------------------------------------------------------------

/// A call with its arguments.
fn planned(random: &mut Random, privileged: bool) -> Planned {
    if random.one_in(40) {
        return Planned {
            number: random.below(600),
            words: [0; 6].map(|_| value(random)),
            own: 0,
        }
        .unless_dangerous();
    }
    let call = loop {
        let call = &CALLS[random.below(CALLS.len() as u64) as usize];
        let rare = RARE.contains(&call.name);
        if !NEVER.contains(&call.name) && (!rare || random.one_in(12)) {
            break call;
        }
    };
    let mut words = [0; 6];
    for (at, word) in words.iter_mut().enumerate() {
        *word = match call.args.get(at) {
            Some(arg) => argument(random, *arg),
            None => value(random),
        };
    }
    aim(random, call, privileged, words)
}

/// Sees to it that a privileged child signals and changes nobody but itself.
fn aim(random: &mut Random, call: &Call, privileged: bool, mut words: [u64; 6]) -> Planned {
    let mut own = 0_u8;
    if AT_OTHERS.contains(&call.name) && (privileged || random.one_in(2)) {
        own = if call.name == "tgkill" { 0b11 } else { 1 };
        if call.name == "setpriority" {
            words[0] = 0;
            own = 0b10;
        }
        // A signal that ends the child ends its usefulness.
        if call.name.contains("kill") && random.one_in(2) {
            words[own.count_ones() as usize] = random.pick(&[0, 17, 18, 20, 23, 28, 65, 1 << 40]);
        }
    }
    Planned {
        number: call.number.into(),
        words,
        own,
    }
}

/// Keeps a call of no row from being one of those that are never made.
trait Safely {
    fn unless_dangerous(self) -> Planned;
}

impl Safely for Planned {
    fn unless_dangerous(mut self) -> Planned {
        let name = abi::call_name(self.number).unwrap_or("");
        if NEVER.contains(&name) || AT_OTHERS.contains(&name) || RARE.contains(&name) {
            self.number = 4000;
        }
        self
    }
}

fn argument(random: &mut Random, arg: Arg) -> u64 {
    if random.one_in(6) {
        return value(random);
    }
    match arg {
        Arg::Value => tame(random),
        Arg::Path | Arg::MaybePath => path(random),
        Arg::In(length) | Arg::MaybeIn(length) | Arg::InOut(length) | Arg::MaybeInOut(length) => {
            buffer(random, length)
        }
        Arg::Out(length) | Arg::MaybeOut(length) => buffer(random, length),
    }
}

fn path(random: &mut Random) -> u64 {
    DESK + PATHS + random.below(NAMES.len() as u64) * PATH_STEP
}

/// A buffer in the words, sometimes at the very end of what is mapped.
fn buffer(random: &mut Random, length: Length) -> u64 {
    if random.one_in(8) {
        let bytes = match length {
            Length::Fixed(bytes) | Length::Items(_, bytes) => u64::from(bytes),
            Length::Given(_) => random.below(300),
        };
        return DESK + KEPT - bytes + random.below(2);
    }
    DESK + WORDS + random.below(WORDS_LENGTH / 8) * 8
}

/// What most calls take: descriptors, flags, lengths, addresses on the desk.
fn tame(random: &mut Random) -> u64 {
    match random.below(10) {
        0..=2 => random.below(14),
        3 => random.below(4096),
        4 => 1 << random.below(32),
        5 => random.below(8) << random.below(24),
        6 => DESK + WORDS + random.below(WORDS_LENGTH / 8) * 8,
        7 => DESK + random.below(DESK_LENGTH / 4096) * 4096,
        8 => (-100_i64).cast_unsigned(),
        _ => path(random),
    }
}

/// Anything at all.
fn value(random: &mut Random) -> u64 {
    match random.below(12) {
        0 => 0,
        1 => random.below(8),
        2 => random.next(),
        3 => u64::MAX - random.below(4096),
        4 => 1 << random.below(64),
        5 => (1 << random.below(64)) - 1,
        6 => (1 << 47) - random.below(8192),
        7 => 0xffff_8000_0000_0000 + random.below(1 << 32),
        8 => random.below(0x10000),
        _ => tame(random),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_privileged_child_signals_itself_only() {
        let mut random = Random::of(3, 0);
        for _ in 0..20_000 {
            let planned = planned(&mut random, true);
            let name = abi::call_name(planned.number).unwrap_or("");
            assert!(!NEVER.contains(&name), "{name}");
            let aimed = planned.own & 1 != 0 || (name == "setpriority" && planned.words[0] == 0);
            assert!(!AT_OTHERS.contains(&name) || aimed, "{name} {planned:?}");
        }
    }

    #[test]
    fn a_plan_follows_from_the_seed() {
        let plan = |seed| {
            let mut random = Random::of(seed, 5);
            let plan: Vec<_> = (0..50).map(|_| planned(&mut random, false)).collect();
            format!("{plan:?}")
        };
        assert_eq!(plan(1), plan(1));
        assert_ne!(plan(1), plan(2));
    }
}
