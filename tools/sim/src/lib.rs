//! The protocol stacks of N nodes on a virtual network, driven by one seed.
//!
//! Law: everything follows from the seed: same seed, same bits. The stacks are the shipped ones; what
//! is simulated is the world around them: cables that lose, double, delay, reorder and part, machines
//! that reboot, clocks that disagree. The [`check::Checker`] knows what was really sent and who really
//! lives, and judges every event at the moment it comes out.
//!
//! Checked: everybody finds everybody; every message and page comes out exactly once, what has an
//! order on its lane in that order, from and to the boots that were meant; nothing of an old boot after a newer one; no
//! living boot is declared lost; clock offsets lie within their stated error.

pub mod check;
pub mod cluster;
pub mod figures;
pub mod flock;
pub mod gossip;
pub mod network;
pub mod random;
pub mod star;
pub mod world;

pub use node::Canary;
pub use world::{Plan, Summary, run};
