//! The wish to move a process, until its move begins.
//!
//! Law: a wish that cannot begin yet is kept and tried again after every event; one that cannot begin
//! at all is answered with the reason, and the process runs on.

use super::source::{FIRST_PAGES, Outgoing};
use crate::body::{Effects, Hold, MoveWish};
use crate::descriptor;
use crate::dispatch::wire_pid;
use crate::memory::Space;
use crate::system::System;
use crate::thread::Thread;
use crate::timeline::What;
use abi::Errno;
use alloc::boxed::Box;
use alloc::string::ToString;
use alloc::vec::Vec;
use migrate::{Plan, Source};
use node::PeerState;
use wire::{Message, MoveError, MoveHow, MoveMode, MoveStats, NodeId, Offer};

/// The error number for what became of a wish.
pub(crate) fn errno_of(error: &MoveError) -> Errno {
    match error {
        MoveError::UnknownNode => Errno::ENXIO,
        MoveError::NodeDead => Errno::EHOSTDOWN,
        MoveError::NodeFull => Errno::ENOMEM,
        MoveError::Features => Errno::EOPNOTSUPP,
        MoveError::CantMove(_) | MoveError::Busy => Errno::EBUSY,
        MoveError::Gone => Errno::ESRCH,
        MoveError::TimedOut | MoveError::Bound(_) => Errno::ETIMEDOUT,
        MoveError::Aborted | MoveError::Crowded => Errno::EAGAIN,
    }
}

/// Bytes of a draft in an offer: what is longer is not held ready for so many offers.
pub(super) const DRAFT_MAX: usize = 256 << 10;
/// A process that starts whole is not stopped for longer than this, ns.
const WHOLE_NS: u64 = 30_000_000_000;
/// How long a wish may wait for what stands in its way, ns.
const WISH_NS: u64 = 60_000_000_000;

/// A bound, if there is one; else no bound.
fn within(bound_ns: u64) -> u64 {
    match bound_ns {
        0 => u64::MAX,
        bound_ns => bound_ns,
    }
}

/// What the source's machine is to keep to.
fn plan_of(how: &MoveHow, since_ns: u64) -> Plan {
    let freeze_ns = match how.mode.starts_whole() {
        true => WHOLE_NS,
        false => Plan::default().freeze_ns,
    };
    Plan {
        copies: how.mode.copies_first(),
        freeze_ns: within(how.max_freeze_ns).min(freeze_ns),
        freeze_by: since_ns.saturating_add(within(how.timeout_ns)),
    }
}

impl System {
    /// Home does not want a move any more. If it is too late for that, it goes on.
    pub(super) fn call_off(&mut self, pid: u32, request: u64) {
        let now = self.now;
        let wish = self
            .bodies
            .get_mut(&pid)
            .and_then(|body| body.wish.as_mut());
        if let Some(wish) = wish.filter(|wish| wish.request == request) {
            // It is tried once more, and given up then.
            wish.deadline_ns = now;
            wish.called_off = true;
            return self.try_moves();
        }
        if let Some(out) = self.outgoing.get_mut(&pid)
            && out.request == request
        {
            out.source.cancel(now, MoveError::Aborted);
            self.pump_source(pid);
        }
    }

    /// Home (or the process itself, by way of home) wants the process moved.
    pub(crate) fn wish(
        &mut self,
        pid: u32,
        epoch: u64,
        (request, target, how): (u64, NodeId, MoveHow),
        hold: Hold,
    ) {
        let home = wire_pid(pid).home();
        let now = self.now;
        let result = match self.bodies.get_mut(&pid) {
            None => Err(if self.outgoing.contains_key(&pid) {
                MoveError::Busy
            } else {
                MoveError::Gone
            }),
            Some(body) if body.epoch != epoch => Err(MoveError::Busy),
            Some(body) if body.wish.is_some() => Err(MoveError::Busy),
            Some(_) if self.outgoing.contains_key(&pid) => Err(MoveError::Busy),
            Some(body) => {
                body.wish = Some(MoveWish {
                    target,
                    request,
                    how,
                    called_off: false,
                    hold,
                    since_ns: now,
                    deadline_ns: now + within(how.timeout_ns).min(WISH_NS),
                });
                body.held = hold != Hold::Runs;
                Ok(())
            }
        };
        match result {
            Ok(()) => {
                self.timeline
                    .note(What::Wished, (pid, epoch.saturating_add(1)), target, 0);
                self.wishing.insert(pid);
                self.try_moves();
            }
            Err(error) => {
                // It may be held by an earlier wish.
                self.tell_asker(pid, hold, &error);
                self.report(home, pid, request, Err(error));
            }
        }
    }

