//! Where a program should start: on an idle node, or where it is.
//!
//! Law: a pure function, too. Nothing but arguments is sent, so even the shortest program may go; and because nobody
//! knows how long it will run or what it will ask for, only a processor of its own is better than what there is
//! here. It is the faster of two idle nodes that it draws.

use crate::draw::Drawn;
use crate::{Here, Stay, There, believed, eviction, has_room, is_room_for, stretch, wanted};
use wire::{NodeId, Policy, Terms};

/// A program is one thread as it starts.
const ONE: u32 = 1000;

/// A program that is about to start.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    /// The home of its process.
    pub home: NodeId,
    /// Whether that is here.
    pub at_home: bool,
    /// Page frames that it will want at once.
    pub frames: u32,
}

/// The node where a program should start, if not here, and what that node is asked to make sure of. `here.load` is without the program, and of this moment if it
/// can be: the average of a second does not know of those who have just started. `draw` is random and another one for each
/// start.
///
/// # Errors
/// The reason, when it is to start here.
pub fn place(
    here: &Here,
    others: impl Iterator<Item = There>,
    start: &Start,
    draw: u64,
) -> Result<(NodeId, Terms), Stay> {
    let must_leave = !start.at_home && eviction(&here.load).is_some();
    let after = u64::from(here.load.runnable_milli) + u64::from(ONE);
    if !must_leave {
        if here.policy == Policy::Manual {
            return Err(Stay::Manual);
        }
        if is_room_for(after, &here.load) {
            return Err(Stay::GoodHere);
        }
    }
    let mut is_any = false;
    let mut drawn = Drawn::new(draw);
    for there in others.filter(|there| has_room(there, start.home, start.frames)) {
        is_any = true;
        let is_idle = is_room_for(wanted(&there) + u64::from(ONE), &there.load);
        let stretch_there = stretch_there(&there, here);
        if is_idle && (must_leave || stretch_there < stretch(after, &here.load)) {
            drawn.add(there.node, stretch_there);
        }
    }
    // Whom nobody moves afterwards is better off beside somebody else than where it is crowded for good.
    let terms = match must_leave || here.policy == Policy::Exec {
        true => Terms::Anyhow,
        false => Terms::Idle { demand_milli: ONE },
    };
    match drawn.best(|stretch_there| *stretch_there) {
        Some((node, _)) => Ok((node, terms)),
        None if must_leave => Ok((start.home, terms)),
        None if is_any => Err(Stay::GoodHere),
        None => Err(Stay::NoTarget),
    }
}

fn stretch_there(there: &There, here: &Here) -> u64 {
    stretch(wanted(there) + u64::from(ONE), &believed(there, here))
}
