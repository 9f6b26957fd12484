//! A node of the cluster that was taken over: it has the cluster's key, its own, and has heard everything.
//!
//! Law: it can be itself, and nobody else.

use super::*;
use crate::Credentials;
use crate::handshake;

/// Node 4, which was taken over, as it would like to be another.
fn mask(of: u16, boot: u64) -> Boot {
    let four = boot_of(1, KEY, 4, boot).config;
    boot_with(Config {
        node: NodeId(of),
        mac: mac(of),
        credentials: Credentials {
            node: NodeId(of),
            ..four.credentials.clone()
        },
        ..four
    })
}

#[test]
fn it_makes_no_session_as_another() {
    let mut one = boot(1, 0xa1);
    let mut mask = mask(3, 0xc4);
    // Its Hello looks like one, and leads to a handshake, which it cannot answer.
    let hello = mask.hello(0);
    assert!(matches!(one.hear(0, &hello), Ok(Opened::Handshake)));
    let knock = one.leaving().expect("a handshake begins");
    assert_eq!(mask.refuses(0, &knock), Refused::Handshake);
    // The handshake that it begins is refused.
    let hello = one.hello(0);
    mask.hear(0, &hello).expect("invites");
    let knock = mask.leaving().expect("knocks");
    assert_eq!(one.refuses(0, &knock), Refused::Handshake);
    assert_eq!(one.leaving(), None);
    assert_eq!(one.data(0, &mask, b"to whom?"), None);
    assert_eq!(one.seal.counters().welcomes, 0);
    // As itself it does.
    let mut four = boot(4, 0xd4);
    meet(0, &mut one, &mut four);
    // And so does who it would have liked to be.
    let mut three = boot(3, 0xc3);
    meet(0, &mut one, &mut three);
}

#[test]
fn it_does_not_answer_for_another() {
    let (mut one, mut three) = (boot(1, 0xa1), boot(3, 0xc3));
    let mask = mask(3, 0xc3);
    let hello = three.hello(0);
    one.hear(0, &hello).expect("invites");
    let knock = one.leaving().expect("knocks");
    // What it would answer if it had the key: a handshake of its own with the same header.
    let mut four = boot(4, 0xd4);
    let hello = four.hello(0);
    let mut other = boot(1, 0xa1);
    other.hear(0, &hello).expect("invites");
    let theirs = other.leaving().expect("knocks");
    four.hear(0, &theirs).expect("answered");
    let mut welcome = four.leaving().expect("welcome");
    let us = handshake::End {
        node: NodeId(3),
        boot: BootId(0xc3),
        mac: mac(3),
    };
    let to = handshake::End {
        node: NodeId(1),
        boot: BootId(0xa1),
        mac: mac(1),
    };
    let header = handshake::header(Kind::Welcome, 1, us, to, 1);
    mask.seal.retag(&header, &mut welcome);
    assert_eq!(one.refuses(0, &welcome), Refused::Handshake);
    // Which has done no harm.
    three.hear(0, &knock).expect("answered");
    let welcome = three.leaving().expect("welcome");
    assert!(matches!(one.hear(0, &welcome), Ok(Opened::Met(_))));
}

#[test]
fn what_it_says_in_the_name_of_one_that_was_met_is_not_believed() {
    let [mut one, two] = pair(0);
    let mut mask = mask(2, two.config.boot.0);
    // A Hello as two might have sent it: an invitation, whoever it is from, and there is a session already.
    for _ in 0..5 {
        let hello = mask.hello(0);
        let heard = one.hear(0, &hello);
        assert!(
            matches!(heard, Ok(Opened::Invitation) | Err(Refused::Replay)),
            "{heard:?}"
        );
    }
    assert_eq!(one.leaving(), None);
    // With an old session it leads to a handshake with two.
    let later = crate::REKEY_AFTER_NS;
    let hello = mask.hello(later);
    assert!(one.is_invited(later, &hello));
    let knock = one.leaving().expect("knocks");
    assert_eq!(mask.refuses(later, &knock), Refused::Handshake);
    assert!(
        one.data(later, &two, b"the old one still is there")
            .is_some()
    );
}

#[test]
fn the_id_of_anothers_boot_is_of_no_use() {
    let [mut one, mut two] = pair(0);
    // As itself, but with the id of two's boot.
    let mut four = boot(4, two.config.boot.0);
    meet(0, &mut one, &mut four);
    for round in 0..5 {
        let to_two = one.data(round, &two, b"to two").expect("a session");
        let to_four = one.data(round, &four, b"to four").expect("a session");
        assert_eq!(four.refuses(round, &to_two), Refused::Session);
        assert_eq!(two.refuses(round, &to_four), Refused::Session);
        assert!(two.accepts(round, &to_two) && four.accepts(round, &to_four));
        let from = two.data(round, &one, b"from two").expect("a session");
        assert!(one.accepts(round, &from));
        // Four's frames with two's name.
        let mut from = four.data(round, &one, b"from four").expect("a session");
        from.header[20..22].copy_from_slice(&2_u16.to_le_bytes());
        assert_eq!(one.refuses(round, &from), Refused::Tag);
    }
    one.seal.forget(NodeId(4), four.config.boot);
    let from = two.data(9, &one, b"from two").expect("a session");
    assert!(one.accepts(9, &from));
}

#[test]
fn who_is_not_in_the_roster_is_told_of_once() {
    let mut one = boot(1, 0xa1);
    let mut ninety = boot(90, 0xe9);
    for _ in 0..3 {
        let hello = ninety.hello(0);
        assert_eq!(one.refuses(0, &hello), Refused::Roster);
    }
    let hello = one.hello(0);
    ninety.hear(0, &hello).expect("it knows one");
    let knock = ninety.leaving().expect("knocks");
    assert_eq!(one.refuses(0, &knock), Refused::Roster);
    let told: Vec<_> = core::iter::from_fn(|| one.seal.poll_stranger()).collect();
    assert_eq!(told, [(NodeId(90), mac(90))]);
}

#[test]
fn nobody_makes_us_multiply_who_has_no_key_or_says_what_was_said() {
    let (mut one, mut two) = (boot(1, 0xa1), boot(2, 0xb2));
    let hello = two.hello(0);
    one.hear(0, &hello).expect("invites");
    let knock = one.leaving().expect("knocks");
    two.hear(0, &knock).expect("answered");
    two.leaving().expect("welcome");
    let before = two.knows();
    for _ in 0..1000 {
        assert_eq!(two.refuses(0, &knock), Refused::Handshake);
    }
    assert_eq!(two.knows(), before);
    // What needs the curve comes at a limited rate, also from one of us who lies.
    let mut mask = mask(3, 0xc3);
    mask.data(0, &two, b"a wish to send");
    let knock = mask.leaving().expect("knocks");
    let refused = (0..1000)
        .filter(|_| two.refuses(0, &knock) == Refused::Rate)
        .count();
    assert!(refused > 900, "{refused}");
}
