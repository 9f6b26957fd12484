//! How a probe gets moved.
//!
//! Law: a move that was asked for has happened when this code returns, or the probe fails; and
//! the probe fails if it ended with fewer moves than were asked for.
//!
//! `DUNLIN_MOVES`: unset or `0`, no moves; a number, the probe moves itself so many times, to the
//! nodes in `DUNLIN_NODES` in turn; `external`, others move it, and it works for
//! `DUNLIN_SECONDS` (default 3).

use std::fs::{File, read_to_string};
use std::io::Write;
use std::os::unix::process::parent_id;
use std::time::{Duration, Instant};

use rt::process::{Ended, start, wait_for};
use rt::system::proc_path;

use crate::{Doing, Verdict, ensure};

/// How long a helper waits until its parent is surely blocked.
const UNTIL_BLOCKED: Duration = Duration::from_millis(40);

/// The moves a probe still has to make.
#[derive(Debug)]
pub(crate) struct Moves {
    left: u32,
    nodes: Vec<String>,
    next: usize,
    until: Option<Instant>,
    rounds: u32,
}

impl Moves {
    /// As the environment says.
    pub(crate) fn from_environment() -> Result<Moves, String> {
        let variable = |name: &str| std::env::var(name).unwrap_or_default();
        let seconds = match variable("DUNLIN_SECONDS").as_str() {
            "" => 3,
            text => text.parse().doing("DUNLIN_SECONDS")?,
        };
        Moves::parse(
            &variable("DUNLIN_MOVES"),
            &variable("DUNLIN_NODES"),
            seconds,
        )
    }

    fn parse(moves: &str, nodes: &str, seconds: u64) -> Result<Moves, String> {
        let (left, until) = match moves {
            "" => (0, None),
            "external" => (0, Some(Instant::now() + Duration::from_secs(seconds))),
            number => (number.parse().doing("DUNLIN_MOVES")?, None),
        };
        let nodes: Vec<String> = nodes.split_ascii_whitespace().map(str::to_owned).collect();
        ensure!(
            left == 0 || !nodes.is_empty(),
            "DUNLIN_NODES names no node to move to"
        );
        Ok(Moves {
            left,
            nodes,
            next: 0,
            until,
            rounds: 0,
        })
    }

    /// Whether to begin another round of prepare, move, verify: once at least, then as long as
    /// moves are left or the time is not over.
    pub(crate) fn more(&mut self) -> bool {
        self.rounds += 1;
        self.rounds == 1 || self.left > 0 || self.until.is_some_and(|until| Instant::now() < until)
    }

    /// The number of the round, from 1: a seed for patterns.
    pub(crate) fn round(&self) -> u64 {
        u64::from(self.rounds)
    }

    /// Takes the next move, for whoever is to make it.
    pub(crate) fn take(&mut self) -> Option<String> {
        self.left = self.left.checked_sub(1)?;
        let node = self.nodes.get(self.next % self.nodes.len()).cloned();
        self.next += 1;
        node
    }

    /// A move point: moves this process if a move is left.
    pub(crate) fn point(&mut self) -> Verdict {
        go(self.take().as_deref())
    }

    /// At the end of a probe: all moves must have been made.
    pub(crate) fn finish(self) -> Verdict {
        ensure!(self.left == 0, "{} moves were not made", self.left);
        Ok(())
    }

    /// Runs `work`, which blocks, while a child first moves this process, if a move is left, and
    /// then does `release`, which lets `work` go on.
    pub(crate) fn while_blocked<T>(
        &mut self,
        work: impl FnOnce() -> T,
        release: impl FnOnce() -> Verdict,
    ) -> Result<T, String> {
        let node = self.take();
        let parent = std::process::id();
        let helper = start(|| {
            std::thread::sleep(UNTIL_BLOCKED);
            let verdict = match &node {
                Some(node) if parent_id() == parent => send(parent, node),
                Some(_) => Err("the parent of the helper is another".to_owned()),
                None => Ok(()),
            };
            // Even when the move failed the parent must not stay blocked.
            tell(verdict.and(release()))
        })
        .doing("start a helper")?;
        let result = work();
        match wait_for(helper).doing("wait for the helper")? {
            Ended::Exited(0) => Ok(result),
            ended => Err(format!("the helper ended with {ended:?}")),
        }
    }
}

/// The exit status for a verdict; what is wrong goes to standard error.
pub(crate) fn tell(verdict: Verdict) -> i32 {
    match verdict {
        Ok(()) => 0,
        Err(reason) => {
            // In one write: others write to the same console.
            let line = format!("process {}: {reason}\n", std::process::id());
            eprint!("{line}");
            1
        }
    }
}

/// Moves this process to `node`, if there is one.
pub(crate) fn go(node: Option<&str>) -> Verdict {
    let Some(node) = node else {
        return Ok(());
    };
    write_goto("self", node)?;
    arrived("self", node)
}

/// Moves the process `pid` to `node`.
pub(crate) fn send(pid: u32, node: &str) -> Verdict {
    let pid = pid.to_string();
    write_goto(&pid, node)?;
    arrived(&pid, node)
}

/// This process's own `goto`, for a write made by other means.
pub(crate) fn own_goto() -> Result<File, String> {
    open_goto("self")
}

/// Checks that this process runs on `node`.
pub(crate) fn is_on(node: &str) -> Verdict {
    arrived("self", node)
}

fn open_goto(who: &str) -> Result<File, String> {
    let path = proc_path(&format!("{who}/goto"));
    File::options()
        .write(true)
        .open(&path)
        .doing(&path.display().to_string())
}

fn write_goto(who: &str, node: &str) -> Verdict {
    open_goto(who)?
        .write_all(format!("{node}\n").as_bytes())
        .doing(&format!("move {who} to {node}"))
}

fn arrived(who: &str, node: &str) -> Verdict {
    let read = |name: &str| {
        let path = proc_path(&format!("{who}/{name}"));
        read_to_string(&path)
            .map(|text| text.trim().to_owned())
            .doing(&path.display().to_string())
    };
    let place = read("where")?;
    if place == node {
        return Ok(());
    }
    // The home node has two names.
    let home = read("home")?;
    let same = (place == "home" && node == home) || (node == "home" && place == home);
    ensure!(same, "{who} was moved to {node} but runs on {place}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::Moves;

    #[test]
    fn counts_rounds_and_moves() {
        let mut moves = Moves::parse("3", "2 3", 0).expect("it is right");
        let mut taken = Vec::new();
        while moves.more() {
            taken.extend(moves.take());
            taken.extend(moves.take());
        }
        assert_eq!(taken, ["2", "3", "2"]);
        assert_eq!(moves.round(), 3);
        assert!(moves.finish().is_ok());
    }

    #[test]
    fn one_round_without_moves() {
        for mut moves in [Moves::parse("", "", 0), Moves::parse("0", "2", 0)].map(Result::unwrap) {
            assert!(moves.more());
            assert_eq!(moves.take(), None);
            assert!(!moves.more());
        }
    }

    #[test]
    fn refuses_nonsense_and_lost_moves() {
        assert!(Moves::parse("x", "2", 0).is_err());
        assert!(Moves::parse("1", " ", 0).is_err());
        assert!(
            Moves::parse("1", "2", 0)
                .expect("it is right")
                .finish()
                .is_err()
        );
    }
}
