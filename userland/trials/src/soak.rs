//! `soak NODES SEED SLOTS`: on each node of a cluster that is treated badly, programs all the time, moved all the time.
//!
//! Law: a program is right if it ends with status 0 and prints, byte for byte, what stands in `/soak/expected`. Each
//! one that begins is told on the console, and how it ended, once; who ends by SIGKILL is told of as such, and whether that may
//! be is judged by who sees all consoles. Programs of one name never run at the same time on one home.
//!
//! Typed into the console: `end` (no new programs; `is quiet` when the last has ended), `tell` (what still runs), `count` (whether the
//! node has all of its memory and tables back).

use std::collections::BTreeSet;
use std::ffi::CString;
use std::fs::{self, File};
use std::io::{Write, stdin};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rt::files::Stream;
use rt::process::{Ended, Patience, Whom, exec, kill, start, wait, wait_for};
use rt::system::proc_path;
use rt::terminal::Modes;

use crate::left::{Counts, pids};
use crate::random::Random;
use crate::{Doing, Verdict, numbers};

/// Programs, in a folder for each kind.
const JOBS: &str = "/soak/jobs";
/// What they print.
const EXPECTED: &str = "/soak/expected";
/// Where they work.
const WORK: &str = "/tmp/soak";
/// Is there when no new ones are to begin.
const END: &str = "/tmp/soak/end";
const SHELL: &str = "/bin/busybox";
/// How a program is moved.
const MODES: [&str; 5] = ["", "", "mode=pre-copy", "mode=stop-and-copy", "mode=hybrid"];
/// After so long a program is ended, and that is a failure.
const LIMIT: Duration = Duration::from_secs(300);
/// Bytes shown of what a program printed that was wrong.
const SHOWN: usize = 900;
const SIGKILL: i32 = 9;

/// `soak NODES SEED SLOTS`
pub(crate) fn run(words: &[String]) -> Verdict {
    let ([nodes, seed, slots], _) = numbers::<3>(words)?;
    let own = std::process::id() >> 16;
    // An echo of what is typed would stand in front of lines that are told meanwhile.
    let console = stdin();
    let modes = Modes::of(console.as_fd()).doing("read the console's modes")?;
    let set = modes.silent().set(console.as_fd());
    set.doing("set the console's modes")?;
    // Who counts does nothing else, and has done all that once before.
    let rehearsal = start(|| 0).doing("start a child")?;
    wait_for(rehearsal).doing("wait for a child")?;
    tell(&format!("node {own} counts what it has"));
    let before = baseline()?;
    tell(&format!("node {own} begins"));
    let work = || match drive(own, nodes, seed, slots) {
        Ok(()) => 0,
        Err(why) => {
            tell(&format!("node {own} failed: {why}"));
            1
        }
    };
    let driver = start(work).doing("start the driver")?;
    wait_for(driver).doing("wait for the driver")?;
    let refused = Counts::now().map_or(0, |counts| counts.of("refused"));
    tell(&format!("node {own} refused {refused}"));
    tell(&match before.are_back() {
        Ok(()) => format!("node {own} counts right"),
        Err(why) => format!("node {own} counts wrong: {why}"),
    });
    Ok(())
}

/// Runs programs until it is told that it is enough, and ends when it is told to.
fn drive(own: u32, nodes: u64, seed: u64, slots: u64) -> Verdict {
    fs::create_dir_all(WORK).doing("make the folder")?;
    let mut running = BTreeSet::new();
    for slot in 0..slots {
        // Every boot of a node has its own, so that a node that boots often does not begin alike each time.
        let mut bytes = [0; 8];
        rt::system::random(&mut bytes).doing("draw a number")?;
        let seed = seed ^ u64::from_ne_bytes(bytes);
        let child = start(|| match Slot::new(slot, nodes, seed).run() {
            Ok(()) => 0,
            Err(why) => {
                tell(&format!("slot {slot} failed: {why}"));
                1
            }
        });
        running.insert(child.doing("start a slot")?);
    }
    loop {
        if reap(&mut running) && running.is_empty() {
            fs::remove_dir_all(WORK).doing("clean up")?;
            tell(&format!("node {own} is quiet"));
        }
        match order()?.as_deref() {
            Some("end") => fs::write(END, "").doing("say that it is enough")?,
            Some("tell") => tell_what_runs(own),
            Some("count") => return Ok(()),
            _ => {}
        }
    }
}

/// Whether one of these has ended.
fn reap(running: &mut BTreeSet<i32>) -> bool {
    let mut any = false;
    while let Ok(Some((pid, _))) = wait(Whom::Any, Patience::Look) {
        any |= running.remove(&pid);
    }
    any
}

