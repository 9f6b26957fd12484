//! Home's record among liars.
//!
//! Law: whatever is asked, an epoch has one owner, ownership goes only where the owner's image or the
//! present owner's word can have sent it, and a call executes for the owner in its epoch alone, once.

use crate::talk::{self, PID};
use crate::{Choices, Sights, Target, must, saw};
use migrate::{HomeRecord, LostOutcome, Permit};
use rpc::Admission;
use wire::{BootId, NodeId, Outcome, Passage, Reply};

pub(crate) const HOME: Target = Target {
    name: "home",
    run,
    hear: |bytes, sights| run(&mut Choices::of_bytes(bytes), sights),
    wanted: &[
        "executed",
        "repeated",
        "refused",
        "committed",
        "claimed in vain",
        "aborted",
        "given back",
        "waited for",
        "given up",
        "ended",
    ],
};

/// An epoch and its owner.
type Reign = (u64, NodeId, BootId);

fn reign(record: &HomeRecord) -> Reign {
    let gate = record.gate();
    (gate.epoch(), gate.owner(), gate.owner_boot())
}

fn run(random: &mut Choices<'_>, sights: &mut Sights) -> Result<(), String> {
    let (first, boot) = talk::SOURCE;
    let mut record = HomeRecord::new(PID, first, boot);
    let mut executed = 0;
    for _ in 0..60 {
        let before = reign(&record);
        let back = record.previous();
        if step(random, &mut record, &mut executed, sights)? {
            return Ok(());
        }
        let after = reign(&record);
        must(
            after.0 == before.0 || after.0 == before.0 + 1,
            "epochs grow by one",
        )?;
        must(
            after.0 != before.0 || after == before,
            "an epoch has one owner",
        )?;
        let held = record.previous();
        must(
            held.is_none() || held == back || held == Some((before.1, before.2)),
            "who may get it back had it",
        )?;
    }
    Ok(())
}

/// One thing is asked; whether the process has ended.
fn step(
    random: &mut Choices<'_>,
    record: &mut HomeRecord,
    executed: &mut u64,
    sights: &mut Sights,
) -> Result<bool, String> {
    let before = reign(record);
    let node = talk::node(random);
    let boot = talk::boot(random, node);
    // What fits is asked often.
    let (node, boot) = match random.chance(4_000) {
        true => (before.1, before.2),
        false => (node, boot),
    };
    let epoch = before
        .0
        .saturating_sub(random.below(3))
        .saturating_add(random.below(2));
    match random.below(8) {
        0 | 1 => called(random, record, (epoch, node, boot), executed, sights)?,
        2 => {
            let seq = record.gate().next_seq(PID).unwrap_or(0);
            let _whether = record.gate_mut().cancel(node, boot, epoch, PID, seq);
        }
        3 => {
            let source = match random.chance(6_000) {
                true => (before.1, before.2),
                false => talk::TARGET,
            };
            let passage = Passage {
                pid: PID,
                old_epoch: epoch,
                source,
                target: (node, boot),
            };
            let permit = match random.chance(7_000) {
                true => Permit::Given,
                false => Permit::Lacking,
            };
            let word = record.commit(&passage, permit);
            let changed = reign(record) != before;
            must(
                !changed || word.is_some_and(|word| word.granted),
                "who gets it is told so",
            )?;
            must(
                !changed || permit == Permit::Given && (epoch, source.0, source.1) == before,
                "only the owner's image, with its word, moves it",
            )?;
            if word.is_none() {
                must(
                    permit == Permit::Lacking || epoch > before.0,
                    "who has the owner's word is answered",
                )?;
                saw(sights, "claimed in vain");
            }
            if changed {
                saw(sights, "committed");
            }
        }
        4 => {
            let word = record.abort(node, boot, epoch);
            let changed = reign(record) != before;
            must(
                !changed || (epoch, node, boot) == before,
                "only the owner keeps it",
            )?;
            must(
                word.granted == ((word.owner, word.owner_boot) == (node, boot)),
                "granted says who",
            )?;
            if changed {
                saw(sights, "aborted");
            }
        }
        5 => match record.owner_suspected(node, boot) {
            LostOutcome::Ended => return Err("suspicion has ended a process".to_owned()),
            LostOutcome::HandBack(_) => saw(sights, "given back"),
            LostOutcome::Unaffected | LostOutcome::Awaited => {}
        },
        6 => {
            let due = record.poll_timeout();
            if record.on_timeout(due.unwrap_or(u64::MAX)) == LostOutcome::Ended {
                must(due.is_some(), "only who was waited for is given up")?;
                saw(sights, "given up");
                return Ok(true);
            }
        }
        _ => {
            let outcome = record.owner_lost(0, node, boot, random.chance(5_000));
            record.previous_lost(node, boot);
            if outcome == LostOutcome::Awaited {
                saw(sights, "waited for");
            }
            if outcome == LostOutcome::Ended {
                must(
                    (node, boot) == (before.1, before.2),
                    "it ends with its owner",
                )?;
                saw(sights, "ended");
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// A call comes, and is completed sometimes.
fn called(
    random: &mut Choices<'_>,
    record: &mut HomeRecord,
    from: Reign,
    executed: &mut u64,
    sights: &mut Sights,
) -> Result<(), String> {
    let next = record.gate().next_seq(PID).unwrap_or(0);
    let runs = record.gate().running(PID).is_some();
    let seq = (next + random.below(3)).saturating_sub(1);
    let before = reign(record);
    let (epoch, node, boot) = from;
    let accepted = record.accept_effect(node, boot, epoch, PID, seq);
    let ours = from == before;
    must(
        accepted.release.is_none() || accepted.admission == Admission::Execute,
        "an effect releases",
    )?;
    match accepted.admission {
        Admission::Execute => {
            must(ours && seq == next, "the owner's next call executes")?;
            must(!runs, "a call that runs is not begun again")?;
            must(
                record.previous().is_none(),
                "behind an effect nothing is given back",
            )?;
            saw(sights, "executed");
        }
        Admission::Repeat(_) => {
            must(ours && seq + 1 == next, "the last call is repeated")?;
            saw(sights, "repeated");
        }
        Admission::Refused { .. } => {
            must(!ours, "an owner is not refused")?;
            saw(sights, "refused");
        }
        Admission::Running | Admission::Gap => {}
    }
    if random.chance(5_000) {
        let reply = Reply {
            pid: PID,
            thread: PID,
            epoch,
            seq,
            outcome: Outcome::Value(0),
            poke: false,
            data: Vec::new(),
        };
        if record.gate_mut().complete(PID, seq, reply) {
            *executed += 1;
            must(
                record.gate().next_seq(PID) == Some(*executed + 1),
                "each counts once",
            )?;
        }
    }
    Ok(())
}
