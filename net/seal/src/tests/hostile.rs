//! Strangers, who have heard everything and may say anything.

use super::*;
use crate::{REJECT_AFTER_NS, REKEY_AFTER_NS};

/// `frame` changes nothing but one counter.
fn bounces(now: u64, boot: &mut Boot, frame: &Frame) -> Refused {
    let (before, counted) = (boot.knows(), boot.seal.counters());
    let reason = boot.refuses(now, frame);
    assert_eq!(boot.knows(), before, "{reason:?}");
    assert_eq!(boot.leaving(), None);
    let mut counters = boot.seal.counters();
    assert_eq!(counters.of(reason), counted.of(reason) + 1);
    counters.refused = counted.refused;
    assert_eq!(counters, counted);
    reason
}

#[test]
fn every_flipped_bit_is_seen() {
    Suite::ALL.into_iter().for_each(every_bit);
}

fn every_bit(suite: Suite) {
    let [mut one, mut two] = pair_in(suite, 0);
    let frame = one
        .data(0, &two, b"a message of the cluster")
        .expect("sealed");
    for bit in 0..frame.bits() {
        bounces(0, &mut two, &frame.flip(bit));
    }
    let hello = one.hello(0);
    for bit in 0..hello.bits() {
        bounces(0, &mut two, &hello.flip(bit));
    }
    assert!(two.accepts(0, &frame) && two.is_invited(0, &hello));
    let mut told = core::iter::from_fn(|| two.seal.poll_stranger());
    assert!(
        told.all(|(node, _)| node != NodeId(1)),
        "nobody speaks ill of whom we know"
    );
}

#[test]
fn every_flipped_bit_of_a_handshake_is_seen() {
    let (mut one, mut two) = (boot(1, 0xa1), boot(2, 0xb2));
    let hello = two.hello(0);
    one.hear(0, &hello).expect("invites");
    let knock = one.leaving().expect("knocks");
    for bit in 0..knock.bits() {
        bounces(0, &mut two, &knock.flip(bit));
    }
    two.hear(0, &knock).expect("answered");
    let welcome = two.leaving().expect("welcome");
    for bit in 0..welcome.bits() {
        bounces(0, &mut one, &welcome.flip(bit));
    }
    assert!(matches!(one.hear(0, &welcome), Ok(Opened::Met(_))));
}

#[test]
fn a_short_frame_is_refused_before_its_tag_is_looked_at() {
    let [mut one, mut two] = pair(0);
    let mut frame = one.data(0, &two, b"a message").expect("sealed");
    frame.payload.pop();
    assert_eq!(bounces(0, &mut two, &frame), Refused::Length);
}

#[test]
fn what_has_no_tag_is_refused_whatever_it_is() {
    let [one, mut two] = pair(0);
    let plain = one.plain(Kind::Data, Some(&two), b"a message");
    bounces(0, &mut two, &plain);
    let plain = one.plain(Kind::HelloReply, Some(&two), b"hello");
    bounces(0, &mut two, &plain);
    let plain = one.plain(Kind::Hello, None, b"hello");
    assert_eq!(bounces(0, &mut two, &plain), Refused::Tag);
}

#[test]
fn nothing_is_accepted_twice() {
    let [mut one, mut two] = pair(0);
    let frame = one.data(0, &two, b"once").expect("sealed");
    let hello = one.hello(0);
    assert!(two.accepts(0, &frame) && two.is_invited(0, &hello));
    assert_eq!(bounces(0, &mut two, &frame), Refused::Replay);
    assert_eq!(bounces(0, &mut two, &hello), Refused::Replay);
}

#[test]
fn nothing_is_accepted_twice_after_a_rekey() {
    let [mut one, mut two] = pair(0);
    let mut now = 0;
    let mut heard = Vec::new();
    for _ in 0..8 {
        let frame = one.data(now, &two, b"once").expect("sealed");
        assert!(two.accepts(now, &frame));
        heard.push(frame);
        now += REKEY_AFTER_NS;
        one.data(now, &two, b"a new session is due")
            .expect("sealed");
        shake(now, &mut one, &mut two);
        let frame = one.data(now, &two, b"once").expect("sealed");
        assert!(two.accepts(now, &frame));
        heard.push(frame);
        for frame in &heard {
            bounces(now, &mut two, frame);
        }
    }
}

