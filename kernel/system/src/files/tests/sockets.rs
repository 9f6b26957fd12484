//! Sockets, through their calls.

use super::*;

pub(super) const UNIX: u64 = 1;
pub(super) const INET: u64 = 2;
pub(super) const STREAM: u64 = 1;
pub(super) const DATAGRAM: u64 = 2;
pub(super) const NONBLOCK: u64 = 0o4000;
pub(super) const PEEK: u64 = 2;
pub(super) const DONTWAIT: u64 = 0x40;

pub(super) fn pair(node: &mut Node, kind: u64) -> (u64, u64) {
    let args = [N(UNIX), N(kind), N(0), Out(8)];
    let fds = node.call(calls::socketpair, &args).bytes(3);
    (u64::from(fds[0]), u64::from(fds[4]))
}

pub(super) fn socket(node: &mut Node, family: u64, kind: u64) -> u64 {
    node.call(calls::socket, &[N(family), N(kind), N(0)]).ok()
}

/// Sends with descriptors along.
pub(super) fn send(node: &mut Node, fd: u64, bytes: &[u8], files: &[u64]) -> Reply {
    let mut control = Vec::new();
    if !files.is_empty() {
        control.extend_from_slice(&(16 + 4 * files.len() as u64).to_le_bytes());
        control.extend_from_slice(&1_u32.to_le_bytes());
        control.extend_from_slice(&1_u32.to_le_bytes());
        for file in files {
            control.extend_from_slice(&(*file as u32).to_le_bytes());
        }
    }
    let length = N(bytes.len() as u64);
    let mut call = FileCall::new(
        &mut node.state,
        &node.fs,
        &mut node.view,
        PID,
        node.now_ns,
        [fd, bytes.len() as u64, 0, 0, 0, 0],
    );
    let _ = length;
    call.inputs[1] = Some(bytes);
    call.inputs[3] = Some(&control);
    let result = calls::sendmsg(&mut call);
    let outputs = std::mem::take(&mut call.outputs);
    Reply { result, outputs }
}

/// Receives: bytes, and descriptors.
pub(super) fn receive(
    node: &mut Node,
    fd: u64,
    most: usize,
    flags: u64,
) -> Result<(Vec<u8>, Vec<u64>), Stop> {
    let args = [N(fd), Out(most), N(flags), Out(256), Out(8)];
    let reply = node.call(calls::recvmsg, &args);
    reply.result?;
    let [_, bytes, _, control, ..] = reply.outputs;
    let files = control.get(16..).unwrap_or(&[]).chunks(4);
    let count = control
        .first()
        .map_or(0, |length| usize::from(*length) - 16)
        / 4;
    let files = files.take(count).map(|fd| u64::from(fd[0])).collect();
    Ok((bytes, files))
}

pub(super) fn address(port: u16) -> [u8; 16] {
    let [high, low] = port.to_be_bytes();
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&[2, 0, high, low, 127, 0, 0, 1]);
    bytes
}

pub(super) fn port_of(node: &mut Node, fd: u64) -> u16 {
    let name = node.call(calls::getsockname, &[N(fd), Out(128)]).bytes(1);
    u16::from_be_bytes([name[2], name[3]])
}

pub(super) fn on_name(
    node: &mut Node,
    function: fn(&mut FileCall) -> CallResult,
    fd: u64,
    name: &[u8],
) -> Reply {
    node.call(function, &[N(fd), In(name), N(name.len() as u64)])
}

pub(super) fn accept(node: &mut Node, fd: u64) -> Reply {
    node.call(calls::accept4, &[N(fd), Out(128), N(0), N(0)])
}

#[test]
fn bytes_wait_and_wake_and_end() {
    let mut node = Node::new(&[]);
    let (one, other) = pair(&mut node, STREAM);
    assert_eq!(node.read(other, 10).result, Err(Stop::Wait));
    node.write(one, b"hello").ok();
    assert_eq!(node.wakes.take(), [PID]);
    assert_eq!(
        receive(&mut node, other, 3, PEEK),
        Ok((b"hel".into(), vec![]))
    );
    assert_eq!(node.read(other, 10).bytes(1), b"hello");
    while node.write(one, &[0; 50_000]).result != Err(Stop::Wait) {}
    node.read(other, 60_000).ok();
    assert_eq!(node.wakes.take(), [PID]);
    node.close(other);
    assert_eq!(node.write(one, b"x").errno(), Errno::EPIPE);
    assert_eq!(node.read(one, 10).errno(), Errno::ECONNRESET);
    assert_eq!(node.read(one, 10).bytes(1), b"");
}

