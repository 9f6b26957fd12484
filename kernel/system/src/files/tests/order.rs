//! Which of two errors a call has, and what it does beside: as random programs on Linux have shown.

use super::*;

#[test]
fn a_place_needs_something_that_has_places_first() {
    let mut node = Node::new(&[]);
    let (read, write) = pipe(&mut node, 0);
    let reply = node.call(calls::lseek, &[N(read), N(0), N(7)]);
    assert_eq!(reply.errno(), Errno::EINVAL);
    let reply = node.call(calls::pread64, &[N(write), Out(1), N(1), N(0)]);
    assert_eq!(reply.errno(), Errno::ESPIPE);
    let reply = node.call(calls::pwrite64, &[N(read), In(b"x"), N(1), N(0)]);
    assert_eq!(reply.errno(), Errno::ESPIPE);
    let file = node.open("/f", 0o101);
    let reply = node.call(calls::pread64, &[N(file), Out(1), N(1), N(0)]);
    assert_eq!(reply.errno(), Errno::EBADF);
}

#[test]
fn what_is_copied_is_looked_at_before_how_it_is_open() {
    let mut node = Node::new(&[]);
    let (_, write) = pipe(&mut node, 0);
    let file = node.open("/f", RDWR_CREAT);
    node.write(file, b"0123456789").ok();
    let copy = |node: &mut Node, from, to, length| {
        let args = [N(from), Null, N(to), Null, N(length), N(0)];
        node.call(calls::copy_file_range, &args)
    };
    assert_eq!(copy(&mut node, write, file, 1).errno(), Errno::EINVAL);
    // At the end of the file nothing is copied, so nothing overlaps.
    assert_eq!(copy(&mut node, file, file, 10).ok(), 0);
    node.call(calls::lseek, &[N(file), N(3), N(0)]).ok();
    assert_eq!(copy(&mut node, file, file, 10).errno(), Errno::EINVAL);
}

#[test]
fn behind_the_end_less_than_nothing_can_be_read() {
    let mut node = Node::new(&[]);
    let file = node.open("/f", RDWR_CREAT);
    node.call(calls::lseek, &[N(file), N(4096), N(0)]).ok();
    let reply = node.call(calls::ioctl, &[N(file), N(0x541b), Out(4)]);
    assert_eq!(reply.bytes(2), (-4096_i32).to_le_bytes());
}

#[test]
fn sendfile_to_a_pipe_looks_for_room_first() {
    let mut node = Node::new(&[]);
    let (read, write) = pipe(&mut node, 0o4000);
    let file = node.open("/f", RDWR_CREAT);
    node.write(file, &[7; 5000]).ok();
    node.call(calls::lseek, &[N(file), N(0), N(0)]).ok();
    let send = |node: &mut Node, from, count| {
        node.call(calls::sendfile, &[N(write), N(from), Null, N(count)])
    };
    assert_eq!(send(&mut node, read, 0).ok(), 0);
    assert_eq!(send(&mut node, read, 1).errno(), Errno::EINVAL);
    // O_APPEND says nothing of a pipe.
    node.call(calls::fcntl, &[N(write), N(4), N(0o6000)]).ok();
    assert!(send(&mut node, file, 4096).ok() > 0);
    node.close(read);
    assert_eq!(send(&mut node, file, 0).errno(), Errno::EPIPE);
}

#[test]
fn sendfile_of_nothing_needs_a_source_that_has_places_and_no_more() {
    let mut node = Node::new(&[]);
    let target = node.open("/f", RDWR_CREAT);
    let (read, _) = pipe(&mut node, 0);
    let event = node.call(calls::eventfd2, &[N(1), N(0)]).ok();
    let set = node.call(calls::epoll_create1, &[N(0)]).ok();
    let folder = node.open("/", 0);
    let mut send = |from, count| {
        let args = [N(target), N(from), Null, N(count)];
        node.call(calls::sendfile, &args).result
    };
    let not = Err(Errno::EINVAL.into());
    for from in [event, set, folder] {
        assert_eq!((send(from, 0), send(from, 8)), (Ok(0), not), "{from}");
    }
    assert_eq!((send(read, 0), send(read, 8)), (not, not));
}

