//! Starting other programs: found on PATH, with a clean environment, within a time limit.

use crate::error::{Error, Outcome};
use crate::{places, say};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How often a long program says how far it is.
const PROGRESS: Duration = Duration::from_secs(30);

/// The program `name` on PATH.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    find_in(&std::env::var_os("PATH")?, name)
}

fn find_in(path: &std::ffi::OsStr, name: &str) -> Option<PathBuf> {
    std::env::split_paths(path)
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

/// A command without what the cargo that runs us has put into the environment: its children would
/// take our settings for theirs.
pub(crate) fn clean(program: impl AsRef<Path>) -> Command {
    let mut command = Command::new(program.as_ref());
    for (key, _) in std::env::vars_os() {
        let Some(name) = key.to_str() else { continue };
        let ours = matches!(
            name,
            "RUSTFLAGS" | "RUSTC" | "RUSTDOC" | "CARGO" | "LD_LIBRARY_PATH"
        ) || name.starts_with("CARGO_PKG_")
            || name.starts_with("CARGO_MANIFEST_")
            || name.starts_with("CARGO_ENCODED_")
            || name.starts_with("CARGO_BIN_");
        if ours {
            command.env_remove(&key);
        }
    }
    command
}

/// Runs it, its output going where ours goes on standard error.
pub(crate) fn run(command: &mut Command, what: &str) -> Result<(), Error> {
    command.stdin(Stdio::null()).stdout(to_stderr());
    let status = command.status().map_err(starting(command))?;
    judge(what, status, "")
}

/// Runs a program of this workspace, built for it, and gives its status.
pub(crate) fn run_tool(package: &str, words: &[String]) -> Outcome {
    let mut command = clean("cargo");
    command
        .args(["run", "--quiet", "--release", "-p", package, "--"])
        .args(words)
        .current_dir(places::root());
    let status = command.status().map_err(starting(&command))?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.unwrap_or(1))
}

/// Options and their numbers as words, of those that have one.
pub(crate) fn numbered<const N: usize>(numbers: [(&str, Option<u64>); N]) -> Vec<String> {
    let given = numbers.into_iter().filter_map(|(name, number)| {
        let number = number?.to_string();
        Some([name.to_owned(), number])
    });
    given.flatten().collect()
}

/// Runs it within `limit`, everything it says going to `log`.
pub(crate) fn run_logged(
    command: &mut Command,
    what: &str,
    log: &Path,
    limit: Duration,
) -> Result<(), Error> {
    let file = File::create(log).map_err(Error::file("create", log))?;
    let second = file.try_clone().map_err(Error::file("write", log))?;
    command.stdin(Stdio::null()).stdout(file).stderr(second);
    let mut child = command.spawn().map_err(starting(command))?;
    let status = wait_until(&mut child, Instant::now() + limit);
    let tail = || {
        let text = std::fs::read_to_string(log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let last = &lines[lines.len().saturating_sub(8)..];
        format!(
            ". The last lines of {}:\n{}",
            log.display(),
            last.join("\n")
        )
    };
    match status {
        Some(status) if status.success() => Ok(()),
        Some(status) => judge(what, status, &tail()),
        None => Err(Error::Program {
            what: what.to_owned(),
            status: format!("stopped after {} s", limit.as_secs()),
            detail: tail(),
        }),
    }
}

/// Waits for the child; kills it at `deadline` and returns `None`.
fn wait_until(child: &mut Child, deadline: Instant) -> Option<ExitStatus> {
    loop {
        if let Ok(Some(status)) = child.try_wait() {
            return Some(status);
        }
        if Instant::now() >= deadline {
            let _ = child.kill();
            let _ = child.wait();
            return None;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Runs it and returns what it wrote to standard output.
pub(crate) fn output(command: &mut Command, what: &str) -> Result<String, Error> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(starting(command))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let detail = if said.trim().is_empty() {
        String::new()
    } else {
        format!(": {}", said.trim())
    };
    judge(what, output.status, &detail)?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// What a command prints, where that takes minutes: how far it is, is said now and then. What it says on standard error
/// is shown as it comes.
///
/// # Errors
/// When it cannot be started or fails.
pub(crate) fn output_told(command: &mut Command, what: &str) -> Result<String, Error> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(starting(command))?;
    let mut text = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        let mut lines = BufReader::new(stdout);
        let mut told = Instant::now();
        // What is unreadable ends it as the end does: its status says the rest.
        while lines
            .read_until(b'\n', &mut text)
            .is_ok_and(|read| read > 0)
        {
            if told.elapsed() >= PROGRESS {
                told = Instant::now();
                let lines = text.iter().filter(|byte| **byte == b'\n').count();
                say::step(format!("{what}: {lines} lines so far"));
            }
        }
    }
    let status = child.wait().map_err(starting(command))?;
    judge(what, status, "")?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

fn judge(what: &str, status: ExitStatus, detail: &str) -> Result<(), Error> {
    if status.success() {
        return Ok(());
    }
    let (status, detail) = (status.to_string(), detail.to_owned());
    Err(Error::Program {
        what: what.to_owned(),
        status,
        detail,
    })
}

/// For `map_err` where `command` is started.
pub(crate) fn starting(command: &Command) -> impl FnOnce(std::io::Error) -> Error + use<> {
    let program = command.get_program().to_string_lossy().into_owned();
    move |source| Error::Start { program, source }
}

/// Our standard error as somebody's standard output.
fn to_stderr() -> Stdio {
    match rustix::io::dup(rustix::stdio::stderr()) {
        Ok(copy) => Stdio::from(copy),
        Err(_) => Stdio::null(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_on_the_path_only() {
        assert!(find_in("/nowhere:/bin".as_ref(), "sh").is_some());
        assert_eq!(find_in("/nowhere".as_ref(), "sh"), None);
    }

    #[test]
    fn a_failing_program_is_named_with_its_words() {
        let error = output(
            Command::new("sh").args(["-c", "echo no >&2; exit 3"]),
            "trying",
        );
        let text = error.expect_err("status 3").to_string();
        assert_eq!(text, "trying failed (exit status: 3): no");
    }

    #[test]
    fn a_slow_program_is_stopped() {
        let mut child = Command::new("sleep")
            .arg("60")
            .spawn()
            .expect("sleep exists");
        assert_eq!(wait_until(&mut child, Instant::now()), None);
    }
}
