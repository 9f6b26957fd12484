//! Hostile bytes and hostile messages for everything that takes some from the wire, and a hostile disk.
//!
//! Law: one execution is one seed of one target. A target says which of its laws was broken; a panic
//! breaks all of them. Inputs are random bytes, mutations of valid ones, and valid messages at the
//! wrong time; nothing here knows which branches they reach, so each target counts what it has seen.

mod bytes;
mod choices;
mod home;
mod journal;
mod seal_talk;
mod source;
mod stack;
mod talk;
mod target;
mod wire_forms;

pub use bytes::{any_message, mutate};
pub use choices::Choices;

use std::collections::BTreeMap;

/// What an execution has seen, by name.
pub type Sights = BTreeMap<&'static str, u64>;

/// Something that takes what comes from the wire.
#[derive(Clone, Copy)]
pub struct Target {
    /// What it is called.
    pub name: &'static str,
    /// One execution: what it saw is counted, a broken law is returned.
    pub run: fn(&mut Choices<'_>, &mut Sights) -> Result<(), String>,
    /// One execution of what somebody else thought up: bytes as they come from the wire, or as choices.
    pub hear: fn(&[u8], &mut Sights) -> Result<(), String>,
    /// What must have been seen after a few thousand executions.
    pub wanted: &'static [&'static str],
}

/// All of them.
pub const TARGETS: [Target; 10] = [
    wire_forms::HEADER,
    wire_forms::MESSAGE,
    wire_forms::GOSSIP,
    wire_forms::INFO,
    source::SOURCE,
    target::TARGET,
    home::HOME,
    journal::JOURNAL,
    stack::STACK,
    seal_talk::SEAL,
];

/// Executes a seed of a target.
pub fn execute(target: &Target, seed: u64, sights: &mut Sights) -> Result<(), String> {
    (target.run)(&mut Choices::of_seed(seed), sights)
}

/// Counts something that was seen.
fn saw(sights: &mut Sights, what: &'static str) {
    *sights.entry(what).or_default() += 1;
}

/// Names a law that does not hold.
fn must(holds: bool, law: &str) -> Result<(), String> {
    match holds {
        true => Ok(()),
        false => Err(law.to_owned()),
    }
}

/// What libFuzzer calls: stops where a law is broken.
///
/// # Panics
/// Then, and when there is no such target.
pub fn hear(name: &str, bytes: &[u8]) {
    let target = TARGETS.iter().find(|target| target.name == name);
    let target = target.expect("it has the name of one of the targets");
    if let Err(law) = (target.hear)(bytes, &mut Sights::new()) {
        panic!("{name}: broken: {law}");
    }
}
