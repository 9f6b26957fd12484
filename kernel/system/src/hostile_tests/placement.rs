//! Nodes that decide for themselves where processes run.

use super::{Cluster, DATA, TURN_NS};
use crate::files::{ProcEntry, ProcView, ProcessFile};
use crate::home::{INIT, Life};
use crate::thread::Run;
use abi::signal::{SIGCONT, SIGSTOP};
use machine::Exit;
use wire::{NodeId, Order, Policy};

const FORK: u64 = 57;
const EXECVE: u64 = 59;
const PAUSE: u64 = 34;
const SETPGID: u64 = 109;

/// Lets all processes compute for so many turns.
fn compute(cluster: &mut Cluster, turns: usize) {
    for _ in 0..turns {
        for node in 0..cluster.nodes.len() {
            cluster.idle_round(node);
        }
        cluster.pass(TURN_NS);
    }
}

/// How many of these processes run on each node.
fn spread(cluster: &Cluster, pids: &[u32]) -> Vec<usize> {
    let on = |node: &crate::System| {
        pids.iter()
            .filter(|pid| node.bodies.contains_key(pid))
            .count()
    };
    cluster.nodes.iter().map(on).collect()
}

fn crowd(cluster: &mut Cluster, count: usize) -> Vec<u32> {
    (0..count).map(|_| cluster.fork(0)).collect()
}

#[test]
fn a_crowd_on_one_node_spreads_and_stays_so() {
    let mut cluster = Cluster::new(3);
    let pids = crowd(&mut cluster, 9);
    compute(&mut cluster, 150);
    assert_eq!(spread(&cluster, &pids), [9, 0, 0], "the policy is manual");
    cluster.nodes[0].set_policy("balance").expect("a policy");
    assert!(cluster.nodes[0].set_policy("balanced").is_err());
    compute(&mut cluster, 300);
    // The first process of each node runs as well, and stays.
    let spread_now = spread(&cluster, &pids);
    assert!(
        spread_now.iter().all(|count| (2..=4).contains(count)),
        "{spread_now:?}"
    );
    let moves = |cluster: &Cluster| -> u64 {
        let homes = pids
            .iter()
            .filter_map(|pid| cluster.nodes[0].homes.get(pid));
        homes.map(|home| home.move_count).sum()
    };
    let before = moves(&cluster);
    assert!(before <= 9, "{before} moves of nine processes");
    compute(&mut cluster, 600);
    assert_eq!(moves(&cluster), before, "nobody goes back and forth");
}

#[test]
fn guests_leave_a_node_that_is_drained_and_none_come() {
    for order in [Order::Drain(true), Order::Owner(Some(true))] {
        let mut cluster = Cluster::new(3);
        let pids = crowd(&mut cluster, 3);
        let native = cluster.fork(1);
        for pid in &pids {
            cluster.move_to(*pid, 2);
        }
        compute(&mut cluster, 100);
        cluster.nodes[0]
            .instruct(NodeId(2), order)
            .expect("it is known");
        compute(&mut cluster, 100);
        let now = spread(&cluster, &pids);
        assert_eq!((now[1], now.iter().sum()), (0, 3), "{now:?}");
        assert!(
            cluster.nodes[1].bodies.contains_key(&native),
            "it is at home"
        );
        cluster.start_move(pids[0], 2);
        compute(&mut cluster, 100);
        assert_eq!(spread(&cluster, &pids)[1], 0, "it takes no guests");
        // Its own may come back.
        cluster.move_to(native, 3);
        cluster.move_to(native, 2);
        let again = match order {
            Order::Drain(_) => Order::Drain(false),
            _ => Order::Owner(Some(false)),
        };
        cluster.nodes[1]
            .instruct(NodeId(2), again)
            .expect("it is itself");
        cluster.settle();
        cluster.move_to(pids[1], 2);
    }
    let mut cluster = Cluster::new(1);
    assert!(
        cluster.nodes[0]
            .instruct(NodeId(9), Order::Drain(true))
            .is_err()
    );
}

