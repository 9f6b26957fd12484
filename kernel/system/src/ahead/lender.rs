//! The home's side: what it has lent, and to whom it owes word of changes.
//!
//! Law: what is lent is of the present epoch, and of the version that was sent. A window whose file
//! has changed is called back before anything else is sent, and never served again. All that a
//! guest can ask for is bounded by its window and by the link.

use super::{
    CREDIT, FIRST_SPAN, Grant, LAST_SPAN, LENT, Lends, PAGE, PLACED, TAIL, Touch, descriptor,
    file_tag, pipes,
};
use crate::credentials::FSETID;
use crate::dispatch::{HomeCall, wire_pid};
use crate::files::{Behind, Inode, Writable, changes};
use crate::home::Request;
use crate::system::System;
use crate::thread::Answer;
use crate::wait::Stop;
use abi::Errno;
use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use machine::{Frame, FrameKind, PAGE_SIZE};
use node::{Lane, PageTag};
use wire::{BootId, Message, NodeId};

/// Windows of a process at a time.
const WINDOWS_MAX: usize = 8;
/// Descriptors of a process that may be written behind at a time.
const WRITERS_MAX: usize = 8;
/// Descriptors whose last transfer is remembered.
const ENDS_MAX: usize = 64;
/// Frames kept for each descriptor that is written behind: a piece that begins and ends within
/// pages needs two more than it brings.
const SPARE: usize = 4;

struct LentWindow {
    id: u32,
    inode: Weak<Inode>,
    version: u64,
}

/// Room for what is written behind through a descriptor.
#[derive(Default)]
struct Promise {
    /// Frames for what does not fill pages.
    spare: Vec<Frame>,
    /// Bytes that may still come: an honest body has no more under way.
    credit: u64,
}

/// What home has lent to the body of one process, which is elsewhere.
#[derive(Default)]
pub(crate) struct Lent {
    epoch: u64,
    windows: BTreeMap<u32, LentWindow>,
    /// By descriptor that may be written behind, or might when its last pieces left.
    writers: BTreeMap<u32, Promise>,
    /// Pipes of which pages are promised, by descriptor, and the names of the promises.
    pipes: BTreeMap<u32, (u32, Weak<Inode>)>,
    /// Where the last transfer of a descriptor ended.
    ends: BTreeMap<u32, u64>,
    /// Pages that came and whose call has not.
    staged: Vec<Frame>,
}

/// Pages that follow an answer.
pub(crate) struct Following {
    fd: u32,
    window: u32,
    from: u64,
    count: u64,
}

/// Room for so much beside what files hold already.
fn room_for(bytes: u64) -> bool {
    let counts = machine::frame_counts();
    let used = counts.by_kind[FrameKind::Cache as usize];
    let wanted = bytes / PAGE + SPARE as u64;
    used + wanted < counts.total / 2 && counts.free > 2 * wanted
}

impl System {
    /// What is lent to the body of a process, in its present epoch.
    pub(crate) fn lent_to(&mut self, pid: u32) -> Option<&mut Lent> {
        let epoch = self.homes.get(&pid)?.record.gate().epoch();
        let lent = self.lent.entry(pid).or_default();
        if lent.epoch != epoch {
            *lent = Lent {
                epoch,
                ..Lent::default()
            };
        }
        Some(lent)
    }

    /// After a transfer of a body elsewhere: lends it what it seems to go on with.
    pub(crate) fn lend(
        &mut self,
        pid: u32,
        request: &Request,
        answer: &mut Answer,
    ) -> Option<Following> {
        let fd = request.args[0] as u32;
        let touch = Touch::of(request);
        if let Some(lent) = self.lent.get_mut(&pid)
            && !matches!(touch, Touch::Nothing | Touch::Cursor(_))
        {
            // The body has let go of it, too, when it sent this.
            lent.windows.retain(|fd, _| !touch.concerns(*fd));
            lent.writers.retain(|fd, _| !touch.concerns(*fd));
            lent.pipes.retain(|fd, _| !touch.concerns(*fd));
        }
        let moved = u64::try_from(answer.value).ok()?;
        match request.number {
            0 => self.lend_to_read(pid, fd, None, answer),
            17 => {
                let end = request.args[3].saturating_add(moved);
                self.lend_to_read(pid, fd, Some((request.args[3], end)), answer)
            }
            1 => self.lend_to_write(pid, fd, None, answer),
            18 => {
                let end = request.args[3].saturating_add(moved);
                self.lend_to_write(pid, fd, Some((request.args[3], end)), answer)
            }
            _ => None,
        }
    }

