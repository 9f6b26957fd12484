//! A thread's reads and writes away from home, as far as home has lent what they take.
//!
//! Law: what cannot be done here is left to home, and nothing has happened. User memory is made fit
//! before anything changes.

use super::{
    Ahead, CREDIT, LAST_SPAN, PAGE, PLACED, Pieces, Posted, Room, Run, TAIL, TAIL_NS, Tail, Unsent,
    WRITTEN_MAX, Window, descriptor,
};
use crate::body::Effects;
use crate::dispatch::{CALL_AHEAD, LocalCall};
use crate::home::Request;
use crate::memory::{PagePart, Space};
use crate::thread::Forward;
use crate::wait::Stop;
use alloc::vec::Vec;
use machine::{Access, FrameKind, OutOfMemory, PAGE_SIZE};

/// A read of /dev/zero gives no more at once.
const ZEROS_MAX: u64 = 1 << 20;

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
        if self.body().ahead.zeros.contains(&fd) {
            return self.read_zeros(into, count.min(ZEROS_MAX));
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

    /// Reads what /dev/zero has.
    fn read_zeros(&mut self, into: &[(u64, u64)], count: u64) -> Result<Option<u64>, Stop> {
        let Some(parts) = self.parts(into, count, Access::WRITE)? else {
            return Ok(None);
        };
        for part in &parts {
            part.frame.zero(part.at, part.length);
        }
        Ok(Some(count))
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
        let Some(parts) = self.parts(into, count, Access::WRITE)? else {
            return Ok(None);
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
        let Some(parts) = self.parts(into, count, Access::WRITE)? else {
            return Ok(None);
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

    /// The parts of the first `count` bytes of user memory, all made fit for `access`. `None` if not all of it
    /// is there: home knows how much is read or written all the same.
    fn parts(
        &mut self,
        pieces: &[(u64, u64)],
        count: u64,
        access: Access,
    ) -> Result<Option<Vec<PagePart>>, Stop> {
        let mut left = count;
        let mut parts = Vec::with_capacity((count / PAGE) as usize + 2 * pieces.len());
        for (address, length) in pieces {
            let length = (*length).min(left);
            left -= length;
            let range = (*address, length as usize);
            let fit = self.system.with_space(self.pid, |space, source| {
                space.parts(range, access, source, &mut parts)
            });
            match fit.map_err(|trouble| self.system.trouble(self.tid, trouble)) {
                Err(Stop::Errno(_)) => return Ok(None),
                fit => fit?,
            }
        }
        Ok(Some(parts))
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
        match writer.room {
            // Nobody looks at the bytes, even at home.
            Room::Sink => return Ok(Some(count)),
            Room::Pipe(..) => return self.pipe_behind(fd, at, from, count),
            Room::File(credit) if credit < count => {
                if !writer.waiters.contains(&tid) {
                    writer.waiters.push(tid);
                }
                self.system.catch_up(tid);
                return Err(Stop::Wait);
            }
            Room::File(_) => {}
        }
        let inode = writer.inode;
        let Some(parts) = self.parts(from, count, Access::READ)? else {
            return Ok(None);
        };
        // Their cursor moves, or what they show changes.
        let ahead = &mut self.body().ahead;
        let woken =
            ahead.drop_windows(|one, window| descriptor(one) == fd || window.inode == inode);
        let owed = !ahead.owed.is_empty();
        let follows = ahead.tail.as_ref().is_none_or(|tail| match &tail.unsent {
            Unsent::Run(run) => {
                let next = run.at.map(|start| start + run.length as u64);
                tail.fd == fd && next == at
            }
            Unsent::Pipe(..) => false,
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
        if let Some(writer) = self.body().ahead.writers.get_mut(&fd)
            && let Room::File(credit) = &mut writer.room
        {
            *credit -= done;
        }
        Ok(Some(done))
    }

    /// Writes to a pipe what it has room for, so that home learns of it later. `None` if home has to be
    /// asked.
    fn pipe_behind(
        &mut self,
        fd: u32,
        at: Option<u64>,
        from: &[(u64, u64)],
        count: u64,
    ) -> Result<Option<u64>, Stop> {
        if at.is_some() || !self.body().ahead.has_at_hand(false, fd, at, count) {
            return Ok(None);
        }
        let Some(parts) = self.parts(from, count, Access::READ)? else {
            return Ok(None);
        };
        let (pid, tid) = (self.pid, self.tid);
        let ahead = &mut self.body().ahead;
        let joins = ahead.tail.as_ref().is_none_or(|tail| match &tail.unsent {
            Unsent::Pipe(_, pieces) => tail.fd == fd && pieces.has_room(count),
            Unsent::Run(_) => false,
        });
        if !joins || !ahead.owed.is_empty() {
            self.system.catch_up(tid);
        }
        let due_ns = self.system.now + TAIL_NS;
        let ahead = &mut self.body().ahead;
        let Some(writer) = ahead.writers.get_mut(&fd) else {
            return Ok(None);
        };
        let Room::Pipe(id, slots) = &mut writer.room else {
            return Ok(None);
        };
        let begins = ahead.tail.is_none();
        let tail = ahead.tail.get_or_insert_with(|| Tail {
            fd,
            inode: writer.inode,
            unsent: Unsent::Pipe(*id, Pieces::default()),
            tid,
            due_ns,
        });
        tail.tid = tid;
        let Unsent::Pipe(_, pieces) = &mut tail.unsent else {
            return Ok(None);
        };
        if !pieces.add(&parts, slots) {
            ahead.tail.take_if(|_| begins);
            return Ok(None);
        }
        if begins {
            self.system.tails.insert((due_ns, pid));
        }
        Ok(Some(count))
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
                    unsent: Unsent::Run(Run {
                        at: at.map(|at| at + all),
                        pages: Vec::with_capacity(TAIL / PAGE_SIZE),
                        length: 0,
                    }),
                    tid,
                    due_ns,
                });
                tail.tid = tid;
                let Unsent::Run(run) = &mut tail.unsent else {
                    return all;
                };
                let Ok(taken) = run.take(part, done) else {
                    ahead.tail.take_if(|_| begins);
                    return all;
                };
                let full = run.length == TAIL;
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
            if self.zeros.contains(&fd) {
                return true;
            }
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
            match &writer.room {
                Room::File(credit) => *credit >= count && !self.windows.iter().any(shows),
                Room::Pipe(_, slots) => at.is_none() && slots.fit(count),
                Room::Sink => true,
            }
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

impl Run {
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
