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

/// What /proc says about locks.
fn text_of(node: &mut Node, fd: u64) -> String {
    let read = node.open(&format!("/proc/self/fdinfo/{fd}"), 0);
    let text = node.read(read, 999).bytes(1);
    node.close(read);
    String::from_utf8(text).expect("text")
}

#[test]
fn locks_are_shown_with_the_open_file_and_all_together() {
    let mut node = Node::new(&[]);
    let fd = node.open("/f", RDWR_CREAT);
    let other = node.open("/f", 2);
    let number = node.lstat("/f").inode;
    lock(&mut node, fd, 6, (WRITE, 0, 0, 4)).ok();
    lock(&mut node, other, 37, (READ, 0, 4, 16)).ok();
    node.call(calls::flock, &[N(other), N(1)]).ok();
    let place = format!("00:14:{number}");
    let record = format!("POSIX  ADVISORY  WRITE 7 {place} 0 3\n");
    let whole = format!("FLOCK  ADVISORY  READ 7 {place} 0 EOF\n");
    let open = format!("OFDLCK ADVISORY  READ -1 {place} 4 19\n");
    let shown = text_of(&mut node, fd);
    assert!(shown.ends_with(&format!("lock:\t1: {record}")), "{shown}");
    let shown = text_of(&mut node, other);
    let mine = format!("lock:\t1: {whole}lock:\t2: {record}lock:\t3: {open}");
    assert!(shown.ends_with(&mine), "{shown}");
    let all = node.fs.lock_table();
    assert_eq!(all, format!("1: {whole}2: {record}3: {open}"));
    node.close(fd);
    node.close(other);
    assert_eq!(node.fs.lock_table(), "");
}

const SETLEASE: u64 = 1024;
const GETLEASE: u64 = 1025;

fn lease(node: &mut Node, fd: u64, kind: u16) -> Reply {
    node.call(calls::fcntl, &[N(fd), N(SETLEASE), N(kind.into())])
}

fn has_lease(node: &mut Node, fd: u64) -> u16 {
    node.call(calls::fcntl, &[N(fd), N(GETLEASE), N(0)]).ok() as u16
}

/// The signals that owners of files get now: to whom, which, and `si_code`.
fn told(node: &Node) -> Vec<(u32, u32, i32)> {
    let asker = Asker {
        fs: &node.fs,
        view: &node.view,
        pid: 0,
        tid: 0,
        now_ns: node.now_ns,
    };
    let notices = node.fs.take_posts(&asker);
    let told = notices.iter();
    told.map(|notice| (notice.owner.id, notice.info.signal, notice.info.code))
        .collect()
}

#[test]
fn a_lease_is_had_only_alone_and_broken_by_who_opens() {
    const SIGIO: u32 = 29;
    const POLL_MSG: i32 = 3;
    let mut node = Node::new(&[]);
    let write = node.open("/f", RDWR_CREAT);
    assert_eq!(has_lease(&mut node, write), NONE);
    assert_eq!(lease(&mut node, write, NONE).errno(), Errno::EAGAIN);
    assert_eq!(lease(&mut node, write, 3).errno(), Errno::EINVAL);
    assert_eq!(lease(&mut node, write, READ).errno(), Errno::EAGAIN);
    let read = node.open("/f", 0);
    assert_eq!(lease(&mut node, write, WRITE).errno(), Errno::EAGAIN);
    node.close(read);
    lease(&mut node, write, WRITE).ok();
    assert_eq!(has_lease(&mut node, write), WRITE);
    node.call(calls::fcntl, &[N(write), N(10), N(SIGIO.into())])
        .ok();
    // Who does not wait is refused, but the holder hears of it, once.
    assert_eq!(node.try_open("/f", 0o4000).errno(), Errno::EAGAIN);
    assert_eq!(told(&node), [(PID, SIGIO, POLL_MSG)]);
    assert_eq!(node.try_open("/f", 0).result, Err(Stop::Wait));
    assert_eq!(told(&node), []);
    assert_eq!(has_lease(&mut node, write), READ);
    // Who wants to write needs all of it.
    assert_eq!(node.try_open("/f", 1).result, Err(Stop::Wait));
    assert_eq!(told(&node), [(PID, SIGIO, POLL_MSG)]);
    assert_eq!(has_lease(&mut node, write), NONE);
    let shown = text_of(&mut node, write);
    assert!(shown.contains("LEASE  BREAKING  UNLCK 7 "), "{shown}");
    node.wakes.take();
    lease(&mut node, write, NONE).ok();
    assert_eq!(node.wakes.take(), [PID]);
    node.open("/f", 1);
}

#[test]
fn a_lease_that_is_not_given_back_ends_by_itself() {
    let mut node = Node::new(&[]);
    node.put_file("/f", b"text");
    let read = node.open("/f", 0);
    lease(&mut node, read, READ).ok();
    let cut = [In(b"/f"), N(0)];
    assert_eq!(node.call(calls::truncate, &cut).result, Err(Stop::Wait));
    node.now_ns = super::super::leases::BREAK_NS - 1;
    node.fs.alarms().ring(node.now_ns);
    assert_eq!(node.wakes.take(), []);
    node.now_ns += 1;
    node.fs.alarms().ring(node.now_ns);
    assert_eq!(node.wakes.take(), [PID]);
    node.call(calls::truncate, &cut).ok();
    assert_eq!(has_lease(&mut node, read), NONE);
}