#[test]
fn sendfile_takes_from_the_devices_that_linux_takes_from() {
    let mut node = Node::new(&[]);
    let target = node.open("/f", RDWR_CREAT);
    for (name, taken) in [("zero", 8), ("full", 8), ("urandom", 8), ("random", 8)] {
        let from = node.open(&format!("/dev/{name}"), 0);
        let args = [N(target), N(from), Null, N(8)];
        assert_eq!(node.call(calls::sendfile, &args).ok(), taken, "{name}");
    }
    let null = node.open("/dev/null", 2);
    let args = [N(target), N(null), Null, N(8)];
    assert_eq!(node.call(calls::sendfile, &args).errno(), Errno::EINVAL);
}

#[test]
fn a_name_is_read_before_a_descriptor_is_looked_for() {
    let mut node = Node::new(&[]);
    while node.try_open("/", 0).result.is_ok() {}
    assert_eq!(node.try_open("", 0o101).errno(), Errno::ENOENT);
    assert_eq!(node.try_open("/none", 0).errno(), Errno::EMFILE);
    let reply = node.call(calls::readlink, &[In(b""), Out(0), N(0)]);
    assert_eq!(reply.errno(), Errno::EINVAL);
}

#[test]
fn rename_finds_both_folders_before_either_name() {
    let mut node = Node::new(&[]);
    let long = "l".repeat(300);
    node.path_call(calls::mkdir, "/d").ok();
    let rename = |node: &mut Node, from: &str, to: &str, flags| {
        let args = [N(0), In(from.as_bytes()), N(0), In(to.as_bytes()), N(flags)];
        node.call(calls::renameat2, &args).errno()
    };
    let long = |folder: &str| format!("{folder}/{long}");
    assert_eq!(rename(&mut node, &long(""), "/none/x", 0), Errno::ENOENT);
    assert_eq!(rename(&mut node, "/d/.", &long("/d"), 1), Errno::EBUSY);
    assert_eq!(rename(&mut node, &long(""), "/d/.", 0), Errno::EBUSY);
    assert_eq!(rename(&mut node, "/none", &long(""), 2), Errno::ENOENT);
    assert_eq!(rename(&mut node, "/d", &long(""), 0), Errno::ENAMETOOLONG);
    assert_eq!(rename(&mut node, &long(""), "/x", 0), Errno::ENAMETOOLONG);
}

#[test]
fn room_made_in_a_program_takes_its_rights() {
    let mut node = Node::new(&[]);
    let file = node.open("/f", RDWR_CREAT);
    node.call(calls::chmod, &[In(b"/f"), N(0o6777)]).ok();
    node.who.capabilities = 0;
    node.call(calls::fallocate, &[N(file), N(1), N(0), N(100)])
        .ok();
    assert_eq!(node.lstat("/f").mode & 0o7777, 0o777);
}

