//! `memcpy`, `memmove` and `memset`, to which the compiler turns every copy of a structure.
//!
//! Law: moves of 32 bytes through registers. The string instructions that the compiler's own
//! library uses begin slowly on processors and are slow throughout under emulation, and most copies
//! here are short: descriptors, messages, headers.

use core::arch::asm;

/// Copies forward, 32 bytes at a time, then the rest.
///
/// # Safety
/// Both ranges are valid; they do not overlap, or the target begins first.
unsafe fn forward(target: *mut u8, source: *const u8, length: usize) {
    // SAFETY: as the caller promises. Each step reads before it writes, and never writes beyond
    // what was read. Assembly, as the compiler would make a loop in Rust a call of `memcpy`.
    unsafe {
        asm!(
            "mov {n}, rcx",
            "shr {n}, 5",
            "jz 3f",
            "2:",
            "mov {a}, [rsi]",
            "mov {b}, [rsi + 8]",
            "mov {c}, [rsi + 16]",
            "mov {d}, [rsi + 24]",
            "mov [rdi], {a}",
            "mov [rdi + 8], {b}",
            "mov [rdi + 16], {c}",
            "mov [rdi + 24], {d}",
            "add rsi, 32",
            "add rdi, 32",
            "dec {n}",
            "jnz 2b",
            "3:",
            "and ecx, 31",
            "mov {n}, rcx",
            "shr {n}, 3",
            "jz 5f",
            "4:",
            "mov {a}, [rsi]",
            "mov [rdi], {a}",
            "add rsi, 8",
            "add rdi, 8",
            "dec {n}",
            "jnz 4b",
            "5:",
            "and ecx, 7",
            "jz 7f",
            "6:",
            "mov {a:l}, [rsi]",
            "mov [rdi], {a:l}",
            "inc rsi",
            "inc rdi",
            "dec rcx",
            "jnz 6b",
            "7:",
            n = out(reg) _,
            a = out(reg) _,
            b = out(reg) _,
            c = out(reg) _,
            d = out(reg) _,
            inout("rcx") length => _,
            inout("rsi") source => _,
            inout("rdi") target => _,
            options(nostack),
        );
    }
}

/// Copies backward, 8 bytes at a time, then the rest.
///
/// # Safety
/// Both ranges are valid; if they overlap, the source begins first.
unsafe fn backward(target: *mut u8, source: *const u8, length: usize) {
    // SAFETY: as the caller promises; see `forward`.
    unsafe {
        asm!(
            "mov {n}, rcx",
            "shr {n}, 3",
            "jz 3f",
            "2:",
            "mov {a}, [rsi + rcx - 8]",
            "mov [rdi + rcx - 8], {a}",
            "sub rcx, 8",
            "dec {n}",
            "jnz 2b",
            "3:",
            "test rcx, rcx",
            "jz 5f",
            "4:",
            "mov {a:l}, [rsi + rcx - 1]",
            "mov [rdi + rcx - 1], {a:l}",
            "dec rcx",
            "jnz 4b",
            "5:",
            n = out(reg) _,
            a = out(reg) _,
            inout("rcx") length => _,
            in("rsi") source,
            in("rdi") target,
            options(nostack),
        );
    }
}

/// `memcpy` of C.
///
/// # Safety
/// As in C: both ranges are valid and do not overlap.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memcpy(target: *mut u8, source: *const u8, length: usize) -> *mut u8 {
    // SAFETY: as the caller promises.
    unsafe { forward(target, source, length) };
    target
}

/// `memmove` of C.
///
/// # Safety
/// As in C: both ranges are valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memmove(target: *mut u8, source: *const u8, length: usize) -> *mut u8 {
    if (target as usize).wrapping_sub(source as usize) < length {
        // SAFETY: as the caller promises; the target begins inside of the source.
        unsafe { backward(target, source, length) };
    } else {
        // SAFETY: as the caller promises; the target begins before the source or behind its end.
        unsafe { forward(target, source, length) };
    }
    target
}

/// `memset` of C.
///
/// # Safety
/// As in C: the range is valid for writing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memset(target: *mut u8, value: i32, length: usize) -> *mut u8 {
    let word = (value as u8 as u64).wrapping_mul(0x0101_0101_0101_0101);
    // SAFETY: as the caller promises.
    unsafe {
        asm!(
            "mov {n}, rcx",
            "shr {n}, 5",
            "jz 3f",
            "2:",
            "mov [rdi], {word}",
            "mov [rdi + 8], {word}",
            "mov [rdi + 16], {word}",
            "mov [rdi + 24], {word}",
            "add rdi, 32",
            "dec {n}",
            "jnz 2b",
            "3:",
            "and ecx, 31",
            "jz 5f",
            "4:",
            "mov [rdi], {word:l}",
            "inc rdi",
            "dec rcx",
            "jnz 4b",
            "5:",
            n = out(reg) _,
            word = in(reg) word,
            inout("rcx") length => _,
            inout("rdi") target => _,
            options(nostack),
        );
    }
    target
}
