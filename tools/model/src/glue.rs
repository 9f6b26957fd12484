//! The glue of a node as `migrate`'s documentation asks for it, around one process.
//!
//! Law: it does what the actions say, in their order, and nothing on its own. Where the kernel's glue
//! (`kernel/system/src/hand_over`) has a choice, this one does as it does: it looks at tombstones at
//! the offer, pushes from the release on, and begins no move while pages are absent.

use crate::mutant::Mutant;
use crate::world::{
    Body, EXIT, HOME, HOSTS, InFlight, Item, KEEP, Mode, PID, Promise, Seen, TAKE, THREADS, Thread,
    WRITE, World, host_of, node, thread_of, tid,
};
use migrate::{HomeRecord, LostOutcome, Plan, Source, SourceAction, Target, TargetAction};
use wire::{
    Attempt, BootId, CALL_ARRIVED, Call, Features, Image, Message, MoveError, NodeId, Offer,
    Outcome, Passage, Reply, Terms, Ticket,
};

/// The ticket with which a process is claimed that was not given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Forgery {
    /// An empty one.
    Nothing,
    /// One that was made for somebody else.
    Overheard,
}

const NO_FEATURES: Features = Features {
    xcr0: 7,
    leaf1_ecx: 0,
    leaf1_edx: 0,
    leaf7_ebx: 0,
    leaf7_ecx: 0,
};

/// Every other move copies first: then the image comes with all pages.
fn copies_first(epoch: u64) -> bool {
    epoch.is_multiple_of(2)
}

impl Body {
    /// A move of it may begin.
    fn may_move(&self) -> bool {
        self.mode == Mode::Running && self.pages_at.is_none() && !self.doomed
    }

    fn descriptor(&self) -> Vec<u8> {
        let threads = self.threads.iter();
        let threads = threads.flat_map(|thread| {
            let held = thread.held.map_or(0, |number| number as u8);
            [thread.done, thread.next_seq as u8, held]
        });
        threads.chain([u8::from(self.poked), self.took]).collect()
    }
}

impl World {
    /// The ticket for a passage, as only its source makes it: nobody here makes one for another's. Empty without keys.
    pub(crate) fn ticket_of(&self, passage: &Passage) -> Ticket {
        let Passage {
            old_epoch,
            source,
            target,
            ..
        } = *passage;
        let mut bytes = [0; 16];
        if self.keys {
            bytes[..2].copy_from_slice(&source.0.0.to_le_bytes());
            bytes[2..4].copy_from_slice(&target.0.0.to_le_bytes());
            let words = [old_epoch, source.1.0, target.1.0];
            for (place, word) in bytes[4..].chunks_exact_mut(4).zip(words) {
                place.copy_from_slice(&(word as u32).to_le_bytes());
            }
        }
        Ticket(bytes)
    }

    /// Whether the process at `host` can begin to move.
    pub fn may_move(&self, host: usize) -> bool {
        let slot = &self.hosts[host];
        let known = |body: &Body| {
            let repeats = body.threads.iter().any(|thread| thread.again.is_some());
            self.mutant == Mutant::AnOrphanMoves || !(body.orphan || repeats)
        };
        let may = slot.body.as_ref();
        let may = may.is_some_and(|body| body.may_move() && known(body));
        may && slot.source.is_none() && slot.target.is_none()
    }

    /// The process at `host` begins to move to `target`, if it can.
    pub fn start_move(&mut self, host: usize, target: usize) {
        if !self.may_move(host) {
            return;
        }
        let (me, now, rules) = (self.me(host), self.now, self.mutant.rules());
        let slot = &mut self.hosts[host];
        let Some(body) = &slot.body else { return };
        let copies = copies_first(body.epoch);
        let offer = Offer {
            pid: PID,
            epoch: body.epoch + 1,
            attempt: Attempt::default(),
            home: node(HOME),
            pages: 4,
            features: NO_FEATURES,
            terms: Terms::Anyhow,
            copies,
            keeps: false,
            draft: Vec::new(),
        };
        let plan = Plan {
            copies,
            ..Plan::default()
        };
        let source = Source::new(now, PID, body.epoch, me, node(HOME), node(target), offer);
        slot.source = Some(source.keeps_to(plan).bound_by(rules));
        slot.end_sent = false;
        self.run_source(host);
    }

