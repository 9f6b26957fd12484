//! The source of a move among liars.
//!
//! Law: whatever is said, an image is out of a process that stands still, and it runs again only on a
//! decision of home that names this node, this boot and a newer epoch.

use crate::talk::{self, ATTEMPT, EPOCH, HOME, PID, SOURCE as ME, TARGET};
use crate::{Choices, Sights, Target, must, saw};
use migrate::{Plan, Source, SourceAction};
use wire::{Message, Offer};

pub(crate) const SOURCE: Target = Target {
    name: "source",
    run,
    hear: |bytes, sights| run(&mut Choices::of_bytes(bytes), sights),
    wanted: &["image out", "came back", "moved", "did not move"],
};

/// What the observer of one source knows.
#[derive(Default)]
struct Watch {
    image_out: bool,
    pushes: bool,
    may_drop: bool,
    over: bool,
}

/// Whether home has just given the process back to this node.
fn gives_back(word: &Option<Message>) -> Option<u64> {
    match *word {
        Some(Message::Decision {
            pid: PID,
            epoch,
            owner,
            owner_boot,
            ..
        }) if (owner, owner_boot) == ME && epoch > EPOCH => Some(epoch),
        _ => None,
    }
}

impl Watch {
    fn judge(&mut self, action: &SourceAction, word: &Option<Message>) -> Result<(), String> {
        must(!self.over, "nothing comes behind the last action")?;
        match *action {
            SourceAction::Send(to, _) => {
                must(to == HOME || to == TARGET.0, "it talks to those two")
            }
            SourceAction::Copy | SourceAction::Freeze => {
                must(!self.image_out, "first it is copied")
            }
            SourceAction::Resume { epoch, .. } if self.image_out => must(
                gives_back(word) == Some(epoch) && !self.may_drop,
                "a process whose image is out comes back on home's word alone",
            ),
            SourceAction::Resume { epoch, .. } => must(epoch == EPOCH, "it runs on as it was"),
            SourceAction::StartPush => {
                must(
                    self.image_out && !self.pushes,
                    "one push, of what was frozen",
                )?;
                self.pushes = true;
                Ok(())
            }
            SourceAction::MayDrop => {
                must(
                    self.pushes && !self.may_drop,
                    "it is dropped as it is pushed",
                )?;
                self.may_drop = true;
                Ok(())
            }
            SourceAction::Forget => must(self.image_out, "only what is frozen is forgotten"),
            SourceAction::Finished(_) => {
                self.over = true;
                Ok(())
            }
        }
    }
}

fn run(random: &mut Choices<'_>, sights: &mut Sights) -> Result<(), String> {
    let offer = Offer {
        attempt: ATTEMPT,
        ..talk::offer(random)
    };
    let plan = Plan {
        copies: random.chance(5_000),
        ..Plan::default()
    };
    let source = Source::new(0, PID, EPOCH, ME, HOME, TARGET.0, offer);
    let mut source = source.keeps_to(plan);
    let mut watch = Watch::default();
    let mut now = 0u64;
    for _ in 0..40 {
        if random.chance(1_000) {
            now = now.saturating_add(talk::time(random));
        }
        let word = step(random, &mut source, &mut watch, now, sights);
        while let Some(action) = source.poll_action() {
            watch.judge(&action, &word)?;
            match action {
                SourceAction::Resume { .. } if watch.image_out => saw(sights, "came back"),
                SourceAction::Finished(Ok(())) => saw(sights, "moved"),
                SourceAction::Finished(Err(_)) => saw(sights, "did not move"),
                _ => {}
            }
        }
        must(
            !watch.over || source.poll_timeout().is_none(),
            "what is over waits for nothing",
        )?;
    }
    Ok(())
}

/// One thing happens; returns what home has said, if it was that.
fn step(
    random: &mut Choices<'_>,
    source: &mut Source,
    watch: &mut Watch,
    now: u64,
    sights: &mut Sights,
) -> Option<Message> {
    let node = talk::node(random);
    let boot = talk::boot(random, node);
    match random.below(16) {
        0 => source.on_timeout(now),
        1 if random.chance(2_000) => source.on_peer_lost(now, node, boot),
        2 if random.chance(2_000) => source.on_peer_silent(now, node),
        3 if random.chance(2_000) => source.cancel(now, talk::reason(random)),
        4 => source.copied(now),
        5 => source.push_done(now),
        6 if random.chance(2_000) => source.body_gone(now),
        6 if random.chance(2_000) => source.freeze_failed(now, talk::reason(random)),
        7..=9 if source.freezing() => {
            source.image_sent(now);
            watch.image_out = true;
            saw(sights, "image out");
        }
        10 => {
            let (to, boot) = TARGET;
            let epoch = EPOCH + 1;
            let admit = Message::Admit {
                pid: PID,
                epoch,
                attempt: ATTEMPT,
                boot,
            };
            source.on_message(now, to, boot, &admit);
        }
        _ => {
            let message = talk::message(random);
            source.on_message(now, node, boot, &message);
            return (node == HOME).then_some(message);
        }
    }
    None
}
