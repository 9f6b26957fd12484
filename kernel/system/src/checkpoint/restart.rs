//! A process again from a checkpoint.
//!
//! Law: first everything is checked, then the process is there. Its home grants it an epoch that no copy of it can have
//! had: one that counts nanoseconds since 1970, where moves count one by one.

use super::image::{Refusal, Whole};
use super::{Known, NamedFile};
use crate::credentials::SYS_ADMIN;
use crate::descriptor;
use crate::dispatch::wire_pid;
use crate::files::OpenFile;
use crate::hand_over::Frozen;
use crate::home::Home;
use crate::keeper::understood;
use crate::memory::Installed;
use crate::system::System;
use crate::wait::Stop;
use abi::Errno;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// Open files for the standard descriptors.
type Standard = Vec<(u32, Arc<OpenFile>)>;

impl System {
    /// Bytes that are written to `/proc/cluster/restart`. With the last one the process is there.
    pub(crate) fn write_checkpoint(
        &mut self,
        writer: u32,
        bytes: &[u8],
        standard: Standard,
    ) -> Result<usize, Stop> {
        let by = self.process_at_home(writer);
        let home = self.homes.get(&by).ok_or(Errno::ESRCH)?;
        // Whoever the bytes say that the process is, it will be.
        if !home.credentials_of(writer).ids.has(SYS_ADMIN) {
            return Err(Errno::EPERM.into());
        }
        let mut coming = self.checkpoints.coming.remove(&by).unwrap_or_default();
        let done = coming.take(bytes).and_then(|whole| match whole {
            true => self.restart(by, coming.finish()?, standard),
            false => {
                self.checkpoints.coming.insert(by, coming);
                Ok(())
            }
        });
        done.map_err(|(errno, why)| {
            machine::log!("process {by}: what it wants to begin again does not: {why}");
            errno
        })?;
        Ok(bytes.len())
    }

    fn restart(&mut self, by: u32, whole: Whole, standard: Standard) -> Result<(), Refusal> {
        const WRONG: Refusal = (Errno::EBADMSG, "what it says does not fit together");
        let pid = whole.head.pid;
        if wire_pid(pid).home() != self.me {
            return Err((Errno::EXDEV, "its home is another node"));
        }
        let Known {
            kept,
            mapped,
            auxiliary,
            environment,
            timer: (left, interval),
        } = understood(&whole.home).ok_or(WRONG)?;
        let tids: Vec<u32> = kept.tids().collect();
        let is_taken = |tid: &u32| {
            self.homes.contains_key(tid)
                || self.process_of.contains_key(tid)
                || self.threads.contains_key(tid)
        };
        if is_taken(&pid) || tids.iter().any(is_taken) {
            return Err((
                Errno::EEXIST,
                "there is a process or a thread of that number",
            ));
        }
        if self.homes.len() >= self.processes_max() {
            return Err((Errno::EAGAIN, "there are too many processes"));
        }
        if !kept.finds_its_files(&self.fs) {
            return Err(LACKING);
        }
        let unix_ns = self.settings.boot_unix_ns.saturating_add(self.now);
        let elapsed = unix_ns.saturating_sub(whole.head.taken_unix_ns);
        let mut frozen = descriptor::decode(&whole.descriptor, pid, self.now, elapsed, None)
            .map_err(|why| (Errno::EBADMSG, why))?;
        let are_its = frozen
            .threads
            .iter()
            .map(|thread| thread.tid)
            .eq(tids.iter().copied());
        if !are_its || frozen.space.is_seen_by_others() {
            return Err(WRONG);
        }
        fill(&mut frozen, whole.pages)?;
        let epoch = unix_ns.max(kept.epoch().saturating_add(1));
        let parent = self.homes.get(&by).ok_or(WRONG)?;
        let kept = kept.begun_again(epoch, (self.me, self.boot), parent);
        let (mut home, _) = kept.again(pid, Vec::new(), (&self.fs, &self.wakes, self.now));
        for known in mapped {
            let place = self.fs.lookup(&known.path).map_err(|_| LACKING)?;
            if NamedFile::of(known.handle, &known.path, &place) != known {
                return Err((Errno::ESTALE, "a file has changed that it maps"));
            }
            home.mapped
                .put(known.handle, place.inode().clone(), &known.path);
        }
        let files = home.files.as_mut().ok_or(WRONG)?;
        if !files.make_good(standard) {
            return Err(LACKING);
        }
        let due = if left == 0 {
            0
        } else {
            self.now.saturating_add(left)
        };
        let home = Home {
            auxiliary,
            environment,
            timer: (due, interval),
            ..home
        };
        let others = tids.iter().filter(|tid| **tid != pid);
        self.process_of.extend(others.map(|tid| (*tid, pid)));
        let poke = home.has_signals();
        self.homes.insert(pid, home);
        if due != 0 {
            self.timers.insert((due, pid));
        }
        self.keeper.touch(pid);
        self.tombstones.record(wire_pid(pid), epoch);
        machine::log!("process {pid}: begins again from a checkpoint, for process {by}");
        self.put_in(frozen);
        self.compute(pid);
        self.open_effects(pid, epoch, poke);
        Ok(())
    }
}

const LACKING: Refusal = (
    Errno::ENOENT,
    "a file or a directory is gone that it had open",
);

/// Gives a process its pages; those that are not there are zeros.
fn fill(frozen: &mut Frozen, pages: Vec<(u64, machine::Frame)>) -> Result<(), Refusal> {
    const NO_ROOM: Refusal = (Errno::ENOMEM, "its home has no memory for it");
    for (page, frame) in pages {
        match frozen.space.install(page, frame) {
            Installed::Yes => {}
            Installed::NotWanted => return Err((Errno::EBADMSG, "a page where it has none")),
            Installed::NoMemory => return Err(NO_ROOM),
        }
    }
    while let Some(page) = frozen.space.next_absent(0) {
        frozen.space.install_zero(page, 1).map_err(|_| NO_ROOM)?;
    }
    Ok(())
}
