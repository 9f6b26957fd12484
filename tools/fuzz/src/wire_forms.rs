//! The formats of `net/wire`: header, message, gossip, information.
//!
//! Law: a check accepts the whole or refuses it, never panics, and what it accepts is what the same
//! bytes say again: encoding and decoding are each other's inverse on everything accepted.

use crate::{Choices, Sights, Target, any_message, must, mutate, saw};
use wire::{
    BootId, GOSSIP_MAX, Gossip, HEADER_LEN, Header, Kind, Lane, Load, Message, NodeId, NodeInfo,
    NodeState, PAYLOAD_MAX, PIECE_LEN, PayloadKind, Purpose, RECORDS_MAX, Record, Told,
};

pub(crate) const HEADER: Target = Target {
    name: "header",
    run: header,
    hear: hear_header,
    wanted: &["accepted", "refused"],
};

pub(crate) const MESSAGE: Target = Target {
    name: "message",
    run: message,
    hear: hear_message,
    wanted: &["accepted", "refused"],
};

pub(crate) const GOSSIP: Target = Target {
    name: "gossip",
    run: gossip,
    hear: hear_gossip,
    wanted: &["accepted", "refused"],
};

pub(crate) const INFO: Target = Target {
    name: "info",
    run: info,
    hear: hear_info,
    wanted: &["accepted", "refused"],
};

/// A header whose kind, lane and payload go together, mostly.
fn any_header(random: &mut Choices<'_>) -> Header {
    let kind = Kind::from_u8(random.between(1, 14) as u8).unwrap_or(Kind::Ack);
    let mut header = Header::new(kind);
    let broadcast = kind == Kind::Hello && random.chance(5_000);
    header.source = (random.between(1, 3) as u16).into();
    header.target = (if broadcast {
        0
    } else {
        random.between(1, 3) as u16
    })
    .into();
    header.source_boot = random.between(1, 3).into();
    header.target_boot = u64::from(!broadcast).into();
    let payload = match kind {
        Kind::Hello | Kind::HelloReply => PayloadKind::Info,
        Kind::Data => PayloadKind::from_u8(random.between(1, 5) as u8).unwrap_or(PayloadKind::Page),
        Kind::Gossip => PayloadKind::Gossip,
        Kind::Knock | Kind::Welcome => PayloadKind::Handshake,
        Kind::Blast | Kind::Probe => PayloadKind::Filler,
        _ => PayloadKind::None,
    };
    header.payload_kind = payload as u8;
    let length = match payload {
        PayloadKind::None => 0,
        PayloadKind::Handshake => wire::HANDSHAKE_LEN,
        PayloadKind::First | PayloadKind::Middle | PayloadKind::Page => PAYLOAD_MAX,
        _ if kind == Kind::Probe => PAYLOAD_MAX,
        _ => random.between(1, 1300) as usize,
    };
    header.length = (length as u16).into();
    if kind != Kind::Probe && length > PIECE_LEN && random.chance(3_000) {
        header = header.of_piece(Some(random.below(3) as usize));
    }
    if kind == Kind::Data {
        header.lane = random.below(2) as u8;
        header.behind = random.between(1, 255) as u8;
    }
    if payload == PayloadKind::Page || kind == Kind::Beacon {
        header.pid = (random.between(1, 3) as u32 * 65536 + 5).into();
        header.epoch = random.below(4).into();
        header.page = (random.below(2) * if kind == Kind::Beacon { 1 } else { 4096 }).into();
    }
    header
}

fn header(random: &mut Choices<'_>, sights: &mut Sights) -> Result<(), String> {
    let mut bytes = any_header(random).to_bytes();
    for _ in 0..random.below(3) {
        bytes[random.below(HEADER_LEN as u64) as usize] = random.bits() as u8;
    }
    judge_header(&bytes, sights)
}

fn hear_header(bytes: &[u8], sights: &mut Sights) -> Result<(), String> {
    match bytes.first_chunk() {
        Some(bytes) => judge_header(bytes, sights),
        None => Ok(()),
    }
}

fn judge_header(bytes: &[u8; HEADER_LEN], sights: &mut Sights) -> Result<(), String> {
    let _for_an_order_only = Header::is_pushed(bytes);
    let Ok(header) = Header::parse(bytes) else {
        saw(sights, "refused");
        return Ok(());
    };
    saw(sights, "accepted");
    must(header.to_bytes() == *bytes, "a header is its bytes")?;
    must(
        header.payload_length() <= PAYLOAD_MAX,
        "no payload is longer than a page",
    )?;
    let carried = header.carried();
    must(
        carried.end <= header.payload_length(),
        "a piece lies within its payload",
    )?;
    let split = header.piece().is_some() && carried.len() > PIECE_LEN;
    must(!split, "a piece fits into a narrow frame")?;
    let bulk = header.lane() == Lane::Bulk;
    must(!bulk || header.kind() == Kind::Data, "only data has lanes")?;
    must(header.source().is_valid(), "somebody has sent it")?;
    must(
        !header.to_string().starts_with("invalid"),
        "what is accepted is printed",
    )
}

