//! Tickets: who can make one, for whom, and for what.
//!
//! Law: what is good is changed in each way in which it could be another, and then it is not.

use super::*;
use crate::Credentials;
use wire::{Passage, Pid, Ticket};

const HOME: NodeId = NodeId(1);
const SOURCE: NodeId = NodeId(2);

fn passage() -> Passage {
    Passage {
        pid: Pid::new(HOME, 7),
        old_epoch: 3,
        source: (SOURCE, BootId(0xb2)),
        target: (NodeId(3), BootId(0xc3)),
    }
}

/// What the source says of it.
fn ticket() -> Ticket {
    let mut source = boot(2, 0xb2);
    let ticket = source.seal.ticket(HOME, &passage());
    ticket.expect("home is in the roster")
}

#[test]
fn a_ticket_is_these_bytes() {
    let bytes = *b"\x53\x0c\x13\x01\x72\x3a\x52\xeb\xc9\x7e\xa9\xd1\xe3\xbc\xfd\xa6";
    assert_eq!(ticket(), Ticket(bytes));
}

#[test]
fn home_knows_the_word_of_the_source_before_and_after_they_have_met() {
    let mut home = boot(1, 0xa1);
    assert!(home.seal.permits(&passage(), &ticket()));
    let [mut one, mut two] = pair(0);
    let ticket = two.seal.ticket(HOME, &passage()).expect("in the roster");
    assert!(one.seal.permits(&passage(), &ticket));
}

#[test]
fn the_next_boot_of_home_knows_it_too() {
    assert!(boot(1, 0x1a1).seal.permits(&passage(), &ticket()));
}

#[test]
fn another_bit_is_another_ticket() {
    let mut home = boot(1, 0xa1);
    for bit in 0..128 {
        let mut flipped = ticket();
        flipped.0[bit / 8] ^= 1 << (bit % 8);
        assert!(!home.seal.permits(&passage(), &flipped), "{bit}");
    }
    assert!(!home.seal.permits(&passage(), &Ticket::default()));
}

#[test]
fn it_is_for_one_passage() {
    let mut home = boot(1, 0xa1);
    let (good, ticket) = (passage(), ticket());
    let pid = Pid::new(HOME, 8);
    let others = [
        Passage { pid, ..good },
        Passage {
            old_epoch: 2,
            ..good
        },
        Passage {
            old_epoch: 4,
            ..good
        },
        Passage {
            source: (NodeId(4), BootId(0xb2)),
            ..good
        },
        Passage {
            source: (SOURCE, BootId(0xb3)),
            ..good
        },
        Passage {
            target: (NodeId(4), BootId(0xc3)),
            ..good
        },
        Passage {
            target: (NodeId(3), BootId(0xc4)),
            ..good
        },
        Passage {
            source: good.target,
            target: good.source,
            ..good
        },
    ];
    for other in others {
        assert!(!home.seal.permits(&other, &ticket), "{other:?}");
    }
    assert!(home.seal.permits(&good, &ticket));
}

#[test]
fn nobody_else_can_give_the_sources_word() {
    let mut home = boot(1, 0xa1);
    let good = passage();
    // The target, as itself and as if it were the source, to home and to all others of the roster.
    let mut three = boot(3, 0xc3);
    let config = three.config.clone();
    let mut mask = boot_with(Config {
        node: SOURCE,
        credentials: Credentials {
            node: SOURCE,
            ..config.credentials.clone()
        },
        ..config
    });
    for with in (1..=NODES).map(NodeId) {
        for boot in [&mut three, &mut mask] {
            let made = boot.seal.ticket(with, &good).expect("in the roster");
            assert!(!home.seal.permits(&good, &made), "{with:?}");
        }
    }
    // Nor does the source's word to somebody else count here, nor that of the same nodes of another cluster.
    let mut two = boot(2, 0xb2);
    let to_three = two.seal.ticket(NodeId(3), &good).expect("in the roster");
    assert!(!home.seal.permits(&good, &to_three));
    let mut other = boot_of(1, [9; 32], 2, 0xb2);
    let other = other.seal.ticket(HOME, &good).expect("in the roster");
    assert!(!home.seal.permits(&good, &other));
}

#[test]
fn a_home_gives_its_word_to_itself() {
    let leaves = Passage {
        source: (HOME, BootId(0xa1)),
        ..passage()
    };
    let mut home = boot(1, 0xa1);
    let ticket = home.seal.ticket(HOME, &leaves).expect("in its own roster");
    assert!(home.seal.permits(&leaves, &ticket));
    // Not even who shares a key with it can.
    for other in 2..=NODES {
        let made = boot(other, 0xb2).seal.ticket(HOME, &leaves);
        assert!(!home.seal.permits(&leaves, &made.expect("in the roster")));
    }
}

#[test]
fn who_is_not_in_the_roster_has_no_word() {
    let mut home = boot(1, 0xa1);
    let source = (NodeId(90), BootId(0xb2));
    let stranger = Passage {
        source,
        ..passage()
    };
    assert!(!home.seal.permits(&stranger, &ticket()));
    assert!(!home.seal.permits(&stranger, &Ticket::default()));
    assert_eq!(home.seal.ticket(NodeId(90), &passage()), None);
}
