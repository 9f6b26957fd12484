//! Files of a home node: boot archive, memory overlay, devices, pipes, terminal and the /proc tree.
//!
//! Law: check everything, then act. A call that cannot finish registers its pid with a wait queue and
//! returns [`Stop::Wait`] without having had an effect; it is run again from its arguments. Whoever
//! calls holds the one lock of the kernel, so the small locks in here only make shared handles
//! mutable; none of them is held while another part is called.
//!
//! Users see bytes only: [`FileCall`] carries copies of the in-buffers and collects the out-buffers.
//! Who may do what is decided in `access`, for the ids that come with the call.
//!
//! Not here: contents of /proc (see [`ProcView`]), quotas per process.

mod access;
mod archive;
mod boot;
pub mod calls;
mod change;
mod info;
mod inode;
mod kept;
mod leases;
mod lending;
mod locks;
mod mounts;
mod objects;
mod open;
mod owner;
mod pipe;
mod proc;
pub(crate) mod settings;
mod socket;
mod storage;
mod sys;
#[cfg(test)]
mod tests;
mod tree;
mod tty;
mod volume;
mod walk;

use crate::wait::Stop;
use abi::Errno;
use alloc::vec::Vec;
use core::cell::Cell;

pub use access::Who;
pub use boot::BootReport;
pub use inode::{Attributes, Device, Executing, Inode, InodeRef};
pub(crate) use kept::{Cursors, KeptFiles};
pub(crate) use lending::{Behind, Writable, changes};
pub use mounts::{LoosePlace, Place};
pub(crate) use objects::{AlarmKey, Rings};
pub use objects::{Alarms, Asker, Exit, Peers, ProcessHandle, ThreadEnd};
pub use open::{Common, Descriptor, FileState, OpenFile};
pub use owner::{FileNotice, Owner, OwnerKind};
pub use pipe::{CAPACITY_MAX as PIPE_CAPACITY_MAX, PIPE_BUF, PIPE_CAPACITY};
pub use proc::{ClusterFile, GlobalFile, MemoryPart, ProcEntry, ProcView, ProcessFile, ThreadFile};
pub use socket::{NetFile, Sockets};
pub use storage::PageError;
pub use tree::FileSystem;
pub use tty::{Notice, Terminals, Tty};
pub use walk::Located;

/// `RWF_NOWAIT` of preadv2(2): what would wait is EAGAIN.
pub(crate) const RWF_NOWAIT: u64 = 8;
/// `RWF_APPEND` of pwritev2(2): written at the end, whatever the offset.
pub(crate) const RWF_APPEND: u64 = 16;
/// Longest path, without the NUL (`PATH_MAX` - 1).
pub const MAX_PATH: usize = 4095;
/// Longest name of one component (`NAME_MAX`).
pub const MAX_NAME: usize = 255;
/// Most bytes one call transfers; the caller cuts longer transfers.
pub const MAX_TRANSFER: usize = 65_536;
/// Most descriptors of a process, whatever its limit (`RLIMIT_NOFILE`).
pub const MAX_DESCRIPTORS: u32 = 65_536;
/// Descriptors of a process that has not asked for more.
pub const USUAL_DESCRIPTORS: u32 = 1024;

/// What job control wants to know of a caller. All zero, it is not subject to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Job {
    /// Its process group.
    pub group: u32,
    /// Its session.
    pub session: u32,
    /// It has given up the terminal that controls its session.
    pub detached: bool,
    /// It may do what only root may.
    pub privileged: bool,
    /// Who it is.
    pub user: u32,
    /// It blocks or ignores SIGTTIN.
    pub shielded_from_ttin: bool,
    /// It blocks or ignores SIGTTOU.
    pub shielded_from_ttou: bool,
    /// The signal that the call sends to its group, and with which it waits.
    pub signal: Option<u32>,
}

