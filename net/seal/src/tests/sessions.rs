//! Sessions: how they begin, are used, grow old and are replaced.

use super::*;
use crate::{FRAMES_MAX, REJECT_AFTER_NS, REKEY_AFTER_NS, REKEY_FRAMES};

#[test]
fn who_hears_a_hello_makes_a_session() {
    let (mut one, mut two) = (boot(1, 0xa1), boot(2, 0xb2));
    let greeting = meet(5 * MS, &mut one, &mut two);
    assert_eq!(greeting.heard_at, 5 * MS);
    assert_eq!(greeting.header.source(), NodeId(2));
    greeting.header.check().expect("its seal is off");
    let page = [7; 4096];
    let frame = one.data(6 * MS, &two, &page).expect("a session");
    assert!(two.accepts(6 * MS, &frame));
    let answer = two.data(6 * MS, &one, b"answer").expect("a session");
    assert!(one.accepts(6 * MS, &answer));
    // A Hello is nothing new now.
    let hellos = [one.hello(7 * MS), two.hello(7 * MS)];
    assert!(two.is_invited(7 * MS, &hellos[0]) && one.is_invited(7 * MS, &hellos[1]));
    assert_eq!(one.leaving(), None);
    assert_eq!(two.seal.counters().refused, [0; 7]);
    assert_eq!(one.seal.counters().sessions, 1);
}

#[test]
fn nothing_is_sent_before_the_other_has_shown_its_keys() {
    let (mut one, mut two) = (boot(1, 0xa1), boot(2, 0xb2));
    meet(0, &mut one, &mut two);
    assert_eq!(
        two.data(0, &one, b"too early"),
        None,
        "nothing has come in it"
    );
    assert_eq!(two.seal.counters().unsent, 1);
    let frame = one.data(0, &two, b"first").expect("a session");
    assert!(two.accepts(0, &frame));
    assert!(two.data(0, &one, b"now").is_some());
}

#[test]
fn without_a_session_the_wish_to_send_makes_one() {
    let [mut one, mut two] = pair(0);
    let later = REJECT_AFTER_NS;
    assert_eq!(one.data(later, &two, b"over"), None);
    assert_eq!(
        shake(later, &mut one, &mut two).map(drop),
        None,
        "no Hello was there"
    );
    let frame = one.data(later, &two, b"again").expect("a session");
    assert!(two.accepts(later, &frame));
}

#[test]
fn handshakes_that_cross_leave_both_able_to_speak() {
    let (mut one, mut two) = (boot(1, 0xa1), boot(2, 0xb2));
    let hellos = [one.hello(0), two.hello(0)];
    one.hear(0, &hellos[1]).expect("invites");
    two.hear(0, &hellos[0]).expect("invites");
    let knocks = [
        one.leaving().expect("knocks"),
        two.leaving().expect("knocks"),
    ];
    one.hear(0, &knocks[1]).expect("answered");
    two.hear(0, &knocks[0]).expect("answered");
    let welcomes = [
        one.leaving().expect("welcome"),
        two.leaving().expect("welcome"),
    ];
    assert!(matches!(one.hear(0, &welcomes[1]), Ok(Opened::Met(_))));
    assert!(matches!(two.hear(0, &welcomes[0]), Ok(Opened::Met(_))));
    for round in 0..5 {
        let there = one.data(round, &two, b"there").expect("a session");
        let back = two.data(round, &one, b"back").expect("a session");
        assert!(
            two.accepts(round, &there) && one.accepts(round, &back),
            "{round}"
        );
    }
    assert_eq!((one.leaving(), two.leaving()), (None, None));
}

#[test]
fn a_lost_message_is_made_good_by_the_next_hello() {
    for lost in 0..2 {
        let (mut one, mut two) = (boot(1, 0xa1), boot(2, 0xb2));
        let hello = two.hello(0);
        one.hear(0, &hello).expect("invites");
        let knock = one.leaving().expect("knocks");
        if lost == 1 {
            two.hear(0, &knock).expect("answered");
            two.leaving().expect("and that is lost");
        }
        // Too soon to ask again, and then not.
        let hello = two.hello(50 * MS);
        one.hear(50 * MS, &hello).expect("invites");
        assert_eq!(one.leaving(), None);
        meet(100 * MS, &mut one, &mut two);
        let frame = one.data(101 * MS, &two, b"there").expect("a session");
        assert!(two.accepts(101 * MS, &frame));
    }
}

#[test]
fn an_old_session_is_replaced_and_what_is_under_way_still_counts() {
    let [mut one, mut two] = pair(0);
    let mut now = 0;
    for _ in 0..8 {
        now += REKEY_AFTER_NS;
        let late = one.data(now, &two, b"on its way").expect("old, but good");
        assert_eq!(shake(now, &mut one, &mut two).map(drop), None);
        let frame = one.data(now, &two, b"in the new one").expect("a session");
        assert!(two.accepts(now, &frame) && two.accepts(now, &late));
        let back = two.data(now, &one, b"back").expect("a session");
        assert!(one.accepts(now, &back));
        assert_eq!((one.leaving(), two.leaving()), (None, None));
    }
    assert_eq!(one.seal.counters().knocks, 9);
}

