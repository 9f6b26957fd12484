//! The files under /proc by what they tell of, and what the rest of the system has to know to fill them.
//!
//! Law: an entry names a file and has no state; contents are made by [`ProcView`] whenever they are asked for.

use super::super::InodeRef;
use super::super::open::OpenFile;
use crate::wait::Stop;
use abi::Errno;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// A file of the system as a whole.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
#[expect(
    missing_docs,
    reason = "each variant is the file of that name in /proc"
)]
pub enum GlobalFile {
    Meminfo,
    /// `meminfo` of the memory node, in /sys.
    NodeMeminfo,
    Stat,
    Uptime,
    Loadavg,
    Mounts,
    Cpuinfo,
    Cmdline,
    Version,
    Filesystems,
    Swaps,
    Partitions,
    Diskstats,
    Devices,
    Locks,
    Vmstat,
    Interrupts,
    Softirqs,
    Modules,
    Buddyinfo,
    Cgroups,
    Consoles,
    Execdomains,
    Misc,
    Slabinfo,
    /// `config.gz`.
    Config,
    /// `tty/drivers` and its neighbour.
    TtyDrivers,
    TtyLdiscs,
    /// `sysvipc/shm` and its neighbours.
    SysvShm,
    SysvSem,
    SysvMsg,
    /// A file below /proc/sys, by its path there.
    Sys(&'static str),
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
    Smaps,
    SmapsRollup,
    NumaMaps,
    Io,
    Personality,
    Sessionid,
    UidMap,
    Environ,
    Comm,
    Exe,
    Cwd,
    Root,
    Limits,
    Mounts,
    Mountinfo,
    Cgroup,
    Cpuset,
    Wchan,
    OomScore,
    OomScoreAdj,
    Loginuid,
    Policy,
    Placement,
    Auxv,
    Schedstat,
    TimerslackNs,
    CoredumpFilter,
    OomAdj,
    Mountstats,
    Setgroups,
    ClearRefs,
    Syscall,
    /// Its memory, byte by byte.
    Mem,
    /// What stands for each of its pages.
    Pagemap,
    /// All of it, to begin again from.
    Checkpoint,
    /// The file `fdinfo/N`; asked for only when it belongs to another process than the caller.
    Fdinfo(u32),
    /// A file in `net`.
    Net(super::super::NetFile),
    /// The link `fd/N`; asked for only when it belongs to another process than the caller.
    Fd(u32),
}

/// A file of one thread.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
#[expect(
    missing_docs,
    reason = "each variant is the file of that name in /proc/PID/task/TID"
)]
pub enum ThreadFile {
    Stat,
    Status,
    Comm,
    Children,
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
    Clocks,
    Restart,
}

/// A file or link under /proc whose contents the rest of the system knows.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum ProcEntry {
    /// `/proc/NAME`.
    Global(GlobalFile),
    /// `/proc/PID/NAME`.
    Process(u32, ProcessFile),
    /// `/proc/PID/task/TID/NAME`, for what a thread has of its own.
    Thread(u32, u32, ThreadFile),
    /// `/proc/cluster/NAME`.
    Cluster(ClusterFile),
    /// `/proc/cluster/trace/NODE`.
    Trace(u16),
}

/// A place in `/proc/PID/mem`, `pagemap` or `checkpoint`.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum MemoryPart {
    /// Bytes of a process from an address on.
    Bytes(u32, u64),
    /// Entries for pages of a process, from this offset in the file on.
    Pages(u32, u64),
    /// Its checkpoint, from this byte on.
    Checkpoint(u32, u64),
}

/// The rest of the system as files see it.
pub trait ProcView: super::super::Peers {
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
    /// Bytes of the memory of a process for `mem`, up to `count` of them, what `pagemap` says of it there, or its
    /// checkpoint.
    ///
    /// # Errors
    /// `EIO`: no memory is there; whatever forbids to look into it. `Stop::Wait` until it can be looked at.
    fn memory(&mut self, _part: MemoryPart, _reader: u32, _count: usize) -> Result<Vec<u8>, Stop> {
        Err(Errno::EIO.into())
    }
    /// Takes bytes of a checkpoint, and with the last of them begins the process again. What it has lost of its
    /// standard descriptors becomes these.
    ///
    /// # Errors
    /// Why it does not; nothing has happened then.
    fn restart(
        &mut self,
        _writer: u32,
        _bytes: &[u8],
        _standard: Vec<(u32, Arc<OpenFile>)>,
    ) -> Result<usize, Stop> {
        Err(Errno::EINVAL.into())
    }
    /// Writes to the memory of a process.
    ///
    /// # Errors
    /// As [`ProcView::memory`].
    fn set_memory(
        &mut self,
        _pid: u32,
        _writer: u32,
        _at: u64,
        _bytes: &[u8],
    ) -> Result<usize, Stop> {
        Err(Errno::EIO.into())
    }
    /// The text of a link: `exe`, `cwd`, or `fd/N` of another process.
    ///
    /// # Errors
    /// `ENOENT` if there is none.
    fn link(&self, entry: ProcEntry) -> Result<Vec<u8>, Errno>;
    /// The file that a link leads to, whatever its name: `exe`, `cwd`, `root`, or `fd/N` of another process.
    fn file(&self, _entry: ProcEntry) -> Option<super::super::Place> {
        None
    }
    /// Whether a thread may look into a process.
    ///
    /// # Errors
    /// `EPERM`; `ESRCH`.
    fn may_look(&self, _caller: u32, _other: u32) -> Result<(), Errno> {
        Ok(())
    }
    /// The nodes in `/proc/cluster/trace`, ascending.
    fn traced(&self) -> Vec<u16> {
        Vec::new()
    }
    /// The threads of a process, its first one perhaps left out.
    fn threads(&self, _pid: u32) -> Vec<u32> {
        Vec::new()
    }
    /// The process that a thread is of, its first one perhaps left out.
    fn process_of(&self, _tid: u32) -> Option<u32> {
        None
    }
    /// User and group of a process.
    fn owner(&self, _pid: u32) -> (u32, u32) {
        (0, 0)
    }
    /// Whether somebody waits in a call of this number.
    fn is_in_call(&self, _waiter: u32, _number: u32) -> bool {
        false
    }
    /// Whether somebody has a file mapped so that its contents may be written.
    fn maps_writable(&self, _file: &InodeRef) -> bool {
        false
    }
    /// An open file of another process, for the caller.
    ///
    /// # Errors
    /// `EPERM` if the caller may not look into the other; `ESRCH`, and that of the descriptor.
    fn file_of(
        &self,
        _caller: u32,
        _other: u32,
        _fd: Result<u32, Errno>,
    ) -> Result<Arc<OpenFile>, Errno> {
        Err(Errno::ESRCH)
    }
    /// A soft limit of a process, by its number in getrlimit(2).
    fn limit(&self, _pid: u32, _which: usize) -> u64 {
        u64::MAX
    }
    /// The permission bits of the link to an open file of another process.
    fn link_rights(&self, _pid: u32, _fd: u32) -> Option<u32> {
        None
    }
    /// The open descriptors of another process, ascending.
    fn descriptors(&self, _pid: u32) -> Vec<u32> {
        Vec::new()
    }
    /// Adds the sockets that other processes than the caller have.
    fn sockets(&self, _known: &mut super::super::Sockets) {}
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
