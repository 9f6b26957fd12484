//! Filters of sockets: programs of classic BPF about packets.
//!
//! Law: what a filter says is how much of a message is received; of nothing nobody hears.

use crate::bpf::{BYTE, Data, HALF, Program};
use abi::Errno;
use alloc::vec::Vec;

/// A filter.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in super::super) struct Filter(Program);

/// The bytes of a packet, with numbers in the order of the network.
struct Packet<'a>(&'a [u8]);

impl Data for Packet<'_> {
    fn knows(code: u16, k: u32) -> bool {
        match code {
            0x20 | 0x28 | 0x30 | 0x40 | 0x48 | 0x50 | 0xb1 | 0x9c => true,
            0x94 => k != 0,
            _ => false,
        }
    }

    fn length(&self) -> u32 {
        self.0.len() as u32
    }

    fn load(&self, at: u32, size: u16) -> Option<u32> {
        let bytes = self.0.get(at as usize..)?;
        Some(match size {
            BYTE => (*bytes.first()?).into(),
            HALF => u16::from_be_bytes(*bytes.first_chunk()?).into(),
            _ => u32::from_be_bytes(*bytes.first_chunk()?),
        })
    }
}

impl Filter {
    /// A program as a user wrote it.
    ///
    /// # Errors
    /// `EINVAL`.
    pub(in super::super) fn parse(bytes: &[u8]) -> Result<Filter, Errno> {
        Program::from_bytes::<Packet<'_>>(bytes).map(Filter)
    }

    /// As it was written.
    pub(in super::super) fn to_bytes(&self) -> Vec<u8> {
        self.0.words().flat_map(u64::to_le_bytes).collect()
    }

    /// How many bytes of a packet are to be received, at most all of them.
    pub(super) fn run(&self, packet: &[u8]) -> usize {
        let wanted = self.0.run(&Packet(packet));
        packet.len().min(wanted as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bpf::Instruction;

    fn program(rows: &[(u16, u8, u8, u32)]) -> Result<Filter, Errno> {
        let rows = rows.iter().map(|row| Instruction {
            code: row.0,
            if_true: row.1,
            if_false: row.2,
            k: row.3,
        });
        let bytes: Vec<u8> = rows.flat_map(|row| row.to_word().to_le_bytes()).collect();
        let parsed = Filter::parse(&bytes);
        if let Ok(parsed) = &parsed {
            assert_eq!(parsed.to_bytes(), bytes);
        }
        parsed
    }

    #[test]
    fn a_program_decides_by_what_is_in_the_packet() {
        // All of what begins with 0x0800 is taken, four bytes of what is longer than 6, nothing else.
        let filter = program(&[
            (0x28, 0, 0, 0),
            (0x15, 3, 0, 0x0800),
            (0x80, 0, 0, 0),
            (0x25, 0, 2, 6),
            (0x06, 0, 0, 4),
            (0x06, 0, 0, u32::MAX),
            (0x06, 0, 0, 0),
        ])
        .expect("it is good");
        assert_eq!(filter.run(&[8, 0, 1]), 3);
        assert_eq!(filter.run(&[9; 7]), 4);
        assert_eq!(filter.run(&[9; 6]), 0);
        assert_eq!(filter.run(&[8]), 0);
    }

    #[test]
    fn arithmetic_and_memory() {
        let run = |rows: &[(u16, u8, u8, u32)]| program(rows).expect("good").run(&[0x45; 100]);
        // (5 * 4 + 1) ^ 3, by way of X and memory.
        let rows = [
            (0xb1, 0, 0, 0),
            (0x87, 0, 0, 0),
            (0x04, 0, 0, 1),
            (0x02, 0, 0, 3),
            (0x00, 0, 0, 3),
            (0x07, 0, 0, 0),
            (0x60, 0, 0, 3),
            (0xac, 0, 0, 0),
            (0x16, 0, 0, 0),
        ];
        assert_eq!(run(&rows), 21 ^ 3);
        // Dividing by nothing receives nothing.
        assert_eq!(run(&[(0x3c, 0, 0, 0), (0x06, 0, 0, 9)]), 0);
    }

    #[test]
    fn what_might_not_end_is_refused() {
        let end = (0x06, 0, 0, 0);
        assert_eq!(Filter::parse(&[]), Err(Errno::EINVAL));
        for bad in [
            (0x05, 0, 0, 1),
            (0x15, 1, 0, 0),
            (0x15, 0, 1, 0),
            (0x60, 0, 0, 16),
            (0x02, 0, 0, 16),
            (0x34, 0, 0, 0),
            (0x64, 0, 0, 32),
            (0xffff, 0, 0, 0),
            (0x08, 0, 0, 0),
            (0x0115, 0, 0, 0),
            (0x94, 0, 0, 0),
        ] {
            assert_eq!(program(&[bad, end]), Err(Errno::EINVAL), "{bad:?}");
        }
        assert_eq!(program(&[end, (0x00, 0, 0, 0)]), Err(Errno::EINVAL));
    }
}
