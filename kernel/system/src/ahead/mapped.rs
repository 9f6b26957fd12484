//! Pages of files that a body elsewhere has mapped: asked for when they are touched, and with each
//! those behind it if the program goes through the file.
//!
//! Law: a page goes only where the very part of the file is mapped that it was asked for. Pages come
//! right before the answer to the call that asked for them, on the same lane.

use super::{Ahead, LAST_SPAN, PAGE, file_tag};
use crate::body::Effects;
use crate::dispatch::{CALL_LEND, CALL_PAGE_IN, HomeCall};
use crate::files::PageError;
use crate::home::Request;
use crate::memory::{FileBacking, Part};
use crate::shared::LENT_AT_ONCE;
use crate::signals::Trap;
use crate::system::System;
use crate::thread::{Answer, Forward, Purpose};
use crate::wait::Stop;
use abi::Errno;
use abi::signal::SIGBUS;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use machine::{Access, Frame};
use node::Lane;

/// Pages that come with one that is touched out of order; in order they double.
const FIRST_PAGES: u64 = 16;

/// Where a body reads the files that it has mapped.
#[derive(Default)]
pub(super) struct Faults {
    /// The file, the page behind those that came last, and how many they were to be.
    last: Option<(u32, u64, u64)>,
    /// What threads have asked for.
    asked: BTreeMap<u32, Asked>,
    /// Pages whose answer has not come.
    came: Vec<Frame>,
}

/// What a thread has asked home for.
#[derive(Clone, Copy)]
enum Asked {
    /// Pages of a file, by handle, from an offset on.
    File(u32, u64),
    /// Pages of shared memory, from this one on.
    Shared(Part),
}

impl Faults {
    /// How many pages to ask for from this one on.
    fn span(&mut self, file: u32, page: u64) -> u64 {
        match self.last {
            Some((last, next, span)) if (last, next) == (file, page) => (2 * span).min(LAST_SPAN),
            _ => FIRST_PAGES,
        }
    }
}

impl Ahead {
    /// A page came that belongs to no window.
    pub(super) fn page_came(&mut self, frame: Frame) {
        if (self.faults.came.len() as u64) < LAST_SPAN {
            self.faults.came.push(frame);
        }
    }
}

impl System {
    /// A file page that is not on this node: ask home, unless the process cannot ask just now.
    pub(crate) fn request_file_page(
        &mut self,
        tid: u32,
        page: u64,
        backing: &FileBacking,
        offset: u64,
    ) -> Stop {
        let me = self.me;
        let pid = self.thread(tid).pid;
        if self.body(pid).home == me || self.thread(tid).refused_page == Some(page) {
            return Stop::Errno(Errno::EFAULT);
        }
        if !self.may_ask(tid) {
            return Stop::Wait;
        }
        let file = backing.home_file;
        let span = self.body(pid).ahead.faults.span(file, offset / PAGE);
        let space = self.space_of(pid);
        let count = space.map_or(1, |space| space.missing_from(page, span).max(1));
        self.body(pid).ahead.faults.last = Some((file, offset / PAGE + count, span));
        let args = [u64::from(file), offset, count, 0, 0, 0];
        let request = Request::plain(CALL_PAGE_IN, args);
        self.ask_for_pages(tid, page, Asked::File(file, offset), request)
    }

    /// A page of shared memory that home lends: asks for it, unless the process cannot ask just now.
    pub(crate) fn request_lent_page(&mut self, tid: u32, page: u64, part: (u32, u64)) -> Stop {
        if self.thread(tid).refused_page == Some(page) {
            return Stop::Errno(Errno::EFAULT);
        }
        if !self.may_ask(tid) {
            return Stop::Wait;
        }
        // Who fights for a page with others has a reason to be where they are.
        let pid = self.thread(tid).pid;
        self.body(pid).calls += 1;
        let (object, index) = part;
        let request = Request::plain(CALL_LEND, [object.into(), index, 0, 0, 0, 0]);
        self.ask_for_pages(tid, page, Asked::Shared(part), request)
    }

    /// Whether a page of shared memory may be in an answer that a thread waits for. One that is there and was not looked at, as
    /// of a process that is stopped, is forgotten: whoever wants what came with it asks again.
    pub(crate) fn is_about_to_come(&mut self, pid: u32, (object, page): Part) -> bool {
        let threads = &self.threads;
        let Some(body) = self.bodies.get_mut(&pid) else {
            return false;
        };
        let mut waits = false;
        body.ahead.faults.asked.retain(|tid, asked| {
            let Asked::Shared((number, first)) = *asked else {
                return true;
            };
            let lent = first..first.saturating_add(LENT_AT_ONCE);
            if number != object || !lent.contains(&page) {
                return true;
            }
            let forward = threads.get(tid).map(|thread| &thread.forward);
            let is_asked = matches!(forward, Some(Forward::Sent { .. }));
            waits |= is_asked;
            is_asked
        });
        waits
    }

