//! `keep`: a program that goes on from its last checkpoint when it is lost with the node it was on.
//!
//! Law: it is begun again only when home says that it is lost, so there are never two of it; and what it
//! ends with, `keep` ends with.

use std::fs::{read_to_string, remove_file};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::Command;

use rt::files::poll_input;
use rt::process::Ended;
use rt::system::proc_path;

use crate::checkpoint::{begin, end_of, save};
use crate::migrate::nanoseconds;
use crate::proc::{place, reason, send};
use crate::{Done, Failure};

const USAGE: &str = "keep [--every TIME] FILE PROGRAM [ARGUMENT]...\n\
    FILE          its checkpoints, one in the place of the other; not there any more when the program has ended\n\
    --every TIME  how often one is taken, in s, ms or us (60s)\n\
    If the program is lost with its node it goes on from FILE. If keep itself is, `restart FILE` does that";
const EVERY_NS: u64 = 60_000_000_000;

/// What `keep` was asked for.
#[derive(Debug, PartialEq, Eq)]
struct Wish<'a> {
    every_ms: i32,
    file: &'a str,
    program: &'a [String],
}

fn wish(arguments: &[String]) -> Option<Wish<'_>> {
    let (every_ns, rest) = match arguments {
        [option, time, rest @ ..] if option == "--every" => (nanoseconds(time)?, rest),
        rest => (EVERY_NS, rest),
    };
    let (file, program) = rest.split_first()?;
    let is_wish = !file.starts_with('-') && !program.is_empty();
    is_wish.then_some(Wish {
        every_ms: i32::try_from(every_ns.div_ceil(1_000_000)).ok()?,
        file,
        program,
    })
}

/// The epoch in which a process was lost last, by what its home tells of it.
fn loss_in(events: &str, pid: i32) -> Option<u64> {
    let mut lost = events.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace().skip(1);
        let (of, epoch, _node, event) = (words.next()?, words.next()?, words.next(), words.next()?);
        let is_loss = of.parse() == Ok(pid) && ["lost", "pages-lost"].contains(&event);
        epoch.parse().ok().filter(|_| is_loss)
    });
    lost.next_back()
}

fn loss(pid: i32) -> Option<u64> {
    loss_in(&read_to_string(proc_path("cluster/events")).ok()?, pid)
}

fn start(program: &[String]) -> Result<i32, Failure> {
    let name = &program[0];
    let child = Command::new(name).args(&program[1..]).spawn();
    let child = child.map_err(|error| Failure::io(format!("cannot start {name}"), &error))?;
    i32::try_from(child.id()).map_err(|_| "its number is none".to_owned().into())
}

/// Takes a checkpoint, for which the process comes home if it is elsewhere, and goes back.
fn take(pid: i32, file: &str) -> Done {
    let node = place(pid);
    save(pid, file)?;
    if node.parse::<u16>().is_ok() && place(pid) == "home" {
        send(pid, &node).map_err(|error| {
            let why = reason(pid, &node, &error);
            Failure::Problem(format!("it stays at home: {why}"))
        })?;
    }
    Ok(())
}

/// Takes checkpoints until the process ends. What keeps it from having one is told once.
fn accompany(pid: i32, wish: &Wish<'_>) -> Result<Ended, Failure> {
    let ended = || end_of(pid);
    let Ok(process) = rt::events::process(pid) else {
        return ended();
    };
    let over =
        |ms| poll_input(process.as_fd(), ms).map_err(|e| Failure::io("it cannot be watched", &e));
    let mut told = String::new();
    while over(wish.every_ms)?.is_none() {
        let taken = take(pid, wish.file);
        if let Err(Failure::Problem(why)) = taken
            && why != told
            && over(0)?.is_none()
        {
            eprintln!("keep: {why}");
            told = why;
        }
    }
    ended()
}

/// Runs a program to its end, beyond the nodes that it is on.
pub(crate) fn keep(arguments: &[String]) -> Done {
    let wish = wish(arguments).ok_or(Failure::Usage(USAGE))?;
    let Wish { file, program, .. } = wish;
    if Path::new(file).exists() {
        let what = format!("{file} is there: `restart {file}` goes on from it, or remove it");
        return Err(what.into());
    }
    let mut pid = start(program)?;
    loop {
        let before = loss(pid);
        let ended = accompany(pid, &wish)?;
        let lost = matches!(ended, Ended::Signalled(_)) && loss(pid) != before;
        if !lost {
            // Nothing is left to go on from; a file that stays would only be in the way.
            let _ended = remove_file(file);
            std::process::exit(ended.shell_status());
        }
        pid = match Path::new(file).exists() {
            true => {
                eprintln!("keep: process {pid} is lost with its node; it goes on from {file}");
                begin(file)?
            }
            false => {
                eprintln!(
                    "keep: process {pid} is lost with its node before its first checkpoint; it begins anew"
                );
                start(program)?
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::{Wish, loss_in, wish};

    fn words(line: &str) -> Vec<String> {
        line.split_ascii_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn what_keep_is_asked_for() {
        let line = words("--every 500ms job sh -c x");
        let expected = Wish {
            every_ms: 500,
            file: "job",
            program: &line[3..],
        };
        assert_eq!(wish(&line), Some(expected));
        assert_eq!(
            wish(&words("job x")).map(|wish| wish.every_ms),
            Some(60_000)
        );
        assert_eq!(
            wish(&words("--every 1us job x")).map(|wish| wish.every_ms),
            Some(1)
        );
        for wrong in [
            "",
            "job",
            "--every 5 job x",
            "--every",
            "-x job x",
            "--every 9999999999s job x",
        ] {
            assert_eq!(wish(&words(wrong)), None, "{wrong}");
        }
    }

    #[test]
    fn a_loss_is_the_last_one_of_that_process() {
        let events = "      time_s      pid  epoch  node  event       what is safe
    1.000000       70      3     2  lost        it is lost
    2.000000       71      4     2  pages-lost  the node
    3.000000       70      5     3  lost        it is lost
    4.000000       70      6     3  moved       the move is over
# 4 older ones are overwritten";
        assert_eq!(loss_in(events, 70), Some(5));
        assert_eq!(loss_in(events, 71), Some(4));
        assert_eq!(loss_in(events, 7), None);
    }
}
