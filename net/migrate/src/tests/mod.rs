//! Tests of the shipped machines: traces, seeded random runs, and every interleaving of small runs.
//!
//! Law: a test judges by what the process's *outside* saw (the log of effects at home) and by which
//! copies exist, never by the state of the machines alone.

extern crate std;

mod broken;
mod check;
mod deputy;
mod exhaustive;
mod glue;
mod random;
mod traces;
mod world;
