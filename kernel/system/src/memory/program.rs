//! A program becomes a space: segments, break, stack.
//!
//! Law: nothing of the file is read here; its pages come when they are touched. Where things lie is
//! a function of the program and of [`StartValues::seed`] alone.

use alloc::vec::Vec;

use abi::Errno;
use machine::{Access, USER_END};

use super::area::{AreaFlags, Backing, FileBacking};
use super::elf::{Program, Segment};
use super::limits::{
    LOWEST_ADDRESS, PAGE, PIE_BASE, PIE_RANDOM_PAGES, STACK_FIRST_BYTES, STACK_GAP,
    STACK_RANDOM_PAGES, STACK_ROOM, STACK_TOP,
};
use super::map::{MapHow, round_up};
use super::stack::{self, Placed};
use super::{NoFiles, Space, SpaceLimits, Trouble};

/// The file a program is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProgramFile {
    /// Content hash (BLAKE3); all zero if the contents are not known by hash.
    pub hash: [u8; 32],
    /// Handle in the home part's table of mapped files.
    pub home_file: u32,
    /// Bytes in the file.
    pub size: u64,
}

/// The strings a program is started with, without their NULs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Arguments {
    /// The arguments; an empty list becomes one empty argument, as in Linux.
    pub argv: Vec<Vec<u8>>,
    /// The environment.
    pub envp: Vec<Vec<u8>>,
    /// The path that was executed (`AT_EXECFN`).
    pub execfn: Vec<u8>,
}

/// The user and group a program runs as.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of credentials(7)")]
pub struct Ids {
    pub uid: u32,
    pub euid: u32,
    pub gid: u32,
    pub egid: u32,
}

/// What else a program is told, and the chance in its layout.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StartValues {
    /// `AT_RANDOM`: bytes for the C library; independent of `seed`.
    pub random: [u8; 16],
    /// Decides where stack, mappings and program lie; unpredictable to others.
    pub seed: u64,
    /// `AT_HWCAP`: CPUID leaf 1, EDX.
    pub hwcap: u64,
    /// `AT_HWCAP2`.
    pub hwcap2: u64,
    /// `AT_MINSIGSTKSZ`: bytes of a signal frame with the full processor state.
    pub minimum_signal_stack: u64,
    /// How far its memory may grow.
    pub limits: SpaceLimits,
}

/// A program with the file it is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// What its headers say.
    pub program: Program,
    /// The file.
    pub file: ProgramFile,
}

/// A program ready to run.
#[derive(Debug)]
pub struct Loaded {
    /// Its memory.
    pub space: Space,
    /// The first instruction.
    pub entry: u64,
    /// The stack pointer there; 16-byte aligned.
    pub stack_pointer: u64,
    /// The auxiliary vector on that stack (`/proc/PID/auxv`).
    pub auxiliary: Vec<u8>,
}

/// Makes the memory of a program, and of the interpreter that is to load it if it wants one.
///
/// # Errors
/// `E2BIG`: too long arguments. `ENOEXEC`: the segments do not fit the file or user space.
/// `ENOMEM`: no memory for tables and stack.
pub fn load_program(
    image: &Image,
    interpreter: Option<&Image>,
    names: &Arguments,
    ids: &Ids,
    start: &StartValues,
) -> Result<Loaded, Errno> {
    let program = &image.program;
    let mut space = Space::new().map_err(|_| Errno::ENOMEM)?;
    let mut seed = start.seed;
    let mut random = |pages: u64| {
        let drawn = seed % pages;
        seed /= pages;
        drawn * PAGE
    };
    space.limits = start.limits;
    let stack_top = STACK_TOP - random(STACK_RANDOM_PAGES);
    let stack_room = start.limits.stack.clamp(STACK_ROOM.0, STACK_ROOM.1) / PAGE * PAGE;
    space.layout.map_top = stack_top - stack_room - STACK_GAP - random(STACK_RANDOM_PAGES);
    let bias = place(program, random(PIE_RANDOM_PAGES), space.layout.map_top)?;
    for segment in &program.segments {
        map_segment(&mut space, segment, &image.file, bias)?;
    }
    let program_end = program.bounds().1.wrapping_add(bias);
    let break_start = round_up(program_end).ok_or(Errno::ENOEXEC)?;
    space.layout.break_start = break_start;
    space.layout.break_end = break_start;

    let entry = program.entry.wrapping_add(bias);
    let loader = interpreter
        .map(|loader| map_interpreter(&mut space, loader))
        .transpose()?;
    let placed = Placed {
        headers_address: program
            .headers_address
            .map_or(0, |address| address.wrapping_add(bias)),
        headers: program.headers,
        entry,
        interpreter_base: loader.map_or(0, |(base, _)| base),
    };
    let initial = stack::build(stack_top, names, ids, start, &placed)?;
    let used = stack_top - initial.pointer / PAGE * PAGE;
    let first = STACK_FIRST_BYTES.min(start.limits.stack / PAGE * PAGE);
    let mut rights = Access::READ | Access::WRITE;
    rights.set(Access::EXECUTE, program.executable_stack);
    let how = (
        MapHow::FixedNoReplace,
        AreaFlags::STACK | AreaFlags::GROWS_DOWN,
    );
    let length = used + first;
    space
        .map_flagged(stack_top - length, length, rights, Backing::Anonymous, how)
        .map_err(impossible)?;
    space
        .write(initial.pointer, &initial.bytes, &mut NoFiles)
        .map_err(|trouble| match trouble {
            Trouble::NoMemory => Errno::ENOMEM,
            _ => Errno::ENOEXEC,
        })?;
    space.layout.arguments_start = initial.arguments_start;
    space.layout.arguments_end = initial.arguments_end;
    space.layout.environment_end = initial.environment_end;
    Ok(Loaded {
        space,
        entry: loader.map_or(entry, |(_, entry)| entry),
        stack_pointer: initial.pointer,
        auxiliary: initial.auxiliary,
    })
}

