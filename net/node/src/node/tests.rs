//! The stack: traces on virtual time, and hostile frames.

use super::*;
use alloc::string::{String, ToString};
use alloc::vec;

type Frame = Arc<[u8; 4096]>;
const MS: u64 = 1_000_000;

fn config(node: u16, boot: u64) -> Config {
    Config {
        node: NodeId(node),
        boot: BootId(boot),
        mac: [2, 0, 0, 0, 0, node as u8],
        mtu: 9000,
        cluster: 7,
        seed: 1,
        info: NodeInfo {
            processes: u32::from(node),
            ..NodeInfo::default()
        },
        packing: crate::Packing::default(),
    }
}

fn stack(node: u16, boot: u64, now: u64) -> Node<Frame> {
    Node::new(config(node, boot), now)
}

/// Takes one frame out of `from` and returns it printed.
fn poll(from: &mut Node<Frame>, now: u64) -> Option<(String, Transmit<Frame>)> {
    let transmit = from.poll_transmit(now)?;
    let header = Header::parse(&transmit.header).expect("we send valid frames");
    Some((header.to_string(), transmit))
}

fn give(to: &mut Node<Frame>, now: u64, transmit: &Transmit<Frame>) {
    let mut page = [0; 4096];
    let length = transmit.payload.copy_to(&mut page);
    to.handle_frame(now, &transmit.header, Arc::new(page), length);
}

fn events(node: &mut Node<Frame>) -> Vec<Event<Frame>> {
    core::iter::from_fn(|| node.poll_event()).collect()
}

/// Passes frames back and forth until both are quiet; each takes 100 us. Returns the trace.
fn settle(now: &mut u64, nodes: &mut [Node<Frame>; 2]) -> Vec<String> {
    let mut trace = Vec::new();
    loop {
        let mut quiet = true;
        for from in 0..2 {
            while let Some((line, transmit)) = poll(&mut nodes[from], *now) {
                quiet = false;
                trace.push(line);
                *now += MS / 10;
                give(&mut nodes[1 - from], *now, &transmit);
            }
        }
        if quiet {
            return trace;
        }
    }
}

fn up(id: u16, boot: u64) -> Event<Frame> {
    Event::PeerUp {
        id: NodeId(id),
        boot: BootId(boot),
    }
}

/// Two nodes that know each other.
fn pair(now: &mut u64) -> [Node<Frame>; 2] {
    let mut nodes = [stack(1, 0xa, *now), stack(2, 0xb, *now)];
    for node in &mut nodes {
        node.handle_timeout(*now);
    }
    settle(now, &mut nodes);
    assert_eq!(events(&mut nodes[0]), [up(2, 0xb)]);
    assert_eq!(events(&mut nodes[1]), [up(1, 0xa)]);
    nodes
}

fn poke(epoch: u64) -> Message {
    Message::Poke {
        pid: Pid::new(NodeId(1), 1),
        thread: wire::Pid(0),
        epoch,
    }
}

#[test]
fn a_greeting_answers_to_it_and_two_probes_make_two_peers() {
    let mut now = MS;
    let mut nodes = [stack(1, 0xa, now), stack(2, 0xb, now)];
    nodes[0].handle_timeout(now);
    let trace = settle(&mut now, &mut nodes);
    assert_eq!(
        trace,
        [
            "1.000a > all hello",
            "2.000b > 1.000a hello",
            "1.000a > 2.000b hello",
            "2.000b > 1.000a probe",
            "2.000b > 1.000a hello-reply",
            "1.000a > 2.000b probe",
            "1.000a > 2.000b probed",
            "1.000a > 2.000b hello-reply",
            "2.000b > 1.000a probed",
        ]
    );
    assert_eq!(events(&mut nodes[0]), [up(2, 0xb)]);
    assert_eq!(events(&mut nodes[1]), [up(1, 0xa)]);
    let peer = nodes[0].peer(NodeId(2)).expect("up");
    assert_eq!((peer.state, peer.info.processes), (PeerState::Alive, 2));
    assert_eq!(peer.rtt_min_ns, Some(2 * MS / 10));
    assert!(peer.wide);
    assert_eq!(peer.clock_offset.map(|(offset, _)| offset), Some(0));
    // Fast Hellos at 0, 50, 100 and 200 ms after the start.
    let mut hellos = Vec::new();
    for _ in 0..5 {
        now = nodes[1].poll_timeout().expect("Hello goes on for ever");
        nodes[1].handle_timeout(now);
        while let Some((line, _)) = poll(&mut nodes[1], now) {
            if line.ends_with("all hello") {
                hellos.push(now / MS);
            }
        }
    }
    assert_eq!(hellos[1] - hellos[0], 50);
}

