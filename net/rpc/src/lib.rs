//! The gate of effects: at-most-once calls of one process, judged at its home.
//!
//! Law: a process acts on the world only through its gate. A call has an effect only if it comes
//! from the current owner (node *and* boot), carries the current epoch and the next sequence
//! number of its thread. The last number again gets the same answer again, without a second effect.
//! The sequences belong to the threads and not to the link, so they go on across moves.
//!
//! Ownership is one for the process; each thread has a *lane* with a sequence of its own, because
//! the calls of threads overlap:
//!
//! ```text
//!        admit(seq = next) -> Execute          complete(seq, reply)
//!  Idle ------------------------------> Running --------------------> Idle, next += 1, reply kept
//!   ^                                      |
//!   +--------------------------------------+  cancel: no effect, next stays
//! ```
//!
//! One call runs at a time in a lane. Who drives it (the home's kernel):
//! * `Message::Call` arrives: [`Gate::admit`] (through `migrate::HomeRecord::accept_effect`, which
//!   also releases the previous owner). `Execute`: run it, now or when what it waits for is there,
//!   then [`Gate::complete`] and send the reply to [`Gate::owner`]. `Repeat`: send that reply.
//!   `Running`: nothing, the answer goes to the present owner when it is there. `Refused`: reply
//!   with `Outcome::Refused`. `Gap`: drop it and count it.
//! * `Message::Cancel` arrives and the running call still waits, without an effect so far:
//!   [`Gate::cancel`]; if it says true, forget the call and reply `Outcome::Interrupted`. A call
//!   that has already had a part of its effect is not cancelled but completed with that part.
//!
//! A cancelled call does not consume its number. That is sound because the lanes of `link` deliver
//! nothing twice: neither a duplicate of the cancelled call nor one of the reply `Interrupted` can
//! come behind the next call, which has the same number.
//!
//! Deliberately not here: what a call does, and the decision who owns the process; the latter is
//! `migrate::HomeRecord`'s, the only caller of [`Gate::transfer`].
#![no_std]

extern crate alloc;

mod rules;

pub use rules::{Rule, Rules};

use alloc::collections::BTreeMap;
use wire::{BootId, NodeId, Outcome, Pid, Reply};

/// What the gate says about one call.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Admission {
    /// The next call of the process, from its owner: it shall take effect, once.
    Execute,
    /// The last completed call again: its reply, stamped with the asker's epoch. No effect.
    Repeat(Reply),
    /// The call that is being executed, again: it will be answered when it completes.
    Running,
    /// Not the owner, or an epoch that is over: the caller's copy is stale. Who owns it is told.
    Refused {
        /// The current epoch.
        epoch: u64,
        /// The node that owns the process in it.
        owner: NodeId,
        /// That node's boot.
        owner_boot: BootId,
    },
    /// A number that is neither the next nor the last: a protocol error, to be dropped.
    Gap,
}

impl Admission {
    /// The outcome to reply with if the call was refused.
    pub fn refusal(&self) -> Option<Outcome> {
        match *self {
            Admission::Refused {
                epoch,
                owner,
                owner_boot,
            } => Some(Outcome::Refused {
                epoch,
                owner,
                owner_boot,
            }),
            _ => None,
        }
    }
}

/// The call sequence of one thread.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Lane {
    /// The number the next call must have; it is also the running call's while one runs.
    next_seq: u64,
    running: bool,
    /// The reply to `next_seq - 1`.
    last: Option<Reply>,
    /// Found in a journal: the next call tells the number.
    open: bool,
}

impl Lane {
    fn new(next_seq: u64) -> Lane {
        Lane {
            next_seq,
            running: false,
            last: None,
            open: false,
        }
    }

    fn open() -> Lane {
        Lane {
            open: true,
            ..Lane::new(0)
        }
    }

    /// The first call of the thread in this boot of home is this one; `kept`: answers out of the journal count.
    fn told(&mut self, seq: u64, kept: bool) {
        let answered = self.last.as_ref().is_some_and(|last| last.seq == seq) && kept;
        if core::mem::take(&mut self.open) && !answered {
            // No thread makes so many calls, and numbers can be counted on.
            *self = Lane::new(seq.min(u64::MAX / 2));
        }
    }
}

/// Ownership and call sequences of one process, held by its home from fork to reaping.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Gate {
    epoch: u64,
    owner: NodeId,
    owner_boot: BootId,
    /// By thread.
    lanes: BTreeMap<Pid, Lane>,
    /// Home has booted again: what it does not know of a thread's sequence, the thread's first call tells. What
    /// was under way before is not under way any more, and the new boot hears nothing of the old one's lanes.
    restored: bool,
    rules: Rules,
}

impl Gate {
    /// The gate of a new process with its first thread: epoch 1, first call number 1.
    pub fn new(owner: NodeId, boot: BootId, first: Pid) -> Gate {
        Gate {
            epoch: 1,
            owner,
            owner_boot: boot,
            lanes: BTreeMap::from([(first, Lane::new(1))]),
            restored: false,
            rules: Rules::ALL,
        }
    }

    /// The gate of a process that its home has found in its journal: who owns it, and of some threads the last
    /// answer, which counts if that call comes again.
    pub fn restored(
        epoch: u64,
        (owner, owner_boot): (NodeId, BootId),
        answers: impl Iterator<Item = (Pid, Reply)>,
    ) -> Gate {
        let lane = |last: Reply| Lane {
            next_seq: last.seq.min(u64::MAX / 2) + 1,
            last: Some(last),
            ..Lane::open()
        };
        Gate {
            epoch,
            owner,
            owner_boot,
            lanes: answers.map(|(thread, last)| (thread, lane(last))).collect(),
            restored: true,
            rules: Rules::ALL,
        }
    }