/// Maps an interpreter beside the program: its base, which is what was added to its addresses, and
/// its first instruction.
fn map_interpreter(space: &mut Space, image: &Image) -> Result<(u64, u64), Errno> {
    let program = &image.program;
    let (low, high) = program.bounds();
    let bias = if program.position_independent {
        let low = low / program.align * program.align;
        let room = high - low + program.align - PAGE;
        let base = space.place(0, round_up(room).ok_or(Errno::ENOEXEC)?, MapHow::Anywhere)?;
        let base = base.next_multiple_of(program.align);
        base.wrapping_sub(low)
    } else {
        let length = round_up(high - low).ok_or(Errno::ENOEXEC)?;
        space
            .place(low, length, MapHow::FixedNoReplace)
            .map_err(impossible)?;
        0
    };
    for segment in &program.segments {
        map_segment(space, segment, &image.file, bias)?;
    }
    Ok((bias, program.entry.wrapping_add(bias)))
}

/// What has to be added to the addresses of the program (modulo 2^64).
fn place(program: &Program, random: u64, top: u64) -> Result<u64, Errno> {
    let (low, high) = program.bounds();
    if !program.position_independent {
        let fits = low >= LOWEST_ADDRESS && high <= top;
        return if fits { Ok(0) } else { Err(Errno::ENOEXEC) };
    }
    let base = (PIE_BASE + random) / program.align * program.align;
    let low = low / program.align * program.align;
    if base.checked_add(high - low).is_none_or(|end| end > top) {
        return Err(Errno::ENOEXEC);
    }
    Ok(base.wrapping_sub(low))
}

fn map_segment(
    space: &mut Space,
    segment: &Segment,
    file: &ProgramFile,
    bias: u64,
) -> Result<(), Errno> {
    let file_end = segment.offset.checked_add(segment.file_bytes);
    if file_end.is_none_or(|end| end > file.size) {
        return Err(Errno::ENOEXEC);
    }
    let address = segment.address.wrapping_add(bias);
    let first = address / PAGE * PAGE;
    let skipped = address - first;
    let end = round_up(address + segment.memory_bytes)
        .filter(|&end| end <= USER_END)
        .ok_or(Errno::ENOEXEC)?;
    let mut file_area_end = first;
    if segment.file_bytes > 0 {
        file_area_end = round_up(address + segment.file_bytes).ok_or(Errno::ENOEXEC)?;
        let mapped = file_area_end - first;
        let offset = segment.offset - skipped;
        // Where nothing has to be zero behind the file's part, the last page is shown as it is in
        // the file: it can then be shared with the cache.
        let length = if segment.file_bytes == segment.memory_bytes {
            mapped.min(file.size - offset)
        } else {
            skipped + segment.file_bytes
        };
        let backing = Backing::File(FileBacking {
            hash: file.hash,
            home_file: file.home_file,
            offset,
            length,
        });
        space
            .map(first, mapped, segment.access, backing, MapHow::Fixed)
            .map_err(impossible)?;
    }
    if end > file_area_end {
        space
            .map(
                file_area_end,
                end - file_area_end,
                segment.access,
                Backing::Anonymous,
                MapHow::Fixed,
            )
            .map_err(impossible)?;
    }
    Ok(())
}

/// A place that the program chose badly makes it not executable.
fn impossible(errno: Errno) -> Errno {
    if errno == Errno::ENOMEM {
        errno
    } else {
        Errno::ENOEXEC
    }
}
