//! The machine: literal traces, lies, old records, and any order of anything.

use super::*;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use wire::Told;

const MS: u64 = 1_000_000;
const PERIOD: u64 = 1000 * MS;

fn boot(node: u16) -> BootId {
    BootId(u64::from(node) + 0xb00)
}

fn node(number: u16) -> Membership {
    let config = Config {
        node: NodeId(number),
        boot: boot(number),
        seed: 1,
        period_ns: PERIOD,
    };
    Membership::new(config, 0)
}

fn load(runnable: u32) -> Load {
    Load {
        runnable_milli: runnable,
        processors: 2,
        speed: 1000,
        frames_total: 1000,
        frames_free: 500,
        ..Load::default()
    }
}

fn record(node: u16, incarnation: u32, state: NodeState) -> Record {
    Record {
        node: NodeId(node),
        boot: boot(node),
        incarnation,
        state,
        told: None,
    }
}

fn with_load(mut record: Record, version: u32, age_ms: u32, runnable: u32) -> Record {
    record.told = Some(Told {
        version,
        age_ms,
        load: load(runnable),
    });
    record
}

fn say(records: &[Record]) -> Gossip {
    Gossip {
        purpose: Purpose::News,
        seq: 0,
        subject: NodeId::ALL,
        records: records.to_vec(),
    }
}

fn events(membership: &mut Membership) -> Vec<String> {
    let all = core::iter::from_fn(|| membership.poll_event());
    all.map(|event| format!("{} {:?}", event.node, event.change))
        .collect()
}

fn state(membership: &Membership, node: u16) -> Option<NodeState> {
    Some(membership.get(0, NodeId(node))?.state)
}

/// Nodes that hear each other after a millisecond, but for those that are down.
struct Cluster {
    now: u64,
    nodes: BTreeMap<u16, Membership>,
    down: Vec<u16>,
    deaf: Vec<u16>,
    /// The nodes up to here do not hear the others, nor they them.
    cut_behind: u16,
    frames: VecDeque<(u64, u16, NodeId, Gossip)>,
    trace: Vec<String>,
}

impl Cluster {
    fn new(count: u16) -> Cluster {
        let mut nodes: BTreeMap<u16, Membership> = (1..=count).map(|n| (n, node(n))).collect();
        for (number, membership) in &mut nodes {
            for other in (1..=count).filter(|other| other != number) {
                membership.peer_heard(0, NodeId(other), boot(other));
            }
            membership.set_load(0, load(u32::from(*number)));
        }
        Cluster {
            now: 0,
            nodes,
            down: Vec::new(),
            deaf: Vec::new(),
            cut_behind: 0,
            frames: VecDeque::new(),
            trace: Vec::new(),
        }
    }

    fn run(&mut self, until: u64) {
        loop {
            for (number, membership) in &mut self.nodes {
                while let Some((to, gossip)) = membership.poll_transmit(self.now) {
                    if gossip.purpose != Purpose::News {
                        let (seq, purpose) = (gossip.seq, gossip.purpose);
                        let subject = gossip.subject.0;
                        let line = format!("{number} > {to} {purpose:?} {seq} {subject}");
                        self.trace.push(line);
                    }
                    assert!(gossip.encode().len() <= wire::GOSSIP_MAX);
                    self.frames.push_back((self.now + MS, *number, to, gossip));
                }
            }
            let awake = self.nodes.iter().filter(|(n, _)| !self.down.contains(n));
            let due = awake.filter_map(|(_, membership)| membership.poll_timeout());
            let frame = self.frames.front().map(|frame| frame.0);
            let next = due.chain(frame).min().unwrap_or(u64::MAX);
            if next > until {
                self.now = until;
                return;
            }
            self.now = self.now.max(next);
            while let Some((_, from, to, gossip)) =
                self.frames.pop_front_if(|frame| frame.0 <= self.now)
            {
                if !self.down.contains(&to.0)
                    && !self.deaf.contains(&to.0)
                    && (from <= self.cut_behind) == (to.0 <= self.cut_behind)
                    && let Some(target) = self.nodes.get_mut(&to.0)
                {
                    target.handle(self.now, NodeId(from), boot(from), &gossip);
                }
            }
            for (number, membership) in &mut self.nodes {
                if !self.down.contains(number) {
                    membership.set_load(self.now, load(u32::from(*number)));
                    membership.handle_timeout(self.now);
                }
            }
        }
    }

    fn events(&mut self, of: u16) -> Vec<String> {
        events(self.nodes.get_mut(&of).expect("there"))
    }
}

