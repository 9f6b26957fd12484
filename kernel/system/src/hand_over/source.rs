//! A move at its source: freeze, image, push.
//!
//! Law: a page is sent once. Until home's `Release` it is also kept, because the process may come
//! back; from then on it is dropped as it is sent, and at the end nothing is left.

use super::copying::Copying;
use super::errno_of;
use super::kept::There;
use crate::body::{Body, Effects, Hold, MoveWish};
use crate::descriptor;
use crate::dispatch::wire_pid;
use crate::home::Home;
use crate::memory::Space;
use crate::system::System;
use crate::thread::{Forward, Purpose, Run, Thread};
use crate::timeline::What;
use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::string::ToString;
use alloc::vec::Vec;
use machine::{Frame, PAGE_SIZE};
use migrate::{Source, SourceAction};
use node::{Counters, Lane};
use wire::{
    BootId, Image, Message, MoveError, MoveHow, MoveMode, MovePhases, MoveStats, NodeId, Offer,
    PagesSent, Stalls,
};

/// Pages that follow the image, and that may be held before one is there.
pub(super) const FIRST_PAGES: usize = 16;
/// How many travel in front of it: without the stack and the next instruction a process does not get
/// far.
pub(super) const BEFORE_IMAGE: usize = 2;
/// Zero pages are told in lists of at most this many runs.
const ZERO_RUNS: usize = 256;

/// A process whose image is out.
pub struct Frozen {
    pub(crate) body: Box<Body>,
    /// In the order of their numbers.
    pub(crate) threads: Vec<Thread>,
    pub(crate) space: Space,
}

impl Frozen {
    /// Every thread stands in front of the call that it was in, as it will find itself wherever it goes on.
    pub(crate) fn wind_back(&mut self, home: Option<&Home>) {
        for thread in &mut self.threads {
            thread.rewind_call();
            if core::mem::take(&mut thread.again) {
                // The call has come to nothing, and its number may be used up.
                thread.next_seq = thread.next_seq.saturating_add(1);
            }
            // What may be pending is fetched before the first instruction there that would notice.
            thread.held_back = match home {
                Some(home) => home.pending_for(thread.tid),
                None if thread.poked => u64::MAX,
                None => thread.held_back,
            };
        }
    }
}

/// A move as its source drives it.
pub struct Outgoing {
    pub(super) source: Source,
    /// The frozen process, from the image on.
    pub(super) frozen: Option<Frozen>,
    /// Home's number of the request.
    pub(super) request: u64,
    pub(super) home: NodeId,
    pub(super) hold: Hold,
    pub(super) stats: MoveStats,
    pub(super) since_ns: u64,
    pub(super) frozen_at_ns: u64,
    pub(super) released_at_ns: u64,
    /// What the link had counted when the target admitted it.
    pub(super) counted: Counters,
    /// Used before the offer: sent behind what was used since.
    pub(super) warm: Vec<u64>,
    /// When the image went out, until those pages are sent too.
    pub(super) used_due: Option<u64>,
    /// Sent before the pages may be dropped.
    pub(super) early: BTreeSet<u64>,
    /// Whether the pages may be dropped as they are sent.
    pub(super) released: bool,
    /// The push has come to this address.
    pub(super) cursor: u64,
    pub(super) zeros: Vec<(u64, u32)>,
    pub(super) end_sent: bool,
    /// Who offers it again before it is known that all of it has arrived: answered when that is known.
    pub(super) next: Option<(NodeId, BootId, Box<Offer>)>,
    /// When its pages travel, and its bounds.
    pub(super) how: MoveHow,
    pub(super) copying: Copying,
    /// Its next page leaves no earlier.
    pub(super) paced_until_ns: u64,
    /// Whether pages that have left are kept.
    pub(super) keeps: bool,
    /// What the target has kept.
    pub(super) there: There,
}

