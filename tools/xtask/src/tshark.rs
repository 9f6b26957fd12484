//! The dissector, tried with Debian's tshark on a capture of our switch.
//!
//! Law: the capture has every kind of frame and every message there is, made from the types themselves, and has passed
//! the switch. What tshark makes of it is compared with what is recorded. If tshark cannot be had that is said, and counts
//! as skipped.

use crate::error::Error;
use crate::{places, program, setup, shapes};
use rustix::net::{SendFlags, send};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use switch::Service;
use wire::{
    BROADCAST_MAC, Gossip, HEADER_LEN, Header, Kind, Lane, Message, NodeInfo, PAYLOAD_MAX,
    PIECE_LEN, PageTag, PayloadKind, Pid,
};

/// What tshark made of the capture when somebody last looked at it.
const GOLDEN: &str = "tools/wireshark/golden.txt";
const DISSECTOR: &str = "tools/wireshark/dunlin.lua";
/// How long the switch may take to pass a few frames on.
const PATIENCE: Duration = Duration::from_secs(10);

/// Compares what tshark says with what is recorded; with `DUNLIN_RECORD=1` records it.
pub(crate) fn golden() -> Result<Result<(), String>, Error> {
    fs::create_dir_all(work()).map_err(Error::file("create", &work()))?;
    let capture = work().join(format!("sample-{}.pcap", std::process::id()));
    let tshark = Tshark::find()?;
    let frames = frames()?;
    through_the_switch(&frames, &capture)?;
    let said = tshark.dissect(&capture);
    let _ = fs::remove_file(&capture);
    let said = said?;
    let path = places::root().join(GOLDEN);
    if std::env::var_os("DUNLIN_RECORD").is_some() {
        fs::write(&path, &said).map_err(Error::file("write", &path))?;
    }
    let recorded = fs::read_to_string(&path).unwrap_or_default();
    Ok(compare(&recorded, &said, frames.len()))
}

/// Where tshark may write.
fn work() -> PathBuf {
    places::target().join("tshark")
}

fn compare(recorded: &str, said: &str, frames: usize) -> Result<(), String> {
    if let Some(line) = said.lines().find(|line| is_complaint(line)) {
        return Err(format!("tshark complains: {}", line.trim()));
    }
    let ours = |line: &&str| *line == "Dunlin";
    let shown = said.lines().filter(ours).count();
    if shown != frames {
        return Err(format!("{frames} frames were captured, {shown} are shown"));
    }
    let mut lines = recorded.lines().zip(said.lines());
    match lines.find(|(recorded, said)| recorded != said) {
        _ if recorded == said => Ok(()),
        Some((recorded, said)) => Err(format!(
            "recorded in {GOLDEN}: `{recorded}`, now: `{said}`; `DUNLIN_RECORD=1 cargo xtask dissector --check` records it anew"
        )),
        None => Err(format!(
            "{GOLDEN} has another length; `DUNLIN_RECORD=1 cargo xtask dissector --check` records it anew"
        )),
    }
}

/// Whether tshark or the dissector found something wrong.
fn is_complaint(line: &str) -> bool {
    ["Lua Error", "Shorter than it says", "Malformed"]
        .iter()
        .any(|complaint| line.contains(complaint))
}

/// tshark with our dissector.
struct Tshark(PathBuf);

impl Tshark {
    /// The one that is here, or Debian's, which is installed.
    fn find() -> Result<Tshark, Error> {
        if program::find("tshark").is_none() {
            setup::install("tshark", &["tshark"]).map_err(|error| Error::Unavailable {
                name: "tshark".to_owned(),
                why: error.to_string(),
            })?;
        }
        let found = program::find("tshark").ok_or_else(|| Error::Unavailable {
            name: "tshark".to_owned(),
            why: "it is not there after it was installed".to_owned(),
        })?;
        Ok(Tshark(found))
    }

    /// One line for each frame, then all fields of all frames.
    fn dissect(&self, capture: &Path) -> Result<String, Error> {
        let script = places::root().join(DISSECTOR);
        let mut text = String::new();
        for words in [
            &[
                "-T",
                "fields",
                "-e",
                "_ws.col.Protocol",
                "-e",
                "_ws.col.Info",
            ][..],
            &["-V", "-O", "dunlin"],
        ] {
            let mut command = program::clean(&self.0);
            command
                .env("HOME", work())
                .env("LC_ALL", "C")
                .arg("-X")
                .arg(format!("lua_script:{}", script.display()))
                .arg("-n")
                .arg("-r")
                .arg(capture)
                .args(words);
            text += &program::output(&mut command, "tshark")?;
        }
        Ok(text)
    }
}

