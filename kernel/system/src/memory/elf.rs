//! ELF programs and their interpreters: `ET_EXEC` and `ET_DYN`, x86-64.
//!
//! Law: the file says anything it likes; a [`Program`] only what can be mapped. Field names and
//! values are those of the System V ABI (gABI chapters 4 and 5, x86-64 psABI).

use alloc::vec::Vec;

use abi::Errno;
use machine::{Access, USER_END};
use zerocopy::{FromBytes, Immutable, KnownLayout};

use super::limits::{
    INTERPRETER_PATH_MAX, LOWEST_ADDRESS, PAGE, PROGRAM_HEADER_BYTES_MAX, SEGMENT_ALIGN_MAX,
};

#[repr(C)]
#[derive(Clone, Copy, FromBytes, KnownLayout, Immutable)]
struct FileHeader {
    e_ident: [u8; 16],
    e_type: u16,
    e_machine: u16,
    e_version: u32,
    e_entry: u64,
    e_phoff: u64,
    e_shoff: u64,
    e_flags: u32,
    e_ehsize: u16,
    e_phentsize: u16,
    e_phnum: u16,
    e_shentsize: u16,
    e_shnum: u16,
    e_shstrndx: u16,
}

#[repr(C)]
#[derive(Clone, Copy, FromBytes, KnownLayout, Immutable)]
struct ProgramHeader {
    p_type: u32,
    p_flags: u32,
    p_offset: u64,
    p_vaddr: u64,
    p_paddr: u64,
    p_filesz: u64,
    p_memsz: u64,
    p_align: u64,
}

/// `e_ident`: magic, 64 bit, little-endian, version 1. The OS ABI byte behind it is not checked.
const IDENT: [u8; 7] = [0x7f, b'E', b'L', b'F', 2, 1, 1];
const ET_EXEC: u16 = 2;
const ET_DYN: u16 = 3;
const EM_X86_64: u16 = 62;
const PT_LOAD: u32 = 1;
const PT_INTERP: u32 = 3;
const PT_PHDR: u32 = 6;
const PT_GNU_STACK: u32 = 0x6474_e551;
const PF_X: u32 = 1;
const PF_W: u32 = 2;
const PF_R: u32 = 4;

/// Bytes of one program header, as `AT_PHENT` says.
pub const PROGRAM_HEADER_BYTES: u64 = size_of::<ProgramHeader>() as u64;

/// Bytes of the header at the beginning of a file.
pub const FILE_HEADER_BYTES: usize = size_of::<FileHeader>();

/// A part of the file that is mapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// Address, before a position independent program is placed.
    pub address: u64,
    /// Offset in the file; the same as the address within a page.
    pub offset: u64,
    /// Bytes in the file.
    pub file_bytes: u64,
    /// Bytes in memory, at least `file_bytes`; what the file lacks is zeros.
    pub memory_bytes: u64,
    /// Rights.
    pub access: Access,
}

/// A program that can be mapped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// First instruction, before a position independent program is placed.
    pub entry: u64,
    /// Whether it runs anywhere (`ET_DYN`).
    pub position_independent: bool,
    /// What is mapped, in the order of the file; at least one, none empty.
    pub segments: Vec<Segment>,
    /// Alignment of the place of a position independent program; a power of two, at least a page.
    pub align: u64,
    /// Address of the program headers in memory, before placing; `None` if they are not mapped.
    pub headers_address: Option<u64>,
    /// Number of program headers.
    pub headers: u64,
    /// Whether the program asks for an executable stack.
    pub executable_stack: bool,
    /// Where in the file the path of its interpreter is, with its NUL.
    pub interpreter: Option<Part>,
}

/// A range of bytes of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Offset of the first byte.
    pub offset: u64,
    /// Number of bytes.
    pub length: u64,
}

impl Part {
    /// The bytes, if all of them are within the first ones of the file.
    pub fn within<'f>(&self, first: &'f [u8]) -> Option<&'f [u8]> {
        let from = usize::try_from(self.offset).ok()?;
        let to = from.checked_add(usize::try_from(self.length).ok()?)?;
        first.get(from..to)
    }
}

impl Program {
    /// Lowest page and first address behind the program, before placing.
    pub fn bounds(&self) -> (u64, u64) {
        let start = self.segments.iter().map(|segment| segment.address).min();
        let end = self
            .segments
            .iter()
            .map(|segment| segment.address + segment.memory_bytes)
            .max();
        (start.unwrap_or(0) / PAGE * PAGE, end.unwrap_or(0))
    }
}

/// The header of a file that can be a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Where the program headers are; not more than can be read at once.
    pub table: Part,
    entry: u64,
    position_independent: bool,
    count: u16,
}

