//! Shared memory of System V: shmget(2), shmat(2), shmdt(2), shmctl(2).
//!
//! Law: a segment is a file without a name, and an attachment is an area that maps it. So the areas count
//! the attachments, whatever brings or ends them (fork, execve, exit, munmap), and a segment that was
//! removed lives exactly as long as an area has it: the table only knows it then, and does not hold it.
//!
//! Who attaches is at home, where the pages are. A removed segment that one process alone has left can
//! move along with it as memory of its own; others keep a process at home, because anybody may attach.

use super::{
    Caller, Entry, IPC_INFO, IPC_PRIVATE, IPC_RMID, IPC_SET, IPC_STAT, Ipc, READS, WRITES, put,
};
use crate::files::InodeRef;
use crate::memory::{FetchStop, SharedPages};
use crate::wait::Wakes;
use abi::Errno;
use alloc::string::String;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::fmt::Write as _;
use machine::{Frame, PAGE_SIZE};

const SHM_LOCK: u32 = 11;
const SHM_UNLOCK: u32 = 12;
const SHM_STAT: u32 = 13;
const SHM_INFO: u32 = 14;
const SHM_STAT_ANY: u32 = 15;
/// In a mode: it goes with its last attachment.
const SHM_DEST: u32 = 0o1000;
/// In a mode: it is to stay in memory, which everything does.
const SHM_LOCKED: u32 = 0o2000;
const SHM_HUGETLB: u32 = 0o4000;
const SHM_RDONLY: u32 = 0o10000;
const SHM_EXEC: u32 = 0o100_000;
/// Most segments, unless it is set otherwise (`SHMMNI`).
pub(super) const SEGMENTS_MAX: usize = 4096;

/// The pages of a segment. Each area that maps it holds one handle.
pub(crate) struct Attachable {
    inode: InodeRef,
}

impl SharedPages for Attachable {
    fn page(&self, index: u64) -> Result<Frame, FetchStop> {
        SharedPages::page(&*self.inode, index)
    }

    fn punch(&self, from: u64, to: u64) -> Result<(), Errno> {
        SharedPages::punch(&*self.inode, from, to)
    }

    fn held(&self) -> Vec<u64> {
        let mut held = Vec::new();
        self.inode
            .pages_there(0, u64::MAX, &mut |index, _| held.push(index));
        held
    }

    fn take(&self) -> Vec<(u64, Frame)> {
        self.inode.take_pages()
    }
}

/// Who holds the pages: the table, or only those who have attached them.
enum Hold {
    Table(Arc<Attachable>),
    Attached(Weak<Attachable>),
}

/// One segment.
pub(super) struct Segment {
    hold: Hold,
    size: u64,
    attached_s: u64,
    detached_s: u64,
    changed_s: u64,
    creator: u32,
    last: u32,
}

impl Segment {
    fn pages(&self) -> Option<Arc<Attachable>> {
        match &self.hold {
            Hold::Table(pages) => Some(pages.clone()),
            Hold::Attached(pages) => pages.upgrade(),
        }
    }

    fn is_over(&self) -> bool {
        matches!(&self.hold, Hold::Attached(pages) if pages.strong_count() == 0)
    }

    fn attachments(&self) -> u64 {
        let count = match &self.hold {
            Hold::Table(pages) => Arc::strong_count(pages) - 1,
            Hold::Attached(pages) => pages.strong_count(),
        };
        count as u64
    }

    /// Pages in memory.
    fn resident(&self) -> u64 {
        self.pages().map_or(0, |pages| pages.held().len() as u64)
    }
}

impl Ipc {
    /// Forgets the segments whose last attachment is gone.
    fn sweep(&mut self) {
        for slot in &mut self.segments.entries {
            if slot.as_ref().is_some_and(|entry| entry.object.is_over()) {
                *slot = None;
            }
        }
    }

    /// shmget(2); `make` gives a file of so many bytes.
    pub(crate) fn shmget(
        &mut self,
        caller: &Caller,
        (key, size, flags): (i32, u64, u32),
        wakes: &Wakes,
        make: impl FnOnce(u64) -> Result<InodeRef, Errno>,
    ) -> Result<u64, Errno> {
        self.sweep();
        let now_s = caller.now_s;
        let pages = |size: u64| size.div_ceil(PAGE_SIZE as u64);
        let others = self.segments.entries.iter().flatten();
        let others: u64 = others.map(|entry| pages(entry.object.size)).sum();
        let full = others.saturating_add(pages(size)) > self.limits.pages;
        let largest = self.limits.segment;
        let check = |known: Option<&Segment>| match known {
            Some(segment) if size > segment.size => Err(Errno::EINVAL),
            Some(_) => Ok(()),
            None if size == 0 || size > largest => Err(Errno::EINVAL),
            None if full => Err(Errno::ENOSPC),
            // There are no huge pages, as on a Linux that has none reserved.
            None if flags & SHM_HUGETLB != 0 || size > machine::USER_END => Err(Errno::ENOMEM),
            None => Ok(()),
        };
        let make = || {
            let pages = Arc::new(Attachable { inode: make(size)? });
            Ok(Segment {
                hold: Hold::Table(pages),
                size,
                attached_s: 0,
                detached_s: 0,
                changed_s: now_s,
                creator: caller.pid,
                last: 0,
            })
        };
        let id = self.segments.get(caller, key, flags, wakes, check, make)?;
        Ok(id as u64)
    }

    /// Checks that a segment can be attached so, and notes that it is.
    pub(crate) fn shmat(&mut self, caller: &Caller, id: i32, flags: u32) -> Result<u64, Errno> {
        self.sweep();
        let entry = self.segments.find(id)?;
        let mut wanted = if flags & SHM_RDONLY != 0 {
            READS
        } else {
            READS | WRITES
        };
        if flags & SHM_EXEC != 0 {
            wanted |= 0o111;
        }
        entry.permissions.check(caller, wanted)?;
        entry.object.attached_s = caller.now_s;
        entry.object.last = caller.pid;
        Ok(entry.object.size)
    }

