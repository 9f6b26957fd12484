//! epoll(7): sets of open files, and which of them have become ready.
//!
//! Law: as in Linux, a file that changes goes to the ready list, and whoever waits asks each file of
//! that list what is the case now. A file that is level-triggered stays in the list as long as it is
//! ready; one that is edge-triggered comes back by its next change only. The set holds no file open: one that is
//! closed leaves its sets. What has left a set is only skipped in its ready list.
//! No lock of a set is held while a file is asked, so sets may watch sets; cycles are refused.

use super::super::inode::Node;
use super::super::open::OpenFile;
use super::{Asker, Object};
use crate::wait::{Listener, WaitQueue, Wakes};
use abi::Errno;
use abi::layout::{POLLERR, POLLHUP, POLLIN, POLLRDNORM};
use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use spin::Mutex;

// `linux/eventpoll.h`.
const EXCLUSIVE: u32 = 1 << 28;
const WAKEUP: u32 = 1 << 29;
const ONESHOT: u32 = 1 << 30;
const EDGE: u32 = 1 << 31;
const PRIVATE: u32 = EXCLUSIVE | WAKEUP | ONESHOT | EDGE;
/// What may go with `EXCLUSIVE`.
const EXCLUSIVE_OK: u32 = 0x1 | 0x4 | POLLERR as u32 | POLLHUP as u32 | WAKEUP | EDGE | EXCLUSIVE;
/// How many sets may be in a row, each watching the next (as `EP_MAX_NESTS` makes it).
const ROW_MAX: usize = 5;
/// How many sets may watch one set: a change is told along every path.
const WATCHERS_MAX: usize = 10;

/// What is done to a set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in super::super) enum Change {
    Add(Watched),
    Modify(Watched),
    Delete,
}

/// What is wanted of a file: `struct epoll_event`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in super::super) struct Watched {
    pub(in super::super) events: u32,
    pub(in super::super) data: u64,
}

impl Watched {
    /// Errors and ends are told unasked.
    fn always(self) -> Watched {
        let events = self.events | (POLLERR | POLLHUP) as u32;
        Watched { events, ..self }
    }
}

struct ItemState {
    wanted: Watched,
    /// Whether it is in the ready list.
    listed: bool,
}

/// One file of a set.
pub(in super::super) struct Item {
    set: Weak<Epoll>,
    me: Weak<Item>,
    key: Key,
    file: Weak<OpenFile>,
    state: Mutex<ItemState>,
}

impl Item {
    /// What of the wanted things is the case.
    fn ready(&self, asker: &Asker) -> u32 {
        let events = self.state.lock().wanted.events;
        if events & !PRIVATE == 0 {
            return 0;
        }
        let wanted = events & !PRIVATE;
        let file = self.file.upgrade();
        file.map_or(0, |file| file.ready(asker) as u16 as u32 & wanted)
    }

    /// The file was closed.
    pub(in super::super) fn closed(&self) {
        if let Some(set) = self.set.upgrade() {
            set.forget(self.key);
        }
    }

    /// Puts it into the ready list.
    fn list(&self) {
        let mut state = self.state.lock();
        if core::mem::replace(&mut state.listed, true) {
            return;
        }
        drop(state);
        if let (Some(set), Some(me)) = (self.set.upgrade(), self.me.upgrade()) {
            set.ready.lock().push_back(me);
        }
    }
}

impl Listener for Item {
    fn changed(&self, events: i16) {
        let wanted = self.state.lock().wanted.events;
        if wanted & !PRIVATE == 0 {
            return;
        }
        if events as u16 as u32 & wanted == 0 {
            return;
        }
        self.list();
        if let Some(set) = self.set.upgrade() {
            set.changed.wake_for(POLLIN | POLLRDNORM);
        }
    }
}

/// A file in a set: the descriptor it was added by, and which open file that was.
type Key = (u32, usize);

/// A set of open files.
pub(in super::super) struct Epoll {
    me: Weak<Epoll>,
    items: Mutex<BTreeMap<Key, Arc<Item>>>,
    ready: Mutex<VecDeque<Arc<Item>>>,
    changed: WaitQueue,
    /// Sets that watch this one, or did.
    watchers: Mutex<Vec<Weak<Epoll>>>,
}