/// Reads the header at the beginning of a file.
///
/// # Errors
/// `ENOEXEC`: it is none of an x86-64 program.
pub fn parse_header(first: &[u8]) -> Result<Header, Errno> {
    let (header, _) = FileHeader::read_from_prefix(first).map_err(|_| Errno::ENOEXEC)?;
    let length = u64::from(header.e_phnum) * PROGRAM_HEADER_BYTES;
    let right_kind = header.e_ident.starts_with(&IDENT)
        && matches!(header.e_type, ET_EXEC | ET_DYN)
        && header.e_machine == EM_X86_64
        && header.e_version == 1
        && usize::from(header.e_phentsize) == size_of::<ProgramHeader>()
        && (1..=PROGRAM_HEADER_BYTES_MAX).contains(&length);
    if !right_kind || header.e_entry >= USER_END || header.e_phoff > i64::MAX as u64 {
        return Err(Errno::ENOEXEC);
    }
    Ok(Header {
        table: Part {
            offset: header.e_phoff,
            length,
        },
        entry: header.e_entry,
        position_independent: header.e_type == ET_DYN,
        count: header.e_phnum,
    })
}

/// Reads a program all of whose headers are in the first bytes of its file.
///
/// # Errors
/// `ENOEXEC`: not an x86-64 program that could be mapped.
#[cfg(test)]
pub fn parse_program(first: &[u8]) -> Result<Program, Errno> {
    let header = parse_header(first)?;
    let table = header.table.within(first).ok_or(Errno::ENOEXEC)?;
    header.parse(table)
}

impl Header {
    /// Reads the program headers, which are the bytes of [`Header::table`].
    ///
    /// # Errors
    /// `ENOEXEC`: not a program that could be mapped.
    pub fn parse(&self, table: &[u8]) -> Result<Program, Errno> {
        let mut program = Program {
            entry: self.entry,
            position_independent: self.position_independent,
            segments: Vec::new(),
            align: PAGE,
            headers_address: None,
            headers: u64::from(self.count),
            executable_stack: false,
            interpreter: None,
        };
        let mut rest = table;
        let mut stated_address = None;
        for _ in 0..self.count {
            let (part, behind) =
                ProgramHeader::read_from_prefix(rest).map_err(|_| Errno::ENOEXEC)?;
            rest = behind;
            match part.p_type {
                PT_LOAD => add_segment(&mut program, &part, self.table.offset)?,
                PT_INTERP if program.interpreter.is_none() => {
                    program.interpreter = Some(interpreter(&part)?);
                }
                PT_PHDR if part.p_vaddr < USER_END => stated_address = Some(part.p_vaddr),
                PT_GNU_STACK => program.executable_stack = part.p_flags & PF_X != 0,
                _ => {}
            }
        }
        if program.segments.is_empty() {
            return Err(Errno::ENOEXEC);
        }
        program.headers_address = stated_address.or(program.headers_address);
        Ok(program)
    }
}

/// Where the path of the interpreter is.
fn interpreter(part: &ProgramHeader) -> Result<Part, Errno> {
    let possible =
        (2..=INTERPRETER_PATH_MAX).contains(&part.p_filesz) && part.p_offset <= i64::MAX as u64;
    if !possible {
        return Err(Errno::ENOEXEC);
    }
    Ok(Part {
        offset: part.p_offset,
        length: part.p_filesz,
    })
}

fn add_segment(
    program: &mut Program,
    part: &ProgramHeader,
    headers_offset: u64,
) -> Result<(), Errno> {
    if part.p_memsz == 0 {
        return Ok(());
    }
    let end = part.p_vaddr.checked_add(part.p_memsz);
    let possible = part.p_filesz <= part.p_memsz
        && part.p_vaddr % PAGE == part.p_offset % PAGE
        && end.is_some_and(|end| end <= USER_END - PAGE)
        && part.p_offset.checked_add(part.p_memsz + PAGE).is_some()
        && (program.position_independent || part.p_vaddr >= LOWEST_ADDRESS);
    if !possible {
        return Err(Errno::ENOEXEC);
    }
    let mut access = Access::empty();
    access.set(Access::READ, part.p_flags & PF_R != 0);
    access.set(Access::WRITE, part.p_flags & PF_W != 0);
    access.set(Access::EXECUTE, part.p_flags & PF_X != 0);
    if part.p_align.is_power_of_two() && part.p_align <= SEGMENT_ALIGN_MAX {
        program.align = program.align.max(part.p_align);
    }
    let headers_inside = headers_offset
        .checked_sub(part.p_offset)
        .filter(|distance| *distance < part.p_filesz);
    if let (None, Some(distance)) = (program.headers_address, headers_inside) {
        program.headers_address = Some(part.p_vaddr + distance);
    }
    program.segments.push(Segment {
        address: part.p_vaddr,
        offset: part.p_offset,
        file_bytes: part.p_filesz,
        memory_bytes: part.p_memsz,
        access,
    });
    Ok(())
}
