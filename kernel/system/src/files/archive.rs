//! The boot archive: ustar with GNU long names.
//!
//! Law: the bytes are hostile. Every header is checked (checksum, size against what is left, name)
//! before anything of it is used; reading ends at the first header that is wrong, with the reason.
//! Layout: POSIX `pax`, "ustar interchange format"; types `L` and `K`: GNU tar manual, "Basic format".

use super::{MAX_NAME, MAX_PATH};
use alloc::vec::Vec;

const BLOCK: usize = 512;

/// What an entry makes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    File(&'static [u8]),
    Directory,
    /// A symbolic link with this text.
    Link(Vec<u8>),
    /// One more name of the file with these components.
    HardLink(Vec<Vec<u8>>),
    /// A character device by major and minor number.
    Device(u32, u32),
}

/// One entry, checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Entry {
    /// Components of the path: none is empty, `.` or `..`, or too long.
    pub(super) path: Vec<Vec<u8>>,
    /// Permission bits only.
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Seconds since 1970.
    pub(super) modified: i64,
    pub(super) kind: Kind,
}

/// A header and the contents behind it.
struct Record {
    header: &'static [u8],
    contents: &'static [u8],
}

/// Reads entries one after the other.
pub(super) struct Reader {
    rest: &'static [u8],
    long_name: Option<Vec<u8>>,
    long_target: Option<Vec<u8>>,
    /// Entries left out: unknown types, or names that lead out of the tree.
    pub(super) skipped: u32,
    /// Why reading ended before the end mark.
    pub(super) problem: Option<&'static str>,
}

impl Reader {
    pub(super) fn new(archive: &'static [u8]) -> Reader {
        Reader {
            rest: archive,
            long_name: None,
            long_target: None,
            skipped: 0,
            problem: None,
        }
    }

    /// The next record; `None` at the end.
    fn record(&mut self) -> Result<Option<Record>, &'static str> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let (header, behind) = self
            .rest
            .split_at_checked(BLOCK)
            .ok_or("a header is cut off")?;
        if header.iter().all(|&byte| byte == 0) {
            return Ok(None);
        }
        if !checksum_fits(header) {
            return Err("a header has a wrong checksum");
        }
        let size = number(&header[124..136]).ok_or("a size is not a number")?;
        // Only these have contents; GNU tar writes a size for hard links that means nothing.
        let kind = header[156];
        let size = if matches!(kind, b'1'..=b'6') { 0 } else { size };
        if size > behind.len() as u64 {
            return Err("the contents of a file are cut off");
        }
        let size = size as usize;
        let padded = size.next_multiple_of(BLOCK).min(behind.len());
        self.rest = &behind[padded..];
        Ok(Some(Record {
            header,
            contents: &behind[..size],
        }))
    }

    fn entry(&mut self) -> Result<Option<Entry>, &'static str> {
        loop {
            let Some(Record { header, contents }) = self.record()? else {
                return Ok(None);
            };
            match header[156] {
                b'L' => self.long_name = Some(long_text(contents)?),
                b'K' => self.long_target = Some(long_text(contents)?),
                _ => match self.interpret(header, contents) {
                    Some(entry) => return Ok(Some(entry)),
                    None => self.skipped += 1,
                },
            }
        }
    }

    fn interpret(&mut self, header: &'static [u8], contents: &'static [u8]) -> Option<Entry> {
        let name = self.long_name.take().unwrap_or_else(|| name(header));
        let target = self.long_target.take();
        let target = target.unwrap_or_else(|| text(&header[157..257]).to_vec());
        let is_directory = name.last() == Some(&b'/');
        let path = components(&name)?;
        let kind = match header[156] {
            0 | b'0' | b'7' if is_directory => Kind::Directory,
            0 | b'0' | b'7' => Kind::File(contents),
            b'1' => Kind::HardLink(components(&target)?),
            b'2' if !target.is_empty() => Kind::Link(target),
            b'3' => Kind::Device(
                number(&header[329..337])?.try_into().ok()?,
                number(&header[337..345])?.try_into().ok()?,
            ),
            b'5' => Kind::Directory,
            _ => return None,
        };
        Some(Entry {
            path,
            mode: number(&header[100..108])? as u32 & 0o7777,
            uid: u32::try_from(number(&header[108..116])?).ok()?,
            gid: u32::try_from(number(&header[116..124])?).ok()?,
            modified: i64::try_from(number(&header[136..148])?).ok()?,
            kind,
        })
    }
}

impl Iterator for Reader {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        if self.problem.is_some() {
            return None;
        }
        match self.entry() {
            Ok(entry) => entry,
            Err(problem) => {
                self.problem = Some(problem);
                None
            }
        }
    }
}

/// The sum of all bytes, with the field of the sum as blanks.
fn checksum_fits(header: &[u8]) -> bool {
    let sum: u64 = header
        .iter()
        .enumerate()
        .map(|(at, &byte)| match at {
            148..156 => u64::from(b' '),
            _ => u64::from(byte),
        })
        .sum();
    number(&header[148..156]) == Some(sum)
}

/// A number in octal, or in GNU's base 256 where the first bit is set. Negative ones are refused.
fn number(field: &[u8]) -> Option<u64> {
    if field[0] == 0x80 {
        let (high, low) = field[1..].split_at(field.len() - 1 - 8.min(field.len() - 1));
        if high.iter().any(|&byte| byte != 0) {
            return None;
        }
        return Some(low.iter().fold(0, |sum, &byte| sum << 8 | u64::from(byte)));
    }
    let digits = field.trim_ascii_start();
    let mut value = 0u64;
    for &byte in digits {
        match byte {
            b'0'..=b'7' => value = value.checked_mul(8)?.checked_add(u64::from(byte - b'0'))?,
            0 | b' ' => break,
            _ => return None,
        }
    }
    Some(value)
}

/// Up to the first NUL.
fn text(field: &[u8]) -> &[u8] {
    field.split(|&byte| byte == 0).next().unwrap_or(field)
}

fn long_text(contents: &[u8]) -> Result<Vec<u8>, &'static str> {
    let text = text(contents);
    match text.len() {
        1..=MAX_PATH => Ok(text.to_vec()),
        _ => Err("a long name is empty or too long"),
    }
}

/// Prefix and name of a ustar header.
fn name(header: &[u8]) -> Vec<u8> {
    let mut name = Vec::new();
    // GNU's own magic ends in blanks, and uses the prefix for other things.
    if &header[257..263] == b"ustar\0" {
        name.extend_from_slice(text(&header[345..500]));
        if !name.is_empty() {
            name.push(b'/');
        }
    }
    name.extend_from_slice(text(&header[..100]));
    name
}

/// Splits a path as if it began at the root; `None` if it leads upwards or has a name too long.
pub(super) fn components(path: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut all = Vec::new();
    for name in path.split(|&byte| byte == b'/') {
        match name {
            b"" | b"." => {}
            b".." => return None,
            name if name.len() > MAX_NAME => return None,
            name => all.push(name.to_vec()),
        }
    }
    Some(all)
}