    fn lend_to_read(
        &mut self,
        pid: u32,
        fd: u32,
        place: Option<(u64, u64)>,
        answer: &mut Answer,
    ) -> Option<Following> {
        let files = self.homes.get(&pid)?.files.as_ref()?;
        if files.has_zeros(fd) {
            let lent = self.lent_to(pid)?;
            if lent.goes_on(fd, 0, 0) {
                let grant = Grant::of(fd, Lends::Zeros);
                answer.buffers.set(LENT, grant.to_bytes());
            }
            return None;
        }
        let file = files.lend_to_read(fd, place.is_some())?;
        let window = self.next_window();
        let lent = self.lent_to(pid)?;
        let moved = u64::try_from(answer.value).ok()?;
        let (start, end) =
            place.unwrap_or_else(|| (file.offset.saturating_sub(moved), file.offset));
        let fd = if place.is_some() { fd | PLACED } else { fd };
        let goes_on = lent.goes_on(fd, start, end);
        // Who reads a file from its beginning reads on; but who reads at offsets may only look.
        let begins = start == 0 && place.is_none();
        if end > super::WRITTEN_MAX || !(goes_on || begins) {
            return None;
        }
        let called_back = lent.make_room(fd);
        let inode = Arc::downgrade(&file.inode);
        let version = file.version;
        lent.windows.insert(
            fd,
            LentWindow {
                id: window,
                inode,
                version,
            },
        );
        let from = end / PAGE;
        let hash = file.inode.content_hash();
        let count = match file.size > end && hash.is_none() {
            true => (file.size.div_ceil(PAGE) - from).min(FIRST_SPAN),
            false => 0,
        };
        let grant = Grant {
            fd,
            what: Lends::Window,
            window,
            pages: count,
            inode: file.inode.number(),
            offset: end,
            size: file.size,
            hash: hash.unwrap_or([0; 32]),
        };
        answer.buffers.set(LENT, grant.to_bytes());
        if let Some(window) = called_back {
            self.call_back(pid, window);
        }
        Some(Following {
            fd,
            window,
            from,
            count,
        })
    }

    fn lend_to_write(
        &mut self,
        pid: u32,
        fd: u32,
        place: Option<(u64, u64)>,
        answer: &mut Answer,
    ) -> Option<Following> {
        let target = self.homes.get(&pid)?.files.as_ref()?.lend_to_write(fd)?;
        let moved = u64::try_from(answer.value).ok()?;
        // What has no places goes on with every write.
        let (start, end) = match &target {
            Writable::File(file) => {
                place.unwrap_or_else(|| (file.offset.saturating_sub(moved), file.offset))
            }
            Writable::Pipe(..) | Writable::Sink(_) => (0, 0),
        };
        let window = match &target {
            Writable::Pipe(..) => self.next_window(),
            Writable::File(_) | Writable::Sink(_) => 0,
        };
        let lent = self.lent_to(pid)?;
        let goes_on = lent.goes_on(fd, start, end);
        let full = lent.writers.len() >= WRITERS_MAX && !lent.writers.contains_key(&fd);
        if !goes_on || full || !room_for(CREDIT) {
            return None;
        }
        let mut grant = Grant::of(fd, Lends::Sink);
        match target {
            Writable::File(file) => {
                if !lent.writers.entry(fd).or_default().renew() {
                    return None;
                }
                grant.what = Lends::File;
                grant.inode = file.inode.number();
                (grant.offset, grant.size) = (file.offset, file.size);
            }
            Writable::Pipe(inode, pages) => {
                lent.writers.entry(fd).or_default().renew_pages(pages);
                lent.pipes.insert(fd, (window, Arc::downgrade(&inode)));
                grant.what = Lends::Pipe;
                grant.window = window;
                grant.inode = inode.number();
                grant.pages = u64::from(pages);
            }
            Writable::Sink(inode) => grant.inode = inode.number(),
        }
        answer.buffers.set(LENT, grant.to_bytes());
        None
    }

    /// The name of something lent that may be called back.
    fn next_window(&mut self) -> u32 {
        self.last_window = self.last_window % (super::WINDOWS - 1) + 1;
        self.last_window
    }

