//! What a tracer sees of registers: `struct user_regs_struct`, and the debug registers of `struct user`.
//!
//! Law: the places are those of Linux' `arch/x86/include/asm/user_64.h`. What comes from a tracer is checked before it
//! is any thread's: selectors have one value each, bases are user addresses, and of the flags only those change that a
//! program may change itself.

use abi::Errno;
use machine::{Registers, USER_END};

/// Bytes of `struct user_regs_struct`.
pub(crate) const BYTES: usize = 27 * 8;
/// Bytes of `struct user`.
pub(crate) const USER_BYTES: u64 = 912;
/// Where in it the eight debug registers begin.
pub(crate) const DEBUG_AT: u64 = 848;
/// DR6 without a cause: the bits that always read one.
pub(crate) const DEBUG_STATUS: u64 = 0xffff_0ff0;

const USER_CS: u64 = 0x33;
const USER_SS: u64 = 0x2b;
/// CF PF AF ZF SF TF DF OF NT RF AC (`FLAG_MASK`).
const FLAGS: u64 = 0x5_4dd5;
/// NT is not a user's here.
const SETTABLE: u64 = FLAGS & !0x4000;
/// The places of `rip`, `cs`, `eflags`, `ss`, the bases and the four other selectors.
const ORIG_RAX: usize = 15;

/// The words of `struct user_regs_struct`; `number` is `orig_rax`.
pub(crate) fn words(r: &Registers, number: u64) -> [u64; 27] {
    [
        r.r15, r.r14, r.r13, r.r12, r.rbp, r.rbx, r.r11, r.r10, r.r9, r.r8, r.rax, r.rcx, r.rdx,
        r.rsi, r.rdi, number, r.rip, USER_CS, r.rflags, r.rsp, USER_SS, r.fs_base, r.gs_base, 0, 0,
        0, 0,
    ]
}

/// The registers and `orig_rax` that those words say.
///
/// # Errors
/// EIO for a selector or a base that no program can have.
pub(crate) fn registers(words: &[u64; 27], before: &Registers) -> Result<(Registers, u64), Errno> {
    let &[
        r15,
        r14,
        r13,
        r12,
        rbp,
        rbx,
        r11,
        r10,
        r9,
        r8,
        rax,
        rcx,
        rdx,
        rsi,
        rdi,
        _,
        rip,
        cs,
        flags,
        rsp,
        ss,
        fs_base,
        gs_base,
        ds,
        es,
        fs,
        gs,
    ] = words;
    if cs != USER_CS || ss != USER_SS || [ds, es, fs, gs] != [0; 4] {
        return Err(Errno::EIO);
    }
    if fs_base >= USER_END || gs_base >= USER_END {
        return Err(Errno::EIO);
    }
    let registers = Registers {
        rax,
        rbx,
        rcx,
        rdx,
        rsi,
        rdi,
        rbp,
        rsp,
        r8,
        r9,
        r10,
        r11,
        r12,
        r13,
        r14,
        r15,
        rip,
        rflags: before.rflags & !SETTABLE | flags & SETTABLE,
        fs_base,
        gs_base,
    };
    Ok((registers, words[ORIG_RAX]))
}

/// Words as bytes.
pub(crate) fn bytes(words: &[u64; 27]) -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    for (place, word) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(words) {
        *place = word.to_le_bytes();
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_have_the_places_of_the_header() {
        let registers = Registers {
            r15: 1,
            rax: 11,
            rdi: 15,
            rip: 17,
            rflags: 0x246,
            rsp: 20,
            fs_base: 22,
            ..Registers::default()
        };
        let words = words(&registers, 39);
        let bytes = bytes(&words);
        let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("a word"));
        assert_eq!(BYTES, 216);
        // offsetof(struct user_regs_struct, r15, rax, rdi, orig_rax, rip, cs, eflags, rsp, ss, fs_base)
        let places = [0, 80, 112, 120, 128, 136, 144, 152, 160, 168];
        let held = [1, 11, 15, 39, 17, 0x33, 0x246, 20, 0x2b, 22];
        assert_eq!(places.map(word), held);
        assert_eq!(super::registers(&words, &registers), Ok((registers, 39)));
    }

    #[test]
    fn what_no_program_can_have_is_refused_and_flags_of_the_system_stay() {
        let own = Registers {
            rflags: 0x202,
            ..Registers::default()
        };
        for (at, value) in [
            (17, 0x8),
            (20, 0),
            (23, 0x2b),
            (21, USER_END),
            (22, u64::MAX),
        ] {
            let mut words = words(&own, 0);
            words[at] = value;
            assert_eq!(registers(&words, &own), Err(Errno::EIO), "word {at}");
        }
        let mut words = words(&own, 0);
        words[18] = u64::MAX;
        let (set, _) = registers(&words, &own).expect("flags are masked");
        assert_eq!(set.rflags, 0x202 | SETTABLE);
        words[18] = 0;
        assert_eq!(registers(&words, &own).expect("flags").0.rflags, 0x202);
    }
}
