//! Policies of memory and places of pages, at home and away.
//!
//! Law: as in `hostile_tests`; what is expected is what Linux says on a machine with one memory node.

use super::{Cluster, DATA};
use abi::Errno;

const MBIND: u64 = 237;
const SET_MEMPOLICY: u64 = 238;
const GET_MEMPOLICY: u64 = 239;
const MIGRATE_PAGES: u64 = 256;
const MOVE_PAGES: u64 = 279;
const HOME_NODE: u64 = 450;
const PAGE: u64 = 0x1000;
/// Sets of nodes: none, 0, 1, both.
const SETS: u64 = DATA + 0x100;
const NONE: u64 = SETS;
const ZERO: u64 = SETS + 8;
const ONE: u64 = SETS + 16;
const BOTH: u64 = SETS + 24;
/// Where answers go.
const TOLD: u64 = DATA + 0x200;

fn no(error: Errno) -> i64 {
    -i64::from(error.0)
}

fn word(cluster: &mut Cluster, node: usize, pid: u32, at: u64) -> u64 {
    let bytes: Vec<u8> = (0..8)
        .map(|byte| cluster.byte(node, pid, at + byte))
        .collect();
    u64::from_le_bytes(bytes.try_into().expect("eight"))
}

/// What get_mempolicy(2) tells: mode and nodes.
fn policy(cluster: &mut Cluster, node: usize, pid: u32, at: u64) -> (u32, u64) {
    let flags = if at == 0 { 0 } else { 2 };
    let args = [TOLD, TOLD + 8, 64, at, flags];
    assert_eq!(cluster.call(node, pid, GET_MEMPOLICY, &args), 0);
    let mode = word(cluster, node, pid, TOLD) as u32;
    (mode, word(cluster, node, pid, TOLD + 8))
}

#[test]
fn policies_move_with_the_process_and_are_inherited() {
    const BOUND: u64 = DATA + 4 * PAGE;
    let mut cluster = Cluster::new(2);
    let pid = cluster.fork(0);
    for (set, nodes) in [(ZERO, 1), (ONE, 2), (BOTH, 3_u64)] {
        cluster.poke(0, pid, set, &nodes.to_le_bytes());
    }
    assert_eq!(policy(&mut cluster, 0, pid, 0), (0, 0));
    assert_eq!(cluster.call(0, pid, SET_MEMPOLICY, &[3, BOTH, 65]), 0);
    let statically = 2 | 1 << 15;
    let bind = [BOUND, PAGE, statically, BOTH, 65, 0];
    assert_eq!(cluster.call(0, pid, MBIND, &bind), 0);
    for (number, args, error) in [
        (SET_MEMPOLICY, &[2, ONE, 65][..], Errno::EINVAL),
        (SET_MEMPOLICY, &[2, ZERO, 0], Errno::EINVAL),
        (SET_MEMPOLICY, &[2, 1, 65], Errno::EFAULT),
        (GET_MEMPOLICY, &[0, 0, 0, 0, 8], Errno::EINVAL),
        (GET_MEMPOLICY, &[0, 0, 0, DATA, 0], Errno::EINVAL),
        (GET_MEMPOLICY, &[0, 0, 0, 0x1000, 2], Errno::EFAULT),
        (GET_MEMPOLICY, &[1, 0, 0, 0, 0], Errno::EFAULT),
        (GET_MEMPOLICY, &[0, TOLD, 0, 0, 0], Errno::EINVAL),
        (HOME_NODE, &[BOUND, PAGE, 1, 0], Errno::EINVAL),
        (HOME_NODE, &[DATA, PAGE, 0, 0], Errno::ENOENT),
        (MBIND, &[BOUND, PAGE, 2, ZERO, 65, 8], Errno::EINVAL),
        (MBIND, &[0x1000, PAGE, 2, ZERO, 65, 0], Errno::EFAULT),
    ] {
        assert_eq!(cluster.call(0, pid, number, args), no(error), "{args:x?}");
    }
    cluster.move_to(pid, 2);
    assert_eq!(policy(&mut cluster, 1, pid, 0), (3, 1));
    assert_eq!(policy(&mut cluster, 1, pid, BOUND), (statically as u32, 3));
    assert_eq!(policy(&mut cluster, 1, pid, DATA), (0, 0));
    assert_eq!(cluster.call(1, pid, HOME_NODE, &[BOUND, PAGE, 0, 0]), 0);
    // Which node the next page would get, and which one a page has.
    assert_eq!(cluster.call(1, pid, GET_MEMPOLICY, &[TOLD, 0, 0, 0, 1]), 0);
    let page = [TOLD, 0, 0, BOUND, 3];
    assert_eq!(cluster.call(1, pid, GET_MEMPOLICY, &page), 0);
    assert_eq!(word(&mut cluster, 1, pid, TOLD) as u32, 0);
    let child = cluster.call(1, pid, 57, &[]) as u32;
    assert_eq!(policy(&mut cluster, 1, child, 0), (3, 1));
    let there = policy(&mut cluster, 1, child, BOUND);
    assert_eq!(there, (statically as u32, 3));
    assert_eq!(
        cluster.call(1, pid, MBIND, &[BOUND, PAGE, 0, NONE, 65, 0]),
        0
    );
    assert_eq!(policy(&mut cluster, 1, pid, BOUND), (0, 0));
    // The name that numa_maps shows.
    let entry = crate::files::ProcEntry::Process(child, crate::files::ProcessFile::NumaMaps);
    let mut maps = None;
    for _ in 0..20 {
        let read = crate::files::ProcView::read(&mut cluster.nodes[0], entry, child);
        if let Ok(text) = read {
            maps = Some(String::from_utf8(text).expect("text"));
            break;
        }
        cluster.settle();
    }
    let maps = maps.expect("its node answers");
    let line = |at: u64| {
        let start = format!("{at:08x} ");
        let line = maps.lines().find(|line| line.starts_with(&start));
        line.unwrap_or(&maps).to_string()
    };
    assert_eq!(line(BOUND), "00604000 bind:0");
    let first = "00600000 interleave:0 anon=1 dirty=1 N0=1 kernelpagesize_kB=4";
    assert_eq!(line(DATA), first);
}