    /// Sends what follows an answer that has just been sent.
    pub(crate) fn send_following(&mut self, pid: u32, following: &Following) {
        let Following {
            fd,
            window,
            from,
            count,
        } = *following;
        if self.send_ahead(pid, fd, window, from, count) < count {
            self.call_back(pid, window);
        }
    }

    /// Sends pages of a window, as many as it may; returns how many.
    fn send_ahead(&mut self, pid: u32, fd: u32, window: u32, from: u64, count: u64) -> u64 {
        let Some(home) = self.homes.get(&pid) else {
            return 0;
        };
        let gate = home.record.gate();
        let (owner, epoch) = (gate.owner(), gate.epoch());
        let Some(lent) = self.lent.get(&pid).filter(|lent| lent.epoch == epoch) else {
            return 0;
        };
        let known = lent.windows.get(&fd).filter(|lent| lent.id == window);
        let Some((inode, version)) =
            known.and_then(|lent| Some((lent.inode.upgrade()?, lent.version)))
        else {
            return 0;
        };
        if owner == self.me || inode.version() != Some(version) {
            return 0;
        }
        let room = self.room_for_pages(owner);
        let count = count.min(LAST_SPAN).min(room);
        for sent in 0..count {
            let index = from.saturating_add(sent);
            let Ok(frame) = inode.lend_page(index) else {
                return sent;
            };
            let tag = file_tag((pid, epoch), window, index);
            self.send_page(owner, Lane::Urgent, tag, frame);
        }
        count
    }

    /// Whether files have changed since lent windows were looked at.
    pub(crate) fn owes_word(&self) -> bool {
        !self.lent.is_empty() && changes() != self.changes_seen
    }

    /// Sends word of every lent window whose file has changed. Called before anything is sent.
    pub(crate) fn call_back_changed(&mut self) {
        if !self.owes_word() {
            return;
        }
        #[cfg(feature = "canary")]
        if self.canary == Some(crate::inside::Canary::ChangesUntold) {
            return;
        }
        self.changes_seen = changes();
        self.tell_mapped();
        let mut stale = Vec::new();
        for (pid, lent) in &mut self.lent {
            lent.windows.retain(|_, window| {
                let inode = window.inode.upgrade();
                // A file that is gone cannot change any more.
                let fresh = inode.is_none_or(|inode| inode.version() == Some(window.version));
                if !fresh {
                    stale.push((*pid, window.id));
                }
                fresh
            });
            lent.pipes.retain(|_, (id, pipe)| {
                let read = pipe.upgrade().is_none_or(|pipe| pipe.is_read());
                if !read {
                    stale.push((*pid, *id));
                }
                read
            });
        }
        for (pid, window) in stale {
            self.call_back(pid, window);
        }
    }

    fn call_back(&mut self, pid: u32, window: u32) {
        let Some(home) = self.homes.get(&pid) else {
            return;
        };
        let gate = home.record.gate();
        let (owner, epoch) = (gate.owner(), gate.epoch());
        if self.lent.get(&pid).is_none_or(|lent| lent.epoch != epoch) || owner == self.me {
            return;
        }
        let pid = wire_pid(pid);
        // Behind what lends it, wherever that is. An owner that cannot be told has no way to learn of anything else, either.
        self.send_kept(owner, Message::Stale { pid, epoch, window });
    }

    /// A page that a guest has written came; its call comes behind it.
    pub(crate) fn written_page(&mut self, from: NodeId, boot: BootId, tag: PageTag, frame: Frame) {
        let Some(home) = self.homes.get(&tag.pid.0).filter(|home| home.lives()) else {
            return;
        };
        if !home.record.gate().is_owner(from, boot, tag.epoch) {
            return;
        }
        if let Some(lent) = self.lent_to(tag.pid.0)
            && lent.staged.len() < TAIL / PAGE_SIZE
        {
            lent.staged.push(frame);
        }
    }
}

impl Lent {
    /// Notes a transfer; whether it begins where the last one ended.
    fn goes_on(&mut self, fd: u32, start: u64, end: u64) -> bool {
        if self.ends.len() >= ENDS_MAX && !self.ends.contains_key(&fd) {
            self.ends.clear();
        }
        self.ends.insert(fd, end) == Some(start)
    }

