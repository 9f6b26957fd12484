//! Pipes with names.

use super::*;

const NONBLOCK: u32 = 0o4000;

fn fifo(node: &mut Node, path: &str) {
    node.call(calls::mknod, &[In(path.as_bytes()), N(0o010_644), N(0)])
        .ok();
}

#[test]
fn the_first_side_waits_and_counts_while_it_waits() {
    let mut node = Node::new(&[]);
    fifo(&mut node, "/p");
    assert_eq!(node.lstat("/p").mode, 0o010_644);
    assert_eq!(node.try_open("/p", 1 | NONBLOCK).errno(), Errno::ENXIO);
    assert_eq!(node.try_open("/p", 0).result, Err(Stop::Wait));
    // Somebody else opens it for writing, as pid 300: the reader is there.
    node.view.opening.insert(PID);
    node.pid = 300;
    let write = node.open("/p", 1);
    assert_eq!(node.wakes.take(), [PID]);
    assert_eq!(node.write(write, b"hello").ok(), 5);
    node.view.opening.clear();
    node.pid = PID;
    let read = node.open("/p", 0);
    assert_eq!(node.read(read, 9).bytes(1), b"hello");
    node.close(write);
    assert_eq!(node.read(read, 9).bytes(1), b"");
}

#[test]
fn an_opening_that_waited_or_was_given_up_is_no_end() {
    let mut node = Node::new(&[]);
    fifo(&mut node, "/p");
    // A writer waits and gives up; another waits and is let in, and closes.
    assert_eq!(node.try_open("/p", 1).result, Err(Stop::Wait));
    node.pid = 300;
    assert_eq!(node.try_open("/p", 1).result, Err(Stop::Wait));
    node.view.opening.insert(300);
    node.pid = 301;
    let read = node.open("/p", 0);
    node.pid = 300;
    let write = node.open("/p", 1);
    node.write(write, b"x").ok();
    node.close(write);
    node.pid = 301;
    assert_eq!(node.read(read, 9).bytes(1), b"x");
    assert_eq!(node.read(read, 9).bytes(1), b"");
}

#[test]
fn a_reader_that_waited_gets_in_even_if_the_writer_has_left() {
    let mut node = Node::new(&[]);
    fifo(&mut node, "/p");
    assert_eq!(node.try_open("/p", 0).result, Err(Stop::Wait));
    node.view.opening.insert(PID);
    node.pid = 300;
    let write = node.open("/p", 1);
    node.close(write);
    node.pid = PID;
    let read = node.open("/p", 0);
    assert_eq!(node.read(read, 9).bytes(1), b"");
}

#[test]
fn a_pipe_without_a_name_is_opened_anew_without_waiting() {
    let mut node = Node::new(&[]);
    let ends = node.call(calls::pipe2, &[Out(8), N(0)]).bytes(0);
    let (read, write) = (u64::from(ends[0]), u64::from(ends[4]));
    node.write(write, b"hello").ok();
    node.close(write);
    let again = node.open(&format!("/proc/self/fd/{read}"), 0);
    assert_eq!(node.read(again, 9).bytes(1), b"hello");
    assert_eq!(node.read(again, 9).bytes(1), b"");
    let write = node.open(&format!("/proc/self/fd/{read}"), 1);
    node.write(write, b"x").ok();
    assert_eq!(node.read(read, 9).bytes(1), b"x");
}

#[test]
fn without_waiting() {
    let mut node = Node::new(&[]);
    fifo(&mut node, "/p");
    let read = node.open("/p", NONBLOCK);
    let ready = |node: &mut Node, fd: u64| {
        let entry = [&(fd as u32).to_le_bytes()[..], &[0x5, 0, 0, 0]].concat();
        node.deadline_ns = Some(0);
        let reply = node.call(calls::poll, &[InOut(&entry), N(1), N(0)]);
        node.deadline_ns = None;
        i16::from(reply.bytes(0)[6])
    };
    // Nobody has hung up yet.
    assert_eq!(ready(&mut node, read), 0);
    assert_eq!(node.read(read, 9).bytes(1), b"");
    let write = node.open("/p", 1 | NONBLOCK);
    assert_eq!(node.read(read, 9).errno(), Errno::EAGAIN);
    node.write(write, b"x").ok();
    assert_eq!(ready(&mut node, read) & 0x11, 1);
    node.close(write);
    assert_eq!(ready(&mut node, read) & 0x11, 0x11);
    node.close(read);
    // Bytes do not outlive the last end.
    let both = node.open("/p", 2 | NONBLOCK);
    assert_eq!(node.read(both, 9).errno(), Errno::EAGAIN);
}

