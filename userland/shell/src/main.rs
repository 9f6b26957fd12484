//! `sh`: a small shell, enough for scripts that drive a cluster.
//!
//! Law: parsing (`parse`) knows nothing of running (`run`); a script is parsed as a whole before
//! its first command runs. Not here: functions, `case`, here-documents, file name patterns, job
//! control, signal traps.

mod arithmetic;
mod builtins;
mod expand;
mod parse;
mod program;
mod redirect;
mod run;
mod syntax;
mod words;

use std::ffi::OsStr;
use std::io::IsTerminal;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use parse::Problem;
use rt::files::{Stream, read_byte, write_all};
use run::{Guard, Jump, Shell};

const USAGE: &str = "usage: sh [-e] [-c COMMANDS [NAME [ARGUMENT]...] | FILE [ARGUMENT]...]\n";

fn main() {
    // A shell that writes to a pipe nobody reads ends, like every program.
    rt::process::default_action(rt::SIGPIPE);
    std::process::exit(real_main());
}

fn real_main() -> i32 {
    let mut words: Vec<Vec<u8>> = std::env::args_os().map(OsStringExt::into_vec).collect();
    let name = if words.is_empty() {
        b"sh".to_vec()
    } else {
        words.remove(0)
    };
    let mut shell = Shell::new(name, Vec::new());
    let mut words = words.into_iter().peekable();
    let mut commands = false;
    while let Some(option) = words.next_if(|word| word.first() == Some(&b'-') && word.len() > 1) {
        match option.as_slice() {
            b"-e" => shell.exit_on_error = true,
            b"-c" => commands = true,
            b"-ec" | b"-ce" => (shell.exit_on_error, commands) = (true, true),
            b"--" => break,
            _ => return usage(),
        }
    }
    let text = match (words.next(), commands) {
        (None, true) => return usage(),
        (None, false) => return from_input(&mut shell),
        (Some(text), true) => {
            if let Some(name) = words.next() {
                shell.name = name;
            }
            text
        }
        (Some(path), false) => {
            let shown = String::from_utf8_lossy(&path).into_owned();
            match program::read_script(OsStr::from_bytes(&path)) {
                Ok(text) => {
                    shell.name = path;
                    text
                }
                Err(error) => {
                    let status = if error.kind() == std::io::ErrorKind::NotFound {
                        127
                    } else {
                        126
                    };
                    return say(&format!("sh: cannot read {shown}: {error}\n"), status);
                }
            }
        }
    };
    shell.arguments = words.collect();
    match parse::parse(&text, 1) {
        Ok(list) => ending(shell.list(&list, Guard::Checked)),
        Err(error) => {
            let name = String::from_utf8_lossy(&shell.name).into_owned();
            say(&format!("{name}: syntax error, {error}\n"), 2)
        }
    }
}

fn usage() -> i32 {
    say(USAGE, 2)
}

fn say(text: &str, status: i32) -> i32 {
    // There is no other place to complain to.
    let _unheard = write_all(Stream::Error, text.as_bytes());
    status
}

fn ending(result: Result<i32, Jump>) -> i32 {
    match result {
        Ok(status) | Err(Jump::Exit(status) | Jump::Abort(status)) => status,
        Err(Jump::Break(_) | Jump::Continue(_)) => 0,
    }
}

/// Runs commands from standard input, each as soon as it is complete.
fn from_input(shell: &mut Shell) -> i32 {
    shell.interactive = std::io::stdin().is_terminal();
    if shell.interactive {
        // Ctrl-C is for the program in front, not for the shell.
        rt::process::ignore(rt::SIGINT);
    }
    let (mut text, mut line, mut lines) = (Vec::new(), 1u32, 0u32);
    loop {
        if shell.interactive {
            shell.reap();
            // Without a prompt the shell still works.
            let prompt: &[u8] = if text.is_empty() { b"dunlin$ " } else { b"> " };
            let _unseen = write_all(Stream::Error, prompt);
        }
        let more = read_line(&mut text, shell.interactive);
        lines += 1;
        let list = match parse::parse(&text, line) {
            Ok(list) => list,
            Err(error) => {
                if more && matches!(error.problem, Problem::Unfinished(_)) {
                    continue;
                }
                shell.status = say(&format!("sh: syntax error, {error}\n"), 2);
                if !shell.interactive {
                    return 2;
                }
                Vec::new()
            }
        };
        match shell.list(&list, Guard::Checked) {
            Err(Jump::Exit(status)) => return status,
            Err(Jump::Abort(status)) if !shell.interactive => return status,
            Err(Jump::Abort(status)) => shell.status = status,
            Ok(_) | Err(Jump::Break(_) | Jump::Continue(_)) => {}
        }
        if !more {
            return shell.status;
        }
        text.clear();
        line += std::mem::take(&mut lines);
    }
}

/// Adds a line to `text`; `false` at the end of input.
fn read_line(text: &mut Vec<u8>, interactive: bool) -> bool {
    loop {
        match read_byte() {
            // A terminal that does not translate sends a carriage return.
            Ok(Some(b'\r')) if interactive => {
                text.push(b'\n');
                return true;
            }
            Ok(Some(byte)) => {
                text.push(byte);
                if byte == b'\n' {
                    return true;
                }
            }
            Ok(None) | Err(_) => return false,
        }
    }
}
