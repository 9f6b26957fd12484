//! The link: traces of frames on virtual time, and random loss.

use super::*;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use alloc::{format, string::String};
use wire::{BootId, Message, NodeId, PayloadKind, Pid};

type Frame = Arc<[u8; 4096]>;
const MS: u64 = 1_000_000;

/// A page as it is.
fn whole(page: &Frame) -> Payload<Frame> {
    Payload::page(page.clone())
}

struct Pair {
    now: u64,
    ends: [Link<Frame>; 2],
    delivered: [Vec<Delivered<Frame>>; 2],
}

impl Pair {
    /// One whose first end has learned that it may have as much in flight as there is.
    fn with_a_large_share() -> Pair {
        let mut pair = Pair::new(0);
        pair.ends[1].set_share(u8::MAX, 16);
        send(&mut pair.ends[1], Lane::Urgent, &poke(1));
        let frame = pair.poll(1).unwrap();
        pair.receive(0, &frame);
        pair
    }

    fn new(first: u32) -> Pair {
        Pair {
            now: MS,
            ends: [Link::starting_at(first), Link::starting_at(first)],
            delivered: [Vec::new(), Vec::new()],
        }
    }

    /// The frame the end transmits next: urgent, bulk, acknowledgement.
    fn poll(&mut self, end: usize) -> Option<(Header, Payload<Frame>)> {
        let link = &mut self.ends[end];
        for lane in Lane::ALL {
            let mut header = Header::new(Kind::Ack);
            if let Some(payload) = link.poll_data(self.now, lane, &mut header, whole) {
                return Some((header, payload));
            }
        }
        link.owes_ack().then(|| {
            let mut header = Header::new(Kind::Ack);
            link.fill(self.now, &mut header);
            (header, Payload::None)
        })
    }

    fn all(&mut self, end: usize) -> Vec<(Header, Payload<Frame>)> {
        core::iter::from_fn(|| self.poll(end)).collect()
    }

    fn receive(&mut self, end: usize, frame: &(Header, Payload<Frame>)) {
        let (header, payload) = frame;
        self.ends[end].handle_header(self.now, header);
        if header.kind() == Kind::Data {
            let mut page = [0; 4096];
            payload.copy_to(&mut page);
            let delivered = &mut self.delivered[end];
            self.ends[end].handle_data(self.now, header, Arc::new(page), &mut |item| {
                delivered.push(item);
            });
        }
    }

    /// Advances the clock to the next timeout of either end.
    fn wait(&mut self) {
        let next = self.ends.iter().filter_map(Link::poll_timeout).min();
        self.now = self.now.max(next.expect("something is due"));
        for end in &mut self.ends {
            end.handle_timeout(self.now);
        }
    }
}

fn poke(epoch: u64) -> Message {
    Message::Poke {
        pid: Pid::new(NodeId(1), 1),
        thread: wire::Pid(0),
        epoch,
    }
}

fn send(link: &mut Link<Frame>, lane: Lane, message: &Message) {
    link.send(lane, Arc::from(message.encode()));
}

fn page(index: u64) -> (PageTag, Frame) {
    let tag = PageTag {
        pid: Pid::new(NodeId(1), 1),
        epoch: 1,
        page: index * 4096,
    };
    (tag, Arc::new([index as u8; 4096]))
}

fn send_pages(link: &mut Link<Frame>, count: u64) {
    for index in 0..count {
        let (tag, page) = page(index);
        link.send_page(Lane::Bulk, tag, page);
    }
}

/// Kind, lane, seq and acknowledgements of a frame in one line.
fn line(frame: &(Header, Payload<Frame>)) -> String {
    let h = &frame.0;
    let what = match h.kind() {
        Kind::Data => format!("{:?} {}", h.lane(), h.seq),
        _ => String::from("ack"),
    };
    format!("{what} [{} {} {:b}]", h.ack[0], h.ack[1], h.sack[1].get())
}

fn lines(frames: &[(Header, Payload<Frame>)]) -> Vec<String> {
    frames.iter().map(line).collect()
}

