//! inotify(7): what happens to files is told to those who watch them.
//!
//! Law: whoever changes or uses a file tells it behind the change, once. What was told stays in its queue
//! until it is read, at home, wherever the reader runs; an event like the last one is not told twice, and
//! what does not fit is told as lost. A watch does not keep its file: when that is over, so is the watch.

use super::super::inode::Inode;
use super::super::open::OpenFile;
use super::super::owner::Posts;
use super::super::pipe::Patience;
use crate::wait::{Stop, WaitQueue, Wakes};
use abi::Errno;
use abi::layout::POLLIN;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use spin::Mutex;

/// Events (`linux/inotify.h`).
pub(in super::super) const IN_ACCESS: u32 = 1;
pub(in super::super) const IN_MODIFY: u32 = 2;
pub(in super::super) const IN_ATTRIB: u32 = 4;
pub(in super::super) const IN_CLOSE_WRITE: u32 = 8;
pub(in super::super) const IN_CLOSE_NOWRITE: u32 = 0x10;
pub(in super::super) const IN_OPEN: u32 = 0x20;
pub(in super::super) const IN_MOVED_FROM: u32 = 0x40;
pub(in super::super) const IN_MOVED_TO: u32 = 0x80;
pub(in super::super) const IN_CREATE: u32 = 0x100;
pub(in super::super) const IN_DELETE: u32 = 0x200;
const IN_DELETE_SELF: u32 = 0x400;
pub(in super::super) const IN_MOVE_SELF: u32 = 0x800;
const IN_ALL_EVENTS: u32 = 0xfff;
const IN_UNMOUNT: u32 = 0x2000;
const IN_Q_OVERFLOW: u32 = 0x4000;
const IN_IGNORED: u32 = 0x8000;
pub(in super::super) const IN_ONLYDIR: u32 = 0x0100_0000;
pub(in super::super) const IN_DONT_FOLLOW: u32 = 0x0200_0000;
const IN_EXCL_UNLINK: u32 = 0x0400_0000;
pub(in super::super) const IN_MASK_CREATE: u32 = 0x1000_0000;
pub(in super::super) const IN_MASK_ADD: u32 = 0x2000_0000;
const IN_ISDIR: u32 = 0x4000_0000;
pub(in super::super) const IN_ONESHOT: u32 = 0x8000_0000;
/// Every bit of a mask that means something.
pub(in super::super) const IN_KNOWN: u32 = 0xf700_efff;

/// The most events of a queue (`max_queued_events`) and watches of a file (`max_user_watches`).
const EVENTS_MAX: usize = 16_384;
const WATCHES_MAX: usize = 65_536;
/// Bytes of a `struct inotify_event` without its name, and what names are padded to.
const EVENT: usize = 16;

#[derive(Clone, PartialEq, Eq)]
struct Event {
    watch: i32,
    mask: u32,
    cookie: u32,
    name: Vec<u8>,
}

impl Event {
    /// Bytes of the name as it is read, with its NULs.
    fn padded(&self) -> usize {
        match self.name.len() {
            0 => 0,
            length => (length + 1).next_multiple_of(EVENT),
        }
    }
}

struct Watch {
    inode: Weak<Inode>,
    number: u64,
    mask: u32,
}

#[derive(Default)]
struct State {
    watches: BTreeMap<i32, Watch>,
    last: i32,
    events: VecDeque<Event>,
}

/// One queue of events and what it watches.
pub(in super::super) struct NotifyFile {
    state: Mutex<State>,
    changed: WaitQueue,
    notify: Arc<Notify>,
    teller: Option<Teller>,
}

/// Who hears of events by a signal, and not by reading them: `F_NOTIFY` of fcntl(2).
pub(in super::super) struct Teller {
    pub(in super::super) file: Weak<OpenFile>,
    pub(in super::super) fd: u32,
    pub(in super::super) posts: Arc<Posts>,
}

