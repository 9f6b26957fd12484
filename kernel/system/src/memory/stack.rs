//! The initial stack of a program.
//!
//! Law: what is at the stack pointer when the program starts is what the System V ABI says (x86-64
//! psABI 3.4.1): argc, argv, NULL, envp, NULL, auxiliary vector, AT_NULL; above it the strings,
//! arguments and environment in order and without gaps, as `/proc/PID/cmdline` shows them.

use alloc::vec::Vec;

use abi::Errno;

use super::limits::{ARGUMENT_BYTES, ARGUMENT_MAX};
use super::program::{Arguments, Ids, StartValues};

const AT_NULL: u64 = 0;
const AT_PHDR: u64 = 3;
const AT_PHENT: u64 = 4;
const AT_PHNUM: u64 = 5;
const AT_PAGESZ: u64 = 6;
const AT_BASE: u64 = 7;
const AT_FLAGS: u64 = 8;
const AT_ENTRY: u64 = 9;
const AT_UID: u64 = 11;
const AT_EUID: u64 = 12;
const AT_GID: u64 = 13;
const AT_EGID: u64 = 14;
const AT_PLATFORM: u64 = 15;
const AT_HWCAP: u64 = 16;
const AT_CLKTCK: u64 = 17;
const AT_SECURE: u64 = 23;
const AT_RANDOM: u64 = 25;
const AT_HWCAP2: u64 = 26;
const AT_EXECFN: u64 = 31;
const AT_MINSIGSTKSZ: u64 = 51;

/// Clock ticks per second as programs see them (`sysconf(_SC_CLK_TCK)`).
const CLOCK_TICKS: u64 = 100;
const PLATFORM: &[u8] = b"x86_64\0";

/// What the auxiliary vector says of the program, placed.
pub(super) struct Placed {
    pub(super) headers_address: u64,
    pub(super) headers: u64,
    pub(super) entry: u64,
    /// What was added to the addresses of the interpreter; zero without one.
    pub(super) interpreter_base: u64,
}

/// The bytes of an initial stack and where they go.
pub(super) struct InitialStack {
    /// The stack pointer, and the address of the first byte; 16-byte aligned.
    pub(super) pointer: u64,
    pub(super) bytes: Vec<u8>,
    /// The auxiliary vector in it.
    pub(super) auxiliary: Vec<u8>,
    pub(super) arguments_start: u64,
    pub(super) arguments_end: u64,
    pub(super) environment_end: u64,
}

/// Checks the sizes of all strings and gives their total with NULs and pointers.
fn check_sizes(names: &Arguments, stack: u64) -> Result<(), Errno> {
    let most = (stack / 4).clamp(ARGUMENT_BYTES.0, ARGUMENT_BYTES.1);
    let mut total = 0;
    for string in names.argv.iter().chain(&names.envp).chain([&names.execfn]) {
        if string.len() >= ARGUMENT_MAX {
            return Err(Errno::E2BIG);
        }
        total += string.len() as u64 + 1 + size_of::<u64>() as u64;
        if total > most {
            return Err(Errno::E2BIG);
        }
    }
    Ok(())
}

/// Builds the stack that ends at `top` (16-byte aligned). Strings end at their first NUL.
///
/// # Errors
/// `E2BIG`: see [`ARGUMENT_MAX`] and [`ARGUMENT_BYTES`].
pub(super) fn build(
    top: u64,
    names: &Arguments,
    ids: &Ids,
    start: &StartValues,
    program: &Placed,
) -> Result<InitialStack, Errno> {
    check_sizes(names, start.limits.stack)?;
    let nameless = [Vec::new()];
    let argv = if names.argv.is_empty() {
        &nameless[..]
    } else {
        &names.argv
    };

    // The strings, laid out upwards; their place is known once their length is.
    let mut strings = Vec::new();
    let mut offsets = Vec::new();
    let mut put = |string: &[u8]| {
        let visible = string.split(|&byte| byte == 0).next().unwrap_or(string);
        offsets.push(strings.len() as u64);
        strings.extend_from_slice(visible);
        strings.push(0);
        strings.len() as u64
    };
    let arguments_bytes = argv.iter().map(|string| put(string)).last().unwrap_or(0);
    let environment_bytes = names
        .envp
        .iter()
        .map(|string| put(string))
        .last()
        .unwrap_or(arguments_bytes);
    put(&names.execfn);

    let strings_at = top - 8 - strings.len() as u64;
    let platform_at = strings_at - PLATFORM.len() as u64;
    let random_at = (platform_at - start.random.len() as u64) & !15;

    let address = |index: usize| strings_at + offsets[index];
    let mut words: Vec<u64> = Vec::new();
    words.push(argv.len() as u64);
    words.extend((0..argv.len()).map(address));
    words.push(0);
    words.extend((argv.len()..argv.len() + names.envp.len()).map(address));
    words.push(0);
    let execfn = address(offsets.len() - 1);
    let secure = u64::from(ids.uid != ids.euid || ids.gid != ids.egid);
    let auxiliary = [
        (AT_HWCAP, start.hwcap),
        (AT_PAGESZ, super::limits::PAGE),
        (AT_CLKTCK, CLOCK_TICKS),
        (AT_PHDR, program.headers_address),
        (AT_PHENT, super::elf::PROGRAM_HEADER_BYTES),
        (AT_PHNUM, program.headers),
        (AT_BASE, program.interpreter_base),
        (AT_FLAGS, 0),
        (AT_ENTRY, program.entry),
        (AT_UID, u64::from(ids.uid)),
        (AT_EUID, u64::from(ids.euid)),
        (AT_GID, u64::from(ids.gid)),
        (AT_EGID, u64::from(ids.egid)),
        (AT_SECURE, secure),
        (AT_RANDOM, random_at),
        (AT_HWCAP2, start.hwcap2),
        (AT_EXECFN, execfn),
        (AT_PLATFORM, platform_at),
        (AT_MINSIGSTKSZ, start.minimum_signal_stack),
        (AT_NULL, 0),
    ];
    let auxiliary = auxiliary.iter().flat_map(|&(key, value)| [key, value]);
    words.extend(auxiliary.clone());

    let pointer = (random_at - words.len() as u64 * 8) & !15;
    let mut bytes = Vec::with_capacity((top - pointer) as usize);
    for word in &words {
        bytes.extend_from_slice(&word.to_le_bytes());
    }
    let mut put_at = |at: u64, part: &[u8]| {
        bytes.resize((at - pointer) as usize, 0);
        bytes.extend_from_slice(part);
    };
    put_at(random_at, &start.random);
    put_at(platform_at, PLATFORM);
    put_at(strings_at, &strings);
    put_at(top, &[]);
    Ok(InitialStack {
        pointer,
        bytes,
        auxiliary: auxiliary.flat_map(u64::to_le_bytes).collect(),
        arguments_start: strings_at,
        arguments_end: strings_at + arguments_bytes,
        environment_end: strings_at + environment_bytes,
    })
}
