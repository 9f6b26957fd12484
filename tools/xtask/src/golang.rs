//! Tests of Go's standard library, built from Debian's `golang-src`.
//!
//! Law: one static program for each package, with the files of the package beside it, where its tests look
//! for them. Nothing in the sources is changed.

use crate::error::Error;
use crate::{program, say, setup, suites};
use qemu_tests::GO_PACKAGES;
use std::fs;
use std::path::{Path, PathBuf};

/// Builds the test programs into a folder.
pub(crate) fn build(to: &Path) -> Result<(), Error> {
    if program::find("go").is_none() {
        setup::install("Go", &["golang-go", "golang-src"])?;
    }
    let mut command = program::clean("go");
    let root = program::output(command.args(["env", "GOROOT"]), "asking Go for its folder")?;
    let source = PathBuf::from(root.trim()).join("src");
    say::step(format!(
        "building the tests of {} packages of Go",
        GO_PACKAGES.len()
    ));
    for package in GO_PACKAGES {
        let folder = to.join(package);
        fs::create_dir_all(&folder).map_err(Error::file("create", &folder))?;
        copy_files(&source.join(package), &folder)?;
        let mut command = program::clean("go");
        command.env("CGO_ENABLED", "0").env("GOFLAGS", "-trimpath");
        command.env("GOCACHE", suites::folder().join("go-cache"));
        command.args(["test", "-tags", "timetzdata", "-c", "-o"]);
        command.arg(folder.join("test")).arg(package);
        let log = suites::folder().join("go-build.log");
        program::run_logged(&mut command, "go test -c", &log, suites::FETCH_LIMIT)?;
    }
    // Texts that several packages read.
    suites::copy(&source.join("testdata"), to)
}

/// Copies what lies in a package, without the packages below it.
fn copy_files(from: &Path, to: &Path) -> Result<(), Error> {
    let entries = fs::read_dir(from).map_err(Error::file("read", from))?;
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_file() || entry.file_name() == "testdata" {
            suites::copy(&path, to)?;
        }
    }
    Ok(())
}