#[test]
fn nothing_is_accepted_after_a_reboot_of_either() {
    let [mut one, mut two] = pair(0);
    let frames = [
        one.data(0, &two, b"data").expect("sealed"),
        two.data(0, &one, b"data").expect("sealed"),
    ];
    // Of whom it is for: another boot, which has even met the same sender.
    let mut two_again = boot(2, 0xb3);
    meet(0, &mut one, &mut two_again);
    let there = one.data(0, &two_again, b"there").expect("sealed");
    assert!(two_again.accepts(0, &there));
    assert_eq!(bounces(0, &mut two_again, &frames[0]), Refused::Session);
    // Of its sender: the new boot is another for everybody.
    assert!(one.accepts(0, &frames[1]), "two still was there then");
    one.seal.forget(NodeId(2), two.config.boot);
    let late = two.data(0, &one, b"late").expect("sealed");
    assert_eq!(bounces(0, &mut one, &late), Refused::Session);
    // As if the new boot had sent it.
    let mut forged = late.clone();
    forged.header[24..32].copy_from_slice(&two_again.config.boot.0.to_le_bytes());
    assert!(matches!(
        bounces(0, &mut one, &forged),
        Refused::Tag | Refused::Session
    ));
}

#[test]
fn a_frame_does_not_come_back_to_its_sender_or_to_a_third() {
    let [mut one, mut two] = pair(0);
    let mut three = boot(3, 0xc3);
    for other in [&mut one, &mut two] {
        meet(0, &mut three, other);
        let first = three.data(0, other, b"first").expect("sealed");
        assert!(other.accepts(0, &first));
    }
    let frame = one.data(0, &two, b"a message").expect("sealed");
    assert_eq!(bounces(0, &mut one, &frame), Refused::Session);
    assert_eq!(bounces(0, &mut three, &frame), Refused::Session);
    // With the names exchanged: the keys of the two directions are others.
    let turned = two.plain(Kind::Data, Some(&one), b"a message");
    let mut turned = Frame {
        payload: frame.payload.clone(),
        ..turned
    };
    turned.header[116..].copy_from_slice(&frame.header[116..]);
    assert_eq!(bounces(0, &mut one, &turned), Refused::Tag);
}

#[test]
fn another_cluster_is_not_heard() {
    let chacha = Suite::ChaCha;
    for (suite, cluster, key) in [
        (chacha, 2, KEY),
        (chacha, 1, [0x77; 32]),
        (chacha, 2, [0x77; 32]),
        // Of ours, but for the suite.
        (Suite::SipHash, 1, KEY),
    ] {
        let mut ours = boot(1, 0xa1);
        let mut others = boot_in(suite, cluster, key, 2, 0xb2);
        let mut friend = boot_in(suite, cluster, key, 1, 0xa1);
        meet(0, &mut others, &mut friend);
        let mut frames = Vec::from([others.hello(0)]);
        frames.extend(others.data(0, &friend, b"for their node 1, boot a1"));
        others.seal.forget(NodeId(1), friend.config.boot);
        let hello = friend.hello(0);
        others.hear(0, &hello).expect("invites");
        frames.extend(others.leaving());
        assert_eq!(frames.len(), 3);
        for frame in &frames {
            bounces(0, &mut ours, frame);
            // As if it were of ours.
            let mut renamed = frame.clone();
            renamed.header[16] = 1;
            bounces(0, &mut ours, &renamed);
        }
        let told: Vec<_> = core::iter::from_fn(|| ours.seal.poll_stranger()).collect();
        assert_eq!(told, [(NodeId(2), mac(2))], "once");
    }
}

/// The messages of a handshake of which `one` has not heard the answer.
fn answered(one: &mut Boot, two: &mut Boot) -> (Frame, Frame) {
    let hello = two.hello(0);
    one.hear(0, &hello).expect("invites");
    let knock = one.leaving().expect("knocks");
    two.hear(0, &knock).expect("answered");
    let welcome = two.leaving().expect("welcome");
    (knock, welcome)
}

#[test]
fn a_recorded_first_message_leads_to_an_answer_at_most() {
    let (mut one, mut two) = (boot(1, 0xa1), boot(2, 0xb2));
    let (knock, welcome) = answered(&mut one, &mut two);
    one.hear(0, &welcome).expect("met");
    let frame = one.data(0, &two, b"a message").expect("sealed");
    assert!(two.accepts(0, &frame));
    // While it is known it is refused.
    assert_eq!(bounces(MS, &mut two, &knock), Refused::Handshake);
    // When it is not any more there is an answer that nobody can use.
    two.seal.forget(NodeId(1), one.config.boot);
    two.hear(MS, &knock)
        .expect("it cannot be told from a new one");
    let again = two.leaving().expect("an answer");
    assert_ne!(again, welcome);
    assert_eq!(one.refuses(MS, &again), Refused::Handshake);
    assert_eq!(two.refuses(MS, &frame), Refused::Tag);
    assert_eq!(two.data(MS, &one, b"nothing is sent in it"), None);
    let asked = two.leaving().expect("but a handshake of its own begins");
    assert_eq!(asked.header[15], Kind::Knock as u8);
    // And the real one is not kept out by it.
    let later = REJECT_AFTER_NS;
    let hello = two.hello(later);
    one.hear(later, &hello).expect("the session is over");
    shake(later, &mut one, &mut two);
    let frame = one.data(later, &two, b"a message").expect("sealed");
    assert!(two.accepts(later, &frame));
}