    /// Whether a thread at `host` can come to a call.
    pub fn may_call(&self, host: usize, thread: usize) -> bool {
        self.hosts[host].body.as_ref().is_some_and(|body| {
            let thread = &body.threads[thread];
            let computes = matches!(body.mode, Mode::Running | Mode::Speculating);
            computes && thread.call.is_none() && thread.held.is_none()
        })
    }

    /// A thread of the process at `host` comes to its next call; while it only speculates, it waits there.
    pub fn act(&mut self, host: usize, thread: usize, number: u32) {
        if !self.may_call(host, thread) {
            return;
        }
        let effect = match number {
            WRITE => self.effect_of(thread),
            other => other,
        };
        if let Some(body) = &mut self.hosts[host].body {
            let number = if body.doomed { EXIT } else { effect };
            body.threads[thread].held = Some(number);
            if body.mode == Mode::Speculating {
                self.saw(Seen::HeldBack);
            }
        }
        self.go_on(host);
    }

    /// What the threads of a process with effects have come to leaves for home.
    pub(crate) fn go_on(&mut self, host: usize) {
        if self.waits_for_the_first_answer(host) {
            return;
        }
        for thread in 0..THREADS {
            let Some(body) = &mut self.hosts[host].body else {
                return;
            };
            if body.mode != Mode::Running || body.orphan || body.threads[thread].call.is_some() {
                continue;
            }
            if thread == 0 && body.poked && body.threads[0].again.is_none() {
                body.poked = false;
                self.call(host, thread, TAKE);
            } else if let Some(number) = body.threads[thread].held.take() {
                self.call(host, thread, number);
            }
        }
    }

    pub(crate) fn call(&mut self, host: usize, index: usize, number: u32) {
        let Some(seq) = self.number_of(host, index, number) else {
            return;
        };
        let Some(body) = &mut self.hosts[host].body else {
            return;
        };
        let thread = &mut body.threads[index];
        thread.call = Some(InFlight { seq, number });
        let call = Call {
            pid: PID,
            thread: tid(index),
            epoch: body.epoch,
            seq,
            number,
            args: [u64::from(thread.done), 0, 0, 0, 0, 0],
            rooms: [0; 6],
            data: vec![],
        };
        self.send(host, node(HOME), Message::Call(call));
    }

    /// A person calls off the move.
    pub fn cancel_move(&mut self, host: usize) {
        let now = self.now;
        if let Some(source) = &mut self.hosts[host].source {
            source.cancel(now, MoveError::Aborted);
            self.run_source(host);
        }
    }

    /// `host` suspects `other`.
    pub fn silent(&mut self, host: usize, other: usize) {
        let (now, boot) = (self.now, self.hosts[host].known[other]);
        if let Some(source) = &mut self.hosts[host].source {
            source.on_peer_silent(now, node(other));
            self.run_source(host);
        }
        if let Some(record) = &mut self.hosts[host].record {
            let outcome = record.owner_suspected(node(other), boot);
            self.outcome(outcome, node(other), boot);
        }
        self.check_now();
    }

    /// `host` has proof that `lost`'s boot is over.
    pub(crate) fn peer_lost(&mut self, host: usize, lost: NodeId, boot: BootId) {
        let now = self.now;
        let home = lost == node(HOME);
        let returns = home && self.has_disk() && self.mutant != Mutant::MovesEndWithAnyHome;
        if home && self.has_disk() {
            self.orphan(host);
        }
        if let Some(source) = &mut self.hosts[host].source {
            match returns {
                true => source.on_home_rebooted(now, lost, boot),
                false => source.on_peer_lost(now, lost, boot),
            }
            self.run_source(host);
        }
        if let Some(target) = &mut self.hosts[host].target {
            match returns {
                true => target.on_home_rebooted(lost, boot),
                false => target.on_peer_lost(now, lost, boot),
            }
            self.run_target(host);
        }
        if home && self.has_disk() {
            self.home_rebooted(host);
        } else if home {
            self.hosts[host].body = None;
            self.hosts[host].tombstones.home_lost(lost);
        }
        if host == HOME {
            self.owner_lost(lost, boot);
        }
        self.check_now();
    }

