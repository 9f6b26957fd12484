//! Bytes that must not change, and those that others have published.

use super::*;
use core::hash::Hasher;
use siphasher::sip128::{Hasher128, SipHasher24};

#[test]
fn siphash_is_that_of_its_authors() {
    // github.com/veorq/SipHash, vectors.h: vectors_sip128 of 0, 1 and 15 bytes.
    let key = core::array::from_fn(|at| at as u8);
    let bytes: [u8; 15] = core::array::from_fn(|at| at as u8);
    let tag = |length: usize| {
        let mut hasher = SipHasher24::new_with_key(&key);
        hasher.write(&bytes[..length]);
        hasher.finish128().as_bytes()
    };
    let published: [(usize, [u8; 16]); 3] = [
        (
            0,
            [
                0xa3, 0x81, 0x7f, 0x04, 0xba, 0x25, 0xa8, 0xe6, 0x6d, 0xf6, 0x72, 0x14, 0xc7, 0x55,
                0x02, 0x93,
            ],
        ),
        (
            1,
            [
                0xda, 0x87, 0xc1, 0xd8, 0x6b, 0x99, 0xaf, 0x44, 0x34, 0x76, 0x59, 0x11, 0x9b, 0x22,
                0xfc, 0x45,
            ],
        ),
        (
            15,
            [
                0x54, 0x93, 0xe9, 0x99, 0x33, 0xb0, 0xa8, 0x11, 0x7e, 0x08, 0xec, 0x0f, 0x97, 0xcf,
                0xc3, 0xd9,
            ],
        ),
    ];
    for (length, expected) in published {
        assert_eq!(tag(length), expected, "{length}");
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_hello_and_a_handshake_are_these_bytes() {
    let (mut one, mut two) = (boot(1, 0xa1), boot(2, 0xb2));
    let hello = two.hello(0);
    assert_eq!(hex(&hello.header[116..]), HELLO_SEAL);
    one.hear(3, &hello).expect("invites");
    let knock = one.leaving().expect("knocks");
    assert_eq!(hex(&knock.payload), KNOCK);
    two.hear(3, &knock).expect("answered");
    let welcome = two.leaving().expect("welcome");
    assert_eq!(hex(&welcome.payload), WELCOME);
    one.hear(3, &welcome).expect("met");
    let frame = one.data(3, &two, b"a message").expect("sealed");
    assert_eq!(hex(&frame.header[116..]), DATA_SEAL);
}

const HELLO_SEAL: &str = "01000000c7b244dd3b5bf643add0acafc01319b2";
const KNOCK: &str = "4b5f4357246aa1b76136da55eb6ba205e5e83c2d745acf9c3bd11903c1533d3f0a6341156119055f915dc2d013569c0b5500729e2e0524ecd85f441cd3cd1d36";
const WELCOME: &str = "70b17f490a546c0556647e2a2231a24840fb96c46e3eb016acf46d96a6ba0f05c35e97502ce599e2e806b486f76a2a990cfc5ad79a50843ace5bf33cd46d75b7";
const DATA_SEAL: &str = "010000003cde50c39c196ae59f7736d3ee174b01";

#[test]
fn keys_are_bytes_or_digits() {
    let of = |file: &[u8]| {
        ClusterKey::parse(file).map(|key| format!("{:?}", key.hello(1, NodeId(1), BootId(1))))
    };
    let raw = of(&KEY).expect("32 bytes");
    let digits = "5e".repeat(32);
    for text in [digits.clone(), digits.to_uppercase(), format!("{digits}\n")] {
        assert_eq!(of(text.as_bytes()).as_ref(), Some(&raw));
    }
    for bad in [
        &b""[..],
        &KEY[1..],
        &[0; 32],
        &b"0".repeat(64),
        &digits.as_bytes()[1..],
        &b"5g".repeat(32),
        &[1; 33],
    ] {
        assert_eq!(of(bad), None);
    }
    assert_eq!(
        format!("{:?}", ClusterKey::new(KEY)),
        "ClusterKey",
        "it is not printed"
    );
}
