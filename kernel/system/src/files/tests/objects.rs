//! Counters, timers, signals and sets of files, through their calls.

use super::*;
use crate::signals::SignalInfo;

const ADD: u64 = 1;
const DELETE: u64 = 2;
const MODIFY: u64 = 3;
const IN: u32 = 1;
const OUT: u32 = 4;
const HUP: u32 = 16;
const EXCLUSIVE: u32 = 1 << 28;
const ONESHOT: u32 = 1 << 30;
const EDGE: u32 = 1 << 31;
const NONBLOCK: u64 = 0o4000;

fn eventfd(node: &mut Node, count: u64, flags: u64) -> u64 {
    node.call(calls::eventfd2, &[N(count), N(flags)]).ok()
}

fn epoll(node: &mut Node) -> u64 {
    node.call(calls::epoll_create1, &[N(0)]).ok()
}

fn control(node: &mut Node, set: u64, operation: u64, fd: u64, events: u32) -> Reply {
    let mut event = events.to_le_bytes().to_vec();
    event.extend_from_slice(&(fd + 100).to_le_bytes());
    let event = if operation == DELETE {
        Null
    } else {
        In(&event)
    };
    node.call(calls::epoll_ctl, &[N(set), N(operation), N(fd), event])
}

/// What a wait that does not wait finds: events, and the descriptor.
#[track_caller]
fn ready(node: &mut Node, set: u64) -> Vec<(u32, u64)> {
    let bytes = node
        .call(calls::epoll_wait, &[N(set), Out(12 * 8), N(8), N(0)])
        .bytes(1);
    bytes
        .chunks(12)
        .map(|event| {
            let events = u32::from_le_bytes(event[..4].try_into().expect("4"));
            let data = u64::from_le_bytes(event[4..].try_into().expect("8"));
            (events, data - 100)
        })
        .collect()
}

fn waits(node: &mut Node, set: u64) -> bool {
    let args = [N(set), Out(12 * 8), N(8), N(1)];
    node.call(calls::epoll_wait, &args).result == Err(Stop::Wait)
}

fn add(node: &mut Node, fd: u64, count: u64) -> Reply {
    node.write(fd, &count.to_le_bytes())
}

fn count(reply: Reply) -> u64 {
    u64::from_le_bytes(reply.bytes(1).try_into().expect("8 bytes"))
}

#[test]
fn a_counter_waits_at_both_ends() {
    let mut node = Node::new(&[]);
    let fd = eventfd(&mut node, 0, 0);
    assert_eq!(node.read(fd, 8).result, Err(Stop::Wait));
    add(&mut node, fd, 3).ok();
    add(&mut node, fd, 4).ok();
    assert_eq!(node.wakes.take(), [PID]);
    assert_eq!(count(node.read(fd, 8)), 7);
    assert_eq!(node.read(fd, 7).errno(), Errno::EINVAL);
    assert_eq!(node.write(fd, &[0; 7]).errno(), Errno::EINVAL);
    // How many bytes come is looked at before the bytes.
    let from_nowhere = |node: &mut Node, bytes| {
        let args = [N(fd), Gone, N(bytes)];
        node.call(calls::write, &args).errno()
    };
    assert_eq!(from_nowhere(&mut node, 8), Errno::EFAULT);
    assert_eq!(from_nowhere(&mut node, 4096), Errno::EINVAL);
    assert_eq!(add(&mut node, fd, u64::MAX).errno(), Errno::EINVAL);
    add(&mut node, fd, u64::MAX - 1).ok();
    assert_eq!(add(&mut node, fd, 1).result, Err(Stop::Wait));
    add(&mut node, fd, 0).ok();
    assert_eq!(count(node.read(fd, 100)), u64::MAX - 1);
    add(&mut node, fd, 1).ok();
}

#[test]
fn a_semaphore_gives_one_at_a_time() {
    let mut node = Node::new(&[]);
    let fd = eventfd(&mut node, 2, 1 | NONBLOCK);
    assert_eq!(count(node.read(fd, 8)), 1);
    assert_eq!(count(node.read(fd, 8)), 1);
    assert_eq!(node.read(fd, 8).errno(), Errno::EAGAIN);
    assert_eq!(
        node.call(calls::eventfd2, &[N(0), N(2)]).errno(),
        Errno::EINVAL
    );
}

