//! What is in the root file system: our programs, busybox where there is one, the script, added files.

use crate::archive::{Archive, default_path};
use crate::compile::Userland;
use crate::error::Error;
use crate::{program, setup};
use qemu_tests::Spec;
use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

/// Folders that programs expect, also when they are empty.
const FOLDERS: [&str; 8] = [
    "/bin", "/data", "/dev", "/etc", "/probes", "/proc", "/root", "/tmp",
];

/// Writes the archive for one cluster to `path`.
pub(crate) fn write(userland: &Userland, spec: &Spec, path: &Path) -> Result<(), Error> {
    let mut archive = Archive::default();
    for folder in FOLDERS {
        archive.folder(folder)?;
    }
    archive.host_file("/init", &userland.program("init"))?;
    archive.host_file("/bin/sh", &userland.shell())?;
    archive.host_file("/bin/commands", &userland.program("commands"))?;
    for name in userland.names("commands")? {
        archive.link(&format!("/bin/{name}"), "commands")?;
    }
    archive.host_file("/bin/probes", &userland.program("probes"))?;
    for name in userland.names("probes")? {
        archive.link(&format!("/probes/{name}"), "../bin/probes")?;
    }
    if let Some(busybox) = setup::present_busybox() {
        archive.host_file("/bin/busybox", &busybox)?;
    }
    if let Some(script) = &spec.script {
        archive.file("/etc/script", 0o755, script.clone().into_bytes())?;
    }
    for add in &spec.adds {
        let guest = match &add.guest {
            Some(guest) => guest.clone(),
            None => default_path(&add.host)?,
        };
        archive.host_file(&guest, &add.host)?;
    }
    let file = File::create(path).map_err(Error::file("create", path))?;
    archive.write(BufWriter::with_capacity(1 << 20, file))
}

/// A real file of this machine with at least `bytes` bytes: the emulator, else something of the
/// toolchain. The smallest that serves.
pub(crate) fn large_file(bytes: u64) -> Option<std::path::PathBuf> {
    let mut candidates: Vec<_> = [setup::QEMU, "cargo", "rustc", "ld.lld", "gdb"]
        .iter()
        .filter_map(|name| program::find(name))
        .collect();
    candidates.extend(std::env::var_os("CARGO").map(Into::into));
    candidates.extend(std::env::current_exe());
    let mut sized: Vec<_> = candidates
        .into_iter()
        .filter_map(|path| Some((path.metadata().ok()?.len(), path.canonicalize().ok()?)))
        .filter(|(length, _)| *length >= bytes)
        .collect();
    sized.sort();
    sized.into_iter().next().map(|(_, path)| path)
}
