//! Classic BPF: the programs of seccomp(2) and of the filters of sockets (`linux/filter.h`).
//!
//! Law: a program that was taken ends, and reads only what is there: every instruction is one that is known for the
//! data it is about, jumps go forward, and the last instruction returns.

use crate::dispatch::LocalCall;
use crate::wait::Stop;
use abi::Errno;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// The longest program (`BPF_MAXINSNS`).
pub(crate) const LENGTH_MAX: usize = 4096;
/// Bytes of a `struct sock_filter`.
pub(crate) const INSTRUCTION: usize = 8;
/// Words of memory that a program has.
const MEMORY: usize = 16;

/// Loads a word of the data at `k`.
pub(crate) const LOAD_WORD: u16 = 0x20;
/// Returns `k`, or A.
pub(crate) const RETURN: u16 = 0x06;
pub(crate) const RETURN_A: u16 = 0x16;
const JUMP: u16 = 0x05;
/// The bits of a load that say how much: a word if none is set.
const SIZE: u16 = 0x18;
pub(crate) const HALF: u16 = 0x08;
pub(crate) const BYTE: u16 = 0x10;
/// The bit of arithmetic and comparisons that takes X instead of `k`.
const BY_X: u16 = 0x08;

/// What programs look at.
pub(crate) trait Data {
    /// Whether a program about it may have this instruction, of those that not all may have: the ones that
    /// read the data, and remainders.
    fn knows(code: u16, k: u32) -> bool;

    /// Its length in bytes.
    fn length(&self) -> u32;

    /// A number at a place, of a word, [`HALF`] of that or a [`BYTE`]; `None` behind the end.
    fn load(&self, at: u32, size: u16) -> Option<u32>;
}

/// `struct sock_filter`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Instruction {
    pub(crate) code: u16,
    pub(crate) if_true: u8,
    pub(crate) if_false: u8,
    pub(crate) k: u32,
}

impl Instruction {
    fn from_word(word: u64) -> Instruction {
        Instruction {
            code: word as u16,
            if_true: (word >> 16) as u8,
            if_false: (word >> 24) as u8,
            k: (word >> 32) as u32,
        }
    }

    /// As it lies in memory, little endian.
    pub(crate) fn to_word(self) -> u64 {
        let jumps = u64::from(self.if_true) << 16 | u64::from(self.if_false) << 24;
        u64::from(self.code) | jumps | u64::from(self.k) << 32
    }

    /// Whether it may stand where `rest` instructions follow (`bpf_check_classic` and `seccomp_check_filter` of
    /// Linux).
    fn is_sound<D: Data>(self, rest: usize) -> bool {
        let (k, jumps) = (self.k as usize, [self.if_true, self.if_false]);
        match self.code {
            0x80 | 0x81 | 0x00 | 0x01 | 0x07 | 0x87 | RETURN | RETURN_A => true,
            0x60 | 0x61 | 0x02 | 0x03 => k < MEMORY,
            0x34 => k != 0,
            0x64 | 0x74 => k < 32,
            0x04 | 0x0c | 0x14 | 0x1c | 0x24 | 0x2c | 0x3c | 0x44 | 0x4c | 0x54 | 0x5c | 0x6c
            | 0x7c | 0x84 | 0xa4 | 0xac => true,
            JUMP => k < rest,
            0x15 | 0x1d | 0x25 | 0x2d | 0x35 | 0x3d | 0x45 | 0x4d => {
                jumps.iter().all(|jump| usize::from(*jump) < rest)
            }
            code => D::knows(code, self.k),
        }
    }
}

/// A program that may be run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Program(Arc<[Instruction]>);

impl Program {
    /// A program about such data, of instructions as words.
    ///
    /// # Errors
    /// `EINVAL` if it may not run.
    pub(crate) fn new<D: Data>(words: impl Iterator<Item = u64>) -> Result<Program, Errno> {
        let program: Arc<[Instruction]> = words.map(Instruction::from_word).collect();
        let length = program.len();
        let sound = |(at, one): (usize, &Instruction)| one.is_sound::<D>(length - at - 1);
        let ends = |last: &Instruction| matches!(last.code, RETURN | RETURN_A);
        if length > LENGTH_MAX
            || !program.last().is_some_and(ends)
            || !program.iter().enumerate().all(sound)
        {
            return Err(Errno::EINVAL);
        }
        Ok(Program(program))
    }

    /// As [`Program::new`], from the bytes of memory.
    ///
    /// # Errors
    /// The same, and `EINVAL` for half an instruction.
    pub(crate) fn from_bytes<D: Data>(bytes: &[u8]) -> Result<Program, Errno> {
        let (words, rest) = bytes.as_chunks::<INSTRUCTION>();
        if !rest.is_empty() {
            return Err(Errno::EINVAL);
        }
        Program::new::<D>(words.iter().map(|word| u64::from_le_bytes(*word)))
    }

    /// Its instructions as words.
    pub(crate) fn words(&self) -> impl ExactSizeIterator<Item = u64> {
        self.0.iter().map(|one| one.to_word())
    }

    /// What it returns; 0 if it looked behind the end of the data, or divided by nothing.
    pub(crate) fn run(&self, data: &impl Data) -> u32 {
        self.execute(data).unwrap_or(0)
    }

    fn execute(&self, data: &impl Data) -> Option<u32> {
        let (mut a, mut x, mut memory) = (0_u32, 0_u32, [0_u32; MEMORY]);
        let mut at = 0;
        loop {
            let Instruction {
                code,
                if_true,
                if_false,
                k,
            } = *self.0.get(at)?;
            at += 1;
            let operand = if code & BY_X != 0 { x } else { k };
            let size = code & SIZE;
            let mut jump = |holds| at += usize::from(if holds { if_true } else { if_false });
            match code {
                RETURN => return Some(k),
                RETURN_A => return Some(a),
                JUMP => at += k as usize,
                0x15 | 0x1d => jump(a == operand),
                0x25 | 0x2d => jump(a > operand),
                0x35 | 0x3d => jump(a >= operand),
                0x45 | 0x4d => jump(a & operand != 0),
                0x00 => a = k,
                0x01 => x = k,
                0x80 => a = data.length(),
                0x81 => x = data.length(),
                0x60 => a = *memory.get(k as usize)?,
                0x61 => x = *memory.get(k as usize)?,
                0x02 => *memory.get_mut(k as usize)? = a,
                0x03 => *memory.get_mut(k as usize)? = x,
                0x20 | 0x28 | 0x30 => a = data.load(k, size)?,
                0x40 | 0x48 | 0x50 => a = data.load(x.checked_add(k)?, size)?,
                // The length of an IP header.
                0xb1 => x = (data.load(k, BYTE)? & 0xf) * 4,
                0x07 => x = a,
                0x87 => a = x,
                _ => a = compute(code & 0xf0, a, operand)?,
            }
        }
    }
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

/// The bytes of the program that a `struct sock_fprog` in a program's memory names.
///
/// # Errors
/// `EINVAL` for nothing and for too much of it; what reading says.
pub(crate) fn read_program(call: &mut LocalCall<'_>, address: u64) -> Result<Vec<u8>, Stop> {
    const PROGRAM: usize = 16;
    let named = call.read(address, PROGRAM)?;
    let count = usize::from(u16::from_le_bytes([named[0], named[1]]));
    let at = u64::from_le_bytes(core::array::from_fn(|byte| named[8 + byte]));
    if at == 0 || count == 0 || count > LENGTH_MAX {
        return Err(Errno::EINVAL.into());
    }
    call.read(at, count * INSTRUCTION)
}
