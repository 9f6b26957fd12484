//! Filters of sockets: programs of the classic packet filter (`linux/filter.h`).
//!
//! Law: a program that was taken ends, and reads only what is in the packet: jumps go forward, every
//! instruction is one that is known, and the last one returns. What it says is how much of a message is
//! received; of nothing nobody hears.

use abi::Errno;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// The longest program (`BPF_MAXINSNS`).
pub(crate) const LENGTH_MAX: usize = 4096;
/// Bytes of a `struct sock_filter`.
pub(crate) const INSTRUCTION: usize = 8;
/// Words of memory that a program has.
const MEMORY: usize = 16;

// The parts of a code: class, size and mode of loads, operation and source of arithmetic and jumps.
const LD: u16 = 0;
const LDX: u16 = 1;
const ST: u16 = 2;
const STX: u16 = 3;
const ALU: u16 = 4;
const JMP: u16 = 5;
const RET: u16 = 6;
const MISC: u16 = 7;
const IMM: u16 = 0x00;
const ABS: u16 = 0x20;
const IND: u16 = 0x40;
const MEM: u16 = 0x60;
const LEN: u16 = 0x80;
const MSH: u16 = 0xa0;
const BY_X: u16 = 8;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Instruction {
    code: u16,
    if_true: u8,
    if_false: u8,
    k: u32,
}

/// A program that may be run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in super::super) struct Filter(Arc<[Instruction]>);

impl Instruction {
    fn parse(bytes: &[u8; INSTRUCTION]) -> Instruction {
        Instruction {
            code: u16::from_le_bytes([bytes[0], bytes[1]]),
            if_true: bytes[2],
            if_false: bytes[3],
            k: u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
        }
    }

    fn to_bytes(self) -> [u8; INSTRUCTION] {
        let [code, more] = self.code.to_le_bytes();
        let k = self.k.to_le_bytes();
        [
            code,
            more,
            self.if_true,
            self.if_false,
            k[0],
            k[1],
            k[2],
            k[3],
        ]
    }

    /// Whether it is known and stays in its bounds, with so many instructions behind it.
    fn is_good(self, behind: usize) -> bool {
        let fits = |jump: u32| (jump as usize) < behind;
        let memory = (self.k as usize) < MEMORY;
        let (operation, by_x) = (self.code & 0xf0, self.code & BY_X != 0);
        match self.code & 7 {
            LD => match (self.code & 0x18, self.code & 0xe0) {
                (0, IMM | LEN) => true,
                (0, MEM) => memory,
                (0 | 8 | 0x10, ABS | IND) => true,
                _ => false,
            },
            LDX => match (self.code & 0x18, self.code & 0xe0) {
                (0, IMM | LEN) => true,
                (0, MEM) => memory,
                (size, MSH) => size == 0x10,
                _ => false,
            },
            ST | STX => self.code & 0xf8 == 0 && memory,
            ALU => match operation {
                0x30 | 0x90 => by_x || self.k != 0,
                0x60 | 0x70 => by_x || self.k < 32,
                0x80 => !by_x,
                _ => operation <= 0xa0,
            },
            JMP => match operation {
                0 => !by_x && fits(self.k),
                0x10..=0x40 => fits(self.if_true.into()) && fits(self.if_false.into()),
                _ => false,
            },
            RET => matches!(self.code & 0xf8, 0 | 0x10),
            _ => self.code == MISC || self.code == MISC | 0x80,
        }
    }
}

impl Filter {
    /// A program as a user wrote it.
    ///
    /// # Errors
    /// `EINVAL`.
    pub(in super::super) fn parse(bytes: &[u8]) -> Result<Filter, Errno> {
        let (rows, rest) = bytes.as_chunks::<INSTRUCTION>();
        if rows.is_empty() || rows.len() > LENGTH_MAX || !rest.is_empty() {
            return Err(Errno::EINVAL);
        }
        let all: Vec<Instruction> = rows.iter().map(Instruction::parse).collect();
        let behind = |at: usize| all.len() - 1 - at;
        let good = |(at, row): (usize, &Instruction)| row.is_good(behind(at));
        let returns = all.last().is_some_and(|last| last.code & 7 == RET);
        if !returns || !all.iter().enumerate().all(good) {
            return Err(Errno::EINVAL);
        }
        Ok(Filter(all.into()))
    }

