//! What a dynamically linked program needs: its interpreter and libraries, found as ld.so finds them.
//!
//! Law: nothing is executed. The dynamic section says what is wanted (`DT_NEEDED`) and where to look
//! first (`DT_RPATH`, `DT_RUNPATH`, with `$ORIGIN`); then come the folders of /etc/ld.so.conf and the
//! system's. A library that is nowhere is an error that names who wants it.
//!
//! Formats: gABI, "Dynamic Section"; search order: ld.so(8).

use crate::error::Error;
use std::collections::{BTreeSet, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};

/// Folders that ld.so looks at last.
const SYSTEM_FOLDERS: [&str; 4] = [
    "/lib/x86_64-linux-gnu",
    "/usr/lib/x86_64-linux-gnu",
    "/lib",
    "/usr/lib",
];
/// How deep `include` lines of ld.so.conf are followed.
const INCLUDES_MAX: u32 = 8;

/// What a file says of its needs.
#[derive(Debug, Default, PartialEq, Eq)]
struct Needs {
    interpreter: Option<String>,
    libraries: Vec<String>,
    rpath: Vec<String>,
    runpath: Vec<String>,
}

/// Finds libraries.
#[derive(Debug)]
pub(crate) struct Finder {
    folders: Vec<PathBuf>,
}

impl Finder {
    /// One that looks where this machine's ld.so looks, and first in `roots`' library folders:
    /// unpacked packages.
    pub(crate) fn new(roots: &[PathBuf]) -> Finder {
        let mut folders = Vec::new();
        for root in roots {
            let below = |folder: &&str| root.join(folder.trim_start_matches('/'));
            folders.extend(SYSTEM_FOLDERS.iter().map(below));
        }
        configured(Path::new("/etc/ld.so.conf"), &mut folders, INCLUDES_MAX);
        folders.extend(SYSTEM_FOLDERS.iter().map(PathBuf::from));
        Finder { folders }
    }

    /// The interpreter and all libraries that a program or library needs, each by the path at which
    /// ld.so finds it. Empty for what is no dynamic ELF file.
    pub(crate) fn closure(&self, program: &Path) -> Result<BTreeSet<PathBuf>, Error> {
        let mut found = BTreeSet::new();
        let mut waiting = VecDeque::from([program.to_owned()]);
        while let Some(file) = waiting.pop_front() {
            let bytes = fs::read(&file).map_err(Error::file("read", &file))?;
            let Some(needs) = needs(&bytes) else { continue };
            let interpreter = needs.interpreter.iter().map(PathBuf::from);
            for path in interpreter.filter(|path| path.exists()) {
                found.insert(path);
            }
            for name in &needs.libraries {
                let path = self.find(name, &file, &needs).ok_or_else(|| {
                    Error::Usage(format!("{} needs {name}, which is nowhere", file.display()))
                })?;
                if found.insert(path.clone()) {
                    waiting.push_back(path);
                }
            }
        }
        Ok(found)
    }

    fn find(&self, name: &str, by: &Path, needs: &Needs) -> Option<PathBuf> {
        if name.contains('/') {
            return Some(PathBuf::from(name)).filter(|path| path.exists());
        }
        // DT_RPATH counts only without DT_RUNPATH.
        let own = if needs.runpath.is_empty() {
            &needs.rpath
        } else {
            &needs.runpath
        };
        let origin = by.canonicalize().ok();
        let origin = origin.as_deref().and_then(Path::parent);
        let own = own.iter().map(|folder| expanded(folder, origin));
        own.chain(self.folders.iter().cloned())
            .map(|folder| folder.join(name))
            .find(|path| fs::read(path).is_ok_and(|bytes| crate::setup::is_elf(&bytes)))
    }
}

/// A folder of a run path with `$ORIGIN` put in.
fn expanded(folder: &str, origin: Option<&Path>) -> PathBuf {
    let origin = origin.map_or(String::new(), |path| path.display().to_string());
    let folder = folder
        .replace("${ORIGIN}", &origin)
        .replace("$ORIGIN", &origin);
    // `..` would not survive in a guest path.
    let path = PathBuf::from(folder);
    path.canonicalize().unwrap_or(path)
}

/// The folders that a file like /etc/ld.so.conf names.
fn configured(file: &Path, folders: &mut Vec<PathBuf>, depth: u32) {
    let Ok(text) = fs::read_to_string(file) else {
        return;
    };
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or("").trim();
        match line.strip_prefix("include ") {
            Some(pattern) if depth > 0 => {
                for file in matching(pattern.trim()) {
                    configured(&file, folders, depth - 1);
                }
            }
            None if line.starts_with('/') => folders.push(PathBuf::from(line)),
            _ => {}
        }
    }
}