#[test]
fn messages_are_whole() {
    let mut node = Node::new(&[]);
    let (one, other) = pair(&mut node, DATAGRAM | NONBLOCK);
    for text in ["one", "", "three"] {
        send(&mut node, one, text.as_bytes(), &[]).ok();
    }
    assert_eq!(node.read(other, 2).bytes(1), b"on");
    assert_eq!(node.read(other, 10).bytes(1), b"");
    assert_eq!(node.read(other, 10).bytes(1), b"three");
    assert_eq!(node.read(other, 10).errno(), Errno::EAGAIN);
}

#[test]
fn descriptors_travel_with_their_bytes() {
    let mut node = Node::new(&[]);
    let (one, other) = pair(&mut node, STREAM);
    let event = node.call(calls::eventfd2, &[N(5), N(0)]).ok();
    node.write(one, b"before").ok();
    send(&mut node, one, b"with", &[event]).ok();
    node.write(one, b"behind").ok();
    node.close(event);
    let (bytes, files) = receive(&mut node, other, 100, 0).expect("bytes");
    assert_eq!(bytes, b"beforewith");
    let [event] = files[..] else {
        panic!("{files:?}")
    };
    assert_eq!(node.read(event, 8).bytes(1)[0], 5);
    assert_eq!(
        receive(&mut node, other, 100, 0),
        Ok((b"behind".into(), vec![]))
    );
    assert_eq!(send(&mut node, one, b"x", &[99]).errno(), Errno::EBADF);
}

#[test]
fn sockets_that_hold_only_each_other_are_freed() {
    let mut node = Node::new(&[]);
    let before = node.fs.counts.live();
    let (one, other) = pair(&mut node, STREAM);
    send(&mut node, one, b"x", &[one]).ok();
    send(&mut node, other, b"x", &[other, one]).ok();
    node.close(one);
    node.close(other);
    assert_eq!(node.fs.counts.live(), before + 2);
    node.fs.collect_sockets();
    assert_eq!(node.fs.counts.live(), before);
    // What can still be received is kept.
    let (one, other) = pair(&mut node, STREAM);
    let (inner, end) = pair(&mut node, STREAM);
    send(&mut node, inner, b"y", &[inner]).ok();
    send(&mut node, one, b"x", &[end]).ok();
    node.close(inner);
    node.close(end);
    node.fs.collect_sockets();
    let (_, files) = receive(&mut node, other, 1, 0).expect("bytes");
    let (bytes, more) = receive(&mut node, files[0], 1, 0).expect("bytes");
    assert_eq!((bytes, more.len()), (b"y".to_vec(), 1));
}

#[test]
fn the_loopback_connects_by_ports() {
    let mut node = Node::new(&[]);
    let listener = socket(&mut node, INET, STREAM);
    on_name(&mut node, calls::bind, listener, &address(0)).ok();
    let port = port_of(&mut node, listener);
    assert!(port >= 32_768);
    let client = socket(&mut node, INET, STREAM);
    let refused = on_name(&mut node, calls::connect, client, &address(port));
    assert_eq!(refused.errno(), Errno::ECONNREFUSED);
    node.call(calls::listen, &[N(listener), N(0)]).ok();
    assert_eq!(accept(&mut node, listener).result, Err(Stop::Wait));
    on_name(&mut node, calls::connect, client, &address(port)).ok();
    assert_eq!(node.wakes.take(), [PID]);
    let server = accept(&mut node, listener).ok();
    node.write(client, b"to you").ok();
    assert_eq!(node.read(server, 10).bytes(1), b"to you");
    assert_eq!(port_of(&mut node, server), port);
    let again = on_name(&mut node, calls::connect, client, &address(port));
    assert_eq!(again.errno(), Errno::EISCONN);
    // One may wait; the next one does, until that is accepted.
    let second = socket(&mut node, INET, STREAM);
    on_name(&mut node, calls::connect, second, &address(port)).ok();
    let third = socket(&mut node, INET, STREAM);
    let waits = on_name(&mut node, calls::connect, third, &address(port));
    assert_eq!(waits.result, Err(Stop::Wait));
    accept(&mut node, listener).ok();
    on_name(&mut node, calls::connect, third, &address(port)).ok();
    // A port is free when its socket is gone.
    let other = socket(&mut node, INET, STREAM);
    let taken = on_name(&mut node, calls::bind, other, &address(port));
    assert_eq!(taken.errno(), Errno::EADDRINUSE);
    node.close(listener);
    on_name(&mut node, calls::bind, other, &address(port)).ok();
    let far = [2, 0, 0, 80, 1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 0];
    let third = socket(&mut node, INET, STREAM);
    let away = on_name(&mut node, calls::connect, third, &far);
    assert_eq!(away.errno(), Errno::ENETUNREACH);
}