impl Outgoing {
    /// A move that was just offered.
    pub(super) fn new(source: Source, wish: &MoveWish, me: NodeId, home: NodeId) -> Outgoing {
        let epoch = source.target_epoch();
        Outgoing {
            source,
            frozen: None,
            request: wish.request,
            home,
            hold: wish.hold,
            stats: MoveStats {
                from: me,
                to: wish.target,
                pages_sent: 0,
                pages_zero: 0,
                pages_present: 0,
                pages_kept: 0,
                bytes: 0,
                freeze_ns: 0,
                observer_ns: 0,
                total_ns: 0,
                rtt_ns: 0,
                mode: wish.how.mode,
                rounds: 0,
                phases: MovePhases::default(),
                epoch,
                began_ns: wish.since_ns,
                clock_error_ns: u64::MAX,
                frames_again: 0,
                packed: 0,
                sent_for: PagesSent::default(),
                stalls: None,
            },
            since_ns: wish.since_ns,
            frozen_at_ns: 0,
            released_at_ns: 0,
            counted: Counters::default(),
            warm: Vec::new(),
            used_due: None,
            early: BTreeSet::new(),
            released: false,
            cursor: 0,
            zeros: Vec::new(),
            end_sent: false,
            next: None,
            how: wish.how,
            copying: Copying::default(),
            paced_until_ns: 0,
            keeps: false,
            there: There::Nothing,
        }
    }

    /// The frozen process, if the image is out.
    #[cfg(feature = "canary")]
    pub fn frozen(&self) -> Option<&Frozen> {
        self.frozen.as_ref()
    }

    /// When it began, node's clock, ns.
    #[cfg(feature = "canary")]
    pub fn since_ns(&self) -> u64 {
        self.since_ns
    }

    /// Which try it is.
    #[cfg(feature = "canary")]
    pub fn attempt(&self) -> wire::Attempt {
        self.source.attempt()
    }

    /// In which state it is.
    #[cfg(feature = "canary")]
    pub fn state(&self) -> migrate::SourceState {
        self.source.state()
    }

    /// Where the move stands, for a test that fails.
    #[cfg(feature = "canary")]
    pub fn describe(&self) -> alloc::string::String {
        alloc::format!(
            "to {} epoch {}, {}, frozen {}, released {}, end sent {}",
            self.source.target(),
            self.source.target_epoch(),
            self.source.state(),
            self.frozen.is_some(),
            self.released,
            self.end_sent
        )
    }

    /// What may not change by what others than home and target say.
    #[cfg(test)]
    pub(crate) fn state_in_words(&self) -> alloc::string::String {
        let to = (self.source.target(), self.source.target_epoch());
        let frozen = (self.frozen.is_some(), self.released, self.end_sent);
        let rest = (self.source.running(), self.keeps, self.stats.stalls);
        alloc::format!("{to:?} {} {frozen:?} {rest:?}", self.source.state())
    }

    /// The process ended before it was frozen.
    pub(crate) fn body_gone(&mut self, now: u64) {
        self.source.body_gone(now);
    }
}

impl System {
    pub(crate) fn pump_source(&mut self, pid: u32) {
        while let Some(action) = self
            .outgoing
            .get_mut(&pid)
            .and_then(|out| out.source.poll_action())
        {
            match action {
                SourceAction::Send(to, message) => self.send(to, message),
                SourceAction::Copy => self.begin_copying(pid),
                SourceAction::Freeze => self.freeze(pid),
                SourceAction::Resume { epoch, poke } => self.resume(pid, epoch, poke),
                // The push begins when the pages need not be kept: a trip later, at no page twice.
                SourceAction::StartPush => self.note_source(What::Decided, pid, 0),
                SourceAction::MayDrop => self.released(pid),
                SourceAction::Forget => {
                    let out = self.outgoing.get_mut(&pid);
                    if let Some(frozen) = out.and_then(|out| out.frozen.take()) {
                        self.keep_pages(pid, frozen);
                    }
                    if self.bodies.get(&pid).is_some_and(|body| body.freezing) {
                        self.drop_body(pid);
                    }
                }
                SourceAction::Finished(result) => self.source_finished(pid, result),
            }
        }
    }

    /// Notes what happens in a move that leaves from here.
    fn note_source(&mut self, what: What, pid: u32, value: u64) {
        if let Some(out) = self.outgoing.get(&pid) {
            let (target, epoch) = (out.source.target(), out.source.target_epoch());
            self.timeline.note(what, (pid, epoch), target, value);
        }
    }

