//! The part of a process that stays at home: who it is and what it holds.
//!
//! Law: this is what the world sees of the process, wherever its body runs. It exists on the home
//! node from fork until the parent has waited for it, and only calls executed there change it.

use crate::body::NOFILE;
use crate::buffers::Buffers;
use crate::cpu_timers::CpuTime;
use crate::credentials::{Credentials, Ids};
use crate::files::{Executing, Exit, FileState, InodeRef, LoosePlace, ThreadEnd};
use crate::shared::SharedObjects;
use crate::signals::PendingSignals;
use crate::thread::Answer;
use crate::timers::ProcessTimers;
use crate::wait::WaitQueue;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cell::Cell;
use migrate::HomeRecord;
use wire::{BodyFacts, BootId, MoveError, MoveHow, MoveStats, NodeId, Policy};

/// The first process of every node, as everybody there knows it. It alone has a pid that names no home: it
/// never moves, and a process finds that of its own home under this number, as on any Linux.
pub const INIT: u32 = 1;

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
    /// In which way.
    pub how: MoveHow,
    /// Who asked and waits.
    pub asker: u32,
    /// Which boot of which node was asked to do it.
    pub source: (NodeId, BootId),
    /// What became of it.
    pub result: Option<Result<MoveStats, MoveError>>,
}

/// A node was asked to move a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The number of the request.
    pub request: u64,
    /// Which node was asked.
    pub node: NodeId,
    /// Where to.
    pub target: NodeId,
}

/// What home keeps of a thread.
#[derive(Default)]
pub struct HomeThread {
    /// Signals for this thread that it has not taken.
    pub pending: PendingSignals,
    /// What it blocked when it last took a signal.
    pub blocked: u64,
    /// What it was told then to be pending and blocked.
    pub held_back: u64,
    /// The forwarded call that is being executed.
    pub remote: Option<RemoteCall>,
    /// Who it is; those share it that have come to be nobody else since one made the other.
    pub credentials: Arc<Credentials>,
    /// How it is to be scheduled.
    pub scheduling: crate::calls::home::Scheduling,
    /// Its name.
    pub name: [u8; 16],
    /// Its mode of seccomp(2), to be shown.
    pub seccomp: u8,
    /// Somebody traces it: a stop of its process does not keep signals from it.
    pub traced: bool,
    /// Its end, for those who hold it as a file.
    pub end: ThreadEnd,
}

/// What a process has used, as getrusage(2) tells it.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Used {
    /// CPU time.
    pub cpu: CpuTime,
    /// The most pages it had at once.
    pub peak_pages: u64,
    /// Page faults.
    pub faults: u64,
}

impl Used {
    /// Adds what somebody else used; the larger peak counts.
    pub fn add(&mut self, other: Used) {
        self.cpu.add(other.cpu);
        self.faults = self.faults.saturating_add(other.faults);
        self.peak_pages = self.peak_pages.max(other.peak_pages);
    }

    /// `struct rusage`.
    pub fn rusage(&self) -> [u8; 144] {
        const NS_PER_S: u64 = 1_000_000_000;
        let mut bytes = [0; 144];
        let mut put = |word: usize, value: u64| {
            bytes[word * 8..word * 8 + 8].copy_from_slice(&value.to_le_bytes());
        };
        for (word, ns) in [(0, self.cpu.user_ns), (2, self.cpu.system_ns)] {
            put(word, ns / NS_PER_S);
            put(word + 1, ns % NS_PER_S / 1000);
        }
        put(4, self.peak_pages.saturating_mul(4));
        put(8, self.faults);
        bytes
    }
}

