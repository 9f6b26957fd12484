//! The glue of a node as the crate's documentation asks for it, around one process.
//!
//! Law: it does what the actions say, in their order, and nothing on its own; where a rule is broken
//! on purpose, the line says which.

use super::broken::Rule;
use super::world::{
    Body, EXIT, HOME, HOSTS, InFlight, Item, Mode, PID, WRITE, World, host_of, node,
};
use crate::{LostOutcome, Plan, Source, SourceAction, SourceState, Target, TargetAction};
use alloc::vec;
use wire::{
    BootId, CALL_ARRIVED, Call, Features, Image, Message, MoveError, NodeId, Offer, Outcome, Reply,
    Ticket,
};

fn features() -> Features {
    Features {
        xcr0: 7,
        leaf1_ecx: 0,
        leaf1_edx: 0,
        leaf7_ebx: 0,
        leaf7_ecx: 0,
    }
}

impl World {
    /// The process at `host` begins to move to `target`, if it can.
    pub(super) fn start_move(&mut self, host: usize, target: usize) {
        let me = self.me(host);
        let now = self.now;
        let slot = &mut self.hosts[host];
        let Some(body) = &slot.body else { return };
        let may = body.mode == Mode::Running && body.arrived && !body.doomed;
        if !may || slot.source.is_some() || slot.target.is_some() {
            return;
        }
        let offer = Offer {
            pid: PID,
            epoch: body.epoch + 1,
            home: node(HOME),
            pages: 4,
            features: features(),
            copies: false,
            draft: alloc::vec::Vec::new(),
        };
        // Every other move copies first.
        let copies = body.epoch.is_multiple_of(2);
        slot.source = Some(
            Source::new(now, PID, body.epoch, me, node(HOME), node(target), offer).keeps_to(Plan {
                copies,
                ..Plan::default()
            }),
        );
        self.run_source(host);
    }

    /// The process at `host` makes its next call.
    pub(super) fn act(&mut self, host: usize, number: u32) {
        let Some(body) = &mut self.hosts[host].body else {
            return;
        };
        if body.mode != Mode::Running || body.call.is_some() || !body.arrived {
            return;
        }
        let number = if body.doomed { EXIT } else { number };
        self.call(host, number);
    }

    fn call(&mut self, host: usize, number: u32) {
        let Some(body) = &mut self.hosts[host].body else {
            return;
        };
        let seq = body.next_seq;
        body.call = Some(InFlight { seq, number });
        let call = Call {
            pid: PID,
            thread: PID,
            epoch: body.epoch,
            seq,
            number,
            args: [body.done, 0, 0, 0, 0, 0],
            rooms: [0; 6],
            data: vec![],
        };
        self.send(host, node(HOME), Message::Call(call));
    }

    /// A person calls off the move.
    pub(super) fn cancel_move(&mut self, host: usize) {
        let now = self.now;
        if let Some(source) = &mut self.hosts[host].source {
            source.cancel(now, MoveError::Aborted);
            self.run_source(host);
        }
    }

    /// `host` suspects `other`.
    pub(super) fn silent(&mut self, host: usize, other: usize) {
        let (now, boot) = (self.now, self.hosts[host].known[other]);
        if let Some(source) = &mut self.hosts[host].source {
            source.on_peer_silent(now, node(other));
            self.run_source(host);
        }
        if let Some(record) = &mut self.hosts[host].record {
            let mut outcome = record.owner_suspected(node(other), boot);
            if self.broken == Rule::SuspicionKillsNobody && record.gate().owner() == node(other) {
                outcome = LostOutcome::Ended;
            }
            self.outcome(outcome, node(other), boot);
        }
    }

    /// `host` has proof that `lost`'s boot is over.
    pub(super) fn peer_lost(&mut self, host: usize, lost: NodeId, boot: BootId) {
        let now = self.now;
        if let Some(source) = &mut self.hosts[host].source {
            source.on_peer_lost(now, lost, boot);
            self.run_source(host);
        }
        if let Some(target) = &mut self.hosts[host].target {
            target.on_peer_lost(now, lost, boot);
            self.run_target(host);
        }
        if lost == node(HOME) {
            self.hosts[host].body = None;
            self.hosts[host].tombstones.home_lost(lost);
        }
        if let Some(record) = &mut self.hosts[host].record {
            let outcome = record.owner_lost(lost, boot);
            record.previous_lost(lost, boot);
            self.outcome(outcome, lost, boot);
        }
        self.check_now();
    }

