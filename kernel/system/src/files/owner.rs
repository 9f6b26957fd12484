//! Who hears by a signal of what happens to an open file: `F_SETOWN`, `F_SETSIG`, `O_ASYNC` and leases.
//!
//! Law: the owner is of the open file and outlives descriptors and moves. What has happened is noted by the
//! file while its locks are held, and told behind the call that did it; who is told then must be somebody
//! whom the one that named it may signal (fcntl(2)).

use super::access::Who;
use super::open::OpenFile;
use crate::signals::SignalInfo;
use crate::wait::Listener;
use abi::layout::{POLLERR, POLLHUP, POLLIN, POLLMSG, POLLOUT, POLLRDNORM, POLLWRNORM};
use abi::signal::{SIGIO, SIGURG};
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use spin::Mutex;

/// What an owner is (`F_OWNER_*`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum OwnerKind {
    /// A thread.
    Thread,
    /// A process.
    #[default]
    Process,
    /// A process group.
    Group,
}

/// To whom signals of an open file go.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Owner {
    /// What `id` names.
    pub kind: OwnerKind,
    /// 0 is nobody.
    pub id: u32,
    /// Which signal; 0 for a plain SIGIO.
    pub signal: u8,
    /// Real and effective user of who named the owner.
    pub users: (u32, u32),
}

/// A signal that is to be sent for an open file.
#[derive(Clone, Copy)]
pub struct FileNotice {
    /// To whom.
    pub owner: Owner,
    /// Which one, with what.
    pub info: SignalInfo,
}

/// What has happened to files, in order.
#[derive(Default)]
pub(super) struct Posts(Mutex<Vec<(Weak<OpenFile>, Event)>>);

/// What has happened to a file.
#[derive(Clone, Copy)]
enum Event {
    /// These `POLL*` bits may be the case now.
    Ready(i16),
    /// Its lease, asked for by this descriptor, is to be given back.
    LeaseBroken(u32),
    /// Something has happened in the directory that it is; by this descriptor that was asked for.
    Noticed(u32),
    /// Urgent data has come.
    Urgent,
}

/// `si_code` of a signal for a file, and its `si_band` (`linux/signal.h`).
const POLL_IN: (i32, i16) = (1, POLLIN | POLLRDNORM);
const POLL_OUT: (i32, i16) = (2, POLLOUT | POLLWRNORM);
const POLL_MSG: (i32, i16) = (3, POLLIN | POLLRDNORM | POLLMSG);

impl Posts {
    /// The lease of an open file is to be given back.
    pub(super) fn break_lease(&self, file: &Arc<OpenFile>, fd: u32) {
        let post = (Arc::downgrade(file), Event::LeaseBroken(fd));
        self.0.lock().push(post);
    }

    /// Something has happened in an open directory.
    pub(super) fn noticed(&self, file: &Weak<OpenFile>, fd: u32) {
        self.0.lock().push((file.clone(), Event::Noticed(fd)));
    }

    /// Urgent data has come for an open socket, whose owner hears of it without `O_ASYNC` too.
    pub(super) fn urgent(&self, file: &Weak<OpenFile>) {
        self.0.lock().push((file.clone(), Event::Urgent));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }

    /// The signals that are to be sent for what has happened.
    pub(super) fn take(&self, ready: impl Fn(&OpenFile) -> i16) -> Vec<FileNotice> {
        let posts = core::mem::take(&mut *self.0.lock());
        let mut notices = Vec::new();
        for (file, event) in posts {
            let Some(file) = file.upgrade() else {
                continue;
            };
            match event {
                Event::LeaseBroken(fd) | Event::Noticed(fd) => {
                    notices.extend(notice(&file, fd, POLL_MSG));
                }
                Event::Urgent => {
                    let owner = file.cursor().owner;
                    let info = SignalInfo::kernel(SIGURG);
                    notices.extend((owner.id != 0).then_some(FileNotice { owner, info }));
                }
                Event::Ready(events) => {
                    let Some(fd) = file.asynchronous_fd() else {
                        continue;
                    };
                    // A change that may be anything is what is the case behind it.
                    let events = if events == -1 { ready(&file) } else { events };
                    if file.readable() && events & (POLLIN | POLLHUP) != 0 {
                        notices.extend(notice(&file, fd, POLL_IN));
                    }
                    if file.writable() && events & (POLLOUT | POLLERR) != 0 {
                        notices.extend(notice(&file, fd, POLL_OUT));
                    }
                }
            }
        }
        notices
    }
}

fn notice(file: &OpenFile, fd: u32, (code, band): (i32, i16)) -> Option<FileNotice> {
    let owner = file.cursor().owner;
    if owner.id == 0 {
        return None;
    }
    let info = match owner.signal {
        0 => SignalInfo::kernel(SIGIO),
        signal => SignalInfo {
            signal: signal.into(),
            code,
            words: [band as u16 as u64, fd.into()],
            ..SignalInfo::default()
        },
    };
    Some(FileNotice { owner, info })
}

impl Owner {
    /// Whether a process with these real and saved users may be told.
    pub fn may_tell(&self, (real, saved): (u32, u32)) -> bool {
        let (uid, euid) = self.users;
        euid == 0
            || [real, saved]
                .iter()
                .any(|user| *user == uid || *user == euid)
    }

    /// The owner as a number: a group is negative.
    pub(super) fn number(&self) -> i32 {
        match self.kind {
            OwnerKind::Group => -(self.id as i32),
            _ => self.id as i32,
        }
    }

    /// Names an owner on behalf of somebody; the signal stays.
    pub(super) fn name(&mut self, kind: OwnerKind, id: u32, who: &Who) {
        (self.kind, self.id) = (kind, id);
        self.users = (who.real_uid, who.uid);
    }
}

/// Hears of every change of an open file with `O_ASYNC`.
pub(super) struct Asynchronous {
    file: Weak<OpenFile>,
    posts: Arc<Posts>,
    /// The descriptor by which it was switched on.
    pub(super) fd: u32,
}

impl Asynchronous {
    pub(super) fn new(file: &Arc<OpenFile>, fd: u32, posts: &Arc<Posts>) -> Arc<Asynchronous> {
        Arc::new(Asynchronous {
            file: Arc::downgrade(file),
            posts: posts.clone(),
            fd,
        })
    }
}

impl Listener for Asynchronous {
    fn changed(&self, events: i16) {
        let mut posts = self.posts.0.lock();
        // One change may be told by several queues of a file.
        let again = posts.last().is_some_and(|(file, event)| {
            file.ptr_eq(&self.file) && matches!(event, Event::Ready(told) if *told == events)
        });
        if !again {
            posts.push((self.file.clone(), Event::Ready(events)));
        }
    }
}
