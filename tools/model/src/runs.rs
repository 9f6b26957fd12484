//! Which runs are explored, and how they and the mutants are judged.
//!
//! Law: a run is explored to its end, so its verdict and its number of states depend on nothing but the
//! run. A mutant is searched breadth first by one thread, so what is found is a short way to it.

use crate::mutant::Mutant;
use crate::small::{Budget, Small, Step};
use crate::world::{Promise, Seen};
use stateright::{Checker, HasDiscoveries, Model};
use std::time::{Duration, Instant};

/// A budget with a name.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// What it is about.
    pub name: &'static str,
    /// What may happen.
    pub budget: Budget,
    /// Different states that are in it.
    pub states: usize,
}

const NOTHING: Budget = Budget {
    moves: 0,
    calls: 0,
    ends: 0,
    signals: 0,
    crashes: 0,
    home_crashes: false,
    disk: false,
    suspicions: 0,
    timers: 0,
    cancels: 0,
    losses: 0,
    doubles: 0,
    swaps: 0,
    claims: 0,
    gives_up: 0,
    birth: false,
};

/// What the tests explore.
pub const SHORT: [Run; 16] = [
    Run {
        name: "three moves with calls",
        budget: Budget {
            moves: 3,
            calls: 2,
            ..NOTHING
        },
        states: 51_312,
    },
    Run {
        name: "a move called off, and calls",
        budget: Budget {
            moves: 2,
            calls: 2,
            cancels: 1,
            ..NOTHING
        },
        states: 109_756,
    },
    Run {
        name: "signals and the end of the process",
        budget: Budget {
            moves: 2,
            calls: 1,
            ends: 1,
            signals: 1,
            ..NOTHING
        },
        states: 159_586,
    },
    Run {
        name: "a crash of any node, and a timer",
        budget: Budget {
            moves: 1,
            calls: 1,
            crashes: 1,
            home_crashes: true,
            timers: 1,
            ..NOTHING
        },
        states: 30_673,
    },
    Run {
        name: "two crashes of any nodes",
        budget: Budget {
            moves: 2,
            crashes: 2,
            home_crashes: true,
            ..NOTHING
        },
        states: 56_675,
    },
    Run {
        name: "a crash and a suspicion in three moves",
        budget: Budget {
            moves: 3,
            crashes: 1,
            suspicions: 1,
            ..NOTHING
        },
        states: 198_902,
    },
    Run {
        name: "a suspicion and a timer",
        budget: Budget {
            moves: 2,
            calls: 1,
            suspicions: 1,
            timers: 1,
            ..NOTHING
        },
        states: 191_414,
    },
    Run {
        name: "a loss and a timer",
        budget: Budget {
            moves: 2,
            calls: 1,
            timers: 1,
            losses: 1,
            ..NOTHING
        },
        states: 71_534,
    },
    Run {
        name: "a message again and one that overtakes",
        budget: Budget {
            moves: 2,
            calls: 1,
            doubles: 1,
            swaps: 1,
            ..NOTHING
        },
        states: 187_791,
    },
    Run {
        name: "a home that comes back, and calls",
        budget: Budget {
            moves: 1,
            calls: 2,
            crashes: 1,
            home_crashes: true,
            disk: true,
            ..NOTHING
        },
        states: 62_275,
    },
    Run {
        name: "a home that comes back, in two moves",
        budget: Budget {
            moves: 2,
            calls: 1,
            crashes: 1,
            home_crashes: true,
            disk: true,
            ..NOTHING
        },
        states: 211_077,
    },
    Run {
        name: "a node that claims what it was not given",
        budget: Budget {
            moves: 2,
            calls: 1,
            timers: 1,
            claims: 1,
            ..NOTHING
        },
        states: 64_021,
    },
    Run {
        name: "the same, and a home that comes back",
        budget: Budget {
            moves: 1,
            calls: 1,
            crashes: 1,
            home_crashes: true,
            disk: true,
            claims: 1,
            ..NOTHING
        },
        states: 108_448,
    },
    Run {
        name: "a guest that is given up",
        budget: Budget {
            moves: 2,
            calls: 1,
            timers: 1,
            gives_up: 1,
            ..NOTHING
        },
        states: 33_538,
    },
    Run {
        name: "a guest that is given up, and homes that come back",
        budget: Budget {
            moves: 1,
            crashes: 2,
            home_crashes: true,
            disk: true,
            gives_up: 1,
            ..NOTHING
        },
        states: 107_288,
    },
    Run {
        name: "a birth away from a home that comes back",
        budget: Budget {
            moves: 1,
            crashes: 2,
            home_crashes: true,
            disk: true,
            birth: true,
            ..NOTHING
        },
        states: 247_981,
    },
];

