//! Debian packages for the image: fetched, unpacked beside the build, with what they depend on.
//!
//! Law: nothing is installed on this machine and no script of a package runs; the names that one
//! would give with `update-alternatives` are read from it, and PAM's stacks made as `pam-auth-update`
//! would. A package is fetched once and kept under the target folder. Of dependencies that every Debian system has, only libraries are taken.

use crate::alternatives::{self, Alternative};
use crate::error::Error;
use crate::pam::{self, Profile};
use crate::{places, program, say};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Where the scripts of an unpacked package lie.
const CONTROL: &str = "DEBIAN";

/// Parts of a package that programs do not need to run.
const LEFT_OUT: [&str; 9] = [
    CONTROL,
    "usr/share/doc",
    "usr/share/man",
    "usr/share/info",
    "usr/share/lintian",
    "usr/share/locale",
    "usr/share/doc-base",
    "usr/share/bug",
    "usr/share/icons",
];

/// So many packages are fetched at once, and how long that may take.
const AT_ONCE: usize = 25;
const FETCH_LIMIT: Duration = Duration::from_secs(600);

/// What this machine has installed is not asked for: it may be of other sources, which are gone.
const NOTHING_INSTALLED: [&str; 2] = ["-o", "Dir::State::status=/dev/null"];

/// What serves the system more than the program that depends on it.
const SYSTEM: [&str; 7] = [
    "debconf",
    "dpkg",
    "install-info",
    "mailcap",
    "media-types",
    "mime-support",
    "tar",
];

/// Packages of which every Debian system has the second, so that the first, which is nothing without it, does
/// not depend on it: descriptions of terminals.
const BESIDE: [(&str, &str); 1] = [("libtinfo6", "ncurses-base")];

/// Where packages have the commands that users type.
const COMMANDS: [&str; 4] = ["bin", "sbin", "usr/bin", "usr/sbin"];

/// Interpreters that every Debian system has, so that no package depends on those that have them.
const INTERPRETERS: [(&str, &str); 3] = [
    ("/bin/bash", "bash"),
    ("/usr/bin/bash", "bash"),
    ("/usr/bin/perl", "perl-base"),
];

/// Whether this path in a package (relative) is left out of the image.
///
/// Of a folder what is in it: programs look whether there is a `/usr/share/locale`.
pub(crate) fn is_left_out(path: &Path) -> bool {
    path == Path::new(CONTROL)
        || LEFT_OUT
            .iter()
            .any(|folder| path.starts_with(folder) && path != Path::new(folder))
}

/// Whether a file lies in an unpacked package.
pub(crate) fn holds(path: &Path) -> bool {
    path.starts_with(store())
}

fn store() -> PathBuf {
    places::target().join("packages")
}

/// The folders with the contents of the packages and of all that they depend on.
pub(crate) fn unpacked(names: &[String]) -> Result<Vec<PathBuf>, Error> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    names.iter().try_for_each(|name| check(name))?;
    let mut folders = unpack(&with_dependencies(names)?)?;
    let wanted = interpreters(&folders);
    let wanted: Vec<String> = wanted
        .into_iter()
        .filter(|name| !is_among(name, &folders))
        .collect();
    if !wanted.is_empty() {
        let more = unpack(&with_dependencies(&wanted)?)?;
        folders.extend(more);
        folders.sort();
        folders.dedup();
    }
    Ok(folders)
}

fn is_among(name: &str, folders: &[PathBuf]) -> bool {
    folders.iter().any(|folder| folder.ends_with(name))
}

/// The packages with the interpreters that commands in these folders name in their first line.
fn interpreters(folders: &[PathBuf]) -> BTreeSet<String> {
    let commands = folders.iter().flat_map(|folder| {
        COMMANDS
            .iter()
            .filter_map(move |path| fs::read_dir(folder.join(path)).ok())
    });
    let mut wanted = BTreeSet::new();
    for command in commands.flatten().flatten() {
        if let Some(name) = first_bytes(&command.path())
            .as_deref()
            .and_then(interpreter)
        {
            wanted.insert(name.to_owned());
        }
    }
    wanted
}

fn first_bytes(path: &Path) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = fs::File::open(path).ok()?;
    file.take(64).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// The package that has the interpreter which a script begins with, if no package depends on that one.
fn interpreter(script: &[u8]) -> Option<&'static str> {
    let line = script
        .strip_prefix(b"#!")?
        .split(|&byte| byte == b'\n')
        .next()?;
    let path = line.trim_ascii_start().split(|&byte| byte == b' ').next()?;
    let known = INTERPRETERS
        .iter()
        .find(|(known, _)| known.as_bytes() == path);
    known.map(|&(_, package)| package)
}