/// One line on the console, in one write.
fn tell(text: &str) {
    let line = format!("soak: {text}\n");
    let _ = std::io::stdout().lock().write_all(line.as_bytes());
}

/// The counts of this node while no guest is here.
fn baseline() -> Result<Counts, String> {
    let control = |order: &str| fs::write(proc_path("cluster/control"), order).doing(order);
    control("drain\n")?;
    let (mut counts, mut again) = (Counts::before(), Counts::now());
    while counts != again || again.as_ref().is_some_and(Counts::has_guests) {
        std::thread::sleep(Duration::from_millis(20));
        counts = again;
        again = Counts::now();
    }
    control("undrain\n")?;
    again.ok_or_else(|| "this node counts nothing".to_owned())
}

/// What has been typed, if anything, within a moment.
fn order() -> Result<Option<String>, String> {
    let ready = rt::files::poll_input(std::io::stdin().as_fd(), 200).doing("listen")?;
    if ready.is_none_or(|ready| !ready.readable) {
        return Ok(None);
    }
    let mut line = Vec::new();
    while let Some(byte) = rt::files::read_byte().doing("read an order")? {
        if byte == b'\n' {
            break;
        }
        line.push(byte);
    }
    Ok(Some(String::from_utf8_lossy(&line).trim().to_owned()))
}

fn tell_what_runs(own: u32) {
    for pid in pids() {
        let read = |name: &str| {
            let text = fs::read(proc_path(&format!("{pid}/{name}"))).unwrap_or_default();
            let text = String::from_utf8_lossy(&text).replace(['\0', '\n'], " ");
            text.trim().to_owned()
        };
        let (line, place, state) = (read("cmdline"), read("where"), read("stat"));
        tell(&format!(
            "node {own} has {pid} at {place}: {line} [{}] {state}",
            read("cantmove")
        ));
    }
}

/// Runs one program after the other.
struct Slot {
    number: u64,
    nodes: u64,
    random: Random,
    jobs: u64,
}

/// A program that runs.
struct Running {
    label: String,
    pid: i32,
    /// All of its processes that were seen.
    seen: BTreeSet<i32>,
    moves: u64,
    refused: u64,
}

impl Slot {
    fn new(number: u64, nodes: u64, seed: u64) -> Slot {
        Slot {
            number,
            nodes,
            random: Random::of(seed, number),
            jobs: 0,
        }
    }

    fn run(&mut self) -> Verdict {
        let kinds = names(JOBS)?;
        while !Path::new(END).exists() {
            let kind = self.random.below(kinds.len() as u64) as usize;
            let jobs = names(&format!("{JOBS}/{}", kinds[kind]))?;
            let job = &jobs[self.random.below(jobs.len() as u64) as usize];
            let taken = PathBuf::from(format!("{WORK}/{job}"));
            if fs::create_dir(&taken).is_err() {
                continue;
            }
            self.jobs += 1;
            self.one(&kinds[kind], job, &taken)?;
            fs::remove_dir_all(&taken).doing("clean up")?;
        }
        Ok(())
    }

    /// Runs one program to its end, and tells of it.
    fn one(&mut self, kind: &str, name: &str, folder: &Path) -> Verdict {
        let script = format!("{JOBS}/{kind}/{name}");
        let (out, work) = (folder.join("out"), folder.join("work"));
        fs::create_dir(&work).doing("make the folder of a program")?;
        let file = File::create(&out).doing("make the file for its output")?;
        let pid = start(|| become_program(&script, &file, &work)).doing("start a program")?;
        drop(file);
        let mut running = Running {
            label: format!("job {}.{} {pid} {name}", self.number, self.jobs),
            pid,
            seen: [pid].into(),
            moves: 0,
            refused: 0,
        };
        tell(&format!("{} begins", running.label));
        let ended = self.until_the_end(&mut running)?;
        let again = matches!(wait(Whom::Child(pid), Patience::Look), Ok(Some(_)));
        end_the_rest(&running);
        let said = fs::read(&out).doing("read its output")?;
        let expected = fs::read(format!("{EXPECTED}/{name}")).doing("read what is expected")?;
        let how = match ended {
            _ if again => "twice".to_owned(),
            None => "late".to_owned(),
            Some(Ended::Exited(0)) if said == expected => "right".to_owned(),
            Some(Ended::Signalled(SIGKILL)) => "killed".to_owned(),
            Some(ended) => format!("wrong ({ended:?})").replace(' ', "-"),
        };
        let others: Vec<String> = running.seen.iter().map(i32::to_string).collect();
        tell(&format!(
            "{} ends {how} moves={} refused={} pids={}",
            running.label,
            running.moves,
            running.refused,
            others.join(",")
        ));
        if how != "right" {
            let text = String::from_utf8_lossy(&said[..said.len().min(SHOWN)]).into_owned();
            for line in text.lines() {
                tell(&format!("{} said: {line}", running.label));
            }
        }
        Ok(())
    }

