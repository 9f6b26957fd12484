//! The tree under /proc: which names exist, their kinds and modes; contents come from [`ProcView`].
//!
//! Law: nothing is stored here. A node is computed from its name, and looked up again every time, so
//! a process that ends takes its directory with it.

mod entries;
mod names;

use super::objects::queue;
use super::open::FileState;
use super::socket::NET_FILES;
use abi::Errno;
use abi::layout::{S_IFDIR, S_IFLNK, S_IFREG};
use alloc::format;
use alloc::vec::Vec;
pub use entries::{
    ClusterFile, GlobalFile, MemoryPart, ProcEntry, ProcView, ProcessFile, ThreadFile,
};
use names::{
    CLUSTER, FOLDERS, GLOBAL, NAMESPACES, PROCESS, SYSVIPC, TERMINALS, THREAD, paths, settings,
};

/// One node of the tree.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum ProcNode {
    Root,
    SelfLink,
    Process(u32),
    Descriptors(u32),
    Descriptor(u32, u32),
    Infos(u32),
    /// `ns`.
    Namespaces(u32),
    /// `ns/NAME`: process, and which of [`NAMESPACES`].
    Namespace(u32, usize),
    /// What such a link leads to.
    NamespaceFile(usize),
    Tasks(u32),
    /// A thread: process and thread. What the process shows, without its threads.
    Task(u32, u32),
    Cluster,
    /// `cluster/trace`.
    Traces,
    /// A directory below the root, by its path.
    Folder(&'static str),
    /// `sysvipc`.
    Sysvipc,
    /// `tty`.
    Terminals,
    /// `thread-self`.
    ThreadSelf,
    /// `net`, a link to the directory of the caller.
    NetLink,
    /// `PID/net`.
    Network(u32),
    Entry(ProcEntry),
}

impl ProcNode {
    /// Whether it is a file of the system and no setting (`proc_reg_file_ops` of Linux).
    pub(super) fn is_of_the_system(self) -> bool {
        match self {
            ProcNode::Entry(ProcEntry::Global(GlobalFile::Sys(_))) => false,
            ProcNode::Entry(ProcEntry::Process(_, ProcessFile::Net(_))) => true,
            ProcNode::Entry(ProcEntry::Global(_) | ProcEntry::Cluster(_) | ProcEntry::Trace(_)) => {
                true
            }
            _ => false,
        }
    }

    /// Whether sendfile(2) can take bytes of it: of a process only what is of more than it.
    pub(super) fn can_be_sent(self) -> bool {
        match self {
            ProcNode::Entry(ProcEntry::Process(_, file)) => matches!(
                file,
                ProcessFile::Net(_) | ProcessFile::Mounts | ProcessFile::Mountinfo
            ),
            ProcNode::Entry(ProcEntry::Thread(..)) => false,
            ProcNode::Entry(_) => true,
            _ => false,
        }
    }
}

/// Cookies of pids in a listing of the root start here, behind the fixed names.
const FIRST_PID_COOKIE: u64 = 0x1000;