    /// The same, with other rules.
    #[cfg(feature = "mutants")]
    pub fn bound_by(self, rules: Rules) -> Gate {
        Gate { rules, ..self }
    }

    /// The current epoch. It only grows, by one with each change of hands.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The node whose copy may have effects.
    pub fn owner(&self) -> NodeId {
        self.owner
    }

    /// The boot of that node: its copy died if it has booted again since.
    pub fn owner_boot(&self) -> BootId {
        self.owner_boot
    }

    /// A new thread, whose first call has this number.
    pub fn open_lane(&mut self, thread: Pid, first_seq: u64) {
        self.lanes.insert(thread, Lane::new(first_seq));
    }

    /// A thread is over; the number that its next call would have had.
    pub fn close_lane(&mut self, thread: Pid) -> Option<u64> {
        self.lanes.remove(&thread).map(|lane| lane.next_seq)
    }

    /// The number that the next call of a thread to execute must carry.
    pub fn next_seq(&self, thread: Pid) -> Option<u64> {
        self.lanes.get(&thread).map(|lane| lane.next_seq)
    }

    /// The number of the call of a thread that is being executed, if there is one.
    pub fn running(&self, thread: Pid) -> Option<u64> {
        let lane = self.lanes.get(&thread)?;
        lane.running.then_some(lane.next_seq)
    }

    /// Whether that copy is the one which may have effects now.
    pub fn is_owner(&self, node: NodeId, boot: BootId, epoch: u64) -> bool {
        self.owner == node && self.owner_boot == boot && self.epoch == epoch
    }

    /// Judges a call. Only [`Admission::Execute`] changes anything: the call then runs until
    /// [`Gate::complete`] or [`Gate::cancel`]. A thread that is over has only gaps.
    pub fn admit(
        &mut self,
        from: NodeId,
        boot: BootId,
        epoch: u64,
        thread: Pid,
        seq: u64,
    ) -> Admission {
        let owned = (from, boot) == (self.owner, self.owner_boot);
        let current = epoch == self.epoch || !self.rules.hold(Rule::CallsCarryTheEpoch);
        if !(owned && current) && self.rules.hold(Rule::AStaleCopyIsRefused) {
            return self.refused();
        }
        if self.restored && self.rules.hold(Rule::AFirstCallTellsItsNumber) {
            let kept = self.rules.hold(Rule::AKeptAnswerIsGivenAgain);
            let lane = self.lanes.entry(thread).or_insert_with(Lane::open);
            lane.told(seq, kept);
        }
        let Some(lane) = self.lanes.get_mut(&thread) else {
            return Admission::Gap;
        };
        if seq == lane.next_seq {
            if lane.running && self.rules.hold(Rule::ARunningCallIsNotBegunAgain) {
                return Admission::Running;
            }
            lane.running = true;
            return Admission::Execute;
        }
        match &lane.last {
            Some(last) if last.seq == seq => {
                if !self.rules.hold(Rule::ARepeatedCallIsOnlyAnswered) {
                    return Admission::Execute;
                }
                let mut reply = last.clone();
                reply.epoch = epoch;
                Admission::Repeat(reply)
            }
            _ => Admission::Gap,
        }
    }

    /// The running call `seq` of a thread has had its effect; `reply` is kept for a repetition.
    /// Returns false, and keeps nothing, if that call is not running (it was cancelled).
    pub fn complete(&mut self, thread: Pid, seq: u64, reply: Reply) -> bool {
        let Some(lane) = self.lanes.get_mut(&thread) else {
            return false;
        };
        if !lane.running || lane.next_seq != seq {
            return false;
        }
        lane.running = false;
        lane.next_seq += 1;
        lane.last = Some(Reply { seq, ..reply });
        true
    }

    /// The owner wants a thread's running call ended without effect. True: it no longer runs, reply
    /// `Interrupted`; its number is free for the next call. False: too late or not the owner's
    /// running call; an answer is on its way or not due.
    pub fn cancel(
        &mut self,
        from: NodeId,
        boot: BootId,
        epoch: u64,
        thread: Pid,
        seq: u64,
    ) -> bool {
        let owned = self.is_owner(from, boot, epoch) || !self.rules.hold(Rule::OnlyTheOwnerCancels);
        match self.lanes.get_mut(&thread) {
            Some(lane) if owned && lane.running && lane.next_seq == seq => {
                lane.running = !self.rules.hold(Rule::ACancelledCallDoesNotRun);
                true
            }
            _ => false,
        }
    }

    /// Makes `owner` the owner, in a new epoch, and returns it. For `migrate::HomeRecord` only:
    /// anyone else who calls this breaks the promise of one owner per epoch.
    pub fn transfer(&mut self, owner: NodeId, boot: BootId) -> u64 {
        self.epoch += u64::from(self.rules.hold(Rule::AChangeOfHandsMakesANewEpoch));
        self.owner = owner;
        self.owner_boot = boot;
        self.epoch
    }

    fn refused(&self) -> Admission {
        Admission::Refused {
            epoch: self.epoch,
            owner: self.owner,
            owner_boot: self.owner_boot,
        }
    }
}

#[cfg(test)]
mod tests;
