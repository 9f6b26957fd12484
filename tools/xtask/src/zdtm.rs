//! CRIU's own tests (zdtm), built from Debian's source.
//!
//! Law: nothing in the source is changed. Each test is one static program; what was built once is kept under
//! the target folder. What a test is compiled with is read from the Makefile, and the options that it has to be given
//! from its source: many tests are one source, compiled in several ways.

use crate::error::Error;
use crate::suites::{self, Release};
use crate::{program, say, setup};
use qemu_tests::Zdtm;
use std::fs;
use std::path::{Path, PathBuf};

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
/// Libraries of tests, and the packages that have them.
const LIBRARIES: [(&str, &str); 2] = [("-laio", "libaio-dev"), ("-lcap", "libcap-dev")];
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
    let makefile = source.join("static/Makefile");
    let makefile = fs::read_to_string(&makefile).map_err(Error::file("read", &makefile))?;
    let missing: Vec<&String> = names
        .iter()
        .filter(|name| !is_ready(&ready, name, &definitions(name, &makefile)))
        .collect();
    if !missing.is_empty() {
        say::step(format!("building {} tests of zdtm", missing.len()));
        install_libraries(&missing, &makefile)?;
    }
    suites::for_all(&missing, |name| {
        let own = definitions(name, &makefile);
        let linked = libraries(name, &makefile);
        compile(&source, &ready, name, (&own, &linked), &shared)
    })?;
    let tests = names.into_iter().map(|name| {
        let text = text_of(&source, &name)?;
        Ok(Zdtm {
            program: ready.join(&name),
            options: options(&name, &text, &definitions(&name, &makefile)),
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

/// What the Makefile adds to a variable for a test.
fn set_for<'a>(name: &str, makefile: &'a str, variable: &str) -> Vec<&'a str> {
    let own = makefile.lines().filter_map(|line| {
        let (names, value) = line.split_once(':')?;
        let value = value.trim_start().strip_prefix(variable)?;
        let value = value.trim_start().strip_prefix("+=")?;
        let mut names = names.split_whitespace();
        names.any(|known| known == name).then_some(value)
    });
    own.collect()
}

/// The libraries that a test is linked with (`NAME: LDLIBS += -lLIBRARY`).
fn libraries<'a>(name: &str, makefile: &'a str) -> Vec<&'a str> {
    let own = set_for(name, makefile, "LDLIBS").into_iter();
    let words = own.flat_map(str::split_whitespace);
    words.filter(|word| word.starts_with("-l")).collect()
}

/// Installs what tests are linked with, if it is not there.
fn install_libraries(names: &[&String], makefile: &str) -> Result<(), Error> {
    for (library, package) in LIBRARIES {
        let is_linked = |name: &&String| libraries(name, makefile).contains(&library);
        if names.iter().any(is_linked) && !is_there(library)? {
            setup::install("a library of tests", &[package])?;
        }
    }
    Ok(())
}

/// Whether the compiler knows where a library for static programs is.
fn is_there(library: &str) -> Result<bool, Error> {
    let file = library.replacen("-l", "lib", 1) + ".a";
    let mut command = program::clean("cc");
    command.arg(format!("-print-file-name={file}"));
    let path = program::output(&mut command, "looking for a library")?;
    Ok(Path::new(path.trim()).is_absolute())
}

/// What the Makefile defines for a test (`NAME: CFLAGS += -D WORD`), each as `WORD` or `WORD=VALUE`.
fn definitions(name: &str, makefile: &str) -> Vec<String> {
    let mut found = Vec::new();
    for flags in set_for(name, makefile, "CFLAGS") {
        let mut words = flags.split_whitespace();
        while let Some(word) = words.next() {
            match word.strip_prefix("-D") {
                Some("") => found.extend(words.next().map(str::to_owned)),
                Some(word) => found.push(word.to_owned()),
                None => {}
            }
        }
    }
    found
}

