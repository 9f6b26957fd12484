//! Pipes that are written behind: nobody can tell them from pipes of one machine.

use super::{Cluster, DATA};
use crate::home::INIT;
use crate::schedule::SPARED_NS;
use machine::Exit;

const READ: u64 = 0;
const WRITE: u64 = 1;
const CLOSE: u64 = 3;
const OPEN: u64 = 2;
const PIPE2: u64 = 293;
const FORK: u64 = 57;
const WAIT4: u64 = 61;
const O_NONBLOCK: u64 = 0o4000;
const EAGAIN: i64 = -11;
const EPIPE: i64 = -32;
const PAGE: u64 = 4096;

/// A process of node 1 that is on `node`, and the ends of a pipe that it has made there.
fn writer(cluster: &mut Cluster, node: u16, flags: u64) -> (u32, u64, u64) {
    let pid = cluster.fork(0);
    if node > 1 {
        cluster.move_to(pid, node);
    }
    let at = usize::from(node) - 1;
    assert_eq!(cluster.call(at, pid, PIPE2, &[DATA, flags]), 0);
    let [reader, writer] = ends(cluster, at, pid);
    (pid, reader, writer)
}

fn ends(cluster: &mut Cluster, node: usize, pid: u32) -> [u64; 2] {
    let bytes = peek(cluster, node, pid, DATA, 8);
    let (words, _) = bytes.as_chunks::<4>();
    [words[0], words[1]].map(|end| u64::from(u32::from_le_bytes(end)))
}

fn peek(cluster: &mut Cluster, node: usize, pid: u32, at: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    cluster.nodes[node]
        .with_space(pid, |space, pages| space.read(at, &mut bytes, pages))
        .expect("test memory");
    bytes
}

/// Calls that node 2 has sent to home so far.
fn calls(cluster: &mut Cluster, pid: u32) -> u64 {
    cluster.nodes[1].thread(pid).next_seq
}

#[test]
fn what_is_written_behind_comes_out_whole_and_in_order() {
    let mut cluster = Cluster::new(2);
    let (pid, reader, writer) = writer(&mut cluster, 2, 0);
    let memory: Vec<u8> = (0..0x8000_u32).map(|at| (at * 13 / 7) as u8).collect();
    cluster.poke(1, pid, DATA + 0x1000, &memory);
    let before = calls(&mut cluster, pid);
    let mut written = 0;
    for length in [1, 1, 7, 100, 100, 100, 3000, 4096, 5000, 1, 63] {
        let from = DATA + 0x1000 + written;
        assert_eq!(
            cluster.call(1, pid, WRITE, &[writer, from, length]),
            length as i64
        );
        written += length;
    }
    let sent = calls(&mut cluster, pid) - before;
    assert!(sent < 8, "{sent} calls for eleven writes");
    let into = DATA + 0x1_0000;
    let read = cluster.call(1, pid, READ, &[reader, into, 0x8000]);
    assert_eq!(
        read, written as i64,
        "a read comes behind all writes before it"
    );
    assert!(peek(&mut cluster, 1, pid, into, written as usize) == memory[..written as usize]);
}

/// A process on node 2 that writes to a pipe, and its child at home, which alone reads it.
fn writer_and_reader(cluster: &mut Cluster) -> ([u32; 2], [u64; 2]) {
    let (pid, reader, writer) = writer(cluster, 1, 0);
    let child = cluster.call(0, pid, 57, &[]) as u32;
    assert_eq!(cluster.call(0, pid, CLOSE, &[reader]), 0);
    cluster.move_to(pid, 2);
    ([pid, child], [reader, writer])
}

/// Bytes that wait leave by themselves before long.
#[test]
fn who_writes_no_more_is_read_all_the_same() {
    let mut cluster = Cluster::new(2);
    let ([pid, child], [reader, writer]) = writer_and_reader(&mut cluster);
    for _ in 0..5 {
        assert_eq!(cluster.call(1, pid, WRITE, &[writer, DATA, 10]), 10);
    }
    cluster.pass(50_000_000);
    cluster.pass(1_000_000);
    assert_eq!(cluster.call(0, child, READ, &[reader, DATA, 100]), 50);
}