/// Lets time go on for so long, on a link of this MTU. Returns how many frames it did not carry.
fn pass(now: &mut u64, ms: u64, mtu: usize, nodes: &mut [Node<Frame>; 2]) -> u32 {
    let (end, mut dropped) = (*now + ms * MS, 0);
    while *now < end {
        *now += MS / 10;
        for from in 0..2 {
            nodes[from].handle_timeout(*now);
            while let Some((_, transmit)) = poll(&mut nodes[from], *now) {
                if HEADER_LEN - 14 + transmit.payload.len() > mtu {
                    dropped += 1;
                    continue;
                }
                give(&mut nodes[1 - from], *now, &transmit);
            }
        }
    }
    dropped
}

/// Sends so many pages from a node to the other on a link of this MTU, and takes them there.
fn carry_pages(
    now: &mut u64,
    from: usize,
    count: u64,
    mtu: usize,
    nodes: &mut [Node<Frame>; 2],
) -> u32 {
    let page = |number: u64| Arc::new([number as u8; 4096]);
    for number in 0..count {
        let tag = PageTag {
            pid: Pid::new(NodeId(1), 1),
            epoch: 1,
            page: number << 12,
        };
        let to = nodes[1 - from].id();
        let sent = nodes[from].send_page(*now, to, Lane::Bulk, tag, page(number));
        sent.expect("known");
    }
    let dropped = pass(now, 3000, mtu, nodes);
    let mut came = Vec::new();
    for event in events(&mut nodes[1 - from]) {
        if let Event::Page { tag, page, .. } = event {
            came.push((tag.page >> 12, page));
        }
    }
    came.sort_by_key(|(number, _)| *number);
    let all: Vec<_> = (0..count).map(|number| (number, page(number))).collect();
    assert_eq!(came, all);
    dropped
}

fn wide(nodes: &[Node<Frame>; 2]) -> [bool; 2] {
    let wide = |node: &Node<Frame>, other| node.peer(NodeId(other)).expect("up").wide;
    [wide(&nodes[0], 2), wide(&nodes[1], 1)]
}

#[test]
fn a_narrow_switch_between_wide_cards_is_found_out() {
    let mut now = MS;
    let mut nodes = [stack(1, 0xa, now), stack(2, 0xb, now)];
    let probes = pass(&mut now, 10_000, 1500, &mut nodes);
    assert_eq!(wide(&nodes), [false; 2]);
    assert!((10..40).contains(&probes), "{probes} probes in ten seconds");
    let lost = carry_pages(&mut now, 0, 100, 1500, &mut nodes);
    assert!(lost < 10, "only probes are lost, but {lost} frames were");
    // A better switch.
    pass(&mut now, 4000, 9000, &mut nodes);
    assert_eq!(wide(&nodes), [true; 2]);
    assert_eq!(carry_pages(&mut now, 0, 100, 9000, &mut nodes), 0);
}

#[test]
fn a_way_that_becomes_narrow_loses_nothing() {
    let mut now = MS;
    let mut nodes = [stack(1, 0xa, now), stack(2, 0xb, now)];
    pass(&mut now, 1000, 9000, &mut nodes);
    assert_eq!(wide(&nodes), [true; 2]);
    assert!(carry_pages(&mut now, 0, 100, 1500, &mut nodes) > 0);
    assert_eq!(wide(&nodes), [false, true], "each direction for itself");
}

#[test]
fn cards_of_any_mtu_work_together() {
    let mut now = MS;
    let narrow = Config {
        mtu: 1500,
        ..config(2, 0xb)
    };
    let mut nodes = [stack(1, 0xa, now), Node::new(narrow, now)];
    pass(&mut now, 1000, 9000, &mut nodes);
    assert_eq!(
        wide(&nodes),
        [true, false],
        "a card may take more than it sends"
    );
    carry_pages(&mut now, 0, 20, 9000, &mut nodes);
    carry_pages(&mut now, 1, 20, 9000, &mut nodes);
}

