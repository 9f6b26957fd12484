//! Memory that processes on several nodes share.
//!
//! Law: home has the object, and each page of it is there or lent to one process elsewhere. Who wants a page that is
//! lent, at home or elsewhere, waits until home has called it back; so all see the writes of all in one order, which is
//! the order in which home lends. What a process has been lent is its own until it gives it back, and travels with it
//! like all that is its own; it gives it back when home asks (not at once: who has waited for a page is to get something
//! done with it), when it unmaps it, becomes another program or ends, and by coming home. A page comes home on the lane
//! of the process's calls, so it is there before anything that the process says later. If a process is lost, its pages
//! are as they were when they were lent: everything that anybody has seen of them has been home since.

use crate::body::Effects;
use crate::dispatch::{CALL_COME_HOME, HomeCall, LocalCall, wire_pid};
use crate::home::Home;
use crate::memory::{FetchStop, GivesBack, Held, Part, SharedObject, Space, Trouble};
use crate::system::System;
use crate::wait::Stop;
use abi::Errno;
use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use machine::Frame;
use node::{Lane, PageTag};
use wire::{BootId, Message, NodeId, Pid};

/// Shared objects that a process can have while it is elsewhere: their numbers have to fit into a page's tag.
const OBJECTS_MAX: usize = 1 << (62 - OBJECT_SHIFT);
/// Pages of an object that have numbers elsewhere.
const PAGES_MAX: u64 = 1 << (OBJECT_SHIFT - 12);
/// How long a process has a page before home gets it back, ns.
const HOLD_NS: u64 = if cfg!(test) { 0 } else { 1_000_000 };
/// How long home waits for a page before it asks again, ns: who had it may have moved.
const AGAIN_NS: u64 = 20_000_000;
/// How long until it is looked again whether a page that is on its way has come, ns.
const LOOK_NS: u64 = 1_000_000;
/// Most pages that are lent with one that is asked for.
pub(crate) const LENT_AT_ONCE: u64 = 16;

/// The shared objects of a process, by the numbers that its areas name them by elsewhere.
#[derive(Clone, Default)]
pub struct SharedObjects {
    known: Vec<Weak<SharedObject>>,
    /// While the process is elsewhere nothing but this keeps them.
    kept: Vec<Arc<SharedObject>>,
}

impl SharedObjects {
    /// The number of an object, a new one if it has none. `None` if there are too many.
    fn name(&mut self, object: &Arc<SharedObject>) -> Option<u32> {
        let known = self
            .number_of(object.identity())
            .map(|known| known as usize);
        let over = || {
            self.known
                .iter()
                .position(|known| known.strong_count() == 0)
        };
        let number = known.or_else(over).unwrap_or(self.known.len());
        if number == self.known.len() {
            if number >= OBJECTS_MAX {
                return None;
            }
            self.known.push(Weak::new());
        }
        self.known[number] = Arc::downgrade(object);
        Some(number as u32)
    }

    fn number_of(&self, identity: usize) -> Option<u32> {
        let alive = |known: &Weak<SharedObject>| {
            known.strong_count() > 0 && known.as_ptr().addr() == identity
        };
        self.known
            .iter()
            .position(alive)
            .map(|number| number as u32)
    }

    fn get(&self, number: u32) -> Option<Arc<SharedObject>> {
        self.known.get(number as usize)?.upgrade()
    }

    /// The process is elsewhere.
    fn keep(&mut self) {
        self.kept = self.known.iter().filter_map(Weak::upgrade).collect();
    }

    /// Whether the process shares memory while it is elsewhere.
    pub(crate) fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }
}

/// With [`FILE_PAGES`](crate::ahead::FILE_PAGES), in a tag: a page that a process gives back.
const RETURNED: u64 = 1 << 62;
/// The number of its object is in the tag above that of the page.
const OBJECT_SHIFT: u32 = 50;

/// The place in a tag of a page that a process gives back.
fn returned_page(object: u32, index: u64) -> u64 {
    crate::ahead::FILE_PAGES | RETURNED | u64::from(object) << OBJECT_SHIFT | index << 12
}

/// The reverse: object and page, if a tag is of such a page.
pub(crate) fn returned_part(page: u64) -> Option<Part> {
    let is = crate::ahead::FILE_PAGES | RETURNED;
    let object = (page & (RETURNED - 1)) >> OBJECT_SHIFT;
    let index = (page & ((1 << OBJECT_SHIFT) - 1)) >> 12;
    (page & is == is).then_some((object as u32, index))
}

