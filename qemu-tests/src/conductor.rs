//! Who sees all consoles of a cluster and does something to its nodes because of that.
//!
//! Law: no clock and no I/O. Lines and the time go in, actions come out; the lab carries them out in order.

use crate::lab::{Action, Outcome};
use crate::verdict::Verdict;
use std::time::Duration;

/// Leads a cluster from its boot to its end. Times are since the boot of the first node; nodes count from 1.
pub trait Conductor {
    /// A whole line on the console of a node.
    fn line(&mut self, now: Duration, node: usize, line: &str);

    /// A node has ended that nobody has killed.
    fn died(&mut self, now: Duration, node: usize);

    /// What is to be done next, asked for again and again until there is nothing; that several times a second.
    fn poll(&mut self, now: Duration) -> Option<Action>;

    /// Whether all is over.
    fn is_over(&self) -> bool;

    /// What was found, in the end.
    fn verdict(&self, outcome: &Outcome) -> Verdict;
}
