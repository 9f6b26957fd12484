//! What is told of the headers of datagrams, through the calls: each answer is that of Linux 6.18.

use super::sockets::*;
use super::*;

const INET6: u64 = 10;
const IP: u32 = 0;
const IPV6: u32 = 41;
const CTRUNC: u8 = 8;

/// A control message.
fn message(level: u32, kind: u32, data: &[u8]) -> Vec<u8> {
    let mut bytes = (16 + data.len() as u64).to_le_bytes().to_vec();
    bytes.extend(level.to_le_bytes());
    bytes.extend(kind.to_le_bytes());
    bytes.extend(data);
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes
}

/// Two sockets of datagrams, and the address of the second one.
fn pair_of(node: &mut Node, family: u64, name: &[u8], asks: &[(u32, u64)]) -> (u64, u64, Vec<u8>) {
    let sender = socket(node, family, DATAGRAM);
    let receiver = socket(node, family, DATAGRAM);
    on_name(node, calls::bind, receiver, name).ok();
    for (level, option) in asks {
        set(node, receiver, (*level, *option), 1).ok();
    }
    let port = port_of(node, receiver).to_be_bytes();
    let mut name = name.to_vec();
    name[2..4].copy_from_slice(&port);
    (sender, receiver, name)
}

fn set(node: &mut Node, fd: u64, (level, option): (u32, u64), value: i32) -> Reply {
    let value = value.to_le_bytes();
    let args = [N(fd), N(level.into()), N(option), In(&value), N(4)];
    node.call(calls::setsockopt, &args)
}

fn six(last: u8) -> [u8; 28] {
    let mut name = [0; 28];
    (name[0], name[23]) = (10, last);
    name
}

fn send_with(node: &mut Node, fd: u64, name: &[u8], control: &[u8]) -> CallResult {
    let numbers = [fd, 1, 0, 0, 0, 0];
    let mut call = FileCall::new(
        &mut node.state,
        &node.fs,
        &mut node.view,
        PID,
        node.now_ns,
        numbers,
    );
    call.inputs[1] = Some(b"x");
    call.inputs[2] = Some(name);
    call.inputs[3] = Some(control);
    calls::sendmsg(&mut call)
}

/// The control messages for what has come, and whether some were cut.
fn told(node: &mut Node, fd: u64, room: usize) -> (Vec<u8>, bool) {
    let args = [N(fd), Out(8), N(0), Out(room), Out(8)];
    let reply = node.call(calls::recvmsg, &args);
    assert_eq!(reply.result, Ok(1));
    let [_, _, _, control, flags, _] = reply.outputs;
    (control, flags[0] & CTRUNC != 0)
}

#[test]
fn headers_of_version_6_are_told_and_said() {
    let mut node = Node::new(&[]);
    let asks = [49, 51, 66, 2, 8, 74].map(|option| (IPV6, option));
    let (sender, receiver, name) = pair_of(&mut node, INET6, &six(1), &asks);
    let said = [
        message(IPV6, 52, &[2, 0, 0, 0]),
        message(IPV6, 67, &[5, 0, 0, 0]),
    ]
    .concat();
    assert_eq!(send_with(&mut node, sender, &name, &said), Ok(1));
    let info = [&name[8..24], &[1, 0, 0, 0]].concat();
    let all = [
        message(IPV6, 50, &info),
        message(IPV6, 52, &[2, 0, 0, 0]),
        message(IPV6, 67, &[5, 0, 0, 0]),
        message(IPV6, 2, &info),
        message(IPV6, 8, &[2, 0, 0, 0]),
        message(IPV6, 74, &name),
    ]
    .concat();
    assert_eq!(told(&mut node, receiver, 512), (all.clone(), false));
    // As far as there is room.
    for (room, length, first) in [(15, 0, 0), (16, 16, 16), (19, 19, 19), (43, 40, 36)] {
        assert_eq!(send_with(&mut node, sender, &name, &said), Ok(1));
        let (cut, lost) = told(&mut node, receiver, room);
        assert_eq!((cut.len(), lost), (length, true), "{room}");
        if first > 0 {
            assert_eq!(cut[0], first);
            assert_eq!(cut[8..], all[8..length]);
        }
    }
    let (hops, class) = (40 + 16, 64 + 16);
    for (control, expected) in [
        (message(IPV6, 52, &[0xff; 4]), (64, 0)),
        (message(IPV6, 52, &[0; 4]), (0, 0)),
        (message(IPV6, 67, &[0xff; 4]), (64, 0xff)),
        (message(IPV6, 50, &[0; 20]), (64, 0)),
        (message(IP, 2, &[3, 0, 0, 0]), (64, 0)),
    ] {
        assert_eq!(send_with(&mut node, sender, &name, &control), Ok(1));
        let (bytes, _) = told(&mut node, receiver, 512);
        assert_eq!((bytes[hops], bytes[class]), expected, "{control:x?}");
    }
    let interface = [&[0; 16][..], &[77, 0, 0, 0]].concat();
    let elsewhere = [&[0x20, 1][..], &[0; 18]].concat();
    for (control, error) in [
        (message(IPV6, 52, &[0, 1, 0, 0]), Errno::EINVAL),
        (message(IPV6, 52, &[0xfe, 0xff, 0xff, 0xff]), Errno::EINVAL),
        (message(IPV6, 52, &[1]), Errno::EINVAL),
        (message(IPV6, 99, &[1; 4]), Errno::EINVAL),
        (message(IPV6, 62, &[2, 0, 0, 0]), Errno::EINVAL),
        (message(IPV6, 50, &[0; 19]), Errno::EINVAL),
        (message(IPV6, 50, &interface), Errno::ENODEV),
        (message(IPV6, 50, &elsewhere), Errno::EINVAL),
    ] {
        let refused = send_with(&mut node, sender, &name, &control);
        assert_eq!(refused, Err(error.into()), "{control:x?}");
    }
    // What the socket says of all.
    set(&mut node, sender, (IPV6, 16), 9).ok();
    set(&mut node, sender, (IPV6, 67), 7).ok();
    assert_eq!(send_with(&mut node, sender, &name, &[]), Ok(1));
    let (bytes, _) = told(&mut node, receiver, 512);
    assert_eq!((bytes[hops], bytes[class]), (9, 7));
    let refused = set(&mut node, sender, (IPV6, 67), 256).errno();
    assert_eq!(refused, Errno::EINVAL);
}

