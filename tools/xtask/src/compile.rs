//! Builds the kernel and the user programs, each with the compiler that can.
//!
//! Law: user programs and this tool build with the plain toolchain of `rust-toolchain.toml`. The
//! kernel builds with it too where its precompiled `core` for x86_64-unknown-none is there or may be
//! fetched, and else with the distribution's compiler, which builds `core` itself. Each has a target
//! directory of its own, so that no build throws away another's results.

use crate::error::Error;
use crate::{places, program, say, setup};
use clap::ValueEnum;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const KERNEL_TARGET: &str = "x86_64-unknown-none";
const USER_TARGET: &str = "x86_64-unknown-linux-gnu";
/// How long `rustup target add` may take before the distribution's compiler is taken instead.
const RUSTUP_LIMIT: Duration = Duration::from_secs(120);
const DISTRIBUTION_RUSTC: &str = "/usr/bin/rustc";
const DISTRIBUTION_CARGO: &str = "/usr/bin/cargo";
/// Oldest minor version of the distribution's compiler that serves.
const DISTRIBUTION_MINOR_MIN: u32 = 95;

/// Which compiler builds the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Compiler {
    /// rustup's when it has or can get the target, else the distribution's.
    Auto,
    /// The active rustup toolchain with the target x86_64-unknown-none.
    Rustup,
    /// The compiler of the distribution (Debian's rustc-web, cargo-web, rust-web-src).
    Distribution,
}

/// Where the kernel comes from.
#[derive(Debug, Clone)]
pub(crate) struct Kernel {
    /// Which compiler builds it.
    pub(crate) compiler: Compiler,
    /// An image that is there already.
    pub(crate) image: Option<PathBuf>,
}

/// The kernel image, built if anything in it has changed.
pub(crate) fn kernel(from: &Kernel) -> Result<PathBuf, Error> {
    if let Some(image) = &from.image {
        return Ok(image.clone());
    }
    let compiler = choose(from.compiler)?;
    say::step(format!(
        "kernel: building with the {} compiler",
        name(compiler)
    ));
    let linked = build_kernel(compiler)?;
    let image = linked.with_file_name("image.named");
    embed_names(&linked, &image)?;
    Ok(image)
}

/// Writes the names of functions into the image, for the backtraces of panics.
fn embed_names(linked: &Path, image: &Path) -> Result<(), Error> {
    let mut bytes = std::fs::read(linked).map_err(Error::file("read", linked))?;
    // An image without names boots too and prints addresses.
    if let Err(error) = machine::symbols::embed(&mut bytes) {
        say::warning(format!(
            "the kernel's backtraces will have no names: {error}"
        ));
    }
    std::fs::write(image, bytes).map_err(Error::file("write", image))
}

fn name(compiler: Compiler) -> &'static str {
    match compiler {
        Compiler::Distribution => "distribution's",
        Compiler::Auto | Compiler::Rustup => "rustup",
    }
}

/// Resolves `Auto` and makes sure that the compiler is there.
fn choose(choice: Compiler) -> Result<Compiler, Error> {
    match choice {
        Compiler::Rustup => ensure_rustup_target().map(|()| Compiler::Rustup),
        Compiler::Distribution => ensure_distribution().map(|()| Compiler::Distribution),
        Compiler::Auto if has_rustup_target() => Ok(Compiler::Rustup),
        // What has built the kernel here before serves again: no new attempt to fetch anything.
        Compiler::Auto if distribution_is_complete() => Ok(Compiler::Distribution),
        Compiler::Auto => match ensure_rustup_target() {
            Ok(()) => Ok(Compiler::Rustup),
            Err(reason) => {
                say::step(format!("rustup cannot build the kernel here: {reason}"));
                ensure_distribution().map(|()| Compiler::Distribution)
            }
        },
    }
}

/// The directory of the active toolchain.
fn sysroot() -> Option<PathBuf> {
    let mut command = program::clean("rustc");
    command
        .args(["--print", "sysroot"])
        .current_dir(places::root());
    let path = program::output(&mut command, "asking rustc for its sysroot").ok()?;
    Some(PathBuf::from(path.trim()))
}

