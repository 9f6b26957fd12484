//! Where a process should run: what this node knows goes in, a move or the reason to stay comes out.
//!
//! Law: a pure function of what it is given; kernel, simulator and whoever wants to know why use the same
//! one. It advises: a wrong figure costs time, never a process. Every time is an estimate of how long a
//! process takes until its end, here or there, so that unlike costs can be added and compared.
//!
//! How long it will still run nobody knows; the best guess is as long as it has run already (Harchol-Balter and
//! Downey, "Exploiting process lifetime distributions for dynamic load balancing", ACM TOCS 15(3), 1997). So short
//! programs stay where they are, and what has run for long is worth its way.
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod average;
mod draw;
mod ledger;
mod start;

use draw::Drawn;

pub use average::Average;
pub use ledger::Ledger;
pub use start::{Start, place};

use core::fmt;
use wire::{Load, NodeId, Policy, Terms};

/// Nobody is believed to be more than so many times as fast as this node.
const FASTER_MAX: u32 = 4;
/// Half of a thread: nobody moves for less than that between the two nodes after the move.
const HYSTERESIS_MILLI: u64 = 500;
/// One part in so many of the time that is left is not worth a move: less thrashes, for what is known is old.
const MARGIN: u64 = 12;
/// A process that came is left alone for so long, ns.
const REST_NS: u64 = 2_000_000_000;
/// What has run for less, and would be through in ten times that, is not moved, ns: it may be over before it has gone.
const YOUNG_NS: u64 = 100_000_000;
/// Nobody is believed to run for longer than this, ns.
const REMAINING_MAX_NS: u64 = 3_600_000_000_000;
/// What a node does all the time does not make it busy, thousandths of a thread.
const HUM_MILLI: u64 = 300;
/// A node has little memory when less than one part in so many is free.
const SCARCE: u64 = 16;
/// A target keeps one part in so many free.
const KEPT: u32 = 8;

/// The node that decides.
#[derive(Clone, Copy, Debug)]
pub struct Here {
    /// How loaded it is now, without those who are about to leave.
    pub load: Load,
    /// Its policy.
    pub policy: Policy,
    /// Bytes that a move brings across in a second.
    pub bytes_per_s: u64,
    /// Tells apart nodes that look the same, so that not all who decide choose the same one.
    pub salt: u64,
}

/// Another node, as it is believed to be.
#[derive(Clone, Copy, Debug)]
pub struct There {
    /// Which.
    pub node: NodeId,
    /// What it has told.
    pub load: Load,
    /// Processes sent there since it told that.
    pub coming: u32,
    /// Their page frames.
    pub coming_frames: u32,
    /// Its round trip, ns.
    pub rtt_ns: u64,
}

/// A process that runs here.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    /// Which.
    pub pid: u32,
    /// Its home.
    pub home: NodeId,
    /// Whether that is here.
    pub at_home: bool,
    /// Processors it uses or would, in thousandths.
    pub demand_milli: u32,
    /// CPU time it has used so far, ns.
    pub cpu_ns: u64,
    /// How long ago it came here, ns.
    pub here_ns: u64,
    /// Page frames it has.
    pub frames: u32,
    /// Calls in a second that its home answers.
    pub calls_per_s: u32,
    /// Whether it is to use only what no owner uses, also at home.
    pub is_job: bool,
}

/// Why a process is to move.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reason {
    /// It will be through earlier there: estimates for here and for there, ns.
    Faster {
        /// Until it is through if it stays.
        here_ns: u64,
        /// Until it is through if it goes, the way included.
        there_ns: u64,
    },
    /// Little memory is free here: so many frames.
    Memory {
        /// Frames.
        free: u32,
    },
    /// The node is to be emptied.
    Drained,
    /// The owner of the node works on it.
    OwnerIsBack,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |ns: u64| ns / 1_000_000;
        match *self {
            Reason::Faster { here_ns, there_ns } => {
                write!(
                    f,
                    "through in {} ms there, {} ms here",
                    ms(there_ns),
                    ms(here_ns)
                )
            }
            Reason::Memory { free } => write!(f, "only {free} frames are free here"),
            Reason::Drained => write!(f, "the node is being drained"),
            Reason::OwnerIsBack => write!(f, "the owner of the node is back"),
        }
    }
}

