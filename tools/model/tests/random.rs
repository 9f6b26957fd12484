//! Seeded random runs, much longer than what can be explored.
//!
//! Law: a failure prints its seed; a run that has shown nothing has proven nothing.

use model::{Mutant, Seen, random_run};

const RUNS: u64 = 4_000;

#[test]
fn promises_hold_in_long_runs() {
    let mut seen = [0u32; Seen::ALL.len()];
    for seed in 0..RUNS {
        let (world, _) = random_run(seed, Mutant::None);
        if let Some((promise, how)) = world.observer.violation {
            panic!("seed {seed}: {}: {how}", promise.name());
        }
        for (count, what) in seen.iter_mut().zip(Seen::ALL) {
            *count += u32::from(world.observer.seen.have(what));
        }
    }
    for (count, what) in seen.iter().zip(Seen::ALL) {
        println!("{count:>6} runs in which {}", what.name());
        assert!(*count > 5, "too seldom: {}", what.name());
    }
}

/// Long runs notice what small ones need a certain order for.
#[test]
fn most_mutants_show_in_long_runs_too() {
    let must_show = |mutant: &Mutant| mutant.covered_by().is_none() && !mutant.wants_a_disk();
    let shows = |mutant: &Mutant| {
        (0..RUNS).any(|seed| random_run(seed, *mutant).0.observer.violation.is_some())
    };
    let (shown, hidden): (Vec<Mutant>, Vec<Mutant>) =
        Mutant::all().filter(must_show).partition(shows);
    println!("{} show, these do not: {hidden:?}", shown.len());
    assert!(shown.len() >= 30);
}