#[test]
fn a_false_answer_does_not_end_a_handshake() {
    let (mut one, mut two) = (boot(1, 0xa1), boot(2, 0xb2));
    let (_, welcome) = answered(&mut one, &mut two);
    let mut noise = welcome.clone();
    for byte in 0..=255 {
        noise.payload.fill(byte);
        assert_eq!(bounces(0, &mut one, &noise), Refused::Tag);
    }
    assert!(matches!(one.hear(0, &welcome), Ok(Opened::Met(_))));
    assert_eq!(bounces(0, &mut one, &welcome), Refused::Handshake, "once");
}

/// Hellos of boots that are gone, which a stranger has heard.
fn gone(count: u16) -> Vec<Frame> {
    let nodes = [3, 4, 5].map(|node| boot(node, 1).config);
    let hello = |number: u16| {
        let config = nodes[usize::from(number) % nodes.len()].clone();
        let boot = BootId(0x1000 + u64::from(number));
        boot_with(Config { boot, ..config }).hello(0)
    };
    (0..count).map(hello).collect()
}

/// He says them all again; how many were refused.
fn again(now: u64, one: &mut Boot, gone: &[Frame]) -> usize {
    let mut refused = 0;
    for hello in gone {
        refused += usize::from(one.hear(now, hello).is_err());
        while one.leaving().is_some() {}
    }
    refused
}

#[test]
fn old_hellos_cost_a_bounded_number_of_handshakes_and_keep_nobody_out() {
    let [mut one, mut two] = pair(0);
    let gone = gone(2000);
    let refused = again(MS, &mut one, &gone);
    assert!(refused > 1900);
    assert_eq!(one.seal.counters().of(Refused::Rate), refused as u64);
    assert!(one.seal.counters().knocks < 100);
    assert!(one.knows().len() < 400_000, "what is kept is bounded");
    // Who was met is known as ever, and a new session with it does not wait for any of them.
    let frame = two.data(MS, &one, b"a message").expect("sealed");
    assert!(one.accepts(MS, &frame));
    assert!(one.data(REKEY_AFTER_NS, &two, b"old, but good").is_some());
    again(REKEY_AFTER_NS, &mut one, &gone);
    let later = REKEY_AFTER_NS + 100 * MS;
    again(later, &mut one, &gone);
    assert!(one.data(later, &two, b"old, but good").is_some());
    assert_eq!(shake(later, &mut one, &mut two).map(drop), None);
}

#[test]
fn a_newcomer_is_heard_among_the_hellos_of_the_dead() {
    let mut one = boot(1, 0xa1);
    let gone = gone(300);
    // Ten times in a second for ten seconds: by then each was tried.
    for round in 0..100 {
        again(round * 100 * MS, &mut one, &gone);
    }
    let now = 10_000 * MS;
    again(now, &mut one, &gone);
    let mut three = boot(3, 0xc3);
    meet(now, &mut one, &mut three);
    let frame = one.data(now, &three, b"welcome").expect("a session");
    assert!(three.accepts(now, &frame));
    // They cost ever less, though all of them are heard every second.
    let mut minutes = Vec::new();
    for minute in 0..4 {
        let before = one.seal.counters().knocks;
        for round in 0..60 {
            let now = now + (minute * 60 + round) * 1000 * MS;
            again(now, &mut one, &gone);
        }
        minutes.push(one.seal.counters().knocks - before);
    }
    assert!(minutes[3] <= 2 * 300, "tries in each minute: {minutes:?}");
}

#[test]
fn noise_is_refused_without_a_trace() {
    let [mut one, mut two] = pair(0);
    let mut state = 3u64;
    let mut random = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) as usize
    };
    let real = one.data(0, &two, b"a message").expect("sealed");
    for _ in 0..20_000 {
        let mut frame = Frame {
            header: real.header,
            payload: (0..random() % 80).map(|_| random() as u8).collect(),
        };
        // Some of the kinds that handshakes have.
        if random() % 4 == 0 {
            frame.header[15] = (random() % 16) as u8;
        }
        for _ in 0..=random() % 8 {
            frame.header[14 + random() % 122] = random() as u8;
        }
        bounces(0, &mut two, &frame);
    }
    let counters = two.seal.counters();
    for reason in [
        Refused::Length,
        Refused::Session,
        Refused::Tag,
        Refused::Handshake,
    ] {
        assert!(counters.of(reason) > 100, "{reason:?}: {counters:?}");
    }
}
