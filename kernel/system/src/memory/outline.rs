//! Memory without its contents, as bytes: what is told of it while the process still runs, and what has
//! changed since.
//!
//! Law: the target makes the memory from the outline in the draft, so that the freeze has to carry only
//! what has changed in between: pages that came or went. When an area has changed, or too much else, the
//! image carries a whole outline instead. Outline and changes are held together by a sum, and may say
//! anything.
//!
//! ```text
//! outline   Counts, LayoutRecord, area_count AreaRecords, run_count RunRecords
//! changes   LayoutRecord, ChunkRecords up to the end
//! ```

use alloc::vec::Vec;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::Space;
use super::record::{AreaRecord, ChunkRecord, LayoutRecord, RunRecord, take, take_many};

const SHORT: &str = "a description of memory that is too short";

#[repr(C)]
#[derive(Clone, FromBytes, IntoBytes, KnownLayout, Immutable)]
struct Counts {
    area_count: u32,
    run_count: u32,
}

/// What holds an outline and its changes together: a sum of its bytes (FNV-1a, a word at a time), never
/// zero.
pub fn sum(outline: &[u8]) -> u64 {
    let words = outline.chunks(8).map(|chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        u64::from_le_bytes(word)
    });
    let sum = words.fold(0xcbf2_9ce4_8422_2325, |sum: u64, word| {
        (sum ^ word).wrapping_mul(0x0100_0000_01b3)
    });
    sum | 1
}

impl Space {
    /// The outline of this memory. From now on it is noted what changes.
    ///
    /// # Errors
    /// As for [`Space::export`].
    pub fn outline(&mut self) -> Result<Vec<u8>, &'static str> {
        let outline = self.to_outline()?;
        self.private.watch();
        self.outlined = Some((sum(&outline), self.areas.version()));
        Ok(outline)
    }

    /// Nobody gets the outline that was made: the next image has one.
    pub fn forget_outline(&mut self) {
        self.outlined = None;
    }

    /// The outline of this memory as it is now.
    ///
    /// # Errors
    /// As for [`Space::export`].
    pub fn to_outline(&self) -> Result<Vec<u8>, &'static str> {
        let records = self.export()?;
        let counts = Counts {
            area_count: records.areas.len() as u32,
            run_count: records.runs.len() as u32,
        };
        let parts = [
            counts.as_bytes(),
            records.layout.as_bytes(),
            records.areas.as_bytes(),
            records.runs.as_bytes(),
        ];
        Ok(parts.concat())
    }

    /// What has changed since [`Space::outline`], and the sum of the outline that it was. `None` if
    /// there was none, or if it is better told anew.
    pub fn changes(&self) -> Option<(u64, Vec<u8>)> {
        let (sum, version) = self.outlined?;
        let chunks = self.private.changes()?;
        if version != self.areas.version() {
            return None;
        }
        let mut bytes = LayoutRecord::of(self).as_bytes().to_vec();
        for (number, pages) in chunks {
            bytes.extend_from_slice(ChunkRecord { number, pages }.as_bytes());
        }
        Some((sum, bytes))
    }

    /// Memory from an outline, with all its pages absent.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn from_outline(mut bytes: &[u8]) -> Result<Space, &'static str> {
        let counts: Counts = take(&mut bytes).ok_or(SHORT)?;
        let layout: LayoutRecord = take(&mut bytes).ok_or(SHORT)?;
        let areas: Vec<AreaRecord> = take_many(&mut bytes, counts.area_count).ok_or(SHORT)?;
        let runs: Vec<RunRecord> = take_many(&mut bytes, counts.run_count).ok_or(SHORT)?;
        if !bytes.is_empty() {
            return Err("bytes behind a description of memory");
        }
        Space::import(&areas, &runs, &layout).map_err(|invalid| invalid.reason())
    }

    /// Brings memory that was made from an outline up to date.
    ///
    /// # Errors
    /// What is wrong with the changes, in words; the memory is worth nothing then.
    pub fn apply_changes(&mut self, mut bytes: &[u8]) -> Result<(), &'static str> {
        let layout: LayoutRecord = take(&mut bytes).ok_or(SHORT)?;
        self.set_layout(&layout)
            .map_err(|invalid| invalid.reason())?;
        while !bytes.is_empty() {
            let record: ChunkRecord = take(&mut bytes).ok_or(SHORT)?;
            self.set_absent(&record)
                .map_err(|invalid| invalid.reason())?;
        }
        Ok(())
    }
}