#[test]
fn a_hello_reminds_of_an_old_session() {
    let [mut one, mut two] = pair(0);
    let hello = two.hello(REKEY_AFTER_NS);
    assert!(one.is_invited(REKEY_AFTER_NS, &hello));
    assert!(shake(REKEY_AFTER_NS, &mut one, &mut two).is_some());
    // Who has answered begins the next one later, if nothing is heard of it.
    let [mut one, mut two] = pair(0);
    let hello = one.hello(REKEY_AFTER_NS);
    assert!(two.is_invited(REKEY_AFTER_NS, &hello));
    assert_eq!(two.leaving(), None);
    let later = REKEY_AFTER_NS * 9 / 8;
    let hello = one.hello(later);
    assert!(two.is_invited(later, &hello));
    assert!(shake(later, &mut two, &mut one).is_some());
}

#[test]
fn a_session_ends_after_so_many_frames() {
    let [mut one, mut two] = pair(0);
    one.seal.skip(NodeId(2), two.config.boot, REKEY_FRAMES - 1);
    let frame = one.data(0, &two, b"the last before").expect("a session");
    assert!(two.accepts(0, &frame));
    assert_eq!(one.leaving(), None);
    let frame = one.data(0, &two, b"one more").expect("a session");
    assert!(two.accepts(0, &frame));
    assert!(one.leaving().is_some(), "a new one is due");
    one.seal.skip(NodeId(2), two.config.boot, FRAMES_MAX - 1);
    assert!(one.data(0, &two, b"the last").is_some());
    assert_eq!(one.data(0, &two, b"no number is left"), None);
}

#[test]
fn a_session_is_over_when_its_time_is() {
    let [mut one, mut two] = pair(0);
    let frame = one.data(REJECT_AFTER_NS - 1, &two, b"just").expect("good");
    let next = one.data(REJECT_AFTER_NS - 1, &two, b"late").expect("good");
    assert!(two.accepts(REJECT_AFTER_NS - 1, &frame));
    assert_eq!(two.refuses(REJECT_AFTER_NS, &next), Refused::Session);
}

#[test]
fn a_boot_that_is_forgotten_is_a_stranger() {
    let [mut one, mut two] = pair(0);
    let frame = one.data(0, &two, b"late").expect("a session");
    two.seal.forget(NodeId(1), one.config.boot);
    assert_eq!(two.refuses(0, &frame), Refused::Session);
}

/// Whatever the link does: nothing comes out that was not sent, and nothing twice.
#[test]
fn a_bad_link_adds_nothing() {
    for seed in 0..15u64 {
        let mut state = seed;
        let mut random = |below: u64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 33) % below
        };
        let mut boots = [boot(1, 0xa1), boot(2, 0xb2)];
        // To whom, and a frame.
        let mut under_way: Vec<(usize, Frame)> = Vec::new();
        let mut accepted = [Vec::new(), Vec::new()];
        let (mut now, mut number) = (0, 0u64);
        for _ in 0..1500 {
            now += random(900) * MS;
            let from = random(2) as usize;
            let [one, two] = &mut boots;
            let (me, other) = if from == 0 { (one, two) } else { (two, one) };
            number += 1;
            let frame = match random(4) {
                0 => Some(me.hello(now)),
                _ => me.data(now, other, &number.to_le_bytes()),
            };
            under_way.extend(frame.map(|frame| (1 - from, frame)));
            while let Some(frame) = me.leaving() {
                under_way.push((1 - from, frame));
            }
            // The oldest, mostly; or any, lost, twice, or damaged.
            while under_way.len() > random(12) as usize {
                let at = match random(3) {
                    0 => random(under_way.len() as u64) as usize,
                    _ => 0,
                };
                let (to, frame) = match random(8) {
                    0 => under_way[at].clone(),
                    _ => under_way.remove(at),
                };
                let boot = &mut boots[to];
                match random(12) {
                    0 => {}
                    1 => {
                        let bit = random(frame.bits() as u64) as usize;
                        assert!(!boot.accepts(now, &frame.flip(bit)));
                    }
                    _ => {
                        if boot.accepts(now, &frame) && frame.payload != b"hello" {
                            accepted[to].push(frame.payload);
                        }
                    }
                }
            }
        }
        for accepted in &mut accepted {
            assert!(accepted.len() > 200, "{seed}: {}", accepted.len());
            let count = accepted.len();
            accepted.sort();
            accepted.dedup();
            assert_eq!(accepted.len(), count, "{seed}: nothing twice");
        }
    }
}