    /// A process that waited for a move, if it is here after it, goes on.
    pub(super) fn stays_here(&mut self, pid: u32, hold: Hold, result: &Result<(), MoveError>) {
        let (Hold::Waits(_), Some(body)) = (hold, self.bodies.get_mut(&pid)) else {
            return;
        };
        body.held = false;
        if let Err(error) = result {
            self.tell_asker(pid, hold, error);
        }
        self.wake_threads(pid);
    }

    /// The thread that has asked for a move is told that there is none, instead of what its call had to say.
    fn tell_asker(&mut self, pid: u32, hold: Hold, error: &MoveError) {
        if let Hold::Waits(asker) = hold
            && let Some(thread) = self.threads.get_mut(&asker).filter(|it| it.pid == pid)
        {
            thread.refuse_move(errno_of(error));
        }
    }

    /// Begins a move that is wished for, if nothing stands in its way.
    pub(crate) fn try_move(&mut self, pid: u32) {
        let now = self.now;
        let Some(body) = self.bodies.get_mut(&pid) else {
            return;
        };
        let Some(wish) = body.wish else { return };
        let space = self.spaces.get(body.space);
        // Until the vfork child has memory of its own.
        let lends = body.vfork_parent.is_some()
            || body.threads.iter().any(|tid| {
                let thread = self.threads.get(tid);
                thread.is_some_and(|thread| thread.vfork_child.is_some())
            });
        // What home is asked again goes under its number, which home may have answered before it died.
        let mut threads = body.threads.iter().filter_map(|tid| self.threads.get(tid));
        let repeats = threads.any(|thread| thread.repeats());
        let shares = !lends && self.spaces.users(body.space) > 1;
        let passing = lends
            || space.is_none_or(|space| space.absent_count() > 0)
            || body.effects != Effects::Open
            || body.orphan
            || repeats
            || self.outgoing.contains_key(&pid)
            || self.incoming.contains_key(&pid);
        if passing && now < wish.deadline_ns {
            return;
        }
        body.wish = None;
        let (home, epoch) = (body.home, body.epoch);
        self.name_shared(pid);
        let obstacle = self.tracing.holds(pid);
        let obstacle = obstacle.or_else(|| self.space_mut(pid).and_then(Space::prepare_to_move));
        let obstacle = obstacle.or_else(|| self.reads_what_changes(pid));
        let space = self.space_of(pid);
        let resident = space.map_or(0, |space| space.usage().resident_pages);
        let verdict = if wish.called_off {
            Err(MoveError::Aborted)
        } else if passing || epoch == u64::MAX {
            Err(MoveError::TimedOut)
        } else if let Some(reason) = obstacle {
            Err(MoveError::CantMove(reason.to_string()))
        } else if shares {
            let reason = "it shares its memory with another process";
            Err(MoveError::CantMove(reason.to_string()))
        } else if wish.target == self.me {
            Ok(())
        } else {
            self.reachable(wish.target)
        };
        if let Err(error) = verdict {
            self.stays_here(pid, wish.hold, &Err(error.clone()));
            self.report(home, pid, wish.request, Err(error));
            return;
        }
        self.check_hashes(pid);
        let keeps = wish.how.mode == MoveMode::PostCopy && self.keeps_pages();
        self.look_who_keeps(pid, wish.target, wish.how.mode);
        let draft = self.draft(pid);
        self.attempt = self.attempt.next();
        let offer = Offer {
            pid: wire_pid(pid),
            epoch: epoch + 1,
            attempt: self.attempt,
            home,
            pages: resident,
            features: self.settings.features,
            terms: self.placement.terms(pid, wish.target),
            copies: wish.how.mode != MoveMode::PostCopy,
            keeps,
            draft: draft.unwrap_or_default(),
        };
        let source = Source::new(
            now,
            wire_pid(pid),
            epoch,
            (self.me, self.boot),
            home,
            wish.target,
            offer,
        )
        .keeps_to(plan_of(&wish.how, wish.since_ns));
        let mut outgoing = Outgoing::new(source, &wish, self.me, home);
        outgoing.keeps = keeps;
        outgoing.stats.phases.wait_ns = now.saturating_sub(wish.since_ns);
        if let Some(space) = self.space_mut(pid) {
            outgoing.warm = space.used_pages(FIRST_PAGES);
            space.forget_accesses();
        }
        self.outgoing.insert(pid, outgoing);
        let of = (pid, epoch + 1);
        self.timeline.note(What::Offered, of, wish.target, resident);
        self.pump_source(pid);
    }

