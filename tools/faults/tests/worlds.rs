//! Worlds of many seeds; a world repeated; bugs that have to be found.
//!
//! Law: a failure prints its seed and the command that repeats it; worlds that have shown nothing have
//! proven nothing.

use faults::{Canary, Event, Plan, Summary, run};

/// How many worlds: what some thirty seconds of one processor take in the profile of the tests.
const WORLDS: u64 = 200;
/// Each bug is found by one of so many.
const BUGGY_WORLDS: u64 = 200;

fn plan(seed: u64) -> Plan {
    Plan {
        seed,
        nodes: 0,
        canary: None,
    }
}

#[track_caller]
fn good(seed: u64) -> Summary {
    // A kernel that stops itself says so without a seed.
    println!("seed {seed}");
    match run(plan(seed), &mut |_| {}) {
        Ok(summary) => summary,
        Err(failure) => {
            panic!("seed {seed} failed: {failure}\nrepeat: cargo xtask sim faults --seed {seed}")
        }
    }
}

#[test]
fn worlds_of_many_seeds() {
    let mut sum = Summary::default();
    for seed in 0..WORLDS {
        sum.add(&good(seed));
    }
    println!("{WORLDS} worlds: {sum:?}");
    // They did something.
    assert!(sum.moves > 10 * WORLDS && sum.deaths > WORLDS / 4 && sum.lost > WORLDS / 20);
    assert!(sum.adopted > WORLDS / 20 && sum.sealed > 2 * WORLDS);
}

#[test]
fn a_world_repeats_bit_by_bit() {
    let lines = |seed| {
        let mut lines = Vec::new();
        let summary = run(plan(seed), &mut |event: &Event| {
            lines.push(event.to_string())
        });
        (summary, lines)
    };
    for seed in 0..6 {
        let (first, again) = (lines(seed), lines(seed));
        assert_eq!(first, again);
        assert_eq!(
            first.0,
            run(plan(seed), &mut |_| {}),
            "listening changes nothing"
        );
        assert!(first.1.len() > 100, "there is something to tell");
    }
    assert_ne!(lines(1).0, lines(2).0);
}

#[test]
fn switched_on_bugs_are_found() {
    for canary in Canary::ALL {
        let found = (0..BUGGY_WORLDS).find(|&seed| {
            let canary = Some(canary);
            run(
                Plan {
                    canary,
                    ..plan(seed)
                },
                &mut |_| {},
            )
            .is_err()
        });
        println!("{canary:?}: seed {found:?}");
        assert!(
            found.is_some(),
            "{canary:?} was found by none of {BUGGY_WORLDS} seeds"
        );
    }
}
