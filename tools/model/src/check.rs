//! The checkers of the promises, over what an all-seeing observer knows.
//!
//! Law: each checker names the promise it keeps (HANDOFF.md's numbers), judges by what the outside of
//! the process has seen and by which copies there are, and fails loudly and once.

use crate::world::{
    Body, HOME, HOSTS, Host, Item, Mode, PID, Place, Promise, Seen, WRITE, World, host_of,
};
use wire::{BootId, Message, MoveError, NodeId};

impl World {
    /// Promise 2: one owner per epoch for ever, and epochs grow by one.
    pub(crate) fn note_owner(&mut self) {
        let Some(record) = &self.hosts[HOME].record else {
            return;
        };
        let gate = record.gate();
        let (epoch, owner) = (gate.epoch(), (gate.owner(), gate.owner_boot()));
        let known = self.observer.owners.len() as u64;
        if epoch == known + 1 {
            self.observer.owners.push(owner);
        } else if epoch != known {
            self.fail(Promise::Decision, "epochs do not grow one by one");
        } else if self.observer.owners.last() != Some(&owner) {
            self.fail(Promise::Decision, "an epoch has two owners");
        }
    }

    fn newest(&self) -> u64 {
        self.observer.owners.len() as u64
    }

    /// Promises 1 and 3: an effect is accepted from the newest owner's boot only.
    pub(crate) fn accepted(&mut self, from: Place, epoch: u64) {
        if epoch != self.newest() {
            self.fail(Promise::Stale, "an effect of an old epoch was accepted");
        } else if self.observer.owners.last() != Some(&from) {
            self.fail(
                Promise::OneCopy,
                "an effect of a copy that is not the owner's was accepted",
            );
        }
        self.observer.unseen = false;
    }

    /// Promise 4: the effects of a thread happen once each and in the program's order.
    pub(crate) fn effect(&mut self, thread: usize, argument: u64) {
        if argument != u64::from(self.observer.log[thread]) {
            self.fail(Promise::Once, "an effect happened twice or out of order");
        }
        self.observer.log[thread] += 1;
    }

    /// Promises 7 and 12: a process ends with its owner's boot only, and not before its first effect
    /// there while its frozen copy lives.
    pub(crate) fn check_ended(&mut self, lost: NodeId, boot: BootId) {
        if self.hosts[host_of(lost)].boot == boot {
            self.fail(Promise::Suspicion, "a process was ended on suspicion");
        }
        // A copy frozen in an older epoch than the last one is a relic that still waits for the
        // acknowledgement of its push.
        let newest = self.newest();
        let frozen = self.hosts.iter().any(|host| {
            let copy = host.body.as_ref();
            copy.is_some_and(|copy| copy.mode == Mode::Frozen && copy.epoch + 1 == newest)
        });
        if self.observer.unseen && frozen {
            self.fail(
                Promise::NotLost,
                "a process was lost before its first effect",
            );
        }
    }

    /// Promise 7: nor is it called lost while the target of its last move has all of it.
    pub(crate) fn check_heirs(&mut self, lost: NodeId, boot: BootId) {
        let newest = self.newest();
        let has_it = |host: &Host| {
            let copy = host.body.as_ref();
            let whole = copy.filter(|copy| copy.mode == Mode::Speculating && copy.epoch > newest);
            let from = host.target.as_ref().map(migrate::Target::source);
            whole.is_some() && from == Some((lost, boot))
        };
        if self.hosts.iter().any(has_it) {
            self.fail(
                Promise::NotLost,
                "a process was called lost that its target has",
            );
        }
    }

    /// Promise 6: a failed move leaves the process running here; a successful one leaves nothing.
    pub(crate) fn check_finished(
        &mut self,
        host: usize,
        target: usize,
        result: &Result<(), MoveError>,
    ) {
        let mode = self.hosts[host].body.as_ref().map(|body| body.mode);
        match result {
            Ok(()) if target == host => {}
            Ok(()) => {
                self.saw(Seen::Moved);
                if mode.is_some() {
                    self.fail(Promise::Rest, "something is left at the source");
                }
            }
            // The glue drops the body next, if the machine has not.
            Err(MoveError::Gone) => {}
            Err(_) => {
                self.saw(Seen::Failed);
                if matches!(mode, Some(Mode::Frozen | Mode::Draining)) {
                    self.fail(
                        Promise::FailedMove,
                        "a failed move left the process standing still",
                    );
                }
            }
        }
    }

    /// What must hold in every state.
    pub(crate) fn check_now(&mut self) {
        self.check_copies();
        let Some(record) = &self.hosts[HOME].record else {
            return;
        };
        // Promise 7: as long as home may give the process back, the copy is there.
        if let Some((node, boot)) = record.previous() {
            let host = &self.hosts[host_of(node)];
            let frozen = host.body.as_ref().is_some_and(|b| b.mode == Mode::Frozen);
            if host.boot == boot && !frozen {
                self.fail(Promise::NotLost, "the previous owner has dropped its copy");
            }
        }
        self.check_pages();
    }

