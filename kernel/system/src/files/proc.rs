//! The tree under /proc: which names exist, their kinds and modes; contents come from [`ProcView`].
//!
//! Law: nothing is stored here. A node is computed from its name, and looked up again every time, so
//! a process that ends takes its directory with it.

use super::open::FileState;
use crate::wait::Stop;
use abi::Errno;
use abi::layout::{S_IFDIR, S_IFLNK, S_IFREG};
use alloc::format;
use alloc::vec::Vec;

/// A file of the system as a whole.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
#[expect(
    missing_docs,
    reason = "each variant is the file of that name in /proc"
)]
pub enum GlobalFile {
    Meminfo,
    Stat,
    Uptime,
    Loadavg,
    Mounts,
    Cpuinfo,
    Cmdline,
    Version,
}

/// A file of one process.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
#[expect(
    missing_docs,
    reason = "each variant is the file of that name in /proc/PID"
)]
pub enum ProcessFile {
    Home,
    Where,
    Goto,
    CantMove,
    Nmigs,
    Migstat,
    Stat,
    Statm,
    Status,
    Cmdline,
    Maps,
    Environ,
    Comm,
    Exe,
    Cwd,
    /// The link `fd/N`; asked for only when it belongs to another process than the caller.
    Fd(u32),
}

/// A file about the cluster.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
#[expect(
    missing_docs,
    reason = "each variant is the file of that name in /proc/cluster"
)]
pub enum ClusterFile {
    Nodes,
    SelfNode,
    Policy,
    Control,
    Ping,
    Observer,
    Events,
}

/// A file or link under /proc whose contents the rest of the system knows.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum ProcEntry {
    /// `/proc/NAME`.
    Global(GlobalFile),
    /// `/proc/PID/NAME`.
    Process(u32, ProcessFile),
    /// `/proc/cluster/NAME`.
    Cluster(ClusterFile),
}

/// The rest of the system as files see it.
pub trait ProcView: super::Peers {
    /// All processes of this node, in any order.
    fn pids(&self) -> Vec<u32>;
    /// Whether there is such a process.
    fn exists(&self, pid: u32) -> bool;
    /// The whole contents of a file, asked for whenever somebody reads at offset 0. `reader` is the
    /// calling process, and the waiter where another node has to be asked.
    ///
    /// # Errors
    /// `ESRCH` if the process is gone; whatever fits the file.
    fn read(&mut self, entry: ProcEntry, reader: u32) -> Result<Vec<u8>, Stop>;
    /// Writes to a file; `writer` is the calling process, and the waiter if this has to wait.
    ///
    /// # Errors
    /// Whatever fits the file; `Stop::Wait` without an effect.
    fn write(&mut self, entry: ProcEntry, writer: u32, bytes: &[u8]) -> Result<usize, Stop>;
    /// The text of a link: `exe`, `cwd`, or `fd/N` of another process.
    ///
    /// # Errors
    /// `ENOENT` if there is none.
    fn link(&self, entry: ProcEntry) -> Result<Vec<u8>, Errno>;
    /// User and group of a process.
    fn owner(&self, _pid: u32) -> (u32, u32) {
        (0, 0)
    }
    /// Whether somebody waits in a call of this number.
    fn is_in_call(&self, _waiter: u32, _number: u32) -> bool {
        false
    }
    /// The open descriptors of another process, ascending.
    fn descriptors(&self, _pid: u32) -> Vec<u32> {
        Vec::new()
    }
    /// The session that a process group is in; `None` if there is no such group.
    fn session_of_group(&self, _group: u32) -> Option<u32> {
        None
    }
    /// Whether nobody could continue a process group if it stopped.
    fn is_orphaned(&self, _group: u32) -> bool {
        false
    }
    /// The caller gives up the terminal that controls its session, for itself.
    fn leave_terminal(&mut self, _pid: u32) {}
    /// Fills `into` with random bytes.
    fn random(&mut self, into: &mut [u8]);
}

/// One node of the tree.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum ProcNode {
    Root,
    SelfLink,
    Process(u32),
    Descriptors(u32),
    Descriptor(u32, u32),
    Cluster,
    Entry(ProcEntry),
}

const GLOBAL: [(&str, GlobalFile); 8] = [
    ("meminfo", GlobalFile::Meminfo),
    ("stat", GlobalFile::Stat),
    ("uptime", GlobalFile::Uptime),
    ("loadavg", GlobalFile::Loadavg),
    ("mounts", GlobalFile::Mounts),
    ("cpuinfo", GlobalFile::Cpuinfo),
    ("cmdline", GlobalFile::Cmdline),
    ("version", GlobalFile::Version),
];

