//! The commands: one program that is called by many names.
//!
//! Law: every command is one function from arguments to a status; it prints what went wrong as
//! `NAME: what` on standard error. Status 0 is success, 1 failure, 2 wrong use.

mod bench;
mod bench_files;
mod checkpoint;
mod cluster;
mod keep;
mod migrate;
mod mon;
mod place;
mod proc;
mod ps;
mod samples;

use std::fmt;
use std::io::{self, Write};

/// Why a command failed.
#[derive(Debug)]
enum Failure {
    /// The arguments are wrong; holds how they should be.
    Usage(&'static str),
    /// Something went wrong; holds what, in words.
    Problem(String),
}

impl Failure {
    /// An I/O error with what was being done.
    fn io(what: impl fmt::Display, error: &io::Error) -> Failure {
        Failure::Problem(format!("{what}: {error}"))
    }
}

impl From<String> for Failure {
    fn from(problem: String) -> Failure {
        Failure::Problem(problem)
    }
}

/// What a command gives.
type Done = Result<(), Failure>;

/// A command; its arguments come without its name.
type Run = fn(&[String]) -> Done;

/// All commands by name, in order.
const COMMANDS: [(&str, Run); 19] = [
    ("bench-files", bench_files::run),
    ("bench-migrate", bench::run),
    ("bench-samples", samples::run),
    ("checkpoint", checkpoint::checkpoint),
    ("cps", ps::run),
    ("drain", cluster::drain),
    ("keep", keep::keep),
    ("migrate", migrate::migrate),
    ("mon", mon::mon),
    ("mover", migrate::mover),
    ("nodes", cluster::nodes),
    ("owner", cluster::owner),
    ("policy", place::policy),
    ("poweroff", cluster::poweroff),
    ("ps", ps::run),
    ("restart", checkpoint::restart),
    ("run", place::run),
    ("undrain", cluster::undrain),
    ("why", migrate::why),
];

fn find(name: &str) -> Option<(&'static str, Run)> {
    COMMANDS.iter().copied().find(|(known, _)| *known == name)
}

fn main() {
    rt::process::default_action(rt::SIGPIPE);
    let words: Vec<String> = std::env::args_os()
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    std::process::exit(dispatch(&words));
}

/// Chooses the command by the name the program was called by, or else by the first argument.
fn dispatch(words: &[String]) -> i32 {
    let called = words
        .first()
        .map_or("", |word| word.rsplit('/').next().unwrap_or(""));
    if let Some((name, run)) = find(called) {
        return finish(name, run(words.get(1..).unwrap_or(&[])));
    }
    match words.get(1).map(String::as_str) {
        Some("--list") => {
            let names: String = COMMANDS
                .iter()
                .map(|(name, _)| format!("{name}\n"))
                .collect();
            finish("commands", print(names.as_bytes()))
        }
        Some(word) => match find(word) {
            Some((name, run)) => finish(name, run(&words[2..])),
            None => finish(
                "commands",
                Err(format!("there is no command `{word}`").into()),
            ),
        },
        None => finish(
            "commands",
            Err(Failure::Usage("commands --list | NAME [ARGUMENT]...")),
        ),
    }
}

fn finish(name: &str, done: Done) -> i32 {
    let done = done.and_then(|()| {
        io::stdout()
            .flush()
            .map_err(|error| Failure::io("cannot write", &error))
    });
    match done {
        Ok(()) => 0,
        Err(Failure::Usage(usage)) => {
            eprintln!("usage: {usage}");
            2
        }
        Err(Failure::Problem(problem)) => {
            // In one write: others write to the same console.
            let line = format!("{name}: {problem}\n");
            eprint!("{line}");
            1
        }
    }
}

/// Prints bytes.
fn print(bytes: &[u8]) -> Done {
    io::stdout()
        .write_all(bytes)
        .map_err(|error| Failure::io("cannot write", &error))
}

#[cfg(test)]
mod tests {
    #[test]
    fn names_are_in_order() {
        assert!(super::COMMANDS.is_sorted_by(|(left, _), (right, _)| left < right));
    }
}
