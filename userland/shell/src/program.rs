//! Finding programs and becoming them.
//!
//! Law: 127 means nobody has such a program, 126 means it is there but cannot run. A file the
//! kernel does not know how to run is taken for a script of this shell.

use std::ffi::{CString, NulError, OsStr};
use std::io;
use std::os::unix::ffi::OsStrExt;

use rt::process::exec;

use crate::run::{Export, Guard, Jump, Shell};

/// Longest script in bytes.
pub(crate) const LONGEST_SCRIPT: u64 = 16 << 20;

/// Replaces this process by the program `words` names; gives the status if that fails.
pub(crate) fn replace(shell: &mut Shell, words: &[Vec<u8>], line: u32) -> Result<i32, Jump> {
    let Some(name) = words.first() else {
        return Ok(0);
    };
    let shown = String::from_utf8_lossy(name).into_owned();
    let (Ok(arguments), Ok(environment)) = (strings(words), environment(shell)) else {
        return Ok(shell.complain(line, &format!("{shown}: an argument contains a NUL"), 126));
    };
    let candidates: Vec<Vec<u8>> = if name.contains(&b'/') {
        vec![name.clone()]
    } else {
        let path = shell.value("PATH");
        path.split(|&byte| byte == b':')
            .map(|folder| {
                let folder = if folder.is_empty() { b"." } else { folder };
                [folder, b"/", name].concat()
            })
            .collect()
    };
    let mut worst: Option<io::Error> = None;
    for candidate in candidates {
        let Ok(path) = CString::new(candidate.clone()) else {
            continue;
        };
        let error = exec(&path, &arguments, &environment);
        match error.raw_os_error() {
            Some(rt::ENOENT | rt::ENOTDIR) => {}
            Some(rt::ENOEXEC) => return script(shell, &candidate, &words[1..], line),
            _ => worst = worst.or(Some(error)),
        }
    }
    Ok(match worst {
        Some(error) => shell.complain(line, &format!("{shown}: cannot run: {error}"), 126),
        None if name.contains(&b'/') => {
            shell.complain(line, &format!("{shown}: no such program"), 127)
        }
        None => shell.complain(line, &format!("{shown}: not found"), 127),
    })
}

fn script(shell: &mut Shell, path: &[u8], arguments: &[Vec<u8>], line: u32) -> Result<i32, Jump> {
    let shown = String::from_utf8_lossy(path).into_owned();
    let text = match read_script(OsStr::from_bytes(path)) {
        Ok(text) => text,
        Err(error) => {
            return Ok(shell.complain(line, &format!("{shown}: cannot read: {error}"), 126));
        }
    };
    if text.get(..256).unwrap_or(&text).contains(&0) {
        return Ok(shell.complain(
            line,
            &format!("{shown}: not a program this system runs"),
            126,
        ));
    }
    match crate::parse::parse(&text, 1) {
        Ok(list) => {
            shell.name = path.to_vec();
            shell.arguments = arguments.to_vec();
            shell.exit_on_error = false;
            shell.list(&list, Guard::Checked)
        }
        Err(error) => Ok(shell.complain(line, &format!("{shown}: {error}"), 2)),
    }
}

/// Reads a script of at most [`LONGEST_SCRIPT`] bytes.
pub(crate) fn read_script(path: &OsStr) -> io::Result<Vec<u8>> {
    use std::io::Read;
    let mut text = Vec::new();
    let mut file = std::fs::File::open(path)?.take(LONGEST_SCRIPT + 1);
    file.read_to_end(&mut text)?;
    if text.len() as u64 > LONGEST_SCRIPT {
        return Err(io::Error::other("longer than 16 MiB"));
    }
    Ok(text)
}

fn strings(words: &[Vec<u8>]) -> Result<Vec<CString>, NulError> {
    words
        .iter()
        .map(|word| CString::new(word.as_slice()))
        .collect()
}

fn environment(shell: &Shell) -> Result<Vec<CString>, NulError> {
    let exported = shell
        .variables
        .iter()
        .filter(|(_, variable)| variable.export == Export::Programs);
    exported
        .map(|(name, variable)| CString::new([name.as_bytes(), b"=", &variable.value].concat()))
        .collect()
}