    /// A message has arrived at `host`.
    pub(super) fn handle(&mut self, host: usize, from: NodeId, boot: BootId, message: &Message) {
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
            Message::Decision { epoch, owner, .. } => {
                let stale = *owner != node(host);
                self.fence(host, *epoch, stale);
            }
            Message::Lost { epoch, .. } => self.fence(host, *epoch + 1, true),
            Message::PushEnd { epoch, .. } => {
                if let Some(body) = &mut self.hosts[host].body
                    && body.epoch == *epoch
                {
                    body.pages_at = None;
                }
                self.put((host, host_of(from), 1), Item::PushAck(*epoch));
            }
            _ if host == HOME => self.at_home(from, boot, message),
            _ => {}
        }
    }

    fn offered(&mut self, host: usize, from: NodeId, boot: BootId, offer: &Offer) {
        let (now, me) = (self.now, self.me(host));
        let slot = &mut self.hosts[host];
        if let Some(target) = &slot.target {
            if (target.source(), target.epoch()) == ((from, boot), offer.epoch) {
                return; // The machine has answered again.
            }
            if target.waits_for_image() {
                slot.target = None;
            }
        }
        let busy = slot.target.is_some() || slot.source.is_some() || slot.body.is_some();
        if busy || !slot.tombstones.allows(PID, offer.epoch) {
            let refusal = Message::Refuse {
                pid: PID,
                epoch: offer.epoch,
                reason: MoveError::Busy,
            };
            return self.send(host, from, refusal);
        }
        slot.target = Some(Target::new(now, me, from, boot, offer));
        self.run_target(host);
    }

    fn image(&mut self, host: usize, from: NodeId, boot: BootId, image: &Image) {
        let now = self.now;
        let slot = &mut self.hosts[host];
        let fits = slot
            .target
            .as_ref()
            .is_some_and(|target| target.expects(from, boot, image));
        if !fits || slot.body.is_some() || !slot.tombstones.allows(PID, image.epoch) {
            let (pid, epoch) = (PID, image.epoch);
            return self.send(host, from, Message::Discarded { pid, epoch });
        }
        let number = |at: usize| u64::from(image.descriptor[at]);
        slot.body = Some(Body {
            epoch: image.epoch,
            mode: Mode::Speculating,
            done: number(0),
            next_seq: number(1),
            call: None,
            arrived: false,
            pages_at: Some((from, boot)),
            doomed: false,
        });
        slot.tombstones.record(PID, image.epoch);
        if let Some(target) = &mut slot.target {
            target.image_installed(now, image);
        }
        self.run_target(host);
    }

    fn replied(&mut self, host: usize, reply: &Reply) {
        let Some(body) = &mut self.hosts[host].body else {
            return;
        };
        let Some(call) = body.call else { return };
        if (reply.epoch, reply.seq) != (body.epoch, call.seq) {
            return;
        }
        match reply.outcome {
            Outcome::Value(value) => {
                body.call = None;
                body.next_seq += 1;
                body.arrived = true;
                if call.number == WRITE {
                    let right = value == body.done as i64;
                    body.done += 1;
                    if !right {
                        self.fail("a call got the answer of another one");
                    }
                } else if call.number == EXIT {
                    return self.drop_body(host);
                }
            }
            Outcome::Interrupted => {
                body.call = None;
                if call.number == CALL_ARRIVED {
                    return self.call(host, CALL_ARRIVED);
                }
            }
            Outcome::Refused { epoch, .. } => return self.fence(host, epoch, true),
        }
        self.capture(host);
    }

    /// A body that runs or is about to be frozen learns of a newer epoch.
    fn fence(&mut self, host: usize, epoch: u64, stale: bool) {
        if let Some(body) = &self.hosts[host].body
            && matches!(body.mode, Mode::Running | Mode::Draining)
            && epoch > body.epoch
            && stale
        {
            self.observer.fenced += 1;
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
    fn capture(&mut self, host: usize) {
        let (now, boot) = (self.now, self.hosts[host].boot);
        let slot = &mut self.hosts[host];
        let (Some(body), Some(source)) = (&mut slot.body, &mut slot.source) else {
            return;
        };
        if body.mode != Mode::Draining || body.call.is_some() || !source.freezing() {
            return;
        }
        body.mode = Mode::Frozen;
        let image = Image {
            pid: PID,
            epoch: body.epoch + 1,
            source_boot: boot,
            ticket: Ticket::default(),
            digest: [0; 32],
            frozen_at_ns: now,
            descriptor: vec![body.done as u8, body.next_seq as u8],
            copied: vec![],
        };
        source.image_sent(now);
        let to = source.target();
        self.send(host, to, Message::Image(image));
    }

    pub(super) fn push_acknowledged(&mut self, host: usize, epoch: u64) {
        let now = self.now;
        if let Some(source) = &mut self.hosts[host].source
            && source.target_epoch() == epoch
        {
            source.push_done(now);
            self.run_source(host);
        }
    }

    pub(super) fn copy_acknowledged(&mut self, host: usize, epoch: u64) {
        let now = self.now;
        if let Some(source) = &mut self.hosts[host].source
            && source.target_epoch() == epoch
        {
            source.copied(now);
            self.run_source(host);
        }
    }

    /// The timers of `host`, as if it were late enough for them.
    pub(super) fn timeout(&mut self, host: usize, now: u64) {
        if let Some(source) = &mut self.hosts[host].source {
            let alone = self.broken == Rule::NeverDecideAlone
                && source.state() == SourceState::Frozen
                && source.poll_timeout().is_some_and(|due| due <= now);
            if alone {
                self.hosts[host].source = None;
                if let Some(body) = &mut self.hosts[host].body {
                    body.mode = Mode::Running;
                }
            } else {
                source.on_timeout(now);
                self.run_source(host);
            }
        }
        if let Some(target) = &mut self.hosts[host].target {
            target.on_timeout(now);
            self.run_target(host);
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
                SourceAction::Resume { epoch, .. } => self.resume(host, epoch),
                SourceAction::StartPush => {
                    let end = Message::PushEnd { pid: PID, epoch };
                    self.put((host, host_of(target), 1), Item::Message(end));
                    if self.broken == Rule::KeepUntilRelease {
                        self.hosts[host].body = None;
                    }
                }
                SourceAction::MayDrop => {
                    if self.broken == Rule::KeepUntilPushed {
                        self.hosts[host].body = None;
                        self.lanes.remove(&(host, host_of(target), 1));
                    }
                }
                SourceAction::Forget => self.hosts[host].body = None,
                SourceAction::Finished(result) => {
                    self.hosts[host].source = None;
                    self.check_finished(host, host_of(target), &result);
                }
            }
        }
    }

    fn freeze(&mut self, host: usize) {
        let Some(body) = &mut self.hosts[host].body else {
            return;
        };
        body.mode = Mode::Draining;
        let (epoch, call) = (body.epoch, body.call);
        if let Some(InFlight { seq, .. }) = call {
            let cancel = Message::Cancel {
                pid: PID,
                thread: PID,
                epoch,
                seq,
            };
            self.send(host, node(HOME), cancel);
        }
        self.capture(host);
    }

    fn resume(&mut self, host: usize, epoch: u64) {
        match &mut self.hosts[host].body {
            Some(body) => {
                body.mode = Mode::Running;
                body.epoch = epoch;
            }
            None => return self.fail("resumed a copy that was dropped"),
        }
        self.hosts[host].tombstones.record(PID, epoch);
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
                TargetAction::Compute => {
                    if self.broken == Rule::WaitForDecision {
                        self.open(host, epoch);
                        if let Some(body) = &mut self.hosts[host].body {
                            body.arrived = true;
                            body.call = None;
                        }
                    }
                }
                TargetAction::OpenEffects { epoch, .. } => self.open(host, epoch),
                TargetAction::PagesLost => self.pages_lost(host),
                TargetAction::Discard => {
                    if let Some(body) = &self.hosts[host].body
                        && body.epoch == epoch
                    {
                        self.hosts[host].body = None;
                    }
                }
                TargetAction::Finished => self.hosts[host].target = None,
            }
        }
    }

    fn open(&mut self, host: usize, epoch: u64) {
        match &mut self.hosts[host].body {
            Some(body) if body.epoch == epoch => body.mode = Mode::Running,
            _ => return self.fail("effects opened without a copy"),
        }
        self.call(host, CALL_ARRIVED);
    }

    fn pages_lost(&mut self, host: usize) {
        if let Some(body) = &mut self.hosts[host].body
            && let Some((from, boot)) = body.pages_at
        {
            body.doomed = true;
            self.observer.pages_lost += 1;
            let alive = self.hosts[host_of(from)].boot == boot;
            if alive {
                self.fail("pages given up although their source lives");
            }
        }
    }

    /// Whether anything is left to be delivered, completed or waited for.
    pub(super) fn next_due(&self) -> Option<u64> {
        (0..HOSTS).filter_map(|host| self.due(host)).min()
    }

    /// When `host`'s next timer is due.
    pub(super) fn due(&self, host: usize) -> Option<u64> {
        let slot = &self.hosts[host];
        let source = slot.source.as_ref().and_then(Source::poll_timeout);
        let target = slot.target.as_ref().and_then(Target::poll_timeout);
        source.into_iter().chain(target).min()
    }
}