#[test]
fn a_call_is_one_frame_each_way() {
    let mut pair = Pair::new(0);
    send(&mut pair.ends[0], Lane::Urgent, &poke(1));
    let call = pair.all(0);
    assert_eq!(lines(&call), ["Urgent 0 [0 0 0]"]);
    pair.now += MS / 4;
    pair.receive(1, &call[0]);
    assert_eq!(lines(&pair.all(1)), [""; 0]);
    send(&mut pair.ends[1], Lane::Urgent, &poke(2));
    let reply = pair.all(1);
    assert_eq!(lines(&reply), ["Urgent 0 [1 0 0]"]);
    pair.now += MS / 4;
    pair.receive(0, &reply[0]);
    assert!(pair.ends[0].is_idle(Lane::Urgent));
    assert_eq!(lines(&pair.all(0)), [""; 0]);
    // Only a millisecond later, with nothing else to say, an acknowledgement.
    assert_eq!(pair.ends[0].poll_timeout(), Some(pair.now + MS));
    pair.wait();
    let ack = pair.all(0);
    assert_eq!(lines(&ack), ["ack [1 0 0]"]);
    pair.receive(1, &ack[0]);
    assert!(pair.ends[1].is_idle(Lane::Urgent));
    assert_eq!(pair.ends.iter().find_map(Link::poll_timeout), None);
    assert_eq!(pair.delivered[1], [Delivered::Message(poke(1), 6)]);
    // Both know the round trip without the time the frames were held.
    assert_eq!(pair.ends[0].rtt().min_ns(), Some(MS / 2));
}

#[test]
fn urgent_overtakes_bulk() {
    let mut pair = Pair::new(0);
    send_pages(&mut pair.ends[0], 3);
    assert_eq!(line(&pair.poll(0).unwrap()), "Bulk 0 [0 0 0]");
    send(&mut pair.ends[0], Lane::Urgent, &poke(1));
    assert_eq!(line(&pair.poll(0).unwrap()), "Urgent 0 [0 0 0]");
    assert_eq!(line(&pair.poll(0).unwrap()), "Bulk 1 [0 0 0]");
}

#[test]
fn eight_times_for_each_share_is_acknowledged() {
    for (share, first, every) in [(SHARE_START, 64, 8), (255, 255, 16), (20, 20, 2), (3, 3, 1)] {
        let mut pair = Pair::new(0);
        // The receiver says what may be in flight, with whatever it sends.
        pair.ends[1].set_share(share, u32::from(share) / 8);
        send(&mut pair.ends[1], Lane::Urgent, &poke(1));
        let frame = pair.poll(1).unwrap();
        pair.receive(0, &frame);
        send_pages(&mut pair.ends[0], 511);
        let frames = pair.all(0);
        assert_eq!(frames.len(), first, "as many as the share allows");
        let mut acks = Vec::new();
        for frame in &frames {
            pair.receive(1, frame);
            acks.extend(pair.all(1));
        }
        let expected: Vec<_> = (1..=first / every)
            .map(|nth| format!("ack [0 {} 0]", nth * every))
            .collect();
        assert_eq!(lines(&acks), expected);
        for ack in &acks {
            pair.receive(0, ack);
        }
        let acknowledged = first / every * every;
        assert_eq!(pair.all(0).len(), acknowledged);
    }
}

/// What is queued cannot go before others any more: not more of it than keeps the lane busy.
#[test]
fn pushed_pages_wait_with_the_sender_and_not_in_the_lane() {
    let mut pair = Pair::new(0);
    let most = AHEAD + usize::from(SHARE_START);
    assert_eq!(pair.ends[0].room(Lane::Bulk), most);
    send_pages(&mut pair.ends[0], most as u64);
    assert_eq!(pair.ends[0].room(Lane::Bulk), 0);
    assert_eq!(pair.ends[0].room(Lane::Urgent), ROOM);
    // The first is lost. What comes behind it makes room all the same.
    let frames = pair.all(0);
    assert_eq!(frames.len(), usize::from(SHARE_START));
    for frame in &frames[1..] {
        pair.receive(1, frame);
        for ack in pair.all(1) {
            pair.receive(0, &ack);
        }
    }
    assert!(pair.ends[0].room(Lane::Bulk) > AHEAD);
}

#[test]
fn urgent_packets_leave_whatever_the_share_is() {
    let mut pair = Pair::new(0);
    pair.ends[1].set_share(1, 1);
    send(&mut pair.ends[1], Lane::Urgent, &poke(1));
    let frame = pair.poll(1).unwrap();
    pair.receive(0, &frame);
    send_pages(&mut pair.ends[0], 5);
    assert_eq!(pair.all(0).len(), 1);
    for epoch in 0..30 {
        send(&mut pair.ends[0], Lane::Urgent, &poke(epoch));
    }
    assert_eq!(pair.all(0).len(), URGENT_MIN);
}