fn set_policy(cluster: &mut Cluster, pid: u32, policy: &[u8]) -> bool {
    let entry = ProcEntry::Process(pid, ProcessFile::Policy);
    ProcView::write(&mut cluster.nodes[0], entry, INIT, policy).is_ok()
}

#[test]
fn processes_with_a_policy_of_their_own_live_by_it() {
    let mut cluster = Cluster::new(3);
    let pids = crowd(&mut cluster, 9);
    assert!(!set_policy(&mut cluster, pids[0], b"balanced"));
    for pid in &pids[..6] {
        assert!(set_policy(&mut cluster, *pid, b"balance\n"));
    }
    compute(&mut cluster, 450);
    let (own, others) = (spread(&cluster, &pids[..6]), spread(&cluster, &pids[6..]));
    assert_eq!(others, [3, 0, 0], "the cluster's policy is manual");
    assert!(own[1] >= 2 && own[2] >= 2, "{own:?}");
    // It travels, children have it, and it changes wherever the process is.
    let gone = *pids[..6]
        .iter()
        .find(|pid| cluster.nodes[1].bodies.contains_key(pid))
        .expect("one of them");
    assert_eq!(cluster.nodes[1].bodies[&gone].policy, Some(Policy::Balance));
    let child = cluster.call(1, gone, FORK, &[]) as u32;
    assert_eq!(cluster.nodes[0].homes[&child].policy, Some(Policy::Balance));
    assert!(set_policy(&mut cluster, gone, b"manual"));
    assert!(set_policy(&mut cluster, child, b"default"));
    cluster.settle();
    compute(&mut cluster, 2);
    assert_eq!(cluster.nodes[1].bodies[&gone].policy, Some(Policy::Manual));
    assert_eq!(cluster.nodes[1].bodies[&child].policy, None);
    let why = ProcEntry::Process(gone, ProcessFile::Placement);
    let told = cluster.text(why).expect("it lives");
    assert!(told.starts_with("policy\tmanual (its own)\n"), "{told}");
}

#[test]
fn programs_start_where_a_processor_is_free() {
    for own in [false, true] {
        let mut cluster = Cluster::new(3);
        let busy = crowd(&mut cluster, 2);
        let starter = cluster.fork(0);
        for node in 0..3 {
            cluster.begin_call(node, INIT, PAUSE, &[]);
        }
        compute(&mut cluster, 150);
        if own {
            assert!(set_policy(&mut cluster, starter, b"balance"));
        } else {
            cluster.nodes[0].set_policy("exec").expect("a policy");
        }
        assert_eq!(spread(&cluster, &busy), [2, 0, 0], "nothing has started");
        cluster.poke(0, starter, DATA, b"/init\0");
        cluster.begin_call(0, starter, EXECVE, &[DATA, 0, 0]);
        cluster.settle();
        let now = spread(&cluster, &[starter]);
        assert_eq!(now[0], 0, "it began elsewhere: {now:?}");
        compute(&mut cluster, 300);
        assert_eq!(spread(&cluster, &[starter]), now, "and stays there");
        assert_eq!(spread(&cluster, &busy), [2, 0, 0], "as does everybody");
    }
}

#[test]
fn a_node_with_more_to_do_than_it_had_told_takes_nobody_who_would_not_have_come_then() {
    let mut cluster = Cluster::new(2);
    let busy = crowd(&mut cluster, 2);
    let starters = [cluster.fork(0), cluster.fork(0)];
    let start = |cluster: &mut Cluster, starter: u32| {
        assert!(set_policy(cluster, starter, b"balance"));
        cluster.poke(0, starter, DATA, b"/init\0");
        cluster.begin_call(0, starter, EXECVE, &[DATA, 0, 0]);
        cluster.settle();
        assert!(set_policy(cluster, starter, b"manual"));
        spread(cluster, &[starter])
    };
    let own = [cluster.fork(1), cluster.fork(1)];
    let tell = |cluster: &mut Cluster, signal| {
        for pid in own {
            cluster.nodes[1].signal(pid, signal);
        }
        cluster.settle();
    };
    tell(&mut cluster, SIGSTOP);
    for node in 0..2 {
        cluster.begin_call(node, INIT, PAUSE, &[]);
    }
    compute(&mut cluster, 150);
    // By what it has told the other node is idle.
    tell(&mut cluster, SIGCONT);
    assert_eq!(start(&mut cluster, starters[0]), [1, 0], "it was refused");
    tell(&mut cluster, SIGSTOP);
    compute(&mut cluster, 150);
    assert_eq!(spread(&cluster, &busy), [2, 0], "nobody else starts");
    // The refusal is not held against it once it has told something newer.
    assert_eq!(start(&mut cluster, starters[1]), [0, 1]);
}

