//! A thread's reads and writes away from home, as far as home has lent what they take.
//!
//! Law: what cannot be done here is left to home, and nothing has happened. User memory is made fit
//! before anything changes.

use super::{
    CREDIT, LAST_SPAN, PAGE, PLACED, Posted, TAIL, TAIL_NS, Tail, WRITTEN_MAX, descriptor,
};
use crate::body::Effects;
use crate::dispatch::{CALL_AHEAD, LocalCall};
use crate::home::Request;
use crate::memory::Space;
use crate::thread::Forward;
use crate::wait::Stop;
use alloc::vec::Vec;
use machine::{Frame, FrameKind, PAGE_SIZE};

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
        let spaces = &self.system.spaces;
        let seen = |space: &Space| space.is_seen_by_others();
        away && idle && spaces.users(space) == 1 && !spaces.get(space).is_some_and(seen)
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
        if window.is_local() {
            let hash = window.hash;
            return self.read_local(fd, &hash, into, count);
        }
        self.read_sent(fd, into, count)
    }

    /// Reads at the cursor of a window what home has sent.
    fn read_sent(&mut self, fd: u32, into: &[(u64, u64)], count: u64) -> Result<Option<u64>, Stop> {
        let tid = self.tid;
        let Some(window) = self.body().ahead.windows.get(&fd) else {
            return Ok(None);
        };
        let end = window.cursor + count;
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
        let (cursor, first) = (window.cursor, window.first);
        let pages = (cursor / PAGE - first) as usize..=((end - 1) / PAGE - first) as usize;
        let frames: Vec<Frame> = window.pages.range(pages).cloned().collect();
        match self.scatter_frames(into, &frames, cursor % PAGE, count) {
            // Home knows how much of it is read all the same.
            Err(Stop::Errno(_)) => return Ok(None),
            copied => copied?,
        }
        if let Some(window) = self.body().ahead.windows.get_mut(&fd) {
            window.advance(count);
        }
        self.ask_ahead(fd, 0);
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
        let mut left = count;
        for (address, length) in into {
            let length = (*length).min(left);
            match self.make_writable(*address, length as usize) {
                // Home knows how much of it is read all the same.
                Err(Stop::Errno(_)) => return Ok(None),
                there => there?,
            }
            left -= length;
        }
        let mut bytes = alloc::vec![0; count as usize];
        let start = self
            .body()
            .ahead
            .windows
            .get(&fd)
            .map_or(0, |window| window.cursor);
        inode.read_at(start, &mut bytes)?;
        let mut rest = bytes.as_slice();
        for (address, length) in into {
            let (now, later) = rest.split_at(rest.len().min(*length as usize));
            self.write(*address, now)?;
            rest = later;
        }
        if let Some(window) = self.body().ahead.windows.get_mut(&fd) {
            window.advance(count);
        }
        Ok(Some(count))
    }

    /// Asks for more pages of a window, if it is time, and tells what was read of it.
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

    /// Copies `count` bytes of pages, from `offset` in the first on, to user memory.
    fn scatter_frames(
        &mut self,
        into: &[(u64, u64)],
        frames: &[Frame],
        offset: u64,
        count: u64,
    ) -> Result<(), Stop> {
        let mut left = count;
        for (address, length) in into {
            let length = (*length).min(left);
            self.make_writable(*address, length as usize)?;
            left -= length;
        }
        let mut at = offset;
        for (address, length) in into {
            let mut done = 0;
            while done < *length && at < offset + count {
                let to = address + done;
                let within = at % PAGE;
                let piece = (PAGE - within).min(PAGE - to % PAGE);
                let piece = piece.min(length - done).min(offset + count - at);
                let from = (&frames[(at / PAGE) as usize], within as usize);
                let target = (to, piece as usize);
                let copied = self.system.with_space(self.pid, |space, pages| {
                    space.write_from_frame(target, from, pages)
                });
                copied.map_err(|trouble| self.system.trouble(self.tid, trouble))?;
                done += piece;
                at += piece;
            }
        }
        Ok(())
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
        for (address, length) in from {
            match self.make_readable(*address, *length) {
                // Home knows how much of it is written all the same.
                Err(Stop::Errno(_)) => return Ok(None),
                there => there?,
            }
        }
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
        let done = self.fill_tail((fd, inode), at, from)?;
        if done == 0 {
            return Ok(None);
        }
        if let Some(writer) = self.body().ahead.writers.get_mut(&fd) {
            writer.credit -= done;
        }
        Ok(Some(done))
    }

    fn make_readable(&mut self, address: u64, length: u64) -> Result<(), Stop> {
        let done = self.system.with_space(self.pid, |space, pages| {
            space.make_readable(address, length as usize, pages)
        });
        done.map_err(|trouble| self.system.trouble(self.tid, trouble))
    }

    /// Takes bytes of user memory into the tail, which leaves as often as it is full. Returns how
    /// many; less than all if memory ends.
    fn fill_tail(
        &mut self,
        (fd, inode): (u32, u64),
        at: Option<u64>,
        from: &[(u64, u64)],
    ) -> Result<u64, Stop> {
        let tid = self.tid;
        let mut all = 0;
        for (address, length) in from {
            let mut done = 0;
            while done < *length {
                let Some(mut tail) = self.take_tail((fd, inode), at.map(|at| at + all)) else {
                    return Ok(all);
                };
                let within = tail.length % PAGE_SIZE;
                let user = address + done;
                let piece = (PAGE_SIZE - within).min(PAGE_SIZE - (user % PAGE) as usize);
                let piece = piece.min((length - done) as usize);
                let index = tail.length / PAGE_SIZE;
                let copied = match tail.pages.get(index) {
                    Some(page) => self.system.with_space(self.pid, |space, pages| {
                        space.read_into_frame((user, piece), (page, within), pages)
                    }),
                    None => return Ok(all),
                };
                if copied.is_ok() {
                    tail.length += piece;
                    done += piece as u64;
                    all += piece as u64;
                }
                let full = tail.length == TAIL;
                if tail.length > 0 {
                    self.put_tail(tail);
                }
                if full {
                    self.system.post_tail(tid);
                }
                if let Err(trouble) = copied {
                    // They were readable a moment ago.
                    let stop = self.system.trouble(tid, trouble);
                    return if all > 0 { Ok(all) } else { Err(stop) };
                }
            }
        }
        Ok(all)
    }

    /// The tail, or a new one, with room for a byte; `None` if there is no memory.
    fn take_tail(&mut self, (fd, inode): (u32, u64), at: Option<u64>) -> Option<Tail> {
        let (tid, now) = (self.tid, self.system.now);
        let tail = self.body().ahead.tail.take();
        let mut tail = tail.unwrap_or_else(|| Tail {
            fd,
            inode,
            at,
            pages: Vec::new(),
            length: 0,
            tid,
            due_ns: now + TAIL_NS,
        });
        tail.tid = tid;
        if tail.length == tail.pages.len() * PAGE_SIZE {
            match Frame::zeroed(FrameKind::Network) {
                Ok(page) => tail.pages.push(page),
                Err(_) if tail.length > 0 => {
                    self.put_tail(tail);
                    return None;
                }
                Err(_) => return None,
            }
        }
        Some(tail)
    }

    fn put_tail(&mut self, tail: Tail) {
        let pid = self.pid;
        self.system.tails.insert((tail.due_ns, pid));
        self.body().ahead.tail = Some(tail);
    }
}