#[test]
fn a_call_is_one_frame_each_way() {
    let mut now = MS;
    let mut nodes = pair(&mut now);
    nodes[0].send(now, NodeId(2), poke(1)).expect("known");
    assert_eq!(
        settle(&mut now, &mut nodes),
        ["1.000a > 2.000b data urgent seq 0 message length 6 ack 0,0"]
    );
    let message = Event::Message {
        from: NodeId(1),
        boot: BootId(0xa),
        message: Box::new(poke(1)),
    };
    assert_eq!(events(&mut nodes[1]), [message]);
    nodes[1].send(now, NodeId(1), poke(2)).expect("known");
    assert_eq!(
        settle(&mut now, &mut nodes),
        ["2.000b > 1.000a data urgent seq 0 message length 6 ack 1,0"]
    );
}

#[test]
fn to_ourselves_and_to_nobody() {
    let mut node = stack(1, 0xa, MS);
    node.send(MS, NodeId(1), poke(1)).expect("ourselves");
    node.beacon(MS, NodeId(1), Pid(65537), 3, Edge::Started);
    let events = events(&mut node);
    assert!(matches!(
        events[0],
        Event::Message {
            from: NodeId(1),
            boot: BootId(0xa),
            ..
        }
    ));
    assert!(matches!(
        events[1],
        Event::Beacon {
            at: MS,
            edge: Edge::Started,
            ..
        }
    ));
    assert_eq!(node.send(MS, NodeId(2), poke(1)), Err(Unreachable::Unknown));
    node.measure(MS, NodeId(2), (1, 1), None);
    assert!(matches!(node.poll_event(), Some(Event::Measured { .. })));
}

#[test]
fn a_beacon_overtakes_everything() {
    let mut now = MS;
    let mut nodes = pair(&mut now);
    nodes[0].send(now, NodeId(2), poke(1)).expect("known");
    nodes[0].beacon(now, NodeId(2), Pid(65537), 3, Edge::Stopped);
    let (line, beacon) = poll(&mut nodes[0], now).expect("a frame");
    assert_eq!(line, "1.000a > 2.000b beacon 65537 stopped epoch 3");
    give(&mut nodes[1], now, &beacon);
    assert!(matches!(
        events(&mut nodes[1])[..],
        [Event::Beacon {
            edge: Edge::Stopped,
            epoch: 3,
            ..
        }]
    ));
}

#[test]
fn a_reboot_replaces_the_peer_and_old_frames_do_not_come_back() {
    let mut now = MS;
    let mut nodes = pair(&mut now);
    // Frames of the boot that will be over: a call, a Hello, the answer to a Hello.
    nodes[1].send(now, NodeId(1), poke(9)).expect("known");
    let (_, old_call) = poll(&mut nodes[1], now).expect("the call");
    nodes[1].handle_timeout(now + 50 * MS);
    let (_, old_hello) = poll(&mut nodes[1], now + 50 * MS).expect("Hello");
    now += 60 * MS;
    nodes[1] = stack(2, 0xc, now);
    nodes[1].handle_timeout(now);
    settle(&mut now, &mut nodes);
    let lost = Event::PeerLost {
        id: NodeId(2),
        boot: BootId(0xb),
    };
    assert_eq!(events(&mut nodes[0]), [lost, up(2, 0xc)]);
    for old in [&old_call, &old_hello] {
        give(&mut nodes[0], now, old);
        let _answers = settle(&mut now, &mut nodes);
        assert_eq!(events(&mut nodes[0]), []);
    }
    assert_eq!(nodes[0].peer(NodeId(2)).map(|p| p.boot), Some(BootId(0xc)));
    // A node that never knew the old boot is not misled for good either.
    let mut third = stack(3, 0xd, now);
    give(&mut third, now, &old_hello);
    assert_eq!(events(&mut third), []);
}