#[test]
fn a_descriptor_that_only_names_a_file_is_none_for_other_calls() {
    let mut node = Node::new(&[]);
    let named = node.open("/", 0o10_000_000);
    let set = node.call(calls::epoll_create1, &[N(0)]).ok();
    let event = [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let add = |node: &mut Node, fd| {
        let args = [N(set), N(1), N(fd), In(&event)];
        node.call(calls::epoll_ctl, &args).errno()
    };
    assert_eq!(add(&mut node, named), Errno::EBADF);
    let reply = node.call(calls::listen, &[N(named), N(1)]);
    assert_eq!(reply.errno(), Errno::EBADF);
    // Neither for reading nor for writing.
    let closed = node.open("/f", 0o103);
    let reply = node.call(calls::flock, &[N(closed), N(6)]);
    assert_eq!(reply.errno(), Errno::EBADF);
    assert_eq!(node.call(calls::flock, &[N(closed), N(8)]).ok(), 0);
}

#[test]
fn splice_looks_at_places_and_at_what_takes_bytes() {
    let mut node = Node::new(&[]);
    let (read, write) = pipe(&mut node, 0o4000);
    let event = node.call(calls::eventfd2, &[N(0), N(0o4000)]).ok();
    let place = 3_u64.to_le_bytes();
    let args = [N(write), InOut(&place), N(read), Null, N(1), N(2)];
    assert_eq!(node.call(calls::splice, &args).errno(), Errno::ESPIPE);
    let args = [N(read), Null, N(event), Null, N(1), N(2)];
    assert_eq!(node.call(calls::splice, &args).errno(), Errno::EINVAL);
    let file = node.open("/f", RDWR_CREAT);
    node.write(file, b"x").ok();
    let memory = node.call(calls::memfd_create, &[In(b"m"), N(0)]).ok();
    let args = [N(file), Null, N(memory), Null, N(1), N(0)];
    assert_eq!(
        node.call(calls::copy_file_range, &args).errno(),
        Errno::EXDEV
    );
    let args = [N(memory), N(1034), N(0)];
    assert_eq!(node.call(calls::fcntl, &args).ok(), 1);
    let args = [N(read), N(1033), N(0x100)];
    assert_eq!(node.call(calls::fcntl, &args).errno(), Errno::EPERM);
}

#[test]
fn sendfile_takes_no_more_from_a_socket_than_the_pipe_has_room_for() {
    let mut node = Node::new(&[]);
    let (read, write) = pipe(&mut node, 0o4000);
    let ends = node.call(calls::socketpair, &[N(1), N(1), N(0), Out(8)]);
    let ends = ends.bytes(3);
    let end = |at: usize| u64::from(u32::from_le_bytes(ends[at..at + 4].try_into().expect("4")));
    node.write(write, &[0; 60_000]).ok();
    node.write(end(0), &[7; 10_000]).ok();
    let args = [N(write), N(end(4)), Null, N(10_000)];
    let sent = node.call(calls::sendfile, &args).ok();
    assert!(sent > 0 && sent < 10_000);
    assert_eq!(node.read(read, 60_000).ok(), 60_000);
    assert_eq!(node.read(read, 10_000).ok(), sent);
    assert_eq!(node.read(end(4), 10_000).ok(), 10_000 - sent);
}

#[test]
fn splice_takes_from_what_linux_takes_from() {
    let mut node = Node::new(&[]);
    let (_, write) = pipe(&mut node, 0o4000);
    let mut from = |name: &str| {
        let file = node.open(name, 0);
        let args = [N(file), Null, N(write), Null, N(4), N(2)];
        node.call(calls::splice, &args).result
    };
    assert_eq!(from("/dev/null"), Err(Errno::EINVAL.into()));
    assert_eq!(from("/proc/self/stat"), Err(Errno::EINVAL.into()));
    assert_eq!(from("/dev/zero"), Ok(4));
    assert_eq!(from("/proc/uptime"), Ok(4));
}

#[test]
fn splice_from_a_socket_waits_as_its_flag_says() {
    let mut node = Node::new(&[]);
    let (_, write) = pipe(&mut node, 0);
    let pair = node.call(calls::socketpair, &[N(1), N(1), N(0), Out(8)]);
    let fds = pair.bytes(3);
    let socket = u64::from(u32::from_le_bytes(
        fds[..4].try_into().expect("two of 4 bytes"),
    ));
    let splice = |node: &mut Node, flags| {
        let args = [N(socket), Null, N(write), Null, N(4), N(flags)];
        node.call(calls::splice, &args).result
    };
    assert_eq!(splice(&mut node, 2), Err(Errno::EAGAIN.into()));
    assert_eq!(splice(&mut node, 0), Err(Stop::Wait));
}

#[test]
fn what_is_not_made_from_memory_alone_is_to_be_tried_again() {
    let mut node = Node::new(&[]);
    node.open("/f", RDWR_CREAT);
    let open = |node: &mut Node, flags: u64| {
        let how = [flags, 0, 32].map(u64::to_le_bytes).concat();
        let args = [N(-100_i64 as u64), In(b"/f"), In(&how), N(24)];
        node.call(calls::openat2, &args)
    };
    open(&mut node, 2).ok();
    for flags in [u64::from(RDWR_CREAT), 0o1002] {
        assert_eq!(open(&mut node, flags).errno(), Errno::EAGAIN);
    }
}

#[test]
fn a_file_shares_no_blocks_with_another() {
    let mut node = Node::new(&[]);
    let file = node.open("/f", RDWR_CREAT);
    let reply = node.call(calls::ioctl, &[N(file), N(0xc018_9436), In(&[0; 24])]);
    assert_eq!(reply.errno(), Errno::EOPNOTSUPP);
}

#[test]
fn statfs_tells_what_a_socket_is_of_and_how_it_is_mounted() {
    let mut node = Node::new(&[]);
    let word = |reply: &[u8], at: usize| u64::from(reply[at]) | u64::from(reply[at + 1]) << 8;
    let file = node.open("/f", RDWR_CREAT);
    let told = node.call(calls::fstatfs, &[N(file), Out(120)]).bytes(1);
    assert_eq!(word(&told, 80), 0x1020);
    let socket = node.call(calls::socket, &[N(1), N(1), N(0)]).ok();
    let told = node.call(calls::fstatfs, &[N(socket), Out(120)]).bytes(1);
    assert_eq!(told[..4], *b"KCOS");
}
