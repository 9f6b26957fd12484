//! Registers held across a loop and a system call, and programs that go wrong.
//!
//! Law: between the load and the store of a register file no compiled code runs, so whatever
//! differs afterwards was changed by the kernel.

use std::arch::asm;
use std::mem::offset_of;
use std::os::fd::{AsRawFd, BorrowedFd};

/// A `write` made while registers are held: how a process moves itself.
#[derive(Debug, Clone, Copy)]
pub struct Write<'a> {
    /// Where to.
    pub fd: BorrowedFd<'a>,
    /// What.
    pub bytes: &'a [u8],
}

/// The floating-point and vector registers.
#[repr(C, align(64))]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Floats {
    /// `ymm0`..`ymm15`; without AVX the upper 16 bytes are not used.
    pub vectors: [[u8; 32]; 16],
    /// `st0`..`st7` as 80-bit values in 16 bytes each; the upper 6 bytes are not used.
    pub stack: [[u8; 16]; 8],
    /// The SSE control and status register.
    pub mxcsr: u32,
    /// The x87 control word.
    pub control: u16,
    old_mxcsr: u32,
    old_control: u16,
}

impl Floats {
    /// Different valid values in every register, derived from `seed`; unusual but harmless
    /// rounding modes in the control registers, with all exceptions masked.
    #[must_use]
    pub fn pattern(seed: u64) -> Floats {
        let byte = |index: u64| (seed.wrapping_mul(31).wrapping_add(index * 7 + 1) & 0xff) as u8;
        let wide = if has_avx() { 32 } else { 16 };
        let mut floats = Floats {
            vectors: [[0; 32]; 16],
            stack: [[0; 16]; 8],
            mxcsr: 0x3f80,
            control: 0x0f7f,
            old_mxcsr: 0,
            old_control: 0,
        };
        for (register, value) in (0u64..).zip(&mut floats.vectors) {
            for (at, slot) in (0u64..).zip(&mut value[..wide]) {
                *slot = byte(register * 32 + at);
            }
        }
        for (register, value) in (0u64..).zip(&mut floats.stack) {
            for (at, slot) in (0u64..).zip(&mut value[..8]) {
                *slot = byte(1000 + register * 16 + at);
            }
            // A normal number: the integer bit set, the exponent near the bias (Intel SDM 4.2.2).
            value[7] |= 0x80;
            value[8] = byte(2000 + register);
            value[9] = 0x3f;
        }
        floats
    }
}

/// Whether the wide vector registers can be used.
#[must_use]
pub fn has_avx() -> bool {
    std::arch::is_x86_feature_detected!("avx")
}

/// The assembly of [`hold_floats`], for registers named `$register` moved by `$move`; r12 holds
/// the register file, r13 the spins, r14 whether to call.
macro_rules! hold_floats {
    ($file:expr, $call:expr, $spins:expr, $move:literal, $register:literal, $after:literal) => {{
        let (fd, address, length) = arguments($call);
        let result: i64;
        asm!(
            "stmxcsr [r12 + {old_mxcsr}]",
            "fnstcw [r12 + {old_control}]",
            "fldcw [r12 + {control}]",
            ".irp n, 7, 6, 5, 4, 3, 2, 1, 0",
            "fld tbyte ptr [r12 + {stack} + 16 * \\n]",
            ".endr",
            ".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15",
            concat!($move, " ", $register, "\\n, [r12 + 32 * \\n]"),
            ".endr",
            "ldmxcsr [r12 + {mxcsr}]",
            "mov rcx, r13",
            "2: dec rcx",
            "jnz 2b",
            "xor eax, eax",
            "test r14, r14",
            "jz 3f",
            "mov eax, 1",
            "syscall",
            "3: mov rcx, r13",
            "4: dec rcx",
            "jnz 4b",
            ".irp n, 0, 1, 2, 3, 4, 5, 6, 7",
            "fstp tbyte ptr [r12 + {stack} + 16 * \\n]",
            ".endr",
            ".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15",
            concat!($move, " [r12 + 32 * \\n], ", $register, "\\n"),
            ".endr",
            "stmxcsr [r12 + {mxcsr}]",
            "fnstcw [r12 + {control}]",
            "fldcw [r12 + {old_control}]",
            "ldmxcsr [r12 + {old_mxcsr}]",
            $after,
            stack = const offset_of!(Floats, stack),
            mxcsr = const offset_of!(Floats, mxcsr),
            control = const offset_of!(Floats, control),
            old_mxcsr = const offset_of!(Floats, old_mxcsr),
            old_control = const offset_of!(Floats, old_control),
            in("r12") &raw mut *$file,
            in("r13") $spins,
            in("r14") u64::from($call.is_some()),
            out("rax") result,
            out("rcx") _, out("r11") _,
            in("rdi") fd, in("rsi") address, in("rdx") length,
            out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _,
            out("xmm4") _, out("xmm5") _, out("xmm6") _, out("xmm7") _,
            out("xmm8") _, out("xmm9") _, out("xmm10") _, out("xmm11") _,
            out("xmm12") _, out("xmm13") _, out("xmm14") _, out("xmm15") _,
            out("st(0)") _, out("st(1)") _, out("st(2)") _, out("st(3)") _,
            out("st(4)") _, out("st(5)") _, out("st(6)") _, out("st(7)") _,
        );
        result
    }};
}