#[test]
fn silence_and_return() {
    let mut now = MS;
    let mut nodes = pair(&mut now);
    let heard = nodes[0].peer(NodeId(2)).expect("up").last_heard_ns;
    let silent = heard + crate::SILENT_AFTER_NS;
    (now..silent)
        .step_by(500_000_000)
        .for_each(|at| nodes[0].handle_timeout(at));
    nodes[0].handle_timeout(silent - 1);
    assert_eq!(events(&mut nodes[0]), []);
    nodes[0].handle_timeout(silent);
    let (id, boot) = (NodeId(2), BootId(0xb));
    assert_eq!(events(&mut nodes[0]), [Event::PeerSilent { id, boot }]);
    // A silent peer is not unreachable, and a Hello brings it back.
    assert_eq!(nodes[0].send(silent, id, poke(1)), Ok(()));
    nodes[1].handle_timeout(silent);
    now = silent;
    settle(&mut now, &mut nodes);
    assert_eq!(events(&mut nodes[0]), [Event::PeerBack { id, boot }]);
}

#[test]
fn who_stood_still_itself_does_not_take_others_for_silent() {
    let mut now = MS;
    let mut nodes = pair(&mut now);
    let (id, boot) = (NodeId(2), BootId(0xb));
    let back = now + 10 * crate::SILENT_AFTER_NS;
    nodes[0].handle_timeout(back);
    assert_eq!(events(&mut nodes[0]), [Event::StoodStill]);
    // It may be silent all the same, and then that shows.
    let silent = back + crate::SILENT_AFTER_NS;
    (back..=silent)
        .step_by(500_000_000)
        .for_each(|at| nodes[0].handle_timeout(at));
    assert_eq!(events(&mut nodes[0]), [Event::PeerSilent { id, boot }]);
}

#[test]
fn of_two_nodes_with_one_number_the_later_gives_way() {
    let mut first = stack(1, 0xa, 0);
    first.handle_timeout(10_000 * MS);
    let mut second = Node::<Frame>::new(
        Config {
            mac: [2, 0, 0, 0, 0, 99],
            ..config(1, 0xb)
        },
        0,
    );
    second.handle_timeout(MS);
    let (_, hello) = poll(&mut second, MS).expect("Hello");
    give(&mut first, 10_000 * MS, &hello);
    assert!(matches!(
        events(&mut first)[..],
        [Event::Claimed {
            boot: BootId(0xb),
            ..
        }]
    ));
    let (_, hello) = poll(&mut first, 10_000 * MS).expect("Hello");
    give(&mut second, MS, &hello);
    assert!(matches!(
        events(&mut second)[..],
        [Event::Refused {
            boot: BootId(0xa),
            ..
        }]
    ));
    second.handle_timeout(1000 * MS);
    assert!(poll(&mut second, 1000 * MS).is_none() && second.poll_timeout().is_none());
}

#[test]
fn a_living_peer_is_not_given_up_to_another_address() {
    let mut now = MS;
    let mut nodes = pair(&mut now);
    let mut thief = Node::<Frame>::new(
        Config {
            mac: [2, 0, 0, 0, 0, 99],
            ..config(2, 0xe)
        },
        now,
    );
    thief.handle_timeout(now);
    let (_, hello) = poll(&mut thief, now).expect("Hello");
    give(&mut nodes[0], now, &hello);
    assert!(settle(&mut now, &mut nodes).is_empty());
    assert_eq!(nodes[0].peer(NodeId(2)).map(|p| p.boot), Some(BootId(0xb)));
}

#[test]
fn measuring() {
    let mut now = MS;
    let mut nodes = pair(&mut now);
    nodes[0].measure(now, NodeId(2), (5, 100), None);
    let mut measured = Vec::new();
    while measured.is_empty() {
        settle(&mut now, &mut nodes);
        measured = events(&mut nodes[0]);
        now = nodes
            .iter()
            .filter_map(Node::poll_timeout)
            .min()
            .map_or(now, |at| at.max(now));
        for node in &mut nodes {
            node.handle_timeout(now);
        }
    }
    let Event::Measured {
        peer,
        rtt_ns,
        blast_bytes_per_s,
    } = &measured[0]
    else {
        panic!("{measured:?}")
    };
    assert_eq!((*peer, rtt_ns.len()), (NodeId(2), 5));
    assert_eq!(rtt_ns[0], 200_000);
    assert!(
        (20_000_000..42_000_000).contains(blast_bytes_per_s),
        "{blast_bytes_per_s}"
    );
}

