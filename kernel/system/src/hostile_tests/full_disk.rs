//! A home whose disk has no room for all of its processes that are away.
//!
//! Law: what does not fit costs nobody else anything, is said, and is tried again when there is room: a process that is not on
//! the disk lives as one does whose home has none, and ends with its home.

use super::{Cluster, DATA};
use crate::home::INIT;

const GETPPID: u64 = 110;
const SETGROUPS: u64 = 116;
const EXIT: u64 = 231;
/// So many make a record of a third of what the disk takes and more.
const GROUPS: u64 = 12_000;
/// The smallest disk, bytes.
const SMALL: usize = 2 * journal::AREA_MIN as usize * journal::SECTOR;

/// Three guests of node 2 from node 1, whose disk has room for two; and the one that does not fit.
fn crowd() -> (Cluster, Vec<u32>, u32) {
    let mut cluster = Cluster::with_a_disk_of(2, SMALL);
    let mut pids = Vec::new();
    for _ in 0..3 {
        let pid = cluster.fork(0);
        cluster.move_to(pid, 2);
        assert_eq!(cluster.call(1, pid, SETGROUPS, &[GROUPS, DATA]), 0);
        pids.push(pid);
    }
    let unkept = &cluster.nodes[0].keeper.unkept;
    assert_eq!(unkept.len(), 1, "two of them fit");
    let left = *unkept.first().expect("one");
    pids.retain(|pid| *pid != left);
    (cluster, pids, left)
}

fn all_work(cluster: &mut Cluster, pids: &[u32]) {
    for pid in pids {
        assert_eq!(cluster.call(1, *pid, GETPPID, &[]), i64::from(INIT));
    }
}

#[test]
fn what_does_not_fit_ends_with_its_home_and_nothing_else_does() {
    let (mut cluster, pids, left) = crowd();
    all_work(&mut cluster, &pids);
    all_work(&mut cluster, &[left]);
    cluster.reboot(0);
    cluster.settle();
    cluster.settle();
    all_work(&mut cluster, &pids);
    assert!(!cluster.nodes[1].bodies.contains_key(&left));
    assert!(!cluster.nodes[0].homes.contains_key(&left));
    assert_eq!(cluster.nodes[0].power_off(), None, "the node goes on");
}

#[test]
fn when_there_is_room_again_it_is_kept() {
    let (mut cluster, pids, left) = crowd();
    cluster.begin_call(1, pids[0], EXIT, &[0]);
    cluster.settle();
    assert!(cluster.nodes[0].keeper.unkept.is_empty());
    cluster.reboot(0);
    cluster.settle();
    cluster.settle();
    all_work(&mut cluster, &[pids[1], left]);
}

#[test]
fn who_is_not_kept_moves_and_ends_as_ever() {
    let (mut cluster, pids, left) = crowd();
    cluster.move_to(left, 1);
    assert!(cluster.nodes[0].keeper.unkept.is_empty());
    assert_eq!(cluster.call(0, left, GETPPID, &[]), i64::from(INIT));
    cluster.move_to(left, 2);
    assert_eq!(cluster.nodes[0].keeper.unkept.len(), 1);
    cluster.begin_call(1, left, EXIT, &[0]);
    cluster.settle();
    assert!(cluster.nodes[0].keeper.unkept.is_empty());
    all_work(&mut cluster, &pids);
}
