//! What happens to a cluster, whatever its policy is: nodes, owners, deaths, and the processes that people start.
//!
//! Law: all of it follows from the seed before anything runs, so that every policy meets the same.
//!
//! **Lengths** have the tail that was measured: of processes that live for longer than a second a part of T in 1 lives for longer
//! than T (Harchol-Balter and Downey, "Exploiting process lifetime distributions for dynamic load balancing", ACM TOCS 15(3),
//! 1997), up to a bound. **Nodes** differ in processors, speed and in how much is started there. **Owners** of every
//! second node work there a quarter of the time (Mutka and Livny, "The available capacity of a privately owned workstation
//! environment", Performance Evaluation 12(4), 1991, found less).

use crate::random::{Random, logarithm};

/// One second, ns.
pub const SECOND: u64 = 1_000_000_000;
/// The longest process is so many times as long as the shortest.
const LONGEST: f64 = 300.0;
/// The shortest process, if nobody says how many there are to be, in seconds of work.
const SHORTEST_S: f64 = 1.0;
/// What is started asks for this part of all processors.
const OFFERED: f64 = 0.6;
/// Who has died is back after so long, ns.
const REBOOT_NS: u64 = 30 * SECOND;

/// What is special about a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Nature {
    /// It does as it says.
    Honest,
    /// It works at a quarter of the speed that it tells.
    Slow,
    /// It says that it is idle and fast, and takes nobody.
    Refuses,
    /// It tells other absurd figures each period.
    Absurd,
}

/// A node.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its processors.
    pub processors: u16,
    /// What each of them does, by what it says; 1000 is usual.
    pub speed: u32,
    /// Page frames.
    pub frames: u32,
    /// See [`Nature`].
    pub nature: Nature,
    /// When its owner comes, goes, comes..., ns.
    pub owner: Vec<u64>,
}

impl Node {
    /// What each of its processors really does.
    pub fn real_speed(&self) -> f64 {
        let slower = if self.nature == Nature::Slow {
            4.0
        } else {
            1.0
        };
        f64::from(self.speed) / slower
    }
}

/// A process, as it is started.
#[derive(Clone, Copy, Debug)]
pub struct Job {
    /// When, ns.
    pub at_ns: u64,
    /// Where: its home.
    pub home: usize,
    /// CPU time that it needs at speed 1000, ns.
    pub work_ns: f64,
    /// Page frames that it has.
    pub frames: u32,
    /// Calls in a second of work that its home answers.
    pub calls_per_s: u32,
}

/// How people use the cluster.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scene {
    /// Processes of all lengths are started everywhere, nodes die, owners come, nodes lie.
    Usual,
    /// The same on honest nodes that live and have no owners.
    Calm,
    /// So many processes that compute for a long time are started on the first of equal nodes, at once.
    Crowd,
}

/// How large a trace is.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Nodes.
    pub nodes: usize,
    /// Processes; 0: as many as fit the time.
    pub processes: usize,
    /// How long processes are started, ns; 0: as long as fits the number of them.
    pub arrive_ns: u64,
    /// Deaths of nodes in the usual scene.
    pub deaths: usize,
}

/// All that happens.
#[derive(Clone, Debug)]
pub struct Trace {
    /// The nodes.
    pub nodes: Vec<Node>,
    /// The processes, in the order in which they are started.
    pub jobs: Vec<Job>,
    /// Who dies when, and is back when, ns.
    pub deaths: Vec<(usize, u64, u64)>,
    /// How long processes are started, ns.
    pub arrive_ns: u64,
}

impl Trace {
    /// The trace of this seed.
    pub fn new(seed: u64, scene: Scene, size: Size) -> Trace {
        let mut random = Random::new(seed);
        match scene {
            Scene::Usual | Scene::Calm => stream(&mut random, size, scene == Scene::Usual),
            Scene::Crowd => crowd(size),
        }
    }
}

fn crowd(size: Size) -> Trace {
    let node = Node {
        processors: 1,
        speed: 1000,
        frames: 1 << 20,
        nature: Nature::Honest,
        owner: Vec::new(),
    };
    let processes = match size.processes {
        0 => 8 * size.nodes,
        some => some,
    };
    let job = Job {
        at_ns: SECOND,
        home: 0,
        work_ns: 60e9,
        frames: 1024,
        calls_per_s: 0,
    };
    Trace {
        nodes: vec![node; size.nodes],
        jobs: vec![job; processes],
        deaths: Vec::new(),
        arrive_ns: 30 * SECOND,
    }
}

