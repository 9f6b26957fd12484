//! Locks of fcntl(2) and flock(2), by the calls that set them.

use super::*;

fn flock_bytes(kind: u16, whence: u16, start: i64, length: i64) -> Vec<u8> {
    let mut bytes = vec![0; 32];
    bytes[..2].copy_from_slice(&kind.to_le_bytes());
    bytes[2..4].copy_from_slice(&whence.to_le_bytes());
    bytes[8..16].copy_from_slice(&start.to_le_bytes());
    bytes[16..24].copy_from_slice(&length.to_le_bytes());
    bytes
}

const READ: u16 = 0;
const WRITE: u16 = 1;
const NONE: u16 = 2;

fn lock(node: &mut Node, fd: u64, command: u64, wish: (u16, u16, i64, i64)) -> Reply {
    let bytes = flock_bytes(wish.0, wish.1, wish.2, wish.3);
    node.call(calls::fcntl, &[N(fd), N(command), InOut(&bytes)])
}

/// The same node seen by another process, which has forked from the first.
fn as_child(node: &mut Node, act: impl FnOnce(&mut Node)) {
    let child = node.state.clone();
    let parent = std::mem::replace(&mut node.state, child);
    act(node);
    node.state = parent;
}

#[test]
fn records_belong_to_processes_and_end_with_any_close() {
    let mut node = Node::new(&[]);
    let fd = node.open("/f", RDWR_CREAT);
    let again = node.open("/f", 2);
    lock(&mut node, fd, 6, (WRITE, 0, 10, 5)).ok();
    as_child(&mut node, |node| {
        let told = lock(node, fd, 5, (READ, 0, 0, 0)).bytes(2);
        let mut expected = flock_bytes(WRITE, 0, 10, 5);
        expected[24..28].copy_from_slice(&PID.to_le_bytes());
        assert_eq!(told, expected);
        assert_eq!(lock(node, fd, 6, (READ, 0, 14, 1)).errno(), Errno::EAGAIN);
        lock(node, fd, 6, (READ, 0, 15, 0)).ok();
        assert_eq!(lock(node, fd, 7, (READ, 0, 5, 6)).result, Err(Stop::Wait));
    });
    // The child's own lock ended with it.
    lock(&mut node, fd, 6, (WRITE, 0, 0, 0)).ok();
    node.wakes.take();
    as_child(&mut node, |node| {
        assert_eq!(lock(node, fd, 7, (READ, 0, 5, 6)).result, Err(Stop::Wait));
    });
    node.close(again);
    assert_eq!(node.wakes.take(), [PID]);
    as_child(&mut node, |node| {
        lock(node, fd, 6, (WRITE, 0, 0, 0)).ok();
    });
}

#[test]
fn open_files_have_locks_of_their_own() {
    let mut node = Node::new(&[]);
    let fd = node.open("/f", RDWR_CREAT);
    let other = node.open("/f", 2);
    lock(&mut node, fd, 37, (WRITE, 0, 0, 10)).ok();
    assert_eq!(
        lock(&mut node, other, 37, (READ, 0, 9, 1)).errno(),
        Errno::EAGAIN
    );
    let told = lock(&mut node, other, 36, (READ, 0, 0, 0)).bytes(2);
    assert_eq!(told[24..28], (-1i32).to_le_bytes());
    // Also against records of the same process.
    assert_eq!(
        lock(&mut node, fd, 6, (READ, 0, 0, 1)).errno(),
        Errno::EAGAIN
    );
    let copy = node.call(calls::dup, &[N(fd)]).ok();
    node.close(fd);
    assert_eq!(
        lock(&mut node, other, 37, (READ, 0, 9, 1)).errno(),
        Errno::EAGAIN
    );
    node.close(copy);
    lock(&mut node, other, 37, (WRITE, 0, 0, 0)).ok();
}

#[test]
fn wishes_are_checked() {
    let mut node = Node::new(&[]);
    let fd = node.open("/f", RDWR_CREAT);
    node.write(fd, b"0123456789").ok();
    let read = node.open("/f", 0);
    let write = node.open("/f", 1);
    assert_eq!(
        lock(&mut node, read, 6, (WRITE, 0, 0, 1)).errno(),
        Errno::EBADF
    );
    assert_eq!(
        lock(&mut node, write, 6, (READ, 0, 0, 1)).errno(),
        Errno::EBADF
    );
    lock(&mut node, read, 6, (NONE, 0, 0, 1)).ok();
    for (wish, errno) in [
        ((3, 0, 0, 1), Errno::EINVAL),
        ((READ, 3, 0, 1), Errno::EINVAL),
        ((READ, 0, -1, 1), Errno::EINVAL),
        ((READ, 0, 5, -6), Errno::EINVAL),
        ((READ, 2, i64::MAX, 0), Errno::EOVERFLOW),
        ((READ, 0, 2, i64::MAX), Errno::EOVERFLOW),
    ] {
        assert_eq!(lock(&mut node, fd, 6, wish).errno(), errno, "{wish:?}");
    }
    // Backwards from the end, and from the offset.
    lock(&mut node, fd, 6, (WRITE, 2, 0, -4)).ok();
    as_child(&mut node, |node| {
        lock(node, fd, 6, (WRITE, 0, 0, 6)).ok();
        assert_eq!(lock(node, fd, 6, (READ, 0, 6, 1)).errno(), Errno::EAGAIN);
        assert_eq!(lock(node, fd, 6, (READ, 1, -1, 1)).errno(), Errno::EAGAIN);
        lock(node, fd, 6, (READ, 1, 0, 0)).ok();
    });
}

#[test]
fn whole_files() {
    let mut node = Node::new(&[]);
    let fd = node.open("/f", RDWR_CREAT);
    let other = node.open("/f", 0);
    let flock = |node: &mut Node, fd: u64, how: u64| node.call(calls::flock, &[N(fd), N(how)]);
    flock(&mut node, fd, 2).ok();
    flock(&mut node, fd, 2 | 4).ok();
    assert_eq!(flock(&mut node, other, 1 | 4).errno(), Errno::EAGAIN);
    assert_eq!(flock(&mut node, other, 1).result, Err(Stop::Wait));
    assert_eq!(flock(&mut node, other, 3).errno(), Errno::EINVAL);
    // A child has the same open file, and its end is not the end of the lock.
    as_child(&mut node, |node| {
        node.close(fd);
        assert_eq!(flock(node, other, 1 | 4).errno(), Errno::EAGAIN);
    });
    node.wakes.take();
    node.close(fd);
    assert_eq!(node.wakes.take(), [PID]);
    flock(&mut node, other, 1 | 4).ok();
}
