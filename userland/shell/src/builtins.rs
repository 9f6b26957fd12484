//! Commands the shell runs itself.
//!
//! Law: a builtin reads and writes the standard streams without a buffer, gives a status, and
//! says what is wrong with its arguments (status 2).

use std::ffi::OsStr;
use std::fs::metadata;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;

use rt::files::{Stream, read_byte, write_all};
use rt::process::wait_for;

use crate::parse::is_name;
use crate::run::{Export, Jump, Shell, Variable};

/// Runs in the shell; `words[0]` is its own name.
pub(crate) type Builtin = fn(&mut Shell, &[Vec<u8>], u32) -> Result<i32, Jump>;

const BUILTINS: [(&str, Builtin); 18] = [
    (":", |_, _, _| Ok(0)),
    ("[", test),
    ("break", |shell, words, line| {
        jump(shell, words, line, Jump::Break)
    }),
    ("cd", cd),
    ("continue", |shell, words, line| {
        jump(shell, words, line, Jump::Continue)
    }),
    ("echo", echo),
    ("exit", exit),
    ("export", export),
    ("false", |_, _, _| Ok(1)),
    ("pwd", pwd),
    ("read", read),
    ("set", set),
    ("shift", shift),
    ("test", test),
    ("true", |_, _, _| Ok(0)),
    ("type", kind_of),
    ("unset", unset),
    ("wait", wait),
];

/// The builtin of this name.
pub(crate) fn find(name: &[u8]) -> Option<Builtin> {
    BUILTINS
        .iter()
        .find(|(known, _)| known.as_bytes() == name)
        .map(|&(_, builtin)| builtin)
}

fn text(word: &[u8]) -> String {
    String::from_utf8_lossy(word).into_owned()
}

fn number<T: std::str::FromStr>(word: &[u8]) -> Option<T> {
    std::str::from_utf8(word).ok()?.parse().ok()
}

fn print(shell: &Shell, line: u32, bytes: &[u8]) -> i32 {
    match write_all(Stream::Output, bytes) {
        Ok(()) => 0,
        Err(error) => shell.complain(line, &format!("cannot write: {error}"), 1),
    }
}

fn echo(shell: &mut Shell, words: &[Vec<u8>], line: u32) -> Result<i32, Jump> {
    let (words, end): (&[Vec<u8>], &[u8]) = match words.get(1) {
        Some(option) if option == b"-n" => (&words[2..], b""),
        _ => (&words[1..], b"\n"),
    };
    Ok(print(shell, line, &[&words.join(&b' '), end].concat()))
}

fn pwd(shell: &mut Shell, _: &[Vec<u8>], line: u32) -> Result<i32, Jump> {
    Ok(match std::env::current_dir() {
        Ok(path) => print(shell, line, &[path.as_os_str().as_bytes(), b"\n"].concat()),
        Err(error) => shell.complain(line, &format!("pwd: {error}"), 1),
    })
}

fn cd(shell: &mut Shell, words: &[Vec<u8>], line: u32) -> Result<i32, Jump> {
    let target = words.get(1).cloned().unwrap_or_else(|| shell.value("HOME"));
    if let Err(error) = std::env::set_current_dir(OsStr::from_bytes(&target)) {
        return Ok(shell.complain(line, &format!("cd: {}: {error}", text(&target)), 1));
    }
    if let Ok(path) = std::env::current_dir() {
        shell.assign("PWD", path.as_os_str().as_bytes().to_vec());
    }
    Ok(0)
}

fn exit(shell: &mut Shell, words: &[Vec<u8>], line: u32) -> Result<i32, Jump> {
    match words.get(1) {
        None => Err(Jump::Exit(shell.status)),
        Some(word) => match number::<i32>(word) {
            Some(status) => Err(Jump::Exit(status & 0xff)),
            None => Err(shell.abort(line, &format!("exit: `{}` is not a status", text(word)))),
        },
    }
}

fn jump(shell: &Shell, words: &[Vec<u8>], line: u32, how: fn(u32) -> Jump) -> Result<i32, Jump> {
    let levels = words
        .get(1)
        .map_or(Some(1), |word| number::<u32>(word).filter(|&n| n > 0));
    match levels {
        None => Err(shell.abort(line, &format!("{}: not a number of loops", text(&words[0])))),
        Some(_) if shell.loops == 0 => Ok(0),
        Some(levels) => Err(how(levels.min(shell.loops))),
    }
}

