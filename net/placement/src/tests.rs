//! What is advised in small cases, and what comes of it in a cluster where all decide.

use super::*;
use std::string::ToString;
use std::{vec, vec::Vec};

const SECOND: u64 = 1_000_000_000;

fn load(runnable_milli: u32) -> Load {
    Load {
        runnable_milli,
        processors: 1,
        speed: 1000,
        frames_total: 100_000,
        frames_free: 80_000,
        frames_reserved: 0,
        guests: 0,
        owner_present: false,
        draining: false,
        accepts_guests: true,
    }
}

fn here(load: Load) -> Here {
    Here {
        load,
        policy: Policy::Balance,
        bytes_per_s: 100_000_000,
        salt: 1,
    }
}

fn there(node: u16, load: Load) -> There {
    There {
        node: NodeId(node),
        load,
        coming: 0,
        coming_frames: 0,
        rtt_ns: 200_000,
    }
}

fn worker(pid: u32) -> Candidate {
    Candidate {
        pid,
        home: NodeId(1),
        at_home: true,
        demand_milli: 1000,
        cpu_ns: 10 * SECOND,
        here_ns: 10 * SECOND,
        frames: 250,
        calls_per_s: 0,
        is_job: false,
    }
}

fn ask(here: &Here, others: &[There], candidates: &[Candidate]) -> Result<Move, Stay> {
    decide(here, others.iter().copied(), candidates.iter().copied())
}

#[test]
fn a_crowd_sends_somebody_to_the_idle_node() {
    let others = [there(2, load(3000)), there(3, load(0))];
    let advice = ask(&here(load(4000)), &others, &[worker(7)]).expect("a move");
    assert_eq!((advice.pid, advice.target), (7, NodeId(3)));
    let Reason::Faster { here_ns, there_ns } = advice.reason else {
        panic!("{:?}", advice.reason);
    };
    assert_eq!(here_ns, 40 * SECOND);
    assert!((10 * SECOND..11 * SECOND).contains(&there_ns));
    assert_eq!(
        advice.reason.to_string(),
        "through in 10010 ms there, 40000 ms here"
    );
}

#[test]
fn nobody_goes_who_gains_nothing() {
    let idle = [there(2, load(0))];
    // One that has the processor for itself.
    assert_eq!(
        ask(&here(load(1000)), &idle, &[worker(7)]),
        Err(Stay::GoodHere)
    );
    // A difference of one goes back and forth.
    let even = [there(2, load(3000))];
    assert_eq!(
        ask(&here(load(4000)), &even, &[worker(7)]),
        Err(Stay::GoodHere)
    );
    // What is on its way there counts.
    let mut busy = idle;
    busy[0].coming = 3;
    assert_eq!(
        ask(&here(load(4000)), &busy, &[worker(7)]),
        Err(Stay::GoodHere)
    );
}

#[test]
fn the_way_and_the_calls_cost() {
    let idle = [there(2, load(0))];
    let crowded = here(load(2000));
    assert!(ask(&crowded, &idle, &[worker(7)]).is_ok());
    let large = Candidate {
        frames: 60_000,
        cpu_ns: SECOND,
        ..worker(7)
    };
    assert_eq!(ask(&crowded, &idle, &[large]), Err(Stay::GoodHere));
    let talks = Candidate {
        calls_per_s: 5000,
        ..worker(7)
    };
    assert_eq!(ask(&crowded, &idle, &[talks]), Err(Stay::GoodHere));
    assert_eq!(
        ask(&crowded, &idle, &[large, talks, worker(9)])
            .expect("a move")
            .pid,
        9
    );
    // Two calls a millisecond cost a guest at its home nothing any more.
    let guest = Candidate {
        home: NodeId(2),
        at_home: false,
        ..talks
    };
    assert!(ask(&here(load(1500)), &idle, &[guest]).is_ok());
}