#[test]
fn level_edge_and_once() {
    let mut node = Node::new(&[]);
    let set = epoll(&mut node);
    let [level, edge, once] = [0, 0, 0].map(|_| eventfd(&mut node, 0, NONBLOCK));
    control(&mut node, set, ADD, level, IN).ok();
    control(&mut node, set, ADD, edge, IN | EDGE).ok();
    control(&mut node, set, ADD, once, IN | ONESHOT).ok();
    assert!(waits(&mut node, set));
    for fd in [level, edge, once] {
        add(&mut node, fd, 1).ok();
    }
    assert_eq!(node.wakes.take(), [PID]);
    let all = [(IN, level), (IN, edge), (IN, once)];
    assert_eq!(ready(&mut node, set), all);
    assert_eq!(ready(&mut node, set), [(IN, level)]);
    for fd in [edge, once] {
        add(&mut node, fd, 1).ok();
    }
    assert_eq!(ready(&mut node, set), [(IN, level), (IN, edge)]);
    // Reading is no edge for who waits for input.
    node.read(edge, 8).ok();
    assert_eq!(ready(&mut node, set), [(IN, level)]);
    control(&mut node, set, MODIFY, once, IN | ONESHOT).ok();
    node.read(level, 8).ok();
    assert_eq!(ready(&mut node, set), [(IN, once)]);
    assert!(waits(&mut node, set));
}

#[test]
fn few_at_a_time_come_in_turn() {
    let mut node = Node::new(&[]);
    let set = epoll(&mut node);
    let fds = [0; 3].map(|_| eventfd(&mut node, 1, 0));
    for fd in fds {
        control(&mut node, set, ADD, fd, IN).ok();
    }
    let mut seen = Vec::new();
    for _ in 0..3 {
        let bytes = node
            .call(calls::epoll_wait, &[N(set), Out(12), N(1), N(0)])
            .bytes(1);
        seen.push(u64::from(bytes[4]) - 100);
    }
    assert_eq!(seen, fds);
}

#[test]
fn a_set_refuses_what_linux_refuses() {
    let mut node = Node::new(&[]);
    node.put_file("/tmp/f", b"x");
    let file = node.open("/tmp/f", 0);
    let set = epoll(&mut node);
    let other = epoll(&mut node);
    let event = eventfd(&mut node, 0, 0);
    let mut errno = |set, operation, fd, events| {
        let reply = control(&mut node, set, operation, fd, events);
        reply.result.err().map(|stop| match stop {
            Stop::Errno(errno) => errno,
            Stop::Wait => panic!("epoll_ctl never waits"),
        })
    };
    assert_eq!(errno(set, ADD, file, IN), Some(Errno::EPERM));
    assert_eq!(errno(set, ADD, 99, IN), Some(Errno::EBADF));
    assert_eq!(errno(99, ADD, event, IN), Some(Errno::EBADF));
    assert_eq!(errno(set, ADD, set, IN), Some(Errno::EINVAL));
    assert_eq!(errno(event, ADD, set, IN), Some(Errno::EINVAL));
    assert_eq!(errno(set, MODIFY, event, IN), Some(Errno::ENOENT));
    assert_eq!(errno(set, DELETE, event, IN), Some(Errno::ENOENT));
    assert_eq!(errno(set, 7, event, IN), Some(Errno::EINVAL));
    assert_eq!(
        errno(set, ADD, event, EXCLUSIVE | ONESHOT),
        Some(Errno::EINVAL)
    );
    assert_eq!(errno(set, ADD, other, EXCLUSIVE | IN), Some(Errno::EINVAL));
    assert_eq!(errno(set, ADD, event, IN), None);
    assert_eq!(errno(set, ADD, event, IN), Some(Errno::EEXIST));
    assert_eq!(errno(set, ADD, other, IN), None);
    assert_eq!(errno(other, ADD, set, IN), Some(Errno::ELOOP));
    assert_eq!(
        errno(set, MODIFY, event, EXCLUSIVE | IN),
        Some(Errno::EINVAL)
    );
    assert_eq!(
        node.call(calls::epoll_create, &[N(0)]).errno(),
        Errno::EINVAL
    );
}

#[test]
fn a_set_in_a_set_is_ready_when_it_has_something() {
    let mut node = Node::new(&[]);
    let (outer, inner) = (epoll(&mut node), epoll(&mut node));
    let event = eventfd(&mut node, 0, 0);
    control(&mut node, inner, ADD, event, IN).ok();
    control(&mut node, outer, ADD, inner, IN).ok();
    assert!(waits(&mut node, outer));
    add(&mut node, event, 1).ok();
    assert_eq!(node.wakes.take(), [PID]);
    assert_eq!(ready(&mut node, outer), [(IN, inner)]);
    assert_eq!(ready(&mut node, inner), [(IN, event)]);
    node.read(event, 8).ok();
    assert_eq!(ready(&mut node, outer), []);
}

