//! The bytes of headers and frames, and how a journal is read from a disk.
//!
//! Law: a checksum covers all that is believed, and the place where it lies. Lengths are compared with what is
//! there before they are used. All numbers are little-endian.

use crate::{HEADERS, Refused, SECTOR, VALUE_MAX, WRITE_MAX};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use crc::{CRC_64_XZ, Crc, Table};

const SUM: Crc<u64, Table<1>> = Crc::<u64, Table<1>>::new(&CRC_64_XZ);
/// The last byte is the version of the format, of headers and frames alike: it is raised with any change of their bytes.
const HEADER_MAGIC: u64 = u64::from_le_bytes(*b"DunlinJ1");
/// See `HEADER_MAGIC`.
const FRAME_MAGIC: u64 = u64::from_le_bytes(*b"DunlinF1");
/// Sum, magic, and what [`Header::sector`] says; the rest of the sector is zeros.
const HEADER_LEN: usize = 7 * 8;
/// Sum, magic, generation, sequence, place, length.
pub(crate) const FRAME_HEADER_LEN: usize = 6 * 8;
/// Number and length.
pub(crate) const ENTRY_LEN: usize = 8 + 4;
/// The length of what is not there any more.
const GONE: u32 = u32::MAX;

/// The generation after this one. The upper half counts, the lower one is drawn.
pub(crate) fn after(generation: u64, salt: u32) -> u64 {
    (generation >> 32).wrapping_add(1) << 32 | u64::from(salt)
}

/// What makes the frames of an area count. It does not say which of the copies it is: if they change places, they are
/// as good as before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) node: u64,
    pub(crate) generation: u64,
    pub(crate) area_sectors: u64,
    /// So many frames were there when it was written.
    pub(crate) first_frames: u64,
}

fn word(bytes: &[u8], index: usize) -> Option<u64> {
    let bytes = bytes.get(index * 8..index * 8 + 8)?;
    Some(u64::from_le_bytes(bytes.try_into().ok()?))
}

/// Puts the sum of everything else in front.
fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let sum = SUM.checksum(&bytes[8..]);
    bytes[..8].copy_from_slice(&sum.to_le_bytes());
    bytes
}

fn is_sealed(bytes: &[u8]) -> bool {
    word(bytes, 0).is_some_and(|sum| sum == SUM.checksum(&bytes[8..]))
}

impl Header {
    /// As it lies in the area that begins at this sector.
    pub(crate) fn sector(&self, start: u64) -> Vec<u8> {
        let words = [
            0,
            HEADER_MAGIC,
            self.generation,
            self.node,
            self.area_sectors,
            self.first_frames,
            start,
        ];
        let mut bytes: Vec<u8> = words.into_iter().flat_map(u64::to_le_bytes).collect();
        bytes.resize(SECTOR, 0);
        sealed(bytes)
    }

    fn read(bytes: &[u8], start: u64) -> Option<Header> {
        let [magic, generation, node, area_sectors, first_frames, there] =
            [1, 2, 3, 4, 5, 6].map(|index| word(bytes, index));
        let whole = is_sealed(bytes) && magic == Some(HEADER_MAGIC) && there == Some(start);
        Some(Header {
            node: node?,
            generation: generation?,
            area_sectors: area_sectors?,
            first_frames: first_frames?,
        })
        .filter(|_| whole)
    }
}

/// A frame with changes, as it lies from this sector of the disk on.
pub(crate) fn frame<'a>(
    (generation, sequence): (u64, u64),
    place: u64,
    changes: impl Iterator<Item = (u64, Option<&'a [u8]>)>,
) -> Vec<u8> {
    let mut bytes = alloc::vec![0; FRAME_HEADER_LEN];
    for (key, value) in changes {
        let length = value.map_or(GONE, |value| value.len() as u32);
        bytes.extend_from_slice(&key.to_le_bytes());
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(value.unwrap_or_default());
    }
    let length = bytes.len() as u64;
    let words = [FRAME_MAGIC, generation, sequence, place, length];
    for (at, word) in (8..).step_by(8).zip(words) {
        bytes[at..at + 8].copy_from_slice(&word.to_le_bytes());
    }
    bytes.resize(bytes.len().next_multiple_of(SECTOR), 0);
    sealed(bytes)
}

/// A frame that reads well.
struct Frame<'a> {
    sequence: u64,
    entries: &'a [u8],
    sectors: u64,
}

