//! A Linux machine beside our nodes: Debian's kernel, and one program as all there is.
//!
//! Law: the same emulator with the same processor and memory as a node; the kernel is fetched as a package
//! and nothing of it is installed. Its protections against speculation are off, as ours has none.
//!
//! Format of the memory image: "newc" of Linux' `Documentation/driver-api/early-userspace/buffer-format.rst`.

use crate::error::Error;
use crate::places::RunDirectory;
use crate::{package, program, setup};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Debian's small kernel for virtual machines.
const PACKAGE: &str = "linux-image-cloud-amd64";
const LIMIT: Duration = Duration::from_secs(300);
const FOLDER: u32 = 0o040_755;
const FILE: u32 = 0o100_755;
const DEVICE: u32 = 0o020_600;

/// What Linux prints when `init` is its first process and `/bin/NAME`.
pub(crate) fn linux_with(
    init: &Path,
    name: &str,
    memory_mib: u32,
    run: &RunDirectory,
) -> Result<String, Error> {
    let kernel = kernel()?;
    let image = run.file("linux.cpio");
    let bytes = std::fs::read(init).map_err(Error::file("read", init))?;
    std::fs::write(&image, memory_image(&bytes, name)).map_err(Error::file("write", &image))?;
    let mut command = Command::new(setup::qemu()?);
    let memory = memory_mib.to_string();
    command.args([
        "-no-user-config",
        "-nodefaults",
        "-display",
        "none",
        "-no-reboot",
    ]);
    command.args([
        "-machine", "q35", "-accel", "tcg", "-cpu", "max", "-smp", "1", "-m", &memory,
    ]);
    command.args(["-serial", "stdio", "-kernel"]).arg(kernel);
    command.arg("-initrd").arg(&image);
    command.args(["-append", "console=ttyS0 quiet panic=-1 mitigations=off"]);
    let log = run.file("linux.log");
    program::run_logged(&mut command, "running Linux", &log, LIMIT)?;
    std::fs::read_to_string(&log).map_err(Error::file("read", &log))
}

/// The kernel in the package that the package of no version stands for.
fn kernel() -> Result<PathBuf, Error> {
    let name = package::stands_for(PACKAGE, "linux-image-")?;
    let folder = package::alone(&name)?.join("boot");
    let entries = std::fs::read_dir(&folder).map_err(Error::file("read", &folder))?;
    let mut paths = entries.flatten().map(|entry| entry.path());
    let found = paths.find(|path| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| name.starts_with("vmlinuz"))
    });
    found.ok_or_else(|| Error::Usage(format!("the package {name} holds no kernel")))
}

/// The file system that Linux begins with.
fn memory_image(program: &[u8], name: &str) -> Vec<u8> {
    let mut image = Vec::new();
    let entries: [(&str, u32, [u32; 2], &[u8]); 6] = [
        ("dev", FOLDER, [0; 2], &[]),
        ("dev/console", DEVICE, [5, 1], &[]),
        ("bin", FOLDER, [0; 2], &[]),
        (&format!("bin/{name}"), FILE, [0; 2], program),
        ("init", FILE, [0; 2], program),
        ("TRAILER!!!", 0, [0; 2], &[]),
    ];
    for (number, (path, mode, device, bytes)) in (1..).zip(entries) {
        let fields = [
            number,
            mode,
            0,
            0,
            1,
            0,
            bytes.len() as u32,
            0,
            0,
            device[0],
            device[1],
            path.len() as u32 + 1,
            0,
        ];
        image.extend(b"070701");
        for field in fields {
            image.extend(format!("{field:08x}").as_bytes());
        }
        image.extend(path.as_bytes());
        image.push(0);
        pad(&mut image);
        image.extend(bytes);
        pad(&mut image);
    }
    image
}

fn pad(image: &mut Vec<u8>) {
    image.resize(image.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_made_of_aligned_entries_and_ends() {
        let image = memory_image(b"abcde", "x");
        assert_eq!(image.len() % 4, 0);
        assert!(image.starts_with(b"070701"));
        let text = String::from_utf8_lossy(&image);
        assert_eq!(text.matches("070701").count(), 6);
        assert!(text.contains("TRAILER!!!"));
    }
}
