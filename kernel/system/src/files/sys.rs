//! The tree under /sys: processors, the memory node, the loopback and the devices of this machine.
//!
//! Law: it is made at boot and never changes, so that nobody may write to it. What is a number of this moment is a
//! file of /proc with another name. A device or an interface is a folder below `devices`, to which links lead from
//! `class` and `dev`, and which has links back: programs find what belongs to it by them.
//!
//! Not here: attributes that can be set, and events when a device comes or goes.

use super::inode::{Attributes, DEVICES, Directory, Inode, InodeRef, Node};
use super::mounts::{MS_NODEV, MS_NOEXEC, MS_NOSUID, MS_RELATIME, Shown};
use super::proc::{GlobalFile, ProcEntry, ProcNode};
use super::storage::FileData;
use super::tree::FileSystem;
use super::volume::{Tree, Volume};
use abi::Errno;
use abi::layout::{S_IFDIR, S_IFLNK, S_IFREG, Timespec};
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use core::ops::Range;
use core::sync::atomic::Ordering;
use spin::Mutex;

/// Folders that programs list and that have nothing in them.
const EMPTY: [&str; 14] = [
    "block",
    "bus/pci/devices",
    "bus/usb/devices",
    "class/block",
    "class/hwmon",
    "class/power_supply",
    "class/thermal",
    "dev/block",
    "firmware",
    "fs/cgroup",
    "kernel/mm/hugepages",
    "kernel/security",
    "module",
    "power",
];

/// What the loopback says of itself.
const LOOPBACK: [(&str, &str); 22] = [
    ("addr_assign_type", "0\n"),
    ("addr_len", "6\n"),
    ("address", "00:00:00:00:00:00\n"),
    ("broadcast", "00:00:00:00:00:00\n"),
    ("carrier", "1\n"),
    ("carrier_changes", "0\n"),
    ("carrier_down_count", "0\n"),
    ("carrier_up_count", "0\n"),
    ("dev_id", "0x0\n"),
    ("dev_port", "0\n"),
    ("dormant", "0\n"),
    ("flags", "0x9\n"),
    ("ifalias", ""),
    ("ifindex", "1\n"),
    ("iflink", "1\n"),
    ("link_mode", "0\n"),
    ("mtu", "65536\n"),
    ("netdev_group", "0\n"),
    ("operstate", "unknown\n"),
    ("tx_queue_len", "1000\n"),
    ("type", "772\n"),
    ("uevent", "INTERFACE=lo\nIFINDEX=1\n"),
];

/// What network cards count, and the loopback does not.
const COUNTED: [&str; 24] = [
    "collisions",
    "multicast",
    "rx_bytes",
    "rx_compressed",
    "rx_crc_errors",
    "rx_dropped",
    "rx_errors",
    "rx_fifo_errors",
    "rx_frame_errors",
    "rx_length_errors",
    "rx_missed_errors",
    "rx_nohandler",
    "rx_over_errors",
    "rx_packets",
    "tx_aborted_errors",
    "tx_bytes",
    "tx_carrier_errors",
    "tx_compressed",
    "tx_dropped",
    "tx_errors",
    "tx_fifo_errors",
    "tx_heartbeat_errors",
    "tx_packets",
    "tx_window_errors",
];

/// Puts names into the tree, with the folders they lie in.
struct Maker<'a> {
    root: &'a InodeRef,
    volume: &'a Arc<Volume>,
    time: Timespec,
}