#[test]
fn owners_hear_of_what_can_be_done() {
    const ASYNC: u64 = 0o20_000;
    const SIGUSR1: u32 = 10;
    let mut node = Node::new(&[]);
    let pipe = node.call(calls::pipe, &[Out(8)]).bytes(0);
    let (read, write) = (u64::from(pipe[0]), u64::from(pipe[4]));
    let fcntl = |node: &mut Node, fd, command, value| {
        node.call(calls::fcntl, &[N(fd), N(command), N(value)])
    };
    assert_eq!(fcntl(&mut node, read, 8, 12_345).errno(), Errno::ESRCH);
    fcntl(&mut node, read, 8, PID.into()).ok();
    node.write(write, b"x").ok();
    assert_eq!(told(&node), []);
    fcntl(&mut node, read, 4, ASYNC).ok();
    assert_eq!(fcntl(&mut node, read, 3, 0).ok() & ASYNC, ASYNC);
    node.write(write, b"x").ok();
    assert_eq!(told(&node), [(PID, 29, 0x80)]);
    fcntl(&mut node, read, 10, SIGUSR1.into()).ok();
    node.write(write, b"x").ok();
    assert_eq!(told(&node), [(PID, SIGUSR1, 1)]);
    // A reader does not hear of room.
    node.read(read, 9).ok();
    assert_eq!(told(&node), []);
    node.close(write);
    assert_eq!(told(&node), [(PID, SIGUSR1, 1)]);
    // Of a file that is always ready nothing is told.
    let plain = node.open("/f", RDWR_CREAT);
    fcntl(&mut node, plain, 4, ASYNC).ok();
    assert_eq!(fcntl(&mut node, plain, 3, 0).ok() & ASYNC, 0);
}

#[test]
fn a_table_of_two_is_one_and_ends_with_the_second() {
    let mut node = Node::new(&[]);
    let fd = node.open("/f", RDWR_CREAT);
    let both = Common {
        table: true,
        place: true,
    };
    let mut other = node.state.of_child(both);
    std::mem::swap(&mut node.state, &mut other);
    // What the child opens, locks and changes is the parent's as well.
    let opened = node.open("/g", RDWR_CREAT);
    lock(&mut node, fd, 6, (WRITE, 0, 0, 0)).ok();
    node.path_call(calls::mkdir, "/d").ok();
    node.path_call(calls::chdir, "/d").ok();
    node.call(calls::umask, &[N(0o77)]).ok();
    std::mem::swap(&mut node.state, &mut other);
    assert_eq!(node.write(opened, b"text").ok(), 4);
    lock(&mut node, fd, 6, (WRITE, 0, 0, 1)).ok();
    assert_eq!(node.call(calls::umask, &[N(0)]).ok(), 0o77);
    assert_eq!(node.call(calls::getcwd, &[Out(9), N(9)]).bytes(0), b"/d\0");
    // Nothing of it is lent: the other one may close it.
    assert!(node.state.lend_to_read(opened as u32, false).is_none());
    assert!(node.state.lend_to_write(opened as u32).is_none());
    // execve(2) has a table of its own, and does not close the other's.
    other.close_on_exec();
    node.close(opened);
    assert!(other.get(opened as u32).is_ok());
    assert!(node.state.lend_to_write(fd as u32).is_some());
    let again = node.state.of_child(both);
    drop(again);
    assert_eq!(node.write(fd, b"x").ok(), 1);
}

const NOTIFY: u64 = 1026;
const MULTISHOT: u64 = 1 << 31;

#[test]
fn the_owner_of_a_directory_hears_of_what_happens_in_it() {
    const CREATE: u64 = 4;
    const SIGUSR1: u32 = 10;
    const POLL_MSG: i32 = 3;
    let mut node = Node::new(&[]);
    node.path_call(calls::mkdir, "/d").ok();
    let folder = node.open("/d", 0);
    let watch = |node: &mut Node, fd, what| node.call(calls::fcntl, &[N(fd), N(NOTIFY), N(what)]);
    let make = |node: &mut Node, name: &str| {
        let file = node.open(name, RDWR_CREAT);
        node.close(file);
    };
    let file = node.open("/f", RDWR_CREAT);
    assert_eq!(watch(&mut node, file, CREATE).errno(), Errno::ENOTDIR);
    watch(&mut node, file, MULTISHOT).ok();
    // Once.
    watch(&mut node, folder, CREATE).ok();
    make(&mut node, "/d/one");
    assert_eq!(told(&node).len(), 1);
    make(&mut node, "/d/two");
    assert_eq!(told(&node), []);
    // Always, by a signal that says more, and of nothing else.
    let signal = [N(folder), N(10), N(SIGUSR1.into())];
    node.call(calls::fcntl, &signal).ok();
    watch(&mut node, folder, CREATE | MULTISHOT).ok();
    for name in ["/d/three", "/d/four"] {
        make(&mut node, name);
        assert_eq!(told(&node), [(PID, SIGUSR1, POLL_MSG)], "{name}");
    }
    node.path_call(calls::unlink, "/d/one").ok();
    make(&mut node, "/elsewhere");
    assert_eq!(told(&node), []);
    watch(&mut node, folder, MULTISHOT).ok();
    make(&mut node, "/d/five");
    assert_eq!(told(&node), []);
    // Until it is closed.
    watch(&mut node, folder, CREATE | MULTISHOT).ok();
    node.close(folder);
    make(&mut node, "/d/six");
    assert_eq!(told(&node), []);
}