/// The home part of a process.
pub struct Home {
    /// The process.
    pub pid: u32,
    /// Its parent, on the same node.
    pub parent: u32,
    /// The thread of its parent that made it, as long as it is there.
    pub maker: u32,
    /// Its process group.
    pub group: u32,
    /// Its session.
    pub session: u32,
    /// It has given up the terminal that controls its session (`TIOCNOTTY`).
    pub detached: bool,
    /// The group that was in the foreground when the terminal of the session that it leads hung up.
    pub lost_foreground: u32,
    /// It has become another program than its parent's.
    pub executed: bool,
    /// Owner, epoch, sequence.
    pub record: HomeRecord,
    /// Descriptors and directories; `None` only while one of its calls is executed.
    pub files: Option<FileState>,
    /// Files mapped by the body or being executed, by handle.
    pub mapped: Mapped,
    /// Memory that it shares with other processes.
    pub shared: SharedObjects,
    /// Whether it lives.
    pub life: Life,
    /// Signals for the process that no thread of it has taken.
    pub pending: PendingSignals,
    /// What is kept of each of its threads, by tid.
    pub threads: BTreeMap<u32, HomeThread>,
    /// It went on after a stop, and wait4(WCONTINUED) has not reported it.
    pub continued: bool,
    /// Its children leave no zombies (SIGCHLD is ignored, or `SA_NOCLDWAIT`).
    pub disowns: bool,
    /// It is not sent SIGCHLD, as it ignores it; blocked, it would be pending.
    pub ignores_children: bool,
    /// What its end tells its parent: SIGCHLD but for some children of clone(2); 0 is nothing.
    pub exit_signal: u32,
    /// It is not told when a child stops or goes on (`SA_NOCLDSTOP`).
    pub deaf_to_stops: bool,
    /// Who its first thread was when it ended.
    pub left: Arc<Credentials>,
    /// Limits of resources, (soft, hard), in the order of getrlimit(2).
    pub limits: [(u64, u64); crate::body::LIMITS],
    /// Who decides where it runs, if it has a policy of its own.
    pub policy: Option<Policy>,
    /// Somebody else has changed its limits or its policy, and the body has not been told.
    pub ordered: bool,
    /// Its nice value (getpriority(2)); everybody has a turn of the same length all the same.
    pub nice: i32,
    /// `oom_score_adj` of proc(5): kept, and not acted on.
    pub oom_score_adj: i32,
    /// `loginuid` of proc(5): the user who once logged in, kept and not acted on; -1 for none.
    pub login: u32,
    /// `auxv` of proc(5): what the program was told of when it began.
    pub auxiliary: Vec<u8>,
    /// The environment that its program began with, each variable ended by NUL.
    pub environment: Vec<u8>,
    /// Timers of timer_create(2).
    pub timers: ProcessTimers,
    /// Wakes when a signal has come.
    pub signalled: Arc<WaitQueue>,
    /// Its end, for those who hold it as a file.
    pub exit: Arc<Exit>,
    /// The next SIGALRM, node's clock, and the interval after it, ns; 0 is never.
    pub timer: (u64, u64),
    /// Those who wait for a child to change.
    pub children_changed: WaitQueue,
    /// Its program's name.
    pub name: [u8; 16],
    /// Its arguments as they were given, each ended by NUL.
    pub command_line: Vec<u8>,
    /// What it has written in their place, as far as that was seen (setproctitle(3)).
    pub title: Option<Vec<u8>>,
    /// The program that its execve under way has opened last, and its path.
    pub opening: (LoosePlace, Vec<u8>),
    /// The path of its program, from the root, without links.
    pub program: Vec<u8>,
    /// What it has said of itself by prctl(2).
    pub options: crate::calls::home::Options,
    /// Keeps the file of its program from being written.
    pub executing: Option<Executing>,
    /// Bytes read and written, and how often, of `/proc/PID/io`.
    pub transfers: Transfers,
    /// When it began, node's clock, ns.
    pub started_ns: u64,
    /// What its children used that were waited for.
    pub children_used: Used,
    /// What it used itself, as last reported by the body.
    pub used: Used,
    /// The last moves, oldest first, with their running number.
    pub moves: VecDeque<(u64, MoveStats)>,
    /// How often it moved.
    pub move_count: u64,
    /// The last request to move it.
    pub request: Option<MoveRequest>,
    /// Requests whose results have not come. Nobody else's result counts, and nobody else's image.
    pub asked: Vec<Asked>,
    /// Why it cannot move, as of the last attempt.
    pub obstacle: Option<alloc::string::String>,
    /// What its body's node last told about it.
    pub facts: Option<BodyFacts>,
    /// The node was asked for them.
    pub facts_asked: bool,
    /// Those who wait for that request or those facts.
    pub request_done: WaitQueue,
}

/// What others change of a body: its limits, and who decides where it runs.
pub type Orders = ([(u64, u64); crate::body::LIMITS], Option<Policy>);

/// What a process has transferred by read(2), write(2) and their like.
#[derive(Clone, Debug, Default)]
pub struct Transfers {
    /// How often it read, and how many bytes.
    pub read: Cell<(u64, u64)>,
    /// How often it wrote, and how many bytes.
    pub written: Cell<(u64, u64)>,
}

impl Transfers {
    /// Counts a transfer that is over.
    pub fn count(what: &Cell<(u64, u64)>, bytes: u64) {
        let (calls, sum) = what.get();
        what.set((calls + 1, sum + bytes));
    }
}

impl Home {
    /// Whether it still has a body somewhere.
    pub fn lives(&self) -> bool {
        !matches!(self.life, Life::Zombie(_))
    }

    /// Changes a limit, and what home does for the process with it.
    pub fn set_limit(&mut self, which: usize, (soft, hard): (u64, u64)) {
        const FSIZE: usize = 1;
        self.limits[which] = (soft, hard);
        if let Some(files) = self.files.as_mut() {
            match which {
                FSIZE => files.largest_file = soft,
                NOFILE => files.set_limit(u32::try_from(soft).unwrap_or(u32::MAX)),
                _ => {}
            }
        }
    }

