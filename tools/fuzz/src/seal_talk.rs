//! Three seals that talk over a link that somebody else has in his hands.
//!
//! Law: what is accepted was sent, to this boot, and is accepted once; what was changed is refused; and nobody answers
//! more frames than came. A ticket counts if just that passage was permitted to this home by its source, and by nobody else.

use crate::{Choices, Sights, Target, must, mutate, saw};
use seal::{Config, Opened, OwnerKey, REKEY_AFTER_NS, Seal, Sealed, Suite};
use std::collections::BTreeSet;
use wire::{
    BROADCAST_MAC, BootId, HEADER_LEN, Header, Kind, NodeId, Passage, PayloadKind, Pid, Ticket,
};

pub(crate) const SEAL: Target = Target {
    name: "seal",
    run,
    hear: |bytes, sights| run(&mut Choices::of_bytes(bytes), sights),
    wanted: &[
        "accepted",
        "replayed",
        "changed",
        "met",
        "rebooted",
        "permitted",
        "forged",
    ],
};

const NODES: usize = 3;
/// Where a header says for which boot it is.
const TARGET_BOOT: usize = 32;
/// Frames that the one in between remembers.
const CAUGHT_MAX: usize = 200;

type Frame = ([u8; HEADER_LEN], Vec<u8>);

struct Boot {
    node: u16,
    boot: u64,
    seal: Seal,
}

fn boot(suite: Suite, node: u16, boot: u64) -> Boot {
    let roster = (1..=NODES as u16).map(NodeId);
    let config = Config {
        node: NodeId(node),
        boot: BootId(boot),
        mac: [2, 0, 0, 0, 0, node as u8],
        cluster: 1,
        credentials: OwnerKey::new([9; 32]).credentials(NodeId(node), roster, suite),
        entropy: [boot as u8; 32],
    };
    let seal = Seal::new(config);
    Boot { node, boot, seal }
}

impl Boot {
    fn send(&mut self, now: u64, to: Option<(u16, u64)>, number: u64) -> Option<Frame> {
        let kind = if to.is_some() {
            Kind::Data
        } else {
            Kind::Hello
        };
        let (node, boot) = to.unwrap_or_default();
        let mut header = Header::new(kind);
        header.source_mac = [2, 0, 0, 0, 0, self.node as u8];
        header.target_mac = match to {
            Some(_) => [2, 0, 0, 0, 0, node as u8],
            None => BROADCAST_MAC,
        };
        header.cluster = 1.into();
        header.source = self.node.into();
        header.source_boot = self.boot.into();
        header.target = node.into();
        header.target_boot = boot.into();
        header.payload_kind = match kind {
            Kind::Data => PayloadKind::Whole,
            _ => PayloadKind::Info,
        } as u8;
        header.length = 8.into();
        let (mut header, payload) = (header.to_bytes(), number.to_le_bytes().to_vec());
        match self.seal.seal(now, &mut header, &payload[..]) {
            Sealed::Not => None,
            Sealed::Tagged => Some((header, payload)),
            Sealed::Encrypted(bytes) => Some((header, bytes.to_vec())),
        }
    }

    fn hear(&mut self, now: u64, (header, payload): &Frame) -> Option<Opened> {
        let (mut header, mut payload) = (*header, payload.clone());
        let length = payload.len();
        self.seal
            .open(now, &mut header, length, &mut payload[..])
            .ok()
    }
}

fn run(random: &mut Choices<'_>, sights: &mut Sights) -> Result<(), String> {
    let suite = Suite::ALL[random.below(2) as usize];
    let mut boots: Vec<Boot> = (1..=NODES as u16)
        .map(|node| boot(suite, node, u64::from(node)))
        .collect();
    let mut next_boot = NODES as u64;
    let mut now = 0;
    let mut caught: Vec<Frame> = Vec::new();
    let mut accepted = BTreeSet::new();
    for number in 0..120 {
        now += match random.below(16) {
            0 => REKEY_AFTER_NS / 2,
            _ => random.between(1, 200) * 1_000_000,
        };
        let (from, to) = (
            random.below(NODES as u64) as usize,
            random.below(NODES as u64) as usize,
        );
        if random.chance(100) {
            next_boot += 1;
            boots[from] = boot(suite, boots[from].node, next_boot);
            saw(sights, "rebooted");
        }
        let target = (boots[to].node, boots[to].boot);
        let target = (from != to).then_some(target);
        let mut leaving: Vec<Frame> = boots[from].send(now, target, number).into_iter().collect();
        while let Some(frame) = boots[from].seal.poll_transmit() {
            leaving.push((frame.header, frame.payload.to_vec()));
        }
        for frame in leaving {
            // To all, as on a hub; the link may lose it.
            for boot in boots.iter_mut().filter(|_| random.chance(9_500)) {
                judge(now, boot, &frame, true, &mut accepted, sights)?;
            }
            if caught.len() < CAUGHT_MAX {
                caught.push(frame);
            }
        }
        if random.chance(3_000) {
            ticket(random, &mut boots, sights)?;
        }
        for _ in 0..random.below(4) {
            if caught.is_empty() {
                break;
            }
            let mut frame = caught[random.below(caught.len() as u64) as usize].clone();
            let boot = &mut boots[random.below(NODES as u64) as usize];
            let genuine = random.chance(5_000);
            if genuine {
                saw(sights, "replayed");
            } else {
                change(random, &mut frame);
                saw(sights, "changed");
            }
            // What is behind the bytes that a frame says it carries is nobody's.
            let is = |sent: &Frame| sent.0 == frame.0 && frame.1.starts_with(&sent.1);
            let genuine = genuine || caught.iter().any(is);
            judge(now, boot, &frame, genuine, &mut accepted, sights)?;
        }
    }
    Ok(())
}