/// The names that these packages share, each with the file that has it, as links.
pub(crate) fn shared_names(folders: &[PathBuf]) -> Vec<(String, String)> {
    let script = |folder: &PathBuf| fs::read_to_string(folder.join(CONTROL).join("postinst")).ok();
    let offered = folders.iter().filter_map(|folder| {
        let mut offered = alternatives::offered(&script(folder)?);
        offered.retain(|one| {
            let inside = one.target.trim_start_matches('/');
            !is_left_out(Path::new(inside)) && folder.join(inside).symlink_metadata().is_ok()
        });
        Some(offered)
    });
    let mut best: BTreeMap<String, Alternative> = BTreeMap::new();
    for one in offered.flatten() {
        let place = best.entry(one.path.clone()).or_insert_with(|| one.clone());
        if one.priority > place.priority {
            *place = one;
        }
    }
    best.into_iter()
        .map(|(path, one)| (path, one.target))
        .collect()
}

/// The stacks of PAM, which all services share and no package has, as files.
pub(crate) fn stacks(folders: &[PathBuf]) -> Vec<(String, String)> {
    let inside = |path: &str| -> Vec<String> {
        let files = folders
            .iter()
            .filter_map(|folder| fs::read_dir(folder.join(path)).ok());
        let files = files.flatten().flatten();
        files
            .filter_map(|file| fs::read_to_string(file.path()).ok())
            .collect()
    };
    let profiles = inside("usr/share/pam-configs");
    let profiles: Vec<Profile> = profiles
        .iter()
        .filter_map(|text| Profile::read(text))
        .collect();
    let template = |name: &str| {
        let path = format!("usr/share/pam/common-{name}");
        folders
            .iter()
            .find_map(|folder| fs::read_to_string(folder.join(&path)).ok())
    };
    let one = |name: &&str| {
        let path = format!("/etc/pam.d/common-{name}");
        Some((path, pam::stack(name, &template(name)?, &profiles)))
    };
    pam::STACKS.iter().filter_map(one).collect()
}

/// The contents of one package, without what it depends on.
pub(crate) fn alone(name: &str) -> Result<PathBuf, Error> {
    check(name)?;
    unpack(&BTreeSet::from([name.to_owned()]))?;
    Ok(store().join(name))
}

/// The first package with this prefix that the package `name`, which has nothing itself, depends on.
pub(crate) fn stands_for(name: &str, prefix: &str) -> Result<String, Error> {
    let list = || {
        let mut apt = asked("apt-cache");
        let what = format!("looking for the package {name}");
        program::output(apt.args(["depends", name]), &what)
    };
    let found = |text: &str| {
        let mut names = text.lines().filter_map(|line| line.split_once("Depends: "));
        let mut names = names.by_ref().map(|(_, name)| name.trim());
        names
            .find(|name| name.starts_with(prefix))
            .map(str::to_owned)
    };
    if let Some(name) = list().ok().as_deref().and_then(found) {
        return Ok(name);
    }
    // The lists of a new machine are empty.
    crate::setup::refresh_lists()?;
    found(&list()?).ok_or_else(|| Error::Usage(format!("{name} stands for no package")))
}

/// A tool that asks the sources of packages.
fn asked(tool: &str) -> Command {
    let mut command = program::clean(tool);
    command.args(NOTHING_INSTALLED);
    command
}

/// A name that no option of a tool can be taken for.
fn check(name: &str) -> Result<(), Error> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.:".contains(&byte);
    if name.is_empty() || name.starts_with('-') || !name.bytes().all(good) {
        return Err(Error::Usage(format!(
            "--package {name}: not a package name"
        )));
    }
    Ok(())
}

/// The packages and what they depend on, without alternatives that are not there. apt is asked about all of them at once:
/// it reads its lists anew each time.
fn with_dependencies(names: &[String]) -> Result<BTreeSet<String>, Error> {
    let words = [
        "depends",
        "--recurse",
        "--no-recommends",
        "--no-suggests",
        "--no-conflicts",
        "--no-breaks",
        "--no-replaces",
        "--no-enhances",
    ];
    let list = || {
        let mut apt = asked("apt-cache");
        let what = format!("looking for the packages {}", names.join(" "));
        program::output(apt.args(words).args(names), &what)
    };
    // It says nothing of a package that it does not know.
    let is_complete = |text: &str| {
        let graph = graph(text);
        names.iter().all(|name| graph.contains_key(name.as_str()))
    };
    let text = match list() {
        Ok(text) if is_complete(&text) => text,
        _ => {
            // The lists of a new machine are empty.
            crate::setup::refresh_lists()?;
            list()?
        }
    };
    let graph = graph(&text);
    let real = graph.keys().copied().filter(|name| !is_virtual(name));
    let required = required(real)?;
    let mut taken = BTreeSet::new();
    for name in names {
        if !graph.contains_key(name.as_str()) {
            let why = "there is no such package, or it is a name that several have";
            return Err(Error::Usage(format!("--package {name}: {why}")));
        }
        taken.extend(needed_by(name, &graph, &required));
    }
    add_what_stands_beside(&mut taken);
    Ok(taken)
}