/// The files that `FOLDER/*.END` stands for, sorted.
fn matching(pattern: &str) -> Vec<PathBuf> {
    let Some((folder, end)) = pattern.rsplit_once("/*") else {
        return vec![PathBuf::from(pattern)];
    };
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|path| path.to_string_lossy().ends_with(end))
        .collect();
    files.sort();
    files
}

fn number<const N: usize>(bytes: &[u8], at: u64) -> Option<u64> {
    let at = usize::try_from(at).ok()?;
    let field = bytes.get(at..at.checked_add(N)?)?;
    Some(
        field
            .iter()
            .rev()
            .fold(0, |sum, byte| sum << 8 | u64::from(*byte)),
    )
}

fn text(bytes: &[u8], at: u64) -> Option<String> {
    let rest = bytes.get(usize::try_from(at).ok()?..)?;
    let end = rest.iter().position(|byte| *byte == 0)?;
    String::from_utf8(rest[..end].to_vec()).ok()
}

/// Reads the dynamic section; `None` if the file is no ELF file of this machine or has none.
fn needs(bytes: &[u8]) -> Option<Needs> {
    const PT_LOAD: u64 = 1;
    const PT_DYNAMIC: u64 = 2;
    const PT_INTERP: u64 = 3;
    if !crate::setup::is_elf(bytes) {
        return None;
    }
    let start = number::<8>(bytes, 32)?;
    let (size, count) = (number::<2>(bytes, 54)?, number::<2>(bytes, 56)?);
    let mut needs = Needs::default();
    let (mut loads, mut dynamic) = (Vec::new(), None);
    for index in 0..count {
        let at = start.checked_add(index * size)?;
        let word = |field: u64| number::<8>(bytes, at.checked_add(field)?);
        let (offset, address, length) = (word(8)?, word(16)?, word(32)?);
        match number::<4>(bytes, at)? {
            PT_LOAD => loads.push((address, offset, length)),
            PT_DYNAMIC => dynamic = Some((offset, length)),
            PT_INTERP => needs.interpreter = text(bytes, offset),
            _ => {}
        }
    }
    let (offset, length) = dynamic?;
    let entries: Vec<(u64, u64)> = (0..length / 16)
        .map_while(|index| {
            let at = offset.checked_add(index * 16)?;
            Some((number::<8>(bytes, at)?, number::<8>(bytes, at + 8)?))
        })
        .take_while(|(tag, _)| *tag != 0)
        .collect();
    let strings = entries.iter().find(|(tag, _)| *tag == 5)?.1;
    let strings = loads.iter().find_map(|(address, offset, length)| {
        let distance = strings.checked_sub(*address).filter(|it| it < length)?;
        offset.checked_add(distance)
    })?;
    for (tag, value) in entries {
        let string = || text(bytes, strings.checked_add(value)?);
        let folders = || string().map(|text| text.split(':').map(str::to_owned).collect());
        match tag {
            1 => needs.libraries.extend(string()),
            15 => needs.rpath = folders().unwrap_or_default(),
            29 => needs.runpath = folders().unwrap_or_default(),
            _ => {}
        }
    }
    Some(needs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_program_needs_its_c_library() {
        let program = std::env::current_exe().expect("we run");
        let needs = needs(&fs::read(&program).expect("readable")).expect("a dynamic program");
        assert!(needs.libraries.iter().any(|name| name == "libc.so.6"));
        let found = Finder::new(&[]).closure(&program).expect("all are here");
        let names = |name: &str| found.iter().any(|path| path.ends_with(name));
        assert!(
            names("libc.so.6") && names("ld-linux-x86-64.so.2"),
            "{found:?}"
        );
    }

    #[test]
    fn cut_off_files_need_nothing_and_do_not_panic() {
        let program = std::env::current_exe().expect("we run");
        let bytes = fs::read(&program).expect("readable");
        for length in (0..2000).step_by(7) {
            let _ = needs(&bytes[..length]);
        }
        assert_eq!(needs(b"#!/bin/sh\n"), None);
    }

    #[test]
    fn run_paths_know_their_origin() {
        let folder = expanded("$ORIGIN/x", Some(Path::new("/nowhere/lib")));
        assert_eq!(folder, Path::new("/nowhere/lib/x"));
        assert_eq!(expanded("/nowhere", None), Path::new("/nowhere"));
    }
}