/// What takes minutes, beside those.
pub const LONG: [Run; 11] = [
    Run {
        name: "a guest that is given up, homes that come back, and a call",
        budget: Budget {
            moves: 1,
            calls: 1,
            crashes: 2,
            home_crashes: true,
            disk: true,
            gives_up: 1,
            ..NOTHING
        },
        states: 818_894,
    },
    Run {
        name: "a birth away from a home that comes back, and a call",
        budget: Budget {
            moves: 1,
            calls: 1,
            crashes: 2,
            home_crashes: true,
            disk: true,
            birth: true,
            ..NOTHING
        },
        states: 2_830_263,
    },
    Run {
        name: "a suspicion and a timer in three moves",
        budget: Budget {
            moves: 3,
            calls: 1,
            suspicions: 1,
            timers: 1,
            ..NOTHING
        },
        states: 1_643_710,
    },
    Run {
        name: "a signal, an end, a crash of any node in two moves",
        budget: Budget {
            moves: 2,
            calls: 1,
            ends: 1,
            signals: 1,
            crashes: 1,
            home_crashes: true,
            ..NOTHING
        },
        states: 4_501_022,
    },
    Run {
        name: "a crash, a suspicion and a timer in two moves",
        budget: Budget {
            moves: 2,
            calls: 1,
            crashes: 1,
            suspicions: 1,
            timers: 1,
            ..NOTHING
        },
        states: 4_113_184,
    },
    Run {
        name: "a signal, an end, a crash of any node and a suspicion",
        budget: Budget {
            moves: 1,
            calls: 1,
            ends: 1,
            signals: 1,
            crashes: 1,
            home_crashes: true,
            suspicions: 1,
            ..NOTHING
        },
        states: 1_846_749,
    },
    Run {
        name: "calls of both threads, a signal, a timer, a message again",
        budget: Budget {
            moves: 1,
            calls: 2,
            signals: 1,
            timers: 1,
            doubles: 1,
            ..NOTHING
        },
        states: 2_806_220,
    },
    Run {
        name: "a crash and a timer in three moves",
        budget: Budget {
            moves: 3,
            calls: 1,
            crashes: 1,
            timers: 1,
            ..NOTHING
        },
        states: 3_444_881,
    },
    Run {
        name: "a crash, a suspicion and everything a network can do",
        budget: Budget {
            moves: 1,
            calls: 1,
            crashes: 1,
            suspicions: 1,
            losses: 1,
            doubles: 1,
            swaps: 1,
            ..NOTHING
        },
        states: 3_285_797,
    },
    Run {
        name: "a timer and everything a network can do",
        budget: Budget {
            moves: 2,
            calls: 1,
            timers: 1,
            losses: 1,
            doubles: 1,
            swaps: 1,
            ..NOTHING
        },
        states: 7_307_528,
    },
    Run {
        name: "two messages again in three moves",
        budget: Budget {
            moves: 3,
            calls: 1,
            doubles: 2,
            ..NOTHING
        },
        states: 8_557_106,
    },
];