#[test]
fn who_has_just_begun_or_just_come_is_left_alone() {
    let idle = [there(2, load(0))];
    let young = Candidate {
        cpu_ns: SECOND / 20,
        ..worker(7)
    };
    let arrived = Candidate {
        at_home: false,
        here_ns: SECOND,
        ..worker(8)
    };
    let crowded = here(load(8000));
    assert_eq!(ask(&crowded, &idle, &[young]), Err(Stay::NoCandidate));
    assert_eq!(ask(&crowded, &idle, &[arrived]), Err(Stay::NoCandidate));
    let asleep = Candidate {
        demand_milli: 0,
        ..worker(9)
    };
    assert_eq!(ask(&crowded, &idle, &[asleep]), Err(Stay::NoCandidate));
    let mut short = crowded;
    short.load.frames_free = short.load.frames_total / 20;
    let advice = ask(&short, &idle, &[asleep]).expect("memory is short");
    assert!(matches!(advice.reason, Reason::Memory { .. }));
    // Where sixty-four take turns nobody gets older, but waits.
    assert!(ask(&here(load(64_000)), &idle, &[young]).is_ok());
    assert_eq!(ask(&crowded, &[], &[worker(7)]), Err(Stay::NoTarget));
    let manual = Here {
        policy: Policy::Manual,
        ..crowded
    };
    assert_eq!(ask(&manual, &idle, &[worker(7)]), Err(Stay::Manual));
}

#[test]
fn memory_that_runs_out_moves_the_largest_to_where_there_is_most() {
    let scarce = Load {
        frames_free: 5000,
        ..load(1000)
    };
    let small = Load {
        frames_free: 20_000,
        ..load(0)
    };
    let others = [there(2, small), there(3, load(5000))];
    let large = Candidate {
        frames: 40_000,
        ..worker(8)
    };
    let advice = ask(&here(scarce), &others, &[worker(7), large]).expect("a move");
    assert_eq!((advice.pid, advice.target), (8, NodeId(3)));
    assert_eq!(advice.reason, Reason::Memory { free: 5000 });
    // A node keeps an eighth for itself, and room that is promised is not promised again.
    let mut full = others;
    full[1].coming_frames = 30_000;
    let advice = ask(&here(scarce), &full, &[large]);
    assert_ne!(advice.map(|advice| advice.target), Ok(NodeId(3)));
}

#[test]
fn guests_leave_a_node_that_is_drained_or_whose_owner_is_back_even_for_home() {
    let guest = Candidate {
        home: NodeId(4),
        at_home: false,
        here_ns: 0,
        cpu_ns: 0,
        ..worker(7)
    };
    let drained = Load {
        draining: true,
        ..load(500)
    };
    let manual = Here {
        policy: Policy::Manual,
        ..here(drained)
    };
    let closed = Load {
        owner_present: true,
        ..load(0)
    };
    let others = [there(2, closed), there(3, load(200)), there(4, load(9000))];
    let advice = ask(&manual, &others, &[worker(6), guest]).expect("a move");
    assert_eq!((advice.pid, advice.target), (7, NodeId(3)));
    assert_eq!(advice.reason, Reason::Drained);
    // Nobody takes it: home has to.
    let advice = ask(&manual, &others[..1], &[guest]).expect("a move");
    assert_eq!(advice.target, NodeId(4));
    assert_eq!(ask(&manual, &others, &[worker(6)]), Err(Stay::Manual));
}

#[test]
fn scavenge_takes_nothing_but_idle_nodes_and_home() {
    let scavenge = |load| Here {
        policy: Policy::Scavenge,
        ..here(load)
    };
    let shared = [there(2, load(1000)), there(3, load(400))];
    let crowded = scavenge(load(8000));
    assert_eq!(ask(&crowded, &shared, &[worker(7)]), Err(Stay::NoTarget));
    assert!(ask(&here(load(8000)), &shared, &[worker(7)]).is_ok());
    let present = Load {
        owner_present: true,
        ..load(0)
    };
    let others = [shared[0], there(3, present), there(4, load(0))];
    let advice = ask(&crowded, &others, &[worker(7)]).expect("a move");
    assert_eq!(advice.target, NodeId(4));
    // The owner is back: on to the next idle node, and without one home.
    let guest = Candidate {
        home: NodeId(2),
        at_home: false,
        here_ns: 0,
        ..worker(7)
    };
    let advice = ask(&scavenge(present), &others, &[guest]).expect("a move");
    assert_eq!(advice.target, NodeId(4));
    let advice = ask(&scavenge(present), &others[..2], &[guest]).expect("a move");
    assert_eq!(
        (advice.target, advice.reason),
        (NodeId(2), Reason::OwnerIsBack)
    );
}