#[test]
fn what_is_closed_leaves_the_set_with_its_last_descriptor() {
    let mut node = Node::new(&[]);
    let set = epoll(&mut node);
    let event = eventfd(&mut node, 1, 0);
    control(&mut node, set, ADD, event, IN).ok();
    let copy = node.call(calls::dup, &[N(event)]).ok();
    node.close(event);
    assert_eq!(ready(&mut node, set), [(IN, event)]);
    node.close(copy);
    assert_eq!(ready(&mut node, set), []);
    // The same number for another file is another member.
    let again = eventfd(&mut node, 1, 0);
    assert_eq!(again, event);
    control(&mut node, set, ADD, again, IN).ok();
    assert_eq!(ready(&mut node, set), [(IN, again)]);
}

#[test]
fn the_end_of_a_pipe_is_told_even_if_nobody_asked() {
    let mut node = Node::new(&[]);
    let fds = node.call(calls::pipe2, &[Out(8), N(0)]).bytes(0);
    let (read, write) = (u64::from(fds[0]), u64::from(fds[4]));
    let set = epoll(&mut node);
    control(&mut node, set, ADD, read, 0).ok();
    control(&mut node, set, ADD, write, OUT | EDGE).ok();
    assert_eq!(ready(&mut node, set), [(OUT, write)]);
    node.write(write, b"x").ok();
    assert_eq!(ready(&mut node, set), []);
    node.read(read, 1).ok();
    assert_eq!(ready(&mut node, set), [(OUT, write)]);
    node.close(write);
    assert_eq!(ready(&mut node, set), [(HUP, read)]);
}

fn timerfd(node: &mut Node) -> u64 {
    node.call(calls::timerfd_create, &[N(1), N(NONBLOCK)]).ok()
}

fn set_timer(node: &mut Node, fd: u64, first: i64, interval: u64) -> (u64, u64) {
    let words: Vec<u8> = [first as u64, first as u64, interval]
        .iter()
        .flat_map(|word| word.to_le_bytes())
        .collect();
    let never = u64::from(first == 0);
    let args = [N(fd), N(0), In(&words), Out(32), N(never)];
    setting(&node.call(calls::timerfd_settime, &args).bytes(3))
}

/// What is left, and the interval, ns.
fn setting(bytes: &[u8]) -> (u64, u64) {
    let word = |at: usize| u64::from_le_bytes(bytes[at * 8..][..8].try_into().expect("8"));
    (
        word(2) * 1_000_000_000 + word(3),
        word(0) * 1_000_000_000 + word(1),
    )
}

#[test]
fn a_timer_counts_what_it_missed() {
    let mut node = Node::new(&[]);
    node.now_ns = 1000;
    let fd = timerfd(&mut node);
    assert_eq!(node.read(fd, 8).errno(), Errno::EAGAIN);
    assert_eq!(set_timer(&mut node, fd, 50, 10), (0, 0));
    assert_eq!(node.fs.alarms().next(), Some(1050));
    node.now_ns = 1049;
    assert_eq!(node.read(fd, 8).errno(), Errno::EAGAIN);
    node.now_ns = 1075;
    assert_eq!(count(node.read(fd, 8)), 3);
    assert_eq!(node.read(fd, 8).errno(), Errno::EAGAIN);
    assert_eq!(node.fs.alarms().next(), Some(1080));
    let left = node
        .call(calls::timerfd_gettime, &[N(fd), Out(32)])
        .bytes(1);
    assert_eq!(setting(&left), (5, 10));
    assert_eq!(set_timer(&mut node, fd, 0, 10), (5, 10));
    assert_eq!(node.fs.alarms().next(), None);
    // A time that is over has expired at once, also many times.
    set_timer(&mut node, fd, -35, 10);
    assert_eq!(count(node.read(fd, 8)), 4);
    set_timer(&mut node, fd, 5, 0);
    node.now_ns = 2000;
    let left = node
        .call(calls::timerfd_gettime, &[N(fd), Out(32)])
        .bytes(1);
    assert_eq!(setting(&left), (0, 0));
    assert_eq!(count(node.read(fd, 8)), 1);
    assert_eq!(node.read(fd, 8).errno(), Errno::EAGAIN);
}