fn add_what_stands_beside(taken: &mut BTreeSet<String>) {
    for (package, other) in BESIDE {
        if taken.contains(package) {
            taken.insert(other.to_owned());
        }
    }
}

/// The package and what it depends on, of a graph of packages.
fn needed_by(
    name: &str,
    graph: &BTreeMap<&str, Vec<&str>>,
    required: &BTreeSet<String>,
) -> BTreeSet<String> {
    let mut taken = BTreeSet::new();
    let mut waiting = vec![name];
    while let Some(next) = waiting.pop() {
        if is_virtual(next) {
            let packages = graph.get(next).map_or(&[][..], Vec::as_slice);
            let mut there = packages.iter().copied();
            if !there.any(|one| taken.contains(one) || required.contains(one)) {
                waiting.extend(packages.first());
            }
            continue;
        }
        // perl is nothing without perl-base, which every system has.
        let own = next.starts_with(name) || next.starts_with("lib");
        let wanted = own || !required.contains(next);
        if wanted && graph.contains_key(next) && taken.insert(next.to_owned()) {
            waiting.extend(graph.get(next).into_iter().flatten());
        }
    }
    taken
}

/// A name without a package of its own stands in brackets.
fn is_virtual(name: &str) -> bool {
    name.starts_with('<')
}

