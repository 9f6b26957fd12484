//! The selftests of Linux, built from Debian's `linux-source`.
//!
//! Law: nothing in the sources is changed. Each test is one static program, by the name of its folder and its
//! own; which of them are built is said where they are run.

use crate::error::Error;
use crate::{package, program, say, setup, suites};
use qemu_tests::SELFTESTS;
use std::fs;
use std::path::Path;

/// The parts of the source that are needed.
const PARTS: [&str; 2] = ["*/tools/testing/selftests/*", "*/tools/include/*"];
/// What tests of a folder are compiled from besides their own file.
const SHARED: [(&str, &str); 3] = [
    ("vm/", "vm/vm_util.c"),
    ("openat2/", "openat2/helpers.c"),
    ("memfd/", "memfd/common.c"),
];

/// Builds the tests into a folder.
pub(crate) fn build(to: &Path) -> Result<(), Error> {
    if program::find("cc").is_none() {
        setup::install("a compiler", &["gcc", "libc6-dev"])?;
    }
    let name = package::stands_for("linux-source", "linux-source-")?;
    let archive = package::alone(&name)?.join(format!("usr/src/{name}.tar.xz"));
    let source = to.join("source");
    fs::create_dir_all(&source).map_err(Error::file("create", &source))?;
    let mut unpack = program::clean("tar");
    unpack.arg("-xf").arg(archive).arg("-C").arg(&source);
    unpack
        .args(["--strip-components=1", "--wildcards"])
        .args(PARTS);
    let log = suites::folder().join("linux-unpack.log");
    program::run_logged(&mut unpack, "unpacking", &log, suites::FETCH_LIMIT)?;
    say::step(format!("building {} selftests of Linux", SELFTESTS.len()));
    let tests = source.join("tools/testing/selftests");
    for name in SELFTESTS {
        compile(&tests, name, &to.join(name.replace('/', "-")))?;
    }
    fs::remove_dir_all(&source).map_err(Error::file("remove", &source))
}

fn compile(tests: &Path, name: &str, program: &Path) -> Result<(), Error> {
    let mut command = program::clean("cc");
    command.args(["-O2", "-w", "-static", "-s", "-pthread", "-D_GNU_SOURCE"]);
    command.args(["-U_FORTIFY_SOURCE", "-I."]);
    command.args(["-I../../include", "-Ifutex/include"]);
    command.arg("-o").arg(program).arg(format!("{name}.c"));
    let shared = SHARED.iter().filter(|(folder, _)| name.starts_with(folder));
    command.args(shared.map(|(_, file)| file));
    command.args(["-lrt", "-lm"]).current_dir(tests);
    program::run(&mut command, &format!("compiling the selftest {name}"))
}