/// Something that is due: when, for which process, and for which page. Home asks for it again, the process gives it back; a process
/// that stands still looks whether what it gave back has arrived.
pub(crate) type Errand = (u64, u32, Option<Part>);

// ---- home's side -------------------------------------------------------------------------------

impl Home {
    /// Whether its process is elsewhere and shares memory, which ends with this boot of its home.
    pub fn shares_memory(&self) -> bool {
        !self.shared.is_empty()
    }
}

impl System {
    /// The home part of a process and its memory, if both are here.
    fn both_at_home(&mut self, pid: u32) -> Option<(&mut Home, &mut Space)> {
        let space = self.spaces.get_mut(self.bodies.get(&pid)?.space)?;
        Some((self.homes.get_mut(&pid)?, space))
    }

    /// Gives the shared memory of a process that is at home the names by which it is known elsewhere.
    pub(crate) fn name_shared(&mut self, pid: u32) {
        let Some((home, space)) = self.both_at_home(pid) else {
            return;
        };
        for object in space.shared_objects() {
            if let Some(number) = home.shared.name(&object) {
                space.name_object(&object, number);
            }
        }
    }

    /// Home has decided where a process is. Elsewhere nobody but its home part keeps what it shares; so it does for one that has
    /// just come, until [`System::share_at_home`].
    pub(crate) fn keep_shared(&mut self, pid: u32) {
        let me = self.me;
        let stays = self.space_of(pid).is_some_and(|space| !space.is_lent());
        let Some(home) = self.homes.get_mut(&pid) else {
            return;
        };
        if home.record.gate().owner() == me {
            if stays {
                home.shared.kept.clear();
            }
            return;
        }
        home.shared.keep();
        if !home.shared.is_empty() {
            self.keeper.touch(pid);
        }
    }

    /// A process is at home for good: what it shares is here again, and its memory keeps it.
    pub(crate) fn share_at_home(&mut self, pid: u32) {
        if let Some((home, space)) = self.both_at_home(pid) {
            space.come_home(pid, |number| home.shared.get(number));
            home.shared.kept.clear();
            self.pages_are_back();
        }
    }

    /// A process is over, or another program: what it was lent is home's.
    pub(crate) fn release_shared(&mut self, pid: u32) {
        let Some(home) = self.homes.get_mut(&pid) else {
            return;
        };
        let shared = core::mem::take(&mut home.shared);
        let objects = shared.known.iter().filter_map(Weak::upgrade);
        if objects.fold(false, |any, object| any | object.release(pid)) {
            self.pages_are_back();
        }
    }

    /// Whoever waits for a page looks again.
    fn pages_are_back(&mut self) {
        for tid in core::mem::take(&mut self.await_shared) {
            self.wakes.push(tid);
        }
    }

    /// A thread, or the call of one, needs a page that a process elsewhere has.
    pub(crate) fn recall(&mut self, tid: u32, held: Held) -> Stop {
        let home = self.homes.get(&held.by);
        let Some(number) = home.and_then(|home| home.shared.number_of(held.object)) else {
            return Stop::Errno(Errno::EFAULT);
        };
        if !self.await_shared.contains(&tid) {
            self.await_shared.push(tid);
        }
        if !self.has_errand(held.by, Some((number, held.page))) {
            self.ask_back(held.by, number, held.page);
        }
        Stop::Wait
    }

    /// Whether something is due for a process, or for a page of it.
    fn has_errand(&self, pid: u32, part: Option<Part>) -> bool {
        let same = |errand: &Errand| (errand.1, errand.2) == (pid, part);
        self.errands.iter().any(same)
    }

    /// Looks after a page, or a process, in a while, unless that is noted already.
    fn later(&mut self, ns: u64, pid: u32, part: Option<Part>) {
        if !self.has_errand(pid, part) {
            let due = self.now.saturating_add(ns);
            self.errands.insert((due, pid, part));
        }
    }

    /// Asks a process for a page, until it is back.
    fn ask_back(&mut self, pid: u32, number: u32, page: u64) {
        let Some(home) = self.homes.get(&pid) else {
            return self.pages_are_back();
        };
        let object = home.shared.get(number);
        if object.is_none_or(|object| object.holder(page) != Some(pid)) {
            return self.pages_are_back();
        }
        let gate = home.record.gate();
        let (owner, epoch) = (gate.owner(), gate.epoch());
        if owner == self.me {
            // It comes with the rest of its memory.
            return self.later(LOOK_NS, pid, Some((number, page)));
        }
        self.later(AGAIN_NS, pid, Some((number, page)));
        let recall = Message::Recall {
            pid: wire_pid(pid),
            epoch,
            object: number,
            page,
        };
        self.send(owner, recall);
    }