/// As many writes fit as at home, whatever their lengths, and the next one is told so.
#[test]
fn as_much_fits_as_at_home() {
    for length in [1, 100, 1000, 2049, 4095, 4096, 4097, 9000, 16_384, 40_000] {
        let filled = [1_u16, 2].map(|node| {
            let mut cluster = Cluster::new(2);
            let (pid, reader, writer) = writer(&mut cluster, node, O_NONBLOCK);
            let at = usize::from(node) - 1;
            let mut all = Vec::new();
            // Twice, as a pipe that was drained in between begins its pages anew.
            for _ in 0..2 {
                loop {
                    match cluster.call(at, pid, WRITE, &[writer, DATA, length]) {
                        EAGAIN => break,
                        count => all.push(count),
                    }
                    if all.len() > 200 && length == 1 {
                        break;
                    }
                }
                let read = cluster.call(at, pid, READ, &[reader, DATA + 0x8000, 3 * PAGE + 17]);
                all.push(read);
            }
            all
        });
        assert_eq!(filled[0], filled[1], "writes of {length} bytes");
    }
}

/// Who has heard that the last reader is gone cannot write any more.
#[test]
fn a_broken_pipe_is_heard_of_before_anything_else() {
    let mut cluster = Cluster::new(2);
    let ([pid, child], [reader, writer]) = writer_and_reader(&mut cluster);
    for _ in 0..4 {
        assert_eq!(cluster.call(1, pid, WRITE, &[writer, DATA, 10]), 10);
    }
    assert_eq!(cluster.call(0, child, CLOSE, &[reader]), 0);
    // SIGPIPE is blocked, so that the error is seen.
    cluster.poke(1, pid, DATA + 64, &(1_u64 << 12).to_le_bytes());
    assert_eq!(cluster.call(1, pid, 14, &[0, DATA + 64, 0, 8]), 0);
    assert_eq!(cluster.call(1, pid, 39, &[]), i64::from(pid));
    assert!(cluster.call(1, pid, 110, &[]) > 0, "home was asked");
    assert_eq!(cluster.call(1, pid, WRITE, &[writer, DATA, 10]), EPIPE);
}

/// Uses a device away from home, twice so that it is lent and then as `act` does; how many calls that took. In
/// the end it is closed, and the last use is refused.
fn device(path: &[u8], (mode, number): (u64, u64), act: impl Fn(&mut Cluster, u32, u64)) -> u64 {
    let mut cluster = Cluster::new(2);
    let pid = cluster.fork(0);
    cluster.move_to(pid, 2);
    cluster.poke(1, pid, DATA, path);
    let fd = cluster.call(1, pid, OPEN, &[DATA, mode]) as u64;
    for _ in 0..2 {
        assert_eq!(cluster.call(1, pid, number, &[fd, DATA, 100]), 100);
    }
    let before = calls(&mut cluster, pid);
    act(&mut cluster, pid, fd);
    let taken = calls(&mut cluster, pid) - before;
    assert_eq!(cluster.call(1, pid, CLOSE, &[fd]), 0);
    assert_eq!(cluster.call(1, pid, number, &[fd, DATA, 1]), -9);
    taken
}

/// What goes to /dev/null away from home stays there.
#[test]
fn what_vanishes_does_not_travel() {
    let taken = device(b"/dev/null\0", (1, WRITE), |cluster, pid, fd| {
        for length in [1, 100, 0x1_0000] {
            assert_eq!(
                cluster.call(1, pid, WRITE, &[fd, DATA, length]),
                length as i64
            );
        }
    });
    assert_eq!(taken, 0);
}

/// The zeros of /dev/zero are everywhere.
#[test]
fn zeros_need_not_come() {
    let taken = device(b"/dev/zero\0", (0, READ), |cluster, pid, fd| {
        for length in [1, 5000, 0x1_8000] {
            cluster.poke(1, pid, DATA + 0x100, &vec![7; 0x1_8001]);
            assert_eq!(
                cluster.call(1, pid, READ, &[fd, DATA + 0x100, length]),
                length as i64
            );
            let bytes = peek(cluster, 1, pid, DATA + 0x100, length as usize + 1);
            let (last, zeros) = bytes.split_last().expect("it has bytes");
            assert!(
                zeros.iter().all(|byte| *byte == 0) && *last == 7,
                "{length}"
            );
        }
    });
    assert_eq!(taken, 0);
}

