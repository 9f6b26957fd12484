//! A few thousand executions of every target.
//!
//! Law: a failure names its seed; a target that has not met what it is about has tested nothing.

use fuzz::{Choices, Sights, TARGETS, any_message, execute};
use std::collections::BTreeSet;

#[test]
fn nothing_hostile_breaks_a_law() {
    for target in TARGETS {
        let mut sights = Sights::new();
        let executions = match target.name {
            "stack" | "seal" => 400,
            "journal" => 1_500,
            _ => 20_000,
        };
        for seed in 0..executions {
            if let Err(law) = execute(&target, seed, &mut sights) {
                panic!("{} with seed {seed}: {law}", target.name);
            }
        }
        println!("{}: {sights:?}", target.name);
        for wanted in target.wanted {
            let count = sights.get(wanted).copied().unwrap_or(0);
            assert!(count >= 20, "{}: {wanted} {count} times", target.name);
        }
    }
}

#[test]
fn every_kind_of_message_comes_up() {
    let mut random = Choices::of_seed(1);
    let kinds: BTreeSet<u8> = (0..60_000)
        .map(|_| any_message(&mut random).encode()[0])
        .collect();
    let last = kinds.last().copied().unwrap_or(0);
    assert_eq!(kinds.len(), usize::from(last) + 1, "{kinds:?}");
    assert!(last >= 30, "{kinds:?}");
}
