//! Pushed pages that travel compressed (LZ4, block format) where that is faster.
//!
//! Law: whether it is faster is measured, never assumed. Both ways are timed on the pages that are sent anyway: all that
//! happens between one page and the next counts, so what compressing costs here, what encryption and the
//! link cost, and what the peer needs. A page that somebody waits for is never packed: that saves nobody's time.
//! What does not become much shorter travels as it is, into its place, without a copy.

use crate::{Page, Payload};
use alloc::boxed::Box;
use alloc::vec;
use lz4_flex::block::{
    CompressTable, compress_into_with_table, decompress_into, get_maximum_output_size,
};
use wire::PAYLOAD_MAX;

/// What is longer travels as it is.
const PACKED_MAX: usize = PAYLOAD_MAX * 3 / 4;
/// Pages after a change, or after the lane was empty, that say nothing yet: those in front of them travel as before.
const SETTLE: u32 = 64;
/// Pages that are timed together.
const TIMED: u32 = 64;
/// Of so many times the shortest counts: whatever disturbs makes them longer.
const KEPT: usize = 4;
/// The other way is tried again after this many times,
const GAP_FIRST: u32 = 4;
/// four times as many each time that it was not better, to this: then a try costs nothing that could be seen.
const GAP_LAST: u32 = 1024;

/// Whether pushed pages are packed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Packing {
    /// Never.
    Never,
    /// While it is faster.
    #[default]
    Measured,
    /// Each that becomes much shorter.
    Always,
}

/// What is known of the two ways to one peer.
#[derive(Debug)]
pub(crate) struct Choice {
    packs: bool,
    /// Times of [`TIMED`] pages, ns, the latest last: as they are, and packed.
    times: [[u64; KEPT]; 2],
    /// Pages since the way was changed or the lane was empty, and when that was.
    pages: u32,
    begun: u64,
    /// Since when pages are timed.
    since: u64,
    /// Whether this way is only being tried.
    tries: bool,
    gap: u32,
    left: u32,
}

impl Default for Choice {
    fn default() -> Choice {
        Choice {
            packs: false,
            times: [[u64::MAX; KEPT]; 2],
            pages: 0,
            begun: 0,
            since: 0,
            tries: false,
            gap: GAP_FIRST,
            left: GAP_FIRST,
        }
    }
}

impl Choice {
    /// Whether the page that leaves now is to be packed. `alone`: nothing was under way in front of it.
    fn take(&mut self, now: u64, alone: bool) -> bool {
        if alone {
            self.pages = 0;
        }
        if self.pages == 0 {
            self.begun = now;
        } else if self.pages == SETTLE {
            self.since = now;
        } else if self.pages == SETTLE + TIMED {
            self.judge(now, now - self.since);
        } else if self.tries && now - self.begun > self.best(!self.packs).saturating_mul(3) {
            // All of a try lasts as long as two of those times, or it is not worth it.
            let time = (now - self.begun) / u64::from(self.pages) * u64::from(TIMED);
            self.judge(now, time);
        }
        self.pages += 1;
        self.packs
    }

    /// The shortest time of late.
    fn best(&self, packs: bool) -> u64 {
        let times = &self.times[usize::from(packs)];
        times.iter().copied().min().unwrap_or(u64::MAX)
    }

    /// Goes on after such a time, perhaps the other way.
    fn judge(&mut self, now: u64, time: u64) {
        let times = &mut self.times[usize::from(self.packs)];
        times.rotate_left(1);
        times[KEPT - 1] = time;
        let other_is_better = self.best(!self.packs) < self.best(self.packs);
        (self.pages, self.since) = (SETTLE, now);
        self.left -= 1;
        if self.tries {
            self.gap = match other_is_better {
                true => (self.gap * 4).min(GAP_LAST),
                false => GAP_FIRST,
            };
            self.left = self.gap;
        }
        self.tries = self.left == 0 && !other_is_better;
        if self.tries || other_is_better {
            self.packs = !self.packs;
            self.left = self.gap;
            (self.pages, self.begun) = (0, now);
        }
    }
}

/// What packs and unpacks: memory that is used again for each page.
pub(crate) struct Packer {
    mode: Packing,
    page: Box<[u8; PAYLOAD_MAX]>,
    packed: Box<[u8]>,
    table: CompressTable,
}

impl core::fmt::Debug for Packer {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_tuple("Packer").field(&self.mode).finish()
    }
}

impl Packer {
    pub(crate) fn new(mode: Packing) -> Packer {
        Packer {
            mode,
            page: Box::new([0; PAYLOAD_MAX]),
            packed: vec![0; get_maximum_output_size(PAYLOAD_MAX)].into_boxed_slice(),
            table: CompressTable::small(),
        }
    }

    /// How a page leaves now. `alone`: nothing was under way in front of it.
    pub(crate) fn payload<P: Page>(
        &mut self,
        choice: &mut Choice,
        (now, alone): (u64, bool),
        page: &P,
    ) -> Payload<P> {
        let packs = match self.mode {
            Packing::Never => false,
            Packing::Measured => choice.take(now, alone),
            Packing::Always => true,
        };
        let packed = packs.then(|| self.pack(page)).flatten();
        packed.unwrap_or_else(|| Payload::page(page.clone()))
    }

