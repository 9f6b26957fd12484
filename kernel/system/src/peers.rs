//! What files learn of processes: their pending signals and their ends.

use crate::files::{Exit, Peers};
use crate::signals::SignalInfo;
use crate::system::System;
use crate::wait::WaitQueue;
use alloc::sync::Arc;

impl Peers for System {
    fn pending(&self, tid: u32) -> u64 {
        let home = self.homes.get(&self.process_at_home(tid));
        home.map_or(0, |home| home.pending_for(tid))
    }

    fn take_pending(&mut self, tid: u32, set: u64) -> Option<SignalInfo> {
        let pid = self.process_at_home(tid);
        self.homes.get_mut(&pid)?.take_of(tid, set)
    }

    fn signal_queue(&self, pid: u32) -> Option<Arc<WaitQueue>> {
        Some(self.homes.get(&pid)?.signalled.clone())
    }

    fn ids(&self, tid: u32) -> [u32; 4] {
        let home = self.homes.get(&self.process_at_home(tid));
        let ids = home
            .map(|home| home.credentials_of(tid).ids)
            .unwrap_or_default();
        [ids.uid, ids.euid, ids.gid, ids.egid]
    }

    fn exit_of(&self, pid: u32) -> Option<Arc<Exit>> {
        Some(self.homes.get(&pid)?.exit.clone())
    }

    fn thread_exit(&self, tid: u32) -> Option<(u32, Arc<Exit>)> {
        let pid = self.process_at_home(tid);
        let home = self.homes.get(&pid)?;
        let exit = match home.threads.get(&tid) {
            Some(thread) => thread.end.exit(self.fs.wakes()),
            // The first thread of one that has ended and was not waited for.
            None if tid == pid => home.exit.clone(),
            None => return None,
        };
        Some((pid, exit))
    }
}