    /// Whether a thread that needs a page can ask home for it now.
    fn may_ask(&mut self, tid: u32) -> bool {
        let thread = self.thread(tid);
        let pid = thread.pid;
        let (idle, answered) = match thread.forward {
            Forward::Idle => (true, false),
            Forward::Ready { .. } => (false, true),
            Forward::Sent { .. } => (false, false),
        };
        let body = self.body(pid);
        // A call whose answer is there comes to its end before the process stands still.
        let may = answered && !body.orphan || idle && !body.freezing;
        may && body.effects == Effects::Open
    }

    fn ask_for_pages(&mut self, tid: u32, page: u64, asked: Asked, request: Request) -> Stop {
        let pid = self.thread(tid).pid;
        let body = self.body(pid);
        let faults = &mut body.ahead.faults;
        faults.asked.retain(|tid, _| body.threads.contains(tid));
        faults.asked.insert(tid, asked);
        self.thread(tid).put_aside();
        self.forward(tid, Purpose::Page(page), request);
        Stop::Wait
    }

    /// The answer to [`System::request_file_page`]: how many pages came, or why none did.
    pub(crate) fn file_page_came(&mut self, tid: u32, page: u64, answer: &Answer) {
        let pid = self.thread(tid).pid;
        let faults = &mut self.body(pid).ahead.faults;
        let came = core::mem::take(&mut faults.came);
        let asked = faults.asked.remove(&tid);
        if answer.value <= 0 && self.thread(tid).call.is_some() {
            // The call that needed it finds out, and fails.
            self.thread(tid).refused_page = Some(page);
            return;
        }
        if answer.value == -i64::from(Errno::ENOMEM.0) {
            // As at home: the page is there, and no frame for it.
            return self.out_of_memory(pid);
        }
        if answer.value <= 0 {
            let told = (crate::deputy::BUS_ADRERR, page);
            self.force_signal(tid, SIGBUS, told, Trap::page_fault(Access::READ, false));
            return;
        }
        let (Some(asked), true) = (asked, answer.value == came.len() as i64) else {
            // Whoever wants it touches it again.
            return;
        };
        let (file, offset) = match asked {
            Asked::File(file, offset) => (file, offset),
            Asked::Shared(part) => {
                return self.lent_pages_came(pid, page, part, came);
            }
        };
        let Some(space) = self.space_mut(pid) else {
            return;
        };
        for (index, frame) in came.into_iter().enumerate() {
            let behind = index as u64 * PAGE;
            let part = (file, offset.saturating_add(behind));
            space.install_file(page.saturating_add(behind), part, frame);
        }
    }

    /// Sends pages of a file to a body that has mapped it: the first, and of those behind it as many
    /// as there are and the link takes. Returns how many.
    fn send_mapped(&mut self, pid: u32, handle: u64, first: u64, count: u64) -> Result<u64, Errno> {
        // What they show may be news.
        self.call_back_changed();
        let home = self.homes.get(&pid).ok_or(Errno::ESRCH)?;
        let inode = home.mapped.get(handle).ok_or(Errno::EFAULT)?;
        let gate = home.record.gate();
        let (owner, epoch) = (gate.owner(), gate.epoch());
        let room = self.room_for_pages(owner);
        let wanted = count.min(LAST_SPAN).min(room).max(1);
        for sent in 0..wanted {
            let frame = match inode.lend_page(first.saturating_add(sent)) {
                Ok(frame) => frame,
                Err(_) if sent > 0 => return Ok(sent),
                Err(PageError::NoMemory) => return Err(Errno::ENOMEM),
                Err(_) => return Err(Errno::EFAULT),
            };
            let tag = file_tag((pid, epoch), 0, sent);
            self.send_page(owner, Lane::Urgent, tag, frame);
        }
        Ok(wanted)
    }
}

/// Pages of a mapped file: `(handle, offset, count)`. The value is how many come before the answer.
pub(crate) fn page_in(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    let [handle, offset, count, ..] = call.args;
    let pid = call.pid;
    Ok(call.system.send_mapped(pid, handle, offset / PAGE, count)?)
}