fn message(random: &mut Choices<'_>, sights: &mut Sights) -> Result<(), String> {
    let message = any_message(random);
    let mut bytes = message.encode();
    must(
        Message::decode(&bytes) == Ok(message.clone()),
        "a message is read as it was written",
    )?;
    must(
        message.encode_to(vec![1, 2]) == [&[1, 2], &bytes[..]].concat(),
        "encode_to appends",
    )?;
    mutate(random, &mut bytes, 4096);
    hear_message(&bytes, sights)
}

fn hear_message(bytes: &[u8], sights: &mut Sights) -> Result<(), String> {
    match Message::decode(bytes) {
        Ok(read) => {
            saw(sights, "accepted");
            let again = read.encode();
            must(
                again.len() <= bytes.len(),
                "nothing accepted is shorter than what it says",
            )?;
            must(
                Message::decode(&again) == Ok(read),
                "what was read is written the same",
            )
        }
        Err(_) => {
            saw(sights, "refused");
            Ok(())
        }
    }
}

fn any_gossip(random: &mut Choices<'_>) -> Gossip {
    let purposes = [
        Purpose::News,
        Purpose::Ping,
        Purpose::Ack,
        Purpose::PingRequest,
        Purpose::PingFor,
        Purpose::AckFor,
        Purpose::AckRelayed,
    ];
    let states = [
        NodeState::Alive,
        NodeState::Suspect,
        NodeState::Dead,
        NodeState::Left,
    ];
    let number = |random: &mut Choices<'_>| random.bits() as u32 >> random.below(32);
    let purpose = random.below(7) as usize;
    let subject = NodeId(u16::from(purpose > 2) + u16::from(random.chance(500)));
    let records = (0..random.below(RECORDS_MAX as u64 + 2)).map(|_| Record {
        node: NodeId(random.between(1, 33_000) as u16),
        boot: BootId(random.below(200)),
        incarnation: number(random),
        state: states[random.below(4) as usize],
        told: random.chance(5_000).then(|| Told {
            version: number(random),
            age_ms: number(random),
            load: Load {
                runnable_milli: number(random),
                processors: number(random) as u16,
                speed: number(random),
                frames_total: number(random),
                frames_free: number(random),
                frames_reserved: number(random),
                guests: number(random) as u16,
                ..Load::default()
            },
        }),
    });
    let records = records.collect();
    Gossip {
        purpose: purposes[purpose],
        seq: random.bits() as u32,
        subject,
        records,
    }
}

fn gossip(random: &mut Choices<'_>, sights: &mut Sights) -> Result<(), String> {
    let mut bytes = any_gossip(random).encode();
    if random.chance(7_000) {
        mutate(random, &mut bytes, GOSSIP_MAX + 10);
    }
    hear_gossip(&bytes, sights)
}

fn hear_gossip(bytes: &[u8], sights: &mut Sights) -> Result<(), String> {
    let Ok(gossip) = Gossip::decode(bytes) else {
        saw(sights, "refused");
        return Ok(());
    };
    saw(sights, "accepted");
    must(
        gossip.records.len() <= RECORDS_MAX,
        "as many records as there may be",
    )?;
    for record in &gossip.records {
        must(
            record.node.is_valid() && record.boot != BootId::NONE,
            "records name a boot",
        )?;
        let load = record.told.map(|told| told.load);
        must(
            load.is_none_or(|load| load == load.within_reason()),
            "figures are cut",
        )?;
    }
    must(
        Gossip::decode(&gossip.encode()) == Ok(gossip),
        "what was read is written the same",
    )
}

fn info(random: &mut Choices<'_>, sights: &mut Sights) -> Result<(), String> {
    let info = NodeInfo {
        memory_frames: random.bits() >> random.below(64),
        free_frames: random.bits() >> random.below(64),
        processes: random.bits() as u32,
        archive: random.bits(),
        ..NodeInfo::default()
    };
    let mut bytes = info.encode();
    must(
        NodeInfo::decode(&bytes) == Ok(info),
        "information is read as it was written",
    )?;
    mutate(random, &mut bytes, PAYLOAD_MAX + 10);
    hear_info(&bytes, sights)
}

fn hear_info(bytes: &[u8], sights: &mut Sights) -> Result<(), String> {
    match NodeInfo::decode(bytes) {
        Ok(read) => {
            saw(sights, "accepted");
            must(
                NodeInfo::decode(&read.encode()) == Ok(read),
                "what was read is written the same",
            )
        }
        Err(_) => {
            saw(sights, "refused");
            Ok(())
        }
    }
}