/// The frame of a generation at this sector of the disk.
fn frame_at(disk: &[u8], place: u64, generation: u64) -> Option<Frame<'_>> {
    let rest = disk.get(usize::try_from(place).ok()?.checked_mul(SECTOR)?..)?;
    let [magic, of, sequence, there, length] = [1, 2, 3, 4, 5].map(|index| word(rest, index));
    if (magic, of, there) != (Some(FRAME_MAGIC), Some(generation), Some(place)) {
        return None;
    }
    let length = usize::try_from(length?).ok()?;
    if !(FRAME_HEADER_LEN..=WRITE_MAX).contains(&length) {
        return None;
    }
    let bytes = rest.get(..length.next_multiple_of(SECTOR))?;
    is_sealed(bytes).then_some(Frame {
        sequence: sequence?,
        entries: &bytes[FRAME_HEADER_LEN..length],
        sectors: (bytes.len() / SECTOR) as u64,
    })
}

/// Makes the changes of a frame; `None` if they are not such.
fn apply(mut entries: &[u8], live: &mut BTreeMap<u64, Vec<u8>>) -> Option<()> {
    while !entries.is_empty() {
        let (head, rest) = entries.split_at_checked(ENTRY_LEN)?;
        let key = word(head, 0)?;
        let length = u32::from_le_bytes(head[8..].try_into().ok()?);
        entries = rest;
        if length == GONE {
            live.remove(&key);
            continue;
        }
        let length = usize::try_from(length).ok()?;
        let (value, rest) = entries.split_at_checked(length)?;
        if length > VALUE_MAX {
            return None;
        }
        live.insert(key, value.to_vec());
        entries = rest;
    }
    Some(())
}

/// What is on a disk with two areas.
pub(crate) struct Found {
    pub(crate) generation: u64,
    /// The area that counts.
    pub(crate) area: u64,
    pub(crate) live: BTreeMap<u64, Vec<u8>>,
}

/// Reads a disk with two areas.
pub(crate) fn read(node: u64, area_sectors: u64, disk: &[u8]) -> Result<Found, Refused> {
    let sector = |place: u64| &disk[place as usize * SECTOR..][..SECTOR];
    let header = |area: u64| {
        let start = area * area_sectors;
        let copies = start..start + HEADERS;
        let copies = copies.filter_map(|place| Header::read(sector(place), start));
        copies.max_by_key(|header| header.generation >> 32)
    };
    let areas = [0, 1].map(|area| header(area).map(|header| (header, area)));
    let newest = areas.into_iter().flatten();
    let newest = newest.max_by_key(|(header, _)| header.generation >> 32);
    let Some((header, area)) = newest else {
        return match is_blank(disk) {
            // The first area is the first to be written.
            true => Ok(Found {
                generation: 0,
                area: 1,
                live: BTreeMap::new(),
            }),
            false => {
                Err(other_version(disk, area_sectors).map_or(Refused::Foreign, Refused::OfVersion))
            }
        };
    };
    if header.node != node {
        return Err(Refused::OfNode(header.node));
    }
    if header.area_sectors != area_sectors {
        return Err(Refused::Damaged("the disk has another size than it had"));
    }
    let end = (area + 1) * area_sectors;
    let mut place = area * area_sectors + HEADERS;
    let mut live = BTreeMap::new();
    let mut sequence = 0;
    while place < end
        && let Some(frame) = frame_at(disk, place, header.generation)
            .filter(|frame| frame.sequence == sequence && place + frame.sectors <= end)
    {
        apply(frame.entries, &mut live).ok_or(Refused::Damaged("a frame of nonsense"))?;
        sequence += 1;
        place += frame.sectors;
    }
    if sequence < header.first_frames {
        return Err(Refused::Damaged(
            "a part of what it began with is not there",
        ));
    }
    let mut later = place + 1..end;
    if later.any(|place| frame_at(disk, place, header.generation).is_some()) {
        return Err(Refused::Damaged("a part in the middle is not there"));
    }
    Ok(Found {
        generation: header.generation,
        area,
        live,
    })
}

/// The version of a journal that is on a disk in another one than this.
fn other_version(disk: &[u8], area_sectors: u64) -> Option<char> {
    const THIS: [u8; 8] = HEADER_MAGIC.to_le_bytes();
    let headers = [0, 1].into_iter().flat_map(|area| {
        let start = area * area_sectors;
        start..start + HEADERS
    });
    let mut magics = headers.filter_map(|place| {
        let magic = word(disk, place as usize * SECTOR / 8 + 1)?;
        Some(magic.to_le_bytes())
    });
    let of = magics.find(|magic| magic[..7] == THIS[..7] && magic[7].is_ascii_digit())?;
    Some(char::from(of[7]))
}

/// Whether nothing was ever written but what the first header of all may have left when it was torn.
fn is_blank(disk: &[u8]) -> bool {
    let zeros = |bytes: &[u8]| bytes.iter().all(|byte| *byte == 0);
    let (first, rest) = disk.split_at(SECTOR);
    zeros(rest) && zeros(&first[HEADER_LEN..])
}
