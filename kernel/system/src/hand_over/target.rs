//! A move at its target: admission, installation, arrival.
//!
//! Law: the target reserves before anything is sent, installs only a whole and checked image, and
//! lets no effect out before home has confirmed it.

use crate::body::Effects;
use crate::descriptor::{self, Prepared};
use crate::dispatch::wire_pid;
use crate::home::Request;
use crate::memory::{Copies, Installed, Space};
use crate::shared::check_shared;
use crate::system::System;
use crate::thread::{Forward, Purpose};
use crate::timeline::What;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::ToString;
use alloc::vec::Vec;
use machine::{Frame, FrameKind};
use migrate::{Target, TargetAction};
use node::PageTag;
use wire::{Attempt, BootId, Image, Message, MoveError, NodeId, Offer, Stalls};

use super::kept::{Holder, Keepsake};
use super::source::{BEFORE_IMAGE, FIRST_PAGES, Frozen};
use super::wish::DRAFT_MAX;

/// Pages that are here before their image at most: on a link that loses the image, those sent behind it too.
const STAGED_MAX: usize = BEFORE_IMAGE + FIRST_PAGES;
/// Frames that a node keeps for itself when it admits a guest.
const RESERVE_FRAMES: u64 = 1024;
/// Processes that one node may have announced and not sent yet.
const OFFERS_MAX: usize = 64;
/// No process moves so often.
const EPOCH_MAX: u64 = u64::MAX / 2;

/// A move as its target drives it.
pub struct Incoming {
    pub(super) target: Target,
    pub(super) offer: Offer,
    /// Its memory, made from the draft in the offer.
    pub(super) prepared: Option<Prepared>,
    /// Pages that came while it ran.
    pub(super) copies: Option<Copies>,
    /// Pages that this node has kept since the process was here.
    pub(super) kept: Option<Keepsake>,
    /// Pages that came in front of the image.
    pub(super) staged: Vec<(u64, Frame)>,
    /// The source has sent everything; told to the machine when everything is here, because pages
    /// that were asked for come by another lane.
    pub(super) end: Option<(NodeId, BootId)>,
    /// The body is this move's.
    pub(super) installed: bool,
    /// When the whole image was there, ns.
    pub(super) image_ns: u64,
    /// The pages that threads wait for. Every other page is installed without waking anybody.
    pub(super) awaited: BTreeMap<u64, Vec<Waiter>>,
    pub(super) stalls: Stalls,
}

/// A thread that waits for a page.
pub(super) struct Waiter {
    tid: u32,
    since_ns: u64,
}

impl Incoming {
    /// Where the move stands, for a test that fails.
    #[cfg(feature = "canary")]
    pub fn describe(&self) -> alloc::string::String {
        alloc::format!(
            "from {} epoch {}, {}",
            self.target.source().0,
            self.target.epoch(),
            self.target.state()
        )
    }

    /// Pages that are kept for the image: those that came right in front of it, and while it ran.
    #[cfg(test)]
    pub(crate) fn early_pages(&self) -> (usize, u64) {
        let copies = self.copies.as_ref().map_or(0, Copies::count);
        (self.staged.len(), copies)
    }

    /// Whether nothing has been installed yet.
    pub(crate) fn waits_for_image(&self) -> bool {
        self.target.waits_for_image()
    }

    /// Which try of its source it is.
    pub(crate) fn attempt(&self) -> Attempt {
        self.target.attempt()
    }

    /// The node that still has pages, and the epoch of the move.
    pub(crate) fn source(&self) -> (NodeId, u64) {
        (self.target.source().0, self.target.epoch())
    }
}

/// Gives a process the pages that came before its image.
fn adopt(
    mut frozen: Frozen,
    copies: Option<Copies>,
    record: &[u8],
) -> Result<Frozen, &'static str> {
    if !record.is_empty() {
        let copies = match copies {
            Some(copies) => copies,
            None => Copies::new(None).map_err(|_| "no memory for its page tables")?,
        };
        frozen.space.adopt(copies, record)?;
    }
    Ok(frozen)
}

impl System {
    /// Frames for what processes on their way here still bring.
    pub(crate) fn frames_promised(&self) -> u64 {
        let incoming = self.incoming.values().map(|incoming| {
            let copies = incoming.copies.as_ref().map_or(0, Copies::count);
            let kept = incoming.kept.as_ref();
            let here = copies + kept.map_or(0, |keepsake| keepsake.kept.count());
            let to_come = incoming.offer.pages.saturating_sub(here);
            to_come.saturating_add(STAGED_MAX as u64)
        });
        incoming.sum()
    }

