//! The tests of libuv, built from Debian's source.
//!
//! Law: nothing in the sources is changed. All tests are one static program, which runs each by its name in a
//! process of its own; beside it lie the files that they read.

use crate::error::Error;
use crate::{program, say, setup, suites};
use std::fs;
use std::path::{Path, PathBuf};

/// What the library consists of on Linux besides the files that all systems have (in `src/unix`).
const LINUX: [&str; 26] = [
    "async",
    "core",
    "dl",
    "epoll",
    "fs",
    "getaddrinfo",
    "getnameinfo",
    "linux-core",
    "linux-inotify",
    "linux-syscalls",
    "loop",
    "loop-watcher",
    "pipe",
    "poll",
    "process",
    "procfs-exepath",
    "proctitle",
    "random-devurandom",
    "random-getrandom",
    "random-sysctl-linux",
    "signal",
    "stream",
    "tcp",
    "thread",
    "tty",
    "udp",
];
/// What runs the tests, and what they talk to (in `test`).
const RUNNER: [&str; 5] = [
    "blackhole-server",
    "echo-server",
    "run-tests",
    "runner",
    "runner-unix",
];

/// Builds the tests into a folder.
pub(crate) fn build(to: &Path) -> Result<(), Error> {
    if program::find("cc").is_none() {
        setup::install("a compiler", &["gcc", "libc6-dev"])?;
    }
    let source = suites::source("libuv1")?;
    say::step("building the tests of libuv");
    let mut files = sources(&source.join("src"), "")?;
    files.extend(sources(&source.join("test"), "test-")?);
    let named = |folder: &'static str| move |name: &&str| format!("{folder}/{name}.c").into();
    files.extend(LINUX.iter().map(named("src/unix")));
    files.extend(RUNNER.iter().map(named("test")));
    let mut command = program::clean("cc");
    command.args(["-O1", "-w", "-static", "-s", "-pthread", "-D_GNU_SOURCE"]);
    command.args(["-D_FILE_OFFSET_BITS=64", "-Iinclude", "-Isrc", "-Itest"]);
    // Three tests take in the file of the library that they try.
    command.arg("-Wl,-z,muldefs");
    command.arg("-o").arg(to.join("run-tests")).args(files);
    command.args(["-ldl", "-lrt"]).current_dir(&source);
    let log = suites::folder().join("libuv-cc.log");
    program::run_logged(&mut command, "cc", &log, suites::FETCH_LIMIT)?;
    let test = to.join("test");
    fs::create_dir_all(&test).map_err(Error::file("create", &test))?;
    suites::copy(&source.join("test/fixtures"), &test)
}

/// The C files of a folder whose names begin so, in the order of their names.
fn sources(folder: &Path, prefix: &str) -> Result<Vec<PathBuf>, Error> {
    let entries = fs::read_dir(folder).map_err(Error::file("read", folder))?;
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    files.retain(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with(prefix) && name.ends_with(".c")
    });
    files.sort();
    Ok(files)
}