impl Drop for NotifyFile {
    fn drop(&mut self) {
        let watches = self.state.lock().watches.len();
        self.notify.watches.fetch_sub(watches, Ordering::Relaxed);
    }
}

/// All who watch files of a node.
#[derive(Default)]
pub(in super::super) struct Notify {
    watches: AtomicUsize,
    files: Mutex<Vec<Weak<NotifyFile>>>,
    cookie: AtomicU32,
}

impl Notify {
    /// A queue that watches nothing yet.
    pub(in super::super) fn file(self: &Arc<Self>, wakes: &Wakes) -> Arc<NotifyFile> {
        self.told(wakes, None)
    }

    /// One whose events are told by signals if there is somebody to tell them.
    pub(in super::super) fn told(
        self: &Arc<Self>,
        wakes: &Wakes,
        teller: Option<Teller>,
    ) -> Arc<NotifyFile> {
        let file = Arc::new(NotifyFile {
            state: Mutex::default(),
            changed: WaitQueue::new(wakes),
            notify: self.clone(),
            teller,
        });
        let mut files = self.files.lock();
        files.retain(|file| file.strong_count() > 0);
        files.push(Arc::downgrade(&file));
        file
    }

    /// What tells the two halves of a rename from other events.
    pub(in super::super) fn new_cookie(&self) -> u32 {
        self.cookie
            .fetch_add(1, Ordering::Relaxed)
            .wrapping_add(1)
            .max(1)
    }

    /// Whether any file is watched.
    pub(in super::super) fn is_watching(&self) -> bool {
        self.watches.load(Ordering::Relaxed) != 0
    }

    fn for_each(&self, tell: impl Fn(&NotifyFile)) {
        if !self.is_watching() {
            return;
        }
        let files: Vec<Arc<NotifyFile>> =
            self.files.lock().iter().filter_map(Weak::upgrade).collect();
        files.iter().for_each(|file| tell(file));
    }

    /// Something has happened to a file: who watches a directory that it is in is told with its name,
    /// then who watches the file. `place` is where it was opened, for a file that has lost its name.
    pub(in super::super) fn tell(&self, inode: &Inode, event: u32, place: Option<(&Inode, &[u8])>) {
        let event = event | directory_bit(inode);
        self.for_each(|file| {
            file.tell_around(inode, event, place);
            file.tell_self(inode, event);
        });
    }

    /// The same, for those only who watch the file itself.
    pub(in super::super) fn tell_itself(&self, inode: &Inode, event: u32) {
        // Of a move a directory is not told that it is one.
        let event = match event {
            IN_MOVE_SELF => event,
            _ => event | directory_bit(inode),
        };
        self.for_each(|file| file.tell_self(inode, event));
    }

    /// Something has happened to a name in a directory; `mask` has the event and the file's
    /// [`directory_bit`].
    pub(in super::super) fn tell_name(
        &self,
        directory: &Inode,
        name: &[u8],
        mask: u32,
        cookie: u32,
    ) {
        self.for_each(|file| {
            let number = directory.number();
            file.each_watch(number, (mask, 0), |watch| Event {
                watch,
                mask,
                cookie,
                name: name.to_vec(),
            });
        });
    }

    /// A file is over: nobody has it open, and it has no name.
    pub(in super::super) fn gone(&self, number: u64) {
        self.for_each(|file| file.lose(number, IN_DELETE_SELF));
    }

    /// The file system that a file is in is unmounted.
    pub(in super::super) fn unmounted(&self, number: u64) {
        if self.is_watching() {
            self.for_each(|file| file.lose(number, IN_UNMOUNT));
        }
    }
}

/// What every event of a directory has besides.
pub(in super::super) fn directory_bit(inode: &Inode) -> u32 {
    if inode.is_directory() { IN_ISDIR } else { 0 }
}

