//! The table of function names that makes a panic readable.
//!
//! Law: writer and reader of the format are both here. The linker reserves room for the table in
//! the image (section `.symbols`, zeros). After the link, on the host, [`embed`] reads the image's
//! own symbol table and writes the names into that room: addresses do not move, so one link is
//! enough. An image without names works and prints addresses.
//!
//! ```text
//! "DUNLSYM1"  u32 count  u32 bytes of names
//! count x { u64 address  u32 offset of the name  u32 length of the name }   by address, ascending
//! names, UTF-8
//! ```

const MAGIC: &[u8; 8] = b"DUNLSYM1";
const HEADER: usize = 16;
const ENTRY: usize = 16;

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(
        bytes.get(at..at.checked_add(4)?)?.try_into().ok()?,
    ))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(
        bytes.get(at..at.checked_add(8)?)?.try_into().ok()?,
    ))
}

/// The function that an address lies in or behind, and the distance from its start.
pub fn lookup(table: &[u8], address: u64) -> Option<(&str, u64)> {
    if !table.starts_with(MAGIC) {
        return None;
    }
    let count = u32_at(table, 8)? as usize;
    let names = HEADER.checked_add(count.checked_mul(ENTRY)?)?;
    let address_at = |index: usize| u64_at(table, HEADER + index * ENTRY);
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = low.midpoint(high);
        if address_at(middle)? <= address {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    let index = low.checked_sub(1)?;
    let at = names.checked_add(u32_at(table, HEADER + index * ENTRY + 8)? as usize)?;
    let length = u32_at(table, HEADER + index * ENTRY + 12)? as usize;
    let name = core::str::from_utf8(table.get(at..at.checked_add(length)?)?).ok()?;
    Some((name, address - address_at(index)?))
}

#[cfg(not(target_os = "none"))]
pub use host::{EmbedError, embed, encode};

#[cfg(not(target_os = "none"))]
mod host {
    use std::fmt;

    use super::{ENTRY, HEADER, MAGIC, u32_at, u64_at};

    /// Why an image got no names.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub enum EmbedError {
        /// The file is not a well-formed 64-bit little-endian ELF file.
        NotElf,
        /// It has no section of this name.
        NoSection(&'static str),
        /// The names need more room than the image reserves.
        TooLarge {
            /// Bytes the table has.
            needed: usize,
            /// Bytes the image has for it.
            room: usize,
        },
    }

    impl fmt::Display for EmbedError {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            match self {
                EmbedError::NotElf => write!(f, "the kernel image is not a 64-bit ELF file"),
                EmbedError::NoSection(name) => write!(f, "the kernel image has no section {name}"),
                EmbedError::TooLarge { needed, room } => write!(
                    f,
                    "the function names need {needed} bytes, kernel/image/link.ld reserves {room}"
                ),
            }
        }
    }

    impl std::error::Error for EmbedError {}

    /// Writes the table for functions in any order.
    pub fn encode(functions: &[(u64, String)]) -> Vec<u8> {
        let mut sorted: Vec<&(u64, String)> = functions.iter().collect();
        sorted.sort();
        sorted.dedup_by_key(|function| function.0);
        let mut names = Vec::new();
        let mut table = MAGIC.to_vec();
        table.extend((sorted.len() as u32).to_le_bytes());
        table.extend([0; 4]);
        for (address, name) in sorted {
            table.extend(address.to_le_bytes());
            table.extend((names.len() as u32).to_le_bytes());
            table.extend((name.len() as u32).to_le_bytes());
            names.extend(name.as_bytes());
        }
        table[12..HEADER].copy_from_slice(&(names.len() as u32).to_le_bytes());
        debug_assert!((table.len() - HEADER).is_multiple_of(ENTRY));
        table.extend(names);
        table
    }

    /// A section header: the fields used here (ELF-64 object file format, section 4).
    struct Section {
        name: u32,
        kind: u32,
        offset: usize,
        size: usize,
        link: u32,
    }

    fn sections(image: &[u8]) -> Option<Vec<Section>> {
        if !image.starts_with(b"\x7fELF\x02\x01") {
            return None;
        }
        let offset = usize::try_from(u64_at(image, 0x28)?).ok()?;
        let count = u16::from_le_bytes(image.get(0x3c..0x3e)?.try_into().ok()?);
        let headers = image.get(offset..offset.checked_add(usize::from(count) * 64)?)?;
        headers
            .chunks_exact(64)
            .map(|header| {
                Some(Section {
                    name: u32_at(header, 0)?,
                    kind: u32_at(header, 4)?,
                    offset: usize::try_from(u64_at(header, 24)?).ok()?,
                    size: usize::try_from(u64_at(header, 32)?).ok()?,
                    link: u32_at(header, 40)?,
                })
            })
            .collect()
    }

    fn text(strings: &[u8], at: u32) -> Option<&str> {
        let rest = strings.get(at as usize..)?;
        let end = rest.iter().position(|&byte| byte == 0)?;
        std::str::from_utf8(&rest[..end]).ok()
    }

    /// Function symbols of the image, names demangled.
    fn functions(image: &[u8], all: &[Section]) -> Option<Vec<(u64, String)>> {
        const SYMBOL_TABLE: u32 = 2;
        const FUNCTION: u8 = 2;
        const NO_TYPE: u8 = 0;
        let bytes = |section: &Section| {
            image.get(section.offset..section.offset.checked_add(section.size)?)
        };
        let table = all.iter().find(|section| section.kind == SYMBOL_TABLE)?;
        let strings = bytes(all.get(table.link as usize)?)?;
        let mut found = Vec::new();
        for symbol in bytes(table)?.chunks_exact(24) {
            let (kind, section) = (symbol[4] & 15, u16::from_le_bytes([symbol[6], symbol[7]]));
            let address = u64_at(symbol, 8)?;
            let name = text(strings, u32_at(symbol, 0)?)?;
            let assembly = kind == NO_TYPE && !name.starts_with("__") && !name.is_empty();
            let in_kernel_half = address >= 0xffff_8000_0000_0000;
            if (kind == FUNCTION || assembly) && section != 0 && section < 0xff00 && in_kernel_half
            {
                found.push((address, format!("{:#}", rustc_demangle::demangle(name))));
            }
        }
        Some(found)
    }

    /// Writes the names of the image's functions into the room it has for them. Gives how many.
    ///
    /// # Errors
    /// [`EmbedError`]; then the image is unchanged.
    pub fn embed(image: &mut [u8]) -> Result<usize, EmbedError> {
        let all = sections(image).ok_or(EmbedError::NotElf)?;
        let name_index = u16::from_le_bytes([image[0x3e], image[0x3f]]);
        let names = all.get(usize::from(name_index)).ok_or(EmbedError::NotElf)?;
        let strings = image
            .get(names.offset..names.offset + names.size)
            .ok_or(EmbedError::NotElf)?;
        let room = all
            .iter()
            .find(|section| text(strings, section.name) == Some(".symbols"))
            .ok_or(EmbedError::NoSection(".symbols"))?;
        let functions = functions(image, &all).ok_or(EmbedError::NoSection(".symtab"))?;
        let table = encode(&functions);
        let target = image
            .get_mut(room.offset..room.offset + room.size)
            .ok_or(EmbedError::NotElf)?;
        if table.len() > target.len() {
            return Err(EmbedError::TooLarge {
                needed: table.len(),
                room: target.len(),
            });
        }
        target[..table.len()].copy_from_slice(&table);
        target[table.len()..].fill(0);
        Ok(functions.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lookup_finds_what_encode_wrote() {
        let table = encode(&[
            (0x2000, "second".into()),
            (0x1000, "first".into()),
            (0x3000, "third".into()),
        ]);
        assert_eq!(lookup(&table, 0xfff), None);
        assert_eq!(lookup(&table, 0x1000), Some(("first", 0)));
        assert_eq!(lookup(&table, 0x2fff), Some(("second", 0xfff)));
        assert_eq!(lookup(&table, u64::MAX).map(|found| found.0), Some("third"));
        assert_eq!(lookup(&[0; 64], 0x1000), None);
        assert_eq!(lookup(&table[..table.len() - 1], 0x3000), None);
    }

    #[test]
    fn files_that_are_no_image_are_refused() {
        assert_eq!(embed(&mut [0; 100]), Err(EmbedError::NotElf));
        assert_eq!(
            embed(&mut b"\x7fELF\x02\x01".to_vec()),
            Err(EmbedError::NotElf)
        );
    }
}