    fn pack<P: Page>(&mut self, page: &P) -> Option<Payload<P>> {
        page.read(0, &mut self.page[..]);
        let (from, into) = (&self.page[..], &mut self.packed[..]);
        let length = compress_into_with_table(from, into, &mut self.table).ok()?;
        if length > PACKED_MAX {
            return None;
        }
        let mut packed = P::zeroed()?;
        packed.write(0, &self.packed[..length]);
        Some(Payload::Page(packed, 0..length))
    }

    /// The page of which a block lies in the first `length` bytes of another. `None`: it is not one of a whole page, or no
    /// page can be had. It is not unpacked in place: cards keep pages in which less than a page has come.
    pub(crate) fn unpack<P: Page>(&mut self, block: &P, length: usize) -> Option<P> {
        let packed = self.packed.get_mut(..length)?;
        block.read(0, packed);
        let whole = decompress_into(packed, &mut self.page[..]).ok()? == PAYLOAD_MAX;
        let mut page = whole.then(P::zeroed)??;
        page.write(0, &self.page[..]);
        Some(page)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::sync::Arc;

    type Frame = Arc<[u8; PAYLOAD_MAX]>;

    fn noise(seed: u64) -> Frame {
        let mut state = seed | 1;
        Arc::new(core::array::from_fn(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        }))
    }

    /// Words of text, as most of memory is.
    fn text() -> Frame {
        Arc::new(core::array::from_fn(|at| {
            (at / 16 % 7 * 31 + at % 16) as u8
        }))
    }

    fn arrived(payload: &Payload<Frame>) -> Frame {
        let mut page = noise(7);
        payload.copy_to(&mut Arc::make_mut(&mut page)[..]);
        page
    }

    #[test]
    fn a_page_is_what_it_was() {
        let mut packer = Packer::new(Packing::Always);
        for page in [
            text(),
            Arc::new([0; PAYLOAD_MAX]),
            Arc::new([9; PAYLOAD_MAX]),
        ] {
            let payload = packer.payload(&mut Choice::default(), (0, true), &page);
            assert!(payload.len() <= PACKED_MAX, "{}", payload.len());
            let unpacked = packer.unpack(&arrived(&payload), payload.len());
            assert_eq!(unpacked, Some(page));
        }
    }

    #[test]
    fn what_does_not_become_shorter_travels_as_it_is() {
        let mut packer = Packer::new(Packing::Always);
        let page = noise(1);
        let payload = packer.payload(&mut Choice::default(), (0, true), &page);
        assert!(matches!(&payload, Payload::Page(same, range)
            if Arc::ptr_eq(same, &page) && *range == (0..PAYLOAD_MAX)));
    }

    #[test]
    fn what_is_no_page_is_refused() {
        let mut packer = Packer::new(Packing::Always);
        let payload = packer.payload(&mut Choice::default(), (0, true), &text());
        let (page, length) = (arrived(&payload), payload.len());
        assert_eq!(packer.unpack(&page, length - 1), None, "cut off");
        assert_eq!(packer.unpack(&page, 0), None);
        assert_eq!(packer.unpack(&page, PAYLOAD_MAX * 2), None);
        // A block of less than a page, and one of more.
        for size in [PAYLOAD_MAX - 1, PAYLOAD_MAX + 1] {
            let block = lz4_flex::block::compress(&vec![5; size]);
            let mut page = noise(3);
            page.write(0, &block);
            assert_eq!(packer.unpack(&page, block.len()), None, "{size}");
        }
        for seed in 1..2000 {
            let _ = packer.unpack(&noise(seed), 1 + seed as usize % (PAYLOAD_MAX - 1));
        }
    }

    /// How many of so many pages are packed, where a page takes so long as it is, and packed.
    fn packed_of(choice: &mut Choice, pages: u32, [plain, packed]: [u64; 2]) -> u32 {
        let mut now = 0;
        let mut count = 0;
        for number in 0..pages {
            let packs = choice.take(now, number == 0);
            count += u32::from(packs);
            now += if packs { packed } else { plain };
        }
        count
    }

    #[test]
    fn the_faster_way_is_found_and_kept() {
        let mut choice = Choice::default();
        let packed = packed_of(&mut choice, 100_000, [300, 100]);
        assert!(packed > 98_000, "{packed}");
        // What costs more than it saves is tried seldom, and not for long if it costs much.
        for (cost, most) in [(120, 800), (1000, 200)] {
            let mut choice = Choice::default();
            let packed = packed_of(&mut choice, 100_000, [100, cost]);
            assert!((1..most).contains(&packed), "{packed} at {cost}");
        }
    }

    #[test]
    fn a_link_that_becomes_slower_is_noticed_at_once_and_a_faster_one_with_the_next_try() {
        let mut choice = Choice::default();
        packed_of(&mut choice, 100_000, [100, 150]);
        let packed = packed_of(&mut choice, 100_000, [500, 200]);
        assert!(packed > 98_000, "{packed}");
        let packed = packed_of(&mut choice, 200_000, [100, 150]);
        assert!(packed < (GAP_LAST + 20) * TIMED, "{packed}");
    }

    #[test]
    fn a_pause_is_not_the_link() {
        let mut choice = Choice::default();
        // Each burst is too short to be timed.
        for _ in 0..1000 {
            packed_of(&mut choice, SETTLE + TIMED - 1, [300, 100]);
        }
        assert_eq!(choice.times, [[u64::MAX; KEPT]; 2]);
    }
}