#[test]
fn a_silent_node_answers_and_says_nothing_else() {
    let mut one = node(1);
    one.peer_heard(0, NodeId(2), boot(2));
    assert_eq!((one.poll_timeout(), one.poll_event()), (None, None));
    let mut ping = say(&[record(2, 0, NodeState::Alive)]);
    (ping.purpose, ping.seq) = (Purpose::Ping, 7);
    one.handle(5, NodeId(2), boot(2), &ping);
    let (to, gossip) = one.poll_transmit(5).expect("an answer");
    assert_eq!(
        (to, gossip.purpose, gossip.seq),
        (NodeId(2), Purpose::Ack, 7)
    );
    assert_eq!(gossip.records[0], record(1, 0, NodeState::Alive));
    one.handle_timeout(100 * PERIOD);
    assert!(one.poll_transmit(100 * PERIOD).is_none());
}

#[test]
fn everybody_knows_every_load_of_a_small_cluster() {
    let mut cluster = Cluster::new(8);
    cluster.run(5 * PERIOD);
    for (number, membership) in &cluster.nodes {
        let seen: Vec<Seen> = membership.view(cluster.now).collect();
        assert_eq!(seen.len(), 7);
        for seen in seen {
            let (load, age_ns) = seen.load.expect("it is known");
            assert_eq!(load.runnable_milli, u32::from(seen.node.0), "at {number}");
            assert!(age_ns <= membership.age_limit());
        }
    }
}

#[test]
fn who_does_not_answer_is_asked_through_others_then_suspected_then_dead() {
    let mut cluster = Cluster::new(3);
    cluster.run(3 * PERIOD);
    (1..=3).for_each(|node| drop(cluster.events(node)));
    cluster.trace.clear();
    cluster.down.push(3);
    let died_at = cluster.now;
    let mut suspected = 0;
    while state(&cluster.nodes[&1], 3) != Some(NodeState::Dead) {
        cluster.run(cluster.now + 10 * MS);
        if suspected == 0 && state(&cluster.nodes[&1], 3) == Some(NodeState::Suspect) {
            suspected = cluster.now;
        }
        assert!(cluster.now < died_at + 12 * PERIOD);
    }
    assert!(suspected > died_at && suspected < died_at + 3 * PERIOD);
    assert!(cluster.now > suspected + 6 * PERIOD);
    assert_eq!(cluster.events(1), ["3 Suspected", "3 Died"]);
    let asks = |line: &&String| line.contains("> 3 Ping ");
    let first: &String = cluster.trace.iter().find(asks).expect("it was asked");
    let asker = first.chars().next().expect("it is named");
    let relay = if asker == '1' { '2' } else { '1' };
    let seq = first.split(' ').nth(4).expect("a number");
    let (by_asker, for_asker) = (format!("{asker} > "), format!("PingFor {seq} {asker}"));
    let about = |line: &&String| {
        line.starts_with(&by_asker) && !line.contains("Ack") || line.ends_with(&for_asker)
    };
    let trace = cluster.trace.iter().skip_while(|line| !asks(line));
    let first: Vec<&String> = trace.filter(about).take(4).collect();
    assert_eq!(
        first,
        [
            &format!("{asker} > 3 Ping {seq} 0"),
            &format!("{asker} > 3 Ping {seq} 0"),
            &format!("{asker} > {relay} PingRequest {seq} 3"),
            &format!("{relay} > 3 PingFor {seq} {asker}"),
        ]
    );
    // Nobody speaks to it any more, and in the end it is forgotten.
    cluster.run(cluster.now + 100 * PERIOD);
    assert_eq!(state(&cluster.nodes[&1], 3), None);
    assert_eq!(state(&cluster.nodes[&2], 3), None);
}

#[test]
fn who_slept_contradicts_and_blames_nobody() {
    let mut cluster = Cluster::new(5);
    cluster.run(3 * PERIOD);
    (1..=5).for_each(|node| drop(cluster.events(node)));
    cluster.down.push(5);
    cluster.run(cluster.now + 5 * PERIOD);
    assert_eq!(cluster.events(1), ["5 Suspected"]);
    cluster.down.clear();
    cluster.run(cluster.now + 2 * PERIOD);
    assert_eq!(cluster.events(1), ["5 Refuted"]);
    let sleeper = &cluster.nodes[&5];
    assert!(sleeper.counters().overslept > 0 && sleeper.counters().contradicted > 0);
    assert_eq!(cluster.events(5), [] as [&str; 0]);
}

