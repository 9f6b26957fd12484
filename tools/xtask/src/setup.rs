//! Finds what is needed on this machine and installs what is missing, where that is permitted.
//!
//! Law: nothing is asked for by hand. Installing happens as root on a Debian machine, with a line
//! that says so; elsewhere the exact command to type is the error message. What is there is used.

use crate::error::Error;
use crate::{places, program, say};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

/// The emulator.
pub(crate) const QEMU: &str = "qemu-system-x86_64";
/// Debian's statically linked busybox.
pub(crate) const BUSYBOX: &str = "/bin/busybox";
/// How long an installation may take.
const INSTALL_LIMIT: Duration = Duration::from_secs(900);

/// The emulator, installed when missing.
pub(crate) fn qemu() -> Result<PathBuf, Error> {
    if let Some(path) = program::find(QEMU) {
        return Ok(path);
    }
    install("QEMU", &["qemu-system-x86"])?;
    program::find(QEMU).ok_or_else(|| vanished(QEMU))
}

/// A busybox that needs no shared library, installed when missing.
pub(crate) fn busybox() -> Result<PathBuf, Error> {
    if let Some(path) = present_busybox() {
        return Ok(path);
    }
    install("busybox-static", &["busybox-static"])?;
    present_busybox().ok_or_else(|| vanished(BUSYBOX))
}

/// A static busybox when it is already there.
pub(crate) fn present_busybox() -> Option<PathBuf> {
    let bytes = std::fs::read(BUSYBOX).ok()?;
    is_static_elf(&bytes).then(|| BUSYBOX.into())
}

/// Installs Debian packages. `what` is named in messages.
pub(crate) fn install(what: &str, packages: &[&str]) -> Result<(), Error> {
    install_from(what, packages, Lists::AsTheyAre)
}

/// Whether the package lists of this machine are good enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lists {
    /// Any version of the packages serves.
    AsTheyAre,
    /// Old lists name versions that do not serve.
    Refreshed,
}

/// Installs Debian packages, or newer versions of them.
pub(crate) fn install_from(what: &str, packages: &[&str], lists: Lists) -> Result<(), Error> {
    let list = packages.join(" ");
    let sudo = format!("sudo apt-get install -y --no-install-recommends {list}");
    let missing = |why: &str| Error::Missing {
        what: what.to_owned(),
        why: why.to_owned(),
        command: sudo.clone(),
    };
    if program::find("apt-get").is_none() {
        return Err(missing(
            "this is not a Debian system; install the like of it",
        ));
    }
    if !rustix::process::geteuid().is_root() {
        return Err(missing("not root"));
    }
    say::step(format!("installing {what}: apt-get install {list}"));
    let folder = places::target();
    std::fs::create_dir_all(&folder).map_err(Error::file("create", &folder))?;
    let log = folder.join("setup.log");
    // The package lists of a new machine are empty or old.
    let words = ["install", "-y", "--no-install-recommends"];
    if lists == Lists::AsTheyAre && apt(&words, packages, &log).is_ok() {
        return Ok(());
    }
    say::step("refreshing the package lists: apt-get update");
    apt(&["update"], &[], &log)?;
    apt(&words, packages, &log)
}

fn apt(words: &[&str], packages: &[&str], log: &Path) -> Result<(), Error> {
    // Two at a time would find each other's locks, of which not all are waited for.
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock();
    let mut command = Command::new("apt-get");
    command
        .args(["-q", "-o", "DPkg::Lock::Timeout=120"])
        .args(words)
        .args(packages);
    command.env("DEBIAN_FRONTEND", "noninteractive");
    program::run_logged(
        &mut command,
        &format!("apt-get {}", words[0]),
        log,
        INSTALL_LIMIT,
    )
}

/// Brings the package lists of this machine up to date.
pub(crate) fn refresh_lists() -> Result<(), Error> {
    let folder = places::target();
    std::fs::create_dir_all(&folder).map_err(Error::file("create", &folder))?;
    say::step("refreshing the package lists: apt-get update");
    apt(&["update"], &[], &folder.join("setup.log"))
}

fn vanished(program: &str) -> Error {
    Error::Usage(format!(
        "{program} was installed and is still not to be found: look at PATH"
    ))
}

/// True for an x86-64 ELF file without an interpreter (PT_INTERP), that is a static one.
/// Layout: ELF-64 object file format, file header and program header.
pub(crate) fn is_static_elf(bytes: &[u8]) -> bool {
    const PT_INTERP: u32 = 3;
    if !is_elf(bytes) {
        return false;
    }
    let half = |at: usize| {
        bytes
            .get(at..at + 2)
            .map(|b| usize::from(u16::from_le_bytes([b[0], b[1]])))
    };
    let Some(start) = bytes
        .get(32..40)
        .and_then(|b| b.first_chunk())
        .map(|b| u64::from_le_bytes(*b))
    else {
        return false;
    };
    let (Some(size), Some(count)) = (half(54), half(56)) else {
        return false;
    };
    let Ok(start) = usize::try_from(start) else {
        return false;
    };
    (0..count).all(|n| {
        let at = start.saturating_add(n * size);
        let kind = bytes
            .get(at..at.saturating_add(4))
            .and_then(|b| b.first_chunk());
        kind.is_some_and(|kind| u32::from_le_bytes(*kind) != PT_INTERP)
    })
}

/// True for an x86-64 ELF file.
pub(crate) fn is_elf(bytes: &[u8]) -> bool {
    const EM_X86_64: [u8; 2] = [62, 0];
    bytes.starts_with(b"\x7fELF\x02\x01") && bytes.get(18..20) == Some(&EM_X86_64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An ELF header with one program header of `kind`.
    fn elf(kind: u8) -> Vec<u8> {
        let mut bytes = vec![0; 64 + 56];
        bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
        bytes[18] = 62;
        bytes[32] = 64; // e_phoff
        bytes[54] = 56; // e_phentsize
        bytes[56] = 1; // e_phnum
        bytes[64] = kind;
        bytes
    }

    #[test]
    fn an_interpreter_makes_a_file_dynamic() {
        assert!(is_static_elf(&elf(1)));
        assert!(!is_static_elf(&elf(3)));
        assert!(!is_static_elf(b"#!/bin/sh"));
    }

    #[test]
    fn cut_off_files_are_not_static() {
        let whole = elf(1);
        for length in 0..64 + 4 {
            assert!(!is_static_elf(&whole[..length]), "{length}");
        }
    }
}
