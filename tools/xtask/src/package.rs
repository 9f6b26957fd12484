//! Debian packages for the image: fetched, unpacked beside the build, with what they depend on.
//!
//! Law: nothing is installed on this machine and no script of a package runs. A package is fetched
//! once and kept under the target folder. Of dependencies that every Debian system has, only
//! libraries are taken.

use crate::error::Error;
use crate::{places, program, say};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Parts of a package that programs do not need to run.
const LEFT_OUT: [&str; 8] = [
    "usr/share/doc",
    "usr/share/man",
    "usr/share/info",
    "usr/share/lintian",
    "usr/share/locale",
    "usr/share/doc-base",
    "usr/share/bug",
    "usr/share/icons",
];

/// How long fetching one package may take.
const FETCH_LIMIT: Duration = Duration::from_secs(300);

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

/// Whether this path in a package (relative) is left out of the image.
pub(crate) fn is_left_out(path: &Path) -> bool {
    LEFT_OUT.iter().any(|folder| path.starts_with(folder))
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
    let mut all = BTreeSet::new();
    for name in names {
        check(name)?;
        all.extend(dependencies(name)?);
    }
    all.iter().map(|name| unpack(name)).collect()
}

/// The contents of one package, without what it depends on.
pub(crate) fn alone(name: &str) -> Result<PathBuf, Error> {
    check(name)?;
    unpack(name)
}

/// The first package with this prefix that the package `name`, which has nothing itself, depends on.
pub(crate) fn stands_for(name: &str, prefix: &str) -> Result<String, Error> {
    let list = || {
        let mut command = program::clean("apt-cache");
        let what = format!("looking for the package {name}");
        program::output(command.args(["depends", name]), &what)
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

/// The package and what it depends on, without alternatives that are not there.
fn dependencies(name: &str) -> Result<Vec<String>, Error> {
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
    let list = |name: &str| {
        let mut command = program::clean("apt-cache");
        let what = format!("looking for the package {name}");
        program::output(command.args(words).arg(name), &what)
    };
    let text = match list(name) {
        Ok(text) if text.contains(name) => text,
        _ => {
            // The lists of a new machine are empty.
            crate::setup::refresh_lists()?;
            list(name)?
        }
    };
    let graph = graph(&text);
    let names: Vec<String> = graph.keys().map(|name| (*name).to_owned()).collect();
    let required = required(&names)?;
    let mut taken = BTreeSet::new();
    let mut waiting = vec![name];
    while let Some(next) = waiting.pop() {
        // perl is nothing without perl-base, which every system has.
        let own = next.starts_with(name) || next.starts_with("lib");
        let wanted = own || !required.contains(next);
        if wanted && graph.contains_key(next) && taken.insert(next.to_owned()) {
            waiting.extend(graph.get(next).into_iter().flatten());
        }
    }
    Ok(taken.into_iter().collect())
}

/// What `apt-cache depends` says: packages, and below each what it depends on. A package that is
/// only a name for others has nothing below it, and stands in brackets.
fn graph(text: &str) -> BTreeMap<&str, Vec<&str>> {
    let mut graph: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut package = "";
    for line in text.lines().filter(|line| !line.starts_with('<')) {
        let Some((kind, other)) = line.split_once("epends: ") else {
            if !line.starts_with(' ') {
                package = line;
                graph.entry(package).or_default();
            }
            continue;
        };
        // Behind a `|` the next line is as good; the first one is taken.
        if kind.trim_start_matches([' ', '|']).len() <= "PreD".len() {
            graph.entry(package).or_default().push(other);
        }
    }
    graph
}

/// Those of the packages that every Debian system has.
fn required(names: &[String]) -> Result<BTreeSet<String>, Error> {
    let mut command = program::clean("apt-cache");
    let text = program::output(
        command.args(["show", "--no-all-versions"]).args(names),
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

/// Fetches and unpacks one package, unless that was done before.
fn unpack(name: &str) -> Result<PathBuf, Error> {
    let store = store();
    let folder = store.join(name);
    if folder.is_dir() {
        return Ok(folder);
    }
    // Other runs may do the same: each works in a folder of its own, and the first one stays.
    let work = store.join(format!(".{name}.{}", std::process::id()));
    fs::create_dir_all(&work).map_err(Error::file("create", &work))?;
    say::step(format!("fetching the package {name}"));
    let mut fetch = program::clean("apt-get");
    fetch.args(["-q", "download", name]).current_dir(&work);
    let log = store.join(format!("{name}.log"));
    let what = format!("apt-get download {name}");
    program::run_logged(&mut fetch, &what, &log, FETCH_LIMIT)?;
    let archive = only_file(&work)?;
    let contents = work.join("contents");
    let mut extract = Command::new("dpkg-deb");
    extract.arg("-x").arg(&archive).arg(&contents);
    program::run(&mut extract, &format!("unpacking {name}"))?;
    if fs::rename(&contents, &folder).is_err() && !folder.is_dir() {
        return Err(Error::Usage(format!("cannot make {}", folder.display())));
    }
    let _ = fs::remove_dir_all(&work);
    Ok(folder)
}

fn only_file(folder: &Path) -> Result<PathBuf, Error> {
    let mut entries = fs::read_dir(folder)
        .map_err(Error::file("read", folder))?
        .flatten();
    let first = entries.next().map(|entry| entry.path());
    first.ok_or_else(|| Error::Usage(format!("nothing was fetched to {}", folder.display())))
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
        let text = "a\n  PreDepends: b\n |Depends: c\n  Depends: <d>\n    e\nb\n<d>\nc\n";
        let graph = graph(text);
        assert_eq!(graph.get("a"), Some(&vec!["b", "c", "<d>"]));
        assert_eq!(graph.keys().copied().collect::<Vec<_>>(), ["a", "b", "c"]);
    }

    #[test]
    fn manuals_stay_out() {
        assert!(is_left_out(Path::new("usr/share/doc/bash/README")));
        assert!(!is_left_out(Path::new("usr/share/docs")));
        assert!(!is_left_out(Path::new("usr/lib/python3.11/os.py")));
    }
}
