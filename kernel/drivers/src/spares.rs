//! Pages of packets that did not fill them, to be filled again once nobody else has them.
//!
//! Law: a page that is handed out belongs to nobody else.

use alloc::vec::Vec;

use crate::card::PAYLOAD_MAX;
use crate::platform::{Page, Platform};

/// Most pages that are kept.
const LIMIT: usize = 32;

/// The pages kept.
pub(crate) struct Spares<F>(Vec<F>);

impl<F> Default for Spares<F> {
    fn default() -> Spares<F> {
        Spares(Vec::with_capacity(LIMIT))
    }
}

impl<F: Page> Spares<F> {
    /// A page that nobody else has; `None` when there is no memory.
    pub(crate) fn page<P: Platform<Page = F>>(&mut self, platform: &P) -> Option<F> {
        if let Some(index) = self.0.iter().position(|spare| !spare.is_shared()) {
            return Some(self.0.swap_remove(index));
        }
        platform.page().ok()
    }

    /// Keeps a handle of the page of a packet with `length` bytes of payload. Full pages are not kept:
    /// whoever gets one has the only handle.
    pub(crate) fn keep(&mut self, page: &F, length: usize) {
        if length < PAYLOAD_MAX && self.0.len() < LIMIT {
            self.0.push(page.clone());
        }
    }
}