fn export(shell: &mut Shell, words: &[Vec<u8>], line: u32) -> Result<i32, Jump> {
    for word in &words[1..] {
        let end = word.iter().position(|&byte| byte == b'=');
        let name = &word[..end.unwrap_or(word.len())];
        if !is_name(name) {
            let problem = format!("export: `{}` is not a variable name", text(name));
            return Ok(shell.complain(line, &problem, 2));
        }
        let name = text(name);
        let old = shell
            .variables
            .get(&name)
            .map(|variable| variable.value.clone());
        let value = end.map_or(old.unwrap_or_default(), |end| word[end + 1..].to_vec());
        shell.variables.insert(
            name,
            Variable {
                value,
                export: Export::Programs,
            },
        );
    }
    Ok(0)
}

fn unset(shell: &mut Shell, words: &[Vec<u8>], _: u32) -> Result<i32, Jump> {
    for word in &words[1..] {
        shell.variables.remove(&text(word));
    }
    Ok(0)
}

fn set(shell: &mut Shell, words: &[Vec<u8>], line: u32) -> Result<i32, Jump> {
    let mut words = words[1..].iter();
    while let Some(word) = words.next() {
        match word.as_slice() {
            b"-e" => shell.exit_on_error = true,
            b"+e" => shell.exit_on_error = false,
            b"--" => {
                shell.arguments = words.cloned().collect();
                break;
            }
            [b'-' | b'+', ..] => {
                let problem = format!("set: `{}` is not supported", text(word));
                return Ok(shell.complain(line, &problem, 2));
            }
            _ => {
                shell.arguments = std::iter::once(word).chain(words).cloned().collect();
                break;
            }
        }
    }
    Ok(0)
}

fn shift(shell: &mut Shell, words: &[Vec<u8>], line: u32) -> Result<i32, Jump> {
    let count = words.get(1).map_or(Some(1), |word| number::<usize>(word));
    match count.filter(|&count| count <= shell.arguments.len()) {
        Some(count) => {
            shell.arguments.drain(..count);
            Ok(0)
        }
        None => Ok(shell.complain(line, "shift: there are not so many arguments", 2)),
    }
}

fn kind_of(shell: &mut Shell, words: &[Vec<u8>], line: u32) -> Result<i32, Jump> {
    let mut status = 0;
    for word in &words[1..] {
        let name = text(word);
        if find(word).is_some() {
            print(
                shell,
                line,
                format!("{name} is a shell builtin\n").as_bytes(),
            );
            continue;
        }
        let path = shell.value("PATH");
        let found = path
            .split(|&byte| byte == b':')
            .map(|folder| [folder, b"/", word].concat())
            .find(|path| metadata(OsStr::from_bytes(path)).is_ok_and(|data| data.is_file()));
        match found {
            Some(path) => {
                print(
                    shell,
                    line,
                    format!("{name} is {}\n", text(&path)).as_bytes(),
                );
            }
            None => status = shell.complain(line, &format!("{name}: not found"), 127),
        }
    }
    Ok(status)
}

fn wait(shell: &mut Shell, words: &[Vec<u8>], line: u32) -> Result<i32, Jump> {
    if words.len() == 1 {
        for (pid, status) in std::mem::take(&mut shell.background) {
            if status.is_none() {
                // Whoever is gone already need not be waited for.
                let _gone = wait_for(pid);
            }
        }
        return Ok(0);
    }
    let mut status = 0;
    for word in &words[1..] {
        let Some(pid) = number::<i32>(word) else {
            let problem = format!("wait: `{}` is not a process number", text(word));
            return Ok(shell.complain(line, &problem, 2));
        };
        let known = shell.background.iter().position(|&(known, _)| known == pid);
        status = match known.map(|index| shell.background.remove(index)) {
            Some((_, Some(status))) => status,
            Some((_, None)) => wait_for(pid).map_or(127, rt::process::Ended::shell_status),
            None => shell.complain(
                line,
                &format!("wait: {pid} is not a child of this shell"),
                127,
            ),
        };
    }
    Ok(status)
}

