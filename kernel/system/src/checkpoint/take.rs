//! Taking a checkpoint.
//!
//! Law: a process stands still for as long as its pages are counted, not for as long as they are read. If it cannot be
//! had at all, or not now, it has not noticed.

use super::image::Leaving;
use super::{Known, NamedFile, Wanted};
use crate::descriptor;
use crate::home::{Home, Life};
use crate::keeper::Kept;
use crate::system::System;
use crate::thread::Thread;
use crate::view::AT_ONCE;
use crate::wait::Stop;
use abi::Errno;
use alloc::collections::BTreeSet;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// A process that does not stand still within this time goes on, ns.
const STILL_NS: u64 = 5_000_000_000;

impl System {
    /// Bytes of `/proc/PID/checkpoint`. From the beginning on it is taken anew; then the bytes come in their order.
    pub(crate) fn read_checkpoint(
        &mut self,
        pid: u32,
        reader: u32,
        at: u64,
        count: usize,
    ) -> Result<Vec<u8>, Stop> {
        if count == 0 {
            return Ok(Vec::new());
        }
        let by = self.process_at_home(reader);
        let begun = |(of, leaving): &(u32, Leaving)| *of == pid && leaving.position == at;
        if at == 0 && !self.checkpoints.leaving.get(&by).is_some_and(begun) {
            self.want_checkpoint(pid, reader)?;
        }
        let Some((of, leaving)) = self.checkpoints.leaving.get_mut(&by) else {
            return Ok(Vec::new());
        };
        if (*of, leaving.position) != (pid, at) {
            return Err(Errno::ESPIPE.into());
        }
        let bytes = leaving.read(count.min(AT_ONCE));
        if bytes.is_empty() {
            self.checkpoints.leaving.remove(&by);
        }
        Ok(bytes)
    }

    /// Has a process stand still for a checkpoint, if it can be taken at all, and waits for that.
    fn want_checkpoint(&mut self, pid: u32, reader: u32) -> Result<(), Stop> {
        let by = self.process_at_home(reader);
        if by == pid {
            // It would begin again in the middle of taking it.
            return Err(Errno::EINVAL.into());
        }
        self.checkpoints.leaving.remove(&by);
        self.look_into(pid, reader)?;
        let obstacle = self.hold_of_checkpoint(pid).err();
        let obstacle = obstacle.or_else(|| Some(self.reason_to_stay(pid)?.to_string()));
        if let Some(why) = obstacle {
            self.checkpoint_unwanted(pid);
            if let Some(home) = self.homes.get_mut(&pid) {
                home.obstacle = Some(why);
            }
            return Err(Errno::EBUSY.into());
        }
        let moves = self.outgoing.contains_key(&pid) || self.incoming.contains_key(&pid);
        let body = self.bodies.get(&pid).ok_or(Errno::ESRCH)?;
        if moves || body.wish.is_some() {
            return Err(Stop::Wait);
        }
        match self.checkpoints.wanted.get(&pid) {
            Some(wanted) if wanted.reader == by && wanted.until_ns <= self.now => {
                self.checkpoint_unwanted(pid);
                return Err(Errno::ETIMEDOUT.into());
            }
            Some(_) => return Err(Stop::Wait),
            None => {}
        }
        let wanted = Wanted {
            reader: by,
            until_ns: self.now + STILL_NS,
        };
        self.checkpoints.wanted.insert(pid, wanted);
        self.bring_to_boundary(pid);
        match self.checkpoints.leaving.contains_key(&by) {
            true => Ok(()),
            false => Err(Stop::Wait),
        }
    }

    /// Nobody waits any more for a process to stand still: it goes on.
    pub(super) fn checkpoint_unwanted(&mut self, pid: u32) {
        if self.checkpoints.wanted.remove(&pid).is_some()
            && !self.is_stopped_to_move(pid)
            && let Some(body) = self.bodies.get_mut(&pid)
        {
            body.freezing = false;
            self.wake_threads(pid);
        }
    }

