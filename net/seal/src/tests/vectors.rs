//! Bytes that must not change, and those that others have published.

use super::*;
use crate::{BadFile, Credentials};
use alloc::borrow::ToOwned;
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

const HELLO_SEAL: &str = "010000000cc65aa01c824bc9eb5284bafdac69ea";
const KNOCK: &str = "4b5f4357246aa1b76136da55eb6ba205e5e83c2d745acf9c3bd11903c1533d3f285762bc6116a054765ca19c3a54fb943e58f8508fc0973720bd3ca0a7f7625c";
const WELCOME: &str = "70b17f490a546c0556647e2a2231a24840fb96c46e3eb016acf46d96a6ba0f05249ff6b69479c57165ffaec3ce84e888c4ea523503a9ae13e2ea11cfa68d8914";
const DATA_SEAL: &str = "01000000052f743d9a9e4e13dd8c80dd1004dab7";

#[test]
fn the_owners_key_is_bytes_or_digits() {
    let of = |file: &[u8]| {
        let key = OwnerKey::parse(file)?;
        Some(key.credentials(NodeId(1), [], Suite::ChaCha).to_text())
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
    assert!(!raw.contains(&digits), "no node gets it");
}

#[test]
fn a_nodes_file_is_this_text() {
    let credentials = OwnerKey::new(KEY).credentials(NodeId(2), [1, 2].map(NodeId), Suite::ChaCha);
    let text = credentials.to_text();
    assert_eq!(text, FILE);
    let again = Credentials::parse(text.as_bytes()).expect("it is one");
    assert_eq!(
        (again.to_text(), again.node(), again.nodes()),
        (text, NodeId(2), 2)
    );
    let shown = format!("{again:?}");
    assert!(
        !shown.contains("174") && shown.contains("NodeSecret"),
        "{shown}"
    );
}

#[test]
fn a_file_that_says_anything_else_is_none() {
    let of = |text: &str| Credentials::parse(text.as_bytes()).map(|_| ());
    let line = |number: usize| FILE.lines().nth(number).unwrap_or_default();
    let without = |number: usize| FILE.replace(&format!("{}\n", line(number)), "");
    assert_eq!(of(FILE), Ok(()));
    assert_eq!(of(""), Err(BadFile::Title));
    assert_eq!(of(&FILE.replace("key 1", "key 2")), Err(BadFile::Title));
    assert_eq!(of(&"5e".repeat(32)), Err(BadFile::Title));
    for lacking in [1, 2, 3, 5] {
        assert_eq!(of(&without(lacking)), Err(BadFile::Incomplete), "{lacking}");
    }
    assert_eq!(of(&without(4)), Ok(()), "a smaller roster");
    for twice in 1..6 {
        assert_eq!(
            of(&format!("{FILE}{}\n", line(twice))),
            Err(BadFile::Line(7))
        );
    }
    for (from, to) in [
        ("node 2", "node 0"),
        ("node 2", "node 32768"),
        ("node 2", "node"),
        ("node 2 ", "node 2  "),
        ("node 2 ", "node 2 5"),
        ("roster 1", "roster -1"),
        ("cluster ", "cluster 3 "),
        ("roster", "Roster"),
        ("cluster ", ""),
        ("chacha", "none"),
    ] {
        let bad = of(&FILE.replacen(from, to, 1));
        assert!(matches!(bad, Err(BadFile::Line(2..=5))), "{to}: {bad:?}");
    }
    // The secret of one and the name of another.
    assert_eq!(
        of(&FILE.replace("node 2", "node 1")),
        Err(BadFile::Mismatch)
    );
    let long = FILE.to_owned() + &"roster 9 ".repeat(3);
    assert!(of(&long).is_err());
}

const FILE: &str = "dunlin node key 1
suite chacha
cluster 99fe54702c1307a4a8b3eb011fef2843cdab890fcbea12d9b757cb816d1cadba
node 2 dcc62860383cd6d25a943935de03e60be77c4ec26f48ef8ab026150b2a0d7c23
roster 1 749d241357c7c89dd30cf16e07c4d1635852ef2957498a65b656ee170ff4b020
roster 2 abeb6aaa5bab0c5eec652e6c14771fb5223c254f909699810e15290e628d6c1e
";