/// What came out at the second end, in a word each.
fn came(pair: &Pair) -> Vec<String> {
    let word = |item: &Delivered<Frame>| match item {
        Delivered::Page(tag, _) => format!("page {}", tag.page << 1 >> 13),
        Delivered::Message(Message::Poke { epoch, .. }, _) => format!("poke {epoch}"),
        Delivered::Message(..) => String::from("long"),
    };
    pair.delivered[1].iter().map(word).collect()
}

fn send_file_page(link: &mut Link<Frame>, lane: Lane, index: u64) {
    let (mut tag, page) = page(index);
    tag.page |= 1 << 63;
    link.send_page(lane, tag, page);
}

/// A message of three packets.
fn long() -> Message {
    Message::PagesZero {
        pid: Pid::new(NodeId(1), 1),
        epoch: 1,
        runs: (0..2200).map(|run| (run << 20, 7)).collect(),
    }
}

/// Gives all frames but one to the second end; says what comes out before and after that one comes.
fn without(pair: &mut Pair, lost: usize) -> (Vec<String>, Vec<String>) {
    let frames = pair.all(0);
    for (index, frame) in frames.iter().enumerate() {
        if index != lost {
            pair.receive(1, frame);
        }
    }
    let before = came(pair);
    pair.receive(1, &frames[lost]);
    let all = came(pair);
    (before.clone(), all[before.len()..].to_vec())
}

#[test]
fn bulk_does_not_wait_for_what_is_lost() {
    let mut pair = Pair::new(u32::MAX - 1);
    let link = &mut pair.ends[0];
    send_pages(link, 2);
    send(link, Lane::Bulk, &poke(7));
    send_pages(link, 1);
    let (before, after) = without(&mut pair, 0);
    assert_eq!(before, ["page 1", "poke 7", "page 0"]);
    assert_eq!(after, ["page 0"]);
    // Nor a whole message that is lost, nor parts of a long one.
    send(&mut pair.ends[0], Lane::Bulk, &poke(8));
    send(&mut pair.ends[0], Lane::Bulk, &long());
    send_pages(&mut pair.ends[0], 1);
    pair.delivered[1].clear();
    let (before, after) = without(&mut pair, 0);
    assert_eq!(
        (before.join(" "), after.join(" ")),
        ("long page 0".into(), "poke 8".into())
    );
    send(&mut pair.ends[0], Lane::Bulk, &long());
    send_pages(&mut pair.ends[0], 1);
    send(&mut pair.ends[0], Lane::Bulk, &poke(9));
    pair.delivered[1].clear();
    let (before, after) = without(&mut pair, 1);
    assert_eq!(
        (before.join(" "), after.join(" ")),
        ("page 0 poke 9".into(), "long".into())
    );
}

#[test]
fn urgent_messages_wait_for_messages_and_pages_of_files_and_not_for_pages_of_memory() {
    let mut pair = Pair::new(u32::MAX - 1);
    let queue = |link: &mut Link<Frame>| {
        send(link, Lane::Urgent, &poke(1));
        let (tag, frame) = page(2);
        link.send_page(Lane::Urgent, tag, frame);
        send_file_page(link, Lane::Urgent, 3);
        send(link, Lane::Urgent, &poke(4));
        send_file_page(link, Lane::Urgent, 5);
    };
    let cases = [
        ("page 2", "poke 1 page 3 poke 4 page 5"),
        ("poke 1 page 3 poke 4 page 5", "page 2"),
        ("poke 1 page 2", "page 3 poke 4 page 5"),
        ("poke 1 page 2 page 3", "poke 4 page 5"),
    ];
    for (lost, (first, second)) in cases.iter().enumerate() {
        queue(&mut pair.ends[0]);
        pair.delivered[1].clear();
        let (before, after) = without(&mut pair, lost);
        assert_eq!(
            (before.join(" "), after.join(" ")),
            ((*first).into(), (*second).into())
        );
        let acks = pair.all(1);
        pair.receive(0, &acks[acks.len() - 1]);
    }
}

