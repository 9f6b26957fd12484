//! A world by chance: bad weather, then work to its end, then peace.
//!
//! Law: the seed alone chooses what there is (nodes, programs, which faults and how bad) and when each
//! fault comes. While the storm lasts only safety is demanded; behind it everything has to come to its end.

use crate::check::Failure;
use crate::disk::Disk;
use crate::network::Faults;
use crate::programs::{Deaths, Work, write};
use crate::random::Random;
use crate::telling::Event;
use crate::world::{Deed, LastWords, MS, RIGHT_PACE, Wires, World};
use crate::{Plan, Summary};
use abi::signal;
use node::Suite;
use system::home::{INIT, Life};

/// How long the world is bad, how long work may take after that, how long the peace at the end is.
const STORM_NS: u64 = 6_000 * MS;
const PATIENCE_NS: u64 = 150_000 * MS;
/// The same where a bug is on: worlds without one are over after a few seconds, and a hang takes long to run.
const SHORT_PATIENCE_NS: u64 = 30_000 * MS;
const PEACE_NS: u64 = 10_000 * MS;
/// Make other dice of a seed.
const SEAL_DIE: u64 = 0x5ea1;
const PACK_DIE: u64 = 0x9ac4;
const LIAR_DIE: u64 = 0x11a4;
/// Of 10 000 packets so many have a bit turned at most.
const TURNED_MOST: u64 = 500;
/// The longest clog, and the longest time that a machine stands still: longer than any deadline of a move.
const CLOG_NS: u64 = 5_000 * MS;
const STILL_NS: u64 = 6_000 * MS;
/// Clocks that are wrong go so many thousandths too slow or too fast at most.
const SKEW: u64 = 200;

/// Which faults a world has.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Weather {
    /// Packets are lost, doubled, late and out of order.
    Packets,
    /// And links are cut and clogged, also in one direction, and machines are stopped for a while.
    Cuts,
    /// And machines die and boot again.
    Deaths,
}

/// What the seed has chosen.
struct Climate {
    weather: Weather,
    /// Frames are out now and then.
    short: bool,
    trouble_ns: u64,
}

/// Runs the world of a seed to its end.
pub(crate) fn run(plan: Plan, tell: &mut dyn FnMut(&Event)) -> Result<Summary, Failure> {
    let mut random = Random(plan.seed);
    let nodes = match plan.nodes {
        0 => random.between(3, 7),
        nodes => nodes.into(),
    };
    let weather = match plan.seed % 4 {
        0 => Weather::Packets,
        1 => Weather::Cuts,
        _ => Weather::Deaths,
    };
    let (short, skewed) = (random.below(4) == 0, random.below(3) == 0);
    let deaths = match weather {
        Weather::Deaths => Deaths::Some,
        _ if short => Deaths::Some,
        _ => Deaths::None,
    };
    let disks = random.below(2) == 0;
    let work = Work {
        nodes,
        workers: random.between(1, if nodes > 4 { 1 } else { 2 }) as usize,
        steps: random.between(5, 20),
        movers: random.between(1, 2),
        moves: random.between(10, 60),
        deaths,
        disks: disks && weather == Weather::Deaths,
    };
    let programs = write(work, &mut random);
    let climate = Climate {
        weather,
        short,
        trouble_ns: random.between(100 * MS, 1500 * MS),
    };
    let mut world = World::new(random, (work, programs), plan.canary, tell);
    let wires = Wires::ALL[world.random.below(Wires::ALL.len() as u64) as usize];
    world.wire(wires);
    seal(&mut world, plan.seed);
    // From a die of its own, as the keys.
    world.packs = Random(plan.seed ^ PACK_DIE).below(3) == 0;
    if skewed {
        world.paces = (RIGHT_PACE - SKEW, RIGHT_PACE + SKEW);
    }
    if disks {
        put_disks(&mut world, weather);
    }
    world.network.faults = Faults::random(&mut world.random);
    let patience_ns = match plan.canary {
        Some(_) => SHORT_PATIENCE_NS,
        None => PATIENCE_NS,
    };
    let result = storm(&mut world, &climate)
        .and_then(|()| work_to_the_end(&mut world, work, patience_ns))
        .and_then(|()| peace(&mut world));
    let at = world.now as f64 / 1e9;
    let result = result
        .map(|()| world.summary)
        .map_err(|failure| format!("{weather:?}, at {at:.6} s: {failure}"));
    world.switch_off();
    result
}

/// In a third of the worlds the nodes have keys, and then bits may turn on the way, nodes claim what they were not given, and one says of others' processes what is not its to say.
/// That is from dice of its own, so that the other worlds do not know of it.
fn seal(world: &mut World<'_>, seed: u64) {
    let mut die = Random(seed ^ SEAL_DIE);
    let suite = die.below(3 * Suite::ALL.len() as u64);
    world.suite = Suite::ALL.get(suite as usize).copied();
    if world.suite.is_some() {
        world.network.turned = die.below(2) * die.below(TURNED_MOST);
        world.claims = (die.below(2) == 0).then_some(die);
        let mut die = Random(seed ^ LIAR_DIE);
        let liar = die.below(world.machines.len() as u64) as usize;
        world.liar = (die.below(2) == 0).then_some((liar, die));
    }
}

/// Half of the machines have a disk; and guests may wait for their homes for a short time only.
fn put_disks(world: &mut World<'_>, weather: Weather) {
    let may_fail = weather == Weather::Deaths;
    for index in 0..world.machines.len() {
        if world.random.below(2) == 0 {
            let disk = Disk::blank(&mut world.random, may_fail);
            world.machines[index].disk = Some(disk);
        }
    }
    if may_fail && world.random.below(3) == 0 {
        world.grace_s = world.random.between(1, 6);
    }
}

