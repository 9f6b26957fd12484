//! mmap(2) of what cannot be mapped, at home and away.

use super::{Cluster, DATA};

const MMAP: u64 = 9;
const MINCORE: u64 = 27;
const SOCKETPAIR: u64 = 53;
const EPOLL_CREATE: u64 = 213;
const OPEN: u64 = 2;

const FIXED_SHARED: u64 = 0x11;
const ENOMEM: i64 = -12;
const EACCES: i64 = -13;
const ENODEV: i64 = -19;
const EINVAL: i64 = -22;
const EIO: i64 = -5;

/// A process with a page of memory, here or on the other node.
fn process(node: usize) -> (Cluster, u32, u64) {
    let mut cluster = Cluster::new(2);
    let pid = cluster.fork(0);
    if node != 0 {
        cluster.move_to(pid, 2);
    }
    let at = cluster.call(node, pid, MMAP, &[0, 4096, 3, 0x22, u64::MAX, 0]);
    (cluster, pid, at as u64)
}

#[test]
fn what_turns_out_to_be_unmappable_has_taken_the_place_of_what_was_there() {
    for node in [0, 1] {
        let (mut cluster, pid, at) = process(node);
        let map = |cluster: &mut Cluster, fd: u64| {
            let args = [at, 4096, 1, FIXED_SHARED, fd, 0];
            let result = cluster.call(node, pid, MMAP, &args);
            let there = cluster.call(node, pid, MINCORE, &[at, 4096, DATA]);
            (result, there)
        };
        // A set of epoll has no mapping at all, which is seen before anything is done.
        let set = cluster.call(node, pid, EPOLL_CREATE, &[1]) as u64;
        assert_eq!(map(&mut cluster, set), (ENODEV, 0));
        // Neither can what is open for writing only be mapped.
        cluster.poke(node, pid, DATA, b"/f\0");
        let file = cluster.call(node, pid, OPEN, &[DATA, 0o101, 0o600]) as u64;
        assert_eq!(map(&mut cluster, file), (EACCES, 0));
        // A socket is asked last.
        cluster.call(node, pid, SOCKETPAIR, &[1, 1, 0, DATA]);
        let socket = u64::from(cluster.byte(node, pid, DATA));
        assert_eq!(map(&mut cluster, socket), (ENODEV, ENOMEM));
    }
}

#[test]
fn so_do_files_of_proc_that_belong_to_no_process() {
    let (mut cluster, pid, at) = process(0);
    for (name, error, there) in [("self/maps", ENODEV, 0), ("uptime", EIO, ENOMEM)] {
        cluster.poke(0, pid, DATA, format!("/proc/{name}\0").as_bytes());
        let fd = cluster.call(0, pid, OPEN, &[DATA, 0, 0]) as u64;
        let args = [at, 4096, 1, FIXED_SHARED, fd, 0];
        assert_eq!(cluster.call(0, pid, MMAP, &args), error, "{name}");
        let left = cluster.call(0, pid, MINCORE, &[at, 4096, DATA]);
        assert_eq!(left, there, "{name}");
    }
}

#[test]
fn the_place_is_looked_at_before_what_is_mapped_and_behind_whether_anything_is() {
    const EBADF: i64 = -9;
    const EOVERFLOW: i64 = -75;
    let (mut cluster, pid, at) = process(0);
    let set = cluster.call(0, pid, EPOLL_CREATE, &[1]) as u64;
    let mut map = |at, length, fd, offset| {
        let args = [at, length, 1, FIXED_SHARED, fd, offset];
        cluster.call(0, pid, MMAP, &args)
    };
    assert_eq!(map(at + 1, 4096, set, 0), EINVAL);
    assert_eq!(map(at, 0, set, 0), EINVAL);
    assert_eq!(map(at, 0, 99, 0), EBADF);
    assert_eq!(map(at, 4096, set, 0xffff_ffff_ffff_f000), EOVERFLOW);
    assert_eq!(map(1 << 48, 4096, set, 0), ENOMEM);
    // What no process has room for is not looked for in a file.
    assert_eq!(map(at, u64::MAX << 12, set, 0), ENOMEM);
    assert_eq!(map(at, u64::MAX << 12, set, 0x7fff_ffff_ffff_f000), ENOMEM);
    cluster.poke(0, pid, DATA, b"/f\0");
    let file = cluster.call(0, pid, OPEN, &[DATA, 0o102, 0o600]) as u64;
    let args = [at, u64::MAX << 12, 1, FIXED_SHARED, file, 0];
    assert_eq!(cluster.call(0, pid, MMAP, &args), ENOMEM);
}