/// A line of what `apt-cache depends` says.
enum Line<'a> {
    Package(&'a str),
    /// What the package above depends on; the next one would do as well.
    Depends(&'a str, Or),
    /// A package that has the name above.
    Has(&'a str),
    /// What a package is said to be beside that.
    Other,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Or(bool);

impl<'a> Line<'a> {
    fn read(line: &'a str) -> Line<'a> {
        let name = line.trim_start();
        match line.len() - name.len() {
            0 => Line::Package(line),
            4.. => Line::Has(name),
            _ => match name.trim_start_matches('|').split_once(": ") {
                Some(("Depends" | "PreDepends", on)) => {
                    Line::Depends(on, Or(name.starts_with('|')))
                }
                _ => Line::Other,
            },
        }
    }
}

/// What `apt-cache depends` says: what packages depend on, and which packages have a name in brackets. Of
/// a choice all packages are taken, a name in brackets only where nothing else is.
fn graph(text: &str) -> BTreeMap<&str, Vec<&str>> {
    let mut graph: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let (mut package, mut named, mut choice) = ("", "", Vec::new());
    for line in text.lines().map(Line::read) {
        match line {
            Line::Package(name) => {
                package = name;
                graph.entry(package).or_default();
            }
            Line::Depends(on, or) => {
                named = on;
                choice.push(on);
                if or == Or(false) {
                    let taken = graph.entry(package).or_default();
                    let before = taken.len();
                    taken.extend(choice.iter().filter(|name| !is_virtual(name)));
                    if taken.len() == before {
                        taken.push(on);
                    }
                    choice.clear();
                }
            }
            Line::Has(one) if is_virtual(named) => {
                let packages = graph.entry(named).or_default();
                if !packages.contains(&one) {
                    packages.push(one);
                }
            }
            Line::Has(_) | Line::Other => {}
        }
    }
    graph
}

/// Those of the packages that every Debian system has.
fn required<'a>(names: impl Iterator<Item = &'a str>) -> Result<BTreeSet<String>, Error> {
    let mut apt = asked("apt-cache");
    let text = program::output(
        apt.args(["show", "--no-all-versions"]).args(names),
        "reading about packages",
    )?;
    let mut required = BTreeSet::new();
    let mut package = "";
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("Package: ") {
            package = name;
        }
        let base = SYSTEM.contains(&package);
        if base || line == "Priority: required" || line == "Essential: yes" {
            required.insert(package.to_owned());
        }
    }
    Ok(required)
}

/// The folders of the packages, which are fetched and unpacked unless that was done before.
fn unpack(names: &BTreeSet<String>) -> Result<Vec<PathBuf>, Error> {
    let folder = |name: &String| store().join(name);
    let missing = names.iter().filter(|name| !folder(name).is_dir());
    let missing: Vec<&String> = missing.collect();
    for (number, some) in missing.chunks(AT_ONCE).enumerate() {
        let done = number * AT_ONCE;
        let of = format!("{} to {} of {}", done + 1, done + some.len(), missing.len());
        say::step(format!("fetching packages, {of}: {}", listed(some)));
        fetch(some)?;
    }
    Ok(names.iter().map(folder).collect())
}

fn listed(names: &[&String]) -> String {
    let names: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
    names.join(" ")
}

fn fetch(names: &[&String]) -> Result<(), Error> {
    let store = store();
    // Other runs may do the same: each works in a folder of its own, and the first one stays.
    let work = store.join(format!(".fetched.{}", std::process::id()));
    fs::create_dir_all(&work).map_err(Error::file("create", &work))?;
    let mut download = asked("apt-get");
    download
        .args(["-q", "download"])
        .args(names)
        .current_dir(&work);
    let what = format!("apt-get download {}", listed(names));
    program::run_logged(&mut download, &what, &work.join("log"), FETCH_LIMIT)?;
    for archive in fs::read_dir(&work)
        .map_err(Error::file("read", &work))?
        .flatten()
    {
        let archive = archive.path();
        // NAME_VERSION_ARCHITECTURE.deb
        let file = archive.file_name().and_then(|name| name.to_str());
        let Some((name, _)) = file.and_then(|file| file.split_once('_')) else {
            continue;
        };
        let contents = work.join(name);
        let mut extract = Command::new("dpkg-deb");
        extract.arg("-R").arg(&archive).arg(&contents);
        program::run(&mut extract, &format!("unpacking {name}"))?;
        let folder = store.join(name);
        if fs::rename(&contents, &folder).is_err() && !folder.is_dir() {
            return Err(Error::Usage(format!("cannot make {}", folder.display())));
        }
    }
    let _ = fs::remove_dir_all(&work);
    match names.iter().find(|name| !store.join(name).is_dir()) {
        Some(name) => Err(Error::Usage(format!("apt-get fetched no package {name}"))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_names() {
        assert!(check("lua5.4").is_ok() && check("libstdc++6").is_ok());
        for bad in ["", "-x", "a b", "a;b", "../x", "a/b"] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_graph_is_read() {
        let text = "a\n  PreDepends: b\n |Depends: c\n  Depends: <d>\n    e\nb\n  Depends: <d>\n    e\n<d>\nc\ne\n";
        let graph = graph(text);
        assert_eq!(graph.get("a"), Some(&vec!["b", "c"]));
        assert_eq!(graph.get("b"), Some(&vec!["<d>"]));
        assert_eq!(graph.get("<d>"), Some(&vec!["e"]));
    }

    #[test]
    fn a_name_without_a_package_brings_one_that_has_it() {
        let text = "ocaml\n  Depends: <ocaml-base-4>\n    ocaml-base\n    ocaml-other\n  Depends: <awk>\n    gawk\n    mawk\nocaml-base\nocaml-other\ngawk\nmawk\n<awk>\n";
        let graph = graph(text);
        let needed = needed_by("ocaml", &graph, &BTreeSet::from(["mawk".to_owned()]));
        assert_eq!(Vec::from_iter(needed), ["ocaml", "ocaml-base"]);
    }

    #[test]
    fn scripts_want_their_interpreter() {
        assert_eq!(interpreter(b"#!/bin/bash\nset -e"), Some("bash"));
        assert_eq!(interpreter(b"#! /usr/bin/perl -w\n"), Some("perl-base"));
        assert_eq!(interpreter(b"#!/bin/sh\n"), None);
        assert_eq!(interpreter(b"\x7fELF"), None);
    }

    #[test]
    fn what_is_needed_is_what_one_depends_on_but_what_every_system_has() {
        let text = "perl\n  Depends: perl-base\n  Depends: dpkg\nperl-base\n  PreDepends: libc6\nlibc6\ndpkg\n  Depends: tar\ntar\nother\n";
        let graph = graph(text);
        let required = ["perl-base", "dpkg", "tar", "libc6"].map(str::to_owned);
        let needed = needed_by("perl", &graph, &BTreeSet::from(required));
        assert_eq!(Vec::from_iter(needed), ["libc6", "perl", "perl-base"]);
    }

    #[test]
    fn who_draws_on_terminals_gets_their_descriptions() {
        let mut taken = BTreeSet::from(["procps".to_owned(), "libtinfo6".to_owned()]);
        add_what_stands_beside(&mut taken);
        assert!(taken.contains("ncurses-base"));
        let mut none = BTreeSet::from(["procps".to_owned()]);
        add_what_stands_beside(&mut none);
        assert_eq!(none.len(), 1);
    }

    #[test]
    fn manuals_stay_out() {
        assert!(is_left_out(Path::new("usr/share/doc/bash/README")));
        assert!(!is_left_out(Path::new("usr/share/locale")));
        assert!(!is_left_out(Path::new("usr/share/docs")));
        assert!(!is_left_out(Path::new("usr/lib/python3.11/os.py")));
    }
}