#[test]
fn order_reaches_over_many_pages() {
    // So many that the distance does not fit its field.
    let mut pair = Pair::with_a_large_share();
    for round in 0..2 {
        send(&mut pair.ends[0], Lane::Urgent, &poke(100));
        let frames = pair.all(0);
        for index in 0..300 {
            let (tag, frame) = page(index);
            pair.ends[0].send_page(Lane::Urgent, tag, frame);
            if index == 299 {
                send(&mut pair.ends[0], Lane::Urgent, &poke(101));
            }
            let mut more = pair.all(0);
            more.retain(|frame| frame.0.seq != frames[0].0.seq);
            for frame in &more {
                pair.receive(1, frame);
            }
            for ack in pair.all(1) {
                pair.receive(0, &ack);
            }
        }
        assert!(
            !came(&pair).contains(&String::from("poke 101")),
            "round {round}"
        );
        assert_eq!(came(&pair).len(), 300);
        pair.receive(1, &frames[0]);
        assert_eq!(came(&pair)[300..], ["poke 100", "poke 101"]);
        for ack in pair.all(1) {
            pair.receive(0, &ack);
        }
        pair.delivered[1].clear();
    }
}

#[test]
fn packets_far_behind_a_hole_are_told() {
    let mut pair = Pair::with_a_large_share();
    send_pages(&mut pair.ends[0], 200);
    let frames = pair.all(0);
    pair.now += MS / 10;
    // The first retransmission is lost too.
    let mut again = Vec::new();
    for (index, frame) in frames.iter().enumerate() {
        if index != 0 && index != 150 {
            pair.receive(1, frame);
        }
        for ack in pair.all(1) {
            pair.receive(0, &ack);
            again.extend(pair.all(0));
        }
    }
    assert_eq!(lines(&again), ["Bulk 0 [1 0 0]", "Bulk 150 [1 0 0]"]);
    // What is known not to have come, and less than four packets that nobody has told of yet.
    assert!(pair.ends[0].senders[1].in_flight() <= 2 + 3);
}

#[test]
fn a_lost_packet_is_sent_again_at_once() {
    let mut pair = Pair::new(0);
    send_pages(&mut pair.ends[0], 8);
    let frames = pair.all(0);
    pair.now += MS / 10;
    let mut trace = Vec::new();
    for (index, frame) in frames.iter().enumerate() {
        if index == 2 {
            continue;
        }
        pair.receive(1, frame);
        for ack in pair.all(1) {
            trace.push(format!("< {}", line(&ack)));
            pair.receive(0, &ack);
            for again in pair.all(0) {
                trace.push(format!("> {}", line(&again)));
                pair.receive(1, &again);
            }
        }
    }
    assert_eq!(
        trace,
        [
            "< ack [0 2 1]",
            "< ack [0 2 11]",
            "< ack [0 2 111]",
            "> Bulk 2 [0 0 0]",
            "< ack [0 7 0]",
        ]
    );
    assert_eq!(pair.ends[0].counters().retransmitted, 1);
    assert_eq!(pair.delivered[1].len(), 8);
    for (item, index) in pair.delivered[1].iter().zip([0, 1, 3, 4, 5, 2, 6, 7]) {
        let (tag, frame) = page(index);
        assert_eq!(*item, Delivered::Page(tag, frame));
    }
}

#[test]
fn a_lost_retransmission_is_noticed_too() {
    let mut pair = Pair::new(0);
    send_pages(&mut pair.ends[0], 16);
    let frames = pair.all(0);
    for frame in &frames[1..5] {
        pair.receive(1, frame);
    }
    let ack = pair.all(1);
    pair.now += MS / 10;
    pair.receive(0, &ack[0]);
    let again = pair.all(0);
    assert_eq!(lines(&again), ["Bulk 0 [0 0 0]"], "which gets lost");
    send_pages(&mut pair.ends[0], 4);
    for frame in pair.all(0) {
        pair.receive(1, &frame);
    }
    let ack = pair.all(1);
    pair.now += MS / 10;
    pair.receive(0, &ack[0]);
    assert_eq!(lines(&pair.all(0))[0], "Bulk 0 [0 0 0]");
}

#[test]
fn the_last_packet_lost_costs_a_timeout() {
    let mut pair = Pair::new(0);
    send(&mut pair.ends[0], Lane::Urgent, &poke(1));
    let _lost = pair.all(0);
    let mut times = Vec::new();
    for _ in 0..7 {
        let before = pair.now;
        pair.wait();
        times.push((pair.now - before) / MS);
        assert_eq!(lines(&pair.all(0)), ["Urgent 0 [0 0 0]"]);
    }
    assert_eq!(times, [20, 40, 80, 160, 200, 200, 200]);
    // A spurious timeout does nothing.
    pair.ends[0].handle_timeout(pair.now);
    assert!(pair.all(0).is_empty());
}

