//! A migration as the kernel does it: the glue around the three machines of `net/migrate`.
//!
//! Law: who owns a process is decided by the machines and by home's record; this file only does what
//! they say, in their order. A body whose image is out is not among the bodies any more, so that
//! nothing can run it; it comes back only by `Resume`.
//!
//! The way of a move: a wish ([`System::try_move`]) → `Offer` → `Freeze` ([`System::capture`]: the
//! first pages and the image in one burst) → at the target [`System::image`] → `Compute` → home's
//! decision → `OpenEffects` → `Release` → [`System::push`] until the source holds no page.

use crate::body::{Body, Effects, Forward, Hold, MoveWish, Purpose, Run};
use crate::descriptor;
use crate::dispatch::wire_pid;
use crate::home::Request;
use crate::memory::Installed;
use crate::system::System;
use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::string::ToString;
use alloc::vec::Vec;
use machine::{Frame, FrameKind, PAGE_SIZE};
use migrate::{LostOutcome, Source, SourceAction, Target, TargetAction};
use node::{Lane, PageTag, PeerState};
use wire::{BootId, Image, Message, MoveError, MoveStats, NodeId, Offer, Ticket};

/// Pages that travel in the freeze, before the image.
const FIRST_PAGES: usize = 16;
/// Frames that a node keeps for itself when it admits a guest.
const RESERVE_FRAMES: u64 = 1024;
/// How long a wish may wait for what stands in its way, ns.
const WISH_NS: u64 = 60_000_000_000;
/// Zero pages are told in lists of at most this many runs.
const ZERO_RUNS: usize = 256;

/// A move as its source drives it.
pub struct Outgoing {
    source: Source,
    /// The frozen body, from the image on.
    body: Option<Box<Body>>,
    /// Home's number of the request.
    request: u64,
    home: NodeId,
    hold: Hold,
    stats: MoveStats,
    since_ns: u64,
    frozen_at_ns: u64,
    /// Sent before the pages may be dropped.
    early: BTreeSet<u64>,
    /// Whether the pages may be dropped as they are sent.
    released: bool,
    /// The push has come to this address.
    cursor: u64,
    zeros: Vec<(u64, u32)>,
    end_sent: bool,
}

/// A move as its target drives it.
pub struct Incoming {
    target: Target,
    offer: Offer,
    /// Pages that came before the image.
    staged: Vec<(u64, Frame)>,
}

impl Incoming {
    /// The node that still has pages, and the epoch of the move.
    pub(crate) fn source(&self) -> (NodeId, u64) {
        (self.target.source().0, self.target.epoch())
    }
}

impl Outgoing {
    /// The process ended before it was frozen.
    pub(crate) fn body_gone(&mut self, now: u64) {
        self.source.freeze_failed(now, MoveError::Gone);
        self.source.cancel(now);
    }
}

impl System {
    // ---- wishes ------------------------------------------------------------------------------