#[test]
fn who_hears_nobody_convinces_nobody() {
    let mut cluster = Cluster::new(5);
    cluster.run(3 * PERIOD);
    (1..=5).for_each(|node| drop(cluster.events(node)));
    // What it says was contradicted before it says it.
    cluster.deaf.push(5);
    cluster.run(cluster.now + 20 * PERIOD);
    for node in 1..=4 {
        let events = cluster.events(node);
        let accused = |line: &&String| line.ends_with("Died") && !line.starts_with('5');
        assert_eq!(events.iter().filter(accused).count(), 0, "{events:?}");
    }
    // To the others it is dead, because it does not answer, and it comes back when it hears that.
    cluster.deaf.clear();
    cluster.run(cluster.now + 5 * PERIOD);
    for node in 1..=4 {
        assert_eq!(state(&cluster.nodes[&node], 5), Some(NodeState::Alive));
    }
    for node in 1..=4 {
        assert_eq!(state(&cluster.nodes[&5], node), Some(NodeState::Alive));
    }
}

#[test]
fn two_halves_become_one_again() {
    let mut cluster = Cluster::new(6);
    cluster.run(3 * PERIOD);
    cluster.cut_behind = 3;
    cluster.run(cluster.now + 30 * PERIOD);
    for (one, other) in [(1, 4), (3, 6), (4, 1), (6, 3)] {
        assert_eq!(state(&cluster.nodes[&one], other), Some(NodeState::Dead));
    }
    // A Hello is enough.
    cluster.cut_behind = 0;
    let now = cluster.now;
    let six = cluster.nodes.get_mut(&6).expect("there");
    six.peer_heard(now, NodeId(1), boot(1));
    cluster.run(now + 5 * PERIOD);
    for (number, membership) in &cluster.nodes {
        assert_eq!(membership.size(), 6, "at {number}");
        assert!(
            membership
                .view(now)
                .all(|seen| seen.state == NodeState::Alive)
        );
    }
}

#[test]
fn a_node_that_leaves_is_neither_suspected_nor_dead() {
    let mut cluster = Cluster::new(4);
    cluster.run(3 * PERIOD);
    (1..=4).for_each(|node| drop(cluster.events(node)));
    let now = cluster.now;
    cluster.nodes.get_mut(&4).expect("there").leave(now);
    cluster.run(now + 2 * PERIOD);
    cluster.down.push(4);
    cluster.run(now + 20 * PERIOD);
    for node in 1..=3 {
        assert_eq!(cluster.events(node), ["4 Left"]);
        assert_eq!(cluster.nodes[&node].size(), 3);
    }
}

#[test]
fn a_new_boot_replaces_the_old_one_at_once() {
    let mut one = node(1);
    one.set_load(0, load(1));
    one.handle(
        1,
        NodeId(2),
        boot(2),
        &say(&[with_load(record(2, 9, NodeState::Alive), 5, 0, 4)]),
    );
    let later = BootId(77);
    one.handle(2, NodeId(2), later, &say(&[]));
    assert_eq!(events(&mut one), ["2 Joined", "2 Died", "2 Joined"]);
    let seen = one.get(2, NodeId(2)).expect("known");
    assert_eq!(
        (seen.boot, seen.state, seen.load),
        (later, NodeState::Alive, None)
    );
    // What others say late of the old one changes nothing.
    let old = [with_load(record(2, 10, NodeState::Dead), 6, 0, 4)];
    one.handle(3, NodeId(3), boot(3), &say(&old));
    let old = [record(2, 11, NodeState::Alive)];
    one.handle(3, NodeId(3), boot(3), &say(&old));
    assert_eq!(one.get(3, NodeId(2)), Some(seen));
}

#[test]
fn the_higher_incarnation_counts_then_the_worse_news() {
    use NodeState::{Alive, Dead, Left, Suspect};
    let mut one = node(1);
    one.peer_heard(0, NodeId(2), boot(2));
    one.peer_heard(0, NodeId(3), boot(3));
    let steps = [
        ((0, Suspect), (Suspect, 0)),
        ((0, Alive), (Suspect, 0)),
        ((1, Alive), (Alive, 1)),
        ((0, Dead), (Alive, 1)),
        ((1, Dead), (Dead, 1)),
        ((1, Suspect), (Dead, 1)),
        ((2, Alive), (Alive, 2)),
        ((2, Left), (Left, 2)),
        ((3, Suspect), (Suspect, 3)),
        ((u32::MAX, Alive), (Suspect, 3)),
        ((0x8000_0002, Alive), (Alive, 0x8000_0002)),
        ((0, Suspect), (Suspect, 0)),
    ];
    for (heard, believed) in steps {
        one.handle(1, NodeId(3), boot(3), &say(&[record(2, heard.0, heard.1)]));
        let member = one.roster.get(NodeId(2)).expect("known");
        assert_eq!((member.state, member.incarnation), believed, "{heard:?}");
    }
}

