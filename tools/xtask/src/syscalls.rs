//! `SYSCALLS.md`: which calls there are, made of the kernel's own table.
//!
//! Law: the file says what the table says. It is written by `cargo xtask syscalls` only, and a check
//! of the test command fails when it is not what that would write.

use crate::error::{Error, Outcome};
use abi::table::{Arg, CALLS, Call, Length, Place};
use std::fmt::Write;
use std::path::Path;

const FILE: &str = "SYSCALLS.md";

/// Writes the file.
pub(crate) fn write(root: &Path) -> Outcome {
    let path = root.join(FILE);
    std::fs::write(&path, text()).map_err(Error::file("write", &path))?;
    Ok(0)
}

/// Whether the file is what would be written.
pub(crate) fn check(root: &Path) -> Result<(), String> {
    let old = std::fs::read_to_string(root.join(FILE)).unwrap_or_default();
    if old == text() {
        return Ok(());
    }
    Err(format!(
        "{FILE} is not what the table of calls says: type `cargo xtask syscalls`"
    ))
}

fn text() -> String {
    let linux = abi::all_names();
    let mut text = format!(
        "# System calls

Made from `kernel/abi/src/table.rs` and `kernel/abi/src/notes.rs` by `cargo xtask syscalls`; a check of
the test command keeps it true. {} of the {} calls of Linux x86-64 are there.

*Where* is the place in which a call of a process that has moved is served: `here`, where the process
runs; `home`, by a message to its home node; `both`, begun here and finished by home. `stream` is `home`
with long transfers cut into pieces. *Arguments*: `value`; `path`; `in`, `out` and `in/out` buffers with
their length in bytes (`#n` is argument n); `?` may be absent. A call without a note takes what its
manual page says.

| number | call | where | arguments | flags, commands, limits |
|---:|---|---|---|---|
",
        CALLS.len(),
        linux.len()
    );
    for call in CALLS {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} |",
            call.number,
            call.name,
            place(call),
            arguments(call),
            abi::note(call.name).unwrap_or_default()
        );
    }
    let missing: Vec<&str> = linux
        .iter()
        .filter(|(number, _)| abi::table::call(u64::from(*number)).is_none())
        .map(|(_, name)| *name)
        .collect();
    let _ = write!(
        text,
        "
## Not there

These answer `ENOSYS`, and the kernel's log names them once for each program:

{}.
",
        missing.join(", ")
    );
    text
}

fn place(call: &Call) -> &'static str {
    match call.place {
        Place::Local => "here",
        Place::Home | Place::File => "home",
        Place::Stream => "stream",
        Place::Split => "both",
    }
}

fn arguments(call: &Call) -> String {
    let words: Vec<String> = call.args.iter().map(|arg| argument(*arg)).collect();
    words.join(", ")
}

fn argument(arg: Arg) -> String {
    let buffer = |what: &str, length: Length, absent: &str| match length {
        Length::Fixed(bytes) => format!("{what} {bytes}{absent}"),
        Length::Given(index) => format!("{what} #{index}{absent}"),
        Length::Items(index, bytes) => format!("{what} {bytes}·#{index}{absent}"),
    };
    match arg {
        Arg::Value => "value".to_owned(),
        Arg::Path => "path".to_owned(),
        Arg::MaybePath => "path?".to_owned(),
        Arg::In(length) => buffer("in", length, ""),
        Arg::MaybeIn(length) => buffer("in", length, "?"),
        Arg::Out(length) => buffer("out", length, ""),
        Arg::MaybeOut(length) => buffer("out", length, "?"),
        Arg::InOut(length) => buffer("in/out", length, ""),
        Arg::MaybeInOut(length) => buffer("in/out", length, "?"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_says_number_name_place_and_arguments() {
        let text = text();
        let row = "| 0 | read | stream | value, out #2, value |  |";
        assert!(text.lines().any(|line| line == row), "{text}");
        assert!(text.contains("| 7 | poll | both | in/out 8·#1, value, value |"));
    }

    #[test]
    fn an_old_file_is_found() {
        let folder = std::env::temp_dir();
        assert!(check(&folder.join("nowhere")).is_err());
    }
}