#[test]
fn who_types_is_the_owner_of_the_node_if_its_policy_says_so() {
    for (policy, leaves) in [("balance", false), ("exec", true), ("scavenge", true)] {
        let mut cluster = Cluster::new(2);
        let guest = cluster.fork(0);
        cluster.move_to(guest, 2);
        cluster.nodes[0].set_policy(policy).expect("a policy");
        compute(&mut cluster, 60);
        assert_eq!(spread(&cluster, &[guest]), [0, 1], "{policy}");
        cluster.nodes[1].typed(b'x');
        cluster.settle();
        assert_eq!(spread(&cluster, &[guest])[0] == 1, leaves, "{policy}");
        let order = Order::Owner(Some(false));
        cluster.nodes[1].instruct(NodeId(2), order).expect("itself");
        cluster.move_to(guest, 1);
        cluster.move_to(guest, 2);
    }
}

#[test]
fn a_job_waits_for_its_owner_to_leave_or_for_an_idle_node() {
    let mut cluster = Cluster::new(2);
    let pids = crowd(&mut cluster, 2);
    let busy = [cluster.fork(1), cluster.fork(1)];
    cluster.begin_call(1, INIT, PAUSE, &[]);
    let [job, other] = [pids[0], pids[1]];
    assert!(set_policy(&mut cluster, job, b"scavenge"));
    assert_eq!(cluster.call(0, job, SETPGID, &[0, 0]), 0);
    let owner = |cluster: &mut Cluster, present| {
        let order = Order::Owner(Some(present));
        cluster.nodes[0].instruct(NodeId(1), order).expect("itself");
    };
    let used = |cluster: &Cluster, pid| {
        let node = &cluster.nodes[usize::from(!cluster.nodes[0].bodies.contains_key(&pid))];
        node.bodies[&pid].cpu.user_ns
    };
    compute(&mut cluster, 150);
    owner(&mut cluster, true);
    compute(&mut cluster, 150);
    let before = (used(&cluster, job), used(&cluster, other));
    compute(&mut cluster, 150);
    assert_eq!(spread(&cluster, &[job]), [1, 0]);
    assert_eq!(used(&cluster, job), before.0, "it stands still");
    assert!(used(&cluster, other) > before.1, "the owner's own goes on");
    let why = ProcEntry::Process(job, ProcessFile::Placement);
    let why = cluster.text(why).expect("it lives");
    assert!(why.contains("decision\tqueued: "), "{why}");
    // Its owner leaves, and comes back.
    owner(&mut cluster, false);
    compute(&mut cluster, 150);
    let again = used(&cluster, job);
    assert!(again > before.0, "it goes on");
    owner(&mut cluster, true);
    compute(&mut cluster, 150);
    assert!(cluster.nodes[0].bodies[&job].queued);
    // A node becomes idle.
    for pid in busy {
        cluster.nodes[1].signal(pid, 9);
    }
    compute(&mut cluster, 300);
    assert_eq!(spread(&cluster, &[job, other]), [1, 1]);
    assert!(used(&cluster, job) > again, "it computes there");
    // Home again and queued, it can be killed.
    let order = Order::Owner(Some(true));
    cluster.nodes[1].instruct(NodeId(2), order).expect("itself");
    compute(&mut cluster, 300);
    assert!(cluster.nodes[0].bodies[&job].queued);
    cluster.nodes[0].signal(job, 9);
    compute(&mut cluster, 10);
    assert!(!cluster.nodes[0].bodies.contains_key(&job));
}

