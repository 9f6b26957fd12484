//! The body's side: reads served from what home has sent, writes that leave by and by.
//!
//! Law: windows can be dropped at any time, what was read or written through them cannot: it leaves
//! before the next call of the process does. A thread posts only while it has no call under way, so
//! that its sequence at the gate has no gap.

use super::{
    Ahead, CREDIT, FIRST_SPAN, Grant, HELD_MAX, INLINE, LAST_SPAN, LENT, Lends, PAGE, PLACED, Post,
    Posted, Room, Run, Slots, Tail, Touch, Unsent, WRITTEN_MAX, Window, Writer, file_page,
    file_tag,
};
use crate::buffers::Buffers;
use crate::dispatch::{CALL_AHEAD, CALL_BEHIND, result_of};
use crate::files::PIPE_CAPACITY_MAX;
use crate::home::Request;
use crate::system::System;
use crate::thread::{Answer, Forward};
use crate::wait::Stop;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use machine::Frame;
use node::{Lane, PageTag};
use wire::{NodeId, Outcome, Pid, Reply};

impl Window {
    /// Bytes up to here can be read.
    pub(super) fn end(&self) -> u64 {
        if self.is_local() {
            return self.size;
        }
        ((self.first + self.pages.len() as u64) * PAGE).min(self.size)
    }

    /// Whether the contents are on this node anyway.
    pub(super) fn is_local(&self) -> bool {
        self.hash.is_some()
    }

    /// Whether a read may begin there: at the cursor, or among what is here or under way.
    pub(super) fn takes(&self, at: u64) -> bool {
        let held = self.first * PAGE..=self.asked.saturating_mul(PAGE);
        at == self.cursor || self.placed && (self.is_local() || held.contains(&at))
    }

    /// So many bytes were read at the cursor.
    pub(super) fn advance(&mut self, count: u64) {
        self.cursor += count;
        if !self.placed {
            self.unreported += count;
        }
        while self.first < self.cursor / PAGE && self.pages.pop_front().is_some() {
            self.first += 1;
        }
    }

    /// How many pages to ask for now that it is read up to `end`, if any: more than half of the span is
    /// to lie ahead of that.
    pub(super) fn wants(&self, end: u64) -> u64 {
        let at = end / PAGE;
        if self.is_local() || self.asked.saturating_sub(at) * 2 > self.span {
            return 0;
        }
        let until = (at + self.span).min(self.size.div_ceil(PAGE));
        until.saturating_sub(self.asked).min(LAST_SPAN)
    }
}

impl Ahead {
    /// Whether nothing is left to tell home.
    fn is_told(&self) -> bool {
        let told = |window: &Window| window.unreported == 0;
        self.owed.is_empty() && self.tail.is_none() && self.windows.values().all(told)
    }

    /// Lets go of a window; who waits for it looks again.
    fn drop_window(&mut self, fd: u32) -> Vec<u32> {
        let Some(window) = self.windows.remove(&fd) else {
            return Vec::new();
        };
        if window.unreported > 0 {
            self.owed.push((fd, window.unreported));
        }
        let waiters = window.waiters.into_iter();
        waiters.map(|(tid, _)| tid).collect()
    }

    /// How many windows there are.
    #[cfg(test)]
    pub(crate) fn windows(&self) -> usize {
        self.windows.len()
    }

    pub(super) fn drop_windows(&mut self, which: impl Fn(u32, &Window) -> bool) -> Vec<u32> {
        let windows = self.windows.iter();
        let gone: Vec<u32> = windows
            .filter(|(fd, window)| which(**fd, window))
            .map(|(fd, _)| *fd)
            .collect();
        gone.into_iter()
            .flat_map(|fd| self.drop_window(fd))
            .collect()
    }

    /// A call leaves that may change what is lent.
    fn forget(&mut self, touch: Touch) -> Vec<u32> {
        if !matches!(touch, Touch::Cursor(_)) {
            self.zeros.retain(|fd| !touch.concerns(*fd));
        }
        let mut woken = self.drop_windows(|fd, _| touch.concerns(fd));
        woken.extend(self.drop_writers(|fd, writer| {
            // Of a pipe that is written to by asking nobody here knows what room is left.
            let counted = matches!(writer.room, Room::Pipe(..));
            touch.concerns(fd) && (counted || !matches!(touch, Touch::Cursor(_)))
        }));
        woken
    }