    /// The target has room.
    pub(super) fn admitted(&mut self, pid: u32) {
        if let Some(out) = self.outgoing.get_mut(&pid) {
            let phases = &mut out.stats.phases;
            phases.admit_ns = self.now.saturating_sub(out.since_ns + phases.wait_ns);
            if let Some(target) = self.net.peer(out.source.target()) {
                out.stats.rtt_ns = target.rtt_latest_ns.unwrap_or(0);
                out.counted = target.counters;
                self.timeline.note_clock(target.id, target.clock_offset);
            }
        }
        self.note_source(What::Admitted, pid, 0);
        let out = self.outgoing.get(&pid);
        if out.is_some_and(|out| out.there != There::Kept) {
            self.nobody_keeps(pid);
        }
    }

    /// Stops a process at the user boundary. Its threads are there already, but for those in user
    /// mode on other processors, which are called back, and those that ask home just now.
    pub(crate) fn freeze(&mut self, pid: u32) {
        if !self.bodies.contains_key(&pid) {
            if let Some(out) = self.outgoing.get_mut(&pid) {
                out.source.freeze_failed(self.now, MoveError::Gone);
            }
            return;
        }
        if !self.has_copied(pid) {
            self.admitted(pid);
        }
        let left = self.uncopied(pid);
        self.note_source(What::Freezes, pid, left);
        self.look_at_title(pid);
        self.bring_to_boundary(pid);
    }

    /// Brings the threads of a process that freezes to the user boundary: the last one that comes there goes on with
    /// [`System::stand_still`].
    pub(crate) fn bring_to_boundary(&mut self, pid: u32) {
        self.body(pid).freezing = true;
        let tids = self.tids(pid);
        for tid in &tids {
            let thread = self.thread(*tid);
            if let Forward::Sent { seq, purpose } = thread.forward
                && purpose != Purpose::Arrived
                && !thread.obeys_kernel()
            {
                self.send_cancel(*tid, seq);
            }
        }
        for tid in tids {
            self.advance(tid);
        }
    }

    /// A thread of a process that freezes is at the user boundary: the last one lets the image be
    /// taken.
    pub(crate) fn stand_still(&mut self, tid: u32) {
        let thread = self.thread(tid);
        let pid = thread.pid;
        if thread.run != Run::Ready {
            thread.block();
        }
        let body = self.body(pid);
        let tids = body.threads.iter().copied().collect::<Vec<u32>>();
        let still = tids.iter().all(|tid| {
            self.threads.get(tid).is_some_and(|thread| {
                !matches!(thread.run, Run::Running(_))
                    && thread.forward == Forward::Idle
                    && !thread.obeys_kernel()
            })
        });
        if still && self.is_caught_up(tid) {
            match self.checkpoints.is_wanted(pid) {
                true => self.take_checkpoint(pid),
                false => self.capture(pid),
            }
        }
    }