#[test]
fn a_timer_wakes_a_set_once_for_each_expiration_that_was_read() {
    let mut node = Node::new(&[]);
    let set = epoll(&mut node);
    let fd = timerfd(&mut node);
    control(&mut node, set, ADD, fd, IN | EDGE).ok();
    set_timer(&mut node, fd, 50, 10);
    assert!(waits(&mut node, set));
    node.now_ns = 50;
    node.fs.alarms().ring(50);
    assert_eq!(node.wakes.take(), [PID]);
    assert_eq!(ready(&mut node, set), [(IN, fd)]);
    assert_eq!(node.fs.alarms().next(), None);
    node.read(fd, 8).ok();
    assert_eq!(node.fs.alarms().next(), Some(60));
    node.close(fd);
    node.fs.alarms().ring(60);
    assert!(node.wakes.is_empty());
}

#[test]
fn signals_are_read_as_records_and_taken() {
    let mut node = Node::new(&[]);
    let queue = Arc::new(WaitQueue::new(&node.wakes));
    node.view.signals = Some(queue.clone());
    let set = (1_u64 << 9 | 1 << 33 | 1 << 8).to_le_bytes();
    let none = N(u64::from(u32::MAX));
    let args = [none, In(&set), N(8), N(0)];
    let fd = node.call(calls::signalfd4, &args).ok();
    let epfd = epoll(&mut node);
    control(&mut node, epfd, ADD, fd, IN).ok();
    assert_eq!(node.read(fd, 128).result, Err(Stop::Wait));
    assert_eq!(node.read(fd, 127).errno(), Errno::EINVAL);
    for signal in [12, 10, 34] {
        node.view.pending.push(SignalInfo {
            signal,
            code: 0,
            words: [5, 0],
            ..SignalInfo::default()
        });
    }
    queue.wake();
    assert_eq!(node.wakes.take(), [PID]);
    assert_eq!(ready(&mut node, epfd), [(IN, fd)]);
    let bytes = node.read(fd, 1000).bytes(1);
    let numbers: Vec<u8> = bytes.chunks(128).map(|record| record[0]).collect();
    assert_eq!(numbers, [10, 34]);
    assert_eq!(bytes[12], 5);
    assert_eq!(ready(&mut node, epfd), []);
    // The set can be changed; what it is not for cannot.
    let other = (1_u64 << 11).to_le_bytes();
    node.call(calls::signalfd4, &[N(fd), In(&other), N(8), N(0)])
        .ok();
    assert_eq!(node.read(fd, 128).bytes(1)[0], 12);
    let args = [N(epfd), In(&other), N(8), N(0)];
    assert_eq!(node.call(calls::signalfd4, &args).errno(), Errno::EINVAL);
}

#[test]
fn sets_are_nested_only_so_deep_from_below_and_from_above() {
    let mut node = Node::new(&[]);
    let sets = [0; 6].map(|_| epoll(&mut node));
    for pair in sets[..5].windows(2) {
        control(&mut node, pair[1], ADD, pair[0], IN).ok();
    }
    let reply = control(&mut node, sets[5], ADD, sets[4], IN);
    assert_eq!(reply.errno(), Errno::ELOOP);
    let sets = [0; 6].map(|_| epoll(&mut node));
    for pair in sets[..5].windows(2) {
        control(&mut node, pair[0], ADD, pair[1], IN).ok();
    }
    let reply = control(&mut node, sets[4], ADD, sets[5], IN);
    assert_eq!(reply.errno(), Errno::ELOOP);
    // What was taken out does not count.
    control(&mut node, sets[0], DELETE, sets[1], IN).ok();
    control(&mut node, sets[4], ADD, sets[5], IN).ok();
}

#[test]
fn times_out_of_all_reason_make_no_timer_that_breaks_the_node() {
    let mut node = Node::new(&[]);
    node.now_ns = 1 << 60;
    let fd = timerfd(&mut node);
    for first in [i64::MIN, -1, i64::MAX] {
        for interval in [0, 1, u64::MAX] {
            set_timer(&mut node, fd, first, interval);
            let _ = node.read(fd, 8);
        }
    }
}