    /// A process gives a page back, or says that it has none.
    pub(crate) fn given_back(
        &mut self,
        (from, boot): (NodeId, BootId),
        (pid, epoch): (Pid, u64),
        (object, page): Part,
        frame: Option<Frame>,
    ) {
        let Some(home) = self.homes.get(&pid.0) else {
            return;
        };
        if !home.record.gate().is_owner(from, boot, epoch) {
            return;
        }
        let object = home.shared.get(object);
        if object.is_some_and(|object| object.give_back(page, pid.0, frame)) {
            self.pages_are_back();
        }
    }

    /// Sends a page of an object to the process elsewhere that asks for it, and with it those behind that nobody here uses.
    /// Returns how many.
    fn lend_shared(
        &mut self,
        (pid, tid): (u32, u32),
        number: u64,
        index: u64,
    ) -> Result<u64, Stop> {
        let home = self.homes.get(&pid).ok_or(Errno::ESRCH)?;
        let number = u32::try_from(number).map_err(|_| Errno::EFAULT)?;
        let object = home.shared.get(number).ok_or(Errno::EFAULT)?;
        let gate = home.record.gate();
        let (owner, epoch) = (gate.owner(), gate.epoch());
        if index >= PAGES_MAX || owner == self.me {
            return Err(Errno::EFAULT.into());
        }
        // What they show may be news.
        self.call_back_changed();
        let most = self.room_for_pages(owner).clamp(1, LENT_AT_ONCE);
        for sent in 0..most {
            let at = index + sent;
            let idle = object.is_idle(at);
            if sent > 0 && !idle {
                return Ok(sent);
            }
            let frame = match object.lend(at, pid) {
                Ok(frame) => frame,
                Err(_) if sent > 0 => return Ok(sent),
                Err(FetchStop::Held(held)) => return Err(self.recall(tid, held)),
                Err(_) => return Err(Errno::ENOMEM.into()),
            };
            if !idle {
                self.spaces.unmap_object(object.identity(), at);
            }
            let tag = crate::ahead::answered_page((pid, epoch), sent);
            self.send_page(owner, Lane::Urgent, tag, frame);
        }
        Ok(most)
    }
}

/// Why what has arrived at a node with these homes cannot be a process of one of them, if it shares memory.
pub(crate) fn check_shared(
    homes: &BTreeMap<u32, Home>,
    pid: u32,
    space: &Space,
) -> Result<(), &'static str> {
    match homes.get(&pid) {
        Some(home) => space.check_lent(pid, |number| home.shared.get(number)),
        None => Ok(()),
    }
}

/// Pages of shared memory: `(object, page)`. The value is how many come before the answer.
pub(crate) fn lend(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    let [object, index, ..] = call.args;
    let who = (call.pid, call.tid);
    call.system.lend_shared(who, object, index)
}

/// The process is to be at home, where its next call can be answered.
pub(crate) fn come_home(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    call.system.bring_home(call.pid, call.tid)?;
    Ok(0)
}

// ---- the body's side ---------------------------------------------------------------------------

impl System {
    /// Home wants a page back.
    pub(crate) fn recalled(&mut self, from: NodeId, (pid, epoch): (Pid, u64), part: Part) {
        let Some(body) = self.bodies.get(&pid.0) else {
            return;
        };
        if body.home != from || body.epoch != epoch || from == self.me {
            return;
        }
        let since = body.lent_since.get(&part).copied().unwrap_or(0);
        match since.saturating_add(HOLD_NS).saturating_sub(self.now) {
            0 => self.obey_recall(pid.0, part),
            left => self.later(left, pid.0, Some(part)),
        }
    }

    /// Gives a page back that home has asked for.
    fn obey_recall(&mut self, pid: u32, part: Part) {
        let (object, page) = part;
        let Some(body) = self.bodies.get(&pid).filter(|body| may_speak(body.effects)) else {
            // Home asks again.
            return;
        };
        if body.freezing {
            // What leaves now could arrive when its process is elsewhere by home's record.
            return self.later(LOOK_NS, pid, Some(part));
        }
        let (home, epoch) = (body.home, body.epoch);
        let Some(space) = self.space_mut(pid) else {
            return;
        };
        match space.take_lent(object, page) {
            GivesBack::Page(frame) => self.give_back(pid, part, frame),
            GivesBack::Later => self.later(LOOK_NS, pid, Some(part)),
            GivesBack::Nothing if self.is_about_to_come(pid, part) => {
                self.later(LOOK_NS, pid, Some(part));
            }
            GivesBack::Nothing => {
                let missing = Message::NotLent {
                    pid: wire_pid(pid),
                    epoch,
                    object,
                    page,
                };
                self.send(home, missing);
            }
        }
    }