    /// As it was written.
    pub(in super::super) fn to_bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(|row| row.to_bytes()).collect()
    }

    /// How many bytes of a packet are to be received, at most all of them.
    pub(super) fn run(&self, packet: &[u8]) -> usize {
        let wanted = execute(&self.0, packet).unwrap_or(0);
        packet.len().min(wanted as usize)
    }
}

/// A number of the packet, in the order of the network; `None` behind its end.
fn load(packet: &[u8], at: u32, size: u16) -> Option<u32> {
    let bytes = packet.get(at as usize..)?;
    Some(match size {
        0 => u32::from_be_bytes(*bytes.first_chunk()?),
        8 => u16::from_be_bytes(*bytes.first_chunk()?).into(),
        _ => (*bytes.first()?).into(),
    })
}

fn compute(operation: u16, a: u32, by: u32) -> Option<u32> {
    Some(match operation {
        0x00 => a.wrapping_add(by),
        0x10 => a.wrapping_sub(by),
        0x20 => a.wrapping_mul(by),
        0x30 => a.checked_div(by)?,
        0x40 => a | by,
        0x50 => a & by,
        0x60 => a.wrapping_shl(by),
        0x70 => a.wrapping_shr(by),
        0x80 => a.wrapping_neg(),
        0x90 => a.checked_rem(by)?,
        _ => a ^ by,
    })
}

/// What the program returns; `None` if it looked behind the end of the packet, or divided by nothing.
fn execute(program: &[Instruction], packet: &[u8]) -> Option<u32> {
    let (mut a, mut x) = (0_u32, 0_u32);
    let mut memory = [0_u32; MEMORY];
    let mut at = 0;
    loop {
        let row = *program.get(at)?;
        at += 1;
        let k = row.k;
        let (size, mode) = (row.code & 0x18, row.code & 0xe0);
        let by = if row.code & BY_X != 0 { x } else { k };
        let length = packet.len() as u32;
        match row.code & 7 {
            LD => {
                a = match mode {
                    IMM => k,
                    LEN => length,
                    MEM => *memory.get(k as usize)?,
                    ABS => load(packet, k, size)?,
                    _ => load(packet, x.checked_add(k)?, size)?,
                }
            }
            LDX => {
                x = match mode {
                    IMM => k,
                    LEN => length,
                    MEM => *memory.get(k as usize)?,
                    // The length of an IP header.
                    _ => (load(packet, k, 0x10)? & 0xf) * 4,
                }
            }
            ST => *memory.get_mut(k as usize)? = a,
            STX => *memory.get_mut(k as usize)? = x,
            ALU => a = compute(row.code & 0xf0, a, by)?,
            JMP => {
                let jumps = match row.code & 0xf0 {
                    0 => {
                        at += k as usize;
                        continue;
                    }
                    0x10 => a == by,
                    0x20 => a > by,
                    0x30 => a >= by,
                    _ => a & by != 0,
                };
                at += usize::from(if jumps { row.if_true } else { row.if_false });
            }
            RET => return Some(if row.code & 0x10 != 0 { a } else { k }),
            _ if row.code & 0x80 != 0 => a = x,
            _ => x = a,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(rows: &[(u16, u8, u8, u32)]) -> Result<Filter, Errno> {
        let rows = rows.iter().map(|row| Instruction {
            code: row.0,
            if_true: row.1,
            if_false: row.2,
            k: row.3,
        });
        let bytes: Vec<u8> = rows.flat_map(Instruction::to_bytes).collect();
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
        ] {
            assert_eq!(program(&[bad, end]), Err(Errno::EINVAL), "{bad:?}");
        }
        assert_eq!(program(&[end, (0x00, 0, 0, 0)]), Err(Errno::EINVAL));
    }
}
