//! Linux machines beside our nodes: Debian's kernel, and what a bench needs around it.
//!
//! Law: the same emulator with the same processor, memory, card and switch as nodes; the kernel is fetched as a
//! package and nothing of it is installed. Its protections against speculation are off, as ours has none.

use crate::archive::Archive;
use crate::error::Error;
use crate::node::{Event, Node, NodeConfig};
use crate::places::RunDirectory;
use crate::{package, setup};
use qemu_tests::{MTU, Net};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};
use switch::Service;

/// Debian's small kernel for virtual machines.
const PACKAGE: &str = "linux-image-cloud-amd64";

/// Debian's kernel, unpacked.
pub(crate) struct Linux {
    kernel: PathBuf,
    modules: BTreeMap<String, PathBuf>,
}

impl Linux {
    /// The kernel in the package that the package of no version stands for.
    pub(crate) fn fetch() -> Result<Linux, Error> {
        let name = package::stands_for(PACKAGE, "linux-image-")?;
        let folder = package::alone(&name)?;
        let files = crate::root::files_below(&folder)?;
        let name_of = |path: &Path| path.file_name()?.to_str().map(str::to_owned);
        let kernel = files
            .iter()
            .find(|path| name_of(path).is_some_and(|name| name.starts_with("vmlinuz")));
        let kernel = kernel
            .cloned()
            .ok_or_else(|| Error::Usage(format!("the package {name} holds no kernel")))?;
        let modules = files
            .into_iter()
            .filter_map(|path| Some((module_name(name_of(&path)?.strip_suffix(".ko")?), path)));
        Ok(Linux {
            kernel,
            modules: modules.collect(),
        })
    }

    /// Puts modules and what they need into a folder of the archive, and beside them the file `order`: their names,
    /// one a line, each behind those that it needs.
    pub(crate) fn add_modules(
        &self,
        archive: &mut Archive,
        folder: &str,
        names: &[&str],
    ) -> Result<(), Error> {
        let mut order = Vec::new();
        for name in names {
            self.add_module(archive, folder, name, &mut order)?;
        }
        let lines = order.join("\n") + "\n";
        archive.file(&format!("{folder}/order"), 0o644, lines.into_bytes())
    }

    fn add_module(
        &self,
        archive: &mut Archive,
        folder: &str,
        name: &str,
        order: &mut Vec<String>,
    ) -> Result<(), Error> {
        if order.iter().any(|known| known == name) {
            return Ok(());
        }
        let missing = || Error::Usage(format!("Debian's kernel has no module {name}"));
        let path = self.modules.get(name).ok_or_else(missing)?;
        let bytes = std::fs::read(path).map_err(Error::file("read", path))?;
        for needed in needed(&bytes) {
            self.add_module(archive, folder, &needed, order)?;
        }
        order.push(name.to_owned());
        archive.file(&format!("{folder}/{name}.ko"), 0o644, bytes)
    }

    /// Runs so many machines on one switch until the first has ended: the lines that it has printed, each of which is
    /// told when it comes, too. Each machine is told its number by `dunlin.machine=N` on its command line.
    pub(crate) fn run(
        &self,
        archive: &Archive,
        machines: usize,
        memory_mib: u32,
        limit: Duration,
        run: &RunDirectory,
        mut tell: impl FnMut(&str),
    ) -> Result<Vec<String>, Error> {
        let image = run.file("linux.cpio");
        std::fs::write(&image, archive.newc()).map_err(Error::file("write", &image))?;
        let service = Service::start(machines, 1, None)?;
        let (sender, events) = channel();
        let mut nodes = Vec::new();
        for number in 1..=machines {
            let cable = switch::link_pair().map_err(|source| Error::System {
                what: "making a cable",
                source,
            })?;
            service.change(move |switch| switch.set_mtu(number - 1, MTU));
            service.attach(number - 1, cable.switch_end);
            let config = NodeConfig {
                qemu: setup::qemu()?,
                kernel: self.kernel.clone(),
                archive: image.clone(),
                memory_mib,
                smp: 1,
                net: Net::Virtio,
                mtu: MTU,
                disk: None,
                key: None,
                command_line: format!(
                    "console=ttyS0 quiet panic=-1 mitigations=off dunlin.machine={number}"
                ),
            };
            let sender = sender.clone();
            nodes.push(Node::start(
                number,
                1,
                &config,
                cable.node_end,
                run,
                sender,
            )?);
        }
        let (mut lines, deadline) = (Lines::default(), Instant::now() + limit);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let log = |node| crate::node::log_path(run, node).display().to_string();
            match events.recv_timeout(left) {
                Ok(Event::Output { node: 1, bytes }) => lines.add(&bytes, &mut tell),
                Ok(Event::Closed { node: 1, .. }) => return Ok(lines.complete),
                Ok(Event::Closed { node, .. }) => {
                    return Err(Error::Unmet(format!(
                        "Linux machine {node} has ended before the first; see {}",
                        log(node)
                    )));
                }
                Ok(_) => {}
                Err(_) => {
                    return Err(Error::Unmet(format!(
                        "Linux did not come to its end within {} s; see {}",
                        limit.as_secs(),
                        log(1)
                    )));
                }
            }
        }
    }
}

/// A console by its lines.
#[derive(Default)]
struct Lines {
    complete: Vec<String>,
    begun: Vec<u8>,
}

impl Lines {
    /// Takes what has come, and tells each line that it completes.
    fn add(&mut self, bytes: &[u8], mut tell: impl FnMut(&str)) {
        self.begun.extend(bytes);
        while let Some(end) = self.begun.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.begun.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            tell(&line);
            self.complete.push(line);
        }
    }
}

/// Modules are named with either stroke, whatever the name of the file has.
fn module_name(name: &str) -> String {
    name.replace('-', "_")
}

/// The modules that a module says it needs: the field `depends` of its section `.modinfo`.
fn needed(module: &[u8]) -> Vec<String> {
    const FIELD: &[u8] = b"\0depends=";
    let Some(at) = module.windows(FIELD.len()).position(|bytes| bytes == FIELD) else {
        return Vec::new();
    };
    let value = &module[at + FIELD.len()..];
    let value = value.split(|byte| *byte == 0).next().unwrap_or(&[]);
    let names = String::from_utf8_lossy(value);
    let names = names.split(',').filter(|name| !name.is_empty());
    names.map(module_name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_told_once_it_is_complete() {
        let (mut lines, mut told) = (Lines::default(), Vec::new());
        for part in ["boot\r", "\nlink\ta=1\nt", "cp\n", "half"] {
            lines.add(part.as_bytes(), |line| told.push(line.to_owned()));
        }
        assert_eq!(told, ["boot", "link\ta=1", "tcp"]);
        assert_eq!(lines.complete, told);
    }

    #[test]
    fn a_module_names_what_it_needs() {
        let module = b"\x7fELF..license=GPL\0depends=virtio_ring,net-failover\0name=x\0";
        assert_eq!(needed(module), ["virtio_ring", "net_failover"]);
        assert_eq!(needed(b"a\0depends=\0"), [""; 0]);
        assert_eq!(needed(b"depends=x"), [""; 0]);
    }
}