    /// Home has proof that a boot is over that may have had the process.
    pub(crate) fn owner_lost(&mut self, lost: NodeId, boot: BootId) {
        if let Some(record) = &mut self.hosts[HOME].record {
            let outcome = record.owner_lost(self.now, lost, boot, true);
            record.previous_lost(lost, boot);
            self.outcome(outcome, lost, boot);
        }
    }

    /// A message has arrived at `host`.
    pub(crate) fn handle(&mut self, host: usize, from: NodeId, boot: BootId, message: &Message) {
        let now = self.now;
        if let Some(source) = &mut self.hosts[host].source {
            source.on_message(now, from, boot, message);
            self.run_source(host);
        }
        if let Some(target) = &mut self.hosts[host].target {
            target.on_message(now, from, boot, message);
            self.run_target(host);
        }
        match message {
            Message::Offer(offer) => self.offered(host, from, boot, offer),
            Message::Image(image) => self.image(host, from, boot, image),
            Message::Reply(reply) => self.replied(host, reply),
            Message::Poke { epoch, .. } => self.poked(host, *epoch),
            Message::Decision {
                epoch,
                owner,
                owner_boot,
                ..
            } => {
                let stale = (*owner, *owner_boot) != self.me(host);
                self.told(host, *epoch, stale);
            }
            Message::Lost { epoch, .. } => self.told(host, epoch.saturating_add(1), true),
            Message::PushEnd { epoch, .. } => self.push_ended(host, from, *epoch),
            Message::Adopted { epoch, .. } => self.adopted(host, *epoch),
            _ if host == HOME => self.at_home(from, boot, message),
            _ => {}
        }
    }

    fn push_ended(&mut self, host: usize, from: NodeId, epoch: u64) {
        if let Some(body) = &mut self.hosts[host].body
            && body.epoch == epoch
        {
            body.pages_at = None;
        }
        self.put((host, host_of(from), 1), Item::PushAck(epoch));
    }

    /// A signal is pending at home.
    fn poked(&mut self, host: usize, epoch: u64) {
        if let Some(body) = &mut self.hosts[host].body
            && body.epoch == epoch
            && body.mode != Mode::Frozen
        {
            body.poked = true;
            self.go_on(host);
        }
    }

    fn offered(&mut self, host: usize, from: NodeId, boot: BootId, offer: &Offer) {
        let (now, me, rules) = (self.now, self.me(host), self.mutant.rules());
        let slot = &mut self.hosts[host];
        // Who offers a process back has all of it, so a push to there is over.
        let mut back = false;
        if let Some(source) = &mut slot.source
            && slot.end_sent
            && source.target_epoch() < offer.epoch
        {
            source.push_done(now);
            back = true;
        }
        if back {
            self.run_source(host);
        }
        let slot = &mut self.hosts[host];
        let again = slot
            .target
            .as_ref()
            .is_some_and(|target| (target.source(), target.epoch()) == ((from, boot), offer.epoch));
        if again {
            return; // The machine has answered again.
        }
        if slot.target.as_ref().is_some_and(Target::waits_for_image) {
            slot.target = None;
        }
        let forged = host == HOME
            && slot.record.as_ref().is_none_or(|record| {
                let gate = record.gate();
                !gate.is_owner(from, boot, offer.epoch - 1)
            });
        let busy = slot.target.is_some() || slot.source.is_some() || slot.body.is_some();
        if forged || busy || !slot.tombstones.allows(PID, offer.epoch) {
            let refusal = Message::Refuse {
                pid: PID,
                epoch: offer.epoch,
                attempt: offer.attempt,
                reason: MoveError::Busy,
            };
            return self.send(host, from, refusal);
        }
        slot.target = Some(Target::new(now, me, from, boot, offer).bound_by(rules));
        self.run_target(host);
    }