    /// A process as it is now, if that is not too long for an offer: then the image has all of its memory's outline.
    fn draft(&mut self, pid: u32) -> Option<Vec<u8>> {
        let System {
            bodies,
            spaces,
            threads,
            now,
            ..
        } = self;
        let body = bodies.get(&pid)?;
        let space = spaces.get_mut(body.space)?;
        let tids = body.threads.iter();
        let threads: Vec<&Thread> = tids
            .filter_map(|tid| threads.get(tid))
            .map(|thread| &**thread)
            .collect();
        let draft = descriptor::draft(body, &threads, space, *now);
        if draft.len() > DRAFT_MAX {
            space.forget_outline();
            return None;
        }
        Some(draft)
    }

    /// Forgets which contents the files had that a process maps, if they have others by now.
    pub(super) fn check_hashes(&mut self, pid: u32) {
        let Some(home) = self.homes.get_mut(&pid) else {
            return;
        };
        let mapped = &mut home.mapped;
        mapped.note_known();
        let is = |file: u32, hash: &[u8; 32]| {
            let inode = mapped.get(u64::from(file));
            inode.is_some_and(|inode| inode.content_hash().as_ref() == Some(hash))
        };
        let body = self.bodies.get(&pid);
        if let Some(space) = body.and_then(|body| self.spaces.get_mut(body.space)) {
            space.check_hashes(is);
        }
    }

    /// Whether a process at home reads a file through a shared mapping while others may write to it:
    /// elsewhere it would not see what they write.
    fn reads_what_changes(&self, pid: u32) -> Option<&'static str> {
        let home = self.homes.get(&pid)?;
        let space = self.space_of(pid)?;
        space
            .files_read_shared()
            .filter_map(|handle| home.mapped.get(u64::from(handle)))
            .any(|inode| inode.has_writers())
            .then_some("it maps a file shared that others may write to")
    }

    /// Whether a node can be moved to, as far as this node knows.
    pub(crate) fn reachable(&self, target: NodeId) -> Result<(), MoveError> {
        if target == self.me {
            return Ok(());
        }
        match self.net.peer(target) {
            None => Err(MoveError::UnknownNode),
            Some(peer) if peer.state == PeerState::Silent => Err(MoveError::NodeDead),
            Some(_) => Ok(()),
        }
    }

    /// Tells home what became of a request.
    pub(crate) fn report(
        &mut self,
        home: NodeId,
        pid: u32,
        request: u64,
        result: Result<MoveStats, MoveError>,
    ) {
        let learnt = result.as_ref().map(|stats| (stats.bytes, stats.total_ns));
        self.placement.learn(self.now, pid, learnt);
        if home == self.me {
            self.move_result(home, pid, request, result);
        } else {
            self.send(
                home,
                Message::MoveResult {
                    pid: wire_pid(pid),
                    request,
                    result: result.map(Box::new),
                },
            );
        }
    }
}
