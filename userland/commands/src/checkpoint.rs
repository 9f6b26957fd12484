//! `checkpoint` and `restart`: a process as a file, and a process again from it.
//!
//! Law: under its name there is a whole checkpoint or none: what is being written has another name until it is on the
//! disk. A process that is to stop for good is ended only then.

use std::fs::{File, read_to_string, remove_file, rename};
use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use rt::process::{Ended, kill, wait_for};
use rt::system::proc_path;
use rt::{SIGCONT, SIGKILL, SIGSTOP};

use crate::proc::{Stat, obstacle};
use crate::{Done, Failure};

const CHECKPOINT: &str = "checkpoint [--stop] PID FILE\n\
    FILE      `-` is standard output\n\
    --stop    the process ends with its checkpoint, so that it goes on from there and nowhere else";
const RESTART: &str = "restart FILE\n\
    FILE      a checkpoint; `-` is standard input\n\
    It takes the process's number, waits for it, and ends with its status";

/// Bytes that are copied at once.
const PIECE: usize = 64 << 10;
/// How often somebody who waits is told how far it is.
const NEWS: Duration = Duration::from_secs(2);
/// In front of the number of the process in a checkpoint, and the number.
const FRONT: usize = 16;

/// Copies all of it, telling how far it is if that takes long.
fn copy(name: &str, from: &mut impl Read, to: &mut impl Write) -> Result<u64, (bool, io::Error)> {
    let mut piece = vec![0; PIECE];
    let (mut all, mut told) = (0, Instant::now());
    loop {
        let count = match from.read(&mut piece) {
            Ok(0) => return Ok(all),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err((true, error)),
        };
        to.write_all(&piece[..count])
            .map_err(|error| (false, error))?;
        all += count as u64;
        if told.elapsed() >= NEWS {
            told = Instant::now();
            eprintln!("{name}: {} MiB so far", all >> 20);
        }
    }
}

fn state(pid: i32) -> Option<char> {
    let text = read_to_string(proc_path(&format!("{pid}/stat"))).ok()?;
    Some(Stat::parse(&text)?.state)
}

