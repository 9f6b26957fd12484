//! Pages that travel before the image: while the process still runs (pre-copy, hybrid), and while it
//! stands still and nothing has been decided yet (pre-copy, stop-and-copy).
//!
//! Law: until the image is out the source may give up by itself, and the process runs on as if nothing
//! had happened. A round ends when all that was sent in it has been acknowledged: only then what has
//! changed meanwhile is sent again, or the image.
//!
//! A move that copies first goes on to its freeze when few pages have changed during a round, when the
//! rest would take no longer than it may stand still, or when another round would not help.

use super::source::{FIRST_PAGES, Outgoing};
use crate::memory::Sent;
use crate::system::System;
use alloc::format;
use alloc::vec::Vec;
use machine::PAGE_SIZE;
use node::Lane;
use wire::{MoveError, MoveMode, PagesSent};

/// Rounds at most.
const ROUNDS_MAX: u32 = 8;
/// The freeze of a process that has so few pages left is short in any case.
const FEW: u64 = FIRST_PAGES as u64;
/// Part of the time that a process may stand still that its last pages may take.
const SHARE: u64 = 2;
/// What may leave at once of a move with a limited bandwidth, ns of it.
const BURST_NS: u64 = 2_000_000;

/// How far a move has come with the pages that travel before its image.
#[derive(Default)]
pub(super) struct Copying {
    /// Pages travel now.
    active: bool,
    /// The process stands still meanwhile.
    still: bool,
    /// The round has come to this address.
    cursor: u64,
    /// Pages of zeros that it has passed: they are named when the process has left.
    zeros: u64,
    /// Pages sent in this round, and when it began.
    sent: u64,
    began_ns: u64,
    /// Everything that was ever sent.
    pub(super) all: Sent,
}

impl Copying {
    /// A round begins.
    fn begin(&mut self, now: u64, still: bool) {
        self.active = true;
        self.still = still;
        (self.cursor, self.zeros, self.sent) = (0, 0, 0);
        self.began_ns = now;
    }
}

impl Outgoing {
    /// Whether one more page may leave now without more than its share of the link.
    pub(super) fn may_send(&self, now: u64) -> bool {
        self.paced_until_ns <= now
    }

    /// A page leaves, for this reason.
    pub(super) fn note_sent(&mut self, now: u64, reason: fn(&mut PagesSent) -> &mut u64) {
        self.stats.pages_sent += 1;
        *reason(&mut self.stats.sent_for) += 1;
        self.stats.bytes += PAGE_SIZE as u64;
        if let Some(page_ns) = (PAGE_SIZE as u64 * 1_000_000_000).checked_div(self.how.bandwidth) {
            let earliest = now.saturating_sub(BURST_NS);
            self.paced_until_ns = self.paced_until_ns.max(earliest).saturating_add(page_ns);
        }
    }

    /// When the next page may leave, if that is what is waited for: a time that is over already is not, but room on
    /// the link, which comes with a packet.
    pub(super) fn paced_until(&self, now: u64) -> Option<u64> {
        let pages_wait = self.copying.active || self.released && !self.end_sent;
        (pages_wait && self.paced_until_ns > now).then_some(self.paced_until_ns)
    }
}

impl System {
    /// The target has room, and the process runs on while its pages travel.
    pub(super) fn begin_copying(&mut self, pid: u32) {
        self.admitted(pid);
        if let Some(out) = self.outgoing.get_mut(&pid) {
            out.copying.begin(self.now, false);
        }
        self.copy_one(pid);
    }

    /// Whether pages have travelled while the process ran.
    pub(super) fn has_copied(&self, pid: u32) -> bool {
        let out = self.outgoing.get(&pid);
        out.is_some_and(|out| out.how.mode.copies_first())
    }

    /// The process stands still: whether pages have to travel before its image.
    pub(super) fn must_copy(&mut self, pid: u32) -> bool {
        let whole = |out: &&Outgoing| out.how.mode.starts_whole();
        let Some(out) = self.outgoing.get(&pid).filter(whole) else {
            return false;
        };
        if out.copying.still {
            // What has left has to be there before the image is.
            return out.copying.active;
        }
        if self.uncopied(pid) == 0 {
            return false;
        }
        let (now, since_ns) = (self.now, self.stands_since(pid));
        if let Some(out) = self.outgoing.get_mut(&pid) {
            out.frozen_at_ns = since_ns;
            out.copying.begin(now, true);
        }
        true
    }

