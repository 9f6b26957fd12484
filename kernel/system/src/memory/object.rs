//! Memory that several processes share, and who has each page of it.
//!
//! Law: a page is here, where everybody on this node maps its one frame, or it is lent to one process that is
//! elsewhere, and then nobody maps it here. What the page held when it was lent stays here: if that process
//! ends without giving it back, this is the page again, and nobody has seen anything newer.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use machine::{Frame, FrameKind, OutOfMemory};
use spin::Mutex;

use super::area::FetchStop;

/// A page that a process elsewhere has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// The process.
    pub by: u32,
    /// The number of the object, see [`SharedObject::identity`].
    pub object: usize,
    /// Which page of it.
    pub page: u64,
}

/// Memory shared by all areas that hold a handle of it (`MAP_SHARED | MAP_ANONYMOUS`).
#[derive(Debug, Default)]
pub struct SharedObject(Mutex<Pages>);

#[derive(Debug, Default)]
struct Pages {
    frames: BTreeMap<u64, Frame>,
    lent: BTreeMap<u64, u32>,
}

impl SharedObject {
    /// An object of zeros; it takes no memory yet.
    pub fn new() -> Arc<SharedObject> {
        Arc::new(SharedObject::default())
    }

    /// What tells it from all others that there are now.
    pub fn identity(self: &Arc<Self>) -> usize {
        Arc::as_ptr(self).addr()
    }

    fn held(self: &Arc<Self>, by: u32, page: u64) -> Held {
        Held {
            by,
            object: self.identity(),
            page,
        }
    }

    /// Puts a frame in as page `index`.
    pub(super) fn put(&self, index: u64, frame: Frame) {
        self.0.lock().frames.insert(index, frame);
    }

    /// The pages there are of a range, in order.
    pub(super) fn pages(&self, from: u64, to: u64) -> Vec<(u64, Frame)> {
        let pages = self.0.lock();
        let range = pages.frames.range(from..to);
        range
            .map(|(index, frame)| (*index, frame.clone()))
            .collect()
    }

    /// Lets go of the pages of a range.
    pub(super) fn forget(&self, from: u64, to: u64) {
        let mut pages = self.0.lock();
        pages.frames.retain(|index, _| !(from..to).contains(index));
    }

    /// The frame of page `index`, made of zeros when first asked for.
    ///
    /// # Errors
    /// [`FetchStop::NoMemory`] when no frame is free, [`FetchStop::Held`] if somebody elsewhere has it.
    pub fn page(self: &Arc<Self>, index: u64) -> Result<Frame, FetchStop> {
        let mut pages = self.0.lock();
        if let Some(by) = pages.lent.get(&index) {
            return Err(FetchStop::Held(self.held(*by, index)));
        }
        if let Some(frame) = pages.frames.get(&index) {
            return Ok(frame.clone());
        }
        let frame = Frame::zeroed(FrameKind::User).map_err(|OutOfMemory| FetchStop::NoMemory)?;
        pages.frames.insert(index, frame.clone());
        Ok(frame)
    }

    /// The first page in a range that somebody elsewhere has.
    pub fn first_lent(self: &Arc<Self>, from: u64, to: u64) -> Option<Held> {
        let pages = self.0.lock();
        let (page, by) = pages.lent.range(from..to.max(from)).next()?;
        Some(self.held(*by, *page))
    }

    /// Who has a page elsewhere.
    pub fn holder(&self, index: u64) -> Option<u32> {
        self.0.lock().lent.get(&index).copied()
    }

    /// Lends a page that is here to a process elsewhere. Whoever has it mapped here has to lose it. Who has been lent it and
    /// asks again has not got it, and never had: it gets what it was to get.
    ///
    /// # Errors
    /// As for [`SharedObject::page`].
    pub fn lend(self: &Arc<Self>, index: u64, to: u32) -> Result<Frame, FetchStop> {
        self.give_back(index, to, None);
        let frame = self.page(index)?;
        self.0.lock().lent.insert(index, to);
        Ok(frame)
    }

    /// Whether a page is here and nobody on this node has it mapped.
    pub fn is_idle(&self, index: u64) -> bool {
        let pages = self.0.lock();
        let alone = |frame: &Frame| !frame.is_shared();
        !pages.lent.contains_key(&index) && pages.frames.get(&index).is_some_and(alone)
    }

    /// A process gives a page back, as it is now; without a frame it has none, and the page is as it was when
    /// it was lent. False if the process had not got it.
    pub fn give_back(&self, index: u64, by: u32, frame: Option<Frame>) -> bool {
        let mut pages = self.0.lock();
        if pages.lent.get(&index) != Some(&by) {
            return false;
        }
        pages.lent.remove(&index);
        match (frame, pages.frames.get(&index)) {
            (None, _) => {}
            // Who brought it still has a handle; nobody uses the frame that was lent.
            (Some(frame), Some(before)) if frame.is_shared() => {
                before.copy_from(0, &frame, 0, machine::PAGE_SIZE);
            }
            (Some(frame), _) => {
                frame.set_kind(FrameKind::User);
                pages.frames.insert(index, frame);
            }
        }
        true
    }

    /// A process is over: what it has not given back is as it was when it was lent. Whether there was any.
    pub fn release(&self, by: u32) -> bool {
        let mut pages = self.0.lock();
        let before = pages.lent.len();
        pages.lent.retain(|_, holder| *holder != by);
        pages.lent.len() < before
    }
}