impl Maker<'_> {
    /// The folder at a path, made where it is missing.
    fn folder(&self, path: &str) -> Result<InodeRef, Errno> {
        let mut at = self.root.clone();
        for name in path.split('/').filter(|name| !name.is_empty()) {
            let known = at.directory().and_then(|held| held.get(name.as_bytes()));
            at = match known {
                Some(known) => known,
                None => {
                    let node = Node::Directory(Mutex::new(Directory::new(Arc::downgrade(&at))));
                    let made = self.inode(node, S_IFDIR | 0o755)?;
                    at.change(|held| held.links += 1);
                    self.put(&at, name, made.clone())?;
                    made
                }
            };
        }
        Ok(at)
    }

    fn inode(&self, node: Node, mode: u32) -> Result<InodeRef, Errno> {
        self.volume.create(node, Attributes::new(mode, self.time))
    }

    fn put(&self, folder: &InodeRef, name: &str, inode: InodeRef) -> Result<(), Errno> {
        let mut held = folder.directory().ok_or(Errno::ENOTDIR)?;
        held.set(name.as_bytes(), inode);
        Ok(())
    }

    fn add(&self, path: &str, inode: InodeRef) -> Result<(), Errno> {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        self.put(&self.folder(folder)?, name, inode)
    }

    fn file(&self, path: &str, text: &str) -> Result<(), Errno> {
        // Kept as what the archive brings is: it takes no page of memory.
        let bytes: &'static [u8] = Box::leak(text.as_bytes().into());
        let node = Node::File(Mutex::new(FileData::new(bytes)));
        self.add(path, self.inode(node, S_IFREG | 0o444)?)
    }

    /// A link to another path of the tree.
    fn link(&self, path: &str, to: &str) -> Result<(), Errno> {
        let up = "../".repeat(path.matches('/').count());
        let text = format!("{up}{to}").into_bytes();
        self.add(path, self.inode(Node::Link(text), S_IFLNK | 0o777)?)
    }

    /// A folder of a device belongs to a class, and the other way round.
    fn of_class(&self, device: &str, class: &str) -> Result<(), Errno> {
        let name = device.rsplit('/').next().unwrap_or(device);
        self.link(&format!("{class}/{name}"), device)?;
        self.link(&format!("{device}/subsystem"), class)
    }

    fn processors(&self, count: usize) -> Result<(), Errno> {
        let all = match count {
            1 => String::from("0\n"),
            count => format!("0-{}\n", count - 1),
        };
        let cpus = "devices/system/cpu";
        for name in ["online", "possible", "present"] {
            self.file(&format!("{cpus}/{name}"), &all)?;
        }
        for name in ["offline", "isolated"] {
            self.file(&format!("{cpus}/{name}"), "\n")?;
        }
        self.file(&format!("{cpus}/kernel_max"), "255\n")?;
        let node = "devices/system/node/node0";
        for cpu in 0..count {
            let device = format!("{cpus}/cpu{cpu}");
            self.link(&format!("bus/cpu/devices/cpu{cpu}"), &device)?;
            self.link(&format!("{device}/subsystem"), "bus/cpu")?;
            self.link(&format!("{device}/node0"), node)?;
            self.link(&format!("{node}/cpu{cpu}"), &device)?;
            self.file(&format!("{device}/uevent"), "DRIVER=processor\n")?;
            // The first one cannot be switched off, and so has no switch.
            if cpu > 0 {
                self.file(&format!("{device}/online"), "1\n")?;
            }
            let place = format!("{device}/topology");
            self.file(&format!("{place}/core_id"), &format!("{cpu}\n"))?;
            for name in ["physical_package_id", "die_id", "cluster_id"] {
                self.file(&format!("{place}/{name}"), "0\n")?;
            }
            for name in ["core_cpus", "thread_siblings"] {
                self.file(&format!("{place}/{name}"), &mask_of(cpu..cpu + 1))?;
                self.file(&format!("{place}/{name}_list"), &format!("{cpu}\n"))?;
            }
            for name in ["package_cpus", "core_siblings", "die_cpus"] {
                self.file(&format!("{place}/{name}"), &mask_of(0..count))?;
                self.file(&format!("{place}/{name}_list"), &all)?;
            }
        }
        self.file(&format!("{node}/cpulist"), &all)?;
        self.file(&format!("{node}/cpumap"), &mask_of(0..count))
    }

    /// Memory is one node without huge pages.
    fn memory(&self) -> Result<(), Errno> {
        let nodes = "devices/system/node";
        for name in [
            "online",
            "possible",
            "has_cpu",
            "has_memory",
            "has_normal_memory",
        ] {
            self.file(&format!("{nodes}/{name}"), "0\n")?;
        }
        self.link("bus/node/devices/node0", "devices/system/node/node0")?;
        self.link("devices/system/node/node0/subsystem", "bus/node")?;
        self.file("devices/system/node/node0/distance", "10\n")?;
        let now = ProcNode::Entry(ProcEntry::Global(GlobalFile::NodeMeminfo));
        let now = Inode::proc(now, (0, 0), self.time);
        self.add("devices/system/node/node0/meminfo", now)?;
        let huge = "kernel/mm/transparent_hugepage";
        for (name, text) in [
            ("enabled", "always madvise [never]\n"),
            ("defrag", "always defer defer+madvise madvise [never]\n"),
            (
                "shmem_enabled",
                "always within_size advise [never] deny force\n",
            ),
            ("hpage_pmd_size", "2097152\n"),
            ("use_zero_page", "0\n"),
            ("khugepaged/defrag", "0\n"),
        ] {
            self.file(&format!("{huge}/{name}"), text)?;
        }
        Ok(())
    }

    fn loopback(&self) -> Result<(), Errno> {
        let device = "devices/virtual/net/lo";
        for (name, text) in LOOPBACK {
            self.file(&format!("{device}/{name}"), text)?;
        }
        for name in COUNTED {
            self.file(&format!("{device}/statistics/{name}"), "0\n")?;
        }
        for queue in ["rx-0", "tx-0"] {
            self.folder(&format!("{device}/queues/{queue}"))?;
        }
        self.of_class(device, "class/net")
    }

    fn devices(&self) -> Result<(), Errno> {
        for (name, _, major, minor, mode) in DEVICES {
            let class = if major == 1 { "mem" } else { "tty" };
            let device = format!("devices/virtual/{class}/{name}");
            self.file(&format!("{device}/dev"), &format!("{major}:{minor}\n"))?;
            let event =
                format!("MAJOR={major}\nMINOR={minor}\nDEVNAME={name}\nDEVMODE={mode:#05o}\n");
            self.file(&format!("{device}/uevent"), &event.replace("0o", "0"))?;
            self.link(&format!("dev/char/{major}:{minor}"), &device)?;
            self.of_class(&device, &format!("class/{class}"))?;
        }
        Ok(())
    }

    fn all(&self) -> Result<(), Errno> {
        self.processors(machine::cpu_count().max(1))?;
        self.memory()?;
        self.loopback()?;
        self.devices()?;
        let clocks = "devices/system/clocksource/clocksource0";
        self.file(&format!("{clocks}/current_clocksource"), "tsc\n")?;
        self.file(&format!("{clocks}/available_clocksource"), "tsc \n")?;
        self.file("kernel/cpu_byteorder", "little\n")?;
        self.file("kernel/uevent_seqnum", "0\n")?;
        EMPTY
            .iter()
            .try_for_each(|path| self.folder(path).map(|_| ()))
    }
}