fn node(random: &mut Random, until_ns: u64, usual: bool) -> Node {
    let processors = [1, 1, 1, 1, 1, 1, 1, 2, 2, 4][random.below(10) as usize];
    let mut nature = Nature::Honest;
    let mut owner = Vec::new();
    if usual {
        nature = match random.below(100) {
            0 | 1 => Nature::Slow,
            2 => Nature::Refuses,
            3 => Nature::Absurd,
            _ => Nature::Honest,
        };
        // Seconds that an owner works and is away; one in a hundred comes and goes all the time.
        let habit = match random.below(100) {
            0 => Some((3.0, 3.0)),
            1..50 => Some((100.0, 300.0)),
            _ => None,
        };
        if let Some((works_s, away_s)) = habit {
            let mut at = 0.0;
            if random.part() > works_s / (works_s + away_s) {
                at += random.exponential(away_s);
            }
            while at * 1e9 < until_ns as f64 {
                owner.push((at * 1e9) as u64);
                at += random.exponential(works_s).max(0.1);
                owner.push((at * 1e9) as u64);
                at += random.exponential(away_s).max(0.1);
            }
        }
    }
    Node {
        processors,
        speed: 700 + 100 * random.below(7) as u32,
        // 1 to 4 GiB for each processor.
        frames: u32::from(processors) << (18 + random.below(3)),
        nature,
        owner,
    }
}

fn stream(random: &mut Random, size: Size, usual: bool) -> Trace {
    let spread = logarithm(LONGEST) / (1.0 - 1.0 / LONGEST);
    // A first estimate of all processors is enough to choose the length of everything by.
    let processors = 1.5 * size.nodes as f64;
    let mut arrive_s = size.arrive_ns as f64 / 1e9;
    let mut shortest_s = SHORTEST_S;
    let processes = match (size.processes, size.arrive_ns) {
        (0, _) => {
            arrive_s = if arrive_s > 0.0 { arrive_s } else { 600.0 };
            ((OFFERED * processors * arrive_s / spread / shortest_s) as usize).max(1)
        }
        (processes, 0) => {
            arrive_s = processes as f64 * spread * shortest_s / (OFFERED * processors);
            processes
        }
        (processes, _) => {
            shortest_s = OFFERED * processors * arrive_s / spread / processes as f64;
            processes
        }
    };
    let arrive_ns = (arrive_s * 1e9) as u64;
    let until_ns = arrive_ns + (2.0 * LONGEST * shortest_s * 1e9) as u64;
    let nodes: Vec<Node> = (0..size.nodes)
        .map(|_| node(random, until_ns, usual))
        .collect();
    // On some nodes a hundred times as much is started as on others.
    let mut sum = 0.0;
    let weights: Vec<f64> = nodes
        .iter()
        .map(|_| {
            sum += random.pareto(1.0, 100.0);
            sum
        })
        .collect();
    let gap_s = arrive_s / processes as f64;
    let mut at_s = 0.0;
    let mut jobs = Vec::with_capacity(processes);
    for _ in 0..processes {
        at_s += random.exponential(gap_s);
        let place = random.part() * sum;
        let home = weights.partition_point(|weight| *weight <= place);
        // Most compute; a third asks home now and then, some all the time.
        let calls_per_s = match random.below(10) {
            0..6 => 0,
            6..9 => random.between(1, 200) as u32,
            _ => random.between(200, 10_000) as u32,
        };
        jobs.push(Job {
            at_ns: (at_s * 1e9) as u64,
            home: home.min(size.nodes - 1),
            work_ns: random.pareto(shortest_s, shortest_s * LONGEST) * 1e9,
            // 1 MiB to 512 MiB.
            frames: random.pareto(256.0, 131_072.0) as u32,
            calls_per_s,
        });
    }
    let deaths = if usual { size.deaths } else { 0 };
    Trace {
        nodes,
        jobs,
        deaths: deaths_of(random, size.nodes, deaths, arrive_ns),
        arrive_ns,
    }
}

/// Nobody dies twice; somebody always lives.
fn deaths_of(
    random: &mut Random,
    nodes: usize,
    count: usize,
    arrive_ns: u64,
) -> Vec<(usize, u64, u64)> {
    let mut deaths: Vec<(usize, u64, u64)> = Vec::new();
    while deaths.len() < count.min(nodes / 4) {
        let node = random.below(nodes as u64) as usize;
        if deaths.iter().all(|death| death.0 != node) {
            let at = random.below(arrive_ns.max(1));
            deaths.push((node, at, at + REBOOT_NS));
        }
    }
    deaths
}
