//! Seeded random runs, much longer than what can be explored: dozens of moves, crashes and doubts.
//!
//! Law: a run is its seed. What happens is chosen among what the explored model allows, so both run
//! the same cluster.

use crate::mutant::Mutant;
use crate::small::{Budget, Small, Step};
use crate::world::World;
use stateright::Model;

/// SplitMix64 (Steele, Lea, Flood 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

/// How often something may happen in a run at most: nothing in every other one.
fn weather(random: &mut Random, seed: u64) -> Budget {
    let mut pick = |most: u64| match random.below(2) {
        0 => 0,
        _ => random.below(most) as u8,
    };
    let mut budget = Budget {
        crashes: pick(6),
        suspicions: pick(10),
        timers: pick(12),
        cancels: pick(8),
        doubles: pick(20),
        swaps: pick(20),
        losses: pick(3),
        signals: pick(8),
        ends: pick(2),
        ..Budget::default()
    };
    budget.moves = 5 + pick(25);
    budget.calls = 5 + pick(40);
    budget.home_crashes = pick(16) == 1;
    budget.disk = random.below(3) == 0;
    budget.home_crashes |= budget.disk;
    if random.below(8) == 0 {
        budget.claims = 1 + random.below(5) as u8;
    }
    // From a die of its own: the other runs are what they were.
    let mut die = Random(!seed);
    if die.below(4) == 0 {
        budget.gives_up = 1 + die.below(3) as u8;
    }
    if die.below(5) == 0 {
        budget.birth = true;
        budget.crashes = budget.crashes.max(1);
        (budget.disk, budget.home_crashes) = (true, true);
    }
    budget
}

/// How gladly something is chosen: what goes on by itself most of all.
fn weight(step: &Step) -> u64 {
    match step {
        Step::Deliver(_) | Step::Complete(_) | Step::Push(_) | Step::Flush => 60,
        Step::Call(..) | Step::Move(..) => 20,
        Step::Again(_) | Step::Double(_) | Step::Overtake(..) => 4,
        Step::Timer(_) | Step::Cancel(_) | Step::Signal | Step::Claim(_) => 3,
        Step::Suspect(..) | Step::Lose(_) | Step::Crash(..) | Step::GiveUp(_) => 1,
        Step::Exit(_) | Step::Kill => 1,
    }
}

fn choose(random: &mut Random, steps: &[Step]) -> Option<Step> {
    let sum = steps.iter().map(weight).sum::<u64>();
    let mut at = random.below(sum.max(1));
    steps.iter().copied().find(|step| {
        let here = at < weight(step);
        at = at.saturating_sub(weight(step));
        here
    })
}

/// Runs one seed until nothing can happen any more, and lets it come to rest; the cluster at its end, and the way.
pub fn random_run(seed: u64, mutant: Mutant) -> (World, Vec<Step>) {
    let mut random = Random(seed);
    let small = Small {
        mutant,
        budget: weather(&mut random, seed),
    };
    let mut state = small.init_states().remove(0);
    let (mut steps, mut way) = (Vec::new(), Vec::new());
    for _ in 0..400 {
        steps.clear();
        small.actions(&state, &mut steps);
        let Some(step) = choose(&mut random, &steps) else {
            break;
        };
        if let Some(next) = small.next_state(&state, step) {
            state = next;
            way.push(step);
        }
    }
    let (mut world, _) = state;
    if world.observer.violation.is_none() {
        world.settle();
    }
    (world, way)
}