#[test]
fn a_job_whose_way_out_has_closed_stands_still_and_goes_as_soon_as_it_is_open() {
    let mut cluster = Cluster::new(2);
    let job = cluster.fork(0);
    for node in 0..2 {
        cluster.begin_call(node, INIT, PAUSE, &[]);
    }
    assert!(set_policy(&mut cluster, job, b"scavenge"));
    assert_eq!(cluster.call(0, job, SETPGID, &[0, 0]), 0);
    let owner = |cluster: &mut Cluster, node: usize, present| {
        let id = NodeId(node as u16 + 1);
        let order = Order::Owner(Some(present));
        cluster.nodes[node].instruct(id, order).expect("itself");
    };
    compute(&mut cluster, 300);
    for _ in 0..4 {
        // By what the other node has told it is open.
        owner(&mut cluster, 1, true);
        owner(&mut cluster, 0, true);
        compute(&mut cluster, 300);
        assert_eq!(spread(&cluster, &[job]), [1, 0]);
        assert!(cluster.nodes[0].bodies[&job].queued, "its owner is here");
        owner(&mut cluster, 1, false);
        compute(&mut cluster, 500);
        let why = ProcEntry::Process(job, ProcessFile::Placement);
        let why = cluster.text(why).expect("it lives");
        let told = cluster.nodes[0].load_columns(NodeId(2));
        assert_eq!(spread(&cluster, &[job]), [0, 1], "{why} {told}");
        owner(&mut cluster, 0, false);
        cluster.move_to(job, 1);
        compute(&mut cluster, 300);
    }
    // What a user has asked for in vain is not held against the process.
    owner(&mut cluster, 1, true);
    compute(&mut cluster, 300);
    cluster.start_move(job, 2);
    compute(&mut cluster, 300);
    owner(&mut cluster, 0, true);
    owner(&mut cluster, 1, false);
    compute(&mut cluster, 300);
    assert_eq!(spread(&cluster, &[job]), [0, 1]);
}

#[test]
fn a_node_that_boots_later_hears_of_the_policy() {
    let mut cluster = Cluster::new(3);
    cluster.nodes[0].set_policy("balance").expect("a policy");
    cluster.settle();
    cluster.reboot(2);
    cluster.settle();
    assert_eq!(cluster.nodes[2].placement.policy(), Policy::Balance);
}

/// Touches a page that its process has not.
fn touch(cluster: &mut Cluster, pid: u32, address: u64) {
    cluster.run(0, pid, |_| Exit::PageFault {
        address,
        write: true,
        execute: false,
        protection: false,
    });
}

#[test]
fn who_finds_no_memory_waits_while_others_may_leave() {
    for policy in ["manual", "balance"] {
        let mut cluster = Cluster::new(1);
        cluster.nodes[0].set_policy(policy).expect("a policy");
        cluster.settle();
        let pid = cluster.fork(0);
        let total = machine::frame_counts().total;
        machine::fake::set_total_frames(0);
        touch(&mut cluster, pid, DATA + 0x3000);
        let waits = policy != "manual";
        assert_eq!(cluster.nodes[0].bodies.contains_key(&pid), waits);
        if !waits {
            machine::fake::set_total_frames(total);
            continue;
        }
        let life = |cluster: &Cluster| cluster.nodes[0].homes[&pid].life;
        assert_eq!(life(&cluster), Life::Alive);
        machine::fake::set_total_frames(total);
        cluster.pass(20_000_000);
        touch(&mut cluster, pid, DATA + 0x3000);
        assert_eq!(life(&cluster), Life::Alive);
        // Not for ever.
        machine::fake::set_total_frames(0);
        for _ in 0..2000 {
            if !cluster.nodes[0].bodies.contains_key(&pid) {
                break;
            }
            let state = cluster.nodes[0].threads.get(&pid).map(|thread| thread.run);
            if state == Some(Run::Ready) {
                touch(&mut cluster, pid, DATA + 0x5000);
            }
            cluster.pass(10_000_000);
        }
        assert_ne!(life(&cluster), Life::Alive);
        machine::fake::set_total_frames(total);
    }
}