    fn image(&mut self, host: usize, from: NodeId, boot: BootId, image: &Image) {
        let now = self.now;
        let slot = &mut self.hosts[host];
        let expected = slot.target.as_mut();
        let Some(target) = expected.filter(|target| target.expects(from, boot, image)) else {
            let discarded = Message::Discarded {
                pid: PID,
                epoch: image.epoch,
                attempt: image.attempt,
            };
            return self.send(host, from, discarded);
        };
        if slot.body.is_some() || slot.source.is_some() {
            target.image_bad(now, MoveError::Busy);
            return self.run_target(host);
        }
        let number = |at: usize| image.descriptor[at];
        let whole = !image.copied.is_empty();
        slot.body = Some(Body {
            epoch: image.epoch,
            mode: Mode::Speculating,
            threads: std::array::from_fn(|thread| Thread {
                done: number(3 * thread),
                next_seq: u64::from(number(3 * thread + 1)),
                call: None,
                held: Some(u32::from(number(3 * thread + 2))).filter(|number| *number != 0),
                again: None,
            }),
            arrived: false,
            poked: number(3 * THREADS) != 0,
            took: number(3 * THREADS + 1),
            pages_at: (!whole).then_some((from, boot)),
            doomed: false,
            orphan: false,
        });
        slot.tombstones.record(PID, image.epoch);
        target.image_installed(now, image);
        self.run_target(host);
    }

    fn replied(&mut self, host: usize, reply: &Reply) {
        let index = thread_of(reply.thread);
        let Some(body) = &mut self.hosts[host].body else {
            return;
        };
        let thread = &mut body.threads[index];
        let Some(call) = thread.call else { return };
        if (reply.epoch, reply.seq) != (body.epoch, call.seq) {
            return;
        }
        body.poked |= reply.poke;
        match reply.outcome {
            Outcome::Value(value) => {
                thread.call = None;
                thread.next_seq += 1;
                body.arrived = true;
                if matches!(call.number, WRITE | KEEP) {
                    let right = value == i64::from(thread.done);
                    thread.done += 1;
                    if !right {
                        self.fail(Promise::Once, "a call got the answer of another one");
                    }
                } else if call.number == TAKE {
                    body.took += value as u8;
                } else if call.number == EXIT {
                    return self.drop_body(host);
                }
            }
            Outcome::Interrupted => {
                thread.call = None;
                // What was interrupted is done again, here or at the target.
                body.poked |= call.number == TAKE;
                thread.held = Some(call.number).filter(|number| *number != TAKE);
            }
            Outcome::Refused { .. } => return self.fence(host),
        }
        self.capture(host);
        self.go_on(host);
    }

    /// A word of home about a body that is not moving.
    fn told(&mut self, host: usize, epoch: u64, stale: bool) {
        let slot = &self.hosts[host];
        let moves = slot.source.is_some() || slot.target.is_some();
        let older = slot.body.as_ref().is_some_and(|body| epoch > body.epoch);
        if stale && older && !moves {
            self.fence(host);
        }
    }

    /// A body that runs or is about to be frozen is stale.
    fn fence(&mut self, host: usize) {
        if let Some(body) = &self.hosts[host].body
            && matches!(body.mode, Mode::Running | Mode::Draining)
        {
            self.saw(Seen::Fenced);
            self.drop_body(host);
        }
    }

    fn drop_body(&mut self, host: usize) {
        let now = self.now;
        self.hosts[host].body = None;
        if let Some(target) = &mut self.hosts[host].target {
            target.fenced();
            self.run_target(host);
        }
        if let Some(source) = &mut self.hosts[host].source {
            source.body_gone(now);
            self.run_source(host);
        }
    }

