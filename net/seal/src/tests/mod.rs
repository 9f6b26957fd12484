//! Boots that seal and open, on virtual time, and strangers between them.
//!
//! Law: what a stranger may do is done to frames that were really sent; what it changes is looked up in
//! all that the boot knows, not in what the test expects to be there.

mod hostile;
mod insiders;
mod sessions;
mod suites;
mod tickets;
mod vectors;

use crate::{Config, Greeting, Opened, OwnerKey, Refused, Seal, Sealed, Suite};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use wire::{BROADCAST_MAC, BootId, HEADER_LEN, Header, Kind, Lane, NodeId, PayloadKind};

const MS: u64 = 1_000_000;
const KEY: [u8; 32] = [0x5e; 32];
/// Nodes of a cluster.
const NODES: u16 = 5;

/// A header and what follows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Frame {
    pub(crate) header: [u8; HEADER_LEN],
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    fn flip(&self, bit: usize) -> Frame {
        let mut frame = self.clone();
        let (at, mask) = (bit / 8, 1 << (bit % 8));
        match frame.header.get_mut(at) {
            Some(byte) => *byte ^= mask,
            None => frame.payload[at - HEADER_LEN] ^= mask,
        }
        frame
    }

    fn bits(&self) -> usize {
        (HEADER_LEN + self.payload.len()) * 8
    }
}

/// One boot.
struct Boot {
    config: Config,
    seal: Seal,
    /// What was behind the header of the last frame, when that was opened.
    heard: Vec<u8>,
}

fn mac(node: u16) -> [u8; 6] {
    [2, 0, 0, 0, 0, node as u8]
}

/// A boot of the cluster.
fn boot(node: u16, boot: u64) -> Boot {
    boot_of(1, KEY, node, boot)
}

fn boot_of(cluster: u32, key: [u8; 32], node: u16, boot: u64) -> Boot {
    boot_in(Suite::default(), cluster, key, node, boot)
}

fn boot_in(suite: Suite, cluster: u32, key: [u8; 32], node: u16, boot: u64) -> Boot {
    let roster = (1..=NODES).map(NodeId);
    boot_with(Config {
        node: NodeId(node),
        boot: BootId(boot),
        mac: mac(node),
        cluster,
        credentials: OwnerKey::new(key).credentials(NodeId(node), roster, suite),
        entropy: [boot as u8; 32],
    })
}

fn boot_with(config: Config) -> Boot {
    let seal = Seal::new(config.clone());
    let heard = Vec::new();
    Boot {
        config,
        seal,
        heard,
    }
}

impl Boot {
    /// A frame to another boot or, as a Hello, to all, without a seal.
    fn plain(&self, kind: Kind, to: Option<&Boot>, payload: &[u8]) -> Frame {
        let mut header = Header::new(kind);
        header.source_mac = self.config.mac;
        header.target_mac = to.map_or(BROADCAST_MAC, |to| to.config.mac);
        header.cluster = self.config.cluster.into();
        header.source = self.config.node.0.into();
        header.source_boot = self.config.boot.0.into();
        header.target = to.map_or(0, |to| to.config.node.0).into();
        header.target_boot = to.map_or(0, |to| to.config.boot.0).into();
        header.lane = Lane::Urgent as u8;
        header.payload_kind = match kind {
            Kind::Data => PayloadKind::Whole,
            _ => PayloadKind::Info,
        } as u8;
        header.length = (payload.len() as u16).into();
        header.check().expect("a frame as nodes send it");
        Frame {
            header: header.to_bytes(),
            payload: payload.to_vec(),
        }
    }

    fn seal(&mut self, now: u64, mut frame: Frame) -> Option<Frame> {
        let sealed = self.seal.seal(now, &mut frame.header, &frame.payload[..]);
        let payload = match sealed {
            Sealed::Not => return None,
            Sealed::Tagged => None,
            Sealed::Encrypted(bytes) => Some(bytes.to_vec()),
        };
        frame.payload = payload.unwrap_or(frame.payload);
        Some(frame)
    }

    fn hello(&mut self, now: u64) -> Frame {
        let frame = self.plain(Kind::Hello, None, b"hello");
        self.seal(now, frame).expect("a Hello needs no session")
    }

    fn data(&mut self, now: u64, to: &Boot, payload: &[u8]) -> Option<Frame> {
        let frame = self.plain(Kind::Data, Some(to), payload);
        self.seal(now, frame)
    }

    fn hear(&mut self, now: u64, frame: &Frame) -> Result<Opened, Refused> {
        let mut header = frame.header;
        let mut payload = frame.payload.clone();
        let opened = self
            .seal
            .open(now, &mut header, payload.len(), &mut payload[..]);
        self.heard = payload;
        if matches!(opened, Ok(Opened::Frame)) {
            let header = Header::parse(&header).expect("what we have sealed parses");
            assert_eq!((header.counter.get(), header.tag), (0, [0; 16]));
        }
        opened
    }

    fn refuses(&mut self, now: u64, frame: &Frame) -> Refused {
        self.hear(now, frame).expect_err("it is refused")
    }

    /// A Hello to all of somebody it has met.
    fn is_invited(&mut self, now: u64, hello: &Frame) -> bool {
        matches!(self.hear(now, hello), Ok(Opened::Invitation))
    }

    fn accepts(&mut self, now: u64, frame: &Frame) -> bool {
        matches!(self.hear(now, frame), Ok(Opened::Frame))
    }

    fn leaving(&mut self) -> Option<Frame> {
        let frame = self.seal.poll_transmit()?;
        Some(Frame {
            header: frame.header,
            payload: frame.payload.to_vec(),
        })
    }

    fn knows(&self) -> String {
        format!("{:?}", self.seal.known_to_tests())
    }
}

/// `one` hears a Hello of `two` and makes a session with it, in which nothing was sent yet.
fn meet(now: u64, one: &mut Boot, two: &mut Boot) -> Greeting {
    let hello = two.hello(now);
    let heard = one.hear(now, &hello);
    assert!(matches!(heard, Ok(Opened::Handshake)), "not believed yet");
    shake(now, one, two).expect("it had begun with a Hello")
}

/// The handshake that `one` has begun.
fn shake(now: u64, one: &mut Boot, two: &mut Boot) -> Option<Greeting> {
    let knock = one.leaving().expect("a handshake begins");
    assert!(matches!(two.hear(now, &knock), Ok(Opened::Handshake)));
    let welcome = two.leaving().expect("it is answered");
    match one.hear(now, &welcome) {
        Ok(Opened::Met(greeting)) => Some(greeting),
        Ok(Opened::Handshake) => None,
        other => panic!("{other:?}"),
    }
}

/// Two boots with a session that both use.
fn pair(now: u64) -> [Boot; 2] {
    pair_in(Suite::default(), now)
}

fn pair_in(suite: Suite, now: u64) -> [Boot; 2] {
    let boot = |node, boot| boot_in(suite, 1, KEY, node, boot);
    let (mut one, mut two) = (boot(1, 0xa1), boot(2, 0xb2));
    meet(now, &mut one, &mut two);
    let first = one.data(now, &two, b"first").expect("a session");
    assert!(two.accepts(now, &first));
    [one, two]
}