const PROCESS: [(&str, ProcessFile); 15] = [
    ("home", ProcessFile::Home),
    ("where", ProcessFile::Where),
    ("goto", ProcessFile::Goto),
    ("cantmove", ProcessFile::CantMove),
    ("nmigs", ProcessFile::Nmigs),
    ("migstat", ProcessFile::Migstat),
    ("stat", ProcessFile::Stat),
    ("statm", ProcessFile::Statm),
    ("status", ProcessFile::Status),
    ("cmdline", ProcessFile::Cmdline),
    ("maps", ProcessFile::Maps),
    ("environ", ProcessFile::Environ),
    ("comm", ProcessFile::Comm),
    ("exe", ProcessFile::Exe),
    ("cwd", ProcessFile::Cwd),
];

const CLUSTER: [(&str, ClusterFile); 7] = [
    ("nodes", ClusterFile::Nodes),
    ("self", ClusterFile::SelfNode),
    ("policy", ClusterFile::Policy),
    ("control", ClusterFile::Control),
    ("ping", ClusterFile::Ping),
    ("observer", ClusterFile::Observer),
    ("events", ClusterFile::Events),
];

/// Cookies of pids in a listing of the root start here, behind the fixed names.
const FIRST_PID_COOKIE: u64 = 0x1000;

/// Who looks at the tree.
pub(super) struct Viewer<'a> {
    pub(super) view: &'a dyn ProcView,
    pub(super) state: &'a FileState,
    pub(super) pid: u32,
}

impl Viewer<'_> {
    fn has_descriptor(&self, pid: u32, fd: u32) -> bool {
        if pid == self.pid {
            self.state.get(fd).is_ok()
        } else {
            self.view.descriptors(pid).contains(&fd)
        }
    }

    fn descriptors(&self, pid: u32) -> Vec<u32> {
        if pid == self.pid {
            self.state.open_descriptors()
        } else {
            self.view.descriptors(pid)
        }
    }

    /// The child `name` of `node`, if there is one.
    pub(super) fn child(&self, node: ProcNode, name: &[u8]) -> Option<ProcNode> {
        match node {
            ProcNode::Root => {
                if let Some(pid) = number(name) {
                    return self.view.exists(pid).then_some(ProcNode::Process(pid));
                }
                match name {
                    b"self" => Some(ProcNode::SelfLink),
                    b"cluster" => Some(ProcNode::Cluster),
                    _ => find(&GLOBAL, name).map(|file| ProcNode::Entry(ProcEntry::Global(file))),
                }
            }
            ProcNode::Process(pid) if self.view.exists(pid) => {
                if name == b"fd" {
                    return Some(ProcNode::Descriptors(pid));
                }
                find(&PROCESS, name).map(|file| ProcNode::Entry(ProcEntry::Process(pid, file)))
            }
            ProcNode::Descriptors(pid) => {
                let fd = number(name)?;
                self.has_descriptor(pid, fd)
                    .then_some(ProcNode::Descriptor(pid, fd))
            }
            ProcNode::Cluster => {
                find(&CLUSTER, name).map(|file| ProcNode::Entry(ProcEntry::Cluster(file)))
            }
            _ => None,
        }
    }

    /// The children of a directory behind `after`, with the cookie of each, ascending. The cookies
    /// 1 and 2 are left to `.` and `..`.
    pub(super) fn list(&self, node: ProcNode, after: u64) -> Vec<(u64, Vec<u8>, ProcNode)> {
        let mut all = Vec::new();
        let mut add = |cookie: u64, name: &[u8], child: ProcNode| {
            if cookie > after {
                all.push((cookie, name.to_vec(), child));
            }
        };
        match node {
            ProcNode::Root => {
                add(3, b"self", ProcNode::SelfLink);
                add(4, b"cluster", ProcNode::Cluster);
                for (cookie, (name, file)) in (5..).zip(GLOBAL) {
                    add(
                        cookie,
                        name.as_bytes(),
                        ProcNode::Entry(ProcEntry::Global(file)),
                    );
                }
                let mut pids = self.view.pids();
                pids.sort_unstable();
                for pid in pids {
                    let name = format!("{pid}");
                    add(
                        FIRST_PID_COOKIE + u64::from(pid),
                        name.as_bytes(),
                        ProcNode::Process(pid),
                    );
                }
            }
            ProcNode::Process(pid) if self.view.exists(pid) => {
                add(3, b"fd", ProcNode::Descriptors(pid));
                for (cookie, (name, file)) in (4..).zip(PROCESS) {
                    let child = ProcNode::Entry(ProcEntry::Process(pid, file));
                    add(cookie, name.as_bytes(), child);
                }
            }
            ProcNode::Descriptors(pid) => {
                for fd in self.descriptors(pid) {
                    let name = format!("{fd}");
                    add(
                        3 + u64::from(fd),
                        name.as_bytes(),
                        ProcNode::Descriptor(pid, fd),
                    );
                }
            }
            ProcNode::Cluster => {
                for (cookie, (name, file)) in (3..).zip(CLUSTER) {
                    add(
                        cookie,
                        name.as_bytes(),
                        ProcNode::Entry(ProcEntry::Cluster(file)),
                    );
                }
            }
            _ => {}
        }
        all
    }

    /// The text of a link.
    pub(super) fn link(&self, node: ProcNode) -> Result<Vec<u8>, Errno> {
        match node {
            ProcNode::SelfLink => Ok(format!("{}", self.pid).into_bytes()),
            ProcNode::Descriptor(pid, fd) if pid == self.pid => self.state.describe(fd),
            ProcNode::Descriptor(pid, fd) => {
                self.view.link(ProcEntry::Process(pid, ProcessFile::Fd(fd)))
            }
            ProcNode::Entry(entry) if node.is_link() => self.view.link(entry),
            _ => Err(Errno::EINVAL),
        }
    }
}