    /// The limits and the policy, if the body has not been told.
    pub fn take_orders(&mut self) -> Option<Orders> {
        let ordered = core::mem::take(&mut self.ordered);
        ordered.then_some((self.limits, self.policy))
    }

    /// Who the process is for others: who its first thread is or was.
    pub fn credentials(&self) -> &Arc<Credentials> {
        self.credentials_of(self.pid)
    }

    /// Who a thread of it is.
    pub fn credentials_of(&self, tid: u32) -> &Arc<Credentials> {
        let thread = self.threads.get(&tid);
        thread.map_or(&self.left, |thread| &thread.credentials)
    }

    /// As [`Home::credentials`], without what they may come to be.
    pub fn ids(&self) -> Ids {
        self.credentials().ids
    }

    /// Takes a thread that is over away; who the first one was stays.
    pub fn remove_thread(&mut self, tid: u32) -> Option<HomeThread> {
        let thread = self.threads.remove(&tid)?;
        if tid == self.pid {
            self.left = thread.credentials.clone();
        }
        Some(thread)
    }

    /// The program's name without padding.
    pub fn short_name(&self) -> &[u8] {
        crate::thread::unpadded(&self.name)
    }

    /// Notes that a node was asked to move it.
    pub fn ask(&mut self, asked: Asked) {
        if self.asked.len() >= MOVES_KEPT {
            self.asked.remove(0);
        }
        self.asked.push(asked);
    }

    /// Whether a node may say that it has the image from another: it was asked for, or it has the
    /// process already. So a ticket is good while home wants that move, and an old one for another process of that number, which
    /// says the same, is not; and where there are no keys, and so no tickets, this keeps strangers from taking it.
    pub fn expects(&self, from: NodeId, source: NodeId) -> bool {
        let named = |asked: &Asked| (asked.node, asked.target) == (source, from);
        self.record.gate().owner() == from || self.asked.iter().any(named)
    }

    /// Whether a node was asked to send it to another one, and has not said what came of it.
    pub fn is_sent_away_from(&self, node: NodeId) -> bool {
        let here = wire::Pid(self.pid).home();
        let away = |asked: &Asked| asked.node == node && asked.target != here;
        self.asked.iter().any(away)
    }

    /// A boot of a node is over, and no result comes from it: who waits for one looks again.
    pub fn asked_lost(&mut self, node: NodeId) {
        if let Some(request) = &self.request
            && request.result.is_none()
            && self
                .asked
                .iter()
                .any(|asked| (asked.request, asked.node) == (request.id, node))
        {
            self.request = None;
        }
        self.asked.retain(|asked| asked.node != node);
        self.request_done.wake();
    }
}

/// How many files a process can have mapped in the life of one program.
const MAPPED_MAX: usize = 4096;

/// A file that a body maps or executes.
struct MappedFile {
    inode: InodeRef,
    /// By which path it was opened.
    path: Vec<u8>,
}

#[derive(Clone)]
struct MappedSlot {
    file: Arc<MappedFile>,
    /// Which contents the body knows, or will be told of.
    version: Option<u64>,
    /// The body was told of a change, but may have been on its way somewhere else.
    told: bool,
}

/// Files that a body maps or executes, by handle.
#[derive(Clone, Default)]
pub struct Mapped(Vec<Option<MappedSlot>>);

impl Mapped {
    /// A handle for a file that was opened by a path; the same file gets the same handle. `None` if
    /// there are too many.
    pub fn add(&mut self, inode: &InodeRef, path: &[u8]) -> Option<u32> {
        let same = |known: &MappedSlot| Arc::ptr_eq(&known.file.inode, inode);
        let known = self
            .0
            .iter()
            .position(|slot| slot.as_ref().is_some_and(same));
        let free = || self.0.iter().position(Option::is_none);
        let handle = known.or_else(free).unwrap_or(self.0.len());
        if handle == self.0.len() {
            if handle >= MAPPED_MAX {
                return None;
            }
            self.0.push(None);
        }
        self.0[handle].get_or_insert_with(|| MappedSlot {
            file: Arc::new(MappedFile {
                inode: inode.clone(),
                path: path.to_vec(),
            }),
            version: inode.contents(),
            told: false,
        });
        Some(handle as u32)
    }

    fn slot(&self, handle: u64) -> Option<&MappedFile> {
        let slot = self.0.get(usize::try_from(handle).ok()?)?.as_ref();
        Some(&slot?.file)
    }

