//! Sockets that ask whether somebody is there, through the calls: each answer is that of Linux 6.18.

use super::sockets::*;
use super::*;

const INET6: u64 = 10;
const ICMP: u64 = 1;
const ICMPV6: u64 = 58;

fn echo(node: &mut Node, family: u64, protocol: u64) -> u64 {
    let args = [N(family), N(DATAGRAM), N(protocol)];
    node.call(calls::socket, &args).ok()
}

fn question(kind: u8, code: u8) -> Vec<u8> {
    vec![kind, code, 0xff, 0xff, 9, 9, 0, 1, b'a', b'b', b'c']
}

fn ask(node: &mut Node, fd: u64, bytes: &[u8], to: Option<&[u8]>) -> Result<u64, Stop> {
    let args = [fd, bytes.len() as u64, 0, 0, 0, 0];
    let (state, view) = (&mut node.state, &mut node.view);
    let mut call = FileCall::new(state, &node.fs, view, PID, node.now_ns, args);
    call.inputs[1] = Some(bytes);
    call.inputs[2] = to;
    calls::sendmsg(&mut call)
}

/// A message, and who it is from.
fn hear(node: &mut Node, fd: u64) -> Result<(Vec<u8>, Vec<u8>), Stop> {
    let args = [fd, 0, DONTWAIT, 0, 0, 0];
    let (state, view) = (&mut node.state, &mut node.view);
    let mut call = FileCall::new(state, &node.fs, view, PID, node.now_ns, args);
    call.capacities[1..5].copy_from_slice(&[100, 128, 256, 8]);
    calls::recvmsg(&mut call)?;
    let [_, bytes, from, ..] = std::mem::take(&mut call.outputs);
    Ok((bytes, from))
}

/// Asks, and checks what comes back.
#[track_caller]
fn answered(node: &mut Node, fd: u64, to: &[u8], expected: &[u8]) {
    let sent = question(8, 0);
    assert_eq!(ask(node, fd, &sent, Some(to)), Ok(sent.len() as u64));
    let (bytes, from) = hear(node, fd).expect("an answer");
    let port = port_of(node, fd).to_be_bytes();
    assert_eq!((&bytes[..2], &bytes[4..6]), (&[0, 0][..], &port[..]));
    assert_eq!(bytes[6..], sent[6..]);
    assert_eq!(from[..8], [&[2, 0, 0, 0], expected].concat());
    let sum: u32 = bytes
        .chunks(2)
        .map(|word| u32::from(word[0]) << 8 | word.get(1).map_or(0, |low| u32::from(*low)))
        .sum();
    assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff);
}

#[test]
fn who_asks_is_answered_by_the_address_that_was_asked() {
    let mut node = Node::new(&[]);
    let fd = echo(&mut node, INET, ICMP);
    assert_eq!(port_of(&mut node, fd), 0);
    answered(&mut node, fd, &address(77), &[127, 0, 0, 1]);
    let mut other = address(0);
    other[7] = 5;
    answered(&mut node, fd, &other, &[127, 0, 0, 5]);
    other[4..8].fill(0);
    answered(&mut node, fd, &other, &[127, 0, 0, 1]);
    assert_eq!(hear(&mut node, fd), Err(Errno::EAGAIN.into()));
    // What RFC 8335 asks is sent, and not answered.
    assert_eq!(ask(&mut node, fd, &question(42, 0), Some(&other)), Ok(11));
    assert_eq!(hear(&mut node, fd), Err(Errno::EAGAIN.into()));
    // Connected, by write(2).
    on_name(&mut node, calls::connect, fd, &address(9)).ok();
    assert_eq!(node.write(fd, &question(8, 0)).ok(), 11);
    assert!(hear(&mut node, fd).is_ok());
    // Others with the same identifier do not get what is for another version.
    let six = echo(&mut node, INET6, ICMPV6);
    let mut to = [0; 28];
    (to[0], to[23]) = (10, 1);
    assert_eq!(ask(&mut node, six, &question(128, 0), Some(&to)), Ok(11));
    let (bytes, from) = hear(&mut node, six).expect("an answer");
    assert_eq!((bytes[0], &from[..]), (129, &to[..]));
}