/// The set that an open file is.
pub(in super::super) fn set_of(file: &OpenFile) -> Option<&Arc<Epoll>> {
    match file.inode().node() {
        Node::Object(Object::Epoll(set)) => Some(set),
        _ => None,
    }
}

impl Epoll {
    pub(in super::super) fn new(wakes: &Wakes) -> Arc<Epoll> {
        Arc::new_cyclic(|me| Epoll {
            me: me.clone(),
            items: Mutex::new(BTreeMap::new()),
            ready: Mutex::new(VecDeque::new()),
            changed: WaitQueue::new(wakes),
            watchers: Mutex::new(Vec::new()),
        })
    }

    pub(in super::super) fn queue(&self) -> &WaitQueue {
        &self.changed
    }

    /// What it watches: descriptor, what is wanted, and the file.
    pub(in super::super) fn watched(&self) -> Vec<(u32, Watched, Arc<OpenFile>)> {
        let items = self.items.lock();
        let rows = items.iter().filter_map(|(key, item)| {
            let wanted = item.state.lock().wanted;
            Some((key.0, wanted, item.file.upgrade()?))
        });
        rows.collect()
    }

    /// Forgets a file. Where it is in the ready list it is nothing from now on.
    fn forget(&self, key: Key) {
        let Some(item) = self.items.lock().remove(&key) else {
            return;
        };
        item.state.lock().wanted.events = 0;
        let left = self.items.lock().len();
        let mut ready = self.ready.lock();
        // Few enough are skipped for the list not to be looked through each time.
        if ready.len() > 2 * left + 16 {
            ready.retain(|item| item.state.lock().wanted.events != 0);
        }
    }

    /// The sets in this one.
    fn sets(&self) -> Vec<Arc<Epoll>> {
        let items: Vec<_> = self.items.lock().values().cloned().collect();
        let files = items.iter().filter_map(|item| item.file.upgrade());
        files.filter_map(|file| set_of(&file).cloned()).collect()
    }

    /// The sets that watch this one now.
    fn watched_by(&self) -> Vec<Arc<Epoll>> {
        let mut known = self.watchers.lock();
        let watches =
            |set: &Arc<Epoll>| set.sets().iter().any(|inner| core::ptr::eq(&**inner, self));
        let now: Vec<_> = known.iter().filter_map(Weak::upgrade).collect();
        let now: Vec<_> = now.into_iter().filter(watches).collect();
        *known = now.iter().map(Arc::downgrade).collect();
        now
    }

    /// Whether this set may watch another.
    fn check_nesting(&self, inner: &Arc<Epoll>) -> Result<(), Errno> {
        let me = self.me.upgrade().ok_or(Errno::EINVAL)?;
        let below = rows(inner, Some(self), Epoll::sets).ok_or(Errno::ELOOP)?;
        let above = rows(&me, None, Epoll::watched_by).ok_or(Errno::ELOOP)?;
        if above + below > ROW_MAX {
            return Err(Errno::ELOOP);
        }
        if inner.watched_by().len() >= WATCHERS_MAX {
            return Err(Errno::EINVAL);
        }
        Ok(())
    }

    /// epoll_ctl(2).
    pub(in super::super) fn change(
        &self,
        fd: u32,
        file: &Arc<OpenFile>,
        change: Change,
        asker: &Asker,
    ) -> Result<(), Errno> {
        let inner = set_of(file);
        if inner.is_some_and(|inner| core::ptr::eq(&**inner, self)) {
            return Err(Errno::EINVAL);
        }
        let known = self.items.lock().get(&(fd, key_of(file))).cloned();
        match (change, known) {
            (Change::Modify(wanted), _) if wanted.events & EXCLUSIVE != 0 => Err(Errno::EINVAL),
            (Change::Add(wanted), known) => {
                let exclusive = wanted.events & EXCLUSIVE != 0;
                if exclusive && (inner.is_some() || wanted.events & !EXCLUSIVE_OK != 0) {
                    return Err(Errno::EINVAL);
                }
                if let Some(inner) = inner {
                    self.check_nesting(inner)?;
                }
                if known.is_some() {
                    return Err(Errno::EEXIST);
                }
                if let Some(inner) = inner {
                    inner.watchers.lock().push(self.me.clone());
                }
                self.add(fd, file, wanted, asker);
                Ok(())
            }
            (_, None) => Err(Errno::ENOENT),
            (Change::Modify(wanted), Some(item)) => {
                if item.state.lock().wanted.events & EXCLUSIVE != 0 {
                    return Err(Errno::EINVAL);
                }
                item.state.lock().wanted = wanted.always();
                self.look(&item, asker);
                Ok(())
            }
            (Change::Delete, Some(item)) => {
                self.forget(item.key);
                Ok(())
            }
        }
    }

