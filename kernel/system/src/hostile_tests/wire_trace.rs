//! What travels for each operation, frame by frame.
//!
//! Law: a snapshot without times. Whoever changes what is sent sees it here, and records it anew with
//! `DUNLIN_RECORD=1 cargo test -p system what_travels`.

use super::{Cluster, DATA};
use std::format;
use std::string::String;
use std::vec::Vec;
use wire::{Header, Kind, Message, PayloadKind};

const RECORDED: &str = include_str!("wire_trace.txt");
const WRITE: u64 = 1;
const GETPPID: u64 = 110;
/// Pages that the process has written to: more than go ahead of the push.
const PAGES: u64 = 30;

/// A frame in a line: from whom to whom, and what; greetings are left out.
pub(super) fn line(packet: &node::Transmit<crate::system::NetPage>) -> Option<String> {
    let header = Header::parse(&packet.header).expect("nodes send valid frames");
    let what = match (header.kind(), header.payload_kind()) {
        // The way is not known to be wide, or not any more.
        (Kind::Data, PayloadKind::Whole) if header.piece().is_some() => "piece of a message".into(),
        (Kind::Data, PayloadKind::Whole) => {
            let mut bytes = [0; wire::PAYLOAD_MAX];
            let length = packet.payload.copy_to(&mut bytes);
            let message = Message::decode(&bytes[..length]).expect("messages decode");
            let name = format!("{message:?}");
            let end = name.find(|c: char| !c.is_alphanumeric());
            String::from(&name[..end.unwrap_or(name.len())])
        }
        (Kind::Data, PayloadKind::Page) if header.page_tag().is_file() => "page of a file".into(),
        (Kind::Data, PayloadKind::Page) => "page".into(),
        (Kind::Data, part) => format!("{part:?} part of a message"),
        (Kind::Hello | Kind::HelloReply, _) => return None,
        (kind, _) => format!("{kind:?}"),
    };
    let lane = match header.kind() {
        Kind::Data => format!(" {:?}", header.lane()),
        _ => String::new(),
    };
    Some(format!(
        "{} > {}{lane} {what}",
        header.source(),
        header.target()
    ))
}

/// Lines that follow each other and are the same become one.
fn folded(title: &str, lines: &[String]) -> String {
    let mut text = format!("{title}: {} frames\n", lines.len());
    for run in lines.chunk_by(|one, other| one == other) {
        text += &match run.len() {
            1 => format!("  {}\n", run[0]),
            count => format!("  {} x {count}\n", run[0]),
        };
    }
    text
}

impl Cluster {
    /// What is sent while this is done and until nobody says anything any more.
    fn trace(&mut self, title: &str, act: impl FnOnce(&mut Cluster)) -> String {
        self.settle();
        self.wire.clear();
        act(self);
        // In steps so small that nothing passes for lost.
        for _ in 0..1000 {
            self.pass(100_000);
        }
        let lines: Vec<String> = self.wire.drain(..).collect();
        folded(title, &lines)
    }
}

#[test]
fn what_travels() {
    let mut cluster = Cluster::new(2);
    let pid = cluster.fork(0);
    let mut text = String::new();
    for page in 0..PAGES {
        cluster.poke(0, pid, DATA + page * 4096, b"not zero");
    }
    text += &cluster.trace("a small process moves", |cluster| {
        cluster.start_move(pid, 2)
    });
    text += &cluster.trace("a call of a process that is away", |cluster| {
        cluster.call(1, pid, GETPPID, &[]);
    });
    text += &cluster.trace("a write of a process that is away", |cluster| {
        cluster.poke(1, pid, DATA, b"away");
        cluster.call(1, pid, WRITE, &[1, DATA, 4]);
    });
    text += &cluster.trace("it moves back", |cluster| cluster.start_move(pid, 1));
    if std::env::var_os("DUNLIN_RECORD").is_some() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/src/hostile_tests/wire_trace.txt"
        );
        std::fs::write(path, &text).expect("the record is written");
        return;
    }
    assert!(
        text == RECORDED,
        "what travels has changed; recorded:\n{RECORDED}\nnow:\n{text}"
    );
}
