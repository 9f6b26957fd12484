//! Test programs of sqlite, Lua's libraries, Go, Linux, libuv and POSIX, built from Debian's sources.
//!
//! Law: nothing in the sources is changed. Programs are linked statically, or to the libraries of this machine, so that
//! the same file runs here and on a node. What was built once is kept under the target folder.

use crate::error::Error;
use crate::{golang, libuv, posix, program, say, selftests, setup, suites};
use qemu_tests::Set;
use std::fs;
use std::path::{Path, PathBuf};

/// A program that is needed to build, and the package it comes with.
const BUILDERS: [(&str, &str); 3] = [("cc", "gcc"), ("make", "make"), ("tclsh", "tcl")];
/// sqlite's test programs, and what each is compiled from besides the library.
const SQLITE: [(&str, &[&str]); 3] = [
    ("speedtest1", &["test/speedtest1.c"]),
    ("mptester", &["mptest/mptest.c"]),
    (
        "threadtest3",
        &["test/threadtest3.c", "src/test_multiplex.c"],
    ),
];
/// Source packages of Lua, and the folder or file in each that holds the tests.
const LUA: [(&str, &str); 3] = [
    ("lua-lpeg", "test.lua"),
    ("lua-filesystem", "tests/test.lua"),
    ("lua-cjson", "tests"),
];

/// A folder with the programs, for an image and for this machine.
pub(crate) fn folder(set: Set) -> Result<PathBuf, Error> {
    let name = match set {
        Set::Sqlite => "sqlite-programs",
        Set::Lua => "lua-programs",
        Set::Go => "go-programs",
        Set::Linux => "linux-programs",
        Set::Uv => "libuv-programs",
        Set::Posix => "posix-programs",
    };
    let ready = suites::folder().join(name);
    if ready.is_dir() {
        return Ok(ready);
    }
    let fresh = suites::folder().join(format!("{name}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&fresh);
    fs::create_dir_all(&fresh).map_err(Error::file("create", &fresh))?;
    match set {
        Set::Sqlite => sqlite(&fresh)?,
        Set::Lua => lua(&fresh)?,
        Set::Go => golang::build(&fresh)?,
        Set::Linux => selftests::build(&fresh)?,
        Set::Uv => libuv::build(&fresh)?,
        Set::Posix => posix::build(&fresh)?,
    }
    fs::rename(&fresh, &ready).map_err(Error::file("create", &ready))?;
    Ok(ready)
}

fn sqlite(to: &Path) -> Result<(), Error> {
    for (builder, package) in BUILDERS {
        if program::find(builder).is_none() {
            setup::install(builder, &[package, "libc6-dev"])?;
        }
    }
    let source = suites::source("sqlite3")?;
    say::step("building sqlite's test programs");
    let work = to.join("build");
    fs::create_dir_all(&work).map_err(Error::file("create", &work))?;
    let run = |what: &str, program: &Path, words: &[&str]| {
        let mut command = program::clean(program);
        command.args(words).current_dir(&work);
        let log = suites::folder().join(format!("sqlite-{what}.log"));
        program::run_logged(&mut command, what, &log, suites::FETCH_LIMIT)
    };
    let options = ["--disable-tcl", "--enable-threadsafe"];
    run("configure", &source.join("configure"), &options)?;
    run("make", Path::new("make"), &["sqlite3.c"])?;
    let tests = source.join("test");
    let includes = source.join("src");
    let common = [
        "-O1",
        "-w",
        "-DSQLITE_THREADSAFE=1",
        "-I.",
        "-I",
        tests.to_str().unwrap_or_default(),
        "-I",
        includes.to_str().unwrap_or_default(),
    ];
    let cc = Path::new("cc");
    run("cc", cc, &[&common[..], &["-c", "sqlite3.c"]].concat())?;
    for (name, files) in SQLITE {
        let paths: Vec<String> = files
            .iter()
            .map(|file| source.join(file).display().to_string())
            .collect();
        let mut words = common.to_vec();
        words.extend(paths.iter().map(String::as_str));
        words.extend(["sqlite3.o", "-static", "-o", name, "-lpthread", "-lm"]);
        run(name, cc, &words)?;
        suites::copy(&work.join(name), to)?;
    }
    let scripts = source.join("mptest");
    for script in ["multiwrite01.test", "crash01.test", "crash02.subtest"] {
        suites::copy(&scripts.join(script), to)?;
    }
    fs::remove_dir_all(&work).map_err(Error::file("remove", &work))
}

fn lua(to: &Path) -> Result<(), Error> {
    for (package, tests) in LUA {
        let folder = to.join(package);
        fs::create_dir_all(&folder).map_err(Error::file("create", &folder))?;
        suites::copy(&suites::source(package)?.join(tests), &folder)?;
    }
    Ok(())
}

/// What a command prints on this machine, run in a folder of its own, with the programs at `$S`.
pub(crate) fn on_host(set: Set, command: &str) -> Result<String, Error> {
    let programs = folder(set)?;
    let work = suites::folder().join(format!("here-{}", std::process::id()));
    fs::create_dir_all(&work).map_err(Error::file("create", &work))?;
    let mut shell = program::clean(setup::busybox()?);
    shell
        .args(["ash", "-c", command])
        .current_dir(&work)
        .env("S", programs);
    let text = program::output_told(&mut shell, "a suite on this machine");
    let _ = fs::remove_dir_all(&work);
    text
}