    pub(super) fn offered(&mut self, from: NodeId, boot: BootId, mut offer: Offer) {
        let pid = offer.pid.0;
        let granted = self.homes.get(&pid).is_some_and(|home| {
            let epoch = offer.epoch.wrapping_sub(1);
            home.record.gate().is_owner(from, boot, epoch)
        });
        if offer.draft.len() > DRAFT_MAX {
            offer.draft = Vec::new();
        }
        // Who offers a process back has all of it, so a push to there is over. Anybody can say that he has it: believed are who got it from here, and
        // at home its owner. Whoever else says so has to wait for the link, which will know.
        let left = self.outgoing.get_mut(&pid);
        if let Some(out) =
            left.filter(|out| out.end_sent && out.source.target_epoch() < offer.epoch)
        {
            if !granted && out.source.target() != from {
                out.next = Some((from, boot, Box::new(offer)));
                return;
            }
            out.source.push_done(self.now);
            self.pump_source(pid);
        }
        let reserved = self.frames_promised();
        let free = self.frames().free;
        let features = self.settings.features;
        let welcome = offer.home == self.me || self.placement.takes_guests();
        let unfit =
            offer.home != offer.pid.home() || !offer.home.is_valid() || offer.epoch > EPOCH_MAX;
        let forged = offer.home == self.me && !granted;
        // An offer is small, and so is a lie: nobody has more of them here than a few.
        let others = |incoming: &&Incoming| {
            incoming.waits_for_image()
                && incoming.source().0 == from
                && incoming.offer.pid != offer.pid
        };
        let crowded = self.incoming.values().filter(others).count() >= OFFERS_MAX;
        let busy = self.bodies.contains_key(&pid)
            || self.outgoing.contains_key(&pid)
            || self
                .incoming
                .get(&pid)
                .is_some_and(|incoming| !incoming.target.waits_for_image());
        let reason = if unfit || forged {
            Some(MoveError::Gone)
        } else if !self.tombstones.allows(offer.pid, offer.epoch) || busy || crowded {
            Some(MoveError::Busy)
        } else if !features.cover(&offer.features) {
            Some(MoveError::Features)
        } else if !welcome
            || free
                < reserved
                    .saturating_add(offer.pages)
                    .saturating_add(RESERVE_FRAMES)
        {
            Some(MoveError::NodeFull)
        } else if !self.meets(&offer.terms) {
            Some(MoveError::Crowded)
        } else {
            None
        };
        let draft = Some(&offer.draft).filter(|draft| !draft.is_empty());
        let prepared = draft
            .filter(|_| reason.is_none())
            .map(|draft| Prepared::new(draft, pid, self.now))
            .transpose();
        let (prepared, unfit) = match prepared {
            Ok(prepared) => (prepared, None),
            Err(why) => (None, Some(MoveError::CantMove(why.to_string()))),
        };
        let of = (pid, offer.epoch);
        if let Some(reason) = reason.or(unfit) {
            self.timeline.note(What::Refuses, of, from, offer.pages);
            self.send(
                from,
                Message::Refuse {
                    pid: offer.pid,
                    epoch: offer.epoch,
                    attempt: offer.attempt,
                    reason,
                },
            );
            return;
        }
        self.timeline.note(What::Admits, of, from, offer.pages);
        let kept = self.take_kept(from, boot, &offer);
        let target = Target::new(self.now, (self.me, self.boot), from, boot, &offer);
        self.incoming.insert(
            pid,
            Incoming {
                target,
                offer: Offer {
                    draft: Vec::new(),
                    ..offer
                },
                prepared,
                copies: None,
                kept,
                staged: Vec::new(),
                end: None,
                installed: false,
                image_ns: 0,
                awaited: BTreeMap::new(),
                stalls: Stalls::default(),
            },
        );
        self.pump_target(pid);
    }