    /// Sends the image if the process stands still.
    pub(crate) fn capture(&mut self, host: usize) {
        let (now, boot) = (self.now, self.hosts[host].boot);
        let source = self.hosts[host].source.as_ref();
        let Some(passage) = source.and_then(Source::passage) else {
            return;
        };
        let ticket = self.ticket_of(&passage);
        let slot = &mut self.hosts[host];
        let (Some(body), Some(source)) = (&mut slot.body, &mut slot.source) else {
            return;
        };
        let asks = body.threads.iter().any(|thread| thread.call.is_some());
        if body.mode != Mode::Draining || asks || !source.freezing() {
            return;
        }
        body.mode = Mode::Frozen;
        let image = Image {
            pid: PID,
            epoch: body.epoch + 1,
            attempt: source.attempt(),
            source_boot: boot,
            ticket,
            frozen_at_ns: now,
            descriptor: body.descriptor(),
            copied: vec![1; usize::from(copies_first(body.epoch))],
        };
        let to = source.target();
        self.send(host, to, Message::Image(image));
        if let Some(source) = &mut self.hosts[host].source {
            source.image_sent(now);
        }
        self.run_source(host);
    }

    /// What a node can show for a claim of a process that nobody has given to it.
    pub fn forged(&self, liar: usize, forgery: Forgery) -> Option<Ticket> {
        if forgery == Forgery::Nothing {
            return Some(Ticket::default());
        }
        let sources = self.hosts.iter().filter_map(|host| host.source.as_ref());
        let mut passages = sources.filter_map(Source::passage);
        let passage = passages.find(|passage| passage.target != self.me(liar))?;
        Some(self.ticket_of(&passage))
    }

    /// A node that was taken over claims the process from whoever has it.
    pub fn claim(&mut self, liar: usize, forgery: Forgery) {
        let gate = self.hosts[HOME].record.as_ref().map(HomeRecord::gate);
        let Some((gate, ticket)) = gate.zip(self.forged(liar, forgery)) else {
            return;
        };
        let claim = Message::CommitRequest {
            pid: PID,
            old_epoch: gate.epoch(),
            source: gate.owner(),
            source_boot: gate.owner_boot(),
            ticket,
        };
        self.send(liar, node(HOME), claim);
    }

    pub(crate) fn push_acknowledged(&mut self, host: usize, epoch: u64) {
        let now = self.now;
        if let Some(source) = &mut self.hosts[host].source
            && source.target_epoch() == epoch
        {
            source.push_done(now);
            self.run_source(host);
        }
    }

    pub(crate) fn copy_acknowledged(&mut self, host: usize, epoch: u64) {
        let now = self.now;
        if let Some(source) = &mut self.hosts[host].source
            && source.target_epoch() == epoch
        {
            source.copied(now);
            self.run_source(host);
        }
    }

    /// The timers of `host`, as if it were late enough for them.
    pub fn timeout(&mut self, host: usize, now: u64) {
        if let Some(source) = &mut self.hosts[host].source {
            source.on_timeout(now);
            self.run_source(host);
        }
        if let Some(target) = &mut self.hosts[host].target {
            target.on_timeout(now);
            self.run_target(host);
        }
        if let Some(record) = &mut self.hosts[host].record
            && record.on_timeout(now) == LostOutcome::Ended
        {
            let (lost, boot) = (record.gate().owner(), record.gate().owner_boot());
            self.check_ended(lost, boot);
            self.saw(Seen::Ended);
            self.kill();
        }
        self.check_now();
    }

    fn run_source(&mut self, host: usize) {
        loop {
            let Some(source) = &mut self.hosts[host].source else {
                return;
            };
            let (target, epoch) = (source.target(), source.target_epoch());
            let Some(action) = source.poll_action() else {
                return;
            };
            match action {
                SourceAction::Send(to, message) => self.send(host, to, message),
                SourceAction::Copy => self.put((host_of(target), host, 1), Item::CopyAck(epoch)),
                SourceAction::Freeze => self.freeze(host),
                SourceAction::Resume { epoch, poke } => self.resume(host, epoch, poke),
                // Pages are pushed when they need not be kept.
                SourceAction::StartPush => {}
                SourceAction::MayDrop => self.hosts[host].pushing = true,
                SourceAction::Forget => {
                    let stands =
                        |body: &mut Body| matches!(body.mode, Mode::Frozen | Mode::Draining);
                    self.hosts[host].body.take_if(stands);
                }
                SourceAction::Finished(result) => {
                    self.hosts[host].source = None;
                    self.hosts[host].pushing = false;
                    self.check_finished(host, host_of(target), &result);
                }
            }
        }
    }

