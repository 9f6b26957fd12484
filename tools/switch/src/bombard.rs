//! Frames that nobody sent: random ones, and what can be made of recorded ones.
//!
//! Law: they follow from the seed and from what was recorded. None of them is one that its receiver could not tell from a genuine one: frames have
//! no authentication yet, so what is changed where a genuine frame of the same two boots may differ (sequence numbers, acknowledgements, times, and
//! what has not been received before) would be believed. Recorded frames are used when they are a second old, by when they have been received.

use crate::faults::Random;
use std::collections::VecDeque;

/// Frames kept to make others of.
const RECORDED_MAX: usize = 512;
/// Age at which one is used, ns.
const AGE_NS: u64 = 1_000_000_000;
/// Bytes of the longest frame made from nothing.
const LENGTH_MAX: u64 = 9014;
/// Where things lie in a frame of Dunlin's: see `net/wire`.
const VERSION: usize = 14;
const KIND: usize = 15;
const DATA: u8 = 3;
const SOURCE: usize = 20;
const SOURCE_BOOT: usize = 24;
const TARGET_BOOT: usize = 32;
const LENGTH: usize = 42;
const HEADER: usize = 136;

/// A source of such frames for one port.
#[derive(Debug)]
pub(crate) struct Bombardment {
    pub(crate) port: usize,
    pub(crate) until_ns: u64,
    random: Random,
    recorded: VecDeque<(u64, Vec<u8>)>,
}

impl Bombardment {
    pub(crate) fn new(port: usize, until_ns: u64, seed: u64) -> Bombardment {
        Bombardment {
            port,
            until_ns,
            random: Random::new(seed),
            recorded: VecDeque::new(),
        }
    }

    /// A frame that has entered the switch.
    pub(crate) fn record(&mut self, now_ns: u64, frame: &[u8]) {
        // One in a few, so that old ones are still there when new ones come fast.
        let full = self.recorded.len() == RECORDED_MAX;
        if full && self.random.below(8) != 0 {
            return;
        }
        if full {
            self.recorded.pop_front();
        }
        self.recorded.push_back((now_ns, frame.to_vec()));
    }

    /// The next frame for the port.
    pub(crate) fn next(&mut self, now_ns: u64) -> Vec<u8> {
        let old = self
            .recorded
            .partition_point(|(at, _)| at + AGE_NS <= now_ns) as u64;
        let kind = self.random.below(8);
        let index = self.random.below(old.max(1)) as usize;
        let recorded = self.recorded.get(index).filter(|_| kind > 0 && old > 0);
        let mut frame = match recorded.filter(|(_, frame)| frame.len() >= HEADER) {
            Some((_, frame)) => {
                let frame = frame.clone();
                self.changed(frame, kind)
            }
            None => self.random_frame(),
        };
        // Whatever it is, it gets there.
        if self.random.below(8) != 0 {
            let node = self.port as u8 + 1;
            frame[..6].copy_from_slice(&[0x52, 0x54, 0, 0, 0, node]);
        }
        frame
    }

    fn random_frame(&mut self) -> Vec<u8> {
        let length = crate::FRAME_MIN as u64 + self.random.below(LENGTH_MAX);
        let mut frame = vec![0; length as usize];
        // Only the beginning of it is random: nobody looks further.
        let looked_at = frame.len().min(2 * HEADER);
        self.fill(&mut frame[..looked_at]);
        frame[6] &= !1;
        frame[12..14].copy_from_slice(&[0x88, 0xb5]);
        frame
    }

    /// A recorded frame: again, cut, longer, with other boots, numbers and lengths, with bits turned.
    fn changed(&mut self, mut frame: Vec<u8>, kind: u64) -> Vec<u8> {
        match kind {
            1 => {}
            2 => frame
                .truncate(crate::FRAME_MIN + self.random.below(frame.len() as u64 - 13) as usize),
            3 => {
                let more = self.random.below(4000) as usize;
                frame.resize(frame.len() + more, 0x5a);
            }
            4 => self.fill(&mut frame[SOURCE_BOOT..SOURCE_BOOT + 8]),
            5 => self.fill(&mut frame[TARGET_BOOT..TARGET_BOOT + 8]),
            6 => {
                // Who sent it, or how long it is.
                let at = if self.random.below(2) == 0 {
                    SOURCE
                } else {
                    LENGTH
                };
                self.fill(&mut frame[at..at + 2]);
            }
            _ => self.turn_bits(&mut frame),
        }
        frame
    }

    /// Turns some bits: of what says what the frame is, or of what it carries. It does not become a packet of a lane, whose
    /// number might be one that is expected there.
    fn turn_bits(&mut self, frame: &mut [u8]) {
        let kind = frame[KIND];
        for _ in 0..=self.random.below(8) {
            let carries = frame.len() as u64 - HEADER as u64;
            let at = match self.random.below(2) {
                1 if carries > 0 => HEADER as u64 + self.random.below(carries),
                _ => VERSION as u64 + self.random.below((SOURCE - VERSION) as u64),
            };
            frame[at as usize] ^= 1 << self.random.below(8);
        }
        if frame[KIND] == DATA {
            frame[KIND] = kind;
        }
    }

    fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let number = self.random.number().to_ne_bytes();
            chunk.copy_from_slice(&number[..chunk.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorded(bombardment: &mut Bombardment, now_ns: u64) {
        for length in [136, 200, 4232] {
            let mut frame: Vec<u8> = (0..length).map(|at| at as u8).collect();
            frame[6] = 0x52;
            bombardment.record(now_ns, &frame);
        }
    }

    #[test]
    fn frames_are_frames_and_follow_from_the_seed() {
        let play = |seed| {
            let mut bombardment = Bombardment::new(1, 0, seed);
            recorded(&mut bombardment, 0);
            let frames = (0..5000).map(|_| bombardment.next(AGE_NS));
            frames.collect::<Vec<_>>()
        };
        let frames = play(7);
        for frame in &frames {
            assert!((crate::FRAME_MIN..=crate::FRAME_MAX).contains(&frame.len()));
        }
        assert_eq!(frames, play(7));
        assert_ne!(frames, play(8));
    }

    #[test]
    fn what_could_be_genuine_is_left_as_it_was_or_named_to_another() {
        let mut bombardment = Bombardment::new(1, 0, 3);
        recorded(&mut bombardment, 0);
        let originals: Vec<Vec<u8>> = bombardment
            .recorded
            .iter()
            .map(|(_, f)| f.clone())
            .collect();
        for _ in 0..20_000 {
            let frame = bombardment.next(AGE_NS);
            let Some(numbers) = frame
                .get(40..HEADER)
                .filter(|numbers| numbers[2..4] == [42, 43])
            else {
                continue;
            };
            let known = originals.iter().any(|original| {
                original[SOURCE_BOOT..40] == frame[SOURCE_BOOT..40]
                    && original[40..HEADER] != *numbers
            });
            assert!(!known, "{frame:?}");
        }
    }

    #[test]
    fn nothing_is_made_of_what_is_still_on_its_way() {
        let mut bombardment = Bombardment::new(1, 0, 3);
        recorded(&mut bombardment, 5);
        let ours = |frame: &Vec<u8>| {
            frame.len() >= HEADER
                && frame[100..HEADER]
                    .iter()
                    .enumerate()
                    .all(|(at, byte)| usize::from(*byte) == 100 + at)
        };
        assert!((0..2000).all(|_| !ours(&bombardment.next(AGE_NS))));
        assert!((0..2000).any(|_| ours(&bombardment.next(AGE_NS + 5))));
    }
}