fn storm(world: &mut World<'_>, climate: &Climate) -> Result<(), Failure> {
    let mut trouble_at = world.random.between(300 * MS, 1000 * MS);
    while world.now < STORM_NS {
        world.step(trouble_at.min(STORM_NS))?;
        world.forge();
        world.claim();
        world.fresh.clear();
        if world.now >= trouble_at {
            trouble(world, climate)?;
            trouble_at = world.now + 1 + world.random.below(2 * climate.trouble_ns);
        }
    }
    world.clear_sky();
    Ok(())
}

/// No new faults: all work comes to its end.
pub(crate) fn work_to_the_end(
    world: &mut World<'_>,
    work: Work,
    patience_ns: u64,
) -> Result<(), Failure> {
    let end = world.now + patience_ns;
    while !world.checker.all_ended(&world.machines) {
        if world.now >= end {
            return Err(world.checker.what_hangs(&world.machines));
        }
        world.step(end)?;
        world.fresh.clear();
        if work.deaths == Deaths::Some {
            kill_the_forgotten(world);
        }
    }
    Ok(())
}

/// Whom a parent has stopped that a death then took stays stopped, on every Unix: its group had
/// no guardian before either. The user would kill it, and so does the world.
fn kill_the_forgotten(world: &mut World<'_>) {
    for index in 0..world.machines.len() {
        let Some(system) = world.machines[index].system.as_ref() else {
            continue;
        };
        let homes = system.inside().homes.values();
        let forgotten: Vec<u32> = homes
            .filter(|home| matches!(home.life, Life::Stopped { .. }) && home.parent == INIT)
            .filter(|home| home.pending.set() & signal::bit(signal::SIGKILL) == 0)
            .map(|home| home.pid)
            .collect();
        for pid in forgotten {
            world.signal(index, pid, signal::SIGKILL);
        }
    }
}

/// Nobody has anything to do: what is left now is left for ever.
pub(crate) fn peace(world: &mut World<'_>) -> Result<(), Failure> {
    let end = world.now + PEACE_NS;
    while world.now < end {
        world.step(end)?;
        world.fresh.clear();
    }
    let (records, lost) = world.checker.finish(&mut world.machines)?;
    world.summary.records = records;
    world.summary.lost = lost;
    Ok(())
}

// ---- faults ----------------------------------------------------------------------------------

fn trouble(world: &mut World<'_>, climate: &Climate) -> Result<(), Failure> {
    let index = world.random.below(world.machines.len() as u64) as usize;
    if climate.short && world.random.below(3) == 0 {
        world.fail_frame(index);
        return Ok(());
    }
    let most = match climate.weather {
        Weather::Packets => 1,
        Weather::Cuts => 7,
        Weather::Deaths => 10,
    };
    match world.random.below(most) {
        0 => {
            world.network.faults = Faults::random(&mut world.random);
            let text = format!("{:?}", world.network.faults);
            world.tell("packets", 0, text);
        }
        1 | 2 => part(world),
        3 | 4 => {
            let ns = world.random.between(MS, STILL_NS);
            world.pause(index, ns);
        }
        5 => clog(world),
        6 => swizzle(world, index),
        _ if world.machines[index].system.is_some() => {
            let off_ns = match world.random.below(2) {
                0 => world.random.below(5 * MS),
                _ => world.random.below(3_000 * MS),
            };
            let last = match world.random.below(2) {
                0 => LastWords::Lost,
                _ => LastWords::Arrive,
            };
            world.kill(index, off_ns, last)?;
        }
        _ => {}
    }
    Ok(())
}

/// Some nodes do not hear the others; half of the time the others do not hear them either.
fn part(world: &mut World<'_>) {
    let count = world.machines.len();
    let sides: Vec<u64> = (0..count).map(|_| world.random.below(2)).collect();
    let both = world.random.below(2) == 0;
    for from in 0..count {
        for to in 0..count {
            let crosses = sides[from] != sides[to];
            let cut = crosses && (both || sides[from] == 0);
            world.network.cut(from, to, cut);
        }
    }
    let heal_at = world.now + world.random.between(10 * MS, 4_000 * MS);
    world.plan(heal_at, Deed::Heal);
    let ways = if both { "both ways" } else { "one way" };
    world.tell("parts", 0, format!("sides {sides:?}, {ways}"));
}

/// Some directions hold what is sent, each for its own time.
fn clog(world: &mut World<'_>) {
    let count = world.machines.len();
    for from in 0..count {
        for to in 0..count {
            if from != to && world.random.below(4) == 0 {
                let until = world.now + world.random.between(MS, CLOG_NS);
                world.plan(world.now, Deed::Clog(from, to));
                world.plan(until, Deed::Unclog(from, to));
            }
        }
    }
}

/// The links of a node are clogged one by one, and are free again in another order.
fn swizzle(world: &mut World<'_>, node: usize) {
    for other in (0..world.machines.len()).filter(|other| *other != node) {
        let from = world.now + world.random.below(CLOG_NS / 3);
        let until = world.now + world.random.between(CLOG_NS / 3, CLOG_NS);
        for (one, another) in [(node, other), (other, node)] {
            world.plan(from, Deed::Clog(one, another));
            world.plan(until, Deed::Unclog(one, another));
        }
    }
}