#[test]
fn a_job_at_home_leaves_its_owner_or_is_queued() {
    let present = Load {
        owner_present: true,
        ..load(1000)
    };
    let at = |load| Here {
        policy: Policy::Scavenge,
        ..here(load)
    };
    let job = Candidate {
        is_job: true,
        ..worker(7)
    };
    let others = [there(2, load(1000)), there(3, load(0))];
    let advice = ask(&at(present), &others, &[worker(6), job]).expect("a move");
    assert_eq!(
        (advice.pid, advice.target, advice.reason),
        (7, NodeId(3), Reason::OwnerIsBack)
    );
    let queued = |here: &Here, others: &[There], one: &Candidate| {
        is_queued(here, others.iter().copied(), one)
    };
    assert!(
        !queued(&at(present), &others, &job),
        "it has somewhere to go"
    );
    assert!(queued(&at(present), &others[..1], &job));
    assert!(ask(&at(present), &others[..1], &[job]).is_err());
    assert!(!queued(&at(load(9000)), &others[..1], &job), "nobody minds");
    assert!(
        !queued(&at(present), &others[..1], &worker(7)),
        "the owner's"
    );
    let balance = Here {
        policy: Policy::Balance,
        ..at(present)
    };
    assert!(!queued(&balance, &others[..1], &job));
}

#[test]
fn exec_moves_nobody_but_home() {
    let exec = |load| Here {
        policy: Policy::Exec,
        ..here(load)
    };
    let idle = [there(2, load(0)), there(3, load(0))];
    assert_eq!(
        ask(&exec(load(8000)), &idle, &[worker(7)]),
        Err(Stay::AtStart)
    );
    let present = Load {
        owner_present: true,
        ..load(0)
    };
    let guest = Candidate {
        home: NodeId(3),
        at_home: false,
        ..worker(7)
    };
    let advice = ask(&exec(present), &idle, &[guest]).expect("a move");
    assert_eq!(
        (advice.target, advice.reason),
        (NodeId(3), Reason::OwnerIsBack)
    );
}

const PROGRAM: Start = Start {
    home: NodeId(1),
    at_home: true,
    frames: 500,
};

fn start(here: &Here, others: &[There], draw: u64) -> Result<NodeId, Stay> {
    let (node, terms) = place(here, others.iter().copied(), &PROGRAM, draw)?;
    let wanted = match here.policy {
        Policy::Exec => Terms::Anyhow,
        _ => Terms::Idle { demand_milli: 1000 },
    };
    assert_eq!(terms, wanted);
    Ok(node)
}

#[test]
fn programs_start_on_idle_nodes_and_otherwise_here() {
    let exec = |load| Here {
        policy: Policy::Exec,
        ..here(load)
    };
    let closed = Load {
        owner_present: true,
        ..load(0)
    };
    let full = Load {
        frames_free: 500,
        ..load(0)
    };
    let others = [
        there(2, load(900)),
        there(3, closed),
        there(4, full),
        there(5, load(0)),
    ];
    let busy = exec(load(1000));
    assert!((0..100).all(|draw| start(&busy, &others, draw) == Ok(NodeId(5))));
    // A processor is free here, nobody is idle, nobody is known, only users decide.
    assert_eq!(start(&exec(load(0)), &others, 1), Err(Stay::GoodHere));
    assert_eq!(start(&busy, &others[..1], 1), Err(Stay::GoodHere));
    assert_eq!(start(&busy, &others[1..3], 1), Err(Stay::NoTarget));
    let manual = Here {
        policy: Policy::Manual,
        ..busy
    };
    assert_eq!(start(&manual, &others, 1), Err(Stay::Manual));
    // What was sent there counts, and a slow node is worse than half of this one.
    let mut sent = others;
    sent[3].coming = 1;
    assert_eq!(start(&busy, &sent, 1), Err(Stay::GoodHere));
    sent[3] = there(
        5,
        Load {
            speed: 400,
            ..load(0)
        },
    );
    assert_eq!(start(&busy, &sent, 1), Err(Stay::GoodHere));
}

