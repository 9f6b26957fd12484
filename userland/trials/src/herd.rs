//! `herd EVERY_MS NODES COMMAND...`: runs a command, and moves its processes all the while.
//!
//! Law: every so often one of the processes that began after this one is moved to one of the nodes, both
//! chosen at random; with 0 ms the command is moved once, before it begins, and its children begin where
//! it is. Ends with the command's status; says on standard error how many moves there were.

use std::ffi::CString;
use std::fs;
use std::time::Duration;

use rt::process::{Patience, Whom, exec, start, wait};
use rt::system::proc_path;

use crate::left::pids;
use crate::random::Random;
use crate::{Doing, USAGE, Verdict};

/// `herd EVERY_MS NODES COMMAND [ARGUMENT]...`
pub(crate) fn run(words: &[String]) -> Verdict {
    let [every, nodes, command, ..] = words else {
        return Err(USAGE.to_owned());
    };
    let every: u64 = every.parse().doing(every)?;
    let nodes: Vec<&str> = nodes.split_ascii_whitespace().collect();
    let first = *nodes.first().ok_or(USAGE)?;
    let known = pids();
    let own = i32::try_from(std::process::id()).doing("know itself")?;
    let texts: Vec<CString> = words[2..]
        .iter()
        .map(|word| CString::new(word.as_str()).doing(word))
        .collect::<Result<_, _>>()?;
    let environment: Vec<CString> = std::env::vars()
        .filter_map(|(name, value)| CString::new(format!("{name}={value}")).ok())
        .collect();
    let child = start(|| {
        if every == 0
            && let Err(error) = fs::write(proc_path("self/goto"), first)
        {
            eprintln!("trials: cannot go to {first}: {error}");
            return 126;
        }
        let error = exec(&texts[0], &texts, &environment);
        eprintln!("trials: {command}: {error}");
        127
    })
    .doing("start the command")?;
    let mut random = Random::of(child.unsigned_abs().into(), every);
    let mut moves = 0_u64;
    loop {
        if let Some((_, ended)) = wait(Whom::Child(child), patience(every)).doing("wait")? {
            eprintln!("herd: {moves} moves");
            std::process::exit(ended.shell_status());
        }
        std::thread::sleep(Duration::from_millis(every));
        let herd: Vec<i32> = pids()
            .into_iter()
            .filter(|pid| *pid != own && !known.contains(pid))
            .collect();
        if herd.is_empty() {
            continue;
        }
        let (pid, node) = (random.pick(&herd), random.pick(&nodes));
        // One that has just ended, or cannot move now, is left alone.
        let moved = fs::write(proc_path(&format!("{pid}/goto")), node);
        moves += u64::from(moved.is_ok());
    }
}

fn patience(every: u64) -> Patience {
    if every == 0 {
        Patience::Block
    } else {
        Patience::Look
    }
}