#[test]
fn a_lie_about_me_is_contradicted() {
    let mut one = node(1);
    one.set_load(0, load(1));
    one.peer_heard(0, NodeId(2), boot(2));
    for incarnation in [0, 5, u32::MAX] {
        for state in [NodeState::Suspect, NodeState::Dead, NodeState::Left] {
            let mine = one.own.incarnation;
            one.handle(
                1,
                NodeId(2),
                boot(2),
                &say(&[record(1, incarnation, state)]),
            );
            let wrong = incarnation == mine || is_newer(incarnation, mine);
            let expected = if wrong {
                incarnation.wrapping_add(1)
            } else {
                mine
            };
            assert_eq!(one.own.incarnation, expected);
            assert_eq!(one.poll_timeout().map(|due| due <= 1 || !wrong), Some(true));
        }
    }
    // Of another boot of mine I know nothing.
    let mut other = record(1, 1 << 20, NodeState::Dead);
    other.boot = BootId(1);
    let mine = one.own.incarnation;
    one.handle(1, NodeId(2), boot(2), &say(&[other]));
    assert_eq!(one.own.incarnation, mine);
    // A load that I did not tell yet: mine gets a later number.
    let lie = with_load(record(1, mine, NodeState::Alive), 1000, 0, 0);
    one.handle(1, NodeId(2), boot(2), &say(&[lie]));
    assert_eq!(one.own.version, 1001);
}

#[test]
fn ages_add_up_and_what_is_too_old_is_gone() {
    let (mut one, mut two) = (node(1), node(2));
    one.set_load(0, load(1));
    for other in 3..=9 {
        one.peer_heard(0, NodeId(other), boot(other));
        two.peer_heard(0, NodeId(other), boot(other));
    }
    let limit = one.age_limit();
    assert_eq!(limit, 9 * PERIOD);
    let told = with_load(record(9, 0, NodeState::Alive), 3, 500, 4);
    one.handle(100 * MS, NodeId(3), boot(3), &say(&[told]));
    let shown = one.get(400 * MS, NodeId(9)).and_then(|seen| seen.load);
    assert_eq!(shown.map(|(_, age_ns)| age_ns), Some(800 * MS));
    // Told on after two seconds, and kept there for three.
    let letter = Letter {
        full: true,
        ..Letter::news(NodeId(2))
    };
    one.post(letter);
    let (_, gossip) = one.poll_transmit(2100 * MS).expect("posted");
    let passed = gossip
        .records
        .iter()
        .find(|record| record.node == NodeId(9));
    assert_eq!(
        passed.and_then(|record| record.told).expect("told").age_ms,
        2500
    );
    two.handle(2100 * MS, NodeId(1), boot(1), &gossip);
    let shown = |membership: &Membership, now| membership.get(now, NodeId(9)).and_then(|s| s.load);
    assert_eq!(shown(&two, 5100 * MS).map(|(_, age)| age), Some(5500 * MS));
    // Beyond the limit it is neither shown nor told nor believed.
    assert!(shown(&one, limit - 400 * MS).is_some());
    assert!(shown(&one, limit - 399 * MS).is_none());
    one.post(letter);
    let (_, gossip) = one.poll_transmit(limit).expect("posted");
    let passed = gossip
        .records
        .iter()
        .find(|record| record.node == NodeId(9));
    assert!(passed.is_none_or(|record| record.told.is_none()));
    let old = with_load(
        record(8, 0, NodeState::Alive),
        3,
        (limit / MS) as u32 + 1,
        4,
    );
    one.handle(limit, NodeId(3), boot(3), &say(&[old]));
    assert!(one.get(limit, NodeId(8)).expect("known").load.is_none());
    assert_eq!(one.counters().stale, 1);
}

#[test]
fn who_is_taken_for_dead_and_speaks_is_told() {
    let mut one = node(1);
    one.peer_heard(0, NodeId(2), boot(2));
    one.handle(
        1,
        NodeId(3),
        boot(3),
        &say(&[record(2, 4, NodeState::Dead)]),
    );
    let hello = say(&[record(2, 4, NodeState::Alive)]);
    one.handle(2, NodeId(2), boot(2), &hello);
    assert_eq!(state(&one, 2), Some(NodeState::Dead));
    let (to, gossip) = one.poll_transmit(3).expect("it is told");
    assert_eq!(to, NodeId(2));
    assert!(gossip.records.contains(&record(2, 4, NodeState::Dead)));
    let mut two = node(2);
    two.handle(4, NodeId(1), boot(1), &gossip);
    two.post(Letter::news(NodeId(1)));
    let (_, answer) = two.poll_transmit(5).expect("posted");
    one.handle(6, NodeId(2), boot(2), &answer);
    assert_eq!(state(&one, 2), Some(NodeState::Alive));
}