#[test]
fn a_guest_does_not_start_another_program_where_the_owner_is_back() {
    let present = Load {
        owner_present: true,
        ..load(0)
    };
    let guest = Start {
        home: NodeId(4),
        at_home: false,
        ..PROGRAM
    };
    let others = [there(3, load(0)), there(4, load(5000))];
    for policy in Policy::ALL {
        let me = Here {
            policy,
            ..here(present)
        };
        let from = |others: &[There]| place(&me, others.iter().copied(), &guest, 3);
        assert_eq!(from(&others), Ok((NodeId(3), Terms::Anyhow)));
        assert_eq!(from(&others[1..]), Ok((NodeId(4), Terms::Anyhow)));
    }
}

#[test]
fn terms_are_met_by_the_target_as_it_is_now() {
    let others = [there(2, load(0))];
    let advice = ask(&here(load(3000)), &others, &[worker(7)]).expect("a move");
    let Terms::Faster { demand_milli, .. } = advice.terms else {
        panic!("{advice:?}");
    };
    assert_eq!(demand_milli, 1000);
    // It was believed to be idle. The third one there is as crowded as the three here.
    let met = |wanted_milli| are_met(&advice.terms, &load(0), 0, wanted_milli);
    assert!(met(0) && met(1000) && met(1500));
    assert!(!met(1501) && !met(2000) && !met(u64::MAX));
    let dual = Load {
        processors: 2,
        ..load(0)
    };
    assert!(are_met(&advice.terms, &dual, 0, 4000) && !are_met(&advice.terms, &dual, 0, 5000));
    let idle = Terms::Idle { demand_milli: 1000 };
    assert!(are_met(&idle, &load(0), 300, 9000) && !are_met(&idle, &load(0), 1000, 0));
    assert!(are_met(&idle, &dual, 1000, 0) && !are_met(&idle, &dual, 2000, 0));
    assert!(are_met(&Terms::Anyhow, &load(0), u64::MAX, u64::MAX));
    // What a liar says of itself decides nothing else, and no figure is too large.
    for stretch in [0, u64::MAX] {
        let demand_milli = u32::MAX;
        let absurd = Terms::Faster {
            demand_milli,
            stretch,
        };
        assert_eq!(are_met(&absurd, &load(0), 0, 0), stretch != 0);
    }
    let scavenger = Here {
        policy: Policy::Scavenge,
        ..here(load(3000))
    };
    let advice = ask(&scavenger, &others, &[worker(7)]).expect("a move");
    assert_eq!(advice.terms, idle);
}

#[test]
fn an_absurd_speed_is_not_believed() {
    let absurd = Load {
        speed: 10_000_000,
        ..load(16_000)
    };
    let others = [there(2, absurd), there(3, load(0))];
    let advice = ask(&here(load(8000)), &others, &[worker(7)]).expect("a move");
    assert_eq!(advice.target, NodeId(3));
}

#[test]
fn starters_at_the_same_moment_spread() {
    let slow = |node| Load {
        speed: if node % 2 == 0 { 1000 } else { 700 },
        ..load(0)
    };
    let idle: Vec<There> = (2..102).map(|node| there(node, slow(node))).collect();
    let exec = Here {
        policy: Policy::Exec,
        ..here(load(3000))
    };
    let mut starts = vec![0; 102];
    for draw in 0..100 {
        let node = start(&exec, &idle, draw * 0x1234_5678).expect("a node");
        starts[usize::from(node.0)] += 1;
    }
    assert!(starts.iter().all(|count| *count <= 8), "{starts:?}");
    let fast: u64 = starts.iter().step_by(2).sum();
    assert!((60..=90).contains(&fast), "{fast} on the faster half");
}

/// Nodes that decide in turn, each by what all have told at the period's beginning.
struct Cluster {
    /// Where each process is, and since which period; all are of one kind.
    places: Vec<(usize, u64)>,
    now: u64,
    moved: usize,
}