/// Loads `floats`, spins, makes the call if there is one, spins again, and returns what the
/// registers held then together with the result of the call (0 without a call, else as the
/// kernel gives it: a count or a negative `errno`).
#[must_use]
pub fn hold_floats(floats: &Floats, call: Option<Write<'_>>, spins: u64) -> (Floats, i64) {
    let mut file = floats.clone();
    let spins = spins.max(1);
    let result = if has_avx() {
        // SAFETY: reads and writes only `file`, within its fields; the call is a write of a live
        // buffer; control registers are restored, the x87 stack is empty again, and all other
        // registers used are declared. The processor has AVX.
        unsafe { hold_floats!(&mut file, call, spins, "vmovups", "ymm", "vzeroupper") }
    } else {
        // SAFETY: as above, with SSE only.
        unsafe { hold_floats!(&mut file, call, spins, "movups", "xmm", "nop") }
    };
    (file.without_saved(), result)
}

impl Floats {
    fn without_saved(mut self) -> Floats {
        (self.old_mxcsr, self.old_control) = (0, 0);
        self
    }
}

fn arguments(call: Option<Write<'_>>) -> (u64, u64, u64) {
    let Some(call) = call else {
        return (
            0x1111_2222_3333_4444,
            0x5555_6666_7777_8888,
            0x9999_aaaa_bbbb_cccc,
        );
    };
    let fd = u64::try_from(call.fd.as_raw_fd()).unwrap_or(u64::MAX);
    (fd, call.bytes.as_ptr() as u64, call.bytes.len() as u64)
}

/// The general registers that the kernel must keep, and the flags.
#[repr(C)]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registers {
    /// rbx rbp rsi rdi rdx r8 r9 r10 r12 r13 r14 r15; rdi, rsi and rdx are the arguments of the
    /// call if one is made.
    pub values: [u64; 12],
    /// Carry, parity, zero and direction flag, at their places in RFLAGS.
    pub flags: u64,
    result: i64,
    spins: u64,
    calls: u64,
}

/// RFLAGS bits that [`hold_registers`] leaves in a known state: CF, PF, ZF, DF.
const FLAGS: u64 = 0x1 | 0x4 | 0x40 | 0x400;

/// Loads different values into all registers, sets carry and direction flag, spins, makes the
/// call if there is one, and spins again. Returns what was loaded, what was there at the end,
/// and the result of the call as in [`hold_floats`].
#[must_use]
pub fn hold_registers(
    seed: u64,
    call: Option<Write<'_>>,
    spins: u64,
) -> (Registers, Registers, i64) {
    let mut index = 0u64;
    let values = [(); 12].map(|()| {
        index += 1;
        (seed | 1)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .wrapping_mul(index * 2 + 1)
    });
    let calls = u64::from(call.is_some());
    // After the last `dec`: zero and even parity; carry and direction as set before.
    let mut expected = Registers {
        values,
        flags: FLAGS,
        result: 0,
        spins: spins.max(1),
        calls,
    };
    (expected.values[3], expected.values[2], expected.values[4]) = arguments(call);
    let mut file = expected.clone();
    // SAFETY: reads and writes only `file`, within its fields, and the stack below; the call is
    // a write of a live buffer; rbx and rbp are restored, the direction flag is cleared, and all
    // other registers used are declared.
    unsafe {
        asm!(
            "push rbx",
            "push rbp",
            "push rax",
            "mov rbx, [rax]",
            "mov rbp, [rax + 8]",
            "mov rsi, [rax + 16]",
            "mov rdi, [rax + 24]",
            "mov rdx, [rax + 32]",
            "mov r8, [rax + 40]",
            "mov r9, [rax + 48]",
            "mov r10, [rax + 56]",
            "mov r12, [rax + 64]",
            "mov r13, [rax + 72]",
            "mov r14, [rax + 80]",
            "mov r15, [rax + 88]",
            "mov rcx, [rax + {spins}]",
            "stc",
            "std",
            "2: dec rcx",
            "jnz 2b",
            "mov rcx, [rsp]",
            "mov rcx, [rcx + {calls}]",
            "mov eax, 0",
            "jrcxz 3f",
            "mov eax, 1",
            "syscall",
            "3: mov rcx, [rsp]",
            "mov rcx, [rcx + {spins}]",
            "4: dec rcx",
            "jnz 4b",
            "pushfq",
            "mov rcx, [rsp + 8]",
            "pop [rcx + {flags}]",
            "cld",
            "mov [rcx], rbx",
            "mov [rcx + 8], rbp",
            "mov [rcx + 16], rsi",
            "mov [rcx + 24], rdi",
            "mov [rcx + 32], rdx",
            "mov [rcx + 40], r8",
            "mov [rcx + 48], r9",
            "mov [rcx + 56], r10",
            "mov [rcx + 64], r12",
            "mov [rcx + 72], r13",
            "mov [rcx + 80], r14",
            "mov [rcx + 88], r15",
            "mov [rcx + {result}], rax",
            "add rsp, 8",
            "pop rbp",
            "pop rbx",
            spins = const offset_of!(Registers, spins),
            calls = const offset_of!(Registers, calls),
            flags = const offset_of!(Registers, flags),
            result = const offset_of!(Registers, result),
            inout("rax") &raw mut file => _,
            out("rcx") _, out("rdx") _, out("rsi") _, out("rdi") _, out("r8") _, out("r9") _,
            out("r10") _, out("r11") _, out("r12") _, out("r13") _, out("r14") _, out("r15") _,
        );
    }
    file.flags &= FLAGS;
    let result = std::mem::take(&mut file.result);
    (expected, file, result)
}

