//! Who lives and how loaded it is, by gossip.
//!
//! Law: sans-I/O, and all of it advice. What others say goes in by [`Membership::handle`], what this node tells
//! comes out by [`Membership::poll_transmit`]; after any call poll that and `poll_event` until `None`, then
//! `poll_timeout`. The same seed and inputs give the same outputs. What a node sends per period has a
//! bound that does not depend on the size of the cluster, and nobody ends a process because of what is believed here:
//! links and homes decide that.
//!
//! **Load**, after MOSIX (Amar, Barak, Drezner, Okun 2009): each node keeps the freshest records, and every period sends
//! the freshest of them to a few others, chosen at random. What is older than [`Membership::age_limit`] is
//! neither told nor shown.
//!
//! **Life**, of the SWIM family (Das, Gupta, Motivala 2002), with Lifeguard's (Dadgar, Phillips, Currey 2018) doubts about
//! oneself: every period one node is asked, directly and then through others; who does not answer is suspected, and
//! everybody told, it itself first, so that it can contradict with a higher incarnation. Differently from both:
//! only who has asked in vain *itself*, has heard nothing for a whole suspicion, and has asked again
//! at its end, says that a node is dead; so the number of nodes does not multiply the chance of an error. And a node
//! that finds its own clock to have jumped knows that it was itself who slept: its deadlines move along.
//!
//! What spreads fast (news) has frames of its own, a tenth of a period apart, as long as there is something new.
#![no_std]

extern crate alloc;

mod api;
mod membership;
mod news;
mod probe;
mod random;
mod roster;
mod window;

pub use api::{Change, Config, Counters, Event, Seen};
pub use membership::Membership;
pub use random::Random;
pub use wire::{Gossip, Load, NodeState, Purpose, Record, Told};

/// The usual time between two rounds, ns.
pub const PERIOD_NS: u64 = 1_000_000_000;
/// Load records kept, and for a while a quarter more; those of smaller clusters are all kept.
pub const WINDOW: usize = 256;
/// Nodes that get load records each period.
pub const LOAD_FANOUT: usize = 2;
/// Nodes that get news each tenth of a period.
pub const NEWS_FANOUT: usize = 3;
/// Nodes through which one is asked that does not answer.
pub const RELAYS: usize = 3;
/// Things that are news at the same time, at most.
pub const NEWS_MAX: usize = 512;
/// News in a frame that carries loads, or anything else, at most.
pub const NEWS_PER_FRAME: usize = 10;
/// Frames that wait at most; what has no room is lost, as on a wire.
pub const LETTERS_MAX: usize = 256;
/// Events that wait at most; the oldest give way, and [`Membership::view`] has their result.
pub const EVENTS_MAX: usize = 1024;