#[test]
fn a_full_outbox_drops_data_which_comes_again() {
    let mut now = MS;
    let mut nodes = pair(&mut now);
    let count = crate::EVENTS_MAX as u64 + 500;
    for epoch in 0..count {
        nodes[0].send(now, NodeId(2), poke(epoch)).expect("known");
    }
    let mut received = 0;
    while received < count {
        for _ in 0..200 {
            settle(&mut now, &mut nodes);
            let due = nodes.iter().filter_map(Node::poll_timeout).min();
            now = now.max(due.expect("Hello"));
            for node in &mut nodes {
                node.handle_timeout(now);
            }
        }
        let batch = events(&mut nodes[1]);
        assert!(batch.len() <= crate::EVENTS_MAX + link::WINDOW);
        for event in batch {
            if let Event::Message { message, .. } = event {
                assert_eq!(*message, poke(received));
                received += 1;
            }
        }
    }
}

/// Makes the rest of a header fit its kind.
fn make_plausible(header: &mut Header, random: u64) {
    let (payload, length) = match Kind::from_u8(header.kind).expect("1 to 14") {
        Kind::Hello | Kind::HelloReply => (PayloadKind::Info, 30),
        Kind::Blast | Kind::Probe => (PayloadKind::Filler, 4096),
        Kind::Gossip => (PayloadKind::Gossip, 40),
        Kind::Knock | Kind::Welcome => (PayloadKind::Handshake, 64),
        Kind::Data => match random % 5 {
            0 => (PayloadKind::Whole, 1 + random as u16 % 4096),
            1 => (PayloadKind::First, 4096),
            2 => (PayloadKind::Middle, 4096),
            3 => (PayloadKind::Last, 9),
            _ => (PayloadKind::Page, 4096),
        },
        _ => (PayloadKind::None, 0),
    };
    header.payload_kind = payload as u8;
    header.length = length.into();
    if random.is_multiple_of(7) && length > 1376 && header.kind() != Kind::Probe {
        *header = header.of_piece(Some(random as usize % 4));
    }
    if payload == PayloadKind::Page || header.kind() == Kind::Beacon {
        header.pid = (65536 + random as u32 % 2).into();
    }
    if header.kind() != Kind::Data {
        header.lane = 0;
    }
    if header.kind() != Kind::Hello {
        header.target = 1.into();
    }
    if (header.target.get() == 0) != (header.target_boot.get() == 0) {
        header.target_boot = (u64::from(header.target.get()) * 0xa).into();
    }
}

#[test]
fn random_and_mutated_frames_never_panic() {
    let mut state = 3u64;
    let mut random = move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        state >> 24
    };
    let mut now = MS;
    let mut nodes = pair(&mut now);
    let page: Frame = Arc::new([0x11; 4096]);
    let mut kinds = vec![0u64; 256];
    for round in 0..60_000u64 {
        now += random() % 100_000;
        let mut header = Header::new(Kind::Data);
        header.kind = 1 + (random() % 12) as u8;
        header.payload_kind = (random() % 9) as u8;
        header.length = [0u16, 1, 30, 4096][random() as usize % 4].into();
        header.cluster = 7.into();
        header.source = (1 + random() as u16 % 3).into();
        header.target = (random() as u16 % 2).into();
        header.source_boot = [0xau64, 0xb, 0xb, random()][random() as usize % 4].into();
        header.target_boot = [0u64, 0xa, 0xa, 0xb][random() as usize % 4].into();
        header.lane = (random() % 2) as u8;
        header.seq = (random() as u32 % 300).into();
        header.ack = [(random() as u32 % 4).into(), (random() as u32).into()];
        header.sack = [random().into(), random().into()];
        header.sent_ns = (now + random() % 1000).into();
        header.echo_ns = (random() % (2 * now)).into();
        if random() % 4 != 0 {
            make_plausible(&mut header, random());
        }
        let mut bytes = header.to_bytes();
        if random() % 3 == 0 {
            bytes[random() as usize % HEADER_LEN] = random() as u8;
        }
        if Header::parse(&bytes).is_ok() {
            kinds[usize::from(bytes[15])] += 1;
        }
        nodes[0].handle_frame(now, &bytes, page.clone(), random() as usize % 5000);
        if random() % 4 == 0 {
            let _ = nodes[0].send(now, NodeId(2), poke(round));
            nodes[0].handle_timeout(now);
        }
        while let Some(transmit) = nodes[0].poll_transmit(now) {
            assert!(Header::parse(&transmit.header).is_ok());
        }
        let _ = nodes[0].poll_timeout();
        let _ = events(&mut nodes[0]);
    }
    for (kind, tried) in kinds.iter().enumerate().skip(1).take(10) {
        assert!(*tried > 1000, "kind {kind} was tried {tried} times");
    }
}