/// A way to be killed by the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crash {
    /// Store to the first page: `SIGSEGV`.
    StoreNull,
    /// Load from where the kernel lives: `SIGSEGV`.
    LoadKernel,
    /// Load from an address that is none: `SIGSEGV`.
    LoadNotCanonical,
    /// Jump to the first page: `SIGSEGV`.
    JumpNull,
    /// Store into the program's own code: `SIGSEGV`.
    StoreCode,
    /// Execute data: `SIGSEGV`.
    RunData,
    /// An instruction that does not exist: `SIGILL`.
    Invalid,
    /// An instruction only a kernel may use: `SIGSEGV`.
    Privileged,
}

/// Does what `how` says. If the kernel lets it pass, the process ends with status 99.
pub fn crash(how: Crash) -> ! {
    // The standard library catches SIGSEGV to tell stack overflows; here the kernel is asked.
    crate::process::default_action(libc::SIGSEGV);
    // SAFETY: none of these can harm memory that Rust knows of: the stores go to the first page,
    // which is never mapped, or to code, to write the byte that may never be written; whatever
    // happens, no compiled code runs afterwards but the exit.
    unsafe {
        match how {
            Crash::StoreNull => asm!("mov byte ptr [{}], 1", in(reg) 8u64),
            Crash::LoadKernel => asm!("mov {0}, [{0}]", inout(reg) 0xffff_8000_0000_0000u64 => _),
            Crash::LoadNotCanonical => {
                asm!("mov {0}, [{0}]", inout(reg) 0x8000_0000_0000_0000u64 => _);
            }
            Crash::JumpNull => asm!("call {}", in(reg) 8u64, clobber_abi("C")),
            Crash::StoreCode => {
                asm!("mov byte ptr [{}], 0xf4", in(reg) crate::process::exit_now as *const ());
            }
            Crash::RunData => {
                // `ret`, so that a kernel without NX comes back here and is found out.
                let code = [0xc3u8; 16];
                asm!("call {}", in(reg) code.as_ptr(), clobber_abi("C"));
            }
            Crash::Invalid => asm!("ud2"),
            Crash::Privileged => asm!("cli"),
        }
    }
    crate::process::exit_now(99)
}

#[cfg(test)]
mod tests {
    use super::{Floats, Write, hold_floats, hold_registers};
    use std::io::Read;
    use std::os::fd::AsFd;

    #[test]
    fn registers_hold_across_a_call() {
        let (mut reader, writer) = std::io::pipe().expect("a pipe");
        let call = || {
            Some(Write {
                fd: writer.as_fd(),
                bytes: b"moved",
            })
        };
        for seed in 1..4 {
            let floats = Floats::pattern(seed);
            assert_ne!(floats, Floats::pattern(seed + 1));
            assert_eq!(hold_floats(&floats, None, 1000), (floats.clone(), 0));
            assert_eq!(hold_floats(&floats, call(), 1000), (floats.clone(), 5));
            let (expected, found, result) = hold_registers(seed, call(), 1000);
            assert_eq!((found, result), (expected, 5));
            let (expected, found, result) = hold_registers(seed, None, 0);
            assert_eq!((found, result), (expected, 0));
        }
        drop(writer);
        let mut text = String::new();
        reader.read_to_string(&mut text).expect("the pipe");
        assert_eq!(text, "moved".repeat(6));
    }

    #[test]
    fn an_error_of_the_call_is_seen() {
        let null = std::fs::File::open("/dev/null").expect("a file to read");
        let call = Some(Write {
            fd: null.as_fd(),
            bytes: b"x",
        });
        let floats = Floats::pattern(9);
        assert_eq!(hold_floats(&floats, call, 1), (floats, -9));
    }
}