    /// Lets go of what may be written behind; who waits for it looks again.
    fn drop_writers(&mut self, which: impl Fn(u32, &Writer) -> bool) -> Vec<u32> {
        let mut woken = Vec::new();
        self.writers.retain(|fd, writer| {
            let stays = !which(*fd, writer) || writer.failed.is_some();
            if !stays {
                woken.append(&mut writer.waiters);
            }
            stays
        });
        woken
    }

    /// What was read and not told: descriptor, window and bytes.
    fn take_owed(&mut self) -> Vec<(u32, u32, u64)> {
        let owed = core::mem::take(&mut self.owed);
        let mut all: Vec<_> = owed.into_iter().map(|(fd, bytes)| (fd, 0, bytes)).collect();
        for (fd, window) in &mut self.windows {
            let bytes = core::mem::take(&mut window.unreported);
            if bytes > 0 {
                all.push((*fd, window.id, bytes));
            }
        }
        all
    }
}

impl System {
    /// Sends a call whose answer the thread does not wait for.
    pub(super) fn post_call(&mut self, tid: u32, request: Request, what: Posted) {
        let thread = self.thread(tid);
        let seq = thread.next_seq;
        thread.next_seq += 1;
        thread.posts.push_back(Post { seq, what });
        self.send_call(tid, seq, request);
    }

    /// A call of a thread is about to leave, and everything that the process has done has left.
    pub(crate) fn before_call(&mut self, tid: u32, request: &Request) {
        let touch = Touch::of(request);
        let thread = self.thread(tid);
        thread.touch = touch;
        let pid = thread.pid;
        for waiter in self.body(pid).ahead.forget(touch) {
            self.wakes.push(waiter);
        }
    }

    /// Tells home, in the sequence of a thread that has no call under way, what has been done here.
    pub(crate) fn catch_up(&mut self, tid: u32) {
        let pid = self.thread(tid).pid;
        for (fd, window, bytes) in self.body(pid).ahead.take_owed() {
            let asked = 0;
            let args = [u64::from(fd), u64::from(window), bytes, 0, 0, 0];
            let request = Request::plain(CALL_AHEAD, args);
            self.post_call(tid, request, Posted::Read { fd, window, asked });
        }
        self.post_tail(tid);
    }

    pub(super) fn post_tail(&mut self, tid: u32) {
        let pid = self.thread(tid).pid;
        let body = self.body(pid);
        let Some(tail) = body.ahead.tail.take() else {
            return;
        };
        let (home, epoch) = (body.home, body.epoch);
        let Tail {
            fd, inode, due_ns, ..
        } = tail;
        self.tails.remove(&(due_ns, pid));
        let behind = |length: usize, at: u64| {
            Request::plain(CALL_BEHIND, [u64::from(fd), length as u64, at, 0, 0, 0])
        };
        match tail.unsent {
            Unsent::Pipe(window, pieces) => {
                let mut request = behind(pieces.bytes.len(), u64::MAX);
                request.inputs.set(2, pieces.runs());
                request.inputs.set(1, pieces.bytes);
                let pages = pieces.pages;
                self.post_call(tid, request, Posted::Piped { fd, window, pages });
            }
            Unsent::Run(Run { at, pages, length }) => {
                let mut request = behind(length, at.unwrap_or(u64::MAX));
                if length <= INLINE {
                    let mut bytes = alloc::vec![0; length];
                    if let Some(page) = pages.first() {
                        page.read(0, &mut bytes);
                    }
                    request.inputs.set(1, bytes);
                } else {
                    for (index, frame) in pages.into_iter().enumerate() {
                        let tag = file_tag((pid, epoch), 0, index as u64);
                        self.send_page(home, Lane::Urgent, tag, frame);
                    }
                }
                let bytes = length as u64;
                self.post_call(tid, request, Posted::Written { fd, inode, bytes });
            }
        }
    }

    /// Bytes that have waited long enough for company leave.
    pub(crate) fn tails_due(&mut self) {
        while let Some((due, pid)) = self.tails.first().copied()
            && due <= self.now
        {
            self.tails.pop_first();
            let body = self.bodies.get(&pid);
            let tail = body.and_then(|body| body.ahead.tail.as_ref());
            let Some(tid) = tail.filter(|tail| tail.due_ns == due).map(|tail| tail.tid) else {
                continue;
            };
            // A thread that has a call under way has told everything before.
            let idle = |forward: &Forward| !matches!(forward, Forward::Sent { .. });
            if self
                .threads
                .get(&tid)
                .is_some_and(|thread| idle(&thread.forward))
            {
                self.catch_up(tid);
            }
        }
    }