    /// The files of the boot image among them: handle, contents, path.
    pub(crate) fn to_be_kept(&self) -> Vec<(u32, [u8; 32], Vec<u8>)> {
        let slots = (0..).zip(&self.0);
        let kept = slots.filter_map(|(handle, slot)| {
            let file = &slot.as_ref()?.file;
            Some((handle, file.inode.content_hash()?, file.path.clone()))
        });
        kept.collect()
    }

    /// The same again, under the same handles.
    pub(crate) fn again<'a>(kept: impl Iterator<Item = (u32, InodeRef, &'a [u8])>) -> Mapped {
        let mut mapped = Mapped::default();
        for (handle, inode, path) in kept.filter(|(handle, ..)| (*handle as usize) < MAPPED_MAX) {
            let handle = handle as usize;
            if mapped.0.len() <= handle {
                mapped.0.resize(handle + 1, None);
            }
            mapped.0[handle] = Some(MappedSlot {
                version: inode.contents(),
                file: Arc::new(MappedFile {
                    inode,
                    path: path.to_vec(),
                }),
                told: false,
            });
        }
        mapped
    }

    /// Gives a file a handle that is free.
    pub(crate) fn put(&mut self, handle: u32, inode: InodeRef, path: &[u8]) {
        let more = Mapped::again([(handle, inode, path)].into_iter());
        if self.0.len() < more.0.len() {
            self.0.resize(more.0.len(), None);
        }
        for (slot, new) in self.0.iter_mut().zip(more.0) {
            *slot = slot.take().or(new);
        }
    }

    /// The path by which the file of a handle was opened.
    pub(crate) fn path(&self, handle: u64) -> Option<&[u8]> {
        Some(&self.slot(handle)?.path)
    }

    /// The file of a handle.
    pub fn get(&self, handle: u64) -> Option<InodeRef> {
        Some(self.slot(handle)?.inode.clone())
    }

    /// The handle of a file, if it has one.
    pub fn handle_of(&self, inode: &InodeRef) -> Option<u32> {
        let same = |slot: &Option<MappedSlot>| {
            slot.as_ref()
                .is_some_and(|held| Arc::ptr_eq(&held.file.inode, inode))
        };
        self.0.iter().position(same).map(|handle| handle as u32)
    }

    /// The number of the file of a handle, and its path as `/proc/PID/maps` shows it.
    pub fn name(&self, handle: u64) -> Option<(u64, Vec<u8>)> {
        let MappedFile { inode, path } = self.slot(handle)?;
        let mut path = path.clone();
        if inode.attributes().links == 0 && !path.ends_with(b" (deleted)") {
            path.extend_from_slice(b" (deleted)");
        }
        Some((inode.number(), path))
    }

    /// The body leaves home, and knows all files as they are.
    pub fn note_known(&mut self) {
        for slot in self.0.iter_mut().flatten() {
            slot.version = slot.file.inode.contents();
            slot.told = false;
        }
    }

    /// The files that have changed since the body was told, with their sizes. It counts as told.
    pub fn take_changed(&mut self) -> Vec<(u32, u64)> {
        self.take(|slot| {
            let version = slot.file.inode.contents();
            let changed = version != slot.version;
            slot.version = version;
            slot.told |= changed;
            changed
        })
    }

    /// The files that have changed, with their sizes, of which the body may have missed the word.
    pub fn take_missed(&mut self) -> Vec<(u32, u64)> {
        self.take(|slot| {
            let version = slot.file.inode.contents();
            let changed = version != slot.version || slot.told;
            (slot.version, slot.told) = (version, false);
            changed
        })
    }

    /// The body could not be told of a change of a file.
    pub fn note_missed(&mut self, handle: u32) {
        if let Some(Some(slot)) = self.0.get_mut(handle as usize) {
            slot.told = true;
        }
    }

    /// The body is again where it was before: what has changed since then was told to somebody else.
    pub fn note_all_missed(&mut self) {
        for slot in self.0.iter_mut().flatten() {
            slot.told = true;
        }
    }

    fn take(&mut self, mut which: impl FnMut(&mut MappedSlot) -> bool) -> Vec<(u32, u64)> {
        let slots = self.0.iter_mut().enumerate();
        slots
            .filter_map(|(handle, slot)| {
                let slot = slot.as_mut()?;
                which(slot).then(|| (handle as u32, slot.file.inode.size()))
            })
            .collect()
    }

    /// Lets go of all files but these.
    pub fn keep_only(&mut self, handles: &[u64]) {
        for (index, slot) in self.0.iter_mut().enumerate() {
            if !handles.contains(&(index as u64)) {
                *slot = None;
            }
        }
    }
}

/// An answer without buffers.
pub fn plain(value: i64) -> Answer {
    Answer {
        value,
        buffers: Buffers::new(),
    }
}