#[test]
fn a_whole_window_lost_is_found_out_by_one_packet() {
    let mut pair = Pair::new(0);
    send_pages(&mut pair.ends[0], 20);
    let _lost = pair.all(0);
    pair.wait();
    let first = pair.all(0);
    assert_eq!(lines(&first), ["Bulk 0 [0 0 0]"]);
    pair.receive(1, &first[0]);
    pair.wait();
    let ack = pair.all(1);
    assert_eq!(lines(&ack), ["ack [0 1 0]"]);
    pair.receive(0, &ack[0]);
    assert!(pair.all(0).len() >= 17);
}

#[test]
fn what_no_map_has_told_of_is_not_lost() {
    let mut pair = Pair::with_a_large_share();
    send_pages(&mut pair.ends[0], 200);
    // All but two come in one turn of the receiver, which acknowledges once.
    for (index, frame) in pair.all(0).iter().enumerate() {
        if index != 1 && index != 190 {
            pair.receive(1, frame);
        }
    }
    pair.now += MS;
    for ack in pair.all(1) {
        pair.receive(0, &ack);
    }
    assert_eq!(lines(&pair.all(0)), ["Bulk 1 [1 0 0]", "Bulk 190 [1 0 0]"]);
}

#[test]
fn a_late_acknowledgement_does_not_pass_for_a_loss() {
    let mut pair = Pair::new(0);
    // They know each other's times.
    for end in [1, 0] {
        send(&mut pair.ends[end], Lane::Urgent, &poke(1));
        pair.now += MS / 10;
        let frame = pair.poll(end).unwrap();
        pair.now += MS / 10;
        pair.receive(1 - end, &frame);
    }
    send_pages(&mut pair.ends[0], 20);
    let frames = pair.all(0);
    for frame in &frames {
        pair.receive(1, frame);
    }
    let late = pair.all(1);
    pair.now += 30 * MS;
    pair.ends[0].handle_timeout(pair.now);
    let again = lines(&pair.all(0));
    let pages: Vec<_> = again
        .iter()
        .filter(|line| line.starts_with("Bulk"))
        .collect();
    assert_eq!(pages, ["Bulk 0 [1 0 0]"], "the oldest");
    let before = pair.ends[0].counters().retransmitted;
    // What was sent long before has come after all, and the acknowledgement of a part of it.
    pair.now += MS;
    let mut early = late[0].clone();
    early.0.ack[1] = 5.into();
    early.0.sack = [0.into(), 0.into()];
    pair.receive(0, &early);
    assert_eq!(lines(&pair.all(0)), [""; 0]);
    assert_eq!(pair.ends[0].counters().retransmitted, before);
}

#[test]
fn reordering_by_two_sends_nothing_again() {
    let mut pair = Pair::new(0);
    send_pages(&mut pair.ends[0], 6);
    let mut frames = pair.all(0);
    frames.swap(1, 3);
    for frame in &frames {
        pair.receive(1, frame);
        for ack in pair.all(1) {
            pair.receive(0, &ack);
        }
        assert!(pair.all(0).is_empty());
    }
    assert_eq!(pair.delivered[1].len(), 6);
}

#[test]
fn a_duplicate_is_acknowledged_and_dropped() {
    let mut pair = Pair::new(0);
    send(&mut pair.ends[0], Lane::Urgent, &poke(1));
    let frame = pair.poll(0).unwrap();
    pair.receive(1, &frame);
    pair.receive(1, &frame);
    assert_eq!(pair.delivered[1].len(), 1);
    assert_eq!(lines(&pair.all(1)), ["ack [1 0 0]"]);
    assert_eq!(pair.ends[1].counters().duplicates, 1);
}