    fn add(&self, fd: u32, file: &Arc<OpenFile>, wanted: Watched, asker: &Asker) {
        let item = Arc::new_cyclic(|me| Item {
            set: self.me.clone(),
            me: me.clone(),
            key: (fd, key_of(file)),
            file: Arc::downgrade(file),
            state: Mutex::new(ItemState {
                wanted: wanted.always(),
                listed: false,
            }),
        });
        file.listen(asker, &(Arc::downgrade(&item) as Weak<dyn Listener>));
        file.enter_set(&item);
        self.items.lock().insert(item.key, item.clone());
        self.look(&item, asker);
    }

    /// Lists a file that is ready already.
    fn look(&self, item: &Item, asker: &Asker) {
        if item.ready(asker) != 0 {
            item.list();
            self.changed.wake_for(POLLIN | POLLRDNORM);
        }
    }

    /// Up to `most` files that are ready. Those that are level-triggered will be looked at again.
    pub(in super::super) fn take(&self, most: usize, asker: &Asker) -> Vec<Watched> {
        let mut listed = core::mem::take(&mut *self.ready.lock());
        let mut found = Vec::new();
        let mut again = Vec::new();
        while found.len() < most
            && let Some(item) = listed.pop_front()
        {
            item.state.lock().listed = false;
            let events = item.ready(asker);
            if events == 0 {
                continue;
            }
            let mut state = item.state.lock();
            let wanted = state.wanted;
            found.push(Watched { events, ..wanted });
            if wanted.events & ONESHOT != 0 {
                state.wanted.events &= PRIVATE;
            } else if wanted.events & EDGE == 0 {
                state.listed = true;
                drop(state);
                again.push(item);
            }
        }
        // What was not looked at comes first; what has come meanwhile, and what was seen, behind it.
        let mut ready = self.ready.lock();
        listed.extend(ready.drain(..));
        listed.extend(again);
        *ready = listed;
        found
    }

    /// Whether a wait would find something. What is not ready any more leaves the list.
    pub(super) fn ready(&self, asker: &Asker) -> i16 {
        loop {
            let Some(first) = self.ready.lock().front().cloned() else {
                return 0;
            };
            if first.ready(asker) != 0 {
                return POLLIN | POLLRDNORM;
            }
            first.state.lock().listed = false;
            self.ready.lock().pop_front();
        }
    }
}

/// How many sets are in the longest row from here; `None` if `root` is in one, or it is too long.
fn rows(
    from: &Arc<Epoll>,
    root: Option<&Epoll>,
    next: fn(&Epoll) -> Vec<Arc<Epoll>>,
) -> Option<usize> {
    let mut layer = alloc::vec![from.clone()];
    for length in 1..=ROW_MAX {
        if layer
            .iter()
            .any(|set| root.is_some_and(|root| core::ptr::eq(&**set, root)))
        {
            return None;
        }
        let mut below: Vec<_> = layer.iter().flat_map(|set| next(set)).collect();
        below.sort_by_key(|set| Arc::as_ptr(set).addr());
        below.dedup_by(|one, other| Arc::ptr_eq(one, other));
        if below.is_empty() {
            return Some(length);
        }
        layer = below;
    }
    None
}

fn key_of(file: &Arc<OpenFile>) -> usize {
    Arc::as_ptr(file).addr()
}