    /// All threads of a process stand still: whether home knows everything that they have done.
    pub(crate) fn is_caught_up(&mut self, tid: u32) -> bool {
        #[cfg(feature = "canary")]
        if self.canary == Some(crate::inside::Canary::WritesLeftBehind) {
            return true;
        }
        let pid = self.thread(tid).pid;
        if !self.body(pid).ahead.is_told() {
            self.catch_up(tid);
        }
        let tids = self.tids(pid);
        let are_answered = tids.iter().all(|tid| {
            self.threads
                .get(tid)
                .is_none_or(|thread| thread.posts.is_empty())
        });
        are_answered && self.is_given_back(pid)
    }

    /// The answer to the first call that its thread does not wait for.
    pub(crate) fn post_answered(&mut self, tid: u32, reply: &Reply) {
        let thread = self.thread(tid);
        let Some(post) = thread.posts.pop_front() else {
            return;
        };
        let (pid, last) = (thread.pid, thread.posts.is_empty());
        if reply.poke {
            thread.poked = true;
            self.wakes.push(tid);
        }
        let Outcome::Value(value) = reply.outcome else {
            return;
        };
        let buffers = Buffers::decode(&reply.data).unwrap_or_default();
        let body = self.body(pid);
        let ahead = &mut body.ahead;
        let mut woken = Vec::new();
        match post.what {
            Posted::Read { fd, window, asked } => {
                let same = ahead.windows.get(&fd).is_some_and(|held| held.id == window);
                if same && asked > 0 && u64::try_from(value) != Ok(asked) {
                    // The rest will not come: who wants it asks for itself.
                    woken = ahead.drop_window(fd);
                }
            }
            Posted::Piped { fd, window, pages } => {
                let room = buffers.get(LENT).and_then(|room| room.try_into().ok());
                let room = room.map_or(0, u32::from_le_bytes);
                if let Some(writer) = ahead.writers.get_mut(&fd)
                    && let Room::Pipe(id, slots) = &mut writer.room
                    && *id == window
                    && !slots.answered(pages, room)
                {
                    ahead.writers.remove(&fd);
                }
            }
            Posted::Written { fd, inode, bytes } => {
                let goes_on = buffers.get(LENT) == Some(&[1]);
                if let Some(writer) = ahead.writers.get_mut(&fd)
                    && let Room::File(credit) = &mut writer.room
                    && writer.inode == inode
                {
                    *credit += bytes;
                    woken = core::mem::take(&mut writer.waiters);
                    if let Err(Stop::Errno(errno)) = result_of(value) {
                        writer.failed = Some(errno);
                    } else if !goes_on && writer.failed.is_none() {
                        ahead.writers.remove(&fd);
                    }
                }
            }
        }
        if last && body.freezing {
            woken.push(tid);
        }
        for tid in woken {
            self.wakes.push(tid);
        }
    }

