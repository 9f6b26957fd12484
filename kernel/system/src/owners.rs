//! Signals to the owners of open files (`F_SETOWN`).
//!
//! Law: files note what has happened to them; it is told here, after the call or event that brought it
//! about and before anything else is done, to those whom the one that named the owner may signal.

use crate::files::{Asker, FileNotice, OwnerKind};
use crate::system::System;
use alloc::vec::Vec;

impl System {
    /// Tells owners of files what has happened. Returns whether there was something.
    pub(crate) fn file_notices(&mut self) -> bool {
        if self.fs.has_no_posts() {
            return false;
        }
        let asker = Asker {
            fs: &self.fs,
            view: self,
            pid: 0,
            tid: 0,
            now_ns: self.now,
        };
        for notice in self.fs.take_posts(&asker) {
            self.tell_owner(&notice);
        }
        true
    }

    fn tell_owner(&mut self, notice: &FileNotice) {
        let FileNotice { owner, info } = *notice;
        let process = match owner.kind {
            OwnerKind::Thread => self.process_at_home(owner.id),
            _ => owner.id,
        };
        let homes = self.homes.values().filter(|home| match owner.kind {
            OwnerKind::Group => home.group == owner.id,
            _ => home.pid == process,
        });
        let told = homes.filter(|home| {
            let ids = match owner.kind {
                OwnerKind::Thread => home.credentials_of(owner.id).ids,
                _ => home.ids(),
            };
            owner.may_tell((ids.uid, ids.suid))
        });
        let told: Vec<u32> = told.map(|home| home.pid).collect();
        for pid in told {
            match owner.kind {
                OwnerKind::Thread => self.signal_thread(pid, owner.id, info),
                _ => self.signal_with(pid, info),
            }
        }
    }
}