/// Why nobody is to move.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stay {
    /// Only users move processes.
    Manual,
    /// Programs are placed as they start.
    AtStart,
    /// Nobody here may or would move.
    NoCandidate,
    /// No other node is known that takes guests and has room.
    NoTarget,
    /// It is no better elsewhere, or not enough to be worth the way.
    GoodHere,
}

impl fmt::Display for Stay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Stay::Manual => "the policy is manual",
            Stay::AtStart => "the policy is exec: programs are placed as they start",
            Stay::NoCandidate => "nobody who may move has run for long enough",
            Stay::NoTarget => "no other node is known that takes guests and has room",
            Stay::GoodHere => "nowhere else is it better by more than the way costs",
        })
    }
}

/// A move that is advised.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Move {
    /// Of whom.
    pub pid: u32,
    /// Where to.
    pub target: NodeId,
    /// Why.
    pub reason: Reason,
    /// What the target is asked to make sure of: it knows better.
    pub terms: Terms,
}

/// Advice for this node.
///
/// # Errors
/// The reason, when all is to stay as it is.
pub fn decide(
    here: &Here,
    others: impl Iterator<Item = There> + Clone,
    candidates: impl Iterator<Item = Candidate> + Clone,
) -> Result<Move, Stay> {
    if let Some(reason) = eviction(&here.load) {
        let guests = candidates.clone().filter(|candidate| !candidate.at_home);
        if let Some(guest) = guests.max_by_key(|guest| guest.frames) {
            // With exec nobody goes on but from home; with scavenge whoever finds no idle node waits there.
            let next = (here.policy != Policy::Exec)
                .then(|| best_for(&guest, here, others.clone()))
                .flatten();
            let target = next.map_or(guest.home, |there| there.node);
            return Ok(Move {
                pid: guest.pid,
                target,
                reason,
                terms: Terms::Anyhow,
            });
        }
        let mut jobs = candidates
            .clone()
            .filter(|candidate| is_in_the_way(candidate, here));
        let taken = |job: Candidate| Some((job.pid, best_for(&job, here, others.clone())?));
        if let Some((pid, there)) = jobs.find_map(taken) {
            return Ok(Move {
                pid,
                target: there.node,
                reason,
                terms: Terms::Anyhow,
            });
        }
    }
    match here.policy {
        Policy::Manual => return Err(Stay::Manual),
        Policy::Exec => return Err(Stay::AtStart),
        Policy::Balance | Policy::Scavenge => {}
    }
    // Memory does not wait until somebody has run for long, and who sleeps has as much of it.
    if is_short(&here.load)
        && let rested = candidates.clone().filter(has_rested)
        && let Some(largest) = rested.max_by_key(|candidate| candidate.frames)
        && let Some(there) = most_memory(&largest, here, others.clone())
    {
        return Ok(Move {
            pid: largest.pid,
            target: there.node,
            reason: Reason::Memory {
                free: here.load.frames_free,
            },
            terms: Terms::Anyhow,
        });
    }
    let stretched = stretch(u64::from(here.load.runnable_milli), &here.load);
    let mut candidates = candidates
        .filter(|candidate| may_move(candidate, stretched))
        .peekable();
    candidates.peek().ok_or(Stay::NoCandidate)?;
    let mut known = false;
    let mut best: Option<(u64, Move)> = None;
    for candidate in candidates {
        let open = || {
            let others = others.clone();
            others.filter(|there| takes(there, &candidate, here.policy))
        };
        known |= open().next().is_some();
        let good = open().filter_map(|there| Some((there.node, gains(&candidate, here, &there)?)));
        let draw = here.salt ^ u64::from(candidate.pid) << 32 ^ candidate.cpu_ns;
        let mut drawn = Drawn::new(draw);
        good.for_each(|(node, times)| drawn.add(node, times));
        let Some((target, (here_ns, there_ns))) = drawn.best(|(_, there_ns)| *there_ns) else {
            continue;
        };
        let gain = here_ns - there_ns;
        if best.is_none_or(|(most, _)| gain > most) {
            let demand_milli = candidate.demand_milli;
            let advice = Move {
                pid: candidate.pid,
                target,
                reason: Reason::Faster { here_ns, there_ns },
                terms: match here.policy {
                    Policy::Scavenge => Terms::Idle { demand_milli },
                    _ => Terms::Faster {
                        demand_milli,
                        stretch: stretched,
                    },
                },
            };
            best = Some((gain, advice));
        }
    }
    match best {
        Some((_, advice)) => Ok(advice),
        None if known => Err(Stay::GoodHere),
        None => Err(Stay::NoTarget),
    }
}

