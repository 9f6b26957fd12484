//! Files that get shorter while they are mapped: the pages behind the end go, wherever they are mapped.
//!
//! Law: a page behind the end of its file is in no table any more, also when the program has written to
//! it privately; whoever touches it asks the file again, which answers SIGBUS or, when it has grown
//! again, zeros. The last page that is left loses what lies behind the end by being read anew.
//!
//! Not here: a body that is between two nodes is not reached. What it had read of the file is read anew
//! at the target anyway, from home.

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
        let gate = home.record.gate();
        let (owner, epoch) = (gate.owner(), gate.epoch());
        if owner != self.me {
            let pid = wire_pid(pid);
            self.send(
                owner,
                Message::Cut {
                    pid,
                    epoch,
                    file,
                    size,
                },
            );
        }
    }

    /// Home says that a file which a body here maps has become shorter.
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
        }
    }
}