#[test]
fn long_messages_survive_random_loss_and_wrapped_numbers() {
    for seed in 0..60u64 {
        let lane = Lane::ALL[seed as usize % 2];
        let mut pair = Pair::new(u32::MAX - 40);
        let mut state = seed;
        let mut random = move || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize
        };
        let mut sent = Vec::new();
        for index in 0..40u64 {
            if random() % 2 == 0 {
                let runs = (0..random() % 6000).map(|run| (run as u64, 7)).collect();
                let message = Message::PagesZero {
                    pid: Pid::new(NodeId(1), 1),
                    epoch: index,
                    runs,
                };
                let length = message.encode().len();
                send(&mut pair.ends[0], lane, &message);
                sent.push(Delivered::Message(message, length));
            } else {
                let (mut tag, frame) = page(index);
                if lane == Lane::Urgent {
                    tag.page |= 1 << 63;
                }
                pair.ends[0].send_page(lane, tag, frame.clone());
                sent.push(Delivered::Page(tag, frame));
            }
        }
        let mut wire = VecDeque::new();
        while !pair.ends[0].is_idle(lane) {
            for end in 0..2 {
                for frame in pair.all(end) {
                    if random() % 5 != 0 {
                        let at = wire.len() - random() % (1 + wire.len().min(8));
                        wire.insert(at, (1 - end, frame));
                    }
                }
            }
            pair.now += 1000;
            match wire.pop_front() {
                Some((end, frame)) => {
                    pair.receive(end, &frame);
                    if random() % 10 == 0 {
                        wire.push_back((end, frame));
                    }
                }
                None => pair.wait(),
            }
        }
        // On the bulk lane everything comes, in any order, but for the parts of a message.
        let key = |item: &Delivered<Frame>| match item {
            Delivered::Message(Message::PagesZero { epoch, .. }, _) => *epoch,
            Delivered::Message(..) => u64::MAX,
            Delivered::Page(tag, _) => tag.page / 4096,
        };
        if lane == Lane::Bulk {
            pair.delivered[1].sort_by_key(key);
        }
        assert!(pair.delivered[1] == sent, "seed {seed}");
    }
}

/// A Data frame as a hostile peer would write it.
fn data(kind: PayloadKind, seq: u32, length: u16) -> Header {
    let mut header = Header::new(Kind::Data);
    header.payload_kind = kind as u8;
    header.length = length.into();
    header.seq = seq.into();
    header.source_boot = BootId(1).0.into();
    header.behind = 1;
    header
}

#[test]
fn a_message_without_end_is_given_up() {
    let mut link = Link::<Frame>::new();
    let page: Frame = Arc::new([0; 4096]);
    let mut count = 0;
    for seq in 0..3000 {
        let kind = match seq {
            0 => PayloadKind::First,
            _ => PayloadKind::Middle,
        };
        let header = data(kind, seq, 4096);
        link.handle_data(0, &header, page.clone(), &mut |_| count += 1);
    }
    assert_eq!((count, link.counters().dropped), (0, 1));
    // The lane lives on.
    let poke = poke(4).encode();
    let mut bytes = [0; 4096];
    bytes[..poke.len()].copy_from_slice(&poke);
    for seq in 3000..3002 {
        let kind = [PayloadKind::Last, PayloadKind::Whole][seq as usize % 2];
        let header = data(kind, seq, poke.len() as u16);
        link.handle_data(0, &header, Arc::new(bytes), &mut |_| count += 1);
    }
    assert_eq!(count, 1);
}

#[test]
fn random_frames_never_panic_and_hold_little() {
    let mut state = 7u64;
    let mut random = move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        state >> 20
    };
    let page: Frame = Arc::new([0; 4096]);
    let mut link = Link::new();
    let mut delivered = 0u64;
    for now in 0..200_000u64 {
        let kinds = [
            PayloadKind::Whole,
            PayloadKind::First,
            PayloadKind::Middle,
            PayloadKind::Last,
            PayloadKind::Page,
        ];
        let kind = kinds[random() as usize % 5];
        let mut header = data(kind, random() as u32 % 600, 1 + random() as u16 % 4096);
        header.lane = random() as u8 & 1;
        header.behind = [0, 1, 255, random() as u8][random() as usize % 4];
        header.share = random() as u8;
        header.sack_from = (random() as u16 % 600).into();
        header.ack = [(random() as u32 % 300).into(), (random() as u32).into()];
        header.sack = [random().into(), (random() << 13).into()];
        header.sent_ns = random().into();
        header.echo_ns = (random() % (now + 1)).into();
        link.handle_header(now, &header);
        link.handle_data(now, &header, page.clone(), &mut |_| delivered += 1);
        if random() % 4 == 0 {
            link.send_page(Lane::Urgent, header.page_tag(), page.clone());
            link.handle_timeout(now);
            let mut out = Header::new(Kind::Ack);
            let _payload = link.poll_data(now, Lane::Urgent, &mut out, whole);
        }
        if random() % 64 == 0 {
            link = Link::new();
        }
        assert!(Arc::strong_count(&page) <= 3 * WINDOW + 2);
    }
    assert!(delivered > 0);
}