impl ProcNode {
    /// The process it tells of.
    pub(super) fn pid(self) -> Option<u32> {
        match self {
            ProcNode::Process(pid)
            | ProcNode::Descriptors(pid)
            | ProcNode::Descriptor(pid, _)
            | ProcNode::Entry(ProcEntry::Process(pid, _)) => Some(pid),
            _ => None,
        }
    }

    fn is_link(self) -> bool {
        use ProcessFile::{Cwd, Exe};
        matches!(
            self,
            ProcNode::SelfLink
                | ProcNode::Descriptor(..)
                | ProcNode::Entry(ProcEntry::Process(_, Exe | Cwd))
        )
    }

    /// Type and permission bits.
    pub(super) fn mode(self) -> u32 {
        use ClusterFile::{Control, Observer, Ping, Policy};
        use ProcessFile::{CantMove, Environ, Goto};
        match self {
            node if node.is_link() => S_IFLNK | 0o777,
            ProcNode::Entry(ProcEntry::Process(_, Goto | CantMove))
            | ProcNode::Entry(ProcEntry::Cluster(Policy | Control | Ping | Observer)) => {
                S_IFREG | 0o644
            }
            ProcNode::Entry(ProcEntry::Process(_, Environ)) => S_IFREG | 0o400,
            ProcNode::Entry(_) => S_IFREG | 0o444,
            ProcNode::Descriptors(_) => S_IFDIR | 0o500,
            _ => S_IFDIR | 0o555,
        }
    }

    /// A number that is unique among the nodes: the pid, and the place below its directory.
    pub(super) fn inode_number(self) -> u64 {
        let of = |pid: u32, below: u64| (u64::from(pid) + 1) << 16 | below;
        match self {
            ProcNode::Root => 1,
            ProcNode::SelfLink => 2,
            ProcNode::Cluster => 3,
            ProcNode::Entry(ProcEntry::Global(file)) => 16 + file as u64,
            ProcNode::Entry(ProcEntry::Cluster(file)) => 64 + file as u64,
            ProcNode::Process(pid) => of(pid, 1),
            ProcNode::Descriptors(pid) => of(pid, 2),
            ProcNode::Descriptor(pid, fd)
            | ProcNode::Entry(ProcEntry::Process(pid, ProcessFile::Fd(fd))) => {
                of(pid, 0x1000 + u64::from(fd))
            }
            ProcNode::Entry(ProcEntry::Process(pid, file)) => {
                let place = PROCESS.iter().position(|row| row.1 == file).unwrap_or(0);
                of(pid, 16 + place as u64)
            }
        }
    }

    /// The directory above; `None` for the root of the tree.
    pub(super) fn parent(self) -> Option<ProcNode> {
        match self {
            ProcNode::Root => None,
            ProcNode::SelfLink
            | ProcNode::Process(_)
            | ProcNode::Cluster
            | ProcNode::Entry(ProcEntry::Global(_)) => Some(ProcNode::Root),
            ProcNode::Descriptors(pid) | ProcNode::Entry(ProcEntry::Process(pid, _)) => {
                Some(ProcNode::Process(pid))
            }
            ProcNode::Descriptor(pid, _) => Some(ProcNode::Descriptors(pid)),
            ProcNode::Entry(ProcEntry::Cluster(_)) => Some(ProcNode::Cluster),
        }
    }

    /// The path of a directory below /proc, with a leading slash where it is not empty.
    pub(super) fn directory_path(self) -> Vec<u8> {
        match self {
            ProcNode::Process(pid) => format!("/{pid}").into_bytes(),
            ProcNode::Descriptors(pid) => format!("/{pid}/fd").into_bytes(),
            ProcNode::Cluster => b"/cluster".to_vec(),
            _ => Vec::new(),
        }
    }
}

fn find<T: Copy>(table: &[(&str, T)], name: &[u8]) -> Option<T> {
    let row = table.iter().find(|row| row.0.as_bytes() == name)?;
    Some(row.1)
}

/// A decimal number without sign or leading zeros.
fn number(name: &[u8]) -> Option<u32> {
    let plain = !name.is_empty() && name.iter().all(u8::is_ascii_digit);
    if !plain || (name.len() > 1 && name[0] == b'0') {
        return None;
    }
    core::str::from_utf8(name).ok()?.parse().ok()
}