/// Whether a process may come on its terms to a node of this load, with what its threads want of the processors now and what they
/// have wanted in the last second, each with those on their way here, in thousandths of threads. Many act by the same old news of a
/// node; what this one says is of now. Who starts looks for a free processor, who moves is not turned away by a moment.
pub fn are_met(terms: &Terms, load: &Load, now_milli: u64, lately_milli: u64) -> bool {
    match *terms {
        Terms::Anyhow => true,
        Terms::Idle { demand_milli } => {
            is_room_for(now_milli.saturating_add(demand_milli.into()), load)
        }
        Terms::Faster {
            demand_milli,
            stretch,
        } => is_less_crowded(
            lately_milli.saturating_add(demand_milli.into()),
            load,
            stretch,
        ),
    }
}

/// Whether a process stands still until its owner leaves this node, or another one takes it: its turn has not come.
pub fn is_queued(here: &Here, others: impl Iterator<Item = There>, candidate: &Candidate) -> bool {
    is_in_the_way(candidate, here) && best_for(candidate, here, others).is_none()
}

/// Whether a process that is to use only what no owner uses is at home, and its owner too.
fn is_in_the_way(candidate: &Candidate, here: &Here) -> bool {
    let may_run = here.policy != Policy::Scavenge || !here.load.owner_present;
    candidate.is_job && candidate.at_home && !may_run
}

/// Why no guest may be here.
fn eviction(load: &Load) -> Option<Reason> {
    match (load.draining, load.owner_present) {
        (true, _) => Some(Reason::Drained),
        (_, true) => Some(Reason::OwnerIsBack),
        _ => None,
    }
}

fn has_rested(candidate: &Candidate) -> bool {
    candidate.at_home || candidate.here_ns >= REST_NS
}

/// Whether a process wants a processor, and is worth a move for that. In a crowd nobody gets the CPU time to be old by,
/// and yet everybody waits for long.
fn may_move(candidate: &Candidate, stretched: u64) -> bool {
    let waits_ns = u128::from(candidate.cpu_ns) * u128::from(stretched) / 1_000_000;
    let is_young = candidate.cpu_ns < YOUNG_NS && waits_ns < u128::from(10 * YOUNG_NS);
    candidate.demand_milli > 0 && !is_young && has_rested(candidate)
}

/// Whether so few frames of all are free that somebody has to leave.
pub fn is_scarce(free: u64, total: u64) -> bool {
    free < total / SCARCE
}

fn is_short(load: &Load) -> bool {
    is_scarce(load.frames_free.into(), load.frames_total.into())
}

/// How many threads want the processors of a node once what is on its way has come, in thousandths.
fn wanted(there: &There) -> u64 {
    u64::from(there.load.runnable_milli) + 1000 * u64::from(there.coming)
}

/// Whether so many thousandths of threads have a processor each.
fn is_room_for(wanted_milli: u64, load: &Load) -> bool {
    wanted_milli <= 1000 * u64::from(load.processors) + HUM_MILLI
}

/// Whether a node takes a process.
fn takes(there: &There, candidate: &Candidate, policy: Policy) -> bool {
    has_room(there, candidate.home, candidate.frames)
        && (policy != Policy::Scavenge
            || is_room_for(
                wanted(there) + u64::from(candidate.demand_milli),
                &there.load,
            ))
}

/// Whether a node takes processes of this home, and has so many frames for one.
fn has_room(there: &There, home: NodeId, frames: u32) -> bool {
    let Load {
        frames_total,
        frames_free,
        frames_reserved,
        ..
    } = there.load;
    let promised = frames_reserved
        .saturating_add(there.coming_frames)
        .saturating_add(frames_total / KEPT);
    let open = there.load.accepts_guests && eviction(&there.load).is_none();
    (open || there.node == home) && frames_free.saturating_sub(promised) >= frames
}