    /// Moves its processes until it has ended. Nothing when it takes too long.
    fn until_the_end(&mut self, running: &mut Running) -> Result<Option<Ended>, String> {
        let begun = Instant::now();
        loop {
            if let Some((_, ended)) =
                wait(Whom::Child(running.pid), Patience::Look).doing("wait for a program")?
            {
                return Ok(Some(ended));
            }
            if begun.elapsed() > LIMIT {
                let _ = kill(running.pid, SIGKILL);
                let _ = wait(Whom::Child(running.pid), Patience::Block);
                return Ok(None);
            }
            if Path::new(END).exists() {
                // All come home, where they end sooner.
                for pid in &running.seen {
                    let _ = fs::write(proc_path(&format!("{pid}/goto")), "home");
                }
                std::thread::sleep(Duration::from_millis(100));
                continue;
            }
            self.move_one(running);
            // Mostly none to speak of, so that moves come as fast as they can.
            let pause = if self.random.one_in(4) { 40_000 } else { 2000 };
            std::thread::sleep(Duration::from_micros(self.random.below(pause)));
        }
    }

    fn move_one(&mut self, running: &mut Running) {
        running.seen.extend(children_of(&running.seen));
        let all: Vec<i32> = running.seen.iter().copied().collect();
        let pid = self.random.pick(&all);
        let node = 1 + self.random.below(self.nodes);
        let mode = self.random.pick(&MODES);
        match fs::write(
            proc_path(&format!("{pid}/goto")),
            format!("{node} {mode}").trim_end(),
        ) {
            Ok(()) => running.moves += 1,
            Err(error) if matches!(error.raw_os_error(), Some(rt::ESRCH | rt::ENOENT)) => {}
            Err(_) => running.refused += 1,
        }
    }
}

/// The names in a folder, in order.
fn names(folder: &str) -> Result<Vec<String>, String> {
    let entries = fs::read_dir(folder).doing(folder)?.flatten();
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort_unstable();
    if names.is_empty() {
        return Err(format!("{folder} is empty"));
    }
    Ok(names)
}

/// In the child: the program, in a session of its own.
fn become_program(script: &str, out: &File, work: &Path) -> i32 {
    let _ = rt::terminal::new_session();
    let prepared = File::open("/dev/null")
        .and_then(|null| {
            rt::files::redirect(null.as_fd(), Stream::Input)?;
            rt::files::redirect(out.as_fd(), Stream::Output)?;
            rt::files::redirect(out.as_fd(), Stream::Error)
        })
        .and_then(|()| std::env::set_current_dir(work));
    if let Err(error) = prepared {
        tell(&format!("cannot begin: {error}"));
        return 126;
    }
    let words = [SHELL, "ash", script];
    let words: Option<Vec<CString>> = words.iter().map(|word| CString::new(*word).ok()).collect();
    let environment: Vec<CString> = std::env::vars()
        .filter_map(|(name, value)| CString::new(format!("{name}={value}")).ok())
        .collect();
    if let Some(words) = words {
        let error = exec(&words[0], &words[1..], &environment);
        println!("{SHELL}: {error}");
    }
    127
}

/// Parent and session of a process.
fn kin_of(pid: i32) -> Option<(i32, i32)> {
    let text = fs::read_to_string(proc_path(&format!("{pid}/stat"))).ok()?;
    let (_, rest) = text.rsplit_once(')')?;
    let mut words = rest.split_ascii_whitespace().skip(1);
    let parent = words.next()?.parse().ok()?;
    let session = words.nth(1)?.parse().ok()?;
    Some((parent, session))
}

/// Processes whose parents are among these, or whose session one of these has made.
fn children_of(known: &BTreeSet<i32>) -> Vec<i32> {
    let is_kin = |pid: &i32| {
        kin_of(*pid)
            .is_some_and(|(parent, session)| known.contains(&parent) || known.contains(&session))
    };
    let unknown = pids().into_iter().filter(|pid| !known.contains(pid));
    unknown.filter(is_kin).collect()
}

/// A program that was lost leaves children behind: they end with it.
fn end_the_rest(running: &Running) {
    let mut rest = running.seen.clone();
    rest.extend(children_of(&rest));
    for pid in rest.into_iter().filter(|pid| *pid != running.pid) {
        let own = kin_of(pid).is_some_and(|(_, session)| session == running.pid);
        if own {
            let _ = kill(pid, SIGKILL);
        }
    }
}
