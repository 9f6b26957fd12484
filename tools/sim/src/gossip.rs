//! What gossip costs, how fast it is and how often it is wrong, for clusters of 100 to 10 000 nodes.
//!
//! Law: virtual time and one seed, so the table is a snapshot. The goals: a piece of news is everywhere within
//! ceil(log2 N) + 2 rounds in 99 of 100 cases; bytes per node and period do not grow with N; a death is noticed within
//! 2 s in half of all cases and 10 s in 99 of 100; and nobody who lives is taken for dead, though a tenth of
//! all frames is lost and nodes stand still for up to 5 s.

use crate::flock::{Flock, Weather};
use crate::random::Random;
use membership::{Change, PERIOD_NS};

/// News has a round each tenth of a period.
const ROUND_NS: u64 = PERIOD_NS / 10;

/// Bad, but not worse than promised: a tenth of the frames is lost, and everybody stands still for up to
/// 5 s, about once a minute.
pub const BAD: Weather = Weather {
    loss: 1000,
    pause_ns: 5_000_000_000,
    pause_every_ns: 60_000_000_000,
};

/// How much is done.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Nodes, and how many pieces of news, deaths and periods are looked at with so many.
    pub sizes: [(usize, usize, usize, u64); 3],
    /// Hours of all nodes together in which nobody may be taken for dead.
    pub node_hours: u64,
}

/// What the test command can wait for.
pub const SHORT: Effort = Effort {
    sizes: [(100, 100, 20, 20), (1000, 50, 6, 8), (10_000, 10, 0, 3)],
    node_hours: 10,
};

/// The same with more of everything, and deaths among ten thousand.
pub const LONG: Effort = Effort {
    sizes: [
        (100, 1000, 200, 60),
        (1000, 400, 100, 60),
        (10_000, 100, 20, 40),
    ],
    node_hours: 2000,
};

/// The element below which so many of 100 are.
fn at(sorted: &[u64], percent: usize) -> u64 {
    let place = (sorted.len() * percent).div_ceil(100).max(1) - 1;
    sorted.get(place).copied().unwrap_or(0)
}

/// Rounds until the last node knows a piece of news, for each piece, ascending. News comes in tens: they
/// stand in each other's way.
pub fn spread(nodes: usize, pieces: usize, seed: u64) -> Vec<u64> {
    let mut rounds = Vec::new();
    let mut flock = Flock::new(nodes, seed, Weather::default());
    flock.run(2 * PERIOD_NS);
    let mut random = Random::new(seed);
    let mut gone = Vec::new();
    while rounds.len() < pieces {
        // Not more than a tenth of the nodes is used up in a flock.
        if gone.len() + 10 > nodes / 10 {
            flock = Flock::new(nodes, random.bits(), Weather::default());
            flock.run(2 * PERIOD_NS);
            gone.clear();
        }
        flock.events.clear();
        let began = flock.now;
        let known = gone.len();
        while gone.len() < known + 10 {
            let index = random.below(nodes as u64) as usize;
            if !gone.contains(&index) {
                gone.push(index);
                flock.leave(index);
            }
        }
        flock.run(25 * ROUND_NS);
        for piece in &gone[known..] {
            let told = |(_, by, event): &&(u64, usize, membership::Event)| {
                !gone.contains(by)
                    && event.change == Change::Left
                    && Flock::index(event.node) == *piece
            };
            let heard: Vec<u64> = flock.events.iter().filter(told).map(|e| e.0).collect();
            let everywhere = heard.len() >= nodes - gone.len();
            let last = heard.into_iter().max().filter(|_| everywhere);
            let took = last.map_or(u64::MAX, |last| (last - began).div_ceil(ROUND_NS));
            rounds.push(took);
        }
    }
    rounds.sort_unstable();
    rounds
}

/// What a node sends in a period and what it knows.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// Frames of a node and period.
    pub frames: f64,
    /// Bytes of a node and period, headers included.
    pub bytes: f64,
    /// Nodes of which it knows a load that it trusts.
    pub known: f64,
    /// Their mean age, ms.
    pub age_ms: f64,
    /// The age that 99 of 100 do not reach, ms.
    pub age_p99_ms: u64,
    /// The age beyond which nothing is trusted, ms.
    pub limit_ms: u64,
}