#[test]
fn headers_of_version_4_are_told_and_said() {
    let mut node = Node::new(&[]);
    let asks = [8, 12, 13, 20].map(|option| (IP, option));
    let mut any = address(0);
    any[4..8].fill(0);
    let (sender, receiver, mut name) = pair_of(&mut node, INET, &any, &asks);
    name[4..8].copy_from_slice(&[127, 0, 0, 5]);
    let info = [1, 0, 0, 0, 127, 0, 0, 5, 127, 0, 0, 5];
    let header = |hops: u8, class: u8| {
        [
            message(IP, 8, &info),
            message(IP, 2, &[hops, 0, 0, 0]),
            message(IP, 1, &[class]),
            message(IP, 20, &name),
        ]
        .concat()
    };
    for (control, expected) in [
        (vec![], header(64, 0)),
        (message(IP, 2, &[3, 0, 0, 0]), header(3, 0)),
        (message(IP, 1, &[8]), header(64, 8)),
        (message(IP, 1, &[16, 0, 0, 0]), header(64, 16)),
        (message(IP, 8, &[0; 12]), header(64, 0)),
        (message(IPV6, 52, &[1]), header(64, 0)),
    ] {
        assert_eq!(send_with(&mut node, sender, &name, &control), Ok(1));
        assert_eq!(told(&mut node, receiver, 512), (expected, false));
    }
    for (control, error) in [
        (message(IP, 2, &[0; 4]), Errno::EINVAL),
        (message(IP, 2, &[1]), Errno::EINVAL),
        (message(IP, 1, &[0, 1, 0, 0]), Errno::EINVAL),
        (message(IP, 8, &[0; 11]), Errno::EINVAL),
        (message(IP, 99, &[0; 4]), Errno::EINVAL),
        (
            message(IP, 8, &[77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
            Errno::ENODEV,
        ),
        (
            message(IP, 8, &[0, 0, 0, 0, 8, 8, 0, 9, 0, 0, 0, 0]),
            Errno::ENETUNREACH,
        ),
    ] {
        let refused = send_with(&mut node, sender, &name, &control);
        assert_eq!(refused, Err(error.into()), "{control:x?}");
    }
    // Where it is to come from; and to a socket of version 6.
    let from = message(IP, 8, &[0, 0, 0, 0, 127, 0, 0, 9, 0, 0, 0, 0]);
    assert_eq!(send_with(&mut node, sender, &name, &from), Ok(1));
    let args = [N(receiver), Out(8), Out(128), Out(0), Out(8)];
    let reply = node.call(calls::recvmsg, &args);
    assert_eq!(reply.outputs[2][4..8], [127, 0, 0, 9]);
    let asks = [(IPV6, 49), (IPV6, 51), (IP, 12)];
    let (_, receiver, six) = pair_of(&mut node, INET6, &six(0), &asks);
    name[2..4].copy_from_slice(&six[2..4]);
    name[4..8].copy_from_slice(&[127, 0, 0, 1]);
    assert_eq!(send_with(&mut node, sender, &name, &[]), Ok(1));
    let mapped = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 1];
    let info = [&mapped[..], &[1, 0, 0, 0]].concat();
    let expected = [message(IPV6, 50, &info), message(IP, 2, &[64, 0, 0, 0])].concat();
    assert_eq!(told(&mut node, receiver, 512), (expected, false));
}

#[test]
fn who_asks_is_told_when_a_message_came_and_how_many_did_not() {
    const SOCKET: u32 = 1;
    let mut node = Node::new(&[]);
    node.now_ns = 7_000_001_500;
    let (sender, receiver, name) = pair_of(&mut node, INET, &address(0), &[]);
    let said = |node: &mut Node| {
        assert_eq!(send_with(node, sender, &name, &[]), Ok(1));
        told(node, receiver, 512).0
    };
    let seconds = (BOOT / 1_000_000_000 + 7).to_le_bytes();
    let nanoseconds = BOOT % 1_000_000_000 + 1500;
    let stamp = [seconds, nanoseconds.to_le_bytes()].concat();
    let coarse = [seconds, (nanoseconds / 1000).to_le_bytes()].concat();
    let whole = [&stamp[..], &[0; 32]].concat();
    assert_eq!(said(&mut node), []);
    let values = |node: &mut Node| {
        [29, 35, 63, 64].map(|option| {
            let args = [N(receiver), N(1), N(option), Out(4), N(0)];
            node.call(calls::getsockopt, &args).bytes(3)[0]
        })
    };
    for (option, shown, bytes) in [
        (29, [1, 0, 0, 0], &coarse),
        (35, [0, 1, 0, 0], &stamp),
        (63, [0, 0, 1, 0], &coarse),
        (64, [0, 0, 1, 1], &stamp),
    ] {
        set(&mut node, receiver, (SOCKET, option), 1).ok();
        assert_eq!(values(&mut node), shown);
        assert_eq!(said(&mut node), message(SOCKET, option as u32, bytes));
    }
    set(&mut node, receiver, (SOCKET, 35), 0).ok();
    assert_eq!(said(&mut node), []);
    for (flags, expected) in [(8, vec![]), (24, message(SOCKET, 37, &whole)), (0, vec![])] {
        set(&mut node, receiver, (SOCKET, 37), flags).ok();
        assert_eq!(said(&mut node), expected);
    }
    let refused = set(&mut node, receiver, (SOCKET, 37), 1 << 30).errno();
    assert_eq!(refused, Errno::EINVAL);
    // Messages for which there is no room are counted.
    set(&mut node, receiver, (SOCKET, 40), 1).ok();
    set(&mut node, receiver, (SOCKET, 8), 0).ok();
    let most = 2304;
    for _ in 0..most + 5 {
        assert_eq!(send_with(&mut node, sender, &name, &[]), Ok(1));
    }
    let mut kept = 0;
    while receive(&mut node, receiver, 8, DONTWAIT).is_ok() {
        kept += 1;
    }
    let lost = (most + 5 - kept) as u32;
    assert!(lost >= 5);
    assert_eq!(said(&mut node), message(SOCKET, 40, &lost.to_le_bytes()));
}

#[test]
fn messages_to_nobody_come_back_to_who_asks_for_them() {
    const ERRQUEUE: u64 = 0x2000;
    let mut node = Node::new(&[]);
    for (family, level, option, mut to, said, quoted) in [
        (INET, IP, 11, address(0).to_vec(), [2, 3, 3], 520),
        (INET6, IPV6, 25, six(1).to_vec(), [3, 1, 4], 1184),
    ] {
        let fd = socket(&mut node, family, DATAGRAM);
        to[2..4].copy_from_slice(&4999_u16.to_be_bytes());
        let send = |node: &mut Node, count: usize| {
            let args = [fd, count as u64, 0, 0, 0, 0];
            let (state, view) = (&mut node.state, &mut node.view);
            let mut call = FileCall::new(state, &node.fs, view, PID, node.now_ns, args);
            let bytes = vec![b'm'; count];
            call.inputs[1] = Some(&bytes);
            call.inputs[2] = Some(&to);
            calls::sendmsg(&mut call)
        };
        let take = |node: &mut Node, most: usize, flags: u64, room: usize| {
            let args = [fd, 0, flags | DONTWAIT, 0, 0, 0];
            let (state, view) = (&mut node.state, &mut node.view);
            let mut call = FileCall::new(state, &node.fs, view, PID, node.now_ns, args);
            call.capacities[1..5].copy_from_slice(&[most, 128, room, 8]);
            calls::recvmsg(&mut call).map(|_| std::mem::take(&mut call.outputs))
        };
        let error = |node: &mut Node| {
            let args = [N(fd), N(1), N(4), Out(4), N(0)];
            node.call(calls::getsockopt, &args).bytes(3)[0]
        };
        assert_eq!(send(&mut node, 2), Ok(2));
        for flags in [0, ERRQUEUE] {
            assert_eq!(take(&mut node, 10, flags, 256), Err(Errno::EAGAIN.into()));
        }
        set(&mut node, fd, (level, option), 1).ok();
        assert_eq!(send(&mut node, 5), Ok(5));
        assert_eq!(send(&mut node, 6), Err(Errno::ECONNREFUSED.into()));
        assert_eq!(send(&mut node, 3000), Ok(3000));
        let mut offender = to.clone();
        offender[2..4].fill(0);
        let said = [&[111, 0, 0, 0][..], &said, &[0; 9], &offender].concat();
        for (most, count, left, flags) in [(10, 5, 111, 0), (5000, quoted, 0, 0)] {
            let [_, bytes, from, control, told, _] =
                take(&mut node, most, ERRQUEUE, 256).expect("a message");
            assert_eq!((bytes.len(), &from), (count, &to));
            assert_eq!(control, message(level, option as u32, &said));
            let told = u32::from_le_bytes(told[..4].try_into().expect("4 bytes"));
            assert_eq!(told & 0x7fff_ffff, ERRQUEUE as u32 | flags);
            assert_eq!(error(&mut node), left);
        }
        assert_eq!(
            take(&mut node, 10, ERRQUEUE, 256),
            Err(Errno::EAGAIN.into())
        );
        // The error is told once; the message stays until it is taken, or nobody wants it.
        assert_eq!(send(&mut node, 1), Ok(1));
        assert_eq!(take(&mut node, 10, 0, 256), Err(Errno::ECONNREFUSED.into()));
        assert_eq!(take(&mut node, 10, 0, 256), Err(Errno::EAGAIN.into()));
        let cut = take(&mut node, 10, ERRQUEUE, 20).expect("a message");
        assert_eq!((cut[3].len(), cut[4][0] & CTRUNC), (20, CTRUNC));
        assert_eq!(send(&mut node, 1), Ok(1));
        set(&mut node, fd, (level, option), 0).ok();
        assert_eq!(
            take(&mut node, 10, ERRQUEUE, 256),
            Err(Errno::EAGAIN.into())
        );
    }
}

#[test]
fn what_is_sent_at_once_goes_in_datagrams_of_the_length_that_was_asked_for() {
    const UDP_SEGMENT: (u32, u64) = (17, 103);
    let mut node = Node::new(&[]);
    let (sender, receiver, name) = pair_of(&mut node, INET6, &six(1), &[]);
    let send = |node: &mut Node, bytes: &[u8], control: &[u8]| {
        let numbers = [sender, bytes.len() as u64, 0, 0, 0, 0];
        let mut call = FileCall::new(
            &mut node.state,
            &node.fs,
            &mut node.view,
            PID,
            node.now_ns,
            numbers,
        );
        call.inputs[1] = Some(bytes);
        call.inputs[2] = Some(&name);
        call.inputs[3] = Some(control);
        calls::sendmsg(&mut call)
    };
    let come = |node: &mut Node| {
        let args = [N(receiver), Out(64), N(0x40), Out(0), Out(8)];
        node.call(calls::recvmsg, &args).result
    };
    let of = |size: u16| message(17, 103, &size.to_le_bytes());
    for value in [-1, 1 << 16] {
        let refused = set(&mut node, sender, UDP_SEGMENT, value);
        assert_eq!(refused.errno(), Errno::EINVAL);
    }
    set(&mut node, sender, UDP_SEGMENT, 4).ok();
    assert_eq!(send(&mut node, b"0123456789", &[]), Ok(10));
    assert_eq!([(); 3].map(|()| come(&mut node)), [Ok(4), Ok(4), Ok(2)]);
    // A message may say it otherwise.
    assert_eq!(send(&mut node, b"0123456789", &of(6)), Ok(10));
    assert_eq!([(); 2].map(|()| come(&mut node)), [Ok(6), Ok(4)]);
    assert_eq!(send(&mut node, b"0123456789", &of(0)), Ok(10));
    assert_eq!(come(&mut node), Ok(10));
    assert!(come(&mut node).is_err());
    // At most 64 of them go at once.
    let refused = send(&mut node, &[0; 65], &of(1));
    assert_eq!(refused, Err(Errno::EINVAL.into()));
    let refused = send(&mut node, b"x", &message(17, 103, &[1, 0, 0, 0]));
    assert_eq!(refused, Err(Errno::EINVAL.into()));
}
