//! What comes over a serial line whose other side tells the size of its window.
//!
//! Law: a byte of 255 begins an order, as in telnet (RFC 854, RFC 1073): `255 255` is one byte 255,
//! `255 250 31 C C R R 255 240` says that the window has so many columns and rows, and any other
//! order is passed over. 255 is in no UTF-8 text, so nothing that is typed is held back.

/// Begins an order, and is doubled as data.
const IAC: u8 = 255;
/// A long order begins, and ends.
const SB: u8 = 250;
const SE: u8 = 240;
/// The long order about the window.
const NAWS: u8 = 31;
/// The longest order that is kept, from `SB` on.
const ORDER_MAX: usize = 16;

/// What a byte turned out to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Meaning {
    /// Part of an order.
    Nothing,
    /// This was typed.
    Typed(u8),
    /// `struct winsize`.
    Window([u8; 8]),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Place {
    #[default]
    Data,
    /// Behind a 255.
    Escaped,
    /// In a long order.
    Order,
    /// Behind a 255 in a long order.
    OrderEscaped,
}

/// The decoder. See the module.
#[derive(Default)]
pub(super) struct Wire {
    place: Place,
    order: [u8; ORDER_MAX],
    length: usize,
}

impl Wire {
    pub(super) fn take(&mut self, byte: u8) -> Meaning {
        let (place, meaning) = match (self.place, byte) {
            (Place::Data, IAC) => (Place::Escaped, Meaning::Nothing),
            (Place::Data, byte) => (Place::Data, Meaning::Typed(byte)),
            (Place::Escaped, IAC) => (Place::Data, Meaning::Typed(IAC)),
            (Place::Escaped, SB) => {
                self.length = 0;
                (Place::Order, Meaning::Nothing)
            }
            (Place::Escaped, _) => (Place::Data, Meaning::Nothing),
            (Place::Order, IAC) => (Place::OrderEscaped, Meaning::Nothing),
            (Place::Order, byte) | (Place::OrderEscaped, byte @ IAC) => {
                if let Some(slot) = self.order.get_mut(self.length) {
                    *slot = byte;
                    self.length += 1;
                }
                (Place::Order, Meaning::Nothing)
            }
            (Place::OrderEscaped, SE) => (Place::Data, self.ordered()),
            (Place::OrderEscaped, _) => (Place::Data, Meaning::Nothing),
        };
        self.place = place;
        meaning
    }

    fn ordered(&self) -> Meaning {
        match self.order[..self.length] {
            // The order has columns first and high bytes first; a window has neither.
            [NAWS, c1, c0, r1, r0] => Meaning::Window([r0, r1, c0, c1, 0, 0, 0, 0]),
            _ => Meaning::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meanings(bytes: &[u8]) -> Vec<Meaning> {
        let mut wire = Wire::default();
        let all = bytes.iter().map(|byte| wire.take(*byte));
        all.filter(|meaning| *meaning != Meaning::Nothing).collect()
    }

    #[test]
    fn windows_among_what_is_typed() {
        use Meaning::{Typed, Window};
        assert_eq!(
            meanings(b"a\xff\xffb\xff\xfa\x1f\0\x84\0\x2b\xff\xf0c"),
            [
                Typed(b'a'),
                Typed(255),
                Typed(b'b'),
                Window([43, 0, 132, 0, 0, 0, 0, 0]),
                Typed(b'c')
            ]
        );
        // 255 columns, doubled inside of an order.
        assert_eq!(
            meanings(b"\xff\xfa\x1f\0\xff\xff\0\x18\xff\xf0"),
            [Window([24, 0, 255, 0, 0, 0, 0, 0])]
        );
    }

    #[test]
    fn other_orders_are_passed_over() {
        let mut long = b"\xff\xfa".to_vec();
        long.extend([1; 1000]);
        long.extend(b"\xff\xf0x");
        assert_eq!(meanings(&long), [Meaning::Typed(b'x')]);
        assert_eq!(meanings(b"\xff\xfbx"), [Meaning::Typed(b'x')]);
        assert_eq!(meanings(b"\xff\xfa\x1f\0\xff\xf0"), []);
        assert_eq!(meanings(b"\xff"), []);
    }
}
