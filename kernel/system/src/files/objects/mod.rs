//! Open files without a name that are no pipes: counters, timers, signals, processes, sets of files.
//!
//! Law: each has queues that wake at every change of what `ready` says, and `read` and `write` follow
//! the rule of all files: without effect until they can finish. They live at the home node, so a
//! process keeps them wherever it runs.

mod alarms;
mod epoll;
mod event;
pub(super) mod notify;
mod process;
pub(super) mod queue;
mod signal;
mod timer;

pub use alarms::Alarms;
pub(crate) use alarms::{AlarmKey, Rings};
pub(super) use epoll::{Change, Epoll, Item, Watched, set_of};
pub(super) use event::{EventFile, Takes};
pub(super) use notify::{Notify, NotifyFile};
pub use process::{Exit, ProcessHandle, ThreadEnd};
pub(super) use queue::{Queue, Queues};
pub(super) use signal::SignalFile;
pub(super) use timer::{Setting, TimerFile};

use super::open::OpenFile;
use super::socket::Socket;
use super::{FileCall, FileSystem, ProcView};
use crate::signals::SignalInfo;
use crate::wait::{Stop, WaitQueue};
use abi::Errno;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// Who asks whether a file is ready: some say different things to different processes.
#[derive(Clone, Copy)]
pub struct Asker<'a> {
    /// The files of the node.
    pub fs: &'a FileSystem,
    /// The rest of the system.
    pub view: &'a dyn ProcView,
    /// The process.
    pub pid: u32,
    /// Its thread that asks.
    pub tid: u32,
    /// Monotonic time.
    pub now_ns: u64,
}

/// What files have to know of processes. Without an answer there is no such process.
pub trait Peers {
    /// The signals that are pending for a thread, its process's too, one bit each.
    fn pending(&self, _tid: u32) -> u64 {
        0
    }
    /// Takes the next pending signal of a set, for a thread.
    fn take_pending(&mut self, _tid: u32, _set: u64) -> Option<SignalInfo> {
        None
    }
    /// What wakes when a signal has come.
    fn signal_queue(&self, _pid: u32) -> Option<Arc<WaitQueue>> {
        None
    }
    /// Real and effective user, real and effective group of a thread.
    fn ids(&self, _tid: u32) -> [u32; 4] {
        [0; 4]
    }
    /// The end of a process.
    fn exit_of(&self, _pid: u32) -> Option<Arc<Exit>> {
        None
    }
    /// The process of a thread, and the thread's end.
    fn thread_exit(&self, _tid: u32) -> Option<(u32, Arc<Exit>)> {
        None
    }
}

/// What such a file is.
pub(super) enum Object {
    Event(EventFile),
    Timer(Arc<TimerFile>),
    Signal(SignalFile),
    Epoll(Arc<Epoll>),
    Process(ProcessHandle),
    Socket(Arc<Socket>),
    Notify(Arc<NotifyFile>),
    Queue(Arc<Queue>),
}

impl Object {
    pub(super) fn read(
        &self,
        call: &mut FileCall,
        file: &OpenFile,
        count: usize,
    ) -> Result<Vec<u8>, Stop> {
        let patience = call.patience(file);
        match self {
            Object::Event(event) => event.read(count, patience),
            Object::Timer(timer) => timer.read(count, call.now_ns, patience, call.fs.alarms()),
            Object::Signal(signals) => signals.read(call, count, patience),
            Object::Socket(_) => super::calls::read_socket(call, file, count),
            Object::Notify(notify) => notify.read(count, patience),
            Object::Queue(queue) => Ok(queue.text().into_bytes()),
            Object::Epoll(_) | Object::Process(_) => Err(Errno::EINVAL.into()),
        }
    }

    pub(super) fn write(
        &self,
        call: &mut FileCall,
        file: &OpenFile,
        bytes: &[u8],
    ) -> Result<usize, Stop> {
        match self {
            Object::Event(event) => event.write(bytes, call.patience(file)),
            Object::Socket(_) => super::calls::write_socket(call, file, bytes),
            _ => Err(Errno::EINVAL.into()),
        }
    }

    /// Whether there is anything to read in such a thing.
    pub(super) fn can_be_read(&self) -> bool {
        !matches!(self, Object::Epoll(_) | Object::Process(_))
    }

    /// Whether so many bytes can be written to it at once: a counter takes numbers only.
    pub(super) fn takes(&self, length: usize) -> bool {
        !matches!(self, Object::Event(_)) || length == 8
    }

    /// Whether such a thing takes anything that is written.
    pub(super) fn can_be_written(&self) -> bool {
        matches!(self, Object::Event(_) | Object::Socket(_))
    }

    /// What is the case, as `POLL*` bits.
    pub(super) fn ready(&self, asker: &Asker) -> i16 {
        match self {
            Object::Event(event) => event.ready(),
            Object::Timer(timer) => timer.ready(asker.now_ns),
            Object::Signal(signals) => signals.ready(asker),
            Object::Epoll(epoll) => epoll.ready(asker),
            Object::Process(process) => process.ready(),
            Object::Socket(socket) => socket.ready(),
            Object::Notify(notify) => notify.ready(),
            Object::Queue(queue) => queue.ready(),
        }
    }

    /// Shows every queue that a change of [`Object::ready`] wakes.
    pub(super) fn queues(&self, asker: &Asker, each: &mut dyn FnMut(&WaitQueue)) {
        match self {
            Object::Event(event) => each(event.queue()),
            Object::Timer(timer) => each(timer.queue()),
            Object::Signal(_) => {
                if let Some(queue) = asker.view.signal_queue(asker.pid) {
                    each(&queue);
                }
            }
            Object::Epoll(epoll) => each(epoll.queue()),
            Object::Process(process) => each(process.queue()),
            Object::Notify(notify) => each(notify.queue()),
            Object::Queue(queue) => each(queue.queue()),
            Object::Socket(socket) => socket.queues().into_iter().for_each(each),
        }
    }

    /// Whether lseek(2) is without effect, instead of refused.
    pub(super) fn seeks_nowhere(&self) -> bool {
        !matches!(self, Object::Socket(_) | Object::Queue(_))
    }

    /// Whether it is read at offsets, like a file.
    pub(super) fn has_places(&self) -> bool {
        matches!(self, Object::Queue(_))
    }

    /// What `/proc/self/fd/N` links to.
    pub(super) fn label(&self) -> &'static str {
        match self {
            Object::Event(_) => "anon_inode:[eventfd]",
            Object::Timer(_) => "anon_inode:[timerfd]",
            Object::Signal(_) => "anon_inode:[signalfd]",
            Object::Epoll(_) => "anon_inode:[eventpoll]",
            Object::Process(_) => "anon_inode:[pidfd]",
            Object::Socket(_) => "socket:",
            Object::Notify(_) => "anon_inode:inotify",
            Object::Queue(_) => "mqueue:",
        }
    }
}