/// An undisturbed cluster, in its last `periods`.
pub fn cost(nodes: usize, periods: u64, seed: u64) -> Cost {
    let mut flock = Flock::new(nodes, seed, Weather::default());
    flock.run(periods * PERIOD_NS);
    (flock.frames, flock.counts_bytes) = (0, true);
    flock.run(3 * PERIOD_NS);
    let sample = nodes.min(100);
    let mut ages = Vec::new();
    for index in 0..sample {
        let seen = flock.membership(index).view(flock.now);
        ages.extend(seen.filter_map(|seen| Some(seen.load?.1 / 1_000_000)));
    }
    ages.sort_unstable();
    let per = (nodes * 3) as f64;
    Cost {
        frames: flock.frames as f64 / per,
        bytes: flock.bytes as f64 / per,
        known: ages.len() as f64 / sample as f64,
        age_ms: ages.iter().sum::<u64>() as f64 / ages.len().max(1) as f64,
        age_p99_ms: at(&ages, 99),
        limit_ms: flock.membership(0).age_limit() / 1_000_000,
    }
}

/// How long it took until a death was noticed, ms, ascending.
#[derive(Clone, Debug, Default)]
pub struct Noticed {
    /// By the first one that suspects, for each death.
    pub first: Vec<u64>,
    /// By each of the others: suspected.
    pub suspected: Vec<u64>,
    /// By each of the others: taken for dead.
    pub died: Vec<u64>,
}

/// Nodes die, one every half second.
pub fn deaths(nodes: usize, deaths: usize, seed: u64, loss: u64) -> Noticed {
    let weather = Weather {
        loss,
        ..Weather::default()
    };
    let mut noticed = Noticed::default();
    let mut random = Random::new(seed);
    let mut left = deaths;
    while left > 0 {
        let now = left.min(nodes / 10);
        left -= now;
        let mut flock = Flock::new(nodes, random.bits(), weather);
        flock.run(2 * PERIOD_NS);
        flock.events.clear();
        let mut died_at = vec![None; nodes];
        let mut killed = 0;
        while killed < now {
            let index = random.below(nodes as u64) as usize;
            if died_at[index].is_none() {
                flock.run(random.below(PERIOD_NS));
                flock.kill(index);
                died_at[index] = Some(flock.now);
                killed += 1;
            }
        }
        flock.run(13 * PERIOD_NS);
        let mut first = vec![u64::MAX; nodes];
        let mut known = std::collections::BTreeSet::new();
        for (time, by, event) in &flock.events {
            let of = Flock::index(event.node);
            let Some(died_at) = died_at[of].filter(|at| at <= time && !flock.is_dead(*by)) else {
                continue;
            };
            let took = (time - died_at) / 1_000_000;
            match event.change {
                Change::Suspected if known.insert((*by, of)) => {
                    noticed.suspected.push(took);
                    first[of] = first[of].min(took);
                }
                Change::Died => {
                    noticed.died.push(took);
                    if known.insert((*by, of)) {
                        noticed.suspected.push(took);
                    }
                }
                _ => {}
            }
        }
        let dead = (0..nodes).filter(|index| flock.is_dead(*index));
        noticed.first.extend(dead.map(|index| first[index]));
    }
    for times in [
        &mut noticed.first,
        &mut noticed.suspected,
        &mut noticed.died,
    ] {
        times.sort_unstable();
    }
    noticed
}

/// What went wrong among the living.
#[derive(Clone, Copy, Debug, Default)]
pub struct Errors {
    /// Hours of all nodes together.
    pub node_hours: u64,
    /// How often a node was suspected by a node that had not been told so.
    pub unanswered: u64,
    /// How often a node changed its mind about one that lives, to suspicion.
    pub suspected: u64,
    /// How often a node took one for dead that lives.
    pub died: u64,
}

