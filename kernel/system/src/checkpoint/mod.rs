//! Checkpoints: a process as bytes, and a process again from them.
//!
//! Law: a checkpoint is of one instant, in which the process stands still with every thread at the user boundary, as
//! in a move; it is taken at home, where all of the process is known. What cannot be had again from the bytes is
//! refused then, in words, not found out later. A process begins again only where nobody has its number, in an epoch
//! that it has never had, and only from bytes that are whole: nothing of them is used before the last one is checked.
//!
//! Reading `/proc/PID/checkpoint` from its beginning takes one ([`take`]); the process goes on at once, as its pages are
//! copied when it writes to them, and the reader has the bytes as fast as it takes them. Writing them to
//! `/proc/cluster/restart` makes the process again ([`restart`]), as a child of the writer. `image` has the bytes.
//!
//! Not in it: the contents of files, children, pipes, sockets, and memory that others see.

mod image;
mod restart;
mod take;

use crate::files::Inode;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use image::{Coming, Leaving};
use serde::{Deserialize, Serialize};

/// What home knows of a process, for a checkpoint.
#[derive(Serialize, Deserialize)]
struct Known {
    kept: crate::keeper::Kept,
    /// What it maps of files that are not of the boot image.
    mapped: Vec<NamedFile>,
    /// `auxv` and `environ` of proc(5).
    auxiliary: Vec<u8>,
    environment: Vec<u8>,
    /// The next SIGALRM, from now, and the interval after it, ns; 0 is never.
    timer: (u64, u64),
}

/// A mapped file as it was: another of that name, or one that was written to since, is not taken for it.
#[derive(PartialEq, Serialize, Deserialize)]
struct NamedFile {
    handle: u32,
    path: Vec<u8>,
    size: u64,
    /// When it was last written, s and ns.
    modified: (i64, i64),
}

impl NamedFile {
    fn of(handle: u32, path: &[u8], file: &Inode) -> NamedFile {
        let modified = file.attributes().modified;
        NamedFile {
            handle,
            path: path.to_vec(),
            size: file.size(),
            modified: (modified.seconds, modified.nanoseconds),
        }
    }
}

/// Somebody waits for a process to stand still.
#[derive(Clone, Copy)]
struct Wanted {
    /// The process that reads.
    reader: u32,
    until_ns: u64,
}

/// Checkpoints that are being taken, read, and written.
#[derive(Default)]
pub(crate) struct Checkpoints {
    /// By process.
    wanted: BTreeMap<u32, Wanted>,
    /// By the process that reads: of whom, and what it has not read yet.
    leaving: BTreeMap<u32, (u32, Leaving)>,
    /// By the process that writes.
    coming: BTreeMap<u32, Coming>,
}

#[cfg(test)]
pub(crate) use image::seal_anew;

impl Checkpoints {
    /// Somebody wants one, whatever is in its way.
    #[cfg(test)]
    pub(crate) fn want(&mut self, pid: u32, reader: u32) {
        let until_ns = u64::MAX;
        self.wanted.insert(pid, Wanted { reader, until_ns });
    }

    /// Whether nothing is kept for anybody.
    #[cfg(test)]
    pub(crate) fn is_idle(&self) -> bool {
        self.wanted.is_empty() && self.leaving.is_empty() && self.coming.is_empty()
    }

    /// Whether a process stands still, or is to, for a checkpoint.
    pub(crate) fn is_wanted(&self, pid: u32) -> bool {
        self.wanted.contains_key(&pid)
    }
}

impl crate::system::System {
    /// A process is over: nobody reads a checkpoint of it that is not taken yet, nor does it read or write any more.
    pub(crate) fn checkpoints_without(&mut self, pid: u32) {
        let checkpoints = &mut self.checkpoints;
        checkpoints.wanted.remove(&pid);
        checkpoints.leaving.remove(&pid);
        checkpoints.coming.remove(&pid);
        let waited = checkpoints.wanted.iter();
        let waited: Vec<u32> = waited
            .filter(|(_, wanted)| wanted.reader == pid)
            .map(|(pid, _)| *pid)
            .collect();
        for pid in waited {
            self.checkpoint_unwanted(pid);
        }
    }
}