/// Where mutants are searched, the smallest first.
pub const HUNTS: [Budget; 17] = [
    Budget {
        moves: 1,
        ..NOTHING
    },
    Budget {
        moves: 1,
        calls: 1,
        timers: 1,
        cancels: 1,
        ..NOTHING
    },
    Budget {
        moves: 1,
        calls: 1,
        ends: 1,
        ..NOTHING
    },
    Budget {
        moves: 1,
        crashes: 1,
        home_crashes: true,
        suspicions: 1,
        ..NOTHING
    },
    Budget {
        moves: 1,
        timers: 2,
        losses: 1,
        ..NOTHING
    },
    Budget {
        moves: 1,
        calls: 1,
        timers: 1,
        doubles: 1,
        ..NOTHING
    },
    Budget {
        moves: 2,
        suspicions: 1,
        doubles: 1,
        ..NOTHING
    },
    Budget {
        moves: 2,
        crashes: 1,
        suspicions: 1,
        ..NOTHING
    },
    Budget {
        crashes: 1,
        home_crashes: true,
        disk: true,
        birth: true,
        ..NOTHING
    },
    Budget {
        moves: 1,
        calls: 1,
        crashes: 1,
        home_crashes: true,
        disk: true,
        ..NOTHING
    },
    Budget {
        moves: 1,
        calls: 1,
        crashes: 2,
        home_crashes: true,
        disk: true,
        ..NOTHING
    },
    Budget {
        moves: 2,
        calls: 1,
        crashes: 1,
        home_crashes: true,
        disk: true,
        ..NOTHING
    },
    Budget {
        moves: 2,
        crashes: 1,
        suspicions: 1,
        home_crashes: true,
        disk: true,
        ..NOTHING
    },
    Budget {
        moves: 2,
        crashes: 2,
        home_crashes: true,
        disk: true,
        ..NOTHING
    },
    Budget {
        moves: 1,
        claims: 1,
        ..NOTHING
    },
    Budget {
        moves: 2,
        crashes: 1,
        doubles: 1,
        home_crashes: true,
        disk: true,
        ..NOTHING
    },
    Budget {
        moves: 2,
        crashes: 1,
        home_crashes: true,
        disk: true,
        gives_up: 1,
        ..NOTHING
    },
];

/// What a search has found.
#[derive(Clone, Debug)]
pub struct Found {
    /// Different states.
    pub states: usize,
    /// States that were made, repetitions included.
    pub made: usize,
    /// The longest way that was gone.
    pub depth: usize,
    /// How long it took.
    pub time: Duration,
    /// The promise that was broken, how, and the way there.
    pub broken: Option<Violation>,
    /// What was seen at least once.
    pub seen: Vec<Seen>,
}

fn found(checker: &impl Checker<Small>, begun: Instant) -> Found {
    let mut discoveries = checker.discoveries();
    let broken = Promise::ALL.into_iter().find_map(|promise| {
        let path = discoveries.remove(promise.name())?;
        let (_, how) = path.last_state().0.observer.violation?;
        Some((promise, how, path.into_actions()))
    });
    let seen = Seen::ALL
        .into_iter()
        .filter(|seen| discoveries.contains_key(seen.name()));
    Found {
        states: checker.unique_state_count(),
        made: checker.state_count(),
        depth: checker.max_depth(),
        time: begun.elapsed(),
        broken,
        seen: seen.collect(),
    }
}

/// Explores everything that can happen within a budget, or stops at the first broken promise. Depth
/// first, because what is still to be looked at takes little memory then.
/// With a limit it may end before that.
pub fn explore(budget: Budget, threads: usize, limit: Option<Duration>) -> Found {
    let begun = Instant::now();
    let small = Small {
        mutant: Mutant::None,
        budget,
    };
    let builder = small.checker().threads(threads);
    let builder = builder.finish_when(HasDiscoveries::AnyFailures);
    let builder = match limit {
        Some(limit) => builder.timeout(limit),
        None => builder,
    };
    found(&builder.spawn_dfs().join(), begun)
}

/// Searches for a short way on which the lack of a rule shows.
fn hunt(mutant: Mutant, budget: Budget) -> Found {
    let begun = Instant::now();
    let small = Small { mutant, budget };
    let builder = small.checker();
    let checker = builder.finish_when(HasDiscoveries::AnyFailures).spawn_bfs();
    found(&checker.join(), begun)
}

/// A promise, how it was broken, and the way there.
pub type Violation = (Promise, &'static str, Vec<Step>);

/// Tries one budget after the other until the lack of a rule shows; and how many states that took.
pub fn capture(mutant: Mutant, budgets: &[Budget]) -> (usize, Option<Violation>) {
    let mut states = 0;
    for budget in budgets.iter().filter(|it| it.disk == mutant.wants_a_disk()) {
        let found = hunt(mutant, *budget);
        states += found.states;
        if found.broken.is_some() {
            return (states, found.broken);
        }
    }
    (states, None)
}
