//! The two suites: what they hide, and what they do not.
//!
//! Law: whichever the cluster has, what arrives is what was sent.

use super::*;
use chacha20poly1305::{AeadInPlace, ChaCha20Poly1305, Key, KeyInit};

const TEXT: &[u8] = b"a sentence that is long enough to be found again in what travels";

#[test]
fn what_is_encrypted_cannot_be_read_and_arrives_as_it_was() {
    for suite in Suite::ALL {
        let [mut one, mut two] = pair_in(suite, 0);
        let mut page = TEXT.repeat(64);
        page.resize(4096, 0);
        for payload in [&page[..], TEXT, b"four"] {
            let frame = one.data(0, &two, payload).expect("a session");
            assert_eq!(frame.payload.len(), payload.len());
            let hidden = !frame
                .payload
                .windows(8)
                .any(|part| TEXT.windows(8).any(|of| part == of));
            assert_eq!(
                frame.payload != payload,
                suite == Suite::ChaCha,
                "{suite:?}: {} bytes",
                payload.len()
            );
            assert!(hidden || suite == Suite::SipHash);
            assert!(two.accepts(0, &frame));
            assert_eq!(two.heard, payload);
            // Twice the same is not twice the same.
            let again = one.data(0, &two, payload).expect("a session");
            assert_ne!(again.header[116..], frame.header[116..]);
            assert_eq!(again.payload != frame.payload, suite == Suite::ChaCha);
        }
        let mut empty = one.plain(Kind::Data, Some(&two), b"x");
        empty.header[15] = Kind::Ack as u8;
        empty.header[41] = PayloadKind::None as u8;
        empty.header[42..44].fill(0);
        empty.payload.clear();
        let frame = one.seal(0, empty).expect("a session");
        assert!(two.accepts(0, &frame));
    }
}

#[test]
fn what_is_refused_is_not_decrypted() {
    let [mut one, mut two] = pair(0);
    let frame = one.data(0, &two, TEXT).expect("a session");
    two.refuses(0, &frame.flip(HEADER_LEN * 8 + 3));
    assert_ne!(two.heard, TEXT);
    assert!(two.accepts(0, &frame));
    assert_eq!(two.heard, TEXT);
    assert_eq!(two.refuses(0, &frame), Refused::Replay);
    assert_eq!(two.heard, frame.payload, "as it came");
}

#[test]
fn chacha20_poly1305_is_that_of_its_authors() {
    // RFC 8439, section 2.8.2: the first block of the text and the tag of all.
    let key: [u8; 32] = core::array::from_fn(|at| 0x80 + at as u8);
    let nonce = [7, 0, 0, 0, 0x40, 0x41, 0x42, 0x43, 0x44, 0x45, 0x46, 0x47];
    let known = [
        0x50, 0x51, 0x52, 0x53, 0xc0, 0xc1, 0xc2, 0xc3, 0xc4, 0xc5, 0xc6, 0xc7,
    ];
    let mut text = *b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be it.";
    let cipher = ChaCha20Poly1305::new(Key::from_slice(&key));
    let tag = cipher.encrypt_in_place_detached(&nonce.into(), &known, &mut text);
    assert_eq!(
        text[..16],
        [
            0xd3, 0x1a, 0x8d, 0x34, 0x64, 0x8e, 0x60, 0xdb, 0x7b, 0x86, 0xaf, 0xbc, 0x53, 0xef,
            0x7e, 0xc2
        ]
    );
    assert_eq!(
        tag.expect("short").as_slice(),
        [
            0x1a, 0xe1, 0x0b, 0x59, 0x4f, 0x09, 0xe2, 0x6a, 0x7e, 0x90, 0x2e, 0xcb, 0xd0, 0x60,
            0x06, 0x91
        ]
    );
}

#[test]
fn suites_have_names() {
    for suite in Suite::ALL {
        assert_eq!(Suite::named(suite.name()), Some(suite));
    }
    assert_eq!(Suite::named("none"), None);
}
