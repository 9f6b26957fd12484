//! A thread's reads and writes away from home, as far as home has lent what they take.
//!
//! Law: what cannot be done here is left to home, and nothing has happened. User memory is made fit
//! before anything changes.

use super::{
    Ahead, CREDIT, LAST_SPAN, PAGE, PLACED, Posted, TAIL, TAIL_NS, Tail, WRITTEN_MAX, Window,
    descriptor,
};
use crate::body::Effects;
use crate::dispatch::{CALL_AHEAD, LocalCall};
use crate::home::Request;
use crate::memory::{PagePart, Space};
use crate::thread::Forward;
use crate::wait::Stop;
use alloc::vec::Vec;
use machine::{Access, FrameKind, OutOfMemory, PAGE_SIZE};

impl LocalCall<'_> {
    /// Whether the thread may act for itself: it is away, nothing of it is under way, and nobody can
    /// learn from its memory what home does not know.
    fn acts_here(&mut self) -> bool {
        let me = self.system.me;
        let body = self.body();
        let away = body.home != me && body.effects == Effects::Open && !body.freezing;
        let space = body.space;
        let thread = self.thread();
        let idle = thread.forward == Forward::Idle && !thread.obeys_kernel();
        let seen = |space: &Space| space.is_seen_by_others();
        let space = self.system.spaces.alone(space);
        away && idle && space.is_some_and(|space| !seen(space))
    }

    /// Reads at the cursor, or at an offset, from what home has sent ahead or from the boot image.
    /// `None` if home has to be asked.
    pub(crate) fn read_ahead(
        &mut self,
        fd: u64,
        at: Option<u64>,
        into: &[(u64, u64)],
    ) -> Result<Option<u64>, Stop> {
        let fd = fd as u32;
        let count: u64 = into.iter().map(|(_, length)| *length).sum();
        if count == 0 || fd & PLACED != 0 || !self.acts_here() {
            return Ok(None);
        }
        let fd = at.map_or(fd, |_| fd | PLACED);
        let Some(window) = self.body().ahead.windows.get_mut(&fd) else {
            return Ok(None);
        };
        let at = at.unwrap_or(window.cursor);
        if !window.takes(at) {
            return Ok(None);
        }
        window.cursor = at;
        let count = count.min(window.size.saturating_sub(at));
        if count == 0 {
            return Ok(Some(0));
        }
        if let Some(hash) = window.hash {
            return self.read_local(fd, &hash, into, count);
        }
        self.read_sent(fd, into, at + count)
    }

    /// Reads from the cursor of a window to `end` what home has sent.
    fn read_sent(&mut self, fd: u32, into: &[(u64, u64)], end: u64) -> Result<Option<u64>, Stop> {
        let tid = self.tid;
        self.ask_ahead(fd, end);
        let Some(window) = self.body().ahead.windows.get_mut(&fd) else {
            return Ok(None);
        };
        if window.end() < end {
            if !window.waiters.contains(&(tid, end)) {
                window.waiters.push((tid, end));
            }
            return Err(Stop::Wait);
        }
        let count = end - window.cursor;
        let parts = match self.parts(into, count, Access::WRITE) {
            // Home knows how much of it is read all the same.
            Err(Stop::Errno(_)) => return Ok(None),
            parts => parts?,
        };
        if let Some(window) = self.body().ahead.windows.get_mut(&fd) {
            window.copy_to(&parts);
            window.advance(count);
        }
        Ok(Some(count))
    }

    /// Reads at the cursor of a window what this node's boot image has.
    fn read_local(
        &mut self,
        fd: u32,
        hash: &[u8; 32],
        into: &[(u64, u64)],
        count: u64,
    ) -> Result<Option<u64>, Stop> {
        let Some(inode) = self.system.fs.by_hash(hash) else {
            // Somebody has changed the file of this node.
            let woken = self.body().ahead.drop_windows(|one, _| one == fd);
            woken
                .into_iter()
                .for_each(|tid| self.system.wakes.push(tid));
            return Ok(None);
        };
        let parts = match self.parts(into, count, Access::WRITE) {
            // Home knows how much of it is read all the same.
            Err(Stop::Errno(_)) => return Ok(None),
            parts => parts?,
        };
        let mut bytes = alloc::vec![0; count as usize];
        let start = self
            .body()
            .ahead
            .windows
            .get(&fd)
            .map_or(0, |window| window.cursor);
        inode.read_at(start, &mut bytes)?;
        let mut rest = bytes.as_slice();
        for part in &parts {
            let (now, later) = rest.split_at(part.length);
            part.frame.write(part.at, now);
            rest = later;
        }
        if let Some(window) = self.body().ahead.windows.get_mut(&fd) {
            window.advance(count);
        }
        Ok(Some(count))
    }

    /// Asks for more pages of a window that is read up to `end`, if it is time, and tells what was read
    /// of it before.
    fn ask_ahead(&mut self, fd: u32, end: u64) {
        let tid = self.tid;
        let Some(window) = self.body().ahead.windows.get_mut(&fd) else {
            return;
        };
        let (from, asked) = (window.asked, window.wants(end));
        if asked == 0 {
            return;
        }
        window.asked += asked;
        window.span = (2 * window.span).min(LAST_SPAN);
        let bytes = core::mem::take(&mut window.unreported);
        let window = window.id;
        let args = [u64::from(fd), u64::from(window), bytes, from, asked, 0];
        let request = Request::plain(CALL_AHEAD, args);
        self.system
            .post_call(tid, request, Posted::Read { fd, window, asked });
    }

    /// The parts of the first `count` bytes of user memory, all made fit for `access`.
    fn parts(
        &mut self,
        pieces: &[(u64, u64)],
        count: u64,
        access: Access,
    ) -> Result<Vec<PagePart>, Stop> {
        let mut left = count;
        let mut parts = Vec::with_capacity((count / PAGE) as usize + 2 * pieces.len());
        for (address, length) in pieces {
            let length = (*length).min(left);
            left -= length;
            let range = (*address, length as usize);
            let fit = self.system.with_space(self.pid, |space, source| {
                space.parts(range, access, source, &mut parts)
            });
            fit.map_err(|trouble| self.system.trouble(self.tid, trouble))?;
        }
        Ok(parts)
    }

    /// Writes at the cursor, or at an offset, so that home learns of it later. `None` if home has to
    /// be asked.
    pub(crate) fn write_behind(
        &mut self,
        fd: u64,
        at: Option<u64>,
        from: &[(u64, u64)],
    ) -> Result<Option<u64>, Stop> {
        let (fd, tid) = (fd as u32, self.tid);
        let count: u64 = from.iter().map(|(_, length)| *length).sum();
        let near = at.is_none_or(|at| at <= WRITTEN_MAX);
        if count == 0 || count > CREDIT || !near || !self.acts_here() {
            return Ok(None);
        }
        let ahead = &mut self.body().ahead;
        let Some(writer) = ahead.writers.get_mut(&fd) else {
            return Ok(None);
        };
        if let Some(errno) = writer.failed {
            ahead.writers.remove(&fd);
            return Err(Stop::Errno(errno));
        }
        if writer.credit < count {
            if !writer.waiters.contains(&tid) {
                writer.waiters.push(tid);
            }
            self.system.catch_up(tid);
            return Err(Stop::Wait);
        }
        let inode = writer.inode;
        let parts = match self.parts(from, count, Access::READ) {
            // Home knows how much of it is written all the same.
            Err(Stop::Errno(_)) => return Ok(None),
            parts => parts?,
        };
        // Their cursor moves, or what they show changes.
        let ahead = &mut self.body().ahead;
        let woken =
            ahead.drop_windows(|one, window| descriptor(one) == fd || window.inode == inode);
        let owed = !ahead.owed.is_empty();
        let follows = ahead.tail.as_ref().is_none_or(|tail| {
            let next = tail.at.map(|start| start + tail.length as u64);
            tail.fd == fd && next == at
        });
        for waiter in woken {
            self.system.wakes.push(waiter);
        }
        if owed || !follows {
            self.system.catch_up(tid);
        }
        let done = self.fill_tail((fd, inode), at, &parts);
        if done == 0 {
            return Ok(None);
        }
        if let Some(writer) = self.body().ahead.writers.get_mut(&fd) {
            writer.credit -= done;
        }
        Ok(Some(done))
    }

    /// Takes parts of user memory into the tail, which leaves as often as it is full. Returns how many
    /// bytes; less than all if memory ends.
    fn fill_tail(&mut self, (fd, inode): (u32, u64), at: Option<u64>, from: &[PagePart]) -> u64 {
        let (pid, tid) = (self.pid, self.tid);
        let due_ns = self.system.now + TAIL_NS;
        let mut all = 0;
        for part in from {
            let mut done = 0;
            while done < part.length {
                let ahead = &mut self.body().ahead;
                let begins = ahead.tail.is_none();
                let tail = ahead.tail.get_or_insert_with(|| Tail {
                    fd,
                    inode,
                    at: at.map(|at| at + all),
                    pages: Vec::with_capacity(TAIL / PAGE_SIZE),
                    length: 0,
                    tid,
                    due_ns,
                });
                tail.tid = tid;
                let Ok(taken) = tail.take(part, done) else {
                    ahead.tail.take_if(|tail| tail.length == 0);
                    return all;
                };
                let full = tail.length == TAIL;
                if begins {
                    self.system.tails.insert((due_ns, pid));
                }
                if full {
                    self.system.post_tail(tid);
                }
                done += taken;
                all += taken as u64;
            }
        }
        all
    }
}

