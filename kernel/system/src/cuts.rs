//! Files that change while they are mapped: what is mapped shows it, wherever the process is.
//!
//! Law: a page behind the end of its file is in no table any more, also when the program has written to
//! it privately; whoever touches it asks the file again, which answers SIGBUS or, when it has grown
//! again, zeros. The last page that is left loses what lies behind the end by being read anew. At home
//! the frames of a file are mapped; a body elsewhere has copies, and lets go of those that it has not
//! written to when home says that the file has changed. Home says so before it sends anything else, as
//! with what is lent (`crate::ahead`), and once more to the next node of a body that was under way.

use crate::dispatch::wire_pid;
use crate::system::System;
use alloc::sync::Arc;
use alloc::vec::Vec;
use wire::{Message, NodeId, Pid};

impl System {
    /// Takes what files have lost from all who map them.
    pub(crate) fn settle_cuts(&mut self) {
        for (inode, size) in self.fs.take_cuts() {
            let holders: Vec<(u32, u32)> = self
                .homes
                .values()
                .filter(|home| home.lives())
                .filter_map(|home| Some((home.pid, home.mapped.handle_of(&inode)?)))
                .collect();
            for (pid, file) in holders {
                self.cut(pid, file, size);
            }
            drop::<Arc<_>>(inode);
        }
    }

    fn cut(&mut self, pid: u32, file: u32, size: u64) {
        if let Some(body) = self.bodies.get(&pid) {
            let space = body.space;
            if let Some(space) = self.spaces.get_mut(space) {
                space.cut_file(file, size);
            }
            return;
        }
        let Some(home) = self.homes.get(&pid) else {
            return;
        };
        if home.record.gate().owner() != self.me {
            return self.tell_changes(pid, &[(file, size)]);
        }
        // It is just leaving.
        if let Some(home) = self.homes.get_mut(&pid) {
            home.mapped.note_missed(file);
        }
    }

    /// Tells bodies elsewhere of the files that have changed of those they map.
    pub(crate) fn tell_mapped(&mut self) {
        #[cfg(feature = "canary")]
        if self.canary == Some(crate::inside::Canary::MappedUntold) {
            return;
        }
        let me = self.me;
        let mut news = Vec::new();
        for pid in self.lent.keys() {
            if let Some(home) = self.homes.get_mut(pid)
                && home.record.gate().owner() != me
            {
                let changed = home.mapped.take_changed();
                if !changed.is_empty() {
                    news.push((*pid, changed));
                }
            }
        }
        for (pid, changed) in news {
            self.tell_changes(pid, &changed);
        }
    }

    /// Home has decided where a body is: it is told there what it may have missed on the way.
    pub(crate) fn tell_missed(&mut self, pid: u32) {
        self.keep_shared(pid);
        let Some(home) = self.homes.get_mut(&pid) else {
            return;
        };
        let missed = home.mapped.take_missed();
        if home.record.gate().owner() == self.me {
            self.lent.remove(&pid);
            for (file, size) in missed {
                self.cut(pid, file, size);
            }
            return;
        }
        self.lent_to(pid);
        self.tell_changes(pid, &missed);
    }

    /// Home has given a body back to where it was before. It is told of all files that it maps, as changes since were told to who had it.
    pub(crate) fn tell_given_back(&mut self, pid: u32) {
        if let Some(home) = self.homes.get_mut(&pid) {
            home.mapped.note_all_missed();
        }
        self.tell_missed(pid);
    }

    fn tell_changes(&mut self, pid: u32, changed: &[(u32, u64)]) {
        let Some(home) = self.homes.get(&pid) else {
            return;
        };
        let gate = home.record.gate();
        let (owner, epoch) = (gate.owner(), gate.epoch());
        let pid = wire_pid(pid);
        for (file, size) in changed.iter().copied() {
            let cut = Message::Cut {
                pid,
                epoch,
                file,
                size,
            };
            // An owner that cannot be told has no way to learn of anything else, either.
            self.send_kept(owner, cut);
        }
    }

    /// Home says that a file which a body here maps has changed.
    pub(crate) fn cut_came(
        &mut self,
        from: NodeId,
        (pid, epoch): (Pid, u64),
        file: u32,
        size: u64,
    ) {
        let Some(body) = self.bodies.get(&pid.0) else {
            return;
        };
        if body.home != from || body.epoch != epoch {
            return;
        }
        let space = body.space;
        if let Some(space) = self.spaces.get_mut(space) {
            space.cut_file(file, size);
            space.refresh_file(file);
        }
    }
}