/// One of the nodes permits a passage to another; some home is shown that, or what somebody has made of it.
fn ticket(random: &mut Choices<'_>, boots: &mut [Boot], sights: &mut Sights) -> Result<(), String> {
    let mut any = |boots: &[Boot]| random.below(boots.len() as u64) as usize;
    let (maker, to, judge, target) = (any(boots), any(boots), any(boots), any(boots));
    // Mostly it is the source that speaks, and to the home.
    let source = if random.chance(7_000) {
        maker
    } else {
        (maker + 1) % NODES
    };
    let judge = if random.chance(7_000) { to } else { judge };
    let place = |boot: &Boot| (NodeId(boot.node), BootId(boot.boot));
    let passage = Passage {
        pid: Pid(random.bits() as u32),
        old_epoch: random.bits(),
        source: place(&boots[source]),
        target: place(&boots[target]),
    };
    let home = NodeId(boots[to].node);
    let made = boots[maker].seal.ticket(home, &passage);
    let Ticket(mut bytes) = made.ok_or("everybody is in the roster")?;
    let mut shown = passage;
    let changed = random.chance(5_000);
    if changed {
        match random.below(7) {
            0 => shown.pid.0 ^= 1 << random.below(32),
            1 => shown.old_epoch ^= 1 << random.below(64),
            2 => shown.source.1.0 ^= 1 << random.below(64),
            3 => shown.target.1.0 ^= 1 << random.below(64),
            4 => shown.target.0.0 ^= 1 << random.below(16),
            5 => bytes = [0; 16],
            _ => bytes[random.below(16) as usize] ^= 1 << random.below(8),
        }
    }
    // Two nodes have the key: the source, and the home, which makes it of no use but to lie to itself.
    let pair = |one: usize, other: usize| (one.min(other), one.max(other));
    let theirs = pair(maker, to) == pair(judge, source);
    let permitted = boots[judge].seal.permits(&shown, &Ticket(bytes));
    must(
        permitted == (theirs && !changed),
        "a ticket is its source's word of that passage, to this home",
    )?;
    saw(sights, if permitted { "permitted" } else { "forged" });
    Ok(())
}

/// A boot hears a frame, which somebody has sent as it is, or nobody.
fn judge(
    now: u64,
    boot: &mut Boot,
    frame: &Frame,
    genuine: bool,
    accepted: &mut BTreeSet<(u64, Vec<u8>)>,
    sights: &mut Sights,
) -> Result<(), String> {
    match boot.hear(now, frame) {
        None => Ok(()),
        Some(Opened::Frame) => {
            saw(sights, "accepted");
            must(genuine, "what was changed is refused")?;
            let to = frame.0[TARGET_BOOT..]
                .first_chunk()
                .map(|bytes| u64::from_le_bytes(*bytes));
            must(
                to == Some(0) || to == Some(boot.boot),
                "it was for this boot",
            )?;
            let header = frame.0.to_vec();
            must(accepted.insert((boot.boot, header)), "it is accepted once")
        }
        Some(Opened::Met(greeting)) => {
            saw(sights, "met");
            must(genuine, "what was changed makes no session")?;
            must(greeting.header.check().is_ok(), "a greeting is a Hello")
        }
        Some(Opened::Invitation) => must(genuine, "what was changed invites nobody"),
        Some(Opened::Handshake) => must(genuine, "what was changed is no handshake"),
    }
}

fn change(random: &mut Choices<'_>, (header, payload): &mut Frame) {
    match random.below(3) {
        0 => mutate(random, payload, 200),
        _ => {
            for _ in 0..=random.below(3) {
                let at = random.below(HEADER_LEN as u64) as usize;
                header[at] ^= 1 << random.below(8);
            }
        }
    }
}