/// Every kind of frame, and every message.
fn frames() -> Result<Vec<Vec<u8>>, Error> {
    let shape = |error: shapes::Unreadable| Error::Unmet(error.to_string());
    let info = shapes::of::<NodeInfo>().map_err(shape)?;
    let messages = shapes::of::<Message>().map_err(shape)?;
    let gossip = shapes::of::<Gossip>().map_err(shape)?;
    let mut frames = Vec::new();
    let mut add = |header: Header, payload: &[u8]| {
        let seq = frames.len() as u32;
        let frame = frame(header, payload, seq);
        let whole = frame.first_chunk().map(Header::parse);
        assert!(
            matches!(whole, Some(Ok(_))),
            "nodes would refuse {header:?}: {whole:?}"
        );
        frames.push(frame);
    };
    let page = [0x5a; PAYLOAD_MAX];
    for number in 0..=u8::MAX {
        let Some(kind) = Kind::from_u8(number) else {
            continue;
        };
        let mut header = Header::new(kind);
        match kind {
            Kind::Data => {}
            Kind::Hello | Kind::HelloReply => {
                header.payload_kind = PayloadKind::Info as u8;
                header.epoch = 1_000_000.into();
                add(header, &info.values[0].encode());
            }
            Kind::Gossip => {
                header.payload_kind = PayloadKind::Gossip as u8;
                for gossip in &gossip.values {
                    add(header, &gossip.encode());
                }
            }
            Kind::Blast | Kind::Probe => {
                header.payload_kind = PayloadKind::Filler as u8;
                add(header, &page);
            }
            Kind::Beacon => {
                header.pid = Pid::new(wire::NodeId(1), 9).0.into();
                header.page = 1.into();
                add(header, &[]);
            }
            Kind::Knock | Kind::Welcome => {
                header.payload_kind = PayloadKind::Handshake as u8;
                add(header, &[0xa5; wire::HANDSHAKE_LEN]);
            }
            Kind::Ack | Kind::Echo | Kind::EchoReply | Kind::BlastReport | Kind::Probed => {
                add(header, &[])
            }
        }
    }
    let data = |lane: Lane, payload: PayloadKind| {
        let mut header = Header::new(Kind::Data);
        header.lane = lane as u8;
        header.payload_kind = payload as u8;
        header.behind = u8::from(payload != PayloadKind::Page);
        header
    };
    for message in &messages.values {
        add(data(Lane::Urgent, PayloadKind::Whole), &message.encode());
    }
    let long = Message::Trace {
        text: vec![b'x'; 2 * PAYLOAD_MAX],
    };
    let kinds = [PayloadKind::First, PayloadKind::Middle, PayloadKind::Last];
    for (part, kind) in long.encode().chunks(PAYLOAD_MAX).zip(kinds) {
        add(data(Lane::Bulk, kind), part);
    }
    let mut header = data(Lane::Bulk, PayloadKind::Page);
    header.set_page_tag(PageTag {
        pid: Pid::new(wire::NodeId(2), 7),
        epoch: 3,
        page: 0x40_1000,
    });
    add(header, &page);
    header.length = (PAYLOAD_MAX as u16).into();
    add(header.of_piece(Some(1)), &page[..PIECE_LEN]);
    Ok(frames)
}

/// The header completed, and the payload behind it.
fn frame(mut header: Header, payload: &[u8], seq: u32) -> Vec<u8> {
    let to_all = header.kind() == Kind::Hello;
    header.target_mac = if to_all {
        BROADCAST_MAC
    } else {
        [2, 0, 0, 0, 0, 2]
    };
    header.source_mac = [2, 0, 0, 0, 0, 1];
    header.cluster = 1.into();
    header.source = 1.into();
    header.source_boot = 0x1f3a.into();
    if !to_all {
        header.target = 2.into();
        header.target_boot = 0x77c0.into();
    }
    if header.piece().is_none() {
        header.length = (payload.len() as u16).into();
    }
    header.seq = seq.into();
    header.ack = [4.into(), 5.into()];
    header.sack = [0b101.into(), 0.into()];
    header.sent_ns = 1_000_000_007.into();
    header.echo_ns = 999_000_000.into();
    header.held_ns = 2500.into();
    header.share = 64;
    let mut bytes = header.to_bytes().to_vec();
    debug_assert_eq!(bytes.len(), HEADER_LEN);
    bytes.extend_from_slice(payload);
    bytes
}

/// Sends the frames into a switch that writes them down.
fn through_the_switch(frames: &[Vec<u8>], capture: &Path) -> Result<(), Error> {
    let service = Service::start(2, 1, Some(capture))?;
    let cable = switch::link_pair().map_err(|source| Error::System {
        what: "making a cable",
        source,
    })?;
    service.attach(0, cable.switch_end);
    let began = Instant::now();
    for (sent, frame) in frames.iter().enumerate() {
        send(&cable.node_end, frame, SendFlags::empty()).map_err(|errno| Error::System {
            what: "sending a frame",
            source: errno.into(),
        })?;
        while service.counters().received <= sent as u64 {
            if began.elapsed() > PATIENCE {
                return Err(Error::Unmet("the switch does not take frames".into()));
            }
            std::thread::sleep(Duration::from_micros(200));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_capture_has_every_kind_of_frame() {
        let frames = frames().expect("the types are readable");
        let kinds: std::collections::BTreeSet<u8> = frames.iter().map(|frame| frame[15]).collect();
        let all = (0..=u8::MAX)
            .filter(|n| Kind::from_u8(*n).is_some())
            .count();
        assert_eq!(kinds.len(), all);
        let payloads: std::collections::BTreeSet<u8> =
            frames.iter().map(|frame| frame[41]).collect();
        let all = (0..=u8::MAX)
            .filter(|n| PayloadKind::from_u8(*n).is_some())
            .count();
        assert_eq!(payloads.len(), all);
    }

    #[test]
    fn complaints_and_differences_are_failures() {
        assert_eq!(compare("Dunlin\nx\n", "Dunlin\nx\n", 1), Ok(()));
        for (recorded, said, frames) in [
            ("Dunlin\nx\n", "Dunlin\ny\n", 1),
            ("Dunlin\nx\n", "Dunlin\nx\n", 2),
            ("Data\nx\n", "Data\nx\n", 1),
            ("Dunlin\nx\n", "Dunlin\nx\nmore\n", 1),
            ("Dunlin\nLua Error\n", "Dunlin\nLua Error\n", 1),
        ] {
            assert!(compare(recorded, said, frames).is_err());
        }
    }
}
