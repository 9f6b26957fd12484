//! Whether the way to a peer carries frames with a whole page.
//!
//! Law: a way is narrow until a probe has come through, and again when nothing comes through any more:
//! so cards and switches of any MTU work, also when the cable is put somewhere else. A probe is sent
//! when the peer is met, with each greeting of it, and when something long is to leave, but seldom: a
//! narrow way costs next to nothing. After RFC 4821, with two sizes.

/// Time between two probes: from this, ns,
const FIRST_NS: u64 = 2_000_000;
/// twice as long each time, to this.
const LAST_NS: u64 = 2_000_000_000;

/// What is known of the way to a peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Path {
    /// Our own card carries no such frames.
    Narrow,
    /// Nothing is known: pages go in pieces, and the next probe not before `next`.
    Unknown { next: u64, gap: u64 },
    /// A probe has come through.
    Wide,
}

impl Path {
    /// A way on which nothing was sent, behind a card that carries such frames or does not.
    pub(crate) fn new(now: u64, card_is_wide: bool) -> Path {
        match card_is_wide {
            true => Path::Unknown {
                next: now,
                gap: FIRST_NS,
            },
            false => Path::Narrow,
        }
    }

    pub(crate) fn is_wide(self) -> bool {
        self == Path::Wide
    }

    /// Whether a probe is to be sent now; asking takes it.
    pub(crate) fn take_probe(&mut self, now: u64) -> bool {
        match self {
            Path::Unknown { next, gap } if *next <= now => {
                *next = now + *gap;
                *gap = (*gap * 2).min(LAST_NS);
                true
            }
            _ => false,
        }
    }

    /// A probe has come through.
    pub(crate) fn confirm(&mut self) {
        if *self != Path::Narrow {
            *self = Path::Wide;
        }
    }

    /// Nothing comes through any more.
    pub(crate) fn doubt(&mut self, now: u64) {
        if self.is_wide() {
            *self = Path::new(now, true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes_become_seldom_and_one_is_enough() {
        let mut path = Path::new(5, true);
        let mut sent = 0;
        for now in (5..10_000_000_000).step_by(1_000_000) {
            sent += u32::from(path.take_probe(now));
        }
        assert_eq!(sent, 14, "2 + 4 + 8 ... ms, then every 2 s");
        assert!(!path.is_wide());
        path.confirm();
        assert!(path.is_wide() && !path.take_probe(u64::MAX));
        path.doubt(7);
        assert!(!path.is_wide() && path.take_probe(7));
    }

    #[test]
    fn a_narrow_card_asks_nobody() {
        let mut path = Path::new(0, false);
        assert!(!path.take_probe(1));
        path.confirm();
        assert!(!path.is_wide(), "nobody was asked");
    }
}