    /// Home (or the process itself, by way of home) wants the process moved.
    pub(crate) fn wish(&mut self, pid: u32, epoch: u64, request: u64, target: NodeId, hold: Hold) {
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
                    hold,
                    since_ns: now,
                    deadline_ns: now + WISH_NS,
                });
                body.held = hold == Hold::Waits;
                Ok(())
            }
        };
        match result {
            Ok(()) => self.try_move(pid),
            Err(error) => self.report(home, pid, request, Err(error)),
        }
    }

    /// Begins a move that is wished for, if nothing stands in its way.
    pub(crate) fn try_move(&mut self, pid: u32) {
        let now = self.now;
        let Some(body) = self.bodies.get_mut(&pid) else {
            return;
        };
        let Some(wish) = body.wish else { return };
        let Some(space) = body.space.as_ref() else {
            return;
        };
        let passing = body.lender.is_some()
            || space.absent_count() > 0
            || body.effects == Effects::Gated
            || self.outgoing.contains_key(&pid)
            || self.incoming.contains_key(&pid);
        if passing && now < wish.deadline_ns {
            return;
        }
        body.wish = None;
        let obstacle = space.obstacle();
        let (home, epoch, resident) = (body.home, body.epoch, space.usage().resident_pages);
        let verdict = if passing {
            Err(MoveError::TimedOut)
        } else if let Some(reason) = obstacle {
            Err(MoveError::CantMove(reason.to_string()))
        } else if wish.target == self.me {
            Ok(())
        } else {
            self.reachable(wish.target)
        };
        if let Err(error) = verdict {
            self.body(pid).held = false;
            self.report(home, pid, wish.request, Err(error));
            self.wakes.push(pid);
            return;
        }
        let offer = Offer {
            pid: wire_pid(pid),
            epoch: epoch + 1,
            home,
            pages: resident,
            image_bytes: PAGE_SIZE as u64 * 4,
            features: self.settings.features,
        };
        let source = Source::new(
            now,
            wire_pid(pid),
            epoch,
            (self.me, self.boot),
            home,
            wish.target,
            offer,
        );
        let stats = MoveStats {
            from: self.me,
            to: wish.target,
            pages_sent: 0,
            pages_zero: 0,
            pages_present: 0,
            bytes: 0,
            freeze_ns: 0,
            observer_ns: 0,
            total_ns: 0,
            rtt_ns: 0,
        };
        let outgoing = Outgoing {
            source,
            body: None,
            request: wish.request,
            home,
            hold: wish.hold,
            stats,
            since_ns: wish.since_ns,
            frozen_at_ns: 0,
            early: BTreeSet::new(),
            released: false,
            cursor: 0,
            zeros: Vec::new(),
            end_sent: false,
        };
        self.outgoing.insert(pid, outgoing);
        self.pump_source(pid);
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
        if home == self.me {
            self.move_result(pid, request, result);
        } else {
            self.send(
                home,
                Message::MoveResult {
                    pid: wire_pid(pid),
                    request,
                    result,
                },
            );
        }
    }

    // ---- the source --------------------------------------------------------------------------

    pub(crate) fn pump_source(&mut self, pid: u32) {
        while let Some(action) = self
            .outgoing
            .get_mut(&pid)
            .and_then(|out| out.source.poll_action())
        {
            match action {
                SourceAction::Send(to, message) => self.send(to, message),
                SourceAction::Freeze => self.freeze(pid),
                SourceAction::Resume { epoch, poke } => self.resume(pid, epoch, poke),
                // The push begins when the pages need not be kept: a trip later, at no page twice.
                SourceAction::StartPush => {}
                SourceAction::MayDrop => self.released(pid),
                SourceAction::Forget => {
                    if let Some(out) = self.outgoing.get_mut(&pid) {
                        out.body = None;
                    }
                    if self.bodies.get(&pid).is_some_and(|body| body.freezing) {
                        self.drop_body(pid);
                    }
                }
                SourceAction::Finished(result) => self.source_finished(pid, result),
            }
        }
    }

    /// Stops a body at the user boundary, where it is already unless it asks home just now.
    fn freeze(&mut self, pid: u32) {
        let Some(body) = self.bodies.get_mut(&pid) else {
            if let Some(out) = self.outgoing.get_mut(&pid) {
                out.source.freeze_failed(self.now, MoveError::Gone);
            }
            return;
        };
        body.freezing = true;
        if let Forward::Sent { seq, purpose } = body.forward
            && purpose != Purpose::Arrived
        {
            self.send_cancel(pid, seq);
        }
        self.advance(pid);
    }

    /// Takes the final image of a body and sends it behind the first pages.
    pub(crate) fn capture(&mut self, pid: u32) {
        let reason = self.bodies.get(&pid).and_then(|body| {
            let space = body.space.as_ref()?;
            // Forked, lent or mapped since the offer: it moves another time.
            space
                .obstacle()
                .or(body.lender.map(|_| "a vfork child has its memory"))
        });
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
            self.wakes.push(pid);
            return;
        }
        self.save_fpu();
        let frozen_at_ns = machine::now_ns();
        let Some(mut body) = self.bodies.remove(&pid) else {
            return;
        };
        let Some(out) = self.outgoing.get_mut(&pid) else {
            return;
        };
        let (target, epoch) = (out.source.target(), out.source.target_epoch());
        out.frozen_at_ns = frozen_at_ns;
        self.beacon(target, pid, epoch, node::Edge::Stopped);
        body.rewind_call();
        body.alarm_ns = 0;
        let descriptor = descriptor::encode(&body, frozen_at_ns);
        let mut first = Vec::new();
        if let Some(space) = body.space.as_ref() {
            for page in space.first_pages(body.registers.rip, body.registers.rsp, FIRST_PAGES) {
                first.extend(space.page(page).map(|frame| (page, frame)));
            }
        }
        for (page, frame) in first {
            self.send_early(pid, target, epoch, page, frame);
        }
        let image = Image {
            pid: wire_pid(pid),
            epoch,
            source_boot: self.boot,
            ticket: Ticket::default(),
            digest: [0; 32],
            frozen_at_ns,
            descriptor,
        };
        self.send(target, Message::Image(image));
        if let Some(out) = self.outgoing.get_mut(&pid) {
            out.body = Some(body);
            out.source.image_sent(self.now);
        }
        self.pump_source(pid);
    }

    /// Sends a page that must still be kept in case the process comes back.
    fn send_early(&mut self, pid: u32, target: NodeId, epoch: u64, page: u64, frame: Frame) {
        let Some(out) = self.outgoing.get_mut(&pid) else {
            return;
        };
        if out.early.insert(page) {
            out.stats.pages_sent += 1;
            out.stats.bytes += PAGE_SIZE as u64;
            self.send_page(target, Lane::Urgent, pid, epoch, page, frame);
        }
    }

    /// The process runs here again, in a new epoch.
    fn resume(&mut self, pid: u32, epoch: u64, poke: bool) {
        if let Some(body) = self.outgoing.get_mut(&pid).and_then(|out| out.body.take()) {
            self.forget_fpu(pid);
            self.bodies.insert(pid, body);
        }
        let Some(body) = self.bodies.get_mut(&pid) else {
            return;
        };
        body.epoch = epoch;
        body.freezing = false;
        body.held = false;
        body.poked |= poke;
        body.effects = Effects::Open;
        body.arriving = false;
        if body.run != Run::Stopped {
            body.run = Run::Blocked;
        }
        body.queued = false;
        self.tombstones.record(wire_pid(pid), epoch);
        self.wakes.push(pid);
    }

    /// The process has had an effect elsewhere: pages are dropped as they are sent.
    fn released(&mut self, pid: u32) {
        let Some(out) = self.outgoing.get_mut(&pid) else {
            return;
        };
        out.released = true;
        if let Some(space) = out.body.as_mut().and_then(|body| body.space.as_mut()) {
            for page in core::mem::take(&mut out.early) {
                space.take(page);
            }
        }
    }

    fn source_finished(&mut self, pid: u32, result: Result<(), MoveError>) {
        let Some(mut out) = self.outgoing.remove(&pid) else {
            return;
        };
        if let Some(body) = self.bodies.get_mut(&pid)
            && body.held
            && out.hold == Hold::Waits
        {
            body.held = false;
            self.wakes.push(pid);
        }
        let target = out.source.target();
        let peer = self.net.peer(target);
        if let Some(report) = out.source.running() {
            out.stats.pages_present = report.present;
            let offset = peer
                .as_ref()
                .and_then(|peer| peer.clock_offset)
                .map_or(0, |(offset, _)| offset);
            let started = report.first_run_ns.saturating_add_signed(-offset);
            out.stats.freeze_ns = started.saturating_sub(out.frozen_at_ns);
        }
        out.stats.rtt_ns = peer.and_then(|peer| peer.rtt_smoothed_ns).unwrap_or(0);
        out.stats.total_ns = self.now.saturating_sub(out.since_ns);
        self.report(out.home, pid, out.request, result.map(|()| out.stats));
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
    fn serve(&mut self, from: NodeId, pid: u32, epoch: u64, page: u64) {
        let Some(out) = self.outgoing.get_mut(&pid) else {
            return;
        };
        if out.source.target() != from || out.source.target_epoch() != epoch {
            return;
        }
        let released = out.released;
        let Some(space) = out.body.as_mut().and_then(|body| body.space.as_mut()) else {
            return;
        };
        if released {
            if let Some(frame) = space.take(page) {
                out.stats.pages_sent += 1;
                out.stats.bytes += PAGE_SIZE as u64;
                self.send_page(from, Lane::Urgent, pid, epoch, page, frame);
            }
        } else if let Some(frame) = space.page(page) {
            self.send_early(pid, from, epoch, page, frame);
        }
    }

    /// Sends pages that nobody has asked for yet, as far as the links take them.
    pub(crate) fn push(&mut self) {
        let pids: Vec<u32> = self
            .outgoing
            .iter()
            .filter(|(_, out)| out.released && out.body.is_some())
            .map(|(pid, _)| *pid)
            .collect();
        for pid in pids {
            self.push_one(pid);
        }
    }

    fn push_one(&mut self, pid: u32) {
        let Some(out) = self.outgoing.get_mut(&pid) else {
            return;
        };
        let (target, epoch) = (out.source.target(), out.source.target_epoch());
        let mut room = self.net.bulk_room(target);
        while room > 0 {
            let Some(out) = self.outgoing.get_mut(&pid) else {
                return;
            };
            let Some(space) = out.body.as_mut().and_then(|body| body.space.as_mut()) else {
                return;
            };
            let next = space.next_present(out.cursor);
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
            out.cursor = page + PAGE_SIZE as u64;
            let Some(frame) = space.take(page) else {
                continue;
            };
            if frame.is_zero() {
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
            out.stats.pages_sent += 1;
            out.stats.bytes += PAGE_SIZE as u64;
            self.send_page(target, Lane::Bulk, pid, epoch, page, frame);
            room -= 1;
        }
        let Some(out) = self.outgoing.get_mut(&pid) else {
            return;
        };
        let Some(space) = out.body.as_ref().and_then(|body| body.space.as_ref()) else {
            return;
        };
        let all_sent = out.zeros.is_empty() && space.next_present(out.cursor).is_none();
        if all_sent && !out.end_sent {
            out.end_sent = true;
            let _ = self.net.send_bulk(
                self.now,
                target,
                Message::PushEnd {
                    pid: wire_pid(pid),
                    epoch,
                },
            );
        } else if out.end_sent && self.net.bulk_idle(target) {
            out.source.push_done(self.now);
            self.pump_source(pid);
        }
    }

    // ---- the target --------------------------------------------------------------------------

    fn offered(&mut self, from: NodeId, boot: BootId, offer: Offer) {
        let pid = offer.pid.0;
        // Who offers a process back has all of it, so a push to there is over.
        if let Some(out) = self.outgoing.get_mut(&pid)
            && out.end_sent
            && out.source.target_epoch() < offer.epoch
        {
            out.source.push_done(self.now);
            self.pump_source(pid);
        }
        let reserved: u64 = self
            .incoming
            .values()
            .map(|incoming| incoming.offer.pages)
            .sum();
        let free = machine::frame_counts().free;
        let features = self.settings.features;
        let busy = self.bodies.contains_key(&pid)
            || self.outgoing.contains_key(&pid)
            || self
                .incoming
                .get(&pid)
                .is_some_and(|incoming| !incoming.target.waits_for_image());
        let reason = if !self.tombstones.allows(offer.pid, offer.epoch) || busy {
            Some(MoveError::Busy)
        } else if !features.cover(&offer.features) {
            Some(MoveError::Features)
        } else if free
            < reserved
                .saturating_add(offer.pages)
                .saturating_add(RESERVE_FRAMES)
        {
            Some(MoveError::NodeFull)
        } else {
            None
        };
        if let Some(reason) = reason {
            self.send(
                from,
                Message::Refuse {
                    pid: offer.pid,
                    epoch: offer.epoch,
                    reason,
                },
            );
            return;
        }
        let target = Target::new(self.now, (self.me, self.boot), from, boot, &offer);
        self.incoming.insert(
            pid,
            Incoming {
                target,
                offer,
                staged: Vec::new(),
            },
        );
        self.pump_target(pid);
    }

    fn image(&mut self, from: NodeId, boot: BootId, image: &Image) {
        let pid = image.pid.0;
        let Some(incoming) = self
            .incoming
            .get_mut(&pid)
            .filter(|incoming| incoming.target.expects(from, boot, image))
        else {
            self.send(
                from,
                Message::Discarded {
                    pid: image.pid,
                    epoch: image.epoch,
                },
            );
            return;
        };
        let staged = core::mem::take(&mut incoming.staged);
        let source_clock = self
            .net
            .peer(from)
            .and_then(|peer| peer.clock_offset)
            .map_or(0, |(offset, _)| offset);
        let elapsed = self
            .now
            .saturating_add_signed(source_clock)
            .saturating_sub(image.frozen_at_ns);
        match descriptor::decode(&image.descriptor, pid, self.now, elapsed) {
            Ok(mut body) => {
                body.epoch = image.epoch;
                if let Some(space) = body.space.as_mut() {
                    for (page, frame) in staged {
                        frame.set_kind(FrameKind::User);
                        space.install(page, frame);
                    }
                }
                self.tombstones.record(image.pid, image.epoch);
                self.forget_fpu(pid);
                self.bodies.insert(pid, body);
                if let Some(incoming) = self.incoming.get_mut(&pid) {
                    incoming.target.image_installed(self.now, image);
                }
            }
            Err(reason) => {
                machine::log!("process {pid}: image refused: {reason}");
                incoming
                    .target
                    .image_bad(self.now, MoveError::CantMove(reason.to_string()));
            }
        }
        self.pump_target(pid);
    }

    fn pump_target(&mut self, pid: u32) {
        while let Some(action) = self
            .incoming
            .get_mut(&pid)
            .and_then(|incoming| incoming.target.poll_action())
        {
            match action {
                TargetAction::Send(to, message) => self.send(to, message),
                TargetAction::Compute => {
                    if self
                        .bodies
                        .get(&pid)
                        .is_some_and(|body| body.run != Run::Stopped)
                    {
                        self.make_ready(pid);
                    }
                }
                TargetAction::OpenEffects { epoch, poke } => self.open_effects(pid, epoch, poke),
                TargetAction::PagesLost => {
                    if self.bodies.contains_key(&pid) {
                        machine::log!("process {pid}: its last source is lost with pages of it");
                        self.die(pid, abi::signal::SIGKILL);
                        self.wakes.push(pid);
                    }
                }
                TargetAction::Discard => self.drop_body(pid),
                TargetAction::Finished => {
                    self.incoming.remove(&pid);
                }
            }
        }
    }

    /// Home has confirmed: the first effect says so back, and whatever waited goes on.
    fn open_effects(&mut self, pid: u32, epoch: u64, poke: bool) {
        let Some(body) = self.bodies.get_mut(&pid) else {
            return;
        };
        body.epoch = epoch;
        body.effects = Effects::Open;
        body.poked |= poke;
        let request = Request::plain(wire::CALL_ARRIVED, [0; 6]);
        self.forward(pid, Purpose::Arrived, request);
        self.wakes.push(pid);
    }

    /// The first instruction here is about to run.
    pub(crate) fn first_run(&mut self, body: &Body) {
        let pid = body.pid;
        let Some(incoming) = self.incoming.get_mut(&pid) else {
            return;
        };
        let present = body.space.as_ref().map_or(0, |space| {
            let usage = space.usage();
            usage.resident_pages - usage.private_pages.min(usage.resident_pages)
        });
        incoming.target.started(machine::now_ns(), present);
        let epoch = incoming.target.epoch();
        let (source, _) = incoming.target.source();
        self.beacon(source, pid, epoch, node::Edge::Started);
        self.pump_target(pid);
    }

    /// A thread waits for a page that its last source still has.
    pub(crate) fn request_page(&mut self, pid: u32, page: u64) {
        let Some(incoming) = self.incoming.get(&pid) else {
            return;
        };
        let (source, _) = incoming.target.source();
        let epoch = incoming.target.epoch();
        self.send(
            source,
            Message::PageRequest {
                pid: wire_pid(pid),
                epoch,
                page,
            },
        );
    }

    /// A page came in.
    pub(crate) fn page(&mut self, from: NodeId, boot: BootId, tag: PageTag, frame: Frame) {
        let pid = tag.pid.0;
        let Some(incoming) = self.incoming.get_mut(&pid) else {
            return;
        };
        if incoming.target.source() != (from, boot) || incoming.target.epoch() != tag.epoch {
            return;
        }
        if incoming.target.waits_for_image() {
            if incoming.staged.len() <= FIRST_PAGES {
                incoming.staged.push((tag.page, frame));
            }
            return;
        }
        frame.set_kind(FrameKind::User);
        if let Some(space) = self
            .bodies
            .get_mut(&pid)
            .and_then(|body| body.space.as_mut())
        {
            if space.install(tag.page, frame) == Installed::NoMemory {
                self.out_of_memory(pid);
            }
            self.wakes.push(pid);
        }
    }

    fn zero_pages(&mut self, from: NodeId, pid: u32, epoch: u64, runs: &[(u64, u32)]) {
        let Some(incoming) = self.incoming.get(&pid) else {
            return;
        };
        if incoming.target.source().0 != from || incoming.target.epoch() != epoch {
            return;
        }
        if let Some(space) = self
            .bodies
            .get_mut(&pid)
            .and_then(|body| body.space.as_mut())
        {
            let short = runs
                .iter()
                .any(|(page, count)| space.install_zero(*page, *count).is_err());
            if short {
                self.out_of_memory(pid);
            }
            self.wakes.push(pid);
        }
    }

    // ---- home --------------------------------------------------------------------------------

    /// Home gives or refuses the epoch that the target asks for.
    fn commit_requested(&mut self, from: NodeId, boot: BootId, message: &Message) {
        let Message::CommitRequest {
            pid,
            old_epoch,
            source,
            source_boot,
            ..
        } = *message
        else {
            return;
        };
        let Some(home) = self.homes.get_mut(&pid.0).filter(|home| home.lives()) else {
            self.send(
                from,
                Message::Lost {
                    pid,
                    epoch: old_epoch,
                },
            );
            return;
        };
        let mut decision = home
            .record
            .commit(from, boot, old_epoch, source, source_boot);
        decision.poke = home.signal_waits();
        self.send(from, decision.message());
        if decision.granted {
            self.send(source, decision.message());
        }
    }

    fn abort_requested(&mut self, from: NodeId, boot: BootId, pid: wire::Pid, old_epoch: u64) {
        let Some(home) = self.homes.get_mut(&pid.0).filter(|home| home.lives()) else {
            self.send(
                from,
                Message::Lost {
                    pid,
                    epoch: old_epoch,
                },
            );
            return;
        };
        let mut decision = home.record.abort(from, boot, old_epoch);
        decision.poke = home.signal_waits();
        self.send(from, decision.message());
    }

    // ---- messages, timeouts, losses ----------------------------------------------------------

    /// A message that concerns a move.
    pub(crate) fn hand_over_message(&mut self, from: NodeId, boot: BootId, message: Message) {
        let pid = match &message {
            Message::MoveRequest {
                pid,
                epoch,
                request,
                target,
                asker,
            } => {
                if from == pid.home() {
                    let hold = if asker == pid {
                        Hold::Waits
                    } else {
                        Hold::Runs
                    };
                    self.wish(pid.0, *epoch, *request, *target, hold);
                }
                return;
            }
            Message::MoveResult {
                pid,
                request,
                result,
            } => {
                return self.move_result(pid.0, *request, result.clone());
            }
            Message::Offer(offer) => return self.offered(from, boot, offer.clone()),
            Message::Image(image) => return self.image(from, boot, image),
            Message::CommitRequest { .. } => return self.commit_requested(from, boot, &message),
            Message::AbortRequest { pid, old_epoch } => {
                return self.abort_requested(from, boot, *pid, *old_epoch);
            }
            Message::PageRequest { pid, epoch, page } => {
                return self.serve(from, pid.0, *epoch, *page);
            }
            Message::PagesZero { pid, epoch, runs } => {
                return self.zero_pages(from, pid.0, *epoch, runs);
            }
            Message::Admit { pid, .. }
            | Message::Refuse { pid, .. }
            | Message::Decision { pid, .. }
            | Message::Release { pid, .. }
            | Message::Running { pid, .. }
            | Message::PushEnd { pid, .. }
            | Message::Discarded { pid, .. }
            | Message::Lost { pid, .. } => pid.0,
            _ => return,
        };
        if let Some(out) = self.outgoing.get_mut(&pid) {
            out.source.on_message(self.now, from, boot, &message);
            self.pump_source(pid);
        }
        if let Some(incoming) = self.incoming.get_mut(&pid) {
            incoming.target.on_message(self.now, from, boot, &message);
            self.pump_target(pid);
        }
        self.owner_told(from, pid, &message);
    }

    /// What home says to the owner of a body outside of a move.
    fn owner_told(&mut self, from: NodeId, pid: u32, message: &Message) {
        let Some(body) = self.bodies.get(&pid) else {
            return;
        };
        if body.home != from || self.outgoing.contains_key(&pid) || self.incoming.contains_key(&pid)
        {
            return;
        }
        let stale = match *message {
            Message::Lost { epoch, .. } => epoch >= body.epoch,
            Message::Decision {
                epoch,
                owner,
                owner_boot,
                ..
            } => epoch > body.epoch && (owner, owner_boot) != (self.me, self.boot),
            _ => false,
        };
        if stale {
            machine::log!("process {pid}: home says it is over here, dropped");
            self.drop_stale(pid);
        }
    }

    /// Tells a machine that waits for more that its copy is stale.
    pub(crate) fn fence_target(&mut self, pid: u32) {
        if let Some(incoming) = self.incoming.get_mut(&pid) {
            incoming.target.fenced();
            self.pump_target(pid);
        }
    }

    /// When a machine next wants to be looked at.
    pub(crate) fn hand_over_timeout(&self) -> Option<u64> {
        let sources = self
            .outgoing
            .values()
            .filter_map(|out| out.source.poll_timeout());
        let targets = self
            .incoming
            .values()
            .filter_map(|incoming| incoming.target.poll_timeout());
        let wishes = self
            .bodies
            .values()
            .filter_map(|body| body.wish.map(|wish| wish.deadline_ns));
        sources.chain(targets).chain(wishes).min()
    }

    /// Lets the machines whose time has come act, and tries wishes that were in somebody's way.
    pub(crate) fn hand_over_timeouts(&mut self) {
        let now = self.now;
        let due = |at: Option<u64>| at.is_some_and(|at| at <= now);
        let sources: Vec<u32> = self
            .outgoing
            .iter()
            .filter(|(_, out)| due(out.source.poll_timeout()))
            .map(|(pid, _)| *pid)
            .collect();
        for pid in sources {
            if let Some(out) = self.outgoing.get_mut(&pid) {
                out.source.on_timeout(now);
            }
            self.pump_source(pid);
        }
        let targets: Vec<u32> = self
            .incoming
            .iter()
            .filter(|(_, incoming)| due(incoming.target.poll_timeout()))
            .map(|(pid, _)| *pid)
            .collect();
        for pid in targets {
            if let Some(incoming) = self.incoming.get_mut(&pid) {
                incoming.target.on_timeout(now);
            }
            self.pump_target(pid);
        }
    }

    /// Tries the wishes that could not begin so far.
    pub(crate) fn try_moves(&mut self) {
        let wishing: Vec<u32> = self
            .bodies
            .values()
            .filter(|body| body.wish.is_some())
            .map(|body| body.pid)
            .collect();
        for pid in wishing {
            self.try_move(pid);
        }
    }

    /// A node does not answer. That proves nothing; but a move to it may be taken back.
    pub(crate) fn peer_silent(&mut self, node: NodeId, boot: BootId) {
        let pids: Vec<u32> = self.outgoing.keys().copied().collect();
        for pid in pids {
            if let Some(out) = self.outgoing.get_mut(&pid) {
                out.source.on_peer_silent(self.now, node);
            }
            self.pump_source(pid);
        }
        let pids: Vec<u32> = self.homes.keys().copied().collect();
        for pid in pids {
            let Some(home) = self.homes.get_mut(&pid).filter(|home| home.lives()) else {
                continue;
            };
            if let LostOutcome::HandBack(decision) = home.record.owner_suspected(node, boot) {
                self.send(decision.owner, decision.message());
                self.send(node, decision.message());
            }
        }
    }

    /// A boot of a node is over for certain, and with it everything that lived there.
    pub(crate) fn peer_lost(&mut self, node: NodeId, boot: BootId) {
        let pids: Vec<u32> = self.outgoing.keys().copied().collect();
        for pid in pids {
            if let Some(out) = self.outgoing.get_mut(&pid) {
                out.source.on_peer_lost(self.now, node, boot);
            }
            self.pump_source(pid);
        }
        let pids: Vec<u32> = self.incoming.keys().copied().collect();
        for pid in pids {
            if let Some(incoming) = self.incoming.get_mut(&pid) {
                incoming.target.on_peer_lost(self.now, node, boot);
            }
            self.pump_target(pid);
        }
        let guests: Vec<u32> = self
            .bodies
            .values()
            .filter(|body| body.home == node)
            .map(|body| body.pid)
            .collect();
        for pid in guests {
            machine::log!("process {pid}: its home is lost, and it with it");
            self.drop_body(pid);
        }
        self.tombstones.home_lost(node);
        let pids: Vec<u32> = self.homes.keys().copied().collect();
        for pid in pids {
            let Some(home) = self.homes.get_mut(&pid).filter(|home| home.lives()) else {
                continue;
            };
            let outcome = home.record.owner_lost(node, boot);
            home.record.previous_lost(node, boot);
            match outcome {
                LostOutcome::Unaffected => {}
                LostOutcome::HandBack(decision) => self.send(decision.owner, decision.message()),
                LostOutcome::Ended => {
                    machine::log!("process {pid}: lost with node {}", node.0);
                    self.ended(pid, abi::signal::SIGKILL);
                }
            }
        }
    }
}