    /// An answer says that home lends something. It came at the same moment as the answer, and what
    /// comes behind it counts.
    pub(crate) fn lent(&mut self, tid: u32, answer: &Answer) {
        let Some(grant) = answer.buffers.get(LENT).and_then(Grant::from_bytes) else {
            return;
        };
        let fd = grant.fd;
        let pid = self.thread(tid).pid;
        let most = match grant.what {
            Lends::Pipe => PIPE_CAPACITY_MAX as u64 / PAGE,
            _ => FIRST_SPAN,
        };
        if grant.pages > most || grant.offset.max(grant.size) > 2 * WRITTEN_MAX {
            return;
        }
        // What another thread has under way may already have changed what this says.
        let disturbs = |other: &u32| {
            let Some(thread) = self.threads.get(other).filter(|_| *other != tid) else {
                return false;
            };
            let sent = matches!(thread.forward, Forward::Sent { .. });
            let posts = |post: &Post| match post.what {
                Posted::Read { fd: one, .. } | Posted::Piped { fd: one, .. } => one == fd,
                Posted::Written { fd: one, inode, .. } => one == fd || inode == grant.inode,
            };
            sent && thread.touch.concerns(fd) || thread.posts.iter().any(posts)
        };
        let Some(body) = self.bodies.get(&pid) else {
            return;
        };
        let unsent = body.ahead.tail.as_ref();
        let unsent = unsent.is_some_and(|tail| tail.fd == fd || tail.inode == grant.inode);
        let owed = body.ahead.owed.iter().any(|(one, _)| *one == fd);
        let held = &body.ahead;
        let held = held
            .windows
            .len()
            .max(held.writers.len())
            .max(held.zeros.len());
        if unsent || owed || held >= HELD_MAX || body.freezing || body.threads.iter().any(disturbs)
        {
            return;
        }
        let room = match grant.what {
            Lends::Window => None,
            Lends::File => Some(Room::File(CREDIT)),
            Lends::Pipe => Some(Room::Pipe(grant.window, Slots::new(grant.pages as u32))),
            Lends::Sink => Some(Room::Sink),
            Lends::Zeros => {
                self.body(pid).ahead.zeros.insert(fd);
                return;
            }
        };
        if let Some(room) = room {
            let writer = Writer {
                inode: grant.inode,
                room,
                waiters: Vec::new(),
                failed: None,
            };
            let ahead = &mut self.body(pid).ahead;
            ahead.writers.entry(fd).or_insert(writer);
            return;
        }
        let first = grant.offset / PAGE;
        let hash = self.fs.by_hash(&grant.hash).map(|_| grant.hash);
        let ahead = &mut self.body(pid).ahead;
        let window = Window {
            id: grant.window,
            placed: fd & PLACED != 0,
            hash,
            inode: grant.inode,
            cursor: grant.offset,
            size: grant.size,
            first,
            pages: VecDeque::new(),
            asked: first.saturating_add(grant.pages),
            span: 2 * FIRST_SPAN,
            unreported: 0,
            waiters: Vec::new(),
        };
        let woken = ahead.drop_window(fd);
        ahead.windows.insert(fd, window);
        for tid in woken {
            self.wakes.push(tid);
        }
    }

    /// Home says that a window does not show what the file holds any more, or that nobody reads a pipe.
    pub(crate) fn stale(&mut self, from: NodeId, pid: Pid, epoch: u64, window: u32) {
        let Some(body) = self.bodies.get_mut(&pid.0) else {
            return;
        };
        if body.home == from && body.epoch == epoch {
            let mut woken = body.ahead.drop_windows(|_, held| held.id == window);
            let called =
                |_, writer: &Writer| matches!(writer.room, Room::Pipe(id, _) if id == window);
            woken.extend(body.ahead.drop_writers(called));
            for tid in woken {
                self.wakes.push(tid);
            }
        }
    }

    /// These nodes were not heard: what they have sent ahead may be old.
    pub(crate) fn distrust(&mut self, whom: impl Fn(NodeId) -> bool) {
        for body in self.bodies.values_mut().filter(|body| whom(body.home)) {
            for tid in body.ahead.drop_windows(|_, _| true) {
                self.wakes.push(tid);
            }
        }
    }

    /// A page of a file came, to be read or, at its home, to be written.
    pub(crate) fn file_page(
        &mut self,
        from: NodeId,
        boot: wire::BootId,
        tag: PageTag,
        frame: Frame,
    ) {
        if let Some(part) = crate::shared::returned_part(tag.page) {
            return self.given_back((from, boot), (tag.pid, tag.epoch), part, Some(frame));
        }
        let Some(body) = self.bodies.get_mut(&tag.pid.0) else {
            return self.written_page(from, boot, tag, frame);
        };
        if body.home != from || body.epoch != tag.epoch || from == self.me {
            return;
        }
        if tag.page < file_page(1, 0) {
            return body.ahead.page_came(frame);
        }
        let mut windows = body.ahead.windows.values_mut();
        // Of an old window, or behind one that got lost: it names none that is awaited.
        let awaited = |window: &&mut Window| {
            let next = window.first + window.pages.len() as u64;
            next < window.asked && file_page(window.id, next) == tag.page
        };
        if let Some(window) = windows.find(awaited) {
            window.pages.push_back(frame);
            let end = window.end();
            window.waiters.retain(|(tid, wanted)| {
                let enough = *wanted <= end;
                if enough {
                    self.wakes.push(*tid);
                }
                !enough
            });
        }
    }
}

/// What a body that moves leaves behind: home lends anew.
impl Ahead {
    /// Lets go of everything; all that was done has been told, and nothing is under way.
    pub(crate) fn let_go(&mut self) {
        *self = Ahead::default();
    }
}