impl FileSystem {
    /// The tree, with nothing in it.
    pub(super) fn new_sys(volume: &Arc<Volume>, boot: Timespec) -> Arc<Tree> {
        let volume = volume.another(u64::MAX, super::inode::MAX_INODES);
        let root = Inode::root(&volume, Attributes::new(S_IFDIR | 0o555, boot))
            .expect("an empty volume takes a root");
        Tree::new("sysfs", &root, Some(&volume))
    }

    /// Fills the tree, and mounts it. What memory does not suffice for is not there.
    pub(super) fn mount_sys(&self, on: InodeRef) {
        let Some(volume) = &self.sys.volume else {
            return;
        };
        let maker = Maker {
            root: &self.sys.root,
            volume,
            time: self.boot_time(),
        };
        if let Err(errno) = maker.all() {
            machine::log!("/sys is not whole: {}", errno.0);
        }
        self.sys.read_only.store(true, Ordering::Relaxed);
        let flags = MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RELATIME;
        self.mount_at_boot(on, Shown::whole(self.sys.clone(), b"sysfs", flags));
    }
}

/// A set of processors as files in /sys show it: words of 32 bits, the highest first.
fn mask_of(cpus: Range<usize>) -> String {
    let words = (0..cpus.end.div_ceil(32)).rev();
    let words = words.map(|word| {
        let bit = |at: &usize| cpus.contains(&(word * 32 + at));
        let bits = (0..32).filter(bit).fold(0_u32, |bits, at| bits | 1 << at);
        format!("{bits:08x}")
    });
    words.collect::<alloc::vec::Vec<_>>().join(",") + "\n"
}

#[cfg(test)]
mod tests {
    use super::mask_of;

    #[test]
    fn masks_have_words_of_32_processors() {
        assert_eq!(mask_of(0..2), "00000003\n");
        assert_eq!(mask_of(1..2), "00000002\n");
        assert_eq!(mask_of(0..33), "00000001,ffffffff\n");
        assert_eq!(mask_of(32..33), "00000001,00000000\n");
    }
}
