//! The part of a process that stays at home: who it is and what it holds.
//!
//! Law: this is what the world sees of the process, wherever its body runs. It exists on the home
//! node from fork until the parent has waited for it, and only calls executed there change it.

use crate::body::{Answer, Ids};
use crate::buffers::Buffers;
use crate::files::{FileState, InodeRef};
use crate::signals::SignalInfo;
use crate::wait::WaitQueue;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use migrate::HomeRecord;
use wire::{BodyFacts, MoveError, MoveStats, NodeId};

/// How many past moves are kept for `migstat`.
pub const MOVES_KEPT: usize = 32;

/// A call that came from the body's node and has not been answered.
#[derive(Clone, Debug)]
pub struct RemoteCall {
    /// Who is to get the reply.
    pub from: NodeId,
    /// Its epoch.
    pub epoch: u64,
    /// Its number in the process's sequence.
    pub seq: u64,
    /// What is called.
    pub request: Request,
}

/// A call as home sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Linux number or one of the pseudo-calls in `dispatch`.
    pub number: u32,
    /// Arguments.
    pub args: [u64; 6],
    /// In-buffers.
    pub inputs: Buffers,
    /// How many bytes the out-buffers take.
    pub rooms: [u32; 6],
}

impl Request {
    /// A request without buffers.
    pub fn plain(number: u32, args: [u64; 6]) -> Request {
        Request {
            number,
            args,
            inputs: Buffers::new(),
            rooms: [0; 6],
        }
    }

    /// How many bytes the out-buffer of an argument takes.
    pub fn room(&self, arg: usize) -> usize {
        self.rooms[arg] as usize
    }
}

/// Whether the process is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// It lives.
    Alive,
    /// It stopped by this signal; the parent may not have been told.
    Stopped {
        /// By which signal.
        signal: u32,
        /// Whether wait4(WUNTRACED) has reported it.
        told: bool,
    },
    /// It ended with this wait status and waits to be waited for.
    Zombie(u32),
}

/// The state of the last request to move it.
#[derive(Clone, Debug)]
pub struct MoveRequest {
    /// Its number.
    pub id: u64,
    /// Where to.
    pub target: NodeId,
    /// Who asked and waits.
    pub asker: u32,
    /// What became of it.
    pub result: Option<Result<MoveStats, MoveError>>,
}

/// The home part of a process.
pub struct Home {
    /// The process.
    pub pid: u32,
    /// Its parent, on the same node.
    pub parent: u32,
    /// Its process group.
    pub group: u32,
    /// Its session.
    pub session: u32,
    /// Owner, epoch, sequence.
    pub record: HomeRecord,
    /// Descriptors and directories; `None` only while one of its calls is executed.
    pub files: Option<FileState>,
    /// Files mapped by the body or being executed, by handle.
    pub mapped: Vec<InodeRef>,
    /// Whether it lives.
    pub life: Life,
    /// Signals that have not been handed to the body.
    pub pending: u64,
    /// What is known of them, oldest first.
    pub queue: VecDeque<SignalInfo>,
    /// What the body blocked when it last took a signal.
    pub blocked: u64,
    /// What the body was told then to be pending and blocked.
    pub held_back: u64,
    /// It went on after a stop, and wait4(WCONTINUED) has not reported it.
    pub continued: bool,
    /// Its children leave no zombies (SIGCHLD is ignored, or `SA_NOCLDWAIT`).
    pub disowns: bool,
    /// Who it is.
    pub ids: Ids,
    /// Its nice value (getpriority(2)); everybody has a turn of the same length all the same.
    pub nice: i32,
    /// Its supplementary groups.
    pub groups: Vec<u32>,
    /// The next SIGALRM, node's clock, and the interval after it, ns; 0 is never.
    pub timer: (u64, u64),
    /// Those who wait for a child to change.
    pub children_changed: WaitQueue,
    /// The forwarded call that is being executed.
    pub remote: Option<RemoteCall>,
    /// Its program's name.
    pub name: [u8; 16],
    /// Its arguments, each ended by NUL.
    pub command_line: Vec<u8>,
    /// The path of its program.
    pub program: Vec<u8>,
    /// When it began, node's clock, ns.
    pub started_ns: u64,
    /// CPU time of its children that were waited for, ns.
    pub children_cpu_ns: u64,
    /// CPU time as last reported by the body, ns.
    pub cpu_ns: u64,
    /// The last moves, oldest first, with their running number.
    pub moves: VecDeque<(u64, MoveStats)>,
    /// How often it moved.
    pub move_count: u64,
    /// The last request to move it.
    pub request: Option<MoveRequest>,
    /// Why it cannot move, as of the last attempt.
    pub obstacle: Option<alloc::string::String>,
    /// What its body's node last told about it.
    pub facts: Option<BodyFacts>,
    /// Those who wait for that request or those facts.
    pub request_done: WaitQueue,
}

impl Home {
    /// Whether it still has a body somewhere.
    pub fn lives(&self) -> bool {
        !matches!(self.life, Life::Zombie(_))
    }

    /// The program's name without padding.
    pub fn short_name(&self) -> &[u8] {
        let end = self
            .name
            .iter()
            .position(|byte| *byte == 0)
            .unwrap_or(self.name.len());
        &self.name[..end]
    }

    /// A handle for a mapped file; the same file gets the same handle.
    pub fn map_file(&mut self, inode: InodeRef) -> u32 {
        if let Some(handle) = self
            .mapped
            .iter()
            .position(|known| alloc::sync::Arc::ptr_eq(known, &inode))
        {
            return handle as u32;
        }
        self.mapped.push(inode);
        self.mapped.len() as u32 - 1
    }
}

/// An answer without buffers.
pub fn plain(value: i64) -> Answer {
    Answer {
        value,
        buffers: Buffers::new(),
    }
}
