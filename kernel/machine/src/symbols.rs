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
        let mut names: Vec<u8> = Vec::new();
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

    impl Section {
        /// Where its bytes are in the file; may lie outside of it.
        fn range(&self) -> std::ops::Range<usize> {
            self.offset..self.offset.saturating_add(self.size)
        }
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
        let bytes = |section: &Section| image.get(section.range());
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
        let strings = image.get(names.range()).ok_or(EmbedError::NotElf)?;
        let room = all
            .iter()
            .find(|section| text(strings, section.name) == Some(".symbols"))
            .ok_or(EmbedError::NoSection(".symbols"))?;
        let functions = functions(image, &all).ok_or(EmbedError::NoSection(".symtab"))?;
        let table = encode(&functions);
        let target = image.get_mut(room.range()).ok_or(EmbedError::NotElf)?;
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

    /// An ELF file with sections: null, names, symbol table, symbol names, `.symbols` of 256 bytes.
    fn small_image() -> Vec<u8> {
        let names = b"\0.names\0.symtab\0.strtab\0.symbols\0";
        let strings = b"\0_ZN6kernel4loop17h0123456789abcdefE\0";
        let mut symbol = vec![0; 24];
        symbol.extend([1, 0, 0, 0, 2, 0, 1, 0]);
        symbol.extend(0xffff_ffff_8010_0000_u64.to_le_bytes());
        symbol.extend([0; 8]);
        let mut image = b"\x7fELF\x02\x01".to_vec();
        image.resize(64, 0);
        let mut headers = vec![[0_u8; 64]];
        let parts: [(u8, u32, &[u8]); 4] = [
            (1, 3, names),
            (8, 2, &symbol),
            (16, 3, strings),
            (24, 1, &[0; 256]),
        ];
        for (name, kind, bytes) in parts {
            let mut header = [0; 64];
            header[0] = name;
            header[4..8].copy_from_slice(&kind.to_le_bytes());
            header[24..32].copy_from_slice(&(image.len() as u64).to_le_bytes());
            header[32..40].copy_from_slice(&(bytes.len() as u64).to_le_bytes());
            header[40] = if kind == 2 { 3 } else { 0 };
            headers.push(header);
            image.extend(bytes);
        }
        let at = (image.len() as u64).to_le_bytes();
        image[0x28..0x30].copy_from_slice(&at);
        image[0x3c] = 5;
        image[0x3e] = 1;
        image.extend(headers.concat());
        image
    }

    #[test]
    fn embed_fills_the_room_and_moves_nothing() {
        let mut image = small_image();
        let before = image.clone();
        assert_eq!(embed(&mut image), Ok(1));
        assert_eq!(image.len(), before.len());
        let at = image
            .windows(8)
            .position(|bytes| bytes == MAGIC)
            .expect("a table");
        let room = &image[at..at + 256];
        assert_eq!(
            lookup(room, 0xffff_ffff_8010_0004),
            Some(("kernel::loop", 4))
        );
        assert_eq!(
            (&image[..at], &image[at + 256..]),
            (&before[..at], &before[at + 256..])
        );
    }

    #[test]
    fn cut_images_are_refused_and_never_panic() {
        let image = small_image();
        for length in 0..image.len() {
            assert!(
                embed(&mut image[..length].to_vec()).is_err(),
                "{length} bytes"
            );
        }
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
