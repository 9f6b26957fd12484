//! The checkers of the promises, over what an all-seeing observer knows.
//!
//! Law: each checker names the promise it keeps (HANDOFF.md's numbers), and fails loudly and once.

use super::world::{HOME, HOSTS, Item, Mode, PID, Place, WRITE, World, host_of};
use alloc::format;
use wire::{BootId, Message, MoveError, NodeId};

impl World {
    /// Promise 2: one owner per epoch for ever, and epochs grow by one.
    pub(super) fn note_owner(&mut self) {
        let Some(record) = &self.hosts[HOME].record else {
            return;
        };
        let gate = record.gate();
        let (epoch, owner) = (gate.epoch(), (gate.owner(), gate.owner_boot()));
        let newest = self.observer.owners.last_key_value().map(|(e, _)| *e);
        if newest.is_some_and(|newest| epoch < newest || epoch > newest + 1) {
            self.fail("epochs do not grow one by one");
        }
        let held = *self.observer.owners.entry(epoch).or_insert(owner);
        if held != owner {
            self.fail(format!("epoch {epoch} has two owners"));
        }
    }

    /// Promises 1 and 3: an effect is accepted from the newest owner's boot only.
    pub(super) fn accepted(&mut self, from: Place, epoch: u64) {
        let newest = self.observer.owners.last_key_value();
        if newest != Some((&epoch, &from)) {
            self.fail(format!("{from:?} had an effect in epoch {epoch}"));
        }
        self.observer.unseen = false;
    }

    /// Promise 4: effects happen once each and in the program's order.
    pub(super) fn effect(&mut self, argument: u64) {
        if argument != self.observer.log {
            let log = self.observer.log;
            self.fail(format!("effect {argument} came after {log} effects"));
        }
        self.observer.log = argument + 1;
    }

    /// Promises 7 and 12: a process ends with its owner's boot only, and not before its first effect
    /// there while the source lives and home knows nothing else.
    pub(super) fn check_ended(&mut self, lost: NodeId, boot: BootId) {
        if self.hosts[host_of(lost)].boot == boot {
            self.fail("a process was ended on suspicion");
        }
        // A copy frozen in an older epoch than the last one is a relic that still waits for the
        // acknowledgement of its push.
        let newest = self.observer.owners.last_key_value().map(|(e, _)| *e);
        let frozen = self.hosts.iter().any(|host| {
            let copy = host.body.as_ref();
            copy.is_some_and(|copy| copy.mode == Mode::Frozen && Some(copy.epoch + 1) == newest)
        });
        if self.observer.unseen && frozen {
            self.fail("a process was lost before its first effect");
        }
    }

    /// Promise 6: a failed move leaves the process running here; a successful one leaves nothing.
    pub(super) fn check_finished(
        &mut self,
        host: usize,
        target: usize,
        result: &Result<(), MoveError>,
    ) {
        let mode = self.hosts[host].body.as_ref().map(|body| body.mode);
        match result {
            Ok(()) => {
                if target == host {
                    return;
                }
                self.observer.moves.0 += 1;
                if mode.is_some() {
                    self.fail("something is left at the source");
                }
            }
            // The glue drops the body next, if the machine has not.
            Err(MoveError::Gone) => self.observer.moves.1 += 1,
            Err(_) => {
                self.observer.moves.1 += 1;
                if matches!(mode, Some(Mode::Frozen | Mode::Draining)) {
                    self.fail("a failed move left the process standing still");
                }
            }
        }
    }

    /// What must hold in every state.
    pub(super) fn check_now(&mut self) {
        self.check_copies();
        let Some(record) = &self.hosts[HOME].record else {
            return;
        };
        // Promise 7: as long as home may give the process back, the copy is there.
        if let Some((node, boot)) = record.previous() {
            let host = &self.hosts[host_of(node)];
            let frozen = host.body.as_ref().is_some_and(|b| b.mode == Mode::Frozen);
            if host.boot == boot && !frozen {
                self.fail("the previous owner has dropped its copy");
            }
        }
        self.check_pages();
    }

