//! Test suites of programs that others wrote, from Debian's sources, prepared to be run.
//!
//! Law: sources are fetched by apt with settings of our own under the target folder, made from those of this
//! machine, whose lists stay as they are. What was fetched, built or run once is kept there.

use crate::error::Error;
use crate::{places, program, say, setup};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

/// How long fetching, unpacking or building may take.
pub(crate) const FETCH_LIMIT: Duration = Duration::from_secs(600);
/// Where this machine says where its packages come from.
const SOURCES: [&str; 2] = ["/etc/apt/sources.list", "/etc/apt/sources.list.d"];
/// Small programs of busybox's shell tests.
const TOOLS: [&str; 3] = ["printenv", "recho", "zecho"];

/// Runs its arguments with standard files only. Tests count what is in `/proc/self/fd`, and whoever started this may have left
/// files open.
const ONLY_STANDARD_FILES: &str = "for fd in /proc/self/fd/*; do
    fd=${fd##*/}
    test $fd -le 2 || eval \"exec $fd>&-\"
done
exec \"$@\"";

/// Which release of Debian a source is taken from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Release {
    /// The one that this machine has.
    Own,
    /// The newest, without Debian's own changes, for what the one that this machine has cannot give.
    Newest,
}

/// Where sources and what is made of them lie.
pub(crate) fn folder() -> PathBuf {
    places::target().join("suites")
}

/// The unpacked source of a Debian source package.
pub(crate) fn source(name: &str) -> Result<PathBuf, Error> {
    source_of(name, Release::Own)
}

/// The same from a release.
pub(crate) fn source_of(name: &str, release: Release) -> Result<PathBuf, Error> {
    let unpacked = folder().join(name).join("source");
    if unpacked.is_dir() {
        return Ok(unpacked);
    }
    if program::find("dpkg-source").is_none() {
        setup::install("the tools for source packages", &["dpkg-dev"])?;
    }
    let settings = settings(release)?;
    let work = folder().join(name).join("fetched");
    fs::create_dir_all(&work).map_err(Error::file("create", &work))?;
    say::step(format!("fetching the source of {name}"));
    let apt = |words: &[&str]| {
        let mut command = program::clean("apt-get");
        command.env("APT_CONFIG", &settings).current_dir(&work);
        command.arg("-q").args(words);
        let log = folder().join(format!("{name}-{}.log", words[0]));
        program::run_logged(&mut command, "apt-get", &log, FETCH_LIMIT)
    };
    let download = match release {
        Release::Own => vec!["source", "--download-only", name],
        Release::Newest => vec!["source", "--download-only", "--tar-only", name],
    };
    if apt(&download).is_err() {
        let fetched = apt(&["update"]).and_then(|()| apt(&download));
        fetched.map_err(|error| Error::Unavailable {
            name: name.to_owned(),
            why: error.to_string(),
        })?;
    }
    let fresh = folder().join(name).join("fresh");
    let _ = fs::remove_dir_all(&fresh);
    let mut unpack;
    match release {
        Release::Own => {
            let description = with_extension(&work, "dsc")?;
            unpack = Command::new("dpkg-source");
            unpack.args(["--no-check", "-x"]);
            unpack.arg(description).arg(&fresh);
        }
        Release::Newest => {
            fs::create_dir_all(&fresh).map_err(Error::file("create", &fresh))?;
            unpack = Command::new("tar");
            unpack.args(["--strip-components=1", "-xf"]);
            unpack.arg(with_extension(&work, "xz")?);
            unpack.arg("-C").arg(&fresh);
        }
    }
    let log = folder().join(format!("{name}-unpack.log"));
    program::run_logged(&mut unpack, "unpacking", &log, FETCH_LIMIT)?;
    fs::rename(&fresh, &unpacked).map_err(Error::file("create", &unpacked))?;
    Ok(unpacked)
}

/// Does `work` for all items, on as many processors as there are.
pub(crate) fn for_all<T: Sync>(
    items: &[T],
    work: impl Fn(&T) -> Result<(), Error> + Sync,
) -> Result<(), Error> {
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let rest = Mutex::new(items.iter());
    let next = || rest.lock().ok().and_then(|mut rest| rest.next());
    std::thread::scope(|scope| {
        let worker = || {
            while let Some(item) = next() {
                work(item)?;
            }
            Ok(())
        };
        let running: Vec<_> = (0..workers).map(|_| scope.spawn(worker)).collect();
        let panicked = |_| Err(Error::Unmet("a thread panicked".into()));
        let mut results = running.into_iter().map(|thread| thread.join());
        results.try_for_each(|result| result.unwrap_or_else(panicked))
    })
}

fn with_extension(folder: &Path, extension: &str) -> Result<PathBuf, Error> {
    let entries = fs::read_dir(folder).map_err(Error::file("read", folder))?;
    let mut paths = entries.flatten().map(|entry| entry.path());
    let found = paths.find(|path| path.extension().is_some_and(|is| is == extension));
    found.ok_or_else(|| Error::Usage(format!("no .{extension} in {}", folder.display())))
}