fn has_rustup_target() -> bool {
    let libraries = sysroot().map(|root| root.join("lib/rustlib").join(KERNEL_TARGET).join("lib"));
    let entries = libraries.and_then(|path| std::fs::read_dir(path).ok());
    entries.into_iter().flatten().flatten().any(|entry| {
        let name = entry.file_name();
        name.to_str()
            .is_some_and(|name| name.starts_with("libcore-") && name.ends_with(".rlib"))
    })
}

fn ensure_rustup_target() -> Result<(), Error> {
    if has_rustup_target() {
        return Ok(());
    }
    let missing = |why: &str| Error::Missing {
        what: format!("the target {KERNEL_TARGET} of the active toolchain"),
        why: why.to_owned(),
        command: format!("rustup target add {KERNEL_TARGET}"),
    };
    if program::find("rustup").is_none() {
        return Err(missing("there is no rustup"));
    }
    if std::env::var_os("RUSTUP_AUTO_INSTALL").is_some_and(|value| value == "0") {
        return Err(missing("RUSTUP_AUTO_INSTALL=0 forbids it"));
    }
    say::step(format!(
        "installing the target: rustup target add {KERNEL_TARGET}"
    ));
    let mut command = program::clean("rustup");
    command
        .args(["target", "add", KERNEL_TARGET])
        .current_dir(places::root());
    let folder = places::target();
    std::fs::create_dir_all(&folder).map_err(Error::file("create", &folder))?;
    let log = folder.join("rustup.log");
    program::run_logged(&mut command, "rustup target add", &log, RUSTUP_LIMIT)?;
    if has_rustup_target() {
        Ok(())
    } else {
        Err(missing("rustup added it to another toolchain"))
    }
}

fn distribution_is_complete() -> bool {
    let sources = Path::new("/usr/lib/rustlib/src/rust/library/core/src/lib.rs").exists()
        || distribution_sources().is_some();
    sources
        && Path::new(DISTRIBUTION_CARGO).exists()
        && distribution_minor().is_some_and(|minor| minor >= DISTRIBUTION_MINOR_MIN)
        && linker_folder().is_some()
}

/// `core`'s source below the distribution compiler's own sysroot.
fn distribution_sources() -> Option<PathBuf> {
    let mut command = program::clean(DISTRIBUTION_RUSTC);
    command.args(["--print", "sysroot"]);
    let root = program::output(&mut command, "asking the distribution's rustc").ok()?;
    let path = Path::new(root.trim()).join("lib/rustlib/src/rust/library/core/src/lib.rs");
    path.exists().then_some(path)
}

/// 96 for rustc 1.96.
fn distribution_minor() -> Option<u32> {
    let mut command = program::clean(DISTRIBUTION_RUSTC);
    let text = program::output(command.arg("--version"), "asking the distribution's rustc").ok()?;
    minor(&text)
}

fn minor(version: &str) -> Option<u32> {
    version
        .strip_prefix("rustc 1.")?
        .split('.')
        .next()?
        .parse()
        .ok()
}

fn ensure_distribution() -> Result<(), Error> {
    if distribution_is_complete() {
        return Ok(());
    }
    let mut packages = vec!["rustc-web", "cargo-web", "rust-web-src"];
    if linker_folder().is_none() {
        packages.push("lld");
    }
    // Debian renews this compiler within a release: lists from the time of the machine's image name
    // one that is too old.
    let what = "the distribution's Rust compiler";
    setup::install_from(what, &packages, setup::Lists::Refreshed)?;
    if distribution_is_complete() {
        return Ok(());
    }
    Err(Error::Usage(format!(
        "{DISTRIBUTION_RUSTC} is older than 1.{DISTRIBUTION_MINOR_MIN} or lacks the library \
         sources or a linker, also after {} were installed",
        packages.join(", ")
    )))
}

/// A folder with `rust-lld`: PATH's, or the rustup toolchain's own. An empty path when Debian's
/// `lld`, known as `ld.lld`, is on PATH and must be named instead.
fn linker_folder() -> Option<PathBuf> {
    if let Some(path) = program::find("rust-lld") {
        return path.parent().map(Path::to_owned);
    }
    let own = sysroot().map(|root| root.join("lib/rustlib").join(USER_TARGET).join("bin"));
    if let Some(own) = own.filter(|folder| folder.join("rust-lld").is_file()) {
        return Some(own);
    }
    program::find("ld.lld").map(|_| PathBuf::new())
}