#[test]
fn what_is_no_question_or_goes_nowhere_is_refused() {
    let mut node = Node::new(&[]);
    let fd = echo(&mut node, INET, ICMP);
    let to = address(0);
    let refused = |node: &mut Node, bytes: &[u8], to: Option<&[u8]>| match ask(node, fd, bytes, to)
    {
        Err(Stop::Errno(errno)) => errno,
        other => panic!("{other:?}"),
    };
    let mut elsewhere = to;
    elsewhere[4..8].copy_from_slice(&[10, 0, 0, 1]);
    let mut group = to;
    group[4..8].copy_from_slice(&[224, 0, 0, 1]);
    let good = question(8, 0);
    for (bytes, to, expected) in [
        (&good[..], None, Errno::EDESTADDRREQ),
        (&good[..7], Some(&to), Errno::EINVAL),
        (&question(0, 0), Some(&to), Errno::EINVAL),
        (&question(8, 1), Some(&to), Errno::EINVAL),
        (&question(128, 0), Some(&to), Errno::EINVAL),
        (&good, Some(&elsewhere), Errno::ENETUNREACH),
        (&good, Some(&group), Errno::ENETUNREACH),
        (
            &[&good[..], &[0; 65_505]].concat(),
            Some(&to),
            Errno::EMSGSIZE,
        ),
    ] {
        let to = to.map(|to| &to[..]);
        assert_eq!(refused(&mut node, bytes, to), expected);
    }
    let longest = [&good[..], &[0; 65_504]].concat();
    assert_eq!(ask(&mut node, fd, &longest, Some(&to)), Ok(65_515));
    // It has an identifier by now; others may have the same.
    let own = port_of(&mut node, fd);
    assert_ne!(own, 0);
    let other = echo(&mut node, INET, ICMP);
    let bind = |node: &mut Node, fd, name: &[u8]| on_name(node, calls::bind, fd, name);
    assert_eq!(bind(&mut node, fd, &address(5)).errno(), Errno::EINVAL);
    assert_eq!(bind(&mut node, other, &group).errno(), Errno::EADDRNOTAVAIL);
    bind(&mut node, other, &address(own)).ok();
    for protocol in [17, 6] {
        let args = [N(fd), N(protocol), N(1), Out(4), N(0)];
        assert_eq!(
            node.call(calls::getsockopt, &args).errno(),
            Errno::EOPNOTSUPP
        );
        let args = [N(fd), N(protocol), N(1), In(&[1, 0, 0, 0]), N(4)];
        assert_eq!(
            node.call(calls::setsockopt, &args).errno(),
            Errno::ENOPROTOOPT
        );
    }
    for (family, kind, protocol, expected) in [
        (INET, DATAGRAM, ICMPV6, Errno::EPROTONOSUPPORT),
        (INET6, DATAGRAM, ICMP, Errno::EPROTONOSUPPORT),
        (INET, STREAM, ICMP, Errno::EPROTONOSUPPORT),
        (INET, 3, 0, Errno::EPROTONOSUPPORT),
        (INET, 3, 17, Errno::EPERM),
    ] {
        let made = node.call(calls::socket, &[N(family), N(kind), N(protocol)]);
        assert_eq!(made.errno(), expected);
    }
}