#[test]
fn paths_and_abstract_names_lead_to_sockets() {
    let mut node = Node::new(&[]);
    for name in [&b"\x01\0/tmp/sock\0"[..], b"\x01\0\0hidden"] {
        let listener = socket(&mut node, UNIX, STREAM);
        on_name(&mut node, calls::bind, listener, name).ok();
        let client = socket(&mut node, UNIX, STREAM | NONBLOCK);
        let refused = on_name(&mut node, calls::connect, client, name);
        assert_eq!(refused.errno(), Errno::ECONNREFUSED);
        node.call(calls::listen, &[N(listener), N(5)]).ok();
        on_name(&mut node, calls::connect, client, name).ok();
        let server = accept(&mut node, listener).ok();
        node.write(server, b"hi").ok();
        assert_eq!(node.read(client, 10).bytes(1), b"hi");
        let other = socket(&mut node, UNIX, STREAM);
        let taken = on_name(&mut node, calls::bind, other, name);
        assert_eq!(taken.errno(), Errno::EADDRINUSE);
    }
    assert_eq!(node.lstat("/tmp/sock").mode & 0o170_000, 0o140_000);
    assert_eq!(node.try_open("/tmp/sock", 2).errno(), Errno::ENXIO);
}

#[test]
fn a_wait_with_a_limit_says_how_long_once() {
    let mut node = Node::new(&[]);
    let (one, _) = pair(&mut node, STREAM);
    let limit: Vec<u8> = [1_u64, 500_000]
        .iter()
        .flat_map(|word| word.to_le_bytes())
        .collect();
    let args = [N(one), N(1), N(20), In(&limit), N(16)];
    node.call(calls::setsockopt, &args).ok();
    let receive = |node: &mut Node, over: Option<&[u8]>| {
        let mut call = FileCall::new(
            &mut node.state,
            &node.fs,
            &mut node.view,
            PID,
            0,
            [one, 0, 0, 0, 0, 0],
        );
        call.inputs[5] = over;
        (calls::recvmsg(&mut call), call.limit_ns)
    };
    let waits = Err(Stop::Wait);
    assert_eq!(receive(&mut node, None), (waits, Some(1_500_000_000)));
    assert_eq!(receive(&mut node, Some(&[0])), (waits, None));
    let over = Err(Errno::EAGAIN.into());
    assert_eq!(receive(&mut node, Some(&[1])), (over, None));
}

#[test]
fn datagrams_of_the_loopback_find_their_port_or_are_refused() {
    let mut node = Node::new(&[]);
    let taker = socket(&mut node, INET, DATAGRAM);
    on_name(&mut node, calls::bind, taker, &address(0)).ok();
    let port = port_of(&mut node, taker);
    let sender = socket(&mut node, INET, DATAGRAM | NONBLOCK);
    assert_eq!(
        send(&mut node, sender, b"x", &[]).errno(),
        Errno::EDESTADDRREQ
    );
    on_name(&mut node, calls::connect, sender, &address(port)).ok();
    send(&mut node, sender, b"packet", &[]).ok();
    let args = [N(taker), Out(10), N(DONTWAIT), Out(0), Out(8)];
    assert_eq!(node.call(calls::recvmsg, &args).bytes(1), b"packet");
    node.close(taker);
    send(&mut node, sender, b"lost", &[]).ok();
    assert_eq!(
        send(&mut node, sender, b"told", &[]).errno(),
        Errno::ECONNREFUSED
    );
}