    /// Promise 1: at most one copy per epoch may act.
    fn check_copies(&mut self) {
        let acting = |host: &super::world::Host| {
            let body = host.body.as_ref()?;
            matches!(body.mode, Mode::Running | Mode::Draining).then_some(body.epoch)
        };
        for a in 0..HOSTS {
            for b in 0..a {
                let (one, other) = (acting(&self.hosts[a]), acting(&self.hosts[b]));
                if one.is_some() && one == other {
                    self.fail(format!("two copies act in epoch {one:?}"));
                }
            }
        }
    }

    /// Promise 8's exception: while pages are absent at the owner, their source has them.
    fn check_pages(&mut self) {
        let Some(record) = &self.hosts[HOME].record else {
            return;
        };
        let gate = record.gate();
        let owner = host_of(gate.owner());
        let Some(body) = &self.hosts[owner].body else {
            return;
        };
        if !gate.is_owner(gate.owner(), self.hosts[owner].boot, body.epoch) {
            return;
        }
        let Some((node, boot)) = body.pages_at else {
            return;
        };
        let source = host_of(node);
        let (epoch, pid) = (body.epoch, PID);
        let end = Item::Message(Message::PushEnd { pid, epoch });
        let coming = self
            .lanes
            .get(&(source, owner, 1))
            .is_some_and(|lane| lane.iter().any(|packet| packet.item == end));
        let host = &self.hosts[source];
        if host.boot == boot && host.body.is_none() && !coming {
            self.fail("pages were dropped before the target had them");
        }
    }

    /// Delivers all, completes all, lets all timers run; then judges what is left, and lets the
    /// process prove that it lives.
    pub(super) fn settle(&mut self) {
        self.calm_down();
        self.check_rest();
        if self.observer.over {
            return;
        }
        let before = self.observer.log;
        for _ in 0..2 {
            for host in 0..HOSTS {
                self.act(host, WRITE);
            }
            self.calm_down();
        }
        self.check_rest();
        if !self.observer.over && self.observer.log != before + 2 {
            self.fail("the process does not get on");
        }
    }

    fn calm_down(&mut self) {
        for _ in 0..1000 {
            if self.observer.violation.is_some() {
                return;
            }
            if let Some(lane) = self.busy_lanes().first() {
                self.deliver(*lane);
            } else if self.hosts[HOME].executing.is_some() {
                self.complete();
            } else if let Some(host) = self.doomed() {
                self.act(host, WRITE);
            } else if let Some(due) = self.next_due() {
                self.now = self.now.max(due);
                for host in 0..HOSTS {
                    self.timeout(host, self.now);
                }
            } else {
                return;
            }
        }
        self.fail("it does not come to rest");
    }

    fn doomed(&self) -> Option<usize> {
        (0..HOSTS).find(|host| {
            self.hosts[*host]
                .body
                .as_ref()
                .is_some_and(|body| body.doomed && body.call.is_none() && body.arrived)
        })
    }

    /// Promises 5, 6, 7 and 26: at rest there is the owner's copy, or nothing if the process is
    /// over, and no machine waits for anything.
    fn check_rest(&mut self) {
        if self.observer.violation.is_some() {
            return;
        }
        let waiting = self
            .hosts
            .iter()
            .any(|host| host.source.is_some() || host.target.is_some());
        if waiting {
            self.fail("a machine of a move is left over");
        }
        let copies = self.hosts.iter().filter(|h| h.body.is_some()).count();
        let Some(record) = &self.hosts[HOME].record else {
            if !self.observer.over {
                self.fail("the process was lost");
            }
            if copies != 0 {
                self.fail("a copy outlived its process");
            }
            return;
        };
        let gate = record.gate();
        let host = &self.hosts[host_of(gate.owner())];
        let lives = host.body.as_ref().is_some_and(|body| {
            body.mode == Mode::Running && gate.is_owner(gate.owner(), host.boot, body.epoch)
        });
        if !lives {
            self.fail("the owner has no running copy");
        }
        if copies != 1 {
            self.fail("a stale copy is left");
        }
    }
}
