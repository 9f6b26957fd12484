//! The header: literal bytes, every reason for refusal, hostile bytes.

use super::*;
use alloc::string::ToString;

/// A page of process 131077 in epoch 3, from node 2 to node 1 on the bulk lane.
#[rustfmt::skip]
const PAGE: [u8; HEADER_LEN] = [
    0x02, 0, 0, 0, 0, 0x01, 0x02, 0, 0, 0, 0, 0x02, 0x88, 0xb5, // Ethernet
    11, 3,                                          // version, Data
    0x44, 0x33, 0x22, 0x11,                         // cluster
    2, 0, 1, 0,                                     // source, target
    0x3a, 0x1f, 0, 0, 0, 0, 0, 0x80,                // source boot
    0xc0, 0x77, 0, 0, 0, 0, 0, 0,                   // target boot
    1, 5, 0, 0x10,                                  // bulk, page, 4096
    17, 0, 0, 0,                                    // seq
    4, 0, 0, 0, 0, 1, 0, 0,                         // ack
    0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, // sack
    0x00, 0xca, 0x9a, 0x3b, 0, 0, 0, 0,             // sent
    9, 0, 0, 0, 0, 0, 0, 0,                         // echo
    8, 0, 0, 0,                                     // held
    5, 0, 2, 0,                                     // pid
    3, 0, 0, 0, 0, 0, 0, 0,                         // epoch
    0x09, 0x10, 0x40, 0, 0, 0, 0, 0,                // page, attempt
    9, 7, 0x40, 0,                                  // share, behind, sack from
    0, 0, 0, 0,                                     // counter
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, // tag
];

fn page_header() -> Header {
    let mut header = Header::new(Kind::Data);
    header.target_mac = [2, 0, 0, 0, 0, 1];
    header.source_mac = [2, 0, 0, 0, 0, 2];
    header.cluster = 0x1122_3344.into();
    header.source = 2.into();
    header.target = 1.into();
    header.source_boot = 0x8000_0000_0000_1f3a.into();
    header.target_boot = 0x77c0.into();
    header.lane = Lane::Bulk as u8;
    header.payload_kind = PayloadKind::Page as u8;
    header.length = 4096.into();
    header.seq = 17.into();
    header.ack = [4.into(), 256.into()];
    header.sack = [0.into(), 5.into()];
    header.sent_ns = 1_000_000_000.into();
    header.echo_ns = 9.into();
    header.held_ns = 8.into();
    header.share = 9;
    header.behind = 7;
    header.sack_from = 64.into();
    let (pid, attempt) = (Pid::new(NodeId(2), 5), Attempt::new(9));
    header.set_page_tag(PageTag::of_memory(pid, 3, attempt, 0x40_1000));
    header
}

#[test]
fn a_page_is_these_bytes() {
    assert_eq!(page_header().to_bytes(), PAGE);
    let header = Header::parse(&PAGE).expect("valid");
    assert_eq!(*header, page_header());
    assert_eq!(header.lane(), Lane::Bulk);
    assert_eq!(header.payload_kind(), PayloadKind::Page);
    let tag = header.page_tag();
    assert_eq!((tag.address(), tag.attempt().number()), (0x40_1000, 9));
    let copy = tag.as_copy();
    assert!(copy.is_copy() && !tag.is_copy() && !copy.is_file());
    let mut packed = page_header();
    packed.length = 100.into();
    assert_eq!(packed.check().map(Header::is_packed), Ok(true));
    assert!(!header.is_packed());
    assert_eq!((copy.address(), copy.attempt()), (0x40_1000, tag.attempt()));
}

#[test]
fn prints_like_tcpdump() {
    assert_eq!(
        page_header().to_string(),
        "2.1f3a > 1.77c0 data bulk seq 17 page 0x401009 of 131077 epoch 3 length 4096 \
         ack 4,256 sack 0,5+64"
    );
    let mut header = page_header();
    header.version += 1;
    assert_eq!(header.to_string(), "invalid: another protocol version");
}

