//! What the tests of all drivers send and receive, and the dice they throw.
//!
//! Law: the same seed gives the same bytes.

use drivers::HEADER_LEN;

/// A packet whose bytes tell its seed.
pub(crate) fn packet(seed: u8, payload: usize) -> Vec<u8> {
    (0..HEADER_LEN + payload)
        .map(|index| seed.wrapping_add((index % 251) as u8))
        .collect()
}

/// The header of such a packet.
pub(crate) fn header(seed: u8) -> [u8; HEADER_LEN] {
    packet(seed, 0).try_into().expect("exactly a header")
}

/// A small generator of numbers below `limit`.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    /// The next number.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % limit
    }
}