#[test]
fn frames_of_any_size_are_measured() {
    let mut now = MS;
    let mut nodes = pair(&mut now);
    nodes[0].measure(now, NodeId(2), (3, 0), Some(1000));
    let (line, echo) = poll(&mut nodes[0], now).expect("a ping");
    assert!(line.contains(" echo "), "{line}");
    give(&mut nodes[1], now, &echo);
    let (line, back) = poll(&mut nodes[1], now).expect("an answer");
    assert!(line.contains(" echo-reply "), "{line}");
    assert_eq!((echo.payload.len(), back.payload.len()), (1000, 1000));
}

/// Lets both stacks live until then.
fn live(now: &mut u64, nodes: &mut [Node<Frame>; 2], until: u64, load: wire::Load) -> Vec<String> {
    let mut trace = Vec::new();
    loop {
        trace.extend(settle(now, nodes));
        let due = nodes.iter().filter_map(Node::poll_timeout).min();
        let due = due.expect("Hello goes on for ever");
        if due > until {
            *now = (*now).max(until);
            return trace;
        }
        *now = (*now).max(due);
        for node in nodes.iter_mut() {
            if node.membership().poll_timeout().is_some() {
                node.set_load(*now, load);
            }
            node.handle_timeout(*now);
        }
    }
}

#[test]
fn loads_are_told_and_who_is_heard_is_not_asked() {
    let mut now = MS;
    let mut nodes = pair(&mut now);
    let load = wire::Load {
        processors: 2,
        speed: 700,
        runnable_milli: 1500,
        ..wire::Load::default()
    };
    // As long as nobody tells a load there is no gossip.
    let trace = live(&mut now, &mut nodes, 3000 * MS, load);
    assert!(trace.iter().all(|line| !line.contains("gossip")));
    assert_eq!(nodes[0].poll_event(), None);
    nodes.iter_mut().for_each(|node| node.set_load(now, load));
    let trace = live(&mut now, &mut nodes, 9000 * MS, load);
    let gossip = trace.iter().filter(|line| line.contains("gossip")).count();
    assert!((10..=40).contains(&gossip), "{gossip} frames in 6 s");
    let seen: Vec<crate::Seen> = nodes[0].view(now).collect();
    assert_eq!(seen.len(), 1);
    assert_eq!((seen[0].node, seen[0].boot), (NodeId(2), BootId(0xb)));
    assert_eq!(seen[0].load.map(|(load, _)| load), Some(load));
    let joined = |event: &Event<Frame>| matches!(event, Event::Member(_));
    assert_eq!(
        events(&mut nodes[0]).iter().filter(|e| joined(e)).count(),
        1
    );
    assert_eq!(nodes[0].membership().counters().unanswered, 0);
}

/// Frames of node 2 as somebody would change them who has seen everything, the times in them are right.
fn changed(recorded: &Transmit<Frame>, change: impl FnOnce(&mut Header)) -> Transmit<Frame> {
    let mut header = *Header::parse(&recorded.header).expect("it was sent");
    change(&mut header);
    Transmit {
        header: header.to_bytes(),
        payload: recorded.payload.clone(),
    }
}

#[test]
fn a_recorded_frame_is_no_proof_of_another_boot_or_another_node() {
    let mut now = MS;
    let mut nodes = pair(&mut now);
    for round in 0..3 {
        // Node 2 has heard what node 1 has answered to those of the round before.
        nodes[0].send(now, NodeId(2), poke(round)).expect("known");
        settle(&mut now, &mut nodes);
        nodes[1].send(now, NodeId(1), poke(round)).expect("known");
        let (_, recorded) = poll(&mut nodes[1], now).expect("it is sent");
        let boot = changed(&recorded, |header| header.source_boot = 0xdead.into());
        let number = changed(&recorded, |header| header.source = 66.into());
        for forged in [&boot, &number, &recorded] {
            give(&mut nodes[0], now, forged);
            settle(&mut now, &mut nodes);
        }
        let told = events(&mut nodes[0]);
        assert!(matches!(told[..], [Event::Message { .. }]), "{told:?}");
        events(&mut nodes[1]);
    }
    assert_eq!(nodes[0].peers().count(), 1);
}