#[test]
fn a_page_that_is_called_back_while_a_call_waits_is_fetched_for_the_rest_of_that() {
    const WRITE: u64 = 1;
    const FTRUNCATE: u64 = 77;
    const PRLIMIT: u64 = 302;
    const CORE: u64 = 4;
    let (mut cluster, pid, at) = process(1);
    let other = cluster.fork(0);
    let [own, others] = [(1, pid), (0, other)].map(|(node, pid)| {
        cluster.poke(node, pid, DATA, b"/f\0");
        cluster.call(node, pid, OPEN, &[DATA, 0o102, 0o600]) as u64
    });
    assert_eq!(cluster.call(1, pid, FTRUNCATE, &[own, 4096]), 0);
    assert_eq!(
        cluster.call(1, pid, MMAP, &[at, 4096, 1, 0x12, own, 0]),
        at as i64
    );
    assert_eq!(cluster.call(1, pid, PRLIMIT, &[0, CORE, at, 0]), 0);
    // The same again is on its way home, and the limits that it is about change in their file.
    cluster.arrives = |header| header.source() != wire::NodeId(2);
    cluster.begin_call(1, pid, PRLIMIT, &[0, CORE, at, 0]);
    assert_eq!(
        cluster.call(0, other, WRITE, &[others, DATA + 0x1000, 3]),
        3
    );
    cluster.settle();
    cluster.arrives = |_| true;
    cluster.settle();
    let thread = &cluster.nodes[1].threads[&pid];
    assert_eq!((thread.call, thread.registers.rax), (None, 0));
}

#[test]
fn a_file_that_is_mapped_counts_as_read() {
    const FSTAT: u64 = 5;
    const STATUS: u64 = DATA + 0x1000;
    // st_atim and st_mtim of `struct stat`.
    let times = |cluster: &mut Cluster, node: usize, pid: u32, fd: u64| {
        assert_eq!(cluster.call(node, pid, FSTAT, &[fd, STATUS]), 0);
        [72, 88].map(|at| {
            let bytes: Vec<u8> = (0..16)
                .map(|byte| cluster.byte(node, pid, STATUS + at + byte))
                .collect();
            u128::from_le_bytes(bytes.try_into().expect("sixteen"))
        })
    };
    for node in [0, 1] {
        let (mut cluster, pid, at) = process(node);
        cluster.poke(node, pid, DATA, b"/f\0");
        let plain = cluster.call(node, pid, OPEN, &[DATA, 0o102, 0o600]) as u64;
        let quiet = cluster.call(node, pid, OPEN, &[DATA, 0o1_000_002, 0]) as u64;
        assert_eq!(cluster.call(node, pid, 1, &[plain, DATA, 3]), 3);
        cluster.settle();
        let before = times(&mut cluster, node, pid, plain);
        cluster.settle();
        for (fd, counts) in [(quiet, false), (plain, true)] {
            let map = [at, 4096, 1, 0x12, fd, 0];
            assert_eq!(cluster.call(node, pid, MMAP, &map), at as i64);
            let after = times(&mut cluster, node, pid, plain);
            assert_eq!(after[0] != before[0], counts, "{before:x?} {after:x?}");
            assert_eq!(after[1], before[1]);
        }
    }
}

#[test]
fn a_part_of_a_shared_mapping_can_show_another_part_of_it() {
    const REMAP_FILE_PAGES: u64 = 216;
    const MAP_NONBLOCK: u64 = 0x1_0000;
    for node in [0, 1] {
        let (mut cluster, pid, private) = process(node);
        let map = [0, 4 * 4096, 3, 0x21, u64::MAX, 0];
        let at = cluster.call(node, pid, MMAP, &map) as u64;
        for page in 0..4 {
            cluster.poke(node, pid, at + page * 4096, &[b'0' + page as u8]);
        }
        let shown = |cluster: &mut Cluster| {
            [0, 1, 2, 3].map(|page| cluster.byte(node, pid, at + page * 4096))
        };
        let mut show = |at: u64, length: u64, rest: &[u64; 3]| {
            let args = [&[at, length][..], rest].concat();
            let result = cluster.call(node, pid, REMAP_FILE_PAGES, &args);
            (result, shown(&mut cluster))
        };
        assert_eq!(show(at, 4096, &[0, 2, 0]), (0, *b"2123"), "node {node}");
        // Two neighbours of the same memory are one to it.
        assert_eq!(show(at, 8192, &[0, 1, MAP_NONBLOCK]), (0, *b"1223"));
        for wrong in [
            (at, 4096, [1, 0, 0]),
            (at, 5 * 4096, [0, 0, 0]),
            (at, 0, [0, 0, 0]),
            (at, 4096, [0, u64::MAX, 0]),
            (private, 4096, [0, 0, 0]),
        ] {
            let (at, length, rest) = wrong;
            assert_eq!(show(at, length, &rest).0, EINVAL, "{wrong:?}");
        }
        cluster.poke(node, pid, at, b"x");
        assert_eq!(shown(&mut cluster), *b"x223");
        let (result, shown) = {
            let args = [at + 8192, 4096, 0, 1, 0];
            let result = cluster.call(node, pid, REMAP_FILE_PAGES, &args);
            (result, shown(&mut cluster))
        };
        assert_eq!((result, shown), (0, *b"x2x3"));
    }
}