/// Stops a process, for when nothing may happen between its checkpoint and its end.
fn stop(pid: i32) -> io::Result<()> {
    kill(pid, SIGSTOP)?;
    let since = Instant::now();
    while state(pid).is_some_and(|state| state != 'T') {
        if since.elapsed() > 5 * NEWS {
            return Err(io::ErrorKind::TimedOut.into());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

fn why_not_taken(pid: i32, error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(rt::EBUSY) => obstacle(pid),
        Some(rt::ESRCH | rt::ENOENT) => "there is no such process".to_owned(),
        Some(rt::EPERM | rt::EACCES) => "it belongs to somebody else".to_owned(),
        Some(rt::ETIMEDOUT) => "it does not stand still; try again".to_owned(),
        Some(rt::EINVAL) => "no process takes its own".to_owned(),
        _ => error.to_string(),
    }
}

/// Writes the checkpoint of a process to a file, whole or not at all.
pub(crate) fn save(pid: i32, file: &str) -> Result<u64, Failure> {
    let no = |why: String| Failure::Problem(format!("no checkpoint of process {pid}: {why}"));
    let untaken = |error: &io::Error| no(why_not_taken(pid, error));
    let mut from = File::open(proc_path(&format!("{pid}/checkpoint"))).map_err(|e| untaken(&e))?;
    let explain = |(reading, error): (bool, io::Error)| match reading {
        true => untaken(&error),
        false => no(format!("cannot write {file}: {error}")),
    };
    if file == "-" {
        return copy("checkpoint", &mut from, &mut io::stdout().lock()).map_err(explain);
    }
    let part = format!("{file}.part");
    let written = File::create(&part)
        .map_err(|error| (false, error))
        .and_then(|mut to| {
            let bytes = copy("checkpoint", &mut from, &mut to)?;
            let kept = to.sync_all().and_then(|()| rename(&part, file));
            kept.map(|()| bytes).map_err(|error| (false, error))
        });
    written.map_err(|error| {
        // The failure is told; what is left of the file may not be there at all.
        let _left = remove_file(&part);
        explain(error)
    })
}

/// Takes the checkpoint of a process.
pub(crate) fn checkpoint(arguments: &[String]) -> Done {
    let (ends, pid, file) = match arguments {
        [pid, file] => (false, pid, file),
        [option, pid, file] if option == "--stop" => (true, pid, file),
        _ => return Err(Failure::Usage(CHECKPOINT)),
    };
    let pid: i32 = pid.parse().map_err(|_| Failure::Usage(CHECKPOINT))?;
    if pid <= 0 {
        return Err(Failure::Usage(CHECKPOINT));
    }
    if !ends {
        return save(pid, file).map(drop);
    }
    let saved = stop(pid)
        .map_err(|error| {
            Failure::Problem(format!(
                "process {pid} runs on: {}",
                why_not_taken(pid, &error)
            ))
        })
        .and_then(|()| save(pid, file));
    match saved {
        Ok(_) => kill(pid, SIGKILL).map_err(|error| Failure::io("it cannot be ended", &error)),
        Err(failure) => {
            // If it is gone there is nothing to continue.
            let _gone = kill(pid, SIGCONT);
            Err(failure)
        }
    }
}

fn why_not_begun(error: &io::Error) -> String {
    let why = match error.raw_os_error() {
        Some(rt::EEXIST) => "its number is in use: it, or another process, is there",
        Some(rt::EXDEV) => "its home is another node: restart it there",
        Some(rt::EBADMSG) => "this is no checkpoint, or a damaged one",
        Some(rt::EOPNOTSUPP) => "another version of the system has written it",
        Some(rt::ENOENT) => "a file or a directory is gone that it had open",
        Some(rt::ESTALE) => "a file has changed that it maps",
        Some(rt::ENOMEM) => "there is not enough memory for it",
        Some(rt::EAGAIN) => "there are too many processes",
        Some(rt::EPERM | rt::EACCES) => "only root may",
        _ => return format!("not restarted: {error}"),
    };
    format!("not restarted: {why}")
}

/// Begins a process again, as a child.
pub(crate) fn begin(file: &str) -> Result<i32, Failure> {
    let no = |error: &io::Error| Failure::Problem(why_not_begun(error));
    let unread = |error: &io::Error| Failure::io(format!("cannot read {file}"), error);
    let mut from: Box<dyn Read> = match file {
        "-" => Box::new(io::stdin().lock()),
        name => Box::new(File::open(name).map_err(|error| unread(&error))?),
    };
    let mut front = [0; FRONT];
    from.read_exact(&mut front)
        .map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => no(&io::Error::from_raw_os_error(rt::EBADMSG)),
            _ => unread(&error),
        })?;
    let mut to = File::options()
        .write(true)
        .open(proc_path("cluster/restart"))
        .map_err(|error| no(&error))?;
    let mut all = front.as_slice().chain(from);
    copy("restart", &mut all, &mut to).map_err(|(reading, error)| match reading {
        true => unread(&error),
        false => no(&error),
    })?;
    let pid = i32::from_le_bytes([front[12], front[13], front[14], front[15]]);
    if state(pid) == Some('T') {
        // Stopped when it was taken: that was for the checkpoint.
        kill(pid, SIGCONT).map_err(|error| Failure::io("it cannot be continued", &error))?;
    }
    Ok(pid)
}

/// How a process ended that was begun again.
pub(crate) fn end_of(pid: i32) -> Result<Ended, Failure> {
    // If it is no child of ours the end of the file was missing, so nothing has begun.
    let damaged = || io::Error::from_raw_os_error(rt::EBADMSG);
    wait_for(pid).map_err(|_| Failure::Problem(why_not_begun(&damaged())))
}

/// Begins a process again, and ends as it ends.
pub(crate) fn restart(arguments: &[String]) -> Done {
    let [file] = arguments else {
        return Err(Failure::Usage(RESTART));
    };
    std::process::exit(end_of(begin(file)?)?.shell_status())
}
