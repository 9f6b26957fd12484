//! Where a program should start: on an idle node, or where it is.
//!
//! Law: a pure function, too. Nothing but arguments is sent, so even the shortest program may go; and because nobody
//! knows how long it will run or what it will ask for, only a processor of its own is better than what there is
//! here. Many who ask at once know the same: each looks at two idle nodes by its own draw and takes the faster one
//! (Mitzenmacher, "The power of two choices in randomized load balancing", IEEE TPDS 12(10), 2001), so that they do not all
//! meet at one.

use crate::{Here, Stay, There, eviction, has_room, is_room_for, stretch, wanted};
use wire::{NodeId, Policy};

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

/// The node where a program should start, if not here. `here.load` is without the program, and of this moment if it
/// can be: the average of a second does not know of those who have just started. `draw` is random and another one for each
/// start. The policy does not matter, but for [`Policy::Manual`].
///
/// # Errors
/// The reason, when it is to start here.
pub fn place(
    here: &Here,
    others: impl Iterator<Item = There>,
    start: &Start,
    draw: u64,
) -> Result<NodeId, Stay> {
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
    let mut drawn: [Option<(u64, There)>; 2] = [None; 2];
    for there in others.filter(|there| has_room(there, start.home, start.frames)) {
        is_any = true;
        let is_idle = is_room_for(wanted(&there) + u64::from(ONE), &there.load);
        let is_faster = stretch_there(&there) < stretch(after, &here.load);
        if !is_idle || !(is_faster || must_leave) {
            continue;
        }
        let ticket = mixed(draw ^ u64::from(there.node.0));
        let comes_before = |other: &Option<(u64, There)>| other.is_none_or(|(t, _)| ticket < t);
        if comes_before(&drawn[0]) {
            drawn = [Some((ticket, there)), drawn[0]];
        } else if comes_before(&drawn[1]) {
            drawn[1] = Some((ticket, there));
        }
    }
    let drawn = drawn.into_iter().flatten();
    match drawn.min_by_key(|(ticket, there)| (stretch_there(there), *ticket)) {
        Some((_, there)) => Ok(there.node),
        None if must_leave => Ok(start.home),
        None if is_any => Err(Stay::GoodHere),
        None => Err(Stay::NoTarget),
    }
}

fn stretch_there(there: &There) -> u64 {
    stretch(wanted(there) + u64::from(ONE), &there.load)
}

/// A number that looks random, for each number another one (`SplitMix64`).
fn mixed(number: u64) -> u64 {
    let z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