impl NotifyFile {
    /// Watches a file, or changes how it is watched.
    pub(in super::super) fn watch(&self, inode: &Arc<Inode>, mask: u32) -> Result<i32, Errno> {
        let mut state = self.state.lock();
        let kept = mask & (IN_ALL_EVENTS | IN_ONESHOT | IN_EXCL_UNLINK);
        let number = inode.number();
        let known = state
            .watches
            .iter_mut()
            .find(|(_, held)| held.number == number);
        if let Some((watch, held)) = known {
            if mask & IN_MASK_CREATE != 0 {
                return Err(Errno::EEXIST);
            }
            held.mask = kept
                | if mask & IN_MASK_ADD != 0 {
                    held.mask
                } else {
                    0
                };
            return Ok(*watch);
        }
        if state.watches.len() >= WATCHES_MAX {
            return Err(Errno::ENOSPC);
        }
        let watch = state.last.checked_add(1).ok_or(Errno::ENOSPC)?;
        state.last = watch;
        let held = Watch {
            inode: Arc::downgrade(inode),
            number,
            mask: kept,
        };
        state.watches.insert(watch, held);
        self.notify.watches.fetch_add(1, Ordering::Relaxed);
        Ok(watch)
    }

    /// What is watched: number, file and events.
    pub(in super::super) fn watches(&self) -> Vec<(i32, Arc<Inode>, u32)> {
        let state = self.state.lock();
        let rows = state.watches.iter();
        rows.filter_map(|(watch, held)| Some((*watch, held.inode.upgrade()?, held.mask)))
            .collect()
    }

    /// Watches a file no longer.
    pub(in super::super) fn forget(&self, watch: i32) -> Result<(), Errno> {
        let mut state = self.state.lock();
        if !state.watches.contains_key(&watch) {
            return Err(Errno::EINVAL);
        }
        self.end_watch(&mut state, watch);
        Ok(())
    }

    fn end_watch(&self, state: &mut State, watch: i32) {
        state.watches.remove(&watch);
        self.notify.watches.fetch_sub(1, Ordering::Relaxed);
        self.push(
            state,
            Event {
                watch,
                mask: IN_IGNORED,
                cookie: 0,
                name: Vec::new(),
            },
        );
    }

    fn push(&self, state: &mut State, event: Event) {
        if let Some(teller) = &self.teller {
            if event.mask & IN_ALL_EVENTS != 0 {
                teller.posts.noticed(&teller.file, teller.fd);
            }
            return;
        }
        let alike = |last: &Event| {
            (last.watch, last.mask, &last.name) == (event.watch, event.mask, &event.name)
        };
        if event.mask & IN_IGNORED == 0 && state.events.back().is_some_and(alike) {
            return;
        }
        if state.events.len() >= EVENTS_MAX {
            let lost = |last: &Event| last.mask & IN_Q_OVERFLOW != 0;
            if !state.events.back().is_some_and(lost) {
                state.events.push_back(Event {
                    watch: -1,
                    mask: IN_Q_OVERFLOW,
                    cookie: 0,
                    name: Vec::new(),
                });
            }
            return;
        }
        state.events.push_back(event);
        self.changed.wake_for(POLLIN);
    }

    /// Tells every watch of a file that wants such events, but for those whose mask has a bit of `not`.
    fn each_watch(&self, number: u64, (event, not): (u32, u32), make: impl Fn(i32) -> Event) {
        let mut state = self.state.lock();
        let wanting = state
            .watches
            .iter()
            .filter(|(_, held)| held.number == number && held.mask & not == 0)
            .find(|(_, held)| held.mask & event & IN_ALL_EVENTS != 0)
            .map(|(watch, held)| (*watch, held.mask & IN_ONESHOT != 0));
        if let Some((watch, once)) = wanting {
            self.push(&mut state, make(watch));
            if once {
                self.end_watch(&mut state, watch);
            }
        }
    }