    /// Promises 1 and 2: who acts does so in an epoch that home has given to it, and one copy does.
    fn check_copies(&mut self) {
        let acting = |host: &Host| {
            let body = host.body.as_ref()?;
            matches!(body.mode, Mode::Running | Mode::Draining).then_some(body.epoch)
        };
        let epochs: [Option<u64>; HOSTS] = std::array::from_fn(|host| acting(&self.hosts[host]));
        for (host, epoch) in epochs.into_iter().enumerate() {
            let Some(epoch) = epoch else { continue };
            if epochs[..host].contains(&Some(epoch)) {
                self.fail(Promise::OneCopy, "two copies act in one epoch");
            }
            let given = self.observer.owners.get(epoch as usize - 1);
            if given != Some(&self.me(host)) {
                self.fail(
                    Promise::Decision,
                    "a copy acts in an epoch that home has not given to it",
                );
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
        let Some(Body {
            epoch,
            pages_at: Some((node, boot)),
            ..
        }) = self.hosts[owner].body
        else {
            return;
        };
        if self.observer.stuck || !gate.is_owner(gate.owner(), self.hosts[owner].boot, epoch) {
            return;
        }
        let source = host_of(node);
        let end = Item::Message(Message::PushEnd { pid: PID, epoch });
        let lane = self.lanes.get(&(source, owner, 1));
        let coming = lane.is_some_and(|lane| lane.iter().any(|packet| packet.item == end));
        let host = &self.hosts[source];
        if host.boot == boot && host.body.is_none() && !coming {
            self.fail(
                Promise::Bystanders,
                "pages were dropped before the target had them",
            );
        }
    }

    /// Delivers all, completes all, lets all timers run; then judges what is left, and lets the
    /// process prove that it lives.
    pub fn settle(&mut self) {
        self.calm_down();
        if self.observer.stuck {
            return;
        }
        self.check_rest();
        if self.observer.over {
            return;
        }
        let mut expected = self.observer.log;
        for _ in 0..2 {
            for (thread, effects) in expected.iter_mut().enumerate() {
                for host in 0..HOSTS {
                    self.act(host, thread, WRITE);
                }
                *effects += 1;
            }
            self.calm_down();
        }
        self.check_rest();
        if !self.observer.over && self.observer.log != expected {
            self.fail(Promise::Rest, "the process does not get on");
        }
    }

    fn calm_down(&mut self) {
        for _ in 0..1000 {
            if self.observer.violation.is_some() {
                return;
            }
            let lane = self.lanes.keys().next().copied();
            if let Some(lane) = lane {
                self.deliver(lane, 0);
            } else if self.may_flush() {
                self.flush();
            } else if self.executing() > 0 {
                self.complete(0);
            } else if let Some(host) = (0..HOSTS).find(|host| self.pushes(*host)) {
                self.push(host);
            } else if let Some(host) = self.doomed() {
                self.act(host, 0, WRITE);
            } else if let Some(due) = self.next_due() {
                self.now = self.now.max(due);
                for host in 0..HOSTS {
                    self.timeout(host, self.now);
                }
            } else {
                return;
            }
        }
        if !self.observer.stuck {
            self.fail(Promise::FailedMove, "a move does not come to an end");
        }
    }

    fn doomed(&self) -> Option<usize> {
        let doomed = |host: &usize| {
            let body = self.hosts[*host].body.as_ref();
            body.is_some_and(|body| body.doomed) && self.may_call(*host, 0)
        };
        (0..HOSTS).find(doomed)
    }

    /// Whether it has got what home has handed out, once; a home that died may have lost one with the answer.
    fn has_its_signals(&self, took: Option<u8>) -> bool {
        match self.observer.rebooted {
            true => took.is_some_and(|took| took <= self.observer.taken),
            false => took == Some(self.observer.taken),
        }
    }

    /// Promise 7: a process that is on its way and has had no effect here is not lost with a home that has a disk, as its
    /// source has it frozen.
    pub(crate) fn outlives_home(&self) -> bool {
        let frozen = |host: &Host| host.body.as_ref().is_some_and(|b| b.mode == Mode::Frozen);
        let elsewhere = self.hosts[HOME + 1..].iter().any(frozen);
        self.has_disk() && !self.observer.over && self.observer.unseen && elsewhere
    }

    /// Promises 5, 6, 7 and 26: at rest there is the owner's copy, or nothing if the process is
    /// over, and no machine waits for anything.
    fn check_rest(&mut self) {
        if self.observer.violation.is_some() {
            return;
        }
        let waits = |host: &Host| host.source.is_some() || host.target.is_some();
        if self.hosts.iter().any(waits) {
            self.fail(Promise::Rest, "a machine of a move is left over");
        }
        let copies = self.hosts.iter().filter(|h| h.body.is_some()).count();
        let Some(record) = &self.hosts[HOME].record else {
            if !self.observer.over {
                self.fail(Promise::NotLost, "the process was lost");
            }
            if copies != 0 {
                self.fail(Promise::Signals, "a copy outlived its process");
            }
            return;
        };
        let gate = record.gate();
        let host = &self.hosts[host_of(gate.owner())];
        let lives = host.body.as_ref().is_some_and(|body| {
            body.mode == Mode::Running && gate.is_owner(gate.owner(), host.boot, body.epoch)
        });
        let took = host.body.as_ref().map(|body| body.took);
        if !lives {
            self.fail(Promise::NotLost, "the owner has no running copy");
        } else if copies != 1 {
            self.fail(Promise::Stale, "a stale copy is left");
        } else if self.hosts[HOME].pending || !self.has_its_signals(took) {
            self.fail(Promise::Signals, "a signal did not arrive exactly once");
        }
    }
}
