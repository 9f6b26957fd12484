//! A thousand worlds, and proof that they would notice.

use sim::{Canary, Plan, run};

fn plan(seed: u64) -> Plan {
    Plan {
        seed,
        nodes: 0,
        canary: None,
    }
}

#[test]
fn a_thousand_seeds() {
    let (mut delivered, mut reboots) = (0, 0);
    for seed in 0..1000 {
        match run(plan(seed)) {
            Ok(summary) => {
                delivered += summary.delivered;
                reboots += summary.reboots;
            }
            Err(failure) => panic!(
                "seed {seed} failed {failure}\n\
                 repeat: cargo run --release -p sim -- --seeds 1 --first-seed {seed}"
            ),
        }
    }
    // They did something.
    assert!(delivered > 500_000, "{delivered}");
    assert!(reboots > 500, "{reboots}");
}

#[test]
fn a_seed_repeats_bit_by_bit() {
    for seed in 0..20 {
        let first = run(plan(seed));
        assert_eq!(first, run(plan(seed)));
        assert_ne!(first, run(plan(seed + 1)));
    }
}

#[test]
fn many_nodes() {
    for seed in 0..3 {
        let summary = run(Plan {
            nodes: 40,
            ..plan(seed)
        });
        assert!(summary.is_ok(), "seed {seed}: {summary:?}");
    }
}

#[test]
fn known_bugs_are_found() {
    // A frame of a boot that nobody has ever heard, late enough, is seldom.
    for (canary, seeds) in [
        (Canary::DeliverDuplicates, 50),
        (Canary::ForgetOrder, 50),
        (Canary::BelieveAnyBoot, 400),
    ] {
        let found = (0..seeds)
            .filter(|&seed| {
                let canary = Some(canary);
                run(Plan {
                    canary,
                    ..plan(seed)
                })
                .is_err()
            })
            .count();
        assert!(
            found >= 5,
            "{canary:?} was found by {found} of {seeds} seeds"
        );
    }
}