#[test]
fn who_may_ask_is_a_setting() {
    let mut node = Node::new(&[]);
    let asks = |node: &mut Node, group: u32| {
        node.who.gid = group;
        node.who.groups = vec![900];
        let args = [N(INET), N(DATAGRAM), N(ICMP)];
        node.call(calls::socket, &args).result.is_ok()
    };
    assert_eq!(node.fs.askers(), "0\t2147483647\n");
    assert!(asks(&mut node, 7));
    assert_eq!(node.fs.set_askers("10 20"), Ok(()));
    assert!(!asks(&mut node, 7) && asks(&mut node, 10) && asks(&mut node, 20));
    let args = [N(INET), N(DATAGRAM), N(ICMP)];
    assert!(!asks(&mut node, 21));
    assert_eq!(node.call(calls::socket, &args).errno(), Errno::EACCES);
    // As a member of a further group.
    assert_eq!(node.fs.set_askers("900 900"), Ok(()));
    assert!(asks(&mut node, 7));
    // One number leaves the other, and nothing is between 901 and 900.
    assert_eq!(node.fs.set_askers("901"), Ok(()));
    assert_eq!(node.fs.askers(), "1\t0\n");
    assert!(!asks(&mut node, 1) && !asks(&mut node, 0));
    for wrong in ["", "x", "1 2 3", "-1 3", "0 4294967295"] {
        assert_eq!(node.fs.set_askers(wrong), Err(Errno::EINVAL), "{wrong}");
    }
    assert_eq!(node.fs.askers(), "1\t0\n");
}

#[test]
fn raw_sockets_send_as_is_and_overhear_everything() {
    let mut node = Node::new(&[]);
    node.who.capabilities = 0;
    let raw = [N(INET), N(3), N(ICMP)];
    assert_eq!(node.call(calls::socket, &raw).errno(), Errno::EPERM);
    node.who = Who::default();
    let fd = node.call(calls::socket, &raw).ok();
    assert_eq!(port_of(&mut node, fd), 1);
    let to = address(0);
    // 0800 + 0009 + 0001 + 6162 + 6364 is ccd0, turned round 332f.
    let asked = [8, 0, 0x33, 0x2f, 0, 9, 0, 1, b'a', b'b', b'c', b'd'];
    assert_eq!(ask(&mut node, fd, &asked, Some(&to)), Ok(12));
    let header = [
        0x45, 0, 0, 32, 0, 0, 0, 0, 64, 1, 0x7c, 0xdb, 127, 0, 0, 1, 127, 0, 0, 1,
    ];
    let (bytes, from) = hear(&mut node, fd).expect("its own");
    assert_eq!(bytes, [&header[..], &asked].concat());
    assert_eq!(from[..8], [2, 0, 0, 0, 127, 0, 0, 1]);
    let (bytes, _) = hear(&mut node, fd).expect("the answer");
    assert_eq!(bytes[20..24], [0, 0, 0x3b, 0x2f]);
    assert_eq!(bytes[24..], asked[4..]);
    // What is damaged is not answered, types that are refused are not heard.
    let mut damaged = asked;
    damaged[2] ^= 1;
    assert_eq!(ask(&mut node, fd, &damaged, Some(&to)), Ok(12));
    assert!(hear(&mut node, fd).is_ok());
    assert_eq!(hear(&mut node, fd), Err(Errno::EAGAIN.into()));
    let set = [N(fd), N(255), N(1), In(&[0, 1, 0, 0]), N(4)];
    node.call(calls::setsockopt, &set).ok();
    let get = [N(fd), N(255), N(1), Out(4), N(0)];
    assert_eq!(node.call(calls::getsockopt, &get).bytes(3), [0, 1, 0, 0]);
    assert_eq!(ask(&mut node, fd, &asked, Some(&to)), Ok(12));
    assert_eq!(hear(&mut node, fd).map(|it| it.0[20]), Ok(0));
    // What others ask is overheard, too, if it is for the address that it has.
    let other = echo(&mut node, INET, ICMP);
    answered(&mut node, other, &to, &[127, 0, 0, 1]);
    assert_eq!(hear(&mut node, fd).map(|it| it.0[20]), Ok(0));
    let mut bound = to;
    bound[7] = 9;
    on_name(&mut node, calls::bind, fd, &bound).ok();
    answered(&mut node, other, &to, &[127, 0, 0, 1]);
    assert_eq!(hear(&mut node, fd), Err(Errno::EAGAIN.into()));
    assert_eq!(
        ask(&mut node, fd, b"x", Some(&to)),
        Err(Errno::EFAULT.into())
    );
    assert_eq!(
        ask(&mut node, fd, &asked, None),
        Err(Errno::EDESTADDRREQ.into())
    );
}
