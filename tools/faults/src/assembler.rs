//! From calls of Rust to byte code in an ELF file in a boot archive.
//!
//! Law: a program is straight code and data made before it runs; the assembler knows nothing of what
//! the program is for.

use crate::processor::{LONGEST, op};

/// Where code and data are in memory.
pub(crate) const CODE: u64 = 0x40_1000;
const HEADERS: u64 = 0x40_0000;
const DATA: u64 = 0x100_0000;
/// Zeroed memory behind the data.
pub(crate) const ZEROED: u64 = DATA + 0x10_0000;
/// Bytes of it.
const ZEROED_BYTES: u64 = 0x20_0000;

/// A register by its number.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reg(pub(crate) u8);
pub(crate) const RAX: Reg = Reg(0);
pub(crate) const RBX: Reg = Reg(1);
pub(crate) const RDX: Reg = Reg(3);
pub(crate) const RSI: Reg = Reg(4);
pub(crate) const RDI: Reg = Reg(5);
pub(crate) const RBP: Reg = Reg(6);
pub(crate) const R8: Reg = Reg(8);
pub(crate) const R9: Reg = Reg(9);
pub(crate) const R12: Reg = Reg(12);
pub(crate) const R13: Reg = Reg(13);
pub(crate) const R14: Reg = Reg(14);
pub(crate) const R15: Reg = Reg(15);
const R10: Reg = Reg(10);

/// An argument of a system call.
#[derive(Clone, Copy)]
pub(crate) enum Value {
    /// A constant.
    Is(u64),
    /// What a register holds.
    In(Reg),
}
use Value::{In, Is};

/// A place in the code, known or not yet.
#[derive(Clone, Copy)]
pub(crate) struct Label(usize);

#[derive(Default)]
pub(crate) struct Assembler {
    code: Vec<u8>,
    data: Vec<u8>,
    labels: Vec<Option<u64>>,
    fixups: Vec<(usize, Label)>,
    /// What the checks of the programs say when they go wrong, by number.
    pub(crate) reasons: Vec<String>,
}

impl Assembler {
    fn emit(&mut self, bytes: &[u8]) {
        while self.code.len() % 4096 + LONGEST > 4096 {
            self.code.push(op::NOTHING);
        }
        self.code.extend_from_slice(bytes);
    }

    pub(crate) fn label(&mut self) -> Label {
        self.labels.push(None);
        Label(self.labels.len() - 1)
    }

    pub(crate) fn place(&mut self, label: Label) {
        self.labels[label.0] = Some(CODE + self.code.len() as u64);
    }

    pub(crate) fn here(&mut self) -> Label {
        let label = self.label();
        self.place(label);
        label
    }

    pub(crate) fn set(&mut self, to: Reg, value: u64) {
        let mut bytes = vec![op::SET, to.0];
        bytes.extend(value.to_le_bytes());
        self.emit(&bytes);
    }

    /// Puts the address of a label, already placed, into a register.
    pub(crate) fn set_label(&mut self, to: Reg, label: Label) {
        let address = self.labels[label.0].expect("placed before");
        self.set(to, address);
    }

    pub(crate) fn add(&mut self, to: Reg, value: u64) {
        let mut bytes = vec![op::ADD_IMMEDIATE, to.0];
        bytes.extend(value.to_le_bytes());
        self.emit(&bytes);
    }

    /// One of `MOV`, `ADD`, `SUB`, `MUL`, `MOD`.
    pub(crate) fn two(&mut self, operation: u8, to: Reg, from: Reg) {
        self.emit(&[operation, to.0, from.0]);
    }

    pub(crate) fn shift_right(&mut self, to: Reg, by: u8) {
        self.emit(&[op::SHIFT_RIGHT, to.0, by]);
    }

    fn with_word(&mut self, operation: u8, a: Reg, b: Reg, word: u32) {
        let mut bytes = vec![operation, a.0, b.0];
        bytes.extend(word.to_le_bytes());
        self.emit(&bytes);
    }

    pub(crate) fn load(&mut self, to: Reg, base: Reg) {
        self.with_word(op::LOAD, to, base, 0);
    }

    pub(crate) fn load_word(&mut self, to: Reg, base: Reg, offset: u32) {
        self.with_word(op::LOAD_WORD, to, base, offset);
    }

    pub(crate) fn store(&mut self, from: Reg, base: Reg) {
        self.with_word(op::STORE, from, base, 0);
    }

    fn branch(&mut self, operation: u8, a: Reg, b: Reg, to: Label) {
        self.with_word(operation, a, b, 0);
        self.fixups.push((self.code.len() - 4, to));
    }

    pub(crate) fn jump(&mut self, to: Label) {
        self.branch(op::JUMP, RAX, RAX, to);
    }

    pub(crate) fn jump_equal(&mut self, a: Reg, b: Reg, to: Label) {
        self.branch(op::JUMP_EQUAL, a, b, to);
    }

