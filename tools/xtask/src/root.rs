//! What is in the root file system: the standard image, our programs, the script, added files.

use crate::archive::{Archive, default_path};
use crate::compile::Userland;
use crate::error::Error;
use crate::libraries::Finder;
use crate::{image, package, program, setup};
use qemu_tests::{Add, Spec};
use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};

/// The script that the user or a test wants run.
const SCRIPT: &str = "/etc/script.main";
/// How often the starter looks whether all nodes are there, every 50 ms.
const LOOKS: u32 = 400;

/// What init runs: waits until all nodes have found each other, then becomes the script.
/// `nodes` prints a header and one line for each node.
fn starter(spec: &Spec) -> String {
    // Those that are there from the start, and can be found.
    let others = |node: &usize| spec.later.contains(node) || spec.strangers.contains(node);
    let expected = (1..=spec.nodes).filter(|node| !others(node)).count();
    let wait = format!(
        "looks=0
until test $(nodes | wc -l) -gt {expected} || test $looks -ge {LOOKS}; do
    looks=$((looks + 1))
    sleep 0.05
done
if test $looks -ge {LOOKS}; then echo \"the script begins without all {expected} nodes\" >&2; fi
"
    );
    // Nodes that are cut off from the start are not waited for.
    let wait = if expected > 1 && spec.cuts.is_empty() {
        wait
    } else {
        String::new()
    };
    format!("{wait}. /etc/shrc\n. {SCRIPT}\n")
}

/// Writes the archive for one cluster to `path`.
pub(crate) fn write(userland: &Userland, spec: &Spec, path: &Path) -> Result<(), Error> {
    let mut archive = Archive::default();
    image::add(&mut archive)?;
    archive.host_file("/init", &userland.program("init"))?;
    archive.host_file("/bin/commands", &userland.program("commands"))?;
    for name in userland.names("commands")? {
        archive.link(&format!("/usr/local/bin/{name}"), "/bin/commands")?;
    }
    archive.host_file("/bin/probes", &userland.program("probes"))?;
    archive.host_file("/bin/trials", &userland.program("trials"))?;
    for name in userland.names("probes")? {
        archive.link(&format!("/probes/{name}"), "../bin/probes")?;
    }
    if let Some(script) = &spec.script {
        archive.file("/etc/script", 0o755, starter(spec).into_bytes())?;
        archive.file(SCRIPT, 0o755, script.clone().into_bytes())?;
    }
    for (path, text) in &spec.texts {
        archive.file(path, 0o755, text.clone().into_bytes())?;
    }
    let packages = package::unpacked(&spec.packages)?;
    // Before the packages: a file of one of them is more than a name that another one offers.
    for (path, target) in package::shared_names(&packages) {
        archive.link(&path, &target)?;
    }
    for (path, text) in package::stacks(&packages) {
        archive.file(&path, 0o644, text.into_bytes())?;
    }
    for folder in &packages {
        archive.host_tree("/", folder, &package::is_left_out)?;
    }
    let finder = Finder::new(&packages);
    for add in &spec.adds {
        put(&mut archive, add, spec.libraries.then_some(&finder))?;
    }
    let file = File::create(path).map_err(Error::file("create", path))?;
    archive.write(BufWriter::with_capacity(1 << 20, file))
}

/// Adds a file or folder, and with a finder what its programs link to.
fn put(archive: &mut Archive, add: &Add, finder: Option<&Finder>) -> Result<(), Error> {
    let guest = match &add.guest {
        Some(guest) => guest.clone(),
        None => default_path(&add.host)?,
    };
    let mut programs = vec![add.host.clone()];
    if add.host.is_dir() {
        archive.host_tree(&guest, &add.host, &|_| false)?;
        programs = files_below(&add.host)?;
    } else {
        archive.host_file(&guest, &add.host)?;
    }
    let Some(finder) = finder else { return Ok(()) };
    for program in programs {
        // What lies in an unpacked package is in the archive already.
        let closure = finder.closure(&program)?;
        for library in closure.iter().filter(|path| !package::holds(path)) {
            archive.host_path(library)?;
        }
    }
    Ok(())
}

/// All regular files below a folder.
pub(crate) fn files_below(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut files = Vec::new();
    let mut waiting = vec![folder.to_owned()];
    while let Some(folder) = waiting.pop() {
        for entry in fs::read_dir(&folder).map_err(Error::file("read", &folder))? {
            let entry = entry.map_err(Error::file("read", &folder))?;
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => waiting.push(entry.path()),
                Ok(kind) if kind.is_file() => files.push(entry.path()),
                _ => {}
            }
        }
    }
    Ok(files)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_on_several_nodes_waits_for_them() {
        let mut spec = Spec::new("x", 3).script("true");
        assert!(starter(&spec).starts_with("looks=0\nuntil test $(nodes | wc -l) -gt 3 "));
        spec.later = vec![3];
        assert!(starter(&spec).contains("-gt 2 "));
        spec.cuts = vec![(1, 2)];
        assert_eq!(starter(&spec), ". /etc/shrc\n. /etc/script.main\n");
    }
}
