//! `migrate`, `mover` and `why`: moving processes by hand.
//!
//! Law: a move that fails leaves the process where it was, and the message says so and why.

use std::time::Duration;

use crate::proc::{is_gone, migstat_lines, place, reason, send};
use crate::{Done, Failure, print};

/// Moves a process once.
pub(crate) fn migrate(arguments: &[String]) -> Done {
    const USAGE: &str = "migrate [-v] PID NODE|home";
    let (verbose, rest) = match arguments {
        [option, rest @ ..] if option == "-v" => (true, rest),
        rest => (false, rest),
    };
    let [pid, destination] = rest else {
        return Err(Failure::Usage(USAGE));
    };
    let pid: i32 = pid.parse().map_err(|_| Failure::Usage(USAGE))?;
    move_once(pid, destination)?;
    if verbose {
        let (header, lines) = migstat_lines(pid)
            .map_err(|error| Failure::io(format!("cannot read migstat of {pid}"), &error))?;
        let last = lines.last().map_or("", String::as_str);
        print(format!("{header}\n{last}\n").as_bytes())?;
    }
    Ok(())
}

fn move_once(pid: i32, destination: &str) -> Done {
    send(pid, destination).map_err(|error| {
        let why = reason(pid, destination, &error);
        let stays = if is_gone(&error) {
            String::new()
        } else {
            format!(" (it runs on where it was: {})", place(pid))
        };
        Failure::Problem(format!(
            "process {pid} did not move to {destination}: {why}{stays}"
        ))
    })
}

/// Moves a process again and again, through the nodes in turn.
pub(crate) fn mover(arguments: &[String]) -> Done {
    const USAGE: Failure = Failure::Usage("mover [--every MS] PID COUNT NODE...");
    let (every, rest) = match arguments {
        [option, every, rest @ ..] if option == "--every" => (
            Duration::from_millis(every.parse().map_err(|_| USAGE)?),
            rest,
        ),
        rest => (Duration::ZERO, rest),
    };
    let [pid, count, nodes @ ..] = rest else {
        return Err(USAGE);
    };
    let (Ok(pid), Ok(count), false) = (pid.parse::<i32>(), count.parse::<u64>(), nodes.is_empty())
    else {
        return Err(USAGE);
    };
    let mut moved = 0u64;
    for node in nodes.iter().cycle() {
        if moved == count {
            break;
        }
        match send(pid, node) {
            Ok(()) => moved += 1,
            Err(error) if is_gone(&error) => break,
            Err(error) => {
                let why = reason(pid, node, &error);
                return Err(Failure::Problem(format!(
                    "process {pid} did not move to {node} after {moved} moves: {why}"
                )));
            }
        }
        if !every.is_zero() {
            std::thread::sleep(every);
        }
    }
    print(format!("moved {moved}\n").as_bytes())
}

/// Says what keeps a process from moving.
pub(crate) fn why(arguments: &[String]) -> Done {
    const USAGE: Failure = Failure::Usage("why PID");
    let [pid] = arguments else {
        return Err(USAGE);
    };
    let pid: i32 = pid.parse().map_err(|_| USAGE)?;
    let path = rt::system::proc_path(&format!("{pid}/cantmove"));
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::io(format!("cannot ask about process {pid}"), &error))?;
    let text = text.trim();
    let text = if text.is_empty() {
        "nothing keeps it from moving"
    } else {
        text
    };
    print(format!("process {pid} on {}: {text}\n", place(pid)).as_bytes())
}
