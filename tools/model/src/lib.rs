//! The hand-over of a process, explored: the shipped machines of `net/migrate` and `net/rpc` in every order.
//!
//! Law: nothing of the machines is copied here. Three hosts are made of them and of a glue that does
//! what their documentation asks; a run judges by what the outside of the process has seen and by
//! which copies of it exist. Each rule of the machines can be taken away, and its lack must show.

mod adoption;
mod check;
mod deputy;
mod glue;
mod mutant;
mod random;
mod runs;
mod small;
mod world;

pub use glue::Forgery;
pub use mutant::Mutant;
pub use random::random_run;
pub use runs::{Found, HUNTS, LONG, Run, SHORT, Violation, capture, explore};
pub use small::{Budget, Small, State, Step};
pub use world::{
    EXIT, HOME, HOSTS, LIAR, Lane, Observer, Promise, Seen, Sights, THREADS, WRITE, Word, World,
};
