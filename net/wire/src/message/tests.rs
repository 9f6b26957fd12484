//! Messages: literal bytes, round trips and hostile input.

use super::*;
use alloc::string::ToString;
use alloc::vec;

fn pid() -> Pid {
    Pid::new(NodeId(2), 5)
}

#[test]
fn poke_is_these_bytes() {
    let poke = Message::Poke {
        pid: pid(),
        thread: Pid(0),
        epoch: 300,
    };
    // Variant 3; pid 131077, thread 0 and epoch 300 as little-endian groups of seven bits.
    assert_eq!(poke.encode(), [3, 0x85, 0x80, 0x08, 0, 0xac, 0x02]);
}

#[test]
fn a_passage_is_these_bytes() {
    let passage = Passage {
        pid: pid(),
        old_epoch: 0x0300,
        source: (NodeId(2), BootId(0xb2)),
        target: (NodeId(0x0103), BootId(0xc3)),
    };
    #[rustfmt::skip]
    let bytes = [
        5, 0, 2, 0,               // pid
        2, 0, 3, 1,               // source, target
        0, 3, 0, 0, 0, 0, 0, 0,   // epoch
        0xb2, 0, 0, 0, 0, 0, 0, 0, // source boot
        0xc3, 0, 0, 0, 0, 0, 0, 0, // target boot
    ];
    assert_eq!(passage.to_bytes(), bytes);
}

fn samples() -> Vec<Message> {
    vec![
        Message::Call(Call {
            pid: pid(),
            thread: pid(),
            epoch: 1,
            seq: 9,
            number: 1,
            args: [1, 0x7fff_0000, 3, 0, 0, u64::MAX],
            rooms: [0; 6],
            data: b"abc".to_vec(),
        }),
        Message::Reply(Reply {
            pid: pid(),
            thread: pid(),
            epoch: 1,
            seq: 9,
            outcome: Outcome::Value(-4),
            poke: true,
            data: vec![7; 5000],
        }),
        Message::MoveResult {
            pid: pid(),
            request: 4,
            result: Err(MoveError::CantMove("holds a device".to_string())),
        },
        Message::PagesZero {
            pid: pid(),
            epoch: 2,
            runs: vec![(0x1000, 3), (0x9000, 1)],
        },
        Message::Image(Image {
            pid: pid(),
            epoch: 2,
            attempt: Attempt::new(1),
            source_boot: BootId(77),
            ticket: Ticket::default(),
            frozen_at_ns: 12,
            descriptor: vec![1; 8192],
            copied: vec![2; 100],
        }),
    ]
}

#[test]
fn round_trip() {
    for message in samples() {
        assert_eq!(Message::decode(&message.encode()), Ok(message));
    }
}

#[test]
fn truncated_and_extended_are_refused() {
    for message in samples() {
        let mut bytes = message.encode();
        for end in 0..bytes.len().min(200) {
            assert!(Message::decode(&bytes[..end]).is_err());
        }
        bytes.push(0);
        assert_eq!(Message::decode(&bytes), Err(Invalid::Trailing));
    }
    assert_eq!(
        Message::decode(&vec![0; MESSAGE_MAX + 1]),
        Err(Invalid::MessageSize)
    );
}

#[test]
fn a_claimed_length_reserves_nothing() {
    // PagesZero claiming 2^62 runs and Reply-like byte strings claiming as much, with nothing there.
    for variant in 0..32u8 {
        let mut bytes = vec![variant];
        bytes.extend([1; 6]);
        bytes.extend([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x3f]);
        let _refused_or_small = Message::decode(&bytes);
    }
}

#[test]
fn mutated_bytes_never_panic() {
    let mut state = 1u64;
    let mut random = move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize
    };
    for message in samples() {
        let bytes = message.encode();
        for _ in 0..2000 {
            let mut mutated = bytes.clone();
            for _ in 0..1 + random() % 4 {
                let at = random() % mutated.len();
                mutated[at] = random() as u8;
            }
            mutated.truncate(1 + random() % bytes.len());
            if let Ok(message) = Message::decode(&mutated) {
                assert_eq!(Message::decode(&message.encode()), Ok(message));
            }
        }
    }
}