    /// A process stands still: its checkpoint is taken, and it goes on.
    pub(crate) fn take_checkpoint(&mut self, pid: u32) {
        let Some(Wanted { reader, .. }) = self.checkpoints.wanted.get(&pid).copied() else {
            return;
        };
        let known = self.hold_of_checkpoint(pid).ok();
        let stays = self.reason_to_stay(pid).is_some();
        let known = known.filter(|_| !stays && self.homes.get(&reader).is_some_and(Home::lives));
        let Some(known) = known else {
            // Who asked looks again, and finds why.
            return self.checkpoint_unwanted(pid);
        };
        let Some(mut frozen) = self.take_out(pid) else {
            return self.checkpoint_unwanted(pid);
        };
        self.checkpoints.wanted.remove(&pid);
        frozen.wind_back(self.homes.get(&pid));
        let threads: Vec<&Thread> = frozen.threads.iter().collect();
        let (now, space) = (self.now, &mut frozen.space);
        let descriptor = descriptor::draft(&frozen.body, &threads, space, now);
        let pages = frozen.space.portrait();
        let unix_ns = self.settings.boot_unix_ns.saturating_add(now);
        let home = postcard::to_allocvec(&known).unwrap_or_default();
        if let Some(leaving) = Leaving::new((pid, unix_ns), &home, &descriptor, pages) {
            self.checkpoints.leaving.insert(reader, (pid, leaving));
        }
        self.put_in(frozen);
        let poke = self.homes.get(&pid).is_some_and(Home::has_signals);
        self.run_on(pid, poke);
        if self.is_stopped_to_move(pid) {
            self.freeze(pid);
        }
    }

    /// What home knows of a process that could be had again from it.
    ///
    /// # Errors
    /// What could not, in words.
    fn hold_of_checkpoint(&mut self, pid: u32) -> Result<Known, String> {
        let no = |why: &str| Err(why.to_string());
        let gone = "it is not there";
        let home = self.homes.get(&pid).ok_or(gone)?;
        let space = self.space_of(pid).ok_or(gone)?;
        if pid == crate::home::INIT {
            return no("the first process of a node begins with its boot");
        }
        if self.homes.values().any(|other| other.parent == pid) {
            return no("it has children, which are not in a checkpoint");
        }
        if home.threads.values().any(|thread| thread.traced) {
            return no("it is traced");
        }
        if !home.timers.is_empty() {
            return no("it has timers of timer_create(2), which are not in a checkpoint");
        }
        if space.is_seen_by_others() || home.shares_memory() {
            return no("it has memory that others see, which is not in a checkpoint");
        }
        if !space.rings.is_empty() {
            return no("it has asynchronous I/O, which is not in a checkpoint");
        }
        let mut mapped = Vec::new();
        for handle in space.home_files().collect::<BTreeSet<u32>>() {
            let file = home.mapped.get(u64::from(handle)).ok_or(gone)?;
            let path = home.mapped.path(u64::from(handle)).ok_or(gone)?;
            if file.content_hash().is_some() {
                continue;
            }
            if !self.fs.lookup(path).is_ok_and(|named| named.is_same(&file)) {
                let path = String::from_utf8_lossy(path);
                return Err(alloc::format!("it maps {path}, which has lost that name"));
            }
            mapped.push(NamedFile::of(handle, path, &file));
        }
        let files = home.files.as_ref().ok_or(gone)?;
        let files = files.in_checkpoint(pid, &self.fs)?;
        let (due, interval) = home.timer;
        let left = due.saturating_sub(self.now).max(u64::from(due != 0));
        debug_assert!(matches!(home.life, Life::Alive | Life::Stopped { .. }));
        Ok(Known {
            kept: Kept::of(home, files),
            mapped,
            auxiliary: home.auxiliary.clone(),
            environment: home.environment.clone(),
            timer: (left, interval),
        })
    }
}
