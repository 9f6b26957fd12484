//! Tests of address spaces: literal traces, a model, a move, programs.
//!
//! Law: every test ends with [`check`], which knows the laws of the whole module.

mod model;
mod moving;
mod programs;
mod traces;

use std::vec::Vec;

use machine::{Access, Frame, FrameKind, USER_END};

use super::area::Area;
use super::limits::PAGE;
use super::{FetchStop, FileBacking, PageSource, Space};

pub(super) const RW: Access = Access::READ.union(Access::WRITE);

/// Files by their `home_file` number, whole.
#[derive(Default)]
pub(super) struct Files {
    pages: Vec<(Vec<Frame>, [u8; 32])>,
    missing: bool,
}

impl Files {
    pub(super) fn add(&mut self, contents: &[u8]) -> u32 {
        let frames = contents
            .chunks(PAGE as usize)
            .map(|part| {
                let frame = Frame::zeroed(FrameKind::Cache).expect("memory");
                frame.write(0, part);
                frame
            })
            .collect();
        self.pages.push((frames, [1; 32]));
        self.pages.len() as u32 - 1
    }

    /// Answers [`FetchStop::Missing`] from now on.
    pub(super) fn lose(&mut self) {
        self.missing = true;
    }
}

impl PageSource for Files {
    fn file_page(&mut self, backing: &FileBacking, offset: u64) -> Result<Frame, FetchStop> {
        assert!(offset.is_multiple_of(PAGE));
        if self.missing {
            return Err(FetchStop::Missing);
        }
        let (frames, _) = &self.pages[backing.home_file as usize];
        frames
            .get((offset / PAGE) as usize)
            .cloned()
            .ok_or(FetchStop::Bus)
    }
}

/// A backing that shows `length` bytes of a file of [`Files`].
pub(super) fn file(home_file: u32, offset: u64, length: u64) -> FileBacking {
    FileBacking {
        hash: [1; 32],
        home_file,
        offset,
        length,
    }
}

/// Bytes that differ from page to page and within a page.
pub(super) fn pattern(length: usize) -> Vec<u8> {
    (0..length)
        .map(|i| (i * 7 + i / 4096 * 13 + 1) as u8)
        .collect()
}

/// The laws of the module, on any space at any moment.
pub(super) fn check(space: &Space) {
    let areas: Vec<&Area> = space.areas().collect();
    for area in &areas {
        assert!(area.start < area.end && area.end <= USER_END);
        assert!(area.start.is_multiple_of(PAGE) && area.end.is_multiple_of(PAGE));
    }
    for pair in areas.windows(2) {
        assert!(pair[0].end <= pair[1].start, "areas overlap");
        assert!(
            !pair[0].clone().join(pair[1]),
            "areas could be one: {pair:?}"
        );
    }
    let shared = areas.iter().any(|area| area.backing.is_shared());
    assert_eq!(shared, space.is_seen_by_others());
    let mut mapped_private = 0;
    for (page, mapping) in space.table.pages(0, USER_END) {
        let area = space.area_at(page).expect("mapped pages lie in areas");
        assert!(area.access.contains(mapping.access));
        assert!(!space.absent.contains(page));
        let private = space.private.contains(page);
        if space.copied.contains(page) {
            assert!(private, "a copied page is one that has to be sent");
            assert!(
                !mapping.access.contains(Access::WRITE),
                "a write is noticed"
            );
        }
        mapped_private += u64::from(private);
        if private {
            assert!(!area.is_shared());
            assert_eq!(mapping.frame.kind(), FrameKind::User);
        } else if !area.is_shared() {
            assert_eq!(mapping.frame.kind(), FrameKind::Cache);
        }
        if mapping.access.contains(Access::WRITE) && !area.is_shared() {
            assert!(private && !mapping.is_shared(), "writable means ours alone");
        }
    }
    assert_eq!(
        mapped_private,
        space.private.len(),
        "private pages are mapped"
    );
    let mut next = 0;
    while let Some(page) = space.absent.next(next) {
        assert!(
            !space
                .area_at(page)
                .expect("absent pages lie in areas")
                .is_shared()
        );
        next = page + PAGE;
    }
}
