//! Guests that write more behind than home has promised room for, and what is lent to a node that stands still.

use super::{Cluster, DATA};
use crate::buffers::Buffers;
use crate::dispatch::CALL_BEHIND;
use wire::{Call, Message, Pid};

const PIECE: usize = 3000;

/// A guest on node 2 that has made /f and opened it, and its descriptor.
fn with_a_file() -> (Cluster, u32, u64) {
    let mut cluster = Cluster::new(2);
    let pid = cluster.fork(0);
    cluster.move_to(pid, 2);
    cluster.poke(1, pid, DATA, b"/f\0");
    let open = [-100_i64 as u64, DATA, 0o102, 0o600];
    let fd = cluster.call(1, pid, 257, &open);
    let fd = u64::try_from(fd).expect("it is opened");
    (cluster, pid, fd)
}

/// Posts so many pieces of a file as a node would whose kernel keeps no count; the file's size then.
fn write_behind(cluster: &mut Cluster, pid: u32, fd: u64, pieces: u64) -> u64 {
    let (first, epoch) = {
        let guest = &mut cluster.nodes[1];
        (guest.thread(pid).next_seq, guest.body(pid).epoch)
    };
    for seq in first..first + pieces {
        let mut inputs = Buffers::new();
        inputs.set(1, vec![7; PIECE]);
        let call = Call {
            pid: Pid(pid),
            thread: Pid(pid),
            epoch,
            seq,
            number: CALL_BEHIND,
            args: [fd, PIECE as u64, u64::MAX, 0, 0, 0],
            rooms: [0; 6],
            data: inputs.encode(),
        };
        cluster.say(0, 2, Message::Call(call));
    }
    cluster.nodes[1].thread(pid).next_seq += pieces;
    let file = cluster.nodes[0].fs.lookup(b"/f").expect("it was made");
    file.size()
}

#[test]
fn a_guest_writes_no_more_behind_than_it_was_promised() {
    let (mut cluster, pid, fd) = with_a_file();
    assert_eq!(
        write_behind(&mut cluster, pid, fd, 3),
        0,
        "nothing was promised"
    );
    for _ in 0..3 {
        assert_eq!(cluster.call(1, pid, 1, &[fd, DATA, 100]), 100);
    }
    // Not enough is free for another promise, but more than was promised.
    let counts = machine::frame_counts();
    machine::fake::set_total_frames(counts.total - counts.free + 200);
    let size = write_behind(&mut cluster, pid, fd, 400);
    machine::fake::set_total_frames(counts.total);
    assert!(size >= 100 + PIECE as u64, "what was promised is written");
    assert!(size <= 300 + (512 << 10), "{size} bytes are too many");
}

#[test]
fn a_node_that_stood_still_does_not_read_what_was_lent_before() {
    let (mut cluster, pid, fd) = with_a_file();
    assert_eq!(cluster.call(1, pid, 1, &[fd, DATA, 1000]), 1000);
    assert_eq!(cluster.call(1, pid, 8, &[fd, 0, 0]), 0);
    for _ in 0..4 {
        assert_eq!(cluster.call(1, pid, 0, &[fd, DATA, 10]), 10);
    }
    let lent = |cluster: &mut Cluster| cluster.nodes[1].body(pid).ahead.windows();
    cluster.settle();
    assert_eq!(lent(&mut cluster), 1);
    // Home may have taken this node for silent meanwhile, and gone on without it.
    cluster.pass(3_000_000_000);
    assert_eq!(lent(&mut cluster), 0);
    assert_eq!(cluster.call(1, pid, 0, &[fd, DATA, 10]), 10);
}