    pub(super) fn image(&mut self, from: NodeId, boot: BootId, image: &Image) {
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
                    attempt: image.attempt,
                },
            );
            return;
        };
        if self.bodies.contains_key(&pid) || self.outgoing.contains_key(&pid) {
            // Since the offer a process of this number came to be here by another way.
            incoming.target.image_bad(self.now, MoveError::Busy);
            return self.pump_target(pid);
        }
        let copies = incoming.copies.take();
        let staged = core::mem::take(&mut incoming.staged);
        incoming.image_ns = self.now;
        let clock = self.net.peer(from).and_then(|peer| peer.clock_offset);
        let source_clock = clock.map_or(0, |(offset, _)| offset);
        self.timeline.note_clock(from, clock);
        let (of, bytes) = ((pid, image.epoch), image.descriptor.len() as u64);
        self.timeline.note(What::ImageIn, of, from, bytes);
        let elapsed = self
            .now
            .saturating_add_signed(source_clock)
            .saturating_sub(image.frozen_at_ns);
        let prepared = incoming.prepared.take();
        let frozen = descriptor::decode(&image.descriptor, pid, self.now, elapsed, prepared)
            .and_then(|frozen| adopt(frozen, copies, &image.copied))
            .and_then(|frozen| check_shared(&self.homes, pid, &frozen.space).map(|()| frozen));
        match frozen {
            Ok(frozen)
                if frozen
                    .threads
                    .iter()
                    .any(|thread| self.threads.contains_key(&thread.tid)) =>
            {
                // Numbers of threads are home's to give: this one has given one twice.
                incoming.target.image_bad(self.now, MoveError::Busy);
            }
            Ok(mut frozen) => {
                frozen.body.epoch = image.epoch;
                frozen.body.holder = incoming.offer.keeps.then_some(Holder {
                    node: from,
                    boot,
                    epoch: image.epoch,
                });
                for (page, frame) in staged {
                    frame.set_kind(FrameKind::User);
                    frozen.space.install(page, frame);
                }
                self.tombstones.record(image.pid, image.epoch);
                self.put_in(frozen);
                if let Some(incoming) = self.incoming.get_mut(&pid) {
                    incoming.installed = true;
                    incoming.target.image_installed(self.now, image);
                }
                let absent = self.space_of(pid).map_or(0, Space::absent_count);
                self.timeline.note(What::Installed, of, from, absent);
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

    pub(super) fn pump_target(&mut self, pid: u32) {
        while let Some(action) = self
            .incoming
            .get_mut(&pid)
            .and_then(|incoming| incoming.target.poll_action())
        {
            match action {
                TargetAction::Send(to, message) => self.send(to, message),
                TargetAction::Compute => {
                    #[cfg(feature = "canary")]
                    if self.canary == Some(crate::inside::Canary::EffectsAtOnce) {
                        self.body(pid).effects = Effects::Open;
                    }
                    self.compute(pid);
                }
                TargetAction::OpenEffects { epoch, poke } => self.open_effects(pid, epoch, poke),
                TargetAction::PagesLost => {
                    self.install_named(pid, usize::MAX);
                    if self.lacks_pages(pid) {
                        machine::log!("process {pid}: its last source is lost with pages of it");
                        self.note_target(What::PagesLost, pid, 0);
                        // Nobody waits for them any more, also who is already ending and wants to give some back.
                        if let Some(space) = self.space_mut(pid) {
                            space.forget_absent();
                        }
                        self.wake_threads(pid);
                        self.die(pid, abi::signal::SIGKILL);
                    }
                }
                TargetAction::Discard => {
                    self.note_target(What::Discarded, pid, 0);
                    // Another process of that number may be here, if no image ever came.
                    if self
                        .incoming
                        .get(&pid)
                        .is_some_and(|incoming| incoming.installed)
                    {
                        self.drop_body(pid);
                    }
                }
                TargetAction::Finished => {
                    self.incoming.remove(&pid);
                }
            }
        }
    }

    /// Notes what happens in a move that comes here.
    fn note_target(&mut self, what: What, pid: u32, value: u64) {
        if let Some(incoming) = self.incoming.get(&pid) {
            let (source, epoch) = incoming.source();
            self.timeline.note(what, (pid, epoch), source, value);
        }
    }

    /// Whether pages of a process that is here are still at its last source.
    pub(crate) fn lacks_pages(&self, pid: u32) -> bool {
        #[cfg(feature = "canary")]
        if self.canary == Some(crate::inside::Canary::PushEndAtOnce) {
            return false;
        }
        let space = self.space_of(pid);
        space.is_some_and(|space| space.absent_count() > 0)
    }

    /// Tells the machines whose last page is in that the push has ended.
    pub(crate) fn conclude_pushes(&mut self) {
        if self.incoming.is_empty() {
            return;
        }
        let complete: Vec<u32> = self
            .incoming
            .iter()
            .filter(|(pid, incoming)| incoming.end.is_some() && !self.lacks_pages(**pid))
            .map(|(pid, _)| *pid)
            .collect();
        for pid in complete {
            let Some(incoming) = self.incoming.get_mut(&pid) else {
                continue;
            };
            let Some((from, boot)) = incoming.end.take() else {
                continue;
            };
            let end = Message::PushEnd {
                pid: wire_pid(pid),
                epoch: incoming.target.epoch(),
            };
            let settled = Message::Settled {
                pid: wire_pid(pid),
                epoch: incoming.target.epoch(),
                target: self.me,
                stalls: incoming.stalls,
            };
            let faults = incoming.stalls.faults;
            incoming.target.on_message(self.now, from, boot, &end);
            self.note_target(What::Complete, pid, faults);
            self.send(from, settled);
            self.pump_target(pid);
        }
    }

    /// The source has sent everything.
    pub(super) fn push_ended(&mut self, from: NodeId, boot: BootId, pid: u32, epoch: u64) {
        if let Some(incoming) = self.incoming.get_mut(&pid)
            && incoming.target.source() == (from, boot)
            && incoming.target.epoch() == epoch
        {
            incoming.end = Some((from, boot));
        }
    }

    /// Lets the threads of a process that has just arrived go on: all of them take up what they
    /// waited for before any of them runs. One that can run goes before everybody else, this once.
    pub(crate) fn compute(&mut self, pid: u32) {
        let tids = self.tids(pid);
        for tid in &tids {
            self.advance(*tid);
        }
        let queued = |tid: &&u32| {
            let thread = self.threads.get(*tid);
            thread.is_some_and(|thread| thread.queued.is_some())
        };
        if let Some(tid) = tids.iter().find(queued).copied() {
            self.hurry(tid);
        }
        self.note_coming(pid);
    }

    /// Home has confirmed: the first effect says so back, and whatever waited goes on.
    pub(crate) fn open_effects(&mut self, pid: u32, epoch: u64, poke: bool) {
        let Some(body) = self.bodies.get_mut(&pid) else {
            return;
        };
        body.epoch = epoch;
        let home = body.home;
        let effects = match home == self.me && self.keeper.keeps() || self.knows_its_own(home) {
            true => Effects::Confirmed,
            false => Effects::Open,
        };
        self.body(pid).effects = effects;
        if home == self.me {
            self.share_at_home(pid);
        }
        self.note_target(What::Opened, pid, 0);
        for tid in self.tids(pid) {
            self.thread(tid).poked |= poke;
        }
        self.say_arrived(pid);
        self.wake_threads(pid);
    }

    /// The first effect of a process that has come, an empty call. Nobody has asked home for anything yet: any thread
    /// can say so.
    pub(crate) fn say_arrived(&mut self, pid: u32) {
        let asks = |tid: &u32| {
            let thread = self.threads.get(tid);
            thread.is_some_and(|thread| thread.forward == Forward::Idle)
        };
        if let Some(tid) = self.tids(pid).into_iter().find(asks) {
            let request = Request::plain(wire::CALL_ARRIVED, [0; 6]);
            self.forward(tid, Purpose::Arrived, request);
        }
    }

    /// Home has the first effect, and so has its disk: the others go on.
    pub(crate) fn arrival_answered(&mut self, pid: u32) {
        if let Some(body) = self.bodies.get_mut(&pid)
            && body.effects == Effects::Confirmed
        {
            body.effects = Effects::Open;
            self.wake_threads(pid);
        }
    }

    /// The first instruction here was run at `first_run_ns`. The observer is told now, as its frame says how long ago
    /// that was: before, the process would have waited for the frame.
    pub(crate) fn first_run(&mut self, pid: u32, first_run_ns: u64) {
        let space = self.space_of(pid);
        let present = space.map_or(0, |space| {
            let usage = space.usage();
            usage.resident_pages - usage.private_pages.min(usage.resident_pages)
        });
        let absent = space.map_or(0, Space::absent_count);
        let Some(incoming) = self.incoming.get_mut(&pid) else {
            return;
        };
        let image_ns = incoming.image_ns;
        incoming.stalls.absent = absent;
        incoming.target.started(image_ns, first_run_ns, present);
        let ((source, epoch), what) = (incoming.source(), What::Started);
        self.timeline
            .note_at(first_run_ns, what, (pid, epoch), source, absent);
        self.beacon(first_run_ns, source, pid, epoch, node::Edge::Started);
        self.pump_target(pid);
    }

    /// A thread waits for a page that its last source still has.
    pub(crate) fn request_page(&mut self, tid: u32, page: u64) {
        let pid = self.thread(tid).pid;
        if self.install_kept(pid, page) {
            return self.wakes.push(tid);
        }
        let Some(incoming) = self.incoming.get_mut(&pid) else {
            return;
        };
        // The lane loses nothing: asking once is enough.
        let waiting = incoming.awaited.entry(page).or_default();
        let asked = !waiting.is_empty();
        if waiting.iter().all(|waiter| waiter.tid != tid) {
            let since_ns = machine::now_ns();
            waiting.push(Waiter { tid, since_ns });
        }
        if asked {
            return;
        }
        incoming.stalls.faults += 1;
        let (source, epoch) = incoming.source();
        self.timeline
            .note(What::PageAsked, (pid, epoch), source, page);
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
        let target = &incoming.target;
        let of = (target.epoch(), target.attempt());
        if target.source() != (from, boot) || of != (tag.epoch, tag.attempt()) {
            return;
        }
        let page = tag.address();
        if tag.is_copy() {
            return self.copied_page(pid, page, frame);
        }
        if incoming.target.waits_for_image() {
            if incoming.staged.len() < STAGED_MAX {
                incoming.staged.push((page, frame));
                return;
            }
            // Its source believes it to be here: without it the process would wait for ever.
            let reason = "more pages came in front of its image than there are to be";
            let reason = MoveError::CantMove(reason.to_string());
            incoming.target.image_bad(self.now, reason);
            return self.pump_target(pid);
        }
        self.install_page(pid, page, frame);
    }

    /// Gives a process a page that its source had, and that this node may hold on to as well. One that somebody has
    /// waited for is likely to be written to.
    pub(super) fn install_page(&mut self, pid: u32, page: u64, frame: Frame) {
        let Some(incoming) = self.incoming.get_mut(&pid) else {
            return;
        };
        let awaited = incoming.awaited.remove(&page);
        let kept = incoming.offer.keeps && awaited.is_none();
        if let Some(space) = self.space_mut(pid) {
            let installed = match kept {
                true => space.install_as_kept(page, frame),
                false => space.install(page, frame),
            };
            if installed == Installed::NoMemory {
                self.out_of_memory(pid);
            }
            if let Some(waiters) = awaited {
                self.page_awaited(pid, page, &waiters);
            }
        }
    }

    /// A page is here that threads have waited for.
    fn page_awaited(&mut self, pid: u32, page: u64, waiters: &[Waiter]) {
        let now = machine::now_ns();
        if let Some(incoming) = self.incoming.get_mut(&pid) {
            for waiter in waiters {
                let waited_ns = now.saturating_sub(waiter.since_ns);
                let stalls = &mut incoming.stalls;
                stalls.count += 1;
                stalls.sum_ns += waited_ns;
                stalls.worst_ns = stalls.worst_ns.max(waited_ns);
            }
        }
        self.note_target(What::PageIn, pid, page);
        for waiter in waiters {
            self.wakes.push(waiter.tid);
        }
    }

    /// A page came as it was while the process ran.
    fn copied_page(&mut self, pid: u32, page: u64, frame: Frame) {
        let Some(incoming) = self.incoming.get_mut(&pid) else {
            return;
        };
        if !incoming.offer.copies || !incoming.target.waits_for_image() {
            return;
        }
        if incoming.copies.is_none() {
            let prepared = incoming.prepared.as_ref().map(Prepared::space);
            incoming.copies = Copies::new(prepared).ok();
        }
        // It may have grown since it was offered, but not without end.
        let most = incoming
            .offer
            .pages
            .saturating_mul(2)
            .saturating_add(RESERVE_FRAMES);
        let free = machine::frame_counts().free > RESERVE_FRAMES;
        let room = |copies: &&mut Copies| free && copies.count() < most;
        let copies = incoming.copies.as_mut().filter(room);
        match copies.map(|copies| copies.keep(page, frame)) {
            Some(Installed::Yes | Installed::NotWanted) => incoming.target.heard(self.now),
            Some(Installed::NoMemory) | None => {
                incoming.target.image_bad(self.now, MoveError::NodeFull);
                self.pump_target(pid);
            }
        }
    }

    pub(super) fn zero_pages(&mut self, from: NodeId, pid: u32, epoch: u64, runs: &[(u64, u32)]) {
        let Some(incoming) = self.incoming.get_mut(&pid) else {
            return;
        };
        if incoming.target.source().0 != from || incoming.target.epoch() != epoch {
            return;
        }
        let awaited = core::mem::take(&mut incoming.awaited);
        if let Some(space) = self.space_mut(pid) {
            let short = runs
                .iter()
                .any(|(page, count)| space.install_zero(*page, *count).is_err());
            // Who still waits does not ask again.
            let (missing, here) = awaited
                .into_iter()
                .partition::<BTreeMap<_, _>, _>(|(page, _)| space.is_absent(*page));
            if let Some(incoming) = self.incoming.get_mut(&pid) {
                incoming.awaited = missing;
            }
            for (page, waiters) in here {
                self.page_awaited(pid, page, &waiters);
            }
            if short {
                self.out_of_memory(pid);
            }
            self.wake_threads(pid);
        }
    }
}