#[test]
fn splices_take_only_what_the_other_side_took() {
    let mut node = Node::new(&[]);
    let pipe = |node: &mut Node| {
        let ends = node
            .call(calls::pipe2, &[Out(8), N(u64::from(NONBLOCK))])
            .bytes(0);
        (u64::from(ends[0]), u64::from(ends[4]))
    };
    let (one, two) = (pipe(&mut node), pipe(&mut node));
    node.write(one.1, &[5; 12_000]).ok();
    let tee = |node: &mut Node| node.call(calls::tee, &[N(one.0), N(two.1), N(20_000), N(0)]);
    assert_eq!(tee(&mut node).ok(), 12_000);
    node.call(calls::fcntl, &[N(two.1), N(1031), N(16_384)])
        .ok();
    let splice = |node: &mut Node, from: u64, to: u64| {
        node.call(
            calls::splice,
            &[N(from), Null, N(to), Null, N(20_000), N(0)],
        )
    };
    assert_eq!(splice(&mut node, one.0, two.1).ok(), 4096);
    assert_eq!(splice(&mut node, one.0, two.1).errno(), Errno::EAGAIN);
    assert_eq!(node.read(one.0, 9000).bytes(1).len(), 12_000 - 4096);
    let file = node.open("/f", RDWR_CREAT);
    assert_eq!(splice(&mut node, two.0, file).ok(), 16_096);
    assert_eq!(node.get_file("/f"), [5; 16_096]);
    node.close(one.0);
    node.call(calls::lseek, &[N(file), N(0), N(0)]).ok();
    assert_eq!(splice(&mut node, file, one.1).errno(), Errno::EPIPE);
    assert_eq!(node.raised, Some(abi::signal::SIGPIPE));
}

#[test]
fn holes() {
    let mut node = Node::new(&[]);
    let fd = node.open("/f", RDWR_CREAT);
    let at = |node: &mut Node, bytes: &[u8], offset: u64| {
        let length = bytes.len() as u64;
        node.call(calls::pwrite64, &[N(fd), In(bytes), N(length), N(offset)])
            .ok();
    };
    let seek =
        |node: &mut Node, from: u64, how: u64| node.call(calls::lseek, &[N(fd), N(from), N(how)]);
    at(&mut node, &[1; 100], 0x10_0000);
    assert_eq!(node.lstat("/f").blocks, 8);
    assert_eq!(seek(&mut node, 0, 3).ok(), 0x10_0000);
    assert_eq!(seek(&mut node, 0, 4).ok(), 0);
    assert_eq!(seek(&mut node, 0x10_0001, 4).ok(), 0x10_0064);
    assert_eq!(seek(&mut node, 0x10_0064, 3).errno(), Errno::ENXIO);
    at(&mut node, &[2; 12_288], 0);
    assert_eq!(seek(&mut node, 0, 4).ok(), 12_288);
    let punch = [N(fd), N(3), N(4000), N(4196)];
    node.call(calls::fallocate, &punch).ok();
    assert_eq!(seek(&mut node, 0, 4).ok(), 4096);
    assert_eq!(seek(&mut node, 4096, 3).ok(), 8192);
    let bytes = node.get_file("/f");
    assert_eq!(bytes[3999..4001], [2, 0]);
    assert_eq!(bytes[8195..8197], [0, 2]);
    // Nothing comes back when the file is cut and grows again.
    node.call(calls::ftruncate, &[N(fd), N(3)]).ok();
    node.call(calls::ftruncate, &[N(fd), N(5000)]).ok();
    assert_eq!(node.lstat("/f").blocks, 8);
    assert_eq!(node.get_file("/f")[..5], [2, 2, 2, 0, 0]);
    // A hole over the end takes the page that the end is in.
    node.call(calls::fallocate, &[N(fd), N(3), N(0), N(8192)])
        .ok();
    assert_eq!(node.lstat("/f").blocks, 0);
    assert_eq!(node.get_file("/f"), [0; 5000]);
}

#[test]
fn seals() {
    let mut node = Node::new(&[]);
    let memory = node.call(calls::memfd_create, &[In(b"name"), N(2)]).ok();
    node.write(memory, b"12345").ok();
    let fcntl = |node: &mut Node, command: u64, argument: u64| {
        node.call(calls::fcntl, &[N(memory), N(command), N(argument)])
    };
    fcntl(&mut node, 1033, 2).ok();
    let cut = |node: &mut Node, size: u64| node.call(calls::ftruncate, &[N(memory), N(size)]);
    assert_eq!(cut(&mut node, 2).errno(), Errno::EPERM);
    cut(&mut node, 9).ok();
    fcntl(&mut node, 1033, 8 | 1).ok();
    assert_eq!(node.write(memory, b"x").errno(), Errno::EPERM);
    assert_eq!(fcntl(&mut node, 1034, 0).ok(), 11);
    assert_eq!(fcntl(&mut node, 1033, 4).errno(), Errno::EPERM);
    let told = node.state.describe(memory as u32).expect("it is open");
    assert_eq!(told, b"/memfd:name (deleted)");
}
