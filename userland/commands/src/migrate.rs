//! `migrate`, `mover` and `why`: moving processes by hand.
//!
//! Law: a move that fails leaves the process where it was, and the message says so and why.

use std::time::Duration;

use crate::proc::{is_gone, migstat_lines, place, reason, send, send_so};
use crate::{Done, Failure, print};

/// The modes of a move.
pub(crate) const MODES: [&str; 4] = ["post-copy", "pre-copy", "stop-and-copy", "hybrid"];

const MIGRATE: &str = "migrate [-v] [--mode MODE] [--max-freeze TIME] [--timeout TIME] \
    [--bandwidth BYTES/S] PID NODE|home|best, or migrate --cancel PID\n\
    MODE: post-copy (default), pre-copy, stop-and-copy, hybrid; TIME: 500us, 20ms, 3s; \
    BYTES/S: 1000000, 500K, 100M, 1G";

/// Moves a process once, or calls its move off.
pub(crate) fn migrate(arguments: &[String]) -> Done {
    const USAGE: Failure = Failure::Usage(MIGRATE);
    let mut verbose = false;
    let mut how = String::new();
    let mut rest = Vec::new();
    let mut words = arguments.iter().map(String::as_str);
    while let Some(word) = words.next() {
        let order = match word {
            "-v" => {
                verbose = true;
                continue;
            }
            "--cancel" => {
                let pid = words.next().and_then(|pid| pid.parse().ok());
                return call_off(pid.filter(|_| arguments.len() == 2).ok_or(USAGE)?);
            }
            "--mode" => words.next().and_then(mode),
            "--max-freeze" => words.next().and_then(|time| {
                let us = nanoseconds(time)?.div_ceil(1000);
                Some(format!("maxfreeze_us={us}"))
            }),
            "--timeout" => words.next().and_then(|time| {
                let ms = nanoseconds(time)?.div_ceil(1_000_000);
                Some(format!("timeout_ms={ms}"))
            }),
            "--bandwidth" => words
                .next()
                .and_then(|rate| Some(format!("bandwidth={}", bytes(rate)?))),
            option if option.starts_with('-') => return Err(USAGE),
            word => {
                rest.push(word);
                continue;
            }
        };
        how = format!("{how} {}", order.ok_or(USAGE)?);
    }
    let [pid, destination] = rest.as_slice() else {
        return Err(USAGE);
    };
    let pid: i32 = pid.parse().map_err(|_| USAGE)?;
    move_once(pid, destination, &how)?;
    if verbose {
        let (header, lines) = migstat_lines(pid)
            .map_err(|error| Failure::io(format!("cannot read migstat of {pid}"), &error))?;
        let last = lines.last().map_or("", String::as_str);
        print(format!("{header}\n{last}\n").as_bytes())?;
    }
    Ok(())
}

/// The order for a mode.
fn mode(name: &str) -> Option<String> {
    MODES.contains(&name).then(|| format!("mode={name}"))
}

/// Nanoseconds of a time like `500us`, `20ms`, `3s`.
pub(crate) fn nanoseconds(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "us" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        _ => return None,
    };
    let time = digits.parse::<u64>().ok()?.checked_mul(unit)?;
    (time > 0).then_some(time)
}

/// A number of bytes like `500K`, `100M`, `1G`.
fn bytes(text: &str) -> Option<u64> {
    let (digits, unit) = match text.as_bytes().last()? {
        b'K' => (&text[..text.len() - 1], 1_000),
        b'M' => (&text[..text.len() - 1], 1_000_000),
        b'G' => (&text[..text.len() - 1], 1_000_000_000),
        _ => (text, 1),
    };
    let bytes = digits.parse::<u64>().ok()?.checked_mul(unit)?;
    (bytes > 0).then_some(bytes)
}

fn move_once(pid: i32, destination: &str, how: &str) -> Done {
    send_so(pid, destination, how).map_err(|error| {
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

/// Calls off the move of a process that is under way.
fn call_off(pid: i32) -> Done {
    send(pid, "cancel").map_err(|error| {
        Failure::Problem(match is_gone(&error) {
            true => format!("no move of process {pid} is under way"),
            false => format!("the move of process {pid} goes on: {error}"),
        })
    })
}

/// Moves a process again and again, through the nodes and the modes in turn.
pub(crate) fn mover(arguments: &[String]) -> Done {
    const USAGE: Failure =
        Failure::Usage("mover [--every MS] [--modes MODE,MODE...] PID COUNT NODE...");
    let mut every = Duration::ZERO;
    let mut ways = vec![String::new()];
    let mut rest = arguments;
    while let [option, value, behind @ ..] = rest
        && option.starts_with("--")
    {
        match option.as_str() {
            "--every" => every = Duration::from_millis(value.parse().map_err(|_| USAGE)?),
            "--modes" => {
                let modes: Option<Vec<String>> = value.split(',').map(mode).collect();
                ways = modes.ok_or(USAGE)?;
            }
            _ => return Err(USAGE),
        }
        rest = behind;
    }
    let [pid, count, nodes @ ..] = rest else {
        return Err(USAGE);
    };
    let (Ok(pid), Ok(count), false) = (pid.parse::<i32>(), count.parse::<u64>(), nodes.is_empty())
    else {
        return Err(USAGE);
    };
    let mut moved = 0u64;
    for (node, how) in nodes.iter().cycle().zip(ways.iter().cycle()) {
        if moved == count {
            break;
        }
        match send_so(pid, node, how) {
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

/// Says where a process is, what keeps it from moving, and what its node would do with it and why.
pub(crate) fn why(arguments: &[String]) -> Done {
    const USAGE: Failure = Failure::Usage("why PID");
    let [pid] = arguments else {
        return Err(USAGE);
    };
    let pid: i32 = pid.parse().map_err(|_| USAGE)?;
    let read = |file: &str| {
        std::fs::read_to_string(rt::system::proc_path(&format!("{pid}/{file}")))
            .map_err(|error| Failure::io(format!("cannot ask about process {pid}"), &error))
    };
    let obstacle = read("cantmove")?;
    let obstacle = match obstacle.trim() {
        "" => "nothing keeps it from moving",
        text => text,
    };
    let placement = read("placement")?;
    print(format!("process {pid} on {}: {obstacle}\n{placement}", place(pid)).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::{bytes, nanoseconds};

    #[test]
    fn times_and_sizes_have_units() {
        assert_eq!(nanoseconds("500us"), Some(500_000));
        assert_eq!(nanoseconds("20ms"), Some(20_000_000));
        assert_eq!(nanoseconds("3s"), Some(3_000_000_000));
        for wrong in ["", "5", "ms", "0s", "-1s", "1h", "99999999999s", "1.5ms"] {
            assert_eq!(nanoseconds(wrong), None, "{wrong}");
        }
        assert_eq!(bytes("100"), Some(100));
        assert_eq!(bytes("500K"), Some(500_000));
        assert_eq!(bytes("2G"), Some(2_000_000_000));
        for wrong in ["", "0", "K", "-1", "1k", "99999999999999999999G"] {
            assert_eq!(bytes(wrong), None, "{wrong}");
        }
    }
}
