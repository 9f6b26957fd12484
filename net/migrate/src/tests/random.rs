//! Seeded random runs: moves, calls, reboots, suspicion, cancellation, duplicates, late timers.
//!
//! Law: a run is its seed; a failure prints it.

use super::broken::{RULES, Rule};
use super::std::println;
use super::world::{EXIT, HOME, HOSTS, Item, WRITE, Word, World};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use wire::{Message, Outcome};

const RUNS: u64 = 30_000;

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

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    fn chance(&mut self, per_mille: usize) -> bool {
        self.below(1000) < per_mille
    }
}

/// How wild a run is: chances per step in parts of 1000.
struct Weather {
    reboot: usize,
    silence: usize,
    cancel: usize,
    replay: usize,
    late: usize,
    end: usize,
}

fn weather(random: &mut Random) -> Weather {
    let mut pick = |most: usize| {
        if random.chance(500) {
            random.below(most)
        } else {
            0
        }
    };
    Weather {
        reboot: pick(12),
        silence: pick(40),
        cancel: pick(20),
        replay: pick(80),
        late: pick(60),
        end: pick(6),
    }
}

fn step(world: &mut World, random: &mut Random, weather: &Weather) {
    let host = random.below(HOSTS);
    if random.chance(weather.reboot) && (host != HOME || random.chance(150)) {
        let keep = random.below(4);
        let word = if random.chance(500) {
            Word::Overtakes
        } else {
            Word::InOrder
        };
        world.reboot(host, keep, word);
    } else if random.chance(weather.silence) {
        let other = (host + 1 + random.below(HOSTS - 1)) % HOSTS;
        world.silent(host, other);
    } else if random.chance(weather.cancel) {
        world.cancel_move(host);
    } else if random.chance(weather.replay) && !world.old.is_empty() {
        let index = random.below(world.old.len());
        if may_come_twice(&world.old[index].1.item) {
            world.replay(index);
        }
    } else if random.chance(weather.late) {
        if let Some(due) = world.next_due() {
            world.now = world.now.max(due);
            let now = world.now;
            world.timeout(host, now);
        }
    } else if random.chance(weather.end) {
        if random.chance(500) {
            world.act(host, EXIT);
        } else {
            world.observer.over = true;
            world.end(None);
        }
    } else {
        quiet_step(world, random, host);
    }
}

/// The lanes deliver nothing twice. The machines need that only where a cancelled call frees its
/// number for the next one: for calls and for the word that one was cancelled.
fn may_come_twice(item: &Item) -> bool {
    match item {
        Item::Message(Message::Call(_)) => false,
        Item::Message(Message::Reply(reply)) => reply.outcome != Outcome::Interrupted,
        _ => true,
    }
}

fn quiet_step(world: &mut World, random: &mut Random, host: usize) {
    match random.below(10) {
        0 => world.start_move(host, random.below(HOSTS)),
        1 | 2 => world.act(host, WRITE),
        3 => world.complete(),
        _ => {
            let lanes = world.busy_lanes();
            if !lanes.is_empty() {
                world.deliver(lanes[random.below(lanes.len())]);
            }
        }
    }
}

/// Prints the run of the seed in `DUNLIN_SEED`.
#[test]
#[ignore = "for looking at one seed"]
fn show() {
    let seed = super::std::env::var("DUNLIN_SEED").expect("DUNLIN_SEED is a number");
    let mut world = start(seed.parse().expect("DUNLIN_SEED is a number"), Rule::None);
    world.0.trace = true;
    let world = play(world);
    println!("{:?}", world.observer.violation);
}

/// Runs one seed; the world at its end.
fn run(seed: u64, broken: Rule) -> World {
    play(start(seed, broken))
}

fn start(seed: u64, broken: Rule) -> (World, Random, Weather) {
    let mut random = Random(seed);
    let weather = weather(&mut random);
    let mut world = World::new(broken);
    world.replays = weather.replay > 0;
    (world, random, weather)
}

fn play((mut world, mut random, weather): (World, Random, Weather)) -> World {
    let steps = 100 + random.below(400);
    for _ in 0..steps {
        step(&mut world, &mut random, &weather);
        if world.observer.violation.is_some() {
            return world;
        }
    }
    world.settle();
    world
}

#[test]
fn promises_hold_in_thousands_of_runs() {
    let mut sum = [0u32; 8];
    for seed in 0..RUNS {
        let seen = run(seed, Rule::None).observer;
        if let Some(violation) = seen.violation {
            panic!("seed {seed}: {violation}");
        }
        let row = [
            seen.moves.0,
            seen.moves.1,
            seen.aborted,
            seen.handed_back,
            seen.fenced,
            seen.pages_lost,
            seen.ended,
            u32::from(seen.over),
        ];
        for (total, one) in sum.iter_mut().zip(row) {
            *total += one;
        }
    }
    println!("done, failed, aborted, handed back, fenced, pages lost, ended, over: {sum:?}");
    // A test that exercised nothing has shown nothing.
    assert!(sum[0] > 20_000 && sum[1..].iter().all(|count| *count > 200));
}

#[test]
fn each_broken_rule_is_found() {
    for rule in RULES {
        let mut found: Vec<String> = Vec::new();
        for seed in 0..RUNS {
            if let Some(violation) = run(seed, rule).observer.violation {
                found.push(format!("seed {seed}: {violation}"));
                break;
            }
        }
        assert!(!found.is_empty(), "nobody noticed the lack of {rule:?}");
        println!("{rule:?}: {}", found[0]);
    }
}