fn read(shell: &mut Shell, words: &[Vec<u8>], line: u32) -> Result<i32, Jump> {
    let (raw, names) = match words.get(1) {
        Some(option) if option == b"-r" => (true, &words[2..]),
        _ => (false, &words[1..]),
    };
    if let Some(bad) = names.iter().find(|name| !is_name(name)) {
        let problem = format!("read: `{}` is not a variable name", text(bad));
        return Ok(shell.complain(line, &problem, 2));
    }
    let (mut bytes, mut status) = (Vec::new(), 0);
    loop {
        match read_byte() {
            Ok(Some(b'\n')) => break,
            Ok(Some(b'\\')) if !raw => match read_byte() {
                Ok(Some(b'\n') | None) | Err(_) => {}
                Ok(Some(byte)) => bytes.push(byte),
            },
            Ok(Some(0)) => {}
            Ok(Some(byte)) => bytes.push(byte),
            Ok(None) => {
                status = 1;
                break;
            }
            Err(error) => return Ok(shell.complain(line, &format!("read: {error}"), 1)),
        }
    }
    let blank = |byte: &u8| *byte == b' ' || *byte == b'\t';
    let mut rest = bytes.as_slice();
    for (index, name) in names.iter().enumerate() {
        let start = rest
            .iter()
            .position(|byte| !blank(byte))
            .unwrap_or(rest.len());
        rest = &rest[start..];
        let end = if index + 1 == names.len() {
            rest.iter()
                .rposition(|byte| !blank(byte))
                .map_or(0, |last| last + 1)
        } else {
            rest.iter().position(blank).unwrap_or(rest.len())
        };
        shell.assign(&text(name), rest[..end].to_vec());
        rest = &rest[end..];
    }
    Ok(status)
}

fn test(shell: &mut Shell, words: &[Vec<u8>], line: u32) -> Result<i32, Jump> {
    let mut arguments: Vec<&[u8]> = words[1..].iter().map(Vec::as_slice).collect();
    if words.first().is_some_and(|name| name == b"[") && arguments.pop() != Some(b"]") {
        return Ok(shell.complain(line, "[: the closing `]` is missing", 2));
    }
    Ok(match judge(&arguments) {
        Ok(true) => 0,
        Ok(false) => 1,
        Err(problem) => shell.complain(line, &format!("test: {problem}"), 2),
    })
}

fn judge(arguments: &[&[u8]]) -> Result<bool, String> {
    match arguments {
        [] => Ok(false),
        [word] => Ok(!word.is_empty()),
        [left, operator, right] if !matches!(*operator, b"-a" | b"-o") => {
            compare(left, operator, right)
        }
        [b"!", rest @ ..] if rest.len() < 4 => judge(rest).map(|holds| !holds),
        [operator, word] => about(operator, word),
        _ => {
            let split = |sign: &[u8]| arguments.iter().position(|word| *word == sign);
            if let Some(at) = split(b"-o") {
                Ok(judge(&arguments[..at])? | judge(&arguments[at + 1..])?)
            } else if let Some(at) = split(b"-a") {
                Ok(judge(&arguments[..at])? & judge(&arguments[at + 1..])?)
            } else {
                Err("too many arguments".to_owned())
            }
        }
    }
}

fn about(operator: &[u8], word: &[u8]) -> Result<bool, String> {
    let file = || metadata(OsStr::from_bytes(word)).ok();
    Ok(match operator {
        b"-n" => !word.is_empty(),
        b"-z" => word.is_empty(),
        b"-e" => file().is_some(),
        b"-f" => file().is_some_and(|data| data.is_file()),
        b"-d" => file().is_some_and(|data| data.is_dir()),
        b"-s" => file().is_some_and(|data| data.len() > 0),
        b"-r" => std::fs::File::open(OsStr::from_bytes(word)).is_ok(),
        b"-x" => file().is_some_and(|data| data.permissions().mode() & 0o111 != 0),
        _ => return Err(format!("`{}` is not a test", text(operator))),
    })
}

fn compare(left: &[u8], operator: &[u8], right: &[u8]) -> Result<bool, String> {
    match operator {
        b"=" | b"==" => return Ok(left == right),
        b"!=" => return Ok(left != right),
        _ => {}
    }
    if left == b"!" {
        return about(operator, right).map(|holds| !holds);
    }
    let parse = |word: &[u8]| {
        std::str::from_utf8(word)
            .ok()
            .and_then(|word| word.trim().parse::<i64>().ok())
            .ok_or_else(|| format!("`{}` is not a number", text(word)))
    };
    let test: fn(&i64, &i64) -> bool = match operator {
        b"-eq" => i64::eq,
        b"-ne" => i64::ne,
        b"-lt" => i64::lt,
        b"-le" => i64::le,
        b"-gt" => i64::gt,
        b"-ge" => i64::ge,
        _ => return Err(format!("`{}` is not a comparison", text(operator))),
    };
    Ok(test(&parse(left)?, &parse(right)?))
}