#[test]
fn the_lowest_free_descriptor_is_taken() {
    let mut node = Node::new(&[]);
    let first = eventfd(&mut node, 0, 0);
    for expected in first + 1..first + 200 {
        assert_eq!(eventfd(&mut node, 0, 0), expected);
    }
    let free = [first + 150, first + 7, first + 90];
    for fd in free {
        node.close(fd);
    }
    // From a number on, which says nothing about those below.
    let args = [N(first), N(0), N(first + 60)];
    assert_eq!(node.call(calls::fcntl, &args).ok(), first + 90);
    for expected in [first + 7, first + 150, first + 200] {
        assert_eq!(eventfd(&mut node, 0, 0), expected);
    }
    node.call(calls::dup2, &[N(first), N(first + 300)]).ok();
    assert_eq!(eventfd(&mut node, 0, 0), first + 201);
    node.call(calls::close_range, &[N(first + 20), N(first + 500), N(0)])
        .ok();
    assert_eq!(eventfd(&mut node, 0, 0), first + 20);
}

#[test]
fn what_has_no_name_any_more_is_not_told_of_if_that_is_not_wanted() {
    const EXCL_UNLINK: u64 = 0x0400_0000;
    const ALL: u64 = 0xfff;
    let mut node = Node::new(&[]);
    node.put_file("/f", b"some bytes");
    let watcher = node.call(calls::inotify_init1, &[N(NONBLOCK)]).ok();
    let args = [N(watcher), In(b"/f"), N(ALL | EXCL_UNLINK)];
    node.call(calls::inotify_add_watch, &args).ok();
    let fd = node.open("/f", 0);
    node.read(fd, 1).ok();
    node.call(calls::unlink, &[In(b"/f")]).ok();
    node.read(fd, 1).ok();
    node.close(fd);
    let events = node.read(watcher, 4096).bytes(1);
    let masks = events
        .chunks(16)
        .map(|event| event[4] as u32 | (event[5] as u32) << 8);
    // Opened, read, one name less, gone, watched no longer.
    assert_eq!(masks.collect::<Vec<_>>(), [0x20, 1, 4, 0x400, 0x8000]);
}

#[test]
fn the_end_of_a_file_is_told_before_that_of_its_name() {
    const ALL: u64 = 0xfff;
    let mut node = Node::new(&[]);
    node.call(calls::mkdir, &[In(b"/d"), N(0o755)]).ok();
    node.put_file("/d/f", b"");
    node.call(calls::mkdir, &[In(b"/d/s"), N(0o755)]).ok();
    let watcher = node.call(calls::inotify_init1, &[N(NONBLOCK)]).ok();
    for path in [&b"/d"[..], b"/d/f", b"/d/s"] {
        let args = [N(watcher), In(path), N(ALL)];
        node.call(calls::inotify_add_watch, &args).ok();
    }
    node.call(calls::unlink, &[In(b"/d/f")]).ok();
    node.call(calls::rmdir, &[In(b"/d/s")]).ok();
    let read = node.read(watcher, 4096).bytes(1);
    let (mut events, mut rest) = (Vec::new(), read.as_slice());
    while let [watch, _, _, _, low, high, _, top, _, _, _, _, length, ..] = rest {
        let mask = u32::from_le_bytes([*low, *high, 0, *top]);
        events.push((*watch, mask));
        rest = &rest[16 + usize::from(*length)..];
    }
    // One name less, gone, watched no longer; then its directory.
    let expected = [
        (2, 4),
        (2, 0x400),
        (2, 0x8000),
        (1, 0x200),
        (3, 0x400),
        (3, 0x8000),
        (1, 0x4000_0000 | 0x200),
    ];
    assert_eq!(events, expected);
}

#[test]
fn the_only_namespace_can_be_entered() {
    const UTS: u64 = 0x0400_0000;
    const NET: u64 = 0x4000_0000;
    let mut node = Node::new(&[]);
    node.view.pids.push(PID);
    let [names, users] =
        ["uts", "user"].map(|kind| node.open(&format!("/proc/{PID}/ns/{kind}"), 0));
    let event = eventfd(&mut node, 0, 0);
    let mut enter = |fd: u64, kind: u64| node.call(calls::setns, &[N(fd), N(kind)]).result;
    assert_eq!(enter(names, 0), Ok(0));
    assert_eq!(enter(names, UTS), Ok(0));
    let wrong = Err(Stop::Errno(Errno::EINVAL));
    assert_eq!(enter(names, NET), wrong);
    assert_eq!(enter(users, 0), wrong);
    assert_eq!(enter(event, 0), wrong);
    assert_eq!(enter(99, 0), Err(Stop::Errno(Errno::EBADF)));
}
