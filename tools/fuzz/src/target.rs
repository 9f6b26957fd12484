//! The target of a move among liars.
//!
//! Law: whatever is said, effects open once, and only on a decision of home that names this node, this
//! boot and exactly this epoch, behind an image from the one who offered it.

use crate::talk::{self, ATTEMPT, EPOCH, HOME, PID, SOURCE, TARGET as ME};
use crate::{Choices, Sights, Target as Fuzzed, must, saw};
use migrate::{Target, TargetAction};
use wire::{Message, Offer};

pub(crate) const TARGET: Fuzzed = Fuzzed {
    name: "target",
    run,
    hear: |bytes, sights| run(&mut Choices::of_bytes(bytes), sights),
    wanted: &["installed", "opened", "discarded", "whole"],
};

/// What the observer of one target knows.
#[derive(Default)]
struct Watch {
    installed: bool,
    open: bool,
    over: bool,
}

/// Whether home has just given the process to this node.
fn gives(word: &Option<Message>) -> bool {
    matches!(*word, Some(Message::Decision { pid: PID, epoch, owner, owner_boot, .. })
        if epoch == EPOCH + 1 && (owner, owner_boot) == ME)
}

impl Watch {
    fn judge(&mut self, action: &TargetAction, word: &Option<Message>) -> Result<(), String> {
        must(!self.over, "nothing comes behind the last action")?;
        match action {
            TargetAction::Send(to, _) => {
                must(*to == HOME || *to == SOURCE.0, "it talks to those two")
            }
            TargetAction::Compute => {
                must(self.installed && !self.open, "it computes what is there")
            }
            TargetAction::OpenEffects { epoch, .. } => {
                must(
                    self.installed && !self.open,
                    "effects open once, of what is there",
                )?;
                must(
                    gives(word) && *epoch == EPOCH + 1,
                    "effects open on home's word alone",
                )?;
                self.open = true;
                Ok(())
            }
            TargetAction::PagesLost => must(self.open, "pages are lost of what runs"),
            TargetAction::Discard => Ok(()),
            TargetAction::Finished => {
                self.over = true;
                Ok(())
            }
        }
    }
}

fn run(random: &mut Choices<'_>, sights: &mut Sights) -> Result<(), String> {
    let offer = Offer {
        pid: PID,
        epoch: EPOCH + 1,
        attempt: ATTEMPT,
        ..talk::offer(random)
    };
    let (from, from_boot) = SOURCE;
    let mut target = Target::new(0, ME, from, from_boot, &offer);
    let mut watch = Watch::default();
    let mut now = 0u64;
    for _ in 0..40 {
        if random.chance(1_000) {
            now = now.saturating_add(talk::time(random));
        }
        let word = step(random, &mut target, &mut watch, now, sights)?;
        while let Some(action) = target.poll_action() {
            watch.judge(&action, &word)?;
            match action {
                TargetAction::OpenEffects { .. } => saw(sights, "opened"),
                TargetAction::Discard => saw(sights, "discarded"),
                TargetAction::Finished if watch.open => saw(sights, "whole"),
                _ => {}
            }
        }
        must(
            !watch.over || target.poll_timeout().is_none(),
            "what is over waits for nothing",
        )?;
    }
    Ok(())
}

/// One thing happens; returns what home has said, if it was that.
fn step(
    random: &mut Choices<'_>,
    target: &mut Target,
    watch: &mut Watch,
    now: u64,
    sights: &mut Sights,
) -> Result<Option<Message>, String> {
    let node = talk::node(random);
    let boot = talk::boot(random, node);
    match random.below(12) {
        0 => target.on_timeout(now),
        1 if random.chance(2_000) => target.on_peer_lost(now, node, boot),
        2 => target.heard(now),
        3 if random.chance(1_000) => target.fenced(),
        4 if random.chance(1_000) => target.image_bad(now, talk::reason(random)),
        5 => target.started(now, now, 1),
        6..=8 => {
            let image = talk::image(random);
            let (node, boot) = match random.chance(7_000) {
                true => SOURCE,
                false => (node, boot),
            };
            if target.expects(node, boot, &image) {
                let fits = (node, boot, image.epoch, image.attempt, image.pid)
                    == (SOURCE.0, SOURCE.1, EPOCH + 1, ATTEMPT, PID);
                must(
                    fits && !watch.installed,
                    "one image, from the one who offered it",
                )?;
                target.image_installed(now, &image);
                watch.installed = true;
                saw(sights, "installed");
            }
        }
        _ => {
            let message = talk::message(random);
            target.on_message(now, node, boot, &message);
            return Ok((node == HOME).then_some(message));
        }
    }
    Ok(None)
}