/// Random records from random senders, doubled, out of order, and with absurd figures: nothing panics, nothing grows
/// without bound, the same input gives the same output, and what is said twice changes nothing.
#[test]
fn any_gossip_in_any_order_is_harmless() {
    let mut random = Random(5);
    let mut one = node(1);
    one.set_load(0, load(1));
    let mut now = 0;
    for round in 0..40_000u64 {
        now += random.below(40 * MS);
        let count = random.below(22);
        let any = |random: &mut Random| {
            let node = 1 + random.below(40) as u16;
            let mut record = record(node, 0, NodeState::Alive);
            record.boot = BootId(random.below(3));
            record.incarnation = match random.below(4) {
                0 => random.bits() as u32,
                _ => random.below(3) as u32,
            };
            use NodeState::{Alive, Dead, Left, Suspect};
            record.state = [Alive, Suspect, Dead, Left][random.below(4) as usize];
            if random.below(2) == 0 {
                let age_ms = match random.below(4) {
                    0 => random.bits() as u32,
                    _ => random.below(3000) as u32,
                };
                record = with_load(record, random.bits() as u32, age_ms, 7);
            }
            record
        };
        let mut gossip = say(&[]);
        gossip.records = (0..count).map(|_| any(&mut random)).collect();
        use Purpose::{Ack, AckFor, AckRelayed, News, Ping, PingFor, PingRequest};
        gossip.purpose =
            [News, Ping, Ack, PingRequest, PingFor, AckFor, AckRelayed][random.below(7) as usize];
        gossip.seq = random.below(50) as u32;
        gossip.subject = NodeId(random.below(45) as u16);
        let (from, boot) = (NodeId(random.below(45) as u16), BootId(1 + random.below(3)));
        one.handle(now, from, boot, &gossip);
        let before: Vec<Seen> = one.view(now).collect();
        let mut again = one.clone();
        again.handle(now, from, boot, &gossip);
        if gossip
            .records
            .iter()
            .map(|r| r.node)
            .collect::<alloc::collections::BTreeSet<_>>()
            .len()
            == gossip.records.len()
        {
            assert_eq!(again.view(now).collect::<Vec<_>>(), before, "round {round}");
        }
        one.handle_timeout(now);
        if random.below(3) > 0 {
            while let Some((to, gossip)) = one.poll_transmit(now) {
                assert!(to.is_valid() && to != NodeId(1));
                let bytes = gossip.encode();
                let read = Gossip::decode(&bytes).expect("we say what is in order");
                assert_eq!(read, gossip);
                let limit_ms = one.age_limit() / MS;
                let mut ages = gossip.records[1..].iter().filter_map(|record| record.told);
                assert!(ages.all(|told| u64::from(told.age_ms) <= limit_ms));
            }
        }
        assert!(one.letters.len() <= LETTERS_MAX && one.events.len() <= EVENTS_MAX);
        assert!(one.watches.len() <= 45 && one.view(now).count() <= 45);
        if round % 7 == 0 {
            one.set_load(now, load(1));
        }
        let limit = one.age_limit();
        assert!(
            one.view(now)
                .all(|seen| seen.load.is_none_or(|(_, age)| age <= limit))
        );
        assert_eq!(
            one.roster.iter().filter(|(_, m)| m.is_present()).count(),
            one.roster.present()
        );
    }
    assert!(one.gone.len() <= 45);
}

#[test]
fn the_same_seed_gives_the_same_frames() {
    let run = || {
        let mut cluster = Cluster::new(6);
        cluster.run(4 * PERIOD);
        cluster.down.push(2);
        cluster.run(14 * PERIOD);
        (
            cluster.trace,
            cluster
                .nodes
                .values()
                .map(Membership::counters)
                .collect::<Vec<_>>(),
        )
    };
    assert_eq!(run(), run());
}

#[test]
fn nobody_speaks_of_itself_in_another_boot() {
    let mut one = node(1);
    one.handle(
        1,
        NodeId(2),
        boot(2),
        &say(&[record(2, 4, NodeState::Dead)]),
    );
    let mut other = record(2, 9, NodeState::Alive);
    other.boot = BootId(9);
    one.handle(2, NodeId(2), boot(2), &say(&[other]));
    let seen = one.get(2, NodeId(2)).expect("known");
    assert_eq!((seen.boot, seen.state), (boot(2), NodeState::Dead));
}
