//! Small commands without files: `date`, `echo`, `kill`, `seq`, `sleep`, `uptime` and so on.
//!
//! Law: each does the plain form of its namesake and refuses options it does not have.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::{Done, Failure, print};

/// The last part of a path.
pub(crate) fn basename(arguments: &[String]) -> Done {
    let [path] = arguments else {
        return Err(Failure::Usage("basename PATH"));
    };
    let name = path.trim_end_matches('/').rsplit('/').next().unwrap_or("");
    print(format!("{}\n", if name.is_empty() { "/" } else { name }).as_bytes())
}

/// The time in UTC; with `+%s` in seconds since 1970.
pub(crate) fn date(arguments: &[String]) -> Done {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    match arguments {
        [] => print(format!("{}\n", civil(now)).as_bytes()),
        [format] if format == "+%s" => print(format!("{now}\n").as_bytes()),
        _ => Err(Failure::Usage("date [+%s]")),
    }
}

/// Date and time of day of `seconds` since 1970, by the Gregorian calendar.
fn civil(seconds: u64) -> String {
    let (mut days, second) = (seconds / 86_400, seconds % 86_400);
    let mut year = 1970u64;
    let leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    // 400 years have always 146 097 days.
    year += days / 146_097 * 400;
    days %= 146_097;
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let february = 28 + u64::from(leap(year));
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!(
        "{year:04}-{month:02}-{:02} {hour:02}:{minute:02}:{second:02} UTC",
        days + 1
    )
}

/// Prints its arguments.
pub(crate) fn echo(arguments: &[String]) -> Done {
    match arguments {
        [option, rest @ ..] if option == "-n" => print(rest.join(" ").as_bytes()),
        rest => print(format!("{}\n", rest.join(" ")).as_bytes()),
    }
}

/// Prints the environment.
pub(crate) fn env(arguments: &[String]) -> Done {
    if !arguments.is_empty() {
        return Err(Failure::Usage("env"));
    }
    let lines: String = std::env::vars_os()
        .map(|(name, value)| format!("{}={}\n", name.to_string_lossy(), value.to_string_lossy()))
        .collect();
    print(lines.as_bytes())
}

/// Numbers of signals by name (signal(7), x86-64).
const SIGNALS: [(&str, i32); 14] = [
    ("ABRT", 6),
    ("ALRM", 14),
    ("CHLD", 17),
    ("CONT", 18),
    ("HUP", 1),
    ("INT", 2),
    ("KILL", 9),
    ("PIPE", 13),
    ("QUIT", 3),
    ("SEGV", 11),
    ("STOP", 19),
    ("TERM", 15),
    ("USR1", 10),
    ("USR2", 12),
];

/// Sends a signal to processes.
pub(crate) fn kill(arguments: &[String]) -> Done {
    const USAGE: Failure = Failure::Usage("kill [-SIGNAL] PID...");
    let (signal, pids) = match arguments {
        [option, rest @ ..] if option.starts_with('-') => {
            let name = option.trim_start_matches('-').trim_start_matches("SIG");
            let known = SIGNALS
                .iter()
                .find(|(known, _)| *known == name)
                .map(|&(_, number)| number);
            (known.or_else(|| name.parse().ok()).ok_or(USAGE)?, rest)
        }
        rest => (rt::SIGTERM, rest),
    };
    if pids.is_empty() {
        return Err(USAGE);
    }
    let mut failed = false;
    for word in pids {
        let pid: i32 = word.parse().map_err(|_| USAGE)?;
        if let Err(error) = rt::process::kill(pid, signal) {
            eprintln!("kill: process {pid}: {error}");
            failed = true;
        }
    }
    if failed {
        Err(Failure::Status(1))
    } else {
        Ok(())
    }
}

/// Prints the current directory.
pub(crate) fn pwd(_: &[String]) -> Done {
    let path = std::env::current_dir().map_err(|error| Failure::io("no directory", &error))?;
    print(format!("{}\n", path.display()).as_bytes())
}

/// Counts.
pub(crate) fn seq(arguments: &[String]) -> Done {
    const USAGE: Failure = Failure::Usage("seq [FIRST] LAST");
    let number = |word: &String| word.parse::<i64>().map_err(|_| USAGE);
    let (first, last) = match arguments {
        [last] => (1, number(last)?),
        [first, last] => (number(first)?, number(last)?),
        _ => return Err(USAGE),
    };
    for value in first..=last {
        print(format!("{value}\n").as_bytes())?;
    }
    Ok(())
}

/// Sleeps so many seconds, which may be a fraction.
pub(crate) fn sleep(arguments: &[String]) -> Done {
    const USAGE: Failure = Failure::Usage("sleep SECONDS");
    let [seconds] = arguments else {
        return Err(USAGE);
    };
    let seconds: f64 = seconds.parse().map_err(|_| USAGE)?;
    std::thread::sleep(Duration::try_from_secs_f64(seconds).map_err(|_| USAGE)?);
    Ok(())
}

/// Prints what system this is; `-a` all of it.
pub(crate) fn uname(arguments: &[String]) -> Done {
    let name = rt::system::uname().map_err(|error| Failure::io("uname", &error))?;
    match arguments {
        [] => print(format!("{}\n", name.system).as_bytes()),
        [option] if option == "-a" => {
            let all = [
                name.system,
                name.host,
                name.release,
                name.version,
                name.machine,
            ];
            print(format!("{}\n", all.join(" ")).as_bytes())
        }
        [option] if option == "-n" => print(format!("{}\n", name.host).as_bytes()),
        [option] if option == "-r" => print(format!("{}\n", name.release).as_bytes()),
        _ => Err(Failure::Usage("uname [-a|-n|-r]")),
    }
}

/// How long the machine has been running.
pub(crate) fn uptime(_: &[String]) -> Done {
    let up = rt::system::monotonic().map_err(|error| Failure::io("clock", &error))?;
    print(format!("up {}.{:03} s\n", up.as_secs(), up.subsec_millis()).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::civil;

    #[test]
    fn knows_the_calendar() {
        assert_eq!(civil(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(civil(951_782_400), "2000-02-29 00:00:00 UTC");
        assert_eq!(civil(1_000_000_000), "2001-09-09 01:46:40 UTC");
        assert_eq!(civil(4_107_542_400), "2100-03-01 00:00:00 UTC");
        assert_eq!(civil(13_574_649_599), "2400-02-29 23:59:59 UTC");
    }
}
