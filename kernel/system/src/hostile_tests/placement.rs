//! Nodes that decide for themselves where processes run.

use super::{Cluster, TURN_NS};
use wire::{NodeId, Order};

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
    for order in [Order::Drain(true), Order::Owner(true)] {
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
            _ => Order::Owner(false),
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
