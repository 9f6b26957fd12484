//! Payloads that the way to a peer does not carry whole: cut here, put together there.
//!
//! Law: the link knows nothing of pieces; a packet of which one is lost is a lost packet. Pieces of one
//! packet have one header but for the number of the piece, so only pieces of the same transmission are
//! put together. What a peer can make us keep is bounded in number and in time.

use crate::{Page, Payload, Transmit};
use alloc::collections::VecDeque;
use wire::{Header, PIECE_LEN};

/// Packets of a peer that are incomplete at once: on a way that keeps the order there is one.
const INCOMPLETE_MAX: usize = 8;
/// An incomplete packet is kept for so long, ns. By then it was sent again.
const KEPT_NS: u64 = 200_000_000;

/// A packet that leaves in pieces.
#[derive(Debug)]
pub(crate) struct Cutter<P> {
    leaving: Option<(Header, Payload<P>, usize)>,
}

impl<P: Page> Cutter<P> {
    pub(crate) fn new() -> Cutter<P> {
        Cutter { leaving: None }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.leaving.is_none()
    }

    /// Cuts a packet if it is too long; returns what leaves first. The rest leaves before anything else.
    pub(crate) fn cut(&mut self, header: Header, payload: Payload<P>) -> Transmit<P> {
        if payload.len() > PIECE_LEN {
            self.leaving = Some((header, payload.clone(), 0));
        }
        self.next().unwrap_or(Transmit {
            header: header.to_bytes(),
            payload,
        })
    }

    /// The next piece.
    pub(crate) fn next(&mut self) -> Option<Transmit<P>> {
        let (header, payload, number) = self.leaving.as_mut()?;
        let header = header.of_piece(Some(*number));
        let carried = header.carried();
        *number += 1;
        let last = carried.end == payload.len();
        let transmit = Transmit {
            header: header.to_bytes(),
            payload: payload.part(carried),
        };
        if last {
            self.leaving = None;
        }
        Some(transmit)
    }
}

#[derive(Debug)]
struct Incomplete<P> {
    /// That of the whole.
    header: Header,
    page: P,
    /// Which pieces are there, a bit for each.
    there: u8,
    until: u64,
}

/// The packets of a peer that come in pieces, the oldest first.
#[derive(Debug)]
pub(crate) struct Joiner<P> {
    incomplete: VecDeque<Incomplete<P>>,
}

impl<P: Page> Joiner<P> {
    pub(crate) fn new() -> Joiner<P> {
        Joiner {
            incomplete: VecDeque::new(),
        }
    }

    /// Takes a piece, of which all bytes are there; returns the packet if it was the last one.
    pub(crate) fn join(&mut self, now: u64, header: &Header, piece: &P) -> Option<(Header, P)> {
        let number = header.piece()?;
        let carried = header.carried();
        let whole = header.of_piece(None);
        let known = self.incomplete.iter().position(|one| one.header == whole);
        let index = match known {
            Some(index) => index,
            None => self.begin(now, whole)?,
        };
        let one = &mut self.incomplete[index];
        let bit = 1 << number;
        if one.there & bit == 0 {
            one.page.copy_from(carried.start, piece, carried.len());
            one.there |= bit;
        }
        let all = (1 << whole.payload_length().div_ceil(PIECE_LEN)) - 1;
        if one.there != all {
            return None;
        }
        let one = self.incomplete.remove(index)?;
        Some((one.header, one.page))
    }

    fn begin(&mut self, now: u64, header: Header) -> Option<usize> {
        if self.incomplete.len() == INCOMPLETE_MAX {
            self.incomplete.pop_front();
        }
        self.incomplete.push_back(Incomplete {
            header,
            page: P::zeroed()?,
            there: 0,
            until: now + KEPT_NS,
        });
        Some(self.incomplete.len() - 1)
    }

    /// When [`Joiner::handle_timeout`] is due.
    pub(crate) fn poll_timeout(&self) -> Option<u64> {
        self.incomplete.front().map(|one| one.until)
    }