    /// The last page leaves.
    pub fn push(&mut self, host: usize) {
        let slot = &mut self.hosts[host];
        slot.pushing = false;
        slot.end_sent = true;
        if let Some(source) = &slot.source {
            let (target, epoch) = (source.target(), source.target_epoch());
            let end = Message::PushEnd { pid: PID, epoch };
            self.put((host, host_of(target), 1), Item::Message(end));
        }
    }

    fn freeze(&mut self, host: usize) {
        let Some(body) = &mut self.hosts[host].body else {
            return;
        };
        body.mode = Mode::Draining;
        let epoch = body.epoch;
        for thread in 0..THREADS {
            let body = self.hosts[host].body.as_ref();
            let call = body.and_then(|body| body.threads[thread].call);
            if let Some(InFlight { seq, number }) = call
                && number != CALL_ARRIVED
            {
                let cancel = Message::Cancel {
                    pid: PID,
                    thread: tid(thread),
                    epoch,
                    seq,
                };
                self.send(host, node(HOME), cancel);
            }
        }
        self.capture(host);
    }

    fn resume(&mut self, host: usize, epoch: u64, poke: bool) {
        let disk = self.has_disk();
        match &mut self.hosts[host].body {
            Some(body) => {
                body.mode = Mode::Running;
                body.arrived |= disk;
                body.orphan &= epoch == body.epoch;
                body.epoch = epoch;
                body.poked |= poke;
            }
            None => return self.fail(Promise::NotLost, "resumed a copy that was dropped"),
        }
        self.hosts[host].tombstones.record(PID, epoch);
        self.go_on(host);
    }

    fn run_target(&mut self, host: usize) {
        loop {
            let Some(target) = &mut self.hosts[host].target else {
                return;
            };
            let epoch = target.epoch();
            let Some(action) = target.poll_action() else {
                return;
            };
            match action {
                TargetAction::Send(to, message) => self.send(host, to, message),
                TargetAction::Compute => {}
                TargetAction::OpenEffects { epoch, poke } => self.open(host, epoch, poke),
                TargetAction::PagesLost => self.pages_lost(host),
                TargetAction::Discard => {
                    if let Some(body) = &self.hosts[host].body
                        && body.epoch == epoch
                    {
                        if body.mode == Mode::Speculating {
                            self.saw(Seen::SpeculationDropped);
                        }
                        self.hosts[host].body = None;
                    }
                }
                TargetAction::Finished => self.hosts[host].target = None,
            }
        }
    }

    fn open(&mut self, host: usize, epoch: u64, poke: bool) {
        match &mut self.hosts[host].body {
            Some(body) if body.epoch == epoch => {
                body.mode = Mode::Running;
                body.poked |= poke;
            }
            _ => return self.fail(Promise::OneCopy, "effects opened without a copy"),
        }
        self.call(host, 0, CALL_ARRIVED);
        self.go_on(host);
        self.check_now();
    }

    fn pages_lost(&mut self, host: usize) {
        if let Some(body) = &mut self.hosts[host].body
            && let Some((from, boot)) = body.pages_at
        {
            body.doomed = true;
            for thread in &mut body.threads {
                let held = thread.held.as_mut();
                held.into_iter().for_each(|number| *number = EXIT);
            }
            self.saw(Seen::PagesLost);
            if self.hosts[host_of(from)].boot == boot {
                self.fail(
                    Promise::Bystanders,
                    "pages given up although their source lives",
                );
            }
        }
    }

    /// Whether anything is left to be delivered, completed or waited for.
    pub(crate) fn next_due(&self) -> Option<u64> {
        (0..HOSTS).filter_map(|host| self.due(host)).min()
    }

    /// When `host`'s next timer is due.
    pub fn due(&self, host: usize) -> Option<u64> {
        let slot = &self.hosts[host];
        let source = slot.source.as_ref().and_then(Source::poll_timeout);
        let target = slot.target.as_ref().and_then(Target::poll_timeout);
        let record = slot.record.as_ref().and_then(HomeRecord::poll_timeout);
        source.into_iter().chain(target).chain(record).min()
    }
}