    fn give_back(&mut self, pid: u32, part: Part, frame: Frame) {
        let body = self.body(pid);
        body.lent_since.remove(&part);
        let tag = PageTag {
            pid: wire_pid(pid),
            epoch: body.epoch,
            page: returned_page(part.0, part.1),
        };
        let home = body.home;
        self.send_page(home, Lane::Urgent, tag, frame);
    }

    /// Whether what a process that stands still has given back is at home, where what it says from another node could overtake it. If
    /// it may not be, the process looks again.
    pub(crate) fn is_given_back(&mut self, pid: u32) -> bool {
        let home = self.body(pid).home;
        let is_there = home == self.me || !self.is_telling(home, wire_pid(pid));
        if !is_there {
            self.later(LOOK_NS, pid, None);
        }
        is_there
    }

    /// Does what is due about shared pages.
    pub(crate) fn errands_due(&mut self) {
        while let Some((due, pid, part)) = self.errands.first().copied() {
            if due > self.now {
                return;
            }
            self.errands.pop_first();
            let elsewhere = |home: NodeId| home != self.me;
            match (self.bodies.get(&pid), part) {
                (Some(body), Some(part)) if elsewhere(body.home) => self.obey_recall(pid, part),
                (_, Some((object, page))) => self.ask_back(pid, object, page),
                (body, None) => {
                    if let Some(tid) = body.and_then(|body| body.threads.first()) {
                        self.wakes.push(*tid);
                    }
                }
            }
        }
    }

    /// The pages came that a thread has asked for: `page` shows the first of them.
    pub(crate) fn lent_pages_came(
        &mut self,
        pid: u32,
        page: u64,
        (object, index): Part,
        came: Vec<Frame>,
    ) {
        let now = self.now;
        let body = self.body(pid);
        body.lent_since.retain(|_, since| *since + HOLD_NS > now);
        for (behind, frame) in (0..).zip(came) {
            let part = (object, index + behind);
            let page = page.saturating_add(behind * machine::PAGE_SIZE as u64);
            self.body(pid).lent_since.insert(part, now);
            if let Some(space) = self.space_mut(pid) {
                // What finds no place is as home has it: nobody has written to it.
                space.install_lent(page, part, frame);
            }
        }
    }
}

/// Whether home believes what a body sends.
fn may_speak(effects: Effects) -> bool {
    effects == Effects::Open
}

impl LocalCall<'_> {
    /// Gives back what home has lent in a range that the process is about to give up.
    pub(crate) fn surrender(&mut self, from: u64, to: u64) -> Result<(), Stop> {
        let me = self.system.me;
        let tid = self.tid;
        loop {
            let Some(space) = self.system.space_of(self.pid) else {
                // Who has no memory, as a child that nobody knows of, has nothing to give.
                return Ok(());
            };
            if let Some(page) = space.next_coming_home(from, to) {
                return Err(self.system.trouble(tid, Trouble::Absent { page }));
            }
            let Some((page, object, index)) = space.next_lent(from, to) else {
                return Ok(());
            };
            let body = self.body();
            let home = body.home;
            if home == me {
                return Ok(());
            }
            if !may_speak(body.effects) {
                return Err(Stop::Wait);
            }
            if self.system.room_for_pages(home) == 0 {
                let soon = self.clock() + LOOK_NS;
                self.system.set_alarm(tid, soon);
                return Err(Stop::Wait);
            }
            match self.space()?.take_lent(object, index) {
                GivesBack::Page(frame) => {
                    let pid = self.pid;
                    self.system.give_back(pid, (object, index), frame);
                }
                GivesBack::Later | GivesBack::Nothing => {
                    return Err(self.system.trouble(tid, Trouble::Absent { page }));
                }
            }
        }
    }

    /// Has the process be at home, and with it what it shares in a range, for what is done to all of that at once.
    pub(crate) fn have_shared(&mut self, from: u64, to: u64) -> Result<(), Stop> {
        self.be_at_home_for(from, to)?;
        match self.space()?.first_held(from, to) {
            Some(held) => Err(self.system.trouble(self.tid, Trouble::Held(held))),
            None => Ok(()),
        }
    }

    /// Has the process be at home, if some of a range is shared.
    pub(crate) fn be_at_home_for(&mut self, from: u64, to: u64) -> Result<(), Stop> {
        if self.space()?.is_lent_in(from, to) {
            self.ask_home(CALL_COME_HOME, [0; 6])?;
        }
        Ok(())
    }
}