    /// The pages of a segment, to be mapped.
    pub(crate) fn attachment(&mut self, id: i32) -> Result<Arc<Attachable>, Errno> {
        let segment = &self.segments.find(id)?.object;
        segment.pages().ok_or(Errno::EIDRM)
    }

    /// Somebody has detached the segment with these pages.
    pub(crate) fn shmdt(&mut self, caller: (u32, u64), pages: usize) {
        let (pid, now_s) = caller;
        for entry in self.segments.entries.iter_mut().flatten() {
            let segment = &mut entry.object;
            let same = segment
                .pages()
                .is_some_and(|held| Arc::as_ptr(&held).addr() == pages);
            if same {
                segment.detached_s = now_s;
                segment.last = pid;
            }
        }
    }

    /// shmctl(2): the value, and what is to be written to where the third argument points.
    pub(crate) fn shmctl(
        &mut self,
        caller: &Caller,
        id: i32,
        command: u32,
        given: &[u8],
    ) -> Result<(u64, Vec<u8>), Errno> {
        self.sweep();
        match command {
            IPC_INFO => Ok((self.segments.count().1 as u64, self.shm_limits())),
            SHM_INFO => Ok((self.segments.count().1 as u64, self.shm_usage())),
            SHM_STAT | SHM_STAT_ANY => {
                let any = command == SHM_STAT_ANY;
                let (id, entry) = self.segments.at_row(id, caller, any)?;
                Ok((id, status(entry)))
            }
            IPC_STAT => {
                let entry = self.segments.find(id)?;
                entry.permissions.check(caller, READS)?;
                Ok((0, status(entry)))
            }
            IPC_SET => {
                let entry = self.segments.find(id)?;
                entry.permissions.check_owner(caller)?;
                entry.permissions.change(given)?;
                entry.object.changed_s = caller.now_s;
                Ok((0, Vec::new()))
            }
            IPC_RMID => {
                self.shm_remove(caller, id)?;
                Ok((0, Vec::new()))
            }
            SHM_LOCK | SHM_UNLOCK => {
                let permissions = &mut self.segments.find(id)?.permissions;
                permissions.check_owner(caller)?;
                permissions.mode &= !SHM_LOCKED;
                if command == SHM_LOCK {
                    permissions.mode |= SHM_LOCKED;
                }
                Ok((0, Vec::new()))
            }
            _ => Err(Errno::EINVAL),
        }
    }

    fn shm_remove(&mut self, caller: &Caller, id: i32) -> Result<(), Errno> {
        let entry = self.segments.find(id)?;
        entry.permissions.check_owner(caller)?;
        if let Hold::Table(pages) = &entry.object.hold {
            let pages = Arc::downgrade(pages);
            entry.object.hold = Hold::Attached(pages);
        }
        // Nobody finds it by its key any more.
        entry.permissions.key = IPC_PRIVATE;
        entry.permissions.mode |= SHM_DEST;
        self.sweep();
        Ok(())
    }

    /// `struct shminfo64`.
    fn shm_limits(&self) -> Vec<u8> {
        let (size, pages) = (self.limits.segment, self.limits.pages);
        let most = self.segments.room.most as u64;
        [size, 1, most, most, pages, 0, 0, 0, 0]
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .collect()
    }

    /// `struct shm_info`.
    fn shm_usage(&self) -> Vec<u8> {
        let (used, _) = self.segments.count();
        let segments = || {
            self.segments
                .entries
                .iter()
                .flatten()
                .map(|entry| &entry.object)
        };
        let total: u64 = segments()
            .map(|held| held.size.div_ceil(PAGE_SIZE as u64))
            .sum();
        let resident: u64 = segments().map(Segment::resident).sum();
        [used as u64, total, resident, 0, 0, 0]
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .collect()
    }

    /// `/proc/sysvipc/shm`.
    pub(crate) fn shm_table(&mut self) -> String {
        self.sweep();
        let mut text = String::from(
            "       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  cgid      atime      dtime      ctime                   rss                  swap\n",
        );
        for (index, entry) in self.segments.entries.iter().enumerate() {
            let Some(entry) = entry else { continue };
            let (held, segment) = (&entry.permissions, &entry.object);
            let _ = writeln!(
                text,
                "{:10} {:10}  {:4o} {:21} {:5} {:5}  {:5} {:5} {:5} {:5} {:5} {:10} {:10} {:10} {:21} {:21}",
                held.key,
                self.segments.id_of(index),
                held.mode,
                segment.size,
                segment.creator,
                segment.last,
                segment.attachments(),
                held.uid,
                held.gid,
                held.cuid,
                held.cgid,
                segment.attached_s,
                segment.detached_s,
                segment.changed_s,
                segment.resident() * PAGE_SIZE as u64,
                0
            );
        }
        text
    }
}

/// `struct shmid64_ds`.
fn status(entry: &Entry<Segment>) -> Vec<u8> {
    let segment = &entry.object;
    let mut bytes = entry.permissions.to_bytes();
    bytes.resize(112, 0);
    for (at, field) in [
        (48, segment.size),
        (56, segment.attached_s),
        (64, segment.detached_s),
        (72, segment.changed_s),
        (88, segment.attachments()),
    ] {
        put(&mut bytes, at, &field.to_le_bytes());
    }
    put(&mut bytes, 80, &segment.creator.to_le_bytes());
    put(&mut bytes, 84, &segment.last.to_le_bytes());
    bytes
}