    pub(crate) fn jump_less(&mut self, a: Reg, b: Reg, to: Label) {
        self.branch(op::JUMP_LESS, a, b, to);
    }

    pub(crate) fn jump_negative(&mut self, a: Reg, to: Label) {
        self.branch(op::JUMP_NEGATIVE, a, a, to);
    }

    pub(crate) fn ret(&mut self) {
        self.emit(&[op::RETURN]);
    }

    /// Ends everything: the world stops and tells this reason and what the register holds.
    pub(crate) fn fail(&mut self, value: Reg, reason: &str) {
        self.reasons.push(reason.to_owned());
        let number = self.reasons.len() as u32 - 1;
        self.with_word(op::FAIL, value, value, number);
    }

    /// Tells that nobody knows what has become of something, or that it is lost; the program goes on.
    pub(crate) fn unsure(&mut self, reason: &str) {
        self.reasons.push(reason.to_owned());
        let number = self.reasons.len() as u32 - 1;
        self.with_word(op::UNSURE, RAX, RAX, number);
    }

    /// Fails unless the register holds this. Uses R9.
    pub(crate) fn expect(&mut self, register: Reg, value: u64, reason: &str) {
        let good = self.label();
        self.set(R9, value);
        self.jump_equal(register, R9, good);
        self.fail(register, reason);
        self.place(good);
    }

    /// A system call; the result is in RAX.
    pub(crate) fn call(&mut self, number: u64, args: &[Value]) {
        for (arg, register) in args.iter().zip([RDI, RSI, RDX, R10, R8, R9]) {
            match *arg {
                Is(value) => self.set(register, value),
                In(from) => self.two(op::MOV, register, from),
            }
        }
        self.set(RAX, number);
        self.emit(&[op::SYSCALL, 5]);
    }

    /// Bytes in the data; their address, a multiple of 8.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> u64 {
        self.data.resize(self.data.len().next_multiple_of(8), 0);
        let at = DATA + self.data.len() as u64;
        self.data.extend_from_slice(bytes);
        at
    }

    /// A NUL-terminated string in the data.
    pub(crate) fn path(&mut self, path: &str) -> u64 {
        self.bytes(format!("{path}\0").as_bytes())
    }

    pub(crate) fn longs(&mut self, longs: &[u64]) -> u64 {
        let bytes: Vec<u8> = longs.iter().flat_map(|long| long.to_le_bytes()).collect();
        self.bytes(&bytes)
    }

    /// The program as a file; it begins with its first instruction.
    pub(crate) fn finish(mut self) -> (Vec<u8>, Vec<String>) {
        for (at, label) in std::mem::take(&mut self.fixups) {
            let address = self.labels[label.0].expect("every label is placed") as u32;
            self.code[at..at + 4].copy_from_slice(&address.to_le_bytes());
        }
        let code_end = 0x1000 + self.code.len() as u64;
        let data_at = code_end.next_multiple_of(4096);
        let data_length = self.data.len() as u64;
        assert!(data_length < ZEROED - DATA, "the data fit");
        let mut file = Vec::new();
        file.extend_from_slice(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
        file.extend([2, 0, 62, 0, 1, 0, 0, 0]);
        for long in [CODE, 64, 0] {
            file.extend(long.to_le_bytes());
        }
        file.extend([0; 4]);
        for half in [64_u16, 56, 2, 64, 0, 0] {
            file.extend(half.to_le_bytes());
        }
        let memory = ZEROED - DATA + ZEROED_BYTES;
        for (flags, offset, address, in_file, in_memory) in [
            (5_u32, 0, HEADERS, code_end, code_end),
            (6, data_at, DATA, data_length, memory),
        ] {
            file.extend(1_u32.to_le_bytes());
            file.extend(flags.to_le_bytes());
            for long in [offset, address, address, in_file, in_memory, 4096] {
                file.extend(long.to_le_bytes());
            }
        }
        file.resize(0x1000, 0);
        file.extend(&self.code);
        file.resize(data_at as usize, 0);
        file.extend(&self.data);
        (file, self.reasons)
    }
}

/// A boot archive of regular files.
pub(crate) fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = Vec::new();
    for (name, contents) in files {
        let mut header = [0_u8; 512];
        header[..name.len()].copy_from_slice(name.as_bytes());
        header[100..107].copy_from_slice(b"0000755");
        header[124..135].copy_from_slice(format!("{:011o}", contents.len()).as_bytes());
        header[148..156].fill(b' ');
        header[156] = b'0';
        header[257..265].copy_from_slice(b"ustar\x0000");
        let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        archive.extend_from_slice(&header);
        archive.extend_from_slice(contents);
        archive.resize(archive.len().next_multiple_of(512), 0);
    }
    archive.resize(archive.len() + 1024, 0);
    archive
}
