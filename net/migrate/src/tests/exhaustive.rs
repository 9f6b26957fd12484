//! Every interleaving of small runs, by the model checker `stateright`.
//!
//! Law: what is explored is the shipped machines, not a copy of them. A run is bounded by how often
//! each kind of thing may happen in it; deliveries and completions are free. Timers may fire at any
//! time. Wherever nothing is under way any more, the run is let come to rest and judged.

use super::broken::{RULES, Rule};
use super::std::println;
use super::std::time::Instant;
use super::world::{HOME, HOSTS, Lane, WRITE, Word, World};
use alloc::vec::Vec;
use stateright::{Checker, Model, Property};

/// What may happen in a run, and how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
struct Budget {
    moves: u8,
    calls: u8,
    reboots: u8,
    suspicions: u8,
    timers: u8,
    cancels: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Step {
    Deliver(Lane),
    Complete,
    Call(usize),
    Move(usize, usize),
    Reboot(usize, usize, Word),
    Suspect(usize, usize),
    Timer(usize),
    Cancel(usize),
}

struct Small {
    broken: Rule,
    budget: Budget,
}

type State = (World, Budget);

impl Model for Small {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        alloc::vec![(World::new(self.broken), self.budget)]
    }

    fn actions(&self, (world, budget): &State, steps: &mut Vec<Step>) {
        if world.observer.violation.is_some() {
            return;
        }
        steps.extend(world.busy_lanes().into_iter().map(Step::Deliver));
        if world.hosts[HOME].executing.is_some() {
            steps.push(Step::Complete);
        }
        for host in 0..HOSTS {
            self.host_actions(world, budget, host, steps);
        }
    }

    fn next_state(&self, (world, budget): &State, step: Step) -> Option<State> {
        let (mut next, mut left) = (world.clone(), *budget);
        match step {
            Step::Deliver(lane) => next.deliver(lane),
            Step::Complete => next.complete(),
            Step::Call(host) => {
                left.calls -= 1;
                next.act(host, WRITE);
            }
            Step::Move(host, target) => {
                left.moves -= 1;
                next.start_move(host, target);
            }
            Step::Reboot(host, keep, word) => {
                left.reboots -= 1;
                next.reboot(host, keep, word);
            }
            Step::Suspect(host, other) => {
                left.suspicions -= 1;
                next.silent(host, other);
            }
            Step::Timer(host) => {
                left.timers -= 1;
                let due = next.due(host)?;
                next.timeout(host, due);
            }
            Step::Cancel(host) => {
                left.cancels -= 1;
                next.cancel_move(host);
            }
        }
        next.observer.forget_counts();
        (next != *world).then_some((next, left))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        alloc::vec![Property::always(
            "the promises hold",
            |_, (world, _): &State| {
                if world.observer.violation.is_some() {
                    return false;
                }
                if !world.busy_lanes().is_empty() || world.hosts[HOME].executing.is_some() {
                    return true;
                }
                let mut rest = world.clone();
                rest.settle();
                rest.observer.violation.is_none()
            }
        )]
    }
}

impl Small {
    fn host_actions(&self, world: &World, left: &Budget, host: usize, steps: &mut Vec<Step>) {
        let slot = &world.hosts[host];
        if let Some(body) = &slot.body {
            if left.calls > 0 && body.call.is_none() && body.arrived {
                steps.push(Step::Call(host));
            }
            if left.moves > 0 && slot.source.is_none() && slot.target.is_none() && body.arrived {
                // The other hosts are alike: the first move goes to the second host.
                let first = left.moves == self.budget.moves;
                let targets = (0..HOSTS).filter(|to| *to != host && (!first || *to == 1));
                steps.extend(targets.map(|to| Step::Move(host, to)));
            }
        }
        if left.reboots > 0 && (host != HOME || self.budget.reboots > 1) {
            for keep in [0, 8] {
                steps.push(Step::Reboot(host, keep, Word::InOrder));
            }
            steps.push(Step::Reboot(host, 8, Word::Overtakes));
        }
        let moving = slot.source.is_some() || slot.record.is_some();
        if left.suspicions > 0 && moving {
            let others = (0..HOSTS).filter(|other| *other != host);
            steps.extend(others.map(|other| Step::Suspect(host, other)));
        }
        if left.timers > 0 && world.due(host).is_some() {
            steps.push(Step::Timer(host));
        }
        if left.cancels > 0 && slot.source.is_some() {
            steps.push(Step::Cancel(host));
        }
    }
}

/// Explores all; the number of states, and whether a promise was broken.
fn explore(broken: Rule, budget: Budget) -> (usize, bool) {
    let begun = Instant::now();
    let checker = Small { broken, budget }
        .checker()
        .threads(2)
        .spawn_bfs()
        .join();
    let found = checker.discovery("the promises hold");
    let states = checker.unique_state_count();
    let seconds = begun.elapsed().as_secs_f32();
    println!("{broken:?}, {budget:?}: {states} states, {seconds:.1} s");
    if broken == Rule::None
        && let Some(path) = &found
    {
        println!("{:?}", path.last_state().0.observer.violation);
        for step in path.clone().into_actions() {
            println!("  {step:?}");
        }
    }
    (states, found.is_some())
}

fn all_holds(budget: Budget, least: usize) {
    let (states, broken) = explore(Rule::None, budget);
    assert!(!broken, "a promise is broken");
    assert!(
        states >= least,
        "only {states} states: nothing was explored"
    );
}

#[test]
fn three_moves_with_calls_and_a_cancel() {
    let budget = Budget {
        moves: 3,
        calls: 2,
        cancels: 1,
        ..Budget::default()
    };
    all_holds(budget, 100_000);
}

#[test]
fn two_moves_with_a_reboot_and_a_timer() {
    let budget = Budget {
        moves: 2,
        calls: 1,
        reboots: 1,
        timers: 1,
        ..Budget::default()
    };
    all_holds(budget, 100_000);
}

#[test]
fn two_moves_with_suspicion_and_a_timer() {
    let budget = Budget {
        moves: 2,
        calls: 1,
        suspicions: 1,
        timers: 1,
        ..Budget::default()
    };
    all_holds(budget, 100_000);
}

#[test]
fn a_move_with_two_reboots_and_suspicion() {
    let budget = Budget {
        moves: 1,
        calls: 1,
        reboots: 2,
        suspicions: 1,
        ..Budget::default()
    };
    all_holds(budget, 100_000);
}

#[test]
fn two_moves_with_two_reboots() {
    let budget = Budget {
        moves: 2,
        reboots: 2,
        ..Budget::default()
    };
    all_holds(budget, 100_000);
}

/// Of the broken rules, those that need no more than a small run to show.
#[test]
fn broken_rules_are_found() {
    for broken in RULES {
        let budget = Budget {
            moves: 2,
            calls: 1,
            reboots: 1,
            suspicions: 1,
            timers: 1,
            cancels: 0,
        };
        let (_, found) = explore(broken, budget);
        assert!(found, "nobody noticed the lack of {broken:?}");
    }
}