    /// Makes room for one more window; which one has to go.
    fn make_room(&mut self, fd: u32) -> Option<u32> {
        if self.windows.len() < WINDOWS_MAX || self.windows.contains_key(&fd) {
            return None;
        }
        self.windows.pop_first().map(|(_, window)| window.id)
    }
}

impl Promise {
    /// Promises room for as much as may be under way; false if there is no memory.
    fn renew(&mut self) -> bool {
        while self.spare.len() < SPARE {
            let Ok(frame) = Frame::zeroed(FrameKind::Cache) else {
                return false;
            };
            self.spare.push(frame);
        }
        self.credit = CREDIT;
        true
    }

    /// Promises pages of a pipe. What may still be under way was promised before.
    fn renew_pages(&mut self, pages: u32) {
        self.credit = self.credit.max(u64::from(pages) * PAGE);
    }
}

/// So many bytes were read ahead, and pages of the window are asked for: `(fd, window, bytes, from,
/// count)`. The value is how many follow.
pub(crate) fn ahead(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    let [fd, window, bytes, from, count, _] = call.args;
    let (fd, pid) = (fd as u32, call.pid);
    let now = call.system.fs.time(call.system.now);
    if bytes > 0
        && descriptor(fd) == fd
        && let Some(files) = call.home().files.as_ref()
    {
        files.read_elsewhere(fd, bytes, now);
        let end = files.get(fd).map(|file| file.offset());
        if let (Ok(end), Some(lent)) = (end, call.system.lent_to(pid)) {
            lent.goes_on(fd, end, end);
        }
    }
    Ok(call.system.send_ahead(pid, fd, window as u32, from, count))
}

/// Bytes were written behind: `(fd, length, offset or none)`, in the pages that came before or in
/// buffer 1; to a pipe, as writes of the lengths in buffer 2. One byte in [`LENT`] says whether to go on so,
/// or a word how many pages the pipe has room for.
pub(crate) fn behind(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    let [fd, length, at, ..] = call.args;
    let (fd, pid) = (fd as u32, call.pid);
    let now = call.system.fs.time(call.system.now);
    let lent = call.system.lent_to(pid).ok_or(Errno::ESRCH)?;
    let pages = core::mem::take(&mut lent.staged);
    let (bytes, runs) = (call.inputs.get(1).unwrap_or(&[]), call.inputs.get(2));
    let held = (pages.len() * PAGE_SIZE + bytes.len()) as u64;
    // Nobody else's room is given to a body that writes more than it was promised.
    let mut promise = lent.writers.remove(&fd).unwrap_or_default();
    if length == 0 || length > held || length > promise.credit {
        return Err(Errno::EIO.into());
    }
    promise.credit -= length;
    let root = call.ids().has(FSETID);
    let home = call.home();
    let files = home.files.as_ref().ok_or(Errno::ESRCH)?;
    let bytes = &bytes[..bytes.len().min(length as usize)];
    let (written, goes_on) = match runs {
        Some(runs) => {
            let pieces = pipes::pieces(runs, bytes).filter(|_| bytes.len() as u64 == length);
            let piped = files.piped_elsewhere(fd, pieces.ok_or(Errno::EIO)?);
            let room = match files.lend_to_write(fd) {
                Some(Writable::Pipe(_, pages)) => pages,
                _ => 0,
            };
            promise.renew_pages(room);
            let written = piped.map(|()| length as usize);
            (written, room.to_le_bytes().to_vec())
        }
        None => {
            let what = Behind {
                at: (at != u64::MAX).then_some(at),
                pages,
                length: length as usize,
                bytes,
            };
            let written = files.written_elsewhere(fd, what, &mut promise.spare, (now, root));
            let again = matches!(files.lend_to_write(fd), Some(Writable::File(_)));
            let goes_on = again && room_for(CREDIT) && promise.renew();
            (written, alloc::vec![u8::from(goes_on)])
        }
    };
    if let Some(lent) = call.system.lent_to(pid) {
        lent.writers.insert(fd, promise);
    }
    call.outputs.set(LENT, goes_on);
    match written {
        Ok(written) if written as u64 == length => Ok(length),
        written => {
            let errno = written.err().unwrap_or(Errno::ENOSPC);
            machine::log!(
                "process {pid}: {length} bytes written away from home are lost: {errno:?}"
            );
            Err(errno.into())
        }
    }
}
