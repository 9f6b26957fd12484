//! Sockets, through their calls: what random programs and those of others have found.

use super::sockets::*;
use super::*;

/// What is wrong with a byte that is sent to a name, if anything is.
fn sent_to(node: &mut Node, fd: u64, name: &[u8]) -> Option<Stop> {
    let mut call = FileCall::new(
        &mut node.state,
        &node.fs,
        &mut node.view,
        PID,
        node.now_ns,
        [fd, 1, 0, 0, 0, 0],
    );
    call.inputs[1] = Some(b"x");
    call.inputs[2] = Some(name);
    calls::sendmsg(&mut call).err()
}

#[test]
fn urgent_data_is_told_of_before_it_is_reached() {
    const OOB: u64 = 1;
    const FIONREAD: u64 = 0x541b;
    const SIOCATMARK: u64 = 0x8905;
    let mut node = Node::new(&[]);
    let listener = socket(&mut node, INET, STREAM);
    on_name(&mut node, calls::bind, listener, &address(0)).ok();
    node.call(calls::listen, &[N(listener), N(5)]).ok();
    let port = port_of(&mut node, listener);
    let client = socket(&mut node, INET, STREAM);
    on_name(&mut node, calls::connect, client, &address(port)).ok();
    let server = accept(&mut node, listener).ok();
    let urgent = |node: &mut Node, bytes: &'static [u8]| {
        let args = [N(client), In(bytes), N(OOB)];
        node.call(calls::sendmsg, &args).result
    };
    let ask = |node: &mut Node, request| {
        let reply = node.call(calls::ioctl, &[N(server), N(request), Out(4)]);
        reply.bytes(2)[0]
    };
    let ready = |node: &mut Node| {
        let entry = [server as u8, 0, 0, 0, 3, 0, 0, 0];
        let reply = node.call(calls::poll, &[InOut(&entry), N(1), N(0)]);
        reply.outputs[0].get(6).copied().unwrap_or(0)
    };
    assert_eq!(urgent(&mut node, b"xyz"), Ok(3));
    assert_eq!(
        (
            ready(&mut node),
            ask(&mut node, FIONREAD),
            ask(&mut node, SIOCATMARK)
        ),
        (3, 2, 0)
    );
    assert_eq!(
        receive(&mut node, server, 10, 0).map(|it| it.0),
        Ok(b"xy".to_vec())
    );
    assert_eq!(
        (
            ready(&mut node),
            ask(&mut node, FIONREAD),
            ask(&mut node, SIOCATMARK)
        ),
        (2, 0, 1)
    );
    for flags in [OOB | PEEK, OOB] {
        assert_eq!(
            receive(&mut node, server, 10, flags).map(|it| it.0),
            Ok(b"z".to_vec())
        );
    }
    let none = Err(Stop::Errno(Errno::EINVAL));
    assert_eq!(receive(&mut node, server, 10, OOB), none);
    let nothing = Err(Stop::Errno(Errno::EAGAIN));
    assert_eq!(receive(&mut node, server, 10, DONTWAIT), nothing);
    node.write(client, b"on").ok();
    assert_eq!(
        receive(&mut node, server, 10, PEEK).map(|it| it.0),
        Ok(b"on".to_vec())
    );
    assert_eq!(
        receive(&mut node, server, 10, 0).map(|it| it.0),
        Ok(b"on".to_vec())
    );
    assert_eq!(ask(&mut node, SIOCATMARK), 0);
    // Like any other byte, if that is wanted.
    let args = [N(server), N(1), N(10), In(&[1, 0, 0, 0]), N(4)];
    node.call(calls::setsockopt, &args).ok();
    assert_eq!(urgent(&mut node, b"pq"), Ok(2));
    assert_eq!(receive(&mut node, server, 10, OOB), none);
    for byte in [b"p", b"q"] {
        assert_eq!(
            receive(&mut node, server, 10, 0).map(|it| it.0),
            Ok(byte.to_vec())
        );
    }
}

#[test]
fn nothing_is_sent_behind_the_own_end_though_the_other_side_is_gone() {
    let mut node = Node::new(&[]);
    let listener = socket(&mut node, INET, STREAM);
    on_name(&mut node, calls::bind, listener, &address(0)).ok();
    node.call(calls::listen, &[N(listener), N(5)]).ok();
    let port = port_of(&mut node, listener);
    let client = socket(&mut node, INET, STREAM);
    on_name(&mut node, calls::connect, client, &address(port)).ok();
    let server = accept(&mut node, listener).ok();
    node.call(calls::shutdown, &[N(client), N(1)]).ok();
    node.close(server);
    assert_eq!(node.read(client, 10).bytes(1), b"");
    assert_eq!(node.write(client, b"x").errno(), Errno::EPIPE);
}

/// getaddrinfo(3) looks with one socket which address would be used towards each of those that it has found.
#[test]
fn a_socket_of_messages_forgets_its_address_with_its_connection() {
    const INET6: u64 = 10;
    let mut node = Node::new(&[]);
    let fd = socket(&mut node, INET6, DATAGRAM);
    let mut six = [0; 28];
    (six[0], six[3], six[23]) = (10, 9, 1);
    let mapped = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 1];
    let own = |node: &mut Node| node.call(calls::getsockname, &[N(fd), Out(128)]).bytes(1);
    on_name(&mut node, calls::connect, fd, &six).ok();
    assert_eq!(own(&mut node)[8..24], six[8..24]);
    on_name(&mut node, calls::connect, fd, &[0; 16]).ok();
    assert_eq!(own(&mut node)[2..24], [0; 22]);
    on_name(&mut node, calls::connect, fd, &address(9)).ok();
    assert_eq!(own(&mut node)[8..24], mapped);
    // What bind(2) has given stays.
    let fd = socket(&mut node, INET, DATAGRAM);
    on_name(
        &mut node,
        calls::bind,
        fd,
        &[2, 0, 0x12, 0x34, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    )
    .ok();
    on_name(&mut node, calls::connect, fd, &address(9)).ok();
    on_name(&mut node, calls::connect, fd, &[0; 16]).ok();
    let name = node.call(calls::getsockname, &[N(fd), Out(128)]).bytes(1);
    assert_eq!(name[..8], [2, 0, 0x12, 0x34, 0, 0, 0, 0]);
}