impl Cluster {
    fn loads(&self, nodes: usize) -> Vec<u32> {
        let mut loads = vec![0; nodes];
        for (place, _) in &self.places {
            loads[*place] += 1000;
        }
        loads
    }

    /// All are born on the first so many nodes.
    fn born_on(nodes: usize, count: usize) -> Cluster {
        Cluster {
            places: (0..count).map(|process| (process % nodes, 0)).collect(),
            now: 0,
            moved: 0,
        }
    }

    fn period(&mut self, nodes: usize, bound: usize) {
        self.now += 1;
        let told = self.loads(nodes);
        for node in 0..nodes {
            let mut coming = vec![0; nodes];
            for left in 0..bound {
                // Of who has just come it knows no more than others do.
                let now = told[node].saturating_sub(1000 * left as u32);
                let others = (0..nodes)
                    .filter(|other| *other != node)
                    .map(|other| There {
                        coming: coming[other],
                        ..there(other as u16 + 1, load(told[other]))
                    });
                let mine = self.places.iter().enumerate();
                let mine = mine.filter(|(_, (place, _))| *place == node);
                let candidates = mine.map(|(pid, (_, since))| Candidate {
                    at_home: *since == 0,
                    here_ns: (self.now - since) * SECOND,
                    ..worker(pid as u32)
                });
                let me = Here {
                    salt: node as u64,
                    ..here(load(now))
                };
                let Ok(advice) = decide(&me, others, candidates) else {
                    break;
                };
                let target = usize::from(advice.target.0) - 1;
                coming[target] += 1;
                self.places[advice.pid as usize] = (target, self.now);
                self.moved += 1;
            }
        }
    }
}

#[test]
fn all_born_on_one_node_are_balanced_within_four_periods() {
    for nodes in [2, 3, 8, 16] {
        let count = 8 * nodes;
        let mut cluster = Cluster::born_on(1, count);
        (0..4).for_each(|_| cluster.period(nodes, count / 3 + 1));
        let loads = cluster.loads(nodes);
        let most = loads.iter().max().expect("there are nodes");
        assert!(*most <= 8800, "{nodes} nodes: {loads:?}");
        assert!(
            cluster.moved * 100 <= count * 105,
            "{} moves",
            cluster.moved
        );
        let before = cluster.moved;
        (0..20).for_each(|_| cluster.period(nodes, count));
        assert_eq!(cluster.moved, before, "nobody goes back and forth");
    }
}

#[test]
fn many_crowded_nodes_do_not_all_choose_the_same() {
    // Half of the nodes have eight each, the others none.
    let mut cluster = Cluster::born_on(8, 64);
    (0..6).for_each(|_| cluster.period(16, 4));
    let loads = cluster.loads(16);
    assert!(loads.iter().all(|load| *load <= 6000), "{loads:?}");
    let before = cluster.moved;
    (0..20).for_each(|_| cluster.period(16, 4));
    assert!(
        cluster.moved - before <= 8,
        "{} more moves",
        cluster.moved - before
    );
    assert!(cluster.moved <= 80, "{} moves", cluster.moved);
}

#[test]
fn absurd_figures_do_no_harm() {
    let most = Load {
        runnable_milli: u32::MAX,
        processors: 0,
        speed: 0,
        frames_total: u32::MAX,
        frames_free: u32::MAX,
        frames_reserved: u32::MAX,
        guests: u16::MAX,
        ..load(0)
    };
    let absurd = Candidate {
        demand_milli: u32::MAX,
        cpu_ns: u64::MAX,
        here_ns: u64::MAX,
        frames: u32::MAX,
        calls_per_s: u32::MAX,
        ..worker(7)
    };
    let other = There {
        coming: u32::MAX,
        coming_frames: u32::MAX,
        rtt_ns: u64::MAX,
        ..there(2, most)
    };
    for here_load in [load(0), most] {
        let me = Here {
            bytes_per_s: 0,
            ..here(here_load)
        };
        for there in [other, there(2, load(0))] {
            let _ = ask(&me, &[there], &[absurd, worker(8)]);
            for policy in Policy::ALL {
                let _ = start(&Here { policy, ..me }, &[there], u64::MAX);
            }
        }
    }
}