/// A writer goes on beside the reader that it wakes, who would otherwise get every byte for itself; for a
/// moment, and not beside somebody whom another has woken.
#[test]
fn who_wakes_another_goes_on_for_a_moment() {
    let mut cluster = Cluster::new(1);
    let (pid, reader, writer) = writer(&mut cluster, 1, 0);
    let child = cluster.call(0, pid, FORK, &[]) as u32;
    cluster.begin_call(0, child, READ, &[reader, DATA + 64, 100]);
    cluster.begin_call(0, INIT, WAIT4, &[u64::MAX, 0, 0]);
    cluster.settle();
    // The writer has had much more than the reader.
    for spare in [true, false] {
        let mut turn = cluster.nodes[0].begin(0).expect("the writer is ready");
        cluster.nodes[0].thread(pid).turn_ns += 100_000_000;
        let r = &mut turn.registers;
        [r.rax, r.rdi, r.rsi, r.rdx] = [WRITE, writer, DATA, 1];
        let now = cluster.now;
        cluster.nodes[0].end_turn(turn, Exit::Syscall, 1000, now);
        if !spare {
            cluster.nodes[0].thread(child).woken_by = None;
        }
        let mut order = [0; 2];
        for tid in &mut order {
            let turn = cluster.nodes[0].begin(0).expect("somebody is ready");
            *tid = turn.tid;
            cluster.now += SPARED_NS;
            let now = cluster.now;
            let call = turn.tid == child;
            cluster.nodes[0].end_turn(turn, Exit::Interrupt, 1000, now);
            if call {
                cluster.begin_call(0, child, READ, &[reader, DATA + 64, 100]);
            }
        }
        let expected = if spare { [pid, child] } else { [child, pid] };
        assert_eq!(order, expected, "spared: {spare}");
    }
}

#[test]
fn a_message_may_be_longer_than_what_one_call_carries() {
    const MMAP: u64 = 9;
    const SENDTO: u64 = 44;
    const RECVFROM: u64 = 45;
    const SOCKETPAIR: u64 = 53;
    const LONG: u64 = 100_000;
    const TOO_LONG: u64 = 212_992;
    const MSG_TRUNC: u64 = 0x20;
    const MSG_PEEK: u64 = 2;
    for node in [0, 1] {
        let mut cluster = Cluster::new(2);
        let pid = cluster.fork(0);
        if node != 0 {
            cluster.move_to(pid, 2);
        }
        let map = [0, 2 * TOO_LONG, 3, 0x22, u64::MAX, 0];
        let from = cluster.call(node, pid, MMAP, &map) as u64;
        let into = from + TOO_LONG;
        // SOCK_DGRAM and SOCK_SEQPACKET.
        for kind in [2, 5] {
            assert_eq!(cluster.call(node, pid, SOCKETPAIR, &[1, kind, 0, DATA]), 0);
            let [one, _, _, _, other, ..] =
                core::array::from_fn::<u8, 8, _>(|at| cluster.byte(node, pid, DATA + at as u64));
            let (one, other) = (u64::from(one), u64::from(other));
            let mut call = |number, args: &[u64]| cluster.call(node, pid, number, args);
            let at = format!("node {node}, kind {kind}");
            assert_eq!(
                call(SENDTO, &[one, from, LONG, 0, 0, 0]),
                LONG as i64,
                "{at}"
            );
            assert_eq!(call(1, &[one, from, LONG]), LONG as i64, "{at}");
            assert_eq!(call(SENDTO, &[one, from, TOO_LONG, 0, 0, 0]), -90, "{at}");
            assert_eq!(call(1, &[one, from, TOO_LONG]), -90, "{at}");
            let peek = [other, into, TOO_LONG, MSG_PEEK, 0, 0];
            assert_eq!(call(RECVFROM, &peek), LONG as i64, "{at}");
            // Who has room for a part of it gets that.
            let part = [other, into, 10, MSG_TRUNC, 0, 0];
            assert_eq!(call(RECVFROM, &part), LONG as i64, "{at}");
            assert_eq!(call(0, &[other, into, TOO_LONG]), LONG as i64, "{at}");
        }
    }
}
