//! `run` and `policy`: where programs begin and who decides where they go on.
//!
//! Law: `run` becomes the program, so its number, its terminal and its children are the program's; what
//! cannot be placed as asked is not started.

use std::os::unix::process::CommandExt;
use std::process::Command;

use rt::system::proc_path;

use crate::proc::{reason, send, write};
use crate::{Done, Failure, print};

const EINVAL: i32 = 22;

/// The policies, as the system calls them.
const POLICIES: &str = "manual, balance, exec or scavenge";

const RUN: &str = "run [-b|-h|-r NODE] [-L|-p POLICY] PROGRAM [ARGUMENT]...\n\
    -b        begin on the node that is best for it now\n\
    -h        begin at home\n\
    -r NODE   begin on that node\n\
    -L        stay there until somebody moves it (as -p manual)\n\
    -p POLICY manual, balance, exec, scavenge or default: who moves it and its children";

/// What `run` was asked for.
#[derive(Debug, PartialEq, Eq)]
struct Wish<'a> {
    destination: Option<&'a str>,
    policy: Option<&'a str>,
    program: &'a [String],
}

fn wish(arguments: &[String]) -> Option<Wish<'_>> {
    let mut wish = Wish {
        destination: None,
        policy: None,
        program: arguments,
    };
    loop {
        let [word, rest @ ..] = wish.program else {
            return None;
        };
        let (place, slot) = match word.as_str() {
            "-b" => ("best", &mut wish.destination),
            "-h" => ("home", &mut wish.destination),
            "-L" => ("manual", &mut wish.policy),
            "-r" | "-p" => {
                let (value, behind) = rest.split_first()?;
                let slot = match word.as_str() {
                    "-r" => {
                        value.parse::<u16>().ok()?;
                        &mut wish.destination
                    }
                    _ => &mut wish.policy,
                };
                wish.program = behind;
                slot.replace(value).map_or(Some(()), |_| None)?;
                continue;
            }
            "--" => {
                wish.program = rest;
                return (!rest.is_empty()).then_some(wish);
            }
            option if option.starts_with('-') => return None,
            _ => return Some(wish),
        };
        wish.program = rest;
        slot.replace(place).map_or(Some(()), |_| None)?;
    }
}

/// Becomes a program, on the node and with the policy that were asked for.
pub(crate) fn run(arguments: &[String]) -> Done {
    let Wish {
        destination,
        policy,
        program,
    } = wish(arguments).ok_or(Failure::Usage(RUN))?;
    let name = &program[0];
    let own = std::process::id();
    // Until it is where it is to begin, nobody moves it, and nobody places the program.
    if let Some(destination) = destination {
        let own = i32::try_from(own).unwrap_or(0);
        send(own, destination).map_err(|error| {
            let why = reason(own, destination, &error);
            Failure::Problem(format!("{name} was not started: {why}"))
        })?;
    }
    if let Some(policy) = policy {
        set(&format!("{own}/policy"), policy)?;
    }
    let error = Command::new(name).args(&program[1..]).exec();
    Err(Failure::io(format!("cannot start {name}"), &error))
}

/// Shows or sets who decides that processes move: all of the cluster's, or those of one process.
pub(crate) fn policy(arguments: &[String]) -> Done {
    const USAGE: Failure =
        Failure::Usage("policy [-p PID] [manual|balance|exec|scavenge], or policy -p PID default");
    let (file, rest) = match arguments {
        [option, pid, rest @ ..] if option == "-p" => {
            let pid: u32 = pid.parse().map_err(|_| USAGE)?;
            (format!("{pid}/policy"), rest)
        }
        rest => ("cluster/policy".to_owned(), rest),
    };
    match rest {
        [] => {
            let path = proc_path(&file);
            let text = std::fs::read(&path)
                .map_err(|error| Failure::io(format!("cannot read {}", path.display()), &error))?;
            print(&text)
        }
        [name] if !name.starts_with('-') => set(&file, name),
        _ => Err(USAGE),
    }
}

fn set(file: &str, name: &str) -> Done {
    write(file, name).map_err(|error| match error.raw_os_error() {
        Some(EINVAL) => Failure::Problem(format!("there is no policy {name:?}: {POLICIES}")),
        Some(rt::ESRCH | rt::ENOENT) => Failure::Problem("there is no such process".to_owned()),
        _ => Failure::io("cannot set the policy", &error),
    })
}

#[cfg(test)]
mod tests {
    use super::{Wish, wish};

    #[test]
    fn what_run_is_asked_for() {
        let words = |line: &str| -> Vec<String> {
            line.split_ascii_whitespace().map(str::to_owned).collect()
        };
        let line = words("-r 3 -L sh -c x");
        let expected = Wish {
            destination: Some("3"),
            policy: Some("manual"),
            program: &line[3..],
        };
        assert_eq!(wish(&line), Some(expected));
        let line = words("-b -p balance -- -x");
        let expected = Wish {
            destination: Some("best"),
            policy: Some("balance"),
            program: &line[4..],
        };
        assert_eq!(wish(&line), Some(expected));
        for wrong in [
            "",
            "-b",
            "-b -h sh",
            "-r sh",
            "-r x sh",
            "-L -p exec sh",
            "-x sh",
            "-p",
        ] {
            assert_eq!(wish(&words(wrong)), None, "{wrong}");
        }
    }
}
