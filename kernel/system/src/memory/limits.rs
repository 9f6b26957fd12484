//! All limits of a user address space, on one screen.
//!
//! Law: whatever is refused because it is too much is refused by a name in this file.

use machine::{PAGE_SIZE, USER_END};

/// Bytes in a page, as an address difference.
pub const PAGE: u64 = PAGE_SIZE as u64;

/// Areas in one address space (Linux' default `vm.max_map_count`).
pub const AREAS_MAX: usize = 65_530;

/// Lowest address that can be mapped (Linux' default `vm.mmap_min_addr`): a null pointer with an
/// offset must fault.
pub const LOWEST_ADDRESS: u64 = 0x1_0000;

/// How far the stack of the first thread grows (Linux' default `RLIMIT_STACK`).
pub const STACK_BYTES: u64 = 8 << 20;

/// Bytes below the initial stack pointer that are mapped from the beginning, as in Linux.
pub const STACK_FIRST_BYTES: u64 = 128 << 10;

/// Unmapped bytes that stay between a stack that grows and the mapping below it (Linux'
/// `stack_guard_gap`).
pub const STACK_GUARD: u64 = 1 << 20;

/// Room that is kept free of mappings below the top of the stack, at least and at most, whatever
/// `RLIMIT_STACK` says.
pub const STACK_ROOM: (u64, u64) = (128 << 20, 1 << 44);

/// Bytes of arguments and environment with their pointers, at least and at most; between them it is a
/// quarter of the stack (execve(2)).
pub const ARGUMENT_BYTES: (u64, u64) = (128 << 10, 6 << 20);

/// Bytes of one argument or environment string with its NUL (Linux' `MAX_ARG_STRLEN`).
pub const ARGUMENT_MAX: usize = 32 * PAGE_SIZE;

/// Highest end of a stack; what lies between here and `USER_END` stays unmapped.
pub const STACK_TOP: u64 = USER_END - 0x2_1000;

/// Pages by which the stack may start lower, so that its place cannot be guessed (a power of two).
pub const STACK_RANDOM_PAGES: u64 = 1 << 16;

/// Unmapped bytes kept between the stack and the highest mapping of `mmap`.
pub const STACK_GAP: u64 = 1 << 20;

/// Where a position independent program without interpreter is put, at least: two thirds of user
/// space, as in Linux.
pub const PIE_BASE: u64 = 0x5555_5555_4000;

/// Pages by which a position independent program may lie higher (a power of two).
pub const PIE_RANDOM_PAGES: u64 = 1 << 22;

/// Bytes of program headers that are read (as in Linux).
pub const PROGRAM_HEADER_BYTES_MAX: u64 = 1 << 16;

/// Bytes of the path of an interpreter with its NUL (Linux' `PATH_MAX`).
pub const INTERPRETER_PATH_MAX: u64 = 4096;

/// Largest alignment of a segment that is honoured.
pub const SEGMENT_ALIGN_MAX: u64 = 1 << 30;

/// Bytes around a page of a file that are mapped with it if they are in memory (a power of two).
pub const AROUND: u64 = 64 << 10;

/// Pages of one process that can be on their way from another node: 16 GiB.
pub const ABSENT_PAGES_MAX: u64 = 1 << 22;

/// Bytes around a page that count as changed with it, when pages are kept at another node (a power of two).
pub const KEPT_BLOCK: u64 = 64 << 10;

/// Run records in one image; memory more scattered than this does not move.
pub const RUNS_MAX: usize = 1 << 18;

/// Pages that are looked at to find the ones a process will need first after its move.
pub const USED_LOOKED_AT: u64 = 4096;