#[test]
fn there_are_no_protection_keys() {
    const PKEY_MPROTECT: u64 = 329;
    const PKEY_ALLOC: u64 = 330;
    const PKEY_FREE: u64 = 331;
    let none = u64::MAX;
    let mut cluster = Cluster::new(1);
    let pid = cluster.fork(0);
    // But for the first one these are the answers of Linux 6.18 without them, which forgets to say ENOSPC once.
    for (number, args, answer) in [
        (PKEY_ALLOC, &[0, 0][..], no(Errno::ENOSPC)),
        (PKEY_ALLOC, &[0, 3], no(Errno::ENOSPC)),
        (PKEY_ALLOC, &[1, 0], no(Errno::EINVAL)),
        (PKEY_ALLOC, &[0, 4], no(Errno::EINVAL)),
        (PKEY_FREE, &[0], no(Errno::EINVAL)),
        (PKEY_MPROTECT, &[DATA + PAGE, PAGE, 1, none], 0),
        (PKEY_MPROTECT, &[DATA, PAGE, 1, 0], no(Errno::EINVAL)),
        (PKEY_MPROTECT, &[DATA + 1, PAGE, 1, 0], no(Errno::EINVAL)),
        (PKEY_MPROTECT, &[DATA, 0, 1, 16], 0),
        (PKEY_MPROTECT, &[DATA, none, 1, 0], no(Errno::ENOMEM)),
    ] {
        assert_eq!(cluster.call(0, pid, number, args), answer, "{args:x?}");
    }
    let refused =
        cluster.nodes[0].with_space(pid, |space, pages| space.write(DATA + PAGE, &[1], pages));
    assert!(refused.is_err(), "the rights were taken");
}

#[test]
fn pages_are_on_node_zero_or_nowhere() {
    const PAGES: u64 = DATA;
    const NODES: u64 = DATA + 0x40;
    const STATUS: u64 = DATA + 0x80;
    let mut cluster = Cluster::new(2);
    let pid = cluster.fork(0);
    let other = cluster.fork(0);
    let words = [DATA, DATA + 8 * PAGE, 0x1000].map(u64::to_le_bytes);
    for owner in [pid, other] {
        cluster.poke(0, owner, PAGES, &words.concat());
        cluster.poke(0, owner, ZERO, &1_u64.to_le_bytes());
        cluster.poke(0, owner, ONE, &2_u64.to_le_bytes());
    }
    let there = [0, no(Errno::ENOENT) as i32, no(Errno::EFAULT) as i32];
    for (node, target) in [(0, 2), (1, 1), (0, 1)] {
        cluster.poke(node, pid, STATUS, &[0x77; 16]);
        let ask = [0, 3, PAGES, 0, STATUS, 0];
        assert_eq!(cluster.call(node, pid, MOVE_PAGES, &ask), 0);
        let status: Vec<i32> = (0..4)
            .map(|at| word(&mut cluster, node, pid, STATUS + 4 * at) as i32)
            .collect();
        assert_eq!(status[..3], there);
        assert_eq!(status[3], 0x7777_7777);
        let moved = [0, 1, PAGES, NODES, STATUS, 2];
        assert_eq!(cluster.call(node, pid, MOVE_PAGES, &moved), 0);
        let migrate = |to: u64| [0, 65, ZERO, to];
        assert_eq!(cluster.call(node, pid, MIGRATE_PAGES, &migrate(ZERO)), 0);
        let nowhere = cluster.call(node, pid, MIGRATE_PAGES, &migrate(ONE));
        assert_eq!(nowhere, no(Errno::EINVAL));
        let nobody = cluster.call(node, pid, MIGRATE_PAGES, &[99, 65, ZERO, ZERO]);
        assert_eq!(nobody, no(Errno::ESRCH));
        if target != node + 1 {
            cluster.move_to(pid, target as u16);
        }
    }
    // Another process, which comes home for that.
    cluster.move_to(other, 2);
    let ask = [other.into(), 3, PAGES, 0, STATUS, 0];
    assert_eq!(cluster.call(0, pid, MOVE_PAGES, &ask), 0);
    assert!(cluster.nodes[0].bodies.contains_key(&other));
    // A node that there is not; who asks has no right to others, or to move what others have.
    cluster.poke(0, pid, NODES, &1_u32.to_le_bytes());
    let moved = [0, 1, PAGES, NODES, STATUS, 2];
    let nowhere = cluster.call(0, pid, MOVE_PAGES, &moved);
    assert_eq!(nowhere, no(Errno::ENODEV));
    const SETRESUID: u64 = 117;
    assert_eq!(cluster.call(0, pid, SETRESUID, &[5, 5, 5]), 0);
    for (number, args) in [
        (MOVE_PAGES, &[other.into(), 3, PAGES, 0, STATUS, 0][..]),
        (MOVE_PAGES, &[0, 3, PAGES, 0, STATUS, 4]),
        (MIGRATE_PAGES, &[other.into(), 65, ZERO, ZERO]),
        (MIGRATE_PAGES, &[0, 65, ZERO, ONE]),
        (MBIND, &[DATA, PAGE, 2, ZERO, 65, 4]),
    ] {
        let refused = cluster.call(0, pid, number, args);
        assert_eq!(refused, no(Errno::EPERM), "{number} {args:x?}");
    }
}
