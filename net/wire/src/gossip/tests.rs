//! Gossip: literal bytes, the longest frame, hostile bytes.

use super::*;
use alloc::vec;

fn record() -> Record {
    Record {
        node: NodeId(3),
        boot: BootId(0x1f3a),
        incarnation: 2,
        state: NodeState::Suspect,
        told: Some(Told {
            version: 7,
            age_ms: 1200,
            load: Load {
                runnable_milli: 1500,
                processors: 2,
                speed: 900,
                frames_total: 65536,
                frames_free: 300,
                frames_reserved: 5,
                guests: 1,
                owner_present: true,
                draining: false,
                accepts_guests: true,
            },
        }),
    }
}

fn longest() -> Record {
    let most = Load {
        runnable_milli: u32::MAX,
        processors: u16::MAX,
        speed: u32::MAX,
        frames_total: u32::MAX,
        frames_free: u32::MAX,
        frames_reserved: u32::MAX,
        guests: u16::MAX,
        owner_present: true,
        draining: true,
        accepts_guests: true,
    };
    Record {
        node: NodeId(crate::NODE_MAX),
        boot: BootId(u64::MAX),
        incarnation: u32::MAX,
        state: NodeState::Left,
        told: Some(Told {
            version: u32::MAX,
            age_ms: u32::MAX,
            load: most,
        }),
    }
}

fn gossip(records: Vec<Record>) -> Gossip {
    Gossip {
        purpose: Purpose::PingRequest,
        seq: 9,
        subject: NodeId(4),
        records,
    }
}

#[test]
fn a_ping_request_is_these_bytes() {
    #[rustfmt::skip]
    let bytes = [
        3, 9, 4, 1,                 // ping request, number, subject, one record
        3, 0xba, 0x3e, 2, 1,        // node, boot, incarnation, suspect
        1, 7, 0xb0, 0x09,           // told: version, age
        0xdc, 0x0b, 2, 0x84, 0x07,  // runnable, processors, speed
        0x80, 0x80, 4, 0xac, 2, 5,  // frames: total, free, reserved
        1, 1, 0, 1,                 // guests, owner, draining, accepts
    ];
    assert_eq!(gossip(vec![record()]).encode(), bytes);
    assert_eq!(Gossip::decode(&bytes), Ok(gossip(vec![record()])));
}

#[test]
fn the_longest_fits() {
    let longest = gossip(vec![longest(); RECORDS_MAX]);
    let bytes = longest.encode();
    assert!(bytes.len() <= GOSSIP_MAX, "{}", bytes.len());
    let read = Gossip::decode(&bytes).expect("it is in order");
    let load = read.records[0].told.expect("told").load;
    assert_eq!((load.processors, load.speed), (4096, 10_000_000));
    assert_eq!(load.runnable_milli, 1_000_000_000);
}

#[test]
fn each_reason() {
    let refused = |change: fn(&mut Gossip)| {
        let mut gossip = gossip(vec![record()]);
        change(&mut gossip);
        Gossip::decode(&gossip.encode()).expect_err("refused")
    };
    assert_eq!(
        refused(|g| g.records = vec![g.records[0]; 21]),
        Invalid::Length
    );
    assert_eq!(refused(|g| g.subject = NodeId(0)), Invalid::Node);
    assert_eq!(refused(|g| g.purpose = Purpose::Ping), Invalid::Node);
    assert_eq!(
        refused(|g| g.records[0].node = NodeId(32768)),
        Invalid::Node
    );
    assert_eq!(refused(|g| g.records[0].boot = BootId(0)), Invalid::Boot);
    assert_eq!(Gossip::decode(&[0; GOSSIP_MAX + 1]), Err(Invalid::Length));
    assert_eq!(Gossip::decode(&[0, 0, 0, 0, 0]), Err(Invalid::Trailing));
    assert_eq!(Gossip::decode(&[7, 0, 0, 0]), Err(Invalid::Message));
    // A list that claims to be longer than it is.
    assert_eq!(
        Gossip::decode(&[0, 0, 0, 255, 255, 255, 127]),
        Err(Invalid::Message)
    );
}

#[test]
fn absurd_figures_are_cut() {
    let load = Load {
        frames_total: 10,
        frames_free: 20,
        frames_reserved: 30,
        ..Load::default()
    };
    let load = load.within_reason();
    assert_eq!((load.processors, load.speed), (1, 1));
    assert_eq!((load.frames_free, load.frames_reserved), (10, 10));
}

#[test]
fn every_flipped_bit_is_harmless() {
    let bytes = gossip(vec![record(); 3]).encode();
    for bit in 0..bytes.len() * 8 {
        let mut bytes = bytes.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        if let Ok(gossip) = Gossip::decode(&bytes) {
            assert!(gossip.records.len() <= RECORDS_MAX);
        }
    }
}