/// One system call on files: who calls, with what, and what goes back.
///
/// Arguments are numbered from 0 in Linux order. A buffer argument is named by its number.
pub struct FileCall<'a> {
    /// The caller's descriptors, directory and umask.
    pub state: &'a mut FileState,
    /// The file system of this node.
    pub fs: &'a FileSystem,
    /// The rest of the system, for /proc and random bytes.
    pub view: &'a mut dyn ProcView,
    /// The calling process.
    pub pid: u32,
    /// Who the caller is.
    pub who: Who,
    /// The calling thread, which is the one to wait.
    pub tid: u32,
    /// The caller's place in job control.
    pub job: Job,
    /// It goes on with a transfer of which something is done.
    pub goes_on: bool,
    /// Of preadv2(2) and pwritev2(2): `RWF_NOWAIT`, `RWF_APPEND`.
    pub how: u64,
    /// The signal that the caller gets with its error: SIGPIPE or SIGXFSZ.
    pub raised: Option<u32>,
    /// A broken pipe raises no signal.
    pub quiet: bool,
    /// Why the bytes to be written are not there: told when they are needed.
    pub no_bytes: Option<Errno>,
    /// Signals that others get of it.
    pub notices: Vec<(u32, crate::signals::SignalInfo)>,
    /// Monotonic time.
    pub now_ns: u64,
    /// When a wait ends: set by the caller for `poll`; set by a terminal read with `VTIME` before it
    /// returns `Stop::Wait`, and to be handed in again when the call is run again.
    pub deadline_ns: Option<u64>,
    /// How long a call that has to wait may do so, ns: set by sockets, told to the body.
    pub limit_ns: Option<u64>,
    /// The six argument registers.
    pub args: [u64; 6],
    /// Copies of the in-buffers and paths (without NUL); `None` where the user passed no buffer.
    pub inputs: [Option<&'a [u8]>; 6],
    /// How many bytes each out-buffer takes; 0 where the user passed none.
    pub capacities: [usize; 6],
    /// What to copy to each out-buffer.
    pub outputs: [Vec<u8>; 6],
    /// Which in-buffers the caller's memory did not give, and which out-buffers it takes only
    /// the beginning of.
    pub unread: [bool; 6],
    /// See `unread`.
    pub narrow: [bool; 6],
    /// How paths are followed: `RESOLVE_*` of openat2(2).
    pub resolve: u64,
    /// Of which in-buffers there may be only the beginning.
    pub cut: [bool; 6],
    /// A buffer was needed that is not there: whatever else comes out of the call, it is EFAULT.
    pub missed: Cell<bool>,
}

impl<'a> FileCall<'a> {
    /// A call without buffers yet.
    pub fn new(
        state: &'a mut FileState,
        fs: &'a FileSystem,
        view: &'a mut dyn ProcView,
        pid: u32,
        now_ns: u64,
        args: [u64; 6],
    ) -> FileCall<'a> {
        FileCall {
            state,
            fs,
            view,
            pid,
            who: Who::default(),
            tid: pid,
            job: Job::default(),
            goes_on: false,
            how: 0,
            raised: None,
            quiet: false,
            no_bytes: None,
            notices: Vec::new(),
            now_ns,
            deadline_ns: None,
            limit_ns: None,
            args,
            inputs: [None; 6],
            capacities: [0; 6],
            outputs: [const { Vec::new() }; 6],
            unread: [false; 6],
            resolve: 0,
            narrow: [false; 6],
            cut: [false; 6],
            missed: Cell::new(false),
        }
    }

    /// Who asks whether a file is ready.
    pub fn asker(&self) -> Asker<'_> {
        Asker {
            fs: self.fs,
            view: &*self.view,
            pid: self.pid,
            tid: self.tid,
            now_ns: self.now_ns,
        }
    }

    /// The in-buffer or path of an argument; empty if there is none. One that could not be read makes
    /// the call EFAULT from here on; what stands in for it does no harm.
    pub fn input(&self, arg: usize) -> &'a [u8] {
        if self.unread[arg] {
            self.missed.set(true);
        }
        self.inputs[arg].unwrap_or(&[])
    }

    /// Appends to the out-buffer of an argument; what exceeds its capacity is dropped.
    pub fn output(&mut self, arg: usize, bytes: &[u8]) {
        let room = self.capacities[arg].saturating_sub(self.outputs[arg].len());
        if self.narrow[arg] && bytes.len() > room {
            self.missed.set(true);
        }
        self.outputs[arg].extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// Checks that an out-buffer takes so many bytes, before something is done that cannot be undone.
    ///
    /// # Errors
    /// EFAULT.
    pub fn check_room(&self, arg: usize, bytes: usize) -> Result<(), Errno> {
        if self.narrow[arg] && bytes > self.capacities[arg] {
            return Err(Errno::EFAULT);
        }
        Ok(())
    }

    /// How many bytes the out-buffer of an argument takes.
    pub fn capacity(&self, arg: usize) -> usize {
        self.capacities[arg]
    }
}

/// What a file call returns: the value of `rax`, or why there is none.
pub type CallResult = Result<u64, Stop>;
