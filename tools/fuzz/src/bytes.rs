//! Bytes: valid messages of every kind out of noise, and mutations.
//!
//! Law: whatever the formats are, every variant of a message can come out, and so can every byte.

use crate::Choices;
use wire::{Invalid, Message};

/// Kinds of messages; the first byte of one is less.
const KINDS: u64 = 38;
/// Numbers at the edges of what fields can be.
const EDGES: [u64; 10] = [
    0,
    1,
    0x7f,
    0x80,
    0xff,
    0x7fff,
    0xffff,
    0x7fff_ffff,
    0xffff_ffff,
    u64::MAX,
];

/// A valid message: postcard reads almost any noise as one, if it ends at the right byte, and says
/// whether it has ended too early or too late.
pub fn any_message(random: &mut Choices<'_>) -> Message {
    loop {
        let kind = random.below(KINDS) as u8;
        let calm = random.chance(7_000);
        let mut bytes = vec![kind];
        bytes.extend((0..250).map(|_| match calm {
            true => random.below(0x60) as u8,
            false => noise(random),
        }));
        for end in 1..=bytes.len() {
            match Message::decode(&bytes[..end]) {
                Ok(message) => return message,
                Err(Invalid::Message) => {}
                Err(_) => break,
            }
        }
    }
}

/// A byte that is often at an edge.
fn noise(random: &mut Choices<'_>) -> u8 {
    match random.below(4) {
        0 => 0,
        1 => 0xff,
        2 => 0x80 | random.bits() as u8,
        _ => random.bits() as u8,
    }
}

/// Changes some of the bytes, their order or their number, which stays below `most`.
pub fn mutate(random: &mut Choices<'_>, bytes: &mut Vec<u8>, most: usize) {
    for _ in 0..random.between(1, 4) {
        let at = random.below(bytes.len() as u64 + 1) as usize;
        let rest = bytes.len() - at;
        let count = random.between(1, 8).min(rest as u64) as usize;
        match random.below(7) {
            0 if rest > 0 => bytes[at] ^= 1 << random.below(8),
            1 if rest > 0 => bytes[at] = noise(random),
            2 => drop(bytes.drain(at..at + count)),
            3 => {
                let edge = EDGES[random.below(EDGES.len() as u64) as usize].to_le_bytes();
                let width = count.min(edge.len());
                bytes[at..at + width].copy_from_slice(&edge[..width]);
            }
            // A length, as postcard has them, that claims more than there is.
            4 => drop(bytes.splice(at..at, [0xff, 0xff, 0xff, noise(random) & 0x7f])),
            5 => {
                let copy = bytes[at..at + count].to_vec();
                let to = random.below(bytes.len() as u64 + 1) as usize;
                drop(bytes.splice(to..to, copy));
            }
            _ => bytes.truncate(at),
        }
        bytes.truncate(most);
    }
}