impl Ahead {
    /// Whether all is here that a transfer of so many bytes takes, at the cursor or an offset, so that
    /// nobody has to wait for it and nobody is woken by it.
    pub(crate) fn has_at_hand(&self, reads: bool, fd: u32, at: Option<u64>, count: u64) -> bool {
        if reads {
            let window = self.windows.get(&at.map_or(fd, |_| fd | PLACED));
            return window.is_some_and(|window| {
                let at = at.unwrap_or(window.cursor);
                window.takes(at) && at.saturating_add(count).min(window.size) <= window.end()
            });
        }
        self.writers.get(&fd).is_some_and(|writer| {
            let shows = |(one, window): (&u32, &Window)| {
                descriptor(*one) == fd || window.inode == writer.inode
            };
            writer.credit >= count && !self.windows.iter().any(shows)
        })
    }
}

impl Window {
    /// Copies what is at the cursor and behind it, all of which is here.
    fn copy_to(&self, parts: &[PagePart]) {
        let mut at = (self.cursor - self.first * PAGE) as usize;
        for part in parts {
            let mut done = 0;
            while done < part.length {
                let within = at % PAGE_SIZE;
                let piece = (PAGE_SIZE - within).min(part.length - done);
                let page = &self.pages[at / PAGE_SIZE];
                part.frame.copy_from(part.at + done, page, within, piece);
                done += piece;
                at += piece;
            }
        }
    }
}

impl Tail {
    /// Takes bytes of a part behind its first `done`, as many as one page has room for; returns how
    /// many.
    fn take(&mut self, part: &PagePart, done: usize) -> Result<usize, OutOfMemory> {
        let (from, within) = (part.at + done, self.length % PAGE_SIZE);
        let taken = (part.length - done).min(PAGE_SIZE - within);
        match self.pages.last() {
            Some(page) if within > 0 => page.copy_from(within, &part.frame, from, taken),
            _ => {
                let page = part.frame.part(FrameKind::Network, from, taken)?;
                self.pages.push(page);
            }
        }
        self.length += taken;
        Ok(taken)
    }
}