/// Time that a second of work takes where so many thousandths of threads want so many processors of this
/// speed, in millionths of what it takes alone on a processor of speed 1000.
fn stretch(wanted_milli: u64, load: &Load) -> u64 {
    let processors = u64::from(load.processors.max(1));
    let shared = (wanted_milli / processors).max(1000);
    shared.saturating_mul(1_000_000) / u64::from(load.speed.max(1))
}

/// Whether a node on which so many thousandths of threads will want a processor is less crowded than one on which a second of work
/// takes so long. What would make it as crowded goes back and forth.
fn is_less_crowded(after_milli: u64, load: &Load, stretched: u64) -> bool {
    stretch(after_milli.saturating_add(HYSTERESIS_MILLI), load) <= stretched
}

/// A load as far as it is believed: absurd speeds would draw everybody.
fn believed(there: &There, here: &Here) -> Load {
    let fastest = here.load.speed.saturating_mul(FASTER_MAX);
    Load {
        speed: there.load.speed.min(fastest),
        ..there.load
    }
}

fn remaining(candidate: &Candidate) -> u64 {
    candidate.cpu_ns.min(REMAINING_MAX_NS)
}

/// The node where a process would be through first.
fn best_for(
    candidate: &Candidate,
    here: &Here,
    others: impl Iterator<Item = There>,
) -> Option<There> {
    others
        .filter(|there| takes(there, candidate, here.policy))
        .min_by_key(|there| {
            (
                there_ns(candidate, here, there),
                here.salt ^ u64::from(there.node.0),
            )
        })
}

/// The node with the most memory left, that has room for a process.
fn most_memory(
    candidate: &Candidate,
    here: &Here,
    others: impl Iterator<Item = There>,
) -> Option<There> {
    others
        .filter(|there| takes(there, candidate, here.policy) && !is_short(&there.load))
        .max_by_key(|there| there.load.frames_free.saturating_sub(there.coming_frames))
}

/// Until a process is through if it goes: the way, the work, and the calls that travel then.
fn there_ns(candidate: &Candidate, here: &Here, there: &There) -> u64 {
    let bytes = u64::from(candidate.frames) * 4096;
    let way = u128::from(bytes) * 1_000_000_000 / u128::from(here.bytes_per_s.max(1));
    let stretch = stretch(
        wanted(there) + u64::from(candidate.demand_milli),
        &believed(there, here),
    );
    let work = u128::from(remaining(candidate)) * u128::from(stretch) / 1_000_000;
    let calls = called(candidate, there.node != candidate.home, there.rtt_ns, work);
    u64::try_from(way.saturating_add(work).saturating_add(calls)).unwrap_or(u64::MAX)
}

/// Time that calls take which travel, while a process works for so long.
fn called(candidate: &Candidate, away: bool, rtt_ns: u64, work: u128) -> u128 {
    let calls = u128::from(candidate.calls_per_s) * work / 1_000_000_000;
    if away {
        calls.saturating_mul(u128::from(rtt_ns))
    } else {
        0
    }
}

/// Until a process is through here and there, if it is worth the way.
fn gains(candidate: &Candidate, here: &Here, there: &There) -> Option<(u64, u64)> {
    let now = u64::from(here.load.runnable_milli);
    let after = wanted(there) + u64::from(candidate.demand_milli);
    let stretched = stretch(now, &here.load);
    if !is_less_crowded(after, &believed(there, here), stretched) {
        return None;
    }
    let here_ns = u128::from(remaining(candidate)) * u128::from(stretched) / 1_000_000;
    let here_ns =
        u64::try_from(here_ns + called(candidate, !candidate.at_home, there.rtt_ns, here_ns));
    let here_ns = here_ns.unwrap_or(u64::MAX);
    let there_ns = there_ns(candidate, here, there);
    (there_ns < here_ns - here_ns / MARGIN).then_some((here_ns, there_ns))
}

#[cfg(test)]
mod tests;