/// Who looks at the tree.
pub(super) struct Viewer<'a> {
    pub(super) view: &'a dyn ProcView,
    pub(super) state: &'a FileState,
    pub(super) pid: u32,
    pub(super) tid: u32,
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
                    // A thread is found by its number, though it is not listed.
                    let thread = |pid| self.view.process_of(pid).map(|of| ProcNode::Task(of, pid));
                    return match self.view.exists(pid) {
                        true => Some(ProcNode::Process(pid)),
                        false => thread(pid),
                    };
                }
                match name {
                    b"self" => Some(ProcNode::SelfLink),
                    b"thread-self" => Some(ProcNode::ThreadSelf),
                    b"cluster" => Some(ProcNode::Cluster),
                    b"net" => Some(ProcNode::NetLink),
                    b"sys" => Some(ProcNode::Folder("")),
                    b"sysvipc" => Some(ProcNode::Sysvipc),
                    b"tty" => Some(ProcNode::Terminals),
                    _ => find(&GLOBAL, name).map(|file| ProcNode::Entry(ProcEntry::Global(file))),
                }
            }
            ProcNode::Process(pid) if self.view.exists(pid) => {
                match name {
                    b"fd" => return Some(ProcNode::Descriptors(pid)),
                    b"fdinfo" => return Some(ProcNode::Infos(pid)),
                    b"net" => return Some(ProcNode::Network(pid)),
                    b"ns" => return Some(ProcNode::Namespaces(pid)),
                    b"task" => return Some(ProcNode::Tasks(pid)),
                    _ => {}
                }
                find(&PROCESS, name).map(|file| ProcNode::Entry(ProcEntry::Process(pid, file)))
            }
            ProcNode::Descriptors(pid) => {
                let fd = number(name)?;
                self.has_descriptor(pid, fd)
                    .then_some(ProcNode::Descriptor(pid, fd))
            }
            ProcNode::Infos(pid) => {
                let fd = number(name)?;
                let file = ProcEntry::Process(pid, ProcessFile::Fdinfo(fd));
                self.has_descriptor(pid, fd)
                    .then_some(ProcNode::Entry(file))
            }
            ProcNode::Namespaces(pid) => {
                let at = NAMESPACES.iter().position(|row| row.0.as_bytes() == name)?;
                Some(ProcNode::Namespace(pid, at))
            }
            ProcNode::Network(pid) => {
                let file = ProcessFile::Net(find(&NET_FILES, name)?);
                Some(ProcNode::Entry(ProcEntry::Process(pid, file)))
            }
            ProcNode::Tasks(pid) => {
                let tid = number(name)?;
                let known = tid == pid || self.view.threads(pid).contains(&tid);
                known.then_some(ProcNode::Task(pid, tid))
            }
            ProcNode::Task(pid, tid) if self.view.exists(pid) => {
                match (name, find(&THREAD, name)) {
                    // Threads are not in the directories of threads.
                    (b"task", _) => None,
                    (_, Some(file)) => Some(ProcNode::Entry(ProcEntry::Thread(pid, tid, file))),
                    _ => self.child(ProcNode::Process(pid), name),
                }
            }
            ProcNode::Folder(folder) => {
                let mut all = settings(folder);
                let found = all.find(|(known, _)| known.as_bytes() == name)?;
                Some(found.1)
            }
            ProcNode::Sysvipc => {
                find(&SYSVIPC, name).map(|file| ProcNode::Entry(ProcEntry::Global(file)))
            }
            ProcNode::Terminals => {
                find(&TERMINALS, name).map(|file| ProcNode::Entry(ProcEntry::Global(file)))
            }
            ProcNode::Cluster if name == b"trace" => Some(ProcNode::Traces),
            ProcNode::Traces => {
                let node = u16::try_from(number(name)?).ok()?;
                let known = self.view.traced().contains(&node);
                known.then_some(ProcNode::Entry(ProcEntry::Trace(node)))
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
                add(5, b"thread-self", ProcNode::ThreadSelf);
                add(6, b"sys", ProcNode::Folder(""));
                add(7, b"sysvipc", ProcNode::Sysvipc);
                add(8, b"net", ProcNode::NetLink);
                add(9, b"tty", ProcNode::Terminals);
                for (cookie, (name, file)) in (10..).zip(GLOBAL) {
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
                add(4, b"fdinfo", ProcNode::Infos(pid));
                // Or a walk through the tree would never end.
                if node == ProcNode::Process(pid) {
                    add(5, b"task", ProcNode::Tasks(pid));
                }
                add(6, b"ns", ProcNode::Namespaces(pid));
                add(7, b"net", ProcNode::Network(pid));
                for (cookie, (name, file)) in (8..).zip(PROCESS) {
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
            ProcNode::Network(pid) => {
                for (cookie, (name, file)) in (3..).zip(NET_FILES) {
                    let file = ProcEntry::Process(pid, ProcessFile::Net(file));
                    add(cookie, name.as_bytes(), ProcNode::Entry(file));
                }
            }
            ProcNode::Namespaces(pid) => {
                for (at, (name, ..)) in NAMESPACES.iter().enumerate() {
                    add(3 + at as u64, name.as_bytes(), ProcNode::Namespace(pid, at));
                }
            }
            ProcNode::Infos(pid) => {
                for fd in self.descriptors(pid) {
                    let file = ProcEntry::Process(pid, ProcessFile::Fdinfo(fd));
                    let name = format!("{fd}");
                    add(3 + u64::from(fd), name.as_bytes(), ProcNode::Entry(file));
                }
            }
            ProcNode::Tasks(pid) => {
                let mut tids = self.view.threads(pid);
                tids.push(pid);
                tids.sort_unstable();
                tids.dedup();
                for tid in tids {
                    let name = format!("{tid}");
                    add(
                        FIRST_PID_COOKIE + u64::from(tid),
                        name.as_bytes(),
                        ProcNode::Task(pid, tid),
                    );
                }
            }
            ProcNode::Task(pid, tid) if self.view.exists(pid) => {
                add(3, b"fd", ProcNode::Descriptors(pid));
                add(4, b"fdinfo", ProcNode::Infos(pid));
                let children = ProcEntry::Thread(pid, tid, ThreadFile::Children);
                add(5, b"children", ProcNode::Entry(children));
                for (cookie, (name, file)) in (6..).zip(PROCESS) {
                    let own = find(&THREAD, name.as_bytes());
                    let entry = match own {
                        Some(own) => ProcEntry::Thread(pid, tid, own),
                        None => ProcEntry::Process(pid, file),
                    };
                    add(cookie, name.as_bytes(), ProcNode::Entry(entry));
                }
            }
            ProcNode::Folder(folder) => {
                for (cookie, (name, node)) in (3..).zip(settings(folder)) {
                    add(cookie, name.as_bytes(), node);
                }
            }
            ProcNode::Sysvipc | ProcNode::Terminals => {
                let files: &[_] = match node {
                    ProcNode::Sysvipc => &SYSVIPC,
                    _ => &TERMINALS,
                };
                for (cookie, &(name, file)) in (3..).zip(files) {
                    let child = ProcNode::Entry(ProcEntry::Global(file));
                    add(cookie, name.as_bytes(), child);
                }
            }
            ProcNode::Cluster => {
                add(3, b"trace", ProcNode::Traces);
                for (cookie, (name, file)) in (4..).zip(CLUSTER) {
                    add(
                        cookie,
                        name.as_bytes(),
                        ProcNode::Entry(ProcEntry::Cluster(file)),
                    );
                }
            }
            ProcNode::Traces => {
                for node in self.view.traced() {
                    let file = ProcEntry::Trace(node);
                    let name = format!("{node}");
                    add(2 + u64::from(node), name.as_bytes(), ProcNode::Entry(file));
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
            ProcNode::NetLink => Ok(b"self/net".to_vec()),
            ProcNode::ThreadSelf => Ok(format!("{}/task/{}", self.pid, self.tid).into_bytes()),
            // The caller's own table is with the call.
            ProcNode::Entry(ProcEntry::Process(pid, ProcessFile::Cwd)) if pid == self.pid => {
                self.state.directory()
            }
            ProcNode::Entry(ProcEntry::Process(pid, ProcessFile::Root)) if pid == self.pid => {
                self.state.root().path()
            }
            ProcNode::Namespace(..) => Ok(node.title().unwrap_or_default()),
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
    /// The kind of a namespace, as `CLONE_NEW*`.
    pub(super) fn kind_of_namespace(at: usize) -> u64 {
        NAMESPACES[at].3
    }

    /// The process it tells of.
    pub(super) fn pid(self) -> Option<u32> {
        match self {
            ProcNode::Process(pid)
            | ProcNode::Descriptors(pid)
            | ProcNode::Infos(pid)
            | ProcNode::Namespaces(pid)
            | ProcNode::Namespace(pid, _)
            | ProcNode::Network(pid)
            | ProcNode::Tasks(pid)
            | ProcNode::Task(pid, _)
            | ProcNode::Descriptor(pid, _)
            | ProcNode::Entry(ProcEntry::Process(pid, _) | ProcEntry::Thread(pid, ..)) => Some(pid),
            _ => None,
        }
    }

    /// Whether it is a file below /proc/sys.
    pub(super) fn is_setting(self) -> bool {
        matches!(self, ProcNode::Entry(ProcEntry::Global(GlobalFile::Sys(_))))
    }

    /// Which of [`NAMESPACES`] it leads to or is.
    pub(super) fn namespace(self) -> Option<usize> {
        match self {
            ProcNode::Namespace(_, at) | ProcNode::NamespaceFile(at) => Some(at),
            _ => None,
        }
    }

    /// The name of a namespace, which is shown in the place of a path.
    pub(super) fn title(self) -> Option<Vec<u8>> {
        let (_, kind, number, _) = NAMESPACES.get(self.namespace()?)?;
        Some(format!("{kind}:[{number}]").into_bytes())
    }

    fn is_link(self) -> bool {
        use ProcessFile::{Cwd, Exe, Root};
        matches!(
            self,
            ProcNode::SelfLink
                | ProcNode::ThreadSelf
                | ProcNode::NetLink
                | ProcNode::Descriptor(..)
                | ProcNode::Namespace(..)
                | ProcNode::Entry(ProcEntry::Process(_, Exe | Cwd | Root))
        )
    }

    /// Type and permission bits.
    pub(super) fn mode(self) -> u32 {
        use ClusterFile::{Control, Observer, Ping, Policy};
        use ProcessFile::{
            Auxv, CantMove, Checkpoint, ClearRefs, Comm, CoredumpFilter, Environ, Goto, Loginuid,
            Mem, OomAdj, OomScoreAdj, Pagemap, TimerslackNs,
        };
        match self {
            node if node.is_link() => S_IFLNK | 0o777,
            ProcNode::Entry(ProcEntry::Process(_, file)) => {
                S_IFREG
                    | match file {
                        Goto
                        | CantMove
                        | OomScoreAdj
                        | OomAdj
                        | Loginuid
                        | Comm
                        | CoredumpFilter
                        | ProcessFile::Policy
                        | ProcessFile::Setgroups => 0o644,
                        TimerslackNs => 0o666,
                        Environ | Auxv | Pagemap | Checkpoint | ProcessFile::Syscall => 0o400,
                        Mem => 0o600,
                        ClearRefs => 0o200,
                        _ => 0o444,
                    }
            }
            ProcNode::Entry(ProcEntry::Thread(_, _, ThreadFile::Comm))
            | ProcNode::Entry(ProcEntry::Cluster(Policy | Control | Ping | Observer))
            | ProcNode::Entry(ProcEntry::Global(GlobalFile::Sys(
                "kernel/hostname" | "kernel/domainname" | "net/ipv4/ping_group_range",
            ))) => S_IFREG | 0o644,
            ProcNode::Entry(ProcEntry::Global(GlobalFile::Sys(path)))
                if crate::sysv::SETTINGS.contains(&path)
                    || super::settings::is_free(path)
                    || queue::SETTINGS.iter().any(|row| row.0 == path) =>
            {
                S_IFREG | 0o644
            }
            ProcNode::Entry(ProcEntry::Global(GlobalFile::Slabinfo)) => S_IFREG | 0o400,
            ProcNode::Entry(
                ProcEntry::Global(GlobalFile::Sys("vm/drop_caches"))
                | ProcEntry::Cluster(ClusterFile::Restart),
            ) => S_IFREG | 0o200,
            ProcNode::Entry(_) | ProcNode::NamespaceFile(_) => S_IFREG | 0o444,
            ProcNode::Descriptors(_) | ProcNode::Infos(_) => S_IFDIR | 0o500,
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
            ProcNode::ThreadSelf => 4,
            ProcNode::Sysvipc => 5,
            ProcNode::Traces => 6,
            ProcNode::NetLink => 7,
            ProcNode::Terminals => 8,
            ProcNode::Entry(ProcEntry::Trace(node)) => 0x8000 + u64::from(node),
            ProcNode::Entry(ProcEntry::Cluster(file)) => 64 + file as u64,
            ProcNode::Folder(path) => {
                let place = FOLDERS.iter().position(|folder| *folder == path);
                128 + place.unwrap_or(0) as u64
            }
            ProcNode::Entry(ProcEntry::Global(GlobalFile::Sys(path))) => {
                let place = paths().position(|setting| setting == path);
                256 + place.unwrap_or(0) as u64
            }
            ProcNode::Entry(ProcEntry::Global(file)) => {
                let mut all = GLOBAL.iter().chain(&SYSVIPC).chain(&TERMINALS);
                let place = all.position(|row| row.1 == file);
                16 + place.unwrap_or(0) as u64
            }
            ProcNode::Process(pid) => of(pid, 1),
            ProcNode::Descriptors(pid) => of(pid, 2),
            ProcNode::Infos(pid) => of(pid, 3),
            ProcNode::Tasks(pid) => of(pid, 4),
            ProcNode::Namespaces(pid) => of(pid, 6),
            ProcNode::Network(pid) => of(pid, 7),
            ProcNode::Entry(ProcEntry::Process(pid, ProcessFile::Net(file))) => {
                of(pid, 0x900 + file as u64)
            }
            ProcNode::Namespace(pid, at) => of(pid, 0x800 + at as u64),
            ProcNode::NamespaceFile(at) => NAMESPACES[at].2,
            // Threads have their numbers from where processes have theirs.
            ProcNode::Task(_, tid) => of(tid, 5),
            ProcNode::Entry(ProcEntry::Thread(_, tid, file)) => of(tid, 8 + file as u64),
            ProcNode::Entry(ProcEntry::Process(pid, ProcessFile::Fdinfo(fd))) => {
                of(pid, 0x8000 + u64::from(fd % 0x8000))
            }
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
            ProcNode::Folder("") => Some(ProcNode::Root),
            ProcNode::Folder(path) | ProcNode::Entry(ProcEntry::Global(GlobalFile::Sys(path))) => {
                let end = path.rfind('/').unwrap_or(0);
                let above = FOLDERS.iter().find(|folder| **folder == &path[..end]);
                Some(ProcNode::Folder(above.copied().unwrap_or("")))
            }
            ProcNode::Entry(ProcEntry::Global(file)) if SYSVIPC.iter().any(|row| row.1 == file) => {
                Some(ProcNode::Sysvipc)
            }
            ProcNode::Entry(ProcEntry::Global(file))
                if TERMINALS.iter().any(|row| row.1 == file) =>
            {
                Some(ProcNode::Terminals)
            }
            ProcNode::SelfLink
            | ProcNode::NetLink
            | ProcNode::ThreadSelf
            | ProcNode::Process(_)
            | ProcNode::Cluster
            | ProcNode::Terminals
            | ProcNode::Sysvipc
            | ProcNode::NamespaceFile(_)
            | ProcNode::Entry(ProcEntry::Global(_)) => Some(ProcNode::Root),
            ProcNode::Entry(ProcEntry::Process(pid, ProcessFile::Fdinfo(_))) => {
                Some(ProcNode::Infos(pid))
            }
            ProcNode::Entry(ProcEntry::Process(pid, ProcessFile::Net(_))) => {
                Some(ProcNode::Network(pid))
            }
            ProcNode::Descriptors(pid)
            | ProcNode::Infos(pid)
            | ProcNode::Namespaces(pid)
            | ProcNode::Network(pid)
            | ProcNode::Tasks(pid)
            | ProcNode::Entry(ProcEntry::Process(pid, _)) => Some(ProcNode::Process(pid)),
            ProcNode::Namespace(pid, _) => Some(ProcNode::Namespaces(pid)),
            ProcNode::Task(pid, _) => Some(ProcNode::Tasks(pid)),
            ProcNode::Entry(ProcEntry::Thread(pid, tid, _)) => Some(ProcNode::Task(pid, tid)),
            ProcNode::Descriptor(pid, _) => Some(ProcNode::Descriptors(pid)),
            ProcNode::Entry(ProcEntry::Cluster(_)) | ProcNode::Traces => Some(ProcNode::Cluster),
            ProcNode::Entry(ProcEntry::Trace(_)) => Some(ProcNode::Traces),
        }
    }

    /// The path of a directory below /proc, with a leading slash where it is not empty.
    pub(super) fn directory_path(self) -> Vec<u8> {
        match self {
            ProcNode::Process(pid) => format!("/{pid}").into_bytes(),
            ProcNode::Descriptors(pid) => format!("/{pid}/fd").into_bytes(),
            ProcNode::Infos(pid) => format!("/{pid}/fdinfo").into_bytes(),
            ProcNode::Tasks(pid) => format!("/{pid}/task").into_bytes(),
            ProcNode::Namespaces(pid) => format!("/{pid}/ns").into_bytes(),
            ProcNode::Network(pid) => format!("/{pid}/net").into_bytes(),
            ProcNode::Task(pid, tid) => format!("/{pid}/task/{tid}").into_bytes(),
            ProcNode::Folder("") => b"/sys".to_vec(),
            ProcNode::Folder(path) => format!("/sys/{path}").into_bytes(),
            ProcNode::Cluster => b"/cluster".to_vec(),
            ProcNode::Traces => b"/cluster/trace".to_vec(),
            ProcNode::Sysvipc => b"/sysvipc".to_vec(),
            ProcNode::Terminals => b"/tty".to_vec(),
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
