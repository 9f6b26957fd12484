//! What nodes could say about one move: right and wrong pids, epochs, nodes and boots.
//!
//! Law: each field is often what fits and often what does not, so that both are met in every state.

use crate::{Choices, any_message};
use wire::{
    Attempt, BootId, Features, Image, Message, MoveError, NodeId, Offer, Outcome, Pid, Reply,
    Terms, Ticket,
};

pub(crate) const HOME: NodeId = NodeId(1);
pub(crate) const SOURCE: (NodeId, BootId) = (NodeId(2), BootId(22));
pub(crate) const TARGET: (NodeId, BootId) = (NodeId(3), BootId(33));
pub(crate) const PID: Pid = Pid::new(HOME, 5);
/// The epoch before the move.
pub(crate) const EPOCH: u64 = 3;
/// The try that the move is.
pub(crate) const ATTEMPT: Attempt = Attempt::new(9);

/// One of the three nodes, or a fourth.
pub(crate) fn node(random: &mut Choices<'_>) -> NodeId {
    NodeId(random.between(1, 4) as u16)
}

/// A node's boot, mostly the right one.
pub(crate) fn boot(random: &mut Choices<'_>, node: NodeId) -> BootId {
    BootId(u64::from(node.0) * 11 + u64::from(random.chance(1_500)))
}

/// A time that passes: nothing, a moment, or ages.
pub(crate) fn time(random: &mut Choices<'_>) -> u64 {
    let width = random.below(64);
    random.below(1 << width)
}

fn pid(random: &mut Choices<'_>) -> Pid {
    Pid(PID.0 + u32::from(random.chance(500)))
}

fn epoch(random: &mut Choices<'_>) -> u64 {
    match random.below(20) {
        0 => 0,
        1 => u64::MAX,
        2..=9 => EPOCH + 1,
        _ => random.between(EPOCH - 1, EPOCH + 3),
    }
}

/// Mostly that of this move.
pub(crate) fn attempt(random: &mut Choices<'_>) -> Attempt {
    match random.chance(9_000) {
        true => ATTEMPT,
        false => ATTEMPT.next(),
    }
}

pub(crate) fn reason(random: &mut Choices<'_>) -> MoveError {
    match random.below(4) {
        0 => MoveError::Busy,
        1 => MoveError::Aborted,
        2 => MoveError::Crowded,
        _ => MoveError::NodeFull,
    }
}

pub(crate) fn offer(random: &mut Choices<'_>) -> Offer {
    Offer {
        pid: pid(random),
        epoch: epoch(random),
        attempt: attempt(random),
        home: HOME,
        pages: random.below(100),
        features: Features::default(),
        terms: Terms::Anyhow,
        copies: random.chance(5_000),
        keeps: random.chance(5_000),
        draft: Vec::new(),
    }
}

pub(crate) fn image(random: &mut Choices<'_>) -> Image {
    Image {
        pid: pid(random),
        epoch: epoch(random),
        attempt: attempt(random),
        source_boot: boot(random, SOURCE.0),
        ticket: Ticket::default(),
        frozen_at_ns: random.bits(),
        descriptor: Vec::new(),
        copied: Vec::new(),
    }
}

/// Anything that could be said, mostly about this move.
pub(crate) fn message(random: &mut Choices<'_>) -> Message {
    let (pid, epoch) = (pid(random), epoch(random));
    let owner = node(random);
    let owner_boot = boot(random, owner);
    match random.below(13) {
        0 => Message::Offer(offer(random)),
        1 => Message::Admit {
            pid,
            epoch,
            attempt: attempt(random),
            boot: owner_boot,
        },
        2 => Message::Refuse {
            pid,
            epoch,
            attempt: attempt(random),
            reason: reason(random),
        },
        3 => Message::Image(image(random)),
        4..=6 => Message::Decision {
            pid,
            epoch,
            owner,
            owner_boot,
            poke: random.chance(5_000),
        },
        7 => Message::Release { pid, epoch },
        8 => Message::Discarded {
            pid,
            epoch,
            attempt: attempt(random),
        },
        9 => Message::Lost { pid, epoch },
        10 => Message::PushEnd { pid, epoch },
        11 => Message::Reply(Reply {
            pid,
            thread: pid,
            epoch,
            seq: 1,
            outcome: Outcome::Refused {
                epoch: epoch.saturating_add(1),
                owner,
                owner_boot,
            },
            poke: false,
            data: Vec::new(),
        }),
        _ => any_message(random),
    }
}