/// The lines of a source that are compiled with these definitions. Conditions that are more than one word are taken
/// to hold.
fn compiled<'a>(text: &'a str, definitions: &[String]) -> Vec<&'a str> {
    let is_defined = |word: &str| {
        let mut names = definitions.iter().map(|word| word.split('=').next());
        names.any(|name| name == Some(word.trim()))
    };
    let mut conditions: Vec<bool> = Vec::new();
    let mut lines = Vec::new();
    for line in text.lines() {
        let directive = line.trim_start();
        if let Some(word) = directive.strip_prefix("#ifdef ") {
            conditions.push(is_defined(word));
        } else if let Some(word) = directive.strip_prefix("#ifndef ") {
            conditions.push(!is_defined(word));
        } else if directive.starts_with("#if") {
            conditions.push(true);
        } else if directive.starts_with("#else") {
            if let Some(condition) = conditions.last_mut() {
                *condition = !*condition;
            }
        } else if directive.starts_with("#endif") {
            conditions.pop();
        } else if conditions.iter().all(|holds| *holds) {
            lines.push(line);
        }
    }
    lines
}

/// What a test has to be given, by the options that its source declares.
fn options(name: &str, text: &str, definitions: &[String]) -> String {
    let lines = compiled(text, definitions);
    let asked = |option: &str| {
        let declared = format!("TEST_OPTION({option},");
        lines.iter().any(|line| line.contains(&declared))
    };
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

/// Where it is written what a test was compiled with, if that is anything.
fn noted(ready: &Path, name: &str) -> PathBuf {
    ready.join(format!("{name}.defined"))
}

/// Whether a test is there, compiled with these definitions.
fn is_ready(ready: &Path, name: &str, definitions: &[String]) -> bool {
    let with = fs::read_to_string(noted(ready, name)).unwrap_or_default();
    ready.join(name).is_file() && with == definitions.join(" ")
}

fn compile(
    source: &Path,
    ready: &Path,
    name: &str,
    (definitions, libraries): (&[String], &[&str]),
    shared: &[PathBuf],
) -> Result<(), Error> {
    let fresh = ready.join(format!("{name}.{}", std::process::id()));
    let mut command = compiler(source);
    command.args(definitions.iter().map(|word| format!("-D{word}")));
    // Some tests have a function of the same name as a helper.
    command.arg("-Wl,--allow-multiple-definition");
    command.arg(source.join("static").join(format!("{name}.c")));
    command.args(shared).args(libraries);
    command.arg("-o").arg(&fresh);
    program::run(&mut command, &format!("compiling zdtm's {name}"))?;
    let path = ready.join(name);
    fs::rename(&fresh, &path).map_err(Error::file("create", &path))?;
    let note = noted(ready, name);
    fs::write(&note, definitions.join(" ")).map_err(Error::file("write", &note))
}

#[cfg(test)]
mod tests {
    use super::{definitions, libraries, options};

    #[test]
    fn options_are_those_that_the_source_asks_for() {
        let text = "char *filename;\nTEST_OPTION(filename, string, \"file name\", 1);\n";
        assert_eq!(options("fifo", text, &[]), "--filename=fifo.test");
        assert_eq!(options("pid00", "int main() {}", &[]), "");
    }

    #[test]
    fn one_source_is_several_tests() {
        let makefile = "fpu03:\t\tCFLAGS += -pthread -D IN_THREAD\nfpu03:\tLDLIBS += -pthread\n\
                        over: CFLAGS += -DOVER -DSIZE=4\nother:\tCFLAGS += -DOTHER\n";
        assert_eq!(definitions("fpu03", makefile), ["IN_THREAD"]);
        assert_eq!(definitions("over", makefile), ["OVER", "SIZE=4"]);
        assert!(definitions("fpu00", makefile).is_empty());
        let linked = "LDLIBS += -lall\ncreds uids:\tLDLIBS += -pthread -lcap\n";
        assert_eq!(libraries("uids", linked), ["-lcap"]);
        assert!(libraries("other", linked).is_empty());
        let text = "#ifdef OVER\nTEST_OPTION(dirname, string, \"\", 1);\n#else\n\
                    TEST_OPTION(filename, string, \"\", 1);\n#endif\n#ifndef OVER\n#if 1\n\
                    TEST_OPTION(mask, int, \"\", 1);\n#endif\n#endif\n";
        let over = definitions("over", makefile);
        assert_eq!(options("over", text, &over), "--dirname=over.dir.test");
        let plain = "--filename=plain.test --mask=0345";
        assert_eq!(options("plain", text, &[]), plain);
    }
}