/// An apt configuration that takes sources from where this machine takes its packages.
fn settings(release: Release) -> Result<PathBuf, Error> {
    let apt = folder().join(match release {
        Release::Own => "apt",
        Release::Newest => "apt-newest",
    });
    let parts = apt.join("parts");
    for folder in [
        &parts,
        &apt.join("lists/partial"),
        &apt.join("cache/archives/partial"),
    ] {
        fs::create_dir_all(folder).map_err(Error::file("create", folder))?;
    }
    let mut files = vec![PathBuf::from(SOURCES[0])];
    let more = fs::read_dir(SOURCES[1]).into_iter().flatten().flatten();
    files.extend(more.map(|entry| entry.path()));
    for file in files {
        let (Ok(text), Some(name)) = (fs::read_to_string(&file), file.file_name()) else {
            continue;
        };
        let known = ["list", "sources"];
        if file
            .extension()
            .is_some_and(|is| known.iter().any(|known| is == *known))
        {
            let path = parts.join(name);
            fs::write(&path, of_sources(&text, release)).map_err(Error::file("write", &path))?;
        }
    }
    let shown = apt.display();
    let text = format!(
        "Dir::Etc::SourceList \"/dev/null\";\nDir::Etc::SourceParts \"{shown}/parts\";\n\
         Dir::State::Lists \"{shown}/lists\";\nDir::Cache \"{shown}/cache\";\n\
         APT::Sandbox::User \"root\";\n"
    );
    let path = apt.join("apt.conf");
    fs::write(&path, text).map_err(Error::file("write", &path))?;
    Ok(path)
}

/// The same list of places, for sources instead of programs: one-line and deb822 style.
fn of_sources(text: &str, release: Release) -> String {
    let newest = release == Release::Newest;
    let line = |line: &str| match line.strip_prefix("deb ") {
        Some(rest) if newest => format!("deb-src {}", with_suite(rest, NEWEST)),
        Some(rest) => format!("deb-src {rest}"),
        None if line.starts_with("Types:") => "Types: deb-src".to_owned(),
        None if newest && line.starts_with("Suites:") => format!("Suites: {NEWEST}"),
        None => line.to_owned(),
    };
    // Updates for security are of a release that is out.
    let kept = |part: &&str| !newest || !part.contains("security");
    let parts = text.split_inclusive("\n\n").filter(kept);
    let lines = parts.flat_map(str::lines).map(|text| line(text) + "\n");
    lines.collect()
}

/// What the newest release is called.
const NEWEST: &str = "sid";

/// A place in one-line style with another suite: the word behind the address.
fn with_suite(place: &str, suite: &str) -> String {
    let mut words: Vec<&str> = place.split_whitespace().collect();
    let address = words
        .iter()
        .position(|word| word.contains(':') && !word.starts_with('['));
    if let Some(named) = address.and_then(|at| words.get_mut(at + 1)) {
        *named = suite;
    }
    words.join(" ")
}

/// busybox's own suite beside the static busybox of this machine: a folder for an image.
pub(crate) fn busybox() -> Result<PathBuf, Error> {
    let busybox = setup::busybox()?;
    let ready = folder().join("busybox/suite");
    if ready.is_dir() {
        return Ok(ready);
    }
    let source = source("busybox")?;
    let fresh = folder().join("busybox/fresh-suite");
    let _ = fs::remove_dir_all(&fresh);
    fs::create_dir_all(&fresh).map_err(Error::file("create", &fresh))?;
    copy(&busybox, &fresh.join("busybox"))?;
    copy(
        &source.join("debian/config/pkg/static"),
        &fresh.join(".config"),
    )?;
    copy(&source.join("testsuite"), &fresh.join("testsuite"))?;
    copy(&source.join("shell/ash_test"), &fresh.join("ash_test"))?;
    for tool in TOOLS {
        let mut compile = program::clean("cc");
        compile.args(["-O1", "-static", "-w", "-o", tool]);
        compile
            .arg(format!("{tool}.c"))
            .current_dir(fresh.join("ash_test"));
        program::run(&mut compile, "compiling a tool of the suite")?;
    }
    fs::rename(&fresh, &ready).map_err(Error::file("create", &ready))?;
    Ok(ready)
}

/// Copies a file or a folder with all that is in it.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<(), Error> {
    let mut command = program::clean("cp");
    program::run(command.arg("-a").arg(from).arg(to), "copying")
}

/// What the suite prints on this machine, for the units that match; `script` is its runner.
pub(crate) fn busybox_on_host(
    script: &str,
    limit: u32,
    patterns: &[&str],
) -> Result<String, Error> {
    let suite = busybox()?;
    let work = folder().join(format!("busybox/host-{}", std::process::id()));
    copy(&suite, &work)?;
    let runner = work.join("run.sh");
    fs::write(&runner, script).map_err(Error::file("write", &runner))?;
    let shell = work.join("busybox");
    let mut command = program::clean(&shell);
    command
        .args(["ash", "-c", ONLY_STANDARD_FILES, "ash"])
        .arg(&shell)
        .arg("ash")
        .arg(&runner)
        .arg(&work)
        .arg(limit.to_string());
    let text = program::output(command.args(patterns), "running busybox's suite here");
    let _ = fs::remove_dir_all(&work);
    text
}

#[cfg(test)]
mod tests {
    use super::{Release, of_sources};

    #[test]
    fn places_of_programs_become_places_of_sources() {
        assert_eq!(
            of_sources("# deb x\ndeb [a=b] mirror suite main\n", Release::Own),
            "# deb x\ndeb-src [a=b] mirror suite main\n"
        );
        assert_eq!(
            of_sources("Types: deb\nURIs: mirror\n", Release::Own),
            "Types: deb-src\nURIs: mirror\n"
        );
    }

    #[test]
    fn places_of_a_release_become_places_of_the_newest() {
        assert_eq!(
            of_sources("deb [a=b] http://mirror bookworm main\n", Release::Newest),
            "deb-src [a=b] http://mirror sid main\n"
        );
        let text = "Types: deb\nURIs: mirror\nSuites: a b\n\nTypes: deb\nURIs: mirror-security\n";
        assert_eq!(
            of_sources(text, Release::Newest),
            "Types: deb-src\nURIs: mirror\nSuites: sid\n\n"
        );
    }
}