#[test]
fn a_page_has_three_pieces() {
    let header = page_header();
    assert_eq!((header.piece(), header.carried()), (None, 0..4096));
    let pieces = [0..1376, 1376..2752, 2752..4096];
    for (number, bytes) in pieces.into_iter().enumerate() {
        let piece = header.of_piece(Some(number));
        assert_eq!(piece.length.get(), 0x1000 | (number as u16 + 1) << 13);
        assert_eq!(piece.check().map(Header::carried), Ok(bytes));
        assert_eq!(piece.of_piece(None), header);
    }
    const { assert!(MTU_LEAST <= 1500) };
    // Of what fits into one frame there are no pieces.
    let mut short = header;
    short.payload_kind = PayloadKind::Whole as u8;
    short.set_page_tag(PageTag {
        pid: Pid(0),
        epoch: 0,
        page: 0,
    });
    for length in [1, 1376] {
        short.length = length.into();
        assert_eq!(
            short.check().map(Header::carried),
            Ok(0..usize::from(length))
        );
        assert_eq!(short.of_piece(Some(0)).check(), Err(Invalid::Length));
    }
    short.length = 1377.into();
    assert_eq!(
        short.of_piece(Some(1)).check().map(Header::carried),
        Ok(1376..1377)
    );
    assert_eq!(short.of_piece(Some(2)).check(), Err(Invalid::Length));
}

#[test]
fn each_reason() {
    let refused = |change: fn(&mut Header)| {
        let mut header = page_header();
        change(&mut header);
        header.check().expect_err("refused")
    };
    assert_eq!(refused(|h| h.ethertype[0] = 8), Invalid::EtherType);
    assert_eq!(refused(|h| h.version = 1), Invalid::Version);
    assert_eq!(refused(|h| h.kind = 0), Invalid::Kind);
    assert_eq!(refused(|h| h.kind = 15), Invalid::Kind);
    assert_eq!(refused(|h| h.source = 0.into()), Invalid::Node);
    assert_eq!(refused(|h| h.target = 0.into()), Invalid::Node);
    assert_eq!(refused(|h| h.target = 32768.into()), Invalid::Node);
    assert_eq!(refused(|h| h.source_boot = 0.into()), Invalid::Boot);
    assert_eq!(refused(|h| h.target_boot = 0.into()), Invalid::Boot);
    assert_eq!(refused(|h| h.lane = 2), Invalid::Lane);
    assert_eq!(refused(|h| h.payload_kind = 8), Invalid::PayloadKind);
    assert_eq!(refused(|h| h.payload_kind = 9), Invalid::PayloadKind);
    assert_eq!(refused(|h| h.payload_kind = 10), Invalid::PayloadKind);
    assert_eq!(refused(|h| h.payload_kind = 0), Invalid::PayloadKind);
    assert_eq!(refused(|h| h.length = 0.into()), Invalid::Length);
    assert_eq!(refused(|h| h.length = 4097.into()), Invalid::Length);
    assert_eq!(refused(|h| *h = h.of_piece(Some(3))), Invalid::Length);
    fn probe(h: &mut Header, length: u16) {
        h.kind = Kind::Probe as u8;
        h.lane = 0;
        h.payload_kind = PayloadKind::Filler as u8;
        h.length = length.into();
    }
    assert_eq!(refused(|h| probe(h, 4095)), Invalid::Length);
    assert_eq!(refused(|h| probe(h, 4096 | 1 << 13)), Invalid::Length);
    assert_eq!(refused(|h| h.payload_kind = 1), Invalid::Tag);
    assert_eq!(
        refused(|h| h.page = (1 << 63 | 0x1001).into()),
        Invalid::Tag
    );
    assert_eq!(refused(|h| h.pid = 5.into()), Invalid::Tag);
    assert_eq!(refused(|h| h.pid = 0x8002_0005.into()), Invalid::Tag);
    let unordered = |h: &mut Header| {
        h.payload_kind = PayloadKind::First as u8;
        h.set_page_tag(PageTag {
            pid: Pid(0),
            epoch: 0,
            page: 0,
        });
        h.behind = 0;
    };
    assert_eq!(refused(unordered), Invalid::Order);
    assert_eq!(refused(|h| h.counter = 1.into()), Invalid::Reserved);
    assert_eq!(refused(|h| h.tag[15] = 1), Invalid::Reserved);
}

#[test]
fn every_flipped_byte_is_harmless() {
    for at in 0..HEADER_LEN {
        for value in 0..=255 {
            let mut bytes = PAGE;
            bytes[at] = value;
            if let Ok(header) = Header::parse(&bytes) {
                assert!(header.carried().end <= header.payload_length());
                assert!(header.payload_length() <= PAYLOAD_MAX);
            }
        }
    }
}
