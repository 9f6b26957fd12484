//! Tests of what processes are to each other: parents, groups, sessions, times.
//!
//! Law: as in `hostile_tests`, whose cluster this uses: a program is the calls that the test makes.

use crate::home::{INIT, Life};
use crate::hostile_tests::Cluster;

const FORK: u64 = 57;
const KILL: u64 = 62;
const SETPGID: u64 = 109;
const SETSID: u64 = 112;
const EXIT_GROUP: u64 = 231;
const SIGHUP: u32 = 1;
const SIGSTOP: u64 = 19;

/// A stopped job on a node, and the shell that could continue it.
fn stopped_job(cluster: &mut Cluster, node: u16) -> (u32, u32) {
    let shell = cluster.fork(0);
    cluster.call(0, shell, SETSID, &[]);
    let job = cluster.call(0, shell, FORK, &[]) as u32;
    cluster.call(0, job, SETPGID, &[0, 0]);
    if node != 1 {
        cluster.move_to(job, node);
    }
    let at = usize::from(node) - 1;
    cluster.begin_call(at, job, KILL, &[job.into(), SIGSTOP]);
    cluster.settle();
    let life = cluster.nodes[0].homes[&job].life;
    assert!(matches!(life, Life::Stopped { .. }), "{life:?}");
    (shell, job)
}

#[test]
fn a_stopped_group_whose_shell_ends_is_hung_up() {
    for node in [1, 2] {
        let mut cluster = Cluster::new(2);
        let (shell, job) = stopped_job(&mut cluster, node);
        cluster.begin_call(0, shell, EXIT_GROUP, &[0]);
        cluster.settle();
        let life = cluster.nodes[0].homes.get(&job).map(|home| home.life);
        assert_eq!(life, Some(Life::Zombie(SIGHUP)), "on node {node}");
    }
}

#[test]
fn every_node_has_its_own_first_process_of_number_one() {
    const GETPPID: u64 = 110;
    let mut cluster = Cluster::new(2);
    for node in [0, 1] {
        let child = cluster.fork(node);
        assert_eq!(cluster.call(node, child, GETPPID, &[]), INIT.into());
        let there = 2 - node;
        cluster.move_to(child, there as u16);
        let grandchild = cluster.call(1 - node, child, FORK, &[]) as u32;
        // It asks its home, where the other node's first process is not seen.
        assert_eq!(cluster.call(1 - node, child, GETPPID, &[]), INIT.into());
        assert_eq!(cluster.call(1 - node, child, KILL, &[INIT.into(), 9]), 0);
        cluster.begin_call(1 - node, child, EXIT_GROUP, &[0]);
        cluster.settle();
        assert_eq!(cluster.nodes[node].homes[&grandchild].parent, INIT);
        assert!(cluster.nodes[0].homes[&INIT].lives() && cluster.nodes[1].homes[&INIT].lives());
    }
}