/// So many hours in bad weather, in flocks of `nodes` that live for 200 s each.
pub fn errors(nodes: usize, node_hours: u64, seed: u64) -> Errors {
    let mut errors = Errors::default();
    let mut random = Random::new(seed);
    let seconds = 200;
    let flocks = (node_hours * 3600).div_ceil(nodes as u64 * seconds);
    for _ in 0..flocks {
        let mut flock = Flock::new(nodes, random.bits(), BAD);
        for _ in 0..seconds / 20 {
            flock.run(20 * PERIOD_NS);
            for (_, _, event) in flock.events.drain(..) {
                match event.change {
                    Change::Suspected => errors.suspected += 1,
                    Change::Died => errors.died += 1,
                    _ => {}
                }
            }
        }
        let counted = (0..nodes).map(|index| flock.membership(index).counters().unanswered);
        errors.unanswered += counted.sum::<u64>();
    }
    errors.node_hours = flocks * seconds * nodes as u64 / 3600;
    errors
}

/// Rounds within which a piece of news is to be everywhere.
pub fn rounds_allowed(nodes: usize) -> u64 {
    u64::from(nodes.next_power_of_two().ilog2()) + 2
}

/// The tables, and what of the goals was missed.
pub fn table(effort: Effort) -> (String, Vec<String>) {
    let mut missed = Vec::new();
    let mut goal = |kept: bool, what: String| {
        if !kept {
            missed.push(what);
        }
    };
    let mut table = String::from(
        " nodes  news: pieces   p50   p99  allowed   frames  bytes a period   known  age ms    p99   limit\n",
    );
    let mut bytes = Vec::new();
    for (nodes, pieces, _, periods) in effort.sizes {
        let rounds = spread(nodes, pieces, 1);
        let cost = cost(nodes, periods, 2);
        let allowed = rounds_allowed(nodes);
        table += &format!(
            "{nodes:>6}  {pieces:>12}  {:>4}  {:>4}  {allowed:>7}  {:>7.2}  {:>14.0}  {:>6.1}  {:>6.0}  {:>5}  {:>6}\n",
            at(&rounds, 50),
            at(&rounds, 99),
            cost.frames,
            cost.bytes,
            cost.known,
            cost.age_ms,
            cost.age_p99_ms,
            cost.limit_ms,
        );
        goal(at(&rounds, 99) <= allowed, format!("news among {nodes}"));
        goal(
            cost.age_p99_ms <= cost.limit_ms,
            format!("age among {nodes}"),
        );
        bytes.push(cost.bytes);
    }
    let least = bytes.iter().copied().fold(f64::MAX, f64::min);
    let most = bytes.iter().copied().fold(0.0, f64::max);
    goal(most <= 1.1 * least, format!("bytes from {least} to {most}"));
    table += "\n nodes  loss %  deaths, ms until: first suspects  p99   each suspects p50   p99   each takes for dead p50    p99\n";
    for (nodes, _, count, _) in effort.sizes {
        for loss in [0, 1000] {
            if count == 0 {
                continue;
            }
            let noticed = deaths(nodes, count, 3, loss);
            let Noticed {
                first,
                suspected,
                died,
            } = &noticed;
            table += &format!(
                "{nodes:>6}  {:>6}  {count:>6}  {:>25}  {:>4}  {:>18}  {:>4}  {:>24}  {:>5}\n",
                loss / 100,
                at(first, 50),
                at(first, 99),
                at(suspected, 50),
                at(suspected, 99),
                at(died, 50),
                at(died, 99),
            );
            goal(at(first, 50) <= 2000, format!("half of deaths of {nodes}"));
            goal(at(suspected, 99) <= 10_000, format!("deaths of {nodes}"));
            goal(
                died.len() >= count * (nodes - count.min(nodes / 10)),
                format!("every death of {nodes} is known everywhere"),
            );
        }
    }
    let errors = errors(50, effort.node_hours, 4);
    table += &format!(
        "\n{} node-hours, 10 % lost, all stand still for up to 5 s once a minute: {} questions without answer, \
         {} suspicions of the living, {} taken for dead\n",
        errors.node_hours, errors.unanswered, errors.suspected, errors.died
    );
    goal(errors.died == 0, String::from("nobody who lives is dead"));
    (table, missed)
}