    fn tell_self(&self, inode: &Inode, mask: u32) {
        let by_file = IN_ACCESS | IN_MODIFY | IN_OPEN | IN_CLOSE_WRITE | IN_CLOSE_NOWRITE;
        let lost = mask & by_file != 0 && inode.attributes().links == 0;
        let not = if lost { IN_EXCL_UNLINK } else { 0 };
        self.each_watch(inode.number(), (mask, not), |watch| Event {
            watch,
            mask,
            cookie: 0,
            name: Vec::new(),
        });
    }

    fn tell_around(&self, inode: &Inode, mask: u32, place: Option<(&Inode, &[u8])>) {
        let found: Vec<(u64, Vec<u8>)> = {
            let state = self.state.lock();
            let wanting = state
                .watches
                .values()
                .filter(|held| held.mask & mask & IN_ALL_EVENTS != 0);
            wanting
                .filter_map(|held| Some((held.number, name_in(held, inode, place)?)))
                .collect()
        };
        for (number, name) in found {
            self.each_watch(number, (mask, 0), |watch| Event {
                watch,
                mask,
                cookie: 0,
                name: name.clone(),
            });
        }
    }

    fn lose(&self, number: u64, event: u32) {
        let mut state = self.state.lock();
        let found = state.watches.iter().find(|(_, held)| held.number == number);
        let Some((watch, mask)) = found.map(|(watch, held)| (*watch, held.mask)) else {
            return;
        };
        // Whether it wants to or not, a watch hears of the unmounting.
        if (mask | IN_UNMOUNT) & event != 0 {
            self.push(
                &mut state,
                Event {
                    watch,
                    mask: event,
                    cookie: 0,
                    name: Vec::new(),
                },
            );
        }
        self.end_watch(&mut state, watch);
    }

    pub(super) fn queue(&self) -> &WaitQueue {
        &self.changed
    }

    /// As many whole events as there is room for.
    pub(super) fn read(&self, room: usize, patience: Patience) -> Result<Vec<u8>, Stop> {
        let mut state = self.state.lock();
        if state.events.is_empty() {
            return Err(patience.stop(&self.changed));
        }
        let mut bytes = Vec::new();
        while let Some(event) = state.events.front() {
            let padded = event.padded();
            if bytes.len() + EVENT + padded > room {
                break;
            }
            bytes.extend_from_slice(&event.watch.to_le_bytes());
            for word in [event.mask, event.cookie, padded as u32] {
                bytes.extend_from_slice(&word.to_le_bytes());
            }
            let end = bytes.len() + padded;
            bytes.extend_from_slice(&event.name);
            bytes.resize(end, 0);
            state.events.pop_front();
        }
        if bytes.is_empty() {
            return Err(Errno::EINVAL.into());
        }
        Ok(bytes)
    }

    pub(super) fn ready(&self) -> i16 {
        if self.state.lock().events.is_empty() {
            0
        } else {
            POLLIN
        }
    }

    /// Bytes that could be read (`FIONREAD`).
    pub(in super::super) fn available(&self) -> usize {
        let state = self.state.lock();
        state
            .events
            .iter()
            .map(|event| EVENT + event.padded())
            .sum()
    }
}

/// The name of a file in a watched directory.
fn name_in(watch: &Watch, inode: &Inode, place: Option<(&Inode, &[u8])>) -> Option<Vec<u8>> {
    let directory = watch.inode.upgrade()?;
    let names = directory.directory()?;
    let mut all = names.list(0);
    if let Some(entry) = all.find(|entry| core::ptr::eq(Arc::as_ptr(entry.2), inode)) {
        return Some(entry.1.to_vec());
    }
    let (parent, name) = place?;
    let lost = inode.attributes().links == 0 && watch.mask & IN_EXCL_UNLINK == 0;
    (lost && core::ptr::eq(Arc::as_ptr(&directory), parent)).then(|| name.to_vec())
}