#[test]
fn who_sends_from_all_addresses_is_told_by_one_that_can_be_answered() {
    const INET6: u64 = 10;
    let mut node = Node::new(&[]);
    let taker = socket(&mut node, INET6, DATAGRAM);
    let mut any = [0; 28];
    any[0] = 10;
    let wrong = on_name(&mut node, calls::bind, taker, &address(0));
    assert_eq!(wrong.errno(), Errno::EINVAL);
    on_name(&mut node, calls::bind, taker, &any).ok();
    let port = port_of(&mut node, taker);
    let sender = socket(&mut node, INET, DATAGRAM);
    on_name(
        &mut node,
        calls::bind,
        sender,
        &[2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    )
    .ok();
    let own = port_of(&mut node, sender);
    let args = [N(sender), In(&[b'x'; 4096]), In(&address(port))];
    node.call(calls::sendmsg, &args).ok();
    let args = [N(taker), Out(10), Out(128), Out(0), Out(8)];
    let from = node.call(calls::recvmsg, &args).bytes(2);
    assert_eq!(from[2..4], own.to_be_bytes());
    assert_eq!(
        from[8..24],
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 1]
    );
}

#[test]
fn the_kernel_tells_of_its_loopback() {
    const NETLINK: u64 = 16;
    const RAW: u64 = 3;
    const GETLINK: u16 = 18;
    const GETADDR: u16 = 22;
    const GETNEIGH: u16 = 30;
    const NEWLINK: u16 = 16;
    let mut node = Node::new(&[]);
    let fd = socket(&mut node, NETLINK, RAW | NONBLOCK);
    let own = [16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    on_name(&mut node, calls::bind, fd, &own).ok();
    let name = node.call(calls::getsockname, &[N(fd), Out(128)]).bytes(1);
    assert_eq!(name[4..8], PID.to_le_bytes());
    let mut ask = |kind: u16, flags: u16| {
        let mut question = vec![20, 0, 0, 0];
        question.extend([kind.to_le_bytes(), flags.to_le_bytes()].concat());
        question.extend([7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        node.write(fd, &question).ok();
        let mut told = Vec::new();
        while let Ok((bytes, _)) = receive(&mut node, fd, 4096, 0) {
            told.push(bytes);
        }
        told
    };
    let told = ask(GETLINK, 0x301);
    assert_eq!(told.len(), 2, "what there is, and the end");
    assert_eq!(told[0][4..6], NEWLINK.to_le_bytes());
    assert_eq!((told[0][8], &told[0][12..16]), (7, &PID.to_le_bytes()[..]));
    assert!(told[0].windows(3).any(|bytes| bytes == b"lo\0"));
    assert_eq!((told[1][0], told[1][4]), (20, 3));
    let told = ask(GETADDR, 0x301);
    assert!(told[0].windows(4).any(|bytes| bytes == [127, 0, 0, 1]));
    // Of one interface, by number or name; and who asks is always answered.
    assert_eq!(ask(GETLINK, 1)[0][16..20], (-22_i32).to_le_bytes());
    assert_eq!(ask(GETNEIGH, 1)[0][16..20], (-95_i32).to_le_bytes());
    // Nothing can be changed.
    let told = ask(NEWLINK, 5);
    assert_eq!(
        (told[0][4], &told[0][16..20]),
        (2, &(-1_i32).to_le_bytes()[..])
    );
}

#[test]
fn the_kernel_tells_of_its_routes() {
    const NETLINK: u64 = 16;
    const RAW: u64 = 3;
    const GETROUTE: u16 = 26;
    const GETRULE: u16 = 34;
    const DUMP: u16 = 0x301;
    let mut node = Node::new(&[]);
    let fd = socket(&mut node, NETLINK, RAW | NONBLOCK);
    let mut ask = |kind: u16, flags: u16, family: u8, attributes: &[u8]| {
        let mut question = vec![28 + attributes.len() as u8, 0, 0, 0];
        question.extend([kind.to_le_bytes(), flags.to_le_bytes()].concat());
        question.extend([7, 0, 0, 0, 0, 0, 0, 0, family]);
        question.extend([[0; 11].as_slice(), attributes].concat());
        node.write(fd, &question).ok();
        let mut told = Vec::new();
        while let Ok((bytes, _)) = receive(&mut node, fd, 4096, 0) {
            told.push(bytes);
        }
        told
    };
    let messages = |bytes: &[u8]| {
        let (mut count, mut at) = (0, 0);
        while let Some(word) = bytes.get(at..at + 4) {
            let length = u32::from_le_bytes(word.try_into().expect("4 bytes"));
            at += (length as usize).next_multiple_of(4);
            count += 1;
        }
        count
    };
    let counts = [(GETROUTE, [4, 3, 1]), (GETRULE, [5, 3, 2])];
    for (kind, counts) in counts {
        for (family, count) in [0, 2, 10].into_iter().zip(counts) {
            let told = ask(kind, DUMP, family, &[]);
            assert_eq!(messages(&told[0]), count, "kind {kind}, family {family}");
            assert_eq!(told[1][4], 3, "the end");
        }
    }
    // The way to one address; to others there is none.
    let to = |bytes: [u8; 4]| [[8, 0, 1, 0], bytes].concat();
    let told = ask(GETROUTE, 1, 2, &to([127, 1, 2, 3]));
    assert_eq!((told.len(), told[0][4]), (1, 24));
    assert_eq!(told[0][16..18], [2, 32], "family and length");
    assert_eq!(told[0][23], 2, "to this machine");
    let told = ask(GETROUTE, 1, 2, &to([10, 0, 0, 1]));
    assert_eq!(told[0][16..20], (-101_i32).to_le_bytes());
    let six = [&[20, 0, 1, 0][..], &[0; 15], &[1]].concat();
    assert_eq!(ask(GETROUTE, 1, 10, &six)[0][4], 24);
    // What does not fit into itself is refused or not seen.
    for attributes in [&[9, 0, 1, 0, 127][..], &[0; 8], &[5, 0, 1, 0, 127, 0, 0, 0]] {
        assert_eq!(ask(GETROUTE, 1, 10, attributes)[0][4], 2);
    }
}

#[test]
fn sockets_to_the_kernel_have_options_of_their_own() {
    const NETLINK: u64 = 16;
    const RAW: u64 = 3;
    const LEVEL: u64 = 270;
    const SO_TYPE: u64 = 3;
    const SO_PROTOCOL: u64 = 38;
    let mut node = Node::new(&[]);
    let fd = socket(&mut node, NETLINK, RAW | NONBLOCK);
    let get = |node: &mut Node, level: u64, name: u64| {
        let args = [N(fd), N(level), N(name), Out(40), N(0)];
        node.call(calls::getsockopt, &args).bytes(3)
    };
    let set = |node: &mut Node, name: u64, value: u32| {
        let value = value.to_le_bytes();
        let args = [N(fd), N(LEVEL), N(name), In(&value), N(4)];
        node.call(calls::setsockopt, &args)
    };
    assert_eq!(get(&mut node, 1, SO_TYPE), [3, 0, 0, 0]);
    assert_eq!(get(&mut node, 1, SO_PROTOCOL), [0; 4]);
    // Whether refusals are short, what of messages is told, and the like.
    for name in [3, 4, 5, 10, 11, 12] {
        assert_eq!(get(&mut node, LEVEL, name), [0; 4]);
        set(&mut node, name, 7).ok();
        assert_eq!(get(&mut node, LEVEL, name), [1, 0, 0, 0]);
    }
    assert_eq!(set(&mut node, 77, 1).errno(), Errno::ENOPROTOOPT);
    // Generic netlink knows itself, and nobody else.
    for (name, told) in [(b"nlctrl\0", 16_u8), (b"others\0", 2)] {
        let args = [N(NETLINK), N(RAW | NONBLOCK), N(16)];
        let generic = node.call(calls::socket, &args).ok();
        let head = [&[32, 0, 0, 0, 16, 0, 1, 0][..], &[0; 8]].concat();
        let question = [&head[..], &[3, 1, 0, 0, 11, 0, 2, 0], name, &[0]].concat();
        node.write(generic, &question).ok();
        let answer = receive(&mut node, generic, 4096, 0).expect("an answer").0;
        assert_eq!(answer[4], told);
    }
    // Groups.
    assert_eq!(get(&mut node, LEVEL, 9), [0; 0]);
    for group in [1, 9, 33] {
        set(&mut node, 1, group).ok();
    }
    set(&mut node, 2, 9).ok();
    assert_eq!(get(&mut node, LEVEL, 9), [1, 0, 0, 0, 1, 0, 0, 0]);
    for group in [0, 37] {
        assert_eq!(set(&mut node, 1, group).errno(), Errno::EINVAL);
    }
    // What is refused is told whole, or its header alone.
    const DELLINK: u8 = 17;
    let question = [&[32, 0, 0, 0, DELLINK, 0, 1, 0][..], &[7; 24]].concat();
    for (caps, length) in [(0, 20 + 32), (1, 20 + 16)] {
        set(&mut node, 10, caps).ok();
        node.write(fd, &question).ok();
        let told = receive(&mut node, fd, 4096, 0).expect("an answer").0;
        assert_eq!(told[16..20], (-1_i32).to_le_bytes());
        assert_eq!(told.len(), length);
    }
}

#[test]
fn a_datagram_that_is_too_long_is_refused_whoever_it_is_for() {
    let mut node = Node::new(&[]);
    let sender = socket(&mut node, INET, DATAGRAM);
    let bytes = [0; 65_536];
    let args = [N(sender), In(&bytes), In(&address(9))];
    assert_eq!(node.call(calls::sendmsg, &args).errno(), Errno::EMSGSIZE);
}

#[test]
fn a_long_row_of_sockets_in_sockets_ends_without_end() {
    let mut node = Node::new(&[]);
    let before = node.fs.counts.live();
    let (mut near, _far) = pair(&mut node, STREAM);
    for _ in 0..3000 {
        let (next, end) = pair(&mut node, STREAM);
        send(&mut node, near, b"x", &[end]).ok();
        node.close(near);
        node.close(end);
        near = next;
    }
    node.close(near);
    node.state.clear();
    node.fs.collect_sockets();
    assert_eq!(node.fs.counts.live(), before);
}

#[test]
fn looking_ahead_goes_on_where_it_was() {
    const PEEK_OFF: u64 = 42;
    let mut node = Node::new(&[]);
    let begin = |node: &mut Node, fd: u64, at: i32| {
        let args = [N(fd), N(1), N(PEEK_OFF), In(&at.to_le_bytes()), N(4)];
        node.call(calls::setsockopt, &args).ok();
    };
    let offset = |node: &mut Node, fd: u64| {
        let args = [N(fd), N(1), N(PEEK_OFF), Out(4), N(0)];
        let bytes = node.call(calls::getsockopt, &args).bytes(3);
        i32::from_le_bytes(bytes.try_into().expect("4 bytes"))
    };
    let looks = |node: &mut Node, fd: u64, most: usize| {
        receive(node, fd, most, PEEK | DONTWAIT).map(|it| it.0)
    };
    let (one, other) = pair(&mut node, STREAM);
    assert_eq!(offset(&mut node, other), -1);
    let event = node.call(calls::eventfd2, &[N(5), N(0)]).ok();
    send(&mut node, one, b"0123", &[event]).ok();
    node.write(one, b"456789").ok();
    begin(&mut node, other, 2);
    assert_eq!(looks(&mut node, other, 1), Ok(b"2".into()));
    assert_eq!(looks(&mut node, other, 9), Ok(b"3".into()));
    assert_eq!(looks(&mut node, other, 3), Ok(b"456".into()));
    assert_eq!(offset(&mut node, other), 7);
    assert_eq!(
        receive(&mut node, other, 3, 0).map(|it| it.0),
        Ok(b"012".into())
    );
    assert_eq!(offset(&mut node, other), 4);
    assert_eq!(looks(&mut node, other, 9), Ok(b"789".into()));
    let nothing = Err(Stop::Errno(Errno::EAGAIN));
    assert_eq!(looks(&mut node, other, 9), nothing);
    begin(&mut node, other, -1);
    assert_eq!(looks(&mut node, other, 2), Ok(b"34".into()));
    // Messages end where they end.
    let (one, other) = pair(&mut node, DATAGRAM);
    for text in [b"abcd", b"efgh"] {
        send(&mut node, one, text, &[]).ok();
    }
    begin(&mut node, other, 1);
    for text in ["bc", "d", "ef"] {
        assert_eq!(looks(&mut node, other, 2), Ok(text.into()));
    }
    assert_eq!(node.read(other, 1).bytes(1), b"a");
    assert_eq!(offset(&mut node, other), 2);
    assert_eq!(looks(&mut node, other, 9), Ok(b"gh".into()));
}

#[test]
fn urgent_bytes_go_between_local_sockets_too() {
    const OOB: u64 = 1;
    let mut node = Node::new(&[]);
    let (one, other) = pair(&mut node, STREAM);
    let event = node.call(calls::eventfd2, &[N(5), N(0)]).ok();
    for bytes in [b"ab", b"cd"] {
        let args = [N(one), In(bytes), N(OOB)];
        node.call(calls::sendmsg, &args).ok();
    }
    let receives = |node: &mut Node, flags| receive(node, other, 9, flags).map(|it| it.0);
    assert_eq!(receives(&mut node, 0), Ok(b"abc".into()));
    assert_eq!(receives(&mut node, OOB), Ok(b"d".into()));
    send(&mut node, one, b"with", &[event]).ok();
    assert_eq!(receives(&mut node, 0), Ok(b"with".into()));
    let (one, _) = pair(&mut node, DATAGRAM);
    let args = [N(one), In(b"x"), N(OOB)];
    assert_eq!(node.call(calls::sendmsg, &args).errno(), Errno::EOPNOTSUPP);
}

#[test]
fn the_loopback_tells_of_itself() {
    const NAME: u64 = 0x8910;
    const FLAGS: u64 = 0x8913;
    const SET_FLAGS: u64 = 0x8914;
    const NETMASK: u64 = 0x891b;
    let mut node = Node::new(&[]);
    let fd = socket(&mut node, INET, DATAGRAM);
    let ask = |node: &mut Node, fd: u64, name: &[u8], request: u64| {
        let mut asked = name.to_vec();
        asked.resize(16, 0);
        asked.extend([1, 0, 0, 0]);
        asked.resize(40, 0);
        node.call(calls::ioctl, &[N(fd), N(request), InOut(&asked)])
    };
    assert_eq!(ask(&mut node, fd, b"lo", FLAGS).bytes(2)[16], 0x49);
    let mask = ask(&mut node, fd, b"lo", NETMASK).bytes(2);
    assert_eq!(mask[16..24], [2, 0, 0, 0, 255, 0, 0, 0]);
    assert_eq!(ask(&mut node, fd, b"", NAME).bytes(2)[..3], *b"lo\0");
    assert_eq!(ask(&mut node, fd, b"eth0", FLAGS).errno(), Errno::ENODEV);
    assert_eq!(
        ask(&mut node, fd, b"lo", SET_FLAGS).errno(),
        Errno::EOPNOTSUPP
    );
    // What a card would tell of itself (ethtool(8)).
    for (name, error) in [(b"lo", Errno::EOPNOTSUPP), (b"e0", Errno::ENODEV)] {
        assert_eq!(ask(&mut node, fd, name, 0x8946).errno(), error);
    }
    let (pipe, _) = pair(&mut node, STREAM);
    assert_eq!(ask(&mut node, pipe, b"lo", FLAGS).bytes(2)[16], 0x49);
    let event = node.call(calls::eventfd2, &[N(5), N(0)]).ok();
    assert_eq!(ask(&mut node, event, b"lo", FLAGS).errno(), Errno::ENOTTY);
}

#[test]
fn a_connection_of_messages_tells_all_its_bytes_and_first_that_it_is_broken() {
    const PACKET: u64 = 5;
    let mut node = Node::new(&[]);
    let (one, other) = pair(&mut node, PACKET);
    for text in ["abc", "de"] {
        send(&mut node, one, text.as_bytes(), &[]).ok();
    }
    let args = [N(other), N(0x541b), Out(4)];
    assert_eq!(node.call(calls::ioctl, &args).bytes(2), [5, 0, 0, 0]);
    node.write(other, b"never read").ok();
    node.close(one);
    assert_eq!(node.read(other, 9).errno(), Errno::ECONNRESET);
    assert_eq!(node.read(other, 9).bytes(1), b"abc");
}

#[test]
fn proc_tells_which_sockets_there_are() {
    let mut node = Node::new(&[]);
    let table = |node: &mut Node, name: &str| {
        let fd = node.open(&format!("/proc/net/{name}"), 0);
        let text = String::from_utf8(node.read(fd, 4096).bytes(1)).expect("it is text");
        node.close(fd);
        text.lines().skip(1).map(String::from).collect::<Vec<_>>()
    };
    let listener = socket(&mut node, INET, STREAM);
    on_name(&mut node, calls::bind, listener, &address(0)).ok();
    // What only has an address is in no table.
    assert!(table(&mut node, "tcp").is_empty());
    node.call(calls::listen, &[N(listener), N(3)]).ok();
    let port = port_of(&mut node, listener);
    let client = socket(&mut node, INET, STREAM);
    on_name(&mut node, calls::connect, client, &address(port)).ok();
    node.write(client, b"12345").ok();
    let lines = table(&mut node, "tcp");
    let here = format!("0100007F:{port:04X}");
    assert_eq!(lines.len(), 3);
    assert!(lines.iter().all(|line| line.len() == 149));
    let listening = format!("   0: {here} 00000000:0000 0A 00000000:00000001 ");
    assert!(lines[0].starts_with(&listening), "{}", lines[0]);
    // Not accepted yet: it has no number, and bytes to be read.
    let waiting = format!("   1: {here} 0100007F:");
    assert!(lines[1].starts_with(&waiting), "{}", lines[1]);
    assert!(lines[1].contains(" 01 00000000:00000005 "), "{}", lines[1]);
    // What the other side has got is acknowledged.
    assert!(lines[2].contains(" 01 00000000:00000000 "), "{}", lines[2]);
    let datagram = socket(&mut node, 10, DATAGRAM);
    assert!(table(&mut node, "udp6").is_empty());
    let mut any = vec![0; 28];
    any[0] = 10;
    on_name(&mut node, calls::bind, datagram, &any).ok();
    let lines = table(&mut node, "udp6");
    let nobody = "0".repeat(32);
    assert!(
        lines[0].starts_with(&format!("    0: {nobody}:")),
        "{}",
        lines[0]
    );
    let (one, _) = pair(&mut node, STREAM);
    let lines = table(&mut node, "unix");
    assert_eq!(lines.len(), 2);
    let number = node.call(calls::fstat, &[N(one), Out(144)]).bytes(1);
    let number = Stat::parse(&number).inode;
    assert!(
        lines[0].ends_with(&format!(" 0001 03 {number:>5}")),
        "{}",
        lines[0]
    );
    assert!(table(&mut node, "dev")[1].contains("lo:"));
    for name in node.list("/proc/7/net", 9999) {
        node.path_call(calls::lstat, &format!("/proc/self/net/{name}"))
            .ok();
    }
}

#[test]
fn odd_addresses_and_options_are_answered_as_by_linux() {
    let mut node = Node::new(&[]);
    let wrong = node.call(calls::socket, &[N(INET), N(STREAM), N(u64::MAX)]);
    assert_eq!(wrong.errno(), Errno::EINVAL);
    // Any address is known without its family; no other is.
    let stream = socket(&mut node, INET, STREAM);
    on_name(&mut node, calls::bind, stream, &[0; 16]).ok();
    let mut other = address(0);
    other[0] = 0;
    let stream = socket(&mut node, INET, STREAM);
    let refused = on_name(&mut node, calls::bind, stream, &other);
    assert_eq!(refused.errno(), Errno::EAFNOSUPPORT);
    // What is not connected can be disconnected.
    on_name(&mut node, calls::connect, stream, &[0; 16]).ok();
    // Streams of AF_UNIX have no addressees.
    let target = [1, 0, b'x', 0];
    let sent = |node: &mut Node, fd| sent_to(node, fd, &target);
    let alone = socket(&mut node, UNIX, STREAM);
    assert_eq!(sent(&mut node, alone), Some(Errno::EOPNOTSUPP.into()));
    let (one, _) = pair(&mut node, STREAM);
    assert_eq!(sent(&mut node, one), Some(Errno::EISCONN.into()));
    const PACKET: u64 = 5;
    let (one, other) = pair(&mut node, PACKET);
    assert_eq!(sent(&mut node, one), None);
    assert_eq!(node.read(other, 9).bytes(1), b"x");
    let set = |node: &mut Node, level, name, value: i32| {
        let bytes = value.to_le_bytes();
        let args = [N(stream), N(level), N(name), In(&bytes), N(4)];
        node.call(calls::setsockopt, &args).result
    };
    for (level, name, value) in [
        (6, 4, -1),
        (6, 6, 128),
        (6, 2, 40_000),
        (6, 2, 87),
        (1, 46, -1),
        (0, 2, 256),
    ] {
        let refused = set(&mut node, level, name, value);
        assert_eq!(refused, Err(Errno::EINVAL.into()), "{level} {name} {value}");
    }
    assert_eq!(set(&mut node, 0, 2, 9), Ok(0));
    assert_eq!(set(&mut node, 0, 2, -1), Ok(0));
    let args = [N(stream), N(0), N(2), Out(4), N(0)];
    let hops = node.call(calls::getsockopt, &args).bytes(3);
    assert_eq!(hops, 64_u32.to_le_bytes());
    let unknown = [N(stream), N(6), N(13), In(b"dunlin"), N(6)];
    assert_eq!(
        node.call(calls::setsockopt, &unknown).errno(),
        Errno::ENOENT
    );
}

/// What poll(2) says, of POLLIN and POLLOUT and what it always says.
fn ready(node: &mut Node, fd: u64) -> u8 {
    let entry = [fd as u8, 0, 0, 0, 5, 0, 0, 0];
    let reply = node.call(calls::poll, &[InOut(&entry), N(1), N(0)]);
    reply.outputs[0].get(6).copied().unwrap_or(0)
}

#[test]
fn messages_of_who_is_gone_are_lost_when_that_is_found_out() {
    let mut node = Node::new(&[]);
    let (one, other) = pair(&mut node, DATAGRAM | NONBLOCK);
    send(&mut node, other, b"hello", &[]).ok();
    node.close(other);
    assert_eq!(ready(&mut node, one), 5);
    let refused = send(&mut node, one, b"x", &[]);
    assert_eq!(refused.errno(), Errno::ECONNREFUSED);
    assert_eq!(ready(&mut node, one), 4);
    assert_eq!(node.read(one, 9).errno(), Errno::EAGAIN);
    let alone = send(&mut node, one, b"x", &[]);
    assert_eq!(alone.errno(), Errno::ENOTCONN);
}

#[test]
fn who_leaves_a_connection_of_messages_loses_those_and_the_other_hears_of_it() {
    let mut node = Node::new(&[]);
    let (one, other) = pair(&mut node, DATAGRAM | NONBLOCK);
    send(&mut node, other, b"lost", &[]).ok();
    send(&mut node, one, b"stays", &[]).ok();
    on_name(&mut node, calls::connect, one, &[0; 2]).ok();
    assert_eq!(ready(&mut node, one), 4);
    assert_eq!(send(&mut node, other, b"x", &[]).errno(), Errno::ECONNRESET);
    // It is still connected to the one that is not.
    send(&mut node, other, b"x", &[]).ok();
    assert_eq!(node.read(other, 9).bytes(1), b"stays");
    assert_eq!(node.read(one, 9).bytes(1), b"x");
}

#[test]
fn a_connection_of_the_internet_can_be_undone_and_made_again() {
    let mut node = Node::new(&[]);
    let listener = socket(&mut node, INET, STREAM);
    on_name(&mut node, calls::bind, listener, &address(0)).ok();
    node.call(calls::listen, &[N(listener), N(5)]).ok();
    let port = port_of(&mut node, listener);
    let client = socket(&mut node, INET, STREAM);
    on_name(&mut node, calls::connect, client, &address(port)).ok();
    let server = accept(&mut node, listener).ok();
    node.write(server, b"unread").ok();
    on_name(&mut node, calls::connect, client, &[0; 16]).ok();
    assert_eq!(ready(&mut node, client), 0x1c);
    assert_eq!(ready(&mut node, server), 0x1d);
    assert_eq!(node.read(client, 9).errno(), Errno::ECONNRESET);
    assert_eq!(node.read(client, 9).errno(), Errno::ENOTCONN);
    assert_eq!(node.write(client, b"x").errno(), Errno::EPIPE);
    assert_eq!(node.read(server, 9).errno(), Errno::ECONNRESET);
    let peer = node.call(calls::getpeername, &[N(client), Out(128)]);
    assert_eq!(peer.errno(), Errno::ENOTCONN);
    on_name(&mut node, calls::connect, client, &address(port)).ok();
    let server = accept(&mut node, listener).ok();
    node.write(client, b"again").ok();
    assert_eq!(node.read(server, 9).bytes(1), b"again");
    // The other side's end makes it one that is over, which is no error when it is undone.
    node.call(calls::shutdown, &[N(server), N(1)]).ok();
    node.call(calls::shutdown, &[N(client), N(1)]).ok();
    on_name(&mut node, calls::connect, client, &[0; 16]).ok();
    assert_eq!(ready(&mut node, client), 0x14);
    // So does who listens.
    let waits = socket(&mut node, INET, STREAM);
    on_name(&mut node, calls::connect, waits, &address(port)).ok();
    on_name(&mut node, calls::connect, listener, &[0; 16]).ok();
    assert_eq!(node.read(waits, 9).errno(), Errno::ECONNRESET);
    assert_eq!(accept(&mut node, listener).errno(), Errno::EINVAL);
}

#[test]
fn who_was_never_accepted_is_told_so() {
    let mut node = Node::new(&[]);
    for end in ["close", "shutdown"] {
        let listener = socket(&mut node, INET, STREAM);
        on_name(&mut node, calls::bind, listener, &address(0)).ok();
        node.call(calls::listen, &[N(listener), N(5)]).ok();
        let port = port_of(&mut node, listener);
        let client = socket(&mut node, INET, STREAM);
        on_name(&mut node, calls::connect, client, &address(port)).ok();
        match end {
            "close" => node.close(listener),
            _ => drop(node.call(calls::shutdown, &[N(listener), N(2)])),
        }
        assert_eq!(node.read(client, 9).errno(), Errno::ECONNRESET, "{end}");
    }
    let name = b"\x01\0\0hidden";
    let listener = socket(&mut node, UNIX, STREAM);
    on_name(&mut node, calls::bind, listener, name).ok();
    node.call(calls::listen, &[N(listener), N(5)]).ok();
    let client = socket(&mut node, UNIX, STREAM);
    on_name(&mut node, calls::connect, client, name).ok();
    node.close(listener);
    assert_eq!(node.read(client, 9).errno(), Errno::ECONNRESET);
}

#[test]
fn udp_lite_has_ports_of_its_own_and_says_what_its_sum_covers() {
    const UDPLITE: u64 = 136;
    let mut node = Node::new(&[]);
    let lite = |node: &mut Node| {
        let args = [N(INET), N(DATAGRAM | NONBLOCK), N(UDPLITE)];
        node.call(calls::socket, &args).ok()
    };
    let option = |node: &mut Node, fd, level, name| {
        let args = [N(fd), N(level), N(name), Out(4), N(0)];
        node.call(calls::getsockopt, &args).bytes(3)[..4].to_vec()
    };
    let taker = lite(&mut node);
    assert_eq!(option(&mut node, taker, 1, 38), 136_u32.to_le_bytes());
    on_name(&mut node, calls::bind, taker, &address(0)).ok();
    let port = port_of(&mut node, taker);
    let plain = socket(&mut node, INET, DATAGRAM);
    on_name(&mut node, calls::bind, plain, &address(port)).ok();
    let sender = lite(&mut node);
    on_name(&mut node, calls::connect, sender, &address(port)).ok();
    send(&mut node, sender, b"lite", &[]).ok();
    assert_eq!(node.read(taker, 9).bytes(1), b"lite");
    for (value, then) in [(0_u32, 0_u32), (3, 8), (20, 20), (99_999, 65_535)] {
        let value = value.to_le_bytes();
        let args = [N(sender), N(UDPLITE), N(10), In(&value), N(4)];
        node.call(calls::setsockopt, &args).ok();
        assert_eq!(option(&mut node, sender, UDPLITE, 10), then.to_le_bytes());
    }
    let args = [N(plain), N(UDPLITE), N(10), In(&[8, 0, 0, 0]), N(4)];
    let refused = node.call(calls::setsockopt, &args);
    assert_eq!(refused.errno(), Errno::ENOPROTOOPT);
}

#[test]
fn ports_of_services_are_for_who_may_have_them() {
    let mut node = Node::new(&[]);
    let mut bind = |capabilities, kind, port| {
        node.who.capabilities = capabilities;
        let fd = socket(&mut node, INET, kind);
        on_name(&mut node, calls::bind, fd, &address(port)).result
    };
    for kind in [STREAM, DATAGRAM] {
        assert_eq!(bind(0, kind, 1023), Err(Stop::Errno(Errno::EACCES)));
        assert_eq!(bind(1 << 10, kind, 1023), Ok(0));
        assert_eq!(bind(0, kind, 1024), Ok(0));
        assert_eq!(bind(0, kind, 0), Ok(0));
    }
}

#[test]
fn a_level_that_a_socket_of_ip_has_not_is_not_offered() {
    let mut node = Node::new(&[]);
    let fd = socket(&mut node, INET, STREAM);
    for level in [17, 500] {
        let args = [N(fd), N(level), N(10), Out(4), N(0)];
        let refused = node.call(calls::getsockopt, &args);
        assert_eq!(refused.errno(), Errno::EOPNOTSUPP);
        let args = [N(fd), N(level), N(10), In(&[1, 0, 0, 0]), N(4)];
        let refused = node.call(calls::setsockopt, &args);
        assert_eq!(refused.errno(), Errno::ENOPROTOOPT);
    }
}

#[test]
fn options_of_ip_are_none_until_some_are_set() {
    const IP_OPTIONS: u64 = 4;
    let mut node = Node::new(&[]);
    let fd = socket(&mut node, INET, STREAM);
    let told = |node: &mut Node| {
        let args = [N(fd), N(0), N(IP_OPTIONS), Out(40), N(0)];
        node.call(calls::getsockopt, &args).bytes(3)
    };
    let set = |node: &mut Node, value: &[u8]| {
        let args = [N(fd), N(0), N(IP_OPTIONS), In(value), N(value.len() as u64)];
        node.call(calls::setsockopt, &args)
    };
    assert_eq!(told(&mut node), [0; 0]);
    set(&mut node, &[1, 148, 4, 0, 0]).ok();
    assert_eq!(told(&mut node), [1, 148, 4, 0, 0, 0, 0, 0]);
    for wrong in [&[7, 1, 0, 0][..], &[1, 7], &[7, 9, 4], &[0; 41]] {
        assert_eq!(set(&mut node, wrong).errno(), Errno::EINVAL);
    }
    set(&mut node, &[]).ok();
    assert_eq!(told(&mut node), [0; 0]);
}

#[test]
fn labels_of_messages_are_asked_for_by_sockets_without_an_address_only() {
    const PASSSEC: u64 = 34;
    let mut node = Node::new(&[]);
    let (local, _) = pair(&mut node, STREAM);
    let set = |node: &mut Node, fd| {
        let args = [N(fd), N(1), N(PASSSEC), In(&[7, 0, 0, 0]), N(4)];
        node.call(calls::setsockopt, &args)
    };
    let option = |node: &mut Node, fd| {
        let args = [N(fd), N(1), N(PASSSEC), Out(4), N(0)];
        node.call(calls::getsockopt, &args).bytes(3)
    };
    assert_eq!(option(&mut node, local), [0; 4]);
    set(&mut node, local).ok();
    assert_eq!(option(&mut node, local), 1_u32.to_le_bytes());
    let stream = socket(&mut node, INET, STREAM);
    assert_eq!(set(&mut node, stream).errno(), Errno::EOPNOTSUPP);
    assert_eq!(option(&mut node, stream), [0; 4]);
}

const MORE: u64 = 0x8000;

/// A connection of the loopback: client and server.
fn connection(node: &mut Node) -> (u64, u64) {
    let listener = socket(node, INET, STREAM);
    on_name(node, calls::bind, listener, &address(0)).ok();
    node.call(calls::listen, &[N(listener), N(5)]).ok();
    let port = port_of(node, listener);
    let client = socket(node, INET, STREAM);
    on_name(node, calls::connect, client, &address(port)).ok();
    (client, accept(node, listener).ok())
}

fn set_int(node: &mut Node, fd: u64, (level, name): (u64, u64), value: u32) {
    let value = value.to_le_bytes();
    let args = [N(fd), N(level), N(name), In(&value), N(4)];
    node.call(calls::setsockopt, &args).ok();
}

#[test]
fn bytes_with_more_to_come_go_with_the_next_or_in_their_time() {
    const TCP_CORK: (u64, u64) = (6, 3);
    let mut node = Node::new(&[]);
    let (client, server) = connection(&mut node);
    let send = |node: &mut Node, bytes: &[u8], flags| {
        node.call(calls::sendmsg, &[N(client), In(bytes), N(flags)])
            .ok()
    };
    let come = |node: &mut Node| {
        receive(node, server, 40_000, DONTWAIT).map_or(Vec::new(), |received| received.0)
    };
    assert_eq!(send(&mut node, b"one", MORE), 3);
    assert_eq!(come(&mut node), b"");
    assert_eq!(send(&mut node, b"two", 0), 3);
    assert_eq!(come(&mut node), b"onetwo");
    // After 200 ms nobody waits any more.
    send(&mut node, b"late", MORE);
    node.fs.alarms().ring(199_999_999);
    assert_eq!(come(&mut node), b"");
    node.fs.alarms().ring(200_000_000);
    assert_eq!(come(&mut node), b"late");
    // A packet that is full goes at once.
    send(&mut node, b"a", MORE);
    send(&mut node, &[0; 32_767], MORE);
    assert_eq!(come(&mut node).len(), 32_768);
    set_int(&mut node, client, TCP_CORK, 1);
    send(&mut node, b"corked", 0);
    assert_eq!(come(&mut node), b"");
    set_int(&mut node, client, TCP_CORK, 0);
    assert_eq!(come(&mut node), b"corked");
    // Who ends its sending has sent what was held back.
    send(&mut node, b"end", MORE);
    node.call(calls::shutdown, &[N(client), N(1)]).ok();
    assert_eq!(come(&mut node), b"end");
    let (client, server) = connection(&mut node);
    let args = [N(client), In(b"closed"), N(MORE)];
    node.call(calls::sendmsg, &args).ok();
    node.close(client);
    let received = receive(&mut node, server, 9, DONTWAIT);
    assert_eq!(received.map(|it| it.0), Ok(b"closed".to_vec()));
    assert_eq!(node.fs.alarms().next(), None);
}

#[test]
fn parts_of_a_datagram_go_as_one() {
    const UDP_CORK: (u64, u64) = (17, 1);
    let mut node = Node::new(&[]);
    let taker = socket(&mut node, INET, DATAGRAM);
    on_name(&mut node, calls::bind, taker, &address(0)).ok();
    let to = address(port_of(&mut node, taker));
    let sender = socket(&mut node, INET, DATAGRAM);
    let send = |node: &mut Node, bytes: &[u8], flags, to: Option<&[u8]>| {
        let mut call = FileCall::new(
            &mut node.state,
            &node.fs,
            &mut node.view,
            PID,
            0,
            [sender, bytes.len() as u64, flags, 0, 0, 0],
        );
        call.inputs[1] = Some(bytes);
        call.inputs[2] = to;
        calls::sendmsg(&mut call)
    };
    let come = |node: &mut Node| receive(node, taker, 99, DONTWAIT).map(|received| received.0);
    let nothing = Err(Stop::Errno(Errno::EAGAIN));
    let nowhere = Err(Stop::Errno(Errno::EDESTADDRREQ));
    assert_eq!(send(&mut node, b"x", MORE, None), nowhere);
    assert_eq!(send(&mut node, b"one", MORE, Some(&to)), Ok(3));
    assert_eq!(come(&mut node), nothing);
    // It goes to where its first part was sent.
    assert_eq!(send(&mut node, b"two", 0, None), Ok(3));
    assert_eq!(come(&mut node), Ok(b"onetwo".to_vec()));
    set_int(&mut node, sender, UDP_CORK, 1);
    assert_eq!(send(&mut node, b"a", 0, Some(&to)), Ok(1));
    assert_eq!(send(&mut node, b"b", 0, None), Ok(1));
    let long = Err(Stop::Errno(Errno::EMSGSIZE));
    assert_eq!(send(&mut node, &[0; 65_506], 0, None), long);
    assert_eq!(come(&mut node), nothing);
    set_int(&mut node, sender, UDP_CORK, 0);
    assert_eq!(come(&mut node), Ok(b"ab".to_vec()));
    assert_eq!(come(&mut node), nothing);
}

#[test]
fn what_a_socket_tells_of_itself_has_the_length_that_linux_asks_for() {
    const COOKIE: u64 = 57;
    const MEMINFO: u64 = 55;
    const PEERNAME: u64 = 28;
    let mut node = Node::new(&[]);
    let (one, other) = pair(&mut node, STREAM);
    let ask = |node: &mut Node, fd, name, room| {
        node.call(calls::getsockopt, &[N(fd), N(1), N(name), room, N(0)])
    };
    let cookies = [one, other].map(|fd| ask(&mut node, fd, COOKIE, Out(99)).bytes(3));
    assert!(cookies[0].len() == 8 && cookies[0] != cookies[1]);
    assert_eq!(ask(&mut node, one, COOKIE, N(7)).errno(), Errno::EINVAL);
    node.write(one, b"abc").ok();
    let words = ask(&mut node, other, MEMINFO, Out(99)).bytes(3);
    assert_eq!((words.len(), words[0]), (36, 3));
    assert_eq!(ask(&mut node, one, PEERNAME, N(100)).errno(), Errno::EINVAL);
}

#[test]
fn a_refusal_that_was_asked_for_already_is_no_connection() {
    const ERROR: u64 = 4;
    let mut node = Node::new(&[]);
    let bound = socket(&mut node, INET, STREAM);
    on_name(&mut node, calls::bind, bound, &address(0)).ok();
    let port = port_of(&mut node, bound);
    let client = socket(&mut node, INET, STREAM | NONBLOCK);
    let connect = |node: &mut Node| on_name(node, calls::connect, client, &address(port));
    assert_eq!(connect(&mut node).errno(), Errno::EINPROGRESS);
    let args = [N(client), N(1), N(ERROR), Out(4), N(0)];
    let error = node.call(calls::getsockopt, &args).bytes(3);
    assert_eq!(error, Errno::ECONNREFUSED.0.to_le_bytes());
    assert_eq!(connect(&mut node).errno(), Errno::ECONNABORTED);
    // And it may be tried again.
    assert_eq!(connect(&mut node).errno(), Errno::EINPROGRESS);
}

#[test]
fn datagrams_go_nowhere_after_the_own_end_and_to_all_only_if_that_was_said() {
    const BROADCAST: (u64, u64) = (1, 6);
    let mut node = Node::new(&[]);
    let fd = socket(&mut node, INET, DATAGRAM);
    let mut all = address(9);
    all[4..8].fill(255);
    let sent = |node: &mut Node, to: &[u8]| sent_to(node, fd, to);
    assert_eq!(sent(&mut node, &all), Some(Errno::EACCES.into()));
    set_int(&mut node, fd, BROADCAST, 1);
    assert_eq!(sent(&mut node, &all), Some(Errno::ENETUNREACH.into()));
    on_name(&mut node, calls::connect, fd, &address(9)).ok();
    node.call(calls::shutdown, &[N(fd), N(1)]).ok();
    assert_eq!(sent(&mut node, &address(9)), Some(Errno::EPIPE.into()));
}