    /// Sends pages of processes whose image is not out, as far as the links take them.
    pub(super) fn copy(&mut self) {
        let pids: Vec<u32> = self
            .outgoing
            .iter()
            .filter(|(_, out)| out.copying.active)
            .map(|(pid, _)| *pid)
            .collect();
        for pid in pids {
            self.copy_one(pid);
        }
    }

    /// Pages that have to be sent and are not at the target.
    pub(super) fn uncopied(&self, pid: u32) -> u64 {
        self.space_of(pid).map_or(0, |space| space.uncopied_count())
    }

    pub(super) fn copy_one(&mut self, pid: u32) {
        let now = self.now;
        let Some(out) = self.outgoing.get(&pid) else {
            return;
        };
        let target = out.source.target();
        let mut room = self.net.bulk_room(target);
        loop {
            let space = self.bodies.get(&pid).map(|body| body.space);
            let space = space.and_then(|space| self.spaces.get_mut(space));
            let (Some(space), Some(out)) = (space, self.outgoing.get_mut(&pid)) else {
                return;
            };
            let Some(page) = space.next_uncopied(out.copying.cursor) else {
                break;
            };
            if room == 0 || !out.may_send(now) {
                return;
            }
            out.copying.cursor = page + PAGE_SIZE as u64;
            if space.page(page).is_none_or(|frame| frame.is_zero()) {
                out.copying.zeros += 1;
                continue;
            }
            let Some(frame) = space.copy_out(page) else {
                continue;
            };
            if !out.copying.all.insert(page) {
                out.stats.sent_for.copied_again += 1;
            }
            out.copying.sent += 1;
            out.note_sent(now, |sent| &mut sent.copied);
            let tag = out.source.tag(page).as_copy();
            self.send_page(target, Lane::Bulk, tag, frame);
            room -= 1;
        }
        if self.net.bulk_idle(target) {
            self.round_over(pid);
        }
    }

    /// Everything that a round has sent is at the target.
    fn round_over(&mut self, pid: u32) {
        let now = self.now;
        let left = self.uncopied(pid);
        let Some(out) = self.outgoing.get_mut(&pid) else {
            return;
        };
        let left = left.saturating_sub(out.copying.zeros);
        if out.copying.still {
            if left > 0 {
                // A signal or the like has changed it since.
                return out.copying.begin(now, true);
            }
            out.copying.active = false;
            return self.capture(pid);
        }
        out.stats.rounds += 1;
        match out.next_step(now, left) {
            Step::Again => out.copying.begin(now, false),
            Step::Freeze => {
                out.copying.active = false;
                out.stats.phases.copy_ns = now.saturating_sub(
                    out.since_ns + out.stats.phases.admit_ns + out.stats.phases.wait_ns,
                );
                out.source.copied(now);
                self.pump_source(pid);
            }
            Step::GiveUp(reason) => {
                out.copying.active = false;
                out.source.cancel(now, reason);
                self.pump_source(pid);
            }
        }
    }
}

/// What comes after a round.
enum Step {
    Again,
    Freeze,
    GiveUp(MoveError),
}

impl Outgoing {
    /// What is next, with so many pages left that have changed during the round.
    fn next_step(&self, now: u64, left: u64) -> Step {
        let (sent, took_ns) = (self.copying.sent, now.saturating_sub(self.copying.began_ns));
        let rest_ns = left.saturating_mul(took_ns) / sent.max(1);
        let bound = self.how.max_freeze_ns;
        let short = left <= FEW || bound > 0 && rest_ns <= bound / SHARE;
        let hopeless = left.saturating_mul(8) > sent.saturating_mul(7);
        match self.how.mode {
            MoveMode::Hybrid => Step::Freeze,
            _ if short => Step::Freeze,
            _ if !hopeless && self.stats.rounds < ROUNDS_MAX => Step::Again,
            _ if bound > 0 && rest_ns > bound => Step::GiveUp(MoveError::Bound(format!(
                "it changes its memory too fast to stand still for {} us only: after {} rounds {left} pages, {} us, are left",
                bound / 1000,
                self.stats.rounds,
                rest_ns / 1000,
            ))),
            _ => Step::Freeze,
        }
    }
}