    /// Why a process that stands still cannot be captured after all: forked, lent or mapped since
    /// the offer, it moves another time.
    pub(crate) fn reason_to_stay(&mut self, pid: u32) -> Option<&'static str> {
        self.name_shared(pid);
        let body = self.bodies.get(&pid)?;
        let lent = self.spaces.users(body.space) > 1;
        let lent = lent.then_some("it shares its memory with another process");
        let many = body.threads.len() > descriptor::THREADS_MAX;
        let many = many.then_some("more threads than can move");
        let space = self.spaces.get_mut(body.space)?;
        space.prepare_to_move().or(lent).or(many)
    }

    /// Takes the body, its threads and its memory out of the System.
    pub(crate) fn take_out(&mut self, pid: u32) -> Option<Frozen> {
        self.save_fpu();
        let body = self.bodies.remove(&pid)?;
        let Some(space) = self.spaces.leave(body.space) else {
            machine::log!("process {pid}: no memory to freeze");
            self.bodies.insert(pid, body);
            return None;
        };
        self.note_going(&body);
        let mut threads = Vec::new();
        for tid in &body.threads {
            self.cancel_alarm(*tid);
            self.forget_fpu(*tid);
            let moved = self.futexes.forget_thread(*tid);
            if let Some(mut thread) = self.threads.remove(tid) {
                thread.restart.granted |= moved;
                threads.push(*thread);
            }
        }
        Some(Frozen {
            body,
            threads,
            space,
        })
    }

    /// When a process that stands still was interrupted for that; now if it stood still anyway.
    pub(super) fn stands_since(&self, pid: u32) -> u64 {
        let threads: Vec<&Thread> = self.bodies.get(&pid).map_or_else(Vec::new, |body| {
            let threads = body.threads.iter();
            threads
                .filter_map(|tid| self.threads.get(tid))
                .map(|thread| &**thread)
                .collect()
        });
        self.last_ran(&threads).unwrap_or_else(machine::now_ns)
    }

    /// Takes the final image of a process and sends it behind the first pages, or behind all of them.
    pub(super) fn capture(&mut self, pid: u32) {
        let reason = self.reason_to_stay(pid);
        let ready = self
            .outgoing
            .get(&pid)
            .is_some_and(|out| out.source.freezing());
        if !ready || reason.is_some() {
            self.body(pid).freezing = false;
            if let (Some(reason), Some(out)) = (reason, self.outgoing.get_mut(&pid)) {
                out.source
                    .freeze_failed(self.now, MoveError::CantMove(reason.to_string()));
                self.pump_source(pid);
            }
            self.wake_threads(pid);
            return;
        }
        if self.must_copy(pid) {
            return self.copy_one(pid);
        }
        let stood_still = self.outgoing.get(&pid).map_or(0, |out| out.frozen_at_ns);
        let frozen_at_ns = match stood_still {
            0 => self.stands_since(pid),
            earlier => earlier,
        };
        self.check_hashes(pid);
        let Some(mut frozen) = self.take_out(pid) else {
            return;
        };
        let Some(out) = self.outgoing.get_mut(&pid) else {
            return;
        };
        let (target, epoch) = (out.source.target(), out.source.target_epoch());
        let attempt = out.source.attempt();
        let passage = out.source.passage();
        let ticket = passage.map(|passage| self.net.ticket(out.home, &passage));
        out.frozen_at_ns = frozen_at_ns;
        let mode = out.how.mode;
        let copied = match mode {
            MoveMode::PostCopy => Vec::new(),
            _ => frozen.space.copied_record(&out.copying.all),
        };
        let phases = &mut out.stats.phases;
        let admitted_ns = out.since_ns + phases.wait_ns + phases.admit_ns + phases.copy_ns;
        phases.drain_ns = frozen_at_ns.saturating_sub(admitted_ns);
        self.beacon(frozen_at_ns, target, pid, epoch, node::Edge::Stopped);
        frozen.body.ahead.let_go();
        frozen.wind_back(self.homes.get(&pid));
        // Its next node sees only the pages that come there.
        let resident = frozen.space.resident_pages();
        frozen.body.peak_pages = frozen.body.peak_pages.max(resident);
        let descriptor = descriptor::encode(&frozen, frozen_at_ns);
        let image_bytes = (descriptor.len() + copied.len()) as u64;
        let first = match mode.starts_whole() {
            true => Vec::new(),
            false => first_pages(&frozen, mode),
        };
        for (page, frame) in first {
            self.send_early(pid, page, frame, |sent| &mut sent.first);
        }
        let image = Image {
            pid: wire_pid(pid),
            epoch,
            attempt,
            source_boot: self.boot,
            ticket: ticket.unwrap_or_default(),
            frozen_at_ns,
            descriptor,
            copied,
        };
        self.send(target, Message::Image(image));
        if let Some(out) = self.outgoing.get_mut(&pid) {
            out.frozen = Some(frozen);
            out.used_due = (!mode.starts_whole()).then_some(self.now);
            out.source.image_sent(self.now);
            #[cfg(feature = "canary")]
            if self.canary == Some(crate::inside::Canary::PagesDroppedEarly) {
                out.released = true;
            }
            out.stats.bytes += image_bytes;
            let now = machine::now_ns();
            out.stats.phases.capture_ns = now.saturating_sub(frozen_at_ns);
            let (timeline, of) = (&mut self.timeline, (pid, epoch));
            timeline.note_at(frozen_at_ns, What::Stopped, of, target, 0);
            timeline.note_at(now, What::ImageOut, of, target, image_bytes);
        }
        self.pump_source(pid);
    }

    /// Sends the pages that were used last, behind the image: looking for them takes longer than all of
    /// the freeze, and they reach the target while the process starts.
    pub(super) fn send_used(&mut self, pid: u32) {
        let Some(out) = self.outgoing.get_mut(&pid) else {
            return;
        };
        let warm = core::mem::take(&mut out.warm);
        let due = out.used_due.take().is_some();
        let Some(Frozen { space, .. }) = out.frozen.as_ref().filter(|_| due && !out.released)
        else {
            return;
        };
        let mut pages = space.used_pages(FIRST_PAGES);
        pages.extend(warm);
        let mut frames = Vec::new();
        for page in pages {
            let there = out.early.contains(&page) || space.is_copied(page);
            if frames.len() < FIRST_PAGES && !there {
                frames.extend(space.page(page).map(|frame| (page, frame)));
            }
        }
        self.note_source(What::UsedOut, pid, frames.len() as u64);
        for (page, frame) in frames {
            self.send_early(pid, page, frame, |sent| &mut sent.used);
        }
    }

    /// Sends a page that must still be kept in case the process comes back.
    pub(super) fn send_early(
        &mut self,
        pid: u32,
        page: u64,
        frame: Frame,
        reason: fn(&mut PagesSent) -> &mut u64,
    ) {
        let Some(out) = self.outgoing.get_mut(&pid) else {
            return;
        };
        if out.early.insert(page) {
            out.note_sent(self.now, reason);
            let (target, tag) = (out.source.target(), out.source.tag(page));
            self.send_page(target, Lane::Urgent, tag, frame);
        }
    }

    /// The process runs here again, in a new epoch.
    pub(super) fn resume(&mut self, pid: u32, epoch: u64, poke: bool) {
        self.note_source(What::Resumed, pid, epoch);
        if let Some(frozen) = self
            .outgoing
            .get_mut(&pid)
            .and_then(|out| out.frozen.take())
        {
            self.put_in(frozen);
        }
        let Some(body) = self.bodies.get_mut(&pid) else {
            return;
        };
        // If it is home that says so, in a new epoch, home knows it: so does its next boot.
        body.orphan &= epoch == body.epoch;
        body.epoch = epoch;
        body.held = false;
        body.effects = Effects::Open;
        body.arriving = false;
        // What the target had kept went with its part of the move.
        body.holder = None;
        self.tombstones.record(wire_pid(pid), epoch);
        self.run_on(pid, poke);
    }

    /// A process that stood still, and was taken out of the System for that, goes on where it was.
    pub(crate) fn run_on(&mut self, pid: u32, poke: bool) {
        self.body(pid).freezing = false;
        for tid in self.tids(pid) {
            let thread = self.thread(tid);
            thread.poked |= poke;
            thread.block();
            thread.queued = None;
        }
        self.wake_threads(pid);
        self.note_coming(pid);
    }

    /// Whether a move has stopped a process to take its image.
    pub(crate) fn is_stopped_to_move(&self, pid: u32) -> bool {
        let out = self.outgoing.get(&pid);
        out.is_some_and(|out| out.source.freezing())
    }

    /// Puts a process, its threads and its memory into the System.
    pub(crate) fn put_in(&mut self, frozen: Frozen) {
        let Frozen {
            mut body,
            threads,
            mut space,
        } = frozen;
        space.unmap_objects();
        body.space = self.spaces.add(space);
        for mut thread in threads {
            self.forget_fpu(thread.tid);
            thread.turn_ns = self.processors[0].turn_now();
            thread.processor = 0;
            self.threads.insert(thread.tid, Box::new(thread));
        }
        self.bodies.insert(body.pid, body);
    }

    /// The process has had an effect elsewhere: pages are dropped as they are sent.
    pub(super) fn released(&mut self, pid: u32) {
        self.name_kept(pid);
        self.note_source(What::Released, pid, 0);
        let Some(out) = self.outgoing.get_mut(&pid) else {
            return;
        };
        out.released = true;
        out.released_at_ns = self.now;
        let (early, keeps) = (core::mem::take(&mut out.early), out.keeps);
        if let Some(Frozen { space, .. }) = out.frozen.as_mut() {
            if out.how.mode == MoveMode::PostCopy {
                space.leave_copied(keeps);
            }
            for page in early {
                space.send_off(page, keeps);
            }
        }
    }

    pub(super) fn source_finished(&mut self, pid: u32, result: Result<(), MoveError>) {
        let Some(mut out) = self.outgoing.remove(&pid) else {
            return;
        };
        self.stays_here(pid, out.hold, &result);
        let next = out.next.take();
        let target = out.source.target();
        let peer = self.net.peer(target);
        if let Some(report) = out.source.running() {
            out.stats.pages_present = report.present;
            let clock = peer.as_ref().and_then(|peer| peer.clock_offset);
            let (offset, error_ns) = clock.unwrap_or((0, u64::MAX));
            out.stats.clock_error_ns = error_ns;
            let since_frozen = |target_ns: u64| {
                let here = target_ns.saturating_add_signed(-offset);
                here.saturating_sub(out.frozen_at_ns)
            };
            let phases = &mut out.stats.phases;
            out.stats.freeze_ns = since_frozen(report.first_run_ns);
            phases.flight_ns = since_frozen(report.image_ns).saturating_sub(phases.capture_ns);
            phases.start_ns = report.first_run_ns.saturating_sub(report.image_ns);
        }
        if let Some(peer) = &peer {
            // A new boot of the target counts anew.
            let since =
                |of: fn(&Counters) -> u64| of(&peer.counters).saturating_sub(of(&out.counted));
            let again = since(|counters| counters.retransmitted);
            out.stats.packed = since(|counters| counters.packed);
            out.stats.bytes += again * PAGE_SIZE as u64;
            out.stats.frames_again = again;
            self.timeline.note_clock(peer.id, peer.clock_offset);
        }
        if out.released {
            let phases = &mut out.stats.phases;
            phases.release_ns = out.released_at_ns.saturating_sub(out.frozen_at_ns);
            phases.push_ns = self.now.saturating_sub(out.released_at_ns);
        }
        out.stats.total_ns = self.now.saturating_sub(out.since_ns);
        let (what, of) = (
            result.as_ref().map_or(What::Failed, |()| What::Moved),
            (pid, out.stats.epoch),
        );
        self.timeline.note(what, of, target, out.stats.total_ns);
        if let Err(error) = &result {
            let errno = errno_of(error).0.unsigned_abs();
            self.timeline
                .note(What::Because, of, target, u64::from(errno));
        }
        self.report(out.home, pid, out.request, result.map(|()| out.stats));
        if let Some((from, boot, offer)) = next {
            self.offered(from, boot, *offer);
        }
    }

    /// The target has all pages. If home has been told of the move already, it is told of this too.
    pub(super) fn settled(
        &mut self,
        from: NodeId,
        (pid, epoch): (u32, u64),
        target: NodeId,
        stalls: Stalls,
    ) {
        let home = wire_pid(pid).home();
        match self.outgoing.get_mut(&pid) {
            Some(out) if (out.source.target(), out.source.target_epoch()) == (from, epoch) => {
                out.stats.stalls = Some(stalls);
            }
            _ if home == self.me => self.move_settled(from, (pid, epoch), target, stalls),
            _ if from == target => {
                let pid = wire_pid(pid);
                self.send(
                    home,
                    Message::Settled {
                        pid,
                        epoch,
                        target,
                        stalls,
                    },
                );
            }
            _ => {}
        }
    }

    /// A third node saw how long the process stood still.
    pub(crate) fn observed(&mut self, pid: wire::Pid, epoch: u64, ns: u64) {
        if let Some(out) = self.outgoing.get_mut(&pid.0)
            && out.source.target_epoch() == epoch
        {
            out.stats.observer_ns = ns;
        }
    }

    /// The target waits for a page.
    pub(super) fn serve(&mut self, from: NodeId, pid: u32, epoch: u64, page: u64) {
        let Some(out) = self.outgoing.get_mut(&pid) else {
            return;
        };
        if out.source.target() != from || out.source.target_epoch() != epoch {
            return;
        }
        let (released, sent) = (out.released, out.early.contains(&page));
        let Some(Frozen { space, .. }) = out.frozen.as_mut() else {
            return;
        };
        if released {
            if let Some(frame) = space.send_off(page, out.keeps) {
                out.note_sent(self.now, |sent| &mut sent.faulted);
                let tag = out.source.tag(page);
                self.note_source(What::PageOut, pid, page);
                self.send_page(from, Lane::Urgent, tag, frame);
            }
        } else if !sent && let Some(frame) = space.page(page) {
            self.note_source(What::PageOut, pid, page);
            self.send_early(pid, page, frame, |sent| &mut sent.faulted);
        }
    }

    /// Sends pages that nobody has asked for yet, as far as the links take them.
    pub(crate) fn push(&mut self) {
        if self.outgoing.is_empty() {
            return;
        }
        self.copy();
        let pids: Vec<u32> = self
            .outgoing
            .iter()
            .filter(|(_, out)| out.released && out.frozen.is_some())
            .map(|(pid, _)| *pid)
            .collect();
        for pid in pids {
            self.push_one(pid);
        }
    }

    pub(super) fn push_one(&mut self, pid: u32) {
        let Some(out) = self.outgoing.get_mut(&pid) else {
            return;
        };
        let (target, epoch) = (out.source.target(), out.source.target_epoch());
        let mut room = self.net.bulk_room(target);
        while room > 0 {
            let Some(out) = self.outgoing.get_mut(&pid) else {
                return;
            };
            let may_send = out.may_send(self.now);
            let Some(Frozen { space, .. }) = out.frozen.as_mut() else {
                return;
            };
            let next = space.next_uncopied(out.cursor);
            let full = out.zeros.len() >= ZERO_RUNS;
            if !out.zeros.is_empty() && (next.is_none() || full) {
                let runs = core::mem::take(&mut out.zeros);
                let zeros = Message::PagesZero {
                    pid: wire_pid(pid),
                    epoch,
                    runs,
                };
                let _ = self.net.send_bulk(self.now, target, zeros);
                room -= 1;
                continue;
            }
            let Some(page) = next else { break };
            if !may_send {
                return;
            }
            out.cursor = page + PAGE_SIZE as u64;
            let Some(frame) = space.send_off(page, out.keeps) else {
                continue;
            };
            if frame.is_zero() {
                space.drop_left(page);
                out.stats.pages_zero += 1;
                match out.zeros.last_mut() {
                    Some((start, count))
                        if *start + u64::from(*count) * PAGE_SIZE as u64 == page =>
                    {
                        *count += 1
                    }
                    _ => out.zeros.push((page, 1)),
                }
                continue;
            }
            out.note_sent(self.now, |sent| &mut sent.pushed);
            let tag = out.source.tag(page);
            self.send_page(target, Lane::Bulk, tag, frame);
            room -= 1;
        }
        let Some(out) = self.outgoing.get_mut(&pid) else {
            return;
        };
        let Some(Frozen { space, .. }) = out.frozen.as_ref() else {
            return;
        };
        let all_sent = out.zeros.is_empty() && space.next_uncopied(out.cursor).is_none();
        if all_sent && !out.end_sent {
            out.end_sent = true;
            let sent = out.stats.pages_sent;
            self.note_source(What::PushOver, pid, sent);
            let _ = self.net.send_bulk(
                self.now,
                target,
                Message::PushEnd {
                    pid: wire_pid(pid),
                    epoch,
                },
            );
        } else if out.end_sent
            && self.net.bulk_idle(target)
            // Those that were asked for are on the other lane.
            && !self.net.page_under_way(target, wire_pid(pid), epoch)
        {
            out.source.push_done(self.now);
            self.pump_source(pid);
        }
    }
}

/// The pages that travel in front of an image: where the threads are, one after the other.
fn first_pages(frozen: &Frozen, mode: MoveMode) -> Vec<(u64, Frame)> {
    let Frozen { threads, space, .. } = frozen;
    let mut first: Vec<(u64, Frame)> = Vec::new();
    for thread in threads {
        let (instruction, stack) = (thread.registers.rip, thread.registers.rsp);
        for page in space.pages_at(instruction, stack) {
            if first.len() == BEFORE_IMAGE {
                return first;
            }
            // What the target has kept is named too late for them.
            let there = mode.copies_first() && space.is_copied(page);
            if first.iter().all(|(other, _)| *other != page) && !there {
                first.extend(space.page(page).map(|frame| (page, frame)));
            }
        }
    }
    first
}