/// Builds the kernel; its flags are in `.cargo/config.toml`.
fn build_kernel(compiler: Compiler) -> Result<PathBuf, Error> {
    let folder = places::target().join("kernel").join(match compiler {
        Compiler::Distribution => "distribution",
        Compiler::Auto | Compiler::Rustup => "rustup",
    });
    let mut command = match compiler {
        Compiler::Distribution => distribution_cargo()?,
        Compiler::Auto | Compiler::Rustup => program::clean("cargo"),
    };
    command.args([
        "build",
        "--profile",
        "kernel",
        "--package",
        "image",
        "--target",
        KERNEL_TARGET,
    ]);
    command
        .arg("--target-dir")
        .arg(&folder)
        .current_dir(places::root());
    if compiler == Compiler::Distribution {
        command.args([
            "-Zbuild-std=core,alloc,compiler_builtins",
            "-Zbuild-std-features=compiler-builtins-mem",
        ]);
        // Assertions and overflow checks stay; what goes are the checks inside of the library's own
        // unsafe functions, which a library that comes built does not have either.
        command.args([
            "--config",
            "target.x86_64-unknown-none.rustflags=['-Zub-checks=no']",
        ]);
    }
    program::run(&mut command, "building the kernel")?;
    Ok(folder.join(KERNEL_TARGET).join("kernel/image"))
}

/// The distribution's cargo with its own compiler and a linker on PATH.
fn distribution_cargo() -> Result<Command, Error> {
    let mut command = program::clean(DISTRIBUTION_CARGO);
    command
        .env("RUSTC", DISTRIBUTION_RUSTC)
        .env("RUSTC_BOOTSTRAP", "1");
    command.env_remove("RUSTUP_TOOLCHAIN").env_remove("RUSTDOC");
    let folder = linker_folder().ok_or_else(|| Error::Usage("no linker: install lld".into()))?;
    let mut path = OsString::from("/usr/bin");
    if folder.as_os_str().is_empty() {
        command.env("CARGO_TARGET_X86_64_UNKNOWN_NONE_LINKER", "ld.lld");
    } else {
        path.push(":");
        path.push(&folder);
    }
    if let Some(old) = std::env::var_os("PATH") {
        path.push(":");
        path.push(old);
    }
    command.env("PATH", path);
    Ok(command)
}

/// The user programs of this workspace.
#[derive(Debug)]
pub(crate) struct Userland {
    folder: PathBuf,
}

impl Userland {
    /// Builds what has changed: static programs, without debug information.
    pub(crate) fn build() -> Result<Userland, Error> {
        say::step("userland: building");
        let target = places::target().join("userland");
        let mut command = program::clean("cargo");
        command.args(["build", "--release", "--target", USER_TARGET]);
        for package in ["init", "commands", "probes", "trials"] {
            command.args(["--package", package]);
        }
        command
            .arg("--target-dir")
            .arg(&target)
            .current_dir(places::root());
        command.env(
            "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS",
            "-C target-feature=+crt-static",
        );
        command.env("CARGO_PROFILE_RELEASE_STRIP", "symbols");
        command.env("CARGO_PROFILE_RELEASE_DEBUG", "0");
        program::run(&mut command, "building the user programs")?;
        Ok(Userland {
            folder: target.join(USER_TARGET).join("release"),
        })
    }

    /// The program `name`.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The names a program with many names answers to: its `--list`, one a line.
    pub(crate) fn names(&self, name: &str) -> Result<Vec<String>, Error> {
        let mut command = program::clean(self.program(name));
        let what = format!("asking `{name}` for its names");
        let text = program::output(command.arg("--list"), &what)?;
        Ok(text.split_whitespace().map(str::to_owned).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        assert_eq!(
            minor("rustc 1.96.0 (abc 2026-05-01) (built from a source tarball)"),
            Some(96)
        );
        assert_eq!(minor("rustc 1.63.0"), Some(63));
        assert_eq!(minor("gcc 12"), None);
    }
}