    /// Forgets what was not completed in time.
    pub(crate) fn handle_timeout(&mut self, now: u64) {
        self.incomplete.retain(|one| one.until > now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::sync::Arc;
    use alloc::vec::Vec;
    use wire::{Kind, PAYLOAD_MAX, PayloadKind};

    type Frame = Arc<[u8; 4096]>;

    fn page() -> Frame {
        Arc::new(core::array::from_fn(|at| (at % 251) as u8))
    }

    fn header(seq: u32) -> Header {
        let mut header = Header::new(Kind::Data);
        header.payload_kind = PayloadKind::Page as u8;
        header.length = (PAYLOAD_MAX as u16).into();
        header.seq = seq.into();
        header
    }

    /// The pieces of a page as they arrive.
    fn pieces(seq: u32) -> Vec<(Header, Frame)> {
        let mut cutter = Cutter::new();
        let first = cutter.cut(header(seq), Payload::page(page()));
        let rest = core::iter::from_fn(|| cutter.next());
        let arrived = core::iter::once(first).chain(rest).map(|transmit| {
            let mut bytes = [0; 4096];
            transmit.payload.copy_to(&mut bytes);
            let header = Header::parse(&transmit.header).copied();
            (
                header.unwrap_or_else(|_| unchecked(&transmit.header)),
                Arc::new(bytes),
            )
        });
        arrived.collect()
    }

    /// Nobody sends these headers, so they need not check.
    fn unchecked(bytes: &[u8; wire::HEADER_LEN]) -> Header {
        let mut header = self::header(0);
        header.seq = u32::from_le_bytes(bytes[44..48].try_into().expect("four bytes")).into();
        header.length = u16::from_le_bytes([bytes[42], bytes[43]]).into();
        header
    }

    #[test]
    fn a_page_comes_together_in_any_order_and_once() {
        for order in [[0, 1, 2], [2, 0, 1], [1, 2, 0]] {
            let pieces = pieces(7);
            assert_eq!(pieces.len(), 3);
            let mut joiner = Joiner::new();
            let mut whole = None;
            for at in order {
                assert_eq!(whole, None);
                let (header, bytes) = &pieces[at];
                whole = joiner.join(0, header, bytes);
            }
            assert_eq!(whole, Some((header(7), page())));
            assert_eq!(joiner.poll_timeout(), None, "nothing is left");
        }
    }

    #[test]
    fn a_piece_that_comes_twice_does_not_stand_for_another() {
        let pieces = pieces(7);
        let mut joiner = Joiner::new();
        for at in [0, 0, 1, 1, 0] {
            assert_eq!(joiner.join(0, &pieces[at].0, &pieces[at].1), None);
        }
        assert!(joiner.join(0, &pieces[2].0, &pieces[2].1).is_some());
    }

    #[test]
    fn packets_that_lack_a_piece_are_bounded_and_end() {
        let mut joiner = Joiner::new();
        for seq in 0..100 {
            let pieces = pieces(seq);
            assert_eq!(
                joiner.join(u64::from(seq), &pieces[0].0, &pieces[0].1),
                None
            );
        }
        assert_eq!(joiner.incomplete.len(), INCOMPLETE_MAX);
        // Those that came last are kept, and each of its own.
        let late = pieces(99);
        assert_eq!(joiner.join(100, &late[1].0, &late[1].1), None);
        assert!(joiner.join(100, &late[2].0, &late[2].1).is_some());
        assert_eq!(joiner.poll_timeout(), Some(92 + KEPT_NS));
        joiner.handle_timeout(98 + KEPT_NS);
        assert_eq!(joiner.poll_timeout(), None);
    }

    #[test]
    fn what_fits_leaves_whole() {
        let mut cutter: Cutter<Frame> = Cutter::new();
        let bytes: Arc<[u8]> = Arc::from([1u8; PIECE_LEN].as_slice());
        let transmit = cutter.cut(header(1), Payload::Bytes(bytes, 0..PIECE_LEN));
        assert_eq!(transmit.payload.len(), PIECE_LEN);
        assert!(cutter.is_empty());
    }
}
