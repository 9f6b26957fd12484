//! CRIU's own tests (zdtm), built from Debian's source.
//!
//! Law: nothing in the source is changed. Each test is one static program; what was built once is kept under
//! the target folder. The options that a test has to be given are read from its source.

use crate::error::Error;
use crate::suites::{self, Release};
use crate::{program, say, setup};
use qemu_tests::Zdtm;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// What all tests share.
const LIBRARY: [&str; 14] = [
    "datagen",
    "msg",
    "parseargs",
    "test",
    "streamutil",
    "lock",
    "ns",
    "tcp",
    "unix",
    "fs",
    "sysctl",
    "mem",
    "file",
    "mountinfo",
];
/// Files beside the tests that are none, and belong to all of them here.
const HELPERS: [&str; 2] = ["get_smaps_bits", "ofd_file_locks"];
/// How the Makefile of the tests compiles.
const FLAGS: [&str; 9] = [
    "-O2",
    "-w",
    "-pthread",
    "-D_GNU_SOURCE",
    "-D_LARGEFILE64_SOURCE",
    "-U_FORTIFY_SOURCE",
    "-D_FORTIFY_SOURCE=0",
    "-static",
    "-s",
];
/// Words that the Makefile adds for a test.
const OWN_FLAGS: [(&str, &str); 4] = [
    ("fpu03", "-DZDTM_FPU00_RUN_IN_THREAD"),
    ("inotify_system_nodel", "-DNO_DEL"),
    ("unlink_largefile", "-D_FILE_OFFSET_BITS=64"),
    ("shm", "-DNEW_IPC_NS"),
];
/// Options that a test asks for and their values in the Makefile.
const OPTIONS: [(&str, &str); 9] = [
    ("filename", "--filename=@.test"),
    ("dirname", "--dirname=@.dir.test"),
    ("mask", "--mask=0345"),
    ("envname", "--envname=ENV_00_TEST"),
    ("shmem_size", "--shmem_size=5000"),
    ("name_master", "--name_master=@.master.test"),
    ("name_slave", "--name_slave=@.slave.test"),
    ("arg1", "--arg1=arg1 --arg2=arg2"),
    ("arg3", "--arg3=arg3"),
];

/// The tests that are wanted, in the order of their names.
pub(crate) fn tests(wanted: &dyn Fn(&str) -> bool) -> Result<Vec<Zdtm>, Error> {
    if program::find("cc").is_none() {
        setup::install("a compiler", &["gcc", "libc6-dev"])?;
    }
    let source = suites::source_of("criu", Release::Newest)?.join("test/zdtm");
    let names = names(&source)?;
    let names: Vec<String> = names.into_iter().filter(|name| wanted(name)).collect();
    let ready = suites::folder().join("zdtm");
    fs::create_dir_all(&ready).map_err(Error::file("create", &ready))?;
    let shared = objects(&source, &ready)?;
    let missing: Vec<&String> = names
        .iter()
        .filter(|name| !ready.join(name).is_file())
        .collect();
    if !missing.is_empty() {
        say::step(format!("building {} tests of zdtm", missing.len()));
    }
    compile_all(&missing, |name| compile(&source, &ready, name, &shared))?;
    let tests = names.into_iter().map(|name| {
        let text = text_of(&source, &name)?;
        Ok(Zdtm {
            program: ready.join(&name),
            options: options(&name, &text),
            name,
        })
    });
    tests.collect()
}

/// The names of all tests that are there.
fn names(source: &Path) -> Result<Vec<String>, Error> {
    let folder = source.join("static");
    let entries = fs::read_dir(&folder).map_err(Error::file("read", &folder))?;
    let mut names: Vec<String> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter_map(|name| name.strip_suffix(".c").map(str::to_owned))
        .filter(|name| !HELPERS.contains(&name.as_str()))
        .collect();
    names.sort();
    Ok(names)
}

fn text_of(source: &Path, name: &str) -> Result<String, Error> {
    let path = source.join("static").join(format!("{name}.c"));
    fs::read_to_string(&path).map_err(Error::file("read", &path))
}

/// What a test has to be given, by the options that its source declares.
fn options(name: &str, text: &str) -> String {
    let asked = |option: &str| text.contains(&format!("TEST_OPTION({option},"));
    let values = OPTIONS.iter().filter(|(option, _)| asked(option));
    let values: Vec<String> = values.map(|(_, value)| value.replace('@', name)).collect();
    values.join(" ")
}

/// One object file of what all tests share.
fn objects(source: &Path, ready: &Path) -> Result<Vec<PathBuf>, Error> {
    let folder = ready.join("shared");
    fs::create_dir_all(&folder).map_err(Error::file("create", &folder))?;
    let library = LIBRARY.iter().map(|name| ("lib", name));
    let helpers = HELPERS.iter().map(|name| ("static", name));
    let mut objects = Vec::new();
    for (from, name) in library.chain(helpers) {
        let object = folder.join(format!("{name}.o"));
        if !object.is_file() {
            let mut command = compiler(source);
            let file = source.join(from).join(format!("{name}.c"));
            command.arg("-c").arg(file).arg("-o").arg(&object);
            program::run(&mut command, "compiling a part of zdtm")?;
        }
        objects.push(object);
    }
    Ok(objects)
}

fn compiler(source: &Path) -> std::process::Command {
    let mut command = program::clean("cc");
    command.args(FLAGS).arg("-I").arg(source.join("lib"));
    let machine = source.join("lib/arch/x86/include");
    command.arg("-iquote").arg(machine);
    command
}

/// Runs `compile` for all names, on as many processors as there are.
fn compile_all(
    names: &[&String],
    compile: impl Fn(&str) -> Result<(), Error> + Sync,
) -> Result<(), Error> {
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let rest = Mutex::new(names.iter());
    let next = || rest.lock().ok().and_then(|mut rest| rest.next().copied());
    std::thread::scope(|scope| {
        let worker = || {
            while let Some(name) = next() {
                compile(name)?;
            }
            Ok(())
        };
        let running: Vec<_> = (0..workers).map(|_| scope.spawn(worker)).collect();
        let panicked = |_| Err(Error::Unmet("a thread panicked".into()));
        let mut results = running.into_iter().map(|thread| thread.join());
        results.try_for_each(|result| result.unwrap_or_else(panicked))
    })
}

fn compile(source: &Path, ready: &Path, name: &str, shared: &[PathBuf]) -> Result<(), Error> {
    let fresh = ready.join(format!("{name}.{}", std::process::id()));
    let mut command = compiler(source);
    let own = OWN_FLAGS.iter().filter(|(test, _)| *test == name);
    command.args(own.map(|(_, flag)| flag));
    // Some tests have a function of the same name as a helper.
    command.arg("-Wl,--allow-multiple-definition");
    command.arg(source.join("static").join(format!("{name}.c")));
    command.args(shared).arg("-o").arg(&fresh);
    program::run(&mut command, &format!("compiling zdtm's {name}"))?;
    let path = ready.join(name);
    fs::rename(&fresh, &path).map_err(Error::file("create", &path))
}

#[cfg(test)]
mod tests {
    use super::options;

    #[test]
    fn options_are_those_that_the_source_asks_for() {
        let text = "char *filename;\nTEST_OPTION(filename, string, \"file name\", 1);\n";
        assert_eq!(options("fifo", text), "--filename=fifo.test");
        assert_eq!(options("pid00", "int main() {}"), "");
    }
}
